/* A house in which days pass when the test says so: real store, keyring, accounts, cut-offs and
 * lifecycle, and edges that are played. */
#ifndef POLDER_TESTS_ORIGIN_LIFECYCLE_FIXTURE_H
#define POLDER_TESTS_ORIGIN_LIFECYCLE_FIXTURE_H

#include "origin/accounts/account_states.h"
#include "origin/families.h"
#include "origin/first_start.h"
#include "origin/intake/dedupe.h"
#include "origin/lifecycle/lifecycle.h"
#include "origin/lifecycle/retention.h"
#include "origin/vault/vault.h"
#include "proto/base/file.h"
#include "proto/base/pki.h"
#include "proto/base/text.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define START_MS INT64_C(1767225600000) /* 2026-01-01T00:00:00Z */
#define DAY(n)   (START_MS + (n)*PL_DAY_MS)

struct house {
    char dir[64];
    char ring_a[96], ring_b[96];
    int64_t now_ms, mono_ms;
    unsigned reads_before_jump; /* of the wall clock; 0: it does not jump */
    int64_t jump_ms;
    struct pl_clock clock;
    struct clock_belief belief;
    struct pl_log log;
    struct store *store;
    struct keyring *keyring;
    struct changelog *changelog;
    struct edges *edges;
    struct cutoffs *cutoffs;
    struct holds *holds;
    struct tokens *tokens;
    struct day_counts *day_counts;
    struct exports *exports;
    struct ledger *ledger;
    struct accounts *accounts;
    struct lifecycle *lifecycle;
    struct audit *audit; /* of a house whose log is looked at */
    bool audited;
    struct json_parser *parser;
    struct pl_buf signer_pem;
    struct pl_why why;
};

static inline int64_t house_time(void *ctx)
{
    struct house *house = ctx;
    int64_t now_ms = house->now_ms;
    if (house->reads_before_jump > 0 && --house->reads_before_jump == 0)
        house->now_ms += house->jump_ms;
    return now_ms;
}

static inline int64_t house_mono(void *ctx)
{
    return ((struct house *)ctx)->mono_ms;
}

static inline void must(enum pl_err err, const struct pl_why *why)
{
    if (err != PL_OK)
        fail_msg("%s: %s", pl_err_word(err), why->text);
}

static inline void open_disk(struct house *house, bool create)
{
    struct pl_why why = {0};
    char data[96];
    snprintf(data, sizeof(data), "%s/data", house->dir);
    struct store_config store = {
        .path = data,
        .families = origin_families,
        .family_count = FAMILY_COUNT,
        .cache_bytes = 1 << 20,
        .write_buffer_bytes = 8 << 20,
        .background_threads = 1,
        .log = &house->log,
    };
    must(store_open(&house->store, &store, &why), &why);
    const char *paths[] = {house->ring_a, house->ring_b};
    struct keyring_config keyring = {
        .paths = paths,
        .path_count = 2,
        .create = create,
        .kek_text =
            PL_SPAN_LIT("00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n"),
        .signer_pem = pl_buf_span(&house->signer_pem),
        .clock = &house->clock,
        .random = pl_random_system(),
        .log = &house->log,
    };
    must(keyring_open(&house->keyring, &keyring, &why), &why);
    must(changelog_open(&house->changelog, house->store, pl_random_system(), &why), &why);
    must(first_start_finish(house->store, house->keyring, house->changelog, &house->log, &why),
         &why);
}

