/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/bench/hist.h"

#include <string.h>

void hist_clear(struct hist *h)
{
    memset(h, 0, sizeof(*h));
}

static uint64_t middle(unsigned int i)
{
    unsigned int shift;

    if (i < 2 * HIST_SUB)
        return i;
    shift = i / HIST_SUB - 1;
    return ((uint64_t)(i % HIST_SUB + HIST_SUB) << shift) +
           ((1ull << shift) >> 1);
}

uint64_t hist_quantile(const struct hist *h, unsigned int per_mille)
{
    uint64_t want = (h->n * per_mille + 999) / 1000, seen = 0;

    for (unsigned int i = 0; i < HIST_BUCKETS && h->n > 0; i++) {
        seen += h->bucket[i];
        if (seen >= want && seen > 0)
            return middle(i);
    }
    return 0;
}
