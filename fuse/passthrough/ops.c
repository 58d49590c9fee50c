/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "fuse/passthrough/pt_i.h"
#include "fuse/proto.h"
#include "virtiofsd/base/log.h"

/*
 * What we want of what the guest's kernel can do.  Not wanted on purpose:
 * splice (payload does not pass through libfuse), HANDLE_KILLPRIV (it clears
 * set-id bits for root's writes too; HANDLE_KILLPRIV_V2 says for whose),
 * NO_OPEN_SUPPORT (every file has a handle).
 */
static unsigned int wanted(const struct pt_opts *o)
{
    unsigned int want = FUSE_CAP_ASYNC_READ | FUSE_CAP_ATOMIC_O_TRUNC |
                        FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_ASYNC_DIO;

    if (o->readdirplus)
        want |= FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO;
    /* Else locks are the guest's own affair. */
    if (o->flock)
        want |= FUSE_CAP_FLOCK_LOCKS;
    if (o->posix_lock)
        want |= FUSE_CAP_POSIX_LOCKS;
    if (o->writeback)
        want |= FUSE_CAP_WRITEBACK_CACHE;
    if (o->inode_flags)
        want |= FUSE_CAP_IOCTL_DIR;
    if (o->cache == PT_CACHE_ALWAYS || o->cache == PT_CACHE_METADATA)
        want |= FUSE_CAP_CACHE_SYMLINKS;
    /* A new time in the attributes voids the guest's pages, that of its own
     * writes too.  Where nobody else changes files that is pure loss; a
     * timeout that was asked for wants it all the same. */
    if (o->cache == PT_CACHE_ALWAYS && o->attr_timeout_s < 0)
        want |= FUSE_CAP_EXPLICIT_INVAL_DATA;
    else
        want |= FUSE_CAP_AUTO_INVAL_DATA;
    return want;
}

/* Whoever obeys ACLs leaves the umask to the file system, where a directory's
 * default ACL replaces it, and says when one takes a set-group-id bit away. */
#define ACL_FLAGS (FUSE_POSIX_ACL | FUSE_DONT_MASK | FUSE_SETXATTR_EXT)

static bool is_had(enum pt_want wish, uint64_t flags, uint64_t offered)
{
    return wish != PT_NEVER && (offered & flags) == flags;
}

static int check_wish(enum pt_want wish, uint64_t flags, uint64_t offered,
                      const char *option)
{
    if (wish == PT_NEVER || is_had(wish, flags, offered))
        return 0;
    log_limited(wish == PT_ALWAYS ? LOG_LEVEL_ERROR : LOG_LEVEL_WARN,
                "fuse: INIT: the guest does not offer what %s takes%s", option,
                wish == PT_ALWAYS ? ": refused" : "; going on without");
    return wish == PT_ALWAYS ? -EPROTO : 0;
}

int pt_check_offer(const struct pt_fs *fs, uint64_t offered)
{
    const struct pt_opts *o = &fs->opts;
    int ret = check_wish(o->posix_acl, ACL_FLAGS, offered, "--posix-acl");

    if (ret == 0)
        ret = check_wish(o->security_label, FUSE_SECURITY_CTX, offered,
                         "--security-label");
    return ret;
}

uint64_t pt_agree(const struct pt_fs *fs, uint64_t offered)
{
    const struct pt_opts *o = &fs->opts;
    /* libfuse 3.14 takes note of the wish for PARALLEL_DIROPS and forgets it
     * in its answer.  The operations lock nothing per directory. */
    uint64_t want = FUSE_PARALLEL_DIROPS;

    /* Whose a new file is comes mapped from the guest; nothing else here
     * looks at the caller's ids, which such a mount does not send. */
    want |= PROTO_ALLOW_IDMAP;

    if (o->announce_submounts)
        want |= FUSE_SUBMOUNTS;
    if (o->nfs_export)
        want |= FUSE_EXPORT_SUPPORT;
    if (o->allow_mmap)
        want |= PROTO_DIRECT_IO_ALLOW_MMAP;
    if (o->xattr)
        want |= FUSE_SETXATTR_EXT;
    if (o->killpriv_v2)
        want |= FUSE_HANDLE_KILLPRIV_V2;
    if (is_had(o->posix_acl, ACL_FLAGS, offered))
        want |= ACL_FLAGS;
    if (o->security_label != PT_NEVER)
        want |= FUSE_SECURITY_CTX;
    want |= PROTO_CREATE_SUPP_GROUP;
    return want & offered;
}

