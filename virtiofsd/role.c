/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtiofsd/role.h"

#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "sandbox/fds.h"
#include "virtiofsd/base/util.h"

/*
 * Ctrl-C goes to the whole process group; the supervisor takes it as a wish
 * for an orderly end, which a role dying of it would spoil.
 */
static void ignore_signals(void)
{
    static const int sigs[] = { SIGINT, SIGTERM, SIGHUP, SIGPIPE };

    for (size_t i = 0; i < ARRAY_SIZE(sigs); i++)
        signal(sigs[i], SIG_IGN);
}

int role_begin(enum sandbox_role role, struct boot_msg *msg, int fds[BOOT_FDS])
{
    const int keep[] = { BOOT_FD };
    char name[16];
    int ret;

    snprintf(name, sizeof(name), "virtiofsd-%s", sandbox_role_name(role));
    prctl(PR_SET_NAME, name, 0, 0, 0);
    ignore_signals();
    ret = fds_close_except(keep, ARRAY_SIZE(keep));
    if (ret == 0)
        ret = boot_recv(BOOT_FD, role, msg, fds);
    if (ret < 0)
        return ret;
    log_set_role(sandbox_role_name(role));
    log_set_level(msg->log_level);
    log_to_pipe(fds[BOOT_LOG_FD]);
    return 0;
}

void role_end(enum role_exit code)
{
    _exit((int)code);
}
