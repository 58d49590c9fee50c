/* SPDX-License-Identifier: BSD-3-Clause */
#include "vhost/conn.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vhost/conn_i.h"
#include "vhost/dispatch.h"
#include "virtiofsd/base/fd.h"
#include "virtiofsd/base/probes.h"

/* ---- what the rings' threads are told ---- */

static bool addr_changed(const struct vring_cfg *a, const struct vring_cfg *b)
{
    return a->desc.v != b->desc.v || a->avail.v != b->avail.v ||
           a->used.v != b->used.v || a->log.v != b->log.v;
}

/*
 * Does going from @was to @now void work the ring's thread may have begun?
 *
 * Model (tests/model/kick.pml): voids.
 */
static bool voids(const struct vring_cfg *was, const struct vring_cfg *now)
{
    const uint32_t bits = VRING_CFG_STARTED | VRING_CFG_ENABLED;

    if (!(was->flags & VRING_CFG_STARTED))
        return false;
    return (was->flags & ~now->flags & bits) ||
           ((was->flags ^ now->flags) & VRING_CFG_LOG) ||
           was->features != now->features || was->mem_gen != now->mem_gen ||
           was->log_gen != now->log_gen || addr_changed(was, now);
}

static void build_cfg(const struct vu_conn *c, const struct vu_ring *r,
                      struct vring_cfg *cfg)
{
    bool logging = c->features & BIT_U64(VHOST_F_BIT_LOG_ALL);

    *cfg = (struct vring_cfg){
        .flags = r->bits,
        .size = r->size,
        .desc = r->desc,
        .avail = r->avail,
        .used = r->used,
        .log = { r->addr.log },
        .features = c->features,
        .start_gen = r->start_gen,
        .base = r->base,
        .mem_gen = c->mem_gen,
        .kick_gen = r->kick_gen,
        .call_gen = r->call_gen,
        .err_gen = r->err_gen,
        .log_gen = logging ? c->log_gen : 0,
        .reset_gen = c->reset_gen,
    };
    if (r->addr.flags & VU_VRING_F_LOG)
        cfg->flags |= VRING_CFG_LOG;
    if (r->poll)
        cfg->flags |= VRING_CFG_POLL;
}

/* Model (tests/model/kick.pml): publish; WAKE_BEFORE_PUBLISH. */
void vu_ring_publish(struct vu_conn *c, uint32_t idx, uint32_t bits)
{
    struct vu_ring *r = &c->ring[idx];
    const uint64_t one = 1;
    struct vring_cfg cfg;

    if (r->bits != bits)
        log_debug("ring %u: %s, %s", idx,
                  bits & VRING_CFG_STARTED ? "started" : "stopped",
                  bits & VRING_CFG_ENABLED ? "enabled" : "disabled");
    r->bits = bits;
    build_cfg(c, r, &cfg);
    r->unsynced |= voids(&r->cfg, &cfg);
    r->cfg = cfg;
    r->seq = vring_slot_publish(&c->cfg->slot[idx], &cfg);
    PROBE3(cfg_publish, idx, r->seq, cfg.flags);
    /* Publish first, wake second: the thread must find the new slot.  The
     * counter can not be full, its reader empties it each time. */
    if (write(c->wake_fd[idx], &one, sizeof(one)) < 0)
        log_err("ring %u: wake: %s", idx, strerror(errno));
}

/* ---- what they answer ---- */

/* Model (tests/model/kick.pml): call. */
int vu_call(struct vu_conn *c, struct ipc_msg *msg, const struct ipc_fds *fds)
{
    int ret = ipc_call(&c->cmd, msg, fds, NULL, &c->dead);

    if (c->dead)
        c->status |= VIRTIO_STATUS_NEEDS_RESET;
    return ret;
}

static int sync_ring(struct vu_conn *c, uint32_t idx)
{
    struct ipc_msg msg = vu_command(IPC_SYNC);
    int ret;

    msg.u.sync.ring = idx;
    if (idx != IPC_ALL_RINGS)
        msg.u.sync.seq = c->ring[idx].seq;
    ret = vu_call(c, &msg, NULL);
    if (ret == 0 && idx != IPC_ALL_RINGS) {
        struct vu_ring *r = &c->ring[idx];

        r->unsynced = false;
        if (msg.u.sync.last_avail > UINT16_MAX)
            ret = -EBADMSG;
        else if (!vu_ring_started(r))
            r->base = msg.u.sync.last_avail;
    }
    if (ret == 0)
        return 0;
    /* Whether guest memory is still written to is unknown now: nothing may
     * be promised to the front-end any more. */
    log_err("SYNC: the request process gives no answer: %s", strerror(-ret));
    c->status |= VIRTIO_STATUS_NEEDS_RESET;
    c->dead = true;
    return ret;
}

