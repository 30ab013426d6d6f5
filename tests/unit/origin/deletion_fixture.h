/* What tests of deletions stand on: accounts that have something of everything, and looks at what
 * is left of them. */
#ifndef POLDER_TESTS_ORIGIN_DELETION_FIXTURE_H
#define POLDER_TESTS_ORIGIN_DELETION_FIXTURE_H

#include "lifecycle_fixture.h"

#include <dirent.h>

/* ---- an account that has something of everything */

static inline void put_row(struct house *house, unsigned family, uint64_t account, size_t key_bytes,
                           const char *value)
{
    uint8_t key[32];
    memset(key, 0x5a, sizeof(key));
    pl_store_u64(key, account);
    must(store_put(house->store, family, pl_span(key, key_bytes), pl_span_str(value), true,
                   &house->why),
         &house->why);
}

static const struct {
    unsigned family;
    size_t key_bytes;
} places[] = {
    {FAMILY_VAULT, 32},        {FAMILY_DEDUPE, 17}, {FAMILY_CONFIGS, 16},
    {FAMILY_SUPPRESSIONS, 24}, {FAMILY_LINKS, 25},  {FAMILY_ERASURES, 24},
};
#define PLACES (sizeof(places) / sizeof(places[0]))

/* Its rows hold WORD, and so do its name and its web origin. */
static inline struct account make_full(struct house *house, const char *word)
{
    char request[256], row[64];
    snprintf(row, sizeof(row), "row-of-%s", word);
    snprintf(request, sizeof(request),
             "{\"name\":\"name-of-%s\",\"origins\":[\"https://%s.example\"]}", word, word);
    struct account account = make_account(house, request);
    for (int64_t day = 0; day < 3; day++)
        put_event_on(house, account.id, pl_day_of(START_MS) + day, 1);
    for (size_t i = 0; i < PLACES; i++)
        put_row(house, places[i].family, account.id, places[i].key_bytes, row);
    return account;
}

static inline size_t rows_left(struct house *house, uint64_t account)
{
    size_t rows = rows_of(house, FAMILY_DAYS, account) + rows_of(house, FAMILY_HOLDS, account);
    for (size_t i = 0; i < PLACES; i++)
        rows += rows_of(house, places[i].family, account);
    return rows;
}

/* Everything that stands under the account's id, keys and values. */
static inline struct pl_buf picture_of(struct house *house, uint64_t account)
{
    struct pl_buf out;
    uint8_t from[8], to[8];
    pl_buf_init(&out, 1 << 20);
    pl_store_u64(from, account);
    pl_store_u64(to, account + 1);
    for (unsigned family = 0; family < FAMILY_COUNT; family++) {
        struct store_scan *scan;
        struct pl_span key, value;
        assert_int_equal(
            store_scan_new(&scan, house->store, family, pl_span(from, 8), pl_span(to, 8)), PL_OK);
        while (store_scan_next(scan, &key, &value) == PL_OK) {
            assert_int_equal(pl_buf_append_span(&out, key), PL_OK);
            assert_int_equal(pl_buf_append_span(&out, value), PL_OK);
        }
        store_scan_free(scan);
    }
    return out;
}

static inline void assert_same(struct pl_buf *a, struct pl_buf *b)
{
    assert_true(a->len > 100);
    assert_true(pl_span_eq(pl_buf_span(a), pl_buf_span(b)));
    pl_buf_release(a);
    pl_buf_release(b);
}

static inline void delete_now(struct house *house, uint64_t account)
{
    struct account asked;
    must(accounts_delete_now(house->accounts, house->holds, account, "ticket", &asked, &house->why),
         &house->why);
}

static inline struct pl_buf record_of(struct house *house, uint64_t account)
{
    struct pl_buf out;
    uint8_t key[16] = {0};
    pl_store_u64(key, account);
    pl_buf_init(&out, 65536);
    enum pl_err err = store_get(house->store, FAMILY_RECORDS, pl_span(key, sizeof(key)), &out);
    assert_true(err == PL_OK || err == PL_ENOTFOUND);
    return out;
}

static inline bool disk_has(struct house *house, const char *needle)
{
    char path[512];
    bool found = false;
    snprintf(path, sizeof(path), "%s/data", house->dir);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir)) != NULL && !found;) {
        struct pl_buf bytes;
        snprintf(path, sizeof(path), "%s/data/%s", house->dir, e->d_name);
        pl_buf_init(&bytes, 256 << 20);
        if (e->d_name[0] != '.' && pl_file_read(path, "file", false, &bytes, NULL) == PL_OK)
            found = bytes.len > 0 && memmem(bytes.data, bytes.len, needle, strlen(needle)) != NULL;
        pl_buf_release(&bytes);
    }
    closedir(dir);
    return found;
}

#endif
