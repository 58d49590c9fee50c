/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/protocol/vm.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Directories read in all sizes of buffer. */

#define MANY 1000

struct seen {
    unsigned int files[MANY]; /* "f0" to "f999", how often */
    unsigned int dots, others;
    uint64_t last_off;
};

static void see(struct seen *s, const struct fuse_dirent *d)
{
    unsigned int i;
    char name[256];

    memcpy(name, d->name, MIN(d->namelen, 255u));
    name[MIN(d->namelen, 255u)] = '\0';
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        s->dots++;
    else if (sscanf(name, "f%u", &i) == 1 && i < MANY)
        s->files[i]++;
    else
        s->others++;
    s->last_off = d->off;
}

/* Go through one reply.  Return: entries in it, -1 when it is malformed. */
static int parse(const uint8_t *p, size_t len, bool plus, struct seen *s,
                 struct vm *vm, struct guest_queue *forget)
{
    const size_t before = plus ? offsetof(struct fuse_direntplus, dirent) : 0;
    int n = 0;

    while (len > 0) {
        struct fuse_entry_out e;
        struct fuse_dirent d;
        size_t size;

        if (!CHECK(len >= before + FUSE_NAME_OFFSET, "a whole entry"))
            return -1;
        memcpy(&d, p + before, sizeof(d));
        size = FUSE_DIRENT_ALIGN(before + FUSE_NAME_OFFSET + d.namelen);
        if (!CHECK(d.namelen > 0 && size <= len, "a whole name"))
            return -1;
        see(s, (const struct fuse_dirent *)(const void *)(p + before));
        memcpy(&e, p, sizeof(e));
        if (plus && e.nodeid != 0) {
            CHECK_EQ(e.attr.mode & S_IFMT, d.type << 12, "the type");
            if (forget)
                fc_forget(forget, e.nodeid, 1);
        }
        p += size;
        len -= size;
        n++;
    }
    (void)vm;
    return n;
}

static void fill_dir(const struct vm *vm)
{
    for (int i = 0; i < MANY; i++) {
        char name[16];
        int fd;

        snprintf(name, sizeof(name), "f%d", i);
        fd = open(daemon_path(vm->d, name), O_CREAT | O_WRONLY | O_CLOEXEC,
                  0600);
        CHECK(fd >= 0, name);
        close(fd);
    }
}

static void check_all(const struct seen *s, unsigned int times)
{
    for (int i = 0; i < MANY; i++) {
        if (!CHECK_EQ(s->files[i], times, "each name once"))
            return;
    }
    CHECK(s->dots == 0 || s->dots == 2 * times, "both or neither");
    CHECK_EQ(s->others, 0, "nothing else");
}

static void list_with(struct vm *vm, struct guest_queue *q, uint32_t op,
                      uint32_t size)
{
    struct seen s = { 0 };
    struct fuse_open_out f;
    const uint8_t *p;
    size_t len = 1;
    int rounds = 0;

    CHECK_EQ(fc_open(q, FUSE_OPENDIR, FC_ROOT, 0, &f), 0, "OPENDIR");
    while (len > 0 && rounds++ < 3 * MANY) {
        if (!CHECK_EQ(
                fc_readdir(q, op, FC_ROOT, f.fh, s.last_off, size, &p, &len), 0,
                "READDIR"))
            break;
        /* Forgets go another way: the reply is still being read. */
        if (parse(p, len, op == FUSE_READDIRPLUS, &s, vm, &vm->q[0]) < 0)
            break;
    }
    check_all(&s, 1);
    CHECK_EQ(fc_release(q, FUSE_RELEASEDIR, FC_ROOT, f.fh), 0, "");
    CHECK_EQ(fc_readdir(q, op, FC_ROOT, f.fh, 0, size, &p, &len), -EBADF,
             "released");
}

VM_TEST(readdir_lists_every_name_once, NULL)
{
    static const uint32_t sizes[] = { 64, 300, 4096, 32768, 1 << 20 };

    fill_dir(vm);
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
        list_with(vm, q, FUSE_READDIR, sizes[i]);
}

VM_TEST(readdirplus_lists_every_name_once, NULL)
{
    static const uint32_t sizes[] = { 256, 4096, 131072 };

    fill_dir(vm);
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
        list_with(vm, q, FUSE_READDIRPLUS, sizes[i]);
}

VM_TEST(readdirplus_gives_nodes_that_live, NULL)
{
    struct fuse_open_out f;
    struct fuse_entry_out e;
    struct fuse_attr_out a;
    const uint8_t *p;
    size_t len;
    uint64_t node = 0;
    struct fuse_entry_out by_name;

    host_write(vm, "f1", "text", 4);
    CHECK_EQ(fc_open(q, FUSE_OPENDIR, FC_ROOT, 0, &f), 0, "");
    CHECK_EQ(fc_readdir(q, FUSE_READDIRPLUS, FC_ROOT, f.fh, 0, 4096, &p, &len),
             0, "");
    while (len > 0) {
        struct fuse_dirent d;
        size_t size;

        memcpy(&e, p, sizeof(e));
        memcpy(&d, p + sizeof(e), sizeof(d));
        size = FUSE_DIRENT_ALIGN(sizeof(e) + FUSE_NAME_OFFSET + d.namelen);
        if (d.namelen == 2 && memcmp(p + sizeof(e) + 24, "f1", 2) == 0) {
            node = e.nodeid;
            same_as_host(vm, &e.attr, "f1");
        } else if (d.namelen <= 2) {
            CHECK_EQ(e.nodeid, 0, "the dots have none");
        }
        p += size;
        len = size <= len ? len - size : 0;
    }
    CHECK(node > FC_ROOT, "f1 has one");
    CHECK_EQ(fc_getattr(q, node, &a), 0, "");
    CHECK_EQ(fc_lookup(q, FC_ROOT, "f1", &by_name), 0, "");
    CHECK_EQ(by_name.nodeid, node, "the same as by LOOKUP");
    CHECK_EQ(fc_forget(q, node, 2), FM_EMPTY, "one reference each");
    CHECK_EQ(fc_getattr(q, node, &a), -ESTALE, "");
}

