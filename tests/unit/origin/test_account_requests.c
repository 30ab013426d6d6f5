/* Asking for an account's deletion, when the account is not well. */
#include "accounts_fixture.h"

#include "origin/accounts/account_item.h"
#include "origin/accounts/account_states.h"

/* Nothing of a request concerns edges, and neither does the config that they have. */
static void test_a_damaged_config_hinders_no_request(void **state)
{
    struct holds *holds;
    struct account account = create("{\"name\":\"a\"}"), out;
    uint64_t version;
    uint8_t key[16];
    (void)state;
    must(holds_open(&holds, r.store, NULL, &r.clock, pl_random_system(), &r.why), &r.why);
    must(
        accounts_publish(accounts, account.id, PL_SPAN_LIT("{\"campaigns\":[]}"), &version, &r.why),
        &r.why);
    account_config_key(account.id, version, key);
    must(store_put(r.store, FAMILY_CONFIGS, pl_span(key, sizeof(key)), PL_SPAN_LIT("\x01{"), true,
                   &r.why),
         &r.why);
    const uint64_t position = changelog_position(changelog);

    must(accounts_request_deletion(accounts, holds, account.id, "they asked", &out, &r.why),
         &r.why);
    holds_close(holds);
    reopen();
    must(holds_open(&holds, r.store, NULL, &r.clock, pl_random_system(), &r.why), &r.why);
    must(accounts_get(accounts, account.id, &out), &r.why);
    assert_int_equal(out.requested_ms, r.now_ms);
    must(accounts_withdraw_deletion(accounts, account.id, &out, &r.why), &r.why);
    assert_false(out.was_so);
    must(accounts_request_deletion(accounts, holds, account.id, "they did", &out, &r.why), &r.why);
    assert_int_equal(out.state, ACCOUNT_ACTIVE);
    assert_int_equal(changelog_position(changelog), position);

    must(accounts_confirm_deletion(accounts, holds, account.id, &out.request_id, &out, &r.why),
         &r.why);
    assert_int_equal(out.state, ACCOUNT_DELETING);
    assert_int_equal(changelog_position(changelog), position + 1);
    holds_close(holds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_damaged_config_hinders_no_request, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
