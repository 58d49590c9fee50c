/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/bench/options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "tests/bench/row.h"
#include "virtiofsd/base/util.h"

static const char usage_text[] =
    "Usage: bench --daemon NAME=COMMAND [OPTION...]\n"
    "\n"
    "  --daemon NAME=COMMAND  a contestant, any number; {socket} and {share}\n"
    "                         are replaced, without {socket} --socket-path "
    "and\n"
    "                         --shared-dir are put behind it\n"
    "  --rows LIST            rows to run, by name or part of a name\n"
    "  --depth LIST           requests in flight (1,8,32)\n"
    "  --queues LIST          request queues (1,2,4)\n"
    "  --rings LIST           indirect+event_idx, event_idx, indirect, plain\n"
    "                         (indirect+event_idx,event_idx,indirect)\n"
    "  --wait LIST            poll, call: how completions are noticed "
    "(poll,call)\n"
    "  --ring-size N          descriptors, 128 to 1024 (1024)\n"
    "  --seconds S            length of a run (0.3)\n"
    "  --idle-seconds S       length of the idle row (1)\n"
    "  --rounds N             runs of each contestant in turn (5)\n"
    "  --ops N                at most so many operations a run\n"
    "  --quick                depth 8, few short rounds, no variants\n"
    "  --tiny                 a share of a few files: to see that it works\n"
    "  --no-native            no system calls for comparison\n"
    "  --no-syscalls          do not count system calls with strace\n"
    "  --dir DIR              where the share is made (/dev/shm or /tmp)\n"
    "  --disk-dir DIR         the same for rows that want a disk (/var/tmp)\n"
    "  --out FILE             results as JSON, a line each\n"
    "  --note NAME=TEXT       to be put into the results, up to eight\n"
    "  --quiet                print failures only\n"
    "  --list                 print the rows' names\n"
    "\n"
    "The first of each list makes the table; further queues, rings and waits\n"
    "are variants, run on some rows at one depth.\n";

static const struct share_size full = {
    .hot = 1000,
    .fresh = 10000,
    .small = 1000,
    .big = 100000,
    .tree_dirs = 200,
    .tree_files = 100,
    .file_bytes = (size_t)64 << 20,
};
static const struct share_size tiny = {
    .hot = 40,
    .fresh = 400,
    .small = 50,
    .big = 500,
    .tree_dirs = 4,
    .tree_files = 50,
    .file_bytes = (size_t)4 << 20,
};

enum {
    O_DAEMON = 256,
    O_ROWS,
    O_DEPTH,
    O_QUEUES,
    O_RINGS,
    O_WAIT,
    O_RING_SIZE,
    O_SECONDS,
    O_IDLE_SECONDS,
    O_ROUNDS,
    O_OPS,
    O_QUICK,
    O_TINY,
    O_NO_NATIVE,
    O_NO_SYSCALLS,
    O_DIR,
    O_DISK_DIR,
    O_OUT,
    O_NOTE,
    O_QUIET,
    O_LIST,
};

static const struct option long_options[] = {
    { "daemon", required_argument, NULL, O_DAEMON },
    { "rows", required_argument, NULL, O_ROWS },
    { "depth", required_argument, NULL, O_DEPTH },
    { "queues", required_argument, NULL, O_QUEUES },
    { "rings", required_argument, NULL, O_RINGS },
    { "wait", required_argument, NULL, O_WAIT },
    { "ring-size", required_argument, NULL, O_RING_SIZE },
    { "seconds", required_argument, NULL, O_SECONDS },
    { "idle-seconds", required_argument, NULL, O_IDLE_SECONDS },
    { "rounds", required_argument, NULL, O_ROUNDS },
    { "ops", required_argument, NULL, O_OPS },
    { "quick", no_argument, NULL, O_QUICK },
    { "tiny", no_argument, NULL, O_TINY },
    { "no-native", no_argument, NULL, O_NO_NATIVE },
    { "no-syscalls", no_argument, NULL, O_NO_SYSCALLS },
    { "dir", required_argument, NULL, O_DIR },
    { "disk-dir", required_argument, NULL, O_DISK_DIR },
    { "out", required_argument, NULL, O_OUT },
    { "note", required_argument, NULL, O_NOTE },
    { "quiet", no_argument, NULL, O_QUIET },
    { "list", no_argument, NULL, O_LIST },
    { "help", no_argument, NULL, 'h' },
    { NULL, 0, NULL, 0 },
};

