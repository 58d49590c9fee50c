/* SPDX-License-Identifier: BSD-3-Clause */
#include "fuse/device_i.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>

#include "fuse/queue.h"
#include "fuse/rescue.h"
#include "fuse/takeover.h"
#include "virtiofsd/base/fd.h"
#include "virtiofsd/base/log.h"

/* Fds first, publish second: whatever a slot may name is delivered by a
 * command and acknowledged before the slot names it (vhost/RING_IPC.md). */

static int on_hello(struct device *d, struct ipc_msg *msg, struct ipc_fds *in,
                    struct ipc_fds *out)
{
    uint32_t n = msg->u.hello.nrings;
    int ret;

    if (d->cfg)
        return -EALREADY;
    if (msg->u.hello.version != IPC_VERSION)
        return -EPROTO;
    if (n == 0 || n > VRING_MAX || in->n != (int)n + 1)
        return -EINVAL;
    ret = cfg_page_open(in->fd[0], &d->cfg);
    if (ret < 0)
        return ret;
    ret = run_page_create(&d->run, &out->fd[0]);
    if (ret < 0)
        return ret;
    out->n = 1;
    for (uint32_t i = 0; i < n; i++)
        d->wake_fd[i] = take_fd(&in->fd[i + 1]);
    d->nrings = n;
    return 0;
}

/*
 * Make @mm the newest table; slots may still name the one before.
 *
 * Model (tests/model/kick.pml): IPC_MEM_SET.
 */
static void stage_mm(struct device *d, struct memmap *mm)
{
    struct memmap *oldest;

    pthread_mutex_lock(&d->lock);
    oldest = d->mm_before;
    d->mm_before = d->mm;
    d->mm = mm;
    pthread_mutex_unlock(&d->lock);
    memmap_put(oldest);
}

static int on_mem_set(struct device *d, struct ipc_msg *msg, struct ipc_fds *in)
{
    struct memmap *mm = memmap_create(msg->u.mem.gen);

    if (!mm)
        return -ENOMEM;
    if (msg->u.mem.n > IPC_MAX_REGIONS || in->n != (int)msg->u.mem.n) {
        memmap_put(mm);
        return -EINVAL;
    }
    for (uint32_t i = 0; i < msg->u.mem.n; i++) {
        const struct ipc_region *r = &msg->u.mem.r[i];
        struct memmap *more;
        int ret = memmap_with(mm, mm->gen, r->gpa, r->size, in->fd[i],
                              r->mmap_offset, &more);

        memmap_put(mm);
        if (ret < 0)
            return ret;
        mm = more;
    }
    stage_mm(d, mm);
    return 0;
}

static int on_mem_add(struct device *d, struct ipc_msg *msg, struct ipc_fds *in)
{
    const struct ipc_region *r = &msg->u.mem.r[0];
    struct memmap *mm;
    int ret;

    if (msg->u.mem.n != 1 || in->n != 1)
        return -EINVAL;
    ret = memmap_with(d->mm, msg->u.mem.gen, r->gpa, r->size, in->fd[0],
                      r->mmap_offset, &mm);
    if (ret == 0)
        stage_mm(d, mm);
    return ret;
}

static int on_mem_remove(struct device *d, struct ipc_msg *msg)
{
    const struct ipc_region *r = &msg->u.mem.r[0];
    struct memmap *mm;
    int ret;

    if (msg->u.mem.n != 1)
        return -EINVAL;
    ret = memmap_without(d->mm, msg->u.mem.gen, r->gpa, r->size, &mm);
    if (ret == 0)
        stage_mm(d, mm);
    return ret;
}

/* The ring's thread is started with the first fd meant for it. */
static int use_ring(struct device *d, uint32_t ring)
{
    int ret;

    if (d->queue[ring])
        return 0;
    pthread_mutex_lock(&d->lock);
    d->running++;
    pthread_mutex_unlock(&d->lock);
    takeover_pause(d->takeover);
    ret = queue_create(d, ring, &d->queue[ring]);
    takeover_resume(d->takeover);
    if (ret < 0)
        device_tell_ended(d);
    return ret;
}

/* Model (tests/model/kick.pml): IPC_RING_KICK. */
static int on_ring_fd(struct device *d, struct ipc_msg *msg, struct ipc_fds *in,
                      enum ring_fd kind)
{
    uint32_t ring = msg->u.fd.ring;
    struct ring_mail *m;
    int old;

    if (!d->cfg || ring >= d->nrings || in->n > 1)
        return -EINVAL;
    if (kind == RING_FD_KICK) {
        int ret = use_ring(d, ring);

        if (ret < 0)
            return ret;
    }
    m = &d->mail[ring][kind];
    pthread_mutex_lock(&d->lock);
    old = m->fd;
    m->fd = in->n ? take_fd(&in->fd[0]) : -1;
    m->gen = msg->u.fd.gen;
    pthread_mutex_unlock(&d->lock);
    fd_close(&old);
    return 0;
}

