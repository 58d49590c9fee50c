/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * For a guest that exports the share over NFS (--nfs-export).  Linux turns a
 * file handle into an inode by the node's id: when it does not know the node
 * any more it looks "." up there, and ".." to find out where a directory is.
 * So the nodes that were forgotten last stay for a while.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "fuse/passthrough/nodefd.h"
#include "fuse/passthrough/pt_i.h"
#include "virtiofsd/base/fd.h"

#define LINGER_MAX 16384u
/* Of the descriptors that we may have, since each node can hold one. */
#define LINGER_SHARE 4
/* Longer than any path that a guest could have walked down in sensible time;
 * the host may be moving directories while we climb. */
#define DEPTH_MAX 4096

int pt_export_init(struct pt_fs *fs)
{
    struct rlimit limit = { .rlim_cur = 1024 };
    struct pt_linger *l = &fs->linger;

    if (!fs->opts.nfs_export)
        return 0;
    getrlimit(RLIMIT_NOFILE, &limit);
    l->n = (uint32_t)MIN((rlim_t)LINGER_MAX, limit.rlim_cur / LINGER_SHARE);
    l->n = MAX(l->n, 1u);
    l->id = calloc(l->n, sizeof(*l->id));
    return l->id ? 0 : -ENOMEM;
}

void pt_export_reset(struct pt_fs *fs)
{
    for (uint32_t i = 0; i < fs->linger.n; i++)
        atomic_store_explicit(&fs->linger.id[i], 0, memory_order_relaxed);
}

void pt_export_fini(struct pt_fs *fs)
{
    free(fs->linger.id);
}

static bool exported(const struct pt_fs *fs)
{
    return fs->agreed & FUSE_EXPORT_SUPPORT;
}

/* The file of a lookup to be given back has no name any more: nobody will ask
 * for it again, and its space on the host should be free. */
static bool is_deleted(struct pt_fs *fs, uint64_t id)
{
    struct pt_node *n = pt_node_get(&fs->nodes, id);
    struct stat st;
    bool gone;

    if (!n)
        return true;
    /* One that is closed holds nothing on the host. */
    gone = pt_node_is_open(n) && pt_fstat(n->fd, &st) == 0 && st.st_nlink == 0;
    pt_node_put(&fs->nodes, n);
    return gone;
}

/* Give back all that is held back of @id. */
static void drop(struct pt_fs *fs, uint64_t id)
{
    for (uint32_t i = 0; i < fs->linger.n; i++) {
        uint64_t was = id;

        if (atomic_load_explicit(&fs->linger.id[i], memory_order_relaxed) ==
                id &&
            atomic_compare_exchange_strong(&fs->linger.id[i], &was, 0))
            pt_node_forget(&fs->nodes, id, 1);
    }
}

/*
 * One lookup of each message is given back later, when as many others have
 * come after it: the sum stays what the guest says.
 */
void pt_forget(struct pt_fs *fs, uint64_t id, uint64_t count)
{
    struct pt_linger *l = &fs->linger;
    uint32_t at;

    if (!exported(fs) || !count || id == PT_ROOT_ID) {
        pt_node_forget(&fs->nodes, id, count);
        return;
    }
    if (is_deleted(fs, id)) {
        pt_node_forget(&fs->nodes, id, count);
        drop(fs, id);
        return;
    }
    if (count > 1)
        pt_node_forget(&fs->nodes, id, count - 1);
    at = atomic_fetch_add_explicit(&l->next, 1, memory_order_relaxed) % l->n;
    id = atomic_exchange(&l->id[at], id);
    if (id)
        pt_node_forget(&fs->nodes, id, 1);
}

static bool same_mount(const struct pt_key *a, const struct pt_key *b)
{
    return a->dev == b->dev && a->mnt_id == b->mnt_id;
}

static bool same_place(const struct pt_key *a, const struct pt_key *b)
{
    return a->ino == b->ino && same_mount(a, b);
}

