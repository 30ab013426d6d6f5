#include "proto/wire/config.h"

#include "proto/base/file.h"
#include "proto/wire/json.h"
#include "proto/wire/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define MAX 16

#define OTHER_SETTINGS   "\"page_views\":true,\"clicks\":[],\"fallback\":[],\"antiflicker_ms\":500"
#define DEFAULT_SETTINGS "{\"session_timeout_minutes\":30,\"honour_dnt\":true," OTHER_SETTINGS "}"

static const char full[] =
    "{ \"settings\": {\"honour_dnt\": false, \"session_timeout_minutes\": 240},\n"
    "  \"campaigns\": [\n"
    "    {\"variants\": [\n"
    "        {\"weight\": 1.0, \"id\": \"control\", \"control\": true},\n"
    "        {\"id\": \"b\", \"weight\": 2.50, \"principle\": \"scarcity\", \"modifications\": [\n"
    "          {\"value\": \"Only 3 left\", \"type\": \"text\", \"selector\": \"#stock\"},\n"
    "          {\"type\": \"attribute\", \"selector\": \"a\", \"name\": \"href\", \"value\": "
    "\"/x\"},\n"
    "          {\"type\": \"redirect\", \"value\": \"https://shop.example/b\"},\n"
    "          {\"type\": \"event\", \"name\": \"seen\"}]}],\n"
    "     \"url\": [\"/p/*\", \"*\", \"https://shop.example/\"], \"traffic\": 5e-1,\n"
    "     \"name\": \"A secret plan\", \"enabled\": true, \"id\": \"summer-sale_1\"},\n"
    "    {\"id\": \"off\", \"enabled\": false, \"variants\": [{\"id\": \"a\"}]},\n"
    "    {\"id\": \"plain\", \"variants\": [{\"id\": \"a\"}]}]}\n";

static const char full_public[] =
    "{\"version\":9,\"campaigns\":["
    "{\"id\":\"summer-sale_1\",\"traffic\":0.5,"
    "\"url\":[\"/p/*\",\"*\",\"https://shop.example/\"],\"variants\":["
    "{\"id\":\"control\",\"weight\":1,\"control\":true,\"modifications\":[]},"
    "{\"id\":\"b\",\"weight\":2.5,\"control\":false,\"principle\":\"scarcity\",\"modifications\":["
    "{\"type\":\"text\",\"selector\":\"#stock\",\"value\":\"Only 3 left\"},"
    "{\"type\":\"attribute\",\"selector\":\"a\",\"name\":\"href\",\"value\":\"/x\"},"
    "{\"type\":\"redirect\",\"value\":\"https://shop.example/b\"},"
    "{\"type\":\"event\",\"name\":\"seen\"}]}]},"
    "{\"id\":\"plain\",\"traffic\":1,\"url\":[],\"variants\":["
    "{\"id\":\"a\",\"weight\":1,\"control\":false,\"modifications\":[]}]}],"
    "\"settings\":{\"session_timeout_minutes\":240,\"honour_dnt\":false," OTHER_SETTINGS "}}";

static size_t check(const char *text, struct config_problem *problems)
{
    size_t count = 99;
    enum pl_err err = config_check(pl_span_str(text), problems, MAX, &count);
    assert_int_equal(err, count == 0 ? PL_OK : PL_EINVAL);
    return count;
}

static void expect_public(const char *text, uint64_t version, const char *expected)
{
    struct pl_buf out;
    struct pl_why why = {0};
    pl_buf_init(&out, 1 << 20);
    if (config_public(pl_span_str(text), version, &out, &why) != PL_OK)
        fail_msg("%s", why.text);
    assert_int_equal(pl_buf_terminate(&out), PL_OK);
    assert_string_equal((char *)out.data, expected);
    pl_buf_release(&out);
}

static void test_good(void **state)
{
    (void)state;
    struct config_problem problems[MAX];
    assert_int_equal(check(full, problems), 0);
    assert_int_equal(check("{\"campaigns\":[]}", problems), 0);
    expect_public(full, 9, full_public);
    expect_public("{\"campaigns\":[]}", UINT64_MAX,
                  "{\"version\":18446744073709551615,\"campaigns\":[],"
                  "\"settings\":" DEFAULT_SETTINGS "}");
}

/* The cases are ASCII: a column is a byte. */
static const char *place(const char *text, const struct config_problem *p)
{
    for (unsigned line = 1; line < p->line; line++)
        text = strchr(text, '\n') + 1;
    return p->column == 0 ? "" : text + p->column - 1;
}

static const char *text_of(struct json object, const char *key, char *out, size_t size)
{
    struct json value;
    struct pl_span text;
    if (!json_get(object, key, &value) || !json_string(value, &text))
        return NULL;
    assert_true(text.len < size);
    memcpy(out, text.data, text.len);
    out[text.len] = '\0';
    return out;
}

