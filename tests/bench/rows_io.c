/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/bench/row.h"
#include "tests/lib/fusecall.h"
#include "virtiofsd/base/util.h"

/*
 * READ and WRITE of data/r and data/w.  What is read is compared with the
 * pattern of its offset; each block that is written begins with a stamp of
 * its offset and of the run, and is looked at through the host.
 */

#define SEED 0x2545f4914f6cdd1dull

static struct scene *scene_of(struct drive *d)
{
    return d->arg;
}

static uint64_t stamp_at(const struct scene *s, uint64_t off)
{
    return off ^ (s->stamp << 40);
}

static uint64_t next_offset(struct scene *s)
{
    const struct row_io *io = &s->row->io;
    uint64_t off = s->off;

    if (io->random) {
        s->random ^= s->random << 13;
        s->random ^= s->random >> 7;
        s->random ^= s->random << 17;
        return s->random % (s->share->size.file_bytes / io->block) * io->block;
    }
    s->off += io->block;
    if (s->off + io->block > s->share->size.file_bytes)
        s->off = 0;
    return off;
}

/* A run begins: what was written in the one before does not count. */
static void new_run(struct scene *s)
{
    static uint64_t runs; /* of all contestants: they share the file */

    s->stamp = ++runs;
    if (s->written)
        memset(s->written, 0, s->share->size.file_bytes / s->row->io.block);
}

/* READ */

#define READ_SPEC(bytes)                                                       \
    {                                                                          \
        { FUSE_READ, sizeof(struct fuse_read_in), 0, 0, bytes }, { 0 },        \
    }
static const struct drive_spec read_4k[] = READ_SPEC(4096);
static const struct drive_spec read_128k[] = READ_SPEC(128 << 10);
static const struct drive_spec read_1m[] = READ_SPEC(1 << 20);

static void read_prepare(struct drive *d, struct slot *s)
{
    struct scene *sc = scene_of(d);
    struct fuse_read_in *in = s->c[0].arg;

    in->fh = sc->fh;
    in->size = sc->row->io.block;
    in->flags = O_RDONLY | (sc->row->io.direct ? O_DIRECT : 0);
    s->c[0].in->nodeid = sc->file;
    s->c[0].want_len =
        (uint32_t)sizeof(struct fuse_out_header) + sc->row->io.block;
}

static void read_begin(struct drive *d, struct slot *s)
{
    struct fuse_read_in *in = s->c[0].arg;

    in->offset = s->off = next_offset(scene_of(d));
    drive_put(d, s, &s->c[0]);
}

static enum drive_next io_done(struct drive *d, struct slot *s, struct chain *c,
                               uint32_t len)
{
    struct scene *sc = scene_of(d);
    const struct fuse_write_out *out = c->reply;

    (void)len;
    if (c->step == 1)
        return DRIVE_OP;
    if (!sc->row->io.write)
        return DRIVE_OP;
    if (out->size != sc->row->io.block)
        drive_fault(d, "%u bytes of %u were written", out->size,
                    sc->row->io.block);
    sc->written[s->off / sc->row->io.block] = 1;
    if (!sc->row->io.sync)
        return DRIVE_OP;
    drive_put(d, s, &s->c[1]);
    return DRIVE_MORE;
}

static bool read_right(struct scene *s)
{
    const struct drive *d = s->d;

    if (!d) {
        if (share_words_right(s->buf, s->row->io.block, s->last))
            return true;
        snprintf(s->why, sizeof(s->why), "native read: wrong data");
        return false;
    }
    for (unsigned int i = 0; i < d->depth; i++) {
        const struct slot *sl = &d->slot[i];

        for (unsigned int k = 0; sl->c[0].unique && k < sl->c[0].npages; k++) {
            uint64_t off = sl->off + k * GUEST_PAGE;

            if (share_words_right(chain_page(&sl->c[0], k), GUEST_PAGE, off))
                continue;
            snprintf(s->why, sizeof(s->why), "wrong data at offset %llu",
                     (unsigned long long)off);
            return false;
        }
    }
    return true;
}

/* WRITE, and FSYNC behind it */

#define WRITE_SPEC(bytes)                                                      \
    {                                                                          \
        { FUSE_WRITE, sizeof(struct fuse_write_in),                            \
          sizeof(struct fuse_write_out), bytes, 0 },                           \
            { 0 },                                                             \
    }
static const struct drive_spec write_4k[] = WRITE_SPEC(4096);
static const struct drive_spec write_128k[] = WRITE_SPEC(128 << 10);
static const struct drive_spec write_1m[] = WRITE_SPEC(1 << 20);
static const struct drive_spec write_sync[] = {
    { FUSE_WRITE, sizeof(struct fuse_write_in), sizeof(struct fuse_write_out),
      4096, 0 },
    { FUSE_FSYNC, sizeof(struct fuse_fsync_in), 0, 0, 0 },
    { 0 },
};

