/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files made by guest users, and their ACLs.  Each row is done twice: by a
 * process on the host, and by requests as a Linux guest makes them for such a
 * process once POSIX_ACL, DONT_MASK and CREATE_SUPP_GROUP are agreed.
 */
#include <fcntl.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "fuse/proto.h"
#include "tests/protocol/native.h"
#include "tests/protocol/vm.h"

#define CALLER 1001
#define GROUP  1002
#define TEAM   1003
#define NOBODY 1004

#define ACCESS  "system.posix_acl_access"
#define INHERIT "system.posix_acl_default"
#define OFFERED                                                                \
    (FUSE_POSIX_ACL | FUSE_DONT_MASK | FUSE_SETXATTR_EXT |                     \
     PROTO_CREATE_SUPP_GROUP | FUSE_SECURITY_CTX)

struct acl {
    struct posix_acl_xattr_header h;
    struct posix_acl_xattr_entry e[5];
};

/* u::rwx, u:@uid:rwx, g::r-x, m::rwx, o::--- */
static struct acl acl_for(uint32_t uid)
{
    const uint32_t none = (uint32_t)ACL_UNDEFINED_ID;

    return (struct acl){
        { POSIX_ACL_XATTR_VERSION },
        { { ACL_USER_OBJ, 7, none },
          { ACL_USER, 7, uid },
          { ACL_GROUP_OBJ, 5, none },
          { ACL_MASK, 7, none },
          { ACL_OTHER, 0, none } },
    };
}

enum kind { FILE_OF, UNNAMED, DIRECTORY, NODE, FIFO, SYMLINK };

struct row {
    const char *why;
    enum kind kind;
    mode_t mode; /* of what is made */
    struct {
        mode_t mode;
        uid_t uid;
        gid_t gid;
        bool inherit; /* a default ACL */
    } dir;
    struct native_who who;
    const char *name; /* dir and file */
};

/* clang-format off */
#define ROOT_MAKES   { .umask = 022 }
#define USER_MAKES   { .uid = CALLER, .gid = GROUP, .umask = 022 }
#define MEMBER_MAKES { .uid = CALLER, .gid = GROUP, .groups = { NOBODY, TEAM }, \
                       .n_groups = 2, .umask = 027 }
#define OPEN_DIR     { 0777, 0, 0, false }
#define SGID_DIR     { 02777, 0, TEAM, false }
#define TEAM_DIR     { 0770, 0, TEAM, false }
#define TEAM_SGID    { 02770, 0, TEAM, false }
#define ACL_DIR      { 0777, 0, 0, true }
#define ACL_SGID_DIR { 02777, 0, TEAM, true }

