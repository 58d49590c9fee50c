/* SPDX-License-Identifier: BSD-3-Clause */
/* Files that are known by handles, opened for I/O. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fuse/passthrough/nodefd.h"
#include "fuse/passthrough/pt_i.h"
#include "tests/lib/tap.h"
#include "tests/unit/mock_nodes.h"
#include "virtiofsd/base/log.h"
#include "virtiofsd/base/util.h"

#define ROOT   FUSE_ROOT_ID
#define PLACES 4

static struct mock m;

/* A file system that finds a file without a name by no handle; some are so. */
static bool nameless_is_stale;

/* In place of the C library's. */
int open_by_handle_at(int mount_fd, struct file_handle *fh, int flags)
{
    struct stat st;
    int fd = (int)syscall(SYS_open_by_handle_at, mount_fd, fh, flags);

    if (fd >= 0 && nameless_is_stale && fstat(fd, &st) == 0 &&
        st.st_nlink == 0) {
        close(fd);
        errno = ESTALE;
        fd = -1;
    }
    return fd;
}

static bool start(void)
{
    return mock_start_handles(&m, PLACES);
}

static int open_and_read(uint64_t id, const char *want)
{
    struct fuse_open_out o;
    int ret = mock_open(&m, FUSE_OPEN, id, O_RDWR, &o);

    if (ret < 0)
        return ret;
    CHECK_EQ(mock_read(&m, FUSE_READ, id, o.fh, 0, 100), 0, want);
    CHECK_EQ(m.r->reply_len, strlen(want), want);
    CHECK_MEM(m.r->reply, want, strlen(want), "the file's own bytes");
    return mock_release(&m, FUSE_RELEASE, id, o.fh);
}

static void a_file_is_opened_without_the_nodes_descriptor(void)
{
    uint64_t id;

    if (!start())
        return;
    mock_host_file(&m, "f", "text");
    id = mock_find(&m, "f");
    CHECK_EQ(open_and_read(id, "text"), 0, "its handle is proven by that");
    CHECK(mock_node_is_open(&m, id), "by means of a descriptor");
    CHECK_EQ(open_and_read(id, "text"), 0, "open");
    mock_close_node(&m, id);
    CHECK_EQ(open_and_read(id, "text"), 0, "closed");
    CHECK(!mock_node_is_open(&m, id), "and it stays so");
    nameless_is_stale = true;
    CHECK_EQ(mock_getattr(&m, id, NULL), 0, "held by its descriptor");
    CHECK_EQ(unlink(mock_path(&m, "f")), 0, "");
    CHECK_EQ(open_and_read(id, "text"), 0, "deleted and held");
    mock_close_node(&m, id);
    CHECK_EQ(open_and_read(id, "text"), -ESTALE, "deleted");
    nameless_is_stale = false;
    mock_stop(&m);
}

/* A node with the attributes of "f" and the handle of @other: one name went
 * from file to file between the two calls.  Return: its id. */
static uint64_t insert_mixed(const char *other)
{
    struct statx sx;
    struct pt_key key;
    struct pt_fh fh;
    uint32_t mnt_id;
    uint64_t id = 0;

    CHECK_EQ(pt_statx(m.root_fd, "f", &sx, &key), 0, "");
    CHECK_EQ(pt_fh_get(m.root_fd, other, &fh, &mnt_id), 0, "");
    CHECK(pt_mount_get(&m.fs->nodes.mounts, mnt_id), "");
    CHECK_EQ(pt_node_insert(&m.fs->nodes, &key, S_IFREG, -1, &fh, &id), 1, "");
    return id;
}

/* A handle that was taken of another file than the attributes: were it opened
 * before that is seen, this would not end, or it would be cut. */
