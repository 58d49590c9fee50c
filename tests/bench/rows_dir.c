/* SPDX-License-Identifier: BSD-3-Clause */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/bench/row.h"
#include "virtiofsd/base/util.h"

/*
 * Whole directories: listings with attributes, and what git status asks for.
 * Linux reads directories by the page.
 */

#define NAME_BYTES (SHARE_NAME_LEN + 1)
#define PAGE       4096
#define DENTS_BUF  32768 /* as the C library's */

static struct scene *scene_of(struct drive *d)
{
    return d->arg;
}

static void put_read(struct drive *d, struct slot *s, struct chain *c)
{
    struct fuse_read_in *in = c->arg;

    c->in->nodeid = s->node;
    in->fh = s->fh;
    in->offset = s->off;
    in->size = PAGE;
    drive_put(d, s, c);
}

static void put_releasedir(struct drive *d, struct slot *s, struct chain *c)
{
    struct fuse_release_in *in = c->arg;

    c->in->nodeid = s->node;
    in->fh = s->fh;
    in->flags = O_RDONLY | O_DIRECTORY;
    drive_put(d, s, c);
}

static bool is_dots(const struct fuse_dirent *e)
{
    return e->name[0] == '.' &&
           (e->namelen == 1 || (e->namelen == 2 && e->name[1] == '.'));
}

/*
 * Walk a page of a listing: count, go on behind the last, and with @forget
 * let go of what READDIRPLUS has given.
 */
static void walk(struct drive *d, struct slot *s, struct chain *c, size_t len,
                 bool plus, bool forget)
{
    const uint8_t *p = chain_page(c, 0);
    size_t head = (plus ? sizeof(struct fuse_entry_out) : 0) +
                  offsetof(struct fuse_dirent, name);

    while (len >= head) {
        const struct fuse_dirent *e =
            (const void *)(p + head - offsetof(struct fuse_dirent, name));
        const struct fuse_entry_out *en = (const void *)p;
        size_t size = (head + e->namelen + 7) & ~(size_t)7;

        if (e->namelen == 0 || size > len)
            break;
        s->off = e->off;
        if (!is_dots(e)) {
            s->pos++;
            if (forget && en->nodeid)
                drive_forget(d, en->nodeid, 1);
        }
        p += size;
        len -= size;
    }
    if (len > 0)
        drive_fault(d, "a listing does not end with its last entry");
}

/* A listing from OPENDIR to RELEASEDIR; each of its files is forgotten. */

static const struct drive_spec list_spec[] = {
    { FUSE_OPENDIR, sizeof(struct fuse_open_in), sizeof(struct fuse_open_out),
      0, 0 },
    { FUSE_READDIRPLUS, sizeof(struct fuse_read_in), 0, 0, PAGE },
    { FUSE_RELEASEDIR, sizeof(struct fuse_release_in), 0, 0, 0 },
    { 0 },
};

static void list_begin(struct drive *d, struct slot *s)
{
    struct scene *sc = scene_of(d);

    s->node = sc->dir;
    s->off = 0;
    s->pos = 0;
    s->c[0].in->nodeid = s->node;
    drive_put(d, s, &s->c[0]);
}

static enum drive_next list_done(struct drive *d, struct slot *s,
                                 struct chain *c, uint32_t len)
{
    const struct fuse_open_out *o = c->reply;
    size_t bytes = len - sizeof(struct fuse_out_header);

    switch (c->step) {
    case 0:
        s->fh = o->fh;
        put_read(d, s, &s->c[1]);
        return DRIVE_MORE;
    case 1:
        if (bytes > 0) {
            walk(d, s, c, bytes, true, true);
            put_read(d, s, c);
            return DRIVE_MORE;
        }
        if (s->pos != scene_of(d)->n)
            drive_fault(d, "%u entries were listed, there are %u", s->pos,
                        scene_of(d)->n);
        put_releasedir(d, s, &s->c[2]);
        return DRIVE_MORE;
    default:
        return DRIVE_OP;
    }
}

