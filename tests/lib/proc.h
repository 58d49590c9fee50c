/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_TESTS_LIB_PROC_H
#define VIRTIOFSD_TESTS_LIB_PROC_H

/*
 * Who is whose child, as /proc tells, and the end of temporary directories.
 * Context: any thread.
 */

#include <stddef.h>
#include <sys/types.h>

/* Return: a pidfd, close-on-exec, the caller's; -1 when there is none. */
int proc_pidfd(pid_t pid);
/* Return: the parent of a process, 0 when that is gone. */
pid_t proc_parent(pid_t pid);
/* Add every process whose parent is @root or is among the @n in @pids.
 * Return: how many there are now, at most @max. */
size_t proc_add_children(pid_t root, pid_t *pids, size_t n, size_t max);
/* All below @root.  Return: how many, at most @max. */
size_t proc_descendants(pid_t root, pid_t *pids, size_t max);

/* Remove a directory and all in it; file systems mounted there are not gone
 * into. */
void proc_remove_tree(const char *path);

#endif
