/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/options_line.h"

/* --- what is refused ----------------------------------------------------- */

static const struct {
    const char *line, *says;
} refused[] = {
    { "", "no directory to share; give --shared-dir DIR" },
    { "--socket-path /k", "no directory to share" },
    { "--shared-dir /s", "no socket; give --socket-path PATH or --fd N" },
    { BASE "--fd 3", "--fd=3: the socket was already given by --socket-path" },
    { BASE "--socket /k2", "already given by --socket-path" },
    { BASE "-o vhost_user_socket=/k2", "already given by --socket-path" },
    { "--shared-dir /s --fd 3 --socket-group kvm",
      "--socket-group: conflicts" },
    { BASE "--bogus", "--bogus: unknown option" },
    { BASE "--bogus=3", "--bogus: unknown option" },
    { BASE "--cach=auto", "--cach: unknown option" },
    { BASE "-x", "-x: unknown option" },
    { BASE "-dx", "-x: unknown option" },
    { BASE "extra", "extra: unexpected word" },
    { BASE "-", "-: unexpected word" },
    { BASE "--", "--: unknown option" },
    { BASE "--xattr=1", "--xattr=1: takes no value" },
    { BASE "--tag", "--tag: needs a value" },
    { "--socket-path --shared-dir /s", "--socket-path: needs a value" },
    { BASE "-o", "-o: needs a value" },
    { BASE "--inode-file-handles",
      "needs a value; give --inode-file-handles=" },
    { BASE "--inode-file-handles never",
      "--inode-file-handles: needs a value" },
    { BASE "--posix-acl never", "never: unexpected word" },
    { BASE "--security-label=yes", "use never, auto or always" },
    { BASE "--posix-acl --xattrmap=:map::user.v.:", ":ok:all:system.posix" },
    { "--shared-dir= --fd 3", "--shared-dir: the value is empty" },
    { BASE "--cache=sometimes", "--cache=sometimes: unknown value; use auto" },
    { BASE "--sandbox=jail", "use namespace, chroot or none" },
    { BASE "--seccomp=panic", "use kill, log, trap or none" },
    { BASE "--log-level=loud", "--log-level=loud: unknown value" },
    { BASE "--migration-mode=magic", "use find-paths or file-handles" },
    { BASE "--migration-on-error=ignore", "use abort or guest-error" },
    { BASE "--inode-file-handles=maybe",
      "use never, prefer, mandatory or fallback" },
    { BASE "--tag=", "--tag: the value is empty" },
    { BASE "--tag=0123456789012345678901234567890123456", "at most 36" },
    { BASE "--num-request-queues=0", "from 1 to 64" },
    { BASE "--num-request-queues=65", "from 1 to 64" },
    { BASE "--num-request-queues=1x", "from 1 to 64" },
    { BASE "--thread-pool-size=257", "from 0 to 256" },
    { BASE "--thread-pool-size=-1", "from 0 to 256" },
    { BASE "--poll-us=1001", "--poll-us=1001: " },
    { BASE "--poll-us=1001", "from 0 to 1000" },
    { BASE "--poll-us=-1", "from 0 to 1000" },
    { BASE "--poll-us=5us", "from 0 to 1000" },
    { BASE "--poll-us", "--poll-us: needs a value; give --poll-us N" },
    { BASE "--thread-pool-size=0x10", "from 0 to 256" },
    { BASE "--thread-pool-size=99999999999999999999999", "from 0 to 256" },
    { BASE "--rlimit-nofile=-1", "not a number" },
    { BASE "--rlimit-nofile -1", "--rlimit-nofile: needs a value" },
    { "--shared-dir /s --fd=2147483648", "not a number" },
    { "--shared-dir /s --fd=-1", "not a number" },
    { BASE "-o nonsense", "-o nonsense: unknown key" },
    { BASE "-o xattr,,cache=auto", "-o xattr,cache=auto: unknown key" },
    { BASE "-o cache", "-o cache: needs a value" },
    { BASE "-o xattr=1", "-o xattr=1: takes no value" },
    { BASE "-o timeout=soon", "-o timeout=soon: not a number of seconds" },
    { BASE "-o timeout=-1", "not a number of seconds" },
    { BASE "-o timeout=1e3", "not a number of seconds" },
    { BASE "-o timeout=0x10", "not a number of seconds" },
    { BASE "--timeout=1000000001", "--timeout=1000000001: not a number" },
    { BASE "--timeout=.", "not a number of seconds" },
    { BASE "--timeout=inf", "not a number of seconds" },
    { BASE "--timeout 1s", "--timeout=1s: not a number of seconds" },
    { BASE "--timeout", "--timeout: needs a value; give --timeout SECONDS" },
    { BASE "--attr-timeout=-1", "not a number of seconds" },
    { BASE "--entry-timeout=", "--entry-timeout: the value is empty" },
    { BASE "--negative-timeout=1,5", "not a number of seconds" },
    { BASE "-o negative_timeout", "give -o negative_timeout=SECONDS" },
    { BASE "-o log_level=loud", "-o log_level=loud: unknown value" },
    { BASE "--modcaps=mknod", "not a list of capabilities" },
    { BASE "--modcaps=+mknod:", "not a list of capabilities" },
    { BASE "--modcaps=+mknod,-chown", "not a list of capabilities" },
    { BASE "--modcaps=+", "not a list of capabilities" },
    { BASE "--uid-map=0:1:2", "--uid-map=0:1:2: not a map" },
    { BASE "--uid-map=:0:1:", "not a map" },
    { BASE "--uid-map=:0:1", "not a map" },
    { BASE "--uid-map=:0:1:0:", "not a map" },
    { BASE "--uid-map=:0:1:2:3", "not a map" },
    { BASE "--uid-map=:0:1:4294967296:", "not a map" },
    { BASE "--gid-map=:1:0:4294967295:", "not a map" },
    { BASE "--uid-map=:0:5:4: --uid-map=:3:50:1:", "overlaps" },
    { BASE "--uid-map=:0:5:4: --uid-map=:50:8:1:", "overlaps" },
    { BASE "--uid-map=:0:5:4: --sandbox=chroot", "no user namespace" },
    { BASE "--translate-uid=map:0", "--translate-uid=map:0: " },
    { BASE "--translate-gid=squish:0:1:2", "--translate-gid=squish" },
    { BASE "--xattrmap", "--xattrmap: needs a value; give --xattrmap RULES" },
    { BASE "--xattrmap=", "--xattrmap: the value is empty" },
    { BASE "--xattrmap=:bad:all:::\n:okay:all:::",
      "--xattrmap: rule 2, offset 13, in ':okay:all:::': unknown type 'okay'" },
    { BASE "-o xattrmap", "-o xattrmap: needs a value" },
    { BASE "-o xattrmap=:ok:all::",
      "-o xattrmap: rule 1, offset 9, in ':ok:all::': the prefix has no end" },
};

