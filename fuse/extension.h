/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_FUSE_EXTENSION_H
#define VIRTIOFSD_FUSE_EXTENSION_H

/*
 * What a request says beyond its arguments, or by those that were agreed upon
 * in INIT: flags, and the extensions behind the arguments of whatever makes a
 * file.  It is put aside in r->ext for the operation.
 */

#include "fuse/request_i.h"

/**
 * extension_take() - read them, and leave one layout of the arguments.
 * @agreed: INIT flags of this life.
 * Works on the copy in r->arg, validated; what r->ext points at is in there.
 * Context: inside the gate, before the operation.
 * Return: 0, or -EINVAL for one that contradicts itself.
 */
int extension_take(struct request *r, uint64_t agreed);

#endif
