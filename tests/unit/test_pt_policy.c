/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the options and the caller decide about the passthrough operations:
 * caching, credentials, id maps, mounts; and many threads at it.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
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

static void host_dir(const char *name, uid_t uid, gid_t gid, mode_t mode)
{
    const char *path = mock_path(&m, name);

    CHECK_EQ(mkdir(path, 0700), 0, name);
    CHECK_EQ(chown(path, uid, gid), 0, name);
    CHECK_EQ(chmod(path, mode), 0, name);
}

static int mkdir_as(uint32_t uid, uint32_t gid, uint64_t parent,
                    const char *name)
{
    struct fuse_mkdir_in in = { .mode = 0777 };
    int ret;

    m.r->uid = uid;
    m.r->gid = gid;
    ret = mock_named(&m, FUSE_MKDIR, parent, &in, sizeof(in), name, NULL);
    m.r->uid = m.r->gid = 0;
    return ret;
}

static void cache_modes_show_in_every_reply(void)
{
    static const struct {
        const char *why;
        enum pt_cache cache;
        uint64_t timeout_s;
        uint32_t file, dir; /* FOPEN flags, O_RDWR */
        uint32_t init, not_init;
    } rows[] = {
        /* clang-format off */
        { "auto", PT_CACHE_AUTO, 1, 0, 0,
          FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO | FUSE_AUTO_INVAL_DATA,
          FUSE_CACHE_SYMLINKS | FUSE_EXPLICIT_INVAL_DATA },
        { "always", PT_CACHE_ALWAYS, 86400, FOPEN_KEEP_CACHE,
          FOPEN_KEEP_CACHE | FOPEN_CACHE_DIR,
          FUSE_DO_READDIRPLUS | FUSE_CACHE_SYMLINKS |
          FUSE_EXPLICIT_INVAL_DATA, FUSE_AUTO_INVAL_DATA },
        { "metadata", PT_CACHE_METADATA, 86400,
          FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES,
          FOPEN_KEEP_CACHE | FOPEN_CACHE_DIR,
          FUSE_DO_READDIRPLUS | FUSE_CACHE_SYMLINKS | FUSE_AUTO_INVAL_DATA,
          FUSE_EXPLICIT_INVAL_DATA },
        { "never", PT_CACHE_NEVER, 0,
          FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES, 0,
          FUSE_AUTO_INVAL_DATA,
          FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO | FUSE_CACHE_SYMLINKS |
          FUSE_EXPLICIT_INVAL_DATA },
        /* clang-format on */
    };
    /* Not PARALLEL_DIROPS: libfuse 3.14.0 loses it on the way out. */
    const uint32_t always = FUSE_ASYNC_READ | FUSE_ATOMIC_O_TRUNC |
                            FUSE_BIG_WRITES | FUSE_MAX_PAGES | FUSE_ASYNC_DIO;
    const uint32_t never =
        FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS | FUSE_EXPORT_SUPPORT |
        FUSE_POSIX_ACL | FUSE_DONT_MASK | FUSE_HANDLE_KILLPRIV |
        FUSE_NO_OPEN_SUPPORT | FUSE_SPLICE_READ | FUSE_WRITEBACK_CACHE;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct pt_opts opts = mock_opts();
        struct fuse_open_out *o, d;
        struct fuse_init_out init;
        struct fuse_entry_out *e;
        struct fuse_session *se;
        uint64_t id, fh;

        opts.cache = rows[i].cache;
        opts.readdirplus = rows[i].cache != PT_CACHE_NEVER;
        if (!start(&opts))
            return;
        se = mock_session(m.fs);
        CHECK_EQ(mock_init(se, m.r, &init), 0, rows[i].why);
        fuse_session_destroy(se);
        CHECK_EQ(init.flags & (always | rows[i].init), always | rows[i].init,
                 rows[i].why);
        CHECK_EQ(init.flags & (never | rows[i].not_init), 0, rows[i].why);
        CHECK_EQ(init.max_background, 65535, "");
        CHECK_EQ(init.time_gran, 1, "");
        CHECK_EQ(init.max_write, 1 << 20, "");
        CHECK_EQ(mock_create(&m, ROOT, "f", O_RDWR, 0644, &id, &fh), 0, "");
        e = (void *)m.r->reply;
        o = (void *)(e + 1);
        CHECK_EQ(e->entry_valid, rows[i].timeout_s, rows[i].why);
        CHECK_EQ(e->attr_valid, rows[i].timeout_s, rows[i].why);
        CHECK_EQ(o->open_flags, rows[i].file, rows[i].why);
        CHECK_EQ(mock_open(&m, FUSE_OPEN, id, O_RDONLY, &d), 0, "");
        CHECK_EQ(d.open_flags, rows[i].file | FOPEN_NOFLUSH, rows[i].why);
        CHECK_EQ(mock_open(&m, FUSE_OPENDIR, ROOT, O_RDONLY, &d), 0, "");
        CHECK_EQ(d.open_flags, rows[i].dir, rows[i].why);
        mock_stop(&m);
    }
}

