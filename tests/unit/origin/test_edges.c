#include "records_fixture.h"

#include "origin/accounts/edges.h"
#include "proto/base/text.h"
#include "proto/wire/limits.h"

#define EDGE_A "0123456789abcdef0123456789abcdef"
#define EDGE_B "fedcba9876543210fedcba9876543210"
#define SEAL   "1111111111111111111111111111111111111111111111111111111111111111"

static struct records r;
static struct edges *edges;
static char link_key[256]; /* base64 SPKI */
static struct pl_buf spki;

static int setup(void **state)
{
    struct pl_signer *signer;
    struct pl_buf text;
    (void)state;
    records_init(&r);
    must(edges_open(&edges, r.store, &r.clock, &r.why), &r.why);
    pl_buf_init(&spki, 256);
    pl_buf_init(&text, 256);
    must(pl_signer_from_pem(&signer, pl_buf_span(&r.f.signer), &r.why), &r.why);
    must(pl_signer_public(signer, &spki), &r.why);
    must(pl_base64_encode(pl_buf_span(&spki), &text), &r.why);
    snprintf(link_key, sizeof(link_key), "%.*s", PL_SPAN_FMT(pl_buf_span(&text)));
    pl_signer_free(signer);
    pl_buf_release(&text);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    edges_close(edges);
    pl_buf_release(&spki);
    records_release(&r);
    return 0;
}

static void reopen(void)
{
    edges_close(edges);
    records_close(&r);
    records_open(&r);
    must(edges_open(&edges, r.store, &r.clock, &r.why), &r.why);
}

static enum pl_err enroll_text(const char *text, struct edge_record *out)
{
    return edges_enroll(edges, parse(&r, text), out, &r.why);
}

static enum pl_err enroll(const char *id, const char *name)
{
    struct edge_record edge;
    char text[1024];
    snprintf(text, sizeof(text),
             "{\"id\":\"%s\",\"name\":\"%s\",\"region\":\"eu\",\"link_public\":\"%s\","
             "\"seal_public\":\"" SEAL "\"}",
             id, name, link_key);
    return enroll_text(text, &edge);
}

static struct pl_id128 id_of(const char *text)
{
    struct pl_id128 id;
    assert_true(pl_id128_parse(pl_span_str(text), &id));
    return id;
}

static void assert_known(const char *text, enum pl_err expected)
{
    struct pl_id128 id = id_of(text);
    uint8_t seal[PL_X25519_BYTES];
    struct pl_buf key;
    pl_buf_init(&key, 256);
    assert_int_equal(edges_link_key(edges, &id, &key), expected);
    assert_int_equal(edges_seal_key(edges, &id, seal), expected);
    if (expected == PL_OK) {
        assert_true(pl_span_eq(pl_buf_span(&key), pl_buf_span(&spki)));
        assert_int_equal(seal[0], 0x11);
    } else {
        assert_int_equal(key.len, 0);
    }
    pl_buf_release(&key);
}

static void test_enrolled_edges_are_known_across_restarts(void **state)
{
    (void)state;
    assert_known(EDGE_A, PL_ENOTFOUND);
    must(enroll(EDGE_A, "eu-1"), &r.why);
    must(enroll(EDGE_B, "us-1"), &r.why);
    assert_known(EDGE_A, PL_OK);
    reopen();
    assert_known(EDGE_A, PL_OK);
    assert_known(EDGE_B, PL_OK);

    struct edge_record *list;
    size_t count;
    must(edges_list(edges, &list, &count), &r.why);
    assert_int_equal(count, 2);
    assert_int_equal(list[0].enrolled_ms, DAY_ONE_MS);
    free(list);
}

