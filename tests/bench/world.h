/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_TESTS_BENCH_WORLD_H
#define VIRTIOFSD_TESTS_BENCH_WORLD_H

/*
 * One contestant with all that belongs to it: a daemon with front-end and
 * guest, or nothing but system calls.  Context: main thread.
 */

#include "tests/bench/row.h"
#include "tests/lib/frontend.h"

/* How the rings are. */
struct world_rings {
    unsigned int queues; /* request queues */
    uint16_t size;
    bool indirect, event_idx, by_call;
};

struct world {
    bool native;
    const char *name;
    struct peer peer;
    struct frontend fe;
    struct guest_mem mem;
    struct guest_queue q[1 + DRIVE_QUEUES_MAX];
    unsigned int nrings;
    struct drive drive;
    struct scene scene;
    struct hist hist; /* native */
    bool open, connected;
};

/* One measurement. */
struct result {
    uint64_t ops;
    int64_t ns;
    uint64_t p50, p99, p999; /* ns */
    uint64_t cpu_ns, switches, preempted;
    bool cpu_exact;
    uint64_t kicks, calls;
    unsigned int depth; /* that fitted on the rings */
};

/**
 * world_open() - start the contestant and set the row up.
 * @dir: for sockets and logs.
 * @depth: the deepest run to come.
 * Return: 0; 1 when the row is not to be had (w->scene.why); -errno with why.
 */
int world_open(struct world *w, const struct row *row, struct share *share,
               const char *dir, const struct world_rings *rings,
               unsigned int depth);
void world_close(struct world *w);

/**
 * world_run() - one run and its check.
 * Return: 0, or -errno with w->scene.why.
 */
int world_run(struct world *w, unsigned int depth, int64_t ns, uint64_t limit,
              struct result *r);
/* Nothing is done for @ns; r->ns is how long it was. */
void world_idle(struct world *w, int64_t ns, struct result *r);

#endif
