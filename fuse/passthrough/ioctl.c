/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The ioctls by which lsattr(1), chattr(1) and project quota tools work,
 * behind --inode-flags.  No other ioctl is ever made for a guest: what a
 * number means depends on the host's file system.
 */
#include <errno.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>

#include "fuse/passthrough/pt_i.h"
#include "fuse/proto.h"

union inode_attr {
    unsigned int flags; /* as all file systems have it, not a long */
    struct fsxattr x;
};

static const struct {
    unsigned long cmd;
    size_t bytes;
    bool sets;
} known[] = {
    { FS_IOC_GETFLAGS, sizeof(unsigned int), false },
    { FS_IOC_SETFLAGS, sizeof(unsigned int), true },
    { FS_IOC_FSGETXATTR, sizeof(struct fsxattr), false },
    { FS_IOC_FSSETXATTR, sizeof(struct fsxattr), true },
};

static int find(unsigned int cmd)
{
    for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
        if (known[i].cmd == cmd)
            return (int)i;
    }
    return -ENOTTY;
}

/* @a: in, what to set; out, what was got. */
static int run(struct pt_fs *fs, uint64_t fh, bool dir, unsigned long cmd,
               union inode_attr *a)
{
    struct pt_handle *h =
        pt_handle_get(&fs->handles, fh, dir ? PT_HANDLE_DIR : PT_HANDLE_FILE);
    int ret;

    if (!h)
        return -EBADF;
    ret = ioctl(h->fd, cmd, a) < 0 ? -errno : 0;
    pt_handle_put(&fs->handles, h);
    return ret;
}

/* @in_len was checked against the message's size by validate.c. */
void pt_op_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned int cmd, void *arg,
                 struct fuse_file_info *fi, unsigned int flags, const void *in,
                 size_t in_len, size_t out_len)
{
    struct pt_fs *fs = pt_fs_of(req);
    union inode_attr a;
    int i, ret;

    (void)ino;
    (void)arg;
    if (!fs->opts.inode_flags) {
        fuse_reply_err(req, ENOSYS); /* the guest does not ask again */
        return;
    }
    i = find(cmd);
    if (i < 0) {
        fuse_reply_err(req, -i);
        return;
    }
    if (known[i].sets && pt_refuse_change(req))
        return;
    if ((known[i].sets ? in_len : out_len) < known[i].bytes) {
        fuse_reply_err(req, EINVAL);
        return;
    }
    memset(&a, 0, sizeof(a));
    if (known[i].sets)
        memcpy(&a, in, known[i].bytes);
    ret = run(fs, fi->fh, flags & FUSE_IOCTL_DIR, known[i].cmd, &a);
    if (ret < 0)
        fuse_reply_err(req, -ret);
    else
        fuse_reply_ioctl(req, 0, &a, known[i].sets ? 0 : known[i].bytes);
}
