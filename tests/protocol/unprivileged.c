/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/protocol/user.h"
#include "tests/protocol/vm.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

/*
 * The program as an ordinary user, in every sandbox that such a one can have:
 * whom new files belong to, whose ids the guest sees, and what is refused.
 */

#define ARGS(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define MAP_SELF  ":0:12345:1:"     /* USER_ID */
#define MAP_SUBS  ":1:200000:1000:" /* USER_SUBIDS, USER_SUB_N */
#define OVERFLOW  65534 /* what an id outside of the map looks like */

static const struct fc_who user = { USER_ID, USER_ID };
static const struct fc_who other = { 1000, 1000 };

static void as_user(const char *const *args,
                    void (*body)(struct vm *vm, struct guest_queue *q))
{
    struct vm_opts o = {
        .d = { .args = args, .set_ids = true, .uid = USER_ID, .gid = USER_ID }
    };

    vm_run(&o, body);
    if (tap_failing())
        tap_diag("with %s", args[0]);
}

static struct stat host(const struct vm *vm, const char *name)
{
    struct stat st = { 0 };

    CHECK_EQ(lstat(daemon_path(vm->d, name), &st), 0, name);
    return st;
}

static int chown_to(struct guest_queue *q, uint64_t node, uint32_t uid,
                    uint32_t gid)
{
    struct fuse_setattr_in in = { .valid = FATTR_UID | FATTR_GID };
    struct fuse_attr_out a;

    in.uid = uid;
    in.gid = gid;
    return fc_setattr(q, node, &in, &a);
}

/* Data, names, attributes: all that takes no right but that of the owner. */
static void work_on_own_files(struct vm *vm, struct guest_queue *q)
{
    struct fuse_setattr_in sa = { .valid =
                                      FATTR_SIZE | FATTR_MODE | FATTR_MTIME };
    struct fuse_entry_out e, d, x;
    struct fuse_attr_out a;
    struct fuse_open_out f;
    const void *data;
    char got[8];
    size_t len;
    uint32_t n;

    CHECK_EQ(fc_mkdir(q, NULL, FC_ROOT, "dir", 0750, &d), 0, "");
    CHECK_EQ(fc_create(q, NULL, d.nodeid, "f", O_RDWR, 0640, &e, &f), 0, "");
    CHECK_EQ(fc_write(q, e.nodeid, f.fh, 0, "contents", 8, &n), 0, "");
    CHECK_EQ(fc_read(q, e.nodeid, f.fh, 0, 8, &data, &len), 0, "");
    CHECK_EQ(len, 8, "");
    CHECK_EQ(host_read(vm, "dir/f", got, 8), 8, "");
    CHECK_MEM(got, "contents", 8, "");
    sa.size = 4;
    sa.mode = 0600;
    sa.mtime = 1000000000;
    CHECK_EQ(fc_setattr(q, e.nodeid, &sa, &a), 0, "");
    CHECK_EQ(a.attr.ino, host(vm, "dir/f").st_ino, "");
    CHECK_EQ(a.attr.size, 4, "");
    CHECK_EQ(a.attr.mode, S_IFREG | 0600, "");
    CHECK_EQ(a.attr.mtime, 1000000000, "");
    CHECK_EQ(fc_release(q, FUSE_RELEASE, e.nodeid, f.fh), 0, "");
    CHECK_EQ(fc_link(q, e.nodeid, FC_ROOT, "hard", &x), 0, "");
    CHECK_EQ(x.attr.nlink, 2, "");
    CHECK_EQ(fc_symlink(q, NULL, FC_ROOT, "soft", "hard", &x), 0, "");
    CHECK_EQ(fc_mknod(q, NULL, FC_ROOT, "fifo", S_IFIFO | 0600, 0, &x), 0, "");
    CHECK_EQ(fc_mknod(q, NULL, FC_ROOT, "dev", S_IFCHR | 0600, 0x103, &x),
             -EPERM, "devices are root's");
    CHECK_EQ(fc_rename(q, d.nodeid, "f", FC_ROOT, "g", 0), 0, "");
    CHECK_EQ(fc_remove(q, FUSE_RMDIR, FC_ROOT, "dir"), 0, "");
    CHECK_EQ(fc_remove(q, FUSE_UNLINK, FC_ROOT, "g"), 0, "");
    CHECK_EQ(fc_remove(q, FUSE_UNLINK, FC_ROOT, "hard"), 0, "");
}