static void test_revoked_edges_stay_revoked(void **state)
{
    (void)state;
    struct edge_record edge;
    struct pl_id128 id = id_of(EDGE_A);
    must(enroll(EDGE_A, "eu-1"), &r.why);
    r.now_ms += 5000;
    must(edges_revoke(edges, &id, &edge, &r.why), &r.why);
    assert_int_equal(edge.revoked_ms, DAY_ONE_MS + 5000);
    assert_known(EDGE_A, PL_EDENIED);
    r.now_ms += 5000;
    must(edges_revoke(edges, &id, &edge, &r.why), &r.why);
    assert_int_equal(edge.revoked_ms, DAY_ONE_MS + 5000);
    reopen();
    assert_known(EDGE_A, PL_EDENIED);

    id = id_of(EDGE_B);
    assert_int_equal(edges_revoke(edges, &id, &edge, &r.why), PL_ENOTFOUND);
}

static void test_ids_and_names_are_taken_once(void **state)
{
    (void)state;
    struct edge_record edge;
    struct pl_id128 id = id_of(EDGE_A);
    must(enroll(EDGE_A, "eu-1"), &r.why);
    assert_int_equal(enroll(EDGE_A, "eu-2"), PL_EEXISTS);
    assert_string_equal(r.why.field, "id");
    assert_int_equal(enroll(EDGE_B, "eu-1"), PL_EEXISTS);
    assert_string_equal(r.why.field, "name");
    /* A revoked edge's name is free, its id never. */
    must(edges_revoke(edges, &id, &edge, &r.why), &r.why);
    assert_int_equal(enroll(EDGE_A, "eu-1"), PL_EEXISTS);
    must(enroll(EDGE_B, "eu-1"), &r.why);
}

static void test_refuses_by_field(void **state)
{
    static const struct {
        const char *field, *text;
    } cases[] = {
        {"id",
         "{\"name\":\"n\",\"region\":\"eu\",\"link_public\":\"%s\",\"seal_public\":\"" SEAL "\"}"},
        {"id", "{\"id\":\"12\",\"name\":\"n\",\"region\":\"eu\",\"link_public\":\"%s\","
               "\"seal_public\":\"" SEAL "\"}"},
        {"name", "{\"id\":\"" EDGE_A "\",\"region\":\"eu\",\"link_public\":\"%s\","
                 "\"seal_public\":\"" SEAL "\"}"},
        {"region", "{\"id\":\"" EDGE_A "\",\"name\":\"n\",\"link_public\":\"%s\","
                   "\"seal_public\":\"" SEAL "\"}"},
        {"region", "{\"id\":\"" EDGE_A "\",\"name\":\"n\",\"region\":\"a-far-too-long-region\","
                   "\"link_public\":\"%s\",\"seal_public\":\"" SEAL "\"}"},
        {"region", "{\"id\":\"" EDGE_A "\",\"name\":\"n\",\"region\":\"EU\","
                   "\"link_public\":\"%s\",\"seal_public\":\"" SEAL "\"}"},
        {"seal_public", "{\"id\":\"" EDGE_A "\",\"name\":\"n\",\"region\":\"eu\","
                        "\"link_public\":\"%s\",\"seal_public\":\"11\"}"},
        {"link_public", "{\"id\":\"" EDGE_A "\",\"name\":\"n\",\"region\":\"eu\","
                        "\"link_public\":\"!%s\",\"seal_public\":\"" SEAL "\"}"},
        {"colour", "{\"id\":\"" EDGE_A "\",\"name\":\"n\",\"region\":\"eu\",\"colour\":1,"
                   "\"link_public\":\"%s\",\"seal_public\":\"" SEAL "\"}"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct edge_record edge;
        char text[1024];
        struct json request;
        /* cases hold exactly one %s each */
        const char *at = strstr(cases[i].text, "%s");
        snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - cases[i].text), cases[i].text, link_key,
                 at + 2);
        request = parse(&r, text);
        enum pl_err err = edges_enroll(edges, request, &edge, &r.why);
        assert_true(err == PL_EINVAL || err == PL_ELIMIT);
        assert_string_equal(r.why.field, cases[i].field);
    }
    assert_int_equal(count_rows(&r, FAMILY_EDGES), 0);
}

