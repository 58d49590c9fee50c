/* SPDX-License-Identifier: BSD-3-Clause */
/* flock(2), record locks, open-file-description locks, leases. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/guest/posix/battery.h"

static long lock(int fd, int cmd, short type, off_t start, off_t len)
{
    struct flock l = {
        .l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len
    };

    return fcntl(fd, cmd, &l);
}

/* Who is in the way? */
static void test_lock(const char *label, int fd, int cmd, short type,
                      off_t start, off_t len, pid_t parent)
{
    struct flock l = {
        .l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len
    };

    if (fcntl(fd, cmd, &l) < 0) {
        see(label, -1);
        return;
    }
    if (l.l_type == F_UNLCK)
        tell(label, "free");
    else
        tell(label, "%s %lld+%lld by %s",
             l.l_type == F_RDLCK ? "read" : "write", (long long)l.l_start,
             (long long)l.l_len,
             l.l_pid == parent ? "the other"
             : l.l_pid == -1   ? "-1"
                               : "?");
}

static void whole_file(void)
{
    int fd, two;

    make("f", 0644, "text");
    fd = open("f", O_RDWR);
    two = open("f", O_RDWR);
    want(0, "exclusive", flock(fd, LOCK_EX));
    want(EWOULDBLOCK, "another descriptor", flock(two, LOCK_EX | LOCK_NB));
    want(EWOULDBLOCK, "shared", flock(two, LOCK_SH | LOCK_NB));
    want(0, "to shared", flock(fd, LOCK_SH));
    want(0, "then shared", flock(two, LOCK_SH | LOCK_NB));
    want(EWOULDBLOCK, "to exclusive", flock(two, LOCK_EX | LOCK_NB));
    want(0, "unlock", flock(fd, LOCK_UN));
    if (as(&carol)) {
        int three = open("f", O_RDONLY);

        want(0, "shared of a read-only", flock(three, LOCK_SH | LOCK_NB));
        over();
    }
    want(0, "its end unlocks", flock(two, LOCK_EX | LOCK_NB));
    if (as(&root)) {
        want(0, "inherited", flock(two, LOCK_EX | LOCK_NB));
        want(EWOULDBLOCK, "not of another", flock(fd, LOCK_EX | LOCK_NB));
        over();
    }
    want(EWOULDBLOCK, "still held", flock(fd, LOCK_SH | LOCK_NB));
    close(two);
    want(0, "closed", flock(fd, LOCK_EX | LOCK_NB));
    want(0, "a directory", flock(open(".", O_RDONLY), LOCK_EX | LOCK_NB));
    want(EINVAL, "nonsense", flock(fd, 0));
}

static void records(void)
{
    pid_t me = getpid();
    int fd;

    make("f", 0666, "some text here");
    fd = open("f", O_RDWR);
    want(0, "write 10-19", lock(fd, F_SETLK, F_WRLCK, 10, 10));
    want(0, "read 30-39", lock(fd, F_SETLK, F_RDLCK, 30, 10));
    if (as(&carol)) {
        int two = open("f", O_RDWR);

        want(EAGAIN, "in the way", lock(two, F_SETLK, F_WRLCK, 15, 1));
        want(EAGAIN, "to read too", lock(two, F_SETLK, F_RDLCK, 19, 1));
        want(0, "before", lock(two, F_SETLK, F_WRLCK, 0, 10));
        want(0, "after", lock(two, F_SETLK, F_WRLCK, 20, 10));
        want(0, "both read", lock(two, F_SETLK, F_RDLCK, 30, 10));
        want(EAGAIN, "to the end", lock(two, F_SETLK, F_WRLCK, 25, 0));
        test_lock("who", two, F_GETLK, F_WRLCK, 12, 100, me);
        test_lock("who reads", two, F_GETLK, F_WRLCK, 35, 1, me);
        test_lock("nobody", two, F_GETLK, F_RDLCK, 30, 5, me);
        over();
    }
    want(0, "split", lock(fd, F_SETLK, F_UNLCK, 14, 2));
    if (as(&root)) {
        int two = open("f", O_RDWR);

        want(0, "in the gap", lock(two, F_SETLK, F_WRLCK, 14, 2));
        want(EAGAIN, "beside it", lock(two, F_SETLK, F_WRLCK, 16, 1));
        over();
    }
    close(open("f", O_RDONLY));
    if (as(&root)) {
        int two = open("f", O_RDWR);

        want(0, "any close unlocks", lock(two, F_SETLK, F_WRLCK, 0, 0));
        over();
    }
    want(EBADF, "write of a read-only",
         lock(open("f", O_RDONLY), F_SETLK, F_WRLCK, 0, 1));
    want(EINVAL, "before the start", lock(fd, F_SETLK, F_RDLCK, -1, 1));
    want(0, "far", lock(fd, F_SETLK, F_RDLCK, 1LL << 62, 0));
}

