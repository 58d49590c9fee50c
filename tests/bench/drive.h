/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_TESTS_BENCH_DRIVE_H
#define VIRTIOFSD_TESTS_BENCH_DRIVE_H

/*
 * The guest's driver where it is measured: every request, its descriptors and
 * its room for the reply are laid out before the clock starts, and a request
 * is put on the ring by writing what differs from the one before.
 *
 * An *operation* is what a row counts.  It takes one or more requests, each a
 * *chain*, which follow each other in a *slot*; as many slots as the queue is
 * deep are busy at the same time.  One thread drives all queues.
 *
 * Segments are those of Linux' virtiofs: header and arguments in one each,
 * payload in pages of 4 KiB, no two of which are neighbours.
 *
 * Every reply is checked for its error, its unique and its length.
 */

#include <linux/fuse.h>
#include <stdbool.h>
#include <stdint.h>

#include "tests/bench/hist.h"
#include "tests/lib/guest.h"

#define DRIVE_STEPS_MAX  5
#define DRIVE_QUEUES_MAX 8
#define DRIVE_DEPTH_MAX  256

/* What a request is made of, beside the two headers. */
struct drive_spec {
    uint32_t opcode;
    uint32_t arg, reply;          /* bytes behind the headers */
    uint32_t in_bytes, out_bytes; /* payload, in pages */
};

struct chain {
    struct fuse_in_header *in;
    void *arg;
    struct fuse_out_header *out;
    void *reply;
    uint8_t *last_page; /* of the payload: page i is i pages below it */
    struct slot *slot;
    uint64_t unique;
    uint32_t want_len;  /* of the whole reply; 0: it varies */
    int32_t want_error; /* negative errno or 0 */
    uint16_t head;
    uint16_t npages;
    uint8_t step;
    bool busy;
    bool any_error; /* the row looks at it */
};

/* One ring.  @by_head finds the chain of a used element. */
struct lane {
    struct guest_queue *q;
    struct chain **by_head;
    uint16_t *spare; /* hiprio: heads free for FORGETs */
    uint16_t nspare;
    uint16_t avail, used, kicked, mask;
    uint64_t unique, kicks, calls;
};

/* @x, @pos, @off, @node, @fh are the row's own. */
struct slot {
    struct lane *lane;
    unsigned int idx;
    int64_t t0;
    struct chain c[DRIVE_STEPS_MAX];
    uint32_t x, pos;
    uint64_t off, node, fh;
};

enum drive_next {
    DRIVE_MORE,  /* another chain of the operation is on the ring */
    DRIVE_OP,    /* the operation is complete: count it */
    DRIVE_AGAIN, /* the same, but nothing to be counted */
};

struct drive;

/* What a row does; @arg of struct drive is its state. */
struct drive_row {
    const struct drive_spec *spec; /* per step; ends with opcode 0 */
    /* Fill what stays the same in a slot; may be NULL. */
    void (*prepare)(struct drive *d, struct slot *s);
    /* Put the operation's first chain on the ring. */
    void (*begin)(struct drive *d, struct slot *s);
    /* A reply has come and is in order. */
    enum drive_next (*done)(struct drive *d, struct slot *s, struct chain *c,
                            uint32_t len);
};

struct drive {
    struct lane lane[1 + DRIVE_QUEUES_MAX]; /* 0 is hiprio */
    unsigned int nlanes;
    struct slot *slot;
    unsigned int depth; /* slots that fit on the rings */
    const struct drive_row *row;
    void *arg;
    bool by_call; /* sleep on the call eventfds instead of looking */
    /* Guest memory for chains and payload, used anew by each run. */
    uint64_t arena_gpa;
    size_t arena_size, arena_used;
    bool event_idx, indirect;
    unsigned int busy; /* chains on the rings, FORGETs left out */
    uint64_t begun, limit;
    int64_t t_end;
    bool stopping;
    char fault[160]; /* why the run went wrong, or "" */
    /* The outcome. */
    struct hist hist;
    uint64_t ops, kicks, calls;
    int64_t t_first, t_last;
};

/**
 * drive_init() - use the rings q[0] (hiprio) to q[n-1].
 * @payload: most bytes of payload that all slots together will want.
 * Return: 0 or -ENOMEM.
 */
int drive_init(struct drive *d, struct guest_queue *q, unsigned int n,
               unsigned int depth_max, size_t payload);
void drive_destroy(struct drive *d);

/**
 * drive_run() - operations of @row, @depth at a time, until both is over.
 * @ns, @limit: run so long, and no more operations than that.
 * The rings must be empty, and are again afterwards; between runs they are
 * the library's (fc_*).
 * Return: 0; -ENOSPC when not one operation fits the ring; -EPROTO with
 * d->fault.
 */
int drive_run(struct drive *d, const struct drive_row *row, void *arg,
              unsigned int depth, int64_t ns, uint64_t limit);

/* For rows: put a chain on its ring, and tell the device when it wants. */
void drive_put(struct drive *d, struct slot *s, struct chain *c);
/* A FORGET on the hiprio ring. */
void drive_forget(struct drive *d, uint64_t node, uint64_t nlookup);
/* The run is to end with the text as its fault. */
void drive_fault(struct drive *d, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static inline uint8_t *chain_page(const struct chain *c, unsigned int i)
{
    return c->last_page - (size_t)i * GUEST_PAGE;
}

#endif