static void fill_words(uint8_t *p, size_t len, uint64_t off)
{
    for (size_t i = 0; i < len; i += 8) {
        uint64_t v = share_word(off + i);

        memcpy(p + i, &v, 8);
    }
}

static void write_prepare(struct drive *d, struct slot *s)
{
    struct scene *sc = scene_of(d);
    struct fuse_write_in *in = s->c[0].arg;

    if (s->idx == 0)
        new_run(sc);
    in->fh = sc->fh;
    in->size = sc->row->io.block;
    in->flags = O_RDWR | (sc->row->io.direct ? O_DIRECT : 0);
    s->c[0].in->nodeid = sc->file;
    for (unsigned int i = 0; i < s->c[0].npages; i++)
        fill_words(chain_page(&s->c[0], i), GUEST_PAGE, i * GUEST_PAGE);
    if (sc->row->io.sync) {
        struct fuse_fsync_in *sync = s->c[1].arg;

        sync->fh = sc->fh;
        s->c[1].in->nodeid = sc->file;
    }
}

static void write_begin(struct drive *d, struct slot *s)
{
    struct scene *sc = scene_of(d);
    struct fuse_write_in *in = s->c[0].arg;
    uint64_t v;

    in->offset = s->off = next_offset(sc);
    v = stamp_at(sc, s->off);
    memcpy(chain_page(&s->c[0], 0), &v, sizeof(v));
    drive_put(d, s, &s->c[0]);
}

static bool block_right(struct scene *s, uint8_t *buf, uint64_t off)
{
    uint32_t block = s->row->io.block;
    uint64_t v;

    if (pread(s->data_fd, buf, block, (off_t)off) != (ssize_t)block)
        return false;
    memcpy(&v, buf, 8);
    return v == stamp_at(s, off) && share_words_right(buf + 8, block - 8, 8);
}

static bool written_right(struct scene *s)
{
    uint32_t block = s->row->io.block;
    size_t n = s->share->size.file_bytes / block;
    /* Aligned: natively the descriptor may be one for direct I/O. */
    uint8_t *buf = aligned_alloc(GUEST_PAGE, block);
    bool right = buf != NULL;

    for (size_t i = 0; i < n && right; i++) {
        right = !s->written[i] || block_right(s, buf, i * block);
        if (!right)
            snprintf(s->why, sizeof(s->why), "wrong data written at %zu",
                     i * block);
    }
    free(buf);
    return right;
}

static bool io_verify(struct scene *s)
{
    return s->row->io.write ? written_right(s) : read_right(s);
}

/* Setting up */

static int no_direct(struct scene *s, const char *who)
{
    snprintf(s->why, sizeof(s->why), "%s", who);
    return 1;
}

/*
 * With O_DIRECT nothing of the file is in the host's page cache, nor comes
 * there by our looking at it: a direct write has to throw out what is.
 */
static int open_host(struct scene *s, int flags)
{
    const struct row_io *io = &s->row->io;

    s->random = SEED;
    if (io->write) {
        s->written = calloc(s->share->size.file_bytes / io->block, 1);
        if (!s->written)
            return -ENOMEM;
    }
    s->data_fd = share_open_data(s->share, io->write ? "w" : "r",
                                 flags | (io->direct ? O_DIRECT : 0));
    if (s->data_fd == -EINVAL && io->direct)
        return no_direct(s, "no O_DIRECT on this file system");
    if (s->data_fd < 0)
        return s->data_fd;
    if (io->direct && fsync(s->data_fd) == 0)
        (void)posix_fadvise(s->data_fd, 0, 0, POSIX_FADV_DONTNEED);
    return 0;
}

static int native_io_setup(struct scene *s)
{
    const struct row_io *io = &s->row->io;
    int ret = open_host(s, io->write ? O_RDWR : O_RDONLY);

    if (ret != 0)
        return ret;
    s->buf = aligned_alloc(GUEST_PAGE, io->block);
    if (!s->buf)
        return -ENOMEM;
    fill_words(s->buf, io->block, 0);
    return 0;
}

/* Only what the daemon really does counts: many drop the flag. */
static int check_direct(struct scene *s)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/data/%s", s->share->root,
             s->row->io.write ? "w" : "r");
    if (!peer_has_direct(s->peer, path))
        return no_direct(s, "the daemon does not pass O_DIRECT on");
    return 0;
}

