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
};

/* Return: 0 or -ENOMEM. */
int exec_init(struct exec *x, struct life *life);
void exec_fini(struct exec *x);

/**
 * serve_request() - run the request at @head.
 * @v: the ring, open and unchanged until this returns.
 * @used_len: out, for vring_push().
 * Context: @x's thread; for a pool worker this is not the ring's own.
 * Return: 0; -errno of chain_walk(): the ring is broken, nothing was done and
 * @head is not to be pushed.
 */
int serve_request(struct exec *x, const struct vring *v, uint32_t ring,
                  uint16_t head, uint32_t *used_len);

#endif
