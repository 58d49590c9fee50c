/* SPDX-License-Identifier: BSD-3-Clause */
#include "vhost/dirtylog.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vhost/guard.h"

int dirtylog_create(int fd, uint64_t offset, uint64_t size, uint32_t gen,
                    struct dirtylog **log)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t lead = offset & (page - 1), end;
    struct dirtylog *l;
    struct stat st;

    if (size == 0 || size > INT64_MAX / 8 ||
        __builtin_add_overflow(offset, size, &end) || end > INT64_MAX)
        return -EINVAL;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size < end)
        return -EINVAL;
    l = calloc(1, sizeof(*l));
    if (!l)
        return -ENOMEM;
    l->len = size + lead;
    l->base = mmap(NULL, l->len, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                   (off_t)(offset - lead));
    if (l->base == MAP_FAILED) {
        int err = errno;

        free(l);
        return -err;
    }
    guard_add(l->base, l->len);
    atomic_init(&l->refs, 1);
    l->gen = gen;
    l->bits = size * 8;
    l->map = (_Atomic uint8_t *)l->base + lead;
    *log = l;
    return 0;
}

struct dirtylog *dirtylog_get(struct dirtylog *log)
{
    atomic_fetch_add_explicit(&log->refs, 1, memory_order_relaxed);
    return log;
}

void dirtylog_put(struct dirtylog *log)
{
    if (!log)
        return;
    if (atomic_fetch_sub_explicit(&log->refs, 1, memory_order_acq_rel) != 1)
        return;
    guard_remove(log->base);
    munmap(log->base, log->len);
    free(log);
}

void dirtylog_mark(struct dirtylog *log, gpa_t gpa, uint64_t len)
{
    uint64_t first = gpa.v / DIRTYLOG_PAGE, last;

    if (len == 0 || __builtin_add_overflow(gpa.v, len - 1, &last))
        return;
    last /= DIRTYLOG_PAGE;
    /* Atomic: the front-end fetches and clears, other rings set bits of the
     * same byte.  Release: the data is there before the bit. */
    for (uint64_t i = first; i <= last && i < log->bits; i++)
        atomic_fetch_or_explicit(&log->map[i / 8], (uint8_t)(1u << (i % 8)),
                                 memory_order_release);
}
