/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/bench/row.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/fusecall.h"
#include "virtiofsd/base/util.h"

const struct row *const rows[] = {
    &row_getattr,
    &row_lookup_hit,
    &row_lookup_new,
    &row_lookup_missing,
    &row_open,
    &row_create,
    &row_mkdir,
    &row_list_small,
    &row_list_big,
    &row_git_status,
    &row_read_4k,
    &row_read_128k,
    &row_read_1m,
    &row_write_4k,
    &row_write_128k,
    &row_write_1m,
    &row_direct_read_4k,
    &row_direct_read_128k,
    &row_direct_read_1m,
    &row_direct_write_4k,
    &row_direct_write_128k,
    &row_direct_write_1m,
    &row_write_sync,
    &row_slow,
    &row_idle,
};
const unsigned int rows_count = ARRAY_SIZE(rows);

int row_find_dir(struct scene *s, enum share_part part)
{
    struct fuse_entry_out e;
    int ret = fc_lookup(s->q, FC_ROOT, share_dir(part), &e);

    if (ret != 0) {
        snprintf(s->why, sizeof(s->why), "LOOKUP of %s/: %d", share_dir(part),
                 ret);
        return -EIO;
    }
    s->dir = e.nodeid;
    s->dir_fd = share_open_dir(s->share, part);
    return s->dir_fd < 0 ? s->dir_fd : 0;
}

int row_find_files(struct scene *s, enum share_part part)
{
    char name[SHARE_NAME_LEN + 1];
    struct fuse_entry_out e;
    int ret = row_find_dir(s, part);

    if (ret < 0)
        return ret;
    s->n = share_count(s->share, part);
    s->node = calloc(s->n, sizeof(*s->node));
    if (!s->node)
        return -ENOMEM;
    for (uint32_t i = 0; i < s->n; i++) {
        share_name(name, i);
        ret = fc_lookup(s->q, s->dir, name, &e);
        if (ret != 0) {
            snprintf(s->why, sizeof(s->why), "LOOKUP of %s: %d", name, ret);
            return -EIO;
        }
        s->node[i] = e.nodeid;
    }
    return 0;
}

int row_native_dir(struct scene *s, enum share_part part)
{
    s->n = share_count(s->share, part);
    s->dir_fd = share_open_dir(s->share, part);
    return s->dir_fd < 0 ? s->dir_fd : 0;
}

bool row_same_file(struct scene *s, const struct fuse_attr *a, int dir,
                   const char *name)
{
    struct stat st;

    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        st.st_ino == a->ino && st.st_mode == a->mode &&
        (uint64_t)st.st_size == a->size)
        return true;
    snprintf(s->why, sizeof(s->why), "wrong attributes of %s", name);
    return false;
}

void scene_free(struct scene *s)
{
    for (uint32_t i = 0; s->fds && i < s->n; i++)
        close(s->fds[i]);
    if (s->dir_fd >= 0)
        close(s->dir_fd);
    if (s->data_fd >= 0)
        close(s->data_fd);
    free(s->fds);
    free(s->node);
    free(s->buf);
    free(s->written);
    memset(s, 0, sizeof(*s));
    s->dir_fd = s->data_fd = -1;
}
