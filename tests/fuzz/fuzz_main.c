/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Without libFuzzer: run a target over files, and over the files in
 * directories, once each.  Any compiler can do that.
 */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/fuzz/fuzz.h"

/* A copy of exactly the file's size, so that a sanitizer sees its end. */
static int run_file(const char *path)
{
    FILE *f = fopen(path, "rbe");
    struct stat st;
    uint8_t *data;
    size_t size;
    int ok = 0;

    if (!f || fstat(fileno(f), &st) < 0) {
        perror(path);
        if (f)
            fclose(f);
        return 0;
    }
    size = (size_t)st.st_size;
    data = malloc(size ? size : 1);
    if (data && fread(data, 1, size, f) == size) {
        /* Before it runs: when it crashes, this is the last line. */
        fprintf(stderr, "# %s\n", path);
        LLVMFuzzerTestOneInput(data, size);
        ok = 1;
    }
    free(data);
    fclose(f);
    return ok;
}

static int not_hidden(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

/* Return: inputs run, or -1. */
static int run_path(const char *path)
{
    struct dirent **names;
    char file[PATH_MAX + 256];
    int n, count = 0;

    n = scandir(path, &names, not_hidden, alphasort);
    if (n < 0)
        return run_file(path) ? 1 : -1;
    for (int i = 0; i < n; i++) {
        snprintf(file, sizeof(file), "%s/%s", path, names[i]->d_name);
        if (count >= 0)
            count = run_file(file) ? count + 1 : -1;
        free(names[i]);
    }
    free(names);
    return count;
}

int main(int argc, char **argv)
{
    int total = 0;

    /* First, since a target may change the working directory. */
    for (int i = 1; i < argc; i++) {
        char *abs = realpath(argv[i], NULL);

        if (!abs) {
            perror(argv[i]);
            return 1;
        }
        argv[i] = abs;
    }
    for (int i = 1; i < argc; i++) {
        int n = run_path(argv[i]);

        free(argv[i]);
        if (n < 0)
            return 1;
        total += n;
    }
    printf("1..1\n%s 1 - %d inputs run without a fault\n",
           total > 0 ? "ok" : "not ok", total);
    return total > 0 ? 0 : 1;
}