static int set_xattr(struct guest_queue *q, uint64_t node, const char *name)
{
    struct fuse_setxattr_in in = { .size = 5 };
    struct fm m;

    fm_init(&m, FUSE_SETXATTR, node);
    fm_add(&m, &in, FUSE_COMPAT_SETXATTR_IN_SIZE);
    fm_add_name(&m, name);
    fm_add(&m, "value", 5);
    return fm_call(q, &m);
}

static void xattrs_of_own_files(struct vm *vm, struct guest_queue *q)
{
    struct fuse_entry_out e;
    char v[8];

    host_write(vm, "probe", "", 0);
    if (setxattr(daemon_path(vm->d, "probe"), "user.x", "", 0, 0) < 0)
        return; /* not on this file system */
    CHECK_EQ(fc_mkdir(q, NULL, FC_ROOT, "x", 0755, &e), 0, "");
    CHECK_EQ(set_xattr(q, e.nodeid, "user.x"), 0, "");
    CHECK_EQ(getxattr(daemon_path(vm->d, "x"), "user.x", v, 8), 5, "");
    CHECK_EQ(set_xattr(q, e.nodeid, "trusted.x"), -EPERM, "root's");
}

/* A file of root's in the user's directory, as every user meets it. */
static void meet_a_file_of_roots(struct vm *vm, struct guest_queue *q,
                                 uint32_t looks_like)
{
    struct fuse_setattr_in sa = { .valid = FATTR_MODE, .mode = 0666 };
    struct fuse_entry_out e;
    struct fuse_attr_out a;
    struct fuse_open_out f;

    host_write(vm, "roots", "text", 4);
    CHECK_EQ(fc_lookup(q, FC_ROOT, "roots", &e), 0, "");
    CHECK_EQ(e.attr.uid, looks_like, "");
    CHECK_EQ(fc_open(q, FUSE_OPEN, e.nodeid, O_RDONLY, &f), 0, "mode 0644");
    CHECK_EQ(fc_open(q, FUSE_OPEN, e.nodeid, O_RDONLY | O_NOATIME, &f), 0,
             "O_NOATIME is the owner's, but a wish only");
    CHECK_EQ(fc_open(q, FUSE_OPEN, e.nodeid, O_RDWR, &f), -EACCES, "");
    CHECK_EQ(fc_setattr(q, e.nodeid, &sa, &a), -EPERM, "chmod");
    CHECK_EQ(chown_to(q, e.nodeid, USER_ID, USER_ID), -EPERM, "chown");
    CHECK_EQ(chmod(daemon_path(vm->d, "roots"), 0600), 0, "");
    CHECK_EQ(fc_open(q, FUSE_OPEN, e.nodeid, O_RDONLY, &f), -EACCES, "");
    CHECK_EQ(fc_remove(q, FUSE_UNLINK, FC_ROOT, "roots"), 0,
             "the directory is the user's");
}

/* The guest sees the host's ids; root and the user itself make files that
 * are the user's; nobody else makes any. */
static void ids_are_as_outside(struct vm *vm, struct guest_queue *q)
{
    struct fuse_entry_out e, x;
    struct fuse_open_out f;

    CHECK_EQ(fc_mkdir(q, NULL, FC_ROOT, "r", 0755, &e), 0, "root");
    CHECK_EQ(e.attr.uid, USER_ID, "is us");
    CHECK_EQ(host(vm, "r").st_uid, USER_ID, "");
    CHECK_EQ(fc_create(q, &user, FC_ROOT, "u", O_RDWR, 0644, &x, &f), 0, "");
    CHECK_EQ(x.attr.uid, USER_ID, "");
    CHECK_EQ(x.attr.gid, USER_ID, "");
    CHECK_EQ(host(vm, "u").st_uid, USER_ID, "");
    CHECK_EQ(fc_mkdir(q, &other, FC_ROOT, "o", 0755, &x), -EPERM, "another");
    CHECK_EQ(fc_symlink(q, &other, FC_ROOT, "o", "t", &x), -EPERM, "");
    CHECK_EQ(fc_create(q, &other, FC_ROOT, "o", O_RDWR, 0644, &x, &f), -EPERM,
             "");
    CHECK_EQ(access(daemon_path(vm->d, "o"), F_OK), -1, "nothing was made");
    CHECK_EQ(chown_to(q, e.nodeid, USER_ID, USER_ID), 0, "as it is");
    CHECK_EQ(chown_to(q, e.nodeid, 0, 0), -EPERM, "to root");
    CHECK_EQ(chown_to(q, e.nodeid, 1000, USER_ID), -EPERM, "to another");
    CHECK_EQ(chown_to(q, e.nodeid, USER_ID, 1000), -EPERM, "to their group");
    CHECK_EQ(host(vm, "r").st_uid, USER_ID, "");
    work_on_own_files(vm, q);
    xattrs_of_own_files(vm, q);
}

