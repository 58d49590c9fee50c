/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_TESTS_FUZZ_SHARE_H
#define VIRTIOFSD_TESTS_FUZZ_SHARE_H

/*
 * A tree to serve which nobody else sees: as root a small tmpfs that is
 * mounted nowhere, so that there is nothing to leave it for; otherwise a
 * directory of its own.
 */

/* O_PATH of the tree's root, the same on each call. */
int share_root(void);
/* O_PATH of /proc/self/fd. */
int share_proc(void);

/* Empty the tree and put back what it begins with: "file" (some bytes),
 * "dir/sub", "link" (to "file"). */
void share_reset(void);
/* Empty and remove it. */
void share_remove(void);

#endif
