/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_TESTS_UNIT_VU_FAKE_H
#define VIRTIOFSD_TESTS_UNIT_VU_FAKE_H

/*
 * A world around the control side: a fake request process (a thread that
 * answers the command channel and keeps a diary of it) and a fake front-end
 * (the test itself, on the other end of the vhost-user socket).
 */

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/tap.h"
#include "vhost/conn.h"
#include "vhost/memtable.h"
#include "vhost/ring_ipc.h"
#include "vhost/spec.h"
#include "vhost/vring_shared.h"

#define DIARY_MAX 256

/* One command, and what the slot it speaks of held when it came. */
struct diary {
    uint16_t type;
    uint32_t ring, gen, n;
    int nfds;
    uint64_t seq;
    struct vring_cfg slot;
};

struct fake {
    struct ipc_chan cmd, evt; /* the request process's ends */
    int conn_cmd, conn_evt;   /* control's */
    const struct cfg_page *cfg;
    struct run_page *run;
    int wake[VRING_MAX];
    pthread_t thread, serving;

    pthread_mutex_t lock; /* of what follows */
    struct diary d[DIARY_MAX];
    int n;
    uint16_t fail_type; /* answered with fail_status */
    int fail_status;
    uint16_t event_before; /* this command is answered after an event was */
    uint16_t die_at;       /* this command is answered by closing */
    uint32_t last_avail;   /* what every SYNC answers */

    struct vu_conn *conn;
    int fe; /* the front-end's socket */
    int conn_fd, sup, conn_sup;
    int result; /* of vu_conn_run() */
};

static inline int fake_hello(struct fake *f, struct ipc_fds *fds,
                             struct ipc_fds *reply)
{
    int ret = cfg_page_open(fds->fd[0], &f->cfg);

    for (int i = 0; i < VRING_MAX; i++)
        f->wake[i] = fds->fd[1 + i];
    close(fds->fd[0]);
    fds->n = 0;
    if (ret == 0)
        ret = run_page_create(&f->run, &reply->fd[0]);
    reply->n = ret == 0;
    return ret;
}

static inline void fake_note(struct fake *f, const struct ipc_msg *m, int nfds)
{
    struct diary e = { .type = m->type, .nfds = nfds, .ring = IPC_ALL_RINGS };
    uint64_t seq;

    switch (m->type) {
    case IPC_RING_KICK:
    case IPC_RING_CALL:
    case IPC_RING_ERR:
        e.ring = m->u.fd.ring;
        e.gen = m->u.fd.gen;
        break;
    case IPC_SYNC:
        e.ring = m->u.sync.ring;
        e.seq = m->u.sync.seq;
        break;
    case IPC_MEM_SET:
    case IPC_MEM_ADD:
    case IPC_MEM_REMOVE:
        e.gen = m->u.mem.gen;
        e.n = m->u.mem.n;
        break;
    case IPC_LOG:
        e.gen = m->u.log.gen;
        break;
    default:
        break;
    }
    if (f->cfg)
        vring_slot_read(&f->cfg->slot[e.ring < VRING_MAX ? e.ring : 0], &e.slot,
                        &seq);
    if (f->n < DIARY_MAX)
        f->d[f->n++] = e;
}

static inline void fake_answer(struct fake *f, struct ipc_msg *m,
                               struct ipc_fds *fds)
{
    struct ipc_fds reply = { 0 };
    struct ipc_msg ev;
    bool dead = false;
    int status = 0;

    memset(&ev, 0, sizeof(ev));
    ev.type = IPC_EVT_FAILED;
    fake_note(f, m, fds->n);
    if (f->event_before == m->type)
        CHECK_EQ(ipc_call(&f->evt, &ev, NULL, NULL, &dead), 0,
                 "events are answered at any time");
    if (m->type == IPC_HELLO)
        status = fake_hello(f, fds, &reply);
    if (m->type == IPC_SYNC)
        m->u.sync.last_avail = f->last_avail;
    if (f->fail_type == m->type)
        status = f->fail_status;
    ipc_fds_close(fds);
    ipc_reply(&f->cmd, m, status, &reply);
    ipc_fds_close(&reply);
}

