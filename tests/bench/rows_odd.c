/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/bench/row.h"
#include "tests/lib/fusecall.h"

/*
 * A slow disk beside a fast one: slot 0 reads from a file system that takes
 * its time, and again and again; the others ask for attributes that the host
 * has in its cache, on the same queue.  Only they are counted.
 */

enum { S_GETATTR, S_READ };

static const struct drive_spec slow_spec[] = {
    { FUSE_GETATTR, sizeof(struct fuse_getattr_in),
      sizeof(struct fuse_attr_out), 0, 0 },
    { FUSE_READ, sizeof(struct fuse_read_in), 0, 0, 4096 },
    { 0 },
};

static void slow_prepare(struct drive *d, struct slot *s)
{
    struct scene *sc = d->arg;
    struct fuse_read_in *in = s->c[S_READ].arg;

    in->fh = sc->fh;
    in->size = 4096;
    s->c[S_READ].in->nodeid = sc->file;
    s->c[S_READ].want_len = sizeof(struct fuse_out_header) + 4096;
}

static void slow_begin(struct drive *d, struct slot *s)
{
    struct scene *sc = d->arg;

    if (s->idx == 0) {
        drive_put(d, s, &s->c[S_READ]);
        return;
    }
    s->c[S_GETATTR].in->nodeid = sc->node[sc->at++ % sc->n];
    drive_put(d, s, &s->c[S_GETATTR]);
}

static enum drive_next slow_done(struct drive *d, struct slot *s,
                                 struct chain *c, uint32_t len)
{
    (void)d;
    (void)s;
    (void)len;
    return c->step == S_READ ? DRIVE_AGAIN : DRIVE_OP;
}

static int slow_setup(struct scene *s)
{
    struct fuse_entry_out e;
    struct fuse_open_out o;
    int ret = row_find_files(s, SHARE_HOT);

    if (ret < 0)
        return ret;
    ret = fc_walk(s->q, "slow/file", &e);
    if (ret == 0)
        ret = fc_open(s->q, FUSE_OPEN, e.nodeid, O_RDONLY, &o);
    if (ret != 0) {
        snprintf(s->why, sizeof(s->why), "opening the slow file: %d", ret);
        return -EIO;
    }
    s->file = e.nodeid;
    s->fh = o.fh;
    return 0;
}

static int slow_native_setup(struct scene *s)
{
    return row_getattr.native_setup(s);
}

static int slow_native(struct scene *s, uint64_t i)
{
    return row_getattr.native(s, i);
}

const struct row row_slow = {
    .name = "slow_neighbour",
    .title = "getattr beside a slow disk's reads",
    .parts = { SHARE_HOT, SHARE_SLOW },
    .drive = { slow_spec, slow_prepare, slow_begin, slow_done },
    .setup = slow_setup,
    .native_setup = slow_native_setup,
    .native = slow_native,
    .min_depth = 2,
    .slow = true,
};

/* Rings that run, and nothing on them. */

static int idle_setup(struct scene *s)
{
    return row_getattr.setup(s);
}

const struct row row_idle = {
    .name = "idle",
    .title = "nothing to do",
    .parts = { SHARE_HOT },
    .setup = idle_setup,
    .idle = true,
};
