/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/guest/posix/battery.h"
#include "tests/guest/posix/harness.h"

const struct bat_user root = { "root", 0, 0, 0, { 0 } };
const struct bat_user alice = { "alice", 20001, 20001, 1, { CREW } };
const struct bat_user bob = { "bob", 20002, 20002, 1, { CREW } };
const struct bat_user carol = { "carol", 20003, 20003, 0, { 0 } };

static char prefix[128];

void harness_enter(const char *area, const char *name)
{
    snprintf(prefix, sizeof(prefix), "%s.%s", area, name);
}

const char *err_name(int err)
{
    const char *name = strerrorname_np(err);

    return name ? name : "an unknown error";
}

static void line(const char *label, const char *value, const char *wanted)
{
    char text[1024];

    /* One write a line: processes of one case share the output. */
    snprintf(text, sizeof(text), "%s: %s = %s%s%s\n", prefix, label, value,
             wanted ? " !" : "", wanted ? wanted : "");
    fputs(text, stdout);
    fflush(stdout);
}

long want(int err, const char *label, long ret)
{
    int got = ret < 0 ? errno : 0;

    line(label, got ? err_name(got) : "ok",
         got == err ? NULL : (err ? err_name(err) : "ok"));
    return ret;
}

long see(const char *label, long ret)
{
    line(label, ret < 0 ? err_name(errno) : "ok", NULL);
    return ret;
}

void eq(const char *label, long long got, long long wanted)
{
    char text[32], other[32];

    snprintf(text, sizeof(text), "%lld", got);
    snprintf(other, sizeof(other), "%lld", wanted);
    line(label, text, got == wanted ? NULL : other);
}

void tell(const char *label, const char *format, ...)
{
    char text[700];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    line(label, text, NULL);
}

void truth(const char *label, bool got, bool wanted)
{
    line(label, got ? "yes" : "no",
         got == wanted ? NULL : (wanted ? "yes" : "no"));
}

void fact(const char *label, bool got)
{
    line(label, got ? "yes" : "no", NULL);
}

static const char *person(unsigned int id)
{
    static char number[2][16];
    static int turn;

    switch (id) {
    case 0:
        return "root";
    case 20001:
        return "alice";
    case 20002:
        return "bob";
    case 20003:
        return "carol";
    case CREW:
        return "crew";
    default:
        turn = !turn;
        snprintf(number[turn], sizeof(number[turn]), "%u", id);
        return number[turn];
    }
}

static void look_at(const char *label, const struct stat *st)
{
    static const char types[] = "?pc?d?b?-?l?s???";
    char size[32] = "";

    /* Directories are as large as their file system likes. */
    if (!S_ISDIR(st->st_mode))
        snprintf(size, sizeof(size), " %lld", (long long)st->st_size);
    tell(label, "%c%04o %u %s:%s%s", types[(st->st_mode & S_IFMT) >> 12],
         st->st_mode & 07777, (unsigned int)st->st_nlink, person(st->st_uid),
         person(st->st_gid), size);
}

void look(const char *label, const char *path)
{
    struct stat st;

    if (lstat(path, &st) < 0)
        see(label, -1);
    else
        look_at(label, &st);
}

void look_fd(const char *label, int fd)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        see(label, -1);
    else
        look_at(label, &st);
}

void bytes(const char *label, const void *p, ssize_t n, const char *wanted)
{
    const unsigned char *c = p;
    char text[420];
    size_t used = 0;

    if (n < 0) {
        see(label, -1);
        return;
    }
    text[0] = '\0';
    for (ssize_t i = 0; i < n && i < 100; i++) {
        if (c[i] >= ' ' && c[i] < 127 && c[i] != '\\')
            used += (size_t)snprintf(text + used, 5, "%c", c[i]);
        else
            used += (size_t)snprintf(text + used, 5, "\\%03o", c[i]);
    }
    line(label, text,
         !wanted ||
                 ((size_t)n == strlen(wanted) && !memcmp(p, wanted, (size_t)n))
             ? NULL
             : wanted);
}

void content(const char *label, const char *path, const char *wanted)
{
    char buf[100];
    ssize_t n = -1;
    int fd;

    fd = open(path, O_RDONLY | O_NONBLOCK);
    if (fd >= 0)
        n = read(fd, buf, sizeof(buf));
    bytes(label, buf, n, wanted);
    if (fd >= 0)
        close(fd);
}

void need(bool ok, const char *what)
{
    if (ok)
        return;
    tell("stands on", "%s: %s", what, err_name(errno));
    over();
}

int make_open(const char *path, int flags, mode_t mode)
{
    int fd = open(path, flags | O_CREAT, 0600);

    need(fd >= 0 && fchmod(fd, mode) == 0, path);
    return fd;
}

void make(const char *path, mode_t mode, const char *text)
{
    int fd = make_open(path, O_WRONLY | O_TRUNC, mode);
    size_t n = strlen(text);

    need(write(fd, text, n) == (ssize_t)n, path);
    need(fchmod(fd, mode) == 0, path); /* what the write cleared */
    need(close(fd) == 0, path);
}

void make_dir(const char *path, mode_t mode)
{
    need(mkdir(path, 0700) == 0 && chmod(path, mode) == 0, path);
}

void own(const char *path, uid_t uid, gid_t gid)
{
    struct stat st;

    need(lstat(path, &st) == 0 && lchown(path, uid, gid) == 0, path);
    need(S_ISLNK(st.st_mode) || chmod(path, st.st_mode & 07777) == 0, path);
}

void pattern(void *p, size_t n, uint64_t from)
{
    unsigned char *c = p;

    for (size_t i = 0; i < n; i++) {
        uint64_t at = from + i;

        c[i] = (unsigned char)(at ^ at >> 8 ^ at >> 16 ^ 0x5a);
    }
}

bool is_pattern(const void *p, size_t n, uint64_t from)
{
    const unsigned char *c = p;
    unsigned char w;

    for (size_t i = 0; i < n; i++) {
        pattern(&w, 1, from + i);
        if (c[i] != w)
            return false;
    }
    return true;
}

void over(void)
{
    fflush(stdout);
    _exit(0);
}

pid_t begin(const struct bat_user *who)
{
    pid_t pid;

    fflush(stdout);
    pid = fork();
    need(pid >= 0, "fork");
    if (pid > 0)
        return pid;
    alarm(60);
    if (who->uid != 0) {
        need(setgroups(who->n_groups, who->groups) == 0, "setgroups");
        need(setresgid(who->gid, who->gid, who->gid) == 0, "setgid");
        need(setresuid(who->uid, who->uid, who->uid) == 0, "setuid");
    }
    return 0;
}

void await(pid_t pid)
{
    int status;

    need(waitpid(pid, &status, 0) == pid, "waitpid");
    if (WIFSIGNALED(status))
        tell("a process ends", "SIG%s", sigabbrev_np(WTERMSIG(status)));
    else if (WEXITSTATUS(status) != 0)
        tell("a process ends", "exit %d", WEXITSTATUS(status));
}

bool as(const struct bat_user *who)
{
    pid_t pid = begin(who);

    if (pid == 0)
        return true;
    await(pid);
    return false;
}

void moment(void)
{
    struct timespec ts = { 0, 15 * 1000 * 1000 };

    nanosleep(&ts, NULL);
}

const char *fmt(const char *format, ...)
{
    static char buf[64][256];
    static unsigned int turn;
    char *p = buf[turn++ % 64];
    va_list ap;

    va_start(ap, format);
    vsnprintf(p, sizeof(buf[0]), format, ap);
    va_end(ap);
    return p;
}
