/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The handlers behind real sockets: what the front-end is answered, what the
 * request process is told, and in which order.
 */
#include "vhost/dispatch.h"

#include <dirent.h>

#include "tests/unit/vu_fake.h"

#define STARTED VRING_CFG_STARTED
#define ENABLED VRING_CFG_ENABLED
#define BOTH    (VRING_CFG_STARTED | VRING_CFG_ENABLED)

static int count_fds(void)
{
    DIR *d = opendir("/proc/self/fd");
    int n = 0;

    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n;
}

static struct fake f;

/* A request without a payload, with NEED_REPLY. */
static uint64_t ask(uint32_t request)
{
    return fe_ask(&f, request, NEED_REPLY, NULL, 0, 0);
}

static void the_order_of_qemu_brings_a_ring_up(void)
{
    int before = count_fds();
    struct diary d;

    fake_open(&f, "");
    fe_handshake(&f);
    for (int again = 0; again < 3; again++) {
        fe_u64(&f, VHOST_USER_SET_VRING_CALL, 0, 1);
        fe_u64(&f, VHOST_USER_SET_VRING_ERR, 0, 1);
    }
    fe_features(&f);
    CHECK_EQ(fe_mem(&f, VHOST_USER_ADD_MEM_REG, FE_GPA, FE_UVA, FE_SIZE), 0,
             "");
    fe_ring(&f, 0);
    CHECK_EQ(fe_slot(&f, 0).flags, STARTED, "a kick starts, not yet enabled");
    CHECK_EQ(fe_state_ack(&f, VHOST_USER_SET_VRING_ENABLE, 0, 1), 0, "");
    CHECK_EQ(fe_slot(&f, 0).flags, BOTH, "");
    CHECK_EQ(fe_slot(&f, 0).start_gen, 1, "");
    CHECK_EQ(fe_slot(&f, 0).desc.v, FE_GPA, "front-end address translated");
    CHECK_EQ(fe_slot(&f, 0).used.v, FE_GPA + 0x2000, "");
    CHECK_EQ(fake_count(&f, IPC_RING_CALL, &d), 3, "each replaced the last");
    CHECK_EQ(fe_slot(&f, 0).call_gen, d.gen, "the latest is named");
    CHECK_EQ(fake_count(&f, IPC_BACKEND_REQ, &d), 1, "");
    CHECK_EQ(d.nfds, 1, "");
    fake_close(&f, 0);
    CHECK_EQ(count_fds(), before, "no fd is left behind");
}

static void the_order_of_linux_and_cloud_hypervisor_works_too(void)
{
    struct vu_mem_table t = { .n = 1, .r = { { FE_GPA, FE_SIZE, FE_UVA, 0 } } };

    fake_open(&f, "fs");
    fe_send(&f, VHOST_USER_SET_OWNER, 0, NULL, 0, 0);
    CHECK(fe_barrier(&f), "");
    fe_u64(&f, VHOST_USER_SET_PROTOCOL_FEATURES,
           BIT_U64(VU_PF_REPLY_ACK) | BIT_U64(VU_PF_CONFIG), 0);
    fe_features(&f);
    /* User Mode Linux: payload for two regions, one filled. */
    CHECK_EQ(fe_ask(&f, VHOST_USER_SET_MEM_TABLE, NEED_REPLY, &t, 72, 1), 0,
             "");
    fe_ring(&f, 1);
    CHECK_EQ(fe_slot(&f, 1).flags, STARTED, "");
    CHECK_EQ(fe_slot(&f, 1).desc.v, FE_GPA + 0x10000, "");
    /* It never asks for the base: disabled rings are just set up anew. */
    CHECK_EQ(fe_state_ack(&f, VHOST_USER_SET_VRING_ENABLE, 1, 1), 0, "");
    CHECK_EQ(fe_state_ack(&f, VHOST_USER_SET_VRING_ENABLE, 1, 0), 0, "");
    fe_ring(&f, 1);
    CHECK_EQ(fe_slot(&f, 1).start_gen, 2, "a new start");
    CHECK_EQ(fe_slot(&f, 1).base, 0, "from the base told");
    fake_close(&f, 0);
}

