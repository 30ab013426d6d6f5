#include "origin/options.h"
#include "proto/base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define REQUIRED                                                                                   \
    "data_dir: /d\nkeyring_paths: [/k1, /k2]\nkek_file: /kek\nsign_key_file: /s\nca_file: /ca\n"   \
    "link_cert_file: /lc\nlink_key_file: /lk\n"

static enum pl_err load(const char *text, struct origin_options *out, struct pl_why *why)
{
    char path[] = "/tmp/polder-options-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    enum pl_err err = origin_options_load(path, out, why);
    unlink(path);
    return err;
}

static void test_defaults(void **state)
{
    struct origin_options o;
    struct pl_why why = {0};
    (void)state;
    assert_int_equal(load(REQUIRED, &o, &why), PL_OK);
    assert_string_equal(o.http.host, "127.0.0.1");
    assert_int_equal(o.http.port, 8080);
    assert_string_equal(o.https.host, "");
    assert_int_equal(o.keyring_paths.count, 2);
    assert_int_equal(o.api_workers, 2);
    assert_int_equal(o.level, PL_LOG_INFO);
    origin_options_release(&o);
}

static void test_the_environment_wins(void **state)
{
    struct origin_options o;
    struct pl_why why = {0};
    (void)state;
    setenv("POLDER_HTTP_LISTEN", "[::1]:0", 1);
    setenv("POLDER_LOG_LEVEL", "debug", 1);
    assert_int_equal(load(REQUIRED "http_listen: 127.0.0.1:1\n", &o, &why), PL_OK);
    unsetenv("POLDER_HTTP_LISTEN");
    unsetenv("POLDER_LOG_LEVEL");
    assert_string_equal(o.http.host, "::1");
    assert_int_equal(o.http.port, 0);
    assert_int_equal(o.level, PL_LOG_DEBUG);
    origin_options_release(&o);
}

static void test_refusals_name_the_key(void **state)
{
    static const struct {
        const char *text, *key;
    } cases[] = {
        {"data_dir: /d\n", "keyring_paths"},
        {REQUIRED "http_listen: somewhere\n", "http_listen"},
        {REQUIRED "https_listen: 127.0.0.1:1\n", "tls_cert_file"},
        {REQUIRED "https_listen: x\ntls_cert_file: /c\ntls_key_file: /k\n", "https_listen"},
        {REQUIRED "kek_command: cat\n", "kek_file"},
        {REQUIRED "log_level: loud\n", "log_level"},
        {REQUIRED "journal_dirs: [/j1]\n", "journal_dirs"},
        {REQUIRED "link_listen: tls+tcp://127.0.0.1\n",
         "link_listen"}, /* nng: everywhere, any port */
        {REQUIRED "link_listen: 127.0.0.1:8090\n", "link_listen"},
        {REQUIRED "openers: 0\n", "openers"},
        {REQUIRED "opener: 1\n", "opener"},
        {REQUIRED "exports_max: many\n", "exports_max"},
        {"data_dir: /d\nkeyring_paths: [/k1]\nkek_file: /kek\nsign_key_file: /s\nca_file: /ca\n"
         "link_cert_file: /lc\nlink_key_file: /lk\n",
         "keyring_paths"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct origin_options o;
        struct pl_why why = {0};
        assert_int_not_equal(load(cases[i].text, &o, &why), PL_OK);
        if (i > 0)
            assert_non_null(strstr(why.text, cases[i].key));
    }
}

static void test_every_option_is_described(void **state)
{
    struct pl_buf text;
    (void)state;
    pl_buf_init(&text, 1u << 20);
    assert_int_equal(pl_options_describe(origin_option_table, origin_option_count, &text), PL_OK);
    assert_int_equal(pl_buf_terminate(&text), PL_OK);
    assert_non_null(strstr((const char *)text.data, "edge_silent_seconds"));
    assert_non_null(strstr((const char *)text.data, "POLDER_KEK_COMMAND"));
    pl_buf_release(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_the_environment_wins),
        cmocka_unit_test(test_refusals_name_the_key),
        cmocka_unit_test(test_every_option_is_described),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
