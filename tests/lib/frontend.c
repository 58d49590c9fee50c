/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/lib/frontend.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/lib/daemon.h"

int fe_connect(struct frontend *fe, const char *path)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    int ret;

    memset(fe, 0, sizeof(*fe));
    fe->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fe->fd < 0)
        return -errno;
    snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
    if (connect(fe->fd, (struct sockaddr *)&sa, sizeof(sa)) == 0)
        return 0;
    ret = -errno;
    fe_close(fe);
    return ret;
}

void fe_close(struct frontend *fe)
{
    if (fe->fd >= 0)
        close(fe->fd);
    fe->fd = -1;
}

int fe_send_raw(struct frontend *fe, const void *buf, size_t len,
                const int *fds, int nfds)
{
    union {
        char buf[CMSG_SPACE(sizeof(int) * 64)];
        struct cmsghdr align;
    } control;
    struct iovec iov = { (void *)(uintptr_t)buf, len };
    struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
    ssize_t n;

    if (nfds > 64)
        return -EINVAL;
    if (nfds > 0) {
        struct cmsghdr *c;

        memset(&control, 0, sizeof(control));
        mh.msg_control = &control;
        mh.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)nfds);
        c = CMSG_FIRSTHDR(&mh);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)nfds);
        memcpy(CMSG_DATA(c), fds, sizeof(int) * (size_t)nfds);
    }
    n = sendmsg(fe->fd, &mh, MSG_NOSIGNAL);
    if (n < 0)
        return errno == EPIPE ? -ECONNRESET : -errno;
    return (size_t)n == len ? 0 : -EIO;
}

int fe_send(struct frontend *fe, uint32_t request, uint32_t flags,
            const void *payload, size_t len, const int *fds, int nfds)
{
    struct fe_hdr h = { request, FE_VERSION | flags, (uint32_t)len };
    uint8_t buf[sizeof(h) + FE_PAYLOAD_MAX];

    if (len > FE_PAYLOAD_MAX)
        return -EINVAL;
    memcpy(buf, &h, sizeof(h));
    if (len > 0)
        memcpy(buf + sizeof(h), payload, len);
    return fe_send_raw(fe, buf, sizeof(h) + len, fds, nfds);
}

/* Read exactly @len bytes; fds may come with the first of them. */
static int recv_all(struct frontend *fe, void *buf, size_t len,
                    struct fe_msg *m)
{
    union {
        char buf[CMSG_SPACE(sizeof(int) * FE_FDS_MAX)];
        struct cmsghdr align;
    } control;
    size_t done = 0;

    if (fe->fd < 0)
        return -ENOTCONN;
    while (done < len) {
        struct pollfd p = { .fd = fe->fd, .events = POLLIN };
        struct iovec iov = { (char *)buf + done, len - done };
        struct msghdr mh = {
            .msg_iov = &iov,
            .msg_iovlen = 1,
            .msg_control = &control,
            .msg_controllen = sizeof(control),
        };
        struct cmsghdr *c;
        ssize_t n;

        if (poll(&p, 1, DEADLINE_MS) != 1)
            return -ETIMEDOUT;
        n = recvmsg(fe->fd, &mh, MSG_CMSG_CLOEXEC);
        if (n <= 0)
            return n < 0 && errno != ECONNRESET ? -errno : -ECONNRESET;
        done += (size_t)n;
        for (c = CMSG_FIRSTHDR(&mh); c; c = CMSG_NXTHDR(&mh, c)) {
            if (c->cmsg_type != SCM_RIGHTS)
                continue;
            m->nfds = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
            memcpy(m->fds, CMSG_DATA(c), sizeof(int) * (size_t)m->nfds);
        }
    }
    return 0;
}

int fe_recv(struct frontend *fe, struct fe_msg *m)
{
    int ret;

    memset(m, 0, sizeof(*m));
    ret = recv_all(fe, &m->h, sizeof(m->h), m);
    if (ret < 0)
        return ret;
    if (m->h.size > FE_PAYLOAD_MAX)
        return -EBADMSG;
    return recv_all(fe, m->p.bytes, m->h.size, m);
}

int fe_wait_closed(struct frontend *fe)
{
    struct fe_msg m;
    int ret;

    /* Replies to what came before may still be on their way. */
    while ((ret = fe_recv(fe, &m)) == 0) {
        for (int i = 0; i < m.nfds; i++)
            close(m.fds[i]);
    }
    return ret == -ECONNRESET ? 0 : ret;
}

