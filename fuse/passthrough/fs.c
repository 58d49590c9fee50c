/* SPDX-License-Identifier: BSD-3-Clause */
/* The life of a share, and the small tools which every operation uses. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "fuse/passthrough/nodefd.h"
#include "fuse/passthrough/pt_i.h"
#include "virtiofsd/base/log.h"
#include "virtiofsd/base/sys.h"

/* Descriptors left to ourselves, whatever the guest does: an eighth of all,
 * within these bounds. */
#define OWN_FDS_MIN 32
#define OWN_FDS_MAX 512

/* Nodes with handles that are open at a time, when the limit of descriptors
 * would allow more: each holds a struct file, a dentry and an inode on the
 * host, about 1.5 kB. */
#define NODE_FDS_MAX 32768
#define NODE_FDS_MIN 16

static double mode_timeout_s(enum pt_cache cache)
{
    switch (cache) {
    case PT_CACHE_AUTO:
        return 1;
    case PT_CACHE_ALWAYS:
    case PT_CACHE_METADATA:
        return 86400;
    case PT_CACHE_NEVER:
        return 0;
    }
    return 0;
}

/*
 * The guest makes file handles of a node's id and generation, for NFS clients
 * and into the attributes of an overlay, and those outlive it.  Ids start anew
 * with every life: without another generation a handle of the last life would
 * find whatever file has its id in this one.
 */
static uint32_t new_generation(uint32_t old)
{
    uint32_t fresh = 0;

    if (getrandom(&fresh, sizeof(fresh), GRND_NONBLOCK) != sizeof(fresh))
        fresh = old + (uint32_t)time(NULL);
    /* 0 is what submounts have, see pt_entry_fill(). */
    return fresh && fresh != old ? fresh : old + 1 ? old + 1 : 1;
}

static int clamp(int n, int min, int max)
{
    return n < min ? min : MIN(n, max);
}

static void share_out_fds(struct pt_fs *fs)
{
    struct rlimit lim;
    int all = INT_MAX, own;

    if (getrlimit(RLIMIT_NOFILE, &lim) == 0 && lim.rlim_cur < INT_MAX)
        all = (int)lim.rlim_cur;
    own = clamp(all / 8, OWN_FDS_MIN, OWN_FDS_MAX);
    fs->nodes.fd_max = MAX(all - own, all / 2);
    if (!fs->opts.node_fds)
        fs->opts.node_fds =
            (uint32_t)clamp(fs->nodes.fd_max / 2, NODE_FDS_MIN, NODE_FDS_MAX);
}

/* The share holds a reference to its own mount. */
static int use_handles(struct pt_fs *fs, int root_fd, const struct pt_key *key,
                       mode_t type)
{
    struct pt_fh fh;
    uint32_t mnt_id;
    int ret;

    ret = pt_fh_get(root_fd, "", &fh, &mnt_id);
    if (ret == 0 && mnt_id != key->mnt_id)
        ret = -EOPNOTSUPP;
    if (ret == 0)
        ret = pt_mount_learn(&fs->nodes.mounts, mnt_id, root_fd, type,
                             fs->proc_fd, &fh, true);
    if (ret < 0)
        return ret;
    ret = pt_ring_init(&fs->nodes.ring, fs->opts.node_fds);
    if (ret < 0)
        pt_mount_put(&fs->nodes.mounts, mnt_id);
    return ret;
}

/*
 * File handles where they are wanted and can be had.  Where not, the
 * capability is of no use to us, only to somebody who took us over.
 */
static int choose_handles(struct pt_fs *fs, int root_fd,
                          const struct pt_key *key, mode_t type)
{
    int ret;

    if (fs->opts.file_handles == PT_HANDLES_NEVER)
        return 0;
    ret = use_handles(fs, root_fd, key, type);
    if (ret == 0) {
        log_info("fuse: files are known by file handles, %u of them open at a "
                 "time",
                 fs->opts.node_fds);
        return 0;
    }
    if (fs->opts.file_handles == PT_HANDLES_MANDATORY) {
        log_err("fuse: --inode-file-handles=mandatory: no file handles here: "
                "%s%s; use prefer",
                strerror(-ret),
                ret == -EPERM ? " (it takes root and CAP_DAC_READ_SEARCH)"
                              : "");
        return ret;
    }
    log_info("fuse: no file handles here: %s; each file that the guest knows "
             "takes a descriptor",
             strerror(-ret));
    pt_drop_capability(CAP_DAC_READ_SEARCH);
    return 0;
}

int pt_fs_create(const struct pt_opts *opts, int root_fd, int proc_fd,
                 struct pt_fs **out)
{
    double timeout_s = mode_timeout_s(opts->cache);
    struct pt_fs *fs;
    struct pt_key key;
    struct statx sx;
    int ret;

