/* SPDX-License-Identifier: BSD-3-Clause */
/* Who may change what a file is: chmod, chown, utimes, capabilities. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/guest/posix/battery.h"

static void chmod_rules(void)
{
    make("mine", 0644, "x");
    own("mine", alice.uid, alice.gid);
    make("crew", 0644, "x");
    own("crew", alice.uid, CREW);
    make("alien", 0644, "x");
    own("alien", alice.uid, carol.gid);
    make_dir("d", 0755);
    own("d", alice.uid, carol.gid);
    if (as(&bob)) {
        want(EPERM, "others", chmod("mine", 0666));
        want(EPERM, "of the same group", chmod("crew", 0666));
        over();
    }
    if (as(&alice)) {
        want(0, "the owner", chmod("mine", 06711));
        look("all bits", "mine");
        want(0, "group is supplementary", chmod("crew", 02755));
        look("keeps setgid", "crew");
        want(0, "group is another's", chmod("alien", 06755));
        look("loses setgid", "alien");
        want(0, "directory of another's group", chmod("d", 03777));
        look("loses setgid too", "d");
        see("sticky on a file", chmod("mine", 01644));
        look("sticky", "mine");
        over();
    }
    want(0, "root", chmod("alien", 07777));
    look("all", "alien");
    want(0, "zero", chmod("alien", 0));
    look("none", "alien");
    want(ENOENT, "missing", chmod("none", 0644));
    want(ENOTDIR, "below a file", chmod("mine/x", 0644));
}

static void chmod_ways(void)
{
    int fd;

    make("f", 0644, "x");
    need(symlink("f", "l") == 0, "symlink");
    want(0, "through a link", chmod("l", 0600));
    look("target", "f");
    look("link", "l");
    see("the link itself", fchmodat(AT_FDCWD, "l", 0600, AT_SYMLINK_NOFOLLOW));
    fd = open("f", O_RDONLY);
    want(0, "fchmod of a read-only", fchmod(fd, 0640));
    look("is", "f");
    want(0, "unlink", unlink("f"));
    want(0, "fchmod of the unlinked", fchmod(fd, 0755));
    look_fd("unlinked", fd);
    want(0, "fchown of the unlinked", fchown(fd, alice.uid, CREW));
    look_fd("unlinked then", fd);
}

static void chown_rules(void)
{
    make("f", 0644, "x");
    own("f", alice.uid, alice.gid);
    if (as(&alice)) {
        want(EPERM, "give away", chown("f", bob.uid, (gid_t)-1));
        want(EPERM, "give to root", chown("f", 0, (gid_t)-1));
        want(EPERM, "group of another", chown("f", (uid_t)-1, carol.gid));
        want(0, "supplementary group", chown("f", (uid_t)-1, CREW));
        look("is", "f");
        want(0, "same owner, own group", chown("f", alice.uid, alice.gid));
        want(0, "nothing", chown("f", (uid_t)-1, (gid_t)-1));
        over();
    }
    if (as(&bob)) {
        want(EPERM, "take", chown("f", bob.uid, (gid_t)-1));
        want(EPERM, "group of a stranger", chown("f", (uid_t)-1, CREW));
        see("nothing of a stranger", chown("f", (uid_t)-1, (gid_t)-1));
        over();
    }
    want(0, "root gives", chown("f", carol.uid, bob.gid));
    look("then", "f");
    want(0, "user only", chown("f", bob.uid, (gid_t)-1));
    look("user", "f");
    want(0, "group only", chown("f", (uid_t)-1, alice.gid));
    look("group", "f");
    want(0, "large ids", chown("f", 4000000000U, 3000000000U));
    look("large", "f");
}

static void chown_ways(void)
{
    int fd;

    make("f", 0644, "x");
    need(symlink("f", "l") == 0, "symlink");
    need(symlink("none", "dangling") == 0, "symlink");
    want(0, "through a link", chown("l", alice.uid, alice.gid));
    look("target", "f");
    want(0, "the link", lchown("l", bob.uid, bob.gid));
    look("link", "l");
    look("target then", "f");
    want(ENOENT, "through a dangling one", chown("dangling", 1, 1));
    want(0, "the dangling one", lchown("dangling", carol.uid, carol.gid));
    look("dangling", "dangling");
    fd = open("f", O_RDONLY);
    want(0, "fchown", fchown(fd, carol.uid, CREW));
    look_fd("is", fd);
    fd = open("l", O_PATH | O_NOFOLLOW);
    want(0, "empty path",
         fchownat(fd, "", alice.uid, alice.gid, AT_EMPTY_PATH));
    look("link then", "l");
    make_dir("d", 02755);
    want(0, "directory", chown("d", alice.uid, CREW));
    look("setgid stays", "d");
}

static void utimes_rules(void)
{
    struct timespec now[2] = { { 0, UTIME_NOW }, { 0, UTIME_NOW } };
    struct timespec one[2] = { { 1000000000, 5 }, { 1000000000, 6 } };
    struct timespec mixed[2] = { { 0, UTIME_NOW }, { 0, UTIME_OMIT } };
    struct timespec none[2] = { { 0, UTIME_OMIT }, { 0, UTIME_OMIT } };

    make("w", 0622, "x");
    own("w", alice.uid, alice.gid);
    make("r", 0644, "x");
    own("r", alice.uid, alice.gid);
    if (as(&bob)) {
        want(0, "writer, now", utimensat(AT_FDCWD, "w", now, 0));
        want(0, "writer, null", utimensat(AT_FDCWD, "w", NULL, 0));
        want(EPERM, "writer, chosen", utimensat(AT_FDCWD, "w", one, 0));
        want(EPERM, "writer, one of two", utimensat(AT_FDCWD, "w", mixed, 0));
        want(0, "writer, none", utimensat(AT_FDCWD, "w", none, 0));
        want(EACCES, "reader, now", utimensat(AT_FDCWD, "r", now, 0));
        want(EACCES, "reader, null", utimensat(AT_FDCWD, "r", NULL, 0));
        want(EPERM, "reader, chosen", utimensat(AT_FDCWD, "r", one, 0));
        want(0, "reader, none", utimensat(AT_FDCWD, "r", none, 0));
        over();
    }
    need(chmod("r", 0444) == 0, "chmod");
    if (as(&alice)) {
        want(0, "owner, now", utimensat(AT_FDCWD, "r", now, 0));
        want(0, "owner, chosen", utimensat(AT_FDCWD, "r", one, 0));
        want(0, "owner, one of two", utimensat(AT_FDCWD, "r", mixed, 0));
        over();
    }
}

static void truncate_rules(void)
{
    make("r", 0444, "text");
    own("r", alice.uid, alice.gid);
    make("w", 0222, "text");
    own("w", alice.uid, alice.gid);
    make_dir("d", 0777);
    if (as(&alice)) {
        want(EACCES, "read-only", truncate("r", 0));
        want(0, "write-only", truncate("w", 2));
        want(EISDIR, "directory", truncate("d", 0));
        want(ENOENT, "missing", truncate("none", 0));
        want(EINVAL, "negative", truncate("w", -1));
        over();
    }
    want(0, "root", truncate("r", 1));
    look("is", "r");
}

static void access_asks_for_the_real_user(void)
{
    make("f", 0600, "text");
    make("x", 0644, "text");
    make_dir("d", 0000);
    want(0, "root reads", access("f", R_OK | W_OK));
    want(EACCES, "root runs what nobody may", access("x", X_OK));
    want(0, "root searches", access("d", R_OK | W_OK | X_OK));
    want(EACCES, "root opens to run", faccessat(AT_FDCWD, "x", X_OK, 0));
    want(ENOENT, "missing", access("none", F_OK));
    want(ENOTDIR, "below a file", access("f/x", F_OK));
    if (as(&root)) {
        need(setresuid(alice.uid, 0, 0) == 0, "setresuid");
        want(EACCES, "real is alice", access("f", R_OK));
        want(0, "effective is root",
             faccessat(AT_FDCWD, "f", R_OK, AT_EACCESS));
        want(0, "open goes by effective", open("f", O_RDONLY));
        over();
    }
    if (as(&root)) {
        need(setresuid(0, alice.uid, 0) == 0, "setresuid");
        want(0, "real is root", access("f", R_OK));
        want(EACCES, "effective is alice",
             faccessat(AT_FDCWD, "f", R_OK, AT_EACCESS));
        want(EACCES, "open by effective", open("f", O_RDONLY));
        over();
    }
}

/* Root with the capabilities @drop taken from it. */
static void without(uint64_t drop)
{
    struct __user_cap_header_struct hdr = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct data[2];

    need(syscall(SYS_capget, &hdr, data) == 0, "capget");
    for (int i = 0; i < 2; i++)
        data[i].effective &= ~(uint32_t)(drop >> (32 * i));
    need(syscall(SYS_capset, &hdr, data) == 0, "capset");
}

