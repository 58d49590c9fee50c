/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_BASE_FD_H
#define VIRTIOFSD_BASE_FD_H

/*
 * File descriptors: -1 is the only "no fd".  auto_fd frees on every exit,
 * take_fd() marks the hand-over.
 */

#include <errno.h>
#include <unistd.h>

static inline void fd_close(int *fd)
{
    int saved = errno;

    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    errno = saved;
}

static inline int take_fd(int *fd)
{
    int got = *fd;

    *fd = -1;
    return got;
}

#define auto_fd __attribute__((cleanup(fd_close))) int

#endif