static int on_log(struct device *d, struct ipc_msg *msg, struct ipc_fds *in)
{
    struct dirtylog *log = NULL, *old;
    int ret = 0;

    if (in->n > 1)
        return -EINVAL;
    if (in->n == 1)
        ret = dirtylog_create(in->fd[0], msg->u.log.offset, msg->u.log.size,
                              msg->u.log.gen, &log);
    if (ret < 0)
        return ret;
    pthread_mutex_lock(&d->lock);
    old = d->dirty;
    d->dirty = log;
    pthread_mutex_unlock(&d->lock);
    dirtylog_put(old);
    return 0;
}

/* Has the control process gone?  Then nobody waits for the answer. */
static bool control_gone(struct device *d)
{
    struct pollfd p = { .fd = d->cmd.fd, .events = POLLIN };

    return poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLERR));
}

#define WAIT_STEP_MS 200

/* Sleep until a ring has acted, or a little while. */
static void wait_step(struct device *d)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += WAIT_STEP_MS * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_cond_timedwait(&d->applied, &d->lock, &until);
}

/* Wait until @ring's thread has applied @seq or a later slot. */
static int wait_applied(struct device *d, uint32_t ring, uint64_t seq)
{
    const struct vring_run *run = &d->run->ring[ring];
    struct rescue rescue;
    int ret = 0;

    rescue_begin(&rescue, d);
    while (ret == 0) {
        bool done;

        pthread_mutex_lock(&d->lock);
        /* Acquire: pairs with the thread's release in tell_run(). */
        done = atomic_load_explicit(&run->applied_seq, memory_order_acquire) >=
               seq;
        if (!done)
            wait_step(d);
        pthread_mutex_unlock(&d->lock);
        if (done)
            return 0;
        ret = control_gone(d) ? -EPIPE : rescue_step(&rescue);
    }
    return ret;
}

/* The slot's published count: an odd one belongs to the publish to come. */
static uint64_t published_seq(struct device *d, uint32_t ring)
{
    return atomic_load_explicit(&d->cfg->slot[ring].seq, memory_order_acquire) &
           ~UINT64_C(1);
}

/* Model (tests/model/kick.pml): IPC_SYNC, IPC_SYNC_ALL; SYNC_NO_WAIT. */
static int on_sync(struct device *d, struct ipc_msg *msg)
{
    uint32_t ring = msg->u.sync.ring;
    struct memmap *before;
    int ret = 0;

    if (!d->cfg)
        return -EINVAL;
    if (ring != IPC_ALL_RINGS) {
        if (ring >= d->nrings)
            return -EINVAL;
        if (!d->queue[ring])
            return 0; /* never used: quiet, and at position 0 */
        ret = wait_applied(d, ring, msg->u.sync.seq);
        msg->u.sync.last_avail = atomic_load_explicit(
            &d->run->ring[ring].last_avail, memory_order_relaxed);
        return ret;
    }
    for (uint32_t i = 0; i < d->nrings && ret == 0; i++) {
        if (d->queue[i])
            ret = wait_applied(d, i, published_seq(d, i));
    }
    if (ret < 0)
        return ret;
    /* Every ring is on the newest table or on none. */
    pthread_mutex_lock(&d->lock);
    before = d->mm_before;
    d->mm_before = NULL;
    pthread_mutex_unlock(&d->lock);
    memmap_put(before);
    return 0;
}

static int on_backend_req(struct device *d, struct ipc_fds *in)
{
    if (in->n > 1)
        return -EINVAL;
    fd_close(&d->backend_req_fd);
    if (in->n == 1)
        d->backend_req_fd = take_fd(&in->fd[0]);
    return 0;
}

static int run_command(struct device *d, struct ipc_msg *msg,
                       struct ipc_fds *in, struct ipc_fds *out)
{
    switch (msg->type) {
    case IPC_HELLO:
        return on_hello(d, msg, in, out);
    case IPC_MEM_SET:
        return on_mem_set(d, msg, in);
    case IPC_MEM_ADD:
        return on_mem_add(d, msg, in);
    case IPC_MEM_REMOVE:
        return on_mem_remove(d, msg);
    case IPC_RING_KICK:
        return on_ring_fd(d, msg, in, RING_FD_KICK);
    case IPC_RING_CALL:
        return on_ring_fd(d, msg, in, RING_FD_CALL);
    case IPC_RING_ERR:
        return on_ring_fd(d, msg, in, RING_FD_ERR);
    case IPC_LOG:
        return on_log(d, msg, in);
    case IPC_SYNC:
        return on_sync(d, msg);
    case IPC_RESET:
        life_end(d->life);
        return 0;
    case IPC_BACKEND_REQ:
        return on_backend_req(d, in);
    default:
        return -EOPNOTSUPP;
    }
}

int device_command(struct device *d, struct ipc_msg *msg, struct ipc_fds *fds)
{
    struct ipc_fds out = { 0 };
    int status = run_command(d, msg, fds, &out), ret;

    if (status < 0)
        log_debug("fuse: %s: %s", ipc_type_name(msg->type), strerror(-status));
    ret = ipc_reply(&d->cmd, msg, status, &out);
    ipc_fds_close(&out);
    return ret;
}
