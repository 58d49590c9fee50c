/* SPDX-License-Identifier: BSD-3-Clause */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "fuse/passthrough/pt_i.h"
#include "fuse/request.h"

int pt_raw_opendir(struct pt_fs *fs, struct request *r)
{
    uint64_t id = request_header(r)->nodeid;
    struct fuse_open_out out = { 0 };
    struct pt_node *n;
    int ret = pt_node_pin(fs, id, &n);

    if (ret < 0)
        return ret;
    ret = S_ISDIR(n->type) ? pt_reopen(fs, n->fd, n->type, O_RDONLY) : -ENOTDIR;
    pt_node_put(&fs->nodes, n);
    if (ret >= 0)
        ret = pt_handle_add(&fs->handles, PT_HANDLE_DIR, ret, O_RDONLY, id,
                            &out.fh);
    if (ret < 0)
        return ret;
    if (fs->opts.cache == PT_CACHE_ALWAYS ||
        fs->opts.cache == PT_CACHE_METADATA)
        out.open_flags = FOPEN_CACHE_DIR | FOPEN_KEEP_CACHE;
    request_reply(r, &out, sizeof(out));
    return 0;
}

int pt_raw_releasedir(struct pt_fs *fs, struct request *r)
{
    const struct fuse_release_in *in = request_args(r, NULL);
    int ret = pt_handle_release(&fs->handles, in->fh, PT_HANDLE_DIR);

    if (ret == 0)
        request_reply_err(r, 0);
    return ret;
}

/* One READDIR or READDIRPLUS on its way. */
struct listing {
    struct pt_fs *fs;
    struct pt_node *dir;
    bool plus;
    uint8_t *buf;
    size_t room, used; /* bytes of buf */
};

static bool is_dot(const char *name)
{
    return !strcmp(name, ".") || !strcmp(name, "..");
}

/* The number which the directory itself tells.  Where ".." of the root leads
 * is no business of the guest's. */
static uint64_t bare_ino(const struct listing *l, const struct dirent64 *de)
{
    if (l->dir->slot.idx == PT_ROOT_ID && !strcmp(de->d_name, ".."))
        return l->dir->key.ino;
    return de->d_ino;
}

/*
 * A look-up is counted by the guest when the entry reaches it, so it is made
 * only once it is known that the entry fits.  One that fails (the file is
 * gone, we are out of descriptors) leaves node id 0: a name without
 * attributes, which the guest looks up when it wants them.
 */
static void look_up(const struct listing *l, const struct dirent64 *de,
                    struct fuse_entry_out *out)
{
    if (!is_dot(de->d_name) && pt_lookup(l->fs, l->dir, de->d_name, out) == 0)
        return;
    *out = (struct fuse_entry_out){
        .attr = { .ino = bare_ino(l, de),
                  .mode = (uint32_t)DTTOIF(de->d_type) },
    };
}

/* Return: false when the entry has no room any more. */
static bool add_entry(struct listing *l, const struct dirent64 *de)
{
    size_t head = l->plus ? FUSE_NAME_OFFSET_DIRENTPLUS : FUSE_NAME_OFFSET;
    size_t name_len = strlen(de->d_name);
    size_t len = FUSE_DIRENT_ALIGN(head + name_len);
    struct fuse_direntplus *plus = (void *)(l->buf + l->used);
    struct fuse_dirent *out = l->plus ? &plus->dirent : (void *)plus;

    if (len > l->room - l->used)
        return false;
    if (l->plus) {
        look_up(l, de, &plus->entry_out);
        out->ino = plus->entry_out.attr.ino;
        out->type = (plus->entry_out.attr.mode & S_IFMT) >> 12;
    } else {
        out->ino = bare_ino(l, de);
        out->type = de->d_type;
    }
    out->off = (uint64_t)de->d_off;
    out->namelen = (uint32_t)name_len;
    memcpy(out->name, de->d_name, name_len);
    memset(out->name + name_len, 0, len - head - name_len);
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

static int readdir_any(struct pt_fs *fs, struct request *r, bool plus)
{
    const struct fuse_read_in *in = request_args(r, NULL);
    struct listing l = { .fs = fs, .plus = plus };
    struct pt_handle *h;
    int ret;

    l.room = MIN(in->size, request_reply_room(r));
    l.room = MIN(l.room, REQUEST_SCRATCH_MAX);
    l.buf = request_scratch(r, l.room);
    if (!l.buf)
        return -ENOMEM;
    h = pt_handle_get(&fs->handles, in->fh, PT_HANDLE_DIR);
    if (!h)
        return -EBADF;
    ret = list(&l, h, (off_t)in->offset);
    pt_handle_put(&fs->handles, h);
    if (ret < 0)
        return ret;
    request_reply(r, l.buf, l.used);
    return 0;
}

int pt_raw_readdir(struct pt_fs *fs, struct request *r)
{
    return readdir_any(fs, r, false);
}

int pt_raw_readdirplus(struct pt_fs *fs, struct request *r)
{
    return readdir_any(fs, r, true);
}
