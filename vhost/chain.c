/* SPDX-License-Identifier: BSD-3-Clause */
#include "vhost/chain.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#define DESC_F_NEXT     1
#define DESC_F_WRITE    2
#define DESC_F_INDIRECT 4

/* Where so many follow in a table take_row() pays. */
#define ROW_MIN 8

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

#define DESC_BYTES sizeof(struct vring_desc_raw)

/*
 * Words of a descriptor, each read once: the guest can change it under our
 * eyes, and the compiler may not go back for what it has read.  memcpy: an
 * indirect table may begin at any byte.
 */
#define READ_WORD(name, type, to_host)                                         \
    static inline uint64_t name(const uint8_t *p)                              \
    {                                                                          \
        uint64_t read;                                                         \
        type v;                                                                \
                                                                               \
        memcpy(&v, p, sizeof(v));                                              \
        read = to_host(v);                                                     \
        __asm__ __volatile__("" : "+r"(read));                                 \
        return read;                                                           \
    }
READ_WORD(read_64, uint64_t, le64toh)
READ_WORD(read_32, uint32_t, le32toh)

/* A descriptor, copied.  @link: flags, and above them which one is next. */
struct desc {
    uint64_t addr, len, link;
};
#define LINK(flags, next) ((uint64_t)(flags) | (uint64_t)(next) << 16)

static inline struct desc desc_copy(const uint8_t *d)
{
    return (struct desc){
        .addr = read_64(d + offsetof(struct vring_desc_raw, addr)),
        .len = read_32(d + offsetof(struct vring_desc_raw, len)),
        .link = read_32(d + offsetof(struct vring_desc_raw, flags)),
    };
}

/* Append one piece; merge it with the span before when the two touch.
 * @first: where the part begins which it belongs to. */
static int add_span(struct chain *c, uint32_t first, uint32_t *n, void *va,
                    uint64_t len, uint64_t gpa)
{
    if (*n > first) {
        struct iovec *last = &c->iov[*n - 1];

        /* The same host addresses may be two guest addresses, so what is
         * logged by guest address must touch there too. */
        if ((uint8_t *)last->iov_base + last->iov_len == va &&
            (!c->log || c->gpa[*n - 1] + last->iov_len == gpa)) {
            last->iov_len += len;
            return 0;
        }
    }
    if (*n >= CHAIN_MAX_SPANS)
        return -E2BIG;
    c->iov[*n] = (struct iovec){ va, len };
    if (c->log)
        c->gpa[*n] = gpa;
    (*n)++;
    return 0;
}

/*
 * A buffer of any kind: empty, in another region than the one before or over
 * several, logged.
 * @first, @n: the first span of its part, and how many there are in all.
 * Return: how many there are now, or -errno.
 */
static __attribute__((noinline)) int add_buffer(struct chain *c,
                                                const struct memmap *mm,
                                                uint64_t gpa, uint64_t left,
                                                uint32_t first, uint32_t n)
{
    while (left > 0) {
        const struct memregion *r = memmap_find(mm, (gpa_t){ gpa });
        uint64_t got;
        int ret;

        if (!r)
            return -EFAULT;
        got = MIN(left, r->size - (gpa - r->gpa));
        ret = add_span(c, first, &n, r->va + (gpa - r->gpa), got, gpa);
        if (ret < 0)
            return ret;
        c->region = (uint32_t)(r - mm->r);
        gpa += got;
        left -= got;
    }
    return (int)n;
}

/**
 * struct walk - a walk under way.
 * @table, @n:  where descriptors are, how many.
 * @idx, @left: which is next, how many more there may be.
 * @rows:       up to which of them take_row() is tried.
 * @r:          the region of the last buffer; the next lies in it too, as a
 *              rule.  One that holds nothing where each buffer is logged.
 * @at, @limit: where the next span goes, and the end of the room for them.
 * @end:        one past the last span; NULL when there is none to merge with.
 * @bytes:      of the part that is being filled; in struct chain.
 * @part:       DESC_F_WRITE in the writable one, 0 before.
 */
struct walk {
    const uint8_t *table;
    uint32_t idx, n, left, rows;
    const struct memregion *r;
    struct iovec *at, *limit;
    uint8_t *end;
    uint64_t *bytes;
    uint64_t part;
    bool in_indirect;
};

