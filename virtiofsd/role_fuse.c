/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtiofsd/role.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

void role_fuse_main(void)
{
    struct sandbox_files files = { -1, -1, -1, -1 };
    int fds[BOOT_FDS];
    struct boot_msg msg;
    int ret;

    if (role_begin(SANDBOX_ROLE_FUSE, &msg, fds) < 0)
        role_end(ROLE_EXIT_FAIL);
    /* The guest's own umask has been applied to the modes it sends. */
    umask(0);
    files.root_fd = fds[BOOT_ROOT_FD];
    files.log_fd = fds[BOOT_LOG_FD];
    ret = sandbox_enter(SANDBOX_ROLE_FUSE, &msg.sandbox, msg.rlimit_nofile,
                        &files);
    if (ret == 0)
        ret = link_send(BOOT_FD, LINK_READY, -1);
    if (ret < 0)
        role_end(ROLE_EXIT_FAIL);

    ret = fuse_device_run(&msg.u.fuse, fds[BOOT_CMD_FD], fds[BOOT_EVT_FD],
                          files.root_fd, files.proc_fd);
    if (ret < 0) {
        log_err("device: can not serve: %s", strerror(-ret));
        role_end(ROLE_EXIT_FAIL);
    }
    role_end(ROLE_EXIT_OK);
}
