/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_TESTS_BENCH_HIST_H
#define VIRTIOFSD_TESTS_BENCH_HIST_H

/*
 * Latencies, counted in buckets that grow with what they hold: exact up to
 * 127 ns, within 1.6 % above.  Nothing is allocated.  Context: one thread.
 */

#include <stdint.h>

#define HIST_SUB_BITS 6
#define HIST_SUB      (1u << HIST_SUB_BITS)
#define HIST_BUCKETS  ((64 - HIST_SUB_BITS) * HIST_SUB)

struct hist {
    uint64_t n;
    uint32_t bucket[HIST_BUCKETS];
};

static inline unsigned int hist_index(uint64_t ns)
{
    unsigned int shift;

    if (ns < HIST_SUB)
        return (unsigned int)ns;
    shift = 63u - (unsigned int)__builtin_clzll(ns) - HIST_SUB_BITS;
    return (shift + 1) * HIST_SUB + (unsigned int)(ns >> shift) - HIST_SUB;
}

static inline void hist_add(struct hist *h, int64_t ns)
{
    h->n++;
    h->bucket[hist_index(ns < 0 ? 0 : (uint64_t)ns)]++;
}

void hist_clear(struct hist *h);
/* The latency which @per_mille of 1000 do not exceed, as the middle of its
 * bucket.  Return: ns, 0 when nothing was counted. */
uint64_t hist_quantile(const struct hist *h, unsigned int per_mille);

#endif
