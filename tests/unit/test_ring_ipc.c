/* SPDX-License-Identifier: BSD-3-Clause */
#include "vhost/ring_ipc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/tap.h"
#include "virtiofsd/base/log.h"

static int count_fds(void)
{
    DIR *d = opendir("/proc/self/fd");
    int n = 0;

    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n;
}

struct pair {
    struct ipc_chan asks, answers;
};

static void pair_open(struct pair *p, const char *name, int timeout_ms)
{
    int sv[2] = { -1, -1 };

    CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv), 0, "");
    p->asks = (struct ipc_chan){ .fd = sv[0],
                                 .name = name,
                                 .timeout_ms = timeout_ms };
    p->answers = (struct ipc_chan){ .fd = sv[1],
                                    .name = name,
                                    .timeout_ms = timeout_ms };
}

static void pair_close(struct pair *p)
{
    if (p->asks.fd >= 0)
        close(p->asks.fd);
    if (p->answers.fd >= 0)
        close(p->answers.fd);
}

static struct ipc_msg command(uint16_t type)
{
    struct ipc_msg m;

    memset(&m, 0, sizeof(m));
    m.type = type;
    return m;
}

/* An answering side that does one thing wrong. */
enum sin {
    SIN_NONE,
    SIN_ID,
    SIN_TYPE,
    SIN_NOT_REPLY,
    SIN_MAGIC,
    SIN_SHORT,
    SIN_LONG,
    SIN_STATUS,
    SIN_FDS,
    SIN_MANY_FDS,
    SIN_EMPTY,
    SIN_DIES,
    SIN_SILENT
};

static void send_fds(int fd, const void *buf, size_t len, int send_fd, int n)
{
    union {
        char buf[CMSG_SPACE(200 * sizeof(int))];
        struct cmsghdr align;
    } ctl;
    struct iovec iov = { .iov_base = (void *)buf, .iov_len = len };
    struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };

    memset(&ctl, 0, sizeof(ctl));
    if (n > 0) {
        mh.msg_control = ctl.buf;
        mh.msg_controllen = CMSG_SPACE((size_t)n * sizeof(int));
        ctl.align.cmsg_level = SOL_SOCKET;
        ctl.align.cmsg_type = SCM_RIGHTS;
        ctl.align.cmsg_len = CMSG_LEN((size_t)n * sizeof(int));
        for (int i = 0; i < n; i++)
            memcpy(CMSG_DATA(&ctl.align) + (size_t)i * sizeof(int), &send_fd,
                   sizeof(int));
    }
    CHECK_EQ(sendmsg(fd, &mh, 0), len, "set-up");
}

struct sinner {
    struct pair *p;
    enum sin sin;
};

static void *answer_badly(void *arg)
{
    struct sinner *s = arg;
    struct ipc_chan *c = &s->p->answers;
    char big[sizeof(struct ipc_msg) + 1];
    struct ipc_msg m;
    struct ipc_fds fds;
    size_t len = sizeof(m);
    int nfds = 0;

    if (!CHECK_EQ(ipc_recv(c, &m, &fds), 0, "the command arrives"))
        return NULL;
    ipc_fds_close(&fds);
    m.is_reply = 1;
    switch (s->sin) {
    case SIN_NONE:
        break;
    case SIN_ID:
        m.id++;
        break;
    case SIN_TYPE:
        m.type = IPC_RESET;
        break;
    case SIN_NOT_REPLY:
        m.is_reply = 0;
        break;
    case SIN_MAGIC:
        m.magic++;
        break;
    case SIN_SHORT:
        len--;
        break;
    case SIN_LONG:
        len++;
        break;
    case SIN_STATUS:
        m.status = 1;
        break;
    case SIN_FDS:
        nfds = 1;
        break;
    case SIN_MANY_FDS:
        nfds = IPC_MAX_FDS + 7;
        break;
    case SIN_EMPTY:
        len = 0;
        break;
    case SIN_DIES:
        close(c->fd);
        c->fd = -1;
        return NULL;
    case SIN_SILENT:
        return NULL;
    }
    memset(big, 0, sizeof(big));
    memcpy(big, &m, sizeof(m));
    send_fds(c->fd, big, len, STDOUT_FILENO, nfds);
    return NULL;
}

