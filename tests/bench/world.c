/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/bench/world.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/lib/daemon.h"
#include "tests/lib/fusecall.h"
#include "tests/lib/tap.h"
#include "virtiofsd/base/util.h"

#define MIB ((uint64_t)1 << 20)

/* Until threads that have done their work sleep, and are accounted for. */
#define SETTLE_US 2000

/* What QEMU 7.2 takes of what is offered. */
#define PROTO                                                                  \
    (BIT64(FE_PF_MQ) | BIT64(FE_PF_LOG_SHMFD) | BIT64(FE_PF_REPLY_ACK) |       \
     BIT64(FE_PF_BACKEND_REQ) | BIT64(FE_PF_MEM_SLOTS))

/* What Linux offers, without what would make requests longer. */
#define INIT_FLAGS                                                             \
    (FUSE_ASYNC_READ | FUSE_POSIX_LOCKS | FUSE_ATOMIC_O_TRUNC |                \
     FUSE_EXPORT_SUPPORT | FUSE_BIG_WRITES | FUSE_DONT_MASK |                  \
     FUSE_FLOCK_LOCKS | FUSE_HAS_IOCTL_DIR | FUSE_AUTO_INVAL_DATA |            \
     FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO | FUSE_ASYNC_DIO |            \
     FUSE_WRITEBACK_CACHE | FUSE_NO_OPEN_SUPPORT | FUSE_PARALLEL_DIROPS |      \
     FUSE_HANDLE_KILLPRIV | FUSE_ABORT_ERROR | FUSE_MAX_PAGES |                \
     FUSE_CACHE_SYMLINKS | FUSE_NO_OPENDIR_SUPPORT |                           \
     FUSE_EXPLICIT_INVAL_DATA | FUSE_SUBMOUNTS | FUSE_HANDLE_KILLPRIV_V2 |     \
     FUSE_SETXATTR_EXT)

static int fail(struct world *w, const char *what, int ret)
{
    if (!w->scene.why[0])
        snprintf(w->scene.why, sizeof(w->scene.why), "%s: %s", what,
                 ret < 0 ? strerror(-ret) : "refused");
    return ret < 0 ? ret : -EIO;
}

static int make_guest(struct world *w, const struct world_rings *r,
                      unsigned int depth, uint32_t payload)
{
    uint64_t features = 0;
    /* Rings, library buffers, and the arena with much to spare. */
    uint64_t high = 64 * MIB + depth * 2 * ((uint64_t)payload + MIB / 16);
    int ret = guest_mem_create(&w->mem, 16 * MIB, high & ~(MIB - 1));

    if (r->indirect)
        features |= BIT64(FE_F_INDIRECT);
    if (r->event_idx)
        features |= BIT64(FE_F_EVENT_IDX);
    w->nrings = 1 + r->queues;
    for (unsigned int i = 0; i < w->nrings && ret == 0; i++) {
        ret = guest_queue_create(&w->q[i], &w->mem, i, r->size, features);
        w->q[i].unique = (uint64_t)i << 40;
    }
    if (ret == 0)
        ret = drive_init(&w->drive, w->q, w->nrings, depth,
                         (size_t)depth * payload);
    w->drive.by_call = r->by_call;
    return ret;
}

