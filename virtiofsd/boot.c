/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtiofsd/boot.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "virtiofsd/base/fd.h"

#define BOOT_MAGIC   0x64736676 /* "vfsd" */
#define BOOT_VERSION 1

union fd_space {
    struct cmsghdr align;
    char buf[CMSG_SPACE(sizeof(int) * BOOT_FDS)];
};

static int send_with_fds(int sock, const void *data, size_t len, const int *fds,
                         int nfds)
{
    struct iovec iov = { (void *)data, len };
    struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
    union fd_space space;
    ssize_t n;

    if (nfds > 0) {
        struct cmsghdr *c = &space.align;

        memset(&space, 0, sizeof(space));
        mh.msg_control = space.buf;
        mh.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)nfds);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)nfds);
        memcpy(CMSG_DATA(c), fds, sizeof(int) * (size_t)nfds);
    }
    do {
        n = sendmsg(sock, &mh, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}

/* @fds is filled from the front, @nfds says how far.  Return: bytes. */
static ssize_t recv_with_fds(int sock, void *data, size_t len, int *fds,
                             int *nfds)
{
    struct iovec iov = { data, len };
    union fd_space space;
    struct msghdr mh = { .msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = space.buf,
                         .msg_controllen = sizeof(space.buf) };
    ssize_t n;

    *nfds = 0;
    do {
        n = recvmsg(sock, &mh, MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&mh); c; c = CMSG_NXTHDR(&mh, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        *nfds = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(fds, CMSG_DATA(c), sizeof(int) * (size_t)*nfds);
    }
    if (mh.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
        n = -EBADMSG;
    return n == 0 ? -EPIPE : n;
}

static void close_all(int *fds, int n)
{
    for (int i = 0; i < n; i++)
        fd_close(&fds[i]);
}

int boot_send(int link_fd, struct boot_msg *msg, const int fds[BOOT_FDS])
{
    int n = msg->role == SANDBOX_ROLE_FUSE ? BOOT_FDS : BOOT_ROOT_FD;

    msg->magic = BOOT_MAGIC;
    msg->version = BOOT_VERSION;
    return send_with_fds(link_fd, msg, sizeof(*msg), fds, n);
}

int boot_recv(int link_fd, enum sandbox_role role, struct boot_msg *msg,
              int fds[BOOT_FDS])
{
    int want = role == SANDBOX_ROLE_FUSE ? BOOT_FDS : BOOT_ROOT_FD;
    ssize_t n;
    int nfds;

    for (int i = 0; i < BOOT_FDS; i++)
        fds[i] = -1;
    n = recv_with_fds(link_fd, msg, sizeof(*msg), fds, &nfds);
    if (n == (ssize_t)sizeof(*msg) && msg->magic == BOOT_MAGIC &&
        msg->version == BOOT_VERSION && msg->role == role && nfds == want)
        return 0;
    close_all(fds, nfds);
    return n < 0 ? (int)n : -EBADMSG;
}

int link_send(int link_fd, enum link_type type, int fd)
{
    unsigned char byte = (unsigned char)type;

    return send_with_fds(link_fd, &byte, 1, &fd, fd >= 0);
}

int link_recv(int link_fd, enum link_type type, int *fd)
{
    int fds[BOOT_FDS];
    unsigned char byte = 0;
    int nfds;
    ssize_t n = recv_with_fds(link_fd, &byte, 1, fds, &nfds);

    if (n == 1 && byte == type && nfds <= (fd ? 1 : 0)) {
        if (fd)
            *fd = nfds ? fds[0] : -1;
        return 0;
    }
    close_all(fds, nfds);
    return n < 0 ? (int)n : -EBADMSG;
}
