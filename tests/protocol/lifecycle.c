/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/protocol/vm.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static bool exists(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0;
}

static void a_disconnect_ends_it_with_0_and_no_socket(void)
{
    struct vm vm;
    char sock[128];

    if (vm_start_fuse(&vm, NULL)) {
        snprintf(sock, sizeof(sock), "%s", daemon_socket(vm.d));
        vm_alive(&vm, 1);
        fe_close(&vm.fe);
        CHECK(daemon_wait_log(vm.d, "Client disconnected, shutting down"),
              "it says so");
    }
    /* The directory goes with the daemon, so look before that. */
    CHECK(daemon_wait_gone(vm.d), "it ends");
    CHECK(!exists(sock), "the socket is gone");
    vm_end(&vm);
}

struct flood {
    struct guest_queue *q;
    _Atomic bool stop;
};

/* Keep the ring full of one request, as no driver would.
 * Return: how far the device is. */
static uint16_t refill(struct guest_queue *q)
{
    uint16_t used = __atomic_load_n(&q->used->idx, __ATOMIC_ACQUIRE);

    __atomic_store_n(&q->avail->idx, (uint16_t)(used + q->size),
                     __ATOMIC_RELEASE);
    return used;
}

static void *flood_main(void *arg)
{
    struct flood *f = arg;

    while (!atomic_load(&f->stop))
        (void)refill(f->q);
    return NULL;
}

/* What keeps a ring's thread at work may not keep it from its end. */
static void a_guest_that_floods_its_ring_does_not_hold_off_the_end(void)
{
    struct vm_opts opts = { .size = 1024 };
    struct fuse_getattr_in in = { 0 };
    struct flood f = { 0 };
    pthread_t thread;
    uint16_t start;
    struct fm m;
    struct vm vm;

    if (vm_start_fuse(&vm, &opts)) {
        f.q = &vm.q[VM_REQ];
        fm_init(&m, FUSE_GETATTR, FC_ROOT);
        fm_add(&m, &in, sizeof(in));
        m.room = sizeof(struct fuse_attr_out);
        CHECK_EQ(fm_put(f.q, &m, 0), 0, "");
        for (uint16_t i = 0; i < f.q->size; i++)
            f.q->avail->ring[i] = m.head;
        start = refill(f.q);
        guest_kick(f.q);
        CHECK_EQ(pthread_create(&thread, NULL, flood_main, &f), 0, "");
        for (int ms = 0; ms < DEADLINE_MS && refill(f.q) == start; ms++)
            usleep(1000);
        CHECK(refill(f.q) != start, "it works on the flood");
        fe_close(&vm.fe);
        CHECK(daemon_wait_gone(vm.d), "it ends");
        CHECK(!daemon_log_has(vm.d, "hangs"), "and not by giving up");
        atomic_store(&f.stop, true);
        pthread_join(thread, NULL);
    }
    vm_end(&vm);
}

static void a_disconnect_before_any_message_ends_it_too(void)
{
    struct daemon *d = daemon_start(NULL);
    struct frontend fe;

    if (d) {
        CHECK_EQ(fe_connect(&fe, daemon_socket(d)), 0, "");
        fe_close(&fe);
    }
    daemon_end(d, END_ZERO);
}

static void a_second_client_is_refused(void)
{
    struct frontend other;
    struct vm vm;

    if (vm_start_fuse(&vm, NULL)) {
        CHECK(fe_connect(&other, daemon_socket(vm.d)) == -ECONNREFUSED ||
                  !exists(daemon_socket(vm.d)),
              "nobody listens any more");
        fe_close(&other);
        vm_alive(&vm, 1);
    }
    vm_end(&vm);
}

static void signals_end_it_in_order(void)
{
    static const int sigs[] = { SIGTERM, SIGINT };

    for (size_t i = 0; i < ARRAY_SIZE(sigs); i++) {
        struct daemon *d = daemon_start(NULL);
        struct vm vm;

        if (d)
            kill(daemon_pid(d), sigs[i]);
        CHECK(daemon_end(d, END_ZERO), "while it waits for a client");

        if (vm_start_fuse(&vm, NULL))
            kill(daemon_pid(vm.d), sigs[i]);
        CHECK(daemon_end(vm.d, END_ZERO), "while it serves");
        CHECK_EQ(fe_wait_closed(&vm.fe), 0, "the front-end hears of it");
        vm.d = NULL;
        vm_end(&vm);
    }
}

static void any_roles_death_ends_the_others(void)
{
    size_t n = 1;

    for (size_t i = 0; i < n; i++) {
        pid_t pids[16];
        struct vm vm;

        if (vm_start_fuse(&vm, NULL)) {
            n = daemon_roles(vm.d, pids, ARRAY_SIZE(pids));
            if (CHECK(n >= 2, "a control and a request process"))
                kill(pids[i], SIGKILL);
        }
        daemon_end(vm.d, END_NONZERO);
        CHECK_EQ(fe_wait_closed(&vm.fe), 0, "the front-end hears of it");
        vm.d = NULL;
        vm_end(&vm);
    }
}

static void the_supervisors_death_ends_the_others(void)
{
    struct vm vm;

    if (vm_start_fuse(&vm, NULL))
        kill(daemon_pid(vm.d), SIGKILL);
    daemon_end(vm.d, END_KILLED);
    CHECK_EQ(fe_wait_closed(&vm.fe), 0, "the front-end hears of it");
    vm.d = NULL;
    vm_end(&vm);
}

static void a_listening_socket_may_be_handed_over(void)
{
    struct vm_opts o = { .d = { .use_fd = true } };
    struct vm vm;

    if (vm_start_fuse(&vm, &o))
        vm_alive(&vm, 1);
    fe_close(&vm.fe);
    CHECK(daemon_wait_gone(vm.d), "it ends");
    CHECK(exists(daemon_socket(vm.d)), "the launcher's socket stays");
    vm_end(&vm);
}

/* The directory holds a file of that name before it starts. */
static void a_stale_socket_is_replaced(void)
{
    struct daemon_opts o = { .stale_socket = true };
    struct daemon *d = daemon_start(&o);
    struct frontend fe;

    if (d) {
        CHECK_EQ(fe_connect(&fe, daemon_socket(d)), 0, "");
        fe_close(&fe);
    }
    daemon_end(d, END_ZERO);
}

static void the_socket_is_for_its_owner_only(void)
{
    struct daemon *d = daemon_start(NULL);
    struct stat st;

    if (d) {
        CHECK_EQ(lstat(daemon_socket(d), &st), 0, "");
        CHECK_EQ(st.st_mode & 0777, 0700, "mode");
        kill(daemon_pid(d), SIGTERM);
    }
    daemon_end(d, END_ZERO);
}

TAP_MAIN(TEST(a_disconnect_ends_it_with_0_and_no_socket),
         TEST(a_guest_that_floods_its_ring_does_not_hold_off_the_end),
         TEST(a_disconnect_before_any_message_ends_it_too),
         TEST(a_second_client_is_refused), TEST(signals_end_it_in_order),
         TEST(any_roles_death_ends_the_others),
         TEST(the_supervisors_death_ends_the_others),
         TEST(a_listening_socket_may_be_handed_over),
         TEST(a_stale_socket_is_replaced),
         TEST(the_socket_is_for_its_owner_only))
