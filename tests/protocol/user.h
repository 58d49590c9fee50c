/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_TESTS_PROTOCOL_USER_H
#define VIRTIOFSD_TESTS_PROTOCOL_USER_H

/*
 * The program run by an ordinary user, by tests that root runs.  The user has
 * no name unless user_etc() gives it one.
 */

#include <stdbool.h>
#include <stdint.h>

#define USER_ID     12345
#define USER_SUBIDS 200000 /* user_etc(): the first of ... */
#define USER_SUB_N  1000   /* ... so many */

/**
 * user_ready() - can a test run the program as the user?
 * @userns: and in a user namespace of its own?
 * Copies the program to where every user can reach it, if need be: a build
 * below a private directory (root's home, say) is out of another's reach.
 * Return: false when the test is skipped.
 */
bool user_ready(bool userns);

/**
 * user_etc() - the user's line in passwd and its ranges in subuid, subgid.
 * @range: with the ranges, or without?
 * In a mount namespace, which the calling process is in from here on.
 * Return: 0 or -errno.
 */
int user_etc(bool range);

/**
 * user_in_child() - run @body in a child process.
 * What it does to its namespaces, environment and filters ends with it.
 */
void user_in_child(void (*body)(void));

/* Make clone(2) refuse user namespaces, to this process and its children, as
 * hosts do that forbid them.  Return: 0 or -errno. */
int user_forbid_userns(void);

#endif
