/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "tests/bench/options.h"
#include "tests/bench/report.h"
#include "tests/bench/slowfs.h"
#include "tests/bench/world.h"
#include "virtiofsd/base/util.h"

/*
 * Rows times configurations times depths times rounds times contestants, the
 * last innermost: what disturbs the machine for a while disturbs all of them.
 */

#define WORLDS_MAX   (1 + OPT_DAEMONS_MAX)
#define SLOW_MS      10
#define FILES_WANTED 1000000
#define FILES_SPARE  1000
#define NO_LIMIT     UINT64_MAX
#define TRACE_OPS    1000
#define TRACE_BYTES  ((uint64_t)64 << 20)

struct bench {
    struct options o;
    struct report report;
    struct share mem, disk;
    struct world world[WORLDS_MAX];
    unsigned int n;
    bool own_mounts;
    unsigned int failures;
};

struct config {
    unsigned int queues;
    const char *rings, *wait;
    const unsigned int *depth;
    unsigned int ndepth;
    bool main; /* not a variant */
};

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
    (void)sig;
    interrupted = 1;
}

static struct world_rings rings_of(const struct bench *b,
                                   const struct config *c)
{
    bool plain = strcmp(c->rings, "plain") == 0;

    return (struct world_rings){
        .queues = c->queues,
        .size = b->o.ring_size,
        .indirect = !plain && strstr(c->rings, "indirect"),
        .event_idx = !plain && strstr(c->rings, "event_idx"),
        .by_call = strcmp(c->wait, "call") == 0,
    };
}

static void drop(struct bench *b, struct world *w, const struct row *row,
                 const char *kind)
{
    report_none(&b->report, row, w->name, kind, w->scene.why);
    if (strcmp(kind, "failed") == 0) {
        b->failures++;
        if (!w->native)
            peer_print_log(&w->peer);
    }
    world_close(w);
}

/* The @i-th depth, as far as it makes sense: each queue has something to do. */
static unsigned int depth_of(const struct config *c, const struct row *row,
                             unsigned int i)
{
    unsigned int depth = MAX(c->depth[i], row->min_depth);

    if (row->max_depth)
        depth = MIN(depth, row->max_depth);
    return MAX(depth, c->queues);
}

static unsigned int deepest(const struct config *c, const struct row *row)
{
    unsigned int max = 1;

    for (unsigned int i = 0; i < c->ndepth; i++)
        max = MAX(max, depth_of(c, row, i));
    return max;
}

static void open_worlds(struct bench *b, const struct row *row,
                        struct share *share, const struct config *c)
{
    struct world_rings r = rings_of(b, c);

    for (unsigned int i = 0; i < b->n && !interrupted; i++) {
        int ret = world_open(&b->world[i], row, share, b->mem.root, &r,
                             deepest(c, row));

        if (ret != 0)
            drop(b, &b->world[i], row, ret < 0 ? "failed" : "na");
    }
}

static void close_worlds(struct bench *b)
{
    for (unsigned int i = 0; i < b->n; i++)
        world_close(&b->world[i]);
}

static uint64_t limit_of(const struct bench *b)
{
    return b->o.ops ? b->o.ops : NO_LIMIT;
}

/* Untimed: pages are touched, names are known. */
static void warm_up(struct bench *b, const struct row *row, unsigned int depth)
{
    for (unsigned int i = 0; i < b->n && !interrupted; i++) {
        struct world *w = &b->world[i];
        uint64_t n = 2 * (uint64_t)depth;
        struct result res;
        int ret;

        if (!w->open)
            continue;
        if (row->warm_tree)
            n = (uint64_t)b->o.size.tree_dirs * b->o.size.tree_files;
        if (row->max_depth == 1)
            n = 1;
        ret = world_run(w, depth, INT64_C(60000000000), n, &res);
        if (ret < 0)
            drop(b, w, row, ret == -ENOSPC ? "na" : "failed");
    }
}

static void one_round(struct bench *b, const struct row *row,
                      unsigned int depth, unsigned int round)
{
    int64_t ns = (int64_t)(b->o.seconds * 1e9);

    /* Whoever follows the same one always would feel it. */
    for (unsigned int k = 0; k < b->n && !interrupted; k++) {
        struct world *w = &b->world[(k + round) % b->n];
        struct result res;

        if (!w->open)
            continue;
        if (world_run(w, depth, ns, limit_of(b), &res) < 0)
            drop(b, w, row, "failed");
        else
            report_result(&b->report, row, w->name, depth, round + 1, &res);
    }
}