static void bad_lines_are_refused_in_one_line(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
        check_refused(refused[i].line, refused[i].says);
}

/* --- what is taken ------------------------------------------------------- */

static void the_defaults_are_the_peers(void)
{
    struct run r;

    parse(&r, BASE);
    CHECK_EQ(r.result, OPTIONS_RUN, r.err);
    CHECK_STR(r.o.tag, "", "without --tag there is no CONFIG");
    CHECK_EQ(r.o.listen_fd, -1, "");
    CHECK(r.o.socket_group == NULL, "");
    CHECK_EQ(r.o.thread_pool_size, 8, "");
    CHECK_EQ(r.o.poll_us, POLL_US_DEFAULT, "");
    CHECK(r.o.num_request_queues >= 1 && r.o.num_request_queues <= 64, "");
    CHECK_EQ(r.o.rlimit_nofile, -1, "");
    CHECK_EQ(r.o.log_level, LOG_LEVEL_INFO, "");
    CHECK(!r.o.syslog && !r.o.daemonize, "");
    CHECK_EQ(r.o.pt.cache, PT_CACHE_AUTO, "");
    CHECK(r.o.pt.attr_timeout_s < 0 && r.o.pt.entry_timeout_s < 0, "");
    CHECK(r.o.pt.negative_timeout_s == 0, "");
    CHECK(!r.o.pt.writeback && !r.o.pt.readonly && !r.o.pt.xattr, "");
    CHECK(!r.o.pt.allow_direct_io && !r.o.pt.preserve_noatime, "");
    CHECK(r.o.pt.readdirplus && r.o.pt.announce_submounts, "");
    CHECK_EQ(r.o.pt.file_handles, PT_HANDLES_PREFER, "");
    CHECK(r.o.sandbox.file_handles, "");
    CHECK_EQ(r.o.sandbox.mode, SANDBOX_NAMESPACE, "");
    CHECK_EQ(r.o.sandbox.seccomp, SECCOMP_KILL, "");
    CHECK_EQ(r.o.sandbox.n_uid + r.o.sandbox.n_gid, 0, "");
    run_free(&r);
}