static void a_timeout_given_replaces_the_modes(void)
{
    struct pt_opts opts = mock_opts();
    struct fuse_entry_out *e;

    opts.entry_timeout_s = 2.5;
    opts.attr_timeout_s = 0;
    if (!start(&opts))
        return;
    CHECK_EQ(mkdir_as(0, 0, ROOT, "d"), 0, "");
    e = (void *)m.r->reply;
    CHECK_EQ(e->entry_valid, 2, "");
    CHECK_EQ(e->entry_valid_nsec, 500000000, "");
    CHECK_EQ(e->attr_valid, 0, "");
    mock_stop(&m);
}

/* The flags of the one descriptor that is open for I/O on a file. */
static int fd_flags_of(const char *name)
{
    struct stat want = mock_host_stat(&m, name), st;

    for (int fd = 0; fd < 256; fd++) {
        int flags = fcntl(fd, F_GETFL);

        if (flags >= 0 && !(flags & O_PATH) && fstat(fd, &st) == 0 &&
            st.st_ino == want.st_ino && st.st_dev == want.st_dev)
            return flags;
    }
    return -1;
}

static void open_flags_are_sifted(void)
{
    const int dangerous = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_ASYNC |
                          O_NONBLOCK | O_CREAT | O_EXCL;
    struct pt_opts opts = mock_opts();
    struct fuse_open_out o;
    uint64_t id, fh;
    int flags;

    opts.writeback = true;
    for (int i = 0; i < 2; i++, opts.writeback = false) {
        if (!start(&opts))
            return;
        CHECK_EQ(mock_create(&m, ROOT, "f", O_RDWR, 0644, &id, &fh), 0, "");
        CHECK_EQ(mock_release(&m, FUSE_RELEASE, id, fh), 0, "");
        CHECK_EQ(
            mock_open(&m, FUSE_OPEN, id,
                      O_WRONLY | O_APPEND | O_DIRECT | O_NOATIME | dangerous,
                      &o),
            0, "");
        flags = fd_flags_of("f");
        CHECK_EQ(flags & (dangerous | O_DIRECT | O_NOATIME), 0, "");
        CHECK_EQ(flags & O_ACCMODE, opts.writeback ? O_RDWR : O_WRONLY,
                 "a page cache must be able to read");
        CHECK_EQ(flags & O_APPEND, 0, "each WRITE says where it goes");
        mock_stop(&m);
    }
}