static inline void open_house(struct house *house, bool create)
{
    struct pl_why why = {0};
    open_disk(house, create);
    if (house->audited) {
        char path[96];
        snprintf(path, sizeof(path), "%s/audit.ndjson", house->dir);
        const char *paths[] = {path};
        const struct audit_config audit = {.paths = paths,
                                           .path_count = 1,
                                           .create = create,
                                           .max_bytes = 1 << 20,
                                           .clock = &house->clock,
                                           .log = &house->log};
        must(audit_open(&house->audit, &audit, &why), &why);
    }
    must(edges_open(&house->edges, house->store, &house->clock, &why), &why);
    const struct cutoffs_config cutoffs = {.store = house->store,
                                           .changelog = house->changelog,
                                           .edges = house->edges,
                                           .keyring = house->keyring,
                                           .audit = house->audit,
                                           .seal_key_days = 30,
                                           .clock = &house->clock,
                                           .log = &house->log};
    must(cutoffs_open(&house->cutoffs, &cutoffs, &why), &why);
    must(holds_open(&house->holds, house->store, NULL, &house->clock, pl_random_system(), &why),
         &why);
    must(tokens_open(&house->tokens, house->store, NULL, &house->clock, pl_random_system(), &why),
         &why);
    must(day_counts_new(&house->day_counts, house->store), &why);
    must(exports_new(&house->exports), &why);
    const struct ledger_config ledger = {
        .store = house->store, .clock = &house->clock, .log = &house->log};
    must(ledger_new(&house->ledger, &ledger, &why), &why);
    struct accounts_config accounts = {
        .store = house->store,
        .changelog = house->changelog,
        .keyring = house->keyring,
        .clock = &house->clock,
        .belief = &house->belief,
        .random = pl_random_system(),
        .log = &house->log,
    };
    must(accounts_open(&house->accounts, &accounts, &why), &why);
    struct lifecycle_config lifecycle = {
        .store = house->store,
        .accounts = house->accounts,
        .keyring = house->keyring,
        .ledger = house->ledger,
        .holds = house->holds,
        .exports = house->exports,
        .tokens = house->tokens,
        .day_counts = house->day_counts,
        .cutoffs = house->cutoffs,
        .audit = house->audit,
        .clock = &house->clock,
        .belief = &house->belief,
        .log = &house->log,
    };
    must(lifecycle_new(&house->lifecycle, &lifecycle), &why);
}

static inline void close_house(struct house *house)
{
    lifecycle_free(house->lifecycle);
    accounts_close(house->accounts);
    ledger_free(house->ledger);
    exports_free(house->exports);
    day_counts_free(house->day_counts);
    tokens_close(house->tokens);
    holds_close(house->holds);
    cutoffs_close(house->cutoffs);
    edges_close(house->edges);
    audit_close(house->audit);
    changelog_close(house->changelog);
    keyring_close(house->keyring);
    store_close(house->store);
}

/* As a crash leaves it: what was not synced is in the log all the same, for the machine goes on. */
static inline void reopen_house(struct house *house)
{
    close_house(house);
    open_house(house, false);
}

/* All but what open_house opens; its folder is there already, and house->dir names it. */
static inline void prepare(struct house *house)
{
    snprintf(house->ring_a, sizeof(house->ring_a), "%s/ring-a", house->dir);
    snprintf(house->ring_b, sizeof(house->ring_b), "%s/ring-b", house->dir);
    house->now_ms = START_MS;
    house->clock = (struct pl_clock){house_time, house_mono, house};
    house->belief.clock = &house->clock;
    house->log = (struct pl_log){.fd = -1};
    pl_buf_init(&house->signer_pem, 4096);
    assert_int_equal(json_parser_new(&house->parser, 65536, 16), PL_OK);
}

static inline int make_house(void **state, bool audited)
{
    struct house *house = calloc(1, sizeof(*house));
    house->audited = audited;
    strcpy(house->dir, "/tmp/polder-lifecycle-XXXXXX");
    assert_non_null(mkdtemp(house->dir));
    prepare(house);
    assert_int_equal(pl_pki_new_key(pl_random_system(), &house->signer_pem), PL_OK);
    open_house(house, true);
    *state = house;
    return 0;
}

static inline int setup(void **state)
{
    return make_house(state, false);
}

static inline int unlink_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

/* A house that is closed. */
static inline void clear_away(struct house *house)
{
    json_parser_free(house->parser);
    pl_buf_release(&house->signer_pem);
    nftw(house->dir, unlink_one, 16, FTW_DEPTH | FTW_PHYS);
    free(house);
}

