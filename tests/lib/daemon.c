/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/lib/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/lib/proc.h"
#include "tests/lib/tap.h"

#define READY_LINE  "Waiting for vhost-user socket connection"
#define ARGS_MAX    64
#define DAEMONS_MAX 4
#define LOG_MAX     ((size_t)1 << 20)
#define LISTEN_FD   9

struct daemon {
    pid_t pid;
    int pidfd;
    bool reaped;
    int status;      /* of waitpid(2), once reaped */
    char dir[64];    /* temporary directory: all that is ours */
    char share[256]; /* served */
    char sock[80];
    pthread_t reader;
    int log_fd;
    /* What it printed.  @lock holds for these; @more tells of growth. */
    pthread_mutex_t lock;
    pthread_cond_t more;
    char *log;
    size_t log_len;
    bool log_eof;
};

/* Those alive, for the way out by exit() or a signal. */
static struct daemon *alive[DAEMONS_MAX];
static bool prepared;

size_t daemon_roles(const struct daemon *d, pid_t *pids, size_t max)
{
    return proc_descendants(d->pid, pids, max);
}

static void kill_tree(struct daemon *d)
{
    pid_t pids[64];
    size_t n = d->reaped ? 0 : proc_descendants(d->pid, pids, 64);

    if (!d->reaped)
        kill(d->pid, SIGKILL);
    for (size_t i = 0; i < n; i++)
        kill(pids[i], SIGKILL);
}

static void clean_at_exit(void)
{
    for (int i = 0; i < DAEMONS_MAX; i++) {
        if (!alive[i])
            continue;
        kill_tree(alive[i]);
        proc_remove_tree(alive[i]->dir);
    }
}

static void clean_on_signal(int sig)
{
    clean_at_exit();
    _exit(128 + sig);
}

/* Once per test program. */
static void prepare(void)
{
    static const int fatal[] = { SIGTERM, SIGINT, SIGHUP, SIGABRT };

    if (prepared)
        return;
    prepared = true;
    /* Orphans come to us, so that none can be left behind unseen. */
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    atexit(clean_at_exit);
    for (size_t i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++)
        signal(fatal[i], clean_on_signal);
    signal(SIGPIPE, SIG_IGN);
}

static void *read_log(void *arg)
{
    struct daemon *d = arg;
    char buf[4096];
    ssize_t n;

    while ((n = read(d->log_fd, buf, sizeof(buf))) > 0) {
        pthread_mutex_lock(&d->lock);
        if (d->log_len + (size_t)n < LOG_MAX) {
            memcpy(d->log + d->log_len, buf, (size_t)n);
            d->log_len += (size_t)n;
            d->log[d->log_len] = '\0';
        }
        pthread_cond_broadcast(&d->more);
        pthread_mutex_unlock(&d->lock);
    }
    pthread_mutex_lock(&d->lock);
    d->log_eof = true;
    pthread_cond_broadcast(&d->more);
    pthread_mutex_unlock(&d->lock);
    return NULL;
}

bool daemon_log_has(struct daemon *d, const char *text)
{
    bool found;

    pthread_mutex_lock(&d->lock);
    found = strstr(d->log, text) != NULL;
    pthread_mutex_unlock(&d->lock);
    return found;
}

bool daemon_wait_log(struct daemon *d, const char *text)
{
    struct timespec until;
    bool found;
    int err = 0;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += DEADLINE_MS / 1000;
    pthread_mutex_lock(&d->lock);
    while (!(found = strstr(d->log, text) != NULL) && !d->log_eof && !err)
        err = pthread_cond_timedwait(&d->more, &d->lock, &until);
    pthread_mutex_unlock(&d->lock);
    return found;
}

static void print_log(struct daemon *d)
{
    char *line, *save = NULL;

    pthread_mutex_lock(&d->lock);
    tap_diag("--- what the daemon (pid %d) logged:", (int)d->pid);
    for (line = strtok_r(d->log, "\n", &save); line;
         line = strtok_r(NULL, "\n", &save))
        tap_diag("| %s", line);
    tap_diag("---");
    d->log[0] = '\0';
    d->log_len = 0;
    pthread_mutex_unlock(&d->lock);
}

static int make_listener(const char *path)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
    if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
        listen(fd, 1) < 0) {
        tap_diag("can not listen on %s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return -1;
    }
    return fd;
}

