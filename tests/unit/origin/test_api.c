/* The API's parts that need no server: paths, and how often somebody may.
 * tests/system/origin.test.mjs asks every route of the real program. */
#include "origin/api/call.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static enum pl_err find(enum http_method method, const char *path, const struct api_route **route,
                        struct api_target *target, char allow[64])
{
    return api_route_find(api_routes, api_route_count, method, pl_span_str(path), route, target,
                          allow);
}

static void test_paths_lead_to_their_routes(void **state)
{
    static const struct {
        enum http_method method;
        const char *path;
        api_handler_fn handle;
    } cases[] = {
        {HTTP_GET, "accounts", api_account_list},
        {HTTP_HEAD, "accounts", api_account_list},
        {HTTP_POST, "accounts", api_account_create},
        {HTTP_GET, "accounts/00000000000000aa", api_account_get},
        {HTTP_PUT, "accounts/00000000000000aa/config", api_config_put},
        {HTTP_GET, "accounts/00000000000000aa/events", api_events_export},
        {HTTP_POST, "edges/000102030405060708090a0b0c0d0e0f/revoke", api_edge_revoke},
        {HTTP_DELETE, "tokens/000102030405060708090a0b0c0d0e0f", api_token_revoke},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct api_route *route = NULL;
        struct api_target target;
        char allow[64];
        assert_int_equal(find(cases[i].method, cases[i].path, &route, &target, allow), PL_OK);
        assert_ptr_equal(route->handle, cases[i].handle);
        if (strstr(cases[i].path, "aa") != NULL)
            assert_int_equal(target.account, 0xaa);
        if (strstr(cases[i].path, "0001") != NULL)
            assert_int_equal(target.id.bytes[15], 0x0f);
    }
}

static void test_other_paths_lead_nowhere(void **state)
{
    static const char *const paths[] = {
        "",
        "/",
        "accounts/",
        "/accounts",
        "accountsx",
        "accounts/0",
        "accounts/0000000000000000",
        "accounts/00000000000000AA",
        "accounts/00000000000000aa/",
        "accounts/00000000000000aa/nothing",
        "accounts/00000000000000aa/config/1",
        "accounts//config",
        "accounts/%30000000000000aa",
        "{account}",
        "accounts/{account}",
        "tokens/00000000000000aa",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        const struct api_route *route;
        struct api_target target;
        char allow[64];
        assert_int_equal(find(HTTP_GET, paths[i], &route, &target, allow), PL_ENOTFOUND);
    }
}

static void test_other_methods_are_told_what_is_allowed(void **state)
{
    const struct api_route *route;
    struct api_target target;
    char allow[64];
    (void)state;
    assert_int_equal(find(HTTP_PATCH, "accounts", &route, &target, allow), PL_EDENIED);
    assert_string_equal(allow, "POST, GET, HEAD");
    assert_int_equal(find(HTTP_GET, "keyring/rewrap", &route, &target, allow), PL_EDENIED);
    assert_string_equal(allow, "POST");
    assert_int_equal(find(HTTP_DELETE, "accounts/00000000000000aa", &route, &target, allow),
                     PL_EDENIED);
}

/* Reading what is no visitor's: the only routes that the audit log may pass over. */
static void test_what_changes_or_gives_out_is_audited(void **state)
{
    static const char *const quiet[] = {
        "accounts",
        "accounts/{account}",
        "accounts/{account}/records",
        "accounts/{account}/deletion",
        "accounts/{account}/holds",
        "accounts/{account}/certificate",
        "accounts/{account}/record",
        "certificates",
        "certificates/keys",
        "audit",
        "audit/head",
        "accounts/{account}/config",
        "edges",
        "accounts/{account}/outcomes",
        "accounts/{account}/erasures",
        "accounts/{account}/erasures/{id}",
        "accounts/{account}/counts",
        "counts",
        "tokens",
        "keyring/orphans",
        "keyring/lost",
    };
    (void)state;
    for (size_t i = 0; i < api_route_count; i++) {
        const struct api_route *route = &api_routes[i];
        bool may_be_quiet = false;
        for (size_t q = 0; q < sizeof(quiet) / sizeof(quiet[0]); q++)
            may_be_quiet |= route->method == HTTP_GET && strcmp(route->pattern, quiet[q]) == 0;
        if (!may_be_quiet && route->action == NULL)
            fail_msg("%s has no action", route->pattern);
        if (route->action != NULL)
            assert_int_equal(strspn(route->action, "abcdefghijklmnopqrstuvwxyz.-"),
                             strlen(route->action));
    }
}

/* Nothing that gives out an account's data is open to auditors, nothing of everybody's to owners
 * but a list of their own, and an operator may do all. */
static void test_roles_keep_to_what_they_are_for(void **state)
{
    (void)state;
    for (size_t i = 0; i < api_route_count; i++) {
        const struct api_route *route = &api_routes[i];
        bool of_account = strstr(route->pattern, "{account}") != NULL;
        bool of_owner = (route->roles & API_OWNER) != 0;
        bool own_only = (route->how & API_OWN_ONLY) != 0;
        if ((route->roles & API_OPERATOR) == 0 || (of_owner && !of_account && !own_only))
            fail_msg("roles of %s", route->pattern);
        if (own_only && (route->method != HTTP_GET || of_account))
            fail_msg("an owner's part of %s", route->pattern);
        if ((route->roles & API_AUDITOR) != 0 && (route->method != HTTP_GET || api_streams(route)))
            fail_msg("an auditor at %s", route->pattern);
    }
}

