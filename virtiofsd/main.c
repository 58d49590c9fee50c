/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "virtiofsd/options.h"
#include "virtiofsd/role.h"
#include "virtiofsd/supervisor.h"

/*
 * A role is what the supervisor's own exec says it is.  --role is no option:
 * it counts only with the link on fd 3.  A launcher's --fd=3 is a listening
 * stream socket and can not be taken for it.
 */
static bool have_link(void)
{
    int type = 0;
    socklen_t len = sizeof(type);

    return getsockopt(BOOT_FD, SOL_SOCKET, SO_TYPE, &type, &len) == 0 &&
           type == SOCK_SEQPACKET;
}

int main(int argc, char **argv)
{
    struct options opts;

    if (argc == 2 && have_link()) {
        if (strcmp(argv[1], "--role=vhost") == 0)
            role_vhost_main();
        if (strcmp(argv[1], "--role=fuse") == 0)
            role_fuse_main();
    }
    switch (options_parse(argc, argv, &opts, stdout, stderr)) {
    case OPTIONS_EXIT_OK:
        return SV_EXIT_OK;
    case OPTIONS_EXIT_USAGE:
        return SV_EXIT_USAGE;
    case OPTIONS_RUN:
        break;
    }
    /* Like a role, without what the libraries do at exit: the process is
     * locked in, and whatever they want to look at is not there. */
    _exit((int)supervisor_run(&opts));
}