/* The hand-shake, as QEMU does it.  Return: as world_open(). */
static int connect_rings(struct world *w, const struct world_rings *r)
{
    uint64_t features = BIT64(FE_F_VERSION_1) | BIT64(FE_F_PROTOCOL_FEATURES);
    uint64_t rings = 2;
    int ret;

    if (r->indirect)
        features |= BIT64(FE_F_INDIRECT);
    if (r->event_idx)
        features |= BIT64(FE_F_EVENT_IDX);
    /* The socket is there as soon as it is bound; it listens a bit later. */
    for (int ms = 0;
         (ret = fe_connect(&w->fe, w->peer.socket)) == -ECONNREFUSED &&
         ms < DEADLINE_MS;
         ms++)
        usleep(1000);
    if (ret < 0)
        return fail(w, "connecting", ret);
    w->connected = true;
    /* One request queue first: a back-end may end over a ring it lacks. */
    ret = fe_negotiate(&w->fe, features, PROTO, w->q, 2);
    if (ret < 0)
        return fail(w, "negotiation", ret);
    if (w->fe.acked != features) {
        snprintf(w->scene.why, sizeof(w->scene.why),
                 "offers no such rings (features 0x%llx)",
                 (unsigned long long)w->fe.features);
        return 1;
    }
    if (w->nrings > 2) {
        if (!(w->fe.proto_acked & BIT64(FE_PF_MQ)) ||
            fe_get_u64(&w->fe, FE_GET_QUEUE_NUM, &rings) < 0)
            rings = 2;
        if (rings < w->nrings) {
            snprintf(w->scene.why, sizeof(w->scene.why), "%llu request queue%s",
                     (unsigned long long)rings - 1, rings == 2 ? "" : "s");
            return 1;
        }
    }
    for (unsigned int i = 2; i < w->nrings && ret == 0; i++) {
        ret = fe_set_fd(&w->fe, FE_SET_VRING_CALL, i, w->q[i].call_fd);
        if (ret == 0)
            ret = fe_set_fd(&w->fe, FE_SET_VRING_ERR, i, w->q[i].err_fd);
    }
    if (ret == 0)
        ret = fe_share_memory(&w->fe, &w->mem);
    for (unsigned int i = 0; i < w->nrings && ret == 0; i++)
        ret = fe_ring_start(&w->fe, &w->q[i], 0);
    for (unsigned int i = 0; i < w->nrings && ret == 0; i++)
        ret = fe_ring_enable(&w->fe, &w->q[i], true);
    return ret < 0 ? fail(w, "starting the rings", ret) : 0;
}

static int start_fuse(struct world *w)
{
    struct fuse_init_out out;
    int ret = fc_init(&w->q[1], INIT_FLAGS, &out);

    if (ret != 0)
        return fail(w, "FUSE_INIT", ret);
    w->scene.max_write = out.max_write;
    peer_find_processes(&w->peer);
    return 0;
}

int world_open(struct world *w, const struct row *row, struct share *share,
               const char *dir, const struct world_rings *rings,
               unsigned int depth)
{
    struct scene *s = &w->scene;
    int ret;

    w->open = true;
    w->connected = false;
    w->fe.fd = -1;
    w->nrings = 0;
    memset(&w->mem, 0, sizeof(w->mem));
    memset(w->q, 0, sizeof(w->q));
    memset(&w->drive, 0, sizeof(w->drive));
    memset(s, 0, sizeof(*s));
    s->dir_fd = s->data_fd = -1;
    s->row = row;
    s->share = share;
    if (w->native) {
        if (!row->native_setup) {
            snprintf(s->why, sizeof(s->why), "no such calls");
            return 1;
        }
        ret = row->native_setup(s);
        return ret < 0 ? fail(w, "native setup", ret) : ret;
    }
    ret = make_guest(w, rings, depth, MAX(row->io.block, 4096u));
    if (ret < 0)
        return fail(w, "guest memory", ret);
    ret = peer_start(&w->peer, dir, share->root);
    if (ret < 0)
        return fail(w, "starting the daemon", ret);
    ret = connect_rings(w, rings);
    if (ret == 0)
        ret = start_fuse(w);
    if (ret != 0)
        return ret;
    s->q = &w->q[1];
    s->peer = &w->peer;
    s->d = &w->drive;
    ret = row->setup(s);
    if (ret == 0 && tap_failing())
        ret = -EPROTO; /* the library has printed what it was */
    return ret < 0 ? fail(w, "setting up", ret) : ret;
}

