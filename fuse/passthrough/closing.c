/* SPDX-License-Identifier: BSD-3-Clause */
#include "fuse/passthrough/closing.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "virtiofsd/base/log.h"
#include "virtiofsd/base/sys.h"

/* @done and @left_alone under @lock; whoever sees the other's set frees. */
struct closing {
    int *fd;
    size_t n, room;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool done, left_alone;
};

static _Thread_local struct closing *collecting;

static void closing_free(struct closing *c)
{
    pthread_cond_destroy(&c->ended);
    pthread_mutex_destroy(&c->lock);
    free(c->fd);
    free(c);
}

static void close_all(const struct closing *c)
{
    for (size_t i = 0; i < c->n; i++)
        close(c->fd[i]);
}

static void *closer_main(void *arg)
{
    struct closing *c = arg;
    bool mine;

    close_all(c);
    pthread_mutex_lock(&c->lock);
    c->done = true;
    mine = c->left_alone;
    pthread_cond_signal(&c->ended);
    pthread_mutex_unlock(&c->lock);
    if (mine)
        closing_free(c);
    return NULL;
}

void pt_closing_begin(void)
{
    struct closing *c = calloc(1, sizeof(*c));

    if (!c)
        return;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->ended, NULL);
    collecting = c;
}

/* Return: true when the thread has ended in time. */
static bool wait_closed(struct closing *c)
{
    struct timespec until;
    bool done;
    int ret = 0;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PT_CLOSING_WAIT_MS / 1000;
    pthread_mutex_lock(&c->lock);
    while (!c->done && ret == 0)
        ret = pthread_cond_timedwait(&c->ended, &c->lock, &until);
    done = c->done;
    c->left_alone = !done;
    pthread_mutex_unlock(&c->lock);
    return done;
}

void pt_closing_end(void)
{
    struct closing *c = collecting;
    pthread_t t;

    collecting = NULL;
    if (!c)
        return;
    if (c->n == 0) {
        closing_free(c);
        return;
    }
    if (pthread_create(&t, NULL, closer_main, c) != 0) {
        close_all(c);
        closing_free(c);
        return;
    }
    if (wait_closed(c)) {
        pthread_join(t, NULL);
        closing_free(c);
        return;
    }
    pthread_detach(t);
    log_warn("fuse: closing files of the life before hangs in the host's file "
             "system; going on without");
}

void pt_close(int fd)
{
    struct closing *c = collecting;

    if (c && c->n == c->room) {
        size_t room = c->room ? 2 * c->room : 64;
        int *more = realloc(c->fd, room * sizeof(*more));

        if (more) {
            c->fd = more;
            c->room = room;
        }
    }
    if (c && c->n < c->room)
        c->fd[c->n++] = fd;
    else
        sys_close(fd);
}
