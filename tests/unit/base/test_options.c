#include "proto/base/options.h"

#include "proto/base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

struct node {
    char *spool_dir;
    char *region;
    int64_t port;
    int64_t offset_ms;
    bool tls;
    struct pl_text_list origins;
};

static const struct pl_option table[] = {
    {"spool_dir", PL_OPTION_TEXT, offsetof(struct node, spool_dir), NULL, 0, 0,
     "where blocks wait"},
    {"region", PL_OPTION_TEXT, offsetof(struct node, region), "eu", 0, 0, "this node's region"},
    {"port", PL_OPTION_INT, offsetof(struct node, port), "8080", 1, 65535, "port to listen on"},
    {"offset_ms", PL_OPTION_INT, offsetof(struct node, offset_ms), "-5", -10, 10, "clock offset"},
    {"tls", PL_OPTION_BOOL, offsetof(struct node, tls), "false", 0, 0, "serve over TLS"},
    {"origins", PL_OPTION_LIST, offsetof(struct node, origins), "a.example, b.example", 0, 0,
     "allowed origins"},
};
enum { COUNT = sizeof(table) / sizeof(table[0]) };

static char path[] = "/tmp/polder-test-options-XXXXXX";

static enum pl_err load(const char *yaml, struct node *out, struct pl_why *why)
{
    *why = (struct pl_why){.err = PL_OK};
    *out = (struct node){.port = -77};
    assert_int_equal(pl_file_replace(path, "test", 0600, pl_span_str(yaml), NULL), PL_OK);
    return pl_options_load(table, COUNT, path, out, why);
}

