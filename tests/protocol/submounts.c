/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/protocol/vm.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/*
 * Other mounts within the share, made in a mount namespace of the test's own:
 *
 *     plain/     a directory with a file "f"
 *     bind/      plain/ once more, by a bind mount
 *     sub/       a tmpfs with "f" and d/; over sub/inner another one
 *     file       a file of sub/'s file system, mounted on a file
 *     same       plain/f once more, mounted on a file
 */

static char dir[32];

static const char *at(const char *name)
{
    static char buf[4][96];
    static unsigned int turn;
    char *p = buf[turn++ % 4];

    snprintf(p, sizeof(buf[0]), "%s/%s", dir, name);
    return p;
}

static void put(const char *name, const char *text)
{
    int fd = open(at(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    CHECK(fd >= 0, name);
    CHECK_EQ(write(fd, text, strlen(text)), strlen(text), name);
    close(fd);
}

/* What happens to the share's mounts happens to the daemon's, too: so it is on
 * a host, where the first process shares its mounts. */
static bool make_world(void)
{
    if (!needs_root())
        return false;
    strcpy(dir, "/tmp/vfsd-mounts-XXXXXX");
    if (unshare(CLONE_NEWNS) < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        !mkdtemp(dir)) {
        tap_skip("no mount namespace to be had");
        return false;
    }
    return CHECK_EQ(mount("tmpfs", dir, "tmpfs", 0, "size=3m"), 0, "") &&
           CHECK_EQ(mount(NULL, dir, NULL, MS_SHARED, NULL), 0, "");
}

static void fill_world(void)
{
    mkdir(at("plain"), 0755);
    mkdir(at("bind"), 0755);
    mkdir(at("sub"), 0755);
    put("plain/f", "plain");
    put("file", "covered");
    put("same", "covered");
    CHECK_EQ(mount("tmpfs", at("sub"), "tmpfs", 0, "size=1m"), 0, "");
    mkdir(at("sub/d"), 0755);
    mkdir(at("sub/inner"), 0755);
    put("sub/f", "in sub");
    CHECK_EQ(mount("tmpfs", at("sub/inner"), "tmpfs", 0, "size=2m"), 0, "");
    put("sub/inner/f", "in inner");
    CHECK_EQ(mount(at("plain"), at("bind"), NULL, MS_BIND, NULL), 0, "");
    CHECK_EQ(mount(at("sub/f"), at("file"), NULL, MS_BIND, NULL), 0, "");
    CHECK_EQ(mount(at("plain/f"), at("same"), NULL, MS_BIND, NULL), 0, "");
}

static void end_world(void)
{
    CHECK_EQ(umount2(dir, MNT_DETACH), 0, "");
    CHECK_EQ(rmdir(dir), 0, "");
}

/* Run @body in each sandbox, the guest knows of submounts. */
static void in_each_sandbox(void (*body)(struct guest_queue *q))
{
    static const char *const modes[] = { "--sandbox=namespace",
                                         "--sandbox=chroot", "--sandbox=none" };

    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        const char *const args[] = { modes[i], NULL };
        struct vm_opts o = { .d = { .args = args, .share = dir } };
        struct vm vm;

        if (!make_world())
            return;
        fill_world();
        if (vm_start(&vm, &o) &&
            CHECK_EQ(fc_init(&vm.q[VM_REQ], FUSE_SUBMOUNTS, NULL), 0, "INIT"))
            body(&vm.q[VM_REQ]);
        vm_end(&vm);
        end_world();
        if (tap_failing())
            tap_diag("with %s", modes[i]);
    }
}

#define EACH_TEST(name)                                                        \
    static void name##_body(struct guest_queue *q);                            \
    static void name(void)                                                     \
    {                                                                          \
        in_each_sandbox(name##_body);                                          \
    }                                                                          \
    static void name##_body(struct guest_queue *q)

/* ---- what is told ---- */

static const struct {
    const char *dir, *name;
    bool point;
    const char *why;
} entries[] = {
    { NULL, "plain", false, "a directory" },
    { NULL, "bind", true, "a bind mount of the same file system" },
    { NULL, "sub", true, "another file system" },
    { NULL, "file", false, "a file, though of another file system" },
    { NULL, "same", false, "a file, though mounted" },
    { "sub", "d", false, "within the other file system" },
    { "sub", "f", false, "within the other file system" },
    { "sub", "inner", true, "a mount within a mount" },
    { "bind", "f", false, "within the bind mount" },
};

/* The flags of a name in READDIRPLUS's answer. */
static uint32_t listed_flags(struct guest_queue *q, uint64_t node,
                             const char *name)
{
    struct fuse_entry_out e = { .attr.flags = ~0u };

    fc_listed(q, node, name, &e);
    return e.attr.flags;
}

EACH_TEST(directories_that_are_mount_points_are_told)
{
    for (size_t i = 0; i < ARRAY_SIZE(entries); i++) {
        uint32_t want = entries[i].point ? FUSE_ATTR_SUBMOUNT : 0;
        struct fuse_entry_out d = { .nodeid = FC_ROOT }, e = { 0 };
        const char *name = entries[i].name;

        if (entries[i].dir)
            CHECK_EQ(fc_lookup(q, FC_ROOT, entries[i].dir, &d), 0, "");
        CHECK_EQ(fc_lookup(q, d.nodeid, name, &e), 0, name);
        CHECK_EQ(e.attr.flags, want, entries[i].why);
        /* Linux keeps no generation of a mount point, and takes one that
         * does not match for another inode. */
        CHECK_EQ(e.generation == 0, entries[i].point, entries[i].why);
        CHECK_EQ(listed_flags(q, d.nodeid, name), want, entries[i].why);
    }
}

static void look(struct guest_queue *q, const char *path,
                 struct fuse_entry_out *e)
{
    memset(e, 0, sizeof(*e));
    CHECK_EQ(fc_walk(q, path, e), 0, path);
}

/* A guest shows each mount as a file system of its own, with inodes of its
 * own: a directory of the same node at two places it could not have. */
EACH_TEST(one_inode_behind_two_mounts_is_two_nodes)
{
    struct fuse_entry_out a, b, c;
    struct fuse_attr_out attr;
    struct fuse_open_out f;
    struct stat st;
    uint32_t n;

    look(q, "plain", &a);
    look(q, "bind", &b);
    CHECK_EQ(a.attr.ino, b.attr.ino, "one inode on the host");
    CHECK(a.nodeid != b.nodeid, "two nodes");
    look(q, "plain/f", &a);
    look(q, "bind/f", &b);
    look(q, "same", &c);
    CHECK_EQ(stat(at("plain/f"), &st), 0, "");
    CHECK_EQ(a.attr.ino, st.st_ino, "");
    CHECK_EQ(b.attr.ino, st.st_ino, "");
    CHECK_EQ(c.attr.ino, st.st_ino, "");
    CHECK(a.nodeid != b.nodeid && a.nodeid != c.nodeid && b.nodeid != c.nodeid,
          "three nodes");
    CHECK_EQ(fc_open(q, FUSE_OPEN, b.nodeid, O_RDWR, &f), 0, "");
    CHECK_EQ(fc_write(q, b.nodeid, f.fh, 5, "er", 2, &n), 0, "");
    CHECK_EQ(fc_getattr(q, c.nodeid, &attr), 0, "");
    CHECK_EQ(attr.attr.size, 7, "what is written by one is in all");
    CHECK_EQ(fc_forget(q, a.nodeid, 1), FM_EMPTY, "");
    CHECK_EQ(fc_getattr(q, a.nodeid, &attr), -ESTALE, "the one forgotten");
    CHECK_EQ(fc_getattr(q, b.nodeid, &attr), 0, "not the others");
    look(q, "file", &a);
    look(q, "sub/f", &b);
    CHECK(a.nodeid != b.nodeid, "two nodes");
    CHECK_EQ(a.attr.size, 6, "what is mounted, not what it covers");
}

static uint64_t blocks_of(struct guest_queue *q, uint64_t node)
{
    struct fuse_statfs_out out = { 0 };
    struct fm m;

    fm_init(&m, FUSE_STATFS, node);
    m.room = sizeof(out);
    CHECK_EQ(fm_call(q, &m), 0, "STATFS");
    if (CHECK_EQ(m.out_len, sizeof(out), ""))
        memcpy(&out, m.out, sizeof(out));
    return out.st.blocks;
}

EACH_TEST(each_file_system_tells_its_own_size)
{
    static const char *const paths[] = { "plain", "bind",        "sub",
                                         "sub/d", "sub/inner",   "file",
                                         "same",  "sub/inner/f", "sub/f" };
    struct fuse_entry_out e;
    struct statvfs st;

    CHECK_EQ(statvfs(dir, &st), 0, "");
    CHECK_EQ(blocks_of(q, FC_ROOT), st.f_blocks, "the root");
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        look(q, paths[i], &e);
        CHECK_EQ(statvfs(at(paths[i]), &st), 0, "");
        CHECK_EQ(blocks_of(q, e.nodeid), st.f_blocks, paths[i]);
    }
}

/* Names, types and numbers as readdir(3) has them on the host: of a mount
 * point that is the covered directory's number. */
static void lists_as_the_host(struct guest_queue *q, const char *path)
{
    struct fuse_entry_out e = { .nodeid = FC_ROOT };
    struct fuse_open_out f;
    const uint8_t *p;
    size_t len = 0;
    DIR *d = opendir(at(path));

    if (*path)
        look(q, path, &e);
    CHECK_EQ(fc_open(q, FUSE_OPENDIR, e.nodeid, 0, &f), 0, path);
    CHECK_EQ(fc_readdir(q, FUSE_READDIR, e.nodeid, f.fh, 0, 4096, &p, &len), 0,
             path);
    while (d && len >= FUSE_NAME_OFFSET) {
        struct dirent *de = readdir(d);
        struct fuse_dirent fd;

        memcpy(&fd, p, sizeof(fd));
        if (!CHECK(de != NULL, "as many as on the host") ||
            !CHECK_EQ(fd.namelen, strlen(de->d_name), de->d_name))
            break;
        CHECK_MEM(p + FUSE_NAME_OFFSET, de->d_name, fd.namelen, path);
        CHECK_EQ(fd.type, de->d_type, de->d_name);
        /* Where the root's ".." leads is not told. */
        if (*path || strcmp(de->d_name, "..") != 0)
            CHECK_EQ(fd.ino, de->d_ino, de->d_name);
        p += FUSE_DIRENT_SIZE(&fd);
        len -= FUSE_DIRENT_SIZE(&fd);
    }
    CHECK(d && !readdir(d), "as many as on the host");
    if (d)
        closedir(d);
}

EACH_TEST(listings_are_the_hosts_at_mount_points)
{
    lists_as_the_host(q, "");
    lists_as_the_host(q, "sub");
    lists_as_the_host(q, "sub/inner");
    lists_as_the_host(q, "bind");
}

/* ---- what is refused ---- */

EACH_TEST(names_do_not_cross_mounts)
{
    static const struct {
        const char *from, *to;
        uint32_t flags;
    } rows[] = {
        { "plain", "sub", 0 },     { "sub", "plain", 0 },
        { "plain", "bind", 0 }, /* one file system, two mounts */
        { "sub", "sub/inner", 0 }, { "plain", "sub", RENAME_EXCHANGE },
    };
    struct fuse_entry_out a, b, f, e;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const char *to = rows[i].flags ? "f" : "new";

        look(q, rows[i].from, &a);
        look(q, rows[i].to, &b);
        CHECK_EQ(fc_lookup(q, a.nodeid, "f", &f), 0, "");
        CHECK_EQ(fc_rename(q, a.nodeid, "f", b.nodeid, to, rows[i].flags),
                 -EXDEV, rows[i].to);
        CHECK_EQ(fc_link(q, f.nodeid, b.nodeid, "new", &e), -EXDEV, rows[i].to);
    }
}

