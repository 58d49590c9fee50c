/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/bench/drive.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/daemon.h"
#include "virtiofsd/base/util.h"

/* Where the parts of a request lie in its page; cache lines of their own. */
#define AT_ARG   64
#define AT_OUT   1024
#define AT_REPLY 1088

/* FORGETs on their way at one time. */
#define FORGETS_MAX 256u

/* Rounds of looking before the CPU is offered to others, and before the clock
 * is asked whether the reply is ever to come.  Where driver and daemon share a
 * CPU, 20 times less or 10 times more of the first cost both half their speed
 * or more. */
#define SPINS_YIELD 2000
#define SPINS_CLOCK 64

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield" ::: "memory");
#endif
}

void drive_fault(struct drive *d, const char *fmt, ...)
{
    va_list ap;

    if (d->fault[0])
        return;
    va_start(ap, fmt);
    vsnprintf(d->fault, sizeof(d->fault), fmt, ap);
    va_end(ap);
    d->stopping = true;
}

int drive_init(struct drive *d, struct guest_queue *q, unsigned int n,
               unsigned int depth_max, size_t payload)
{
    /* A chain's page, its table and a page of what is listed; a descriptor a
     * page of payload, and the FORGETs. */
    size_t per_slot = DRIVE_STEPS_MAX * (4 * GUEST_PAGE);

    memset(d, 0, sizeof(*d));
    d->nlanes = n;
    d->slot = calloc(depth_max, sizeof(*d->slot));
    d->arena_size = (depth_max * per_slot + payload + payload / 128 +
                     FORGETS_MAX * 128 + 16 * GUEST_PAGE) &
                    ~(GUEST_PAGE - 1);
    d->arena_gpa = guest_alloc(q[0].mem, d->arena_size, GUEST_PAGE);
    if (!d->slot || !d->arena_gpa)
        return -ENOMEM;
    d->event_idx = q[0].event_idx;
    d->indirect = q[0].indirect;
    for (unsigned int i = 0; i < n; i++) {
        struct lane *l = &d->lane[i];

        l->q = &q[i];
        l->mask = (uint16_t)(q[i].size - 1);
        l->by_head = calloc(q[i].size, sizeof(struct chain *));
        l->spare = calloc(FORGETS_MAX, sizeof(*l->spare));
        if (!l->by_head || !l->spare)
            return -ENOMEM;
    }
    return 0;
}

void drive_destroy(struct drive *d)
{
    for (unsigned int i = 0; i < d->nlanes; i++) {
        free(d->lane[i].by_head);
        free(d->lane[i].spare);
    }
    free(d->slot);
    memset(d, 0, sizeof(*d));
}

/* The arena was sized for this, so it is never short. */
static uint64_t arena(struct drive *d, size_t bytes, size_t align)
{
    uint64_t at = (d->arena_used + align - 1) & ~(align - 1);

    if (at + bytes > d->arena_size) {
        drive_fault(d, "guest memory for requests is used up");
        return d->arena_gpa;
    }
    d->arena_used = at + bytes;
    return d->arena_gpa + at;
}

static void *at(struct drive *d, uint64_t gpa, size_t len)
{
    return guest_at(d->lane[0].q->mem, gpa, len);
}

static uint16_t pages(uint32_t bytes)
{
    return (uint16_t)((bytes + GUEST_PAGE - 1) / GUEST_PAGE);
}

static uint16_t segments(const struct drive_spec *s)
{
    return (uint16_t)(2 + (s->arg > 0) + (s->reply > 0) + pages(s->in_bytes) +
                      pages(s->out_bytes));
}

/* A table of descriptors under construction. */
struct table {
    struct vring_desc *d;
    uint16_t first, n;
};

static void add(struct table *t, uint64_t gpa, uint32_t len, bool write)
{
    uint16_t i = (uint16_t)(t->first + t->n);

    if (len == 0)
        return;
    t->d[i] = (struct vring_desc){
        gpa,
        len,
        (uint16_t)((write ? VRING_DESC_F_WRITE : 0) | VRING_DESC_F_NEXT),
        (uint16_t)(i + 1),
    };
    t->n++;
}

