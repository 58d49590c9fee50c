/* SPDX-License-Identifier: BSD-3-Clause */
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "virtiofsd/base/util.h"
#include "virtiofsd/options_table.h"

/* A year and more: no cache wants longer, and it fits every time type. */
#define TIMEOUT_MAX_S 1e9

static void tell(struct opt_ctx *x, const char *severity, const char *val)
{
    fprintf(x->err, "virtiofsd: %s%s%s%s: ", severity, x->given, val ? "=" : "",
            val ? val : "");
}

int opt_fail(struct opt_ctx *x, const char *val, const char *fmt, ...)
{
    va_list ap;

    tell(x, "", val);
    va_start(ap, fmt);
    vfprintf(x->err, fmt, ap);
    va_end(ap);
    fputc('\n', x->err);
    return -EINVAL;
}

void opt_warn(struct opt_ctx *x, const char *val, const char *what)
{
    tell(x, "warning: ", val);
    fprintf(x->err, "%s\n", what);
}

int opt_apply(struct opt_ctx *x, const struct opt_row *row, const char *val)
{
    int ret;

    if (row->takes == TAKES_EQ_MAYBE && !val)
        val = row->bare_value;
    if (val && !*val)
        return opt_fail(x, NULL, "the value is empty; give one after '='");
    ret = row->set(x, row, val);
    if (ret == 0 && row->advice && !row->choices)
        opt_warn(x, val, row->advice);
    return ret;
}

static void *field(struct opt_ctx *x, const struct opt_row *row)
{
    return (char *)x->opts + row->at;
}

static void store(struct opt_ctx *x, const struct opt_row *row, int64_t n)
{
    uint16_t n16 = (uint16_t)n;
    uint32_t n32 = (uint32_t)n;

    if (row->width == sizeof(n16))
        memcpy(field(x, row), &n16, sizeof(n16));
    else if (row->width == sizeof(n32))
        memcpy(field(x, row), &n32, sizeof(n32));
    else if (row->width == sizeof(n))
        memcpy(field(x, row), &n, sizeof(n));
    else
        BUG_ON(row->width != 0);
}

/* Decimal digits and nothing else, up to @max. */
static int number(const char *s, uint64_t max, uint64_t *out)
{
    uint64_t n = 0;

    if (!*s)
        return -EINVAL;
    for (; *s; s++) {
        if (!isdigit((unsigned char)*s))
            return -EINVAL;
        if (__builtin_mul_overflow(n, 10, &n) ||
            __builtin_add_overflow(n, (uint64_t)(*s - '0'), &n) || n > max)
            return -ERANGE;
    }
    *out = n;
    return 0;
}

/* @min is what the flag becomes: the no_ rows turn one off. */
int set_flag(struct opt_ctx *x, const struct opt_row *row, const char *val)
{
    bool on = row->min != 0;

    (void)val;
    memcpy(field(x, row), &on, sizeof(on));
    return 0;
}

int set_constant(struct opt_ctx *x, const struct opt_row *row, const char *val)
{
    (void)val;
    store(x, row, row->min);
    return 0;
}

int set_nothing(struct opt_ctx *x, const struct opt_row *row, const char *val)
{
    (void)x, (void)row, (void)val;
    return 0;
}

/* "a, b or c": the values that may be given. */
static void choice_names(const struct opt_choice *c, char *buf, size_t len)
{
    const struct opt_choice *last = NULL;
    size_t used = 0;

    for (const struct opt_choice *p = c; p->name; p++)
        last = p;
    buf[0] = '\0';
    for (; c->name && used < len; c++) {
        used += (size_t)snprintf(buf + used, len - used, "%s%s",
                                 used == 0   ? ""
                                 : c == last ? " or "
                                             : ", ",
                                 c->name);
    }
}

int set_choice(struct opt_ctx *x, const struct opt_row *row, const char *val)
{
    char names[128];

    choice_names(row->choices, names, sizeof(names));
    for (const struct opt_choice *c = row->choices; c->name; c++) {
        if (strcmp(c->name, val) != 0)
            continue;
        if (c->kind != OPT_WORKS)
            opt_warn(x, val, row->advice);
        store(x, row, c->value);
        return 0;
    }
    return opt_fail(x, val, "unknown value; use %s", names);
}

