/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fuse/passthrough/idmap.h"
#include "tests/lib/tap.h"
#include "virtiofsd/base/util.h"

static int add(struct idmap *m, const char *spec)
{
    char err[256] = "";
    int ret = idmap_add(m, spec, err, sizeof(err));

    CHECK_EQ(ret < 0, err[0] != '\0', "an error is explained, nothing else");
    return ret;
}

static void a_rule_is_parsed_or_refused_whole(void)
{
    static const struct {
        const char *why, *spec;
        int want;
    } rows[] = {
        /* clang-format off */
        { "plain",                     "guest:0:100000:65536",     0 },
        { "plain",                     "host:100000:0:65536",      0 },
        { "both ways",                 "map:1000:2000:1",          0 },
        { "what KubeVirt passes",  "squash-guest:0:107:4294967295", 0 },
        { "squash the other way",      "squash-host:0:107:10",     0 },
        { "two numbers",               "forbid-guest:0:1",         0 },
        { "the last id",               "guest:4294967295:7:1",     0 },
        { "all from there on", "squash-guest:1:107:4294967295",    0 },
        { "all from there on",         "forbid-guest:1:4294967295", 0 },
        { "to the last but one",       "guest:9:4294967293:2",     0 },
        { "-1 is no host id",          "guest:9:4294967294:2",     -EINVAL },
        { "-1 is no guest id",         "host:9:4294967295:1",      -EINVAL },
        { "-1 is no host id",   "squash-guest:9:4294967295:2",     -EINVAL },
        { "-1 is no guest id",   "squash-host:9:4294967295:2",     -EINVAL },
        { "-1 on the host",            "map:0:4294967290:6",       -EINVAL },
        { "-1 in the guest",           "map:4294967290:0:6",       -EINVAL },
        { "no kind",                   "",                         -EINVAL },
        { "no numbers",                "guest",                    -EINVAL },
        { "unknown kind",              "gues:0:0:1",               -EINVAL },
        { "unknown kind",              "guests:0:0:1",             -EINVAL },
        { "too few numbers",           "guest:0:1",                -EINVAL },
        { "too many numbers",          "guest:0:1:1:1",            -EINVAL },
        { "too many numbers",          "forbid-guest:0:1:1",       -EINVAL },
        { "an empty number",           "guest::1:1",               -EINVAL },
        { "a sign",                    "guest:-1:1:1",             -EINVAL },
        { "a sign",                    "guest:+1:1:1",             -EINVAL },
        { "a blank",                   "guest: 1:1:1",             -EINVAL },
        { "hexadecimal",               "guest:0x1:1:1",            -EINVAL },
        { "behind it",                 "guest:1:1:1 ",             -EINVAL },
        { "33 bits",                   "guest:4294967296:1:1",     -EINVAL },
        { "more than 64 bits", "guest:18446744073709551617:1:1",   -EINVAL },
        { "nothing in it",             "guest:0:1:0",              -EINVAL },
        { "FROM wraps",                "guest:4294967295:0:2",     -EINVAL },
        { "TO wraps",                  "guest:0:4294967295:2",     -EINVAL },
        { "FROM of a squash wraps", "squash-guest:2:0:4294967295", -EINVAL },
        /* clang-format on */
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct idmap m, empty;

        memset(&m, 0, sizeof(m));
        memset(&empty, 0, sizeof(empty));
        CHECK_EQ(add(&m, rows[i].spec), rows[i].want, rows[i].why);
        if (rows[i].want < 0)
            CHECK_MEM(&m, &empty, sizeof(m), rows[i].why);
    }
}

