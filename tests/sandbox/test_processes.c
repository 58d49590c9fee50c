/* SPDX-License-Identifier: BSD-3-Clause */

/*
 * Lives and deaths, seen from outside: exit codes, the socket, the pid file,
 * no stray process on any path.  Runs the program named by VIRTIOFSD: the
 * real one, and the one with probes.
 */

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/tap.h"
#include "tests/sandbox/daemon.h"
#include "virtiofsd/base/util.h"

#define NOBODY 65534

/* As root or not, in each sandbox that this user may have. */
static const char *const modes[] = { "--sandbox=namespace", "--sandbox=chroot",
                                     "--sandbox=none" };

/* Never to 0, which is the whole process group of whoever runs the tests. */
static void send_signal(pid_t pid, int sig)
{
    if (CHECK(pid > 0, "there is such a process"))
        kill(pid, sig);
}

static bool exists(const char *path, const char *suffix)
{
    char name[256];
    struct stat st;

    snprintf(name, sizeof(name), "%s%s", path, suffix);
    return lstat(name, &st) == 0;
}

static mode_t mode_of(const char *path, const char *suffix)
{
    char name[256];
    struct stat st;

    snprintf(name, sizeof(name), "%s%s", path, suffix);
    return lstat(name, &st) == 0 ? st.st_mode & 07777 : 0;
}

static long pid_in_file(const char *path)
{
    char name[256];
    long pid = -1;
    FILE *f;

    snprintf(name, sizeof(name), "%s.pid", path);
    f = fopen(name, "re");
    if (!f || fscanf(f, "%ld", &pid) != 1)
        pid = -1;
    if (f)
        fclose(f);
    return pid;
}

static void a_disconnect_ends_all_with_code_0(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
        const char *const args[] = { modes[i], NULL };
        struct daemon d;

        if (geteuid() != 0 && i == 1)
            continue;
        if (daemon_start(&d, &(struct daemon_how){ .args = args })) {
            pid_t fuse = daemon_role(&d, "fuse");
            pid_t vhost = daemon_role(&d, "vhost");

            CHECK(fuse && vhost, modes[i]);
            CHECK_EQ(mode_of(d.sock, ""), 0700, "nobody else may connect");
            CHECK_EQ(mode_of(d.sock, ".pid"), 0600, "pid file");
            CHECK_EQ(pid_in_file(d.sock), d.pid, "the supervisor's pid");
            CHECK_EQ(daemon_visit(&d), 0, modes[i]);
            close(d.client_fd);
            d.client_fd = -1;
            CHECK_EQ(daemon_wait(&d), 0, modes[i]);
            CHECK(daemon_gone(fuse) && daemon_gone(vhost), modes[i]);
            CHECK(!exists(d.sock, ""), "the socket is removed");
            CHECK(!exists(d.sock, ".pid"), "the pid file is removed");
        }
        daemon_cleanup(&d);
    }
}

static void a_signal_ends_all_with_code_0(void)
{
    static const int sigs[] = { SIGTERM, SIGINT, SIGHUP };

    for (size_t i = 0; i < 2 * ARRAY_SIZE(sigs); i++) {
        struct daemon d;

        if (daemon_start(&d, &(struct daemon_how){ 0 })) {
            pid_t fuse = daemon_role(&d, "fuse");
            pid_t vhost = daemon_role(&d, "vhost");

            /* With and without a front-end. */
            if (i >= ARRAY_SIZE(sigs))
                CHECK_EQ(daemon_visit(&d), 0, "connect");
            kill(d.pid, sigs[i % ARRAY_SIZE(sigs)]);
            CHECK_EQ(daemon_wait(&d), 0, strsignal(sigs[i % 3]));
            CHECK(daemon_gone(fuse) && daemon_gone(vhost), "no stray");
            CHECK(!exists(d.sock, "") && !exists(d.sock, ".pid"), "removed");
        }
        daemon_cleanup(&d);
    }
}

