/* SPDX-License-Identifier: BSD-3-Clause */
#include <limits.h>
#include <string.h>

#include "virtiofsd/base/util.h"
#include "virtiofsd/options_table.h"

#define AT(f)            .at = offsetof(struct options, f)
#define FIELD(f)         AT(f), .width = sizeof(((struct options *)0)->f)
#define FLAG(f, on)      FIELD(f), .min = (on), .set = set_flag
#define CONST(f, v)      FIELD(f), .min = (v), .set = set_constant
#define RANGE(f, lo, hi) FIELD(f), .min = (lo), .max = (hi), .set = set_number
#define TIME(f)          FIELD(f), .set = set_timeout
#define CHOICE(f, c)     FIELD(f), .choices = (c), .set = set_choice
/* Choices that set nothing: each works by doing nothing, or is refused. */
#define TOLD(c)      .choices = (c), .set = set_choice
#define IGNORED      .kind = OPT_IGNORED, .set = set_nothing
#define NO_MIGRATION "this version can not migrate; the option does nothing"

/* clang-format off */
static const struct opt_choice cache_modes[] = {
    { "auto",     PT_CACHE_AUTO },
    { "always",   PT_CACHE_ALWAYS },
    { "metadata", PT_CACHE_METADATA },
    { "never",    PT_CACHE_NEVER },
    { "none",     PT_CACHE_NEVER },
    { NULL }
};

static const struct opt_choice sandbox_modes[] = {
    { "namespace", SANDBOX_NAMESPACE },
    { "chroot",    SANDBOX_CHROOT },
    { "none",      SANDBOX_NONE },
    { NULL }
};

static const struct opt_choice seccomp_modes[] = {
    { "kill", SECCOMP_KILL },
    { "log",  SECCOMP_LOG },
    { "trap", SECCOMP_TRAP },
    { "none", SECCOMP_NONE },
    { NULL }
};

static const struct opt_choice wishes[] = {
    { "never",  PT_NEVER },
    { "auto",   PT_AUTO },
    { "always", PT_ALWAYS },
    { NULL }
};

static const struct opt_choice handle_modes[] = {
    { "never",     PT_HANDLES_NEVER },
    { "prefer",    PT_HANDLES_PREFER },
    { "mandatory", PT_HANDLES_MANDATORY },
    { "fallback",  PT_HANDLES_PREFER, OPT_DEPRECATED },
    { NULL }
};

static const struct opt_choice migration_modes[] = {
    { "find-paths",   0, OPT_IGNORED },
    { "file-handles", 0, OPT_IGNORED },
    { NULL }
};

static const struct opt_choice migration_errors[] = {
    { "abort",       0, OPT_IGNORED },
    { "guest-error", 0, OPT_IGNORED },
    { NULL }
};

