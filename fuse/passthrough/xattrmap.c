/* SPDX-License-Identifier: BSD-3-Clause */
#include "fuse/passthrough/xattrmap.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "virtiofsd/base/util.h"

#define BOTH (XATTRMAP_CLIENT | XATTRMAP_SERVER)
/* How much of a rule an error quotes. */
#define QUOTE_MAX 40

/* A field of a rule, by offset in the rules. */
struct field {
    size_t at, len;
};

/* Where the parser is.  @rule counts from 1; @rule_at is its first byte. */
struct scan {
    const char *text;
    size_t at, len;
    unsigned int rule;
    size_t rule_at;
    char *err;
    size_t errlen;
};

static const struct word {
    const char *name;
    unsigned int value;
} types[] = {
    { "prefix", XATTRMAP_PREFIX },
    { "ok", XATTRMAP_OK },
    { "bad", XATTRMAP_BAD },
    { "unsupported", XATTRMAP_UNSUPPORTED },
}, scopes[] = {
    { "client", XATTRMAP_CLIENT },
    { "server", XATTRMAP_SERVER },
    { "all", BOTH },
};

/* Bytes of the user's, fit for one line of a terminal. */
static const char *quote(char *buf, const char *text, size_t len)
{
    size_t n = MIN(len, (size_t)QUOTE_MAX);

    for (size_t i = 0; i < n; i++)
        buf[i] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
    strcpy(buf + n, len > n ? "..." : "");
    return buf;
}

/* Without a rule (@s->rule is 0) there is no place to tell of. */
__attribute__((format(printf, 3, 4))) static int
refuse(struct scan *s, size_t at, const char *fmt, ...)
{
    char rule[QUOTE_MAX + 4];
    va_list ap;
    int n = 0;

    if (s->rule)
        n = snprintf(s->err, s->errlen,
                     "rule %u, offset %zu, in '%s': ", s->rule, at,
                     quote(rule, s->text + s->rule_at, s->len - s->rule_at));
    if (n >= 0 && (size_t)n < s->errlen) {
        va_start(ap, fmt);
        vsnprintf(s->err + n, s->errlen - (size_t)n, fmt, ap);
        va_end(ap);
    }
    return -EINVAL;
}

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void skip_blanks(struct scan *s)
{
    while (s->at < s->len && is_blank(s->text[s->at]))
        s->at++;
}

/* No letter or digit: a rule that begins with one lacks its separator, and
 * would be read in a way that nobody meant. */
