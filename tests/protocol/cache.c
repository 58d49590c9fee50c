/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/protocol/vm.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What the guest is told about how long and what it may cache. */

#define ARGS(...)                                                              \
    &(struct vm_opts)                                                          \
    {                                                                          \
        .d = {.args = (const char *const[]){ __VA_ARGS__, NULL } }             \
    }

#define HALF 500000000 /* of a second, in nanoseconds */

static void entry_is(const struct fuse_entry_out *e, const char *why)
{
    CHECK_EQ(e->entry_valid, 2, why);
    CHECK_EQ(e->entry_valid_nsec, HALF, why);
    CHECK_EQ(e->attr_valid, 0, why);
    CHECK_EQ(e->attr_valid_nsec, HALF / 2, why);
}

static void attr_is(const struct fuse_attr_out *a, const char *why)
{
    CHECK_EQ(a->attr_valid, 0, why);
    CHECK_EQ(a->attr_valid_nsec, HALF / 2, why);
}

VM_TEST(every_reply_has_the_timeouts_that_were_set,
        ARGS("--entry-timeout=2.5", "--attr-timeout", "0.25"))
{
    struct fuse_setattr_in sa = { .valid = FATTR_MODE, .mode = 0600 };
    struct fuse_entry_out e, file;
    struct fuse_attr_out a;
    struct fuse_open_out f;

    (void)vm;
    CHECK_EQ(fc_create(q, NULL, FC_ROOT, "f", O_RDWR, 0644, &file, &f), 0, "");
    entry_is(&file, "CREATE");
    CHECK_EQ(fc_lookup(q, FC_ROOT, "f", &e), 0, "");
    entry_is(&e, "LOOKUP");
    CHECK_EQ(fc_link(q, file.nodeid, FC_ROOT, "l", &e), 0, "");
    entry_is(&e, "LINK");
    CHECK_EQ(fc_mkdir(q, NULL, FC_ROOT, "d", 0755, &e), 0, "");
    entry_is(&e, "MKDIR");
    CHECK_EQ(fc_mknod(q, NULL, FC_ROOT, "p", S_IFIFO | 0644, 0, &e), 0, "");
    entry_is(&e, "MKNOD");
    CHECK_EQ(fc_symlink(q, NULL, FC_ROOT, "s", "t", &e), 0, "");
    entry_is(&e, "SYMLINK");
    fc_listed(q, FC_ROOT, "f", &e);
    CHECK_EQ(e.nodeid, file.nodeid, "listed");
    entry_is(&e, "READDIRPLUS");
    CHECK_EQ(fc_getattr(q, file.nodeid, &a), 0, "");
    attr_is(&a, "GETATTR");
    CHECK_EQ(fc_setattr(q, file.nodeid, &sa, &a), 0, "");
    attr_is(&a, "SETATTR");
}

/* One and the same for both, over what the mode says. */
VM_TEST(one_timeout_is_for_both, ARGS("--cache=always", "-o", "timeout=2.5"))
{
    struct fuse_entry_out e;
    struct fuse_attr_out a;

    (void)vm;
    CHECK_EQ(fc_mkdir(q, NULL, FC_ROOT, "d", 0755, &e), 0, "");
    CHECK_EQ(e.entry_valid, 2, "");
    CHECK_EQ(e.entry_valid_nsec, HALF, "");
    CHECK_EQ(e.attr_valid, 2, "");
    CHECK_EQ(e.attr_valid_nsec, HALF, "");
    CHECK_EQ(fc_getattr(q, FC_ROOT, &a), 0, "");
    CHECK_EQ(a.attr_valid, 2, "");
    CHECK_EQ(fc_lookup(q, FC_ROOT, "x", &e), -ENOENT, "not for absence");
}

/* Absence is remembered in no mode unless that is asked for: what the host
 * makes is found by the next look. */
static void a_missing_name_is_enoent(void)
{
    static const char *const modes[] = { "--cache=auto", "--cache=always",
                                         "--cache=metadata", "--cache=never" };

    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        struct fuse_entry_out e;
        struct vm vm;

        if (vm_start_fuse(&vm, ARGS(modes[i]))) {
            CHECK_EQ(fc_lookup(&vm.q[1], FC_ROOT, "x", &e), -ENOENT, modes[i]);
            host_write(&vm, "x", "", 0);
            CHECK_EQ(fc_lookup(&vm.q[1], FC_ROOT, "x", &e), 0, modes[i]);
        }
        vm_end(&vm);
    }
}

