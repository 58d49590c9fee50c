/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/bench/slowfs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "virtiofsd/base/util.h"

#define NODE_FILE 2
#define FILE_SIZE 4096
#define THREADS   4 /* READs that wait at the same time */

struct slowfs {
    int dev;
    unsigned int delay_ms;
    char *dir;
    pthread_t thread[THREADS];
};

static void answer(struct slowfs *f, uint64_t unique, int error,
                   const void *data, size_t len)
{
    struct fuse_out_header out = {
        .len = (uint32_t)(sizeof(out) + len),
        .error = error,
        .unique = unique,
    };
    struct iovec iov[2] = { { &out, sizeof(out) },
                            { (void *)(uintptr_t)data, len } };

    if (writev(f->dev, iov, len ? 2 : 1) < 0 && errno != ENOENT &&
        errno != ENODEV)
        perror("slowfs: answer");
}

static struct fuse_attr attr_of(uint64_t node)
{
    bool dir = node == FUSE_ROOT_ID;

    return (struct fuse_attr){
        .ino = node,
        .mode = dir ? S_IFDIR | 0755 : S_IFREG | 0644,
        .nlink = 1,
        .size = dir ? 0 : FILE_SIZE,
        .blksize = 4096,
    };
}

static void on_lookup(struct slowfs *f, const struct fuse_in_header *in)
{
    struct fuse_entry_out e = {
        .nodeid = NODE_FILE,
        .entry_valid = 3600,
        .attr_valid = 3600,
        .attr = attr_of(NODE_FILE),
    };

    if (strcmp((const char *)(in + 1), "file") == 0)
        answer(f, in->unique, 0, &e, sizeof(e));
    else
        answer(f, in->unique, -ENOENT, NULL, 0);
}

static void on_init(struct slowfs *f, const struct fuse_in_header *in)
{
    const struct fuse_init_in *i = (const void *)(in + 1);
    struct fuse_init_out out = {
        .major = FUSE_KERNEL_VERSION,
        .minor = MIN(i->minor, (uint32_t)FUSE_KERNEL_MINOR_VERSION),
        .flags = i->flags & FUSE_ASYNC_READ,
        .max_write = 4096,
        .max_background = 16,
        .congestion_threshold = 12,
    };

    answer(f, in->unique, 0, &out, sizeof(out));
}

static void on_read(struct slowfs *f, const struct fuse_in_header *in)
{
    static const char data[FILE_SIZE];
    const struct fuse_read_in *r = (const void *)(in + 1);
    uint64_t off = MIN(r->offset, (uint64_t)FILE_SIZE);

    usleep(f->delay_ms * 1000);
    answer(f, in->unique, 0, data,
           MIN((size_t)r->size, (size_t)(FILE_SIZE - off)));
}

static void on_request(struct slowfs *f, const struct fuse_in_header *in)
{
    /* Each read(2) is to come here, not to be answered from a cache. */
    struct fuse_open_out open_out = { 1, FOPEN_DIRECT_IO, 0 };
    struct fuse_attr_out attr = { 3600, 0, 0, attr_of(in->nodeid) };

    switch (in->opcode) {
    case FUSE_INIT:
        on_init(f, in);
        break;
    case FUSE_LOOKUP:
        on_lookup(f, in);
        break;
    case FUSE_GETATTR:
        answer(f, in->unique, 0, &attr, sizeof(attr));
        break;
    case FUSE_OPEN:
        answer(f, in->unique, 0, &open_out, sizeof(open_out));
        break;
    case FUSE_READ:
        on_read(f, in);
        break;
    case FUSE_FLUSH:
    case FUSE_RELEASE:
        answer(f, in->unique, 0, NULL, 0);
        break;
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
    case FUSE_INTERRUPT:
        break;
    default:
        answer(f, in->unique, -ENOSYS, NULL, 0);
        break;
    }
}

static void *serve(void *arg)
{
    _Alignas(8) char buf[FUSE_MIN_READ_BUFFER + 8192];
    struct slowfs *f = arg;
    ssize_t n;

    while ((n = read(f->dev, buf, sizeof(buf))) > 0 ||
           (n < 0 && (errno == EINTR || errno == ENOENT))) {
        if (n > 0)
            on_request(f, (const struct fuse_in_header *)(void *)buf);
    }
    return NULL; /* unmounted */
}

struct slowfs *slowfs_mount(const char *dir, unsigned int delay_ms)
{
    struct slowfs *f = calloc(1, sizeof(*f));
    char opts[128];

    if (!f)
        return NULL;
    f->dir = strdup(dir);
    f->delay_ms = delay_ms;
    f->dev = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    snprintf(opts, sizeof(opts),
             "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", f->dev);
    if (f->dev < 0 || mount("slowfs", dir, "fuse", 0, opts) < 0) {
        if (f->dev >= 0)
            close(f->dev);
        free(f->dir);
        free(f);
        return NULL;
    }
    for (int i = 0; i < THREADS; i++)
        pthread_create(&f->thread[i], NULL, serve, f);
    return f;
}

void slowfs_end(struct slowfs *f)
{
    umount2(f->dir, MNT_FORCE);
    umount2(f->dir, MNT_DETACH);
    for (int i = 0; i < THREADS; i++)
        pthread_join(f->thread[i], NULL);
    close(f->dev);
    free(f->dir);
    free(f);
}
