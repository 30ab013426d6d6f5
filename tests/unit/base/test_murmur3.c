#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "proto/base/murmur3.h"

/* Values that the algorithm's public test vectors and Crobox' clients give. */
static void test_vectors(void **state)
{
    static const struct {
        const char *text;
        uint32_t seed, hash;
    } vectors[] = {
        {"", 0, 0},
        {"", 1, 0x514e28b7},
        {"", 0xffffffff, 0x81f16f39},
        {"a", 0x9747b28c, 0x7fa09ea6},
        {"aa", 0x9747b28c, 0x5d211726},
        {"aaa", 0x9747b28c, 0x283e0130},
        {"aaaa", 0x9747b28c, 0x5a97808a},
        {"Hello, world!", 0x9747b28c, 0x24884cba},
        {"foobar=bla", 0, 663876300},
        {"john=doe&foobar=bla", 0, (uint32_t)-1053595020},
        {"foobar=bla&john=doe", 0, (uint32_t)-96810183},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++)
        assert_int_equal(pl_murmur3_32(pl_span_str(vectors[i].text), vectors[i].seed),
                         vectors[i].hash);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_vectors)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
