/* SPDX-License-Identifier: BSD-3-Clause */
#include "sandbox/seccomp.h"

#include <errno.h>
#include <linux/prctl.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "virtiofsd/base/log.h"
#include "virtiofsd/base/util.h"

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif

/* What the C library does on its own, in any process of ours. */
/* clang-format off */
static const struct sc_rule common_rules[] = {
    SC_ALLOW("read"), SC_ALLOW("write"), SC_ALLOW("readv"),
    SC_ALLOW("writev"), SC_ALLOW("close"), SC_ALLOW("close_range"),
    SC_ALLOW("fstat"), SC_ALLOW("fstat64"), SC_ALLOW("lseek"),
    SC_ALLOW("_llseek"), SC_ALLOW("dup"),
    SC_ALLOW("poll"), SC_ALLOW("ppoll"), SC_ALLOW("ppoll_time64"),
    SC_ALLOW("select"), SC_ALLOW("_newselect"), SC_ALLOW("pselect6"),
    SC_ALLOW("recvmsg"), SC_ALLOW("sendmsg"), SC_ALLOW("recvfrom"),
    SC_ALLOW("sendto"), SC_ALLOW("recv"), SC_ALLOW("send"),
    SC_ALLOW("shutdown"),
    SC_ALLOW("brk"), SC_ALLOW("munmap"), SC_ALLOW("mremap"),
    SC_ALLOW("madvise"), SC_ALLOW("mincore"),
    SC_ALLOW_IF("mprotect", SC_IS_MASK(2, PROT_EXEC, 0)),
    SC_ALLOW("futex"), SC_ALLOW("futex_time64"), SC_ALLOW("membarrier"),
    SC_ALLOW("set_robust_list"), SC_ALLOW("rseq"), SC_ALLOW("sched_yield"),
    SC_ALLOW("sched_getaffinity"), SC_ALLOW("getcpu"),
    SC_ALLOW("clock_gettime"), SC_ALLOW("clock_gettime64"),
    SC_ALLOW("clock_getres"), SC_ALLOW("clock_nanosleep"),
    SC_ALLOW("clock_nanosleep_time64"), SC_ALLOW("nanosleep"),
    SC_ALLOW("gettimeofday"), SC_ALLOW("time"), SC_ALLOW("getrandom"),
    SC_ALLOW("getpid"), SC_ALLOW("gettid"), SC_ALLOW("getppid"),
    SC_ALLOW("getuid"), SC_ALLOW("geteuid"), SC_ALLOW("getgid"),
    SC_ALLOW("getegid"), SC_ALLOW("uname"), SC_ALLOW("sysinfo"),
    SC_ALLOW("rt_sigaction"), SC_ALLOW("rt_sigprocmask"),
    SC_ALLOW("rt_sigreturn"), SC_ALLOW("sigreturn"),
    SC_ALLOW("sigaltstack"), SC_ALLOW("rt_sigtimedwait"),
    SC_ALLOW("rt_sigtimedwait_time64"), SC_ALLOW("restart_syscall"),
    SC_ALLOW("exit"), SC_ALLOW("exit_group"),
    /* abort() and raise(); nobody else may be signalled. */
    SC_ALLOW_IF("tgkill", SC_IS_OWN_PID(0)),
    /* To read our own limits, not to set any. */
    SC_ALLOW_IF("prlimit64", SC_IS_EQ(2, 0)), SC_ALLOW("getrlimit"),
    SC_ALLOW("ugetrlimit"),
    SC_ALLOW_IF("prctl", SC_IS_EQ(0, PR_SET_NAME)),
    SC_ALLOW_IF("prctl", SC_IS_EQ(0, PR_GET_NAME)),
    /* malloc() names its arenas. */
    SC_ALLOW_IF("prctl", SC_IS_EQ(0, PR_SET_VMA)),
};

