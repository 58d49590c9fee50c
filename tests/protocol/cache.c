/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/protocol/vm.h"

#include <fcntl.h>
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

/* The entry of @name in a listing of the root; node id 0: not found. */
static struct fuse_entry_out listed(struct guest_queue *q, const char *name)
{
    struct fuse_direntplus d = { 0 };
    struct fuse_open_out f;
    const uint8_t *p;
    size_t len = 0, size;

    CHECK_EQ(fc_open(q, FUSE_OPENDIR, FC_ROOT, 0, &f), 0, "");
    CHECK_EQ(fc_readdir(q, FUSE_READDIRPLUS, FC_ROOT, f.fh, 0, 4096, &p, &len),
             0, "");
    for (; len >= FUSE_NAME_OFFSET_DIRENTPLUS; p += size, len -= size) {
        memcpy(&d, p, FUSE_NAME_OFFSET_DIRENTPLUS);
        size = FUSE_DIRENTPLUS_SIZE(&d);
        if (size > len)
            break;
        if (d.dirent.namelen == strlen(name) &&
            memcmp(p + FUSE_NAME_OFFSET_DIRENTPLUS, name, strlen(name)) == 0)
            return d.entry_out;
    }
    return (struct fuse_entry_out){ 0 };
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
    e = listed(q, "f");
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

TAP_MAIN(TEST(every_reply_has_the_timeouts_that_were_set),
         TEST(one_timeout_is_for_both), TEST(a_missing_name_is_enoent),
         TEST(absence_has_a_timeout_when_asked_for))
