/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtiofsd/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sandbox/caps.h"
#include "sandbox/fds.h"
#include "sandbox/namespaces.h"
#include "sandbox/seccomp.h"
#include "virtiofsd/base/fd.h"
#include "virtiofsd/base/log.h"
#include "virtiofsd/base/util.h"
#include "virtiofsd/boot.h"
#include "virtiofsd/daemon.h"
#include "virtiofsd/role.h"
#include "virtiofsd/socket.h"
#include "virtiofsd/spawn.h"

/* For an orderly end, for the other role when one has crashed, and for a
 * killed role that hangs in the kernel. */
#define GRACE_STOP_NS  INT64_C(2000000000)
#define GRACE_CRASH_NS INT64_C(300000000)
#define GRACE_KILL_NS  INT64_C(2000000000)

#define WAITING_LINE "virtiofsd: Waiting for vhost-user socket connection...\n"

enum sv_state { SV_STARTING, SV_WAITING, SV_SERVING, SV_STOPPING };

static const char *const state_name[] = {
    [SV_STARTING] = "starting",
    [SV_WAITING] = "waiting",
    [SV_SERVING] = "serving",
    [SV_STOPPING] = "stopping",
};

struct supervisor {
    const struct options *opts;
    enum sv_state state;
    enum sv_exit exit_code;
    int signal_fd;
    int root_fd;   /* until it has been sent */
    int cmd_fd[2]; /* control's end, request's end; until sent */
    int evt_fd[2];
    int daemon_fd;       /* --daemonize: tells the launched process; or -1 */
    int64_t deadline_ns; /* STOPPING: then what lives is killed */
    bool killed;
    bool signalled;
    struct listener listener;
    struct role_proc vhost, fuse;
};

static void set_state(struct supervisor *s, enum sv_state to, const char *why)
{
    /* Every edge goes forward, and none skips WAITING but the one to
     * STOPPING. */
    BUG_ON(to != SV_STOPPING && to != s->state + 1);
    log_debug("supervisor: %s -> %s: %s", state_name[s->state], state_name[to],
              why);
    s->state = to;
}

static void kill_roles(struct supervisor *s)
{
    if (s->vhost.pid)
        kill(s->vhost.pid, SIGKILL);
    if (s->fuse.pid)
        kill(s->fuse.pid, SIGKILL);
    s->killed = true;
    s->deadline_ns = now_ns() + GRACE_KILL_NS;
}

/* The first reason to stop decides the exit code. */
static void stop(struct supervisor *s, enum sv_exit code, int64_t grace_ns,
                 const char *why)
{
    if (s->state == SV_STOPPING)
        return;
    set_state(s, SV_STOPPING, why);
    s->exit_code = code;
    s->deadline_ns = now_ns() + grace_ns;
    fd_close(&s->vhost.link_fd);
    fd_close(&s->fuse.link_fd);
}

static const char *role_title(const struct role_proc *p)
{
    return p->role == SANDBOX_ROLE_FUSE ? "request process" : "control process";
}

/* Return: true when the role ended as it should. */
static bool tell_end(const struct supervisor *s, const struct role_proc *p,
                     pid_t pid)
{
    int code = WIFEXITED(p->status) ? WEXITSTATUS(p->status) : -1;

    if (code == ROLE_EXIT_OK)
        return true;
    if (s->killed && WIFSIGNALED(p->status) && WTERMSIG(p->status) == SIGKILL)
        return false;
    if (WIFSIGNALED(p->status))
        /* A thread that had all signals blocked, as one being born has,
         * could not name the call itself. */
        log_err("%s (%s, pid %d): killed by signal %d (%s)%s", role_title(p),
                sandbox_role_name(p->role), (int)pid, WTERMSIG(p->status),
                strsignal(WTERMSIG(p->status)),
                WTERMSIG(p->status) == SIGSYS
                    ? "; --seccomp=log has the kernel name the system call"
                    : "");
    else if (code == SECCOMP_EXIT_CODE)
        log_err("%s (%s, pid %d): exited with code %d, for a system call "
                "which it may not make",
                role_title(p), sandbox_role_name(p->role), (int)pid, code);
    else
        log_err("%s (%s, pid %d): exited with code %d%s", role_title(p),
                sandbox_role_name(p->role), (int)pid, code,
                code == ROLE_EXIT_PEER_GONE ? ", the other role was gone" : "");
    return false;
}