void world_close(struct world *w)
{
    if (!w->open)
        return;
    w->open = false;
    scene_free(&w->scene);
    if (w->native)
        return;
    fe_close(&w->fe);
    if (w->peer.pid > 0) {
        /* One that nobody connected to waits for ever. */
        if (!w->connected)
            kill(w->peer.pid, SIGTERM);
        peer_end(&w->peer);
    }
    drive_destroy(&w->drive);
    for (unsigned int i = 0; i < w->nrings; i++)
        guest_queue_destroy(&w->q[i]);
    if (w->mem.n > 0)
        guest_mem_destroy(&w->mem);
}

static uint64_t own_cpu_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void quantiles(const struct hist *h, struct result *r)
{
    r->p50 = hist_quantile(h, 500);
    r->p99 = hist_quantile(h, 990);
    r->p999 = hist_quantile(h, 999);
}

static int run_native(struct world *w, int64_t ns, uint64_t limit,
                      struct result *r)
{
    uint64_t cpu = own_cpu_ns();
    int64_t start = now_ns(), before = start, now = start;
    int ret;

    hist_clear(&w->hist);
    while (r->ops < limit && now - start < ns) {
        ret = w->scene.row->native(&w->scene, r->ops);
        if (ret < 0)
            return fail(w, "native call", ret);
        now = now_ns();
        hist_add(&w->hist, now - before);
        before = now;
        r->ops++;
    }
    r->ns = now - start;
    r->cpu_ns = own_cpu_ns() - cpu;
    r->cpu_exact = true;
    r->depth = 1;
    quantiles(&w->hist, r);
    return 0;
}

static void usage_between(const struct peer_usage *a,
                          const struct peer_usage *b, struct result *r)
{
    r->cpu_ns = b->cpu_ns - MIN(a->cpu_ns, b->cpu_ns);
    r->switches = b->switches - MIN(a->switches, b->switches);
    r->preempted = b->preempted - MIN(a->preempted, b->preempted);
    r->cpu_exact = a->exact && b->exact;
}

static int run_daemon(struct world *w, unsigned int depth, int64_t ns,
                      uint64_t limit, struct result *r)
{
    struct drive *d = &w->drive;
    struct peer_usage before, after;
    int ret;

    usleep(SETTLE_US);
    peer_usage(&w->peer, &before);
    ret = drive_run(d, &w->scene.row->drive, &w->scene, depth, ns, limit);
    if (ret < 0) {
        snprintf(w->scene.why, sizeof(w->scene.why), "%s",
                 d->fault[0] ? d->fault : "does not fit on the ring");
        return ret;
    }
    usleep(SETTLE_US);
    peer_usage(&w->peer, &after);
    usage_between(&before, &after, r);
    r->ops = d->ops;
    r->ns = d->t_last - d->t_first;
    r->kicks = d->kicks;
    r->calls = d->calls;
    r->depth = d->depth;
    quantiles(&d->hist, r);
    return 0;
}

int world_run(struct world *w, unsigned int depth, int64_t ns, uint64_t limit,
              struct result *r)
{
    int ret;

    memset(r, 0, sizeof(*r));
    ret = w->native ? run_native(w, ns, limit, r)
                    : run_daemon(w, depth, ns, limit, r);
    if (ret == 0 && w->scene.row->verify && !w->scene.row->verify(&w->scene))
        ret = -EBADMSG;
    return ret;
}

void world_idle(struct world *w, int64_t ns, struct result *r)
{
    struct peer_usage before, after;
    struct timespec ts = { ns / 1000000000, ns % 1000000000 };
    int64_t start;

    memset(r, 0, sizeof(*r));
    /* What the last request left to be done is not idleness. */
    usleep(100 * SETTLE_US);
    start = now_ns();
    peer_usage(&w->peer, &before);
    nanosleep(&ts, NULL);
    peer_usage(&w->peer, &after);
    usage_between(&before, &after, r);
    r->ns = now_ns() - start;
    r->depth = 1;
}
