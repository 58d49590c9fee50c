/* SPDX-License-Identifier: BSD-3-Clause */
/* Directories just made, which take their handles when they are closed. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fuse/passthrough/nodefd.h"
#include "fuse/passthrough/pt_i.h"
#include "tests/lib/tap.h"
#include "tests/unit/mock_nodes.h"

#define ROOT    FUSE_ROOT_ID
#define THREADS 4
#define PLACES  (2 * THREADS)

static struct mock m;

/* Handles taken of what is open, and whether there are any. */
static _Atomic uint64_t taken;
static bool has_none;

/* In place of the C library's. */
int name_to_handle_at(int dfd, const char *name, struct file_handle *fh,
                      int *mnt_id, int flags)
{
    if (!name[0]) {
        atomic_fetch_add(&taken, 1);
        if (has_none) {
            errno = EOPNOTSUPP;
            return -1;
        }
    }
    return (int)syscall(SYS_name_to_handle_at, dfd, name, fh, mnt_id, flags);
}

static bool start(void)
{
    bool ok = mock_start_handles(&m, PLACES);

    atomic_store(&taken, 0);
    return ok;
}

static uint64_t make_dir(const char *name)
{
    struct fuse_mkdir_in in = { .mode = 0755 };

    CHECK_EQ(mock_named(&m, FUSE_MKDIR, ROOT, &in, sizeof(in), name, NULL), 0,
             name);
    return ((struct fuse_entry_out *)m.r->reply)->nodeid;
}

/* References to mounts: one for each node with a handle, or with a claim to
 * one, and the share's. */
static uint64_t mount_refs(void)
{
    uint64_t n = 0;

    for (size_t i = 0; i < PT_MOUNTS; i++)
        n += (uint32_t)atomic_load(&m.fs->nodes.mounts.m[i].word);
    return n;
}

static void a_short_lived_directory_needs_no_handle(void)
{
    uint64_t d;

    if (!start())
        return;
    d = make_dir("d");
    CHECK(mock_node_is_open(&m, d), "");
    CHECK_EQ(mock_find(&m, "d"), d, "found by its name");
    CHECK_EQ(mock_named(&m, FUSE_RMDIR, ROOT, NULL, 0, "d", NULL), 0, "");
    CHECK_EQ(mock_getattr(&m, d, NULL), 0, "as long as the guest knows it");
    mock_forget(&m, d, 2);
    CHECK_EQ(atomic_load(&taken), 0, "");
    CHECK_EQ(mock_count(&m).nodes, 1, "");
    CHECK_EQ(mock_count(&m).open, 0, "");
    CHECK_EQ(mount_refs(), 1, "");
    mock_stop(&m);
}

static void it_takes_its_handle_when_it_is_closed(void)
{
    struct pt_node *n;
    uint64_t d, f;

    if (!start())
        return;
    d = make_dir("d");
    mock_host_file(&m, "d/f", "text");
    mock_close_node(&m, d);
    CHECK_EQ(atomic_load(&taken), 1, "");
    CHECK_EQ(mount_refs(), 2, "");
    n = pt_node_get(&m.fs->nodes, d);
    CHECK(n->marks & PT_MARK_PROVEN, "it was told of the file itself");
    pt_node_put(&m.fs->nodes, n);
    CHECK_EQ(mock_find(&m, "d"), d, "known while it is closed");
    CHECK_EQ(mock_lookup(&m, d, "f", &f), 0, "opened by its handle");
    mock_close_node(&m, d);
    CHECK_EQ(atomic_load(&taken), 1, "once");
    CHECK_EQ(renameat(m.root_fd, "d", m.root_fd, "e"), 0, "");
    CHECK_EQ(mock_lookup(&m, d, "f", &f), 0, "whatever its name");
    mock_forget(&m, f, 2);
    mock_forget(&m, d, 2);
    CHECK_EQ(mock_count(&m).nodes, 1, "");
    CHECK_EQ(mount_refs(), 1, "");
    mock_stop(&m);
}

static void without_a_handle_it_stays_open(void)
{
    char name[16];
    uint64_t d, f;

    if (!start())
        return;
    d = make_dir("d");
    has_none = true;
    for (int i = 0; i < 10 * PLACES; i++) {
        snprintf(name, sizeof(name), "f%d", i);
        mock_host_file(&m, name, "");
        f = mock_find(&m, name);
        CHECK_EQ(mock_getattr(&m, f, NULL), 0, "its place is free again");
        mock_forget(&m, f, 1);
    }
    CHECK_EQ(atomic_load(&taken), 1, "asked for once");
    CHECK(mock_node_is_open(&m, d), "");
    CHECK_EQ(mount_refs(), 1, "the mount is not needed");
    CHECK_EQ(mock_find(&m, "d"), d, "");
    CHECK_EQ(rmdir(mock_path(&m, "d")), 0, "");
    CHECK_EQ(mock_getattr(&m, d, NULL), 0, "it is held");
    mock_forget(&m, d, 2);
    has_none = false;
    CHECK_EQ(mock_count(&m).nodes, 1, "");
    CHECK_EQ(mount_refs(), 1, "");
    mock_stop(&m);
}

