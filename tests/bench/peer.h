/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_TESTS_BENCH_PEER_H
#define VIRTIOFSD_TESTS_BENCH_PEER_H

/*
 * A daemon, whoever wrote it: started by a command line, and what all of its
 * processes have used up so far.  Context: main thread.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define PEER_PIDS_MAX 32

struct peer {
    const char *name, *command;
    pid_t pid;
    char socket[96], log[96];
    pid_t pids[PEER_PIDS_MAX]; /* it and all below, when it was connected */
    unsigned int npids;
};

/* Of all threads together. */
struct peer_usage {
    uint64_t cpu_ns;
    uint64_t switches, preempted; /* left the CPU by itself, or had to */
    bool exact; /* cpu_ns is counted in ns, not in clock ticks */
};

/**
 * peer_start() - run p->command by the shell and wait for its socket.
 * @dir:   for socket and log.
 * @share: the directory to serve.
 * {socket} and {share} in the command are replaced; without {socket}, the
 * options --socket-path and --shared-dir are put behind it.
 * Return: 0 or -errno; what it said is in p->log.
 */
int peer_start(struct peer *p, const char *dir, const char *share);
/* Find its processes.  They must have been started by now: connect first. */
void peer_find_processes(struct peer *p);
/* The connection is closed: wait for the end, insist after a while. */
void peer_end(struct peer *p);
/* Print the end of the log as "# " lines. */
void peer_print_log(const struct peer *p);

void peer_usage(const struct peer *p, struct peer_usage *u);
/* Does one of its processes hold @path's file open with O_DIRECT? */
bool peer_has_direct(const struct peer *p, const char *path);

/**
 * peer_trace() - begin to count system calls.
 * @out: file for strace's table.
 * Return: strace's pid, once all threads are traced; -errno, -ENOENT when
 * there is no strace.
 */
pid_t peer_trace(const struct peer *p, const char *out);
void peer_trace_end(pid_t strace);

#endif
