/* SPDX-License-Identifier: BSD-3-Clause */
#include "sandbox/seccomp.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "virtiofsd/base/util.h"

/*
 * The supervisor, once both roles run: wait, relay log lines, accept one
 * client, hand its socket on, end the roles, remove two files.
 */
/* clang-format off */
static const struct sc_rule rules[] = {
    SC_ALLOW_IF("mmap", SC_IS_MASK(2, PROT_EXEC, 0)),
    SC_ALLOW_IF("mmap2", SC_IS_MASK(2, PROT_EXEC, 0)),
    SC_ALLOW("accept4"), SC_ALLOW("wait4"), SC_ALLOW("waitid"),
    SC_ALLOW("waitpid"), SC_ALLOW("kill"),
    SC_ALLOW("unlinkat"), SC_ALLOW("newfstatat"), SC_ALLOW("fstatat64"),
    SC_ALLOW("statx"), SC_ALLOW("fcntl"), SC_ALLOW("fcntl64"),
    SC_ALLOW("dup2"), SC_ALLOW("dup3"),
    /* syslog(3) connects again when its daemon was restarted. */
    SC_ALLOW_IF("socket", SC_IS_EQ(0, AF_UNIX)), SC_ALLOW("connect"),
    /* The C library may look for a time zone or a message catalogue; it
     * does without. */
    SC_ERRNO("open", EACCES), SC_ERRNO("openat", EACCES),
    SC_ERRNO("stat", EACCES), SC_ERRNO("access", EACCES),
};
/* clang-format on */

const struct sc_table sc_table_supervisor = { rules, ARRAY_SIZE(rules) };
