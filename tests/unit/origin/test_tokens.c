#include "records_fixture.h"

#include "origin/accounts/tokens.h"
#include "proto/base/text.h"

#define BOOTSTRAP "pt_0000000000000000000000000000000000000000000000000000000000000001"

static struct records r;
static struct tokens *tokens;
static char bootstrap_hash[65];

static void open_tokens(const char *hash)
{
    must(tokens_open(&tokens, r.store, hash, &r.clock, pl_random_system(), &r.why), &r.why);
}

static int setup(void **state)
{
    uint8_t hash[PL_SHA256_BYTES];
    (void)state;
    records_init(&r);
    pl_sha256_one(PL_SPAN_LIT(BOOTSTRAP), hash);
    pl_hex_encode(pl_span(hash, sizeof(hash)), bootstrap_hash);
    open_tokens(bootstrap_hash);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tokens_close(tokens);
    records_release(&r);
    return 0;
}

static void reopen(const char *hash)
{
    tokens_close(tokens);
    records_close(&r);
    records_open(&r);
    open_tokens(hash);
}

static enum pl_err create(const char *request, struct token_record *out, char *text)
{
    return tokens_create(tokens, parse(&r, request), out, text, &r.why);
}

static enum pl_err check(const char *text, struct token_record *out)
{
    return tokens_check(tokens, pl_span_str(text), out);
}

static void test_a_token_is_what_it_was_made_as(void **state)
{
    (void)state;
    struct token_record made, found;
    char text[TOKEN_TEXT_BYTES];
    must(create("{\"role\":\"owner\",\"account\":\"00000000000000aa\",\"name\":\"ci\"}", &made,
                text),
         &r.why);
    assert_int_equal(strlen(text), TOKEN_TEXT_BYTES - 1);
    must(check(text, &found), &r.why);
    assert_int_equal(found.role, ROLE_OWNER);
    assert_int_equal(found.account, 0xaa);
    assert_true(pl_id128_eq(&found.id, &made.id));
    reopen(bootstrap_hash);
    must(check(text, &found), &r.why);
    assert_string_equal(found.name, "ci");

    text[40] ^= 1;
    assert_int_equal(check(text, &found), PL_EAUTH);
    text[40] ^= 1;
    text[TOKEN_TEXT_BYTES - 2] = '\0';
    assert_int_equal(check(text, &found), PL_EAUTH);
    assert_int_equal(check("", &found), PL_EAUTH);
}

static void test_the_text_is_not_stored(void **state)
{
    (void)state;
    struct token_record made;
    char text[TOKEN_TEXT_BYTES], command[256];
    must(create("{\"role\":\"auditor\"}", &made, text), &r.why);
    records_close(&r);
    snprintf(command, sizeof(command), "grep -rqa %s %s/store", text + 3, r.f.dir);
    assert_int_not_equal(system(command), 0);
    records_open(&r);
    tokens_close(tokens);
    open_tokens(bootstrap_hash);
}

static void test_expiry_follows_the_clock(void **state)
{
    (void)state;
    struct token_record token;
    char text[TOKEN_TEXT_BYTES];
    must(create("{\"role\":\"operator\",\"expires_at\":\"2026-01-02T00:00:00Z\"}", &token, text),
         &r.why);
    must(check(text, &token), &r.why);
    r.now_ms = DAY_ONE_MS + PL_DAY_MS - 1;
    must(check(text, &token), &r.why);
    r.now_ms++;
    assert_int_equal(check(text, &token), PL_EEXPIRED);
    assert_int_equal(create("{\"role\":\"operator\",\"expires_at\":\"2026-01-01\"}", &token, text),
                     PL_EINVAL);
    assert_string_equal(r.why.field, "expires_at");
}

static void test_revocation_lasts(void **state)
{
    (void)state;
    struct token_record token, found;
    char text[TOKEN_TEXT_BYTES];
    must(create("{\"role\":\"operator\"}", &token, text), &r.why);
    must(tokens_revoke(tokens, &token.id, &r.why), &r.why);
    must(tokens_revoke(tokens, &token.id, &r.why), &r.why);
    assert_int_equal(check(text, &found), PL_EEXPIRED);
    reopen(bootstrap_hash);
    memset(&found, 0, sizeof(found));
    assert_int_equal(check(text, &found), PL_EEXPIRED);
    assert_true(pl_id128_eq(&found.id, &token.id)); /* whose it was */
    token.id.bytes[0] ^= 1;
    assert_int_equal(tokens_revoke(tokens, &token.id, &r.why), PL_ENOTFOUND);
}

