/* SPDX-License-Identifier: BSD-3-Clause */
#include "vhost/guard.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Two tables of 509 regions during a change, and the dirty log. */
#define GUARD_MAX 1100

/* Written under @lock, read by the handler: @len before @base, and a base of 0
 * is an empty place. */
static struct {
    _Atomic uintptr_t base;
    _Atomic size_t len;
} watched[GUARD_MAX];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uintptr_t page_bytes;

_Atomic bool guard_lost_;

static bool is_watched(uintptr_t addr)
{
    for (size_t i = 0; i < GUARD_MAX; i++) {
        uintptr_t base = atomic_load(&watched[i].base);

        if (base && addr - base < atomic_load(&watched[i].len))
            return true;
    }
    return false;
}

/* Only what may be called in a signal handler. */
static void on_sigbus(int sig, siginfo_t *info, void *context)
{
    int saved = errno;
    uintptr_t page = (uintptr_t)info->si_addr & ~(page_bytes - 1);

    (void)context;
    atomic_store(&guard_lost_, true);
    if (!is_watched(page) ||
        mmap((void *)page, page_bytes, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
        signal(sig, SIG_DFL); /* the access faults again: let it */
    errno = saved;
}

int guard_setup(void)
{
    struct sigaction sa = { .sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO };

    page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);
    sigemptyset(&sa.sa_mask);
    return sigaction(SIGBUS, &sa, NULL) < 0 ? -errno : 0;
}

void guard_add(void *base, size_t len)
{
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < GUARD_MAX; i++) {
        if (atomic_load(&watched[i].base))
            continue;
        atomic_store(&watched[i].len, len);
        atomic_store(&watched[i].base, (uintptr_t)base);
        break;
    }
    pthread_mutex_unlock(&lock);
}

void guard_remove(void *base)
{
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < GUARD_MAX; i++) {
        if (atomic_load(&watched[i].base) == (uintptr_t)base) {
            atomic_store(&watched[i].base, 0);
            break;
        }
    }
    pthread_mutex_unlock(&lock);
}
