/* SPDX-License-Identifier: BSD-3-Clause */
/* The option table as lines for check_man.py: kind, name, its values. */
#include <stdio.h>

#include "virtiofsd/options_table.h"

static void dump(const char *kind, const char *name,
                 const struct opt_choice *choices)
{
    printf("%s %s", kind, name);
    for (; choices && choices->name; choices++)
        printf(" %s", choices->name);
    putchar('\n');
}

int main(void)
{
    for (size_t i = 0; i < options_long_n; i++) {
        const struct opt_row *row = &options_long[i];
        const char letter[] = { row->letter, '\0' };

        if (row->name)
            dump("long", row->name, row->choices);
        if (row->letter)
            dump("letter", letter, NULL);
    }
    for (size_t i = 0; i < options_o_n; i++)
        dump("key", options_o[i].name, options_o[i].choices);
    return 0;
}
