/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Guest memory as the input fills it, and a ring in it served: heads popped,
 * chains walked, read, written and pushed.
 *
 * Input: u8 log2 of the size, u8 features, u16 base, u8 layout [, three u64
 * addresses], then steps of { u8 kind, arguments } as in run_step().
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/ring.h"
#include "vhost/chain.h"
#include "virtiofsd/base/log.h"

#define STEPS_MAX 512
#define POPS_MAX  64
#define IOV_OUT   16
#define COPY_MAX  ((size_t)64 << 10)

static struct guest_ring guest;
static struct chain chain;
static struct dirtylog *dirty;

static void setup(void)
{
    int fd;

    if (guest.mm)
        return;
    log_set_level(LOG_LEVEL_OFF);
    ring_open(&guest);
    FUZZ_CHECK(chain_init(&chain) == 0);
    fd = memfd_create("log", MFD_CLOEXEC);
    FUZZ_CHECK(fd >= 0 && ftruncate(fd, 4096) == 0);
    FUZZ_CHECK(dirtylog_create(fd, 0, 512, 1, &dirty) == 0);
    close(fd);
}

/* 16 bits of input name a place in some region, or one close to it. */
static uint64_t place(uint16_t v)
{
    static const uint64_t base[] = {
        RING_GPA,
        RING_GPA + RING_BYTES - 0x100,
        BUF_GPA,
        BUF_GPA + BUF_BYTES - 0x1000,
        BUF_GPA + 2 * BUF_BYTES - 0x800,
        ODD_GPA,
        TOP_GPA,
        TOP_GPA + TOP_BYTES - 0x1000,
    };

    return base[v >> 13] + (v & 0x1fff);
}

static void check_byte(const uint8_t *p)
{
    for (uint32_t i = 0; i < guest.mm->n; i++) {
        const struct memregion *r = &guest.mm->r[i];

        if (p >= r->va && p < r->va + r->size)
            return;
    }
    FUZZ_CHECK(!"a span lies in guest memory");
}

/* A span may reach over two regions: their mappings may happen to touch. */
static void check_spans(void)
{
    uint64_t readable = 0, writable = 0;
    uint32_t n = chain.n_readable + chain.n_writable;

    for (uint32_t i = 0; i < n; i++) {
        const struct iovec *v = &chain.iov[i];

        FUZZ_CHECK(v->iov_len > 0);
        check_byte(v->iov_base);
        check_byte((const uint8_t *)v->iov_base + v->iov_len - 1);
        if (i < chain.n_readable)
            readable += v->iov_len;
        else
            writable += v->iov_len;
    }
    FUZZ_CHECK(readable == chain.readable_bytes);
    FUZZ_CHECK(writable == chain.writable_bytes);
}

/* What the chain's functions say of [off, off + len), compared. */
static void check_copies(uint64_t off, size_t len)
{
    struct iovec out[IOV_OUT];
    uint8_t *buf, *again;
    size_t got, at = 0;
    int n;

    len = MIN(len, COPY_MAX);
    buf = malloc(len ? len : 1);
    again = malloc(len ? len : 1);
    FUZZ_CHECK(buf && again);
    got = chain_read(&chain, off, buf, len);
    FUZZ_CHECK(got == (off >= chain.readable_bytes
                           ? 0
                           : MIN((uint64_t)len, chain.readable_bytes - off)));
    n = chain_iov(chain.iov, chain.n_readable, off, len, out, IOV_OUT);
    for (int i = 0; i < n; i++) {
        FUZZ_CHECK(out[i].iov_len <= len - at);
        memcpy(again + at, out[i].iov_base, out[i].iov_len);
        at += out[i].iov_len;
    }
    FUZZ_CHECK(n == IOV_OUT || at == got);
    FUZZ_CHECK(memcmp(buf, again, at) == 0);
    memset(buf, 0x5a, len);
    got = chain_write(&chain, off, buf, len);
    FUZZ_CHECK(got == (off >= chain.writable_bytes
                           ? 0
                           : MIN((uint64_t)len, chain.writable_bytes - off)));
    chain_log(&chain, got);
    free(buf);
    free(again);
}

/* A walk of the plainest kind, over memory nobody changes meanwhile.
 * Return: 0 and the bytes of the two halves, or an errno. */
static int model_walk(uint16_t head, uint64_t bytes[2])
{
    const struct vring_desc_raw *table = guest.v.desc;
    uint32_t n = guest.v.size, idx = head;
    bool indirect = false, writable = false;

    bytes[0] = bytes[1] = 0;
    for (uint32_t seen = 0;; seen++) {
        struct vring_desc_raw d;

        if (idx >= n)
            return -EINVAL;
        if (seen >= n)
            return -ELOOP;
        memcpy(&d, (const uint8_t *)table + (size_t)16 * idx, sizeof(d));
        if (d.flags & 4) {
            if (indirect || !guest.v.indirect || (d.flags & 1) ||
                d.len % 16 != 0 || d.len == 0)
                return -EINVAL;
            n = d.len / 16;
            if (n > CHAIN_MAX_DESCS)
                return -E2BIG;
            table = ring_at(&guest, d.addr, d.len);
            if (!table)
                return -EFAULT;
            indirect = true;
            idx = 0;
            seen = UINT32_MAX;
            continue;
        }
        writable = writable || (d.flags & 2);
        if (writable && !(d.flags & 2))
            return -EINVAL;
        for (uint64_t i = 0; i < d.len; i += 64) {
            if (!ring_at(&guest, d.addr + i, 1))
                return -EFAULT;
        }
        if (d.len > 0 && !ring_at(&guest, d.addr + d.len - 1, 1))
            return -EFAULT;
        bytes[writable] += d.len;
        if (!(d.flags & 1))
            return 0;
        idx = d.next;
    }
}

