/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/lib/fusemsg.h"

#include <errno.h>
#include <string.h>

#include "tests/lib/tap.h"
#include "virtiofsd/base/util.h"

/* Behind the reply's room, to see whether someone writes there. */
#define CANARY_BYTES 64
#define CANARY       0x5a

void fm_init(struct fm *m, uint32_t opcode, uint64_t nodeid)
{
    memset(m, 0, sizeof(*m));
    m->h.opcode = opcode;
    m->h.nodeid = nodeid;
    m->h.pid = 4711;
}

void fm_add(struct fm *m, const void *p, size_t len)
{
    m->part[m->nparts].p = p;
    m->part[m->nparts].len = len;
    m->nparts++;
}

void fm_add_name(struct fm *m, const char *name)
{
    fm_add(m, name, strlen(name) + 1);
}

static size_t in_bytes(const struct fm *m)
{
    size_t n = sizeof(m->h);

    for (int i = 0; i < m->nparts; i++)
        n += m->part[i].len;
    return n;
}

static size_t out_bytes(const struct fm *m)
{
    if (m->no_reply)
        return 0;
    return m->cut_out ? m->out_bytes : sizeof(m->oh) + m->room;
}

static size_t page_up(size_t n)
{
    return (n + GUEST_PAGE - 1) & ~(GUEST_PAGE - 1);
}

/* Where the reply begins, from the slot's start. */
static size_t out_offset(const struct fm *m)
{
    return page_up(m->skew + in_bytes(m)) + m->skew;
}

size_t fm_bytes(const struct fm *m)
{
    return page_up(out_offset(m) + out_bytes(m) + CANARY_BYTES);
}

/* Cut a span into segments. */
static size_t cut(struct guest_seg *segs, size_t n, uint64_t gpa, size_t len,
                  size_t first, size_t each, bool write)
{
    while (len > 0 && n < FM_SEGS_MAX) {
        size_t now = MIN(each ? each : first, len);

        segs[n++] = (struct guest_seg){ gpa, (uint32_t)now, write };
        gpa += now;
        len -= now;
        first = len; /* the header is one, the rest is another */
    }
    return n;
}

int fm_put(struct guest_queue *q, struct fm *m, size_t slot)
{
    struct guest_seg segs[FM_SEGS_MAX];
    size_t n, len = in_bytes(m), out = out_bytes(m);
    uint64_t gpa = q->buf_gpa + slot + m->skew;
    uint8_t *p = guest_at(q->mem, gpa, fm_bytes(m) - m->skew);
    int head;

    if (!p)
        return -ENOMEM;
    if (!m->keep_header) {
        m->h.len = (uint32_t)len;
        m->h.unique = q->unique += 2;
    }
    memcpy(p, &m->h, sizeof(m->h));
    p += sizeof(m->h);
    for (int i = 0; i < m->nparts; i++) {
        if (m->part[i].len > 0)
            memcpy(p, m->part[i].p, m->part[i].len);
        p += m->part[i].len;
    }
    m->slot = slot;
    m->out_gpa = q->buf_gpa + slot + out_offset(m);
    p = guest_at(q->mem, m->out_gpa, out + CANARY_BYTES);
    memset(p, 0xa5, MIN(out, sizeof(m->oh)));
    memset(p + out, CANARY, CANARY_BYTES);
    n = cut(segs, 0, gpa, len, sizeof(m->h), m->in_seg, false);
    n = cut(segs, n, m->out_gpa, out, sizeof(m->oh), m->out_seg, true);
    head = guest_add(q, segs, n, m->indirect);
    if (head < 0)
        return head;
    m->head = (uint16_t)head;
    return 0;
}

int fm_reply(struct guest_queue *q, struct fm *m, uint32_t used_len)
{
    size_t out = out_bytes(m);
    const uint8_t *p = guest_at(q->mem, m->out_gpa, out + CANARY_BYTES);
    bool whole = true;

    m->used_len = used_len;
    for (size_t i = 0; i < CANARY_BYTES; i++)
        whole = whole && p[out + i] == CANARY;
    CHECK(whole, "nothing is written behind the room for the reply");
    CHECK(used_len <= out, "the used length is no more than the room");
    if (used_len == 0)
        return FM_EMPTY;
    if (!CHECK(used_len >= sizeof(m->oh), "a reply has a whole header"))
        return FM_EMPTY;
    memcpy(&m->oh, p, sizeof(m->oh));
    CHECK_EQ(m->oh.len, used_len, "the reply's length is the used length");
    CHECK_EQ(m->oh.unique, m->h.unique, "the reply is to our request");
    CHECK(m->oh.error <= 0 && m->oh.error > -512, "an errno Linux takes");
    m->out = p + sizeof(m->oh);
    m->out_len = MIN(used_len, out) - sizeof(m->oh);
    if (m->oh.error)
        CHECK_EQ(m->out_len, 0, "an error comes without a payload");
    return m->oh.error;
}

int fm_call(struct guest_queue *q, struct fm *m)
{
    uint16_t head;
    uint32_t used;

    if (q->lost || !guest_queue_buf(q, fm_bytes(m)))
        return FM_LOST;
    if (!CHECK_EQ(fm_put(q, m, 0), 0, "the request fits the ring"))
        return FM_LOST;
    guest_publish(q);
    if (!CHECK_EQ(guest_wait(q, &head, &used), 0, "the request comes back"))
        return FM_LOST;
    if (!CHECK_EQ(head, m->head, "the element that came back is ours"))
        return FM_LOST;
    return fm_reply(q, m, used);
}
