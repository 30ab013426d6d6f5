/* Keys and those that wrap them. */
#include "keyring_test.h"

#include "proto/base/text.h"

#include <sys/stat.h>

static void keys_survive_a_restart(void **state)
{
    struct keyring_fixture *f = *state;
    uint8_t a[32], b[32], again[32], pub[32], pub_again[32], id[8], secret[32], derived[32];
    struct keyring *k = open_ok(f);
    assert_int_equal(keyring_current_seal_key(k, pub), PL_ENOTFOUND);
    assert_int_equal(keyring_new_key(k, 7, NULL), PL_OK);
    assert_int_equal(keyring_new_key(k, 3, NULL), PL_OK);
    assert_int_equal(keyring_new_key(k, 7, NULL), PL_EEXISTS);
    assert_int_equal(keyring_new_seal_key(k, pub, NULL), PL_OK);
    assert_int_equal(keyring_key(k, 7, a), PL_OK);
    assert_int_equal(keyring_key(k, 3, b), PL_OK);
    assert_memory_not_equal(a, b, 32);
    assert_int_equal(keyring_key(k, 4, b), PL_ENOTFOUND);
    keyring_close(k);

    k = open_ok(f);
    assert_int_equal(keyring_key(k, 7, again), PL_OK);
    assert_memory_equal(a, again, 32);
    assert_int_equal(keyring_current_seal_key(k, pub_again), PL_OK);
    assert_memory_equal(pub, pub_again, 32);
    block_key_id(pub, id);
    assert_int_equal(keyring_seal_secret(k, id, secret), PL_OK);
    assert_int_equal(pl_x25519_public(secret, derived), PL_OK);
    assert_memory_equal(derived, pub, 32);
    assert_int_equal(alarms(k), 0);
    keyring_close(k);
}

static void the_newest_seal_key_is_current(void **state)
{
    struct keyring_fixture *f = *state;
    uint8_t first[32], second[32], now[32], id[8], secret[32];
    struct keyring *k = open_ok(f);
    assert_int_equal(keyring_new_seal_key(k, first, NULL), PL_OK);
    assert_int_equal(keyring_new_seal_key(k, second, NULL), PL_OK);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(keyring_current_seal_key(k, now), PL_OK);
        assert_memory_equal(now, second, 32);
        block_key_id(first, id);
        assert_int_equal(keyring_seal_secret(k, id, secret), PL_OK);
        keyring_close(k);
        k = open_ok(f);
    }
    assert_int_equal(keyring_destroy_seal_key(k, id, "rotated", NULL, NULL), PL_OK);
    assert_int_equal(keyring_seal_secret(k, id, secret), PL_EEXPIRED);
    assert_int_equal(keyring_current_seal_key(k, now), PL_OK);
    keyring_close(k);
}

static void a_missing_keyring_is_not_replaced(void **state)
{
    struct keyring_fixture *f = *state;
    struct pl_why why;
    f->config.create = false;
    assert_int_equal(open_err(f, &why), PL_ENOTFOUND);
    assert_non_null(strstr(why.text, f->paths[0]));
    assert_false(pl_file_exists(f->paths[0]));
}

static void one_process_at_a_time(void **state)
{
    struct keyring_fixture *f = *state;
    struct pl_why why;
    struct keyring *k = open_ok(f);
    assert_int_equal(open_err(f, &why), PL_EEXISTS);
    keyring_close(k);
    assert_int_equal(open_err(f, &why), PL_OK);
}

static void a_wrong_configuration_says_so(void **state)
{
    struct keyring_fixture *f = *state;
    struct pl_why why;
    f->config.path_count = 1;
    assert_int_equal(open_err(f, &why), PL_EINVAL);
    f->config.path_count = 2;
    f->path_list[1] = f->path_list[0];
    assert_int_equal(open_err(f, &why), PL_EINVAL);
    assert_non_null(strstr(why.text, "twice"));
    f->path_list[1] = f->paths[1];
    f->config.kek_text = PL_SPAN_LIT("# a comment\n\nabc\n");
    assert_int_equal(open_err(f, &why), PL_EINVAL);
    assert_non_null(strstr(why.text, "line 3"));
    assert_non_null(strstr(why.text, "in kek_file"));
    assert_null(strstr(why.text, "abc"));
    f->config.kek_text = PL_SPAN_LIT("\n");
    assert_int_equal(open_err(f, &why), PL_EINVAL);
    assert_non_null(strstr(why.text, "in kek_file"));
}

