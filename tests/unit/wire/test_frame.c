#include "proto/wire/frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct pl_id128 edge = {{0xed, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}};
static const struct pl_id128 other = {{0x0f, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}};
static const struct frame_settled settled = {.epoch = {{0x5e, [15] = 1}}, .position = 1ull << 40};
static const struct chain_claim claims[] = {
    {.incarnation = {{1}}, .acked = 3, .next = 9, .acked_events = 77, .closed = true},
    {.incarnation = {{2}}, .acked = UINT64_MAX, .next = UINT64_MAX},
};
static const struct chain_record records[] = {
    {.incarnation = {{1}},
     .contiguous = 3,
     .highest = 9,
     .events = 1,
     .stored = 2,
     .duplicate = 3,
     .dropped = 4},
    {.incarnation = {{2}}},
};

struct built {
    const char *name;
    struct pl_buf bytes;
};

static struct built begin(const char *name)
{
    struct built b = {.name = name};
    pl_buf_init(&b.bytes, LIMIT_FRAME_BYTES);
    return b;
}

static struct frame_prove prove(void)
{
    return (struct frame_prove){.edge = edge,
                                .nonce = {1, 2, 3},
                                .signature = PL_SPAN_LIT("a signature"),
                                .region = PL_SPAN_LIT("apac"),
                                .wall_ms = 1700000000000};
}

static struct frame_page page(void)
{
    return (struct frame_page){.epoch = other,
                               .restart = true,
                               .position = 42,
                               .wall_ms = 7,
                               .items = PL_SPAN_LIT("\0\0\0\3abc\0\0\0\1d")};
}

/* One valid frame of every type. */
static size_t every_frame(struct built out[16])
{
    size_t n = 0;
    uint8_t nonce[FRAME_NONCE_BYTES] = {9, 8, 7};
    struct frame_prove p = prove();
    struct frame_page g = page();
    struct frame_feed feed = {.epoch = other, .position = 5, .wait_ms = 20000};
    struct block_loss loss = {.incarnation = edge, .number = 6, .hash = {5}, .events = 3};
    enum block_verdict verdicts[] = {BLOCK_STORED, BLOCK_REPEAT, BLOCK_FORK, BLOCK_REFUSED,
                                     BLOCK_RETRY};
    out[n] = begin("hello");
    assert_int_equal(frame_put_hello(&out[n++].bytes), PL_OK);
    out[n] = begin("prove");
    assert_int_equal(frame_put_prove(&out[n++].bytes, &p, claims, COUNT(claims)), PL_OK);
    out[n] = begin("blocks");
    assert_int_equal(frame_put_blocks(&out[n].bytes), PL_OK);
    assert_int_equal(frame_add_block(&out[n].bytes, PL_SPAN_LIT("sealed")), PL_OK);
    assert_int_equal(frame_add_loss(&out[n].bytes, &loss), PL_OK);
    assert_int_equal(frame_add_block(&out[n++].bytes, PL_SPAN_LIT("x")), PL_OK);
    out[n] = begin("feed");
    assert_int_equal(frame_put_feed(&out[n++].bytes, &feed), PL_OK);
    out[n] = begin("ping");
    assert_int_equal(frame_put_ping(&out[n++].bytes, 12, &settled, claims, COUNT(claims)), PL_OK);
    out[n] = begin("challenge");
    assert_int_equal(frame_put_challenge(&out[n++].bytes, nonce), PL_OK);
    out[n] = begin("welcome");
    assert_int_equal(frame_put_welcome(&out[n++].bytes, 12, records, COUNT(records)), PL_OK);
    out[n] = begin("acks");
    assert_int_equal(frame_put_acks(&out[n++].bytes, verdicts, COUNT(verdicts)), PL_OK);
    out[n] = begin("page");
    assert_int_equal(frame_put_page(&out[n++].bytes, &g), PL_OK);
    out[n] = begin("pong");
    assert_int_equal(frame_put_pong(&out[n++].bytes, 12, true, records, COUNT(records)), PL_OK);
    out[n] = begin("hello first");
    assert_int_equal(frame_put_hello_first(&out[n++].bytes), PL_OK);
    out[n] = begin("refused");
    assert_int_equal(frame_put_refused(&out[n++].bytes, FRAME_REFUSED_REVOKED, "gone"), PL_OK);
    return n;
}