/* The reply must be to @request and of the version; nothing else is known. */
static int recv_reply(struct frontend *fe, uint32_t request, struct fe_msg *m)
{
    int ret = fe_recv(fe, m);

    if (ret < 0)
        return ret;
    if (m->h.request != request || m->h.flags != (FE_VERSION | FE_REPLY) ||
        m->nfds != 0)
        return -EBADMSG;
    return 0;
}

int fe_set(struct frontend *fe, uint32_t request, const void *payload,
           size_t len, const int *fds, int nfds, bool ack)
{
    bool wait =
        (ack || fe->ack_all) && (fe->proto_acked & BIT64(FE_PF_REPLY_ACK));
    struct fe_msg m;
    int ret =
        fe_send(fe, request, wait ? FE_NEED_REPLY : 0, payload, len, fds, nfds);

    if (ret < 0 || !wait)
        return ret;
    ret = recv_reply(fe, request, &m);
    if (ret < 0)
        return ret;
    if (m.h.size != sizeof(m.p.u64))
        return -EBADMSG;
    return m.p.u64 == 0 ? 0 : -EREMOTEIO;
}

int fe_set_u64(struct frontend *fe, uint32_t request, uint64_t v)
{
    return fe_set(fe, request, &v, sizeof(v), NULL, 0, false);
}

int fe_set_state(struct frontend *fe, uint32_t request, uint32_t index,
                 uint32_t num)
{
    struct fe_state s = { index, num };

    return fe_set(fe, request, &s, sizeof(s), NULL, 0, false);
}

int fe_set_fd(struct frontend *fe, uint32_t request, uint32_t index, int fd)
{
    uint64_t v = index | (fd < 0 ? FE_VRING_NOFD : 0);

    return fe_set(fe, request, &v, sizeof(v), &fd, fd < 0 ? 0 : 1, false);
}

int fe_call(struct frontend *fe, uint32_t request, const void *payload,
            size_t len, struct fe_msg *reply)
{
    uint32_t flags = fe->ack_all ? FE_NEED_REPLY : 0;
    int ret = fe_send(fe, request, flags, payload, len, NULL, 0);

    return ret < 0 ? ret : recv_reply(fe, request, reply);
}

int fe_get_u64(struct frontend *fe, uint32_t request, uint64_t *v)
{
    struct fe_msg m;
    int ret = fe_call(fe, request, NULL, 0, &m);

    if (ret < 0)
        return ret;
    *v = m.p.u64;
    return m.h.size == sizeof(*v) ? 0 : -EBADMSG;
}

int fe_get_base(struct frontend *fe, uint32_t index, uint32_t *base)
{
    struct fe_state s = { index, 0 };
    struct fe_msg m;
    int ret = fe_call(fe, FE_GET_VRING_BASE, &s, sizeof(s), &m);

    if (ret < 0)
        return ret;
    *base = m.p.state.num;
    return m.h.size == sizeof(s) && m.p.state.index == index ? 0 : -EBADMSG;
}

int fe_get_config(struct frontend *fe, uint32_t offset, uint32_t size,
                  void *out)
{
    struct fe_config c = { offset, size, 0, { 0 } };
    size_t len = offsetof(struct fe_config, data) + size;
    struct fe_msg m;
    int ret = fe_call(fe, FE_GET_CONFIG, &c, len, &m);

    if (ret < 0)
        return ret;
    if (m.h.size == 0)
        return 0;
    if (m.h.size != len || m.p.config.offset != offset ||
        m.p.config.size != size)
        return -EBADMSG;
    memcpy(out, m.p.config.data, size);
    return (int)size;
}

static int negotiate_protocol(struct frontend *fe, uint64_t proto)
{
    uint64_t n;
    int ret = fe_get_u64(fe, FE_GET_PROTOCOL_FEATURES, &fe->proto);

    if (ret < 0)
        return ret;
    ret = fe_set_u64(fe, FE_SET_PROTOCOL_FEATURES, fe->proto & proto);
    fe->proto_acked = fe->proto & proto;
    if (ret == 0 && (fe->proto_acked & BIT64(FE_PF_MQ)))
        ret = fe_get_u64(fe, FE_GET_QUEUE_NUM, &n);
    if (ret == 0 && (fe->proto_acked & BIT64(FE_PF_MEM_SLOTS)))
        ret = fe_get_u64(fe, FE_GET_MAX_MEM_SLOTS, &n);
    if (ret == 0 && (fe->proto_acked & BIT64(FE_PF_BACKEND_REQ))) {
        int pair[2];

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
            return -errno;
        /* Our end is closed too: nobody is to wait for anything there. */
        ret = fe_set(fe, FE_SET_BACKEND_REQ_FD, NULL, 0, &pair[1], 1, true);
        close(pair[0]);
        close(pair[1]);
    }
    return ret;
}

