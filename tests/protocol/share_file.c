/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/protocol/vm.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

/* A share which is a single file, and what can be no share at all. */

static char dir[32], file[64], sibling[64];

static void put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    CHECK(fd >= 0, path);
    CHECK_EQ(write(fd, text, strlen(text)), strlen(text), path);
    close(fd);
}

static bool make_files(void)
{
    strcpy(dir, "/tmp/vfsd-file-XXXXXX");
    if (!CHECK(mkdtemp(dir) != NULL, "temporary directory"))
        return false;
    snprintf(file, sizeof(file), "%s/file", dir);
    snprintf(sibling, sizeof(sibling), "%s/sibling", dir);
    put(file, "0123456789");
    put(sibling, "secret");
    return true;
}

static void remove_files(void)
{
    unlink(file);
    unlink(sibling);
    CHECK_EQ(rmdir(dir), 0, "nothing else was made beside the file");
}

static int set(struct guest_queue *q, uint32_t valid, struct fuse_setattr_in in,
               struct fuse_attr_out *a)
{
    in.valid = valid;
    return fc_setattr(q, FC_ROOT, &in, a);
}

static void use_as_file(struct guest_queue *q)
{
    struct fuse_fsync_in fs = { 0 };
    struct fuse_attr_out a;
    struct fuse_open_out f;
    const void *data;
    char got[16];
    uint32_t n;
    size_t len;
    int fd;

    CHECK_EQ(fc_getattr(q, FC_ROOT, &a), 0, "");
    CHECK_EQ(a.attr.mode, S_IFREG | 0644, "the root is a file");
    CHECK_EQ(a.attr.size, 10, "");
    CHECK_EQ(fc_open(q, FUSE_OPEN, FC_ROOT, O_RDWR, &f), 0, "");
    CHECK_EQ(fc_read(q, FC_ROOT, f.fh, 2, 4, &data, &len), 0, "");
    CHECK_MEM(data, "2345", 4, "");
    CHECK_EQ(fc_write(q, FC_ROOT, f.fh, 10, "abc", 3, &n), 0, "");
    fs.fh = f.fh;
    CHECK_EQ(fc_simple(q, FUSE_FSYNC, FC_ROOT, &fs, sizeof(fs)), 0, "");
    CHECK_EQ(set(q, FATTR_SIZE | FATTR_FH,
                 (struct fuse_setattr_in){ .size = 12, .fh = f.fh }, &a),
             0, "shorter, by handle");
    CHECK_EQ(fc_release(q, FUSE_RELEASE, FC_ROOT, f.fh), 0, "");
    CHECK_EQ(set(q, FATTR_SIZE, (struct fuse_setattr_in){ .size = 11 }, &a), 0,
             "shorter");
    CHECK_EQ(set(q, FATTR_MODE, (struct fuse_setattr_in){ .mode = 0640 }, &a),
             0, "mode");
    CHECK_EQ(a.attr.mode, S_IFREG | 0640, "");
    CHECK_EQ(set(q, FATTR_MTIME, (struct fuse_setattr_in){ .mtime = 77 }, &a),
             0, "time");
    CHECK_EQ(a.attr.mtime, 77, "");
    fd = open(file, O_RDONLY | O_CLOEXEC);
    CHECK_EQ(read(fd, got, sizeof(got)), 11, "what the host reads");
    CHECK_MEM(got, "0123456789a", 11, "");
    close(fd);
}

static void xattr_of_the_file(struct guest_queue *q)
{
    struct fuse_setxattr_in in = { .size = 5 };
    struct fm m;
    char v[8];

    if (setxattr(file, "user.h", "host", 4, 0) < 0) {
        tap_diag("no xattrs on this file system");
        return;
    }
    fm_init(&m, FUSE_SETXATTR, FC_ROOT);
    fm_add(&m, &in, FUSE_COMPAT_SETXATTR_IN_SIZE);
    fm_add_name(&m, "user.g");
    fm_add(&m, "guest", 5);
    CHECK_EQ(fm_call(q, &m), 0, "SETXATTR");
    CHECK_EQ(getxattr(file, "user.g", v, sizeof(v)), 5, "");
    CHECK_MEM(v, "guest", 5, "");
}

