/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/protocol/vm.h"

#include <stdio.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

/* Options about how the daemon starts and what it is confined to: with each
 * of them it has to serve. */

/* Enough of everything to meet a system call that a filter forgot. */
static void use(struct vm *vm)
{
    struct guest_queue *q = &vm->q[1];
    struct fuse_entry_out e, d;
    struct fuse_open_out f;
    struct fuse_fsync_in fs = { 0 };
    const uint8_t *list;
    const void *data;
    char got[8];
    uint32_t n;
    size_t len;

    CHECK_EQ(fc_mkdir(q, NULL, FC_ROOT, "d", 0755, &d), 0, "");
    CHECK_EQ(fc_create(q, NULL, FC_ROOT, "f", O_RDWR, 0644, &e, &f), 0, "");
    CHECK_EQ(fc_write(q, e.nodeid, f.fh, 0, "text", 4, &n), 0, "");
    CHECK_EQ(fc_read(q, e.nodeid, f.fh, 0, 4, &data, &len), 0, "");
    CHECK_EQ(host_read(vm, "f", got, 8), 4, "");
    fs.fh = f.fh;
    CHECK_EQ(fc_simple(q, FUSE_FSYNC, e.nodeid, &fs, sizeof(fs)), 0, "");
    CHECK_EQ(fc_release(q, FUSE_RELEASE, e.nodeid, f.fh), 0, "");
    CHECK_EQ(fc_rename(q, FC_ROOT, "f", d.nodeid, "g", 0), 0, "");
    CHECK_EQ(fc_symlink(q, NULL, FC_ROOT, "l", "t", &e), 0, "");
    CHECK_EQ(fc_open(q, FUSE_OPENDIR, FC_ROOT, 0, &f), 0, "");
    CHECK_EQ(
        fc_readdir(q, FUSE_READDIRPLUS, FC_ROOT, f.fh, 0, 4096, &list, &len), 0,
        "");
    CHECK_EQ(fc_remove(q, FUSE_UNLINK, d.nodeid, "g"), 0, "");
    CHECK_EQ(fc_remove(q, FUSE_RMDIR, FC_ROOT, "d"), 0, "");
    for (unsigned int i = 1; i < vm->n; i++)
        vm_alive(vm, i);
}

static void serves_with(const char *const *args)
{
    struct vm_opts o = { .d = { .args = args }, .queues = 4 };
    struct vm vm;

    if (vm_start_fuse(&vm, &o))
        use(&vm);
    vm_end(&vm);
    if (tap_failing())
        tap_diag("with %s", args[0]);
}

#define SERVES_WITH(...) serves_with((const char *const[]){ __VA_ARGS__, NULL })

static void every_sandbox_serves(void)
{
    SERVES_WITH("--sandbox=none");
    SERVES_WITH("--sandbox=namespace");
    if (geteuid() == 0)
        SERVES_WITH("--sandbox=chroot");
}

static void every_seccomp_mode_serves(void)
{
    SERVES_WITH("--seccomp=kill");
    SERVES_WITH("--seccomp=log");
    SERVES_WITH("--seccomp=trap");
    SERVES_WITH("--seccomp=none");
}

static void launchers_lines_serve(void)
{
    SERVES_WITH("--thread-pool-size=1", "--announce-submounts");
    SERVES_WITH("--cache=never", "--thread-pool-size=1", "-o",
                "announce_submounts");
    SERVES_WITH("--sandbox", "none", "--seccomp=none");
    SERVES_WITH("--log-level", "debug");
    SERVES_WITH("-d");
    SERVES_WITH("-o", "cache=auto,no_xattr,no_flock,no_posix_lock");
    SERVES_WITH("--rlimit-nofile=1024");
    SERVES_WITH("--rlimit-nofile=0");
    SERVES_WITH("--xattr", "--cache", "always", "--log-level=error");
    SERVES_WITH("--syslog");
    SERVES_WITH("-f");
}

static void a_pool_of_threads_serves(void)
{
    SERVES_WITH("--thread-pool-size=4");
    SERVES_WITH("--thread-pool-size=64");
}

static void any_number_of_request_queues_serves(void)
{
    SERVES_WITH("--num-request-queues=1");
    SERVES_WITH("--num-request-queues=64", "--tag=t");
}

/* ---- what must not start ---- */

#define FAILS_WITH(word, ...)                                                  \
    fails_with(                                                                \
        &(struct daemon_opts){                                                 \
            .args = (const char *const[]){ __VA_ARGS__, NULL } },              \
        word)

static void what_can_not_be_done_is_said_at_once(void)
{
    FAILS_WITH("num-request-queues", "--num-request-queues=0");
    FAILS_WITH("num-request-queues", "--num-request-queues=65");
    FAILS_WITH("cache", "--cache=sometimes");
    FAILS_WITH("no-such-option", "--no-such-option");
    FAILS_WITH("no-such-group", "--socket-group=no-such-group");
    FAILS_WITH("tag", "--tag=1234567890123456789012345678901234567");
    fails_with(&(struct daemon_opts){ .share = "/no/such/dir" },
               "/no/such/dir");
}

/* ---- the socket's group ---- */

static void the_socket_is_given_to_its_group(void)
{
    struct group *g = getgrgid(1);
    const char *args[] = { "--socket-group", g ? g->gr_name : NULL, NULL };
    struct daemon_opts o = { .args = args };
    struct daemon *d;
    struct stat st;

    if (!needs_root())
        return;
    if (!g) {
        tap_skip("no group has the id 1");
        return;
    }
    d = daemon_start(&o);
    if (d) {
        CHECK_EQ(lstat(daemon_socket(d), &st), 0, "");
        CHECK_EQ(st.st_gid, 1, "its group");
        CHECK_EQ(st.st_mode & 0777, 0770, "its mode");
        kill(daemon_pid(d), SIGTERM);
    }
    daemon_end(d, END_ZERO);
}

TAP_MAIN(TEST(every_sandbox_serves), TEST(every_seccomp_mode_serves),
         TEST(launchers_lines_serve), TEST(a_pool_of_threads_serves),
         TEST(any_number_of_request_queues_serves),
         TEST(what_can_not_be_done_is_said_at_once),
         TEST(the_socket_is_given_to_its_group))
