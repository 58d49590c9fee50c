/* SPDX-License-Identifier: BSD-3-Clause */
#include "fuse/validate.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "virtiofsd/base/util.h"

/* What SETXATTR carries before the name unless FUSE_SETXATTR_EXT was agreed;
 * the longer one passes for it here and is checked again by extension.c. */
#define SETXATTR_IN_BYTES 8
/* INIT up to minor 35 ends after its flags. */
#define INIT_IN_BYTES 16

/**
 * struct op_shape - one opcode.
 * @in:    bytes of fixed arguments behind the header.
 * @names: NUL-terminated strings behind those.
 * @out:   bytes of the shortest good reply behind its header.
 * @more:  the rest of the check, or NULL.
 */
struct op_shape {
    const char *name;
    uint32_t in;
    uint8_t names;
    uint16_t out;
    int (*more)(const struct request *r);
};

static const void *args(const struct request *r)
{
    return r->arg + sizeof(struct fuse_in_header);
}

static int check_write(const struct request *r)
{
    const struct fuse_write_in *w = args(r);

    return w->size <= r->total - r->arg_len ? 0 : -EINVAL;
}

static int check_ioctl(const struct request *r)
{
    const struct fuse_ioctl_in *io = args(r);
    size_t left = r->arg_len - sizeof(struct fuse_in_header) - sizeof(*io);

    return io->in_size <= left ? 0 : -EINVAL;
}

static int check_batch_forget(const struct request *r)
{
    const struct fuse_batch_forget_in *b = args(r);
    size_t left = r->arg_len - sizeof(struct fuse_in_header) - sizeof(*b);

    return b->count <= left / sizeof(struct fuse_forget_one) ? 0 : -EINVAL;
}

static int check_setxattr(const struct request *r)
{
    const struct fuse_setxattr_in *x = args(r);
    const char *name = (const char *)args(r) + SETXATTR_IN_BYTES;
    size_t left =
        r->arg_len - sizeof(struct fuse_in_header) - SETXATTR_IN_BYTES;
    uint32_t size;

    memcpy(&size, x, sizeof(size)); /* first field of either layout */
    left -= strlen(name) + 1;       /* its NUL is there: names was checked */
    return size <= left ? 0 : -EINVAL;
}

/* Asked for a size, the answer is a struct and not the value itself. */
static int check_xattr_room(const struct request *r)
{
    const struct fuse_getxattr_in *x = args(r);

    if (x->size == 0 &&
        request_reply_room(r) < sizeof(struct fuse_getxattr_out))
        return -EIO;
    return 0;
}

/* A range of bytes, both ends included, up to which a file may grow. */
static int check_lk(const struct request *r)
{
    const struct fuse_lk_in *lk = args(r);
    bool flock = lk->lk_flags & FUSE_LK_FLOCK;

    if (lk->lk_flags & ~(uint32_t)FUSE_LK_FLOCK)
        return -EINVAL;
    if (lk->lk.type != F_RDLCK && lk->lk.type != F_WRLCK &&
        lk->lk.type != F_UNLCK)
        return -EINVAL;
    if (flock)
        return 0;
    return lk->lk.start <= lk->lk.end && lk->lk.end <= INT64_MAX ? 0 : -EINVAL;
}

static int check_getlk(const struct request *r)
{
    const struct fuse_lk_in *lk = args(r);

    if (lk->lk_flags != 0 || lk->lk.type == F_UNLCK)
        return -EINVAL;
    return check_lk(r);
}

#define IN(s)  sizeof(struct fuse_##s##_in)
#define OUT(s) sizeof(struct fuse_##s##_out)
#define ENTRY  OUT(entry)

#define STATX_OUT   sizeof(struct proto_statx_out)
#define COPY_64_OUT sizeof(struct proto_copy_file_range_out)