/* Launchers wait for the name and connect at once. */
static void the_socket_listens_when_its_name_appears(void)
{
    _Alignas(struct inotify_event) char buf[4096];
    char dir[] = "/tmp/virtiofsd-name-XXXXXX", sock[64];
    uint32_t seen = 0;
    struct daemon d;
    ssize_t len;
    int in;

    if (!CHECK(mkdtemp(dir) != NULL, "a directory to watch"))
        return;
    snprintf(sock, sizeof(sock), "%s/s", dir);
    in = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    CHECK(inotify_add_watch(in, dir, IN_CREATE | IN_MOVED_TO) >= 0, "watch");
    if (daemon_start(&d, &(struct daemon_how){ .sock = sock }))
        kill(d.pid, SIGTERM);
    CHECK_EQ(daemon_wait(&d), 0, "");
    while ((len = read(in, buf, sizeof(buf))) > 0) {
        const struct inotify_event *e;

        for (ssize_t at = 0; at < len; at += (ssize_t)sizeof(*e) + e->len) {
            e = (const void *)(buf + at);
            if (!strcmp(e->name, "s"))
                seen |= e->mask;
        }
    }
    CHECK(seen & IN_MOVED_TO, "renamed, when it listened");
    CHECK(!(seen & IN_CREATE), "not there before");
    close(in);
    daemon_cleanup(&d);
    CHECK_EQ(rmdir(dir), 0, "nothing is left");
}

/* Ctrl-C at a terminal reaches all processes of the group. */
static void a_role_leaves_signals_to_the_supervisor(void)
{
    static const char *const roles[] = { "fuse", "vhost" };
    const unsigned long want =
        1UL << (SIGINT - 1) | 1UL << (SIGTERM - 1) | 1UL << (SIGHUP - 1);
    /* In a pid namespace of its own it would ignore them anyway. */
    static const char *const args[] = { "--sandbox=none", NULL };
    struct daemon d;

    if (daemon_start(&d, &(struct daemon_how){ .args = args })) {
        for (size_t i = 0; i < ARRAY_SIZE(roles); i++) {
            pid_t pid = daemon_role(&d, roles[i]);
            const char *ign = strstr(daemon_proc(pid, "status"), "SigIgn:\t");

            if (CHECK(ign, roles[i]))
                CHECK_EQ(strtoul(ign + 8, NULL, 16) & want, want, roles[i]);
        }
    }
    daemon_cleanup(&d);
}

static void the_death_of_any_process_ends_the_others(void)
{
    static const struct {
        const char *why, *role, *said;
        int code;
    } rows[] = {
        { "request role", "fuse", "request process (fuse, pid", 1 },
        { "control role", "vhost", "control process (vhost, pid", 1 },
        { "supervisor", NULL, NULL, 128 + SIGKILL },
    };

    for (size_t i = 0; i < 2 * ARRAY_SIZE(rows) * ARRAY_SIZE(modes); i++) {
        const size_t row = i % 3, mode = i / 3 % 3;
        const char *const args[] = { modes[mode], NULL };
        struct daemon d;

        if (geteuid() != 0 && mode == 1)
            continue;
        if (daemon_start(&d, &(struct daemon_how){ .args = args })) {
            pid_t fuse = daemon_role(&d, "fuse");
            pid_t vhost = daemon_role(&d, "vhost");

            if (i >= 9)
                CHECK_EQ(daemon_visit(&d), 0, "with a front-end");
            CHECK(fuse > 0 && vhost > 0, "both roles run");
            send_signal(row == 2 ? d.pid : row == 1 ? vhost : fuse, SIGKILL);
            CHECK_EQ(daemon_wait(&d), rows[row].code, rows[row].why);
            CHECK(daemon_gone(fuse) && daemon_gone(vhost), rows[row].why);
            daemon_drain(&d);
            if (rows[row].said && (!strstr(d.err, rows[row].said) ||
                                   !strstr(d.err, "killed by signal 9"))) {
                CHECK(false, "role and signal are named");
                tap_diag("%s, %s: stderr: %s", rows[row].why, modes[mode],
                         d.err);
            }
        }
        daemon_cleanup(&d);
    }
}