/* What CREATE does when the guest did not know that there is such a file. */
static void create_of_what_is_there_opens_with_the_callers_rights(void)
{
    uint64_t id = 0, fh = 0;
    int fd;

    if (!start(NULL))
        return;
    fd = open(mock_path(&m, "f"), O_WRONLY | O_CREAT, 0600);
    CHECK_EQ(write(fd, "text", 4), 4, "");
    close(fd);
    CHECK_EQ(symlink("/etc/passwd", mock_path(&m, "s")), 0, "");
    CHECK_EQ(mkdir(mock_path(&m, "d"), 0777), 0, "");
    CHECK_EQ(mock_create(&m, ROOT, "f", O_RDWR | O_EXCL, 0644, NULL, NULL),
             -EEXIST, "");
    CHECK_EQ(mock_create(&m, ROOT, "s", O_RDWR, 0644, NULL, NULL), -ELOOP, "");
    CHECK_EQ(mock_create(&m, ROOT, "d", O_RDWR, 0644, NULL, NULL), -EISDIR, "");
    if (geteuid() == 0) {
        m.r->uid = m.r->gid = 4711;
        CHECK_EQ(mock_create(&m, ROOT, "f", O_RDWR | O_TRUNC, 0644, NULL, NULL),
                 -EACCES, "another's, mode 0600");
        CHECK_EQ(chmod(mock_path(&m, "f"), 0666), 0, "");
        CHECK_EQ(mock_create(&m, ROOT, "f", O_RDWR, 0644, &id, &fh), 0,
                 "now it may");
        CHECK_EQ(mock_release(&m, FUSE_RELEASE, id, fh), 0, "");
        mock_forget(&m, id, 1);
        m.r->uid = m.r->gid = 0;
    }
    CHECK_EQ(mock_count(&m).nodes, 1, "failures leave no look-up");
    CHECK_EQ(mock_count(&m).handles, 0, "");
    CHECK_EQ(mock_create(&m, ROOT, "f", O_RDWR, 0644, &id, &fh), 0, "");
    CHECK_EQ(mock_read(&m, FUSE_READ, id, fh, 0, 9), 0, "");
    CHECK_EQ(m.r->reply_len, 4, "");
    mock_stop(&m);
}

static void new_files_belong_to_the_caller(void)
{
    uint64_t id, d;
    struct stat st;

    if (geteuid() != 0) {
        tap_skip("needs root");
        return;
    }
    if (!start(NULL))
        return;
    CHECK_EQ(chmod(m.dir, 0777), 0, "");
    CHECK_EQ(mkdir_as(1234, 5678, ROOT, "d"), 0, "");
    st = mock_host_stat(&m, "d");
    CHECK_EQ(st.st_uid, 1234, "");
    CHECK_EQ(st.st_gid, 5678, "");
    CHECK_EQ(st.st_mode & 0777, 0777, "our umask is empty");
    CHECK_EQ(geteuid(), 0, "and we are ourselves again");
    CHECK_EQ(getegid(), 0, "");
    CHECK_EQ(mkdir_as(0, 77, ROOT, "g"), 0, "a group only");
    CHECK_EQ(mock_host_stat(&m, "g").st_gid, 77, "");
    m.r->uid = 42;
    CHECK_EQ(mock_create(&m, ROOT, "f", O_RDWR, 0644, &id, NULL), 0, "");
    CHECK_EQ(mock_named(&m, FUSE_SYMLINK, ROOT, NULL, 0, "s", "t"), 0, "");
    m.r->uid = 0;
    CHECK_EQ(mock_host_stat(&m, "f").st_uid, 42, "");
    CHECK_EQ(mock_host_stat(&m, "s").st_uid, 42, "");

    host_dir("team", 0, 300, 0770);
    CHECK_EQ(mock_lookup(&m, ROOT, "team", &d), 0, "");
    CHECK_EQ(mkdir_as(1234, 5678, d, "x"), 0,
             "the guest knows that the caller is in group 300");
    CHECK_EQ(mock_host_stat(&m, "team/x").st_uid, 1234, "");
    CHECK_EQ(mkdir_as(UINT32_MAX, 0, ROOT, "n"), -EPERM,
             "-1 would mean to leave the id as it is");
    CHECK_EQ(mkdir_as(0, UINT32_MAX, ROOT, "n"), -EPERM, "");
    host_dir("mine", 0, 0, 0700);
    CHECK_EQ(mock_lookup(&m, ROOT, "mine", &d), 0, "");
    CHECK_EQ(mkdir_as(0, 0, d, "y"), 0, "rights came back whole");
    mock_stop(&m);
}

