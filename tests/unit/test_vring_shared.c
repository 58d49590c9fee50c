/* SPDX-License-Identifier: BSD-3-Clause */
#include "vhost/vring_shared.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/lib/tap.h"

static void vring_slot_gives_back_what_was_published(void)
{
    static struct vring_slot slot;
    struct vring_cfg in, out;
    uint64_t seq = 99;

    memset(&in, 0x5a, sizeof(in));
    CHECK_EQ(vring_slot_read(&slot, &out, &seq), 0, "an untouched slot reads");
    CHECK_EQ(seq, 0, "");
    CHECK_EQ(vring_slot_publish(&slot, &in), 2, "counts by two");
    CHECK(vring_slot_changed(&slot, 0), "");
    CHECK_EQ(vring_slot_read(&slot, &out, &seq), 0, "");
    CHECK_EQ(seq, 2, "");
    CHECK(!vring_slot_changed(&slot, seq), "");
    CHECK_MEM(&out, &in, sizeof(in), "");
    CHECK_EQ(vring_slot_publish(&slot, &in), 4, "");
}

static void vring_slot_read_gives_up_on_a_writer_that_died_halfway(void)
{
    static struct vring_slot slot;
    struct vring_cfg out;
    uint64_t seq;

    atomic_store_explicit(&slot.seq, 7, memory_order_relaxed);
    CHECK_EQ(vring_slot_read(&slot, &out, &seq), -EAGAIN, "odd for ever");
}

/* What counts is how many publishes the reader met, not how many reads it
 * made: a reader that is done before the writer runs proves nothing. */
#define STRESS_DISTINCT  3000
#define STRESS_PUBLISHES 20000000

static struct vring_slot stress;
static _Atomic bool stress_enough;
static _Atomic uint64_t stress_last;

/* Every word of generation n says n, so a torn copy shows. */
static void *stress_writer(void *arg)
{
    uint64_t n;

    (void)arg;
    for (n = 1; n <= STRESS_PUBLISHES; n++) {
        uint64_t words[VRING_CFG_WORDS];
        struct vring_cfg cfg;

        for (size_t i = 0; i < VRING_CFG_WORDS; i++)
            words[i] = n;
        memcpy(&cfg, words, sizeof(cfg));
        vring_slot_publish(&stress, &cfg);
        if (n % 64 == 0)
            sched_yield();
        if (atomic_load_explicit(&stress_enough, memory_order_relaxed))
            break;
    }
    atomic_store_explicit(&stress_last, MIN(n, (uint64_t)STRESS_PUBLISHES),
                          memory_order_release);
    return NULL;
}

static void vring_slot_read_never_mixes_two_publishes(void)
{
    pthread_t writer;
    uint64_t last = 0, end;
    unsigned int distinct = 0, torn = 0, backwards = 0, mislabelled = 0;

    pthread_create(&writer, NULL, stress_writer, NULL);
    do {
        uint64_t words[VRING_CFG_WORDS], seq;
        struct vring_cfg cfg;

        end = atomic_load_explicit(&stress_last, memory_order_acquire);
        if (vring_slot_read(&stress, &cfg, &seq) < 0)
            continue;
        memcpy(words, &cfg, sizeof(words));
        for (size_t i = 1; i < VRING_CFG_WORDS; i++)
            torn += words[i] != words[0];
        mislabelled += seq != 2 * words[0];
        backwards += words[0] < last;
        distinct += words[0] != last;
        last = words[0];
        if (distinct == STRESS_DISTINCT)
            atomic_store_explicit(&stress_enough, true, memory_order_relaxed);
        if (distinct % 100 == 0)
            sched_yield();
    } while (!end);
    pthread_join(writer, NULL);
    tap_diag("%u distinct generations of %llu seen", distinct,
             (unsigned long long)end);
    CHECK_EQ(torn, 0, "a copy is of one publish");
    CHECK_EQ(mislabelled, 0, "the seq told belongs to the copy");
    CHECK_EQ(backwards, 0, "publishes are seen in order");
    CHECK_EQ(last, end, "the last one is seen");
    CHECK(distinct >= STRESS_DISTINCT, "both really ran side by side");
}

static void a_page_can_be_read_and_only_read_by_the_other_side(void)
{
    struct cfg_page *mine = NULL;
    const struct cfg_page *theirs = NULL;
    struct vring_cfg cfg = { .size = 128 }, got;
    uint64_t seq;
    int fd = -1;
    void *p;

    CHECK_EQ(cfg_page_create(&mine, &fd), 0, "");
    CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC, "");
    CHECK_EQ(cfg_page_open(fd, &theirs), 0, "");
    vring_slot_publish(&mine->slot[3], &cfg);
    CHECK_EQ(vring_slot_read(&theirs->slot[3], &got, &seq), 0, "");
    CHECK_EQ(got.size, 128, "what one side writes the other reads");

    p = mmap(NULL, sizeof(*mine), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(p == MAP_FAILED && errno == EPERM, "no second writable mapping");
    CHECK(mprotect((void *)theirs, sizeof(*theirs), PROT_READ | PROT_WRITE) < 0,
          "nor one made writable later");
    CHECK(pwrite(fd, "x", 1, 0) < 0 && errno == EPERM, "nor write(2)");
    CHECK(ftruncate(fd, 0) < 0 && errno == EPERM, "nor less of it");
    CHECK(ftruncate(fd, 1 << 20) < 0 && errno == EPERM, "nor more");
    CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) < 0, "nor other seals");
    munmap((void *)theirs, sizeof(*theirs));
    munmap(mine, sizeof(*mine));
    close(fd);
}

