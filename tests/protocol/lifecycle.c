/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/protocol/vm.h"

#include <fcntl.h>
#include <signal.h>
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

/*
 * What keeps a ring's thread at work for long may not keep it from its end:
 * here a ring full of reads.  They are all the same one, so one thread alone is
 * to serve them: of two that write to one place a sanitizer complains.
 */
static void a_guest_with_a_full_ring_does_not_hold_off_the_end(void)
{
    static const char *const args[] = { "--thread-pool-size=0", NULL };
    struct vm_opts opts = { .d = { .args = args }, .size = 32768 };
    struct fuse_read_in in = { .size = 1 << 20 };
    static uint8_t data[1 << 20];
    struct fuse_entry_out e;
    struct fuse_open_out o;
    struct guest_queue *q;
    struct fm m;
    struct vm vm;

    if (vm_start_fuse(&vm, &opts)) {
        q = &vm.q[VM_REQ];
        host_write(&vm, "f", data, sizeof(data));
        CHECK_EQ(fc_lookup(q, FC_ROOT, "f", &e), 0, "");
        CHECK_EQ(fc_open(q, FUSE_OPEN, e.nodeid, O_RDONLY, &o), 0, "");
        in.fh = o.fh;
        fm_init(&m, FUSE_READ, e.nodeid);
        fm_add(&m, &in, sizeof(in));
        m.room = in.size;
        CHECK_EQ(fm_put(q, &m, 0), 0, "");
        for (uint32_t i = 0; i < q->size; i++)
            q->avail->ring[i] = m.head; /* as no driver would */
        __atomic_store_n(&q->avail->idx, (uint16_t)(q->used->idx + q->size),
                         __ATOMIC_RELEASE);
        guest_kick(q);
        fe_close(&vm.fe);
        CHECK(daemon_wait_gone(vm.d), "it ends");
        CHECK(!daemon_log_has(vm.d, "hangs"), "and not by giving up");
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
         TEST(a_guest_with_a_full_ring_does_not_hold_off_the_end),
         TEST(a_disconnect_before_any_message_ends_it_too),
         TEST(a_second_client_is_refused), TEST(signals_end_it_in_order),
         TEST(any_roles_death_ends_the_others),
         TEST(the_supervisors_death_ends_the_others),
         TEST(a_listening_socket_may_be_handed_over),
         TEST(a_stale_socket_is_replaced),
         TEST(the_socket_is_for_its_owner_only))
