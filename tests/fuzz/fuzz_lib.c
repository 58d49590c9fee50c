/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "virtiofsd/base/util.h"

#define SEND_FDS_MAX 128

uint64_t fuzz_uint(struct fuzz_in *in, size_t bytes)
{
    uint64_t v = 0;

    for (size_t i = 0; i < bytes && in->left > 0; i++, in->p++, in->left--)
        v |= (uint64_t)*in->p << (8 * i);
    return v;
}

const uint8_t *fuzz_take(struct fuzz_in *in, size_t *len)
{
    const uint8_t *p = in->p;

    *len = MIN(*len, in->left);
    in->p += *len;
    in->left -= *len;
    return p;
}

void fuzz_copy(struct fuzz_in *in, void *to, size_t len)
{
    size_t got = len;
    const uint8_t *p = fuzz_take(in, &got);

    if (got > 0)
        memcpy(to, p, got);
    memset((uint8_t *)to + got, 0, len - got);
}

_Noreturn void fuzz_fail(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
    abort();
}

int fuzz_count_fds(void)
{
    static int dir = -1;
    char buf[8192];
    ssize_t n;
    int count = 0;

    if (dir < 0)
        dir = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    FUZZ_CHECK(dir >= 0 && lseek(dir, 0, SEEK_SET) == 0);
    while ((n = getdents64(dir, buf, sizeof(buf))) > 0) {
        for (ssize_t at = 0; at < n; count++)
            at += ((const struct dirent64 *)(buf + at))->d_reclen;
    }
    return count;
}

static int memory(unsigned int seals)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    FUZZ_CHECK(fd >= 0 && ftruncate(fd, (off_t)FUZZ_MEMORY_BYTES) == 0);
    FUZZ_CHECK(seals == 0 || fcntl(fd, F_ADD_SEALS, seals) == 0);
    return fd;
}

int fuzz_fd(unsigned int kind)
{
    static int fds[FUZZ_FD_KINDS];

    if (fds[FUZZ_FD_MEMORY] == 0) {
        fds[FUZZ_FD_MEMORY] = memory(F_SEAL_SHRINK | F_SEAL_GROW);
        fds[FUZZ_FD_EVENT] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        fds[FUZZ_FD_NULL] = open("/dev/null", O_RDWR | O_CLOEXEC);
        fds[FUZZ_FD_NO_READ] = memory(F_SEAL_SHRINK | F_SEAL_WRITE);
    }
    return fds[kind % FUZZ_FD_KINDS];
}

long fuzz_send(int sock, const void *buf, size_t len, unsigned int nfds,
               unsigned int kind)
{
    union {
        char buf[CMSG_SPACE(SEND_FDS_MAX * sizeof(int))];
        struct cmsghdr align;
    } ctl;
    struct iovec iov = { .iov_base = (void *)buf, .iov_len = len };
    struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };

    FUZZ_CHECK(nfds <= SEND_FDS_MAX);
    memset(&ctl, 0, sizeof(ctl));
    if (nfds > 0) {
        mh.msg_control = ctl.buf;
        mh.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
        ctl.align.cmsg_level = SOL_SOCKET;
        ctl.align.cmsg_type = SCM_RIGHTS;
        ctl.align.cmsg_len = CMSG_LEN(nfds * sizeof(int));
    }
    for (unsigned int i = 0; i < nfds; i++) {
        int fd = fuzz_fd(kind + i);

        memcpy(CMSG_DATA(&ctl.align) + i * sizeof(int), &fd, sizeof(fd));
    }
    return sendmsg(sock, &mh, MSG_NOSIGNAL | MSG_DONTWAIT);
}
