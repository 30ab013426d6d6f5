/* Links between ids, and the erasure of persons, through a whole intake. */
#include "intake_fixture.h"
#include "origin/intake/dedupe.h"
#include "origin/subjects/erasures_state.h"
#include "origin/subjects/visitors.h"
#include "proto/base/text.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct test {
    struct rig rig;
    struct links *links;
    struct day_counts *day_counts;
    struct erasures *erasures;
    struct visitors *visitors;
    struct json_writer *writer;
    struct pl_buf plain, block, out, noted_row;
    uint8_t noted_key[ERASURE_KEY_BYTES];
    size_t notes;
    bool log_is_full;
    uint32_t count;
};

static enum pl_err note(void *ctx, struct pl_span key, struct pl_span row, struct pl_why *why)
{
    struct test *t = ctx;
    if (t->log_is_full)
        return pl_fail(why, PL_ENOSPC, "the log is full");
    t->notes++;
    memcpy(t->noted_key, key.data, sizeof(t->noted_key));
    pl_buf_reset(&t->noted_row);
    return pl_buf_append_span(&t->noted_row, row);
}

static void open_all(struct test *t)
{
    struct pl_why why = {.err = PL_OK};
    /* The store is opened by the rig, which needs what stands on it: first alone, then with it. */
    t->rig.config.erasures = NULL;
    t->rig.config.links = NULL;
    rig_open(&t->rig);
    intake_stop(t->rig.intake);
    intake_free(t->rig.intake);
    rig_must(links_new(&t->links, t->rig.store), &why);
    t->day_counts = t->rig.day_counts;
    const struct erasures_config config = {.store = t->rig.store,
                                           .keyring = t->rig.keyring,
                                           .note = note,
                                           .note_ctx = t,
                                           .day_counts = t->day_counts,
                                           .clock = &t->rig.clock,
                                           .random = pl_random_system(),
                                           .log = &t->rig.f.silent};
    rig_must(erasures_open(&t->erasures, &config, &why), &why);
    t->rig.config.erasures = t->erasures;
    t->rig.config.links = t->links;
    rig_must(intake_new(&t->rig.intake, &t->rig.config, &why), &why);
    rig_must(intake_start(t->rig.intake, &why), &why);
    t->erasures->around = (struct erasures_around){.links = t->links, .intake = t->rig.intake};
    rig_must(visitors_new(&t->visitors, t->rig.store, t->rig.keyring), &why);
}

static void close_all(struct test *t)
{
    visitors_free(t->visitors);
    intake_stop(t->rig.intake);
    intake_free(t->rig.intake);
    erasures_close(t->erasures);
    day_counts_free(t->day_counts);
    links_free(t->links);
    ledger_free(t->rig.ledger);
    store_close(t->rig.store);
}

static int setup(void **state)
{
    struct test *t = calloc(1, sizeof(*t));
    rig_init(&t->rig);
    assert_int_equal(json_writer_new(&t->writer, false), PL_OK);
    pl_buf_init(&t->plain, LIMIT_BLOCK_PLAIN_BYTES);
    pl_buf_init(&t->block, 2 * LIMIT_BLOCK_BYTES);
    pl_buf_init(&t->out, 1 << 20);
    pl_buf_init(&t->noted_row, 1 << 20);
    open_all(t);
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    struct test *t = *state;
    close_all(t);
    json_writer_free(t->writer);
    rig_release(&t->rig);
    pl_buf_release(&t->plain);
    pl_buf_release(&t->block);
    pl_buf_release(&t->out);
    pl_buf_release(&t->noted_row);
    free(t);
    return 0;
}

static void restart(struct test *t)
{
    close_all(t);
    open_all(t);
}

/* ---- events */

struct told {
    uint64_t account;
    const char *visitor, *user, *previous, *message;
    int64_t accepted_ms; /* from NOON_MS on */
    int64_t client_ms;   /* likewise; 0: it does not say */
};

