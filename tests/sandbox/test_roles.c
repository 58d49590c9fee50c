/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * From inside each role: the system calls it must not be able to make, and
 * those it must.  Runs the real program with probes in the place of its
 * devices (stub_roles.c).
 */

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/tap.h"
#include "tests/sandbox/daemon.h"
#include "virtiofsd/base/util.h"

static bool is_root(void)
{
    if (geteuid() == 0)
        return true;
    tap_skip("needs root");
    return false;
}

/* Refused by the filter: the role dies, the log names role and call. */
static const struct {
    const char *why, *line, *call;
} refused[] = {
    { "control opens nothing", "vhost open /", "openat" },
    { "control starts nothing", "vhost fork", "clone" },
    { "control maps no guest memory", "vhost map-guest", "mmap" },
    { "no code made at run time", "vhost mmap-exec", "mmap" },
    { "no code made at run time", "vhost mprotect-exec", "mprotect" },
    { "control makes no socket", "vhost socket-inet", "socket" },
    { "control makes no socket", "vhost socket-unix", "socket" },
    { "control connects to nothing", "vhost connect", "connect" },
    { "no other program", "vhost execve", "execve" },
    { "no look into others", "vhost ptrace", "ptrace" },
    { "no signal to others", "vhost kill", "kill" },
    { "no signal to others", "vhost tgkill-other", "tgkill" },
    { "no new namespace", "vhost unshare-user", "unshare" },
    { "no way into another namespace", "vhost setns", "setns" },
    { "nothing mounted", "vhost mount", "mount" },
    { "no other ids", "vhost setuid 1", "setresuid" },
    { "limits stay", "vhost setrlimit", "prlimit64" },
    { "stays undumpable", "vhost prctl-dumpable", "prctl" },
    { "no device calls", "vhost ioctl", "ioctl" },
    { "no kernel programs", "vhost bpf", "bpf" },
    { "no way round the filter", "vhost io-uring", "io_uring_setup" },
    { "without handles the tree is for fd-relative calls",
      "fuse open-by-handle", "open_by_handle_at" },
    { "control has no files at all", "vhost open-by-handle",
      "open_by_handle_at" },
    { "no process but itself", "fuse fork", "clone" },
    { "no code made at run time", "fuse mmap-exec", "mmap" },
    { "no code made at run time", "fuse mprotect-exec", "mprotect" },
    { "no network", "fuse socket-inet", "socket" },
    { "no socket at all", "fuse socket-unix", "socket" },
    { "no socket at all", "fuse connect", "connect" },
    { "no other program", "fuse execve", "execve" },
    { "no other program", "fuse execveat", "execveat" },
    { "no look into others", "fuse ptrace", "ptrace" },
    { "no signal to others", "fuse kill", "kill" },
    { "no signal to others", "fuse tgkill-other", "tgkill" },
    { "no new namespace", "fuse unshare-user", "unshare" },
    { "no way into another namespace", "fuse setns", "setns" },
    { "nothing mounted", "fuse mount", "mount" },
    { "no other root", "fuse chroot", "chroot" },
    { "limits stay", "fuse setrlimit", "prlimit64" },
    { "no device calls", "fuse ioctl", "ioctl" },
    { "no kernel programs", "fuse bpf", "bpf" },
    { "no way round the filter", "fuse io-uring", "io_uring_setup" },
};

/* One daemon a row: the first refused call is the role's last. */
static void a_refused_system_call_ends_the_role_and_is_named(void)
{
    static const char *const args[] = { "--inode-file-handles=never", NULL };
#ifdef SANITIZER_FILTER
    tap_skip("the filter of a sanitizer build is wider");
    return;
#endif
    if (!is_root())
        return;
    for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
        struct daemon d;
        char want[64];

        if (daemon_start(&d, &(struct daemon_how){ .args = args })) {
            CHECK_EQ(daemon_visit(&d), 0, refused[i].why);
            CHECK_STR(daemon_ask(&d, refused[i].line), "", refused[i].line);
            CHECK_EQ(daemon_wait(&d), 1, refused[i].why);
            daemon_drain(&d);
            snprintf(want, sizeof(want), " (%s) is not allowed",
                     refused[i].call);
            if (!CHECK(strstr(d.err, want), refused[i].line))
                tap_diag("stderr: %s", d.err);
            CHECK(strstr(d.err, strncmp(refused[i].line, "fuse", 4) == 0
                                    ? "request process (fuse"
                                    : "control process (vhost"),
                  "the supervisor names the role");
        }
        daemon_cleanup(&d);
    }
}

static void a_call_of_a_foreign_abi_ends_the_role(void)
{
    struct daemon d;

#ifndef __x86_64__
    tap_skip("this architecture has one interface");
    return;
#endif
    if (!is_root())
        return;
    if (daemon_start(&d, &(struct daemon_how){ 0 })) {
        CHECK_EQ(daemon_visit(&d), 0, "connect");
        CHECK_STR(daemon_ask(&d, "fuse foreign-abi"), "", "killed");
        CHECK_EQ(daemon_wait(&d), 1, "and all with it");
    }
    daemon_cleanup(&d);
}

static const struct {
    const char *why, *line, *want;
} allowed[] = {
    { "threads serve rings", "fuse thread", "ok 0" },
    { "the C library falls back to clone()", "fuse clone3", "errno 38" },
    { "a thread's own umask", "fuse unshare-fs", "ok 0" },
    { "guest memory is mapped here", "fuse map-guest", "ok 0" },
    { "shared pages are mapped", "fuse map-page", "ok 0" },
    { "abort() works", "fuse tgkill-own", "ok 0" },
    { "acting for a guest user", "fuse setuid 1000", "ok 0" },
    { "files are opened by handles", "fuse open-by-handle", "errno 14" },
    { "first in its pid namespace", "fuse getpid", "ok 1" },
    { "root of the share", "fuse count-root", "ok 1" },
    { "no way out by the root", "fuse open-root ../share/hello", "errno 2" },
    { "no way out by /proc", "fuse open-proc ../../../etc", "errno 2" },
    { "abort() works", "vhost tgkill-own", "ok 0" },
    { "shared pages are mapped", "vhost map-page", "ok 0" },
    { "first in its pid namespace", "vhost getpid", "ok 1" },
};

static void each_role_can_do_its_own_work(void)
{
    struct daemon d;

    if (!is_root())
        return;
    if (daemon_start(&d, &(struct daemon_how){ 0 })) {
        CHECK_EQ(daemon_visit(&d), 0, "connect");
        for (size_t i = 0; i < ARRAY_SIZE(allowed); i++) {
#ifdef SANITIZER_FILTER
            if (strstr(allowed[i].line, "clone3"))
                continue; /* allowed there */
#endif
            CHECK_STR(daemon_ask(&d, allowed[i].line), allowed[i].want,
                      allowed[i].why);
        }
        CHECK(daemon_number(&d, "fuse open-root hello") >= 0, "its file");
        CHECK(daemon_number(&d, "fuse reopen hello") >= 0,
              "an O_PATH fd is reopened through proc_fd");
    }
    daemon_cleanup(&d);
}

TAP_MAIN(TEST(a_refused_system_call_ends_the_role_and_is_named),
         TEST(a_call_of_a_foreign_abi_ends_the_role),
         TEST(each_role_can_do_its_own_work))
