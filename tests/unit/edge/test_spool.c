#include "tests/unit/edge/fixture.h"

#include "edge/spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* ---- a disk with a bad sector */

/* Reads of this file that touch this offset, or one of so many behind it, fail; -1: none does. */
static char bad_file[512];
static _Atomic off_t bad_offset = -1;
static _Atomic off_t bad_bytes = 1;

static bool is_bad_file(int fd)
{
    char link[32], path[sizeof(bad_file)];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, sizeof(path) - 1);
    path[len > 0 ? len : 0] = '\0';
    return strcmp(path, bad_file) == 0;
}

/* Stands before libc's, also for the store's engine. */
ssize_t pread(int fd, void *out, size_t size, off_t offset)
{
    const off_t bad = bad_offset;
    if (bad >= 0 && bad + bad_bytes > offset && bad < offset + (off_t)size && is_bad_file(fd)) {
        errno = EIO;
        return -1;
    }
    return syscall(SYS_pread64, fd, out, size, offset);
}

/* ---- helpers */

/* The clock of spools that are opened from now on. */
static int64_t days_later;

static int64_t later_wall_ms(void *ctx)
{
    (void)ctx;
    return pl_wall_ms(pl_clock_system()) + days_later * PL_DAY_MS;
}

static int64_t later_mono_ms(void *ctx)
{
    (void)ctx;
    return pl_mono_ms(pl_clock_system()) + days_later * PL_DAY_MS;
}

static const struct pl_clock later_clock = {.wall_ms = later_wall_ms, .mono_ms = later_mono_ms};

static struct spool *open_spool(struct fixture *f, uint64_t max_bytes)
{
    return fixture_spool_open(f,
                              (struct spool_config){.max_bytes = max_bytes, .clock = &later_clock});
}

static struct spool *reopen(struct fixture *f)
{
    fixture_store_open(f);
    return open_spool(f, UINT64_MAX / 2);
}

static void shut(struct fixture *f, struct spool *spool)
{
    spool_free(spool);
    fixture_store_close(f);
}

/* One block of `bytes` bytes that cannot be compressed. */
static enum pl_err append(struct fixture *f, struct spool *spool, uint32_t events, size_t bytes,
                          struct block_header *header)
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

static void commit_one(struct fixture *f, struct spool *spool, uint32_t events, size_t bytes)
{
    struct block_header header;
    assert_int_equal(append(f, spool, events, bytes, &header), PL_OK);
    assert_int_equal(spool_commit(spool, NULL), PL_OK);
}

static size_t claims_of(struct spool *spool, struct chain_claim *claims, size_t max)
{
    size_t count = 0;
    struct uplink_source source = spool_source(spool);
    assert_int_equal(source.chains(source.ctx, claims, max, &count), PL_OK);
    return count;
}

