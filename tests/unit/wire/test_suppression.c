#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "proto/wire/event_mask.h"
#include "proto/wire/suppression.h"

#include <dlfcn.h>
#include <pthread.h>
#include <time.h>

static const uint8_t key[CATALOG_ID_KEY_BYTES] = {7};

static struct suppression said(uint64_t account, uint8_t consent, const char *id, int64_t since_ms,
                               bool active)
{
    struct suppression s = {
        .account = account, .consent_id = {{consent}}, .since_ms = since_ms, .active = active};
    if (id != NULL)
        assert_int_equal(suppression_hash(key, pl_span_str(id), s.id_hash), PL_OK);
    return s;
}

static int make(void **state)
{
    return suppression_set_new((struct suppression_set **)state);
}

static int unmake(void **state)
{
    suppression_set_free(*state);
    return 0;
}

static bool held(struct suppression_set *set, uint64_t account, const char *id, int64_t ms)
{
    return suppression_set_holds_id(set, account, key, pl_span_str(id), ms);
}

static bool put(struct suppression_set *set, struct suppression s)
{
    bool news;
    assert_int_equal(suppression_set_put(set, &s, &news), PL_OK);
    return news;
}

static void test_out_and_in(void **state)
{
    struct suppression_set *set = *state;
    assert_false(suppression_set_any(set, 1));
    assert_true(put(set, said(1, 1, "ann", 100, true)));
    assert_false(put(set, said(1, 1, "ann", 100, true)));
    assert_true(suppression_set_any(set, 1));
    assert_true(held(set, 1, "ann", 100));
    assert_false(held(set, 1, "ann", 99)); /* accepted before she said so */
    assert_false(held(set, 1, "bob", 100));
    assert_false(held(set, 2, "ann", 100));
    assert_false(held(set, 1, "", 100));
    /* She says it twice, and takes back one of them. */
    assert_true(put(set, said(1, 2, "ann", 200, true)));
    assert_true(put(set, said(1, 1, NULL, 0, false)));
    assert_true(held(set, 1, "ann", 200));
    assert_false(held(set, 1, "ann", 150));
    assert_int_equal(suppression_set_count(set), 1);
    assert_true(put(set, said(1, 2, NULL, 0, false)));
    assert_false(held(set, 1, "ann", 300));
    assert_int_equal(suppression_set_count(set), 0);
}

static void test_any_order(void **state)
{
    struct suppression_set *set = *state;
    struct suppression late = said(1, 1, "ann", 100, true);
    assert_true(put(set, said(1, 1, NULL, 0, false)));
    assert_int_equal(suppression_set_put(set, &late, NULL), PL_OK);
    assert_false(late.active);
    assert_false(held(set, 1, "ann", 300));
    assert_false(put(set, said(1, 1, "ann", 100, true)));
    assert_false(held(set, 1, "ann", 300));
}

/* The mask makes hashes of addresses, on one node or the other: it is the same person. */
static void test_ids_that_are_masked(void **state)
{
    struct suppression_set *set = *state;
    const struct event_mask_policy policy = {.kinds = PII_EMAIL, .id_key = key};
    char stored[EVENT_MASK_ID_BYTES] = "";
    assert_true(event_mask_id(&policy, PL_SPAN_LIT("Ann@Shop.example"), stored));
    put(set, said(1, 1, "ann@shop.example", 100, true));
    assert_true(held(set, 1, "ann@shop.example", 100));
    assert_true(held(set, 1, " Ann@SHOP.example ", 100));
    assert_true(held(set, 1, stored, 100));
    assert_false(held(set, 1, "bob@shop.example", 100));
    put(set, said(1, 2, stored, 100, true));
    put(set, said(1, 1, NULL, 0, false));
    assert_true(held(set, 1, "ANN@shop.example", 100));
    put(set, said(2, 3, "crm:ann@shop.example", 100, true));
    assert_true(held(set, 2, "crm:Ann@shop.example", 100));
    assert_false(held(set, 2, "crm:bob@shop.example", 100));
    put(set, said(3, 4, "+31 20 555 0199", 100, true));
    assert_true(held(set, 3, "+31 20 555 0199", 100));
}

