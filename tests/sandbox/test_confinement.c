/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * What each role sees and holds: its root, capabilities, namespaces, fds,
 * limits and ids.  Looked at from inside by probes (stub_roles.c) and from
 * outside in /proc.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/tap.h"
#include "tests/sandbox/daemon.h"
#include "virtiofsd/base/util.h"

#define NOBODY 65534

static const char *const no_filter[] = { "--seccomp=none", NULL };

static bool is_root(void)
{
    if (geteuid() == 0)
        return true;
    tap_skip("needs root");
    return false;
}

/* "CapEff:\t00000000880000db" and the like. */
static uint64_t status_hex(pid_t pid, const char *field)
{
    const char *at = strstr(daemon_proc(pid, "status"), field);

    return at ? strtoull(at + strlen(field) + 2, NULL, 16) : UINT64_MAX;
}

static void control_has_an_empty_root(void)
{
    struct daemon d;

    if (!is_root())
        return;
    if (daemon_start(&d, &(struct daemon_how){ .args = no_filter })) {
        CHECK_EQ(daemon_visit(&d), 0, "connect");
        CHECK_STR(daemon_ask(&d, "vhost count-root"), "ok 0", "empty");
        CHECK_STR(daemon_ask(&d, "vhost open /etc/passwd"), "errno 2",
                  "no host file");
        CHECK_STR(daemon_ask(&d, "vhost open /proc/self/status"), "errno 2",
                  "no /proc");
        CHECK_STR(daemon_ask(&d, "vhost mount"), "errno 1", "no capability");
        CHECK_STR(daemon_ask(&d, "fuse mount"), "errno 1", "no capability");
        CHECK_STR(daemon_ask(&d, "fuse chroot"), "errno 1", "no capability");
        CHECK_EQ(status_hex(daemon_role(&d, "fuse"), "NoNewPrivs"), 1,
                 "without a filter too");
    }
    daemon_cleanup(&d);
}

static void chroot_confines_both_roles(void)
{
    static const char *const args[] = { "--sandbox=chroot", "--seccomp=none",
                                        NULL };
    struct daemon d;

    if (!is_root())
        return;
    if (daemon_start(&d,
                     &(struct daemon_how){ .args = args, .no_env = true })) {
        CHECK_EQ(daemon_visit(&d), 0, "connect");
        CHECK(daemon_number(&d, "vhost open /etc/passwd") < 0, "no host file");
        CHECK(daemon_number(&d, "vhost count-root") <= 0, "an empty root");
        CHECK_STR(daemon_ask(&d, "fuse count-root"), "ok 1", "the share");
        CHECK(daemon_number(&d, "fuse reopen hello") >= 0, "its file");
        CHECK_STR(daemon_ask(&d, "fuse open-root ../share/hello"), "errno 2",
                  "no way out");
    }
    daemon_cleanup(&d);
}

static void a_single_file_can_be_shared(void)
{
    static const char *const modes[] = { "--sandbox=namespace",
                                         "--sandbox=chroot", "--sandbox=none" };

    if (!is_root())
        return;
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        const char *const args[] = { modes[i], NULL };
        struct daemon d;
        char file[128];

        CHECK(daemon_prepare(&d, 0), "directories");
        snprintf(file, sizeof(file), "%s/hello", d.share);
        CHECK(daemon_exec(
                  &d, &(struct daemon_how){ .args = args, .shared_dir = file }),
              modes[i]);
        if (CHECK(daemon_expect(&d, "Waiting for"), modes[i])) {
            CHECK_EQ(daemon_visit(&d), 0, modes[i]);
            CHECK_STR(daemon_ask(&d, "fuse open-root x"), "errno 20",
                      "the root is a file");
        }
        daemon_cleanup(&d);
    }
}

static bool ns_differs(pid_t pid, const char *ns)
{
    char path[64], theirs[64], ours[64];
    ssize_t a, b;

    snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)pid, ns);
    a = readlink(path, theirs, sizeof(theirs) - 1);
    snprintf(path, sizeof(path), "/proc/self/ns/%s", ns);
    b = readlink(path, ours, sizeof(ours) - 1);
    if (a < 0 || b < 0)
        return false;
    theirs[a] = ours[b] = '\0';
    return strcmp(theirs, ours) != 0;
}

