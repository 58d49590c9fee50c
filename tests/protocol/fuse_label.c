/* SPDX-License-Identifier: BSD-3-Clause */
/* Security contexts that a guest gives along with what it makes. */
#include <fcntl.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "fuse/proto.h"
#include "tests/protocol/vm.h"

#define LABEL "security.selinux"
#define VALUE "guest_u:object_r:file_t:s0"

/* One context, as a Linux guest with SELinux sends it. */
static size_t context(uint8_t *buf)
{
    struct proto_ext_header h = { 0, 1 };
    struct fuse_secctx one = { .size = sizeof(VALUE) };
    size_t at = sizeof(h) + sizeof(one);

    memcpy(buf + at, LABEL, sizeof(LABEL));
    at += sizeof(LABEL);
    memcpy(buf + at, VALUE, sizeof(VALUE));
    at = (at + sizeof(VALUE) + 7) & ~(size_t)7;
    h.size = (uint32_t)at;
    memcpy(buf, &h, sizeof(h));
    memcpy(buf + sizeof(h), &one, sizeof(one));
    return at;
}

static int make(struct guest_queue *q, uint32_t op, const char *name,
                uint32_t mode, struct fuse_entry_out *e)
{
    struct fuse_create_in create = { .flags = O_RDWR, .mode = mode };
    struct fuse_mkdir_in md = { .mode = mode };
    struct fuse_mknod_in mn = { .mode = mode };
    uint8_t ctx[128] = { 0 };
    struct fm m;
    int ret;

    fm_init(&m, op, FC_ROOT);
    m.room = sizeof(*e);
    if (op == FUSE_CREATE || op == PROTO_TMPFILE) {
        fm_add(&m, &create, sizeof(create));
        m.room += sizeof(struct fuse_open_out);
    } else if (op == FUSE_MKDIR) {
        fm_add(&m, &md, sizeof(md));
    } else if (op == FUSE_MKNOD) {
        fm_add(&m, &mn, sizeof(mn));
    }
    fm_add_name(&m, name);
    if (op == FUSE_SYMLINK)
        fm_add_name(&m, "target");
    fm_add(&m, ctx, context(ctx));
    ret = fm_call(q, &m);
    if (ret == 0)
        memcpy(e, m.out, sizeof(*e));
    return ret;
}

static void labelled(const struct vm *vm, const char *name, const char *attr)
{
    char v[64];

    CHECK_EQ(lgetxattr(daemon_path(vm->d, name), attr, v, sizeof(v)),
             sizeof(VALUE), name);
    CHECK_STR(v, VALUE, name);
}

static bool is_there(const struct vm *vm, const char *name)
{
    struct stat st;

    return lstat(daemon_path(vm->d, name), &st) == 0;
}

static bool start(struct vm *vm, const char *const *args)
{
    struct vm_opts o = { .d = { .args = args } };
    struct fuse_init_out out;

    return vm_start(vm, &o) &&
           CHECK_EQ(fc_init(&vm->q[VM_REQ], FUSE_SECURITY_CTX, &out), 0, "") &&
           CHECK_EQ((uint64_t)out.flags2 << 32 & FUSE_SECURITY_CTX,
                    FUSE_SECURITY_CTX, "agreed");
}

/* Under another name only files and directories take a label. */
static void labels_go_by_the_map_or_nothing_is_made(void)
{
    static const char *const args[] = {
        "--security-label",
        "--xattrmap=:prefix:all:security.:user.v.::ok:all:::", NULL
    };
    struct fuse_entry_out e;
    struct vm vm;

    if (start(&vm, args)) {
        struct guest_queue *q = &vm.q[VM_REQ];

        CHECK_EQ(make(q, FUSE_CREATE, "f", S_IFREG | 0644, &e), 0, "");
        labelled(&vm, "f", "user.v." LABEL);
        CHECK_EQ(make(q, FUSE_MKDIR, "d", 0755, &e), 0, "");
        labelled(&vm, "d", "user.v." LABEL);
        CHECK_EQ(make(q, FUSE_MKNOD, "n", S_IFREG | 0644, &e), 0, "");
        labelled(&vm, "n", "user.v." LABEL);
        CHECK_EQ(make(q, PROTO_TMPFILE, "", S_IFREG | 0644, &e), 0, "");
        CHECK_EQ(fc_link(q, e.nodeid, FC_ROOT, "t", &e), 0, "");
        labelled(&vm, "t", "user.v." LABEL);
        CHECK_EQ(make(q, FUSE_SYMLINK, "s", 0, &e), -EPERM, "");
        CHECK(!is_there(&vm, "s"), "no link without its label");
        CHECK_EQ(make(q, FUSE_MKNOD, "p", S_IFIFO | 0644, &e), -EPERM, "");
        CHECK(!is_there(&vm, "p"), "no fifo without its label");
        CHECK_EQ(make(q, FUSE_CREATE, "f", S_IFREG | 0644, &e), 0,
                 "is there already: opened");
        CHECK(daemon_wait_log(vm.d, LABEL), "the refusal is told");
        CHECK(vm_alive(&vm, VM_REQ), "");
    }
    vm_end(&vm);
}

