/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Nodes with file handles, of which few can be open: what a guest sees of it
 * is nothing.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
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

static bool start(void)
{
    return mock_start_handles(&m, PLACES);
}

static size_t open_fds(void)
{
    DIR *d = opendir("/proc/self/fd");
    size_t n = 0;

    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n;
}

static void a_handle_is_kept_whole(void)
{
    static const int types[] = { 1, 0x81, 2, 0x4d, 0xfb, 0x10001 };
    struct pt_fh fh, got;
    struct pt_fh_small small;

    for (size_t k = 0; k < ARRAY_SIZE(types); k++) {
        for (uint32_t len = 0; len <= PT_FH_MAX; len++) {
            memset(&fh, 0, sizeof(fh));
            fh.type = types[k];
            fh.len = len;
            for (uint32_t i = 0; i < len; i++)
                fh.b[i] = (unsigned char)(i + len);
            CHECK_EQ(pt_fh_pack(&fh, &small), 0, "");
            pt_fh_unpack(&small, &got);
            CHECK_EQ(got.type, fh.type, "type");
            CHECK_EQ(got.len, len, "length");
            CHECK_MEM(got.b, fh.b, len, "bytes");
            CHECK(pt_fh_same(&small, &fh), "the same");
            if (len) {
                fh.b[len - 1] ^= 1;
                CHECK(!pt_fh_same(&small, &fh), "another");
                fh.b[len - 1] ^= 1;
                fh.len--;
                CHECK(!pt_fh_same(&small, &fh), "shorter");
            }
            fh.len = len;
            fh.type ^= 0x80;
            CHECK(!pt_fh_same(&small, &fh), "another type");
            pt_fh_drop(&small);
            CHECK(!pt_fh_same(&small, &fh), "none");
        }
    }
}

static void a_big_tree_takes_few_descriptors(void)
{
    enum { N = 500 };
    uint64_t id[N];
    struct fuse_attr a;
    char name[16];
    size_t before;

    if (!start())
        return;
    before = open_fds();
    for (int i = 0; i < N; i++) {
        snprintf(name, sizeof(name), "f%d", i);
        mock_host_file(&m, name, "");
        id[i] = mock_find(&m, name);
    }
    CHECK_EQ(mock_count(&m).nodes, N + 1, "");
    CHECK_EQ(mock_count(&m).open, 0, "a look-up opens nothing");
    CHECK_EQ(open_fds(), before, "");
    for (int i = 0; i < N; i++) {
        snprintf(name, sizeof(name), "f%d", i);
        CHECK_EQ(mock_getattr(&m, id[i], &a), 0, name);
        CHECK_EQ(a.ino, mock_host_stat(&m, name).st_ino, name);
    }
    CHECK_EQ(mock_count(&m).open, PLACES, "");
    CHECK_EQ(open_fds(), before + PLACES, "");
    for (int i = 0; i < N; i++) {
        snprintf(name, sizeof(name), "f%d", i);
        CHECK_EQ(mock_find(&m, name), id[i], "closed or not, it is known");
        mock_forget(&m, id[i], 1);
    }
    CHECK_EQ(mock_count(&m).nodes, N + 1, "one look-up each is left");
    for (int i = 0; i < N; i++)
        mock_forget(&m, id[i], 1);
    CHECK_EQ(mock_count(&m).nodes, 1, "");
    CHECK_EQ(open_fds(), before, "");
    mock_stop(&m);
}

static void pinned_nodes_stay_open(void)
{
    struct pt_node *pin[PLACES], *n = NULL;
    int fd[PLACES];
    uint64_t more;
    char name[16];

    if (!start())
        return;
    mock_host_file(&m, "more", "");
    more = mock_find(&m, "more");
    for (int i = 0; i < PLACES; i++) {
        snprintf(name, sizeof(name), "f%d", i);
        mock_host_file(&m, name, "");
        CHECK_EQ(pt_node_pin(m.fs, mock_find(&m, name), &pin[i]), 0, name);
        fd[i] = pin[i]->fd;
    }
    CHECK_EQ(pt_node_pin(m.fs, more, &n), -ENFILE, "all are in use");
    CHECK_EQ(mock_lookup(&m, ROOT, "f0", NULL), 0, "which opens nothing");
    for (int i = 0; i < PLACES; i++) {
        CHECK_EQ(pin[i]->fd, fd[i], "");
        CHECK(fcntl(fd[i], F_GETFD) >= 0, "");
    }
    pt_node_put(&m.fs->nodes, pin[1]);
    CHECK_EQ(pt_node_pin(m.fs, more, &n), 0, "now there is a place");
    pt_node_put(&m.fs->nodes, n);
    for (int i = 0; i < PLACES; i++)
        if (i != 1)
            pt_node_put(&m.fs->nodes, pin[i]);
    mock_stop(&m);
}