/* What did not fit into a reply must not have been counted as looked up. */
VM_TEST(readdirplus_counts_only_what_it_gives, NULL)
{
    struct fuse_open_out f;
    struct fuse_entry_out e;
    struct fuse_attr_out a;
    const uint8_t *p;
    size_t len;

    host_write(vm, "f1", "", 0);
    CHECK_EQ(fc_lookup(q, FC_ROOT, "f1", &e), 0, "");
    CHECK_EQ(fc_open(q, FUSE_OPENDIR, FC_ROOT, 0, &f), 0, "");
    for (uint32_t size = 0; size < 160; size += 8)
        fc_readdir(q, FUSE_READDIRPLUS, FC_ROOT, f.fh, 0, size, &p, &len);
    CHECK_EQ(fc_forget(q, e.nodeid, 1), FM_EMPTY, "");
    CHECK_EQ(fc_getattr(q, e.nodeid, &a), -ESTALE, "no reference is left");
}

VM_TEST(a_directory_can_be_read_from_anywhere_again, NULL)
{
    struct seen s = { 0 }, again = { 0 };
    struct fuse_open_out f;
    const uint8_t *p;
    uint64_t middle;
    size_t len = 1;
    int n, total = 0;

    fill_dir(vm);
    CHECK_EQ(fc_open(q, FUSE_OPENDIR, FC_ROOT, 0, &f), 0, "");
    CHECK_EQ(fc_readdir(q, FUSE_READDIR, FC_ROOT, f.fh, 0, 4096, &p, &len), 0,
             "");
    total = parse(p, len, false, &s, vm, NULL);
    middle = s.last_off;
    while (len > 0 && fc_readdir(q, FUSE_READDIR, FC_ROOT, f.fh, s.last_off,
                                 32768, &p, &len) == 0)
        parse(p, len, false, &s, vm, NULL);
    check_all(&s, 1);
    again.last_off = middle;
    len = 1;
    while (len > 0 && fc_readdir(q, FUSE_READDIR, FC_ROOT, f.fh, again.last_off,
                                 32768, &p, &len) == 0) {
        n = parse(p, len, false, &again, vm, NULL);
        total += n;
    }
    CHECK(total == MANY || total == MANY + 2, "the first part and the rest");
    again = (struct seen){ 0 };
    len = 1;
    while (len > 0 && fc_readdir(q, FUSE_READDIR, FC_ROOT, f.fh, again.last_off,
                                 32768, &p, &len) == 0)
        parse(p, len, false, &again, vm, NULL);
    check_all(&again, 1);
}

VM_TEST(offsets_and_handles_that_are_none_do_no_harm, NULL)
{
    static const uint64_t offs[] = { 1, 77777, (uint64_t)1 << 40,
                                     (uint64_t)INT64_MAX, UINT64_MAX };
    struct fuse_open_out f, file;
    struct fuse_entry_out e;
    const uint8_t *p;
    const void *data;
    size_t len;

    fill_dir(vm);
    CHECK_EQ(fc_open(q, FUSE_OPENDIR, FC_ROOT, 0, &f), 0, "");
    for (size_t i = 0; i < ARRAY_SIZE(offs); i++) {
        CHECK(fc_readdir(q, FUSE_READDIR, FC_ROOT, f.fh, offs[i], 4096, &p,
                         &len) <= 0,
              "an offset nobody gave");
        CHECK(fc_readdir(q, FUSE_READDIRPLUS, FC_ROOT, f.fh, offs[i], 4096, &p,
                         &len) <= 0,
              "an offset nobody gave");
    }
    CHECK_EQ(fc_lookup(q, FC_ROOT, "f1", &e), 0, "");
    CHECK_EQ(fc_open(q, FUSE_OPEN, e.nodeid, O_RDWR, &file), 0, "");
    CHECK(fc_readdir(q, FUSE_READDIR, e.nodeid, file.fh, 0, 4096, &p, &len) < 0,
          "a file is no directory");
    CHECK(fc_read(q, FC_ROOT, f.fh, 0, 4096, &data, &len) < 0,
          "a directory is no file");
    vm_alive(vm, 1);
}

VM_TEST(directories_are_synced, NULL)
{
    struct fuse_open_out f;
    struct fuse_fsync_in in = { 0 };

    (void)vm;
    CHECK_EQ(fc_open(q, FUSE_OPENDIR, FC_ROOT, 0, &f), 0, "");
    in.fh = f.fh;
    CHECK_EQ(fc_simple(q, FUSE_FSYNCDIR, FC_ROOT, &in, sizeof(in)), 0, "");
    in.fsync_flags = FUSE_FSYNC_FDATASYNC;
    CHECK_EQ(fc_simple(q, FUSE_FSYNCDIR, FC_ROOT, &in, sizeof(in)), 0, "");
    in.fh ^= 0x1234567;
    CHECK_EQ(fc_simple(q, FUSE_FSYNCDIR, FC_ROOT, &in, sizeof(in)), -EBADF, "");
}

TAP_MAIN(TEST(readdir_lists_every_name_once),
         TEST(readdirplus_lists_every_name_once),
         TEST(readdirplus_gives_nodes_that_live),
         TEST(readdirplus_counts_only_what_it_gives),
         TEST(a_directory_can_be_read_from_anywhere_again),
         TEST(offsets_and_handles_that_are_none_do_no_harm),
         TEST(directories_are_synced))