/* Does it take CAP_SYS_ADMIN here?  Linux says so, not every kernel does. */
static bool takes_admin(const struct vm *vm)
{
    struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct d[2], less[2];
    bool refused;

    CHECK_EQ(syscall(SYS_capget, &h, d), 0, "");
    memcpy(less, d, sizeof(d));
    less[0].effective &= ~(1u << CAP_SYS_ADMIN);
    CHECK_EQ(syscall(SYS_capset, &h, less), 0, "");
    refused = setxattr(daemon_share(vm->d), LABEL, "x", 1, 0) < 0;
    CHECK_EQ(syscall(SYS_capset, &h, d), 0, "");
    removexattr(daemon_share(vm->d), LABEL);
    return refused;
}

static void labels_of_the_host_take_a_capability(void)
{
    static const char *const without[] = { "--security-label", NULL };
    static const char *const with[] = { "--security-label=auto",
                                        "--modcaps=+sys_admin", NULL };
    struct fuse_entry_out e;
    struct vm vm;

    if (!needs_root())
        return;
    if (access("/sys/fs/selinux/enforce", F_OK) == 0) {
        tap_skip("the host has a policy of its own");
        return;
    }
    if (start(&vm, without)) {
        struct guest_queue *q = &vm.q[VM_REQ];
        int want = takes_admin(&vm) ? -EPERM : 0;

        CHECK_EQ(make(q, FUSE_CREATE, "f", S_IFREG | 0644, &e), want, "");
        CHECK_EQ(is_there(&vm, "f"), !want, "no file without its label");
        CHECK_EQ(make(q, FUSE_MKDIR, "d", 0755, &e), want, "");
        CHECK_EQ(is_there(&vm, "d"), !want, "no directory without its label");
        CHECK_EQ(make(q, PROTO_TMPFILE, "", S_IFREG | 0644, &e), want, "");
    }
    vm_end(&vm);
    if (start(&vm, with)) {
        struct guest_queue *q = &vm.q[VM_REQ];

        CHECK_EQ(make(q, FUSE_CREATE, "f", S_IFREG | 0644, &e), 0, "");
        labelled(&vm, "f", LABEL);
        CHECK_EQ(make(q, FUSE_SYMLINK, "s", 0, &e), 0, "");
        labelled(&vm, "s", LABEL);
        CHECK_EQ(make(q, FUSE_MKNOD, "p", S_IFIFO | 0644, &e), 0, "");
        labelled(&vm, "p", LABEL);
    }
    vm_end(&vm);
}

/* A rule that refuses the name stands for a host that does. */
static void a_label_refused_leaves_nothing_behind(void)
{
    static const char *const args[] = {
        "--security-label",
        "--xattrmap=:bad:all:security.:security.::ok:all:::", NULL
    };
    static const struct {
        const char *name;
        uint32_t op, mode;
    } made[] = {
        { "f", FUSE_CREATE, S_IFREG | 0644 },  { "d", FUSE_MKDIR, 0755 },
        { "n", FUSE_MKNOD, S_IFREG | 0644 },   { "s", FUSE_SYMLINK, 0 },
        { "", PROTO_TMPFILE, S_IFREG | 0644 },
    };
    struct fuse_entry_out e;
    struct vm vm;

    if (start(&vm, args)) {
        for (size_t i = 0; i < ARRAY_SIZE(made); i++) {
            CHECK_EQ(
                make(&vm.q[VM_REQ], made[i].op, made[i].name, made[i].mode, &e),
                -EPERM, made[i].name);
            if (made[i].name[0])
                CHECK(!is_there(&vm, made[i].name), made[i].name);
        }
    }
    vm_end(&vm);
}

static void labels_are_negotiated_as_the_option_says(void)
{
    static const struct {
        const char *arg;
        uint64_t offered;
        int init;
        bool agreed;
    } inits[] = {
        { "--security-label=never", FUSE_SECURITY_CTX, 0, false },
        { "--security-label=auto", 0, 0, false },
        { "--security-label", 0, -EPROTO, false },
        { "-osecurity_label", FUSE_SECURITY_CTX, 0, true },
    };

    for (size_t i = 0; i < ARRAY_SIZE(inits); i++) {
        const char *const args[] = { inits[i].arg, NULL };
        struct vm_opts o = { .d = { .args = args } };
        struct fuse_init_out out = { 0 };
        struct vm vm;

        if (vm_start(&vm, &o)) {
            CHECK_EQ(fc_init(&vm.q[VM_REQ], inits[i].offered, &out),
                     inits[i].init, inits[i].arg);
            CHECK_EQ(!!((uint64_t)out.flags2 << 32 & FUSE_SECURITY_CTX),
                     inits[i].agreed, inits[i].arg);
        }
        vm_end(&vm);
    }
}

TAP_MAIN(TEST(labels_go_by_the_map_or_nothing_is_made),
         TEST(a_label_refused_leaves_nothing_behind),
         TEST(labels_of_the_host_take_a_capability),
         TEST(labels_are_negotiated_as_the_option_says))
