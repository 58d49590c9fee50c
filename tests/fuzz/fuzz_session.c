/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * FUSE requests as a guest puts them on a ring, cut into descriptors in any
 * way, through chain, validation, libfuse and the file system, on a tree of
 * its own.  Each wants exactly one answer, and in the end nothing is left.
 *
 * Input: u8 flags (bit 0: no INIT first; bits 1 and 2: options), then
 * requests of { u8 opcode, u8 node, u8 second, u8 control, u16 room,
 * u16 length, [u16 claimed length,] [u16 visible length,] body }.
 * Ids in the body are put in by number, since no input can know them.
 */
#include <errno.h>
#include <string.h>

#include "fuse/validate.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/share.h"
#include "tests/fuzz/world.h"

#define REQUESTS_MAX 96
#define BODY_MAX     ((size_t)70000)
#define CANARY_BYTES 64
#define CANARY       0x5a

/* Bits of control. */
#define C_CUT      0x03 /* how the request is cut, see cut() */
#define C_INDIRECT 0x04
#define C_CLAIM    0x08 /* the header's length is what the input says */
#define C_SHORT    0x10 /* part of the request only is in the chain */
#define C_ROOT     0x20 /* the caller is root, else somebody */
#define C_RAW      0x40 /* ids in the body stay as they are */
#define C_EMPTY    0x80 /* descriptors of no length in between */

static struct guest_ring guest;
static struct world worlds[WORLD_KINDS];

struct req {
    uint8_t bytes[sizeof(struct fuse_in_header) + BODY_MAX];
    size_t len;     /* as written */
    size_t visible; /* in the chain */
    size_t room;
    uint8_t control;
};

static void setup(void)
{
    if (guest.mm)
        return;
    share_reset();
    ring_open(&guest);
    for (unsigned int i = 0; i < WORLD_KINDS; i++)
        world_open(&worlds[i], i);
}

static uint32_t opcode_of(uint8_t v)
{
    static const uint32_t rare[] = { 4096, UINT32_MAX, 1U << 31, 0x10001 };

    return v < 0xfc ? v : rare[v - 0xfc];
}

static uint64_t node_of(const struct world *w, uint8_t v)
{
    switch (v) {
    case 0:
        return FUSE_ROOT_ID;
    case 0xfb:
        return 0;
    case 0xfc:
        return world_node(w, 0) + (UINT64_C(1) << 32); /* of the next life */
    case 0xfd:
        return UINT64_MAX;
    case 0xfe:
        return UINT32_MAX;
    case 0xff:
        return 2048;
    default:
        return world_node(w, v - 1);
    }
}

static void put64(uint8_t *body, size_t len, size_t at, uint64_t v)
{
    if (len >= at + sizeof(v))
        memcpy(body + at, &v, sizeof(v));
}

/* Put ids where this request has them. */
static void put_ids(const struct world *w, uint32_t opcode, uint8_t which,
                    uint8_t *body, size_t len)
{
    uint64_t fh = which < 0xfc ? world_handle(w, which) : UINT64_MAX - which;

    switch (opcode) {
    case FUSE_READ:
    case FUSE_WRITE:
    case FUSE_RELEASE:
    case FUSE_FSYNC:
    case FUSE_FLUSH:
    case FUSE_READDIR:
    case FUSE_READDIRPLUS:
    case FUSE_RELEASEDIR:
    case FUSE_FSYNCDIR:
    case FUSE_LSEEK:
    case FUSE_FALLOCATE:
        put64(body, len, 0, fh);
        break;
    case FUSE_SETATTR:
        put64(body, len, 8, fh);
        break;
    case FUSE_LINK:
    case FUSE_RENAME:
    case FUSE_RENAME2:
        put64(body, len, 0, node_of(w, which));
        break;
    case FUSE_BATCH_FORGET:
        put64(body, len, 8, node_of(w, which));
        break;
    case FUSE_COPY_FILE_RANGE:
        put64(body, len, 0, fh);
        put64(body, len, 24, world_handle(w, which / 2));
        break;
    default:
        break;
    }
}

static void read_request(const struct world *w, struct fuzz_in *in,
                         struct req *q)
{
    struct fuse_in_header h = {
        .unique = 0x1122334455667788, .uid = 1000, .gid = 100, .pid = 4711
    };
    uint8_t *body = q->bytes + sizeof(h), which;
    size_t len;
    const uint8_t *p;

    h.opcode = opcode_of((uint8_t)fuzz_uint(in, 1));
    h.nodeid = node_of(w, (uint8_t)fuzz_uint(in, 1));
    which = (uint8_t)fuzz_uint(in, 1);
    q->control = (uint8_t)fuzz_uint(in, 1);
    q->room = fuzz_uint(in, 2);
    len = MIN(fuzz_uint(in, 2), BODY_MAX);
    if (q->control & C_ROOT)
        h.uid = h.gid = 0;
    h.len = (uint32_t)(sizeof(h) + len);
    if (q->control & C_CLAIM)
        h.len = (uint32_t)fuzz_uint(in, 2);
    q->len = q->visible = sizeof(h) + len;
    if (q->control & C_SHORT)
        q->visible = MIN(fuzz_uint(in, 2), q->len);
    p = fuzz_take(in, &len);
    memcpy(q->bytes, &h, sizeof(h));
    memset(body, 0, q->len - sizeof(h));
    if (len > 0)
        memcpy(body, p, len);
    if (!(q->control & C_RAW))
        put_ids(w, h.opcode, which, body, q->len - sizeof(h));
}

