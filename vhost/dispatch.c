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
    const char *name;       /* section title in vhost-user */
    enum vu_reply reply;
    uint16_t min, max;      /* payload, bytes */
    uint8_t fds_min, fds_max;
    uint8_t states;         /* mask of enum vu_state that may send it */
    int8_t pf;              /* protocol feature it needs, or NO_PF */
    enum vu_quiesce quiesce; /* which rings acknowledge before the answer */
    int (*on)(struct vu_conn *c, struct vu_msg *m);
    int (*answer)(struct vu_conn *c, struct vu_msg *m);
} vu_ops[VHOST_USER_END] = {
/* A row without a handler is a message we know and do not support; its shape
 * is not looked at. */
/* clang-format off */
#define OP(n, r, ...) [VHOST_USER_##n] = { #n, VU_R_##r, __VA_ARGS__ }
#define NOT(n, r)     [VHOST_USER_##n] = { #n, VU_R_##r, 0, 0, 0, 0, 0, NO_PF, \
                                           VU_Q_NONE, NULL, NULL }
#define PF(n)  VU_PF_##n
    [VHOST_USER_NONE] = { "NONE", VU_R_ACK },
    /*                          payload fds  states     feature   quiet before reply */
    OP(GET_FEATURES,          OWN, 0, 0,   0, 0, VU_ANY,    NO_PF, VU_Q_NONE, NULL, answer_features),
    OP(SET_FEATURES,          ACK, 8, 8,   0, 0, VU_AFTER,  NO_PF, VU_Q_ALL,  on_set_features, NULL),
    OP(SET_OWNER,             ACK, 0, 0,   0, 0, VU_BEFORE, NO_PF, VU_Q_NONE, on_set_owner, NULL),
    OP(RESET_OWNER,           ACK, 0, 0,   0, 0, VU_AFTER,  NO_PF, VU_Q_ALL,  on_reset_owner, NULL),
    OP(SET_MEM_TABLE,         ACK, 8, 264, 0, 8, VU_AFTER,  NO_PF, VU_Q_ALL,  on_set_mem_table, NULL),
    OP(SET_LOG_BASE,          ACK, 16, 16, 1, 1, VU_AFTER,  PF(LOG_SHMFD), VU_Q_ALL, on_set_log_base, answer_log_base),
    OP(SET_LOG_FD,            ACK, 0, 8,   0, 1, VU_AFTER,  NO_PF, VU_Q_NONE, on_set_log_fd, NULL),
    OP(SET_VRING_NUM,         ACK, 8, 8,   0, 0, VU_AFTER,  NO_PF, VU_Q_RING, on_set_vring_num, NULL),
    OP(SET_VRING_ADDR,        ACK, 40, 40, 0, 0, VU_AFTER,  NO_PF, VU_Q_RING, on_set_vring_addr, NULL),
    OP(SET_VRING_BASE,        ACK, 8, 8,   0, 0, VU_AFTER,  NO_PF, VU_Q_RING, on_set_vring_base, NULL),
    OP(GET_VRING_BASE,        OWN, 8, 8,   0, 0, VU_AFTER,  NO_PF, VU_Q_RING, on_get_vring_base, answer_vring_base),
    OP(SET_VRING_KICK,        ACK, 8, 8,   0, 1, VU_AFTER,  NO_PF, VU_Q_NONE, on_set_vring_kick, NULL),
    OP(SET_VRING_CALL,        ACK, 8, 8,   0, 1, VU_AFTER,  NO_PF, VU_Q_NONE, on_set_vring_call, NULL),
    OP(SET_VRING_ERR,         ACK, 8, 8,   0, 1, VU_AFTER,  NO_PF, VU_Q_NONE, on_set_vring_err, NULL),
    OP(GET_PROTOCOL_FEATURES, OWN, 0, 0,   0, 0, VU_ANY,    NO_PF, VU_Q_NONE, NULL, answer_protocol_features),
    OP(SET_PROTOCOL_FEATURES, ACK, 8, 8,   0, 0, VU_ANY,    NO_PF, VU_Q_NONE, on_set_protocol_features, NULL),
    OP(GET_QUEUE_NUM,         OWN, 0, 0,   0, 0, VU_ANY,    NO_PF, VU_Q_NONE, NULL, answer_queue_num),
    OP(SET_VRING_ENABLE,      ACK, 8, 8,   0, 0, VU_AFTER,  NO_PF, VU_Q_RING, on_set_vring_enable, NULL),
    NOT(SEND_RARP,             ACK),
    NOT(NET_SET_MTU,           ACK),
    OP(SET_BACKEND_REQ_FD,    ACK, 0, 0,   1, 1, VU_ANY,    NO_PF, VU_Q_NONE, on_set_backend_req_fd, NULL),
    NOT(IOTLB_MSG,             ACK),
    NOT(SET_VRING_ENDIAN,      ACK),
    OP(GET_CONFIG,            OWN, 12, 268, 0, 0, VU_AFTER, PF(CONFIG), VU_Q_NONE, NULL, answer_config),
    OP(SET_CONFIG,            ACK, 12, 268, 0, 0, VU_AFTER, PF(CONFIG), VU_Q_NONE, on_set_config, NULL),
    NOT(CREATE_CRYPTO_SESSION, OWN),
    NOT(CLOSE_CRYPTO_SESSION,  ACK),
    NOT(POSTCOPY_ADVISE,       OWN),
    NOT(POSTCOPY_LISTEN,       ACK),
    NOT(POSTCOPY_END,          OWN),
    NOT(GET_INFLIGHT_FD,       OWN),
    NOT(SET_INFLIGHT_FD,       ACK),
    NOT(GPU_SET_SOCKET,        ACK),
    OP(RESET_DEVICE,          ACK, 0, 0,   0, 0, VU_AFTER,  NO_PF, VU_Q_ALL,  on_reset_device, NULL),
    NOT(VRING_KICK,            ACK),
    OP(GET_MAX_MEM_SLOTS,     OWN, 0, 0,   0, 0, VU_ANY,    NO_PF, VU_Q_NONE, NULL, answer_max_mem_slots),
    OP(ADD_MEM_REG,           ACK, 40, 40, 1, 1, VU_AFTER,  PF(CONFIGURE_MEM_SLOTS), VU_Q_ALL, on_add_mem_reg, NULL),
    OP(REM_MEM_REG,           ACK, 40, 40, 0, 1, VU_AFTER,  PF(CONFIGURE_MEM_SLOTS), VU_Q_ALL, on_rem_mem_reg, NULL),
    OP(SET_STATUS,            ACK, 8, 8,   0, 0, VU_AFTER,  PF(STATUS), VU_Q_ALL,  on_set_status, NULL),
    OP(GET_STATUS,            OWN, 0, 0,   0, 0, VU_AFTER,  PF(STATUS), VU_Q_NONE, NULL, answer_status),
    NOT(GET_SHARED_OBJECT,     OWN),
    NOT(SET_DEVICE_STATE_FD,   OWN),
    NOT(CHECK_DEVICE_STATE,    OWN),
    NOT(GET_SHMEM_CONFIG,      OWN),
#undef OP
#undef NOT
#undef PF
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