static void on_role_end(struct supervisor *s, struct role_proc *p, pid_t pid)
{
    bool serving = s->state == SV_SERVING;

    /* What it had to say comes before what we say about it. */
    if (p->log_fd >= 0)
        log_relay(p->log_fd);
    if (tell_end(s, p, pid)) {
        stop(s, serving ? SV_EXIT_OK : SV_EXIT_FAIL, GRACE_STOP_NS,
             "a role ended");
        return;
    }
    /* An orderly stop that ends in a crash is no orderly stop.  The request
     * role may even be seen to end well, with its channels closed, before
     * the crash of control that closed them. */
    if (!s->killed)
        s->exit_code = SV_EXIT_FAIL;
    stop(s, SV_EXIT_FAIL, GRACE_CRASH_NS, "a role failed");
}

static void reap(struct supervisor *s)
{
    /* The request role first: control may have failed because it did. */
    struct role_proc *const roles[] = { &s->fuse, &s->vhost };

    for (size_t i = 0; i < ARRAY_SIZE(roles); i++) {
        struct role_proc *p = roles[i];
        pid_t pid = p->pid;

        if (pid && waitpid(pid, &p->status, WNOHANG) == pid) {
            p->pid = 0;
            on_role_end(s, p, pid);
        }
    }
}

