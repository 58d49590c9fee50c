/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_TESTS_SANDBOX_DAEMON_H
#define VIRTIOFSD_TESTS_SANDBOX_DAEMON_H

/*
 * A virtiofsd to be looked at from outside, in a temporary directory of its
 * own: DIR/share with a file "hello", DIR/s.sock, DIR/s.sock.pid.  Every wait
 * has a limit far beyond what it takes; no test depends on how long it took.
 */

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct daemon {
    pid_t pid;     /* of the supervisor; 0 once it has been waited for */
    int err_fd;    /* its stderr */
    int client_fd; /* connected front-end socket, or -1 */
    char dir[64];
    char sock[96];
    char share[96];
    char err[16384]; /* what it wrote to stderr so far */
    size_t err_len;
};

/* How to start one; all fields may be left zero. */
struct daemon_how {
    uid_t uid;               /* as this user and group; 0: as we are */
    const char *const *args; /* NULL-terminated, after socket and share */
    const char *sock;        /* --socket-path; NULL: DIR/s.sock; "": none */
    const char *shared_dir;  /* NULL: DIR/share; "": none */
    int pass_fd;             /* handed on as fd 3, e.g. for --fd=3; 0: none */
    bool no_env;             /* with an empty environment */
    bool with_group;         /* with a supplementary group */
    bool chdir;              /* with DIR/share as working directory */
};

/* Make the directories only.  Return: false, told, when that failed. */
bool daemon_prepare(struct daemon *d, uid_t uid);
/* Start it in prepared directories; does not wait. */
bool daemon_exec(struct daemon *d, const struct daemon_how *how);
/* Both, and wait until it says that it waits for a front-end. */
bool daemon_start(struct daemon *d, const struct daemon_how *how);

/* Wait for @text on its stderr.  Return: false at its end or too late. */
bool daemon_expect(struct daemon *d, const char *text);
/* Read what is there until it closes stderr. */
void daemon_drain(struct daemon *d);

/* Return: a connected socket or -errno. */
int daemon_connect(const char *path);
/* Connect as its front-end.  Return: 0 or -errno. */
int daemon_visit(struct daemon *d);
/* Send a line, get a line; "" when the connection ended instead. */
const char *daemon_ask(struct daemon *d, const char *line);
/* The number in an answer "ok N"; -1000 - N for "errno N"; -1 else. */
long daemon_number(struct daemon *d, const char *line);

/* Pid of a role ("vhost", "fuse"), 0 when there is none. */
pid_t daemon_role(const struct daemon *d, const char *role);
/* Wait until a process that is not our child is gone. */
bool daemon_gone(pid_t pid);
/* Wait for the supervisor.  Return: exit code, 128 + signal, or -1 when it
 * does not end (it is killed then). */
int daemon_wait(struct daemon *d);
/* The text of /proc/PID/FILE; "" when there is none. */
const char *daemon_proc(pid_t pid, const char *file);

/* End it, whatever it does, and remove its directory. */
void daemon_cleanup(struct daemon *d);

#endif
