/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuse/passthrough/xattrmap.h"
#include "tests/lib/tap.h"
#include "virtiofsd/base/util.h"

static int parse(struct xattrmap *m, const char *rules, char err[256])
{
    int ret;

    err[0] = '\0';
    ret = xattrmap_parse(m, rules, err, 256);
    CHECK_EQ(ret < 0, err[0] != '\0', "an error is explained, nothing else");
    CHECK(!strchr(err, '\n'), "in one line");
    return ret;
}

static const struct {
    const char *why, *rules, *says;
} bad[] = {
    /* clang-format off */
    { "nothing",               "",            "no rule; give one like :map::" },
    { "only blanks",           " \n\t ",      "no rule; give one like" },
    { "no separator",          "ok/all///",
      "rule 1, offset 0, in 'ok/all///': a rule begins with its separator" },
    { "a digit separates",     "0ok0all0000", "rule 1, offset 0, " },
    { "not ASCII",             "\xc2\xa7ok\xc2\xa7" "all", "rule 1, offset 0" },
    { "a control character",   "\001ok\001all\001\001\001", "rule 1, offset 0" },
    { "only a separator",      ":",           "offset 1, in ':': the type has no "
      "end; put a ':' behind it" },
    { "no end of the type",    ":ok",         "offset 1, in ':ok': the type has" },
    { "no type",               "::all:::",    "offset 1, in '::all:::': unknown "
      "type ''; use prefix, ok, bad, unsupported or map" },
    { "unknown type",          ":okay:all:::", "unknown type 'okay'" },
    { "part of a type",        ":o:all:::",   "unknown type 'o'" },
    { "types are lower case",  ":OK:all:::",  "unknown type 'OK'" },
    { "blank before a type",   ": ok:all:::", "offset 1, in ': ok:all:::': "
      "unknown type ' ok'" },
    { "another separator",     ":ok/all///:", "unknown type 'ok/all///'" },
    { "no scope",              ":ok:",        "offset 4, in ':ok:': the scope has" },
    { "unknown scope",         ":ok:both:::", "offset 4, in ':ok:both:::': unknown "
      "scope 'both'; use client, server or all" },
    { "the peers' map has no scope", ":map:all:trusted.:x.:", "offset 18, " },
    { "no key",                ":ok:all:",    "offset 8, in ':ok:all:': the key has" },
    { "no prefix",             ":ok:all::",   "offset 9, in ':ok:all::': the prefix "
      "has no end" },
    { "no end of the prefix",  ":prefix:all:trusted.:user.",
      "offset 21, in ':prefix:all:trusted.:user.': the prefix has no end" },
    { "one separator too many", ":ok:all::::", "rule 2, offset 11, in ':': " },
    { "the second rule",       ":bad:all:x::/ok/al///",
      "rule 2, offset 16, in '/ok/al///': unknown scope 'al'" },
    { "the third, on its line", ":bad:all:x::\n:bad:all:y::\n:bda:all:::",
      "rule 3, offset 27, in ':bda:all:::': unknown type 'bda'" },
    { "quotes end with the line", ":okay:all:::\n:bad:all:::",
      "in ':okay:all:::?:bad:all:::'" },
    { "map without its fields", ":map:",      "offset 5, in ':map:': the key of map" },
    { "map without a prefix",  ":map:x:",     "offset 7, in ':map:x:': the prefix" },
    { "a map to itself",       ":map:::",     "offset 6, in ':map:::': the prefix of "
      "map is empty" },
    { "a map of nothing else", ":map:user.::", "the prefix of map is empty" },
    { "a rule behind map",     ":map::v.::ok:all:::",
      "offset 9, in ':map::v.::ok:all:::': map must be the last rule" },
    { "a second map",          ":map::v.: :map::w.:",
      "rule 1, offset 10, in ':map::v.: :map::w.:': map must be the last" },
    /* clang-format on */
};

static void a_bad_rule_is_refused_with_its_position(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct xattrmap m = { .n = 7 }, same = { .n = 7 };
        char err[256];

        CHECK_EQ(parse(&m, bad[i].rules, err), -EINVAL, bad[i].why);
        if (!CHECK(strstr(err, bad[i].says) != NULL, bad[i].why))
            tap_diag("told: %s", err);
        CHECK_MEM(&m, &same, sizeof(m), "unchanged");
    }
}

