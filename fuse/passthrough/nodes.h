/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_FUSE_PASSTHROUGH_NODES_H
#define VIRTIOFSD_FUSE_PASSTHROUGH_NODES_H

/*
 * The inodes which the guest knows.
 *
 * A node lives while the guest holds lookups of it (one table reference) or
 * an operation has it pinned.  Once the lookups are gone it cannot be found
 * by its inode any more; the same file looked up again gets another id.
 *
 * A node refers to its file in one of two ways:
 *
 *   held    it has an O_PATH descriptor and no file handle.  The host cannot
 *           give the inode's number to another file while the node lives.
 *   handle  it has a file handle, and a descriptor only by times: it is
 *           opened by the first pin that finds it closed, and closed when its
 *           place is wanted for another one.  See nodefd.h.
 *
 * One that was opened to begin with may be held until its place is wanted and
 * take its handle then (PT_MARK_LATER): many are gone before.
 *
 * A node which is closed does not hold its inode.  So whoever finds it by the
 * number has to tell more: the time of birth, or the handle.  When the file
 * turns out to be gone the node is made unknown: nobody finds it any more,
 * the guest gets ESTALE until it has forgotten it.
 *
 * Locks: one mutex a shard, none is taken while another is held.  The
 * transitions of nlookup from and to 0 happen under the shard's; so does
 * every increment, so that nobody counts up a node which is being let go.
 */

#include <sys/stat.h>
#include <sys/types.h>

#include "fuse/passthrough/filehandle.h"
#include "fuse/passthrough/mountfd.h"
#include "fuse/passthrough/table.h"
#include "virtiofsd/base/util.h"

#define PT_ROOT_ID     1
#define PT_NODE_SHARDS 64

/* The mount is part of it: a file seen through two mounts is two nodes.
 * Packed to fit struct pt_node into a cache line. */
struct pt_key {
    uint64_t ino;
    uint32_t dev;    /* as the kernel packs it: major << 20 | minor */
    uint32_t mnt_id; /* 0 where the kernel does not tell */
    uint32_t birth;  /* of the time of birth, 0: not known; no part of the
                        identity of a file that is held open */
} __attribute__((packed, aligned(4)));

/* Bits of pt_node.marks. */
#define PT_MARK_USED 1 /* pinned since the clock's hand went by */
#define PT_MARK_KEEP 2 /* its file has no name any more: close it last */
#define PT_MARK_UNKNOWN                                                        \
    4                    /* not in its bucket; changes under the shard's lock */
#define PT_MARK_PROVEN 8 /* the handle leads to the key's inode, we looked */
#define PT_MARK_LATER  16 /* open, a handle is yet to be taken */

struct pt_node {
    _Alignas(CACHE_LINE) struct pt_slot slot; /* next: of the bucket */
    _Atomic uint64_t nlookup;                 /* lookups the guest holds */
    struct pt_key key;                        /* constant while live, as type */
    _Atomic int fd; /* O_PATH | O_NOFOLLOW, -1: closed */
    uint16_t type;  /* S_IFMT bits */
    _Atomic uint8_t marks;
    struct pt_fh_small fh; /* constant while live and not PT_MARK_LATER */
};

_Static_assert(sizeof(struct pt_node) == CACHE_LINE,
               "a node is a cache line: the man page states its size");

struct pt_node_shard {
    _Alignas(CACHE_LINE) pthread_mutex_t lock;
    uint32_t *bucket; /* index of the first node, 0: none */
    uint32_t n_buckets, n_nodes;
};

/* Places for the descriptors of nodes with handles; nodefd.c. */
struct pt_ring {
    _Atomic uint64_t *place; /* which node is open; 0: free */
    uint32_t n;              /* 0: handles are not in use */
    _Alignas(CACHE_LINE) _Atomic uint32_t hand;
    pthread_mutex_t lock[PT_NODE_SHARDS]; /* by index: a node's fd changes
                                             under it; innermost */
};

struct pt_nodes {
    struct pt_table table;
    struct pt_node_shard shard[PT_NODE_SHARDS];
    struct pt_ring ring;
    struct pt_mounts mounts;
    int fd_max; /* descriptors from this number on are not the guest's */
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

/* Pin the node of an id; NULL: the guest's id is stale or made up.  The node
 * may be closed: operations but OPEN use pt_node_pin(). */
struct pt_node *pt_node_get(struct pt_nodes *t, uint64_t id);
void pt_node_put(struct pt_nodes *t, struct pt_node *n);

/**
 * pt_node_find() - a node the guest may know already: one lookup more.
 * @key: as statx(2) has just told.
 * Return: its id; 0 when there is none, or when it takes the file's handle to
 * tell whether there is.
 */
uint64_t pt_node_find(struct pt_nodes *t, const struct pt_key *key);

/* The same without a lookup more: pins it.  NULL when there is none. */
struct pt_node *pt_node_find_get(struct pt_nodes *t, const struct pt_key *key);

/**
 * pt_node_insert() - one lookup more of a file.
 * @fd:  O_PATH of the file, or -1 when @fh is given; taken, on failure too.
 *       Without @fh the node holds it.  With it the node may use it.  When
 *       another thread was faster its node is used and @fd may be closed.
 * @fh:  the file's handle, or NULL; then the caller has a reference to its
 *       mount, which is taken, on failure too.
 * @id:  out.
 * Return: 1 when the node is new, 0 when it was there, or -ENOMEM.
 */
int pt_node_insert(struct pt_nodes *t, const struct pt_key *key, mode_t type,
                   int fd, const struct pt_fh *fh, uint64_t *id);

/**
 * pt_node_insert_open() - one lookup more of a file that is open.
 * @fd: O_PATH of the file; taken, unless -EAGAIN is returned.
 * The caller has a reference to the file's mount, which is taken on the same
 * condition.  A new node takes its handle later, by pt_node_place().
 * Return: as pt_node_insert(); -EAGAIN: it takes the file's handle to tell
 * whether it is known.
 */
int pt_node_insert_open(struct pt_nodes *t, const struct pt_key *key,
                        mode_t type, int fd, uint64_t *id);

/* One lookup more of a pinned node.  Return: 0, or -ESTALE when the guest
 * forgets it this moment. */
int pt_node_add_lookup(struct pt_nodes *t, struct pt_node *n);

/* The guest gives @n lookups back.  More than it holds is its fault: told in
 * the log, taken as all of them.  The root stays whatever is asked. */
void pt_node_forget(struct pt_nodes *t, uint64_t id, uint64_t n);

/* Its file is gone: nobody shall find @n, which is pinned, any more. */
void pt_node_make_unknown(struct pt_nodes *t, struct pt_node *n);

#endif
