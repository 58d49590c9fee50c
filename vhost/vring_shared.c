/* SPDX-License-Identifier: BSD-3-Clause */
#include "vhost/vring_shared.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "virtiofsd/base/fd.h"

#define CFG_MAGIC    0x6766635f73667676ULL /* byte order is part of it */
#define RUN_MAGIC    0x6e75725f73667676ULL
#define PAGE_VERSION 1

/* A publish is a dozen stores; a reader that loses this often has a dead or
 * hostile writer before it. */
#define VRING_READ_TRIES 1000

/* Kernel 6.3 and later; a memfd of ours is never code. */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

#define PAGE_SEALS                                                             \
    (F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

_Static_assert(sizeof(struct vring_cfg) % sizeof(uint64_t) == 0,
               "the seqlock copies whole words");
_Static_assert(sizeof(struct vring_cfg) == 80, "no holes: each byte is named");
_Static_assert(sizeof(struct vring_slot) == 128,
               "two cache lines a slot, none shared with a neighbour");

/* What both pages begin with. */
struct page_head {
    uint64_t magic;
    uint32_t version;
    uint32_t nslots;
};

_Static_assert(offsetof(struct cfg_page, nslots) ==
                   offsetof(struct page_head, nslots),
               "cfg_page begins with a page_head");
_Static_assert(offsetof(struct run_page, nslots) ==
                   offsetof(struct page_head, nslots),
               "run_page begins with a page_head");

static int memfd_new(const char *name)
{
    unsigned int flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    int fd = memfd_create(name, flags | MFD_NOEXEC_SEAL);

    if (fd < 0 && errno == EINVAL)
        fd = memfd_create(name, flags);
    return fd < 0 ? -errno : fd;
}

static int page_create(const char *name, size_t size_bytes, uint64_t magic,
                       void **page, int *out_fd)
{
    auto_fd fd = memfd_new(name);
    struct page_head *head;
    int ret;

    if (fd < 0) {
        ret = fd;
        fd = -1;
        return ret;
    }
    if (ftruncate(fd, (off_t)size_bytes) < 0)
        return -errno;
    /* Before the seal: afterwards nobody, us included, can map it writable.
     * That is why each writer makes its own page. */
    head = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (head == MAP_FAILED)
        return -errno;
    if (fcntl(fd, F_ADD_SEALS, PAGE_SEALS) < 0) {
        ret = -errno;
        munmap(head, size_bytes);
        return ret;
    }
    head->magic = magic;
    head->version = PAGE_VERSION;
    head->nslots = VRING_MAX;
    *page = head;
    *out_fd = take_fd(&fd);
    return 0;
}

static int page_open(int fd, size_t size_bytes, uint64_t magic,
                     const void **page)
{
    const struct page_head *head;
    struct stat st;
    int seals = fcntl(fd, F_GET_SEALS);

    /* Without the size seals a load from the page could be a SIGBUS. */
    if (seals < 0 || (seals & PAGE_SEALS) != PAGE_SEALS)
        return -EPERM;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (st.st_size < 0 || (uint64_t)st.st_size != size_bytes)
        return -EINVAL;
    head = mmap(NULL, size_bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (head == MAP_FAILED)
        return -errno;
    if (READ_ONCE(head->magic) != magic ||
        READ_ONCE(head->version) != PAGE_VERSION ||
        READ_ONCE(head->nslots) != VRING_MAX) {
        munmap((void *)head, size_bytes);
        return -EINVAL;
    }
    *page = head;
    return 0;
}

int cfg_page_create(struct cfg_page **page, int *fd)
{
    void *p = NULL;
    int ret = page_create("virtiofsd-cfg", sizeof(**page), CFG_MAGIC, &p, fd);

    if (ret == 0)
        *page = p;
    return ret;
}

int cfg_page_open(int fd, const struct cfg_page **page)
{
    const void *p = NULL;
    int ret = page_open(fd, sizeof(**page), CFG_MAGIC, &p);

    if (ret == 0)
        *page = p;
    return ret;
}

int run_page_create(struct run_page **page, int *fd)
{
    void *p = NULL;
    int ret = page_create("virtiofsd-run", sizeof(**page), RUN_MAGIC, &p, fd);

    if (ret == 0)
        *page = p;
    return ret;
}

int run_page_open(int fd, const struct run_page **page)
{
    const void *p = NULL;
    int ret = page_open(fd, sizeof(**page), RUN_MAGIC, &p);

    if (ret == 0)
        *page = p;
    return ret;
}

/*
 * seq goes odd, the words change, seq goes even.
 *
 * The odd store is relaxed: each word's release store keeps it before the
 * word.  A reader that loads a new word with acquire has therefore also seen
 * the odd count, and its second look at seq can not return the old even one.
 *
 * Model (tests/model/kick.pml): slot_publish; NO_ODD_STORE.
 */
uint64_t vring_slot_publish(struct vring_slot *s, const struct vring_cfg *cfg)
{
    uint64_t tmp[VRING_CFG_WORDS];
    uint64_t seq = atomic_load_explicit(&s->seq, memory_order_relaxed);

    memcpy(tmp, cfg, sizeof(tmp));
    atomic_store_explicit(&s->seq, seq + 1, memory_order_relaxed);
    for (size_t i = 0; i < VRING_CFG_WORDS; i++)
        atomic_store_explicit(&s->word[i], tmp[i], memory_order_release);
    /* Pairs with the first load of vring_slot_read(): who sees the even
     * count sees every word of it. */
    atomic_store_explicit(&s->seq, seq + 2, memory_order_release);
    return seq + 2;
}

/* Model (tests/model/kick.pml): refresh. */
int vring_slot_read(const struct vring_slot *s, struct vring_cfg *cfg,
                    uint64_t *seq)
{
    uint64_t tmp[VRING_CFG_WORDS];

    for (int try = 0; try < VRING_READ_TRIES; try++) {
        uint64_t was = atomic_load_explicit(&s->seq, memory_order_acquire);

        if (was & 1)
            continue;
        /* Acquire on each word, not a fence: pairs with the release stores
         * in vring_slot_publish(), and ThreadSanitizer cannot see fences. */
        for (size_t i = 0; i < VRING_CFG_WORDS; i++)
            tmp[i] = atomic_load_explicit(&s->word[i], memory_order_acquire);
        if (atomic_load_explicit(&s->seq, memory_order_relaxed) == was) {
            memcpy(cfg, tmp, sizeof(*cfg));
            *seq = was;
            return 0;
        }
    }
    return -EAGAIN;
}

int vring_cfg_check(const struct vring_cfg *cfg)
{
    const uint32_t known =
        VRING_CFG_STARTED | VRING_CFG_ENABLED | VRING_CFG_LOG | VRING_CFG_POLL;

    if (cfg->flags & ~known)
        return -EINVAL;
    if (cfg->base > UINT16_MAX)
        return -EINVAL;
    if (cfg->size > VRING_SIZE_MAX ||
        (cfg->size != 0 && !is_power_of_2(cfg->size)))
        return -EINVAL;
    if (!(cfg->flags & VRING_CFG_STARTED))
        return 0;
    if (cfg->size == 0)
        return -EINVAL;
    if (cfg->desc.v % 16 || cfg->avail.v % 2 || cfg->used.v % 4)
        return -EINVAL;
    return 0;
}