EACH_TEST(mount_points_are_not_removed)
{
    struct fuse_entry_out sub;
    struct stat st;

    look(q, "sub", &sub);
    CHECK_EQ(fc_remove(q, FUSE_RMDIR, FC_ROOT, "sub"), -EBUSY, "");
    CHECK_EQ(fc_remove(q, FUSE_RMDIR, FC_ROOT, "bind"), -EBUSY, "");
    CHECK_EQ(fc_remove(q, FUSE_RMDIR, sub.nodeid, "inner"), -EBUSY, "");
    CHECK_EQ(fc_remove(q, FUSE_UNLINK, FC_ROOT, "file"), -EBUSY, "");
    CHECK_EQ(fc_remove(q, FUSE_UNLINK, FC_ROOT, "same"), -EBUSY, "");
    CHECK_EQ(fc_rename(q, FC_ROOT, "sub", FC_ROOT, "new", 0), -EBUSY, "");
    CHECK_EQ(fc_rename(q, FC_ROOT, "plain", FC_ROOT, "sub", 0), -EBUSY, "");
    CHECK_EQ(fc_rename(q, FC_ROOT, "sub", FC_ROOT, "plain", RENAME_EXCHANGE),
             -EBUSY, "");
    CHECK_EQ(stat(at("sub/inner/f"), &st), 0, "all is there");
    CHECK_EQ(stat(at("plain/f"), &st), 0, "all is there");
}