static void test_any_id_of_an_event(void **state)
{
    struct suppression_set *set = *state;
    struct event event;
    static const enum event_field ids[] = {EVENT_VISITOR_ID, EVENT_USER_ID, EVENT_PREVIOUS_ID,
                                           EVENT_NETWORK_ID};
    put(set, said(1, 1, "ann", 100, true));
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        event_clear(&event);
        assert_false(suppression_set_concerns(set, 1, key, &event, 100));
        event_set_str(&event, ids[i], PL_SPAN_LIT("ann"));
        assert_true(suppression_set_concerns(set, 1, key, &event, 100));
        assert_false(suppression_set_concerns(set, 1, key, &event, 99));
    }
}

static void test_forget(void **state)
{
    struct suppression_set *set = *state;
    for (uint8_t i = 0; i < 100; i++)
        put(set, said(i % 3, i, i % 2 ? "ann" : "bob", 0, i % 7 != 0));
    suppression_set_forget(set, 1);
    assert_false(held(set, 1, "ann", 1));
    assert_false(held(set, 1, "bob", 1));
    assert_true(held(set, 2, "ann", 1));
    assert_true(put(set, said(1, 1, "ann", 0, true)));
    assert_true(held(set, 1, "ann", 1));
}

/* How long somebody who asks may have to wait: the processor time that passes under the lock, which
 * says the same however busy the machine is. */
static int64_t locked_at_ns, longest_ns;

static int64_t cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int pthread_rwlock_wrlock(pthread_rwlock_t *lock)
{
    int (*real)(pthread_rwlock_t *) = NULL;
    *(void **)&real = dlsym(RTLD_NEXT, "pthread_rwlock_wrlock");
    const int err = real(lock);
    locked_at_ns = cpu_ns();
    return err;
}

int pthread_rwlock_unlock(pthread_rwlock_t *lock)
{
    int (*real)(pthread_rwlock_t *) = NULL;
    *(void **)&real = dlsym(RTLD_NEXT, "pthread_rwlock_unlock");
    if (locked_at_ns > 0 && cpu_ns() - locked_at_ns > longest_ns)
        longest_ns = cpu_ns() - locked_at_ns;
    locked_at_ns = 0;
    return real(lock);
}

#define MANY        1000000
#define MANY_PEOPLE 100000
#define WAIT_NS     2000000

static struct suppression one_of_many(uint64_t account, uint32_t i)
{
    struct suppression s = {.account = account, .since_ms = 1, .active = true};
    pl_store_u32(s.consent_id.bytes, i * 2654435761u);
    pl_store_u32(s.id_hash, i % MANY_PEOPLE * 2654435761u);
    return s;
}

static size_t known_of(struct suppression_set *set, uint64_t account)
{
    struct suppression_counts counts;
    suppression_set_count_of(set, account, &counts);
    assert_true(counts.account == account);
    return counts.known;
}

static void test_a_million_opt_outs_keep_nobody_waiting(void **state)
{
    struct suppression_set *set = *state;
    const struct suppression other = one_of_many(2, 7);
    put(set, other);
    for (uint32_t i = 0; i < MANY; i++)
        put(set, one_of_many(1, i));
    assert_int_equal(suppression_set_count(set), MANY + 1);
    longest_ns = 0;
    suppression_set_forget(set, 1);
    assert_true(longest_ns > 0);
    if (longest_ns > WAIT_NS)
        fail_msg("%.1f ms under the lock", (double)longest_ns / 1e6);
    assert_int_equal(suppression_set_count(set), 1);
    assert_int_equal(known_of(set, 1), 0);
    assert_false(suppression_set_holds_hash(set, 1, one_of_many(1, 7).id_hash, 1));
    assert_true(suppression_set_holds_hash(set, 2, other.id_hash, 1));
}

