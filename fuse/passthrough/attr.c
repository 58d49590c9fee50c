/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "fuse/passthrough/pt_i.h"
#include "fuse/request.h"
#include "virtiofsd/base/fd.h"

#ifndef STATX_MNT_ID
#define STATX_MNT_ID 0x1000U
#endif

/* Which file this is, as far as statx(2) tells. */
static void to_key(const struct statx *sx, struct pt_key *key)
{
    uint64_t birth;

    key->ino = sx->stx_ino;
    key->dev = sx->stx_dev_major << 20 | sx->stx_dev_minor;
    key->mnt_id = sx->stx_mask & STATX_MNT_ID ? (uint32_t)sx->stx_mnt_id : 0;
    key->birth = 0;
    if (sx->stx_mask & STATX_BTIME) {
        birth = (uint64_t)sx->stx_btime.tv_sec * 1000000000u +
                sx->stx_btime.tv_nsec;
        birth *= 0x9e3779b97f4a7c15u;
        key->birth = (uint32_t)(birth >> 32) | 1;
    }
}

int pt_statx(int fd, const char *name, struct statx *sx, struct pt_key *key)
{
    if (statx(fd, name,
              AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT |
                  AT_STATX_SYNC_AS_STAT,
              STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID, sx) < 0)
        return -errno;
    to_key(sx, key);
    return 0;
}

static void fill_attr_out(const struct pt_fs *fs, const struct stat *st,
                          struct fuse_attr_out *out)
{
    out->attr_valid = fs->attr_valid.s;
    out->attr_valid_nsec = fs->attr_valid.ns;
    out->dummy = 0;
    pt_attr_of_stat(fs, st, &out->attr);
}

int pt_raw_getattr(struct pt_fs *fs, struct request *r)
{
    const struct fuse_getattr_in *in = request_args(r, NULL);
    uint64_t fh = in->getattr_flags & FUSE_GETATTR_FH ? in->fh : 0;
    struct fuse_attr_out out;
    struct pt_grip g;
    struct stat st;
    int ret = pt_grip(fs, request_header(r)->nodeid, fh, &g);

    if (ret < 0)
        return ret;
    ret = pt_fstat(g.fd, &st);
    pt_grip_put(fs, &g);
    if (ret < 0)
        return ret;
    fill_attr_out(fs, &st, &out);
    request_reply(r, &out, sizeof(out));
    return 0;
}

/* The host's id for one to be set.  -1 is none: the kernel would take it for
 * "leave it" and the guest would be told that it has been set. */
static int new_owner(const struct idmap *map, uint32_t guest, uint32_t *id)
{
    int ret = idmap_to_host(map, guest, id);

    return ret == 0 && *id == (uint32_t)-1 ? -EINVAL : ret;
}

/*
 * The host's kernel clears set-id bits here in any case, but for that of the
 * group where the group may not execute: CAP_FSETID decides about this one.
 * With HANDLE_KILLPRIV_V2 the request says "kill" whoever asks.
 */
static int set_owner(const struct pt_fs *fs, const struct request *r,
                     const struct pt_grip *g, const struct fuse_setattr_in *in)
{
    uid_t uid = (uid_t)-1;
    gid_t gid = (gid_t)-1;
    int ret = 0;

    if (in->valid & FATTR_UID)
        ret = new_owner(&fs->opts.uid_map, in->uid, &uid);
    if (ret == 0 && (in->valid & FATTR_GID))
        ret = new_owner(&fs->opts.gid_map, in->gid, &gid);
    if (ret == 0)
        ret = pt_keep_set_ids(!request_ext(r)->kill_suidgid ||
                              request_header(r)->uid == 0);
    if (ret == 0 && S_ISREG(g->type))
        ret = pt_drop_caps(fs, g->fd);
    if (ret < 0)
        return ret;
    if (fchownat(g->fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) == 0)
        return 0;
    /* An id which our user namespace does not hold; what that means is that
     * we may not give files to it. */
    return errno == EINVAL ? -EPERM : -errno;
}

static int set_size(struct pt_fs *fs, const struct request *r,
                    const struct pt_grip *g, const struct fuse_setattr_in *in)
{
    struct pt_handle *h = NULL;
    auto_fd own = -1;
    int fd, ret;

    if (!S_ISREG(g->type))
        return S_ISDIR(g->type) ? -EISDIR : -EINVAL;
    ret = pt_keep_set_ids(!request_ext(r)->kill_suidgid);
    if (ret == 0)
        ret = pt_drop_caps(fs, g->fd);
    if (ret < 0)
        return ret;
    if (in->valid & FATTR_FH) {
        h = pt_handle_get(&fs->handles, in->fh, PT_HANDLE_FILE);
        if (!h)
            return -EBADF;
        fd = h->fd;
    } else {
        own = pt_reopen(fs, g->fd, g->type, O_WRONLY);
        if (own < 0)
            return own;
        fd = own;
    }
    ret = ftruncate(fd, (off_t)in->size) < 0 ? -errno : 0;
    if (h)
        pt_handle_put(&fs->handles, h);
    return ret;
}

static struct timespec new_time(uint64_t s, uint32_t ns, bool set, bool now)
{
    if (now)
        return (struct timespec){ .tv_nsec = UTIME_NOW };
    if (!set)
        return (struct timespec){ .tv_nsec = UTIME_OMIT };
    return (struct timespec){ .tv_sec = (time_t)s, .tv_nsec = ns };
}

