/* Bytes that rot in the store's log. */
#include "tests/unit/edge/spool_fixture.h"

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

/* Where block `number` of a crashed chain begins in the log. Opens nothing. */
static off_t place_of_block(struct fixture *f, const struct pl_id128 *incarnation, uint64_t number,
                            char *path, size_t path_size)
{
    uint8_t needle[4 + 16 + 16 + 8] = {'P', 'L', 'B', '1'};
    off_t offset = 0;
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
    off_t offset = 0;
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(int argc, char **argv)
{
    if (argc == 5)
        return be_child(argv);
    const struct CMUnitTest tests[] = {
        TEST(test_rotten_block_is_declared),
        TEST(test_block_without_mark_is_sent),
        TEST(test_one_flip_anywhere_adds_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
