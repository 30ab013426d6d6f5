#include "proto/base/crypto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/base/vectors.h"

static void sha256_over_parts(void **state)
{
    (void)state;
    uint8_t hash[PL_SHA256_BYTES];
    pl_sha256_one(PL_SPAN_LIT("abc"), hash); /* FIPS 180-2 appendix B */
    assert_hex(hash, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    pl_sha256(NULL, 0, hash);
    assert_hex(hash, 32, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    struct pl_span parts[] = {PL_SPAN_LIT("a"), {NULL, 0}, PL_SPAN_LIT("bc")};
    pl_sha256(parts, 3, hash);
    static uint8_t million[1000000];
    memset(million, 'a', sizeof(million));
    pl_sha256_one(pl_span(million, sizeof(million)), hash);
    assert_hex(hash, 32, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    pl_sha256(parts, 3, hash);
    assert_hex(hash, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void hmac_as_in_rfc_4231(void **state)
{
    (void)state;
    uint8_t mac[PL_SHA256_BYTES];
    struct pl_span hello[] = {PL_SPAN_LIT("Hi "), PL_SPAN_LIT("There")};
    struct bytes key = unhex("0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b");
    assert_int_equal(pl_hmac_sha256(view(&key), hello, 2, mac), PL_OK);
    assert_hex(mac, 32, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");

    struct pl_span what = PL_SPAN_LIT("what do ya want for nothing?");
    assert_int_equal(pl_hmac_sha256(PL_SPAN_LIT("Jefe"), &what, 1, mac), PL_OK);
    assert_hex(mac, 32, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");

    uint8_t large_key[131];
    memset(large_key, 0xaa, sizeof(large_key));
    struct pl_span large = PL_SPAN_LIT("Test Using Larger Than Block-Size Key - Hash Key First");
    assert_int_equal(pl_hmac_sha256(pl_span(large_key, 131), &large, 1, mac), PL_OK);
    assert_hex(mac, 32, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

static void hkdf_as_in_rfc_5869(void **state)
{
    (void)state;
    static const struct {
        const char *ikm, *salt, *info, *prk, *okm;
    } cases[] = {
        {"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "000102030405060708090a0b0c",
         "f0f1f2f3f4f5f6f7f8f9", "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
         "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"},
        {"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2"
         "c"
         "2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f",
         "606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8"
         "c"
         "8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
         "b0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbd"
         "c"
         "dddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
         "06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244",
         "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65"
         "e"
         "590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"},
        {"0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "", "",
         "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
         "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct bytes ikm = unhex(cases[i].ikm), salt = unhex(cases[i].salt),
                     info = unhex(cases[i].info);
        uint8_t prk[PL_SHA256_BYTES], okm[128];
        const struct pl_span parts[] = {view(&ikm)};
        assert_int_equal(pl_hmac_sha256(view(&salt), parts, 1, prk), PL_OK); /* section 2.2 */
        assert_hex(prk, sizeof(prk), cases[i].prk);
        size_t len = strlen(cases[i].okm) / 2;
        assert_int_equal(pl_hkdf_expand(pl_span(prk, sizeof(prk)), view(&info), okm, len), PL_OK);
        assert_hex(okm, len, cases[i].okm);
    }
}

static void hkdf_gives_255_blocks_and_no_more(void **state)
{
    (void)state;
    static uint8_t out[255 * 32 + 1];
    uint8_t prk[32] = {1};
    struct pl_span key = pl_span(prk, sizeof(prk));
    assert_int_equal(pl_hkdf_expand(key, pl_span(NULL, 0), out, sizeof(out) - 1), PL_OK);
    assert_int_equal(pl_hkdf_expand(key, pl_span(NULL, 0), out, sizeof(out)), PL_ELIMIT);
    assert_int_equal(pl_hkdf_expand(pl_span(prk, 31), pl_span(NULL, 0), out, 32), PL_EINVAL);
}

/* Test cases 4, 13, 14 and 16 of the GCM specification that NIST SP 800-38D refers to. */
static const struct {
    const char *key, *nonce, *plain, *aad, *sealed;
} gcm[] = {
    {"feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6"
     "b525b16aedf5aa0de657ba637b39",
     "feedfacedeadbeeffeedfacedeadbeefabaddad2",
     "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84"
     "aa051ba30b396a0aac973d58e0915bc94fbc3221a5db94fae95ae7121a47"},
    {"0000000000000000000000000000000000000000000000000000000000000000", "000000000000000000000000",
     "", "", "530f8afbc74536b9a963b4f1c4cb738b"},
    {"0000000000000000000000000000000000000000000000000000000000000000", "000000000000000000000000",
     "00000000000000000000000000000000", "",
     "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"},
    {"feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", "cafebabefacedbaddecaf888",
     "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6"
     "b525b16aedf5aa0de657ba637b39",
     "feedfacedeadbeeffeedfacedeadbeefabaddad2",
     "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b105682"
     "8838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b"},
};

static void gcm_as_specified(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(gcm) / sizeof(gcm[0]); i++) {
        struct bytes key = unhex(gcm[i].key), nonce = unhex(gcm[i].nonce),
                     plain = unhex(gcm[i].plain), aad = unhex(gcm[i].aad);
        struct pl_aead *aead = NULL;
        assert_int_equal(pl_aead_new(&aead, key.data, key.len), PL_OK);
        for (int reuse = 0; reuse < 2; reuse++) { /* contexts serve many messages */
            uint8_t sealed[128], opened[128];
            size_t len = plain.len + PL_AEAD_TAG_BYTES;
            assert_int_equal(pl_aead_seal(aead, nonce.data, view(&aad), view(&plain), sealed),
                             PL_OK);
            assert_hex(sealed, len, gcm[i].sealed);
            assert_int_equal(
                pl_aead_open(aead, nonce.data, view(&aad), pl_span(sealed, len), opened), PL_OK);
            assert_memory_equal(opened, plain.data, plain.len);
            /* in place */
            assert_int_equal(
                pl_aead_open(aead, nonce.data, view(&aad), pl_span(sealed, len), sealed), PL_OK);
            assert_memory_equal(sealed, plain.data, plain.len);
            assert_int_equal(
                pl_aead_seal(aead, nonce.data, view(&aad), pl_span(sealed, plain.len), sealed),
                PL_OK);
            assert_hex(sealed, len, gcm[i].sealed);
        }
        pl_aead_free(aead);
    }
}

/* As long as a block: libraries take other roads for those. The tag is as mbedTLS makes it. */
static void gcm_of_a_block(void **state)
{
    (void)state;
    enum { LEN = 1000003 };
    static uint8_t text[LEN + PL_AEAD_TAG_BYTES];
    const uint8_t key[PL_AEAD_KEY_BYTES] = {7}, nonce[PL_AEAD_NONCE_BYTES] = {9};
    struct pl_aead *aead = NULL;
    assert_int_equal(pl_aead_new(&aead, key, sizeof(key)), PL_OK);
    for (size_t i = 0; i < LEN; i++)
        text[i] = (uint8_t)(i * i >> 8);
    assert_int_equal(pl_aead_seal(aead, nonce, PL_SPAN_LIT("header"), pl_span(text, LEN), text),
                     PL_OK);
    assert_hex(text + LEN, PL_AEAD_TAG_BYTES, "f593f2280c523607dac46793bfcc5b37");
    assert_int_equal(
        pl_aead_open(aead, nonce, PL_SPAN_LIT("header"), pl_span(text, sizeof(text)), text), PL_OK);
    for (size_t i = 0; i < LEN; i++)
        assert_int_equal(text[i], (uint8_t)(i * i >> 8));
    pl_aead_free(aead);
}

static void gcm_refuses_every_changed_bit(void **state)
{
    (void)state;
    static const uint8_t zero[60];
    struct bytes key = unhex(gcm[3].key), nonce = unhex(gcm[3].nonce), aad = unhex(gcm[3].aad),
                 sealed = unhex(gcm[3].sealed);
    struct pl_aead *aead = NULL;
    assert_int_equal(pl_aead_new(&aead, key.data, key.len), PL_OK);
    uint8_t out[60];
    struct bytes *inputs[] = {&nonce, &aad, &sealed};
    for (size_t which = 0; which < 3; which++)
        for (size_t bit = 0; bit < inputs[which]->len * 8; bit += 3) {
            inputs[which]->data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            memset(out, 0x5a, sizeof(out));
            assert_int_equal(pl_aead_open(aead, nonce.data, view(&aad), view(&sealed), out),
                             PL_EAUTH);
            assert_memory_equal(out, zero, sizeof(out)); /* no unauthenticated plaintext */
            inputs[which]->data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
    assert_int_equal(pl_aead_open(aead, nonce.data, view(&aad), pl_span(sealed.data, 75), out),
                     PL_EAUTH);
    assert_int_equal(pl_aead_open(aead, nonce.data, view(&aad), pl_span(sealed.data, 15), out),
                     PL_EAUTH);
    assert_int_equal(pl_aead_open(aead, nonce.data, view(&aad), pl_span(NULL, 0), out), PL_EAUTH);
    assert_int_equal(pl_aead_open(aead, nonce.data, view(&aad), view(&sealed), out), PL_OK);
    pl_aead_free(aead);
    pl_aead_free(NULL);
    assert_int_equal(pl_aead_new(&aead, key.data, 24), PL_EINVAL);
    assert_int_equal(pl_aead_new(&aead, key.data, 0), PL_EINVAL);
}

static void cmac_as_in_sp_800_38b(void **state)
{
    (void)state;
    struct bytes key = unhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
    struct bytes message =
        unhex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
              "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710");
    static const struct {
        size_t len;
        const char *mac;
    } cases[] = {
        {0, "028962f61b7bf89efc6b551f4667d983"},
        {16, "28a7023f452e8f82bd4bf28d8c37c35c"},
        {40, "aaf3d8f1de5640c232f5b169b9c911e6"},
        {64, "e1992190549f6ed5696a2c056c315410"},
    };
    struct pl_cmac *cmac = NULL;
    assert_int_equal(pl_cmac_new(&cmac, key.data), PL_OK);
    for (int reuse = 0; reuse < 2; reuse++)
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
            uint8_t mac[PL_CMAC_BYTES];
            assert_int_equal(pl_cmac(cmac, pl_span(message.data, cases[i].len), mac), PL_OK);
            assert_hex(mac, sizeof(mac), cases[i].mac);
        }
    pl_cmac_free(cmac);
    pl_cmac_free(NULL);
}

static void cmac_keeps_short_inputs_apart(void **state)
{
    (void)state;
    uint8_t key[32] = {7}, macs[20][PL_CMAC_BYTES], message[20] = {0x80};
    struct pl_cmac *cmac = NULL;
    assert_int_equal(pl_cmac_new(&cmac, key), PL_OK);
    for (size_t len = 0; len < 20; len++) /* 0x80 and zeros: what padding looks like */
        assert_int_equal(pl_cmac(cmac, pl_span(message, len), macs[len]), PL_OK);
    for (size_t a = 0; a < 20; a++)
        for (size_t b = a + 1; b < 20; b++)
            assert_memory_not_equal(macs[a], macs[b], PL_CMAC_BYTES);
    pl_cmac_free(cmac);
}

static void siv_as_in_rfc_5297(void **state)
{
    (void)state;
    struct bytes key = unhex("fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
    struct bytes aad = unhex("101112131415161718191a1b1c1d1e1f2021222324252627");
    struct bytes plain = unhex("112233445566778899aabbccddee");
    uint8_t sealed[30], opened[14];
    struct pl_siv *siv = NULL;
    assert_int_equal(pl_siv_new(&siv, key.data, 32), PL_OK);
    for (int reuse = 0; reuse < 2; reuse++) {
        assert_int_equal(
            pl_siv_seal(siv, pl_span(aad.data, aad.len), pl_span(plain.data, plain.len), sealed),
            PL_OK);
        assert_hex(sealed, sizeof(sealed),
                   "85632d07c6e8f37f950acd320a2ecc9340c02b9690c4dc04daef7f6afe5c");
        assert_int_equal(
            pl_siv_open(siv, pl_span(aad.data, aad.len), pl_span(sealed, sizeof(sealed)), opened),
            PL_OK);
        assert_memory_equal(opened, plain.data, plain.len);
    }
    pl_siv_free(siv);
    pl_siv_free(NULL);
    assert_int_equal(pl_siv_new(&siv, key.data, 16), PL_EINVAL);
}

/* Beginnings and ends of what another implementation (pyca/cryptography) makes of texts of all
 * alignments. */
static void siv_with_long_keys(void **state)
{
    (void)state;
    static const struct {
        size_t len;
        const char *iv, *end;
    } cases[] = {
        {1, "414c302783a96055924c19a24971ec24", "71ec248d"},
        {15, "a94ae0bb6ed95b19f6ccaa8751892340", "ce409723"},
        {16, "8f8acdf35955a80473d680585675d656", "8a87897a"},
        {17, "f14af539a94684ce9d2e9d4340b19c75", "257bdd84"},
        {31, "25ef37654de8db5681570e6387a5978e", "f4ca9283"},
        {32, "e232d7823a8c3ede96436efba26908c5", "dbfa37d4"},
        {33, "0cb55d5eb03dfa9fffe1bf9e09138045", "ca3c93d2"},
        {48, "ae88748bd88bf281f07cb8eb120c129a", "6369aeb1"},
        {200, "fa7f3d4ae5b8069e06ee24886d8fdbd2", "7fb3ad19"},
    };
    uint8_t key[64], aad[32], plain[256], sealed[272];
    struct pl_siv *siv = NULL;
    for (size_t i = 0; i < sizeof(key); i++)
        key[i] = (uint8_t)i;
    for (size_t i = 0; i < sizeof(aad); i++)
        aad[i] = (uint8_t)(0x80 + i);
    struct pl_span extra = pl_span(aad, sizeof(aad));
    assert_int_equal(pl_siv_new(&siv, key, sizeof(key)), PL_OK);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t len = cases[i].len, whole = len + PL_SIV_BYTES;
        for (size_t j = 0; j < len; j++)
            plain[j] = (uint8_t)(7 * j + len);
        memcpy(sealed + PL_SIV_BYTES, plain, len); /* in place, both ways */
        assert_int_equal(pl_siv_seal(siv, extra, pl_span(sealed + PL_SIV_BYTES, len), sealed),
                         PL_OK);
        assert_hex(sealed, PL_SIV_BYTES, cases[i].iv);
        assert_hex(sealed + whole - 4, 4, cases[i].end);
        assert_int_equal(pl_siv_open(siv, extra, pl_span(sealed, whole), sealed + PL_SIV_BYTES),
                         PL_OK);
        assert_memory_equal(sealed + PL_SIV_BYTES, plain, len);
    }
    pl_siv_free(siv);
}

static void siv_refuses_every_changed_bit(void **state)
{
    (void)state;
    uint8_t key[64] = {1}, aad[5] = "where", plain[] = "what is to be kept from others";
    uint8_t sealed[PL_SIV_BYTES + sizeof(plain)], opened[sizeof(plain)];
    static const uint8_t nothing[sizeof(plain)];
    struct pl_siv *siv = NULL;
    assert_int_equal(pl_siv_new(&siv, key, sizeof(key)), PL_OK);
    assert_int_equal(
        pl_siv_seal(siv, pl_span(aad, sizeof(aad)), pl_span(plain, sizeof(plain)), sealed), PL_OK);
    for (size_t bit = 0; bit < 8 * sizeof(sealed); bit++) {
        sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
        memset(opened, 1, sizeof(opened));
        assert_int_equal(
            pl_siv_open(siv, pl_span(aad, sizeof(aad)), pl_span(sealed, sizeof(sealed)), opened),
            PL_EAUTH);
        assert_memory_equal(opened, nothing, sizeof(nothing));
        sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    aad[0] ^= 1;
    assert_int_equal(
        pl_siv_open(siv, pl_span(aad, sizeof(aad)), pl_span(sealed, sizeof(sealed)), opened),
        PL_EAUTH);
    aad[0] ^= 1;
    for (size_t len = 0; len < sizeof(sealed); len++)
        assert_int_equal(pl_siv_open(siv, pl_span(aad, sizeof(aad)), pl_span(sealed, len), opened),
                         PL_EAUTH);
    pl_siv_free(siv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_over_parts),
        cmocka_unit_test(hmac_as_in_rfc_4231),
        cmocka_unit_test(hkdf_as_in_rfc_5869),
        cmocka_unit_test(hkdf_gives_255_blocks_and_no_more),
        cmocka_unit_test(gcm_as_specified),
        cmocka_unit_test(gcm_of_a_block),
        cmocka_unit_test(gcm_refuses_every_changed_bit),
        cmocka_unit_test(cmac_as_in_sp_800_38b),
        cmocka_unit_test(cmac_keeps_short_inputs_apart),
        cmocka_unit_test(siv_as_in_rfc_5297),
        cmocka_unit_test(siv_with_long_keys),
        cmocka_unit_test(siv_refuses_every_changed_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
