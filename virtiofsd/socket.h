/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_SOCKET_H
#define VIRTIOFSD_SOCKET_H

/*
 * The listening socket and the pid file beside it.  Made by us
 * (--socket-path), or the socket alone by the launcher (--fd).
 */

#include <stdbool.h>
#include <sys/types.h>

/* Owner: supervisor. */
struct listener {
    int fd;         /* listening, non-blocking; -1 once the client is there */
    int dir_fd;     /* O_PATH, where our files are; -1 with --fd */
    int pid_fd;     /* locked pid file, or -1 */
    char name[108]; /* of the socket, in dir_fd */
    char pid_name[108 + 4]; /* of the pid file, in dir_fd */
    bool have_socket;       /* there is a socket file of ours to remove */
    dev_t dev;              /* which one it is: a launcher may have */
    ino_t ino;              /*   moved another one there */
};
#define LISTENER_INIT                                                          \
    {                                                                          \
        .fd = -1, .dir_fd = -1, .pid_fd = -1                                   \
    }

/**
 * listener_make() - lock the pid file PATH.pid and listen on PATH.
 * @path:  may be relative; an old socket there is removed, anything else is
 *         an error.
 * @group: whose members may connect, or NULL.
 * Mode of the socket: 0700, with a group 0770.
 * Context: supervisor; single-threaded (it changes the umask for a moment).
 * Return: 0; -EBUSY when a living daemon holds the path (told with its pid);
 * another -errno.  All told in the log; on failure @l is empty and the other
 * daemon unharmed.
 */
int listener_make(struct listener *l, const char *path, const char *group);

/**
 * listener_adopt() - take a listening socket from the launcher.
 * @fd: ours from here on, also on failure.
 * Return: 0; -EINVAL when it is not a listening Unix stream socket; told in
 * the log.
 */
int listener_adopt(struct listener *l, int fd);

/**
 * listener_accept() - take the one client, and refuse all others from now on.
 * @client: out, the caller's.
 * Return: 0; -EAGAIN: nobody there after all; another -errno, told.
 */
int listener_accept(struct listener *l, int *client);

/* Close all and remove what is ours.  Needs no path: the working directory
 * may be another one by now. */
void listener_close(struct listener *l);

#endif
