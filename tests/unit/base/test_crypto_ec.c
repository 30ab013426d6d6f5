#include "proto/base/crypto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/base/vectors.h"

static void x25519_as_in_rfc_7748(void **state)
{
    (void)state;
    /* section 5.2; the second one has the bit set that must be masked */
    static const char *const cases[][3] = {
        {"a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
         "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
         "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"},
        {"4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
         "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
         "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957"},
        /* section 6.1, both sides */
        {"77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
         "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
         "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"},
        {"5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
         "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
         "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"},
    };
    uint8_t out[PL_X25519_BYTES];
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct bytes secret = unhex(cases[i][0]), peer = unhex(cases[i][1]);
        assert_int_equal(pl_x25519(secret.data, peer.data, out), PL_OK);
        assert_hex(out, sizeof(out), cases[i][2]);
    }
    struct bytes alice = unhex(cases[2][0]);
    assert_int_equal(pl_x25519_public(alice.data, out), PL_OK);
    assert_hex(out, sizeof(out), cases[3][1]);
}

/* Section 5.2: each result is the next scalar, each scalar the next point. */
static void x25519_a_thousand_times_over(void **state)
{
    (void)state;
    uint8_t k[PL_X25519_BYTES] = {9}, u[PL_X25519_BYTES] = {9}, out[PL_X25519_BYTES];
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(pl_x25519(k, u, out), PL_OK);
        memcpy(u, k, sizeof(u));
        memcpy(k, out, sizeof(k));
    }
    assert_hex(k, sizeof(k), "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51");
}

static void points_of_low_order_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", /* top bit masked */
    };
    uint8_t secret[PL_X25519_BYTES] = {1, 2, 3}, out[PL_X25519_BYTES] = {0x5a};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct bytes peer = unhex(bad[i]);
        assert_int_equal(pl_x25519(secret, peer.data, out), PL_EAUTH);
    }
    assert_int_equal(out[0], 0x5a);
}

static enum pl_err no_random(void *ctx, void *out, size_t len)
{
    (void)ctx;
    (void)out;
    (void)len;
    return PL_EIO;
}

static void fresh_pairs_agree(void **state)
{
    (void)state;
    uint8_t a[32], a_public[32], b[32], b_public[32], ab[32], ba[32];
    assert_int_equal(pl_x25519_keypair(pl_random_system(), a, a_public), PL_OK);
    assert_int_equal(pl_x25519_keypair(pl_random_system(), b, b_public), PL_OK);
    assert_memory_not_equal(a, b, 32);
    assert_int_equal(pl_x25519(a, b_public, ab), PL_OK);
    assert_int_equal(pl_x25519(b, a_public, ba), PL_OK);
    assert_memory_equal(ab, ba, 32);
    struct pl_random broken = {.fill = no_random};
    uint8_t before[32];
    memcpy(before, a, sizeof(before));
    assert_int_equal(pl_x25519_keypair(&broken, a, a_public), PL_EIO);
    assert_memory_equal(a, before, 32);
}

/* The P-256 key of RFC 6979 appendix A.2.5. */
static const char key_pem[] = "-----BEGIN EC PRIVATE KEY-----\n"
                              "MHcCAQEEIMmvqdhFunUWa1whV2ex1pNOUMPbNuibEnuKYisSD2choAoGCCqGSM49\n"
                              "AwEHoUQDQgAEYP7UuiVanTHJYet0xjVtaMBJuJI7Yfps5mliLmDyn7Z5A/4QCLi8\n"
                              "maQa6elWKLxk8vGyDC1+n1F3o8KU1EYimQ==\n"
                              "-----END EC PRIVATE KEY-----\n";

static void signatures_are_those_of_rfc_6979(void **state)
{
    (void)state;
    static const struct {
        const char *message, *der;
    } cases[] = {
        /* Its s is f7cb1c94…, more than half of the order: n - s is written. */
        {"sample", "3045022100efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"
                   "02200834e36ad29a83bf2bc9385e491d6099c8fdf9d1ed67aa7ea5f51f93782857a9"},
        {"test", "3045022100f1abb023518351cd71d881567b1ea663ed3efcf6c5132b354f28d3b0b7d38367"
                 "0220019f4113742a2b14bd25926b49c649155f267e60d3814b4c0cc84250e46f0083"},
    };
    struct pl_signer *signer = NULL;
    assert_int_equal(pl_signer_from_pem(&signer, pl_span_str(key_pem), NULL), PL_OK);
    for (size_t i = 0; i < 2; i++) {
        uint8_t signature[PL_SIGNATURE_MAX_BYTES];
        size_t len = sizeof(signature);
        assert_int_equal(pl_sign(signer, pl_span_str(cases[i].message), signature, &len), PL_OK);
        assert_hex(signature, len, cases[i].der);
    }
    uint8_t small[8];
    size_t len = sizeof(small);
    assert_int_equal(pl_sign(signer, PL_SPAN_LIT("sample"), small, &len), PL_ELIMIT);
    assert_int_equal(len, sizeof(small));
    pl_signer_free(signer);
    pl_signer_free(NULL);
}