static void add_pages(struct table *t, uint64_t gpa, uint32_t len, bool write)
{
    uint16_t n = pages(len);

    for (uint16_t i = 0; i < n; i++) {
        uint32_t left = len - i * (uint32_t)GUEST_PAGE;

        add(t, gpa + (uint64_t)(n - 1 - i) * GUEST_PAGE,
            MIN(left, (uint32_t)GUEST_PAGE), write);
    }
}

static void build_chain(struct drive *d, struct slot *s, struct chain *c,
                        const struct drive_spec *spec, uint16_t *next_desc)
{
    uint64_t page = arena(d, GUEST_PAGE, GUEST_PAGE), data = 0, gpa;
    uint8_t *p = at(d, page, GUEST_PAGE);
    uint32_t payload = MAX(spec->in_bytes, spec->out_bytes);
    struct guest_queue *q = s->lane->q;
    struct table t = { .n = 0 };

    *c = (struct chain){
        .in = (struct fuse_in_header *)(void *)p,
        .arg = p + AT_ARG,
        .out = (struct fuse_out_header *)(void *)(p + AT_OUT),
        .reply = p + AT_REPLY,
        .slot = s,
        .want_len = spec->out_bytes ? 0
                                    : (uint32_t)sizeof(struct fuse_out_header) +
                                          spec->reply,
        .npages = pages(payload),
        .head = *next_desc,
    };
    memset(p, 0, GUEST_PAGE);
    if (payload) {
        data = arena(d, c->npages * GUEST_PAGE, GUEST_PAGE);
        c->last_page = (uint8_t *)at(d, data, c->npages * GUEST_PAGE) +
                       (c->npages - 1u) * GUEST_PAGE;
    }
    c->in->opcode = spec->opcode;
    c->in->len = (uint32_t)sizeof(*c->in) + spec->arg + spec->in_bytes;
    c->in->pid = 4711;
    if (d->indirect) {
        size_t bytes = segments(spec) * sizeof(struct vring_desc);

        gpa = arena(d, bytes, 16);
        t.d = at(d, gpa, bytes);
        q->desc[c->head] = (struct vring_desc){ gpa, (uint32_t)bytes,
                                                VRING_DESC_F_INDIRECT, 0 };
        *next_desc = (uint16_t)(*next_desc + 1);
    } else {
        t.d = q->desc;
        t.first = c->head;
        *next_desc = (uint16_t)(*next_desc + segments(spec));
    }
    add(&t, page, sizeof(*c->in), false);
    add(&t, page + AT_ARG, spec->arg, false);
    add_pages(&t, data, spec->in_bytes, false);
    add(&t, page + AT_OUT, sizeof(*c->out), true);
    add(&t, page + AT_REPLY, spec->reply, true);
    add_pages(&t, data, spec->out_bytes, true);
    t.d[t.first + t.n - 1].flags &= (uint16_t)~VRING_DESC_F_NEXT;
    s->lane->by_head[c->head] = c;
}

/* FORGET is one readable segment, never indirect. */
static void build_forgets(struct drive *d)
{
    struct lane *l = &d->lane[0];
    size_t each = 64; /* header and argument, 48 bytes */

    l->nspare = (uint16_t)MIN((unsigned int)l->q->size, FORGETS_MAX);
    for (uint16_t i = 0; i < l->nspare; i++) {
        uint64_t gpa = arena(d, each, 64);
        struct fuse_in_header *h = at(d, gpa, each);
        struct fuse_in_header in = {
            .opcode = FUSE_FORGET,
            .len = sizeof(in) + sizeof(struct fuse_forget_in),
        };

        *h = in;
        l->q->desc[i] = (struct vring_desc){ gpa, in.len, 0, 0 };
        l->spare[i] = (uint16_t)(l->nspare - 1 - i);
    }
}