#define BIT(n) (UINT64_C(1) << (n))
#define FUSE_CAPS                                                              \
    (BIT(0) | BIT(1) | BIT(3) | BIT(4) | BIT(6) | BIT(7) | BIT(27) | BIT(31))
#define DAC_READ_SEARCH BIT(2) /* what file handles take */

static void capabilities_are_cut_to_the_list(void)
{
    static const char *const never[] = { "--inode-file-handles=never", NULL };
    static const char *const mod[] = { "--inode-file-handles=never",
                                       "--modcaps=+dac_read_search:-mknod",
                                       NULL };
    static const char *const less[] = { "--modcaps=-dac_read_search", NULL };
    struct daemon d;

    if (!is_root())
        return;
    if (daemon_start(&d, &(struct daemon_how){ .args = never })) {
        pid_t fuse = daemon_role(&d, "fuse"), vhost = daemon_role(&d, "vhost");

        CHECK_EQ(status_hex(fuse, "CapEff"), FUSE_CAPS, "fuse, effective");
        CHECK_EQ(status_hex(fuse, "CapPrm"), FUSE_CAPS, "fuse, permitted");
        CHECK_EQ(status_hex(fuse, "CapBnd"), FUSE_CAPS, "fuse, bounding");
        CHECK_EQ(status_hex(fuse, "CapInh"), 0, "fuse, inheritable");
        CHECK_EQ(status_hex(fuse, "CapAmb"), 0, "fuse, ambient");
        CHECK_EQ(status_hex(vhost, "CapPrm"), 0, "vhost, permitted");
        CHECK_EQ(status_hex(vhost, "CapBnd"), 0, "vhost, bounding");
        CHECK_EQ(status_hex(d.pid, "CapPrm"), 0, "supervisor, permitted");
        CHECK_EQ(status_hex(d.pid, "CapBnd"), 0, "supervisor, bounding");
    }
    daemon_cleanup(&d);
    if (daemon_start(&d, &(struct daemon_how){ .args = mod }))
        CHECK_EQ(status_hex(daemon_role(&d, "fuse"), "CapEff"),
                 (FUSE_CAPS | DAC_READ_SEARCH) & ~BIT(27), "as --modcaps says");
    daemon_cleanup(&d);
    if (daemon_start(&d, &(struct daemon_how){ 0 }))
        CHECK_EQ(status_hex(daemon_role(&d, "fuse"), "CapEff"),
                 FUSE_CAPS | DAC_READ_SEARCH, "handles, by default");
    daemon_cleanup(&d);
    if (daemon_start(&d, &(struct daemon_how){ .args = less }))
        CHECK_EQ(status_hex(daemon_role(&d, "fuse"), "CapEff"), FUSE_CAPS,
                 "but --modcaps has the last word");
    daemon_cleanup(&d);
}

static void every_process_is_locked_in(void)
{
    static const char *const ns[] = { "mnt", "pid", "net", "ipc", "uts" };
    struct daemon d;

    if (!is_root())
        return;
    if (daemon_start(&d, &(struct daemon_how){ .with_group = true })) {
        pid_t pids[] = { daemon_role(&d, "fuse"), daemon_role(&d, "vhost"),
                         d.pid };

        for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
            CHECK_EQ(status_hex(pids[i], "Seccomp"), 2, "filtered");
            CHECK_EQ(status_hex(pids[i], "NoNewPrivs"), 1, "no new privileges");
            CHECK(strstr(daemon_proc(pids[i], "status"), "Groups:\t \n"),
                  "no supplementary group");
            for (size_t k = 0; i < 2 && k < ARRAY_SIZE(ns); k++)
                CHECK(ns_differs(pids[i], ns[k]), ns[k]);
        }
        CHECK(ns_differs(d.pid, "net"), "the supervisor has no network");
    }
    daemon_cleanup(&d);
}

/* What an fd of @pid leads to; false when it has no such fd. */
static bool fd_target(pid_t pid, const char *fd, char *out, size_t len)
{
    char path[300];
    ssize_t n;

    snprintf(path, sizeof(path), "/proc/%d/fd/%s", (int)pid, fd);
    n = readlink(path, out, len - 1);
    out[n < 0 ? 0 : n] = '\0';
    return n >= 0;
}

