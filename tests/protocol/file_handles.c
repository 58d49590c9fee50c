/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/protocol/vm.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * What a guest needs to make file handles, for NFS clients and overlays: a
 * node's id and generation are all that is in one.
 */

/* The generation of all entries that @q's life has given for @name. */
static uint64_t generation_of(struct guest_queue *q, const char *name,
                              uint64_t *id)
{
    struct fuse_entry_out e = { 0 };

    CHECK_EQ(fc_lookup(q, FC_ROOT, name, &e), 0, name);
    *id = e.nodeid;
    return e.generation;
}

static uint64_t listed_generation(struct guest_queue *q, const char *name)
{
    struct fuse_entry_out e = { 0 };

    fc_listed(q, FC_ROOT, name, &e);
    return e.generation;
}

/* The guest's kernel takes an inode whose generation changes for another one,
 * and uses the low 32 bits. */
VM_TEST(all_entries_of_a_life_have_its_generation, NULL)
{
    struct fuse_entry_out e, c;
    struct fuse_open_out f;
    uint64_t id, g;

    host_write(vm, "f", "", 0);
    g = generation_of(q, "f", &id);
    CHECK(g != 0 && g <= UINT32_MAX, "32 bits, not all zero");
    CHECK_EQ(generation_of(q, "f", &id), g, "the same again");
    CHECK_EQ(listed_generation(q, "f"), g, "READDIRPLUS");
    CHECK_EQ(fc_create(q, NULL, FC_ROOT, "c", O_RDWR, 0644, &c, &f), 0, "");
    CHECK_EQ(c.generation, g, "CREATE");
    CHECK_EQ(fc_mkdir(q, NULL, FC_ROOT, "d", 0755, &e), 0, "");
    CHECK_EQ(e.generation, g, "MKDIR");
    CHECK_EQ(fc_link(q, c.nodeid, FC_ROOT, "l", &e), 0, "");
    CHECK_EQ(e.generation, g, "LINK");
}

/* Ids begin anew, and by them a handle of the last life would find a file of
 * this one. */
static void each_life_has_a_generation_of_its_own(void)
{
    struct vm_opts o = { 0 };
    uint64_t g[4], id[4];
    struct vm vm, again;

    if (vm_start_fuse(&vm, NULL)) {
        host_write(&vm, "f", "", 0);
        host_write(&vm, "g", "", 0);
        g[0] = generation_of(&vm.q[VM_REQ], "f", &id[0]);
        CHECK_EQ(fc_init(&vm.q[VM_REQ], 0, NULL), 0, "a new life");
        g[1] = generation_of(&vm.q[VM_REQ], "f", &id[1]);
        CHECK_EQ(fc_destroy(&vm.q[VM_REQ]), 0, "");
        CHECK_EQ(fc_init(&vm.q[VM_REQ], 0, NULL), 0, "a new life");
        g[2] = generation_of(&vm.q[VM_REQ], "f", &id[2]);
        o.d.share = daemon_share(vm.d);
        if (vm_start_fuse(&again, &o)) {
            g[3] = generation_of(&again.q[VM_REQ], "g", &id[3]);
            CHECK_EQ(id[0], id[3], "the first id is the first");
            for (int i = 0; i < 4; i++) {
                for (int k = 0; k < i; k++)
                    CHECK(g[i] != g[k], "a life of its own");
            }
        }
        vm_end(&again);
    }
    vm_end(&vm);
}

/* ---- "." and "..", with --nfs-export ---- */

static const char *const export_args[] = { "--nfs-export", NULL };

/* Run @body with one more argument and these INIT flags. */
static void exported(const char *arg, const char *share, uint64_t flags,
                     void (*body)(struct vm *vm, struct guest_queue *q))
{
    const char *const args[] = { export_args[0], arg, NULL };
    struct vm_opts o = { .d = { .args = args, .share = share } };
    struct vm vm;

    if (vm_start(&vm, &o) &&
        CHECK_EQ(fc_init(&vm.q[VM_REQ], flags, NULL), 0, "INIT"))
        body(&vm, &vm.q[VM_REQ]);
    vm_end(&vm);
    if (arg && tap_failing())
        tap_diag("with %s", arg);
}

static void is_refused(struct vm *vm, struct guest_queue *q)
{
    struct fuse_entry_out d, e;

    mkdir(daemon_path(vm->d, "d"), 0755);
    CHECK_EQ(fc_lookup(q, FC_ROOT, "d", &d), 0, "");
    CHECK_EQ(fc_lookup(q, d.nodeid, ".", &e), -EINVAL, "");
    CHECK_EQ(fc_lookup(q, d.nodeid, "..", &e), -EINVAL, "");
    CHECK_EQ(fc_lookup(q, FC_ROOT, "..", &e), -EINVAL, "");
}