static void set_owner_is_refused_the_second_time(void)
{
    fake_open(&f, "");
    fe_handshake(&f);
    CHECK_EQ(ask(VHOST_USER_SET_OWNER), 1, "told, and the connection lives");
    CHECK(fe_barrier(&f), "");
    CHECK_EQ(ask(VHOST_USER_RESET_OWNER), 0, "");
    CHECK_EQ(ask(VHOST_USER_SET_OWNER), 0, "after RESET_OWNER it may");
    fe_send(&f, VHOST_USER_SET_OWNER, 0, NULL, 0, 0);
    CHECK(!fe_barrier(&f), "nobody to tell: the connection ends");
    fake_close(&f, -EPROTO);
}

static void rings_and_memory_wait_for_an_owner(void)
{
    fake_open(&f, "");
    fe_u64(&f, VHOST_USER_SET_VRING_CALL, 0, 1);
    CHECK(!fe_barrier(&f), "");
    fake_close(&f, -EPROTO);
}

static void features_never_offered_are_refused(void)
{
    fake_open(&f, "");
    fe_handshake(&f);
    CHECK_EQ(fe_u64_ack(&f, VHOST_USER_SET_FEATURES, BIT_U64(34), 0), 1,
             "packed rings");
    CHECK_EQ(fe_u64_ack(&f, VHOST_USER_SET_FEATURES, 0, 0), 0,
             "nothing at all is fine before the driver is there");
    CHECK_EQ(fe_u64_ack(&f, VHOST_USER_SET_FEATURES, FEATURES_GOOD, 0), 0, "");
    CHECK_EQ(fe_u64_ack(&f, VHOST_USER_SET_PROTOCOL_FEATURES,
                        BIT_U64(VU_PF_REPLY_ACK) | BIT_U64(12), 0),
             1, "in-flight tracking");
    CHECK(
        !(fe_get(&f, VHOST_USER_GET_PROTOCOL_FEATURES) & BIT_U64(VU_PF_CONFIG)),
        "no tag, no CONFIG: QEMU 7.1 to 8.0 fail on it");
    fake_close(&f, 0);
}

static void features_do_not_change_under_a_running_ring(void)
{
    const uint64_t log = BIT_U64(VHOST_F_BIT_LOG_ALL);
    struct diary d;
    int syncs;

    fake_open(&f, "");
    fe_up(&f, 1);
    CHECK_EQ(fe_u64_ack(&f, VHOST_USER_SET_FEATURES,
                        FEATURES_GOOD & ~BIT_U64(29), 0),
             1, "EVENT_IDX");
    CHECK_EQ(fe_u64_ack(&f, VHOST_USER_SET_FEATURES, FEATURES_GOOD, 0), 0,
             "the same once more");
    syncs = fake_count(&f, IPC_SYNC, NULL);
    CHECK_EQ(fe_u64_ack(&f, VHOST_USER_SET_FEATURES, FEATURES_GOOD | log, 0), 0,
             "logging may be turned on");
    CHECK_EQ(fe_slot(&f, 0).features, FEATURES_GOOD | log, "");
    CHECK_EQ(fake_count(&f, IPC_SYNC, &d), syncs + 1,
             "and is in force when the reply goes");
    CHECK(d.slot.features & log, "published before it was asked for");
    fake_close(&f, 0);
}

static void without_protocol_features_rings_begin_enabled(void)
{
    fake_open(&f, "");
    fe_handshake(&f);
    fe_u64(&f, VHOST_USER_SET_FEATURES, FEATURES_GOOD & ~BIT_U64(30), 0);
    CHECK_EQ(fe_mem(&f, VHOST_USER_ADD_MEM_REG, FE_GPA, FE_UVA, FE_SIZE), 0,
             "");
    fe_ring(&f, 0);
    CHECK_EQ(fe_slot(&f, 0).flags, BOTH, "");
    fake_close(&f, 0);
}

static void a_ring_without_version_1_does_not_start(void)
{
    fake_open(&f, "");
    fe_handshake(&f);
    fe_u64(&f, VHOST_USER_SET_FEATURES, BIT_U64(30), 0);
    CHECK_EQ(fe_u64_ack(&f, VHOST_USER_SET_VRING_KICK, 0, 1), 1, "");
    CHECK_EQ(fake_count(&f, IPC_RING_KICK, NULL), 0, "nothing handed over");
    fake_close(&f, 0);
}

