/* SPDX-License-Identifier: BSD-3-Clause */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "fuse/passthrough/pt_i.h"
#include "fuse/request.h"

void pt_op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct pt_fs *fs = pt_fs_of(req);
    struct pt_node *n = pt_pin(req, ino);
    int ret;

    if (!n)
        return;
    ret = S_ISDIR(n->type) ? pt_reopen(fs, n->fd, n->type, O_RDONLY) : -ENOTDIR;
    pt_node_put(&fs->nodes, n);
    if (ret >= 0)
        ret = pt_handle_add(&fs->handles, PT_HANDLE_DIR, ret, O_RDONLY, ino,
                            &fi->fh);
    if (ret < 0) {
        fuse_reply_err(req, -ret);
        return;
    }
    if (fs->opts.cache == PT_CACHE_ALWAYS ||
        fs->opts.cache == PT_CACHE_METADATA) {
        fi->cache_readdir = 1;
        fi->keep_cache = 1;
    }
    if (fuse_reply_open(req, fi) < 0)
        pt_handle_release(&fs->handles, fi->fh, PT_HANDLE_DIR);
}

void pt_op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct pt_fs *fs = pt_fs_of(req);

    (void)ino;
    fuse_reply_err(req,
                   -pt_handle_release(&fs->handles, fi->fh, PT_HANDLE_DIR));
}

void pt_op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync,
                    struct fuse_file_info *fi)
{
    struct pt_fs *fs = pt_fs_of(req);
    struct pt_handle *h = pt_handle_get(&fs->handles, fi->fh, PT_HANDLE_DIR);
    int err;

    (void)ino;
    if (!h) {
        fuse_reply_err(req, EBADF);
        return;
    }
    err = (datasync ? fdatasync(h->fd) : fsync(h->fd)) < 0 ? errno : 0;
    pt_handle_put(&fs->handles, h);
    fuse_reply_err(req, err);
}

/* One READDIR or READDIRPLUS on its way. */
struct listing {
    fuse_req_t req;
    struct pt_fs *fs;
    struct pt_node *dir;
    bool plus;
    char *buf;
    size_t room, used; /* bytes of buf */
};

static bool is_dot(const char *name)
{
    return !strcmp(name, ".") || !strcmp(name, "..");
}

/* What the directory itself tells about an entry.  Where ".." of the root
 * leads is no business of the guest's. */
static void bare_entry(const struct listing *l, const struct dirent64 *de,
                       struct pt_entry *out)
{
    memset(out, 0, sizeof(*out));
    out->e.attr.st_ino = de->d_ino;
    out->e.attr.st_mode = (mode_t)DTTOIF(de->d_type);
    if (l->dir->slot.idx == PT_ROOT_ID && !strcmp(de->d_name, ".."))
        out->e.attr.st_ino = l->dir->key.ino;
}

/*
 * A look-up is counted by the guest when the entry reaches it, so it is made
 * only once it is known that the entry fits.  One that fails (the file is
 * gone, we are out of descriptors) leaves node id 0: a name without
 * attributes, which the guest looks up when it wants them.
 */
static void add_plus(struct listing *l, const struct dirent64 *de, size_t len)
{
    char *at = l->buf + l->used;
    struct pt_entry ent;

    if (is_dot(de->d_name) || pt_lookup(l->fs, l->dir, de->d_name, &ent) < 0)
        bare_entry(l, de, &ent);
    fuse_add_direntry_plus(l->req, at, len, de->d_name, &ent.e, de->d_off);
    if (ent.attr_flags)
        request_patch_direntplus(request_current(), at, ent.attr_flags);
}

static void add_plain(struct listing *l, const struct dirent64 *de, size_t len)
{
    struct pt_entry ent;

    bare_entry(l, de, &ent);
    fuse_add_direntry(l->req, l->buf + l->used, len, de->d_name, &ent.e.attr,
                      de->d_off);
}

/* Return: false when the entry has no room any more. */
static bool add_entry(struct listing *l, const struct dirent64 *de)
{
    size_t len =
        l->plus ? fuse_add_direntry_plus(l->req, NULL, 0, de->d_name, NULL, 0)
                : fuse_add_direntry(l->req, NULL, 0, de->d_name, NULL, 0);

    if (len > l->room - l->used)
        return false;
    if (l->plus)
        add_plus(l, de, len);
    else
        add_plain(l, de, len);
    l->used += len;
    return true;
}

/* Get the next entry to be at d->pos.  Return: 1, 0 at the end, or -errno. */
static int next_entry(struct pt_dir *d, int fd)
{
    ssize_t n;

    if (d->pos < d->len)
        return 1;
    d->pos = d->len = 0;
    n = getdents64(fd, d->buf, sizeof(d->buf));
    if (n < 0)
        return -errno;
    d->len = (size_t)n;
    return n > 0;
}

/*
 * Fill the reply.  Only an entry that went into it moves the position.  An
 * error behind entries is kept for the next call, which will meet it again;
 * a reply without any entry would mean the end, so when not even the first
 * one fits that is an error too.
 */
static int fill_locked(struct listing *l, struct pt_dir *d, int fd, off_t off)
{
    int ret;

    if (off != d->off) {
        d->pos = d->len = 0;
        if (lseek(fd, off, SEEK_SET) < 0) {
            d->off = -1; /* where the descriptor stands is not known */
            return -errno;
        }
        d->off = off;
    }
    while ((ret = next_entry(d, fd)) > 0) {
        const struct dirent64 *de = (const void *)(d->buf + d->pos);

        if (!add_entry(l, de))
            return l->used ? 0 : -EINVAL;
        d->off = de->d_off;
        d->pos += de->d_reclen;
    }
    return l->used ? 0 : ret;
}

static int list(struct listing *l, const struct pt_handle *h, off_t off)
{
    int ret = pt_node_pin(l->fs, h->node_id, &l->dir);

    if (ret < 0)
        return ret;
    pthread_mutex_lock(&h->dir->lock);
    ret = fill_locked(l, h->dir, h->fd, off);
    pthread_mutex_unlock(&h->dir->lock);
    pt_node_put(&l->fs->nodes, l->dir);
    return ret;
}

static void readdir_any(fuse_req_t req, size_t size, off_t off,
                        const struct fuse_file_info *fi, bool plus)
{
    struct request *r = request_current();
    struct listing l = { .req = req, .fs = pt_fs_of(req), .plus = plus };
    struct pt_handle *h;
    int ret;

    l.room = MIN(size, request_reply_room(r));
    l.room = MIN(l.room, REQUEST_SCRATCH_MAX);
    l.buf = request_scratch(r, l.room);
    if (!l.buf) {
        fuse_reply_err(req, ENOMEM);
        return;
    }
    h = pt_handle_get(&l.fs->handles, fi->fh, PT_HANDLE_DIR);
    if (!h) {
        fuse_reply_err(req, EBADF);
        return;
    }
    ret = list(&l, h, off);
    pt_handle_put(&l.fs->handles, h);
    if (ret < 0)
        fuse_reply_err(req, -ret);
    else
        fuse_reply_buf(req, l.buf, l.used);
}

void pt_op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                   struct fuse_file_info *fi)
{
    (void)ino;
    readdir_any(req, size, off, fi, false);
}

void pt_op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                       struct fuse_file_info *fi)
{
    (void)ino;
    readdir_any(req, size, off, fi, true);
}