static void release(struct built *frames, size_t count)
{
    for (size_t i = 0; i < count; i++)
        pl_buf_release(&frames[i].bytes);
}

static void what_is_sent_is_what_arrives(void **state)
{
    (void)state;
    struct built b[16];
    size_t n = every_frame(b);
    struct frame f;
    struct pl_why why;

    for (size_t i = 0; i < n; i++)
        assert_int_equal(frame_parse(pl_buf_span(&b[i].bytes), &f, &why), PL_OK);

    frame_parse(pl_buf_span(&b[1].bytes), &f, &why);
    assert_int_equal(f.type, FRAME_PROVE);
    assert_memory_equal(&f.prove.edge, &edge, 16);
    assert_true(pl_span_eq_str(f.prove.signature, "a signature"));
    assert_true(pl_span_eq_str(f.prove.region, "apac"));
    assert_int_equal(f.prove.wall_ms, 1700000000000);
    assert_int_equal(f.list.count, 2);
    struct chain_claim claim = frame_claim(&f.list, 0);
    assert_memory_equal(&claim.incarnation, &claims[0].incarnation, 16);
    assert_int_equal(claim.acked, 3);
    assert_int_equal(claim.next, 9);
    assert_int_equal(claim.acked_events, 77);
    assert_true(claim.closed);
    assert_false(frame_claim(&f.list, 1).closed);

    frame_parse(pl_buf_span(&b[2].bytes), &f, &why);
    assert_int_equal(f.entries, 3);
    struct pl_span rest = f.entry_bytes;
    struct frame_entry e;
    assert_true(frame_entry_next(&rest, &e));
    assert_true(pl_span_eq_str(e.block, "sealed"));
    assert_true(frame_entry_next(&rest, &e));
    assert_int_equal(e.block.len, 0);
    assert_int_equal(e.loss.number, 6);
    assert_int_equal(e.loss.events, 3);
    assert_int_equal(e.loss.hash[0], 5);
    assert_true(frame_entry_next(&rest, &e));
    assert_true(pl_span_eq_str(e.block, "x"));
    assert_false(frame_entry_next(&rest, &e));

    frame_parse(pl_buf_span(&b[4].bytes), &f, &why);
    assert_int_equal(f.wall_ms, 12);
    assert_memory_equal(&f.settled.epoch, &settled.epoch, 16);
    assert_true(f.settled.position == settled.position);
    assert_int_equal(frame_claim(&f.list, 0).next, 9);

    frame_parse(pl_buf_span(&b[8].bytes), &f, &why);
    assert_true(f.page.restart);
    assert_false(f.page.caught_up);
    assert_int_equal(f.page.position, 42);
    assert_int_equal(f.page.items.len, 12);

    frame_parse(pl_buf_span(&b[9].bytes), &f, &why);
    assert_true(f.caught_up);
    assert_int_equal(frame_record(&f.list, 0).dropped, 4);
    assert_int_equal(frame_record(&f.list, 0).highest, 9);
    release(b, n);
}

