/* SPDX-License-Identifier: BSD-3-Clause */
#include "fuse/passthrough/idmap.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "virtiofsd/base/util.h"

#define ID_SPACE ((uint64_t)1 << 32)

/* What a rule may look like; FROM and TO are in the order they are written. */
static const struct kind {
    const char *name;
    enum idmap_kind kind;
    unsigned int numbers;
    bool to_host;  /* adds a range guest -> host */
    bool to_guest; /* adds a range host -> guest */
    bool squash;   /* all of the range become the one TO */
} kinds[] = {
    /* clang-format off */
    { "guest",        IDMAP_GUEST,        3, true,  false, false },
    { "host",         IDMAP_HOST,         3, false, true,  false },
    { "squash-guest", IDMAP_SQUASH_GUEST, 3, true,  false, true  },
    { "squash-host",  IDMAP_SQUASH_HOST,  3, false, true,  true  },
    { "forbid-guest", IDMAP_FORBID_GUEST, 2, true,  false, true  },
    { "map",          IDMAP_MAP,          3, true,  true,  false },
    /* clang-format on */
};

static const struct kind *find_kind(const char *name, size_t len)
{
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        if (strlen(kinds[i].name) == len && !memcmp(kinds[i].name, name, len))
            return &kinds[i];
    }
    return NULL;
}

/* Digits only, up to 2^32 - 1: strtoul() would take signs and blanks too. */
static int take_number(const char **p, uint32_t *out)
{
    const char *s = *p;
    uint64_t v = 0;

    if (*s < '0' || *s > '9')
        return -EINVAL;
    for (; *s >= '0' && *s <= '9'; s++) {
        v = v * 10 + (uint64_t)(*s - '0');
        if (v >= ID_SPACE)
            return -ERANGE;
    }
    *p = s;
    *out = (uint32_t)v;
    return 0;
}

/* The rule's numbers, each behind a colon, and nothing after them. */
static int take_numbers(const char *p, uint32_t *v, unsigned int n)
{
    for (unsigned int i = 0; i < n; i++) {
        int ret;

        if (*p++ != ':')
            return -EINVAL;
        ret = take_number(&p, &v[i]);
        if (ret < 0)
            return ret;
    }
    return *p ? -EINVAL : 0;
}

/* Where @r goes in a sorted table, or -1 when it overlaps one that is there. */
static int find_slot(const struct idmap_range *tab, uint32_t n,
                     const struct idmap_range *r)
{
    uint64_t end = (uint64_t)r->from + r->count;
    uint32_t i;

    for (i = 0; i < n && tab[i].from < r->from; i++) {
        if ((uint64_t)tab[i].from + tab[i].count > r->from)
            return -1;
    }
    return i < n && tab[i].from < end ? -1 : (int)i;
}

static void insert(struct idmap_range *tab, uint32_t *n, int slot,
                   const struct idmap_range *r)
{
    memmove(&tab[slot + 1], &tab[slot], (*n - (uint32_t)slot) * sizeof(*tab));
    tab[slot] = *r;
    (*n)++;
}

static int add_ranges(struct idmap *m, const struct kind *k, uint32_t from,
                      uint32_t to, uint32_t count, const char **why)
{
    struct idmap_range g = { from, to, count, k->kind };
    struct idmap_range h = g;
    int gslot = 0, hslot = 0;

    if (k->kind == IDMAP_MAP)
        h = (struct idmap_range){ to, from, count, k->kind };

    *why = "too many rules";
    if ((k->to_host && m->n_guest == IDMAP_MAX_RULES) ||
        (k->to_guest && m->n_host == IDMAP_MAX_RULES))
        return -EINVAL;
    *why = "the range overlaps that of an earlier rule";
    if (k->to_host)
        gslot = find_slot(m->guest, m->n_guest, &g);
    if (k->to_guest)
        hslot = find_slot(m->host, m->n_host, &h);
    if (gslot < 0 || hslot < 0)
        return -EINVAL;

    if (k->to_host)
        insert(m->guest, &m->n_guest, gslot, &g);
    if (k->to_guest)
        insert(m->host, &m->n_host, hslot, &h);
    return 0;
}

static int add_rule(struct idmap *m, const char *spec, const char **why)
{
    size_t len = strcspn(spec, ":");
    const struct kind *k = find_kind(spec, len);
    uint32_t v[3] = { 0 }, count;

    *why = "unknown kind of rule (guest, host, map, squash-guest, "
           "squash-host or forbid-guest)";
    if (!k)
        return -EINVAL;
    *why = k->numbers == 3
               ? "three numbers below 2^32 must follow: FROM:TO:COUNT"
               : "two numbers below 2^32 must follow: FROM:COUNT";
    if (take_numbers(spec + len, v, k->numbers) < 0)
        return -EINVAL;
    count = v[k->numbers - 1];
    if (k->numbers == 2)
        v[1] = 0;
    *why = "the range is empty";
    if (!count)
        return -EINVAL;
    *why = "the range goes beyond the last id";
    if (v[0] + (uint64_t)count > ID_SPACE ||
        (!k->squash && v[1] + (uint64_t)count > ID_SPACE))
        return -EINVAL;
    /* -1 means "leave it as it is" to the kernel, on both sides. */
    *why = "4294967295 is no id that a file can have";
    if (k->numbers == 3 &&
        (k->squash ? v[1] : v[1] + (count - 1)) == UINT32_MAX)
        return -EINVAL;
    if (k->kind == IDMAP_MAP && v[0] + (count - 1) == UINT32_MAX)
        return -EINVAL;
    return add_ranges(m, k, v[0], v[1], count, why);
}

int idmap_add(struct idmap *m, const char *spec, char *err, size_t errlen)
{
    const char *why = "";
    int ret = add_rule(m, spec, &why);

    if (ret < 0)
        snprintf(err, errlen, "'%s': %s", spec, why);
    return ret;
}

static const struct idmap_range *find(const struct idmap_range *tab, uint32_t n,
                                      uint32_t id)
{
    uint32_t lo = 0;

    n = MIN(n, (uint32_t)IDMAP_MAX_RULES);
    while (lo < n) {
        uint32_t mid = lo + (n - lo) / 2;

        if (id < tab[mid].from)
            n = mid;
        else if (id - tab[mid].from >= tab[mid].count)
            lo = mid + 1;
        else
            return &tab[mid];
    }
    return NULL;
}

int idmap_to_host(const struct idmap *m, uint32_t id, uint32_t *out)
{
    const struct idmap_range *r = find(m->guest, m->n_guest, id);

    *out = id;
    if (!r)
        return 0;
    if (r->kind == IDMAP_FORBID_GUEST)
        return -EPERM;
    *out = r->kind == IDMAP_SQUASH_GUEST ? r->to : r->to + (id - r->from);
    return 0;
}

uint32_t idmap_to_guest(const struct idmap *m, uint32_t id)
{
    const struct idmap_range *r = find(m->host, m->n_host, id);

    if (!r)
        return id;
    return r->kind == IDMAP_SQUASH_HOST ? r->to : r->to + (id - r->from);
}
