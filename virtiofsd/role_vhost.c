/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtiofsd/role.h"

#include <errno.h>
#include <string.h>

#include "virtiofsd/base/fd.h"

/* Say what a front-end's visit came to. */
static enum role_exit exit_code_of(int ret)
{
    if (ret == 0)
        return ROLE_EXIT_OK;
    if (ret == -EPIPE)
        return ROLE_EXIT_PEER_GONE;
    log_err("connection: ended by us: %s", strerror(-ret));
    return ROLE_EXIT_PROTOCOL;
}

/* From the sandbox to the front-end's end. */
static enum role_exit serve(const struct boot_msg *msg, const int *fds)
{
    struct vu_conn *conn;
    enum role_exit code;
    int client_fd = -1;
    int ret;

    ret = vu_conn_create(&msg->u.vhost, fds[BOOT_CMD_FD], fds[BOOT_EVT_FD],
                         &conn);
    if (ret < 0) {
        log_err("start: greeting the request process: %s", strerror(-ret));
        return ret == -EPIPE ? ROLE_EXIT_PEER_GONE : ROLE_EXIT_FAIL;
    }
    ret = link_send(BOOT_FD, LINK_READY, -1);
    if (ret == 0)
        ret = link_recv(BOOT_FD, LINK_CLIENT, &client_fd);
    if (ret == -EPIPE) {
        /* An end before any client came. */
        code = ROLE_EXIT_OK;
    } else if (ret < 0 || client_fd < 0) {
        log_err("start: no front-end's socket: %s", strerror(-ret));
        code = ROLE_EXIT_FAIL;
    } else {
        code = exit_code_of(vu_conn_run(conn, take_fd(&client_fd), BOOT_FD));
    }
    vu_conn_destroy(conn);
    return code;
}

void role_vhost_main(void)
{
    struct sandbox_files files = { -1, -1, -1, -1 };
    int fds[BOOT_FDS];
    struct boot_msg msg;

    if (role_begin(SANDBOX_ROLE_VHOST, &msg, fds) < 0)
        role_end(ROLE_EXIT_FAIL);
    files.log_fd = fds[BOOT_LOG_FD];
    if (sandbox_enter(SANDBOX_ROLE_VHOST, &msg.sandbox, msg.rlimit_nofile,
                      &files) < 0)
        role_end(ROLE_EXIT_FAIL);
    role_end(serve(&msg, fds));
}
