/* What a catalog is after a restart: from its rows, spoiled ones, a disk that fails. */
#include "tests/unit/edge/catalog_fixture.h"

#include <signal.h>

static void rules_are_kept_over_a_restart(void **state)
{
    struct watch *w = *state;
    struct catalog_item item = account_item(7, NULL);
    item.cookie = (struct cookie_policy){
        .enabled = true, .same_site = SAME_SITE_LAX, .name = S("sid"), .domain = S("shop.example")};
    item.pii = PII_CARD;
    item.id_key[15] = 9;
    item.host_count = 1;
    item.hosts[0] = S("metrics.shop.example");
    apply(w, &epoch_a, true, 1, true, &item, 1);
    close_catalog(w);
    fixture_store_close(w->f);
    fixture_store_open(w->f);
    open_catalog(w);
    const struct catalog_entry *entry = catalog_find_host(w->snapshot, S("metrics.shop.example"));
    assert_non_null(entry);
    assert_true(entry->cookie.enabled);
    assert_int_equal(entry->cookie.same_site, SAME_SITE_LAX);
    assert_true(pl_span_eq_str(entry->cookie.name, "sid"));
    assert_true(pl_span_eq_str(entry->cookie.domain, "shop.example"));
    assert_int_equal(entry->pii, PII_CARD);
    assert_memory_equal(entry->id_key, item.id_key, sizeof(item.id_key));
}

static void a_restart_without_the_origin_serves_the_same(void **state)
{
    struct watch *w = *state;
    struct catalog_item items[40];
    for (uint64_t i = 0; i < 40; i++)
        items[i] = account_item(i + 1, "{\"version\":1,\"campaigns\":[]}");
    items[3].expires_at_ms = w->now_ms + DAY;
    apply(w, &epoch_a, true, 40, true, items, 40);
    struct catalog_item seal = {.kind = CATALOG_SEAL_KEY, .seal_public = {1, 2, 3}};
    apply(w, &epoch_a, false, 41, true, &seal, 1);
    w->now_ms += 5 * PL_MINUTE_MS;
    catalog_heard(w->catalog, w->now_ms, true);
    char etag[64];
    snprintf(etag, sizeof(etag), "%s", find(w, 4)->script.etag[CATALOG_BROTLI]);

    close_catalog(w);
    memset(w->seal_public, 0, sizeof(w->seal_public));
    fixture_store_close(w->f);
    fixture_store_open(w->f);
    open_catalog(w);
    assert_int_equal(accounts_of(w), 40);
    assert_string_equal(find(w, 4)->script.etag[CATALOG_BROTLI], etag);
    assert_int_equal(w->seal_public[2], 3);
    assert_int_equal(catalog_entry_state(find(w, 4), w->now_ms), ACCOUNT_ACTIVE);
    assert_int_equal(catalog_entry_state(find(w, 4), w->now_ms + DAY), ACCOUNT_EXPIRED);
    struct catalog_status status;
    catalog_status(w->catalog, &status);
    assert_int_equal(status.position, 41);
    assert_true(pl_id128_eq(&status.epoch, &epoch_a));
    assert_int_equal(status.confirmed_ms, w->now_ms);
}

static void a_crash_in_the_middle_of_a_restart_starts_over(void **state)
{
    struct watch *w = *state;
    struct catalog_item items[] = {account_item(1, "{\"version\":1}"),
                                   account_item(2, "{\"version\":1}")};
    apply(w, &epoch_a, true, 2, true, items, 2);
    apply(w, &epoch_b, true, 1, false, &items[0], 1);
    close_catalog(w);
    open_catalog(w);
    struct pl_id128 epoch;
    uint64_t position;
    catalog_position(w->catalog, &epoch, &position);
    assert_true(pl_id128_eq(&epoch, &epoch_a));
}

/* Asks for everything again, which the origin answers with a restart. */
static void assert_asks_for_all(struct watch *w)
{
    struct pl_id128 epoch;
    uint64_t position;
    catalog_position(w->catalog, &epoch, &position);
    assert_int_equal(position, 0);
    assert_true(pl_id128_eq(&epoch, &(struct pl_id128){{0}}));
}

static void a_spoiled_row_costs_only_its_account(void **state)
{
    struct watch *w = *state;
    struct catalog_item items[] = {account_item(1, "{\"version\":1}"),
                                   account_item(2, "{\"version\":1}")};
    apply(w, &epoch_a, true, 2, true, items, 2);
    uint8_t key[9] = {'A'};
    pl_store_u64(key + 1, 1);
    assert_int_equal(
        store_put(w->f->store, EDGE_CATALOG, pl_span(key, sizeof(key)), S("rubbish"), true, NULL),
        PL_OK);
    close_catalog(w);
    open_catalog(w);
    assert_null(find(w, 1));
    assert_non_null(find(w, 2));
    assert_asks_for_all(w);
    apply(w, &epoch_a, true, 2, true, items, 2);
    assert_non_null(find(w, 1));
    close_catalog(w);
    open_catalog(w);
    struct catalog_status status;
    catalog_status(w->catalog, &status);
    assert_int_equal(status.position, 2);
}