static int bad(const char *what, const char *value)
{
    fprintf(stderr, "bench: %s: %s\n", what, value);
    return 3;
}

/* Cut at the commas, in place. */
static int parse_list(struct opt_list *l, char *text)
{
    char *save = NULL, *w;

    l->n = 0;
    for (w = strtok_r(text, ",", &save); w; w = strtok_r(NULL, ",", &save)) {
        if (l->n == OPT_LIST_MAX)
            return bad("too many", text);
        l->v[l->n++] = w;
    }
    return l->n > 0 ? 0 : bad("empty list", text);
}

static int parse_numbers(char *text, unsigned int *v, unsigned int *n,
                         unsigned int max)
{
    struct opt_list l;
    int ret = parse_list(&l, text);

    *n = 0;
    for (unsigned int i = 0; ret == 0 && i < l.n; i++) {
        char *end;
        unsigned long x = strtoul(l.v[i], &end, 10);

        if (*end || x == 0 || x > max)
            return bad("no such number", l.v[i]);
        v[(*n)++] = (unsigned int)x;
    }
    return ret;
}

static int parse_daemon(struct options *o, char *text)
{
    char *eq = strchr(text, '=');

    if (!eq || eq == text || !eq[1] || o->ndaemons == OPT_DAEMONS_MAX)
        return bad("not NAME=COMMAND, or too many", text);
    *eq = '\0';
    if (strlen(text) > 16 || strchr(text, '/'))
        return bad("no name for a daemon", text);
    o->daemon[o->ndaemons++] = (struct opt_daemon){ text, eq + 1 };
    return 0;
}

static int parse_note(struct options *o, char *text)
{
    char *eq = strchr(text, '=');

    if (!eq || o->nnotes == OPT_NOTES_MAX)
        return bad("not NAME=TEXT, or too many", text);
    *eq = '\0';
    o->note[o->nnotes++] = (struct opt_daemon){ text, eq + 1 };
    return 0;
}

static int parse_words(const struct opt_list *l, const char *const *known,
                       size_t n)
{
    for (unsigned int i = 0; i < l->n; i++) {
        bool found = false;

        for (size_t k = 0; k < n; k++)
            found = found || strcmp(l->v[i], known[k]) == 0;
        if (!found)
            return bad("no such word", l->v[i]);
    }
    return 0;
}

static int set_list(struct options *o, int c, char *arg)
{
    static const char *const rings_known[] = { "indirect+event_idx",
                                               "event_idx", "indirect",
                                               "plain" };
    static const char *const wait_known[] = { "poll", "call" };
    int ret;

    switch (c) {
    case O_ROWS:
        return parse_list(&o->rows, arg);
    case O_DEPTH:
        return parse_numbers(arg, o->depth, &o->ndepth, DRIVE_DEPTH_MAX);
    case O_QUEUES:
        return parse_numbers(arg, o->queues, &o->nqueues, DRIVE_QUEUES_MAX);
    case O_RINGS:
        ret = parse_list(&o->rings, arg);
        return ret ? ret
                   : parse_words(&o->rings, rings_known,
                                 ARRAY_SIZE(rings_known));
    default:
        ret = parse_list(&o->wait, arg);
        return ret ? ret
                   : parse_words(&o->wait, wait_known, ARRAY_SIZE(wait_known));
    }
}

static int set_number(struct options *o, int c, const char *arg)
{
    char *end;
    double v = strtod(arg, &end);

    if (*end || v < 0)
        return bad("no number", arg);
    switch (c) {
    case O_RING_SIZE:
        if (v < 128 || v > 1024 || !is_power_of_2((uint64_t)v))
            return bad("no size of a ring here", arg);
        o->ring_size = (uint16_t)v;
        break;
    case O_SECONDS:
        o->seconds = v;
        break;
    case O_IDLE_SECONDS:
        o->idle_seconds = v;
        break;
    case O_ROUNDS:
        o->rounds = (unsigned int)MAX(v, 1.0);
        break;
    default:
        o->ops = (uint64_t)v;
        break;
    }
    return 0;
}

