/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/bench/peer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/daemon.h"
#include "tests/lib/proc.h"
#include "virtiofsd/base/util.h"

#define COMMAND_MAX 4096
#define TICK_MS     10

static bool append(char *buf, size_t max, const char *text, size_t len)
{
    size_t at = strlen(buf);

    if (at + len + 1 > max)
        return false;
    memcpy(buf + at, text, len);
    buf[at + len] = '\0';
    return true;
}

/* Return: false when it does not fit. */
static bool build_command(const struct peer *p, const char *share, char *out)
{
    const char *at = p->command, *brace;
    bool ok = append(out, COMMAND_MAX, "exec ", 5);

    while ((brace = strchr(at, '{'))) {
        const char *with = NULL;
        size_t skip = 1;

        if (strncmp(brace, "{socket}", 8) == 0) {
            with = p->socket;
            skip = 8;
        } else if (strncmp(brace, "{share}", 7) == 0) {
            with = share;
            skip = 7;
        }
        ok = ok && append(out, COMMAND_MAX, at, (size_t)(brace - at)) &&
             append(out, COMMAND_MAX, with ? with : brace,
                    with ? strlen(with) : skip);
        at = brace + skip;
    }
    ok = ok && append(out, COMMAND_MAX, at, strlen(at));
    if (!strstr(p->command, "{socket}")) {
        char more[512];
        int n = snprintf(more, sizeof(more),
                         " --socket-path=%s --shared-dir=%s", p->socket, share);

        ok = ok && n < (int)sizeof(more) &&
             append(out, COMMAND_MAX, more, (size_t)n);
    }
    return ok;
}

static _Noreturn void run_child(const struct peer *p, const char *command,
                                pid_t parent)
{
    int log = open(p->log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    int null = open("/dev/null", O_RDONLY);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(126);
    setpgid(0, 0);
    dup2(null, 0);
    dup2(log, 1);
    dup2(log, 2);
    signal(SIGPIPE, SIG_DFL);
    execl("/bin/sh", "sh", "-c", command, NULL);
    _exit(127);
}

static bool gone(struct peer *p)
{
    /* -1: collected already, with the orphans of another. */
    if (p->pid > 0 && waitpid(p->pid, NULL, WNOHANG) != 0)
        p->pid = -1;
    return p->pid <= 0;
}

int peer_start(struct peer *p, const char *dir, const char *share)
{
    char command[COMMAND_MAX] = "";
    pid_t me = getpid();
    struct stat st;

    snprintf(p->socket, sizeof(p->socket), "%s/%s.sock", dir, p->name);
    snprintf(p->log, sizeof(p->log), "%s/%s.log", dir, p->name);
    p->npids = 0;
    if (!build_command(p, share, command))
        return -ENAMETOOLONG;
    unlink(p->socket);
    p->pid = fork();
    if (p->pid == 0)
        run_child(p, command, me);
    if (p->pid < 0)
        return -errno;
    for (int ms = 0; ms < DEADLINE_MS; ms += TICK_MS) {
        if (lstat(p->socket, &st) == 0 && S_ISSOCK(st.st_mode))
            return 0;
        if (gone(p))
            return -ECHILD;
        usleep(TICK_MS * 1000);
    }
    peer_end(p);
    return -ETIMEDOUT;
}

void peer_find_processes(struct peer *p)
{
    p->pids[0] = p->pid;
    p->npids = 1 + (unsigned int)proc_descendants(p->pid, p->pids + 1,
                                                  PEER_PIDS_MAX - 1);
}

void peer_end(struct peer *p)
{
    for (int ms = 0; ms < DEADLINE_MS && !gone(p); ms += TICK_MS) {
        if (ms == DEADLINE_MS / 6) {
            peer_find_processes(p);
            for (unsigned int i = 0; i < p->npids; i++)
                kill(p->pids[i], SIGKILL);
        }
        usleep(TICK_MS * 1000);
    }
    unlink(p->socket);
    /* Orphans of a daemon have become our children; this one is a reaper. */
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
}

void peer_print_log(const struct peer *p)
{
    FILE *f = fopen(p->log, "re");
    char line[256];

    while (f && fgets(line, sizeof(line), f)) {
        line[strcspn(line, "\n")] = '\0';
        printf("# %s | %s\n", p->name, line);
    }
    if (f)
        fclose(f);
}

/* A small file of /proc.  Return: false when there is none. */
static bool slurp(const char *path, char *buf, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, buf, size - 1) : -1;

    if (fd >= 0)
        close(fd);
    buf[n > 0 ? n : 0] = '\0';
    return n > 0;
}

static uint64_t number_after(const char *text, const char *key)
{
    const char *at = strstr(text, key);
    unsigned long long v = 0;

    return at && sscanf(at + strlen(key), "%llu", &v) == 1 ? v : 0;
}

static uint64_t ticks_to_ns(uint64_t ticks)
{
    return ticks * (1000000000u / (uint64_t)sysconf(_SC_CLK_TCK));
}

