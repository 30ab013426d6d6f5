#include "tests/unit/edge/catalog_fixture.h"

#include "edge/sdk.h"

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
        TEST(an_account_is_served_as_told),
        TEST(an_account_without_a_config_is_served_an_empty_one),
        TEST(accounts_are_found_by_every_name),
        TEST(a_held_snapshot_outlives_its_successors),
        TEST(cuts_are_told_where_the_feed_asks_for_them),
        TEST(a_new_epoch_forgets_what_it_does_not_name),
        TEST(a_broken_page_is_refused),
        TEST(regions_and_origins_are_lists_of_what_may),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