/* Node id 0 with a time: Linux keeps a negative entry for that long. */
VM_TEST(absence_has_a_timeout_when_asked_for, ARGS("--negative-timeout=2.5"))
{
    struct fuse_entry_out e, d;
    struct fuse_open_out f;

    CHECK_EQ(fc_lookup(q, FC_ROOT, "x", &e), 0, "");
    CHECK_EQ(e.nodeid, 0, "no such file");
    CHECK_EQ(e.entry_valid, 2, "");
    CHECK_EQ(e.entry_valid_nsec, HALF, "");
    CHECK_EQ(e.attr.mode, 0, "nothing else");
    host_write(vm, "x", "", 0);
    CHECK_EQ(fc_lookup(q, FC_ROOT, "x", &e), 0, "");
    CHECK(e.nodeid != 0, "the server itself remembers nothing");
    CHECK_EQ(e.entry_valid, 1, "what is there has the mode's timeout");
    CHECK_EQ(fc_lookup(q, e.nodeid, "y", &d), -ENOTDIR, "an error is one");
    /* A guest that holds "n" for absent makes it without a look. */
    host_write(vm, "n", "text", 4);
    CHECK_EQ(fc_create(q, NULL, FC_ROOT, "n", O_RDWR | O_EXCL, 0644, &e, &f),
             -EEXIST, "");
    CHECK_EQ(fc_create(q, NULL, FC_ROOT, "n", O_RDWR, 0644, &e, &f), 0, "");
    CHECK_EQ(e.attr.size, 4, "what the host made is opened");
    CHECK_EQ(fc_mkdir(q, NULL, FC_ROOT, "n", 0755, &d), -EEXIST, "");
}

/* ---- what the host puts in another's place ---- */

static void holds(struct guest_queue *q, uint64_t node, const char *text)
{
    struct fuse_open_out f;
    const void *data;
    size_t len = 0;

    if (!CHECK_EQ(fc_open(q, FUSE_OPEN, node, O_RDONLY, &f), 0, text))
        return;
    CHECK_EQ(fc_read(q, node, f.fh, 0, 8, &data, &len), 0, text);
    CHECK_EQ(len, strlen(text), text);
    CHECK_MEM(data, text, strlen(text), text);
    CHECK_EQ(fc_release(q, FUSE_RELEASE, node, f.fh), 0, text);
}

/* The guest acts on what it has cached: never ESTALE, the file it means; and
 * the next look leads to the new one, which is never taken for the old. */
static const char *const descriptors[] = { "--inode-file-handles=never", NULL };
static const struct vm_opts by_fd = { .d.args = descriptors };

VM_TEST(what_is_replaced_on_the_host_stays_what_it_was, &by_fd)
{
    struct fuse_entry_out old, dir, e;
    struct fuse_attr_out a;

    host_write(vm, "f", "old", 3);
    host_write(vm, "n", "new", 3);
    CHECK_EQ(mkdir(daemon_path(vm->d, "d"), 0755), 0, "");
    host_write(vm, "d/in", "old", 3);
    CHECK_EQ(fc_lookup(q, FC_ROOT, "f", &old), 0, "");
    CHECK_EQ(fc_walk(q, "d", &dir), 0, "");
    CHECK_EQ(rename(daemon_path(vm->d, "n"), daemon_path(vm->d, "f")), 0, "");
    holds(q, old.nodeid, "old");
    CHECK_EQ(fc_getattr(q, old.nodeid, &a), 0, "without a name");
    CHECK_EQ(a.attr.nlink, 0, "");
    CHECK_EQ(fc_lookup(q, FC_ROOT, "f", &e), 0, "");
    CHECK(e.nodeid != old.nodeid, "another file");
    holds(q, e.nodeid, "new");
    holds(q, old.nodeid, "old");

    CHECK_EQ(unlink(daemon_path(vm->d, "f")), 0, "");
    CHECK_EQ(mkdir(daemon_path(vm->d, "f"), 0755), 0, "");
    holds(q, e.nodeid, "new");
    CHECK_EQ(fc_lookup(q, FC_ROOT, "f", &old), 0, "");
    CHECK(S_ISDIR(old.attr.mode) && old.nodeid != e.nodeid, "a directory now");

    CHECK_EQ(unlink(daemon_path(vm->d, "d/in")), 0, "");
    CHECK_EQ(rmdir(daemon_path(vm->d, "d")), 0, "");
    CHECK_EQ(mkdir(daemon_path(vm->d, "d"), 0755), 0, "");
    host_write(vm, "d/in", "new", 3);
    CHECK_EQ(fc_lookup(q, dir.nodeid, "in", &e), -ENOENT, "not in the old");
    CHECK_EQ(fc_walk(q, "d/in", &e), 0, "by the path");
    holds(q, e.nodeid, "new");
}