static void add_thread(const char *task, struct peer_usage *u)
{
    unsigned long long a = 0, b = 0;
    char path[320], buf[4096], *at;

    snprintf(path, sizeof(path), "%s/schedstat", task);
    if (slurp(path, buf, sizeof(buf)) && sscanf(buf, "%llu", &a) == 1) {
        u->cpu_ns += a;
    } else {
        u->exact = false;
        snprintf(path, sizeof(path), "%s/stat", task);
        if (slurp(path, buf, sizeof(buf)) && (at = strrchr(buf, ')')) &&
            sscanf(at + 1,
                   " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu %llu", &a,
                   &b) == 2)
            u->cpu_ns += ticks_to_ns(a + b);
    }
    snprintf(path, sizeof(path), "%s/status", task);
    if (slurp(path, buf, sizeof(buf))) {
        u->switches += number_after(buf, "\nvoluntary_ctxt_switches:");
        u->preempted += number_after(buf, "\nnonvoluntary_ctxt_switches:");
    }
}

void peer_usage(const struct peer *p, struct peer_usage *u)
{
    char path[64], task[320];
    struct dirent *e;
    DIR *d;

    *u = (struct peer_usage){ .exact = true };
    for (unsigned int i = 0; i < p->npids; i++) {
        snprintf(path, sizeof(path), "/proc/%d/task", (int)p->pids[i]);
        d = opendir(path);
        while (d && (e = readdir(d))) {
            if (e->d_name[0] == '.')
                continue;
            snprintf(task, sizeof(task), "%s/%s", path, e->d_name);
            add_thread(task, u);
        }
        if (d)
            closedir(d);
    }
}

/* Of /proc/PID/fdinfo: is O_DIRECT among the flags? */
static bool fd_is_direct(pid_t pid, const char *fd)
{
    char path[320], buf[1024], *at;
    unsigned int flags = 0;

    snprintf(path, sizeof(path), "/proc/%d/fdinfo/%s", (int)pid, fd);
    return slurp(path, buf, sizeof(buf)) && (at = strstr(buf, "flags:")) &&
           sscanf(at + 6, "%o", &flags) == 1 && (flags & O_DIRECT) &&
           !(flags & O_PATH);
}

bool peer_has_direct(const struct peer *p, const char *file)
{
    struct stat want, st;
    char path[320];
    struct dirent *e;
    bool found = false;
    DIR *d;

    if (stat(file, &want) < 0)
        return false;
    for (unsigned int i = 0; i < p->npids && !found; i++) {
        snprintf(path, sizeof(path), "/proc/%d/fd", (int)p->pids[i]);
        d = opendir(path);
        while (d && !found && (e = readdir(d))) {
            snprintf(path, sizeof(path), "/proc/%d/fd/%s", (int)p->pids[i],
                     e->d_name);
            found = e->d_name[0] != '.' && stat(path, &st) == 0 &&
                    st.st_ino == want.st_ino && st.st_dev == want.st_dev &&
                    fd_is_direct(p->pids[i], e->d_name);
        }
        if (d)
            closedir(d);
    }
    return found;
}

static bool is_traced(const char *status)
{
    char buf[4096];

    return !slurp(status, buf, sizeof(buf)) ||
           number_after(buf, "\nTracerPid:") != 0;
}

static bool all_traced(const struct peer *p)
{
    char path[320];
    struct dirent *e;
    bool all = true;
    DIR *d;

    for (unsigned int i = 0; i < p->npids && all; i++) {
        snprintf(path, sizeof(path), "/proc/%d/task", (int)p->pids[i]);
        d = opendir(path);
        while (d && all && (e = readdir(d))) {
            snprintf(path, sizeof(path), "/proc/%d/task/%s/status",
                     (int)p->pids[i], e->d_name);
            all = e->d_name[0] == '.' || is_traced(path);
        }
        if (d)
            closedir(d);
    }
    return all;
}

pid_t peer_trace(const struct peer *p, const char *out)
{
    const char *argv[6 + 2 * PEER_PIDS_MAX] = { "strace", "-c", "-f", "-o",
                                                out };
    char numbers[PEER_PIDS_MAX][16];
    int n = 5;
    pid_t pid;

    for (unsigned int i = 0; i < p->npids; i++) {
        snprintf(numbers[i], sizeof(numbers[i]), "%d", (int)p->pids[i]);
        argv[n++] = "-p";
        argv[n++] = numbers[i];
    }
    argv[n] = NULL;
    pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);

        prctl(PR_SET_PDEATHSIG, SIGINT);
        dup2(null, 1);
        dup2(null, 2);
        execvp(argv[0], (char **)(uintptr_t)argv);
        _exit(127);
    }
    if (pid < 0)
        return -errno;
    for (int ms = 0; ms < DEADLINE_MS; ms += TICK_MS) {
        if (waitpid(pid, NULL, WNOHANG) == pid)
            return -ENOENT;
        if (all_traced(p))
            return pid;
        usleep(TICK_MS * 1000);
    }
    peer_trace_end(pid);
    return -ETIMEDOUT;
}

void peer_trace_end(pid_t strace)
{
    kill(strace, SIGINT);
    waitpid(strace, NULL, 0);
}
