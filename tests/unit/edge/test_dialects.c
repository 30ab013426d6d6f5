/* Golden files: tests/unit/edge/golden/DIALECT/NAME.json holds a request and what must come of it:
 * the events in their canonical form, or the error and the field it names. Run with
 * POLDER_GOLDEN_WRITE=1 to write what came instead of comparing; then read the difference. */
#include "edge/dialect.h"
#include "proto/base/file.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define NOW_MS     INT64_C(1767225600000) /* 2026-01-01T00:00:00Z */
#define FILE_BYTES (1024 * 1024)
#define ACCOUNT    UINT64_C(0x0123456789abcdef)

struct run {
    struct json_parser *golden, *body, *nested, *expected;
    struct json_writer *writer;
    struct pl_buf events; /* JSON array under way */
    size_t emitted;
    char key[128];
    enum event_dialect dialect;
};

static enum pl_err take_claim(void *ctx, const struct dialect_claim *claim, struct pl_why *why)
{
    struct run *run = ctx;
    if (claim->key.len == 0) {
        return pl_fail_field(why, PL_ENOTFOUND, "writeKey", "writeKey is missing");
    }
    snprintf(run->key, sizeof(run->key), "%.*s", PL_SPAN_FMT(claim->key));
    return PL_OK;
}

static enum pl_err take_event(void *ctx, struct event *event, struct pl_why *why)
{
    struct run *run = ctx;
    (void)why;
    event_set_u64(event, EVENT_ACCOUNT, ACCOUNT);
    event_set_u64(event, EVENT_DIALECT, run->dialect);
    event_set_i64(event, EVENT_ACCEPTED_MS, NOW_MS);
    /* Through its bytes and back, as it will travel. */
    struct pl_buf wire;
    struct event_reader *reader;
    struct event back;
    struct pl_why reason = {0};
    pl_buf_init(&wire, FILE_BYTES);
    assert_int_equal(event_encode(event, &wire), PL_OK);
    assert_int_equal(event_reader_new(&reader), PL_OK);
    struct pl_span rest = pl_buf_span(&wire);
    if (event_read(reader, &rest, &back, NULL, &reason) != PL_OK) {
        fail_msg("the event cannot be read back: %s", reason.text);
    }
    pl_buf_append_str(&run->events, run->emitted++ > 0 ? "," : "[");
    assert_int_equal(event_write_json(&back, run->writer, &run->events), PL_OK);
    event_reader_free(reader);
    pl_buf_release(&wire);
    return PL_OK;
}

/* Ids that begin so have been seen, campaigns are there. */
static bool begins_known(void *ctx, struct pl_span id)
{
    (void)ctx;
    return pl_span_starts(id, PL_SPAN_LIT("known"));
}

static struct pl_span text_of(struct json object, const char *name)
{
    struct json value;
    struct pl_span text = {0};
    if (json_get(object, name, &value)) {
        json_string(value, &text);
    }
    return text;
}

/* Of the request's "headers". */
static bool header_of(const void *ctx, const char *name, struct pl_span *value)
{
    struct json headers, found;
    return json_get(*(const struct json *)ctx, "headers", &headers) &&
           json_get(headers, name, &found) && json_string(found, value);
}

static bool matches(const struct dialect_route *route, enum dialect_method method,
                    struct pl_span path, struct pl_span *tail)
{
    struct pl_span pattern = pl_span_str(route->path);
    if (!(route->methods & method)) {
        return false;
    }
    if (pattern.len == 0 || pattern.data[pattern.len - 1] != '*') {
        return pl_span_eq(pattern, path);
    }
    pattern.len--;
    *tail = pl_span_from(path, pattern.len);
    return pl_span_starts(path, pattern);
}

static const struct dialect_route *route_of(struct run *run, struct dialect_input *input)
{
    for (size_t d = 0; d < dialect_count; d++) {
        for (size_t r = 0; r < dialects[d]->route_count; r++) {
            if (matches(&dialects[d]->routes[r], input->method, input->path, &input->tail)) {
                run->dialect = dialects[d]->id;
                return &dialects[d]->routes[r];
            }
        }
    }
    return NULL;
}

static void append_json(struct run *run, struct json value, struct pl_buf *out)
{
    json_writer_begin(run->writer, out);
    json_write_value(run->writer, value);
    assert_int_equal(json_writer_end(run->writer), PL_OK);
}

