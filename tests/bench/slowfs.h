/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_TESTS_BENCH_SLOWFS_H
#define VIRTIOFSD_TESTS_BENCH_SLOWFS_H

/*
 * A disk that takes its time: a FUSE file system with one file, "file", each
 * READ of which is answered after a delay.  Several may be on their way.
 */

struct slowfs;

/* Mount it on @dir, in the caller's mount namespace.
 * Return: NULL when there is no FUSE to be had here. */
struct slowfs *slowfs_mount(const char *dir, unsigned int delay_ms);
/* Unmount and end; what is still asked of it gets an error. */
void slowfs_end(struct slowfs *f);

#endif