/* Counts fds from 3 up by what their target begins with. */
static int count_fds(pid_t pid, const char *prefix)
{
    char path[64], target[PATH_MAX];
    struct dirent *e;
    int n = 0;
    DIR *dir;

    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    dir = opendir(path);
    if (!dir)
        return -1;
    while ((e = readdir(dir)))
        if (atoi(e->d_name) >= 3 &&
            fd_target(pid, e->d_name, target, sizeof(target)))
            n += strncmp(target, prefix, strlen(prefix)) == 0;
    closedir(dir);
    return n;
}

/* The supervisor closes its copy of the socket after it has handed it on,
 * while we are talking to the new owner already. */
static bool comes_down_to(pid_t pid, const char *prefix, int want)
{
    for (int i = 0; i < 3000; i++) {
        if (count_fds(pid, prefix) == want)
            return true;
        usleep(10000);
    }
    return false;
}

static void foreign_fds_are_closed(void)
{
    struct daemon d;
    int foreign;

    if (!is_root())
        return;
    /* Inherited by the daemon, as a careless launcher would have it. */
    foreign = open("/etc/passwd", O_RDONLY);
    if (daemon_start(&d, &(struct daemon_how){ .pass_fd = foreign })) {
        pid_t fuse, vhost;

        CHECK_EQ(daemon_visit(&d), 0, "connect");
        daemon_ask(&d, "fuse getpid"); /* the socket has arrived */
        fuse = daemon_role(&d, "fuse");
        vhost = daemon_role(&d, "vhost");
        CHECK_EQ(count_fds(fuse, "/etc"), 0, "fuse");
        CHECK_EQ(count_fds(vhost, "/etc"), 0, "vhost");
        CHECK_EQ(count_fds(d.pid, "/etc"), 0, "supervisor");
        CHECK_EQ(count_fds(vhost, "/"), 0, "control holds no file");
        CHECK_EQ(count_fds(vhost, "socket:"), 4,
                 "link, two channels, the front-end");
        CHECK_EQ(count_fds(fuse, "socket:"), 3, "link and two channels");
        CHECK(comes_down_to(d.pid, "socket:", 2),
              "two links: neither listener nor front-end");
    }
    close(foreign);
    daemon_cleanup(&d);
}

static void an_ordinary_user_gets_a_user_namespace(void)
{
    static const char *const args[] = { NULL };
    struct daemon d;

    if (!is_root())
        return;
    if (daemon_start(&d, &(struct daemon_how){ .uid = NOBODY, .args = args })) {
        pid_t fuse = daemon_role(&d, "fuse");

        CHECK_EQ(daemon_visit(&d), 0, "connect");
        CHECK(ns_differs(fuse, "user"), "fuse");
        CHECK(ns_differs(daemon_role(&d, "vhost"), "user"), "vhost");
        CHECK_EQ(status_hex(fuse, "CapEff"), FUSE_CAPS | DAC_READ_SEARCH,
                 "inside only");
        CHECK_EQ(status_hex(d.pid, "CapEff"), 0, "not outside");
        CHECK_STR(daemon_ask(&d, "fuse getuid"), "ok 65534", "its own id");
        CHECK_STR(daemon_ask(&d, "fuse setuid 1"), "errno 22", "no other");
        CHECK(daemon_number(&d, "fuse create mine") >= 0, "creates files");
        CHECK(daemon_number(&d, "fuse reopen hello") >= 0, "opens files");
    }
    daemon_cleanup(&d);
}

static void an_ordinary_user_needs_no_namespace(void)
{
    static const char *const args[] = { "--sandbox=none", "--seccomp=none",
                                        NULL };
    struct daemon d;

    if (!is_root())
        return;
    /* As podman does it: everything relative, in the directory itself. */
    if (daemon_prepare(&d, NOBODY) &&
        daemon_exec(&d, &(struct daemon_how){ .uid = NOBODY,
                                              .args = args,
                                              .chdir = true,
                                              .sock = "../s.sock",
                                              .shared_dir = "." })) {
        CHECK(daemon_expect(&d, "Waiting for"), "ready");
        CHECK_EQ(daemon_visit(&d), 0, "connect");
        CHECK(daemon_number(&d, "fuse create mine") >= 0, "creates files");
        CHECK(daemon_number(&d, "fuse reopen hello") >= 0, "opens files");
    }
    daemon_cleanup(&d);
}