static const struct row rows[] = {
    { "root's file", FILE_OF, 0666, OPEN_DIR, ROOT_MAKES, "" },
    { "a user's file", FILE_OF, 0666, OPEN_DIR, USER_MAKES, "" },
    { "its set-id bits", FILE_OF, 06755, OPEN_DIR, USER_MAKES, "" },
    { "a directory", DIRECTORY, 0777, OPEN_DIR, USER_MAKES, "" },
    { "a sticky one", DIRECTORY, 01777, OPEN_DIR, USER_MAKES, "" },
    { "a file by mknod", NODE, 0666, OPEN_DIR, USER_MAKES, "" },
    { "a fifo", FIFO, 0666, OPEN_DIR, USER_MAKES, "" },
    { "a symbolic link", SYMLINK, 0, OPEN_DIR, USER_MAKES, "" },
    { "a file without a name", UNNAMED, 0666, OPEN_DIR, USER_MAKES, "" },
    { "set-gid: file", FILE_OF, 0666, SGID_DIR, USER_MAKES, "" },
    { "set-gid: link", SYMLINK, 0, SGID_DIR, USER_MAKES, "" },
    { "set-gid: directory", DIRECTORY, 0777, SGID_DIR, USER_MAKES, "" },
    { "set-gid: executable of a stranger", FILE_OF, 02755, SGID_DIR, USER_MAKES, "" },
    { "set-gid: executable of a member", FILE_OF, 02755, SGID_DIR, MEMBER_MAKES, "" },
    { "set-gid: executable of root", FILE_OF, 02755, SGID_DIR, ROOT_MAKES, "" },
    { "set-gid: mknod of a stranger", NODE, 02755, SGID_DIR, USER_MAKES, "" },
    { "set-gid: mknod of a member", NODE, 02755, SGID_DIR, MEMBER_MAKES, "" },
    { "the group may write: file", FILE_OF, 0666, TEAM_DIR, MEMBER_MAKES, "" },
    { "the group may write: directory", DIRECTORY, 0777, TEAM_DIR, MEMBER_MAKES, "" },
    { "the same, set-gid: file", FILE_OF, 02775, TEAM_SGID, MEMBER_MAKES, "" },
    { "the same, set-gid: directory", DIRECTORY, 0777, TEAM_SGID, MEMBER_MAKES, "" },
    { "the same, set-gid: fifo", FIFO, 0666, TEAM_SGID, MEMBER_MAKES, "" },
    { "default ACL: root's file", FILE_OF, 0666, ACL_DIR, ROOT_MAKES, "" },
    { "default ACL: file", FILE_OF, 0666, ACL_DIR, USER_MAKES, "" },
    { "default ACL: private file", FILE_OF, 0600, ACL_DIR, USER_MAKES, "" },
    { "default ACL: directory", DIRECTORY, 0777, ACL_DIR, USER_MAKES, "" },
    { "default ACL: mknod", NODE, 0666, ACL_DIR, USER_MAKES, "" },
    { "default ACL: link", SYMLINK, 0, ACL_DIR, USER_MAKES, "" },
    { "default ACL: without a name", UNNAMED, 0666, ACL_DIR, USER_MAKES, "" },
    { "both: file of a stranger", FILE_OF, 02777, ACL_SGID_DIR, USER_MAKES, "" },
    { "both: directory", DIRECTORY, 0777, ACL_SGID_DIR, MEMBER_MAKES, "" },
    { "no umask after one", FILE_OF, 0666, OPEN_DIR, { .uid = CALLER, .gid = GROUP }, "" },
    { "no default ACL again", FILE_OF, 0666, OPEN_DIR, MEMBER_MAKES, "" },
};
/* clang-format on */

static int on_host(const void *arg)
{
    const struct row *r = arg;
    char dir[32], fd_name[32];
    int fd, ret = 0;

    switch (r->kind) {
    case FILE_OF:
        fd = open(r->name, O_WRONLY | O_CREAT | O_EXCL, r->mode);
        return fd < 0 ? -errno : 0;
    case UNNAMED:
        snprintf(dir, sizeof(dir), "%.*s", (int)strcspn(r->name, "/"), r->name);
        fd = open(dir, O_WRONLY | O_TMPFILE, r->mode);
        if (fd < 0)
            return -errno;
        snprintf(fd_name, sizeof(fd_name), "/proc/self/fd/%d", fd);
        ret = linkat(AT_FDCWD, fd_name, AT_FDCWD, r->name, AT_SYMLINK_FOLLOW);
        break;
    case DIRECTORY:
        ret = mkdir(r->name, r->mode);
        break;
    case NODE:
        ret = mknod(r->name, S_IFREG | r->mode, 0);
        break;
    case FIFO:
        ret = mkfifo(r->name, r->mode);
        break;
    case SYMLINK:
        ret = symlink("target", r->name);
        break;
    }
    return ret < 0 ? -errno : 0;
}

/* --- the guest's kernel ----------------------------------------------------
 */

struct extensions {
    struct proto_ext_header h;
    uint32_t nr_groups;
    uint32_t group;
};

/* Of the caller's groups Linux names the one that owns the directory. */
static size_t extensions_for(const struct row *r, struct extensions *x)
{
    for (uint32_t i = 0; i < r->who.n_groups; i++) {
        if (r->who.groups[i] == r->dir.gid && r->dir.gid != r->who.gid) {
            *x = (struct extensions){ { sizeof(*x), PROTO_EXT_GROUPS },
                                      1,
                                      r->dir.gid };
            return sizeof(*x);
        }
    }
    return 0;
}

