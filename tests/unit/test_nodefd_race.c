/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Nodes opened, closed, found and forgotten by many threads at once.  Each
 * asks the descriptor of what it has pinned which file that is, and whether it
 * is still open at the end of the pin.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "fuse/passthrough/nodefd.h"
#include "fuse/passthrough/pt_i.h"
#include "tests/lib/tap.h"
#include "tests/unit/mock_nodes.h"
#include "virtiofsd/base/log.h"
#include "virtiofsd/base/util.h"

#define THREADS 4
#define PLACES  (2 * THREADS)
#define FILES   40
#define ROUNDS  6000

static struct mock m;
static uint64_t held[FILES]; /* looked up once by the test, for good */
static ino_t ino[FILES];
static _Atomic uint64_t wrong, opened, opened_io, full, forgotten;

static bool start(void)
{
    char name[16];

    if (!mock_start_handles(&m, PLACES))
        return false;
    for (int i = 0; i < FILES; i++) {
        snprintf(name, sizeof(name), "f%d", i);
        mock_host_file(&m, name, "");
        CHECK_EQ(mock_lookup(&m, FUSE_ROOT_ID, name, &held[i]), 0, name);
        ino[i] = mock_host_stat(&m, name).st_ino;
    }
    return true;
}

static bool is_file(int fd, ino_t want)
{
    struct stat st;

    return pt_fstat(fd, &st) == 0 && st.st_ino == want;
}

/* Pin, look, wait a little, look again. */
static void use(uint64_t id, ino_t want, unsigned int *seed)
{
    struct pt_node *n = pt_node_get(&m.fs->nodes, id);
    bool was_open = n && pt_node_is_open(n);
    int fd, ret;

    if (!n) {
        atomic_fetch_add(&wrong, 1);
        return;
    }
    ret = was_open ? 0 : pt_node_open(&m.fs->nodes, n);
    if (ret == 0) {
        fd = n->fd;
        if (!is_file(fd, want))
            atomic_fetch_add(&wrong, 1);
        if (rand_r(seed) % 4 == 0)
            sched_yield();
        if (n->fd != fd || !is_file(fd, want))
            atomic_fetch_add(&wrong, 1);
        atomic_fetch_add(&opened, !was_open);
    } else {
        atomic_fetch_add(ret == -ENFILE ? &full : &wrong, 1);
    }
    pt_node_put(&m.fs->nodes, n);
}

/* As OPEN does: the node may be closed, or being closed. */
static void open_io(uint64_t id, ino_t want)
{
    struct pt_node *n = pt_node_get(&m.fs->nodes, id);
    int fd = n ? pt_node_open_io(&m.fs->nodes, n, O_RDONLY) : -1;

    if (fd >= 0 && is_file(fd, want))
        atomic_fetch_add(&opened_io, 1);
    else
        atomic_fetch_add(fd == -ENFILE ? &full : &wrong, 1);
    if (fd >= 0)
        close(fd);
    if (n)
        pt_node_put(&m.fs->nodes, n);
}

static void *pin_and_unpin(void *arg)
{
    unsigned int seed = *(unsigned int *)arg;

    for (int i = 0; i < ROUNDS; i++) {
        int k = rand_r(&seed) % FILES;

        if (rand_r(&seed) % 8 == 0)
            open_io(held[k], ino[k]);
        else
            use(held[k], ino[k], &seed);
    }
    return NULL;
}

/* Files which nobody else holds are forgotten while they are pinned, so that
 * the last reference is an operation's, or the hand's. */
static void *look_up_and_forget(void *arg)
{
    unsigned int seed = *(unsigned int *)arg;
    struct pt_nodes *t = &m.fs->nodes;
    char name[16];

    for (int i = 0; i < ROUNDS; i++) {
        int k = rand_r(&seed) % FILES;
        struct fuse_entry_out ent;
        struct pt_node *n = NULL, *root;

        snprintf(name, sizeof(name), "f%d", k);
        if (pt_node_pin(m.fs, FUSE_ROOT_ID, &root) < 0 ||
            pt_lookup(m.fs, root, name, &ent) < 0) {
            atomic_fetch_add(&wrong, 1);
            continue;
        }
        pt_node_put(t, root);
        if (ent.attr.ino != ino[k])
            atomic_fetch_add(&wrong, 1);
        if (pt_node_pin(m.fs, ent.nodeid, &n) < 0)
            n = NULL;
        pt_node_forget(t, ent.nodeid, 1);
        atomic_fetch_add(&forgotten, 1);
        if (!n)
            continue;
        if (!is_file(n->fd, ino[k]))
            atomic_fetch_add(&wrong, 1);
        pt_node_put(t, n);
    }
    return NULL;
}

