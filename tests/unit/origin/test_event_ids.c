/* Hashes of events' ids, and what is kept at hand to make them. */
#include "records_fixture.h"

#include "origin/accounts/account_item.h"
#include "origin/subjects/event_ids.h"

static struct records r;

static int setup(void **state)
{
    (void)state;
    records_init(&r);
    for (uint64_t account = 1; account <= 3; account++)
        must(keyring_new_key(r.keyring, account, &r.why), &r.why);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    records_release(&r);
    return 0;
}

static void make(struct event *event, uint64_t account, const char *visitor, const char *user)
{
    event_clear(event);
    event_set_u64(event, EVENT_ACCOUNT, account);
    event_set_str(event, EVENT_VISITOR_ID, pl_span_str(visitor));
    event_set_str(event, EVENT_USER_ID, pl_span_str(user));
}

static void test_hashes_are_the_edges_own(void **state)
{
    struct id_hashers *hashers;
    struct event event;
    struct event_ids ids, other;
    uint8_t key[CATALOG_ID_KEY_BYTES], hash[ID_HASH_BYTES];
    (void)state;
    must(id_hashers_new(&hashers, r.keyring, 0), &r.why);
    make(&event, 1, "ann", "ann@shop.example");
    must(id_hashers_event(hashers, &event, &ids), &r.why);
    must(account_id_key(r.keyring, 1, key), &r.why);
    must(suppression_hash(key, PL_SPAN_LIT("ann"), hash), &r.why);
    assert_memory_equal(ids.id[EVENT_IDS_VISITOR].hash, hash, sizeof(hash));
    /* An address is the same person however it is written. */
    must(suppression_hash(key, PL_SPAN_LIT("Ann@Shop.example"), hash), &r.why);
    assert_memory_equal(ids.id[EVENT_IDS_USER].hash, hash, sizeof(hash));
    assert_false(ids.id[EVENT_IDS_PREVIOUS].present);
    /* Another account's hash of it has nothing in common. */
    make(&event, 2, "ann", "");
    must(id_hashers_event(hashers, &event, &other), &r.why);
    assert_memory_not_equal(other.id[EVENT_IDS_VISITOR].hash, ids.id[EVENT_IDS_VISITOR].hash,
                            sizeof(hash));
    assert_false(other.id[EVENT_IDS_USER].present);
    id_hashers_free(hashers);
}

static void test_a_small_cache_mixes_nobody_up(void **state)
{
    struct id_hashers *hashers;
    struct event event;
    struct event_ids first, again;
    (void)state;
    must(id_hashers_new(&hashers, r.keyring, 1), &r.why);
    make(&event, 1, "ann", "");
    must(id_hashers_event(hashers, &event, &first), &r.why);
    for (uint64_t account = 2; account <= 3; account++) {
        make(&event, account, "ann", "");
        must(id_hashers_event(hashers, &event, &again), &r.why);
    }
    assert_int_equal(id_hashers_kept(hashers), 1);
    make(&event, 1, "ann", "");
    must(id_hashers_event(hashers, &event, &again), &r.why);
    assert_memory_equal(&first.id[EVENT_IDS_VISITOR], &again.id[EVENT_IDS_VISITOR],
                        sizeof(first.id[0]));
    id_hashers_free(hashers);
}

static void test_a_destroyed_key_is_forgotten(void **state)
{
    struct id_hashers *hashers;
    struct event event;
    struct event_ids ids;
    (void)state;
    must(id_hashers_new(&hashers, r.keyring, 0), &r.why);
    for (uint64_t account = 1; account <= 2; account++) {
        make(&event, account, "ann", "");
        must(id_hashers_event(hashers, &event, &ids), &r.why);
    }
    assert_int_equal(id_hashers_kept(hashers), 2);
    must(keyring_destroy(r.keyring, 1, "test", NULL, &r.why), &r.why);
    id_hashers_tidy(hashers);
    assert_int_equal(id_hashers_kept(hashers), 0);
    make(&event, 1, "ann", "");
    assert_int_equal(id_hashers_event(hashers, &event, &ids), PL_EEXPIRED);
    make(&event, 2, "ann", "");
    must(id_hashers_event(hashers, &event, &ids), &r.why);
    assert_int_equal(id_hashers_kept(hashers), 1);
    make(&event, 77, "ann", "");
    assert_int_equal(id_hashers_event(hashers, &event, &ids), PL_ENOTFOUND);
    id_hashers_free(hashers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_hashes_are_the_edges_own, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_small_cache_mixes_nobody_up, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_destroyed_key_is_forgotten, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
