/* SPDX-License-Identifier: BSD-3-Clause */
#include "fuse/async.h"

#include <errno.h>

#include "fuse/aio.h"
#include "fuse/queue.h"
#include "virtiofsd/base/log.h"
#include "virtiofsd/base/probes.h"

/* ---- the first half: in an operation ---- */

int request_begin_read(struct request *r, int fd, size_t size, off_t off)
{
    struct job *job = r->job;
    int count, ret;

    if (!r->aio)
        return -EOPNOTSUPP;
    size = MIN(size, request_reply_room(r));
    /* Busy: the driver offers a head again that it has not got back, which
     * the way to the pool refuses. */
    if (off < 0 || size == 0 || job->busy)
        return -EAGAIN;
    count = chain_iov(chain_writable(&r->chain), r->chain.n_writable,
                      sizeof(struct fuse_out_header), size, r->iov,
                      REQUEST_IOV_MAX);
    if (iov_bytes(r->iov, count) != size)
        return -EAGAIN; /* takes more than one call */
    job->unique = r->hdr.unique;
    job->busy = job->begun = true;
    ret = aio_begin_read(r->aio, fd, r->iov, (uint32_t)count, off, job->head);
    r->begun = ret == 0;
    if (ret < 0)
        job->busy = job->begun = false;
    return ret;
}

/* ---- the second half ---- */

static int answer(struct queue *q, const struct job *job, int64_t res,
                  uint32_t *used_len)
{
    const struct fuse_in_header hdr = { .unique = job->unique,
                                        .opcode = FUSE_READ };
    struct request *r = &q->w->exec.r;
    int ret = chain_walk(&r->chain, &q->ring, job->head);

    if (ret < 0)
        return ret;
    request_again(r, &hdr);
    r->in_place = res > 0 ? (size_t)res : 0;
    if (res < 0)
        request_send_error(r, (int)-res);
    else
        request_reply(r, NULL, 0);
    PROBE3(req_reply, q->idx, job->head, FUSE_READ);
    *used_len = r->used_len;
    return 0;
}

static void end(struct queue *q, struct job *job, int64_t res)
{
    uint32_t used_len = 0;
    int ret = 0;

    job->busy = false;
    if (vring_is_open(&q->ring))
        ret = answer(q, job, res, &used_len);
    queue_complete(q, job->head, ret, used_len);
}

/* Model (tests/model/kick.pml): reap; what the kernel has under way is a job
 * of the pool's there. */
void async_reap(struct queue *q)
{
    struct io_event ev;
    bool any = false;

    if (!q->aio)
        return;
    while (aio_take(q->aio, &ev)) {
        struct job *job = &q->jobs[ev.data];

        job->begun = false;
        if (ev.res == -EAGAIN) {
            queue_hand_over(q, job);
            continue;
        }
        end(q, job, ev.res);
        any = true;
    }
    if (any && vring_is_open(&q->ring))
        queue_notify(q);
}

/* ---- what hangs ---- */

void async_sample(struct queue *q)
{
    if (q->aio)
        q->aio_sample = atomic_load(&q->aio->taken);
}

bool async_hangs(const struct queue *q)
{
    return q->aio && aio_is_busy(q->aio) &&
           atomic_load(&q->aio->taken) == q->aio_sample;
}

/* The kernel's part is left as it is, so that nobody looks at late ends. */
void async_give_up(struct queue *q)
{
    q->aio = aio_create(q->wake_fd);
    q->w->exec.r.aio = q->aio;
    for (uint32_t i = 0; i < q->njobs; i++) {
        if (!q->jobs[i].begun)
            continue;
        q->jobs[i].busy = q->jobs[i].begun = false;
        queue_cancel(q, q->jobs[i].head);
    }
}
