/* SPDX-License-Identifier: BSD-3-Clause */
/* Files opened, made and closed. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "fuse/passthrough/nodefd.h"
#include "fuse/passthrough/pt_i.h"
#include "fuse/proto.h"
#include "fuse/request.h"
#include "virtiofsd/base/fd.h"
#include "virtiofsd/base/sys.h"

/* What the guest may ask of open(2).  All else is either handled by its own
 * kernel or would change what we open (O_PATH, O_TMPFILE, O_NOFOLLOW ...).
 * O_APPEND comes with each WRITE: it can be taken off a descriptor, and pages
 * of a mapping are written at their place through whatever handle there is. */
#define GUEST_FLAGS                                                            \
    (O_ACCMODE | O_TRUNC | O_SYNC | O_DSYNC | O_DIRECT | O_NOATIME)

int pt_host_flags(const struct pt_fs *fs, int flags)
{
    flags &= GUEST_FLAGS;
    if (!fs->opts.allow_direct_io)
        flags &= ~O_DIRECT;
    if (!fs->opts.preserve_noatime)
        flags &= ~O_NOATIME;
    if (fs->agreed & FUSE_WRITEBACK_CACHE) {
        /* The guest's page cache reads what it fills up to a page. */
        if ((flags & O_ACCMODE) == O_WRONLY)
            flags = (flags & ~O_ACCMODE) | O_RDWR;
        /* Its pages are written through any handle of the file, and the last
         * one ends where the file does: no length for O_DIRECT. */
        flags &= ~O_DIRECT;
    }
    return flags;
}

static bool changes(int flags)
{
    return (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC);
}

/*
 * Writes that bypass the guest's cache need no order among themselves but the
 * one which the host's file system gives them; guests before Linux 6.2 ignore
 * that flag.
 */
static uint32_t reply_flags(const struct pt_fs *fs, int flags)
{
    uint32_t ret = 0;

    switch (fs->opts.cache) {
    case PT_CACHE_AUTO:
        break;
    case PT_CACHE_ALWAYS:
        ret = FOPEN_KEEP_CACHE;
        break;
    case PT_CACHE_METADATA:
    case PT_CACHE_NEVER:
        ret = FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES;
        break;
    }
    if (flags & O_DIRECT)
        ret |= FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES;
    /* FLUSH also lets go of the record locks of who closes; else nobody waits
     * for that of a file which was only read. */
    if ((flags & O_ACCMODE) == O_RDONLY && !(fs->agreed & FUSE_POSIX_LOCKS))
        ret |= FOPEN_NOFLUSH;
    return ret;
}

/* @fd is taken.  Return: 0 or -errno. */
static int add_handle(struct pt_fs *fs, int fd, int flags, uint64_t node_id,
                      struct fuse_open_out *out)
{
    int ret;

    *out = (struct fuse_open_out){ .open_flags = reply_flags(fs, flags) };
    ret = pt_handle_add(&fs->handles, PT_HANDLE_FILE, fd, flags, node_id,
                        &out->fh);
    if (ret == 0)
        pt_grip_note(node_id, out->fh);
    return ret;
}

/* @fd: what an open returned; closed when it may not stay open.
 * Return: @fd or -errno. */
static int after_open(const struct pt_fs *fs, int fd, int flags)
{
    int ret = 0;

    if (fd >= 0 && (flags & O_TRUNC))
        ret = pt_drop_caps(fs, fd);
    if (likely(ret == 0))
        return fd;
    close(fd);
    return ret;
}

/*
 * By the handle, where there is one: that saves a closed node two calls, and
 * an open one the way through /proc.  Some file systems find a file without a
 * name by its descriptor only.
 */
static int open_io(struct pt_fs *fs, struct pt_node *n, int flags)
{
    int ret = pt_node_open_io(&fs->nodes, n, flags);

    if (ret != -EOPNOTSUPP && ret != -ESTALE)
        return ret;
    if (!pt_node_is_open(n)) {
        ret = pt_node_open(&fs->nodes, n);
        if (ret < 0)
            return ret;
    }
    return pt_reopen(fs, n->fd, n->type, flags);
}