/* Waits, gets it when the holder ends. */
static void waiting(void)
{
    int fd, tube[2], kind;

    make("f", 0666, "text");
    for (kind = 0; kind < 2; kind++) {
        pid_t pid;
        char c;

        need(pipe(tube) == 0, "pipe");
        pid = begin(&carol);
        if (pid == 0) {
            fd = open("f", O_RDWR);
            if (kind ? flock(fd, LOCK_EX) : lock(fd, F_SETLK, F_WRLCK, 0, 0))
                see("holder", -1);
            need(write(tube[1], "x", 1) == 1, "write");
            usleep(100000);
            need(pwrite(fd, "LAST", 4, 0) == 4, "write");
            over();
        }
        need(read(tube[0], &c, 1) == 1, "read");
        fd = open("f", O_RDWR);
        want(0, kind ? "flock" : "record",
             kind ? flock(fd, LOCK_EX) : lock(fd, F_SETLKW, F_WRLCK, 0, 0));
        content("sees what was written last", "f", "LAST");
        await(pid);
        make("f", 0666, "text");
        close(fd);
    }
}

static void nothing(int sig)
{
    (void)sig;
}

static void a_signal_ends_the_wait(void)
{
    struct sigaction sa = { .sa_handler = nothing };
    struct itimerval often = { { 0, 200000 }, { 0, 200000 } };
    int fd, tube[2];
    pid_t pid;
    char c;

    make("f", 0666, "text");
    need(pipe(tube) == 0, "pipe");
    pid = begin(&root);
    if (pid == 0) {
        fd = open("f", O_RDWR);
        need(lock(fd, F_SETLK, F_WRLCK, 0, 0) == 0, "lock");
        need(flock(fd, LOCK_EX) == 0, "flock");
        need(write(tube[1], "x", 1) == 1, "write");
        pause();
        over();
    }
    need(read(tube[0], &c, 1) == 1, "read");
    sigaction(SIGALRM, &sa, NULL);
    fd = open("f", O_RDWR);
    /* Again and again: the first may come before the wait begins. */
    setitimer(ITIMER_REAL, &often, NULL);
    want(EINTR, "record", lock(fd, F_SETLKW, F_WRLCK, 0, 0));
    want(EINTR, "flock", flock(fd, LOCK_EX));
    setitimer(ITIMER_REAL, &(struct itimerval){ 0 }, NULL);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    want(0, "the killed one's are gone", lock(fd, F_SETLKW, F_WRLCK, 0, 0));
    want(0, "flock too", flock(fd, LOCK_EX));
}

/* Each waits for the other: one of them is told, whichever comes last. */
static void deadlock(void)
{
    int fd, tube[2], told = 0;
    pid_t pid;
    char c;

    make("f", 0666, "text");
    need(pipe(tube) == 0, "pipe");
    fd = open("f", O_RDWR);
    need(lock(fd, F_SETLK, F_WRLCK, 0, 1) == 0, "lock");
    pid = begin(&root);
    if (pid == 0) {
        int two = open("f", O_RDWR);

        need(lock(two, F_SETLK, F_WRLCK, 1, 1) == 0, "lock");
        need(write(tube[1], "x", 1) == 1, "write");
        told = lock(two, F_SETLKW, F_WRLCK, 0, 1) < 0 && errno == EDEADLK;
        need(write(tube[1], told ? "y" : "n", 1) == 1, "write");
        over();
    }
    need(read(tube[0], &c, 1) == 1, "read");
    told = lock(fd, F_SETLKW, F_WRLCK, 1, 1) < 0 && errno == EDEADLK;
    need(lock(fd, F_SETLK, F_UNLCK, 0, 2) == 0, "unlock");
    need(read(tube[0], &c, 1) == 1, "read");
    await(pid);
    eq("told", told + (c == 'y'), 1);
}

static void of_the_description(void)
{
    int fd, two;

    make("f", 0644, "text");
    fd = open("f", O_RDWR);
    two = open("f", O_RDWR);
    want(0, "set", lock(fd, F_OFD_SETLK, F_WRLCK, 0, 2));
    want(EAGAIN, "another in this process",
         lock(two, F_OFD_SETLK, F_WRLCK, 1, 2));
    want(EAGAIN, "against a record lock", lock(two, F_SETLK, F_WRLCK, 0, 1));
    test_lock("who", two, F_OFD_GETLK, F_WRLCK, 0, 10, getpid());
    close(open("f", O_RDONLY));
    want(EAGAIN, "another close does not unlock",
         lock(two, F_OFD_SETLK, F_RDLCK, 0, 1));
    if (as(&root)) {
        want(0, "a child's copy", lock(fd, F_OFD_SETLK, F_WRLCK, 0, 3));
        over();
    }
    close(fd);
    want(0, "the last close does", lock(two, F_OFD_SETLK, F_WRLCK, 0, 0));
}

static void leases(void)
{
    int fd, rd;

    make("f", 0644, "text");
    rd = open("f", O_RDONLY);
    see("read lease", fcntl(rd, F_SETLEASE, F_RDLCK));
    see("is", fcntl(rd, F_GETLEASE));
    see("given back", fcntl(rd, F_SETLEASE, F_UNLCK));
    close(rd);
    fd = open("f", O_RDWR);
    see("write lease", fcntl(fd, F_SETLEASE, F_WRLCK));
    see("given back too", fcntl(fd, F_SETLEASE, F_UNLCK));
}

AREA(lock, CASE(whole_file), CASE(records), CASE(waiting),
     CASE(a_signal_ends_the_wait), CASE(deadlock), CASE(of_the_description),
     CASE(leases));
