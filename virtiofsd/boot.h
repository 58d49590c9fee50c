/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_BOOT_H
#define VIRTIOFSD_BOOT_H

/*
 * How the supervisor starts a role: over a SEQPACKET socket, the link, which
 * the role finds as fd 3 after exec.  All that a role knows and holds comes
 * through it; the command line says only which role to be.
 *
 *   supervisor                       role
 *   LINK_GO                    ->    (before exec: the id map is written)
 *   boot message, fds          ->
 *                              <-    LINK_READY: sandboxed
 *   LINK_CLIENT, the socket    ->    (vhost only)
 *   end of file                      the supervisor is gone, or wants an end
 */

#include <stdint.h>

#include "fuse/device.h"
#include "sandbox/sandbox.h"
#include "vhost/conn.h"
#include "virtiofsd/base/log.h"

#define BOOT_FD 3

enum boot_fd {
    BOOT_CMD_FD,  /* channel control -> request, this role's end */
    BOOT_EVT_FD,  /* channel request -> control, this role's end */
    BOOT_LOG_FD,  /* write end of the role's log pipe */
    BOOT_ROOT_FD, /* fuse only: the share, O_PATH */
    BOOT_FDS,
};

/* Plain data; both sides are the same executable. */
struct boot_msg {
    uint32_t magic;   /* filled in by boot_send() */
    uint32_t version; /* filled in by boot_send() */
    enum sandbox_role role;
    enum log_level log_level;
    int64_t rlimit_nofile;
    struct sandbox_opts sandbox;
    union {
        struct vu_opts vhost;
        struct fuse_device_opts fuse;
    } u;
};

enum link_type {
    LINK_GO = 1,
    LINK_READY,
    LINK_CLIENT, /* with one fd */
};

/**
 * boot_send() - tell a role what to do.
 * @msg: magic and version are filled in.
 * @fds: borrowed; -1 for BOOT_ROOT_FD where there is none.
 * Context: supervisor.
 * Return: 0 or -errno.
 */
int boot_send(int link_fd, struct boot_msg *msg, const int fds[BOOT_FDS]);

/**
 * boot_recv() - be told what to do.
 * @role: what the command line says to be; a message for another is refused.
 * @fds:  out, the caller's; -1 where there is none.
 * Return: 0; -EPIPE when the supervisor is gone; -EBADMSG when the message is
 * not for us.
 */
int boot_recv(int link_fd, enum sandbox_role role, struct boot_msg *msg,
              int fds[BOOT_FDS]);

/**
 * link_send() - send one small message.
 * @fd: sent along, borrowed; -1: none.
 * Return: 0 or -errno; never raises SIGPIPE.
 */
int link_send(int link_fd, enum link_type type, int fd);

/**
 * link_recv() - wait for one small message.
 * @type: the one expected.
 * @fd:   out, the caller's, -1 when none came; NULL: none is expected.
 * Return: 0; -EPIPE at end of file; -EBADMSG for another message; -errno.
 */
int link_recv(int link_fd, enum link_type type, int *fd);

#endif
