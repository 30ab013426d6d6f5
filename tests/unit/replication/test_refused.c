/* Who is turned away at the link is told, with the edge that it said it was and its address. */
#include "tests/unit/replication/world.h"

#include <poll.h>

static struct {
    pthread_mutex_t lock;
    size_t count;
    bool named;
    struct pl_id128 edge;
    enum pl_err err;
    uint8_t from[16];
    size_t from_bytes;
} told = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void on_refused(void *ctx, const struct pl_id128 *edge, enum pl_err err, struct pl_span from)
{
    (void)ctx;
    assert_true(from.len <= sizeof(told.from));
    pthread_mutex_lock(&told.lock);
    told.count++;
    told.named = edge != NULL;
    if (edge != NULL)
        told.edge = *edge;
    told.err = err;
    memcpy(told.from, from.data, from.len);
    told.from_bytes = from.len;
    pthread_mutex_unlock(&told.lock);
}

static size_t told_count(void)
{
    pthread_mutex_lock(&told.lock);
    size_t count = told.count;
    pthread_mutex_unlock(&told.lock);
    return count;
}

static enum pl_err nobody(void *ctx, const struct pl_id128 *edge, struct pl_buf *spki_der)
{
    (void)ctx, (void)edge, (void)spki_der;
    return PL_ENOTFOUND;
}

static enum pl_err revoked(void *ctx, const struct pl_id128 *edge, struct pl_buf *spki_der)
{
    (void)ctx, (void)edge, (void)spki_der;
    return PL_EDENIED;
}

/* Another key than the one that signs. */
static enum pl_err another(void *ctx, const struct pl_id128 *edge, struct pl_buf *spki_der)
{
    struct vault *v = ctx;
    struct world *w = (struct world *)((char *)v - offsetof(struct world, vault));
    (void)edge;
    pki_public(&w->pki, "origin", spki_der);
    return PL_OK;
}

static struct world *listening(void)
{
    struct world *w = world_new(1, 100);
    w->receiver_config.ops.refused = on_refused;
    told.count = 0;
    return w;
}

static void run(struct world *w)
{
    start_receiver(w);
    start_uplink(w);
    for (int i = 0; i < 1000 && told_count() == 0; i++)
        poll(NULL, 0, 10);
    assert_true(told_count() > 0);
    stop_uplink(w);
    stop_receiver(w);
    assert_int_equal(told.from_bytes, 4);
    assert_memory_equal(told.from, "\x7f\0\0\1", 4);
}

static void an_edge_that_is_turned_away_is_told(void **state)
{
    static const struct {
        enum pl_err (*key)(void *ctx, const struct pl_id128 *edge, struct pl_buf *spki_der);
        enum pl_err err;
    } cases[] = {{nobody, PL_ENOTFOUND}, {revoked, PL_EDENIED}, {another, PL_EAUTH}};
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct world *w = listening();
        w->receiver_config.ops.edge_key = cases[i].key;
        run(w);
        assert_true(told.named);
        assert_true(pl_id128_eq(&told.edge, &w->vault.edge));
        assert_int_equal(told.err, cases[i].err);
        world_free(w);
    }
}

static void a_certificate_of_another_ca_is_told(void **state)
{
    struct world *w = listening();
    struct pki other;
    (void)state;
    pki_init(&other);
    pki_issue(&other, "edge", NULL);
    pki_path(&other, "edge.pem", w->edge_cert);
    pki_path(&other, "edge.key", w->edge_key);
    run(w);
    assert_false(told.named);
    assert_int_equal(told.err, PL_EAUTH);
    pki_release(&other);
    world_free(w);
}

static void who_is_let_in_is_not_told(void **state)
{
    struct world *w = listening();
    (void)state;
    start_receiver(w);
    start_uplink(w);
    for (int i = 0; i < 1000 && !status_of(w).connected; i++)
        poll(NULL, 0, 10);
    assert_true(status_of(w).connected);
    world_free(w);
    assert_int_equal(told.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_edge_that_is_turned_away_is_told),
        cmocka_unit_test(a_certificate_of_another_ca_is_told),
        cmocka_unit_test(who_is_let_in_is_not_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
