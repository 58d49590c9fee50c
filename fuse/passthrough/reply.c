/* SPDX-License-Identifier: BSD-3-Clause */
#include "fuse/passthrough/reply.h"

#include <sys/sysmacros.h>

#include "fuse/passthrough/pt_i.h"

struct pt_valid pt_valid(double seconds)
{
    struct pt_valid v = { 0, 0 };
    double part;

    if (!(seconds > 0))
        return v;
    if (seconds >= (double)INT64_MAX) {
        v.s = INT64_MAX;
        return v;
    }
    v.s = (uint64_t)seconds;
    part = (seconds - (double)v.s) * 1e9;
    v.ns = part < 999999999 ? (uint32_t)part : 999999999;
    return v;
}

static uint32_t guest_uid(const struct pt_fs *fs, uint32_t uid)
{
    return idmap_to_guest(&fs->opts.uid_map, uid);
}

static uint32_t guest_gid(const struct pt_fs *fs, uint32_t gid)
{
    return idmap_to_guest(&fs->opts.gid_map, gid);
}

/* A device's number is 32 bits to the guest, as Linux writes them. */
void pt_attr_of_statx(const struct pt_fs *fs, const struct statx *sx,
                      struct fuse_attr *out)
{
    *out = (struct fuse_attr){
        .ino = sx->stx_ino,
        .size = sx->stx_size,
        .blocks = sx->stx_blocks,
        .atime = (uint64_t)sx->stx_atime.tv_sec,
        .mtime = (uint64_t)sx->stx_mtime.tv_sec,
        .ctime = (uint64_t)sx->stx_ctime.tv_sec,
        .atimensec = sx->stx_atime.tv_nsec,
        .mtimensec = sx->stx_mtime.tv_nsec,
        .ctimensec = sx->stx_ctime.tv_nsec,
        .mode = sx->stx_mode,
        .nlink = sx->stx_nlink,
        .uid = guest_uid(fs, sx->stx_uid),
        .gid = guest_gid(fs, sx->stx_gid),
        .rdev = (uint32_t)makedev(sx->stx_rdev_major, sx->stx_rdev_minor),
        .blksize = sx->stx_blksize,
    };
}

void pt_attr_of_stat(const struct pt_fs *fs, const struct stat *st,
                     struct fuse_attr *out)
{
    *out = (struct fuse_attr){
        .ino = st->st_ino,
        .size = (uint64_t)st->st_size,
        .blocks = (uint64_t)st->st_blocks,
        .atime = (uint64_t)st->st_atim.tv_sec,
        .mtime = (uint64_t)st->st_mtim.tv_sec,
        .ctime = (uint64_t)st->st_ctim.tv_sec,
        .atimensec = (uint32_t)st->st_atim.tv_nsec,
        .mtimensec = (uint32_t)st->st_mtim.tv_nsec,
        .ctimensec = (uint32_t)st->st_ctim.tv_nsec,
        .mode = st->st_mode,
        .nlink = (uint32_t)st->st_nlink,
        .uid = guest_uid(fs, st->st_uid),
        .gid = guest_gid(fs, st->st_gid),
        .rdev = (uint32_t)st->st_rdev,
        .blksize = (uint32_t)st->st_blksize,
    };
}
