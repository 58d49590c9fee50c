/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_FUSE_SERVE_H
#define VIRTIOFSD_FUSE_SERVE_H

/* From a head taken off a ring to the answer in guest memory. */

#include "fuse/life.h"
#include "vhost/vring.h"

/* What a thread needs to run requests; one each, its own. */
struct exec {
    struct life_pass pass;
    struct request r;
    struct life *life; /* borrowed */
    uint64_t agreed;   /* INIT flags, of the life it is in */
};

/* Return: 0 or -ENOMEM. */
int exec_init(struct exec *x, struct life *life);
void exec_fini(struct exec *x);

/**
 * serve_request() - run the request at @head.
 * @v: the ring, open and unchanged until this returns.
 * @used_len: out, for vring_push().
 * Context: @x's thread; for a pool worker this is not the ring's own.
 * Return: 0; SERVE_ABANDONED: the thread was given up while the request hung
 * (fuse/rescue.h), it has to end and may touch neither ring nor request;
 * SERVE_DETACHED: it is answered later, see later_adopt() of @x->r.later;
 * SERVE_DEFERRED: nothing was done yet, a thread of the pool shall run it (only
 * when @x->r.may_defer);
 * SERVE_BEGUN: the kernel is at work on it, see async_reap() (the same);
 * -errno of chain_walk(): the ring is broken, nothing was done and @head is
 * not to be pushed.
 */
#define SERVE_ABANDONED 1
#define SERVE_DETACHED  2
#define SERVE_DEFERRED  3
#define SERVE_BEGUN     4
int serve_request(struct exec *x, const struct vring *v, uint32_t ring,
                  uint16_t head, uint32_t *used_len);

/**
 * serve_cancelled() - answer, with EINTR, a request whose thread was given up.
 * The request is read from guest memory once more.
 * Return: 0 or -errno, as serve_request().
 */
int serve_cancelled(struct exec *x, const struct vring *v, uint16_t head,
                    uint32_t *used_len);

/**
 * serve_later() - answer a detached request.
 * @hdr: of the request: its number and opcode.
 * @err: 0 or an errno.
 * Context: the ring's thread; @x is at no request.
 * Return: 0 or -errno, as serve_request().
 */
int serve_later(struct exec *x, const struct vring *v, uint16_t head,
                const struct fuse_in_header *hdr, int err, uint32_t *used_len);

#endif
