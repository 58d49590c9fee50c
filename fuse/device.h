/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_FUSE_DEVICE_H
#define VIRTIOFSD_FUSE_DEVICE_H

/*
 * The request process's device: takes commands from the control process
 * (ring_ipc.h), owns the memory maps, the rings' threads and the FUSE life.
 * Nothing here knows which transport feeds the rings.
 */

#include "fuse/passthrough/pt.h"

struct fuse_device_opts {
    struct pt_opts pt;
    /* Threads that take slow requests off the rings' threads; 0: rings serve
     * all of theirs themselves. */
    unsigned int thread_pool_size;
    /* How long, in us, a request queue's thread may look at its ring before it
     * sleeps, when that pays; 0: not at all. */
    unsigned int poll_us;
};

/**
 * fuse_device_run() - serve until the control process goes away.
 * @opts:    borrowed for the whole run.
 * @cmd_fd:  our end of the command channel; borrowed.
 * @evt_fd:  our end of the event channel; borrowed.
 * @root_fd: O_PATH directory (or file) that is the share's root; borrowed.
 * @proc_fd: O_PATH of our own /proc/self/fd; borrowed.
 * Context: request process, main thread, once; already sandboxed.  Starts the
 * rings' threads; all signals but faults are expected to be blocked or
 * default.
 * Return: 0 when the command channel closed (the normal end), else -errno of
 * what made serving impossible.
 */
int fuse_device_run(const struct fuse_device_opts *opts, int cmd_fd, int evt_fd,
                    int root_fd, int proc_fd);

#endif
