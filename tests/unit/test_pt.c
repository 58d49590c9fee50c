/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The passthrough operations through a real libfuse session, on a directory
 * of their own: what the host holds afterwards is looked at from outside.
 */
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

/* Every operation that takes a name, with names that lead elsewhere. */
static void names_that_leave_the_directory_are_refused(void)
{
    static const char *const names[] = { "",   ".",    "..",   "/",
                                         "a/", "../x", "d/..", "d/f" };
    struct fuse_mkdir_in mkdir_in = { .mode = 0755 };
    struct fuse_mknod_in mknod_in = { .mode = S_IFREG | 0644 };
    struct fuse_rename_in rename_in = { .newdir = ROOT };
    struct fuse_link_in link_in;
    uint64_t f;

    if (!start(NULL))
        return;
    mock_host_file(&m, "f", "x");
    CHECK_EQ(mock_lookup(&m, ROOT, "f", &f), 0, "");
    link_in.oldnodeid = f;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        const char *n = names[i];

        CHECK_EQ(mock_lookup(&m, ROOT, n, NULL), -EINVAL, n);
        CHECK_EQ(mock_create(&m, ROOT, n, O_RDWR, 0644, NULL, NULL), -EINVAL,
                 n);
        CHECK_EQ(mock_named(&m, FUSE_MKDIR, ROOT, &mkdir_in, sizeof(mkdir_in),
                            n, NULL),
                 -EINVAL, n);
        CHECK_EQ(mock_named(&m, FUSE_MKNOD, ROOT, &mknod_in, sizeof(mknod_in),
                            n, NULL),
                 -EINVAL, n);
        CHECK_EQ(mock_named(&m, FUSE_SYMLINK, ROOT, NULL, 0, n, "t"), -EINVAL,
                 n);
        CHECK_EQ(mock_named(&m, FUSE_UNLINK, ROOT, NULL, 0, n, NULL), -EINVAL,
                 n);
        CHECK_EQ(mock_named(&m, FUSE_RMDIR, ROOT, NULL, 0, n, NULL), -EINVAL,
                 n);
        CHECK_EQ(mock_named(&m, FUSE_RENAME, ROOT, &rename_in,
                            sizeof(rename_in), n, "g"),
                 -EINVAL, n);
        CHECK_EQ(mock_named(&m, FUSE_RENAME, ROOT, &rename_in,
                            sizeof(rename_in), "f", n),
                 -EINVAL, n);
        CHECK_EQ(
            mock_named(&m, FUSE_LINK, ROOT, &link_in, sizeof(link_in), n, NULL),
            -EINVAL, n);
    }
    CHECK_EQ(mock_count(&m).nodes, 2, "no look-up was left behind");
    mock_stop(&m);
}

static void what_is_written_is_read_back(void)
{
    static const char text[] = "some bytes of a file";
    struct fuse_fsync_in sync_in = { 0 };
    struct fuse_flush_in flush_in = { 0 };
    struct fuse_open_out o;
    struct fuse_attr a;
    uint64_t id, fh;

    if (!start(NULL))
        return;
    CHECK_EQ(mock_create(&m, ROOT, "f", O_RDWR, 0640, &id, &fh), 0, "");
    CHECK_EQ(mock_write(&m, id, fh, 3, text, sizeof(text)), 0, "");
    CHECK_EQ(((struct fuse_write_out *)m.r->reply)->size, sizeof(text), "");
    CHECK_EQ(mock_read(&m, FUSE_READ, id, fh, 3, 4096), 0, "");
    CHECK_EQ(m.r->reply_len, sizeof(text), "to the end of the file");
    CHECK_MEM(m.r->reply, text, sizeof(text), "");
    CHECK_EQ(mock_read(&m, FUSE_READ, id, fh, 4096, 4096), 0, "beyond the end");
    CHECK_EQ(m.r->reply_len, 0, "is nothing");
    CHECK_EQ(mock_getattr(&m, id, &a), 0, "");
    CHECK_EQ(a.size, sizeof(text) + 3, "");
    CHECK_EQ(a.mode, S_IFREG | 0640, "");
    CHECK_EQ(a.ino, mock_host_stat(&m, "f").st_ino, "the host's number");
    flush_in.fh = sync_in.fh = fh;
    CHECK_EQ(mock_send(m.se, m.r, FUSE_FLUSH, id, &flush_in, sizeof(flush_in)),
             0, "");
    for (sync_in.fsync_flags = 0; sync_in.fsync_flags < 2;
         sync_in.fsync_flags++)
        CHECK_EQ(
            mock_send(m.se, m.r, FUSE_FSYNC, id, &sync_in, sizeof(sync_in)), 0,
            "");
    CHECK_EQ(mock_release(&m, FUSE_RELEASE, id, fh), 0, "");
    CHECK_EQ(mock_open(&m, FUSE_OPEN, id, O_RDONLY, &o), 0, "");
    CHECK_EQ(mock_write(&m, id, o.fh, 0, text, 1), -EBADF, "opened to read");
    CHECK_EQ(mock_release(&m, FUSE_RELEASE, id, o.fh), 0, "");
    CHECK_EQ(mock_open(&m, FUSE_OPEN, id, O_WRONLY | O_TRUNC, &o), 0, "");
    CHECK_EQ(mock_host_stat(&m, "f").st_size, 0, "O_TRUNC");
    CHECK_EQ(mock_release(&m, FUSE_RELEASE, id, o.fh), 0, "");
    CHECK_EQ(mock_count(&m).handles, 0, "");
    mock_forget(&m, id, 1);
    CHECK_EQ(mock_count(&m).nodes, 1, "");
    mock_stop(&m);
}