static const struct {
    const char *why;
    enum sin sin;
    int want;
} sins[] = {
    { "a good reply", SIN_NONE, 0 },
    { "another id", SIN_ID, -EBADMSG },
    { "another type", SIN_TYPE, -EBADMSG },
    { "a command for a reply", SIN_NOT_REPLY, -EBADMSG },
    { "wrong magic", SIN_MAGIC, -EBADMSG },
    { "short", SIN_SHORT, -EBADMSG },
    { "oversized", SIN_LONG, -EBADMSG },
    { "a status that is no errno", SIN_STATUS, -EBADMSG },
    { "fds nobody asked for", SIN_FDS, -EBADMSG },
    { "more fds than any message has", SIN_MANY_FDS, -EBADMSG },
    { "an empty message", SIN_EMPTY, -EPIPE },
    { "the other side dies", SIN_DIES, -EPIPE },
    { "no reply in time", SIN_SILENT, -ETIMEDOUT },
};

static void ipc_call_ends_the_channel_on_a_bad_reply(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(sins); i++) {
        struct pair p;
        struct sinner s = { &p, sins[i].sin };
        struct ipc_msg m = command(IPC_SYNC);
        int before = count_fds();
        bool dead = false;
        pthread_t t;

        pair_open(&p, "cmd", sins[i].sin == SIN_SILENT ? 50 : 10000);
        pthread_create(&t, NULL, answer_badly, &s);
        CHECK_EQ(ipc_call(&p.asks, &m, NULL, NULL, &dead), sins[i].want,
                 sins[i].why);
        CHECK_EQ(dead, sins[i].want != 0, sins[i].why);
        pthread_join(t, NULL);
        pair_close(&p);
        CHECK_EQ(count_fds(), before, sins[i].why);
    }
}

static void ipc_call_does_not_take_a_late_reply_for_the_next(void)
{
    struct pair p;
    struct ipc_msg m = command(IPC_RESET), late;
    struct ipc_fds fds;
    bool dead = false;

    pair_open(&p, "cmd", 20);
    CHECK_EQ(ipc_call(&p.asks, &m, NULL, NULL, &dead), -ETIMEDOUT, "");
    CHECK(dead, "nothing may be called after this");
    CHECK_EQ(ipc_recv(&p.answers, &late, &fds), 0, "");
    CHECK_EQ(ipc_reply(&p.answers, &late, 0, NULL), 0, "late");
    /* Called all the same, it still does not believe it. */
    m = command(IPC_RESET);
    CHECK_EQ(ipc_call(&p.asks, &m, NULL, NULL, &dead), -EBADMSG, "");
    pair_close(&p);
}

struct worker {
    struct pair *p;
    int status;
    int got_fds;
    int reply_fd;
};

static void *answer_well(void *arg)
{
    struct worker *w = arg;
    struct ipc_fds fds, back = { .n = w->reply_fd >= 0, .fd = { w->reply_fd } };
    struct ipc_msg m;

    if (!CHECK_EQ(ipc_recv(&w->p->answers, &m, &fds), 0, ""))
        return NULL;
    w->got_fds = fds.n;
    for (int i = 0; i < fds.n; i++)
        CHECK(fcntl(fds.fd[i], F_GETFD) & FD_CLOEXEC, "close-on-exec");
    ipc_fds_close(&fds);
    if (m.type == IPC_SYNC)
        m.u.sync.last_avail = 77;
    CHECK_EQ(ipc_reply(&w->p->answers, &m, w->status, &back), 0, "");
    return NULL;
}

