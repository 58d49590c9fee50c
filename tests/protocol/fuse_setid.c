/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Set-id bits and file capabilities, when a file is written to, cut, given
 * away.  Each row is done twice: by a process on the host, and by requests as
 * a Linux guest makes them for such a process once HANDLE_KILLPRIV_V2 is
 * agreed.  Both files have to look the same afterwards.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuse/proto.h"
#include "tests/protocol/native.h"
#include "tests/protocol/vm.h"

#define CALLER 1001
#define GROUP  1002
#define OTHER  1003

enum act {
    WRITE,
    CUT_PATH,
    CUT_FD,
    OPEN_CUT,
    CREATE_CUT,
    FALLOC,
    COPY,
    OWN,
    GROUP_OF,
    MODE,
};

struct row {
    const char *why;
    enum act act;
    mode_t mode;
    uid_t uid; /* whose the file is */
    gid_t gid;
    struct native_who who;
    const char *name; /* of the host's, then of the guest's file */
};

#define ROOT_DOES                                                              \
    {                                                                          \
        0                                                                      \
    }
#define USER_DOES                                                              \
    {                                                                          \
        .uid = CALLER, .gid = GROUP                                            \
    }
#define USER_IN_OTHER_DOES                                                     \
    {                                                                          \
        .uid = CALLER, .gid = GROUP, .groups = { OTHER }, .n_groups = 1        \
    }

/* clang-format off */
static const struct row rows[] = {
    { "root's write keeps all", WRITE, 06777, 0, 0, ROOT_DOES },
    { "a write clears both", WRITE, 06777, 0, 0, USER_DOES },
    { "a write clears set-uid", WRITE, 04777, 0, 0, USER_DOES },
    { "a write clears set-gid", WRITE, 02777, 0, OTHER, USER_DOES },
    { "a stranger's write, group without x", WRITE, 02767, 0, OTHER, USER_DOES },
    { "the owner's own write", WRITE, 06777, CALLER, GROUP, USER_DOES },
    { "the sticky bit stays", WRITE, 01777, 0, 0, USER_DOES },
    { "root cuts by path", CUT_PATH, 06777, 0, 0, ROOT_DOES },
    { "cut by path", CUT_PATH, 06777, 0, 0, USER_DOES },
    { "cut by path, only set-gid", CUT_PATH, 02777, 0, OTHER, USER_DOES },
    { "root cuts by descriptor", CUT_FD, 06777, 0, 0, ROOT_DOES },
    { "cut by descriptor", CUT_FD, 06777, 0, 0, USER_DOES },
    { "root opens and cuts", OPEN_CUT, 06777, 0, 0, ROOT_DOES },
    { "open and cut", OPEN_CUT, 06777, 0, 0, USER_DOES },
    { "root creates what is there", CREATE_CUT, 06777, 0, 0, ROOT_DOES },
    { "create what is there", CREATE_CUT, 06777, 0, 0, USER_DOES },
    { "root allocates", FALLOC, 06777, 0, 0, ROOT_DOES },
    { "allocate", FALLOC, 06777, 0, 0, USER_DOES },
    { "root copies within", COPY, 06777, 0, 0, ROOT_DOES },
    { "copy within", COPY, 06777, 0, 0, USER_DOES },
    { "root gives away", OWN, 06777, 0, 0, ROOT_DOES },
    { "root gives away, group without x", OWN, 06767, 0, OTHER, ROOT_DOES },
    { "root gives away a plain file", OWN, 00644, 0, OTHER, ROOT_DOES },
    { "change the group, root", GROUP_OF, 06755, CALLER, GROUP, ROOT_DOES },
    { "change the group", GROUP_OF, 06777, CALLER, GROUP, USER_IN_OTHER_DOES },
    { "root sets set-gid for others", MODE, 00755, CALLER, OTHER, ROOT_DOES },
    { "the owner sets set-gid", MODE, 00755, CALLER, GROUP, USER_DOES },
};
/* clang-format on */

static int opened(const struct row *r, int flags)
{
    int fd = open(r->name, flags, 0600);

    return fd < 0 ? -errno : fd;
}