static void dots_are_for_a_guest_that_agreed(void)
{
    struct fuse_init_out out;
    struct vm vm;

    exported(NULL, NULL, 0, is_refused);
    if (vm_start(&vm, NULL)) {
        CHECK_EQ(fc_init(&vm.q[VM_REQ], FUSE_EXPORT_SUPPORT, &out), 0, "");
        CHECK(!(out.flags & FUSE_EXPORT_SUPPORT), "not without the option");
        is_refused(&vm, &vm.q[VM_REQ]);
    }
    vm_end(&vm);
}

static void dots_body(struct vm *vm, struct guest_queue *q)
{
    struct fuse_entry_out d, de, f, e;
    struct fuse_attr_out a;

    mkdir(daemon_path(vm->d, "d"), 0755);
    mkdir(daemon_path(vm->d, "d/e"), 0755);
    host_write(vm, "d/e/f", "text", 4);
    CHECK_EQ(fc_lookup(q, FC_ROOT, "d", &d), 0, "");
    CHECK_EQ(fc_lookup(q, d.nodeid, "e", &de), 0, "");
    CHECK_EQ(fc_lookup(q, de.nodeid, "f", &f), 0, "");
    CHECK_EQ(fc_lookup(q, f.nodeid, ".", &e), 0, "a file itself");
    CHECK_EQ(e.nodeid, f.nodeid, "");
    CHECK_EQ(e.generation, f.generation, "");
    same_as_host(vm, &e.attr, "d/e/f");
    CHECK_EQ(fc_lookup(q, f.nodeid, "..", &e), -ENOTDIR, "above a file");
    CHECK_EQ(fc_lookup(q, de.nodeid, "..", &e), 0, "above a directory");
    CHECK_EQ(e.nodeid, d.nodeid, "");
    CHECK_EQ(e.generation, d.generation, "");
    same_as_host(vm, &e.attr, "d");
    CHECK_EQ(fc_lookup(q, d.nodeid, "..", &e), 0, "the root");
    CHECK_EQ(e.nodeid, FC_ROOT, "");
    CHECK_EQ(e.generation, 0, "that of the guest's own inode");
    CHECK_EQ(fc_lookup(q, FC_ROOT, "..", &e), 0, "above the root");
    CHECK_EQ(e.nodeid, FC_ROOT, "is the root");
    CHECK_EQ(fc_lookup(q, FC_ROOT, ".", &e), 0, "");
    CHECK_EQ(e.nodeid, FC_ROOT, "");
    /* Who is above may have been forgotten. */
    CHECK_EQ(fc_forget(q, d.nodeid, 2), FM_EMPTY, "");
    CHECK_EQ(fc_lookup(q, de.nodeid, "..", &e), 0, "");
    same_as_host(vm, &e.attr, "d");
    CHECK_EQ(fc_getattr(q, e.nodeid, &a), 0, "");
    CHECK(fc_mkdir(q, NULL, d.nodeid, "..", 0755, &e) < 0, "LOOKUP only");
}

static void dots_are_the_node_and_its_parent(void)
{
    exported("--sandbox=namespace", NULL, FUSE_EXPORT_SUPPORT, dots_body);
    exported("--sandbox=none", NULL, FUSE_EXPORT_SUPPORT, dots_body);
    if (geteuid() == 0)
        exported("--sandbox=chroot", NULL, FUSE_EXPORT_SUPPORT, dots_body);
}

/* A directory that the host takes out of the share leads nowhere: its own
 * parent is outside. */
static char outer[40];

static void moved_body(struct vm *vm, struct guest_queue *q)
{
    struct fuse_entry_out d, de, e;
    char away[64];

    snprintf(away, sizeof(away), "%s/away", outer);
    mkdir(daemon_path(vm->d, "d"), 0755);
    mkdir(daemon_path(vm->d, "d/e"), 0755);
    CHECK_EQ(fc_lookup(q, FC_ROOT, "d", &d), 0, "");
    CHECK_EQ(fc_lookup(q, d.nodeid, "e", &de), 0, "");
    CHECK_EQ(rename(daemon_path(vm->d, "d"), away), 0, "");
    CHECK_EQ(fc_lookup(q, d.nodeid, "..", &e), -ESTALE, "outside");
    CHECK_EQ(fc_lookup(q, de.nodeid, "..", &e), -ESTALE, "moved along");
    CHECK_EQ(fc_lookup(q, de.nodeid, ".", &e), 0, "itself it knows");
    CHECK_EQ(rename(away, daemon_path(vm->d, "d")), 0, "");
    CHECK_EQ(fc_lookup(q, de.nodeid, "..", &e), 0, "back again");
    CHECK_EQ(e.nodeid, d.nodeid, "");
    rmdir(daemon_path(vm->d, "d/e"));
    rmdir(daemon_path(vm->d, "d"));
}

