/* SPDX-License-Identifier: BSD-3-Clause */
#include <endian.h>
#include <signal.h>
#include <string.h>

#include "tests/protocol/sched_lib.h"
#include "tests/protocol/sched_load.h"

/*
 * Configuration, features and status while the request process stands still,
 * and after it has died: control answers from its own memory.  An answer that
 * needed the other would not come at all.
 */

#define CONFIG_MAX 256u
/* Not each of them where that would take long, but all kinds. */
#ifdef SANITIZER_FILTER
#define STEP 13
#else
#define STEP 1
#endif
#define FEATURES_OK 8u

static const char *const tagged[] = { "--tag", "some tag",
                                      "--num-request-queues", "3", NULL };

/* The offered bits, fixed: what is not among them is refused. */
#define OFFERED                                                                \
    (BIT64(FE_F_NOTIFY_ON_EMPTY) | BIT64(FE_F_LOG_ALL) |                       \
     BIT64(FE_F_INDIRECT) | BIT64(FE_F_EVENT_IDX) |                            \
     BIT64(FE_F_PROTOCOL_FEATURES) | BIT64(FE_F_VERSION_1))

static bool begin(struct vm *vm, struct load *l)
{
    const struct vm_opts o = { .queues = 3,
                               .d = { .args = tagged },
                               .proto = ~(uint64_t)0 };

    memset(l, 0, sizeof(*l));
    if (!vm_start_fuse(vm, &o) || !load_open(l, vm, &vm->q[1]))
        return false;
    load_start(l);
    return load_progress(l, 20);
}

static void every_offset_and_length(struct vm *vm)
{
    uint8_t want[CONFIG_MAX] = "some tag", got[CONFIG_MAX];
    const uint32_t three = htole32(3);

    memcpy(want + 36, &three, sizeof(three));
    for (uint32_t off = 0; off <= CONFIG_MAX + 2; off++) {
        for (uint32_t len = 1; len <= CONFIG_MAX; len += STEP) {
            bool fits = off + len <= CONFIG_MAX;
            int ret = fe_get_config(&vm->fe, off, len, got);

            if (!CHECK_EQ(ret, fits ? (int)len : 0, "GET_CONFIG") ||
                (fits && !CHECK_MEM(got, want + off, len, "GET_CONFIG")))
                return;
        }
    }
}

static void the_rest_of_the_questions(struct vm *vm)
{
    uint64_t v = 0;

    CHECK_EQ(fe_get_u64(&vm->fe, FE_GET_FEATURES, &v), 0, "GET_FEATURES");
    CHECK_EQ(v, OFFERED, "GET_FEATURES");
    CHECK_EQ(fe_get_u64(&vm->fe, FE_GET_PROTOCOL_FEATURES, &v), 0, "");
    CHECK_EQ(v, vm->fe.proto, "GET_PROTOCOL_FEATURES");
    CHECK_EQ(fe_get_u64(&vm->fe, FE_GET_QUEUE_NUM, &v), 0, "GET_QUEUE_NUM");
    CHECK(v >= 65, "GET_QUEUE_NUM");
    CHECK_EQ(fe_get_u64(&vm->fe, FE_GET_MAX_MEM_SLOTS, &v), 0, "");
    CHECK(v >= 8, "GET_MAX_MEM_SLOTS");
    for (uint64_t s = 1; s < 64; s = s * 2 + 1) {
        CHECK_EQ(fe_set_u64(&vm->fe, FE_SET_STATUS, s), 0, "SET_STATUS");
        CHECK_EQ(fe_get_u64(&vm->fe, FE_GET_STATUS, &v), 0, "GET_STATUS");
        CHECK_EQ(v, s, "GET_STATUS");
    }
}

static void control_answers_while_the_request_process_stands_still(void)
{
    struct vm vm;
    struct load l;

    if (begin(&vm, &l)) {
        pid_t request = role_pid(&vm, ROLE_REQUEST);

        role_stop(request);
        every_offset_and_length(&vm);
        the_rest_of_the_questions(&vm);
        role_cont(request);
        load_progress(&l, 20);
        load_finish(&l);
        vm_alive(&vm, 2);
    }
    vm_end(&vm);
}

/* 0 reads back only when the reset is complete: not while a request that was
 * taken before it is still to be answered. */
