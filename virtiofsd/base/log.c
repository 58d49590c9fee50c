/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtiofsd/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

enum log_sink { SINK_STDERR, SINK_SYSLOG, SINK_PIPE };

static enum log_sink sink = SINK_STDERR;
static enum log_level max_level = LOG_LEVEL_INFO;
static const char *role = "virtiofsd";
static int pipe_fd = -1;
static _Atomic unsigned int pipe_dropped;

static const int syslog_prio[] = {
    [LOG_LEVEL_OFF] = LOG_CRIT,     [LOG_LEVEL_ERROR] = LOG_ERR,
    [LOG_LEVEL_WARN] = LOG_WARNING, [LOG_LEVEL_INFO] = LOG_INFO,
    [LOG_LEVEL_DEBUG] = LOG_DEBUG,
};
static const char *const level_name[] = {
    [LOG_LEVEL_OFF] = "bug",     [LOG_LEVEL_ERROR] = "error",
    [LOG_LEVEL_WARN] = "warn",   [LOG_LEVEL_INFO] = "info",
    [LOG_LEVEL_DEBUG] = "debug",
};

void log_set_role(const char *name)
{
    role = name;
}

void log_set_level(enum log_level level)
{
    max_level = level;
}

enum log_level log_get_level(void)
{
    return max_level;
}

void log_to_stderr(void)
{
    sink = SINK_STDERR;
}

void log_to_syslog(void)
{
    openlog("virtiofsd", LOG_PID | LOG_NDELAY, LOG_DAEMON);
    sink = SINK_SYSLOG;
}

void log_to_pipe(int fd)
{
    pipe_fd = fd;
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    sink = SINK_PIPE;
}

/* @line ends in a newline, @len counts it; nothing here may block a ring. */
static void emit(enum log_level level, const char *line, size_t len)
{
    char framed[LOG_LINE_MAX + 1];
    unsigned int lost;
    int n;

    switch (sink) {
    case SINK_SYSLOG:
        syslog(syslog_prio[level], "%.*s", (int)len - 1, line);
        return;
    case SINK_STDERR:
        n = (int)write(STDERR_FILENO, line, len);
        (void)n;
        return;
    case SINK_PIPE:
        break;
    }
    lost = atomic_exchange_explicit(&pipe_dropped, 0, memory_order_relaxed);
    if (lost) {
        n = snprintf(framed, sizeof(framed),
                     "%c%s: warn: log: %u lines lost, the pipe was full\n",
                     '0' + LOG_LEVEL_WARN, role, lost);
        if (write(pipe_fd, framed, (size_t)n) < 0)
            atomic_fetch_add_explicit(&pipe_dropped, lost,
                                      memory_order_relaxed);
    }
    framed[0] = (char)('0' + level);
    memcpy(framed + 1, line, len);
    if (write(pipe_fd, framed, len + 1) < 0)
        atomic_fetch_add_explicit(&pipe_dropped, 1, memory_order_relaxed);
}

/*
 * A peer's bytes may stand in a line (a file name, a tag): whatever could
 * move a terminal's cursor or fake a line of its own is replaced.
 */
static void defuse(char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            *s = '?';
}

static void log_vwrite(enum log_level level, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));

static void log_vwrite(enum log_level level, const char *fmt, va_list ap)
{
    char line[LOG_LINE_MAX];
    int saved = errno;
    int n, m;

    n = snprintf(line, sizeof(line), "%s: %s: ", role, level_name[level]);
    m = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, ap);
    if (m < 0)
        m = 0;
    n += m;
    if (n > (int)sizeof(line) - 2)
        n = (int)sizeof(line) - 2;
    line[n] = '\0';
    defuse(line);
    line[n++] = '\n';
    emit(level, line, (size_t)n);
    errno = saved;
}

void log_write(enum log_level level, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    log_vwrite(level, fmt, ap);
    va_end(ap);
}

bool log_limit_pass(struct log_limit *l)
{
    struct timespec ts;
    int64_t was;
    unsigned int dropped;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    was = atomic_exchange_explicit(&l->window_s, (int64_t)ts.tv_sec,
                                   memory_order_relaxed);
    if (was != ts.tv_sec) {
        atomic_store_explicit(&l->used, 0, memory_order_relaxed);
        dropped =
            atomic_exchange_explicit(&l->dropped, 0, memory_order_relaxed);
        if (dropped)
            log_write(LOG_LEVEL_WARN, "log: %u lines like the next left out",
                      dropped);
    }
    if (atomic_fetch_add_explicit(&l->used, 1, memory_order_relaxed) <
        LOG_LIMIT_BURST)
        return true;
    atomic_fetch_add_explicit(&l->dropped, 1, memory_order_relaxed);
    return false;
}

/* Print one line which a role wrote; a level it made up counts as error. */
static void relay_line(const char *line, size_t len)
{
    enum log_level level = LOG_LEVEL_ERROR;

    if (len < 2)
        return;
    if (line[0] >= '0' && line[0] <= '0' + LOG_LEVEL_DEBUG)
        level = (enum log_level)(line[0] - '0');
    emit(level, line + 1, len - 1);
}

/*
 * Writes of at most PIPE_BUF bytes are atomic, so a line is never mixed with
 * another; only the end of what one read() returned may cut a line, which is
 * why what is left over is kept for the next call.
 */
#define RELAY_READS_MAX 64

int log_relay(int fd)
{
    static char buf[8192];
    static size_t have;
    static int owner = -1;
    ssize_t n = -1;

    if (owner != fd) {
        owner = fd;
        have = 0;
    }
    /* Bounded: a role that never stops writing may not keep the supervisor
     * from its other duties. */
    for (int reads = 0; reads < RELAY_READS_MAX; reads++) {
        size_t start = 0;

        n = read(fd, buf + have, sizeof(buf) - have);
        if (n <= 0)
            break;
        have += (size_t)n;
        for (size_t i = 0; i < have; i++) {
            if (buf[i] != '\n')
                continue;
            relay_line(buf + start, i + 1 - start);
            start = i + 1;
        }
        if (start == 0 && have == sizeof(buf))
            have = 0; /* no line is that long: not ours, drop it */
        memmove(buf, buf + start, have - start);
        have -= start;
    }
    return n == 0 ? 0 : 1;
}

void log_bug(const char *file, int line, const char *what)
{
    log_write(LOG_LEVEL_OFF, "bug: %s:%d: %s", file, line, what);
    _exit(70);
}