static void no_dots_lead_out_of_the_share(void)
{
    static const char *const modes[] = { "--sandbox=namespace",
                                         "--sandbox=none", "--sandbox=chroot" };
    char share[64];

    strcpy(outer, "/tmp/vfsd-outer-XXXXXX");
    if (!CHECK(mkdtemp(outer) != NULL, "temporary directory"))
        return;
    snprintf(share, sizeof(share), "%s/share", outer);
    mkdir(share, 0755);
    for (size_t i = 0; i < (geteuid() == 0 ? 3 : 2); i++)
        exported(modes[i], share, FUSE_EXPORT_SUPPORT, moved_body);
    rmdir(share);
    CHECK_EQ(rmdir(outer), 0, "");
}

static void forgotten_body(struct vm *vm, struct guest_queue *q)
{
    struct fuse_entry_out f, g, e;
    struct fuse_attr_out a;

    host_write(vm, "f", "text", 4);
    host_write(vm, "g", "text", 4);
    CHECK_EQ(fc_lookup(q, FC_ROOT, "f", &f), 0, "");
    CHECK_EQ(fc_lookup(q, FC_ROOT, "f", &f), 0, "");
    CHECK_EQ(fc_forget(q, f.nodeid, 2), FM_EMPTY, "");
    CHECK_EQ(fc_lookup(q, f.nodeid, ".", &e), 0, "found again");
    CHECK_EQ(e.nodeid, f.nodeid, "");
    CHECK_EQ(e.generation, f.generation, "");
    same_as_host(vm, &e.attr, "f");
    CHECK_EQ(fc_forget(q, f.nodeid, 1), FM_EMPTY, "");
    CHECK_EQ(fc_lookup(q, FC_ROOT, "f", &e), 0, "");
    CHECK_EQ(e.nodeid, f.nodeid, "the same by its name");
    CHECK_EQ(fc_remove(q, FUSE_UNLINK, FC_ROOT, "f"), 0, "");
    CHECK_EQ(fc_lookup(q, f.nodeid, ".", &e), -ESTALE, "deleted");
    CHECK_EQ(fc_getattr(q, f.nodeid, &a), 0, "but in use");
    CHECK_EQ(fc_forget(q, f.nodeid, 1), FM_EMPTY, "");
    CHECK_EQ(fc_getattr(q, f.nodeid, &a), -ESTALE, "let go of at once");
    /* Nothing lingers into the next life. */
    CHECK_EQ(fc_lookup(q, FC_ROOT, "g", &g), 0, "");
    CHECK_EQ(fc_forget(q, g.nodeid, 1), FM_EMPTY, "");
    CHECK_EQ(fc_init(q, FUSE_EXPORT_SUPPORT, NULL), 0, "");
    CHECK_EQ(fc_lookup(q, g.nodeid, ".", &e), -ESTALE, "");
}

static void forgotten_files_are_found_by_their_id(void)
{
    exported(NULL, NULL, FUSE_EXPORT_SUPPORT, forgotten_body);
}

/* A quarter of the descriptors, and the rest is as ever. */
static void bounded_body(struct vm *vm, struct guest_queue *q)
{
    struct fuse_entry_out e[100], x;
    char name[16];

    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof(name), "f%d", i);
        host_write(vm, name, "", 0);
        CHECK_EQ(fc_lookup(q, FC_ROOT, name, &e[i]), 0, name);
        CHECK_EQ(fc_forget(q, e[i].nodeid, 1), FM_EMPTY, "");
    }
    for (int i = 0; i < 100; i++) {
        int want = i < 100 - 128 / 4 ? -ESTALE : 0;

        CHECK_EQ(fc_lookup(q, e[i].nodeid, ".", &x), want, "the last ones");
    }
}

static void not_all_that_is_forgotten_is_kept(void)
{
    exported("--rlimit-nofile=128", NULL, FUSE_EXPORT_SUPPORT, bounded_body);
}

TAP_MAIN(TEST(all_entries_of_a_life_have_its_generation),
         TEST(each_life_has_a_generation_of_its_own),
         TEST(dots_are_for_a_guest_that_agreed),
         TEST(dots_are_the_node_and_its_parent),
         TEST(no_dots_lead_out_of_the_share),
         TEST(forgotten_files_are_found_by_their_id),
         TEST(not_all_that_is_forgotten_is_kept))
