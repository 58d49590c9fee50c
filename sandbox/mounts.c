/* SPDX-License-Identifier: BSD-3-Clause */
#include "sandbox/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "virtiofsd/base/fd.h"
#include "virtiofsd/base/log.h"

#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif
#ifndef OPEN_TREE_CLOEXEC
#define OPEN_TREE_CLOEXEC O_CLOEXEC
#endif

/* /proc is the one directory which is there for certain, as we need it, and
 * which nobody needs under what we mount over it. */
#define MOUNT_POINT "/proc"

static int fail(const char *what)
{
    int ret = -errno;

    log_err("sandbox: %s: %s", what, strerror(-ret));
    return ret;
}

/*
 * In a plain chroot the root is no mount, so nothing can be said of it nor
 * put in its place.  Make it one: a copy on top of itself, and into that by
 * "/..", which climbs on what is mounted over the root.
 */
static int make_root_a_mount(void)
{
    if (mount("/", "/", NULL, MS_BIND | MS_REC, NULL) < 0)
        return fail("bind mount of / on itself");
    if (chroot("/..") < 0 || chdir("/") < 0)
        return fail("chroot to the mount on /");
    return 0;
}

/* Host mounts made later still show up inside, ours never outside. */
static int cut_propagation(void)
{
    int ret;

    if (mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) == 0)
        return 0;
    if (errno != EINVAL)
        return fail("mount --make-rslave /");
    ret = make_root_a_mount();
    if (ret < 0)
        return ret;
    if (mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) < 0)
        return fail("mount --make-rslave /");
    return 0;
}

/* What is mounted at MOUNT_POINT becomes all there is. */
static int pivot(void)
{
    if (chdir(MOUNT_POINT) < 0)
        return fail("chdir to the new root");
    /* With one directory as both, the old root ends up on top of the new
     * one, and no directory is needed to put it in. */
    if (syscall(SYS_pivot_root, ".", ".") < 0)
        return fail("pivot_root (is the root an initramfs? --sandbox chroot)");
    if (umount2(".", MNT_DETACH) < 0)
        return fail("umount of the old root");
    if (chdir("/") < 0)
        return fail("chdir /");
    return 0;
}

/*
 * /proc/self/fd, as a mount of its own: through an fd of the directory in
 * place, ".." would lead to the host's whole /proc and out of it.  The mount
 * is detached at once and lives as long as the fd.
 */
static int open_proc_detached(int *proc_fd)
{
    auto_fd fd = -1;

    if (mount("/proc/self/fd", MOUNT_POINT, NULL, MS_BIND, NULL) < 0)
        return fail("bind mount of /proc/self/fd (is /proc mounted?)");
    fd = open(MOUNT_POINT, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fail("open of /proc/self/fd");
    if (umount2(MOUNT_POINT, MNT_DETACH) < 0)
        return fail("umount of /proc/self/fd");
    *proc_fd = take_fd(&fd);
    return 0;
}

/* Without a mount namespace nothing may be mounted where others see it; a
 * detached copy is seen by nobody, but takes CAP_SYS_ADMIN. */
static int open_proc_plain(int *proc_fd)
{
#ifdef SYS_open_tree
    *proc_fd = (int)syscall(SYS_open_tree, AT_FDCWD, "/proc/self/fd",
                            OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (*proc_fd >= 0)
        return 0;
#endif
    *proc_fd = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
    return *proc_fd < 0 ? fail("open of /proc/self/fd") : 0;
}

/* Size and inode count are for a directory that stays empty. */
static int mount_empty(void)
{
    if (mount("none", MOUNT_POINT, "tmpfs",
              MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
              "size=4k,nr_inodes=2,mode=0555") < 0)
        return fail("mount of an empty root");
    return 0;
}

static int chroot_child(void *unused)
{
    (void)unused;
    /* The working directory too: once we are dead nobody can go there. */
    _exit(chroot("/proc/self/fdinfo") < 0 || chdir("/") < 0 ? 1 : 0);
}

/*
 * chroot to a directory that is empty for ever and can not be written to,
 * without leaving one behind: the fdinfo of a process that is dead.  The
 * child shares our root (CLONE_FS), moves it to its own /proc entry and ends.
 */
static int chroot_empty(void)
{
    const size_t size = 256 * 1024;
    int status = 0;
    char *stack;
    pid_t pid;

    stack = mmap(NULL, size, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack == MAP_FAILED)
        return fail("mmap");
    pid = clone(chroot_child, stack + size, CLONE_FS | SIGCHLD, NULL);
    if (pid < 0)
        return fail("clone");
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return fail("waitpid");
    munmap(stack, size);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        errno = EPERM;
        return fail("chroot to an empty directory");
    }
    return 0;
}

int mounts_enter_empty(enum sandbox_mode mode)
{
    int ret;

    switch (mode) {
    case SANDBOX_NAMESPACE:
        ret = cut_propagation();
        if (ret == 0)
            ret = mount_empty();
        return ret < 0 ? ret : pivot();
    case SANDBOX_CHROOT:
        return chroot_empty();
    case SANDBOX_NONE:
        return 0;
    }
    return -EINVAL;
}

/* The fd from outside is of a mount which the old namespace owns. */
static int reopen_root(struct sandbox_files *files)
{
    int fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return fail("open of the new root");
    fd_close(&files->root_fd);
    files->root_fd = fd;
    return 0;
}

static int enter_dir_namespace(struct sandbox_files *files)
{
    int ret;

    if (mount(".", MOUNT_POINT, NULL, MS_BIND | MS_REC, NULL) < 0)
        return fail("bind mount of the shared directory");
    ret = pivot();
    return ret < 0 ? ret : reopen_root(files);
}

static int enter_dir_chroot(struct sandbox_files *files)
{
    if (chroot(".") < 0)
        return fail("chroot to the shared directory");
    if (chdir("/") < 0)
        return fail("chdir /");
    return reopen_root(files);
}

int mounts_enter_share(enum sandbox_mode mode, struct sandbox_files *files)
{
    struct stat st;
    int ret;

    if (fstat(files->root_fd, &st) < 0)
        return fail("fstat of the share");
    switch (mode) {
    case SANDBOX_NAMESPACE:
        ret = cut_propagation();
        if (ret == 0)
            ret = open_proc_detached(&files->proc_fd);
        if (ret < 0)
            return ret;
        if (S_ISDIR(st.st_mode))
            return enter_dir_namespace(files);
        ret = mount_empty();
        return ret < 0 ? ret : pivot();
    case SANDBOX_CHROOT:
        ret = open_proc_plain(&files->proc_fd);
        if (ret < 0)
            return ret;
        return S_ISDIR(st.st_mode) ? enter_dir_chroot(files) : chroot_empty();
    case SANDBOX_NONE:
        return open_proc_plain(&files->proc_fd);
    }
    return -EINVAL;
}
