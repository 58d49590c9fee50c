/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/protocol/sched_world.h"

#include <string.h>

bool world_talk(struct world *w)
{
    uint64_t v;

    return CHECK_EQ(fe_get_u64(&w->vm.fe, FE_GET_FEATURES, &v), 0, "");
}

/* Stop and start: fds that were replaced while nobody looked are gone then,
 * so that what is counted is what stays. */
static void settle(struct world *w)
{
    for (unsigned int i = 0; i < w->vm.n; i++) {
        uint32_t base = 0;

        fe_ring_stop(&w->vm.fe, &w->vm.q[i], &base);
        fe_ring_start(&w->vm.fe, &w->vm.q[i], base);
        fe_ring_enable(&w->vm.fe, &w->vm.q[i], true);
    }
    for (unsigned int i = 1; i < w->vm.n; i++)
        vm_alive(&w->vm, i);
    CHECK_EQ(fc_forget(&w->vm.q[0], 99, 1), FM_EMPTY, "hiprio");
}

bool world_begin(struct world *w, const struct vm_opts *o)
{
    memset(w, 0, sizeof(*w));
    if (!vm_start_fuse(&w->vm, o) ||
        !load_open(&w->l, &w->vm, &w->vm.q[WORLD_BUSY]))
        return false;
    w->control = role_pid(&w->vm, ROLE_CONTROL);
    w->request = role_pid(&w->vm, ROLE_REQUEST);
    settle(w);
    if (!role_usage(w->control, &w->before[0]) ||
        !role_usage(w->request, &w->before[1]))
        return false;
    CHECK(w->before[1].guest_maps > 0, "the request process maps memory");
    load_start(&w->l);
    return true;
}

void world_control_maps_nothing(const struct world *w)
{
    struct usage u;

    if (role_usage(w->control, &u))
        CHECK_EQ(u.guest_maps, 0, "control never maps guest memory");
}

void world_end(struct world *w)
{
    struct usage now[2];

    load_finish(&w->l);
    tap_diag("%llu requests", (unsigned long long)w->l.back);
    if (!tap_failing()) {
        settle(w);
        role_usage(w->control, &now[0]);
        role_usage(w->request, &now[1]);
        CHECK_EQ(now[0].guest_maps, 0, "control maps no guest memory");
        CHECK_EQ(now[0].fds, w->before[0].fds, "control leaks no fd");
        CHECK_EQ(now[1].fds, w->before[1].fds, "nor does the other");
        CHECK_EQ(now[1].guest_maps, w->before[1].guest_maps,
                 "no mapping is left");
    }
    vm_end(&w->vm);
}

/* Run @round @n times under load. */
void world_rounds(const struct vm_opts *o, int n,
                  void (*round)(struct world *w, int i))
{
    struct world w;

    if (!world_begin(&w, o)) {
        vm_end(&w.vm);
        return;
    }
    for (int i = 0; i < n && !tap_failing(); i++) {
        round(&w, i);
        if (i % 50 == 0)
            world_control_maps_nothing(&w);
        /* Events count, not rounds: the guest has to get on as well. */
        if (i % 16 == 0 && !load_progress(&w.l, 2 * LOAD_DEPTH))
            break;
    }
    world_end(&w);
}
