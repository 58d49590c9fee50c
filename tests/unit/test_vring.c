/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/lib/tap.h"
#include "vhost/vring.h"
#include "virtiofsd/base/fd.h"

/* One region at 0x10000; the driver's side is played by hand. */
#define BASE  0x10000
#define AVAIL 0x400
#define USED  0x800
#define SIZE  4

static struct memmap *mm;
static struct vring ring;
static uint8_t *mem;

static struct vring_cfg config(uint64_t features)
{
    return (struct vring_cfg){
        .flags = VRING_CFG_STARTED | VRING_CFG_ENABLED,
        .size = SIZE,
        .desc = { BASE },
        .avail = { BASE + AVAIL },
        .used = { BASE + USED },
        .features = features,
        .start_gen = 1,
        .mem_gen = 1,
    };
}

static void setup(uint64_t features, uint16_t base)
{
    auto_fd fd = memfd_create("guest", MFD_CLOEXEC);
    struct memmap *none = memmap_create(0);
    struct vring_cfg cfg = config(features);
    void *va;

    cfg.base = base;
    CHECK_EQ(ftruncate(fd, 0x10000), 0, "");
    CHECK_EQ(memmap_with(none, 1, BASE, 0x10000, fd, 0, &mm), 0, "");
    memmap_put(none);
    CHECK_EQ(memmap_span(mm, (gpa_t){ BASE }, 0x10000, &va), 0, "");
    mem = va;
    memset(&ring, 0, sizeof(ring));
    CHECK_EQ(vring_start(&ring, &cfg, mm, NULL), 0, "");
}

static void teardown(void)
{
    vring_close(&ring);
    memmap_put(mm);
}

static uint16_t *u16(size_t off)
{
    return (uint16_t *)(mem + off);
}

/* The driver offers @head as the entry @idx of the avail ring. */
static void offer(uint16_t idx, uint16_t head)
{
    *u16(AVAIL + 4 + 2 * (idx % SIZE)) = head;
    *u16(AVAIL + 2) = (uint16_t)(idx + 1);
}

#define USED_EVENT  (AVAIL + 4 + 2 * SIZE)
#define AVAIL_EVENT (USED + 4 + 8 * SIZE)
#define EVENT_IDX   (UINT64_C(1) << 29)
#define ON_EMPTY    (UINT64_C(1) << 24)

static void heads_come_in_order_and_the_ring_runs_dry(void)
{
    uint16_t head = 99;

    setup(0, 0);
    CHECK_EQ(vring_pop(&ring, &head), 0, "empty at first");
    offer(0, 2);
    offer(1, 0);
    CHECK_EQ(vring_pop(&ring, &head), 1, "");
    CHECK_EQ(head, 2, "");
    CHECK_EQ(vring_pop(&ring, &head), 1, "");
    CHECK_EQ(head, 0, "");
    CHECK_EQ(vring_pop(&ring, &head), 0, "dry");
    teardown();
}

static void positions_wrap_at_65536(void)
{
    uint16_t head;

    setup(0, 65534);
    *u16(AVAIL + 2) = 65534;
    for (uint32_t i = 65534; i < 65540; i++) {
        offer((uint16_t)i, (uint16_t)(i % SIZE));
        if (!CHECK_EQ(vring_pop(&ring, &head), 1, "one each"))
            break;
        CHECK_EQ(head, i % SIZE, "");
        vring_push(&ring, head, i);
    }
    CHECK_EQ(ring.last_avail, 4, "wrapped");
    CHECK_EQ(*u16(USED + 2), 6, "six pushed from zero");
    CHECK_EQ(*(uint32_t *)(mem + USED + 4 + 8 + 4), 65539,
             "the sixth stands where the second stood");
    CHECK_EQ(*(uint32_t *)(mem + USED + 4 + 8 * SIZE), 0,
             "nothing behind the ring");
    teardown();
}

static void an_impossible_index_breaks_the_ring(void)
{
    uint16_t head;

    setup(0, 0);
    *u16(AVAIL + 2) = SIZE + 1;
    CHECK_EQ(vring_pop(&ring, &head), -EINVAL, "more than the ring holds");
    *u16(AVAIL + 2) = 0;
    offer(0, SIZE);
    CHECK_EQ(vring_pop(&ring, &head), -EINVAL, "no such descriptor");
    teardown();
}

static void used_elements_carry_head_and_length(void)
{
    uint32_t *e;

    setup(0, 0);
    e = (uint32_t *)(mem + USED + 4);
    vring_push(&ring, 3, 0x1234);
    CHECK_EQ(*u16(USED + 2), 1, "index");
    CHECK_EQ(e[0], 3, "head");
    CHECK_EQ(e[1], 0x1234, "length");
    teardown();
}