/* The guest could hide UTIME_NOW or UTIME_OMIT in the nanoseconds; the
 * kernel takes these or a time, nothing else, so nothing is gained by it. */
static int set_times(const struct pt_fs *fs, const struct pt_grip *g,
                     const struct fuse_setattr_in *in)
{
    struct timespec ts[2] = {
        new_time(in->atime, in->atimensec, in->valid & FATTR_ATIME,
                 in->valid & FATTR_ATIME_NOW),
        new_time(in->mtime, in->mtimensec, in->valid & FATTR_MTIME,
                 in->valid & FATTR_MTIME_NOW),
    };

    int ret = g->h ? futimens(g->fd, ts)
                   : utimensat(fs->proc_fd, pt_proc_name(g->fd).s, ts, 0);

    return ret < 0 ? -errno : 0;
}

/* A symbolic link has none, whatever old kernels make of it. */
static int set_mode(const struct pt_fs *fs, const struct pt_grip *g,
                    mode_t mode)
{
    int ret = S_ISLNK(g->type) ? -EOPNOTSUPP : pt_keep_set_ids(true);

    if (ret < 0)
        return ret;
    mode &= 07777;
    ret = g->h ? fchmod(g->fd, mode)
               : fchmodat(fs->proc_fd, pt_proc_name(g->fd).s, mode, 0);
    return ret < 0 ? -errno : 0;
}

#define FATTR_TIMES                                                            \
    (FATTR_ATIME | FATTR_ATIME_NOW | FATTR_MTIME | FATTR_MTIME_NOW)

/* The mode behind owner and size: changing these clears the set-id bits, and
 * the mode which the guest asked for is the one it shall end with. */
static int apply(struct pt_fs *fs, const struct request *r,
                 const struct pt_grip *g, const struct fuse_setattr_in *in)
{
    int ret = 0;

    if (in->valid & (FATTR_UID | FATTR_GID))
        ret = set_owner(fs, r, g, in);
    if (ret == 0 && (in->valid & FATTR_SIZE))
        ret = set_size(fs, r, g, in);
    if (ret == 0 && (in->valid & FATTR_MODE))
        ret = set_mode(fs, g, in->mode);
    if (ret == 0 && (in->valid & FATTR_TIMES))
        ret = set_times(fs, g, in);
    return ret;
}

int pt_raw_setattr(struct pt_fs *fs, struct request *r)
{
    const struct fuse_setattr_in *in = request_args(r, NULL);
    uint64_t fh = in->valid & FATTR_FH ? in->fh : 0;
    struct fuse_attr_out out;
    struct pt_grip g;
    struct stat st;
    int ret;

    if (fs->opts.readonly)
        return -EROFS;
    ret = pt_grip(fs, request_header(r)->nodeid, fh, &g);
    if (ret < 0)
        return ret;
    ret = apply(fs, r, &g, in);
    if (ret == 0)
        ret = pt_fstat(g.fd, &st);
    pt_grip_put(fs, &g);
    if (ret < 0)
        return ret;
    fill_attr_out(fs, &st, &out);
    request_reply(r, &out, sizeof(out));
    return 0;
}

int pt_raw_statfs(struct pt_fs *fs, struct request *r)
{
    struct fuse_statfs_out out;
    struct statvfs sv;
    struct pt_node *n;
    int ret = pt_node_pin(fs, request_header(r)->nodeid, &n);

    if (ret < 0)
        return ret;
    ret = fstatvfs(n->fd, &sv) < 0 ? -errno : 0;
    pt_node_put(&fs->nodes, n);
    if (ret < 0)
        return ret;
    out.st = (struct fuse_kstatfs){
        .blocks = sv.f_blocks,
        .bfree = sv.f_bfree,
        .bavail = sv.f_bavail,
        .files = sv.f_files,
        .ffree = sv.f_ffree,
        .bsize = (uint32_t)sv.f_bsize,
        .namelen = (uint32_t)sv.f_namemax,
        .frsize = (uint32_t)sv.f_frsize,
    };
    request_reply(r, &out, sizeof(out));
    return 0;
}

/* By the mode bits alone: we know neither the caller's other groups nor its
 * capabilities.  Linux does this check itself (default_permissions) and asks
 * nothing. */
static int check_access(const struct fuse_attr *a,
                        const struct fuse_in_header *h, uint32_t mask)
{
    mode_t bits;

    if (h->uid == 0) {
        if ((mask & X_OK) && !S_ISDIR(a->mode) && !(a->mode & 0111))
            return -EACCES;
        return 0;
    }
    if (a->uid == h->uid)
        bits = a->mode >> 6;
    else if (a->gid == h->gid)
        bits = a->mode >> 3;
    else
        bits = a->mode;
    return mask & ~bits & 7 ? -EACCES : 0;
}

int pt_raw_access(struct pt_fs *fs, struct request *r)
{
    const struct fuse_access_in *in = request_args(r, NULL);
    struct fuse_attr attr;
    struct pt_node *n;
    struct stat st;
    int ret = pt_node_pin(fs, request_header(r)->nodeid, &n);

    if (ret < 0)
        return ret;
    ret = pt_fstat(n->fd, &st);
    pt_node_put(&fs->nodes, n);
    if (ret < 0)
        return ret;
    if ((in->mask & W_OK) && fs->opts.readonly)
        return -EROFS;
    pt_attr_of_stat(fs, &st, &attr);
    ret = check_access(&attr, request_header(r), in->mask);
    if (ret == 0)
        request_reply_err(r, 0);
    return ret;
}
