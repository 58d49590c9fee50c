/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/mock_request.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/lib/tap.h"
#include "virtiofsd/base/util.h"

static _Thread_local struct request *current;

struct request *request_current(void)
{
    return current;
}

ssize_t request_read_file(struct request *r, int fd, size_t size, off_t off)
{
    ssize_t n;

    if (r->takes_us)
        usleep(r->takes_us);
    n = pread(fd, r->reply, MIN(size, r->room), off);

    if (n < 0)
        return -errno;
    r->in_place = (size_t)n;
    return n;
}

ssize_t request_read_cached(struct request *r, int fd, size_t size, off_t off)
{
    (void)fd;
    (void)size;
    (void)off;
    r->asked_cache++;
    if (r->cache_says == 0)
        return request_read_file(r, fd, size, off);
    return r->cache_says;
}

bool request_may_defer(const struct request *r)
{
    return r->may_defer;
}

bool request_is_crowded(const struct request *r)
{
    return r->crowded;
}

void request_defer(struct request *r)
{
    r->deferred = true;
}

ssize_t request_write_file(struct request *r, int fd, size_t size, off_t off,
                           int flags)
{
    struct iovec iov = { (void *)r->payload, MIN(size, r->payload_len) };
    ssize_t n = pwritev2(fd, &iov, 1, off, flags);

    return n < 0 ? -errno : n;
}

/* Begun, the payload is as if the kernel had not got to it yet. */
int request_begin_read(struct request *r, int fd, size_t size, off_t off)
{
    (void)fd;
    (void)size;
    (void)off;
    r->asked_begin++;
    r->begun = r->begin_says == 0;
    return r->begin_says;
}

void *request_scratch(struct request *r, size_t size)
{
    return size <= REQUEST_SCRATCH_MAX ? r->scratch : NULL;
}

size_t request_reply_room(const struct request *r)
{
    return r->room;
}

const struct request_ext *request_ext(const struct request *r)
{
    return &r->ext;
}

const struct fuse_in_header *request_header(const struct request *r)
{
    return &r->hdr;
}

const void *request_args(const struct request *r, size_t *len)
{
    if (len)
        *len = r->arg_len;
    return r->arg;
}

void request_reply(struct request *r, const void *payload, size_t len)
{
    r->answers++;
    r->error = 0;
    if (len)
        memcpy(r->reply + r->in_place, payload, len);
    r->reply_len = r->in_place + len;
}

void request_reply_err(struct request *r, int err)
{
    r->answers++;
    r->error = -err;
}

/* The token is the request itself: there is one at a time. */
struct request_later *request_detach(struct request *r)
{
    if (r->may_not_detach)
        return NULL;
    r->detached = true;
    return (struct request_later *)r;
}

void request_undetach(struct request *r, struct request_later *l)
{
    (void)l;
    r->detached = false;
}

void request_later_done(struct request_later *l, int err)
{
    struct request *r = (struct request *)l;

    r->later_err = -err;
    atomic_store(&r->later_done, true);
}

int mock_wait_later(struct request *r)
{
    for (int i = 0; i < 300000 && !atomic_load(&r->later_done); i++)
        usleep(100);
    CHECK(atomic_load(&r->later_done), "it is answered");
    return r->later_err;
}

struct request *mock_request_new(void)
{
    struct request *r = calloc(1, sizeof(*r));

    if (!r)
        return NULL;
    r->room = MOCK_REPLY_MAX;
    r->reply = malloc(MOCK_REPLY_MAX);
    r->scratch = malloc(REQUEST_SCRATCH_MAX);
    if (r->reply && r->scratch)
        return r;
    mock_request_free(r);
    return NULL;
}

void mock_request_free(struct request *r)
{
    if (!r)
        return;
    free(r->reply);
    free(r->scratch);
    free(r);
}

static ssize_t io_read(int fd, void *buf, size_t len, void *userdata)
{
    (void)fd;
    (void)buf;
    (void)len;
    (void)userdata;
    return 0;
}

