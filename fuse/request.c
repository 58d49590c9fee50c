/* SPDX-License-Identifier: BSD-3-Clause */
#include "fuse/request_i.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fuse/extra.h"
#include "virtiofsd/base/log.h"
#include "virtiofsd/base/util.h"

/*
 * libfuse's writev callback is not told which request it answers; the
 * operation runs, and answers, in one thread, so the thread knows.
 */
static _Thread_local struct request *current;

struct request *request_current(void)
{
    return current;
}

void request_set_current(struct request *r)
{
    current = r;
}

static void *map_pages(size_t len)
{
    void *p = mmap(NULL, len, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
/* What lies behind a request is another's: under AddressSanitizer whoever reads
 * there is found out. */
static void fence_args(struct request *r, size_t len)
{
    if (r->arg) {
        ASAN_UNPOISON_MEMORY_REGION(r->arg, len);
        ASAN_POISON_MEMORY_REGION(r->arg + len, REQUEST_ARG_MAX - len);
    }
}
#else
static inline void fence_args(struct request *r, size_t len)
{
    (void)r;
    (void)len;
}
#endif

int request_init(struct request *r)
{
    memset(r, 0, sizeof(*r));
    if (chain_init(&r->chain) < 0)
        return -ENOMEM;
    /* Pages never touched cost nothing. */
    r->arg = map_pages(REQUEST_ARG_MAX);
    r->scratch = map_pages(REQUEST_SCRATCH_MAX);
    r->iov = calloc(REQUEST_IOV_MAX, sizeof(*r->iov));
    if (!r->arg || !r->scratch || !r->iov) {
        request_fini(r);
        return -ENOMEM;
    }
    return 0;
}

void request_fini(struct request *r)
{
    chain_fini(&r->chain);
    fence_args(r, REQUEST_ARG_MAX); /* the next mapping's memory is whole */
    if (r->arg)
        munmap(r->arg, REQUEST_ARG_MAX);
    if (r->scratch)
        munmap(r->scratch, REQUEST_SCRATCH_MAX);
    free(r->iov);
    memset(r, 0, sizeof(*r));
}

static void begin(struct request *r)
{
    r->in_place = 0;
    r->used_len = 0;
    r->error = 0;
    r->replied = false;
    r->discard = false;
    r->later = NULL;
    r->deferred = false;
    r->begun = false;
}

void request_again(struct request *r, const struct fuse_in_header *hdr)
{
    begin(r);
    r->hdr = *hdr;
}

int request_load(struct request *r)
{
    struct fuse_in_header *copy = (struct fuse_in_header *)r->arg;
    size_t want;

    begin(r);
    if (chain_read(&r->chain, 0, &r->hdr, sizeof(r->hdr)) != sizeof(r->hdr))
        return -EBADMSG;
    r->total = r->hdr.len;
    if (r->total < sizeof(r->hdr) || r->total > r->chain.readable_bytes)
        return -EINVAL;
    want = r->total;
    if (r->hdr.opcode == FUSE_WRITE)
        want = MIN(want, sizeof(r->hdr) + sizeof(struct fuse_write_in));
    if (want > REQUEST_ARG_MAX - sizeof(struct fuse_init_in))
        return -E2BIG;
    fence_args(r, want);
    *copy = r->hdr;
    /* total_extlen, which came with minor 38: no extension was agreed upon,
     * and a libfuse that knows the field would believe it. */
    memset(&copy->pid + 1, 0, sizeof(uint32_t));
    chain_read(&r->chain, sizeof(r->hdr), r->arg + sizeof(r->hdr),
               want - sizeof(r->hdr));
    /* A shorter INIT than ours is an older guest's: what it lacks is zero.
     * Nothing else is read behind its end. */
    if (unlikely(r->hdr.opcode == FUSE_INIT)) {
        fence_args(r, REQUEST_ARG_MAX);
        memset(r->arg + want, 0, sizeof(struct fuse_init_in));
    }
    r->arg_len = want;
    return 0;
}

static inline void replied(struct request *r, const struct fuse_out_header *out)
{
    r->used_len = out->len;
    r->error = out->error;
    r->replied = true;
    chain_log(&r->chain, out->len);
}

static void write_reply(struct request *r, struct fuse_out_header *out,
                        const struct iovec *rest, int n_rest)
{
    uint64_t off = sizeof(*out);

    chain_write(&r->chain, 0, out, sizeof(*out));
    for (int i = 0; i < n_rest; i++)
        off += chain_write(&r->chain, off, rest[i].iov_base, rest[i].iov_len);
    replied(r, out);
}

void request_send(struct request *r, const struct iovec *iov, int count)
{
    struct fuse_out_header out;
    uint64_t len;

    if (r->replied)
        return;
    memcpy(&out, iov[0].iov_base, sizeof(out));
    if (r->discard) {
        r->error = out.error;
        r->replied = true;
        return;
    }
    if (out.error != 0)
        r->in_place = 0;
    len = iov_bytes(iov, count) + r->in_place;
    if (len > r->chain.writable_bytes || len > UINT32_MAX) {
        request_send_error(r, EIO);
        return;
    }
    out.len = (uint32_t)len;
    out.unique = r->hdr.unique;
    if (unlikely(r->hdr.opcode == FUSE_INIT))
        extra_patch_init(r, iov, count);
    write_reply(r, &out, iov + 1, count - 1);
}

void request_send_error(struct request *r, int err)
{
    struct fuse_out_header out = {
        .len = sizeof(out),
        .error = -err,
        .unique = r->hdr.unique,
    };

    if (r->replied)
        return;
    if (r->discard || r->chain.writable_bytes < sizeof(out)) {
        r->error = -err;
        r->replied = true;
        if (!r->discard)
            log_limited(LOG_LEVEL_WARN,
                        "fuse: opcode %u: no room for a reply (%llu bytes)",
                        r->hdr.opcode,
                        (unsigned long long)r->chain.writable_bytes);
        return;
    }
    write_reply(r, &out, NULL, 0);
}

size_t request_reply_room(const struct request *r)
{
    uint64_t room = r->chain.writable_bytes;

    if (room < sizeof(struct fuse_out_header))
        return 0;
    room -= sizeof(struct fuse_out_header);
    /* The header counts the reply in 32 bits. */
    return (size_t)MIN(room, (uint64_t)(UINT32_MAX / 2));
}

/* A file's side of a transfer. */
struct transfer {
    int fd, flags; /* RWF_* */
    off_t off;
    bool to_file;
};

/*
 * Return: bytes moved, or -errno.
 *
 * By syscall(2) where that takes a file offset in one argument: the C
 * library's functions are cancellation points, which costs two locked
 * instructions a call, and nobody is cancelled here.
 */
static ssize_t transfer(const struct transfer *t, const struct iovec *iov,
                        int count, size_t done)
{
    off_t off = t->off + (off_t)done;
    ssize_t got;

#if __SIZEOF_LONG__ == 8
    if (t->flags)
        got = syscall(t->to_file ? SYS_pwritev2 : SYS_preadv2, t->fd, iov,
                      (long)count, off, 0L, t->flags);
    else if (count == 1)
        got = syscall(t->to_file ? SYS_pwrite64 : SYS_pread64, t->fd,
                      iov->iov_base, iov->iov_len, off);
    else
        got = syscall(t->to_file ? SYS_pwritev : SYS_preadv, t->fd, iov,
                      (long)count, off, 0L);
#else
    if (!t->to_file && t->flags)
        got = preadv2(t->fd, iov, count, off, t->flags);
    else if (!t->to_file)
        got = preadv(t->fd, iov, count, off);
    else if (t->flags)
        got = pwritev2(t->fd, iov, count, off, t->flags);
    else
        got = pwritev(t->fd, iov, count, off);
#endif
    return got < 0 ? -errno : got;
}

/*
 * Move @size bytes between file and spans, REQUEST_IOV_MAX spans a call; one
 * call, as a rule, since neighbouring pages are one span.
 * @skip, @total: bytes of the spans which are not payload, and of all.
 *
 * With RWF_NOWAIT a read is short where the cache ends; only the next call
 * tells that from the end of the file.
 */
static ssize_t move_file(struct request *r, const struct iovec *spans,
                         uint32_t n, uint64_t skip, uint64_t total, size_t size,
                         const struct transfer *t)
{
    bool nowait = t->flags & RWF_NOWAIT;
    size_t done = 0;

    if (likely(size > 0 && total - skip == size)) {
        uint32_t n_rest = n;
        const struct iovec *rest = chain_rest(spans, &n_rest, skip);

        /* The payload is what the driver laid out for it, and nothing else:
         * the spans are the iovec. */
        if (likely(rest && n_rest <= REQUEST_IOV_MAX)) {
            ssize_t got = transfer(t, rest, (int)n_rest, 0);

            if (likely(got == (ssize_t)size) || got <= 0 || !nowait)
                return got;
            done = (size_t)got;
        }
    }
    while (done < size) {
        int cnt = chain_iov(spans, n, skip + done, size - done, r->iov,
                            REQUEST_IOV_MAX);
        size_t part = iov_bytes(r->iov, cnt);
        ssize_t got;

        if (cnt == 0)
            break;
        got = transfer(t, r->iov, cnt, done);
        if (got < 0)
            return done > 0 && !nowait ? (ssize_t)done : got;
        done += (size_t)got;
        if ((size_t)got < part && (got == 0 || !nowait))
            break;
    }
    return (ssize_t)done;
}

static ssize_t read_file(struct request *r, int fd, size_t size, off_t off,
                         int flags)
{
    struct transfer t = { .fd = fd, .off = off, .flags = flags };
    ssize_t got;

    size = MIN(size, request_reply_room(r));
    if (off < 0)
        return -EINVAL;
    got = move_file(r, chain_writable(&r->chain), r->chain.n_writable,
                    sizeof(struct fuse_out_header), r->chain.writable_bytes,
                    size, &t);
    r->in_place = got > 0 ? (size_t)got : 0;
    return got;
}

ssize_t request_read_file(struct request *r, int fd, size_t size, off_t off)
{
    return read_file(r, fd, size, off, 0);
}

ssize_t request_read_cached(struct request *r, int fd, size_t size, off_t off)
{
    return read_file(r, fd, size, off, RWF_NOWAIT);
}

ssize_t request_write_file(struct request *r, int fd, size_t size, off_t off,
                           int flags)
{
    uint64_t skip = sizeof(r->hdr) + sizeof(struct fuse_write_in);
    struct transfer t = {
        .fd = fd, .flags = flags, .off = off, .to_file = true
    };

    if (off < 0)
        return -EINVAL;
    size = MIN(size, (size_t)(r->total - skip)); /* checked by validate.c */
    return move_file(r, r->chain.iov, r->chain.n_readable, skip,
                     r->chain.readable_bytes, size, &t);
}

void *request_scratch(struct request *r, size_t size)
{
    return size <= REQUEST_SCRATCH_MAX ? r->scratch : NULL;
}

const struct request_ext *request_ext(const struct request *r)
{
    return &r->ext;
}

const struct fuse_in_header *request_header(const struct request *r)
{
    return &r->hdr;
}

const void *request_args(const struct request *r, size_t *len)
{
    if (len)
        *len = r->arg_len - sizeof(struct fuse_in_header);
    return r->arg + sizeof(struct fuse_in_header);
}

static __attribute__((noinline)) void reply_over_spans(struct request *r,
                                                       size_t total,
                                                       const void *payload,
                                                       size_t len)
{
    struct fuse_out_header out = {
        .len = (uint32_t)total,
        .unique = r->hdr.unique,
    };
    struct iovec rest = { (void *)(uintptr_t)payload, len };

    write_reply(r, &out, &rest, len > 0);
}

void request_reply(struct request *r, const void *payload, size_t len)
{
    const struct iovec *to = chain_writable(&r->chain);
    uint64_t total = sizeof(struct fuse_out_header) + len + r->in_place;

    if (unlikely(r->replied))
        return;
    if (unlikely(total > r->chain.writable_bytes || total > UINT32_MAX)) {
        request_send_error(r, EIO);
        return;
    }
    /* As Linux lays it out: a span for the header, another behind it. */
    if (likely(r->chain.n_writable > 1 &&
               to[0].iov_len == sizeof(struct fuse_out_header) &&
               to[1].iov_len >= len)) {
        const struct fuse_out_header out = {
            .len = (uint32_t)total,
            .unique = r->hdr.unique,
        };

        memcpy(to[0].iov_base, &out, sizeof(out));
        if (len > 0)
            memcpy(to[1].iov_base, payload, len);
        replied(r, &out);
    } else {
        reply_over_spans(r, total, payload, len);
    }
}

void request_reply_err(struct request *r, int err)
{
    request_send_error(r, err);
}
