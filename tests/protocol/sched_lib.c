/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/protocol/sched_lib.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* ---- /proc ---- */

/* Return: bytes read, NUL-terminated; 0 when the file is gone. */
static size_t slurp(const char *path, char *buf, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t n = 0;
    ssize_t got = 0;

    while (fd >= 0 && n < size - 1 &&
           (got = read(fd, buf + n, size - 1 - n)) > 0)
        n += (size_t)got;
    if (fd >= 0)
        close(fd);
    buf[n] = '\0';
    return n;
}

static void comm_of(pid_t pid, pid_t tid, char *comm, size_t size)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/task/%d/comm", (int)pid, (int)tid);
    slurp(path, comm, size);
    comm[strcspn(comm, "\n")] = '\0';
}

pid_t role_pid(const struct vm *vm, enum role role)
{
    static const char *const name[ROLES] = {
        [ROLE_CONTROL] = "virtiofsd-vhost",
        [ROLE_REQUEST] = "virtiofsd-fuse",
    };
    pid_t pids[16];
    size_t n = daemon_roles(vm->d, pids, ARRAY_SIZE(pids));

    if (role == ROLE_SUPERVISOR)
        return daemon_pid(vm->d);
    for (size_t i = 0; i < n; i++) {
        char comm[32];

        comm_of(pids[i], pids[i], comm, sizeof(comm));
        if (strcmp(comm, name[role]) == 0)
            return pids[i];
    }
    CHECK(false, name[role]);
    return 0;
}

/* Return: the letter of proc(5), 0 when the thread is gone. */
static char state_of(pid_t pid, pid_t tid)
{
    char path[64], buf[512], *p;

    snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", (int)pid, (int)tid);
    if (slurp(path, buf, sizeof(buf)) == 0)
        return 0;
    p = strrchr(buf, ')');
    return p && p[1] == ' ' ? p[2] : 0;
}

/* Call @fn for each thread until it says true. */
static pid_t find_thread(pid_t pid, bool (*fn)(pid_t, pid_t, const void *),
                         const void *arg)
{
    char path[64];
    struct dirent *e;
    pid_t found = 0;
    DIR *dir;

    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    dir = opendir(path);
    while (dir && !found && (e = readdir(dir))) {
        pid_t tid = (pid_t)atoi(e->d_name);

        if (tid > 0 && fn(pid, tid, arg))
            found = tid;
    }
    if (dir)
        closedir(dir);
    return found;
}

static bool is_called(pid_t pid, pid_t tid, const void *name)
{
    char comm[32];

    comm_of(pid, tid, comm, sizeof(comm));
    return strcmp(comm, name) == 0;
}

static bool still_runs(pid_t pid, pid_t tid, const void *unused)
{
    char state = state_of(pid, tid);

    (void)unused;
    return state != 0 && state != 'T' && state != 't' && state != 'Z';
}

pid_t role_thread(pid_t pid, const char *comm)
{
    return find_thread(pid, is_called, comm);
}

bool role_stop(pid_t pid)
{
    int64_t until = now_ns() + (int64_t)DEADLINE_MS * 1000000;

    if (!CHECK(pid > 0 && kill(pid, SIGSTOP) == 0, "SIGSTOP"))
        return false;
    while (find_thread(pid, still_runs, NULL)) {
        if (!CHECK(now_ns() < until, "all of its threads stand"))
            return false;
        sched_yield();
    }
    return true;
}

void role_cont(pid_t pid)
{
    if (pid > 0)
        kill(pid, SIGCONT);
}

bool role_wait_asleep(pid_t pid, pid_t tid)
{
    int64_t until = now_ns() + (int64_t)DEADLINE_MS * 1000000;

    while (state_of(pid, tid) != 'S') {
        if (!CHECK(now_ns() < until, "the thread sleeps"))
            return false;
        sched_yield();
    }
    return true;
}

static size_t count_fds(pid_t pid)
{
    char path[64];
    struct dirent *e;
    size_t n = 0;
    DIR *dir;

    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    dir = opendir(path);
    while (dir && (e = readdir(dir)))
        n += e->d_name[0] != '.';
    if (dir)
        closedir(dir);
    return n;
}

bool role_usage(pid_t pid, struct usage *u)
{
    char path[64], line[512];
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
    f = fopen(path, "re");
    if (!f)
        return CHECK(false, "who may trace may look");
    *u = (struct usage){ .fds = count_fds(pid) };
    while (fgets(line, sizeof(line), f))
        u->guest_maps += strstr(line, "memfd:guest") != NULL;
    fclose(f);
    return true;
}

