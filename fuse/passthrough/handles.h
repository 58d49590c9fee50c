/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_FUSE_PASSTHROUGH_HANDLES_H
#define VIRTIOFSD_FUSE_PASSTHROUGH_HANDLES_H

/*
 * Files and directories which the guest has open.  The guest's fh is the
 * table's id.  A handle lives until the guest has released it and the last
 * operation that has it pinned is through.
 */

#include <pthread.h>
#include <stdint.h>
#include <sys/types.h>

#include "fuse/passthrough/table.h"
#include "virtiofsd/base/util.h"

enum pt_handle_kind {
    PT_HANDLE_FILE,
    PT_HANDLE_DIR,
};

/*
 * Where a directory is being read.  What getdents64() gave and the last reply
 * had no room for stays here, so that no entry is read, or lost, twice.
 */
#define PT_DIR_BUF 32768
struct pt_dir {
    pthread_mutex_t lock; /* guards all below and the descriptor's position */
    off_t off;            /* the guest's cookie for the entry at pos */
    size_t pos, len;      /* bytes of buf used up, and filled */
    _Alignas(8) char buf[PT_DIR_BUF];
};

/*
 * How a file is read by a thread that should not block.  Where the host's file
 * system can not say what is in memory (tmpfs, FUSE), the time that reads take
 * tells: written by whoever reads, a wrong guess costs time only.
 */
enum pt_pace {
    PT_PACE_ASK,          /* RWF_NOWAIT says */
    PT_PACE_FAST,         /* it can not; reads have been fast */
    PT_PACE_DOUBT,        /* it can not; one may have been slow */
    PT_PACE_SLOW,         /* it can not; reads have been slow */
    PT_PACE_DIRECT,       /* O_DIRECT, for good */
    PT_PACE_DIRECT_WAITS, /* and it can not be begun without waiting */
};

struct pt_handle {
    _Alignas(CACHE_LINE) struct pt_slot slot;
    _Atomic bool open; /* not yet released; the table's reference is its */
    enum pt_handle_kind kind;
    int fd;
    int flags; /* as it was opened on the host */
    uint64_t node_id;
    _Atomic uint8_t pace; /* enum pt_pace */
    struct pt_dir *dir;   /* PT_HANDLE_DIR only; owned */
};

/**
 * pt_handle_add() - give an open descriptor to the guest.
 * @fd: taken, on failure too.
 * @fh: out.
 * Return: 0 or -ENOMEM.
 */
int pt_handle_add(struct pt_table *t, enum pt_handle_kind kind, int fd,
                  int flags, uint64_t node_id, uint64_t *fh);

/* Pin an open handle; NULL: no such, or of another kind. */
struct pt_handle *pt_handle_get(struct pt_table *t, uint64_t fh,
                                enum pt_handle_kind kind);
void pt_handle_put(struct pt_table *t, struct pt_handle *h);

/* The guest closes it.  Return: 0 or -EBADF. */
int pt_handle_release(struct pt_table *t, uint64_t fh,
                      enum pt_handle_kind kind);

/* Release every handle. */
void pt_handles_reset(struct pt_table *t);

#endif