const struct opt_row options_long[] = {
    { "shared-dir", 0, TAKES_VALUE, .metavar = "DIR",
      .help = "share this directory (required)",
      FIELD(shared_dir), .set = set_string },
    { "tag", 0, TAKES_VALUE, .metavar = "TAG",
      .help = "name of the share, for front-ends that ask",
      .set = set_tag },
    { "socket-path", 0, TAKES_VALUE, .metavar = "PATH",
      .help = "make the vhost-user socket here",
      FIELD(socket_path), .set = set_socket },
    { "socket", 0, TAKES_VALUE, OPT_DEPRECATED, "PATH",
      .help = "old name of --socket-path",
      .advice = "this name will go away; use --socket-path",
      FIELD(socket_path), .set = set_socket },
    { "socket-group", 0, TAKES_VALUE, .metavar = "GROUP",
      .help = "let members of this group connect",
      FIELD(socket_group), .set = set_string },
    { "fd", 0, TAKES_VALUE, .metavar = "N",
      .help = "use this listening socket of the launcher's",
      FIELD(listen_fd), .max = INT_MAX, .set = set_fd },
    { "thread-pool-size", 0, TAKES_VALUE, .metavar = "N",
      .help = "threads beside the queues' own, 0 to 256 (8)",
      RANGE(thread_pool_size, 0, 256) },
    { "poll-us", 0, TAKES_VALUE, .metavar = "N",
      .help = "us to look for requests before sleeping (20)",
      RANGE(poll_us, 0, 1000) },
    { "num-request-queues", 0, TAKES_VALUE, .metavar = "N",
      .help = "request queues to tell of, 1 to 64 (one a CPU)",
      RANGE(num_request_queues, 1, 64) },
    { "xattr", .help = "pass extended attributes through",
      FLAG(pt.xattr, 1) },
    { "posix-acl", 0, TAKES_EQ_MAYBE,
      .help = "POSIX access control lists (never)",
      .bare_value = "always", CHOICE(pt.posix_acl, wishes) },
    { "xattrmap", 0, TAKES_VALUE, .metavar = "RULES",
      .help = "rename or hide extended attributes",
      AT(pt.xattrmap), .set = set_xattrmap },
    { "sandbox", 0, TAKES_VALUE,
      .help = "how the serving process is shut in (namespace)",
      CHOICE(sandbox.mode, sandbox_modes) },
    { "readonly", .help = "refuse every change", FLAG(pt.readonly, 1) },
    { "nfs-export", .help = "keep file handles good for NFS in the guest",
      FLAG(pt.nfs_export, 1) },
    { "seccomp", 0, TAKES_VALUE,
      .help = "what a forbidden system call leads to (kill)",
      CHOICE(sandbox.seccomp, seccomp_modes) },
    { "announce-submounts",
      .help = "show mount points as such (the default)",
      FLAG(pt.announce_submounts, 1) },
    { "no-announce-submounts", .help = "show them as plain directories",
      FLAG(pt.announce_submounts, 0) },
    { "inode-file-handles", 0, TAKES_EQ,
      .help = "know files by handles, not by fds (prefer)",
      .advice = "this name of prefer will go away; use prefer",
      CHOICE(pt.file_handles, handle_modes) },
    { "cache", 0, TAKES_VALUE, .help = "what the guest may cache (auto)",
      CHOICE(pt.cache, cache_modes) },
    { "timeout", 0, TAKES_VALUE, .metavar = "SECONDS",
      .help = "how long names and attributes may be cached",
      .set = set_timeout },
    { "attr-timeout", 0, TAKES_VALUE, .metavar = "SECONDS",
      .help = "the same for attributes alone", TIME(pt.attr_timeout_s) },
    { "entry-timeout", 0, TAKES_VALUE, .metavar = "SECONDS",
      .help = "the same for names alone", TIME(pt.entry_timeout_s) },
    { "negative-timeout", 0, TAKES_VALUE, .metavar = "SECONDS",
      .help = "how long absence may be cached (0)",
      TIME(pt.negative_timeout_s) },
    { "allow-mmap", .help = "shared mmap with cache=never and metadata",
      FLAG(pt.allow_mmap, 1) },
    { "inode-flags", .help = "let chattr, lsattr and project ids through",
      FLAG(pt.inode_flags, 1) },
    { "no-readdirplus", .help = "list directories without attributes",
      .min = 0, .set = set_readdirplus },
    { "writeback", .help = "let the guest delay writes",
      FLAG(pt.writeback, 1) },
    { "flock", .help = "flock(2) of the guest locks on the host",
      FLAG(pt.flock, 1) },
    { "no-flock", .help = "it stays in the guest (the default)",
      FLAG(pt.flock, 0) },
    { "posix-lock", .help = "record locks of the guest lock on the host",
      FLAG(pt.posix_lock, 1) },
    { "no-posix-lock", .help = "they stay in the guest (the default)",
      FLAG(pt.posix_lock, 0) },
    { "allow-direct-io", .help = "honour O_DIRECT of the guest",
      FLAG(pt.allow_direct_io, 1) },
    { "print-capabilities", .help = "print what launchers ask for, as JSON",
      .set = set_capabilities },
    { "modcaps", 0, TAKES_VALUE, .metavar = "LIST",
      .help = "change the capabilities kept: +NAME:-NAME",
      .dash_value = true, .set = set_modcaps },
    { "log-level", 0, TAKES_VALUE, .metavar = "off|error|warn|info|debug",
      .help = "how much is logged (info)", .set = set_level },
    { "syslog", .help = "log to syslog instead of standard error",
      FLAG(syslog, 1) },
    { "rlimit-nofile", 0, TAKES_VALUE, .metavar = "N",
      .help = "limit of open files; 0 leaves it as it is",
      RANGE(rlimit_nofile, 0, INT_MAX) },
    { "killpriv-v2", .help = "clear set-id bits on the host (the default)",
      FLAG(pt.killpriv_v2, 1) },
    { "no-killpriv-v2", .help = "leave that to the guest",
      FLAG(pt.killpriv_v2, 0) },
    { "security-label", 0, TAKES_EQ_MAYBE,
      .help = "security contexts of new files (never)",
      .bare_value = "always", CHOICE(pt.security_label, wishes) },
    { "uid-map", 0, TAKES_VALUE, .metavar = ":INSIDE:OUTSIDE:COUNT:",
      .help = "map user ids into the sandbox's user namespace",
      AT(sandbox.uid), .set = set_ns_map },
    { "gid-map", 0, TAKES_VALUE, .metavar = ":INSIDE:OUTSIDE:COUNT:",
      .help = "the same for group ids",
      AT(sandbox.gid), .set = set_ns_map },
    { "translate-uid", 0, TAKES_VALUE, .metavar = "RULE",
      .help = "translate user ids between guest and host",
      AT(pt.uid_map), .set = set_translate },
    { "translate-gid", 0, TAKES_VALUE, .metavar = "RULE",
      .help = "the same for group ids",
      AT(pt.gid_map), .set = set_translate },
    { "preserve-noatime", .help = "honour O_NOATIME of the guest",
      FLAG(pt.preserve_noatime, 1) },
    { "migration-mode", 0, TAKES_VALUE, OPT_IGNORED,
      .help = "accepted; does nothing", .advice = NO_MIGRATION,
      TOLD(migration_modes) },
    { "migration-on-error", 0, TAKES_VALUE, OPT_IGNORED,
      .help = "accepted; does nothing", .advice = NO_MIGRATION,
      TOLD(migration_errors) },
    { "migration-verify-handles", .help = "accepted; does nothing",
      .advice = NO_MIGRATION, IGNORED },
    { "migration-confirm-paths", .help = "accepted; does nothing",
      .advice = NO_MIGRATION, IGNORED },
    { "daemonize", .help = "go to the background once the socket is there",
      FLAG(daemonize, 1) },
    { NULL, 'o', TAKES_VALUE, .metavar = "LIST",
      .help = "options of the older dialect, see below" },
    { NULL, 'd', .help = "same as --log-level=debug", .set = set_level },
    { NULL, 'f', .help = "stay in the foreground (the default)",
      FLAG(daemonize, 0) },
    { "help", 'h', .help = "print this", .set = set_help },
    { "version", 'V', .help = "print the version", .set = set_version },
};

