/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_TESTS_PROTOCOL_HANGFS_H
#define VIRTIOFSD_TESTS_PROTOCOL_HANGFS_H

/*
 * A FUSE file system of the tests' own that answers when it is told to, like
 * a network mount whose server is away.  It holds two files:
 *
 *     file   can be looked up and opened; a READ of it waits, one page at a
 *            time; what was read once is in memory
 *     slow*  a LOOKUP of it waits, and ends with EINTR when interrupted
 *     nap-N  a LOOKUP of it takes N microseconds; there is no such file
 */

#include <stdbool.h>

struct hangfs;

/* Mount it on @dir, in the caller's mount namespace.
 * Return: NULL when there is no FUSE to be had here. */
struct hangfs *hangfs_mount(const char *dir);

/* Wait until a request hangs.  Return: false at the deadline. */
bool hangfs_wait_asked(struct hangfs *h);

/* From now on a FLUSH waits like a READ; hangfs_end() ends it. */
void hangfs_hang_flush(struct hangfs *h);

#define HANGFS_BYTES 4096

/* Answer the READ that hangs: HANGFS_BYTES of @byte. */
void hangfs_answer(struct hangfs *h, unsigned char byte);

/* Answer all LOOKUPs that hang: no such file. */
void hangfs_answer_slow(struct hangfs *h);

/* Unmount and end; what still hangs gets an error. */
void hangfs_end(struct hangfs *h);

#endif