/* One wrong thing: where it stands, what it is called, what is said. `at` is what the place it
 * points at begins with; without `words` the config is right. */
static void try_case(struct json object)
{
    struct config_problem p[MAX];
    struct json line;
    int64_t number = 0;
    char config[8192], at[128], path[128], words[128];
    assert_non_null(text_of(object, "config", config, sizeof(config)));
    size_t count = check(config, p);
    if (text_of(object, "words", words, sizeof(words)) == NULL) {
        if (count != 0)
            fail_msg("%s\nis refused: %s %s", config, p[0].path, p[0].text);
        return;
    }
    assert_non_null(text_of(object, "at", at, sizeof(at)));
    assert_non_null(text_of(object, "path", path, sizeof(path)));
    assert_true(json_get(object, "line", &line) && json_i64(line, &number));
    if (count != 1 || strcmp(p[0].path, path) != 0 || strstr(p[0].text, words) == NULL ||
        p[0].line != (unsigned)number || strncmp(place(config, &p[0]), at, strlen(at)) != 0)
        fail_msg("%s\n%zu problems, the first at %u:%u: %s %s", config, count, p[0].line,
                 p[0].column, p[0].path, p[0].text);
}

/* config_cases.json, which the schema is held against, too (tests/system). */
static void test_cases(void **state)
{
    (void)state;
    struct pl_buf text;
    struct pl_why why = {0};
    struct json_parser *parser;
    struct json root, object;
    pl_buf_init(&text, 1 << 20);
    if (pl_file_read(TEST_DATA "/unit/wire/config_cases.json", "cases", false, &text, &why) !=
        PL_OK)
        fail_msg("%s", why.text);
    assert_int_equal(json_parser_new(&parser, 1 << 20, LIMIT_JSON_DEPTH), PL_OK);
    assert_int_equal(json_parse(parser, pl_buf_span(&text), &root, NULL), PL_OK);
    assert_true(json_count(root) >= 80);
    for (struct json_iter i = json_elements(root); json_next_element(&i, &object);)
        try_case(object);
    json_parser_free(parser);
    pl_buf_release(&text);
}

static void test_times_and_targets_in_public(void **state)
{
    (void)state;
    expect_public("{\"campaigns\":[{\"id\":\"a\",\"until\":\"2026-11-22T12:00:00.5+01:00\","
                  "\"variants\":[{\"id\":\"v\"}],\"locale\":[\"nl\"],\"query\":[{\"equals\":\"1\","
                  "\"name\":\"q\"}],\"audience\":\"new\",\"device\":[\"mobile\"]}]}",
                  1,
                  "{\"version\":1,\"campaigns\":[{\"id\":\"a\",\"traffic\":1,\"url\":[],"
                  "\"query\":[{\"name\":\"q\",\"equals\":\"1\"}],\"device\":[\"mobile\"],"
                  "\"locale\":[\"nl\"],\"audience\":\"new\",\"until\":\"2026-11-22T11:00:00.500Z\","
                  "\"variants\":[{\"id\":\"v\",\"weight\":1,\"control\":false,"
                  "\"modifications\":[]}]}],\"settings\":" DEFAULT_SETTINGS "}");
}

static void test_many_problems(void **state)
{
    (void)state;
    static const char text[] = "{\"campaigns\":[{\"id\":7,\"variants\":[{}]},null],\"x\":0}";
    struct config_problem p[MAX];
    assert_int_equal(check(text, p), 4);
    assert_string_equal(p[0].path, "campaigns[0].id");
    assert_string_equal(p[1].path, "campaigns[0].variants[0].id");
    assert_string_equal(p[2].path, "campaigns[1]");
    assert_string_equal(p[3].path, "x");

    size_t count; /* no room for any: still refused */
    assert_int_equal(config_check(pl_span_str(text), NULL, 0, &count), PL_EINVAL);
    assert_int_equal(count, 0);
    assert_int_equal(config_check(PL_SPAN_LIT("["), NULL, 0, &count), PL_EINVAL);
    assert_int_equal(config_check(pl_span_str(text), p, 1, &count), PL_EINVAL);
    assert_int_equal(count, 1);

    struct pl_buf out;
    struct pl_why why = {0};
    pl_buf_init(&out, 1000);
    assert_int_equal(config_public(pl_span_str(text), 1, &out, &why), PL_EINVAL);
    assert_int_equal(out.len, 0);
    assert_string_equal(why.field, "campaigns[0].id");
    assert_string_equal(why.text, "line 1, column 21: campaigns[0].id must be text, not a number");
    pl_buf_release(&out);
}

