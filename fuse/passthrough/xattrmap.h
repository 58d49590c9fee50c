/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_FUSE_PASSTHROUGH_XATTRMAP_H
#define VIRTIOFSD_FUSE_PASSTHROUGH_XATTRMAP_H

/*
 * --xattrmap: rules between the names of extended attributes which the guest
 * uses and those on the host.  The first rule that matches a name decides;
 * a name that none matches is treated as by a `bad` rule.
 *
 *     :TYPE:SCOPE:KEY:PREPEND:      one rule
 *     :map:KEY:PREPEND:             shorthand for three, the last of a list
 *
 * The first character of a rule is its separator.  A rule for the client
 * (names in a request) matches what begins with KEY, one for the server
 * (names in a list) what begins with PREPEND.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define XATTRMAP_MAX_RULES 64   /* map counts for three */
#define XATTRMAP_MAX_TEXT  4096 /* bytes of all the rules as given */
#define XATTRMAP_NAME_MAX  255  /* XATTR_NAME_MAX of linux/limits.h */

enum xattrmap_type {
    XATTRMAP_PREFIX,      /* put PREPEND before it; take it off in a list */
    XATTRMAP_OK,          /* leave it as it is */
    XATTRMAP_BAD,         /* EPERM; not listed */
    XATTRMAP_UNSUPPORTED, /* EOPNOTSUPP; not listed */
};

#define XATTRMAP_CLIENT 1u
#define XATTRMAP_SERVER 2u

/* One rule; its two fields are spans of the text. */
struct xattrmap_rule {
    uint8_t type;  /* enum xattrmap_type */
    uint8_t scope; /* XATTRMAP_CLIENT, XATTRMAP_SERVER or both */
    uint8_t key_len, prepend_len;
    uint16_t key_at, prepend_at;
};

/* Plain data, for the message that starts a role.  n == 0: there is no map. */
struct xattrmap {
    uint32_t n;
    struct xattrmap_rule rule[XATTRMAP_MAX_RULES];
    char text[XATTRMAP_MAX_TEXT];
};

/**
 * xattrmap_parse() - read a list of rules, in place of those in @m.
 * @err: out, one line without an end for the user: which rule, the offset of
 *       what is wrong in @rules, what to do; @errlen bytes.
 * Refused: an unknown type or scope, a field without its end, a field longer
 * than a name can be, anything behind a map, a map that adds nothing, no
 * rule, too many.
 * Return: 0 or -EINVAL; on failure @m is unchanged.
 */
int xattrmap_parse(struct xattrmap *m, const char *rules, char *err,
                   size_t errlen);

/* Does some rule match whatever name the guest uses, and whatever name the
 * host lists? */
bool xattrmap_is_complete(const struct xattrmap *m);

/**
 * xattrmap_to_host() - the host's name for one the guest named.
 * @m:    has rules.
 * @room: holds the new name, if there is one.
 * @host: out: @name or @room.
 * An empty name is handed through: the host refuses it.
 * Return: 0; -EPERM (bad, or no rule); -EOPNOTSUPP (unsupported);
 * -ENAMETOOLONG when no host file can have an attribute of that name.
 */
int xattrmap_to_host(const struct xattrmap *m, const char *name,
                     char room[XATTRMAP_NAME_MAX + 1], const char **host);

/* The guest's name for one the host listed: @name or the rest of it behind a
 * prefix; NULL when the guest shall not see it. */
const char *xattrmap_to_guest(const struct xattrmap *m, const char *name);

#endif
