/* SPDX-License-Identifier: BSD-3-Clause */

/* What can be told of the sandbox without entering it: --modcaps, what a
 * sandbox needs, and what must stand in no filter. */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sandbox/caps.h"
#include "sandbox/namespaces.h"
#include "sandbox/seccomp.h"
#include "tests/lib/tap.h"
#include "virtiofsd/base/util.h"

static void modcaps_takes_names_with_a_sign(void)
{
    static const struct {
        const char *why, *spec;
        int want;
        const char *said;
    } rows[] = {
        { "none", "", 0, "" },
        { "one", "+dac_read_search", 0, "" },
        { "as KubeVirt passes it", "+dac_read_search:-mknod", 0, "" },
        { "upper case", "+DAC_READ_SEARCH", 0, "" },
        { "with the prefix", "-cap_mknod", 0, "" },
        { "a colon at the end", "+chown:", 0, "" },
        { "no sign", "mknod", -EINVAL, "mknod" },
        { "another sign", "=chown", -EINVAL, "=chown" },
        { "no such capability", "+chown:+fly", -EINVAL, "+fly" },
        { "a sign alone", "+", -EINVAL, "\"+\"" },
        { "an empty entry", "+chown::-mknod", -EINVAL, "\"\"" },
        { "a wrong separator", "+chown,-mknod", -EINVAL, "+chown,-mknod" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char err[256] = "";

        CHECK_EQ(caps_check_modcaps(rows[i].spec, err, sizeof(err)),
                 rows[i].want, rows[i].why);
        CHECK(strstr(err, rows[i].said), rows[i].why);
    }
}

static void a_sandbox_that_can_not_be_built_is_refused(void)
{
    struct sandbox_opts o = { .mode = SANDBOX_NAMESPACE };
    bool root = geteuid() == 0;
    char err[256] = "";

    CHECK_EQ(namespaces_check(&o, err, sizeof(err)), 0, "the default");
    o.mode = SANDBOX_CHROOT;
    CHECK_EQ(namespaces_check(&o, err, sizeof(err)), root ? 0 : -EINVAL,
             "chroot is for root");
    o = (struct sandbox_opts){ .mode = SANDBOX_NAMESPACE, .n_uid = 1 };
    CHECK_EQ(namespaces_check(&o, err, sizeof(err)), root ? -EINVAL : 0,
             "maps are for ordinary users");
    o.mode = SANDBOX_NONE;
    CHECK_EQ(namespaces_check(&o, err, sizeof(err)), -EINVAL,
             "maps need a namespace");
    CHECK(strstr(err, "--uid-map"), "and it says so");
}

/* Calls which would undo the rest of the sandbox, whatever the role. */
static const char *const never[] = {
    "execve",
    "execveat",
    "fork",
    "vfork",
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "mount",
    "umount2",
    "pivot_root",
    "chroot",
    "setns",
    "open_tree",
    "move_mount",
    "fsopen",
    "bpf",
    "io_uring_setup",
    "io_uring_enter",
    "userfaultfd",
    "perf_event_open",
    "keyctl",
    "init_module",
    "finit_module",
    "kexec_load",
    "reboot",
    "seccomp",
    "pidfd_getfd",
    "open_by_handle_at",
    "setrlimit",
    "personality",
};

static const struct sc_rule *find(const struct sc_table *t, const char *name)
{
    for (size_t i = 0; i < t->n; i++)
        if (strcmp(t->rules[i].name, name) == 0 && t->rules[i].err == 0)
            return &t->rules[i];
    return NULL;
}

static void no_filter_allows_what_undoes_the_sandbox(void)
{
    const struct sc_table *const all[] = { &sc_table_common,
                                           &sc_table_supervisor,
                                           &sc_table_vhost, &sc_table_fuse };

    for (size_t i = 0; i < ARRAY_SIZE(never); i++)
        for (size_t k = 0; k < ARRAY_SIZE(all); k++)
            CHECK(!find(all[k], never[i]), never[i]);
}

static void each_role_lacks_what_is_anothers_work(void)
{
    static const struct {
        const char *why;
        const struct sc_table *table;
        const char *call;
    } rows[] = {
        { "control opens nothing", &sc_table_vhost, "openat" },
        { "control opens nothing", &sc_table_vhost, "openat2" },
        { "control has one thread", &sc_table_vhost, "clone" },
        { "control has one client", &sc_table_vhost, "accept4" },
        { "request has no socket", &sc_table_fuse, "socket" },
        { "request has no socket", &sc_table_fuse, "socketpair" },
        { "request signals nobody", &sc_table_fuse, "kill" },
        { "supervisor opens nothing", &sc_table_supervisor, "openat" },
        { "supervisor starts nothing", &sc_table_supervisor, "clone" },
        { "supervisor makes no memory", &sc_table_supervisor, "memfd_create" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        CHECK(!find(rows[i].table, rows[i].call), rows[i].why);
}

/* Where a flag word decides, the row must look at it. */
static void dangerous_calls_are_allowed_with_conditions_only(void)
{
    static const char *const calls[] = { "clone", "unshare", "mmap", "mprotect",
                                         "prctl", "socket",  "ioctl" };
    const struct sc_table *const all[] = { &sc_table_common,
                                           &sc_table_supervisor,
                                           &sc_table_vhost, &sc_table_fuse };

    for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
        for (size_t k = 0; k < ARRAY_SIZE(all); k++)
            for (size_t r = 0; r < all[k]->n; r++)
                if (strcmp(all[k]->rules[r].name, calls[i]) == 0)
                    CHECK(all[k]->rules[r].a[0].test != SC_ANY, calls[i]);
}

TAP_MAIN(TEST(modcaps_takes_names_with_a_sign),
         TEST(a_sandbox_that_can_not_be_built_is_refused),
         TEST(no_filter_allows_what_undoes_the_sandbox),
         TEST(each_role_lacks_what_is_anothers_work),
         TEST(dangerous_calls_are_allowed_with_conditions_only))