/* The main table at one depth and nothing else. */
static void set_quick(struct options *o)
{
    o->depth[0] = 8;
    o->queues[0] = 1;
    o->ndepth = o->nqueues = 1;
    o->rings.n = o->wait.n = 1;
    o->seconds = 0.1;
    o->rounds = 3;
}

static int list_rows(void)
{
    for (unsigned int i = 0; i < rows_count; i++)
        printf("%-22s %s\n", rows[i]->name, rows[i]->title);
    return 1;
}

static int set_one(struct options *o, int c, char *arg)
{
    switch (c) {
    case O_DAEMON:
        return parse_daemon(o, arg);
    case O_ROWS:
    case O_DEPTH:
    case O_QUEUES:
    case O_RINGS:
    case O_WAIT:
        return set_list(o, c, arg);
    case O_RING_SIZE:
    case O_SECONDS:
    case O_IDLE_SECONDS:
    case O_ROUNDS:
    case O_OPS:
        return set_number(o, c, arg);
    case O_QUICK:
        set_quick(o);
        return 0;
    case O_TINY:
        o->size = tiny;
        return 0;
    case O_NO_NATIVE:
        o->native = false;
        return 0;
    case O_NO_SYSCALLS:
        o->syscalls = false;
        return 0;
    case O_DIR:
        o->dir = arg;
        return 0;
    case O_DISK_DIR:
        o->disk_dir = arg;
        return 0;
    case O_OUT:
        o->out = arg;
        return 0;
    case O_NOTE:
        return parse_note(o, arg);
    case O_QUIET:
        o->quiet = true;
        return 0;
    case O_LIST:
        return list_rows();
    case 'h':
        fputs(usage_text, stdout);
        return 1;
    default:
        return 3;
    }
}

/* Memory, where there is enough of it: the daemons are measured, no disk. */
static const char *default_dir(void)
{
    struct statfs fs;

    if (access("/dev/shm", W_OK) == 0 && statfs("/dev/shm", &fs) == 0 &&
        (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize >= (uint64_t)1 << 29)
        return "/dev/shm";
    return "/tmp";
}

static bool is_row(const char *name)
{
    for (unsigned int i = 0; i < rows_count; i++) {
        if (strcmp(rows[i]->name, name) == 0)
            return true;
    }
    return false;
}

static bool row_known(const char *part)
{
    for (unsigned int i = 0; i < rows_count; i++) {
        if (strstr(rows[i]->name, part))
            return true;
    }
    return false;
}

int options_parse(struct options *o, int argc, char **argv)
{
    int c, ret = 0;

    *o = (struct options){
        .rings = { 3, { "indirect+event_idx", "event_idx", "indirect" } },
        .wait = { 2, { "poll", "call" } },
        .depth = { 1, 8, 32 },
        .ndepth = 3,
        .queues = { 1, 2, 4 },
        .nqueues = 3,
        .ring_size = 1024,
        .seconds = 0.3,
        .idle_seconds = 1,
        .rounds = 5,
        .native = true,
        .syscalls = true,
        .disk_dir = "/var/tmp",
        .size = full,
    };
    while ((c = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
        ret = set_one(o, c, optarg);
        if (ret)
            return ret;
    }
    if (optind < argc)
        return bad("what is that", argv[optind]);
    if (o->ndaemons == 0)
        return bad("nothing to measure", "give a --daemon");
    for (unsigned int i = 0; i < o->rows.n; i++) {
        if (!row_known(o->rows.v[i]))
            return bad("no such row", o->rows.v[i]);
    }
    if (!o->dir)
        o->dir = default_dir();
    return 0;
}

bool options_want_row(const struct options *o, const char *name)
{
    if (o->rows.n == 0)
        return true;
    for (unsigned int i = 0; i < o->rows.n; i++) {
        if (strcmp(name, o->rows.v[i]) == 0 ||
            (!is_row(o->rows.v[i]) && strstr(name, o->rows.v[i])))
            return true;
    }
    return false;
}
