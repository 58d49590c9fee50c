/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/bench/share.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/proc.h"
#include "virtiofsd/base/util.h"

#define CHUNK ((size_t)1 << 20)

int share_create(struct share *s, const char *dir,
                 const struct share_size *size)
{
    memset(s, 0, sizeof(*s));
    s->size = *size;
    if (snprintf(s->root, sizeof(s->root), "%s/vfsd-bench-XXXXXX", dir) >=
        (int)sizeof(s->root))
        return -ENAMETOOLONG;
    if (!mkdtemp(s->root))
        return -errno;
    return chmod(s->root, 0755) < 0 ? -errno : 0;
}

void share_destroy(struct share *s)
{
    if (s->root[0])
        proc_remove_tree(s->root);
    s->root[0] = '\0';
}

const char *share_dir(enum share_part part)
{
    static const char *const names[] = { "hot",  "fresh", "small", "big",
                                         "tree", "data",  "tmp",   "slow" };

    return names[part];
}

uint32_t share_count(const struct share *s, enum share_part part)
{
    switch (part) {
    case SHARE_HOT:
        return s->size.hot;
    case SHARE_FRESH:
        return s->size.fresh;
    case SHARE_SMALL:
        return s->size.small;
    case SHARE_BIG:
        return s->size.big;
    case SHARE_TREE:
        return s->size.tree_dirs;
    case SHARE_DATA:
    case SHARE_TMP:
    case SHARE_SLOW:
        break;
    }
    return 0;
}

void share_name(char *buf, uint32_t i)
{
    buf[0] = 'f';
    for (int k = SHARE_NAME_LEN - 1; k > 0; k--, i /= 10)
        buf[k] = (char)('0' + i % 10);
    buf[SHARE_NAME_LEN] = '\0';
}

uint64_t share_word(uint64_t offset)
{
    return (offset / 8 + 1) * 0x9e3779b97f4a7c15ull;
}

bool share_words_right(const void *p, size_t len, uint64_t offset)
{
    for (size_t i = 0; i + 8 <= len; i += 8) {
        uint64_t v;

        memcpy(&v, (const char *)p + i, 8);
        if (v != share_word(offset + i))
            return false;
    }
    return true;
}

static int make_files(int dir, uint32_t n)
{
    char name[SHARE_NAME_LEN + 1];

    for (uint32_t i = 0; i < n; i++) {
        share_name(name, i);
        if (mknodat(dir, name, S_IFREG | 0644, 0) < 0)
            return -errno;
    }
    return 0;
}

static int make_tree(const struct share *s, int dir)
{
    char name[SHARE_NAME_LEN + 1];
    int ret = 0;

    for (uint32_t i = 0; i < s->size.tree_dirs && ret == 0; i++) {
        int fd;

        share_name(name, i);
        if (mkdirat(dir, name, 0755) < 0)
            return -errno;
        fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
            return -errno;
        ret = make_files(fd, s->size.tree_files);
        close(fd);
    }
    return ret;
}

/* Written out, so that reading finds blocks and writing finds room. */
static int make_data_file(const struct share *s, int dir, const char *name)
{
    int fd = openat(dir, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644), ret = 0;
    uint64_t *buf = malloc(CHUNK);

    if (fd < 0 || !buf) {
        ret = fd < 0 ? -errno : -ENOMEM;
        goto out;
    }
    for (size_t at = 0; at < s->size.file_bytes && ret == 0; at += CHUNK) {
        for (size_t i = 0; i < CHUNK / 8; i++)
            buf[i] = share_word(at + 8 * i);
        if (pwrite(fd, buf, CHUNK, (off_t)at) != (ssize_t)CHUNK)
            ret = errno ? -errno : -ENOSPC;
    }
    /* What is dirty now would be written in the middle of a measurement. */
    if (ret == 0 && fsync(fd) < 0)
        ret = -errno;
out:
    free(buf);
    if (fd >= 0)
        close(fd);
    return ret;
}

static int fill(const struct share *s, enum share_part part, int fd)
{
    int ret = 0;

    switch (part) {
    case SHARE_HOT:
    case SHARE_FRESH:
    case SHARE_SMALL:
    case SHARE_BIG:
        return make_files(fd, share_count(s, part));
    case SHARE_TREE:
        return make_tree(s, fd);
    case SHARE_DATA:
        ret = make_data_file(s, fd, "r");
        return ret < 0 ? ret : make_data_file(s, fd, "w");
    case SHARE_TMP:
    case SHARE_SLOW:
        break;
    }
    return 0;
}

int share_need(struct share *s, enum share_part part)
{
    char path[128];
    int fd, ret;

    if (s->made[part])
        return 0;
    snprintf(path, sizeof(path), "%s/%s", s->root, share_dir(part));
    if (mkdir(path, 0755) < 0 && errno != EEXIST)
        return -errno;
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ret = fill(s, part, fd);
    close(fd);
    s->made[part] = ret == 0;
    return ret;
}

int share_open_dir(const struct share *s, enum share_part part)
{
    char path[128];
    int fd;

    snprintf(path, sizeof(path), "%s/%s", s->root, share_dir(part));
    fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int share_open_data(const struct share *s, const char *name, int flags)
{
    char path[128];
    int fd;

    snprintf(path, sizeof(path), "%s/data/%s", s->root, name);
    fd = open(path, flags | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}