int set_number(struct opt_ctx *x, const struct opt_row *row, const char *val)
{
    uint64_t n;

    if (number(val, (uint64_t)row->max, &n) < 0 || (int64_t)n < row->min)
        return opt_fail(x, val, "not a number from %lld to %lld; give one",
                        (long long)row->min, (long long)row->max);
    store(x, row, (int64_t)n);
    return 0;
}

int set_string(struct opt_ctx *x, const struct opt_row *row, const char *val)
{
    memcpy(field(x, row), &val, sizeof(val));
    return 0;
}

/* The socket can be named in one way only. */
static int socket_once(struct opt_ctx *x, const char *val)
{
    if (x->socket_by[0])
        return opt_fail(x, val,
                        "the socket was already given by %s; give only one",
                        x->socket_by);
    memcpy(x->socket_by, x->given, sizeof(x->socket_by));
    return 0;
}

int set_socket(struct opt_ctx *x, const struct opt_row *row, const char *val)
{
    int ret = socket_once(x, val);

    return ret < 0 ? ret : set_string(x, row, val);
}

int set_fd(struct opt_ctx *x, const struct opt_row *row, const char *val)
{
    int ret = socket_once(x, val);

    return ret < 0 ? ret : set_number(x, row, val);
}

int set_tag(struct opt_ctx *x, const struct opt_row *row, const char *val)
{
    size_t len = strlen(val);

    (void)row;
    if (len > TAG_MAX)
        return opt_fail(x, val, "%zu bytes are too many; use at most %d", len,
                        TAG_MAX);
    memcpy(x->opts->tag, val, len + 1);
    return 0;
}

int opt_level(const char *name, enum log_level *level)
{
    static const struct {
        const char *name;
        enum log_level level;
    } levels[] = {
        { "off", LOG_LEVEL_OFF },     { "error", LOG_LEVEL_ERROR },
        { "err", LOG_LEVEL_ERROR },   { "warn", LOG_LEVEL_WARN },
        { "info", LOG_LEVEL_INFO },   { "debug", LOG_LEVEL_DEBUG },
        { "trace", LOG_LEVEL_DEBUG },
    };

    for (size_t i = 0; i < ARRAY_SIZE(levels); i++) {
        if (strcasecmp(name, levels[i].name) == 0) {
            *level = levels[i].level;
            return 0;
        }
    }
    return -EINVAL;
}

/* -d and -o debug come here without a value. */
int set_level(struct opt_ctx *x, const struct opt_row *row, const char *val)
{
    (void)row;
    if (opt_level(val ? val : "debug", &x->opts->log_level) < 0)
        return opt_fail(x, val,
                        "unknown value; use off, error, warn, info or debug");
    x->level_given = true;
    return 0;
}

int set_readdirplus(struct opt_ctx *x, const struct opt_row *row,
                    const char *val)
{
    (void)val;
    x->readdirplus = row->min != 0;
    return 0;
}

int set_timeout(struct opt_ctx *x, const struct opt_row *row, const char *val)
{
    char *end;
    double s = strtod(val, &end);

    /* strtod takes blanks, signs, powers, hexadecimals, "inf" and "nan". */
    if (val[strspn(val, "0123456789.")] || *end || !(s <= TIMEOUT_MAX_S))
        return opt_fail(x, val,
                        "not a number of seconds; give one like 1 "
                        "or 0.5");
    if (row->width) {
        memcpy(field(x, row), &s, sizeof(s));
        return 0;
    }
    x->opts->pt.attr_timeout_s = s;
    x->opts->pt.entry_timeout_s = s;
    return 0;
}

/* Only the shape: the sandbox knows which names there are. */
static bool modcaps_shaped(const char *s)
{
    do {
        size_t n;

        if (*s != '+' && *s != '-')
            return false;
        for (n = 1; isalnum((unsigned char)s[n]) || s[n] == '_'; n++)
            ;
        if (n == 1)
            return false;
        s += n;
    } while (*s++ == ':');
    return s[-1] == '\0';
}

int set_modcaps(struct opt_ctx *x, const struct opt_row *row, const char *val)
{
    size_t len = strlen(val);

    (void)row;
    if (len >= sizeof(x->opts->sandbox.modcaps))
        return opt_fail(x, val, "longer than %zu bytes; name fewer",
                        sizeof(x->opts->sandbox.modcaps) - 1);
    if (!modcaps_shaped(val))
        return opt_fail(x, val,
                        "not a list of capabilities; give one like "
                        "+dac_read_search:-mknod");
    memcpy(x->opts->sandbox.modcaps, val, len + 1);
    return 0;
}

