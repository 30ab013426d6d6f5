/* Certificates of deletion: what they say, that there is one an account, and that it is kept. */
#include "origin/lifecycle/certificate.h"
#include "origin/lifecycle/clock_freezes.h"
#include "proto/wire/signed_document.h"
#include "records_fixture.h"

#define ACCOUNT UINT64_C(0x0123456789abcdef)

struct world {
    struct records r;
    struct certificate_facts facts;
    struct certificate_edge edges[2];
    struct pl_buf out, spki;
};

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    struct records *r = &w->r;
    records_init(r);
    must(keyring_new_key(r->keyring, ACCOUNT, &r->why), &r->why);
    w->edges[0] = (struct certificate_edge){
        .name = "eu-1", .region = "eu", .confirmed_ms = DAY_ONE_MS + 51 * PL_DAY_MS};
    w->edges[1] = (struct certificate_edge){.name = "us-1",
                                            .region = "us",
                                            .written_off_ms = DAY_ONE_MS + 85 * PL_DAY_MS,
                                            .reason = "not heard of since day 12"};
    w->facts = (struct certificate_facts){
        .backup_days = 30,
        .account = ACCOUNT,
        .created_ms = DAY_ONE_MS - 100 * PL_DAY_MS,
        .expired_ms = DAY_ONE_MS,
        .limit_ms = DAY_ONE_MS + 90 * PL_DAY_MS,
        .started_ms = DAY_ONE_MS + 50 * PL_DAY_MS,
        .dropped_ms = DAY_ONE_MS + 50 * PL_DAY_MS + 2000,
        .gone_ms = DAY_ONE_MS + 50 * PL_DAY_MS + 9000,
        .edges_ms = DAY_ONE_MS + 85 * PL_DAY_MS,
        .ended_ms = DAY_ONE_MS + 85 * PL_DAY_MS + 1000,
        .keyring_paths = 2,
        .counts = {{"events", true, 12345, 6789000}, {"links", false, 0, 0}},
        .count_count = 2,
        .cutoff_position = 77,
        .edges = w->edges,
        .edge_count = 2,
        .audit_sequence = 4711,
    };
    must(keyring_destroy(r->keyring, ACCOUNT, "expired", &w->facts.key, &r->why), &r->why);
    pl_buf_init(&w->out, CERTIFICATE_BYTES_MAX);
    pl_buf_init(&w->spki, PL_PUBLIC_KEY_MAX_BYTES);
    must(keyring_signer(r->keyring, &w->spki), &r->why);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    pl_buf_release(&w->out);
    pl_buf_release(&w->spki);
    records_release(&w->r);
    free(w);
    return 0;
}

static enum pl_err issue(struct world *w)
{
    pl_buf_reset(&w->out);
    return certificate_issue(w->r.store, w->r.keyring, &w->facts, &w->out, &w->r.why);
}

/* Of the certificate in out, which must verify. Valid until the next call. */
static struct json document(struct world *w)
{
    struct pl_span line;
    struct json root;
    must(signed_document_open(pl_buf_span(&w->out), pl_buf_span(&w->spki), &line, &w->r.why),
         &w->r.why);
    must(json_parse(w->r.parser, line, &root, &w->r.why), &w->r.why);
    return root;
}

/* The member at a path such as "edges.1.region". */
static struct json at(struct json value, const char *path)
{
    char name[64];
    while (*path != '\0') {
        size_t len = strcspn(path, ".");
        snprintf(name, sizeof(name), "%.*s", (int)len, path);
        path += len + (path[len] == '.');
        if (json_type(value) == JSON_ARRAY) {
            struct json_iter i = json_elements(value);
            for (int skip = atoi(name); skip >= 0; skip--)
                assert_true(json_next_element(&i, &value));
        } else if (!json_get(value, name, &value)) {
            fail_msg("there is no %s", name);
        }
    }
    return value;
}

static void says(struct json root, const char *path, const char *text)
{
    struct pl_span found;
    assert_true(json_string(at(root, path), &found));
    if (!pl_span_eq_str(found, text))
        fail_msg("%s is %.*s, not %s", path, PL_SPAN_FMT(found), text);
}

static void counts(struct json root, const char *path, uint64_t wanted)
{
    uint64_t found;
    assert_true(json_u64(at(root, path), &found));
    assert_int_equal(found, wanted);
}