static void flags_set_their_field_and_no_other(void)
{
    struct run r;

    parse(&r, BASE "--readonly --writeback --allow-direct-io "
                   "--preserve-noatime --no-announce-submounts "
                   "--no-readdirplus --daemonize --no-killpriv-v2 "
                   "--posix-acl=never --security-label=never "
                   "--inode-file-handles=never");
    CHECK_EQ(r.result, OPTIONS_RUN, r.err);
    CHECK_STR(r.err, "", "");
    CHECK_EQ(r.o.pt.file_handles, PT_HANDLES_NEVER, "");
    CHECK(!r.o.sandbox.file_handles, "nor may any be opened");
    CHECK(r.o.pt.readonly && r.o.pt.writeback && r.o.pt.allow_direct_io, "");
    CHECK(r.o.pt.preserve_noatime && r.o.daemonize, "");
    CHECK(!r.o.pt.announce_submounts && !r.o.pt.readdirplus, "");
    CHECK(!r.o.pt.xattr && !r.o.syslog, "not asked for");
    run_free(&r);
}

static void a_wish_is_given_in_either_dialect(void)
{
    static const struct {
        const char *line;
        enum pt_want acl, label;
    } rows[] = {
        { BASE, PT_NEVER, PT_NEVER },
        { BASE "--posix-acl", PT_ALWAYS, PT_NEVER },
        { BASE "--posix-acl=auto", PT_AUTO, PT_NEVER },
        { BASE "--security-label --no-killpriv-v2", PT_NEVER, PT_ALWAYS },
        { BASE "--security-label=auto", PT_NEVER, PT_AUTO },
        { BASE "-o posix_acl,security_label", PT_ALWAYS, PT_ALWAYS },
        { BASE "-o posix_acl,security_label,no_posix_acl,no_security_label",
          PT_NEVER, PT_NEVER },
        { BASE "--posix-acl=always --xattrmap=:ok:all:system.posix_acl_:"
               "system.posix_acl_::map::user.v.:",
          PT_ALWAYS, PT_NEVER },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct run r;

        parse(&r, rows[i].line);
        CHECK_EQ(r.result, OPTIONS_RUN, r.err);
        CHECK_EQ(r.o.pt.posix_acl, rows[i].acl, rows[i].line);
        CHECK_EQ(r.o.pt.security_label, rows[i].label, rows[i].line);
        if (rows[i].acl || rows[i].label)
            CHECK(r.o.pt.xattr, "implied");
        CHECK_EQ(r.o.pt.killpriv_v2, !strstr(rows[i].line, "no-kill"), "");
        run_free(&r);
    }
}

