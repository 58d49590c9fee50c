/* SPDX-License-Identifier: BSD-3-Clause */
#include "fuse/extra.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "virtiofsd/base/log.h"

/*
 * Flags which libfuse may see and agree to, as pt_op_init() says.  All others
 * are agreed by pt_agree() and put into the answer here: libfuse 3.14 does not
 * know them, and a newer one shall not take them for its own duty.
 */
#define INIT_SHOWN                                                             \
    (FUSE_ASYNC_READ | FUSE_ATOMIC_O_TRUNC | FUSE_BIG_WRITES |                 \
     FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS | FUSE_AUTO_INVAL_DATA |              \
     FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO | FUSE_ASYNC_DIO |            \
     FUSE_WRITEBACK_CACHE | FUSE_PARALLEL_DIROPS | FUSE_MAX_PAGES |            \
     FUSE_CACHE_SYMLINKS | FUSE_EXPLICIT_INVAL_DATA)

static struct fuse_init_in *init_of(const struct request *r)
{
    return (struct fuse_init_in *)(r->arg + sizeof(struct fuse_in_header));
}

int extra_check_init(const struct request *r)
{
    const struct fuse_init_in *in = init_of(r);

    /* A newer major is answered by libfuse with ours; the guest tries again. */
    if (in->major > FUSE_KERNEL_VERSION)
        return 0;
    if (in->major < FUSE_KERNEL_VERSION || in->minor < EXTRA_MIN_MINOR) {
        log_limited(LOG_LEVEL_ERROR,
                    "fuse: INIT: the guest speaks FUSE %u.%u, older than %d.%d",
                    in->major, in->minor, FUSE_KERNEL_VERSION, EXTRA_MIN_MINOR);
        return -EPROTO;
    }
    return 0;
}

void extra_mask_init(struct request *r)
{
    struct fuse_init_in *in = init_of(r);

    in->flags &= INIT_SHOWN;
    memset((uint8_t *)in + offsetof(struct fuse_init_in, flags) +
               sizeof(in->flags),
           0,
           sizeof(*in) - offsetof(struct fuse_init_in, flags) -
               sizeof(in->flags));
    /* Extensions behind the arguments were not agreed upon, and a libfuse
     * that knows them would look for them. */
    r->arg_len = sizeof(struct fuse_in_header) + sizeof(*in);
}

uint64_t extra_offered(const struct request *r)
{
    const struct fuse_init_in *in = init_of(r);

    return proto_init_flags(in->flags, in->flags2);
}

/*
 * libfuse 3.14 agrees to 256 pages a request, for which it has buffers.
 * Payload does not pass through those here.  A guest brings the number down to
 * its own limit and to its ring's size; only those are told that can have
 * another limit than 256, since others may believe in more than they can do.
 */
static void raise_sizes(const struct request *r, struct fuse_init_out *out)
{
    if (!(out->flags & FUSE_MAX_PAGES) ||
        init_of(r)->minor < EXTRA_MAX_PAGES_MINOR)
        return;
    out->max_pages = EXTRA_MAX_PAGES;
    out->max_write = EXTRA_MAX_PAGES * 4096;
}

void extra_patch_init(struct request *r, const struct iovec *iov, int count)
{
    const struct fuse_out_header *header = iov[0].iov_base;
    struct fuse_init_out *out;

    if (header->error != 0 || count < 2 || iov[1].iov_len < sizeof(*out))
        return;
    out = iov[1].iov_base;
    if (out->major != FUSE_KERNEL_VERSION)
        return;
    out->flags |= (uint32_t)r->agree;
    out->flags2 |= (uint32_t)(r->agree >> 32);
    if (out->flags2)
        out->flags |= FUSE_INIT_EXT;
    raise_sizes(r, out);
    r->agreed = proto_init_flags(out->flags, out->flags2);
}