/* Hostile keys and values are quoted: short, whole characters, no controls. */
static void test_quoting(void **state)
{
    (void)state;
    struct config_problem p[MAX];
    struct json_writer *w;
    struct pl_buf text, out;
    pl_buf_init(&text, 10000);
    pl_buf_init(&out, 10000);
    assert_int_equal(pl_buf_append_str(&text, "{\"campaigns\":[],\"\\u0000\\n"), PL_OK);
    for (int i = 0; i < 500; i++)
        assert_int_equal(pl_buf_append_str(&text, "\xe2\x82\xac"), PL_OK);
    assert_int_equal(pl_buf_append_str(&text, "\":1}"), PL_OK);
    assert_int_equal(pl_buf_terminate(&text), PL_OK);
    assert_int_equal(check((char *)text.data, p), 1);
    assert_non_null(strstr(p[0].text, "unknown key '?\?\xe2\x82\xac"));
    assert_non_null(strstr(p[0].text, "\xe2\x82\xac...'"));
    assert_true(strlen(p[0].text) < 80);
    assert_int_equal(json_writer_new(&w, false), PL_OK);
    json_writer_begin(w, &out);
    json_write_object(w);
    json_write_pair_text(w, p[0].path, p[0].text);
    json_write_object_end(w);
    assert_int_equal(json_writer_end(w), PL_OK); /* UTF-8 still */
    json_writer_free(w);
    pl_buf_release(&text);
    pl_buf_release(&out);
}

/* A document of n campaigns with m variants each. */
static void generate(struct pl_buf *out, int campaigns, int variants)
{
    pl_buf_reset(out);
    pl_buf_append_str(out, "{\"campaigns\":[");
    for (int i = 0; i < campaigns; i++) {
        pl_buf_appendf(out, "%s{\"id\":\"c%d\",\"variants\":[", i == 0 ? "" : ",", i);
        for (int j = 0; j < variants; j++)
            pl_buf_appendf(out, "%s{\"id\":\"v%d\"}", j == 0 ? "" : ",", j);
        pl_buf_append_str(out, "]}");
    }
    pl_buf_append_str(out, "]}");
    pl_buf_terminate(out);
}

static void test_limits(void **state)
{
    (void)state;
    struct config_problem p[MAX];
    struct pl_buf text, out;
    pl_buf_init(&text, 1 << 20);
    pl_buf_init(&out, LIMIT_CONFIG_PUBLIC_BYTES);
    generate(&text, 200, 16);
    assert_int_equal(check((char *)text.data, p), 0);
    assert_int_equal(config_public(pl_buf_span(&text), 1, &out, NULL), PL_OK);
    generate(&text, 201, 1);
    assert_int_equal(check((char *)text.data, p), 1);
    assert_string_equal(p[0].text, "has 201 elements; must have 0 to 200");
    generate(&text, 1, 17);
    assert_int_equal(check((char *)text.data, p), 1);

    pl_buf_reset(&text);
    assert_int_equal(pl_buf_reserve(&text, LIMIT_CONFIG_BYTES + 2), PL_OK);
    memset(text.data, ' ', LIMIT_CONFIG_BYTES + 1);
    memcpy(text.data, "{\"campaigns\":[]}", 16);
    text.data[LIMIT_CONFIG_BYTES] = '\0';
    assert_int_equal(check((char *)text.data, p), 0);
    text.data[LIMIT_CONFIG_BYTES] = ' ';
    text.data[LIMIT_CONFIG_BYTES + 1] = '\0';
    assert_int_equal(check((char *)text.data, p), 1);
    assert_non_null(strstr(p[0].text, "262144"));

    struct pl_buf small;
    pl_buf_init(&small, 50);
    assert_int_equal(config_public(pl_span_str(full), 1, &small, NULL), PL_ELIMIT);
    assert_int_equal(small.len, 0);
    pl_buf_release(&small);
    pl_buf_release(&text);
    pl_buf_release(&out);
}

static void test_equal_configs_give_equal_bytes(void **state)
{
    (void)state;
    expect_public(
        "{\"campaigns\":[{\"id\":\"a\",\"traffic\":1,\"variants\":[{\"id\":\"\\u0076\"}]}]}", 1,
        "{\"version\":1,\"campaigns\":[{\"id\":\"a\",\"traffic\":1,\"url\":[],"
        "\"variants\":[{\"id\":\"v\",\"weight\":1,\"control\":false,"
        "\"modifications\":[]}]}],"
        "\"settings\":" DEFAULT_SETTINGS "}");
    expect_public("{\"settings\":{},\"campaigns\":[{\"variants\":[{\"weight\":1e0,\"id\":\"v\","
                  "\"modifications\":[ ]}],\"url\":[],\"traffic\":1.0,\"id\":\"a\"}]}",
                  1,
                  "{\"version\":1,\"campaigns\":[{\"id\":\"a\",\"traffic\":1,\"url\":[],"
                  "\"variants\":[{\"id\":\"v\",\"weight\":1,\"control\":false,"
                  "\"modifications\":[]}]}],"
                  "\"settings\":" DEFAULT_SETTINGS "}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_times_and_targets_in_public),
        cmocka_unit_test(test_many_problems),
        cmocka_unit_test(test_quoting),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_equal_configs_give_equal_bytes),
    };
    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
