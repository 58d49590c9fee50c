/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/protocol/vm.h"

#include <linux/fs.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* Operations on names, each held against what the host sees. */

static bool host_is(const struct vm *vm, const char *name, mode_t type)
{
    struct stat st;

    return lstat(daemon_path(vm->d, name), &st) == 0 &&
           (st.st_mode & S_IFMT) == type;
}

static bool host_lacks(const struct vm *vm, const char *name)
{
    struct stat st;

    return lstat(daemon_path(vm->d, name), &st) < 0 && errno == ENOENT;
}

VM_TEST(lookup_tells_what_the_host_has, NULL)
{
    static const char *const names[] = { "file", "dir", "link", "fifo" };
    struct fuse_entry_out e;
    struct fuse_attr_out a;

    host_write(vm, "file", "some text", 9);
    CHECK_EQ(mkdir(daemon_path(vm->d, "dir"), 0711), 0, "");
    CHECK_EQ(symlink("nowhere", daemon_path(vm->d, "link")), 0, "");
    CHECK_EQ(mkfifo(daemon_path(vm->d, "fifo"), 0600), 0, "");
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (!CHECK_EQ(fc_lookup(q, FC_ROOT, names[i], &e), 0, names[i]))
            continue;
        same_as_host(vm, &e.attr, names[i]);
        CHECK(e.nodeid > FC_ROOT, names[i]);
        CHECK_EQ(e.entry_valid, 1, "1 s by default");
        CHECK_EQ(e.attr_valid, 1, "1 s by default");
        CHECK_EQ(fc_getattr(q, e.nodeid, &a), 0, names[i]);
        same_as_host(vm, &a.attr, names[i]);
    }
    CHECK_EQ(fc_getattr(q, FC_ROOT, &a), 0, "the root");
    same_as_host(vm, &a.attr, ".");
}

VM_TEST(the_same_file_has_the_same_node, NULL)
{
    struct fuse_entry_out a, b, c;

    host_write(vm, "f", "x", 1);
    CHECK_EQ(link(daemon_path(vm->d, "f"), daemon_path(vm->d, "g")), 0, "");
    CHECK_EQ(fc_lookup(q, FC_ROOT, "f", &a), 0, "");
    CHECK_EQ(fc_lookup(q, FC_ROOT, "f", &b), 0, "");
    CHECK_EQ(fc_lookup(q, FC_ROOT, "g", &c), 0, "");
    CHECK_EQ(a.nodeid, b.nodeid, "by the same name");
    CHECK_EQ(a.nodeid, c.nodeid, "by a hard link");
    /* Three references: it lives until the last is gone. */
    CHECK_EQ(fc_forget(q, a.nodeid, 2), FM_EMPTY, "");
    CHECK_EQ(fc_getattr(q, a.nodeid, &(struct fuse_attr_out){ 0 }), 0, "");
    CHECK_EQ(fc_forget(q, a.nodeid, 1), FM_EMPTY, "");
    CHECK_EQ(fc_getattr(q, a.nodeid, &(struct fuse_attr_out){ 0 }), -ESTALE,
             "forgotten");
}

