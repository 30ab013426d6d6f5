/* A catalog in a store of its own, what it has published, and pages of the feed for it. */
#ifndef POLDER_TESTS_EDGE_CATALOG_FIXTURE_H
#define POLDER_TESTS_EDGE_CATALOG_FIXTURE_H

#include "tests/unit/edge/fixture.h"

#include "edge/catalog.h"

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

static inline int64_t watch_time(void *ctx)
{
    return ((struct watch *)ctx)->now_ms;
}

static inline void take_snapshot(void *ctx, struct catalog_snapshot *snapshot)
{
    struct watch *w = ctx;
    catalog_snapshot_unref(w->snapshot);
    w->snapshot = catalog_snapshot_ref(snapshot);
    w->published++;
}

static inline void take_seal_key(void *ctx, const uint8_t seal_public[32])
{
    memcpy(((struct watch *)ctx)->seal_public, seal_public, 32);
}

static inline void take_cut(void *ctx, const struct catalog_cut *cut)
{
    struct watch *w = ctx;
    assert_int_equal(cut->serial, catalog_snapshot_serial(w->snapshot)); /* published before */
    w->cut = *cut;
    w->cuts++;
}

static inline void open_catalog(struct watch *w)
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

static inline size_t accounts_of(const struct watch *w)
{
    struct catalog_status status;
    catalog_status(w->catalog, &status);
    return status.accounts;
}

static inline void close_catalog(struct watch *w)
{
    catalog_close(w->catalog);
    catalog_snapshot_unref(w->snapshot);
    w->catalog = NULL;
    w->snapshot = NULL;
}

static inline int setup(void **state)
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

static inline int teardown(void **state)
{
    struct watch *w = *state;
    void *fixture = w->f;
    close_catalog(w);
    free(w);
    return fixture_teardown(&fixture);
}

static inline void add_item(struct pl_buf *page, const struct catalog_item *item)
{
    struct pl_buf bytes;
    pl_buf_init(&bytes, 1 << 20);
    assert_int_equal(catalog_encode(item, &bytes), PL_OK);
    pl_buf_put_u32(page, (uint32_t)bytes.len);
    pl_buf_append_span(page, pl_buf_span(&bytes));
    pl_buf_release(&bytes);
}

static inline struct catalog_item account_item(uint64_t account, const char *config)
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

static inline void apply(struct watch *w, const struct pl_id128 *epoch, bool restart,
                         uint64_t position, bool caught_up, const struct catalog_item *items,
                         size_t count)
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
