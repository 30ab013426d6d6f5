/* What the tests of the spool share: blocks that are appended, chains that are drained as the
 * sender does it, processes that end without a word, and the store's files. */
#ifndef POLDER_TESTS_EDGE_SPOOL_FIXTURE_H
#define POLDER_TESTS_EDGE_SPOOL_FIXTURE_H

#include "tests/unit/edge/fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* ---- helpers */

/* The clock of spools that are opened from now on. */
static int64_t days_later;

static inline int64_t later_wall_ms(void *ctx)
{
    (void)ctx;
    return pl_wall_ms(pl_clock_system()) + days_later * PL_DAY_MS;
}

static inline int64_t later_mono_ms(void *ctx)
{
    (void)ctx;
    return pl_mono_ms(pl_clock_system()) + days_later * PL_DAY_MS;
}

static const struct pl_clock later_clock = {.wall_ms = later_wall_ms, .mono_ms = later_mono_ms};

static inline struct spool *open_spool(struct fixture *f, uint64_t max_bytes)
{
    return fixture_spool_open(f,
                              (struct spool_config){.max_bytes = max_bytes, .clock = &later_clock});
}

static inline struct spool *reopen(struct fixture *f)
{
    fixture_store_open(f);
    return open_spool(f, UINT64_MAX / 2);
}

static inline void shut(struct fixture *f, struct spool *spool)
{
    spool_free(spool);
    fixture_store_close(f);
}

/* One block of `bytes` bytes that cannot be compressed. */
static inline enum pl_err append(struct fixture *f, struct spool *spool, uint32_t events,
                                 size_t bytes, struct block_header *header)
{
    struct pl_buf plain, block;
    struct pl_why why;
    uint8_t hash[BLOCK_HASH_BYTES];
    pl_buf_init(&plain, LIMIT_BLOCK_PLAIN_BYTES);
    pl_buf_init(&block, LIMIT_BLOCK_BYTES);
    assert_int_equal(pl_buf_reserve(&plain, bytes), PL_OK);
    assert_int_equal(pl_random_fill(pl_random_system(), plain.data, bytes), PL_OK);
    plain.len = bytes;
    *header = (struct block_header){.events = events};
    spool_next(spool, header);
    assert_int_equal(block_seal(f->sealer, header, pl_buf_span(&plain), &block, hash), PL_OK);
    enum pl_err err = spool_append(spool, header, pl_buf_span(&block), hash, &why);
    pl_buf_release(&plain);
    pl_buf_release(&block);
    return err;
}

static inline void commit_one(struct fixture *f, struct spool *spool, uint32_t events, size_t bytes)
{
    struct block_header header;
    assert_int_equal(append(f, spool, events, bytes, &header), PL_OK);
    assert_int_equal(spool_commit(spool, NULL), PL_OK);
}

static inline size_t claims_of(struct spool *spool, struct chain_claim *claims, size_t max)
{
    size_t count = 0;
    struct uplink_source source = spool_source(spool);
    assert_int_equal(source.chains(source.ctx, claims, max, &count), PL_OK);
    return count;
}

static inline void verdict(struct spool *spool, const struct pl_id128 *incarnation, uint64_t number,
                           enum block_verdict v)
{
    struct uplink_source source = spool_source(spool);
    assert_int_equal(source.verdict(source.ctx, incarnation, number, v), PL_OK);
}

struct drained {
    uint64_t blocks, events, lost_blocks, lost_events;
    uint64_t last_lost; /* its number */
    struct block_loss loss;
};

