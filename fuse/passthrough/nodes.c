/* SPDX-License-Identifier: BSD-3-Clause */
#include "fuse/passthrough/nodes.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuse/passthrough/nodefd.h"
#include "virtiofsd/base/log.h"
#include "virtiofsd/base/sys.h"

#define FIRST_BUCKETS 16

static uint64_t hash(const struct pt_key *k)
{
    uint64_t h = k->ino * 0x9e3779b97f4a7c15u;

    h ^= ((uint64_t)k->dev << 32 | k->mnt_id) * 0xc2b2ae3d27d4eb4fu;
    h ^= h >> 29;
    h *= 0xbf58476d1ce4e5b9u;
    return h ^ h >> 32;
}

static bool same(const struct pt_key *a, const struct pt_key *b)
{
    return a->ino == b->ino && a->dev == b->dev && a->mnt_id == b->mnt_id;
}

static struct pt_node_shard *shard_of(struct pt_nodes *t, uint64_t h)
{
    return &t->shard[h % PT_NODE_SHARDS];
}

static uint32_t *bucket_of(struct pt_node_shard *sh, uint64_t h)
{
    return &sh->bucket[h / PT_NODE_SHARDS & (sh->n_buckets - 1)];
}

/* The link of the buckets is the word that links the free list else: a pop of
 * that list that is late may read it, and then throws away what it read. */
static uint32_t next_of(const struct pt_node *n)
{
    return atomic_load_explicit(&n->slot.next, memory_order_relaxed);
}

static void set_next(struct pt_node *n, uint32_t next)
{
    atomic_store_explicit(&n->slot.next, next, memory_order_relaxed);
}

static bool has_mark(const struct pt_node *n, uint8_t mark)
{
    return atomic_load_explicit(&n->marks, memory_order_relaxed) & mark;
}

static struct pt_node *find_locked(struct pt_nodes *t, struct pt_node_shard *sh,
                                   uint64_t h, const struct pt_key *key)
{
    struct pt_node *n;

    for (uint32_t i = *bucket_of(sh, h); i; i = next_of(n)) {
        n = pt_table_at(&t->table, i);
        if (same(&n->key, key))
            return n;
    }
    return NULL;
}

/* Twice the buckets.  Without memory for them the chains get longer, that is
 * all. */
static void rehash_locked(struct pt_nodes *t, struct pt_node_shard *sh)
{
    uint32_t old_n = sh->n_buckets, *old = sh->bucket;
    uint32_t *fresh;

    if (old_n > UINT32_MAX / 2)
        return;
    fresh = calloc((size_t)old_n * 2, sizeof(*fresh));
    if (!fresh)
        return;
    sh->bucket = fresh;
    sh->n_buckets = old_n * 2;
    for (uint32_t b = 0; b < old_n; b++) {
        for (uint32_t i = old[b], next; i; i = next) {
            struct pt_node *n = pt_table_at(&t->table, i);
            uint32_t *head = bucket_of(sh, hash(&n->key));

            next = next_of(n);
            set_next(n, *head);
            *head = i;
        }
    }
    free(old);
}

static void link_locked(struct pt_nodes *t, struct pt_node_shard *sh,
                        uint64_t h, struct pt_node *n)
{
    uint32_t *head;

    if (sh->n_nodes >= sh->n_buckets)
        rehash_locked(t, sh);
    head = bucket_of(sh, h);
    set_next(n, *head);
    *head = n->slot.idx;
    sh->n_nodes++;
}

static void unlink_locked(struct pt_nodes *t, struct pt_node_shard *sh,
                          uint64_t h, struct pt_node *n)
{
    uint32_t *head = bucket_of(sh, h);
    struct pt_node *at = NULL;

    if (*head == n->slot.idx) {
        *head = next_of(n);
    } else {
        for (uint32_t i = *head; i && i != n->slot.idx; i = next_of(at))
            at = pt_table_at(&t->table, i);
        BUG_ON(!at || next_of(at) != n->slot.idx);
        set_next(at, next_of(n));
    }
    sh->n_nodes--;
}

