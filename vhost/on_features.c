/* SPDX-License-Identifier: BSD-3-Clause */
/* Who owns the device, and what both sides can do. */
#include <errno.h>
#include <inttypes.h>

#include "vhost/conn_i.h"

int answer_features(struct vu_conn *c, struct vu_msg *m)
{
    (void)c;
    vu_reply_u64(m, VU_FEATURES);
    return 0;
}

/*
 * While a ring runs only the migration bit may change.  FEATURES_OK does not
 * freeze them: QEMU sets that bit right after each SET_FEATURES and, for this
 * device, never clears it, also when firmware hands over to a kernel that
 * agrees to other bits.
 */
static bool features_frozen(const struct vu_conn *c)
{
    for (uint32_t i = 0; i < VRING_MAX; i++) {
        if (vu_ring_live(&c->ring[i]))
            return true;
    }
    return false;
}

/* Spec: vhost-user "Ring states": without PROTOCOL_FEATURES acknowledged all
 * rings are enabled at once; with it, each waits for SET_VRING_ENABLE. */
static uint32_t bits_by_features(const struct vu_conn *c,
                                 const struct vu_ring *r)
{
    if (!(c->features & BIT_U64(VHOST_USER_F_BIT_PROTOCOL)))
        return r->bits | VRING_CFG_ENABLED;
    if (!r->enable_told)
        return r->bits & ~(uint32_t)VRING_CFG_ENABLED;
    return r->bits;
}

/*
 * A front-end may send this more than once, and before the driver has agreed
 * to anything (even 0); whether VERSION_1 is there counts when a ring starts.
 */
int on_set_features(struct vu_conn *c, struct vu_msg *m)
{
    uint64_t features = vu_u64(m);
    uint64_t changed = features ^ c->features;

    if (features & ~VU_FEATURES) {
        vu_bad(m, "bits 0x%" PRIx64 " were not offered",
               features & ~VU_FEATURES);
        return -EINVAL;
    }
    if ((changed & ~BIT_U64(VHOST_F_BIT_LOG_ALL)) && features_frozen(c)) {
        vu_bad(m, "bits 0x%" PRIx64 " can not change now", changed);
        return -EBUSY;
    }
    c->features = features;
    c->features_set = true;
    if (!(features & BIT_U64(VIRTIO_F_BIT_VERSION_1)))
        c->status &= (uint8_t)~VIRTIO_STATUS_FEATURES_OK;
    for (uint32_t i = 0; i < VRING_MAX; i++) {
        struct vu_ring *r = &c->ring[i];
        uint32_t bits = bits_by_features(c, r);

        if (bits != r->bits || (changed && vu_ring_started(r)))
            vu_ring_publish(c, i, bits);
        vu_ring_try_start(c, i);
    }
    return 0;
}

static uint64_t protocol_features(const struct vu_conn *c)
{
    uint64_t f = BIT_U64(VU_PF_MQ) | BIT_U64(VU_PF_LOG_SHMFD) |
                 BIT_U64(VU_PF_REPLY_ACK) | BIT_U64(VU_PF_BACKEND_REQ) |
                 BIT_U64(VU_PF_RESET_DEVICE) |
                 BIT_U64(VU_PF_CONFIGURE_MEM_SLOTS) | BIT_U64(VU_PF_STATUS);

    /* QEMU 7.1 to 8.0 fail on a back-end that offers CONFIG unasked. */
    if (c->opts.tag[0])
        f |= BIT_U64(VU_PF_CONFIG);
    return f;
}

int answer_protocol(struct vu_conn *c, struct vu_msg *m)
{
    vu_reply_u64(m, protocol_features(c));
    return 0;
}

int on_set_protocol(struct vu_conn *c, struct vu_msg *m)
{
    uint64_t f = vu_u64(m);
    uint64_t unknown = f & ~protocol_features(c);

    if (unknown) {
        vu_bad(m, "bits 0x%" PRIx64 " were not offered", unknown);
        return -EINVAL;
    }
    c->protocol_features = f;
    return 0;
}

/* A second one never gets here: the state column refuses it. */
int on_set_owner(struct vu_conn *c, struct vu_msg *m)
{
    (void)m;
    c->state = VU_OWNED;
    return 0;
}

int answer_queue_num(struct vu_conn *c, struct vu_msg *m)
{
    (void)c;
    vu_reply_u64(m, VRING_MAX);
    return 0;
}

int on_set_backend_fd(struct vu_conn *c, struct vu_msg *m)
{
    struct ipc_msg msg = vu_command(IPC_BACKEND_REQ);
    struct ipc_fds fds = { .n = 1, .fd = { m->fds[0] } };
    int ret = vu_call(c, &msg, &fds);

    if (ret < 0)
        vu_bad(m, "the request process refuses it (%d)", ret);
    return ret;
}

/* The ring as it was before anyone spoke of it; what counts up goes on
 * counting, so that no number ever names two things. */
static void ring_reset(struct vu_conn *c, uint32_t idx)
{
    struct vu_ring *r = &c->ring[idx];
    bool known = r->seq != 0;

    *r = (struct vu_ring){ .bits = r->bits,
                           .start_gen = r->start_gen,
                           .fd_gens = r->fd_gens,
                           .seq = r->seq,
                           .cfg = r->cfg };
    if (known)
        vu_ring_publish(c, idx, 0);
}

/*
 * Stop everything, void the FUSE life, forget the rings.  The memory table
 * stays: QEMU goes on telling differences to it.
 *
 * Model (tests/model/kick.pml): RESET_DEVICE.
 */
int on_reset_device(struct vu_conn *c, struct vu_msg *m)
{
    struct ipc_msg msg = vu_command(IPC_RESET);
    int ret;

    vu_stop_all(c);
    ret = vu_quiesce(c, VU_Q_ALL, m->ring);
    if (ret < 0)
        return ret;
    ret = vu_call(c, &msg, NULL);
    if (ret < 0) {
        vu_bad(m, "the request process can not reset (%d)", ret);
        return ret;
    }
    c->features = 0;
    c->features_set = false;
    c->status = 0;
    c->log_gen = 0;
    c->reset_gen++;
    for (uint32_t i = 0; i < VRING_MAX; i++)
        ring_reset(c, i);
    return 0;
}

/*
 * Deprecated, and told apart from a reset by the specification: at most the
 * rings are disabled.  A front-end that means to start anew (Cloud Hypervisor)
 * sets everything up again anyway.
 */
int on_reset_owner(struct vu_conn *c, struct vu_msg *m)
{
    (void)m;
    for (uint32_t i = 0; i < VRING_MAX; i++) {
        uint32_t bits = c->ring[i].bits & ~(uint32_t)VRING_CFG_ENABLED;

        if (bits != c->ring[i].bits)
            vu_ring_publish(c, i, bits);
    }
    c->state = VU_DISOWNED;
    return 0;
}