static void test_an_account_takes_its_owners_tokens_along(void **state)
{
    (void)state;
    struct token_record token;
    char of_a[TOKEN_TEXT_BYTES], of_b[TOKEN_TEXT_BYTES], operators[TOKEN_TEXT_BYTES];
    size_t count = 9;
    must(create("{\"role\":\"owner\",\"account\":\"00000000000000aa\"}", &token, of_a), &r.why);
    must(create("{\"role\":\"owner\",\"account\":\"00000000000000bb\"}", &token, of_b), &r.why);
    must(create("{\"role\":\"operator\"}", &token, operators), &r.why);
    must(create("{\"role\":\"owner\",\"account\":\"00000000000000aa\"}", &token, of_a), &r.why);
    assert_int_equal(tokens_forget(tokens, 0, &count, &r.why), PL_EINVAL);
    must(tokens_forget(tokens, 0xaa, &count, &r.why), &r.why);
    assert_int_equal(count, 2);
    must(tokens_forget(tokens, 0xaa, &count, &r.why), &r.why);
    assert_int_equal(count, 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(check(of_a, &token), PL_EAUTH);
        must(check(of_b, &token), &r.why);
        must(check(operators, &token), &r.why);
        assert_int_equal(count_rows(&r, FAMILY_TOKENS), 2);
        reopen(bootstrap_hash);
    }
}

static void test_the_bootstrap_token_can_be_taken_away(void **state)
{
    (void)state;
    struct token_record found;
    must(check(BOOTSTRAP, &found), &r.why);
    assert_int_equal(found.role, ROLE_OPERATOR);
    reopen("");
    assert_int_equal(check(BOOTSTRAP, &found), PL_EAUTH);

    struct tokens *bad;
    assert_int_equal(tokens_open(&bad, r.store, "abc", &r.clock, pl_random_system(), &r.why),
                     PL_EINVAL);
    assert_string_equal(r.why.field, "bootstrap_token_sha256");
}

