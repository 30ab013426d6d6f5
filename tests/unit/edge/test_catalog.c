#include "tests/unit/edge/fixture.h"

#include "edge/catalog.h"
#include "edge/sdk.h"

#include <signal.h>
#include <sys/resource.h>

#define DAY INT64_C(86400000)

struct watch {
    struct fixture *f;
    struct catalog *catalog;
    struct catalog_snapshot *snapshot;
    unsigned published;
    uint8_t seal_public[32];
    unsigned cuts;
    struct catalog_cut cut; /* the last */
    int64_t now_ms;
    struct pl_clock clock;
};

static const struct pl_id128 epoch_a = {{0xa}}, epoch_b = {{0xb}};

static int64_t watch_time(void *ctx)
{
    return ((struct watch *)ctx)->now_ms;
}

static void take_snapshot(void *ctx, struct catalog_snapshot *snapshot)
{
    struct watch *w = ctx;
    catalog_snapshot_unref(w->snapshot);
    w->snapshot = catalog_snapshot_ref(snapshot);
    w->published++;
}

static void take_seal_key(void *ctx, const uint8_t seal_public[32])
{
    memcpy(((struct watch *)ctx)->seal_public, seal_public, 32);
}

static void take_cut(void *ctx, const struct catalog_cut *cut)
{
    struct watch *w = ctx;
    assert_int_equal(cut->serial, catalog_snapshot_serial(w->snapshot)); /* published before */
    w->cut = *cut;
    w->cuts++;
}

static void open_catalog(struct watch *w)
{
    struct pl_why why = {0};
    struct catalog_config config = {
        .store = w->f->store,
        .family = EDGE_CATALOG,
        .max_age_seconds = 60,
        .publish = take_snapshot,
        .seal_key = take_seal_key,
        .cut = take_cut,
        .ctx = w,
        .clock = &w->clock,
        .log = &fixture_silent,
    };
    if (catalog_open(&w->catalog, &config, &why) != PL_OK)
        fail_msg("%s", why.text);
}

static size_t accounts_of(const struct watch *w)
{
    struct catalog_status status;
    catalog_status(w->catalog, &status);
    return status.accounts;
}

static void close_catalog(struct watch *w)
{
    catalog_close(w->catalog);
    catalog_snapshot_unref(w->snapshot);
    w->catalog = NULL;
    w->snapshot = NULL;
}

static int setup(void **state)
{
    struct watch *w = calloc(1, sizeof(*w));
    int failed = fixture_setup(state);
    w->f = *state;
    w->now_ms = 20000 * DAY;
    w->clock = (struct pl_clock){watch_time, watch_time, w};
    if (w->f->store == NULL)
        fixture_store_open(w->f);
    open_catalog(w);
    *state = w;
    return failed;
}

static int teardown(void **state)
{
    struct watch *w = *state;
    void *fixture = w->f;
    close_catalog(w);
    free(w);
    return fixture_teardown(&fixture);
}

static void add_item(struct pl_buf *page, const struct catalog_item *item)
{
    struct pl_buf bytes;
    pl_buf_init(&bytes, 1 << 20);
    assert_int_equal(catalog_encode(item, &bytes), PL_OK);
    pl_buf_put_u32(page, (uint32_t)bytes.len);
    pl_buf_append_span(page, pl_buf_span(&bytes));
    pl_buf_release(&bytes);
}

static struct catalog_item account_item(uint64_t account, const char *config)
{
    struct catalog_item item = {
        .kind = CATALOG_ACCOUNT,
        .account = account,
        .state = ACCOUNT_ACTIVE,
        .config_version = config == NULL ? 0 : 1,
        .config_json = pl_span_str(config),
    };
    pl_store_u64(item.write_key.bytes, account * UINT64_C(0x9e3779b97f4a7c15));
    catalog_rule_defaults(&item);
    return item;
}

static void apply(struct watch *w, const struct pl_id128 *epoch, bool restart, uint64_t position,
                  bool caught_up, const struct catalog_item *items, size_t count)
{
    struct pl_buf page;
    pl_buf_init(&page, 1 << 24);
    for (size_t i = 0; i < count; i++)
        add_item(&page, &items[i]);
    assert_int_equal(
        catalog_apply(w->catalog, epoch, restart, position, caught_up, pl_buf_span(&page)), PL_OK);
    pl_buf_release(&page);
}

