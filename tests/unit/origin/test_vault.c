#include "event_fixture.h"
#include "keyring_fixture.h"
#include "origin/vault/dictionary.h"
#include "origin/vault/vault.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct rig {
    struct keyring_fixture f;
    struct keyring *keyring;
    struct vault_sealer *sealer;
    struct event_reader *reader;
    struct event *event;
    struct pl_buf encoded, value, out;
    struct vault_place place;
};

static int setup(void **state)
{
    struct rig *r = calloc(1, sizeof(*r));
    keyring_fixture_init(&r->f);
    assert_int_equal(keyring_open(&r->keyring, &r->f.config, NULL), PL_OK);
    assert_int_equal(keyring_new_key(r->keyring, 1, NULL), PL_OK);
    assert_int_equal(keyring_new_key(r->keyring, 2, NULL), PL_OK);
    assert_int_equal(vault_sealer_new(&r->sealer, r->keyring, 8), PL_OK);
    assert_int_equal(event_reader_new(&r->reader), PL_OK);
    r->event = calloc(1, sizeof(*r->event));
    pl_buf_init(&r->encoded, 1 << 20);
    pl_buf_init(&r->value, 1 << 20);
    pl_buf_init(&r->out, 1 << 20);
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    struct rig *r = *state;
    vault_sealer_free(r->sealer);
    keyring_close(r->keyring);
    keyring_fixture_release(&r->f);
    event_reader_free(r->reader);
    pl_buf_release(&r->encoded);
    pl_buf_release(&r->value);
    pl_buf_release(&r->out);
    free(r->event);
    free(r);
    return 0;
}

/* The storage key of an event made up on the spot; its bytes stand in r->encoded. */
static struct vault_key key_of(struct rig *r, uint64_t account, int64_t ms, const char *visitor,
                               const char *message)
{
    struct vault_key key;
    pl_buf_reset(&r->encoded);
    put_event(&r->encoded, account, ms, visitor, message, "Product Viewed");
    struct pl_span rest = pl_buf_span(&r->encoded);
    assert_int_equal(event_read(r->reader, &rest, r->event, NULL, NULL), PL_OK);
    assert_int_equal(vault_key_of(r->sealer, r->event, &r->place, &key), PL_OK);
    return key;
}

static void seal(struct rig *r, const struct vault_key *key)
{
    pl_buf_reset(&r->value);
    assert_int_equal(vault_seal(r->sealer, key, pl_buf_span(&r->encoded), &r->value), PL_OK);
}

static enum pl_err open_value(struct rig *r, const struct vault_key *key)
{
    pl_buf_reset(&r->out);
    return vault_open_value(r->sealer, key, pl_buf_span(&r->value), &r->out);
}

static void what_goes_in_comes_out(void **state)
{
    struct rig *r = *state;
    struct vault_key key = key_of(r, 1, NOON_MS, "visitor", "m1");
    assert_true(vault_key_account(&key) == 1);
    assert_int_equal(vault_key_day(&key), 20000);
    assert_true(vault_key_time_ms(&key) == NOON_MS);
    seal(r, &key);
    assert_int_equal(r->value.data[0], 1);
    assert_null(memmem(r->value.data, r->value.len, "Product", 7));
    assert_int_equal(open_value(r, &key), PL_OK);
    assert_true(pl_span_eq(pl_buf_span(&r->out), pl_buf_span(&r->encoded)));
    /* and by a sealer that never saw it */
    struct vault_sealer *other;
    assert_int_equal(vault_sealer_new(&other, r->keyring, 0), PL_OK);
    pl_buf_reset(&r->out);
    assert_int_equal(vault_open_value(other, &key, pl_buf_span(&r->value), &r->out), PL_OK);
    assert_true(pl_span_eq(pl_buf_span(&r->out), pl_buf_span(&r->encoded)));
    vault_sealer_free(other);
}

static void a_value_opens_under_its_own_key_only(void **state)
{
    struct rig *r = *state;
    struct vault_key key = key_of(r, 1, NOON_MS, "visitor", "m1");
    seal(r, &key);
    for (size_t i = 0; i < VAULT_KEY_BYTES; i++) {
        struct vault_key other = key;
        other.bytes[i] ^= 1;
        enum pl_err err = open_value(r, &other);
        assert_true(err == PL_EAUTH || (i < 8 && err == PL_ENOTFOUND));
    }
    /* another account that has a key of its own */
    struct vault_key two = key;
    two.bytes[7] = 2;
    assert_int_equal(open_value(r, &two), PL_EAUTH);
    assert_int_equal(open_value(r, &key), PL_OK);
}

static void a_changed_value_does_not_open(void **state)
{
    struct rig *r = *state;
    struct vault_key key = key_of(r, 1, NOON_MS, "visitor", "m1");
    seal(r, &key);
    for (size_t i = 0; i < r->value.len; i++) {
        r->value.data[i] ^= 0x10;
        assert_int_equal(open_value(r, &key), i == 0 ? PL_EUNSUPPORTED : PL_EAUTH);
        r->value.data[i] ^= 0x10;
    }
    size_t whole = r->value.len;
    for (r->value.len = 0; r->value.len < whole; r->value.len++)
        assert_int_equal(open_value(r, &key), PL_EAUTH);
}