/* Return: false when the ring is broken. */
static bool serve(uint64_t off, size_t len)
{
    for (int i = 0; i < POPS_MAX; i++) {
        uint16_t head = 0;
        uint64_t bytes[2];
        int ret = vring_pop(&guest.v, &head);

        if (ret <= 0)
            return ret == 0;
        FUZZ_CHECK(head < guest.v.size);
        ret = chain_walk(&chain, &guest.v, head);
        FUZZ_CHECK(ret == -E2BIG || ret == model_walk(head, bytes));
        if (ret < 0)
            return false;
        FUZZ_CHECK(chain.readable_bytes == bytes[0]);
        FUZZ_CHECK(chain.writable_bytes == bytes[1]);
        check_spans();
        check_copies(off, len);
        vring_push(&guest.v, head, (uint32_t)len);
        (void)vring_should_notify(&guest.v);
    }
    return true;
}

static void put_desc(struct fuzz_in *in, uint64_t table)
{
    struct vring_desc_raw d;
    uint32_t idx = (uint32_t)fuzz_uint(in, 1);

    d.addr = place((uint16_t)fuzz_uint(in, 2));
    d.len = (uint32_t)fuzz_uint(in, 2);
    d.flags = (uint16_t)fuzz_uint(in, 1);
    d.next = (uint16_t)fuzz_uint(in, 1);
    if (d.flags & 0x40)
        d.len = (uint32_t)fuzz_uint(in, 4);
    if (d.flags & 0x80)
        d.addr = fuzz_uint(in, 8);
    ring_desc(&guest, table, idx, d);
}

static void remap(const struct vring_cfg *cfg, struct fuzz_in *in)
{
    struct vring_cfg next = *cfg;

    next.used.v = place((uint16_t)fuzz_uint(in, 2)) & ~UINT64_C(3);
    if (vring_cfg_check(&next) < 0)
        return;
    if (vring_remap(&guest.v, &next, guest.mm, dirty) == 0)
        (void)vring_remap(&guest.v, cfg, guest.mm, NULL);
}

/* Return: false when the ring is closed or broken. */
static bool run_step(const struct vring_cfg *cfg, struct fuzz_in *in)
{
    uint64_t at;
    size_t len;
    const uint8_t *p;
    uint16_t v;

    switch (fuzz_uint(in, 1) & 7) {
    case 0: /* bytes anywhere */
        at = place((uint16_t)fuzz_uint(in, 2));
        len = fuzz_uint(in, 1);
        p = fuzz_take(in, &len);
        ring_write(&guest, at, p, len);
        return true;
    case 1:
        put_desc(in, cfg->desc.v);
        return true;
    case 2: /* into an indirect table */
        at = place((uint16_t)fuzz_uint(in, 2));
        put_desc(in, at);
        return true;
    case 3: /* a head, at the next place */
        v = (uint16_t)fuzz_uint(in, 2);
        ring_write(&guest, cfg->avail.v + 4 + 2 * (guest.avail_idx % cfg->size),
                   &v, 2);
        guest.avail_idx++;
        ring_write(&guest, cfg->avail.v + 2, &guest.avail_idx, 2);
        return true;
    case 4: /* the driver's index, whatever it was */
        guest.avail_idx = (uint16_t)fuzz_uint(in, 2);
        ring_write(&guest, cfg->avail.v + 2, &guest.avail_idx, 2);
        return true;
    case 5:
        at = fuzz_uint(in, 2);
        return serve(at, fuzz_uint(in, 2));
    case 6:
        vring_disarm(&guest.v);
        (void)vring_arm(&guest.v);
        return true;
    default:
        remap(cfg, in);
        return vring_is_open(&guest.v);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_in in = { data, size };
    struct vring_cfg cfg = {
        .flags = VRING_CFG_STARTED | VRING_CFG_ENABLED,
        .desc = { RING_GPA + RING_DESC },
        .avail = { RING_GPA + RING_AVAIL },
        .used = { RING_GPA + RING_USED },
    };
    bool good = true;

    setup();
    ring_wipe(&guest);
    cfg.size = 1U << (fuzz_uint(&in, 1) % 16);
    /* Bit n of the byte is feature 24 + n; bit 7 turns on the log. */
    cfg.features = fuzz_uint(&in, 1) << 24;
    cfg.base = (uint32_t)fuzz_uint(&in, 2);
    if (fuzz_uint(&in, 1) & 1) {
        cfg.desc.v = place((uint16_t)fuzz_uint(&in, 2)) & ~UINT64_C(15);
        cfg.avail.v = place((uint16_t)fuzz_uint(&in, 2)) & ~UINT64_C(1);
        cfg.used.v = place((uint16_t)fuzz_uint(&in, 2)) & ~UINT64_C(3);
    }
    if (cfg.features >> 31 & 1)
        cfg.flags |= VRING_CFG_LOG;
    if (vring_cfg_check(&cfg) < 0 ||
        vring_start(&guest.v, &cfg, guest.mm,
                    cfg.flags & VRING_CFG_LOG ? dirty : NULL) < 0)
        return 0;
    guest.avail_idx = (uint16_t)cfg.base;
    for (int i = 0; good && in.left > 0 && i < STEPS_MAX; i++)
        good = run_step(&cfg, &in);
    if (good)
        serve(0, 64);
    vring_close(&guest.v);
    return 0;
}
