/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest that knows more files than the server may open, as find(1) makes
 * it.  NODES_FILES in the environment is how many there are; with two million
 * it says what an inode costs.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/protocol/vm.h"

#define FILES_DEFAULT 20000
#define FILES_A_DIR   500
#define OPEN_AT_ONCE  500
#define FORGETS       200 /* in one message */
#define LIMIT         "1024"

static char share[64];

/* A file system with handles, whatever /tmp is on. */
static bool make_share(void)
{
    strcpy(share, "/tmp/virtiofsd-test-nodes-XXXXXX");
    if (!CHECK(mkdtemp(share) != NULL, "a directory"))
        return false;
    if (mount("none", share, "tmpfs", 0, "size=80%,nr_inodes=0") == 0)
        return true;
    rmdir(share);
    tap_skip("no tmpfs may be mounted");
    return false;
}

static void drop_share(void)
{
    umount2(share, MNT_DETACH);
    rmdir(share);
}

static void run(const char *const *args, const char *dir,
                void (*body)(struct vm *vm, struct guest_queue *q))
{
    struct vm_opts o = { .d.args = args, .d.share = dir };

    if (needs_root())
        vm_run(&o, body);
}

/* ---- what the request process uses ---- */

static pid_t fuse_role(const struct vm *vm)
{
    char path[64], name[32];
    pid_t pids[8];
    size_t n = daemon_roles(vm->d, pids, 8);

    for (size_t i = 0; i < n; i++) {
        FILE *f;

        snprintf(path, sizeof(path), "/proc/%d/comm", (int)pids[i]);
        f = fopen(path, "re");
        if (!f)
            continue;
        if (!fgets(name, sizeof(name), f))
            name[0] = '\0';
        fclose(f);
        if (!strcmp(name, "virtiofsd-fuse\n"))
            return pids[i];
    }
    CHECK(false, "the request process");
    return 0;
}

static size_t count_fds(const struct vm *vm)
{
    char path[64];
    size_t n = 0;
    DIR *d;

    snprintf(path, sizeof(path), "/proc/%d/fd", (int)fuse_role(vm));
    d = opendir(path);
    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n - 2;
}

static size_t private_kb(const struct vm *vm)
{
    char path[64], line[128];
    unsigned long kb = 0;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/status", (int)fuse_role(vm));
    f = fopen(path, "re");
    while (f && fgets(line, sizeof(line), f))
        if (sscanf(line, "RssAnon: %lu", &kb) == 1)
            break;
    if (f)
        fclose(f);
    return kb;
}

/* ---- the tree ---- */

static size_t n_files;
static uint64_t *node; /* of files and directories, in order of discovery */
static size_t n_nodes;

static void make_tree(void)
{
    const char *env = getenv("NODES_FILES");
    char path[128];

    n_files = env ? (size_t)strtoul(env, NULL, 10) : FILES_DEFAULT;
    n_nodes = 0;
    node = calloc(n_files + n_files / FILES_A_DIR + 1, sizeof(*node));
    for (size_t i = 0; i < n_files; i++) {
        int fd;

        snprintf(path, sizeof(path), "%s/d%zu", share, i / FILES_A_DIR);
        if (i % FILES_A_DIR == 0)
            mkdir(path, 0755);
        snprintf(path, sizeof(path), "%s/d%zu/f%zu", share, i / FILES_A_DIR, i);
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        if (fd < 0) {
            CHECK(false, "a tree to walk");
            break;
        }
        close(fd);
    }
}

