/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/protocol/vm.h"

#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

static void serves(const struct vm_opts *o)
{
    struct vm vm;

    if (vm_start_fuse(&vm, o))
        vm_alive(&vm, VM_REQ);
    vm_end(&vm);
}

static void qemus_order_leads_to_a_served_ring(void)
{
    serves(NULL);
}

static void a_memory_table_leads_to_a_served_ring(void)
{
    serves(&(struct vm_opts){ .proto = VM_PROTO & ~BIT64(FE_PF_MEM_SLOTS) });
}

static void rings_are_enabled_without_protocol_features(void)
{
    serves(&(struct vm_opts){ .features = VM_RING_FEATURES &
                                          ~BIT64(FE_F_PROTOCOL_FEATURES) });
}

static void a_front_end_may_take_no_protocol_feature(void)
{
    serves(&(struct vm_opts){ .proto = BIT64(63) });
}

/* The control side only: no ring is started. */
static bool begin(struct vm *vm, const char *const *args)
{
    return vm_start(vm, &(struct vm_opts){ .d = { .args = args },
                                           .proto = ~(uint64_t)0,
                                           .no_start = true });
}

static void all_of_a_device_is_offered_and_no_more(void)
{
    static const char *const tag[] = { "--tag=myfs", NULL };
    static const struct {
        const char *why;
        unsigned int bit;
    } want[] = {
        { "MQ", FE_PF_MQ },
        { "LOG_SHMFD", FE_PF_LOG_SHMFD },
        { "REPLY_ACK", FE_PF_REPLY_ACK },
        { "BACKEND_REQ", FE_PF_BACKEND_REQ },
        { "RESET_DEVICE", FE_PF_RESET_DEVICE },
        { "CONFIGURE_MEM_SLOTS", FE_PF_MEM_SLOTS },
        { "STATUS", FE_PF_STATUS },
    };
    struct vm vm;

    if (begin(&vm, NULL)) {
        for (size_t i = 0; i < ARRAY_SIZE(want); i++)
            CHECK(vm.fe.proto & BIT64(want[i].bit), want[i].why);
        CHECK(!(vm.fe.proto & BIT64(FE_PF_CONFIG)),
              "CONFIG unasked breaks QEMU 7.1 to 8.0");
        CHECK_EQ(vm.fe.features & VM_RING_FEATURES, VM_RING_FEATURES,
                 "ring features");
        CHECK(vm.fe.features & BIT64(FE_F_LOG_ALL), "LOG_ALL");
        CHECK(!(vm.fe.features & BIT64(34)), "no packed rings");
    }
    vm_end(&vm);
    if (begin(&vm, tag))
        CHECK(vm.fe.proto & BIT64(FE_PF_CONFIG), "CONFIG comes with --tag");
    vm_end(&vm);
}

static void set_up_rings_with_acks(struct vm *vm)
{
    struct frontend *fe = &vm->fe;
    struct guest_queue *q = &vm->q[VM_REQ];
    uint32_t base = 99;

    CHECK_EQ(fe_set_state(fe, FE_SET_VRING_NUM, 1, 128), 0, "NUM");
    CHECK_EQ(fe_set_state(fe, FE_SET_VRING_BASE, 1, 7), 0, "BASE");
    CHECK_EQ(fe_ring_addr(fe, q, 0, 0), 0, "ADDR");
    guest_queue_reset(q, 7);
    CHECK_EQ(fe_set_fd(fe, FE_SET_VRING_CALL, 1, -1), 0, "CALL, no fd");
    CHECK_EQ(fe_set_fd(fe, FE_SET_VRING_CALL, 1, q->call_fd), 0, "CALL");
    CHECK_EQ(fe_set_fd(fe, FE_SET_VRING_ERR, 1, -1), 0, "ERR, no fd");
    CHECK_EQ(fe_set_fd(fe, FE_SET_VRING_ERR, 1, q->err_fd), 0, "ERR");
    CHECK_EQ(fe_set_fd(fe, FE_SET_VRING_KICK, 1, q->kick_fd), 0, "KICK");
    CHECK_EQ(fe_ring_enable(fe, q, true), 0, "ENABLE 1");
    CHECK_EQ(fe_ring_enable(fe, q, false), 0, "ENABLE 0");
    CHECK_EQ(fe_ring_enable(fe, q, true), 0, "ENABLE 1 again");
    CHECK_EQ(fc_init(q, 0, NULL), 0, "INIT on it");
    CHECK_EQ(fe_get_base(fe, 1, &base), 0, "GET_VRING_BASE");
    CHECK_EQ(base, 8, "one more than where it began");
}