static void a_kick_that_comes_before_memory_is_not_lost(void)
{
    fake_open(&f, "");
    fe_handshake(&f);
    fe_features(&f);
    fe_ring(&f, 0);
    CHECK_EQ(fe_slot(&f, 0).flags, 0, "no memory yet");
    CHECK_EQ(fe_mem(&f, VHOST_USER_ADD_MEM_REG, 0, 0x1000, 0x1000), 0, "");
    CHECK_EQ(fe_slot(&f, 0).flags, 0, "not that memory");
    CHECK_EQ(fe_mem(&f, VHOST_USER_ADD_MEM_REG, FE_GPA, FE_UVA, FE_SIZE), 0,
             "");
    CHECK_EQ(fe_slot(&f, 0).flags, STARTED, "now it starts");
    fake_close(&f, 0);
}

static void fds_are_acknowledged_before_a_slot_names_them(void)
{
    struct diary d;

    fake_open(&f, "");
    fe_up(&f, 1);
    CHECK_EQ(fake_count(&f, IPC_RING_KICK, &d), 1, "");
    CHECK_EQ(d.slot.kick_gen, 0, "not named while it was handed over");
    CHECK_EQ(fe_slot(&f, 0).kick_gen, d.gen, "named afterwards");
    CHECK_EQ(fake_count(&f, IPC_MEM_ADD, &d), 1, "");
    CHECK_EQ(fe_slot(&f, 0).mem_gen, d.gen, "the same for memory");

    CHECK_EQ(fe_u64_ack(&f, VHOST_USER_SET_VRING_KICK, 0, 1), 0, "swap");
    CHECK_EQ(fake_count(&f, IPC_RING_KICK, &d), 2, "");
    CHECK(d.slot.kick_gen != 0 && d.slot.kick_gen != d.gen, "the old one");
    CHECK_EQ(fe_slot(&f, 0).kick_gen, d.gen, "the new one");
    CHECK_EQ(fe_slot(&f, 0).start_gen, 1, "no new start");
    fake_close(&f, 0);
}

static void a_publish_is_followed_by_a_wake(void)
{
    uint64_t n = 0;

    fake_open(&f, "");
    fe_up(&f, 2);
    CHECK_EQ(read(f.wake[1], &n, sizeof(n)), sizeof(n), "woken already");
    CHECK(read(f.wake[1], &n, sizeof(n)) < 0, "and not again");
    CHECK_EQ(fe_state_ack(&f, VHOST_USER_SET_VRING_ENABLE, 1, 0), 0, "");
    CHECK_EQ(read(f.wake[1], &n, sizeof(n)), sizeof(n),
             "by the time the reply is there");
    CHECK(read(f.wake[2], &n, sizeof(n)) < 0, "other rings sleep on");
    fake_close(&f, 0);
}

static void the_no_fd_bit_means_polling(void)
{
    struct diary d;

    fake_open(&f, "");
    fe_up(&f, 1);
    CHECK_EQ(fe_u64_ack(&f, VHOST_USER_SET_VRING_KICK, 0x100, 0), 0, "");
    CHECK_EQ(fe_slot(&f, 0).flags, BOTH | VRING_CFG_POLL, "");
    CHECK_EQ(fake_count(&f, IPC_RING_KICK, &d), 2, "");
    CHECK_EQ(d.nfds, 0, "the old fd is replaced by none");
    CHECK_EQ(fe_u64_ack(&f, VHOST_USER_SET_VRING_CALL, 0x100, 0), 0, "");
    CHECK_EQ(fe_u64_ack(&f, VHOST_USER_SET_VRING_KICK, 0x100, 1), 1,
             "the bit and an fd");
    CHECK_EQ(fe_u64_ack(&f, VHOST_USER_SET_VRING_KICK, 0, 0), 1, "neither");
    CHECK_EQ(fe_u64_ack(&f, VHOST_USER_SET_VRING_CALL, 65, 1), 1, "ring 65");
    CHECK_EQ(fe_u64_ack(&f, VHOST_USER_SET_VRING_CALL, 1 << 9, 1), 1, "bit 9");
    fake_close(&f, 0);
}

