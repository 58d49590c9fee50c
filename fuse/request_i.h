/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_FUSE_REQUEST_I_H
#define VIRTIOFSD_FUSE_REQUEST_I_H

/*
 * One FUSE request in flight, as fuse/ sees it.  An executing thread (a ring's
 * or a pool worker) owns one of these and uses it for request after request,
 * so that serving one allocates nothing.
 *
 * Context: its thread only; no locks.
 */

#include <stdbool.h>

#include "fuse/request.h"
#include "vhost/chain.h"

struct aio;
struct job;

/* Header and arguments of anything but a WRITE: the longest legal one is a
 * SETXATTR with a 64 KiB value; BATCH_FORGET may fill it. */
#define REQUEST_ARG_MAX ((size_t)128 << 10)
/* Spans for one preadv(2) or pwritev(2); IOV_MAX of Linux. */
#define REQUEST_IOV_MAX 1024

/**
 * struct request
 * @chain:    the descriptor chain, walked.
 * @arg:      copy of header and arguments; the request as libfuse sees it.
 * @arg_len:  bytes of it.
 * @hdr:      the guest's header, as it came.
 * @total:    bytes of the whole request, payload included.
 * @in_place: payload bytes already in guest memory behind the reply header.
 * @used_len: bytes written into the chain, once @replied.
 * @error:    of the reply, 0 or -errno, once @replied.
 * @discard:  the reply goes nowhere (an INIT said again to another session).
 * @agree:    INIT: the flags which are agreed beside libfuse's.
 * @agreed:   INIT: all that were, once @replied.
 * @ext:      see request.h; set by extension_take().
 * @waiting:  of the ring it comes from (fuse/later.h); NULL: it may not wait.
 * @later:    it was detached.
 * @may_defer: its thread is a ring's, and there is a pool.
 * @crowded:  and other requests of the ring are there.
 * @deferred: it was left to the pool.
 * @aio, @job: what it may be begun with (fuse/async.h), and its head's place;
 *            NULL: nothing.  Of a ring's thread only.
 * @begun:    it was.
 */
struct request {
    struct chain chain;
    uint8_t *arg;
    uint8_t *scratch;
    struct iovec *iov;
    size_t arg_len;
    struct fuse_in_header hdr;
    uint32_t total;
    size_t in_place;
    uint32_t used_len;
    int error;
    bool replied;
    bool discard;
    uint64_t agree, agreed;
    struct request_ext ext;
    struct waiting *waiting;
    struct request_later *later;
    bool may_defer, crowded, deferred;
    struct aio *aio;
    struct job *job;
    bool begun;
};

/* Bytes of an iovec array. */
static inline size_t iov_bytes(const struct iovec *iov, int count)
{
    size_t n = 0;

    for (int i = 0; i < count; i++)
        n += iov[i].iov_len;
    return n;
}

/* Return: 0 or -ENOMEM. */
int request_init(struct request *r);
void request_fini(struct request *r);

/**
 * request_load() - copy header and arguments of the chain just walked.
 * The header's length is the request's; bytes behind it in the chain do not
 * count.  A WRITE's payload stays where it is.
 * Return: 0; -EBADMSG when there is no whole header (nothing to answer);
 * -EINVAL when the length is impossible, -E2BIG when the arguments are too
 * long: @hdr is good for an error reply.
 */
int request_load(struct request *r);

/* Answer anew, for a chain just walked, the request which @hdr was of. */
void request_again(struct request *r, const struct fuse_in_header *hdr);

/**
 * request_send() - write a reply into the chain.
 * @iov, @count: reply header first; its unique is replaced by the guest's and
 * its length is counted anew.
 * A reply longer than the room becomes an error reply, one without room for a
 * header is dropped (used length 0) and logged.  The first one counts.
 */
void request_send(struct request *r, const struct iovec *iov, int count);

/* Answer with -@err and nothing else; @err 0 is plain success. */
void request_send_error(struct request *r, int err);

/* The thread's current request, for request_current(). */
void request_set_current(struct request *r);

#endif