static void on_signal(struct supervisor *s)
{
    struct signalfd_siginfo si;

    while (read(s->signal_fd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
        if (si.ssi_signo == SIGCHLD)
            continue;
        log_info("%s: shutting down", strsignal((int)si.ssi_signo));
        s->signalled = true;
        /* Before a front-end is there, nobody's data is under way. */
        stop(s, SV_EXIT_OK, s->state == SV_SERVING ? GRACE_STOP_NS : 0,
             "signal");
    }
    reap(s);
}

static int boot_role(struct supervisor *s, struct role_proc *p)
{
    bool fuse = p->role == SANDBOX_ROLE_FUSE;
    struct boot_msg msg = { .role = p->role,
                            .log_level = s->opts->log_level,
                            .rlimit_nofile = s->opts->rlimit_nofile,
                            .sandbox = s->opts->sandbox };
    int *cmd = &s->cmd_fd[fuse], *evt = &s->evt_fd[fuse];
    int fds[BOOT_FDS];
    int ret;

    if (fuse) {
        msg.u.fuse.pt = s->opts->pt;
        msg.u.fuse.thread_pool_size = s->opts->thread_pool_size;
        msg.u.fuse.poll_us = s->opts->poll_us;
    } else {
        memcpy(msg.u.vhost.tag, s->opts->tag, sizeof(msg.u.vhost.tag));
        msg.u.vhost.num_request_queues = s->opts->num_request_queues;
    }
    fds[BOOT_CMD_FD] = *cmd;
    fds[BOOT_EVT_FD] = *evt;
    fds[BOOT_LOG_FD] = p->log_write_fd;
    fds[BOOT_ROOT_FD] = s->root_fd;
    ret = boot_send(p->link_fd, &msg, fds);
    if (ret < 0)
        log_err("start: %s: %s", role_title(p), strerror(-ret));
    /* Ours would keep each end from seeing the other's end. */
    fd_close(cmd);
    fd_close(evt);
    fd_close(&p->log_write_fd);
    if (fuse)
        fd_close(&s->root_fd);
    return ret;
}

/* Both roles run, sandboxed: now we lock ourselves in too. */
static void become_ready(struct supervisor *s)
{
    struct sandbox_files files = { -1, -1, STDERR_FILENO, s->listener.dir_fd };

    if (sandbox_enter(SANDBOX_ROLE_SUPERVISOR, &s->opts->sandbox, 0, &files) <
        0) {
        stop(s, SV_EXIT_FAIL, 0, "sandbox");
        return;
    }
    set_state(s, SV_WAITING, "both roles are ready");
    /* Launchers wait for this very text, on stderr, whatever the log. */
    if (write(STDERR_FILENO, WAITING_LINE, sizeof(WAITING_LINE) - 1) < 0)
        log_debug("supervisor: stderr: %s", strerror(errno));
    daemon_ready(&s->daemon_fd);
}

/*
 * Request role first, control second: control greets the request role at
 * its start, with a time-out that is not meant to hold the other's start.
 */
static void on_link(struct supervisor *s, struct role_proc *p)
{
    if (link_recv(p->link_fd, LINK_READY, NULL) < 0) {
        /* Its end is told by SIGCHLD, which knows more. */
        fd_close(&p->link_fd);
        return;
    }
    p->ready = true;
    if (p == &s->vhost)
        become_ready(s);
    else if (boot_role(s, &s->vhost) < 0)
        stop(s, SV_EXIT_FAIL, GRACE_CRASH_NS, "control can not be told");
}

static void on_client(struct supervisor *s)
{
    auto_fd client = -1;
    int ret = listener_accept(&s->listener, &client);

    if (ret == -EAGAIN)
        return;
    if (ret == 0)
        ret = link_send(s->vhost.link_fd, LINK_CLIENT, client);
    if (ret < 0) {
        log_err("start: the front-end's socket: %s", strerror(-ret));
        /* Most likely control has died this moment; that is told next. */
        stop(s, SV_EXIT_FAIL, GRACE_CRASH_NS, "no front-end");
        return;
    }
    log_info("front-end connected");
    set_state(s, SV_SERVING, "front-end connected");
}

static void on_log(struct role_proc *p)
{
    if (log_relay(p->log_fd) == 0)
        fd_close(&p->log_fd);
}

static int poll_timeout_ms(const struct supervisor *s)
{
    int64_t left = s->deadline_ns - now_ns();

    if (s->state != SV_STOPPING)
        return -1;
    return left <= 0 ? 0 : (int)(left / 1000000) + 1;
}

enum {
    POLL_SIGNAL,
    POLL_LISTEN,
    POLL_VLOG,
    POLL_FLOG,
    POLL_VLINK,
    POLL_FLINK,
    POLL_N
};

static void poll_once(struct supervisor *s)
{
    struct pollfd p[POLL_N];
    const bool starting = s->state == SV_STARTING;

    for (int i = 0; i < POLL_N; i++)
        p[i] = (struct pollfd){ .fd = -1, .events = POLLIN };
    p[POLL_SIGNAL].fd = s->signal_fd;
    if (s->state == SV_WAITING)
        p[POLL_LISTEN].fd = s->listener.fd;
    p[POLL_VLOG].fd = s->vhost.log_fd;
    p[POLL_FLOG].fd = s->fuse.log_fd;
    if (starting && !s->vhost.ready)
        p[POLL_VLINK].fd = s->vhost.link_fd;
    if (starting && !s->fuse.ready)
        p[POLL_FLINK].fd = s->fuse.link_fd;
    if (poll(p, POLL_N, poll_timeout_ms(s)) < 0)
        return;
    if (p[POLL_VLOG].revents)
        on_log(&s->vhost);
    if (p[POLL_FLOG].revents)
        on_log(&s->fuse);
    if (p[POLL_FLINK].revents)
        on_link(s, &s->fuse);
    if (p[POLL_VLINK].revents && s->state == SV_STARTING)
        on_link(s, &s->vhost);
    if (p[POLL_SIGNAL].revents)
        on_signal(s);
    if (p[POLL_LISTEN].revents && s->state == SV_WAITING)
        on_client(s);
}

static void run_loop(struct supervisor *s)
{
    while (s->vhost.pid || s->fuse.pid) {
        poll_once(s);
        if (s->state != SV_STOPPING || now_ns() < s->deadline_ns)
            continue;
        if (s->killed) {
            log_warn("supervisor: a killed role does not end; leaving it to "
                     "the kernel");
            break;
        }
        kill_roles(s);
    }
    if (s->vhost.log_fd >= 0)
        log_relay(s->vhost.log_fd);
    if (s->fuse.log_fd >= 0)
        log_relay(s->fuse.log_fd);
    if (s->exit_code == SV_EXIT_OK && !s->signalled)
        log_info("Client disconnected, shutting down");
}

static int open_signals(struct supervisor *s)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    signal(SIGPIPE, SIG_IGN);
    /* A launcher may have left it ignored: then nobody could be waited for. */
    signal(SIGCHLD, SIG_DFL);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return -errno;
    s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return s->signal_fd < 0 ? -errno : 0;
}