/* Reads a chain to its end, as the sender does, giving every block its verdict. */
static inline struct drained drain_chain(struct spool *spool, const struct pl_id128 *incarnation)
{
    struct uplink_source source = spool_source(spool);
    struct drained d = {0};
    struct pl_buf block;
    struct block_loss loss;
    uint64_t number = 0;
    pl_buf_init(&block, LIMIT_BLOCK_BYTES);
    for (;; number++) {
        pl_buf_reset(&block);
        enum pl_err err = source.read(source.ctx, incarnation, &number, &block, &loss);
        if (err == PL_ENOTFOUND)
            break;
        if (err == PL_ECORRUPT) {
            assert_int_equal(loss.number, number);
            d.lost_blocks++;
            d.lost_events += loss.events;
            d.last_lost = number;
            d.loss = loss;
        } else {
            struct block_header header;
            struct pl_span body;
            assert_int_equal(err, PL_OK);
            assert_int_equal(block_parse(pl_buf_span(&block), &header, &body, NULL), PL_OK);
            assert_int_equal(header.number, number);
            d.blocks++;
            d.events += header.events;
        }
        assert_int_equal(source.verdict(source.ctx, incarnation, number, BLOCK_STORED), PL_OK);
    }
    pl_buf_release(&block);
    return d;
}

/* The store's file of a kind that holds `needle`, and where; false when none does. */
static inline bool find_in_files(const struct fixture *f, const char *kind, const uint8_t *needle,
                                 size_t len, char *path, size_t path_size, off_t *offset)
{
    char dir[128];
    snprintf(dir, sizeof(dir), "%s/store", f->dir);
    DIR *d = opendir(dir);
    bool found = false;
    for (struct dirent *e; !found && (e = readdir(d)) != NULL;) {
        struct stat st;
        if (strstr(e->d_name, kind) == NULL)
            continue;
        snprintf(path, path_size, "%s/%s", dir, e->d_name);
        int fd = open(path, O_RDONLY);
        assert_int_equal(fstat(fd, &st), 0);
        uint8_t *bytes = malloc((size_t)st.st_size + 1);
        assert_int_equal(read(fd, bytes, (size_t)st.st_size), st.st_size);
        uint8_t *at = memmem(bytes, (size_t)st.st_size, needle, len);
        if (at != NULL) {
            *offset = at - bytes;
            found = true;
        }
        free(bytes);
        close(fd);
    }
    closedir(d);
    return found;
}

/* ---- death and rot */

/* Children are this program again: a fork of a process with threads may do little else. */
static inline pid_t run_child(const struct fixture *f, const char *what, const char *a,
                              const char *b)
{
    pid_t pid = fork();
    if (pid == 0) {
        execl("/proc/self/exe", "test_spool", what, f->dir, a, b, (char *)NULL);
        _exit(127);
    }
    return pid;
}

/* Commits until it is killed, telling the number of events after each commit. */
static inline int commit_for_ever(struct fixture *f, int pipe_fd)
{
    struct spool *spool = reopen(f);
    uint64_t events = 0;
    do {
        commit_one(f, spool, 7, 100 + (size_t)events % 40000);
        events += 7;
    } while (write(pipe_fd, &events, sizeof(events)) == sizeof(events));
    return 1;
}

/* Ends without a word, as in a power cut. */
static inline void commit_and_crash(struct fixture *f, uint32_t count, size_t bytes)
{
    struct spool *spool = reopen(f);
    for (uint32_t i = 0; i < count; i++)
        commit_one(f, spool, i + 1, bytes);
    _exit(0);
}

static inline int be_child(char **argv)
{
    void *state;
    assert_int_equal(fixture_setup(&state), 0);
    struct fixture *f = state;
    rmdir(f->dir);
    snprintf(f->dir, sizeof(f->dir), "%s", argv[2]);
    if (strcmp(argv[1], "for-ever") == 0)
        return commit_for_ever(f, atoi(argv[3]));
    commit_and_crash(f, (uint32_t)atoi(argv[3]), (size_t)atoi(argv[4]));
    return 1;
}

/* The chain of a process that ended without a word. */
static inline void crashed_chain(struct fixture *f, uint32_t count, size_t bytes)
{
    char a[16], b[16];
    int status;
    snprintf(a, sizeof(a), "%u", count);
    snprintf(b, sizeof(b), "%zu", bytes);
    pid_t pid = run_child(f, "crash", a, b);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

#endif