uint64_t eventfd_count(int fd)
{
    char path[64], buf[512], *p;

    snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
    slurp(path, buf, sizeof(buf));
    p = strstr(buf, "eventfd-count:");
    CHECK(p, "an eventfd");
    return p ? strtoull(p + strlen("eventfd-count:"), NULL, 16) : UINT64_MAX;
}

/* ---- the conversation with control ---- */

bool control_settled(struct vm *vm, pid_t control)
{
    int64_t until = now_ns() + (int64_t)DEADLINE_MS * 1000000;
    int left = 1;

    for (;;) {
        if (ioctl(vm->fe.fd, SIOCOUTQ, &left) == 0 && left == 0)
            break;
        if (!CHECK(now_ns() < until, "control reads what was sent"))
            return false;
        sched_yield();
    }
    return role_wait_asleep(control, control);
}

bool answer_is_there(struct vm *vm)
{
    struct pollfd p = { .fd = vm->fe.fd, .events = POLLIN };

    return poll(&p, 1, 0) == 1;
}

bool send_state(struct vm *vm, uint32_t request, uint32_t index, uint32_t num,
                bool need_reply)
{
    const uint32_t s[2] = { index, num };

    return CHECK_EQ(fe_send(&vm->fe, request, need_reply ? FE_NEED_REPLY : 0, s,
                            sizeof(s), NULL, 0),
                    0, "a message is sent");
}

bool send_fd(struct vm *vm, uint32_t request, uint32_t index, int fd,
             bool need_reply)
{
    const uint64_t v = index | (fd < 0 ? FE_VRING_NOFD : 0);

    return CHECK_EQ(fe_send(&vm->fe, request, need_reply ? FE_NEED_REPLY : 0,
                            &v, sizeof(v), &fd, fd >= 0),
                    0, "a message is sent");
}

bool recv_ok(struct vm *vm, uint32_t request, uint64_t *v)
{
    struct fe_msg m;

    if (!CHECK_EQ(fe_recv(&vm->fe, &m), 0, "an answer comes") ||
        !CHECK_EQ(m.h.request, request, "to what was asked") ||
        !CHECK_EQ(m.h.size, 8, ""))
        return false;
    if (!v)
        return CHECK_EQ(m.p.u64, 0, "it says yes");
    *v = m.p.u64;
    return true;
}

/* ---- requests ---- */

void ask_for_a_call(struct guest_queue *q)
{
    uint16_t *used_event = (uint16_t *)&q->avail->ring[q->size];

    if (q->event_idx)
        __atomic_store_n(used_event, q->used_idx, __ATOMIC_SEQ_CST);
}

bool put_getattr(struct guest_queue *q, struct fm *m, unsigned int slot)
{
    static const struct fuse_getattr_in in;

    fm_init(m, FUSE_GETATTR, FC_ROOT);
    fm_add(m, &in, sizeof(in));
    m->room = sizeof(struct fuse_attr_out);
    /* Room for some more of them, so that it does not move under those which
     * are on the ring. */
    if (!CHECK(guest_queue_buf(q, fm_bytes(m) * 8), "room") ||
        !CHECK_EQ(fm_put(q, m, fm_bytes(m) * slot), 0, "it fits"))
        return false;
    guest_publish_quietly(q);
    return true;
}

bool take_getattr(struct guest_queue *q, struct fm *m, size_t n)
{
    uint16_t head;
    uint32_t used;
    size_t i = 0;

    if (!CHECK_EQ(guest_wait(q, &head, &used), 0, "it is answered"))
        return false;
    while (i < n && (m[i].h.opcode == 0 || m[i].head != head))
        i++;
    if (!CHECK(i < n, "it was asked, and is not answered twice"))
        return false;
    if (!CHECK_EQ(fm_reply(q, &m[i], used), 0, "GETATTR"))
        return false;
    m[i].h.opcode = 0;
    return true;
}

bool all_answered_once(struct guest_queue *q)
{
    return CHECK_EQ(__atomic_load_n(&q->used->idx, __ATOMIC_SEQ_CST),
                    q->avail_idx, "each was answered once") &&
           CHECK_EQ(q->used_idx, q->avail_idx, "and taken");
}
