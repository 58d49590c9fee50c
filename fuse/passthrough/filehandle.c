/* SPDX-License-Identifier: BSD-3-Clause */
#include "fuse/passthrough/filehandle.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "virtiofsd/base/util.h"

/*
 * How a handle is kept: by far the most have one of two types (ext4, tmpfs
 * and small xfs: 1; big xfs: 0x81), so one byte can hold length and type.
 */
#define HOW_NONE  0x00
#define HOW_TYPE1 0x20
#define HOW_TYPE2 0x40
#define HOW_AFAR  0x80 /* b[] holds a pointer to a struct pt_fh, cut to size */
#define HOW_LEN   0x1f
#define TYPE1     1
#define TYPE2     0x81

_Static_assert(offsetof(struct pt_fh, b) ==
                   offsetof(struct file_handle, f_handle),
               "struct pt_fh is a struct file_handle with room");
_Static_assert(sizeof(void *) <= PT_FH_INLINE, "room for a pointer");

int pt_fh_get(int fd, const char *name, struct pt_fh *fh, uint32_t *mnt_id)
{
    int id;

    fh->len = PT_FH_MAX;
    if (name_to_handle_at(fd, name, (struct file_handle *)fh, &id,
                          name[0] ? 0 : AT_EMPTY_PATH) < 0)
        return -errno;
    if (fh->len > PT_FH_MAX)
        return -EOVERFLOW;
    *mnt_id = (uint32_t)id;
    return 0;
}

int pt_fh_open(int mount_fd, struct pt_fh *fh, int flags)
{
    int fd = open_by_handle_at(mount_fd, (struct file_handle *)fh,
                               flags | O_CLOEXEC);

    return fd < 0 ? -errno : fd;
}

static size_t size_afar(const struct pt_fh *fh)
{
    return offsetof(struct pt_fh, b) + fh->len;
}

static struct pt_fh *afar(const struct pt_fh_small *small)
{
    struct pt_fh *fh;

    memcpy(&fh, small->b, sizeof(fh));
    return fh;
}

int pt_fh_pack(const struct pt_fh *fh, struct pt_fh_small *small)
{
    struct pt_fh *far;

    if (fh->len <= PT_FH_INLINE && (fh->type == TYPE1 || fh->type == TYPE2)) {
        small->how =
            (uint8_t)((fh->type == TYPE1 ? HOW_TYPE1 : HOW_TYPE2) | fh->len);
        memcpy(small->b, fh->b, fh->len);
        return 0;
    }
    small->how = HOW_NONE;
    far = malloc(size_afar(fh));
    if (!far)
        return -ENOMEM;
    memcpy(far, fh, size_afar(fh));
    memcpy(small->b, &far, sizeof(far));
    small->how = HOW_AFAR;
    return 0;
}

void pt_fh_unpack(const struct pt_fh_small *small, struct pt_fh *fh)
{
    if (small->how == HOW_AFAR) {
        memcpy(fh, afar(small), size_afar(afar(small)));
        return;
    }
    fh->len = small->how & HOW_LEN;
    fh->type = small->how & HOW_TYPE1 ? TYPE1 : TYPE2;
    memcpy(fh->b, small->b, fh->len);
}

bool pt_fh_same(const struct pt_fh_small *small, const struct pt_fh *fh)
{
    struct pt_fh mine;

    if (small->how == HOW_NONE)
        return false;
    pt_fh_unpack(small, &mine);
    return mine.len == fh->len && mine.type == fh->type &&
           memcmp(mine.b, fh->b, fh->len) == 0;
}

void pt_fh_drop(struct pt_fh_small *small)
{
    if (small->how == HOW_AFAR)
        free(afar(small));
    small->how = HOW_NONE;
}