static int open_up(int fd, struct pt_key *key)
{
    auto_fd up =
        openat(fd, "..", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct statx sx;
    int ret;

    /* The kernel's word for a directory moved out of its mount's root. */
    if (up < 0)
        return errno == ENOENT ? -ESTALE : -errno;
    ret = pt_statx(up, "", &sx, key);
    return ret < 0 ? ret : take_fd(&up);
}

/*
 * A directory that the host has moved out of the share is known to the guest
 * for as long as it holds it, but must not lead it further: what is above it
 * is the guest's business only when the root is above that.
 */
static int check_inside(int fd, struct pt_key key, const struct pt_key *root)
{
    auto_fd at = -1;

    for (int depth = 0; depth < DEPTH_MAX; depth++) {
        struct pt_key above;
        int up;

        if (same_place(&key, root))
            return 0;
        up = open_up(at < 0 ? fd : at, &above);
        if (up < 0)
            return -ESTALE;
        fd_close(&at);
        at = up;
        if (same_place(&above, &key))
            return -ESTALE; /* the host's own root */
        key = above;
    }
    return -ESTALE;
}

static int lookup_self(struct pt_fs *fs, struct pt_node *n,
                       struct fuse_entry_out *out)
{
    struct pt_key key;
    struct statx sx;
    int ret = pt_statx(n->fd, "", &sx, &key);

    if (ret == 0 && sx.stx_nlink == 0)
        ret = -ESTALE;
    if (ret == 0)
        ret = pt_node_add_lookup(&fs->nodes, n);
    if (ret < 0)
        return ret;
    pt_entry_fill(fs, &n->key, &n->key, pt_slot_id(&n->slot), &sx, out);
    /* Linux made its root inode itself. */
    if (n->slot.idx == PT_ROOT_ID)
        out->generation = 0;
    return 0;
}

/* The guest's own mounts end where they are announced, so there is nothing
 * above the root of one. */
static int lookup_above(struct pt_fs *fs, struct pt_node *n,
                        struct pt_node *root, struct fuse_entry_out *out)
{
    bool announced = fs->agreed & FUSE_SUBMOUNTS;
    auto_fd fd = -1, up = -1;
    struct pt_key key, above;
    int ret;

    fd = open_up(n->fd, &key);
    if (fd < 0)
        return fd;
    if (announced && !same_mount(&key, &n->key))
        return -ESTALE;
    if (same_place(&key, &root->key))
        return lookup_self(fs, root, out);
    ret = check_inside(fd, key, &root->key);
    if (ret < 0)
        return ret;
    up = open_up(fd, &above);
    if (up < 0)
        return up;
    ret = pt_lookup_fd(fs, n, take_fd(&fd), out);
    /* As pt_entry_fill() does for the mount point. */
    if (ret == 0 && announced && !same_mount(&key, &above))
        out->generation = 0;
    return ret;
}

static int lookup_parent(struct pt_fs *fs, struct pt_node *n,
                         struct fuse_entry_out *out)
{
    struct pt_node *root;
    int ret;

    if (!S_ISDIR(n->type))
        return -ENOTDIR;
    if (n->slot.idx == PT_ROOT_ID)
        return lookup_self(fs, n, out);
    ret = pt_node_pin(fs, PT_ROOT_ID, &root);
    if (ret < 0)
        return ret;
    ret = lookup_above(fs, n, root, out);
    pt_node_put(&fs->nodes, root);
    return ret;
}

bool pt_is_exported(const struct pt_fs *fs, const char *name)
{
    return unlikely(exported(fs)) && name[0] == '.' &&
           (!strcmp(name, ".") || !strcmp(name, ".."));
}

int pt_export_lookup(struct pt_fs *fs, struct pt_node *n, const char *name,
                     struct fuse_entry_out *out)
{
    return name[1] ? lookup_parent(fs, n, out) : lookup_self(fs, n, out);
}
