/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/protocol/hangfs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/lib/daemon.h"
#include "virtiofsd/base/util.h"

#define NODE_FILE 2
#define SLOW_MAX  32 /* LOOKUPs that hang at a time */
#define FILE_SIZE (64 * HANGFS_BYTES)

struct hangfs {
    int dev, asked_fd;
    char *dir;
    pthread_t thread;
    _Atomic uint64_t read_unique;
    _Atomic uint64_t slow[SLOW_MAX]; /* uniques; 0: none */
    atomic_bool hang_flush;
};

static void answer(struct hangfs *h, uint64_t unique, int error,
                   const void *data, size_t len)
{
    struct fuse_out_header out = {
        .len = (uint32_t)(sizeof(out) + len),
        .error = error,
        .unique = unique,
    };
    struct iovec iov[2] = { { &out, sizeof(out) }, { (void *)data, len } };

    /* A request that is gone by now is none of ours. */
    if (writev(h->dev, iov, len ? 2 : 1) < 0 && errno != ENOENT)
        perror("hangfs: answer");
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

static void on_lookup(struct hangfs *h, const struct fuse_in_header *in)
{
    struct fuse_entry_out e = {
        .nodeid = NODE_FILE,
        .entry_valid = 3600,
        .attr_valid = 3600,
        .attr = attr_of(NODE_FILE),
    };
    const char *name = (const char *)(in + 1);
    uint64_t one = 1;

    if (strcmp(name, "file") == 0) {
        answer(h, in->unique, 0, &e, sizeof(e));
    } else if (strncmp(name, "nap-", 4) == 0) {
        usleep((useconds_t)atoi(name + 4));
        answer(h, in->unique, -ENOENT, NULL, 0);
    } else if (strncmp(name, "slow", 4) == 0) {
        for (int i = 0; i < SLOW_MAX; i++) {
            uint64_t none = 0;

            if (atomic_compare_exchange_strong(&h->slow[i], &none, in->unique))
                break;
        }
        if (write(h->asked_fd, &one, sizeof(one)) < 0)
            perror("hangfs: eventfd");
    } else {
        answer(h, in->unique, -ENOENT, NULL, 0);
    }
}

static void on_init(struct hangfs *h, const struct fuse_in_header *in)
{
    const struct fuse_init_in *i = (const void *)(in + 1);
    struct fuse_init_out out = {
        .major = FUSE_KERNEL_VERSION,
        .minor = MIN(i->minor, (uint32_t)FUSE_KERNEL_MINOR_VERSION),
        .max_write = 4096,
        .max_background = 16,
        .congestion_threshold = 12,
        .flags = FUSE_PARALLEL_DIROPS,
    };

    answer(h, in->unique, 0, &out, sizeof(out));
}

static void on_getattr(struct hangfs *h, const struct fuse_in_header *in)
{
    struct fuse_attr_out out = {
        .attr_valid = 3600,
        .attr = attr_of(in->nodeid),
    };

    answer(h, in->unique, 0, &out, sizeof(out));
}

static void on_interrupt(struct hangfs *h, uint64_t unique)
{
    for (int i = 0; i < SLOW_MAX; i++) {
        uint64_t it = unique;

        if (atomic_compare_exchange_strong(&h->slow[i], &it, 0))
            answer(h, unique, -EINTR, NULL, 0);
    }
}

static void on_request(struct hangfs *h, const struct fuse_in_header *in)
{
    struct fuse_open_out open_out = { .fh = 1 };
    uint64_t one = 1;

    switch (in->opcode) {
    case FUSE_INIT:
        on_init(h, in);
        break;
    case FUSE_LOOKUP:
        on_lookup(h, in);
        break;
    case FUSE_GETATTR:
        on_getattr(h, in);
        break;
    case FUSE_OPEN:
        answer(h, in->unique, 0, &open_out, sizeof(open_out));
        break;
    case FUSE_READ:
        h->read_unique = in->unique;
        if (write(h->asked_fd, &one, sizeof(one)) < 0)
            perror("hangfs: eventfd");
        break;
    case FUSE_INTERRUPT:
        on_interrupt(h, ((const struct fuse_interrupt_in *)(in + 1))->unique);
        break;
    case FUSE_FLUSH:
        if (h->hang_flush)
            break;
        answer(h, in->unique, 0, NULL, 0);
        break;
    case FUSE_RELEASE:
        answer(h, in->unique, 0, NULL, 0);
        break;
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
        break;
    default:
        answer(h, in->unique, -ENOSYS, NULL, 0);
        break;
    }
}

static void *serve(void *arg)
{
    static _Alignas(8) char buf[FUSE_MIN_READ_BUFFER + 8192];
    struct hangfs *h = arg;
    ssize_t n;

    while ((n = read(h->dev, buf, sizeof(buf))) > 0 ||
           (n < 0 && (errno == EINTR || errno == ENOENT))) {
        if (n > 0)
            on_request(h, (const struct fuse_in_header *)buf);
    }
    return NULL; /* unmounted */
}

struct hangfs *hangfs_mount(const char *dir)
{
    struct hangfs *h = calloc(1, sizeof(*h));
    char opts[128];

    if (!h)
        return NULL;
    h->dir = strdup(dir);
    h->asked_fd = eventfd(0, EFD_CLOEXEC);
    h->dev = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    snprintf(opts, sizeof(opts),
             "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", h->dev);
    if (h->dev < 0 || mount("hangfs", dir, "fuse", 0, opts) < 0 ||
        pthread_create(&h->thread, NULL, serve, h) != 0) {
        free(h->dir);
        free(h);
        return NULL;
    }
    return h;
}

bool hangfs_wait_asked(struct hangfs *h)
{
    struct pollfd p = { .fd = h->asked_fd, .events = POLLIN };
    uint64_t n;

    return poll(&p, 1, DEADLINE_MS) == 1 && read(h->asked_fd, &n, 8) == 8;
}

void hangfs_answer(struct hangfs *h, unsigned char byte)
{
    char data[HANGFS_BYTES];

    memset(data, byte, sizeof(data));
    answer(h, h->read_unique, 0, data, sizeof(data));
}

void hangfs_answer_slow(struct hangfs *h)
{
    for (int i = 0; i < SLOW_MAX; i++) {
        uint64_t unique = atomic_exchange(&h->slow[i], 0);

        if (unique)
            answer(h, unique, -ENOENT, NULL, 0);
    }
}

void hangfs_hang_flush(struct hangfs *h)
{
    h->hang_flush = true;
}

void hangfs_end(struct hangfs *h)
{
    umount2(h->dir, MNT_FORCE);
    umount2(h->dir, MNT_DETACH);
    pthread_join(h->thread, NULL);
    close(h->dev);
    close(h->asked_fd);
    free(h->dir);
    free(h);
}
