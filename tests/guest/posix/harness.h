/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_TESTS_GUEST_POSIX_HARNESS_H
#define VIRTIOFSD_TESTS_GUEST_POSIX_HARNESS_H

/* What only main.c needs of the harness: the lines of what follows belong to
 * this case. */
void harness_enter(const char *area, const char *name);

#endif