#define CAP(x) (1ULL << CAP_##x)

static void root_without_capabilities(void)
{
    struct timespec one[2] = { { 1000000000, 5 }, { 1000000000, 6 } };

    make("f", 0600, "text");
    own("f", alice.uid, alice.gid);
    make_dir("d", 0700);
    make("d/in", 0644, "x");
    own("d", alice.uid, alice.gid);
    if (as(&root)) {
        without(CAP(DAC_OVERRIDE));
        want(0, "reads still", open("f", O_RDONLY));
        want(EACCES, "no write", open("f", O_WRONLY));
        want(EACCES, "no new name", open("d/new", O_CREAT | O_RDWR, 0644));
        want(EACCES, "no removal", unlink("d/in"));
        want(EACCES, "no directory", mkdir("d/sub", 0755));
        without(CAP(DAC_READ_SEARCH));
        want(EACCES, "no read", open("f", O_RDONLY));
        want(EACCES, "no search", open("d/in", O_RDONLY));
        want(EACCES, "no list", open("d", O_RDONLY | O_DIRECTORY));
        over();
    }
    if (as(&root)) {
        without(CAP(FOWNER));
        want(EPERM, "chmod", chmod("f", 0644));
        want(EPERM, "utimes", utimensat(AT_FDCWD, "f", one, 0));
        want(EPERM, "noatime", open("f", O_RDONLY | O_NOATIME));
        over();
    }
    if (as(&root)) {
        without(CAP(CHOWN));
        want(EPERM, "chown", chown("f", bob.uid, bob.gid));
        over();
    }
    if (as(&root)) {
        without(CAP(FSETID));
        want(0, "chmod setgid, alien group", chmod("f", 06755));
        look("is", "f");
        over();
    }
    if (as(&root)) {
        without(CAP(MKNOD));
        want(EPERM, "device", mknod("null", S_IFCHR | 0666, 0x103));
        want(0, "fifo", mknod("fifo", S_IFIFO | 0666, 0));
        over();
    }
}