/* Every kind of file, and what can be done to it. */
static void each_kind_of_file_works_when_closed(void)
{
    static const struct {
        const char *name;
        mode_t mode;
    } kind[] = {
        { "file", S_IFREG | 0640 }, { "dir", S_IFDIR | 0750 },
        { "fifo", S_IFIFO | 0640 }, { "sock", S_IFSOCK | 0640 },
        { "link", S_IFLNK | 0777 }, { "dev", S_IFCHR | 0640 },
    };
    struct fuse_setattr_in set = { .valid = FATTR_UID | FATTR_MTIME,
                                   .uid = 4711,
                                   .mtime = 12345 };
    char linked[16];
    struct fuse_attr a;

    if (!start())
        return;
    for (size_t i = 0; i < ARRAY_SIZE(kind); i++) {
        const char *name = kind[i].name, *path = mock_path(&m, name);
        struct fuse_link_in in;
        uint64_t id;

        if (S_ISDIR(kind[i].mode))
            CHECK_EQ(mkdir(path, 0750), 0, name);
        else if (S_ISLNK(kind[i].mode))
            CHECK_EQ(symlink("target", path), 0, name);
        else
            CHECK_EQ(mknod(path, kind[i].mode, 0x103), 0, name);
        id = mock_find(&m, name);
        CHECK(mock_node_is_open(&m, id) == (i == 2 || i == 3 || i == 5),
              "special files are held");
        CHECK_EQ(mock_getattr(&m, id, &a), 0, name);
        CHECK_EQ(a.mode & S_IFMT, kind[i].mode & S_IFMT, name);
        if (!S_ISFIFO(kind[i].mode) && !S_ISSOCK(kind[i].mode) &&
            !S_ISCHR(kind[i].mode))
            mock_close_node(&m, id);
        CHECK_EQ(mock_setattr(&m, id, &set, &a), 0, name);
        CHECK_EQ(a.uid, 4711, name);
        if (!S_ISLNK(kind[i].mode))
            CHECK_EQ(mock_host_stat(&m, name).st_mtime, 12345, name);
        if (S_ISDIR(kind[i].mode))
            continue;
        snprintf(linked, sizeof(linked), "%s2", name);
        in.oldnodeid = id;
        CHECK_EQ(mock_named(&m, FUSE_LINK, ROOT, &in, sizeof(in), linked, NULL),
                 0, name);
        CHECK_EQ(mock_host_stat(&m, linked).st_ino, a.ino, name);
        CHECK_EQ(mock_find(&m, linked), id, "one node, whatever its names");
    }
    mock_stop(&m);
}

static void closed_nodes_are_opened_read_and_listed(void)
{
    struct fuse_open_out o;
    uint64_t f, d, in_d, l;

    if (!start())
        return;
    mock_host_file(&m, "f", "text");
    CHECK_EQ(mkdir(mock_path(&m, "d"), 0755), 0, "");
    mock_host_file(&m, "d/x", "y");
    CHECK_EQ(symlink("where", mock_path(&m, "l")), 0, "");
    f = mock_find(&m, "f");
    d = mock_find(&m, "d");
    l = mock_find(&m, "l");
    CHECK_EQ(mock_lookup(&m, d, "x", &in_d), 0, "");
    mock_close_node(&m, d);
    CHECK_EQ(renameat(m.root_fd, "d", m.root_fd, "e"), 0, "by the host");
    CHECK_EQ(mock_lookup(&m, d, "x", NULL), 0, "the directory, not its name");
    mock_close_node(&m, f);
    CHECK_EQ(mock_open(&m, FUSE_OPEN, f, O_RDWR, &o), 0, "");
    mock_close_node(&m, f);
    CHECK_EQ(mock_read(&m, FUSE_READ, f, o.fh, 0, 10), 0, "");
    CHECK_MEM(m.r->reply, "text", 4, "");
    mock_close_node(&m, d);
    CHECK_EQ(mock_open(&m, FUSE_OPENDIR, d, O_RDONLY, &o), 0, "");
    mock_close_node(&m, d);
    CHECK_EQ(mock_read(&m, FUSE_READDIRPLUS, d, o.fh, 0, 4096), 0, "");
    CHECK(m.r->reply_len > 0, "");
    mock_close_node(&m, l);
    CHECK_EQ(mock_send(m.se, m.r, FUSE_READLINK, l, "", 0), 0, "");
    CHECK_EQ(m.r->reply_len, 5, "where");
    mock_stop(&m);
}

