/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Configuration space and device status: answered from this process's own
 * memory, never relayed, so a slow file system can not delay them.
 */
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "vhost/conn_i.h"

static void build_config(const struct vu_conn *c, struct vu_fs_config *cfg)
{
    uint32_t queues = htole32(c->opts.num_request_queues);

    memset(cfg, 0, sizeof(*cfg));
    memcpy(cfg->tag, c->opts.tag, strnlen(c->opts.tag, sizeof(cfg->tag)));
    memcpy(cfg->num_request_queues, &queues, sizeof(queues));
}

/*
 * Bytes past our fields read as zero: a front-end may know a later, longer
 * layout.  An impossible span is answered with an empty payload, which is how
 * this message tells an error.
 */
int answer_config(struct vu_conn *c, struct vu_msg *m)
{
    uint8_t space[VU_CONFIG_MAX_SIZE] = { 0 };
    struct vu_fs_config cfg;
    struct vu_config_hdr h;

    memcpy(&h, m->payload, sizeof(h));
    m->reply_size = 0;
    if (h.size == 0 || h.size > VU_CONFIG_MAX_SIZE ||
        h.offset > VU_CONFIG_MAX_SIZE - h.size) {
        vu_bad(m, "%u bytes at %u", h.size, h.offset);
        return 0;
    }
    build_config(c, &cfg);
    memcpy(space, &cfg, sizeof(cfg));
    memcpy(m->reply, &h, sizeof(h));
    memcpy(m->reply + sizeof(h), space + h.offset, h.size);
    m->reply_size = sizeof(h) + h.size;
    return 0;
}

/* No field of a file-system device can be written by the driver. */
int on_set_config(struct vu_conn *c, struct vu_msg *m)
{
    (void)c;
    vu_bad(m, "the configuration space is read-only");
    return -EPERM;
}

/*
 * 0 resets what virtio calls the device: every ring is stopped.  Positions,
 * set-up and the FUSE life stay: QEMU sends this when a machine is merely
 * paused, before version 8 even ahead of GET_VRING_BASE, and the guest goes
 * on afterwards as if nothing had happened.  A guest that really starts anew
 * says so with FUSE_INIT.
 */
int on_set_status(struct vu_conn *c, struct vu_msg *m)
{
    uint64_t v = vu_u64(m);
    uint8_t sticky = c->status & VIRTIO_STATUS_NEEDS_RESET;

    if (v > UINT8_MAX) {
        vu_bad(m, "0x%" PRIx64 " is no device status", v);
        return -EINVAL;
    }
    if (v == 0) {
        vu_stop_all(c);
        c->status = 0;
        return 0;
    }
    if ((v & VIRTIO_STATUS_FEATURES_OK) &&
        !(c->features & BIT_U64(VIRTIO_F_BIT_VERSION_1))) {
        log_limited(LOG_LEVEL_WARN,
                    "%s: FEATURES_OK refused, VIRTIO_F_VERSION_1 is missing",
                    m->name);
        v &= ~(uint64_t)VIRTIO_STATUS_FEATURES_OK;
    }
    c->status = (uint8_t)(v & ~(uint64_t)VIRTIO_STATUS_NEEDS_RESET) | sticky;
    return 0;
}

int answer_status(struct vu_conn *c, struct vu_msg *m)
{
    vu_reply_u64(m, c->status);
    return 0;
}
