/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_TESTS_UNIT_MOCK_REQUEST_H
#define VIRTIOFSD_TESTS_UNIT_MOCK_REQUEST_H

/*
 * fuse/request.h without rings: requests are built by the test, go through a
 * real libfuse session or beside it, and the reply lands in memory.  The
 * passthrough operations see the interface which they see in the device.
 */

#include <linux/fuse.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "fuse/passthrough/pt.h"
#include "fuse/request.h"

#define MOCK_REPLY_MAX ((size_t)1 << 20)

/* One request at a time; reusable; a thread has its own. */
struct request {
    /* Set by the test; kept from call to call. */
    uint32_t uid, gid;
    size_t room;         /* bytes of payload a reply may have */
    const void *payload; /* of the next WRITE */
    size_t payload_len;
    struct request_ext ext; /* what INIT agreed to and the guest adds */
    bool may_defer, crowded;
    unsigned int takes_us; /* every read */
    ssize_t cache_says;    /* of request_read_cached(): -errno; 0: it reads */
    int begin_says;        /* of request_begin_read() */

    /* Set by the call. */
    unsigned int answers; /* how often it was answered */
    int error;
    size_t reply_len; /* bytes of payload */
    unsigned int asked_cache, asked_begin;
    bool deferred, begun;
    uint8_t *reply;

    struct fuse_in_header hdr;
    const uint8_t *arg;
    size_t arg_len;
    /* A request that was detached, and its answer when @later_done. */
    uint64_t unique;
    bool detached, may_not_detach;
    _Atomic bool later_done;
    int later_err;

    size_t in_place;
    uint8_t *scratch;
};

struct mock {
    struct pt_opts opts;
    char dir[64]; /* the share, removed by mock_stop() */
    bool mounted; /* a tmpfs is on it */
    int root_fd, proc_fd;
    struct pt_fs *fs;
    struct fuse_session *se;
    struct request *r;
};

struct request *mock_request_new(void);
void mock_request_free(struct request *r);

/*
 * Options as the command line has them by default, with xattr, but without
 * file handles: those are used when MOCK_NODE_FDS is in the environment, to
 * run all of a test with no more than that many nodes open.
 */
struct pt_opts mock_opts(void);

/* Make a temporary directory and serve it, up to and with INIT. */
bool mock_start(struct mock *m, const struct pt_opts *opts);
void mock_stop(struct mock *m);

/* A further session on the same share, for a thread of its own. */
struct fuse_session *mock_session(struct pt_fs *fs);

/**
 * mock_send() - one request through a session.
 * @arg:  what follows the header.
 * Return: the reply's error, 0 or -errno; 1 when there was no answer (yet:
 * see mock_wait_later()).
 */
int mock_send(struct fuse_session *se, struct request *r, uint32_t opcode,
              uint64_t nodeid, const void *arg, size_t arg_len);

/* Wait for the answer of a request that was detached.  Return: its error. */
int mock_wait_later(struct request *r);

/* INIT.  Return: the error; @out the reply. */
int mock_init(struct fuse_session *se, struct request *r,
              struct fuse_init_out *out);

/* The requests the tests use most.  Return: the error. */
int mock_lookup(struct mock *m, uint64_t parent, const char *name,
                uint64_t *id);
void mock_forget(struct mock *m, uint64_t id, uint64_t n);
int mock_create(struct mock *m, uint64_t parent, const char *name, int flags,
                mode_t mode, uint64_t *id, uint64_t *fh);
int mock_open(struct mock *m, uint32_t opcode, uint64_t id, int flags,
              struct fuse_open_out *out);
int mock_release(struct mock *m, uint32_t opcode, uint64_t id, uint64_t fh);
int mock_read(struct mock *m, uint32_t opcode, uint64_t id, uint64_t fh,
              uint64_t off, uint32_t size);
int mock_write(struct mock *m, uint64_t id, uint64_t fh, uint64_t off,
               const void *data, uint32_t size);
int mock_getattr(struct mock *m, uint64_t id, struct fuse_attr *attr);
int mock_setattr(struct mock *m, uint64_t id, const struct fuse_setattr_in *in,
                 struct fuse_attr *attr);
/* Opcodes whose arguments are a struct and names. */
int mock_named(struct mock *m, uint32_t opcode, uint64_t id, const void *arg,
               size_t arg_len, const char *name, const char *name2);

struct pt_fs_counts mock_count(const struct mock *m);

/* What the host sees, from outside: a file with @text, lstat(2) of a file. */
void mock_host_file(const struct mock *m, const char *name, const char *text);
struct stat mock_host_stat(const struct mock *m, const char *name);

/* A path inside the share; the same buffer on each call. */
const char *mock_path(const struct mock *m, const char *name);

#endif