static void test_refuses_by_field(void **state)
{
    static const struct {
        const char *field, *text;
    } cases[] = {
        {"role", "{}"},
        {"role", "{\"role\":\"king\"}"},
        {"role", "{\"role\":1}"},
        {"account", "{\"role\":\"owner\"}"},
        {"account", "{\"role\":\"owner\",\"account\":\"0000000000000000\"}"},
        {"account", "{\"role\":\"operator\",\"account\":\"00000000000000aa\"}"},
        {"name", "{\"role\":\"operator\",\"name\":\"a\\u0007\"}"},
        {"expires_at", "{\"role\":\"operator\",\"expires_at\":\"soon\"}"},
        {"token", "{\"role\":\"operator\",\"token\":\"mine\"}"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct token_record token;
        char text[TOKEN_TEXT_BYTES];
        assert_int_equal(create(cases[i].text, &token, text), PL_EINVAL);
        assert_string_equal(r.why.field, cases[i].field);
    }
    assert_int_equal(count_rows(&r, FAMILY_TOKENS), 0);
}

/* The disk fails a change, and after the recovery it is there all the same. */
static void test_a_failed_change_that_turns_up_counts(void **state)
{
    (void)state;
    struct pl_buf row;
    struct token_record made, other;
    char text[TOKEN_TEXT_BYTES], more[TOKEN_TEXT_BYTES];
    must(create("{\"role\":\"auditor\"}", &made, text), &r.why);
    records_take(&r, FAMILY_TOKENS, pl_span(made.id.bytes, 16), &row);
    reopen(bootstrap_hash);
    assert_int_equal(check(text, &other), PL_EAUTH);
    records_disk(false);
    assert_int_not_equal(create("{\"role\":\"auditor\"}", &other, more), PL_OK);
    records_recover(&r);
    records_put(&r, FAMILY_TOKENS, pl_span(made.id.bytes, 16), &row);
    must(create("{\"role\":\"auditor\"}", &other, more), &r.why);
    must(check(text, &other), &r.why);
    assert_true(pl_id128_eq(&other.id, &made.id));
}

static void test_revoked_and_expired_tokens_leave_room(void **state)
{
    (void)state;
    struct pl_buf row;
    struct token_record made;
    char text[TOKEN_TEXT_BYTES];
    must(create("{\"role\":\"auditor\",\"expires_at\":\"2026-01-02\"}", &made, text), &r.why);
    pl_buf_init(&row, 8192);
    must(store_get(r.store, FAMILY_TOKENS, pl_span(made.id.bytes, 16), &row), &r.why);
    for (unsigned i = 0; i < 10000; i++) {
        uint8_t key[16] = {0x77};
        pl_store_u64(key + 8, i);
        must(store_put(r.store, FAMILY_TOKENS, pl_span(key, 16), pl_buf_span(&row), false, &r.why),
             &r.why);
    }
    pl_buf_release(&row);
    reopen(bootstrap_hash);
    assert_int_equal(create("{\"role\":\"auditor\"}", &made, text), PL_ELIMIT);
    r.now_ms += PL_DAY_MS;
    must(create("{\"role\":\"auditor\"}", &made, text), &r.why);
}

static size_t known(void)
{
    struct token_record *list;
    size_t count;
    must(tokens_list(tokens, &list, &count), &r.why);
    free(list);
    return count;
}

static void test_ended_tokens_go_with_time(void **state)
{
    (void)state;
    struct token_record lives, revoked, brief, made;
    char of_lives[TOKEN_TEXT_BYTES], of_revoked[TOKEN_TEXT_BYTES], of_brief[TOKEN_TEXT_BYTES],
        text[TOKEN_TEXT_BYTES];
    must(create("{\"role\":\"auditor\"}", &lives, of_lives), &r.why);
    must(create("{\"role\":\"auditor\"}", &revoked, of_revoked), &r.why);
    must(create("{\"role\":\"auditor\",\"expires_at\":\"2026-01-03\"}", &brief, of_brief), &r.why);
    r.now_ms = DAY_ONE_MS + PL_DAY_MS;
    must(tokens_revoke(tokens, &revoked.id, &r.why), &r.why);
    r.now_ms += 100 * PL_DAY_MS - 1;
    must(create("{\"role\":\"auditor\"}", &made, text), &r.why);
    assert_int_equal(check(of_revoked, &made), PL_EEXPIRED);
    r.now_ms++; /* the revoked one's time has come, not the other's */
    must(create("{\"role\":\"auditor\"}", &made, text), &r.why);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(check(of_revoked, &made), PL_EAUTH);
        assert_int_equal(check(of_brief, &made), PL_EEXPIRED);
        must(check(of_lives, &made), &r.why);
        assert_int_equal(count_rows(&r, FAMILY_TOKENS), 4);
        reopen(bootstrap_hash);
    }
    assert_int_equal(tokens_revoke(tokens, &revoked.id, &r.why), PL_ENOTFOUND);
    r.now_ms += PL_DAY_MS;
    must(create("{\"role\":\"auditor\"}", &made, text), &r.why);
    assert_int_equal(check(of_brief, &made), PL_EAUTH);
    assert_int_equal(known(), 4);
}

/* Each at its own time: the newest are the ones that stay. */
static void test_many_ended_tokens_do_not_fill_the_table(void **state)
{
    (void)state;
    struct token_record first, last, made;
    char of_first[TOKEN_TEXT_BYTES], of_last[TOKEN_TEXT_BYTES], text[TOKEN_TEXT_BYTES];
    must(create("{\"role\":\"auditor\"}", &first, of_first), &r.why);
    must(tokens_revoke(tokens, &first.id, &r.why), &r.why);
    for (unsigned i = 0; i < 1100; i++) {
        r.now_ms += 1000;
        must(create("{\"role\":\"auditor\"}", &last, of_last), &r.why);
        must(tokens_revoke(tokens, &last.id, &r.why), &r.why);
    }
    must(create("{\"role\":\"auditor\"}", &made, text), &r.why);
    assert_int_equal(known(), 1001);
    assert_int_equal(check(of_first, &made), PL_EAUTH);
    assert_int_equal(check(of_last, &made), PL_EEXPIRED);
    must(check(text, &made), &r.why);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_revoked_and_expired_tokens_leave_room, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_ended_tokens_go_with_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_ended_tokens_do_not_fill_the_table, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_failed_change_that_turns_up_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_token_is_what_it_was_made_as, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_text_is_not_stored, setup, teardown),
        cmocka_unit_test_setup_teardown(test_expiry_follows_the_clock, setup, teardown),
        cmocka_unit_test_setup_teardown(test_revocation_lasts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_account_takes_its_owners_tokens_along, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_the_bootstrap_token_can_be_taken_away, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_refuses_by_field, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