static void every_message_is_acknowledged_when_asked(void)
{
    static const char *const tag[] = { "--tag=myfs", NULL };
    struct vm vm;
    struct frontend *fe = &vm.fe;
    uint64_t v;
    uint8_t c[4];

    if (begin(&vm, tag)) {
        fe->ack_all = true;
        CHECK_EQ(fe_get_u64(fe, FE_GET_FEATURES, &v), 0, "GET_FEATURES");
        CHECK_EQ(v, fe->features, "the same features twice");
        CHECK_EQ(fe_set_u64(fe, FE_SET_FEATURES, fe->acked), 0, "SET_FEATURES");
        CHECK_EQ(fe_get_u64(fe, FE_GET_PROTOCOL_FEATURES, &v), 0,
                 "GET_PROTOCOL_FEATURES");
        CHECK_EQ(fe_set_u64(fe, FE_SET_PROTOCOL_FEATURES, fe->proto_acked), 0,
                 "SET_PROTOCOL_FEATURES");
        CHECK_EQ(fe_get_u64(fe, FE_GET_QUEUE_NUM, &v), 0, "GET_QUEUE_NUM");
        CHECK_EQ(v, 65, "hiprio and 64 request queues");
        CHECK_EQ(fe_get_u64(fe, FE_GET_MAX_MEM_SLOTS, &v), 0, "SLOTS");
        CHECK(v >= 8, "as many slots as a memory table has");
        CHECK_EQ(fe_get_config(fe, 0, 4, c), 4, "GET_CONFIG");
        CHECK_EQ(fe_remove_region(fe, &vm.mem.r[1]), 0, "REM_MEM_REG");
        CHECK_EQ(fe_add_region(fe, &vm.mem.r[1]), 0, "ADD_MEM_REG");
        CHECK_EQ(fe_mem_table(fe, &vm.mem), 0, "SET_MEM_TABLE");
        set_up_rings_with_acks(&vm);
        CHECK_EQ(fe_set_u64(fe, FE_SET_STATUS, 0), 0, "SET_STATUS");
        CHECK_EQ(fe_get_u64(fe, FE_GET_STATUS, &v), 0, "GET_STATUS");
        CHECK_EQ(fe_set(fe, FE_RESET_DEVICE, NULL, 0, NULL, 0, true), 0,
                 "RESET_DEVICE");
        CHECK_EQ(fe_set(fe, FE_RESET_OWNER, NULL, 0, NULL, 0, true), 0,
                 "RESET_OWNER");
    }
    vm_end(&vm);
}

static void call_fds_may_be_replaced_many_times(void)
{
    struct vm vm;

    if (begin(&vm, NULL)) {
        for (int i = 0; i < 200; i++) {
            int fd = eventfd(0, EFD_CLOEXEC);

            fe_set_fd(&vm.fe, FE_SET_VRING_CALL, 1, fd);
            fe_set_fd(&vm.fe, FE_SET_VRING_ERR, 1, fd);
            close(fd);
        }
        fe_set_fd(&vm.fe, FE_SET_VRING_CALL, 1, vm.q[1].call_fd);
        if (vm_rings_start(&vm)) {
            CHECK_EQ(fc_init(&vm.q[1], 0, NULL), 0, "INIT");
            vm_alive(&vm, 1);
        }
    }
    vm_end(&vm);
}

static void features_never_offered_are_refused(void)
{
    static const struct {
        const char *why;
        uint32_t request;
        uint64_t extra;
    } rows[] = {
        { "a packed ring", FE_SET_FEATURES, BIT64(34) },
        { "a feature nobody has", FE_SET_FEATURES, BIT64(63) },
        { "CONFIG without a tag", FE_SET_PROTOCOL_FEATURES,
          BIT64(FE_PF_CONFIG) },
        { "a protocol feature nobody has", FE_SET_PROTOCOL_FEATURES,
          BIT64(62) },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct vm vm;
        uint64_t v;

        if (begin(&vm, NULL)) {
            v = rows[i].request == FE_SET_FEATURES ? vm.fe.acked
                                                   : vm.fe.proto_acked;
            v |= rows[i].extra;
            CHECK(vm_refused(fe_set(&vm.fe, rows[i].request, &v, sizeof(v),
                                    NULL, 0, true)),
                  rows[i].why);
        }
        fe_close(&vm.fe);
        daemon_end(vm.d, END_EXIT);
        vm.d = NULL;
        vm_end(&vm);
    }
}

