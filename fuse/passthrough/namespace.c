/* SPDX-License-Identifier: BSD-3-Clause */
/* Names made, moved and removed. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "fuse/passthrough/pt_i.h"
#include "fuse/request.h"

/* What a new name is made of; for pt_run_as_caller(). */
struct make_args {
    int dir_fd;
    const char *name;
    const char *target;
    mode_t mode;
    dev_t rdev;
};

static int make_symlink(void *arg)
{
    const struct make_args *a = arg;

    return symlinkat(a->target, a->dir_fd, a->name) < 0 ? -errno : 0;
}

static int make_node(void *arg)
{
    const struct make_args *a = arg;

    return mknodat(a->dir_fd, a->name, a->mode, a->rdev) < 0 ? -errno : 0;
}

static int make_dir(void *arg)
{
    const struct make_args *a = arg;

    return mkdirat(a->dir_fd, a->name, a->mode) < 0 ? -errno : 0;
}

/* A file that can not have its label must not stay without. */
static int label(fuse_req_t req, int dir_fd, const char *name,
                 const struct fuse_entry_out *ent)
{
    struct pt_fs *fs = pt_fs_of(req);
    struct pt_node *n;
    int ret = pt_node_pin(fs, ent->nodeid, &n);

    if (ret == 0) {
        ret = pt_set_labels(fs, n->fd);
        if (ret < 0)
            unlinkat(dir_fd, name, S_ISDIR(n->type) ? AT_REMOVEDIR : 0);
        pt_node_put(&fs->nodes, n);
    }
    if (ret < 0)
        pt_node_forget(&fs->nodes, ent->nodeid, 1);
    return ret;
}

/* A new directory is for something to be put into, or for its removal. */
static int look_up(struct pt_fs *fs, struct pt_node *dir, bool is_dir,
                   const char *name, struct fuse_entry_out *ent)
{
    return is_dir ? pt_lookup_open(fs, dir, name, ent)
                  : pt_lookup(fs, dir, name, ent);
}

/* SYMLINK, MKNOD, MKDIR: make it as the caller, look it up as ourselves. */
static void make(fuse_req_t req, fuse_ino_t parent, int (*fn)(void *),
                 struct make_args *a)
{
    struct pt_fs *fs = pt_fs_of(req);
    struct fuse_entry_out ent;
    struct pt_node *dir;
    int ret;

    if (pt_refuse_change(req) || pt_refuse_name(req, a->name))
        return;
    dir = pt_pin(req, parent);
    if (!dir)
        return;
    a->dir_fd = dir->fd;
    ret = pt_run_as_caller(req, true, fn, a);
    if (ret == 0)
        ret = look_up(fs, dir, fn == make_dir, a->name, &ent);
    if (ret == 0 && request_ext(request_current())->n_secctx)
        ret = label(req, dir->fd, a->name, &ent);
    pt_node_put(&fs->nodes, dir);
    if (ret < 0)
        fuse_reply_err(req, -ret);
    else
        pt_reply(req, &ent, sizeof(ent));
}

void pt_op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent,
                   const char *name)
{
    struct make_args a = { .name = name, .target = target };

    make(req, parent, make_symlink, &a);
}

void pt_op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name,
                 mode_t mode, dev_t rdev)
{
    struct make_args a = { .name = name, .mode = mode, .rdev = rdev };

    make(req, parent, make_node, &a);
}

void pt_op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name,
                 mode_t mode)
{
    struct make_args a = { .name = name, .mode = mode & 07777 };

    make(req, parent, make_dir, &a);
}