static void put(struct test *t, struct told told)
{
    struct event *e = calloc(1, sizeof(*e));
    event_set_u64(e, EVENT_ACCOUNT, told.account == 0 ? 1 : told.account);
    event_set_u64(e, EVENT_TYPE, EVENT_PAGE_VIEW);
    event_set_u64(e, EVENT_DIALECT, EVENT_DIALECT_SEGMENT);
    event_set_i64(e, EVENT_ACCEPTED_MS, NOON_MS + told.accepted_ms);
    event_set_str(e, EVENT_REGION, PL_SPAN_LIT("eu"));
    if (told.message != NULL)
        event_set_str(e, EVENT_MESSAGE_ID, pl_span_str(told.message));
    if (told.visitor != NULL)
        event_set_str(e, EVENT_VISITOR_ID, pl_span_str(told.visitor));
    if (told.user != NULL)
        event_set_str(e, EVENT_USER_ID, pl_span_str(told.user));
    if (told.previous != NULL)
        event_set_str(e, EVENT_PREVIOUS_ID, pl_span_str(told.previous));
    if (told.client_ms != 0)
        event_set_i64(e, EVENT_CLIENT_MS, NOON_MS + told.client_ms);
    assert_int_equal(event_encode(e, &t->plain), PL_OK);
    free(e);
    t->count++;
}

static void store_from(struct test *t, int edge)
{
    pl_buf_reset(&t->block);
    rig_seal(&t->rig, edge, pl_buf_span(&t->plain), t->count, &t->block);
    assert_int_equal(rig_send(&t->rig, edge, pl_buf_span(&t->block)), BLOCK_STORED);
    pl_buf_reset(&t->plain);
    t->count = 0;
}

static void store_all(struct test *t)
{
    store_from(t, 0);
}

static void store_one(struct test *t, struct told told)
{
    put(t, told);
    store_all(t);
}

/* ---- asking */

static enum pl_err count_event(void *ctx, const struct visitor_event *event)
{
    (void)event;
    ++*(size_t *)ctx;
    return PL_OK;
}

static size_t held_of(struct test *t, const char *id)
{
    struct identities ids;
    struct visitor_cursor cursor = {.day = 0};
    struct pl_why why = {0};
    size_t found = 0;
    enum pl_err err;
    if (visitors_find(t->visitors, 1, pl_span_str(id), true, &ids, &why) != PL_OK)
        fail_msg("%s", why.text);
    while ((err = visitors_walk(t->visitors, 1, &ids, &cursor, 2, count_event, &found)) ==
           PL_EAGAIN)
        ;
    assert_int_equal(err, PL_OK);
    identities_release(&ids);
    return found;
}

static struct pl_id128 erase_only(struct test *t, const char *id, bool follow)
{
    struct identities ids;
    struct pl_id128 made;
    struct pl_why why = {0};
    if (visitors_find(t->visitors, 1, pl_span_str(id), follow, &ids, &why) != PL_OK)
        fail_msg("%s", why.text);
    if (erasures_erase(t->erasures, 1, &ids, !follow, 0, &made, &why) != PL_OK)
        fail_msg("%s", why.text);
    identities_release(&ids);
    return made;
}

static struct pl_id128 erase(struct test *t, const char *id)
{
    struct pl_id128 made = erase_only(t, id, true);
    t->erasures->settle_at_mono_ms = 0; /* tests have no time to rest */
    erasures_tick(t->erasures);
    return made;
}

static const char *receipt(struct test *t, const struct pl_id128 *id)
{
    struct pl_why why = {0};
    pl_buf_reset(&t->out);
    json_writer_begin(t->writer, &t->out);
    if (erasures_write(t->erasures, 1, id, t->writer, &why) != PL_OK)
        fail_msg("%s", why.text);
    assert_int_equal(json_writer_end(t->writer), PL_OK);
    assert_int_equal(pl_buf_put_u8(&t->out, 0), PL_OK);
    return (const char *)t->out.data;
}

