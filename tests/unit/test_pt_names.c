/* SPDX-License-Identifier: BSD-3-Clause */
/* Names made, moved and removed, links, special files and attributes. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/tap.h"
#include "tests/unit/mock_request.h"
#include "virtiofsd/base/log.h"
#include "virtiofsd/base/util.h"

#define ROOT FUSE_ROOT_ID

static struct mock m;

static bool start(const struct pt_opts *opts)
{
    log_set_level(LOG_LEVEL_OFF);
    return CHECK(mock_start(&m, opts), "a share to test on");
}

static void names_are_made_moved_and_removed(void)
{
    struct fuse_mkdir_in mk = { .mode = 0750 };
    struct fuse_rename2_in mv = { 0 };
    struct fuse_mknod_in mn = { .mode = S_IFREG | 0600 };
    uint64_t d, f, again;

    if (!start(NULL))
        return;
    CHECK_EQ(mock_named(&m, FUSE_MKDIR, ROOT, &mk, sizeof(mk), "d", NULL), 0,
             "");
    d = ((struct fuse_entry_out *)m.r->reply)->nodeid;
    CHECK_EQ(mock_host_stat(&m, "d").st_mode, S_IFDIR | 0750, "");
    CHECK_EQ(mock_named(&m, FUSE_MKNOD, d, &mn, sizeof(mn), "f", NULL), 0, "");
    f = ((struct fuse_entry_out *)m.r->reply)->nodeid;
    mv.newdir = ROOT;
    CHECK_EQ(mock_named(&m, FUSE_RENAME2, d, &mv, sizeof(mv), "f", "g"), 0, "");
    CHECK_EQ(mock_lookup(&m, ROOT, "g", &again), 0, "");
    CHECK_EQ(again, f, "the same node under its new name");
    CHECK_EQ(mock_lookup(&m, d, "f", NULL), -ENOENT, "");
    mock_host_file(&m, "h", "host");
    mv.flags = RENAME_NOREPLACE;
    CHECK_EQ(mock_named(&m, FUSE_RENAME2, ROOT, &mv, sizeof(mv), "g", "h"),
             -EEXIST, "");
    mv.flags = RENAME_EXCHANGE;
    CHECK_EQ(mock_named(&m, FUSE_RENAME2, ROOT, &mv, sizeof(mv), "g", "h"), 0,
             "");
    CHECK_EQ(mock_host_stat(&m, "g").st_size, 4, "exchanged");
    CHECK_EQ(mock_named(&m, FUSE_UNLINK, ROOT, NULL, 0, "d", NULL), -EISDIR,
             "");
    CHECK_EQ(mock_named(&m, FUSE_RMDIR, ROOT, NULL, 0, "d", NULL), 0, "");
    CHECK_EQ(mock_named(&m, FUSE_RMDIR, ROOT, NULL, 0, "g", NULL), -ENOTDIR,
             "");
    CHECK_EQ(mock_named(&m, FUSE_UNLINK, ROOT, NULL, 0, "h", NULL), 0, "");
    CHECK_EQ(mock_getattr(&m, f, NULL), 0, "a node outlives its names");
    mock_forget(&m, d, 1);
    mock_forget(&m, f, 2);
    CHECK_EQ(mock_count(&m).nodes, 1, "");
    mock_stop(&m);
}

static void links_of_both_kinds_are_made(void)
{
    struct fuse_link_in ln;
    struct fuse_entry_out *e;
    struct fuse_open_out o;
    uint64_t f, s;

    if (!start(NULL))
        return;
    mock_host_file(&m, "f", "x");
    CHECK_EQ(mock_lookup(&m, ROOT, "f", &f), 0, "");
    ln.oldnodeid = f;
    CHECK_EQ(mock_named(&m, FUSE_LINK, ROOT, &ln, sizeof(ln), "g", NULL), 0,
             "");
    e = (void *)m.r->reply;
    CHECK_EQ(e->nodeid, f, "one inode, one node");
    CHECK_EQ(e->attr.nlink, 2, "");
    CHECK_EQ(mock_named(&m, FUSE_SYMLINK, ROOT, NULL, 0, "s", "../../etc"), 0,
             "any target: the host never follows it");
    s = e->nodeid;
    CHECK_EQ(e->attr.mode & S_IFMT, S_IFLNK, "");
    CHECK_EQ(mock_send(m.se, m.r, FUSE_READLINK, s, "", 0), 0, "");
    CHECK_EQ(m.r->reply_len, 9, "");
    CHECK_MEM(m.r->reply, "../../etc", 9, "");
    CHECK_EQ(mock_lookup(&m, s, "passwd", NULL), -ENOTDIR, "not followed");
    CHECK_EQ(mock_open(&m, FUSE_OPEN, s, O_RDONLY, &o), -ELOOP, "");
    CHECK_EQ(mock_open(&m, FUSE_OPENDIR, s, O_RDONLY, &o), -ENOTDIR, "");
    CHECK_EQ(mock_send(m.se, m.r, FUSE_READLINK, f, "", 0), -EINVAL, "");
    ln.oldnodeid = s;
    CHECK_EQ(mock_named(&m, FUSE_LINK, ROOT, &ln, sizeof(ln), "t", NULL), 0,
             "");
    CHECK(S_ISLNK(mock_host_stat(&m, "t").st_mode),
          "of the link, not of its target");
    mock_forget(&m, f, 2);
    mock_forget(&m, s, 2);
    CHECK_EQ(mock_count(&m).nodes, 1, "");
    mock_stop(&m);
}

static void special_files_are_made_but_never_opened(void)
{
    struct fuse_mknod_in mn = { .mode = S_IFIFO | 0666 };
    struct fuse_setattr_in size = { .valid = FATTR_SIZE };
    struct fuse_open_out o;
    uint64_t id;

    if (!start(NULL))
        return;
    CHECK_EQ(mock_named(&m, FUSE_MKNOD, ROOT, &mn, sizeof(mn), "fifo", NULL), 0,
             "");
    id = ((struct fuse_entry_out *)m.r->reply)->nodeid;
    CHECK(S_ISFIFO(mock_host_stat(&m, "fifo").st_mode), "");
    CHECK_EQ(mock_open(&m, FUSE_OPEN, id, O_RDONLY, &o), -ENXIO,
             "an open would wait for a writer");
    CHECK_EQ(mock_open(&m, FUSE_OPEN, id, O_RDWR, &o), -ENXIO, "");
    CHECK_EQ(mock_create(&m, ROOT, "fifo", O_RDWR, 0600, NULL, NULL), -ELOOP,
             "CREATE meets one");
    CHECK_EQ(mock_setattr(&m, id, &size, NULL), -EINVAL, "");
    mn.mode = S_IFSOCK | 0600;
    CHECK_EQ(mock_named(&m, FUSE_MKNOD, ROOT, &mn, sizeof(mn), "sock", NULL), 0,
             "");
    CHECK(S_ISSOCK(mock_host_stat(&m, "sock").st_mode), "");
    mn.mode = S_IFCHR | 0600;
    mn.rdev = 1 << 8 | 3;
    if (mock_named(&m, FUSE_MKNOD, ROOT, &mn, sizeof(mn), "null", NULL) == 0) {
        id = ((struct fuse_entry_out *)m.r->reply)->nodeid;
        CHECK_EQ(mock_host_stat(&m, "null").st_rdev, mn.rdev, "");
        CHECK_EQ(mock_open(&m, FUSE_OPEN, id, O_RDWR, &o), -ENXIO, "");
    }
    CHECK_EQ(mock_count(&m).handles, 0, "");
    mock_stop(&m);
}

static void attributes_are_changed(void)
{
    struct fuse_setattr_in in = { 0 };
    struct fuse_open_out o;
    struct fuse_attr a;
    uint64_t f, s;

    if (!start(NULL))
        return;
    mock_host_file(&m, "f", "0123456789");
    CHECK_EQ(symlink("f", mock_path(&m, "s")), 0, "");
    CHECK_EQ(mock_lookup(&m, ROOT, "f", &f), 0, "");
    CHECK_EQ(mock_lookup(&m, ROOT, "s", &s), 0, "");
    in.valid = FATTR_MODE | FATTR_SIZE | FATTR_ATIME | FATTR_MTIME;
    in.mode = S_IFREG | 04711;
    in.size = 5;
    in.atime = 1000;
    in.atimensec = 7;
    in.mtime = 2000;
    CHECK_EQ(mock_setattr(&m, f, &in, &a), 0, "");
    CHECK_EQ(a.mode, S_IFREG | 04711, "");
    CHECK_EQ(a.size, 5, "");
    CHECK_EQ(a.atime, 1000, "");
    CHECK_EQ(a.atimensec, 7, "");
    CHECK_EQ(a.mtime, 2000, "");
    in.valid = FATTR_MTIME | FATTR_MTIME_NOW;
    CHECK_EQ(mock_setattr(&m, f, &in, &a), 0, "");
    CHECK_EQ(a.atime, 1000, "left as it was");
    CHECK(a.mtime != 2000, "now");
    in.valid = FATTR_ATIME;
    in.atime = 3000;
    CHECK_EQ(mock_setattr(&m, s, &in, &a), 0, "the link's own time");
    CHECK_EQ(mock_host_stat(&m, "s").st_atim.tv_sec, 3000, "");
    CHECK_EQ(mock_host_stat(&m, "f").st_atim.tv_sec, 1000, "");

    CHECK_EQ(mock_open(&m, FUSE_OPEN, f, O_RDWR, &o), 0, "");
    in.valid = FATTR_SIZE | FATTR_FH;
    in.size = 100;
    in.fh = o.fh;
    CHECK_EQ(mock_setattr(&m, f, &in, &a), 0, "by the handle");
    CHECK_EQ(a.size, 100, "");
    in.fh = o.fh + 1;
    CHECK_EQ(mock_setattr(&m, f, &in, &a), -EBADF, "");
    in.valid = FATTR_SIZE;
    CHECK_EQ(mock_setattr(&m, s, &in, &a), -EINVAL, "a link has no size");
    CHECK_EQ(mock_setattr(&m, ROOT, &in, &a), -EISDIR, "nor a directory");
    if (geteuid() == 0) {
        in.valid = FATTR_UID | FATTR_GID | FATTR_MODE;
        in.uid = 1234;
        in.gid = 5678;
        in.mode = 06755;
        CHECK_EQ(mock_setattr(&m, f, &in, &a), 0, "");
        CHECK_EQ(a.uid, 1234, "");
        CHECK_EQ(a.gid, 5678, "");
        CHECK_EQ(a.mode & 07777, 06755, "the mode comes last");
        in.valid = FATTR_GID;
        in.gid = 9;
        CHECK_EQ(mock_setattr(&m, s, &in, &a), 0, "");
        CHECK_EQ(mock_host_stat(&m, "s").st_gid, 9, "the link's own");
        CHECK_EQ(mock_host_stat(&m, "f").st_gid, 5678, "");
    }
    mock_stop(&m);
}

TAP_MAIN(TEST(names_are_made_moved_and_removed),
         TEST(links_of_both_kinds_are_made),
         TEST(special_files_are_made_but_never_opened),
         TEST(attributes_are_changed))
