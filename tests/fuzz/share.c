/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fuzz/share.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"

/* No file may grow past it: a guest may ask for any size. */
#define FILE_BYTES_MAX (1 << 20)

static char dir[] = "/tmp/virtiofsd-fuzz-XXXXXX";
static int root = -1;
static bool own_dir;

/* A mount that is attached to no tree: its ".." leads to itself. */
static int detached_tmpfs(void)
{
    int fs = fsopen("tmpfs", FSOPEN_CLOEXEC), mnt = -1;

    if (fs < 0)
        return -1;
    if (fsconfig(fs, FSCONFIG_SET_STRING, "size", "4m", 0) == 0 &&
        fsconfig(fs, FSCONFIG_SET_STRING, "nr_inodes", "4096", 0) == 0 &&
        fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
        mnt = fsmount(fs, FSMOUNT_CLOEXEC, 0);
    close(fs);
    return mnt;
}

int share_root(void)
{
    struct rlimit lim;

    if (root >= 0)
        return root;
    root = detached_tmpfs();
    if (root < 0) {
        FUZZ_CHECK(mkdtemp(dir) != NULL);
        own_dir = true;
        root = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        FUZZ_CHECK(root >= 0);
        atexit(share_remove);
    }
    signal(SIGXFSZ, SIG_IGN);
    FUZZ_CHECK(getrlimit(RLIMIT_FSIZE, &lim) == 0);
    lim.rlim_cur = FILE_BYTES_MAX;
    FUZZ_CHECK(setrlimit(RLIMIT_FSIZE, &lim) == 0);
    return root;
}

int share_proc(void)
{
    static int proc = -1;

    if (proc < 0)
        proc = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
    return proc;
}

/* The guest may have taken our rights away; root needs none. */
static void take_rights(int at, const char *name)
{
    if (fchmodat(at, name, 0700, 0) < 0)
        return; /* then it is no directory of ours */
}

/* Below @at, whose fd is taken. */
static void empty(int at)
{
    DIR *d = fdopendir(at);
    struct dirent *de;

    FUZZ_CHECK(d != NULL);
    while ((de = readdir(d))) {
        int sub;

        if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, ".."))
            continue;
        if (unlinkat(at, de->d_name, 0) == 0)
            continue;
        take_rights(at, de->d_name);
        sub = openat(at, de->d_name,
                     O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (sub >= 0)
            empty(sub);
        unlinkat(at, de->d_name, AT_REMOVEDIR);
    }
    closedir(d);
}

static void empty_root(void)
{
    int at;

    take_rights(share_root(), ".");
    at = openat(share_root(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    FUZZ_CHECK(at >= 0);
    empty(at);
}

void share_reset(void)
{
    static const char text[] = "what the file holds to begin with\n";
    int fd;

    empty_root();
    fd = openat(root, "file", O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
    FUZZ_CHECK(fd >= 0);
    FUZZ_CHECK(write(fd, text, sizeof(text)) == (ssize_t)sizeof(text));
    close(fd);
    FUZZ_CHECK(mkdirat(root, "dir", 0755) == 0);
    FUZZ_CHECK(mkdirat(root, "dir/sub", 0755) == 0);
    FUZZ_CHECK(symlinkat("file", root, "link") == 0);
}

void share_remove(void)
{
    if (root < 0)
        return;
    empty_root();
    close(root);
    root = -1;
    if (own_dir)
        rmdir(dir);
}
