/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/protocol/vm.h"

#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

/*
 * Requests no guest's kernel sends.  Each gets an error, or comes back with
 * length 0 where there is nobody to tell; the ring and the session go on.
 */

/* A request of any bytes: @len is what the header claims, 0 for the truth. */
static int raw(struct guest_queue *q, uint32_t op, uint64_t node,
               const void *body, size_t bytes, uint32_t claim, size_t room)
{
    struct fm m;

    fm_init(&m, op, node);
    fm_add(&m, body, bytes);
    m.room = room;
    if (claim) {
        m.keep_header = true;
        m.h.len = claim;
        m.h.unique = q->unique += 2;
    }
    return fm_call(q, &m);
}

VM_TEST(unknown_opcodes_are_enosys, NULL)
{
    static const uint32_t ops[] = { 7,
                                    FUSE_GETLK,
                                    FUSE_SETLK,
                                    FUSE_SETLKW,
                                    FUSE_BMAP,
                                    FUSE_IOCTL,
                                    FUSE_POLL,
                                    FUSE_SETUPMAPPING,
                                    FUSE_REMOVEMAPPING,
                                    54,
                                    99,
                                    4095,
                                    4096,
                                    65536,
                                    1u << 31,
                                    UINT32_MAX };
    uint8_t body[256] = { 0 };

    for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
        int ret = raw(q, ops[i], FC_ROOT, body, sizeof(body), 0, 4096);

        if (!CHECK_EQ(ret, -ENOSYS, "not an operation of ours"))
            tap_diag("opcode %u", ops[i]);
    }
    vm_alive(vm, 1);
}

VM_TEST(every_opcode_survives_every_length, NULL)
{
    uint8_t body[130];

    memset(body, 'x', sizeof(body));
    for (int fill = 0; fill < 3; fill++) {
        memset(body, fill == 0 ? 0 : fill == 1 ? 'x' : 0xff, sizeof(body));
        for (uint32_t op = 1; op < 56; op++) {
            bool silent = op == FUSE_FORGET || op == FUSE_BATCH_FORGET;

            if (op == FUSE_INIT || op == FUSE_DESTROY)
                continue; /* of their own in fuse_init.c */
            for (size_t len = 0; len < sizeof(body); len += 1 + len / 8) {
                int ret = raw(q, op, FC_ROOT, body, len, 0, 256);

                if (silent ? !CHECK_EQ(ret, FM_EMPTY, "no reply")
                           : !CHECK(ret <= FM_EMPTY, "answered")) {
                    tap_diag("opcode %u with %zu bytes", op, len);
                    return;
                }
            }
        }
        if (!vm_alive(vm, 1))
            return;
    }
}

VM_TEST(headers_that_lie_about_their_length_are_refused, NULL)
{
    static const struct {
        const char *why;
        uint32_t claim;
    } rows[] = {
        { "shorter than a header", 39 }, { "a header and no arguments", 40 },
        { "one byte short", 55 },        { "one byte more than there is", 57 },
        { "a page more", 4152 },         { "4 GiB", UINT32_MAX },
        { "2 GiB", 1u << 31 },           { "1", 1 },
    };
    struct fuse_getattr_in in = { 0 };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        int ret = raw(q, FUSE_GETATTR, FC_ROOT, &in, sizeof(in), rows[i].claim,
                      sizeof(struct fuse_attr_out));

        CHECK(ret < 0 || ret == FM_EMPTY, rows[i].why);
    }
    vm_alive(vm, 1);
}

/* Fewer bytes than a header has: there is no unique to answer to. */
VM_TEST(chains_shorter_than_a_header_come_back_empty, NULL)
{
    uint8_t *p = guest_queue_buf(q, 8192);

    memset(p, 0, 8192);
    for (uint32_t len = 1; len < 40; len += 13) {
        struct guest_seg segs[2] = { { q->buf_gpa, len, false },
                                     { q->buf_gpa + 4096, 4096, true } };
        uint16_t head;
        uint32_t used = 9;

        for (size_t n = 1; n <= 2; n++) {
            CHECK(guest_add(q, segs, n, false) >= 0, "");
            guest_publish(q);
            CHECK_EQ(guest_wait(q, &head, &used), 0, "it comes back");
            CHECK_EQ(used, 0, "empty");
        }
    }
    vm_alive(vm, 1);
}

