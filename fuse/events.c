/* SPDX-License-Identifier: BSD-3-Clause */
#include "fuse/events.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "vhost/ring_ipc.h"
#include "virtiofsd/base/log.h"

#define EVENT_TIMEOUT_MS 30000

/* @reason: of each ring with a report under way, else 0; @failed: the whole
 * device has one; with @lock. */
struct events {
    struct ipc_chan chan;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t some;
    bool stop, failed;
    int32_t reason[VRING_MAX];
};

static bool take_report_locked(struct events *ev, struct ipc_msg *msg)
{
    memset(msg, 0, sizeof(*msg));
    if (ev->failed) {
        ev->failed = false;
        msg->type = IPC_EVT_FAILED;
        return true;
    }
    for (uint32_t i = 0; i < VRING_MAX; i++) {
        if (!ev->reason[i])
            continue;
        msg->type = IPC_EVT_RING_BROKEN;
        msg->u.broken.ring = i;
        msg->u.broken.reason = ev->reason[i];
        ev->reason[i] = 0;
        return true;
    }
    return false;
}

/* Wait for something to tell.  Return: false at the end. */
static bool next_report(struct events *ev, struct ipc_msg *msg)
{
    bool got = false;

    pthread_mutex_lock(&ev->lock);
    while (!ev->stop && !(got = take_report_locked(ev, msg)))
        pthread_cond_wait(&ev->some, &ev->lock);
    pthread_mutex_unlock(&ev->lock);
    return got;
}

static void *events_main(void *arg)
{
    struct events *ev = arg;
    struct ipc_msg msg;

    while (next_report(ev, &msg)) {
        bool dead = false;
        int ret = ipc_call(&ev->chan, &msg, NULL, NULL, &dead);

        if (ret < 0)
            log_debug("fuse: events: not told: %s", strerror(-ret));
        if (dead)
            break; /* the command channel ends too, and with it all of us */
    }
    return NULL;
}

int events_create(int evt_fd, struct events **out)
{
    struct events *ev = calloc(1, sizeof(*ev));
    int err;

    if (!ev)
        return -ENOMEM;
    ev->chan = (struct ipc_chan){
        .fd = evt_fd,
        .name = "evt",
        .timeout_ms = EVENT_TIMEOUT_MS,
    };
    pthread_mutex_init(&ev->lock, NULL);
    pthread_cond_init(&ev->some, NULL);
    err = pthread_create(&ev->thread, NULL, events_main, ev);
    if (err) {
        free(ev);
        return -err;
    }
    *out = ev;
    return 0;
}

void events_ring_broken(struct events *ev, uint32_t ring, int reason)
{
    pthread_mutex_lock(&ev->lock);
    ev->reason[ring] = reason;
    pthread_cond_signal(&ev->some);
    pthread_mutex_unlock(&ev->lock);
}

void events_failed(struct events *ev)
{
    pthread_mutex_lock(&ev->lock);
    ev->failed = true;
    pthread_cond_signal(&ev->some);
    pthread_mutex_unlock(&ev->lock);
}

static void stop(struct events *ev)
{
    pthread_mutex_lock(&ev->lock);
    ev->stop = true;
    pthread_cond_signal(&ev->some);
    pthread_mutex_unlock(&ev->lock);
}

void events_leave(struct events *ev)
{
    stop(ev);
    pthread_detach(ev->thread);
}

void events_destroy(struct events *ev)
{
    if (!ev)
        return;
    stop(ev);
    pthread_join(ev->thread, NULL);
    pthread_cond_destroy(&ev->some);
    pthread_mutex_destroy(&ev->lock);
    free(ev);
}
