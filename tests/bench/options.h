/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_TESTS_BENCH_OPTIONS_H
#define VIRTIOFSD_TESTS_BENCH_OPTIONS_H

/* The benchmark's command line.  Context: main thread, once. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/bench/share.h"

#define OPT_LIST_MAX    8
#define OPT_DAEMONS_MAX 8

struct opt_list {
    unsigned int n;
    const char *v[OPT_LIST_MAX]; /* into the command line */
};

struct opt_daemon {
    const char *name, *command;
};

#define OPT_NOTES_MAX 8

struct options {
    struct opt_list rows, rings, wait;
    unsigned int depth[OPT_LIST_MAX], queues[OPT_LIST_MAX];
    unsigned int ndepth, nqueues;
    struct opt_daemon daemon[OPT_DAEMONS_MAX];
    unsigned int ndaemons;
    struct opt_daemon note[OPT_NOTES_MAX]; /* the same form: NAME=TEXT */
    unsigned int nnotes;
    uint16_t ring_size;
    double seconds, idle_seconds;
    unsigned int rounds;
    uint64_t ops; /* limit of a run; 0: none */
    bool native, syscalls, quiet;
    const char *dir, *disk_dir, *out;
    struct share_size size;
};

/* Return: 0 to go on, else the program's exit status plus one. */
int options_parse(struct options *o, int argc, char **argv);
/* Is the row among those asked for? */
bool options_want_row(const struct options *o, const char *name);

#endif