#ifdef SANITIZER_FILTER
static const struct sc_rule sanitizer_rules[] = {
    SC_ALLOW("open"), SC_ALLOW("openat"), SC_ALLOW("readlink"),
    SC_ALLOW("readlinkat"), SC_ALLOW("stat"), SC_ALLOW("lstat"),
    SC_ALLOW("newfstatat"), SC_ALLOW("statx"), SC_ALLOW("access"),
    SC_ALLOW("faccessat"), SC_ALLOW("faccessat2"), SC_ALLOW("getcwd"),
    SC_ALLOW("getdents64"), SC_ALLOW("clone"), SC_ALLOW("clone3"),
    SC_ALLOW("mmap"), SC_ALLOW("mmap2"), SC_ALLOW("mprotect"),
    SC_ALLOW("pipe"), SC_ALLOW("pipe2"), SC_ALLOW("prctl"),
    SC_ALLOW("prlimit64"), SC_ALLOW("setrlimit"), SC_ALLOW("getrusage"),
    SC_ALLOW("tgkill"), SC_ALLOW("ptrace"), SC_ALLOW("wait4"),
    SC_ALLOW("fcntl"), SC_ALLOW("ioctl"), SC_ALLOW("process_vm_readv"),
    SC_ALLOW("times"), SC_ALLOW("mlock"), SC_ALLOW("personality"),
};
static const struct sc_table sanitizer_table = {
    sanitizer_rules, ARRAY_SIZE(sanitizer_rules)
};
#endif
/* clang-format on */

const struct sc_table sc_table_common = { common_rules,
                                          ARRAY_SIZE(common_rules) };

/* Looked up in advance: libseccomp's own lookup allocates, and a signal
 * handler may not. */
#define NAMES_N   512
#define NAMES_LEN 28
static char names[NAMES_N][NAMES_LEN];
static char line_head[32]; /* "2fuse: error: ", the level for a pipe only */
static int line_fd = -1;

static char *put(char *p, const char *s)
{
    while (*s)
        *p++ = *s++;
    return p;
}

static char *put_number(char *p, unsigned int n)
{
    char digits[12];
    int i = 0;

    do {
        digits[i++] = (char)('0' + n % 10);
        n /= 10;
    } while (n);
    while (i)
        *p++ = digits[--i];
    return p;
}

/* Names the call and dies; only async-signal-safe calls in here. */
static void on_sigsys(int sig, siginfo_t *info, void *ctx)
{
    char line[128];
    unsigned int nr = (unsigned int)info->si_syscall;
    const char *name = nr < NAMES_N && names[nr][0] ? names[nr] : "unknown";
    char *p = put(line, line_head);

    (void)sig;
    (void)ctx;
    p = put(p, "seccomp: system call ");
    p = put_number(p, nr);
    p = put(p, " (");
    p = put(p, name);
    p = put(p, ") is not allowed\n");
    if (write(line_fd, line, (size_t)(p - line)) < 0)
        _exit(SECCOMP_EXIT_CODE);
    _exit(SECCOMP_EXIT_CODE);
}

static int prepare_handler(enum sandbox_role role, int log_fd)
{
    struct sigaction sa = { .sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO };
    sigset_t set;

    for (int nr = 0; nr < NAMES_N; nr++) {
        char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, nr);

        if (name)
            snprintf(names[nr], sizeof(names[nr]), "%s", name);
        free(name);
    }
    line_fd = log_fd;
    if (role == SANDBOX_ROLE_SUPERVISOR)
        snprintf(line_head, sizeof(line_head),
                 "%s: error: ", sandbox_role_name(role));
    else
        snprintf(line_head, sizeof(line_head),
                 "%c%s: error: ", '0' + LOG_LEVEL_ERROR,
                 sandbox_role_name(role));
    if (sigaction(SIGSYS, &sa, NULL) < 0)
        return -errno;
    sigemptyset(&set);
    sigaddset(&set, SIGSYS);
    return sigprocmask(SIG_UNBLOCK, &set, NULL) < 0 ? -errno : 0;
}

