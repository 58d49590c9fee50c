/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/protocol/vm.h"

#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * Messages no front-end should send.  Each is refused, by an acknowledgement
 * that says no or by the end of the connection; none is obeyed, none is
 * ignored, and the daemon exits as it does at a disconnect or with 1.
 */

enum stage {
    FRESH,      /* connected only */
    NEGOTIATED, /* features, memory; no ring started */
    RUNNING,    /* rings started and enabled */
    PLAIN,      /* as NEGOTIATED, with no protocol feature but REPLY_ACK */
};

enum fd_kind {
    MEMFD, /* 1 MiB */
    EVENTFD,
    READONLY, /* a file that can not be mapped writable */
    SOCKET,
};

#define MIB (1u << 20)
/* Where nothing of the guest's memory is. */
#define FAR               ((uint64_t)1 << 40)
#define STATE(index, num) ((uint64_t)(num) << 32 | (index))

struct row {
    const char *why;
    enum stage stage;
    uint32_t request;
    uint32_t bytes; /* of payload, from w */
    uint64_t w[10];
    int nfds;
    enum fd_kind kind;
    uint32_t claim;  /* size in the header, when not @bytes */
    uint32_t flags;  /* in the header, when not the right ones */
    bool must_close; /* a reply can not say no */
};

/* clang-format off */
static const struct row wire_rows[] = {
    { "no such version", NEGOTIATED, FE_GET_FEATURES, .flags = 2,
      .must_close = true },
    { "version 0", NEGOTIATED, FE_GET_FEATURES, .flags = 8,
      .must_close = true },
    { "a reply nobody asked for", NEGOTIATED, FE_SET_OWNER, .flags = 5,
      .must_close = true },
    { "payload of 4 GiB", NEGOTIATED, FE_SET_FEATURES, .claim = UINT32_MAX,
      .must_close = true },
    { "payload of 64 KiB", NEGOTIATED, FE_SET_FEATURES, .claim = 65536,
      .must_close = true },
    { "request 0", NEGOTIATED, 0 },
    { "a request nobody knows", NEGOTIATED, 99 },
    { "the largest request", NEGOTIATED, UINT32_MAX },
    { "SEND_RARP", NEGOTIATED, FE_SEND_RARP, 8 },
    { "NET_SET_MTU", NEGOTIATED, FE_NET_SET_MTU, 8 },
    { "IOTLB", NEGOTIATED, FE_IOTLB_MSG, 40 },
    { "SET_VRING_ENDIAN", NEGOTIATED, FE_SET_VRING_ENDIAN, 8 },
    { "in-band VRING_KICK", RUNNING, FE_VRING_KICK, 8 },
    { "GET_INFLIGHT_FD", NEGOTIATED, FE_GET_INFLIGHT_FD, 24,
      .must_close = true },
    { "SET_FEATURES too short", NEGOTIATED, FE_SET_FEATURES, 4 },
    { "SET_FEATURES too long", NEGOTIATED, FE_SET_FEATURES, 16 },
    { "SET_FEATURES with an fd", NEGOTIATED, FE_SET_FEATURES, 8, .nfds = 1 },
    { "GET_FEATURES with a payload", NEGOTIATED, FE_GET_FEATURES, 8,
      .must_close = true },
    { "SET_OWNER with an fd", FRESH, FE_SET_OWNER, .nfds = 1,
      .must_close = true },
    { "SET_OWNER twice", NEGOTIATED, FE_SET_OWNER },
    { "GET_CONFIG not negotiated", NEGOTIATED, FE_GET_CONFIG, 16,
      { STATE(0, 4), 0 } },
    { "GET_STATUS not negotiated", PLAIN, FE_GET_STATUS, .must_close = true },
    { "SET_STATUS not negotiated", PLAIN, FE_SET_STATUS, 8 },
    { "ADD_MEM_REG not negotiated", PLAIN, FE_ADD_MEM_REG, 40,
      { 0, FAR, MIB, FAR, 0 }, 1 },
    { "SET_BACKEND_REQ_FD without fd", NEGOTIATED, FE_SET_BACKEND_REQ_FD },
    { "SET_LOG_BASE without fd", NEGOTIATED, FE_SET_LOG_BASE, 16, { 4096, 0 },
      .must_close = true },
    { "SET_LOG_BASE beyond the file", NEGOTIATED, FE_SET_LOG_BASE, 16,
      { MIB, 4096 }, 1 },
    { "SET_LOG_BASE wraps", NEGOTIATED, FE_SET_LOG_BASE, 16,
      { UINT64_MAX, 4096 }, 1 },
    { "SET_LOG_BASE of nothing", NEGOTIATED, FE_SET_LOG_BASE, 16, { 0, 0 }, 1 },
};

