/* SPDX-License-Identifier: BSD-3-Clause */
#include "fuse/passthrough/lockwait.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "virtiofsd/base/log.h"
#include "virtiofsd/base/util.h"

/* How long a thread without a wait stays. */
#define LINGER_S    2
#define NAG_MIN_NS  100000
#define NAG_MAX_NS  10000000
#define STACK_BYTES ((size_t)256 << 10)

void pt_waits_init(struct pt_waits *s)
{
    memset(s, 0, sizeof(*s));
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->some, NULL);
    pthread_cond_init(&s->fewer, NULL);
}

uint32_t pt_waits_count(struct pt_waits *s)
{
    uint32_t n;

    pthread_mutex_lock(&s->lock);
    n = s->n;
    pthread_mutex_unlock(&s->lock);
    return n;
}

/* ---- the threads ---- */

static bool on(const struct pt_wait *w)
{
    return atomic_load_explicit(&w->cancel, memory_order_acquire) == PT_WAIT_ON;
}

static struct pt_wait *unserved_locked(struct pt_waits *s)
{
    struct pt_wait *oldest = NULL;

    for (struct pt_wait *w = s->all; w; w = w->next)
        oldest = w->running ? oldest : w;
    return oldest;
}

/* The next wait to serve; NULL when none came for a while. */
static struct pt_wait *next_locked(struct pt_waits *s)
{
    struct timespec until;
    struct pt_wait *w;
    int ret = 0;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += LINGER_S;
    s->idle++;
    while (s->unserved == 0 && !s->stop && ret == 0)
        ret = pthread_cond_timedwait(&s->some, &s->lock, &until);
    s->idle--;
    w = s->unserved > 0 ? unserved_locked(s) : NULL;
    if (w) {
        s->unserved--;
        w->running = true;
        w->thread = pthread_self();
    }
    return w;
}

static void unlink_locked(struct pt_waits *s, struct pt_wait *w)
{
    struct pt_wait **p = &s->all;

    while (*p != w)
        p = &(*p)->next;
    *p = w->next;
}