static void key_encryption_keys_come_from_one_place(void **state)
{
    (void)state;
    struct pl_buf out;
    struct pl_why why;
    pl_buf_init(&out, KEYRING_KEK_TEXT_LIMIT);
    assert_int_equal(keyring_kek_load("a", "b", &out, &why), PL_EINVAL);
    assert_int_equal(keyring_kek_load(NULL, "", &out, &why), PL_EINVAL);
    assert_int_equal(keyring_kek_load(NULL, "echo 0011", &out, &why), PL_OK);
    assert_true(pl_span_eq_str(pl_buf_span(&out), "0011\n"));
    pl_buf_release(&out);
}

static void a_destroyed_key_is_on_no_path(void **state)
{
    struct keyring_fixture *f = *state;
    struct keyring *k = open_ok(f);
    assert_int_equal(keyring_new_key(k, 1, NULL), PL_OK);
    assert_int_equal(keyring_new_key(k, 2, NULL), PL_OK);
    struct pl_buf before;
    struct pl_span wraps[2];
    slurp(f->paths[0], &before);
    assert_int_equal(wraps_of(pl_buf_span(&before), wraps, 2), 2);
    /* a second name keeps the old file's blocks readable, as a forensic reader would */
    char kept[2][128];
    for (int i = 0; i < 2; i++) {
        snprintf(kept[i], sizeof(kept[i]), "%s.kept", f->paths[i]);
        assert_int_equal(link(f->paths[i], kept[i]), 0);
    }
    uint64_t generation = keyring_generation(k);
    struct keyring_destruction d, again;
    assert_int_equal(keyring_destroy(k, 1, "expired 46 days ago", &d, NULL), PL_OK);
    assert_true(keyring_generation(k) > generation);
    uint8_t key[32];
    assert_int_equal(keyring_key(k, 1, key), PL_EEXPIRED);
    assert_int_equal(keyring_key(k, 2, key), PL_OK);
    assert_int_equal(keyring_destroy(k, 1, "twice", &again, NULL), PL_OK);
    assert_memory_equal(&d, &again, sizeof(d));
    assert_int_equal(keyring_destroy(k, 9, "never", NULL, NULL), PL_ENOTFOUND);
    assert_int_equal(keyring_new_key(k, 1, NULL), PL_EEXISTS);
    keyring_close(k);

    for (int i = 0; i < 4; i++) {
        struct pl_buf now;
        slurp(i < 2 ? f->paths[i] : kept[i - 2], &now);
        assert_null(memmem(now.data, now.len, wraps[0].data, wraps[0].len));
        /* the other key is where it was, in the live files */
        if (i < 2)
            assert_non_null(memmem(now.data, now.len, wraps[1].data, wraps[1].len));
        pl_buf_release(&now);
    }
    k = open_ok(f);
    assert_int_equal(keyring_key(k, 1, key), PL_EEXPIRED);
    assert_int_equal(keyring_key(k, 2, key), PL_OK);
    assert_int_equal(keyring_destruction(k, 1, &again), PL_OK);
    assert_memory_equal(&d, &again, sizeof(d));
    assert_string_equal(again.reason, "expired 46 days ago");
    assert_int_equal(keyring_destruction(k, 2, &again), PL_ENOTFOUND);
    assert_int_equal(alarms(k), 0);
    keyring_close(k);
    pl_buf_release(&before);
}

static void a_destruction_by_another_signer_is_refused(void **state)
{
    struct keyring_fixture *f = *state;
    struct keyring *k = open_ok(f);
    assert_int_equal(keyring_new_key(k, 1, NULL), PL_OK);
    assert_int_equal(keyring_destroy(k, 1, "test", NULL, NULL), PL_OK);
    keyring_close(k);

    struct pl_buf other, spki;
    struct pl_why why;
    struct pl_signer *old;
    pl_buf_init(&other, 4096);
    pl_buf_init(&spki, PL_PUBLIC_KEY_MAX_BYTES);
    assert_int_equal(pl_pki_new_key(pl_random_system(), &other), PL_OK);
    f->config.signer_pem = pl_buf_span(&other);
    assert_int_equal(open_err(f, &why), PL_EAUTH);

    /* unless that signer is named as an earlier one */
    assert_int_equal(pl_signer_from_pem(&old, pl_buf_span(&f->signer), NULL), PL_OK);
    assert_int_equal(pl_signer_public(old, &spki), PL_OK);
    pl_signer_free(old);
    struct pl_span earlier = pl_buf_span(&spki);
    f->config.earlier_signers = &earlier;
    f->config.earlier_signer_count = 1;
    assert_int_equal(open_err(f, &why), PL_OK);
    pl_buf_release(&other);
    pl_buf_release(&spki);
}