/* READDIRPLUS of one directory, to its end; every node is kept. */
static void list(struct guest_queue *q, uint64_t dir)
{
    struct fuse_open_out o;
    uint64_t off = 0;
    const uint8_t *d;
    size_t len;
    int ret;

    if (!CHECK_EQ(fc_open(q, FUSE_OPENDIR, dir, O_RDONLY, &o), 0, ""))
        return;
    while ((ret = fc_readdir(q, FUSE_READDIRPLUS, dir, o.fh, off, 32768, &d,
                             &len)) == 0 &&
           len > 0) {
        for (size_t at = 0; at < len;) {
            const struct fuse_direntplus *de = (const void *)(d + at);

            off = de->dirent.off;
            at += FUSE_DIRENTPLUS_SIZE(de);
            if (de->dirent.namelen <= 2 && de->dirent.name[0] == '.')
                continue;
            if (!CHECK(de->entry_out.nodeid != 0, "each has a node"))
                break;
            node[n_nodes++] = de->entry_out.nodeid;
        }
    }
    CHECK_EQ(ret, 0, "");
    CHECK_EQ(fc_release(q, FUSE_RELEASEDIR, dir, o.fh), 0, "");
}

static void forget_all(struct vm *vm)
{
    struct {
        struct fuse_batch_forget_in in;
        struct fuse_forget_one one[FORGETS];
    } msg = { .in.count = 0 };

    for (size_t i = 0; i < n_nodes; i++) {
        msg.one[msg.in.count++] = (struct fuse_forget_one){ node[i], 1 };
        if (msg.in.count == FORGETS || i + 1 == n_nodes) {
            struct fm m;

            fm_init(&m, FUSE_BATCH_FORGET, 0);
            m.no_reply = true;
            fm_add(&m, &msg,
                   sizeof(msg.in) + msg.in.count * sizeof(msg.one[0]));
            CHECK_EQ(fm_call(&vm->q[VM_HIPRIO], &m), FM_EMPTY, "");
            msg.in.count = 0;
        }
    }
}

static void open_many(struct guest_queue *q)
{
    static struct fuse_open_out o[OPEN_AT_ONCE];
    size_t step = n_nodes / OPEN_AT_ONCE;
    size_t first = n_files / FILES_A_DIR; /* directories come first */
    int failed = 0;

    for (size_t i = 0; i < OPEN_AT_ONCE; i++)
        failed += fc_open(q, FUSE_OPEN, node[first + i * (step - 1)], O_RDONLY,
                          &o[i]) != 0;
    CHECK_EQ(failed, 0, "all are open at once");
    for (size_t i = 0; i < OPEN_AT_ONCE; i++)
        failed += fc_release(q, FUSE_RELEASE, node[first + i * (step - 1)],
                             o[i].fh) != 0;
    CHECK_EQ(failed, 0, "");
}

static void walk(struct vm *vm, struct guest_queue *q)
{
    size_t fds = count_fds(vm), kb = private_kb(vm), dirs, now;
    struct fuse_attr_out a;
    int failed = 0;

    list(q, FC_ROOT);
    dirs = n_nodes;
    for (size_t i = 0; i < dirs; i++)
        list(q, node[i]);
    CHECK_EQ(n_nodes, n_files + dirs, "all of it");
    now = private_kb(vm);
    tap_diag("%zu inodes: %zu kB, %zu bytes each; %zu descriptors", n_nodes,
             now - kb, (now - kb) * 1024 / n_nodes, count_fds(vm));
#ifndef SANITIZER_FILTER /* they keep books of each byte */
    CHECK((now - kb) * 1024 < n_nodes * 80 + ((size_t)1 << 20),
          "72 bytes each, as the man page says, and a megabyte");
#endif
    for (size_t i = 0; i < n_nodes; i += 7)
        failed += fc_getattr(q, node[i], &a) != 0;
    CHECK_EQ(failed, 0, "each can be asked about");
    CHECK(count_fds(vm) < (size_t)atoi(LIMIT) / 2 + fds, "half are nodes'");
    open_many(q);
    forget_all(vm);
    for (size_t i = 0; i < n_nodes; i += 7)
        failed += fc_getattr(q, node[i], &a) != -ESTALE;
    CHECK_EQ(failed, 0, "none is left");
    CHECK_EQ(count_fds(vm), fds, "nor any descriptor");
}