static const struct row memory_rows[] = {
    { "nine regions", NEGOTIATED, FE_SET_MEM_TABLE, 72, { 9 }, 9 },
    { "UINT32_MAX regions", NEGOTIATED, FE_SET_MEM_TABLE, 40,
      { UINT32_MAX, FAR, MIB, FAR, 0 }, 1 },
    { "regions but no payload", NEGOTIATED, FE_SET_MEM_TABLE, 8, { 1 }, 1 },
    { "a table without its head", NEGOTIATED, FE_SET_MEM_TABLE, 4, { 0 } },
    { "an empty message", NEGOTIATED, FE_SET_MEM_TABLE },
    { "a region without fd", NEGOTIATED, FE_SET_MEM_TABLE, 40,
      { 1, FAR, MIB, FAR, 0 } },
    { "two fds for one region", NEGOTIATED, FE_SET_MEM_TABLE, 40,
      { 1, FAR, MIB, FAR, 0 }, 2 },
    { "two regions that overlap", NEGOTIATED, FE_SET_MEM_TABLE, 72,
      { 2, FAR, MIB, FAR, 0, FAR + MIB - 4096, MIB, 2 * FAR, 0 }, 2 },
    { "twice the same region", NEGOTIATED, FE_SET_MEM_TABLE, 72,
      { 2, FAR, MIB, FAR, 0, FAR, MIB, FAR, 0 }, 2 },
    { "an empty region in a table", NEGOTIATED, FE_SET_MEM_TABLE, 40,
      { 1, FAR, 0, FAR, 0 }, 1 },
    { "a region without fd, one by one", NEGOTIATED, FE_ADD_MEM_REG, 40,
      { 0, FAR, MIB, FAR, 0 } },
    { "two fds, one by one", NEGOTIATED, FE_ADD_MEM_REG, 40,
      { 0, FAR, MIB, FAR, 0 }, 2 },
    { "half a region", NEGOTIATED, FE_ADD_MEM_REG, 24, { 0, FAR, MIB }, 1 },
    { "an empty region", NEGOTIATED, FE_ADD_MEM_REG, 40,
      { 0, FAR, 0, FAR, 0 }, 1 },
    { "overlaps one that is there", NEGOTIATED, FE_ADD_MEM_REG, 40,
      { 0, 4096, MIB, FAR, 0 }, 1 },
    { "wraps the guest's addresses", NEGOTIATED, FE_ADD_MEM_REG, 40,
      { 0, 0 - (uint64_t)4096, MIB, FAR, 0 }, 1 },
    { "wraps the front-end's addresses", NEGOTIATED, FE_ADD_MEM_REG, 40,
      { 0, FAR, MIB, 0 - (uint64_t)4096, 0 }, 1 },
    { "wraps the file", NEGOTIATED, FE_ADD_MEM_REG, 40,
      { 0, FAR, MIB, FAR, 0 - (uint64_t)4096 }, 1 },
    { "one page past the end of file", NEGOTIATED, FE_ADD_MEM_REG, 40,
      { 0, FAR, MIB, FAR, 4096 }, 1 },
    { "larger than the file", NEGOTIATED, FE_ADD_MEM_REG, 40,
      { 0, FAR, 2 * MIB, FAR, 0 }, 1 },
    { "begins past the end of file", NEGOTIATED, FE_ADD_MEM_REG, 40,
      { 0, FAR, 4096, FAR, 2 * MIB }, 1 },
    { "of almost all addresses", NEGOTIATED, FE_ADD_MEM_REG, 40,
      { 0, FAR, (uint64_t)1 << 62, FAR, 0 }, 1 },
    { "in an eventfd", NEGOTIATED, FE_ADD_MEM_REG, 40,
      { 0, FAR, MIB, FAR, 0 }, 1, EVENTFD },
    { "in a socket", NEGOTIATED, FE_ADD_MEM_REG, 40,
      { 0, FAR, MIB, FAR, 0 }, 1, SOCKET },
    { "in a file that can not be written", NEGOTIATED, FE_ADD_MEM_REG, 40,
      { 0, FAR, 4096, FAR, 0 }, 1, READONLY },
    { "a region that is not there is removed", NEGOTIATED, FE_REM_MEM_REG, 40,
      { 0, FAR, MIB, FAR, 0 } },
    { "part of a region is removed", NEGOTIATED, FE_REM_MEM_REG, 40,
      { 0, 0, 4096, 0, 0 } },
};

