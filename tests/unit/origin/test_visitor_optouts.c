/* Who objects by mail, and takes it back. */
#include "records_fixture.h"

#include "origin/subjects/visitor_optouts.h"

static struct records r;
static struct changelog *changelog;
static struct suppressions *suppressions;

static void open_all(void)
{
    must(changelog_open(&changelog, r.store, pl_random_system(), &r.why), &r.why);
    const struct suppressions_config config = {.store = r.store, .changelog = changelog};
    must(suppressions_open(&suppressions, &config, &r.why), &r.why);
}

static void close_all(void)
{
    suppressions_close(suppressions);
    changelog_close(changelog);
}

static int setup(void **state)
{
    (void)state;
    records_init(&r);
    open_all();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    close_all();
    records_release(&r);
    return 0;
}

static void restart(void)
{
    close_all();
    records_close(&r);
    records_open(&r);
    open_all();
}

static void say_no(uint8_t who, uint8_t consent)
{
    struct suppression said = {
        .account = 7, .consent_id = {{who, consent}}, .since_ms = r.now_ms, .active = true};
    memset(said.id_hash, who, sizeof(said.id_hash));
    must(suppressions_record(suppressions, &said, &r.why), &r.why);
}

static bool held(uint8_t who)
{
    uint8_t hash[ID_HASH_BYTES];
    memset(hash, who, sizeof(hash));
    return suppressions_hold(suppressions, 7, hash, r.now_ms);
}

static enum pl_err take_back(uint8_t who, uint8_t place, size_t *ended)
{
    struct identity list[] = {{.kind = IDENTITY_USER}, {.kind = IDENTITY_PLACE}};
    const struct identities ids = {.list = list, .count = 2};
    memset(list[0].hash, who, sizeof(list[0].hash));
    memset(list[1].hash, place, sizeof(list[1].hash));
    return visitor_optouts_take_back(suppressions, 7, &ids, ended, &r.why);
}

static void every_optout_of_the_person_ends_and_no_other(void **state)
{
    size_t ended;
    (void)state;
    for (uint8_t i = 0; i < 40; i++)
        say_no('a', i);
    say_no('b', 0);
    say_no('c', 0);
    must(take_back('a', 'c', &ended), &r.why);
    assert_int_equal(ended, 40);
    for (int round = 0; round < 2; round++) {
        assert_true(!held('a') && held('b') && held('c'));
        must(take_back('a', 'c', &ended), &r.why);
        assert_int_equal(ended, 0);
        restart();
    }
}

/* Nor is any other looked at: they may be millions. */
static void a_stranger_s_damaged_row_is_in_nobody_s_way(void **state)
{
    static const uint8_t key[8 + 16] = {0, 0, 0, 0, 0, 0, 0, 7, 1};
    size_t ended;
    (void)state;
    say_no('a', 0);
    must(store_put(r.store, FAMILY_SUPPRESSIONS, pl_span(key, sizeof(key)), PL_SPAN_LIT("rot"),
                   true, &r.why),
         &r.why);
    must(take_back('a', 'a', &ended), &r.why);
    assert_int_equal(ended, 1);
    assert_false(held('a'));
}

static void what_the_disk_did_not_take_can_be_taken_back_again(void **state)
{
    size_t ended;
    (void)state;
    say_no('a', 0);
    say_no('a', 1);
    records_disk(false);
    assert_int_not_equal(take_back('a', 'b', &ended), PL_OK);
    records_recover(&r);
    assert_int_equal(ended, 0);
    assert_true(held('a'));
    must(take_back('a', 'b', &ended), &r.why);
    assert_int_equal(ended, 2);
    assert_false(held('a'));
    restart();
    assert_false(held('a'));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_optout_of_the_person_ends_and_no_other, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_stranger_s_damaged_row_is_in_nobody_s_way, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_the_disk_did_not_take_can_be_taken_back_again, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