/* Child: only async-signal-safe calls, the test may have threads. */
static _Noreturn void run_child(const struct daemon_opts *o, char **argv,
                                int log_fd, int listen_fd, pid_t parent)
{
    int null = open("/dev/null", O_RDONLY);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(126);
    setpgid(0, 0);
    dup2(null, 0);
    dup2(log_fd, 1);
    dup2(log_fd, 2);
    if (listen_fd >= 0)
        dup2(listen_fd, LISTEN_FD);
    signal(SIGPIPE, SIG_DFL);
    if (o->set_ids) {
        if (syscall(SYS_setgroups, 0, NULL) < 0 ||
            syscall(SYS_setresgid, o->gid, o->gid, o->gid) < 0 ||
            syscall(SYS_setresuid, o->uid, o->uid, o->uid) < 0)
            _exit(125);
        /* A change of ids clears it. */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    }
    execv(argv[0], argv);
    dprintf(2, "can not run %s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

static void build_argv(struct daemon *d, const struct daemon_opts *o,
                       const char **argv)
{
    const char *more = getenv("VIRTIOFSD_EXTRA_ARG");
    int n = 0;

    argv[n++] = getenv("VIRTIOFSD_BINARY");
    argv[n++] = "--shared-dir";
    argv[n++] = d->share;
    if (o->use_fd) {
        argv[n++] = "--fd=9";
    } else {
        argv[n++] = "--socket-path";
        argv[n++] = d->sock;
    }
    if (more && *more)
        argv[n++] = more;
    for (int i = 0; o->args && o->args[i] && n < ARGS_MAX - 1; i++)
        argv[n++] = o->args[i];
    argv[n] = NULL;
}

static bool make_dirs(struct daemon *d, const struct daemon_opts *o)
{
    const char *tmp = getenv("TMPDIR");

    if (!tmp || strlen(tmp) > 40)
        tmp = "/tmp"; /* a socket's path has 107 bytes at most */
    snprintf(d->dir, sizeof(d->dir), "%s/vfsd-XXXXXX", tmp);
    if (!mkdtemp(d->dir))
        return false;
    snprintf(d->sock, sizeof(d->sock), "%s/sock", d->dir);
    if (o->share) {
        snprintf(d->share, sizeof(d->share), "%s", o->share);
    } else {
        snprintf(d->share, sizeof(d->share), "%s/share", d->dir);
        if (mkdir(d->share, 0755) < 0)
            return false;
    }
    if (o->set_ids && (chown(d->dir, o->uid, o->gid) < 0 ||
                       chown(d->share, o->uid, o->gid) < 0))
        return false;
    return true;
}

static void spawn(struct daemon *d, const struct daemon_opts *o, int log_fd,
                  int listen_fd)
{
    const char *argv[ARGS_MAX];
    pid_t me = getpid();

    build_argv(d, o, argv);
    d->pid = fork();
    if (d->pid == 0)
        run_child(o, (char **)(uintptr_t)argv, log_fd, listen_fd, me);
    d->pidfd = d->pid > 0 ? proc_pidfd(d->pid) : -1;
    if (d->pidfd >= 0)
        fcntl(d->pidfd, F_SETFD, FD_CLOEXEC);
}

static void free_daemon(struct daemon *d)
{
    for (int i = 0; i < DAEMONS_MAX; i++) {
        if (alive[i] == d)
            alive[i] = NULL;
    }
    if (d->dir[0])
        proc_remove_tree(d->dir);
    if (d->pidfd >= 0)
        close(d->pidfd);
    pthread_mutex_destroy(&d->lock);
    pthread_cond_destroy(&d->more);
    free(d->log);
    free(d);
}

struct daemon *daemon_start(const struct daemon_opts *opts)
{
    static const struct daemon_opts plain;
    const struct daemon_opts *o = opts ? opts : &plain;
    struct daemon *d = calloc(1, sizeof(*d));
    int p[2] = { -1, -1 }, listen_fd = -1, slot = 0;

    prepare();
    d->pidfd = -1;
    d->log = calloc(1, LOG_MAX + 1);
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->more, NULL);
    if (!CHECK(getenv("VIRTIOFSD_BINARY"), "the program under test") ||
        !CHECK(make_dirs(d, o), "temporary directory") ||
        !CHECK_EQ(pipe2(p, O_CLOEXEC), 0, "log pipe")) {
        free_daemon(d);
        return NULL;
    }
    while (slot < DAEMONS_MAX - 1 && alive[slot])
        slot++;
    alive[slot] = d;
    if (o->use_fd || o->stale_socket)
        listen_fd = make_listener(d->sock);
    if (o->stale_socket && listen_fd >= 0) {
        close(listen_fd);
        listen_fd = -1;
    }
    spawn(d, o, p[1], listen_fd);
    close(p[1]);
    if (listen_fd >= 0)
        close(listen_fd);
    d->log_fd = p[0];
    pthread_create(&d->reader, NULL, read_log, d);
    if (!CHECK(d->pid > 0, "fork") ||
        (!o->no_wait &&
         !CHECK(daemon_wait_log(d, READY_LINE), "it says that it listens"))) {
        print_log(d);
        daemon_kill(d);
        return NULL;
    }
    return d;
}

const char *daemon_socket(const struct daemon *d)
{
    return d->sock;
}

const char *daemon_share(const struct daemon *d)
{
    return d->share;
}

const char *daemon_path(const struct daemon *d, const char *name)
{
    static char buf[4][640];
    static unsigned int turn;
    char *p = buf[turn++ % 4];

    snprintf(p, sizeof(buf[0]), "%s/%s", d->share, name);
    return p;
}

pid_t daemon_pid(const struct daemon *d)
{
    return d->pid;
}

/* Return: false when it still runs after the deadline. */
static bool reap(struct daemon *d, int timeout_ms)
{
    struct pollfd p = { .fd = d->pidfd, .events = POLLIN };

    if (d->reaped)
        return true;
    if (poll(&p, 1, timeout_ms) != 1)
        return false;
    d->reaped = waitpid(d->pid, &d->status, 0) == d->pid;
    return d->reaped;
}

bool daemon_wait_gone(struct daemon *d)
{
    return d && reap(d, DEADLINE_MS);
}

static bool is_daemon(pid_t pid)
{
    for (int i = 0; i < DAEMONS_MAX; i++) {
        if (alive[i] && alive[i]->pid == pid)
            return true;
    }
    return false;
}

/*
 * Orphans have become our children.  Those on their way out get the time;
 * one that stays is a fault of the daemon.  Descendants of another daemon of
 * this test are not ours to judge: they hang below that one.
 */
static size_t end_strays(int timeout_ms)
{
    pid_t pids[64];
    size_t n = proc_add_children(getpid(), pids, 0, 64), strays = 0;

    for (size_t i = 0; i < n; i++) {
        struct pollfd p = { .events = POLLIN };

        /* Only children of our own: deeper ones belong to someone alive. */
        if (is_daemon(pids[i]) || proc_parent(pids[i]) != getpid())
            continue;
        p.fd = proc_pidfd(pids[i]);
        if (p.fd < 0)
            continue;
        if (poll(&p, 1, timeout_ms) == 0) {
            tap_diag("process %d is left behind", (int)pids[i]);
            strays++;
            kill(pids[i], SIGKILL);
        }
        close(p.fd);
        waitpid(pids[i], NULL, 0);
    }
    return strays;
}

/* The pipe ends with its last writer, so this also waits for strays. */
static void finish_log(struct daemon *d)
{
    pthread_join(d->reader, NULL);
    close(d->log_fd);
}

static void judge_end(const struct daemon *d, enum daemon_want want)
{
    int code = WEXITSTATUS(d->status);

    if (WIFSIGNALED(d->status)) {
        CHECK_EQ(WTERMSIG(d->status), want == END_KILLED ? SIGKILL : 0,
                 "no other signal ends the daemon");
        return;
    }
    switch (want) {
    case END_ZERO:
        CHECK_EQ(code, 0, "the daemon's exit code");
        break;
    case END_NONZERO:
        CHECK(code != 0, "the daemon's exit code tells of the fault");
        break;
    case END_EXIT:
        CHECK(code == 0 || code == 1, "the daemon's exit code");
        break;
    case END_KILLED:
        CHECK(false, "the daemon has been killed, it did not exit");
        break;
    }
}

bool daemon_end(struct daemon *d, enum daemon_want want)
{
    bool well;

    if (!d)
        return false;
    if (reap(d, DEADLINE_MS)) {
        judge_end(d, want);
    } else {
        CHECK(false, "the daemon ends");
        kill_tree(d);
        reap(d, DEADLINE_MS);
    }
    CHECK_EQ(end_strays(DEADLINE_MS / 3), 0, "no process is left behind");
    finish_log(d);
    CHECK(!strstr(d->log, "Sanitizer"), "no sanitizer complains");
    CHECK(!strstr(d->log, "runtime error:"), "no sanitizer complains");
    well = !tap_failing();
    if (!well)
        print_log(d);
    free_daemon(d);
    return well;
}

void daemon_kill(struct daemon *d)
{
    if (!d)
        return;
    kill_tree(d);
    reap(d, DEADLINE_MS);
    end_strays(0);
    finish_log(d);
    if (tap_failing())
        print_log(d);
    free_daemon(d);
}