static void test_every_error_has_a_status(void **state)
{
    (void)state;
    for (int err = PL_ENOMEM; err <= PL_EUNSUPPORTED; err++) {
        int status = api_status_of((enum pl_err)err);
        assert_in_range(status, 400, 503);
    }
    assert_int_equal(api_status_of(PL_EINVAL), 400);
    assert_int_equal(api_status_of(PL_ENOSPC), 503);
    assert_int_equal(api_status_of((enum pl_err)999), 500);
}

/* ---- rates */

#define BURST    20
#define EVERY_MS INT64_C(3000)

static struct rates *rates;

static int setup(void **state)
{
    (void)state;
    return rates_new(&rates, (struct rate){BURST, EVERY_MS});
}

static int teardown(void **state)
{
    (void)state;
    rates_free(rates);
    return 0;
}

static void take_times(int times, struct pl_span key, int64_t mono_ms)
{
    for (int i = 0; i < times; i++)
        assert_int_equal(rates_take(rates, key, mono_ms), 0);
}

static void test_a_burst_passes_and_then_one_at_a_time(void **state)
{
    struct pl_span a = pl_span("\x7f\0\0\1", 4), b = pl_span("\x7f\0\0\2", 4);
    (void)state;
    take_times(BURST, a, 1000);
    assert_int_equal(rates_take(rates, a, 2000), EVERY_MS - 1000);
    assert_int_equal(rates_take(rates, a, 1000 + EVERY_MS - 1), 1);
    take_times(BURST, b, 2000);
    /* Its time comes although it was asked for all along. */
    take_times(1, a, 1000 + EVERY_MS);
    assert_int_equal(rates_take(rates, a, 1000 + EVERY_MS), EVERY_MS);
    /* After a rest it may burst again, and no more than that. */
    take_times(BURST, a, 1000 + 1000 * EVERY_MS);
    assert_int_equal(rates_take(rates, a, 1000 + 1000 * EVERY_MS), EVERY_MS);
}

static void test_one_host_cannot_hide_in_its_ipv6_network(void **state)
{
    uint8_t peer[16] = {0x20, 0x01, 0x0d, 0xb8};
    (void)state;
    for (int i = 0; i < BURST; i++) {
        peer[15] = (uint8_t)i;
        take_times(1, pl_span(peer, 16), 5);
    }
    peer[9] = 9;
    assert_true(rates_take(rates, pl_span(peer, 16), 5) > 0);
    peer[7] = 1;
    take_times(1, pl_span(peer, 16), 5);
}

static void test_many_peers_do_not_grow_it(void **state)
{
    struct pl_span busy = pl_span("\x0a\0\0\1", 4);
    (void)state;
    for (uint32_t i = 0; i < 100000; i++) {
        uint8_t peer[4];
        pl_store_u32(peer, 0xc0000000 + i);
        take_times(1, pl_span(peer, 4), 1);
    }
    /* A full table still counts. */
    take_times(BURST, busy, 2);
    assert_true(rates_take(rates, busy, 2) > 0);
}

/* ---- places */

static void test_nobody_takes_all_places(void **state)
{
    struct places *p;
    (void)state;
    assert_int_equal(places_new(&p, 5, 2), PL_OK);
    assert_int_equal(places_take(p, 7), PLACES_TAKEN);
    assert_int_equal(places_take(p, 7), PLACES_TAKEN);
    assert_int_equal(places_take(p, 7), PLACES_OWN_FULL);
    for (uint64_t key = 0; key < 3; key++)
        assert_int_equal(places_take(p, key), PLACES_TAKEN);
    assert_int_equal(places_take(p, 3), PLACES_FULL);
    assert_int_equal(places_count(p), 5);
    places_leave(p, 7);
    assert_int_equal(places_take(p, 7), PLACES_TAKEN);
    places_leave(p, 1);
    assert_int_equal(places_take(p, 7), PLACES_OWN_FULL);
    assert_int_equal(places_take(p, 3), PLACES_TAKEN);
    assert_int_equal(places_take(p, 1), PLACES_FULL);
    places_free(p);
    /* Of one place all is anybody's. */
    assert_int_equal(places_new(&p, 1, 1), PL_OK);
    assert_int_equal(places_take(p, 1), PLACES_TAKEN);
    assert_int_equal(places_take(p, 2), PLACES_FULL);
    places_leave(p, 1);
    assert_int_equal(places_take(p, 2), PLACES_TAKEN);
    places_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths_lead_to_their_routes),
        cmocka_unit_test(test_other_paths_lead_nowhere),
        cmocka_unit_test(test_other_methods_are_told_what_is_allowed),
        cmocka_unit_test(test_what_changes_or_gives_out_is_audited),
        cmocka_unit_test(test_roles_keep_to_what_they_are_for),
        cmocka_unit_test(test_every_error_has_a_status),
        cmocka_unit_test(test_nobody_takes_all_places),
        cmocka_unit_test_setup_teardown(test_a_burst_passes_and_then_one_at_a_time, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_one_host_cannot_hide_in_its_ipv6_network, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_many_peers_do_not_grow_it, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
