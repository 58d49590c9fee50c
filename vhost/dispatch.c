/* SPDX-License-Identifier: BSD-3-Clause */
#include "vhost/dispatch.h"

#include <errno.h>
#include <string.h>

#include "vhost/conn_i.h"
#include "virtiofsd/base/log.h"
#include "virtiofsd/base/probes.h"

/* What a failure can still be told with. */
enum vu_reply {
    VU_R_ACK, /* a u64, when NEED_REPLY asks for it */
    VU_R_OWN, /* a reply of its own, which has no room for an error */
};

#define NO_PF (-1)

static const struct vu_op {
    const char *name;  /* section title in vhost-user */
    uint16_t min, max; /* payload, bytes */
    uint8_t fds_min, fds_max;
    uint8_t states;          /* mask of enum vu_state that may send it */
    int8_t pf;               /* protocol feature it needs, or NO_PF */
    enum vu_quiesce quiesce; /* which rings acknowledge before the answer */
    enum vu_reply reply;
    int (*on)(struct vu_conn *c, struct vu_msg *m);
    int (*answer)(struct vu_conn *c, struct vu_msg *m);
} vu_ops[VHOST_USER_END] = {
/* clang-format off */
/* Shapes: payload at least and at most, fds at least and at most. */
#define S_NONE   0, 0, 0, 0
#define S_U64    8, 8, 0, 0
#define S_STATE  8, 8, 0, 0     /* vring state description */
#define S_ADDR   40, 40, 0, 0   /* vring address description */
#define S_RINGFD 8, 8, 0, 1     /* ring index, and its eventfd or none */
#define S_FD     0, 0, 1, 1
#define S_OPTFD  0, 8, 0, 1
#define S_TABLE  8, 264, 0, 8   /* memory regions description */
#define S_REGION 40, 40, 1, 1   /* single memory region description */
#define S_REGOLD 40, 40, 0, 1   /* the same; QEMU adds an fd it should not */
#define S_LOG    16, 16, 1, 1   /* log description */
#define S_CONFIG 12, 268, 0, 0  /* virtio device config space */
/* Protocol features a message needs. */
#define PF_NO   NO_PF
#define PF_LOG  VU_PF_LOG_SHMFD
#define PF_CONF VU_PF_CONFIG
#define PF_SLOT VU_PF_CONFIGURE_MEM_SLOTS
#define PF_STAT VU_PF_STATUS
/* Handlers: tell from our own memory; act and be acknowledged; act and tell,
 * a failure being told with an acknowledgement or not at all. */
#define TELL(h)     VU_R_OWN, NULL, answer_##h
#define ACT(h)      VU_R_ACK, on_##h, NULL
#define EITHER(h)   VU_R_ACK, on_##h, answer_##h
#define BOTH(h)     VU_R_OWN, on_##h, answer_##h
#define OP(n, shape, st, pf, q, ...) \
    [VHOST_USER_##n] = { #n, S_##shape, VU_BY_##st, PF_##pf, VU_Q_##q, \
                         __VA_ARGS__ }
/* Known and not supported; its shape is not looked at. */
#define NOT(n, r) \
    [VHOST_USER_##n] = { #n, S_NONE, 0, NO_PF, VU_Q_NONE, VU_R_##r, NULL, NULL }

    /*                        shape   by     needs quiet handlers */
    NOT(NONE,                  ACK),
    OP(GET_FEATURES,          NONE,   ANY,   NO,   NONE, TELL(features)),
    OP(SET_FEATURES,          U64,    OWNED, NO,   ALL,  ACT(set_features)),
    OP(SET_OWNER,             NONE,   NEW,   NO,   NONE, ACT(set_owner)),
    OP(RESET_OWNER,           NONE,   OWNED, NO,   ALL,  ACT(reset_owner)),
    OP(SET_MEM_TABLE,         TABLE,  OWNED, NO,   ALL,  ACT(set_mem_table)),
    OP(SET_LOG_BASE,          LOG,    OWNED, LOG,  ALL,  EITHER(set_log_base)),
    OP(SET_LOG_FD,            OPTFD,  OWNED, NO,   NONE, ACT(set_log_fd)),
    OP(SET_VRING_NUM,         STATE,  OWNED, NO,   RING, ACT(set_vring_num)),
    OP(SET_VRING_ADDR,        ADDR,   OWNED, NO,   RING, ACT(set_vring_addr)),
    OP(SET_VRING_BASE,        STATE,  OWNED, NO,   RING, ACT(set_vring_base)),
    OP(GET_VRING_BASE,        STATE,  OWNED, NO,   RING, BOTH(get_vring_base)),
    OP(SET_VRING_KICK,        RINGFD, OWNED, NO,   NONE, ACT(set_vring_kick)),
    OP(SET_VRING_CALL,        RINGFD, OWNED, NO,   NONE, ACT(set_vring_call)),
    OP(SET_VRING_ERR,         RINGFD, OWNED, NO,   NONE, ACT(set_vring_err)),
    OP(GET_PROTOCOL_FEATURES, NONE,   ANY,   NO,   NONE, TELL(protocol)),
    OP(SET_PROTOCOL_FEATURES, U64,    ANY,   NO,   NONE, ACT(set_protocol)),
    OP(GET_QUEUE_NUM,         NONE,   ANY,   NO,   NONE, TELL(queue_num)),
    OP(SET_VRING_ENABLE,      STATE,  OWNED, NO,   RING, ACT(set_vring_enable)),
    NOT(SEND_RARP,             ACK),
    NOT(NET_SET_MTU,           ACK),
    OP(SET_BACKEND_REQ_FD,    FD,     ANY,   NO,   NONE, ACT(set_backend_fd)),
    NOT(IOTLB_MSG,             ACK),
    NOT(SET_VRING_ENDIAN,      ACK),
    OP(GET_CONFIG,            CONFIG, OWNED, CONF, NONE, TELL(config)),
    OP(SET_CONFIG,            CONFIG, OWNED, CONF, NONE, ACT(set_config)),
    NOT(CREATE_CRYPTO_SESSION, OWN),
    NOT(CLOSE_CRYPTO_SESSION,  ACK),
    NOT(POSTCOPY_ADVISE,       OWN),
    NOT(POSTCOPY_LISTEN,       ACK),
    NOT(POSTCOPY_END,          OWN),
    NOT(GET_INFLIGHT_FD,       OWN),
    NOT(SET_INFLIGHT_FD,       ACK),
    NOT(GPU_SET_SOCKET,        ACK),
    OP(RESET_DEVICE,          NONE,   OWNED, NO,   ALL,  ACT(reset_device)),
    NOT(VRING_KICK,            ACK),
    OP(GET_MAX_MEM_SLOTS,     NONE,   ANY,   NO,   NONE, TELL(max_mem_slots)),
    OP(ADD_MEM_REG,           REGION, OWNED, SLOT, ALL,  ACT(add_mem_reg)),
    OP(REM_MEM_REG,           REGOLD, OWNED, SLOT, ALL,  ACT(rem_mem_reg)),
    OP(SET_STATUS,            U64,    OWNED, STAT, ALL,  ACT(set_status)),
    OP(GET_STATUS,            NONE,   OWNED, STAT, NONE, TELL(status)),
    NOT(GET_SHARED_OBJECT,     OWN),
    NOT(SET_DEVICE_STATE_FD,   OWN),
    NOT(CHECK_DEVICE_STATE,    OWN),
    NOT(GET_SHMEM_CONFIG,      OWN),
#undef OP
#undef NOT
    /* clang-format on */
};

static const struct vu_op unknown = { .name = "unknown request" };

static const struct vu_op *op_of(uint32_t request)
{
    if (request >= ARRAY_SIZE(vu_ops) || !vu_ops[request].name)
        return &unknown;
    return &vu_ops[request];
}

const char *vu_request_name(uint32_t request)
{
    return op_of(request)->name;
}

static bool supported(const struct vu_op *op)
{
    return op->on || op->answer;
}

/* A message of the wrong shape may have been meant as anything: what follows
 * on the socket can not be trusted either. */
static int check_shape(const struct vu_op *op, const struct vu_msg *m)
{
    if (!supported(op))
        return 0;
    if (m->hdr.size < op->min || m->hdr.size > op->max) {
        vu_bad(m, "%u bytes of payload, %u to %u expected", m->hdr.size,
               op->min, op->max);
        return -EMSGSIZE;
    }
    if (m->nfds < op->fds_min || m->nfds > op->fds_max) {
        vu_bad(m, "%d fds, %u to %u expected", m->nfds, op->fds_min,
               op->fds_max);
        return -EBADMSG;
    }
    return 0;
}

static int check_permitted(const struct vu_conn *c, const struct vu_op *op,
                           const struct vu_msg *m)
{
    if (!supported(op)) {
        vu_bad(m, "not supported (request %u)", m->hdr.request);
        return -EOPNOTSUPP;
    }
    if (!(c->state & op->states)) {
        vu_bad(m, "not permitted %s SET_OWNER",
               c->state == VU_NEW ? "before" : "after");
        return -EPROTO;
    }
    if (op->pf != NO_PF && !(c->protocol_features & BIT_U64(op->pf))) {
        vu_bad(m, "its protocol feature (bit %d) was not negotiated", op->pf);
        return -EPROTO;
    }
    return 0;
}

/* Model (tests/model/kick.pml): answer; REPLY_BEFORE_PUBLISH,
 * REPLY_BEFORE_SYNC. */
static int finish(struct vu_conn *c, const struct vu_op *op, struct vu_msg *m,
                  int ret)
{
    /* Looked at only now: a front-end may ask for an acknowledgement in the
     * very message that negotiates them, and then waits for it. */
    bool ack = (m->hdr.flags & VU_FLAG_NEED_REPLY) && vu_pf(c, VU_PF_REPLY_ACK);

    if (c->dead)
        return -EPIPE;
    if (ret < 0 && (!ack || op->reply == VU_R_OWN))
        return ret;
    if (ret < 0 || !op->answer) {
        if (!ack)
            return 0;
        vu_reply_u64(m, ret < 0);
    }
    ret = wire_reply(c->fd, m->hdr.request, m->reply, m->reply_size);
    if (ret < 0)
        log_err("%s: no reply could be sent: %s", m->name, strerror(-ret));
    return ret;
}

int vu_dispatch(struct vu_conn *c, struct vu_msg *m)
{
    const struct vu_op *op = op_of(m->hdr.request);
    int ret;

    m->name = op->name;
    m->ring = IPC_ALL_RINGS;
    m->reply_size = 0;
    PROBE2(msg_in, m->hdr.request, m->hdr.size);
    log_debug("%s: %u bytes, %d fds%s", m->name, m->hdr.size, m->nfds,
              m->hdr.flags & VU_FLAG_NEED_REPLY ? ", wants a reply" : "");
    ret = check_shape(op, m);
    if (ret < 0)
        return ret;
    ret = check_permitted(c, op, m);
    if (ret == 0 && op->on)
        ret = op->on(c, m);
    if (ret == 0)
        ret = vu_quiesce(c, op->quiesce, m->ring);
    if (ret == 0 && op->answer)
        ret = op->answer(c, m);
    return finish(c, op, m, ret);
}
