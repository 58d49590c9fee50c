/* SPDX-License-Identifier: BSD-3-Clause */
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/protocol/sched_lib.h"

/* clang-format off */
const char *const place_name[PLACES] = {
    [RING_SLEEPS]       = "the ring's thread is about to sleep",
    [RING_SEES_KICK]    = "the ring's thread has seen the kick",
    [RING_SEES_WAKE]    = "the ring's thread has seen the wake",
    [RING_DRAINS]       = "the ring's thread is about to drain the kick",
    [RING_DRAINED]      = "the ring's thread has drained the kick",
    [RING_IN_REQUEST]   = "the ring's thread is in a request",
    [RING_BEGINS]       = "the ring's thread begins a read",
    [RING_CALLS]        = "the ring's thread is about to call",
    [RING_CALLED]       = "the ring's thread has called",
    [CONTROL_SEES]      = "control has a message to read",
    [CONTROL_PUBLISHED] = "control has published, and not yet woken",
    [CONTROL_WOKE]      = "control has woken the ring",
    [CONTROL_SENDS]     = "control is about to send",
};
/* clang-format on */

/* Which eventfd is behind an fd of a process, whatever its number; 0 for
 * something else. */
static uint64_t eventfd_id(pid_t pid, int fd)
{
    char path[64], line[128];
    unsigned long long id = 0;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", (int)pid, fd);
    f = fopen(path, "re");
    while (f && fgets(line, sizeof(line), f)) {
        /* Count up: an id may be 0, and that is to mean "none". */
        if (sscanf(line, "eventfd-id: %llu", &id) == 1) {
            id++;
            break;
        }
    }
    if (f)
        fclose(f);
    return id;
}

/* ptrace(2) takes numbers in its pointers. */
static long trace(enum __ptrace_request request, pid_t tid, uintptr_t addr,
                  uintptr_t data)
{
    return ptrace(request, tid, (void *)addr, (void *)data);
}

/*
 * Wait until the thread stands.  Signals on their way to it are let through.
 * Return: false after the deadline, or when the thread is gone.
 */
static bool wait_stand(struct hold *h)
{
    int64_t until = now_ns() + (int64_t)DEADLINE_MS * 1000000;

    while (now_ns() < until) {
        int status, sig;
        pid_t got = waitpid(h->tid, &status, __WALL | WNOHANG);

        if (got < 0 || (got > 0 && !WIFSTOPPED(status))) {
            h->seized = false;
            return false;
        }
        if (got == 0) {
            sched_yield();
            continue;
        }
        sig = WSTOPSIG(status);
        if (sig == (SIGTRAP | 0x80) || status >> 16 == PTRACE_EVENT_STOP) {
            h->stands = true;
            return true;
        }
        trace(PTRACE_SYSCALL, h->tid, 0, (uintptr_t)sig);
    }
    return false;
}

bool hold_begin(struct hold *h, struct vm *vm, const struct guest_queue *q)
{
    char comm[16] = "virtiofsd-vhost";

    *h = (struct hold){ .nr = UINT64_MAX };
    h->pid = role_pid(vm, q ? ROLE_REQUEST : ROLE_CONTROL);
    if (q) {
        snprintf(comm, sizeof(comm), "vring%u", q->idx);
        h->kick_id = eventfd_id(getpid(), q->kick_fd);
        h->call_id = eventfd_id(getpid(), q->call_fd);
        if (!h->kick_id || !h->call_id) {
            tap_skip("this kernel does not tell eventfds apart");
            return false;
        }
    }
    h->tid = role_thread(h->pid, comm);
    if (!CHECK(h->tid > 0, comm))
        return false;
    if (trace(PTRACE_SEIZE, h->tid, 0, PTRACE_O_TRACESYSGOOD) < 0) {
        tap_skip("ptrace(2) is not permitted here");
        return false;
    }
    h->seized = true;
    trace(PTRACE_INTERRUPT, h->tid, 0, 0);
    return CHECK(wait_stand(h), "it stands");
}

