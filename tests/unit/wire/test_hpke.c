#include "proto/base/text.h"
#include "tests/unit/wire/hpke_vectors.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct bytes {
    uint8_t data[128];
    size_t len;
};

static struct bytes unhex(const char *text)
{
    struct bytes b = {.len = strlen(text) / 2};
    assert_true(b.len <= sizeof(b.data));
    assert_true(pl_hex_decode(pl_span_str(text), b.data, b.len));
    return b;
}

static struct pl_span view(const struct bytes *b)
{
    return pl_span(b->data, b->len);
}

/* A source that yields one ephemeral secret and then nothing. */
static enum pl_err fill_once(void *ctx, void *out, size_t len)
{
    struct bytes *left = ctx;
    if (len != left->len)
        return PL_EIO;
    memcpy(out, left->data, len);
    left->len = 0;
    return PL_OK;
}

struct pair {
    struct hpke_context *sender, *receiver;
    uint8_t enc[HPKE_ENC_BYTES];
};

static void pair_of_vector(struct pair *p, const struct hpke_vector *v)
{
    struct bytes info = unhex(v->info), ephemeral = unhex(v->ephemeral_secret);
    struct bytes recipient_secret = unhex(v->recipient_secret);
    struct bytes recipient_public = unhex(v->recipient_public);
    struct bytes sender_secret = unhex(v->sender_secret), sender_public = unhex(v->sender_public);
    struct pl_random random = {.fill = fill_once, .ctx = &ephemeral};
    assert_int_equal(hpke_setup_auth_sender(&p->sender, v->aead, &random, recipient_public.data,
                                            sender_secret.data, view(&info), p->enc),
                     PL_OK);
    assert_int_equal(hpke_setup_auth_receiver(&p->receiver, v->aead, p->enc, recipient_secret.data,
                                              sender_public.data, view(&info)),
                     PL_OK);
}

static void pair_free(struct pair *p)
{
    hpke_free(p->sender);
    hpke_free(p->receiver);
}

static void vector_seals_and_opens(const struct hpke_vector *v)
{
    struct pair p;
    pair_of_vector(&p, v);
    struct bytes enc = unhex(v->enc), plain = unhex(v->plain);
    assert_memory_equal(p.enc, enc.data, enc.len);

    /* Sealing goes through the numbers in order; the RFC prints six of them. */
    for (size_t i = 0; i < COUNT(v->sealed); i++) {
        struct bytes aad = unhex(v->sealed[i].aad), expect = unhex(v->sealed[i].sealed);
        uint8_t out[128], opened[128];
        uint64_t sequence = 0;
        while (hpke_sequence(p.sender) < v->sealed[i].sequence)
            assert_int_equal(hpke_seal(p.sender, pl_span(NULL, 0), view(&plain), out, &sequence),
                             PL_OK);
        assert_int_equal(hpke_seal(p.sender, view(&aad), view(&plain), out, &sequence), PL_OK);
        assert_int_equal(sequence, v->sealed[i].sequence);
        assert_int_equal(expect.len, plain.len + PL_AEAD_TAG_BYTES);
        assert_memory_equal(out, expect.data, expect.len);
        assert_int_equal(hpke_open(p.receiver, sequence, view(&aad), view(&expect), opened), PL_OK);
        assert_memory_equal(opened, plain.data, plain.len);
    }
    pair_free(&p);
}

static void rfc9180_vectors_seal_and_open(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(hpke_vectors); i++)
        vector_seals_and_opens(&hpke_vectors[i]);
}

static void opening_refuses_what_was_not_sealed(void **state)
{
    (void)state;
    struct pair p;
    pair_of_vector(&p, &hpke_vectors[1]);
    const struct pl_span aad = PL_SPAN_LIT("header"), plain = PL_SPAN_LIT("a visitor's event");
    uint8_t sealed[64], out[64];
    uint64_t sequence;
    size_t len = plain.len + PL_AEAD_TAG_BYTES;
    assert_int_equal(hpke_seal(p.sender, aad, plain, sealed, &sequence), PL_OK);
    for (size_t i = 0; i < len; i++) {
        sealed[i] ^= 1;
        assert_int_equal(hpke_open(p.receiver, sequence, aad, pl_span(sealed, len), out), PL_EAUTH);
        sealed[i] ^= 1;
    }
    for (size_t short_len = 0; short_len < len; short_len++)
        assert_int_equal(hpke_open(p.receiver, sequence, aad, pl_span(sealed, short_len), out),
                         PL_EAUTH);
    assert_int_equal(hpke_open(p.receiver, sequence + 1, aad, pl_span(sealed, len), out), PL_EAUTH);
    assert_int_equal(
        hpke_open(p.receiver, sequence, PL_SPAN_LIT("Header"), pl_span(sealed, len), out),
        PL_EAUTH);
    assert_int_equal(hpke_open(p.receiver, sequence, aad, pl_span(sealed, len), out), PL_OK);
    pair_free(&p);
}

static void opening_takes_any_order(void **state)
{
    (void)state;
    struct pair p;
    pair_of_vector(&p, &hpke_vectors[1]);
    uint8_t sealed[3][1 + PL_AEAD_TAG_BYTES], out[1];
    uint64_t sequence;
    for (uint8_t i = 0; i < 3; i++) {
        assert_int_equal(
            hpke_seal(p.sender, pl_span(NULL, 0), pl_span(&i, 1), sealed[i], &sequence), PL_OK);
        assert_int_equal(sequence, i);
    }
    for (int i = 2; i >= 0; i--) {
        assert_int_equal(hpke_open(p.receiver, (uint64_t)i, pl_span(NULL, 0),
                                   pl_span(sealed[i], sizeof(sealed[i])), out),
                         PL_OK);
        assert_int_equal(out[0], i);
    }
    pair_free(&p);
}