static ssize_t io_writev(int fd, struct iovec *iov, int count, void *userdata)
{
    struct request *r = current;
    const struct fuse_out_header *out = iov[0].iov_base;
    ssize_t total = (ssize_t)iov[0].iov_len;

    (void)fd;
    (void)userdata;
    r->answers++;
    r->error = out->error;
    r->reply_len = r->in_place;
    for (int i = 1; i < count; i++) {
        if (r->reply_len + iov[i].iov_len > MOCK_REPLY_MAX) {
            errno = ENOSPC;
            return -1;
        }
        memcpy(r->reply + r->reply_len, iov[i].iov_base, iov[i].iov_len);
        r->reply_len += iov[i].iov_len;
        total += (ssize_t)iov[i].iov_len;
    }
    return total;
}

/* libfuse does not tell whose a session is. */
static struct served {
    const struct fuse_session *se;
    struct pt_fs *fs;
} served[64];
static _Atomic size_t n_served;

static struct pt_fs *fs_of(const struct fuse_session *se)
{
    /* The newest first: an earlier session may have lain at this address. */
    for (size_t n = n_served, i = 1; i <= MIN(n, ARRAY_SIZE(served)); i++) {
        const struct served *s = &served[(n - i) % ARRAY_SIZE(served)];

        if (s->se == se)
            return s->fs;
    }
    return NULL;
}

struct fuse_session *mock_session(struct pt_fs *fs)
{
    static const struct fuse_custom_io io = {
        .read = io_read,
        .writev = io_writev,
    };
    char name[] = "test";
    char *argv[] = { name, NULL };
    struct fuse_args args = FUSE_ARGS_INIT(1, argv);
    struct fuse_session *se;
    int fd = eventfd(0, EFD_CLOEXEC);

    if (fd < 0)
        return NULL;
    se = fuse_session_new(&args, &pt_ops, sizeof(pt_ops), fs);
    fuse_opt_free_args(&args); /* it made its own copy of them */
    served[n_served++ % ARRAY_SIZE(served)] = (struct served){ se, fs };
    if (!se || fuse_session_custom_io(se, &io, fd) < 0) {
        close(fd);
        return NULL;
    }
    return se;
}

int mock_send(struct fuse_session *se, struct request *r, uint32_t opcode,
              uint64_t nodeid, const void *arg, size_t arg_len)
{
    struct fuse_in_header h = {
        .len = (uint32_t)(sizeof(h) + arg_len + r->payload_len),
        .opcode = opcode,
        .unique = r->unique ? r->unique : 1,
        .nodeid = nodeid,
        .uid = r->uid,
        .gid = r->gid,
        .pid = 1,
    };
    /* Exactly as long as the message: a sanitizer sees who reads on. */
    uint8_t *mem = malloc(sizeof(h) + arg_len);
    struct fuse_buf buf = { .mem = mem, .size = h.len };
    pt_raw_fn *raw;

    memcpy(mem, &h, sizeof(h));
    memcpy(mem + sizeof(h), arg, arg_len);
    r->answers = 0;
    r->reply_len = 0;
    r->in_place = 0;
    r->hdr = h;
    r->arg = mem + sizeof(h);
    r->arg_len = arg_len;
    r->detached = false;
    r->deferred = false;
    r->begun = false;
    r->asked_cache = 0;
    r->asked_begin = 0;
    atomic_store(&r->later_done, false);
    current = r;
    raw = pt_raw_op(opcode);
    if (raw) { /* as fuse/serve.c does */
        int ret = raw(fs_of(se), r);

        if (ret < 0)
            request_reply_err(r, -ret);
    } else {
        fuse_session_process_buf(se, &buf);
    }
    current = NULL;
    free(mem);
    return r->answers == 1 ? r->error : 1;
}

int mock_init(struct fuse_session *se, struct request *r,
              struct fuse_init_out *out)
{
    /* All that a guest could ask for, but no INIT_EXT. */
    struct fuse_init_in in = {
        .major = 7,
        .minor = 38,
        .max_readahead = 1 << 17,
        .flags = ~(uint32_t)FUSE_INIT_EXT,
    };
    int ret = mock_send(se, r, FUSE_INIT, 0, &in, sizeof(in));
    const struct fuse_init_out *got = (const void *)r->reply;

    /* As fuse/life.c does, with a guest that offers all there is. */
    if (ret == 0)
        pt_set_agreed(fs_of(se), proto_init_flags(got->flags, got->flags2) |
                                     pt_agree(fs_of(se), UINT64_MAX));
    if (ret == 0 && out)
        memcpy(out, r->reply, sizeof(*out));
    return ret;
}