/* Whoever opts out over and over makes no look-up slower. */
static void test_one_person_many_times(void **state)
{
    struct suppression_set *set = *state;
    struct suppression s = said(1, 0, "ann", 0, true);
    for (uint32_t i = 0; i < MANY / 10; i++) {
        pl_store_u32(s.consent_id.bytes, i * 2654435761u);
        s.since_ms = 1000 + i;
        put(set, s);
    }
    const int64_t before_ns = cpu_ns();
    for (int i = 0; i < 1000; i++)
        assert_false(suppression_set_holds_hash(set, 1, s.id_hash, 999));
    assert_true(cpu_ns() - before_ns < 100000000);
    assert_true(suppression_set_holds_hash(set, 1, s.id_hash, 1000));
    /* The first of them is taken back: from the second on. */
    pl_store_u32(s.consent_id.bytes, 0);
    s.active = false;
    put(set, s);
    assert_false(suppression_set_holds_hash(set, 1, s.id_hash, 1000));
    assert_true(suppression_set_holds_hash(set, 1, s.id_hash, 1001));
}

static void test_what_is_known(void **state)
{
    struct suppression_set *set = *state;
    struct suppression ann = said(1, 1, "ann", 100, true), bob = said(1, 1, "bob", 100, true);
    assert_false(suppression_set_knows(set, &ann));
    put(set, ann);
    assert_true(suppression_set_knows(set, &ann));
    assert_false(suppression_set_knows(set, &bob));
    assert_false(suppression_set_undone(set, &ann));
    assert_int_equal(known_of(set, 1), 1);
    put(set, said(1, 1, NULL, 0, false));
    assert_false(suppression_set_knows(set, &ann));
    assert_true(suppression_set_undone(set, &bob)); /* whoever it was about */
    put(set, said(1, 2, NULL, 0, false));
    put(set, said(1, 2, "bob", 0, true));
    put(set, said(2, 3, "ann", 0, true));
    assert_int_equal(known_of(set, 1), 2);
    suppression_set_forget(set, 1);
    assert_int_equal(known_of(set, 1), 0);
    assert_int_equal(known_of(set, 2), 1);
}

static void test_rows(void **state)
{
    uint8_t row_key[SUPPRESSION_KEY_BYTES], value[SUPPRESSION_VALUE_BYTES];
    struct suppression back, s = said(0x0102030405060708, 9, "ann", 1234567890123, true);
    (void)state;
    suppression_key(&s, row_key);
    suppression_value(&s, value);
    assert_int_equal(
        suppression_read(pl_span(row_key, sizeof(row_key)), pl_span(value, sizeof(value)), &back),
        PL_OK);
    assert_int_equal(back.account, s.account);
    assert_int_equal(back.since_ms, s.since_ms);
    assert_true(back.active);
    assert_memory_equal(back.id_hash, s.id_hash, ID_HASH_BYTES);
    assert_true(pl_id128_eq(&back.consent_id, &s.consent_id));
    value[SUPPRESSION_VALUE_BYTES - 1] = 2;
    assert_int_equal(
        suppression_read(pl_span(row_key, sizeof(row_key)), pl_span(value, sizeof(value)), &back),
        PL_ECORRUPT);
    assert_int_equal(suppression_read(pl_span(row_key, 23), pl_span(value, sizeof(value)), &back),
                     PL_ECORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_out_and_in, make, unmake),
        cmocka_unit_test_setup_teardown(test_any_order, make, unmake),
        cmocka_unit_test_setup_teardown(test_ids_that_are_masked, make, unmake),
        cmocka_unit_test_setup_teardown(test_any_id_of_an_event, make, unmake),
        cmocka_unit_test_setup_teardown(test_forget, make, unmake),
        cmocka_unit_test_setup_teardown(test_a_million_opt_outs_keep_nobody_waiting, make, unmake),
        cmocka_unit_test_setup_teardown(test_one_person_many_times, make, unmake),
        cmocka_unit_test_setup_teardown(test_what_is_known, make, unmake),
        cmocka_unit_test(test_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
