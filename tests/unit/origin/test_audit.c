/* What stands in the audit log, and that it stands there. */
#include "origin/journal/audit.h"
#include "origin/journal/denials.h"
#include "proto/base/file.h"
#include "proto/base/text.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <cmocka.h>

#define NOW_MS INT64_C(1767225600000) /* 2026-01-01T00:00:00Z */
#define ZEROS  "0000000000000000000000000000000000000000000000000000000000000000"

static char dir[64], paths[2][96];
static const char *path_list[2];
static struct audit *audit;
static struct pl_why why;

static int64_t now(void *ctx)
{
    (void)ctx;
    return NOW_MS;
}

static const struct pl_clock still = {.wall_ms = now, .mono_ms = now};
static const struct pl_log silent = {.fd = -1, .level = PL_LOG_ERROR, .clock = &still};

static void open_audit(bool create)
{
    const struct audit_config config = {.paths = path_list,
                                        .path_count = 2,
                                        .create = create,
                                        .max_bytes = 1u << 30,
                                        .clock = &still,
                                        .log = &silent};
    if (audit_open(&audit, &config, &why) != PL_OK)
        fail_msg("%s", why.text);
}

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/polder-audit-XXXXXX");
    assert_non_null(mkdtemp(dir));
    for (int i = 0; i < 2; i++) {
        snprintf(paths[i], sizeof(paths[i]), "%s/audit-%d", dir, i);
        path_list[i] = paths[i];
    }
    open_audit(true);
    return 0;
}

static int teardown(void **state)
{
    char command[96];
    (void)state;
    audit_close(audit);
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    return system(command);
}

static void note(const struct audit_entry *entry)
{
    if (audit_note(audit, entry, &why) != PL_OK)
        fail_msg("%s", why.text);
}

/* The whole log; the caller releases it. */
static struct pl_buf all_of(const char *path)
{
    struct pl_buf text;
    pl_buf_init(&text, 1u << 20);
    assert_int_equal(pl_file_read(path, "audit log", true, &text, &why), PL_OK);
    assert_int_equal(pl_buf_terminate(&text), PL_OK);
    return text;
}

static void test_a_line_says_who_did_what_to_whom(void **state)
{
    const struct token_record alice = {
        .id = {.bytes = {1}}, .role = ROLE_OPERATOR, .name = "alice"};
    const struct token_record owner = {
        .id = {.bytes = {2}}, .role = ROLE_OWNER, .account = 0xaa, .name = "shop.example ci"};
    (void)state;
    note(&(struct audit_entry){
        .token = &alice, .action = "account.expire", .account = 0xaa, .outcome = AUDIT_BEGUN});
    note(&(struct audit_entry){.token = &owner,
                               .action = "events.export",
                               .account = 0xaa,
                               .detail = "2026-01-01 to 2026-01-02",
                               .outcome = AUDIT_DONE});
    note(&(struct audit_entry){.actor = "lifecycle",
                               .action = "account.delete",
                               .account = 0xaa,
                               .object = "x1",
                               .outcome = AUDIT_FAILED});
    struct pl_buf text = all_of(paths[0]), second = all_of(paths[1]);
    assert_string_equal((char *)text.data, (char *)second.data);
    const char *first = "{\"n\":1,\"at\":\"2026-01-01T00:00:00.000Z\",\"previous\":\"" ZEROS "\","
                        "\"actor\":\"operator\",\"token\":\"01000000000000000000000000000000\","
                        "\"name\":\"alice\",\"action\":\"account.expire\",\"outcome\":\"begun\","
                        "\"account\":\"00000000000000aa\"}\n";
    assert_memory_equal(text.data, first, strlen(first));
    assert_non_null(strstr((char *)text.data,
                           "\"actor\":\"owner\",\"token\":\"02000000000000000000000000000000\","
                           "\"action\":\"events.export\",\"outcome\":\"done\","
                           "\"account\":\"00000000000000aa\","
                           "\"detail\":\"2026-01-01 to 2026-01-02\"}\n"));
    assert_non_null(strstr((char *)text.data,
                           "\"actor\":\"lifecycle\",\"action\":\"account.delete\","
                           "\"outcome\":\"failed\","
                           "\"account\":\"00000000000000aa\",\"object\":\"x1\"}"));
    /* The account's people are in no name. */
    assert_null(strstr((char *)text.data, "shop.example"));
    pl_buf_release(&text);
    pl_buf_release(&second);
}

static void test_the_head_is_the_last_lines(void **state)
{
    uint64_t n;
    uint8_t hash[PL_SHA256_BYTES], of_line[PL_SHA256_BYTES];
    (void)state;
    audit_head(audit, &n, hash);
    assert_int_equal(n, 0);
    note(&(struct audit_entry){.actor = "origin", .action = "a.b", .outcome = AUDIT_DONE});
    struct pl_buf text = all_of(paths[0]);
    pl_sha256_one(pl_span(text.data, text.len - 1), of_line);
    pl_buf_release(&text);
    for (int i = 0; i < 2; i++) {
        audit_head(audit, &n, hash);
        assert_int_equal(n, 1);
        assert_memory_equal(hash, of_line, sizeof(hash));
        audit_close(audit);
        open_audit(false);
    }
}

