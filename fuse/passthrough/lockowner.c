/* SPDX-License-Identifier: BSD-3-Clause */
#include "fuse/passthrough/lockowner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuse/passthrough/closing.h"
#include "fuse/passthrough/pt_i.h"

/* As fuse and the host's kernel write "to the end of the file". */
#define END_OF_FILE ((uint64_t)INT64_MAX)

static const struct pt_range whole = { .end = END_OF_FILE, .type = F_UNLCK };

void pt_owners_init(struct pt_owners *t)
{
    memset(t, 0, sizeof(*t));
    pthread_mutex_init(&t->lock, NULL);
}

void pt_owners_fini(struct pt_owners *t)
{
    pt_owners_reset(t);
    pthread_mutex_destroy(&t->lock);
}

uint32_t pt_owners_count(struct pt_owners *t)
{
    uint32_t n;

    pthread_mutex_lock(&t->lock);
    n = t->n;
    pthread_mutex_unlock(&t->lock);
    return n;
}

/* By the file alone: who closes one, and who asks for a holder, looks at all
 * owners of that file. */
static struct pt_owner **bucket_of(struct pt_owners *t, uint64_t node_id)
{
    uint64_t h = node_id * UINT64_C(0x9e3779b97f4a7c15);

    return &t->bucket[h >> 54];
}
_Static_assert(PT_OWNER_BUCKETS == 1 << 10, "bucket_of() takes ten bits");

/* Nobody else sees it any more. */
static void owner_free(struct pt_owners *t, struct pt_owner *o)
{
    atomic_fetch_sub_explicit(&t->n_ranges, o->ranges.n, memory_order_relaxed);
    if (o->fd >= 0)
        pt_close(o->fd);
    pt_ranges_free(&o->ranges);
    pthread_mutex_destroy(&o->lock);
    free(o);
}

static void unlist_locked(struct pt_owners *t, struct pt_owner *o)
{
    struct pt_owner **p = bucket_of(t, o->node_id);

    while (*p != o)
        p = &(*p)->next;
    *p = o->next;
    o->next = NULL;
    o->listed = false;
    t->n--;
}

void pt_owners_reset(struct pt_owners *t)
{
    struct pt_owner *free_list = NULL;

    pthread_mutex_lock(&t->lock);
    for (size_t i = 0; i < PT_OWNER_BUCKETS; i++) {
        while (t->bucket[i]) {
            struct pt_owner *o = t->bucket[i];

            unlist_locked(t, o);
            if (o->pins == 0) {
                o->next = free_list;
                free_list = o;
            }
        }
    }
    pthread_mutex_unlock(&t->lock);
    pt_closing_begin();
    while (free_list) {
        struct pt_owner *o = free_list;

        free_list = o->next;
        owner_free(t, o);
    }
    pt_closing_end();
}

static struct pt_owner *owner_new(uint64_t node_id, uint64_t owner)
{
    struct pt_owner *o = calloc(1, sizeof(*o));

    if (!o)
        return NULL;
    o->node_id = node_id;
    o->owner = owner;
    o->fd = -1;
    pthread_mutex_init(&o->lock, NULL);
    return o;
}

static struct pt_owner *find_locked(struct pt_owners *t, uint64_t node_id,
                                    uint64_t owner)
{
    struct pt_owner *o = *bucket_of(t, node_id);

    while (o && (o->node_id != node_id || o->owner != owner))
        o = o->next;
    return o;
}

int pt_owner_get(struct pt_owners *t, uint64_t node_id, uint64_t owner,
                 bool make, struct pt_owner **out)
{
    struct pt_owner *o;
    int ret = 0;

    pthread_mutex_lock(&t->lock);
    o = find_locked(t, node_id, owner);
    if (!o && !make) {
        ret = -ENOENT;
    } else if (!o && t->n >= PT_LOCK_OWNERS_MAX) {
        ret = -ENOLCK;
    } else if (!o) {
        struct pt_owner **b = bucket_of(t, node_id);

        o = owner_new(node_id, owner);
        ret = o ? 0 : -ENOMEM;
        if (o) {
            o->next = *b;
            *b = o;
            o->listed = true;
            t->n++;
        }
    }
    if (o)
        o->pins++;
    pthread_mutex_unlock(&t->lock);
    *out = o;
    return ret;
}

struct pt_owner *pt_owner_pin(struct pt_owners *t, struct pt_owner *o)
{
    pthread_mutex_lock(&t->lock);
    o->pins++;
    pthread_mutex_unlock(&t->lock);
    return o;
}