static int sync_all(struct vu_conn *c)
{
    bool any = c->mem_unsynced;
    int ret;

    /* Stopped ones first and one by one: each has a position to tell. */
    for (uint32_t i = 0; i < VRING_MAX; i++) {
        struct vu_ring *r = &c->ring[i];

        if (!r->unsynced)
            continue;
        if (vu_ring_started(r)) {
            any = true;
            continue;
        }
        ret = sync_ring(c, i);
        if (ret < 0)
            return ret;
    }
    if (!any)
        return 0;
    ret = sync_ring(c, IPC_ALL_RINGS);
    if (ret < 0)
        return ret;
    c->mem_unsynced = false;
    for (uint32_t i = 0; i < VRING_MAX; i++)
        c->ring[i].unsynced = false;
    return 0;
}

/* Model (tests/model/kick.pml): quiesce. */
int vu_quiesce(struct vu_conn *c, enum vu_quiesce scope, uint32_t ring)
{
    switch (scope) {
    case VU_Q_NONE:
        return 0;
    case VU_Q_RING:
        if (ring >= VRING_MAX || !c->ring[ring].unsynced)
            return 0;
        return sync_ring(c, ring);
    case VU_Q_ALL:
        return sync_all(c);
    }
    return 0;
}

/* ---- starting and stopping ---- */

int vu_ring_translate(const struct vu_conn *c, struct vu_ring *r)
{
    const uint64_t n = r->size;
    gpa_t desc, avail, used;
    int ret;

    ret = memtable_uva_to_gpa(&c->mem, (uva_t){ r->addr.desc }, 16 * n, &desc);
    if (ret == 0)
        ret = memtable_uva_to_gpa(&c->mem, (uva_t){ r->addr.avail }, 6 + 2 * n,
                                  &avail);
    if (ret == 0)
        ret = memtable_uva_to_gpa(&c->mem, (uva_t){ r->addr.used }, 6 + 8 * n,
                                  &used);
    if (ret < 0)
        return ret;
    if (desc.v % 16 || avail.v % 2 || used.v % 4)
        return -EINVAL;
    r->desc = desc;
    r->avail = avail;
    r->used = used;
    return 0;
}

/* Model (tests/model/kick.pml): try_start. */
void vu_ring_try_start(struct vu_conn *c, uint32_t idx)
{
    struct vu_ring *r = &c->ring[idx];
    int ret;

    if (vu_ring_started(r) || !r->kicked || !r->size || !r->have_addr ||
        !c->mem_gen || !(c->features & BIT_U64(VIRTIO_F_BIT_VERSION_1)))
        return;
    ret = vu_ring_translate(c, r);
    if (ret < 0) {
        /* Memory may still be coming, one region a message. */
        log_debug("ring %u: kicked, but its parts are %s: not started yet", idx,
                  ret == -EINVAL ? "misaligned" : "not in guest memory");
        return;
    }
    if (++r->start_gen == 0)
        r->start_gen = 1;
    vu_ring_publish(c, idx, r->bits | VRING_CFG_STARTED);
}

void vu_stop_all(struct vu_conn *c)
{
    for (uint32_t i = 0; i < VRING_MAX; i++) {
        struct vu_ring *r = &c->ring[i];

        r->kicked = false;
        if (vu_ring_started(r))
            vu_ring_publish(c, i, r->bits & ~(uint32_t)VRING_CFG_STARTED);
    }
}

/* ---- life ---- */

/* The request process tells something; also called from within ipc_call(). */
static int on_event(void *arg)
{
    struct vu_conn *c = arg;
    struct ipc_msg msg;
    struct ipc_fds fds;
    int ret = ipc_recv(&c->evt, &msg, &fds);

    if (ret == -EAGAIN)
        return 0;
    if (ret < 0) {
        log_err("event channel: %s", strerror(-ret));
        goto fail;
    }
    if (msg.type == IPC_EVT_RING_BROKEN) {
        log_limited(LOG_LEVEL_ERROR, "ring %u: broken by the guest: %s",
                    msg.u.broken.ring, strerror(-msg.u.broken.reason));
    } else {
        log_err("the device failed: NEEDS_RESET, and the connection ends");
        c->status |= VIRTIO_STATUS_NEEDS_RESET;
        c->failed = true;
    }
    ret = ipc_reply(&c->evt, &msg, 0, NULL);
    if (ret == 0)
        return 0;
fail:
    c->dead = true;
    c->status |= VIRTIO_STATUS_NEEDS_RESET;
    return ret;
}

