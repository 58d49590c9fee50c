/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/protocol/vm.h"

#include <fcntl.h>
#include <stdio.h>
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
    struct fuse_direntplus d;
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
            return d.entry_out.generation;
    }
    CHECK(false, "it is listed");
    return 0;
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

TAP_MAIN(TEST(all_entries_of_a_life_have_its_generation),
         TEST(each_life_has_a_generation_of_its_own))