static inline void *fake_main(void *arg)
{
    struct fake *f = arg;
    struct ipc_msg m;
    struct ipc_fds fds;

    while (ipc_recv(&f->cmd, &m, &fds) == 0) {
        bool die;

        pthread_mutex_lock(&f->lock);
        die = f->die_at && f->die_at == m.type;
        if (!die)
            fake_answer(f, &m, &fds);
        pthread_mutex_unlock(&f->lock);
        if (die) {
            ipc_fds_close(&fds);
            break;
        }
    }
    shutdown(f->cmd.fd, SHUT_RDWR);
    shutdown(f->evt.fd, SHUT_RDWR);
    return NULL;
}

static inline void *fake_serve(void *arg)
{
    struct fake *f = arg;

    f->result = vu_conn_run(f->conn, f->conn_fd, f->conn_sup);
    return NULL;
}

static inline void fake_open(struct fake *f, const char *tag)
{
    struct vu_opts opts = { .num_request_queues = 4 };
    int cmd[2], evt[2], fe[2], sup[2];

    memset(f, 0, sizeof(*f));
    pthread_mutex_init(&f->lock, NULL);
    memcpy(opts.tag, tag, strlen(tag));
    CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, cmd), 0, "");
    CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, evt), 0, "");
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fe), 0, "");
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sup), 0, "");
    f->cmd =
        (struct ipc_chan){ .fd = cmd[1], .name = "cmd", .timeout_ms = 10000 };
    f->evt =
        (struct ipc_chan){ .fd = evt[1], .name = "evt", .timeout_ms = 10000 };
    f->conn_cmd = cmd[0];
    f->conn_evt = evt[0];
    f->fe = fe[0];
    f->conn_fd = fe[1];
    f->sup = sup[0];
    f->conn_sup = sup[1];
    f->last_avail = 1234;
    pthread_create(&f->thread, NULL, fake_main, f);
    CHECK_EQ(vu_conn_create(&opts, cmd[0], evt[0], &f->conn), 0, "");
    pthread_create(&f->serving, NULL, fake_serve, f);
}

/* The front-end leaves; what the run returned is checked and all is freed. */
static inline void fake_close(struct fake *f, int want)
{
    shutdown(f->fe, SHUT_RDWR);
    pthread_join(f->serving, NULL);
    CHECK_EQ(f->result, want, "how the run ended");
    vu_conn_destroy(f->conn);
    close(f->conn_cmd);
    close(f->conn_evt);
    pthread_join(f->thread, NULL);
    close(f->cmd.fd);
    close(f->evt.fd);
    close(f->fe);
    close(f->sup);
    close(f->conn_sup);
    for (int i = 0; i < VRING_MAX; i++)
        close(f->wake[i]);
    munmap(f->run, sizeof(*f->run));
    munmap((void *)f->cfg, sizeof(*f->cfg));
    pthread_mutex_destroy(&f->lock);
}

#define NEED_REPLY VU_FLAG_NEED_REPLY

/* Send one message as QEMU does: in one piece, @nfds copies of stdout. */
static inline void fe_send(struct fake *f, uint32_t request, uint32_t flags,
                           const void *payload, size_t size, int nfds)
{
    struct vu_hdr h = { request, VU_FLAG_VERSION | flags, (uint32_t)size };
    union {
        char buf[CMSG_SPACE(8 * sizeof(int))];
        struct cmsghdr align;
    } ctl;
    struct iovec iov[2] = { { &h, sizeof(h) }, { (void *)payload, size } };
    struct msghdr mh = { .msg_iov = iov, .msg_iovlen = 2 };
    int fd = STDOUT_FILENO;

    memset(&ctl, 0, sizeof(ctl));
    if (nfds > 0) {
        mh.msg_control = ctl.buf;
        mh.msg_controllen = CMSG_SPACE((size_t)nfds * sizeof(int));
        ctl.align.cmsg_level = SOL_SOCKET;
        ctl.align.cmsg_type = SCM_RIGHTS;
        ctl.align.cmsg_len = CMSG_LEN((size_t)nfds * sizeof(int));
        for (int i = 0; i < nfds; i++)
            memcpy(CMSG_DATA(&ctl.align) + (size_t)i * sizeof(int), &fd,
                   sizeof(int));
    }
    sendmsg(f->fe, &mh, MSG_NOSIGNAL);
}

