/* SPDX-License-Identifier: BSD-3-Clause */
/* Which reads and writes are left to the pool, and which are not. */
#include <errno.h>
#include <fcntl.h>

#include "tests/lib/tap.h"
#include "tests/unit/mock_request.h"
#include "virtiofsd/base/log.h"

/* Longer than a tick of any kernel's clock. */
#define LONG_US 30000

static struct mock m;
static uint64_t node, fh;

static bool start(int flags)
{
    struct pt_opts o = mock_opts();
    struct fuse_open_out out;
    int ret;

    log_set_level(LOG_LEVEL_OFF);
    o.allow_direct_io = true;
    if (!CHECK(mock_start(&m, &o), "a share to test on"))
        return false;
    mock_host_file(&m, "f", "words");
    if (!CHECK_EQ(mock_lookup(&m, FUSE_ROOT_ID, "f", &node), 0, ""))
        return false;
    ret = mock_open(&m, FUSE_OPEN, node, flags, &out);
    if (ret == -EINVAL && flags & O_DIRECT) {
        tap_skip("no O_DIRECT in the temporary directory");
        return false;
    }
    fh = out.fh;
    m.r->may_defer = true;
    return CHECK_EQ(ret, 0, "open");
}

/* One READ.  Return: it was left to the pool; else the file was read. */
static bool deferred(void)
{
    int ret = mock_read(&m, FUSE_READ, node, fh, 0, 5);

    if (m.r->deferred)
        CHECK_EQ(ret, 1, "not answered");
    else
        CHECK_EQ(m.r->reply_len, 5, "read");
    return m.r->deferred;
}

static void what_is_in_memory_is_read_at_once(void)
{
    if (start(O_RDONLY)) {
        m.r->crowded = true;
        CHECK(!deferred(), "");
        CHECK_EQ(m.r->asked_cache, 1, "the host was asked");
    }
    mock_stop(&m);
}

static void what_is_not_is_left_to_the_pool(void)
{
    if (start(O_RDONLY)) {
        m.r->cache_says = -EAGAIN;
        CHECK(deferred(), "alone on its ring, too");
        m.r->may_defer = false;
        CHECK(!deferred(), "in the pool it is read");
        CHECK_EQ(m.r->asked_cache, 0, "without asking");
    }
    mock_stop(&m);
}

static void where_nobody_can_tell_the_time_does(void)
{
    if (start(O_RDONLY)) {
        m.r->cache_says = -EOPNOTSUPP;
        CHECK(!deferred(), "the first is tried");
        CHECK_EQ(m.r->asked_cache, 1, "");
        m.r->takes_us = LONG_US;
        CHECK(!deferred(), "");
        CHECK_EQ(m.r->asked_cache, 0, "once was enough");
        CHECK(!deferred(), "it may have been chance");
        CHECK(deferred(), "slow as it has proved to be");
        m.r->may_defer = false;
        CHECK(!deferred(), "");
        m.r->may_defer = true;
        CHECK(deferred(), "and still is");
        m.r->takes_us = 0;
        m.r->may_defer = false;
        CHECK(!deferred(), "fast again");
        m.r->may_defer = true;
        CHECK(!deferred(), "so it is read at once");
    }
    mock_stop(&m);
}

static int direct_read(void)
{
    return mock_read(&m, FUSE_READ, node, fh, 0, 5);
}

static int direct_write(void)
{
    return mock_write(&m, node, fh, 0, "x", 1);
}

static void direct_reads_of_a_crowd_are_begun(void)
{
    if (start(O_RDWR | O_DIRECT)) {
        m.r->crowded = true;
        CHECK_EQ(direct_read(), 1, "not answered");
        CHECK(m.r->begun && !m.r->deferred, "");
        CHECK_EQ(direct_write(), 1, "not answered");
        CHECK(m.r->deferred && !m.r->begun, "WRITE is left to the pool");
        m.r->begin_says = -EAGAIN;
        CHECK_EQ(direct_read(), 1, "not answered");
        CHECK(m.r->deferred, "not now, so the pool does it");
        direct_read();
        CHECK_EQ(m.r->asked_begin, 1, "and each time anew");
        m.r->crowded = false;
        direct_read();
        CHECK_EQ(m.r->asked_begin, 0, "alone");
    }
    mock_stop(&m);
}

static void direct_io_that_takes_waiting_goes_to_the_pool(void)
{
    if (start(O_RDWR | O_DIRECT)) {
        m.r->begin_says = -EOPNOTSUPP;
        m.r->crowded = true;
        CHECK_EQ(direct_read(), 1, "");
        CHECK(m.r->deferred, "READ");
        CHECK_EQ(direct_write(), 1, "");
        CHECK(m.r->deferred, "WRITE");
        CHECK_EQ(m.r->asked_begin, 0, "asked once for all");
        m.r->crowded = false;
        direct_read();
        CHECK(!m.r->deferred, "alone: READ");
        direct_write();
        CHECK(!m.r->deferred, "alone: WRITE");
        m.r->crowded = true;
        m.r->may_defer = false;
        direct_read();
        CHECK(!m.r->deferred, "in the pool: READ");
        direct_write();
        CHECK(!m.r->deferred, "in the pool: WRITE");
    }
    mock_stop(&m);
}

static void writes_to_the_cache_stay(void)
{
    if (start(O_RDWR)) {
        m.r->crowded = true;
        CHECK_EQ(mock_write(&m, node, fh, 0, "x", 1), 0, "");
        CHECK(!m.r->deferred, "");
    }
    mock_stop(&m);
}

TAP_MAIN(TEST(what_is_in_memory_is_read_at_once),
         TEST(what_is_not_is_left_to_the_pool),
         TEST(where_nobody_can_tell_the_time_does),
         TEST(direct_reads_of_a_crowd_are_begun),
         TEST(direct_io_that_takes_waiting_goes_to_the_pool),
         TEST(writes_to_the_cache_stay))
