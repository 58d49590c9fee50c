/* SPDX-License-Identifier: BSD-3-Clause */
#include "fuse/policy.h"

bool request_may_defer(const struct request *r)
{
    return r->may_defer;
}

void request_defer(struct request *r)
{
    r->deferred = true;
}

bool request_is_crowded(const struct request *r)
{
    return r->crowded;
}

static bool takes_its_time(uint32_t opcode)
{
    switch (opcode) {
    case FUSE_FSYNC:
    case FUSE_FSYNCDIR:
    case FUSE_FALLOCATE:
    case FUSE_COPY_FILE_RANGE:
    case PROTO_COPY_FILE_RANGE_64:
    case PROTO_SYNCFS:
        return true;
    default:
        return false;
    }
}

bool policy_is_slow(const struct request *r)
{
    return r->may_defer && r->crowded && takes_its_time(r->hdr.opcode);
}
