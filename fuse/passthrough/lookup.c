/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "fuse/passthrough/nodefd.h"
#include "fuse/passthrough/pt_i.h"
#include "fuse/request.h"
#include "virtiofsd/base/fd.h"
#include "virtiofsd/base/sys.h"

/*
 * Without file handles: a known file costs one statx() when asked by name
 * first, three calls (openat, statx, close) when opened first; a new one costs
 * three and two.  So guess from what this thread saw last: a find over a fresh
 * tree meets new files, a second git status known ones.
 *
 * With them nothing is opened: one call for a known file, two for a new one.
 */
#define GUESS_NEW 2
#define GUESS_MAX 3
static _Thread_local unsigned int guess;

void pt_entry_fill(const struct pt_fs *fs, const struct pt_key *parent,
                   const struct pt_key *key, uint64_t id,
                   const struct statx *sx, struct fuse_entry_out *out)
{
    out->nodeid = id;
    out->generation = fs->generation;
    out->entry_valid = fs->entry_valid.s;
    out->attr_valid = fs->attr_valid.s;
    out->entry_valid_nsec = fs->entry_valid.ns;
    out->attr_valid_nsec = fs->attr_valid.ns;
    pt_attr_of_statx(fs, sx, &out->attr);
    if ((fs->agreed & FUSE_SUBMOUNTS) && S_ISDIR(sx->stx_mode) &&
        (key->dev != parent->dev || key->mnt_id != parent->mnt_id)) {
        out->attr.flags = FUSE_ATTR_SUBMOUNT;
        /* Linux keeps none for a mount point, and takes one that does not
         * match for another inode. */
        out->generation = 0;
    }
}

static bool by_handle(const struct pt_fs *fs)
{
    return fs->nodes.ring.n > 0;
}

/*
 * Fifos, sockets and devices are opened by the guest without asking us, so
 * nothing but the node would hold one that is deleted in use.  There are few.
 */
static bool may_be_closed(mode_t type)
{
    return S_ISREG(type) || S_ISDIR(type) || S_ISLNK(type);
}

/*
 * A new file, known by its handle, without opening it.  statx(2) and handle
 * may have seen two files of one name; where the time of birth is known that
 * shows when the node is opened, else it takes one more look, after the
 * handle (see prove() in nodefd.c).
 * Return: 0 or -errno; then it has to be opened.
 */
static int insert_unopened(struct pt_fs *fs, const struct pt_node *parent,
                           const char *name, struct statx *sx,
                           struct pt_key *key, uint64_t *id)
{
    struct pt_fh fh;
    uint32_t mnt_id;
    int ret;

    if (!may_be_closed(sx->stx_mode))
        return -EOPNOTSUPP;
    ret = pt_fh_get(parent->fd, name, &fh, &mnt_id);
    if (ret == 0 && !key->birth)
        ret = pt_statx(parent->fd, name, sx, key);
    if (ret < 0)
        return ret;
    if (mnt_id != key->mnt_id || !pt_mount_get(&fs->nodes.mounts, mnt_id))
        return -EOPNOTSUPP;
    ret = pt_node_insert(&fs->nodes, key, sx->stx_mode, -1, &fh, id);
    return MIN(ret, 0);
}

/* The handle of an open file, with a reference to its mount. */
static int handle_of(struct pt_fs *fs, int fd, const struct pt_key *key,
                     mode_t type, struct pt_fh *fh)
{
    uint32_t mnt_id;
    int ret = pt_fh_get(fd, "", fh, &mnt_id);

    if (ret == 0 && mnt_id != key->mnt_id)
        ret = -EOPNOTSUPP;
    if (ret < 0)
        return ret;
    return pt_mount_learn(&fs->nodes.mounts, mnt_id, fd, type, fs->proc_fd, fh,
                          fs->opts.file_handles == PT_HANDLES_MANDATORY);
}

/*
 * A directory that was opened keeps its descriptor, and needs no handle before
 * that is wanted for another node: the most short-lived ones never do.  That
 * handles can be had is known of its mount.
 * @fd is taken, unless -EAGAIN is returned.
 * Return: as pt_node_insert(); -EAGAIN: its handle is needed now.
 */
