/* SPDX-License-Identifier: BSD-3-Clause */
#include "fuse/passthrough/nodefd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "fuse/passthrough/pt_i.h"
#include "virtiofsd/base/fd.h"
#include "virtiofsd/base/sys.h"

/* How the hand looks at a node, from round to round. */
enum round {
    ROUND_SPARE,  /* leaves those in use lately, for once */
    ROUND_UNUSED, /* leaves those without a name, for once */
    ROUND_ALL,
    ROUNDS,
};

/*
 * What a place holds: which node, in which of its slot's lives, and in which
 * turn of the hand it was written.  The life tells places of nodes that were
 * forgotten; the turn makes each entry a new one, so that nobody who judged an
 * old entry replaces a later one of the same node.
 */
#define ENTRY(turn, life, idx)                                                 \
    ((uint64_t)(uint16_t)(turn) << 48 | (uint64_t)(uint16_t)(life) << 32 |     \
     (idx))
#define ENTRY_LIFE(e) ((uint16_t)((e) >> 32))
#define ENTRY_IDX(e)  ((uint32_t)(e))

enum closed {
    NODE_BUSY,   /* it stays open */
    NODE_GONE,   /* it had no descriptor to close: its place is free */
    NODE_CLOSED, /* its place is free */
};

int pt_ring_init(struct pt_ring *r, uint32_t places)
{
    r->place = calloc(places, sizeof(*r->place));
    if (!r->place)
        return -ENOMEM;
    r->n = places;
    return 0;
}

void pt_ring_fini(struct pt_ring *r)
{
    free(r->place);
    r->place = NULL;
    r->n = 0;
}

static pthread_mutex_t *fd_lock(struct pt_nodes *t, uint32_t idx)
{
    return &t->ring.lock[idx % PT_NODE_SHARDS];
}

/*
 * The one reference that allowed the taking may be an operation's, whose node
 * was forgotten meanwhile.  It is the lookups' if there are any: they are
 * counted down to 0 before that reference is dropped, and pt_slot_take() has
 * acquired all that came before the drop.
 */
static int take_fd_locked(struct pt_node *n)
{
    if (n->fh.how == 0 ||
        atomic_load_explicit(&n->nlookup, memory_order_relaxed) == 0)
        return -1;
    /* Release pairs with holds_inode() of nodes.c. */
    return atomic_exchange_explicit(&n->fd, -1, memory_order_release);
}

static uint16_t life_of(const struct pt_node *n)
{
    return (uint16_t)(pt_slot_id(&n->slot) >> 32);
}

/* Does the hand pass by?  What spared the node is used up by that. */
static bool is_spared(struct pt_node *n, enum round round)
{
    uint8_t mark = round == ROUND_SPARE    ? PT_MARK_USED
                   : round == ROUND_UNUSED ? PT_MARK_KEEP
                                           : 0;
    uint8_t marks = atomic_load_explicit(&n->marks, memory_order_relaxed);

    if (marks & mark)
        atomic_fetch_and_explicit(&n->marks, (uint8_t)~mark,
                                  memory_order_relaxed);
    return (marks & mark) || (round == ROUND_SPARE && (marks & PT_MARK_KEEP));
}

static bool has_mark(const struct pt_node *n, uint8_t mark)
{
    return atomic_load_explicit(&n->marks, memory_order_relaxed) & mark;
}

/* Key and handle are told of one open file, which proves the handle.  Without
 * one the node is held from now on, and has no use for its mount. */
static void set_handle_locked(struct pt_nodes *t, struct pt_node *n,
                              const struct pt_fh *fh)
{
    uint8_t mark = 0;

    if (fh && pt_fh_pack(fh, &n->fh) == 0)
        mark = PT_MARK_PROVEN;
    else
        pt_mount_put(&t->mounts, n->key.mnt_id);
    atomic_fetch_or_explicit(&n->marks, mark, memory_order_relaxed);
    atomic_fetch_and_explicit(&n->marks, (uint8_t)~PT_MARK_LATER,
                              memory_order_relaxed);
}