static struct ledger_counts totals(struct test *t)
{
    struct intake_status s;
    struct ledger_counts c = {.blocks = 0};
    intake_status(t->rig.intake, &s);
    c.stored = s.stored;
    c.duplicate = s.duplicate;
    memcpy(c.dropped, s.dropped, sizeof(c.dropped));
    return c;
}

/* ---- who belongs together */

static void test_ids_lead_to_each_other(void **state)
{
    struct test *t = *state;
    put(t, (struct told){.visitor = "phone"});
    put(t, (struct told){.visitor = "phone", .user = "ann"});
    put(t, (struct told){.visitor = "laptop", .user = "ann"});
    put(t, (struct told){.visitor = "laptop", .accepted_ms = PL_DAY_MS});
    put(t, (struct told){.user = "ann"});
    put(t, (struct told){.visitor = "other", .user = "bob"});
    put(t, (struct told){.account = 2, .visitor = "phone", .user = "ann"});
    store_all(t);
    /* A pair, however often it is seen, is two rows. */
    assert_int_equal(rig_count(&t->rig, FAMILY_LINKS), 8);
    assert_int_equal(held_of(t, "phone"), 5);
    assert_int_equal(held_of(t, "laptop"), 5);
    assert_int_equal(held_of(t, "ann"), 5);
    assert_int_equal(held_of(t, "bob"), 1);
    assert_int_equal(held_of(t, "nobody"), 0);
    /* Also when nothing but the database remembers. */
    restart(t);
    assert_int_equal(held_of(t, "phone"), 5);
}

static void test_a_shared_device_shares_no_person(void **state)
{
    struct test *t = *state;
    put(t, (struct told){.visitor = "kitchen", .user = "ann"});
    put(t, (struct told){.visitor = "kitchen", .user = "bob"});
    put(t, (struct told){.visitor = "kitchen"});
    put(t, (struct told){.visitor = "phone", .user = "bob"});
    store_all(t);
    /* Hers, and what nobody in particular did on her device; not his. */
    assert_int_equal(held_of(t, "ann"), 2);
    assert_int_equal(held_of(t, "bob"), 3);
    /* Who asks for the device is told everything of it, and of who used it. */
    assert_int_equal(held_of(t, "kitchen"), 4);
    erase(t, "ann");
    assert_int_equal(held_of(t, "ann"), 0);
    assert_int_equal(held_of(t, "bob"), 2);
    assert_int_equal(rig_count(&t->rig, FAMILY_LINKS), 4);
}

static void test_an_alias_belongs_to_its_user(void **state)
{
    struct test *t = *state;
    put(t, (struct told){.user = "old-ann"});
    put(t, (struct told){.visitor = "anonymous"});
    put(t, (struct told){.user = "ann", .previous = "old-ann"});
    put(t, (struct told){.user = "ann", .previous = "anonymous"});
    store_all(t);
    assert_int_equal(held_of(t, "ann"), 4);
    assert_int_equal(held_of(t, "old-ann"), 4);
    assert_int_equal(held_of(t, "anonymous"), 4);
}

/* Two ids whose hashes in storage keys are the same: only what was decrypted tells them apart. */
static void test_hashes_that_collide(void **state)
{
    struct test *t = *state;
    struct vault_sealer *sealer;
    struct vault_key key;
    struct pl_buf encoded, value;
    struct event *e = calloc(1, sizeof(*e));
    struct pl_span rest;
    struct event_reader *reader;
    uint8_t prefix[VAULT_VISITOR_PREFIX];
    store_one(t, (struct told){.visitor = "ann", .message = "m1"});
    pl_buf_init(&encoded, 4096);
    pl_buf_init(&value, 4096);
    assert_int_equal(vault_sealer_new(&sealer, t->rig.keyring, 0), PL_OK);
    assert_int_equal(event_reader_new(&reader), PL_OK);
    put_event(&encoded, 1, NOON_MS, "bob", "m2", "x");
    rest = pl_buf_span(&encoded);
    assert_int_equal(event_read(reader, &rest, e, NULL, NULL), PL_OK);
    assert_int_equal(vault_key_of(sealer, e, &(struct vault_place){.number = 0}, &key), PL_OK);
    assert_int_equal(
        vault_visitor_prefix(sealer, 1, vault_key_day(&key), PL_SPAN_LIT("ann"), false, prefix),
        PL_OK);
    memcpy(key.bytes, prefix, sizeof(prefix));
    assert_int_equal(vault_seal(sealer, &key, pl_buf_span(&encoded), &value), PL_OK);
    assert_int_equal(store_put(t->rig.store, FAMILY_VAULT, vault_key_span(&key),
                               pl_buf_span(&value), true, NULL),
                     PL_OK);
    assert_int_equal(held_of(t, "ann"), 1);
    erase(t, "ann");
    assert_int_equal(rig_count(&t->rig, FAMILY_VAULT), 1);
    pl_buf_reset(&value);
    assert_int_equal(store_get(t->rig.store, FAMILY_VAULT, vault_key_span(&key), &value), PL_OK);
    vault_sealer_free(sealer);
    event_reader_free(reader);
    pl_buf_release(&encoded);
    pl_buf_release(&value);
    free(e);
}

