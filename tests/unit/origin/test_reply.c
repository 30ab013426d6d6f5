/* What becomes of an answer when its token or its account ends while it is made. */
#include "records_fixture.h"

#include "origin/accounts/account_states.h"
#include "origin/api/call.h"

#define SECRET "\"gathered\""

struct stage {
    struct records r;
    struct origin_parts parts;
    struct api api;
    struct api_worker worker;
    struct account account;
    struct token_record owner;
};

static struct stage *s;

static int setup(void **state)
{
    char text[TOKEN_TEXT_BYTES], request[128], audit_path[96];
    (void)state;
    s = calloc(1, sizeof(*s));
    records_init(&s->r);
    s->parts = (struct origin_parts){.clock = &s->r.clock, .log = &s->r.f.silent};
    snprintf(audit_path, sizeof(audit_path), "%s/audit.ndjson", s->r.f.dir);
    const char *audit_paths[] = {audit_path};
    const struct audit_config audit = {.paths = audit_paths,
                                       .path_count = 1,
                                       .create = true,
                                       .max_bytes = 1 << 20,
                                       .clock = &s->r.clock,
                                       .log = &s->r.f.silent};
    must(audit_open(&s->parts.audit, &audit, &s->r.why), &s->r.why);
    must(changelog_open(&s->parts.changelog, s->r.store, pl_random_system(), &s->r.why), &s->r.why);
    must(
        tokens_open(&s->parts.tokens, s->r.store, NULL, &s->r.clock, pl_random_system(), &s->r.why),
        &s->r.why);
    const struct accounts_config accounts = {.store = s->r.store,
                                             .changelog = s->parts.changelog,
                                             .keyring = s->r.keyring,
                                             .clock = &s->r.clock,
                                             .random = pl_random_system(),
                                             .log = &s->r.f.silent};
    must(accounts_open(&s->parts.accounts, &accounts, &s->r.why), &s->r.why);
    must(accounts_create(s->parts.accounts, parse(&s->r, "{\"name\":\"a\"}"), &s->account,
                         &s->r.why),
         &s->r.why);
    snprintf(request, sizeof(request), "{\"role\":\"owner\",\"account\":\"%016llx\"}",
             (unsigned long long)s->account.id);
    must(tokens_create(s->parts.tokens, parse(&s->r, request), &s->owner, text, &s->r.why),
         &s->r.why);
    s->api.parts = &s->parts;
    s->worker = (struct api_worker){.api = &s->api, .parser = s->r.parser};
    must(json_writer_new(&s->worker.writer, false), &s->r.why);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    json_writer_free(s->worker.writer);
    accounts_close(s->parts.accounts);
    tokens_close(s->parts.tokens);
    changelog_close(s->parts.changelog);
    audit_close(s->parts.audit);
    records_release(&s->r);
    free(s);
    return 0;
}

/* ---- handlers that something happens to */

static enum pl_err give(struct api_worker *worker, struct api_call *call, struct pl_why *why)
{
    (void)call, (void)why;
    json_write_text(worker->writer, "gathered");
    return PL_OK;
}

static enum pl_err give_while_revoked(struct api_worker *worker, struct api_call *call,
                                      struct pl_why *why)
{
    must(tokens_revoke(s->parts.tokens, &s->owner.id, why), why);
    return give(worker, call, why);
}

static void begin_deletion(void)
{
    struct pl_why why = {0};
    must(accounts_delete_again(s->parts.accounts, s->account.id, true, s->r.now_ms, NULL, &why),
         &why);
}

static enum pl_err give_while_deleted(struct api_worker *worker, struct api_call *call,
                                      struct pl_why *why)
{
    begin_deletion();
    return give(worker, call, why);
}

/* The status; whether what was gathered went out. */
static int answer(const struct api_route *route, const char *body, bool *gives)
{
    struct api_call call = {
        .api = &s->api, .route = route, .token = s->owner, .target = {.account = s->account.id}};
    pl_buf_init(&call.query, 1);
    pl_buf_init(&call.body, 256);
    pl_buf_init(&call.reply, 4096);
    must(pl_buf_append_span(&call.body, pl_span_str(body)), &s->r.why);
    api_work(&s->worker, &call);
    must(pl_buf_terminate(&call.reply), &s->r.why);
    *gives = strstr((char *)call.reply.data, SECRET) != NULL;
    pl_buf_release(&call.body);
    pl_buf_release(&call.reply);
    return call.status;
}

static void test_data_is_not_given_to_a_token_that_ended(void **state)
{
    static const struct api_route routes[] = {
        {HTTP_GET, "x", API_OWNER, NULL, give_while_revoked, 0},
        {HTTP_GET, "x", API_OWNER, "events.export", give_while_revoked, API_STREAMS},
        {HTTP_POST, "x", API_OWNER, "events.export", give_while_revoked, API_STREAMS},
        {HTTP_POST, "x", API_OWNER, "visitor.show", give_while_revoked, API_GIVES},
    };
    bool gives;
    (void)state;
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        assert_int_equal(answer(&routes[i], "", &gives), 403);
        assert_false(gives);
    }
    /* What was done was done. */
    static const struct api_route change = {HTTP_POST,          "x", API_OWNER, "visitor.erase",
                                            give_while_revoked, 0};
    assert_int_equal(answer(&change, "", &gives), 200);
}

static void test_data_is_not_given_once_the_deletion_has_begun(void **state)
{
    static const struct api_route routes[] = {
        {HTTP_POST, "x", API_OWNER, "visitor.show", give_while_deleted, API_GIVES},
        {HTTP_GET, "x", API_OWNER, "events.export", give_while_deleted, API_STREAMS},
        {HTTP_POST, "x", API_OWNER, "events.export", give_while_deleted, API_STREAMS},
    };
    static const struct api_route before = {HTTP_POST,      "x",  API_OWNER,
                                            "visitor.show", give, API_GIVES};
    bool gives;
    (void)state;
    assert_int_equal(answer(&before, "", &gives), 200);
    assert_true(gives);
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        assert_int_equal(answer(&routes[i], "", &gives), 409);
        assert_false(gives);
    }
    /* How the deletion stands may be read to its end. */
    static const struct api_route record = {HTTP_GET, "x", API_OWNER, NULL, give, 0};
    assert_int_equal(answer(&record, "", &gives), 200);
    assert_true(gives);
}

/* The worker here has nothing to look a visitor up with. */
static void test_no_visitor_is_looked_up_once_the_deletion_has_begun(void **state)
{
    static const struct api_route routes[] = {
        {HTTP_POST, "x", API_OWNER, "visitor.show", api_visitor_profile, API_GIVES},
        {HTTP_POST, "x", API_OWNER, "visitor.export", api_visitor_export, API_GIVES},
        {HTTP_POST, "x", API_OWNER, "visitor.erase", api_visitor_erase, 0},
    };
    bool gives;
    (void)state;
    begin_deletion();
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++)
        assert_int_equal(answer(&routes[i], "{\"id\":\"ann\"}", &gives), 409);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_data_is_not_given_to_a_token_that_ended, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_data_is_not_given_once_the_deletion_has_begun, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_no_visitor_is_looked_up_once_the_deletion_has_begun,
                                        setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