/* Before it is closed a node takes the handle that it put off: under a pin, so
 * that it stays open meanwhile. */
static void take_handle(struct pt_nodes *t, struct pt_node *n)
{
    struct pt_fh fh;
    uint32_t mnt_id;
    bool got;

    if (!pt_node_get(t, pt_slot_id(&n->slot)))
        return;
    got = pt_fh_get(n->fd, "", &fh, &mnt_id) == 0 && mnt_id == n->key.mnt_id;
    pthread_mutex_lock(fd_lock(t, n->slot.idx));
    if (has_mark(n, PT_MARK_LATER))
        set_handle_locked(t, n, got ? &fh : NULL);
    pthread_mutex_unlock(fd_lock(t, n->slot.idx));
    pt_node_put(t, n);
}

/* Close the node that has a place. */
static enum closed close_node(struct pt_nodes *t, uint64_t entry,
                              enum round round)
{
    uint32_t idx = ENTRY_IDX(entry);
    struct pt_node *n = pt_table_at(&t->table, idx);
    int fd = -1, taken;

    if (life_of(n) != ENTRY_LIFE(entry))
        return NODE_GONE;
    if (is_spared(n, round))
        return NODE_BUSY;
    if (has_mark(n, PT_MARK_LATER))
        take_handle(t, n);
    pthread_mutex_lock(fd_lock(t, idx));
    taken = pt_slot_take(&n->slot);
    if (taken > 0) {
        fd = take_fd_locked(n);
        pt_slot_give_back(&n->slot);
    }
    pthread_mutex_unlock(fd_lock(t, idx));
    if (taken > 0)
        pt_node_put(t, n);
    if (taken == 0)
        return NODE_BUSY;
    if (fd < 0)
        return NODE_GONE;
    sys_close(fd);
    return NODE_CLOSED;
}

/* Move the hand on by one.  Return: its turn, the place is @place. */
static uint32_t advance(struct pt_ring *r, _Atomic uint64_t **place)
{
    uint32_t at = atomic_fetch_add_explicit(&r->hand, 1, memory_order_relaxed);

    *place = &r->place[at % r->n];
    return at / r->n;
}

/* Release, and acquire where a place is read: a slot is written to, at the
 * first time, before it is known to who closes its node. */
static bool claim_place(struct pt_nodes *t, const struct pt_node *n)
{
    struct pt_ring *r = &t->ring;

    for (uint64_t i = 0; i < (uint64_t)r->n * ROUNDS; i++) {
        _Atomic uint64_t *place;
        uint32_t turn = advance(r, &place);
        uint64_t old = atomic_load_explicit(place, memory_order_acquire);

        if (old && close_node(t, old, (enum round)(i / r->n)) == NODE_BUSY)
            continue;
        if (atomic_compare_exchange_strong_explicit(
                place, &old, ENTRY(turn, life_of(n), n->slot.idx),
                memory_order_release, memory_order_relaxed))
            return true;
    }
    return false;
}

/* Close one node.  Return: false when none can be closed. */
static bool close_one(struct pt_nodes *t)
{
    struct pt_ring *r = &t->ring;

    for (uint64_t i = 0; i < (uint64_t)r->n * ROUNDS; i++) {
        _Atomic uint64_t *place;
        enum closed closed;
        uint64_t old;

        advance(r, &place);
        old = atomic_load_explicit(place, memory_order_acquire);
        if (!old)
            continue;
        closed = close_node(t, old, (enum round)(i / r->n));
        if (closed == NODE_BUSY)
            continue;
        atomic_compare_exchange_strong_explicit(
            place, &old, 0, memory_order_relaxed, memory_order_relaxed);
        if (closed == NODE_CLOSED)
            return true;
    }
    return false;
}

int pt_fd_admit(struct pt_nodes *t, int fd)
{
    if (fd < 0)
        return fd == -EMFILE ? -ENFILE : fd;
    while (fd >= t->fd_max) {
        int high = fd;

        fd = close_one(t) ? fcntl(high, F_DUPFD_CLOEXEC, 0) : -1;
        close(high);
        if (fd < 0)
            return -ENFILE;
    }
    return fd;
}