/* A frame cut anywhere, or followed by anything, is refused, and the refusal names a field. */
static void cut_or_stretched_is_refused(void **state)
{
    (void)state;
    struct built b[16];
    size_t n = every_frame(b);
    for (size_t i = 0; i < n; i++) {
        struct pl_buf *bytes = &b[i].bytes;
        for (size_t len = 0; len < bytes->len; len++) {
            /* A copy of exactly that size, so that a sanitizer sees any read past it. */
            uint8_t *cut = malloc(len + 1);
            memcpy(cut, bytes->data, len);
            uint8_t *exact = realloc(cut, len == 0 ? 1 : len);
            struct frame f;
            struct pl_why why = {0};
            assert_int_equal(frame_parse(pl_span(exact, len), &f, &why), PL_EINVAL);
            assert_true(why.field[0] != '\0' && why.text[0] != '\0');
            free(exact);
        }
        struct frame f;
        struct pl_why why = {0};
        pl_buf_put_u8(bytes, 0);
        assert_int_equal(frame_parse(pl_buf_span(bytes), &f, &why), PL_EINVAL);
        assert_string_equal(why.field, "frame");
    }
    release(b, n);
}

static void each_wrong_field_is_named(void **state)
{
    (void)state;
    static const struct {
        int frame;
        size_t offset;
        uint8_t value;
        const char *field;
    } wrong[] = {
        {0, 0, 0x06, "type"},
        {1, 50, 0, "signature"},
        {1, 50, PL_SIGNATURE_MAX_BYTES + 1, "signature"},
        {1, 62, 0, "region"},
        {1, 63, ' ', "region"},
        {1, 67, 0xff, "wall_ms"},
        {1, 75, 0xff, "claims"},
        {1, 75 + 2 + 16, 0xff, "claims.acked"},
        {1, 75 + 2 + 40, 2, "claims.closed"},
        {2, 2, 0xff, "entries"},
        {2, 4, 3, "entries.kind"},
        {2, 5, 0xff, "entries.block"},
        {3, 26, 1, "wait_ms"},
        {4, 2, 0x80, "wall_ms"},
        {4, 34, 0xff, "claims"},
        {6, 10, 0xff, "records"},
        {6, 12 + 16, 1, "records.contiguous"},
        {7, 4, 0, "verdicts"},
        {7, 8, 6, "verdicts"},
        {8, 18, 4, "flags"},
        {8, 35, 0x7f, "items"},
        {8, 39, 1, "items"},
        {9, 10, 1, "flags"},
        {11, 3, 0, "refusal"},
        {11, 3, 7, "refusal"},
        {11, 4, 0xff, "sentence"},
        {11, 6, '\n', "sentence"},
    };
    struct built b[16];
    size_t n = every_frame(b);
    for (size_t i = 0; i < COUNT(wrong); i++) {
        struct pl_buf *bytes = &b[wrong[i].frame].bytes;
        uint8_t kept = bytes->data[wrong[i].offset];
        bytes->data[wrong[i].offset] = wrong[i].value;
        struct frame f;
        struct pl_why why = {0};
        enum pl_err err = frame_parse(pl_buf_span(bytes), &f, &why);
        if (err != PL_EINVAL || strcmp(why.field, wrong[i].field) != 0)
            fail_msg("%s at %zu: %s in field \"%s\", expected \"%s\"", b[wrong[i].frame].name,
                     wrong[i].offset, pl_err_word(err), why.field, wrong[i].field);
        bytes->data[wrong[i].offset] = kept;
    }
    b[0].bytes.data[1] = 2;
    struct frame f;
    struct pl_why why;
    assert_int_equal(frame_parse(pl_buf_span(&b[0].bytes), &f, &why), PL_EUNSUPPORTED);
    assert_string_equal(why.field, "version");
    release(b, n);
}

