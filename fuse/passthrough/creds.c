/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fuse/passthrough/pt_i.h"
#include "virtiofsd/base/log.h"

/*
 * Credentials are the thread's own for the kernel; glibc's wrappers would
 * change those of every thread.  Only the effective ids move: real and saved
 * stay ours, so the way back is always open, and the permitted capabilities
 * are kept.  Supplementary groups were dropped when the sandbox was entered.
 */
#define KEEP ((uid_t)-1)

struct switched {
    bool uid, gid;
};

static int set_euid(uid_t uid)
{
    return syscall(SYS_setresuid, KEEP, uid, KEEP) < 0 ? -errno : 0;
}

static int set_egid(gid_t gid)
{
    return syscall(SYS_setresgid, KEEP, gid, KEEP) < 0 ? -errno : 0;
}

/* An id of -1 would mean "leave it": the file would be ours. */
static int host_ids(fuse_req_t req, uid_t *uid, gid_t *gid)
{
    const struct pt_fs *fs = pt_fs_of(req);
    const struct fuse_ctx *ctx = fuse_req_ctx(req);

    if (idmap_to_host(&fs->opts.uid_map, ctx->uid, uid) < 0 ||
        idmap_to_host(&fs->opts.gid_map, ctx->gid, gid) < 0 || *uid == KEEP ||
        *gid == KEEP)
        return -EPERM;
    return 0;
}

/* Serving a request as anybody but its caller or ourselves is no option. */
static void leave(const struct pt_fs *fs, const struct switched *sw)
{
    int ret = 0;

    if (sw->uid)
        ret = set_euid(fs->uid);
    BUG_ON(ret < 0);
    if (sw->gid)
        ret = set_egid(fs->gid);
    BUG_ON(ret < 0);
}

/* The gid goes first: without uid 0 it could not be changed any more. */
static int enter(const struct pt_fs *fs, uid_t uid, gid_t gid,
                 struct switched *sw)
{
    *sw = (struct switched){ false, false };
    if (gid != 0 && gid != fs->gid) {
        if (set_egid(gid) < 0)
            return -EPERM;
        sw->gid = true;
    }
    if (uid != 0 && uid != fs->uid) {
        if (set_euid(uid) < 0) {
            leave(fs, sw);
            return -EPERM;
        }
        sw->uid = true;
    }
    return 0;
}

/*
 * Leaving uid 0 emptied the effective set; take CAP_DAC_OVERRIDE back from
 * the permitted one.  Returning to uid 0 makes the effective set whole.
 */
static bool raise_dac_override(void)
{
    struct __user_cap_header_struct hdr = {
        .version = _LINUX_CAPABILITY_VERSION_3,
    };
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
    uint32_t bit = CAP_TO_MASK(CAP_DAC_OVERRIDE);

    if (syscall(SYS_capget, &hdr, data) < 0)
        return false;
    if (!(data[CAP_TO_INDEX(CAP_DAC_OVERRIDE)].permitted & bit))
        return false;
    data[CAP_TO_INDEX(CAP_DAC_OVERRIDE)].effective |= bit;
    return syscall(SYS_capset, &hdr, data) == 0;
}

int pt_run_as_caller(fuse_req_t req, bool raise, int (*fn)(void *), void *arg)
{
    const struct pt_fs *fs = pt_fs_of(req);
    struct switched sw;
    uid_t uid;
    gid_t gid;
    int ret;

    ret = host_ids(req, &uid, &gid);
    if (ret < 0)
        return ret;
    ret = enter(fs, uid, gid, &sw);
    if (ret < 0)
        return ret;
    ret = fn(arg);
    if (ret == -EACCES && raise && sw.uid && fs->uid == 0 &&
        raise_dac_override())
        ret = fn(arg);
    leave(fs, &sw);
    return ret;
}
