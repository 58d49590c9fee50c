/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_FUSE_FUSE_API_H
#define VIRTIOFSD_FUSE_FUSE_API_H

/*
 * The one place that says which libfuse interface we are written against.
 * 3.14 is Debian 12's; newer ones keep it by symbol versions.
 */
#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#endif
