/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A whole front-end connection: messages with descriptors through reader,
 * dispatch and handlers, against a request process which does as the input
 * says.
 *
 * Input: u8 options, u8 n, n bytes of script (what becomes of each command
 * to the request process), then messages of { u8 request, u8 flags,
 * u8 descriptors, u16 length, payload }.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "vhost/conn_i.h"

#define MESSAGES_MAX 64

/* What the script makes of one command. */
enum fate {
    FATE_GOOD,
    FATE_FAIL,      /* an errno */
    FATE_DIE,       /* no answer, the channels end */
    FATE_EVENT,     /* tells that the device failed, then answers */
    FATE_BROKEN,    /* tells that a ring broke, then answers */
    FATE_WRONG_ID,  /* answers another command */
    FATE_WITH_FDS,  /* answers with descriptors nobody asked for */
    FATE_ABSURD,    /* a position that is no 16-bit number */
    FATE_BAD_EVENT, /* an event of no known type */
    FATES
};

struct fake {
    struct ipc_chan cmd, evt;
    struct fuzz_in script;
    const struct cfg_page *cfg;
    struct run_page *run;
    int wake[VRING_MAX];
    uint32_t last_avail;
    bool must_end; /* an answer was given after which there is no trust */
};

static int fake_hello(struct fake *f, struct ipc_fds *fds,
                      struct ipc_fds *reply)
{
    int ret = cfg_page_open(fds->fd[0], &f->cfg);

    FUZZ_CHECK(ret == 0 && fds->n == VRING_MAX + 1);
    for (int i = 0; i < VRING_MAX; i++) {
        f->wake[i] = fds->fd[1 + i];
        fds->fd[1 + i] = -1;
    }
    ret = run_page_create(&f->run, &reply->fd[0]);
    reply->n = 1;
    return ret;
}

static void tell_event(struct fake *f, uint16_t type)
{
    struct ipc_msg ev;
    bool dead = false;

    memset(&ev, 0, sizeof(ev));
    ev.type = type;
    ev.u.broken.ring = (uint32_t)fuzz_uint(&f->script, 1);
    ev.u.broken.reason = -EINVAL;
    (void)ipc_call(&f->evt, &ev, NULL, NULL, &dead);
}

/* Return: false when the request process dies of it. */
static bool fake_answer(struct fake *f, struct ipc_msg *m, struct ipc_fds *fds)
{
    enum fate fate = (enum fate)(fuzz_uint(&f->script, 1) % FATES);
    struct ipc_fds reply = { 0 };
    int status = 0;

    if (m->type == IPC_HELLO) {
        fate = FATE_GOOD;
        status = fake_hello(f, fds, &reply);
    } else if (m->type == IPC_SYNC) {
        m->u.sync.last_avail = f->last_avail++ & 0xffff;
    }
    switch (fate) {
    case FATE_GOOD:
    case FATES:
        break;
    case FATE_FAIL:
        status = -ENOMEM;
        break;
    case FATE_DIE:
        f->must_end = true;
        return false;
    case FATE_EVENT:
        tell_event(f, IPC_EVT_FAILED);
        f->must_end = true;
        break;
    case FATE_BROKEN:
        tell_event(f, IPC_EVT_RING_BROKEN);
        break;
    case FATE_WRONG_ID:
        m->id++;
        f->must_end = true;
        break;
    case FATE_WITH_FDS:
        reply = (struct ipc_fds){ .n = 1, .fd = { dup(STDERR_FILENO) } };
        f->must_end = true;
        break;
    case FATE_ABSURD:
        if (m->type == IPC_SYNC && m->u.sync.ring != IPC_ALL_RINGS)
            f->must_end = true;
        m->u.sync.last_avail = UINT32_MAX;
        break;
    case FATE_BAD_EVENT:
        (void)fuzz_send(f->evt.fd, m, sizeof(*m), 1, 0);
        break;
    }
    (void)ipc_reply(&f->cmd, m, status, &reply);
    ipc_fds_close(&reply);
    return true;
}

static void *fake_main(void *arg)
{
    struct fake *f = arg;
    struct ipc_msg m;
    struct ipc_fds fds;
    bool alive = true;

    while (alive && ipc_recv(&f->cmd, &m, &fds) == 0) {
        alive = fake_answer(f, &m, &fds);
        ipc_fds_close(&fds);
    }
    shutdown(f->cmd.fd, SHUT_RDWR);
    shutdown(f->evt.fd, SHUT_RDWR);
    return NULL;
}