static void *waiter_main(void *arg)
{
    struct pt_waits *s = arg;
    struct pt_wait *w;

    pthread_setname_np(pthread_self(), "lock-wait");
    pthread_mutex_lock(&s->lock);
    while ((w = next_locked(s))) {
        int ret;

        pthread_mutex_unlock(&s->lock);
        do
            ret = on(w) ? w->block(w) : -EINTR;
        while (ret == -EINTR && on(w));
        pthread_mutex_lock(&s->lock);
        unlink_locked(s, w); /* from here on nobody signals this thread */
        pthread_mutex_unlock(&s->lock);
        w->end(w, ret);
        pthread_mutex_lock(&s->lock);
        s->n--;
        pthread_cond_broadcast(&s->fewer);
    }
    s->threads--;
    pthread_cond_broadcast(&s->fewer);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

static int start_thread_locked(struct pt_waits *s, void *(*fn)(void *))
{
    pthread_attr_t attr;
    pthread_t t;
    int ret;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    ret = pthread_create(&t, &attr, fn, s);
    pthread_attr_destroy(&attr);
    if (ret == 0)
        s->threads++;
    else
        log_limited(LOG_LEVEL_WARN, "fuse: locks: no thread: %s",
                    strerror(ret));
    return -ret;
}

/* ---- beginning ---- */

static bool came_early_locked(const struct pt_waits *s, uint64_t unique)
{
    for (size_t i = 0; i < PT_WAITS_EARLY; i++) {
        if (unique != 0 && s->early[i] == unique)
            return true;
    }
    return false;
}

static int start_locked(struct pt_waits *s, struct pt_wait *w)
{
    if (s->n >= PT_WAITS_MAX)
        return -ENOLCK;
    if (came_early_locked(s, w->unique))
        return -EINTR;
    if (s->idle <= s->unserved) {
        int ret = start_thread_locked(s, waiter_main);

        if (ret < 0)
            return ret;
    }
    atomic_init(&w->cancel, PT_WAIT_ON);
    w->running = false;
    w->next = s->all;
    s->all = w;
    s->n++;
    s->unserved++;
    pthread_cond_signal(&s->some);
    return 0;
}

int pt_waits_start(struct pt_waits *s, struct pt_wait *w)
{
    int ret;

    pthread_mutex_lock(&s->lock);
    ret = start_locked(s, w);
    pthread_mutex_unlock(&s->lock);
    return ret;
}

/* ---- ending ---- */

/* Return: is there any that was cancelled and waits still? */
static bool signal_locked(struct pt_waits *s)
{
    bool any = false;

    for (struct pt_wait *w = s->all; w; w = w->next) {
        if (on(w) || !w->running)
            continue;
        pthread_kill(w->thread, SIGUSR1); /* handled: rescue_setup() */
        any = true;
    }
    return any;
}

static void *nag_main(void *arg)
{
    struct pt_waits *s = arg;
    struct timespec nap = { .tv_nsec = NAG_MIN_NS };

    pthread_setname_np(pthread_self(), "lock-cancel");
    pthread_mutex_lock(&s->lock);
    while (signal_locked(s)) {
        pthread_mutex_unlock(&s->lock);
        nanosleep(&nap, NULL);
        if (nap.tv_nsec < NAG_MAX_NS)
            nap.tv_nsec *= 2;
        pthread_mutex_lock(&s->lock);
    }
    s->nagging = false;
    s->threads--;
    pthread_cond_broadcast(&s->fewer);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* Cancel those of @key, as @how.  Return: was there one? */
static bool cancel_locked(struct pt_waits *s, uint64_t key,
                          enum pt_wait_cancel how)
{
    bool any = false;

    for (struct pt_wait *w = s->all; w; w = w->next) {
        if ((how == PT_WAIT_INTERRUPTED ? w->unique : w->fh) != key)
            continue;
        if (atomic_load_explicit(&w->cancel, memory_order_relaxed) < (int)how)
            atomic_store_explicit(&w->cancel, how, memory_order_release);
        any = true;
    }
    if (any && signal_locked(s) && !s->nagging)
        s->nagging = start_thread_locked(s, nag_main) == 0;
    return any;
}

void pt_waits_interrupt(struct pt_waits *s, uint64_t unique)
{
    pthread_mutex_lock(&s->lock);
    if (!cancel_locked(s, unique, PT_WAIT_INTERRUPTED)) {
        s->early[s->next_early] = unique;
        s->next_early = (s->next_early + 1) % PT_WAITS_EARLY;
    }
    pthread_mutex_unlock(&s->lock);
}

void pt_waits_release(struct pt_waits *s, uint64_t fh)
{
    pthread_mutex_lock(&s->lock);
    cancel_locked(s, fh, PT_WAIT_GONE);
    pthread_mutex_unlock(&s->lock);
}

/* Sleep until there are fewer, or it is time to signal again. */
static void nap_locked(struct pt_waits *s)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += NAG_MIN_NS * 10;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_cond_timedwait(&s->fewer, &s->lock, &until);
}

static bool end_locked(struct pt_waits *s, const uint32_t *count)
{
    int64_t until_ns = now_ns() + (int64_t)PT_WAITS_END_MS * 1000000;

    for (struct pt_wait *w = s->all; w; w = w->next)
        atomic_store_explicit(&w->cancel, PT_WAIT_GONE, memory_order_release);
    while (*count > 0 && now_ns() < until_ns) {
        signal_locked(s);
        nap_locked(s);
    }
    return *count == 0;
}

bool pt_waits_end(struct pt_waits *s)
{
    bool all;

    pthread_mutex_lock(&s->lock);
    all = end_locked(s, &s->n);
    memset(s->early, 0, sizeof(s->early));
    pthread_mutex_unlock(&s->lock);
    if (!all)
        log_warn("fuse: waiting for locks of the life before hangs in the "
                 "host's file system; going on without");
    return all;
}

bool pt_waits_fini(struct pt_waits *s)
{
    bool all;

    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_cond_broadcast(&s->some);
    all = end_locked(s, &s->threads);
    pthread_mutex_unlock(&s->lock);
    if (!all)
        return false;
    pthread_cond_destroy(&s->some);
    pthread_cond_destroy(&s->fewer);
    pthread_mutex_destroy(&s->lock);
    return true;
}
