/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtiofsd/options.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "virtiofsd/base/util.h"
#include "virtiofsd/options_table.h"

#define MAX_REQUEST_QUEUES 64

/* argv as it is walked: @i is the next word not looked at yet. */
struct walk {
    int argc, i;
    char **argv;
};

static const struct opt_row *find_long(const char *name, size_t len)
{
    for (size_t i = 0; i < options_long_n; i++) {
        const struct opt_row *row = &options_long[i];

        if (row->name && strlen(row->name) == len &&
            memcmp(row->name, name, len) == 0)
            return row;
    }
    return NULL;
}

static const struct opt_row *find_letter(char letter)
{
    for (size_t i = 0; i < options_long_n; i++) {
        if (options_long[i].letter == letter)
            return &options_long[i];
    }
    return NULL;
}

/* The word after the option, unless it looks like an option itself. */
static char *next_value(struct walk *w, const struct opt_row *row)
{
    if (w->i >= w->argc)
        return NULL;
    if (w->argv[w->i][0] == '-' && !row->dash_value)
        return NULL;
    return w->argv[w->i++];
}

/* -o is the one row whose value is a list, cut up in place. */
static int apply(struct opt_ctx *x, const struct opt_row *row, char *val)
{
    if (row->letter == 'o')
        return opt_o_list(x, val);
    return opt_apply(x, row, val);
}

static int no_value(struct opt_ctx *x, const struct opt_row *row)
{
    return opt_fail(x, NULL, "needs a value; give %s%s%s", x->given,
                    row->takes == TAKES_VALUE ? " " : "=",
                    row->metavar ? row->metavar : "VALUE");
}

/* --name, --name=value or --name value. */
static int parse_long(struct opt_ctx *x, struct walk *w, char *word)
{
    size_t len = strcspn(word + 2, "=");
    const struct opt_row *row = find_long(word + 2, len);
    char *val = word[2 + len] == '=' ? word + 2 + len + 1 : NULL;

    snprintf(x->given, sizeof(x->given), "--%.*s", (int)len, word + 2);
    if (!row)
        return opt_fail(x, NULL, "unknown option; --help lists them all");
    if (row->takes == TAKES_NOTHING && val)
        return opt_fail(x, val, "takes no value; give %s alone", x->given);
    if (row->takes == TAKES_VALUE && !val)
        val = next_value(w, row);
    if ((row->takes == TAKES_VALUE || row->takes == TAKES_EQ) && !val)
        return no_value(x, row);
    return apply(x, row, val);
}

/* -d, -df, -o list or -olist. */
static int parse_short(struct opt_ctx *x, struct walk *w, char *word)
{
    for (char *c = word + 1; *c; c++) {
        const struct opt_row *row = find_letter(*c);
        char *val;
        int ret;

        snprintf(x->given, sizeof(x->given), "-%c", *c);
        if (!row)
            return opt_fail(x, NULL, "unknown option; --help lists them all");
        if (row->takes != TAKES_NOTHING) {
            val = c[1] ? c + 1 : next_value(w, row);
            return val ? apply(x, row, val) : no_value(x, row);
        }
        ret = apply(x, row, NULL);
        if (ret < 0 || x->done)
            return ret;
    }
    return 0;
}

/* Podman starts us with RUST_LOG=ERROR; what is no plain level is not for
 * us (the Rust logger's filters have a language of their own). */
static void level_from_environment(struct opt_ctx *x)
{
    const char *env = getenv("RUST_LOG");
    enum log_level level;

    if (!x->level_given && env && opt_level(env, &level) == 0)
        x->opts->log_level = level;
}

/* A guest that writes back goes by its own sizes and times, whatever the host
 * says; with files it may not cache that would be all it did.  Other servers
 * take the two together, so it is no reason not to start. */
static void check_writeback(struct opt_ctx *x)
{
    struct pt_opts *pt = &x->opts->pt;

    if (!pt->writeback ||
        (pt->cache != PT_CACHE_METADATA && pt->cache != PT_CACHE_NEVER))
        return;
    fputs("virtiofsd: warning: --writeback: does nothing with --cache=metadata "
          "or never, where the guest holds no contents\n",
          x->err);
    pt->writeback = false;
}