const struct opt_row options_o[] = {
    { "source", 0, TAKES_VALUE, .metavar = "DIR",
      .help = "--shared-dir; a comma in the name is given twice",
      FIELD(shared_dir), .set = set_string },
    { "vhost_user_socket", 0, TAKES_VALUE, .metavar = "PATH",
      .help = "--socket-path", FIELD(socket_path), .set = set_socket },
    { "socket_path", 0, TAKES_VALUE, .metavar = "PATH",
      .help = "--socket-path", FIELD(socket_path), .set = set_socket },
    { "cache", 0, TAKES_VALUE, .help = "--cache",
      CHOICE(pt.cache, cache_modes) },
    { "sandbox", 0, TAKES_VALUE, .help = "--sandbox",
      CHOICE(sandbox.mode, sandbox_modes) },
    { "modcaps", 0, TAKES_VALUE, .metavar = "LIST", .help = "--modcaps",
      .set = set_modcaps },
    { "xattrmap", 0, TAKES_VALUE, .metavar = "RULES", .help = "--xattrmap",
      AT(pt.xattrmap), .set = set_xattrmap },
    { "timeout", 0, TAKES_VALUE, .metavar = "SECONDS",
      .help = "--timeout", .set = set_timeout },
    { "attr_timeout", 0, TAKES_VALUE, .metavar = "SECONDS",
      .help = "--attr-timeout", TIME(pt.attr_timeout_s) },
    { "entry_timeout", 0, TAKES_VALUE, .metavar = "SECONDS",
      .help = "--entry-timeout", TIME(pt.entry_timeout_s) },
    { "negative_timeout", 0, TAKES_VALUE, .metavar = "SECONDS",
      .help = "--negative-timeout", TIME(pt.negative_timeout_s) },
    { "thread_pool_size", 0, TAKES_VALUE, .metavar = "N",
      .help = "--thread-pool-size", RANGE(thread_pool_size, 0, 256) },
    { "loglevel", 0, TAKES_VALUE, .metavar = "LEVEL",
      .help = "--log-level", .set = set_level },
    { "log_level", 0, TAKES_VALUE, .metavar = "LEVEL",
      .help = "--log-level", .set = set_level },
    { "debug", .help = "-d", .set = set_level },
    { "xattr", .help = "--xattr", FLAG(pt.xattr, 1) },
    { "no_xattr", .help = "the opposite", FLAG(pt.xattr, 0) },
    { "readdirplus", .help = "list with attributes, whatever --cache says",
      .min = 1, .set = set_readdirplus },
    { "no_readdirplus", .help = "--no-readdirplus",
      .min = 0, .set = set_readdirplus },
    { "writeback", .help = "--writeback", FLAG(pt.writeback, 1) },
    { "no_writeback", .help = "the opposite", FLAG(pt.writeback, 0) },
    { "allow_direct_io", .help = "--allow-direct-io",
      FLAG(pt.allow_direct_io, 1) },
    { "no_allow_direct_io", .help = "the opposite",
      FLAG(pt.allow_direct_io, 0) },
    { "announce_submounts", .help = "--announce-submounts",
      FLAG(pt.announce_submounts, 1) },
    { "no_announce_submounts", .help = "the opposite",
      FLAG(pt.announce_submounts, 0) },
    { "killpriv_v2", .help = "--killpriv-v2", FLAG(pt.killpriv_v2, 1) },
    { "no_killpriv_v2", .help = "the opposite", FLAG(pt.killpriv_v2, 0) },
    { "posix_acl", .help = "--posix-acl", CONST(pt.posix_acl, PT_ALWAYS) },
    { "no_posix_acl", .help = "the opposite", CONST(pt.posix_acl, PT_NEVER) },
    { "security_label", .help = "--security-label",
      CONST(pt.security_label, PT_ALWAYS) },
    { "no_security_label", .help = "the opposite",
      CONST(pt.security_label, PT_NEVER) },
    { "posix_lock", .help = "--posix-lock", FLAG(pt.posix_lock, 1) },
    { "no_posix_lock", .help = "--no-posix-lock", FLAG(pt.posix_lock, 0) },
    { "flock", .help = "--flock", FLAG(pt.flock, 1) },
    { "no_flock", .help = "--no-flock", FLAG(pt.flock, 0) },
    { "allow_root", .help = "accepted; does nothing",
      .advice = "has no meaning for this server; leave it out", IGNORED },
    { "max_idle_threads", 0, TAKES_VALUE, OPT_IGNORED, "N",
      "accepted; does nothing",
      "threads do not come and go here; use --thread-pool-size",
      .max = INT_MAX, .set = set_number },
};
/* clang-format on */

