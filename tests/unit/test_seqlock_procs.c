/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The slot's seqlock between processes, as it is used: the writer maps the
 * page writable, each reader has its own read-only mapping in a process of its
 * own.  At the end, threads, which is what ThreadSanitizer understands.
 */
#include "vhost/vring_shared.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/tap.h"

/* What counts is how many publishes each reader met, not how often it looked:
 * a reader that is done before the writer runs has tested nothing. */
#define READERS   3
#define DISTINCT  5000
#define MET       1 /* looks that met a publish under way */
#define PUBLISHES UINT64_C(60000000)
#define PATIENCE  200 /* looks at one generation before a yield */

/* What the processes tell each other; counts of events, never times. */
struct counts {
    uint64_t met, distinct, torn, mislabelled, backwards, given_up, last, idle;
};

struct board {
    _Atomic int ready;    /* readers that look */
    _Atomic int enough;   /* readers that have seen enough */
    _Atomic uint64_t end; /* last generation published, 0: not yet */
    struct counts count[READERS];
};

static struct board *board;

/* Every word of generation n is made of n and of its own place: a word of
 * another generation shows, and so does one in another's place. */
static void fill(struct vring_cfg *cfg, uint64_t n)
{
    uint64_t words[VRING_CFG_WORDS];

    for (size_t i = 0; i < VRING_CFG_WORDS; i++)
        words[i] = n * VRING_CFG_WORDS + i;
    memcpy(cfg, words, sizeof(*cfg));
}

static void look(const struct vring_slot *slot, struct counts *n)
{
    uint64_t words[VRING_CFG_WORDS], seq, gen;
    struct vring_cfg cfg, want;

    n->met += atomic_load_explicit(&slot->seq, memory_order_relaxed) & 1;
    if (vring_slot_read(slot, &cfg, &seq) < 0) {
        n->given_up++; /* the writer was stopped halfway: later again */
        sched_yield();
        return;
    }
    memcpy(words, &cfg, sizeof(words));
    gen = words[0] / VRING_CFG_WORDS;
    if (gen == 0)
        return; /* nothing is published yet */
    fill(&want, gen);
    n->torn += memcmp(&cfg, &want, sizeof(cfg)) != 0;
    n->mislabelled += seq != 2 * gen;
    n->backwards += gen < n->last;
    n->distinct += gen != n->last;
    /* Not at once: a reader that looks while the writer writes is what this
     * is about.  But on a busy processor it is the writer's turn. */
    n->idle = gen == n->last ? n->idle + 1 : 0;
    if (n->idle % PATIENCE == PATIENCE - 1)
        sched_yield();
    n->last = gen;
}

/* Never returns. */
static void be_reader(int page_fd, struct counts *out)
{
    const struct cfg_page *page = NULL;
    struct counts n = { 0 };
    bool told = false;

    if (cfg_page_open(page_fd, &page) < 0)
        _exit(1);
    atomic_fetch_add(&board->ready, 1);
    for (;;) {
        /* Before the look: a look after the end must meet the last one. */
        bool ended = atomic_load(&board->end) != 0;

        look(&page->slot[1], &n);
        if (!told && n.distinct >= DISTINCT && n.met >= MET) {
            told = true;
            atomic_fetch_add(&board->enough, 1);
        }
        if (ended)
            break;
    }
    *out = n;
    _exit(0);
}

static void be_writer(struct vring_slot *slot)
{
    uint64_t gen = 0;

    while (atomic_load(&board->ready) < READERS)
        sched_yield();
    while (gen < PUBLISHES && atomic_load(&board->enough) < READERS) {
        struct vring_cfg cfg;

        fill(&cfg, ++gen);
        vring_slot_publish(slot, &cfg);
        /* By turns: yielding, or on one processor nobody would see more than
         * the last; and not, so that it is interrupted within a publish. */
        if (gen % 64 == 0 && (gen >> 18) % 4 == 0)
            sched_yield();
    }
    atomic_store(&board->end, gen);
}

static pid_t child(void)
{
    pid_t me = getpid(), pid = fork();

    /* Should the test be killed, nothing of it may stay behind. */
    if (pid == 0 && (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != me))
        _exit(1);
    return pid;
}

/* Return: the wait status, or -1. */
static int wait_for(pid_t pid)
{
    int status = -1;

    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
}

static bool board_new(void)
{
    board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return CHECK(board != MAP_FAILED, "set-up");
}

static void readers_in_other_processes_never_get_half_a_publish(void)
{
    struct cfg_page *page = NULL;
    pid_t reader[READERS];
    int fd = -1;

    if (!board_new() || !CHECK_EQ(cfg_page_create(&page, &fd), 0, "set-up"))
        return;
    for (int i = 0; i < READERS; i++) {
        reader[i] = child();
        if (reader[i] == 0)
            be_reader(fd, &board->count[i]);
        if (reader[i] < 0) /* the writer shall not wait for it */
            atomic_fetch_add(&board->ready, 1);
    }
    be_writer(&page->slot[1]);
    for (int i = 0; i < READERS; i++) {
        const struct counts *n = &board->count[i];

        if (!CHECK(reader[i] > 0, "fork") ||
            !CHECK_EQ(wait_for(reader[i]), 0, "the reader ended well"))
            continue;
        tap_diag("reader %d: %llu distinct generations of %llu; %llu looks met "
                 "a publish, %llu were given up",
                 i, (unsigned long long)n->distinct,
                 (unsigned long long)board->end, (unsigned long long)n->met,
                 (unsigned long long)n->given_up);
        CHECK(n->distinct >= DISTINCT, "reader and writer ran side by side");
        CHECK(n->met >= MET, "a publish under way shows as an odd count");
        CHECK_EQ(n->torn, 0, "a copy is of one publish");
        CHECK_EQ(n->mislabelled, 0, "the seq told belongs to the copy");
        CHECK_EQ(n->backwards, 0, "publishes are seen in order");
        CHECK_EQ(n->last, board->end, "the last one is seen");
    }
    munmap(page, sizeof(*page));
    munmap(board, sizeof(*board));
    close(fd);
}

