/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/protocol/vm.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOW_MEM  ((uint64_t)16 << 20)
#define HIGH_MEM ((uint64_t)64 << 20)

static bool make_guest(struct vm *vm, const struct vm_opts *o)
{
    uint64_t high = o->mem_high ? o->mem_high : HIGH_MEM;

    if (!CHECK_EQ(o->huge ? guest_mem_create_huge(&vm->mem, LOW_MEM, high)
                          : guest_mem_create(&vm->mem, LOW_MEM, high),
                  0, "guest memory"))
        return false;
    for (unsigned int i = 0; i < vm->n; i++) {
        if (!CHECK_EQ(guest_queue_create(&vm->q[i], &vm->mem, i,
                                         o->size ? o->size : 128, vm->features),
                      0, "a ring in guest memory"))
            return false;
        vm->q[i].unique = (uint64_t)i << 40;
    }
    return true;
}

bool vm_start(struct vm *vm, const struct vm_opts *opts)
{
    static const struct vm_opts plain;
    const struct vm_opts *o = opts ? opts : &plain;

    memset(vm, 0, sizeof(*vm));
    vm->fe.fd = -1;
    vm->n = o->queues ? o->queues : 2;
    vm->features = o->features ? o->features : VM_RING_FEATURES;
    vm->d = daemon_start(&o->d);
    if (!vm->d || !make_guest(vm, o))
        return false;
    if (!CHECK_EQ(fe_connect(&vm->fe, daemon_socket(vm->d)), 0, "connect") ||
        !CHECK_EQ(fe_negotiate(&vm->fe, vm->features,
                               o->proto ? o->proto : VM_PROTO, vm->q, vm->n),
                  0, "negotiation") ||
        !CHECK_EQ(fe_share_memory(&vm->fe, &vm->mem), 0, "memory"))
        return false;
    return o->no_start || vm_rings_start(vm);
}

bool vm_rings_start(struct vm *vm)
{
    int ret = 0;

    for (unsigned int i = 0; i < vm->n && ret == 0; i++)
        ret = fe_ring_start(&vm->fe, &vm->q[i], 0);
    for (unsigned int i = 0; i < vm->n && ret == 0; i++) {
        if (vm->fe.acked & BIT64(FE_F_PROTOCOL_FEATURES))
            ret = fe_ring_enable(&vm->fe, &vm->q[i], true);
    }
    return CHECK_EQ(ret, 0, "the rings start");
}

bool vm_rings_stop(struct vm *vm)
{
    bool well = true;

    for (unsigned int i = 0; i < vm->n; i++) {
        uint32_t base = 0;

        well = CHECK_EQ(fe_ring_stop(&vm->fe, &vm->q[i], &base), 0,
                        "a ring stops") &&
               well;
        guest_queue_reset(&vm->q[i], 0);
    }
    return well;
}

bool vm_start_fuse(struct vm *vm, const struct vm_opts *opts)
{
    return vm_start(vm, opts) &&
           CHECK_EQ(fc_init(&vm->q[VM_REQ], 0, NULL), 0, "INIT");
}

void vm_end(struct vm *vm)
{
    fe_close(&vm->fe);
    daemon_end(vm->d, END_ZERO);
    for (unsigned int i = 0; i < vm->n; i++)
        guest_queue_destroy(&vm->q[i]);
    guest_mem_destroy(&vm->mem);
}

bool vm_alive(struct vm *vm, unsigned int i)
{
    struct fuse_attr_out a;

    return CHECK_EQ(fc_getattr(&vm->q[i], FC_ROOT, &a), 0,
                    "the ring is served");
}

void vm_run(const struct vm_opts *opts,
            void (*body)(struct vm *vm, struct guest_queue *q))
{
    struct vm vm;

    if (vm_start_fuse(&vm, opts))
        body(&vm, &vm.q[VM_REQ]);
    vm_end(&vm);
}

bool same_as_host(const struct vm *vm, const struct fuse_attr *a,
                  const char *name)
{
    struct stat st;

    return CHECK_EQ(lstat(daemon_path(vm->d, name), &st), 0, name) &&
           CHECK_EQ(a->ino, st.st_ino, name) &&
           CHECK_EQ(a->mode, st.st_mode, name) &&
           CHECK_EQ(a->nlink, st.st_nlink, name) &&
           CHECK_EQ(a->uid, st.st_uid, name) &&
           CHECK_EQ(a->gid, st.st_gid, name) &&
           CHECK_EQ(a->size, st.st_size, name) &&
           CHECK_EQ(a->rdev, st.st_rdev, name) &&
           CHECK_EQ(a->mtime, st.st_mtim.tv_sec, name) &&
           CHECK_EQ(a->mtimensec, st.st_mtim.tv_nsec, name) &&
           CHECK_EQ(a->ctime, st.st_ctim.tv_sec, name) &&
           CHECK_EQ(a->ctimensec, st.st_ctim.tv_nsec, name);
}

void fails_with(const struct daemon_opts *o, const char *word)
{
    struct daemon_opts opts = *o;
    struct daemon *d;

    opts.no_wait = true;
    d = daemon_start(&opts);
    if (!d)
        return;
    CHECK(daemon_wait_log(d, word), "it says what is wrong");
    if (!CHECK(daemon_wait_gone(d), "it does not go on"))
        kill(daemon_pid(d), SIGTERM);
    daemon_end(d, END_NONZERO);
}

bool needs_root(void)
{
    if (geteuid() == 0)
        return true;
    tap_skip("needs root");
    return false;
}

void host_write(const struct vm *vm, const char *name, const void *data,
                size_t len)
{
    int fd = open(daemon_path(vm->d, name),
                  O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    CHECK(fd >= 0, name);
    CHECK_EQ(write(fd, data, len), len, name);
    close(fd);
}

size_t host_read(const struct vm *vm, const char *name, void *data, size_t max)
{
    int fd = open(daemon_path(vm->d, name), O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, data, max) : -1;

    CHECK(n >= 0, name);
    if (fd >= 0)
        close(fd);
    return n < 0 ? 0 : (size_t)n;
}

void fill_pattern(void *p, size_t len, uint32_t seed)
{
    uint8_t *b = p;

    for (size_t i = 0; i < len; i++)
        b[i] = (uint8_t)((i * 131 + (i >> 8) * 17 + seed) & 0xff);
}