    ret = pt_statx(root_fd, "", &sx, &key);
    if (ret < 0)
        return ret;
    fs = aligned_alloc(_Alignof(struct pt_fs), sizeof(*fs));
    if (!fs)
        return -ENOMEM;
    memset(fs, 0, sizeof(*fs));
    fs->opts = *opts;
    fs->proc_fd = proc_fd;
    pt_caps_init(fs);
    fs->uid = geteuid();
    fs->gid = getegid();
    fs->attr_valid =
        pt_valid(opts->attr_timeout_s < 0 ? timeout_s : opts->attr_timeout_s);
    fs->entry_valid =
        pt_valid(opts->entry_timeout_s < 0 ? timeout_s : opts->entry_timeout_s);
    fs->negative_valid = pt_valid(opts->negative_timeout_s);
    ret = pt_export_init(fs);
    if (ret < 0)
        goto fail_fs;
    ret = pt_nodes_init(&fs->nodes, &key, sx.stx_mode, root_fd);
    if (ret < 0)
        goto fail_export;
    share_out_fds(fs);
    ret = choose_handles(fs, root_fd, &key, sx.stx_mode);
    if (ret < 0)
        goto fail_nodes;
    pt_table_init(&fs->handles, sizeof(struct pt_handle));
    fs->generation = new_generation(0);
    pt_locks_init(fs);
    /* The guest's kernel has applied the caller's umask already. */
    umask(0);
    *out = fs;
    return 0;

fail_nodes:
    pt_nodes_fini(&fs->nodes);
fail_export:
    pt_export_fini(fs);
fail_fs:
    free(fs);
    return ret;
}

void pt_fs_reset(struct pt_fs *fs)
{
    pt_locks_reset(fs);
    pt_handles_reset(&fs->handles);
    pt_export_reset(fs);
    pt_nodes_reset(&fs->nodes);
    fs->generation = new_generation(fs->generation);
}

bool pt_fs_stop(struct pt_fs *fs)
{
    return pt_waits_fini(&fs->locks.waits);
}

void pt_fs_destroy(struct pt_fs *fs)
{
    if (!fs)
        return;
    pt_owners_fini(&fs->locks.owners);
    pt_handles_reset(&fs->handles);
    pt_table_fini(&fs->handles);
    pt_nodes_fini(&fs->nodes);
    pt_export_fini(fs);
    free(fs);
}

void pt_fs_count(struct pt_fs *fs, struct pt_fs_counts *out)
{
    struct pt_node *n;
    uint32_t idx = PT_ROOT_ID;

    out->nodes = pt_table_count(&fs->nodes.table);
    out->handles = pt_table_count(&fs->handles);
    out->lock_owners = pt_owners_count(&fs->locks.owners);
    out->lock_waits = pt_waits_count(&fs->locks.waits);
    out->by_handle = fs->nodes.ring.n > 0;
    out->open = 0;
    while ((n = pt_table_next(&fs->nodes.table, &idx))) {
        out->open += n->fd >= 0;
        pt_node_put(&fs->nodes, n);
    }
}

struct pt_proc_name pt_proc_name(int fd)
{
    struct pt_proc_name name;
    unsigned int v = (unsigned int)fd;
    char digits[sizeof(name.s)];
    size_t n = 0, i = 0;

    do {
        digits[n++] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    while (n)
        name.s[i++] = digits[--n];
    name.s[i] = '\0';
    return name;
}

int pt_name_check(const char *name)
{
    if (name[0] == '\0' || strchr(name, '/'))
        return -EINVAL;
    if (!strcmp(name, ".") || !strcmp(name, ".."))
        return -EINVAL;
    return 0;
}

int pt_change_check(const struct pt_fs *fs, const char *name)
{
    return fs->opts.readonly ? -EROFS : pt_name_check(name);
}

int pt_node_pin(struct pt_fs *fs, uint64_t id, struct pt_node **n)
{
    int ret;

    *n = pt_node_get(&fs->nodes, id);
    if (!*n)
        return -ESTALE;
    if (likely(pt_node_is_open(*n)))
        return 0;
    ret = pt_node_open(&fs->nodes, *n);
    if (ret < 0)
        pt_node_put(&fs->nodes, *n);
    return ret;
}

int pt_node_pin_two(struct pt_fs *fs, uint64_t a_id, struct pt_node **a,
                    uint64_t b_id, struct pt_node **b)
{
    int ret = pt_node_pin(fs, a_id, a);

    if (ret < 0)
        return ret;
    ret = pt_node_pin(fs, b_id, b);
    if (ret < 0)
        pt_node_put(&fs->nodes, *a);
    return ret;
}

bool pt_refuse_change(fuse_req_t req)
{
    if (!pt_fs_of(req)->opts.readonly)
        return false;
    fuse_reply_err(req, EROFS);
    return true;
}

int pt_fstat(int fd, struct stat *st)
{
#if defined(__x86_64__) && defined(__LP64__)
    /* glibc up to 2.40 turns fstat() into a path look-up of "". */
    if (syscall(SYS_fstat, fd, st) < 0)
        return -errno;
#else
    if (fstat(fd, st) < 0)
        return -errno;
#endif
    return 0;
}

static int open_error(mode_t type)
{
    switch (type & S_IFMT) {
    case S_IFREG:
    case S_IFDIR:
        return 0;
    case S_IFLNK:
        return -ELOOP;
    default:
        /* A fifo would block, a device would act. */
        return -ENXIO;
    }
}

int pt_reopen(struct pt_fs *fs, int fd, mode_t type, int flags)
{
    int ret = open_error(type);

    if (ret < 0)
        return ret;
    if (S_ISDIR(type)) {
        if ((flags & O_ACCMODE) != O_RDONLY)
            return -EISDIR;
        ret = sys_openat(fd, ".", flags | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
                         0);
    } else {
        ret = sys_openat(fs->proc_fd, pt_proc_name(fd).s,
                         (flags & ~O_NOFOLLOW) | O_CLOEXEC, 0);
    }
    return pt_fd_admit(&fs->nodes, ret < 0 ? -errno : ret);
}
