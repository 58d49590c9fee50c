/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_BASE_UTIL_H
#define VIRTIOFSD_BASE_UTIL_H

/* Leaf tools without a home of their own. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)                                                              \
    ({                                                                         \
        typeof(a) a_ = (a);                                                    \
        typeof(b) b_ = (b);                                                    \
        a_ < b_ ? a_ : b_;                                                     \
    })
#define MAX(a, b)                                                              \
    ({                                                                         \
        typeof(a) a_ = (a);                                                    \
        typeof(b) b_ = (b);                                                    \
        a_ > b_ ? a_ : b_;                                                     \
    })
#define container_of(p, type, member)                                          \
    ((type *)((char *)(p)-offsetof(type, member)))

/* One load, one store: the compiler may neither repeat nor tear them. */
#define READ_ONCE(x)     (*(const volatile typeof(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile typeof(x) *)&(x) = (v))

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define CACHE_LINE 64

static inline bool is_power_of_2(uint64_t n)
{
    return n != 0 && (n & (n - 1)) == 0;
}

/* Within a loop that waits for another CPU. */
static inline void cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
    __asm__ volatile("yield" ::: "memory");
#else
    __asm__ volatile("" ::: "memory");
#endif
}

static inline int64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static inline void free_ptr(void *p)
{
    free(*(void **)p);
}
#define auto_free __attribute__((cleanup(free_ptr)))

/* Guest-physical and front-end-virtual addresses, kept apart by type. */
typedef struct {
    uint64_t v;
} gpa_t;
typedef struct {
    uint64_t v;
} uva_t;

#endif
