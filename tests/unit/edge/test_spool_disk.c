/* A disk that fails: writes without room, reads that find a bad sector. */
#include "tests/unit/edge/spool_fixture.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>

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

static void test_failed_write_closes_the_chain(void **state)
{
    struct fixture *f = *state;
    struct spool *spool = reopen(f);
    struct chain_claim claims[4];
    struct block_header header;
    struct pl_why why;
    signal(SIGXFSZ, SIG_IGN);
    commit_one(f, spool, 2, 1000);
    fixture_file_limit(200 * 1024);
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
    fixture_file_limit(RLIM_INFINITY);
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
    fixture_file_limit(64 * 1024); /* the store's own small files must still fit */
    enum pl_err err = append(f, spool, 1, 100 * 1000, &header);
    if (err == PL_OK)
        err = spool_commit(spool, &why);
    assert_int_not_equal(err, PL_OK);
    fixture_file_limit(RLIM_INFINITY);
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
    off_t at = 0;
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
    fixture_file_limit(1);
    for (int i = 0; i < 10; i++)
        assert_int_equal(source.read(source.ctx, &incarnation, &number, &block, &loss), PL_EIO);
    fixture_file_limit(RLIM_INFINITY);
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
    fixture_file_limit(64 * 1024);
    assert_int_not_equal(append(f, spool, 1, 100 * 1000, &header), PL_OK);
    fixture_file_limit(RLIM_INFINITY);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
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