VM_TEST(names_that_are_none_are_refused, NULL)
{
    static const struct {
        const char *name, *why;
    } rows[] = {
        { "..", "the parent of the root" },
        { ".", "the root itself" },
        { "", "an empty name" },
        { "d/f", "a path" },
        { "/", "a slash" },
        { "/etc", "an absolute path" },
        { "../share", "a way out" },
    };
    struct fuse_entry_out e, d;
    struct fuse_open_out f;

    CHECK_EQ(mkdir(daemon_path(vm->d, "d"), 0755), 0, "");
    host_write(vm, "d/f", "x", 1);
    CHECK_EQ(fc_lookup(q, FC_ROOT, "d", &d), 0, "");
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const char *n = rows[i].name;

        CHECK(fc_lookup(q, FC_ROOT, n, &e) < 0, rows[i].why);
        CHECK(fc_lookup(q, d.nodeid, n, &e) < 0, rows[i].why);
        CHECK(fc_mkdir(q, NULL, FC_ROOT, n, 0755, &e) < 0, rows[i].why);
        CHECK(fc_mknod(q, NULL, FC_ROOT, n, S_IFREG, 0, &e) < 0, rows[i].why);
        CHECK(fc_symlink(q, NULL, FC_ROOT, n, "t", &e) < 0, rows[i].why);
        CHECK(fc_create(q, NULL, FC_ROOT, n, 2, 0644, &e, &f) < 0, rows[i].why);
        CHECK(fc_link(q, d.nodeid, FC_ROOT, n, &e) < 0, rows[i].why);
        CHECK(fc_remove(q, FUSE_UNLINK, FC_ROOT, n) < 0, rows[i].why);
        CHECK(fc_remove(q, FUSE_RMDIR, FC_ROOT, n) < 0, rows[i].why);
        CHECK(fc_rename(q, FC_ROOT, "d", FC_ROOT, n, 0) < 0, rows[i].why);
        CHECK(fc_rename(q, FC_ROOT, n, FC_ROOT, "x", 0) < 0, rows[i].why);
    }
    CHECK(host_is(vm, "d/f", S_IFREG), "nothing was harmed");
}

VM_TEST(long_names_are_taken_to_255_bytes, NULL)
{
    struct fuse_entry_out e;
    char name[258];

    memset(name, 'n', sizeof(name));
    name[255] = '\0';
    CHECK_EQ(fc_mkdir(q, NULL, FC_ROOT, name, 0755, &e), 0, "255");
    CHECK(host_is(vm, name, S_IFDIR), "");
    CHECK_EQ(fc_lookup(q, FC_ROOT, name, &e), 0, "");
    name[255] = 'n';
    name[256] = '\0';
    CHECK_EQ(fc_lookup(q, FC_ROOT, name, &e), -ENAMETOOLONG, "256");
    CHECK_EQ(fc_mkdir(q, NULL, FC_ROOT, name, 0755, &e), -ENAMETOOLONG, "256");
}

VM_TEST(missing_names_are_enoent, NULL)
{
    struct fuse_entry_out e;

    (void)vm;
    CHECK_EQ(fc_lookup(q, FC_ROOT, "no", &e), -ENOENT, "");
    CHECK_EQ(fc_remove(q, FUSE_UNLINK, FC_ROOT, "no"), -ENOENT, "");
    CHECK_EQ(fc_remove(q, FUSE_RMDIR, FC_ROOT, "no"), -ENOENT, "");
    CHECK_EQ(fc_rename(q, FC_ROOT, "no", FC_ROOT, "x", 0), -ENOENT, "");
}

VM_TEST(directories_are_made_and_removed, NULL)
{
    struct fuse_entry_out d, e;

    CHECK_EQ(fc_mkdir(q, NULL, FC_ROOT, "d", 0750, &d), 0, "");
    same_as_host(vm, &d.attr, "d");
    CHECK_EQ(d.attr.mode, S_IFDIR | 0750, "");
    CHECK_EQ(fc_mkdir(q, NULL, FC_ROOT, "d", 0750, &e), -EEXIST, "");
    CHECK_EQ(fc_mkdir(q, NULL, d.nodeid, "e", 0777, &e), 0, "");
    CHECK_EQ(e.attr.mode, S_IFDIR | 0777, "the guest's umask counts");
    CHECK(host_is(vm, "d/e", S_IFDIR), "");
    CHECK_EQ(fc_remove(q, FUSE_RMDIR, FC_ROOT, "d"), -ENOTEMPTY, "");
    CHECK_EQ(fc_remove(q, FUSE_UNLINK, FC_ROOT, "d"), -EISDIR, "");
    CHECK_EQ(fc_remove(q, FUSE_RMDIR, d.nodeid, "e"), 0, "");
    CHECK_EQ(fc_remove(q, FUSE_RMDIR, FC_ROOT, "d"), 0, "");
    CHECK(host_lacks(vm, "d"), "");
}

