/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_FUSE_PASSTHROUGH_LOCKOWNER_H
#define VIRTIOFSD_FUSE_PASSTHROUGH_LOCKOWNER_H

/*
 * Record locks on the host (--posix-lock).
 *
 * On the host all of the guest is one process, so its own record locks would
 * tell none of the guest's processes apart.  Open file description locks
 * belong to an open file instead; so each lock owner of the guest's gets, on
 * each file it locks, an open file of its own.  Closing that is the end of
 * its locks, whatever else happens.
 *
 * A guest may not make us keep without bound: there are so many owners, and so
 * many ranges, for a device; beyond that a lock fails with ENOLCK.
 *
 * Locks: owners.lock for the table, never held over a system call; an owner's
 * own for what it holds, held over calls that do not wait for other locks.
 * Under owners.lock the latter is only tried.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "fuse/passthrough/lockrange.h"

struct pt_fs;
struct pt_handle;

#define PT_LOCK_OWNERS_MAX 16384
#define PT_LOCK_RANGES_MAX 65536
#define PT_OWNER_BUCKETS   1024

/**
 * struct pt_owner - one lock owner and one file.
 * @next, @pins, @listed: the table's lock.
 * @fh: the guest's file by which it locked last; none after its RELEASE.
 * @lock: guards all below.
 * @fd:   its open file, or -1; @accmode is how it was opened.
 * @pid:  of the guest's, for who asks which process holds a lock.
 */
struct pt_owner {
    struct pt_owner *next;
    uint64_t node_id, owner;
    uint32_t pins;
    bool listed;
    _Atomic uint64_t fh;
    pthread_mutex_t lock;
    int fd, accmode;
    uint32_t pid;
    struct pt_ranges ranges;
};

struct pt_owners {
    pthread_mutex_t lock;
    struct pt_owner *bucket[PT_OWNER_BUCKETS];
    uint32_t n;
    _Atomic int64_t n_ranges;
};

/* What a guest asks for. */
struct pt_lock_ask {
    struct pt_range range;
    uint64_t owner, fh;
    uint32_t pid;
};

void pt_owners_init(struct pt_owners *t);
/* Let go of every lock.  Those still pinned go with their pins. */
void pt_owners_reset(struct pt_owners *t);
void pt_owners_fini(struct pt_owners *t);
uint32_t pt_owners_count(struct pt_owners *t);

/**
 * pt_owner_get() - pin an owner on a file.
 * @make: or begin one.
 * Return: 0; -ENOENT without @make; -ENOLCK when there are too many; -ENOMEM.
 */
int pt_owner_get(struct pt_owners *t, uint64_t node_id, uint64_t owner,
                 bool make, struct pt_owner **out);
/* One more pin. */
struct pt_owner *pt_owner_pin(struct pt_owners *t, struct pt_owner *o);
/* An owner that holds nothing any more ends with its last pin. */
void pt_owner_put(struct pt_owners *t, struct pt_owner *o);

/**
 * pt_owner_set() - lock or unlock without waiting.
 * @h: the file by which it is asked, pinned; F_UNLCK needs none.
 * Return: 0; -EAGAIN: another holds a lock in the way; -EBADF: the file is not
 * open for that; -ENOLCK: too many ranges; what the host says.
 */
int pt_owner_set(struct pt_fs *fs, struct pt_owner *o,
                 const struct pt_handle *h, const struct pt_lock_ask *ask);

/* fcntl(2) with @cmd, F_OFD_SETLK or F_OFD_SETLKW.  Return: 0 or -errno. */
int pt_ofd_set(int fd, int cmd, const struct pt_range *r);

/* The owner's open file once more, to wait with.  Return: fd or -errno. */
int pt_owner_dup(struct pt_owner *o);

/* The locks of an owner on a file are over: it has closed a file of it. */
void pt_owner_drop(struct pt_owners *t, uint64_t node_id, uint64_t owner);
/* The same for who locked by @fh, which is closed for good. */
void pt_owners_release(struct pt_owners *t, uint64_t node_id, uint64_t fh);

/**
 * pt_owner_query() - which lock is in the way?
 * @h:   the file by which it is asked, pinned.
 * @ask: range.type F_RDLCK or F_WRLCK.
 * @out: F_UNLCK for none; else its range, and as @pid the guest's process or 0
 *       for one outside of the guest.
 * Return: 0 or -errno.
 */
int pt_owner_query(struct pt_fs *fs, const struct pt_handle *h,
                   const struct pt_lock_ask *ask, struct pt_range *out,
                   uint32_t *pid);

#endif