static int setup(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int teardown(void **state)
{
    (void)state;
    return unlink(path);
}

static void defaults_then_file(void **state)
{
    (void)state;
    struct node n;
    struct pl_why why;
    assert_int_equal(load("spool_dir: /var/spool\n", &n, &why), PL_OK);
    assert_string_equal(n.spool_dir, "/var/spool");
    assert_string_equal(n.region, "eu");
    assert_int_equal(n.port, 8080);
    assert_int_equal(n.offset_ms, -5);
    assert_false(n.tls);
    assert_int_equal(n.origins.count, 2);
    assert_string_equal(n.origins.items[1], "b.example");
    pl_options_release(table, COUNT, &n);
    assert_null(n.spool_dir);
    assert_null(n.origins.items);
    pl_options_release(table, COUNT, &n); /* twice is fine */

    assert_int_equal(load("# a node\n"
                          "region: \"us east\" # quoted\n"
                          "port: 443\n"
                          "offset_ms: -10\n"
                          "tls: yes\n"
                          "origins:\n"
                          "  - https://shop.example\n"
                          "  - 'https://b, c.example'\n"
                          "spool_dir: s\n",
                          &n, &why),
                     PL_OK);
    assert_string_equal(n.region, "us east");
    assert_int_equal(n.port, 443);
    assert_int_equal(n.offset_ms, -10);
    assert_true(n.tls);
    assert_int_equal(n.origins.count, 2);
    assert_string_equal(n.origins.items[1], "https://b, c.example"); /* no splitting here */
    pl_options_release(table, COUNT, &n);

    assert_int_equal(load("spool_dir: s\nregion: ''\norigins: []\n", &n, &why), PL_OK);
    assert_string_equal(n.region, "");
    assert_int_equal(n.origins.count, 0); /* said to be empty, so not the default */
    pl_options_release(table, COUNT, &n);
}

static void the_environment_has_the_last_word(void **state)
{
    (void)state;
    struct node n;
    struct pl_why why;
    setenv("POLDER_PORT", "99", 1);
    setenv("POLDER_ORIGINS", " x.example ,, y.example,", 1);
    setenv("POLDER_UNRELATED", "left alone", 1);
    assert_int_equal(load("spool_dir: s\nport: 443\norigins: [a]\n", &n, &why), PL_OK);
    assert_int_equal(n.port, 99);
    assert_int_equal(n.origins.count, 2);
    assert_string_equal(n.origins.items[0], "x.example");
    assert_string_equal(n.origins.items[1], "y.example");
    pl_options_release(table, COUNT, &n);

    setenv("POLDER_PORT", "99999", 1);
    assert_int_equal(load("spool_dir: s\n", &n, &why), PL_EINVAL);
    assert_non_null(strstr(why.text, "POLDER_PORT"));
    assert_non_null(strstr(why.text, "1 to 65535"));
    unsetenv("POLDER_PORT");
    unsetenv("POLDER_ORIGINS");

    setenv("POLDER_SPOOL_DIR", "/from/env", 1);
    assert_int_equal(pl_options_load(table, COUNT, NULL, &n, &why), PL_OK); /* no file at all */
    assert_string_equal(n.spool_dir, "/from/env");
    pl_options_release(table, COUNT, &n);
    unsetenv("POLDER_SPOOL_DIR");
}

static void mistakes_are_named_with_place_and_remedy(void **state)
{
    (void)state;
    static const struct {
        const char *yaml, *field, *says;
    } cases[] = {
        {"", "spool_dir", "required"},
        {"spool_dir: ''\n", "spool_dir",
         "line 1: option 'spool_dir' is required and must not be empty"},
        {"# nothing but comments\n\n", "spool_dir", "POLDER_SPOOL_DIR"},
        {"spool_dir: s\n\nport: 0\n", "port", "line 3"},
        {"spool_dir: s\nport: 65536\n", "port", "1 to 65535"},
        {"spool_dir: s\nport: 80a\n", "port", "'80a'"},
        {"spool_dir: s\nport: 99999999999999999999\n", "port", "1 to 65535"},
        {"spool_dir: s\nport:\n", "port", "whole number"},
        {"spool_dir: s\ntls: maybe\n", "tls", "true or false"},
        {"spool_dir: s\nprot: 1\n", "prot", "did you mean 'port'?"},
        {"spool_dir: s\nsport2s: 1\n", "sport2s", "--print-config lists them all"},
        {"spool_dir: s\nprot: 1\n", "prot", "line 2"},
        {"spool_dir: s\nentirely_different: 1\n", "entirely_different", "no option"},
        {"spool_dir: s\nport: [1]\n", "port", "a single value"},
        {"spool_dir: s\nport: [1]\n", "port", "line 2"},
        {"spool_dir: s\norigins: a.example\n", "origins", "a list"},
        {"spool_dir: s\norigins: [[a]]\n", "origins", "line 2"},
        {"spool_dir: s\norigins: {a: b}\n", "origins", "line 2"},
        {"spool_dir: s\nport: 1\nport: 2\n", "port",
         "line 2: option 'port' is there again further on: leave one"},
        {"\xef\xbb\xbf", "spool_dir", "required"}, /* a mark of its encoding, and nothing else */
        {"- a\n- b\n", "", "not a flat YAML mapping"},
        {"just text\n", "", "not a flat YAML mapping"},
        {"spool_dir: \"unterminated\n", "", "not a flat YAML mapping"},
        {"spool_dir: &a s\nregion: *a\n", "", "not a flat YAML mapping"},
        {"spool_dir: \xff\xfe\n", "", "not a flat YAML mapping"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct node n;
        struct pl_why why;
        if (load(cases[i].yaml, &n, &why) != PL_EINVAL)
            fail_msg("case %zu: accepted", i);
        if ((cases[i].field[0] != '\0' && strcmp(why.field, cases[i].field) != 0) ||
            strstr(why.text, cases[i].says) == NULL)
            fail_msg("case %zu: [%s] %s", i, why.field, why.text);
        assert_int_equal(n.port, -77); /* untouched */
        assert_null(n.spool_dir);
    }
}

static void a_missing_file_is_told(void **state)
{
    (void)state;
    struct node n;
    struct pl_why why;
    assert_int_equal(pl_options_load(table, COUNT, "/no/such/file.yaml", &n, &why), PL_ENOTFOUND);
    assert_non_null(strstr(why.text, "/no/such/file.yaml"));
}

static void the_table_describes_itself(void **state)
{
    (void)state;
    struct pl_buf out;
    struct node n;
    struct pl_why why;
    pl_buf_init(&out, 4096);
    assert_int_equal(pl_options_describe(table, COUNT, &out), PL_OK);
    assert_int_equal(pl_buf_terminate(&out), PL_OK);
    const char *text = (const char *)out.data;
    assert_non_null(strstr(text, "# where blocks wait (required; POLDER_SPOOL_DIR)\n"));
    assert_non_null(strstr(text, "# port to listen on (optional; 1 to 65535; POLDER_PORT)\n"
                                 "# port: 8080\n"));
    assert_non_null(strstr(text, "# origins: [a.example, b.example]\n"));
    /* with the comment marks of the keys taken away it is a configuration, once what is required is
     * given */
    for (char *p = (char *)out.data; (p = strstr(p, "\n# ")) != NULL; p++)
        if (strcspn(p + 3, ": ") == strcspn(p + 3, ":"))
            memcpy(p + 1, "  ", 2);
    struct pl_buf flat;
    pl_buf_init(&flat, 4096);
    for (const char *p = text; *p != '\0'; p++)
        if (!(p[0] == ' ' && (p == text || p[-1] == '\n' || (p[-1] == ' ' && p[-2] == '\n'))))
            assert_int_equal(pl_buf_put_u8(&flat, (uint8_t)*p), PL_OK);
    assert_int_equal(pl_buf_terminate(&flat), PL_OK);
    setenv("POLDER_SPOOL_DIR", "/required", 1);
    assert_int_equal(load((const char *)flat.data, &n, &why), PL_OK);
    unsetenv("POLDER_SPOOL_DIR");
    assert_int_equal(n.port, 8080);
    assert_int_equal(n.origins.count, 2);
    pl_options_release(table, COUNT, &n);
    pl_buf_release(&flat);
    pl_buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_then_file),
        cmocka_unit_test(the_environment_has_the_last_word),
        cmocka_unit_test(mistakes_are_named_with_place_and_remedy),
        cmocka_unit_test(a_missing_file_is_told),
        cmocka_unit_test(the_table_describes_itself),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
