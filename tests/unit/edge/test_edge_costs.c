/* What an edge does with requests that cost more than they weigh, or come too often. */
#include "tests/unit/edge/node.h"

#include <time.h>

/* ---- batches that cost more than they weigh */

static void repeat(struct pl_buf *body, const char *text, unsigned times)
{
    for (unsigned i = 0; i < times; i++)
        assert_int_equal(pl_buf_append_str(body, text), PL_OK);
}

/* The last one's comma. */
static void end_with(struct pl_buf *body, const char *text)
{
    body->len--;
    assert_int_equal(pl_buf_append_str(body, text), PL_OK);
    assert_true(body->len <= LIMIT_BATCH_BYTES);
}

static int64_t cpu_ms(void)
{
    struct timespec now;
    assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now), 0);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The edge is in this process: what it takes, sanitizers and all, however busy the machine is. */
static struct reply send_cheaply(const struct node *n, const char *line, const char *headers,
                                 struct pl_buf *body)
{
    assert_int_equal(pl_buf_terminate(body), PL_OK);
    const int64_t began_ms = cpu_ms();
    struct reply r = send_to(n, line, headers, (const char *)body->data);
    const int64_t took_ms = cpu_ms() - began_ms;
    if (took_ms > 2000)
        fail_msg("%.60s … took %lld ms", (const char *)body->data, (long long)took_ms);
    pl_buf_reset(body);
    return r;
}

#define BATCH   "{\"writeKey\":\"" KEY_TEXT "\","
#define MESSAGE "{\"type\":\"page\",\"anonymousId\":\"v\"},"

static void test_a_batch_costs_what_it_weighs(void **state)
{
    struct node *n = *state;
    struct pl_buf body;
    pl_buf_init(&body, 1 << 20);
    open_account(n);
    until_collecting(n);
    uint64_t before = accepted(n);

    /* Names of a batch's context that a message's own may say better, each looked for there. */
    repeat(&body, BATCH "\"context\":{", 1);
    repeat(&body, "\"ip\":1,", 35000);
    end_with(&body, "},\"batch\":[");
    repeat(&body, "{\"type\":\"page\",\"anonymousId\":\"v\",\"context\":{", 1);
    repeat(&body, "\"locale\":\"\",", 14000);
    end_with(&body, "}},");
    repeat(&body, MESSAGE, 499);
    end_with(&body, "]}");
    struct reply r = send_cheaply(n, "POST /v1/batch", "", &body);
    assert_int_equal(r.status, 413);
    assert_says(r, "\"field\":\"context\"");

    /* The most of it that may be. */
    repeat(&body, BATCH "\"context\":{", 1);
    repeat(&body, "\"locale\":\"\",", 64);
    end_with(&body, "},\"batch\":[");
    for (unsigned i = 0; i < 180; i++) {
        repeat(&body, "{\"type\":\"page\",\"userId\":7,\"context\":{", 1);
        repeat(&body, "\"ip\":1,", 384);
        end_with(&body, "}},");
    }
    end_with(&body, "]}");
    assert_int_equal(send_cheaply(n, "POST /v1/batch", "", &body).status, 200);
    assert_int_equal(accepted(n), before + 180);
    before = accepted(n);
    repeat(&body, BATCH "\"context\":{", 1);
    repeat(&body, "\"locale\":\"\",", 65);
    end_with(&body, "},\"batch\":[" MESSAGE);
    end_with(&body, "]}");
    r = send_cheaply(n, "POST /v1/batch", "", &body);
    assert_int_equal(r.status, 413);
    assert_says(r, "context has more than 64 members");

    /* A value that no event can hold, packed for each. */
    repeat(&body, BATCH "\"context\":{\"x\":[", 1);
    repeat(&body, "1,", 230000);
    end_with(&body, "]},\"batch\":[");
    repeat(&body, MESSAGE, 500);
    end_with(&body, "]}");
    r = send_cheaply(n, "POST /v1/batch", "", &body);
    assert_int_equal(r.status, 413);
    assert_says(r, "\"field\":\"context\"");
    repeat(&body, BATCH "\"x\":[", 1);
    repeat(&body, "1,", 230000);
    end_with(&body, "],\"batch\":[");
    repeat(&body, MESSAGE, 500);
    end_with(&body, "]}");
    r = send_cheaply(n, "POST /v1/batch", "", &body);
    assert_int_equal(r.status, 413);
    assert_says(r, "\"field\":\"batch\"");
    assert_int_equal(accepted(n), before);
    pl_buf_release(&body);
}

static void test_an_object_of_context_has_a_limit(void **state)
{
    struct node *n = *state;
    static const char *const groups[] = {"\"page\":{", ""};
    struct pl_buf body;
    pl_buf_init(&body, 1 << 20);
    open_account(n);
    until_collecting(n);
    for (size_t i = 0; i < 2; i++) {
        for (unsigned members = 384; members < 386; members++) {
            repeat(&body, BATCH "\"event\":\"x\",\"anonymousId\":\"v\",\"context\":{", 1);
            repeat(&body, groups[i], 1);
            repeat(&body, i == 0 ? "\"url\":\"u\"," : "\"ip\":\"1\",", members);
            end_with(&body, i == 0 ? "}}}" : "}}");
            const struct reply r = send_cheaply(n, "POST /v1/track", "", &body);
            assert_int_equal(r.status, members == 384 ? 200 : 413);
            if (members > 384)
                assert_says(r, "has too many members");
        }
    }
    pl_buf_release(&body);
}

