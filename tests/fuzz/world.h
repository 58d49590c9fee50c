/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_TESTS_FUZZ_WORLD_H
#define VIRTIOFSD_TESTS_FUZZ_WORLD_H

/*
 * A file system to ask, and a record of what the guest was given by it: the
 * look-ups and handles which it has to give back.
 */

#include <linux/fuse.h>

#include "fuse/serve.h"
#include "tests/fuzz/ring.h"

#define WORLD_KNOWN_MAX 4096
#define WORLD_RING      1

struct known {
    uint64_t id;
    uint64_t count; /* look-ups held; for a handle 1 */
};

struct world {
    struct pt_fs *fs;
    struct life *life;
    struct exec exec;
    struct known node[WORLD_KNOWN_MAX], handle[WORLD_KNOWN_MAX];
    uint32_t n_nodes, n_handles;
    bool nfs_export; /* forgotten nodes stay for a while */
};

/* Options of many a kind; @kind % WORLD_KINDS. */
#define WORLD_KINDS 4
void world_open(struct world *w, unsigned int kind);
void world_close(struct world *w);

/**
 * world_heard() - note what an answer gave to the guest, or a request took.
 * @in, @in_len:   the whole request as it was sent, header included.
 * @out, @out_len: the whole reply; @out_len 0: there was none.
 */
void world_heard(struct world *w, const uint8_t *in, size_t in_len,
                 const uint8_t *out, size_t out_len);

/* Some id the guest has heard of; the root when there is none. */
uint64_t world_node(const struct world *w, uint8_t which);
uint64_t world_handle(const struct world *w, uint8_t which);

/**
 * world_ask() - one request through ring, chain and session.
 * @body: behind a header which is made for it.
 * @room: bytes for the reply, header included.
 * The guest memory at BUF_GPA is used.  The answer is noted.
 * Return: the reply's error, or 1 when there was no reply.
 */
int world_ask(struct world *w, struct guest_ring *g, uint32_t opcode,
              uint64_t nodeid, const void *body, size_t len, size_t room);

/* INIT as Linux 6.1 sends it. Return: as world_ask(). */
int world_init(struct world *w, struct guest_ring *g);

/* Give everything back, and see that nothing is left; then end the life. */
void world_settle(struct world *w, struct guest_ring *g);

#endif