static void it_says_what_happened(void **state)
{
    struct world *w = *state;
    must(issue(w), &w->r.why);
    struct json root = document(w);
    says(root, "polder", "certificate of deletion");
    counts(root, "version", 1);
    says(root, "account", "0123456789abcdef");
    says(root, "cause", "expiry");
    says(root, "times.expired", "2026-01-01T00:00:00.000Z");
    says(root, "times.promised_by", "2026-04-01T00:00:00.000Z");
    says(root, "times.physically_gone", "2026-02-20T00:00:09.000Z");
    assert_int_equal(json_type(at(root, "times.requested")), JSON_NULL);
    counts(root, "late_seconds", 0);
    assert_int_equal(json_count(at(root, "delays")), 0);
    says(root, "deleted.0.kind", "events");
    counts(root, "deleted.0.items", 12345);
    counts(root, "deleted.0.bytes", 6789000);
    assert_int_equal(json_type(at(root, "deleted.1.items")), JSON_NULL);
    says(root, "edges.0.name", "eu-1");
    says(root, "edges.0.confirmed_at", "2026-02-21T00:00:00.000Z");
    assert_int_equal(json_type(at(root, "edges.0.written_off_at")), JSON_NULL);
    says(root, "edges.1.region", "us");
    says(root, "edges.1.reason", "not heard of since day 12");
    counts(root, "cutoff.position", 77);
    counts(root, "audit_head.n", 4711);
    counts(root, "data_key.keyring_paths", 2);
}

/* A copy made in the last moment before is kept for thirty days. */
static void it_says_when_the_last_backup_of_the_key_ends(void **state)
{
    struct world *w = *state;
    w->facts.key.wall_ms = DAY_ONE_MS + 50 * PL_DAY_MS + 23 * PL_HOUR_MS;
    must(issue(w), &w->r.why);
    says(document(w), "data_key.last_backup_ends", "2026-03-22");
}

/* The clock that was not believed then may have been right: the key was there so much longer. */
static void a_backup_may_be_as_late_as_a_freeze_ends(void **state)
{
    struct world *w = *state;
    struct clock_freeze freeze;
    struct pl_why *why = &w->r.why;
    w->facts.key.wall_ms = DAY_ONE_MS + 50 * PL_DAY_MS;
    must(clock_freeze_begin(w->r.store, w->facts.key.wall_ms, "it jumped", &freeze, why), why);
    must(clock_freeze_end(w->r.store, &freeze, DAY_ONE_MS + 60 * PL_DAY_MS, "confirmed", why), why);
    must(issue(w), why);
    says(document(w), "data_key.last_backup_ends", "2026-04-01");
}

static void lateness_comes_with_its_reasons(void **state)
{
    struct world *w = *state;
    struct clock_freeze freeze;
    struct pl_why *why = &w->r.why;
    const int64_t from_ms = DAY_ONE_MS + 40 * PL_DAY_MS;
    must(clock_freeze_begin(w->r.store, DAY_ONE_MS - 10 * PL_DAY_MS, "long before", &freeze, why),
         why);
    must(clock_freeze_end(w->r.store, &freeze, DAY_ONE_MS - 9 * PL_DAY_MS, "it agreed", why), why);
    must(clock_freeze_begin(w->r.store, from_ms, "it jumped", &freeze, why), why);
    must(clock_freeze_end(w->r.store, &freeze, from_ms + 60 * PL_DAY_MS, "confirmed", why), why);
    w->facts.delays[0] = (struct certificate_delay){
        .kind = "hold", .from_ms = DAY_ONE_MS, .until_ms = from_ms, .reason = "tax law"};
    w->facts.delay_count = 1;
    w->facts.ended_ms = w->facts.limit_ms + PL_DAY_MS;
    must(issue(w), why);
    struct json root = document(w);
    counts(root, "late_seconds", 86400);
    assert_int_equal(json_count(at(root, "delays")), 2);
    says(root, "delays.0.reason", "tax law");
    says(root, "delays.1.kind", "clock not believed");
    says(root, "delays.1.from", "2026-02-10T00:00:00.000Z");
    says(root, "delays.1.reason", "it jumped; confirmed");
}

