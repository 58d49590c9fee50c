/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/lib/fusecall.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/lib/tap.h"
#include "virtiofsd/base/util.h"

/* Copy a reply whose payload has to be exactly one struct. */
static int call_out(struct guest_queue *q, struct fm *m, void *out, size_t len)
{
    int ret;

    m->room = len;
    ret = fm_call(q, m);
    if (ret != 0)
        return ret;
    if (!CHECK_EQ(m->out_len, len, "the reply holds its struct"))
        return FM_EMPTY;
    if (out)
        memcpy(out, m->out, len);
    return 0;
}

static void as(struct fm *m, const struct fc_who *who)
{
    if (!who)
        return;
    m->h.uid = who->uid;
    m->h.gid = who->gid;
}

int fc_init(struct guest_queue *q, uint64_t flags, struct fuse_init_out *out)
{
    struct fuse_init_in in = {
        .major = FUSE_KERNEL_VERSION,
        .minor = FUSE_KERNEL_MINOR_VERSION,
        .max_readahead = 1 << 20,
        .flags = (uint32_t)flags | FUSE_INIT_EXT,
        .flags2 = (uint32_t)(flags >> 32),
    };
    struct fm m;

    fm_init(&m, FUSE_INIT, 0);
    fm_add(&m, &in, sizeof(in));
    return call_out(q, &m, out, sizeof(*out));
}

int fc_destroy(struct guest_queue *q)
{
    struct fm m;

    fm_init(&m, FUSE_DESTROY, 0);
    return fm_call(q, &m);
}

int fc_lookup(struct guest_queue *q, uint64_t dir, const char *name,
              struct fuse_entry_out *e)
{
    struct fm m;

    fm_init(&m, FUSE_LOOKUP, dir);
    fm_add_name(&m, name);
    return call_out(q, &m, e, sizeof(*e));
}

int fc_walk(struct guest_queue *q, const char *path, struct fuse_entry_out *e)
{
    char copy[512], *save = NULL, *name;
    uint64_t dir = FC_ROOT;
    int ret = -EINVAL;

    snprintf(copy, sizeof(copy), "%s", path);
    for (name = strtok_r(copy, "/", &save); name;
         name = strtok_r(NULL, "/", &save)) {
        ret = fc_lookup(q, dir, name, e);
        if (ret != 0)
            return ret;
        dir = e->nodeid;
    }
    return ret;
}

int fc_forget(struct guest_queue *q, uint64_t node, uint64_t n)
{
    struct fuse_forget_in in = { n };
    struct fm m;

    fm_init(&m, FUSE_FORGET, node);
    fm_add(&m, &in, sizeof(in));
    m.no_reply = true;
    return fm_call(q, &m);
}

int fc_getattr(struct guest_queue *q, uint64_t node, struct fuse_attr_out *a)
{
    struct fuse_getattr_in in = { 0 };
    struct fm m;

    fm_init(&m, FUSE_GETATTR, node);
    fm_add(&m, &in, sizeof(in));
    return call_out(q, &m, a, sizeof(*a));
}

int fc_setattr(struct guest_queue *q, uint64_t node,
               const struct fuse_setattr_in *in, struct fuse_attr_out *a)
{
    struct fm m;

    fm_init(&m, FUSE_SETATTR, node);
    fm_add(&m, in, sizeof(*in));
    return call_out(q, &m, a, sizeof(*a));
}

int fc_open(struct guest_queue *q, uint32_t op, uint64_t node, uint32_t flags,
            struct fuse_open_out *o)
{
    struct fuse_open_in in = { .flags = flags };
    struct fm m;

    fm_init(&m, op, node);
    fm_add(&m, &in, sizeof(in));
    return call_out(q, &m, o, sizeof(*o));
}

int fc_release(struct guest_queue *q, uint32_t op, uint64_t node, uint64_t fh)
{
    struct fuse_release_in in = { .fh = fh };

    return fc_simple(q, op, node, &in, sizeof(in));
}

int fc_create(struct guest_queue *q, const struct fc_who *who, uint64_t dir,
              const char *name, uint32_t flags, uint32_t mode,
              struct fuse_entry_out *e, struct fuse_open_out *o)
{
    struct fuse_create_in in = { .flags = flags, .mode = mode };
    struct {
        struct fuse_entry_out e;
        struct fuse_open_out o;
    } out;
    struct fm m;
    int ret;

    fm_init(&m, FUSE_CREATE, dir);
    as(&m, who);
    fm_add(&m, &in, sizeof(in));
    fm_add_name(&m, name);
    ret = call_out(q, &m, &out, sizeof(out));
    if (ret == 0) {
        *e = out.e;
        *o = out.o;
    }
    return ret;
}

static int read_op(struct guest_queue *q, uint32_t op, uint64_t node,
                   const struct fuse_read_in *in, const uint8_t **data,
                   size_t *len)
{
    struct fm m;
    int ret;

    fm_init(&m, op, node);
    fm_add(&m, in, sizeof(*in));
    m.room = in->size;
    ret = fm_call(q, &m);
    *data = m.out;
    *len = ret == 0 ? m.out_len : 0;
    return ret;
}