VM_TEST(nodes_of_every_kind_are_made, NULL)
{
    struct fuse_entry_out e;

    CHECK_EQ(fc_mknod(q, NULL, FC_ROOT, "f", S_IFREG | 0640, 0, &e), 0, "");
    same_as_host(vm, &e.attr, "f");
    CHECK_EQ(e.attr.mode, S_IFREG | 0640, "");
    CHECK_EQ(fc_mknod(q, NULL, FC_ROOT, "p", S_IFIFO | 0600, 0, &e), 0, "");
    same_as_host(vm, &e.attr, "p");
    CHECK_EQ(fc_mknod(q, NULL, FC_ROOT, "s", S_IFSOCK | 0600, 0, &e), 0, "");
    same_as_host(vm, &e.attr, "s");
    CHECK_EQ(fc_mknod(q, NULL, FC_ROOT, "f", S_IFREG | 0640, 0, &e), -EEXIST,
             "");
    if (geteuid() == 0) {
        uint32_t dev = (uint32_t)makedev(1, 3);

        CHECK_EQ(fc_mknod(q, NULL, FC_ROOT, "c", S_IFCHR | 0600, dev, &e), 0,
                 "");
        same_as_host(vm, &e.attr, "c");
        CHECK_EQ(e.attr.rdev, dev, "");
    }
}

VM_TEST(special_files_are_never_opened, NULL)
{
    static const char *const names[] = { "p", "s", "l" };
    struct fuse_entry_out e;
    struct fuse_open_out f;

    (void)vm;
    fc_mknod(q, NULL, FC_ROOT, "p", S_IFIFO | 0600, 0, &e);
    fc_mknod(q, NULL, FC_ROOT, "s", S_IFSOCK | 0600, 0, &e);
    fc_symlink(q, NULL, FC_ROOT, "l", "p", &e);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        CHECK_EQ(fc_lookup(q, FC_ROOT, names[i], &e), 0, names[i]);
        /* A FIFO opened on the host would block for ever. */
        for (uint32_t flags = 0; flags < 3; flags++)
            CHECK(fc_open(q, FUSE_OPEN, e.nodeid, flags, &f) < 0, names[i]);
    }
    /* As root this is /dev/null: to be opened by the guest, not here. */
    if (fc_mknod(q, NULL, FC_ROOT, "c", S_IFCHR | 0600, 0x103, &e) == 0)
        CHECK(fc_open(q, FUSE_OPEN, e.nodeid, 0, &f) < 0, "a device");
}

VM_TEST(symlinks_are_made_read_and_not_followed, NULL)
{
    struct fuse_entry_out e, c;
    struct fuse_open_out f;
    char target[4096];
    struct fm m;

    memset(target, 't', sizeof(target));
    target[4095] = '\0';
    CHECK_EQ(fc_symlink(q, NULL, FC_ROOT, "l", "../../etc", &e), 0, "");
    same_as_host(vm, &e.attr, "l");
    fm_init(&m, FUSE_READLINK, e.nodeid);
    m.room = 4096;
    CHECK_EQ(fm_call(q, &m), 0, "READLINK");
    CHECK_EQ(m.out_len, 9, "without a NUL");
    CHECK_MEM(m.out, "../../etc", 9, "");
    CHECK(fc_lookup(q, e.nodeid, "passwd", &c) < 0, "not a directory");
    CHECK(fc_open(q, FUSE_OPENDIR, e.nodeid, 0, &f) < 0, "");
    CHECK_EQ(fc_symlink(q, NULL, FC_ROOT, "long", target, &e), 0, "");
    fm_init(&m, FUSE_READLINK, e.nodeid);
    m.room = 4096;
    CHECK_EQ(fm_call(q, &m), 0, "a target of 4095 bytes");
    CHECK_EQ(m.out_len, 4095, "");
    CHECK_EQ(fc_symlink(q, NULL, FC_ROOT, "l", "x", &e), -EEXIST, "");
    CHECK_EQ(fc_mknod(q, NULL, FC_ROOT, "f", S_IFREG | 0644, 0, &e), 0, "");
    fm_init(&m, FUSE_READLINK, e.nodeid);
    m.room = 4096;
    CHECK_EQ(fm_call(q, &m), -EINVAL, "READLINK of a file");
}