VM_TEST(chains_that_are_only_writable_come_back_empty, NULL)
{
    struct guest_seg seg = { 0, 4096, true };
    uint16_t head;
    uint32_t used = 9;

    guest_queue_buf(q, 8192);
    seg.gpa = q->buf_gpa;
    CHECK(guest_add(q, &seg, 1, false) >= 0, "");
    guest_publish(q);
    CHECK_EQ(guest_wait(q, &head, &used), 0, "it comes back");
    CHECK_EQ(used, 0, "empty");
    vm_alive(vm, 1);
}

VM_TEST(replies_too_long_for_their_room_become_errors, NULL)
{
    static const struct {
        const char *why;
        size_t out;
        bool error;
    } rows[] = {
        { "no room at all", 0, false },
        { "less than a header", 15, false },
        { "1 byte", 1, false },
        { "a header", 16, true },
        { "a header and some", 60, true },
        { "one byte short", 16 + sizeof(struct fuse_attr_out) - 1, true },
    };
    struct fuse_getattr_in in = { 0 };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        for (size_t seg = 0; seg < 3; seg++) {
            struct fm m;
            int ret;

            fm_init(&m, FUSE_GETATTR, FC_ROOT);
            fm_add(&m, &in, sizeof(in));
            m.cut_out = true;
            m.out_bytes = rows[i].out;
            m.out_seg = seg;
            ret = fm_call(q, &m);
            if (rows[i].error)
                CHECK(ret < 0, rows[i].why);
            else
                CHECK_EQ(ret, FM_EMPTY, rows[i].why);
        }
    }
    vm_alive(vm, 1);
}

/* An error must mean that nothing was done. */
VM_TEST(nothing_is_done_that_can_not_be_answered, NULL)
{
    struct {
        struct fuse_mkdir_in in;
        char name[4];
    } mk = { { 0755, 0 }, "new" };
    struct {
        struct fuse_create_in in;
        char name[4];
    } cr = { { O_RDWR, 0644, 0, 0 }, "new" };
    struct stat st;

    CHECK(raw(q, FUSE_MKDIR, FC_ROOT, &mk, sizeof(mk), 0, 100) < 0, "");
    CHECK(raw(q, FUSE_CREATE, FC_ROOT, &cr, sizeof(cr), 0,
              sizeof(struct fuse_entry_out)) < 0,
          "");
    CHECK(raw(q, FUSE_SYMLINK, FC_ROOT, "new\0t", 6, 0, 0) < 0, "");
    CHECK_EQ(lstat(daemon_path(vm->d, "new"), &st), -1, "not made");
}

VM_TEST(names_without_an_end_are_refused, NULL)
{
    static const struct {
        const char *why;
        uint32_t op;
        size_t args; /* bytes before the name */
    } rows[] = {
        { "LOOKUP", FUSE_LOOKUP, 0 },
        { "UNLINK", FUSE_UNLINK, 0 },
        { "RMDIR", FUSE_RMDIR, 0 },
        { "SYMLINK", FUSE_SYMLINK, 0 },
        { "MKDIR", FUSE_MKDIR, sizeof(struct fuse_mkdir_in) },
        { "MKNOD", FUSE_MKNOD, sizeof(struct fuse_mknod_in) },
        { "CREATE", FUSE_CREATE, sizeof(struct fuse_create_in) },
        { "LINK", FUSE_LINK, sizeof(struct fuse_link_in) },
        { "RENAME", FUSE_RENAME, sizeof(struct fuse_rename_in) },
        { "RENAME2", FUSE_RENAME2, sizeof(struct fuse_rename2_in) },
    };
    uint8_t body[128];

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        memset(body, 0, sizeof(body));
        memset(body + rows[i].args, 'n', 20);
        CHECK_EQ(raw(q, rows[i].op, FC_ROOT, body, rows[i].args + 20, 0, 256),
                 -EINVAL, rows[i].why);
        CHECK_EQ(raw(q, rows[i].op, FC_ROOT, body, rows[i].args, 0, 256),
                 -EINVAL, "no name at all");
    }
    /* The first of two names ends, the second does not. */
    memcpy(body, "one\0twotwo", 10);
    CHECK_EQ(raw(q, FUSE_SYMLINK, FC_ROOT, body, 10, 0, 256), -EINVAL, "");
    CHECK_EQ(raw(q, FUSE_SYMLINK, FC_ROOT, "one", 4, 0, 256), -EINVAL,
             "no second name");
    vm_alive(vm, 1);
}

