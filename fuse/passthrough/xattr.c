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

/* Everything an operation needs before its system call.
 * Return: 0, then @n is pinned, or -errno. */
static int begin(struct pt_fs *fs, const struct request *r, struct pt_node **n)
{
    int ret = enter_proc(fs);

    return ret < 0 ? ret : pt_node_pin(fs, request_header(r)->nodeid, n);
}

/* Without --xattr the guest's kernel is told to ask no more. */
static int check_change(const struct pt_fs *fs)
{
    if (!fs->opts.xattr)
        return -ENOSYS;
    return fs->opts.readonly ? -EROFS : 0;
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

static int set_acl(const struct pt_fs *fs, struct request *r,
                   const struct pt_node *n, const char *name, const void *value,
                   const struct fuse_setxattr_in *in)
{
    size_t size = in->size;
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
        setxattr(pt_proc_name(n->fd).s, name, copy, size, (int)in->flags) < 0)
        ret = -errno;
    return ret == 0 && kill ? drop_set_gid(fs, n) : ret;
}

/* Of @in there are size and flags, and no more, before the name: what else a
 * longer one says is put aside by extension.c. */
int pt_raw_setxattr(struct pt_fs *fs, struct request *r)
{
    const struct fuse_setxattr_in *in = request_args(r, NULL);
    const char *name = (const char *)in + FUSE_COMPAT_SETXATTR_IN_SIZE;
    const void *value = name + strlen(name) + 1;
    struct host_name host;
    struct pt_node *n;
    int ret = check_change(fs);

    if (ret == 0)
        ret = find_host_name(fs, name, &host);
    if (ret == -ENAMETOOLONG)
        return -ERANGE; /* the word for it, here */
    if (ret == 0)
        ret = begin(fs, r, &n);
    if (ret < 0)
        return ret;
    if (pt_is_acl(host.s))
        ret = set_acl(fs, r, n, host.s, value, in);
    else if (setxattr(pt_proc_name(n->fd).s, host.s, value, in->size,
                      (int)in->flags) < 0)
        ret = -errno;
    pt_node_put(&fs->nodes, n);
    if (ret == 0)
        request_reply_err(r, 0);
    return ret;
}

int pt_raw_removexattr(struct pt_fs *fs, struct request *r)
{
    struct host_name host;
    struct pt_node *n;
    int ret = check_change(fs);

    if (ret == 0)
        ret = find_host_name(fs, request_args(r, NULL), &host);
    if (ret == -ENAMETOOLONG)
        return -ENODATA;
    if (ret == 0)
        ret = begin(fs, r, &n);
    if (ret < 0)
        return ret;
    ret = removexattr(pt_proc_name(n->fd).s, host.s) < 0 ? -errno : 0;
    pt_node_put(&fs->nodes, n);
    if (ret == 0)
        request_reply_err(r, 0);
    return ret;
}

/* @size 0 asks how much there is. */
static void reply_value(struct request *r, const void *buf, size_t len,
                        size_t size)
{
    struct fuse_getxattr_out out = { .size = (uint32_t)len };

    if (size)
        request_reply(r, buf, len);
    else
        request_reply(r, &out, sizeof(out));
}

/* Return: bytes of the value, which are in @buf unless @room is 0; -errno. */
static ssize_t get_value(const struct pt_fs *fs, const struct pt_node *n,
                         const char *name, void *buf, size_t room)
{
    ssize_t len = getxattr(pt_proc_name(n->fd).s, name, buf, room);
    int ret = 0;

    if (len < 0)
        return -errno;
    if (len > 0 && room && pt_is_acl(name))
        ret = pt_acl_translate(fs, buf, (size_t)len, false);
    return ret < 0 ? ret : len;
}

int pt_raw_getxattr(struct pt_fs *fs, struct request *r)
{
    const struct fuse_getxattr_in *in = request_args(r, NULL);
    const char *name = (const char *)(in + 1);
    size_t room = MIN(in->size, (size_t)XATTR_SIZE_MAX);
    void *buf = request_scratch(r, XATTR_SIZE_MAX);
    struct host_name host;
    struct pt_node *n;
    ssize_t len;
    int ret = fs->opts.xattr ? find_host_name(fs, name, &host) : -ENOSYS;

    /* What the guest shall not see is not there: a refusal would fail copies
     * and listings which can do without. */
    if (ret == -EPERM || ret == -ENAMETOOLONG)
        return -ENODATA;
    if (ret == 0)
        ret = begin(fs, r, &n);
    if (ret < 0)
        return ret;
    len = get_value(fs, n, host.s, buf, room);
    pt_node_put(&fs->nodes, n);
    if (len < 0)
        return (int)len;
    reply_value(r, buf, (size_t)len, in->size);
    return 0;
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
int pt_raw_listxattr(struct pt_fs *fs, struct request *r)
{
    const struct fuse_getxattr_in *in = request_args(r, NULL);
    char *buf = request_scratch(r, XATTR_SIZE_MAX);
    struct pt_node *n;
    ssize_t len;
    int ret = fs->opts.xattr ? begin(fs, r, &n) : -ENOSYS;

    if (ret < 0)
        return ret;
    len = listxattr(pt_proc_name(n->fd).s, buf, XATTR_SIZE_MAX);
    ret = len < 0 ? -errno : 0;
    pt_node_put(&fs->nodes, n);
    if (ret < 0)
        return ret;
    len = (ssize_t)list_to_guest(fs, buf, (size_t)len);
    if (in->size && (size_t)len > in->size)
        return -ERANGE;
    reply_value(r, buf, (size_t)len, in->size);
    return 0;
}

int pt_set_labels(const struct pt_fs *fs, const struct request *r, int fd)
{
    const struct request_ext *x = request_ext(r);
    int ret = enter_proc(fs);

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
