/* SPDX-License-Identifier: BSD-3-Clause */
/* The rings: set-up, start, stop, enable. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "vhost/conn_i.h"

static int find_ring(struct vu_conn *c, struct vu_msg *m, uint32_t idx,
                     struct vu_ring **r)
{
    if (idx >= VRING_MAX) {
        vu_bad(m, "ring %u: there are %d", idx, VRING_MAX);
        return -EINVAL;
    }
    m->ring = idx;
    *r = &c->ring[idx];
    return 0;
}

static int read_state(struct vu_conn *c, struct vu_msg *m,
                      struct vu_vring_state *s, struct vu_ring **r)
{
    memcpy(s, m->payload, sizeof(*s));
    return find_ring(c, m, s->index, r);
}

/*
 * Size and base belong to a stopped ring.  User Mode Linux never sends
 * GET_VRING_BASE: it disables its rings and later sets them up anew.  So a
 * ring that is started but disabled is stopped here on its behalf.
 */
static int must_be_stopped(struct vu_conn *c, struct vu_msg *m,
                           struct vu_ring *r)
{
    if (!vu_ring_started(r))
        return 0;
    if (vu_ring_live(r)) {
        vu_bad(m, "ring %u: it is running", m->ring);
        return -EBUSY;
    }
    r->kicked = false;
    vu_ring_publish(c, m->ring, r->bits & ~(uint32_t)VRING_CFG_STARTED);
    return vu_quiesce(c, VU_Q_RING, m->ring);
}

int on_set_vring_num(struct vu_conn *c, struct vu_msg *m)
{
    struct vu_vring_state s;
    struct vu_ring *r;
    int ret = read_state(c, m, &s, &r);

    if (ret < 0)
        return ret;
    if (!is_power_of_2(s.num)) {
        vu_bad(m, "ring %u: size %u is not a power of two", s.index, s.num);
        return -EINVAL;
    }
    if (s.num > VRING_SIZE_MAX) {
        vu_bad(m, "ring %u: size %u is above %d", s.index, s.num,
               VRING_SIZE_MAX);
        return -EINVAL;
    }
    ret = must_be_stopped(c, m, r);
    if (ret < 0)
        return ret;
    r->size = s.num;
    vu_ring_try_start(c, s.index);
    return 0;
}

/* Model (tests/model/kick.pml): SET_VRING_BASE. */
int on_set_vring_base(struct vu_conn *c, struct vu_msg *m)
{
    struct vu_vring_state s;
    struct vu_ring *r;
    int ret = read_state(c, m, &s, &r);

    if (ret < 0)
        return ret;
    if (s.num > UINT16_MAX) {
        vu_bad(m, "ring %u: index %u is no 16-bit number", s.index, s.num);
        return -EINVAL;
    }
    ret = must_be_stopped(c, m, r);
    if (ret < 0)
        return ret;
    r->base = s.num;
    return 0;
}

/*
 * Also sent for a running ring: QEMU turns the log flag on and off so.  A
 * running ring's new addresses must be good at once; those of a stopped one
 * may lie in memory that is still to come.
 */
int on_set_vring_addr(struct vu_conn *c, struct vu_msg *m)
{
    struct vu_vring_addr a;
    struct vu_ring *r, next;
    int ret;

    memcpy(&a, m->payload, sizeof(a));
    ret = find_ring(c, m, a.index, &r);
    if (ret < 0)
        return ret;
    if (a.flags & ~VU_VRING_F_LOG) {
        vu_bad(m, "ring %u: unknown flags 0x%x", a.index, a.flags);
        return -EINVAL;
    }
    next = *r;
    next.addr = a;
    next.have_addr = true;
    ret = r->size ? vu_ring_translate(c, &next) : 0;
    if (ret == -EINVAL) {
        vu_bad(m, "ring %u: its parts are misaligned", a.index);
        return ret;
    }
    if (ret == -EFAULT && vu_ring_started(r)) {
        vu_bad(m, "ring %u: its parts are not in guest memory", a.index);
        return ret;
    }
    *r = next;
    if (vu_ring_started(r))
        vu_ring_publish(c, a.index, r->bits);
    else
        vu_ring_try_start(c, a.index);
    return 0;
}

/*
 * Stops the ring; the quiesce step learns where it stopped.
 *
 * Model (tests/model/kick.pml): GET_VRING_BASE.
 */
int on_get_vring_base(struct vu_conn *c, struct vu_msg *m)
{
    struct vu_vring_state s;
    struct vu_ring *r;
    int ret = read_state(c, m, &s, &r);

    if (ret < 0)
        return ret;
    r->kicked = false;
    if (vu_ring_started(r))
        vu_ring_publish(c, s.index, r->bits & ~(uint32_t)VRING_CFG_STARTED);
    return 0;
}

