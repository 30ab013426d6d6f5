/* Which ids are one person's, through a whole intake. */
#include "erasures_fixture.h"

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

/* Whichever of a person's names is asked about: all of them, and nobody else's. */
static void test_names_of_one_user(void **state)
{
    static const char *const names[] = {"phone", "first", "second", "third", "married", "laptop"};
    struct test *t = *state;
    put(t, (struct told){.visitor = "phone", .user = "first"});
    put(t, (struct told){.user = "second", .previous = "first"});
    put(t, (struct told){.user = "third", .previous = "second"});
    put(t, (struct told){.user = "married", .previous = "second"});
    put(t, (struct told){.visitor = "laptop", .user = "third"});
    put(t, (struct told){.visitor = "laptop"});
    put(t, (struct told){.visitor = "other", .user = "bob", .previous = "robert"});
    store_all(t);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        assert_int_equal(held_of(t, names[i]), 6);
    assert_int_equal(held_of(t, "robert"), 1);
    erase(t, "phone");
    assert_int_equal(rig_count(&t->rig, FAMILY_VAULT), 1);
    assert_int_equal(rig_count(&t->rig, FAMILY_LINKS), 4);
}

/* Users whom no event with a visitor id names. */
static void test_names_without_a_device(void **state)
{
    static const char *const names[] = {"first", "second", "third"};
    struct test *t = *state;
    put(t, (struct told){.user = "first"});
    put(t, (struct told){.user = "second", .previous = "first"});
    put(t, (struct told){.user = "third", .previous = "first"});
    put(t, (struct told){.visitor = "tablet", .previous = "third"}); /* to whom, it does not say */
    put(t, (struct told){.visitor = "tablet"});
    store_all(t);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        assert_int_equal(held_of(t, names[i]), 5);
    assert_int_equal(held_of(t, "tablet"), 5);
}

/* A previous id that is a device's leads to nobody else who left it. */
static void test_a_shared_device_in_aliases(void **state)
{
    static const char *const devices[] = {"kitchen", "hall", "bath"};
    struct test *t = *state;
    for (size_t i = 0; i < 3; i++) {
        put(t, (struct told){.user = "ann", .previous = devices[i]});
        put(t, (struct told){.user = "bob", .previous = devices[i]});
        put(t, (struct told){.visitor = devices[i]});
    }
    put(t, (struct told){.visitor = "hall", .user = "ann"});
    put(t, (struct told){.visitor = "hall", .user = "bob"});
    put(t, (struct told){.visitor = "bath", .user = "bath"}); /* a site that names all visitors */
    put(t, (struct told){.visitor = "bath", .user = "bob"});
    store_all(t);
    assert_int_equal(held_of(t, "ann"), 3 + 3 + 1 + 1);
    erase(t, "ann");
    assert_int_equal(rig_count(&t->rig, FAMILY_VAULT), 3 + 2);
    assert_int_equal(held_of(t, "bob"), 5);
}

/* One id alone: all that names it, wherever it lies, and no more of those who are named with it. */
static void test_alone(void **state)
{
    struct test *t = *state;
    put(t, (struct told){.visitor = "phone", .user = "old"});
    put(t, (struct told){.visitor = "phone"});
    put(t, (struct told){.user = "new", .previous = "old"});
    put(t, (struct told){.visitor = "laptop", .user = "new", .previous = "old"});
    put(t, (struct told){.visitor = "laptop", .user = "new"});
    put(t, (struct told){.user = "new"});
    store_all(t);
    t->rig.now_ms += PL_MINUTE_MS;
    erase_only(t, "old", false);
    erasures_tick(t->erasures);
    assert_int_equal(rig_count(&t->rig, FAMILY_VAULT), 3);
    assert_int_equal(held_of(t, "new"), 2);
    put(t, (struct told){.user = "new", .previous = "old"});
    store_from(t, 1);
    assert_int_equal(rig_count(&t->rig, FAMILY_VAULT), 3);
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
    const struct CMUnitTest tests[] = {
        TEST(test_ids_lead_to_each_other),
        TEST(test_a_shared_device_shares_no_person),
        TEST(test_an_alias_belongs_to_its_user),
        TEST(test_names_of_one_user),
        TEST(test_names_without_a_device),
        TEST(test_a_shared_device_in_aliases),
        TEST(test_alone),
        TEST(test_hashes_that_collide),
        TEST(test_an_address_is_found_however_it_was_masked),
        TEST(test_too_many_ids),
        TEST(test_links_grow_old),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