/* Sealed twice, or another event under a key that was used before: only equality shows. */
static void keys_may_be_used_again(void **state)
{
    struct rig *r = *state;
    struct vault_key key = key_of(r, 1, NOON_MS, "visitor", "m1");
    uint8_t first[256], again[256];
    seal(r, &key);
    size_t len = r->value.len;
    assert_in_range(len, 40, sizeof(first));
    memcpy(first, r->value.data, len);
    seal(r, &key);
    assert_int_equal(r->value.len, len);
    assert_memory_equal(first, r->value.data, len);
    pl_buf_reset(&r->encoded);
    put_event(&r->encoded, 1, NOON_MS, "visitor", "m1", "Product Dropped");
    seal(r, &key);
    memcpy(again, r->value.data, 40);
    size_t equal = 0;
    for (size_t i = 1; i < 40; i++)
        equal += first[i] == again[i];
    assert_in_range(equal, 0, 5); /* a nonce used twice would leave nearly all as it was */
}

static void hashes_tell_what_they_should(void **state)
{
    struct rig *r = *state;
    struct vault_key a = key_of(r, 1, NOON_MS, "visitor", "m1");
    struct vault_key same = key_of(r, 1, NOON_MS, "visitor", "m1");
    assert_memory_equal(&a, &same, sizeof(a));
    /* another day: the same visitor and message are recognised */
    struct vault_key later = key_of(r, 1, NOON_MS + PL_DAY_MS, "visitor", "m1");
    assert_memory_equal(a.bytes + 10, later.bytes + 10, 8);
    assert_true(vault_key_event_hash(&a) == vault_key_event_hash(&later));
    assert_true(memcmp(a.bytes, later.bytes, 10) < 0);
    /* another account: nothing is */
    struct vault_key other = key_of(r, 2, NOON_MS, "visitor", "m1");
    assert_memory_not_equal(a.bytes + 10, other.bytes + 10, 8);
    assert_true(vault_key_event_hash(&a) != vault_key_event_hash(&other));
    /* a visitor and a message of the same name have nothing in common */
    struct vault_key twin = key_of(r, 1, NOON_MS, "same", "same");
    assert_memory_not_equal(twin.bytes + 10, twin.bytes + 24, 8);
    /* the prefix by which a visitor is found */
    uint8_t prefix[18];
    assert_int_equal(
        vault_visitor_prefix(r->sealer, 1, 20000, PL_SPAN_LIT("visitor"), false, prefix), PL_OK);
    assert_memory_equal(prefix, a.bytes, 18);
    assert_int_equal(
        vault_visitor_prefix(r->sealer, 1, 20000, PL_SPAN_LIT("visitor"), true, prefix), PL_OK);
    assert_memory_not_equal(prefix, a.bytes, 18);
}

static void without_a_message_id_the_place_names_the_event(void **state)
{
    struct rig *r = *state;
    memset(r->place.incarnation.bytes, 7, 16);
    struct vault_key a = key_of(r, 1, NOON_MS, "visitor", NULL);
    struct vault_key same = key_of(r, 1, NOON_MS, "visitor", NULL);
    assert_memory_equal(&a, &same, sizeof(a));
    r->place.index = 1;
    struct vault_key next = key_of(r, 1, NOON_MS, "visitor", NULL);
    assert_true(vault_key_event_hash(&a) != vault_key_event_hash(&next));
    r->place.index = 0;
    r->place.number = 1;
    next = key_of(r, 1, NOON_MS, "visitor", NULL);
    assert_true(vault_key_event_hash(&a) != vault_key_event_hash(&next));
}

static void ids_of_any_length(void **state)
{
    struct rig *r = *state;
    char id[1001];
    uint64_t seen[3];
    for (int i = 0; i < 3; i++) {
        memset(id, 'x', sizeof(id));
        id[(size_t[]){0, 256, 1000}[i]] = '\0';
        struct vault_key key = key_of(r, 1, NOON_MS, id, id);
        seen[i] = vault_key_event_hash(&key);
    }
    assert_true(seen[0] != seen[1] && seen[1] != seen[2] && seen[0] != seen[2]);
}

static void impossible_times_and_accounts_are_refused(void **state)
{
    struct rig *r = *state;
    struct vault_key key;
    static const struct {
        uint64_t account;
        int64_t ms;
        enum pl_err err;
    } cases[] = {
        {1, -1, PL_EINVAL},
        {1, INT64_C(65536) * PL_DAY_MS, PL_EINVAL},
        {1, INT64_MAX, PL_EINVAL},
        {0, NOON_MS, PL_EINVAL},
        {3, NOON_MS, PL_ENOTFOUND},
        {1, 0, PL_OK},
        {1, INT64_C(65536) * PL_DAY_MS - 1, PL_OK},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        event_clear(r->event);
        event_set_u64(r->event, EVENT_ACCOUNT, cases[i].account);
        event_set_i64(r->event, EVENT_ACCEPTED_MS, cases[i].ms);
        assert_int_equal(vault_key_of(r->sealer, r->event, &r->place, &key), cases[i].err);
    }
    event_unset(r->event, EVENT_ACCEPTED_MS);
    assert_int_equal(vault_key_of(r->sealer, r->event, &r->place, &key), PL_EINVAL);
}

