/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/lib/proc.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int proc_pidfd(pid_t pid)
{
    return (int)syscall(SYS_pidfd_open, pid, 0);
}

static int rm_one(const char *path, const struct stat *st, int type,
                  struct FTW *ftw)
{
    (void)st;
    (void)ftw;
    return type == FTW_DP || type == FTW_D ? rmdir(path) : unlink(path);
}

void proc_remove_tree(const char *path)
{
    nftw(path, rm_one, 32, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

pid_t proc_parent(pid_t pid)
{
    char path[64], buf[512], *p;
    ssize_t n;
    int ppid = 0, fd;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    n = read(fd, buf, sizeof(buf) - 1);
    close(fd);
    if (n <= 0)
        return 0;
    buf[n] = '\0';
    /* The name in parentheses may hold anything, so look from its end. */
    p = strrchr(buf, ')');
    if (!p || sscanf(p + 1, " %*c %d", &ppid) != 1)
        return 0;
    return ppid;
}

size_t proc_add_children(pid_t root, pid_t *pids, size_t n, size_t max)
{
    DIR *proc = opendir("/proc");
    struct dirent *e;

    while (proc && (e = readdir(proc))) {
        pid_t pid = (pid_t)atoi(e->d_name), ppid;
        bool below, known = false;

        if (pid <= 0 || n >= max)
            continue;
        ppid = proc_parent(pid);
        below = ppid == root;
        for (size_t i = 0; i < n; i++) {
            below = below || ppid == pids[i];
            known = known || pid == pids[i];
        }
        if (below && !known)
            pids[n++] = pid;
    }
    if (proc)
        closedir(proc);
    return n;
}

size_t proc_descendants(pid_t root, pid_t *pids, size_t max)
{
    size_t n = 0, before;

    /* Numbers wrap, so a child may come before its parent: go on until a
     * round finds nothing new. */
    do {
        before = n;
        n = proc_add_children(root, pids, n, max);
    } while (n > before);
    return n;
}