/* ":inside:outside:count:", where the first byte says what separates; the
 * last separator may be missing. */
static int parse_ns_map(const char *val, struct sandbox_idmap *m)
{
    uint32_t *const part[] = { &m->inside, &m->outside, &m->count };
    const char sep[] = { val[0], '\0' };
    const char *s = val + 1;

    if (isdigit((unsigned char)sep[0]))
        return -EINVAL;
    for (size_t i = 0; i < ARRAY_SIZE(part); i++) {
        char digits[11];
        size_t len = strcspn(s, sep);
        uint64_t n;

        if (len >= sizeof(digits) || (i < 2 && !s[len]))
            return -EINVAL;
        memcpy(digits, s, len);
        digits[len] = '\0';
        if (number(digits, UINT32_MAX, &n) < 0)
            return -EINVAL;
        *part[i] = (uint32_t)n;
        s += len + (s[len] != '\0');
    }
    if (*s || m->count == 0)
        return -EINVAL;
    /* The last id a range may hold is 2^32 - 2: -1 means "no change". */
    if (m->count > UINT32_MAX - m->inside || m->count > UINT32_MAX - m->outside)
        return -ERANGE;
    return 0;
}

static bool overlap(uint32_t a, uint32_t na, uint32_t b, uint32_t nb)
{
    return a < b + nb && b < a + na; /* neither wraps: parse_ns_map() */
}

int set_ns_map(struct opt_ctx *x, const struct opt_row *row, const char *val)
{
    struct sandbox_opts *s = &x->opts->sandbox;
    bool uid = row->at == offsetof(struct options, sandbox.uid);
    struct sandbox_idmap *map = uid ? s->uid : s->gid;
    uint32_t *n = uid ? &s->n_uid : &s->n_gid;
    struct sandbox_idmap m;

    if (*n == SANDBOX_MAX_IDMAPS)
        return opt_fail(x, val, "more than %d maps; give fewer",
                        SANDBOX_MAX_IDMAPS);
    if (parse_ns_map(val, &m) < 0)
        return opt_fail(x, val,
                        "not a map; give :INSIDE:OUTSIDE:COUNT: in numbers "
                        "below 2^32");
    for (uint32_t i = 0; i < *n; i++) {
        if (overlap(m.inside, m.count, map[i].inside, map[i].count) ||
            overlap(m.outside, m.count, map[i].outside, map[i].count))
            return opt_fail(x, val,
                            "overlaps an earlier map; give ranges apart");
    }
    map[(*n)++] = m;
    return 0;
}

int set_translate(struct opt_ctx *x, const struct opt_row *row, const char *val)
{
    char why[128] = "not a rule";

    if (idmap_add(field(x, row), val, why, sizeof(why)) < 0)
        return opt_fail(x, val, "%s; give one like map:GUEST:HOST:COUNT", why);
    return 0;
}

/* The rules may go over several lines, so only the parser quotes of them. */
int set_xattrmap(struct opt_ctx *x, const struct opt_row *row, const char *val)
{
    struct xattrmap *m = field(x, row);
    char why[256] = "";

    if (xattrmap_parse(m, val, why, sizeof(why)) < 0)
        return opt_fail(x, NULL, "%s", why);
    if (!xattrmap_is_complete(m))
        opt_warn(x, NULL,
                 "names that match no rule are refused and hidden; end the "
                 "rules with :bad:all::: to say so");
    return 0;
}

int set_help(struct opt_ctx *x, const struct opt_row *row, const char *val)
{
    (void)row, (void)val;
    options_help(x->out);
    x->done = true;
    return 0;
}

int set_version(struct opt_ctx *x, const struct opt_row *row, const char *val)
{
    (void)row, (void)val;
    fputs("virtiofsd " VIRTIOFSD_VERSION "\n", x->out);
    x->done = true;
    return 0;
}

/* libvirt reads this; "separate-options" makes it use the long options. */
int set_capabilities(struct opt_ctx *x, const struct opt_row *row,
                     const char *val)
{
    (void)row, (void)val;
    fputs("{\n"
          "  \"type\": \"fs\",\n"
          "  \"features\": [\n"
          "    \"separate-options\"\n"
          "  ]\n"
          "}\n",
          x->out);
    x->done = true;
    return 0;
}
