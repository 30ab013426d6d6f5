#include "proto/base/address.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_accepts(void **state)
{
    struct pl_address a;
    (void)state;
    assert_int_equal(pl_address_parse("127.0.0.1:8080", "http_listen", &a, NULL), PL_OK);
    assert_string_equal(a.host, "127.0.0.1");
    assert_int_equal(a.port, 8080);
    assert_int_equal(pl_address_parse("[::1]:0", "http_listen", &a, NULL), PL_OK);
    assert_string_equal(a.host, "::1");
    assert_int_equal(a.port, 0);
    assert_int_equal(pl_address_parse("0.0.0.0:65535", "http_listen", &a, NULL), PL_OK);
    assert_int_equal(a.port, 65535);
}

static void test_refuses(void **state)
{
    static const char *const bad[] = {
        "",
        "8080",
        ":8080",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1:80x",
        "localhost:80",
        "::1:80",
        "[::1]",
        "[127.0.0.1]:80",
        "[]:80",
        "[::1:80",
        "1111:2222:3333:4444:5555:6666:7777:8888:9999:80",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct pl_address a = {.port = 7};
        struct pl_why why = {0};
        assert_int_equal(pl_address_parse(bad[i], "https_listen", &a, &why), PL_EINVAL);
        assert_string_equal(why.field, "https_listen");
        assert_non_null(strstr(why.text, "127.0.0.1:8080"));
        assert_int_equal(a.port, 7);
    }
}

static void test_links(void **state)
{
    static const char *const bad[] = {
        "",
        "tls+tcp://",
        "tls+tcp://origin",
        "tls+tcp://:8090",
        "tls+tcp://origin:",
        "tls+tcp://origin:0",
        "tls+tcp://origin:65536",
        "tls+tcp://ori gin:8090",
        "tcp://origin:8090",
        "origin:8090",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(pl_link_url_is(bad[i]));
    assert_true(pl_link_url_is("tls+tcp://origin.example.eu:8090"));
    assert_true(pl_link_url_is("tls+tcp://[2001:db8::7]:1"));
}

/* What one process cannot listen at twice is found before it tries. */
static void test_none_twice(void **state)
{
    static const struct {
        const char *one, *other;
        bool clash;
    } cases[] = {
        {"127.0.0.1:8080", "127.0.0.1:8080", true},
        {"127.0.0.1:8080", "127.0.0.1:8081", false},
        {"127.0.0.1:8080", "127.0.0.2:8080", false},
        {"0.0.0.0:8080", "127.0.0.1:8080", true},
        {"127.0.0.1:8080", "0.0.0.0:8080", true},
        {"127.0.0.1:0", "127.0.0.1:0", false},
        {"[::1]:8080", "[0:0::1]:8080", true},
        {"[::]:8080", "[::1]:8080", true},
        {"127.0.0.1:8080", "[::1]:8080", false},
        {"", "", false},
        {"127.0.0.1:8080", "", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct pl_address_option options[] = {
            {"http_listen", cases[i].one}, {"https_listen", ""}, {"ops_listen", cases[i].other}};
        struct pl_why why = {0};
        assert_int_equal(pl_address_check_all(options, 3, &why),
                         cases[i].clash ? PL_EINVAL : PL_OK);
        if (cases[i].clash) {
            assert_string_equal(why.field, "ops_listen");
            assert_non_null(strstr(why.text, "http_listen and ops_listen are both"));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepts),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_none_twice),
        cmocka_unit_test(test_links),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