/* Return: payload bytes, or -1 when the connection has ended. */
static inline int fe_recv(struct fake *f, uint32_t request, void *buf,
                          size_t max)
{
    struct vu_hdr h;

    if (recv(f->fe, &h, sizeof(h), MSG_WAITALL) != (ssize_t)sizeof(h))
        return -1;
    CHECK_EQ(h.request, request, "the reply is to this request");
    CHECK_EQ(h.flags, VU_FLAG_VERSION | VU_FLAG_REPLY, "");
    if (!CHECK(h.size <= max, "the reply fits"))
        return -1;
    if (h.size && recv(f->fe, buf, h.size, MSG_WAITALL) != (ssize_t)h.size)
        return -1;
    return (int)h.size;
}

#define GONE UINT64_C(0xdeadbeefdeadbeef)

/* Return: the u64 of the reply, or GONE when the connection has ended. */
static inline uint64_t fe_ask(struct fake *f, uint32_t request, uint32_t flags,
                              const void *payload, size_t size, int nfds)
{
    uint64_t v = GONE;

    fe_send(f, request, flags, payload, size, nfds);
    if (fe_recv(f, request, &v, sizeof(v)) != (int)sizeof(v))
        return GONE;
    return v;
}

static inline uint64_t fe_get(struct fake *f, uint32_t request)
{
    return fe_ask(f, request, 0, NULL, 0, 0);
}

static inline void fe_u64(struct fake *f, uint32_t request, uint64_t v,
                          int nfds)
{
    fe_send(f, request, 0, &v, sizeof(v), nfds);
}

/* The same with NEED_REPLY: 0, 1, or GONE. */
static inline uint64_t fe_u64_ack(struct fake *f, uint32_t request, uint64_t v,
                                  int nfds)
{
    return fe_ask(f, request, NEED_REPLY, &v, sizeof(v), nfds);
}

static inline uint64_t fe_state_ack(struct fake *f, uint32_t request,
                                    uint32_t index, uint32_t num)
{
    struct vu_vring_state s = { index, num };

    return fe_ask(f, request, NEED_REPLY, &s, sizeof(s), 0);
}

/* Everything sent before has been dealt with; false when the end came. */
static inline bool fe_barrier(struct fake *f)
{
    return fe_get(f, VHOST_USER_GET_FEATURES) != GONE;
}

static inline uint32_t fe_base(struct fake *f, uint32_t ring)
{
    struct vu_vring_state s = { ring, 0 };

    fe_send(f, VHOST_USER_GET_VRING_BASE, 0, &s, sizeof(s), 0);
    if (fe_recv(f, VHOST_USER_GET_VRING_BASE, &s, sizeof(s)) != sizeof(s))
        return UINT32_MAX;
    CHECK_EQ(s.index, ring, "the ring asked for");
    return s.num;
}

static inline struct vring_cfg fe_slot(struct fake *f, uint32_t ring)
{
    struct vring_cfg cfg;
    uint64_t seq;

    memset(&cfg, 0xff, sizeof(cfg));
    CHECK_EQ(vring_slot_read(&f->cfg->slot[ring], &cfg, &seq), 0, "");
    return cfg;
}

/* How often control sent @type; *last: the latest, may be NULL. */
static inline int fake_count(struct fake *f, uint16_t type, struct diary *last)
{
    int n = 0;

    if (last)
        memset(last, 0, sizeof(*last));
    pthread_mutex_lock(&f->lock);
    for (int i = 0; i < f->n; i++) {
        if (f->d[i].type != type)
            continue;
        n++;
        if (last)
            *last = f->d[i];
    }
    pthread_mutex_unlock(&f->lock);
    return n;
}

