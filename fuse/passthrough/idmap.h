/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_FUSE_PASSTHROUGH_IDMAP_H
#define VIRTIOFSD_FUSE_PASSTHROUGH_IDMAP_H

/*
 * --translate-uid, --translate-gid: rules between the ids which the guest
 * sees and those on the host.  Both tables are sorted and free of overlap;
 * idmap_add() keeps them so.
 */

#include <stddef.h>
#include <stdint.h>

#define IDMAP_MAX_RULES 32

enum idmap_kind {
    IDMAP_GUEST,        /* guest:GUEST:HOST:COUNT, 1:1, guest to host only */
    IDMAP_HOST,         /* host:HOST:GUEST:COUNT, 1:1, host to guest only */
    IDMAP_SQUASH_GUEST, /* squash-guest:FROM:TO:COUNT, n:1, guest to host */
    IDMAP_SQUASH_HOST,  /* squash-host:FROM:TO:COUNT, n:1, host to guest */
    IDMAP_FORBID_GUEST, /* forbid-guest:FROM:COUNT, guest ids answered EPERM */
    IDMAP_MAP,          /* map:GUEST:HOST:COUNT, 1:1, both ways */
};

/* Ids @from .. @from + @count - 1 become @to .. (or all @to: squash). */
struct idmap_range {
    uint32_t from, to, count;
    uint32_t kind;
};

struct idmap {
    uint32_t n_guest, n_host;
    struct idmap_range guest[IDMAP_MAX_RULES]; /* guest -> host, by from */
    struct idmap_range host[IDMAP_MAX_RULES];  /* host -> guest, by from */
};

/**
 * idmap_add() - parse one rule and add it.
 * @spec: "kind:a:b:count" as above.
 * @err:  out, what is wrong, for the user; @errlen bytes.
 * Refused: unknown kind, not a number, an empty or wrapping range, a range
 * which overlaps one of the same direction, a target of 2^32 - 1 (which is no
 * id), too many rules.
 * Return: 0 or -EINVAL; on failure @m is unchanged.
 */
int idmap_add(struct idmap *m, const char *spec, char *err, size_t errlen);

/**
 * idmap_to_host() - the host's id for one the guest named.
 * Ids no rule holds stay as they are.
 * Return: 0, or -EPERM for a forbidden one.
 */
int idmap_to_host(const struct idmap *m, uint32_t id, uint32_t *out);

/* The guest's id for one found on the host; ids no rule holds stay. */
uint32_t idmap_to_guest(const struct idmap *m, uint32_t id);

#endif
