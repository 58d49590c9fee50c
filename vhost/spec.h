/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_VHOST_SPEC_H
#define VIRTIOFSD_VHOST_SPEC_H

/*
 * Numbers and layouts of the vhost-user protocol, as its specification names
 * them.  All numbers on the socket are in the machine's own byte order; only
 * the device's configuration space is little-endian always.
 * Spec: vhost-user "Message Specification", "Front-end message types".
 */

#include <stdint.h>

enum vu_request {
    VHOST_USER_NONE = 0,
    VHOST_USER_GET_FEATURES = 1,
    VHOST_USER_SET_FEATURES = 2,
    VHOST_USER_SET_OWNER = 3,
    VHOST_USER_RESET_OWNER = 4,
    VHOST_USER_SET_MEM_TABLE = 5,
    VHOST_USER_SET_LOG_BASE = 6,
    VHOST_USER_SET_LOG_FD = 7,
    VHOST_USER_SET_VRING_NUM = 8,
    VHOST_USER_SET_VRING_ADDR = 9,
    VHOST_USER_SET_VRING_BASE = 10,
    VHOST_USER_GET_VRING_BASE = 11,
    VHOST_USER_SET_VRING_KICK = 12,
    VHOST_USER_SET_VRING_CALL = 13,
    VHOST_USER_SET_VRING_ERR = 14,
    VHOST_USER_GET_PROTOCOL_FEATURES = 15,
    VHOST_USER_SET_PROTOCOL_FEATURES = 16,
    VHOST_USER_GET_QUEUE_NUM = 17,
    VHOST_USER_SET_VRING_ENABLE = 18,
    VHOST_USER_SEND_RARP = 19,
    VHOST_USER_NET_SET_MTU = 20,
    VHOST_USER_SET_BACKEND_REQ_FD = 21,
    VHOST_USER_IOTLB_MSG = 22,
    VHOST_USER_SET_VRING_ENDIAN = 23,
    VHOST_USER_GET_CONFIG = 24,
    VHOST_USER_SET_CONFIG = 25,
    VHOST_USER_CREATE_CRYPTO_SESSION = 26,
    VHOST_USER_CLOSE_CRYPTO_SESSION = 27,
    VHOST_USER_POSTCOPY_ADVISE = 28,
    VHOST_USER_POSTCOPY_LISTEN = 29,
    VHOST_USER_POSTCOPY_END = 30,
    VHOST_USER_GET_INFLIGHT_FD = 31,
    VHOST_USER_SET_INFLIGHT_FD = 32,
    VHOST_USER_GPU_SET_SOCKET = 33,
    VHOST_USER_RESET_DEVICE = 34,
    VHOST_USER_VRING_KICK = 35,
    VHOST_USER_GET_MAX_MEM_SLOTS = 36,
    VHOST_USER_ADD_MEM_REG = 37,
    VHOST_USER_REM_MEM_REG = 38,
    VHOST_USER_SET_STATUS = 39,
    VHOST_USER_GET_STATUS = 40,
    VHOST_USER_GET_SHARED_OBJECT = 41,
    VHOST_USER_SET_DEVICE_STATE_FD = 42,
    VHOST_USER_CHECK_DEVICE_STATE = 43,
    VHOST_USER_GET_SHMEM_CONFIG = 44,
    VHOST_USER_END
};

#define BIT_U64(n) (UINT64_C(1) << (n))

/* Feature bits: virtio's own, and the two vhost puts among them. */
#define VIRTIO_F_BIT_NOTIFY_ON_EMPTY 24
#define VHOST_F_BIT_LOG_ALL          26
#define VIRTIO_F_BIT_INDIRECT_DESC   28
#define VIRTIO_F_BIT_EVENT_IDX       29
#define VHOST_USER_F_BIT_PROTOCOL    30
#define VIRTIO_F_BIT_VERSION_1       32

enum vu_protocol_feature {
    VU_PF_MQ = 0,
    VU_PF_LOG_SHMFD = 1,
    VU_PF_REPLY_ACK = 3,
    VU_PF_BACKEND_REQ = 5,
    VU_PF_CONFIG = 9,
    VU_PF_RESET_DEVICE = 13,
    VU_PF_CONFIGURE_MEM_SLOTS = 15,
    VU_PF_STATUS = 16,
};

/* Header flags. */
#define VU_FLAG_VERSION_MASK 0x3U
#define VU_FLAG_VERSION      0x1U
#define VU_FLAG_REPLY        0x4U
#define VU_FLAG_NEED_REPLY   0x8U
#define VU_FLAG_KNOWN        0xfU

/* SET_VRING_KICK/CALL/ERR: ring index and "no fd comes with this". */
#define VU_VRING_IDX_MASK 0xffU
#define VU_VRING_NOFD     0x100U

/* SET_VRING_ADDR flags. */
#define VU_VRING_F_LOG 0x1U

#define VU_MAX_FDS         8 /* in one message */
#define VU_MAX_REGIONS     8 /* in SET_MEM_TABLE */
#define VU_CONFIG_MAX_SIZE 256

/* Spec: virtio "Device Status Field". */
#define VIRTIO_STATUS_FEATURES_OK 0x08U
#define VIRTIO_STATUS_NEEDS_RESET 0x40U

struct vu_hdr {
    uint32_t request;
    uint32_t flags;
    uint32_t size; /* of the payload, bytes */
};

struct vu_vring_state {
    uint32_t index;
    uint32_t num;
};

struct vu_vring_addr {
    uint32_t index;
    uint32_t flags;
    uint64_t desc, used, avail; /* front-end addresses */
    uint64_t log;               /* guest-physical */
};

struct vu_mem_region {
    uint64_t gpa, size, uva, mmap_offset;
};

struct vu_mem_table {
    uint32_t n;
    uint32_t pad;
    struct vu_mem_region r[VU_MAX_REGIONS];
};

struct vu_mem_reg {
    uint64_t pad;
    struct vu_mem_region r;
};

struct vu_log {
    uint64_t size, offset;
};

struct vu_config_hdr {
    uint32_t offset;
    uint32_t size;
    uint32_t flags;
};

/* Spec: virtio "File System Device", "Device configuration layout". */
struct vu_fs_config {
    uint8_t tag[36]; /* UTF-8, padded with NULs, not ended by one */
    uint8_t num_request_queues[4]; /* le32 */
    uint8_t notify_buf_size[4];    /* le32 */
};

#endif