static void trace(struct bench *b, const struct row *row, unsigned int depth)
{
    char path[128];
    struct result res;

    snprintf(path, sizeof(path), "%s/strace", b->mem.root);
    for (unsigned int i = 0; i < b->n && !interrupted; i++) {
        struct world *w = &b->world[i];
        uint64_t n = row->max_depth == 1 ? 1 : TRACE_OPS;
        pid_t strace;
        int ret;

        if (!w->open || w->native)
            continue;
        if (row->bytes)
            n = MIN(n, TRACE_BYTES / row->bytes);
        strace = peer_trace(&w->peer, path);
        if (strace == -ENOENT) {
            printf("# no strace: system calls are not counted\n");
            b->o.syscalls = false;
            return;
        }
        if (strace < 0)
            continue;
        ret =
            world_run(w, depth, INT64_C(3000000000), MIN(n, limit_of(b)), &res);
        peer_trace_end(strace);
        if (ret < 0)
            drop(b, w, row, "failed");
        else
            report_syscalls(&b->report, row, w->name, depth, res.ops, path);
        unlink(path);
    }
}

static void run_idle(struct bench *b, const struct row *row)
{
    for (unsigned int i = 0; i < b->n && !interrupted; i++) {
        struct world *w = &b->world[i];
        struct result res;

        if (!w->open)
            continue;
        world_idle(w, (int64_t)(b->o.idle_seconds * 1e9), &res);
        report_result(&b->report, row, w->name, 1, 1, &res);
    }
}

static void run_depths(struct bench *b, const struct row *row,
                       const struct config *c)
{
    unsigned int last = 0;

    for (unsigned int i = 0; i < c->ndepth && !interrupted; i++) {
        unsigned int depth = depth_of(c, row, i);

        if (depth == last)
            continue;
        last = depth;
        warm_up(b, row, depth);
        for (unsigned int r = 0; r < b->o.rounds && !interrupted; r++)
            one_round(b, row, depth, r);
        if (c->main && b->o.syscalls && i == c->ndepth / 2)
            trace(b, row, depth);
    }
}

static void run_config(struct bench *b, const struct row *row,
                       struct share *share, const struct config *c)
{
    b->report.queues = c->queues;
    b->report.rings = c->rings;
    b->report.wait = c->wait;
    open_worlds(b, row, share, c);
    if (row->idle)
        run_idle(b, row);
    else
        run_depths(b, row, c);
    close_worlds(b);
}

static void run_configs(struct bench *b, const struct row *row,
                        struct share *share)
{
    const struct options *o = &b->o;
    const unsigned int *middle = &o->depth[o->ndepth / 2];
    struct config main = { o->queues[0], o->rings.v[0], o->wait.v[0],
                           o->depth,     o->ndepth,     true };
    struct config c;

    run_config(b, row, share, &main);
    main.depth = middle;
    main.ndepth = 1;
    main.main = false;
    if (!row->variants)
        return;
    for (unsigned int i = 1; i < o->nqueues && !interrupted; i++) {
        c = main;
        c.queues = o->queues[i];
        run_config(b, row, share, &c);
    }
    for (unsigned int i = 1; i < o->rings.n && !interrupted; i++) {
        c = main;
        c.rings = o->rings.v[i];
        run_config(b, row, share, &c);
    }
    for (unsigned int i = 1; i < o->wait.n && !interrupted; i++) {
        c = main;
        c.wait = o->wait.v[i];
        run_config(b, row, share, &c);
    }
}

static void none_at_all(struct bench *b, const struct row *row,
                        const char *kind, const char *why)
{
    b->report.queues = b->o.queues[0];
    b->report.rings = b->o.rings.v[0];
    b->report.wait = b->o.wait.v[0];
    for (unsigned int i = 0; i < b->n; i++)
        report_none(&b->report, row, b->world[i].name, kind, why);
    b->failures += strcmp(kind, "failed") == 0;
}

static struct slowfs *mount_slow(struct bench *b, const struct share *share)
{
    char path[128];

    if (!b->own_mounts)
        return NULL;
    snprintf(path, sizeof(path), "%s/%s", share->root, share_dir(SHARE_SLOW));
    return slowfs_mount(path, SLOW_MS);
}

static void run_row(struct bench *b, const struct row *row)
{
    struct share *share = row->disk ? &b->disk : &b->mem;
    struct slowfs *slow = NULL;
    int ret = 0;

    for (unsigned int i = 0; i < ARRAY_SIZE(row->parts) && ret == 0; i++) {
        if (i == 0 || row->parts[i])
            ret = share_need(share, row->parts[i]);
    }
    if (ret < 0) {
        none_at_all(b, row, "failed", strerror(-ret));
        return;
    }
    if (row->slow) {
        slow = mount_slow(b, share);
        if (!slow) {
            none_at_all(b, row, "na", "no FUSE or mount namespace to be had");
            return;
        }
    }
    run_configs(b, row, share);
    if (slow)
        slowfs_end(slow);
}