/* Every table of the store gets one byte turned in its first data block. */
static void flip_tables(struct fixture *f)
{
    char command[256];
    snprintf(command, sizeof(command),
             "for t in %s/store/*.sst; do printf '\\377\\376' | dd of=$t bs=1 seek=40 conv=notrunc "
             "status=none; done",
             f->dir);
    assert_int_equal(system(command), 0);
}

static void a_flipped_byte_in_a_table_does_not_keep_the_edge_from_starting(void **state)
{
    struct watch *w = *state;
    struct catalog_item items[] = {account_item(1, "{\"version\":1}"),
                                   account_item(2, "{\"version\":1}")};
    apply(w, &epoch_a, true, 2, true, items, 2);
    assert_int_equal(store_flush(w->f->store, NULL), PL_OK);
    close_catalog(w);
    fixture_store_close(w->f);
    flip_tables(w->f);
    fixture_store_open(w->f);
    open_catalog(w);
    assert_asks_for_all(w);
    apply(w, &epoch_b, true, 2, true, items, 2);
    assert_non_null(find(w, 1));
    assert_non_null(find(w, 2));
}

/* ---- a disk that fails */

/* The store refuses every write until fail_no_more. */
static void fail_writes(struct watch *w)
{
    static uint8_t bytes[256 * 1024];
    signal(SIGXFSZ, SIG_IGN);
    fixture_file_limit(64 * 1024);
    assert_int_not_equal(store_put(w->f->store, EDGE_QUARANTINE, S("big"),
                                   pl_span(bytes, sizeof(bytes)), true, NULL),
                         PL_OK);
}

static void fail_no_more(struct watch *w)
{
    fixture_file_limit(RLIM_INFINITY);
    assert_int_equal(store_recover(w->f->store, NULL), PL_OK);
}

static void apply_in_vain(struct watch *w, const struct pl_id128 *epoch, bool restart,
                          uint64_t position, const struct catalog_item *item)
{
    struct pl_buf page;
    pl_buf_init(&page, 1 << 20);
    add_item(&page, item);
    assert_int_not_equal(
        catalog_apply(w->catalog, epoch, restart, position, true, pl_buf_span(&page)), PL_OK);
    pl_buf_release(&page);
}

static void a_failing_disk_does_not_keep_an_expired_account_alive(void **state)
{
    struct watch *w = *state;
    struct catalog_item items[] = {account_item(1, "{\"version\":1}"),
                                   account_item(2, "{\"version\":1}")};
    struct catalog_item gone = {.kind = CATALOG_TOMBSTONE, .account = 2};
    struct catalog_status status;
    apply(w, &epoch_a, true, 2, true, items, 2);
    items[0].state = ACCOUNT_EXPIRED;
    fail_writes(w);
    apply_in_vain(w, &epoch_a, false, 3, &items[0]);
    apply_in_vain(w, &epoch_a, false, 4, &gone);
    assert_int_equal(catalog_entry_state(find(w, 1), w->now_ms), ACCOUNT_EXPIRED);
    assert_null(find(w, 2));
    catalog_status(w->catalog, &status);
    assert_int_equal(status.position, 2);
    assert_int_equal(status.accounts, 1);
    /* It is asked for again, and then it lasts. */
    fail_no_more(w);
    apply(w, &epoch_a, false, 3, false, &items[0], 1);
    apply(w, &epoch_a, false, 4, true, &gone, 1);
    close_catalog(w);
    open_catalog(w);
    assert_int_equal(catalog_entry_state(find(w, 1), w->now_ms), ACCOUNT_EXPIRED);
    assert_null(find(w, 2));
}

static void a_restart_whose_end_fails_still_forgets(void **state)
{
    struct watch *w = *state;
    struct catalog_item items[] = {account_item(1, "{\"version\":1}"),
                                   account_item(2, "{\"version\":1}"),
                                   account_item(3, "{\"version\":1}")};
    apply(w, &epoch_a, true, 3, true, items, 3);
    apply(w, &epoch_b, true, 1, false, &items[0], 1);
    fail_writes(w);
    apply_in_vain(w, &epoch_b, false, 2, &items[2]);
    assert_null(find(w, 2));
    fail_no_more(w);
    /* The last page comes again, not the whole restart. */
    apply(w, &epoch_b, false, 2, true, &items[2], 1);
    assert_null(find(w, 2));
    close_catalog(w);
    open_catalog(w);
    assert_non_null(find(w, 1));
    assert_null(find(w, 2));
    assert_non_null(find(w, 3));
    struct catalog_status status;
    catalog_status(w->catalog, &status);
    assert_int_equal(status.position, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(rules_are_kept_over_a_restart),
        TEST(a_restart_without_the_origin_serves_the_same),
        TEST(a_crash_in_the_middle_of_a_restart_starts_over),
        TEST(a_spoiled_row_costs_only_its_account),
        TEST(a_flipped_byte_in_a_table_does_not_keep_the_edge_from_starting),
        TEST(a_failing_disk_does_not_keep_an_expired_account_alive),
        TEST(a_restart_whose_end_fails_still_forgets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