static void only_the_signed_message_verifies(void **state)
{
    (void)state;
    struct pl_signer *signer = NULL;
    struct pl_buf spki;
    uint8_t signature[PL_SIGNATURE_MAX_BYTES + 1];
    size_t len = PL_SIGNATURE_MAX_BYTES;
    pl_buf_init(&spki, PL_PUBLIC_KEY_MAX_BYTES);
    assert_int_equal(pl_signer_from_pem(&signer, pl_span_str(key_pem), NULL), PL_OK);
    assert_int_equal(pl_signer_public(signer, &spki), PL_OK);
    assert_hex(spki.data, spki.len,
               "3059301306072a8648ce3d020106082a8648ce3d03010703420004"
               "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"
               "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299");
    assert_int_equal(pl_sign(signer, PL_SPAN_LIT("message"), signature, &len), PL_OK);
    struct pl_span key = pl_buf_span(&spki), message = PL_SPAN_LIT("message");
    assert_int_equal(pl_verify(key, message, pl_span(signature, len)), PL_OK);

    assert_int_equal(pl_verify(key, PL_SPAN_LIT("massage"), pl_span(signature, len)), PL_EAUTH);
    signature[len] = 0;
    assert_int_equal(pl_verify(key, message, pl_span(signature, len + 1)), PL_EAUTH);
    assert_int_equal(pl_verify(key, message, pl_span(signature, len - 1)), PL_EAUTH);
    assert_int_equal(pl_verify(key, message, pl_span(NULL, 0)), PL_EAUTH);
    for (size_t i = 0; i < len; i += 5) {
        signature[i] ^= 0x10;
        assert_int_equal(pl_verify(key, message, pl_span(signature, len)), PL_EAUTH);
        signature[i] ^= 0x10;
    }
    assert_int_equal(pl_verify(pl_span(NULL, 0), message, pl_span(signature, len)), PL_EINVAL);
    assert_int_equal(pl_verify(pl_span(key.data, key.len - 1), message, pl_span(signature, len)),
                     PL_EINVAL);
    uint8_t longer[PL_PUBLIC_KEY_MAX_BYTES + 1] = {0};
    memcpy(longer, key.data, key.len);
    assert_int_equal(pl_verify(pl_span(longer, key.len + 1), message, pl_span(signature, len)),
                     PL_EINVAL);
    spki.data[60] ^= 1; /* not on the curve */
    assert_int_equal(pl_verify(key, message, pl_span(signature, len)), PL_EINVAL);
    pl_signer_free(signer);
    pl_buf_release(&spki);
}

static void what_is_no_p256_key_is_refused_in_words(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "hello",
        /* P-384 */
        "-----BEGIN EC PRIVATE KEY-----\n"
        "MIGkAgEBBDAt0Ra1XEh79rHdyz4EfLqeCX1WTXOT0jb4hDhby3NqQ15CcVctgfHX\n"
        "+lTzYb7fF4mgBwYFK4EEACKhZANiAAQP/dK1xz6qyXitLpuorbItw4ahDAfQLEId\n"
        "Z19IMWBd5hJOa9gfawIH9oeGQiyGkETzEh+02Z3X5uRjQ+KmFUHmSoqi/+urSGfS\n"
        "dPSkP2IG6YTDzEdi9yl4sWoFk2CyTQc=\n"
        "-----END EC PRIVATE KEY-----\n",
        /* the public half only */
        "-----BEGIN PUBLIC KEY-----\n"
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEYP7UuiVanTHJYet0xjVtaMBJuJI7\n"
        "Yfps5mliLmDyn7Z5A/4QCLi8maQa6elWKLxk8vGyDC1+n1F3o8KU1EYimQ==\n"
        "-----END PUBLIC KEY-----\n",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct pl_signer *signer = NULL;
        struct pl_why why = {.text = ""};
        assert_int_equal(pl_signer_from_pem(&signer, pl_span_str(bad[i]), &why), PL_EINVAL);
        assert_null(signer);
        assert_non_null(strstr(why.text, "private key in PEM"));
    }
    static char large[20000];
    memset(large, '-', sizeof(large));
    struct pl_signer *signer = NULL;
    assert_int_equal(pl_signer_from_pem(&signer, pl_span(large, sizeof(large)), NULL), PL_ELIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(x25519_as_in_rfc_7748),
        cmocka_unit_test(x25519_a_thousand_times_over),
        cmocka_unit_test(points_of_low_order_are_refused),
        cmocka_unit_test(fresh_pairs_agree),
        cmocka_unit_test(signatures_are_those_of_rfc_6979),
        cmocka_unit_test(only_the_signed_message_verifies),
        cmocka_unit_test(what_is_no_p256_key_is_refused_in_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