static const struct row ring_rows[] = {
    { "NUM of ring 65", NEGOTIATED, FE_SET_VRING_NUM, 8, { STATE(65, 128) } },
    { "NUM of the last ring there is", NEGOTIATED, FE_SET_VRING_NUM, 8,
      { STATE(UINT32_MAX, 128) } },
    { "NUM 0", NEGOTIATED, FE_SET_VRING_NUM, 8, { STATE(1, 0) } },
    { "NUM 3", NEGOTIATED, FE_SET_VRING_NUM, 8, { STATE(1, 3) } },
    { "NUM 65536", NEGOTIATED, FE_SET_VRING_NUM, 8, { STATE(1, 65536) } },
    { "NUM 2^31", NEGOTIATED, FE_SET_VRING_NUM, 8, { STATE(1, 1u << 31) } },
    { "NUM of a ring that runs", RUNNING, FE_SET_VRING_NUM, 8,
      { STATE(1, 64) } },
    { "NUM cut short", NEGOTIATED, FE_SET_VRING_NUM, 4, { 1 } },
    { "BASE of ring 65", NEGOTIATED, FE_SET_VRING_BASE, 8, { STATE(65, 0) } },
    { "BASE 65536", NEGOTIATED, FE_SET_VRING_BASE, 8, { STATE(1, 65536) } },
    { "BASE of a ring that runs", RUNNING, FE_SET_VRING_BASE, 8,
      { STATE(1, 5) } },
    { "GET_VRING_BASE of ring 65", NEGOTIATED, FE_GET_VRING_BASE, 8,
      { STATE(65, 0) }, .must_close = true },
    { "GET_VRING_BASE cut short", RUNNING, FE_GET_VRING_BASE, 4, { 1 },
      .must_close = true },
    { "ADDR of ring 65", NEGOTIATED, FE_SET_VRING_ADDR, 40, { 65 } },
    { "ADDR cut short", NEGOTIATED, FE_SET_VRING_ADDR, 32, { 1 } },
    { "KICK of ring 255", NEGOTIATED, FE_SET_VRING_KICK, 8, { 255 }, 1,
      EVENTFD },
    { "KICK of ring 65", NEGOTIATED, FE_SET_VRING_KICK, 8, { 65 }, 1,
      EVENTFD },
    { "KICK without fd", NEGOTIATED, FE_SET_VRING_KICK, 8, { 1 } },
    { "KICK with two fds", NEGOTIATED, FE_SET_VRING_KICK, 8, { 1 }, 2,
      EVENTFD },
    { "KICK with and without fd", NEGOTIATED, FE_SET_VRING_KICK, 8,
      { 1 | FE_VRING_NOFD }, 1, EVENTFD },
    { "KICK cut short", NEGOTIATED, FE_SET_VRING_KICK, 4, { 1 }, 1, EVENTFD },
    { "CALL of ring 65", NEGOTIATED, FE_SET_VRING_CALL, 8, { 65 }, 1,
      EVENTFD },
    { "CALL without fd", NEGOTIATED, FE_SET_VRING_CALL, 8, { 1 } },
    { "CALL with sixteen fds", NEGOTIATED, FE_SET_VRING_CALL, 8, { 1 }, 16,
      EVENTFD },
    { "ERR of ring 65", NEGOTIATED, FE_SET_VRING_ERR, 8, { 65 }, 1, EVENTFD },
    { "ERR without fd", NEGOTIATED, FE_SET_VRING_ERR, 8, { 1 } },
    { "ENABLE of ring 65", NEGOTIATED, FE_SET_VRING_ENABLE, 8,
      { STATE(65, 1) } },
    { "ENABLE 2", RUNNING, FE_SET_VRING_ENABLE, 8, { STATE(1, 2) } },
    { "sixty fds", RUNNING, FE_GET_FEATURES, .nfds = 60, .kind = EVENTFD,
      .must_close = true },
};
/* clang-format on */

