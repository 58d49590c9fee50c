/* SPDX-License-Identifier: BSD-3-Clause */
#include "fuse/policy.h"

#include "fuse/queue.h"

bool request_may_defer(const struct request *r)
{
    return r->home != NULL;
}

void request_defer(struct request *r)
{
    r->deferred = true;
}

/* What is in flight beside the request itself is in the pool. */
bool request_is_crowded(const struct request *r)
{
    return r->home->in_flight > 1 || vring_has_more(&r->home->ring);
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
    return r->home && takes_its_time(r->hdr.opcode) && request_is_crowded(r);
}
