/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_TESTS_LIB_TAP_H
#define VIRTIOFSD_TESTS_LIB_TAP_H

/*
 * A test program: functions named as sentences, run by TAP_MAIN().  A failed
 * CHECK is told with file, line, both values and the row's reason; the
 * function goes on, so that one run shows all that is wrong.
 *
 *     static void the_ring_refuses_a_loop(void) { CHECK_EQ(got, -ELOOP, ""); }
 *     TAP_MAIN(TEST(the_ring_refuses_a_loop))
 *
 * A program given a name as argument runs only the tests whose name holds it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tap_test {
    const char *name;
    void (*run)(void);
};
#define TEST(fn)                                                               \
    {                                                                          \
#fn, fn                                                                \
    }
#define TAP_MAIN(...)                                                          \
    int main(int argc, char **argv)                                            \
    {                                                                          \
        static const struct tap_test tests[] = { __VA_ARGS__ };                \
        return tap_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);   \
    }

int tap_run(const struct tap_test *tests, size_t n, int argc, char **argv);

/* Return: @ok. */
bool tap_check(bool ok, const char *file, int line, const char *expr,
               const char *why);
bool tap_check_eq(int64_t got, int64_t want, const char *file, int line,
                  const char *expr, const char *why);
bool tap_check_str(const char *got, const char *want, const char *file,
                   int line, const char *expr, const char *why);
bool tap_check_mem(const void *got, const void *want, size_t len,
                   const char *file, int line, const char *expr,
                   const char *why);
/* Say why this test can not run here.  With VIRTIOFSD_MUST_RUN=1 in the
 * environment that is a failure. */
void tap_skip(const char *why);
/* Has the test that runs now failed a CHECK? */
bool tap_failing(void);
/* A line of comment in the output. */
void tap_diag(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#define CHECK(e, why) tap_check((e), __FILE__, __LINE__, #e, (why))
#define CHECK_EQ(got, want, why)                                               \
    tap_check_eq((int64_t)(got), (int64_t)(want), __FILE__, __LINE__,          \
                 #got " == " #want, (why))
#define CHECK_STR(got, want, why)                                              \
    tap_check_str((got), (want), __FILE__, __LINE__, #got, (why))
#define CHECK_MEM(got, want, len, why)                                         \
    tap_check_mem((got), (want), (len), __FILE__, __LINE__, #got, (why))

#endif