static int open_channels(struct supervisor *s)
{
    const int type = SOCK_SEQPACKET | SOCK_CLOEXEC;

    if (socketpair(AF_UNIX, type, 0, s->cmd_fd) < 0 ||
        socketpair(AF_UNIX, type, 0, s->evt_fd) < 0) {
        int ret = -errno;

        log_err("start: socketpair: %s", strerror(-ret));
        return ret;
    }
    return 0;
}

/* A directory, or a single file.  Of anything else a guest could use nothing:
 * it is not opened for I/O. */
static int open_share(const char *path)
{
    auto_fd fd = open(path, O_PATH | O_CLOEXEC);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0) {
        int ret = -errno;

        log_err("shared directory: %s: %s", path, strerror(-ret));
        return ret;
    }
    if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode)) {
        log_err("shared directory: %s: is neither a directory nor a regular "
                "file",
                path);
        return -ENOTDIR;
    }
    return take_fd(&fd);
}

/* Everything a start can fail on, in an order that fails early and cheap. */
static int start(struct supervisor *s)
{
    const struct options *o = s->opts;
    int ret = open_signals(s);

    if (ret < 0)
        return ret;
    ret = open_share(o->shared_dir);
    if (ret < 0)
        return ret;
    s->root_fd = ret;
    if (o->listen_fd >= 0)
        ret = listener_adopt(&s->listener, o->listen_fd);
    else
        ret = listener_make(&s->listener, o->socket_path, o->socket_group);
    if (ret == 0)
        ret = open_channels(s);
    if (ret == 0)
        ret = spawn_role(&s->fuse, &o->sandbox, s->root_fd);
    if (ret == 0)
        ret = spawn_role(&s->vhost, &o->sandbox, -1);
    if (ret == 0)
        ret = boot_role(s, &s->fuse);
    return ret;
}

static void finish(struct supervisor *s)
{
    listener_close(&s->listener);
    spawn_release(&s->vhost);
    spawn_release(&s->fuse);
    for (int i = 0; i < 2; i++) {
        fd_close(&s->cmd_fd[i]);
        fd_close(&s->evt_fd[i]);
    }
    fd_close(&s->root_fd);
    fd_close(&s->signal_fd);
    fd_close(&s->daemon_fd);
}

/* What can be told to be wrong before anything is touched. */
static enum sv_exit check(const struct options *o)
{
    char err[256];

    if (caps_check_modcaps(o->sandbox.modcaps, err, sizeof(err)) < 0) {
        log_err("%s", err);
        return SV_EXIT_USAGE;
    }
    if (namespaces_check(&o->sandbox, err, sizeof(err)) < 0) {
        log_err("%s", err);
        return SV_EXIT_FAIL;
    }
    return SV_EXIT_OK;
}

enum sv_exit supervisor_run(const struct options *opts)
{
    struct supervisor s = { .opts = opts,
                            .state = SV_STARTING,
                            .signal_fd = -1,
                            .root_fd = -1,
                            .cmd_fd = { -1, -1 },
                            .evt_fd = { -1, -1 },
                            .daemon_fd = -1,
                            .listener = LISTENER_INIT,
                            .vhost = ROLE_PROC_INIT(SANDBOX_ROLE_VHOST),
                            .fuse = ROLE_PROC_INIT(SANDBOX_ROLE_FUSE) };
    enum sv_exit code;
    int ret;

    ret = fds_fill_stdio();
    if (ret == 0)
        ret = fds_close_except(&opts->listen_fd, 1);
    if (ret < 0)
        return SV_EXIT_FAIL;
    log_set_level(opts->log_level);
    if (opts->syslog)
        log_to_syslog();
    code = check(opts);
    if (code != SV_EXIT_OK)
        return code;
    if (opts->daemonize && daemon_fork(&s.daemon_fd, &ret) != 0)
        return ret == 0 ? SV_EXIT_OK : SV_EXIT_FAIL;
    /* The time zone is read now, for syslog lines of later. */
    tzset();
    if (start(&s) < 0)
        stop(&s, SV_EXIT_FAIL, 0, "start");
    run_loop(&s);
    finish(&s);
    return s.exit_code;
}
