/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/protocol/vm.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * --translate-uid and --translate-gid: each kind of rule, in each direction,
 * in every operation that carries an id.
 */

#define ARGS(...)                                                              \
    &(struct vm_opts)                                                          \
    {                                                                          \
        .d = {.args = (const char *const[]){ __VA_ARGS__, NULL } }             \
    }

#define OP_STATX 52

struct ids {
    uint32_t uid, gid;
};

static struct ids on_host(const struct vm *vm, const char *name)
{
    struct stat st = { 0 };

    CHECK_EQ(lstat(daemon_path(vm->d, name), &st), 0, name);
    return (struct ids){ st.st_uid, st.st_gid };
}

static void ids_are(struct ids got, struct ids want, const char *why)
{
    CHECK_EQ(got.uid, want.uid, why);
    CHECK_EQ(got.gid, want.gid, why);
}

static struct ids of_entry(const struct fuse_entry_out *e)
{
    return (struct ids){ e->attr.uid, e->attr.gid };
}

/* READDIRPLUS. */
static struct ids listed(struct guest_queue *q, const char *name)
{
    struct fuse_entry_out e = { 0 };

    fc_listed(q, FC_ROOT, name, &e);
    return of_entry(&e);
}

/* The request and the answer of the operation, as far as ids go. */
struct statx_in {
    uint32_t getattr_flags, reserved;
    uint64_t fh;
    uint32_t sx_flags, sx_mask;
};

static struct ids of_statx(struct guest_queue *q, uint64_t node)
{
    struct statx_in in = { .sx_mask = 0x7ff };
    struct ids got = { 0 };
    struct fm m;

    fm_init(&m, OP_STATX, node);
    fm_add(&m, &in, sizeof(in));
    m.room = 32 + 256;
    if (CHECK_EQ(fm_call(q, &m), 0, "STATX") && m.out_len >= 32 + 28) {
        memcpy(&got.uid, m.out + 32 + 20, sizeof(got.uid));
        memcpy(&got.gid, m.out + 32 + 24, sizeof(got.gid));
    }
    return got;
}

static int chown_to(struct guest_queue *q, uint64_t node, uint32_t uid,
                    uint32_t gid, struct ids *got)
{
    struct fuse_setattr_in in = { .valid = FATTR_UID | FATTR_GID };
    struct fuse_attr_out a = { 0 };
    int ret;

    in.uid = uid;
    in.gid = gid;
    ret = fc_setattr(q, node, &in, &a);
    if (got)
        *got = (struct ids){ a.attr.uid, a.attr.gid };
    return ret;
}

/* What the guest is told of host file @name, by all who tell. */
static void looks_like(struct guest_queue *q, const char *name, struct ids want)
{
    struct fuse_entry_out e;
    struct fuse_attr_out a;
    char hard[32];

    CHECK_EQ(fc_lookup(q, FC_ROOT, name, &e), 0, name);
    ids_are(of_entry(&e), want, "LOOKUP");
    CHECK_EQ(fc_getattr(q, e.nodeid, &a), 0, name);
    ids_are((struct ids){ a.attr.uid, a.attr.gid }, want, "GETATTR");
    ids_are(listed(q, name), want, "READDIRPLUS");
    ids_are(of_statx(q, e.nodeid), want, "STATX");
    if (!S_ISDIR(e.attr.mode)) {
        snprintf(hard, sizeof(hard), "hard-%s", name);
        CHECK_EQ(fc_link(q, e.nodeid, FC_ROOT, hard, &e), 0, name);
        ids_are(of_entry(&e), want, "LINK");
        CHECK_EQ(fc_remove(q, FUSE_UNLINK, FC_ROOT, hard), 0, name);
    }
}

/* All that makes a file, by guest user @by: @host is whose it becomes, @guest
 * what the guest is told in the same reply. */
static void made_by(struct vm *vm, struct guest_queue *q, struct fc_who by,
                    struct ids host, struct ids guest)
{
    struct fuse_entry_out e;
    struct fuse_open_out f;

