/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_VHOST_RING_IPC_H
#define VIRTIOFSD_VHOST_RING_IPC_H

/*
 * The two private channels between the control and the request process
 * (vhost/RING_IPC.md is their specification).  Each is a SEQPACKET pair with
 * ONE initiator: control sends commands on `cmd`, the request process sends
 * events on `evt`.  Whoever waits for a reply can therefore never be handed
 * the other side's command.  Messages have one fixed size; fds travel beside
 * them by SCM_RIGHTS.
 */

#include <stdbool.h>
#include <stdint.h>

#include "vhost/vring_shared.h"

#define IPC_MAX_REGIONS 8  /* VHOST_MEMORY_BASELINE_NREGIONS */
#define IPC_MAX_FDS     80 /* IPC_HELLO: cfg page and VRING_MAX wake fds */
#define IPC_ALL_RINGS   UINT32_MAX

enum ipc_type {
    /* cmd channel: control asks, request process answers */
    IPC_HELLO = 1,   /* u.hello; fds: cfg page, nrings wake eventfds.
                        Reply fds: run page. */
    IPC_MEM_SET,     /* u.mem; fds: one a region.  Stage a whole new table. */
    IPC_MEM_ADD,     /* u.mem, one region; fd.  Stage old table + region. */
    IPC_MEM_REMOVE,  /* u.mem, one region.  Stage old table - region. */
    IPC_RING_KICK,   /* u.fd; fds: 0 or 1 */
    IPC_RING_CALL,   /* u.fd; fds: 0 or 1 */
    IPC_RING_ERR,    /* u.fd; fds: 0 or 1 */
    IPC_LOG,         /* u.log; fds: 0 (off) or 1 */
    IPC_SYNC,        /* u.sync; reply u.sync when quiet.  See below. */
    IPC_RESET,       /* no payload: drop the FUSE life; all rings are stopped */
    IPC_BACKEND_REQ, /* fds: 0 or 1; kept for later use (DAX, SHMEM map) */
    IPC_CMD_END,

    /* evt channel: request process tells, control answers */
    IPC_EVT_RING_BROKEN = 64, /* u.broken */
    IPC_EVT_FAILED,           /* the device can not go on */
    IPC_EVT_END,
};

struct ipc_region {
    uint64_t gpa, size;
    uint64_t mmap_offset; /* where the region begins in its fd, bytes */
};

/*
 * IPC_SYNC: answered when, for ring @ring (or each ring, IPC_ALL_RINGS), its
 * thread has applied slot seq @seq or a later one (@seq is not looked at for
 * IPC_ALL_RINGS: the seq found in the page when the command arrives counts)
 * and nothing popped under an earlier snapshot that this one voids (a ring
 * that is stopped or disabled, an older memory table) is still in flight.
 * After the answer no write to guest memory follows for a stopped or disabled
 * ring, and memory that the table no longer holds is unmapped.
 * Reply: @last_avail, final for a stopped ring.
 */
struct ipc_sync {
    uint32_t ring;
    uint32_t last_avail;
    uint64_t seq;
};

struct ipc_msg {
    uint32_t magic; /* filled in by ipc_*() */
    uint16_t type;  /* enum ipc_type */
    uint16_t is_reply;
    uint32_t id;    /* echoed by the reply */
    int32_t status; /* reply: 0 or -errno */
    union {
        struct {
            uint32_t version;
            uint32_t nrings;
        } hello;
        struct {
            uint32_t gen;
            uint32_t n;
            struct ipc_region r[IPC_MAX_REGIONS];
        } mem;
        struct {
            uint32_t ring;
            uint32_t gen;
        } fd;
        struct {
            uint64_t size; /* bytes of the bitmap */
            uint64_t offset;
            uint32_t gen;
            uint32_t pad;
        } log;
        struct ipc_sync sync;
        struct {
            uint32_t ring;
            int32_t reason; /* -errno of the check that failed */
        } broken;
    } u;
};

#define IPC_VERSION 1

struct ipc_fds {
    int n;
    int fd[IPC_MAX_FDS];
};

/* Close all that is left and empty the set. */
void ipc_fds_close(struct ipc_fds *f);

/**
 * struct ipc_chan - one end of a channel.
 * @fd:         SEQPACKET socket; owned by the channel's owner, not closed here.
 * @name:       "cmd" or "evt", for log lines.
 * @timeout_ms: how long a call may wait for its reply.
 * @next_id:    initiator only.
 * @side:       initiator only, may be NULL: called while a call waits for its
 *              reply and @side_fd is readable.  Control serves the event
 *              channel with it: a ring's thread that reports a broken ring
 *              must get its answer before that ring can be quiet.  A negative
 *              return ends the channel.
 */
struct ipc_chan {
    int fd;
    const char *name;
    int timeout_ms;
    uint32_t next_id;
    int side_fd;
    int (*side)(void *arg);
    void *side_arg;
};

/**
 * ipc_call() - send a command and wait for its reply (initiator).
 * @msg:   in: type and payload; out: the reply (also on a negative status).
 * @fds:   sent along, may be NULL; still the caller's afterwards.
 * @reply_fds: out, caller closes; NULL: fds in the reply are an error and
 *         closed.
 * A reply with another id, type or size, too many fds, or none in time ends
 * the channel: what it means can not be known any more.
 * Context: one thread at a time per channel.
 * Return: the reply's status (0 or -errno of the other side's work);
 * -EPIPE when the other side is gone, -ETIMEDOUT, -EBADMSG: the channel is
 * dead, *dead is set.
 */
int ipc_call(struct ipc_chan *c, struct ipc_msg *msg, const struct ipc_fds *fds,
             struct ipc_fds *reply_fds, bool *dead);

/**
 * ipc_recv() - take the next command (the answering side).
 * @msg: out, checked: magic, size, a type of this channel, not a reply, the
 *       fd count the type permits.
 * @fds: out, the caller's.
 * Return: 0; -EAGAIN when the socket is non-blocking and empty; -EPIPE at end
 * of file; -EBADMSG for anything malformed (fds closed).
 */
int ipc_recv(struct ipc_chan *c, struct ipc_msg *msg, struct ipc_fds *fds);

/**
 * ipc_reply() - answer a command.
 * @msg: the command as received, its payload overwritten by the answer.
 * @status: 0 or -errno.
 * Return: 0 or -errno (-EPIPE: the initiator is gone).
 */
int ipc_reply(struct ipc_chan *c, struct ipc_msg *msg, int status,
              const struct ipc_fds *fds);

/* Name of a message type for log lines; never NULL. */
const char *ipc_type_name(uint16_t type);

#endif