static inline int teardown(void **state)
{
    struct house *house = *state;
    close_house(house);
    clear_away(house);
    return 0;
}

/* ---- accounts and what they have */

static inline struct json parse(struct house *house, const char *text)
{
    struct json request;
    must(json_parse(house->parser, pl_span_str(text), &request, &house->why), &house->why);
    return request;
}

static inline struct account make_account(struct house *house, const char *request)
{
    struct account account;
    must(accounts_create(house->accounts, parse(house, request), &account, &house->why),
         &house->why);
    return account;
}

static inline struct account new_account(struct house *house, const char *name)
{
    char text[256];
    snprintf(text, sizeof(text), "{\"name\":\"%s\"}", name);
    return make_account(house, text);
}

/* An event taken on this day, counted as intake does. */
static inline void put_event_on(struct house *house, uint64_t account, int64_t day,
                                unsigned char mark)
{
    struct vault_key key;
    struct store_batch *batch;
    vault_key_first(account, day, &key);
    key.bytes[VAULT_KEY_BYTES - 1] = mark;
    must(store_batch_new(&batch), &house->why);
    store_batch_put(batch, house->store, FAMILY_VAULT, vault_key_span(&key), PL_SPAN_LIT("sealed"));
    must(day_counts_stored(house->day_counts, batch, account, day, 1, VAULT_KEY_BYTES + 6),
         &house->why);
    must(store_write(house->store, batch, true, &house->why), &house->why);
    store_batch_free(batch);
}

static inline void put_event(struct house *house, uint64_t account, unsigned char mark)
{
    put_event_on(house, account, pl_day_of(house->now_ms), mark);
}

static inline size_t rows_between(struct house *house, unsigned family, struct pl_span from,
                                  struct pl_span to)
{
    struct store_scan *scan;
    struct pl_span key, value;
    size_t count = 0;
    assert_int_equal(store_scan_new(&scan, house->store, family, from, to), PL_OK);
    while (store_scan_next(scan, &key, &value) == PL_OK)
        count++;
    store_scan_free(scan);
    return count;
}

static inline size_t rows_of(struct house *house, unsigned family, uint64_t account)
{
    uint8_t from[8], to[8];
    pl_store_u64(from, account);
    pl_store_u64(to, account + 1);
    return rows_between(house, family, pl_span(from, 8), pl_span(to, 8));
}

static inline size_t events_of(struct house *house, uint64_t account)
{
    return rows_of(house, FAMILY_VAULT, account);
}

static inline size_t events_on(struct house *house, uint64_t account, int64_t day)
{
    struct vault_key from, to;
    vault_key_first(account, day, &from);
    vault_key_first(account, day + 1, &to);
    return rows_between(house, FAMILY_VAULT, vault_key_span(&from), vault_key_span(&to));
}

static inline bool has_key(struct house *house, uint64_t account)
{
    uint8_t key[KEYRING_DATA_KEY_BYTES];
    enum pl_err err = keyring_key(house->keyring, account, key);
    assert_true(err == PL_OK || err == PL_EEXPIRED);
    return err == PL_OK;
}

static inline bool has_certificate(struct house *house, uint64_t account)
{
    struct pl_buf out;
    pl_buf_init(&out, CERTIFICATE_BYTES_MAX);
    enum pl_err err = certificate_get(house->store, account, &out, NULL);
    pl_buf_release(&out);
    assert_true(err == PL_OK || err == PL_ENOTFOUND);
    return err == PL_OK;
}

static inline struct account account_of(struct house *house, uint64_t id)
{
    struct account account;
    assert_int_equal(accounts_get(house->accounts, id, &account), PL_OK);
    return account;
}

static inline enum account_state state_of(struct house *house, uint64_t id)
{
    struct account account = account_of(house, id);
    return account_state_at(&account, house->now_ms);
}

/* ---- edges */

