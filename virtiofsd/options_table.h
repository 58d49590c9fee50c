/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_OPTIONS_TABLE_H
#define VIRTIOFSD_OPTIONS_TABLE_H

/*
 * The rows behind options_parse(): options_table.c says which options there
 * are, options_set.c what a value does, options.c walks argv.  Also read by
 * the tests that hold the parser and the man page against the rows.
 */

#include <stdarg.h>

#include "virtiofsd/options.h"

enum opt_takes {
    TAKES_NOTHING,
    TAKES_VALUE,    /* --opt=val or --opt val */
    TAKES_EQ,       /* --opt=val only */
    TAKES_EQ_MAYBE, /* --opt=val or --opt, which stands for bare_value */
};

/* What becomes of an option, or of one of its values. */
enum opt_kind {
    OPT_WORKS,
    OPT_DEPRECATED, /* works; told on err what to use instead */
    OPT_IGNORED,    /* taken so that the launcher's line starts; told on err */
};

struct opt_choice {
    const char *name;
    unsigned int value;
    enum opt_kind kind;
};

struct opt_ctx;

/*
 * One option.  @at and @width name the field of struct options which the
 * common setters store to.
 */
struct opt_row {
    const char *name; /* without dashes; NULL: only @letter */
    char letter;      /* or 0 */
    enum opt_takes takes;
    enum opt_kind kind;
    const char *metavar; /* NULL: the choices, or none */
    const char *help;
    const char *advice;     /* OPT_DEPRECATED, OPT_IGNORED: told on err */
    const char *bare_value; /* TAKES_EQ_MAYBE */
    const struct opt_choice *choices; /* ended by a NULL name */
    bool dash_value;                  /* a separate value may begin with '-' */
    size_t at, width;
    int64_t min, max;
    int (*set)(struct opt_ctx *x, const struct opt_row *row, const char *val);
};

/* One run of options_parse(). */
struct opt_ctx {
    struct options *opts;
    FILE *out, *err;
    char given[64];     /* the option as the user spelt it: "-o cache" */
    char socket_by[64]; /* the option that named the socket, or "" */
    bool level_given;
    int readdirplus; /* -1: what the cache mode says */
    bool done;       /* --help and the like have printed */
};

/* The long and short options, and the keys of -o. */
extern const struct opt_row options_long[];
extern const size_t options_long_n;
extern const struct opt_row options_o[];
extern const size_t options_o_n;

/* --help's text, made from the rows. */
void options_help(FILE *out);

/**
 * opt_apply() - check one option's value and store it.
 * @val: as given, or NULL for an option without one.
 * Return: 0, or -EINVAL after one line on x->err.
 */
int opt_apply(struct opt_ctx *x, const struct opt_row *row, const char *val);

/**
 * opt_o_list() - the value of -o.
 * @list: cut up in place; values stored in x->opts point into it.
 */
int opt_o_list(struct opt_ctx *x, char *list);

/* One line on x->err: the option, its value if any, what to do.
 * Return: -EINVAL, for the caller to pass on. */
int opt_fail(struct opt_ctx *x, const char *val, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void opt_warn(struct opt_ctx *x, const char *val, const char *what);

/* Log level by name, in any case of letters.  Return: 0 or -EINVAL. */
int opt_level(const char *name, enum log_level *level);

/* Setters, options_set.c.  "Field" is the row's @at. */
int set_flag(struct opt_ctx *x, const struct opt_row *row, const char *val);
int set_constant(struct opt_ctx *x, const struct opt_row *row, const char *val);
int set_choice(struct opt_ctx *x, const struct opt_row *row, const char *val);
int set_number(struct opt_ctx *x, const struct opt_row *row, const char *val);
int set_string(struct opt_ctx *x, const struct opt_row *row, const char *val);
int set_nothing(struct opt_ctx *x, const struct opt_row *row, const char *val);
int set_socket(struct opt_ctx *x, const struct opt_row *row, const char *val);
int set_fd(struct opt_ctx *x, const struct opt_row *row, const char *val);
int set_tag(struct opt_ctx *x, const struct opt_row *row, const char *val);
int set_level(struct opt_ctx *x, const struct opt_row *row, const char *val);
int set_readdirplus(struct opt_ctx *x, const struct opt_row *row,
                    const char *val);
int set_timeout(struct opt_ctx *x, const struct opt_row *row, const char *val);
int set_modcaps(struct opt_ctx *x, const struct opt_row *row, const char *val);
int set_ns_map(struct opt_ctx *x, const struct opt_row *row, const char *val);
int set_translate(struct opt_ctx *x, const struct opt_row *row,
                  const char *val);
int set_xattrmap(struct opt_ctx *x, const struct opt_row *row, const char *val);
int set_help(struct opt_ctx *x, const struct opt_row *row, const char *val);
int set_version(struct opt_ctx *x, const struct opt_row *row, const char *val);
int set_capabilities(struct opt_ctx *x, const struct opt_row *row,
                     const char *val);

#endif