static void made_up_numbers_are_refused(void)
{
    struct fuse_setattr_in set = { .valid = FATTR_MODE };
    struct fuse_open_out f, d;
    uint64_t id, fh, bad;

    if (!start(NULL))
        return;
    CHECK_EQ(mock_create(&m, ROOT, "f", O_RDWR, 0600, &id, &fh), 0, "");
    bad = id + ((uint64_t)1 << 32);
    CHECK_EQ(mock_lookup(&m, bad, "f", NULL), -ESTALE, "");
    CHECK_EQ(mock_lookup(&m, id, "f", NULL), -ENOTDIR, "a file has no names");
    CHECK_EQ(mock_getattr(&m, bad, NULL), -ESTALE, "");
    CHECK_EQ(mock_getattr(&m, 0, NULL), -ESTALE, "");
    CHECK_EQ(mock_setattr(&m, bad, &set, NULL), -ESTALE, "");
    CHECK_EQ(mock_open(&m, FUSE_OPEN, bad, O_RDONLY, &f), -ESTALE, "");
    CHECK_EQ(mock_open(&m, FUSE_OPENDIR, bad, O_RDONLY, &f), -ESTALE, "");
    CHECK_EQ(mock_create(&m, bad, "x", O_RDWR, 0600, NULL, NULL), -ESTALE, "");
    CHECK_EQ(mock_send(m.se, m.r, FUSE_READLINK, bad, "", 0), -ESTALE, "");
    CHECK_EQ(mock_send(m.se, m.r, FUSE_STATFS, bad, "", 0), -ESTALE, "");
    CHECK_EQ(mock_named(&m, FUSE_UNLINK, bad, NULL, 0, "f", NULL), -ESTALE, "");

    CHECK_EQ(mock_open(&m, FUSE_OPENDIR, id, O_RDONLY, &d), -ENOTDIR, "");
    CHECK_EQ(mock_open(&m, FUSE_OPEN, ROOT, O_RDONLY, &d), -EISDIR, "");
    CHECK_EQ(mock_open(&m, FUSE_OPENDIR, ROOT, O_RDONLY, &d), 0, "");
    CHECK_EQ(mock_read(&m, FUSE_READ, id, 0, 0, 10), -EBADF, "");
    CHECK_EQ(mock_read(&m, FUSE_READ, id, fh + 99, 0, 10), -EBADF, "");
    CHECK_EQ(mock_read(&m, FUSE_READ, id, d.fh, 0, 10), -EBADF, "a directory");
    CHECK_EQ(mock_write(&m, id, d.fh, 0, "x", 1), -EBADF, "a directory");
    CHECK_EQ(mock_read(&m, FUSE_READDIR, id, fh, 0, 999), -EBADF, "a file");
    CHECK_EQ(mock_read(&m, FUSE_READDIRPLUS, id, fh, 0, 999), -EBADF, "");
    CHECK_EQ(mock_release(&m, FUSE_RELEASE, id, d.fh), -EBADF, "");
    CHECK_EQ(mock_release(&m, FUSE_RELEASE, id, fh), 0, "");
    CHECK_EQ(mock_release(&m, FUSE_RELEASE, id, fh), -EBADF, "twice");
    CHECK_EQ(mock_release(&m, FUSE_RELEASEDIR, ROOT, d.fh), 0, "");
    mock_forget(&m, bad, 1);
    CHECK_EQ(mock_getattr(&m, id, NULL), 0, "a forged FORGET took nothing");
    mock_stop(&m);
}