/* By file handles there may be nothing left to open.  Linux looks the name up
 * anew when it hears ESTALE, and has to find what is there now. */
VM_TEST(what_is_replaced_on_the_host_is_found_anew, NULL)
{
    struct fuse_entry_out old, e;
    struct fuse_open_out f;
    int ret;

    for (int i = 0; i < 20; i++) {
        char is[8];

        snprintf(is, sizeof(is), "is%d", i);
        host_write(vm, "f", "old", 3);
        host_write(vm, "n", is, strlen(is));
        CHECK_EQ(fc_lookup(q, FC_ROOT, "f", &old), 0, "");
        CHECK_EQ(rename(daemon_path(vm->d, "n"), daemon_path(vm->d, "f")), 0,
                 "");
        ret = fc_open(q, FUSE_OPEN, old.nodeid, O_RDONLY, &f);
        CHECK(ret == 0 || ret == -ESTALE, "the old one or none");
        CHECK_EQ(fc_lookup(q, FC_ROOT, "f", &e), 0, "");
        CHECK(e.nodeid != old.nodeid, "another file");
        holds(q, e.nodeid, is);
        CHECK_EQ(fc_getattr(q, FC_ROOT, NULL), 0, "");
    }
}

/* ---- what INIT agrees upon ---- */

static uint32_t agreed(struct vm *vm)
{
    struct fuse_init_out out = { 0 };

    CHECK_EQ(fc_init(&vm->q[1], UINT32_MAX, &out), 0, "INIT");
    return out.flags;
}

/* How the guest learns that its pages are old: by the time in the attributes,
 * which voids them after its own writes too.  Only "always" as it comes does
 * without. */
static void pages_are_voided_by_time_unless_nobody_else_writes(void)
{
    static const struct {
        const char *args[4];
        bool explicit;
    } rows[] = {
        { { "--cache=auto" }, false },
        { { "--cache=always" }, true },
        { { "--cache=always", "--entry-timeout=1" }, true },
        { { "--cache=always", "--timeout=1" }, false },
        { { "--cache=always", "--attr-timeout=86400" }, false },
        { { "--cache=metadata" }, false },
        { { "--cache=never" }, false },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct vm_opts o = { .d = { .args = rows[i].args } };
        struct vm vm;

        if (vm_start(&vm, &o)) {
            uint32_t flags = agreed(&vm);

            CHECK_EQ(!!(flags & FUSE_EXPLICIT_INVAL_DATA), rows[i].explicit,
                     rows[i].args[0]);
            CHECK_EQ(!!(flags & FUSE_AUTO_INVAL_DATA), !rows[i].explicit,
                     rows[i].args[0]);
        }
        vm_end(&vm);
    }
}

VM_TEST(nothing_is_written_back_where_nothing_is_cached,
        ARGS("--cache=never", "--writeback"))
{
    (void)q;
    CHECK(!(agreed(vm) & FUSE_WRITEBACK_CACHE), "");
    CHECK(daemon_wait_log(vm->d, "--writeback: does nothing"), "told");
}

VM_TEST(listing_with_attributes_can_be_had_in_every_mode,
        ARGS("-o", "cache=none,readdirplus"))
{
    (void)q;
    CHECK(agreed(vm) & FUSE_DO_READDIRPLUS, "asked for by name");
}

/* ---- what each open file says ---- */

/* Closing what was only read takes no request, unless the guest's record
 * locks would have to be let go of. */
