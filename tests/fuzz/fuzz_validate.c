/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The shape of one request, and then, if it passes, libfuse and operations,
 * or those beside it, that read every byte they are promised: the request ends
 * where its memory ends, so a sanitizer sees who goes further.
 *
 * Input: u32 opcode, u16 room for the reply, the request's body.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "fuse/extension.h"
#include "fuse/extra.h"
#include "fuse/fuse_api.h"
#include "fuse/passthrough/pt.h"
#include "fuse/validate.h"
#include "tests/fuzz/fuzz.h"
#include "virtiofsd/base/log.h"
#include "virtiofsd/base/util.h"

/* What the operations have read ends up here, so that it is read. */
static volatile size_t sink;
static int replies;

static void touch(const void *p, size_t len)
{
    const uint8_t *b = p;
    size_t sum = 0;

    for (size_t i = 0; i < len; i++)
        sum += b[i];
    sink = sum;
}

static void name_in(const char *name)
{
    touch(name, strlen(name) + 1);
}

static void op_name(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    (void)parent;
    name_in(name);
    fuse_reply_err(req, ENOENT);
}

static void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent,
                       const char *name)
{
    (void)parent;
    name_in(target);
    name_in(name);
    fuse_reply_err(req, EPERM);
}

static void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name,
                     mode_t mode, dev_t rdev)
{
    (void)mode;
    (void)rdev;
    op_name(req, parent, name);
}

static void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name,
                     mode_t mode)
{
    (void)mode;
    op_name(req, parent, name);
}

static void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
                      fuse_ino_t newparent, const char *newname,
                      unsigned int flags)
{
    (void)flags;
    sink = newparent;
    op_symlink(req, name, parent, newname);
}

static void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent,
                    const char *newname)
{
    (void)ino;
    op_name(req, newparent, newname);
}

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name,
                      mode_t mode, struct fuse_file_info *fi)
{
    (void)mode;
    touch(fi, sizeof(*fi));
    op_name(req, parent, name);
}

static void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
                        const char *value, size_t size, int flags)
{
    (void)flags;
    touch(value, size);
    op_name(req, ino, name);
}

static void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
                        size_t size)
{
    sink = size;
    op_name(req, ino, name);
}

static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr,
                       int to_set, struct fuse_file_info *fi)
{
    (void)ino;
    (void)to_set;
    touch(attr, sizeof(*attr));
    if (fi)
        touch(fi, sizeof(*fi));
    fuse_reply_err(req, EPERM);
}

static const struct fuse_lowlevel_ops ops = {
    .setattr = op_setattr,
    .symlink = op_symlink,
    .mknod = op_mknod,
    .mkdir = op_mkdir,
    .rename = op_rename,
    .link = op_link,
    .create = op_create,
    .setxattr = op_setxattr,
    .getxattr = op_getxattr,
    .removexattr = op_name,
};

static ssize_t on_read(int fd, void *buf, size_t len, void *userdata)
{
    (void)fd;
    (void)buf;
    (void)len;
    (void)userdata;
    return 0;
}

static ssize_t on_writev(int fd, struct iovec *iov, int count, void *userdata)
{
    const struct fuse_out_header *out = iov[0].iov_base;
    ssize_t len = 0;

    (void)fd;
    (void)userdata;
    for (int i = 0; i < count; i++) {
        touch(iov[i].iov_base, iov[i].iov_len);
        len += (ssize_t)iov[i].iov_len;
    }
    FUZZ_CHECK(out->unique == 1 && out->error <= 0 && out->error > -4096);
    replies++;
    return len;
}

static void quiet(enum fuse_log_level level, const char *fmt, va_list ap)
{
    (void)level;
    (void)fmt;
    (void)ap;
}

static struct fuse_session *open_session(void)
{
    static const struct fuse_custom_io io = { .writev = on_writev,
                                              .read = on_read };
    char name[] = "fuzz";
    char *argv[] = { name, NULL };
    struct fuse_args args = FUSE_ARGS_INIT(1, argv);
    struct fuse_session *se;

    fuse_set_log_func(quiet);
    log_set_level(LOG_LEVEL_OFF);
    se = fuse_session_new(&args, &ops, sizeof(ops), NULL);
    fuse_opt_free_args(&args);
    FUZZ_CHECK(se &&
               fuse_session_custom_io(se, &io, eventfd(0, EFD_CLOEXEC)) == 0);
    return se;
}

/* As session_process() does it. */
static void process(struct fuse_session *se, struct request *r)
{
    struct fuse_in_header *h = (struct fuse_in_header *)r->arg;
    struct fuse_buf buf = {
        .mem = r->arg,
        .size = h->opcode == FUSE_WRITE ? r->total : r->arg_len,
    };

    h->unique = 1;
    request_set_current(r);
    fuse_session_process_buf(se, &buf);
    request_set_current(NULL);
}