/* Take the rings over from the library; lay everything out. */
static int lay_out(struct drive *d, unsigned int depth)
{
    uint16_t next[1 + DRIVE_QUEUES_MAX] = { 0 };
    const struct drive_spec *spec = d->row->spec;
    unsigned int need = 0, steps = 0;

    for (; spec[steps].opcode; steps++) {
        /* No chain may be longer than the ring, not even an indirect one. */
        if (segments(&spec[steps]) > d->lane[1].q->size)
            return -ENOSPC;
        need += d->indirect ? 1 : segments(&spec[steps]);
    }
    d->arena_used = 0;
    d->depth = 0;
    for (unsigned int i = 0; i < d->nlanes; i++) {
        struct lane *l = &d->lane[i];

        l->avail = l->kicked = l->q->avail_idx;
        l->used = l->q->used_idx;
        l->unique = l->q->unique;
        l->kicks = l->calls = 0;
        memset(l->by_head, 0, l->q->size * sizeof(struct chain *));
    }
    build_forgets(d);
    for (unsigned int i = 0; i < depth; i++) {
        unsigned int k = 1 + i % (d->nlanes - 1);
        struct slot *s = &d->slot[i];

        if (next[k] + need > d->lane[k].q->size)
            break;
        *s = (struct slot){ .lane = &d->lane[k], .idx = i };
        for (unsigned int j = 0; j < steps; j++) {
            build_chain(d, s, &s->c[j], &spec[j], &next[k]);
            s->c[j].step = (uint8_t)j;
        }
        if (d->row->prepare)
            d->row->prepare(d, s);
        d->depth++;
    }
    return d->depth > 0 ? 0 : -ENOSPC;
}

static uint16_t *used_event(struct lane *l)
{
    return (uint16_t *)&l->q->avail->ring[l->q->size];
}

static uint16_t *avail_event(struct lane *l)
{
    return (uint16_t *)&l->q->used->ring[l->q->size];
}

/* No call is wanted: for as long as it lasts without EVENT_IDX, else for the
 * next 65535 completions, as in Linux. */
static void calls_off(struct lane *l)
{
    if (l->q->event_idx)
        __atomic_store_n(used_event(l), (uint16_t)(l->used - 1),
                         __ATOMIC_RELAXED);
    else
        __atomic_store_n(&l->q->avail->flags, VRING_AVAIL_F_NO_INTERRUPT,
                         __ATOMIC_RELAXED);
}

static void calls_on(struct lane *l)
{
    if (l->q->event_idx)
        __atomic_store_n(used_event(l), l->used, __ATOMIC_SEQ_CST);
    else
        __atomic_store_n(&l->q->avail->flags, 0, __ATOMIC_SEQ_CST);
}

/* Give the rings back to the library, empty and with calls wanted. */
static void give_back(struct drive *d)
{
    for (unsigned int i = 0; i < d->nlanes; i++) {
        struct lane *l = &d->lane[i];
        struct guest_queue *q = l->q;

        calls_on(l);
        q->avail_idx = q->kicked_idx = l->avail;
        q->used_idx = l->used;
        q->unique = l->unique;
        q->free_head = 0;
        q->n_free = q->size;
        for (uint16_t k = 0; k < q->size; k++)
            q->next[k] = (uint16_t)(k + 1);
        q->next[q->size - 1] = UINT16_MAX;
        d->kicks += l->kicks;
        d->calls += l->calls;
        /* A call that was on its way is nobody's any more. */
        guest_eventfd_wait(q->call_fd, 0);
    }
}

