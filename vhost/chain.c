/* SPDX-License-Identifier: BSD-3-Clause */
#include "vhost/chain.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define DESC_F_NEXT     1
#define DESC_F_WRITE    2
#define DESC_F_INDIRECT 4

/* A buffer laid over two regions makes two spans; some room for those. */
#define CHAIN_MAX_SPANS (CHAIN_MAX_DESCS + 512)

static void *map_pages(size_t len)
{
    void *p = mmap(NULL, len, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return p == MAP_FAILED ? NULL : p;
}

int chain_init(struct chain *c)
{
    memset(c, 0, sizeof(*c));
    c->iov = map_pages(CHAIN_MAX_SPANS * sizeof(*c->iov));
    c->gpa = map_pages(CHAIN_MAX_SPANS * sizeof(*c->gpa));
    if (!c->iov || !c->gpa) {
        chain_fini(c);
        return -ENOMEM;
    }
    return 0;
}

void chain_fini(struct chain *c)
{
    if (c->iov)
        munmap(c->iov, CHAIN_MAX_SPANS * sizeof(*c->iov));
    if (c->gpa)
        munmap(c->gpa, CHAIN_MAX_SPANS * sizeof(*c->gpa));
    c->iov = NULL;
    c->gpa = NULL;
}

/* A copy in host order: the guest can change the original under our eyes. */
static struct vring_desc_raw desc_copy(const uint8_t *d)
{
    struct vring_desc_raw raw;

    /* memcpy: an indirect table may begin at any byte. */
    memcpy(&raw, d, sizeof(raw));
    /* The compiler may not go back to guest memory for a field. */
    __asm__ __volatile__("" : "+m"(raw));
    return (struct vring_desc_raw){
        .addr = le64toh(raw.addr),
        .len = le32toh(raw.len),
        .flags = le16toh(raw.flags),
        .next = le16toh(raw.next),
    };
}

/* Append one piece; merge it with the span before when the two touch. */
static int add_span(struct chain *c, void *va, uint64_t len, uint64_t gpa,
                    bool write)
{
    uint32_t n = c->n_readable + c->n_writable;
    uint32_t mine = write ? c->n_writable : c->n_readable;

    if (mine > 0) {
        struct iovec *last = &c->iov[n - 1];

        /* The same host addresses may be two guest addresses, so what is
         * logged by guest address must touch there too. */
        if ((uint8_t *)last->iov_base + last->iov_len == va &&
            (!c->log || !write || c->gpa[n - 1] + last->iov_len == gpa)) {
            last->iov_len += len;
            return 0;
        }
    }
    if (n >= CHAIN_MAX_SPANS)
        return -E2BIG;
    c->iov[n] = (struct iovec){ va, len };
    if (c->log)
        c->gpa[n] = gpa;
    if (write)
        c->n_writable++;
    else
        c->n_readable++;
    return 0;
}

static int add_buffer(struct chain *c, const struct memmap *mm,
                      const struct vring_desc_raw *d)
{
    uint64_t gpa = d->addr, left = d->len;
    bool write = d->flags & DESC_F_WRITE;

    if (write)
        c->writable_bytes += left;
    else
        c->readable_bytes += left;
    while (left > 0) {
        uint64_t got;
        void *va;
        int ret = memmap_piece(mm, (gpa_t){ gpa }, left, &va, &got);

        if (ret == 0)
            ret = add_span(c, va, got, gpa, write);
        if (ret < 0)
            return ret;
        gpa += got;
        left -= got;
    }
    return 0;
}

/*
 * Where the walk goes on in the table which an indirect descriptor names.
 * The chain it replaces may be no longer than what one chain may hold.
 */
static int enter_indirect(const struct vring *v, const struct vring_desc_raw *d,
                          const uint8_t **table, uint32_t *n)
{
    void *va;

    if (!v->indirect || (d->flags & DESC_F_NEXT))
        return -EINVAL;
    if (d->len == 0 || d->len % sizeof(struct vring_desc_raw) != 0)
        return -EINVAL;
    if (d->len / sizeof(struct vring_desc_raw) > CHAIN_MAX_DESCS)
        return -E2BIG;
    if (memmap_span(v->mm, (gpa_t){ d->addr }, d->len, &va) < 0)
        return -EFAULT;
    *table = va;
    *n = (uint32_t)(d->len / sizeof(struct vring_desc_raw));
    return 0;
}

int chain_walk(struct chain *c, const struct vring *v, uint16_t head)
{
    const uint8_t *table = (const uint8_t *)v->desc;
    uint32_t n = v->size, idx = head, left = v->size;
    bool in_indirect = false, seen_writable = false;

    c->n_readable = c->n_writable = 0;
    c->readable_bytes = c->writable_bytes = 0;
    c->n_descs = 0;
    c->log = v->log;
    for (;;) {
        struct vring_desc_raw d;
        int ret;

        if (idx >= n)
            return -EINVAL;
        if (left-- == 0)
            return -ELOOP;
        c->n_descs += !in_indirect;
        d = desc_copy(table + (size_t)idx * sizeof(d));
        if (d.flags & DESC_F_INDIRECT) {
            if (in_indirect)
                return -EINVAL;
            ret = enter_indirect(v, &d, &table, &n);
            if (ret < 0)
                return ret;
            in_indirect = true;
            idx = 0;
            left = n;
            continue;
        }
        if (d.flags & DESC_F_WRITE)
            seen_writable = true;
        else if (seen_writable)
            return -EINVAL;
        ret = add_buffer(c, v->mm, &d);
        if (ret < 0)
            return ret;
        if (!(d.flags & DESC_F_NEXT))
            return 0;
        idx = d.next;
    }
}

int chain_iov(const struct iovec *iov, uint32_t n, uint64_t off, uint64_t len,
              struct iovec *out, int max)
{
    int filled = 0;

    for (uint32_t i = 0; i < n && len > 0 && filled < max; i++) {
        uint64_t part;

        if (off >= iov[i].iov_len) {
            off -= iov[i].iov_len;
            continue;
        }
        part = MIN(len, (uint64_t)iov[i].iov_len - off);
        out[filled++] =
            (struct iovec){ (uint8_t *)iov[i].iov_base + off, part };
        len -= part;
        off = 0;
    }
    return filled;
}

/* Move bytes between @buf and [@off, @off + @len) of the spans. */
static size_t copy_spans(const struct iovec *iov, uint32_t n, uint64_t off,
                         uint8_t *buf, size_t len, bool to_spans)
{
    size_t done = 0;

    for (uint32_t i = 0; i < n && done < len; i++) {
        uint8_t *p = iov[i].iov_base;
        size_t part;

        if (off >= iov[i].iov_len) {
            off -= iov[i].iov_len;
            continue;
        }
        part = MIN(len - done, iov[i].iov_len - (size_t)off);
        if (to_spans)
            memcpy(p + off, buf + done, part);
        else
            memcpy(buf + done, p + off, part);
        done += part;
        off = 0;
    }
    return done;
}

size_t chain_read(const struct chain *c, uint64_t off, void *to, size_t len)
{
    return copy_spans(c->iov, c->n_readable, off, to, len, false);
}

size_t chain_write(const struct chain *c, uint64_t off, const void *from,
                   size_t len)
{
    return copy_spans(chain_writable(c), c->n_writable, off, (uint8_t *)from,
                      len, true);
}

void chain_log(const struct chain *c, uint64_t len)
{
    if (likely(!c->log))
        return;
    for (uint32_t i = c->n_readable; i < c->n_readable + c->n_writable; i++) {
        uint64_t part = MIN(len, (uint64_t)c->iov[i].iov_len);

        dirtylog_mark(c->log, (gpa_t){ c->gpa[i] }, part);
        len -= part;
        if (len == 0)
            return;
    }
}
