#include "records_fixture.h"

#include "origin/accounts/changelog.h"
#include "proto/wire/catalog.h"

static struct records r;

static int setup(void **state)
{
    (void)state;
    records_init(&r);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    records_release(&r);
    return 0;
}

static struct changelog *reopen(struct changelog *changelog)
{
    changelog_close(changelog);
    records_close(&r);
    records_open(&r);
    must(changelog_open(&changelog, r.store, pl_random_system(), &r.why), &r.why);
    return changelog;
}

static struct changelog *open_changelog(void)
{
    struct changelog *changelog;
    must(changelog_open(&changelog, r.store, pl_random_system(), &r.why), &r.why);
    return changelog;
}

static void tell(struct changelog *changelog, uint64_t account, int64_t expires_at_ms)
{
    struct store_batch *batch;
    struct catalog_item item = {.kind = CATALOG_ACCOUNT,
                                .account = account,
                                .state = ACCOUNT_ACTIVE,
                                .expires_at_ms = expires_at_ms};
    item.write_key.bytes[0] = (uint8_t)account;
    catalog_rule_defaults(&item);
    must(store_batch_new(&batch), &r.why);
    must(changelog_write(changelog, batch, &item, &r.why), &r.why);
    store_batch_free(batch);
}

struct follower {
    struct pl_id128 epoch;
    uint64_t position;
    size_t items, pages;
    int64_t expires[8]; /* by account, newest heard */
};

static void follow(struct changelog *changelog, struct follower *f, size_t max_bytes)
{
    bool caught_up = false;
    while (!caught_up) {
        struct pl_buf page;
        pl_buf_init(&page, 1u << 20);
        enum pl_err err =
            changelog_feed(changelog, &f->epoch, &f->position, max_bytes, &page, &caught_up);
        if (err == PL_ENOTFOUND) {
            pl_buf_release(&page);
            return;
        }
        assert_int_equal(err, PL_OK);
        struct pl_reader reader = pl_reader(pl_buf_span(&page));
        while (reader.rest.len > 0) {
            static struct catalog_item item;
            uint32_t len = pl_get_u32(&reader);
            must(catalog_decode(pl_get_span(&reader, len), &item, &r.why), &r.why);
            f->expires[item.account] = item.expires_at_ms;
            f->items++;
        }
        f->pages++;
        pl_buf_release(&page);
    }
}

static void test_only_the_newest_of_an_account_is_kept(void **state)
{
    (void)state;
    struct changelog *changelog = open_changelog();
    for (int64_t i = 1; i <= 20; i++)
        tell(changelog, 1 + (uint64_t)(i % 3), i);
    assert_int_equal(count_rows(&r, FAMILY_CHANGES), 3);

    struct follower f = {.position = 0};
    follow(changelog, &f, 1u << 16);
    assert_int_equal(f.items, 3);
    assert_int_equal(f.expires[1], 18);
    assert_int_equal(f.expires[2], 19);
    assert_int_equal(f.expires[3], 20);
    assert_int_equal(f.position, changelog_position(changelog));
    changelog_close(changelog);
}

static void test_following_continues_where_it_was(void **state)
{
    (void)state;
    struct changelog *changelog = open_changelog();
    struct follower f = {.position = 0};
    tell(changelog, 1, 10);
    tell(changelog, 2, 20);
    follow(changelog, &f, 1u << 16);
    assert_int_equal(f.items, 2);
    follow(changelog, &f, 1u << 16);
    assert_int_equal(f.items, 2);
    tell(changelog, 1, 30);
    follow(changelog, &f, 1u << 16);
    assert_int_equal(f.items, 3);
    assert_int_equal(f.expires[1], 30);
    changelog_close(changelog);
}

static void test_small_pages_hold_at_least_one_item(void **state)
{
    (void)state;
    struct changelog *changelog = open_changelog();
    for (uint64_t a = 1; a <= 5; a++)
        tell(changelog, a, (int64_t)a);
    struct follower f = {.position = 0};
    follow(changelog, &f, 1);
    assert_int_equal(f.items, 5);
    assert_int_equal(f.pages, 5);
    changelog_close(changelog);
}