/* @n times @one, and @tail. */
static char *many(const char *one, size_t n, const char *tail)
{
    char *s = malloc(strlen(one) * n + strlen(tail) + 1), *end = s;

    if (!s)
        abort();
    for (size_t i = 0; i < n; i++)
        end = stpcpy(end, one);
    strcpy(end, tail);
    return s;
}

static void rules_have_bounds(void)
{
    static const struct {
        const char *why, *one;
        size_t n;
        const char *tail, *says;
    } rows[] = {
        { "64 rules", ":ok:all:::", XATTRMAP_MAX_RULES, "", "" },
        { "65 rules", ":ok:all:::", XATTRMAP_MAX_RULES + 1, "",
          "rule 65, offset 640, in ':ok:all:::': more than 64 rules" },
        { "map is three", ":ok:all:::", 61, ":map:a:b:", "" },
        { "map is three", ":ok:all:::", 62, ":map:a:b:",
          "rule 63, offset 620, in ':map:a:b:': more than 64 rules" },
        { "map of all is two", ":ok:all:::", 62, ":map::b:", "" },
        { "4096 bytes", " ", XATTRMAP_MAX_TEXT - 10, ":ok:all:::", "" },
        { "4097 bytes", " ", XATTRMAP_MAX_TEXT - 9,
          ":ok:all:::", "4097 bytes of rules; at most 4096 are possible" },
    };
    struct xattrmap m;
    char err[256];

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char *s = many(rows[i].one, rows[i].n, rows[i].tail);

        CHECK_EQ(parse(&m, s, err), *rows[i].says ? -EINVAL : 0, rows[i].why);
        if (!CHECK(strstr(err, rows[i].says) != NULL, rows[i].why))
            tap_diag("told: %s", err);
        free(s);
    }
}

static void a_field_is_no_longer_than_a_name(void)
{
    char rules[2048], err[256], *longest = many("x", XATTRMAP_NAME_MAX, "");
    struct xattrmap m;

    snprintf(rules, sizeof(rules), ":prefix:all:%s:%s:", longest, longest);
    CHECK_EQ(parse(&m, rules, err), 0, "255 bytes each");
    CHECK_EQ(m.rule[0].key_len, 255, "");
    CHECK_EQ(m.rule[0].prepend_len, 255, "");
    snprintf(rules, sizeof(rules), ":prefix:all:%sy::", longest);
    CHECK_EQ(parse(&m, rules, err), -EINVAL, "256 bytes");
    CHECK(strstr(err, "offset 12, in ':prefix:all:xxx") != NULL, err);
    CHECK(strstr(err, "...': the key has 256 bytes") != NULL, err);
    snprintf(rules, sizeof(rules), ":map::%sy:", longest);
    CHECK_EQ(parse(&m, rules, err), -EINVAL, "256 bytes");
    CHECK(strstr(err, "the prefix of map has 256 bytes") != NULL, err);
    free(longest);
}

#define PREFIX_ALL ":prefix:all::user.virtiofs.::bad:all:::"
#define TRUSTED                                                                \
    "/prefix/all/trusted./user.virtiofs./\n"                                   \
    "/bad/server//trusted./\n"                                                 \
    "/bad/client/user.virtiofs.//\n"                                           \
    "/ok/all///"
#define SOME " !unsupported!all!security.!security.!\t;ok;client;user.;; " PARTS
#define PARTS                                                                  \
    "@bad@server@@user.secret@ #ok#server##user.# "                            \
    "=prefix=client=t.=trusted.v.="