static int on_host(const void *arg)
{
    const struct row *r = arg;
    off_t from = 0, to = 2;
    int fd;

    switch (r->act) {
    case CUT_PATH:
        return truncate(r->name, 3) < 0 ? -errno : 0;
    case OWN:
        return chown(r->name, OTHER, (gid_t)-1) < 0 ? -errno : 0;
    case GROUP_OF:
        return chown(r->name, (uid_t)-1, OTHER) < 0 ? -errno : 0;
    case MODE:
        return chmod(r->name, 02755) < 0 ? -errno : 0;
    case OPEN_CUT:
        fd = opened(r, O_WRONLY | O_TRUNC);
        return fd < 0 ? fd : 0;
    case CREATE_CUT:
        fd = opened(r, O_WRONLY | O_CREAT | O_TRUNC);
        return fd < 0 ? fd : 0;
    case WRITE:
    case CUT_FD:
    case FALLOC:
    case COPY:
        break;
    }
    fd = opened(r, O_RDWR);
    if (fd < 0)
        return fd;
    if (r->act == WRITE)
        return pwrite(fd, "x", 1, 0) == 1 ? 0 : -errno;
    if (r->act == CUT_FD)
        return ftruncate(fd, 3) < 0 ? -errno : 0;
    if (r->act == FALLOC)
        return fallocate(fd, 0, 0, 100) < 0 ? -errno : 0;
    return copy_file_range(fd, &from, fd, &to, 1, 0) == 1 ? 0 : -errno;
}

/* --- the guest's kernel: what it sends for such a process ----------------- */

static int send(struct guest_queue *q, const struct row *r, uint32_t op,
                uint64_t node, const void *in, size_t len, const char *name,
                size_t room)
{
    struct fm m;

    fm_init(&m, op, node);
    m.h.uid = r->who.uid;
    m.h.gid = r->who.gid;
    fm_add(&m, in, len);
    if (name)
        fm_add_name(&m, name);
    m.room = room;
    return fm_call(q, &m);
}

static int set(struct guest_queue *q, const struct row *r, uint64_t node,
               struct fuse_setattr_in in)
{
    return send(q, r, FUSE_SETATTR, node, &in, sizeof(in), NULL,
                sizeof(struct fuse_attr_out));
}

static int write_one(struct guest_queue *q, const struct row *r, uint64_t node,
                     uint64_t fh, bool kill)
{
    struct {
        struct fuse_write_in in;
        char data;
    } w = { { .fh = fh,
              .size = 1,
              .write_flags = kill ? FUSE_WRITE_KILL_SUIDGID : 0 },
            'x' };

    return send(q, r, FUSE_WRITE, node, &w,
                offsetof(__typeof__(w), data) + sizeof(w.data), NULL,
                sizeof(struct fuse_write_out));
}

static int with_handle(struct guest_queue *q, const struct row *r,
                       uint64_t node, uint64_t fh, bool kill)
{
    uint32_t killed = kill ? FATTR_KILL_SUIDGID : 0;
    struct fuse_fallocate_in fa = { .fh = fh, .length = 100 };
    struct fuse_copy_file_range_in cp = {
        .fh_in = fh, .nodeid_out = node, .fh_out = fh, .off_out = 2, .len = 1
    };

    if (r->act == WRITE)
        return write_one(q, r, node, fh, kill);
    if (r->act == CUT_FD)
        return set(
            q, r, node,
            (struct fuse_setattr_in){
                .valid = FATTR_SIZE | FATTR_FH | killed, .fh = fh, .size = 3 });
    if (r->act == FALLOC)
        return send(q, r, FUSE_FALLOCATE, node, &fa, sizeof(fa), NULL, 0);
    return send(q, r, FUSE_COPY_FILE_RANGE, node, &cp, sizeof(cp), NULL,
                sizeof(struct fuse_write_out));
}

