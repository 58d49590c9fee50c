/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>

#include "virtiofsd/base/util.h"
#include "virtiofsd/options_table.h"

/*
 * Cut the next element off a comma list, in place.  Two commas in a row stand
 * for one that belongs to the element: libvirt doubles those in a path.
 * Return: the element; *rest is NULL after the last one.
 */
static char *cut(char **rest)
{
    char *start = *rest, *to = *rest;

    for (char *from = start;; from++) {
        if (*from == ',' && from[1] == ',') {
            from++;
        } else if (*from == ',') {
            *rest = from + 1;
            break;
        } else if (!*from) {
            *rest = NULL;
            break;
        }
        *to++ = *from;
    }
    *to = '\0';
    return start;
}

static const struct opt_row *find_key(const char *name, size_t len)
{
    for (size_t i = 0; i < options_o_n; i++) {
        if (strlen(options_o[i].name) == len &&
            memcmp(options_o[i].name, name, len) == 0)
            return &options_o[i];
    }
    return NULL;
}

static int apply_key(struct opt_ctx *x, char *word)
{
    size_t len = strcspn(word, "=");
    const struct opt_row *row = find_key(word, len);
    char *val = word[len] ? word + len + 1 : NULL;

    snprintf(x->given, sizeof(x->given), "-o %.*s", (int)len, word);
    if (!row)
        return opt_fail(x, val, "unknown key; --help lists them all");
    if (row->takes == TAKES_NOTHING && val)
        return opt_fail(x, val, "takes no value; give %s alone", x->given);
    if (row->takes != TAKES_NOTHING && !val)
        return opt_fail(x, NULL, "needs a value; give %s=%s", x->given,
                        row->metavar ? row->metavar : "VALUE");
    return opt_apply(x, row, val);
}

int opt_o_list(struct opt_ctx *x, char *list)
{
    char *rest = list;

    while (rest) {
        char *word = cut(&rest);
        int ret = *word ? apply_key(x, word) : 0;

        if (ret < 0)
            return ret;
    }
    return 0;
}
