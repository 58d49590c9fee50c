/* SPDX-License-Identifier: BSD-3-Clause */
/* As whom a request acts: ids, groups, umask and CAP_FSETID of the thread. */
#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fuse/passthrough/pt_i.h"
#include "fuse/request.h"
#include "virtiofsd/base/log.h"

/*
 * Credentials are the thread's own for the kernel; glibc's wrappers would
 * change those of every thread.  Only the effective ids move: real and saved
 * stay ours, so the way back is always open, and the permitted capabilities
 * are kept.  Supplementary groups were dropped when the sandbox was entered.
 *
 * What costs two calls there and back is left as the last request wanted it
 * (CAP_FSETID, the umask): the next one mostly wants the same.
 */
#define KEEP ((uid_t)-1)

struct switched {
    bool uid, gid, groups;
};

static _Thread_local bool without_fsetid;

/* A thread's capabilities. */
struct caps {
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
};

static int get_caps(struct caps *c)
{
    struct __user_cap_header_struct hdr = {
        .version = _LINUX_CAPABILITY_VERSION_3,
    };

    return syscall(SYS_capget, &hdr, c->data) < 0 ? -errno : 0;
}

static int put_caps(const struct caps *c)
{
    struct __user_cap_header_struct hdr = {
        .version = _LINUX_CAPABILITY_VERSION_3,
    };

    return syscall(SYS_capset, &hdr, c->data) < 0 ? -errno : 0;
}

/*
 * Set or clear one effective capability of the thread.
 * @c: what it has; changed.
 * Return: 0 or -errno; -EPERM: it is not among the permitted ones.
 */
static int set_effective(struct caps *c, unsigned int cap, bool on)
{
    uint32_t bit = CAP_TO_MASK(cap);

    if (!(c->data[CAP_TO_INDEX(cap)].permitted & bit))
        return on ? -EPERM : 0;
    if (on)
        c->data[CAP_TO_INDEX(cap)].effective |= bit;
    else
        c->data[CAP_TO_INDEX(cap)].effective &= ~bit;
    return put_caps(c);
}

/* As ourselves a thread has what it began with, but for CAP_FSETID, which is
 * changed for every file that is unpacked from an archive: it is asked once. */
static int set_fsetid(bool on)
{
    static _Thread_local struct caps own;
    static _Thread_local bool known;
    int ret = known ? 0 : get_caps(&own);

    known = ret == 0;
    return known ? set_effective(&own, CAP_FSETID, on) : ret;
}

/* Within pt_run_as_caller(). */
static int override_dac(void)
{
    struct caps c;
    int ret = get_caps(&c);

    return ret == 0 ? set_effective(&c, CAP_DAC_OVERRIDE, true) : ret;
}

int pt_keep_set_ids(bool keep)
{
    int ret;

    if (likely(keep != without_fsetid))
        return 0;
    ret = set_fsetid(keep);
    /* Never had it (an ordinary user, --modcaps): the host's kernel clears
     * in any case. */
    if (ret == -EPERM && keep)
        ret = 0;
    if (ret == 0)
        without_fsetid = !keep;
    return ret;
}

static int set_euid(uid_t uid)
{
    return syscall(SYS_setresuid, KEEP, uid, KEEP) < 0 ? -errno : 0;
}

static int set_egid(gid_t gid)
{
    return syscall(SYS_setresgid, KEEP, gid, KEEP) < 0 ? -errno : 0;
}

/* An id of -1 would mean "leave it": the file would be ours. */
static int host_ids(const struct pt_fs *fs, const struct fuse_in_header *h,
                    uid_t *uid, gid_t *gid)
{
    if (idmap_to_host(&fs->opts.uid_map, h->uid, uid) < 0 ||
        idmap_to_host(&fs->opts.gid_map, h->gid, gid) < 0 || *uid == KEEP ||
        *gid == KEEP)
        return -EPERM;
    return 0;
}

/* The umask belongs to the thread since it has left the others' file system
 * context; before that nobody has changed it from pt_fs_create()'s 0. */
