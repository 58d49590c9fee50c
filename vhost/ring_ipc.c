/* SPDX-License-Identifier: BSD-3-Clause */
#include "vhost/ring_ipc.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "virtiofsd/base/log.h"

#define IPC_MAGIC 0x31504956U /* "VIP1", little-endian */

/* The size on the channel is part of the protocol: no hole may move it. */
_Static_assert(sizeof(struct ipc_msg) == 216, "RING_IPC.md, Messages");

/* Which fds travel with a command and with its reply. */
static const struct ipc_op {
    const char *name;
    uint8_t fds_min, fds_max;
    uint8_t reply_fds_max;
} ipc_ops[IPC_EVT_END] = {
/* clang-format off */
#define OP(n, ...) [IPC_##n] = { #n, __VA_ARGS__ }
    OP(HELLO,           1, 1 + VRING_MAX,   1),
    OP(MEM_SET,         0, IPC_MAX_REGIONS, 0),
    OP(MEM_ADD,         1, 1,               0),
    OP(MEM_REMOVE,      0, 0,               0),
    OP(RING_KICK,       0, 1,               0),
    OP(RING_CALL,       0, 1,               0),
    OP(RING_ERR,        0, 1,               0),
    OP(LOG,             0, 1,               0),
    OP(SYNC,            0, 0,               0),
    OP(RESET,           0, 0,               0),
    OP(BACKEND_REQ,     0, 1,               0),
    OP(EVT_RING_BROKEN, 0, 0,               0),
    OP(EVT_FAILED,      0, 0,               0),
#undef OP
    /* clang-format on */
};

/* The table's one name a type, or NULL for a number that is none. */
static const struct ipc_op *op_of(uint16_t type)
{
    if (type >= ARRAY_SIZE(ipc_ops) || !ipc_ops[type].name)
        return NULL;
    return &ipc_ops[type];
}

const char *ipc_type_name(uint16_t type)
{
    const struct ipc_op *op = op_of(type);

    return op ? op->name : "unknown";
}

void ipc_fds_close(struct ipc_fds *f)
{
    for (int i = 0; i < f->n; i++) {
        if (f->fd[i] >= 0)
            close(f->fd[i]);
    }
    f->n = 0;
}

/*
 * Wait for @events on the channel until the deadline (CLOCK_MONOTONIC, ns),
 * serving the side channel meanwhile.
 */
static int wait_for(const struct ipc_chan *c, short events, int64_t deadline_ns)
{
    for (;;) {
        struct pollfd p[2] = { { .fd = c->fd, .events = events },
                               { .fd = c->side ? c->side_fd : -1,
                                 .events = POLLIN } };
        int64_t left_ms = (deadline_ns - now_ns()) / 1000000 + 1;
        int ret;

        ret = poll(p, 2, (int)MAX(left_ms, (int64_t)0));
        if (ret < 0 && errno != EINTR)
            return -errno;
        if (ret > 0 && p[1].revents && c->side(c->side_arg) < 0)
            return -EPIPE;
        if (ret > 0 && p[0].revents)
            return 0;
        if (now_ns() >= deadline_ns)
            return -ETIMEDOUT;
    }
}

/* One whole message or nothing: the channels keep message borders. */
static int send_msg(const struct ipc_chan *c, const struct ipc_msg *msg,
                    const struct ipc_fds *fds)
{
    union {
        char buf[CMSG_SPACE(IPC_MAX_FDS * sizeof(int))];
        struct cmsghdr align;
    } ctl;
    struct iovec iov = { .iov_base = (void *)msg, .iov_len = sizeof(*msg) };
    struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
    int64_t deadline_ns = now_ns() + (int64_t)c->timeout_ms * 1000000;

    if (fds && fds->n > 0) {
        size_t len = (size_t)fds->n * sizeof(int);
        struct cmsghdr *h = &ctl.align;

        if (fds->n > IPC_MAX_FDS)
            return -EINVAL;
        memset(&ctl, 0, sizeof(ctl));
        h->cmsg_level = SOL_SOCKET;
        h->cmsg_type = SCM_RIGHTS;
        h->cmsg_len = CMSG_LEN(len);
        memcpy(CMSG_DATA(h), fds->fd, len);
        mh.msg_control = ctl.buf;
        mh.msg_controllen = CMSG_SPACE(len);
    }
    for (;;) {
        ssize_t n = sendmsg(c->fd, &mh, MSG_NOSIGNAL | MSG_DONTWAIT);
        int err = n < 0 ? errno : 0;

        if (n == (ssize_t)sizeof(*msg))
            return 0;
        if (n >= 0)
            return -EBADMSG;
        if (err == EINTR)
            continue;
        if (err == EPIPE || err == ECONNRESET || err == ENOTCONN)
            return -EPIPE;
        if (err != EAGAIN)
            return -err;
        /* The other side is behind with reading; it has the same time as
         * for an answer. */
        err = wait_for(c, POLLOUT, deadline_ns);
        if (err < 0)
            return err;
    }
}

