/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_TESTS_PROTOCOL_VM_H
#define VIRTIOFSD_TESTS_PROTOCOL_VM_H

/*
 * Daemon, front-end and guest put together, for tests about what comes after
 * the handshake.
 */

#include <errno.h>

#include "tests/lib/daemon.h"
#include "tests/lib/frontend.h"
#include "tests/lib/fusecall.h"
#include "tests/lib/guest.h"
#include "tests/lib/tap.h"
#include "virtiofsd/base/util.h"

#define VM_QUEUES_MAX 65
#define VM_HIPRIO     0
#define VM_REQ        1 /* the first request queue */

#define VM_RING_FEATURES                                                       \
    (BIT64(FE_F_VERSION_1) | BIT64(FE_F_INDIRECT) | BIT64(FE_F_EVENT_IDX) |    \
     BIT64(FE_F_PROTOCOL_FEATURES))
#define VM_PROTO ((uint64_t)~BIT64(FE_PF_CONFIG))

/**
 * struct vm_opts - how to start; all zero is the plain case.
 * @queues:   rings, hiprio included; 0: 2.
 * @size:     descriptors a ring; 0: 128.
 * @features: 0: VM_RING_FEATURES.
 * @proto:    0: VM_PROTO.
 * @mem_high: bytes of guest memory above 4 GiB; 0: 64 MiB.
 * @huge:     guest memory is made of huge pages, if there are any.
 * @no_start: stop after the memory: rings are not started.
 */
struct vm_opts {
    struct daemon_opts d;
    unsigned int queues;
    uint16_t size;
    uint64_t features, proto;
    uint64_t mem_high;
    bool huge, no_start;
};

struct vm {
    struct daemon *d;
    struct frontend fe;
    struct guest_mem mem;
    unsigned int n;
    struct guest_queue q[VM_QUEUES_MAX];
    uint64_t features;
};

/* Return: true when all of it stands; else a CHECK has failed, and vm_end()
 * still has to be called. */
bool vm_start(struct vm *vm, const struct vm_opts *opts);
/* The same and a FUSE session on queue VM_REQ. */
bool vm_start_fuse(struct vm *vm, const struct vm_opts *opts);
/* Start and enable all rings at @base 0. */
bool vm_rings_start(struct vm *vm);
/* Stop all rings as a machine's reset does, and empty them. */
bool vm_rings_stop(struct vm *vm);
/* Close the connection and see the daemon end well. */
void vm_end(struct vm *vm);
/* Start a FUSE session, run @body on its request queue, end it all. */
void vm_run(const struct vm_opts *opts,
            void (*body)(struct vm *vm, struct guest_queue *q));
/* A test whose body has a session from the start: @opts as for vm_start(). */
#define VM_TEST(name, opts)                                                    \
    static void name##_body(struct vm *vm, struct guest_queue *q);             \
    static void name(void)                                                     \
    {                                                                          \
        vm_run(opts, name##_body);                                             \
    }                                                                          \
    static void name##_body(struct vm *vm, struct guest_queue *q)

/* Is FUSE still served on ring @i?  Asks for the root's attributes. */
bool vm_alive(struct vm *vm, unsigned int i);

/* Did the back-end say no, by its acknowledgement or by hanging up? */
static inline bool vm_refused(int ret)
{
    return ret == -EREMOTEIO || ret == -ECONNRESET;
}

/* Files of the share, from the host's side.  A failure fails the test. */
void host_write(const struct vm *vm, const char *name, const void *data,
                size_t len);
/* Return: bytes read, at most @max. */
size_t host_read(const struct vm *vm, const char *name, void *data, size_t max);
/* Does @a say what lstat(2) says of the share's @name? */
bool same_as_host(const struct vm *vm, const struct fuse_attr *a,
                  const char *name);
/* The program has to end by itself with an error, having said @word. */
void fails_with(const struct daemon_opts *o, const char *word);
/* Is the test run by root?  If not, the test is skipped. */
bool needs_root(void);
/* Bytes nobody mixes up: each depends on its position and @seed. */
void fill_pattern(void *p, size_t len, uint32_t seed);

#endif