    CHECK_EQ(fc_create(q, &by, FC_ROOT, "c", O_RDWR, 0644, &e, &f), 0, "");
    ids_are(of_entry(&e), guest, "CREATE");
    ids_are(on_host(vm, "c"), host, "CREATE");
    CHECK_EQ(fc_release(q, FUSE_RELEASE, e.nodeid, f.fh), 0, "");
    CHECK_EQ(fc_mknod(q, &by, FC_ROOT, "n", S_IFREG | 0644, 0, &e), 0, "");
    ids_are(of_entry(&e), guest, "MKNOD");
    ids_are(on_host(vm, "n"), host, "MKNOD");
    CHECK_EQ(fc_symlink(q, &by, FC_ROOT, "s", "target", &e), 0, "");
    ids_are(of_entry(&e), guest, "SYMLINK");
    ids_are(on_host(vm, "s"), host, "SYMLINK");
    CHECK_EQ(fc_mkdir(q, &by, FC_ROOT, "d", 0755, &e), 0, "");
    ids_are(of_entry(&e), guest, "MKDIR");
    ids_are(on_host(vm, "d"), host, "MKDIR");
    looks_like(q, "c", guest);
    looks_like(q, "d", guest);
    CHECK_EQ(fc_remove(q, FUSE_RMDIR, FC_ROOT, "d"), 0, "");
    CHECK_EQ(fc_remove(q, FUSE_UNLINK, FC_ROOT, "c"), 0, "");
    CHECK_EQ(fc_remove(q, FUSE_UNLINK, FC_ROOT, "n"), 0, "");
    CHECK_EQ(fc_remove(q, FUSE_UNLINK, FC_ROOT, "s"), 0, "");
}

/* None of it, and no file. */
static void nothing_made_by(struct vm *vm, struct guest_queue *q,
                            struct fc_who by)
{
    struct fuse_entry_out e;
    struct fuse_open_out f;

    CHECK_EQ(fc_create(q, &by, FC_ROOT, "c", O_RDWR, 0644, &e, &f), -EPERM,
             "CREATE");
    CHECK_EQ(fc_mknod(q, &by, FC_ROOT, "c", S_IFREG | 0644, 0, &e), -EPERM,
             "MKNOD");
    CHECK_EQ(fc_symlink(q, &by, FC_ROOT, "c", "t", &e), -EPERM, "SYMLINK");
    CHECK_EQ(fc_mkdir(q, &by, FC_ROOT, "c", 0755, &e), -EPERM, "MKDIR");
    CHECK_EQ(access(daemon_path(vm->d, "c"), F_OK), -1, "no file");
}

/* A file of the host's with these ids there. */
static uint64_t host_file(struct vm *vm, struct guest_queue *q,
                          const char *name, struct ids ids)
{
    struct fuse_entry_out e;

    host_write(vm, name, "", 0);
    CHECK_EQ(chown(daemon_path(vm->d, name), ids.uid, ids.gid), 0, name);
    CHECK_EQ(fc_lookup(q, FC_ROOT, name, &e), 0, name);
    return e.nodeid;
}

static bool begin(struct vm *vm)
{
    return needs_root() && CHECK_EQ(chmod(daemon_share(vm->d), 0777), 0, "");
}

VM_TEST(map_goes_both_ways, ARGS("--translate-uid=map:1000:5000:10",
                                 "--translate-gid=map:2000:6000:10"))
{
    struct ids got;
    uint64_t node;

    if (!begin(vm))
        return;
    made_by(vm, q, (struct fc_who){ 1000, 2000 }, (struct ids){ 5000, 6000 },
            (struct ids){ 1000, 2000 });
    made_by(vm, q, (struct fc_who){ 1009, 2009 }, (struct ids){ 5009, 6009 },
            (struct ids){ 1009, 2009 });
    made_by(vm, q, (struct fc_who){ 1010, 1999 }, (struct ids){ 1010, 1999 },
            (struct ids){ 1010, 1999 });
    made_by(vm, q, (struct fc_who){ 0, 0 }, (struct ids){ 0, 0 },
            (struct ids){ 0, 0 });
    node = host_file(vm, q, "h", (struct ids){ 5003, 6003 });
    looks_like(q, "h", (struct ids){ 1003, 2003 });
    CHECK_EQ(chown_to(q, node, 1004, 2005, &got), 0, "");
    ids_are(got, (struct ids){ 1004, 2005 }, "SETATTR");
    ids_are(on_host(vm, "h"), (struct ids){ 5004, 6005 }, "SETATTR");
}

