/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_FUSE_PASSTHROUGH_MOUNTFD_H
#define VIRTIOFSD_FUSE_PASSTHROUGH_MOUNTFD_H

/*
 * A descriptor for each mount on which files are known by their handles:
 * open_by_handle_at(2) wants one.  Each such file has a reference, so a mount
 * is held as long as the guest knows files of it and no longer.  And while it
 * is held, its id is not given to another mount.
 *
 * A reference is an atomic count; the lock is for mounts that come and go.
 * Context: any thread.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "fuse/passthrough/filehandle.h"

#define PT_MOUNTS 256

struct pt_mount {
    _Atomic uint64_t word; /* mount id << 32 | references; 0 of them: free */
    int fd;                /* written under the lock, while free */
};

struct pt_mounts {
    pthread_mutex_t lock;
    struct pt_mount m[PT_MOUNTS];
    /* Ids of mounts known not to work, so as not to try with each file; one
     * may be out of date, which costs its files descriptors. */
    _Atomic uint32_t refused[16];
};

void pt_mounts_init(struct pt_mounts *t);
/* Nobody uses it any more. */
void pt_mounts_fini(struct pt_mounts *t);

/* One reference more to a mount that is known.  Return: it is. */
bool pt_mount_get(struct pt_mounts *t, uint32_t mnt_id);
void pt_mount_put(struct pt_mounts *t, uint32_t mnt_id);

/* Borrowed; the caller has a reference, or speaks for who has. */
int pt_mount_fd(struct pt_mounts *t, uint32_t mnt_id);

/**
 * pt_mount_learn() - get to know a mount by a file of it: one reference.
 * @path_fd: O_PATH of the file; borrowed.  Only a directory or a regular file
 *           is opened.
 * @type:    S_IFMT bits of the file.
 * @proc_fd: O_PATH of /proc/self/fd.
 * @fh:      the file's handle; it is tried.
 * @again:   try although it is known not to work.
 * Return: 0; -EOPNOTSUPP: handles of this file system cannot be relied on,
 * or there are too many mounts; -errno of opening by handle.
 */
int pt_mount_learn(struct pt_mounts *t, uint32_t mnt_id, int path_fd,
                   mode_t type, int proc_fd, struct pt_fh *fh, bool again);

#endif
