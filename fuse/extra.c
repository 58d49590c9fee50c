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

/* struct fuse_attr ends with its flags (padding before minor 32). */
static void put_attr_flags(void *attr, uint32_t flags)
{
    memcpy((uint8_t *)attr + sizeof(struct fuse_attr) - sizeof(flags), &flags,
           sizeof(flags));
}

static void patch_init(struct request *r, const struct iovec *part)
{
    struct fuse_init_out *out = part->iov_base;

    if (part->iov_len < sizeof(*out) || out->major != FUSE_KERNEL_VERSION)
        return;
    out->flags |= (uint32_t)r->agree;
    out->flags2 |= (uint32_t)(r->agree >> 32);
    if (out->flags2)
        out->flags |= FUSE_INIT_EXT;
    r->agreed = proto_init_flags(out->flags, out->flags2);
}

/*
 * Writes that bypass the guest's cache need no order among themselves but the
 * one which the host's file system gives them.  libfuse 3.14 has no word for
 * it; guests before Linux 6.2 ignore it.
 */
static void patch_open(void *open_out)
{
    struct fuse_open_out o;

    memcpy(&o, open_out, sizeof(o));
    if (o.open_flags & FOPEN_DIRECT_IO)
        o.open_flags |= FOPEN_PARALLEL_DIRECT_WRITES;
    memcpy(open_out, &o, sizeof(o));
}

static void patch_opened(const struct request *r, const struct iovec *part)
{
    size_t at = 0;

    if (r->hdr.opcode == FUSE_CREATE)
        at = sizeof(struct fuse_entry_out);
    else if (r->hdr.opcode != FUSE_OPEN)
        return;
    if (part->iov_len >= at + sizeof(struct fuse_open_out))
        patch_open((uint8_t *)part->iov_base + at);
}

void extra_patch_reply(struct request *r, const struct iovec *iov, int count)
{
    const struct fuse_out_header *out = iov[0].iov_base;

    if (out->error != 0 || count < 2)
        return;
    if (r->hdr.opcode == FUSE_INIT) {
        patch_init(r, &iov[1]);
        return;
    }
    patch_opened(r, &iov[1]);
    if (likely(r->attr_flags == 0))
        return;
    switch (r->hdr.opcode) {
    case FUSE_LOOKUP:
    case FUSE_MKDIR:
    case FUSE_MKNOD:
    case FUSE_SYMLINK:
    case FUSE_LINK:
    case FUSE_CREATE:
    case PROTO_TMPFILE:
        if (iov[1].iov_len >= sizeof(struct fuse_entry_out))
            put_attr_flags((uint8_t *)iov[1].iov_base +
                               offsetof(struct fuse_entry_out, attr),
                           r->attr_flags);
        break;
    case FUSE_GETATTR:
    case FUSE_SETATTR:
        if (iov[1].iov_len >= sizeof(struct fuse_attr_out))
            put_attr_flags((uint8_t *)iov[1].iov_base +
                               offsetof(struct fuse_attr_out, attr),
                           r->attr_flags);
        break;
    default:
        break;
    }
}

void request_patch_direntplus(struct request *r, void *entry, uint32_t flags)
{
    (void)r;
    put_attr_flags((uint8_t *)entry +
                       offsetof(struct fuse_direntplus, entry_out) +
                       offsetof(struct fuse_entry_out, attr),
                   flags);
}
