/* What is told of one person: profiles, exports, and the arithmetic of rates. */
#include "intake_fixture.h"
#include "origin/families.h"
#include "origin/subjects/beta.h"
#include "origin/subjects/profiles.h"
#include "origin/subjects/visitor_export.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct test {
    struct rig rig;
    struct links *links;
    struct visitors *visitors;
    struct json_writer *writer;
    struct json_parser *parser;
    struct pl_buf out;
};

static int setup(void **state)
{
    struct test *t = calloc(1, sizeof(*t));
    rig_init(&t->rig);
    rig_open(&t->rig);
    intake_stop(t->rig.intake);
    intake_free(t->rig.intake);
    rig_must(links_new(&t->links, t->rig.store), NULL);
    t->rig.config.links = t->links;
    rig_must(intake_new(&t->rig.intake, &t->rig.config, NULL), NULL);
    rig_must(intake_start(t->rig.intake, NULL), NULL);
    rig_must(visitors_new(&t->visitors, t->rig.store, t->rig.keyring), NULL);
    assert_int_equal(json_writer_new(&t->writer, false), PL_OK);
    assert_int_equal(json_parser_new(&t->parser, 64u << 20, 24), PL_OK);
    pl_buf_init(&t->out, 64u << 20);
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    struct test *t = *state;
    visitors_free(t->visitors);
    rig_close(&t->rig);
    links_free(t->links);
    rig_release(&t->rig);
    json_writer_free(t->writer);
    json_parser_free(t->parser);
    pl_buf_release(&t->out);
    free(t);
    return 0;
}

struct told {
    enum event_type type;
    const char *visitor, *user, *url, *offer, *campaign, *variant, *principle, *response;
    int64_t at_ms;
};

static void set(struct event *e, enum event_field field, const char *text)
{
    if (text != NULL)
        event_set_str(e, field, pl_span_str(text));
}

static void put(struct test *t, struct told told)
{
    struct event *e = calloc(1, sizeof(*e));
    event_set_u64(e, EVENT_ACCOUNT, 1);
    event_set_u64(e, EVENT_TYPE, told.type);
    event_set_u64(e, EVENT_DIALECT, EVENT_DIALECT_SEGMENT);
    event_set_i64(e, EVENT_ACCEPTED_MS, NOON_MS + told.at_ms);
    event_set_str(e, EVENT_REGION, PL_SPAN_LIT("eu"));
    set(e, EVENT_VISITOR_ID, told.visitor == NULL ? "ann" : told.visitor);
    set(e, EVENT_USER_ID, told.user);
    set(e, EVENT_PAGE_URL, told.url);
    set(e, EVENT_OFFER_CAMPAIGN, told.campaign);
    set(e, EVENT_OFFER_VARIANT, told.variant);
    set(e, EVENT_OFFER_PRINCIPLE, told.principle);
    set(e, EVENT_OFFER_RESPONSE_KIND, told.response);
    set(e, EVENT_OFFER_ID, told.offer);
    assert_int_equal(event_encode(e, &t->rig.plain), PL_OK);
    free(e);
    if (++t->rig.count == 1000)
        rig_store(&t->rig);
}

static struct json profile(struct test *t, const char *id)
{
    struct identities ids;
    struct json root;
    struct pl_why why = {0};
    assert_int_equal(visitors_find(t->visitors, 1, pl_span_str(id), true, &ids, &why), PL_OK);
    pl_buf_reset(&t->out);
    json_writer_begin(t->writer, &t->out);
    assert_int_equal(profile_write(t->visitors, 1, &ids, t->writer, &why), PL_OK);
    assert_int_equal(json_writer_end(t->writer), PL_OK);
    assert_int_equal(json_parse(t->parser, pl_buf_span(&t->out), &root, &why), PL_OK);
    identities_release(&ids);
    return root;
}

static struct json member(struct json object, const char *name)
{
    struct json value;
    if (!json_get(object, name, &value))
        fail_msg("no %s", name);
    return value;
}

static struct json element(struct json array, size_t index)
{
    struct json value = {.index = 0};
    size_t i = 0;
    for (struct json_iter at = json_elements(array); json_next_element(&at, &value); i++)
        if (i == index)
            return value;
    fail_msg("no element %zu", index);
    return value;
}

