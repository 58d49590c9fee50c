/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_TESTS_BENCH_REPORT_H
#define VIRTIOFSD_TESTS_BENCH_REPORT_H

/*
 * The outcome as lines of JSON, for report.py, and a line a measurement for
 * whoever watches.  Context: main thread.
 */

#include <stdio.h>

#include "tests/bench/world.h"

struct report {
    FILE *out; /* may be NULL */
    bool quiet;
    const char *rings, *wait; /* of the configuration under way */
    unsigned int queues;
};

/* A fact about the whole run: one line with "meta". */
void report_meta(struct report *r, const char *key, const char *value);
void report_result(struct report *r, const struct row *row, const char *who,
                   unsigned int depth, unsigned int round,
                   const struct result *res);
/* @kind: "na" or "failed". */
void report_none(struct report *r, const struct row *row, const char *who,
                 const char *kind, const char *why);
/* Read strace's table in @path.  Return: false when it holds nothing. */
bool report_syscalls(struct report *r, const struct row *row, const char *who,
                     unsigned int depth, uint64_t ops, const char *path);

#endif
