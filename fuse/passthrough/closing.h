/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef VIRTIOFSD_FUSE_PASSTHROUGH_CLOSING_H
#define VIRTIOFSD_FUSE_PASSTHROUGH_CLOSING_H

/*
 * Closing many files at once, when a life ends.  A close(2) writes back what
 * is left, and on a file system that does not answer it never returns; the
 * guest that begins a new life (a reboot) may not have to wait for that.
 */

#define PT_CLOSING_WAIT_MS 5000

/*
 * From here to pt_closing_end() the calling thread's pt_close() collects.
 * Without memory to collect in, it closes at once.
 */
void pt_closing_begin(void);

/* Close what was collected.  What takes longer than PT_CLOSING_WAIT_MS goes
 * on in a thread of its own. */
void pt_closing_end(void);

/* close(2), or a promise of it. */
void pt_close(int fd);

#endif
