/* SPDX-License-Identifier: BSD-3-Clause */
#include "sandbox/caps.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "virtiofsd/base/log.h"
#include "virtiofsd/base/util.h"

#define CAP_BIT(cap) (UINT64_C(1) << (cap))

/* What it takes to act for any guest user on a file system.  DAC_READ_SEARCH
 * only with file handles: open_by_handle_at() reaches outside the share. */
static const unsigned int fuse_caps[] = {
    CAP_CHOWN,  CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID,
    CAP_SETGID, CAP_SETUID,       CAP_MKNOD,  CAP_SETFCAP,
};

/* Takes the next of "+a:-b" off @spec.  Return: 1, 0 at the end, -EINVAL;
 * @name then holds what is wrong. */
static int next_modcap(const char **spec, bool *add, unsigned int *cap,
                       char *name, size_t namelen)
{
    size_t len;
    int got;

    if (**spec == '\0')
        return 0;
    len = strcspn(*spec, ":");
    snprintf(name, namelen, "%.*s", (int)MIN(len, (size_t)64), *spec);
    if (len == 0 || (name[0] != '+' && name[0] != '-'))
        return -EINVAL;
    *spec += len;
    if (**spec == ':')
        (*spec)++;
    *add = name[0] == '+';
    got = capng_name_to_capability(
        name + (strncasecmp(name + 1, "cap_", 4) == 0 ? 5 : 1));
    if (got < 0)
        return -EINVAL;
    *cap = (unsigned int)got;
    return 1;
}

int caps_check_modcaps(const char *spec, char *err, size_t errlen)
{
    unsigned int cap;
    char name[80];
    bool add;
    int ret;

    do {
        ret = next_modcap(&spec, &add, &cap, name, sizeof(name));
    } while (ret > 0);
    if (ret < 0)
        snprintf(err, errlen,
                 "--modcaps: \"%s\" is not a capability with + or - before "
                 "it; write for example +dac_read_search:-mknod",
                 name);
    return ret;
}

static uint64_t wanted_caps(const struct sandbox_opts *opts)
{
    const char *spec = opts->modcaps;
    uint64_t want = 0;
    unsigned int cap;
    char name[80];
    bool add;

    for (size_t i = 0; i < ARRAY_SIZE(fuse_caps); i++)
        want |= CAP_BIT(fuse_caps[i]);
    if (opts->file_handles)
        want |= CAP_BIT(CAP_DAC_READ_SEARCH);
    while (next_modcap(&spec, &add, &cap, name, sizeof(name)) > 0) {
        if (add)
            want |= CAP_BIT(cap);
        else
            want &= ~(CAP_BIT(cap));
    }
    return want;
}

/*
 * The sets themselves are read and written by the bare system calls:
 * libcap-ng reads /proc/PID/status to do so, and there is none any more, or
 * one of another process of the same number in another pid namespace.
 */
struct caps {
    uint64_t effective, permitted;
};

static int get_caps(struct caps *c)
{
    struct __user_cap_header_struct hdr = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct d[2];

    if (syscall(SYS_capget, &hdr, d) < 0)
        return -errno;
    c->effective = d[0].effective | (uint64_t)d[1].effective << 32;
    c->permitted = d[0].permitted | (uint64_t)d[1].permitted << 32;
    return 0;
}

/* The inheritable set ends up empty, and so the ambient one does. */
static int set_caps(const struct caps *c)
{
    struct __user_cap_header_struct hdr = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct d[2] = {
        { .effective = (uint32_t)c->effective,
          .permitted = (uint32_t)c->permitted },
        { .effective = (uint32_t)(c->effective >> 32),
          .permitted = (uint32_t)(c->permitted >> 32) },
    };

    return syscall(SYS_capset, &hdr, d) < 0 ? -errno : 0;
}

static void cut_bounds(uint64_t keep)
{
    for (unsigned long cap = 0; cap < 64; cap++) {
        int have = prctl(PR_CAPBSET_READ, cap, 0, 0, 0);

        if (have < 0)
            return; /* past the last one */
        if (have && !(keep & CAP_BIT(cap)))
            prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
    }
}

static void drop_groups(void)
{
    if (getgroups(0, NULL) == 0 || setgroups(0, NULL) == 0)
        return;
    /* An ordinary user may not drop them: they are that user's own. */
    if (geteuid() == 0)
        log_debug("sandbox: the supplementary groups stay: %s",
                  strerror(errno));
}

/*
 * Can files be removed from the supervisor's directory without being
 * all-powerful?  Not when a launcher's socket directory belongs to another
 * user; then, and only then, the supervisor keeps CAP_DAC_OVERRIDE.  Its
 * filter leaves it nothing to use that for but unlinkat().
 */
static uint64_t supervisor_caps(int dir_fd, uint64_t permitted)
{
    struct caps c = { .effective = permitted & CAP_BIT(CAP_SETPCAP),
                      .permitted = permitted };

    if (dir_fd < 0 || !(permitted & CAP_BIT(CAP_DAC_OVERRIDE)))
        return 0;
    /* Effective only, so that it can come back; CAP_SETPCAP for what is to
     * follow. */
    if (set_caps(&c) < 0)
        return 0;
    if (faccessat(dir_fd, ".", W_OK | X_OK, AT_EACCESS) == 0)
        return 0;
    log_debug("sandbox: keeping CAP_DAC_OVERRIDE to remove the socket");
    return CAP_BIT(CAP_DAC_OVERRIDE);
}

int caps_enter(enum sandbox_role role, const struct sandbox_opts *opts,
               int dir_fd)
{
    struct caps c = { 0, 0 };
    uint64_t keep = 0;
    int ret;

    drop_groups();
    ret = get_caps(&c);
    if (ret < 0)
        goto fail;
    switch (role) {
    case SANDBOX_ROLE_SUPERVISOR:
        keep = supervisor_caps(dir_fd, c.permitted);
        cut_bounds(keep);
        break;
    case SANDBOX_ROLE_VHOST:
        cut_bounds(0);
        break;
    case SANDBOX_ROLE_FUSE:
        keep = wanted_caps(opts) & c.permitted;
        cut_bounds(keep);
        break;
    }
    c = (struct caps){ .effective = keep, .permitted = keep };
    ret = set_caps(&c);
    if (ret < 0)
        goto fail;
    return 0;

fail:
    log_err("sandbox: capabilities: %s", strerror(-ret));
    return ret;
}
