/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_BASE_PROBES_H
#define VIRTIOFSD_BASE_PROBES_H

/*
 * USDT probes at the seams: msg_in, cfg_publish, cfg_read, req_pop,
 * req_validate, req_reply, ring_stop.  No-ops where sys/sdt.h is missing.
 * contrib/trace/ has the scripts that use them.
 */
#ifdef HAVE_SDT
#include <sys/sdt.h>
#define PROBE1(name, a)       DTRACE_PROBE1(virtiofsd, name, a)
#define PROBE2(name, a, b)    DTRACE_PROBE2(virtiofsd, name, a, b)
#define PROBE3(name, a, b, c) DTRACE_PROBE3(virtiofsd, name, a, b, c)
#else
#define PROBE1(name, a)       ((void)(a))
#define PROBE2(name, a, b)    ((void)(a), (void)(b))
#define PROBE3(name, a, b, c) ((void)(a), (void)(b), (void)(c))
#endif

#endif