/* One that hears nothing: neither an end of file nor a wish. */
static void a_role_that_hangs_is_killed(void)
{
    for (int killed = 0; killed < 2; killed++) {
        struct daemon d;

        if (daemon_start(&d, &(struct daemon_how){ 0 })) {
            pid_t fuse = daemon_role(&d, "fuse");
            pid_t vhost = daemon_role(&d, "vhost");

            CHECK_EQ(daemon_visit(&d), 0, "connect");
            send_signal(fuse, SIGSTOP);
            send_signal(vhost, SIGSTOP);
            kill(d.pid, killed ? SIGKILL : SIGTERM);
            CHECK_EQ(daemon_wait(&d), killed ? 128 + SIGKILL : 0,
                     killed ? "by the kernel" : "by the supervisor");
            CHECK(daemon_gone(fuse) && daemon_gone(vhost), "no stray");
        }
        daemon_cleanup(&d);
    }
}

static void a_second_front_end_is_refused_at_once(void)
{
    struct daemon d;

    if (daemon_start(&d, &(struct daemon_how){ 0 })) {
        CHECK_EQ(daemon_visit(&d), 0, "the first");
        CHECK(daemon_expect(&d, "front-end connected"), "accepted");
        CHECK_EQ(daemon_connect(d.sock), -ECONNREFUSED, "the second");
    }
    daemon_cleanup(&d);
}

static void a_second_daemon_on_the_path_is_refused(void)
{
    struct daemon d, second;
    char want[64];

    if (daemon_start(&d, &(struct daemon_how){ 0 }) &&
        daemon_prepare(&second, 0)) {
        CHECK(daemon_exec(&second, &(struct daemon_how){ .sock = d.sock }),
              "start");
        CHECK_EQ(daemon_wait(&second), 1, "refused");
        daemon_drain(&second);
        snprintf(want, sizeof(want), "already in use by pid %d", (int)d.pid);
        CHECK(strstr(second.err, want), second.err);
        daemon_cleanup(&second);
        CHECK_EQ(pid_in_file(d.sock), d.pid, "the first keeps its pid file");
        CHECK_EQ(daemon_visit(&d), 0, "the first is unharmed");
    }
    daemon_cleanup(&d);
}

static void what_a_killed_daemon_left_is_taken_over(void)
{
    struct daemon d;

    if (daemon_start(&d, &(struct daemon_how){ 0 })) {
        kill(d.pid, SIGKILL);
        CHECK_EQ(daemon_wait(&d), 128 + SIGKILL, "killed");
        CHECK(exists(d.sock, "") && exists(d.sock, ".pid"), "left behind");
        CHECK(daemon_exec(&d, &(struct daemon_how){ 0 }), "start again");
        CHECK(daemon_expect(&d, "Waiting for"), "runs");
        CHECK_EQ(pid_in_file(d.sock), d.pid, "the new pid");
        CHECK_EQ(daemon_visit(&d), 0, "the new socket");
    }
    daemon_cleanup(&d);
}

/* One start that must fail, in a fresh directory. */
static void fails(const char *why, const struct daemon_how *how, int code,
                  const char *said)
{
    struct daemon d;

    if (CHECK(daemon_prepare(&d, how->uid), why) && daemon_exec(&d, how)) {
        CHECK_EQ(daemon_wait(&d), code, why);
        daemon_drain(&d);
        if (!CHECK(strstr(d.err, said), why))
            tap_diag("stderr: %s", d.err);
        CHECK(!exists(d.sock, "") && !exists(d.sock, ".pid"), why);
    }
    daemon_cleanup(&d);
}