static void ipc_call_carries_payload_fds_and_status_both_ways(void)
{
    struct pair p;
    struct worker w = { .p = &p, .reply_fd = STDOUT_FILENO };
    struct ipc_msg m = command(IPC_HELLO);
    struct ipc_fds fds = { .n = 1 + VRING_MAX }, back;
    int before = count_fds();
    bool dead = false;
    pthread_t t;

    pair_open(&p, "cmd", 10000);
    for (int i = 0; i < fds.n; i++)
        fds.fd[i] = STDERR_FILENO;
    m.u.hello.nrings = VRING_MAX;
    pthread_create(&t, NULL, answer_well, &w);
    CHECK_EQ(ipc_call(&p.asks, &m, &fds, &back, &dead), 0, "");
    pthread_join(t, NULL);
    CHECK_EQ(w.got_fds, 1 + VRING_MAX, "all fds arrive");
    CHECK_EQ(back.n, 1, "and one comes back");
    ipc_fds_close(&back);

    w = (struct worker){ .p = &p, .status = -ENOENT, .reply_fd = -1 };
    m = command(IPC_SYNC);
    pthread_create(&t, NULL, answer_well, &w);
    CHECK_EQ(ipc_call(&p.asks, &m, NULL, NULL, &dead), -ENOENT, "their errno");
    pthread_join(t, NULL);
    CHECK_EQ(m.u.sync.last_avail, 77, "payload comes with a failure too");
    CHECK(!dead, "failed work is no failed channel");
    pair_close(&p);
    CHECK_EQ(count_fds(), before, "no fd is left behind");
}

struct side {
    struct ipc_chan *evt;
    int calls;
};

static int serve_side(void *arg)
{
    struct side *s = arg;
    struct ipc_msg m;
    struct ipc_fds fds;
    int ret = ipc_recv(s->evt, &m, &fds);

    s->calls++;
    return ret < 0 ? ret : ipc_reply(s->evt, &m, 0, NULL);
}

struct two {
    struct pair *cmd, *evt;
};

/* Answers its command only after its own event has been answered. */
static void *event_first(void *arg)
{
    struct two *two = arg;
    struct ipc_msg m, ev = command(IPC_EVT_RING_BROKEN);
    struct ipc_fds fds;
    bool dead = false;

    CHECK_EQ(ipc_recv(&two->cmd->answers, &m, &fds), 0, "");
    CHECK_EQ(ipc_call(&two->evt->asks, &ev, NULL, NULL, &dead), 0,
             "the event is answered while the command is under way");
    CHECK_EQ(ipc_reply(&two->cmd->answers, &m, 0, NULL), 0, "");
    return NULL;
}

static void ipc_call_serves_events_while_it_waits(void)
{
    struct pair cmd, evt;
    struct side side = { &evt.answers, 0 };
    struct two two = { &cmd, &evt };
    struct ipc_msg m = command(IPC_SYNC);
    bool dead = false;
    pthread_t t;

    pair_open(&cmd, "cmd", 10000);
    pair_open(&evt, "evt", 10000);
    cmd.asks.side = serve_side;
    cmd.asks.side_arg = &side;
    cmd.asks.side_fd = evt.answers.fd;
    pthread_create(&t, NULL, event_first, &two);
    CHECK_EQ(ipc_call(&cmd.asks, &m, NULL, NULL, &dead), 0, "");
    pthread_join(t, NULL);
    CHECK_EQ(side.calls, 1, "");
    pair_close(&cmd);
    pair_close(&evt);
}

static const struct {
    const char *why;
    const char *chan;
    uint16_t type, is_reply;
    uint32_t n; /* u.mem.n or u.hello.nrings */
    size_t len;
    int nfds;
    int want;
} commands[] = {
#define LEN sizeof(struct ipc_msg)
    { "a good one", "cmd", IPC_RESET, 0, 0, LEN, 0, 0 },
    { "a table of two", "cmd", IPC_MEM_SET, 0, 2, LEN, 2, 0 },
    { "an empty table", "cmd", IPC_MEM_SET, 0, 0, LEN, 0, 0 },
    { "an event", "evt", IPC_EVT_FAILED, 0, 0, LEN, 0, 0 },
    { "type 0", "cmd", 0, 0, 0, LEN, 0, -EBADMSG },
    { "the end marker", "cmd", IPC_CMD_END, 0, 0, LEN, 0, -EBADMSG },
    { "a type nobody knows", "cmd", 0xffff, 0, 0, LEN, 0, -EBADMSG },
    { "an event on the command channel", "cmd", IPC_EVT_FAILED, 0, 0, LEN, 0,
      -EBADMSG },
    { "a command on the event channel", "evt", IPC_RESET, 0, 0, LEN, 0,
      -EBADMSG },
    { "a reply for a command", "cmd", IPC_RESET, 1, 0, LEN, 0, -EBADMSG },
    { "short", "cmd", IPC_RESET, 0, 0, LEN - 1, 0, -EBADMSG },
    { "oversized", "cmd", IPC_RESET, 0, 0, LEN + 1, 0, -EBADMSG },
    { "an fd it has no use for", "cmd", IPC_SYNC, 0, 0, LEN, 1, -EBADMSG },
    { "too few fds for its table", "cmd", IPC_MEM_SET, 0, 3, LEN, 2, -EBADMSG },
    { "a table too large", "cmd", IPC_MEM_SET, 0, 9, LEN, 8, -EBADMSG },
    { "no region to add", "cmd", IPC_MEM_ADD, 0, 0, LEN, 1, -EBADMSG },
    { "no fd to add", "cmd", IPC_MEM_ADD, 0, 1, LEN, 0, -EBADMSG },
    { "too few wake fds", "cmd", IPC_HELLO, 0, VRING_MAX, LEN, 3, -EBADMSG },
    { "too many rings", "cmd", IPC_HELLO, 0, VRING_MAX + 1, LEN, VRING_MAX + 2,
      -EBADMSG },
    { "more fds than fit", "cmd", IPC_HELLO, 0, 0, LEN, 99, -EBADMSG },
};