/* Without pins nobody holds the owner's own lock. */
void pt_owner_put(struct pt_owners *t, struct pt_owner *o)
{
    bool last;

    pthread_mutex_lock(&t->lock);
    last = --o->pins == 0 && (!o->listed || o->ranges.n == 0);
    if (last && o->listed)
        unlist_locked(t, o);
    pthread_mutex_unlock(&t->lock);
    if (last)
        owner_free(t, o);
}

/* ---- an owner's open file ---- */

int pt_ofd_set(int fd, int cmd, const struct pt_range *r)
{
    struct flock fl = {
        .l_type = (short)r->type,
        .l_whence = SEEK_SET,
        .l_start = (off_t)r->start,
        .l_len = r->end == END_OF_FILE ? 0 : (off_t)(r->end - r->start + 1),
    };

    if (fcntl(fd, cmd, &fl) < 0)
        return errno == EACCES ? -EAGAIN : -errno;
    return 0;
}

static bool allows(int accmode, uint32_t type)
{
    return accmode == O_RDWR ||
           accmode == (type == F_WRLCK ? O_WRONLY : O_RDONLY);
}

/*
 * As the guest has it open, and no more: to have a file open for writing
 * keeps the host from executing it.  Who may only write shall be able to lock
 * for reading later, by another file, where we may.
 */
static int open_like(struct pt_fs *fs, const struct pt_handle *h, int *accmode)
{
    int fd;

    *accmode = h->flags & O_ACCMODE;
    if (*accmode != O_WRONLY)
        return pt_reopen(fs, h->fd, S_IFREG, *accmode);
    *accmode = O_RDWR;
    fd = pt_reopen(fs, h->fd, S_IFREG, O_RDWR);
    if (fd >= 0)
        return fd;
    *accmode = O_WRONLY;
    return pt_reopen(fs, h->fd, S_IFREG, O_WRONLY);
}

/*
 * An open file that can do more, with the same locks: those for reading may
 * be held twice for a moment, and nobody can come in between.  Those for
 * writing can not.
 */
static int widen_locked(struct pt_owner *o, int fd, int accmode)
{
    for (uint32_t i = 0; i < o->ranges.n; i++) {
        int ret = o->ranges.r[i].type == F_RDLCK && accmode == O_RDWR
                      ? pt_ofd_set(fd, F_OFD_SETLK, &o->ranges.r[i])
                      : -ENOLCK;

        if (ret < 0)
            return ret;
    }
    return 0;
}

static int open_locked(struct pt_fs *fs, struct pt_owner *o,
                       const struct pt_handle *h, uint32_t type)
{
    int fd, accmode, ret;

    if (!allows(h->flags & O_ACCMODE, type))
        return -EBADF;
    if (o->fd >= 0 && allows(o->accmode, type))
        return 0;
    fd = open_like(fs, h, &accmode);
    if (fd < 0)
        return fd;
    ret = o->fd >= 0 ? widen_locked(o, fd, accmode) : 0;
    if (ret < 0) {
        close(fd);
        return ret;
    }
    if (o->fd >= 0)
        close(o->fd);
    o->fd = fd;
    o->accmode = accmode;
    return 0;
}

/* ---- locking ---- */

/* Room for @more ranges, of all that there may be. */
static int reserve(struct pt_owners *t, struct pt_owner *o, int more)
{
    int64_t was =
        atomic_fetch_add_explicit(&t->n_ranges, more, memory_order_relaxed);

    if ((more <= 0 || was + more <= PT_LOCK_RANGES_MAX) &&
        pt_ranges_reserve(&o->ranges) == 0)
        return 0;
    atomic_fetch_sub_explicit(&t->n_ranges, more, memory_order_relaxed);
    return -ENOLCK;
}

static int set_locked(struct pt_owners *t, struct pt_owner *o,
                      const struct pt_range *r)
{
    int more = pt_ranges_growth(&o->ranges, r);
    int ret = reserve(t, o, more);

    if (ret < 0)
        return ret;
    ret = pt_ofd_set(o->fd, F_OFD_SETLK, r);
    if (ret < 0)
        atomic_fetch_sub_explicit(&t->n_ranges, more, memory_order_relaxed);
    else
        pt_ranges_set(&o->ranges, r);
    return ret;
}

int pt_owner_set(struct pt_fs *fs, struct pt_owner *o,
                 const struct pt_handle *h, const struct pt_lock_ask *ask)
{
    int ret = 0;

    pthread_mutex_lock(&o->lock);
    if (ask->range.type != F_UNLCK && h)
        ret = open_locked(fs, o, h, ask->range.type);
    if (ret == 0 && o->fd >= 0)
        ret = set_locked(&fs->locks.owners, o, &ask->range);
    else if (ret == 0 && ask->range.type != F_UNLCK)
        ret = -ENOLCK; /* its open file was lost, see drop() */
    if (ret == 0 && ask->range.type != F_UNLCK) {
        o->pid = ask->pid;
        atomic_store_explicit(&o->fh, ask->fh, memory_order_relaxed);
    }
    pthread_mutex_unlock(&o->lock);
    return ret;
}