static void the_run_page_has_room_for_every_ring(void)
{
    struct run_page *mine = NULL;
    const struct run_page *theirs = NULL;
    int fd = -1;

    CHECK_EQ(run_page_create(&mine, &fd), 0, "");
    CHECK_EQ(run_page_open(fd, &theirs), 0, "");
    atomic_store_explicit(&mine->ring[VRING_MAX - 1].last_avail, 7,
                          memory_order_release);
    CHECK_EQ(atomic_load_explicit(&theirs->ring[VRING_MAX - 1].last_avail,
                                  memory_order_acquire),
             7, "");
    munmap((void *)theirs, sizeof(*theirs));
    munmap(mine, sizeof(*mine));
    close(fd);
}

#define SEALS (F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

static const struct {
    const char *why;
    int seals;
    off_t size_bytes;
    int want;
} pages[] = {
    { "no seal at all", 0, sizeof(struct cfg_page), -EPERM },
    { "may shrink", SEALS & ~F_SEAL_SHRINK, sizeof(struct cfg_page), -EPERM },
    { "may be written", SEALS & ~F_SEAL_FUTURE_WRITE, sizeof(struct cfg_page),
      -EPERM },
    { "too small", SEALS, 4096, -EINVAL },
    { "empty", SEALS, 0, -EINVAL },
    { "no magic", SEALS, sizeof(struct cfg_page), -EINVAL },
};

static void a_page_of_the_wrong_kind_is_refused(void)
{
    const struct cfg_page *p = NULL;
    struct run_page *run = NULL;
    int fd = -1;

    for (size_t i = 0; i < ARRAY_SIZE(pages); i++) {
        fd = memfd_create("t", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        CHECK_EQ(ftruncate(fd, pages[i].size_bytes), 0, "set-up");
        if (pages[i].seals)
            CHECK_EQ(fcntl(fd, F_ADD_SEALS, pages[i].seals), 0, "set-up");
        CHECK_EQ(cfg_page_open(fd, &p), pages[i].want, pages[i].why);
        close(fd);
    }
    CHECK_EQ(run_page_create(&run, &fd), 0, "set-up");
    CHECK(cfg_page_open(fd, &p) < 0, "a run page is no cfg page");
    munmap(run, sizeof(*run));
    close(fd);
    CHECK(cfg_page_open(-1, &p) < 0, "no fd");
    CHECK(p == NULL, "nothing was handed out");
}

#define GOOD                                                                   \
    {                                                                          \
        .flags = VRING_CFG_STARTED | VRING_CFG_ENABLED, .size = 128,           \
        .desc = { 0x1000 }, .avail = { 0x2002 }, .used = {                     \
            0x3004                                                             \
        }                                                                      \
    }

static const struct {
    const char *why;
    struct vring_cfg cfg;
    int want;
} shapes[] = {
    { "a good one", GOOD, 0 },
    { "never set up", { 0 }, 0 },
    { "stopped, addresses whatever they are",
      { .size = 64, .desc = { 3 }, .used = { 1 } },
      0 },
    { "largest", { .flags = 1, .size = VRING_SIZE_MAX }, 0 },
    { "unknown flag", { .flags = 1 << 4 }, -EINVAL },
    { "no power of two", { .size = 100 }, -EINVAL },
    { "too large", { .size = VRING_SIZE_MAX * 2 }, -EINVAL },
    { "base above 16 bits", { .base = 65536 }, -EINVAL },
    { "started without a size", { .flags = VRING_CFG_STARTED }, -EINVAL },
    { "misaligned descriptors",
      { .flags = 1, .size = 8, .desc = { 0x1008 } },
      -EINVAL },
    { "misaligned avail ring",
      { .flags = 1, .size = 8, .avail = { 0x1001 } },
      -EINVAL },
    { "misaligned used ring",
      { .flags = 1, .size = 8, .used = { 0x1002 } },
      -EINVAL },
};

static void vring_cfg_check_refuses_impossible_shapes(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(shapes); i++)
        CHECK_EQ(vring_cfg_check(&shapes[i].cfg), shapes[i].want,
                 shapes[i].why);
}

TAP_MAIN(TEST(vring_slot_gives_back_what_was_published),
         TEST(vring_slot_read_gives_up_on_a_writer_that_died_halfway),
         TEST(vring_slot_read_never_mixes_two_publishes),
         TEST(a_page_can_be_read_and_only_read_by_the_other_side),
         TEST(the_run_page_has_room_for_every_ring),
         TEST(a_page_of_the_wrong_kind_is_refused),
         TEST(vring_cfg_check_refuses_impossible_shapes))
