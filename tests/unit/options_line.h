/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_TESTS_UNIT_OPTIONS_LINE_H
#define VIRTIOFSD_TESTS_UNIT_OPTIONS_LINE_H

/* A command line, parsed for a test. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/tap.h"
#include "virtiofsd/base/util.h"
#include "virtiofsd/options_table.h"

#define ARGS_MAX 32

/* One command line, parsed.  The words are copies: -o is cut in place. */
struct run {
    struct options o;
    enum options_result result;
    char out[16384], err[2048];
    char *word[ARGS_MAX];
};

static inline void run_free(struct run *r)
{
    for (size_t i = 0; i < ARGS_MAX; i++)
        free(r->word[i]);
}

static inline void parse_words(struct run *r, int argc)
{
    FILE *out = fmemopen(r->out, sizeof(r->out) - 1, "w");
    FILE *err = fmemopen(r->err, sizeof(r->err) - 1, "w");

    if (!out || !err)
        abort();
    r->result = options_parse(argc, r->word, &r->o, out, err);
    fclose(out);
    fclose(err);
}

/* Split at blanks; no word of ours holds one. */
static inline void parse(struct run *r, const char *line)
{
    const char *s = line;
    int argc = 0;

    memset(r, 0, sizeof(*r));
    r->word[argc++] = strdup("virtiofsd");
    while (*s) {
        size_t len = strcspn(s, " ");

        if (argc == ARGS_MAX - 1)
            abort();
        r->word[argc++] = strndup(s, len);
        s += len + strspn(s + len, " ");
    }
    parse_words(r, argc);
}

#define BASE "--shared-dir /s --socket-path /k "

static inline size_t lines(const char *s)
{
    size_t n = 0;

    for (; *s; s++)
        n += *s == '\n';
    return n;
}

/* A refusal is one line that holds @says. */
static inline void check_refused(const char *line, const char *says)
{
    struct run r;

    parse(&r, line);
    CHECK_EQ(r.result, OPTIONS_EXIT_USAGE, line);
    CHECK_EQ(lines(r.err), 1, line);
    CHECK(strncmp(r.err, "virtiofsd: ", 11) == 0, line);
    if (!CHECK(strstr(r.err, says) != NULL, line))
        tap_diag("told: %s", r.err);
    CHECK_STR(r.out, "", line);
    run_free(&r);
}

#endif
