/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_TESTS_PROTOCOL_LOCKS_LIB_H
#define VIRTIOFSD_TESTS_PROTOCOL_LOCKS_LIB_H

/* Locks as guests, and as the host, ask for them. */

#include <fcntl.h>
#include <sys/file.h>

#include "tests/protocol/vm.h"

#define LK_END ((uint64_t)INT64_MAX)

/* Options that turn both kinds on. */
extern const struct vm_opts lk_on;

/* A file which a guest has open. */
struct lk_file {
    uint64_t node, fh;
};

/* Make @name in the guest and open it for reading and writing. */
bool lk_create(struct guest_queue *q, const char *name, struct lk_file *f);
/* Look it up and open it with @flags. */
bool lk_open(struct guest_queue *q, const char *name, uint32_t flags,
             struct lk_file *f);

/* SETLK.  @type: F_RDLCK, F_WRLCK, F_UNLCK.  Return: as fm_call(). */
int lk_set(struct guest_queue *q, const struct lk_file *f, uint64_t owner,
           int type, uint64_t start, uint64_t end);
/* flock(2) without waiting. */
int lk_flock(struct guest_queue *q, const struct lk_file *f, int type);
/* GETLK for F_WRLCK. */
int lk_get(struct guest_queue *q, const struct lk_file *f, uint64_t owner,
           uint64_t start, uint64_t end, struct fuse_file_lock *out);
int lk_flush(struct guest_queue *q, const struct lk_file *f, uint64_t owner);

/* Which host file is locked how: "" for not, "r", "w", by others than us. */
const char *lk_host_sees(const struct vm *vm, const char *name, uint64_t start,
                         uint64_t end);
/* Can the host take flock() of it?  It is given back at once. */
bool lk_host_can_flock(const struct vm *vm, const char *name);

/* A request that waits for a lock.  Slot 0 is fm_call()'s. */
struct lk_wait {
    struct guest_queue *q;
    struct fuse_lk_in in;
    struct fm m;
};
#define LK_SLOT_BYTES (4 * GUEST_PAGE)

/* SETLKW, of a record or (FUSE_LK_FLOCK in @lk_flags) of the file.
 * @slot: 1 and up; lk_slots() has made room for it. */
void lk_wait_put(struct lk_wait *w, struct guest_queue *q, unsigned int slot,
                 const struct lk_file *f, uint64_t owner, int type,
                 uint32_t lk_flags);
bool lk_slots(struct guest_queue *q, unsigned int n);
/* Wait for its answer, which is the next on its ring.  Return: as fm_call(). */
int lk_wait_take(struct lk_wait *w);
/* Nothing has come back on the ring. */
bool lk_wait_none(struct guest_queue *q);

/* Wait until @n wait for a lock on @name, in the host's kernel. */
bool lk_blocked(const struct vm *vm, const char *name, unsigned int n);

/* After RESET_DEVICE: rings, features and session anew. */
bool lk_set_up_again(struct vm *vm);

/* Descriptors open in the request process. */
size_t lk_count_fds(const struct vm *vm);
/* Wait until there are @want. */
bool lk_fds_are(const struct vm *vm, size_t want);

#endif
