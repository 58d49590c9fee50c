/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_TESTS_LIB_FUSEMSG_H
#define VIRTIOFSD_TESTS_LIB_FUSEMSG_H

/*
 * FUSE requests as a guest writes them: a header, arguments in parts, room
 * for the reply, cut into segments in any way.  fm_call() sends one and waits
 * for its completion; fm_put() and fm_reply() are its two halves for those
 * who keep several in flight.
 *
 * Spec: virtio "File System Device", "Device Operation: Request Queues";
 * linux/fuse.h.
 */

#include <linux/fuse.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/lib/guest.h"

#define FM_PARTS_MAX 4
#define FM_SEGS_MAX  1024

/* What fm_call() returns beside 0 and the reply's negative errno. */
#define FM_EMPTY 1 /* the element came back with length 0: no reply */
#define FM_LOST  2 /* it did not come back in time; the queue is lost */

/**
 * struct fm - one request and, afterwards, its reply.
 * @h:       header; opcode, nodeid, ids are the caller's.  len and unique are
 *           filled in by fm_put() unless @keep_header is set.
 * @part:    what follows the header, in order; borrowed until the reply.
 * @room:    bytes for the reply behind its header.
 * @no_reply: no writable descriptor at all (FORGET, DESTROY).
 * @out_bytes: when @cut_out: all writable bytes, header included.
 * @in_seg, @out_seg: longest segment; 0: as Linux does, the header and
 *           the rest in a segment each.
 * @skew:    bytes by which buffers are off a page's start.
 * @used_len, @oh, @out, @out_len: the reply; @out points into guest memory
 *           and lives until the queue's next request.
 */
struct fm {
    struct fuse_in_header h;
    struct {
        const void *p;
        size_t len;
    } part[FM_PARTS_MAX];
    int nparts;
    size_t room;
    bool keep_header, no_reply, cut_out, indirect;
    size_t out_bytes;
    size_t in_seg, out_seg, skew;

    uint16_t head;
    uint32_t used_len;
    struct fuse_out_header oh;
    const uint8_t *out;
    size_t out_len;
    uint64_t out_gpa; /* where the reply goes */
    size_t slot;      /* where in the queue's buffer it lies */
};

/* Begin a request by root of the guest, in a process of it. */
void fm_init(struct fm *m, uint32_t opcode, uint64_t nodeid);
void fm_add(struct fm *m, const void *p, size_t len);
/* A name, with its NUL. */
void fm_add_name(struct fm *m, const char *name);

/* Bytes of guest memory which @m needs. */
size_t fm_bytes(const struct fm *m);
/**
 * fm_put() - write a request to guest memory and put it on the ring.
 * @slot: offset in the queue's buffer (guest_queue_buf()), page-aligned; the
 *        buffer must hold fm_bytes() from there.
 * Not published: guest_publish() is next.
 * Return: 0 or -errno.
 */
int fm_put(struct guest_queue *q, struct fm *m, size_t slot);
/* Read the reply after the element came back with @used_len.
 * Return: as fm_call(). */
int fm_reply(struct guest_queue *q, struct fm *m, uint32_t used_len);

/**
 * fm_call() - send a request and wait for the reply.
 * Checks (as a failed CHECK of the running test) that the reply is whole: its
 * length is the used length, its unique ours, its error in range, and not a
 * byte beyond the room is written.
 * Return: 0, the reply's negative errno, FM_EMPTY or FM_LOST.
 */
int fm_call(struct guest_queue *q, struct fm *m);

#endif