/* A node that is closed may be of another file with the same number. */
static void it_is_not_taken_for_one_that_is_closed(void)
{
    struct pt_nodes *t;
    struct pt_key key;
    struct statx sx;
    uint64_t d, id;
    int fd;

    if (!start())
        return;
    t = &m.fs->nodes;
    d = make_dir("d");
    fd = open(mock_path(&m, "d"), O_PATH | O_CLOEXEC);
    CHECK_EQ(pt_statx(fd, "", &sx, &key), 0, "");
    mock_close_node(&m, d);
    CHECK(pt_mount_get(&t->mounts, key.mnt_id), "");
    CHECK_EQ(pt_node_insert_open(t, &key, S_IFDIR, fd, &id), -EAGAIN,
             "the handle tells");
    CHECK_EQ(mock_getattr(&m, d, NULL), 0, "");
    CHECK_EQ(pt_node_insert_open(t, &key, S_IFDIR, fd, &id), 0,
             "while it is open the number does");
    CHECK_EQ(id, d, "");
    CHECK_EQ(fcntl(fd, F_GETFD), -1, "the descriptor is not needed");
    mock_forget(&m, d, 2);
    CHECK_EQ(mock_count(&m).nodes, 1, "");
    CHECK_EQ(mount_refs(), 1, "");
    mock_stop(&m);
}

#define KEPT   (2 * PLACES / THREADS) /* more than there are places for */
#define ROUNDS 1000

static _Atomic uint64_t wrong;

struct made {
    uint64_t id;
    ino_t ino;
    char name[32];
};

static bool is_itself(const struct made *d)
{
    struct pt_node *n;
    struct stat st;
    bool ok;

    if (pt_node_pin(m.fs, d->id, &n) < 0)
        return false;
    ok = pt_fstat(n->fd, &st) == 0 && st.st_ino == d->ino;
    pt_node_put(&m.fs->nodes, n);
    return ok;
}

static bool make_one(struct made *d, unsigned int thread, int i)
{
    struct fuse_entry_out ent;
    struct pt_node *root;
    int ret;

    snprintf(d->name, sizeof(d->name), "t%u-%d", thread, i);
    if (mkdirat(m.root_fd, d->name, 0700) < 0 ||
        pt_node_pin(m.fs, ROOT, &root) < 0)
        return false;
    ret = pt_lookup_open(m.fs, root, d->name, &ent);
    pt_node_put(&m.fs->nodes, root);
    d->id = ent.nodeid;
    d->ino = ent.attr.ino;
    return ret == 0;
}

static void remove_one(const struct made *d)
{
    if (!d->id)
        return;
    if (!is_itself(d) || unlinkat(m.root_fd, d->name, AT_REMOVEDIR) < 0)
        atomic_fetch_add(&wrong, 1);
    pt_node_forget(&m.fs->nodes, d->id, 1);
}

static void *make_and_remove(void *arg)
{
    struct made kept[KEPT] = { 0 };

    for (int i = 0; i < ROUNDS; i++) {
        struct made *d = &kept[i % KEPT];

        remove_one(d);
        if (!make_one(d, *(unsigned int *)arg, i) || !is_itself(d))
            atomic_fetch_add(&wrong, 1);
    }
    for (int i = 0; i < KEPT; i++)
        remove_one(&kept[i]);
    return NULL;
}

static void many_are_made_closed_and_removed_at_once(void)
{
    unsigned int number[THREADS];
    pthread_t thread[THREADS];

    if (!start())
        return;
    for (unsigned int i = 0; i < THREADS; i++) {
        number[i] = i;
        pthread_create(&thread[i], NULL, make_and_remove, &number[i]);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    CHECK_EQ(atomic_load(&wrong), 0, "a node is itself");
    CHECK(atomic_load(&taken) > ROUNDS, "they were closed");
    CHECK_EQ(mock_count(&m).nodes, 1, "");
    CHECK_EQ(mock_count(&m).open, 0, "");
    CHECK_EQ(mount_refs(), 1, "");
    mock_stop(&m);
}

TAP_MAIN(TEST(a_short_lived_directory_needs_no_handle),
         TEST(it_takes_its_handle_when_it_is_closed),
         TEST(without_a_handle_it_stays_open),
         TEST(it_is_not_taken_for_one_that_is_closed),
         TEST(many_are_made_closed_and_removed_at_once))
