/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_FUSE_PROTO_H
#define VIRTIOFSD_FUSE_PROTO_H

/*
 * The FUSE protocol: <linux/fuse.h>, and under names of our own what came
 * after the oldest header we are built with (7.38 of Debian 12).
 * Spec: Linux, include/uapi/linux/fuse.h, up to 7.45.
 */

#include <linux/fuse.h>
#include <stdint.h>

/* INIT flags; those above bit 31 travel in flags2. */
#define PROTO_CREATE_SUPP_GROUP    (1ULL << 34)
#define PROTO_DIRECT_IO_ALLOW_MMAP (1ULL << 36)
#define PROTO_ALLOW_IDMAP          (1ULL << 40)

/* Operations. */
#define PROTO_SYNCFS             50
#define PROTO_TMPFILE            51
#define PROTO_STATX              52
#define PROTO_COPY_FILE_RANGE_64 53

/* The kind of an extension behind the arguments: up to 31 it is a number of
 * security contexts. */
#define PROTO_EXT_SECCTX_MAX 31
#define PROTO_EXT_GROUPS     32

struct proto_ext_header {
    uint32_t size; /* this header included */
    uint32_t type;
};

struct proto_supp_groups {
    uint32_t nr_groups;
    uint32_t groups[];
};

struct proto_sx_time {
    int64_t tv_sec;
    uint32_t tv_nsec;
    int32_t reserved;
};

struct proto_statx {
    uint32_t mask;
    uint32_t blksize;
    uint64_t attributes;
    uint32_t nlink;
    uint32_t uid;
    uint32_t gid;
    uint16_t mode;
    uint16_t spare0;
    uint64_t ino;
    uint64_t size;
    uint64_t blocks;
    uint64_t attributes_mask;
    struct proto_sx_time atime;
    struct proto_sx_time btime;
    struct proto_sx_time ctime;
    struct proto_sx_time mtime;
    uint32_t rdev_major;
    uint32_t rdev_minor;
    uint32_t dev_major;
    uint32_t dev_minor;
    uint64_t spare2[14];
};

struct proto_statx_in {
    uint32_t getattr_flags;
    uint32_t reserved;
    uint64_t fh;
    uint32_t sx_flags;
    uint32_t sx_mask;
};

struct proto_statx_out {
    uint64_t attr_valid; /* seconds */
    uint32_t attr_valid_nsec;
    uint32_t flags;
    uint64_t spare[2];
    struct proto_statx stat;
};

struct proto_copy_file_range_out {
    uint64_t bytes_copied;
};

struct proto_syncfs_in {
    uint64_t padding;
};

/* What a guest offers, or is answered, as one word. */
static inline uint64_t proto_init_flags(uint32_t flags, uint32_t flags2)
{
    return flags & FUSE_INIT_EXT ? (uint64_t)flags2 << 32 | flags : flags;
}

#endif
