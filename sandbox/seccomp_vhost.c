/* SPDX-License-Identifier: BSD-3-Clause */
#include "sandbox/seccomp.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "virtiofsd/base/util.h"

/*
 * The control process: its socket, two channels, eventfds and two shared
 * pages.  It opens nothing, connects to nothing and starts nothing.
 *
 * Guest memory passes through as fds which it must never map: what is not
 * anonymous may be mapped only as far as the shared pages need it.
 */
#define SHARED_PAGE_MAX (64 * 1024)

/* clang-format off */
#define MAP_ROWS(call)                                                    \
    SC_ALLOW_IF(call, SC_IS_MASK(2, PROT_EXEC, 0),                        \
                SC_IS_MASK(3, MAP_ANONYMOUS | MAP_SHARED, MAP_ANONYMOUS)), \
    SC_ALLOW_IF(call, SC_IS_MASK(2, PROT_EXEC, 0),                        \
                SC_IS_MAX(1, SHARED_PAGE_MAX))
#define FCNTL_ROWS(call)                                                  \
    SC_ALLOW_IF(call, SC_IS_EQ(1, F_DUPFD_CLOEXEC)),                      \
    SC_ALLOW_IF(call, SC_IS_EQ(1, F_GETFD)),                              \
    SC_ALLOW_IF(call, SC_IS_EQ(1, F_SETFD)),                              \
    SC_ALLOW_IF(call, SC_IS_EQ(1, F_GETFL)),                              \
    SC_ALLOW_IF(call, SC_IS_EQ(1, F_SETFL)),                              \
    SC_ALLOW_IF(call, SC_IS_EQ(1, F_ADD_SEALS)),                          \
    SC_ALLOW_IF(call, SC_IS_EQ(1, F_GET_SEALS))

static const struct sc_rule rules[] = {
    MAP_ROWS("mmap"), MAP_ROWS("mmap2"),
    FCNTL_ROWS("fcntl"), FCNTL_ROWS("fcntl64"),
    SC_ALLOW("memfd_create"), SC_ALLOW("ftruncate"), SC_ALLOW("ftruncate64"),
    /* glibc's fstat() is one of these by name of the empty path. */
    SC_ALLOW_IF("newfstatat", SC_IS_MASK(3, AT_EMPTY_PATH, AT_EMPTY_PATH)),
    SC_ALLOW_IF("fstatat64", SC_IS_MASK(3, AT_EMPTY_PATH, AT_EMPTY_PATH)),
    SC_ALLOW("eventfd2"), SC_ALLOW("getsockopt"),
    SC_ALLOW("timerfd_create"), SC_ALLOW("timerfd_settime"),
    SC_ALLOW("timerfd_settime64"), SC_ALLOW("timerfd_gettime"),
    SC_ALLOW("epoll_create1"), SC_ALLOW("epoll_ctl"), SC_ALLOW("epoll_wait"),
    SC_ALLOW("epoll_pwait"), SC_ALLOW("epoll_pwait2"),
};
/* clang-format on */

const struct sc_table sc_table_vhost = { rules, ARRAY_SIZE(rules) };
