/* Blocks as a spool has them, told by a number, and children to write them: this program run again,
 * because the engine's threads do not survive a fork. */
#ifndef POLDER_TESTS_STORE_BLOCKS_H
#define POLDER_TESTS_STORE_BLOCKS_H

#include "fixture.h"

#include <sys/wait.h>

#define BLOCK_BYTES 3000

/* "blockNNNNNN" and BLOCK_BYTES of which every one tells the number. */
static inline void make_block(int number, char key[24], char value[BLOCK_BYTES])
{
    snprintf(key, 24, "block%06d", number);
    for (int at = 0; at < BLOCK_BYTES; at += 10) {
        char text[16];
        snprintf(text, sizeof(text), "%09d|", number);
        memcpy(value + at, text, 10);
    }
}

static inline enum pl_err put_block(struct store *store, int number, struct pl_why *why)
{
    char key[24], value[BLOCK_BYTES];
    struct store_batch *batch;
    make_block(number, key, value);
    assert_int_equal(store_batch_new(&batch), PL_OK);
    store_batch_put(batch, store, BLOCKS, pl_span_str(key), pl_span(value, sizeof(value)));
    store_batch_put(batch, store, META, pl_span_str(key), pl_span_str("count"));
    enum pl_err err = store_write(store, batch, true, why);
    store_batch_free(batch);
    return err;
}

/* PL_OK only when the batch is there whole; PL_ENOTFOUND only when all of it is missing. */
static inline enum pl_err get_block(struct store *store, int number)
{
    char key[24], value[BLOCK_BYTES];
    struct pl_buf out;
    make_block(number, key, value);
    pl_buf_init(&out, 1 << 20);
    enum pl_err err = store_get(store, BLOCKS, pl_span_str(key), &out);
    if (err == PL_OK)
        assert_true(pl_span_eq(pl_buf_span(&out), pl_span(value, sizeof(value))));
    pl_buf_reset(&out);
    assert_int_equal(store_get(store, META, pl_span_str(key), &out), err);
    pl_buf_release(&out);
    return err;
}

/* Runs this program again with two arguments; its output is *out_fd. */
static inline pid_t spawn(const char *role, const char *arg, const char *count, int *out_fd)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fds[1], STDOUT_FILENO);
        close(fds[0]);
        close(fds[1]);
        execl("/proc/self/exe", "test", role, arg, count, (char *)NULL);
        _exit(127);
    }
    assert_true(pid > 0);
    close(fds[1]);
    *out_fd = fds[0];
    return pid;
}

#endif