static void ipc_recv_refuses_malformed_commands_and_keeps_no_fd(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        struct ipc_msg m = command(commands[i].type), got;
        struct ipc_fds fds;
        char big[LEN + 1] = { 0 };
        int before = count_fds();
        struct pair p;

        pair_open(&p, commands[i].chan, 1000);
        m.magic = 0x31504956U;
        m.is_reply = commands[i].is_reply;
        if (m.type == IPC_HELLO)
            m.u.hello.nrings = commands[i].n;
        else
            m.u.mem.n = commands[i].n;
        memcpy(big, &m, sizeof(m));
        send_fds(p.asks.fd, big, commands[i].len, STDOUT_FILENO,
                 commands[i].nfds);
        CHECK_EQ(ipc_recv(&p.answers, &got, &fds), commands[i].want,
                 commands[i].why);
        CHECK_EQ(fds.n, commands[i].want ? 0 : commands[i].nfds,
                 commands[i].why);
        ipc_fds_close(&fds);
        pair_close(&p);
        CHECK_EQ(count_fds(), before, commands[i].why);
    }
}

static void ipc_recv_tells_empty_from_gone(void)
{
    struct pair p;
    struct ipc_msg m;
    struct ipc_fds fds;

    pair_open(&p, "cmd", 1000);
    fcntl(p.answers.fd, F_SETFL, O_NONBLOCK);
    CHECK_EQ(ipc_recv(&p.answers, &m, &fds), -EAGAIN, "nothing there");
    close(p.asks.fd);
    p.asks.fd = -1;
    CHECK_EQ(ipc_recv(&p.answers, &m, &fds), -EPIPE, "nobody there");
    m = command(IPC_RESET);
    CHECK_EQ(ipc_reply(&p.answers, &m, 0, NULL), -EPIPE, "no signal either");
    pair_close(&p);
}

static void every_type_has_a_name(void)
{
    CHECK_STR(ipc_type_name(IPC_SYNC), "SYNC", "");
    CHECK_STR(ipc_type_name(IPC_EVT_FAILED), "EVT_FAILED", "");
    CHECK_STR(ipc_type_name(0), "unknown", "");
    CHECK_STR(ipc_type_name(0xffff), "unknown", "");
    for (uint16_t t = IPC_HELLO; t < IPC_CMD_END; t++)
        CHECK(strcmp(ipc_type_name(t), "unknown") != 0, "commands");
}

TAP_MAIN(TEST(ipc_call_ends_the_channel_on_a_bad_reply),
         TEST(ipc_call_does_not_take_a_late_reply_for_the_next),
         TEST(ipc_call_carries_payload_fds_and_status_both_ways),
         TEST(ipc_call_serves_events_while_it_waits),
         TEST(ipc_recv_refuses_malformed_commands_and_keeps_no_fd),
         TEST(ipc_recv_tells_empty_from_gone), TEST(every_type_has_a_name))