static void test_without_a_log_nothing_is_noted(void **state)
{
    uint64_t n = 7;
    uint8_t hash[PL_SHA256_BYTES];
    const struct audit_entry entry = {.actor = "origin", .action = "a.b", .outcome = AUDIT_DONE};
    (void)state;
    assert_int_equal(audit_note(NULL, &entry, &why), PL_OK);
    assert_false(audit_deny(NULL, &entry, 1));
    assert_int_equal(audit_write_denials(NULL, 1, &why), PL_OK);
    audit_head(NULL, &n, hash);
    assert_int_equal(n, 0);
}

static size_t lines_with(const char *words)
{
    size_t count = 0;
    struct pl_buf text = all_of(paths[0]);
    for (const char *at = (char *)text.data; (at = strstr(at, words)) != NULL; at++)
        count++;
    pl_buf_release(&text);
    return count;
}

static bool deny(const char *address4, int64_t mono_ms)
{
    const struct audit_entry entry = {.actor = "stranger",
                                      .action = "api.authenticate",
                                      .detail = "unknown token",
                                      .from = pl_span(address4, 4),
                                      .outcome = AUDIT_DENIED};
    return audit_deny(audit, &entry, mono_ms);
}

static void test_denials_are_written_later_and_all_of_them(void **state)
{
    (void)state;
    assert_true(deny("\x7f\0\0\1", 5));
    assert_int_equal(lines_with("denied"), 0);
    assert_int_equal(audit_write_denials(audit, 5, &why), PL_OK);
    assert_int_equal(lines_with("\"actor\":\"stranger\",\"action\":\"api.authenticate\","
                                "\"outcome\":\"denied\",\"detail\":\"unknown token\","
                                "\"from\":\"127.0.0.1\"}"),
                     1);
    for (int i = 0; i < 1000; i++)
        deny("\x7f\0\0\1", 6);
    audit_close(audit); /* what is only counted is written at the end */
    open_audit(false);
    assert_int_equal(lines_with("denied"), DENIALS_STRANGER_LINES + 1);
    char count[32];
    snprintf(count, sizeof(count), "\"count\":%d}", 1001 - DENIALS_STRANGER_LINES);
    assert_int_equal(lines_with(count), 1);
}

static void disk(bool works)
{
    struct rlimit limit;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = works ? limit.rlim_max : 0;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void test_a_disk_that_fails_is_told_and_loses_no_denial(void **state)
{
    const struct audit_entry entry = {.actor = "origin", .action = "a.b", .outcome = AUDIT_DONE};
    struct audit_status status;
    (void)state;
    deny("\x7f\0\0\1", 5);
    disk(false);
    assert_int_not_equal(audit_note(audit, &entry, &why), PL_OK);
    assert_int_not_equal(audit_write_denials(audit, 5, &why), PL_OK);
    disk(true);
    audit_status(audit, &status);
    assert_int_equal(status.failures, 2);
    assert_true(status.trouble[0] != '\0');
    assert_int_equal(audit_write_denials(audit, 5, &why), PL_OK);
    note(&entry);
    audit_status(audit, &status);
    assert_string_equal(status.trouble, "");
    assert_int_equal(status.journal.lines, 2);
    assert_int_equal(lines_with("denied"), 1);
}

static void test_it_is_read_page_by_page(void **state)
{
    struct pl_buf page;
    uint64_t next = 1, pages = 0, lines = 0;
    (void)state;
    for (int i = 0; i < 1000; i++)
        note(&(struct audit_entry){.actor = "origin", .action = "a.b", .outcome = AUDIT_DONE});
    struct pl_buf whole, text = all_of(paths[0]);
    pl_buf_init(&page, 1u << 20);
    pl_buf_init(&whole, 1u << 20);
    do {
        pl_buf_reset(&page);
        assert_int_equal(audit_read(audit, next, 8192, &page, &next, &why), PL_OK);
        assert_in_range(page.len, 1, 8192);
        assert_int_equal(pl_buf_append_span(&whole, pl_buf_span(&page)), PL_OK);
        pages++;
    } while (next != 0);
    for (size_t i = 0; i < whole.len; i++)
        lines += whole.data[i] == '\n';
    assert_int_equal(lines, 1000);
    assert_true(pages > 10);
    assert_memory_equal(whole.data, text.data, text.len);
    pl_buf_reset(&page);
    assert_int_equal(audit_read(audit, 1000, 1, &page, &next, &why), PL_OK);
    assert_memory_equal(page.data, "{\"n\":1000,", 10); /* one line at least */
    pl_buf_reset(&page);
    assert_int_equal(audit_read(audit, 1001, 8192, &page, &next, &why), PL_OK);
    assert_int_equal(page.len + next, 0);
    pl_buf_release(&page);
    pl_buf_release(&whole);
    pl_buf_release(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_line_says_who_did_what_to_whom, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_head_is_the_last_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(test_without_a_log_nothing_is_noted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_denials_are_written_later_and_all_of_them, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_disk_that_fails_is_told_and_loses_no_denial, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_it_is_read_page_by_page, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