const size_t options_long_n = ARRAY_SIZE(options_long);
const size_t options_o_n = ARRAY_SIZE(options_o);

/* The value as --help writes it: "a|b|c" or the row's own word. */
static void metavar(const struct opt_row *row, char *buf, size_t len)
{
    size_t used = 0;

    buf[0] = '\0';
    if (row->metavar || !row->choices) {
        snprintf(buf, len, "%s", row->metavar ? row->metavar : "");
        return;
    }
    for (const struct opt_choice *c = row->choices; c->name && used < len; c++)
        used += (size_t)snprintf(buf + used, len - used, "%s%s",
                                 used ? "|" : "", c->name);
}

static void help_line(FILE *out, const struct opt_row *row, const char *dashes)
{
    char value[96], left[160];

    metavar(row, value, sizeof(value));
    snprintf(left, sizeof(left), "%s%.1s%s%s%s%s%s", row->letter ? "-" : "",
             row->letter ? &row->letter : "",
             row->letter && row->name ? ", " : "", row->name ? dashes : "",
             row->name ? row->name : "",
             !value[0]                      ? ""
             : row->letter                  ? " "
             : row->takes == TAKES_EQ_MAYBE ? "[=]"
                                            : "=",
             value);
    /* A long left side gets a line of its own. */
    if (strlen(left) > 26)
        fprintf(out, "  %s\n  %-26s  %s\n", left, "", row->help);
    else
        fprintf(out, "  %-26s  %s\n", left, row->help);
}

void options_help(FILE *out)
{
    fputs("usage: virtiofsd --shared-dir DIR {--socket-path PATH | --fd N} "
          "[OPTION...]\n"
          "Share a directory with a virtual machine over virtio-fs.\n\n",
          out);
    for (size_t i = 0; i < options_long_n; i++)
        help_line(out, &options_long[i], "--");
    fputs("\nKeys of -o, separated by commas:\n", out);
    for (size_t i = 0; i < options_o_n; i++)
        help_line(out, &options_o[i], "");
}