static void serve_without(struct vm *vm, struct guest_queue *q)
{
    ids_are_as_outside(vm, q);
    meet_a_file_of_roots(vm, q, 0);
}

static void a_user_serves_without_a_sandbox(void)
{
    if (user_ready(false))
        as_user(ARGS("--sandbox=none", "--xattr", "--preserve-noatime"),
                serve_without);
}

static void serve_inside(struct vm *vm, struct guest_queue *q)
{
    ids_are_as_outside(vm, q);
    meet_a_file_of_roots(vm, q, OVERFLOW);
}

static void a_user_serves_in_a_user_namespace(void)
{
    if (user_ready(true))
        as_user(ARGS("--sandbox=namespace", "--xattr", "--preserve-noatime"),
                serve_inside);
}

/* One's own id alone takes no helper, whatever it is inside. */
static void be_root_inside(struct vm *vm, struct guest_queue *q)
{
    struct fuse_entry_out e;

    CHECK_EQ(fc_mkdir(q, NULL, FC_ROOT, "r", 0755, &e), 0, "root");
    CHECK_EQ(e.attr.uid, 0, "");
    CHECK_EQ(e.attr.gid, 0, "");
    CHECK_EQ(host(vm, "r").st_uid, USER_ID, "");
    CHECK_EQ(chown_to(q, e.nodeid, 0, 0), 0, "");
    CHECK_EQ(chown_to(q, e.nodeid, USER_ID, 0), -EPERM, "no such id inside");
    CHECK_EQ(fc_mkdir(q, &user, FC_ROOT, "u", 0755, &e), -EPERM, "");
}

static void without_helpers(void)
{
    setenv("PATH", "/nonexistent", 1);
    as_user(ARGS("--uid-map=" MAP_SELF, "--gid-map=" MAP_SELF), be_root_inside);
}

static void ones_own_id_can_be_root_inside(void)
{
    if (user_ready(true))
        user_in_child(without_helpers);
}

/* Translation comes on top: the recipe for one user's files. */
static void be_a_thousand(struct vm *vm, struct guest_queue *q)
{
    struct fuse_entry_out e;

    CHECK_EQ(fc_mkdir(q, NULL, FC_ROOT, "r", 0755, &e), 0, "root");
    CHECK_EQ(e.attr.uid, 1000, "");
    CHECK_EQ(fc_mkdir(q, &other, FC_ROOT, "o", 0755, &e), 0, "1000");
    CHECK_EQ(e.attr.uid, 1000, "");
    CHECK_EQ(e.attr.gid, 1000, "");
    CHECK_EQ(fc_mkdir(q, &(struct fc_who){ 7, 8 }, FC_ROOT, "x", 0755, &e), 0,
             "anybody");
    CHECK_EQ(chown_to(q, e.nodeid, 9, 9), 0, "to anybody");
    CHECK_EQ(host(vm, "x").st_uid, USER_ID, "");
    CHECK_EQ(host(vm, "x").st_gid, USER_ID, "");
}

static void everybody_can_be_squashed_to_the_user(void)
{
    static const char *const sandbox[] = { "--sandbox=none",
                                           "--sandbox=namespace" };

    for (size_t i = 0; i < ARRAY_SIZE(sandbox); i++) {
        if (user_ready(i > 0))
            as_user(ARGS(sandbox[i],
                         "--translate-uid=squash-guest:0:12345:4294967295",
                         "--translate-gid=squash-guest:0:12345:4294967295",
                         "--translate-uid=host:12345:1000:1",
                         "--translate-gid=host:12345:1000:1"),
                    be_a_thousand);
    }
}

static void a_user_can_not_chroot(void)
{
    if (user_ready(false))
        fails_with(&(struct daemon_opts){ .args = ARGS("--sandbox=chroot"),
                                          .set_ids = true,
                                          .uid = USER_ID,
                                          .gid = USER_ID },
                   "--sandbox chroot needs root");
}

/* ---- ranges of ids, by newuidmap ---- */

