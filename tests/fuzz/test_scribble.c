/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest that changes what we are reading: one thread serves a ring, another
 * writes into its descriptors, its indirect table, the requests and the
 * indexes without pause.  What comes of a request does not matter; that
 * nothing is left over afterwards, and that we are still here, does.
 */
#include <pthread.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/share.h"
#include "tests/fuzz/world.h"
#include "tests/lib/tap.h"

/* It goes on until both threads have met often enough. */
#define ROUNDS_MIN 10000
#define ROUNDS_MAX 5000000
#define GOOD_MIN   1000
#define BROKEN_MIN 200

static struct guest_ring guest;
static struct world world;
static _Atomic bool stop;
static _Atomic uint64_t scribbles;

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void put(uint64_t gpa, uint64_t v, size_t bytes)
{
    uint8_t *p = ring_at(&guest, gpa, bytes);

    memcpy(p, &v, bytes);
    /* Out it goes, now and not merged with what follows. */
    __asm__ __volatile__("" ::: "memory");
}

/* One field of one descriptor of @table, often to what could be meant. */
static void scribble_desc(uint64_t table, uint32_t n, uint64_t r)
{
    uint64_t at = table + 16 * (r % n);

    switch (r >> 16 & 7) {
    case 0:
        put(at, BUF_GPA + (r >> 32) % (2 * BUF_BYTES), 8);
        break;
    case 1:
        put(at, r >> 20, 8);
        break;
    case 2:
        put(at + 8, (r >> 32) % 512, 4);
        break;
    case 3:
        put(at + 8, r >> 32, 4);
        break;
    case 4:
        put(at + 14, (r >> 32) % 8, 2);
        break;
    case 5:
        put(at + 14, r >> 32, 2);
        break;
    default:
        put(at + 12, (r >> 32) & 7, 2);
        break;
    }
}

static void *scribble(void *arg)
{
    uint64_t state = 88172645463325252u;

    (void)arg;
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        uint64_t r = next_random(&state);

        switch (r >> 60) {
        case 0: /* the driver's index */
            put(RING_GPA + RING_AVAIL + 2, r, 2);
            break;
        case 1: /* a head */
            put(RING_GPA + RING_AVAIL + 4 + 2 * (r % 16), r >> 32 & 0x1ff, 2);
            break;
        case 2: /* the request's header: length, opcode, node ... */
        case 3:
            put(BUF_GPA + (r % 40 & ~3ull), r >> 32 & 0x3f, 4);
            break;
        case 4: /* the arguments, names */
        case 5:
            put(BUF_GPA + 40 + r % 64, r >> 32, 1);
            break;
        case 6: /* the indirect table */
        case 7:
        case 8:
            scribble_desc(RING_GPA + RING_INDIRECT, 4, r);
            break;
        case 9:
        case 10:
            scribble_desc(RING_GPA + RING_DESC, 4, r);
            break;
        default: /* leave what stands some time to be served */
            for (volatile int i = 0; i < 200; i++)
                ;
            break;
        }
        atomic_fetch_add_explicit(&scribbles, 1, memory_order_relaxed);
    }
    return NULL;
}