VM_TEST(batch_forget_is_not_believed, NULL)
{
    struct {
        struct fuse_batch_forget_in in;
        struct fuse_forget_one one[4];
    } b = { { 0, 0 }, { { 0, 0 } } };
    static const struct {
        const char *why;
        uint32_t count;
        size_t bytes;
    } rows[] = {
        { "more than there are", 5, sizeof(b) },
        { "as many as can be said", UINT32_MAX, sizeof(b) },
        { "a product that wraps", 0x10000001, sizeof(b) },
        { "no entries", 1, 8 },
        { "half an entry", 1, 16 },
        { "less than its head", 0, 4 },
    };
    struct fuse_entry_out e;
    struct fuse_attr_out a;
    struct fm m;

    host_write(vm, "f", "", 0);
    CHECK_EQ(fc_lookup(q, FC_ROOT, "f", &e), 0, "");
    for (int i = 0; i < 4; i++)
        b.one[i] = (struct fuse_forget_one){ 0x99990000u + (uint64_t)i, 1 };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        b.in.count = rows[i].count;
        fm_init(&m, FUSE_BATCH_FORGET, 0);
        fm_add(&m, &b, rows[i].bytes);
        m.no_reply = true;
        CHECK_EQ(fm_call(&vm->q[0], &m), FM_EMPTY, rows[i].why);
    }
    CHECK_EQ(fc_getattr(q, e.nodeid, &a), 0, "nothing was forgotten");
    b.in.count = 4;
    b.one[2] = (struct fuse_forget_one){ e.nodeid, 1 };
    fm_init(&m, FUSE_BATCH_FORGET, 0);
    fm_add(&m, &b, sizeof(b));
    m.no_reply = true;
    CHECK_EQ(fm_call(&vm->q[0], &m), FM_EMPTY, "one true among false ones");
    CHECK_EQ(fc_getattr(q, e.nodeid, &a), -ESTALE, "forgotten");
    CHECK_EQ(fc_forget(&vm->q[0], FC_ROOT, UINT64_MAX), FM_EMPTY,
             "the root can not be");
    vm_alive(vm, 1);
    CHECK_EQ(fc_lookup(q, FC_ROOT, "f", &e), 0, "");
    CHECK_EQ(fc_forget(&vm->q[0], e.nodeid, UINT64_MAX), FM_EMPTY,
             "more often than it was looked up");
    CHECK_EQ(fc_lookup(q, FC_ROOT, "f", &e), 0, "");
}

VM_TEST(a_write_is_no_longer_than_its_payload, NULL)
{
    struct fuse_entry_out e;
    struct fuse_open_out f;
    struct fuse_write_in in = { 0 };
    struct {
        struct fuse_write_in in;
        char data[8];
    } w;
    struct stat st;
    static const uint32_t sizes[] = { 9, 4096, 1u << 20, UINT32_MAX };

    CHECK_EQ(fc_create(q, NULL, FC_ROOT, "f", O_RDWR, 0644, &e, &f), 0, "");
    in.fh = f.fh;
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        in.size = sizes[i];
        w.in = in;
        memcpy(w.data, "12345678", 8);
        CHECK_EQ(raw(q, FUSE_WRITE, e.nodeid, &w, sizeof(w), 0, 64), -EINVAL,
                 "it says more than it brings");
    }
    CHECK_EQ(stat(daemon_path(vm->d, "f"), &st), 0, "");
    CHECK_EQ(st.st_size, 0, "nothing was written");
}