static void get_vring_base_answers_after_the_ring_is_quiet(void)
{
    struct diary d;
    int syncs;

    fake_open(&f, "");
    fe_up(&f, 1);
    syncs = fake_count(&f, IPC_SYNC, NULL);
    CHECK_EQ(fe_base(&f, 0), 1234, "where the ring's thread stopped");
    CHECK_EQ(fake_count(&f, IPC_SYNC, &d), syncs + 1, "");
    CHECK_EQ(d.ring, 0, "that ring only");
    CHECK_EQ(d.slot.flags, ENABLED, "published as stopped before");
    CHECK_EQ(fe_base(&f, 0), 1234, "asked again");
    CHECK_EQ(fake_count(&f, IPC_SYNC, NULL), syncs + 1, "nothing to wait for");

    CHECK_EQ(fe_u64_ack(&f, VHOST_USER_SET_VRING_KICK, 0, 1), 0, "");
    CHECK_EQ(fe_slot(&f, 0).base, 1234, "it starts where it stopped");
    CHECK_EQ(fe_slot(&f, 0).start_gen, 2, "");
    fe_state_ack(&f, VHOST_USER_SET_VRING_BASE, 7, 99);
    CHECK_EQ(fe_base(&f, 7), 99, "never started: the base told");
    fake_close(&f, 0);
}

static void disabling_waits_for_the_ring(void)
{
    struct diary d;
    int syncs;

    fake_open(&f, "");
    fe_up(&f, 1);
    syncs = fake_count(&f, IPC_SYNC, NULL);
    CHECK_EQ(fe_state_ack(&f, VHOST_USER_SET_VRING_ENABLE, 0, 0), 0, "");
    CHECK_EQ(fake_count(&f, IPC_SYNC, &d), syncs + 1, "");
    CHECK_EQ(d.slot.flags, STARTED, "");
    CHECK_EQ(fe_state_ack(&f, VHOST_USER_SET_VRING_ENABLE, 0, 1), 0, "");
    CHECK_EQ(fake_count(&f, IPC_SYNC, NULL), syncs + 1, "enabling need not");
    fake_close(&f, 0);
}

static const struct {
    const char *why;
    uint32_t request, index, num;
} bad_states[] = {
    { "no power of two", VHOST_USER_SET_VRING_NUM, 3, 7 },
    { "zero", VHOST_USER_SET_VRING_NUM, 3, 0 },
    { "too large", VHOST_USER_SET_VRING_NUM, 3, 65536 },
    { "no such ring", VHOST_USER_SET_VRING_NUM, 65, 128 },
    { "no ring by far", VHOST_USER_SET_VRING_BASE, UINT32_MAX, 0 },
    { "no 16-bit index", VHOST_USER_SET_VRING_BASE, 3, 65536 },
    { "neither on nor off", VHOST_USER_SET_VRING_ENABLE, 3, 2 },
    { "size of a running ring", VHOST_USER_SET_VRING_NUM, 0, 64 },
    { "base of a running ring", VHOST_USER_SET_VRING_BASE, 0, 5 },
};

static void bad_ring_values_are_told_and_change_nothing(void)
{
    struct vring_cfg was;

    fake_open(&f, "");
    fe_up(&f, 1);
    was = fe_slot(&f, 0);
    for (size_t i = 0; i < ARRAY_SIZE(bad_states); i++)
        CHECK_EQ(fe_state_ack(&f, bad_states[i].request, bad_states[i].index,
                              bad_states[i].num),
                 1, bad_states[i].why);
    CHECK_EQ(fe_addr(&f, 0, FE_SIZE - 0x1000, 0), 1, "outside of memory");
    CHECK_EQ(fe_addr(&f, 0, 8, 0), 1, "misaligned");
    CHECK_EQ(fe_addr(&f, 0, 0, 2), 1, "unknown flag");
    CHECK_MEM(&was, &(struct vring_cfg[]){ fe_slot(&f, 0) }[0], sizeof(was),
              "the running ring is as it was");
    fake_close(&f, 0);
}

