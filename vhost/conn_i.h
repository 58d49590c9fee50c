/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_VHOST_CONN_I_H
#define VIRTIOFSD_VHOST_CONN_I_H

/*
 * Inside the control side: the connection's state, and what the handlers in
 * on_*.c may do to it.  One thread, the control process's only one.
 */

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "vhost/conn.h"
#include "vhost/memtable.h"
#include "vhost/ring_ipc.h"
#include "vhost/spec.h"
#include "vhost/vring_shared.h"
#include "vhost/wire.h"
#include "virtiofsd/base/log.h"

/* What the virtqueues and the dirty log can do. */
#define VU_FEATURES                                                            \
    (BIT_U64(VIRTIO_F_BIT_VERSION_1) | BIT_U64(VIRTIO_F_BIT_INDIRECT_DESC) |   \
     BIT_U64(VIRTIO_F_BIT_EVENT_IDX) | BIT_U64(VIRTIO_F_BIT_NOTIFY_ON_EMPTY) | \
     BIT_U64(VHOST_USER_F_BIT_PROTOCOL) | BIT_U64(VHOST_F_BIT_LOG_ALL))

/* How long the request process may take to answer anything; IPC_SYNC waits
 * for system calls on the shared tree, so it is long. */
#define VU_IPC_TIMEOUT_MS 30000

/*
 * NEW -> OWNED by SET_OWNER; OWNED -> DISOWNED by RESET_OWNER, which forbids
 * nothing but permits another SET_OWNER (Cloud Hypervisor resets and goes on
 * without one).
 */
enum vu_state {
    VU_NEW = 1 << 0,
    VU_OWNED = 1 << 1,
    VU_DISOWNED = 1 << 2,
};
/* Who may send a message: sets of states. */
#define VU_BY_ANY   (VU_NEW | VU_OWNED | VU_DISOWNED)
#define VU_BY_OWNED (VU_OWNED | VU_DISOWNED)
#define VU_BY_NEW   (VU_NEW | VU_DISOWNED)

/* Which rings must have acknowledged before a message is answered. */
enum vu_quiesce {
    VU_Q_NONE,
    VU_Q_RING, /* m->ring */
    VU_Q_ALL,
};

/*
 * One ring as the front-end described it.  @bits (STARTED, ENABLED) change in
 * vu_ring_publish() and nowhere else.
 */
struct vu_ring {
    uint32_t bits;
    uint32_t size; /* 0: not told yet */
    bool have_addr;
    bool kicked;               /* SET_VRING_KICK came, GET_VRING_BASE not */
    bool poll;                 /* it came without an fd */
    bool enable_told;          /* SET_VRING_ENABLE came since the reset */
    bool unsynced;             /* a published change awaits IPC_SYNC */
    struct vu_vring_addr addr; /* as told, front-end addresses */
    gpa_t desc, avail, used;   /* translated at start and memory change */
    uint32_t base;             /* for the next start */
    uint32_t start_gen;
    uint32_t kick_gen, call_gen, err_gen; /* held by the request process;
                                             0: none */
    uint32_t fd_gens;     /* last generation given out; never reused */
    uint64_t seq;         /* of the slot, 0: never published */
    struct vring_cfg cfg; /* last published */
};

struct vu_conn {
    struct vu_opts opts;
    struct ipc_chan cmd, evt;
    bool dead;   /* the request process is gone, or may as well be */
    bool failed; /* it said that it can not go on */
    struct cfg_page *cfg;
    const struct run_page *run;
    int wake_fd[VRING_MAX];

    /* One front-end. */
    int fd;
    enum vu_state state;
    uint64_t features, protocol_features;
    uint8_t status;
    bool features_set;
    bool mem_unsynced;
    uint32_t mem_gen;            /* current table, acknowledged; 0: none yet */
    uint32_t log_gen;            /* 0: no dirty log */
    uint32_t mem_gens, log_gens; /* last given out */
    uint32_t reset_gen;
    struct memtable mem;
    struct vu_ring ring[VRING_MAX];
    struct wire_reader reader;
};