/* Not so often that nodes without a name would be closed at last. */
static void want_places(void)
{
    uint64_t more;

    mock_host_file(&m, "more", "");
    for (int i = 0; i < 20; i++) {
        more = mock_find(&m, "more");
        CHECK_EQ(mock_getattr(&m, more, NULL), 0, "");
        mock_forget(&m, more, 1);
    }
}

static void a_file_outlives_its_last_name(void)
{
    struct fuse_rename_in mv = { .newdir = ROOT };
    struct fuse_open_out o;
    uint64_t a, b, c, d;
    struct fuse_attr at;

    if (!start())
        return;
    mock_host_file(&m, "a", "aa");
    mock_host_file(&m, "b", "bbb");
    mock_host_file(&m, "c", "cccc");
    CHECK_EQ(mkdir(mock_path(&m, "d"), 0755), 0, "");
    a = mock_find(&m, "a");
    b = mock_find(&m, "b");
    c = mock_find(&m, "c");
    d = mock_find(&m, "d");
    CHECK(!mock_node_is_open(&m, a) && !mock_node_is_open(&m, c) &&
              !mock_node_is_open(&m, d),
          "all closed");
    CHECK_EQ(mock_named(&m, FUSE_UNLINK, ROOT, NULL, 0, "a", NULL), 0, "");
    CHECK_EQ(mock_named(&m, FUSE_RMDIR, ROOT, NULL, 0, "d", NULL), 0, "");
    CHECK_EQ(mock_named(&m, FUSE_RENAME, ROOT, &mv, sizeof(mv), "b", "c"), 0,
             "over c");
    want_places();
    CHECK_EQ(mock_getattr(&m, a, &at), 0, "unlinked");
    CHECK_EQ(at.size, 2, "");
    CHECK_EQ(at.nlink, 0, "");
    CHECK_EQ(mock_getattr(&m, d, &at), 0, "removed");
    CHECK_EQ(mock_getattr(&m, c, &at), 0, "renamed over");
    CHECK_EQ(at.size, 4, "");
    CHECK_EQ(mock_open(&m, FUSE_OPEN, a, O_RDONLY, &o), 0, "even opened");
    CHECK_EQ(mock_release(&m, FUSE_RELEASE, a, o.fh), 0, "");
    CHECK_EQ(mock_find(&m, "c"), b, "and the name means another");
    mock_forget(&m, a, 1);
    mock_forget(&m, b, 2);
    mock_forget(&m, c, 1);
    mock_forget(&m, d, 1);
    CHECK_EQ(mock_count(&m).nodes, 1, "");
    CHECK_EQ(mock_count(&m).open, 0, "");
    mock_stop(&m);
}

enum kind {
    CLOSED,
    OPEN,
    LINKED,  /* it has another name */
    UNKNOWN, /* to the guest */
};

static void remove_and_ask(const char *name, enum kind kind)
{
    struct fuse_attr at;
    uint64_t id = 0;

    mock_host_file(&m, name, name);
    if (kind == LINKED)
        CHECK_EQ(linkat(m.root_fd, name, m.root_fd, "link", 0), 0, name);
    if (kind != UNKNOWN)
        id = mock_find(&m, name);
    if (kind == OPEN)
        CHECK_EQ(mock_getattr(&m, id, NULL), 0, name);
    CHECK_EQ(mock_node_is_open(&m, id), kind == OPEN, name);
    CHECK_EQ(mock_named(&m, FUSE_UNLINK, ROOT, NULL, 0, name, NULL), 0, name);
    want_places();
    if (kind == UNKNOWN)
        return;
    CHECK_EQ(mock_getattr(&m, id, &at), 0, name);
    CHECK_EQ(at.nlink, kind == LINKED, name);
    CHECK_EQ(at.size, strlen(name), "it and no other");
    mock_forget(&m, id, 1);
}

