/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/protocol/vm.h"

#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

/* Extended attributes, as they are and through --xattrmap. */

static int set_xattr(struct guest_queue *q, uint64_t node, const char *name,
                     const void *v, size_t len, uint32_t flags)
{
    struct fuse_setxattr_in in = { .size = (uint32_t)len, .flags = flags };
    struct fm m;

    fm_init(&m, FUSE_SETXATTR, node);
    fm_add(&m, &in, FUSE_COMPAT_SETXATTR_IN_SIZE);
    fm_add_name(&m, name);
    fm_add(&m, v, len);
    return fm_call(q, &m);
}

/* GETXATTR, or LISTXATTR when @name is NULL.  @size 0 asks for the length.
 * Return: as fm_call(). */
static int get_xattr(struct guest_queue *q, uint64_t node, const char *name,
                     uint32_t size, struct fm *m)
{
    struct fuse_getxattr_in in = { .size = size };

    fm_init(m, name ? FUSE_GETXATTR : FUSE_LISTXATTR, node);
    fm_add(m, &in, sizeof(in));
    if (name)
        fm_add_name(m, name);
    m->room = size ? size : sizeof(struct fuse_getxattr_out);
    return fm_call(q, m);
}

static int remove_xattr(struct guest_queue *q, uint64_t node, const char *name)
{
    return fc_remove(q, FUSE_REMOVEXATTR, node, name);
}

/* How long the value, or the list, is said to be; or -errno. */
static int64_t length_of(struct guest_queue *q, uint64_t node, const char *name)
{
    struct fuse_getxattr_out out = { 0 };
    struct fm m;
    int ret = get_xattr(q, node, name, 0, &m);

    if (ret == 0 && CHECK_EQ(m.out_len, sizeof(out), "a length"))
        memcpy(&out, m.out, sizeof(out));
    return ret < 0 ? ret : (int64_t)out.size;
}

/* Is the value, or the list when @name is NULL, what it should be?  Asked for
 * as a program does: the length, then just that, then too little. */
static void reads_as(struct guest_queue *q, uint64_t node, const char *name,
                     const void *want, size_t len, const char *why)
{
    struct fm m;

    if (!CHECK_EQ(length_of(q, node, name), len, why) || !len)
        return;
    CHECK_EQ(get_xattr(q, node, name, (uint32_t)len, &m), 0, why);
    if (CHECK_EQ(m.out_len, len, why))
        CHECK_MEM(m.out, want, len, why);
    if (len > 1)
        CHECK_EQ(get_xattr(q, node, name, (uint32_t)len - 1, &m), -ERANGE, why);
    CHECK_EQ(get_xattr(q, node, name, (uint32_t)len + 9, &m), 0, why);
    CHECK_EQ(m.out_len, len, why);
}

static bool lists(struct guest_queue *q, uint64_t node, const char *name)
{
    struct fm m;

    return CHECK_EQ(get_xattr(q, node, NULL, 65536, &m), 0, "a list") &&
           memmem(m.out, m.out_len, name, strlen(name) + 1) != NULL;
}

static const char *const xattr_args[] = { "--xattr", NULL };
static const struct vm_opts with_xattr = { .d = { .args = xattr_args } };

