/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_TESTS_GUEST_POSIX_BATTERY_H
#define VIRTIOFSD_TESTS_GUEST_POSIX_BATTERY_H

/*
 * Small named cases that say what a file system does.  The same program runs
 * on the host's file system and in a guest on the share, and the outputs are
 * compared line by line:
 *
 *     AREA.CASE: LABEL = VALUE
 *
 * A value says nothing that differs from run to run: no inode numbers, no
 * moments.  Where POSIX or Linux leaves no choice the case names the answer,
 * and another one is marked with " !" and what was wanted.
 *
 * Each case runs in a process and an empty directory of its own, as root with
 * umask 022; what it leaves is removed.  Any call may end the case: what
 * follows is missing in the output, and so different.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct bat_case {
    const char *name;
    void (*run)(void);
};

struct bat_area {
    const char *name;
    const struct bat_case *cases;
    size_t n;
};

#define CASE(fn)                                                               \
    {                                                                          \
#fn, fn                                                                \
    }
#define AREA(id, ...)                                                          \
    static const struct bat_case id##_cases[] = { __VA_ARGS__ };               \
    const struct bat_area area_##id = {                                        \
        #id, id##_cases, sizeof(id##_cases) / sizeof(id##_cases[0])            \
    }

extern const struct bat_area area_open, area_perm, area_rules, area_setid,
    area_times, area_size, area_alloc, area_rename, area_link, area_name,
    area_special, area_map, area_share, area_dir, area_xattr, area_acl,
    area_lock, area_misc;

/* People: ids that own nothing on the host.  alice and bob are in the crew
 * by supplementary groups only, carol is in no group but her own. */
struct bat_user {
    const char *name;
    uid_t uid;
    gid_t gid;
    size_t n_groups;
    gid_t groups[2];
};

#define CREW 20100
extern const struct bat_user root, alice, bob, carol;

/*
 * Say what a call returned: "ok", or errno's name when @ret < 0.  errno is
 * read here, so the call stands among the arguments.
 * @err: the answer wanted, 0 for success; want() marks any other, see() has
 *       no opinion.
 * Return: @ret.
 */
long want(int err, const char *label, long ret);
long see(const char *label, long ret);
/* A number, and the one wanted. */
void eq(const char *label, long long got, long long wanted);
/* Free words. */
void tell(const char *label, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* "yes" or "no", with and without an opinion. */
void truth(const char *label, bool got, bool wanted);
void fact(const char *label, bool got);
/* Type, mode, links, owner and size of @path (a link itself, not its
 * target), or the error. */
void look(const char *label, const char *path);
void look_fd(const char *label, int fd);

/* Up to 100 bytes of @path, escaped; and the bytes wanted, or NULL. */
void content(const char *label, const char *path, const char *wanted);
/* The same of @n bytes in memory. */
void bytes(const char *label, const void *p, ssize_t n, const char *wanted);

/* What a case stands on.  A failure ends it with a line that says so. */
void need(bool ok, const char *what);
/* A file with @text in it, made whatever the umask is. */
void make(const char *path, mode_t mode, const char *text);
void make_dir(const char *path, mode_t mode);
int make_open(const char *path, int flags, mode_t mode);
void own(const char *path, uid_t uid, gid_t gid);
/* Bytes @from..@from+@n of a fixed sequence that does not repeat soon. */
void pattern(void *p, size_t n, uint64_t from);
bool is_pattern(const void *p, size_t n, uint64_t from);

/*
 * if (as(&alice)) { ...; over(); }   runs the block in a child with these
 * ids, and waits for it.  A child that dies of a signal is told.
 */
bool as(const struct bat_user *who);
void over(void) __attribute__((noreturn));
/* The same without waiting: 0 in the child, which ends with over(). */
pid_t begin(const struct bat_user *who);
/* Waits; "ok", or how it ended, as a line only if it was not ok. */
void await(pid_t pid);

/* Longer than the tick of any clock that stamps files. */
void moment(void);
/* "label N" in a buffer that lives until the sixty-fourth next call. */
const char *fmt(const char *format, ...) __attribute__((format(printf, 1, 2)));
const char *err_name(int err);

#endif