static void put_head(struct lane *l, uint16_t head)
{
    struct vring_avail *a = l->q->avail;
    uint16_t old = l->avail++;
    bool wanted;

    a->ring[old & l->mask] = head;
    /* Sequentially consistent, both: the device stores its wish and looks at
     * the index in the other order. */
    __atomic_store_n(&a->idx, l->avail, __ATOMIC_SEQ_CST);
    if (l->q->event_idx)
        wanted = vring_need_event(
            __atomic_load_n(avail_event(l), __ATOMIC_SEQ_CST), l->avail, old);
    else
        wanted = !(__atomic_load_n(&l->q->used->flags, __ATOMIC_SEQ_CST) &
                   VRING_USED_F_NO_NOTIFY);
    if (wanted) {
        uint64_t one = 1;

        l->kicks++;
        (void)!write(l->q->kick_fd, &one, sizeof(one));
    }
}

void drive_put(struct drive *d, struct slot *s, struct chain *c)
{
    struct lane *l = s->lane;

    c->unique = l->unique += 2;
    c->in->unique = c->unique;
    c->out->len = 0;
    c->busy = true;
    d->busy++;
    put_head(l, c->head);
}

static void begin(struct drive *d, struct slot *s, int64_t now)
{
    s->t0 = now;
    d->begun++;
    d->row->begin(d, s);
}

static bool check_reply(struct drive *d, struct chain *c, uint32_t len)
{
    struct fuse_out_header h;

    memcpy(&h, c->out, sizeof(h));
    if (likely(h.len == len && h.unique == c->unique &&
               (h.error == c->want_error || c->any_error) &&
               (h.error || c->want_len == 0 || c->want_len == len)))
        return true;
    drive_fault(d,
                "opcode %u: used length %u, reply of %u bytes (want %u), error "
                "%d (want %d), unique %s",
                c->in->opcode, len, h.len, c->want_len, h.error, c->want_error,
                h.unique == c->unique ? "right" : "wrong");
    return false;
}

static void take_one(struct drive *d, struct lane *l, uint32_t id, uint32_t len,
                     int64_t now)
{
    struct chain *c = id <= l->mask ? l->by_head[id] : NULL;
    struct slot *s;

    if (!c || !c->busy) {
        drive_fault(d, "used element %u of ring %u is none of ours", id,
                    l->q->idx);
        return;
    }
    c->busy = false;
    d->busy--;
    if (!check_reply(d, c, len))
        return;
    s = c->slot;
    switch (d->row->done(d, s, c, len)) {
    case DRIVE_MORE:
        return;
    case DRIVE_OP:
        hist_add(&d->hist, now - s->t0);
        d->ops++;
        d->t_last = now;
        if (now >= d->t_end || d->begun >= d->limit)
            d->stopping = true;
        break;
    case DRIVE_AGAIN:
        d->begun--;
        break;
    }
    if (!d->stopping)
        begin(d, s, now);
}

/* Return: elements taken. */
static unsigned int take(struct drive *d, struct lane *l)
{
    struct vring_used *u = l->q->used;
    uint16_t end = __atomic_load_n(&u->idx, __ATOMIC_ACQUIRE);
    unsigned int n = 0;
    int64_t now;

    if (l->used == end)
        return 0;
    now = now_ns();
    while (l->used != end && !d->fault[0]) {
        struct vring_used_elem e = u->ring[l->used & l->mask];

        l->used++;
        n++;
        if (l == &d->lane[0]) {
            if (e.id < FORGETS_MAX && l->nspare < FORGETS_MAX)
                l->spare[l->nspare++] = (uint16_t)e.id;
            else
                drive_fault(d, "a FORGET that is none of ours");
        } else {
            take_one(d, l, e.id, e.len, now);
        }
    }
    return n;
}

static unsigned int take_all(struct drive *d)
{
    unsigned int n = 0;

    for (unsigned int i = 0; i < d->nlanes; i++)
        n += take(d, &d->lane[i]);
    return n;
}

