/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_VHOST_DISPATCH_H
#define VIRTIOFSD_VHOST_DISPATCH_H

/*
 * The one message table.  A row says what a message is called, how large it
 * may be, which fds come with it, in which states it may be sent, which
 * protocol feature it needs, which rings must be quiet before the answer, and
 * who handles it.  vhost/PROTOCOL.md is the same table for people.
 */

#include <stdint.h>

#include "vhost/wire.h"

struct vu_conn;

/**
 * vu_dispatch() - check a message against its row, act and answer.
 * @m: whole message; fds left in it are closed by the caller.
 *
 * Order: shape, state, the handler (which publishes and wakes), the
 * acknowledgement of the rings concerned, and last the reply.
 * A fault of the front-end that the protocol can tell it (NEED_REPLY with
 * REPLY_ACK negotiated) is told, and the connection goes on.
 *
 * Context: control process, its one thread.
 * Return: 0 when the connection goes on; -errno ends it, already logged.
 */
int vu_dispatch(struct vu_conn *c, struct vu_msg *m);

/* Name of a request, as in the specification; never NULL. */
const char *vu_request_name(uint32_t request);

#endif
