/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The device as the front-end sees it: configuration space, status, reset,
 * dirty log, messages that are not supported, and how a connection ends.
 */
#include "tests/unit/vu_fake.h"

#define BOTH (VRING_CFG_STARTED | VRING_CFG_ENABLED)

static struct fake f;

static uint64_t ask(uint32_t request)
{
    return fe_ask(&f, request, NEED_REPLY, NULL, 0, 0);
}

struct config {
    struct vu_config_hdr h;
    uint8_t b[VU_CONFIG_MAX_SIZE];
};

static int get_config(struct config *c, uint32_t offset, uint32_t size)
{
    memset(c, 0xee, sizeof(*c));
    c->h = (struct vu_config_hdr){ .offset = offset, .size = size };
    fe_send(&f, VHOST_USER_GET_CONFIG, 0, c,
            sizeof(c->h) + MIN(size, (uint32_t)VU_CONFIG_MAX_SIZE), 0);
    return fe_recv(&f, VHOST_USER_GET_CONFIG, c, sizeof(*c));
}

static void get_config_tells_tag_and_queues_in_little_endian(void)
{
    static const uint8_t queues[8] = { 4, 0, 0, 0, 0, 0, 0, 0 };
    struct config c;

    fake_open(&f, "myfs");
    fe_handshake(&f);
    CHECK_EQ(get_config(&c, 0, 44), 12 + 44, "");
    CHECK_MEM(c.b, "myfs\0\0\0\0", 8, "the tag, padded with zeros");
    CHECK_MEM(c.b + 36, queues, 8, "queues, and no notification buffer");
    CHECK_EQ(get_config(&c, 36, 4), 16, "");
    CHECK_EQ(c.h.offset, 36, "echoed");
    CHECK_MEM(c.b, queues, 4, "a part of it");
    CHECK_EQ(get_config(&c, 0, 256), 12 + 256, "room of a later layout");
    CHECK_EQ(c.b[255], 0, "reads as zero");
    CHECK_EQ(get_config(&c, 200, 57), 0, "past the end: empty is an error");
    CHECK_EQ(get_config(&c, UINT32_MAX, 4), 0, "wraps");
    CHECK_EQ(get_config(&c, 0, 0), 0, "nothing asked");
    CHECK_EQ(get_config(&c, 0, UINT32_MAX), 0, "4 GiB");
    c = (struct config){ .h = { 0, 4, 0 } };
    CHECK_EQ(fe_ask(&f, VHOST_USER_SET_CONFIG, NEED_REPLY, &c, 16, 0), 1,
             "read-only");
    fake_close(&f, 0);
}

static void a_tag_of_36_bytes_is_not_ended_by_a_zero(void)
{
    struct config c;

    fake_open(&f, "abcdefghijklmnopqrstuvwxyz0123456789");
    fe_handshake(&f);
    CHECK_EQ(get_config(&c, 0, 40), 12 + 40, "");
    CHECK_EQ(c.b[35], '9', "");
    CHECK_EQ(c.b[36], 4, "the queues follow at once");
    fake_close(&f, 0);
}

static void config_without_a_tag_ends_the_connection(void)
{
    struct config c;

    fake_open(&f, "");
    fe_handshake(&f);
    CHECK_EQ(get_config(&c, 0, 44), -1, "it was never offered");
    fake_close(&f, -EPROTO);
}

static void features_ok_reads_back_only_when_accepted(void)
{
    fake_open(&f, "");
    fe_handshake(&f);
    CHECK_EQ(fe_u64_ack(&f, VHOST_USER_SET_STATUS, 0x0b, 0), 0, "");
    CHECK_EQ(fe_get(&f, VHOST_USER_GET_STATUS), 0x03, "without VERSION_1");
    fe_features(&f);
    CHECK_EQ(fe_u64_ack(&f, VHOST_USER_SET_STATUS, 0x0b, 0), 0, "");
    CHECK_EQ(fe_get(&f, VHOST_USER_GET_STATUS), 0x0b, "with it");
    CHECK_EQ(fe_u64_ack(&f, VHOST_USER_SET_FEATURES,
                        FEATURES_GOOD & ~BIT_U64(VIRTIO_F_BIT_EVENT_IDX), 0),
             0, "QEMU never takes FEATURES_OK back; another driver came");
    CHECK_EQ(fe_get(&f, VHOST_USER_GET_STATUS), 0x0b, "still acceptable");
    CHECK_EQ(fe_u64_ack(&f, VHOST_USER_SET_FEATURES, 0, 0), 0, "");
    CHECK_EQ(fe_get(&f, VHOST_USER_GET_STATUS), 0x03, "no longer");
    CHECK_EQ(fe_u64_ack(&f, VHOST_USER_SET_STATUS, 0x100, 0), 1, "nine bits");
    fake_close(&f, 0);
}

