/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The request process's device, its rings' threads and its pool, under a
 * hostile control process and a hostile guest at once: commands, slots of the
 * shared page and guest memory are all the input's.
 *
 * Input: u8 flags (bit 0: a pool; bit 1: no HELLO first), then steps of
 * { u8 kind, arguments } as in one_step().
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuse/device_i.h"
#include "fuse/events.h"
#include "fuse/pool.h"
#include "fuse/queue.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/share.h"
#include "virtiofsd/base/fd.h"
#include "virtiofsd/base/log.h"

#define MAGIC     0x31504956U
#define RINGS     3
#define STEPS_MAX 200
#define HANG_S    20 /* so long takes only what never ends */

static struct fuse_device_opts opts = {
    .pt = { .xattr = true, .readdirplus = true },
};
static struct cfg_page *cfg;
static int cfg_fd = -1;
static uint8_t *memory; /* what FUZZ_FD_MEMORY names */

struct control {
    struct device *d;
    int cmd, evt; /* the other ends */
    int dev_cmd, dev_evt;
    int wake[RINGS];
    uint32_t id;
    bool greeted;
};

static void setup(void)
{
    if (memory)
        return;
    log_set_level(LOG_LEVEL_OFF);
    session_log_setup();
    share_reset();
    (void)share_proc();
    FUZZ_CHECK(cfg_page_create(&cfg, &cfg_fd) == 0);
    memory = mmap(NULL, FUZZ_MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
                  fuzz_fd(FUZZ_FD_MEMORY), 0);
    FUZZ_CHECK(memory != MAP_FAILED);
}

/* As device_init() does it. */
static void open_device(struct control *c, unsigned int threads)
{
    struct device *d = aligned_alloc(_Alignof(struct device), sizeof(*d));

    FUZZ_CHECK(d != NULL);
    memset(d, 0, sizeof(*d));
    c->d = d;
    opts.thread_pool_size = threads;
    d->opts = &opts;
    d->cmd = (struct ipc_chan){ .fd = c->dev_cmd, .name = "cmd" };
    d->backend_req_fd = -1;
    for (int i = 0; i < VRING_MAX; i++) {
        d->wake_fd[i] = -1;
        for (int k = 0; k < RING_FD_KINDS; k++)
            d->mail[i][k].fd = -1;
    }
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->applied, NULL);
    d->mm = memmap_create(0);
    FUZZ_CHECK(d->mm != NULL);
    FUZZ_CHECK(pt_fs_create(&opts.pt, share_root(), share_proc(), &d->fs) == 0);
    d->life = life_create(d->fs);
    FUZZ_CHECK(d->life && events_create(c->dev_evt, &d->events) == 0);
    FUZZ_CHECK(threads == 0 || pool_create(threads, d->life, &d->pool) == 0);
}

static void wake(const struct control *c, uint32_t ring)
{
    uint64_t one = 1;

    FUZZ_CHECK(write(c->wake[ring], &one, sizeof(one)) == sizeof(one));
}

/* As device_fini() does it, but nothing here may hang. */
static void close_device(struct control *c)
{
    struct device *d = c->d;
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += HANG_S;
    atomic_store(&d->stopping, 1);
    for (uint32_t i = 0; i < RINGS; i++)
        wake(c, i);
    pthread_mutex_lock(&d->lock);
    while (d->running > 0)
        FUZZ_CHECK(!pthread_cond_timedwait(&d->applied, &d->lock, &until));
    pthread_mutex_unlock(&d->lock);
    FUZZ_CHECK(pool_stop(d->pool, HANG_S * 1000));
    for (uint32_t i = 0; i < d->nrings; i++)
        queue_destroy(d->queue[i]);
    shutdown(c->evt, SHUT_RDWR);
    events_destroy(d->events);
    life_destroy(d->life);
    pt_fs_destroy(d->fs);
    memmap_put(d->mm);
    memmap_put(d->mm_before);
    dirtylog_put(d->dirty);
    for (int i = 0; i < VRING_MAX; i++) {
        fd_close(&d->wake_fd[i]);
        for (int k = 0; k < RING_FD_KINDS; k++)
            fd_close(&d->mail[i][k].fd);
    }
    fd_close(&d->backend_req_fd);
    if (d->cfg)
        munmap((void *)d->cfg, sizeof(*d->cfg));
    if (d->run)
        munmap(d->run, sizeof(*d->run));
    pthread_mutex_destroy(&d->lock);
    pthread_cond_destroy(&d->applied);
    free(d);
}

/* The device takes what lies on the channel and answers it. */
static void let_answer(struct control *c)
{
    struct ipc_fds fds = { 0 };
    struct ipc_msg msg;

    if (ipc_recv(&c->d->cmd, &msg, &fds) == 0)
        FUZZ_CHECK(device_command(c->d, &msg, &fds) == 0);
    ipc_fds_close(&fds);
}