/* @name NULL: EPERM or hidden; "": EOPNOTSUPP. */
static const struct {
    const char *why, *rules, *guest, *host;
} to_host[] = {
    /* clang-format off */
    { "prefixed",            PREFIX_ALL, "user.a", "user.virtiofs.user.a" },
    { "whatever it is",      PREFIX_ALL, "x",      "user.virtiofs.x" },
    { "even twice",          PREFIX_ALL, "user.virtiofs.a",
      "user.virtiofs.user.virtiofs.a" },
    { "map of all",          ":map::user.virtiofs.:", "security.capability",
      "user.virtiofs.security.capability" },
    { "the key matches",     TRUSTED,    "trusted.overlay.opaque",
      "user.virtiofs.trusted.overlay.opaque" },
    { "behind the prefix",   TRUSTED,    "user.virtiofs.trusted.a", NULL },
    { "the rest",            TRUSTED,    "user.a", "user.a" },
    { "not the whole key",   TRUSTED,    "trusted", "trusted" },
    { "map of some",         ":map:trusted.:user.virtiofs.:", "trusted.a",
      "user.virtiofs.trusted.a" },
    { "behind the prefix",   ":map:trusted.:user.virtiofs.:",
      "user.virtiofs.trusted.a", NULL },
    { "the rest",            ":map:trusted.:user.virtiofs.:", "user.b", "user.b" },
    { "map of some to itself", ":map:trusted.:trusted.v.:", "trusted.a",
      "trusted.v.trusted.a" },
    { "unsupported",         SOME,       "security.selinux", "" },
    { "ok",                  SOME,       "user.b",     "user.b" },
    { "a server's rule",     SOME,       "user.secret", "user.secret" },
    { "prefix for clients",  SOME,       "t.a",        "trusted.v.t.a" },
    { "no rule",             SOME,       "system.a",   NULL },
    { "the first one counts", ":bad:all:user.a:::ok:all:::", "user.ab", NULL },
    { "the first one counts", ":ok:all:user.a:::bad:all:::", "user.ab", "user.ab" },
    { "a field may hold blanks", "|bad|all|user. x||\v|ok|all|||", "user. xy", NULL },
    { "the empty name",      PREFIX_ALL, "",           "" },
    { "the empty name",      ":bad:all:::", "",        "" },
    /* clang-format on */
};

static void the_guests_names_go_by_the_clients_rules(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(to_host); i++) {
        const char *want = to_host[i].host, *got = NULL;
        char room[XATTRMAP_NAME_MAX + 1], err[256];
        bool unsupported = want && !*want && *to_host[i].guest;
        struct xattrmap m;
        int ret;

        if (!CHECK_EQ(parse(&m, to_host[i].rules, err), 0, err))
            continue;
        ret = xattrmap_to_host(&m, to_host[i].guest, room, &got);
        CHECK_EQ(ret,
                 !want         ? -EPERM
                 : unsupported ? -EOPNOTSUPP
                               : 0,
                 to_host[i].why);
        if (want && !unsupported && ret == 0)
            CHECK_STR(got, want, to_host[i].why);
    }
}

static const struct {
    const char *why, *rules, *host, *guest;
} to_guest[] = {
    /* clang-format off */
    { "the prefix goes",     PREFIX_ALL, "user.virtiofs.user.a", "user.a" },
    { "once",                PREFIX_ALL, "user.virtiofs.user.virtiofs.a",
      "user.virtiofs.a" },
    { "no prefix",           PREFIX_ALL, "user.a", NULL },
    { "not the whole prefix", PREFIX_ALL, "user.virtiofs", NULL },
    { "nothing behind it",   PREFIX_ALL, "user.virtiofs.", NULL },
    { "map of all",          ":map::user.virtiofs.:", "user.virtiofs.trusted.a",
      "trusted.a" },
    { "map of all hides",    ":map::user.virtiofs.:", "security.capability", NULL },
    { "the prefix goes",     TRUSTED,    "user.virtiofs.trusted.a", "trusted.a" },
    { "the host's own",      TRUSTED,    "trusted.a",  NULL },
    { "the rest",            TRUSTED,    "user.a",     "user.a" },
    { "map of some",         ":map:trusted.:user.virtiofs.:",
      "user.virtiofs.trusted.a", "trusted.a" },
    { "the host's own",      ":map:trusted.:user.virtiofs.:", "trusted.a", NULL },
    { "the rest",            ":map:trusted.:user.virtiofs.:", "user.b", "user.b" },
    { "map of some to itself", ":map:trusted.:trusted.v.:", "trusted.v.trusted.a",
      "trusted.a" },
    { "the host's own",      ":map:trusted.:trusted.v.:", "trusted.a", NULL },
    { "unsupported",         SOME,       "security.selinux", NULL },
    { "bad",                 SOME,       "user.secret.a", NULL },
    { "ok",                  SOME,       "user.b",     "user.b" },
    { "a client's prefix",   SOME,       "trusted.v.t.a", NULL },
    { "no rule",             SOME,       "system.a",   NULL },
    { "a prefix may be empty", ":prefix:server:x.::", "user.a", "user.a" },
    /* clang-format on */
};