static void seals_in_place(void **state)
{
    (void)state;
    struct pair p;
    pair_of_vector(&p, &hpke_vectors[1]);
    uint8_t buf[5 + PL_AEAD_TAG_BYTES] = "hello";
    uint64_t sequence;
    assert_int_equal(hpke_seal(p.sender, pl_span(NULL, 0), pl_span(buf, 5), buf, &sequence), PL_OK);
    assert_memory_not_equal(buf, "hello", 5);
    assert_int_equal(
        hpke_open(p.receiver, sequence, pl_span(NULL, 0), pl_span(buf, sizeof(buf)), buf), PL_OK);
    assert_memory_equal(buf, "hello", 5);
    pair_free(&p);
}

static void a_receiver_cannot_seal(void **state)
{
    (void)state;
    struct pair p;
    pair_of_vector(&p, &hpke_vectors[1]);
    uint8_t out[32];
    uint64_t sequence = 77;
    assert_int_equal(hpke_seal(p.receiver, pl_span(NULL, 0), PL_SPAN_LIT("x"), out, &sequence),
                     PL_EDENIED);
    assert_int_equal(sequence, 77);
    pair_free(&p);
}

static void receiver_for(struct hpke_context **out, const struct pair *p, const uint8_t *recipient,
                         const uint8_t *sender_public, struct pl_span info)
{
    assert_int_equal(
        hpke_setup_auth_receiver(out, HPKE_AES_256_GCM, p->enc, recipient, sender_public, info),
        PL_OK);
}

static void other_keys_or_info_do_not_open(void **state)
{
    (void)state;
    uint8_t secret[3][32], public_key[3][32], sealed[32], out[32];
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(pl_x25519_keypair(pl_random_system(), secret[i], public_key[i]), PL_OK);
    struct pair p = {0};
    const struct pl_span info = PL_SPAN_LIT("info"), none = pl_span(NULL, 0);
    uint64_t sequence;
    assert_int_equal(hpke_setup_auth_sender(&p.sender, HPKE_AES_256_GCM, pl_random_system(),
                                            public_key[1], secret[0], info, p.enc),
                     PL_OK);
    assert_int_equal(hpke_seal(p.sender, none, PL_SPAN_LIT("x"), sealed, &sequence), PL_OK);
    const struct {
        const uint8_t *recipient_secret, *sender_public;
        struct pl_span info;
        enum pl_err expect;
    } row[] = {
        {secret[1], public_key[0], info, PL_OK},
        {secret[2], public_key[0], info, PL_EAUTH}, /* not the recipient */
        {secret[1], public_key[2], info, PL_EAUTH}, /* not the sender */
        {secret[1], public_key[0], PL_SPAN_LIT("other"), PL_EAUTH},
    };
    for (size_t i = 0; i < COUNT(row); i++) {
        receiver_for(&p.receiver, &p, row[i].recipient_secret, row[i].sender_public, row[i].info);
        assert_int_equal(hpke_open(p.receiver, sequence, none, pl_span(sealed, 17), out),
                         row[i].expect);
        hpke_free(p.receiver);
    }
    hpke_free(p.sender);
}

static void refuses_keys_of_low_order(void **state)
{
    (void)state;
    static const uint8_t zero[32];
    uint8_t secret[32], public_key[32], enc[32];
    struct hpke_context *context = NULL;
    assert_int_equal(pl_x25519_keypair(pl_random_system(), secret, public_key), PL_OK);
    assert_int_equal(hpke_setup_auth_sender(&context, HPKE_AES_256_GCM, pl_random_system(), zero,
                                            secret, PL_SPAN_LIT(""), enc),
                     PL_EAUTH);
    assert_int_equal(hpke_setup_auth_receiver(&context, HPKE_AES_256_GCM, zero, secret, public_key,
                                              PL_SPAN_LIT("")),
                     PL_EAUTH);
    assert_int_equal(hpke_setup_auth_receiver(&context, HPKE_AES_256_GCM, public_key, secret, zero,
                                              PL_SPAN_LIT("")),
                     PL_EAUTH);
    assert_null(context);
}

static enum pl_err fill_never(void *ctx, void *out, size_t len)
{
    (void)ctx, (void)out, (void)len;
    return PL_EIO;
}

static void set_up_says_what_failed(void **state)
{
    (void)state;
    uint8_t secret[32], public_key[32], enc[32] = {0xee};
    struct hpke_context *context = NULL;
    const struct pl_random broken = {.fill = fill_never};
    assert_int_equal(pl_x25519_keypair(pl_random_system(), secret, public_key), PL_OK);
    assert_int_equal(hpke_setup_auth_sender(&context, HPKE_AES_256_GCM, &broken, public_key, secret,
                                            PL_SPAN_LIT(""), enc),
                     PL_EIO);
    assert_int_equal(hpke_setup_auth_sender(&context, (enum hpke_aead)3, pl_random_system(),
                                            public_key, secret, PL_SPAN_LIT(""), enc),
                     PL_EUNSUPPORTED);
    assert_null(context);
    assert_int_equal(enc[0], 0xee);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rfc9180_vectors_seal_and_open),
        cmocka_unit_test(opening_refuses_what_was_not_sealed),
        cmocka_unit_test(opening_takes_any_order),
        cmocka_unit_test(seals_in_place),
        cmocka_unit_test(a_receiver_cannot_seal),
        cmocka_unit_test(other_keys_or_info_do_not_open),
        cmocka_unit_test(refuses_keys_of_low_order),
        cmocka_unit_test(set_up_says_what_failed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