VM_TEST(forged_nodes_and_handles_are_refused, NULL)
{
    struct fuse_entry_out e, e2;
    struct fuse_open_out f;
    struct fuse_attr_out a;
    const void *data;
    uint32_t n;
    size_t len;

    host_write(vm, "f", "x", 1);
    CHECK_EQ(fc_lookup(q, FC_ROOT, "f", &e), 0, "");
    CHECK_EQ(fc_open(q, FUSE_OPEN, e.nodeid, O_RDWR, &f), 0, "");
    CHECK_EQ(fc_getattr(q, 0, &a), -ESTALE, "node 0");
    CHECK_EQ(fc_getattr(q, UINT64_MAX, &a), -ESTALE, "the largest");
    for (int bit = 0; bit < 64; bit++) {
        uint64_t node = e.nodeid ^ BIT64(bit), fh = f.fh ^ BIT64(bit);

        if (node != FC_ROOT) {
            CHECK_EQ(fc_getattr(q, node, &a), -ESTALE, "one bit off");
            CHECK_EQ(fc_lookup(q, node, "x", &e2), -ESTALE, "one bit off");
            CHECK_EQ(fc_link(q, node, FC_ROOT, "l", &e2), -ESTALE, "");
            CHECK_EQ(fc_rename(q, FC_ROOT, "f", node, "l", 0), -ESTALE, "");
            fc_forget(&vm->q[0], node, 1);
        }
        CHECK_EQ(fc_read(q, e.nodeid, fh, 0, 1, &data, &len), -EBADF, "");
        CHECK_EQ(fc_write(q, e.nodeid, fh, 0, "y", 1, &n), -EBADF, "");
    }
    CHECK_EQ(fc_getattr(q, e.nodeid, &a), 0, "the true one");
    CHECK_EQ(fc_read(q, e.nodeid, f.fh, 0, 1, &data, &len), 0, "");
}

/* virtio has no way back to interrupt, so whatever it names is long done. */
VM_TEST(interrupts_are_answered, NULL)
{
    struct fuse_interrupt_in in = { 0 };
    static const uint64_t uniques[] = { 0, 2, 1, UINT64_MAX };

    for (size_t i = 0; i < ARRAY_SIZE(uniques); i++) {
        in.unique = uniques[i];
        CHECK(raw(&vm->q[0], FUSE_INTERRUPT, 0, &in, sizeof(in), 0, 0) <=
                  FM_EMPTY,
              "on hiprio");
        CHECK(raw(q, FUSE_INTERRUPT, 0, &in, sizeof(in), 0, 0) <= FM_EMPTY,
              "on a request queue");
    }
    in.unique = q->unique + 2; /* of the INTERRUPT itself */
    CHECK(raw(q, FUSE_INTERRUPT, 0, &in, sizeof(in), 0, 0) <= FM_EMPTY, "");
    vm_alive(vm, 1);
}

VM_TEST(uniques_need_not_be_unique, NULL)
{
    struct fuse_getattr_in in = { 0 };
    struct fm m[8];

    (void)vm;
    for (int i = 0; i < 8; i++) {
        fm_init(&m[i], FUSE_GETATTR, FC_ROOT);
        fm_add(&m[i], &in, sizeof(in));
        m[i].room = sizeof(struct fuse_attr_out);
        m[i].keep_header = true;
        m[i].h.len = 56;
        m[i].h.unique = i < 4 ? 42 : 0;
        guest_queue_buf(q, 8 * fm_bytes(&m[i]));
        CHECK_EQ(fm_put(q, &m[i], (size_t)i * fm_bytes(&m[i])), 0, "");
    }
    guest_publish(q);
    for (int i = 0; i < 8; i++) {
        uint16_t head;
        uint32_t used;

        if (!CHECK_EQ(guest_wait(q, &head, &used), 0, ""))
            break;
        for (int k = 0; k < 8; k++) {
            if (m[k].head == head)
                CHECK_EQ(fm_reply(q, &m[k], used), 0, "each is answered");
        }
    }
}

TAP_MAIN(TEST(unknown_opcodes_are_enosys),
         TEST(every_opcode_survives_every_length),
         TEST(headers_that_lie_about_their_length_are_refused),
         TEST(chains_shorter_than_a_header_come_back_empty),
         TEST(chains_that_are_only_writable_come_back_empty),
         TEST(replies_too_long_for_their_room_become_errors),
         TEST(nothing_is_done_that_can_not_be_answered),
         TEST(names_without_an_end_are_refused),
         TEST(batch_forget_is_not_believed),
         TEST(a_write_is_no_longer_than_its_payload),
         TEST(forged_nodes_and_handles_are_refused),
         TEST(interrupts_are_answered), TEST(uniques_need_not_be_unique))