static void ids_are_translated_both_ways(void)
{
    struct fuse_setattr_in set = { .valid = FATTR_UID, .uid = 10 };
    struct pt_opts opts = mock_opts();
    struct fuse_attr a;
    char err[128];
    uint64_t id;

    if (geteuid() != 0) {
        tap_skip("needs root");
        return;
    }
    CHECK_EQ(idmap_add(&opts.uid_map, "map:10:1010:5", err, sizeof(err)), 0,
             "");
    CHECK_EQ(idmap_add(&opts.uid_map, "forbid-guest:66:1", err, sizeof(err)), 0,
             "");
    CHECK_EQ(idmap_add(&opts.gid_map, "squash-guest:0:107:4294967295", err,
                       sizeof(err)),
             0, "");
    CHECK_EQ(idmap_add(&opts.gid_map, "host:107:0:1", err, sizeof(err)), 0, "");
    if (!start(&opts))
        return;
    CHECK_EQ(chmod(m.dir, 0777), 0, "");
    CHECK_EQ(mkdir_as(12, 33, ROOT, "d"), 0, "");
    id = ((struct fuse_entry_out *)m.r->reply)->nodeid;
    CHECK_EQ(((struct fuse_entry_out *)m.r->reply)->attr.uid, 12, "");
    CHECK_EQ(mock_host_stat(&m, "d").st_uid, 1012, "");
    CHECK_EQ(mock_host_stat(&m, "d").st_gid, 107, "");
    CHECK_EQ(mock_getattr(&m, id, &a), 0, "");
    CHECK_EQ(a.uid, 12, "");
    CHECK_EQ(a.gid, 0, "");
    CHECK_EQ(mock_setattr(&m, id, &set, &a), 0, "");
    CHECK_EQ(a.uid, 10, "");
    CHECK_EQ(mock_host_stat(&m, "d").st_uid, 1010, "");
    set.uid = 66;
    CHECK_EQ(mock_setattr(&m, id, &set, &a), -EPERM, "forbidden");
    CHECK_EQ(mkdir_as(66, 0, ROOT, "e"), -EPERM, "forbidden");
    mock_stop(&m);
}