static void status_0_reads_back_when_the_requests_in_flight_are_done(void)
{
    struct vm vm;
    struct load l;

    if (begin(&vm, &l)) {
        pid_t request = role_pid(&vm, ROLE_REQUEST);
        pid_t control = role_pid(&vm, ROLE_CONTROL);

        for (int i = 0; i < ROUNDS(100) && !tap_failing(); i++) {
            uint64_t v = 1;
            uint32_t base = 0;

            CHECK_EQ(fe_set_u64(&vm.fe, FE_SET_STATUS, 15), 0, "");
            CHECK_EQ(fe_get_u64(&vm.fe, FE_GET_STATUS, &v), 0, "");
            CHECK_EQ(v, 15, "DRIVER_OK");
            load_pause(&l);
            role_stop(request);
            CHECK_EQ(fe_set_u64(&vm.fe, FE_SET_STATUS, 0), 0, "");
            control_settled(&vm, control);
            fe_send(&vm.fe, FE_GET_STATUS, 0, NULL, 0, NULL, 0);
            CHECK(!answer_is_there(&vm), "the reset is not complete");
            role_cont(request);
            CHECK(recv_ok(&vm, FE_GET_STATUS, &v), "GET_STATUS");
            CHECK_EQ(v, 0, "it is complete");
            for (unsigned int k = 0; k < vm.n; k++) {
                fe_get_base(&vm.fe, k, &base);
                CHECK_EQ(base, vm.q[k].used->idx, "all taken is answered");
                fe_ring_start(&vm.fe, &vm.q[k], base);
                fe_ring_enable(&vm.fe, &vm.q[k], true);
            }
            load_resume(&l);
            load_progress(&l, 1);
        }
        load_finish(&l);
    }
    vm_end(&vm);
}

/* ---- features ---- */

static int set_features(struct vm *vm, uint64_t f)
{
    return fe_set(&vm->fe, FE_SET_FEATURES, &f, sizeof(f), NULL, 0, true);
}

static bool features_ok(struct vm *vm)
{
    uint64_t v = 0;

    CHECK_EQ(fe_set_u64(&vm->fe, FE_SET_STATUS, 3 | FEATURES_OK), 0, "");
    CHECK_EQ(fe_get_u64(&vm->fe, FE_GET_STATUS, &v), 0, "");
    CHECK_EQ(v & ~(uint64_t)FEATURES_OK, 3, "the rest reads back");
    return v & FEATURES_OK;
}

/* Each row is what a driver writes before FEATURES_OK, in turn. */
static void features_may_be_written_again_before_features_ok(void)
{
    const uint64_t all = VM_RING_FEATURES;
    const uint64_t old = all & ~BIT64(FE_F_VERSION_1);
    const struct {
        const char *why;
        uint64_t f[3];
        int n;
        bool ok;
    } rows[] = {
        { "once", { all }, 1, true },
        { "twice the same", { all, all }, 2, true },
        { "fewer the second time",
          { all, all & ~BIT64(FE_F_EVENT_IDX) },
          2,
          true },
        { "more the second time",
          { all & ~BIT64(FE_F_INDIRECT), all },
          2,
          true },
        { "VERSION_1 the second time", { old, all }, 2, true },
        { "VERSION_1 only the first time", { all, old }, 2, false },
        { "never VERSION_1", { old, old }, 2, false },
        { "nothing, then all", { 0, all }, 2, true },
        { "all, nothing, all", { all, 0, all }, 3, true },
        { "with, without, with", { all, old, all }, 3, true },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct vm vm;

        if (vm_start(&vm, &(struct vm_opts){ .no_start = true })) {
            for (int k = 0; k < rows[i].n; k++)
                CHECK_EQ(set_features(&vm, rows[i].f[k]), 0, rows[i].why);
            CHECK_EQ(features_ok(&vm), rows[i].ok, rows[i].why);
            /* Whatever it was: the driver may begin anew. */
            CHECK_EQ(fe_set_u64(&vm.fe, FE_SET_STATUS, 0), 0, "");
            CHECK_EQ(set_features(&vm, all), 0, rows[i].why);
            CHECK(features_ok(&vm), rows[i].why);
            vm_rings_start(&vm);
            CHECK_EQ(fc_init(&vm.q[1], 0, NULL), 0, rows[i].why);
        }
        vm_end(&vm);
    }
}