/* ---- mounts that come and go ---- */

static bool reads(struct guest_queue *q, uint64_t node, uint64_t fh,
                  const char *text)
{
    const void *data;
    size_t len = 0;

    return CHECK_EQ(fc_read(q, node, fh, 0, 64, &data, &len), 0, text) &&
           CHECK_EQ(len, strlen(text), text) &&
           CHECK_MEM(data, text, strlen(text), "");
}

EACH_TEST(a_mount_that_appears_is_there)
{
    struct fuse_entry_out covered, e, f;
    struct fuse_attr_out a;
    struct fuse_open_out o;

    look(q, "plain", &covered);
    CHECK_EQ(covered.attr.flags, 0, "");
    CHECK_EQ(mount("tmpfs", at("plain"), "tmpfs", 0, NULL), 0, "");
    put("plain/g", "appeared");
    look(q, "plain", &e);
    CHECK(e.nodeid != covered.nodeid, "another directory");
    CHECK_EQ(e.attr.flags, FUSE_ATTR_SUBMOUNT, "told as a mount point");
    CHECK_EQ(fc_lookup(q, e.nodeid, "g", &f), 0, "");
    CHECK_EQ(fc_open(q, FUSE_OPEN, f.nodeid, O_RDONLY, &o), 0, "");
    reads(q, f.nodeid, o.fh, "appeared");
    CHECK_EQ(fc_lookup(q, e.nodeid, "f", &f), -ENOENT, "");
    CHECK_EQ(fc_getattr(q, covered.nodeid, &a), 0, "who is in it stays");
    CHECK_EQ(fc_lookup(q, covered.nodeid, "f", &f), 0, "");
    CHECK_EQ(fc_remove(q, FUSE_RMDIR, FC_ROOT, "plain"), -EBUSY, "");
}