VM_TEST(guest_goes_to_the_host_only, ARGS("--translate-uid=guest:1000:5000:10",
                                          "--translate-gid=guest:1000:5000:10"))
{
    struct ids got;
    uint64_t node;

    if (!begin(vm))
        return;
    made_by(vm, q, (struct fc_who){ 1001, 1002 }, (struct ids){ 5001, 5002 },
            (struct ids){ 5001, 5002 });
    node = host_file(vm, q, "h", (struct ids){ 5003, 5003 });
    looks_like(q, "h", (struct ids){ 5003, 5003 });
    CHECK_EQ(chown_to(q, node, 1004, 1004, &got), 0, "");
    ids_are(got, (struct ids){ 5004, 5004 }, "SETATTR");
    ids_are(on_host(vm, "h"), (struct ids){ 5004, 5004 }, "SETATTR");
}

VM_TEST(host_goes_to_the_guest_only, ARGS("--translate-uid=host:5000:1000:10",
                                          "--translate-gid=host:5000:1000:10"))
{
    struct ids got;
    uint64_t node;

    if (!begin(vm))
        return;
    made_by(vm, q, (struct fc_who){ 1001, 1002 }, (struct ids){ 1001, 1002 },
            (struct ids){ 1001, 1002 });
    made_by(vm, q, (struct fc_who){ 5001, 5002 }, (struct ids){ 5001, 5002 },
            (struct ids){ 1001, 1002 });
    node = host_file(vm, q, "h", (struct ids){ 5009, 5010 });
    looks_like(q, "h", (struct ids){ 1009, 5010 });
    CHECK_EQ(chown_to(q, node, 1004, 1004, &got), 0, "");
    ids_are(on_host(vm, "h"), (struct ids){ 1004, 1004 }, "SETATTR");
}

VM_TEST(squash_makes_many_one,
        ARGS("--translate-uid=squash-guest:0:107:4294967295",
             "--translate-gid=squash-guest:1:108:4294967295",
             "--translate-uid=squash-host:200:65534:100",
             "--translate-gid=squash-host:200:65533:100"))
{
    struct ids got;
    uint64_t node;

    if (!begin(vm))
        return;
    made_by(vm, q, (struct fc_who){ 0, 0 }, (struct ids){ 107, 0 },
            (struct ids){ 107, 0 });
    made_by(vm, q, (struct fc_who){ 1000, UINT32_MAX - 1 },
            (struct ids){ 107, 108 }, (struct ids){ 107, 108 });
    node = host_file(vm, q, "h", (struct ids){ 200, 299 });
    looks_like(q, "h", (struct ids){ 65534, 65533 });
    CHECK_EQ(chown_to(q, node, 5, 6, &got), 0, "");
    ids_are(on_host(vm, "h"), (struct ids){ 107, 108 }, "SETATTR");
}

/* Forbidding holds for owners to be: of new files and by chown.  Who may read
 * and write is the modes' business. */
VM_TEST(forbidden_ids_become_nobodys_owner,
        ARGS("--translate-uid=forbid-guest:0:1000",
             "--translate-uid=map:1000:1000:1",
             "--translate-uid=forbid-guest:1001:4294966295",
             "--translate-gid=forbid-guest:7:1"))
{
    struct fuse_setattr_in mode = { .valid = FATTR_MODE, .mode = 0640 };
    struct fuse_entry_out e;
    struct fuse_attr_out a;
    struct fuse_open_out f;
    uint64_t node;

    if (!begin(vm))
        return;
    made_by(vm, q, (struct fc_who){ 1000, 0 }, (struct ids){ 1000, 0 },
            (struct ids){ 1000, 0 });
    nothing_made_by(vm, q, (struct fc_who){ 0, 0 });
    nothing_made_by(vm, q, (struct fc_who){ 999, 0 });
    nothing_made_by(vm, q, (struct fc_who){ 1001, 0 });
    nothing_made_by(vm, q, (struct fc_who){ UINT32_MAX, 0 });
    nothing_made_by(vm, q, (struct fc_who){ 1000, 7 });
    node = host_file(vm, q, "h", (struct ids){ 1000, 8 });
    CHECK_EQ(chown_to(q, node, 0, 8, NULL), -EPERM, "to root");
    CHECK_EQ(chown_to(q, node, 1000, 7, NULL), -EPERM, "to the group");
    ids_are(on_host(vm, "h"), (struct ids){ 1000, 8 }, "as it was");
    CHECK_EQ(chown_to(q, node, 1000, 9, NULL), 0, "");
    CHECK_EQ(fc_setattr(q, node, &mode, &a), 0, "root's chmod");
    CHECK_EQ(fc_open(q, FUSE_OPEN, node, O_RDWR, &f), 0, "root opens");
    CHECK_EQ(fc_lookup(q, FC_ROOT, "h", &e), 0, "");
}

