/* SPDX-License-Identifier: BSD-3-Clause */
/* The lines which launchers start virtiofsd with, word for word. */
#include "tests/unit/options_line.h"

static void libvirts_long_options_parse(void)
{
    struct run r;

    parse(&r, "--fd=27 --shared-dir /srv/share --cache always "
              "--sandbox namespace --xattr --thread-pool-size=4 "
              "--rlimit-nofile=4096 --log-level debug "
              "--uid-map=:0:1000:1: --uid-map=:1:100000:65535: "
              "--gid-map=:0:1000:1: --gid-map=:1:100000:65535:");
    CHECK_EQ(r.result, OPTIONS_RUN, r.err);
    CHECK_STR(r.err, "", "nothing to warn about");
    CHECK_EQ(r.o.listen_fd, 27, "");
    CHECK(r.o.socket_path == NULL, "the launcher made the socket");
    CHECK_STR(r.o.shared_dir, "/srv/share", "");
    CHECK_EQ(r.o.pt.cache, PT_CACHE_ALWAYS, "");
    CHECK_EQ(r.o.sandbox.mode, SANDBOX_NAMESPACE, "");
    CHECK(r.o.pt.xattr, "");
    CHECK_EQ(r.o.thread_pool_size, 4, "");
    CHECK_EQ(r.o.rlimit_nofile, 4096, "");
    CHECK_EQ(r.o.log_level, LOG_LEVEL_DEBUG, "");
    CHECK_EQ(r.o.sandbox.n_uid, 2, "");
    CHECK_EQ(r.o.sandbox.n_gid, 2, "");
    CHECK_EQ(r.o.sandbox.uid[1].inside, 1, "");
    CHECK_EQ(r.o.sandbox.uid[1].outside, 100000, "");
    CHECK_EQ(r.o.sandbox.uid[1].count, 65535, "");
    CHECK_EQ(r.o.sandbox.gid[0].outside, 1000, "");
    run_free(&r);
}

static void libvirts_old_dialect_parses(void)
{
    struct run r;

    parse(&r, "--fd=27 -o source=/srv/a,,b,cache=none,sandbox=chroot,xattr,"
              "no_flock,no_posix_lock --thread-pool-size=1 -d");
    CHECK_EQ(r.result, OPTIONS_RUN, r.err);
    CHECK_STR(r.err, "", "");
    CHECK_STR(r.o.shared_dir, "/srv/a,b", "a doubled comma is one");
    CHECK_EQ(r.o.pt.cache, PT_CACHE_NEVER, "C's none is never");
    CHECK(!r.o.pt.readdirplus, "cache=never turns it off");
    CHECK_EQ(r.o.sandbox.mode, SANDBOX_CHROOT, "");
    CHECK(r.o.pt.xattr, "");
    CHECK(!r.o.pt.flock && !r.o.pt.posix_lock, "");
    CHECK_EQ(r.o.log_level, LOG_LEVEL_DEBUG, "");
    run_free(&r);
    parse(&r, "--fd=27 -osource=/s,no_xattr,flock,posix_lock");
    CHECK_EQ(r.result, OPTIONS_RUN, r.err);
    CHECK(r.o.pt.flock, "");
    CHECK(r.o.pt.posix_lock, "");
    run_free(&r);
}

static void katas_lines_parse(void)
{
    struct run r;

    parse(&r, "--syslog --cache=metadata --shared-dir=/run/kata/s --fd=3 "
              "--thread-pool-size=1 --announce-submounts");
    CHECK_EQ(r.result, OPTIONS_RUN, r.err);
    CHECK(r.o.syslog, "Go runtime");
    CHECK_EQ(r.o.pt.cache, PT_CACHE_METADATA, "Go runtime");
    CHECK_EQ(r.o.listen_fd, 3, "Go runtime");
    CHECK(r.o.pt.announce_submounts, "Go runtime");
    run_free(&r);

    parse(&r, "--socket-path virtiofsd.sock --shared-dir /run/kata/s --cache "
              "auto --thread-pool-size=1 -o announce_submounts --xattr");
    CHECK_EQ(r.result, OPTIONS_RUN, r.err);
    CHECK_STR(r.o.socket_path, "virtiofsd.sock", "runtime-rs, rootless");
    CHECK_EQ(r.o.pt.cache, PT_CACHE_AUTO, "runtime-rs");
    CHECK(r.o.pt.xattr, "runtime-rs");
    run_free(&r);
}