static inline void fake_set(struct fake *f, uint16_t fail_type, int fail_status)
{
    pthread_mutex_lock(&f->lock);
    f->fail_type = fail_type;
    f->fail_status = fail_status;
    pthread_mutex_unlock(&f->lock);
}

/* Guest memory: 1 MiB at gpa 0x100000, at FE_UVA in the front-end. */
#define FE_GPA  UINT64_C(0x100000)
#define FE_UVA  UINT64_C(0x7f0000000000)
#define FE_SIZE UINT64_C(0x100000)

#define FEATURES_GOOD                                                          \
    (BIT_U64(VIRTIO_F_BIT_VERSION_1) | BIT_U64(VIRTIO_F_BIT_EVENT_IDX) |       \
     BIT_U64(VIRTIO_F_BIT_INDIRECT_DESC) | BIT_U64(VHOST_USER_F_BIT_PROTOCOL))

static inline uint64_t fe_mem(struct fake *f, uint32_t request, uint64_t gpa,
                              uint64_t uva, uint64_t size)
{
    struct vu_mem_reg r = { .r = { gpa, size, uva, 0 } };

    return fe_ask(f, request, NEED_REPLY, &r, sizeof(r), 1);
}

static inline uint64_t fe_addr(struct fake *f, uint32_t ring, uint64_t at,
                               uint32_t flags)
{
    struct vu_vring_addr a = { .index = ring,
                               .flags = flags,
                               .desc = FE_UVA + at,
                               .avail = FE_UVA + at + 0x1000,
                               .used = FE_UVA + at + 0x2000,
                               .log = 0x4242000 };

    return fe_ask(f, VHOST_USER_SET_VRING_ADDR, NEED_REPLY, &a, sizeof(a), 0);
}

/* The order QEMU 7.2 uses, up to the memory; every ring still unknown. */
static inline void fe_handshake(struct fake *f)
{
    uint64_t pf;

    CHECK(fe_get(f, VHOST_USER_GET_FEATURES) & BIT_U64(30), "");
    pf = fe_get(f, VHOST_USER_GET_PROTOCOL_FEATURES);
    fe_u64(f, VHOST_USER_SET_PROTOCOL_FEATURES, pf, 0);
    CHECK_EQ(fe_get(f, VHOST_USER_GET_QUEUE_NUM), 65, "");
    CHECK_EQ(fe_get(f, VHOST_USER_GET_MAX_MEM_SLOTS), 509, "");
    CHECK_EQ(fe_ask(f, VHOST_USER_SET_BACKEND_REQ_FD, NEED_REPLY, NULL, 0, 1),
             0, "before SET_OWNER");
    fe_send(f, VHOST_USER_SET_OWNER, 0, NULL, 0, 0);
    CHECK(fe_barrier(f), "");
}

static inline void fe_features(struct fake *f)
{
    fe_u64(f, VHOST_USER_SET_FEATURES, FEATURES_GOOD, 0);
}

static inline void fe_ring(struct fake *f, uint32_t ring)
{
    CHECK_EQ(fe_state_ack(f, VHOST_USER_SET_VRING_NUM, ring, 128), 0, "");
    CHECK_EQ(fe_state_ack(f, VHOST_USER_SET_VRING_BASE, ring, 0), 0, "");
    CHECK_EQ(fe_addr(f, ring, ring * 0x10000, 0), 0, "");
    CHECK_EQ(fe_u64_ack(f, VHOST_USER_SET_VRING_KICK, ring, 1), 0, "");
}

/* Handshake, memory, and ring @n started and enabled for all n < @rings. */
static inline void fe_up(struct fake *f, uint32_t rings)
{
    fe_handshake(f);
    fe_features(f);
    CHECK_EQ(fe_mem(f, VHOST_USER_ADD_MEM_REG, FE_GPA, FE_UVA, FE_SIZE), 0, "");
    for (uint32_t i = 0; i < rings; i++)
        fe_ring(f, i);
    for (uint32_t i = 0; i < rings; i++)
        CHECK_EQ(fe_state_ack(f, VHOST_USER_SET_VRING_ENABLE, i, 1), 0, "");
}

#endif
