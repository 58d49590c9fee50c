/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_TESTS_FUZZ_FUZZ_H
#define VIRTIOFSD_TESTS_FUZZ_FUZZ_H

/*
 * What the fuzz targets share.  Each is one LLVMFuzzerTestOneInput(); with
 * -Dfuzz=true libFuzzer calls it, otherwise fuzz_main.c does, once for each
 * file of the corpus.  An input is read from its front and never runs out:
 * what is missing is zero.
 */

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct fuzz_in {
    const uint8_t *p;
    size_t left;
};

/* The next @bytes (1 to 8) as a little-endian number. */
uint64_t fuzz_uint(struct fuzz_in *in, size_t bytes);
/* The next bytes, up to *len of them; *len: as many as there were. */
const uint8_t *fuzz_take(struct fuzz_in *in, size_t *len);
/* Copy the next @len bytes, with zeros for those missing. */
void fuzz_copy(struct fuzz_in *in, void *to, size_t len);

/* What must hold and does not is a crash: the input is kept. */
#define FUZZ_CHECK(e)                                                          \
    do {                                                                       \
        if (!(e))                                                              \
            fuzz_fail(__FILE__, __LINE__, #e);                                 \
    } while (0)
_Noreturn void fuzz_fail(const char *file, int line, const char *what);

/* Open descriptors of this process, for the leak check of each input. */
int fuzz_count_fds(void);

/* Descriptors to send: good for @kind % FUZZ_FD_KINDS; borrowed, for ever. */
enum fuzz_fd_kind {
    FUZZ_FD_MEMORY, /* FUZZ_MEMORY_BYTES of it */
    FUZZ_FD_EVENT,
    FUZZ_FD_NULL,    /* /dev/null: can be written, can not be mapped */
    FUZZ_FD_NO_READ, /* memory that may not be mapped for writing */
    FUZZ_FD_KINDS
};
#define FUZZ_MEMORY_BYTES ((size_t)256 << 10)
int fuzz_fd(unsigned int kind);

/**
 * fuzz_send() - one sendmsg().
 * @nfds: descriptors beside it, of kinds @kind, @kind + 1, ...
 * Return: as sendmsg(2), which never waits here.
 */
long fuzz_send(int sock, const void *buf, size_t len, unsigned int nfds,
               unsigned int kind);

#endif
