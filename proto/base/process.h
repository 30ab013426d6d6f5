/*
 * process: what a process that holds keys does first.
 *
 * Promise: nothing here fails a start: what cannot be had is said in the log. Called by main,
 * before any key is read and any thread begins, but for what a thread calls for itself.
 */
#ifndef POLDER_PROTO_BASE_PROCESS_H
#define POLDER_PROTO_BASE_PROCESS_H

#include "proto/base/log.h"

/* No core dumps, and no other process of the same user may look inside (prctl(2),
 * PR_SET_DUMPABLE). */
void pl_process_no_dumps(void);
/* As many open files as this user may have, up to 65536. */
void pl_process_open_files(void);
/* Memory never goes to swap. Only where RLIMIT_MEMLOCK has no limit: with one, a later allocation
 * would fail. Pages are locked once they are touched, so that nothing grows by it. Not under
 * sanitizers, which reserve terabytes. */
void pl_process_lock_memory(const struct pl_log *log);
/* Names the calling thread (up to 15 bytes) and lets others go first: for work that nobody waits
 * for. It still gets a tenth of what a thread beside it gets, so that a lock it holds is not held
 * for long. */
void pl_process_background_thread(const char *name);

#endif
