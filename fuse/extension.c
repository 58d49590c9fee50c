/* SPDX-License-Identifier: BSD-3-Clause */
#include "fuse/extension.h"

#include <errno.h>
#include <string.h>

#include "fuse/proto.h"

#define KILL_SUIDGID_FATTR (1u << 11) /* FATTR_KILL_SUIDGID */

static uint8_t *args(const struct request *r)
{
    return r->arg + sizeof(struct fuse_in_header);
}

static size_t args_len(const struct request *r)
{
    return r->arg_len - sizeof(struct fuse_in_header);
}

/*
 * The longer SETXATTR has eight bytes more before the name.  validate.c could
 * not know which of the two this is, so the check of the longer one is here.
 */
static int take_setxattr(struct request *r)
{
    const struct fuse_setxattr_in *in = (const void *)args(r);
    size_t short_len = FUSE_COMPAT_SETXATTR_IN_SIZE, left;
    uint8_t *rest = args(r) + sizeof(*in);
    const uint8_t *nul;

    if (args_len(r) <= sizeof(*in))
        return -EINVAL;
    left = args_len(r) - sizeof(*in);
    nul = memchr(rest, 0, left);
    if (!nul || in->size > left - (size_t)(nul + 1 - rest))
        return -EINVAL;
    r->ext.setxattr_flags = in->setxattr_flags;
    memmove(args(r) + short_len, rest, left);
    r->arg_len -= sizeof(*in) - short_len;
    return 0;
}

/* One list of security contexts: { size, name, value } and padding. */
static int take_secctx(struct request *r, const uint8_t *p, size_t len,
                       uint32_t count)
{
    struct request_ext *x = &r->ext;

    for (uint32_t i = 0; i < count; i++) {
        struct fuse_secctx one;
        const uint8_t *nul;
        size_t used;

        if (len < sizeof(one))
            return -EINVAL;
        memcpy(&one, p, sizeof(one));
        nul = memchr(p + sizeof(one), 0, len - sizeof(one));
        if (!nul || one.size > len - (size_t)(nul + 1 - p))
            return -EINVAL;
        if (x->n_secctx == REQUEST_SECCTX_MAX)
            return -E2BIG;
        x->secctx[x->n_secctx].name = (const char *)p + sizeof(one);
        x->secctx[x->n_secctx].value = nul + 1;
        x->secctx[x->n_secctx++].bytes = one.size;
        used = (size_t)(nul + 1 - p) + one.size;
        used = MIN((used + 7) & ~(size_t)7, len);
        p += used;
        len -= used;
    }
    return 0;
}

static int take_groups(struct request *r, const uint8_t *p, size_t len)
{
    struct proto_supp_groups g;

    if (len < sizeof(g))
        return -EINVAL;
    memcpy(&g, p, sizeof(g));
    if (g.nr_groups > (len - sizeof(g)) / sizeof(uint32_t))
        return -EINVAL;
    if (g.nr_groups > REQUEST_GROUPS_MAX)
        return -E2BIG;
    r->ext.n_groups = g.nr_groups;
    memcpy(r->ext.groups, p + sizeof(g), g.nr_groups * sizeof(uint32_t));
    return 0;
}

/*
 * @names: strings between the arguments and the extensions.
 * A kernel before 6.3 sends security contexts and no total_extlen, so it is
 * not looked at: what is behind the names is extensions, to the end.
 */
static int take_extensions(struct request *r, uint64_t agreed, size_t in,
                           unsigned int names)
{
    const uint8_t *p = args(r) + in;
    size_t len = args_len(r) - in;
    int ret = 0;

    while (names-- > 0) {
        size_t one = strnlen((const char *)p, len) + 1;

        p += one; /* its NUL is there: checked by validate.c */
        len -= one;
    }
    while (ret == 0 && len >= sizeof(struct proto_ext_header)) {
        struct proto_ext_header h;

        memcpy(&h, p, sizeof(h));
        if (h.size < sizeof(h) || h.size > len)
            return -EINVAL;
        if (h.type <= PROTO_EXT_SECCTX_MAX && (agreed & FUSE_SECURITY_CTX))
            ret = take_secctx(r, p + sizeof(h), h.size - sizeof(h), h.type);
        else if (h.type == PROTO_EXT_GROUPS &&
                 (agreed & PROTO_CREATE_SUPP_GROUP))
            ret = take_groups(r, p + sizeof(h), h.size - sizeof(h));
        p += h.size;
        len -= h.size;
    }
    return ret;
}

#define EXTENDED (FUSE_SECURITY_CTX | PROTO_CREATE_SUPP_GROUP)

static int take_create(struct request *r, uint64_t agreed, size_t in,
                       unsigned int names)
{
    r->ext.n_secctx = r->ext.n_groups = 0;
    return agreed & EXTENDED ? take_extensions(r, agreed, in, names) : 0;
}

int extension_take(struct request *r, uint64_t agreed)
{
    bool kill = false;
    int ret = 0;

    switch (r->hdr.opcode) {
    case FUSE_WRITE:
        kill = ((const struct fuse_write_in *)args(r))->write_flags &
               FUSE_WRITE_KILL_SUIDGID;
        break;
    case FUSE_OPEN:
        kill = ((const struct fuse_open_in *)args(r))->open_flags &
               FUSE_OPEN_KILL_SUIDGID;
        break;
    case FUSE_SETATTR:
        kill = ((const struct fuse_setattr_in *)args(r))->valid &
               KILL_SUIDGID_FATTR;
        break;
    case FUSE_CREATE:
    case PROTO_TMPFILE:
        kill = ((const struct fuse_create_in *)args(r))->open_flags &
               FUSE_OPEN_KILL_SUIDGID;
        ret = take_create(r, agreed, sizeof(struct fuse_create_in), 1);
        break;
    case FUSE_MKNOD:
        ret = take_create(r, agreed, sizeof(struct fuse_mknod_in), 1);
        break;
    case FUSE_MKDIR:
        ret = take_create(r, agreed, sizeof(struct fuse_mkdir_in), 1);
        break;
    case FUSE_SYMLINK:
        ret = take_create(r, agreed, 0, 2);
        break;
    case FUSE_SETXATTR:
        r->ext.setxattr_flags = 0;
        if (agreed & FUSE_SETXATTR_EXT)
            ret = take_setxattr(r);
        break;
    default:
        return 0;
    }
    r->ext.kill_suidgid = kill && (agreed & FUSE_HANDLE_KILLPRIV_V2);
    return ret;
}
