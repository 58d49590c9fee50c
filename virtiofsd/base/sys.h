/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_BASE_SYS_H
#define VIRTIOFSD_BASE_SYS_H

/*
 * System calls made for every request or two.  The C library's functions of
 * these names are cancellation points, which is some seventy instructions and
 * two locked ones a call in a process of several threads.  Nobody is cancelled
 * here.
 *
 * ThreadSanitizer has to see which descriptors come and go: with it these are
 * the library's.
 *
 * Return: as the functions of the C library, errno too.
 */

#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
#define SYS_BY_LIBRARY 1
#else
#define SYS_BY_LIBRARY 0
#endif

static inline ssize_t sys_read(int fd, void *buf, size_t len)
{
    return SYS_BY_LIBRARY ? read(fd, buf, len)
                          : syscall(SYS_read, fd, buf, len);
}

static inline ssize_t sys_write(int fd, const void *buf, size_t len)
{
    return SYS_BY_LIBRARY ? write(fd, buf, len)
                          : syscall(SYS_write, fd, buf, len);
}

/* @mode: of what O_CREAT or O_TMPFILE makes. */
static inline int sys_openat(int dir_fd, const char *name, int flags,
                             mode_t mode)
{
    if (SYS_BY_LIBRARY)
        return openat(dir_fd, name, flags, mode);
    return (int)syscall(SYS_openat, dir_fd, name, flags | O_LARGEFILE, mode);
}

static inline int sys_close(int fd)
{
    return SYS_BY_LIBRARY ? close(fd) : (int)syscall(SYS_close, fd);
}

/* Without a signal mask.  What is left of @timeout may be written to it. */
static inline int sys_ppoll(struct pollfd *p, nfds_t n,
                            struct timespec *timeout)
{
#if __SIZEOF_LONG__ == 8 && !SYS_BY_LIBRARY
    return (int)syscall(SYS_ppoll, p, n, timeout, NULL, 0L);
#else
    /* Which call takes the C library's timespec is for the library to know. */
    return ppoll(p, n, timeout, NULL);
#endif
}

#endif