static void test_an_address_is_found_however_it_was_masked(void **state)
{
    struct test *t = *state;
    struct id_hasher *hasher;
    struct id_hashers *hashers;
    uint8_t hash[ID_HASH_BYTES];
    char masked[64] = "email:";
    assert_int_equal(id_hashers_new(&hashers, t->rig.keyring, 0), PL_OK);
    assert_int_equal(id_hashers_of(hashers, 1, &hasher), PL_OK);
    assert_int_equal(id_hasher_hash(hasher, ID_HASH_EMAIL, PL_SPAN_LIT("ann@shop.example"), hash),
                     PL_OK);
    pl_hex_encode(pl_span(hash, sizeof(hash)), masked + strlen(masked));
    put(t, (struct told){.user = "ann@shop.example"});
    put(t, (struct told){.user = masked});
    store_all(t);
    assert_int_equal(held_of(t, "Ann@shop.example"), 1);
    assert_int_equal(held_of(t, "ann@shop.example"), 2);
    id_hashers_free(hashers);
}

/* ---- erasing */

static void test_what_is_stored_goes(void **state)
{
    struct test *t = *state;
    struct pl_id128 id;
    struct day_counts_row sum;
    put(t, (struct told){.visitor = "phone", .user = "ann", .message = "a1"});
    put(t, (struct told){.visitor = "phone", .message = "a2", .accepted_ms = PL_DAY_MS});
    put(t, (struct told){.user = "ann"});
    put(t, (struct told){.visitor = "other", .message = "b1"});
    store_all(t);
    id = erase(t, "ann");
    assert_int_equal(held_of(t, "phone"), 0);
    assert_int_equal(held_of(t, "ann"), 0);
    assert_int_equal(held_of(t, "other"), 1);
    assert_int_equal(rig_count(&t->rig, FAMILY_VAULT), 1);
    assert_int_equal(rig_count(&t->rig, FAMILY_LINKS), 0);
    const char *text = receipt(t, &id);
    assert_non_null(strstr(text, "\"state\":\"gone\""));
    assert_non_null(strstr(text, "\"events\":3"));
    assert_non_null(strstr(text, "\"message_ids\":2,\"links\":1"));
    assert_null(strstr(text, "ann"));
    assert_int_equal(day_counts_total(t->day_counts, 1, 0, VAULT_DAY_MAX, &sum), PL_OK);
    assert_int_equal(sum.stored.events, 4);
    assert_int_equal(sum.erased.events, 3);
    /* Once more finds nothing, and says so. */
    id = erase(t, "ann");
    assert_non_null(strstr(receipt(t, &id), "\"events\":0"));
    restart(t);
    assert_non_null(strstr(receipt(t, &id), "\"state\":\"gone\""));
    assert_int_equal(erasures_write(t->erasures, 2, &id, t->writer, NULL), PL_ENOTFOUND);
}

