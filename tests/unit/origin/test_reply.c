/* What becomes of an answer when its token or its account ends while it is made. */
#include "api_fixture.h"

#include "origin/accounts/account_states.h"

#define SECRET "\"gathered\""

static struct stage *s;
static struct api api;
static struct api_worker worker;
static struct token_record owner;

static int setup(void **state)
{
    char text[TOKEN_TEXT_BYTES];
    (void)state;
    s = stage_new(NULL, NULL);
    owner = make_owner_of(s, s->account.id, "", text);
    memset(&api, 0, sizeof(api));
    api.parts = &s->parts;
    worker = (struct api_worker){.api = &api, .parser = s->r.parser};
    must(json_writer_new(&worker.writer, false), &s->r.why);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    json_writer_free(worker.writer);
    stage_free(s);
    return 0;
}

/* ---- handlers that something happens to */

static enum pl_err give(struct api_worker *w, struct api_call *call, struct pl_why *why)
{
    (void)call, (void)why;
    json_write_text(w->writer, "gathered");
    return PL_OK;
}

static enum pl_err give_while_revoked(struct api_worker *w, struct api_call *call,
                                      struct pl_why *why)
{
    must(tokens_revoke(s->parts.tokens, &owner.id, why), why);
    return give(w, call, why);
}

static void begin_deletion(void)
{
    struct pl_why why = {0};
    must(accounts_delete_again(s->parts.accounts, s->account.id, true, s->r.now_ms, NULL, &why),
         &why);
}

static enum pl_err give_while_deleted(struct api_worker *w, struct api_call *call,
                                      struct pl_why *why)
{
    begin_deletion();
    return give(w, call, why);
}

/* The status; whether what was gathered went out. */
static int answer(const struct api_route *route, const char *body, bool *gives)
{
    struct api_call call = {
        .api = &api, .route = route, .token = owner, .target = {.account = s->account.id}};
    pl_buf_init(&call.query, 1);
    pl_buf_init(&call.body, 256);
    pl_buf_init(&call.reply, 4096);
    must(pl_buf_append_span(&call.body, pl_span_str(body)), &s->r.why);
    api_work(&worker, &call);
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
        CASE(test_data_is_not_given_to_a_token_that_ended),
        CASE(test_data_is_not_given_once_the_deletion_has_begun),
        CASE(test_no_visitor_is_looked_up_once_the_deletion_has_begun),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
