/* SPDX-License-Identifier: BSD-3-Clause */
#include "sandbox/fds.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

/* Only the kernels before 5.9 come here. */
static int close_listed(unsigned int first, unsigned int last)
{
    DIR *d = opendir("/proc/self/fd");
    struct dirent *e;

    if (!d)
        return -errno;
    while ((e = readdir(d))) {
        char *end;
        unsigned long fd = strtoul(e->d_name, &end, 10);

        if (*end || end == e->d_name || fd < first || fd > last)
            continue;
        if ((int)fd != dirfd(d))
            close((int)fd);
    }
    closedir(d);
    return 0;
}

static int close_span(unsigned int first, unsigned int last)
{
    if (first > last)
        return 0;
    if (syscall(SYS_close_range, first, last, 0) == 0)
        return 0;
    return close_listed(first, last);
}

int fds_close_except(const int *keep, size_t n)
{
    unsigned int from = 3;

    /* Closes the gaps between the kept ones, lowest first. */
    for (;;) {
        int next = -1;
        int ret;

        for (size_t i = 0; i < n; i++)
            if (keep[i] >= (int)from && (next < 0 || keep[i] < next))
                next = keep[i];
        if (next < 0)
            return close_span(from, UINT_MAX);
        ret = close_span(from, (unsigned int)next - 1);
        if (ret < 0)
            return ret;
        from = (unsigned int)next + 1;
    }
}

int fds_fill_stdio(void)
{
    for (int fd = 0; fd <= 2; fd++) {
        int got;

        if (fcntl(fd, F_GETFD) >= 0)
            continue;
        /* The lowest free number: all below are open by now. */
        got = open("/dev/null", O_RDWR);
        if (got < 0)
            return -errno;
    }
    return 0;
}
