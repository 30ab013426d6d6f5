#include "proto/base/err.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void every_error_has_its_own_word(void **state)
{
    (void)state;
    for (int a = PL_OK; a <= PL_EUNSUPPORTED; a++)
        for (int b = a + 1; b <= PL_EUNSUPPORTED; b++)
            assert_string_not_equal(pl_err_word((enum pl_err)a), pl_err_word((enum pl_err)b));
    assert_string_equal(pl_err_word(PL_ENOTFOUND), "not-found");
    assert_string_equal(pl_err_word((enum pl_err)999), "unknown");
}

static void a_failure_carries_its_sentence_and_field(void **state)
{
    (void)state;
    struct pl_why why;
    assert_int_equal(pl_fail(&why, PL_EIO, "disk %d gone", 3), PL_EIO);
    assert_int_equal(why.err, PL_EIO);
    assert_string_equal(why.text, "disk 3 gone");
    assert_string_equal(why.field, "");
    assert_int_equal(pl_fail_field(&why, PL_EINVAL, "batch[3].type", "must be text"), PL_EINVAL);
    assert_string_equal(why.field, "batch[3].type");
    assert_int_equal(pl_fail(NULL, PL_EIO, "nobody listens"), PL_EIO);
    assert_int_equal(pl_fail_field(NULL, PL_EIO, "x", "nobody listens"), PL_EIO);
}

static void context_goes_in_front_and_keeps_the_field(void **state)
{
    (void)state;
    struct pl_why why;
    pl_fail_field(&why, PL_ELIMIT, "name", "too long");
    assert_int_equal(pl_fail_in(&why, PL_EINVAL, "account %s", "shop"), PL_ELIMIT);
    assert_string_equal(why.text, "account shop: too long");
    assert_string_equal(why.field, "name");

    struct pl_why fresh = {.err = PL_OK};
    assert_int_equal(pl_fail_in(&fresh, PL_EIO, "reading"), PL_EIO);
    assert_string_equal(fresh.text, "reading");
    assert_int_equal(fresh.err, PL_EIO);
    assert_int_equal(pl_fail_in(NULL, PL_EAUTH, "x"), PL_EAUTH);
}

static void long_sentences_are_cut_not_overrun(void **state)
{
    (void)state;
    char longer[2000];
    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    struct pl_why why;
    pl_fail_field(&why, PL_EINVAL, longer, "%s", longer);
    assert_int_equal(strlen(why.text), sizeof(why.text) - 1);
    assert_int_equal(strlen(why.field), sizeof(why.field) - 1);
    pl_fail_in(&why, PL_EINVAL, "front");
    assert_int_equal(strlen(why.text), sizeof(why.text) - 1);
    assert_memory_equal(why.text, "front: xxx", 10);
    pl_fail_in(&why, PL_EINVAL, "%s", longer);
    assert_int_equal(strlen(why.text), sizeof(why.text) - 1);
}

static void sentences_are_cut_between_characters(void **state)
{
    (void)state;
    char longer[600];
    struct pl_why why;
    for (size_t i = 0; i < 3; i++) {
        for (size_t at = i; at + 3 < sizeof(longer); at += 3)
            memcpy(longer + at, "\xe5\x8c\x97", 4);
        memset(longer, 'x', i);
        pl_fail_field(&why, PL_EINVAL, longer, "%s", longer);
        assert_int_equal((strlen(why.text) - i) % 3, 0);
        assert_int_equal((strlen(why.field) - i) % 3, 0);
        pl_fail_in(&why, PL_EINVAL, "a");
        assert_int_equal((strlen(why.text) - i) % 3, 0);
    }
}

static void a_sentence_may_quote_the_one_it_replaces(void **state)
{
    (void)state;
    struct pl_why why;
    pl_fail(&why, PL_EIO, "inner");
    pl_fail(&why, PL_EIO, "outer (%s)", why.text);
    assert_string_equal(why.text, "outer (inner)");
}

static void errno_maps_to_what_the_caller_acts_on(void **state)
{
    (void)state;
    assert_int_equal(pl_err_from_errno(0), PL_OK);
    assert_int_equal(pl_err_from_errno(ENOSPC), PL_ENOSPC);
    assert_int_equal(pl_err_from_errno(EDQUOT), PL_ENOSPC);
    assert_int_equal(pl_err_from_errno(EACCES), PL_EDENIED);
    assert_int_equal(pl_err_from_errno(ENOENT), PL_ENOTFOUND);
    assert_int_equal(pl_err_from_errno(EEXIST), PL_EEXISTS);
    assert_int_equal(pl_err_from_errno(ENOMEM), PL_ENOMEM);
    assert_int_equal(pl_err_from_errno(EIO), PL_EIO);
    assert_int_equal(pl_err_from_errno(12345), PL_EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_error_has_its_own_word),
        cmocka_unit_test(a_failure_carries_its_sentence_and_field),
        cmocka_unit_test(context_goes_in_front_and_keeps_the_field),
        cmocka_unit_test(long_sentences_are_cut_not_overrun),
        cmocka_unit_test(sentences_are_cut_between_characters),
        cmocka_unit_test(a_sentence_may_quote_the_one_it_replaces),
        cmocka_unit_test(errno_maps_to_what_the_caller_acts_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