/* Return: messages sent. */
static int send_messages(int sock, struct fuzz_in *in)
{
    int n = 0;

    while (in->left > 0 && n < MESSAGES_MAX) {
        struct {
            struct vu_hdr h;
            uint8_t payload[WIRE_MAX_PAYLOAD + 1];
        } m;
        unsigned int fds;
        size_t len;
        const uint8_t *p;

        m.h.request = (uint32_t)fuzz_uint(in, 1);
        m.h.flags = VU_FLAG_VERSION ^ (uint32_t)fuzz_uint(in, 1);
        fds = (unsigned int)fuzz_uint(in, 1);
        len = fuzz_uint(in, 2) % sizeof(m.payload);
        p = fuzz_take(in, &len);
        m.h.size = (uint32_t)len;
        if (len > 0)
            memcpy(m.payload, p, len);
        if (fuzz_send(sock, &m, sizeof(m.h) + len, fds & 15, fds >> 4) < 0)
            break;
        n++;
    }
    shutdown(sock, SHUT_WR);
    return n;
}

static void check_replies(int sock, int sent)
{
    struct vu_hdr h;
    uint8_t body[sizeof(struct vu_config_hdr) + VU_CONFIG_MAX_SIZE];

    while (recv(sock, &h, sizeof(h), MSG_DONTWAIT) == (ssize_t)sizeof(h)) {
        FUZZ_CHECK(sent-- > 0);
        FUZZ_CHECK(h.flags == (VU_FLAG_VERSION | VU_FLAG_REPLY));
        FUZZ_CHECK(h.size <= sizeof(body));
        FUZZ_CHECK(h.size == 0 ||
                   recv(sock, body, h.size, MSG_DONTWAIT) == (ssize_t)h.size);
    }
}

static bool in_table(const struct vu_conn *c, gpa_t at, uint64_t len)
{
    return memtable_find(&c->mem, at, len) >= 0;
}

/* Whatever came, what the rings' threads are told is possible. */
static void check_slots(const struct vu_conn *c, const struct fake *f)
{
    for (int i = 0; i < VRING_MAX; i++) {
        struct vring_cfg cfg;
        uint64_t seq;

        FUZZ_CHECK(vring_slot_read(&f->cfg->slot[i], &cfg, &seq) == 0);
        FUZZ_CHECK(vring_cfg_check(&cfg) == 0);
        FUZZ_CHECK(cfg.kick_gen <= c->ring[i].fd_gens);
        FUZZ_CHECK(cfg.call_gen <= c->ring[i].fd_gens);
        FUZZ_CHECK(cfg.err_gen <= c->ring[i].fd_gens);
        FUZZ_CHECK(cfg.mem_gen <= c->mem_gens);
        if (!(cfg.flags & VRING_CFG_STARTED))
            continue;
        FUZZ_CHECK(cfg.mem_gen == c->mem_gen);
        FUZZ_CHECK(in_table(c, cfg.desc, (uint64_t)16 * cfg.size));
        FUZZ_CHECK(in_table(c, cfg.avail, 6 + (uint64_t)2 * cfg.size));
        FUZZ_CHECK(in_table(c, cfg.used, 6 + (uint64_t)8 * cfg.size));
    }
}

static void run(struct fake *f, struct fuzz_in *in, bool tag)
{
    struct vu_opts opts = { .num_request_queues = 4 };
    int cmd[2], evt[2], fe[2], sup[2], sent;
    struct vu_conn *c = NULL;
    pthread_t thread;

    if (tag)
        memcpy(opts.tag, "tag", 4);
    FUZZ_CHECK(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, cmd));
    FUZZ_CHECK(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, evt));
    FUZZ_CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fe));
    FUZZ_CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sup));
    f->cmd = (struct ipc_chan){ .fd = cmd[1], .name = "cmd" };
    f->evt = (struct ipc_chan){ .fd = evt[1], .name = "evt" };
    f->cmd.timeout_ms = f->evt.timeout_ms = 10000;
    sent = send_messages(fe[0], in);
    FUZZ_CHECK(pthread_create(&thread, NULL, fake_main, f) == 0);
    FUZZ_CHECK(vu_conn_create(&opts, cmd[0], evt[0], &c) == 0);
    FUZZ_CHECK(vu_conn_run(c, fe[1], sup[1]) <= 0);
    check_replies(fe[0], sent);
    FUZZ_CHECK(!f->must_end || c->dead || c->failed);
    check_slots(c, f);
    vu_conn_destroy(c);
    close(cmd[0]);
    close(evt[0]);
    pthread_join(thread, NULL);
    close(cmd[1]);
    close(evt[1]);
    close(fe[0]);
    close(sup[0]);
    close(sup[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_in in = { data, size };
    struct fake f = { 0 };
    size_t script;
    bool tag;
    int before;

    log_set_level(LOG_LEVEL_OFF);
    (void)fuzz_fd(0);
    (void)fuzz_count_fds();
    before = fuzz_count_fds();
    tag = fuzz_uint(&in, 1) & 1;
    script = fuzz_uint(&in, 1);
    f.script.p = fuzz_take(&in, &script);
    f.script.left = script;
    run(&f, &in, tag);
    for (int i = 0; i < VRING_MAX; i++)
        close(f.wake[i]);
    munmap(f.run, sizeof(*f.run));
    munmap((void *)f.cfg, sizeof(*f.cfg));
    FUZZ_CHECK(fuzz_count_fds() == before);
    return 0;
}
