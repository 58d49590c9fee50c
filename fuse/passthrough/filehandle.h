/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_FUSE_PASSTHROUGH_FILEHANDLE_H
#define VIRTIOFSD_FUSE_PASSTHROUGH_FILEHANDLE_H

/*
 * File handles, as name_to_handle_at(2) gives them: some bytes by which a
 * file system finds a file again that nobody holds open.  They say which file
 * was meant even after its inode number went to another one.
 *
 * They are made by the host, kept by us and never seen by a guest.
 */

#include <stdbool.h>
#include <stdint.h>

#define PT_FH_MAX    128 /* bytes of a handle; the kernel gives no more */
#define PT_FH_INLINE 12  /* ext4, xfs, tmpfs: 8 or 12 */

/* Laid out as the kernel's struct file_handle. */
struct pt_fh {
    uint32_t len;
    int type;
    unsigned char b[PT_FH_MAX];
};

/* The same in the least memory; a longer one, or of a rarer type, lies in
 * memory of its own.  All zero: none. */
struct pt_fh_small {
    uint8_t how;
    unsigned char b[PT_FH_INLINE];
};

/**
 * pt_fh_get() - the handle of a name, without opening it.
 * @name: not followed when a symbolic link; "" means @fd itself.
 * @mnt_id: out, the mount which the file was seen through.
 * Return: 0; -EOPNOTSUPP: the file system has none; -errno.
 */
int pt_fh_get(int fd, const char *name, struct pt_fh *fh, uint32_t *mnt_id);

#define PT_FH_PATH (O_PATH | O_NOFOLLOW)

/**
 * pt_fh_open() - open the file.
 * @mount_fd: any file of its mount, opened without O_PATH.
 * @fh:       left as it is (the system call's prototype is not const).
 * @flags:    for open(2), O_CLOEXEC is added; PT_FH_PATH unless it is certain
 *            what the file is.
 * Context: needs CAP_DAC_READ_SEARCH.
 * Return: the descriptor; -ESTALE: the file is gone; -errno.
 */
int pt_fh_open(int mount_fd, struct pt_fh *fh, int flags);

/* Return: 0, or -ENOMEM; then @small is none. */
int pt_fh_pack(const struct pt_fh *fh, struct pt_fh_small *small);
void pt_fh_unpack(const struct pt_fh_small *small, struct pt_fh *fh);
bool pt_fh_same(const struct pt_fh_small *small, const struct pt_fh *fh);
/* @small is none afterwards. */
void pt_fh_drop(struct pt_fh_small *small);

#endif