/* Return: the answer's status. */
static int take_answer(struct control *c)
{
    union {
        char buf[CMSG_SPACE(IPC_MAX_FDS * sizeof(int))];
        struct cmsghdr align;
    } ctl;
    struct ipc_msg msg;
    struct iovec iov = { &msg, sizeof(msg) };
    struct msghdr mh = { .msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = ctl.buf,
                         .msg_controllen = sizeof(ctl.buf) };
    struct cmsghdr *h;
    int fd;

    if (recvmsg(c->cmd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) !=
        (ssize_t)sizeof(msg))
        return -EBADMSG; /* refused before it was a command */
    FUZZ_CHECK(msg.is_reply == 1 && msg.id == c->id && msg.status <= 0);
    h = CMSG_FIRSTHDR(&mh);
    if (h) {
        memcpy(&fd, CMSG_DATA(h), sizeof(fd));
        close(fd);
    }
    return msg.status;
}

static int command(struct control *c, struct ipc_msg *msg, unsigned int nfds,
                   unsigned int kind)
{
    msg->magic = MAGIC;
    msg->id = ++c->id;
    FUZZ_CHECK(fuzz_send(c->cmd, msg, sizeof(*msg), nfds, kind) > 0);
    let_answer(c);
    return take_answer(c);
}

static void say_hello(struct control *c)
{
    struct ipc_chan chan = { .fd = c->cmd, .name = "cmd", .timeout_ms = 1000 };
    struct ipc_msg msg;
    union {
        char buf[CMSG_SPACE((RINGS + 1) * sizeof(int))];
        struct cmsghdr align;
    } ctl;
    struct iovec iov = { &msg, sizeof(msg) };
    struct msghdr mh = { .msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = ctl.buf,
                         .msg_controllen = sizeof(ctl.buf) };

    memset(&msg, 0, sizeof(msg));
    memset(&ctl, 0, sizeof(ctl));
    msg.magic = MAGIC;
    msg.type = IPC_HELLO;
    msg.id = ++c->id;
    msg.u.hello.version = IPC_VERSION;
    msg.u.hello.nrings = RINGS;
    ctl.align.cmsg_level = SOL_SOCKET;
    ctl.align.cmsg_type = SCM_RIGHTS;
    ctl.align.cmsg_len = CMSG_LEN((RINGS + 1) * sizeof(int));
    memcpy(CMSG_DATA(&ctl.align), &cfg_fd, sizeof(cfg_fd));
    memcpy(CMSG_DATA(&ctl.align) + sizeof(int), c->wake, sizeof(c->wake));
    FUZZ_CHECK(sendmsg(chan.fd, &mh, MSG_NOSIGNAL) == (ssize_t)sizeof(msg));
    let_answer(c);
    FUZZ_CHECK(take_answer(c) == 0);
    c->greeted = true;
}

static uint64_t seq_of(uint32_t ring)
{
    return atomic_load_explicit(&cfg->slot[ring].seq, memory_order_relaxed);
}

/* A control process that waits for what it has not published waits for
 * ever, which is its own affair: it is not done here. */
static bool can_sync(uint32_t ring, uint64_t seq)
{
    for (uint32_t i = 0; i < RINGS; i++) {
        if ((ring == i || ring == IPC_ALL_RINGS) && (seq_of(i) & 1))
            return false;
    }
    return ring >= RINGS || seq <= seq_of(ring);
}

/* Whatever was published is applied, and a ring that is not to be served has
 * nothing in flight. */
static void sync_all(struct control *c)
{
    struct ipc_msg msg;

    memset(&msg, 0, sizeof(msg));
    msg.type = IPC_SYNC;
    msg.u.sync.ring = IPC_ALL_RINGS;
    if (!c->greeted || !can_sync(IPC_ALL_RINGS, 0))
        return;
    FUZZ_CHECK(command(c, &msg, 0, 0) == 0);
    for (uint32_t i = 0; i < RINGS; i++) {
        const struct vring_run *run = &c->d->run->ring[i];
        const uint32_t live = VRING_CFG_STARTED | VRING_CFG_ENABLED;
        struct vring_cfg now;
        uint64_t seq;

        if (!c->d->queue[i])
            continue;
        FUZZ_CHECK(atomic_load(&run->applied_seq) >= seq_of(i));
        FUZZ_CHECK(vring_slot_read(&cfg->slot[i], &now, &seq) == 0);
        if ((now.flags & live) != live)
            FUZZ_CHECK(atomic_load(&run->in_flight) == 0);
        if (vring_cfg_check(&now) < 0)
            FUZZ_CHECK(!(atomic_load(&run->flags) & VRING_RUN_LIVE));
    }
}

