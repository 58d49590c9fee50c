/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/protocol/locks_lib.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const both[] = { "--flock", "--posix-lock", NULL };

const struct vm_opts lk_on = { .queues = 3, .d = { .args = both } };

bool lk_create(struct guest_queue *q, const char *name, struct lk_file *f)
{
    struct fuse_entry_out e;
    struct fuse_open_out o;

    if (!CHECK_EQ(fc_create(q, NULL, FC_ROOT, name, O_RDWR, 0644, &e, &o), 0,
                  name))
        return false;
    *f = (struct lk_file){ e.nodeid, o.fh };
    return true;
}

bool lk_open(struct guest_queue *q, const char *name, uint32_t flags,
             struct lk_file *f)
{
    struct fuse_entry_out e;
    struct fuse_open_out o;

    if (!CHECK_EQ(fc_lookup(q, FC_ROOT, name, &e), 0, name) ||
        !CHECK_EQ(fc_open(q, FUSE_OPEN, e.nodeid, flags, &o), 0, name))
        return false;
    *f = (struct lk_file){ e.nodeid, o.fh };
    return true;
}

/* The process is as good as any number; its owner tells which it was. */
static struct fuse_lk_in lk_in(const struct lk_file *f, uint64_t owner,
                               int type, uint64_t start, uint64_t end)
{
    return (struct fuse_lk_in){
        .fh = f->fh,
        .owner = owner,
        .lk = { .start = start,
                .end = end,
                .type = (uint32_t)type,
                .pid = (uint32_t)(1000 + owner) },
    };
}

int lk_set(struct guest_queue *q, const struct lk_file *f, uint64_t owner,
           int type, uint64_t start, uint64_t end)
{
    struct fuse_lk_in in = lk_in(f, owner, type, start, end);

    return fc_simple(q, FUSE_SETLK, f->node, &in, sizeof(in));
}

int lk_flock(struct guest_queue *q, const struct lk_file *f, int type)
{
    struct fuse_lk_in in = lk_in(f, 77, type, 0, LK_END);

    in.lk_flags = FUSE_LK_FLOCK;
    return fc_simple(q, FUSE_SETLK, f->node, &in, sizeof(in));
}

int lk_get(struct guest_queue *q, const struct lk_file *f, uint64_t owner,
           uint64_t start, uint64_t end, struct fuse_file_lock *out)
{
    struct fuse_lk_in in = lk_in(f, owner, F_WRLCK, start, end);
    struct fm m;
    int ret;

    memset(out, 0xee, sizeof(*out));
    fm_init(&m, FUSE_GETLK, f->node);
    fm_add(&m, &in, sizeof(in));
    m.room = sizeof(struct fuse_lk_out);
    ret = fm_call(q, &m);
    if (ret == 0 && CHECK_EQ(m.out_len, sizeof(struct fuse_lk_out), "whole"))
        memcpy(out, m.out, sizeof(*out));
    return ret;
}

int lk_flush(struct guest_queue *q, const struct lk_file *f, uint64_t owner)
{
    struct fuse_flush_in in = { .fh = f->fh, .lock_owner = owner };

    return fc_simple(q, FUSE_FLUSH, f->node, &in, sizeof(in));
}

const char *lk_host_sees(const struct vm *vm, const char *name, uint64_t start,
                         uint64_t end)
{
    int fd = open(daemon_path(vm->d, name), O_RDWR | O_CLOEXEC);
    struct flock fl = {
        .l_type = F_WRLCK,
        .l_whence = SEEK_SET,
        .l_start = (off_t)start,
        .l_len = end == LK_END ? 0 : (off_t)(end - start + 1),
    };

    CHECK(fd >= 0, name);
    CHECK_EQ(fcntl(fd, F_OFD_GETLK, &fl), 0, name);
    close(fd);
    return fl.l_type == F_UNLCK ? "" : fl.l_type == F_RDLCK ? "r" : "w";
}

bool lk_host_can_flock(const struct vm *vm, const char *name)
{
    int fd = open(daemon_path(vm->d, name), O_RDWR | O_CLOEXEC);
    int ret;

    CHECK(fd >= 0, name);
    ret = flock(fd, LOCK_EX | LOCK_NB);
    close(fd);
    return ret == 0;
}

/* ---- waiting ---- */