static void no_byte_of_it_can_be_changed(void **state)
{
    struct world *w = *state;
    struct pl_span line;
    must(issue(w), &w->r.why);
    for (size_t i = 0; i < w->out.len; i++) {
        w->out.data[i] ^= (uint8_t)(1u << (i % 8));
        if (signed_document_open(pl_buf_span(&w->out), pl_buf_span(&w->spki), &line, NULL) == PL_OK)
            fail_msg("byte %zu", i);
        w->out.data[i] ^= (uint8_t)(1u << (i % 8));
    }
    document(w);
}

static void an_account_has_one(void **state)
{
    struct world *w = *state;
    struct pl_buf first, second;
    pl_buf_init(&first, CERTIFICATE_BYTES_MAX);
    pl_buf_init(&second, CERTIFICATE_BYTES_MAX);
    assert_int_equal(certificate_get(w->r.store, ACCOUNT, &first, &w->r.why), PL_ENOTFOUND);
    must(issue(w), &w->r.why);
    pl_buf_append_span(&first, pl_buf_span(&w->out));
    w->facts.ended_ms += PL_DAY_MS; /* the step is run again after a crash */
    records_close(&w->r);
    records_open(&w->r);
    must(issue(w), &w->r.why);
    assert_true(pl_span_eq(pl_buf_span(&w->out), pl_buf_span(&first)));
    must(certificate_get(w->r.store, ACCOUNT, &second, &w->r.why), &w->r.why);
    assert_true(pl_span_eq(pl_buf_span(&second), pl_buf_span(&first)));
    pl_buf_release(&first);
    pl_buf_release(&second);
}

static void facts_that_are_no_deletion_are_refused(void **state)
{
    struct world *w = *state;
    const struct certificate_facts good = w->facts;
    w->edges[1].written_off_ms = 0;
    assert_int_equal(issue(w), PL_EINVAL);
    assert_non_null(strstr(w->r.why.text, "us-1"));
    w->edges[1].written_off_ms = 1;
    w->facts.gone_ms = 0;
    assert_int_equal(issue(w), PL_EINVAL);
    w->facts = good;
    w->facts.key = (struct keyring_destruction){0};
    assert_int_equal(issue(w), PL_EINVAL);
    assert_int_equal(count_rows(&w->r, FAMILY_CERTIFICATES), 0);
    w->facts = good;
    must(issue(w), &w->r.why);
}

static void a_restore_puts_it_back(void **state)
{
    struct world *w = *state;
    struct store *store = w->r.store;
    const struct pl_span other = PL_SPAN_LIT("another");
    must(certificate_put(store, ACCOUNT, other, &w->r.why), &w->r.why);
    must(certificate_put(store, ACCOUNT, other, &w->r.why), &w->r.why);
    assert_int_equal(certificate_put(store, ACCOUNT, PL_SPAN_LIT("a third"), &w->r.why),
                     PL_EEXISTS);
    must(issue(w), &w->r.why); /* none is made anew */
    assert_true(pl_span_eq(pl_buf_span(&w->out), other));
}

static enum pl_err collect(void *ctx, uint64_t account, struct pl_span certificate)
{
    uint64_t *seen = ctx;
    seen[seen[0]++] = account;
    assert_true(certificate.len > 0);
    return seen[0] == 4 ? PL_ELIMIT : PL_OK;
}

static void all_of_them_can_be_walked(void **state)
{
    struct world *w = *state;
    uint64_t seen[8] = {1};
    for (uint64_t account = 1; account <= 5; account++)
        must(certificate_put(w->r.store, account, PL_SPAN_LIT("x"), &w->r.why), &w->r.why);
    assert_int_equal(certificate_each(w->r.store, collect, seen, &w->r.why), PL_ELIMIT);
    assert_int_equal(seen[0], 4);
    assert_int_equal(seen[1], 1);
    assert_int_equal(seen[3], 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_says_what_happened),
        TEST(it_says_when_the_last_backup_of_the_key_ends),
        TEST(a_backup_may_be_as_late_as_a_freeze_ends),
        TEST(lateness_comes_with_its_reasons),
        TEST(no_byte_of_it_can_be_changed),
        TEST(an_account_has_one),
        TEST(facts_that_are_no_deletion_are_refused),
        TEST(a_restore_puts_it_back),
        TEST(all_of_them_can_be_walked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