/* A request of some kind, in two segments or four. */
static void offer(uint32_t round)
{
    static const struct {
        uint32_t opcode;
        size_t len; /* bytes behind the header; zeros follow @text */
        const char *text;
        size_t text_len;
    } kinds[] = {
#define TEXT(s) s, sizeof(s) - 1
        { FUSE_LOOKUP, 5, TEXT("file") },
        { FUSE_GETATTR, 16, TEXT("") },
        { FUSE_CREATE, 20, TEXT("\2\0\0\0\244\1\0\0\0\0\0\0\0\0\0\0new") },
        { FUSE_OPENDIR, 8, TEXT("") },
        { FUSE_SETXATTR, 20, TEXT("\4\0\0\0\0\0\0\0user.a\0value") },
        { FUSE_SYMLINK, 13, TEXT("there\0target") },
        { FUSE_BATCH_FORGET, 40, TEXT("\2") },
        { FUSE_RENAME2, 27,
          TEXT("\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0file\0other") },
        { FUSE_STATFS, 0, TEXT("") },
        { FUSE_INIT, 16, TEXT("\7\0\0\0\37\0\0\0\0\0\2") },
        { FUSE_READDIRPLUS, 40, TEXT("\1") },
        { FUSE_WRITE, 60, TEXT("\1") },
        { FUSE_READ, 40, TEXT("\1") },
#undef TEXT
    };
    size_t k = round % ARRAY_SIZE(kinds);
    struct fuse_in_header h = { .len = (uint32_t)(sizeof(h) + kinds[k].len),
                                .opcode = kinds[k].opcode,
                                .unique = round,
                                .nodeid = 1 };
    uint64_t out = BUF_GPA + 4096;
    struct seg segs[] = { { BUF_GPA, sizeof(h), false },
                          { BUF_GPA + sizeof(h), 64, false },
                          { out, 16, true },
                          { out + 16, 4096, true } };
    char body[64] = { 0 };

    memcpy(body, kinds[k].text, kinds[k].text_len);
    ring_write(&guest, BUF_GPA, &h, sizeof(h));
    ring_write(&guest, BUF_GPA + sizeof(h), body, sizeof(body));
    ring_put(&guest, segs, ARRAY_SIZE(segs), round & 1);
}

/* Return: bytes of the answer, or how the ring is broken. */
static int one_round(uint32_t round)
{
    uint32_t used = 0;
    uint16_t head;
    int ret;

    offer(round);
    ret = vring_pop(&guest.v, &head);
    if (ret <= 0)
        return ret;
    ret = serve_request(&world.exec, &guest.v, WORLD_RING, head, &used);
    if (ret < 0)
        return ret;
    vring_push(&guest.v, head, used);
    (void)vring_should_notify(&guest.v);
    return (int)used;
}

static void nothing_a_guest_changes_meanwhile_does_harm(void)
{
    uint32_t served = 0, broken = 0, good = 0, round;
    struct pt_fs_counts n;
    pthread_t thread;
    int before;

    share_reset();
    ring_open(&guest);
    world_open(&world, 0);
    CHECK_EQ(world_init(&world, &guest), 0, "");
    (void)fuzz_count_fds();
    before = fuzz_count_fds();
    CHECK_EQ(pthread_create(&thread, NULL, scribble, NULL), 0, "");
    for (round = 0; round < ROUNDS_MAX; round++) {
        int ret = one_round(round);

        served += ret >= 0;
        good += ret > 0;
        broken += ret < 0;
        /* The next start, as after a reset by the driver. */
        ring_restart(&guest, (uint16_t)round);
        if (round % 1000 == 999)
            share_reset();
        if (round >= ROUNDS_MIN && good >= GOOD_MIN && broken >= BROKEN_MIN)
            break;
    }
    atomic_store(&stop, true);
    pthread_join(thread, NULL);
    tap_diag("%u served, %u of them answered; %u broke the ring; %llu changes",
             served, good, broken, (unsigned long long)atomic_load(&scribbles));
    CHECK(good >= GOOD_MIN, "some requests came through");
    CHECK(broken >= BROKEN_MIN, "some were seen to be impossible");
    life_end(world.life);
    pt_fs_count(world.fs, &n);
    CHECK_EQ(n.nodes, 1, "the root is all that is left");
    CHECK_EQ(n.handles, 0, "no file is open");
    /* Two sessions, a descriptor each, end with the life. */
    CHECK_EQ(fuzz_count_fds(), before - 2, "no descriptor is lost");
    world_close(&world);
    ring_close(&guest);
    share_remove();
}

TAP_MAIN(TEST(nothing_a_guest_changes_meanwhile_does_harm))