/* What the operations beside libfuse read without asking how long it is. */
static void read_raw(const struct request *r)
{
    static const size_t in[] = {
        [FUSE_FORGET] = sizeof(struct fuse_forget_in),
        [FUSE_BATCH_FORGET] = sizeof(struct fuse_batch_forget_in),
        [FUSE_GETATTR] = sizeof(struct fuse_getattr_in),
        [FUSE_OPEN] = sizeof(struct fuse_open_in),
        [FUSE_READ] = sizeof(struct fuse_read_in),
        [FUSE_WRITE] = sizeof(struct fuse_write_in),
        [FUSE_FLUSH] = sizeof(struct fuse_flush_in),
        [FUSE_RELEASE] = sizeof(struct fuse_release_in),
        [FUSE_OPENDIR] = sizeof(struct fuse_open_in),
        [FUSE_READDIR] = sizeof(struct fuse_read_in),
        [FUSE_READDIRPLUS] = sizeof(struct fuse_read_in),
        [FUSE_RELEASEDIR] = sizeof(struct fuse_release_in),
        [PROTO_SYNCFS] = sizeof(struct proto_syncfs_in),
        [PROTO_STATX] = sizeof(struct proto_statx_in),
        [PROTO_COPY_FILE_RANGE_64] = sizeof(struct fuse_copy_file_range_in),
    };
    const uint8_t *a = request_args(r, NULL);

    FUZZ_CHECK(r->hdr.opcode < ARRAY_SIZE(in));
    touch(a, in[r->hdr.opcode]);
    if (r->hdr.opcode == FUSE_LOOKUP || r->hdr.opcode == FUSE_UNLINK ||
        r->hdr.opcode == FUSE_RMDIR)
        name_in((const char *)a);
    if (r->hdr.opcode == FUSE_BATCH_FORGET)
        touch(a + sizeof(struct fuse_batch_forget_in),
              ((const struct fuse_batch_forget_in *)a)->count *
                  sizeof(struct fuse_forget_one));
    /* The bytes are still the guest's; only the size is looked at. */
    if (r->hdr.opcode == FUSE_WRITE)
        FUZZ_CHECK(((const struct fuse_write_in *)a)->size <=
                   r->total - sizeof(struct fuse_in_header) -
                       sizeof(struct fuse_write_in));
}

/* A request in memory of its own length, as request_load() would leave it. */
static void load(struct request *r, uint32_t opcode, const uint8_t *body,
                 size_t len)
{
    struct fuse_in_header h = { .len = (uint32_t)(sizeof(h) + len),
                                .opcode = opcode,
                                .nodeid = 1,
                                .unique = 1 };

    r->hdr = h;
    r->total = h.len;
    if (opcode == FUSE_WRITE)
        len = MIN(len, sizeof(struct fuse_write_in));
    r->arg_len = sizeof(h) + len;
    r->arg = malloc(r->arg_len);
    FUZZ_CHECK(r->arg != NULL);
    memcpy(r->arg, &h, sizeof(h));
    if (len > 0)
        memcpy(r->arg + sizeof(h), body, len);
}

static struct fuse_session *say_init(void)
{
    struct fuse_init_in in = { .major = 7, .minor = 31, .flags = UINT32_MAX };
    struct fuse_session *se = open_session();
    struct request r = { .chain = { .writable_bytes = 4096 } };

    load(&r, FUSE_INIT, (const uint8_t *)&in, sizeof(in));
    replies = 0;
    extra_mask_init(&r);
    process(se, &r);
    FUZZ_CHECK(replies == 1);
    free(r.arg);
    return se;
}

/* An INIT is padded with zeros to its full size before it goes on. */
static void run_init(struct request *r)
{
    struct fuse_session *se;

    r->arg = realloc(r->arg, r->arg_len + sizeof(struct fuse_init_in));
    FUZZ_CHECK(r->arg != NULL);
    memset(r->arg + r->arg_len, 0, sizeof(struct fuse_init_in));
    if (extra_check_init(r) < 0)
        return;
    r->agree = extra_offered(r);
    extra_mask_init(r);
    se = open_session();
    process(se, r);
    fuse_session_destroy(se);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fuse_session *session;
    struct fuzz_in in = { data, size };
    struct request r = { 0 };
    uint32_t opcode = (uint32_t)fuzz_uint(&in, 4);

    if (!session)
        session = say_init();
    r.chain.writable_bytes = fuzz_uint(&in, 2);
    load(&r, opcode, in.p, in.left);
    replies = 0;
    if (validate_request(&r) == 0) {
        FUZZ_CHECK(strcmp(validate_opcode_name(opcode), "?") != 0);
        switch (opcode) {
        case FUSE_INIT:
            run_init(&r);
            break;
        case FUSE_INTERRUPT:
        case FUSE_DESTROY:
            break; /* libfuse does not get to see these */
        default:
            /* A room that is odd stands for a guest with extensions. */
            if (extension_take(&r,
                               r.chain.writable_bytes & 1 ? UINT64_MAX : 0) < 0)
                break;
            if (pt_raw_op(opcode)) {
                read_raw(&r);
                break;
            }
            process(session, &r);
            FUZZ_CHECK(replies == !validate_no_reply(opcode));
        }
    }
    free(r.arg);
    return 0;
}
