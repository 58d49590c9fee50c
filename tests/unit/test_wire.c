/* SPDX-License-Identifier: BSD-3-Clause */
#include "vhost/wire.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/tap.h"
#include "virtiofsd/base/util.h"

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

static int sv[2];
static struct wire_reader reader;

static void open_pair(void)
{
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0, "");
    wire_reader_init(&reader);
}

static void close_pair(void)
{
    wire_msg_reset(&reader);
    close(sv[0]);
    close(sv[1]);
}

/* Bytes with @n copies of stdout's fd beside them. */
static void put(const void *buf, size_t len, int n)
{
    union {
        char buf[CMSG_SPACE(64 * sizeof(int))];
        struct cmsghdr align;
    } ctl;
    struct iovec iov = { .iov_base = (void *)buf, .iov_len = len };
    struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
    int fd = STDOUT_FILENO;

    memset(&ctl, 0, sizeof(ctl));
    if (n > 0) {
        mh.msg_control = ctl.buf;
        mh.msg_controllen = CMSG_SPACE((size_t)n * sizeof(int));
        ctl.align.cmsg_level = SOL_SOCKET;
        ctl.align.cmsg_type = SCM_RIGHTS;
        ctl.align.cmsg_len = CMSG_LEN((size_t)n * sizeof(int));
        for (int i = 0; i < n; i++)
            memcpy(CMSG_DATA(&ctl.align) + (size_t)i * sizeof(int), &fd,
                   sizeof(int));
    }
    CHECK_EQ(sendmsg(sv[0], &mh, 0), len, "set-up");
}

static void put_header(uint32_t request, uint32_t flags, uint32_t size, int n)
{
    struct vu_hdr h = { request, flags, size };

    put(&h, sizeof(h), n);
}

static void wire_read_takes_a_message_in_single_bytes(void)
{
    struct vu_hdr h = { VHOST_USER_SET_FEATURES, 1, 8 };
    uint64_t v = 0x1122334455667788;
    char raw[20];

    memcpy(raw, &h, sizeof(h));
    memcpy(raw + sizeof(h), &v, sizeof(v));
    open_pair();
    CHECK_EQ(wire_read(sv[1], &reader), 0, "nothing there yet");
    for (size_t i = 0; i < sizeof(raw); i++) {
        put(raw + i, 1, i == 0 ? 2 : 0);
        CHECK_EQ(wire_read(sv[1], &reader), i == sizeof(raw) - 1, "");
    }
    CHECK_EQ(reader.msg.hdr.request, VHOST_USER_SET_FEATURES, "");
    CHECK_MEM(reader.msg.payload, &v, sizeof(v), "");
    CHECK_EQ(reader.msg.nfds, 2, "");
    close_pair();
}

static void wire_read_gives_each_of_two_messages_its_own_fds(void)
{
    uint64_t v = 0;
    char both[40];
    struct vu_hdr h = { VHOST_USER_SET_VRING_KICK, 1, 8 };
    int before = count_fds();

    memcpy(both, &h, sizeof(h));
    memcpy(both + 12, &v, 8);
    open_pair();
    put(both, 20, 1);
    put(both, 20, 3);
    CHECK_EQ(wire_read(sv[1], &reader), 1, "");
    CHECK_EQ(reader.msg.nfds, 1, "the first one's");
    wire_msg_reset(&reader);
    CHECK_EQ(wire_read(sv[1], &reader), 1, "");
    CHECK_EQ(reader.msg.nfds, 3, "the second one's");
    CHECK(fcntl(reader.msg.fds[0], F_GETFD) & FD_CLOEXEC, "close-on-exec");
    close_pair();
    CHECK_EQ(count_fds(), before, "all are closed");
}

static const struct {
    const char *why;
    uint32_t flags, size;
    int nfds, want;
} headers[] = {
    { "plain", 1, 0, 0, 1 },
    { "need_reply", 9, 0, 0, 1 },
    { "as many fds as may come", 1, 0, 8, 1 },
    { "version 0", 0, 0, 0, -EBADMSG },
    { "version 2", 2, 0, 1, -EBADMSG },
    { "a reply", 5, 0, 0, -EBADMSG },
    { "an unknown flag", 0x11, 0, 0, -EBADMSG },
    { "payload above the limit", 1, WIRE_MAX_PAYLOAD + 1, 0, -EBADMSG },
    { "payload of 4 GiB", 1, UINT32_MAX, 0, -EBADMSG },
    { "too many fds", 1, 0, 9, -EBADMSG },
    { "far too many fds", 1, 0, 60, -EBADMSG },
};

