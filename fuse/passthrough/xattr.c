/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Extended attributes, behind --xattr.  No system call takes an O_PATH
 * descriptor for them, and opening the file would fail for all but files and
 * directories.  So each thread makes /proc/self/fd its working directory,
 * its own by unshare(2), and uses a descriptor's number as a path: the magic
 * link leads to the node itself, symbolic link or not.
 */
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "fuse/passthrough/pt_i.h"
#include "fuse/request.h"

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
 * ACLs are not offered (FUSE_POSIX_ACL), so the guest's kernel would store
 * them without obeying them: a host that does obey would then see rights the
 * guest never enforced.
 */
static bool is_acl(const char *name)
{
    return !strcmp(name, "system.posix_acl_access") ||
           !strcmp(name, "system.posix_acl_default");
}

/* Everything an operation needs before its system call.  Return: the pinned
 * node, or NULL when the request is answered. */
static struct pt_node *begin(fuse_req_t req, fuse_ino_t ino, const char *name)
{
    struct pt_fs *fs = pt_fs_of(req);
    struct pt_node *n;
    int ret = -ENOSYS;

    if (!fs->opts.xattr)
        goto fail;
    ret = -EOPNOTSUPP;
    if (name && is_acl(name))
        goto fail;
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

void pt_op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
                    const char *value, size_t size, int flags)
{
    struct pt_node *n;
    int err;

    if (pt_fs_of(req)->opts.xattr && pt_refuse_change(req))
        return;
    n = begin(req, ino, name);
    if (!n)
        return;
    err = setxattr(pt_proc_name(n->fd).s, name, value, size, flags) < 0 ? errno
                                                                        : 0;
    end(req, n);
    fuse_reply_err(req, err);
}

void pt_op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
    struct pt_node *n;
    int err;

    if (pt_fs_of(req)->opts.xattr && pt_refuse_change(req))
        return;
    n = begin(req, ino, name);
    if (!n)
        return;
    err = removexattr(pt_proc_name(n->fd).s, name) < 0 ? errno : 0;
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
    struct pt_node *n;
    ssize_t len;
    char *buf;
    int err;

    n = begin(req, ino, name);
    if (!n)
        return;
    buf = request_scratch(request_current(), room ? room : 1);
    if (buf) {
        len = getxattr(pt_proc_name(n->fd).s, name, buf, room);
        err = len < 0 ? errno : 0;
    } else {
        len = 0;
        err = ENOMEM;
    }
    end(req, n);
    reply_value(req, buf, len, err, size);
}

/* Take the names out of the list which getxattr would refuse. */
static size_t hide_acls(char *list, size_t len)
{
    size_t kept = 0;

    for (size_t at = 0; at < len;) {
        size_t one = strnlen(list + at, len - at) + 1;

        if (one > len - at)
            break;
        if (!is_acl(list + at)) {
            memmove(list + kept, list + at, one);
            kept += one;
        }
        at += one;
    }
    return kept;
}

/* The whole list is read, whatever the guest has room for: what counts is
 * its length without the hidden names. */
void pt_op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
    struct pt_node *n = begin(req, ino, NULL);
    ssize_t len = 0;
    int err = ENOMEM;
    char *buf;

    if (!n)
        return;
    buf = request_scratch(request_current(), XATTR_SIZE_MAX);
    if (buf) {
        len = listxattr(pt_proc_name(n->fd).s, buf, XATTR_SIZE_MAX);
        err = len < 0 ? errno : 0;
    }
    end(req, n);
    if (!err) {
        len = (ssize_t)hide_acls(buf, (size_t)len);
        if (size && (size_t)len > size)
            err = ERANGE;
    }
    reply_value(req, buf, len, err, size);
}
