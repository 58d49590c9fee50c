/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_FUSE_PASSTHROUGH_PT_H
#define VIRTIOFSD_FUSE_PASSTHROUGH_PT_H

/*
 * The passthrough file system's face to the rest of fuse/: options in,
 * libfuse operations out.  What is inside the room is in pt_i.h.
 */

#include <stdbool.h>
#include <stdint.h>

#include "fuse/fuse_api.h"
#include "fuse/passthrough/idmap.h"
#include "fuse/passthrough/xattrmap.h"

enum pt_cache {
    PT_CACHE_AUTO,     /* 1 s entry/attr timeout, no FOPEN flags */
    PT_CACHE_ALWAYS,   /* 86400 s, KEEP_CACHE, CACHE_DIR */
    PT_CACHE_METADATA, /* 86400 s, files DIRECT_IO, dirs CACHE_DIR|KEEP_CACHE */
    PT_CACHE_NEVER,    /* 0 s, DIRECT_IO, no readdirplus */
};

/* A thing of the guest's kernel that not every one of them has. */
enum pt_want {
    PT_NEVER,  /* not agreed */
    PT_AUTO,   /* where the guest offers it; told when it does not */
    PT_ALWAYS, /* a guest that does not offer it is refused */
};

/* How the files that the guest knows are kept. */
enum pt_handles_mode {
    PT_HANDLES_NEVER,     /* a descriptor each */
    PT_HANDLES_PREFER,    /* a file handle where the host gives one */
    PT_HANDLES_MANDATORY, /* a file handle or not at all */
};

/* Plain data: it is handed to the request process in one message. */
struct pt_opts {
    enum pt_cache cache;
    double attr_timeout_s;     /* < 0: what the cache mode says */
    double entry_timeout_s;    /* < 0: what the cache mode says */
    double negative_timeout_s; /* how long a name that is not there may be
                                  remembered; 0: not at all */
    bool writeback;
    bool readonly;
    bool nfs_export;
    bool xattr;
    bool allow_direct_io;  /* else O_DIRECT is stripped */
    bool preserve_noatime; /* else O_NOATIME is stripped */
    bool readdirplus;
    bool announce_submounts;
    enum pt_handles_mode file_handles;
    uint32_t node_fds;      /* nodes with handles that may be open at a time; 0:
                               what RLIMIT_NOFILE allows */
    enum pt_want posix_acl; /* implies xattr */
    enum pt_want security_label; /* implies xattr */
    bool killpriv_v2; /* clear set-id bits here, where the guest offers it */
    bool allow_mmap;  /* shared mappings of what is not cached */
    bool inode_flags; /* FS_IOC_GETFLAGS and its like */
    bool flock;       /* on the host; else the guest's own affair */
    bool posix_lock;  /* the same of record locks */
    struct idmap uid_map;     /* --translate-uid */
    struct idmap gid_map;     /* --translate-gid */
    struct xattrmap xattrmap; /* --xattrmap; rules make xattr true */
};

struct pt_fs;
struct request;

/**
 * pt_fs_create() - open a tree for serving.
 * @opts:    borrowed for the life of the result.
 * @root_fd: O_PATH of the root; borrowed.
 * @proc_fd: O_PATH of /proc/self/fd, to reopen O_PATH fds through; borrowed.
 * Return: 0 or -errno.
 */
int pt_fs_create(const struct pt_opts *opts, int root_fd, int proc_fd,
                 struct pt_fs **fs);

/**
 * pt_fs_reset() - forget every node and handle but the root's node.
 * Called before a new FUSE_INIT is answered, at DESTROY and at device reset:
 * a new life finds nothing of the old one (invariant 12).
 * Context: no operation is running in any thread; none starts meanwhile.
 */
void pt_fs_reset(struct pt_fs *fs);

/**
 * pt_fs_interrupt() - INTERRUPT: the request numbered @unique shall not wait.
 * Context: any thread, whatever else runs.
 */
void pt_fs_interrupt(struct pt_fs *fs, uint64_t unique);

/**
 * pt_fs_stop() - end all that waits, and the threads of it.
 * Context: no operation is running, and none comes any more.
 * Return: false when some hang in the host's file system; then @fs has to
 * stay.
 */
bool pt_fs_stop(struct pt_fs *fs);

/* After pt_fs_stop(). */
void pt_fs_destroy(struct pt_fs *fs);

/**
 * pt_agree() - INIT flags we agree to which libfuse does not know.
 * @offered: by the guest.
 */
uint64_t pt_agree(const struct pt_fs *fs, uint64_t offered);

/**
 * pt_check_offer() - does the guest have what the options insist on?
 * Tells in the log what is missing.
 * Return: 0, or -EPROTO: its INIT is to be refused.
 */
int pt_check_offer(const struct pt_fs *fs, uint64_t offered);

/* All INIT flags of the life that begins, libfuse's too.
 * Context: as pt_fs_reset(). */
void pt_set_agreed(struct pt_fs *fs, uint64_t agreed);

/* Counts for tests and leak checks. */
struct pt_fs_counts {
    uint64_t nodes;   /* root included */
    uint64_t handles; /* open files and directories */
    uint32_t lock_owners, lock_waits;
    uint64_t open;  /* nodes, without the root, that have a descriptor */
    bool by_handle; /* file handles are in use */
};
void pt_fs_count(struct pt_fs *fs, struct pt_fs_counts *out);

/**
 * pt_ops - the operations for fuse_session_new().
 * The session's userdata is the struct pt_fs.  Every operation answers before
 * it returns, exactly once, or has detached its request (request_detach()).
 * Operations may run in many threads at once. Payload goes through
 * fuse/request.h, not through libfuse's buffers.
 */
extern const struct fuse_lowlevel_ops pt_ops;

/**
 * pt_raw_fn - an operation that is done beside libfuse, on the request itself.
 * @r: valid (validate.c), as request_current().
 * Return: 0: it is answered, or wants no answer; -errno: what to answer with.
 */
typedef int pt_raw_fn(struct pt_fs *fs, struct request *r);

/**
 * pt_raw_op() - the operation of an opcode, if it is done beside libfuse:
 * those which libfuse 3.14 does not know, and those which are not rare (see
 * "Decisions" of ARCHITECTURE.md).
 * Return: NULL: libfuse's, or nobody's.
 */
pt_raw_fn *pt_raw_op(uint32_t opcode);

#endif
