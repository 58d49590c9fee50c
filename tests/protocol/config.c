/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/protocol/vm.h"

#include <endian.h>
#include <string.h>

/* The configuration space: tag and num_request_queues; and as much of it as a
 * message can ask for. */
#define CONFIG_BYTES 40u
#define CONFIG_MAX   256u

#define S_ACKNOWLEDGE 1u
#define S_DRIVER      2u
#define S_DRIVER_OK   4u
#define S_FEATURES_OK 8u
#define S_NEEDS_RESET 64u

static bool begin(struct vm *vm, const char *const *args)
{
    return vm_start(vm, &(struct vm_opts){ .d = { .args = args },
                                           .proto = ~(uint64_t)0,
                                           .no_start = true });
}

static void the_configuration_space_names_tag_and_queues(void)
{
    static const char *const args[] = { "--tag", "a tag",
                                        "--num-request-queues", "3", NULL };
    uint8_t want[CONFIG_BYTES] = "a tag", got[64];
    struct vm vm;
    uint32_t n = htole32(3);

    memcpy(want + 36, &n, sizeof(n));
    if (begin(&vm, args)) {
        for (uint32_t off = 0; off < CONFIG_BYTES; off++) {
            for (uint32_t len = 1; len <= CONFIG_BYTES - off; len++) {
                if (!CHECK_EQ(fe_get_config(&vm.fe, off, len, got), len, "") ||
                    !CHECK_MEM(got, want + off, len, ""))
                    goto out;
            }
        }
    }
out:
    vm_end(&vm);
}

static void a_tag_of_36_bytes_has_no_end(void)
{
    static const char *const args[] = {
        "--tag=123456789012345678901234567890123456", NULL
    };
    uint8_t got[36];
    struct vm vm;

    if (begin(&vm, args)) {
        CHECK_EQ(fe_get_config(&vm.fe, 0, 36, got), 36, "");
        CHECK_MEM(got, args[0] + 6, 36, "");
    }
    vm_end(&vm);
}

static void reads_beyond_the_configuration_space_are_refused(void)
{
    static const char *const args[] = { "--tag=t", NULL };
    static const struct {
        const char *why;
        uint32_t off, len;
    } rows[] = {
        { "begins at the end", CONFIG_MAX, 1 },
        { "crosses the end", CONFIG_MAX - 1, 2 },
        { "far away", 0x10000, 4 },
        { "wraps around", UINT32_MAX, 2 },
    };
    uint8_t got[CONFIG_MAX], zero[CONFIG_MAX] = { 0 };
    struct vm vm;

    if (begin(&vm, args)) {
        CHECK_EQ(fe_get_config(&vm.fe, 0, CONFIG_MAX, got), CONFIG_MAX,
                 "a front-end that knows a longer layout");
        CHECK_MEM(got + CONFIG_BYTES, zero, CONFIG_MAX - CONFIG_BYTES,
                  "finds nothing in it");
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
            CHECK_EQ(fe_get_config(&vm.fe, rows[i].off, rows[i].len, got), 0,
                     rows[i].why);
        CHECK_EQ(fe_get_config(&vm.fe, 0, 1, got), 1, "served after that");
    }
    vm_end(&vm);
}

static void the_configuration_space_can_not_be_written(void)
{
    static const char *const args[] = { "--tag=t", NULL };
    struct fe_config c = { 0, 4, 0, "evil" };
    struct vm vm;
    uint8_t got[4];

    if (begin(&vm, args)) {
        int ret = fe_set(&vm.fe, FE_SET_CONFIG, &c,
                         offsetof(struct fe_config, data) + 4, NULL, 0, true);

        CHECK_EQ(ret, -EREMOTEIO, "no field of it is the driver's");
        CHECK_EQ(fe_get_config(&vm.fe, 0, 4, got), 4, "");
        CHECK_MEM(got, "t\0\0\0", 4, "");
    }
    vm_end(&vm);
}

static uint64_t status(struct vm *vm)
{
    uint64_t v = 0;

    CHECK_EQ(fe_get_u64(&vm->fe, FE_GET_STATUS, &v), 0, "GET_STATUS");
    return v;
}

static void set_status(struct vm *vm, uint64_t v)
{
    CHECK_EQ(fe_set_u64(&vm->fe, FE_SET_STATUS, v), 0, "SET_STATUS");
}

