/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_SUPERVISOR_H
#define VIRTIOFSD_SUPERVISOR_H

/*
 * The supervisor's life:
 *
 *   STARTING -> WAITING   both roles are sandboxed and have greeted
 *   WAITING  -> SERVING   the front-end is there; the listener is closed
 *   any      -> STOPPING  a signal, a role's end, or a fault
 *
 * In STOPPING the control role is told to end by end of file on its link;
 * the request role by end of file on its command channel, when control is
 * gone.  What still lives after the grace time is killed.
 */

#include "virtiofsd/options.h"

enum sv_exit {
    SV_EXIT_OK = 0,    /* the front-end disconnected, or a signal ended us */
    SV_EXIT_FAIL = 1,  /* could not start, or a role failed */
    SV_EXIT_USAGE = 2, /* the command line is wrong */
};

/**
 * supervisor_run() - serve one front-end's life.
 * @opts: borrowed.
 * Context: main thread, the only one.
 * Return: the process's exit code.  With --daemonize the process that was
 * launched returns from here as soon as the daemon is ready.
 */
enum sv_exit supervisor_run(const struct options *opts);

#endif