/*
 * Two reasons for EPERM can be helped.  O_NOATIME is for a file's owner; the
 * guest's kernel has seen to that, by the ids it knows, but as an ordinary
 * user we may be somebody else, and then it remains a wish.  And a file that
 * may only be appended to (chattr +a) can be opened for nothing else.
 */
static int reopen(struct pt_fs *fs, struct pt_node *n, int flags, bool append)
{
    int ret = open_io(fs, n, flags);

    if (ret == -EPERM && (flags & O_NOATIME)) {
        flags &= ~O_NOATIME;
        ret = open_io(fs, n, flags);
    }
    if (ret == -EPERM && append)
        ret = open_io(fs, n, flags | O_APPEND);
    return ret;
}

static int open_node(struct pt_fs *fs, const struct request *r,
                     struct pt_node *n, int flags, bool append)
{
    int ret;

    if (S_ISDIR(n->type))
        return -EISDIR;
    if (flags & O_TRUNC) {
        ret = pt_keep_set_ids(!request_ext(r)->kill_suidgid);
        if (ret < 0)
            return ret;
    }
    return after_open(fs, reopen(fs, n, flags, append), flags);
}

int pt_raw_open(struct pt_fs *fs, struct request *r)
{
    const struct fuse_open_in *in = request_args(r, NULL);
    uint64_t id = request_header(r)->nodeid;
    int flags = pt_host_flags(fs, (int)in->flags), ret;
    struct fuse_open_out out;
    struct pt_node *n;

    if (fs->opts.readonly && changes(flags))
        return -EROFS;
    n = pt_node_get(&fs->nodes, id); /* it need not be open for this */
    if (!n)
        return -ESTALE;
    ret = open_node(fs, r, n, flags, in->flags & O_APPEND);
    pt_node_put(&fs->nodes, n);
    if (ret >= 0)
        ret = add_handle(fs, ret, flags, id, &out);
    if (ret < 0)
        return ret;
    request_reply(r, &out, sizeof(out));
    return 0;
}

struct create_args {
    struct pt_fs *fs;
    int fd;           /* the directory, or for open_there() the file's O_PATH */
    const char *name; /* NULL: TMPFILE */
    int flags;
    mode_t mode, umask;
    bool excl;
};

static int create_new(void *arg)
{
    const struct create_args *a = arg;
    int fd = sys_openat(a->fd, a->name,
                        a->flags | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                        a->mode);

    return fd < 0 ? -errno : fd;
}

/* Its guest's kernel has no name for it, so neither has the host's. */
static int create_unnamed(void *arg)
{
    const struct create_args *a = arg;
    int fd = openat(a->fd, ".", a->flags | O_TMPFILE | O_CLOEXEC, a->mode);

    return fd < 0 ? -errno : fd;
}

static int open_there(void *arg)
{
    const struct create_args *a = arg;

    return pt_reopen(a->fs, a->fd, S_IFREG, a->flags);
}

/*
 * The file came into being after the guest saw that there was none, so
 * nobody has checked yet whether the caller may open it: it is opened with
 * the caller's rights and no others.
 */
static int open_existing(struct pt_fs *fs, const struct request *r,
                         struct pt_node *dir, struct create_args *a,
                         struct fuse_entry_out *ent)
{
    struct pt_node *n;
    int ret;

    ret = pt_lookup(fs, dir, a->name, ent);
    if (ret < 0)
        return ret;
    ret = pt_node_pin(fs, ent->nodeid, &n);
    if (ret < 0)
        goto fail_lookup;
    a->fd = n->fd;
    if (S_ISREG(n->type)) {
        ret = pt_run_as_caller(fs, r, a->umask, false, open_there, a);
        ret = after_open(fs, ret, a->flags);
    } else {
        ret = S_ISDIR(n->type) ? -EISDIR : -ELOOP;
    }
    pt_node_put(&fs->nodes, n);
    if (ret >= 0)
        return ret;

fail_lookup:
    pt_node_forget(&fs->nodes, ent->nodeid, 1);
    return ret;
}