VM_TEST(xattrs_are_kept_with_the_option, &with_xattr)
{
    struct fuse_entry_out e;
    struct fm m;
    char v[8];

    host_write(vm, "f", "", 0);
    if (setxattr(daemon_path(vm->d, "f"), "user.h", "host", 4, 0) < 0) {
        tap_skip("no xattrs on this file system");
        return;
    }
    CHECK_EQ(fc_lookup(q, FC_ROOT, "f", &e), 0, "");
    CHECK_EQ(set_xattr(q, e.nodeid, "user.g", "guest", 5, 0), 0, "");
    CHECK_EQ(getxattr(daemon_path(vm->d, "f"), "user.g", v, 8), 5, "");
    CHECK_MEM(v, "guest", 5, "");
    CHECK_EQ(set_xattr(q, e.nodeid, "user.g", "x", 1, XATTR_CREATE), -EEXIST,
             "");
    CHECK_EQ(set_xattr(q, e.nodeid, "user.n", "x", 1, XATTR_REPLACE), -ENODATA,
             "");
    CHECK_EQ(set_xattr(q, e.nodeid, "user.g", "other", 5, XATTR_REPLACE), 0,
             "");
    reads_as(q, e.nodeid, "user.g", "other", 5, "replaced");
    reads_as(q, e.nodeid, "user.h", "host", 4, "the host's");
    CHECK_EQ(get_xattr(q, e.nodeid, "user.no", 64, &m), -ENODATA, "");
    CHECK(lists(q, e.nodeid, "user.h"), "listed");
    CHECK(lists(q, e.nodeid, "user.g"), "listed");
    CHECK_EQ(get_xattr(q, e.nodeid, NULL, 3, &m), -ERANGE, "");
    CHECK_EQ(set_xattr(q, e.nodeid, "user.e", "", 0, XATTR_CREATE), 0, "");
    CHECK_EQ(length_of(q, e.nodeid, "user.e"), 0, "an empty value is one");
    CHECK_EQ(get_xattr(q, e.nodeid, "user.e", 64, &m), 0, "");
    CHECK_EQ(m.out_len, 0, "");
    CHECK_EQ(remove_xattr(q, e.nodeid, "user.g"), 0, "");
    CHECK_EQ(remove_xattr(q, e.nodeid, "user.g"), -ENODATA, "");
    CHECK_EQ(set_xattr(q, e.nodeid, "", "x", 1, 0), -ERANGE, "no name");
    CHECK_EQ(set_xattr(q, e.nodeid, "user.g", "x", 1, 0x100), -EINVAL,
             "a flag that is none");
}

VM_TEST(xattrs_are_unknown_without_the_option, NULL)
{
    struct fm m;

    (void)vm;
    CHECK_EQ(set_xattr(q, FC_ROOT, "user.g", "guest", 5, 0), -ENOSYS, "");
    CHECK_EQ(get_xattr(q, FC_ROOT, "user.h", 64, &m), -ENOSYS, "");
    CHECK_EQ(get_xattr(q, FC_ROOT, NULL, 64, &m), -ENOSYS, "");
    CHECK_EQ(remove_xattr(q, FC_ROOT, "user.g"), -ENOSYS, "");
}

/* The form of SETXATTR that FUSE_SETXATTR_EXT brings: @in in full, and @len
 * bytes from the name on. */
static int set_long(struct guest_queue *q, struct fuse_setxattr_in in,
                    const void *rest, size_t len)
{
    struct fm m;

    fm_init(&m, FUSE_SETXATTR, FC_ROOT);
    fm_add(&m, &in, sizeof(in));
    if (len)
        fm_add(&m, rest, len);
    return fm_call(q, &m);
}

static void the_longer_form_is_taken_once_agreed(void)
{
    struct fuse_init_out out;
    struct vm vm;
    char v[8];

    if (vm_start(&vm, &with_xattr)) {
        struct guest_queue *q = &vm.q[VM_REQ];
        struct fuse_setxattr_in in = { .size = 3 };

        CHECK_EQ(fc_init(q, FUSE_SETXATTR_EXT, &out), 0, "INIT");
        CHECK(out.flags & FUSE_SETXATTR_EXT, "agreed");
        if (set_long(q, in, "user.a\0one", 10) == -EOPNOTSUPP) {
            tap_skip("no xattrs on this file system");
            goto end;
        }
        CHECK_EQ(getxattr(daemon_share(vm.d), "user.a", v, 8), 3, "");
        CHECK_MEM(v, "one", 3, "");
        in.flags = XATTR_CREATE;
        CHECK_EQ(set_long(q, in, "user.a\0two", 10), -EEXIST, "flags");
        in.flags = XATTR_REPLACE;
        in.setxattr_flags = FUSE_SETXATTR_ACL_KILL_SGID;
        CHECK_EQ(set_long(q, in, "user.a\0two", 10), 0,
                 "a flag for ACLs does nothing to others");
        reads_as(q, FC_ROOT, "user.a", "two", 3, "");
        CHECK_EQ(set_long(q, in, "user.a\0tw", 9), -EINVAL, "cut short");
        CHECK_EQ(set_long(q, in, "user.a", 6), -EINVAL, "no end of the name");
        CHECK_EQ(set_long(q, in, "", 0), -EINVAL, "no name");
        in.size = UINT32_MAX;
        CHECK_EQ(set_long(q, in, "user.a\0two", 10), -EINVAL, "a lie");
        in.size = 0;
        CHECK_EQ(set_long(q, in, "", 1), -ERANGE, "an empty name");
        reads_as(q, FC_ROOT, "user.a", "two", 3, "as before");
    }
end:
    vm_end(&vm);
}