struct pt_opts mock_opts(void)
{
    const char *fds = getenv("MOCK_NODE_FDS");

    return (struct pt_opts){
        .file_handles = !fds             ? PT_HANDLES_NEVER
                        : geteuid() == 0 ? PT_HANDLES_MANDATORY
                                         : PT_HANDLES_PREFER,
        .node_fds = fds ? (uint32_t)atoi(fds) : 0,
        .cache = PT_CACHE_AUTO,
        .attr_timeout_s = -1,
        .entry_timeout_s = -1,
        .xattr = true,
        .readdirplus = true,
        .announce_submounts = true,
        .killpriv_v2 = true,
    };
}

static int remove_one(const char *path, const struct stat *st, int type,
                      struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

/* A file system of the test's own, of a kind that has file handles. */
static bool mount_tmpfs(struct mock *m)
{
    static bool own_namespace;

    if (!own_namespace && (unshare(CLONE_NEWNS) < 0 ||
                           mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL)))
        return false;
    own_namespace = true;
    if (mount("none", m->dir, "tmpfs", 0, NULL) < 0)
        return false;
    m->mounted = true;
    close(m->root_fd);
    m->root_fd = open(m->dir, O_PATH | O_CLOEXEC);
    return m->root_fd >= 0;
}

static bool create_fs(struct mock *m)
{
    int ret = pt_fs_create(&m->opts, m->root_fd, m->proc_fd, &m->fs);

    if (ret < 0 && m->opts.file_handles == PT_HANDLES_MANDATORY &&
        mount_tmpfs(m))
        ret = pt_fs_create(&m->opts, m->root_fd, m->proc_fd, &m->fs);
    return ret == 0;
}

bool mock_start(struct mock *m, const struct pt_opts *opts)
{
    memset(m, 0, sizeof(*m));
    m->opts = opts ? *opts : mock_opts();
    m->root_fd = m->proc_fd = -1;
    strcpy(m->dir, "/tmp/virtiofsd-test-XXXXXX");
    if (!mkdtemp(m->dir)) {
        m->dir[0] = '\0';
        return false;
    }
    m->root_fd = open(m->dir, O_PATH | O_CLOEXEC);
    m->proc_fd = open("/proc/self/fd", O_PATH | O_CLOEXEC);
    m->r = mock_request_new();
    if (m->root_fd >= 0 && m->proc_fd >= 0 && m->r && create_fs(m))
        m->se = mock_session(m->fs);
    if (m->se && mock_init(m->se, m->r, NULL) == 0)
        return true;
    mock_stop(m);
    return false;
}