static void what_a_handle_leads_to_is_looked_at_before_it_is_opened(void)
{
    static const char *const names[] = { "fifo", "other" };
    struct fuse_open_out o;
    uint64_t id;

    if (!start())
        return;
    mock_host_file(&m, "f", "text");
    mock_host_file(&m, "other", "text");
    CHECK_EQ(mkfifo(mock_path(&m, "fifo"), 0600), 0, "");
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        id = insert_mixed(names[i]);
        CHECK_EQ(mock_open(&m, FUSE_OPEN, id, O_WRONLY | O_TRUNC, &o), -ESTALE,
                 names[i]);
        mock_forget(&m, id, 1);
    }
    CHECK_EQ(mock_host_stat(&m, "other").st_size, 4, "not cut");
    mock_stop(&m);
}

/* The same, but it is unlinked first: by its name it is opened, and held. */
static void a_descriptor_does_not_prove_the_handle(void)
{
    struct fuse_open_out o;
    struct fuse_attr at;
    struct pt_node *n;
    uint64_t id;

    if (!start())
        return;
    mock_host_file(&m, "f", "text");
    mock_host_file(&m, "other", "more text");
    id = insert_mixed("other");
    CHECK_EQ(mock_named(&m, FUSE_UNLINK, ROOT, NULL, 0, "f", NULL), 0, "");
    CHECK_EQ(mock_getattr(&m, id, &at), 0, "held by its descriptor");
    CHECK_EQ(at.size, 4, "");
    CHECK_EQ(mock_open(&m, FUSE_OPEN, id, O_RDONLY, &o), 0, "");
    CHECK_EQ(mock_read(&m, FUSE_READ, id, o.fh, 0, 100), 0, "");
    CHECK_EQ(m.r->reply_len, 4, "its own bytes");
    CHECK_EQ(mock_release(&m, FUSE_RELEASE, id, o.fh), 0, "");
    n = pt_node_get(&m.fs->nodes, id);
    atomic_fetch_and(&n->marks, (uint8_t)~PT_MARK_KEEP); /* at last */
    pt_node_put(&m.fs->nodes, n);
    mock_close_node(&m, id);
    CHECK_EQ(mock_getattr(&m, id, NULL), -ESTALE, "gone, and not the other");
    mock_stop(&m);
}

static void a_file_just_made_needs_no_descriptor(void)
{
    uint64_t id, fh;

    if (!start())
        return;
    CHECK_EQ(mock_create(&m, ROOT, "f", O_RDWR, 0644, &id, &fh), 0, "");
    CHECK(!mock_node_is_open(&m, id), "beside the file's own");
    CHECK_EQ(mock_write(&m, id, fh, 0, "text", 4), 0, "");
    CHECK_EQ(mock_find(&m, "f"), id, "found by its name");
    CHECK_EQ(open_and_read(id, "text"), 0, "");
    CHECK(!mock_node_is_open(&m, id), "its handle was proven from the start");
    CHECK_EQ(mock_getattr(&m, id, NULL), 0, "");
    CHECK(mock_node_is_open(&m, id), "for that it is");
    CHECK_EQ(mock_release(&m, FUSE_RELEASE, id, fh), 0, "");
    mock_stop(&m);
}

