/* SPDX-License-Identifier: BSD-3-Clause */
/* Time stamps: set to the nanosecond, and moved by what should move them. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/guest/posix/battery.h"

static void stamps(const char *label, const char *path)
{
    struct stat st;

    if (lstat(path, &st) < 0) {
        see(label, -1);
        return;
    }
    tell(label, "a %lld.%09ld m %lld.%09ld", (long long)st.st_atim.tv_sec,
         st.st_atim.tv_nsec, (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
}

static void chosen(void)
{
    static const long long seconds[] = { 0,
                                         1,
                                         -1,
                                         -1000,
                                         -2147483648LL,
                                         2147483647,
                                         2147483648LL,
                                         4294967295LL,
                                         4294967296LL,
                                         15032385535LL,
                                         17179869184LL,
                                         253402300800LL };

    make("f", 0644, "x");
    for (size_t i = 0; i < sizeof(seconds) / sizeof(seconds[0]); i++) {
        struct timespec ts[2] = { { seconds[i], 123456789 },
                                  { seconds[i], 999999999 } };

        see(fmt("set %lld", seconds[i]), utimensat(AT_FDCWD, "f", ts, 0));
        stamps("are", "f");
    }
    if (as(&root)) {
        stamps("another process", "f");
        over();
    }
}

static void words(void)
{
    struct timespec ts[2] = { { 1000, 1 }, { 2000, 2 } };
    struct stat st;

    make("f", 0644, "x");
    want(0, "both", utimensat(AT_FDCWD, "f", ts, 0));
    stamps("are", "f");
    ts[0].tv_nsec = UTIME_OMIT;
    ts[1] = (struct timespec){ 3000, 3 };
    want(0, "mtime", utimensat(AT_FDCWD, "f", ts, 0));
    stamps("then", "f");
    ts[0] = (struct timespec){ 4000, 4 };
    ts[1].tv_nsec = UTIME_OMIT;
    want(0, "atime", utimensat(AT_FDCWD, "f", ts, 0));
    stamps("are now", "f");
    ts[0].tv_nsec = UTIME_OMIT;
    want(0, "none", utimensat(AT_FDCWD, "f", ts, 0));
    see("none of a missing file", utimensat(AT_FDCWD, "none", ts, 0));
    ts[0] = (struct timespec){ 1, 1000000000 };
    want(EINVAL, "too many nanoseconds", utimensat(AT_FDCWD, "f", ts, 0));
    ts[0] = (struct timespec){ 1, -1 };
    want(EINVAL, "negative nanoseconds", utimensat(AT_FDCWD, "f", ts, 0));
    stamps("still", "f");
    ts[0].tv_nsec = UTIME_NOW;
    ts[1] = (struct timespec){ 5000, 5 };
    want(0, "now and chosen", utimensat(AT_FDCWD, "f", ts, 0));
    need(stat("f", &st) == 0, "stat");
    truth("atime is about now",
          st.st_atime > time(NULL) - 3600 && st.st_atime < time(NULL) + 3600,
          true);
    eq("mtime", st.st_mtim.tv_nsec, 5);
}

static void ways(void)
{
    struct timespec ts[2] = { { 1000, 1 }, { 2000, 2 } };
    int fd;

    make("f", 0444, "x");
    need(symlink("f", "l") == 0, "symlink");
    need(symlink("none", "dangling") == 0, "symlink");
    make_dir("d", 0755);
    fd = open("f", O_RDONLY);
    want(0, "futimens of a read-only", futimens(fd, ts));
    stamps("are", "f");
    ts[0].tv_sec++;
    want(0, "through a link", utimensat(AT_FDCWD, "l", ts, 0));
    stamps("target", "f");
    ts[0].tv_sec++;
    want(0, "the link", utimensat(AT_FDCWD, "l", ts, AT_SYMLINK_NOFOLLOW));
    stamps("link", "l");
    stamps("target still", "f");
    want(ENOENT, "dangling", utimensat(AT_FDCWD, "dangling", ts, 0));
    want(0, "itself", utimensat(AT_FDCWD, "dangling", ts, AT_SYMLINK_NOFOLLOW));
    want(0, "directory", utimensat(AT_FDCWD, "d", ts, 0));
    stamps("d", "d");
    want(0, "unlinked", unlink("f"));
    ts[1].tv_sec = 77;
    want(0, "futimens of the unlinked", futimens(fd, ts));
}

/* Sets old times on @path, so that any change shows. */
static void age(const char *path, struct stat *st)
{
    struct timespec ts[2] = { { 1000000000, 0 }, { 1000000000, 0 } };

    need(utimensat(AT_FDCWD, path, ts, AT_SYMLINK_NOFOLLOW) == 0, path);
    need(lstat(path, st) == 0, path);
}

