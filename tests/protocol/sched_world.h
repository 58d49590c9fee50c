/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_TESTS_PROTOCOL_SCHED_WORLD_H
#define VIRTIOFSD_TESTS_PROTOCOL_SCHED_WORLD_H

/*
 * Many rounds of something under load, and the books balanced at the end:
 * each request answered once, no fd and no mapping left in any process, no
 * guest memory ever mapped by control.
 */

#include "tests/protocol/sched_lib.h"
#include "tests/protocol/sched_load.h"

#define WORLD_BUSY  1 /* the ring under load */
#define WORLD_OTHER 2 /* another, to see the daemon do something */

/* Where the tests' coming and going memory lies. */
#define EXTRA_GPA  ((uint64_t)2 << 32)
#define EXTRA_SIZE ((uint64_t)4 << 20)

struct world {
    struct vm vm;
    struct load l;
    pid_t control, request;
    struct usage before[2];
};

/* Run @round @n times under load, or until a CHECK fails. */
void world_rounds(const struct vm_opts *o, int n,
                  void (*round)(struct world *w, int i));

/* The two ends of it. */
bool world_begin(struct world *w, const struct vm_opts *o);
void world_end(struct world *w);

/* A round trip: what was sent before has been acted upon. */
bool world_talk(struct world *w);
/* Control maps no guest memory at this moment. */
void world_control_maps_nothing(const struct world *w);

#endif
