/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_TESTS_LIB_FUSECALL_H
#define VIRTIOFSD_TESTS_LIB_FUSECALL_H

/*
 * One function a FUSE operation, for tests which want what it does rather
 * than what its messages look like.  All return as fm_call().
 */

#include "tests/lib/fusemsg.h"

#define FC_ROOT FUSE_ROOT_ID

/* Who asks; NULL is root. */
struct fc_who {
    uint32_t uid, gid;
};

/* INIT as a current Linux guest sends it, with @flags offered.
 * @out may be NULL. */
int fc_init(struct guest_queue *q, uint64_t flags, struct fuse_init_out *out);
int fc_destroy(struct guest_queue *q);
int fc_lookup(struct guest_queue *q, uint64_t dir, const char *name,
              struct fuse_entry_out *e);
/* Look up a path with slashes, from the root. */
int fc_walk(struct guest_queue *q, const char *path, struct fuse_entry_out *e);
int fc_forget(struct guest_queue *q, uint64_t node, uint64_t n);
int fc_getattr(struct guest_queue *q, uint64_t node, struct fuse_attr_out *a);
int fc_setattr(struct guest_queue *q, uint64_t node,
               const struct fuse_setattr_in *in, struct fuse_attr_out *a);
/* @op: FUSE_OPEN or FUSE_OPENDIR. */
int fc_open(struct guest_queue *q, uint32_t op, uint64_t node, uint32_t flags,
            struct fuse_open_out *o);
/* @op: FUSE_RELEASE or FUSE_RELEASEDIR. */
int fc_release(struct guest_queue *q, uint32_t op, uint64_t node, uint64_t fh);
int fc_create(struct guest_queue *q, const struct fc_who *who, uint64_t dir,
              const char *name, uint32_t flags, uint32_t mode,
              struct fuse_entry_out *e, struct fuse_open_out *o);
/* @data, @len: out, in guest memory until the next request.  */
int fc_read(struct guest_queue *q, uint64_t node, uint64_t fh, uint64_t off,
            uint32_t size, const void **data, size_t *len);
int fc_write(struct guest_queue *q, uint64_t node, uint64_t fh, uint64_t off,
             const void *data, uint32_t size, uint32_t *written);
/* @op: FUSE_READDIR or FUSE_READDIRPLUS. */
int fc_readdir(struct guest_queue *q, uint32_t op, uint64_t node, uint64_t fh,
               uint64_t off, uint32_t size, const uint8_t **data, size_t *len);
/* What the first answer of a READDIRPLUS of @dir tells of @name; a CHECK fails
 * when it is not in there, and @e stays as it is. */
void fc_listed(struct guest_queue *q, uint64_t dir, const char *name,
               struct fuse_entry_out *e);
int fc_mkdir(struct guest_queue *q, const struct fc_who *who, uint64_t dir,
             const char *name, uint32_t mode, struct fuse_entry_out *e);
int fc_mknod(struct guest_queue *q, const struct fc_who *who, uint64_t dir,
             const char *name, uint32_t mode, uint32_t rdev,
             struct fuse_entry_out *e);
int fc_symlink(struct guest_queue *q, const struct fc_who *who, uint64_t dir,
               const char *name, const char *target, struct fuse_entry_out *e);
int fc_link(struct guest_queue *q, uint64_t node, uint64_t dir,
            const char *name, struct fuse_entry_out *e);
/* @op: FUSE_UNLINK or FUSE_RMDIR. */
int fc_remove(struct guest_queue *q, uint32_t op, uint64_t dir,
              const char *name);
/* RENAME, or RENAME2 when there are @flags. */
int fc_rename(struct guest_queue *q, uint64_t dir, const char *name,
              uint64_t new_dir, const char *new_name, uint32_t flags);
/* An operation whose arguments are one struct and whose reply has none. */
int fc_simple(struct guest_queue *q, uint32_t op, uint64_t node, const void *in,
              size_t len);

#endif