static void rewrapping_moves_every_key_to_the_new_kek(void **state)
{
    struct keyring_fixture *f = *state;
    uint8_t key[32], now[32], pub[32];
    struct pl_why why;
    struct pl_buf before, after;
    struct pl_span wraps[4];
    struct keyring *k = open_ok(f);
    for (uint64_t a = 1; a <= 3; a++)
        assert_int_equal(keyring_new_key(k, a, NULL), PL_OK);
    assert_int_equal(keyring_new_seal_key(k, pub, NULL), PL_OK);
    assert_int_equal(keyring_destroy(k, 3, "test", NULL, NULL), PL_OK);
    assert_int_equal(keyring_key(k, 2, key), PL_OK);
    slurp(f->paths[0], &before);
    assert_int_equal(wraps_of(pl_buf_span(&before), wraps, 4), 4);
    size_t count = 0;
    assert_int_equal(keyring_rewrap(k, PL_SPAN_LIT(KEK_B), &count, &why), PL_EAUTH);
    assert_int_equal(keyring_key(k, 2, now), PL_OK);
    assert_int_equal(keyring_rewrap(k, PL_SPAN_LIT(KEK_A KEK_B), &count, &why), PL_OK);
    assert_int_equal(count, 3);
    assert_int_equal(keyring_rewrap(k, PL_SPAN_LIT(KEK_B), &count, &why), PL_OK);
    assert_int_equal(count, 0);
    assert_int_equal(keyring_key(k, 2, now), PL_OK);
    assert_memory_equal(key, now, 32);
    keyring_close(k);

    slurp(f->paths[1], &after);
    for (int i = 0; i < 4; i++)
        if (i != 2) /* the destroyed one is zeros in both */
            assert_null(memmem(after.data, after.len, wraps[i].data, wraps[i].len));
    assert_int_equal(open_err(f, &why), PL_EAUTH); /* with the old line only */
    f->config.kek_text = PL_SPAN_LIT(KEK_B);
    k = open_ok(f);
    assert_int_equal(keyring_key(k, 2, now), PL_OK);
    assert_memory_equal(key, now, 32);
    assert_int_equal(keyring_key(k, 3, now), PL_EEXPIRED);
    /* and a key that came later may be destroyed under the new one */
    assert_int_equal(keyring_destroy(k, 1, "test", NULL, NULL), PL_OK);
    keyring_close(k);
    pl_buf_release(&before);
    pl_buf_release(&after);
}

static void a_key_of_an_unknown_kek_is_locked_not_lost(void **state)
{
    struct keyring_fixture *f = *state;
    uint8_t key[32];
    struct keyring *k = open_ok(f);
    assert_int_equal(keyring_new_key(k, 1, NULL), PL_OK);
    keyring_close(k);
    f->config.kek_text = PL_SPAN_LIT(KEK_A KEK_B);
    k = open_ok(f);
    assert_int_equal(keyring_new_key(k, 2, NULL), PL_OK);
    keyring_close(k);
    f->config.kek_text = PL_SPAN_LIT(KEK_B);
    k = open_ok(f);
    assert_int_equal(keyring_key(k, 1, key), PL_ECORRUPT);
    assert_int_equal(keyring_key(k, 2, key), PL_OK);
    assert_int_equal(alarms(k), 1);
    keyring_close(k);
    f->config.kek_text = PL_SPAN_LIT(KEK_A KEK_B);
    k = open_ok(f);
    assert_int_equal(keyring_key(k, 1, key), PL_OK);
    keyring_close(k);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(keys_survive_a_restart),
        CASE(the_newest_seal_key_is_current),
        CASE(a_missing_keyring_is_not_replaced),
        CASE(one_process_at_a_time),
        CASE(a_wrong_configuration_says_so),
        CASE(key_encryption_keys_come_from_one_place),
        CASE(a_destroyed_key_is_on_no_path),
        CASE(a_destruction_by_another_signer_is_refused),
        CASE(rewrapping_moves_every_key_to_the_new_kek),
        CASE(a_key_of_an_unknown_kek_is_locked_not_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
