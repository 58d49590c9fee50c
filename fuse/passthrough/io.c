/* SPDX-License-Identifier: BSD-3-Clause */
/* What is done with open files. */
#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fuse/passthrough/pt_i.h"
#include "fuse/proto.h"
#include "fuse/request.h"

/* Pin the file behind @fi, or answer EBADF: then @req is gone. */
static struct pt_handle *get_file(fuse_req_t req,
                                  const struct fuse_file_info *fi)
{
    struct pt_handle *h =
        pt_handle_get(&pt_fs_of(req)->handles, fi->fh, PT_HANDLE_FILE);

    if (!h)
        fuse_reply_err(req, EBADF);
    return h;
}

int pt_raw_read(struct pt_fs *fs, struct request *r)
{
    const struct fuse_read_in *in = request_args(r, NULL);
    struct pt_handle *h = pt_handle_get(&fs->handles, in->fh, PT_HANDLE_FILE);
    ssize_t got;

    if (!h)
        return -EBADF;
    got = pt_read_paced(r, h, in->size, (off_t)in->offset);
    pt_handle_put(&fs->handles, h);
    if (got == PT_DEFERRED)
        return 0;
    if (got < 0)
        return (int)got;
    request_reply(r, NULL, 0); /* the payload is there already */
    return 0;
}

/*
 * FALLOCATE and COPY_FILE_RANGE change a file as a write does, but carry no
 * flag that says whether its set-id bits shall stay.  The guest's kernel, once
 * HANDLE_KILLPRIV_V2 is agreed, leaves them to us here too: root's stay.
 */
static int before_change(const struct pt_fs *fs, int fd)
{
    int ret = pt_keep_set_ids(!(fs->agreed & FUSE_HANDLE_KILLPRIV_V2) ||
                              request_header(request_current())->uid == 0);

    return ret < 0 ? ret : pt_drop_caps(fs, fd);
}

/*
 * The host appends, in one step with whoever else does, where the guest says
 * so for this WRITE.  Not pages from its cache (their place is known), nor
 * where the guest alone knows where the end is.
 */
static int write_flags(const struct pt_fs *fs, const struct fuse_write_in *in)
{
    if (!(in->flags & O_APPEND) || (in->write_flags & FUSE_WRITE_CACHE) ||
        (fs->agreed & FUSE_WRITEBACK_CACHE))
        return 0;
    return RWF_APPEND;
}

/* The bytes are still in guest memory; that there are as many as @in says is
 * checked by validate.c. */
static ssize_t write_file(const struct pt_fs *fs, struct request *r, int fd,
                          const struct fuse_write_in *in)
{
    int ret = pt_keep_set_ids(!request_ext(r)->kill_suidgid);

    if (likely(ret == 0))
        ret = pt_drop_caps(fs, fd);
    if (unlikely(ret < 0))
        return ret;
    return request_write_file(r, fd, in->size, (off_t)in->offset,
                              write_flags(fs, in));
}

int pt_raw_write(struct pt_fs *fs, struct request *r)
{
    const struct fuse_write_in *in = request_args(r, NULL);
    struct fuse_write_out out = { 0 };
    struct pt_handle *h;
    ssize_t put;

    if (fs->opts.readonly)
        return -EROFS;
    h = pt_handle_get(&fs->handles, in->fh, PT_HANDLE_FILE);
    if (!h)
        return -EBADF;
    if (unlikely(pt_defer_write(r, h))) {
        pt_handle_put(&fs->handles, h);
        return 0;
    }
    put = write_file(fs, r, h->fd, in);
    pt_handle_put(&fs->handles, h);
    if (put < 0)
        return (int)put;
    out.size = (uint32_t)put;
    request_reply(r, &out, sizeof(out));
    return 0;
}