/* --- every type of file --------------------------------------------------- */

static const struct kind {
    const char *name;
    mode_t type;
} kinds[] = {
    { "regular", S_IFREG }, { "directory", S_IFDIR }, { "symlink", S_IFLNK },
    { "fifo", S_IFIFO },    { "device", S_IFCHR },    { "socket", S_IFSOCK },
};

/* Can root here set trusted attributes, on whatever? */
static bool make_kinds(struct vm *vm)
{
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        const char *path = daemon_path(vm->d, kinds[i].name);
        int ret;

        if (kinds[i].type == S_IFDIR)
            ret = mkdir(path, 0755);
        else if (kinds[i].type == S_IFLNK)
            ret = symlink("regular", path);
        else
            ret = mknod(path, kinds[i].type | 0644, makedev(1, 3));
        CHECK_EQ(ret, 0, kinds[i].name);
        if (lsetxattr(path, "trusted.host", "h", 1, 0) < 0) {
            tap_skip("no trusted xattrs on this file system");
            return false;
        }
    }
    return true;
}

/* Set, read and remove @name of the guest's, which is @host on the host. */
static void goes_round(struct vm *vm, struct guest_queue *q,
                       const struct kind *k, const char *name, const char *host)
{
    const char *path = daemon_path(vm->d, k->name);
    struct fuse_entry_out e;
    char v[8] = "";

    CHECK_EQ(fc_lookup(q, FC_ROOT, k->name, &e), 0, k->name);
    CHECK_EQ(e.attr.mode & S_IFMT, k->type, k->name);
    CHECK_EQ(set_xattr(q, e.nodeid, name, "one", 3, XATTR_CREATE), 0, k->name);
    CHECK_EQ(set_xattr(q, e.nodeid, name, "two", 3, XATTR_CREATE), -EEXIST,
             k->name);
    CHECK_EQ(lgetxattr(path, host, v, sizeof(v)), 3, k->name);
    CHECK_MEM(v, "one", 3, k->name);
    reads_as(q, e.nodeid, name, "one", 3, k->name);
    CHECK(lists(q, e.nodeid, name), k->name);
    CHECK_EQ(remove_xattr(q, e.nodeid, name), 0, k->name);
    CHECK_EQ(lgetxattr(path, host, v, sizeof(v)), -1, k->name);
    CHECK_EQ(remove_xattr(q, e.nodeid, name), -ENODATA, k->name);
}

static const char *const trusted_args[] = { "--xattr", "--modcaps=+sys_admin",
                                            NULL };
static const struct vm_opts with_trusted = { .d = { .args = trusted_args } };

VM_TEST(every_type_of_file_has_xattrs, &with_trusted)
{
    if (!needs_root() || !make_kinds(vm))
        return;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        struct fuse_entry_out e;

        goes_round(vm, q, &kinds[i], "trusted.guest", "trusted.guest");
        CHECK_EQ(fc_lookup(q, FC_ROOT, kinds[i].name, &e), 0, "");
        reads_as(q, e.nodeid, "trusted.host", "h", 1, kinds[i].name);
    }
}

VM_TEST(what_the_host_permits_not_is_not_permitted, &with_xattr)
{
    if (!needs_root() || !make_kinds(vm))
        return;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        const char *path = daemon_path(vm->d, kinds[i].name);
        int user = lsetxattr(path, "user.x", "x", 1, 0) < 0 ? -errno : 0;
        struct fuse_entry_out e;
        struct fm m;

        CHECK_EQ(fc_lookup(q, FC_ROOT, kinds[i].name, &e), 0, "");
        CHECK_EQ(set_xattr(q, e.nodeid, "user.x", "y", 1, 0), user,
                 kinds[i].name);
        CHECK_EQ(set_xattr(q, e.nodeid, "trusted.x", "y", 1, 0), -EPERM,
                 "takes CAP_SYS_ADMIN");
        CHECK_EQ(get_xattr(q, e.nodeid, "trusted.host", 9, &m), -ENODATA,
                 "takes CAP_SYS_ADMIN");
        CHECK(!lists(q, e.nodeid, "trusted.host"), "takes CAP_SYS_ADMIN");
        CHECK_EQ(set_xattr(q, e.nodeid, "security.x", "y", 1, 0), -EPERM,
                 "takes CAP_SYS_ADMIN");
        CHECK_EQ(set_xattr(q, e.nodeid, "nothing.x", "y", 1, 0), -EOPNOTSUPP,
                 "no name of Linux");
    }
}