struct linux_dirent64 {
    uint64_t d_ino;
    int64_t d_off;
    unsigned short d_reclen;
    unsigned char d_type;
    char d_name[];
};

/* List a directory by the kernel's call.  Return: entries, or -errno. */
static int native_read(struct scene *s, int dir, bool and_stat)
{
    unsigned int n = 0;
    struct stat st;
    long got;

    while ((got = syscall(SYS_getdents64, dir, s->buf, DENTS_BUF)) > 0) {
        for (long at = 0; at < got;) {
            const struct linux_dirent64 *e = (const void *)(s->buf + at);

            if (e->d_name[0] != '.') {
                n++;
                if (and_stat &&
                    fstatat(dir, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                    return -errno;
            }
            at += e->d_reclen;
        }
    }
    return got < 0 ? -errno : (int)n;
}

static int native_list(struct scene *s, uint64_t i)
{
    int fd = openat(s->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), n;

    (void)i;
    if (fd < 0)
        return -errno;
    n = native_read(s, fd, true);
    close(fd);
    return n < 0 ? n : n == (int)s->n ? 0 : -ENOENT;
}

static int native_list_setup(struct scene *s)
{
    s->buf = malloc(DENTS_BUF);
    return s->buf ? row_native_dir(s, s->row->parts[0]) : -ENOMEM;
}

static int find_list(struct scene *s)
{
    s->n = share_count(s->share, s->row->parts[0]);
    return row_find_dir(s, s->row->parts[0]);
}

/* Every name was there once: the count was right, so look for doubles in
 * what the last page of each slot holds. */
static bool list_verify(struct scene *s)
{
    struct stat st;

    if (!s->d)
        return true;
    for (unsigned int i = 0; i < s->d->depth; i++) {
        const struct slot *sl = &s->d->slot[i];
        const struct fuse_direntplus *e =
            (const void *)chain_page(&sl->c[1], 0);
        char name[256] = "";

        if (!sl->c[1].unique || is_dots(&e->dirent))
            continue;
        memcpy(name, e->dirent.name, MIN(e->dirent.namelen, 255u));
        if (fstatat(s->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
            st.st_ino != e->dirent.ino || st.st_ino != e->entry_out.attr.ino) {
            snprintf(s->why, sizeof(s->why), "wrong entry %.32s", name);
            return false;
        }
    }
    return true;
}

const struct row row_list_small = {
    .name = "list_small",
    .title = "readdirplus, small directory",
    .parts = { SHARE_SMALL },
    .drive = { list_spec, NULL, list_begin, list_done },
    .setup = find_list,
    .native_setup = native_list_setup,
    .native = native_list,
    .verify = list_verify,
};

const struct row row_list_big = {
    .name = "list_big",
    .title = "readdirplus, big directory",
    .parts = { SHARE_BIG },
    .drive = { list_spec, NULL, list_begin, list_done },
    .setup = find_list,
    .native_setup = native_list_setup,
    .native = native_list,
    .verify = list_verify,
    .max_depth = 1,
};

/*
 * git status on a tree whose names and attributes the guest knows, but no
 * longer trusts: each file is looked up again, and each directory read for
 * untracked files, its first page with attributes.  An operation is a file.
 */

enum { G_LOOKUP, G_OPENDIR, G_PLUS, G_READDIR, G_RELEASEDIR };

static const struct drive_spec git_spec[] = {
    { FUSE_LOOKUP, NAME_BYTES, sizeof(struct fuse_entry_out), 0, 0 },
    { FUSE_OPENDIR, sizeof(struct fuse_open_in), sizeof(struct fuse_open_out),
      0, 0 },
    { FUSE_READDIRPLUS, sizeof(struct fuse_read_in), 0, 0, PAGE },
    { FUSE_READDIR, sizeof(struct fuse_read_in), 0, 0, PAGE },
    { FUSE_RELEASEDIR, sizeof(struct fuse_release_in), 0, 0, 0 },
    { 0 },
};

static void git_directory(struct scene *sc, struct slot *s)
{
    s->x = sc->at++ % sc->n;
    s->node = sc->node[s->x];
    s->off = 0;
    s->pos = 0;
}

static void git_lookup(struct drive *d, struct slot *s)
{
    struct chain *c = &s->c[G_LOOKUP];

    share_name(c->arg, s->pos);
    c->in->nodeid = s->node;
    drive_put(d, s, c);
}

static void git_begin(struct drive *d, struct slot *s)
{
    if (s->node && s->pos < scene_of(d)->share->size.tree_files) {
        git_lookup(d, s);
        return;
    }
    git_directory(scene_of(d), s);
    s->c[G_OPENDIR].in->nodeid = s->node;
    drive_put(d, s, &s->c[G_OPENDIR]);
}

static enum drive_next git_done(struct drive *d, struct slot *s,
                                struct chain *c, uint32_t len)
{
    const struct fuse_entry_out *e = c->reply;
    const struct fuse_open_out *o = c->reply;
    size_t bytes = len - sizeof(struct fuse_out_header);

    switch (c->step) {
    case G_LOOKUP:
        if (e->nodeid == 0)
            drive_fault(d, "a file of the tree was not found");
        s->pos++;
        return DRIVE_OP;
    case G_OPENDIR:
        s->fh = o->fh;
        put_read(d, s, &s->c[G_PLUS]);
        break;
    case G_PLUS:
    case G_READDIR:
        if (bytes > 0) {
            walk(d, s, c, bytes, c->step == G_PLUS, false);
            put_read(d, s, &s->c[G_READDIR]);
        } else {
            if (s->pos != scene_of(d)->share->size.tree_files)
                drive_fault(d, "%u entries in a directory of the tree", s->pos);
            put_releasedir(d, s, &s->c[G_RELEASEDIR]);
        }
        break;
    default:
        s->pos = 0;
        git_lookup(d, s);
        break;
    }
    return DRIVE_MORE;
}

static int find_tree(struct scene *s)
{
    return row_find_files(s, SHARE_TREE);
}

static int native_tree(struct scene *s)
{
    s->buf = malloc(DENTS_BUF);
    return s->buf ? row_native_dir(s, SHARE_TREE) : -ENOMEM;
}

static int native_git(struct scene *s, uint64_t i)
{
    uint32_t files = s->share->size.tree_files;
    char name[2 * NAME_BYTES];
    struct stat st;
    int fd, n;

    share_name(name, (uint32_t)(i / files % s->n));
    if (i % files == 0) {
        fd = openat(s->dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        n = fd < 0 ? -errno : native_read(s, fd, false);
        if (fd >= 0)
            close(fd);
        if (n != (int)files)
            return n < 0 ? n : -ENOENT;
    }
    name[SHARE_NAME_LEN] = '/';
    share_name(name + NAME_BYTES, (uint32_t)(i % files));
    return fstatat(s->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static bool git_verify(struct scene *s)
{
    for (unsigned int i = 0; s->d && i < s->d->depth; i++) {
        const struct slot *sl = &s->d->slot[i];
        const struct fuse_entry_out *e = sl->c[G_LOOKUP].reply;
        char name[2 * NAME_BYTES];

        if (!sl->c[G_LOOKUP].unique || sl->pos == 0)
            continue;
        share_name(name, sl->x);
        name[SHARE_NAME_LEN] = '/';
        share_name(name + NAME_BYTES, sl->pos - 1);
        if (!row_same_file(s, &e->attr, s->dir_fd, name))
            return false;
    }
    return true;
}

const struct row row_git_status = {
    .name = "git_status",
    .title = "git status sweep",
    .parts = { SHARE_TREE },
    .drive = { git_spec, NULL, git_begin, git_done },
    .setup = find_tree,
    .native_setup = native_tree,
    .native = native_git,
    .warm_tree = true,
    .verify = git_verify,
};
