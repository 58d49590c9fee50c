/* SPDX-License-Identifier: BSD-3-Clause */
#include "fuse/passthrough/mountfd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "virtiofsd/base/fd.h"
#include "virtiofsd/base/log.h"
#include "virtiofsd/base/util.h"

#ifndef FUSE_SUPER_MAGIC
#define FUSE_SUPER_MAGIC 0x65735546
#endif

#define PROBES      8 /* places in which an id may be */
#define ID(word)    ((uint32_t)((word) >> 32))
#define REFS(word)  ((uint32_t)(word))
#define WORD(id, n) ((uint64_t)(id) << 32 | (n))

void pt_mounts_init(struct pt_mounts *t)
{
    memset(t, 0, sizeof(*t));
    pthread_mutex_init(&t->lock, NULL);
    for (size_t i = 0; i < PT_MOUNTS; i++)
        t->m[i].fd = -1;
}

void pt_mounts_fini(struct pt_mounts *t)
{
    for (size_t i = 0; i < PT_MOUNTS; i++)
        fd_close(&t->m[i].fd);
    pthread_mutex_destroy(&t->lock);
}

static struct pt_mount *place(struct pt_mounts *t, uint32_t mnt_id, size_t i)
{
    return &t->m[(mnt_id + i) % PT_MOUNTS];
}

/* Acquire pairs with the release in add(): the descriptor is seen. */
static struct pt_mount *find(struct pt_mounts *t, uint32_t mnt_id,
                             uint64_t *word)
{
    for (size_t i = 0; i < PROBES; i++) {
        struct pt_mount *m = place(t, mnt_id, i);

        *word = atomic_load_explicit(&m->word, memory_order_acquire);
        if (ID(*word) == mnt_id && REFS(*word) > 0)
            return m;
    }
    return NULL;
}

bool pt_mount_get(struct pt_mounts *t, uint32_t mnt_id)
{
    struct pt_mount *m;
    uint64_t word;

    while ((m = find(t, mnt_id, &word))) {
        if (atomic_compare_exchange_weak_explicit(&m->word, &word, word + 1,
                                                  memory_order_acquire,
                                                  memory_order_relaxed))
            return true;
    }
    return false;
}

int pt_mount_fd(struct pt_mounts *t, uint32_t mnt_id)
{
    uint64_t word;
    struct pt_mount *m = find(t, mnt_id, &word);

    return m ? m->fd : -1;
}

/* The last reference goes under the lock, so nobody puts another mount here
 * before the descriptor is taken out. */
static bool put_last(struct pt_mounts *t, struct pt_mount *m, uint64_t word)
{
    int fd = -1;

    pthread_mutex_lock(&t->lock);
    if (atomic_compare_exchange_strong_explicit(
            &m->word, &word, WORD(ID(word), 0), memory_order_acq_rel,
            memory_order_relaxed)) {
        fd = m->fd;
        m->fd = -1;
    }
    pthread_mutex_unlock(&t->lock);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

void pt_mount_put(struct pt_mounts *t, uint32_t mnt_id)
{
    struct pt_mount *m;
    uint64_t word;

    while ((m = find(t, mnt_id, &word))) {
        if (REFS(word) == 1) {
            if (put_last(t, m, word))
                return;
        } else if (atomic_compare_exchange_weak_explicit(
                       &m->word, &word, word - 1, memory_order_release,
                       memory_order_relaxed)) {
            return;
        }
    }
    BUG_ON(true); /* the caller has no reference */
}

/* @fd is taken on success.  Return: 0, or -EOPNOTSUPP. */
static int add(struct pt_mounts *t, uint32_t mnt_id, int fd)
{
    int ret = -EOPNOTSUPP;

    pthread_mutex_lock(&t->lock);
    /* Somebody else may have learnt it meanwhile. */
    if (pt_mount_get(t, mnt_id)) {
        pthread_mutex_unlock(&t->lock);
        close(fd);
        return 0;
    }
    for (size_t i = 0; i < PROBES && ret < 0; i++) {
        struct pt_mount *m = place(t, mnt_id, i);

        if (REFS(atomic_load_explicit(&m->word, memory_order_relaxed)))
            continue;
        m->fd = fd;
        atomic_store_explicit(&m->word, WORD(mnt_id, 1), memory_order_release);
        ret = 0;
    }
    pthread_mutex_unlock(&t->lock);
    return ret;
}

/* Without O_PATH: open(2) of these has no effect on anything. */
static int open_plain(int path_fd, mode_t type, int proc_fd)
{
    char number[12];
    int fd;

    if (S_ISDIR(type)) {
        fd = openat(path_fd, ".",
                    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    } else if (S_ISREG(type)) {
        snprintf(number, sizeof(number), "%d", path_fd);
        fd = openat(proc_fd, number, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    } else {
        return -EOPNOTSUPP;
    }
    return fd < 0 ? -errno : fd;
}

/*
 * Does a handle lead back?  Two file systems give handles which they do not
 * honour once the inode has left the cache: FUSE, unless its server helps,
 * and FAT as it is usually mounted.
 */
static int try_handle(int mount_fd, int path_fd, struct pt_fh *fh)
{
    struct stat want, got;
    struct statfs fs;
    auto_fd fd = -1;

    if (fstatfs(mount_fd, &fs) < 0)
        return -errno;
    if (fs.f_type == FUSE_SUPER_MAGIC || fs.f_type == MSDOS_SUPER_MAGIC)
        return -EOPNOTSUPP;
    fd = pt_fh_open(mount_fd, fh, PT_FH_PATH);
    if (fd < 0)
        return fd;
    if (fstatat(path_fd, "", &want, AT_EMPTY_PATH) < 0 ||
        fstatat(fd, "", &got, AT_EMPTY_PATH) < 0)
        return -errno;
    if (want.st_dev != got.st_dev || want.st_ino != got.st_ino)
        return -EOPNOTSUPP;
    return 0;
}

int pt_mount_learn(struct pt_mounts *t, uint32_t mnt_id, int path_fd,
                   mode_t type, int proc_fd, struct pt_fh *fh, bool again)
{
    _Atomic uint32_t *no = &t->refused[mnt_id % ARRAY_SIZE(t->refused)];
    auto_fd fd = -1;
    int ret;

    if (pt_mount_get(t, mnt_id))
        return 0;
    if (!again && atomic_load_explicit(no, memory_order_relaxed) == mnt_id)
        return -EOPNOTSUPP;
    fd = open_plain(path_fd, type, proc_fd);
    ret = fd < 0 ? fd : try_handle(fd, path_fd, fh);
    if (ret == 0)
        ret = add(t, mnt_id, fd);
    if (ret == 0)
        take_fd(&fd);
    else if (ret == -EOPNOTSUPP || ret == -EPERM || ret == -EACCES)
        atomic_store_explicit(no, mnt_id, memory_order_relaxed);
    return ret;
}
