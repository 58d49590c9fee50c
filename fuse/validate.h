/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_FUSE_VALIDATE_H
#define VIRTIOFSD_FUSE_VALIDATE_H

/*
 * The shape of each FUSE request, checked before libfuse sees it: libfuse
 * trusts its caller, reads a name up to a NUL that need not be there and
 * believes a count.
 */

#include <stdbool.h>

#include "fuse/request_i.h"

/**
 * validate_request() - may this request be run?
 * @r: loaded.
 * Checks, by opcode: fixed arguments present, names NUL-terminated within the
 * request, counts and sizes covered by it, and room for the shortest good
 * reply: what could not be answered must not be done.
 * Return: 0; -ENOSYS an opcode that is not served; -EINVAL a wrong shape;
 * -EIO too little room for the reply.
 */
int validate_request(const struct request *r);

/* FORGET and BATCH_FORGET are never answered, not even with an error. */
bool validate_no_reply(uint32_t opcode);

/* For log lines; "?" when unknown, never NULL. */
const char *validate_opcode_name(uint32_t opcode);

#endif
