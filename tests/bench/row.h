/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_TESTS_BENCH_ROW_H
#define VIRTIOFSD_TESTS_BENCH_ROW_H

/*
 * A row of the table: one kind of operation, as requests through a daemon and
 * as system calls on the same files.  Context: main thread.
 */

#include <stdbool.h>
#include <stdint.h>

#include "tests/bench/drive.h"
#include "tests/bench/peer.h"
#include "tests/bench/share.h"

/* Sequential and random, hot and direct: what a row of I/O is. */
struct row_io {
    uint32_t block;
    bool write, random, direct, sync;
};

/**
 * struct scene - a row in progress with one contestant.
 * @q:      request queue for library calls; NULL when native.
 * @why:    what went wrong, or why the row is not to be had.
 * @dir:    node of the row's directory; @node: of its files or directories.
 * @dir_fd, @fds: the same natively.
 */
struct scene {
    const struct row *row;
    struct share *share;
    struct guest_queue *q;
    struct peer *peer;
    struct drive *d;
    char why[160];
    uint32_t max_write;

    uint64_t dir, file, fh;
    uint64_t *node;
    uint32_t n, at;

    int dir_fd, data_fd;
    int *fds;
    uint8_t *buf;
    uint64_t last; /* offset of the last native read or write */

    uint64_t off, random, stamp;
    uint8_t *written; /* a byte a block */
};

/**
 * struct row
 * @setup, @native_setup: Return: 0; -errno with @why; 1 with @why when there
 *          is nothing to measure here.
 * @native: operation number @i.  Return: 0 or -errno.
 * @verify: after a run, outside the measured time.  Return: false with @why.
 * @variants: is also run with more queues, other rings, calls.
 * @disk:   on the disk's share.
 * @idle:   nothing is run at all.
 * @warm_tree: one sweep of the tree comes before what is measured.
 * @bytes:  payload of one operation; 0: operations are counted.
 */
struct row {
    const char *name, *title;
    enum share_part parts[3]; /* up to the first 0 behind the first */
    struct drive_row drive;
    int (*setup)(struct scene *s);
    int (*native_setup)(struct scene *s);
    int (*native)(struct scene *s, uint64_t i);
    bool (*verify)(struct scene *s);
    struct row_io io;
    unsigned int min_depth, max_depth; /* 0: any */
    uint32_t bytes;
    bool variants, disk, slow, idle, warm_tree;
};

extern const struct row *const rows[];
extern const unsigned int rows_count;

extern const struct row row_getattr, row_lookup_hit, row_lookup_new,
    row_lookup_missing, row_open, row_create, row_mkdir, row_list_small,
    row_list_big, row_git_status, row_slow, row_idle;
extern const struct row row_read_4k, row_read_128k, row_read_1m, row_write_4k,
    row_write_128k, row_write_1m, row_write_sync, row_direct_read_4k,
    row_direct_read_128k, row_direct_read_1m, row_direct_write_4k,
    row_direct_write_128k, row_direct_write_1m;

/* Common to rows.  Both return as setup does. */
int row_find_dir(struct scene *s, enum share_part part);
int row_find_files(struct scene *s, enum share_part part);
int row_native_dir(struct scene *s, enum share_part part);
/* Does @a tell of the same file as lstat(2)? */
bool row_same_file(struct scene *s, const struct fuse_attr *a, int dir,
                   const char *name);
void scene_free(struct scene *s);

#endif