static void features_ok_does_not_outlive_version_1(void)
{
    struct vm vm;
    uint64_t v = 0;

    if (vm_start(&vm, &(struct vm_opts){ .no_start = true })) {
        CHECK(features_ok(&vm), "");
        CHECK_EQ(set_features(&vm, vm.fe.acked & ~BIT64(FE_F_VERSION_1)), 0,
                 "");
        CHECK_EQ(fe_get_u64(&vm.fe, FE_GET_STATUS, &v), 0, "");
        CHECK_EQ(v, 3, "it is gone");
        CHECK_EQ(set_features(&vm, vm.fe.acked), 0, "");
        CHECK(features_ok(&vm), "and may come again");
    }
    vm_end(&vm);
}

static void bits_never_offered_are_refused_one_by_one(void)
{
    struct vm vm;

    if (vm_start(&vm, &(struct vm_opts){ .no_start = true })) {
        for (int bit = 0; bit < 64; bit++) {
            bool offered = vm.fe.features & BIT64(bit);

            CHECK_EQ(offered, (OFFERED & BIT64(bit)) != 0, "what is offered");
            if (!offered)
                CHECK_EQ(set_features(&vm, vm.fe.acked | BIT64(bit)),
                         -EREMOTEIO, "a bit never offered");
        }
        CHECK(features_ok(&vm), "those of before are still in force");
        for (int bit = 0; bit < 64; bit++) {
            const uint64_t f = vm.fe.proto_acked | BIT64(bit);

            if (!(vm.fe.proto & BIT64(bit)))
                CHECK_EQ(fe_set(&vm.fe, FE_SET_PROTOCOL_FEATURES, &f, 8, NULL,
                                0, true),
                         -EREMOTEIO, "a protocol feature never offered");
        }
        vm_rings_start(&vm);
        CHECK_EQ(fc_init(&vm.q[1], 0, NULL), 0, "INIT");
    }
    vm_end(&vm);
}

/* ---- the end of a role ---- */

enum when { WHEN_NOT_STARTED, WHEN_IDLE, WHEN_BUSY, WHEN_STOPPED, WHENS };

static void kill_role(enum role role, enum when when)
{
    const struct vm_opts o = { .queues = 3,
                               .no_start = when == WHEN_NOT_STARTED };
    struct load l = { 0 };
    struct vm vm;
    bool busy = false;

    if (when == WHEN_NOT_STARTED ? vm_start(&vm, &o) : vm_start_fuse(&vm, &o)) {
        pid_t pid = role_pid(&vm, role);
        const uint32_t s[2] = { 1, 0 };

        busy = when == WHEN_BUSY && load_open(&l, &vm, &vm.q[1]);
        if (busy) {
            load_start(&l);
            load_progress(&l, 20);
        }
        if (when == WHEN_STOPPED) {
            role_stop(pid);
            /* Asks for what will never come. */
            fe_send(&vm.fe, FE_GET_VRING_BASE, 0, s, sizeof(s), NULL, 0);
        }
        kill(pid, SIGKILL);
        CHECK_EQ(fe_wait_closed(&vm.fe), 0, "the connection ends");
    }
    if (busy)
        load_abandon(&l);
    fe_close(&vm.fe);
    daemon_end(vm.d, END_NONZERO);
    for (unsigned int i = 0; i < vm.n; i++)
        guest_queue_destroy(&vm.q[i]);
    guest_mem_destroy(&vm.mem);
}

static void a_request_process_that_dies_ends_all(void)
{
    for (unsigned int i = 0; i < WHENS; i++)
        kill_role(ROLE_REQUEST, i);
}

static void a_control_process_that_dies_ends_all(void)
{
    for (unsigned int i = 0; i < WHENS; i++)
        kill_role(ROLE_CONTROL, i);
}

TAP_MAIN(TEST(control_answers_while_the_request_process_stands_still),
         TEST(status_0_reads_back_when_the_requests_in_flight_are_done),
         TEST(features_may_be_written_again_before_features_ok),
         TEST(features_ok_does_not_outlive_version_1),
         TEST(bits_never_offered_are_refused_one_by_one),
         TEST(a_request_process_that_dies_ends_all),
         TEST(a_control_process_that_dies_ends_all))
