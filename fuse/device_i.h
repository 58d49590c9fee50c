/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_FUSE_DEVICE_I_H
#define VIRTIOFSD_FUSE_DEVICE_I_H

/*
 * What the device's main thread, the rings' threads and the pool share.
 *
 * Locks, in order: device.lock, then nothing.  The hot path takes none of
 * them: they guard what changes with a command from the control process.
 */

#include <pthread.h>

#include "fuse/device.h"
#include "fuse/life.h"
#include "vhost/dirtylog.h"
#include "vhost/memmap.h"
#include "vhost/ring_ipc.h"

struct queue;
struct pool;
struct takeover;
struct events;

enum ring_fd { RING_FD_KICK, RING_FD_CALL, RING_FD_ERR, RING_FD_KINDS };

/* An fd delivered for a ring, until the ring's thread takes it. */
struct ring_mail {
    int fd;       /* -1: none, or taken */
    uint32_t gen; /* of the delivery; 0: nothing ever came */
};

/**
 * struct device
 * @mm, @mm_before: newest memory table and the one before, which rings may
 *          still be using; guarded by @lock.
 * @dirty:  the dirty log, or NULL; guarded by @lock.
 * @mail:   fds under way to the rings' threads; guarded by @lock.
 * @applied: a ring's thread has acted upon its slot or ended; with @lock.
 * @queue:  NULL until the ring is first used; written by the main thread while
 *          the take-over is paused.
 * @running: rings' threads that have not ended; guarded by @lock.
 * @stopping: set once; the threads end.
 * @epoch:   counts mappings of guest memory; rings move to the newest.
 * @fenced:  no thread given up before this epoch can reach guest memory.
 * @poll_ns: how long a ring's thread may look at its ring before it sleeps;
 *           set before the first is started, as
 * @pollers_max: how many may do so at a time; the CPUs are the guest's, too.
 * @pollers: who does.
 * @given_up: threads that hang for good; main thread only.
 */
struct device {
    const struct fuse_device_opts *opts;
    struct ipc_chan cmd;
    struct pt_fs *fs;
    struct life *life;
    struct pool *pool;
    struct takeover *takeover; /* NULL: there is no pool */
    struct events *events;
    int64_t poll_ns;
    uint32_t pollers_max;
    const struct cfg_page *cfg;
    struct run_page *run;
    uint32_t nrings;
    int wake_fd[VRING_MAX];
    int backend_req_fd;
    struct queue *queue[VRING_MAX];

    pthread_mutex_t lock;
    pthread_cond_t applied;
    struct memmap *mm, *mm_before;
    struct dirtylog *dirty;
    struct ring_mail mail[VRING_MAX][RING_FD_KINDS];
    uint32_t running;
    _Alignas(CACHE_LINE) _Atomic uint32_t pollers;
    _Alignas(CACHE_LINE) _Atomic uint32_t stopping;
    _Atomic uint32_t epoch;
    _Atomic uint32_t fenced;
    uint32_t given_up;
};

/**
 * device_take_mm() - the memory table of generation @gen.
 * Return: a reference, or NULL: another publish is under way, wait for it.
 * Context: a ring's thread.
 */
struct memmap *device_take_mm(struct device *d, uint32_t gen);
/* The dirty log of generation @gen; NULL when there is no such. */
struct dirtylog *device_take_log(struct device *d, uint32_t gen);
/**
 * device_take_fd() - the fd of generation @gen.
 * Return: the fd, the caller's now; -1 for none.
 */
int device_take_fd(struct device *d, uint32_t ring, enum ring_fd kind,
                   uint32_t gen);
/* Wake whoever waits for rings to act. */
void device_tell_applied(struct device *d);
/* A ring's thread is ending. */
void device_tell_ended(struct device *d);

/* Wake every ring's thread. */
void device_wake_all(struct device *d);

/* The commands of the control process; see ring_ipc.h. */
int device_command(struct device *d, struct ipc_msg *msg, struct ipc_fds *fds);

#endif