/* Cut @len bytes at @gpa into descriptors. Return: how many there are now. */
static uint32_t cut(struct seg *segs, uint32_t n, uint64_t gpa, size_t len,
                    size_t header, bool write, uint8_t control)
{
    static const size_t first[] = { SIZE_MAX, 0, 7, 1 };
    uint32_t mode = control & C_CUT, begun = n;
    size_t part = mode == 1 ? header : first[mode];

    while (len > 0) {
        size_t now = MIN(part, len);

        if ((control & C_EMPTY) && n < 24)
            segs[n++] = (struct seg){ gpa, 0, write };
        segs[n++] = (struct seg){ gpa, (uint32_t)now, write };
        gpa += now;
        len -= now;
        /* Small pieces at the head, where the parsing is. */
        if (mode == 1 || n - begun > 40)
            part = SIZE_MAX;
    }
    return n;
}

/* The whole request lies across the border of the two regions or before
 * it, with the reply's room behind, ended by a canary. */
static uint64_t lay_out(const struct req *q)
{
    uint64_t at = BUF_GPA + BUF_BYTES - q->visible / 2;
    uint8_t canary[CANARY_BYTES];
    uint64_t out = at + q->visible + CANARY_BYTES;

    memset(canary, CANARY, sizeof(canary));
    ring_write(&guest, at, q->bytes, q->visible);
    ring_write(&guest, out - CANARY_BYTES, canary, CANARY_BYTES);
    ring_write(&guest, out + q->room, canary, CANARY_BYTES);
    return out;
}

static void check_canary(uint64_t gpa)
{
    for (uint64_t i = 0; i < CANARY_BYTES; i++)
        FUZZ_CHECK(*(uint8_t *)ring_at(&guest, gpa + i, 1) == CANARY);
}

static void read_out(uint64_t gpa, uint8_t *to, size_t len)
{
    while (len > 0) {
        uint64_t got;
        void *va;

        FUZZ_CHECK(memmap_piece(guest.mm, (gpa_t){ gpa }, len, &va, &got) == 0);
        memcpy(to, va, got);
        gpa += got;
        to += got;
        len -= got;
    }
}

static bool wants_reply(const struct req *q)
{
    struct fuse_in_header h;

    if (q->visible < sizeof(h) || q->room < sizeof(struct fuse_out_header))
        return false;
    memcpy(&h, q->bytes, sizeof(h));
    return !validate_no_reply(h.opcode);
}

/* Is the length in the header one that can not be? */
static bool claims_wrong(const struct req *q)
{
    struct fuse_in_header h;

    memcpy(&h, q->bytes, sizeof(h));
    return h.len < sizeof(h) || h.len > q->visible;
}

/* Exactly one answer, whole, to this request and within its room. */
static void check_answer(struct world *w, const struct req *q, uint64_t out,
                         uint32_t used)
{
    static uint8_t reply[UINT16_MAX + 1];
    struct fuse_out_header o;

    check_canary(out - CANARY_BYTES);
    check_canary(out + q->room);
    FUZZ_CHECK(used <= q->room);
    FUZZ_CHECK((used > 0) == wants_reply(q));
    if (used > 0) {
        FUZZ_CHECK(used >= sizeof(o));
        read_out(out, reply, used);
        memcpy(&o, reply, sizeof(o));
        FUZZ_CHECK(o.len == used);
        FUZZ_CHECK(o.unique == 0x1122334455667788);
        FUZZ_CHECK(o.error <= 0 && o.error > -512);
        FUZZ_CHECK(o.error == 0 || used == sizeof(o));
        FUZZ_CHECK(!claims_wrong(q) || o.error == -EINVAL);
    }
    world_heard(w, q->bytes, q->visible, reply, used);
}

static void one_request(struct world *w, struct fuzz_in *in)
{
    static struct req q;
    struct seg segs[256];
    bool indirect;
    uint32_t n = 0, used = 0;
    uint16_t head;
    uint64_t out;

    read_request(w, in, &q);
    out = lay_out(&q);
    n = cut(segs, n, BUF_GPA + BUF_BYTES - q.visible / 2, q.visible,
            sizeof(struct fuse_in_header), false, q.control);
    n = cut(segs, n, out, q.room, sizeof(struct fuse_out_header), true,
            q.control);
    if (n == 0)
        segs[n++] = (struct seg){ BUF_GPA, 0, false };
    indirect = q.control & C_INDIRECT;
    ring_put(&guest, segs, n, indirect);
    FUZZ_CHECK(vring_pop(&guest.v, &head) == 1);
    FUZZ_CHECK(serve_request(&w->exec, &guest.v, WORLD_RING, head, &used) == 0);
    vring_push(&guest.v, head, used);
    check_answer(w, &q, out, used);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_in in = { data, size };
    uint8_t flags = (uint8_t)fuzz_uint(&in, 1);
    struct world *w;
    int before;

    setup();
    w = &worlds[(flags >> 1) % WORLD_KINDS];
    (void)fuzz_count_fds();
    before = fuzz_count_fds();
    if (!(flags & 1))
        FUZZ_CHECK(world_init(w, &guest) == 0);
    for (int i = 0; in.left > 0 && i < REQUESTS_MAX; i++)
        one_request(w, &in);
    world_settle(w, &guest);
    FUZZ_CHECK(fuzz_count_fds() == before);
    share_reset();
    return 0;
}
