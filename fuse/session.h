/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_FUSE_SESSION_H
#define VIRTIOFSD_FUSE_SESSION_H

/*
 * libfuse glue: a session which is fed from guest memory and answers there.
 *
 * libfuse takes a mutex of its session's for every request, so each ring has a
 * session of its own; it refuses a second INIT, so a session lives for one.
 */

#include "fuse/passthrough/pt.h"
#include "fuse/request_i.h"

/* Route libfuse's own log lines into ours.  Once, at start. */
void session_log_setup(void);

/**
 * session_create() - a session that has not seen its INIT yet.
 * @fs: what its operations work on; outlives it.
 * Return: 0 or -errno.
 */
int session_create(struct pt_fs *fs, struct fuse_session **se);
void session_destroy(struct fuse_session *se);

/**
 * session_process() - run one request through libfuse.
 * @r: loaded and checked by validate_request().
 * The operation has answered, needs no answer or has detached the request
 * (request_detach()) when this returns.
 * Context: the thread that owns @r.
 */
void session_process(struct fuse_session *se, struct request *r);

#endif
