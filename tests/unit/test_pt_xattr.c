/* SPDX-License-Identifier: BSD-3-Clause */
/* Extended attributes.  The thread's working directory moves for good. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/lib/tap.h"
#include "tests/unit/mock_request.h"
#include "virtiofsd/base/log.h"

#define ROOT FUSE_ROOT_ID

static struct mock m;

static bool start(const struct pt_opts *opts)
{
    log_set_level(LOG_LEVEL_OFF);
    return CHECK(mock_start(&m, opts), "a share to test on");
}

static int setxattr_of(uint64_t id, const char *name, const char *value)
{
    struct fuse_setxattr_in in = { .size = (uint32_t)strlen(value) };
    size_t head = FUSE_COMPAT_SETXATTR_IN_SIZE;
    uint8_t arg[256];

    /* The short form: SETXATTR_EXT was not negotiated. */
    memcpy(arg, &in, head);
    strcpy((char *)arg + head, name);
    memcpy(arg + head + strlen(name) + 1, value, strlen(value));
    return mock_send(m.se, m.r, FUSE_SETXATTR, id, arg,
                     head + strlen(name) + 1 + strlen(value));
}

static int getxattr_of(uint64_t id, const char *name, uint32_t size)
{
    struct fuse_getxattr_in in = { .size = size };

    return mock_named(&m, FUSE_GETXATTR, id, &in, sizeof(in), name, NULL);
}

static void attributes_by_name_are_kept(void)
{
    struct fuse_getxattr_in ls = { 0 };
    uint64_t f, l;
    char cwd[256];

    if (!start(NULL))
        return;
    CHECK_EQ(mkdir(mock_path(&m, "f"), 0755), 0, "");
    CHECK_EQ(symlink("f", mock_path(&m, "l")), 0, "");
    CHECK_EQ(mock_lookup(&m, ROOT, "f", &f), 0, "");
    CHECK_EQ(mock_lookup(&m, ROOT, "l", &l), 0, "");
    if (setxattr_of(f, "user.one", "value") == -EOPNOTSUPP) {
        tap_skip("no user.* attributes on /tmp");
        mock_stop(&m);
        return;
    }
    CHECK(getcwd(cwd, sizeof(cwd)) != NULL, "");
    CHECK_EQ(getxattr(mock_path(&m, "f"), "user.one", cwd, sizeof(cwd)), 5, "");
    CHECK_EQ(getxattr_of(f, "user.one", 0), 0, "how long?");
    CHECK_EQ(((struct fuse_getxattr_out *)m.r->reply)->size, 5, "");
    CHECK_EQ(getxattr_of(f, "user.one", 4), -ERANGE, "");
    CHECK_EQ(getxattr_of(f, "user.one", UINT32_MAX), 0, "any room will do");
    CHECK_EQ(m.r->reply_len, 5, "");
    CHECK_MEM(m.r->reply, "value", 5, "");
    CHECK_EQ(getxattr_of(l, "user.one", 9), -ENODATA, "not the link's target");
    CHECK_EQ(getxattr_of(f, "user.two", 9), -ENODATA, "");
    CHECK_EQ(getxattr_of(f, "system.posix_acl_access", 9), -EOPNOTSUPP, "");
    CHECK_EQ(setxattr_of(f, "system.posix_acl_default", "x"), -EOPNOTSUPP,
             "a guest that does not obey ACLs sets none");
    CHECK_EQ(mock_send(m.se, m.r, FUSE_LISTXATTR, f, &ls, sizeof(ls)), 0, "");
    CHECK(((struct fuse_getxattr_out *)m.r->reply)->size >= 9, "");
    ls.size = 4096;
    CHECK_EQ(mock_send(m.se, m.r, FUSE_LISTXATTR, f, &ls, sizeof(ls)), 0, "");
    CHECK(memmem(m.r->reply, m.r->reply_len, "user.one", 9) != NULL, "");
    ls.size = 3;
    CHECK_EQ(mock_send(m.se, m.r, FUSE_LISTXATTR, f, &ls, sizeof(ls)), -ERANGE,
             "");
    CHECK_EQ(mock_named(&m, FUSE_REMOVEXATTR, f, NULL, 0, "user.one", NULL), 0,
             "");
    CHECK_EQ(getxattr_of(f, "user.one", 9), -ENODATA, "");
    mock_stop(&m);
}