static bool start_at(struct vm *vm, enum stage stage)
{
    struct vm_opts o = { .no_start = stage != RUNNING };

    if (stage == PLAIN)
        o.proto = BIT64(FE_PF_REPLY_ACK);
    if (stage != FRESH)
        return vm_start(vm, &o);
    memset(vm, 0, sizeof(*vm));
    vm->fe.fd = -1;
    vm->d = daemon_start(NULL);
    return vm->d &&
           CHECK_EQ(fe_connect(&vm->fe, daemon_socket(vm->d)), 0, "connect");
}

static int make_fd(enum fd_kind kind)
{
    int fd = -1;

    switch (kind) {
    case MEMFD:
        fd = memfd_create("region", MFD_CLOEXEC);
        if (ftruncate(fd, MIB) < 0)
            CHECK(false, "a memfd of its size");
        break;
    case EVENTFD:
        fd = eventfd(0, EFD_CLOEXEC);
        break;
    case READONLY:
        fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
        break;
    case SOCKET:
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        break;
    }
    return fd;
}

static int send_row(struct vm *vm, const struct row *r)
{
    struct {
        struct fe_hdr h;
        uint8_t payload[sizeof(r->w)];
    } msg;
    int fds[64], ret;

    memset(&msg, 0, sizeof(msg));
    msg.h.request = r->request;
    msg.h.flags = r->flags ? r->flags : FE_VERSION | FE_NEED_REPLY;
    msg.h.size = r->claim ? r->claim : r->bytes;
    memcpy(msg.payload, r->w, r->bytes);
    for (int i = 0; i < r->nfds; i++)
        fds[i] = make_fd(r->kind);
    ret = fe_send_raw(&vm->fe, &msg, sizeof(msg.h) + r->bytes, fds, r->nfds);
    for (int i = 0; i < r->nfds; i++)
        close(fds[i]);
    return ret;
}

/* What came back: a clear no, the end, or something wrong. */
static bool is_refused(struct vm *vm, const struct row *r)
{
    struct fe_msg m;
    int ret = fe_recv(&vm->fe, &m);

    if (ret == -ECONNRESET)
        return true;
    if (ret < 0 || r->must_close)
        return false;
    if (m.h.request == FE_GET_CONFIG && m.h.size == 0)
        return true;
    return m.h.size == 8 && m.p.u64 != 0;
}

static void refuse(const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct vm vm;

        if (start_at(&vm, rows[i].stage)) {
            int ret = send_row(&vm, &rows[i]);

            CHECK(ret == 0 || ret == -ECONNRESET, rows[i].why);
            CHECK(is_refused(&vm, &rows[i]), rows[i].why);
        }
        fe_close(&vm.fe);
        if (!daemon_end(vm.d, END_EXIT))
            tap_diag("at: %s", rows[i].why);
        vm.d = NULL;
        vm_end(&vm);
        if (tap_failing())
            tap_diag("so far: %s", rows[i].why);
    }
}

static void messages_of_a_wrong_shape_are_refused(void)
{
    refuse(wire_rows, ARRAY_SIZE(wire_rows));
}

static void memory_that_can_not_be_is_refused(void)
{
    refuse(memory_rows, ARRAY_SIZE(memory_rows));
}

static void rings_that_can_not_be_are_refused(void)
{
    refuse(ring_rows, ARRAY_SIZE(ring_rows));
}

static void a_connection_cut_anywhere_ends_it_well(void)
{
    struct fe_hdr h = { FE_SET_FEATURES, FE_VERSION, 8 };
    uint8_t msg[20] = { 0 };

    memcpy(msg, &h, sizeof(h));
    for (size_t cut = 1; cut < sizeof(msg); cut += 3) {
        struct vm vm;

        if (start_at(&vm, FRESH))
            CHECK_EQ(fe_send_raw(&vm.fe, msg, cut, NULL, 0), 0, "");
        fe_close(&vm.fe);
        daemon_end(vm.d, END_EXIT);
        vm.d = NULL;
        vm_end(&vm);
    }
}

