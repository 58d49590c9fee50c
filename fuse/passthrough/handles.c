/* SPDX-License-Identifier: BSD-3-Clause */
#include "fuse/passthrough/handles.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "fuse/passthrough/closing.h"

static struct pt_dir *new_dir(void)
{
    struct pt_dir *d = malloc(sizeof(*d));

    if (!d)
        return NULL;
    pthread_mutex_init(&d->lock, NULL);
    d->off = 0;
    d->pos = d->len = 0;
    return d;
}

static void free_dir(struct pt_dir *d)
{
    if (!d)
        return;
    pthread_mutex_destroy(&d->lock);
    free(d);
}

int pt_handle_add(struct pt_table *t, enum pt_handle_kind kind, int fd,
                  int flags, uint64_t node_id, uint64_t *fh)
{
    struct pt_dir *dir = NULL;
    struct pt_handle *h;

    if (kind == PT_HANDLE_DIR) {
        dir = new_dir();
        if (!dir)
            goto fail_fd;
    }
    h = pt_table_alloc(t);
    if (!h)
        goto fail_dir;
    h->kind = kind;
    h->fd = fd;
    h->flags = flags;
    h->node_id = node_id;
    atomic_store_explicit(&h->pace,
                          flags & O_DIRECT ? PT_PACE_DIRECT : PT_PACE_ASK,
                          memory_order_relaxed);
    h->dir = dir;
    atomic_store_explicit(&h->open, true, memory_order_relaxed);
    *fh = pt_slot_id(&h->slot);
    pt_slot_publish(&h->slot);
    return 0;

fail_dir:
    free_dir(dir);
fail_fd:
    close(fd);
    return -ENOMEM;
}

struct pt_handle *pt_handle_get(struct pt_table *t, uint64_t fh,
                                enum pt_handle_kind kind)
{
    struct pt_handle *h = pt_table_get(t, fh);

    if (!h)
        return NULL;
    if (h->kind == kind && atomic_load_explicit(&h->open, memory_order_relaxed))
        return h;
    pt_handle_put(t, h);
    return NULL;
}

void pt_handle_put(struct pt_table *t, struct pt_handle *h)
{
    if (!pt_slot_put(&h->slot))
        return;
    pt_close(h->fd);
    h->fd = -1;
    free_dir(h->dir);
    h->dir = NULL;
    pt_table_free(t, &h->slot);
}

/* Whoever turns open off drops the table's reference: a second RELEASE that
 * comes while a READ still holds a pin must not drop it again. */
static int close_pinned(struct pt_table *t, struct pt_handle *h)
{
    if (!atomic_exchange_explicit(&h->open, false, memory_order_relaxed))
        return -EBADF;
    pt_handle_put(t, h);
    return 0;
}

int pt_handle_release(struct pt_table *t, uint64_t fh, enum pt_handle_kind kind)
{
    struct pt_handle *h = pt_handle_get(t, fh, kind);
    int ret;

    if (!h)
        return -EBADF;
    ret = close_pinned(t, h);
    pt_handle_put(t, h);
    return ret;
}

void pt_handles_reset(struct pt_table *t)
{
    struct pt_handle *h;
    uint32_t idx = 0;

    pt_closing_begin();
    while ((h = pt_table_next(t, &idx))) {
        close_pinned(t, h);
        pt_handle_put(t, h);
    }
    pt_closing_end();
}