bool lk_slots(struct guest_queue *q, unsigned int n)
{
    return CHECK(guest_queue_buf(q, (n + 1) * LK_SLOT_BYTES) != NULL,
                 "guest memory");
}

void lk_wait_put(struct lk_wait *w, struct guest_queue *q, unsigned int slot,
                 const struct lk_file *f, uint64_t owner, int type,
                 uint32_t lk_flags)
{
    w->q = q;
    w->in = lk_in(f, owner, type, 0, LK_END);
    w->in.lk_flags = lk_flags;
    fm_init(&w->m, FUSE_SETLKW, f->node);
    fm_add(&w->m, &w->in, sizeof(w->in));
    w->m.indirect = q->indirect;
    CHECK_EQ(fm_put(q, &w->m, slot * LK_SLOT_BYTES), 0, "it fits");
    guest_publish(q);
}

int lk_wait_take(struct lk_wait *w)
{
    uint16_t head;
    uint32_t used;

    if (!CHECK_EQ(guest_wait(w->q, &head, &used), 0, "it is answered") ||
        !CHECK_EQ(head, w->m.head, "it and no other"))
        return FM_LOST;
    return fm_reply(w->q, &w->m, used);
}

bool lk_wait_none(struct guest_queue *q)
{
    uint16_t head;
    uint32_t used;

    return CHECK(!guest_take(q, &head, &used), "nothing was answered");
}

static unsigned int blocked_on(uint64_t ino)
{
    FILE *f = fopen("/proc/locks", "re");
    unsigned int n = 0;
    char line[256], want[32];

    snprintf(want, sizeof(want), ":%llu ", (unsigned long long)ino);
    while (f && fgets(line, sizeof(line), f))
        n += strstr(line, "->") && strstr(line, want);
    if (f)
        fclose(f);
    return n;
}

bool lk_blocked(const struct vm *vm, const char *name, unsigned int n)
{
    struct stat st = { 0 };
    unsigned int got = n + 1;

    CHECK_EQ(stat(daemon_path(vm->d, name), &st), 0, name);
    for (int i = 0; i < DEADLINE_MS && got != n; i++) {
        got = blocked_on(st.st_ino);
        if (got != n)
            usleep(1000);
    }
    return CHECK_EQ(got, n, "so many wait");
}

bool lk_set_up_again(struct vm *vm)
{
    for (unsigned int i = 0; i < vm->n; i++) {
        guest_queue_reset(&vm->q[i], 0);
        fe_set_fd(&vm->fe, FE_SET_VRING_CALL, i, vm->q[i].call_fd);
    }
    CHECK_EQ(fe_set_u64(&vm->fe, FE_SET_FEATURES, vm->fe.acked), 0, "");
    return vm_rings_start(vm) &&
           CHECK_EQ(fc_init(&vm->q[VM_REQ], 0, NULL), 0, "INIT");
}

/* ---- descriptors ---- */

/* Is it the process whose threads serve rings? */
static bool serves(pid_t pid)
{
    char path[300], comm[32] = "";
    struct dirent *e;
    bool found = false;
    DIR *d;

    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    d = opendir(path);
    while (d && !found && (e = readdir(d))) {
        FILE *f;

        snprintf(path, sizeof(path), "/proc/%d/task/%s/comm", pid, e->d_name);
        f = fopen(path, "re");
        found = f && fgets(comm, sizeof(comm), f) && !strncmp(comm, "vring", 5);
        if (f)
            fclose(f);
    }
    if (d)
        closedir(d);
    return found;
}

size_t lk_count_fds(const struct vm *vm)
{
    char path[64];
    pid_t pids[8];
    size_t n = daemon_roles(vm->d, pids, 8), count = 0;
    DIR *d = NULL;

    for (size_t i = 0; i < n && i < 8 && !d; i++) {
        snprintf(path, sizeof(path), "/proc/%d/fd", pids[i]);
        d = serves(pids[i]) ? opendir(path) : NULL;
    }
    CHECK(d != NULL, "the request process");
    while (d && readdir(d))
        count++;
    if (d)
        closedir(d);
    return count;
}

bool lk_fds_are(const struct vm *vm, size_t want)
{
    int64_t until_ns = now_ns() + (int64_t)DEADLINE_MS * 1000000;
    size_t got = lk_count_fds(vm);

    while (got != want && now_ns() < until_ns) {
        usleep(1000);
        got = lk_count_fds(vm);
    }
    return CHECK_EQ(got, want, "descriptors open");
}
