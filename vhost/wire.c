/* SPDX-License-Identifier: BSD-3-Clause */
#include "vhost/wire.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "virtiofsd/base/util.h"

_Static_assert(sizeof(struct vu_hdr) == 12, "vhost-user \"Header\"");
_Static_assert(sizeof(struct vu_vring_addr) == 40, "vhost-user \"Payload\"");
_Static_assert(sizeof(struct vu_mem_table) == 264, "vhost-user \"Payload\"");
_Static_assert(sizeof(struct vu_mem_reg) == 40, "vhost-user \"Payload\"");
_Static_assert(sizeof(struct vu_fs_config) == 44, "virtio file system");

void wire_reader_init(struct wire_reader *r)
{
    r->got = 0;
    r->msg.nfds = 0;
}

void wire_msg_reset(struct wire_reader *r)
{
    for (int i = 0; i < r->msg.nfds; i++) {
        if (r->msg.fds[i] >= 0)
            close(r->msg.fds[i]);
    }
    wire_reader_init(r);
}

int wire_take_fd(struct vu_msg *m, int idx)
{
    int fd;

    if (idx >= m->nfds)
        return -1;
    fd = m->fds[idx];
    m->fds[idx] = -1;
    return fd;
}

/* Every fd that arrived ends up in the message or is closed. */
static int take_fds(struct vu_msg *m, struct msghdr *mh)
{
    int ret = (mh->msg_flags & MSG_CTRUNC) ? -EBADMSG : 0;

    for (struct cmsghdr *h = CMSG_FIRSTHDR(mh); h; h = CMSG_NXTHDR(mh, h)) {
        size_t n;

        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
            continue;
        n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(h) + i * sizeof(int), sizeof(fd));
            if (m->nfds < VU_MAX_FDS) {
                m->fds[m->nfds++] = fd;
            } else {
                close(fd);
                ret = -EBADMSG;
            }
        }
    }
    return ret;
}

/*
 * One recvmsg().  It never asks for more than the current message still
 * lacks, so the fds that come are this message's and not the next one's.
 */
static int read_some(int fd, struct vu_msg *m, void *buf, size_t len,
                     size_t *got)
{
    union {
        char buf[CMSG_SPACE(VU_MAX_FDS * sizeof(int))];
        struct cmsghdr align;
    } ctl;
    struct iovec iov = { .iov_base = buf, .iov_len = len };
    struct msghdr mh = { .msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = ctl.buf,
                         .msg_controllen = sizeof(ctl.buf) };
    ssize_t n;
    int ret;

    do {
        n = recvmsg(fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == ECONNRESET ? -EPIPE : -errno;
    ret = take_fds(m, &mh);
    if (ret < 0)
        return ret;
    if (n == 0)
        return -EPIPE;
    *got += (size_t)n;
    return 0;
}

static int check_header(const struct vu_hdr *h)
{
    if ((h->flags & VU_FLAG_VERSION_MASK) != VU_FLAG_VERSION ||
        (h->flags & VU_FLAG_REPLY) || (h->flags & ~VU_FLAG_KNOWN))
        return -EBADMSG;
    return h->size > WIRE_MAX_PAYLOAD ? -EBADMSG : 0;
}

int wire_read(int fd, struct wire_reader *r)
{
    struct vu_msg *m = &r->msg;
    const size_t hdr_size = sizeof(m->hdr);

    /* At most a few pieces per call: a front-end that dribbles bytes can not
     * keep the caller in here. */
    for (int pieces = 0; pieces < 4; pieces++) {
        size_t want;
        char *at;
        int ret;

        if (r->got < hdr_size) {
            at = (char *)&m->hdr + r->got;
            want = hdr_size - r->got;
        } else {
            at = (char *)m->payload + (r->got - hdr_size);
            want = hdr_size + m->hdr.size - r->got;
        }
        ret = read_some(fd, m, at, want, &r->got);
        if (ret == -EAGAIN)
            return 0;
        if (ret == -EPIPE && (r->got > 0 || m->nfds > 0))
            return -EBADMSG;
        if (ret < 0)
            return ret;
        if (r->got < hdr_size)
            continue;
        if (check_header(&m->hdr) < 0)
            return -EBADMSG;
        if (r->got == hdr_size + m->hdr.size)
            return 1;
    }
    return 0;
}

static int wait_writable(int fd, int64_t deadline_ns)
{
    struct pollfd p = { .fd = fd, .events = POLLOUT };
    int64_t left_ms = (deadline_ns - now_ns()) / 1000000;
    int ret;

    if (left_ms <= 0)
        return -ETIMEDOUT;
    ret = poll(&p, 1, (int)left_ms);
    return ret < 0 && errno != EINTR ? -errno : 0;
}

int wire_reply(int fd, uint32_t request, const void *payload, size_t size)
{
    struct vu_hdr h = { .request = request,
                        .flags = VU_FLAG_VERSION | VU_FLAG_REPLY,
                        .size = (uint32_t)size };
    struct iovec iov[2] = { { .iov_base = &h, .iov_len = sizeof(h) },
                            { .iov_base = (void *)payload, .iov_len = size } };
    struct msghdr mh = { .msg_iov = iov, .msg_iovlen = 2 };
    int64_t deadline_ns = now_ns() + INT64_C(1000000) * WIRE_SEND_TIMEOUT_MS;

    for (;;) {
        ssize_t n = sendmsg(fd, &mh, MSG_NOSIGNAL | MSG_DONTWAIT);
        int err = n < 0 ? errno : 0;
        int ret;

        if (err == EPIPE || err == ECONNRESET)
            return -EPIPE;
        if (err != 0 && err != EINTR && err != EAGAIN)
            return -err;
        for (size_t i = 0; n > 0 && i < ARRAY_SIZE(iov); i++) {
            size_t part = MIN((size_t)n, iov[i].iov_len);

            iov[i].iov_base = (char *)iov[i].iov_base + part;
            iov[i].iov_len -= part;
            n -= (ssize_t)part;
        }
        if (iov[0].iov_len + iov[1].iov_len == 0)
            return 0;
        ret = err == EAGAIN ? wait_writable(fd, deadline_ns) : 0;
        if (ret < 0)
            return ret;
    }
}
