/* SPDX-License-Identifier: BSD-3-Clause */
#include "sandbox/rlimits.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "virtiofsd/base/log.h"
#include "virtiofsd/base/util.h"

#define NOFILE_DEFAULT 1000000

/* The kernel refuses more than fs.nr_open, even to root. */
static rlim_t default_nofile(void)
{
    uint64_t nr_open = NOFILE_DEFAULT;
    FILE *f = fopen("/proc/sys/fs/nr_open", "re");

    if (f) {
        if (fscanf(f, "%" SCNu64, &nr_open) != 1 || nr_open == 0)
            nr_open = NOFILE_DEFAULT;
        fclose(f);
    }
    return (rlim_t)MIN(nr_open, (uint64_t)NOFILE_DEFAULT);
}

int rlimits_set_nofile(int64_t want)
{
    struct rlimit old, lim;
    rlim_t n;
    int ret;

    if (want == 0)
        return 0;
    n = want < 0 ? default_nofile() : (rlim_t)want;
    lim = (struct rlimit){ n, n };
    if (setrlimit(RLIMIT_NOFILE, &lim) == 0)
        return 0;
    ret = -errno;
    if (getrlimit(RLIMIT_NOFILE, &old) < 0) {
        ret = -errno;
        log_err("sandbox: getrlimit: %s", strerror(-ret));
        return ret;
    }
    log_warn("sandbox: can not set the limit of open files to %ju: %s; "
             "using the hard limit, %ju",
             (uintmax_t)n, strerror(-ret), (uintmax_t)old.rlim_max);
    lim = (struct rlimit){ old.rlim_max, old.rlim_max };
    if (setrlimit(RLIMIT_NOFILE, &lim) < 0) {
        ret = -errno;
        log_err("sandbox: setrlimit: %s", strerror(-ret));
        return ret;
    }
    return 0;
}

void rlimits_no_core(void)
{
    struct rlimit none = { 0, 0 };

    if (setrlimit(RLIMIT_CORE, &none) < 0)
        log_debug("sandbox: setrlimit core: %s", strerror(errno));
}
