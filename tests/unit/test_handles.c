/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "fuse/passthrough/handles.h"
#include "tests/lib/tap.h"

static struct pt_table t;

static void start(void)
{
    pt_table_init(&t, sizeof(struct pt_handle));
}

static void stop(void)
{
    pt_handles_reset(&t);
    CHECK_EQ(pt_table_count(&t), 0, "reset leaves none");
    pt_table_fini(&t);
}

static uint64_t open_one(enum pt_handle_kind kind, int *fd)
{
    uint64_t fh = 0;

    *fd = open(kind == PT_HANDLE_DIR ? "/" : "/dev/null", O_RDONLY | O_CLOEXEC);
    CHECK(*fd >= 0, "a descriptor to play with");
    CHECK_EQ(pt_handle_add(&t, kind, *fd, O_RDONLY, 1, &fh), 0, "");
    return fh;
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static void a_forged_handle_finds_nothing(void)
{
    uint64_t fh;
    int fd;

    start();
    fh = open_one(PT_HANDLE_FILE, &fd);
    CHECK(fh != 0, "0 is what a guest sends when it has none");
    CHECK(!pt_handle_get(&t, 0, PT_HANDLE_FILE), "zero");
    CHECK(!pt_handle_get(&t, fh + 1, PT_HANDLE_FILE), "never given out");
    CHECK(!pt_handle_get(&t, fh | (uint64_t)1 << 32, PT_HANDLE_FILE),
          "another generation");
    CHECK(!pt_handle_get(&t, UINT32_MAX, PT_HANDLE_FILE), "the last index");
    CHECK(!pt_handle_get(&t, UINT64_MAX, PT_HANDLE_FILE), "all ones");
    CHECK(!pt_handle_get(&t, fh, PT_HANDLE_DIR), "of the other kind");
    CHECK_EQ(pt_handle_release(&t, fh, PT_HANDLE_DIR), -EBADF, "other kind");
    CHECK(is_open(fd), "none of this closed it");
    stop();
    CHECK(!is_open(fd), "reset did");
}

static void a_second_release_is_refused(void)
{
    struct pt_handle *h;
    uint64_t fh, fh2;
    int fd, fd2;

    start();
    fh = open_one(PT_HANDLE_FILE, &fd);
    h = pt_handle_get(&t, fh, PT_HANDLE_FILE);
    CHECK(h != NULL, "");
    CHECK_EQ(pt_handle_release(&t, fh, PT_HANDLE_FILE), 0, "");
    CHECK(is_open(fd), "a read is still on its way");
    CHECK_EQ(pt_handle_release(&t, fh, PT_HANDLE_FILE), -EBADF, "twice");
    CHECK(!pt_handle_get(&t, fh, PT_HANDLE_FILE), "released is gone");
    CHECK(is_open(fd), "the second took nobody's reference");
    pt_handle_put(&t, h);
    CHECK(!is_open(fd), "the last one out");
    fh2 = open_one(PT_HANDLE_FILE, &fd2);
    CHECK_EQ((uint32_t)fh2, (uint32_t)fh, "the slot is used again");
    CHECK(fh2 != fh, "under another number");
    CHECK_EQ(pt_handle_release(&t, fh, PT_HANDLE_FILE), -EBADF, "stale");
    CHECK(is_open(fd2), "the new one is untouched");
    stop();
}

static void a_table_grows_past_its_chunks(void)
{
    enum { N = 5000 };
    struct pt_handle *h;
    uint64_t fh[N];

    start();
    for (int i = 0; i < N; i++) {
        /* -1: close() of it does nothing */
        CHECK_EQ(pt_handle_add(&t, PT_HANDLE_FILE, -1, i, 1, &fh[i]), 0, "");
    }
    CHECK_EQ(pt_table_count(&t), N, "");
    for (int i = 0; i < N; i++) {
        h = pt_handle_get(&t, fh[i], PT_HANDLE_FILE);
        if (!CHECK(h != NULL, "each is found"))
            continue;
        CHECK_EQ(h->flags, i, "and is itself");
        pt_handle_put(&t, h);
    }
    stop();
}

/* Four threads open handles, look at each other's and release their own. */
#define ROUNDS 50000
static _Atomic uint64_t shared_fh;
static _Atomic uint64_t released, wrong;

static void *churn(void *arg)
{
    int mine = *(int *)arg;

    for (int i = 0; i < ROUNDS; i++) {
        struct pt_handle *h;
        uint64_t own;

        h = pt_handle_get(&t, atomic_load(&shared_fh), PT_HANDLE_FILE);
        if (h)
            pt_handle_put(&t, h);
        if (pt_handle_add(&t, PT_HANDLE_FILE, -1, mine, 1, &own) < 0)
            continue;
        atomic_store(&shared_fh, own);
        h = pt_handle_get(&t, own, PT_HANDLE_FILE);
        if (!h || h->flags != mine)
            atomic_fetch_add(&wrong, 1);
        if (h)
            pt_handle_put(&t, h);
        if (pt_handle_release(&t, own, PT_HANDLE_FILE) == 0)
            atomic_fetch_add(&released, 1);
    }
    return NULL;
}

static void threads_never_share_a_slot(void)
{
    int name[4] = { 10, 11, 12, 13 };
    pthread_t thread[4];

    start();
    atomic_store(&released, 0);
    for (int i = 0; i < 4; i++)
        pthread_create(&thread[i], NULL, churn, &name[i]);
    for (int i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
    CHECK_EQ(atomic_load(&wrong), 0, "");
    CHECK_EQ(atomic_load(&released), 4 * ROUNDS, "as many as were opened");
    CHECK_EQ(pt_table_count(&t), 0, "");
    stop();
}

/* All release one handle at once, while it is pinned. */
#define RACES 500
static pthread_barrier_t barrier;

static void *race(void *arg)
{
    (void)arg;
    for (int i = 0; i < RACES; i++) {
        pthread_barrier_wait(&barrier);
        if (pt_handle_release(&t, atomic_load(&shared_fh), PT_HANDLE_FILE) == 0)
            atomic_fetch_add(&released, 1);
        pthread_barrier_wait(&barrier);
    }
    return NULL;
}

static void of_many_releases_one_counts(void)
{
    pthread_t thread[3];
    struct pt_handle *h;
    uint64_t fh;

    start();
    atomic_store(&released, 0);
    pthread_barrier_init(&barrier, NULL, 4);
    for (int i = 0; i < 3; i++)
        pthread_create(&thread[i], NULL, race, NULL);
    for (int i = 0; i < RACES; i++) {
        CHECK_EQ(pt_handle_add(&t, PT_HANDLE_FILE, -1, 7, 1, &fh), 0, "");
        h = pt_handle_get(&t, fh, PT_HANDLE_FILE);
        atomic_store(&shared_fh, fh);
        pthread_barrier_wait(&barrier);
        pthread_barrier_wait(&barrier);
        CHECK_EQ(pt_table_count(&t), 1, "a pinned handle stays");
        pt_handle_put(&t, h);
    }
    for (int i = 0; i < 3; i++)
        pthread_join(thread[i], NULL);
    pthread_barrier_destroy(&barrier);
    CHECK_EQ(atomic_load(&released), RACES, "one a round");
    CHECK_EQ(pt_table_count(&t), 0, "");
    stop();
}

TAP_MAIN(TEST(a_forged_handle_finds_nothing), TEST(a_second_release_is_refused),
         TEST(a_table_grows_past_its_chunks), TEST(threads_never_share_a_slot),
         TEST(of_many_releases_one_counts))