static void the_log_can_be_set_and_replaced(void)
{
    struct fe_log log = { 65536, 4096 };
    struct fe_msg m;
    struct vm vm;

    if (begin(&vm, NULL)) {
        for (int i = 0; i < 3; i++) {
            int fd = memfd_create("log", MFD_CLOEXEC);

            CHECK_EQ(ftruncate(fd, 4096 + 65536), 0, "a log of its size");
            CHECK_EQ(
                fe_send(&vm.fe, FE_SET_LOG_BASE, 0, &log, sizeof(log), &fd, 1),
                0, "SET_LOG_BASE");
            CHECK_EQ(fe_recv(&vm.fe, &m), 0, "SET_LOG_BASE has a reply");
            CHECK_EQ(m.h.request, FE_SET_LOG_BASE, "to it");
            close(fd);
        }
        int fd = eventfd(0, EFD_CLOEXEC);

        CHECK_EQ(fe_set(&vm.fe, FE_SET_LOG_FD, NULL, 0, &fd, 1, true), 0,
                 "SET_LOG_FD");
        close(fd);
        vm_rings_start(&vm);
        CHECK_EQ(fc_init(&vm.q[1], 0, NULL), 0, "served all the while");
    }
    vm_end(&vm);
}

static void a_reset_device_can_be_set_up_again(void)
{
    struct fuse_entry_out e;
    struct vm vm;

    if (vm_start_fuse(&vm, NULL)) {
        CHECK_EQ(fc_mkdir(&vm.q[1], NULL, FC_ROOT, "d", 0755, &e), 0, "");
        CHECK_EQ(fe_set(&vm.fe, FE_RESET_DEVICE, NULL, 0, NULL, 0, true), 0,
                 "RESET_DEVICE");
        /* Of the rings nothing is left, the memory stays. */
        for (unsigned int i = 0; i < vm.n; i++) {
            guest_queue_reset(&vm.q[i], 0);
            fe_set_fd(&vm.fe, FE_SET_VRING_CALL, i, vm.q[i].call_fd);
            fe_set_fd(&vm.fe, FE_SET_VRING_ERR, i, vm.q[i].err_fd);
        }
        CHECK_EQ(fe_set_u64(&vm.fe, FE_SET_FEATURES, vm.fe.acked), 0, "");
        vm_rings_start(&vm);
        CHECK_EQ(fc_init(&vm.q[1], 0, NULL), 0, "INIT after the reset");
        CHECK_EQ(fc_simple(&vm.q[1], FUSE_RMDIR, e.nodeid, "x", 2), -ESTALE,
                 "nodes of before are gone");
        vm_alive(&vm, 1);
    }
    vm_end(&vm);
}

static void reset_owner_leaves_a_connection_that_works(void)
{
    struct vm vm;

    if (vm_start_fuse(&vm, NULL)) {
        CHECK_EQ(fe_set(&vm.fe, FE_RESET_OWNER, NULL, 0, NULL, 0, true), 0,
                 "RESET_OWNER");
        for (unsigned int i = 0; i < vm.n; i++)
            CHECK_EQ(fe_ring_enable(&vm.fe, &vm.q[i], true), 0, "enable");
        vm_alive(&vm, 1);
    }
    vm_end(&vm);
}

TAP_MAIN(TEST(qemus_order_leads_to_a_served_ring),
         TEST(a_memory_table_leads_to_a_served_ring),
         TEST(rings_are_enabled_without_protocol_features),
         TEST(a_front_end_may_take_no_protocol_feature),
         TEST(all_of_a_device_is_offered_and_no_more),
         TEST(every_message_is_acknowledged_when_asked),
         TEST(call_fds_may_be_replaced_many_times),
         TEST(features_never_offered_are_refused),
         TEST(the_log_can_be_set_and_replaced),
         TEST(a_reset_device_can_be_set_up_again),
         TEST(reset_owner_leaves_a_connection_that_works))