static void wire_read_refuses_bad_framing_and_keeps_no_fd(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(headers); i++) {
        int before = count_fds();

        open_pair();
        put_header(VHOST_USER_GET_FEATURES, headers[i].flags, headers[i].size,
                   headers[i].nfds);
        CHECK_EQ(wire_read(sv[1], &reader), headers[i].want, headers[i].why);
        close_pair();
        CHECK_EQ(count_fds(), before, headers[i].why);
    }
}

static void wire_read_refuses_fds_that_trickle_in_beyond_the_limit(void)
{
    int before = count_fds();

    open_pair();
    put_header(VHOST_USER_SET_MEM_TABLE, 1, 100, 8);
    CHECK_EQ(wire_read(sv[1], &reader), 0, "");
    put("x", 1, 1);
    CHECK_EQ(wire_read(sv[1], &reader), -EBADMSG, "the ninth");
    close_pair();
    CHECK_EQ(count_fds(), before, "");
}

static void wire_read_tells_an_end_from_a_torn_message(void)
{
    open_pair();
    shutdown(sv[0], SHUT_WR);
    CHECK_EQ(wire_read(sv[1], &reader), -EPIPE, "between messages");
    close_pair();

    open_pair();
    put("abc", 3, 0);
    shutdown(sv[0], SHUT_WR);
    CHECK_EQ(wire_read(sv[1], &reader), -EBADMSG, "within a header");
    close_pair();

    open_pair();
    put_header(VHOST_USER_SET_FEATURES, 1, 8, 1);
    shutdown(sv[0], SHUT_WR);
    CHECK_EQ(wire_read(sv[1], &reader), -EBADMSG, "before the payload");
    close_pair();
}

static void wire_read_never_goes_past_a_message(void)
{
    open_pair();
    put_header(VHOST_USER_GET_FEATURES, 1, 0, 0);
    put_header(VHOST_USER_GET_QUEUE_NUM, 1, 0, 0);
    CHECK_EQ(wire_read(sv[1], &reader), 1, "");
    CHECK_EQ(reader.msg.hdr.request, VHOST_USER_GET_FEATURES, "");
    wire_msg_reset(&reader);
    CHECK_EQ(wire_read(sv[1], &reader), 1, "");
    CHECK_EQ(reader.msg.hdr.request, VHOST_USER_GET_QUEUE_NUM, "");
    close_pair();
}

static void wire_take_fd_hands_over_once(void)
{
    int before = count_fds(), fd;

    open_pair();
    put_header(VHOST_USER_SET_LOG_FD, 1, 0, 1);
    CHECK_EQ(wire_read(sv[1], &reader), 1, "");
    fd = wire_take_fd(&reader.msg, 0);
    CHECK(fd >= 0, "");
    CHECK_EQ(wire_take_fd(&reader.msg, 0), -1, "taken");
    CHECK_EQ(wire_take_fd(&reader.msg, 1), -1, "never there");
    wire_msg_reset(&reader);
    CHECK(fcntl(fd, F_GETFD) >= 0, "the reset left it alone");
    close(fd);
    close_pair();
    CHECK_EQ(count_fds(), before, "");
}

static void wire_reply_is_a_header_with_the_reply_flag_and_a_payload(void)
{
    uint64_t v = 42;
    struct {
        struct vu_hdr h;
        uint8_t v[8];
    } got;

    open_pair();
    CHECK_EQ(wire_reply(sv[1], VHOST_USER_GET_FEATURES, &v, sizeof(v)), 0, "");
    CHECK_EQ(recv(sv[0], &got, sizeof(got), MSG_WAITALL), sizeof(got), "");
    CHECK_EQ(got.h.request, VHOST_USER_GET_FEATURES, "");
    CHECK_EQ(got.h.flags, 5, "version 1, reply");
    CHECK_EQ(got.h.size, 8, "");
    CHECK_MEM(got.v, &v, 8, "");
    CHECK_EQ(wire_reply(sv[1], VHOST_USER_GET_CONFIG, NULL, 0), 0, "");
    CHECK_EQ(recv(sv[0], &got, sizeof(got), 0), sizeof(got.h), "empty one");
    shutdown(sv[0], SHUT_RD);
    CHECK_EQ(wire_reply(sv[1], VHOST_USER_GET_FEATURES, &v, sizeof(v)), -EPIPE,
             "nobody reads, and no signal comes");
    close_pair();
}

TAP_MAIN(TEST(wire_read_takes_a_message_in_single_bytes),
         TEST(wire_read_gives_each_of_two_messages_its_own_fds),
         TEST(wire_read_refuses_bad_framing_and_keeps_no_fd),
         TEST(wire_read_refuses_fds_that_trickle_in_beyond_the_limit),
         TEST(wire_read_tells_an_end_from_a_torn_message),
         TEST(wire_read_never_goes_past_a_message),
         TEST(wire_take_fd_hands_over_once),
         TEST(wire_reply_is_a_header_with_the_reply_flag_and_a_payload))