static inline void begin_walk(struct chain *c, struct walk *w,
                              const struct vring *v)
{
    static const struct memregion nothing;

    c->n_readable = c->n_writable = 0;
    c->readable_bytes = c->writable_bytes = 0;
    c->log = v->log;
    /* The table may be another than last time's; what is at that place of it
     * is as good a guess as any. */
    w->r = v->log || c->region >= v->mm->n ? &nothing : &v->mm->r[c->region];
    w->at = c->iov;
    w->limit = c->iov + CHAIN_MAX_SPANS;
    w->bytes = &c->readable_bytes;
}

static inline uint32_t spans(const struct chain *c, const struct walk *w)
{
    return (uint32_t)(w->at - c->iov);
}

static inline void begin_writable(struct chain *c, struct walk *w)
{
    c->n_readable = spans(c, w);
    w->bytes = &c->writable_bytes;
    w->part = DESC_F_WRITE;
    w->end = NULL;
}

static inline void end_walk(struct chain *c, const struct walk *w)
{
    if (w->part)
        c->n_writable = spans(c, w) - c->n_readable;
    else
        c->n_readable = spans(c, w);
}

/*
 * Go on in the table which an indirect descriptor names.  The chain it
 * replaces may be no longer than what one chain may hold.
 */
static inline int enter_indirect(struct chain *c, struct walk *w,
                                 const struct vring *v, const struct desc *d)
{
    const struct memregion *r = w->r;

    if (w->in_indirect || !v->indirect || (d->link & DESC_F_NEXT))
        return -EINVAL;
    if (d->len == 0 || d->len % DESC_BYTES != 0)
        return -EINVAL;
    if (d->len / DESC_BYTES > CHAIN_MAX_DESCS)
        return -E2BIG;
    if (unlikely(!memregion_holds(r, d->addr, d->len))) {
        r = memmap_find(v->mm, (gpa_t){ d->addr });
        if (!r || !memregion_holds(r, d->addr, d->len))
            return -EFAULT;
    }
    c->n_descs = v->size - w->left;
    w->in_indirect = true;
    w->table = r->va + (d->addr - r->gpa);
    w->idx = 0;
    w->n = w->left = (uint32_t)(d->len / DESC_BYTES);
    if (w->n > ROW_MIN && !v->log)
        w->rows = w->n - ROW_MIN;
    return 0;
}

static inline int take_buffer(struct chain *c, struct walk *w,
                              const struct vring *v, const struct desc *d)
{
    uint8_t *va;
    int n;

    *w->bytes += d->len;
    if (likely(memregion_holds(w->r, d->addr, d->len))) {
        va = w->r->va + (d->addr - w->r->gpa);
        if (va == w->end)
            w->at[-1].iov_len += d->len;
        else if (likely(w->at != w->limit))
            *w->at++ = (struct iovec){ va, d->len };
        else
            return -E2BIG;
        w->end = va + d->len;
        return 0;
    }
    n = add_buffer(c, v->mm, d->addr, d->len, c->n_readable, spans(c, w));
    if (n < 0)
        return n;
    w->at = c->iov + n;
    if ((uint32_t)n > c->n_readable)
        w->end = (uint8_t *)w->at[-1].iov_base + w->at[-1].iov_len;
    if (!v->log && d->len > 0)
        w->r = &v->mm->r[c->region];
    return 0;
}

/* How far take_row() has come; two words, which fit in registers. */
struct row {
    const uint8_t *d;
    struct iovec *at;
};

/*
 * What nearly all of a large request is: descriptors one behind the other in
 * their table, each a buffer in the region @in and of the part that is being
 * filled.  All that there may be of such a one is known beforehand, but for
 * its address and length.
 * @link:  what the first says behind those.
 * @stop:  the end of the row; no more of them than there is room for spans.
 * @end, @bytes: as in struct walk.
 * Return: the first descriptor that is anything else, or @stop.
 */
