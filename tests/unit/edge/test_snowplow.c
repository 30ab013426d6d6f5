/* What golden files cannot show: limits, times, and that whatever comes of a batch, it is a named
 * error or whole events. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "edge/dialects/snowplow.h"
#include "edge/dialects/snowplow_parts.h"

#include <stdio.h>
#include <stdlib.h>

#define NOW_MS   INT64_C(1767225600000)
#define SCHEMA   "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4"
#define TRACKED  "\"aid\":\"app\",\"p\":\"web\",\"tv\":\"t\""
#define ENTITIES "iglu:com.snowplowanalytics.snowplow/contexts/jsonschema/1-0-0"

struct world {
    struct json_parser *json, *nested;
    struct json_writer *writer;
    struct event_reader *reader;
    struct pl_buf scratch, body, wire, exported;
    struct event event;
    int64_t corrected_ms; /* of the last one */
    size_t events;
    bool anonymous, claimed;
    const char *header;
};

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    assert_int_equal(json_parser_new(&w->json, LIMIT_BATCH_BYTES, LIMIT_JSON_DEPTH), PL_OK);
    assert_int_equal(json_parser_new(&w->nested, LIMIT_BATCH_BYTES, LIMIT_JSON_DEPTH), PL_OK);
    assert_int_equal(json_writer_new(&w->writer, false), PL_OK);
    assert_int_equal(event_reader_new(&w->reader), PL_OK);
    pl_buf_init(&w->scratch, DIALECT_SCRATCH_BYTES);
    assert_int_equal(pl_buf_reserve(&w->scratch, DIALECT_SCRATCH_BYTES), PL_OK);
    pl_buf_init(&w->body, 1 << 20);
    pl_buf_init(&w->wire, 1 << 20);
    pl_buf_init(&w->exported, 1 << 22);
    w->claimed = true;
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    json_parser_free(w->json);
    json_parser_free(w->nested);
    json_writer_free(w->writer);
    event_reader_free(w->reader);
    pl_buf_release(&w->scratch);
    pl_buf_release(&w->body);
    pl_buf_release(&w->wire);
    pl_buf_release(&w->exported);
    free(w);
    return 0;
}

static enum pl_err take_claim(void *ctx, const struct dialect_claim *claim, struct pl_why *why)
{
    struct world *w = ctx;
    (void)why;
    assert_true(claim->key_is_hint);
    w->anonymous = claim->anonymous;
    return PL_OK;
}

static enum pl_err take_event(void *ctx, struct event *event, struct pl_why *why)
{
    struct world *w = ctx;
    struct event back;
    pl_buf_reset(&w->wire);
    const enum pl_err err = event_encode(event, &w->wire);
    if (err != PL_OK)
        return pl_fail(why, err, "the event cannot be encoded");
    struct pl_span rest = pl_buf_span(&w->wire);
    assert_int_equal(event_read(w->reader, &rest, &back, NULL, NULL), PL_OK);
    w->corrected_ms = event_i64(&back, EVENT_CORRECTED_MS);
    assert_int_equal(event_write_json(&back, w->writer, &w->exported), PL_OK);
    pl_buf_append_str(&w->exported, "\n");
    w->events++;
    return PL_OK;
}

static bool is_claimed(void *ctx, const struct dialect_claim *claim)
{
    (void)claim;
    return ((struct world *)ctx)->claimed;
}

static bool any_header(const void *ctx, const char *name, struct pl_span *value)
{
    const struct world *w = ctx;
    *value = PL_SPAN_LIT("*");
    return w->header != NULL && strcmp(name, w->header) == 0;
}

static enum pl_err post(struct world *w, struct pl_span body, struct pl_why *why)
{
    const struct dialect_sink sink = {
        .ctx = w, .claim = take_claim, .emit = take_event, .is_claimed = is_claimed};
    const struct dialect_input input = {
        .method = DIALECT_POST,
        .body = body,
        .header = any_header,
        .header_ctx = w,
        .now_ms = NOW_MS,
        .json = w->json,
        .json_nested = w->nested,
        .scratch = &w->scratch,
        .event = &w->event,
    };
    struct dialect_outcome outcome = {0};
    *why = (struct pl_why){0};
    w->events = 0;
    pl_buf_reset(&w->exported);
    pl_buf_reset(&w->scratch);
    const enum pl_err err = dialect_snowplow.routes[0].decode(&input, &sink, &outcome, why);
    if (err != PL_OK) {
        assert_int_equal(why->err, err);
        assert_true(why->text[0] != '\0');
    }
    return err;
}

/* Elements as they stand between the brackets of data. */
static enum pl_err post_data(struct world *w, const char *data, struct pl_why *why)
{
    pl_buf_reset(&w->body);
    assert_int_equal(pl_buf_appendf(&w->body, "{\"schema\":\"" SCHEMA "\",\"data\":[%s]}", data),
                     PL_OK);
    return post(w, pl_buf_span(&w->body), why);
}