static void the_o_list_takes_both_dialects(void)
{
    struct run r;

    parse(&r, "-o vhost_user_socket=/k,source=/s,timeout=2.5,log_level=err "
              "-o no_readdirplus,writeback,allow_direct_io,"
              "no_announce_submounts,no_killpriv_v2,no_posix_acl,"
              "no_security_label,modcaps=+sys_admin,thread_pool_size=3,");
    CHECK_EQ(r.result, OPTIONS_RUN, r.err);
    CHECK_STR(r.o.socket_path, "/k", "");
    CHECK_STR(r.o.shared_dir, "/s", "");
    CHECK(r.o.pt.attr_timeout_s == 2.5 && r.o.pt.entry_timeout_s == 2.5, "");
    CHECK_EQ(r.o.log_level, LOG_LEVEL_ERROR, "");
    CHECK(!r.o.pt.readdirplus && r.o.pt.writeback, "");
    CHECK(r.o.pt.allow_direct_io && !r.o.pt.announce_submounts, "");
    CHECK_STR(r.o.sandbox.modcaps, "+sys_admin", "");
    CHECK_EQ(r.o.thread_pool_size, 3, "a comma at the end adds nothing");
    run_free(&r);

    parse(&r, BASE "-o debug,xattr,no_xattr,writeback,no_writeback,"
                   "allow_direct_io,no_allow_direct_io -f");
    CHECK_EQ(r.result, OPTIONS_RUN, r.err);
    CHECK_EQ(r.o.log_level, LOG_LEVEL_DEBUG, "");
    CHECK(!r.o.pt.xattr && !r.o.pt.writeback, "the last one counts");
    CHECK(!r.o.pt.allow_direct_io, "the last one counts");
    run_free(&r);

    parse(&r, BASE "-o cache=never,readdirplus,allow_root,max_idle_threads=4");
    CHECK_EQ(r.result, OPTIONS_RUN, r.err);
    CHECK(r.o.pt.readdirplus, "asked for by name");
    CHECK_EQ(lines(r.err), 2, "two options without a meaning");
    run_free(&r);
}

static void each_timeout_has_its_field(void)
{
    static const struct {
        const char *line;
        double attr, entry, negative;
    } rows[] = {
        { BASE "--timeout=0.5", 0.5, 0.5, 0 },
        { BASE "--timeout 0", 0, 0, 0 },
        { BASE "--timeout=3 --attr-timeout=.25", 0.25, 3, 0 },
        { BASE "--attr-timeout=7 --timeout=3", 3, 3, 0 },
        { BASE "--entry-timeout=1000000000", -1, 1e9, 0 },
        { BASE "--negative-timeout=2 --negative-timeout=60", -1, -1, 60 },
        { BASE "-o attr_timeout=1,entry_timeout=2.,negative_timeout=3", 1, 2,
          3 },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct run r;

        parse(&r, rows[i].line);
        CHECK_EQ(r.result, OPTIONS_RUN, r.err);
        CHECK(r.o.pt.attr_timeout_s == rows[i].attr, rows[i].line);
        CHECK(r.o.pt.entry_timeout_s == rows[i].entry, rows[i].line);
        CHECK(r.o.pt.negative_timeout_s == rows[i].negative, rows[i].line);
        run_free(&r);
    }
}

static void writing_back_needs_a_cache(void)
{
    static const char *const without[] = {
        BASE "--writeback --cache=never",
        BASE "--cache metadata --writeback",
        BASE "-o writeback,cache=none",
    };
    struct run r;

    for (size_t i = 0; i < ARRAY_SIZE(without); i++) {
        parse(&r, without[i]);
        CHECK_EQ(r.result, OPTIONS_RUN, r.err);
        CHECK(strstr(r.err, "warning: --writeback: does nothing") != NULL,
              without[i]);
        CHECK_EQ(lines(r.err), 1, "");
        CHECK(!r.o.pt.writeback, without[i]);
        run_free(&r);
    }
    parse(&r, BASE "--writeback --cache=never --cache=always");
    CHECK_EQ(r.result, OPTIONS_RUN, r.err);
    CHECK_STR(r.err, "", "");
    CHECK(r.o.pt.writeback, "the last --cache counts");
    run_free(&r);
}