static int in_guest(struct guest_queue *q, const struct row *r, uint64_t dir,
                    const char *name, struct fuse_entry_out *e)
{
    struct fuse_create_in create = { .flags = O_WRONLY | O_CREAT | O_EXCL,
                                     .mode = S_IFREG | r->mode,
                                     .umask = r->who.umask };
    struct fuse_mkdir_in md = { .mode = r->mode, .umask = r->who.umask };
    struct fuse_mknod_in mn = { .mode = r->mode, .umask = r->who.umask };
    struct extensions x;
    size_t len = extensions_for(r, &x);
    struct fm m;
    int ret;

    fm_init(&m, FUSE_CREATE, dir);
    m.room = sizeof(*e);
    switch (r->kind) {
    case UNNAMED:
        fm_init(&m, PROTO_TMPFILE, dir);
        create.flags = O_WRONLY; /* O_EXCL: it may never get a name */
        __attribute__((fallthrough));
    case FILE_OF:
        fm_add(&m, &create, sizeof(create));
        m.room += sizeof(struct fuse_open_out);
        break;
    case DIRECTORY:
        fm_init(&m, FUSE_MKDIR, dir);
        fm_add(&m, &md, sizeof(md));
        break;
    case NODE:
    case FIFO:
        fm_init(&m, FUSE_MKNOD, dir);
        mn.mode |= r->kind == FIFO ? S_IFIFO : S_IFREG;
        fm_add(&m, &mn, sizeof(mn));
        break;
    case SYMLINK:
        fm_init(&m, FUSE_SYMLINK, dir);
        break;
    }
    if (r->kind == UNNAMED)
        m.room = sizeof(*e) + sizeof(struct fuse_open_out);
    else if (r->kind != FILE_OF)
        m.room = sizeof(*e);
    m.h.uid = r->who.uid;
    m.h.gid = r->who.gid;
    fm_add_name(&m, name);
    if (r->kind == SYMLINK)
        fm_add_name(&m, "target");
    if (len)
        fm_add(&m, &x, len);
    ret = fm_call(q, &m);
    if (ret == 0)
        memcpy(e, m.out, sizeof(*e));
    return ret;
}

/* --- both ------------------------------------------------------------------
 */

static void prepare(const struct vm *vm, const struct row *r, const char *name)
{
    const char *path = daemon_path(vm->d, name);
    struct acl acl = acl_for(NOBODY);

    CHECK_EQ(mkdir(path, 0700), 0, r->why);
    CHECK_EQ(chown(path, r->dir.uid, r->dir.gid), 0, r->why);
    if (r->dir.inherit)
        CHECK_EQ(setxattr(path, INHERIT, &acl, sizeof(acl), 0), 0, r->why);
    CHECK_EQ(chmod(path, r->dir.mode), 0, r->why);
}

static void compare(struct vm *vm, struct guest_queue *q, struct row r,
                    size_t i)
{
    struct fuse_entry_out dir, e = { 0 };
    char host[32], guest[32], path[64];
    int ret;

    snprintf(host, sizeof(host), "host%zu", i);
    snprintf(guest, sizeof(guest), "guest%zu", i);
    prepare(vm, &r, host);
    prepare(vm, &r, guest);
    snprintf(path, sizeof(path), "%s/x", host);
    r.name = path;
    ret = native_run(&r.who, daemon_share(vm->d), on_host, &r);
    CHECK_EQ(ret, 0, "the row is something that may be done");
    CHECK_EQ(fc_lookup(q, FC_ROOT, guest, &dir), 0, r.why);
    CHECK_EQ(in_guest(q, &r, dir.nodeid, "x", &e), ret, r.why);
    if (r.kind == UNNAMED)
        CHECK_EQ(fc_link(q, e.nodeid, dir.nodeid, "x", &e), 0, r.why);
    snprintf(guest, sizeof(guest), "guest%zu/x", i);
    CHECK_STR(native_tell(daemon_path(vm->d, guest)),
              native_tell(daemon_path(vm->d, path)), r.why);
    same_as_host(vm, &e.attr, guest);
}

static bool start(struct vm *vm, const char *const *args, uint64_t offered,
                  int want)
{
    struct vm_opts o = { .d = { .args = args } };

    return vm_start(vm, &o) &&
           CHECK_EQ(fc_init(&vm->q[VM_REQ], offered, NULL), want, "INIT");
}

static const char *const with_acl[] = { "--posix-acl", NULL };

static bool acls_here(const struct vm *vm)
{
    struct acl acl = acl_for(NOBODY);

    if (setxattr(daemon_share(vm->d), ACCESS, &acl, sizeof(acl), 0) == 0 &&
        removexattr(daemon_share(vm->d), ACCESS) == 0 &&
        chmod(daemon_share(vm->d), 0777) == 0)
        return true;
    tap_skip("no ACLs on this file system");
    return false;
}

