/* SPDX-License-Identifier: BSD-3-Clause */
#include "fuse/device.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fuse/device_i.h"
#include "fuse/events.h"
#include "fuse/pool.h"
#include "fuse/queue.h"
#include "fuse/rescue.h"
#include "fuse/takeover.h"
#include "vhost/guard.h"
#include "virtiofsd/base/fd.h"
#include "virtiofsd/base/log.h"

/* A worker that hangs in the host's file system shall not keep the process
 * from its end. */
#define STOP_TIMEOUT_MS 1000

struct memmap *device_take_mm(struct device *d, uint32_t gen)
{
    struct memmap *mm = NULL;

    pthread_mutex_lock(&d->lock);
    if (d->mm && d->mm->gen == gen)
        mm = memmap_get(d->mm);
    else if (d->mm_before && d->mm_before->gen == gen)
        mm = memmap_get(d->mm_before);
    pthread_mutex_unlock(&d->lock);
    return mm;
}

struct dirtylog *device_take_log(struct device *d, uint32_t gen)
{
    struct dirtylog *log = NULL;

    pthread_mutex_lock(&d->lock);
    if (d->dirty && d->dirty->gen == gen)
        log = dirtylog_get(d->dirty);
    pthread_mutex_unlock(&d->lock);
    return log;
}

int device_take_fd(struct device *d, uint32_t ring, enum ring_fd kind,
                   uint32_t gen)
{
    struct ring_mail *m = &d->mail[ring][kind];
    int fd = -1;

    pthread_mutex_lock(&d->lock);
    if (m->gen == gen)
        fd = take_fd(&m->fd);
    pthread_mutex_unlock(&d->lock);
    return fd;
}

void device_tell_applied(struct device *d)
{
    pthread_mutex_lock(&d->lock);
    pthread_cond_broadcast(&d->applied);
    pthread_mutex_unlock(&d->lock);
}

void device_tell_ended(struct device *d)
{
    pthread_mutex_lock(&d->lock);
    d->running--;
    pthread_cond_broadcast(&d->applied);
    pthread_mutex_unlock(&d->lock);
}

/* Each poller keeps a CPU from somebody; a single one, from whoever is to make
 * the request it looks out for. */
static void set_polling(struct device *d, unsigned int poll_us)
{
    cpu_set_t set;
    int n = 2;

    if (sched_getaffinity(0, sizeof(set), &set) == 0)
        n = CPU_COUNT(&set);
    d->pollers_max = (uint32_t)n / 2;
    d->poll_ns = d->pollers_max > 0 ? poll_us * INT64_C(1000) : 0;
    log_debug("fuse: %u queue(s) at a time are polled, for up to %lld ns",
              d->pollers_max, (long long)d->poll_ns);
}

static int device_init(struct device *d, const struct fuse_device_opts *opts,
                       int cmd_fd, int evt_fd, int root_fd, int proc_fd)
{
    int ret;

    memset(d, 0, sizeof(*d));
    d->opts = opts;
    d->cmd = (struct ipc_chan){ .fd = cmd_fd, .name = "cmd" };
    d->backend_req_fd = -1;
    set_polling(d, opts->poll_us);
    for (int i = 0; i < VRING_MAX; i++) {
        d->wake_fd[i] = -1;
        for (int k = 0; k < RING_FD_KINDS; k++)
            d->mail[i][k].fd = -1;
    }
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->applied, NULL);
    d->mm = memmap_create(0);
    if (!d->mm)
        return -ENOMEM;
    ret = pt_fs_create(&opts->pt, root_fd, proc_fd, &d->fs);
    if (ret < 0) {
        log_err("fuse: shared directory: %s", strerror(-ret));
        return ret;
    }
    d->life = life_create(d->fs);
    if (!d->life)
        return -ENOMEM;
    ret = events_create(evt_fd, &d->events);
    if (ret < 0)
        return ret;
    if (opts->thread_pool_size > 0)
        ret = pool_create(opts->thread_pool_size, d->life, &d->pool);
    if (ret == 0 && d->pool)
        ret = takeover_start(d, &d->takeover);
    return ret;
}

void device_wake_all(struct device *d)
{
    uint64_t one = 1;

    for (uint32_t i = 0; i < d->nrings; i++) {
        if (d->queue[i] && write(d->wake_fd[i], &one, sizeof(one)) < 0 &&
            errno != EAGAIN)
            log_debug("fuse: ring %u: wake fd: %s", i, strerror(errno));
    }
}

/* Let the rings' threads end. Return: true when all have. */
static bool stop_queues(struct device *d)
{
    struct timespec until;
    int ret = 0;
    bool all;

    atomic_store(&d->stopping, 1);
    device_wake_all(d);
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += STOP_TIMEOUT_MS / 1000;
    pthread_mutex_lock(&d->lock);
    while (d->running > 0 && ret == 0)
        ret = pthread_cond_timedwait(&d->applied, &d->lock, &until);
    all = d->running == 0;
    pthread_mutex_unlock(&d->lock);
    return all;
}

static void close_fds(struct device *d)
{
    for (int i = 0; i < VRING_MAX; i++) {
        fd_close(&d->wake_fd[i]);
        for (int k = 0; k < RING_FD_KINDS; k++)
            fd_close(&d->mail[i][k].fd);
    }
    fd_close(&d->backend_req_fd);
}

static void leave_threads(struct device *d)
{
    for (uint32_t i = 0; i < d->nrings; i++) {
        if (d->queue[i])
            pthread_detach(d->queue[i]->w->thread);
    }
    events_leave(d->events);
}

/*
 * A thread that hangs in a system call still uses what it has: then nothing
 * is freed and the process's end takes it all.
 */
static void device_fini(struct device *d)
{
    bool quiet, idle;

    /* First: from here on each thread keeps its role. */
    takeover_stop(d->takeover);
    quiet = stop_queues(d);
    idle = pool_stop(d->pool, STOP_TIMEOUT_MS);

    /* Before the queues go: what waited comes back to them. */
    if (!quiet || !idle || d->given_up || (d->fs && !pt_fs_stop(d->fs))) {
        log_warn("fuse: a request hangs in the host's file system; ending "
                 "without it");
        leave_threads(d);
        return;
    }
    for (uint32_t i = 0; i < d->nrings; i++)
        queue_destroy(d->queue[i]);
    events_destroy(d->events);
    life_destroy(d->life);
    takeover_destroy(d->takeover);
    pt_fs_destroy(d->fs);
    memmap_put(d->mm);
    memmap_put(d->mm_before);
    dirtylog_put(d->dirty);
    close_fds(d);
}

int fuse_device_run(const struct fuse_device_opts *opts, int cmd_fd, int evt_fd,
                    int root_fd, int proc_fd)
{
    /* Static: threads that outlive a bad end may still look at it. */
    static struct device dev;
    int ret;

    session_log_setup();
    ret = rescue_setup();
    if (ret == 0)
        ret = guard_setup();
    if (ret < 0)
        return ret;
    ret = device_init(&dev, opts, cmd_fd, evt_fd, root_fd, proc_fd);
    while (ret == 0) {
        struct ipc_fds fds = { 0 };
        struct ipc_msg msg;

        ret = ipc_recv(&dev.cmd, &msg, &fds);
        if (ret == 0)
            ret = device_command(&dev, &msg, &fds);
        ipc_fds_close(&fds);
    }
    if (ret != -EPIPE)
        log_err("fuse: command channel: %s", strerror(-ret));
    device_fini(&dev);
    return ret == -EPIPE ? 0 : ret;
}
