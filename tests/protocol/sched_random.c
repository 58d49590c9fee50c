/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/protocol/sched_world.h"

#include <stdlib.h>

/*
 * Each process stopped and continued at random while the guest and the
 * front-end go on.  The seed is told, and VIRTIOFSD_TEST_SEED sets it.
 */

static const struct vm_opts three = { .queues = 3 };
static const struct vm_opts pooled = {
    .queues = 3,
    .d = { .args = (const char *const[]){ "--thread-pool-size=2", NULL } },
};
static uint64_t seed;

static unsigned int pick(unsigned int n)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned int)(seed >> 33) % n;
}

static pid_t role(struct world *w, unsigned int i)
{
    return i == 0 ? w->control : i == 1 ? w->request : daemon_pid(w->vm.d);
}

/* Messages that nobody waits for: whoever stands reads them later. */
static void say_something(struct world *w)
{
    struct guest_queue *q = &w->vm.q[WORLD_BUSY];

    switch (pick(7)) {
    case 0:
        fe_ring_enable(&w->vm.fe, q, false);
        fe_ring_enable(&w->vm.fe, q, true);
        break;
    case 1:
        load_swap_kick(&w->l);
        break;
    case 2:
        load_swap_call(&w->l);
        break;
    case 3:
        fe_ring_enable(&w->vm.fe, q, false);
        load_swap_kick(&w->l);
        fe_ring_enable(&w->vm.fe, q, true);
        break;
    case 4:
        fe_ring_addr(&w->vm.fe, q, 0, 0);
        break;
    case 5:
        fe_set_fd(&w->vm.fe, FE_SET_VRING_ERR, q->idx, q->err_fd);
        break;
    default:
        guest_kick(&w->vm.q[WORLD_OTHER]); /* with nothing on it */
        break;
    }
}

/* Control has nothing to read and stands still: the guest gets on without. */
static void without_control(struct world *w)
{
    world_talk(w);
    role_stop(w->control);
    load_progress(&w->l, 1 + pick(LOAD_DEPTH));
    role_cont(w->control);
}

static void random_round(struct world *w, int i)
{
    unsigned int a = pick(3), b = pick(3);

    (void)i;
    if (pick(4) == 0)
        without_control(w);
    role_stop(role(w, a));
    say_something(w);
    if (pick(2))
        role_stop(role(w, b));
    if (pick(2))
        say_something(w);
    role_cont(role(w, pick(2) ? a : b));
    if (pick(2))
        say_something(w);
    role_cont(role(w, a));
    role_cont(role(w, b));
    if (pick(3) == 0)
        load_progress(&w->l, 1 + pick(LOAD_DEPTH));
}

static void run(const struct vm_opts *o)
{
    const char *s = getenv("VIRTIOFSD_TEST_SEED");

    seed = s ? strtoull(s, NULL, 0) : (uint64_t)now_ns();
    tap_diag("VIRTIOFSD_TEST_SEED=%llu", (unsigned long long)seed);
    world_rounds(o, ROUNDS(1000), random_round);
}

static void roles_stopped_at_random_lose_nothing(void)
{
    run(&three);
}

static void so_with_a_pool(void)
{
    run(&pooled);
}

TAP_MAIN(TEST(roles_stopped_at_random_lose_nothing), TEST(so_with_a_pool))