static const char *const trusted_map_args[] = {
    "--xattrmap=:map:trusted.:trusted.vm.:", "--modcaps=+sys_admin", NULL
};
static const struct vm_opts trusted_map = { .d = { .args = trusted_map_args } };

VM_TEST(every_type_of_file_has_xattrs_through_a_map, &trusted_map)
{
    if (!needs_root() || !make_kinds(vm))
        return;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        const char *path = daemon_path(vm->d, kinds[i].name);
        struct fuse_entry_out e;
        char v[2];

        goes_round(vm, q, &kinds[i], "trusted.guest",
                   "trusted.vm.trusted.guest");
        CHECK_EQ(fc_lookup(q, FC_ROOT, kinds[i].name, &e), 0, "");
        CHECK_EQ(length_of(q, e.nodeid, "trusted.host"), -ENODATA, "");
        CHECK(!lists(q, e.nodeid, "trusted.host"), "the host's own");
        CHECK_EQ(set_xattr(q, e.nodeid, "trusted.host", "g", 1, 0), 0, "");
        reads_as(q, e.nodeid, "trusted.host", "g", 1, "one of the guest's");
        CHECK_EQ(lgetxattr(path, "trusted.host", v, 2), 1, "");
        CHECK_EQ(v[0], 'h', "the host's is left alone");
    }
}

/* --- maps ----------------------------------------------------------------- */

static const char *const all_map_args[] = {
    "-o", "xattrmap=:map::user.virtiofs.:", NULL
};
static const struct vm_opts all_map = { .d = { .args = all_map_args } };

VM_TEST(privileged_names_can_be_kept_among_the_users, &all_map)
{
    static const char *const names[] = { "trusted.overlay.opaque",
                                         "security.capability", "user.a",
                                         "system.x" };
    struct fuse_entry_out e;

    host_write(vm, "regular", "", 0);
    CHECK_EQ(mkdir(daemon_path(vm->d, "directory"), 0755), 0, "");
    CHECK_EQ(symlink("regular", daemon_path(vm->d, "symlink")), 0, "");
    if (setxattr(daemon_path(vm->d, "regular"), "user.h", "h", 1, 0) < 0) {
        tap_skip("no xattrs on this file system");
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        char host[64];

        snprintf(host, sizeof(host), "user.virtiofs.%s", names[i]);
        goes_round(vm, q, &kinds[0], names[i], host);
        goes_round(vm, q, &kinds[1], names[i], host);
    }
    CHECK_EQ(fc_lookup(q, FC_ROOT, "regular", &e), 0, "");
    CHECK_EQ(length_of(q, e.nodeid, NULL), 0, "the host's are not listed");
    CHECK_EQ(length_of(q, e.nodeid, "user.h"), -ENODATA, "nor read");
    CHECK_EQ(fc_lookup(q, FC_ROOT, "symlink", &e), 0, "");
    CHECK_EQ(set_xattr(q, e.nodeid, "trusted.a", "x", 1, 0), -EPERM,
             "the host has no user.* on such files");
    CHECK_EQ(length_of(q, e.nodeid, "trusted.a"), -ENODATA, "");
}

VM_TEST(acls_are_refused_whatever_the_map_says, &all_map)
{
    static const char *const acls[] = { "system.posix_acl_access",
                                        "system.posix_acl_default" };
    struct fuse_entry_out e;
    struct fm m;

    CHECK_EQ(fc_mkdir(q, NULL, FC_ROOT, "d", 0755, &e), 0, "");
    for (size_t i = 0; i < ARRAY_SIZE(acls); i++) {
        char host[64];

        snprintf(host, sizeof(host), "user.virtiofs.%s", acls[i]);
        if (setxattr(daemon_path(vm->d, "d"), host, "x", 1, 0) < 0) {
            tap_skip("no xattrs on this file system");
            return;
        }
        CHECK_EQ(set_xattr(q, e.nodeid, acls[i], "x", 1, 0), -EOPNOTSUPP, "");
        CHECK_EQ(get_xattr(q, e.nodeid, acls[i], 9, &m), -EOPNOTSUPP, "");
        CHECK_EQ(remove_xattr(q, e.nodeid, acls[i]), -EOPNOTSUPP, "");
    }
    CHECK_EQ(length_of(q, e.nodeid, NULL), 0, "none is listed");
}