static double number(struct json object, const char *name)
{
    double v = NAN;
    assert_true(json_f64(member(object, name), &v));
    return v;
}

static void assert_text(struct json object, const char *name, const char *text)
{
    struct pl_span found;
    assert_true(json_string(member(object, name), &found));
    if (!pl_span_eq_str(found, text))
        fail_msg("%s is %.*s", name, PL_SPAN_FMT(found));
}

/* Against figures of other programs' (R's qbeta and pbeta). */
static void test_beta(void **state)
{
    (void)state;
    assert_true(fabs(beta_cdf(2, 3, 0.4) - 0.5248) < 1e-9);
    assert_true(fabs(beta_cdf(1, 1, 0.25) - 0.25) < 1e-12);
    assert_true(fabs(beta_quantile(1, 1, 0.025) - 0.025) < 1e-9);
    /* Beta(2, 1): the distribution is x squared. */
    assert_true(fabs(beta_quantile(2, 1, 0.025) - sqrt(0.025)) < 1e-9);
    assert_true(fabs(beta_quantile(1, 5, 0.975) - (1 - pow(0.025, 0.2))) < 1e-9);
    /* symmetric, and as good as normal with many trials */
    assert_true(fabs(beta_quantile(50, 50, 0.975) + beta_quantile(50, 50, 0.025) - 1) < 1e-9);
    const double mean = beta_mean(50001, 950001), sd = beta_sd(50001, 950001);
    assert_true(fabs(beta_quantile(50001, 950001, 0.975) - (mean + 1.959964 * sd)) < 2e-6);
    assert_true(fabs(beta_sd(1, 1) - sqrt(1.0 / 12)) < 1e-12);
}

static void test_pages_and_counts(void **state)
{
    struct test *t = *state;
    put(t, (struct told){.type = EVENT_PAGE_VIEW, .url = "https://shop.example/2", .at_ms = 2000});
    put(t, (struct told){.type = EVENT_PAGE_VIEW, .url = "https://shop.example/1", .at_ms = 1000});
    put(t, (struct told){.type = EVENT_PAGE_VIEW,
                         .visitor = "laptop",
                         .user = "ann@x",
                         .url = "https://shop.example/3",
                         .at_ms = PL_DAY_MS});
    put(t, (struct told){.type = EVENT_IDENTIFY, .user = "ann@x", .at_ms = 3000});
    put(t,
        (struct told){.type = EVENT_PAGE_VIEW, .visitor = "bob", .url = "https://shop.example/b"});
    rig_store(&t->rig);
    struct json root = profile(t, "ann");
    struct json views = member(root, "page_views");
    assert_int_equal((int)number(root, "events"), 4);
    assert_int_equal((int)number(member(root, "types"), "page_view"), 3);
    assert_int_equal(json_count(views), 3);
    /* The newest first, whichever device it was. */
    assert_text(element(views, 0), "url", "https://shop.example/3");
    assert_text(element(views, 2), "url", "https://shop.example/1");
    assert_int_equal(json_count(member(root, "visitor_ids")), 2);
    assert_int_equal(json_count(member(root, "user_ids")), 1);
    assert_text(root, "first_seen", "2024-10-04T12:00:01.000Z");
    assert_int_equal((int)number(profile(t, "nobody"), "events"), 0);
}

static void test_many_pages_keep_the_newest(void **state)
{
    struct test *t = *state;
    char url[64];
    for (int i = 0; i < 2500; i++) {
        snprintf(url, sizeof(url), "https://shop.example/%d", i);
        put(t, (struct told){.type = EVENT_PAGE_VIEW, .url = url, .at_ms = i});
    }
    rig_store(&t->rig);
    struct json root = profile(t, "ann");
    struct json views = member(root, "page_views");
    assert_int_equal((int)number(root, "events"), 2500);
    assert_int_equal(json_count(views), PROFILE_VIEWS_MAX);
    assert_text(element(views, 0), "url", "https://shop.example/2499");
    assert_text(element(views, PROFILE_VIEWS_MAX - 1), "url", "https://shop.example/2000");
}