static int io_setup(struct scene *s)
{
    const struct row_io *io = &s->row->io;
    struct fuse_entry_out e;
    struct fuse_open_out o;
    uint32_t flags =
        (io->write ? O_RDWR : O_RDONLY) | (io->direct ? (uint32_t)O_DIRECT : 0);
    int ret = open_host(s, O_RDONLY);

    if (ret != 0)
        return ret;
    if (io->write && s->max_write < io->block) {
        snprintf(s->why, sizeof(s->why), "max_write is %u", s->max_write);
        return 1;
    }
    ret = fc_walk(s->q, io->write ? "data/w" : "data/r", &e);
    if (ret == 0)
        ret = fc_open(s->q, FUSE_OPEN, e.nodeid, flags, &o);
    if (ret != 0) {
        snprintf(s->why, sizeof(s->why), "opening the data file: %d", ret);
        return io->direct ? 1 : -EIO;
    }
    s->file = e.nodeid;
    s->fh = o.fh;
    return io->direct ? check_direct(s) : 0;
}

static int native_io(struct scene *s, uint64_t i)
{
    const struct row_io *io = &s->row->io;
    ssize_t n;

    if (i == 0)
        new_run(s);
    s->last = next_offset(s);
    if (io->write) {
        uint64_t v = stamp_at(s, s->last);

        memcpy(s->buf, &v, sizeof(v));
        n = pwrite(s->data_fd, s->buf, io->block, (off_t)s->last);
        s->written[s->last / io->block] = 1;
    } else {
        n = pread(s->data_fd, s->buf, io->block, (off_t)s->last);
    }
    if (n != (ssize_t)io->block || (io->sync && fsync(s->data_fd) < 0))
        return n < 0 || io->sync ? -errno : -EIO;
    return 0;
}

/* The rows */

#define IO_ROW(id, text, spec_, prepare_, begin_, ...)                         \
    const struct row row_##id = {                                              \
        .name = #id,                                                           \
        .title = text,                                                         \
        .parts = { SHARE_DATA },                                               \
        .drive = { spec_, prepare_, begin_, io_done },                         \
        .setup = io_setup,                                                     \
        .native_setup = native_io_setup,                                       \
        .native = native_io,                                                   \
        .verify = io_verify,                                                   \
        __VA_ARGS__,                                                           \
    }
#define READ_ROW(id, text, spec_, ...)                                         \
    IO_ROW(id, text, spec_, read_prepare, read_begin, __VA_ARGS__)
#define WRITE_ROW(id, text, spec_, ...)                                        \
    IO_ROW(id, text, spec_, write_prepare, write_begin, __VA_ARGS__)

READ_ROW(read_4k, "read 4 KiB, random", read_4k,
         .io = { 4096, false, true, false, false }, .variants = true);
READ_ROW(read_128k, "read 128 KiB, sequential", read_128k, .io = { 128 << 10 },
         .bytes = 128 << 10);
READ_ROW(read_1m, "read 1 MiB, sequential", read_1m, .io = { 1 << 20 },
         .bytes = 1 << 20, .variants = true);
WRITE_ROW(write_4k, "write 4 KiB, random", write_4k,
          .io = { 4096, true, true, false, false }, .variants = true);
WRITE_ROW(write_128k, "write 128 KiB, sequential", write_128k,
          .io = { 128 << 10, true, false, false, false }, .bytes = 128 << 10);
WRITE_ROW(write_1m, "write 1 MiB, sequential", write_1m,
          .io = { 1 << 20, true, false, false, false }, .bytes = 1 << 20,
          .variants = true);
READ_ROW(direct_read_4k, "O_DIRECT read 4 KiB, random", read_4k,
         .io = { 4096, false, true, true, false }, .disk = true);
READ_ROW(direct_read_128k, "O_DIRECT read 128 KiB, sequential", read_128k,
         .io = { 128 << 10, false, false, true, false }, .bytes = 128 << 10,
         .disk = true);
READ_ROW(direct_read_1m, "O_DIRECT read 1 MiB, sequential", read_1m,
         .io = { 1 << 20, false, false, true, false }, .bytes = 1 << 20,
         .disk = true);
WRITE_ROW(direct_write_4k, "O_DIRECT write 4 KiB, random", write_4k,
          .io = { 4096, true, true, true, false }, .disk = true);
WRITE_ROW(direct_write_128k, "O_DIRECT write 128 KiB, sequential", write_128k,
          .io = { 128 << 10, true, false, true, false }, .bytes = 128 << 10,
          .disk = true);
WRITE_ROW(direct_write_1m, "O_DIRECT write 1 MiB, sequential", write_1m,
          .io = { 1 << 20, true, false, true, false }, .bytes = 1 << 20,
          .disk = true);
WRITE_ROW(write_sync, "write 4 KiB and fsync", write_sync,
          .io = { 4096, true, true, false, true }, .disk = true);
