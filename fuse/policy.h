/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_FUSE_POLICY_H
#define VIRTIOFSD_FUSE_POLICY_H

/*
 * Which thread runs a request, when there is a pool (--thread-pool-size).
 *
 *   what                                   | the ring's thread, or the pool
 *   READ of what the host has in memory    | ring's
 *   READ of what it has not                | pool
 *   READ where it can not tell (tmpfs,     | ring's; pool while reads of the
 *   FUSE, network)                         | file take long
 *   FSYNC, SYNCFS, FALLOCATE, copies,      | pool when others of the ring wait
 *   WRITE with O_DIRECT                    | or are under way; else ring's
 *   READ with O_DIRECT                     | no thread (fuse/async.h) when
 *                                          | others are; else ring's
 *   all else                               | ring's
 *
 * To hand a request over costs some microseconds, more than most requests
 * take; alone on its ring even a slow one gains nothing by it.
 */

#include "fuse/request_i.h"

/**
 * policy_is_slow() - shall a validated request go to the pool unseen?
 * Context: an executing thread; false in one of the pool.
 */
bool policy_is_slow(const struct request *r);

#endif
