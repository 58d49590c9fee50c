/* SPDX-License-Identifier: BSD-3-Clause */
/* Locks on the host: record locks (--posix-lock) and flock (--flock). */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "fuse/passthrough/closing.h"
#include "fuse/passthrough/pt_i.h"
#include "fuse/request.h"

/* As the guest and the host's kernel write "to the end of the file". */
#define END_OF_FILE ((uint64_t)INT64_MAX)

/**
 * struct lock_wait - a request that waits for a lock.
 * @o, @fd:  record lock: its owner, pinned, and the owner's open file, ours.
 * @h:       flock: the guest's file, pinned; @fd is borrowed from it.
 */
struct lock_wait {
    struct pt_wait w;
    struct pt_fs *fs;
    struct request_later *later;
    struct pt_owner *o;
    struct pt_handle *h;
    struct pt_lock_ask ask;
    int fd;
    int flock_op;
};

/* ---- in the waiting thread ---- */

static bool is_gone(const struct lock_wait *l)
{
    return atomic_load_explicit(&l->w.cancel, memory_order_acquire) ==
           PT_WAIT_GONE;
}

/*
 * What was granted to a descriptor of ours becomes the owner's in its own
 * time: unlocked since, by another thread of the guest's, it is waited for
 * anew.
 */
static int block_record(struct pt_wait *w)
{
    struct lock_wait *l = container_of(w, struct lock_wait, w);
    int ret = pt_ofd_set(l->fd, F_OFD_SETLKW, &l->ask.range);

    if (ret < 0)
        return ret;
    if (is_gone(l)) {
        struct pt_range off = l->ask.range;

        off.type = F_UNLCK;
        pt_ofd_set(l->fd, F_OFD_SETLK, &off);
        return -EINTR;
    }
    ret = pt_owner_set(l->fs, l->o, NULL, &l->ask);
    return ret == -EAGAIN ? -EINTR : ret;
}

/* Of a file that was closed meanwhile it goes with the last pin. */
static int block_flock(struct pt_wait *w)
{
    struct lock_wait *l = container_of(w, struct lock_wait, w);

    return flock(l->fd, l->flock_op) < 0 ? -errno : 0;
}

static void wait_free(struct lock_wait *l)
{
    struct pt_fs *fs = l->fs;

    if (l->o) {
        if (l->fd >= 0)
            pt_close(l->fd);
        pt_owner_put(&fs->locks.owners, l->o);
    }
    if (l->h)
        pt_handle_put(&fs->handles, l->h);
    free(l);
}

static void wait_end(struct pt_wait *w, int ret)
{
    struct lock_wait *l = container_of(w, struct lock_wait, w);
    struct request_later *later = l->later;

    wait_free(l);
    request_later_done(later, -ret);
}

/* ---- in the thread of the request ---- */

static struct lock_wait *wait_new(struct pt_fs *fs, uint64_t fh)
{
    struct lock_wait *l = calloc(1, sizeof(*l));

    if (!l)
        return NULL;
    l->w.unique = request_header(request_current())->unique;
    l->w.fh = fh;
    l->w.end = wait_end;
    l->fs = fs;
    l->fd = -1;
    return l;
}

/*
 * Let the request wait in a thread of its own.
 * @l: taken.
 * Return: 0: it is answered there; -errno: it is not.
 */
static int detach(struct lock_wait *l)
{
    int ret;

    l->later = request_detach(request_current());
    if (!l->later) {
        wait_free(l);
        return -ENOLCK;
    }
    ret = pt_waits_start(&l->fs->locks.waits, &l->w);
    if (ret < 0) {
        request_undetach(request_current(), l->later);
        wait_free(l);
        /* Threads run out as locks do. */
        return ret == -EINTR ? ret : -ENOLCK;
    }
    return 0;
}

static void answer(fuse_req_t req, int ret, bool detached)
{
    if (detached)
        fuse_reply_none(req);
    else
        fuse_reply_err(req, -ret);
}

/* The pinned file of an operation whose locks are ours to keep; NULL: @req is
 * answered. */
static struct pt_handle *begin(fuse_req_t req, const struct fuse_file_info *fi,
                               bool ours)
{
    struct pt_handle *h = NULL;

    if (ours)
        h = pt_handle_get(&pt_fs_of(req)->handles, fi->fh, PT_HANDLE_FILE);
    if (!h)
        fuse_reply_err(req, ours ? EBADF : ENOSYS);
    return h;
}

/* ---- record locks ---- */

static struct pt_lock_ask ask_of(const struct fuse_file_info *fi,
                                 const struct flock *lock)
{
    uint64_t start = (uint64_t)lock->l_start; /* checked by validate.c */

    return (struct pt_lock_ask){
        .range = { .start = start,
                   .end = lock->l_len == 0 ? END_OF_FILE
                                           : start + (uint64_t)lock->l_len - 1,
                   .type = (uint32_t)lock->l_type },
        .owner = fi->lock_owner,
        .fh = fi->fh,
        .pid = (uint32_t)lock->l_pid,
    };
}