static void room_holes_and_copies_are_made_in_files(void)
{
    struct fuse_fallocate_in fa = { .length = 65536 };
    struct fuse_lseek_in sk = { .whence = SEEK_DATA };
    struct fuse_copy_file_range_in cp = { .len = 4, .off_out = 10 };
    struct fuse_access_in ac = { .mask = W_OK };
    uint64_t f, fh;
    int ret;

    if (!start(NULL))
        return;
    CHECK_EQ(mock_create(&m, ROOT, "f", O_RDWR, 0644, &f, &fh), 0, "");
    CHECK_EQ(mock_write(&m, f, fh, 0, "abcd", 4), 0, "");
    cp.fh_in = cp.fh_out = fa.fh = sk.fh = fh;
    cp.nodeid_out = f;
    CHECK_EQ(mock_send(m.se, m.r, FUSE_COPY_FILE_RANGE, f, &cp, sizeof(cp)), 0,
             "");
    CHECK_EQ(((struct fuse_write_out *)m.r->reply)->size, 4, "");
    CHECK_EQ(mock_read(&m, FUSE_READ, f, fh, 10, 9), 0, "");
    CHECK_EQ(m.r->reply_len, 4, "");
    CHECK_MEM(m.r->reply, "abcd", 4, "");
    cp.fh_out = fh + 1;
    CHECK_EQ(mock_send(m.se, m.r, FUSE_COPY_FILE_RANGE, f, &cp, sizeof(cp)),
             -EBADF, "");
    ret = mock_send(m.se, m.r, FUSE_FALLOCATE, f, &fa, sizeof(fa));
    CHECK(ret == 0 || ret == -EOPNOTSUPP, "");
    if (ret == 0)
        CHECK_EQ(mock_host_stat(&m, "f").st_size, 65536, "");
    CHECK_EQ(mock_send(m.se, m.r, FUSE_LSEEK, f, &sk, sizeof(sk)), 0, "");
    CHECK_EQ(((struct fuse_lseek_out *)m.r->reply)->offset, 0, "data at once");
    sk.offset = 1 << 20;
    CHECK_EQ(mock_send(m.se, m.r, FUSE_LSEEK, f, &sk, sizeof(sk)), -ENXIO, "");
    CHECK_EQ(mock_send(m.se, m.r, FUSE_STATFS, f, "", 0), 0, "");
    CHECK(((struct fuse_statfs_out *)m.r->reply)->st.bsize > 0, "");
    CHECK_EQ(mock_send(m.se, m.r, FUSE_ACCESS, f, &ac, sizeof(ac)), 0, "root");
    m.r->uid = m.r->gid = 999;
    CHECK_EQ(mock_send(m.se, m.r, FUSE_ACCESS, f, &ac, sizeof(ac)), -EACCES,
             "mode 0644 gives others no W_OK");
    ac.mask = R_OK;
    CHECK_EQ(mock_send(m.se, m.r, FUSE_ACCESS, f, &ac, sizeof(ac)), 0, "");
    m.r->uid = m.r->gid = 0;
    CHECK_EQ(mock_release(&m, FUSE_RELEASE, f, fh), 0, "");
    CHECK_EQ(mock_count(&m).handles, 0, "nothing is still pinned");
    mock_stop(&m);
}

static uint32_t entry_flags(void)
{
    return ((const struct fuse_entry_out *)m.r->reply)->attr.flags;
}

static int submounts_listed(void)
{
    int n = 0;

    for (size_t at = 0; at < m.r->reply_len;) {
        const struct fuse_direntplus *e = (const void *)(m.r->reply + at);

        n += e->entry_out.attr.flags == FUSE_ATTR_SUBMOUNT;
        at += FUSE_DIRENTPLUS_SIZE(e);
    }
    return n;
}

static void a_mount_point_is_announced(void)
{
    struct fuse_open_out d;
    uint64_t root_dir, sub;

    if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
        tap_skip("needs a mount namespace");
        return;
    }
    if (!start(NULL))
        return;
    CHECK_EQ(mkdir(mock_path(&m, "plain"), 0755), 0, "");
    CHECK_EQ(mkdir(mock_path(&m, "sub"), 0755), 0, "");
    if (!CHECK_EQ(mount("none", mock_path(&m, "sub"), "tmpfs", 0, NULL), 0, ""))
        goto out;
    CHECK_EQ(mock_lookup(&m, ROOT, "plain", &root_dir), 0, "");
    CHECK_EQ(entry_flags(), 0, "");
    CHECK_EQ(mock_lookup(&m, ROOT, "sub", &sub), 0, "");
    CHECK_EQ(entry_flags(), FUSE_ATTR_SUBMOUNT, "");
    CHECK_EQ(mock_open(&m, FUSE_OPENDIR, ROOT, O_RDONLY, &d), 0, "");
    CHECK_EQ(mock_read(&m, FUSE_READDIRPLUS, ROOT, d.fh, 0, 4096), 0, "");
    CHECK_EQ(submounts_listed(), 1, "one of the entries");
    CHECK_EQ(mkdir_as(0, 0, sub, "inside"), 0, "");
    CHECK_EQ(entry_flags(), 0, "not below the mount point");
    /* A node holds its mount: the tree must be let go of first. */
    pt_fs_reset(m.fs);
    CHECK_EQ(umount(mock_path(&m, "sub")), 0, "");
    CHECK_EQ(mount(m.dir, mock_path(&m, "sub"), NULL, MS_BIND, NULL), 0, "");
    CHECK_EQ(mock_lookup(&m, ROOT, "sub", &sub), 0, "");
    CHECK(sub != ROOT, "one inode seen through two mounts is two nodes");
    CHECK_EQ(entry_flags(), FUSE_ATTR_SUBMOUNT, "the same device");
    pt_fs_reset(m.fs);
    CHECK_EQ(umount(mock_path(&m, "sub")), 0, "");