/* Once they were asked for less. */
static void test_what_was_enrolled_is_known(void **state)
{
    (void)state;
    const struct pl_id128 id = id_of(EDGE_A);
    char text[1024];
    snprintf(text, sizeof(text),
             "{\"id\":\"" EDGE_A "\",\"name\":\"  \",\"region\":\"EU\",\"link_public\":\"%s\","
             "\"seal_public\":\"" SEAL "\"}",
             link_key);
    must(store_put(r.store, FAMILY_EDGES, pl_span(id.bytes, sizeof(id.bytes)), pl_span_str(text),
                   true, &r.why),
         &r.why);
    reopen();
    assert_known(EDGE_A, PL_OK);
}

static void note_revocation(void *ctx, const struct pl_id128 *edge)
{
    *(struct pl_id128 *)ctx = *edge;
}

static void test_revocation_is_told(void **state)
{
    (void)state;
    struct edge_record edge;
    struct pl_id128 told = {{0}}, id = id_of(EDGE_A);
    edges_on_revoke(edges, note_revocation, &told);
    must(enroll(EDGE_A, "eu-1"), &r.why);
    must(edges_revoke(edges, &id, &edge, &r.why), &r.why);
    assert_true(pl_id128_eq(&told, &id));
}

/* The disk fails an enrolment, and after the recovery it is there all the same. */
static void test_a_failed_enrolment_that_turns_up_counts(void **state)
{
    (void)state;
    struct pl_buf row;
    struct pl_id128 id;
    assert_true(pl_id128_parse(PL_SPAN_LIT(EDGE_A), &id));
    must(enroll(EDGE_A, "eu-1"), &r.why);
    records_take(&r, FAMILY_EDGES, pl_span(id.bytes, 16), &row);
    reopen();
    records_disk(false);
    assert_int_not_equal(enroll(EDGE_A, "eu-1"), PL_OK);
    records_recover(&r);
    records_put(&r, FAMILY_EDGES, pl_span(id.bytes, 16), &row);
    assert_int_equal(enroll(EDGE_B, "eu-1"), PL_EEXISTS);
    assert_string_equal(r.why.field, "name");
    struct edge_record edge;
    must(edges_revoke(edges, &id, &edge, &r.why), &r.why);
}

/* Rows as an origin has after years: written past the edges, which would take too long. */
static void test_revoked_edges_leave_room(void **state)
{
    (void)state;
    struct pl_buf row;
    struct pl_id128 id;
    struct edge_record edge;
    assert_true(pl_id128_parse(PL_SPAN_LIT(EDGE_A), &id));
    must(enroll(EDGE_A, "eu-1"), &r.why);
    must(edges_revoke(edges, &id, &edge, &r.why), &r.why);
    pl_buf_init(&row, 8192);
    must(store_get(r.store, FAMILY_EDGES, pl_span(id.bytes, 16), &row), &r.why);
    for (unsigned i = 0; i < 4 * LIMIT_EDGES - 3; i++) {
        uint8_t key[16] = {0x77};
        pl_store_u64(key + 8, i);
        must(store_put(r.store, FAMILY_EDGES, pl_span(key, 16), pl_buf_span(&row), false, &r.why),
             &r.why);
    }
    pl_buf_release(&row);
    reopen();
    must(enroll(EDGE_B, "eu-2"), &r.why);
    must(enroll("00000000000000000000000000000001", "eu-3"), &r.why);
    /* Not without end. */
    assert_int_equal(enroll("00000000000000000000000000000002", "eu-4"), PL_ELIMIT);
    assert_non_null(strstr(r.why.text, "4096 edges"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_revoked_edges_leave_room, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_failed_enrolment_that_turns_up_counts, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_enrolled_edges_are_known_across_restarts, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_revoked_edges_stay_revoked, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ids_and_names_are_taken_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refuses_by_field, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_was_enrolled_is_known, setup, teardown),
        cmocka_unit_test_setup_teardown(test_revocation_is_told, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
