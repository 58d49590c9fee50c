/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_VHOST_GUARD_H
#define VIRTIOFSD_VHOST_GUARD_H

/*
 * Mappings of the front-end's files, which it can shorten while we use them:
 * a load past the new end is SIGBUS.  The handler puts a page of our own in
 * the missing one's place, so that the access ends somewhere, and remembers
 * that the memory can not be trusted any more; the device then fails with a
 * log line, where it would have died of the signal.
 *
 * Context: request process.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/* Take SIGBUS.  Once, before the first mapping.  Return: 0 or -errno. */
int guard_setup(void);

/* Watch over a mapping; forget it before it is unmapped.  Without room for
 * one more it goes unwatched. */
void guard_add(void *base, size_t len);
void guard_remove(void *base);

extern _Atomic bool guard_lost_;

/* Was memory taken away under us? */
static inline bool guard_lost(void)
{
    return atomic_load_explicit(&guard_lost_, memory_order_relaxed);
}

#endif
