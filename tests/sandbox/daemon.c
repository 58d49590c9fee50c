/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sandbox/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/lib/tap.h"

#define LIMIT_MS 30000
#define STEP_MS  10

static void step(void)
{
    const struct timespec ts = { 0, STEP_MS * 1000000L };

    nanosleep(&ts, NULL);
}

bool daemon_prepare(struct daemon *d, uid_t uid)
{
    char hello[128];
    int fd;

    memset(d, 0, sizeof(*d));
    d->err_fd = d->client_fd = -1;
    snprintf(d->dir, sizeof(d->dir), "/tmp/virtiofsd-sandbox-XXXXXX");
    if (!mkdtemp(d->dir)) {
        tap_check(false, __FILE__, __LINE__, "mkdtemp", strerror(errno));
        d->dir[0] = '\0';
        return false;
    }
    snprintf(d->sock, sizeof(d->sock), "%s/s.sock", d->dir);
    snprintf(d->share, sizeof(d->share), "%s/share", d->dir);
    snprintf(hello, sizeof(hello), "%s/hello", d->share);
    if (mkdir(d->share, 0755) < 0)
        return false;
    fd = open(hello, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        return false;
    close(fd);
    return !uid ||
           (chown(d->dir, uid, uid) == 0 && chown(d->share, uid, uid) == 0 &&
            chown(hello, uid, uid) == 0);
}

/* Opened before the ids change: the build directory may be closed to them. */
static int open_exe(void)
{
    const char *exe = getenv("VIRTIOFSD");

    if (!exe)
        return -1;
    return open(exe, O_PATH | O_CLOEXEC);
}

static void child(struct daemon *d, const struct daemon_how *how, int exe_fd,
                  int err_fd)
{
    const char *sock = how->sock ? how->sock : d->sock;
    const char *dir = how->shared_dir ? how->shared_dir : d->share;
    char sock_arg[256], dir_arg[256];
    char *argv[32], *no_env[] = { NULL };
    int n = 0;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    argv[n++] = (char *)"virtiofsd";
    if (*sock) {
        snprintf(sock_arg, sizeof(sock_arg), "--socket-path=%s", sock);
        argv[n++] = sock_arg;
    }
    if (*dir) {
        snprintf(dir_arg, sizeof(dir_arg), "--shared-dir=%s", dir);
        argv[n++] = dir_arg;
    }
    for (int i = 0; how->args && how->args[i] && n < 31; i++)
        argv[n++] = (char *)how->args[i];
    argv[n] = NULL;
    dup2(err_fd, STDERR_FILENO);
    /* Our stdout is the test's report. */
    dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDOUT_FILENO);
    if (how->chdir && chdir(d->share) < 0)
        _exit(126);
    if (how->with_group && setgroups(1, &(gid_t){ 12345 }) < 0)
        _exit(126);
    exe_fd = fcntl(exe_fd, F_DUPFD_CLOEXEC, 10);
    /* It may be 3 already: then dup2() would leave it close-on-exec. */
    if (how->pass_fd && (dup2(how->pass_fd, 3) < 0 || fcntl(3, F_SETFD, 0) < 0))
        _exit(126);
    if (how->uid && (setgroups(0, NULL) < 0 ||
                     setresgid(how->uid, how->uid, how->uid) < 0 ||
                     setresuid(how->uid, how->uid, how->uid) < 0))
        _exit(126);
    fexecve(exe_fd, argv, how->no_env ? no_env : environ);
    _exit(127);
}

bool daemon_exec(struct daemon *d, const struct daemon_how *how)
{
    int exe_fd = open_exe();
    int p[2];

    if (!CHECK(exe_fd >= 0, "VIRTIOFSD names the program"))
        return false;
    if (pipe2(p, O_CLOEXEC) < 0)
        return false;
    d->err_len = 0;
    d->err[0] = '\0';
    fflush(stdout);
    /* Roles whose supervisor is killed become our children. */
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    d->pid = fork();
    if (d->pid == 0)
        child(d, how, exe_fd, p[1]);
    close(exe_fd);
    close(p[1]);
    if (d->err_fd >= 0)
        close(d->err_fd);
    d->err_fd = p[0];
    return CHECK(d->pid > 0, "fork");
}

/* Return: false at end of file or when nothing came in time. */
static bool read_more(struct daemon *d, int ms)
{
    struct pollfd p = { d->err_fd, POLLIN, 0 };
    size_t room = sizeof(d->err) - 1 - d->err_len;
    ssize_t n;

    if (room == 0 || poll(&p, 1, ms) <= 0)
        return false;
    n = read(d->err_fd, d->err + d->err_len, room);
    if (n <= 0)
        return false;
    d->err_len += (size_t)n;
    d->err[d->err_len] = '\0';
    return true;
}

