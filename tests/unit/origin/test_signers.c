/* A signing key is replaced; what it signed must go on to count. */
#include "keyring_fixture.h"
#include "origin/keyring/signers.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct keyring_fixture f;
static char path[96];
static struct pl_why why;

static int setup(void **state)
{
    (void)state;
    keyring_fixture_init(&f);
    snprintf(path, sizeof(path), "%s/old.pem", f.dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    keyring_fixture_release(&f);
    return 0;
}

static enum pl_err load(struct pl_span pem, struct signers *out)
{
    char *items[] = {path};
    struct pl_text_list files = {.items = items, .count = 1};
    remove(path);
    assert_int_equal(pl_file_replace(path, "key", 0600, pem, &why), PL_OK);
    return signers_load(&files, out, &why);
}

/* The keyring that the old key signed in opens with the new one, if the old is named. */
static void test_a_replaced_key_s_destructions_count(void **state)
{
    (void)state;
    struct keyring *keyring;
    struct pl_buf fresh;
    struct signers signers;
    assert_int_equal(keyring_open(&keyring, &f.config, &why), PL_OK);
    assert_int_equal(keyring_new_key(keyring, 7, &why), PL_OK);
    assert_int_equal(keyring_destroy(keyring, 7, "test", NULL, &why), PL_OK);
    keyring_close(keyring);
    assert_int_equal(load(f.config.signer_pem, &signers), PL_OK);

    pl_buf_init(&fresh, 4096);
    assert_int_equal(pl_pki_new_key(pl_random_system(), &fresh), PL_OK);
    f.config.create = false;
    f.config.signer_pem = pl_buf_span(&fresh);
    assert_int_not_equal(keyring_open(&keyring, &f.config, &why), PL_OK);
    f.config.earlier_signers = signers.spans;
    f.config.earlier_signer_count = signers.count;
    assert_int_equal(keyring_open(&keyring, &f.config, &why), PL_OK);
    keyring_close(keyring);
    signers_release(&signers);
    pl_buf_release(&fresh);
}

static void test_a_file_without_a_key_is_refused_by_name(void **state)
{
    (void)state;
    struct signers signers;
    assert_int_not_equal(load(PL_SPAN_LIT("-----BEGIN NOTHING-----\n"), &signers), PL_OK);
    assert_non_null(strstr(why.text, path));
    signers_release(&signers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_replaced_key_s_destructions_count, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_file_without_a_key_is_refused_by_name, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
