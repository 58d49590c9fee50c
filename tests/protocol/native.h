/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_TESTS_PROTOCOL_NATIVE_H
#define VIRTIOFSD_TESTS_PROTOCOL_NATIVE_H

/*
 * The measure of a guest's request: the same system call of a process with
 * the same ids on the host's file system, without a daemon between.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define NATIVE_GROUPS_MAX 4

/* A process, in the guest or on the host.  Uid 0 has all capabilities. */
struct native_who {
    uid_t uid;
    gid_t gid;
    gid_t groups[NATIVE_GROUPS_MAX];
    uint32_t n_groups;
    mode_t umask;
};

/**
 * native_run() - have @fn run by a child that is @who, in directory @dir.
 * @fn: returns 0 or -errno.
 * Return: what it returned; -ECHILD when the child could not become @who.
 */
int native_run(const struct native_who *who, const char *dir,
               int (*fn)(const void *), const void *arg);

/* What of a file a caller can tell, as text: to compare two of them, and to
 * print them where they differ.  Four buffers in turn. */
const char *native_tell(const char *path);

/* Give a file a security.capability.  Return: false where none can be had. */
bool native_set_caps(const char *path);

#endif