static void test_what_arrives_later_is_dropped(void **state)
{
    struct test *t = *state;
    const int64_t minute = PL_MINUTE_MS;
    store_one(t, (struct told){.visitor = "phone", .user = "ann"});
    t->rig.now_ms += 10 * minute;
    struct pl_id128 id = erase(t, "ann");
    for (int round = 0; round < 2; round++) {
        struct ledger_counts before = totals(t);
        /* accepted before; accepted after, but of before; both ids */
        put(t, (struct told){.visitor = "phone", .accepted_ms = 9 * minute});
        put(t, (struct told){.user = "ann", .accepted_ms = 10 * minute});
        put(t, (struct told){
                   .visitor = "phone", .accepted_ms = 20 * minute, .client_ms = 10 * minute});
        put(t, (struct told){.visitor = "new", .user = "ann", .accepted_ms = minute});
        /* new ones, and others' */
        put(t, (struct told){.visitor = "phone", .accepted_ms = 10 * minute + 1});
        put(t, (struct told){.user = "ann", .accepted_ms = 20 * minute, .client_ms = 15 * minute});
        put(t, (struct told){.visitor = "other", .accepted_ms = minute});
        put(t, (struct told){.visitor = "phone", .user = "bob", .accepted_ms = minute});
        put(t, (struct told){.account = 2, .visitor = "phone", .accepted_ms = minute});
        store_from(t, round);
        struct ledger_counts after = totals(t);
        assert_int_equal(after.dropped[DROP_ERASED] - before.dropped[DROP_ERASED], 4);
        assert_int_equal(after.stored - before.stored, 5);
        restart(t);
        assert_non_null(strstr(receipt(t, &id), "\"account\":\"0000000000000001\""));
    }
}

/* Of before the erasure as its edge accepted it, although it came so late that it is dated anew. */
static void test_very_late_is_still_before(void **state)
{
    struct test *t = *state;
    erase(t, "ann");
    t->rig.now_ms += 60 * PL_DAY_MS;
    restart(t);
    store_one(t, (struct told){.user = "ann", .accepted_ms = -PL_MINUTE_MS});
    /* 37 days are over and there are no edges to wait for: but nobody has looked yet. */
    assert_int_equal(totals(t).dropped[DROP_ERASED], 1);
}

/* A retry that does not say when it happened is told by its message id. */
static void test_retries(void **state)
{
    struct test *t = *state;
    store_one(t, (struct told){.visitor = "ann", .message = "m1"});
    t->rig.now_ms += PL_MINUTE_MS;
    erase(t, "ann");
    store_one(t, (struct told){.visitor = "ann", .message = "m1", .accepted_ms = PL_HOUR_MS});
    assert_int_equal(totals(t).duplicate, 1);
    assert_int_equal(held_of(t, "ann"), 0);
    /* Neither whom it was of nor when it came is left. */
    struct store_scan *scan;
    struct pl_span key, value;
    assert_int_equal(
        store_scan_new(&scan, t->rig.store, FAMILY_DEDUPE, pl_span(NULL, 0), pl_span(NULL, 0)),
        PL_OK);
    assert_int_equal(store_scan_next(scan, &key, &value), PL_OK);
    assert_true(dedupe_value_is_blank(value, t->rig.now_ms));
    assert_int_equal(store_scan_next(scan, &key, &value), PL_ENOTFOUND);
    store_scan_free(scan);
}

