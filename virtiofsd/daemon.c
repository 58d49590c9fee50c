/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtiofsd/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "virtiofsd/base/fd.h"
#include "virtiofsd/base/log.h"

/* Opened before the sandbox, which opens nothing. */
static int null_fd = -1;

int daemon_fork(int *ready_fd, int *result)
{
    char byte;
    int p[2];
    pid_t pid;

    *result = 0;
    null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null_fd < 0 || pipe2(p, O_CLOEXEC) < 0) {
        *result = -errno;
        log_err("daemonize: %s", strerror(-*result));
        return 1;
    }
    pid = fork();
    if (pid == 0) {
        close(p[0]);
        setsid();
        *ready_fd = p[1];
        return 0;
    }
    close(p[1]);
    if (pid < 0) {
        *result = -errno;
        log_err("daemonize: %s", strerror(-*result));
    } else if (read(p[0], &byte, 1) != 1) {
        /* End of file: it has failed, and has said why. */
        *result = -ECHILD;
    }
    close(p[0]);
    return 1;
}

void daemon_ready(int *ready_fd)
{
    if (*ready_fd < 0)
        return;
    if (write(*ready_fd, "", 1) < 0)
        log_debug("daemonize: %s", strerror(errno));
    fd_close(ready_fd);
    for (int fd = 0; fd <= 2; fd++)
        dup2(null_fd, fd);
    fd_close(&null_fd);
    log_to_syslog();
}
