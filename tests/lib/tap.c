/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/lib/tap.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool failed;
static const char *skipped;

void tap_diag(const char *fmt, ...)
{
    va_list ap;

    printf("# ");
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    printf("\n");
    fflush(stdout);
}

bool tap_failing(void)
{
    return failed;
}

bool tap_check(bool ok, const char *file, int line, const char *expr,
               const char *why)
{
    if (ok)
        return true;
    failed = true;
    tap_diag("%s:%d: %s: false (%s)", file, line, expr, why);
    return false;
}

bool tap_check_eq(int64_t got, int64_t want, const char *file, int line,
                  const char *expr, const char *why)
{
    if (got == want)
        return true;
    failed = true;
    tap_diag("%s:%d: %s: got %lld, want %lld (%s)", file, line, expr,
             (long long)got, (long long)want, why);
    return false;
}

bool tap_check_str(const char *got, const char *want, const char *file,
                   int line, const char *expr, const char *why)
{
    if (got && strcmp(got, want) == 0)
        return true;
    failed = true;
    tap_diag("%s:%d: %s: got \"%s\", want \"%s\" (%s)", file, line, expr,
             got ? got : "(null)", want, why);
    return false;
}

bool tap_check_mem(const void *got, const void *want, size_t len,
                   const char *file, int line, const char *expr,
                   const char *why)
{
    const unsigned char *a = got, *b = want;

    for (size_t i = 0; i < len; i++) {
        if (a[i] == b[i])
            continue;
        failed = true;
        tap_diag("%s:%d: %s: byte %zu of %zu is 0x%02x, want 0x%02x (%s)", file,
                 line, expr, i, len, a[i], b[i], why);
        return false;
    }
    return true;
}

void tap_skip(const char *why)
{
    const char *must = getenv("VIRTIOFSD_MUST_RUN");

    if (must && strcmp(must, "1") == 0) {
        failed = true;
        tap_diag("can not run here: %s", why);
        return;
    }
    skipped = why;
}

int tap_run(const struct tap_test *tests, size_t n, int argc, char **argv)
{
    size_t ran = 0, bad = 0;

    setvbuf(stdout, NULL, _IOLBF, 0);
    for (size_t i = 0; i < n; i++) {
        if (argc > 1 && !strstr(tests[i].name, argv[1]))
            continue;
        failed = false;
        skipped = NULL;
        tests[i].run();
        ran++;
        bad += failed;
        printf("%s %zu - %s", failed ? "not ok" : "ok", ran, tests[i].name);
        if (skipped && !failed)
            printf(" # SKIP %s", skipped);
        printf("\n");
    }
    printf("1..%zu\n", ran);
    return bad ? 1 : 0;
}
