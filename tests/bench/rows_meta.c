/* SPDX-License-Identifier: BSD-3-Clause */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/bench/row.h"
#include "virtiofsd/base/util.h"

/* Attributes, names, opening, making and removing. */

#define NAME_BYTES (SHARE_NAME_LEN + 1) /* with its NUL */

static struct scene *scene_of(struct drive *d)
{
    return d->arg;
}

static void put_name(struct chain *c, size_t at, char kind, uint32_t i)
{
    char *name = (char *)c->arg + at;

    share_name(name, i);
    name[0] = kind;
}

/* GETATTR: without a handle, as a guest asks whose attributes are old. */

static const struct drive_spec getattr_spec[] = {
    { FUSE_GETATTR, sizeof(struct fuse_getattr_in),
      sizeof(struct fuse_attr_out), 0, 0 },
    { 0 },
};

static void getattr_begin(struct drive *d, struct slot *s)
{
    struct scene *sc = scene_of(d);

    s->x = sc->at++ % sc->n;
    s->c[0].in->nodeid = sc->node[s->x];
    drive_put(d, s, &s->c[0]);
}

static enum drive_next one_step(struct drive *d, struct slot *s,
                                struct chain *c, uint32_t len)
{
    (void)d;
    (void)s;
    (void)c;
    (void)len;
    return DRIVE_OP;
}

static int find_hot(struct scene *s)
{
    return row_find_files(s, SHARE_HOT);
}

static int native_hot_fds(struct scene *s)
{
    char name[NAME_BYTES];
    int ret = row_native_dir(s, SHARE_HOT);

    if (ret < 0)
        return ret;
    s->fds = calloc(s->n, sizeof(int));
    if (!s->fds)
        return -ENOMEM;
    for (uint32_t i = 0; i < s->n; i++) {
        share_name(name, i);
        s->fds[i] = openat(s->dir_fd, name, O_RDONLY | O_CLOEXEC);
        if (s->fds[i] < 0)
            return -errno;
    }
    return 0;
}

static int native_fstat(struct scene *s, uint64_t i)
{
    struct stat st;

    return fstat(s->fds[i % s->n], &st) < 0 ? -errno : 0;
}

static bool getattr_verify(struct scene *s)
{
    char name[NAME_BYTES];

    for (unsigned int i = 0; s->d && i < s->d->depth; i++) {
        const struct slot *sl = &s->d->slot[i];
        const struct fuse_attr_out *a = sl->c[0].reply;

        share_name(name, sl->x);
        /* A slot that never had its turn has no reply. */
        if (sl->c[0].unique && !row_same_file(s, &a->attr, s->dir_fd, name))
            return false;
    }
    return true;
}

const struct row row_getattr = {
    .name = "getattr",
    .title = "getattr",
    .parts = { SHARE_HOT },
    .drive = { getattr_spec, NULL, getattr_begin, one_step },
    .setup = find_hot,
    .native_setup = native_hot_fds,
    .native = native_fstat,
    .verify = getattr_verify,
    .variants = true,
};

/* LOOKUP: of what the daemon knows, of what it has to find, of nothing. */

static const struct drive_spec lookup_spec[] = {
    { FUSE_LOOKUP, NAME_BYTES, sizeof(struct fuse_entry_out), 0, 0 },
    { 0 },
};

static void lookup_begin(struct drive *d, struct slot *s)
{
    struct scene *sc = scene_of(d);

    s->x = sc->at++ % sc->n;
    put_name(&s->c[0], 0, 'f', s->x);
    s->c[0].in->nodeid = sc->dir;
    drive_put(d, s, &s->c[0]);
}

static enum drive_next lookup_done(struct drive *d, struct slot *s,
                                   struct chain *c, uint32_t len)
{
    const struct fuse_entry_out *e = c->reply;

    (void)s;
    (void)len;
    if (e->nodeid == 0)
        drive_fault(d, "a file that is there was not found");
    return DRIVE_OP;
}

static enum drive_next lookup_forget(struct drive *d, struct slot *s,
                                     struct chain *c, uint32_t len)
{
    const struct fuse_entry_out *e = c->reply;
    enum drive_next next = lookup_done(d, s, c, len);

    drive_forget(d, e->nodeid, 1);
    return next;
}

static void missing_begin(struct drive *d, struct slot *s)
{
    struct scene *sc = scene_of(d);

    s->c[0].any_error = true;
    put_name(&s->c[0], 0, 'm', sc->at++ % 100000);
    s->c[0].in->nodeid = sc->dir;
    drive_put(d, s, &s->c[0]);
}

/* ENOENT, or an entry which says that there is none. */
static enum drive_next missing_done(struct drive *d, struct slot *s,
                                    struct chain *c, uint32_t len)
{
    const struct fuse_entry_out *e = c->reply;

