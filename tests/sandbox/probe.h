/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_TESTS_SANDBOX_PROBE_H
#define VIRTIOFSD_TESTS_SANDBOX_PROBE_H

#include <stddef.h>

#define PROBE_LINE_MAX 512

/* What the role got from its sandbox; -1 in the vhost role. */
struct probe_ctx {
    int root_fd, proc_fd;
};

/**
 * probe_run() - make one system call, or look at one thing, and report.
 * @what: "NAME" or "NAME ARGUMENT"; the table is in probe.c.
 * @out:  a line: "ok VALUE" or "errno N" or "no such probe".
 * With a strict filter it may not return at all, which is a result too.
 */
void probe_run(const char *what, const struct probe_ctx *ctx, char *out,
               size_t len);

#endif
