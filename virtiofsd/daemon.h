/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_DAEMON_H
#define VIRTIOFSD_DAEMON_H

/* --daemonize: the launched process ends when the daemon is ready. */

#include <sys/types.h>

/**
 * daemon_fork() - go on in a child, in a session of its own.
 * @ready_fd: out, in the child: for daemon_ready(); owned by the caller.
 * @result:   out, in the launched process: 0 when the daemon is ready, else
 *            the failure it ended with.
 * Context: before any thread, lock or child exists.
 * Return: 0 in the child; 1 in the launched process, once the daemon is
 * ready or has failed, and when no child could be made.
 */
int daemon_fork(int *ready_fd, int *result);

/**
 * daemon_ready() - tell the launched process, and leave its terminal.
 * Log lines go to syslog from here on, the only place left.
 * @ready_fd: closed, and set to -1; -1: there is nothing to do.
 */
void daemon_ready(int *ready_fd);

#endif