static void values_come_joined_or_apart(void)
{
    struct run r;

    parse(&r, "--shared-dir=/s --socket-path=/k --cache never --tag t "
              "--modcaps -mknod:-chown --num-request-queues 64 "
              "--rlimit-nofile 0 --socket-group kvm -df");
    CHECK_EQ(r.result, OPTIONS_RUN, r.err);
    CHECK_STR(r.o.sandbox.modcaps, "-mknod:-chown", "begins with a dash");
    CHECK_EQ(r.o.num_request_queues, 64, "");
    CHECK_EQ(r.o.rlimit_nofile, 0, "0 is not the default");
    CHECK_STR(r.o.socket_group, "kvm", "");
    CHECK_STR(r.o.tag, "t", "");
    CHECK_EQ(r.o.log_level, LOG_LEVEL_DEBUG, "-df is -d -f");
    run_free(&r);

    parse(&r, BASE "--tag=012345678901234567890123456789012345");
    CHECK_EQ(r.result, OPTIONS_RUN, r.err);
    CHECK_EQ(strlen(r.o.tag), TAG_MAX, "36 bytes fit");
    run_free(&r);

    parse(&r, BASE "--uid-map /0/5/4294967290/ --gid-map=,0,0,1");
    CHECK_EQ(r.result, OPTIONS_RUN, r.err);
    CHECK_EQ(r.o.sandbox.uid[0].count, 4294967290, "the first byte separates");
    CHECK_EQ(r.o.sandbox.n_gid, 1, "the last separator may be missing");
    run_free(&r);
}

static void the_old_socket_name_works_with_a_warning(void)
{
    struct run r;

    parse(&r, "--shared-dir /s --socket /k");
    CHECK_EQ(r.result, OPTIONS_RUN, r.err);
    CHECK_STR(r.o.socket_path, "/k", "");
    CHECK(strstr(r.err, "use --socket-path") != NULL, r.err);
    run_free(&r);
}

static void a_table_of_maps_has_an_end(void)
{
    char line[1024] = BASE;
    struct run r;

    for (int i = 0; i < SANDBOX_MAX_IDMAPS; i++)
        sprintf(line + strlen(line), "--uid-map=:%d:%d:1: ", i, i + 100);
    parse(&r, line);
    CHECK_EQ(r.result, OPTIONS_RUN, r.err);
    CHECK_EQ(r.o.sandbox.n_uid, SANDBOX_MAX_IDMAPS, "");
    run_free(&r);
    strcat(line, "--uid-map=:900:900:1:");
    check_refused(line, "more than 16 maps");
}

static void a_map_of_names_implies_xattr(void)
{
    static const struct {
        const char *line;
        uint32_t rules;
    } rows[] = {
        { BASE "--xattrmap=:map:trusted.:user.v.:", 3 },
        { BASE "--xattrmap :map::user.v.:", 2 },
        { BASE "-o no_xattr,xattrmap=:ok:all:::,no_xattr", 1 },
        { BASE "-o xattrmap=,,ok,,all,,,,,,", 1 },
        { BASE "--xattrmap=:map::a.: -o xattrmap=:ok:all:::", 1 },
        { BASE "--xattrmap=\n/bad/all/x//\n/ok/all///\n", 2 },
    };
    struct run r;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        parse(&r, rows[i].line);
        CHECK_EQ(r.result, OPTIONS_RUN, r.err);
        CHECK_STR(r.err, "", rows[i].line);
        CHECK_EQ(r.o.pt.xattrmap.n, rows[i].rules, rows[i].line);
        CHECK(r.o.pt.xattr, rows[i].line);
        run_free(&r);
    }
    parse(&r, BASE "--xattr");
    CHECK_EQ(r.o.pt.xattrmap.n, 0, "no map");
    run_free(&r);

    parse(&r, BASE "--xattrmap=:prefix:all::user.v.:");
    CHECK_EQ(r.result, OPTIONS_RUN, "as in the C program");
    CHECK_EQ(lines(r.err), 1, "but with a warning");
    CHECK(strstr(r.err, "warning: --xattrmap: names that match no rule"),
          r.err);
    run_free(&r);
}