/* Reads a directory through replies of @room bytes; returns the number of
 * entries, each of whose names must be f<k> once, or "." or "..". */
static size_t list(uint32_t opcode, uint64_t fh, uint32_t room, bool *seen,
                   uint64_t *ids)
{
    size_t skip =
        opcode == FUSE_READDIRPLUS ? sizeof(struct fuse_entry_out) : 0;
    uint64_t off = 0;
    size_t n = 0;

    for (;;) {
        size_t at = 0;

        if (!CHECK_EQ(mock_read(&m, opcode, ROOT, fh, off, room), 0, ""))
            return n;
        if (m.r->reply_len == 0)
            return n;
        CHECK(m.r->reply_len <= room, "no more than there is room for");
        while (at < m.r->reply_len) {
            uint8_t *e = m.r->reply + at;
            struct fuse_dirent *de = (void *)(e + skip);
            int k = -1;

            if (de->name[0] == 'f')
                k = atoi(de->name + 1);
            else
                CHECK_EQ(de->name[0], '.', "nothing else is there");
            if (k >= 0) {
                CHECK(!seen[k], "no entry comes twice");
                seen[k] = true;
            }
            if (skip && ids && k >= 0)
                ids[k] = ((struct fuse_entry_out *)e)->nodeid;
            if (skip && k < 0)
                CHECK_EQ(((struct fuse_entry_out *)e)->nodeid, 0,
                         "dots are not looked up");
            CHECK(de->ino != 0, "");
            off = de->off;
            at += FUSE_DIRENT_ALIGN(skip + FUSE_NAME_OFFSET + de->namelen);
            n++;
        }
        CHECK_EQ(at, m.r->reply_len, "whole entries");
    }
}

static void a_listing_loses_no_entry_however_small_the_room(void)
{
    /* 24 + 8 is the smallest entry; 160 the smallest with attributes. */
    static const uint32_t rooms[] = { 32, 40, 65, 100, 4096, 1 << 20 };
    enum { N = 400 };
    struct fuse_open_out d;

    if (!start(NULL))
        return;
    for (int i = 0; i < N; i++) {
        char name[16];

        snprintf(name, sizeof(name), "f%d", i);
        mock_host_file(&m, name, "");
    }
    CHECK_EQ(mock_open(&m, FUSE_OPENDIR, ROOT, O_RDONLY, &d), 0, "");
    for (size_t i = 0; i < ARRAY_SIZE(rooms); i++) {
        bool seen[N] = { false };
        uint64_t ids[N] = { 0 };

        CHECK_EQ(list(FUSE_READDIR, d.fh, rooms[i], seen, NULL), N + 2, "");
        CHECK_EQ(mock_count(&m).nodes, 1, "READDIR looks nothing up");
        memset(seen, 0, sizeof(seen));
        CHECK_EQ(list(FUSE_READDIRPLUS, d.fh, rooms[i] + 128, seen, ids), N + 2,
                 "");
        CHECK_EQ(mock_count(&m).nodes, N + 1, "one node for each file");
        for (int k = 0; k < N; k++)
            mock_forget(&m, ids[k], 1);
        CHECK_EQ(mock_count(&m).nodes, 1, "each was counted once");
    }
    CHECK_EQ(mock_read(&m, FUSE_READDIR, ROOT, d.fh, 0, 31), -EINVAL,
             "an empty reply would mean the end");
    m.r->room = 31;
    CHECK_EQ(mock_read(&m, FUSE_READDIR, ROOT, d.fh, 0, 4096), -EINVAL,
             "the guest's buffer counts, not only what it says");
    m.r->room = MOCK_REPLY_MAX;
    CHECK_EQ(mock_release(&m, FUSE_RELEASEDIR, ROOT, d.fh), 0, "");
    mock_stop(&m);
}

