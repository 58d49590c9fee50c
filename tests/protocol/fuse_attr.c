/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/protocol/vm.h"

#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* Attributes and ids. */

static int set(struct guest_queue *q, uint64_t node, uint32_t valid,
               struct fuse_setattr_in in, struct fuse_attr_out *a)
{
    in.valid = valid;
    return fc_setattr(q, node, &in, a);
}

VM_TEST(attributes_are_set_one_by_one, NULL)
{
    struct fuse_entry_out e;
    struct fuse_open_out f;
    struct fuse_attr_out a;
    struct stat st;

    host_write(vm, "f", "0123456789", 10);
    CHECK_EQ(fc_lookup(q, FC_ROOT, "f", &e), 0, "");
    CHECK_EQ(set(q, e.nodeid, FATTR_MODE,
                 (struct fuse_setattr_in){ .mode = S_IFREG | 0751 }, &a),
             0, "mode");
    same_as_host(vm, &a.attr, "f");
    CHECK_EQ(a.attr.mode, S_IFREG | 0751, "");
    CHECK_EQ(
        set(q, e.nodeid, FATTR_SIZE, (struct fuse_setattr_in){ .size = 4 }, &a),
        0, "shorter");
    CHECK_EQ(a.attr.size, 4, "");
    CHECK_EQ(fc_open(q, FUSE_OPEN, e.nodeid, O_RDWR, &f), 0, "");
    CHECK_EQ(set(q, e.nodeid, FATTR_SIZE | FATTR_FH,
                 (struct fuse_setattr_in){ .size = 5000, .fh = f.fh }, &a),
             0, "longer, by handle");
    same_as_host(vm, &a.attr, "f");
    CHECK_EQ(a.attr.size, 5000, "");
    CHECK_EQ(set(q, e.nodeid, FATTR_ATIME | FATTR_MTIME,
                 (struct fuse_setattr_in){ .atime = 1000,
                                           .atimensec = 1,
                                           .mtime = 2000,
                                           .mtimensec = 999999999 },
                 &a),
             0, "times");
    same_as_host(vm, &a.attr, "f");
    CHECK_EQ(a.attr.atime, 1000, "");
    CHECK_EQ(a.attr.mtimensec, 999999999, "");
    CHECK_EQ(set(q, e.nodeid, FATTR_MTIME | FATTR_MTIME_NOW,
                 (struct fuse_setattr_in){ 0 }, &a),
             0, "now");
    CHECK_EQ(stat(daemon_path(vm->d, "f"), &st), 0, "");
    CHECK_EQ(st.st_atim.tv_sec, 1000, "left alone");
    CHECK(st.st_mtim.tv_sec > 2000, "now");
    CHECK(set(q, e.nodeid, FATTR_MTIME,
              (struct fuse_setattr_in){ .mtimensec = 1000000000 }, &a) < 0,
          "no such part of a second");
    CHECK(set(q, e.nodeid, FATTR_SIZE,
              (struct fuse_setattr_in){ .size = UINT64_MAX }, &a) < 0,
          "a negative size");
    CHECK_EQ(set(q, e.nodeid, FATTR_SIZE | FATTR_FH,
                 (struct fuse_setattr_in){ .fh = ~f.fh }, &a),
             -EBADF, "a handle that is none");
    CHECK_EQ(set(q, e.nodeid, 0, (struct fuse_setattr_in){ 0 }, &a), 0,
             "nothing");
}

VM_TEST(owners_are_set, NULL)
{
    struct fuse_entry_out e;
    struct fuse_attr_out a;

    if (!needs_root())
        return;
    host_write(vm, "f", "", 0);
    CHECK_EQ(symlink("f", daemon_path(vm->d, "l")), 0, "");
    CHECK_EQ(fc_lookup(q, FC_ROOT, "f", &e), 0, "");
    CHECK_EQ(set(q, e.nodeid, FATTR_UID | FATTR_GID,
                 (struct fuse_setattr_in){ .uid = 1234, .gid = 2345 }, &a),
             0, "both");
    same_as_host(vm, &a.attr, "f");
    CHECK_EQ(a.attr.uid, 1234, "");
    CHECK_EQ(
        set(q, e.nodeid, FATTR_GID, (struct fuse_setattr_in){ .gid = 1 }, &a),
        0, "one");
    CHECK_EQ(a.attr.uid, 1234, "the other stays");
    CHECK_EQ(a.attr.gid, 1, "");
    CHECK_EQ(fc_lookup(q, FC_ROOT, "l", &e), 0, "");
    CHECK_EQ(
        set(q, e.nodeid, FATTR_UID, (struct fuse_setattr_in){ .uid = 7 }, &a),
        0, "a symlink's own");
    same_as_host(vm, &a.attr, "l");
    CHECK_EQ(a.attr.uid, 7, "");
    CHECK_EQ(set(q, e.nodeid, FATTR_MTIME,
                 (struct fuse_setattr_in){ .mtime = 5 }, &a),
             0, "a symlink's own time");
    same_as_host(vm, &a.attr, "l");
}

