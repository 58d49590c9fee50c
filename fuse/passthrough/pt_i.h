/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_FUSE_PASSTHROUGH_PT_I_H
#define VIRTIOFSD_FUSE_PASSTHROUGH_PT_I_H

/*
 * Inside the passthrough file system.  Names come in three kinds: pt_x() are
 * tools of the room, pt_op_x() are operations as libfuse calls them, pt_raw_x()
 * those which get the request itself.
 *
 * What the guest sends is numbers (looked up in tables, see table.h) and
 * names.  Every name passes pt_name_check() and is used relative to a node's
 * O_PATH descriptor without following links: that is why no host path
 * outside the root can be reached (and why no operation may use a path
 * relative to the working directory, see xattr.c).  The exception is in
 * export.c, which climbs to the root before it says what is above a node.
 *
 * An operation's shape is: pin, act, unpin, answer.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "fuse/passthrough/handles.h"
#include "fuse/passthrough/lockowner.h"
#include "fuse/passthrough/lockwait.h"
#include "fuse/passthrough/nodes.h"
#include "fuse/passthrough/pt.h"
#include "fuse/passthrough/reply.h"

/* export.c: lookups that the guest has given back and we have not, in a ring;
 * 0: none. */
struct pt_linger {
    uint32_t n;
    _Atomic uint32_t next;
    _Atomic uint64_t *id;
};

struct pt_fs {
    struct pt_opts opts; /* constant, as all but the tables */
    int proc_fd;
    uid_t uid; /* our own, to which every operation returns */
    gid_t gid;
    struct pt_valid attr_valid, entry_valid, negative_valid;
    uint64_t agreed;     /* INIT flags; changes only while no operation runs */
    uint32_t generation; /* of all inodes of this life; as @agreed */
    /* What --xattrmap makes of security.capability; "" when it stays. */
    char caps_name[XATTRMAP_NAME_MAX + 1];
    struct pt_nodes nodes;
    struct pt_table handles;
    struct {
        struct pt_owners owners;
        struct pt_waits waits;
    } locks;
    struct pt_linger linger;
};

static inline struct pt_fs *pt_fs_of(fuse_req_t req)
{
    return fuse_req_userdata(req);
}

/* A number's decimal digits: a name beneath proc_fd. */
struct pt_proc_name {
    char s[12];
};
struct pt_proc_name pt_proc_name(int fd);

/**
 * pt_node_pin() - the node of an id, with its descriptor open.
 * @n: out; pt_node_put() when done.
 * Return: 0; -ESTALE: the guest's id is stale or made up, or the file is gone
 * and nobody holds it; -ENFILE: the guest has too much open; -errno.
 */
int pt_node_pin(struct pt_fs *fs, uint64_t id, struct pt_node **n);

/* Both or none. */
int pt_node_pin_two(struct pt_fs *fs, uint64_t a_id, struct pt_node **a,
                    uint64_t b_id, struct pt_node **b);

/**
 * pt_name_check() - may a guest's name be used as one path component?
 * Return: 0, or -EINVAL for "", ".", ".." and what holds a '/'.
 */
int pt_name_check(const char *name);

/* May a name be made, moved or removed?  Return: 0; -EROFS: the share is
 * read-only; as pt_name_check(). */
int pt_change_check(const struct pt_fs *fs, const char *name);

/* Answer a changing operation of libfuse's with EROFS when the share is
 * read-only.  Return: true when answered. */
bool pt_refuse_change(fuse_req_t req);

/* fstat(2) without glibc's detour over a path; works on O_PATH.
 * Return: 0 or -errno; ids are the host's. */
int pt_fstat(int fd, struct stat *st);

/**
 * pt_reopen() - open for I/O the very file an O_PATH descriptor names.
 * @type:  the file's S_IFMT bits; only regular files and directories are
 *         ever opened on the host.
 * @flags: for open(2); O_CLOEXEC is added.
 * Return: a descriptor or -errno: -EISDIR, -ELOOP (symbolic link), -ENXIO
 * (fifo, socket, device) before anything is tried; -ENFILE.
 */
int pt_reopen(struct pt_fs *fs, int fd, mode_t type, int flags);

/* attr.c: what one statx(2) tells about a file.  @name "" means @fd itself.
 * Return: 0 or -errno; ids are the host's. */
int pt_statx(int fd, const char *name, struct statx *sx, struct pt_key *key);

/* grip.c */

/**
 * struct pt_grip - a file held for its attributes.
 * @fd: the node's, O_PATH, or that of @h: a file which the guest has open.
 *      Both are of one inode.
 * @n:  NULL: the node is not known any more, but the file is open.
 */
struct pt_grip {
    int fd;
    mode_t type; /* S_IFMT bits */
    struct pt_node *n;
    struct pt_handle *h;
};

/**
 * pt_grip() - get hold of a node's file.
 * @fh: what the request names beside the node; 0: nothing.
 * A node that is closed is only opened when nothing that the guest has open
 * will do, and a file that no name leads to may still be there in that way.
 * Return: 0, pt_grip_put() when done; -errno as pt_node_pin().
 */
