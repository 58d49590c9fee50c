/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The private channels with a hostile other side: commands that are received
 * (ipc_recv) and answers to commands of our own (ipc_call).
 *
 * Input: records of { u8 kind, u8 descriptors, u16 length, bytes }.
 * kind bit 0: our call, with these bytes as its answer, else a command that
 * comes in; bit 1: the event channel; bit 2: the bytes go as they are, else
 * behind a good magic (and for an answer a good type and id); bit 3: an event
 * waits on the side channel.
 */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "vhost/ring_ipc.h"
#include "virtiofsd/base/log.h"

#define K_CALL  1
#define K_EVENT 2
#define K_RAW   4
#define K_SIDE  8

#define MAGIC 0x31504956U

#define RECORDS_MAX 64

struct ends {
    int ours, theirs;
};

static struct ends cmd, evt;

static void open_ends(struct ends *e)
{
    int sock[2];

    FUZZ_CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sock) ==
               0);
    *e = (struct ends){ sock[0], sock[1] };
}

static void close_ends(struct ends *e)
{
    close(e->ours);
    close(e->theirs);
}

static void check_fds(const struct ipc_fds *fds)
{
    FUZZ_CHECK(fds->n >= 0 && fds->n <= IPC_MAX_FDS);
    for (int i = 0; i < fds->n; i++)
        FUZZ_CHECK(fds->fd[i] > 2);
}

/* An event while a call waits. */
static int on_side(void *arg)
{
    struct ipc_chan *c = arg;
    struct ipc_msg msg;
    struct ipc_fds fds;
    int ret = ipc_recv(c, &msg, &fds);

    FUZZ_CHECK(ret <= 0);
    if (ret < 0)
        return ret;
    check_fds(&fds);
    ipc_fds_close(&fds);
    return ipc_reply(c, &msg, 0, NULL);
}

/* Return: the connection goes on. */
static bool receive(struct ends *e, const char *name)
{
    struct ipc_chan c = { .fd = e->ours, .name = name, .timeout_ms = 0 };
    struct ipc_msg msg;
    struct ipc_fds fds;
    int ret = ipc_recv(&c, &msg, &fds);

    FUZZ_CHECK(ret == 0 || ret == -EPIPE || ret == -EBADMSG);
    if (ret < 0) {
        FUZZ_CHECK(fds.n == 0);
        return false;
    }
    check_fds(&fds);
    FUZZ_CHECK(strcmp(ipc_type_name(msg.type), "unknown") != 0);
    FUZZ_CHECK(msg.is_reply == 0);
    ipc_fds_close(&fds);
    return ipc_reply(&c, &msg, -EINVAL, NULL) == 0;
}

/* The answer lies in the socket before the call. */
static bool call(struct ends *e, const char *name, uint16_t type, uint32_t id,
                 bool take_fds)
{
    struct ipc_chan side = { .fd = evt.ours, .name = "evt" };
    struct ipc_chan c = { .fd = e->ours,
                          .name = name,
                          .next_id = id - 1,
                          .side_fd = evt.ours,
                          .side = e == &cmd ? on_side : NULL,
                          .side_arg = &side };
    struct ipc_msg msg;
    struct ipc_fds out = { .n = 1, .fd = { fuzz_fd(0) } }, got = { 0 };
    bool dead = false;
    int ret;

    memset(&msg, 0, sizeof(msg));
    msg.type = type;
    ret =
        ipc_call(&c, &msg, id & 1 ? &out : NULL, take_fds ? &got : NULL, &dead);
    FUZZ_CHECK(ret <= 0 && ret >= -4095);
    FUZZ_CHECK(dead || ret == msg.status);
    FUZZ_CHECK(!dead || ret == -EPIPE || ret == -EBADMSG || ret == -ETIMEDOUT);
    FUZZ_CHECK(dead ? got.n == 0 : got.n <= (type == IPC_HELLO));
    check_fds(&got);
    ipc_fds_close(&got);
    return !dead;
}

/* Read away what was sent to the other side, and its descriptors. */
static void drain(int sock)
{
    struct ipc_chan c = { .fd = sock, .name = "cmd" };
    struct ipc_msg msg;
    struct ipc_fds fds;
    char byte;

    while (recv(sock, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0) {
        int ret = ipc_recv(&c, &msg, &fds);

        if (ret == -EPIPE)
            return;
        if (ret == 0)
            ipc_fds_close(&fds);
    }
}

/* What goes over: the input's bytes laid over a good message. */
static size_t compose(struct fuzz_in *in, uint8_t kind, uint16_t type,
                      uint32_t id, uint8_t *buf, size_t max)
{
    struct ipc_msg msg;
    size_t len = fuzz_uint(in, 2) % max;
    const uint8_t *p = fuzz_take(in, &len);

    if (len > 0)
        memcpy(buf, p, len);
    if (kind & K_RAW)
        return len;
    memset(&msg, 0, sizeof(msg));
    /* Of the head, type and status are the input's. */
    memcpy((uint8_t *)&msg + offsetof(struct ipc_msg, type), buf,
           len < 2 ? len : 2);
    msg.magic = MAGIC;
    if (len > 2)
        memcpy(&msg.u, buf + 2,
               len - 2 < sizeof(msg.u) ? len - 2 : sizeof(msg.u));
    if (kind & K_CALL) {
        msg.status = -(int32_t)(msg.type & 1);
        msg.type = type;
        msg.is_reply = 1;
        msg.id = id;
    }
    memcpy(buf, &msg, sizeof(msg));
    return sizeof(msg);
}

static bool one_record(struct fuzz_in *in, uint32_t id)
{
    uint8_t kind = (uint8_t)fuzz_uint(in, 1), buf[sizeof(struct ipc_msg) + 64];
    unsigned int nfds = (unsigned int)fuzz_uint(in, 1) % 100;
    struct ends *e = kind & K_EVENT ? &evt : &cmd;
    const char *name = kind & K_EVENT ? "evt" : "cmd";
    uint16_t type = kind & K_EVENT
                        ? IPC_EVT_RING_BROKEN
                        : (uint16_t)(1 + (kind >> 4) % IPC_BACKEND_REQ);
    size_t len;

    memset(buf, 0, sizeof(buf));
    if (kind & K_SIDE) {
        len = compose(in, kind & ~K_CALL, type, id, buf, sizeof(buf));
        if (e != &evt && fuzz_send(evt.theirs, buf, len, nfds / 8, 0) < 0)
            return false;
        memset(buf, 0, sizeof(buf));
    }
    len = compose(in, kind, type, id, buf, sizeof(buf));
    if (fuzz_send(e->theirs, buf, len, nfds, kind >> 4) < 0)
        return false;
    if (kind & K_CALL ? !call(e, name, type, id, kind & 0x80)
                      : !receive(e, name))
        return false;
    drain(cmd.theirs);
    drain(evt.theirs);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_in in = { data, size };
    uint32_t id = 0;
    int before;

    log_set_level(LOG_LEVEL_OFF);
    (void)fuzz_fd(0);
    (void)fuzz_count_fds();
    before = fuzz_count_fds();
    open_ends(&cmd);
    open_ends(&evt);
    while (in.left > 0 && ++id < RECORDS_MAX) {
        if (!one_record(&in, id))
            break;
    }
    close_ends(&cmd);
    close_ends(&evt);
    FUZZ_CHECK(fuzz_count_fds() == before);
    return 0;
}