int pt_owner_dup(struct pt_owner *o)
{
    int fd;

    pthread_mutex_lock(&o->lock);
    fd = fcntl(o->fd, F_DUPFD_CLOEXEC, 0);
    fd = fd < 0 ? -errno : fd;
    pthread_mutex_unlock(&o->lock);
    return fd;
}

/* @o is pinned. */
static void drop(struct pt_owners *t, struct pt_owner *o)
{
    pthread_mutex_lock(&o->lock);
    atomic_store_explicit(&o->fh, 0, memory_order_relaxed);
    if (o->ranges.n > 0 && set_locked(t, o, &whole) < 0) {
        /* Then its open file goes, and the locks with it. */
        close(o->fd);
        o->fd = -1;
        atomic_fetch_sub_explicit(&t->n_ranges, o->ranges.n,
                                  memory_order_relaxed);
        o->ranges.n = 0;
    }
    pthread_mutex_unlock(&o->lock);
}

void pt_owner_drop(struct pt_owners *t, uint64_t node_id, uint64_t owner)
{
    struct pt_owner *o;

    if (pt_owner_get(t, node_id, owner, false, &o) < 0)
        return;
    drop(t, o);
    pt_owner_put(t, o);
}

void pt_owners_release(struct pt_owners *t, uint64_t node_id, uint64_t fh)
{
    for (;;) {
        struct pt_owner *o;

        pthread_mutex_lock(&t->lock);
        o = *bucket_of(t, node_id);
        while (o && (o->node_id != node_id ||
                     atomic_load_explicit(&o->fh, memory_order_relaxed) != fh))
            o = o->next;
        if (o)
            o->pins++;
        pthread_mutex_unlock(&t->lock);
        if (!o)
            return;
        drop(t, o);
        pt_owner_put(t, o);
    }
}

/* ---- asking ---- */

static bool holds_locked(const struct pt_owner *o, const struct pt_range *r)
{
    for (uint32_t i = 0; i < o->ranges.n; i++) {
        const struct pt_range *mine = &o->ranges.r[i];

        if (mine->start == r->start && mine->end == r->end &&
            mine->type == r->type)
            return true;
    }
    return false;
}

/* An owner that is busy may hang on its file system: it is passed over. */
static uint32_t holder(struct pt_owners *t, uint64_t node_id, uint64_t but,
                       const struct pt_range *r)
{
    uint32_t pid = 0;

    pthread_mutex_lock(&t->lock);
    for (struct pt_owner *o = *bucket_of(t, node_id); o && !pid; o = o->next) {
        if (o->node_id != node_id || o->owner == but ||
            pthread_mutex_trylock(&o->lock) != 0)
            continue;
        if (holds_locked(o, r))
            pid = o->pid;
        pthread_mutex_unlock(&o->lock);
    }
    pthread_mutex_unlock(&t->lock);
    return pid;
}

static int ofd_get(int fd, const struct pt_range *ask, struct pt_range *out)
{
    struct flock fl = {
        .l_type = (short)ask->type,
        .l_whence = SEEK_SET,
        .l_start = (off_t)ask->start,
        .l_len =
            ask->end == END_OF_FILE ? 0 : (off_t)(ask->end - ask->start + 1),
    };

    if (fcntl(fd, F_OFD_GETLK, &fl) < 0)
        return -errno;
    out->type = (uint32_t)fl.l_type;
    out->start = (uint64_t)fl.l_start;
    out->end =
        fl.l_len == 0 ? END_OF_FILE : out->start + (uint64_t)fl.l_len - 1;
    return 0;
}

int pt_owner_query(struct pt_fs *fs, const struct pt_handle *h,
                   const struct pt_lock_ask *ask, struct pt_range *out,
                   uint32_t *pid)
{
    struct pt_owners *t = &fs->locks.owners;
    struct pt_owner *o;
    int fd = h->fd, ret;

    /* By its own open file, so that its own locks are not in its way. */
    ret = pt_owner_get(t, h->node_id, ask->owner, false, &o);
    if (ret == 0) {
        pthread_mutex_lock(&o->lock);
        fd = o->fd >= 0 ? o->fd : fd;
    }
    ret = ofd_get(fd, &ask->range, out);
    if (o) {
        pthread_mutex_unlock(&o->lock);
        pt_owner_put(t, o);
    }
    *pid = ret < 0 || out->type == F_UNLCK
               ? 0
               : holder(t, h->node_id, ask->owner, out);
    return ret;
}