int pt_grip(struct pt_fs *fs, uint64_t id, uint64_t fh, struct pt_grip *g);
void pt_grip_put(struct pt_fs *fs, struct pt_grip *g);
/* The guest has opened a file.  Context: its thread remembers the last. */
void pt_grip_note(uint64_t id, uint64_t fh);

/* lookup.c */

/**
 * pt_lookup() - the node of a name: one lookup more.
 * @parent: pinned.
 * @name:   checked by pt_name_check().
 * Return: 0 or -errno.
 */
int pt_lookup(struct pt_fs *fs, struct pt_node *parent, const char *name,
              struct fuse_entry_out *out);

/* The same for a file that will be wanted open: two calls for a new directory,
 * four if it was looked up and then opened. */
int pt_lookup_open(struct pt_fs *fs, struct pt_node *parent, const char *name,
                   struct fuse_entry_out *out);

/**
 * pt_lookup_fd() - the same for a file just opened.
 * @fd: O_PATH; taken.
 */
int pt_lookup_fd(struct pt_fs *fs, struct pt_node *parent, int fd,
                 struct fuse_entry_out *out);

/**
 * pt_lookup_made() - the same for a regular file that was just made.
 * @fd: borrowed; open for I/O, which a node's descriptor must not be.
 * The node is closed, and its handle proven: both were told of one file.
 * Return: 0; -EOPNOTSUPP: it takes an O_PATH descriptor; -errno.
 */
int pt_lookup_made(struct pt_fs *fs, struct pt_node *parent, int fd,
                   struct fuse_entry_out *out);

/**
 * pt_keep_begin() - a file that is about to lose its last name.
 * A file handle may find it no more, yet the guest may use it still, without
 * having opened it here (a working directory, a bind mount, O_PATH).  So open
 * it while that can be done, if the guest knows it.
 * @is_dir: it is going to be removed as a directory.
 * Return: for pt_keep_end(), NULL when there is nothing to do.
 */
struct pt_node *pt_keep_begin(struct pt_fs *fs, const struct pt_node *parent,
                              const char *name, bool is_dir);
void pt_keep_end(struct pt_fs *fs, struct pt_node *n, bool removed);

/* Fill in an entry for a node whose lookup is counted already. */
void pt_entry_fill(const struct pt_fs *fs, const struct pt_key *parent,
                   const struct pt_key *key, uint64_t id,
                   const struct statx *sx, struct fuse_entry_out *out);

/* export.c */

/* Return: 0 or -ENOMEM. */
int pt_export_init(struct pt_fs *fs);
/* Nodes are forgotten altogether.  Context: as pt_fs_reset(). */
void pt_export_reset(struct pt_fs *fs);
void pt_export_fini(struct pt_fs *fs);
/* The guest gives @count lookups back. */
void pt_forget(struct pt_fs *fs, uint64_t id, uint64_t count);
/* Is it "." or "..", and agreed that these can be looked up? */
bool pt_is_exported(const struct pt_fs *fs, const char *name);
/* Look such a name up: as pt_lookup().  @n is pinned. */
int pt_export_lookup(struct pt_fs *fs, struct pt_node *n, const char *name,
                     struct fuse_entry_out *out);

/* xattr.c */

/**
 * pt_set_labels() - the security contexts which a request brings.
 * @fd: of the file just made; O_PATH will do.
 * Context: it brings some.
 * Return: 0, or -errno: the file has to go again.
 */
int pt_set_labels(const struct pt_fs *fs, const struct request *r, int fd);

/* acl.c */

bool pt_is_acl(const char *name);

/**
 * pt_acl_translate() - an ACL's ids between guest and host, in place.
 * @value: of the attribute; @size bytes.
 * Return: 0; -EPERM: a forbidden id; -EINVAL, -EOPNOTSUPP: no ACL.
 */
int pt_acl_translate(const struct pt_fs *fs, void *value, size_t size,
                     bool to_host);

/* creds.c */

/**
 * pt_run_as_caller() - make something that shall belong to the caller.
 * @umask: the caller's, as the request says it.
 * @raise: on EACCES try once more with CAP_DAC_OVERRIDE: the guest's kernel
 *         has checked the access, and knows of the caller what we do not:
 *         all its groups, capabilities, a user namespace of its own.
 * @fn:    returns >= 0 or -errno.
 * The thread has the caller's uid and gid while @fn runs, on the host, after
 * --translate-*, the groups that the request names, and @umask when the
 * guest leaves that to us.  Id 0 stands for ourselves, as does our own:
 * nothing is switched, which costs nothing and is all an ordinary user can do.
 * Return: what @fn returned; -EPERM when the id is forbidden or we may not
 * take it.
 */
int pt_run_as_caller(const struct pt_fs *fs, const struct request *r,
                     mode_t umask, bool raise, int (*fn)(void *), void *arg);