static void make_unknown_locked(struct pt_nodes *t, struct pt_node_shard *sh,
                                uint64_t h, struct pt_node *n)
{
    if (has_mark(n, PT_MARK_UNKNOWN))
        return;
    unlink_locked(t, sh, h, n);
    atomic_fetch_or_explicit(&n->marks, PT_MARK_UNKNOWN, memory_order_relaxed);
}

/* A new node with one lookup, in its bucket.  @fd and the mount's reference
 * are taken on success. */
static struct pt_node *add_locked(struct pt_nodes *t, struct pt_node_shard *sh,
                                  uint64_t h, const struct pt_key *key,
                                  mode_t type, int fd, const struct pt_fh *fh)
{
    struct pt_node *n = pt_table_alloc(&t->table);

    if (!n)
        return NULL;
    if (!fh) {
        n->fh.how = 0;
    } else if (pt_fh_pack(fh, &n->fh) < 0) {
        pt_table_free(&t->table, &n->slot);
        return NULL;
    }
    n->key = *key;
    n->type = type & S_IFMT;
    atomic_store_explicit(&n->fd, fd, memory_order_relaxed);
    atomic_store_explicit(&n->marks, 0, memory_order_relaxed);
    atomic_store_explicit(&n->nlookup, 1, memory_order_relaxed);
    link_locked(t, sh, h, n);
    pt_slot_publish(&n->slot);
    return n;
}

static void init_locks(struct pt_nodes *t)
{
    memset(&t->ring, 0, sizeof(t->ring));
    for (size_t i = 0; i < PT_NODE_SHARDS; i++) {
        pthread_mutex_init(&t->shard[i].lock, NULL);
        pthread_mutex_init(&t->ring.lock[i], NULL);
    }
}

int pt_nodes_init(struct pt_nodes *t, const struct pt_key *root, mode_t type,
                  int root_fd)
{
    uint64_t h = hash(root);
    struct pt_node *n;

    pt_table_init(&t->table, sizeof(struct pt_node));
    pt_mounts_init(&t->mounts);
    init_locks(t);
    t->fd_max = INT_MAX;
    for (size_t i = 0; i < PT_NODE_SHARDS; i++) {
        struct pt_node_shard *sh = &t->shard[i];

        sh->n_nodes = 0;
        sh->n_buckets = FIRST_BUCKETS;
        sh->bucket = calloc(FIRST_BUCKETS, sizeof(*sh->bucket));
        if (!sh->bucket)
            sh->n_buckets = 0;
    }
    for (size_t i = 0; i < PT_NODE_SHARDS; i++) {
        if (!t->shard[i].bucket)
            goto fail_shards;
    }
    n = add_locked(t, shard_of(t, h), h, root, type, root_fd, NULL);
    if (!n)
        goto fail_shards;
    BUG_ON(pt_slot_id(&n->slot) != PT_ROOT_ID);
    return 0;

fail_shards:
    for (size_t i = 0; i < PT_NODE_SHARDS; i++)
        free(t->shard[i].bucket);
    pt_table_fini(&t->table);
    return -ENOMEM;
}

struct pt_node *pt_node_get(struct pt_nodes *t, uint64_t id)
{
    return pt_table_get(&t->table, id);
}

void pt_node_put(struct pt_nodes *t, struct pt_node *n)
{
    int fd;

    if (!pt_slot_put(&n->slot))
        return;
    fd = atomic_exchange_explicit(&n->fd, -1, memory_order_relaxed);
    if (fd >= 0)
        sys_close(fd);
    if (n->fh.how || has_mark(n, PT_MARK_LATER)) {
        pt_fh_drop(&n->fh);
        pt_mount_put(&t->mounts, n->key.mnt_id);
    }
    pt_table_free(&t->table, &n->slot);
}

static uint64_t count_up_locked(struct pt_node *n)
{
    atomic_fetch_add_explicit(&n->nlookup, 1, memory_order_relaxed);
    return pt_slot_id(&n->slot);
}

/* Acquire pairs with take_fd_locked(): the handle of a closed node is seen;
 * that of an open one may be written at this moment. */
static bool holds_inode(const struct pt_node *n)
{
    return atomic_load_explicit(&n->fd, memory_order_acquire) >= 0 ||
           n->fh.how == 0;
}