/* Whatever the one before was, by which it is guessed how to go about it. */
static void files_are_held_in_any_order(void)
{
    static const enum kind kinds[] = { OPEN,   OPEN,   CLOSED,  CLOSED, OPEN,
                                       LINKED, CLOSED, UNKNOWN, CLOSED, OPEN };
    char name[16];

    if (!start())
        return;
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        snprintf(name, sizeof(name), "%.*s", (int)i + 1, "abcdefghijkl");
        remove_and_ask(name, kinds[i]);
        unlink(mock_path(&m, "link"));
    }
    mock_stop(&m);
}

/* Opened by the guest: the handle finds it as long as it is. */
static void a_deleted_open_file_can_be_asked_about(void)
{
    struct fuse_open_out o;
    struct fuse_attr at;
    uint64_t f;

    if (!start())
        return;
    mock_host_file(&m, "f", "text");
    f = mock_find(&m, "f");
    CHECK_EQ(mock_open(&m, FUSE_OPEN, f, O_RDWR, &o), 0, "");
    mock_close_node(&m, f);
    CHECK_EQ(unlink(mock_path(&m, "f")), 0, "by the host");
    CHECK_EQ(mock_getattr(&m, f, &at), 0, "");
    CHECK_EQ(at.size, 4, "");
    CHECK_EQ(mock_read(&m, FUSE_READ, f, o.fh, 0, 10), 0, "");
    CHECK_EQ(m.r->reply_len, 4, "");
    mock_close_node(&m, f);
    CHECK_EQ(mock_release(&m, FUSE_RELEASE, f, o.fh), 0, "");
    CHECK_EQ(mock_getattr(&m, f, &at), -ESTALE, "now it is gone");
    mock_forget(&m, f, 1);
    CHECK_EQ(mock_count(&m).nodes, 1, "");
    mock_stop(&m);
}

/* The host deletes a file and makes others until one has its number. */
static void a_number_used_again_is_another_file(void)
{
    uint64_t old, new = 0;
    struct fuse_attr at;
    ino_t ino;
    int i;

    if (!start())
        return;
    mock_host_file(&m, "f", "old");
    old = mock_find(&m, "f");
    CHECK(!mock_node_is_open(&m, old), "");
    ino = mock_host_stat(&m, "f").st_ino;
    for (i = 0; i < 200; i++) {
        CHECK_EQ(unlink(mock_path(&m, "f")), 0, "");
        mock_host_file(&m, "f", "newer");
        if (mock_host_stat(&m, "f").st_ino == ino)
            break;
    }
    if (i == 200)
        tap_diag("this file system does not use numbers again");
    new = mock_find(&m, "f");
    /* Born within one tick of the clock they can not be told apart at once;
     * the first use of the old one settles it. */
    CHECK_EQ(mock_getattr(&m, old, &at), -ESTALE, "the old one is gone");
    if (new == old) {
        new = mock_find(&m, "f");
        mock_forget(&m, old, 1);
    }
    CHECK(new != old, "another file, another node");
    CHECK_EQ(mock_getattr(&m, new, &at), 0, "");
    CHECK_EQ(at.size, 5, "");
    CHECK_EQ(mock_find(&m, "f"), new, "found from now on");
    mock_forget(&m, old, 1);
    mock_forget(&m, new, 2);
    CHECK_EQ(mock_count(&m).nodes, 1, "");
    mock_stop(&m);
}

/* What statx(2) and name_to_handle_at(2) tell of a name is not always about
 * one file. */
static void a_handle_of_another_file_is_found_out(void)
{
    struct pt_nodes *t;
    struct pt_node *n;
    struct pt_key key, other;
    uint32_t mnt_id;
    struct pt_fh fh;
    struct statx sx;
    uint64_t id, id2;

    if (!start())
        return;
    t = &m.fs->nodes;
    mock_host_file(&m, "a", "");
    mock_host_file(&m, "b", "");
    CHECK_EQ(pt_statx(m.root_fd, "a", &sx, &key), 0, "");
    CHECK_EQ(pt_fh_get(m.root_fd, "b", &fh, &mnt_id), 0, "");
    CHECK(pt_mount_get(&t->mounts, mnt_id), "");
    CHECK_EQ(pt_node_insert(t, &key, S_IFREG, -1, &fh, &id), 1, "");
    CHECK_EQ(pt_node_find(t, &key), id, "nobody knows yet");
    CHECK_EQ(pt_node_pin(m.fs, id, &n), -ESTALE, "it is neither of them");
    CHECK_EQ(pt_node_find(t, &key), 0, "and not found any more");
    CHECK(mock_find(&m, "a") != id, "");
    mock_forget(&m, id, 2);
    /* The number of one that is closed, born at another time. */
    id = mock_find(&m, "b");
    CHECK_EQ(pt_statx(m.root_fd, "b", &sx, &other), 0, "");
    CHECK_EQ(pt_node_find(t, &other), id, "");
    other.birth ^= 2;
    CHECK_EQ(pt_node_find(t, &other), 0, "may be another");
    CHECK_EQ(mock_getattr(&m, id, NULL), 0, "");
    CHECK_EQ(pt_node_find(t, &other), id, "not while it is open");
    mock_close_node(&m, id);
    CHECK(pt_mount_get(&t->mounts, mnt_id), "");
    fh.b[0] ^= 1;
    CHECK_EQ(pt_node_insert(t, &other, S_IFREG, -1, &fh, &id2), 1,
             "closed, and the number has another handle: another file");
    CHECK(id2 != id, "");
    CHECK_EQ(pt_node_find(t, &other), id2, "which is found from now on");
    mock_stop(&m);
}