/* A user with one capability may what root may. */
static void alice_with_capabilities(void)
{
    make("f", 0600, "text");
    make_dir("d", 0700);
    if (as(&root)) {
        need(syscall(SYS_prctl, 8 /* PR_SET_KEEPCAPS */, 1, 0, 0, 0) == 0,
             "keepcaps");
        need(setresgid(alice.gid, alice.gid, alice.gid) == 0, "gid");
        need(setresuid(alice.uid, alice.uid, alice.uid) == 0, "uid");
        struct __user_cap_header_struct hdr = { _LINUX_CAPABILITY_VERSION_3,
                                                0 };
        struct __user_cap_data_struct data[2] = { 0 };

        data[0].permitted = data[0].effective =
            (uint32_t)(CAP(DAC_OVERRIDE) | CAP(FOWNER));
        need(syscall(SYS_capset, &hdr, data) == 0, "capset");
        want(0, "opens root's", open("f", O_RDWR));
        want(0, "creates in root's", open("d/new", O_CREAT | O_RDWR, 0644));
        look("hers", "d/new");
        want(0, "makes a directory", mkdir("d/sub", 0755));
        want(0, "makes a link", symlink("x", "d/link"));
        want(0, "links root's", link("f", "d/hard"));
        want(0, "renames", rename("d/new", "d/old"));
        want(0, "unlinks", unlink("d/old"));
        want(0, "truncates", truncate("f", 2));
        want(0, "changes a mode", chmod("f", 0640));
        want(EPERM, "gives away", chown("f", bob.uid, bob.gid));
        over();
    }
    look("at last", "f");
}

AREA(rules, CASE(chmod_rules), CASE(chmod_ways), CASE(chown_rules),
     CASE(chown_ways), CASE(utimes_rules), CASE(truncate_rules),
     CASE(access_asks_for_the_real_user), CASE(root_without_capabilities),
     CASE(alice_with_capabilities));