void hold_end(struct hold *h)
{
    if (!h->seized)
        return;
    /* Only a thread that stands can be let go. */
    if (!h->stands) {
        trace(PTRACE_INTERRUPT, h->tid, 0, 0);
        wait_stand(h);
    }
    trace(PTRACE_DETACH, h->tid, 0, 0);
    h->seized = false;
    h->stands = false;
}

/* ppoll: the events of pollfd @i; 0 when they can not be read. */
static short events_of(const struct hold *h, unsigned int i)
{
    struct pollfd p;
    long word = trace(PTRACE_PEEKDATA, h->tid, h->arg[0] + i * sizeof(p), 0);

    memcpy(&p, &word, sizeof(p));
    return p.revents;
}

static bool is_poll(uint64_t nr)
{
#ifdef SYS_poll
    if (nr == SYS_poll)
        return true;
#endif
    return nr == SYS_ppoll || nr == SYS_restart_syscall;
}

static bool is_stat(uint64_t nr)
{
    return nr == SYS_statx || nr == SYS_newfstatat || nr == SYS_fstat;
}

static bool on_eventfd(const struct hold *h, uint64_t nr, uint64_t id)
{
    uint64_t got;

    if (h->nr != nr)
        return false;
    got = eventfd_id(h->pid, (int)h->arg[0]);
    return id ? got == id : got != 0;
}

/* Is this system call, begun or ended with @ret, the place? */
static bool is_at(const struct hold *h, enum place place, bool ended,
                  int64_t ret)
{
    switch (place) {
    case RING_SLEEPS:
        return !ended && h->nr == SYS_ppoll;
    case RING_SEES_KICK:
        return ended && h->nr == SYS_ppoll && ret > 0 && events_of(h, 1);
    case RING_SEES_WAKE:
        return ended && h->nr == SYS_ppoll && ret > 0 && events_of(h, 0);
    case RING_DRAINS:
        return !ended && on_eventfd(h, SYS_read, h->kick_id);
    case RING_DRAINED:
        return ended && on_eventfd(h, SYS_read, h->kick_id);
    case RING_IN_REQUEST:
        return !ended && is_stat(h->nr);
    case RING_BEGINS:
        return !ended && h->nr == SYS_io_submit;
    case RING_CALLS:
        return !ended && on_eventfd(h, SYS_write, h->call_id);
    case RING_CALLED:
        return ended && on_eventfd(h, SYS_write, h->call_id);
    case CONTROL_SEES:
        return ended && is_poll(h->nr) && ret > 0;
    case CONTROL_PUBLISHED:
        return !ended && on_eventfd(h, SYS_write, 0);
    case CONTROL_WOKE:
        return ended && on_eventfd(h, SYS_write, 0);
    case CONTROL_SENDS:
        return !ended && h->nr == SYS_sendmsg;
    case PLACES:
        break;
    }
    return false;
}

/* On to the next system call's begin or end.  Return: it stands there. */
static bool step(struct hold *h, bool *ended, int64_t *ret)
{
    struct __ptrace_syscall_info info;

    h->stands = false;
    if (trace(PTRACE_SYSCALL, h->tid, 0, 0) < 0 || !wait_stand(h))
        return false;
    *ended = false;
    *ret = 0;
    if (trace(PTRACE_GET_SYSCALL_INFO, h->tid, sizeof(info), (uintptr_t)&info) <
        0)
        return false;
    if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
        h->nr = info.entry.nr;
        memcpy(h->arg, info.entry.args, sizeof(h->arg));
    } else if (info.op == PTRACE_SYSCALL_INFO_EXIT) {
        *ended = true;
        *ret = info.exit.rval;
    } else {
        h->nr = UINT64_MAX; /* no system call at all */
    }
    return true;
}

bool hold_at(struct hold *h, enum place place)
{
    bool ended = false;
    int64_t ret = 0;

    if (!h->seized)
        return false;
    do {
        if (!CHECK(step(h, &ended, &ret), place_name[place]))
            return false;
    } while (!is_at(h, place, ended, ret));
    return true;
}