    (void)s;
    (void)len;
    if (c->out->error != -ENOENT && (c->out->error || e->nodeid != 0))
        drive_fault(d, "LOOKUP of nothing: error %d", c->out->error);
    return DRIVE_OP;
}

static bool lookup_verify(struct scene *s)
{
    char name[NAME_BYTES];

    for (unsigned int i = 0; s->d && i < s->d->depth; i++) {
        const struct slot *sl = &s->d->slot[i];
        const struct fuse_entry_out *e = sl->c[0].reply;

        share_name(name, sl->x);
        if (sl->c[0].unique && !row_same_file(s, &e->attr, s->dir_fd, name))
            return false;
    }
    return true;
}

static int find_fresh(struct scene *s)
{
    s->n = share_count(s->share, SHARE_FRESH);
    return row_find_dir(s, SHARE_FRESH);
}

static int native_hot(struct scene *s)
{
    return row_native_dir(s, SHARE_HOT);
}

static int native_fresh(struct scene *s)
{
    return row_native_dir(s, SHARE_FRESH);
}

static int native_stat(struct scene *s, uint64_t i)
{
    char name[NAME_BYTES];
    struct stat st;

    share_name(name, (uint32_t)(i % s->n));
    return fstatat(s->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static int native_stat_missing(struct scene *s, uint64_t i)
{
    char name[NAME_BYTES];
    struct stat st;

    share_name(name, (uint32_t)(i % 100000));
    name[0] = 'm';
    if (fstatat(s->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return -EEXIST;
    return errno == ENOENT ? 0 : -errno;
}

const struct row row_lookup_hit = {
    .name = "lookup_hit",
    .title = "lookup, known to the daemon",
    .parts = { SHARE_HOT },
    .drive = { lookup_spec, NULL, lookup_begin, lookup_done },
    .setup = find_hot,
    .native_setup = native_hot,
    .native = native_stat,
    .verify = lookup_verify,
    .variants = true,
};

const struct row row_lookup_new = {
    .name = "lookup_new",
    .title = "lookup, new, and forget",
    .parts = { SHARE_FRESH },
    .drive = { lookup_spec, NULL, lookup_begin, lookup_forget },
    .setup = find_fresh,
    .native_setup = native_fresh,
    .native = native_stat,
    .verify = lookup_verify,
};

const struct row row_lookup_missing = {
    .name = "lookup_missing",
    .title = "lookup, no such file",
    .parts = { SHARE_FRESH },
    .drive = { lookup_spec, NULL, missing_begin, missing_done },
    .setup = find_fresh,
    .native_setup = native_fresh,
    .native = native_stat_missing,
};

/* OPEN and RELEASE. */

static const struct drive_spec open_spec[] = {
    { FUSE_OPEN, sizeof(struct fuse_open_in), sizeof(struct fuse_open_out), 0,
      0 },
    { FUSE_RELEASE, sizeof(struct fuse_release_in), 0, 0, 0 },
    { 0 },
};

static void put_release(struct drive *d, struct slot *s, struct chain *c,
                        uint64_t node, uint64_t fh, uint32_t flags)
{
    struct fuse_release_in *r = c->arg;

    c->in->nodeid = node;
    r->fh = fh;
    r->flags = flags;
    drive_put(d, s, c);
}

static void open_begin(struct drive *d, struct slot *s)
{
    struct scene *sc = scene_of(d);

    s->node = sc->node[sc->at++ % sc->n];
    s->c[0].in->nodeid = s->node;
    drive_put(d, s, &s->c[0]);
}

static enum drive_next open_done(struct drive *d, struct slot *s,
                                 struct chain *c, uint32_t len)
{
    const struct fuse_open_out *o = c->reply;

    (void)len;
    if (c->step == 1)
        return DRIVE_OP;
    put_release(d, s, &s->c[1], s->node, o->fh, O_RDONLY);
    return DRIVE_MORE;
}

static int native_open(struct scene *s, uint64_t i)
{
    char name[NAME_BYTES];
    int fd;

    share_name(name, (uint32_t)(i % s->n));
    fd = openat(s->dir_fd, name, O_RDONLY | O_CLOEXEC);
    return fd < 0 || close(fd) < 0 ? -errno : 0;
}

const struct row row_open = {
    .name = "open",
    .title = "open and release",
    .parts = { SHARE_HOT },
    .drive = { open_spec, NULL, open_begin, open_done },
    .setup = find_hot,
    .native_setup = native_hot,
    .native = native_open,
};

/* CREATE, RELEASE, UNLINK, FORGET; MKDIR, RMDIR, FORGET. */

static const struct drive_spec create_spec[] = {
    { FUSE_CREATE, sizeof(struct fuse_create_in) + NAME_BYTES,
      sizeof(struct fuse_entry_out) + sizeof(struct fuse_open_out), 0, 0 },
    { FUSE_RELEASE, sizeof(struct fuse_release_in), 0, 0, 0 },
    { FUSE_UNLINK, NAME_BYTES, 0, 0, 0 },
    { 0 },
};

static void create_prepare(struct drive *d, struct slot *s)
{
    struct scene *sc = scene_of(d);
    struct fuse_create_in *in = s->c[0].arg;

    in->flags = O_RDWR | O_CREAT | O_EXCL;
    in->mode = S_IFREG | 0644;
    in->umask = 022;
    put_name(&s->c[0], sizeof(*in), 't', s->idx);
    put_name(&s->c[2], 0, 't', s->idx);
    s->c[0].in->nodeid = s->c[2].in->nodeid = sc->dir;
}

static void first_step(struct drive *d, struct slot *s)
{
    drive_put(d, s, &s->c[0]);
}

static enum drive_next create_done(struct drive *d, struct slot *s,
                                   struct chain *c, uint32_t len)
{
    const struct fuse_entry_out *e = s->c[0].reply;
    const struct fuse_open_out *o = (const void *)(e + 1);

    (void)len;
    switch (c->step) {
    case 0:
        if (!S_ISREG(e->attr.mode) || e->nodeid == 0)
            drive_fault(d, "what was created is no file");
        put_release(d, s, &s->c[1], e->nodeid, o->fh, O_RDWR);
        return DRIVE_MORE;
    case 1:
        drive_put(d, s, &s->c[2]);
        return DRIVE_MORE;
    default:
        drive_forget(d, e->nodeid, 1);
        return DRIVE_OP;
    }
}

static int find_tmp(struct scene *s)
{
    return row_find_dir(s, SHARE_TMP);
}

static int native_tmp(struct scene *s)
{
    return row_native_dir(s, SHARE_TMP);
}

static int native_create(struct scene *s, uint64_t i)
{
    int fd =
        openat(s->dir_fd, "t", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

    (void)i;
    if (fd < 0 || close(fd) < 0 || unlinkat(s->dir_fd, "t", 0) < 0)
        return -errno;
    return 0;
}

/* All that was made is gone again. */
static bool tmp_verify(struct scene *s)
{
    int fd = openat(s->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *e;
    unsigned int n = 0;

    while (dir && (e = readdir(dir)))
        n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    if (dir)
        closedir(dir);
    if (dir && n == 0)
        return true;
    snprintf(s->why, sizeof(s->why), "%u files are left", n);
    return false;
}

const struct row row_create = {
    .name = "create",
    .title = "create and unlink",
    .parts = { SHARE_TMP },
    .drive = { create_spec, create_prepare, first_step, create_done },
    .setup = find_tmp,
    .native_setup = native_tmp,
    .native = native_create,
    .verify = tmp_verify,
};

static const struct drive_spec mkdir_spec[] = {
    { FUSE_MKDIR, sizeof(struct fuse_mkdir_in) + NAME_BYTES,
      sizeof(struct fuse_entry_out), 0, 0 },
    { FUSE_RMDIR, NAME_BYTES, 0, 0, 0 },
    { 0 },
};

static void mkdir_prepare(struct drive *d, struct slot *s)
{
    struct scene *sc = scene_of(d);
    struct fuse_mkdir_in *in = s->c[0].arg;

    in->mode = 0755;
    in->umask = 022;
    put_name(&s->c[0], sizeof(*in), 'd', s->idx);
    put_name(&s->c[1], 0, 'd', s->idx);
    s->c[0].in->nodeid = s->c[1].in->nodeid = sc->dir;
}

static enum drive_next mkdir_done(struct drive *d, struct slot *s,
                                  struct chain *c, uint32_t len)
{
    const struct fuse_entry_out *e = s->c[0].reply;

    (void)len;
    if (c->step == 0) {
        if (!S_ISDIR(e->attr.mode) || e->nodeid == 0)
            drive_fault(d, "what was made is no directory");
        drive_put(d, s, &s->c[1]);
        return DRIVE_MORE;
    }
    drive_forget(d, e->nodeid, 1);
    return DRIVE_OP;
}

static int native_mkdir(struct scene *s, uint64_t i)
{
    (void)i;
    if (mkdirat(s->dir_fd, "d", 0755) < 0 ||
        unlinkat(s->dir_fd, "d", AT_REMOVEDIR) < 0)
        return -errno;
    return 0;
}

const struct row row_mkdir = {
    .name = "mkdir",
    .title = "mkdir and rmdir",
    .parts = { SHARE_TMP },
    .drive = { mkdir_spec, mkdir_prepare, first_step, mkdir_done },
    .setup = find_tmp,
    .native_setup = native_tmp,
    .native = native_mkdir,
    .verify = tmp_verify,
};