static void assert_exported(const struct world *w, const char *text)
{
    if (memmem(w->exported.data, w->exported.len, text, strlen(text)) == NULL)
        fail_msg("%s\n  is not in %.*s", text, (int)w->exported.len,
                 (const char *)w->exported.data);
}

static void test_items_are_events_of_their_own(void **state)
{
    struct world *w = *state;
    struct pl_why why;
    const char *data =
        "{" TRACKED ",\"e\":\"ti\",\"ti_id\":\"o\",\"ti_sk\":\"A\",\"ti_pr\":\"1.5\","
        "\"eid\":\"e-1\"},"
        "{" TRACKED ",\"e\":\"tr\",\"tr_id\":\"o\",\"tr_tt\":\"4\",\"eid\":\"e-2\"},"
        "{" TRACKED ",\"e\":\"ti\",\"ti_id\":\"o\",\"ti_sk\":\"B\",\"ti_pr\":2.25,\"ti_qu\":3},"
        "{" TRACKED ",\"e\":\"ti\",\"ti_sk\":\"C\"}";
    assert_int_equal(post_data(w, data, &why), PL_OK);
    assert_int_equal(w->events, 4);
    assert_exported(w, "\"message_id\":\"e-1\"");
    assert_exported(w, "\"items\":[{\"sku\":\"A\",\"price\":1.5}],\"order_id\":\"o\"");
    assert_exported(w, "\"items\":[{\"sku\":\"B\",\"price\":2.25,\"quantity\":3}]");
    assert_exported(w, "\"message_id\":\"e-2\"");
}

static void test_the_true_time_is_not_corrected(void **state)
{
    struct world *w = *state;
    struct pl_why why;
    assert_int_equal(
        post_data(w, "{" TRACKED ",\"e\":\"pv\",\"dtm\":\"1000\",\"stm\":\"3500\"}", &why), PL_OK);
    assert_int_equal(w->corrected_ms, NOW_MS - 2500);
    assert_int_equal(post_data(w,
                               "{" TRACKED ",\"e\":\"pv\",\"dtm\":\"1000\",\"stm\":\"3500\","
                               "\"ttm\":\"1200\"}",
                               &why),
                     PL_OK);
    assert_int_equal(w->corrected_ms, 1200);
    assert_exported(w, "\"client_time\":\"1970-01-01T00:00:01.000Z\"");
    /* Times at the ends of what fits must not overflow. */
    assert_int_equal(post_data(w,
                               "{" TRACKED ",\"e\":\"pv\",\"dtm\":\"-9223372036854775807\","
                               "\"stm\":\"9223372036854775807\"}",
                               &why),
                     PL_OK);
    assert_int_equal(post_data(w, "{" TRACKED ",\"e\":\"pv\",\"dtm\":\"soon\"}", &why), PL_OK);
    assert_exported(w, "\"dtm\":\"soon\"");
}

static void test_only_one_account_speaks(void **state)
{
    struct world *w = *state;
    struct pl_why why;
    const char *data = "{" TRACKED ",\"e\":\"pv\"},{\"aid\":\"second\",\"e\":\"pv\"}";
    assert_int_equal(post_data(w, data, &why), PL_OK);
    assert_int_equal(w->events, 2);
    w->claimed = false;
    assert_int_equal(post_data(w, data, &why), PL_EINVAL);
    assert_string_equal(why.field, "data[1].aid");
    assert_int_equal(post_data(w, "{" TRACKED ",\"e\":\"pv\"},{\"e\":\"pv\"}", &why), PL_OK);
}

static void test_anonymity_is_of_the_whole_request(void **state)
{
    struct world *w = *state;
    struct pl_why why;
    const char *data = "{" TRACKED ",\"e\":\"tr\",\"tr_id\":\"o\",\"duid\":\"secret\"},"
                       "{" TRACKED ",\"e\":\"ti\",\"ti_id\":\"o\",\"duid\":\"secret2\","
                       "\"fp\":\"secret3\",\"ip\":\"secret4\",\"ti_sk\":\"A\"}";
    w->header = "sp-anonymous";
    assert_int_equal(post_data(w, data, &why), PL_OK);
    assert_true(w->anonymous);
    assert_exported(w, "\"sku\":\"A\"");
    assert_null(memmem(w->exported.data, w->exported.len, "secret", 6));
}