static const char *const types_args[] = {
    "--xattrmap=:bad:all:user.bad:user.bad:\n"
    "/unsupported/all/user.un/user.un/ ,ok,all,user.ok,user.ok, "
    ":prefix:all:user.p:user.h::prefix:client:posix_acl:system.:"
    ";prefix;server;;user.acl; :unsupported:client:::  :bad:server:::",
    NULL
};
static const struct vm_opts types = { .d = { .args = types_args } };

VM_TEST(each_type_of_rule_does_its_part, &types)
{
    static const char *const hidden[] = { "user.bad1", "user.un1", "user.other",
                                          "user.aclsystem.posix_acl_access" };
    const char *path;
    struct fuse_entry_out e;
    struct fm m;

    CHECK_EQ(fc_mkdir(q, NULL, FC_ROOT, "d", 0755, &e), 0, "");
    path = daemon_path(vm->d, "d");
    for (size_t i = 0; i < ARRAY_SIZE(hidden); i++) {
        if (setxattr(path, hidden[i], "x", 1, 0) < 0) {
            tap_skip("no xattrs on this file system");
            return;
        }
    }
    CHECK_EQ(set_xattr(q, e.nodeid, "user.bad1", "y", 1, 0), -EPERM, "");
    CHECK_EQ(remove_xattr(q, e.nodeid, "user.bad1"), -EPERM, "");
    CHECK_EQ(get_xattr(q, e.nodeid, "user.bad1", 9, &m), -ENODATA, "");
    CHECK_EQ(set_xattr(q, e.nodeid, "user.un1", "y", 1, 0), -EOPNOTSUPP, "");
    CHECK_EQ(remove_xattr(q, e.nodeid, "user.un1"), -EOPNOTSUPP, "");
    CHECK_EQ(get_xattr(q, e.nodeid, "user.un1", 9, &m), -EOPNOTSUPP, "");
    CHECK_EQ(set_xattr(q, e.nodeid, "posix_acl_access", "y", 1, 0), -EOPNOTSUPP,
             "no rule makes an ACL");
    CHECK_EQ(length_of(q, e.nodeid, NULL), 0, "none is listed");
    CHECK_EQ(set_xattr(q, e.nodeid, "user.ok1", "y", 1, 0), 0, "");
    CHECK_EQ(set_xattr(q, e.nodeid, "user.p1", "y", 1, 0), 0, "");
    CHECK_EQ(getxattr(path, "user.huser.p1", NULL, 0), 1, "with its prefix");
    CHECK(lists(q, e.nodeid, "user.ok1"), "");
    CHECK(lists(q, e.nodeid, "user.p1"), "");
    CHECK_EQ(length_of(q, e.nodeid, NULL), 9 + 8, "nothing else");
    CHECK_EQ(getxattr(path, "user.bad1", NULL, 0), 1, "left alone");
}

VM_TEST(a_list_is_as_long_as_what_is_in_it, &all_map)
{
    const char *path = daemon_path(vm->d, "f");
    struct fuse_entry_out e;
    struct fm m;

    host_write(vm, "f", "", 0);
    CHECK_EQ(fc_lookup(q, FC_ROOT, "f", &e), 0, "");
    if (setxattr(path, "user.virtiofs.", "x", 1, 0) < 0) {
        tap_skip("no xattrs on this file system");
        return;
    }
    CHECK_EQ(length_of(q, e.nodeid, NULL), 0, "a name of nothing is none");
    CHECK_EQ(get_xattr(q, e.nodeid, NULL, 64, &m), 0, "");
    CHECK_EQ(m.out_len, 0, "an empty list, no empty name");
    CHECK_EQ(setxattr(path, "user.virtiofs.user.abc", "x", 1, 0), 0, "");
    CHECK_EQ(setxattr(path, "user.hidden", "x", 1, 0), 0, "");
    reads_as(q, e.nodeid, NULL, "user.abc", 9, "without prefix and others");
    CHECK_EQ(setxattr(path, "user.virtiofs.trusted.d", "x", 1, 0), 0, "");
    CHECK_EQ(get_xattr(q, e.nodeid, NULL, 9, &m), -ERANGE,
             "it has grown between the two questions");
    CHECK_EQ(length_of(q, e.nodeid, NULL), 9 + 10, "");
    CHECK_EQ(removexattr(path, "user.virtiofs.user.abc"), 0, "");
    CHECK_EQ(get_xattr(q, e.nodeid, NULL, 19, &m), 0, "it has shrunk");
    CHECK_EQ(m.out_len, 10, "");
    CHECK_MEM(m.out, "trusted.d", 10, "");
}