/* Closing a copy makes a network file system tell of writes that failed. */
static int flush(const struct pt_handle *h)
{
    int fd;

    if ((h->flags & O_ACCMODE) == O_RDONLY)
        return 0;
    fd = fcntl(h->fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    return close(fd) < 0 ? -errno : 0;
}

int pt_raw_flush(struct pt_fs *fs, struct request *r)
{
    const struct fuse_flush_in *in = request_args(r, NULL);
    struct pt_handle *h = pt_handle_get(&fs->handles, in->fh, PT_HANDLE_FILE);
    int ret;

    if (!h)
        return -EBADF;
    ret = flush(h);
    pt_locks_flush(fs, h, in->lock_owner);
    pt_handle_put(&fs->handles, h);
    if (ret == 0)
        request_reply_err(r, 0);
    return ret;
}

static int sync_handle(struct pt_fs *fs, struct request *r,
                       enum pt_handle_kind kind)
{
    const struct fuse_fsync_in *in = request_args(r, NULL);
    struct pt_handle *h = pt_handle_get(&fs->handles, in->fh, kind);
    bool data_only = in->fsync_flags & FUSE_FSYNC_FDATASYNC;
    int ret;

    if (!h)
        return -EBADF;
    ret = (data_only ? fdatasync(h->fd) : fsync(h->fd)) < 0 ? -errno : 0;
    pt_handle_put(&fs->handles, h);
    if (ret == 0)
        request_reply_err(r, 0);
    return ret;
}

int pt_raw_fsync(struct pt_fs *fs, struct request *r)
{
    return sync_handle(fs, r, PT_HANDLE_FILE);
}

int pt_raw_fsyncdir(struct pt_fs *fs, struct request *r)
{
    return sync_handle(fs, r, PT_HANDLE_DIR);
}

/*
 * The descriptor's position moves, but nothing here reads by it.
 *
 * A guest with FUSE_WRITEBACK_CACHE asks without telling first what it has
 * yet to write, and would take new data for a hole: a copy that skips holes
 * would lose it.  ENOSYS makes it answer for itself, from then on: a file is
 * all data.
 */
void pt_op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
                 struct fuse_file_info *fi)
{
    struct pt_fs *fs = pt_fs_of(req);
    struct pt_handle *h = get_file(req, fi);
    off_t at;
    int err;

    (void)ino;
    if (!h)
        return;
    if (fs->agreed & FUSE_WRITEBACK_CACHE) {
        pt_handle_put(&fs->handles, h);
        fuse_reply_err(req, ENOSYS);
        return;
    }
    at = lseek(h->fd, off, whence);
    err = at < 0 ? errno : 0;
    pt_handle_put(&fs->handles, h);
    if (err)
        fuse_reply_err(req, err);
    else
        fuse_reply_lseek(req, at);
}

void pt_op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off,
                     off_t len, struct fuse_file_info *fi)
{
    struct pt_fs *fs = pt_fs_of(req);
    struct pt_handle *h;
    int err;

    (void)ino;
    if (pt_refuse_change(req))
        return;
    h = get_file(req, fi);
    if (!h)
        return;
    err = -before_change(fs, h->fd);
    if (!err && fallocate(h->fd, mode, off, len) < 0)
        err = errno;
    pt_handle_put(&fs->handles, h);
    fuse_reply_err(req, err);
}

ssize_t pt_copy_range(struct pt_fs *fs, uint64_t fh_in, off_t off_in,
                      uint64_t fh_out, off_t off_out, size_t len,
                      unsigned int flags)
{
    struct pt_handle *in = pt_handle_get(&fs->handles, fh_in, PT_HANDLE_FILE);
    struct pt_handle *out = pt_handle_get(&fs->handles, fh_out, PT_HANDLE_FILE);
    ssize_t n = in && out ? before_change(fs, out->fd) : -EBADF;

    if (n == 0) {
        n = copy_file_range(in->fd, &off_in, out->fd, &off_out, len, flags);
        if (n < 0)
            n = -errno;
    }
    if (out)
        pt_handle_put(&fs->handles, out);
    if (in)
        pt_handle_put(&fs->handles, in);
    return n;
}

void pt_op_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in,
                           struct fuse_file_info *fi_in, fuse_ino_t ino_out,
                           off_t off_out, struct fuse_file_info *fi_out,
                           size_t len, int flags)
{
    ssize_t n;

    (void)ino_in;
    (void)ino_out;
    if (pt_refuse_change(req))
        return;
    n = pt_copy_range(pt_fs_of(req), fi_in->fh, off_in, fi_out->fh, off_out,
                      len, (unsigned int)flags);
    if (n < 0)
        fuse_reply_err(req, (int)-n);
    else
        fuse_reply_write(req, (size_t)n);
}
