/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_TESTS_LIB_FRONTEND_H
#define VIRTIOFSD_TESTS_LIB_FRONTEND_H

/*
 * A vhost-user front-end: every message, also such as no front-end should
 * send, and the sequences real ones use.  The numbers are written down here
 * a second time on purpose: a test that took them from the product would
 * follow its mistakes.
 *
 * Spec: vhost-user, "Front-end message types", "Protocol features".
 *
 * All calls return 0 or -errno: -ECONNRESET when the back-end has closed the
 * connection, -ETIMEDOUT after the deadline, -EBADMSG for a reply of a wrong
 * shape, -EREMOTEIO for an acknowledgement that says no.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/lib/guest.h"

enum fe_request {
    FE_GET_FEATURES = 1,
    FE_SET_FEATURES = 2,
    FE_SET_OWNER = 3,
    FE_RESET_OWNER = 4,
    FE_SET_MEM_TABLE = 5,
    FE_SET_LOG_BASE = 6,
    FE_SET_LOG_FD = 7,
    FE_SET_VRING_NUM = 8,
    FE_SET_VRING_ADDR = 9,
    FE_SET_VRING_BASE = 10,
    FE_GET_VRING_BASE = 11,
    FE_SET_VRING_KICK = 12,
    FE_SET_VRING_CALL = 13,
    FE_SET_VRING_ERR = 14,
    FE_GET_PROTOCOL_FEATURES = 15,
    FE_SET_PROTOCOL_FEATURES = 16,
    FE_GET_QUEUE_NUM = 17,
    FE_SET_VRING_ENABLE = 18,
    FE_SEND_RARP = 19,
    FE_NET_SET_MTU = 20,
    FE_SET_BACKEND_REQ_FD = 21,
    FE_IOTLB_MSG = 22,
    FE_SET_VRING_ENDIAN = 23,
    FE_GET_CONFIG = 24,
    FE_SET_CONFIG = 25,
    FE_GET_INFLIGHT_FD = 31,
    FE_SET_INFLIGHT_FD = 32,
    FE_RESET_DEVICE = 34,
    FE_VRING_KICK = 35,
    FE_GET_MAX_MEM_SLOTS = 36,
    FE_ADD_MEM_REG = 37,
    FE_REM_MEM_REG = 38,
    FE_SET_STATUS = 39,
    FE_GET_STATUS = 40,
    FE_END = 50, /* beyond all that are known */
};

#define FE_VERSION     0x1u
#define FE_REPLY       0x4u
#define FE_NEED_REPLY  0x8u
#define FE_VRING_NOFD  0x100u
#define FE_PAYLOAD_MAX 4096
#define FE_FDS_MAX     16

/* Protocol features, bit numbers. */
#define FE_PF_MQ           0
#define FE_PF_LOG_SHMFD    1
#define FE_PF_REPLY_ACK    3
#define FE_PF_BACKEND_REQ  5
#define FE_PF_CONFIG       9
#define FE_PF_INFLIGHT     12
#define FE_PF_RESET_DEVICE 13
#define FE_PF_INBAND       14
#define FE_PF_MEM_SLOTS    15
#define FE_PF_STATUS       16

/* Device features, bit numbers. */
#define FE_F_NOTIFY_ON_EMPTY   24
#define FE_F_LOG_ALL           26
#define FE_F_INDIRECT          28
#define FE_F_EVENT_IDX         29
#define FE_F_PROTOCOL_FEATURES 30
#define FE_F_VERSION_1         32
#define BIT64(n)               ((uint64_t)1 << (n))

struct fe_hdr {
    uint32_t request, flags, size;
};

struct fe_region {
    uint64_t gpa, size, uva, offset;
};

struct fe_state {
    uint32_t index, num;
};

struct fe_addr {
    uint32_t index, flags;
    uint64_t desc, used, avail, log;
};

struct fe_config {
    uint32_t offset, size, flags;
    uint8_t data[256];
};

