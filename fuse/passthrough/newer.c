/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Operations which libfuse 3.14 does not know: they see the request itself.
 * A libfuse that does know one can take it over by a row in pt_ops.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "fuse/passthrough/pt_i.h"
#include "fuse/proto.h"
#include "fuse/request.h"
#include "virtiofsd/base/fd.h"

/* What STATX may ask for: the guest's kernel gives the rest a meaning of its
 * own (its mount, its direct I/O). */
#define STATX_WANTED (STATX_BASIC_STATS | STATX_BTIME)
#define STATX_SYNCS  (AT_STATX_FORCE_SYNC | AT_STATX_DONT_SYNC)

/*
 * sync(2) and syncfs(2) in the guest.  It names the root of one of its super
 * blocks: the share's or, announced, that of a submount.  No system call syncs
 * by an O_PATH descriptor.
 */
int pt_raw_syncfs(struct pt_fs *fs, struct request *r)
{
    auto_fd fd = -1;
    struct pt_node *n;
    int ret = pt_node_pin(fs, request_header(r)->nodeid, &n);

    if (ret < 0)
        return ret;
    ret = fd = pt_reopen(fs, n->fd, n->type, O_RDONLY);
    if (fd >= 0)
        ret = syncfs(fd) < 0 ? -errno : 0;
    pt_node_put(&fs->nodes, n);
    if (ret == 0)
        request_reply_err(r, 0);
    return ret;
}

static struct proto_sx_time sx_time(const struct statx_timestamp *t)
{
    return (struct proto_sx_time){ .tv_sec = t->tv_sec, .tv_nsec = t->tv_nsec };
}

static void fill_statx(const struct pt_fs *fs, const struct statx *sx,
                       struct proto_statx *out)
{
    *out = (struct proto_statx){
        .mask = sx->stx_mask & STATX_WANTED,
        .blksize = sx->stx_blksize,
        .attributes = sx->stx_attributes,
        .attributes_mask = sx->stx_attributes_mask,
        .nlink = sx->stx_nlink,
        .uid = idmap_to_guest(&fs->opts.uid_map, sx->stx_uid),
        .gid = idmap_to_guest(&fs->opts.gid_map, sx->stx_gid),
        .mode = sx->stx_mode,
        .ino = sx->stx_ino,
        .size = sx->stx_size,
        .blocks = sx->stx_blocks,
        .atime = sx_time(&sx->stx_atime),
        .btime = sx_time(&sx->stx_btime),
        .ctime = sx_time(&sx->stx_ctime),
        .mtime = sx_time(&sx->stx_mtime),
        .rdev_major = sx->stx_rdev_major,
        .rdev_minor = sx->stx_rdev_minor,
        .dev_major = sx->stx_dev_major,
        .dev_minor = sx->stx_dev_minor,
    };
}

/* The guest takes the answer for its attribute cache only when all of the
 * basic ones are in it, so they always are. */
int pt_raw_statx(struct pt_fs *fs, struct request *r)
{
    const struct proto_statx_in *in = request_args(r, NULL);
    struct proto_statx_out out = {
        .attr_valid = fs->attr_valid.s,
        .attr_valid_nsec = fs->attr_valid.ns,
    };
    struct statx sx;
    struct pt_node *n;
    int ret = pt_node_pin(fs, request_header(r)->nodeid, &n);

    if (ret < 0)
        return ret;
    if (statx(n->fd, "", AT_EMPTY_PATH | (int)(in->sx_flags & STATX_SYNCS),
              STATX_WANTED, &sx) < 0)
        ret = -errno;
    pt_node_put(&fs->nodes, n);
    if (ret < 0)
        return ret;
    fill_statx(fs, &sx, &out.stat);
    request_reply(r, &out, sizeof(out));
    return 0;
}

/* As COPY_FILE_RANGE, whose answer has 32 bits only. */
int pt_raw_copy_file_range_64(struct pt_fs *fs, struct request *r)
{
    const struct fuse_copy_file_range_in *in = request_args(r, NULL);
    struct proto_copy_file_range_out out;
    ssize_t n;

    if (fs->opts.readonly)
        return -EROFS;
    n = pt_copy_range(fs, in->fh_in, (off_t)in->off_in, in->fh_out,
                      (off_t)in->off_out, in->len, (unsigned int)in->flags);
    if (n < 0)
        return (int)n;
    out.bytes_copied = (uint64_t)n;
    request_reply(r, &out, sizeof(out));
    return 0;
}