out:
    mock_stop(&m);
}

/* A session a thread, as in the device, all on one directory. */
#define ROUNDS 400

struct worker {
    pthread_t thread;
    struct mock t;
    char mine[2];
};

static void *work(void *arg)
{
    struct worker *w = arg;
    struct mock t = w->t;
    const char *mine = w->mine;

    for (int i = 0; i < ROUNDS; i++) {
        uint64_t id, fh, shared;
        char name[16];

        snprintf(name, sizeof(name), "%s%d", mine, i % 3);
        CHECK_EQ(mock_create(&t, ROOT, name, O_RDWR, 0644, &id, &fh), 0, "");
        CHECK_EQ(mock_write(&t, id, fh, 0, mine, 1), 0, "");
        CHECK_EQ(mock_lookup(&t, ROOT, "shared", &shared), 0, "");
        CHECK_EQ(mock_getattr(&t, shared, NULL), 0, "");
        mock_forget(&t, shared, 1);
        CHECK_EQ(mock_read(&t, FUSE_READ, id, fh, 0, 4), 0, "");
        CHECK_MEM(t.r->reply, mine, 1, "its own byte");
        CHECK_EQ(mock_named(&t, FUSE_UNLINK, ROOT, NULL, 0, name, NULL), 0, "");
        CHECK_EQ(mock_release(&t, FUSE_RELEASE, id, fh), 0, "");
        mock_forget(&t, id, 1);
    }
    return NULL;
}

static void threads_share_one_tree(void)
{
    struct worker w[4];

    if (!start(NULL))
        return;
    CHECK_EQ(mkdir(mock_path(&m, "shared"), 0755), 0, "");
    /* All sessions first: INIT changes what the operations go by, which the
     * device does with its gate closed. */
    for (size_t i = 0; i < ARRAY_SIZE(w); i++) {
        w[i] = (struct worker){ .t = m, .mine = { (char)('a' + i) } };
        w[i].t.r = mock_request_new();
        w[i].t.se = mock_session(m.fs);
        CHECK_EQ(mock_init(w[i].t.se, w[i].t.r, NULL), 0, "");
    }
    for (size_t i = 0; i < ARRAY_SIZE(w); i++)
        pthread_create(&w[i].thread, NULL, work, &w[i]);
    for (size_t i = 0; i < ARRAY_SIZE(w); i++) {
        pthread_join(w[i].thread, NULL);
        fuse_session_destroy(w[i].t.se);
        mock_request_free(w[i].t.r);
    }
    CHECK_EQ(mock_count(&m).nodes, 1, "");
    CHECK_EQ(mock_count(&m).handles, 0, "");
    mock_stop(&m);
}

/* The mount namespace is for good: the test that needs one comes last. */
TAP_MAIN(TEST(cache_modes_show_in_every_reply),
         TEST(a_timeout_given_replaces_the_modes), TEST(open_flags_are_sifted),
         TEST(create_of_what_is_there_opens_with_the_callers_rights),
         TEST(new_files_belong_to_the_caller),
         TEST(ids_are_translated_both_ways),
         TEST(room_holes_and_copies_are_made_in_files),
         TEST(threads_share_one_tree), TEST(a_mount_point_is_announced))