static void a_listing_goes_on_from_any_entry(void)
{
    struct fuse_open_out d;
    uint64_t off[12] = { 0 };
    char name[12][8];
    size_t n = 0;

    if (!start(NULL))
        return;
    for (char c = 'a'; c < 'i'; c++)
        mock_host_file(&m, (char[]){ c, '\0' }, "");
    CHECK_EQ(mock_open(&m, FUSE_OPENDIR, ROOT, O_RDONLY, &d), 0, "");
    while (n < 10 && mock_read(&m, FUSE_READDIR, ROOT, d.fh, off[n], 32) == 0) {
        struct fuse_dirent *de = (void *)m.r->reply;

        if (!m.r->reply_len)
            break;
        snprintf(name[n], sizeof(name[n]), "%.*s", (int)de->namelen, de->name);
        off[++n] = de->off;
    }
    CHECK_EQ(n, 10, "8 files and the dots");
    for (size_t i = n; i-- > 0;) {
        struct fuse_dirent *de = (void *)m.r->reply;

        CHECK_EQ(mock_read(&m, FUSE_READDIR, ROOT, d.fh, off[i], 4096), 0, "");
        CHECK_MEM(de->name, name[i], de->namelen, "backwards");
    }
    mock_stop(&m);
}

static void dot_dot_of_the_root_is_the_root(void)
{
    struct fuse_open_out d;
    struct fuse_attr a;
    size_t at = 0;

    if (!start(NULL))
        return;
    CHECK_EQ(mock_getattr(&m, ROOT, &a), 0, "");
    CHECK_EQ(mock_open(&m, FUSE_OPENDIR, ROOT, O_RDONLY, &d), 0, "");
    CHECK_EQ(mock_read(&m, FUSE_READDIR, ROOT, d.fh, 0, 4096), 0, "");
    while (at < m.r->reply_len) {
        struct fuse_dirent *de = (void *)(m.r->reply + at);

        CHECK_EQ(de->ino, a.ino, "nothing of the directory above");
        at += FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + de->namelen);
    }
    mock_stop(&m);
}

static void a_read_only_share_stays_as_it_is(void)
{
    static const char value[] = "user.a\0v";
    struct pt_opts opts = mock_opts();
    struct fuse_setattr_in set = { .valid = FATTR_MODE };
    struct fuse_mkdir_in mk = { .mode = 0755 };
    struct fuse_mknod_in mn = { .mode = S_IFREG };
    struct fuse_rename2_in mv = { .newdir = ROOT };
    struct fuse_setxattr_in sx = { .size = 1 };
    struct fuse_fallocate_in fa = { .length = 1 };
    struct fuse_copy_file_range_in cp = { .len = 1 };
    struct fuse_access_in ac = { .mask = W_OK };
    struct fuse_link_in ln;
    struct fuse_open_out o;
    uint8_t arg[sizeof(sx) + sizeof(value)];
    uint64_t f;

    opts.readonly = true;
    if (!start(&opts))
        return;
    mock_host_file(&m, "f", "text");
    CHECK_EQ(mock_lookup(&m, ROOT, "f", &f), 0, "");
    CHECK_EQ(mock_open(&m, FUSE_OPEN, f, O_WRONLY, &o), -EROFS, "");
    CHECK_EQ(mock_open(&m, FUSE_OPEN, f, O_RDWR, &o), -EROFS, "");
    CHECK_EQ(mock_open(&m, FUSE_OPEN, f, O_RDONLY | O_TRUNC, &o), -EROFS, "");
    CHECK_EQ(mock_create(&m, ROOT, "f", O_RDONLY, 0600, NULL, NULL), -EROFS,
             "");
    CHECK_EQ(mock_setattr(&m, f, &set, NULL), -EROFS, "");
    CHECK_EQ(mock_named(&m, FUSE_MKDIR, ROOT, &mk, sizeof(mk), "d", NULL),
             -EROFS, "");
    CHECK_EQ(mock_named(&m, FUSE_MKNOD, ROOT, &mn, sizeof(mn), "n", NULL),
             -EROFS, "");
    CHECK_EQ(mock_named(&m, FUSE_SYMLINK, ROOT, NULL, 0, "s", "t"), -EROFS, "");
    CHECK_EQ(mock_named(&m, FUSE_UNLINK, ROOT, NULL, 0, "f", NULL), -EROFS, "");
    CHECK_EQ(mock_named(&m, FUSE_RMDIR, ROOT, NULL, 0, "f", NULL), -EROFS, "");
    CHECK_EQ(mock_named(&m, FUSE_RENAME2, ROOT, &mv, sizeof(mv), "f", "g"),
             -EROFS, "");
    ln.oldnodeid = f;
    CHECK_EQ(mock_named(&m, FUSE_LINK, ROOT, &ln, sizeof(ln), "l", NULL),
             -EROFS, "");
    memcpy(arg, &sx, sizeof(sx));
    memcpy(arg + sizeof(sx), value, sizeof(value));
    CHECK_EQ(mock_send(m.se, m.r, FUSE_SETXATTR, f, arg, sizeof(arg)), -EROFS,
             "");
    CHECK_EQ(mock_named(&m, FUSE_REMOVEXATTR, f, NULL, 0, "user.a", NULL),
             -EROFS, "");
    CHECK_EQ(mock_open(&m, FUSE_OPEN, f, O_RDONLY, &o), 0, "reading goes");
    CHECK_EQ(mock_read(&m, FUSE_READ, f, o.fh, 0, 9), 0, "");
    CHECK_EQ(m.r->reply_len, 4, "");
    CHECK_EQ(mock_write(&m, f, o.fh, 0, "x", 1), -EROFS, "");
    fa.fh = cp.fh_in = cp.fh_out = o.fh;
    CHECK_EQ(mock_send(m.se, m.r, FUSE_FALLOCATE, f, &fa, sizeof(fa)), -EROFS,
             "");
    CHECK_EQ(mock_send(m.se, m.r, FUSE_COPY_FILE_RANGE, f, &cp, sizeof(cp)),
             -EROFS, "");
    CHECK_EQ(mock_send(m.se, m.r, FUSE_ACCESS, f, &ac, sizeof(ac)), -EROFS, "");
    CHECK_EQ(mock_host_stat(&m, "f").st_size, 4, "");
    mock_stop(&m);
}