/* Mounts hold what is open in them, as on the host itself. */
EACH_TEST(a_mount_that_vanishes_stays_for_those_who_use_it)
{
    struct fuse_entry_out e, f, under;
    struct fuse_attr_out a;
    struct fuse_open_out o;

    look(q, "bind", &e);
    CHECK_EQ(fc_lookup(q, e.nodeid, "f", &f), 0, "");
    CHECK_EQ(fc_open(q, FUSE_OPEN, f.nodeid, O_RDONLY, &o), 0, "");
    CHECK_EQ(umount2(at("bind"), 0), -1, "");
    CHECK_EQ(errno, EBUSY, "the guest uses it");
    CHECK_EQ(umount2(at("bind"), MNT_DETACH), 0, "umount -l");
    look(q, "bind", &under);
    CHECK(under.nodeid != e.nodeid, "what was covered");
    CHECK_EQ(under.attr.flags, 0, "no mount point any more");
    CHECK_EQ(fc_lookup(q, under.nodeid, "f", &(struct fuse_entry_out){ 0 }),
             -ENOENT, "");
    CHECK_EQ(fc_getattr(q, e.nodeid, &a), 0, "");
    reads(q, f.nodeid, o.fh, "plain");
    CHECK_EQ(fc_release(q, FUSE_RELEASE, f.nodeid, o.fh), 0, "");
    CHECK_EQ(fc_remove(q, FUSE_RMDIR, FC_ROOT, "bind"), 0, "only a directory");
}