static inline struct pl_id128 enroll_as(struct house *house, unsigned char mark, const char *name)
{
    struct pl_signer *signer;
    struct pl_buf spki, text;
    struct edge_record edge;
    char request[1024];
    pl_buf_init(&spki, 256);
    pl_buf_init(&text, 256);
    must(pl_signer_from_pem(&signer, pl_buf_span(&house->signer_pem), &house->why), &house->why);
    must(pl_signer_public(signer, &spki), &house->why);
    must(pl_base64_encode(pl_buf_span(&spki), &text), &house->why);
    snprintf(request, sizeof(request),
             "{\"id\":\"%032x\",\"name\":\"%s\",\"region\":\"eu\",\"link_public\":\"%.*s\","
             "\"seal_public\":\"%064x\"}",
             mark, name, PL_SPAN_FMT(pl_buf_span(&text)), mark);
    must(edges_enroll(house->edges, parse(house, request), &edge, &house->why), &house->why);
    pl_signer_free(signer);
    pl_buf_release(&spki);
    pl_buf_release(&text);
    cutoffs_seen(house->cutoffs, &edge.id);
    return edge.id;
}

static inline struct pl_id128 enroll(struct house *house, unsigned char mark)
{
    char name[16];
    snprintf(name, sizeof(name), "edge-%u", mark);
    return enroll_as(house, mark, name);
}

/* The edge has followed the feed to its end and holds nothing from before. */
static inline void edge_settles(struct house *house, const struct pl_id128 *edge)
{
    struct pl_id128 epoch;
    changelog_epoch(house->changelog, &epoch);
    cutoffs_settled(house->cutoffs, edge, &epoch, changelog_position(house->changelog));
}

/* ---- time */

#define TICKS_MAX 200 /* more than enough for whatever is due */

/* Everything that is due is done. */
static inline void work(struct house *house)
{
    for (int i = 0; i < TICKS_MAX && lifecycle_tick(house->lifecycle); i++)
        continue;
    lifecycle_tick(house->lifecycle); /* what the status says is of the last one */
}

static inline void pass_to(struct house *house, int64_t now_ms)
{
    house->mono_ms += now_ms - house->now_ms;
    house->now_ms = now_ms;
    work(house);
}

static inline void tick_on_day(struct house *house, int64_t day)
{
    pass_to(house, START_MS + day * PL_DAY_MS + 1);
}

static inline struct hold hold(struct house *house, uint64_t account, const char *request)
{
    struct hold hold;
    must(accounts_hold(house->accounts, house->holds, account, parse(house, request), "tester",
                       &hold, &house->why),
         &house->why);
    return hold;
}

static inline void release(struct house *house, const struct hold *hold)
{
    struct hold released;
    must(holds_release(house->holds, hold->account, &hold->id,
                       parse(house, "{\"reason\":\"over\"}"), "tester", &released, &house->why),
         &house->why);
    assert_int_equal(released.released_ms, house->now_ms);
}

static inline struct pl_buf certificate_of(struct house *house, uint64_t account)
{
    struct pl_buf out;
    pl_buf_init(&out, CERTIFICATE_BYTES_MAX);
    must(certificate_get(house->store, account, &out, &house->why), &house->why);
    return out;
}

static inline void assert_certified(struct house *house, uint64_t account, const char *words)
{
    struct pl_buf certificate = certificate_of(house, account);
    must(pl_buf_terminate(&certificate), &house->why);
    if (strstr((char *)certificate.data, words) == NULL)
        fail_msg("no %s in %s", words, (char *)certificate.data);
    pl_buf_release(&certificate);
}

static inline void assert_shown(struct house *house, const struct account *account,
                                const char *words)
{
    struct json_writer *w;
    struct pl_buf text;
    pl_buf_init(&text, 65536);
    must(json_writer_new(&w, false), &house->why);
    json_writer_begin(w, &text);
    const struct account_standing standing =
        lifecycle_standing(house->lifecycle, account, house->now_ms);
    account_write_json(account, house->now_ms, &standing, w);
    must(json_writer_end(w), &house->why);
    must(pl_buf_terminate(&text), &house->why);
    assert_non_null(strstr((char *)text.data, words));
    json_writer_free(w);
    pl_buf_release(&text);
}

#endif
