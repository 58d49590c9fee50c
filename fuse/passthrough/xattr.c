/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Extended attributes, behind --xattr.  The guest's names are those of the
 * host unless --xattrmap says otherwise (xattrmap.h).
 *
 * No system call takes an O_PATH descriptor for them, and opening the file
 * would fail for all but files and directories.  So each thread makes
 * /proc/self/fd its working directory, its own by unshare(2), and uses a
 * descriptor's number as a path: the magic link leads to the node itself,
 * symbolic link or not.
 */
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "fuse/passthrough/pt_i.h"
#include "fuse/request.h"
#include "virtiofsd/base/log.h"

#ifndef XATTR_SIZE_MAX
#define XATTR_SIZE_MAX 65536 /* the kernel's, for a value and for a list */
#endif

static int enter_proc(const struct pt_fs *fs)
{
    static _Thread_local int proc_fd = -1;

    if (proc_fd == fs->proc_fd)
        return 0;
    if (unshare(CLONE_FS) < 0 || fchdir(fs->proc_fd) < 0)
        return -errno;
    proc_fd = fs->proc_fd;
    return 0;
}

/*
 * Without FUSE_POSIX_ACL the guest's kernel would store ACLs without obeying
 * them: a host that does obey would then see rights the guest never enforced.
 * With it, the host obeys too, and new files inherit there: under another
 * name an ACL would be none.
 */
static bool is_refused(const struct pt_fs *fs, const char *guest,
                       const char *host)
{
    if (!pt_is_acl(guest) && !pt_is_acl(host))
        return false;
    return !(fs->agreed & FUSE_POSIX_ACL) || strcmp(guest, host) != 0;
}

/* A name on the host, in @room unless it is the guest's own. */
struct host_name {
    const char *s;
    char room[XATTRMAP_NAME_MAX + 1];
};

/* Return: 0 or -errno as xattrmap_to_host().  A map neither hides an ACL of
 * the guest's nor makes one out of another name. */
static int find_host_name(const struct pt_fs *fs, const char *name,
                          struct host_name *host)
{
    int ret = 0;

    host->s = name;
    if (is_refused(fs, name, name))
        return -EOPNOTSUPP;
    if (fs->opts.xattrmap.n > 0)
        ret = xattrmap_to_host(&fs->opts.xattrmap, name, host->room, &host->s);
    return ret == 0 && is_refused(fs, name, host->s) ? -EOPNOTSUPP : ret;
}

void pt_caps_init(struct pt_fs *fs)
{
    struct host_name host;

    if (find_host_name(fs, "security.capability", &host) == 0 &&
        host.s == host.room)
        strcpy(fs->caps_name, host.s);
}

int pt_drop_renamed_caps(const struct pt_fs *fs, int fd)
{
    struct pt_proc_name file = pt_proc_name(fd);
    int ret;

    if (!(fs->agreed & FUSE_HANDLE_KILLPRIV_V2))
        return 0;
    ret = enter_proc(fs);
    if (ret < 0)
        return ret;
    if (removexattr(file.s, fs->caps_name) == 0)
        return 0;
    ret = -errno;
    if (ret == -ENODATA || ret == -EOPNOTSUPP)
        return 0;
    /* An append-only file says EPERM whether there are any or not. */
    return getxattr(file.s, fs->caps_name, NULL, 0) < 0 ? 0 : ret;
}

/* Everything an operation needs before its system call.  Return: the pinned
 * node, or NULL when the request is answered. */
static struct pt_node *begin(fuse_req_t req, fuse_ino_t ino)
{
    struct pt_fs *fs = pt_fs_of(req);
    struct pt_node *n;
    int ret;

    ret = enter_proc(fs);
    if (ret < 0)
        goto fail;
    ret = pt_node_pin(fs, ino, &n);
    if (ret == 0)
        return n;
fail:
    fuse_reply_err(req, -ret);
    return NULL;
}

static void end(fuse_req_t req, struct pt_node *n)
{
    pt_node_put(&pt_fs_of(req)->nodes, n);
}

/* Without --xattr the guest's kernel is told to ask no more. */
static bool refuse_all(fuse_req_t req)
{
    if (pt_fs_of(req)->opts.xattr)
        return false;
    fuse_reply_err(req, ENOSYS);
    return true;
}

/*
 * The caller's ACL takes the set-group-id bit away when it is not in the
 * file's group.  The host's kernel sees to it for a thread without CAP_FSETID,
 * unless the group is ours.
 */
static int drop_set_gid(const struct pt_fs *fs, const struct pt_node *n)
{
    struct stat st;
    int ret = pt_fstat(n->fd, &st);

    if (ret == 0 && (st.st_mode & S_ISGID) &&
        fchmodat(fs->proc_fd, pt_proc_name(n->fd).s, st.st_mode & 05777, 0) < 0)
        ret = -errno;
    return ret;
}

static int set_acl(const struct pt_fs *fs, const struct pt_node *n,
                   const char *name, const char *value, size_t size, int flags)
{
    struct request *r = request_current();
    bool kill = request_ext(r)->setxattr_flags & FUSE_SETXATTR_ACL_KILL_SGID;
    void *copy = request_scratch(r, size ? size : 1);
    int ret;

    if (!copy)
        return -E2BIG;
    memcpy(copy, value, size);
    ret = pt_acl_translate(fs, copy, size, true);
    if (ret == 0)
        ret = pt_keep_set_ids(!kill);
    if (ret == 0 &&
        setxattr(pt_proc_name(n->fd).s, name, copy, size, flags) < 0)
        ret = -errno;
    return ret == 0 && kill ? drop_set_gid(fs, n) : ret;
}