static void ranges_of_one_direction_do_not_overlap(void)
{
    static const struct {
        const char *why, *spec;
        int want;
    } rows[] = {
        { "first", "guest:100:0:100", 0 },
        { "the same", "guest:100:500:100", -EINVAL },
        { "its last id", "squash-guest:199:0:1", -EINVAL },
        { "its first id", "forbid-guest:50:51", -EINVAL },
        { "around it", "guest:0:0:1000", -EINVAL },
        { "within it", "guest:150:0:10", -EINVAL },
        { "just before", "forbid-guest:50:50", 0 },
        { "just behind", "guest:200:0:100", 0 },
        { "the other direction is another table", "host:100:0:100", 0 },
        { "map fits one table only", "map:1000:150:1", -EINVAL },
        { "map fits both", "map:1000:1000:1", 0 },
    };
    struct idmap m = { 0 };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        CHECK_EQ(add(&m, rows[i].spec), rows[i].want, rows[i].why);
    CHECK_EQ(m.n_guest, 4, "guest, forbid, guest, map");
    CHECK_EQ(m.n_host, 2, "host, map");
}

static void rules_beyond_the_table_are_refused(void)
{
    struct idmap m = { 0 };
    char spec[64];

    /* Downwards: each goes in front of the others. */
    for (int i = IDMAP_MAX_RULES - 1; i >= 0; i--) {
        snprintf(spec, sizeof(spec), "guest:%d:%d:5", i * 10, 5000 + i * 10);
        CHECK_EQ(add(&m, spec), 0, spec);
    }
    CHECK_EQ(add(&m, "guest:9999:0:1"), -EINVAL, "full");
    CHECK_EQ(add(&m, "map:9999:0:1"), -EINVAL, "full on one side");
    CHECK_EQ(m.n_host, 0, "and nothing of it was added");
    for (uint32_t i = 0; i < IDMAP_MAX_RULES * 10; i++) {
        uint32_t got;

        CHECK_EQ(idmap_to_host(&m, i, &got), 0, "not forbidden");
        CHECK_EQ(got, i % 10 < 5 ? 5000 + i : i, "in or between the ranges");
    }
}

static void ids_are_translated_by_their_rule(void)
{
    static const struct {
        const char *why;
        uint32_t id, host;
        int ret;
    } to_host[] = {
        { "first of the range", 0, 1000, 0 },
        { "last of the range", 9, 1009, 0 },
        { "no rule", 10, 10, 0 },
        { "squashed", 20, 7, 0 },
        { "squashed", 29, 7, 0 },
        { "forbidden", 30, 30, -EPERM },
        { "last forbidden", 31, 31, -EPERM },
        { "not forbidden any more", 32, 32, 0 },
        { "map", 41, 51, 0 },
        { "the last id of all", UINT32_MAX, UINT32_MAX, 0 },
    };
    static const struct {
        const char *why;
        uint32_t id, guest;
    } to_guest[] = {
        { "guest rules do not count backwards", 1000, 1000 },
        { "host", 2003, 3 },
        { "squash-host", 3005, 65534 },
        { "map, backwards", 51, 41 },
        { "no rule", 12, 12 },
    };
    struct idmap m = { 0 };

    CHECK_EQ(add(&m, "map:40:50:5"), 0, "");
    CHECK_EQ(add(&m, "guest:0:1000:10"), 0, "");
    CHECK_EQ(add(&m, "forbid-guest:30:2"), 0, "");
    CHECK_EQ(add(&m, "squash-guest:20:7:10"), 0, "");
    CHECK_EQ(add(&m, "squash-host:3000:65534:10"), 0, "");
    CHECK_EQ(add(&m, "host:2000:0:10"), 0, "");
    for (size_t i = 0; i < ARRAY_SIZE(to_host); i++) {
        uint32_t got = 0;

        CHECK_EQ(idmap_to_host(&m, to_host[i].id, &got), to_host[i].ret,
                 to_host[i].why);
        if (to_host[i].ret == 0)
            CHECK_EQ(got, to_host[i].host, to_host[i].why);
    }
    for (size_t i = 0; i < ARRAY_SIZE(to_guest); i++)
        CHECK_EQ(idmap_to_guest(&m, to_guest[i].id), to_guest[i].guest,
                 to_guest[i].why);
}

TAP_MAIN(TEST(a_rule_is_parsed_or_refused_whole),
         TEST(ranges_of_one_direction_do_not_overlap),
         TEST(rules_beyond_the_table_are_refused),
         TEST(ids_are_translated_by_their_rule))
