/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_FUSE_PASSTHROUGH_REPLY_H
#define VIRTIOFSD_FUSE_PASSTHROUGH_REPLY_H

/*
 * What is told of files, in the protocol's own structs.
 */

#include <sys/stat.h>

#include "fuse/proto.h"

struct pt_fs;

/* How long something may be cached, as entries and attributes say it. */
struct pt_valid {
    uint64_t s;
    uint32_t ns;
};

/* @seconds: as an option gives them. */
struct pt_valid pt_valid(double seconds);

/* A file's attributes: the host's numbers, with the guest's ids. */
void pt_attr_of_statx(const struct pt_fs *fs, const struct statx *sx,
                      struct fuse_attr *out);
void pt_attr_of_stat(const struct pt_fs *fs, const struct stat *st,
                     struct fuse_attr *out);

#endif