static void test_dna(void **state)
{
    struct test *t = *state;
    const struct told scarcity = {
        .type = EVENT_OFFER_SHOWN, .campaign = "c", .variant = "v", .principle = "scarcity"};
    struct told one = scarcity;
    for (int i = 0; i < 3; i++) {
        char id[8];
        snprintf(id, sizeof(id), "o%d", i);
        one.offer = id;
        one.at_ms = i * 10;
        put(t, one);
    }
    /* told by the offer's id, twice; by campaign and variant; and of nothing that was shown */
    put(t, (struct told){
               .type = EVENT_OFFER_RESPONSE, .offer = "o1", .response = "click", .at_ms = 100});
    put(t, (struct told){
               .type = EVENT_OFFER_RESPONSE, .offer = "o1", .response = "again", .at_ms = 200});
    put(t, (struct told){.type = EVENT_OFFER_SHOWN,
                         .campaign = "d",
                         .variant = "w",
                         .principle = "authority",
                         .at_ms = 300});
    put(t,
        (struct told){.type = EVENT_OFFER_RESPONSE, .campaign = "d", .variant = "w", .at_ms = 400});
    put(t, (struct told){.type = EVENT_OFFER_RESPONSE, .offer = "unknown", .at_ms = 500});
    put(t, (struct told){.type = EVENT_OFFER_SHOWN, .campaign = "c", .variant = "control"});
    rig_store(&t->rig);
    struct json root = profile(t, "ann");
    struct json dna = member(root, "dna");
    assert_int_equal(json_count(dna), 2);
    assert_text(element(dna, 0), "principle", "authority");
    assert_true(number(element(dna, 0), "alpha") == 2 && number(element(dna, 0), "beta") == 1);
    struct json rate = element(dna, 1);
    assert_text(rate, "principle", "scarcity");
    assert_true(number(rate, "shown") == 3 && number(rate, "responded") == 1);
    assert_true(number(rate, "alpha") == 2 && number(rate, "beta") == 3);
    assert_true(fabs(number(rate, "mean") - 0.4) < 1e-12);
    assert_true(fabs(number(rate, "sd") - 0.2) < 1e-12);
    double low, high;
    assert_true(json_f64(element(member(rate, "interval_95"), 0), &low) &&
                json_f64(element(member(rate, "interval_95"), 1), &high));
    assert_true(fabs(beta_cdf(2, 3, low) - 0.025) < 1e-9 &&
                fabs(beta_cdf(2, 3, high) - 0.975) < 1e-9);
    assert_int_equal((int)number(root, "unmatched_responses"), 1);
    assert_int_equal(json_count(member(root, "offers")), 5);
    struct json first = element(member(root, "offers"), 0);
    assert_text(first, "campaign", "d");
}

static size_t export_all(struct test *t, const char *id, size_t *pages, size_t *others)
{
    struct identities ids;
    struct pl_why why = {0};
    char cursor[128] = "";
    size_t events = 0;
    *pages = *others = 0;
    assert_int_equal(visitors_find(t->visitors, 1, pl_span_str(id), true, &ids, &why), PL_OK);
    do {
        pl_buf_reset(&t->out);
        if (visitor_export_page(t->visitors, t->rig.store, 1, &ids, pl_span_str(cursor), t->writer,
                                &t->out, &why) != PL_OK)
            fail_msg("%s", why.text);
        cursor[0] = '\0';
        ++*pages;
        struct pl_span rest = pl_buf_span(&t->out);
        while (rest.len > 0) {
            const uint8_t *end = memchr(rest.data, '\n', rest.len);
            struct pl_span line = pl_span(rest.data, (size_t)(end - rest.data)), text;
            struct json root, value;
            assert_int_equal(json_parse(t->parser, line, &root, NULL), PL_OK);
            if (json_get(root, "polder_next", &value) && json_string(value, &text))
                snprintf(cursor, sizeof(cursor), "%.*s", PL_SPAN_FMT(text));
            else if (json_get(root, "polder_link", &value) ||
                     json_get(root, "polder_opt_out", &value))
                ++*others;
            else
                events++;
            rest = pl_span_from(rest, line.len + 1);
        }
    } while (cursor[0] != '\0');
    identities_release(&ids);
    return events;
}

