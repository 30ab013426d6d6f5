/* A signed document: what was signed is read back, and nothing else passes. */
#include "proto/base/pki.h"
#include "proto/wire/signed_document.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define LINE "{\"polder\":\"test\",\"n\":[1,2,\"\\u000a\"]}\n"

struct signed_file {
    struct pl_signer *signer;
    struct pl_buf spki, file;
};

static void make_key(struct pl_signer **signer, struct pl_buf *spki)
{
    struct pl_buf pem;
    pl_buf_init(&pem, 4096);
    pl_buf_init(spki, PL_PUBLIC_KEY_MAX_BYTES);
    assert_int_equal(pl_pki_new_key(pl_random_system(), &pem), PL_OK);
    assert_int_equal(pl_signer_from_pem(signer, pl_buf_span(&pem), NULL), PL_OK);
    assert_int_equal(pl_signer_public(*signer, spki), PL_OK);
    pl_buf_release(&pem);
}

static int setup(void **state)
{
    struct signed_file *f = calloc(1, sizeof(*f));
    uint8_t signature[PL_SIGNATURE_MAX_BYTES];
    size_t len = sizeof(signature);
    make_key(&f->signer, &f->spki);
    pl_buf_init(&f->file, SIGNED_DOCUMENT_BYTES_MAX);
    assert_int_equal(pl_sign(f->signer, PL_SPAN_LIT(LINE), signature, &len), PL_OK);
    assert_int_equal(signed_document_put(PL_SPAN_LIT(LINE), pl_span(signature, len), &f->file),
                     PL_OK);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct signed_file *f = *state;
    pl_signer_free(f->signer);
    pl_buf_release(&f->spki);
    pl_buf_release(&f->file);
    free(f);
    return 0;
}

static enum pl_err open_file(const struct signed_file *f, struct pl_span file)
{
    struct pl_span line;
    return signed_document_open(file, pl_buf_span(&f->spki), &line, NULL);
}

static void what_was_signed_is_read_back(void **state)
{
    const struct signed_file *f = *state;
    struct pl_span line;
    struct pl_why why;
    assert_int_equal(
        signed_document_open(pl_buf_span(&f->file), pl_buf_span(&f->spki), &line, &why), PL_OK);
    assert_true(pl_span_eq(line, PL_SPAN_LIT(LINE)));
}

static void every_changed_bit_is_refused(void **state)
{
    struct signed_file *f = *state;
    for (size_t i = 0; i < f->file.len; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            f->file.data[i] ^= (uint8_t)(1u << bit);
            enum pl_err err = open_file(f, pl_buf_span(&f->file));
            if (err != PL_EINVAL && err != PL_EAUTH)
                fail_msg("bit %u of byte %zu: %s", bit, i, pl_err_word(err));
            f->file.data[i] ^= (uint8_t)(1u << bit);
        }
    }
    assert_int_equal(open_file(f, pl_buf_span(&f->file)), PL_OK);
}

static void every_byte_too_much_or_too_few_is_refused(void **state)
{
    struct signed_file *f = *state;
    static const uint8_t more[] = {' ', '\n', '0', '=', 'A', 0};
    struct pl_buf copy;
    pl_buf_init(&copy, SIGNED_DOCUMENT_BYTES_MAX);
    for (size_t i = 0; i <= f->file.len; i++) {
        for (size_t m = 0; m < sizeof(more); m++) {
            pl_buf_reset(&copy);
            pl_buf_append(&copy, f->file.data, i);
            pl_buf_put_u8(&copy, more[m]);
            pl_buf_append(&copy, f->file.data + i, f->file.len - i);
            assert_int_not_equal(open_file(f, pl_buf_span(&copy)), PL_OK);
        }
        if (i == f->file.len)
            break;
        pl_buf_reset(&copy);
        pl_buf_append(&copy, f->file.data, i);
        pl_buf_append(&copy, f->file.data + i + 1, f->file.len - i - 1);
        assert_int_not_equal(open_file(f, pl_buf_span(&copy)), PL_OK);
        assert_int_not_equal(open_file(f, pl_span(f->file.data, i)), PL_OK);
    }
    pl_buf_release(&copy);
}

/* The same two numbers with a zero before one of them: mathematically as good, and not as it was
 * written. */
static void a_signature_in_longer_form_is_refused(void **state)
{
    struct signed_file *f = *state;
    uint8_t longer[PL_SIGNATURE_MAX_BYTES + 1];
    struct pl_buf signature, file;
    struct pl_span line;
    pl_buf_init(&signature, 256);
    pl_buf_init(&file, SIGNED_DOCUMENT_BYTES_MAX);
    assert_int_equal(signed_document_split(pl_buf_span(&f->file), &line, &signature, NULL), PL_OK);
    memcpy(longer, signature.data, 4);
    longer[1]++;
    longer[3]++;
    longer[4] = 0;
    memcpy(longer + 5, signature.data + 4, signature.len - 4);
    struct pl_span text = pl_span(longer, signature.len + 1);
    assert_int_equal(signed_document_put(line, text, &file), PL_OK);
    assert_int_equal(open_file(f, pl_buf_span(&file)), PL_EINVAL);
    pl_buf_release(&signature);
    pl_buf_release(&file);
}

