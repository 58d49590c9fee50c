/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_FUSE_PASSTHROUGH_NODEFD_H
#define VIRTIOFSD_FUSE_PASSTHROUGH_NODEFD_H

/*
 * The descriptors of nodes that have a file handle, and how many descriptors
 * a guest may use up.
 *
 * At most ring.n of these nodes are open (and one more for each thread that
 * is just opening one).  Each open node has a place in the ring.  Who opens a
 * node moves the hand to the next place and closes the node found there,
 * unless it is pinned, or was pinned since the hand came by last.
 *
 *   slot.ref      fd    state
 *   0 references  -1    free
 *   r             >= 0  open; a pin is a count and nothing else
 *   r             -1    closed; a pin opens it, before its operation begins,
 *                       unless that is OPEN, which needs the handle alone
 *   2, taken      any   being closed, by the thread that counts for 1
 *
 *   closed -> open          by a pinner, under the node's ring lock.  Several
 *                           may open the file at once, one's descriptor stays
 *   open -> being closed    pt_slot_take(): only from exactly one reference,
 *                           and only when that is the one of the lookups
 *   being closed -> closed  no system call in between, all under the lock; a
 *                           pin that comes now waits for the lock
 *   open, closed -> free    by the last put, whoever's it is
 *
 * A node which was open before it had a handle (PT_MARK_LATER) takes that when
 * the hand comes, under a pin, and is closed after that.
 *
 * So while a node is pinned and open it stays open, and the fast path takes
 * no lock.  A place may name a node that is closed, free or something else by
 * now: such a place is free.  One node may have two places; that makes the
 * ring smaller for a while and is of no other effect.
 *
 * How much a guest may use: the kernel gives the lowest free number, so a
 * descriptor's number tells how many there are at least.  Those from fd_max on
 * are kept for ourselves (eventfds and memory that a front-end sends).
 *
 * Context: any thread; no lock is held by the caller.
 */

#include "fuse/passthrough/nodes.h"

/* @places: how many nodes with handles may be open.  Return: 0 or -ENOMEM. */
int pt_ring_init(struct pt_ring *r, uint32_t places);
void pt_ring_fini(struct pt_ring *r);

/* Is a pinned node open?  Then it stays so while it is pinned. */
static inline bool pt_node_is_open(struct pt_node *n)
{
    if (pt_slot_taken(&n->slot) ||
        atomic_load_explicit(&n->fd, memory_order_relaxed) < 0)
        return false;
    if (!(atomic_load_explicit(&n->marks, memory_order_relaxed) & PT_MARK_USED))
        atomic_fetch_or_explicit(&n->marks, PT_MARK_USED, memory_order_relaxed);
    return true;
}

/**
 * pt_node_open() - open a pinned node that may be closed.
 * Return: 0; -ESTALE: its file is gone, and the node unknown from now on;
 * -ENFILE: the guest has too much open; -errno.
 */
int pt_node_open(struct pt_nodes *t, struct pt_node *n);

/**
 * pt_node_open_io() - open for I/O the file of a pinned node, by its handle.
 * The node may be closed and stays so, once its handle is proven.
 * @flags: for open(2).
 * Return: a descriptor of the caller's; -EOPNOTSUPP: the node has no handle, is
 * no regular file, or is open while its handle is not proven; -ESTALE: the
 * file is gone, unless the node's descriptor holds it; -errno.
 */
int pt_node_open_io(struct pt_nodes *t, struct pt_node *n, int flags);

/* A node's key and handle were told of one and the same open file. */
void pt_node_prove(struct pt_nodes *t, uint64_t id);

/* Let a pinned node with a handle use @fd, which is taken.  It is of the key's
 * file; whether the handle is too shows when that is opened by it. */
void pt_node_adopt(struct pt_nodes *t, struct pt_node *n, int fd);

/* Give a node of pt_node_insert_open() a place.  When that is wanted the node
 * takes its handle and is closed; a file that has none stays open. */
void pt_node_place(struct pt_nodes *t, uint64_t id);

/**
 * pt_fd_admit() - may the guest have this descriptor?
 * @fd: just opened, or -errno of opening it; taken.
 * When the guest's share is used up, nodes are closed to make room.
 * Return: a descriptor, perhaps of another number; -ENFILE; or -errno as it
 * came in.
 */
int pt_fd_admit(struct pt_nodes *t, int fd);

#endif