static int in_guest(struct guest_queue *q, const struct row *r, uint64_t node)
{
    bool kill = r->who.uid != 0; /* no CAP_FSETID */
    uint32_t killed = kill ? FATTR_KILL_SUIDGID : 0;
    struct fuse_open_in cut = { .flags = O_WRONLY | O_TRUNC,
                                .open_flags =
                                    kill ? FUSE_OPEN_KILL_SUIDGID : 0 };
    struct fuse_create_in create = { .flags = O_WRONLY | O_CREAT | O_TRUNC,
                                     .mode = S_IFREG | 0600,
                                     .open_flags = cut.open_flags };
    struct fuse_open_out o;
    int ret;

    switch (r->act) {
    case CUT_PATH:
        return set(q, r, node,
                   (struct fuse_setattr_in){ .valid = FATTR_SIZE | killed,
                                             .size = 3 });
    case OWN: /* chown: "kill", whoever asks */
        return set(q, r, node,
                   (struct fuse_setattr_in){
                       .valid = FATTR_UID | FATTR_KILL_SUIDGID, .uid = OTHER });
    case GROUP_OF:
        return set(q, r, node,
                   (struct fuse_setattr_in){
                       .valid = FATTR_GID | FATTR_KILL_SUIDGID, .gid = OTHER });
    case MODE:
        return set(q, r, node,
                   (struct fuse_setattr_in){ .valid = FATTR_MODE,
                                             .mode = S_IFREG | 02755 });
    case OPEN_CUT:
        return send(q, r, FUSE_OPEN, node, &cut, sizeof(cut), NULL, sizeof(o));
    case CREATE_CUT:
        return send(q, r, FUSE_CREATE, FC_ROOT, &create, sizeof(create),
                    r->name, sizeof(struct fuse_entry_out) + sizeof(o));
    case WRITE:
    case CUT_FD:
    case FALLOC:
    case COPY:
        break;
    }
    ret = fc_open(q, FUSE_OPEN, node, O_RDWR, &o);
    if (ret != 0)
        return ret;
    ret = with_handle(q, r, node, o.fh, kill);
    CHECK_EQ(fc_release(q, FUSE_RELEASE, node, o.fh), 0, r->why);
    return ret;
}

/* --- both, and what came of it ---------------------------------------------
 */

static void prepare(const struct vm *vm, const struct row *r, const char *name,
                    bool caps)
{
    const char *path = daemon_path(vm->d, name);

    host_write(vm, name, "0123456789", 10);
    CHECK_EQ(chown(path, r->uid, r->gid), 0, r->why);
    CHECK_EQ(chmod(path, r->mode), 0, r->why);
    if (caps && !native_set_caps(path))
        tap_diag("no file capabilities here");
}

static void compare(struct vm *vm, struct guest_queue *q, const struct row *row,
                    size_t i, bool caps)
{
    struct row r = *row;
    struct fuse_entry_out e;
    char host[32], guest[32];
    int ret;

    snprintf(host, sizeof(host), "host%zu%d", i, caps);
    snprintf(guest, sizeof(guest), "guest%zu%d", i, caps);
    prepare(vm, &r, host, caps);
    prepare(vm, &r, guest, caps);
    r.name = host;
    ret = native_run(&r.who, daemon_share(vm->d), on_host, &r);
    CHECK_EQ(fc_lookup(q, FC_ROOT, guest, &e), 0, r.why);
    r.name = guest;
    CHECK_EQ(in_guest(q, &r, e.nodeid), ret, r.why);
    CHECK_EQ(ret, 0, "the row is something that may be done");
    CHECK_STR(native_tell(daemon_path(vm->d, guest)),
              native_tell(daemon_path(vm->d, host)), r.why);
}

static void all_rows(struct vm *vm, struct guest_queue *q)
{
    CHECK_EQ(chmod(daemon_share(vm->d), 0777), 0, "");
    for (int caps = 0; caps < 2; caps++)
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
            compare(vm, q, &rows[i], i, caps);
}

static bool start(struct vm *vm, const char *const *args, uint64_t offered,
                  struct fuse_init_out *out)
{
    struct vm_opts o = { .d = { .args = args } };

    return vm_start(vm, &o) &&
           CHECK_EQ(fc_init(&vm->q[VM_REQ], offered, out), 0, "INIT");
}