void mock_stop(struct mock *m)
{
    if (m->se)
        fuse_session_destroy(m->se);
    if (m->fs)
        CHECK(pt_fs_stop(m->fs), "nothing waits any more");
    pt_fs_destroy(m->fs);
    mock_request_free(m->r);
    if (m->root_fd >= 0)
        close(m->root_fd);
    if (m->proc_fd >= 0)
        close(m->proc_fd);
    if (m->mounted)
        umount2(m->dir, MNT_DETACH);
    if (m->dir[0])
        nftw(m->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
    memset(m, 0, sizeof(*m));
}

const char *mock_path(const struct mock *m, const char *name)
{
    static _Thread_local char path[512];

    snprintf(path, sizeof(path), "%s/%s", m->dir, name);
    return path;
}

struct pt_fs_counts mock_count(const struct mock *m)
{
    struct pt_fs_counts c;

    pt_fs_count(m->fs, &c);
    return c;
}

void mock_host_file(const struct mock *m, const char *name, const char *text)
{
    size_t len = strlen(text);
    int fd = open(mock_path(m, name), O_WRONLY | O_CREAT | O_TRUNC, 0666);

    CHECK(fd >= 0 && write(fd, text, len) == (ssize_t)len, name);
    close(fd);
}

struct stat mock_host_stat(const struct mock *m, const char *name)
{
    struct stat st = { 0 };

    CHECK_EQ(lstat(mock_path(m, name), &st), 0, name);
    return st;
}

int mock_named(struct mock *m, uint32_t opcode, uint64_t id, const void *arg,
               size_t arg_len, const char *name, const char *name2)
{
    size_t n1 = strlen(name) + 1, n2 = name2 ? strlen(name2) + 1 : 0;
    uint8_t *buf = malloc(arg_len + n1 + n2);
    int ret;

    if (arg_len)
        memcpy(buf, arg, arg_len);
    memcpy(buf + arg_len, name, n1);
    if (name2)
        memcpy(buf + arg_len + n1, name2, n2);
    ret = mock_send(m->se, m->r, opcode, id, buf, arg_len + n1 + n2);
    free(buf);
    return ret;
}

static int take_entry(struct mock *m, int ret, uint64_t *id)
{
    struct fuse_entry_out out;

    if (ret == 0 && id) {
        memcpy(&out, m->r->reply, sizeof(out));
        *id = out.nodeid;
    }
    return ret;
}

int mock_lookup(struct mock *m, uint64_t parent, const char *name, uint64_t *id)
{
    return take_entry(
        m, mock_named(m, FUSE_LOOKUP, parent, NULL, 0, name, NULL), id);
}

void mock_forget(struct mock *m, uint64_t id, uint64_t n)
{
    struct fuse_forget_in in = { .nlookup = n };

    mock_send(m->se, m->r, FUSE_FORGET, id, &in, sizeof(in));
}

int mock_create(struct mock *m, uint64_t parent, const char *name, int flags,
                mode_t mode, uint64_t *id, uint64_t *fh)
{
    struct fuse_create_in in = { .flags = (uint32_t)flags, .mode = mode };
    struct fuse_open_out out;
    int ret = mock_named(m, FUSE_CREATE, parent, &in, sizeof(in), name, NULL);

    if (ret == 0 && fh) {
        memcpy(&out, m->r->reply + sizeof(struct fuse_entry_out), sizeof(out));
        *fh = out.fh;
    }
    return take_entry(m, ret, id);
}

int mock_open(struct mock *m, uint32_t opcode, uint64_t id, int flags,
              struct fuse_open_out *out)
{
    struct fuse_open_in in = { .flags = (uint32_t)flags };
    int ret = mock_send(m->se, m->r, opcode, id, &in, sizeof(in));

    if (ret == 0)
        memcpy(out, m->r->reply, sizeof(*out));
    return ret;
}

int mock_release(struct mock *m, uint32_t opcode, uint64_t id, uint64_t fh)
{
    struct fuse_release_in in = { .fh = fh };

    return mock_send(m->se, m->r, opcode, id, &in, sizeof(in));
}

int mock_read(struct mock *m, uint32_t opcode, uint64_t id, uint64_t fh,
              uint64_t off, uint32_t size)
{
    struct fuse_read_in in = { .fh = fh, .offset = off, .size = size };

    return mock_send(m->se, m->r, opcode, id, &in, sizeof(in));
}

int mock_write(struct mock *m, uint64_t id, uint64_t fh, uint64_t off,
               const void *data, uint32_t size)
{
    struct fuse_write_in in = { .fh = fh, .offset = off, .size = size };
    int ret;

    m->r->payload = data;
    m->r->payload_len = size;
    ret = mock_send(m->se, m->r, FUSE_WRITE, id, &in, sizeof(in));
    m->r->payload = NULL;
    m->r->payload_len = 0;
    return ret;
}

static int take_attr(struct mock *m, int ret, struct fuse_attr *attr)
{
    struct fuse_attr_out out;

    if (ret == 0 && attr) {
        memcpy(&out, m->r->reply, sizeof(out));
        *attr = out.attr;
    }
    return ret;
}

int mock_getattr(struct mock *m, uint64_t id, struct fuse_attr *attr)
{
    struct fuse_getattr_in in = { 0 };

    return take_attr(
        m, mock_send(m->se, m->r, FUSE_GETATTR, id, &in, sizeof(in)), attr);
}

int mock_setattr(struct mock *m, uint64_t id, const struct fuse_setattr_in *in,
                 struct fuse_attr *attr)
{
    return take_attr(
        m, mock_send(m->se, m->r, FUSE_SETATTR, id, in, sizeof(*in)), attr);
}