void pt_set_agreed(struct pt_fs *fs, uint64_t agreed)
{
    fs->agreed = agreed;
}

/* A new life begins: whoever made this session has called pt_fs_reset(). */
static void pt_op_init(void *userdata, struct fuse_conn_info *conn)
{
    struct pt_fs *fs = userdata;

    conn->want = wanted(&fs->opts) & conn->capable;
    conn->max_background = 65535;
    conn->time_gran = 1;
}

pt_raw_fn *pt_raw_op(uint32_t opcode)
{
    static pt_raw_fn *const ops[] = {
        [FUSE_LOOKUP] = pt_raw_lookup,
        [FUSE_FORGET] = pt_raw_forget,
        [FUSE_BATCH_FORGET] = pt_raw_batch_forget,
        [FUSE_GETATTR] = pt_raw_getattr,
        [FUSE_SETATTR] = pt_raw_setattr,
        [FUSE_STATFS] = pt_raw_statfs,
        [FUSE_ACCESS] = pt_raw_access,
        [FUSE_READLINK] = pt_raw_readlink,
        [FUSE_SYMLINK] = pt_raw_symlink,
        [FUSE_MKNOD] = pt_raw_mknod,
        [FUSE_MKDIR] = pt_raw_mkdir,
        [FUSE_UNLINK] = pt_raw_unlink,
        [FUSE_RMDIR] = pt_raw_rmdir,
        [FUSE_RENAME] = pt_raw_rename,
        [FUSE_RENAME2] = pt_raw_rename2,
        [FUSE_LINK] = pt_raw_link,
        [FUSE_OPEN] = pt_raw_open,
        [FUSE_CREATE] = pt_raw_create,
        [PROTO_TMPFILE] = pt_raw_tmpfile,
        [FUSE_READ] = pt_raw_read,
        [FUSE_WRITE] = pt_raw_write,
        [FUSE_FLUSH] = pt_raw_flush,
        [FUSE_FSYNC] = pt_raw_fsync,
        [FUSE_RELEASE] = pt_raw_release,
        [FUSE_OPENDIR] = pt_raw_opendir,
        [FUSE_READDIR] = pt_raw_readdir,
        [FUSE_READDIRPLUS] = pt_raw_readdirplus,
        [FUSE_RELEASEDIR] = pt_raw_releasedir,
        [FUSE_FSYNCDIR] = pt_raw_fsyncdir,
        [FUSE_SETXATTR] = pt_raw_setxattr,
        [FUSE_GETXATTR] = pt_raw_getxattr,
        [FUSE_LISTXATTR] = pt_raw_listxattr,
        [FUSE_REMOVEXATTR] = pt_raw_removexattr,
        [PROTO_SYNCFS] = pt_raw_syncfs,
        [PROTO_STATX] = pt_raw_statx,
        [PROTO_COPY_FILE_RANGE_64] = pt_raw_copy_file_range_64,
    };

    return opcode < ARRAY_SIZE(ops) ? ops[opcode] : NULL;
}

const struct fuse_lowlevel_ops pt_ops = {
    .init = pt_op_init,
    .lseek = pt_op_lseek,
    .fallocate = pt_op_fallocate,
    .copy_file_range = pt_op_copy_file_range,
    .ioctl = pt_op_ioctl,
    .getlk = pt_op_getlk,
    .setlk = pt_op_setlk,
    .flock = pt_op_flock,
};