/*
 * The handle and the key were not told by one call, nor about one descriptor:
 * the name may have gone from one file to another in between.  If the file
 * which the handle leads to has the key's number it had it all the time.
 */
static int prove(struct pt_node *n, int fd)
{
    struct pt_key key;
    struct statx sx;
    int ret = pt_statx(fd, "", &sx, &key);

    if (ret < 0)
        return ret;
    if (key.ino != n->key.ino || key.dev != n->key.dev ||
        key.birth != n->key.birth)
        return -ESTALE;
    atomic_fetch_or_explicit(&n->marks, PT_MARK_PROVEN, memory_order_relaxed);
    return 0;
}

static int open_by_handle(struct pt_nodes *t, struct pt_node *n, int flags)
{
    struct pt_fh fh;
    int mount_fd = pt_mount_fd(&t->mounts, n->key.mnt_id);

    pt_fh_unpack(&n->fh, &fh);
    return pt_fd_admit(t, pt_fh_open(mount_fd, &fh, flags));
}

static int open_path(struct pt_nodes *t, struct pt_node *n)
{
    int fd, ret = 0;

    if (n->fh.how == 0)
        return -EBADF;
    fd = open_by_handle(t, n, PT_FH_PATH);
    if (fd >= 0 && !has_mark(n, PT_MARK_PROVEN))
        ret = prove(n, fd);
    if (ret < 0) {
        close(fd);
        fd = ret;
    }
    if (fd == -ESTALE)
        pt_node_make_unknown(t, n);
    return fd;
}

/* @fd is taken. */
static void install(struct pt_nodes *t, struct pt_node *n, int fd)
{
    pthread_mutex_lock(fd_lock(t, n->slot.idx));
    if (atomic_load_explicit(&n->fd, memory_order_relaxed) < 0)
        atomic_store_explicit(&n->fd, take_fd(&fd), memory_order_relaxed);
    pthread_mutex_unlock(fd_lock(t, n->slot.idx));
    fd_close(&fd);
}

int pt_node_open(struct pt_nodes *t, struct pt_node *n)
{
    int fd;

    /* Whoever was closing it is through once we have had the lock. */
    pthread_mutex_lock(fd_lock(t, n->slot.idx));
    fd = atomic_load_explicit(&n->fd, memory_order_relaxed);
    pthread_mutex_unlock(fd_lock(t, n->slot.idx));
    if (fd >= 0)
        return 0;
    fd = open_path(t, n);
    if (fd < 0)
        return fd;
    if (!claim_place(t, n)) {
        close(fd);
        return -ENFILE;
    }
    install(t, n, fd);
    return 0;
}

int pt_node_open_io(struct pt_nodes *t, struct pt_node *n, int flags)
{
    int ret;

    if (!S_ISREG(n->type) || n->fh.how == 0)
        return -EOPNOTSUPP;
    /* Before that the handle may be another file's, which must not be opened
     * for I/O: a device would act, a fifo would block. */
    if (!has_mark(n, PT_MARK_PROVEN)) {
        ret = pt_node_open(t, n);
        if (ret < 0)
            return ret;
    }
    if (!has_mark(n, PT_MARK_PROVEN))
        return -EOPNOTSUPP; /* open, but not by the handle */
    return open_by_handle(t, n, flags);
}

void pt_node_prove(struct pt_nodes *t, uint64_t id)
{
    struct pt_node *n = pt_node_get(t, id);

    if (!n)
        return;
    atomic_fetch_or_explicit(&n->marks, PT_MARK_PROVEN, memory_order_relaxed);
    pt_node_put(t, n);
}

void pt_node_adopt(struct pt_nodes *t, struct pt_node *n, int fd)
{
    if (claim_place(t, n))
        install(t, n, fd);
    else
        close(fd);
}

void pt_node_place(struct pt_nodes *t, uint64_t id)
{
    struct pt_node *n = pt_node_get(t, id);

    if (!n)
        return;
    /* Without a place it is held. */
    claim_place(t, n);
    pt_node_put(t, n);
}