static const struct catalog_entry *find(struct watch *w, uint64_t account)
{
    struct catalog_item item = account_item(account, NULL);
    return catalog_find(w->snapshot, &item.write_key);
}

static void an_account_is_served_as_told(void **state)
{
    struct watch *w = *state;
    const char *json = "{\"version\":1,\"campaigns\":[],\"settings\":{\"honour_dnt\":true}}";
    struct catalog_item item = account_item(7, json);
    apply(w, &epoch_a, true, 1, true, &item, 1);
    const struct catalog_entry *entry = find(w, 7);
    assert_non_null(entry);
    assert_true(pl_span_eq_str(http_body_span(entry->config.body[CATALOG_IDENTITY]), json));
    struct pl_span script = http_body_span(entry->script.body[CATALOG_IDENTITY]);
    assert_non_null(memmem(script.data, script.len, json, strlen(json)));
    assert_true(script.len > sdk_text().len);
    assert_non_null(entry->script.body[CATALOG_BROTLI]);
    assert_true(http_body_span(entry->script.body[CATALOG_BROTLI]).len < script.len / 2);
    /* Encodings are told apart, versions too. */
    assert_string_not_equal(entry->script.etag[CATALOG_IDENTITY],
                            entry->script.etag[CATALOG_BROTLI]);
    char before[64];
    snprintf(before, sizeof(before), "%s", entry->config.etag[CATALOG_IDENTITY]);
    item = account_item(7, "{\"version\":2,\"campaigns\":[],\"settings\":{}}");
    apply(w, &epoch_a, false, 2, true, &item, 1);
    assert_string_not_equal(find(w, 7)->config.etag[CATALOG_IDENTITY], before);
    assert_null(find(w, 8));
}

static void an_account_without_a_config_is_served_an_empty_one(void **state)
{
    struct watch *w = *state;
    struct catalog_item item = account_item(7, NULL);
    apply(w, &epoch_a, true, 1, true, &item, 1);
    struct pl_span body = http_body_span(find(w, 7)->config.body[CATALOG_IDENTITY]);
    assert_true(pl_span_starts(body, S("{\"version\":0,")));
}

static uint64_t by_key(struct watch *w, const char *key)
{
    const struct catalog_entry *entry = catalog_find_key(w->snapshot, pl_span_str(key));
    return entry == NULL ? 0 : entry->account;
}

static uint64_t by_host(struct watch *w, const char *authority)
{
    const struct catalog_entry *entry = catalog_find_host(w->snapshot, pl_span_str(authority));
    return entry == NULL ? 0 : entry->account;
}

static uint64_t by_path(struct watch *w, const char *path)
{
    const struct catalog_entry *entry = catalog_find_path(w->snapshot, pl_span_str(path));
    return entry == NULL ? 0 : entry->account;
}

static void accounts_are_found_by_every_name(void **state)
{
    struct watch *w = *state;
    char key[PL_ID128_TEXT], aliases[60][16], longest[CATALOG_HOST_BYTES + 3];
    struct catalog_item items[60];
    assert_int_equal(by_key(w, ""), 0);
    for (uint64_t i = 0; i < 60; i++) {
        items[i] = account_item(i + 1, NULL);
        snprintf(aliases[i], sizeof(aliases[i]), "app-%d", (int)i);
        items[i].alias_count = 1;
        items[i].aliases[0] = pl_span_str(aliases[i]);
    }
    memset(longest, 'h', sizeof(longest));
    longest[63] = longest[127] = longest[191] = '.';
    items[3].host_count = 2;
    items[3].hosts[0] = S("metrics.shop.example");
    items[3].hosts[1] = pl_span(longest, CATALOG_HOST_BYTES);
    items[3].snowplow_path = S("/com.shop/t");
    items[4].alias_count = 2;
    items[4].aliases[1] = S("metrics.shop.example"); /* a name of one kind is none of another */
    apply(w, &epoch_a, true, 60, true, items, 60);

    for (int i = 0; i < 60; i++)
        assert_int_equal(by_key(w, aliases[i]), i + 1);
    pl_id128_format(&items[7].write_key, key);
    assert_int_equal(by_key(w, key), 8);
    key[0] = key[0] == 'f' ? '0' : 'f';
    assert_int_equal(by_key(w, key), 0);
    assert_int_equal(by_key(w, "APP-1"), 0);
    assert_int_equal(by_key(w, "metrics.shop.example"), 5);
    assert_int_equal(by_key(w, "/com.shop/t"), 0);

    assert_int_equal(by_host(w, "metrics.shop.example"), 4);
    assert_int_equal(by_host(w, "Metrics.SHOP.example.:8443"), 4);
    assert_int_equal(by_host(w, "shop.example"), 0);
    assert_int_equal(by_host(w, ""), 0);
    assert_int_equal(by_host(w, ":443"), 0);
    assert_int_equal(by_host(w, "app-1"), 0);
    memcpy(longest + CATALOG_HOST_BYTES, "", 1);
    assert_int_equal(by_host(w, longest), 4);
    memcpy(longest + CATALOG_HOST_BYTES, "h", 2);
    assert_int_equal(by_host(w, longest), 0);

    assert_int_equal(by_path(w, "/com.shop/t"), 4);
    assert_int_equal(by_path(w, "/com.shop/"), 0);
    assert_int_equal(by_path(w, ""), 0);

    items[3] = account_item(4, NULL); /* and by none that was taken from them */
    apply(w, &epoch_a, false, 61, true, &items[3], 1);
    assert_int_equal(by_host(w, "metrics.shop.example"), 0);
    assert_int_equal(by_path(w, "/com.shop/t"), 0);
    assert_int_equal(by_key(w, "app-3"), 0);
}

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