VM_TEST(hard_links_are_made_and_removed, NULL)
{
    struct fuse_entry_out f, g, d;

    host_write(vm, "f", "x", 1);
    CHECK_EQ(fc_lookup(q, FC_ROOT, "f", &f), 0, "");
    CHECK_EQ(fc_link(q, f.nodeid, FC_ROOT, "g", &g), 0, "");
    CHECK_EQ(g.nodeid, f.nodeid, "the same node");
    CHECK_EQ(g.attr.nlink, 2, "");
    same_as_host(vm, &g.attr, "g");
    CHECK_EQ(fc_link(q, f.nodeid, FC_ROOT, "g", &g), -EEXIST, "");
    CHECK_EQ(fc_remove(q, FUSE_UNLINK, FC_ROOT, "f"), 0, "");
    CHECK(host_lacks(vm, "f"), "");
    CHECK_EQ(fc_remove(q, FUSE_RMDIR, FC_ROOT, "g"), -ENOTDIR, "");
    CHECK_EQ(fc_symlink(q, NULL, FC_ROOT, "l", "g", &f), 0, "");
    CHECK_EQ(fc_link(q, f.nodeid, FC_ROOT, "l2", &g), 0, "of a symlink");
    CHECK(host_is(vm, "l2", S_IFLNK), "not of its target");
    CHECK_EQ(fc_mkdir(q, NULL, FC_ROOT, "d", 0755, &d), 0, "");
    CHECK_EQ(fc_link(q, d.nodeid, FC_ROOT, "d2", &g), -EPERM, "");
}

VM_TEST(names_move_and_replace, NULL)
{
    struct fuse_entry_out d, e;
    char b[2];

    host_write(vm, "a", "a", 1);
    host_write(vm, "b", "b", 1);
    CHECK_EQ(fc_mkdir(q, NULL, FC_ROOT, "d", 0755, &d), 0, "");
    CHECK_EQ(fc_rename(q, FC_ROOT, "a", d.nodeid, "a2", 0), 0, "");
    CHECK(host_lacks(vm, "a") && host_is(vm, "d/a2", S_IFREG), "");
    CHECK_EQ(fc_rename(q, d.nodeid, "a2", FC_ROOT, "b", 0), 0, "replaces");
    CHECK_EQ(host_read(vm, "b", b, 2), 1, "");
    CHECK_EQ(b[0], 'a', "");
    host_write(vm, "c", "c", 1);
    CHECK_EQ(fc_rename(q, FC_ROOT, "b", FC_ROOT, "c", RENAME_NOREPLACE),
             -EEXIST, "NOREPLACE");
    CHECK_EQ(fc_rename(q, FC_ROOT, "b", FC_ROOT, "c", RENAME_EXCHANGE), 0,
             "EXCHANGE");
    CHECK_EQ(host_read(vm, "b", b, 2), 1, "");
    CHECK_EQ(b[0], 'c', "");
    CHECK_EQ(fc_rename(q, FC_ROOT, "b", FC_ROOT, "n", RENAME_NOREPLACE), 0, "");
    CHECK(host_is(vm, "n", S_IFREG), "");
    CHECK(fc_rename(q, FC_ROOT, "n", FC_ROOT, "c", 0x80) < 0, "no such flag");
    CHECK_EQ(fc_rename(q, FC_ROOT, "n", FC_ROOT, "d", 0), -EISDIR, "");
    CHECK_EQ(fc_rename(q, FC_ROOT, "d", d.nodeid, "x", 0), -EINVAL,
             "into itself");
    CHECK_EQ(fc_lookup(q, FC_ROOT, "d", &e), 0, "");
    CHECK_EQ(e.nodeid, d.nodeid, "the node is the same");
}