static void a_message_in_pieces_is_whole(void)
{
    struct vm vm;
    struct fe_hdr h[2] = { { FE_GET_FEATURES, FE_VERSION, 0 },
                           { FE_GET_FEATURES, FE_VERSION, 0 } };
    struct fe_msg m;

    if (start_at(&vm, FRESH)) {
        for (size_t i = 0; i < sizeof(h[0]); i++)
            fe_send_raw(&vm.fe, (char *)h + i, 1, NULL, 0);
        CHECK_EQ(fe_recv(&vm.fe, &m), 0, "byte by byte");
        fe_send_raw(&vm.fe, h, sizeof(h), NULL, 0);
        CHECK_EQ(fe_recv(&vm.fe, &m), 0, "the first of two at once");
        CHECK_EQ(fe_recv(&vm.fe, &m), 0, "the second");
        CHECK_EQ(m.h.size, 8, "");
    }
    vm_end(&vm);
}

static const struct {
    const char *why;
    int64_t desc, avail, used; /* added to the right ones */
} addr_rows[] = {
    { "descriptors not aligned", 1, 0, 0 },
    { "avail not aligned", 0, 1, 0 },
    { "used not aligned", 0, 0, 2 },
    { "descriptors nowhere", (int64_t)FAR, 0, 0 },
    { "avail nowhere", 0, (int64_t)FAR, 0 },
    { "used nowhere", 0, 0, (int64_t)FAR },
};

static int start_elsewhere(struct vm *vm, int64_t desc, int64_t avail,
                           int64_t used)
{
    struct guest_queue *q = &vm->q[1];
    struct fe_addr a = {
        .index = 1,
        .desc = guest_uva(&vm->mem, q->desc_gpa) + (uint64_t)desc,
        .avail = guest_uva(&vm->mem, q->avail_gpa) + (uint64_t)avail,
        .used = guest_uva(&vm->mem, q->used_gpa) + (uint64_t)used,
    };
    uint64_t kick = 1;
    int ret = fe_set_state(&vm->fe, FE_SET_VRING_NUM, 1, q->size);

    if (ret == 0)
        ret = fe_set(&vm->fe, FE_SET_VRING_ADDR, &a, sizeof(a), NULL, 0, true);
    if (ret == 0)
        ret =
            fe_set(&vm->fe, FE_SET_VRING_KICK, &kick, 8, &q->kick_fd, 1, true);
    return ret < 0 ? ret : fe_ring_enable(&vm->fe, q, true);
}

/*
 * Memory may still be on its way when a ring is set up, so the daemon may
 * wait as well as refuse; but then right addresses must heal the ring.
 */
static void rings_outside_memory_are_refused_or_wait(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(addr_rows); i++) {
        struct vm vm;

        if (start_at(&vm, NEGOTIATED)) {
            int ret = start_elsewhere(&vm, addr_rows[i].desc,
                                      addr_rows[i].avail, addr_rows[i].used);

            CHECK(ret == 0 || vm_refused(ret), addr_rows[i].why);
            if (ret != -ECONNRESET) {
                CHECK_EQ(start_elsewhere(&vm, 0, 0, 0), 0, addr_rows[i].why);
                CHECK_EQ(fc_init(&vm.q[1], 0, NULL), 0, addr_rows[i].why);
            }
        }
        fe_close(&vm.fe);
        daemon_end(vm.d, END_EXIT);
        vm.d = NULL;
        vm_end(&vm);
    }
}

static void memory_slots_run_out(void)
{
    struct vm vm;
    uint64_t slots = 0;

    if (start_at(&vm, NEGOTIATED)) {
        struct guest_region r = { .size = MIB, .fd = make_fd(MEMFD) };
        int ret = 0;
        uint64_t i;

        CHECK_EQ(fe_get_u64(&vm.fe, FE_GET_MAX_MEM_SLOTS, &slots), 0, "");
        for (i = vm.mem.n; i < slots && ret == 0; i++) {
            r.gpa = r.uva = FAR + i * MIB;
            ret = fe_add_region(&vm.fe, &r);
        }
        CHECK_EQ(ret, 0, "as many as it said");
        r.gpa = r.uva = FAR + i * MIB;
        CHECK(vm_refused(fe_add_region(&vm.fe, &r)), "one more");
        close(r.fd);
    }
    fe_close(&vm.fe);
    daemon_end(vm.d, END_EXIT);
    vm.d = NULL;
    vm_end(&vm);
}

TAP_MAIN(TEST(messages_of_a_wrong_shape_are_refused),
         TEST(memory_that_can_not_be_is_refused),
         TEST(rings_that_can_not_be_are_refused),
         TEST(a_connection_cut_anywhere_ends_it_well),
         TEST(a_message_in_pieces_is_whole),
         TEST(rings_outside_memory_are_refused_or_wait),
         TEST(memory_slots_run_out))