static void a_start_that_fails_says_why(void)
{
    static const char *const caps[] = { "--modcaps=+fly", NULL };
    static const char *const group[] = { "--socket-group=no-such-group", NULL };
    static const char *const chroot[] = { "--sandbox=chroot", NULL };
    static const char *const map[] = { "--uid-map=:0:1000:1:", NULL };
    static const char *const bad_fd[] = { "--fd=3", NULL };
    char long_path[160];
    int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    memset(long_path, 'x', sizeof(long_path) - 1);
    long_path[sizeof(long_path) - 1] = '\0';
    fails("share", &(struct daemon_how){ .shared_dir = "/nonexistent/share" },
          1, "/nonexistent/share");
    fails("socket directory", &(struct daemon_how){ .sock = "/nonexistent/s" },
          1, "/nonexistent/s");
    fails("long path", &(struct daemon_how){ .sock = long_path }, 1,
          "bytes at most");
    fails("capability", &(struct daemon_how){ .args = caps }, 2, "+fly");
    fails("group", &(struct daemon_how){ .args = group }, 1, "no-such-group");
    fails(
        "--fd",
        &(struct daemon_how){ .args = bad_fd, .sock = "", .pass_fd = null_fd },
        1, "not a listening");
    close(null_fd);
    if (geteuid() != 0)
        return;
    fails("chroot", &(struct daemon_how){ .args = chroot, .uid = NOBODY }, 1,
          "needs root");
    fails("maps as root", &(struct daemon_how){ .args = map }, 1, "--uid-map");
}