#define MAPS                                                                   \
    "--uid-map=" MAP_SELF, "--uid-map=" MAP_SUBS, "--gid-map=" MAP_SELF,       \
        "--gid-map=" MAP_SUBS

static const struct daemon_opts mapped = {
    .args = (const char *const[]){ MAPS, NULL },
    .set_ids = true,
    .uid = USER_ID,
    .gid = USER_ID,
};

static bool helpers(void)
{
    if (access("/usr/bin/newuidmap", X_OK) == 0 &&
        access("/usr/bin/newgidmap", X_OK) == 0)
        return true;
    tap_skip("newuidmap is not installed (package uidmap)");
    return false;
}

static void use_the_range(struct vm *vm, struct guest_queue *q)
{
    const struct fc_who five = { 5, 6 }, last = { USER_SUB_N, USER_SUB_N },
                        beyond = { USER_SUB_N + 1, 0 };
    struct fuse_entry_out e;

    CHECK_EQ(chmod(daemon_share(vm->d), 0777), 0, "");
    CHECK_EQ(fc_mkdir(q, NULL, FC_ROOT, "r", 0755, &e), 0, "");
    CHECK_EQ(e.attr.uid, 0, "root");
    CHECK_EQ(host(vm, "r").st_uid, USER_ID, "is the user");
    CHECK_EQ(fc_mkdir(q, &five, FC_ROOT, "five", 0755, &e), 0, "");
    CHECK_EQ(e.attr.uid, 5, "");
    CHECK_EQ(host(vm, "five").st_uid, USER_SUBIDS + 4, "");
    CHECK_EQ(host(vm, "five").st_gid, USER_SUBIDS + 5, "");
    CHECK_EQ(fc_mkdir(q, &last, FC_ROOT, "last", 0755, &e), 0, "");
    CHECK_EQ(host(vm, "last").st_uid, USER_SUBIDS + USER_SUB_N - 1, "");
    CHECK_EQ(fc_mkdir(q, &beyond, FC_ROOT, "beyond", 0755, &e), -EPERM, "");
    CHECK_EQ(chown_to(q, e.nodeid, 7, 8), 0, "within the range");
    CHECK_EQ(host(vm, "last").st_uid, USER_SUBIDS + 6, "");
    CHECK_EQ(host(vm, "last").st_gid, USER_SUBIDS + 7, "");
    CHECK_EQ(chown_to(q, e.nodeid, USER_SUB_N + 1, 0), -EPERM, "beyond it");
    work_on_own_files(vm, q);
    meet_a_file_of_roots(vm, q, OVERFLOW);
}

static void with_range(void)
{
    if (!CHECK_EQ(user_etc(true), 0, "files of /etc"))
        return;
    as_user(ARGS(MAPS, "--preserve-noatime"), use_the_range);
}

static void a_range_of_ids_serves_many_users(void)
{
    if (user_ready(true) && helpers())
        user_in_child(with_range);
}

static void no_range_body(void)
{
    if (CHECK_EQ(user_etc(false), 0, "files of /etc"))
        fails_with(&mapped, "does a range in /etc/subgid hold it?");
}

static void a_missing_range_is_told(void)
{
    if (user_ready(true) && helpers())
        user_in_child(no_range_body);
}

static void no_helper_body(void)
{
    setenv("PATH", "/nonexistent", 1);
    fails_with(&mapped, "newgidmap is not in PATH");
}

static void a_missing_newuidmap_is_told(void)
{
    if (user_ready(true))
        user_in_child(no_helper_body);
}

static void no_userns_body(void)
{
    struct daemon_opts o = mapped;

    if (!CHECK_EQ(user_forbid_userns(), 0, "a filter"))
        return;
    o.args = NULL;
    fails_with(&o, "are user namespaces forbidden");
}

static void forbidden_user_namespaces_are_told(void)
{
    if (user_ready(true))
        user_in_child(no_userns_body);
}

TAP_MAIN(TEST(a_user_serves_without_a_sandbox),
         TEST(a_user_serves_in_a_user_namespace),
         TEST(ones_own_id_can_be_root_inside),
         TEST(everybody_can_be_squashed_to_the_user),
         TEST(a_user_can_not_chroot), TEST(a_range_of_ids_serves_many_users),
         TEST(a_missing_range_is_told), TEST(a_missing_newuidmap_is_told),
         TEST(forbidden_user_namespaces_are_told))