VM_TEST(files_that_are_only_read_are_not_flushed, NULL)
{
    struct fuse_entry_out e;
    struct fuse_open_out f;

    CHECK_EQ(fc_create(q, NULL, FC_ROOT, "f", O_RDWR, 0644, &e, &f), 0, "");
    CHECK_EQ(f.open_flags & FOPEN_NOFLUSH, 0, "made for writing");
    CHECK_EQ(fc_open(q, FUSE_OPEN, e.nodeid, O_RDONLY, &f), 0, "");
    CHECK_EQ(f.open_flags & FOPEN_NOFLUSH, FOPEN_NOFLUSH, "O_RDONLY");
    CHECK_EQ(fc_open(q, FUSE_OPEN, e.nodeid, O_WRONLY, &f), 0, "");
    CHECK_EQ(f.open_flags & FOPEN_NOFLUSH, 0, "O_WRONLY");
    CHECK_EQ(fc_open(q, FUSE_OPEN, e.nodeid, O_RDWR, &f), 0, "");
    CHECK_EQ(f.open_flags & FOPEN_NOFLUSH, 0, "O_RDWR");
    CHECK_EQ(fc_open(q, FUSE_OPENDIR, FC_ROOT, O_RDONLY, &f), 0, "");
    CHECK_EQ(f.open_flags, 0, "a directory");
    (void)vm;
}

/* FLUSH is what a close lets go of the closer's record locks by. */
VM_TEST(closing_is_told_where_locks_are_the_hosts, ARGS("--posix-lock"))
{
    struct fuse_entry_out e;
    struct fuse_open_out f;

    CHECK(agreed(vm) & FUSE_POSIX_LOCKS, "");
    host_write(vm, "f", "", 0);
    CHECK_EQ(fc_lookup(q, FC_ROOT, "f", &e), 0, "");
    CHECK_EQ(fc_open(q, FUSE_OPEN, e.nodeid, O_RDONLY, &f), 0, "");
    CHECK_EQ(f.open_flags, 0, "");
}

/* Open O_DIRECT.  Return: false when the host can not. */
static bool open_direct(struct vm *vm, struct guest_queue *q,
                        struct fuse_entry_out *e, struct fuse_open_out *f)
{
    int fd;

    host_write(vm, "f", "", 0);
    fd = open(daemon_path(vm->d, "f"), O_RDWR | O_DIRECT | O_CLOEXEC);
    if (fd < 0) {
        tap_skip("no O_DIRECT on this file system");
        return false;
    }
    close(fd);
    return CHECK_EQ(fc_lookup(q, FC_ROOT, "f", e), 0, "") &&
           CHECK_EQ(fc_open(q, FUSE_OPEN, e->nodeid, O_RDWR | O_DIRECT, f), 0,
                    "");
}

/* A handle that is O_DIRECT on the host takes whole blocks only. */
VM_TEST(what_is_direct_on_the_host_bypasses_the_guests_cache,
        ARGS("--allow-direct-io"))
{
    struct fuse_entry_out e;
    struct fuse_open_out f;
    uint32_t n;

    if (!open_direct(vm, q, &e, &f))
        return;
    CHECK_EQ(f.open_flags, FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES, "");
    CHECK_EQ(fc_write(q, e.nodeid, f.fh, 0, "odd", 3, &n), -EINVAL,
             "three bytes are no block");
}

/* Pages of the guest's go through any handle, and end anywhere. */
VM_TEST(delayed_writes_do_not_go_through_direct_handles,
        ARGS("--allow-direct-io", "--writeback"))
{
    struct fuse_entry_out e;
    struct fuse_open_out f;
    uint32_t n;

    CHECK(agreed(vm) & FUSE_WRITEBACK_CACHE, "");
    if (!open_direct(vm, q, &e, &f))
        return;
    CHECK_EQ(f.open_flags, 0, "not direct");
    CHECK_EQ(fc_write(q, e.nodeid, f.fh, 0, "odd", 3, &n), 0, "");
}

TAP_MAIN(TEST(every_reply_has_the_timeouts_that_were_set),
         TEST(one_timeout_is_for_both), TEST(a_missing_name_is_enoent),
         TEST(absence_has_a_timeout_when_asked_for),
         TEST(what_is_replaced_on_the_host_stays_what_it_was),
         TEST(what_is_replaced_on_the_host_is_found_anew),
         TEST(pages_are_voided_by_time_unless_nobody_else_writes),
         TEST(nothing_is_written_back_where_nothing_is_cached),
         TEST(listing_with_attributes_can_be_had_in_every_mode),
         TEST(files_that_are_only_read_are_not_flushed),
         TEST(closing_is_told_where_locks_are_the_hosts),
         TEST(what_is_direct_on_the_host_bypasses_the_guests_cache),
         TEST(delayed_writes_do_not_go_through_direct_handles))
