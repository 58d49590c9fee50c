/* SPDX-License-Identifier: BSD-3-Clause */
/* What the protocol tests can not see of the newer operations. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/tap.h"
#include "tests/unit/mock_request.h"

static int syncs, sync_error;
static struct stat synced;

/* In place of the C library's: what would be synced, and how it ends. */
int syncfs(int fd)
{
    syncs++;
    CHECK_EQ(fstat(fd, &synced), 0, "");
    CHECK(!(fcntl(fd, F_GETFL) & O_PATH), "O_PATH syncs nothing");
    errno = sync_error;
    return sync_error ? -1 : 0;
}

static int sync_node(struct mock *m, uint64_t node)
{
    struct proto_syncfs_in in = { 0 };

    syncs = 0;
    return mock_send(m->se, m->r, PROTO_SYNCFS, node, &in, sizeof(in));
}

static void syncfs_reaches_the_file_system_of_the_node(void)
{
    struct mock m;
    uint64_t id;

    if (!CHECK(mock_start(&m, NULL), "a share to test on"))
        return;
    mock_host_file(&m, "f", "x");
    sync_error = 0;
    CHECK_EQ(sync_node(&m, FUSE_ROOT_ID), 0, "");
    CHECK_EQ(syncs, 1, "");
    CHECK_EQ(synced.st_ino, mock_host_stat(&m, ".").st_ino, "the share");
    CHECK_EQ(mock_lookup(&m, FUSE_ROOT_ID, "f", &id), 0, "");
    CHECK_EQ(sync_node(&m, id), 0, "");
    CHECK_EQ(synced.st_ino, mock_host_stat(&m, "f").st_ino, "the node named");
    sync_error = ENOSPC;
    CHECK_EQ(sync_node(&m, id), -ENOSPC, "what was lost is told");
    CHECK_EQ(sync_node(&m, id + 1), -ESTALE, "");
    CHECK_EQ(syncs, 0, "");
    mock_stop(&m);
}

TAP_MAIN(TEST(syncfs_reaches_the_file_system_of_the_node))