bool daemon_expect(struct daemon *d, const char *text)
{
    while (!strstr(d->err, text))
        if (!read_more(d, LIMIT_MS))
            return false;
    return true;
}

void daemon_drain(struct daemon *d)
{
    while (read_more(d, LIMIT_MS))
        ;
}

bool daemon_start(struct daemon *d, const struct daemon_how *how)
{
    if (!CHECK(daemon_prepare(d, how->uid), "directories") ||
        !daemon_exec(d, how))
        return false;
    if (daemon_expect(d, "Waiting for vhost-user socket connection"))
        return true;
    CHECK(false, "the daemon says that it waits for a front-end");
    tap_diag("stderr: %s", d->err);
    return false;
}

int daemon_connect(const char *path)
{
    struct sockaddr_un sun = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
    if (connect(fd, (struct sockaddr *)&sun, sizeof(sun)) < 0) {
        int ret = -errno;

        close(fd);
        return ret;
    }
    return fd;
}

int daemon_visit(struct daemon *d)
{
    d->client_fd = daemon_connect(d->sock);
    return d->client_fd < 0 ? d->client_fd : 0;
}

const char *daemon_ask(struct daemon *d, const char *line)
{
    static char out[512];
    struct pollfd p = { d->client_fd, POLLIN, 0 };
    ssize_t n = send(d->client_fd, line, strlen(line), MSG_NOSIGNAL);

    out[0] = '\0';
    if (n < 0 || poll(&p, 1, LIMIT_MS) <= 0)
        return out;
    n = recv(d->client_fd, out, sizeof(out) - 1, 0);
    out[n < 0 ? 0 : n] = '\0';
    out[strcspn(out, "\n")] = '\0';
    return out;
}

long daemon_number(struct daemon *d, const char *line)
{
    const char *got = daemon_ask(d, line);
    long n;

    if (sscanf(got, "ok %ld", &n) == 1)
        return n;
    return sscanf(got, "errno %ld", &n) == 1 ? -1000 - n : -1;
}

const char *daemon_proc(pid_t pid, const char *file)
{
    static char text[2][4096];
    static unsigned int turn;
    char *out = text[turn++ % 2];
    char path[128];
    ssize_t n;
    int fd;

    out[0] = '\0';
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return out;
    n = read(fd, out, sizeof(text[0]) - 1);
    out[n < 0 ? 0 : n] = '\0';
    close(fd);
    return out;
}

pid_t daemon_role(const struct daemon *d, const char *role)
{
    char file[64], want[32], list[256];
    char *save = NULL;

    snprintf(file, sizeof(file), "task/%d/children", (int)d->pid);
    snprintf(want, sizeof(want), "virtiofsd-%s\n", role);
    snprintf(list, sizeof(list), "%s", daemon_proc(d->pid, file));
    for (char *w = strtok_r(list, " ", &save); w;
         w = strtok_r(NULL, " ", &save)) {
        pid_t pid = (pid_t)strtol(w, NULL, 10);

        if (pid > 0 && strcmp(daemon_proc(pid, "comm"), want) == 0)
            return pid;
    }
    return 0;
}

bool daemon_gone(pid_t pid)
{
    for (int ms = 0; pid > 0 && ms < LIMIT_MS; ms += STEP_MS) {
        waitpid(pid, NULL, WNOHANG);
        if (kill(pid, 0) < 0 && errno == ESRCH)
            return true;
        step();
    }
    return false;
}

int daemon_wait(struct daemon *d)
{
    int status = 0;

    for (int ms = 0; ms < LIMIT_MS; ms += STEP_MS) {
        pid_t got = waitpid(d->pid, &status, WNOHANG);

        if (got == d->pid) {
            d->pid = 0;
            return WIFEXITED(status) ? WEXITSTATUS(status)
                                     : 128 + WTERMSIG(status);
        }
        read_more(d, 0);
        step();
    }
    kill(d->pid, SIGKILL);
    waitpid(d->pid, &status, 0);
    d->pid = 0;
    return -1;
}

static void remove_tree(const char *dir)
{
    pid_t pid = fork();

    if (pid == 0) {
        execlp("rm", "rm", "-rf", "--", dir, NULL);
        _exit(127);
    }
    if (pid > 0)
        waitpid(pid, NULL, 0);
}

void daemon_cleanup(struct daemon *d)
{
    if (d->client_fd >= 0)
        close(d->client_fd);
    if (d->pid > 0) {
        kill(d->pid, SIGKILL);
        waitpid(d->pid, NULL, 0);
    }
    if (d->err_fd >= 0)
        close(d->err_fd);
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
    if (d->dir[0])
        remove_tree(d->dir);
    d->client_fd = d->err_fd = -1;
    d->pid = 0;
    d->dir[0] = '\0';
}