static void any_command(struct control *c, struct fuzz_in *in)
{
    unsigned int fds = (unsigned int)fuzz_uint(in, 1);
    struct ipc_msg msg;
    size_t len;
    const uint8_t *p;

    memset(&msg, 0, sizeof(msg));
    msg.type = (uint16_t)fuzz_uint(in, 1);
    len = fuzz_uint(in, 1);
    p = fuzz_take(in, &len);
    if (len > 0)
        memcpy(&msg.u, p, MIN(len, sizeof(msg.u)));
    if (msg.type == IPC_SYNC && !can_sync(msg.u.sync.ring, msg.u.sync.seq))
        return;
    (void)command(c, &msg, fds & 15, fds >> 4);
}

static void publish(struct control *c, struct fuzz_in *in)
{
    uint32_t ring = (uint32_t)fuzz_uint(in, 1) % RINGS;
    struct vring_cfg slot;
    size_t len = fuzz_uint(in, 1);
    const uint8_t *p = fuzz_take(in, &len);

    /* What the input does not say is a ring that can be served. */
    slot = (struct vring_cfg){
        .flags = VRING_CFG_STARTED | VRING_CFG_ENABLED,
        .size = 64,
        .desc = { 0 },
        .avail = { 0x1000 },
        .used = { 0x2000 },
        .features = UINT64_C(1) << 32 | UINT64_C(1) << 28,
        .start_gen = 1,
        .mem_gen = 1,
        .kick_gen = 1,
        .call_gen = 1,
    };
    if (len > 0)
        memcpy(&slot, p, MIN(len, sizeof(slot)));
    vring_slot_publish(&cfg->slot[ring], &slot);
    wake(c, ring);
}

/* Reports of broken rings, answered or not. */
static void take_event(struct control *c, bool well)
{
    struct ipc_chan chan = { .fd = c->evt, .name = "evt" };
    struct pollfd p = { .fd = c->evt, .events = POLLIN };
    struct ipc_msg msg;
    struct ipc_fds fds;

    if (poll(&p, 1, 0) < 1 || ipc_recv(&chan, &msg, &fds) < 0)
        return;
    FUZZ_CHECK(msg.type == IPC_EVT_RING_BROKEN && msg.u.broken.ring < RINGS);
    FUZZ_CHECK(msg.u.broken.reason < 0);
    msg.id += !well;
    (void)ipc_reply(&chan, &msg, 0, NULL);
}

static void one_step(struct control *c, struct fuzz_in *in)
{
    const uint64_t one = 1;
    uint32_t ring, at;
    uint64_t seq;
    size_t len;
    const uint8_t *p;

    switch (fuzz_uint(in, 1) & 7) {
    case 0:
        any_command(c, in);
        break;
    case 1:
        publish(c, in);
        break;
    case 2: /* a writer that dies in the middle, or one that comes back */
        ring = (uint32_t)fuzz_uint(in, 1) % RINGS;
        seq = seq_of(ring);
        atomic_store(&cfg->slot[ring].seq, seq + 1);
        wake(c, ring);
        break;
    case 3:
    case 4: /* guest memory, also while it is used */
        at = (uint32_t)fuzz_uint(in, 2) * 2;
        len = fuzz_uint(in, 1);
        p = fuzz_take(in, &len);
        if (len > 0)
            memcpy(memory + at, p, MIN(len, FUZZ_MEMORY_BYTES - at));
        break;
    case 5: /* a kick */
        FUZZ_CHECK(write(fuzz_fd(FUZZ_FD_EVENT), &one, sizeof(one)) > 0);
        break;
    case 6:
        take_event(c, fuzz_uint(in, 1) & 1);
        break;
    default:
        sync_all(c);
        break;
    }
}

static void open_ends(int *ours, int *theirs)
{
    int sock[2];

    FUZZ_CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sock) ==
               0);
    *ours = sock[0];
    *theirs = sock[1];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_in in = { data, size };
    struct control c = { 0 };
    uint8_t flags = (uint8_t)fuzz_uint(&in, 1);
    uint64_t count;
    int before;

    setup();
    (void)fuzz_count_fds();
    before = fuzz_count_fds();
    memset(memory, 0, FUZZ_MEMORY_BYTES);
    memset(cfg->slot, 0, sizeof(cfg->slot));
    lseek(fuzz_fd(FUZZ_FD_MEMORY), 0, SEEK_SET);
    while (read(fuzz_fd(FUZZ_FD_EVENT), &count, sizeof(count)) > 0)
        ;
    open_ends(&c.cmd, &c.dev_cmd);
    open_ends(&c.evt, &c.dev_evt);
    for (int i = 0; i < RINGS; i++)
        c.wake[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    open_device(&c, flags & 1 ? 2 : 0);
    if (!(flags & 2))
        say_hello(&c);
    for (int i = 0; in.left > 0 && i < STEPS_MAX; i++)
        one_step(&c, &in);
    sync_all(&c);
    close_device(&c);
    for (int i = 0; i < RINGS; i++)
        close(c.wake[i]);
    close(c.cmd);
    close(c.dev_cmd);
    close(c.evt);
    close(c.dev_evt);
    FUZZ_CHECK(fuzz_count_fds() == before);
    share_reset();
    return 0;
}
