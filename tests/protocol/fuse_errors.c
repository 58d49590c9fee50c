/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/protocol/vm.h"

#include <fcntl.h>

#include "fuse/proto.h"

/* What is answered to a request that fails, and what is not answered. */

#define ATTR  sizeof(struct fuse_attr_out)
#define ENTRY sizeof(struct fuse_entry_out)
#define OPEN  sizeof(struct fuse_open_out)
#define IN(s) sizeof(struct fuse_##s##_in)

static const struct {
    const char *why;
    uint32_t op;
    int err;     /* for a node, or a handle, that is none */
    size_t room; /* of the shortest good reply */
    size_t in;   /* arguments; a handle is the first word */
    int names;
} refused[] = {
    /* clang-format off */
    { "LOOKUP",      FUSE_LOOKUP,      -ESTALE, ENTRY,        0,           1 },
    { "GETATTR",     FUSE_GETATTR,     -ESTALE, ATTR,         IN(getattr), 0 },
    { "SETATTR",     FUSE_SETATTR,     -ESTALE, ATTR,         IN(setattr), 0 },
    { "READLINK",    FUSE_READLINK,    -ESTALE, 0,            0,           0 },
    { "STATFS",      FUSE_STATFS,      -ESTALE,
      sizeof(struct fuse_statfs_out),                         0,           0 },
    { "ACCESS",      FUSE_ACCESS,      -ESTALE, 0,            IN(access),  0 },
    { "SYMLINK",     FUSE_SYMLINK,     -ESTALE, ENTRY,        0,           2 },
    { "MKNOD",       FUSE_MKNOD,       -ESTALE, ENTRY,        IN(mknod),   1 },
    { "MKDIR",       FUSE_MKDIR,       -ESTALE, ENTRY,        IN(mkdir),   1 },
    { "UNLINK",      FUSE_UNLINK,      -ESTALE, 0,            0,           1 },
    { "RMDIR",       FUSE_RMDIR,       -ESTALE, 0,            0,           1 },
    { "RENAME",      FUSE_RENAME,      -ESTALE, 0,            IN(rename),  2 },
    { "RENAME2",     FUSE_RENAME2,     -ESTALE, 0,            IN(rename2), 2 },
    { "LINK",        FUSE_LINK,        -ESTALE, ENTRY,        IN(link),    1 },
    { "CREATE",      FUSE_CREATE,      -ESTALE, ENTRY + OPEN, IN(create),  1 },
    { "TMPFILE",     PROTO_TMPFILE,    -ESTALE, ENTRY + OPEN, IN(create),  1 },
    { "OPEN",        FUSE_OPEN,        -ESTALE, OPEN,         IN(open),    0 },
    { "OPENDIR",     FUSE_OPENDIR,     -ESTALE, OPEN,         IN(open),    0 },
    { "READ",        FUSE_READ,        -EBADF,  0,            IN(read),    0 },
    { "WRITE",       FUSE_WRITE,       -EBADF,
      sizeof(struct fuse_write_out),                          IN(write),   0 },
    { "FLUSH",       FUSE_FLUSH,       -EBADF,  0,            IN(flush),   0 },
    { "FSYNC",       FUSE_FSYNC,       -EBADF,  0,            IN(fsync),   0 },
    { "RELEASE",     FUSE_RELEASE,     -EBADF,  0,            IN(release), 0 },
    { "READDIR",     FUSE_READDIR,     -EBADF,  0,            IN(read),    0 },
    { "READDIRPLUS", FUSE_READDIRPLUS, -EBADF,  0,            IN(read),    0 },
    { "FSYNCDIR",    FUSE_FSYNCDIR,    -EBADF,  0,            IN(fsync),   0 },
    { "RELEASEDIR",  FUSE_RELEASEDIR,  -EBADF,  0,            IN(release), 0 },
    /* clang-format on */
};