static bool is_separator(char c)
{
    return c > ' ' && c <= '~' && !(c >= '0' && c <= '9') &&
           !((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
}

static int take_field(struct scan *s, char sep, const char *what,
                      struct field *f)
{
    const char *start = s->text + s->at;
    const char *end = memchr(start, sep, s->len - s->at);

    if (!end)
        return refuse(s, s->at, "%s has no end; put a '%c' behind it", what,
                      sep);
    f->at = s->at;
    f->len = (size_t)(end - start);
    s->at += f->len + 1;
    return 0;
}

/* A field that is a name or the beginning of one. */
static int take_name(struct scan *s, char sep, const char *what,
                     struct field *f)
{
    int ret = take_field(s, sep, what, f);

    if (ret == 0 && f->len > XATTRMAP_NAME_MAX)
        ret = refuse(s, f->at, "%s has %zu bytes; a name has at most %d", what,
                     f->len, XATTRMAP_NAME_MAX);
    return ret;
}

static bool is_word(const struct scan *s, const struct field *f,
                    const char *word)
{
    return strlen(word) == f->len && !memcmp(s->text + f->at, word, f->len);
}

/* Return: the word's value, or -1. */
static int find_word(const struct scan *s, const struct field *f,
                     const struct word *words, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (is_word(s, f, words[i].name))
            return (int)words[i].value;
    }
    return -1;
}

static int add(struct scan *s, struct xattrmap *m, enum xattrmap_type type,
               unsigned int scope, const struct field *key,
               const struct field *prepend)
{
    if (m->n == XATTRMAP_MAX_RULES)
        return refuse(s, s->rule_at,
                      "more than %d rules, a map counting for three; give "
                      "fewer",
                      XATTRMAP_MAX_RULES);
    m->rule[m->n++] = (struct xattrmap_rule){
        .type = (uint8_t)type,
        .scope = (uint8_t)scope,
        .key_len = (uint8_t)key->len,
        .prepend_len = (uint8_t)prepend->len,
        .key_at = (uint16_t)key->at,
        .prepend_at = (uint16_t)prepend->at,
    };
    return 0;
}

/*
 * KEY becomes PREPEND KEY.  The guest may then neither name what lies behind
 * the prefix directly nor see names of the host's that begin with KEY; all
 * else passes, unless KEY is empty: then there is nothing else.
 */
static int parse_map(struct scan *s, struct xattrmap *m, char sep)
{
    static const struct field none;
    struct field key, prepend;
    int ret;

    ret = take_name(s, sep, "the key of map", &key);
    if (ret == 0)
        ret = take_name(s, sep, "the prefix of map", &prepend);
    if (ret < 0)
        return ret;
    if (prepend.len == 0)
        return refuse(s, prepend.at,
                      "the prefix of map is empty; give one like "
                      "user.virtiofs.");
    skip_blanks(s);
    if (s->at < s->len)
        return refuse(s, s->at,
                      "map must be the last rule; move it behind the others");
    ret = add(s, m, XATTRMAP_PREFIX, BOTH, &key, &prepend);
    if (ret == 0 && key.len > 0)
        ret = add(s, m, XATTRMAP_BAD, BOTH, &prepend, &key);
    if (ret == 0)
        ret = add(s, m, key.len > 0 ? XATTRMAP_OK : XATTRMAP_BAD, BOTH, &none,
                  &none);
    return ret;
}

static int parse_rule(struct scan *s, struct xattrmap *m)
{
    char sep = s->text[s->at], word[QUOTE_MAX + 4];
    struct field f = { 0, 0 }, key, prepend;
    int type, scope, ret;

    if (!is_separator(sep))
        return refuse(s, s->at,
                      "a rule begins with its separator, ':' for example; "
                      "put one there");
    s->at++;
    ret = take_field(s, sep, "the type", &f);
    if (ret < 0)
        return ret;
    if (is_word(s, &f, "map"))
        return parse_map(s, m, sep);
    type = find_word(s, &f, types, ARRAY_SIZE(types));
    if (type < 0)
        return refuse(s, f.at,
                      "unknown type '%s'; use prefix, ok, bad, unsupported "
                      "or map",
                      quote(word, s->text + f.at, f.len));
    ret = take_field(s, sep, "the scope", &f);
    if (ret < 0)
        return ret;
    scope = find_word(s, &f, scopes, ARRAY_SIZE(scopes));
    if (scope < 0)
        return refuse(s, f.at, "unknown scope '%s'; use client, server or all",
                      quote(word, s->text + f.at, f.len));
    ret = take_name(s, sep, "the key", &key);
    if (ret == 0)
        ret = take_name(s, sep, "the prefix", &prepend);
    if (ret == 0)
        ret = add(s, m, (enum xattrmap_type)type, (unsigned int)scope, &key,
                  &prepend);
    return ret;
}

int xattrmap_parse(struct xattrmap *m, const char *rules, char *err,
                   size_t errlen)
{
    struct scan s = {
        .text = rules, .len = strlen(rules), .err = err, .errlen = errlen
    };
    struct xattrmap new = { 0 };

    if (s.len > sizeof(new.text))
        return refuse(&s, 0, "%zu bytes of rules; at most %zu are possible",
                      s.len, sizeof(new.text));
    memcpy(new.text, rules, s.len);
    for (skip_blanks(&s); s.at < s.len; skip_blanks(&s)) {
        s.rule++;
        s.rule_at = s.at;
        if (parse_rule(&s, &new) < 0)
            return -EINVAL;
    }
    if (new.n == 0)
        return refuse(&s, 0, "no rule; give one like :map::user.virtiofs.:");
    *m = new;
    return 0;
}

/* The beginning of a name which makes @r match in @scope. */
static const char *pattern(const struct xattrmap *m,
                           const struct xattrmap_rule *r, unsigned int scope,
                           size_t *len)
{
    *len = scope == XATTRMAP_CLIENT ? r->key_len : r->prepend_len;
    return m->text + (scope == XATTRMAP_CLIENT ? r->key_at : r->prepend_at);
}

static const struct xattrmap_rule *find(const struct xattrmap *m,
                                        unsigned int scope, const char *name)
{
    for (size_t i = 0; i < MIN(m->n, (uint32_t)XATTRMAP_MAX_RULES); i++) {
        const struct xattrmap_rule *r = &m->rule[i];
        size_t len;
        const char *begin = pattern(m, r, scope, &len);

        if ((r->scope & scope) && !strncmp(name, begin, len))
            return r;
    }
    return NULL;
}

/* Only a rule with an empty field matches the empty name, and that one
 * matches all names. */
bool xattrmap_is_complete(const struct xattrmap *m)
{
    return find(m, XATTRMAP_CLIENT, "") && find(m, XATTRMAP_SERVER, "");
}

static int put_prefix(const struct xattrmap *m, const struct xattrmap_rule *r,
                      const char *name, char room[XATTRMAP_NAME_MAX + 1])
{
    size_t len = strlen(name);

    if (len > (size_t)XATTRMAP_NAME_MAX - r->prepend_len)
        return -ENAMETOOLONG;
    memcpy(room, m->text + r->prepend_at, r->prepend_len);
    memcpy(room + r->prepend_len, name, len + 1);
    return 0;
}

int xattrmap_to_host(const struct xattrmap *m, const char *name,
                     char room[XATTRMAP_NAME_MAX + 1], const char **host)
{
    const struct xattrmap_rule *r;

    *host = name;
    if (!*name)
        return 0;
    r = find(m, XATTRMAP_CLIENT, name);
    if (!r)
        return -EPERM;
    switch ((enum xattrmap_type)r->type) {
    case XATTRMAP_PREFIX:
        *host = room;
        return put_prefix(m, r, name, room);
    case XATTRMAP_OK:
        return 0;
    case XATTRMAP_BAD:
        return -EPERM;
    case XATTRMAP_UNSUPPORTED:
        return -EOPNOTSUPP;
    }
    return -EPERM;
}

const char *xattrmap_to_guest(const struct xattrmap *m, const char *name)
{
    const struct xattrmap_rule *r = find(m, XATTRMAP_SERVER, name);

    if (!r)
        return NULL;
    switch ((enum xattrmap_type)r->type) {
    case XATTRMAP_PREFIX:
        name += r->prepend_len;
        /* Linux takes a list with an empty name for a broken one. */
        return *name ? name : NULL;
    case XATTRMAP_OK:
        return name;
    case XATTRMAP_BAD:
    case XATTRMAP_UNSUPPORTED:
        break;
    }
    return NULL;
}
