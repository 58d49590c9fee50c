/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * POSIX ACLs, as their attributes' values hold them: a version, then entries
 * of tag, permissions and, for a named user or group, an id.
 */
#include <endian.h>
#include <errno.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <string.h>

#include "fuse/passthrough/pt_i.h"

bool pt_is_acl(const char *name)
{
    return !strcmp(name, "system.posix_acl_access") ||
           !strcmp(name, "system.posix_acl_default");
}

static int translate_one(const struct pt_fs *fs,
                         struct posix_acl_xattr_entry *e, bool to_host)
{
    uint16_t tag = le16toh(e->e_tag);
    const struct idmap *map =
        tag == ACL_USER ? &fs->opts.uid_map : &fs->opts.gid_map;
    uint32_t id = le32toh(e->e_id);

    if (tag != ACL_USER && tag != ACL_GROUP)
        return 0;
    if (!to_host)
        id = idmap_to_guest(map, id);
    else if (idmap_to_host(map, id, &id) < 0)
        return -EPERM;
    e->e_id = htole32(id);
    return 0;
}

int pt_acl_translate(const struct pt_fs *fs, void *value, size_t size,
                     bool to_host)
{
    uint8_t *at = (uint8_t *)value + sizeof(struct posix_acl_xattr_header);
    struct posix_acl_xattr_header h;
    struct posix_acl_xattr_entry e;

    if (size == 0)
        return 0; /* takes the ACL away */
    if (size < sizeof(h) || (size - sizeof(h)) % sizeof(e))
        return -EINVAL;
    memcpy(&h, value, sizeof(h));
    if (le32toh(h.a_version) != POSIX_ACL_XATTR_VERSION)
        return -EOPNOTSUPP;
    for (; at < (uint8_t *)value + size; at += sizeof(e)) {
        int ret;

        memcpy(&e, at, sizeof(e));
        ret = translate_one(fs, &e, to_host);
        if (ret < 0)
            return ret;
        memcpy(at, &e, sizeof(e));
    }
    return 0;
}