static void a_tree_larger_than_the_limit_is_walked(void)
{
    static const char *const args[] = { "--rlimit-nofile=" LIMIT,
                                        "--inode-file-handles=mandatory",
                                        NULL };

    if (!needs_root() || !make_share())
        return;
    make_tree();
    run(args, share, walk);
    free(node);
    drop_share();
}

/* ---- where there are no handles ---- */

static void no_handles(struct vm *vm, struct guest_queue *q)
{
    struct fuse_entry_out e;

    CHECK(daemon_wait_log(vm->d, "no file handles here"), "it says so");
    CHECK_EQ(fc_lookup(q, FC_ROOT, "kernel", &e), 0, "and does without");
}

static void without_handles_prefer_goes_on_and_mandatory_does_not(void)
{
    static const char *const must[] = { "--inode-file-handles=mandatory",
                                        NULL };
    struct daemon_opts o = { .args = must,
                             .share = "/proc/sys",
                             .no_wait = true };
    struct daemon *d;

    if (!needs_root())
        return;
    run(NULL, "/proc/sys", no_handles);
    d = daemon_start(&o);
    if (d) {
        CHECK(daemon_wait_log(d, "--inode-file-handles=mandatory: no file "
                                 "handles here: "),
              "");
        daemon_end(d, END_NONZERO);
    }
}

static void ordinary_user(struct vm *vm, struct guest_queue *q)
{
    struct fuse_entry_out e;

    CHECK(daemon_wait_log(vm->d, "no file handles here: "), "not for them");
    CHECK_EQ(fc_mkdir(q, NULL, FC_ROOT, "d", 0755, &e), 0, "all the same");
    CHECK_EQ(fc_lookup(q, e.nodeid, "x", &e), -ENOENT, "");
}

static void an_ordinary_user_is_served_without(void)
{
    struct vm_opts o = { .d = { .set_ids = true, .uid = 4711, .gid = 4711 } };

    if (needs_root())
        vm_run(&o, ordinary_user);
}

static void sub_refused(struct vm *vm, struct guest_queue *q)
{
    struct fuse_entry_out e;

    (void)vm;
    CHECK_EQ(fc_lookup(q, FC_ROOT, "sub", &e), -EOPNOTSUPP, "mandatory");
}

static void sub_served(struct vm *vm, struct guest_queue *q)
{
    size_t fds = count_fds(vm);
    struct fuse_entry_out e, e2;

    CHECK_EQ(fc_lookup(q, FC_ROOT, "sub", &e), 0, "prefer");
    CHECK_EQ(fc_lookup(q, e.nodeid, "kernel", &e2), 0, "");
    CHECK_EQ(count_fds(vm), fds + 2, "by a descriptor each");
    CHECK_EQ(fc_lookup(q, FC_ROOT, "d", &e), 0, "");
    CHECK_EQ(count_fds(vm), fds + 2, "on that mount only");
}

static void a_mount_without_handles_is_served_as_the_option_says(void)
{
    static const char *const must[] = { "--inode-file-handles=mandatory",
                                        NULL };
    static const char *const may[] = { "--inode-file-handles=prefer", NULL };
    char sub[96], dir[96];

    if (!needs_root() || !make_share())
        return;
    snprintf(sub, sizeof(sub), "%s/sub", share);
    snprintf(dir, sizeof(dir), "%s/d", share);
    mkdir(sub, 0755);
    mkdir(dir, 0755);
    if (CHECK_EQ(mount("/proc/sys", sub, NULL, MS_BIND, NULL), 0, "")) {
        run(must, share, sub_refused);
        run(may, share, sub_served);
        umount2(sub, MNT_DETACH);
    }
    drop_share();
}

TAP_MAIN(TEST(a_tree_larger_than_the_limit_is_walked),
         TEST(without_handles_prefer_goes_on_and_mandatory_does_not),
         TEST(an_ordinary_user_is_served_without),
         TEST(a_mount_without_handles_is_served_as_the_option_says))
