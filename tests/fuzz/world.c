/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fuzz/world.h"

#include <string.h>

#include "fuse/validate.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/share.h"
#include "virtiofsd/base/log.h"

#define HDR sizeof(struct fuse_in_header)
#define OUT sizeof(struct fuse_out_header)

void world_open(struct world *w, unsigned int kind)
{
    static const struct pt_opts opts[WORLD_KINDS] = {
        { .xattr = true,
          .readdirplus = true,
          .announce_submounts = true,
          .flock = true,
          .posix_lock = true },
        { .cache = PT_CACHE_ALWAYS,
          .writeback = true,
          .allow_direct_io = true,
          .preserve_noatime = true,
          .nfs_export = true,
          .readdirplus = true },
        { .cache = PT_CACHE_METADATA, .readonly = true, .xattr = true },
        { .cache = PT_CACHE_NEVER,
          .attr_timeout_s = 3,
          .xattr = true,
          /* :prefix:all:user.:user.v.: and :bad:all::: */
          .xattrmap = { .n = 2,
                        .rule = { { .scope = 3,
                                    .key_len = 5,
                                    .prepend_len = 7 },
                                  { .type = XATTRMAP_BAD, .scope = 3 } },
                        .text = "user.v." } },
    };

    memset(w, 0, sizeof(*w));
    log_set_level(LOG_LEVEL_OFF);
    session_log_setup();
    FUZZ_CHECK(pt_fs_create(&opts[kind % WORLD_KINDS], share_root(),
                            share_proc(), &w->fs) == 0);
    w->nfs_export = opts[kind % WORLD_KINDS].nfs_export;
    w->life = life_create(w->fs);
    FUZZ_CHECK(w->life && exec_init(&w->exec, w->life) == 0);
    life_use_ring(w->life, WORLD_RING);
    life_use_ring(w->life, 0);
}

void world_close(struct world *w)
{
    life_destroy(w->life);
    pt_fs_destroy(w->fs);
    exec_fini(&w->exec);
}

static void gain(struct known *k, uint32_t *n, uint64_t id)
{
    for (uint32_t i = 0; i < *n; i++) {
        if (k[i].id == id) {
            k[i].count++;
            return;
        }
    }
    FUZZ_CHECK(*n < WORLD_KNOWN_MAX);
    k[(*n)++] = (struct known){ id, 1 };
}

static void lose(struct known *k, uint32_t *n, uint64_t id, uint64_t count)
{
    for (uint32_t i = 0; i < *n; i++) {
        if (k[i].id != id)
            continue;
        k[i].count -= MIN(k[i].count, count);
        if (k[i].count == 0)
            k[i] = k[--*n];
        return;
    }
}

uint64_t world_node(const struct world *w, uint8_t which)
{
    return w->n_nodes ? w->node[which % w->n_nodes].id : FUSE_ROOT_ID;
}

uint64_t world_handle(const struct world *w, uint8_t which)
{
    return w->n_handles ? w->handle[which % w->n_handles].id : 0;
}

/* The root, which an export may look up as "." and "..", is not counted. */
static void gain_node(struct world *w, uint64_t id)
{
    if (id != 0 && id != FUSE_ROOT_ID)
        gain(w->node, &w->n_nodes, id);
}

static void lose_node(struct world *w, uint64_t id, uint64_t count)
{
    if (id != FUSE_ROOT_ID)
        lose(w->node, &w->n_nodes, id, count);
}

static void heard_batch(struct world *w, const uint8_t *in, size_t len)
{
    struct fuse_batch_forget_in b;
    struct fuse_forget_one one;

    if (len < HDR + sizeof(b))
        return;
    memcpy(&b, in + HDR, sizeof(b));
    len -= HDR + sizeof(b);
    if (b.count > len / sizeof(one))
        return; /* refused as a whole */
    for (uint32_t i = 0; i < b.count; i++) {
        memcpy(&one, in + HDR + sizeof(b) + i * sizeof(one), sizeof(one));
        lose_node(w, one.nodeid, one.nlookup);
    }
}

static void heard_entry(struct world *w, const uint8_t *out, size_t len)
{
    struct fuse_entry_out e;

    FUZZ_CHECK(len >= OUT + sizeof(e));
    memcpy(&e, out + OUT, sizeof(e));
    gain_node(w, e.nodeid);
}

static void heard_open(struct world *w, const uint8_t *out, size_t len,
                       size_t at)
{
    struct fuse_open_out o;

    FUZZ_CHECK(len >= at + sizeof(o));
    memcpy(&o, out + at, sizeof(o));
    gain(w->handle, &w->n_handles, o.fh);
}

static void heard_plus(struct world *w, const uint8_t *out, size_t len)
{
    size_t at = OUT;

    while (at < len) {
        struct fuse_direntplus d;

        FUZZ_CHECK(len - at >= sizeof(d));
        memcpy(&d, out + at, sizeof(d));
        FUZZ_CHECK(d.dirent.namelen > 0 && d.dirent.namelen <= 255);
        FUZZ_CHECK(len - at >= FUSE_DIRENTPLUS_SIZE(&d));
        gain_node(w, d.entry_out.nodeid);
        at += FUSE_DIRENTPLUS_SIZE(&d);
    }
}