static void only_a_socket_is_removed_to_make_room(void)
{
    struct daemon d;
    int fd;

    if (daemon_prepare(&d, 0)) {
        fd = open(d.sock, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        close(fd);
        CHECK(daemon_exec(&d, &(struct daemon_how){ 0 }), "start");
        CHECK_EQ(daemon_wait(&d), 1, "a file is in the way");
        CHECK(exists(d.sock, ""), "the file is still there");
        CHECK(!exists(d.sock, ".pid"), "the pid file is not");
    }
    daemon_cleanup(&d);
}

static int listen_on(const char *path)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
    if (fd < 0 || bind(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0 ||
        listen(fd, 8) < 0)
        return -1;
    return fd;
}

/* fd 3, as Kata passes it: the number which the roles' links have. */
static void a_launcher_may_bring_the_socket(void)
{
    static const char *const args[] = { "--fd=3", NULL };
    struct daemon d;
    int fd;

    if (daemon_prepare(&d, 0)) {
        fd = listen_on(d.sock);
        CHECK(fd >= 0, "listen");
        CHECK(daemon_exec(&d, &(struct daemon_how){ .args = args,
                                                    .sock = "",
                                                    .pass_fd = fd }),
              "start");
        CHECK(daemon_expect(&d, "Waiting for"), "ready");
        CHECK(!exists(d.sock, ".pid"), "no pid file");
        CHECK_EQ(daemon_visit(&d), 0, "connect");
        CHECK(daemon_expect(&d, "front-end connected"), "accepted");
        /* Though our copy of the listening socket is still open. */
        CHECK_EQ(daemon_connect(d.sock), -ECONNREFUSED, "the second");
        close(d.client_fd);
        d.client_fd = -1;
        CHECK_EQ(daemon_wait(&d), 0, "end");
        CHECK(exists(d.sock, ""), "the launcher's socket is not removed");
        close(fd);
    }
    daemon_cleanup(&d);
}

static void a_group_may_be_let_in(void)
{
    struct group *g = getgrnam("nogroup");
    char arg[64];
    const char *const args[] = { arg, NULL };
    struct daemon d;
    struct stat st;

    if (!g || geteuid() != 0) {
        tap_skip("needs root and a group \"nogroup\"");
        return;
    }
    snprintf(arg, sizeof(arg), "--socket-group=%s", g->gr_name);
    if (daemon_start(&d, &(struct daemon_how){ .args = args })) {
        CHECK_EQ(mode_of(d.sock, ""), 0770, "mode");
        CHECK(stat(d.sock, &st) == 0 && st.st_gid == g->gr_gid, "group");
        CHECK_EQ(mode_of(d.sock, ".pid"), 0600, "not the pid file");
    }
    daemon_cleanup(&d);
}

/* A launcher's socket directory often belongs to the VMM's user. */
static void files_are_removed_from_a_directory_of_another_user(void)
{
    struct daemon d;

    if (geteuid() != 0) {
        tap_skip("needs root");
        return;
    }
    if (daemon_prepare(&d, NOBODY) &&
        daemon_exec(&d, &(struct daemon_how){ 0 })) {
        CHECK(daemon_expect(&d, "Waiting for"), "ready");
        kill(d.pid, SIGTERM);
        CHECK_EQ(daemon_wait(&d), 0, "end");
        CHECK(!exists(d.sock, "") && !exists(d.sock, ".pid"), "removed");
    }
    daemon_cleanup(&d);
}

static void a_daemon_leaves_its_launcher(void)
{
    static const char *const args[] = { "--daemonize", NULL };
    struct daemon d;
    pid_t pid;

    if (daemon_prepare(&d, 0) &&
        daemon_exec(&d, &(struct daemon_how){ .args = args })) {
        CHECK_EQ(daemon_wait(&d), 0, "ready");
        pid = (pid_t)pid_in_file(d.sock);
        CHECK(pid > 0 && kill(pid, 0) == 0, "the pid file names the daemon");
        CHECK_EQ(daemon_visit(&d), 0, "it serves");
        if (d.client_fd >= 0)
            close(d.client_fd);
        d.client_fd = -1;
        CHECK(pid > 0 && daemon_gone(pid), "and ends");
        CHECK(!exists(d.sock, ".pid"), "tidily");
    }
    daemon_cleanup(&d);
    fails("a failure is told before",
          &(struct daemon_how){ .args = args, .shared_dir = "/nonexistent" }, 1,
          "/nonexistent");
}

static void any_user_can_ask_for_the_version(void)
{
    static const char *const args[] = { "--version", NULL };
    static const char *const caps[] = { "--print-capabilities", NULL };
    struct daemon d;
    uid_t uid = geteuid() == 0 ? NOBODY : 0;

    for (int i = 0; i < 2; i++) {
        if (daemon_prepare(&d, uid) &&
            daemon_exec(&d, &(struct daemon_how){ .uid = uid,
                                                  .args = i ? caps : args }))
            CHECK_EQ(daemon_wait(&d), 0, i ? caps[0] : args[0]);
        daemon_cleanup(&d);
    }
}

/* --role is for the supervisor alone. */
static void a_role_can_not_be_asked_for(void)
{
    static const char *const args[] = { "--role=fuse", NULL };

    fails("--role",
          &(struct daemon_how){ .args = args, .sock = "", .shared_dir = "" }, 2,
          "role");
}

TAP_MAIN(TEST(a_disconnect_ends_all_with_code_0),
         TEST(a_signal_ends_all_with_code_0),
         TEST(a_role_leaves_signals_to_the_supervisor),
         TEST(the_death_of_any_process_ends_the_others),
         TEST(a_role_that_hangs_is_killed),
         TEST(a_second_front_end_is_refused_at_once),
         TEST(a_second_daemon_on_the_path_is_refused),
         TEST(what_a_killed_daemon_left_is_taken_over),
         TEST(a_start_that_fails_says_why),
         TEST(only_a_socket_is_removed_to_make_room),
         TEST(the_socket_listens_when_its_name_appears),
         TEST(a_launcher_may_bring_the_socket), TEST(a_group_may_be_let_in),
         TEST(files_are_removed_from_a_directory_of_another_user),
         TEST(a_daemon_leaves_its_launcher),
         TEST(any_user_can_ask_for_the_version),
         TEST(a_role_can_not_be_asked_for))