/*
 * Is what statx(2) told about the node's file?  An open node holds its inode,
 * so the number can be no other's.  A closed one must have been born at the
 * same time; the clock is coarse, so a file that took over the number within
 * a tick would pass: its first use is answered ESTALE then, which makes the
 * node unknown.
 */
static bool is_file_of(const struct pt_node *n, const struct pt_key *key)
{
    return holds_inode(n) || (key->birth && key->birth == n->key.birth);
}

uint64_t pt_node_find(struct pt_nodes *t, const struct pt_key *key)
{
    uint64_t h = hash(key), id = 0;
    struct pt_node_shard *sh = shard_of(t, h);
    struct pt_node *n;

    pthread_mutex_lock(&sh->lock);
    n = find_locked(t, sh, h, key);
    if (n && is_file_of(n, key))
        id = count_up_locked(n);
    pthread_mutex_unlock(&sh->lock);
    return id;
}

struct pt_node *pt_node_find_get(struct pt_nodes *t, const struct pt_key *key)
{
    uint64_t h = hash(key), id = 0;
    struct pt_node_shard *sh = shard_of(t, h);
    struct pt_node *n;

    pthread_mutex_lock(&sh->lock);
    n = find_locked(t, sh, h, key);
    if (n && is_file_of(n, key))
        id = pt_slot_id(&n->slot);
    pthread_mutex_unlock(&sh->lock);
    return id ? pt_node_get(t, id) : NULL;
}

/* The same with all that can be known.  Who is closed and has another handle
 * has lost its file. */
static bool is_same_file(const struct pt_node *n, const struct pt_key *key,
                         const struct pt_fh *fh)
{
    return fh ? holds_inode(n) || pt_fh_same(&n->fh, fh) : is_file_of(n, key);
}

static int insert(struct pt_nodes *t, const struct pt_key *key, mode_t type,
                  int fd, const struct pt_fh *fh, uint64_t *id)
{
    uint64_t h = hash(key);
    struct pt_node_shard *sh = shard_of(t, h);
    struct pt_node *n;
    int ret = 0;

    pthread_mutex_lock(&sh->lock);
    n = find_locked(t, sh, h, key);
    if (n && !is_same_file(n, key, fh)) {
        make_unknown_locked(t, sh, h, n);
        n = NULL;
    }
    if (n) {
        *id = count_up_locked(n);
    } else {
        n = add_locked(t, sh, h, key, type, fd, fh);
        ret = n ? 1 : -ENOMEM;
        if (n)
            *id = pt_slot_id(&n->slot);
    }
    pthread_mutex_unlock(&sh->lock);
    return ret;
}

static void adopt(struct pt_nodes *t, uint64_t id, int fd)
{
    struct pt_node *n = pt_node_get(t, id);

    if (n) {
        pt_node_prove(t, id);
        pt_node_adopt(t, n, fd);
        pt_node_put(t, n);
    } else {
        close(fd);
    }
}

int pt_node_insert(struct pt_nodes *t, const struct pt_key *key, mode_t type,
                   int fd, const struct pt_fh *fh, uint64_t *id)
{
    int ret = insert(t, key, type, fh ? -1 : fd, fh, id);

    if (fh && ret <= 0)
        pt_mount_put(&t->mounts, key->mnt_id);
    if (fh && ret > 0 && fd >= 0)
        adopt(t, *id, fd);
    else if (ret <= 0 && fd >= 0)
        close(fd);
    return ret;
}

int pt_node_insert_open(struct pt_nodes *t, const struct pt_key *key,
                        mode_t type, int fd, uint64_t *id)
{
    uint64_t h = hash(key);
    struct pt_node_shard *sh = shard_of(t, h);
    struct pt_node *n;
    int ret = 0;

    pthread_mutex_lock(&sh->lock);
    n = find_locked(t, sh, h, key);
    if (n && !holds_inode(n)) {
        ret = -EAGAIN;
    } else if (n) {
        count_up_locked(n);
    } else {
        n = add_locked(t, sh, h, key, type, fd, NULL);
        ret = n ? 1 : -ENOMEM;
    }
    if (ret == 1)
        atomic_fetch_or_explicit(&n->marks, PT_MARK_LATER,
                                 memory_order_relaxed);
    if (ret >= 0)
        *id = pt_slot_id(&n->slot);
    pthread_mutex_unlock(&sh->lock);
    if (ret == 0 || ret == -ENOMEM) {
        pt_mount_put(&t->mounts, key->mnt_id);
        close(fd);
    }
    return ret;
}

