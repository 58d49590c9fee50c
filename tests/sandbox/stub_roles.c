/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * In the place of the two devices: probes.  With these the program is the
 * real virtiofsd up to the point where a front-end or a guest would be
 * served; then each role makes the system calls it is told to and reports
 * what came of them.
 *
 * The "front-end" sends a line: "vhost PROBE" or "fuse PROBE"; the answer is
 * one line.  The fuse role is reached through the command channel.
 */

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuse/device.h"
#include "tests/sandbox/probe.h"
#include "vhost/conn.h"

struct vu_conn {
    int cmd_fd;
};

static struct vu_conn the_conn;

int vu_conn_create(const struct vu_opts *opts, int cmd_fd, int evt_fd,
                   struct vu_conn **conn)
{
    (void)opts;
    (void)evt_fd;
    the_conn.cmd_fd = cmd_fd;
    *conn = &the_conn;
    return 0;
}

void vu_conn_destroy(struct vu_conn *conn)
{
    (void)conn;
}

/* Return: bytes of the answer in @out, or -EPIPE. */
static int answer(int cmd_fd, char *line, char *out, size_t len)
{
    struct probe_ctx ctx = { -1, -1 };
    ssize_t n;

    if (strncmp(line, "vhost ", 6) == 0) {
        probe_run(line + 6, &ctx, out, len);
        return (int)strlen(out);
    }
    if (strncmp(line, "fuse ", 5) != 0)
        return snprintf(out, len, "no such role\n");
    if (send(cmd_fd, line + 5, strlen(line + 5) + 1, MSG_NOSIGNAL) < 0)
        return -EPIPE;
    n = recv(cmd_fd, out, len, 0);
    return n <= 0 ? -EPIPE : (int)n;
}

int vu_conn_run(struct vu_conn *conn, int fd, int supervisor_fd)
{
    char line[PROBE_LINE_MAX], out[PROBE_LINE_MAX];
    struct pollfd p[] = { { fd, POLLIN, 0 }, { supervisor_fd, POLLIN, 0 } };

    for (;;) {
        ssize_t n;
        int len;

        if (poll(p, 2, -1) < 0)
            continue;
        if (p[1].revents)
            return 0;
        n = recv(fd, line, sizeof(line) - 1, 0);
        if (n <= 0)
            return 0;
        line[n] = '\0';
        line[strcspn(line, "\n")] = '\0';
        if (strcmp(line, "misbehave") == 0)
            return -EPROTO;
        len = answer(conn->cmd_fd, line, out, sizeof(out));
        if (len < 0)
            return len;
        if (send(fd, out, (size_t)len, MSG_NOSIGNAL) < 0)
            return 0;
    }
}

int fuse_device_run(const struct fuse_device_opts *opts, int cmd_fd, int evt_fd,
                    int root_fd, int proc_fd)
{
    struct probe_ctx ctx = { root_fd, proc_fd };
    char line[PROBE_LINE_MAX], out[PROBE_LINE_MAX];

    (void)opts;
    (void)evt_fd;
    for (;;) {
        ssize_t n = recv(cmd_fd, line, sizeof(line) - 1, 0);

        if (n <= 0)
            return 0;
        line[n] = '\0';
        probe_run(line, &ctx, out, sizeof(out));
        if (send(cmd_fd, out, strlen(out), MSG_NOSIGNAL) < 0)
            return 0;
    }
}
