#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "proto/base/text.h"
#include "proto/wire/id_hash.h"

static const uint8_t key[CATALOG_ID_KEY_BYTES] = {1, 2, 3};
static const uint8_t other_key[CATALOG_ID_KEY_BYTES] = {1, 2, 4};

static void test_keys_and_kinds(void **state)
{
    uint8_t a[ID_HASH_BYTES], b[ID_HASH_BYTES];
    char hex[2 * ID_HASH_BYTES + 1];
    (void)state;
    assert_int_equal(id_hash(key, ID_HASH_ID, PL_SPAN_LIT("visitor-1"), a), PL_OK);
    assert_int_equal(id_hash(key, ID_HASH_ID, PL_SPAN_LIT("visitor-1"), b), PL_OK);
    assert_memory_equal(a, b, sizeof(a));
    /* From openssl mac -cipher AES-256-CBC CMAC, over the byte 01 and the text. */
    pl_hex_encode(pl_span(a, sizeof(a)), hex);
    assert_string_equal(hex, "11a6a5714f9af8c80d13e9e2a89ba565");
    assert_int_equal(id_hash(key, ID_HASH_EMAIL, PL_SPAN_LIT("visitor-1"), b), PL_OK);
    assert_memory_not_equal(a, b, sizeof(a));
    assert_int_equal(id_hash(other_key, ID_HASH_ID, PL_SPAN_LIT("visitor-1"), b), PL_OK);
    assert_memory_not_equal(a, b, sizeof(a));
}

static void test_refusals(void **state)
{
    static const uint8_t text[513];
    uint8_t out[ID_HASH_BYTES];
    (void)state;
    assert_int_equal(id_hash(key, ID_HASH_ID, PL_SPAN_LIT(""), out), PL_EINVAL);
    assert_int_equal(id_hash(key, ID_HASH_ID, pl_span(text, 513), out), PL_ELIMIT);
    assert_int_equal(id_hash(key, ID_HASH_ID, pl_span(text, 512), out), PL_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_and_kinds),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