static void a_held_snapshot_outlives_its_successors(void **state)
{
    struct watch *w = *state;
    struct catalog_item item = account_item(7, "{\"version\":1}");
    apply(w, &epoch_a, true, 1, true, &item, 1);
    struct catalog_snapshot *held = catalog_snapshot_ref(w->snapshot);
    const struct catalog_entry *entry = find(w, 7);
    struct catalog_item gone = {.kind = CATALOG_TOMBSTONE, .account = 7};
    apply(w, &epoch_a, false, 2, true, &gone, 1);
    assert_null(find(w, 7));
    assert_true(
        pl_span_eq_str(http_body_span(entry->config.body[CATALOG_IDENTITY]), "{\"version\":1}"));
    catalog_snapshot_unref(held);
}

static void cuts_are_told_where_the_feed_asks_for_them(void **state)
{
    struct watch *w = *state;
    struct catalog_item item = account_item(7, "{\"version\":1}"), other = account_item(8, NULL);
    apply(w, &epoch_a, true, 1, false, &item, 1);
    assert_int_equal(w->cuts, 0); /* what is not named yet may yet be */
    apply(w, &epoch_a, false, 2, true, &other, 1);
    assert_int_equal(w->cuts, 1);
    assert_int_equal(w->cut.at.position, 2);
    assert_true(pl_id128_eq(&w->cut.at.epoch, &epoch_a) && w->cut.forgets);
    const uint64_t serial = w->cut.serial;

    apply(w, &epoch_a, false, 3, true, &item, 1); /* nobody is to forget anything */
    assert_int_equal(w->cuts, 1);
    const struct catalog_item cutoff = {.kind = CATALOG_CUTOFF};
    apply(w, &epoch_a, false, 4, true, &cutoff, 1);
    assert_int_equal(w->cuts, 2);
    assert_int_equal(w->cut.at.position, 4);
    assert_true(w->cut.serial > serial && !w->cut.forgets);
    const struct catalog_item items[] = {{.kind = CATALOG_SEAL_KEY, .seal_public = {1}}, item};
    apply(w, &epoch_a, false, 6, true, items, 2);
    assert_int_equal(w->cuts, 3);
    assert_int_equal(w->cut.at.position, 6);
    const struct catalog_item gone = {.kind = CATALOG_TOMBSTONE, .account = 7};
    apply(w, &epoch_a, false, 7, true, &gone, 1);
    assert_int_equal(w->cuts, 4);
    assert_true(w->cut.forgets);
    apply(w, &epoch_b, true, 7, true, &other, 1);
    assert_int_equal(w->cuts, 5);
    assert_true(pl_id128_eq(&w->cut.at.epoch, &epoch_b) && w->cut.forgets);
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

static void a_new_epoch_forgets_what_it_does_not_name(void **state)
{
    struct watch *w = *state;
    struct catalog_item items[] = {account_item(1, "{\"version\":1}"),
                                   account_item(2, "{\"version\":1}"),
                                   account_item(3, "{\"version\":1}")};
    apply(w, &epoch_a, true, 3, true, items, 3);
    apply(w, &epoch_b, true, 1, false, &items[0], 1);
    /* Half way nothing is forgotten yet: the rest may still be named. */
    assert_non_null(find(w, 2));
    apply(w, &epoch_b, false, 2, true, &items[2], 1);
    assert_non_null(find(w, 1));
    assert_null(find(w, 2));
    assert_non_null(find(w, 3));
    close_catalog(w);
    open_catalog(w);
    assert_int_equal(accounts_of(w), 2);
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

static void with_file_limit(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* The store refuses every write until fail_no_more. */
static void fail_writes(struct watch *w)
{
    static uint8_t bytes[256 * 1024];
    signal(SIGXFSZ, SIG_IGN);
    with_file_limit(64 * 1024);
    assert_int_not_equal(store_put(w->f->store, EDGE_QUARANTINE, S("big"),
                                   pl_span(bytes, sizeof(bytes)), true, NULL),
                         PL_OK);
}

static void fail_no_more(struct watch *w)
{
    with_file_limit(RLIM_INFINITY);
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

static void a_broken_page_is_refused(void **state)
{
    struct watch *w = *state;
    struct catalog_item item = account_item(1, "{\"version\":1}");
    apply(w, &epoch_a, true, 1, true, &item, 1);
    assert_int_equal(catalog_apply(w->catalog, &epoch_a, false, 9, true, S("\0\0\0\x09short")),
                     PL_ECORRUPT);
    struct catalog_status status;
    catalog_status(w->catalog, &status);
    assert_int_equal(status.position, 1);
    assert_non_null(find(w, 1));
}

static void regions_and_origins_are_lists_of_what_may(void **state)
{
    struct watch *w = *state;
    struct catalog_item item = account_item(1, NULL);
    apply(w, &epoch_a, true, 1, true, &item, 1);
    assert_true(catalog_entry_allows_region(find(w, 1), "eu"));
    assert_true(catalog_entry_allows_origin(find(w, 1), S("https://any.example")));
    item.region_count = 1;
    strcpy(item.regions[0], "us");
    item.origin_count = 2;
    item.origins[0] = S("https://shop.example");
    item.origins[1] = S("https://*.shop.example");
    apply(w, &epoch_a, false, 2, true, &item, 1);
    const struct catalog_entry *entry = find(w, 1);
    assert_false(catalog_entry_allows_region(entry, "eu"));
    assert_true(catalog_entry_allows_region(entry, "us"));
    assert_true(catalog_entry_allows_origin(entry, S("https://Shop.example")));
    assert_true(catalog_entry_allows_origin(entry, S("https://www.shop.example")));
    assert_false(catalog_entry_allows_origin(entry, S("http://www.shop.example")));
    assert_false(catalog_entry_allows_origin(entry, S("https://evilshop.example")));
    assert_false(catalog_entry_allows_origin(entry, S("https://shop.example.evil.example")));
    assert_false(catalog_entry_allows_origin(entry, S("https://.shop.example")));
    assert_false(catalog_entry_allows_origin(entry, S("null")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_account_is_served_as_told, setup, teardown),
        cmocka_unit_test_setup_teardown(an_account_without_a_config_is_served_an_empty_one, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(accounts_are_found_by_every_name, setup, teardown),
        cmocka_unit_test_setup_teardown(rules_are_kept_over_a_restart, setup, teardown),
        cmocka_unit_test_setup_teardown(a_held_snapshot_outlives_its_successors, setup, teardown),
        cmocka_unit_test_setup_teardown(cuts_are_told_where_the_feed_asks_for_them, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_restart_without_the_origin_serves_the_same, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_new_epoch_forgets_what_it_does_not_name, setup, teardown),
        cmocka_unit_test_setup_teardown(a_crash_in_the_middle_of_a_restart_starts_over, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_spoiled_row_costs_only_its_account, setup, teardown),
        cmocka_unit_test_setup_teardown(
            a_flipped_byte_in_a_table_does_not_keep_the_edge_from_starting, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failing_disk_does_not_keep_an_expired_account_alive,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_restart_whose_end_fails_still_forgets, setup, teardown),
        cmocka_unit_test_setup_teardown(a_broken_page_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(regions_and_origins_are_lists_of_what_may, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