static int insert_dir(struct pt_fs *fs, int fd, const struct pt_key *key,
                      mode_t type, uint64_t *id)
{
    int ret;

    if (!S_ISDIR(type) || !pt_mount_get(&fs->nodes.mounts, key->mnt_id))
        return -EAGAIN;
    ret = pt_node_insert_open(&fs->nodes, key, type, fd, id);
    if (ret > 0)
        pt_node_place(&fs->nodes, *id);
    else if (ret == -EAGAIN)
        pt_mount_put(&fs->nodes.mounts, key->mnt_id);
    return ret;
}

/* @fd is taken.  Return: as pt_node_insert(). */
static int insert_fd(struct pt_fs *fs, int fd, const struct pt_key *key,
                     mode_t type, uint64_t *id)
{
    struct pt_fh fh;
    int ret;

    if (!by_handle(fs) || !may_be_closed(type))
        return pt_node_insert(&fs->nodes, key, type, fd, NULL, id);
    ret = insert_dir(fs, fd, key, type, id);
    if (ret != -EAGAIN)
        return ret;
    ret = handle_of(fs, fd, key, type, &fh);
    if (ret == 0)
        return pt_node_insert(&fs->nodes, key, type, fd, &fh, id);
    if (fs->opts.file_handles != PT_HANDLES_MANDATORY)
        return pt_node_insert(&fs->nodes, key, type, fd, NULL, id);
    close(fd);
    return -EOPNOTSUPP;
}

int pt_lookup_fd(struct pt_fs *fs, struct pt_node *parent, int fd,
                 struct fuse_entry_out *out)
{
    struct pt_key key;
    struct statx sx;
    uint64_t id;
    int ret;

    ret = pt_statx(fd, "", &sx, &key);
    if (ret < 0) {
        close(fd);
        return ret;
    }
    ret = insert_fd(fs, fd, &key, sx.stx_mode, &id);
    if (ret < 0)
        return ret;
    if (ret == 0)
        guess = 0;
    else if (guess < GUESS_MAX)
        guess++;
    pt_entry_fill(fs, &parent->key, &key, id, &sx, out);
    return 0;
}

int pt_lookup_made(struct pt_fs *fs, struct pt_node *parent, int fd,
                   struct fuse_entry_out *out)
{
    struct pt_key key;
    struct statx sx;
    struct pt_fh fh;
    uint64_t id;
    int ret;

    if (!by_handle(fs))
        return -EOPNOTSUPP;
    ret = pt_statx(fd, "", &sx, &key);
    if (ret < 0)
        return ret;
    if (handle_of(fs, fd, &key, sx.stx_mode, &fh) < 0)
        return -EOPNOTSUPP;
    ret = pt_node_insert(&fs->nodes, &key, sx.stx_mode, -1, &fh, &id);
    if (ret < 0)
        return ret;
    if (ret > 0)
        pt_node_prove(&fs->nodes, id);
    pt_entry_fill(fs, &parent->key, &key, id, &sx, out);
    return 0;
}

/* Return: 1 when it is done, 0 when the file has to be opened, or -errno. */
static int lookup_unopened(struct pt_fs *fs, struct pt_node *parent,
                           const char *name, struct fuse_entry_out *out)
{
    struct pt_key key;
    struct statx sx;
    uint64_t id;
    int ret = pt_statx(parent->fd, name, &sx, &key);

    if (ret < 0)
        return ret;
    id = pt_node_find(&fs->nodes, &key);
    if (id)
        guess = 0;
    else if (!by_handle(fs) ||
             insert_unopened(fs, parent, name, &sx, &key, &id) < 0)
        return 0;
    pt_entry_fill(fs, &parent->key, &key, id, &sx, out);
    return 1;
}

int pt_lookup_open(struct pt_fs *fs, struct pt_node *parent, const char *name,
                   struct fuse_entry_out *out)
{
    int fd = sys_openat(parent->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);

    fd = pt_fd_admit(&fs->nodes, fd < 0 ? -errno : fd);
    return fd < 0 ? fd : pt_lookup_fd(fs, parent, fd, out);
}

int pt_lookup(struct pt_fs *fs, struct pt_node *parent, const char *name,
              struct fuse_entry_out *out)
{
    int ret;

    if (by_handle(fs) || guess < GUESS_NEW) {
        ret = lookup_unopened(fs, parent, name, out);
        if (ret != 0)
            return MIN(ret, 0);
    }
    return pt_lookup_open(fs, parent, name, out);
}

