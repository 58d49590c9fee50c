/* SPDX-License-Identifier: BSD-3-Clause */
/* Names made, moved and removed. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fuse/passthrough/pt_i.h"
#include "fuse/request.h"

/* What a new name is made of; for pt_run_as_caller(). */
struct make_args {
    int dir_fd;
    const char *name;
    const char *target;
    mode_t mode, umask;
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
static int label(struct pt_fs *fs, const struct request *r, int dir_fd,
                 const char *name, const struct fuse_entry_out *ent)
{
    struct pt_node *n;
    int ret = pt_node_pin(fs, ent->nodeid, &n);

    if (ret == 0) {
        ret = pt_set_labels(fs, r, n->fd);
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
static int make(struct pt_fs *fs, struct request *r, int (*fn)(void *),
                struct make_args *a)
{
    struct fuse_entry_out ent;
    struct pt_node *dir;
    int ret = pt_change_check(fs, a->name);

    if (ret == 0)
        ret = pt_node_pin(fs, request_header(r)->nodeid, &dir);
    if (ret < 0)
        return ret;
    a->dir_fd = dir->fd;
    ret = pt_run_as_caller(fs, r, a->umask, true, fn, a);
    if (ret == 0)
        ret = look_up(fs, dir, fn == make_dir, a->name, &ent);
    if (ret == 0 && request_ext(r)->n_secctx)
        ret = label(fs, r, dir->fd, a->name, &ent);
    pt_node_put(&fs->nodes, dir);
    if (ret < 0)
        return ret;
    request_reply(r, &ent, sizeof(ent));
    return 0;
}

/* The mode of a link is what it is, whatever the umask. */
int pt_raw_symlink(struct pt_fs *fs, struct request *r)
{
    struct make_args a = { .name = request_args(r, NULL) };

    a.target = a.name + strlen(a.name) + 1;
    return make(fs, r, make_symlink, &a);
}

int pt_raw_mknod(struct pt_fs *fs, struct request *r)
{
    const struct fuse_mknod_in *in = request_args(r, NULL);
    struct make_args a = { .name = (const char *)(in + 1),
                           .mode = in->mode,
                           .umask = in->umask,
                           .rdev = in->rdev };

    return make(fs, r, make_node, &a);
}

int pt_raw_mkdir(struct pt_fs *fs, struct request *r)
{
    const struct fuse_mkdir_in *in = request_args(r, NULL);
    struct make_args a = { .name = (const char *)(in + 1),
                           .mode = in->mode & 07777,
                           .umask = in->umask };

    return make(fs, r, make_dir, &a);
}

int pt_raw_readlink(struct pt_fs *fs, struct request *r)
{
    char target[PATH_MAX + 1];
    struct pt_node *n;
    ssize_t len;
    int ret = pt_node_pin(fs, request_header(r)->nodeid, &n);

    if (ret < 0)
        return ret;
    len = readlinkat(n->fd, "", target, sizeof(target));
    ret = len < 0 ? -errno : 0;
    pt_node_put(&fs->nodes, n);
    /* "" of what is no link: the kernel says ENOENT, readlink(2) EINVAL. */
    if (ret < 0)
        return ret == -ENOENT ? -EINVAL : ret;
    if ((size_t)len == sizeof(target))
        return -ENAMETOOLONG;
    request_reply(r, target, (size_t)len);
    return 0;
}

static int remove_name(struct pt_fs *fs, struct request *r, int flags)
{
    const char *name = request_args(r, NULL);
    struct pt_node *dir, *keep;
    int ret = pt_change_check(fs, name);

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

/* @name: followed by the new one. */
static int rename_name(struct pt_fs *fs, struct request *r, const char *name,
                       uint64_t new_dir, unsigned int flags)
{
    const char *new_name = name + strlen(name) + 1;
    struct pt_node *from, *to, *keep = NULL;
    int ret = pt_change_check(fs, name);

    if (ret == 0)
        ret = pt_name_check(new_name);
    if (ret == 0)
        ret =
            pt_node_pin_two(fs, request_header(r)->nodeid, &from, new_dir, &to);
    if (ret < 0)
        return ret;
    if (flags == 0)
        keep = pt_keep_begin(fs, to, new_name, false);
    ret = renameat2(from->fd, name, to->fd, new_name, flags) < 0 ? -errno : 0;
    pt_keep_end(fs, keep, ret == 0);
    pt_node_put(&fs->nodes, to);
    pt_node_put(&fs->nodes, from);
    if (ret == 0)
        request_reply_err(r, 0);
    return ret;
}

int pt_raw_rename(struct pt_fs *fs, struct request *r)
{
    const struct fuse_rename_in *in = request_args(r, NULL);

    return rename_name(fs, r, (const char *)(in + 1), in->newdir, 0);
}

int pt_raw_rename2(struct pt_fs *fs, struct request *r)
{
    const struct fuse_rename2_in *in = request_args(r, NULL);

    return rename_name(fs, r, (const char *)(in + 1), in->newdir, in->flags);
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

int pt_raw_link(struct pt_fs *fs, struct request *r)
{
    const struct fuse_link_in *in = request_args(r, NULL);
    const char *name = (const char *)(in + 1);
    struct pt_node *n, *dir;
    struct fuse_entry_out ent;
    int ret = pt_change_check(fs, name);

    if (ret == 0)
        ret = pt_node_pin_two(fs, in->oldnodeid, &n, request_header(r)->nodeid,
                              &dir);
    if (ret < 0)
        return ret;
    ret = make_link(fs, n, dir, name, &ent);
    pt_node_put(&fs->nodes, dir);
    pt_node_put(&fs->nodes, n);
    if (ret < 0)
        return ret;
    request_reply(r, &ent, sizeof(ent));
    return 0;
}
