/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_SANDBOX_FDS_H
#define VIRTIOFSD_SANDBOX_FDS_H

/* Foreign file descriptors end here. */

#include <stddef.h>

/**
 * fds_close_except() - close every fd from 3 up but those named.
 * @keep: borrowed; -1 entries are skipped; at most FDS_KEEP_MAX.
 * Return: 0 or -errno.
 */
#define FDS_KEEP_MAX 8
int fds_close_except(const int *keep, size_t n);

/**
 * fds_fill_stdio() - put /dev/null where 0, 1 or 2 is closed.
 * A launcher that closed them would make our first socket fd 2, and each log
 * line a message to its peer.
 * Return: 0 or -errno.
 */
int fds_fill_stdio(void);

#endif