static void status_0_stops_rings_but_keeps_positions_and_files(void)
{
    fake_open(&f, "");
    fe_up(&f, 2);
    CHECK_EQ(fe_u64_ack(&f, VHOST_USER_SET_STATUS, 0x0f, 0), 0, "");
    CHECK_EQ(fe_u64_ack(&f, VHOST_USER_SET_STATUS, 0, 0), 0, "");
    CHECK_EQ(fe_get(&f, VHOST_USER_GET_STATUS), 0, "");
    CHECK_EQ(fe_slot(&f, 0).flags & VRING_CFG_STARTED, 0, "");
    CHECK_EQ(fe_slot(&f, 1).flags & VRING_CFG_STARTED, 0, "");
    CHECK_EQ(fe_base(&f, 1), 1234, "QEMU 7.2 asks only after this");
    CHECK_EQ(fake_count(&f, IPC_RESET, NULL), 0,
             "a paused guest keeps its open files");
    fake_close(&f, 0);
}

static void reset_forgets_the_rings_and_keeps_the_memory(void)
{
    struct diary d;
    int syncs;

    fake_open(&f, "");
    fe_up(&f, 2);
    fe_u64(&f, VHOST_USER_SET_STATUS, 0x0f, 0);
    syncs = fake_count(&f, IPC_SYNC, NULL);
    CHECK_EQ(ask(VHOST_USER_RESET_DEVICE), 0, "");
    CHECK_EQ(fake_count(&f, IPC_SYNC, NULL), syncs + 2, "both were quiet");
    CHECK_EQ(fake_count(&f, IPC_RESET, &d), 1, "before the reset");
    CHECK_EQ(d.slot.flags & VRING_CFG_STARTED, 0, "and stopped");
    CHECK_EQ(fe_slot(&f, 0).flags, 0, "neither started nor enabled");
    CHECK_EQ(fe_slot(&f, 0).call_gen, 0, "no fds");
    CHECK_EQ(fe_slot(&f, 0).reset_gen, 1, "");
    CHECK_EQ(fe_get(&f, VHOST_USER_GET_STATUS), 0, "");
    CHECK_EQ(fe_base(&f, 0), 0, "position forgotten");

    fe_features(&f);
    fe_ring(&f, 0);
    CHECK_EQ(fe_slot(&f, 0).flags, VRING_CFG_STARTED, "memory is still there");
    CHECK_EQ(fe_slot(&f, 0).start_gen, 2, "numbers are never used twice");
    fake_close(&f, 0);
}

static void reset_owner_disables_rings_and_no_more(void)
{
    int syncs;

    fake_open(&f, "");
    fe_up(&f, 2);
    syncs = fake_count(&f, IPC_SYNC, NULL);
    CHECK_EQ(ask(VHOST_USER_RESET_OWNER), 0, "");
    CHECK_EQ(fe_slot(&f, 0).flags, VRING_CFG_STARTED, "");
    CHECK_EQ(fe_slot(&f, 1).flags, VRING_CFG_STARTED, "");
    CHECK_EQ(fake_count(&f, IPC_SYNC, NULL), syncs + 1, "quiet");
    CHECK_EQ(fake_count(&f, IPC_RESET, NULL), 0, "files stay open");
    CHECK_EQ(fe_state_ack(&f, VHOST_USER_SET_VRING_ENABLE, 1, 1), 0, "");
    CHECK_EQ(fe_slot(&f, 1).flags, BOTH, "goes on where it was");
    CHECK_EQ(fe_slot(&f, 1).start_gen, 1, "");
    /* Cloud Hypervisor sets everything up anew. */
    fe_features(&f);
    fe_ring(&f, 0);
    CHECK_EQ(fe_slot(&f, 0).start_gen, 2, "");
    fake_close(&f, 0);
}

