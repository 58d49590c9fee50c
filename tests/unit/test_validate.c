/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "fuse/validate.h"
#include "tests/lib/tap.h"
#include "virtiofsd/base/util.h"

/*
 * One request: opcode, what stands behind the header, room for the reply.
 * The buffer ends where the request ends, so that a sanitizer sees any read
 * past it.
 */
static int validate(uint32_t opcode, const void *body, size_t len, size_t room)
{
    size_t total = sizeof(struct fuse_in_header) + len;
    uint8_t *arg = malloc(total);
    struct request r = {
        .arg = arg,
        .arg_len = total,
        .total = (uint32_t)total,
        .hdr = { .opcode = opcode, .len = (uint32_t)total },
        .chain = { .writable_bytes = room },
    };
    int ret;

    memset(arg, 0, total);
    if (len)
        memcpy(arg + sizeof(struct fuse_in_header), body, len);
    if (opcode == FUSE_WRITE && len > sizeof(struct fuse_write_in))
        r.arg_len =
            sizeof(struct fuse_in_header) + sizeof(struct fuse_write_in);
    ret = validate_request(&r);
    free(arg);
    return ret;
}

static const struct {
    const char *why;
    uint32_t opcode;
    const char *body;
    size_t len, room;
    int want;
} rows[] = {
    { "a name", FUSE_LOOKUP, "a", 2, 144, 0 },
    { "no name at all", FUSE_LOOKUP, "", 0, 144, -EINVAL },
    { "a name without its NUL", FUSE_LOOKUP, "abc", 3, 144, -EINVAL },
    { "room for a header only", FUSE_LOOKUP, "a", 2, 16, -EIO },
    { "a byte short of an entry", FUSE_LOOKUP, "a", 2, 143, -EIO },
    { "both names", FUSE_SYMLINK, "a\0b", 4, 144, 0 },
    { "one of two names", FUSE_SYMLINK, "a", 2, 144, -EINVAL },
    { "second name open", FUSE_SYMLINK, "a\0bc", 4, 144, -EINVAL },
    { "rename", FUSE_RENAME, "12345678a\0b", 12, 16, 0 },
    { "rename, one name", FUSE_RENAME, "12345678a", 10, 16, -EINVAL },
    { "forget, no arguments", FUSE_FORGET, "", 0, 0, -EINVAL },
    { "forget needs no room", FUSE_FORGET, "12345678", 8, 0, 0 },
    { "batch of one", FUSE_BATCH_FORGET,
      "\1\0\0\0\0\0\0\0"
      "1234567812345678",
      24, 0, 0 },
    { "batch that lies", FUSE_BATCH_FORGET,
      "\2\0\0\0\0\0\0\0"
      "1234567812345678",
      24, 0, -EINVAL },
    { "batch that lies by a lot", FUSE_BATCH_FORGET, "\xff\xff\xff\xff\0\0\0\0",
      8, 0, -EINVAL },
    { "setxattr, value there", FUSE_SETXATTR,
      "\2\0\0\0\0\0\0\0"
      "n\0vv",
      12, 16, 0 },
    { "setxattr, value short", FUSE_SETXATTR,
      "\3\0\0\0\0\0\0\0"
      "n\0vv",
      12, 16, -EINVAL },
    { "setxattr, size wraps", FUSE_SETXATTR,
      "\xff\xff\xff\xff\0\0\0\0"
      "n\0vv",
      12, 16, -EINVAL },
    { "getxattr of a size", FUSE_GETXATTR,
      "\0\0\0\0\0\0\0\0"
      "n",
      10, 24, 0 },
    { "no room for the size", FUSE_GETXATTR,
      "\0\0\0\0\0\0\0\0"
      "n",
      10, 16, -EIO },
    { "interrupt without room", FUSE_INTERRUPT, "12345678", 8, 0, 0 },
    { "getattr cut short", FUSE_GETATTR, "1234567", 7, 120, -EINVAL },
    { "init of an older minor", FUSE_INIT, "1234567812345678", 16, 80, 0 },
    { "init cut short", FUSE_INIT, "12345678", 8, 80, -EINVAL },
    { "a lock cut short", FUSE_SETLK, "", 0, 64, -EINVAL },
    { "an ioctl without arguments", FUSE_IOCTL, "", 0, 64, -EINVAL },
    { "an ioctl whose input is not there", FUSE_IOCTL,
      "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
      "\0\0\0\0\0\0\0\0\4\0\0\0\0\0\0\0"
      "123",
      35, 64, -EINVAL },
    { "an ioctl with its input", FUSE_IOCTL,
      "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
      "\0\0\0\0\0\0\0\0\4\0\0\0\0\0\0\0"
      "1234",
      36, 64, 0 },
    { "an ioctl without room", FUSE_IOCTL,
      "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
      "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
      32, 31, -EIO },
    { "statx without room", PROTO_STATX, "123456789012345678901234", 24, 303,
      -EIO },
    { "statx", PROTO_STATX, "123456789012345678901234", 24, 304, 0 },
    { "statx cut short", PROTO_STATX, "1234567890", 10, 304, -EINVAL },
    { "tmpfile without a name", PROTO_TMPFILE, "1234567890123456", 16, 160,
      -EINVAL },
    { "syncfs", PROTO_SYNCFS, "12345678", 8, 16, 0 },
    { "opcode 0", 0, "", 0, 64, -ENOSYS },
    { "an opcode of tomorrow", 60, "", 0, 64, -ENOSYS },
    { "cuse", 4096, "", 0, 64, -ENOSYS },
    { "an impossible opcode", UINT32_MAX, "", 0, 64, -ENOSYS },
};