static void run(void *(*fn)(void *), void *(*other)(void *))
{
    unsigned int seed[THREADS];
    pthread_t thread[THREADS];

    atomic_store(&wrong, 0);
    atomic_store(&opened, 0);
    atomic_store(&opened_io, 0);
    atomic_store(&full, 0);
    atomic_store(&forgotten, 0);
    for (unsigned int i = 0; i < THREADS; i++) {
        seed[i] = i;
        pthread_create(&thread[i], NULL, i % 2 ? fn : other, &seed[i]);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    tap_diag("opened %llu, no place %llu, forgotten %llu",
             (unsigned long long)atomic_load(&opened),
             (unsigned long long)atomic_load(&full),
             (unsigned long long)atomic_load(&forgotten));
    CHECK_EQ(atomic_load(&wrong), 0, "a pinned node is open and itself");
    CHECK(mock_count(&m).open <= PLACES, "no more than there are places");
}

static void a_pin_keeps_its_node_open(void)
{
    if (!start())
        return;
    run(pin_and_unpin, pin_and_unpin);
    CHECK(atomic_load(&opened) > FILES * 10, "nodes were closed and opened");
    CHECK(atomic_load(&opened_io) > FILES * 10, "and files without them");
    CHECK_EQ(mock_count(&m).nodes, FILES + 1, "");
    mock_stop(&m);
}

static void nodes_are_forgotten_while_they_are_closed(void)
{
    if (!start())
        return;
    for (int i = 0; i < FILES; i++)
        mock_forget(&m, held[i], 1);
    CHECK_EQ(mock_count(&m).nodes, 1, "");
    run(look_up_and_forget, look_up_and_forget);
    CHECK_EQ(mock_count(&m).nodes, 1, "all are forgotten");
    CHECK_EQ(mock_count(&m).open, 0, "");
    mock_stop(&m);
}

static void pins_look_ups_and_forgets_mix(void)
{
    if (!start())
        return;
    run(pin_and_unpin, look_up_and_forget);
    CHECK_EQ(mock_count(&m).nodes, FILES + 1, "");
    for (int i = 0; i < FILES; i++)
        mock_forget(&m, held[i], 1);
    CHECK_EQ(mock_count(&m).nodes, 1, "");
    CHECK_EQ(mock_count(&m).open, 0, "");
    mock_stop(&m);
}

/* Nobody may take a slot whose one reference is an operation's. */
static void a_forgotten_node_in_use_is_not_closed(void)
{
    struct pt_node *n, *other;
    int fd;

    if (!start())
        return;
    CHECK_EQ(pt_node_pin(m.fs, held[0], &n), 0, "");
    fd = n->fd;
    mock_forget(&m, held[0], 1);
    for (int i = 1; i < FILES; i++) {
        CHECK_EQ(pt_node_pin(m.fs, held[i], &other), 0, "");
        pt_node_put(&m.fs->nodes, other);
    }
    CHECK_EQ(n->fd, fd, "");
    CHECK(is_file(fd, ino[0]), "the operation goes on");
    pt_node_put(&m.fs->nodes, n);
    CHECK_EQ(mock_count(&m).nodes, FILES, "");
    mock_stop(&m);
}

static _Atomic int got_fd;

static void *pin_one(void *arg)
{
    struct pt_node *n;

    (void)arg;
    if (pt_node_pin(m.fs, held[0], &n) == 0) {
        atomic_store(&got_fd, n->fd);
        if (!is_file(n->fd, ino[0]))
            atomic_fetch_add(&wrong, 1);
        pt_node_put(&m.fs->nodes, n);
    }
    return NULL;
}

/* The few instructions in which a node is being closed, held open by hand. */
static void a_pin_waits_for_who_closes_the_node(void)
{
    const struct timespec a_while = { .tv_nsec = 50000000 };
    pthread_mutex_t *lock;
    pthread_t thread;
    struct pt_node *n;
    int fd;

    if (!start())
        return;
    CHECK_EQ(pt_node_pin(m.fs, held[0], &n), 0, "");
    pt_node_put(&m.fs->nodes, n);
    atomic_store(&got_fd, -1);
    lock = &m.fs->nodes.ring.lock[n->slot.idx % PT_NODE_SHARDS];
    pthread_mutex_lock(lock);
    CHECK_EQ(pt_slot_take(&n->slot), 1, "");
    CHECK(n->fd >= 0 && !pt_node_is_open(n), "open, but not for long");
    pthread_create(&thread, NULL, pin_one, NULL);
    while ((uint16_t)n->slot.ref < 3 && atomic_load(&got_fd) < 0)
        sched_yield();
    nanosleep(&a_while, NULL); /* for the mistake to happen, if there is one */
    CHECK_EQ(atomic_load(&got_fd), -1, "it waits");
    fd = atomic_exchange(&n->fd, -1);
    pt_slot_give_back(&n->slot);
    pthread_mutex_unlock(lock);
    close(fd);
    pthread_join(thread, NULL);
    CHECK(atomic_load(&got_fd) >= 0, "and opened it then");
    CHECK_EQ(atomic_load(&wrong), 0, "");
    pt_node_put(&m.fs->nodes, n);
    mock_stop(&m);
}

TAP_MAIN(TEST(a_pin_waits_for_who_closes_the_node),
         TEST(a_forgotten_node_in_use_is_not_closed),
         TEST(a_pin_keeps_its_node_open),
         TEST(nodes_are_forgotten_while_they_are_closed),
         TEST(pins_look_ups_and_forgets_mix))
