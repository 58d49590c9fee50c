/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_TESTS_PROTOCOL_SCHED_LIB_H
#define VIRTIOFSD_TESTS_PROTOCOL_SCHED_LIB_H

/*
 * The daemon's processes held still at a place of the test's choosing, from
 * outside: the program under test knows nothing of it.
 *
 * A whole role is stopped with SIGSTOP; one thread is stopped at a system
 * call with ptrace(2).  Nothing here waits for time to pass: each call comes
 * back when the kernel says that the place is reached.
 *
 * Context: the test's main thread (a tracer is a thread).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "tests/protocol/vm.h"

/* ---- roles ---- */

enum role { ROLE_CONTROL, ROLE_REQUEST, ROLE_SUPERVISOR, ROLES };

/* Return: its pid; 0 after a failed CHECK. */
pid_t role_pid(const struct vm *vm, enum role role);
/* SIGSTOP, and come back when every thread of it stands. */
bool role_stop(pid_t pid);
void role_cont(pid_t pid);
/* Return: the thread called @comm; 0 when there is none. */
pid_t role_thread(pid_t pid, const char *comm);
/* Wait until thread @tid of @pid sleeps in the kernel. */
bool role_wait_asleep(pid_t pid, pid_t tid);

/* What a process holds: open fds, and mappings of the guest's memory. */
struct usage {
    size_t fds, guest_maps;
};
bool role_usage(pid_t pid, struct usage *u);

/* The counter of an eventfd of ours, which stays as it is. */
uint64_t eventfd_count(int fd);

/* ---- one thread at a system call ---- */

enum place {
    /* A ring's thread. */
    RING_SLEEPS,     /* about to ppoll */
    RING_SEES_KICK,  /* ppoll has said that the kick is readable */
    RING_SEES_WAKE,  /* ppoll has said that the wake is readable */
    RING_DRAINS,     /* about to read the kick: the slot said live */
    RING_DRAINED,    /* has read it, has not looked at the ring */
    RING_IN_REQUEST, /* about to ask the host's file system */
    RING_CALLS,      /* used ring written, call fd not yet */
    RING_CALLED,     /* call fd written */
    RING_BEGINS,     /* about to have a direct read begun */
    /* The control process. */
    CONTROL_SEES,      /* poll has returned, nothing read yet */
    CONTROL_PUBLISHED, /* slot published, ring not yet woken */
    CONTROL_WOKE,      /* ring woken */
    CONTROL_SENDS,     /* about to send a command, or a reply */
    PLACES
};

extern const char *const place_name[PLACES];

/**
 * struct hold - a thread under ptrace.
 * @kick_id, @call_id: which eventfds are the ring's, whatever their numbers.
 * @in: arguments of the system call it is in.
 */
struct hold {
    pid_t pid, tid;
    bool seized, stands;
    uint64_t kick_id, call_id;
    uint64_t nr, arg[6];
};

/**
 * hold_begin() - take control of a thread; it stands still afterwards.
 * @q: the ring it serves, NULL for the control process.
 * Return: false when it is not permitted (the test is skipped) or failed.
 */
bool hold_begin(struct hold *h, struct vm *vm, const struct guest_queue *q);
/* Let it run to @place and stand there.  False after a failed CHECK: it did
 * not come there within the deadline. */
bool hold_at(struct hold *h, enum place place);
/* Let it run as it likes. */
void hold_end(struct hold *h);

/* ---- the conversation with control ---- */

/* Wait until control has read all that we have sent and sleeps again, be it
 * for our next message or for the request process. */
bool control_settled(struct vm *vm, pid_t control);
/* Has an answer come? */
bool answer_is_there(struct vm *vm);
/* Send, and leave the reply for fe_recv(). */
bool send_state(struct vm *vm, uint32_t request, uint32_t index, uint32_t num,
                bool need_reply);
bool send_fd(struct vm *vm, uint32_t request, uint32_t index, int fd,
             bool need_reply);
bool recv_ok(struct vm *vm, uint32_t request, uint64_t *v);

/* ---- requests, one at a time ---- */

/* A call is wanted for the next completion. */
void ask_for_a_call(struct guest_queue *q);
/* Put a GETATTR on the ring and publish it, without a kick. */
bool put_getattr(struct guest_queue *q, struct fm *m, unsigned int slot);
/* Wait for the completion of any of the @n in @m; each may come once. */
bool take_getattr(struct guest_queue *q, struct fm *m, size_t n);
/* All that was put came back, no more, no less. */
bool all_answered_once(struct guest_queue *q);

/* Fewer rounds where a sanitizer makes each cost more. */
#ifdef SANITIZER_FILTER
#define ROUNDS(n) ((n) / 5)
#else
#define ROUNDS(n) (n)
#endif

#endif