static void podmans_line_parses(void)
{
    struct run r;

    setenv("RUST_LOG", "ERROR", 1);
    parse(&r, "--sandbox none --socket-path /run/v.sock --shared-dir . "
              "--seccomp=none");
    unsetenv("RUST_LOG");
    CHECK_EQ(r.result, OPTIONS_RUN, r.err);
    CHECK_EQ(r.o.sandbox.mode, SANDBOX_NONE, "");
    CHECK_EQ(r.o.sandbox.seccomp, SECCOMP_NONE, "");
    CHECK_STR(r.o.shared_dir, ".", "");
    CHECK_EQ(r.o.log_level, LOG_LEVEL_ERROR, "from RUST_LOG");
    run_free(&r);
}

static void limas_line_parses(void)
{
    struct run r;

    parse(&r, "--socket-path /home/u/.lima/v.sock --shared-dir /home/u");
    CHECK_EQ(r.result, OPTIONS_RUN, r.err);
    CHECK_STR(r.o.socket_path, "/home/u/.lima/v.sock", "");
    CHECK_STR(r.err, "", "");
    run_free(&r);
}

static void kubevirts_line_starts_with_warnings(void)
{
    struct run r;
    uint32_t id = 0;

    parse(&r, "--socket-path /v.sock --shared-dir /data --cache auto "
              "--sandbox chroot --modcaps=+dac_read_search:-mknod "
              "--inode-file-handles=prefer --migration-mode=file-handles "
              "--migration-on-error=guest-error "
              "--translate-uid=squash-guest:0:107:4294967295 "
              "--translate-gid=squash-guest:0:107:4294967295 --xattr");
    CHECK_EQ(r.result, OPTIONS_RUN, r.err);
    CHECK_EQ(lines(r.err), 2, "a line for each option that does nothing");
    CHECK_EQ(r.o.pt.file_handles, PT_HANDLES_PREFER, "");
    CHECK(strstr(r.err, "--migration-mode=file-handles: ") != NULL, r.err);
    CHECK(strstr(r.err, "--migration-on-error=guest-error: ") != NULL, r.err);
    CHECK_STR(r.o.sandbox.modcaps, "+dac_read_search:-mknod", "");
    CHECK_EQ(idmap_to_host(&r.o.pt.uid_map, 1000, &id), 0, "");
    CHECK_EQ(id, 107, "every guest id becomes 107");
    CHECK_EQ(r.o.pt.gid_map.n_guest, 1, "");
    run_free(&r);
}

static void cloud_hypervisors_line_parses(void)
{
    struct run r;

    parse(&r, "--log-level debug --socket-path=/tmp/v --shared-dir=/s "
              "--cache=never --thread-pool-size=8 --tag=myfs");
    CHECK_EQ(r.result, OPTIONS_RUN, r.err);
    CHECK_STR(r.o.tag, "myfs", "");
    CHECK_EQ(r.o.pt.cache, PT_CACHE_NEVER, "");
    CHECK_EQ(r.o.thread_pool_size, 8, "");
    run_free(&r);
}

static void unraids_line_parses(void)
{
    struct run r;

    parse(&r, "--syslog --inode-file-handles=mandatory "
              "--announce-submounts --fd=36 --shared-dir /mnt --cache "
              "always --sandbox chroot --xattr");
    CHECK_EQ(r.result, OPTIONS_RUN, r.err);
    CHECK_STR(r.err, "", "");
    CHECK_EQ(r.o.pt.file_handles, PT_HANDLES_MANDATORY, "");
    CHECK(r.o.sandbox.file_handles, "and the sandbox lets them be opened");
    run_free(&r);
}

TAP_MAIN(TEST(libvirts_long_options_parse), TEST(libvirts_old_dialect_parses),
         TEST(katas_lines_parse), TEST(podmans_line_parses),
         TEST(limas_line_parses), TEST(kubevirts_line_starts_with_warnings),
         TEST(cloud_hypervisors_line_parses), TEST(unraids_line_parses))
