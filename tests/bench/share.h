/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_TESTS_BENCH_SHARE_H
#define VIRTIOFSD_TESTS_BENCH_SHARE_H

/*
 * The directory that is served: what lies in it is the same for every daemon
 * and for the native calls.  Parts are made when a row first wants them.
 *
 *     hot/     files whose attributes and names are asked for again and again
 *     fresh/   files that are forgotten after each look-up
 *     small/   the small directory to list
 *     big/     the big one
 *     tree/    d000/f000000 ...: what git status sweeps
 *     data/    r, a file of a known pattern; w, to be written
 *     tmp/     empty; made in and removed from
 *     slow/    where the slow file system is mounted
 *
 * Files are called f000000, f000001 ...  Context: main thread.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHARE_NAME_LEN 7 /* f000000 */

struct share_size {
    uint32_t hot, fresh, small, big;
    uint32_t tree_dirs, tree_files; /* the files are per directory */
    size_t file_bytes;
};

struct share {
    char root[64];
    struct share_size size;
    bool made[8];
};

enum share_part {
    SHARE_HOT,
    SHARE_FRESH,
    SHARE_SMALL,
    SHARE_BIG,
    SHARE_TREE,
    SHARE_DATA,
    SHARE_TMP,
    SHARE_SLOW,
};

/* Return: 0 or -errno. */
int share_create(struct share *s, const char *dir,
                 const struct share_size *size);
void share_destroy(struct share *s);
/* Return: 0 or -errno. */
int share_need(struct share *s, enum share_part part);
/* Name of a part's directory, and how many files it holds. */
const char *share_dir(enum share_part part);
uint32_t share_count(const struct share *s, enum share_part part);
/* @buf: SHARE_NAME_LEN + 1 bytes. */
void share_name(char *buf, uint32_t i);
/* Return: an O_PATH descriptor of the part, the caller's; -errno. */
int share_open_dir(const struct share *s, enum share_part part);
/* A file of data/.  Return: descriptor, the caller's; -errno. */
int share_open_data(const struct share *s, const char *name, int flags);
/* What the file data/r holds: any 8 bytes tell where they come from. */
uint64_t share_word(uint64_t offset);
bool share_words_right(const void *p, size_t len, uint64_t offset);

#endif
