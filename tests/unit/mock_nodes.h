/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_TESTS_UNIT_MOCK_NODES_H
#define VIRTIOFSD_TESTS_UNIT_MOCK_NODES_H

/* Nodes that are known by file handles, and few of them open. */

#include "tests/unit/mock_request.h"

/* A share whose nodes have handles, @places of them open at a time.
 * Return: false when the test is over: skipped or failed. */
bool mock_start_handles(struct mock *m, unsigned int places);

/* One lookup more of a name in the root.  Return: the node. */
uint64_t mock_find(struct mock *m, const char *name);
bool mock_node_is_open(struct mock *m, uint64_t id);
/* Open other nodes until this one is closed. */
void mock_close_node(struct mock *m, uint64_t id);

#endif