static void memory_changes_reach_every_started_ring(void)
{
    struct diary d;
    struct vu_mem_table t = { .n = 1,
                              .r = { { 0x40000000, FE_SIZE, FE_UVA, 0 } } };

    fake_open(&f, "");
    fe_up(&f, 2);
    CHECK_EQ(fe_mem(&f, VHOST_USER_ADD_MEM_REG, 0, 0x1000, 0x1000), 0, "");
    CHECK_EQ(fe_slot(&f, 0).mem_gen, 2, "");
    CHECK_EQ(fe_slot(&f, 1).mem_gen, 2, "");
    fake_count(&f, IPC_SYNC, &d);
    CHECK_EQ(d.ring, IPC_ALL_RINGS, "all rings acknowledged it");
    CHECK_EQ(d.slot.mem_gen, 2, "after it was published");
    CHECK_EQ(fe_mem(&f, VHOST_USER_REM_MEM_REG, 0, 0x1000, 0x1000), 0,
             "with an fd, as QEMU sends it");
    CHECK_EQ(fake_count(&f, IPC_MEM_REMOVE, &d), 1, "");
    CHECK_EQ(d.nfds, 0, "which goes nowhere");

    CHECK_EQ(fe_ask(&f, VHOST_USER_SET_MEM_TABLE, NEED_REPLY, &t, 40, 1), 0,
             "");
    CHECK_EQ(fe_slot(&f, 1).desc.v, 0x40010000, "translated anew");
    CHECK_EQ(fe_mem(&f, VHOST_USER_REM_MEM_REG, 0x40000000, FE_UVA, FE_SIZE), 0,
             "");
    CHECK_EQ(fe_slot(&f, 1).flags, ENABLED, "a ring without memory stops");
    CHECK_EQ(fe_mem(&f, VHOST_USER_ADD_MEM_REG, FE_GPA, FE_UVA, FE_SIZE), 0,
             "");
    CHECK_EQ(fe_slot(&f, 1).flags, BOTH, "and goes on when it is back");
    CHECK_EQ(fe_slot(&f, 1).base, 1234, "where it was");
    fake_close(&f, 0);
}

static void a_failed_memory_change_changes_nothing(void)
{
    struct vu_mem_table t = { .n = 9 };

    fake_open(&f, "");
    fe_up(&f, 1);
    fake_set(&f, IPC_MEM_ADD, -ENOMEM);
    CHECK_EQ(fe_mem(&f, VHOST_USER_ADD_MEM_REG, 0, 0x1000, 0x1000), 1,
             "can not be mapped");
    CHECK_EQ(fe_slot(&f, 0).mem_gen, 1, "");
    fake_set(&f, 0, 0);
    CHECK_EQ(fe_mem(&f, VHOST_USER_ADD_MEM_REG, 0, 0x1000, 0x1000), 0,
             "the slot is free still");
    CHECK_EQ(fe_mem(&f, VHOST_USER_ADD_MEM_REG, 0x800, 0, 0x1000), 1,
             "overlaps");
    CHECK_EQ(fe_mem(&f, VHOST_USER_REM_MEM_REG, 0, 0x1000, 0x800), 1,
             "no such region");
    CHECK_EQ(fe_ask(&f, VHOST_USER_SET_MEM_TABLE, NEED_REPLY, &t, 264, 8), 1,
             "nine regions");
    t.n = 2;
    CHECK_EQ(fe_ask(&f, VHOST_USER_SET_MEM_TABLE, NEED_REPLY, &t, 72, 1), 1,
             "two regions, one fd");
    CHECK_EQ(fe_ask(&f, VHOST_USER_SET_MEM_TABLE, NEED_REPLY, &t, 40, 2), 1,
             "two regions in the room of one");
    CHECK_EQ(fe_slot(&f, 0).flags, BOTH, "the ring did not notice");
    fake_close(&f, 0);
}

TAP_MAIN(TEST(the_order_of_qemu_brings_a_ring_up),
         TEST(the_order_of_linux_and_cloud_hypervisor_works_too),
         TEST(set_owner_is_refused_the_second_time),
         TEST(rings_and_memory_wait_for_an_owner),
         TEST(features_never_offered_are_refused),
         TEST(features_do_not_change_under_a_running_ring),
         TEST(without_protocol_features_rings_begin_enabled),
         TEST(a_ring_without_version_1_does_not_start),
         TEST(a_kick_that_comes_before_memory_is_not_lost),
         TEST(fds_are_acknowledged_before_a_slot_names_them),
         TEST(a_publish_is_followed_by_a_wake),
         TEST(the_no_fd_bit_means_polling),
         TEST(get_vring_base_answers_after_the_ring_is_quiet),
         TEST(disabling_waits_for_the_ring),
         TEST(bad_ring_values_are_told_and_change_nothing),
         TEST(memory_changes_reach_every_started_ring),
         TEST(a_failed_memory_change_changes_nothing))
