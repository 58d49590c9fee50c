/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/protocol/hang_lib.h"

#include <dirent.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

/* The process below the daemon that has most threads. */
size_t hang_threads(pid_t pid)
{
    char path[64];
    size_t n = 0;
    DIR *d;

    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    d = opendir(path);
    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n;
}

bool hang_begin(struct scene *s, const struct vm_opts *opts)
{
    struct vm_opts o = *opts;
    pid_t pids[8];
    size_t n;

    strcpy(s->dir, "/tmp/vfsd-hang-XXXXXX");
    if (!needs_root())
        return false;
    if (unshare(CLONE_NEWNS) < 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        !mkdtemp(s->dir)) {
        tap_skip("no mount namespace to be had");
        return false;
    }
    snprintf(s->sub, sizeof(s->sub), "%s/hang", s->dir);
    mkdir(s->sub, 0755);
    s->fs = hangfs_mount(s->sub);
    if (!s->fs) {
        tap_skip("no FUSE to be had");
        return false;
    }
    o.queues = 3;
    o.d.share = s->dir;
    if (!vm_start_fuse(&s->vm, &o))
        return false;
    n = daemon_roles(s->vm.d, pids, 8);
    s->fuse = -1;
    for (size_t i = 0; i < n && i < 8; i++) {
        if (s->fuse < 0 || hang_threads(pids[i]) > hang_threads(s->fuse))
            s->fuse = pids[i];
    }
    return CHECK(s->fuse > 0, "the request process");
}

void hang_end(struct scene *s)
{
    if (!s->fs)
        return;
    /* First: a process that hangs in it can not even be killed. */
    hangfs_end(s->fs);
    vm_end(&s->vm);
    rmdir(s->sub);
    CHECK_EQ(rmdir(s->dir), 0, "nothing else in it");
}

/* Put @m on the ring; return when it hangs in the file system. */
void hang_put(struct scene *s, struct guest_queue *q, struct fm *m)
{
    if (!CHECK(guest_queue_buf(q, HANG_SLOT + fm_bytes(m)) != NULL,
               "guest memory"))
        return;
    CHECK_EQ(fm_put(q, m, HANG_SLOT), 0, "it fits");
    guest_publish(q);
    guest_kick(q);
    CHECK(hangfs_wait_asked(s->fs), "it hangs");
}

/* A READ of the file that hangs; @in is the caller's. */
void hang_make_read(struct guest_queue *q, struct fm *m,
                    struct fuse_read_in *in)
{
    struct fuse_entry_out e;
    struct fuse_open_out o;

    CHECK_EQ(fc_walk(q, "hang/file", &e), 0, "");
    CHECK_EQ(fc_open(q, FUSE_OPEN, e.nodeid, O_RDONLY, &o), 0, "");
    *in = (struct fuse_read_in){ .fh = o.fh, .size = HANGFS_BYTES };
    fm_init(m, FUSE_READ, e.nodeid);
    fm_add(m, in, sizeof(*in));
    m->room = in->size;
}

void hang_take_read(struct guest_queue *q, struct fm *m)
{
    uint16_t head;
    uint32_t used;

    if (CHECK_EQ(guest_wait(q, &head, &used), 0, "the READ comes back"))
        CHECK_EQ(fm_reply(q, m, used), 0, "well");
}

void hang_make_lookup(struct guest_queue *q, struct fm *m, const char *name)
{
    static uint64_t dir;
    struct fuse_entry_out e;

    if (CHECK_EQ(fc_lookup(q, FC_ROOT, "hang", &e), 0, "hang"))
        dir = e.nodeid;
    fm_init(m, FUSE_LOOKUP, dir);
    fm_add_name(m, name);
    m->room = sizeof(e);
}

void hang_put_each(struct scene *s, struct guest_queue *q, struct fm *m,
                   unsigned int n)
{
    size_t each = fm_bytes(&m[0]);

    CHECK(guest_queue_buf(q, HANG_SLOT + n * each), "room");
    for (unsigned int i = 0; i < n; i++) {
        CHECK_EQ(fm_put(q, &m[i], HANG_SLOT + i * each), 0, "it fits");
        guest_publish(q);
        guest_kick(q);
        CHECK(hangfs_wait_asked(s->fs), "it hangs");
    }
}