/* The name goes again, unless it means another file by now. */
static void unmake(int dir_fd, const char *name, int fd)
{
    struct pt_key made, now;
    struct statx sx;

    if (name && pt_statx(fd, "", &sx, &made) == 0 &&
        pt_statx(dir_fd, name, &sx, &now) == 0 && now.ino == made.ino &&
        now.dev == made.dev)
        unlinkat(dir_fd, name, 0);
}

/* By the descriptor, not by the name: that may mean another file now.  A file
 * without a name is held, since no handle may find it. */
static int look_up_made(struct pt_fs *fs, struct pt_node *dir, int fd,
                        bool named, struct fuse_entry_out *ent)
{
    int ret = named ? pt_lookup_made(fs, dir, fd, ent) : -EOPNOTSUPP;
    int path_fd;

    if (ret != -EOPNOTSUPP)
        return ret;
    path_fd = openat(fs->proc_fd, pt_proc_name(fd).s, O_PATH | O_CLOEXEC);
    path_fd = pt_fd_admit(&fs->nodes, path_fd < 0 ? -errno : path_fd);
    return path_fd < 0 ? path_fd : pt_lookup_fd(fs, dir, path_fd, ent);
}

/* Make or open the file and count its lookup.  Return: descriptor, -errno. */
static int create(struct pt_fs *fs, const struct request *r,
                  struct pt_node *dir, struct create_args *a,
                  struct fuse_entry_out *ent)
{
    auto_fd fd = pt_run_as_caller(fs, r, a->umask, true,
                                  a->name ? create_new : create_unnamed, a);
    int ret;

    fd = pt_fd_admit(&fs->nodes, fd);
    if (fd == -EEXIST && !a->excl)
        return open_existing(fs, r, dir, a, ent);
    if (fd < 0)
        return fd;
    ret = request_ext(r)->n_secctx ? pt_set_labels(fs, r, fd) : 0;
    if (ret < 0) {
        unmake(a->fd, a->name, fd);
        return ret;
    }
    ret = look_up_made(fs, dir, fd, a->name, ent);
    return ret < 0 ? ret : take_fd(&fd);
}

static int make_file(struct pt_fs *fs, struct request *r, struct create_args *a)
{
    struct {
        struct fuse_entry_out ent;
        struct fuse_open_out open;
    } out;
    struct pt_node *dir;
    int ret = pt_node_pin(fs, request_header(r)->nodeid, &dir);

    if (ret < 0)
        return ret;
    a->fs = fs;
    a->fd = dir->fd;
    ret = create(fs, r, dir, a, &out.ent);
    pt_node_put(&fs->nodes, dir);
    if (ret < 0)
        return ret;
    ret = add_handle(fs, ret, a->flags, out.ent.nodeid, &out.open);
    if (ret < 0) {
        pt_node_forget(&fs->nodes, out.ent.nodeid, 1);
        return ret;
    }
    request_reply(r, &out, sizeof(out));
    return 0;
}

int pt_raw_create(struct pt_fs *fs, struct request *r)
{
    const struct fuse_create_in *in = request_args(r, NULL);
    struct create_args a = { .name = (const char *)(in + 1),
                             .flags = pt_host_flags(fs, (int)in->flags),
                             .mode = in->mode & 07777,
                             .umask = in->umask,
                             .excl = in->flags & O_EXCL };
    int ret = pt_change_check(fs, a.name);

    return ret < 0 ? ret : make_file(fs, r, &a);
}

/* It comes with a name that means nothing.  O_EXCL: it may never get one. */
int pt_raw_tmpfile(struct pt_fs *fs, struct request *r)
{
    const struct fuse_create_in *in = request_args(r, NULL);
    int flags = pt_host_flags(fs, (int)in->flags);
    struct create_args a = { .flags = flags | (int)(in->flags & O_EXCL),
                             .mode = in->mode & 07777,
                             .umask = in->umask,
                             .excl = true };

    return fs->opts.readonly ? -EROFS : make_file(fs, r, &a);
}

int pt_raw_release(struct pt_fs *fs, struct request *r)
{
    const struct fuse_release_in *in = request_args(r, NULL);
    int ret;

    pt_locks_release(fs, in->fh);
    ret = pt_handle_release(&fs->handles, in->fh, PT_HANDLE_FILE);
    if (ret == 0)
        request_reply_err(r, 0);
    return ret;
}