void pt_op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
                    const char *value, size_t size, int flags)
{
    struct host_name host;
    struct pt_node *n;
    int err;

    if (refuse_all(req) || pt_refuse_change(req))
        return;
    err = -find_host_name(pt_fs_of(req), name, &host);
    if (err) {
        /* The word for a name that is too long, here. */
        fuse_reply_err(req, err == ENAMETOOLONG ? ERANGE : err);
        return;
    }
    n = begin(req, ino);
    if (!n)
        return;
    if (pt_is_acl(host.s))
        err = -set_acl(pt_fs_of(req), n, host.s, value, size, flags);
    else if (setxattr(pt_proc_name(n->fd).s, host.s, value, size, flags) < 0)
        err = errno;
    end(req, n);
    fuse_reply_err(req, err);
}

void pt_op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
    struct host_name host;
    struct pt_node *n;
    int err;

    if (refuse_all(req) || pt_refuse_change(req))
        return;
    err = -find_host_name(pt_fs_of(req), name, &host);
    if (err) {
        fuse_reply_err(req, err == ENAMETOOLONG ? ENODATA : err);
        return;
    }
    n = begin(req, ino);
    if (!n)
        return;
    err = removexattr(pt_proc_name(n->fd).s, host.s) < 0 ? errno : 0;
    end(req, n);
    fuse_reply_err(req, err);
}

/* @size 0 asks how much there is. */
static void reply_value(fuse_req_t req, const char *buf, ssize_t len, int err,
                        size_t size)
{
    if (err)
        fuse_reply_err(req, err);
    else if (!size)
        fuse_reply_xattr(req, (size_t)len);
    else
        fuse_reply_buf(req, buf, (size_t)len);
}

void pt_op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
                    size_t size)
{
    size_t room = MIN(size, (size_t)XATTR_SIZE_MAX);
    struct host_name host;
    struct pt_node *n;
    ssize_t len;
    char *buf;
    int err;

    if (refuse_all(req))
        return;
    err = -find_host_name(pt_fs_of(req), name, &host);
    if (err) {
        /* What the guest shall not see is not there: a refusal would fail
         * copies and listings which can do without. */
        fuse_reply_err(req,
                       err == EPERM || err == ENAMETOOLONG ? ENODATA : err);
        return;
    }
    n = begin(req, ino);
    if (!n)
        return;
    buf = request_scratch(request_current(), room ? room : 1);
    if (buf) {
        len = getxattr(pt_proc_name(n->fd).s, host.s, buf, room);
        err = len < 0 ? errno : 0;
        if (len > 0 && room && pt_is_acl(host.s))
            err = -pt_acl_translate(pt_fs_of(req), buf, (size_t)len, false);
    } else {
        len = 0;
        err = ENOMEM;
    }
    end(req, n);
    reply_value(req, buf, len, err, size);
}

/* The guest's name for one of the host's list, or NULL.  What getxattr would
 * refuse is not listed. */
static const char *guest_name(const struct pt_fs *fs, const char *host)
{
    const char *name = host;

    if (is_refused(fs, host, host))
        return NULL;
    if (fs->opts.xattrmap.n > 0)
        name = xattrmap_to_guest(&fs->opts.xattrmap, host);
    return name && is_refused(fs, name, host) ? NULL : name;
}

/* In place: no name grows.  Return: bytes of the list which remain. */
static size_t list_to_guest(const struct pt_fs *fs, char *list, size_t len)
{
    size_t kept = 0;

    for (size_t at = 0; at < len;) {
        size_t one = strnlen(list + at, len - at) + 1;
        const char *name;

        if (one > len - at)
            break;
        name = guest_name(fs, list + at);
        at += one;
        if (name) {
            one = (size_t)(list + at - name);
            memmove(list + kept, name, one);
            kept += one;
        }
    }
    return kept;
}

/* The whole list is read, whatever the guest has room for: what counts is
 * its length as the guest gets to see it. */
void pt_op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
    struct pt_node *n;
    ssize_t len = 0;
    int err = ENOMEM;
    char *buf;

    if (refuse_all(req))
        return;
    n = begin(req, ino);
    if (!n)
        return;
    buf = request_scratch(request_current(), XATTR_SIZE_MAX);
    if (buf) {
        len = listxattr(pt_proc_name(n->fd).s, buf, XATTR_SIZE_MAX);
        err = len < 0 ? errno : 0;
    }
    end(req, n);
    if (!err) {
        len = (ssize_t)list_to_guest(pt_fs_of(req), buf, (size_t)len);
        if (size && (size_t)len > size)
            err = ERANGE;
    }
    reply_value(req, buf, len, err, size);
}

int pt_set_labels(const struct pt_fs *fs, int fd)
{
    const struct request_ext *x = request_ext(request_current());
    int ret = x->n_secctx ? enter_proc(fs) : 0;

    for (uint32_t i = 0; ret == 0 && i < x->n_secctx; i++) {
        const char *name = x->secctx[i].name;
        struct host_name host;

        ret = find_host_name(fs, name, &host);
        if (ret == 0 && setxattr(pt_proc_name(fd).s, host.s, x->secctx[i].value,
                                 x->secctx[i].bytes, 0) < 0)
            ret = -errno;
        if (ret < 0)
            log_limited(LOG_LEVEL_WARN,
                        "fuse: a new file's %.64s: %s; the man page says under "
                        "--security-label what it takes",
                        name, strerror(-ret));
    }
    return ret;
}
