/* SPDX-License-Identifier: BSD-3-Clause */
/* A descriptor for the attributes of a file, with as few opens as can be. */
#include <errno.h>
#include <sys/stat.h>

#include "fuse/passthrough/nodefd.h"
#include "fuse/passthrough/pt_i.h"

/*
 * What the guest has opened last.  Who unpacks an archive or copies a tree
 * sets owner, mode and times of each file while it is still open, and by the
 * node: its kernel names no handle then.
 */
static _Thread_local struct {
    uint64_t id, fh;
} lately;

void pt_grip_note(uint64_t id, uint64_t fh)
{
    lately.id = id;
    lately.fh = fh;
}

static bool by_handle(struct pt_fs *fs, uint64_t id, uint64_t fh,
                      struct pt_grip *g)
{
    struct pt_handle *h = pt_handle_get(&fs->handles, fh, PT_HANDLE_FILE);

    if (!h)
        return false;
    if (h->node_id != id) {
        pt_handle_put(&fs->handles, h);
        return false;
    }
    g->h = h;
    g->fd = h->fd;
    return true;
}

static bool by_any_handle(struct pt_fs *fs, uint64_t id, uint64_t fh,
                          struct pt_grip *g)
{
    return (fh && by_handle(fs, id, fh, g)) ||
           (lately.id == id && by_handle(fs, id, lately.fh, g));
}

int pt_grip(struct pt_fs *fs, uint64_t id, uint64_t fh, struct pt_grip *g)
{
    struct pt_node *n = pt_node_get(&fs->nodes, id);
    int ret = -ESTALE;

    *g = (struct pt_grip){ .fd = -1, .type = S_IFREG, .n = n };
    if (n) {
        g->type = n->type;
        if (likely(pt_node_is_open(n))) {
            g->fd = n->fd;
            return 0;
        }
    }
    if (by_any_handle(fs, id, fh, g))
        return 0;
    if (n)
        ret = pt_node_open(&fs->nodes, n);
    if (ret < 0)
        pt_grip_put(fs, g);
    else
        g->fd = n->fd;
    return ret;
}

void pt_grip_put(struct pt_fs *fs, struct pt_grip *g)
{
    if (g->h)
        pt_handle_put(&fs->handles, g->h);
    if (g->n)
        pt_node_put(&fs->nodes, g->n);
}
