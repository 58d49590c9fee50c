/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "fuse/passthrough/pt_i.h"
#include "fuse/request.h"

/*
 * A known file costs one statx() when asked by name first, three calls
 * (openat, statx, close) when opened first; a new one costs three and two.
 * So guess from what this thread saw last: a find over a fresh tree meets new
 * files, a second git status known ones.
 */
#define GUESS_NEW 2
#define GUESS_MAX 3
static _Thread_local unsigned int guess;

void pt_entry_fill(const struct pt_fs *fs, const struct pt_key *parent,
                   const struct pt_key *key, uint64_t id, const struct stat *st,
                   struct pt_entry *out)
{
    memset(out, 0, sizeof(*out));
    out->e.ino = id;
    out->e.attr = *st;
    pt_stat_to_guest(fs, &out->e.attr);
    out->e.attr_timeout = fs->attr_timeout_s;
    out->e.entry_timeout = fs->entry_timeout_s;
    out->e.generation = fs->generation;
    if ((fs->agreed & FUSE_SUBMOUNTS) && S_ISDIR(st->st_mode) &&
        (key->dev != parent->dev || key->mnt_id != parent->mnt_id)) {
        out->attr_flags = REQUEST_ATTR_SUBMOUNT;
        /* Linux keeps none for a mount point, and takes one that does not
         * match for another inode. */
        out->e.generation = 0;
    }
}

int pt_lookup_fd(struct pt_fs *fs, struct pt_node *parent, int fd,
                 struct pt_entry *out)
{
    struct pt_key key;
    struct stat st;
    uint64_t id;
    int ret;

    ret = pt_statx(fd, "", &st, &key);
    if (ret < 0) {
        close(fd);
        return ret;
    }
    ret = pt_node_insert(&fs->nodes, &key, st.st_mode, fd, &id);
    if (ret < 0)
        return ret;
    if (ret == 0)
        guess = 0;
    else if (guess < GUESS_MAX)
        guess++;
    pt_entry_fill(fs, &parent->key, &key, id, &st, out);
    return 0;
}

int pt_lookup(struct pt_fs *fs, struct pt_node *parent, const char *name,
              struct pt_entry *out)
{
    int fd;

    if (guess < GUESS_NEW) {
        struct pt_key key;
        struct stat st;
        int ret = pt_statx(parent->fd, name, &st, &key);
        uint64_t id;

        if (ret < 0)
            return ret;
        id = pt_node_find(&fs->nodes, &key);
        if (id) {
            guess = 0;
            pt_entry_fill(fs, &parent->key, &key, id, &st, out);
            return 0;
        }
    }
    fd = openat(parent->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    return pt_lookup_fd(fs, parent, fd, out);
}

void pt_reply_entry(fuse_req_t req, const struct pt_entry *ent)
{
    struct pt_fs *fs = pt_fs_of(req);

    if (ent->attr_flags)
        request_set_attr_flags(request_current(), ent->attr_flags);
    if (fuse_reply_entry(req, &ent->e) < 0)
        pt_node_forget(&fs->nodes, ent->e.ino, 1);
}

/*
 * There is no such name: node id 0 says so for as long as the entry is valid,
 * ENOENT for this once.
 */
static void reply_absent(fuse_req_t req)
{
    struct fuse_entry_param none = {
        .entry_timeout = pt_fs_of(req)->negative_timeout_s,
    };

    if (none.entry_timeout > 0)
        fuse_reply_entry(req, &none);
    else
        fuse_reply_err(req, ENOENT);
}

void pt_op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct pt_fs *fs = pt_fs_of(req);
    struct pt_node *dir;
    struct pt_entry ent;
    int ret;

    if (pt_export_lookup(req, parent, name) || pt_refuse_name(req, name))
        return;
    dir = pt_pin(req, parent);
    if (!dir)
        return;
    ret = pt_lookup(fs, dir, name, &ent);
    pt_node_put(&fs->nodes, dir);
    if (ret == -ENOENT)
        reply_absent(req);
    else if (ret < 0)
        fuse_reply_err(req, -ret);
    else
        pt_reply_entry(req, &ent);
}

void pt_op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
    pt_forget(pt_fs_of(req), ino, nlookup);
    fuse_reply_none(req);
}

/* @count is checked against the message's size by validate.c. */
void pt_op_forget_multi(fuse_req_t req, size_t count,
                        struct fuse_forget_data *forgets)
{
    struct pt_fs *fs = pt_fs_of(req);

    for (size_t i = 0; i < count; i++)
        pt_forget(fs, forgets[i].ino, forgets[i].nlookup);
    fuse_reply_none(req);
}