/* An event that is dropped tells another id of the person's: what is stored under it goes, too. */
static void test_leads_are_followed(void **state)
{
    struct test *t = *state;
    put(t, (struct told){.visitor = "phone", .message = "p"});
    put(t, (struct told){.user = "ann", .message = "u"});
    put(t, (struct told){.visitor = "laptop", .message = "l"});
    put(t, (struct told){.visitor = "tablet", .message = "x"});
    store_all(t);
    t->rig.now_ms += PL_MINUTE_MS;
    struct pl_id128 id = erase(t, "phone");
    assert_int_equal(rig_count(&t->rig, FAMILY_VAULT), 3);
    assert_int_equal(t->notes, 1);
    /* Edge 1 was away: these are of before. */
    put(t, (struct told){.visitor = "phone", .user = "ann"});
    put(t, (struct told){.visitor = "laptop", .accepted_ms = PL_HOUR_MS}); /* after it */
    store_from(t, 1);
    assert_true(t->notes > 1);
    restart(t);
    t->erasures->settle_at_mono_ms = 0;
    erasures_tick(t->erasures);
    assert_int_equal(held_of(t, "ann"), 0);
    assert_int_equal(rig_count(&t->rig, FAMILY_VAULT), 3);
    put(t, (struct told){.visitor = "laptop", .user = "ann"});
    store_from(t, 1);
    erasures_tick(t->erasures);
    /* Of the laptop what came later stays. */
    assert_int_equal(held_of(t, "laptop"), 1);
    assert_int_equal(rig_count(&t->rig, FAMILY_VAULT), 2);
    assert_non_null(strstr(receipt(t, &id), "\"visitor\":2,\"user\":2"));
}

static struct erasure_learned learned_of(struct test *t, const struct pl_id128 *erasure,
                                         const char *user)
{
    struct erasure_learned learned = {.account = 1, .erasure = *erasure};
    struct identities ids;
    struct pl_why why = {0};
    if (visitors_find(t->visitors, 1, pl_span_str(user), false, &ids, &why) != PL_OK)
        fail_msg("%s", why.text);
    for (size_t i = 0; i < ids.count; i++)
        if (ids.list[i].kind == IDENTITY_USER)
            learned.identity = ids.list[i];
    assert_int_equal(learned.identity.kind, IDENTITY_USER);
    identities_release(&ids);
    return learned;
}

/* What could not be noted is not known either: the block comes again, and finds it new. */
static void test_a_lead_that_a_full_disk_refuses_is_followed_later(void **state)
{
    struct test *t = *state;
    struct pl_why why = {0};
    store_one(t, (struct told){.visitor = "phone"});
    store_one(t, (struct told){.user = "ann"});
    t->rig.now_ms += PL_MINUTE_MS;
    const struct pl_id128 id = erase(t, "phone");
    const struct erasure_learned learned = learned_of(t, &id, "ann");
    const size_t notes = t->notes;
    t->log_is_full = true;
    assert_int_equal(erasures_learn(t->erasures, &learned, &why), PL_ENOSPC);
    assert_int_equal(held_of(t, "ann"), 1);
    t->log_is_full = false;
    assert_int_equal(erasures_learn(t->erasures, &learned, &why), PL_OK);
    assert_int_equal(t->notes, notes + 1);
    erasures_tick(t->erasures);
    assert_int_equal(held_of(t, "ann"), 0);
    put(t, (struct told){.user = "ann", .message = "late"});
    store_from(t, 1);
    assert_int_equal(held_of(t, "ann"), 0);
}

/* Of what waits to be compacted nothing is forgotten when more comes to it, or after a crash. */
static void test_all_that_was_deleted_is_compacted(void **state)
{
    struct test *t = *state;
    struct pl_why why = {0};
    store_one(t, (struct told){.visitor = "phone"});
    t->rig.now_ms += 3 * PL_DAY_MS;
    store_one(t, (struct told){.user = "ann", .accepted_ms = 2 * PL_DAY_MS});
    const struct pl_id128 id = erase_only(t, "phone", true);
    t->erasures->settle_at_mono_ms = INT64_MAX; /* it rests */
    erasures_tick(t->erasures);
    assert_non_null(strstr(receipt(t, &id), "\"state\":\"erased\""));
    const struct erasure_learned learned = learned_of(t, &id, "ann");
    assert_int_equal(erasures_learn(t->erasures, &learned, &why), PL_OK);
    erasures_tick(t->erasures);
    const struct open_erasure *open = t->erasures->open;
    assert_int_equal(vault_key_day(&open->first), pl_day_of(NOON_MS));
    assert_int_equal(vault_key_day(&open->last), pl_day_of(NOON_MS) + 2);
    restart(t);
    assert_true(t->erasures->open->whole);
    t->erasures->settle_at_mono_ms = 0;
    erasures_tick(t->erasures);
    assert_non_null(strstr(receipt(t, &id), "\"state\":\"gone\""));
    assert_false(t->erasures->open->whole);
}

