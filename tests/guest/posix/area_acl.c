/* SPDX-License-Identifier: BSD-3-Clause */
/* POSIX access control lists, as the attributes which hold them. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/guest/posix/battery.h"

#define ACCESS  "system.posix_acl_access"
#define DEFAULT "system.posix_acl_default"

/* The attribute's format is fixed: little endian, version 2. */
struct entry {
    uint16_t tag, perm;
    uint32_t id;
};
enum {
    USER_OBJ = 1,
    USER = 2,
    GROUP_OBJ = 4,
    GROUP = 8,
    MASK = 16,
    OTHER = 32
};
#define NONE 0xffffffffU

static long set(const char *path, const char *name, const struct entry *e,
                size_t n)
{
    char buf[512];
    uint32_t version = 2;

    memcpy(buf, &version, 4);
    memcpy(buf + 4, e, n * sizeof(*e));
    return setxattr(path, name, buf, 4 + n * sizeof(*e), 0);
}

static void show(const char *label, const char *path, const char *name)
{
    char buf[512], out[400] = "";
    ssize_t n = getxattr(path, name, buf, sizeof(buf));
    struct entry e;

    if (n < 0) {
        see(label, -1);
        return;
    }
    for (ssize_t at = 4; at + 8 <= n; at += 8) {
        memcpy(&e, buf + at, 8);
        strcat(out,
               fmt("%u:%d:%u ", e.tag, e.id == NONE ? -1 : (int)e.id, e.perm));
    }
    tell(label, "%s", out);
}

/* carol may read and write, the crew may read. */
static const struct entry some[] = {
    { USER_OBJ, 6, NONE }, { USER, 6, 20003 }, { GROUP_OBJ, 0, NONE },
    { GROUP, 4, CREW },    { MASK, 6, NONE },  { OTHER, 0, NONE },
};

static void rights(const char *label, const char *path)
{
    static const struct bat_user *const people[] = { &root, &alice, &bob,
                                                     &carol };

    for (int i = 0; i < 4; i++) {
        if (as(people[i])) {
            tell(fmt("%s, %s", label, people[i]->name), "%c%c",
                 open(path, O_RDONLY) >= 0 ? 'r' : '-',
                 open(path, O_WRONLY) >= 0 ? 'w' : '-');
            over();
        }
    }
}

static void access_list(void)
{
    make("f", 0600, "text");
    if (see("set", set("f", ACCESS, some, 6)) < 0)
        return;
    show("is", "f", ACCESS);
    look("mode", "f");
    rights("rights", "f");
    want(0, "chmod", chmod("f", 0644));
    show("mask follows", "f", ACCESS);
    rights("masked", "f");
    want(0, "chmod again", chmod("f", 0660));
    rights("unmasked", "f");
    want(0, "chown", chown("f", alice.uid, alice.gid));
    rights("alice's", "f");
    want(0, "rename", rename("f", "g"));
    show("goes along", "g", ACCESS);
    want(0, "removed", removexattr("g", ACCESS));
    look("then", "g");
    rights("without", "g");
}

/* A list that says no more than a mode is one. */
static void as_small_as_a_mode(void)
{
    static const struct entry three[] = { { USER_OBJ, 7, NONE },
                                          { GROUP_OBJ, 5, NONE },
                                          { OTHER, 1, NONE } };

    make("f", 0600, "text");
    if (see("set", set("f", ACCESS, three, 3)) < 0)
        return;
    look("mode", "f");
    see("no list", getxattr("f", ACCESS, NULL, 0));
}

static void default_list(void)
{
    make_dir("d", 0777);
    make("f", 0644, "x");
    if (see("set", set("d", DEFAULT, some, 6)) < 0)
        return;
    see("on a file", set("f", DEFAULT, some, 6));
    show("is", "d", DEFAULT);
    see("no access list", getxattr("d", ACCESS, NULL, 0));
    umask(077);
    for (int p = 0; p < 2; p++) {
        if (as(p ? &alice : &root)) {
            const char *who = p ? "alice" : "root";

            close(open(fmt("d/f-%s", who), O_CREAT | O_RDWR, 0666));
            look("file", fmt("d/f-%s", who));
            show("its list", fmt("d/f-%s", who), ACCESS);
            close(open(fmt("d/g-%s", who), O_CREAT | O_RDWR, 0640));
            show("of less mode", fmt("d/g-%s", who), ACCESS);
            look("less", fmt("d/g-%s", who));
            want(0, "mkdir", mkdir(fmt("d/d-%s", who), 0777));
            look("directory", fmt("d/d-%s", who));
            show("its list", fmt("d/d-%s", who), ACCESS);
            show("its default", fmt("d/d-%s", who), DEFAULT);
            want(0, "mkfifo", mkfifo(fmt("d/p-%s", who), 0666));
            show("a fifo's", fmt("d/p-%s", who), ACCESS);
            want(0, "symlink", symlink("x", fmt("d/l-%s", who)));
            look("symlink", fmt("d/l-%s", who));
            over();
        }
    }
    rights("inherited", "d/f-root");
    want(0, "removed", removexattr("d", DEFAULT));
    close(open("d/plain", O_CREAT | O_RDWR, 0666));
    look("umask counts again", "d/plain");
}

static void on_a_directory(void)
{
    static const struct entry list[] = {
        { USER_OBJ, 7, NONE }, { USER, 7, 20003 }, { GROUP_OBJ, 0, NONE },
        { MASK, 7, NONE },     { OTHER, 0, NONE },
    };

    make_dir("d", 0700);
    make("d/f", 0644, "text");
    if (see("set", set("d", ACCESS, list, 5)) < 0)
        return;
    if (as(&carol)) {
        want(0, "carol creates", open("d/new", O_CREAT | O_RDWR, 0644));
        look("hers", "d/new");
        want(0, "makes a directory", mkdir("d/sub", 0755));
        want(0, "removes", unlink("d/f"));
        want(0, "lists", open("d", O_RDONLY | O_DIRECTORY));
        over();
    }
    if (as(&alice)) {
        want(EACCES, "alice does not", open("d/x", O_CREAT | O_RDWR, 0644));
        over();
    }
}

static void who_may_set(void)
{
    make("f", 0666, "text");
    own("f", alice.uid, alice.gid);
    if (as(&alice)) {
        see("owner", set("f", ACCESS, some, 6));
        over();
    }
    if (as(&bob)) {
        see("others", set("f", ACCESS, some, 6));
        see("others remove", removexattr("f", ACCESS));
        over();
    }
    see("nonsense", setxattr("f", ACCESS, "x", 1, 0));
    see("no mask", set("f", ACCESS, some, 4));
    /* The group is not hers: setgid goes with the new list. */
    make("g", 0755, "text");
    own("g", alice.uid, carol.gid);
    need(chmod("g", 02755) == 0, "chmod");
    if (as(&alice)) {
        see("setgid", set("g", ACCESS, some, 6));
        look("is", "g");
        over();
    }
}

AREA(acl, CASE(access_list), CASE(as_small_as_a_mode), CASE(default_list),
     CASE(on_a_directory), CASE(who_may_set));
