/* SPDX-License-Identifier: BSD-3-Clause */
#include "fuse/session.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "virtiofsd/base/log.h"

static enum log_level our_level(enum fuse_log_level level)
{
    switch (level) {
    case FUSE_LOG_EMERG:
    case FUSE_LOG_ALERT:
    case FUSE_LOG_CRIT:
    case FUSE_LOG_ERR:
        return LOG_LEVEL_ERROR;
    case FUSE_LOG_WARNING:
    case FUSE_LOG_NOTICE:
        return LOG_LEVEL_WARN;
    case FUSE_LOG_INFO:
        return LOG_LEVEL_INFO;
    case FUSE_LOG_DEBUG:
        return LOG_LEVEL_DEBUG;
    }
    return LOG_LEVEL_DEBUG;
}

static void log_line(enum fuse_log_level level, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));

static void log_line(enum fuse_log_level level, const char *fmt, va_list ap)
{
    char line[LOG_LINE_MAX];
    size_t len;

    vsnprintf(line, sizeof(line), fmt, ap);
    len = strlen(line);
    if (len > 0 && line[len - 1] == '\n')
        line[len - 1] = '\0';
    /* A guest can cause most of these. */
    log_limited(our_level(level), "fuse: libfuse: %s", line);
}

void session_log_setup(void)
{
    fuse_set_log_func(log_line);
}

/* Requests are handed over by session_process(), never read. */
static ssize_t io_read(int fd, void *buf, size_t len, void *userdata)
{
    (void)fd;
    (void)buf;
    (void)len;
    (void)userdata;
    return 0;
}

/* A failure would make libfuse print to stderr, and there is none to report:
 * request_send() answers the guest whatever happens. */
static ssize_t io_writev(int fd, struct iovec *iov, int count, void *userdata)
{
    ssize_t len = 0;

    (void)fd;
    (void)userdata;
    for (int i = 0; i < count; i++)
        len += (ssize_t)iov[i].iov_len;
    request_send(request_current(), iov, count);
    return len;
}

static const struct fuse_custom_io custom_io = {
    .writev = io_writev,
    .read = io_read,
};

int session_create(struct pt_fs *fs, struct fuse_session **se)
{
    char name[] = "virtiofsd";
    char *argv[] = { name, NULL };
    struct fuse_args args = FUSE_ARGS_INIT(1, argv);
    struct fuse_session *s;
    int fd, ret;

    s = fuse_session_new(&args, &pt_ops, sizeof(pt_ops), fs);
    fuse_opt_free_args(&args); /* it makes a copy of its own there */
    if (!s)
        return -ENOMEM;
    /* libfuse wants an fd that it may close; it is never used. */
    fd = eventfd(0, EFD_CLOEXEC);
    if (fd < 0) {
        ret = -errno;
        goto fail_session;
    }
    ret = fuse_session_custom_io(s, &custom_io, fd);
    if (ret < 0)
        goto fail_fd;
    *se = s;
    return 0;

fail_fd:
    close(fd);
fail_session:
    fuse_session_destroy(s);
    return ret;
}

void session_destroy(struct fuse_session *se)
{
    if (se)
        fuse_session_destroy(se);
}

void session_process(struct fuse_session *se, struct request *r)
{
    struct fuse_in_header *h = (struct fuse_in_header *)r->arg;
    struct fuse_buf buf = {
        .mem = r->arg,
        /* A WRITE's payload stays in guest memory; its size is all that
         * libfuse looks at. */
        .size = h->opcode == FUSE_WRITE ? r->total : r->arg_len,
    };

    /* A guest may use one number twice; libfuse finds requests by it.  The
     * reply gets the guest's own back (request_send()). */
    h->unique = 1;
    request_set_current(r);
    fuse_session_process_buf(se, &buf);
    request_set_current(NULL);
}
