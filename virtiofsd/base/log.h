/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_BASE_LOG_H
#define VIRTIOFSD_BASE_LOG_H

/*
 * One line an event: "role: object: what (values): error".
 *
 * Every process logs through here.  The supervisor writes to stderr or to
 * syslog; a sandboxed role has neither a file nor a socket of its own and
 * writes each line, in one write(2), to a pipe which the supervisor reads
 * (log_to_pipe()).  A full pipe drops lines rather than hold up a ring; the
 * number dropped is told with the next line that fits.
 *
 * Context: any process, any thread.  Lines longer than LOG_LINE_MAX are cut.
 * log_*() keeps errno.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOG_LINE_MAX 512

enum log_level {
    LOG_LEVEL_OFF,
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARN,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG,
};

/* Set once at start, before the process has a second thread. */
void log_set_role(const char *role);
void log_set_level(enum log_level level);
enum log_level log_get_level(void);

/* Lines go to stderr (the default). */
void log_to_stderr(void);
/* Lines go to syslog(3), facility daemon, with the process's pid. */
void log_to_syslog(void);
/**
 * log_to_pipe() - lines go to a pipe, one write each, first byte the level.
 * @fd: write end; borrowed, made non-blocking.
 */
void log_to_pipe(int fd);
/**
 * log_relay() - print what a role wrote to its log pipe.
 * @fd: read end, non-blocking.
 * Context: supervisor.
 * Return: 1 when lines may follow later, 0 at end of file.
 */
int log_relay(int fd);

void log_write(enum log_level level, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#define log_at(level, ...)                                                     \
    do {                                                                       \
        if ((level) <= log_get_level())                                        \
            log_write((level), __VA_ARGS__);                                   \
    } while (0)
#define log_err(...)   log_at(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_at(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_at(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_LEVEL_DEBUG, __VA_ARGS__)

/*
 * A peer that can cause a line may not fill the disk with it: at most
 * LOG_LIMIT_BURST lines a second per place, the rest counted.
 */
#define LOG_LIMIT_BURST 10
struct log_limit {
    _Atomic int64_t window_s;
    _Atomic unsigned int used;
    _Atomic unsigned int dropped;
};
/* Return: true when the line may be written now; tells what was dropped. */
bool log_limit_pass(struct log_limit *l);

#define log_limited(level, ...)                                                \
    do {                                                                       \
        static struct log_limit limit_;                                        \
        if ((level) <= log_get_level() && log_limit_pass(&limit_))             \
            log_write((level), __VA_ARGS__);                                   \
    } while (0)

/*
 * A fault of our own, never of a peer's making: say so and die.  The
 * supervisor reports it.
 */
#define BUG_ON(cond)                                                           \
    do {                                                                       \
        if (__builtin_expect(!!(cond), 0))                                     \
            log_bug(__FILE__, __LINE__, #cond);                                \
    } while (0)
_Noreturn void log_bug(const char *file, int line, const char *what);

#endif
