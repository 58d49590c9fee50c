/* SPDX-License-Identifier: BSD-3-Clause */
#include "fuse/passthrough/nodes.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "virtiofsd/base/log.h"

#define FIRST_BUCKETS 16

static uint64_t hash(const struct pt_key *k)
{
    uint64_t h = k->ino * 0x9e3779b97f4a7c15u;

    h ^= ((uint64_t)k->dev << 32 | (uint32_t)k->mnt_id) * 0xc2b2ae3d27d4eb4fu;
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

static struct pt_node *find_locked(struct pt_nodes *t, struct pt_node_shard *sh,
                                   uint64_t h, const struct pt_key *key)
{
    struct pt_node *n;

    for (uint32_t i = *bucket_of(sh, h); i; i = n->hash_next) {
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

            next = n->hash_next;
            n->hash_next = *head;
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
    n->hash_next = *head;
    *head = n->slot.idx;
    sh->n_nodes++;
}

static void unlink_locked(struct pt_nodes *t, struct pt_node_shard *sh,
                          uint64_t h, struct pt_node *n)
{
    uint32_t *link = bucket_of(sh, h);

    while (*link && *link != n->slot.idx)
        link = &((struct pt_node *)pt_table_at(&t->table, *link))->hash_next;
    BUG_ON(!*link);
    *link = n->hash_next;
    sh->n_nodes--;
}

/* A new node with one lookup, in its bucket.  @fd is taken on success. */
static struct pt_node *add_locked(struct pt_nodes *t, struct pt_node_shard *sh,
                                  uint64_t h, const struct pt_key *key,
                                  mode_t type, int fd)
{
    struct pt_node *n = pt_table_alloc(&t->table);

    if (!n)
        return NULL;
    n->key = *key;
    n->fd = fd;
    n->type = type & S_IFMT;
    atomic_store_explicit(&n->nlookup, 1, memory_order_relaxed);
    link_locked(t, sh, h, n);
    pt_slot_publish(&n->slot);
    return n;
}

int pt_nodes_init(struct pt_nodes *t, const struct pt_key *root, mode_t type,
                  int root_fd)
{
    uint64_t h = hash(root);
    struct pt_node *n;

    pt_table_init(&t->table, sizeof(struct pt_node));
    for (size_t i = 0; i < PT_NODE_SHARDS; i++) {
        struct pt_node_shard *sh = &t->shard[i];

        pthread_mutex_init(&sh->lock, NULL);
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
    n = add_locked(t, shard_of(t, h), h, root, type, root_fd);
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
    if (!pt_slot_put(&n->slot))
        return;
    close(n->fd);
    n->fd = -1;
    pt_table_free(&t->table, &n->slot);
}

static uint64_t count_up_locked(struct pt_node *n)
{
    atomic_fetch_add_explicit(&n->nlookup, 1, memory_order_relaxed);
    return pt_slot_id(&n->slot);
}

uint64_t pt_node_find(struct pt_nodes *t, const struct pt_key *key)
{
    uint64_t h = hash(key), id = 0;
    struct pt_node_shard *sh = shard_of(t, h);
    struct pt_node *n;

    pthread_mutex_lock(&sh->lock);
    n = find_locked(t, sh, h, key);
    if (n)
        id = count_up_locked(n);
    pthread_mutex_unlock(&sh->lock);
    return id;
}

int pt_node_insert(struct pt_nodes *t, const struct pt_key *key, mode_t type,
                   int fd, uint64_t *id)
{
    uint64_t h = hash(key);
    struct pt_node_shard *sh = shard_of(t, h);
    struct pt_node *n;
    int ret = 0;

    pthread_mutex_lock(&sh->lock);
    n = find_locked(t, sh, h, key);
    if (n) {
        *id = count_up_locked(n);
    } else {
        n = add_locked(t, sh, h, key, type, fd);
        ret = n ? 1 : -ENOMEM;
        if (n)
            *id = pt_slot_id(&n->slot);
    }
    pthread_mutex_unlock(&sh->lock);
    if (ret <= 0)
        close(fd);
    return ret;
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
    if (old && !left)
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
    }
    pt_table_fini(&t->table);
}