struct fe_log {
    uint64_t size, offset;
};

struct fe_msg {
    struct fe_hdr h;
    union {
        uint64_t u64;
        struct fe_state state;
        struct fe_config config;
        uint8_t bytes[FE_PAYLOAD_MAX];
    } p;
    int nfds;
    int fds[FE_FDS_MAX];
};

/**
 * struct frontend - one connection.
 * @features, @proto: as offered by the back-end.
 * @acked, @proto_acked: as we have chosen.
 * @ack_all: set NEED_REPLY on every message that has no reply of its own.
 */
struct frontend {
    int fd;
    uint64_t features, proto;
    uint64_t acked, proto_acked;
    bool ack_all;
};

/* Return: 0 or -errno of connect(2). */
int fe_connect(struct frontend *fe, const char *path);
void fe_close(struct frontend *fe);

/* Bytes and fds as they are.  @fds stay the caller's. */
int fe_send_raw(struct frontend *fe, const void *buf, size_t len,
                const int *fds, int nfds);
/* One message with a right header; @flags beside the version. */
int fe_send(struct frontend *fe, uint32_t request, uint32_t flags,
            const void *payload, size_t len, const int *fds, int nfds);
/* The next message from the back-end; the caller closes its fds. */
int fe_recv(struct frontend *fe, struct fe_msg *m);
/* Wait for the end of the connection.  Return: 0 when it has come. */
int fe_wait_closed(struct frontend *fe);

/* Send a message that has no reply of its own; wait for the acknowledgement
 * when ack_all is set or @ack says so. */
int fe_set(struct frontend *fe, uint32_t request, const void *payload,
           size_t len, const int *fds, int nfds, bool ack);
int fe_set_u64(struct frontend *fe, uint32_t request, uint64_t v);
int fe_set_state(struct frontend *fe, uint32_t request, uint32_t index,
                 uint32_t num);
/* SET_VRING_KICK, CALL, ERR: @fd -1 is the no-fd bit. */
int fe_set_fd(struct frontend *fe, uint32_t request, uint32_t index, int fd);
int fe_get_u64(struct frontend *fe, uint32_t request, uint64_t *v);
/* A message with a reply of its own. */
int fe_call(struct frontend *fe, uint32_t request, const void *payload,
            size_t len, struct fe_msg *reply);
int fe_get_base(struct frontend *fe, uint32_t index, uint32_t *base);
/* Return: bytes in the reply (0: the back-end says no), or -errno. */
int fe_get_config(struct frontend *fe, uint32_t offset, uint32_t size,
                  void *out);

/**
 * fe_negotiate() - all up to and with SET_FEATURES, in QEMU's order.
 * @features, @proto: what to choose among what is offered; without
 *         PROTOCOL_FEATURES among @features nothing of the kind is sent.
 * @nrings: rings that get call and err fds on the way.
 */
int fe_negotiate(struct frontend *fe, uint64_t features, uint64_t proto,
                 struct guest_queue *q, unsigned int nrings);
/* Tell of all memory: ADD_MEM_REG where negotiated, else SET_MEM_TABLE. */
int fe_share_memory(struct frontend *fe, const struct guest_mem *m);
int fe_mem_table(struct frontend *fe, const struct guest_mem *m);
int fe_add_region(struct frontend *fe, const struct guest_region *r);
int fe_remove_region(struct frontend *fe, const struct guest_region *r);
/* NUM, BASE, ADDR, KICK. */
int fe_ring_start(struct frontend *fe, struct guest_queue *q, uint32_t base);
int fe_ring_addr(struct frontend *fe, struct guest_queue *q, uint32_t flags,
                 uint64_t log);
int fe_ring_enable(struct frontend *fe, struct guest_queue *q, bool on);
/* ENABLE 0 (where negotiated) and GET_VRING_BASE. */
int fe_ring_stop(struct frontend *fe, struct guest_queue *q, uint32_t *base);

#endif
