/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_ROLE_H
#define VIRTIOFSD_ROLE_H

/* The two roles' main functions, and what both begin with. */

#include "virtiofsd/boot.h"

/* What a role's exit says to the supervisor. */
enum role_exit {
    ROLE_EXIT_OK = 0,        /* the normal end */
    ROLE_EXIT_FAIL = 1,      /* could not start, or could not go on */
    ROLE_EXIT_PEER_GONE = 3, /* the other role died first: blame that one */
    ROLE_EXIT_PROTOCOL = 4,  /* the front-end sent what it must not */
};

/**
 * role_begin() - from exec to knowing what to do.
 * Takes the boot message, drops every fd that did not come with it, sends log
 * lines to the supervisor.
 * @msg, @fds: as boot_recv() gives them.
 * Context: a role, first thing.
 * Return: 0 or -errno.
 */
int role_begin(enum sandbox_role role, struct boot_msg *msg, int fds[BOOT_FDS]);

/**
 * role_end() - leave without running what the libraries do at exit: leak
 * checkers and the like want a /proc and a thread, and find neither.
 */
_Noreturn void role_end(enum role_exit code);

/* Return: never, in fact: they end in role_end(). */
_Noreturn void role_vhost_main(void);
_Noreturn void role_fuse_main(void);

#endif