static void what_is_made_is_as_on_the_host(void)
{
    struct vm vm;

    if (!needs_root())
        return;
    if (start(&vm, with_acl, OFFERED, 0) && acls_here(&vm)) {
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
            compare(&vm, &vm.q[VM_REQ], rows[i], i);
    }
    vm_end(&vm);
}

/* A guest whose kernel applies the umask itself tells it all the same. */
static void a_umask_that_was_not_agreed_is_not_applied(void)
{
    static const struct row r = { "",       DIRECTORY,        0777,
                                  OPEN_DIR, { .umask = 077 }, "" };
    struct fuse_entry_out e;
    struct vm vm;

    if (start(&vm, NULL, OFFERED, 0)) {
        CHECK_EQ(in_guest(&vm.q[VM_REQ], &r, FC_ROOT, "d", &e), 0, "");
        CHECK_EQ(e.attr.mode & 0777, 0777, "");
    }
    vm_end(&vm);
}

/* --- ACLs set by the guest ---------------------------------------------------
 */

static int set_acl(struct guest_queue *q, uint64_t node, const char *name,
                   const void *v, size_t len, uint32_t flags)
{
    struct fuse_setxattr_in in = { .size = (uint32_t)len,
                                   .setxattr_flags = flags };
    struct fm m;

    fm_init(&m, FUSE_SETXATTR, node);
    fm_add(&m, &in, sizeof(in));
    fm_add_name(&m, name);
    fm_add(&m, v, len);
    return fm_call(q, &m);
}

static int get_acl(struct guest_queue *q, uint64_t node, struct acl *acl)
{
    struct fuse_getxattr_in in = { .size = sizeof(*acl) };
    struct fm m;
    int ret;

    fm_init(&m, FUSE_GETXATTR, node);
    fm_add(&m, &in, sizeof(in));
    fm_add_name(&m, ACCESS);
    m.room = sizeof(*acl);
    ret = fm_call(q, &m);
    if (ret == 0 && CHECK_EQ(m.out_len, sizeof(*acl), ""))
        memcpy(acl, m.out, sizeof(*acl));
    return ret;
}

static int acl_on_host(const void *name)
{
    struct acl acl = acl_for(NOBODY);

    return setxattr(name, ACCESS, &acl, sizeof(acl), 0) < 0 ? -errno : 0;
}

static void an_acl_does_to_the_mode_what_it_does_on_the_host(void)
{
    static const struct {
        const char *why;
        uid_t uid;
        gid_t gid;
        struct native_who who;
        bool kill; /* not in the group, no CAP_FSETID */
    } acls[] = {
        { "the owner, in the group", CALLER, GROUP, USER_MAKES, false },
        { "the owner, not in the group", CALLER, TEAM, USER_MAKES, true },
        { "the owner of a file of group 0", CALLER, 0, USER_MAKES, true },
        { "root", CALLER, TEAM, ROOT_MAKES, false },
    };
    struct acl acl = acl_for(NOBODY), got;
    struct fuse_entry_out e;
    struct vm vm;

    if (!needs_root())
        return;
    if (start(&vm, with_acl, OFFERED, 0) && acls_here(&vm)) {
        struct guest_queue *q = &vm.q[VM_REQ];

        for (size_t i = 0; i < ARRAY_SIZE(acls); i++) {
            for (int k = 0; k < 2; k++) {
                const char *path = daemon_path(vm.d, k ? "guest" : "host");

                unlink(path);
                host_write(&vm, k ? "guest" : "host", "", 0);
                CHECK_EQ(chown(path, acls[i].uid, acls[i].gid), 0, "");
                CHECK_EQ(chmod(path, 02755), 0, "");
            }
            CHECK_EQ(native_run(&acls[i].who, daemon_share(vm.d), acl_on_host,
                                "host"),
                     0, acls[i].why);
            CHECK_EQ(fc_lookup(q, FC_ROOT, "guest", &e), 0, "");
            CHECK_EQ(set_acl(q, e.nodeid, ACCESS, &acl, sizeof(acl),
                             acls[i].kill ? FUSE_SETXATTR_ACL_KILL_SGID : 0),
                     0, acls[i].why);
            CHECK_STR(native_tell(daemon_path(vm.d, "guest")),
                      native_tell(daemon_path(vm.d, "host")), acls[i].why);
        }
        CHECK_EQ(get_acl(q, e.nodeid, &got), 0, "read back");
        CHECK_MEM(&got, &acl, sizeof(acl), "");
        CHECK_EQ(set_acl(q, e.nodeid, ACCESS, &acl, 7, 0), -EINVAL, "cut");
        CHECK_EQ(set_acl(q, e.nodeid, ACCESS, "\1\0\0\0", 4, 0), -EOPNOTSUPP,
                 "another version");
        CHECK_EQ(set_acl(q, FC_ROOT, INHERIT, &acl, sizeof(acl), 0), 0, "");
        CHECK_EQ(fc_remove(q, FUSE_REMOVEXATTR, FC_ROOT, INHERIT), 0, "");
    }
    vm_end(&vm);
}