static void test_survives_a_restart(void **state)
{
    (void)state;
    struct changelog *changelog = open_changelog();
    struct follower f = {.position = 0};
    tell(changelog, 1, 10);
    tell(changelog, 2, 20);
    follow(changelog, &f, 1u << 16);
    changelog = reopen(changelog);
    assert_int_equal(changelog_position(changelog), 2);

    struct follower again = f;
    tell(changelog, 1, 30);
    follow(changelog, &again, 1u << 16);
    assert_true(pl_id128_eq(&again.epoch, &f.epoch));
    assert_int_equal(again.items, 3);
    /* The row of the first item went although an earlier process wrote it. */
    assert_int_equal(count_rows(&r, FAMILY_CHANGES), 2);
    changelog_close(changelog);
}

static void count_change(void *ctx)
{
    ++*(int *)ctx;
}

static void test_tells_of_changes_but_not_of_failures(void **state)
{
    (void)state;
    struct changelog *changelog = open_changelog();
    int changes = 0;
    changelog_on_change(changelog, count_change, &changes);
    tell(changelog, 1, 10);
    assert_int_equal(changes, 1);

    struct store_batch *batch;
    struct catalog_item bad = {.kind = CATALOG_ACCOUNT, .account = 2, .state = 77};
    must(store_batch_new(&batch), &r.why);
    assert_int_not_equal(changelog_write(changelog, batch, &bad, &r.why), PL_OK);
    store_batch_free(batch);
    assert_int_equal(changes, 1);
    assert_int_equal(changelog_position(changelog), 1);
    assert_int_equal(count_rows(&r, FAMILY_CHANGES), 1);
    changelog_close(changelog);
}

static void test_what_stands_in_the_batch_is_written_with_the_item(void **state)
{
    (void)state;
    struct changelog *changelog = open_changelog();
    struct store_batch *batch;
    struct pl_buf value;
    struct catalog_item item = {.kind = CATALOG_TOMBSTONE, .account = 4, .state = ACCOUNT_DELETED};
    must(store_batch_new(&batch), &r.why);
    store_batch_put(batch, r.store, FAMILY_META, PL_SPAN_LIT("beside"), PL_SPAN_LIT("it"));
    must(changelog_write(changelog, batch, &item, &r.why), &r.why);
    store_batch_free(batch);
    changelog = reopen(changelog);
    pl_buf_init(&value, 16);
    assert_int_equal(store_get(r.store, FAMILY_META, PL_SPAN_LIT("beside"), &value), PL_OK);
    pl_buf_release(&value);
    assert_int_equal(changelog_position(changelog), 1);
    changelog_close(changelog);
}

/* Whoever follows it has heard more than it holds: it was put back, and nothing else shows it. */
static void test_a_follower_that_knows_more_shows_a_rollback(void **state)
{
    (void)state;
    struct pl_id128 epoch, other = {{1}}, next;
    int changes = 0;
    struct changelog *changelog = open_changelog();
    tell(changelog, 1, 10);
    changelog_epoch(changelog, &epoch);
    assert_false(changelog_is_behind(changelog, &epoch, 2)); /* its epoch is new: nobody can */
    changelog = reopen(changelog);
    assert_false(changelog_is_behind(changelog, &epoch, 1));
    assert_false(changelog_is_behind(changelog, &other, 2));
    assert_true(changelog_is_behind(changelog, &epoch, 2));
    changelog_on_change(changelog, count_change, &changes);
    must(changelog_renew(changelog, &r.why), &r.why);
    assert_int_equal(changes, 1); /* who waits is to hear of it */
    changelog_epoch(changelog, &next);
    assert_false(pl_id128_eq(&epoch, &next));
    assert_false(changelog_is_behind(changelog, &epoch, 2));
    assert_false(changelog_is_behind(changelog, &next, 2));
    changelog_close(changelog);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_only_the_newest_of_an_account_is_kept, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_following_continues_where_it_was, setup, teardown),
        cmocka_unit_test_setup_teardown(test_small_pages_hold_at_least_one_item, setup, teardown),
        cmocka_unit_test_setup_teardown(test_survives_a_restart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tells_of_changes_but_not_of_failures, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_follower_that_knows_more_shows_a_rollback, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_what_stands_in_the_batch_is_written_with_the_item,
                                        setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
