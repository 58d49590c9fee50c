/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "fuse/passthrough/nodes.h"
#include "tests/lib/tap.h"
#include "virtiofsd/base/log.h"

static struct pt_nodes *t;
static int root_fd;
static const struct pt_key root_key = { .dev = 1, .ino = 1, .mnt_id = 1 };

static void start(void)
{
    log_set_level(LOG_LEVEL_OFF);
    t = aligned_alloc(_Alignof(struct pt_nodes), sizeof(*t));
    root_fd = open("/", O_PATH | O_CLOEXEC);
    CHECK(root_fd >= 0, "");
    CHECK_EQ(pt_nodes_init(t, &root_key, S_IFDIR, root_fd), 0, "");
}

static void stop(void)
{
    pt_nodes_reset(t);
    CHECK_EQ(pt_table_count(&t->table), 1, "reset leaves the root");
    CHECK(fcntl(root_fd, F_GETFD) >= 0, "and its descriptor");
    pt_nodes_fini(t);
    CHECK(fcntl(root_fd, F_GETFD) >= 0, "which is not ours to close");
    close(root_fd);
    free(t);
}

static struct pt_key key_of(uint64_t ino)
{
    return (struct pt_key){ .dev = 1, .ino = ino, .mnt_id = 1 };
}

static uint64_t insert(uint64_t ino, int *fd)
{
    struct pt_key k = key_of(ino);
    uint64_t id = 0;

    *fd = open("/", O_PATH | O_CLOEXEC);
    CHECK(pt_node_insert(t, &k, S_IFREG | 0644, *fd, NULL, &id) >= 0, "");
    return id;
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static bool is_there(uint64_t id)
{
    struct pt_node *n = pt_node_get(t, id);

    if (n)
        pt_node_put(t, n);
    return n != NULL;
}

static void the_root_is_id_1_and_stays(void)
{
    struct pt_node *n;

    start();
    n = pt_node_get(t, PT_ROOT_ID);
    CHECK(n && n->fd == root_fd, "");
    if (n)
        pt_node_put(t, n);
    CHECK_EQ(pt_node_find(t, &root_key), PT_ROOT_ID, "found by its inode");
    pt_node_forget(t, PT_ROOT_ID, UINT64_MAX);
    pt_node_forget(t, PT_ROOT_ID, 1);
    CHECK(is_there(PT_ROOT_ID), "whatever the guest forgets");
    stop();
}

static void a_forged_id_finds_nothing(void)
{
    uint64_t id;
    int fd;

    start();
    id = insert(7, &fd);
    CHECK(is_there(id), "");
    CHECK(!is_there(0), "zero");
    CHECK(!is_there(id + 1), "never given out");
    CHECK(!is_there(id + ((uint64_t)1 << 32)), "the next generation");
    CHECK(!is_there(PT_ROOT_ID | (uint64_t)5 << 32), "the root's, too");
    CHECK(!is_there(UINT32_MAX), "beyond the table");
    CHECK(!is_there(UINT64_MAX), "all ones");
    pt_node_forget(t, UINT64_MAX, 1);
    pt_node_forget(t, id + 1, 1);
    CHECK(is_there(id), "");
    stop();
}

static void a_node_lives_as_long_as_its_lookups(void)
{
    struct pt_key k = key_of(7), other = k;
    struct pt_node *n;
    uint64_t id, id2;
    int fd, fd2;

    start();
    id = insert(7, &fd);
    CHECK_EQ(pt_node_find(t, &k), id, "a second lookup");
    id2 = insert(7, &fd2);
    CHECK_EQ(id2, id, "a third, by somebody who opened it meanwhile");
    CHECK(!is_open(fd2), "whose descriptor is not needed");
    /* Many, so that some fall into the node's own bucket. */
    for (other.mnt_id = 2; other.mnt_id < 20000; other.mnt_id++)
        CHECK_EQ(pt_node_find(t, &other), 0, "another mount, another node");
    n = pt_node_get(t, id);
    CHECK_EQ(n ? pt_node_add_lookup(t, n) : -1, 0, "a fourth");

    pt_node_forget(t, id, 3);
    CHECK_EQ(pt_node_find(t, &k), id, "one was left, this is one more");
    pt_node_forget(t, id, 2);
    CHECK_EQ(pt_node_find(t, &k), 0, "now it cannot be found");
    CHECK(is_open(fd), "but it is in use");
    CHECK_EQ(pt_node_add_lookup(t, n), -ESTALE, "it does not come back");
    pt_node_forget(t, id, 1);
    CHECK(is_open(fd), "nobody's reference was dropped");
    pt_node_put(t, n);
    CHECK(!is_open(fd), "the last one out");
    CHECK(!is_there(id), "");

    id2 = insert(7, &fd);
    CHECK_EQ((uint32_t)id2, (uint32_t)id, "the slot is used again");
    CHECK(id2 != id, "under another number");
    pt_node_forget(t, id, 1);
    CHECK(is_there(id2), "the old number does not reach it");
    pt_node_forget(t, id2, 1000);
    CHECK(!is_there(id2), "more than it had is all it had");
    stop();
}

static void many_nodes_are_all_found(void)
{
    enum { N = 20000 };
    uint64_t *id = calloc(N, sizeof(*id));

    start();
    for (uint64_t i = 0; i < N; i++) {
        struct pt_key k = key_of(i + 10);

        CHECK_EQ(pt_node_insert(t, &k, S_IFREG, -1, NULL, &id[i]), 1, "new");
    }
    CHECK_EQ(pt_table_count(&t->table), N + 1, "and the root");
    for (uint64_t i = 0; i < N; i += 3)
        pt_node_forget(t, id[i], 1);
    for (uint64_t i = 0; i < N; i++) {
        struct pt_key k = key_of(i + 10);

        CHECK_EQ(pt_node_find(t, &k), i % 3 ? id[i] : 0, "");
    }
    stop();
    free(id);
}

/*
 * Threads look up and forget few files in many ways.  Each counts what it
 * holds; what counts is that a held node is always there, with its own inode,
 * and that nothing is left at the end.
 */
#define ROUNDS 4000
#define FILES  5
static _Atomic uint64_t fresh, wrong;

static void *churn(void *arg)
{
    unsigned int seed = *(unsigned int *)arg;

    for (int i = 0; i < ROUNDS; i++) {
        uint64_t ino = 100 + (uint64_t)rand_r(&seed) % FILES;
        struct pt_key k = key_of(ino);
        uint64_t id = pt_node_find(t, &k);
        struct pt_node *n;

        if (!id && pt_node_insert(t, &k, S_IFREG, -1, NULL, &id) == 1)
            atomic_fetch_add(&fresh, 1);
        n = pt_node_get(t, id);
        if (!n || n->key.ino != ino)
            atomic_fetch_add(&wrong, 1);
        if (n && rand_r(&seed) % 2 && pt_node_add_lookup(t, n) == 0)
            pt_node_forget(t, id, 1);
        pt_node_forget(t, id, 1);
        if (n)
            pt_node_put(t, n);
    }
    return NULL;
}

static void threads_never_lose_a_node_they_hold(void)
{
    unsigned int seed[4];
    pthread_t thread[4];

    start();
    for (unsigned int i = 0; i < 4; i++) {
        seed[i] = i;
        pthread_create(&thread[i], NULL, churn, &seed[i]);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
    tap_diag("%llu lives of %d files", (unsigned long long)atomic_load(&fresh),
             FILES);
    CHECK_EQ(atomic_load(&wrong), 0, "");
    CHECK(atomic_load(&fresh) > FILES, "nodes did come and go");
    CHECK_EQ(pt_table_count(&t->table), 1, "only the root is left");
    stop();
}

TAP_MAIN(TEST(the_root_is_id_1_and_stays), TEST(a_forged_id_finds_nothing),
         TEST(a_node_lives_as_long_as_its_lookups),
         TEST(many_nodes_are_all_found),
         TEST(threads_never_lose_a_node_they_hold))