static void a_dirty_log_is_handed_over_then_named_then_answered(void)
{
    struct vu_log log = { .size = 0x1000, .offset = 0 };
    struct diary d;
    int syncs;

    fake_open(&f, "");
    fe_up(&f, 1);
    CHECK_EQ(fe_ask(&f, VHOST_USER_SET_LOG_BASE, 0, &log, sizeof(log), 1), 0,
             "a reply of its own");
    CHECK_EQ(fake_count(&f, IPC_LOG, &d), 1, "");
    CHECK_EQ(d.nfds, 1, "");
    CHECK_EQ(fe_slot(&f, 0).log_gen, 0, "not in force without LOG_ALL");
    CHECK_EQ(fe_u64_ack(&f, VHOST_USER_SET_FEATURES,
                        FEATURES_GOOD | BIT_U64(VHOST_F_BIT_LOG_ALL), 0),
             0, "");
    CHECK_EQ(fe_slot(&f, 0).log_gen, d.gen, "now it is");
    syncs = fake_count(&f, IPC_SYNC, NULL);
    CHECK_EQ(fe_addr(&f, 0, 0, VU_VRING_F_LOG), 0, "used ring too");
    CHECK_EQ(fe_slot(&f, 0).flags, BOTH | VRING_CFG_LOG, "");
    CHECK_EQ(fe_slot(&f, 0).log.v, 0x4242000, "a guest address");
    CHECK_EQ(fe_slot(&f, 0).start_gen, 1, "the ring did not stop");
    CHECK_EQ(fake_count(&f, IPC_SYNC, NULL), syncs + 1, "");
    log.offset = UINT64_MAX;
    CHECK_EQ(
        fe_ask(&f, VHOST_USER_SET_LOG_BASE, NEED_REPLY, &log, sizeof(log), 1),
        1, "wraps");
    fe_send(&f, VHOST_USER_SET_LOG_FD, 0, NULL, 0, 1);
    CHECK(fe_barrier(&f), "taken and closed");
    fake_close(&f, 0);
}

static const struct {
    const char *why;
    uint32_t request;
    size_t size;
    bool own_reply;
} unsupported[] = {
    { "IOTLB", VHOST_USER_IOTLB_MSG, 32, false },
    { "RARP", VHOST_USER_SEND_RARP, 8, false },
    { "MTU", VHOST_USER_NET_SET_MTU, 8, false },
    { "in-band kick", VHOST_USER_VRING_KICK, 8, false },
    { "endianness", VHOST_USER_SET_VRING_ENDIAN, 8, false },
    { "number 0", VHOST_USER_NONE, 0, false },
    { "a number of the future", 4711, 100, false },
    { "the largest number", UINT32_MAX, 0, false },
    { "in-flight tracking", VHOST_USER_GET_INFLIGHT_FD, 20, true },
    { "device state", VHOST_USER_SET_DEVICE_STATE_FD, 8, true },
    { "userfault", VHOST_USER_POSTCOPY_ADVISE, 0, true },
};

static void what_is_not_supported_is_refused_cleanly(void)
{
    static const char zeros[128];

    for (size_t i = 0; i < ARRAY_SIZE(unsupported); i++) {
        uint64_t want = unsupported[i].own_reply ? GONE : 1;

        fake_open(&f, "");
        fe_handshake(&f);
        CHECK_EQ(fe_ask(&f, unsupported[i].request, NEED_REPLY, zeros,
                        unsupported[i].size, 0),
                 want, unsupported[i].why);
        if (!unsupported[i].own_reply) {
            CHECK(fe_barrier(&f), unsupported[i].why);
            fe_send(&f, unsupported[i].request, 0, zeros, unsupported[i].size,
                    0);
        }
        CHECK(!fe_barrier(&f), unsupported[i].why);
        fake_close(&f, -EOPNOTSUPP);
    }
}

static const struct {
    const char *why;
    uint32_t request;
    size_t size;
    int nfds, want;
} shapes[] = {
    { "short", VHOST_USER_SET_FEATURES, 4, 0, -EMSGSIZE },
    { "long", VHOST_USER_SET_FEATURES, 16, 0, -EMSGSIZE },
    { "a payload where none is", VHOST_USER_GET_STATUS, 8, 0, -EMSGSIZE },
    { "an fd nobody wants", VHOST_USER_SET_VRING_NUM, 8, 1, -EBADMSG },
    { "no fd", VHOST_USER_ADD_MEM_REG, 40, 0, -EBADMSG },
    { "two fds", VHOST_USER_SET_VRING_KICK, 8, 2, -EBADMSG },
};

static void a_message_of_the_wrong_shape_ends_the_connection(void)
{
    static const char zeros[64];

    for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
        fake_open(&f, "");
        fe_handshake(&f);
        CHECK_EQ(fe_ask(&f, shapes[i].request, NEED_REPLY, zeros,
                        shapes[i].size, shapes[i].nfds),
                 GONE, shapes[i].why);
        fake_close(&f, shapes[i].want);
    }
}