static void the_status_reads_back_in_a_drivers_order(void)
{
    struct vm vm;

    if (begin(&vm, NULL)) {
        CHECK_EQ(status(&vm), 0, "at first");
        set_status(&vm, S_ACKNOWLEDGE);
        set_status(&vm, S_ACKNOWLEDGE | S_DRIVER);
        CHECK_EQ(status(&vm), S_ACKNOWLEDGE | S_DRIVER, "");
        set_status(&vm, S_ACKNOWLEDGE | S_DRIVER | S_FEATURES_OK);
        CHECK_EQ(status(&vm), S_ACKNOWLEDGE | S_DRIVER | S_FEATURES_OK,
                 "the features are good");
        vm_rings_start(&vm);
        set_status(&vm, 15);
        CHECK_EQ(status(&vm), 15, "DRIVER_OK");
        CHECK_EQ(fc_init(&vm.q[1], 0, NULL), 0, "served");
        set_status(&vm, 0);
        CHECK_EQ(status(&vm), 0, "the reset is complete");
    }
    vm_end(&vm);
}

/* QEMU says FEATURES_OK right after SET_FEATURES, the rest at the start, and
 * nothing at all after GET_VRING_BASE but 0. */
static void qemus_order_of_status_works_over_restarts(void)
{
    struct vm vm;

    if (begin(&vm, NULL)) {
        for (int i = 0; i < 3; i++) {
            fe_set_u64(&vm.fe, FE_SET_FEATURES, vm.fe.acked);
            set_status(&vm, status(&vm) | S_FEATURES_OK);
            CHECK_EQ(status(&vm), S_FEATURES_OK, "");
            vm_rings_start(&vm);
            set_status(&vm, status(&vm) | 7);
            CHECK_EQ(fc_init(&vm.q[1], 0, NULL), 0, "served");
            vm_alive(&vm, 1);
            vm_rings_stop(&vm);
            set_status(&vm, 0);
            CHECK_EQ(status(&vm), 0, "");
        }
    }
    vm_end(&vm);
}

static void features_without_version_1_are_not_ok(void)
{
    struct vm vm;

    if (begin(&vm, NULL)) {
        uint64_t f = vm.fe.acked & ~BIT64(FE_F_VERSION_1);
        int ret = fe_set(&vm.fe, FE_SET_FEATURES, &f, sizeof(f), NULL, 0, true);

        /* Refused at once, or by FEATURES_OK that does not read back. */
        if (ret == 0) {
            set_status(&vm, S_ACKNOWLEDGE | S_DRIVER | S_FEATURES_OK);
            CHECK(!(status(&vm) & S_FEATURES_OK), "VERSION_1 is required");
        } else {
            CHECK_EQ(ret, -EREMOTEIO, "VERSION_1 is required");
        }
        CHECK_EQ(fe_set_u64(&vm.fe, FE_SET_FEATURES, vm.fe.acked), 0,
                 "a second try");
        set_status(&vm, S_ACKNOWLEDGE | S_DRIVER | S_FEATURES_OK);
        CHECK(status(&vm) & S_FEATURES_OK, "is good");
    }
    vm_end(&vm);
}

static void a_status_nobody_knows_does_no_harm(void)
{
    struct vm vm;

    if (begin(&vm, NULL)) {
        uint64_t odd = ~(uint64_t)0;
        int ret = fe_set(&vm.fe, FE_SET_STATUS, &odd, 8, NULL, 0, true);

        CHECK(ret == 0 || ret == -EREMOTEIO, "taken or refused");
        set_status(&vm, 0);
        CHECK_EQ(status(&vm), 0, "");
        vm_rings_start(&vm);
        CHECK_EQ(fc_init(&vm.q[1], 0, NULL), 0, "served");
    }
    vm_end(&vm);
}

TAP_MAIN(TEST(the_configuration_space_names_tag_and_queues),
         TEST(a_tag_of_36_bytes_has_no_end),
         TEST(reads_beyond_the_configuration_space_are_refused),
         TEST(the_configuration_space_can_not_be_written),
         TEST(the_status_reads_back_in_a_drivers_order),
         TEST(qemus_order_of_status_works_over_restarts),
         TEST(features_without_version_1_are_not_ok),
         TEST(a_status_nobody_knows_does_no_harm))
