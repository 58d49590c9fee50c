/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * In the guest: what an NFS server does with file handles.
 *
 *     handles make PATH HANDLE     the handle of PATH into the file HANDLE
 *     handles open MOUNT HANDLE    open it and print what it is: a file's
 *                                  contents, a directory's path; or the error
 */

#define HANDLE_MAX 128

union handle {
    struct file_handle h;
    char bytes[sizeof(struct file_handle) + HANDLE_MAX];
};

static int fail(const char *what)
{
    printf("%s: %s\n", what, strerror(errno));
    return 1;
}

static int make(const char *path, const char *out)
{
    union handle u = { .h = { .handle_bytes = HANDLE_MAX } };
    int mount_id, fd;

    if (name_to_handle_at(AT_FDCWD, path, &u.h, &mount_id, 0) < 0)
        return fail(path);
    fd = open(out, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, &u, sizeof(u)) != (ssize_t)sizeof(u))
        return fail(out);
    return 0;
}

static int show(int fd)
{
    char link[32], text[4096];
    struct stat st;
    ssize_t n;

    if (fstat(fd, &st) < 0)
        return fail("fstat");
    if (S_ISDIR(st.st_mode)) {
        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        n = readlink(link, text, sizeof(text));
    } else {
        n = read(fd, text, sizeof(text));
    }
    if (n < 0)
        return fail("read");
    printf("%.*s\n", (int)n, text);
    return 0;
}

static int open_one(const char *mount, const char *in)
{
    union handle u;
    int mount_fd = open(mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fd = open(in, O_RDONLY | O_CLOEXEC);

    if (mount_fd < 0 || fd < 0 || read(fd, &u, sizeof(u)) != (ssize_t)sizeof(u))
        return fail(in);
    fd = open_by_handle_at(mount_fd, &u.h, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? fail("open_by_handle_at") : show(fd);
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "make") == 0)
        return make(argv[2], argv[3]);
    if (argc == 4 && strcmp(argv[1], "open") == 0)
        return open_one(argv[2], argv[3]);
    return 2;
}
