/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_FUSE_RESCUE_H
#define VIRTIOFSD_FUSE_RESCUE_H

/*
 * When a request hangs in the host's file system (a network mount whose
 * server is gone, a FUSE mount that never answers) and the control process
 * waits for its ring, to stop it or to change guest memory.
 *
 * After RESCUE_INTERRUPT_MS the hanging threads get a signal: system calls
 * that can be interrupted return EINTR, and so does the request.  Those that
 * hang still after RESCUE_GIVE_UP_MS are given up: guest memory is mapped anew
 * for all others, the old mapping becomes private memory (memmap_fence()), a
 * new thread takes the hanging one's place, and the request is answered with
 * EINTR.  The system call may yet take effect on the host; it can no longer
 * write to the guest.
 *
 * Context: device's main thread.
 */

#include "fuse/device_i.h"

#define RESCUE_INTERRUPT_MS 5000
#define RESCUE_GIVE_UP_MS   10000

/* One wait for rings. */
struct rescue {
    struct device *d;
    int64_t begun_ns;
    bool sampled, given_up;
};

/* Let a signal end system calls without restarting them.  Once, at start. */
int rescue_setup(void);

/* Begin a wait. */
void rescue_begin(struct rescue *r, struct device *d);

/**
 * rescue_step() - called now and then while rings keep us waiting.
 * Return: 0; -errno: the hanging threads can not be given up, so nothing can
 * be promised of guest memory.
 */
int rescue_step(struct rescue *r);

#endif