/* As far as vring_slot_publish() has come when it dies there. */
static void publish_half(struct vring_slot *slot, uint64_t gen, size_t words)
{
    uint64_t seq = atomic_load_explicit(&slot->seq, memory_order_relaxed);
    uint64_t tmp[VRING_CFG_WORDS];
    struct vring_cfg cfg;

    fill(&cfg, gen);
    memcpy(tmp, &cfg, sizeof(tmp));
    atomic_store_explicit(&slot->seq, seq + 1, memory_order_relaxed);
    for (size_t i = 0; i < words; i++)
        atomic_store_explicit(&slot->word[i], tmp[i], memory_order_release);
}

/* Never returns: publishes @gen whole, the next one in part, and is killed
 * there. */
static void be_dying_writer(struct vring_slot *slot, uint64_t gen, size_t words)
{
    for (uint64_t i = 1; i <= gen; i++) {
        struct vring_cfg cfg;

        fill(&cfg, i);
        vring_slot_publish(slot, &cfg);
    }
    publish_half(slot, gen + 1, words);
    for (;;)
        raise(SIGKILL);
}

static const struct {
    const char *why;
    uint64_t gen;
    size_t words;
} deaths[] = {
    { "before the first word of the first publish", 0, 0 },
    { "before the first word", 5, 0 },
    { "in the middle", 5, VRING_CFG_WORDS / 2 },
    { "after the last word, before the even count", 5, VRING_CFG_WORDS },
};

static void a_writer_killed_in_a_publish_leaves_readers_with_eagain(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(deaths); i++) {
        const struct cfg_page *theirs = NULL;
        struct cfg_page *page = NULL;
        struct vring_cfg cfg;
        uint64_t seq = 77;
        int fd = -1, status;
        pid_t pid;

        if (!CHECK_EQ(cfg_page_create(&page, &fd), 0, "set-up") ||
            !CHECK_EQ(cfg_page_open(fd, &theirs), 0, "set-up"))
            return;
        pid = child();
        if (pid == 0)
            be_dying_writer(&page->slot[0], deaths[i].gen, deaths[i].words);
        if (!CHECK(pid > 0, "fork"))
            return;
        status = wait_for(pid);
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
              "the writer was killed");

        /* That it comes back at all is half of what is tested. */
        CHECK_EQ(vring_slot_read(&theirs->slot[0], &cfg, &seq), -EAGAIN,
                 deaths[i].why);
        CHECK_EQ(seq, 77, "no seq was told");
        CHECK(vring_slot_changed(&theirs->slot[0], 2 * deaths[i].gen),
              "the reader knows that its old copy is old");
        CHECK_EQ(vring_slot_read(&theirs->slot[1], &cfg, &seq), 0,
                 "its neighbour is whole");
        munmap((void *)theirs, sizeof(*theirs));
        munmap(page, sizeof(*page));
        close(fd);
    }
}

/*
 * A slot names what was done before its publish: fds delivered, tables mapped.
 * Here that is a plain store, one cell a generation, and nothing but the slot
 * orders it; a writer without release or a reader without acquire is a data
 * race to ThreadSanitizer.  The turn-taking is relaxed so as to order nothing.
 */
#define CELLS 6400
#define TURN  64

static struct vring_slot race_slot;
static uint32_t race_cell[CELLS + 1];
static _Atomic uint64_t race_seen;

static void *race_writer(void *arg)
{
    (void)arg;
    for (uint64_t gen = 1; gen <= CELLS; gen++) {
        struct vring_cfg cfg;

        race_cell[gen] = (uint32_t)gen + 1;
        fill(&cfg, gen);
        vring_slot_publish(&race_slot, &cfg);
        while (gen % TURN == 0 &&
               atomic_load_explicit(&race_seen, memory_order_relaxed) + TURN <=
                   gen)
            sched_yield();
    }
    return NULL;
}

static void what_was_done_before_a_publish_is_seen_after_the_read(void)
{
    uint64_t gen = 0, seq, distinct = 0, stale = 0;
    struct vring_cfg cfg;
    pthread_t writer;

    if (!CHECK_EQ(pthread_create(&writer, NULL, race_writer, NULL), 0, ""))
        return;
    while (gen < CELLS) {
        uint64_t word, last = gen;

        if (vring_slot_read(&race_slot, &cfg, &seq) < 0)
            continue;
        memcpy(&word, &cfg, sizeof(word));
        gen = word / VRING_CFG_WORDS;
        if (gen == last) {
            sched_yield();
            continue;
        }
        distinct++;
        stale += gen > CELLS || race_cell[gen] != gen + 1;
        atomic_store_explicit(&race_seen, gen, memory_order_relaxed);
    }
    pthread_join(writer, NULL);
    CHECK_EQ(stale, 0, "");
    CHECK(distinct >= CELLS / TURN, "both took their turns");
}

TAP_MAIN(TEST(what_was_done_before_a_publish_is_seen_after_the_read),
         TEST(readers_in_other_processes_never_get_half_a_publish),
         TEST(a_writer_killed_in_a_publish_leaves_readers_with_eagain))