/**
 * pt_keep_set_ids() - what becomes of the set-id bits in the next call.
 * @keep: as for a caller with CAP_FSETID: writing and truncating leave them.
 *        false: the host's kernel clears them as it would for a caller
 *        without.  (Changing the owner clears them either way, and all three
 *        take away security.capability.)
 * For whatever the host looks at CAP_FSETID for: writes, sizes, owners, modes,
 * ACLs.  It stays for the thread's next requests, so each of these says it.
 * Context: as ourselves, outside of pt_run_as_caller().
 * Return: 0 or -errno.
 */
int pt_keep_set_ids(bool keep);

/* Give a capability up for good.  Context: before there are threads. */
void pt_drop_capability(unsigned int cap);

/* lock.c */

void pt_locks_init(struct pt_fs *fs);
/* FLUSH: a process has closed a file, and its record locks on it are over. */
void pt_locks_flush(struct pt_fs *fs, const struct pt_handle *h,
                    uint64_t owner);
/* RELEASE: an open file is over, with what was locked by it and who waits. */
void pt_locks_release(struct pt_fs *fs, uint64_t fh);
/* A life is over. */
void pt_locks_reset(struct pt_fs *fs);

/* The operations, by file. */

/* lookup.c */
pt_raw_fn pt_raw_lookup, pt_raw_forget, pt_raw_batch_forget;

/* attr.c */
pt_raw_fn pt_raw_getattr, pt_raw_setattr, pt_raw_statfs, pt_raw_access;

/* namespace.c */
pt_raw_fn pt_raw_readlink, pt_raw_symlink, pt_raw_mknod, pt_raw_mkdir,
    pt_raw_unlink, pt_raw_rmdir, pt_raw_rename, pt_raw_rename2, pt_raw_link;

/* open.c */
pt_raw_fn pt_raw_open, pt_raw_create, pt_raw_tmpfile, pt_raw_release;
/* What of a guest's open flags goes to the host's open(2). */
int pt_host_flags(const struct pt_fs *fs, int flags);

/* io.c */
pt_raw_fn pt_raw_read, pt_raw_write, pt_raw_flush, pt_raw_fsync,
    pt_raw_fsyncdir;
void pt_op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
                 struct fuse_file_info *fi);
void pt_op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off,
                     off_t len, struct fuse_file_info *fi);
/* io.c: Return: bytes or -errno. */
ssize_t pt_copy_range(struct pt_fs *fs, uint64_t fh_in, off_t off_in,
                      uint64_t fh_out, off_t off_out, size_t len,
                      unsigned int flags);
void pt_op_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in,
                           struct fuse_file_info *fi_in, fuse_ino_t ino_out,
                           off_t off_out, struct fuse_file_info *fi_out,
                           size_t len, int flags);

/* pace.c: requests that would hold up others. */

/* No errno: the request was begun, or left to the pool, and ends without an
 * answer. */
#define PT_DEFERRED (-4096)

/**
 * pt_read_paced() - request_read_file(), unless it would hold up others.
 * Return: as that, or PT_DEFERRED.
 */
ssize_t pt_read_paced(struct request *r, struct pt_handle *h, size_t size,
                      off_t off);
/* Return: true when a WRITE was left to the pool, and has to end so. */
bool pt_defer_write(struct request *r, const struct pt_handle *h);

/* ioctl.c */
void pt_op_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned int cmd, void *arg,
                 struct fuse_file_info *fi, unsigned int flags, const void *in,
                 size_t in_len, size_t out_len);

/* newer.c */
pt_raw_fn pt_raw_syncfs, pt_raw_statx, pt_raw_copy_file_range_64;

/* dir.c */
pt_raw_fn pt_raw_opendir, pt_raw_releasedir, pt_raw_readdir, pt_raw_readdirplus;

/* lock.c */
void pt_op_getlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
                 struct flock *lock);
void pt_op_setlk(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
                 struct flock *lock, int sleep);
void pt_op_flock(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
                 int op);

/* xattr.c */

/* Fill in caps_name. */
void pt_caps_init(struct pt_fs *fs);

/**
 * pt_drop_caps() - take a file's capabilities away, since it is changed.
 * @fd: of a regular file, O_PATH or not.
 * The host's kernel does so by itself, but for those that --xattrmap keeps
 * under another name.  The guest's kernel leaves it to us once
 * HANDLE_KILLPRIV_V2 is agreed.  Costs nothing in all other cases.
 * Return: 0 or -errno; then the file must not be changed.
 */
int pt_drop_renamed_caps(const struct pt_fs *fs, int fd);
static inline int pt_drop_caps(const struct pt_fs *fs, int fd)
{
    return likely(!fs->caps_name[0]) ? 0 : pt_drop_renamed_caps(fs, fd);
}

pt_raw_fn pt_raw_setxattr, pt_raw_getxattr, pt_raw_listxattr,
    pt_raw_removexattr;

#endif
