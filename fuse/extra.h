/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_FUSE_EXTRA_H
#define VIRTIOFSD_FUSE_EXTRA_H

/*
 * What the FUSE protocol has and the libfuse we are written against has not:
 * done on the raw request and reply, in this one file, so that a newer libfuse
 * can take a thing over by its removal here.
 */

#include <sys/uio.h>

#include "fuse/request_i.h"

/* The oldest FUSE minor spoken: what virtio-fs began with.  Older ones have
 * other request layouts, which validate.c does not describe. */
#define EXTRA_MIN_MINOR 27

/* Pages of payload a request may have, as a guest is told whose limit can be
 * raised: Linux 6.13, by the sysctl fs.fuse.max_pages_limit. */
#define EXTRA_MAX_PAGES       1024
#define EXTRA_MAX_PAGES_MINOR 41

/**
 * extra_check_init() - may libfuse answer this INIT?
 * @r: a valid INIT.
 * Return: 0 or -EPROTO: the guest's version is too old.
 */
int extra_check_init(const struct request *r);

/**
 * extra_mask_init() - hide from libfuse what must not be agreed.
 * A newer libfuse would accept flags that change request layouts which the
 * operations and validate.c do not know.
 * Context: on the copy in r->arg, before libfuse sees it.
 */
void extra_mask_init(struct request *r);

/* The flags that a guest's INIT offers, those of flags2 too.
 * Context: before extra_mask_init(). */
uint64_t extra_offered(const struct request *r);

/**
 * extra_patch_init() - last touch on libfuse's answer to an INIT.
 * It gets the flags of r->agree and larger requests than libfuse's, and all
 * that is agreed is left in r->agreed.
 * @iov: reply header, then its parts; changed in place.
 */
void extra_patch_init(struct request *r, const struct iovec *iov, int count);

#endif
