/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_FUSE_REQUEST_H
#define VIRTIOFSD_FUSE_REQUEST_H

/*
 * One FUSE request in flight, as the passthrough operations see it.
 *
 * It and libfuse see a copy of the request's header and arguments, made once;
 * payload never passes through it.  An operation asks for the current request
 * and moves payload between a file and guest memory with these functions.
 * Everything here works on the calling thread's current request: the one
 * whose operation is running.  request_later_done() is the exception.
 *
 * Context: request process, inside an operation; lock-free.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "fuse/proto.h"

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
 * answer with request_reply(r, NULL, 0): the payload is already in place
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
 * request_read_cached() - request_read_file() of what is in memory.
 * Return: as that; -EAGAIN: not all of it is, nothing counts as read;
 * -EOPNOTSUPP: the file can not tell.
 */
ssize_t request_read_cached(struct request *r, int fd, size_t size, off_t off);

/**
 * request_begin_read() - request_read_file(), with O_DIRECT, without waiting.
 * The operation ends without an answer then: that comes by itself.
 * Context: request_may_defer().
 * Return: 0: it has begun, and nothing of @r may be used any more; -EOPNOTSUPP:
 * not with this file, ever; other -errno: not this time.  In both cases nothing
 * was done.
 */
int request_begin_read(struct request *r, int fd, size_t size, off_t off);

/**
 * request_may_defer() - is this a thread whose requests should not block?
 * A ring's, when there is a pool (fuse/policy.h).
 */
bool request_may_defer(const struct request *r);
/**
 * request_defer() - leave the current request to a thread of the pool.
 * For an operation that would block.  It has had no effect, ends without an
 * answer (fuse_reply_none()), and is begun anew over there.
 * Context: request_may_defer().
 */
void request_defer(struct request *r);
/* Would it hold up others of its ring, or they it?  Context: the same. */
bool request_is_crowded(const struct request *r);

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
 * struct request_ext - what the request says beyond what libfuse reads.
 * @kill_suidgid: clear set-id bits and file capabilities, since the caller
 *                has no CAP_FSETID (FUSE_HANDLE_KILLPRIV_V2).
 *                OPEN, CREATE, TMPFILE, WRITE, SETATTR.
 * @setxattr_flags: FUSE_SETXATTR_*.  SETXATTR.
 * @secctx: security contexts for what is made.  CREATE, TMPFILE, MKNOD, MKDIR,
 *          SYMLINK; they point into the request.
 * @groups: groups of the caller's beside its gid, the guest's numbers.  The
 *          same.
 * Set for the operations named, undefined for others.  All of it is only ever
 * there when INIT agreed to it.
 */
#define REQUEST_SECCTX_MAX 4
#define REQUEST_GROUPS_MAX 32
struct request_ext {
    bool kill_suidgid;
    uint32_t setxattr_flags;
    uint32_t n_secctx, n_groups;
    struct {
        const char *name;
        const void *value;
        uint32_t bytes;
    } secctx[REQUEST_SECCTX_MAX];
    uint32_t groups[REQUEST_GROUPS_MAX];
};

const struct request_ext *request_ext(const struct request *r);

/*
 * For operations done beside libfuse, see pt_raw_op().
 *
 * request_header(): the guest's header; ids are the guest's.
 * request_args():   what follows it, at least as long as validate.c says;
 *                   @len may be NULL.
 * request_reply():  answer with a payload; request_reply_err() with an errno,
 *                   0 for plain success.  The first answer counts.
 */
const struct fuse_in_header *request_header(const struct request *r);
const void *request_args(const struct request *r, size_t *len);
void request_reply(struct request *r, const void *payload, size_t len);
void request_reply_err(struct request *r, int err);

/* A request that will be answered by request_later_done(). */
struct request_later;

/**
 * request_detach() - let the current request be answered later.
 * For an operation that would have to wait: its thread is needed.  It ends
 * with fuse_reply_none(), and nothing of @r may be used any more; neither is
 * payload possible.
 * Return: what to answer by; NULL when too many requests of this ring wait.
 */
struct request_later *request_detach(struct request *r);
/* It is answered now after all, in the operation's own thread. */
void request_undetach(struct request *r, struct request_later *l);

/**
 * request_later_done() - answer a detached request with -@err, or 0.
 * @l: gone after that.
 * Context: any thread; may come before the operation has ended.
 */
void request_later_done(struct request_later *l, int err);

#endif
