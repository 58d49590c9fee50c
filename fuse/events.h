/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_FUSE_EVENTS_H
#define VIRTIOFSD_FUSE_EVENTS_H

/*
 * The event channel: what the request process tells the control process.
 *
 * A thread of its own waits for the answers.  A ring's thread may not: the
 * control process could be waiting for that ring at the same moment.
 */

#include <stdint.h>

struct events;

/**
 * events_create() - start the thread.
 * @evt_fd: the channel, borrowed; left open until the process ends.
 * Return: 0 or -errno.
 */
int events_create(int evt_fd, struct events **ev);

/* Tell that a ring broke.  Context: any thread; does not wait.  Told once
 * for reports of the same ring that come faster than answers. */
void events_ring_broken(struct events *ev, uint32_t ring, int reason);

/* Tell that the device can not go on: the connection ends. */
void events_failed(struct events *ev);

/* Let the thread end by itself; @ev stays good for who may still use it. */
void events_leave(struct events *ev);

/* End the thread.  Context: no other thread uses @ev any more. */
void events_destroy(struct events *ev);

#endif