/* Collect every fd of every control message, so that none is leaked. */
static void take_fds(struct msghdr *mh, struct ipc_fds *fds)
{
    fds->n = 0;
    for (struct cmsghdr *h = CMSG_FIRSTHDR(mh); h; h = CMSG_NXTHDR(mh, h)) {
        size_t n;

        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
            continue;
        n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(h) + i * sizeof(int), sizeof(fd));
            if (fds->n < IPC_MAX_FDS)
                fds->fd[fds->n++] = fd;
            else
                close(fd);
        }
    }
}

/*
 * Receive one message of exactly the right size.  @fds is the caller's on 0
 * and empty on any failure.
 */
static int recv_msg(const struct ipc_chan *c, int flags, struct ipc_msg *msg,
                    struct ipc_fds *fds)
{
    union {
        char buf[CMSG_SPACE(IPC_MAX_FDS * sizeof(int))];
        struct cmsghdr align;
    } ctl;
    struct iovec iov = { .iov_base = msg, .iov_len = sizeof(*msg) };
    struct msghdr mh = { .msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = ctl.buf,
                         .msg_controllen = sizeof(ctl.buf) };
    ssize_t n;

    fds->n = 0;
    do {
        n = recvmsg(c->fd, &mh, flags | MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno == ECONNRESET)
        return -EPIPE;
    if (n < 0)
        return -errno;
    take_fds(&mh, fds);
    /* An empty message looks like an end of file and is as good as one. */
    if (n == 0 && fds->n == 0 && !(mh.msg_flags & MSG_CTRUNC))
        return -EPIPE;
    if (n != (ssize_t)sizeof(*msg) ||
        (mh.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) || msg->magic != IPC_MAGIC) {
        ipc_fds_close(fds);
        return -EBADMSG;
    }
    return 0;
}

/* The answer to @id and nothing else. */
static int recv_reply(struct ipc_chan *c, uint16_t type, uint32_t id,
                      struct ipc_msg *msg, struct ipc_fds *fds)
{
    int64_t deadline_ns = now_ns() + (int64_t)c->timeout_ms * 1000000;
    int ret;

    do {
        ret = wait_for(c, POLLIN, deadline_ns);
        if (ret < 0)
            return ret;
        ret = recv_msg(c, MSG_DONTWAIT, msg, fds);
    } while (ret == -EAGAIN);
    if (ret < 0)
        return ret;
    if (msg->is_reply != 1 || msg->type != type || msg->id != id ||
        msg->status > 0 || msg->status < -4095 ||
        fds->n > ipc_ops[type].reply_fds_max) {
        ipc_fds_close(fds);
        return -EBADMSG;
    }
    return 0;
}

int ipc_call(struct ipc_chan *c, struct ipc_msg *msg, const struct ipc_fds *fds,
             struct ipc_fds *reply_fds, bool *dead)
{
    uint16_t type = msg->type;
    struct ipc_fds got = { 0 };
    int ret;

    BUG_ON(!op_of(type));
    msg->magic = IPC_MAGIC;
    msg->is_reply = 0;
    msg->id = ++c->next_id;
    msg->status = 0;
    ret = send_msg(c, msg, fds);
    if (ret == 0)
        ret = recv_reply(c, type, msg->id, msg, &got);
    if (ret == 0 && got.n > 0 && !reply_fds)
        ret = -EBADMSG;
    if (ret < 0) {
        ipc_fds_close(&got);
        log_err("ipc: %s: %s: %s", c->name, ipc_type_name(type),
                strerror(-ret));
        *dead = true;
        return ret == -ETIMEDOUT || ret == -EPIPE ? ret : -EBADMSG;
    }
    if (reply_fds)
        *reply_fds = got;
    return msg->status;
}

/* What only the payload can tell about the fds beside it. */
static bool fds_fit(const struct ipc_msg *msg, int nfds)
{
    const struct ipc_op *op = &ipc_ops[msg->type];

    if (nfds < op->fds_min || nfds > op->fds_max)
        return false;
    switch (msg->type) {
    case IPC_HELLO:
        return msg->u.hello.nrings <= VRING_MAX &&
               nfds == (int)msg->u.hello.nrings + 1;
    case IPC_MEM_SET:
        return msg->u.mem.n <= IPC_MAX_REGIONS && nfds == (int)msg->u.mem.n;
    case IPC_MEM_ADD:
    case IPC_MEM_REMOVE:
        return msg->u.mem.n == 1;
    default:
        return true;
    }
}

/* A channel carries the types of one direction only. */
static bool type_fits(const struct ipc_chan *c, uint16_t type)
{
    bool evt = strcmp(c->name, "evt") == 0;

    return op_of(type) && (type > IPC_CMD_END) == evt;
}

int ipc_recv(struct ipc_chan *c, struct ipc_msg *msg, struct ipc_fds *fds)
{
    int ret = recv_msg(c, 0, msg, fds);

    if (ret == -EAGAIN || ret == -EPIPE)
        return ret;
    if (ret < 0)
        return -EBADMSG;
    if (msg->is_reply != 0 || !type_fits(c, msg->type) ||
        !fds_fit(msg, fds->n)) {
        ipc_fds_close(fds);
        return -EBADMSG;
    }
    return 0;
}

int ipc_reply(struct ipc_chan *c, struct ipc_msg *msg, int status,
              const struct ipc_fds *fds)
{
    msg->magic = IPC_MAGIC;
    msg->is_reply = 1;
    msg->status = status;
    return send_msg(c, msg, fds);
}