EACH_TEST(a_mount_is_let_go_of_when_the_guest_forgets_it)
{
    struct fuse_entry_out e, f;
    struct fuse_open_out o;

    look(q, "bind", &e);
    CHECK_EQ(fc_lookup(q, e.nodeid, "f", &f), 0, "");
    CHECK_EQ(fc_open(q, FUSE_OPEN, f.nodeid, O_RDONLY, &o), 0, "");
    CHECK_EQ(fc_forget(q, e.nodeid, 1), FM_EMPTY, "");
    CHECK_EQ(umount2(at("bind"), 0), -1, "a file in it is known");
    CHECK_EQ(fc_forget(q, f.nodeid, 1), FM_EMPTY, "");
    CHECK_EQ(umount2(at("bind"), 0), -1, "a file in it is open");
    CHECK_EQ(fc_release(q, FUSE_RELEASE, f.nodeid, o.fh), 0, "");
    CHECK_EQ(umount2(at("bind"), 0), 0, "nothing is held any more");
    look(q, "bind", &e);
    CHECK_EQ(e.attr.flags, 0, "");
}

/* ---- ".." of an export ---- */

/* With the announcement the root of a mount has nothing above it. */
static void above_mounts(bool announced)
{
    const char *const args[] = { "--nfs-export", NULL };
    struct vm_opts o = { .d = { .args = args, .share = dir } };
    uint64_t flags =
        FUSE_EXPORT_SUPPORT | (announced ? (uint64_t)FUSE_SUBMOUNTS : 0);
    struct fuse_entry_out sub, d, inner, e = { 0 };
    struct guest_queue *q;
    struct vm vm;

    if (!make_world())
        return;
    fill_world();
    if (vm_start(&vm, &o) &&
        CHECK_EQ(fc_init(&vm.q[VM_REQ], flags, NULL), 0, "INIT")) {
        q = &vm.q[VM_REQ];
        look(q, "sub", &sub);
        look(q, "sub/d", &d);
        look(q, "sub/inner", &inner);
        CHECK_EQ(fc_lookup(q, d.nodeid, "..", &e), 0, "");
        CHECK_EQ(e.nodeid, sub.nodeid, "the root of its mount");
        CHECK_EQ(e.attr.flags, 0, "from within it is no mount point");
        CHECK_EQ(e.generation, sub.generation, "as told with it");
        CHECK_EQ(fc_lookup(q, inner.nodeid, "..", &e), announced ? -ESTALE : 0,
                 "a mount in a mount");
        CHECK_EQ(fc_lookup(q, sub.nodeid, "..", &e), announced ? -ESTALE : 0,
                 "a mount in the root's");
        if (!announced)
            CHECK_EQ(e.nodeid, FC_ROOT, "");
    }
    vm_end(&vm);
    end_world();
}

static void nothing_is_above_a_mount(void)
{
    above_mounts(true);
    above_mounts(false);
}

TAP_MAIN(TEST(directories_that_are_mount_points_are_told),
         TEST(one_inode_behind_two_mounts_is_two_nodes),
         TEST(each_file_system_tells_its_own_size),
         TEST(listings_are_the_hosts_at_mount_points),
         TEST(names_do_not_cross_mounts), TEST(mount_points_are_not_removed),
         TEST(a_mount_that_appears_is_there),
         TEST(a_mount_that_vanishes_stays_for_those_who_use_it),
         TEST(a_mount_is_let_go_of_when_the_guest_forgets_it),
         TEST(nothing_is_above_a_mount))
