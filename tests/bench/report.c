/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/bench/report.h"

#include <stdlib.h>
#include <string.h>

static void json_string(FILE *f, const char *s)
{
    fputc('"', f);
    for (; *s; s++) {
        if (*s == '"' || *s == '\\')
            fputc('\\', f);
        if ((unsigned char)*s >= ' ')
            fputc(*s, f);
    }
    fputc('"', f);
}

static void field(FILE *f, const char *key, const char *value)
{
    fprintf(f, ",\"%s\":", key);
    json_string(f, value);
}

void report_meta(struct report *r, const char *key, const char *value)
{
    if (!r->out)
        return;
    fprintf(r->out, "{\"meta\":");
    json_string(r->out, key);
    field(r->out, "value", value);
    fprintf(r->out, "}\n");
}

/* Return: where to go on, or NULL. */
static FILE *head(struct report *r, const struct row *row, const char *who)
{
    FILE *f = r->out;

    if (!f)
        return NULL;
    fprintf(f, "{\"row\":\"%s\"", row->name);
    field(f, "title", row->title);
    field(f, "who", who);
    field(f, "rings", r->rings);
    field(f, "wait", r->wait);
    fprintf(f, ",\"queues\":%u,\"bytes\":%u", r->queues, row->bytes);
    return f;
}

static void tail(FILE *f)
{
    fprintf(f, "}\n");
    fflush(f);
}

static void tell(const struct row *row, const char *who, unsigned int depth,
                 unsigned int round, const struct result *res)
{
    double s = (double)res->ns / 1e9;
    double rate = s > 0 ? (double)res->ops / s : 0;
    double ops = res->ops ? (double)res->ops : 1;

    if (row->idle) {
        printf("%-20s %-10s %10.1f us of CPU in %.2f s, %llu switches\n",
               row->name, who, (double)res->cpu_ns / 1e3, s,
               (unsigned long long)(res->switches + res->preempted));
        return;
    }
    printf("%-20s %-10s depth %-3u round %u ", row->name, who, depth, round);
    if (row->bytes)
        printf("%10.0f MB/s", rate * row->bytes / 1e6);
    else
        printf("%10.0f op/s", rate);
    printf("  p50 %8.1f  p99 %8.1f us  cpu %8.2f us\n", (double)res->p50 / 1e3,
           (double)res->p99 / 1e3, (double)res->cpu_ns / 1e3 / ops);
}

void report_result(struct report *r, const struct row *row, const char *who,
                   unsigned int depth, unsigned int round,
                   const struct result *res)
{
    FILE *f = head(r, row, who);

    if (!r->quiet)
        tell(row, who, depth, round, res);
    if (!f)
        return;
    fprintf(f, ",\"depth\":%u,\"fit\":%u,\"round\":%u", depth, res->depth,
            round);
    fprintf(f, ",\"ops\":%llu,\"ns\":%lld", (unsigned long long)res->ops,
            (long long)res->ns);
    fprintf(f, ",\"p50\":%llu,\"p99\":%llu,\"p999\":%llu",
            (unsigned long long)res->p50, (unsigned long long)res->p99,
            (unsigned long long)res->p999);
    fprintf(f, ",\"cpu_ns\":%llu,\"cpu_exact\":%s",
            (unsigned long long)res->cpu_ns, res->cpu_exact ? "true" : "false");
    fprintf(f, ",\"switches\":%llu,\"preempted\":%llu",
            (unsigned long long)res->switches,
            (unsigned long long)res->preempted);
    fprintf(f, ",\"kicks\":%llu,\"calls\":%llu", (unsigned long long)res->kicks,
            (unsigned long long)res->calls);
    tail(f);
}

void report_none(struct report *r, const struct row *row, const char *who,
                 const char *kind, const char *why)
{
    FILE *f = head(r, row, who);

    if (!r->quiet || strcmp(kind, "failed") == 0)
        printf("%-20s %-10s %s: %s\n", row->name, who, kind, why);
    if (!f)
        return;
    field(f, kind, why);
    tail(f);
}

/* One line of the table: time in three columns, calls, errors or nothing,
 * name.  Return: calls, 0 for any other line. */
static unsigned long parse_line(char *line, char **name)
{
    char *word[8], *save = NULL, *w;
    int n = 0;

    for (w = strtok_r(line, " \n", &save); w && n < 8;
         w = strtok_r(NULL, " \n", &save))
        word[n++] = w;
    if (n < 5 || strcmp(word[n - 1], "total") == 0)
        return 0;
    *name = word[n - 1];
    return strtoul(word[3], NULL, 10);
}

bool report_syscalls(struct report *r, const struct row *row, const char *who,
                     unsigned int depth, uint64_t ops, const char *path)
{
    FILE *in = fopen(path, "re"), *f;
    char line[256], *name;
    unsigned long calls;
    bool any = false;

    if (!in)
        return false;
    f = head(r, row, who);
    if (f)
        fprintf(f, ",\"depth\":%u,\"ops\":%llu,\"syscalls\":{", depth,
                (unsigned long long)ops);
    while (fgets(line, sizeof(line), in)) {
        calls = parse_line(line, &name);
        if (calls == 0)
            continue;
        if (f)
            fprintf(f, "%s\"%s\":%lu", any ? "," : "", name, calls);
        any = true;
    }
    fclose(in);
    if (f) {
        fprintf(f, "}");
        tail(f);
    }
    return any;
}