static int refuse_one(struct guest_queue *q, size_t i, uint64_t node,
                      size_t room)
{
    uint64_t args[11] = { 0 };
    struct fm m;
    int ret;

    args[0] = refused[i].err == -EBADF ? 12345 : 0;
    fm_init(&m, refused[i].op, node);
    CHECK(refused[i].in <= sizeof(args), refused[i].why);
    fm_add(&m, args, refused[i].in);
    for (int k = 0; k < refused[i].names; k++)
        fm_add_name(&m, "f");
    m.room = room;
    ret = fm_call(q, &m);
    CHECK_EQ(m.used_len, sizeof(struct fuse_out_header), refused[i].why);
    CHECK_EQ(m.out_len, 0, "a header and no more");
    return ret;
}

VM_TEST(an_error_is_a_header, NULL)
{
    const uint64_t handles_node = FC_ROOT, no_node = 77;
    struct fuse_read_in in = { .size = 30 };
    struct fuse_open_out d;
    struct fm m;

    host_write(vm, "f", "x", 1);
    for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
        uint64_t node = refused[i].err == -ESTALE ? no_node : handles_node;

        CHECK_EQ(refuse_one(q, i, node, 4096), refused[i].err, refused[i].why);
        if (refused[i].room)
            CHECK_EQ(refuse_one(q, i, handles_node, refused[i].room - 1), -EIO,
                     "no room for the answer");
        else
            CHECK_EQ(refuse_one(q, i, node, 0), refused[i].err, "room enough");
    }
    CHECK_EQ(fc_open(q, FUSE_OPENDIR, FC_ROOT, O_RDONLY, &d), 0, "");
    in.fh = d.fh;
    fm_init(&m, FUSE_READDIRPLUS, FC_ROOT);
    fm_add(&m, &in, sizeof(in));
    m.room = 4096;
    CHECK_EQ(fm_call(q, &m), -EINVAL, "not a single entry");
    CHECK_EQ(m.out_len, 0, "");
    CHECK_EQ(fc_release(q, FUSE_RELEASE, FC_ROOT, d.fh), -EBADF,
             "a directory's handle is no file's");
}

/* A request of arguments, with much room. */
static int send(struct guest_queue *q, uint32_t op, uint64_t node,
                const void *in, size_t len)
{
    struct fm m;

    fm_init(&m, op, node);
    fm_add(&m, in, len);
    m.room = 4096;
    return fm_call(q, &m);
}

/* What nobody waits for leaves the reply as it was. */
VM_TEST(forgetting_is_not_answered, NULL)
{
    struct {
        struct fuse_batch_forget_in in;
        struct fuse_forget_one one[2];
    } batch = { .in = { .count = 2 } };
    struct fuse_forget_in forget = { .nlookup = 1 };
    struct fuse_entry_out a, b;
    struct fuse_attr_out attr;

    host_write(vm, "a", "", 0);
    host_write(vm, "b", "", 0);
    CHECK_EQ(fc_lookup(q, FC_ROOT, "a", &a), 0, "");
    CHECK_EQ(fc_lookup(q, FC_ROOT, "a", &a), 0, "");
    CHECK_EQ(fc_lookup(q, FC_ROOT, "b", &b), 0, "");
    CHECK_EQ(send(q, FUSE_FORGET, a.nodeid, &forget, sizeof(forget)), FM_EMPTY,
             "there is room, and nothing to say");
    CHECK_EQ(fc_getattr(q, a.nodeid, &attr), 0, "one look-up is left");
    batch.one[0] = (struct fuse_forget_one){ a.nodeid, 1 };
    batch.one[1] = (struct fuse_forget_one){ b.nodeid, 1 };
    CHECK_EQ(send(q, FUSE_BATCH_FORGET, 0, &batch, sizeof(batch)), FM_EMPTY,
             "");
    CHECK_EQ(fc_getattr(q, a.nodeid, &attr), -ESTALE, "");
    CHECK_EQ(fc_getattr(q, b.nodeid, &attr), -ESTALE, "");
}

TAP_MAIN(TEST(an_error_is_a_header), TEST(forgetting_is_not_answered))