static void set_id_bits_end_as_on_the_host(void)
{
    struct fuse_init_out init;
    struct vm vm;

    if (!needs_root())
        return;
    if (start(&vm, NULL, FUSE_HANDLE_KILLPRIV_V2, &init)) {
        CHECK(init.flags & FUSE_HANDLE_KILLPRIV_V2, "agreed");
        all_rows(&vm, &vm.q[VM_REQ]);
    }
    vm_end(&vm);
}

/* The thread which has just served a caller without CAP_FSETID serves root. */
static void one_request_does_not_decide_for_the_next(void)
{
    static const struct row user = { "", WRITE, 0, 0, 0, USER_DOES };
    static const struct row root = { "", WRITE, 0, 0, 0, ROOT_DOES };
    static const struct row create = {
        "", CREATE_CUT, 0, 0, 0, USER_DOES, "f"
    };
    struct fuse_entry_out e;
    struct fuse_open_out o;
    struct stat st;
    struct vm vm;

    if (!needs_root())
        return;
    if (start(&vm, NULL, FUSE_HANDLE_KILLPRIV_V2, NULL)) {
        struct guest_queue *q = &vm.q[VM_REQ];

        CHECK_EQ(chmod(daemon_share(vm.d), 0777), 0, "");
        host_write(&vm, "f", "", 0);
        CHECK_EQ(fc_lookup(q, FC_ROOT, "f", &e), 0, "");
        CHECK_EQ(fc_open(q, FUSE_OPEN, e.nodeid, O_RDWR, &o), 0, "");
        for (int i = 0; i < 8; i++) {
            bool by_user = i % 4 != 0;

            CHECK_EQ(chmod(daemon_path(vm.d, "f"), 06777), 0, "");
            CHECK_EQ(
                write_one(q, by_user ? &user : &root, e.nodeid, o.fh, by_user),
                0, "");
            CHECK_EQ(stat(daemon_path(vm.d, "f"), &st), 0, "");
            CHECK_EQ(st.st_mode & 07777, by_user ? 0777 : 06777, "");
            /* With a change of ids between, which fills the capabilities. */
            if (i & 2)
                CHECK_EQ(in_guest(q, &create, e.nodeid), 0, "");
        }
    }
    vm_end(&vm);
}

static void without_the_agreement_flags_mean_nothing(void)
{
    static const char *const no[] = { "--no-killpriv-v2", NULL };
    static const struct row user = { "", WRITE, 0, 0, 0, USER_DOES };
    struct fuse_init_out init;
    struct fuse_entry_out e;
    struct fuse_open_out o;
    struct stat st;

    for (int i = 0; i < 2; i++) {
        uint64_t offered = i ? FUSE_HANDLE_KILLPRIV_V2 : 0;
        struct vm vm;

        if (start(&vm, i ? no : NULL, offered | FUSE_HANDLE_KILLPRIV, &init)) {
            struct guest_queue *q = &vm.q[VM_REQ];

            CHECK_EQ(init.flags &
                         (FUSE_HANDLE_KILLPRIV_V2 | FUSE_HANDLE_KILLPRIV),
                     0, "not agreed");
            host_write(&vm, "f", "", 0);
            CHECK_EQ(chmod(daemon_path(vm.d, "f"), 06777), 0, "");
            CHECK_EQ(fc_lookup(q, FC_ROOT, "f", &e), 0, "");
            CHECK_EQ(fc_open(q, FUSE_OPEN, e.nodeid, O_RDWR, &o), 0, "");
            CHECK_EQ(write_one(q, &user, e.nodeid, o.fh, true), 0, "");
            CHECK_EQ(stat(daemon_path(vm.d, "f"), &st), 0, "");
            if (geteuid() == 0)
                CHECK_EQ(st.st_mode & 07777, 06777, "the guest clears them");
        }
        vm_end(&vm);
    }
}

TAP_MAIN(TEST(set_id_bits_end_as_on_the_host),
         TEST(one_request_does_not_decide_for_the_next),
         TEST(without_the_agreement_flags_mean_nothing))