static void test_an_export_has_all(void **state)
{
    struct test *t = *state;
    struct id_hashers *hashers;
    struct id_hasher *hasher;
    struct suppression said = {.account = 1, .consent_id = {{9}}, .since_ms = 5, .active = true};
    uint8_t key[SUPPRESSION_KEY_BYTES], value[SUPPRESSION_VALUE_BYTES];
    size_t pages, others;
    char *url = calloc(1, 30001);
    memset(url, 'u', 30000);
    /* more than a page: 600 events of 30 KB on two days and two devices */
    for (int i = 0; i < 600; i++) {
        put(t, (struct told){.type = EVENT_PAGE_VIEW,
                             .visitor = i % 2 == 0 ? "ann" : "laptop",
                             .user = "ann@x",
                             .url = url,
                             .at_ms = i * 1000 + i % 3 * PL_DAY_MS / 3});
        if (i % 100 == 99)
            rig_store(&t->rig);
    }
    put(t, (struct told){.type = EVENT_PAGE_VIEW, .visitor = "bob"});
    rig_store(&t->rig);
    assert_int_equal(id_hashers_new(&hashers, t->rig.keyring, 0), PL_OK);
    assert_int_equal(id_hashers_of(hashers, 1, &hasher), PL_OK);
    assert_int_equal(suppression_hash_by(hasher, PL_SPAN_LIT("laptop"), said.id_hash), PL_OK);
    suppression_key(&said, key);
    suppression_value(&said, value);
    assert_int_equal(store_put(t->rig.store, FAMILY_SUPPRESSIONS, pl_span(key, sizeof(key)),
                               pl_span(value, sizeof(value)), true, NULL),
                     PL_OK);
    assert_int_equal(export_all(t, "ann", &pages, &others), 600);
    assert_true(pages > 1);
    assert_int_equal(others, 3); /* two links, one opt-out */
    assert_int_equal(export_all(t, "bob", &pages, &others), 1);
    assert_int_equal(others, 0);
    struct identities ids = {.list = NULL};
    assert_int_equal(visitor_export_page(t->visitors, t->rig.store, 1, &ids,
                                         PL_SPAN_LIT("nonsense"), t->writer, &t->out, NULL),
                     PL_EINVAL);
    id_hashers_free(hashers);
    free(url);
}

/* What is passed over is told: it may be the visitor's. */
static void test_an_export_tells_of_damage(void **state)
{
    struct test *t = *state;
    struct store_scan *scan;
    struct pl_span key, value;
    struct identities ids;
    uint8_t at[VAULT_KEY_BYTES];
    put(t, (struct told){.type = EVENT_PAGE_VIEW});
    put(t, (struct told){.type = EVENT_PAGE_VIEW, .at_ms = 1000});
    rig_store(&t->rig);
    const struct pl_span all = pl_span(NULL, 0);
    assert_int_equal(store_scan_new(&scan, t->rig.store, FAMILY_VAULT, all, all), PL_OK);
    assert_int_equal(store_scan_next(scan, &key, &value), PL_OK);
    assert_int_equal(key.len, sizeof(at));
    memcpy(at, key.data, sizeof(at));
    store_scan_free(scan);
    assert_int_equal(store_put(t->rig.store, FAMILY_VAULT, pl_span(at, sizeof(at)),
                               PL_SPAN_LIT("rotten"), true, NULL),
                     PL_OK);
    assert_int_equal(visitors_find(t->visitors, 1, PL_SPAN_LIT("ann"), true, &ids, NULL), PL_OK);
    assert_int_equal(
        visitor_export_page(t->visitors, t->rig.store, 1, &ids, all, t->writer, &t->out, NULL),
        PL_OK);
    identities_release(&ids);
    assert_int_equal(pl_buf_terminate(&t->out), PL_OK);
    assert_non_null(strstr((char *)t->out.data, "\"visitor_id\":\"ann\""));
    assert_non_null(strstr((char *)t->out.data,
                           "{\"polder_error\":\"1 value that may be this visitor's is damaged"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_beta),           TEST(test_pages_and_counts),
        TEST(test_many_pages_keep_the_newest), TEST(test_dna),
        TEST(test_an_export_has_all),          TEST(test_an_export_tells_of_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