void pt_op_readlink(fuse_req_t req, fuse_ino_t ino)
{
    struct pt_fs *fs = pt_fs_of(req);
    struct pt_node *n = pt_pin(req, ino);
    char target[PATH_MAX + 1];
    ssize_t len;
    int err;

    if (!n)
        return;
    len = readlinkat(n->fd, "", target, sizeof(target));
    err = len < 0 ? errno : 0;
    /* "" of what is no link: the kernel says ENOENT, readlink(2) EINVAL. */
    if (err == ENOENT)
        err = EINVAL;
    pt_node_put(&fs->nodes, n);
    if (!err && (size_t)len == sizeof(target))
        err = ENAMETOOLONG;
    if (err) {
        fuse_reply_err(req, err);
        return;
    }
    target[len] = '\0';
    fuse_reply_readlink(req, target);
}

static int remove_name(struct pt_fs *fs, struct request *r, int flags)
{
    const char *name = request_args(r, NULL);
    struct pt_node *dir, *keep;
    int ret = fs->opts.readonly ? -EROFS : pt_name_check(name);

    if (ret == 0)
        ret = pt_node_pin(fs, request_header(r)->nodeid, &dir);
    if (ret < 0)
        return ret;
    keep = pt_keep_begin(fs, dir, name, flags & AT_REMOVEDIR);
    ret = unlinkat(dir->fd, name, flags) < 0 ? -errno : 0;
    pt_keep_end(fs, keep, ret == 0);
    pt_node_put(&fs->nodes, dir);
    if (ret == 0)
        request_reply_err(r, 0);
    return ret;
}

int pt_raw_unlink(struct pt_fs *fs, struct request *r)
{
    return remove_name(fs, r, 0);
}

int pt_raw_rmdir(struct pt_fs *fs, struct request *r)
{
    return remove_name(fs, r, AT_REMOVEDIR);
}

void pt_op_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
                  fuse_ino_t newparent, const char *newname, unsigned int flags)
{
    struct pt_fs *fs = pt_fs_of(req);
    struct pt_node *from, *to, *keep = NULL;
    int err;

    if (pt_refuse_change(req) || pt_refuse_name(req, name) ||
        pt_refuse_name(req, newname) ||
        !pt_pin_two(req, parent, &from, newparent, &to))
        return;
    if (flags == 0)
        keep = pt_keep_begin(fs, to, newname, false);
    err = renameat2(from->fd, name, to->fd, newname, flags) < 0 ? errno : 0;
    pt_keep_end(fs, keep, !err);
    pt_node_put(&fs->nodes, to);
    pt_node_put(&fs->nodes, from);
    fuse_reply_err(req, err);
}

/*
 * Over the descriptor's name in /proc: linkat() of a bare descriptor needs
 * CAP_DAC_READ_SEARCH.  The magic link leads to the node itself, also when
 * that is a symbolic link.  The answer is the node the guest named, whatever
 * has become of the new name meanwhile.
 */
static int make_link(struct pt_fs *fs, struct pt_node *n, struct pt_node *dir,
                     const char *name, struct fuse_entry_out *ent)
{
    struct pt_key key;
    struct statx sx;
    int ret;

    if (linkat(fs->proc_fd, pt_proc_name(n->fd).s, dir->fd, name,
               AT_SYMLINK_FOLLOW) < 0)
        return -errno;
    ret = pt_statx(n->fd, "", &sx, &key);
    if (ret == 0)
        ret = pt_node_add_lookup(&fs->nodes, n);
    if (ret == 0)
        pt_entry_fill(fs, &dir->key, &n->key, pt_slot_id(&n->slot), &sx, ent);
    return ret;
}

void pt_op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent,
                const char *newname)
{
    struct pt_fs *fs = pt_fs_of(req);
    struct pt_node *n, *dir;
    struct fuse_entry_out ent;
    int ret;

    if (pt_refuse_change(req) || pt_refuse_name(req, newname) ||
        !pt_pin_two(req, ino, &n, newparent, &dir))
        return;
    ret = make_link(fs, n, dir, newname, &ent);
    pt_node_put(&fs->nodes, dir);
    pt_node_put(&fs->nodes, n);
    if (ret < 0)
        fuse_reply_err(req, -ret);
    else
        pt_reply(req, &ent, sizeof(ent));
}