/* What takes a directory finds none, and no name is to be had by the file. */
static void refuse_as_directory(struct guest_queue *q)
{
    static const char *const names[] = { "x", "sibling", "file" };
    struct fuse_entry_out e;
    struct fuse_open_out f;

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        const char *n = names[i];

        CHECK_EQ(fc_lookup(q, FC_ROOT, n, &e), -ENOTDIR, n);
        CHECK_EQ(fc_create(q, NULL, FC_ROOT, n, O_RDWR, 0644, &e, &f), -ENOTDIR,
                 n);
        CHECK_EQ(fc_mkdir(q, NULL, FC_ROOT, n, 0755, &e), -ENOTDIR, n);
        CHECK_EQ(fc_mknod(q, NULL, FC_ROOT, n, S_IFREG, 0, &e), -ENOTDIR, n);
        CHECK_EQ(fc_symlink(q, NULL, FC_ROOT, n, "t", &e), -ENOTDIR, n);
        CHECK_EQ(fc_link(q, FC_ROOT, FC_ROOT, n, &e), -ENOTDIR, n);
        CHECK_EQ(fc_remove(q, FUSE_UNLINK, FC_ROOT, n), -ENOTDIR, n);
        CHECK_EQ(fc_remove(q, FUSE_RMDIR, FC_ROOT, n), -ENOTDIR, n);
        CHECK_EQ(fc_rename(q, FC_ROOT, n, FC_ROOT, "y", 0), -ENOTDIR, n);
    }
    CHECK(fc_lookup(q, FC_ROOT, "..", &e) < 0, "the way to the siblings");
    CHECK(fc_lookup(q, FC_ROOT, "../sibling", &e) < 0, "a path");
    CHECK_EQ(fc_open(q, FUSE_OPENDIR, FC_ROOT, 0, &f), -ENOTDIR, "");
}

/* The request process holds an empty directory for its root, not the file's.
 * The one with most threads of the daemon's processes is it. */
static void roots_are_empty(const struct vm *vm)
{
    pid_t pids[8];
    size_t n = daemon_roles(vm->d, pids, ARRAY_SIZE(pids));

    CHECK(n >= 2, "two roles at least");
    for (size_t i = 0; i < n && i < ARRAY_SIZE(pids); i++) {
        char path[64];
        DIR *d;
        int names = 0;

        snprintf(path, sizeof(path), "/proc/%d/root", (int)pids[i]);
        d = opendir(path);
        while (d && readdir(d))
            names++;
        if (d)
            closedir(d);
        CHECK(names <= 2, "a role's root holds no name");
    }
}

static void shared_in(const char *mode, bool confined)
{
    const char *const args[] = { mode, "--xattr", NULL };
    struct vm_opts o = { .d = { .args = args, .share = file } };
    struct vm vm;

    if (!make_files())
        return;
    if (vm_start_fuse(&vm, &o)) {
        use_as_file(&vm.q[VM_REQ]);
        xattr_of_the_file(&vm.q[VM_REQ]);
        refuse_as_directory(&vm.q[VM_REQ]);
        if (confined)
            roots_are_empty(&vm);
        vm_alive(&vm, VM_REQ);
    }
    vm_end(&vm);
    remove_files();
    if (tap_failing())
        tap_diag("with %s", mode);
}

static void a_file_is_served_as_the_root(void)
{
    shared_in("--sandbox=namespace", true);
    shared_in("--sandbox=none", false);
    if (geteuid() == 0)
        shared_in("--sandbox=chroot", true);
}

static void a_file_is_not_changed_when_read_only(void)
{
    static const char *const args[] = { "--readonly", NULL };
    struct vm_opts o = { .d = { .args = args, .share = file } };
    struct fuse_attr_out a;
    struct fuse_open_out f;
    struct vm vm;

    if (!make_files())
        return;
    if (vm_start_fuse(&vm, &o)) {
        struct guest_queue *q = &vm.q[VM_REQ];

        CHECK_EQ(fc_open(q, FUSE_OPEN, FC_ROOT, O_RDONLY, &f), 0, "");
        CHECK_EQ(fc_open(q, FUSE_OPEN, FC_ROOT, O_WRONLY, &f), -EROFS, "");
        CHECK_EQ(set(q, FATTR_SIZE, (struct fuse_setattr_in){ 0 }, &a), -EROFS,
                 "");
    }
    vm_end(&vm);
    remove_files();
}

static void refused(const char *path)
{
    struct daemon_opts o = { .share = path, .no_wait = true };
    struct daemon *d = daemon_start(&o);

    if (!d)
        return;
    CHECK(daemon_wait_log(d, "neither a directory nor a regular file"), path);
    CHECK(daemon_wait_log(d, path), "it says which");
    if (!CHECK(daemon_wait_gone(d), "it does not go on"))
        kill(daemon_pid(d), SIGTERM);
    daemon_end(d, END_NONZERO);
}

static void what_is_neither_file_nor_directory_is_refused(void)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char link[64];

    if (!make_files())
        return;
    unlink(file);
    CHECK_EQ(mkfifo(file, 0600), 0, "");
    refused(file);
    snprintf(link, sizeof(link), "%s/link", dir);
    CHECK_EQ(symlink("file", link), 0, "");
    refused(link);
    unlink(link);
    unlink(file);
    strcpy(sa.sun_path, file);
    CHECK_EQ(bind(s, (struct sockaddr *)&sa, sizeof(sa)), 0, "");
    refused(file);
    close(s);
    refused("/dev/null");
    remove_files();
}

TAP_MAIN(TEST(a_file_is_served_as_the_root),
         TEST(a_file_is_not_changed_when_read_only),
         TEST(what_is_neither_file_nor_directory_is_refused))