/* Each is a little too large by what they share: it is not tried five hundred times. */
static void test_events_that_are_too_large_are_tried_so_often(void **state)
{
    struct node *n = *state;
    struct pl_buf body, agent;
    pl_buf_init(&body, 1 << 20);
    pl_buf_init(&agent, 1 << 20);
    open_account(n);
    until_collecting(n);
    const uint64_t before = accepted(n);
    repeat(&body, BATCH "\"context\":{\"x\":\"", 1);
    repeat(&body, "y", 32755);
    repeat(&body, "\"},\"batch\":[{\"type\":\"page\",\"userId\":7,\"context\":{\"x\":1}},", 1);
    repeat(&body, MESSAGE, 64);
    end_with(&body, "]}");
    struct reply r = send_cheaply(n, "POST /v1/batch", "", &body);
    assert_int_equal(r.status, 200);
    assert_says(r, "x-polder-refused: 64; ");
    assert_int_equal(accepted(n), before + 1);
    repeat(&body, BATCH "\"context\":{\"x\":\"", 1);
    repeat(&body, "y", 32755);
    repeat(&body, "\"},\"batch\":[{\"type\":\"page\",\"userId\":7,\"context\":{\"x\":1}},", 1);
    repeat(&body, MESSAGE, 65);
    end_with(&body, "]}");
    r = send_cheaply(n, "POST /v1/batch", "", &body);
    assert_int_equal(r.status, 413);
    assert_says(r, "more than 64 of the request's events are too large");
    /* A header goes with every event of Snowplow's. */
    repeat(&agent, "User-Agent: ", 1);
    repeat(&agent, "y", 36000);
    repeat(&agent, "\r\n", 1);
    assert_int_equal(pl_buf_terminate(&agent), PL_OK);
    repeat(&body,
           "{\"schema\":\"iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4\","
           "\"data\":[{\"e\":\"pv\",\"p\":\"srv\",\"aid\":\"" KEY_TEXT "\"},",
           1);
    repeat(&body, "{\"e\":\"pv\",\"p\":\"web\"},", 499);
    end_with(&body, "]}");
    r = send_cheaply(n, "POST /com.snowplowanalytics.snowplow/tp2", (const char *)agent.data,
                     &body);
    assert_int_equal(r.status, 413);
    assert_says(r, "more than 64 of the request's events are too large");
    assert_int_equal(accepted(n), before + 1);
    pl_buf_release(&agent);
    pl_buf_release(&body);
}

static void test_rate_limit(void **state)
{
    struct node *n = *state;
    open_account(n);
    struct reply r = {0};
    const int64_t end_ms = pl_mono_ms(pl_clock_system()) + 5000;
    do
        r = track(n, "");
    while (r.status != 429 && pl_mono_ms(pl_clock_system()) < end_ms);
    assert_int_equal(r.status, 429);
    assert_says(r, "retry-after: 1\r\n");
}

/* What is passed over counts as what is taken: it had to be looked at. */
static void test_refused_events_count_against_the_rate(void **state)
{
    struct node *n = *state;
    open_account(n);
    const char *bad = "{\"type\":\"track\",\"anonymousId\":\"v\"},";
    struct pl_buf body;
    struct reply r;
    const int64_t end_ms = pl_mono_ms(pl_clock_system()) + 5000;
    pl_buf_init(&body, 1 << 16);
    do {
        repeat(&body, BATCH "\"batch\":[", 1);
        repeat(&body, bad, 20);
        end_with(&body, "]}");
        r = send_cheaply(n, "POST /v1/batch", "", &body);
    } while (r.status == 503 && pl_mono_ms(pl_clock_system()) < end_ms);
    assert_int_equal(r.status, 400);
    r = track(n, "");
    assert_int_equal(r.status, 429);
    assert_silent(r, "retry-after: 1\r\n"); /* of twenty, not of one */
    pl_buf_release(&body);
}

/* ---- promotions */

/* As large as one may be published. */
static void test_promotions_of_the_largest_config(void **state)
{
    struct node *n = *state;
    struct pl_buf config;
    static const char end[] = "\"}}";
    pl_buf_init(&config, 1 << 20);
    repeat(&config,
           "{\"version\":1,\"campaigns\":[{\"id\":\"c\",\"variants\":[{\"id\":\"a\","
           "\"modifications\":[{\"type\":\"text\",\"selector\":\"#b\",\"value\":\"Hi\"}]}]}],"
           "\"settings\":{\"pad\":\"",
           1);
    repeat(&config, "x", (unsigned)(LIMIT_CONFIG_PUBLIC_BYTES - config.len - sizeof(end) + 1));
    repeat(&config, end, 1);
    assert_int_equal(config.len, LIMIT_CONFIG_PUBLIC_BYTES);
    struct catalog_item item = account_item();
    item.config_json = pl_buf_span(&config);
    tell(n, &item);
    until_collecting(n);
    const struct reply r = send_to(n, "POST /promotions?cid=" KEY_TEXT "&pid=v", "", "");
    assert_int_equal(r.status, 200);
    assert_says(r, "\"value\":\"Hi\"");
    pl_buf_release(&config);
}

static int setup_one(void **state)
{
    return setup_with(state, "loops: 1\ntally_interval_s: 3600\n");
}

#define TEST(name)         cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_LIMITED(name) cmocka_unit_test_setup_teardown(name, setup_limited, teardown)
#define TEST_ONE(name)     cmocka_unit_test_setup_teardown(name, setup_one, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_batch_costs_what_it_weighs),
        TEST(test_an_object_of_context_has_a_limit),
        TEST(test_events_that_are_too_large_are_tried_so_often),
        TEST_LIMITED(test_rate_limit),
        TEST_LIMITED(test_refused_events_count_against_the_rate),
        TEST_ONE(test_promotions_of_the_largest_config),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