static void verdict(struct spool *spool, const struct pl_id128 *incarnation, uint64_t number,
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
static struct drained drain_chain(struct spool *spool, const struct pl_id128 *incarnation)
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
static bool find_in_files(const struct fixture *f, const char *kind, const uint8_t *needle,
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

static bool find_in_logs(const struct fixture *f, const uint8_t *needle, size_t len, char *path,
                         size_t path_size, off_t *offset)
{
    return find_in_files(f, ".log", needle, len, path, path_size, offset);
}

static void flip(const char *path, off_t offset)
{
    uint8_t byte;
    int fd = open(path, O_RDWR);
    assert_int_equal(pread(fd, &byte, 1, offset), 1);
    byte ^= 0x40;
    assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
    close(fd);
}

/* ---- the ordinary life of a block */

static void test_offered_until_acked(void **state)
{
    struct fixture *f = *state;
    struct spool *spool = reopen(f);
    struct chain_claim claim;
    struct spool_status status;
    assert_int_equal(claims_of(spool, &claim, 1), 1);
    assert_int_equal(claim.next, 0);
    assert_false(claim.closed);

    for (uint32_t i = 1; i <= 10; i++)
        commit_one(f, spool, i, 300);
    assert_int_equal(claims_of(spool, &claim, 1), 1);
    assert_int_equal(claim.next, 10);
    spool_status(spool, &status);
    assert_int_equal(status.pending_blocks, 10);
    assert_int_equal(status.pending_events, 55);
    assert_true(status.pending_bytes > 3000);
    assert_int_equal(status.accepted_events, 55);
    assert_in_range(pl_wall_ms(pl_clock_system()) - status.oldest_pending_ms, 0, 60000);

    struct drained d = drain_chain(spool, &claim.incarnation);
    assert_int_equal(d.blocks, 10);
    assert_int_equal(d.events, 55);
    assert_int_equal(d.lost_blocks, 0);
    assert_int_equal(claims_of(spool, &claim, 1), 1);
    assert_int_equal(claim.acked, 10);
    assert_int_equal(claim.acked_events, 55);
    spool_status(spool, &status);
    assert_int_equal(status.pending_blocks, 0);
    assert_int_equal(status.pending_events, 0);
    assert_int_equal(status.pending_bytes, 0);
    assert_int_equal(status.oldest_pending_ms, 0);
    assert_int_equal(status.accepted_events, 55);
    shut(f, spool);
}

static void test_appended_is_not_offered_before_commit(void **state)
{
    struct fixture *f = *state;
    struct spool *spool = reopen(f);
    struct block_header header;
    struct chain_claim claim;
    assert_int_equal(append(f, spool, 3, 300, &header), PL_OK);
    claims_of(spool, &claim, 1);
    assert_int_equal(claim.next, 0);
    assert_int_equal(drain_chain(spool, &claim.incarnation).blocks, 0);
    assert_int_equal(spool_commit(spool, NULL), PL_OK);
    assert_int_equal(drain_chain(spool, &claim.incarnation).blocks, 1);
    shut(f, spool);
}

static void test_blocks_are_chained(void **state)
{
    struct fixture *f = *state;
    struct spool *spool = reopen(f);
    struct uplink_source source = spool_source(spool);
    struct chain_claim claim;
    uint8_t previous[BLOCK_HASH_BYTES] = {0};
    /* Two blocks in one commit, then one. */
    struct block_header header;
    append(f, spool, 1, 100, &header);
    append(f, spool, 1, 100, &header);
    assert_int_equal(spool_commit(spool, NULL), PL_OK);
    commit_one(f, spool, 1, 100);
    claims_of(spool, &claim, 1);
    for (uint64_t n = 0; n < 3; n++) {
        struct pl_buf block;
        struct pl_span body;
        uint64_t number = n;
        pl_buf_init(&block, LIMIT_BLOCK_BYTES);
        assert_int_equal(source.read(source.ctx, &claim.incarnation, &number, &block, NULL), PL_OK);
        assert_int_equal(number, n);
        assert_int_equal(block_parse(pl_buf_span(&block), &header, &body, NULL), PL_OK);
        assert_memory_equal(header.previous_hash, previous, sizeof(previous));
        block_hash(pl_buf_span(&block), previous);
        pl_buf_release(&block);
    }
    shut(f, spool);
}

static void test_acks_out_of_order(void **state)
{
    struct fixture *f = *state;
    struct spool *spool = reopen(f);
    struct uplink_source source = spool_source(spool);
    struct chain_claim claim;
    struct pl_buf block;
    for (int i = 0; i < 200; i++)
        commit_one(f, spool, 1, 50);
    claims_of(spool, &claim, 1);
    for (uint64_t n = 199; n > 0; n--)
        verdict(spool, &claim.incarnation, n, n % 2 ? BLOCK_STORED : BLOCK_REPEAT);
    claims_of(spool, &claim, 1);
    assert_int_equal(claim.acked, 0);

    uint64_t number = 0;
    pl_buf_init(&block, LIMIT_BLOCK_BYTES);
    assert_int_equal(source.read(source.ctx, &claim.incarnation, &number, &block, NULL), PL_OK);
    assert_int_equal(number, 0);
    number = 1;
    assert_int_equal(source.read(source.ctx, &claim.incarnation, &number, &block, NULL),
                     PL_ENOTFOUND);
    pl_buf_release(&block);
    /* "Try again later" is no ack; neither are numbers that never were. */
    verdict(spool, &claim.incarnation, 0, BLOCK_RETRY);
    verdict(spool, &claim.incarnation, 5000, BLOCK_STORED);
    claims_of(spool, &claim, 1);
    assert_int_equal(claim.acked, 0);
    verdict(spool, &claim.incarnation, 0, BLOCK_STORED);
    claims_of(spool, &claim, 1);
    assert_int_equal(claim.acked, 200);
    assert_int_equal(claim.acked_events, 200);
    shut(f, spool);
}

static void test_refused_blocks_are_kept_aside(void **state)
{
    struct fixture *f = *state;
    struct spool *spool = reopen(f);
    struct chain_claim claim;
    struct spool_status status;
    for (int i = 0; i < 3; i++)
        commit_one(f, spool, 1, 500);
    claims_of(spool, &claim, 1);
    verdict(spool, &claim.incarnation, 0, BLOCK_STORED);
    verdict(spool, &claim.incarnation, 1, BLOCK_FORK);
    verdict(spool, &claim.incarnation, 1, BLOCK_FORK);
    verdict(spool, &claim.incarnation, 2, BLOCK_REFUSED);
    claims_of(spool, &claim, 1);
    assert_int_equal(claim.acked, 3);
    spool_status(spool, &status);
    assert_int_equal(status.quarantined_blocks, 2);
    assert_true(status.quarantined_bytes > 1000);
    shut(f, spool);
    spool = reopen(f);
    spool_status(spool, &status);
    assert_int_equal(status.quarantined_blocks, 2);
    shut(f, spool);
}

/* Once an hour, without a restart; and what the chain's counts owe to it stays known. */
static void test_what_is_kept_aside_is_dropped_in_time(void **state)
{
    struct fixture *f = *state;
    struct spool *spool = reopen(f);
    struct chain_claim claims[2];
    struct spool_status status;
    for (int i = 0; i < 2; i++)
        commit_one(f, spool, 10, 500);
    claims_of(spool, claims, 1);
    const struct pl_id128 incarnation = claims[0].incarnation;
    verdict(spool, &incarnation, 0, BLOCK_FORK);
    verdict(spool, &incarnation, 1, BLOCK_STORED);
    claims_of(spool, claims, 1);
    days_later = 44;
    spool_tidy(spool);
    spool_status(spool, &status);
    assert_int_equal(status.quarantined_blocks, 1);
    assert_in_range(status.quarantined_oldest_ms, pl_wall_ms(pl_clock_system()) - 60000,
                    pl_wall_ms(pl_clock_system()));
    days_later = 46;
    spool_tidy(spool);
    spool_status(spool, &status);
    assert_int_equal(status.quarantined_blocks, 0);
    assert_int_equal(status.quarantined_bytes, 0);
    assert_int_equal(status.quarantined_oldest_ms, 0);
    uint8_t key[24];
    struct pl_buf value;
    pl_buf_init(&value, LIMIT_BLOCK_BYTES + 1);
    memcpy(key, incarnation.bytes, 16);
    pl_store_u64(key + 16, 0);
    assert_int_equal(store_get(f->store, EDGE_QUARANTINE, pl_span(key, sizeof(key)), &value),
                     PL_OK);
    assert_int_equal(value.len, 1); /* its verdict, nothing of its content */
    pl_buf_release(&value);

    shut(f, spool);
    spool = reopen(f);
    struct uplink_source source = spool_source(spool);
    struct chain_record forked = {
        .incarnation = incarnation, .contiguous = 2, .events = 25, .stored = 25};
    claims_of(spool, claims, 2);
    source.books(source.ctx, &forked, 1);
    source.books(source.ctx, &forked, 1);
    assert_int_equal(claims_of(spool, claims, 2), 1);
    spool_status(spool, &status);
    assert_int_equal(status.mismatches, 0);
    days_later = 0;
    shut(f, spool);
}

static void test_full_spool_says_so(void **state)
{
    struct fixture *f = *state;
    fixture_store_open(f);
    struct spool *spool = open_spool(f, 10000);
    struct chain_claim claim;
    struct pl_why why;
    assert_int_equal(spool_room(spool, 10000, &why), PL_OK);
    assert_int_equal(spool_room(spool, 10001, &why), PL_ENOSPC);
    commit_one(f, spool, 1, 8000);
    assert_int_equal(spool_room(spool, 5000, &why), PL_ENOSPC);
    assert_non_null(strstr(why.text, "spool_max_bytes"));
    claims_of(spool, &claim, 1);
    drain_chain(spool, &claim.incarnation);
    claims_of(spool, &claim, 1);
    assert_int_equal(spool_room(spool, 5000, &why), PL_OK);
    shut(f, spool);
}

/* ---- earlier chains */

static struct chain_record record_of(const struct chain_claim *claim)
{
    return (struct chain_record){
        .incarnation = claim->incarnation,
        .contiguous = claim->acked,
        .highest = claim->acked,
        .events = claim->acked_events,
        .stored = claim->acked_events,
    };
}

static void crashed_chain(struct fixture *f, uint32_t count, size_t bytes);

/* All has its verdict and what was refused is kept: counts that differ for its sake are no reason
 * to name the chain for ever. Unless the origin balances, one that is all acked stays. */
static void test_a_chain_with_quarantined_blocks_settles(void **state)
{
    struct fixture *f = *state;
    struct spool *spool = reopen(f);
    struct chain_claim claims[2];
    struct spool_status status;
    for (int i = 0; i < 3; i++)
        commit_one(f, spool, 10, 200);
    claims_of(spool, claims, 1);
    shut(f, spool);
    spool = reopen(f);
    struct uplink_source source = spool_source(spool);
    struct chain_record forked = {
        .incarnation = claims[0].incarnation, .contiguous = 3, .events = 25, .stored = 25};
    verdict(spool, &claims[0].incarnation, 0, BLOCK_STORED);
    verdict(spool, &claims[0].incarnation, 1, BLOCK_FORK);
    claims_of(spool, claims, 2);
    source.books(source.ctx, &forked, 1); /* block 2 is under way */
    assert_int_equal(claims_of(spool, claims, 2), 2);
    verdict(spool, &claims[0].incarnation, 2, BLOCK_STORED);
    source.books(source.ctx, &forked, 1);
    assert_int_equal(claims_of(spool, claims, 2), 1);
    spool_status(spool, &status);
    assert_int_equal(status.mismatches, 0);
    assert_int_equal(status.quarantined_blocks, 1);
    shut(f, spool);
}

static void test_earlier_chains_drain_and_settle(void **state)
{
    struct fixture *f = *state;
    struct spool *spool = reopen(f);
    struct chain_claim claims[4], first;
    for (uint32_t i = 0; i < 5; i++)
        commit_one(f, spool, 10, 200);
    claims_of(spool, &first, 1);
    verdict(spool, &first.incarnation, 0, BLOCK_STORED);
    shut(f, spool);

    spool = reopen(f);
    commit_one(f, spool, 1, 200);
    assert_int_equal(claims_of(spool, claims, 4), 2);
    assert_true(pl_id128_eq(&claims[0].incarnation, &first.incarnation));
    assert_true(claims[0].closed);
    assert_int_equal(claims[0].next, 5);
    assert_false(claims[1].closed);
    assert_int_equal(claims[1].next, 1);
    /* With room for one, the live chain is the one that counts. */
    assert_int_equal(claims_of(spool, claims, 1), 1);
    assert_false(claims[0].closed);

    drain_chain(spool, &first.incarnation);
    claims_of(spool, claims, 4);
    assert_int_equal(claims[0].acked, 5);
    assert_int_equal(claims[0].acked_events, 50);

    /* Drained, but the row stays until the origin's books agree. */
    struct uplink_source source = spool_source(spool);
    struct spool_chain_status chains[4];
    struct chain_record wrong = record_of(&claims[0]);
    wrong.events = 49;
    wrong.stored = 49;
    source.books(source.ctx, &wrong, 1);
    assert_int_equal(spool_chains(spool, chains, 4), 2);
    assert_int_equal(chains[0].books, SPOOL_BOOKS_MISMATCH);
    struct chain_record right = record_of(&claims[0]);
    source.books(source.ctx, &right, 1);
    assert_int_equal(spool_chains(spool, chains, 4), 1);
    assert_false(chains[0].closed);
    shut(f, spool);

    crashed_chain(f, 0, 0); /* one that ended before it had taken anything */
    spool = reopen(f);
    assert_int_equal(claims_of(spool, claims, 4), 2);
    assert_false(pl_id128_eq(&claims[0].incarnation, &first.incarnation));
    /* What settled chains had accepted is not forgotten with them. */
    struct spool_status status;
    spool_status(spool, &status);
    assert_int_equal(status.accepted_events, 51);
    assert_true(status.oldest_pending_ms > 0);
    shut(f, spool);
}

static void test_a_process_that_collected_nothing_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    struct chain_claim claims[4];
    for (int i = 0; i < 5; i++) {
        struct spool *spool = reopen(f);
        assert_int_equal(claims_of(spool, claims, 4), 1);
        shut(f, spool);
    }
}

static void test_books(void **state)
{
    struct fixture *f = *state;
    struct spool *spool = reopen(f);
    struct uplink_source source = spool_source(spool);
    struct spool_chain_status chain;
    struct chain_claim claim;
    for (uint32_t i = 1; i <= 6; i++)
        commit_one(f, spool, i, 100);
    claims_of(spool, &claim, 1);
    spool_chains(spool, &chain, 1);
    assert_int_equal(chain.books, SPOOL_BOOKS_UNKNOWN);
    for (uint64_t n = 0; n < 3; n++)
        verdict(spool, &claim.incarnation, n, BLOCK_STORED);
    claims_of(spool, &claim, 1);

    /* The origin is ahead of the acks: compared all the same, 1+2+3+4 events. */
    struct chain_record r = {.incarnation = claim.incarnation, .contiguous = 4, .events = 10};
    r.stored = 7;
    r.duplicate = 2;
    r.dropped = 1;
    source.books(source.ctx, &r, 1);
    spool_chains(spool, &chain, 1);
    assert_int_equal(chain.books, SPOOL_BOOKS_BALANCED);

    /* Its own sum is wrong. */
    r.dropped = 0;
    source.books(source.ctx, &r, 1);
    spool_chains(spool, &chain, 1);
    assert_int_equal(chain.books, SPOOL_BOOKS_MISMATCH);
    r.dropped = 1;
    source.books(source.ctx, &r, 1);
    spool_chains(spool, &chain, 1);
    assert_int_equal(chain.books, SPOOL_BOOKS_BALANCED);

    /* It has forgotten what it had acked. */
    r = (struct chain_record){.incarnation = claim.incarnation, .contiguous = 2, .events = 3};
    r.stored = 3;
    source.books(source.ctx, &r, 1);
    spool_chains(spool, &chain, 1);
    assert_int_equal(chain.books, SPOOL_BOOKS_MISMATCH);
    struct spool_status status;
    spool_status(spool, &status);
    assert_int_equal(status.mismatches, 1);
    shut(f, spool);
}

/* ---- death and rot */

/* Children are this program again: a fork of a process with threads may do little else. */
static pid_t run_child(const struct fixture *f, const char *what, const char *a, const char *b)
{
    pid_t pid = fork();
    if (pid == 0) {
        execl("/proc/self/exe", "test_spool", what, f->dir, a, b, (char *)NULL);
        _exit(127);
    }
    return pid;
}

/* Commits until it is killed, telling the number of events after each commit. */
static int commit_for_ever(struct fixture *f, int pipe_fd)
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
static void commit_and_crash(struct fixture *f, uint32_t count, size_t bytes)
{
    struct spool *spool = reopen(f);
    for (uint32_t i = 0; i < count; i++)
        commit_one(f, spool, i + 1, bytes);
    _exit(0);
}

static int be_child(char **argv)
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

static void test_killed_during_commits(void **state)
{
    struct fixture *f = *state;
    uint64_t told = 0;
    for (int round = 0; round < 5; round++) {
        int fds[2];
        uint64_t events = 0, last = 0;
        assert_int_equal(pipe(fds), 0);
        char fd[16];
        snprintf(fd, sizeof(fd), "%d", fds[1]);
        fcntl(fds[0], F_SETFD, FD_CLOEXEC);
        pid_t pid = run_child(f, "for-ever", fd, "");
        close(fds[1]);
        for (int i = 0; i < 20 + 13 * round; i++)
            assert_int_equal(read(fds[0], &last, sizeof(last)), sizeof(last));
        kill(pid, SIGKILL);
        while (read(fds[0], &events, sizeof(events)) == sizeof(events))
            last = events;
        close(fds[0]);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        told += last;
    }
    struct spool *spool = reopen(f);
    struct chain_claim claims[8];
    uint64_t found = 0;
    size_t count = claims_of(spool, claims, 8);
    assert_int_equal(count, 6);
    for (size_t i = 0; i < count; i++) {
        struct drained d = drain_chain(spool, &claims[i].incarnation);
        assert_int_equal(d.lost_blocks, 0);
        found += d.events;
    }
    assert_true(found >= told);
    assert_true(found <= told + 5 * 7); /* what was committed but not told of any more */
    struct spool_status status;
    claims_of(spool, claims, 8);
    spool_status(spool, &status);
    assert_int_equal(status.pending_events, 0);
    shut(f, spool);
}

/* The chain of a process that ended without a word. */
static void crashed_chain(struct fixture *f, uint32_t count, size_t bytes)
{
    char a[16], b[16];
    int status;
    snprintf(a, sizeof(a), "%u", count);
    snprintf(b, sizeof(b), "%zu", bytes);
    pid_t pid = run_child(f, "crash", a, b);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* Where block `number` of a crashed chain begins in the log. Opens nothing. */
static off_t place_of_block(struct fixture *f, const struct pl_id128 *incarnation, uint64_t number,
                            char *path, size_t path_size)
{
    uint8_t needle[4 + 16 + 16 + 8] = {'P', 'L', 'B', '1'};
    off_t offset;
    memcpy(needle + 4 + 16, incarnation->bytes, 16);
    pl_store_u64(needle + 4 + 16 + 16, number);
    assert_true(find_in_logs(f, needle, sizeof(needle), path, path_size, &offset));
    return offset;
}

/* The incarnation in a log: that of the first block header found. */
static struct pl_id128 incarnation_in_logs(struct fixture *f)
{
    uint8_t needle[4 + 16] = {'P', 'L', 'B', '1'}; /* magic and the fixture's edge id, zeros */
    struct pl_id128 incarnation;
    char path[512];
    off_t offset;
    assert_true(find_in_logs(f, needle, sizeof(needle), path, sizeof(path), &offset));
    int fd = open(path, O_RDONLY);
    assert_int_equal(pread(fd, incarnation.bytes, 16, offset + 20), 16);
    close(fd);
    return incarnation;
}

static void test_rotten_block_is_declared(void **state)
{
    struct fixture *f = *state;
    char path[512];
    crashed_chain(f, 6, 100 * 1024);
    struct pl_id128 incarnation = incarnation_in_logs(f);
    off_t at = place_of_block(f, &incarnation, 3, path, sizeof(path));
    flip(path, at + 50 * 1024);
    struct spool *spool = reopen(f);
    struct uplink_source source = spool_source(spool);
    struct block_loss loss;
    struct pl_buf block;
    uint64_t number = 3;
    pl_buf_init(&block, LIMIT_BLOCK_BYTES);
    for (int i = 0; i < 3; i++) /* told at every attempt, counted once */
        assert_int_equal(source.read(source.ctx, &incarnation, &number, &block, &loss),
                         PL_ECORRUPT);
    struct drained d = drain_chain(spool, &incarnation);
    struct spool_status status;
    spool_status(spool, &status);
    assert_int_equal(status.lost_blocks, 1);
    assert_int_equal(status.lost_events, 4);
    assert_int_equal(d.blocks, 5);
    assert_int_equal(d.lost_blocks, 1);
    assert_int_equal(d.last_lost, 3);
    assert_int_equal(d.lost_events, 4);
    uint8_t zeros[BLOCK_HASH_BYTES] = {0};
    assert_memory_not_equal(d.loss.hash, zeros, sizeof(zeros));
    assert_int_equal(d.events + d.lost_events, 21);
    /* The books count it. */
    struct chain_claim claims[2];
    claims_of(spool, claims, 2);
    assert_int_equal(claims[0].acked, 6);
    assert_int_equal(claims[0].acked_events, 21);
    shut(f, spool);
}

static void test_block_without_mark_is_sent(void **state)
{
    struct fixture *f = *state;
    char path[512];
    crashed_chain(f, 6, 100 * 1024);
    struct pl_id128 incarnation = incarnation_in_logs(f);
    /* The mark of block 2 follows the block; it is small and stands right behind it. */
    uint8_t key[24];
    memcpy(key, incarnation.bytes, 16);
    pl_store_u64(key + 16, 2);
    off_t block = place_of_block(f, &incarnation, 2, path, sizeof(path));
    int fd = open(path, O_RDONLY);
    uint8_t *bytes = malloc(110 * 1024);
    assert_true(pread(fd, bytes, 110 * 1024, block) > 0);
    close(fd);
    uint8_t *mark = memmem(bytes + 1024, 109 * 1024, key, sizeof(key)); /* not its header */
    assert_non_null(mark);
    flip(path, block + (mark - bytes) + 30);
    free(bytes);

    struct spool *spool = reopen(f);
    struct drained d = drain_chain(spool, &incarnation);
    /* The log reader gives up the rest of its 32 KiB page: the beginning of block 3 lay there. */
    assert_int_equal(d.blocks + d.lost_blocks, 6);
    assert_true(d.lost_blocks <= 1);
    assert_int_equal(d.events + d.lost_events, 21);
    if (d.lost_blocks == 1)
        assert_int_equal(d.last_lost, 3);
    shut(f, spool);
}

/* Wherever one bit flips, except in the last page that has no later witness: what can be read
 * and what is declared lost add up to what was committed. */
static void test_one_flip_anywhere_adds_up(void **state)
{
    struct fixture *f = *state;
    const uint32_t count = 300;
    char path[512], command[256];
    crashed_chain(f, count, 700);
    struct pl_id128 incarnation = incarnation_in_logs(f);
    off_t first = place_of_block(f, &incarnation, 0, path, sizeof(path));
    off_t last = place_of_block(f, &incarnation, count - 1, path, sizeof(path)) - 64 * 1024;
    assert_true(last > first);
    snprintf(command, sizeof(command), "cp -r %s/store %s/pristine", f->dir, f->dir);
    assert_int_equal(system(command), 0);
    uint64_t lost_rounds = 0;
    for (off_t at = first; at < last; at += (last - first) / 23) {
        snprintf(command, sizeof(command), "rm -rf %s/store && cp -r %s/pristine %s/store", f->dir,
                 f->dir, f->dir);
        assert_int_equal(system(command), 0);
        flip(path, at);
        struct spool *spool = reopen(f);
        struct drained d = drain_chain(spool, &incarnation);
        assert_int_equal(d.blocks + d.lost_blocks, count);
        assert_int_equal(d.events + d.lost_events, count * (count + 1) / 2);
        lost_rounds += d.lost_blocks > 0;
        struct chain_claim claims[2];
        assert_int_equal(claims_of(spool, claims, 2), 2);
        assert_int_equal(claims[0].acked_events, count * (count + 1) / 2);
        shut(f, spool);
    }
    assert_true(lost_rounds > 15);
}

static void test_lost_row_is_pieced_together(void **state)
{
    struct fixture *f = *state;
    struct spool *spool = reopen(f);
    struct chain_claim claims[2];
    for (uint32_t i = 0; i < 8; i++)
        commit_one(f, spool, 5, 100);
    claims_of(spool, claims, 1);
    struct pl_id128 incarnation = claims[0].incarnation;
    for (uint64_t n = 0; n < 3; n++)
        verdict(spool, &incarnation, n, BLOCK_STORED);
    claims_of(spool, claims, 1);
    spool_free(spool);
    struct store_batch *batch;
    assert_int_equal(store_batch_new(&batch), PL_OK);
    store_batch_delete(batch, f->store, EDGE_CHAINS, pl_span(incarnation.bytes, 16));
    assert_int_equal(store_write(f->store, batch, true, NULL), PL_OK);
    store_batch_free(batch);
    fixture_store_close(f);

    spool = reopen(f);
    assert_int_equal(claims_of(spool, claims, 2), 2);
    assert_true(pl_id128_eq(&claims[0].incarnation, &incarnation));
    assert_int_equal(claims[0].acked, 3);
    assert_int_equal(claims[0].acked_events, 15);
    assert_int_equal(claims[0].next, 8);
    assert_int_equal(drain_chain(spool, &incarnation).events, 25);
    shut(f, spool);
}

/* ---- a disk that fails */

static void with_file_limit(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void test_failed_write_closes_the_chain(void **state)
{
    struct fixture *f = *state;
    struct spool *spool = reopen(f);
    struct chain_claim claims[4];
    struct block_header header;
    struct pl_why why;
    signal(SIGXFSZ, SIG_IGN);
    commit_one(f, spool, 2, 1000);
    with_file_limit(200 * 1024);
    enum pl_err err = PL_OK;
    uint32_t committed = 2, attempts = 0;
    while (err == PL_OK && attempts++ < 100) {
        err = append(f, spool, 3, 50 * 1000, &header);
        if (err == PL_OK)
            err = spool_commit(spool, &why);
        if (err == PL_OK)
            committed += 3;
    }
    assert_int_equal(err, PL_ENOSPC);
    /* No second try under that number. */
    assert_int_equal(append(f, spool, 3, 10, &header), PL_EIO);
    assert_int_equal(spool_commit(spool, &why), PL_EIO);
    with_file_limit(RLIM_INFINITY);
    assert_int_equal(spool_recover(spool, &why), PL_OK);
    commit_one(f, spool, 11, 100);

    assert_int_equal(claims_of(spool, claims, 4), 2);
    assert_true(claims[0].closed);
    assert_false(claims[1].closed);
    assert_false(pl_id128_eq(&claims[0].incarnation, &claims[1].incarnation));
    uint64_t old = drain_chain(spool, &claims[0].incarnation).events;
    assert_true(old == committed || old == committed + 3);
    assert_int_equal(drain_chain(spool, &claims[1].incarnation).events, 11);
    claims_of(spool, claims, 4);
    assert_int_equal(claims[0].acked_events, old);
    shut(f, spool);
}

static void test_verdicts_survive_recovery(void **state)
{
    struct fixture *f = *state;
    struct spool *spool = reopen(f);
    struct chain_claim claims[4];
    struct block_header header;
    struct pl_why why;
    signal(SIGXFSZ, SIG_IGN);
    for (int i = 0; i < 5; i++)
        commit_one(f, spool, 1, 100);
    claims_of(spool, claims, 1);
    verdict(spool, &claims[0].incarnation, 3, BLOCK_STORED);
    with_file_limit(64 * 1024); /* the store's own small files must still fit */
    enum pl_err err = append(f, spool, 1, 100 * 1000, &header);
    if (err == PL_OK)
        err = spool_commit(spool, &why);
    assert_int_not_equal(err, PL_OK);
    with_file_limit(RLIM_INFINITY);
    assert_int_equal(spool_recover(spool, &why), PL_OK);
    for (uint64_t n = 0; n < 3; n++)
        verdict(spool, &claims[0].incarnation, n, BLOCK_STORED);
    claims_of(spool, claims, 4);
    assert_int_equal(claims[0].acked, 4);
    shut(f, spool);
}

/* Blocks 0 to 5 with 1 to 6 events, in tables; where block `number` begins in one of them. */
static off_t fill_tables(struct fixture *f, struct spool *spool, uint64_t number,
                         struct pl_id128 *incarnation)
{
    struct chain_claim claim;
    off_t at;
    for (uint32_t i = 0; i < 6; i++)
        commit_one(f, spool, i + 1, 100 * 1024);
    assert_int_equal(store_flush(f->store, NULL), PL_OK);
    claims_of(spool, &claim, 1);
    *incarnation = claim.incarnation;
    uint8_t needle[4 + 16 + 16 + 8] = {'P', 'L', 'B', '1'};
    memcpy(needle + 4 + 16, claim.incarnation.bytes, 16);
    pl_store_u64(needle + 4 + 16 + 16, number);
    assert_true(find_in_files(f, ".sst", needle, sizeof(needle), bad_file, sizeof(bad_file), &at));
    return at;
}

static void test_a_block_that_cannot_be_read_is_given_up(void **state)
{
    struct fixture *f = *state;
    struct spool *spool = reopen(f);
    struct uplink_source source = spool_source(spool);
    struct spool_status status;
    struct pl_id128 incarnation;
    struct block_loss loss;
    struct pl_buf block;
    uint64_t number = 2;
    pl_buf_init(&block, LIMIT_BLOCK_BYTES);
    bad_offset = fill_tables(f, spool, number, &incarnation);
    /* Twice it is worth another attempt, and somebody is told. */
    for (int i = 0; i < 2; i++)
        assert_int_equal(source.read(source.ctx, &incarnation, &number, &block, &loss), PL_EIO);
    spool_status(spool, &status);
    assert_int_equal(status.unread_chains, 1);
    assert_int_equal(status.lost_blocks, 0);
    assert_int_equal(source.read(source.ctx, &incarnation, &number, &block, &loss), PL_ECORRUPT);
    assert_int_equal(loss.number, 2);
    assert_int_equal(loss.events, 3);
    pl_buf_release(&block);
    struct drained d = drain_chain(spool, &incarnation);
    assert_int_equal(d.blocks, 5);
    assert_int_equal(d.events, 18);
    assert_int_equal(d.lost_events, 3);
    spool_status(spool, &status);
    assert_int_equal(status.unread_chains, 0);
    assert_int_equal(status.lost_blocks, 1);
    bad_offset = -1;
    shut(f, spool);
}

/* The first one takes its time; those found behind it are told as fast as they are found. */
static void test_many_blocks_that_cannot_be_read_do_not_wait_each(void **state)
{
    struct fixture *f = *state;
    struct spool *spool = reopen(f);
    struct uplink_source source = spool_source(spool);
    struct pl_id128 incarnation;
    struct block_loss loss;
    struct pl_buf block;
    pl_buf_init(&block, LIMIT_BLOCK_BYTES);
    bad_offset = fill_tables(f, spool, 1, &incarnation);
    bad_bytes = 3 * 100 * 1024; /* blocks 1 to 3, and the beginning of 4 */
    verdict(spool, &incarnation, 0, BLOCK_STORED);
    uint64_t number = 1;
    for (int i = 0; i < 2; i++)
        assert_int_equal(source.read(source.ctx, &incarnation, &number, &block, &loss), PL_EIO);
    struct drained d = drain_chain(spool, &incarnation);
    bad_offset = -1;
    bad_bytes = 1;
    assert_true(d.lost_blocks >= 3);
    assert_int_equal(d.blocks + d.lost_blocks, 5);
    assert_int_equal(d.events + d.lost_events, 20);
    pl_buf_release(&block);
    shut(f, spool);
}

/* Nothing is read and nothing written: that is no rot. */
static void test_a_disk_that_does_not_answer_has_lost_nothing(void **state)
{
    struct fixture *f = *state;
    struct spool *spool = reopen(f);
    struct uplink_source source = spool_source(spool);
    struct pl_id128 incarnation;
    struct block_loss loss;
    struct pl_buf block;
    struct pl_why why;
    uint64_t number = 2;
    signal(SIGXFSZ, SIG_IGN);
    pl_buf_init(&block, LIMIT_BLOCK_BYTES);
    bad_offset = fill_tables(f, spool, number, &incarnation);
    with_file_limit(1);
    for (int i = 0; i < 10; i++)
        assert_int_equal(source.read(source.ctx, &incarnation, &number, &block, &loss), PL_EIO);
    with_file_limit(RLIM_INFINITY);
    bad_offset = -1;
    assert_int_equal(spool_recover(spool, &why), PL_OK);
    assert_int_equal(drain_chain(spool, &incarnation).events, 21);
    pl_buf_release(&block);
    shut(f, spool);
}

static void test_a_read_that_fails_once_loses_nothing(void **state)
{
    struct fixture *f = *state;
    struct spool *spool = reopen(f);
    struct uplink_source source = spool_source(spool);
    struct pl_id128 incarnation;
    struct pl_buf block;
    uint64_t number = 2;
    pl_buf_init(&block, LIMIT_BLOCK_BYTES);
    bad_offset = fill_tables(f, spool, number, &incarnation);
    assert_int_equal(source.read(source.ctx, &incarnation, &number, &block, NULL), PL_EIO);
    bad_offset = -1;
    assert_int_equal(drain_chain(spool, &incarnation).events, 21);
    pl_buf_release(&block);
    shut(f, spool);
}

static void test_a_bad_sector_does_not_keep_the_spool_from_opening(void **state)
{
    struct fixture *f = *state;
    struct spool *spool = reopen(f);
    struct pl_id128 incarnation;
    /* The first one: loading looks for it. */
    const off_t at = fill_tables(f, spool, 0, &incarnation);
    shut(f, spool);
    fixture_store_open(f);
    bad_offset = at;
    spool = open_spool(f, UINT64_MAX / 2);
    struct chain_claim claims[2];
    assert_int_equal(claims_of(spool, claims, 2), 2);
    assert_int_equal(claims[0].next, 6);
    bad_offset = -1;
    shut(f, spool);
}

static void test_a_loss_is_counted_once_whatever_fails(void **state)
{
    struct fixture *f = *state;
    struct spool *spool = reopen(f);
    struct uplink_source source = spool_source(spool);
    struct spool_status status;
    struct pl_id128 incarnation;
    struct block_header header;
    struct block_loss loss;
    struct pl_buf block;
    struct pl_why why;
    uint64_t number = 2;
    signal(SIGXFSZ, SIG_IGN);
    pl_buf_init(&block, LIMIT_BLOCK_BYTES);
    bad_offset = fill_tables(f, spool, number, &incarnation);
    for (int i = 0; i < 3; i++)
        (void)source.read(source.ctx, &incarnation, &number, &block, &loss);
    spool_status(spool, &status);
    assert_int_equal(status.lost_blocks, 1);
    with_file_limit(64 * 1024);
    assert_int_not_equal(append(f, spool, 1, 100 * 1000, &header), PL_OK);
    with_file_limit(RLIM_INFINITY);
    assert_int_equal(spool_recover(spool, &why), PL_OK);
    assert_int_equal(source.read(source.ctx, &incarnation, &number, &block, &loss), PL_ECORRUPT);
    spool_status(spool, &status);
    assert_int_equal(status.lost_blocks, 1);
    assert_int_equal(status.lost_events, 3);
    bad_offset = -1;
    pl_buf_release(&block);
    shut(f, spool);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(int argc, char **argv)
{
    if (argc == 5)
        return be_child(argv);
    const struct CMUnitTest tests[] = {
        TEST(test_offered_until_acked),
        TEST(test_appended_is_not_offered_before_commit),
        TEST(test_blocks_are_chained),
        TEST(test_acks_out_of_order),
        TEST(test_refused_blocks_are_kept_aside),
        TEST(test_what_is_kept_aside_is_dropped_in_time),
        TEST(test_full_spool_says_so),
        TEST(test_a_chain_with_quarantined_blocks_settles),
        TEST(test_earlier_chains_drain_and_settle),
        TEST(test_a_process_that_collected_nothing_leaves_nothing),
        TEST(test_books),
        TEST(test_killed_during_commits),
        TEST(test_rotten_block_is_declared),
        TEST(test_block_without_mark_is_sent),
        TEST(test_one_flip_anywhere_adds_up),
        TEST(test_lost_row_is_pieced_together),
        TEST(test_failed_write_closes_the_chain),
        TEST(test_verdicts_survive_recovery),
        TEST(test_a_block_that_cannot_be_read_is_given_up),
        TEST(test_many_blocks_that_cannot_be_read_do_not_wait_each),
        TEST(test_a_disk_that_does_not_answer_has_lost_nothing),
        TEST(test_a_read_that_fails_once_loses_nothing),
        TEST(test_a_loss_is_counted_once_whatever_fails),
        TEST(test_a_bad_sector_does_not_keep_the_spool_from_opening),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