static void acls_of_the_host_are_not_listed(void)
{
    /* version 2; user::rwx user:1:r-x group::r-x mask::r-x other::r-x */
    static const uint8_t acl[] = {
        2,    0,    0,    0,    1,    0,    7,  0,    0xff, 0xff, 0xff,
        0xff, 2,    0,    5,    0,    1,    0,  0,    0,    4,    0,
        5,    0,    0xff, 0xff, 0xff, 0xff, 16, 0,    5,    0,    0xff,
        0xff, 0xff, 0xff, 32,   0,    5,    0,  0xff, 0xff, 0xff, 0xff,
    };
    struct fuse_getxattr_in ls = { .size = 4096 };
    uint64_t f;

    if (!start(NULL))
        return;
    CHECK_EQ(mkdir(mock_path(&m, "f"), 0755), 0, "");
    if (setxattr(mock_path(&m, "f"), "system.posix_acl_access", acl,
                 sizeof(acl), 0) < 0 ||
        setxattr(mock_path(&m, "f"), "user.z", "1", 1, 0) < 0) {
        tap_skip("no ACLs on /tmp");
        mock_stop(&m);
        return;
    }
    CHECK_EQ(mock_lookup(&m, ROOT, "f", &f), 0, "");
    CHECK_EQ(mock_send(m.se, m.r, FUSE_LISTXATTR, f, &ls, sizeof(ls)), 0, "");
    CHECK(memmem(m.r->reply, m.r->reply_len, "user.z", 7) != NULL, "");
    CHECK(memmem(m.r->reply, m.r->reply_len, "posix_acl", 9) == NULL, "");
    mock_stop(&m);
}

/* The options refuse such a map; here it is, all the same. */
static void an_acl_by_another_name_is_none(void)
{
    struct pt_opts opts = mock_opts();
    char err[256];

    opts.posix_acl = PT_ALWAYS;
    CHECK_EQ(xattrmap_parse(&opts.xattrmap, ":map::user.v.:", err, sizeof(err)),
             0, err);
    if (!start(&opts))
        return;
    CHECK_EQ(setxattr_of(ROOT, "system.posix_acl_access", "x"), -EOPNOTSUPP,
             "");
    CHECK_EQ(getxattr_of(ROOT, "system.posix_acl_access", 9), -EOPNOTSUPP, "");
    mock_stop(&m);
    opts.xattrmap.n = 0;
    if (!start(&opts))
        return;
    CHECK_EQ(setxattr_of(ROOT, "system.posix_acl_access", "x"), -EINVAL,
             "no ACL, but the name is right");
    mock_stop(&m);
}

static void without_xattr_nothing_is_known_of_them(void)
{
    struct fuse_getxattr_in ls = { 0 };
    struct pt_opts opts = mock_opts();

    opts.xattr = false;
    opts.readonly = true;
    if (!start(&opts))
        return;
    CHECK_EQ(setxattr_of(ROOT, "user.one", "value"), -ENOSYS,
             "the guest's kernel then asks no more");
    CHECK_EQ(getxattr_of(ROOT, "user.one", 0), -ENOSYS, "");
    CHECK_EQ(mock_send(m.se, m.r, FUSE_LISTXATTR, ROOT, &ls, sizeof(ls)),
             -ENOSYS, "");
    CHECK_EQ(mock_named(&m, FUSE_REMOVEXATTR, ROOT, NULL, 0, "user.o", NULL),
             -ENOSYS, "");
    mock_stop(&m);
}

TAP_MAIN(TEST(without_xattr_nothing_is_known_of_them),
         TEST(attributes_by_name_are_kept),
         TEST(an_acl_by_another_name_is_none),
         TEST(acls_of_the_host_are_not_listed))