static void tell_machine(struct bench *b)
{
    struct utsname u;
    char text[128];
    double load;

    if (getloadavg(&load, 1) == 1) {
        snprintf(text, sizeof(text), "%.1f", load);
        report_meta(&b->report, "load before", text);
    }
    if (uname(&u) == 0) {
        /* What a builder adds to the version tells nobody else anything. */
        u.release[strcspn(u.release, "-")] = '\0';
        report_meta(&b->report, "kernel", u.release);
    }
    snprintf(text, sizeof(text), "%ld", sysconf(_SC_NPROCESSORS_ONLN));
    report_meta(&b->report, "cpus", text);
    snprintf(text, sizeof(text), "%g s, %u rounds", b->o.seconds, b->o.rounds);
    report_meta(&b->report, "runs", text);
    snprintf(text, sizeof(text), "%u", b->o.ring_size);
    report_meta(&b->report, "ring size", text);
    report_meta(&b->report, "share", b->o.dir);
    report_meta(&b->report, "disk share", b->o.disk_dir);
    for (unsigned int i = 0; i < b->o.ndaemons; i++) {
        snprintf(text, sizeof(text), "daemon %s", b->o.daemon[i].name);
        report_meta(&b->report, text, b->o.daemon[i].command);
    }
    for (unsigned int i = 0; i < b->o.nnotes; i++)
        report_meta(&b->report, b->o.note[i].name, b->o.note[i].command);
}

/*
 * A daemon holds a descriptor for each file that the guest knows.  Where the
 * limit can not be raised, the tree is made to fit.
 */
static void fit_tree(struct bench *b)
{
    struct rlimit want = { FILES_WANTED, FILES_WANTED }, have;
    struct share_size *s = &b->o.size;
    char text[128];

    if (getrlimit(RLIMIT_NOFILE, &have) < 0 || have.rlim_max >= FILES_WANTED ||
        setrlimit(RLIMIT_NOFILE, &want) == 0)
        return;
    if ((uint64_t)s->tree_dirs * (s->tree_files + 1) + FILES_SPARE <=
        have.rlim_max)
        return;
    s->tree_dirs =
        (uint32_t)(have.rlim_max - MIN((rlim_t)FILES_SPARE, have.rlim_max)) /
            (s->tree_files + 1) +
        1;
    snprintf(text, sizeof(text), "%u files, since %llu may be open",
             s->tree_dirs * s->tree_files, (unsigned long long)have.rlim_max);
    report_meta(&b->report, "git status tree", text);
}

static int begin(struct bench *b)
{
    const struct sigaction sa = { .sa_handler = on_signal };
    int ret;

    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    b->own_mounts = unshare(CLONE_NEWNS) == 0 &&
                    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
    if (b->o.out) {
        b->report.out = fopen(b->o.out, "we");
        if (!b->report.out)
            return -errno;
    }
    b->report.quiet = b->o.quiet;
    fit_tree(b);
    ret = share_create(&b->mem, b->o.dir, &b->o.size);
    if (ret == 0)
        ret = share_create(&b->disk, b->o.disk_dir, &b->o.size);
    if (b->o.native)
        b->world[b->n++] = (struct world){ .native = true, .name = "native" };
    for (unsigned int i = 0; i < b->o.ndaemons; i++) {
        struct world *w = &b->world[b->n++];

        w->name = w->peer.name = b->o.daemon[i].name;
        w->peer.command = b->o.daemon[i].command;
    }
    tell_machine(b);
    return ret;
}

int main(int argc, char **argv)
{
    static struct bench b;
    int ret = options_parse(&b.o, argc, argv);

    if (ret)
        return ret - 1;
    ret = begin(&b);
    if (ret < 0)
        fprintf(stderr, "bench: can not begin: %s\n", strerror(-ret));
    for (unsigned int i = 0; i < rows_count && ret == 0 && !interrupted; i++) {
        if (options_want_row(&b.o, rows[i]->name))
            run_row(&b, rows[i]);
    }
    share_destroy(&b.mem);
    share_destroy(&b.disk);
    if (b.report.out)
        fclose(b.report.out);
    return ret < 0 || b.failures || interrupted ? 1 : 0;
}