void pt_node_make_unknown(struct pt_nodes *t, struct pt_node *n)
{
    uint64_t h = hash(&n->key);
    struct pt_node_shard *sh = shard_of(t, h);

    pthread_mutex_lock(&sh->lock);
    /* Without lookups it has left its bucket already. */
    if (atomic_load_explicit(&n->nlookup, memory_order_relaxed))
        make_unknown_locked(t, sh, h, n);
    pthread_mutex_unlock(&sh->lock);
}

int pt_node_add_lookup(struct pt_nodes *t, struct pt_node *n)
{
    struct pt_node_shard *sh = shard_of(t, hash(&n->key));
    int ret = 0;

    pthread_mutex_lock(&sh->lock);
    if (atomic_load_explicit(&n->nlookup, memory_order_relaxed))
        count_up_locked(n);
    else
        ret = -ESTALE;
    pthread_mutex_unlock(&sh->lock);
    return ret;
}

/* Under the shard's lock nlookup can only fall, and not to 0, so what is
 * taken here is taken once.  Return: lookups asked for beyond those held. */
static uint64_t forget_last(struct pt_nodes *t, struct pt_node *n,
                            uint64_t count)
{
    uint64_t h = hash(&n->key), old, left;
    struct pt_node_shard *sh = shard_of(t, h);

    pthread_mutex_lock(&sh->lock);
    old = atomic_load_explicit(&n->nlookup, memory_order_relaxed);
    do {
        left = old > count ? old - count : 0;
    } while (!atomic_compare_exchange_weak_explicit(
        &n->nlookup, &old, left, memory_order_relaxed, memory_order_relaxed));
    if (old && !left && !has_mark(n, PT_MARK_UNKNOWN))
        unlink_locked(t, sh, h, n);
    pthread_mutex_unlock(&sh->lock);
    if (old && !left)
        pt_node_put(t, n); /* the lookups' reference */
    return count > old ? count - old : 0;
}

/* @n is pinned.  Return: as forget_last(). */
static uint64_t forget(struct pt_nodes *t, struct pt_node *n, uint64_t count)
{
    uint64_t old = atomic_load_explicit(&n->nlookup, memory_order_relaxed);

    while (count < old) {
        if (atomic_compare_exchange_weak_explicit(
                &n->nlookup, &old, old - count, memory_order_relaxed,
                memory_order_relaxed))
            return 0;
    }
    return forget_last(t, n, count);
}

void pt_node_forget(struct pt_nodes *t, uint64_t id, uint64_t count)
{
    struct pt_node *n;
    uint64_t excess;

    if (id == PT_ROOT_ID)
        return;
    n = pt_node_get(t, id);
    if (!n) {
        log_limited(LOG_LEVEL_WARN, "node 0x%" PRIx64 ": forgotten, unknown",
                    id);
        return;
    }
    excess = forget(t, n, count);
    pt_node_put(t, n);
    if (excess)
        log_limited(LOG_LEVEL_WARN,
                    "node 0x%" PRIx64 ": forgotten %" PRIu64
                    " times more than looked up",
                    id, excess);
}

void pt_nodes_reset(struct pt_nodes *t)
{
    struct pt_node *n;
    uint32_t idx = 0;

    while ((n = pt_table_next(&t->table, &idx))) {
        if (idx == PT_ROOT_ID)
            atomic_store_explicit(&n->nlookup, 1, memory_order_relaxed);
        else
            forget(t, n, UINT64_MAX);
        pt_node_put(t, n);
    }
}

void pt_nodes_fini(struct pt_nodes *t)
{
    pt_nodes_reset(t);
    for (size_t i = 0; i < PT_NODE_SHARDS; i++) {
        free(t->shard[i].bucket);
        pthread_mutex_destroy(&t->shard[i].lock);
        pthread_mutex_destroy(&t->ring.lock[i]);
    }
    pt_ring_fini(&t->ring);
    pt_mounts_fini(&t->mounts);
    pt_table_fini(&t->table);
}