/* What came of the request, as the golden file's "expect" would say it. */
static void outcome_of(struct run *run, struct json request, struct pl_buf *out)
{
    struct pl_buf body, scratch;
    struct event event;
    struct json value;
    struct pl_why why = {0};
    pl_buf_init(&body, FILE_BYTES);
    pl_buf_init(&scratch, DIALECT_SCRATCH_BYTES);
    assert_int_equal(pl_buf_reserve(&scratch, DIALECT_SCRATCH_BYTES), PL_OK);
    if (json_get(request, "body", &value)) {
        struct pl_span text;
        if (json_string(value, &text)) {
            pl_buf_append_span(&body, text);
        } else {
            append_json(run, value, &body);
        }
    }
    struct dialect_input input = {
        .method = pl_span_eq_str(text_of(request, "method"), "GET") ? DIALECT_GET : DIALECT_POST,
        .path = text_of(request, "path"),
        .query = text_of(request, "query"),
        .authorization = text_of(request, "authorization"),
        .cookie = text_of(request, "cookie"),
        .user_agent = text_of(request, "user_agent"),
        .body = pl_buf_span(&body),
        .header = header_of,
        .header_ctx = &request,
        .now_ms = NOW_MS,
        .json = run->body,
        .json_nested = run->nested,
        .scratch = &scratch,
        .event = &event,
    };
    struct dialect_sink sink = {.ctx = run,
                                .claim = take_claim,
                                .emit = take_event,
                                .seen = begins_known,
                                .has_campaign = begins_known};
    struct dialect_outcome outcome = {0};
    const struct dialect_route *route = route_of(run, &input);
    assert_non_null(route);
    run->emitted = 0;
    run->key[0] = '\0';
    pl_buf_reset(&run->events);
    enum pl_err err = route->decode(&input, &sink, &outcome, &why);
    if (err != PL_OK) {
        pl_buf_appendf(out, "{\"error\":\"%s\",\"field\":\"%s\"}", pl_err_word(err), why.field);
        assert_true(strlen(why.text) > 0);
    } else {
        pl_buf_appendf(out, "{\"key\":\"%s\",\"events\":", run->key);
        pl_buf_append_span(out, pl_buf_span(&run->events));
        pl_buf_append_str(out, run->emitted == 0 ? "[]}" : "]}");
    }
    pl_buf_release(&scratch);
    pl_buf_release(&body);
}

static void write_golden(struct run *run, const char *path, struct json request,
                         struct pl_span expect)
{
    struct pl_buf out;
    struct json_writer *pretty;
    struct json value;
    struct pl_why why = {0};
    pl_buf_init(&out, FILE_BYTES);
    assert_int_equal(json_writer_new(&pretty, true), PL_OK);
    assert_int_equal(json_parse(run->expected, expect, &value, NULL), PL_OK);
    json_writer_begin(pretty, &out);
    json_write_object(pretty);
    json_write_key(pretty, "request");
    json_write_value(pretty, request);
    json_write_key(pretty, "expect");
    json_write_value(pretty, value);
    json_write_object_end(pretty);
    assert_int_equal(json_writer_end(pretty), PL_OK);
    pl_buf_append_str(&out, "\n");
    if (pl_file_replace(path, "golden file", 0644, pl_buf_span(&out), &why) != PL_OK) {
        fail_msg("%s", why.text);
    }
    json_writer_free(pretty);
    pl_buf_release(&out);
}

static void check_file(struct run *run, const char *path)
{
    struct pl_buf file, actual, expected;
    struct json root, request, expect;
    struct pl_why why = {0};
    pl_buf_init(&file, FILE_BYTES);
    pl_buf_init(&actual, FILE_BYTES);
    pl_buf_init(&expected, FILE_BYTES);
    if (pl_file_read(path, "golden file", false, &file, &why) != PL_OK ||
        json_parse(run->golden, pl_buf_span(&file), &root, &why) != PL_OK) {
        fail_msg("%s: %s", path, why.text);
    }
    assert_true(json_get(root, "request", &request));
    outcome_of(run, request, &actual);
    if (getenv("POLDER_GOLDEN_WRITE") != NULL) {
        write_golden(run, path, request, pl_buf_span(&actual));
    } else {
        assert_true(json_get(root, "expect", &expect));
        append_json(run, expect, &expected);
        if (!pl_span_eq(pl_buf_span(&actual), pl_buf_span(&expected))) {
            fail_msg("%s\n  expected %.*s\n  came     %.*s", path, (int)expected.len,
                     (const char *)expected.data, (int)actual.len, (const char *)actual.data);
        }
    }
    pl_buf_release(&file);
    pl_buf_release(&actual);
    pl_buf_release(&expected);
}

static void golden_files_come_out_as_written(void **state)
{
    (void)state;
    struct run run = {0};
    assert_int_equal(json_parser_new(&run.golden, FILE_BYTES, 64), PL_OK);
    assert_int_equal(json_parser_new(&run.expected, FILE_BYTES, 64), PL_OK);
    assert_int_equal(json_parser_new(&run.body, FILE_BYTES, LIMIT_JSON_DEPTH), PL_OK);
    assert_int_equal(json_parser_new(&run.nested, FILE_BYTES, LIMIT_JSON_DEPTH), PL_OK);
    assert_int_equal(json_writer_new(&run.writer, false), PL_OK);
    pl_buf_init(&run.events, FILE_BYTES);
    size_t files = 0;
    for (size_t d = 0; d < dialect_count; d++) {
        char folder[512], path[1024];
        snprintf(folder, sizeof(folder), "%s/unit/edge/golden/%s", TEST_DATA, dialects[d]->name);
        DIR *dir = opendir(folder);
        if (dir == NULL)
            continue; /* tests/golden has those of this dialect, for whole nodes */
        for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
            if (strstr(entry->d_name, ".json") == NULL) {
                continue;
            }
            snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
            check_file(&run, path);
            files++;
        }
        closedir(dir);
    }
    assert_true(files > 0);
    pl_buf_release(&run.events);
    json_writer_free(run.writer);
    json_parser_free(run.nested);
    json_parser_free(run.body);
    json_parser_free(run.expected);
    json_parser_free(run.golden);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(golden_files_come_out_as_written)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