/* Who comes back after an erasure is linked anew: a pair that was written before counts no more. */
static void test_coming_back(void **state)
{
    struct test *t = *state;
    store_one(t, (struct told){.visitor = "phone", .user = "ann"});
    t->rig.now_ms += PL_MINUTE_MS;
    erase(t, "ann");
    assert_int_equal(rig_count(&t->rig, FAMILY_LINKS), 0);
    store_one(t, (struct told){.visitor = "phone", .user = "ann", .accepted_ms = PL_HOUR_MS});
    assert_int_equal(rig_count(&t->rig, FAMILY_LINKS), 2);
    assert_int_equal(held_of(t, "phone"), 1);
}

/* Begun, and then the process dies at once. */
static void test_a_crash_is_taken_up(void **state)
{
    struct test *t = *state;
    put(t, (struct told){.visitor = "phone", .user = "ann"});
    put(t, (struct told){.user = "ann"});
    store_all(t);
    t->rig.now_ms += PL_MINUTE_MS;
    struct pl_id128 id = erase_only(t, "ann", true);
    assert_int_equal(held_of(t, "ann"), 2);
    restart(t);
    erasures_tick(t->erasures);
    assert_int_equal(held_of(t, "ann"), 0);
    assert_non_null(strstr(receipt(t, &id), "\"events\":2"));
}

/* A database from before knows nothing of it; what was noted does. */
static void test_a_restore_undoes_nothing(void **state)
{
    struct test *t = *state;
    char copy[128], command[512];
    snprintf(copy, sizeof(copy), "%s/copy", t->rig.store_dir);
    put(t, (struct told){.visitor = "phone", .user = "ann"});
    put(t, (struct told){.visitor = "other"});
    store_all(t);
    assert_int_equal(store_checkpoint(t->rig.store, copy, NULL), PL_OK);
    t->rig.now_ms += PL_MINUTE_MS;
    struct pl_id128 id = erase(t, "phone");
    close_all(t);
    snprintf(command, sizeof(command), "rm -rf '%s' && mv '%s' '%s'", t->rig.store_path, copy,
             t->rig.store_path);
    assert_int_equal(system(command), 0);
    open_all(t);
    assert_int_equal(held_of(t, "ann"), 1);
    const struct pl_span key = pl_span(t->noted_key, sizeof(t->noted_key));
    for (int round = 0; round < 2; round++) {
        assert_int_equal(erasures_replay(t->erasures, key, pl_buf_span(&t->noted_row), NULL),
                         PL_OK);
        erasures_tick(t->erasures);
        assert_int_equal(held_of(t, "ann"), 0);
        assert_int_equal(rig_count(&t->rig, FAMILY_VAULT), 1);
        assert_non_null(strstr(receipt(t, &id), "\"events\":1"));
    }
    store_one(t, (struct told){.user = "ann"});
    assert_int_equal(held_of(t, "ann"), 0);
}

/* The guard ends when no retry can come any more, and with it the last trace. */
static void test_the_guard_ends(void **state)
{
    struct test *t = *state;
    store_one(t, (struct told){.visitor = "ann", .message = "m1"});
    struct pl_id128 id = erase(t, "ann");
    t->rig.now_ms += (DEDUPE_SWEEP_DAYS - 1) * PL_DAY_MS;
    t->erasures->closed_mono_ms = 0;
    erasures_tick(t->erasures);
    assert_true(erasures_any(t->erasures, 1));
    assert_int_equal(rig_count(&t->rig, FAMILY_DEDUPE), 1);
    t->rig.now_ms += PL_DAY_MS;
    t->erasures->closed_mono_ms = 0;
    erasures_tick(t->erasures);
    assert_false(erasures_any(t->erasures, 1));
    assert_int_equal(rig_count(&t->rig, FAMILY_DEDUPE), 0);
    assert_non_null(strstr(receipt(t, &id), "\"state\":\"closed\""));
    restart(t);
    assert_false(erasures_any(t->erasures, 1));
    assert_non_null(strstr(receipt(t, &id), "\"state\":\"closed\""));
}

