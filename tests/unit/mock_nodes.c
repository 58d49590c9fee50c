/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/mock_nodes.h"

#include <stdio.h>
#include <unistd.h>

#include "fuse/passthrough/pt_i.h"
#include "tests/lib/tap.h"
#include "virtiofsd/base/log.h"

bool mock_start_handles(struct mock *m, unsigned int places)
{
    struct pt_opts o = mock_opts();

    log_set_level(LOG_LEVEL_OFF);
    if (geteuid() != 0) {
        tap_skip("opening by handle takes root");
        return false;
    }
    o.file_handles = PT_HANDLES_MANDATORY;
    o.node_fds = places;
    return CHECK(mock_start(m, &o), "a share with file handles");
}

uint64_t mock_find(struct mock *m, const char *name)
{
    uint64_t id = 0;

    CHECK_EQ(mock_lookup(m, FUSE_ROOT_ID, name, &id), 0, name);
    return id;
}

bool mock_node_is_open(struct mock *m, uint64_t id)
{
    struct pt_node *n = pt_node_get(&m->fs->nodes, id);
    bool open = n && n->fd >= 0;

    if (n)
        pt_node_put(&m->fs->nodes, n);
    return open;
}

void mock_close_node(struct mock *m, uint64_t id)
{
    char name[16];
    uint64_t other;

    for (int i = 0; mock_node_is_open(m, id) && i < 100; i++) {
        snprintf(name, sizeof(name), "other%d", i);
        mock_host_file(m, name, "");
        other = mock_find(m, name);
        CHECK_EQ(mock_getattr(m, other, NULL), 0, name);
        mock_forget(m, other, 1);
        unlink(mock_path(m, name));
        if (i == 99)
            CHECK(false, "it is never closed");
    }
}
