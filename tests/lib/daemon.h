/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_TESTS_LIB_DAEMON_H
#define VIRTIOFSD_TESTS_LIB_DAEMON_H

/*
 * The real program under test: started on a directory of its own, watched,
 * and looked over when it ends.
 *
 * Everything a test leaves behind (processes, sockets, the temporary
 * directory) goes away with daemon_end(), and at exit() or a fatal signal for
 * a test that did not get that far.  A failing test prints what the program
 * logged.
 *
 * Context: the test's main thread, except where said.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* No wait in these tests is longer; it is only ever reached by a failure. */
#define DEADLINE_MS 30000

/* How a daemon must have ended.  No end at all is never right. */
enum daemon_want {
    END_ZERO,    /* exit code 0 */
    END_NONZERO, /* any other exit code */
    END_EXIT,    /* either */
    END_KILLED,  /* by the test's own SIGKILL */
};

struct daemon;

/**
 * struct daemon_opts - how to start; all zero is the plain case.
 * @args:    more arguments, NULL-terminated, or NULL.
 * @share:   directory to serve instead of one made for it; not removed.
 * @use_fd:  hand over a listening socket by --fd instead of a path.
 * @stale_socket: a socket without a listener is at its path already.
 * @set_ids: run as @uid and @gid with no other groups (the test is root); the
 *           temporary directory is given to them.
 * @no_wait: do not wait for the line which says that it listens.
 */
struct daemon_opts {
    const char *const *args;
    const char *share;
    bool use_fd;
    bool stale_socket;
    bool set_ids;
    uid_t uid;
    gid_t gid;
    bool no_wait;
};

/**
 * daemon_start() - start the program named by VIRTIOFSD_BINARY.
 * @opts: NULL for the plain case.
 * One more argument may be given in VIRTIOFSD_EXTRA_ARG, to run a whole test
 * program with it.
 * Return: the daemon, listening; NULL after a failed CHECK.
 */
struct daemon *daemon_start(const struct daemon_opts *opts);

const char *daemon_socket(const struct daemon *d);
/* The served directory, and the path of something in it (one static buffer
 * per call in turn, four in all). */
const char *daemon_share(const struct daemon *d);
const char *daemon_path(const struct daemon *d, const char *name);
pid_t daemon_pid(const struct daemon *d);

/* Return: all processes below the first one, at most @max. */
size_t daemon_roles(const struct daemon *d, pid_t *pids, size_t max);

/* Wait until the log holds @text.  Any thread.
 * Return: false when it did not within the deadline. */
bool daemon_wait_log(struct daemon *d, const char *text);
/* Does the log so far hold @text?  Any thread. */
bool daemon_log_has(struct daemon *d, const char *text);

/* Wait for the end only: what it leaves in its directory can be looked at
 * before daemon_end().  Return: it has ended within the deadline. */
bool daemon_wait_gone(struct daemon *d);

/**
 * daemon_end() - wait for the end, judge it and clean up.
 * Checks the exit code, that no process is left behind and that no sanitizer
 * complained.  The caller has caused the end: closed the connection, sent a
 * signal.  One that hangs is killed.  NULL is let pass: the start has failed
 * and said so.
 * Return: all was well.
 */
bool daemon_end(struct daemon *d, enum daemon_want want);

/* Kill what is left without any check: the way out of a failed test. */
void daemon_kill(struct daemon *d);

#endif