/* Which file has the name.  @fd: out, unless NULL: O_PATH of it. */
static int whose_name(struct pt_fs *fs, const struct pt_node *parent,
                      const char *name, struct statx *sx, struct pt_key *key,
                      int *fd)
{
    if (!fd)
        return pt_statx(parent->fd, name, sx, key);
    *fd = sys_openat(parent->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
    *fd = pt_fd_admit(&fs->nodes, *fd < 0 ? -errno : *fd);
    return *fd < 0 ? *fd : pt_statx(*fd, "", sx, key);
}

/*
 * A directory is mostly open, since there were names in it or it is new.  A
 * file is likely to be as the last one was that this thread removed: closed,
 * and by its name it is opened sooner than by its handle; or there is nothing
 * to be opened, and to ask is enough.
 */
static _Thread_local bool ask_first;

struct pt_node *pt_keep_begin(struct pt_fs *fs, const struct pt_node *parent,
                              const char *name, bool is_dir)
{
    bool ask = is_dir || ask_first, closed;
    struct pt_node *n = NULL;
    auto_fd fd = -1;
    struct pt_key key;
    struct statx sx;

    if (!by_handle(fs) ||
        whose_name(fs, parent, name, &sx, &key, ask ? NULL : &fd) < 0)
        return NULL;
    if (S_ISDIR(sx.stx_mode) || sx.stx_nlink <= 1)
        n = pt_node_find_get(&fs->nodes, &key);
    closed = n && !pt_node_is_open(n);
    if (!is_dir)
        ask_first = !closed;
    if (!n)
        return NULL;
    atomic_fetch_or_explicit(&n->marks, PT_MARK_KEEP, memory_order_relaxed);
    if (closed && fd >= 0)
        pt_node_adopt(&fs->nodes, n, take_fd(&fd));
    else if (closed)
        pt_node_open(&fs->nodes, n);
    return n;
}

void pt_keep_end(struct pt_fs *fs, struct pt_node *n, bool removed)
{
    if (!n)
        return;
    if (!removed)
        atomic_fetch_and_explicit(&n->marks, (uint8_t)~PT_MARK_KEEP,
                                  memory_order_relaxed);
    pt_node_put(&fs->nodes, n);
}

/* There is no such name: node id 0 says so for as long as the entry is valid,
 * an error for this once. */
static int absent(const struct pt_fs *fs, struct fuse_entry_out *out)
{
    const struct pt_valid *v = &fs->negative_valid;

    if (!v->s && !v->ns)
        return -ENOENT;
    *out = (struct fuse_entry_out){
        .entry_valid = v->s,
        .entry_valid_nsec = v->ns,
    };
    return 0;
}

static int lookup_name(struct pt_fs *fs, struct pt_node *dir, const char *name,
                       struct fuse_entry_out *out)
{
    int ret = pt_lookup(fs, dir, name, out);

    return ret == -ENOENT ? absent(fs, out) : ret;
}

int pt_raw_lookup(struct pt_fs *fs, struct request *r)
{
    const char *name = request_args(r, NULL);
    bool exported = pt_is_exported(fs, name);
    int ret = exported ? 0 : pt_name_check(name);
    struct fuse_entry_out out;
    struct pt_node *dir;

    if (likely(ret == 0))
        ret = pt_node_pin(fs, request_header(r)->nodeid, &dir);
    if (ret < 0)
        return ret;
    ret = exported ? pt_export_lookup(fs, dir, name, &out)
                   : lookup_name(fs, dir, name, &out);
    pt_node_put(&fs->nodes, dir);
    if (ret < 0)
        return ret;
    request_reply(r, &out, sizeof(out));
    return 0;
}

/* Nobody waits for an answer to these two. */
int pt_raw_forget(struct pt_fs *fs, struct request *r)
{
    const struct fuse_forget_in *in = request_args(r, NULL);

    pt_forget(fs, request_header(r)->nodeid, in->nlookup);
    return 0;
}

/* The count is checked against the message's size by validate.c. */
int pt_raw_batch_forget(struct pt_fs *fs, struct request *r)
{
    const struct fuse_batch_forget_in *in = request_args(r, NULL);
    const struct fuse_forget_one *one = (const void *)(in + 1);

    for (uint32_t i = 0; i < in->count; i++)
        pt_forget(fs, one[i].nodeid, one[i].nlookup);
    return 0;
}