/* What an overlay's upper layer takes: character devices of number 0, which
 * ordinary users may make, and that a rename leaves one behind. */
static void leave_whiteouts(struct vm *vm)
{
    struct guest_queue *q = &vm->q[VM_REQ];
    struct fuse_entry_out e;
    struct stat st;

    CHECK_EQ(fc_mknod(q, NULL, FC_ROOT, "w", S_IFCHR, 0, &e), 0, "MKNOD");
    CHECK(host_is(vm, "w", S_IFCHR), "");
    CHECK_EQ(fc_mknod(q, NULL, FC_ROOT, "a", S_IFREG | 0644, 0, &e), 0, "");
    CHECK_EQ(fc_rename(q, FC_ROOT, "a", FC_ROOT, "b", RENAME_WHITEOUT), 0, "");
    CHECK(host_is(vm, "b", S_IFREG), "moved");
    CHECK_EQ(lstat(daemon_path(vm->d, "a"), &st), 0, "left behind");
    CHECK_EQ(st.st_mode & S_IFMT, S_IFCHR, "");
    CHECK_EQ(st.st_rdev, 0, "");
    CHECK_EQ(fc_rename(q, FC_ROOT, "b", FC_ROOT, "a", RENAME_EXCHANGE), 0,
             "with a whiteout");
    CHECK(host_is(vm, "a", S_IFREG) && host_is(vm, "b", S_IFCHR), "");
}

static void whiteouts_are_made(void)
{
    struct vm_opts o = { .d = { .set_ids = true, .uid = 12345, .gid = 12345 } };
    struct vm vm;

    if (vm_start_fuse(&vm, NULL))
        leave_whiteouts(&vm);
    vm_end(&vm);
    if (geteuid() != 0)
        return;
    if (vm_start_fuse(&vm, &o))
        leave_whiteouts(&vm);
    vm_end(&vm);
}

VM_TEST(removed_files_live_while_they_are_known, NULL)
{
    struct fuse_entry_out e;
    struct fuse_open_out f;
    struct fuse_attr_out a;
    const void *data = NULL;
    size_t len;

    host_write(vm, "f", "text", 4);
    CHECK_EQ(fc_lookup(q, FC_ROOT, "f", &e), 0, "");
    CHECK_EQ(fc_open(q, FUSE_OPEN, e.nodeid, 0, &f), 0, "");
    CHECK_EQ(fc_remove(q, FUSE_UNLINK, FC_ROOT, "f"), 0, "");
    CHECK_EQ(fc_getattr(q, e.nodeid, &a), 0, "");
    CHECK_EQ(a.attr.nlink, 0, "");
    CHECK_EQ(fc_read(q, e.nodeid, f.fh, 0, 9, &data, &len), 0, "");
    CHECK_EQ(len, 4, "");
}

TAP_MAIN(TEST(lookup_tells_what_the_host_has),
         TEST(the_same_file_has_the_same_node),
         TEST(names_that_are_none_are_refused),
         TEST(long_names_are_taken_to_255_bytes),
         TEST(missing_names_are_enoent), TEST(directories_are_made_and_removed),
         TEST(nodes_of_every_kind_are_made),
         TEST(special_files_are_never_opened),
         TEST(symlinks_are_made_read_and_not_followed),
         TEST(whiteouts_are_made), TEST(hard_links_are_made_and_removed),
         TEST(names_move_and_replace),
         TEST(removed_files_live_while_they_are_known))
