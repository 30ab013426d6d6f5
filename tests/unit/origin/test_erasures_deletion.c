/* Persons who are erased from accounts that are being deleted. */
#include "lifecycle_fixture.h"
#include "origin/subjects/eraser_slice.h"

static struct erasures *open_erasures(struct house *house)
{
    struct erasures *erasures;
    const struct erasures_config config = {.store = house->store,
                                           .keyring = house->keyring,
                                           .accounts = house->accounts,
                                           .holds = house->holds,
                                           .day_counts = house->day_counts,
                                           .clock = &house->clock,
                                           .random = pl_random_system(),
                                           .log = &house->log};
    must(erasures_open(&erasures, &config, &house->why), &house->why);
    return erasures;
}

/* A row that came behind the deletion's would stay for ever. */
static void test_none_begins_once_a_deletion_has(void **state)
{
    struct house *house = *state;
    struct identities ids = {.list = NULL};
    struct pl_id128 id;
    struct account account = new_account(house, "shop.example");
    struct erasures *erasures = open_erasures(house);
    const struct erasures_request request = {.account = account.id, .identities = &ids};
    must(erasures_erase(erasures, &request, &id, &house->why), &house->why);
    assert_int_equal(rows_of(house, FAMILY_ERASURES, account.id), 1);
    must(accounts_delete_now(house->accounts, house->holds, account.id, "asked to", &account,
                             &house->why),
         &house->why);
    assert_int_equal(erasures_erase(erasures, &request, &id, &house->why), PL_EEXPIRED);
    assert_non_null(strstr(house->why.text, "shop.example"));
    assert_int_equal(rows_of(house, FAMILY_ERASURES, account.id), 1);
    erasures_close(erasures);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_none_begins_once_a_deletion_has, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
