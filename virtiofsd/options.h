/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_OPTIONS_H
#define VIRTIOFSD_OPTIONS_H

/*
 * The command line: the union of what the two older virtiofsd programs take,
 * long options and -o.  One table (options_table.c) is the source of the
 * parser, of --help and of the test that holds the man page against it.
 */

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "fuse/passthrough/pt.h"
#include "sandbox/sandbox.h"
#include "virtiofsd/base/log.h"

/* Most answers lead to the next request within it, and a sleep that is spared
 * takes about half of it (tests/bench, depth 1). */
#define POLL_US_DEFAULT 20

#define TAG_MAX 36 /* bytes, virtio "File System Device", configuration */

struct options {
    const char *shared_dir;      /* required, unless an early_exit option */
    const char *socket_path;     /* or NULL */
    const char *socket_group;    /* or NULL */
    int listen_fd;               /* --fd, else -1 */
    char tag[TAG_MAX + 1];       /* "" when not given: CONFIG is not offered */
    uint16_t num_request_queues; /* 1..64; default: the host's CPUs */
    unsigned int thread_pool_size;
    unsigned int poll_us;  /* 0: queues' threads do not poll */
    int64_t rlimit_nofile; /* -1: the default; 0: leave it; else the limit */
    enum log_level log_level;
    bool syslog;
    bool daemonize; /* C dialect: --daemonize */
    struct pt_opts pt;
    struct sandbox_opts sandbox;
};

enum options_result {
    OPTIONS_RUN,       /* go on and serve */
    OPTIONS_EXIT_OK,   /* --help, --version, --print-capabilities: done */
    OPTIONS_EXIT_USAGE /* told on @err; exit 2 */
};

/**
 * options_parse() - read a command line.
 * @argc, @argv: as main() has them; @opts keeps pointers into them, and the
 *        lists of -o are cut up in place.
 * @opts: out.
 * @out:  what --help, --version and --print-capabilities print to.
 * @err:  one line that says what is wrong, with which value, what to do.
 * Does nothing but parse: no file is opened, nothing needs a privilege.  Of
 * the environment it reads RUST_LOG, for the level when no option says one.
 * Warnings (an option that does nothing here) are lines on @err, too.
 */
enum options_result options_parse(int argc, char **argv, struct options *opts,
                                  FILE *out, FILE *err);

#endif
