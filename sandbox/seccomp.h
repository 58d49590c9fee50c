/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_SANDBOX_SECCOMP_H
#define VIRTIOFSD_SANDBOX_SECCOMP_H

/*
 * System call filters as data: a table for each role (seccomp_<role>.c) over
 * a common one (seccomp.c).  What no row allows meets the default action.
 *
 * Sanitizer builds add a wider table (SANITIZER_FILTER): their runtime opens
 * /proc/self/maps, starts threads and reads its own memory.
 */

#include <stddef.h>
#include <stdint.h>

#include "sandbox/sandbox.h"

/* Exit code of a role that made a system call it may not make (128 + SIGSYS,
 * as a shell would call it). */
#define SECCOMP_EXIT_CODE 159

/* What an argument must be like for the row to hold. */
enum sc_test {
    SC_ANY = 0, /* no argument is looked at */
    SC_EQ,      /* arg == value */
    SC_MASK,    /* (arg & mask) == value */
    SC_MAX,     /* arg <= value */
    SC_OWN_PID, /* arg == getpid() at the time of loading */
};

struct sc_arg {
    enum sc_test test;
    unsigned int arg; /* 0..5 */
    uint64_t value, mask;
};

struct sc_rule {
    const char *name;
    struct sc_arg a[2]; /* both must hold */
    int err;            /* 0: allow, else the call fails with this errno */
    int nr;             /* number, for a call younger than libseccomp; else 0 */
};

struct sc_table {
    const struct sc_rule *rules;
    size_t n;
};

extern const struct sc_table sc_table_common; /* part of each of the others */
extern const struct sc_table sc_table_supervisor;
extern const struct sc_table sc_table_vhost;
extern const struct sc_table sc_table_fuse;
extern const struct sc_table sc_table_fuse_handles; /* beside it, if wanted */

/* clang-format off */
#define SC_IS_EQ(n, v)      { .test = SC_EQ, .arg = (n), .value = (v) }
#define SC_IS_MASK(n, m, v) \
    { .test = SC_MASK, .arg = (n), .value = (v), .mask = (m) }
#define SC_IS_MAX(n, v)     { .test = SC_MAX, .arg = (n), .value = (v) }
#define SC_IS_OWN_PID(n)    { .test = SC_OWN_PID, .arg = (n) }

#define SC_ALLOW(c)         { .name = (c) }
#define SC_ALLOW_IF(c, ...) { .name = (c), .a = { __VA_ARGS__ } }
#define SC_ERRNO(c, e)      { .name = (c), .err = (e) }
#define SC_NEW(c, number)   { .name = (c), .nr = (number) }
/* clang-format on */

/**
 * seccomp_enter() - load a role's filter.
 * @opts:   the mode, and whether files are opened by handles.
 * @log_fd: SECCOMP_KILL: where the refused call is named, from a signal
 *          handler; framed as log.h has it for a pipe, but for the supervisor,
 *          whose @log_fd is stderr.  Kept.
 * Context: last step of the sandbox: what it needed is refused from here on.
 * Return: 0 or -errno; told in the log.
 */
int seccomp_enter(enum sandbox_role role, const struct sandbox_opts *opts,
                  int log_fd);

#endif