/* Beyond 31 bits, the last that can be, and the one that is none. */
VM_TEST(ids_are_unsigned_and_minus_one_is_none, NULL)
{
    const uint32_t big = 0x80000001, last = UINT32_MAX - 1;
    uint64_t node;

    if (!begin(vm))
        return;
    made_by(vm, q, (struct fc_who){ big, last }, (struct ids){ big, last },
            (struct ids){ big, last });
    nothing_made_by(vm, q, (struct fc_who){ UINT32_MAX, 0 });
    nothing_made_by(vm, q, (struct fc_who){ 0, UINT32_MAX });
    node = host_file(vm, q, "h", (struct ids){ 5, 6 });
    CHECK_EQ(chown_to(q, node, UINT32_MAX, 7, NULL), -EINVAL, "");
    CHECK_EQ(chown_to(q, node, 7, UINT32_MAX, NULL), -EINVAL, "");
    ids_are(on_host(vm, "h"), (struct ids){ 5, 6 }, "neither is done");
}

/* The modes are checked against the ids that the guest sees. */
VM_TEST(access_goes_by_the_guests_ids, ARGS("--translate-uid=map:1000:5000:1",
                                            "--translate-gid=map:1000:5000:1"))
{
    static const struct {
        uint32_t uid, gid, mask;
        int want;
        const char *why;
    } rows[] = {
        { 1000, 1, W_OK, 0, "the owner" },
        { 5000, 1, W_OK, -EACCES, "the host's number is another's" },
        { 1, 1000, R_OK, 0, "the group" },
        { 1, 1000, W_OK, -EACCES, "the group" },
        { 1, 5000, R_OK, -EACCES, "the host's number is another's" },
    };
    uint64_t node;

    if (!begin(vm))
        return;
    node = host_file(vm, q, "h", (struct ids){ 5000, 5000 });
    CHECK_EQ(chmod(daemon_path(vm->d, "h"), 0640), 0, "");
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct fuse_access_in in = { .mask = rows[i].mask };
        struct fm m;

        fm_init(&m, FUSE_ACCESS, node);
        m.h.uid = rows[i].uid;
        m.h.gid = rows[i].gid;
        fm_add(&m, &in, sizeof(in));
        CHECK_EQ(fm_call(q, &m), rows[i].want, rows[i].why);
    }
}

static void rules_that_can_not_be_are_refused(void)
{
    static const struct {
        const char *says;
        const char *args[4];
    } rows[] = {
        { "overlaps that of an earlier rule",
          { "--translate-uid=map:0:1000:10", "--translate-uid=guest:9:5:1" } },
        { "overlaps that of an earlier rule",
          { "--translate-gid=host:5:0:10", "--translate-gid=map:100:14:1" } },
        { "overlaps that of an earlier rule",
          { "--translate-uid=forbid-guest:0:10",
            "--translate-uid=squash-guest:5:1:1" } },
        { "the range goes beyond the last id",
          { "--translate-uid=map:4294967000:0:1000" } },
        { "4294967295 is no id that a file can have",
          { "--translate-uid=squash-guest:0:4294967295:5" } },
        { "the range is empty", { "--translate-gid=map:1:1:0" } },
        { "overlaps an earlier map",
          { "--uid-map=:0:5:10:", "--uid-map=:9:100:1:" } },
        { "overlaps an earlier map",
          { "--gid-map=:0:5:10:", "--gid-map=:100:14:1:" } },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        fails_with(&(struct daemon_opts){ .args = rows[i].args }, rows[i].says);
}

TAP_MAIN(TEST(map_goes_both_ways), TEST(guest_goes_to_the_host_only),
         TEST(host_goes_to_the_guest_only), TEST(squash_makes_many_one),
         TEST(forbidden_ids_become_nobodys_owner),
         TEST(ids_are_unsigned_and_minus_one_is_none),
         TEST(access_goes_by_the_guests_ids),
         TEST(rules_that_can_not_be_are_refused))