/* With n - s instead of s the signature verifies, too. */
static void a_signature_with_the_other_s_is_refused(void **state)
{
    static const uint8_t n[32] = {0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff,
                                  0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17,
                                  0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51};
    struct signed_file *f = *state;
    uint8_t other[PL_SIGNATURE_MAX_BYTES + 2];
    struct pl_buf signature, file;
    struct pl_span line;
    pl_buf_init(&signature, 256);
    pl_buf_init(&file, SIGNED_DOCUMENT_BYTES_MAX);
    assert_int_equal(signed_document_split(pl_buf_span(&f->file), &line, &signature, NULL), PL_OK);
    const size_t r_end = 4u + signature.data[3], s_len = signature.data[r_end + 1];
    assert_true(s_len <= 32);
    memcpy(other, signature.data, r_end);
    other[r_end] = 0x02;
    other[r_end + 1] = 33;
    other[r_end + 2] = 0;
    int borrow = 0;
    for (size_t i = 0; i < 32; i++) {
        const uint8_t s = i < s_len ? signature.data[r_end + 1 + s_len - i] : 0;
        const int digit = n[31 - i] - s - borrow;
        borrow = digit < 0;
        other[r_end + 34 - i] = (uint8_t)(digit & 0xff);
    }
    assert_true((other[r_end + 3] & 0x80) != 0);
    other[1] = (uint8_t)(r_end + 35 - 2);
    const struct pl_span text = pl_span(other, r_end + 35);
    assert_int_equal(pl_verify(pl_buf_span(&f->spki), line, text), PL_OK);
    assert_int_equal(signed_document_put(line, text, &file), PL_OK);
    assert_int_equal(open_file(f, pl_buf_span(&file)), PL_EINVAL);
    pl_buf_release(&signature);
    pl_buf_release(&file);
}

/* RFC 4648's other alphabet, and no padding. */
static void another_spelling_of_base64_is_refused(void **state)
{
    struct signed_file *f = *state;
    uint8_t signature[PL_SIGNATURE_MAX_BYTES];
    char line[32];
    for (int n = 0;; n++) {
        size_t len = sizeof(signature);
        snprintf(line, sizeof(line), "{\"n\":%d}\n", n);
        pl_buf_reset(&f->file);
        assert_int_equal(pl_sign(f->signer, pl_span_str(line), signature, &len), PL_OK);
        assert_int_equal(signed_document_put(pl_span_str(line), pl_span(signature, len), &f->file),
                         PL_OK);
        assert_int_equal(open_file(f, pl_buf_span(&f->file)), PL_OK);
        uint8_t *slash = memchr(f->file.data, '/', f->file.len);
        if (slash == NULL || memchr(f->file.data, '+', f->file.len) != NULL || len % 3 == 0)
            continue;
        for (uint8_t *p = slash; p < f->file.data + f->file.len; p++)
            if (*p == '/')
                *p = '_';
        assert_int_equal(open_file(f, pl_buf_span(&f->file)), PL_EINVAL);
        return;
    }
}

static void another_key_is_told(void **state)
{
    const struct signed_file *f = *state;
    struct pl_signer *other;
    struct pl_buf spki;
    struct pl_span line;
    struct pl_why why;
    make_key(&other, &spki);
    assert_int_equal(signed_document_open(pl_buf_span(&f->file), pl_buf_span(&spki), &line, &why),
                     PL_EAUTH);
    assert_non_null(strstr(why.text, "another key"));
    pl_signer_free(other);
    pl_buf_release(&spki);
}

static void what_is_no_line_is_not_put(void **state)
{
    struct signed_file *f = *state;
    const size_t before = f->file.len;
    const struct pl_span signature = PL_SPAN_LIT("0");
    assert_int_equal(signed_document_put(PL_SPAN_LIT("{}"), signature, &f->file), PL_EINVAL);
    assert_int_equal(signed_document_put(PL_SPAN_LIT("{\n}\n"), signature, &f->file), PL_EINVAL);
    assert_int_equal(signed_document_put(PL_SPAN_LIT("\n"), signature, &f->file), PL_EINVAL);
    assert_int_equal(f->file.len, before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_signed_is_read_back, setup, teardown),
        cmocka_unit_test_setup_teardown(every_changed_bit_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(every_byte_too_much_or_too_few_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_signature_in_longer_form_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_signature_with_the_other_s_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(another_spelling_of_base64_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(another_key_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_no_line_is_not_put, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