int fe_negotiate(struct frontend *fe, uint64_t features, uint64_t proto,
                 struct guest_queue *q, unsigned int nrings)
{
    int ret = fe_get_u64(fe, FE_GET_FEATURES, &fe->features);

    if (ret == 0 && (features & BIT64(FE_F_PROTOCOL_FEATURES)))
        ret = negotiate_protocol(fe, proto);
    if (ret == 0)
        ret = fe_set(fe, FE_SET_OWNER, NULL, 0, NULL, 0, false);
    if (ret == 0)
        ret = fe_get_u64(fe, FE_GET_FEATURES, &fe->features);
    for (unsigned int i = 0; i < nrings && ret == 0; i++) {
        ret = fe_set_fd(fe, FE_SET_VRING_CALL, q[i].idx, q[i].call_fd);
        if (ret == 0)
            ret = fe_set_fd(fe, FE_SET_VRING_ERR, q[i].idx, q[i].err_fd);
    }
    fe->acked = fe->features & features;
    return ret < 0 ? ret : fe_set_u64(fe, FE_SET_FEATURES, fe->acked);
}

static struct fe_region wire_region(const struct guest_region *r)
{
    return (struct fe_region){ r->gpa, r->size, r->uva, r->fd_off };
}

static int one_region(struct frontend *fe, uint32_t request,
                      const struct guest_region *r, int nfds)
{
    struct {
        uint64_t pad;
        struct fe_region r;
    } p = { 0, wire_region(r) };

    return fe_set(fe, request, &p, sizeof(p), &r->fd, nfds, true);
}

int fe_add_region(struct frontend *fe, const struct guest_region *r)
{
    return one_region(fe, FE_ADD_MEM_REG, r, 1);
}

int fe_remove_region(struct frontend *fe, const struct guest_region *r)
{
    return one_region(fe, FE_REM_MEM_REG, r, 0);
}

int fe_mem_table(struct frontend *fe, const struct guest_mem *m)
{
    struct {
        uint32_t n, pad;
        struct fe_region r[GUEST_REGIONS_MAX];
    } p = { m->n, 0, { { 0 } } };
    int fds[GUEST_REGIONS_MAX];

    for (unsigned int i = 0; i < m->n; i++) {
        p.r[i] = wire_region(&m->r[i]);
        fds[i] = m->r[i].fd;
    }
    return fe_set(fe, FE_SET_MEM_TABLE, &p, 8 + m->n * sizeof(p.r[0]), fds,
                  (int)m->n, true);
}

int fe_share_memory(struct frontend *fe, const struct guest_mem *m)
{
    int ret = 0;

    if (!(fe->proto_acked & BIT64(FE_PF_MEM_SLOTS)))
        return fe_mem_table(fe, m);
    for (unsigned int i = 0; i < m->n && ret == 0; i++)
        ret = fe_add_region(fe, &m->r[i]);
    return ret;
}

int fe_ring_addr(struct frontend *fe, struct guest_queue *q, uint32_t flags,
                 uint64_t log)
{
    struct fe_addr a = {
        .index = q->idx,
        .flags = flags,
        .desc = guest_uva(q->mem, q->desc_gpa),
        .used = guest_uva(q->mem, q->used_gpa),
        .avail = guest_uva(q->mem, q->avail_gpa),
        .log = log,
    };

    return fe_set(fe, FE_SET_VRING_ADDR, &a, sizeof(a), NULL, 0, false);
}

int fe_ring_start(struct frontend *fe, struct guest_queue *q, uint32_t base)
{
    int ret = fe_set_state(fe, FE_SET_VRING_NUM, q->idx, q->size);

    if (ret == 0)
        ret = fe_set_state(fe, FE_SET_VRING_BASE, q->idx, base);
    if (ret == 0)
        ret = fe_ring_addr(fe, q, 0, 0);
    if (ret == 0)
        ret = fe_set_fd(fe, FE_SET_VRING_KICK, q->idx, q->kick_fd);
    return ret;
}

int fe_ring_enable(struct frontend *fe, struct guest_queue *q, bool on)
{
    return fe_set_state(fe, FE_SET_VRING_ENABLE, q->idx, on);
}

int fe_ring_stop(struct frontend *fe, struct guest_queue *q, uint32_t *base)
{
    int ret = 0;

    if (fe->acked & BIT64(FE_F_PROTOCOL_FEATURES))
        ret = fe_ring_enable(fe, q, false);
    return ret < 0 ? ret : fe_get_base(fe, q->idx, base);
}