static bool same(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

/* Which of mtime and ctime moved.  Where to is not asked: a guest that keeps
 * times itself goes by a clock of its own. */
static void moved(const char *label, const char *path, const struct stat *was)
{
    struct stat st;

    if (lstat(path, &st) < 0) {
        see(label, -1);
        return;
    }
    tell(label, "%s%s", same(&st.st_mtim, &was->st_mtim) ? "" : "m",
         same(&st.st_ctim, &was->st_ctim) ? "" : "c");
}

static void do_write(void)
{
    need(write(open("d/f", O_WRONLY), "y", 1) == 1, "write");
}

static void do_write_nothing(void)
{
    need(write(open("d/f", O_WRONLY), "y", 0) == 0, "write");
}

static void do_read(void)
{
    char c;

    need(read(open("d/f", O_RDONLY), &c, 1) == 1, "read");
}

static void do_truncate_same(void)
{
    need(truncate("d/f", 4) == 0, "truncate");
}

static void do_truncate(void)
{
    need(truncate("d/f", 3) == 0, "truncate");
}

static void do_ftruncate_same(void)
{
    need(ftruncate(open("d/f", O_RDWR), 4) == 0, "ftruncate");
}

static void do_ftruncate(void)
{
    need(ftruncate(open("d/f", O_RDWR), 10) == 0, "ftruncate");
}

static void do_open_trunc(void)
{
    need(open("d/f", O_RDWR | O_TRUNC) >= 0, "open");
}

static void do_open_trunc_empty(void)
{
    need(open("d/empty", O_RDWR | O_TRUNC) >= 0, "open");
}

static void do_chmod(void)
{
    need(chmod("d/f", 0600) == 0, "chmod");
}

static void do_chmod_same(void)
{
    need(chmod("d/f", 0644) == 0, "chmod");
}

static void do_chown(void)
{
    need(chown("d/f", 1, 1) == 0, "chown");
}

static void do_chown_nothing(void)
{
    need(chown("d/f", (uid_t)-1, (gid_t)-1) == 0, "chown");
}

static void do_link(void)
{
    need(link("d/f", "d/n") == 0, "link");
}

static void do_unlink_other(void)
{
    need(unlink("d/hard") == 0, "unlink");
}

static void do_rename(void)
{
    need(rename("d/f", "e/f") == 0 && rename("e/f", "d/f") == 0, "rename");
}

static void do_rename_onto(void)
{
    need(rename("d/f", "d/hard") == 0, "rename");
}

static void do_create(void)
{
    need(open("d/new", O_CREAT | O_RDWR, 0644) >= 0, "create");
}

static void do_mkdir(void)
{
    need(mkdir("d/new", 0755) == 0, "mkdir");
}

static void do_rmdir(void)
{
    need(rmdir("d/sub") == 0, "rmdir");
}

static void do_symlink(void)
{
    need(symlink("x", "d/new") == 0, "symlink");
}

static void do_mkfifo(void)
{
    need(mkfifo("d/new", 0644) == 0, "mkfifo");
}

static void do_map(void)
{
    int fd = open("d/f", O_RDWR);
    char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    need(p != MAP_FAILED, "mmap");
    p[0] = 'z';
    need(msync(p, 4096, MS_SYNC) == 0, "msync");
    munmap(p, 4096);
    close(fd);
}

static void do_fallocate(void)
{
    need(fallocate(open("d/f", O_RDWR), 0, 0, 9000) == 0, "fallocate");
}

static void do_punch(void)
{
    need(fallocate(open("d/f", O_RDWR),
                   FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == 0,
         "punch");
}

static void do_copy_range(void)
{
    need(copy_file_range(open("e/src", O_RDONLY), NULL, open("d/f", O_WRONLY),
                         NULL, 2, 0) == 2,
         "copy_file_range");
}

static void do_list(void)
{
    need(readdir(opendir("d")) != NULL, "readdir");
}

static void do_stat(void)
{
    struct stat st;

    need(stat("d/f", &st) == 0, "stat");
}

static void do_touch(void)
{
    need(utimensat(AT_FDCWD, "d/f", NULL, 0) == 0, "utimes");
}

static const struct {
    const char *name;
    void (*op)(void);
} ops[] = {
    { "write", do_write },
    { "write nothing", do_write_nothing },
    { "read", do_read },
    { "truncate to the same", do_truncate_same },
    { "truncate", do_truncate },
    { "ftruncate to the same", do_ftruncate_same },
    { "ftruncate", do_ftruncate },
    { "open with trunc", do_open_trunc },
    { "open with trunc of an empty file", do_open_trunc_empty },
    { "chmod", do_chmod },
    { "chmod to the same", do_chmod_same },
    { "chown", do_chown },
    { "chown to nothing new", do_chown_nothing },
    { "link", do_link },
    { "unlink of another name", do_unlink_other },
    { "rename and back", do_rename },
    { "rename onto the same file", do_rename_onto },
    { "create", do_create },
    { "mkdir", do_mkdir },
    { "rmdir", do_rmdir },
    { "symlink", do_symlink },
    { "mkfifo", do_mkfifo },
    { "mapped write", do_map },
    { "fallocate", do_fallocate },
    { "punch", do_punch },
    { "copy_file_range", do_copy_range },
    { "list", do_list },
    { "stat", do_stat },
    { "touch", do_touch },
};

static void what_moves_them(void)
{
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        struct stat f, d, empty;

        need(chdir(".") == 0, "chdir");
        make_dir(fmt("t%zu", i), 0755);
        need(chdir(fmt("t%zu", i)) == 0, "chdir");
        make_dir("d", 0755);
        make_dir("e", 0755);
        make_dir("d/sub", 0755);
        make("d/f", 0644, "text");
        make("d/empty", 0644, "");
        make("e/src", 0644, "source");
        need(link("d/f", "d/hard") == 0, "link");
        age("d/f", &f);
        age("d/empty", &empty);
        age("d", &d);
        moment();
        if (as(&root)) {
            ops[i].op();
            over();
        }
        moved(fmt("%s, file", ops[i].name), "d/f", &f);
        moved(fmt("%s, directory", ops[i].name), "d", &d);
        if (ops[i].op == do_open_trunc_empty)
            moved("empty file", "d/empty", &empty);
        need(chdir("..") == 0, "chdir");
    }
}

/* What is read counts as such, where the mount says relatime. */
static void atime(void)
{
    struct stat was, st;
    char buf[16];

    make("f", 0644, "text");
    make_dir("d", 0755);
    make("d/x", 0644, "x");
    need(symlink("f", "l") == 0, "symlink");
    age("f", &was);
    age("d", &was);
    age("l", &was);
    moment();
    if (as(&root)) {
        need(read(open("f", O_RDONLY), buf, 1) == 1, "read");
        need(readdir(opendir("d")) != NULL, "readdir");
        need(readlink("l", buf, sizeof(buf)) == 1, "readlink");
        over();
    }
    need(stat("f", &st) == 0, "stat");
    fact("a read moves a file's", st.st_atime != 1000000000);
    need(stat("d", &st) == 0, "stat");
    fact("a listing moves a directory's", st.st_atime != 1000000000);
    need(lstat("l", &st) == 0, "stat");
    fact("readlink moves a link's", st.st_atime != 1000000000);
}

/* cp -p, tar: the times are set while what was written may still wait. */
static void times_set_after_a_write_stay(void)
{
    struct timespec ts[2] = { { 1000, 1 }, { 2000, 2 } };
    char page[4096];
    int fd;

    memset(page, 'x', sizeof(page));
    fd = open("f", O_CREAT | O_RDWR, 0644);
    for (int i = 0; i < 20; i++)
        need(write(fd, page, sizeof(page)) == 4096, "write");
    want(0, "futimens before close", futimens(fd, ts));
    stamps("before close", "f");
    close(fd);
    stamps("after close", "f");
    fd = open("f", O_RDWR);
    need(write(fd, page, 100) == 100, "write");
    want(0, "utimensat while open", utimensat(AT_FDCWD, "f", ts, 0));
    want(0, "fsync", fsync(fd));
    stamps("after fsync", "f");
    close(fd);
    if (as(&root)) {
        stamps("another process", "f");
        over();
    }
    fd = open("f", O_RDONLY);
    need(read(fd, page, 100) == 100, "read");
    close(fd);
    need(chmod("f", 0600) == 0, "chmod");
    need(rename("f", "g") == 0, "rename");
    struct stat st;

    need(stat("g", &st) == 0, "stat");
    eq("mtime at last", st.st_mtime, 2000);
}

/* Whoever writes sees the same time before and after the close. */
static void mtime_does_not_jump(void)
{
    struct stat one, two, three;
    int fd = open("f", O_CREAT | O_RDWR, 0644);

    moment();
    need(write(fd, "text", 4) == 4, "write");
    need(fstat(fd, &one) == 0, "stat");
    moment();
    close(fd);
    need(stat("f", &two) == 0, "stat");
    moment();
    fd = open("f", O_RDONLY);
    need(fstat(fd, &three) == 0, "stat");
    truth("the same after close", same(&one.st_mtim, &two.st_mtim), true);
    truth("the same after open", same(&two.st_mtim, &three.st_mtim), true);
}

static void statx_tells(void)
{
    struct statx sx;

    make("f", 0644, "text");
    want(0, "statx", statx(AT_FDCWD, "f", 0, STATX_ALL, &sx));
    truth("basic", (sx.stx_mask & STATX_BASIC_STATS) == STATX_BASIC_STATS,
          true);
    fact("birth", sx.stx_mask & STATX_BTIME);
    tell("attributes", "%llx",
         (unsigned long long)(sx.stx_attributes &
                              (STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND |
                               STATX_ATTR_MOUNT_ROOT)));
    eq("block size", sx.stx_blksize, 4096);
    want(0, "sync", statx(AT_FDCWD, "f", AT_STATX_FORCE_SYNC, STATX_SIZE, &sx));
    eq("size", (long long)sx.stx_size, 4);
    want(0, "no sync",
         statx(AT_FDCWD, "f", AT_STATX_DONT_SYNC, STATX_SIZE, &sx));
    want(EINVAL, "both",
         statx(AT_FDCWD, "f", AT_STATX_FORCE_SYNC | AT_STATX_DONT_SYNC,
               STATX_SIZE, &sx));
}

AREA(times, CASE(chosen), CASE(words), CASE(ways), CASE(what_moves_them),
     CASE(atime), CASE(times_set_after_a_write_stay), CASE(mtime_does_not_jump),
     CASE(statx_tells));
