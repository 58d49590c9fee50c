/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_VHOST_WIRE_H
#define VIRTIOFSD_VHOST_WIRE_H

/*
 * Framing of vhost-user messages on the front-end's stream socket.  What a
 * payload means is dispatch's business.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vhost/spec.h"

/* Room for the largest payload of any message, supported or not: one that is
 * refused with a reply must have been read first. */
#define WIRE_MAX_PAYLOAD 4096

/* One message.  Owner of the fds: the reader, until its user takes one with
 * wire_take_fd() or closes all with wire_msg_reset(). */
struct vu_msg {
    struct vu_hdr hdr;
    _Alignas(8) uint8_t payload[WIRE_MAX_PAYLOAD];
    int nfds;
    int fds[VU_MAX_FDS];

    /* Filled in by dispatch. */
    const char *name;
    uint32_t ring; /* the handler's, for the quiesce step */
    size_t reply_size;
    _Alignas(
        8) uint8_t reply[sizeof(struct vu_config_hdr) + VU_CONFIG_MAX_SIZE];
};

/**
 * struct wire_reader - a message in the making.
 * @got: bytes of header and payload so far.
 */
struct wire_reader {
    size_t got;
    struct vu_msg msg;
};

void wire_reader_init(struct wire_reader *r);

/**
 * wire_read() - take from the socket what the message still lacks.
 * @fd: stream socket; never blocks, whatever its mode.
 *
 * Call when @fd is readable, as often as needed: a front-end may send a
 * message in as many pieces as it likes without holding up anything else.
 * After 1 the message stays in r->msg until wire_msg_reset().
 *
 * Context: control process.
 * Return: 1 when the message is whole; 0 when more has to come; -EPIPE at end
 * of file between two messages; -EBADMSG for bad framing (version, unknown
 * flags, a payload or fds beyond the limits, end of file within a message);
 * another -errno of recvmsg(2).
 */
int wire_read(int fd, struct wire_reader *r);

/* Close the fds left in the message and begin a new one. */
void wire_msg_reset(struct wire_reader *r);

/* Take one fd out of the message; the caller's from here on. */
int wire_take_fd(struct vu_msg *m, int idx);

/**
 * wire_reply() - answer a request.
 * @payload, @size: what follows the header; @size may be 0.
 * Waits at most WIRE_SEND_TIMEOUT_MS for a front-end that does not read.
 * Return: 0; -EPIPE when the front-end is gone; -ETIMEDOUT; another -errno.
 */
int wire_reply(int fd, uint32_t request, const void *payload, size_t size);
#define WIRE_SEND_TIMEOUT_MS 5000

#endif