static void a_destroyed_key_seals_and_opens_nothing(void **state)
{
    struct rig *r = *state;
    struct vault_key key = key_of(r, 1, NOON_MS, "visitor", "m1");
    seal(r, &key);
    assert_int_equal(open_value(r, &key), PL_OK);
    assert_int_equal(keyring_destroy(r->keyring, 1, "test", NULL, NULL), PL_OK);
    assert_int_equal(open_value(r, &key), PL_EEXPIRED);
    assert_int_equal(vault_seal(r->sealer, &key, pl_buf_span(&r->encoded), &r->out), PL_EEXPIRED);
    struct vault_key two = key_of(r, 2, NOON_MS, "visitor", "m1");
    seal(r, &two);
    assert_int_equal(open_value(r, &two), PL_OK);
}

static void many_accounts_and_days_share_a_small_cache(void **state)
{
    struct rig *r = *state;
    for (uint64_t a = 10; a < 20; a++)
        assert_int_equal(keyring_new_key(r->keyring, a, NULL), PL_OK);
    for (int round = 0; round < 3; round++)
        for (uint64_t a = 10; a < 20; a++)
            for (int day = 0; day < 5; day++) {
                struct vault_key key = key_of(r, a, NOON_MS + day * PL_DAY_MS, "v", "m");
                seal(r, &key);
                assert_int_equal(open_value(r, &key), PL_OK);
            }
}

static void a_moved_value_opens_at_its_new_place(void **state)
{
    struct rig *r = *state;
    struct vault_key key = key_of(r, 1, NOON_MS, "visitor", "m1"), next = key;
    vault_key_set_event_hash(&next, vault_key_event_hash(&key) + 1);
    seal(r, &key);
    struct pl_buf moved;
    pl_buf_init(&moved, 1 << 20);
    assert_int_equal(vault_move(r->sealer, &key, &next, pl_buf_span(&r->value), &moved), PL_OK);
    pl_buf_reset(&r->out);
    assert_int_equal(vault_open_value(r->sealer, &next, pl_buf_span(&moved), &r->out), PL_OK);
    assert_true(pl_span_eq(pl_buf_span(&r->out), pl_buf_span(&r->encoded)));
    pl_buf_reset(&r->out);
    assert_int_equal(vault_open_value(r->sealer, &key, pl_buf_span(&moved), &r->out), PL_EAUTH);
    pl_buf_release(&moved);
}

static void days_are_ranges(void **state)
{
    struct rig *r = *state;
    struct vault_key from, to, key = key_of(r, 1, NOON_MS, "visitor", "m1");
    vault_key_first(1, 20000, &from);
    vault_key_first(1, 20001, &to);
    assert_true(memcmp(&from, &key, sizeof(key)) < 0 && memcmp(&key, &to, sizeof(key)) < 0);
    vault_key_first(1, VAULT_DAY_MAX + 1, &to);
    assert_true(vault_key_account(&to) == 2 && vault_key_day(&to) == 0);
}

/* What is stored was compressed with these very bytes. */
static void the_dictionary_is_what_it_was(void **state)
{
    (void)state;
    static const uint8_t published[] = {0x97, 0x7f, 0x17, 0x36, 0xba, 0xbf, 0xb4, 0x75,
                                        0xe5, 0x9d, 0x59, 0xde, 0x8e, 0x03, 0x60, 0x2d,
                                        0xd7, 0xae, 0xfa, 0x10, 0xa2, 0x33, 0x7e, 0xbc,
                                        0x99, 0x3a, 0x4d, 0xdf, 0x61, 0x40, 0x21, 0xbe};
    uint8_t digest[PL_SHA256_BYTES];
    pl_sha256_one(pl_span(dictionary_v1, dictionary_v1_bytes), digest);
    assert_memory_equal(digest, published, sizeof(digest));
    struct pl_zstd_dict *none;
    assert_int_equal(dictionary_new(0, &none), PL_EUNSUPPORTED);
    assert_int_equal(dictionary_new(2, &none), PL_EUNSUPPORTED);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(what_goes_in_comes_out),
        CASE(a_value_opens_under_its_own_key_only),
        CASE(a_changed_value_does_not_open),
        CASE(keys_may_be_used_again),
        CASE(hashes_tell_what_they_should),
        CASE(without_a_message_id_the_place_names_the_event),
        CASE(ids_of_any_length),
        CASE(impossible_times_and_accounts_are_refused),
        CASE(a_destroyed_key_seals_and_opens_nothing),
        CASE(many_accounts_and_days_share_a_small_cache),
        CASE(a_moved_value_opens_at_its_new_place),
        CASE(days_are_ranges),
        cmocka_unit_test(the_dictionary_is_what_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
