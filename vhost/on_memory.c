/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guest memory and the dirty log.  The fds pass through: the control process
 * maps none of them and keeps none.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "vhost/conn_i.h"

static void to_region(const struct vu_mem_region *from,
                      struct memtable_region *to)
{
    *to = (struct memtable_region){ .gpa = { from->gpa },
                                    .uva = { from->uva },
                                    .size = from->size,
                                    .mmap_offset = from->mmap_offset };
}

static void to_ipc(const struct vu_mem_region *from, struct ipc_region *to)
{
    *to = (struct ipc_region){ .gpa = from->gpa,
                               .size = from->size,
                               .mmap_offset = from->mmap_offset };
}

static int add_region(struct memtable *t, const struct vu_mem_region *r,
                      const struct vu_msg *m)
{
    struct memtable_region region;
    int ret;

    to_region(r, &region);
    ret = memtable_add(t, &region, NULL);
    if (ret < 0)
        vu_bad(m, "region gpa 0x%" PRIx64 " size 0x%" PRIx64 ": %s", r->gpa,
               r->size,
               ret == -EEXIST   ? "overlaps another"
               : ret == -ENOSPC ? "no slot is left"
                                : "empty, or wraps");
    return ret;
}

/* Tell every ring of the new table; one whose parts are gone stops. */
static void republish(struct vu_conn *c)
{
    for (uint32_t i = 0; i < VRING_MAX; i++) {
        struct vu_ring *r = &c->ring[i];

        if (!vu_ring_started(r)) {
            vu_ring_try_start(c, i);
            continue;
        }
        if (vu_ring_translate(c, r) == 0) {
            vu_ring_publish(c, i, r->bits);
            continue;
        }
        /* It stays "kicked": should its memory come back, it starts again
         * where it stopped. */
        log_limited(LOG_LEVEL_WARN,
                    "ring %u: its memory was taken away: stopped", i);
        vu_ring_publish(c, i, r->bits & ~(uint32_t)VRING_CFG_STARTED);
    }
}

/*
 * Stage @next in the request process, and only when it is there make it ours
 * and name it to the rings.  On failure nothing has changed.
 *
 * Model (tests/model/kick.pml): SET_MEM_TABLE; MEM_PUBLISH_BEFORE_ACK.
 */
static int change_table(struct vu_conn *c, const struct vu_msg *m,
                        struct ipc_msg *msg, const struct memtable *next)
{
    struct ipc_fds fds = { 0 };
    int ret;

    if (msg->type != IPC_MEM_REMOVE) {
        fds.n = m->nfds;
        memcpy(fds.fd, m->fds, (size_t)m->nfds * sizeof(m->fds[0]));
    }
    if (++c->mem_gens == 0)
        c->mem_gens = 1; /* 0 is "none" */
    msg->u.mem.gen = c->mem_gens;
    ret = vu_call(c, msg, &fds);
    if (ret < 0) {
        vu_bad(m, "the request process can not map it: %s", strerror(-ret));
        return ret;
    }
    c->mem = *next;
    c->mem_gen = c->mem_gens;
    c->mem_unsynced = true;
    republish(c);
    return 0;
}

int on_set_mem_table(struct vu_conn *c, struct vu_msg *m)
{
    struct ipc_msg msg = vu_command(IPC_MEM_SET);
    struct memtable next;
    struct vu_mem_table t = { 0 };
    int ret;

    memcpy(&t, m->payload, m->hdr.size);
    /* User Mode Linux sends room for more regions than it fills. */
    if (t.n > VU_MAX_REGIONS || m->nfds != (int)t.n ||
        m->hdr.size < offsetof(struct vu_mem_table, r) + t.n * sizeof(t.r[0])) {
        vu_bad(m, "%u regions in %u bytes with %d fds", t.n, m->hdr.size,
               m->nfds);
        return -EINVAL;
    }
    next.n = 0;
    for (uint32_t i = 0; i < t.n; i++) {
        ret = add_region(&next, &t.r[i], m);
        if (ret < 0)
            return ret;
        to_ipc(&t.r[i], &msg.u.mem.r[i]);
    }
    msg.u.mem.n = t.n;
    return change_table(c, m, &msg, &next);
}

int answer_max_mem_slots(struct vu_conn *c, struct vu_msg *m)
{
    (void)c;
    vu_reply_u64(m, MEMTABLE_MAX);
    return 0;
}

int on_add_mem_reg(struct vu_conn *c, struct vu_msg *m)
{
    struct ipc_msg msg = vu_command(IPC_MEM_ADD);
    struct memtable next = c->mem;
    struct vu_mem_reg reg;
    int ret;

    memcpy(&reg, m->payload, sizeof(reg));
    ret = add_region(&next, &reg.r, m);
    if (ret < 0)
        return ret;
    msg.u.mem.n = 1;
    to_ipc(&reg.r, &msg.u.mem.r[0]);
    return change_table(c, m, &msg, &next);
}

/* An fd may come with it (QEMU sends one); it is closed unused. */
int on_rem_mem_reg(struct vu_conn *c, struct vu_msg *m)
{
    struct ipc_msg msg = vu_command(IPC_MEM_REMOVE);
    struct memtable next = c->mem;
    struct memtable_region region;
    struct vu_mem_reg reg;
    int ret;

    memcpy(&reg, m->payload, sizeof(reg));
    to_region(&reg.r, &region);
    ret = memtable_remove(&next, &region, NULL);
    if (ret < 0) {
        vu_bad(m, "no region has gpa 0x%" PRIx64 " size 0x%" PRIx64, reg.r.gpa,
               reg.r.size);
        return ret;
    }
    msg.u.mem.n = 1;
    to_ipc(&reg.r, &msg.u.mem.r[0]);
    return change_table(c, m, &msg, &next);
}

int on_set_log_base(struct vu_conn *c, struct vu_msg *m)
{
    struct ipc_msg msg = vu_command(IPC_LOG);
    struct ipc_fds fds = { .n = 1, .fd = { m->fds[0] } };
    struct vu_log log;
    uint64_t end;
    int ret;

    memcpy(&log, m->payload, sizeof(log));
    if (log.size == 0 || __builtin_add_overflow(log.size, log.offset, &end) ||
        end > INT64_MAX) {
        vu_bad(m, "size 0x%" PRIx64 " at 0x%" PRIx64, log.size, log.offset);
        return -EINVAL;
    }
    if (++c->log_gens == 0)
        c->log_gens = 1;
    msg.u.log.size = log.size;
    msg.u.log.offset = log.offset;
    msg.u.log.gen = c->log_gens;
    ret = vu_call(c, &msg, &fds);
    if (ret < 0) {
        vu_bad(m, "the request process can not map it: %s", strerror(-ret));
        return ret;
    }
    c->log_gen = c->log_gens;
    for (uint32_t i = 0; i < VRING_MAX; i++) {
        if (vu_ring_started(&c->ring[i]))
            vu_ring_publish(c, i, c->ring[i].bits);
    }
    return 0;
}

/* QEMU reads a reply of whatever size; a front-end that set NEED_REPLY looks
 * for a zero in it. */
int answer_set_log_base(struct vu_conn *c, struct vu_msg *m)
{
    (void)c;
    vu_reply_u64(m, 0);
    return 0;
}

/* The eventfd would only tell the front-end to look at a log it polls
 * anyway: accepted and closed. */
int on_set_log_fd(struct vu_conn *c, struct vu_msg *m)
{
    (void)c;
    (void)m;
    return 0;
}