static int hello(struct vu_conn *c, int page_fd)
{
    struct ipc_msg msg = vu_command(IPC_HELLO);
    struct ipc_fds fds = { .n = 1, .fd = { page_fd } };
    struct ipc_fds got = { 0 };
    int ret;

    for (int i = 0; i < VRING_MAX; i++) {
        c->wake_fd[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (c->wake_fd[i] < 0)
            return -errno;
        fds.fd[fds.n++] = c->wake_fd[i];
    }
    msg.u.hello.version = IPC_VERSION;
    msg.u.hello.nrings = VRING_MAX;
    ret = ipc_call(&c->cmd, &msg, &fds, &got, &c->dead);
    if (ret == 0 && (got.n != 1 || msg.u.hello.version != IPC_VERSION))
        ret = -EPROTO;
    if (ret == 0)
        ret = run_page_open(got.fd[0], &c->run);
    ipc_fds_close(&got);
    return ret;
}

int vu_conn_create(const struct vu_opts *opts, int cmd_fd, int evt_fd,
                   struct vu_conn **conn)
{
    struct vu_conn *c = calloc(1, sizeof(*c));
    auto_fd page_fd = -1;
    int ret;

    if (!c)
        return -ENOMEM;
    c->opts = *opts;
    c->fd = -1;
    for (int i = 0; i < VRING_MAX; i++)
        c->wake_fd[i] = -1;
    c->evt = (struct ipc_chan){ .fd = evt_fd,
                                .name = "evt",
                                .timeout_ms = VU_IPC_TIMEOUT_MS };
    c->cmd = (struct ipc_chan){ .fd = cmd_fd,
                                .name = "cmd",
                                .timeout_ms = VU_IPC_TIMEOUT_MS,
                                .side_fd = evt_fd,
                                .side = on_event,
                                .side_arg = c };
    wire_reader_init(&c->reader);
    c->state = VU_NEW;
    ret = cfg_page_create(&c->cfg, &page_fd);
    if (ret == 0)
        ret = hello(c, page_fd);
    if (ret < 0) {
        vu_conn_destroy(c);
        return ret;
    }
    *conn = c;
    return 0;
}

void vu_conn_destroy(struct vu_conn *c)
{
    if (!c)
        return;
    for (int i = 0; i < VRING_MAX; i++)
        fd_close(&c->wake_fd[i]);
    if (c->cfg)
        munmap(c->cfg, sizeof(*c->cfg));
    if (c->run)
        munmap((void *)c->run, sizeof(*c->run));
    free(c);
}

/* Return: 1 to go on, 0 at the front-end's end, or -errno. */
static int on_front_end(struct vu_conn *c)
{
    int ret = wire_read(c->fd, &c->reader);

    if (ret == -EPIPE)
        return 0;
    if (ret < 0) {
        log_err("front-end: malformed message (request %u): %s",
                c->reader.msg.hdr.request, strerror(-ret));
        return ret;
    }
    if (ret == 0)
        return 1;
    ret = vu_dispatch(c, &c->reader.msg);
    wire_msg_reset(&c->reader);
    /* A front-end that left while we answered is a front-end that left. */
    if (ret == -EPIPE && !c->dead)
        return 0;
    return ret < 0 ? ret : 1;
}

/* Model (tests/model/kick.pml): end_serve. */
static int serve(struct vu_conn *c, int supervisor_fd)
{
    for (;;) {
        struct pollfd p[] = {
            { .fd = c->evt.fd, .events = POLLIN },
            { .fd = supervisor_fd, .events = POLLIN },
            { .fd = c->cmd.fd, .events = POLLIN },
            { .fd = c->fd, .events = POLLIN },
        };
        int ret = poll(p, ARRAY_SIZE(p), -1);

        if (ret < 0 && errno != EINTR)
            return -errno;
        if (ret <= 0)
            continue;
        if (p[1].revents)
            return 0;
        /* Nobody may speak on the command channel now: this is its end. */
        if (p[2].revents || (p[0].revents && on_event(c) < 0)) {
            c->dead = true;
            return -EPIPE;
        }
        if (c->failed)
            return -EIO;
        if (!p[3].revents)
            continue;
        ret = on_front_end(c);
        if (ret <= 0)
            return ret;
        /* It failed while this message was at work; the answer is out. */
        if (c->failed)
            return -EIO;
    }
}

int vu_conn_run(struct vu_conn *c, int fd, int supervisor_fd)
{
    int ret;

    c->fd = fd;
    ret = serve(c, supervisor_fd);
    wire_msg_reset(&c->reader);
    fd_close(&c->fd);
    if (c->dead) {
        c->status |= VIRTIO_STATUS_NEEDS_RESET;
        return -EPIPE;
    }
    return ret;
}
