/* SPDX-License-Identifier: BSD-3-Clause */
/* Extensions behind the arguments: whole ones are taken, others refused. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fuse/extension.h"
#include "fuse/proto.h"
#include "tests/lib/tap.h"
#include "virtiofsd/base/util.h"

#define BOTH (FUSE_SECURITY_CTX | PROTO_CREATE_SUPP_GROUP)
/* A header, a context's header, a name with its NUL and a value. */
#define H(size, type) size "\0\0\0" type "\0\0\0"
#define C(size)       size "\0\0\0\0\0\0\0"
#define S(s)          s, sizeof(s) - 1

/* MKDIR of "d" with @ext behind it, in memory that ends with it. */
static int take(const char *ext, size_t len, uint64_t agreed,
                struct request_ext *out)
{
    size_t total =
        sizeof(struct fuse_in_header) + sizeof(struct fuse_mkdir_in) + 2 + len;
    uint8_t *arg = calloc(1, total);
    struct request r = { .arg = arg,
                         .arg_len = total,
                         .hdr = { .opcode = FUSE_MKDIR } };
    int ret;

    arg[total - len - 2] = 'd';
    memcpy(arg + total - len, ext, len);
    ret = extension_take(&r, agreed);
    *out = r.ext;
    /* Read whatever it points at: a sanitizer sees what lies outside. */
    for (uint32_t i = 0; ret == 0 && i < r.ext.n_secctx; i++) {
        volatile uint8_t sum = 0;

        for (uint32_t k = 0; k < r.ext.secctx[i].bytes; k++)
            sum ^= ((const uint8_t *)r.ext.secctx[i].value)[k];
        (void)sum;
        CHECK(strlen(r.ext.secctx[i].name) < len, "");
    }
    free(arg);
    return ret;
}

static const struct {
    const char *why;
    const char *ext;
    size_t len;
    uint64_t agreed;
    int want;
    uint32_t contexts, groups;
} rows[] = {
    /* clang-format off */
    { "none", S(""), BOTH, 0, 0, 0 },
    { "a rest shorter than a header", S("1234567"), BOTH, 0, 0, 0 },
    { "no context", S(H("\x08", "\0")), BOTH, 0, 0, 0 },
    { "one context", S(H("\x18", "\1") C("\2") "name\0vv\0"), BOTH, 0, 1, 0 },
    { "one that was not agreed", S(H("\x18", "\1") C("\2") "name\0vv\0"),
      PROTO_CREATE_SUPP_GROUP, 0, 0, 0 },
    { "an empty value", S(H("\x18", "\1") C("\0") "1234567\0"), BOTH, 0, 1, 0 },
    { "a value to the very end", S(H("\x17", "\1") C("\2") "name\0vv"), BOTH, 0, 1, 0 },
    { "a value that lies", S(H("\x18", "\1") C("\4") "name\0vv\0"), BOTH, -EINVAL, 0, 0 },
    { "a value that lies by a lot", S(H("\x18", "\1") "\xff\xff\xff\xff\0\0\0\0" "name\0vv\0"),
      BOTH, -EINVAL, 0, 0 },
    { "a name without its NUL", S(H("\x18", "\1") C("\0") "12345678"), BOTH, -EINVAL, 0, 0 },
    { "a count that lies", S(H("\x18", "\2") C("\2") "name\0vv\0"), BOTH, -EINVAL, 0, 0 },
    { "a count without contexts", S(H("\x08", "\x1f")), BOTH, -EINVAL, 0, 0 },
    { "half a context", S(H("\x0c", "\1") "\2\0\0\0"), BOTH, -EINVAL, 0, 0 },
    { "five contexts", S(H("\x58", "\5") C("\0") "a\0\0\0\0\0\0\0" C("\0") "b\0\0\0\0\0\0\0"
                         C("\0") "c\0\0\0\0\0\0\0" C("\0") "d\0\0\0\0\0\0\0"
                         C("\0") "e\0\0\0\0\0\0\0"), BOTH, -E2BIG, 4, 0 },
    { "a size of nothing", S(H("\0", "\1")), BOTH, -EINVAL, 0, 0 },
    { "a size shorter than a header", S(H("\7", "\1")), BOTH, -EINVAL, 0, 0 },
    { "a size past the end", S(H("\x19", "\1") C("\2") "name\0vv\0"), BOTH, -EINVAL, 0, 0 },
    { "a group", S(H("\x10", "\x20") "\1\0\0\0" "\x2a\0\0\0"), BOTH, 0, 0, 1 },
    { "no group", S(H("\x10", "\x20") "\0\0\0\0" "\x2a\0\0\0"), BOTH, 0, 0, 0 },
    { "groups that lie", S(H("\x10", "\x20") "\2\0\0\0" "\x2a\0\0\0"), BOTH, -EINVAL, 0, 0 },
    { "groups that lie by a lot", S(H("\x10", "\x20") "\xff\xff\xff\xff" "\x2a\0\0\0"),
      BOTH, -EINVAL, 0, 0 },
    { "groups without a count", S(H("\x0a", "\x20") "\1\0"), BOTH, -EINVAL, 0, 0 },
    { "both", S(H("\x18", "\1") C("\2") "name\0vv\0" H("\x10", "\x20") "\1\0\0\0" "\x2a\0\0\0"),
      BOTH, 0, 1, 1 },
    { "a kind that nobody knows", S(H("\x10", "\x99") "12345678"), BOTH, 0, 0, 0 },
    { "lies, but nothing was agreed", S(H("\7", "\1")), 0, 0, 0, 0 },
    /* clang-format on */
};

static void extensions_are_taken_or_refused(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct request_ext x;

        CHECK_EQ(take(rows[i].ext, rows[i].len, rows[i].agreed, &x),
                 rows[i].want, rows[i].why);
        if (rows[i].want)
            continue;
        CHECK_EQ(x.n_secctx, rows[i].contexts, rows[i].why);
        CHECK_EQ(x.n_groups, rows[i].groups, rows[i].why);
        if (x.n_groups)
            CHECK_EQ(x.groups[0], 42, rows[i].why);
    }
}

static void more_groups_than_there_is_room_for_are_refused(void)
{
    struct {
        struct proto_ext_header h;
        uint32_t n, groups[REQUEST_GROUPS_MAX + 1];
    } g = { .h = { .type = PROTO_EXT_GROUPS } };
    struct request_ext x;

    for (g.n = REQUEST_GROUPS_MAX; g.n <= REQUEST_GROUPS_MAX + 1; g.n++) {
        g.h.size = (uint32_t)(sizeof(g.h) + 4 + 4 * g.n);
        CHECK_EQ(take((const char *)&g, g.h.size, BOTH, &x),
                 g.n > REQUEST_GROUPS_MAX ? -E2BIG : 0, "");
    }
}

TAP_MAIN(TEST(extensions_are_taken_or_refused),
         TEST(more_groups_than_there_is_room_for_are_refused))