static void the_guest_gets_enfile_before_we_starve(void)
{
    struct fuse_open_out o;
    uint64_t f, ids[64];
    int n = 0, ret = 0;
    char name[16];

    if (!start())
        return;
    mock_host_file(&m, "f", "x");
    f = mock_find(&m, "f");
    for (int i = 0; i < PLACES; i++) {
        snprintf(name, sizeof(name), "n%d", i);
        mock_host_file(&m, name, "");
        ids[i] = mock_find(&m, name);
        CHECK_EQ(mock_getattr(&m, ids[i], NULL), 0, "");
    }
    CHECK_EQ(mock_count(&m).open, PLACES, "");
    m.fs->nodes.fd_max = (int)open_fds() + 8;
    while (n < 64 && (ret = mock_open(&m, FUSE_OPEN, f, O_RDONLY, &o)) == 0)
        n++;
    CHECK_EQ(ret, -ENFILE, "");
    CHECK(mock_count(&m).open <= 1, "all but the one in use were closed");
    CHECK(n > 0, "");
    ret = open("/", O_PATH | O_CLOEXEC);
    CHECK(ret >= 0, "the process itself has descriptors");
    close(ret);
    CHECK_EQ(mock_release(&m, FUSE_RELEASE, f, o.fh), 0, "");
    CHECK_EQ(mock_open(&m, FUSE_OPEN, f, O_RDONLY, &o), 0, "served again");
    mock_stop(&m);
}

static void a_mount_is_let_go_with_its_last_node(void)
{
    uint64_t d, x;

    if (!start())
        return;
    if (unshare(CLONE_NEWNS) < 0 ||
        mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL) < 0) {
        mock_stop(&m);
        tap_skip("no mount namespace to be had");
        return;
    }
    mock_stop(&m); /* the share's fd was of the old namespace */
    if (!start())
        return;
    CHECK_EQ(mkdir(mock_path(&m, "d"), 0755), 0, "");
    CHECK_EQ(mount("none", mock_path(&m, "d"), "tmpfs", 0, NULL), 0, "");
    mock_host_file(&m, "d/x", "y");
    d = mock_find(&m, "d");
    CHECK_EQ(mock_lookup(&m, d, "x", &x), 0, "");
    mock_close_node(&m, d);
    mock_close_node(&m, x);
    CHECK_EQ(mock_getattr(&m, x, NULL), 0, "opened by the mount's handle");
    mock_close_node(&m, x);
    CHECK_EQ(umount(mock_path(&m, "d")), -1, "in use");
    mock_forget(&m, d, 1);
    CHECK_EQ(umount(mock_path(&m, "d")), -1, "by the other one, too");
    mock_forget(&m, x, 1);
    CHECK_EQ(umount(mock_path(&m, "d")), 0, "and free");
    mock_stop(&m);
}

TAP_MAIN(TEST(a_handle_is_kept_whole), TEST(a_big_tree_takes_few_descriptors),
         TEST(pinned_nodes_stay_open),
         TEST(each_kind_of_file_works_when_closed),
         TEST(closed_nodes_are_opened_read_and_listed),
         TEST(a_file_outlives_its_last_name), TEST(files_are_held_in_any_order),
         TEST(a_deleted_open_file_can_be_asked_about),
         TEST(a_number_used_again_is_another_file),
         TEST(a_handle_of_another_file_is_found_out),
         TEST(the_guest_gets_enfile_before_we_starve),
         TEST(a_mount_is_let_go_with_its_last_node))