int fc_read(struct guest_queue *q, uint64_t node, uint64_t fh, uint64_t off,
            uint32_t size, const void **data, size_t *len)
{
    struct fuse_read_in in = { .fh = fh, .offset = off, .size = size };
    const uint8_t *p;
    int ret = read_op(q, FUSE_READ, node, &in, &p, len);

    *data = p;
    return ret;
}

int fc_readdir(struct guest_queue *q, uint32_t op, uint64_t node, uint64_t fh,
               uint64_t off, uint32_t size, const uint8_t **data, size_t *len)
{
    struct fuse_read_in in = { .fh = fh, .offset = off, .size = size };

    return read_op(q, op, node, &in, data, len);
}

int fc_write(struct guest_queue *q, uint64_t node, uint64_t fh, uint64_t off,
             const void *data, uint32_t size, uint32_t *written)
{
    struct fuse_write_in in = { .fh = fh, .offset = off, .size = size };
    struct fuse_write_out out = { 0 };
    struct fm m;
    int ret;

    fm_init(&m, FUSE_WRITE, node);
    fm_add(&m, &in, sizeof(in));
    fm_add(&m, data, size);
    ret = call_out(q, &m, &out, sizeof(out));
    *written = out.size;
    return ret;
}

void fc_listed(struct guest_queue *q, uint64_t dir, const char *name,
               struct fuse_entry_out *e)
{
    struct fuse_direntplus d;
    struct fuse_open_out f;
    const uint8_t *p;
    size_t len = 0, size;

    CHECK_EQ(fc_open(q, FUSE_OPENDIR, dir, 0, &f), 0, name);
    CHECK_EQ(fc_readdir(q, FUSE_READDIRPLUS, dir, f.fh, 0, 8192, &p, &len), 0,
             name);
    for (; len >= FUSE_NAME_OFFSET_DIRENTPLUS; p += size, len -= size) {
        memcpy(&d, p, FUSE_NAME_OFFSET_DIRENTPLUS);
        size = FUSE_DIRENTPLUS_SIZE(&d);
        if (size > len)
            break;
        if (d.dirent.namelen == strlen(name) &&
            memcmp(p + FUSE_NAME_OFFSET_DIRENTPLUS, name, strlen(name)) == 0) {
            *e = d.entry_out;
            return;
        }
    }
    CHECK(false, "it is listed");
}

int fc_mkdir(struct guest_queue *q, const struct fc_who *who, uint64_t dir,
             const char *name, uint32_t mode, struct fuse_entry_out *e)
{
    struct fuse_mkdir_in in = { .mode = mode };
    struct fm m;

    fm_init(&m, FUSE_MKDIR, dir);
    as(&m, who);
    fm_add(&m, &in, sizeof(in));
    fm_add_name(&m, name);
    return call_out(q, &m, e, sizeof(*e));
}

int fc_mknod(struct guest_queue *q, const struct fc_who *who, uint64_t dir,
             const char *name, uint32_t mode, uint32_t rdev,
             struct fuse_entry_out *e)
{
    struct fuse_mknod_in in = { .mode = mode, .rdev = rdev };
    struct fm m;

    fm_init(&m, FUSE_MKNOD, dir);
    as(&m, who);
    fm_add(&m, &in, sizeof(in));
    fm_add_name(&m, name);
    return call_out(q, &m, e, sizeof(*e));
}

int fc_symlink(struct guest_queue *q, const struct fc_who *who, uint64_t dir,
               const char *name, const char *target, struct fuse_entry_out *e)
{
    struct fm m;

    fm_init(&m, FUSE_SYMLINK, dir);
    as(&m, who);
    fm_add_name(&m, name);
    fm_add_name(&m, target);
    return call_out(q, &m, e, sizeof(*e));
}

int fc_link(struct guest_queue *q, uint64_t node, uint64_t dir,
            const char *name, struct fuse_entry_out *e)
{
    struct fuse_link_in in = { node };
    struct fm m;

    fm_init(&m, FUSE_LINK, dir);
    fm_add(&m, &in, sizeof(in));
    fm_add_name(&m, name);
    return call_out(q, &m, e, sizeof(*e));
}

int fc_remove(struct guest_queue *q, uint32_t op, uint64_t dir,
              const char *name)
{
    return fc_simple(q, op, dir, name, strlen(name) + 1);
}

int fc_rename(struct guest_queue *q, uint64_t dir, const char *name,
              uint64_t new_dir, const char *new_name, uint32_t flags)
{
    struct fuse_rename_in in = { new_dir };
    struct fuse_rename2_in in2 = { .newdir = new_dir, .flags = flags };
    struct fm m;

    fm_init(&m, flags ? FUSE_RENAME2 : FUSE_RENAME, dir);
    if (flags)
        fm_add(&m, &in2, sizeof(in2));
    else
        fm_add(&m, &in, sizeof(in));
    fm_add_name(&m, name);
    fm_add_name(&m, new_name);
    return fm_call(q, &m);
}

int fc_simple(struct guest_queue *q, uint32_t op, uint64_t node, const void *in,
              size_t len)
{
    struct fm m;
    int ret;

    fm_init(&m, op, node);
    if (len > 0)
        fm_add(&m, in, len);
    ret = fm_call(q, &m);
    if (ret == 0)
        CHECK_EQ(m.out_len, 0, "this reply has no payload");
    return ret;
}