static __attribute__((noinline)) struct row
take_row(struct row row, const uint8_t *stop, uint64_t link,
         const struct memregion *in, uint8_t *end, uint64_t *bytes)
{
    const struct memregion r = *in;
    const uint64_t va = (uintptr_t)r.va - r.gpa; /* of the guest's address 0 */
    uint64_t sum = 0;

    for (; row.d != stop; row.d += DESC_BYTES, link += LINK(0, 1)) {
        struct desc d = desc_copy(row.d);
        uint8_t *p = (uint8_t *)(uintptr_t)(va + d.addr);

        if (d.link != link || !memregion_holds(&r, d.addr, d.len))
            break;
        if (p == end)
            row.at[-1].iov_len += d.len;
        else
            *row.at++ = (struct iovec){ p, d.len };
        end = p + d.len;
        sum += d.len;
    }
    *bytes += sum;
    return row;
}

/* Have as much done by take_row() as it can. */
static inline void take_rows(struct walk *w)
{
    const uint8_t *first = w->table + w->idx * DESC_BYTES;
    size_t most = MIN(w->left, w->n - w->idx), taken;
    struct row row = { first, w->at };

    most = MIN(most, (size_t)(w->limit - w->at));
    row = take_row(row, first + most * DESC_BYTES,
                   LINK(w->part | DESC_F_NEXT, w->idx + 1), w->r, w->end,
                   w->bytes);
    taken = (size_t)(row.d - first) / DESC_BYTES;
    if (taken == 0)
        return;
    w->at = row.at;
    w->end = (uint8_t *)w->at[-1].iov_base + w->at[-1].iov_len;
    w->left -= (uint32_t)taken;
    w->idx += (uint32_t)taken;
}

int chain_walk(struct chain *c, const struct vring *v, uint16_t head)
{
    struct walk w = {
        .table = (const uint8_t *)v->desc,
        .idx = head,
        .n = v->size,
        .left = v->size,
    };

    begin_walk(c, &w, v);
    for (;;) {
        struct desc d;
        int ret;

        if (unlikely(w.idx < w.rows))
            take_rows(&w);
        if (unlikely(w.idx >= w.n))
            return -EINVAL;
        if (unlikely(w.left-- == 0))
            return -ELOOP;
        d = desc_copy(w.table + w.idx * DESC_BYTES);
        if (d.link & DESC_F_INDIRECT) {
            ret = enter_indirect(c, &w, v, &d);
            if (ret < 0)
                return ret;
            continue;
        }
        if ((d.link & DESC_F_WRITE) != w.part) {
            if (w.part)
                return -EINVAL; /* readable behind writable */
            begin_writable(c, &w);
        }
        ret = take_buffer(c, &w, v, &d);
        if (unlikely(ret < 0))
            return ret;
        if (!(d.link & DESC_F_NEXT))
            break;
        w.idx = (uint32_t)(d.link >> 16);
    }
    if (!w.in_indirect)
        c->n_descs = v->size - w.left;
    end_walk(c, &w);
    return 0;
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
        /* Not read again, see chain_read(). */
        __asm__ __volatile__("" : : : "memory");
        done += part;
        off = 0;
    }
    return done;
}

size_t chain_read_spans(const struct chain *c, uint64_t off, void *to,
                        size_t len)
{
    return copy_spans(c->iov, c->n_readable, off, to, len, false);
}

size_t chain_write_spans(const struct chain *c, uint64_t off, const void *from,
                         size_t len)
{
    return copy_spans(chain_writable(c), c->n_writable, off, (uint8_t *)from,
                      len, true);
}

const struct iovec *chain_rest(const struct iovec *iov, uint32_t *n,
                               uint64_t off)
{
    uint32_t left = *n;

    while (off > 0 && left > 0 && off >= iov->iov_len) {
        off -= iov->iov_len;
        iov++;
        left--;
    }
    *n = left;
    return off == 0 ? iov : NULL;
}

void chain_log_spans(const struct chain *c, uint64_t len)
{
    for (uint32_t i = c->n_readable; i < c->n_readable + c->n_writable; i++) {
        uint64_t part = MIN(len, (uint64_t)c->iov[i].iov_len);

        dirtylog_mark(c->log, (gpa_t){ c->gpa[i] }, part);
        len -= part;
        if (len == 0)
            return;
    }
}
