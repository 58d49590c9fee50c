/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bytes and descriptors through the reader of the front-end's socket.
 *
 * Input: records of { u8 descriptors, u16 length, bytes }, each one
 * sendmsg(); between two of them the reader takes what is there.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "vhost/wire.h"
#include "virtiofsd/base/log.h"
#include "virtiofsd/base/util.h"

static void check_reply(const int sock[2], uint32_t request, const void *body,
                        size_t size)
{
    struct {
        struct vu_hdr h;
        uint8_t body[64];
    } got;

    FUZZ_CHECK(wire_reply(sock[1], request, body, size) == 0);
    FUZZ_CHECK(recv(sock[0], &got, sizeof(got), MSG_DONTWAIT) ==
               (ssize_t)(sizeof(got.h) + size));
    FUZZ_CHECK(got.h.request == request && got.h.size == size);
    FUZZ_CHECK(memcmp(got.body, body, size) == 0);
}

static void check_message(const int sock[2], struct vu_msg *m)
{
    FUZZ_CHECK(m->hdr.size <= WIRE_MAX_PAYLOAD);
    FUZZ_CHECK((m->hdr.flags & VU_FLAG_VERSION_MASK) == VU_FLAG_VERSION);
    FUZZ_CHECK(!(m->hdr.flags & VU_FLAG_REPLY));
    FUZZ_CHECK(m->nfds >= 0 && m->nfds <= VU_MAX_FDS);
    for (int i = 0; i < m->nfds; i++)
        FUZZ_CHECK(m->fds[i] > 2);
    FUZZ_CHECK(wire_take_fd(m, VU_MAX_FDS) == -1);
    if (m->nfds > 0) {
        close(wire_take_fd(m, 0));
        FUZZ_CHECK(wire_take_fd(m, 0) == -1);
    }
    check_reply(sock, m->hdr.request, m->payload,
                MIN((size_t)m->hdr.size, (size_t)64));
}

/* Return: 0 when the socket is empty, or what the reader refused. */
static int read_all(const int sock[2], struct wire_reader *r)
{
    char byte;

    for (;;) {
        int ret = wire_read(sock[1], r);

        if (ret < 0)
            return ret;
        if (ret == 1) {
            check_message(sock, &r->msg);
            wire_msg_reset(r);
            FUZZ_CHECK(r->got == 0 && r->msg.nfds == 0);
        } else if (recv(sock[1], &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 1) {
            return 0;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_in in = { data, size };
    struct wire_reader *r = malloc(sizeof(*r));
    int sock[2], ret = 0, before;

    log_set_level(LOG_LEVEL_OFF);
    (void)fuzz_fd(0);
    (void)fuzz_count_fds();
    before = fuzz_count_fds();
    FUZZ_CHECK(r &&
               socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock) == 0);
    wire_reader_init(r);
    while (ret == 0 && in.left > 0) {
        unsigned int nfds = (unsigned int)fuzz_uint(&in, 1) & 15;
        size_t len = fuzz_uint(&in, 2);
        const uint8_t *p = fuzz_take(&in, &len);

        if (len == 0)
            continue;
        FUZZ_CHECK(fuzz_send(sock[0], p, len, nfds, 0) == (long)len);
        ret = read_all(sock, r);
    }
    if (ret == 0) {
        shutdown(sock[0], SHUT_WR);
        ret = wire_read(sock[1], r);
        FUZZ_CHECK(ret == (r->got || r->msg.nfds ? -EBADMSG : -EPIPE));
    }
    wire_msg_reset(r);
    close(sock[0]);
    close(sock[1]);
    free(r);
    FUZZ_CHECK(fuzz_count_fds() == before);
    return 0;
}