static void test_versions_of_the_payload(void **state)
{
    struct world *w = *state;
    struct pl_why why;
    static const struct {
        const char *schema;
        enum pl_err err;
    } cases[] = {
        {"iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-0", PL_OK},
        {"iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4", PL_OK},
        {"iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-5", PL_EINVAL},
        {"iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-", PL_EINVAL},
        {"iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-40", PL_EINVAL},
        {"iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-1-0", PL_EINVAL},
        {"payload_data", PL_EINVAL},
        {"", PL_EINVAL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        pl_buf_reset(&w->body);
        pl_buf_appendf(&w->body, "{\"schema\":\"%s\",\"data\":[{" TRACKED ",\"e\":\"pv\"}]}",
                       cases[i].schema);
        assert_int_equal(post(w, pl_buf_span(&w->body), &why), cases[i].err);
        if (cases[i].err != PL_OK)
            assert_string_equal(why.field, "schema");
    }
}

/* count copies of one element, with a comma between. */
static void repeat(struct pl_buf *out, const char *element, size_t count)
{
    for (size_t i = 0; i < count; i++)
        assert_int_equal(pl_buf_appendf(out, "%s%s", i == 0 ? "" : ",", element), PL_OK);
}

static enum pl_err post_entities(struct world *w, const char *entity, size_t count,
                                 struct pl_why *why)
{
    struct pl_buf text;
    pl_buf_init(&text, 1 << 20);
    pl_buf_append_str(&text, "{" TRACKED ",\"e\":\"pv\",\"co\":\"{\\\"schema\\\":\\\"" ENTITIES
                             "\\\",\\\"data\\\":[");
    repeat(&text, entity, count);
    pl_buf_append(&text, "]}\"}", sizeof("]}\"}"));
    const enum pl_err err = post_data(w, (const char *)text.data, why);
    pl_buf_release(&text);
    return err;
}

static void test_limits(void **state)
{
    struct world *w = *state;
    struct pl_why why;
    struct pl_buf text;
    assert_int_equal(post_entities(w, "{}", 256, &why), PL_OK);
    assert_int_equal(post_entities(w, "{}", 257, &why), PL_ELIMIT);
    assert_string_equal(why.field, "data[0].co");

    pl_buf_init(&text, 1 << 20);
    repeat(&text, "{" TRACKED ",\"e\":\"pv\"}", LIMIT_BATCH_EVENTS);
    pl_buf_append(&text, "", 1);
    assert_int_equal(post_data(w, (const char *)text.data, &why), PL_OK);
    assert_int_equal(w->events, LIMIT_BATCH_EVENTS);

    pl_buf_reset(&text);
    pl_buf_append_str(&text, "{\"e\":\"pv\"");
    for (int i = 0; i < PARAMS_MAX; i++)
        pl_buf_appendf(&text, ",\"x%d\":\"\"", i);
    pl_buf_append(&text, "}", 2);
    assert_int_equal(post_data(w, (const char *)text.data, &why), PL_ELIMIT);
    pl_buf_release(&text);
}

static void test_members_beyond_those_looked_at_are_kept(void **state)
{
    struct world *w = *state;
    struct pl_why why;
    struct pl_buf text;
    pl_buf_init(&text, 1 << 16);
    pl_buf_append_str(&text, "{\\\"schema\\\":\\\"iglu:com.snowplowanalytics.snowplow/web_page/"
                             "jsonschema/1-0-0\\\",\\\"data\\\":{\\\"id\\\":\\\"view\\\"");
    for (int i = 0; i < 64; i++)
        pl_buf_appendf(&text, ",\\\"m%d\\\":%d", i, i);
    pl_buf_append(&text, "}}", 3);
    assert_int_equal(post_entities(w, (const char *)text.data, 1, &why), PL_OK);
    assert_exported(w, "\"id\":\"view\"");
    assert_exported(w, "\"m63\":63");
    pl_buf_release(&text);
}

static void test_schemas(void **state)
{
    (void)state;
    struct pl_span vendor, name;
    assert_true(
        snowplow_schema(PL_SPAN_LIT("iglu:com.acme/shared/jsonschema/1-0-0"), &vendor, &name));
    assert_true(pl_span_eq_str(vendor, "com.acme"));
    assert_true(pl_span_eq_str(name, "shared"));
    static const char *const bad[] = {"",
                                      "iglu:",
                                      "iglu:com.acme",
                                      "iglu:/x/",
                                      "iglu:com.acme//",
                                      "com.acme/shared/jsonschema/1",
                                      "iglu:com.acme/shared"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(snowplow_schema(pl_span_str(bad[i]), &vendor, &name));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_items_are_events_of_their_own, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_true_time_is_not_corrected, setup, teardown),
        cmocka_unit_test_setup_teardown(test_only_one_account_speaks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_anonymity_is_of_the_whole_request, setup, teardown),
        cmocka_unit_test_setup_teardown(test_versions_of_the_payload, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_members_beyond_those_looked_at_are_kept, setup,
                                        teardown),
        cmocka_unit_test(test_schemas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