/* As unpacking an archive does: without naming the open file. */
static void what_was_just_opened_gets_its_attributes_without(void)
{
    struct fuse_setattr_in in = {
        .valid = FATTR_MODE | FATTR_MTIME | FATTR_UID | FATTR_SIZE,
        .mode = 0604,
        .mtime = 1234567,
        .uid = 77,
        .size = 3,
    };
    struct stat st;
    uint64_t id, fh, id2, fh2;

    if (!start())
        return;
    CHECK_EQ(mock_create(&m, ROOT, "f", O_RDWR, 0644, &id, &fh), 0, "");
    CHECK_EQ(mock_setattr(&m, id, &in, NULL), 0, "");
    CHECK_EQ(mock_getattr(&m, id, NULL), 0, "");
    CHECK(!mock_node_is_open(&m, id), "the open file did");
    st = mock_host_stat(&m, "f");
    CHECK_EQ(st.st_mode & 07777, 0604, "");
    CHECK_EQ(st.st_mtime, 1234567, "");
    CHECK_EQ(st.st_uid, 77, "");
    CHECK_EQ(st.st_size, 3, "");

    CHECK_EQ(mock_create(&m, ROOT, "g", O_RDWR, 0644, &id2, &fh2), 0, "");
    in.mode = 0600;
    CHECK_EQ(mock_setattr(&m, id, &in, NULL), 0, "");
    CHECK_EQ(mock_host_stat(&m, "f").st_mode & 07777, 0600, "the one meant");
    CHECK_EQ(mock_host_stat(&m, "g").st_mode & 07777, 0644, "not the last");
    CHECK_EQ(mock_release(&m, FUSE_RELEASE, id2, fh2), 0, "");
    CHECK_EQ(mock_setattr(&m, id2, &in, NULL), 0, "closed by now");
    CHECK_EQ(mock_host_stat(&m, "g").st_mode & 07777, 0600, "");
    CHECK_EQ(mock_release(&m, FUSE_RELEASE, id, fh), 0, "");
    mock_stop(&m);
}

/* The host deletes what the guest has open, and its node is closed. */
static void an_open_file_can_be_asked_about_whatever_becomes_of_it(void)
{
    struct fuse_getattr_in in = { .getattr_flags = FUSE_GETATTR_FH };
    struct fuse_setattr_in set = {
        .valid = FATTR_FH | FATTR_SIZE | FATTR_MODE,
        .size = 2,
        .mode = 0600,
    };
    const struct fuse_attr_out *out;
    struct fuse_open_out other;
    struct fuse_attr attr;
    uint64_t id, id2;

    if (!start())
        return;
    CHECK_EQ(mock_create(&m, ROOT, "f", O_RDWR, 0644, &id, &in.fh), 0, "");
    CHECK_EQ(mock_write(&m, id, in.fh, 0, "text", 4), 0, "");
    CHECK_EQ(mock_send(m.se, m.r, FUSE_GETATTR, id, &in, sizeof(in)), 0, "");
    mock_host_file(&m, "g", "other");
    id2 = mock_find(&m, "g");
    CHECK_EQ(mock_open(&m, FUSE_OPEN, id2, O_RDONLY, &other), 0, "");
    mock_close_node(&m, id);
    CHECK_EQ(unlink(mock_path(&m, "f")), 0, "");
    nameless_is_stale = true;
    CHECK_EQ(mock_send(m.se, m.r, FUSE_GETATTR, id, &in, sizeof(in)), 0, "");
    out = (const void *)m.r->reply;
    CHECK_EQ(out->attr.size, 4, "by the handle");
    CHECK_EQ(out->attr.nlink, 0, "");
    set.fh = in.fh;
    CHECK_EQ(mock_setattr(&m, id, &set, &attr), 0, "and changed");
    CHECK_EQ(attr.size, 2, "");
    CHECK_EQ(attr.mode & 07777, 0600, "");
    CHECK_EQ(mock_getattr(&m, id, NULL), -ESTALE, "not without");
    in.fh = other.fh;
    CHECK_EQ(mock_send(m.se, m.r, FUSE_GETATTR, id, &in, sizeof(in)), -ESTALE,
             "nor by another file's");
    nameless_is_stale = false;
    mock_stop(&m);
}

TAP_MAIN(TEST(a_file_is_opened_without_the_nodes_descriptor),
         TEST(what_a_handle_leads_to_is_looked_at_before_it_is_opened),
         TEST(a_descriptor_does_not_prove_the_handle),
         TEST(a_file_just_made_needs_no_descriptor),
         TEST(what_was_just_opened_gets_its_attributes_without),
         TEST(an_open_file_can_be_asked_about_whatever_becomes_of_it))
