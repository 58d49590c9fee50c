/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_FUSE_REQUEST_H
#define VIRTIOFSD_FUSE_REQUEST_H

/*
 * One FUSE request in flight, as the passthrough operations see it.
 *
 * libfuse sees a copy of the request's header and arguments, made once;
 * payload never passes through it.  An operation asks for the current request
 * and moves payload between a file and guest memory with these functions.
 * Everything here works on the calling thread's current request: the one
 * whose operation libfuse is running.
 *
 * Context: request process, inside a pt_op; lock-free.
 */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct request;

/* The request whose operation is running in this thread; never NULL there. */
struct request *request_current(void);

/**
 * request_read_file() - READ: file to guest memory, without a copy between.
 * @fd:   file, borrowed.
 * @size: bytes wanted.
 * @off:  file offset, bytes.
 * Reads into the reply's payload, behind the reply header, @size bytes or up
 * to end of file or to the end of the room which the guest left.  On success
 * answer with fuse_reply_buf(req, NULL, 0): the payload is already in place
 * and the header will count it.
 * Return: bytes read, >= 0, or -errno (then nothing counts as read).
 */
ssize_t request_read_file(struct request *r, int fd, size_t size, off_t off);

/**
 * request_write_file() - WRITE: guest memory to file, without a copy between.
 * @size:  bytes; no more than the request's payload (checked by validate.c).
 * @flags: for pwritev2(2), 0 or RWF_*.
 * Return: bytes written, or -errno when none was.
 */
ssize_t request_write_file(struct request *r, int fd, size_t size, off_t off,
                           int flags);

/**
 * request_scratch() - memory for building a reply or a path.
 * @size: bytes, at most REQUEST_SCRATCH_MAX.
 * The same memory on each call; valid until the operation has answered.
 * Return: the memory, or NULL when @size is too large.
 */
#define REQUEST_SCRATCH_MAX ((size_t)1 << 20)
void *request_scratch(struct request *r, size_t size);

/* Bytes of payload the guest left room for behind the reply header. */
size_t request_reply_room(const struct request *r);

/**
 * request_set_attr_flags() - FUSE_ATTR_* flags of the entry being answered.
 * libfuse 3.14 has no way to say FUSE_ATTR_SUBMOUNT; the flags are put into
 * the reply on its way out (fuse/extra.c).  Ignored unless the guest knows
 * them.  Applies to LOOKUP, MKDIR, MKNOD, SYMLINK, LINK, CREATE, GETATTR.
 */
void request_set_attr_flags(struct request *r, uint32_t flags);

/* For READDIRPLUS: the same, on an entry which fuse_add_direntry_plus() just
 * built at @entry. */
void request_patch_direntplus(struct request *r, void *entry, uint32_t flags);

#define REQUEST_ATTR_SUBMOUNT (1u << 0) /* FUSE_ATTR_SUBMOUNT */

#endif
