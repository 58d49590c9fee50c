/* SPDX-License-Identifier: BSD-3-Clause */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/guest/posix/battery.h"
#include "tests/guest/posix/harness.h"

static const struct bat_area *const areas[] = {
    &area_open,    &area_perm,  &area_rules,  &area_setid, &area_times,
    &area_size,    &area_alloc, &area_rename, &area_link,  &area_name,
    &area_special, &area_map,   &area_share,  &area_dir,   &area_xattr,
    &area_acl,     &area_lock,  &area_misc,
};

/* Seconds until a case counts as hanging. */
#define CASE_SECONDS 120

static bool chosen(const char *full, int argc, char **argv)
{
    if (argc == 0)
        return true;
    for (int i = 0; i < argc; i++) {
        if (strncmp(full, argv[i], strlen(argv[i])) == 0)
            return true;
    }
    return false;
}

/*
 * Removes what is in the directory @fd, whose trees may be deeper than a path
 * can name.  Takes @fd.  Goes over a directory again while something was
 * removed: removing may shift what a listing is yet to show.
 */
static void empty(int fd)
{
    bool again = true;

    while (again) {
        DIR *d = fdopendir(dup(fd));
        struct dirent *e;

        again = false;
        if (!d)
            break;
        rewinddir(d);
        while ((e = readdir(d))) {
            int sub;

            if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
                continue;
            if (unlinkat(fd, e->d_name, 0) == 0) {
                again = true;
                continue;
            }
            sub = openat(fd, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
            if (sub >= 0)
                empty(sub);
            if (unlinkat(fd, e->d_name, AT_REMOVEDIR) == 0)
                again = true;
        }
        closedir(d);
    }
    close(fd);
}

static void run_case(const struct bat_area *area, const struct bat_case *c,
                     const char *dir)
{
    pid_t pid;
    int fd;

    harness_enter(area->name, c->name);
    need(mkdir(dir, 0755) == 0 && chmod(dir, 0755) == 0, "its directory");
    pid = fork();
    need(pid >= 0, "fork");
    if (pid == 0) {
        /* A terminal's or a guest's habits are not part of the case. */
        setpgid(0, 0);
        umask(022);
        alarm(CASE_SECONDS);
        need(chdir(dir) == 0, "chdir");
        c->run();
        over();
    }
    await(pid);
    /* What a case left running would disturb the next. */
    kill(-pid, SIGKILL);
    fd = open(dir, O_RDONLY | O_DIRECTORY);
    if (fd >= 0)
        empty(fd);
    if (rmdir(dir) < 0)
        see("what is left is removed", -1);
}

static void usage(void)
{
    fputs("usage: posix_battery [-l] DIR [AREA[.CASE]...]\n"
          "Says, a line each, how the file system of DIR behaves; as root.\n"
          "  -l  list the cases\n",
          stderr);
    exit(2);
}

int main(int argc, char **argv)
{
    bool list = argc > 1 && !strcmp(argv[1], "-l");
    char full[128];

    if (argc < 2 || (argv[1][0] == '-' && !list))
        usage();
    if (!list &&
        (geteuid() != 0 || chdir(argv[1]) < 0 || setgroups(0, NULL) < 0)) {
        fprintf(stderr, "posix_battery: %s: %s\n", argv[1],
                geteuid() ? "needs root" : strerror(errno));
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    for (size_t a = 0; a < sizeof(areas) / sizeof(areas[0]); a++) {
        for (size_t i = 0; i < areas[a]->n; i++) {
            const struct bat_case *c = &areas[a]->cases[i];

            snprintf(full, sizeof(full), "%s.%s", areas[a]->name, c->name);
            if (!chosen(full, argc - 2, argv + 2))
                continue;
            if (list)
                puts(full);
            else
                run_case(areas[a], c, full);
        }
    }
    return 0;
}
