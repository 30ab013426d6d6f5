#include "records_fixture.h"

#include "origin/first_start.h"

static struct records r;
static struct changelog *changelog;

static int setup(void **state)
{
    (void)state;
    records_init(&r);
    must(changelog_open(&changelog, r.store, pl_random_system(), &r.why), &r.why);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    changelog_close(changelog);
    records_release(&r);
    return 0;
}

static void finish(void)
{
    must(first_start_finish(r.store, r.keyring, changelog, &r.f.silent, &r.why), &r.why);
}

static bool is_new(void)
{
    bool is_new = false;
    must(first_start_check_format(r.store, &is_new, &r.why), &r.why);
    return is_new;
}

/* The sealing key that edges are told of. */
static void announced_key(uint8_t out[PL_X25519_BYTES])
{
    static struct catalog_item item;
    struct pl_id128 epoch;
    struct pl_buf page;
    uint64_t position = 0;
    bool caught_up;
    pl_buf_init(&page, 1u << 16);
    must(changelog_feed(changelog, &epoch, &position, 1u << 16, &page, &caught_up), &r.why);
    struct pl_reader reader = pl_reader(pl_buf_span(&page));
    uint32_t len = pl_get_u32(&reader);
    must(catalog_decode(pl_get_span(&reader, len), &item, &r.why), &r.why);
    assert_int_equal(reader.rest.len, 0);
    assert_int_equal(item.kind, CATALOG_SEAL_KEY);
    memcpy(out, item.seal_public, PL_X25519_BYTES);
    pl_buf_release(&page);
}

static void assert_announced(void)
{
    uint8_t current[PL_X25519_BYTES], told[PL_X25519_BYTES];
    must(keyring_current_seal_key(r.keyring, current), &r.why);
    announced_key(told);
    assert_memory_equal(current, told, sizeof(told));
}

static void test_happens_once(void **state)
{
    (void)state;
    assert_true(is_new());
    finish();
    assert_false(is_new());
    assert_announced();
    assert_int_equal(changelog_position(changelog), 1);
    finish();
    assert_int_equal(changelog_position(changelog), 1);
}

static void test_goes_on_where_a_crash_left_it(void **state)
{
    uint8_t made[PL_X25519_BYTES], told[PL_X25519_BYTES];
    (void)state;
    must(keyring_new_seal_key(r.keyring, made, &r.why), &r.why);
    assert_true(is_new());
    finish();
    announced_key(told);
    assert_memory_equal(made, told, sizeof(told));
}

static void test_a_newer_key_is_told(void **state)
{
    uint8_t made[PL_X25519_BYTES];
    (void)state;
    finish();
    must(keyring_new_seal_key(r.keyring, made, &r.why), &r.why);
    finish();
    assert_announced();
    assert_int_equal(changelog_position(changelog), 2);
}

static void test_another_format_is_refused(void **state)
{
    bool is_new;
    (void)state;
    finish();
    must(store_put(r.store, FAMILY_META, PL_SPAN_LIT("format"), PL_SPAN_LIT("2"), true, &r.why),
         &r.why);
    assert_int_equal(first_start_check_format(r.store, &is_new, &r.why), PL_EUNSUPPORTED);
    assert_non_null(strstr(r.why.text, "format 2"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_happens_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_goes_on_where_a_crash_left_it, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_newer_key_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(test_another_format_is_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