/* Sleep until a call comes.  Return: false when none does. */
static bool sleep_on_calls(struct drive *d)
{
    struct pollfd p[1 + DRIVE_QUEUES_MAX];
    uint64_t n;

    for (unsigned int i = 0; i < d->nlanes; i++) {
        calls_on(&d->lane[i]);
        p[i] = (struct pollfd){ d->lane[i].q->call_fd, POLLIN, 0 };
    }
    if (take_all(d) == 0 && poll(p, d->nlanes, DEADLINE_MS) <= 0)
        return false;
    for (unsigned int i = 0; i < d->nlanes; i++) {
        calls_off(&d->lane[i]);
        if ((p[i].revents & POLLIN) && read(p[i].fd, &n, sizeof(n)) == 8)
            d->lane[i].calls++;
    }
    return true;
}

/* Nothing has come.  Return: false when nothing ever will. */
static bool wait_more(struct drive *d, unsigned int *spins, int64_t *since)
{
    if (d->by_call)
        return sleep_on_calls(d);
    relax();
    if (++*spins % SPINS_YIELD != 0)
        return true;
    sched_yield();
    if (*spins == SPINS_YIELD)
        *since = now_ns();
    return *spins % (SPINS_YIELD * SPINS_CLOCK) != 0 ||
           now_ns() - *since < (int64_t)DEADLINE_MS * 1000000;
}

/* Until @more says that it is enough. */
static void serve(struct drive *d, bool (*more)(const struct drive *d))
{
    unsigned int spins = 0;
    int64_t since = 0;

    while (more(d) && !d->fault[0]) {
        if (take_all(d) > 0)
            spins = 0;
        else if (!wait_more(d, &spins, &since))
            drive_fault(d, "no reply for %d s", DEADLINE_MS / 1000);
    }
}

static bool requests_out(const struct drive *d)
{
    return d->busy > 0;
}

static bool forgets_out(const struct drive *d)
{
    return d->lane[0].nspare <
           MIN((unsigned int)d->lane[0].q->size, FORGETS_MAX);
}

static bool no_forget_spare(const struct drive *d)
{
    return d->lane[0].nspare == 0;
}

void drive_forget(struct drive *d, uint64_t node, uint64_t nlookup)
{
    struct lane *l = &d->lane[0];
    struct fuse_forget_in *f;
    struct fuse_in_header *h;
    unsigned int spins = 0;
    int64_t until = 0;
    uint16_t head;

    /* Only this ring: the caller is in the middle of another. */
    while (no_forget_spare(d) && !d->fault[0] && take(d, l) == 0) {
        relax();
        if (++spins % SPINS_YIELD != 0)
            continue;
        sched_yield();
        if (until == 0)
            until = now_ns() + (int64_t)DEADLINE_MS * 1000000;
        else if (now_ns() > until)
            drive_fault(d, "no FORGET came back for %d s", DEADLINE_MS / 1000);
    }
    if (d->fault[0])
        return;
    head = l->spare[--l->nspare];
    h = at(d, l->q->desc[head].addr, 64);
    f = (struct fuse_forget_in *)(h + 1);
    h->unique = l->unique += 2;
    h->nodeid = node;
    f->nlookup = nlookup;
    put_head(l, head);
}

int drive_run(struct drive *d, const struct drive_row *row, void *arg,
              unsigned int depth, int64_t ns, uint64_t limit)
{
    int ret;

    d->row = row;
    d->arg = arg;
    d->fault[0] = '\0';
    d->busy = 0;
    d->begun = d->ops = d->kicks = d->calls = 0;
    d->limit = limit;
    d->stopping = false;
    hist_clear(&d->hist);
    ret = lay_out(d, depth);
    if (ret < 0)
        return ret;
    for (unsigned int i = 0; i < d->nlanes; i++)
        calls_off(&d->lane[i]);
    d->t_first = d->t_last = now_ns();
    d->t_end = d->t_first + ns;
    for (unsigned int i = 0; i < d->depth && d->begun < limit; i++)
        begin(d, &d->slot[i], now_ns());
    serve(d, requests_out);
    serve(d, forgets_out);
    give_back(d);
    return d->fault[0] ? -EPROTO : 0;
}