/* The host obeys ACLs, and files inherit them, under their own names only. */
static int check_acl_names(struct opt_ctx *x)
{
    static const char *const names[] = { "system.posix_acl_access",
                                         "system.posix_acl_default" };
    const struct pt_opts *o = &x->opts->pt;
    char room[XATTRMAP_NAME_MAX + 1];
    const char *host;

    if (o->posix_acl == PT_NEVER || o->xattrmap.n == 0)
        return 0;
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (xattrmap_to_host(&o->xattrmap, names[i], room, &host) == 0 &&
            strcmp(host, names[i]) == 0)
            continue;
        fputs("virtiofsd: --posix-acl: --xattrmap renames or refuses the "
              "attributes of ACLs; begin the rules with "
              ":ok:all:system.posix_acl_:system.posix_acl_:\n",
              x->err);
        return -EINVAL;
    }
    return 0;
}

/* What can only be judged with the whole line read. */
static int check_whole(struct opt_ctx *x)
{
    struct options *o = x->opts;

    level_from_environment(x);
    o->sandbox.file_handles = o->pt.file_handles != PT_HANDLES_NEVER;
    o->pt.readdirplus =
        x->readdirplus < 0 ? o->pt.cache != PT_CACHE_NEVER : x->readdirplus;

    if (o->pt.xattrmap.n > 0 || o->pt.posix_acl != PT_NEVER ||
        o->pt.security_label != PT_NEVER)
        o->pt.xattr = true;
    if (check_acl_names(x) < 0)
        return -EINVAL;
    check_writeback(x);
    if (!o->shared_dir) {
        fputs("virtiofsd: no directory to share; give --shared-dir DIR\n",
              x->err);
        return -EINVAL;
    }
    if (!x->socket_by[0]) {
        fputs("virtiofsd: no socket; give --socket-path PATH or --fd N\n",
              x->err);
        return -EINVAL;
    }
    if (o->socket_group && o->listen_fd >= 0) {
        fputs("virtiofsd: --socket-group: conflicts with --fd, whose socket "
              "exists already; leave one out\n",
              x->err);
        return -EINVAL;
    }
    if ((o->sandbox.n_uid || o->sandbox.n_gid) &&
        o->sandbox.mode != SANDBOX_NAMESPACE) {
        fputs("virtiofsd: --uid-map, --gid-map: there is no user namespace "
              "to map in; use --sandbox=namespace or leave them out\n",
              x->err);
        return -EINVAL;
    }
    return 0;
}

static void set_defaults(struct options *o)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);

    memset(o, 0, sizeof(*o));
    o->listen_fd = -1;
    o->num_request_queues = (uint16_t)MIN(cpus, MAX_REQUEST_QUEUES);
    if (cpus < 1)
        o->num_request_queues = 1;
    o->rlimit_nofile = -1;
    o->thread_pool_size = 8;
    o->poll_us = POLL_US_DEFAULT;
    o->log_level = LOG_LEVEL_INFO;
    o->pt.cache = PT_CACHE_AUTO;
    o->pt.attr_timeout_s = -1;
    o->pt.entry_timeout_s = -1;
    o->pt.announce_submounts = true;
    o->pt.killpriv_v2 = true;
    o->pt.file_handles = PT_HANDLES_PREFER;
    o->sandbox.mode = SANDBOX_NAMESPACE;
    o->sandbox.seccomp = SECCOMP_KILL;
}

enum options_result options_parse(int argc, char **argv, struct options *opts,
                                  FILE *out, FILE *err)
{
    struct opt_ctx x = {
        .opts = opts, .out = out, .err = err, .readdirplus = -1
    };
    struct walk w = { .argc = argc, .i = 1, .argv = argv };

    set_defaults(opts);
    while (w.i < argc) {
        char *word = argv[w.i++];
        int ret;

        if (word[0] == '-' && word[1] == '-') {
            ret = parse_long(&x, &w, word);
        } else if (word[0] == '-' && word[1]) {
            ret = parse_short(&x, &w, word);
        } else {
            fprintf(err,
                    "virtiofsd: %s: unexpected word; options begin with "
                    "'-', --help lists them all\n",
                    word);
            ret = -EINVAL;
        }
        if (ret < 0)
            return OPTIONS_EXIT_USAGE;
        if (x.done)
            return OPTIONS_EXIT_OK;
    }
    return check_whole(&x) < 0 ? OPTIONS_EXIT_USAGE : OPTIONS_RUN;
}