static void ids_in_acls_are_translated(void)
{
    static const char *const args[] = { "--posix-acl",
                                        "--translate-uid=map:10:1010:5",
                                        "--translate-uid=forbid-guest:66:1",
                                        NULL };
    struct acl acl = acl_for(12), host;
    struct fuse_entry_out e;
    struct vm vm;

    if (!needs_root())
        return;
    if (start(&vm, args, OFFERED, 0) && acls_here(&vm)) {
        struct guest_queue *q = &vm.q[VM_REQ];

        host_write(&vm, "f", "", 0);
        CHECK_EQ(fc_lookup(q, FC_ROOT, "f", &e), 0, "");
        CHECK_EQ(set_acl(q, e.nodeid, ACCESS, &acl, sizeof(acl), 0), 0, "");
        CHECK_EQ(getxattr(daemon_path(vm.d, "f"), ACCESS, &host, sizeof(host)),
                 sizeof(host), "");
        CHECK_EQ(host.e[1].e_id, 1012, "the host's number");
        CHECK_EQ(host.e[2].e_id, (uint32_t)ACL_UNDEFINED_ID, "");
        CHECK_EQ(get_acl(q, e.nodeid, &acl), 0, "");
        CHECK_EQ(acl.e[1].e_id, 12, "the guest's again");
        acl = acl_for(66);
        CHECK_EQ(set_acl(q, e.nodeid, ACCESS, &acl, sizeof(acl), 0), -EPERM,
                 "forbidden");
    }
    vm_end(&vm);
}

static void acls_are_negotiated_as_the_option_says(void)
{
    static const struct {
        const char *arg;
        uint64_t offered;
        int init;
        bool agreed;
    } inits[] = {
        { "--posix-acl=never", OFFERED, 0, false },
        { "--posix-acl=auto", OFFERED, 0, true },
        { "--posix-acl=auto", OFFERED & ~(uint64_t)FUSE_DONT_MASK, 0, false },
        { "--posix-acl=always", OFFERED, 0, true },
        { "--posix-acl", OFFERED & ~(uint64_t)FUSE_POSIX_ACL, -EPROTO, false },
        { "--posix-acl", OFFERED & ~(uint64_t)FUSE_DONT_MASK, -EPROTO, false },
        { "-oposix_acl", OFFERED & ~(uint64_t)FUSE_SETXATTR_EXT, -EPROTO,
          false },
    };

    for (size_t i = 0; i < ARRAY_SIZE(inits); i++) {
        const char *const args[] = { inits[i].arg, NULL };
        struct vm_opts o = { .d = { .args = args } };
        const uint32_t all = FUSE_POSIX_ACL | FUSE_DONT_MASK;
        struct fuse_init_out out = { 0 };
        struct vm vm;

        if (vm_start(&vm, &o)) {
            CHECK_EQ(fc_init(&vm.q[VM_REQ], inits[i].offered, &out),
                     inits[i].init, inits[i].arg);
            CHECK_EQ(out.flags & all, inits[i].agreed ? all : 0, inits[i].arg);
            if (inits[i].init)
                CHECK(daemon_wait_log(vm.d, "--posix-acl"), "and it is told");
        }
        vm_end(&vm);
    }
}

TAP_MAIN(TEST(what_is_made_is_as_on_the_host),
         TEST(a_umask_that_was_not_agreed_is_not_applied),
         TEST(an_acl_does_to_the_mode_what_it_does_on_the_host),
         TEST(ids_in_acls_are_translated),
         TEST(acls_are_negotiated_as_the_option_says))