static const struct {
    const char *env, *line;
    enum log_level want;
} levels[] = {
    { "ERROR", BASE, LOG_LEVEL_ERROR },
    { "trace", BASE, LOG_LEVEL_DEBUG },
    { "Off", BASE, LOG_LEVEL_OFF },
    { "info,virtiofsd=debug", BASE, LOG_LEVEL_INFO },
    { "", BASE, LOG_LEVEL_INFO },
    { "error", BASE "--log-level=warn", LOG_LEVEL_WARN },
    { "error", BASE "-d", LOG_LEVEL_DEBUG },
    { "error", BASE "-o loglevel=info", LOG_LEVEL_INFO },
    { "error", BASE "--log-level OFF", LOG_LEVEL_OFF },
};

static void the_log_level_comes_from_the_line_then_the_environment(void)
{
    struct run r;

    for (size_t i = 0; i < ARRAY_SIZE(levels); i++) {
        setenv("RUST_LOG", levels[i].env, 1);
        parse(&r, levels[i].line);
        CHECK_EQ(r.result, OPTIONS_RUN, r.err);
        CHECK_EQ(r.o.log_level, levels[i].want, levels[i].line);
        run_free(&r);
    }
    unsetenv("RUST_LOG");
}

/* --- questions ----------------------------------------------------------- */

static void questions_are_answered_with_nothing_else_on_the_line(void)
{
    struct run r;

    parse(&r, "--print-capabilities");
    CHECK_EQ(r.result, OPTIONS_EXIT_OK, r.err);
    CHECK(strstr(r.out, "\"type\": \"fs\"") != NULL, r.out);
    CHECK(strstr(r.out, "\"separate-options\"") != NULL, r.out);
    CHECK(strstr(r.out, "migrate-precopy") == NULL, "not before it is there");
    run_free(&r);

    parse(&r, "--version");
    CHECK_EQ(r.result, OPTIONS_EXIT_OK, r.err);
    CHECK_STR(r.out, "virtiofsd " VIRTIOFSD_VERSION "\n", "");
    run_free(&r);
    parse(&r, "-V");
    CHECK_STR(r.out, "virtiofsd " VIRTIOFSD_VERSION "\n", "");
    run_free(&r);
}

static void help_names_every_row(void)
{
    struct run r;
    char name[64];

    parse(&r, "-h");
    CHECK_EQ(r.result, OPTIONS_EXIT_OK, r.err);
    for (size_t i = 0; i < options_long_n; i++) {
        if (!options_long[i].name)
            continue;
        snprintf(name, sizeof(name), "--%s", options_long[i].name);
        CHECK(strstr(r.out, name) != NULL, name);
    }
    for (size_t i = 0; i < options_o_n; i++)
        CHECK(strstr(r.out, options_o[i].name) != NULL, options_o[i].name);
    for (char *line = strtok(r.out, "\n"); line; line = strtok(NULL, "\n"))
        CHECK(strlen(line) <= 80, line);
    run_free(&r);
}

TAP_MAIN(TEST(bad_lines_are_refused_in_one_line),
         TEST(the_defaults_are_the_peers),
         TEST(flags_set_their_field_and_no_other),
         TEST(a_wish_is_given_in_either_dialect),
         TEST(the_o_list_takes_both_dialects), TEST(each_timeout_has_its_field),
         TEST(writing_back_needs_a_cache), TEST(values_come_joined_or_apart),
         TEST(the_old_socket_name_works_with_a_warning),
         TEST(a_table_of_maps_has_an_end), TEST(a_map_of_names_implies_xattr),
         TEST(the_log_level_comes_from_the_line_then_the_environment),
         TEST(questions_are_answered_with_nothing_else_on_the_line),
         TEST(help_names_every_row))
