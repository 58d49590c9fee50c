/* SPDX-License-Identifier: BSD-3-Clause */
#include <sched.h>
#include <unistd.h>

#include "tests/protocol/sched_lib.h"

/*
 * A request queue's thread looks on for a while before it sleeps.  Programs
 * about order run once more with long polls (meson.build); here is what they
 * would not notice.
 */

static const char *const long_polls[] = { "--poll-us=1000", NULL };

static bool one_cpu(void)
{
    cpu_set_t set;

    return sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) < 2;
}

/* One request, told of as a driver does, and its answer.
 * Return: it was not to be kicked. */
static bool unkicked(struct guest_queue *q)
{
    uint64_t before = q->kicks;
    struct fm m;

    put_getattr(q, &m, 0);
    guest_publish(q);
    take_getattr(q, &m, 1);
    return q->kicks == before;
}

/* Of a hundred requests, each some time after the answer to the one before. */
static unsigned int unkicked_of_100(struct guest_queue *q)
{
    unsigned int n = 0;

    for (int i = 0; i < 100 && !tap_failing(); i++) {
        usleep(100);
        n += unkicked(q);
    }
    return n;
}

/* On a busy machine the thread may be kept from its poll, or from its sleep:
 * then once more. */
static void a_request_that_follows_soon_is_not_kicked(void)
{
    struct vm_opts o = { .d.args = long_polls };
    int64_t until = now_ns() + (int64_t)DEADLINE_MS * 1000000;
    struct vm vm;

    if (one_cpu()) {
        tap_skip("there is one CPU only");
        return;
    }
    if (vm_start_fuse(&vm, &o)) {
        while (unkicked_of_100(&vm.q[VM_REQ]) < 90 && !tap_failing())
            CHECK(now_ns() < until, "it is looked out for");
    }
    vm_end(&vm);
}

static void it_is_told_how_long_that_may_last(void)
{
    static const struct {
        const char *args[3], *log;
    } rows[] = {
        { { "-d", NULL }, "for up to 20000 ns" },
        { { "-d", "--poll-us=77", NULL }, "for up to 77000 ns" },
        { { "-d", "--poll-us=0", NULL }, "for up to 0 ns" },
    };

    if (one_cpu()) {
        tap_skip("there is one CPU only");
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct vm_opts o = { .d.args = rows[i].args };
        struct vm vm;

        if (vm_start_fuse(&vm, &o))
            CHECK(daemon_wait_log(vm.d, rows[i].log), rows[i].log);
        vm_end(&vm);
    }
}

/* Whatever came before: with nothing to do it sleeps, and a kick counts. */
static void a_queue_at_rest_is_not_polled(void)
{
    struct vm_opts o = { .d.args = long_polls };
    struct vm vm;

    if (vm_start_fuse(&vm, &o)) {
        struct guest_queue *q = &vm.q[VM_REQ];
        pid_t pid = role_pid(&vm, ROLE_REQUEST);
        pid_t tid = role_thread(pid, "vring1");

        for (int i = 0; i < 200 && !tap_failing(); i++) {
            for (int k = 0; k < i % 7; k++)
                unkicked(q);
            if (role_wait_asleep(pid, tid))
                CHECK(!unkicked(q), "asleep, it wants to be kicked");
        }
    }
    vm_end(&vm);
}

TAP_MAIN(TEST(a_request_that_follows_soon_is_not_kicked),
         TEST(it_is_told_how_long_that_may_last),
         TEST(a_queue_at_rest_is_not_polled))