static void heard_reply(struct world *w, const struct fuse_in_header *h,
                        const uint8_t *in, const uint8_t *out, size_t out_len)
{
    uint64_t fh;

    switch (h->opcode) {
    case FUSE_LOOKUP:
    case FUSE_MKDIR:
    case FUSE_MKNOD:
    case FUSE_SYMLINK:
    case FUSE_LINK:
        heard_entry(w, out, out_len);
        break;
    case FUSE_CREATE:
    case PROTO_TMPFILE:
        heard_entry(w, out, out_len);
        heard_open(w, out, out_len, OUT + sizeof(struct fuse_entry_out));
        break;
    case FUSE_OPEN:
    case FUSE_OPENDIR:
        heard_open(w, out, out_len, OUT);
        break;
    case FUSE_RELEASE:
    case FUSE_RELEASEDIR:
        memcpy(&fh, in + HDR, sizeof(fh));
        lose(w->handle, &w->n_handles, fh, 1);
        break;
    case FUSE_READDIRPLUS:
        heard_plus(w, out, out_len);
        break;
    case FUSE_INIT:
    case FUSE_DESTROY:
        w->n_nodes = w->n_handles = 0;
        break;
    default:
        break;
    }
}

void world_heard(struct world *w, const uint8_t *in, size_t in_len,
                 const uint8_t *out, size_t out_len)
{
    struct fuse_out_header o;
    struct fuse_in_header h;
    uint64_t n;

    if (in_len < HDR)
        return;
    memcpy(&h, in, sizeof(h));
    if (h.len < HDR || h.len > in_len)
        return;
    in_len = h.len;
    if (h.opcode == FUSE_FORGET && in_len >= HDR + sizeof(n)) {
        memcpy(&n, in + HDR, sizeof(n));
        lose_node(w, h.nodeid, n);
    } else if (h.opcode == FUSE_BATCH_FORGET) {
        heard_batch(w, in, in_len);
    }
    if (out_len < OUT)
        return;
    memcpy(&o, out, sizeof(o));
    if (o.error == 0)
        heard_reply(w, &h, in, out, out_len);
}

int world_ask(struct world *w, struct guest_ring *g, uint32_t opcode,
              uint64_t nodeid, const void *body, size_t len, size_t room)
{
    struct fuse_in_header h = { .len = (uint32_t)(HDR + len),
                                .opcode = opcode,
                                .nodeid = nodeid,
                                .unique = 4711 };
    uint64_t out_gpa = BUF_GPA + 0x1000;
    struct seg segs[] = { { BUF_GPA, h.len, false },
                          { out_gpa, (uint32_t)room, true } };
    struct fuse_out_header out;
    uint32_t used = 0;
    uint16_t head;

    FUZZ_CHECK(h.len <= 0x1000 && room <= 0x1000);
    ring_write(g, BUF_GPA, &h, HDR);
    ring_write(g, BUF_GPA + HDR, body, len);
    ring_put(g, segs, room ? 2 : 1, false);
    FUZZ_CHECK(vring_pop(&g->v, &head) == 1);
    FUZZ_CHECK(serve_request(&w->exec, &g->v, WORLD_RING, head, &used) == 0);
    vring_push(&g->v, head, used);
    world_heard(w, ring_at(g, BUF_GPA, h.len), h.len,
                ring_at(g, out_gpa, 0x1000), used);
    if (used == 0)
        return 1;
    memcpy(&out, ring_at(g, out_gpa, sizeof(out)), sizeof(out));
    FUZZ_CHECK(out.len == used && out.unique == 4711);
    return out.error;
}

int world_init(struct world *w, struct guest_ring *g)
{
    struct fuse_init_in in = {
        .major = 7, .minor = 36, .max_readahead = 131072, .flags = 0x73fffffb
    };

    return world_ask(w, g, FUSE_INIT, 0, &in, sizeof(in), 80);
}

void world_settle(struct world *w, struct guest_ring *g)
{
    struct pt_fs_counts n;

    while (w->n_handles > 0) {
        struct fuse_release_in in = { .fh = w->handle[0].id };

        if (world_ask(w, g, FUSE_RELEASE, 1, &in, sizeof(in), 16) != 0)
            FUZZ_CHECK(
                world_ask(w, g, FUSE_RELEASEDIR, 1, &in, sizeof(in), 16) == 0);
    }
    while (w->n_nodes > 0) {
        struct fuse_forget_in in = { .nlookup = w->node[0].count };

        FUZZ_CHECK(world_ask(w, g, FUSE_FORGET, w->node[0].id, &in, sizeof(in),
                             0) == 1);
    }
    pt_fs_count(w->fs, &n);
    /* An export keeps some for a while. */
    FUZZ_CHECK(n.nodes == 1 || w->nfs_export);
    FUZZ_CHECK(n.handles == 0);
    life_end(w->life);
    pt_fs_count(w->fs, &n);
    FUZZ_CHECK(n.nodes == 1);
    FUZZ_CHECK(n.handles == 0);
    FUZZ_CHECK(n.lock_owners == 0);
}
