/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_SANDBOX_RLIMITS_H
#define VIRTIOFSD_SANDBOX_RLIMITS_H

#include <stdint.h>

/**
 * rlimits_set_nofile() - how many files may be open.
 * @want: -1: a million, or fs.nr_open when that is less; 0: leave the limit
 *        as it is; else the limit.
 * What can not be had falls back to the hard limit, with a warning.
 * Context: needs /proc for -1, CAP_SYS_RESOURCE to go above the hard limit.
 * Return: 0 or -errno; told in the log.
 */
int rlimits_set_nofile(int64_t want);

/* A core of a role would hold guest memory or secrets of the front-end. */
void rlimits_no_core(void);

#endif