static void the_used_index_goes_on_after_a_restart(void)
{
    struct vring_cfg cfg = config(0);

    setup(0, 0);
    vring_push(&ring, 1, 0);
    vring_push(&ring, 2, 0);
    vring_close(&ring);
    cfg.base = 2;
    CHECK_EQ(vring_start(&ring, &cfg, mm, NULL), 0, "");
    vring_push(&ring, 3, 0);
    CHECK_EQ(*u16(USED + 2), 3, "");
    CHECK_EQ(ring.last_avail, 2, "base");
    teardown();
}

static void without_event_idx_the_avail_flag_suppresses(void)
{
    setup(0, 0);
    vring_push(&ring, 0, 0);
    CHECK(vring_should_notify(&ring), "asked for");
    *u16(AVAIL) = 1;
    vring_push(&ring, 0, 0);
    CHECK(!vring_should_notify(&ring), "not wanted");
    teardown();
}

static void with_event_idx_the_driver_names_the_one_it_waits_for(void)
{
    setup(EVENT_IDX, 0);
    *u16(USED_EVENT) = 1;
    vring_push(&ring, 0, 0);
    CHECK(vring_should_notify(&ring), "the first one after a start");
    vring_push(&ring, 0, 0);
    CHECK(vring_should_notify(&ring), "the second is the one");
    vring_push(&ring, 0, 0);
    CHECK(!vring_should_notify(&ring), "already told");
    *u16(USED_EVENT) = 4;
    vring_push(&ring, 0, 0);
    CHECK(!vring_should_notify(&ring), "not yet");
    vring_push(&ring, 0, 0);
    vring_push(&ring, 0, 0);
    CHECK(vring_should_notify(&ring), "passed within a batch");
    teardown();
}

static void notify_on_empty_overrides_suppression(void)
{
    uint16_t head;

    setup(EVENT_IDX | ON_EMPTY, 0);
    *u16(USED_EVENT) = 1000;
    offer(0, 0);
    offer(1, 1);
    CHECK_EQ(vring_pop(&ring, &head), 1, "");
    vring_push(&ring, head, 0);
    vring_should_notify(&ring); /* the first is told in any case */
    CHECK_EQ(vring_pop(&ring, &head), 1, "");
    vring_push(&ring, head, 0);
    CHECK(vring_should_notify(&ring), "the ring is empty now");
    teardown();
}

static void arming_sees_what_came_meanwhile(void)
{
    uint16_t head;

    setup(EVENT_IDX, 0);
    offer(0, 0);
    CHECK_EQ(vring_pop(&ring, &head), 1, "");
    CHECK(!vring_arm(&ring), "nothing more");
    CHECK_EQ(*u16(AVAIL_EVENT), 1, "the next one shall kick");
    offer(1, 1);
    CHECK(vring_arm(&ring), "one came");
    teardown();

    setup(0, 0);
    vring_disarm(&ring);
    CHECK_EQ(*u16(USED), 1, "no kicks wanted");
    CHECK(!vring_arm(&ring), "nothing there");
    CHECK_EQ(*u16(USED), 0, "kicks wanted");
    teardown();
}

static void a_ring_that_no_region_holds_is_refused(void)
{
    struct vring_cfg good = config(0), cfg;
    struct {
        const char *why;
        gpa_t *part;
        uint64_t at;
    } rows[] = {
        { "desc outside", &cfg.desc, 0x1000 },
        { "desc runs out", &cfg.desc, 0x1fff0 },
        { "avail outside", &cfg.avail, 0x20000 },
        { "used runs out", &cfg.used, 0x1fffc },
    };

    setup(0, 0);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        cfg = good;
        rows[i].part->v = rows[i].at;
        CHECK_EQ(vring_start(&ring, &cfg, mm, NULL), -EFAULT, rows[i].why);
        CHECK(!vring_is_open(&ring), rows[i].why);
    }
    teardown();
}

TAP_MAIN(TEST(heads_come_in_order_and_the_ring_runs_dry),
         TEST(positions_wrap_at_65536),
         TEST(an_impossible_index_breaks_the_ring),
         TEST(used_elements_carry_head_and_length),
         TEST(the_used_index_goes_on_after_a_restart),
         TEST(without_event_idx_the_avail_flag_suppresses),
         TEST(with_event_idx_the_driver_names_the_one_it_waits_for),
         TEST(notify_on_empty_overrides_suppression),
         TEST(arming_sees_what_came_meanwhile),
         TEST(a_ring_that_no_region_holds_is_refused))