/* clang-format off */
static const struct op_shape shapes[] = {
#define OP(n, ...) [FUSE_##n] = { #n, __VA_ARGS__ }
    OP(LOOKUP,          0,                   1, ENTRY,               NULL),
    OP(FORGET,          IN(forget),          0, 0,                   NULL),
    OP(GETATTR,         IN(getattr),         0, OUT(attr),           NULL),
    OP(SETATTR,         IN(setattr),         0, OUT(attr),           NULL),
    OP(READLINK,        0,                   0, 0,                   NULL),
    OP(SYMLINK,         0,                   2, ENTRY,               NULL),
    OP(MKNOD,           IN(mknod),           1, ENTRY,               NULL),
    OP(MKDIR,           IN(mkdir),           1, ENTRY,               NULL),
    OP(UNLINK,          0,                   1, 0,                   NULL),
    OP(RMDIR,           0,                   1, 0,                   NULL),
    OP(RENAME,          IN(rename),          2, 0,                   NULL),
    OP(LINK,            IN(link),            1, ENTRY,               NULL),
    OP(OPEN,            IN(open),            0, OUT(open),           NULL),
    OP(READ,            IN(read),            0, 0,                   NULL),
    OP(WRITE,           IN(write),           0, OUT(write),          check_write),
    OP(STATFS,          0,                   0, OUT(statfs),         NULL),
    OP(RELEASE,         IN(release),         0, 0,                   NULL),
    OP(FSYNC,           IN(fsync),           0, 0,                   NULL),
    OP(SETXATTR,        SETXATTR_IN_BYTES,   1, 0,                   check_setxattr),
    OP(GETXATTR,        IN(getxattr),        1, 0,                   check_xattr_room),
    OP(LISTXATTR,       IN(getxattr),        0, 0,                   check_xattr_room),
    OP(REMOVEXATTR,     0,                   1, 0,                   NULL),
    OP(FLUSH,           IN(flush),           0, 0,                   NULL),
    OP(INIT,            INIT_IN_BYTES,       0, OUT(init),           NULL),
    OP(OPENDIR,         IN(open),            0, OUT(open),           NULL),
    OP(READDIR,         IN(read),            0, 0,                   NULL),
    OP(RELEASEDIR,      IN(release),         0, 0,                   NULL),
    OP(FSYNCDIR,        IN(fsync),           0, 0,                   NULL),
    OP(GETLK,           IN(lk),              0, OUT(lk),             check_getlk),
    OP(SETLK,           IN(lk),              0, 0,                   check_lk),
    OP(SETLKW,          IN(lk),              0, 0,                   check_lk),
    OP(ACCESS,          IN(access),          0, 0,                   NULL),
    OP(CREATE,          IN(create),          1, ENTRY + OUT(open),   NULL),
    OP(INTERRUPT,       IN(interrupt),       0, 0,                   NULL),
    OP(DESTROY,         0,                   0, 0,                   NULL),
    OP(IOCTL,           IN(ioctl),           0, OUT(ioctl),          check_ioctl),
    OP(BATCH_FORGET,    IN(batch_forget),    0, 0,                   check_batch_forget),
    OP(FALLOCATE,       IN(fallocate),       0, 0,                   NULL),
    OP(READDIRPLUS,     IN(read),            0, 0,                   NULL),
    OP(RENAME2,         IN(rename2),         2, 0,                   NULL),
    OP(LSEEK,           IN(lseek),           0, OUT(lseek),          NULL),
    OP(COPY_FILE_RANGE, IN(copy_file_range), 0, OUT(write),          NULL),
#undef OP
#define OP(n, ...) [PROTO_##n] = { #n, __VA_ARGS__ }
    OP(SYNCFS,  sizeof(struct proto_syncfs_in), 0, 0,                 NULL),
    OP(TMPFILE, IN(create),                     1, ENTRY + OUT(open), NULL),
    OP(STATX,   sizeof(struct proto_statx_in),  0, STATX_OUT,         NULL),
    OP(COPY_FILE_RANGE_64, IN(copy_file_range), 0, COPY_64_OUT,       NULL),
#undef OP
};
/* clang-format on */

static const struct op_shape *shape_of(uint32_t opcode)
{
    if (opcode >= ARRAY_SIZE(shapes) || !shapes[opcode].name)
        return NULL;
    return &shapes[opcode];
}

bool validate_no_reply(uint32_t opcode)
{
    return opcode == FUSE_FORGET || opcode == FUSE_BATCH_FORGET;
}

const char *validate_opcode_name(uint32_t opcode)
{
    const struct op_shape *s = shape_of(opcode);

    return s ? s->name : "?";
}

/* @n strings, each with its NUL, within @len bytes. */
static bool names_end(const uint8_t *p, size_t len, unsigned int n)
{
    while (n-- > 0) {
        const uint8_t *nul = len ? memchr(p, 0, len) : NULL;

        if (!nul)
            return false;
        len -= (size_t)(nul + 1 - p);
        p = nul + 1;
    }
    return true;
}

/*
 * What nearly every request is: it has its arguments, no more than one name,
 * which ends where it ends, and room for the reply.  What this does not accept
 * the full check decides.
 */
static inline bool is_plain(const struct request *r, const struct op_shape *s,
                            size_t len)
{
    if (len < s->in || s->names > 1 ||
        r->chain.writable_bytes < sizeof(struct fuse_out_header) + s->out)
        return false;
    return s->names == 0 || (len > s->in && r->arg[r->arg_len - 1] == 0);
}

static __attribute__((noinline)) int
check_all(const struct request *r, const struct op_shape *s, size_t len)
{
    int ret;

    if (len < s->in)
        return -EINVAL;
    if (!names_end((const uint8_t *)args(r) + s->in, len - s->in, s->names))
        return -EINVAL;
    ret = s->more ? s->more(r) : 0;
    if (ret < 0 || validate_no_reply(r->hdr.opcode))
        return ret;
    if (r->chain.writable_bytes < sizeof(struct fuse_out_header) + s->out)
        return r->hdr.opcode == FUSE_INTERRUPT ? 0 : -EIO;
    return 0;
}

int validate_request(const struct request *r)
{
    const struct op_shape *s = shape_of(r->hdr.opcode);
    size_t len = r->arg_len - sizeof(struct fuse_in_header);

    if (unlikely(!s))
        return -ENOSYS;
    if (unlikely(!is_plain(r, s, len)))
        return check_all(r, s, len);
    return s->more ? s->more(r) : 0;
}
