/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_FUSE_PASSTHROUGH_NODES_H
#define VIRTIOFSD_FUSE_PASSTHROUGH_NODES_H

/*
 * The inodes which the guest knows.  Each holds an O_PATH descriptor, so the
 * host cannot give its inode number to another file while the node lives.
 *
 * A node lives while the guest holds lookups of it (one table reference) or
 * an operation has it pinned.  Once the lookups are gone it cannot be found
 * by its inode any more; the same file looked up again gets another id.
 *
 * Locks: one mutex a shard, none is taken while another is held.  The
 * transitions of nlookup from and to 0 happen under the shard's; so does
 * every increment, so that nobody counts up a node which is being let go.
 */

#include <sys/stat.h>
#include <sys/types.h>

#include "fuse/passthrough/table.h"
#include "virtiofsd/base/util.h"

#define PT_ROOT_ID     1
#define PT_NODE_SHARDS 64

/* The mount is part of it: a file seen through two mounts is two nodes. */
struct pt_key {
    dev_t dev;
    ino_t ino;
    uint64_t mnt_id; /* 0 where the kernel does not tell */
};

struct pt_node {
    _Alignas(CACHE_LINE) struct pt_slot slot;
    _Atomic uint64_t nlookup; /* lookups the guest holds */
    struct pt_key key;        /* constant while live, as all below */
    uint32_t hash_next;       /* index of the next in the bucket; its shard's */
    int fd;                   /* O_PATH | O_NOFOLLOW */
    mode_t type;              /* S_IFMT bits */
};

struct pt_node_shard {
    _Alignas(CACHE_LINE) pthread_mutex_t lock;
    uint32_t *bucket; /* index of the first node, 0: none */
    uint32_t n_buckets, n_nodes;
};

struct pt_nodes {
    struct pt_table table;
    struct pt_node_shard shard[PT_NODE_SHARDS];
};

/**
 * pt_nodes_init() - a table that holds the root only, as id PT_ROOT_ID.
 * @root_fd: borrowed for the life of the table.
 * Return: 0, or -ENOMEM.
 */
int pt_nodes_init(struct pt_nodes *t, const struct pt_key *root, mode_t type,
                  int root_fd);
/* Forget every node but the root, whatever the guest holds. */
void pt_nodes_reset(struct pt_nodes *t);
/* Also the memory; nothing may be pinned. */
void pt_nodes_fini(struct pt_nodes *t);

/* Pin the node of an id; NULL: the guest's id is stale or made up. */
struct pt_node *pt_node_get(struct pt_nodes *t, uint64_t id);
void pt_node_put(struct pt_nodes *t, struct pt_node *n);

/**
 * pt_node_find() - a node the guest may know already: one lookup more.
 * Return: its id, or 0 when there is none.
 */
uint64_t pt_node_find(struct pt_nodes *t, const struct pt_key *key);

/**
 * pt_node_insert() - one lookup more of a file we hold open.
 * @fd:  O_PATH of the file; taken, on failure too: when another thread was
 *       faster its node is used and @fd is closed.
 * @id:  out.
 * Return: 1 when the node is new, 0 when it was there, or -ENOMEM.
 */
int pt_node_insert(struct pt_nodes *t, const struct pt_key *key, mode_t type,
                   int fd, uint64_t *id);

/* One lookup more of a pinned node.  Return: 0, or -ESTALE when the guest
 * forgets it this moment. */
int pt_node_add_lookup(struct pt_nodes *t, struct pt_node *n);

/* The guest gives @n lookups back.  More than it holds is its fault: told in
 * the log, taken as all of them.  The root stays whatever is asked. */
void pt_node_forget(struct pt_nodes *t, uint64_t id, uint64_t n);

#endif