static int set_umask(mode_t mask)
{
    static _Thread_local bool own;
    static _Thread_local mode_t now;

    if (likely(mask == now))
        return 0;
    if (!own && unshare(CLONE_FS) < 0)
        return -errno;
    own = true;
    umask(mask);
    now = mask;
    return 0;
}

/*
 * The groups of the caller's which the guest's kernel tells of: one that
 * owns the directory decides about access, and whether a set-group-id bit may
 * stay.  Those we may not take, or which --translate-gid forbids, are left
 * out: the caller then has fewer rights, not more.
 */
static bool set_groups(const struct pt_fs *fs, const struct request_ext *x)
{
    gid_t groups[REQUEST_GROUPS_MAX];
    size_t n = 0;

    for (uint32_t i = 0; i < x->n_groups; i++) {
        if (idmap_to_host(&fs->opts.gid_map, x->groups[i], &groups[n]) == 0 &&
            groups[n] != (gid_t)-1)
            n++;
    }
    return n > 0 && syscall(SYS_setgroups, n, groups) == 0;
}

/* Serving a request as anybody but its caller or ourselves is no option. */
static void leave(const struct pt_fs *fs, const struct switched *sw)
{
    int ret = 0;

    if (sw->uid) {
        ret = set_euid(fs->uid);
        /* Becoming uid 0 makes the effective set whole. */
        without_fsetid = without_fsetid && fs->uid != 0;
    }
    BUG_ON(ret < 0);
    if (sw->groups)
        ret = syscall(SYS_setgroups, 0, NULL) < 0 ? -errno : 0;
    BUG_ON(ret < 0);
    if (sw->gid)
        ret = set_egid(fs->gid);
    BUG_ON(ret < 0);
}

/* The groups go first: without uid 0 they could not be changed any more.
 * Root needs none of them to pass, and keeps CAP_FSETID. */
static int enter(const struct pt_fs *fs, uid_t uid, gid_t gid,
                 const struct request_ext *x, struct switched *sw)
{
    *sw = (struct switched){ false, false, false };
    if (gid != 0 && gid != fs->gid) {
        if (set_egid(gid) < 0)
            return -EPERM;
        sw->gid = true;
    }
    if (uid != 0 && uid != fs->uid) {
        sw->groups = x->n_groups > 0 && set_groups(fs, x);
        if (set_euid(uid) < 0) {
            leave(fs, sw);
            return -EPERM;
        }
        sw->uid = true;
    }
    return 0;
}

void pt_drop_capability(unsigned int cap)
{
    uint32_t bit = CAP_TO_MASK(cap);
    struct caps c;
    int ret = get_caps(&c);

    if (ret < 0)
        return;
    c.data[CAP_TO_INDEX(cap)].effective &= ~bit;
    c.data[CAP_TO_INDEX(cap)].permitted &= ~bit;
    ret = put_caps(&c);
    if (ret < 0)
        log_warn("fuse: can not give a capability up: %s", strerror(-ret));
}

int pt_run_as_caller(const struct pt_fs *fs, const struct request *r,
                     mode_t umask, bool raise, int (*fn)(void *), void *arg)
{
    const struct request_ext *x = request_ext(r);
    struct switched sw;
    uid_t uid;
    gid_t gid;
    int ret;

    ret = host_ids(fs, request_header(r), &uid, &gid);
    if (ret < 0)
        return ret;
    ret = set_umask(fs->agreed & FUSE_DONT_MASK ? umask & 0777 : 0);
    if (ret == 0)
        ret = pt_keep_set_ids(!x->kill_suidgid);
    if (ret == 0)
        ret = enter(fs, uid, gid, x, &sw);
    if (ret < 0)
        return ret;
    ret = fn(arg);
    /* Leaving uid 0 has emptied the effective set; returning fills it. */
    if (ret == -EACCES && raise && sw.uid && fs->uid == 0 &&
        override_dac() == 0)
        ret = fn(arg);
    leave(fs, &sw);
    return ret;
}