/* Return: false when there is nothing to compare. */
static bool arg_test(const struct sc_arg *a, struct scmp_arg_cmp *c)
{
    *c = (struct scmp_arg_cmp){ .arg = a->arg, .op = SCMP_CMP_EQ };
    switch (a->test) {
    case SC_ANY:
        return false;
    case SC_EQ:
        c->datum_a = a->value;
        return true;
    case SC_MASK:
        c->op = SCMP_CMP_MASKED_EQ;
        c->datum_a = a->mask;
        c->datum_b = a->value;
        return true;
    case SC_MAX:
        c->op = SCMP_CMP_LE;
        c->datum_a = a->value;
        return true;
    case SC_OWN_PID:
        c->datum_a = (scmp_datum_t)getpid();
        return true;
    }
    return false;
}

static int add_rule(scmp_filter_ctx ctx, const struct sc_rule *r)
{
    uint32_t action =
        r->err ? SCMP_ACT_ERRNO((uint32_t)r->err) : SCMP_ACT_ALLOW;
    int nr = seccomp_syscall_resolve_name(r->name);
    struct scmp_arg_cmp cmp[ARRAY_SIZE(r->a)];
    unsigned int n = 0;
    int ret;

    if (nr == __NR_SCMP_ERROR && r->nr)
        nr = r->nr;
    /* Negative: this architecture has no such call, nothing to allow. */
    if (nr < 0)
        return 0;
    for (size_t i = 0; i < ARRAY_SIZE(r->a); i++)
        n += arg_test(&r->a[i], &cmp[n]);
    ret = seccomp_rule_add_array(ctx, action, nr, n, cmp);
    if (ret == 0 || ret == -EEXIST)
        return 0;
    log_err("sandbox: seccomp: rule for %s: %s", r->name, strerror(-ret));
    return ret;
}

static int add_table(scmp_filter_ctx ctx, const struct sc_table *t)
{
    for (size_t i = 0; i < t->n; i++) {
        int ret = add_rule(ctx, &t->rules[i]);

        if (ret < 0)
            return ret;
    }
    return 0;
}

static const struct sc_table *table_of(enum sandbox_role role)
{
    switch (role) {
    case SANDBOX_ROLE_SUPERVISOR:
        return &sc_table_supervisor;
    case SANDBOX_ROLE_VHOST:
        return &sc_table_vhost;
    case SANDBOX_ROLE_FUSE:
        return &sc_table_fuse;
    }
    return &sc_table_common;
}

static int fill(scmp_filter_ctx ctx, enum sandbox_role role,
                const struct sandbox_opts *opts)
{
    int ret = add_table(ctx, &sc_table_common);

    if (ret == 0)
        ret = add_table(ctx, table_of(role));
    if (ret == 0 && role == SANDBOX_ROLE_FUSE && opts->file_handles)
        ret = add_table(ctx, &sc_table_fuse_handles);
#ifdef SANITIZER_FILTER
    if (ret == 0)
        ret = add_table(ctx, &sanitizer_table);
#endif
    return ret;
}

int seccomp_enter(enum sandbox_role role, const struct sandbox_opts *opts,
                  int log_fd)
{
    enum seccomp_mode mode = opts->seccomp;
    uint32_t action = mode == SECCOMP_LOG ? SCMP_ACT_LOG : SCMP_ACT_TRAP;
    scmp_filter_ctx ctx;
    int ret;

    if (mode == SECCOMP_NONE)
        return 0;
    if (mode == SECCOMP_KILL) {
        ret = prepare_handler(role, log_fd);
        if (ret < 0)
            return ret;
    }
    ctx = seccomp_init(action);
    if (!ctx)
        return -ENOMEM;
    /* Calls of a foreign ABI (32 bits, x32) have no business here. */
    seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    /* A tree over the numbers: a request makes a handful of calls, each of
     * which would else be compared with half of the table. */
    seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    ret = fill(ctx, role, opts);
    if (ret == 0)
        ret = seccomp_load(ctx);
    seccomp_release(ctx);
    if (ret < 0)
        log_err("sandbox: seccomp: can not load the filter: %s",
                strerror(-ret));
    return ret;
}
