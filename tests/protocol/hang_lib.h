/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_TESTS_PROTOCOL_HANG_LIB_H
#define VIRTIOFSD_TESTS_PROTOCOL_HANG_LIB_H

/*
 * A share with a file system in it, "hang", that answers when it is told to.
 * Context: the test's main thread.
 */

#include "tests/protocol/hangfs.h"
#include "tests/protocol/vm.h"

/* Behind what the requests of vm_alive() use. */
#define HANG_SLOT ((size_t)64 << 10)

struct scene {
    char dir[32], sub[64];
    struct hangfs *fs;
    struct vm vm;
    pid_t fuse; /* the request process */
};

/* Return: false when it can not be had; hang_end() in any case. */
bool hang_begin(struct scene *s, const struct vm_opts *opts);
void hang_end(struct scene *s);
size_t hang_threads(pid_t pid);

/* A LOOKUP of @name in the directory that hangs. */
void hang_make_lookup(struct guest_queue *q, struct fm *m, const char *name);
/* Put @n requests of one size on the ring, each when the one before hangs. */
void hang_put_each(struct scene *s, struct guest_queue *q, struct fm *m,
                   unsigned int n);
/* Put @m on the ring, at HANG_SLOT; return when it hangs in the file system. */
void hang_put(struct scene *s, struct guest_queue *q, struct fm *m);
/* A READ of the file that hangs; @in is the caller's. */
void hang_make_read(struct guest_queue *q, struct fm *m,
                    struct fuse_read_in *in);
void hang_take_read(struct guest_queue *q, struct fm *m);

#endif