static void a_reset_leaves_the_root_and_nothing_else(void)
{
    struct fuse_open_out d;
    uint64_t id, fh;

    if (!start(NULL))
        return;
    CHECK_EQ(mock_create(&m, ROOT, "f", O_RDWR, 0600, &id, &fh), 0, "");
    CHECK_EQ(mock_lookup(&m, ROOT, "f", &id), 0, "");
    CHECK_EQ(mock_open(&m, FUSE_OPENDIR, ROOT, O_RDONLY, &d), 0, "");
    CHECK_EQ(mock_count(&m).nodes, 2, "");
    CHECK_EQ(mock_count(&m).handles, 2, "");
    pt_fs_reset(m.fs);
    CHECK_EQ(mock_count(&m).nodes, 1, "");
    CHECK_EQ(mock_count(&m).handles, 0, "");
    CHECK_EQ(mock_getattr(&m, id, NULL), -ESTALE, "of the old life");
    CHECK_EQ(mock_read(&m, FUSE_READ, id, fh, 0, 1), -EBADF, "");
    CHECK_EQ(mock_getattr(&m, ROOT, NULL), 0, "");
    CHECK_EQ(mock_lookup(&m, ROOT, "f", NULL), 0, "");
    mock_stop(&m);
}

static void a_shared_file_is_a_root(void)
{
    struct pt_opts opts = mock_opts();
    struct fuse_open_out o;
    struct fuse_attr a;
    struct pt_fs *fs = NULL;
    struct fuse_session *se;
    int root;

    if (!start(NULL))
        return;
    mock_host_file(&m, "f", "text");
    root = open(mock_path(&m, "f"), O_PATH | O_CLOEXEC);
    CHECK_EQ(pt_fs_create(&opts, root, m.proc_fd, &fs), 0, "");
    se = m.se;
    m.se = mock_session(fs);
    CHECK_EQ(mock_init(m.se, m.r, NULL), 0, "");
    CHECK_EQ(mock_getattr(&m, ROOT, &a), 0, "");
    CHECK_EQ(a.mode & S_IFMT, S_IFREG, "");
    CHECK_EQ(mock_lookup(&m, ROOT, "x", NULL), -ENOTDIR, "");
    CHECK_EQ(mock_open(&m, FUSE_OPENDIR, ROOT, O_RDONLY, &o), -ENOTDIR, "");
    CHECK_EQ(mock_open(&m, FUSE_OPEN, ROOT, O_RDONLY, &o), 0, "");
    CHECK_EQ(mock_read(&m, FUSE_READ, ROOT, o.fh, 0, 9), 0, "");
    CHECK_EQ(m.r->reply_len, 4, "");
    fuse_session_destroy(m.se);
    pt_fs_destroy(fs);
    close(root);
    m.se = se;
    mock_stop(&m);
}

TAP_MAIN(TEST(names_that_leave_the_directory_are_refused),
         TEST(what_is_written_is_read_back), TEST(made_up_numbers_are_refused),
         TEST(a_listing_loses_no_entry_however_small_the_room),
         TEST(a_listing_goes_on_from_any_entry),
         TEST(dot_dot_of_the_root_is_the_root),
         TEST(a_read_only_share_stays_as_it_is),
         TEST(a_reset_leaves_the_root_and_nothing_else),
         TEST(a_shared_file_is_a_root))