static void the_hosts_names_go_by_the_servers_rules(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(to_guest); i++) {
        struct xattrmap m;
        const char *got;
        char err[256];

        if (!CHECK_EQ(parse(&m, to_guest[i].rules, err), 0, err))
            continue;
        got = xattrmap_to_guest(&m, to_guest[i].host);
        CHECK_EQ(got != NULL, to_guest[i].guest != NULL, to_guest[i].why);
        if (got && to_guest[i].guest)
            CHECK_STR(got, to_guest[i].guest, to_guest[i].why);
    }
}

static void a_name_that_grows_too_long_is_refused(void)
{
    char room[XATTRMAP_NAME_MAX + 1], err[256], *name;
    const char *host;
    struct xattrmap m;

    CHECK_EQ(parse(&m, ":prefix:all::user.v.::bad:all:::", err), 0, err);
    name = many("n", XATTRMAP_NAME_MAX - 7, "");
    CHECK_EQ(xattrmap_to_host(&m, name, room, &host), 0, "255 with the prefix");
    CHECK_EQ(strlen(host), XATTRMAP_NAME_MAX, "");
    free(name);
    name = many("n", XATTRMAP_NAME_MAX - 6, "");
    CHECK_EQ(xattrmap_to_host(&m, name, room, &host), -ENAMETOOLONG,
             "256 with it");
    free(name);
    name = many("n", 100000, "");
    CHECK_EQ(xattrmap_to_host(&m, name, room, &host), -ENAMETOOLONG,
             "as long as a request can carry");
    free(name);
}

static void a_list_with_gaps_is_told_from_a_whole_one(void)
{
    static const struct {
        const char *rules;
        bool whole;
    } rows[] = {
        { ":ok:all:::", true },
        { ":bad:client:::,ok,server,,,", true },
        { ":map:trusted.:user.v.:", true },
        { ":map::user.v.:", true },
        { ":prefix:all::user.v.:", false },
        { ":ok:client:::", false },
        { ":ok:server:::", false },
        { ":bad:all:x:x:", false },
        { ":bad:client:x:::ok:server:x::", false },
    };
    struct xattrmap m;
    char err[256];

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        CHECK_EQ(parse(&m, rows[i].rules, err), 0, rows[i].rules);
        CHECK_EQ(xattrmap_is_complete(&m), rows[i].whole, rows[i].rules);
    }
}

/* Whatever is given is refused or becomes rules within the text; and a name
 * that was mapped for the guest comes back as itself. */
static void random_rules_stay_within_bounds(void)
{
    static const char *const parts[] = {
        ":",   "prefix", ":", "all", ":", "trusted.", ":", "user.", ":", "/",
        "map", "ok",     " ", "bad", "",  "client",   "x", "::",    "\n"
    };
    size_t taken = 0;

    srand(1);
    for (int round = 0; round < 20000; round++) {
        char rules[256] = "", err[256], room[XATTRMAP_NAME_MAX + 1];
        const char *host;
        struct xattrmap m;

        /* Rules, in which a part here and there is another. */
        for (size_t n = 9 * (1 + (size_t)rand() % 3), i = 0; i < n; i++)
            strcat(
                rules,
                parts[rand() % 8 ? i % 9 : (size_t)rand() % ARRAY_SIZE(parts)]);
        if (xattrmap_parse(&m, rules, err, sizeof(err)) < 0)
            continue;
        taken++;
        for (size_t i = 0; i < m.n; i++) {
            const struct xattrmap_rule *r = &m.rule[i];

            if ((size_t)r->key_at + r->key_len > strlen(rules) ||
                (size_t)r->prepend_at + r->prepend_len > strlen(rules))
                CHECK(false, rules);
        }
        if (xattrmap_to_host(&m, "trusted.a", room, &host) == 0 &&
            host == room && strcmp(host + strlen(host) - 9, "trusted.a") != 0)
            CHECK(false, rules);
    }
    CHECK(taken > 1000, "many were rules");
}

TAP_MAIN(TEST(a_bad_rule_is_refused_with_its_position), TEST(rules_have_bounds),
         TEST(a_field_is_no_longer_than_a_name),
         TEST(the_guests_names_go_by_the_clients_rules),
         TEST(the_hosts_names_go_by_the_servers_rules),
         TEST(a_name_that_grows_too_long_is_refused),
         TEST(a_list_with_gaps_is_told_from_a_whole_one),
         TEST(random_rules_stay_within_bounds))