/* One line for a front-end's fault; dispatch decides what follows of it. */
#define vu_bad(m, fmt, ...)                                                    \
    log_limited(LOG_LEVEL_ERROR, "%s: " fmt, (m)->name, ##__VA_ARGS__)

static inline bool vu_pf(const struct vu_conn *c, enum vu_protocol_feature f)
{
    return c->protocol_features & BIT_U64(f);
}

static inline bool vu_ring_started(const struct vu_ring *r)
{
    return r->bits & VRING_CFG_STARTED;
}

static inline bool vu_ring_live(const struct vu_ring *r)
{
    const uint32_t live = VRING_CFG_STARTED | VRING_CFG_ENABLED;

    return (r->bits & live) == live;
}

/* conn.c */

/**
 * vu_ring_publish() - the one place where ring bits change.
 * @bits: STARTED and ENABLED as they shall be.
 * Publishes the slot from what is known of the ring, then wakes its thread.
 * Notes when the change voids what the thread may still have in flight, for
 * vu_quiesce().  Generations named here must have been acknowledged.
 */
void vu_ring_publish(struct vu_conn *c, uint32_t idx, uint32_t bits);

/**
 * vu_quiesce() - have rings acknowledge what was published.
 * @ring: looked at for VU_Q_RING only.
 * A ring that was stopped leaves its final position in ring->base.
 * Return: 0, or -errno: the device can not go on, NEEDS_RESET is set.
 */
int vu_quiesce(struct vu_conn *c, enum vu_quiesce scope, uint32_t ring);

/**
 * vu_ring_try_start() - start a ring once all it needs is there.
 * A ring that still lacks something stays as it is: whatever message brings
 * the rest calls this again, so no kick is lost.
 */
void vu_ring_try_start(struct vu_conn *c, uint32_t idx);

/* Translate the ring's addresses through the current memory table.
 * Return: 0; -EFAULT when they are not in it; -EINVAL when misaligned. */
int vu_ring_translate(const struct vu_conn *c, struct vu_ring *r);

/* A command with no byte left to chance: all of it goes to the other side. */
static inline struct ipc_msg vu_command(enum ipc_type type)
{
    struct ipc_msg msg;

    memset(&msg, 0, sizeof(msg));
    msg.type = (uint16_t)type;
    return msg;
}

/**
 * vu_call() - command the request process.
 * @msg: in and out, see ipc_call(); @fds: sent along, still the caller's.
 * Return: 0 or -errno; c->dead tells whether the channel survived.
 */
int vu_call(struct vu_conn *c, struct ipc_msg *msg, const struct ipc_fds *fds);

/* Stop every ring; their positions are known after vu_quiesce(ALL). */
void vu_stop_all(struct vu_conn *c);

/* Handlers: 0 or -errno.  `on_` acts and publishes; `answer_` fills m->reply
 * after the quiesce step.  Shape and state are checked by vu_dispatch(). */

/* on_features.c */
int answer_features(struct vu_conn *c, struct vu_msg *m);
int on_set_features(struct vu_conn *c, struct vu_msg *m);
int answer_protocol(struct vu_conn *c, struct vu_msg *m);
int on_set_protocol(struct vu_conn *c, struct vu_msg *m);
int on_set_owner(struct vu_conn *c, struct vu_msg *m);
int on_reset_owner(struct vu_conn *c, struct vu_msg *m);
int on_reset_device(struct vu_conn *c, struct vu_msg *m);
int answer_queue_num(struct vu_conn *c, struct vu_msg *m);
int on_set_backend_fd(struct vu_conn *c, struct vu_msg *m);

/* on_memory.c */
int on_set_mem_table(struct vu_conn *c, struct vu_msg *m);
int answer_max_mem_slots(struct vu_conn *c, struct vu_msg *m);
int on_add_mem_reg(struct vu_conn *c, struct vu_msg *m);
int on_rem_mem_reg(struct vu_conn *c, struct vu_msg *m);
int on_set_log_base(struct vu_conn *c, struct vu_msg *m);
int answer_set_log_base(struct vu_conn *c, struct vu_msg *m);
int on_set_log_fd(struct vu_conn *c, struct vu_msg *m);

/* on_vring.c */
int on_set_vring_num(struct vu_conn *c, struct vu_msg *m);
int on_set_vring_addr(struct vu_conn *c, struct vu_msg *m);
int on_set_vring_base(struct vu_conn *c, struct vu_msg *m);
int on_get_vring_base(struct vu_conn *c, struct vu_msg *m);
int answer_get_vring_base(struct vu_conn *c, struct vu_msg *m);
int on_set_vring_kick(struct vu_conn *c, struct vu_msg *m);
int on_set_vring_call(struct vu_conn *c, struct vu_msg *m);
int on_set_vring_err(struct vu_conn *c, struct vu_msg *m);
int on_set_vring_enable(struct vu_conn *c, struct vu_msg *m);

/* on_config.c */
int answer_config(struct vu_conn *c, struct vu_msg *m);
int on_set_config(struct vu_conn *c, struct vu_msg *m);
int on_set_status(struct vu_conn *c, struct vu_msg *m);
int answer_status(struct vu_conn *c, struct vu_msg *m);

/* A payload of one u64, read and written without alignment worries. */
static inline uint64_t vu_u64(const struct vu_msg *m)
{
    uint64_t v;

    __builtin_memcpy(&v, m->payload, sizeof(v));
    return v;
}

static inline void vu_reply_u64(struct vu_msg *m, uint64_t v)
{
    __builtin_memcpy(m->reply, &v, sizeof(v));
    m->reply_size = sizeof(v);
}

#endif
