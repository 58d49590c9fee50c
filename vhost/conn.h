/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_VHOST_CONN_H
#define VIRTIOFSD_VHOST_CONN_H

/*
 * The control process's device: one vhost-user connection, the configuration
 * space and device status, and the only place where ring bits change.
 */

#include <stdbool.h>
#include <stdint.h>

struct vu_opts {
    char tag[37];                /* "" : VHOST_USER_PROTOCOL_F_CONFIG is not
                                    offered (it breaks QEMU 7.1 to 8.0) */
    uint16_t num_request_queues; /* told in the configuration space */
};

struct vu_conn;

/**
 * vu_conn_create() - make the control side's state and greet the request
 * process (IPC_HELLO): pages are exchanged when this returns.
 * @cmd_fd, @evt_fd: our ends of the channels; borrowed.
 * Context: control process, already sandboxed, before a front-end is there.
 * Return: 0 or -errno.
 */
int vu_conn_create(const struct vu_opts *opts, int cmd_fd, int evt_fd,
                   struct vu_conn **conn);

/**
 * vu_conn_run() - serve one front-end until it goes away.
 * @fd: the connected vhost-user socket; ours from here on.
 * @supervisor_fd: link to the supervisor; end of file there ends the run.
 *
 * Return: 0 when the front-end disconnected (the normal end) or the
 * supervisor told us to stop; -EPIPE when the request process died, -EIO when
 * it said that it can not go on;
 * another -errno when the front-end sent what it must not.
 */
int vu_conn_run(struct vu_conn *conn, int fd, int supervisor_fd);

void vu_conn_destroy(struct vu_conn *conn);

#endif