static void limits_hold_when_writing(void **state)
{
    (void)state;
    struct built b = begin("limits");
    struct pl_buf *out = &b.bytes;
    struct frame_prove p = prove();
    p.region = PL_SPAN_LIT("sixteen-letters!");
    assert_int_equal(frame_put_prove(out, &p, NULL, 0), PL_EINVAL);
    p = prove();
    p.wall_ms = -1;
    assert_int_equal(frame_put_prove(out, &p, NULL, 0), PL_EINVAL);
    p = prove();
    p.signature = pl_span(NULL, 0);
    assert_int_equal(frame_put_prove(out, &p, NULL, 0), PL_EINVAL);

    static struct chain_claim many[FRAME_CHAINS_MAX + 1];
    assert_int_equal(frame_put_ping(out, 0, &settled, many, COUNT(many)), PL_ELIMIT);
    many[0].acked = 1;
    assert_int_equal(frame_put_ping(out, 0, &settled, many, 1), PL_EINVAL);
    static struct chain_record records_many[FRAME_CHAINS_MAX + 1];
    assert_int_equal(frame_put_pong(out, 0, true, records_many, COUNT(records_many)), PL_ELIMIT);

    struct frame_feed feed = {.wait_ms = FRAME_WAIT_MAX_MS + 1};
    assert_int_equal(frame_put_feed(out, &feed), PL_EINVAL);
    struct frame_page g = page();
    g.items.len--;
    assert_int_equal(frame_put_page(out, &g), PL_EINVAL);
    enum block_verdict none = 0;
    assert_int_equal(frame_put_acks(out, &none, 1), PL_EINVAL);
    assert_int_equal(out->len, 0);

    static uint8_t big[LIMIT_BLOCK_BYTES + 1];
    assert_int_equal(frame_put_blocks(out), PL_OK);
    assert_int_equal(frame_add_block(out, pl_span(big, sizeof(big))), PL_ELIMIT);
    assert_int_equal(frame_add_block(out, pl_span(big, 0)), PL_EINVAL);
    assert_int_equal(frame_add_block(out, pl_span(big, LIMIT_BLOCK_BYTES)), PL_OK);
    assert_int_equal(frame_add_block(out, pl_span(big, LIMIT_BLOCK_BYTES)), PL_ELIMIT);
    struct frame f;
    assert_int_equal(frame_parse(pl_buf_span(out), &f, NULL), PL_OK);
    assert_int_equal(f.entries, 1);

    pl_buf_reset(out);
    assert_int_equal(frame_put_blocks(out), PL_OK);
    for (size_t i = 0; i < FRAME_ENTRIES_MAX; i++)
        assert_int_equal(frame_add_block(out, PL_SPAN_LIT("b")), PL_OK);
    assert_int_equal(frame_add_block(out, PL_SPAN_LIT("b")), PL_ELIMIT);
    assert_int_equal(frame_parse(pl_buf_span(out), &f, NULL), PL_OK);
    assert_int_equal(f.entries, FRAME_ENTRIES_MAX);

    pl_buf_reset(out);
    char longer[FRAME_SENTENCE_BYTES + 50];
    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    longer[0] = '\n';
    assert_int_equal(frame_put_refused(out, FRAME_REFUSED_BUSY, longer), PL_OK);
    assert_int_equal(frame_parse(pl_buf_span(out), &f, NULL), PL_OK);
    assert_int_equal(f.sentence.len, FRAME_SENTENCE_BYTES);
    assert_int_equal(f.sentence.data[0], '?');
    pl_buf_release(out);
}

/* A signature for one edge, nonce or purpose must not serve another. */
static void proof_depends_on_all_it_names(void **state)
{
    (void)state;
    uint8_t nonce[FRAME_NONCE_BYTES] = {1}, a[FRAME_PROOF_BYTES], b[FRAME_PROOF_BYTES];
    frame_proof(nonce, &edge, a);
    assert_memory_equal(a, "polder link v1 :", 16);
    frame_proof(nonce, &other, b);
    assert_memory_not_equal(a, b, sizeof(a));
    nonce[31] = 1;
    frame_proof(nonce, &edge, b);
    assert_memory_not_equal(a, b, sizeof(a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_sent_is_what_arrives),
        cmocka_unit_test(cut_or_stretched_is_refused),
        cmocka_unit_test(each_wrong_field_is_named),
        cmocka_unit_test(limits_hold_when_writing),
        cmocka_unit_test(proof_depends_on_all_it_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