/* --- bounds --------------------------------------------------------------- */

static void name_of(char *buf, size_t len, const char *begin)
{
    memset(buf, 'n', len);
    memcpy(buf, begin, strlen(begin));
    buf[len] = '\0';
}

VM_TEST(a_name_has_255_bytes_on_the_host, &all_map)
{
    char name[300], host[sizeof(name) + 16];
    struct fuse_entry_out e;

    CHECK_EQ(fc_mkdir(q, NULL, FC_ROOT, "d", 0755, &e), 0, "");
    name_of(name, 255 - 14, "user.");
    if (set_xattr(q, e.nodeid, name, "v", 1, 0) == -EOPNOTSUPP) {
        tap_skip("no xattrs on this file system");
        return;
    }
    snprintf(host, sizeof(host), "user.virtiofs.%s", name);
    CHECK_EQ(getxattr(daemon_path(vm->d, "d"), host, NULL, 0), 1, "");
    reads_as(q, e.nodeid, name, "v", 1, "255 with the prefix");
    name_of(name, 256 - 14, "user.");
    CHECK_EQ(set_xattr(q, e.nodeid, name, "v", 1, 0), -ERANGE, "256");
    CHECK_EQ(length_of(q, e.nodeid, name), -ENODATA, "");
    CHECK_EQ(remove_xattr(q, e.nodeid, name), -ENODATA, "");
}

/* A share where values may be as long as the kernel lets them be. */
static void values_of_64_kib_are_kept(void)
{
    char dir[] = "/dev/shm/virtiofsd.XXXXXX", *value = malloc(65537);
    struct vm_opts opts = with_trusted;
    struct fuse_entry_out e;
    struct statfs st;
    struct vm vm;
    char name[300];

    if (!needs_root())
        return;
    if (!mkdtemp(dir) || statfs(dir, &st) < 0 || st.f_type != TMPFS_MAGIC) {
        rmdir(dir);
        tap_skip("no tmpfs on /dev/shm");
        return;
    }
    opts.d.share = dir;
    fill_pattern(value, 65537, 3);
    if (vm_start_fuse(&vm, &opts)) {
        struct guest_queue *q = &vm.q[VM_REQ];

        CHECK_EQ(fc_mkdir(q, NULL, FC_ROOT, "d", 0755, &e), 0, "");
        CHECK_EQ(set_xattr(q, e.nodeid, "trusted.v", value, 65536, 0), 0, "");
        reads_as(q, e.nodeid, "trusted.v", value, 65536, "64 KiB");
        CHECK_EQ(set_xattr(q, e.nodeid, "trusted.v", value, 65537, 0), -E2BIG,
                 "a byte more");
        name_of(name, 255, "trusted.");
        CHECK_EQ(set_xattr(q, e.nodeid, name, "v", 1, 0), 0, "255 bytes");
        reads_as(q, e.nodeid, name, "v", 1, "255 bytes");
        name_of(name, 256, "trusted.");
        CHECK_EQ(set_xattr(q, e.nodeid, name, "v", 1, 0), -ERANGE, "256");
        CHECK_EQ(fc_remove(q, FUSE_RMDIR, FC_ROOT, "d"), 0, "");
    }
    vm_end(&vm);
    free(value);
    CHECK_EQ(rmdir(dir), 0, "");
}

TAP_MAIN(TEST(xattrs_are_kept_with_the_option),
         TEST(xattrs_are_unknown_without_the_option),
         TEST(the_longer_form_is_taken_once_agreed),
         TEST(every_type_of_file_has_xattrs),
         TEST(what_the_host_permits_not_is_not_permitted),
         TEST(every_type_of_file_has_xattrs_through_a_map),
         TEST(privileged_names_can_be_kept_among_the_users),
         TEST(acls_are_refused_whatever_the_map_says),
         TEST(each_type_of_rule_does_its_part),
         TEST(a_list_is_as_long_as_what_is_in_it),
         TEST(a_name_has_255_bytes_on_the_host),
         TEST(values_of_64_kib_are_kept))
