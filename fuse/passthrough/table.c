/* SPDX-License-Identifier: BSD-3-Clause */
#include "fuse/passthrough/table.h"

#include <string.h>
#include <sys/mman.h>

#include "virtiofsd/base/util.h"

#define GENERATION(word) ((uint32_t)((word) >> 32))
#define LOW(word)        ((uint32_t)(word))
#define REFS(word)       ((uint32_t)(word)&0x7fffffffu)
#define WORD(hi, lo)     ((uint64_t)(hi) << 32 | (lo))

/* Chunk k holds 2^(FIRST_SHIFT + k) slots: adding the first chunk's size to
 * an index makes its top bit name the chunk and the rest the place in it. */
static unsigned int chunk_of(uint32_t idx, uint64_t *place)
{
    uint64_t i = (uint64_t)idx + (1u << PT_TABLE_FIRST_SHIFT);
    unsigned int top = 63u - (unsigned int)__builtin_clzll(i);

    *place = i - ((uint64_t)1 << top);
    return top - PT_TABLE_FIRST_SHIFT;
}

static size_t chunk_bytes(const struct pt_table *t, unsigned int k)
{
    return t->elem_bytes << (PT_TABLE_FIRST_SHIFT + k);
}

void pt_table_init(struct pt_table *t, size_t elem_bytes)
{
    memset(t, 0, sizeof(*t));
    t->elem_bytes = elem_bytes;
    atomic_init(&t->used, 1);
    pthread_mutex_init(&t->grow, NULL);
}

void pt_table_fini(struct pt_table *t)
{
    for (unsigned int k = 0; k < PT_TABLE_CHUNKS; k++) {
        char *c = atomic_load_explicit(&t->chunk[k], memory_order_relaxed);

        if (c)
            munmap(c, chunk_bytes(t, k));
    }
    pthread_mutex_destroy(&t->grow);
}

void *pt_table_at(struct pt_table *t, uint32_t idx)
{
    uint64_t place;
    unsigned int k = chunk_of(idx, &place);
    char *c = atomic_load_explicit(&t->chunk[k], memory_order_acquire);

    return c ? c + place * t->elem_bytes : NULL;
}

/* Anonymous memory, not calloc(): a big chunk costs only what is touched. */
static bool ensure_chunk_locked(struct pt_table *t, unsigned int k)
{
    void *c;

    if (atomic_load_explicit(&t->chunk[k], memory_order_relaxed))
        return true;
    c = mmap(NULL, chunk_bytes(t, k), PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (c == MAP_FAILED)
        return false;
    atomic_store_explicit(&t->chunk[k], c, memory_order_release);
    return true;
}

static struct pt_slot *grow(struct pt_table *t)
{
    struct pt_slot *s = NULL;
    uint64_t place;
    uint32_t idx;

    pthread_mutex_lock(&t->grow);
    idx = atomic_load_explicit(&t->used, memory_order_relaxed);
    if (idx != UINT32_MAX && ensure_chunk_locked(t, chunk_of(idx, &place))) {
        s = pt_table_at(t, idx);
        s->idx = idx;
        atomic_store_explicit(&t->used, idx + 1, memory_order_release);
    }
    pthread_mutex_unlock(&t->grow);
    return s;
}

/* The tag in the list's head changes with every push, so a pop that slept
 * while its slot was taken and given back does not install a stale next. */
void *pt_table_alloc(struct pt_table *t)
{
    uint64_t head = atomic_load_explicit(&t->freelist, memory_order_acquire);

    while (LOW(head) != 0) {
        struct pt_slot *s = pt_table_at(t, LOW(head));
        uint32_t next = atomic_load_explicit(&s->next, memory_order_relaxed);

        if (atomic_compare_exchange_weak_explicit(
                &t->freelist, &head, WORD(GENERATION(head), next),
                memory_order_acquire, memory_order_acquire))
            return s;
    }
    return grow(t);
}

void pt_table_free(struct pt_table *t, struct pt_slot *s)
{
    uint64_t word = atomic_load_explicit(&s->ref, memory_order_relaxed);
    uint64_t head = atomic_load_explicit(&t->freelist, memory_order_relaxed);

    atomic_store_explicit(&s->ref, WORD(GENERATION(word) + 1, 0),
                          memory_order_release);
    do {
        atomic_store_explicit(&s->next, LOW(head), memory_order_relaxed);
    } while (!atomic_compare_exchange_weak_explicit(
        &t->freelist, &head, WORD(GENERATION(head) + 1, s->idx),
        memory_order_release, memory_order_relaxed));
}

/* A plain store: without references no pt_table_get() changes the word. */
void pt_slot_publish(struct pt_slot *s)
{
    uint64_t word = atomic_load_explicit(&s->ref, memory_order_relaxed);

    atomic_store_explicit(&s->ref, word + 1, memory_order_release);
}

uint64_t pt_slot_id(const struct pt_slot *s)
{
    uint64_t word = atomic_load_explicit(&s->ref, memory_order_relaxed);

    return WORD(GENERATION(word), s->idx);
}

/* Acquire pairs with pt_slot_publish(): the slot's fields are seen. */
static bool pin(struct pt_slot *s, uint64_t word)
{
    while (REFS(word) != 0) {
        uint32_t generation = GENERATION(word);

        if (atomic_compare_exchange_weak_explicit(&s->ref, &word, word + 1,
                                                  memory_order_acquire,
                                                  memory_order_relaxed))
            return true;
        if (GENERATION(word) != generation)
            return false;
    }
    return false;
}

void *pt_table_get(struct pt_table *t, uint64_t id)
{
    struct pt_slot *s = pt_table_at(t, (uint32_t)id);
    uint64_t word;

    if (!s)
        return NULL;
    word = atomic_load_explicit(&s->ref, memory_order_relaxed);
    return GENERATION(word) == GENERATION(id) && pin(s, word) ? s : NULL;
}

bool pt_slot_put(struct pt_slot *s)
{
    return REFS(atomic_fetch_sub_explicit(&s->ref, 1, memory_order_acq_rel)) ==
           1;
}

int pt_slot_take(struct pt_slot *s)
{
    uint64_t word = atomic_load_explicit(&s->ref, memory_order_relaxed);

    while (REFS(word) == 1) {
        if (atomic_compare_exchange_weak_explicit(
                &s->ref, &word, (word + 1) | PT_SLOT_TAKEN,
                memory_order_acquire, memory_order_relaxed))
            return 1;
    }
    return REFS(word) ? 0 : -1;
}

void pt_slot_give_back(struct pt_slot *s)
{
    atomic_fetch_and_explicit(&s->ref, ~PT_SLOT_TAKEN, memory_order_release);
}

void *pt_table_next(struct pt_table *t, uint32_t *idx)
{
    uint32_t used = atomic_load_explicit(&t->used, memory_order_acquire);

    while (++*idx < used) {
        struct pt_slot *s = pt_table_at(t, *idx);

        if (pin(s, atomic_load_explicit(&s->ref, memory_order_relaxed)))
            return s;
    }
    return NULL;
}

uint64_t pt_table_count(struct pt_table *t)
{
    uint32_t used = atomic_load_explicit(&t->used, memory_order_acquire);
    uint64_t n = 0;

    for (uint32_t idx = 1; idx < used; idx++) {
        struct pt_slot *s = pt_table_at(t, idx);

        n += REFS(atomic_load_explicit(&s->ref, memory_order_relaxed)) != 0;
    }
    return n;
}