static void each_opcode_has_its_shape(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        CHECK_EQ(
            validate(rows[i].opcode, rows[i].body, rows[i].len, rows[i].room),
            rows[i].want, rows[i].why);
}

static void a_lock_has_a_range_within_a_file(void)
{
    static const struct {
        const char *why;
        uint32_t opcode;
        uint64_t start, end;
        uint32_t type, flags;
        size_t room;
        int want;
    } locks[] = {
        { "one byte", FUSE_SETLK, 5, 5, F_WRLCK, 0, 16, 0 },
        { "to the end of the file", FUSE_SETLKW, 0, INT64_MAX, F_RDLCK, 0, 16,
          0 },
        { "ends before it begins", FUSE_SETLK, 5, 4, F_WRLCK, 0, 16, -EINVAL },
        { "ends where no file does", FUSE_SETLK, 0, 1ull << 63, F_WRLCK, 0, 16,
          -EINVAL },
        { "begins there too", FUSE_SETLK, UINT64_MAX, UINT64_MAX, F_UNLCK, 0,
          16, -EINVAL },
        { "a type of its own", FUSE_SETLK, 0, 5, 3, 0, 16, -EINVAL },
        { "a type in more bits", FUSE_SETLK, 0, 5, 1u << 16, 0, 16, -EINVAL },
        { "flock has no range", FUSE_SETLKW, 5, 4, F_UNLCK, FUSE_LK_FLOCK, 16,
          0 },
        { "a flag of tomorrow", FUSE_SETLK, 0, 5, F_WRLCK, 2, 16, -EINVAL },
        { "asked", FUSE_GETLK, 0, 5, F_RDLCK, 0, 40, 0 },
        { "asked, without room", FUSE_GETLK, 0, 5, F_RDLCK, 0, 39, -EIO },
        { "asked about nothing", FUSE_GETLK, 0, 5, F_UNLCK, 0, 40, -EINVAL },
        { "nobody asks about flock", FUSE_GETLK, 0, 5, F_RDLCK, FUSE_LK_FLOCK,
          40, -EINVAL },
    };

    for (size_t i = 0; i < ARRAY_SIZE(locks); i++) {
        struct fuse_lk_in in = {
            .lk = { .start = locks[i].start,
                    .end = locks[i].end,
                    .type = locks[i].type },
            .lk_flags = locks[i].flags,
        };

        CHECK_EQ(validate(locks[i].opcode, (const char *)&in, sizeof(in),
                          locks[i].room),
                 locks[i].want, locks[i].why);
    }
}

static void a_write_names_no_more_than_it_brings(void)
{
    struct {
        struct fuse_write_in w;
        char data[16];
    } body = { .w = { .size = 16 } };

    CHECK_EQ(validate(FUSE_WRITE, &body, sizeof(body), 24), 0, "all there");
    body.w.size = 17;
    CHECK_EQ(validate(FUSE_WRITE, &body, sizeof(body), 24), -EINVAL,
             "one byte more");
    body.w.size = UINT32_MAX;
    CHECK_EQ(validate(FUSE_WRITE, &body, sizeof(body), 24), -EINVAL, "wraps");
    CHECK_EQ(validate(FUSE_WRITE, &body, 39, 24), -EINVAL, "cut short");
}

static void only_forgets_go_unanswered(void)
{
    for (uint32_t op = 0; op < 64; op++)
        CHECK_EQ(validate_no_reply(op),
                 op == FUSE_FORGET || op == FUSE_BATCH_FORGET, "");
    CHECK_STR(validate_opcode_name(FUSE_LOOKUP), "LOOKUP", "");
    CHECK_STR(validate_opcode_name(4711), "?", "");
}

TAP_MAIN(TEST(each_opcode_has_its_shape),
         TEST(a_lock_has_a_range_within_a_file),
         TEST(a_write_names_no_more_than_it_brings),
         TEST(only_forgets_go_unanswered))