int answer_get_vring_base(struct vu_conn *c, struct vu_msg *m)
{
    struct vu_vring_state s = { .index = m->ring,
                                .num = c->ring[m->ring].base };

    memcpy(m->reply, &s, sizeof(s));
    m->reply_size = sizeof(s);
    return 0;
}

/* Which ring, and with an fd or without: the payload of three messages. */
static int read_fd_msg(struct vu_conn *c, struct vu_msg *m, struct vu_ring **r)
{
    uint64_t v = vu_u64(m);

    if (v & ~(uint64_t)(VU_VRING_IDX_MASK | VU_VRING_NOFD)) {
        vu_bad(m, "unknown bits 0x%" PRIx64, v);
        return -EINVAL;
    }
    if (!(v & VU_VRING_NOFD) != (m->nfds == 1)) {
        vu_bad(m, "ring %u: %d fds, and the no-fd bit says otherwise",
               (unsigned int)(v & VU_VRING_IDX_MASK), m->nfds);
        return -EINVAL;
    }
    return find_ring(c, m, (uint32_t)(v & VU_VRING_IDX_MASK), r);
}

/*
 * Fds first, publish second: on 0 the request process holds the fd (or knows
 * that there is none) under the number in *gen.
 */
static int hand_over(struct vu_conn *c, struct vu_msg *m, struct vu_ring *r,
                     enum ipc_type type, uint32_t *gen)
{
    struct ipc_msg msg = vu_command(type);
    struct ipc_fds fds = { .n = m->nfds };
    int ret;

    if (m->nfds)
        fds.fd[0] = m->fds[0];
    if (++r->fd_gens == 0)
        r->fd_gens = 1; /* 0 is "none" */
    msg.u.fd.ring = m->ring;
    msg.u.fd.gen = r->fd_gens;
    ret = vu_call(c, &msg, &fds);
    if (ret < 0) {
        vu_bad(m, "ring %u: the request process refuses the fd: %s", m->ring,
               strerror(-ret));
        return ret;
    }
    *gen = r->fd_gens;
    return 0;
}

/*
 * Starts a ring that has all it needs; otherwise the kick is remembered.  On
 * a started ring it swaps the fd, position and enablement stay.
 *
 * Model (tests/model/kick.pml): SET_VRING_KICK; PUBLISH_BEFORE_ACK.
 */
int on_set_vring_kick(struct vu_conn *c, struct vu_msg *m)
{
    struct vu_ring *r;
    int ret = read_fd_msg(c, m, &r);

    if (ret < 0)
        return ret;
    if (c->features_set && !(c->features & BIT_U64(VIRTIO_F_BIT_VERSION_1))) {
        vu_bad(m, "ring %u: can not start without VIRTIO_F_VERSION_1", m->ring);
        return -EPROTO;
    }
    ret = hand_over(c, m, r, IPC_RING_KICK, &r->kick_gen);
    if (ret < 0)
        return ret;
    r->poll = m->nfds == 0;
    r->kicked = true;
    if (vu_ring_started(r))
        vu_ring_publish(c, m->ring, r->bits);
    else
        vu_ring_try_start(c, m->ring);
    return 0;
}

static int set_fd(struct vu_conn *c, struct vu_msg *m, enum ipc_type type)
{
    struct vu_ring *r;
    int ret = read_fd_msg(c, m, &r);

    if (ret < 0)
        return ret;
    ret = hand_over(c, m, r, type,
                    type == IPC_RING_CALL ? &r->call_gen : &r->err_gen);
    if (ret == 0 && vu_ring_started(r))
        vu_ring_publish(c, m->ring, r->bits);
    return ret;
}

int on_set_vring_call(struct vu_conn *c, struct vu_msg *m)
{
    return set_fd(c, m, IPC_RING_CALL);
}

int on_set_vring_err(struct vu_conn *c, struct vu_msg *m)
{
    return set_fd(c, m, IPC_RING_ERR);
}

/*
 * Disabling is quiesced whether or not a reply is wanted: who disables a ring
 * expects its memory to be left alone.
 *
 * Model (tests/model/kick.pml): SET_VRING_ENABLE.
 */
int on_set_vring_enable(struct vu_conn *c, struct vu_msg *m)
{
    struct vu_vring_state s;
    struct vu_ring *r;
    uint32_t bits;
    int ret = read_state(c, m, &s, &r);

    if (ret < 0)
        return ret;
    if (s.num > 1) {
        vu_bad(m, "ring %u: %u is neither 0 nor 1", s.index, s.num);
        return -EINVAL;
    }
    r->enable_told = true;
    bits = r->bits & ~(uint32_t)VRING_CFG_ENABLED;
    if (s.num)
        bits |= VRING_CFG_ENABLED;
    if (bits != r->bits)
        vu_ring_publish(c, s.index, bits);
    return 0;
}