static void makes_as(struct vm *vm, struct guest_queue *q,
                     const struct fc_who *who, const char *dir, uint32_t gid)
{
    struct fuse_entry_out d, e[4];
    struct fuse_open_out f;

    CHECK_EQ(fc_lookup(q, FC_ROOT, dir, &d), 0, dir);
    CHECK_EQ(fc_create(q, who, d.nodeid, "c", O_RDWR, 0644, &e[0], &f), 0, "");
    CHECK_EQ(fc_mkdir(q, who, d.nodeid, "d", 0755, &e[1]), 0, "");
    CHECK_EQ(fc_mknod(q, who, d.nodeid, "n", S_IFREG | 0600, 0, &e[2]), 0, "");
    CHECK_EQ(fc_symlink(q, who, d.nodeid, "s", "t", &e[3]), 0, "");
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(e[i].attr.uid, who->uid, "the caller's uid");
        CHECK_EQ(e[i].attr.gid, gid, "the caller's gid, or the directory's");
    }
    (void)vm;
}

VM_TEST(what_is_made_belongs_to_the_caller, NULL)
{
    static const struct fc_who who = { 1000, 2000 };
    struct fuse_entry_out e;

    if (!needs_root())
        return;
    CHECK_EQ(mkdir(daemon_path(vm->d, "open"), 0777), 0, "");
    CHECK_EQ(chmod(daemon_path(vm->d, "open"), 0777), 0, "");
    CHECK_EQ(mkdir(daemon_path(vm->d, "setgid"), 0777), 0, "");
    CHECK_EQ(chown(daemon_path(vm->d, "setgid"), 5, 6), 0, "");
    CHECK_EQ(chmod(daemon_path(vm->d, "setgid"), 02777), 0, "");
    makes_as(vm, q, &who, "open", 2000);
    makes_as(vm, q, &who, "setgid", 6);
    /* Back to root: the ids of one request are not those of the next. */
    CHECK_EQ(fc_mkdir(q, NULL, FC_ROOT, "roots", 0755, &e), 0, "");
    CHECK_EQ(e.attr.uid, 0, "");
    CHECK_EQ(e.attr.gid, 0, "");
}

static bool in_group(pid_t pid, const char *gid)
{
    char path[64], line[512];
    bool found = false;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    f = fopen(path, "re");
    CHECK(f != NULL, path);
    while (f && fgets(line, sizeof(line), f)) {
        if (strncmp(line, "Groups:", 7) == 0)
            found = strstr(line, gid) != NULL;
    }
    if (f)
        fclose(f);
    return found;
}

/* A request runs with the groups its process has: it must have none. */
static void no_group_of_the_launchers_reaches_the_roles(void)
{
    gid_t old[64], extra[] = { 47111, 47112 };
    struct vm vm;
    int n;

    if (!needs_root())
        return;
    n = getgroups(64, old);
    CHECK_EQ(setgroups(2, extra), 0, "groups of the launcher");
    if (vm_start_fuse(&vm, NULL)) {
        pid_t pids[16];
        size_t roles = daemon_roles(vm.d, pids, ARRAY_SIZE(pids));

        CHECK(in_group(getpid(), "47111"), "the launcher has them");
        CHECK(roles >= 2, "two roles at least");
        for (size_t i = 0; i < roles; i++)
            CHECK(!in_group(pids[i], "4711"), "the role has not");
    }
    vm_end(&vm);
    CHECK_EQ(setgroups((size_t)n, old), 0, "as before");
}

VM_TEST(statfs_tells_of_the_hosts_file_system, NULL)
{
    struct statvfs st;
    struct fuse_statfs_out out;
    struct fm m;

    fm_init(&m, FUSE_STATFS, FC_ROOT);
    m.room = sizeof(out);
    CHECK_EQ(fm_call(q, &m), 0, "");
    if (!CHECK_EQ(m.out_len, sizeof(out), ""))
        return;
    memcpy(&out, m.out, sizeof(out));
    CHECK_EQ(statvfs(daemon_share(vm->d), &st), 0, "");
    CHECK_EQ(out.st.blocks, st.f_blocks, "");
    CHECK_EQ(out.st.bsize, st.f_bsize, "");
    CHECK_EQ(out.st.frsize, st.f_frsize, "");
    CHECK_EQ(out.st.namelen, 255, "");
}

static int may(struct guest_queue *q, uint64_t node, uint32_t uid,
               uint32_t mask)
{
    struct fuse_access_in in = { .mask = mask };
    struct fm m;

    fm_init(&m, FUSE_ACCESS, node);
    m.h.uid = m.h.gid = uid;
    fm_add(&m, &in, sizeof(in));
    return fm_call(q, &m);
}

VM_TEST(access_is_judged, NULL)
{
    struct fuse_entry_out e;

    host_write(vm, "f", "", 0);
    CHECK_EQ(chmod(daemon_path(vm->d, "f"), 0644), 0, "");
    CHECK_EQ(fc_lookup(q, FC_ROOT, "f", &e), 0, "");
    CHECK_EQ(may(q, e.nodeid, 0, F_OK), 0, "");
    CHECK_EQ(may(q, e.nodeid, 0, R_OK | W_OK), 0, "");
    CHECK(may(q, e.nodeid, 0, 0x4000) <= 0, "no such mask");
    CHECK_EQ(may(q, e.nodeid ^ 0x1000, 0, R_OK), -ESTALE, "");
}

TAP_MAIN(TEST(attributes_are_set_one_by_one), TEST(owners_are_set),
         TEST(what_is_made_belongs_to_the_caller),
         TEST(no_group_of_the_launchers_reaches_the_roles),
         TEST(statfs_tells_of_the_hosts_file_system), TEST(access_is_judged))