static void need_reply_counts_only_when_negotiated(void)
{
    uint64_t v = 0;

    fake_open(&f, "");
    fe_send(&f, VHOST_USER_SET_OWNER, NEED_REPLY, NULL, 0, 0);
    CHECK(fe_barrier(&f), "the next reply is GET_FEATURES's");
    v = BIT_U64(VU_PF_REPLY_ACK);
    CHECK_EQ(fe_u64_ack(&f, VHOST_USER_SET_PROTOCOL_FEATURES, v, 0), 0,
             "the message that negotiates it may ask already");
    CHECK_EQ(fe_u64_ack(&f, VHOST_USER_SET_FEATURES, FEATURES_GOOD, 0), 0, "");
    fake_close(&f, 0);
}

static void the_request_process_dying_ends_the_run(void)
{
    fake_open(&f, "");
    fe_up(&f, 1);
    pthread_mutex_lock(&f.lock);
    f.die_at = IPC_SYNC;
    pthread_mutex_unlock(&f.lock);
    CHECK_EQ(fe_base(&f, 0), UINT32_MAX, "within a wait for it");
    fake_close(&f, -EPIPE);

    fake_open(&f, "");
    fe_handshake(&f);
    shutdown(f.cmd.fd, SHUT_RDWR);
    CHECK_EQ(recv(f.fe, &(char){ 0 }, 1, 0), 0, "while nothing happens");
    fake_close(&f, -EPIPE);
}

static void a_sync_that_fails_is_never_answered_as_done(void)
{
    fake_open(&f, "");
    fe_up(&f, 1);
    fake_set(&f, IPC_SYNC, -EIO);
    CHECK_EQ(fe_state_ack(&f, VHOST_USER_SET_VRING_ENABLE, 0, 0), GONE, "");
    fake_close(&f, -EPIPE);
}

static void events_are_answered_within_a_wait_and_a_failure_ends_the_run(void)
{
    fake_open(&f, "");
    fe_up(&f, 1);
    pthread_mutex_lock(&f.lock);
    f.event_before = IPC_SYNC;
    pthread_mutex_unlock(&f.lock);
    CHECK_EQ(fe_state_ack(&f, VHOST_USER_SET_VRING_ENABLE, 0, 0), 0,
             "the message at work is still answered");
    CHECK_EQ(recv(f.fe, &(char){ 0 }, 1, 0), 0, "and none after it");
    fake_close(&f, -EIO);
}

static void the_supervisor_ends_the_run(void)
{
    fake_open(&f, "");
    fe_handshake(&f);
    shutdown(f.sup, SHUT_RDWR);
    CHECK_EQ(recv(f.fe, &(char){ 0 }, 1, 0), 0, "");
    fake_close(&f, 0);
}

static void a_message_in_pieces_holds_up_nothing(void)
{
    struct vu_hdr h = { VHOST_USER_SET_FEATURES, 1, 8 };

    fake_open(&f, "");
    fe_handshake(&f);
    CHECK_EQ(send(f.fe, &h, 7, 0), 7, "half a header");
    shutdown(f.sup, SHUT_RDWR);
    /* What it did not read of us may make the end a reset. */
    CHECK(recv(f.fe, &(char){ 0 }, 1, 0) <= 0, "the supervisor is heard");
    fake_close(&f, 0);
}

TAP_MAIN(TEST(get_config_tells_tag_and_queues_in_little_endian),
         TEST(a_tag_of_36_bytes_is_not_ended_by_a_zero),
         TEST(config_without_a_tag_ends_the_connection),
         TEST(features_ok_reads_back_only_when_accepted),
         TEST(status_0_stops_rings_but_keeps_positions_and_files),
         TEST(reset_forgets_the_rings_and_keeps_the_memory),
         TEST(reset_owner_disables_rings_and_no_more),
         TEST(a_dirty_log_is_handed_over_then_named_then_answered),
         TEST(what_is_not_supported_is_refused_cleanly),
         TEST(a_message_of_the_wrong_shape_ends_the_connection),
         TEST(need_reply_counts_only_when_negotiated),
         TEST(the_request_process_dying_ends_the_run),
         TEST(a_sync_that_fails_is_never_answered_as_done),
         TEST(events_are_answered_within_a_wait_and_a_failure_ends_the_run),
         TEST(the_supervisor_ends_the_run),
         TEST(a_message_in_pieces_holds_up_nothing))
