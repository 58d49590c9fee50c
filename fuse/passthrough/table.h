/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_FUSE_PASSTHROUGH_TABLE_H
#define VIRTIOFSD_FUSE_PASSTHROUGH_TABLE_H

/*
 * Tables whose entries the guest names by number: nodes and handles.
 *
 * An id is generation << 32 | index.  The index finds the slot, the
 * generation says whether the slot still holds what the id was given for; a
 * forged or stale id finds nothing.  Index 0 is never used, so neither is id
 * 0; the first slot of a table has id 1.
 *
 * Slots live in chunks of doubling size which never move, so a slot's address
 * is good as long as the table.  All is plain data: the table can be written
 * out and read back.
 *
 *   free (no references) -> alloc -> publish (1 reference: the owner's)
 *   -> get/put pins come and go -> the last put -> free, generation + 1
 *
 * A slot on which only the owner's reference is left can be *taken* for a
 * moment, for a change which nobody who has it pinned may see.  Pins go on
 * to succeed meanwhile; who pins asks pt_slot_taken() and waits, by a lock of
 * the table's user, until that moment is over.
 *
 * Context: any thread; no lock but while a table grows.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PT_TABLE_FIRST_SHIFT 10 /* slots in the first chunk: 1024 */
#define PT_TABLE_CHUNKS      23 /* enough for every 32-bit index */
#define PT_SLOT_TAKEN        ((uint64_t)1 << 31)

/* First member of whatever a table holds. */
struct pt_slot {
    _Atomic uint64_t ref;  /* generation << 32 | taken << 31 | references */
    _Atomic uint32_t next; /* free: of the free list, atomic because somebody
                              may still read it there; live: its owner's */
    uint32_t idx;          /* constant once the slot was handed out */
};

struct pt_table {
    size_t elem_bytes;
    _Atomic(char *) chunk[PT_TABLE_CHUNKS];
    pthread_mutex_t grow;      /* guards raising used, and new chunks */
    _Atomic uint32_t used;     /* indexes below it were handed out once */
    _Atomic uint64_t freelist; /* tag << 32 | index of the first; 0: empty */
};

/* @elem_bytes: of one element, struct pt_slot included.  Cannot fail. */
void pt_table_init(struct pt_table *t, size_t elem_bytes);
/* Frees the memory; what the slots held is the caller's to have closed. */
void pt_table_fini(struct pt_table *t);

/**
 * pt_table_alloc() - take a free slot.
 * It holds what its last life left there and nobody can get it until
 * pt_slot_publish().
 * Return: the slot, or NULL when memory or indexes are exhausted.
 */
void *pt_table_alloc(struct pt_table *t);

/* Make an allocated slot visible, with one reference. */
void pt_slot_publish(struct pt_slot *s);

/* The id by which the slot's present life is known. */
uint64_t pt_slot_id(const struct pt_slot *s);

/**
 * pt_table_get() - pin what an id names.
 * Return: the slot, with one more reference, or NULL when there is no such.
 */
void *pt_table_get(struct pt_table *t, uint64_t id);

/* Drop a reference.  Return: true when it was the last; then the caller alone
 * sees the slot, cleans it up and hands it to pt_table_free(). */
bool pt_slot_put(struct pt_slot *s);
void pt_table_free(struct pt_table *t, struct pt_slot *s);

/**
 * pt_slot_take() - take a slot that nobody has pinned.
 * Succeeds when there is exactly one reference, whosever that is: whether it
 * is the owner's is for the caller to find out.  The slot is pinned by the
 * caller then, too.  Only one caller at a time for each slot, by a lock.
 * Return: 1, then pt_slot_give_back() and a put are due; 0 when it is pinned;
 * -1 when it is free.
 */
int pt_slot_take(struct pt_slot *s);
void pt_slot_give_back(struct pt_slot *s);

/* Asked with a pin: nobody can take it any more, so "no" holds. */
static inline bool pt_slot_taken(const struct pt_slot *s)
{
    /* Acquire pairs with pt_slot_give_back(). */
    return atomic_load_explicit(&s->ref, memory_order_acquire) & PT_SLOT_TAKEN;
}

/**
 * pt_table_at() - the slot of an index, whether live or not.
 * Return: the slot, or NULL when no slot ever had that index.
 */
void *pt_table_at(struct pt_table *t, uint32_t idx);

/**
 * pt_table_next() - walk the live ones.
 * @idx: in/out, index to go on from; start with 0.
 * What is added or freed meanwhile may be missed.
 * Return: a pinned slot, to be put by the caller, or NULL at the end.
 */
void *pt_table_next(struct pt_table *t, uint32_t *idx);

/* How many are live: a walk, for tests and statistics. */
uint64_t pt_table_count(struct pt_table *t);

#endif