static void test_the_account_goes(void **state)
{
    struct test *t = *state;
    store_one(t, (struct told){.visitor = "ann"});
    erase_only(t, "ann", true);
    assert_true(erasures_any(t->erasures, 1));
    erasures_forget(t->erasures, 1);
    assert_false(erasures_any(t->erasures, 1));
    erasures_tick(t->erasures);
    assert_int_equal(rig_count(&t->rig, FAMILY_VAULT), 1); /* the deletion's */
}

/* A user id that everybody shares is nobody's. */
static void test_too_many_ids(void **state)
{
    struct test *t = *state;
    struct identities ids;
    struct pl_why why = {0};
    char visitor[32];
    for (int i = 0; i < IDENTITIES_MAX; i++) {
        snprintf(visitor, sizeof(visitor), "visitor-%d", i);
        put(t, (struct told){.visitor = visitor, .user = "guest"});
    }
    store_all(t);
    assert_int_equal(visitors_find(t->visitors, 1, PL_SPAN_LIT("visitor-1"), true, &ids, &why),
                     PL_ELIMIT);
    assert_non_null(strstr(why.text, "alone"));
    assert_int_equal(visitors_find(t->visitors, 1, PL_SPAN_LIT(""), true, &ids, &why), PL_EINVAL);
    erase_only(t, "visitor-1", false);
    erasures_tick(t->erasures);
    /* The others' stays. */
    assert_int_equal(rig_count(&t->rig, FAMILY_VAULT), IDENTITIES_MAX - 1);
    store_one(t, (struct told){.visitor = "visitor-1", .user = "guest"});
    erasures_tick(t->erasures);
    assert_int_equal(rig_count(&t->rig, FAMILY_VAULT), IDENTITIES_MAX - 1);
}

static void test_links_grow_old(void **state)
{
    struct test *t = *state;
    uint8_t cursor[LINK_KEY_BYTES] = {0};
    size_t deleted, sum = 0;
    const int64_t today = pl_day_of(NOON_MS);
    put(t, (struct told){.visitor = "phone", .user = "ann"});
    put(t, (struct told){.visitor = "laptop", .user = "ann"});
    store_all(t);
    t->rig.now_ms += 3 * PL_DAY_MS;
    store_one(t, (struct told){.visitor = "phone", .user = "ann", .accepted_ms = 3 * PL_DAY_MS});
    assert_int_equal(rig_count(&t->rig, FAMILY_LINKS), 4);
    enum pl_err err;
    while ((err = links_expire(t->rig.store, 1, today + 1, cursor, 1, &deleted, NULL)) == PL_EAGAIN)
        sum += deleted;
    assert_int_equal(err, PL_OK);
    assert_int_equal(sum, 1);
    assert_int_equal(rig_count(&t->rig, FAMILY_LINKS), 2);
    assert_int_equal(held_of(t, "phone"), 2);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_ids_lead_to_each_other),
        TEST(test_a_shared_device_shares_no_person),
        TEST(test_an_alias_belongs_to_its_user),
        TEST(test_hashes_that_collide),
        TEST(test_an_address_is_found_however_it_was_masked),
        TEST(test_what_is_stored_goes),
        TEST(test_what_arrives_later_is_dropped),
        TEST(test_very_late_is_still_before),
        TEST(test_retries),
        TEST(test_leads_are_followed),
        TEST(test_a_lead_that_a_full_disk_refuses_is_followed_later),
        TEST(test_all_that_was_deleted_is_compacted),
        TEST(test_coming_back),
        TEST(test_a_crash_is_taken_up),
        TEST(test_a_restore_undoes_nothing),
        TEST(test_the_guard_ends),
        TEST(test_the_account_goes),
        TEST(test_too_many_ids),
        TEST(test_links_grow_old),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