/* Gives nobody a range of ids, in a mount namespace of the test's own. */
static bool give_subids(void)
{
    static const char *const files[] = { "/etc/subuid", "/etc/subgid" };
    char name[] = "/tmp/virtiofsd-subid-XXXXXX";
    static const char line[] = "nobody:200000:1000\n65534:200000:1000\n";
    bool good = true;
    int fd = mkstemp(name);

    if (fd < 0)
        return false;
    good = write(fd, line, sizeof(line) - 1) > 0 && fchmod(fd, 0644) == 0;
    close(fd);
    good = good && unshare(CLONE_NEWNS) == 0 &&
           mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL) == 0;
    for (size_t i = 0; good && i < ARRAY_SIZE(files); i++)
        good = mount(name, files[i], NULL, MS_BIND, NULL) == 0;
    unlink(name);
    return good;
}

/* As libvirt's session mode passes it. */
static void maps_of_many_ids_go_through_newuidmap(void)
{
    static const char *const args[] = {
        "--uid-map=:0:65534:1:", "--uid-map=:1:200000:1000:",
        "--gid-map=:0:65534:1:", "--gid-map=:1:200000:1000:", NULL
    };
    struct daemon d;
    struct stat st;
    char path[128];
    pid_t pid;
    int status;

    if (!is_root())
        return;
    if (access("/usr/bin/newuidmap", X_OK) < 0) {
        tap_skip("newuidmap is not installed (package uidmap)");
        return;
    }
    /* A child, so that its mount namespace is gone with it. */
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        if (!give_subids())
            _exit(77);
        if (!daemon_start(&d, &(struct daemon_how){ .uid = NOBODY,
                                                    .args = args,
                                                    .no_env = true })) {
            daemon_cleanup(&d);
            _exit(1);
        }
        daemon_visit(&d);
        snprintf(path, sizeof(path), "%s/mine", d.share);
        status = daemon_number(&d, "fuse setuid 500") == 0 &&
                 daemon_number(&d, "fuse setuid 1001") == -1022 &&
                 daemon_number(&d, "fuse create mine") >= 0 &&
                 stat(path, &st) == 0 && st.st_uid == NOBODY &&
                 strstr(daemon_proc(daemon_role(&d, "fuse"), "uid_map"),
                        "200000") != NULL &&
                 strstr(daemon_proc(daemon_role(&d, "vhost"), "uid_map"),
                        "200000") == NULL;
        if (!status)
            tap_diag("stderr: %s", d.err);
        daemon_cleanup(&d);
        _exit(status ? 0 : 1);
    }
    waitpid(pid, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        tap_skip("can not mount here");
    else
        CHECK_EQ(status, 0, "ids mapped for the request process only");
}

static void the_limit_of_open_files_is_set(void)
{
    static const char *const args[] = { "--rlimit-nofile=512", NULL };
    static const char *const too_high[] = { "--rlimit-nofile=2000000000",
                                            NULL };
    struct daemon d;

    if (!is_root())
        return;
    if (daemon_start(&d, &(struct daemon_how){ .args = args })) {
        CHECK_EQ(daemon_visit(&d), 0, "connect");
        CHECK_STR(daemon_ask(&d, "fuse nofile"), "ok 512", "as asked");
    }
    daemon_cleanup(&d);
    if (daemon_start(&d, &(struct daemon_how){ .args = too_high })) {
        CHECK_EQ(daemon_visit(&d), 0, "connect");
        CHECK(daemon_number(&d, "fuse nofile") > 0, "the hard limit");
        CHECK(daemon_expect(&d, "using the hard limit"), "with a warning");
    }
    daemon_cleanup(&d);
}

TAP_MAIN(TEST(control_has_an_empty_root), TEST(chroot_confines_both_roles),
         TEST(a_single_file_can_be_shared),
         TEST(capabilities_are_cut_to_the_list),
         TEST(every_process_is_locked_in), TEST(foreign_fds_are_closed),
         TEST(an_ordinary_user_gets_a_user_namespace),
         TEST(an_ordinary_user_needs_no_namespace),
         TEST(maps_of_many_ids_go_through_newuidmap),
         TEST(the_limit_of_open_files_is_set))