/* @o: its pin is taken over on success. */
static int wait_record(struct pt_fs *fs, struct pt_owner *o,
                       const struct pt_lock_ask *ask)
{
    struct lock_wait *l = wait_new(fs, ask->fh);
    int fd;

    if (!l)
        return -ENOLCK;
    fd = pt_owner_dup(o);
    if (fd < 0) {
        free(l);
        return fd;
    }
    l->fd = fd;
    l->ask = *ask;
    l->w.block = block_record;
    l->o = pt_owner_pin(&fs->locks.owners, o);
    return detach(l);
}

static int set_record(struct pt_fs *fs, const struct pt_handle *h,
                      const struct pt_lock_ask *ask, bool wait, bool *detached)
{
    struct pt_owner *o;
    bool off = ask->range.type == F_UNLCK;
    int ret;

    ret = pt_owner_get(&fs->locks.owners, h->node_id, ask->owner, !off, &o);
    if (ret < 0)
        return ret == -ENOENT ? 0 : ret; /* it holds nothing */
    ret = pt_owner_set(fs, o, h, ask);
    if (ret == -EAGAIN && wait) {
        ret = wait_record(fs, o, ask);
        *detached = ret == 0;
    }
    pt_owner_put(&fs->locks.owners, o);
    return ret;
}

void pt_op_setlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
                 struct flock *lock, int sleep)
{
    struct pt_fs *fs = pt_fs_of(req);
    struct pt_lock_ask ask = ask_of(fi, lock);
    struct pt_handle *h;
    bool detached = false;
    int ret;

    (void)ino;
    h = begin(req, fi, fs->opts.posix_lock);
    if (!h)
        return;
    ret = set_record(fs, h, &ask, sleep, &detached);
    pt_handle_put(&fs->handles, h);
    answer(req, ret, detached);
}

void pt_op_getlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
                 struct flock *lock)
{
    struct pt_fs *fs = pt_fs_of(req);
    struct pt_lock_ask ask = ask_of(fi, lock);
    struct pt_range found;
    struct pt_handle *h;
    uint32_t pid;
    int ret;

    (void)ino;
    h = begin(req, fi, fs->opts.posix_lock);
    if (!h)
        return;
    ret = pt_owner_query(fs, h, &ask, &found, &pid);
    pt_handle_put(&fs->handles, h);
    if (ret < 0) {
        fuse_reply_err(req, -ret);
        return;
    }
    lock->l_type = (short)found.type;
    if (found.type != F_UNLCK) {
        lock->l_start = (off_t)found.start;
        lock->l_len =
            found.end == END_OF_FILE ? 0 : (off_t)(found.end - found.start + 1);
    }
    lock->l_pid = (pid_t)pid;
    fuse_reply_lock(req, lock);
}

/* ---- flock ---- */

static int wait_flock(struct pt_fs *fs, uint64_t fh, int op)
{
    struct lock_wait *l = wait_new(fs, fh);

    if (!l)
        return -ENOLCK;
    l->h = pt_handle_get(&fs->handles, fh, PT_HANDLE_FILE);
    if (!l->h) {
        free(l);
        return -EBADF;
    }
    l->fd = l->h->fd;
    l->flock_op = op;
    l->w.block = block_flock;
    return detach(l);
}

/* It belongs to the guest's open file, and so to ours. */
void pt_op_flock(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
                 int op)
{
    struct pt_fs *fs = pt_fs_of(req);
    bool detached = false;
    struct pt_handle *h;
    int ret;

    (void)ino;
    h = begin(req, fi, fs->opts.flock);
    if (!h)
        return;
    ret = flock(h->fd, op | LOCK_NB) < 0 ? -errno : 0;
    pt_handle_put(&fs->handles, h);
    if (ret == -EWOULDBLOCK && !(op & LOCK_NB)) {
        ret = wait_flock(fs, fi->fh, op);
        detached = ret == 0;
    }
    answer(req, ret, detached);
}

/* ---- the ends of locks ---- */

void pt_locks_init(struct pt_fs *fs)
{
    pt_owners_init(&fs->locks.owners);
    pt_waits_init(&fs->locks.waits);
}

void pt_locks_flush(struct pt_fs *fs, const struct pt_handle *h, uint64_t owner)
{
    if (fs->opts.posix_lock)
        pt_owner_drop(&fs->locks.owners, h->node_id, owner);
}

void pt_locks_release(struct pt_fs *fs, uint64_t fh)
{
    struct pt_handle *h;

    if (!fs->opts.flock && !fs->opts.posix_lock)
        return;
    h = pt_handle_get(&fs->handles, fh, PT_HANDLE_FILE);
    if (!h)
        return;
    /* Those that wait first, so that none is granted after the rest. */
    pt_waits_release(&fs->locks.waits, fh);
    /* Its open file may outlive this for a moment, where a request uses it. */
    if (fs->opts.flock)
        flock(h->fd, LOCK_UN);
    if (fs->opts.posix_lock)
        pt_owners_release(&fs->locks.owners, h->node_id, fh);
    pt_handle_put(&fs->handles, h);
}

void pt_locks_reset(struct pt_fs *fs)
{
    pt_waits_end(&fs->locks.waits);
    pt_owners_reset(&fs->locks.owners);
}

void pt_fs_interrupt(struct pt_fs *fs, uint64_t unique)
{
    if (fs->opts.flock || fs->opts.posix_lock)
        pt_waits_interrupt(&fs->locks.waits, unique);
}
