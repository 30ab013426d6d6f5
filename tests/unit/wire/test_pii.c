/* What is personal data in text and what is not: a missed one is a leak, a false one costs a shop
 * its order numbers. */
#include "proto/wire/pii.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

typedef bool finder(struct pl_span text, size_t from, struct pii_piece *piece);

struct found {
    const char *text, *piece; /* NULL: there is none */
};

static void check(finder *find, const struct found *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct pii_piece piece = {0, 0};
        const bool found = find(pl_span_str(cases[i].text), 0, &piece);
        const struct pl_span came =
            found ? pl_span(cases[i].text + piece.start, piece.end - piece.start)
                  : pl_span(NULL, 0);
        if (found != (cases[i].piece != NULL) || !pl_span_eq_str(came, cases[i].piece))
            fail_msg("%s: found %.*s", cases[i].text, PL_SPAN_FMT(came));
    }
}
#define CHECK(find, cases) check(find, cases, sizeof(cases) / sizeof((cases)[0]))

static void addresses_are_found_in_whatever_notation(void **state)
{
    (void)state;
    static const struct found cases[] = {
        {"jan@shop.nl", "jan@shop.nl"},
        {"Jan.de.Vries+news@mail.shop.co.uk", "Jan.de.Vries+news@mail.shop.co.uk"},
        {"write to jan@shop.nl.", "jan@shop.nl"},
        {"<jan@shop.nl>", "jan@shop.nl"},
        {"'jan@shop.nl'", "jan@shop.nl"},
        {"o'brien@shop.ie", "o'brien@shop.ie"},
        {"mailto:jan@shop.nl?subject=x", "jan@shop.nl"},
        {"https://s.example/a?email=jan@shop.nl&b=1", "jan@shop.nl"},
        {"https://s.example/a?email=jan%40shop.nl&b=1", "jan%40shop.nl"},
        {"/a?u=https%3A%2F%2Fx.nl%2F%3Fe%3Djan%2540shop.nl%26", "jan%2540shop.nl"},
        {"?e=jan%2Bnews%40shop.nl", "jan%2Bnews%40shop.nl"},
        {"?e=%20jan%40shop.nl", "jan%40shop.nl"},
        {"?e%3Djan%40shop.nl", "jan%40shop.nl"},
        {"?e=jan%2Ede%5Fv%40shop%2Enl", "jan%2Ede%5Fv%40shop%2Enl"},
        {"j\xc3\xbcrgen@b\xc3\xbc"
         "cher.de",
         "j\xc3\xbcrgen@b\xc3\xbc"
         "cher.de"},
        {"x@xn--bcher-kva.xn--p1ai", "x@xn--bcher-kva.xn--p1ai"},
        {"a@b.co", "a@b.co"},
        {"user:secret@host.example/", "secret@host.example"},
    };
    CHECK(pii_find_email, cases);
}

static void what_only_has_an_at_sign_is_no_address(void **state)
{
    (void)state;
    static const struct found cases[] = {
        {"", NULL},
        {"@", NULL},
        {"@polder", NULL},
        {"npm:@segment/analytics-next@1.2.3", NULL},
        {"lodash@4.17.21", NULL},
        {"https://medium.com/@jan.devries/post", NULL},
        {"/img/logo@2x.png", NULL},
        {"/img/logo@3X.webp", NULL},
        {"/maps/@52.37,4.89,15z", NULL},
        {"jan@localhost", NULL},
        {"jan@shop.", NULL},
        {"jan@.nl", NULL},
        {"jan@shop..nl", NULL},
        {"jan @ shop.nl", NULL},
        {"100%40.nl", NULL},
        {"50%40", NULL},
        {"a%41b.nl", NULL},
        {"jan@10.0.0.1", NULL},
        {"%40", NULL},
        {"%", NULL},
        {"jan%4", NULL},
        {"@@@@", NULL},
    };
    CHECK(pii_find_email, cases);
}

static void cards_are_found_as_they_are_printed(void **state)
{
    (void)state;
    static const struct found cases[] = {
        {"4111111111111111", "4111111111111111"},
        {"4111 1111 1111 1111", "4111 1111 1111 1111"},
        {"4111-1111-1111-1111", "4111-1111-1111-1111"},
        {"4111.1111.1111.1111", "4111.1111.1111.1111"},
        {"?card=4111+1111+1111+1111&x=1", "4111+1111+1111+1111"},
        {"?card=4111%201111%201111%201111&x=1", "4111%201111%201111%201111"},
        {"?card=%204111111111111111", "4111111111111111"},
        {"my card is 5555555555554444, thanks", "5555555555554444"},
        {"2223003122003222", "2223003122003222"},
        {"378282246310005", "378282246310005"},
        {"3782 822463 10005", "3782 822463 10005"},
        {"30569309025904", "30569309025904"},
        {"3056 930902 5904", "3056 930902 5904"},
        {"6011111111111117", "6011111111111117"},
        {"3530111333300000", "3530111333300000"},
        {"6212345678901232", "6212345678901232"},
        {"4222222222222", "4222222222222"},
        {"4111 1111 1111 1111 12/27 123", "4111 1111 1111 1111"},
        {"/pay/4111111111111111/done", "4111111111111111"},
        {"4111111111111112 4111111111111111", "4111111111111111"},
        {"card:4111111111111111.", "4111111111111111"},
    };
    CHECK(pii_find_card, cases);
}

static void numbers_of_shops_are_no_cards(void **state)
{
    (void)state;
    static const struct found cases[] = {
        {"", NULL},
        {"4111111111111112", NULL},    /* check digit */
        {"1234567812345670", NULL},    /* check digit fits, no issuer */
        {"1792254400035", NULL},       /* milliseconds */
        {"1792254400035123", NULL},    /* microseconds */
        {"1792254400035123456", NULL}, /* nanoseconds */
        {"4006381333931", NULL},       /* an article of Germany */
        {"4012345678901", NULL},
        {"9780306406157", NULL},          /* a book */
        {"41111111111111110000", NULL},   /* twenty digits */
        {"ORD4111111111111111", NULL},    /* in a word */
        {"order-4111111111111111", NULL}, /* held together by a hyphen */
        {"4111111111111111-2", NULL},
        {"4111111111111111.50", NULL}, /* an amount, however large */
        {"id_4111111111111111", NULL},
        {"4111111111111111a", NULL},
        {"411111-1111111111", NULL}, /* no card is printed like that */
        {"4111 1111-1111 1111", NULL},
        {"4242-4242-4242-4242-8424", NULL},
        {"00000000-0000-4000-8000-411111111111", NULL}, /* UUIDs */
        {"41111111-1111-4111-8111-111111111111", NULL},
        {"GA1.2.1234567890.1792254400", NULL},
        {"2026-11-22T13:03:33.123Z", NULL},
        {"0000000000000000", NULL},
        {"+4111", NULL},
        {"%41%31%31%31%31%31%31%31%31%31%31%31%31%31%31%31", NULL},
    };
    CHECK(pii_find_card, cases);
}

static void phone_numbers_have_a_plus_or_a_name(void **state)
{
    (void)state;
    static const struct found cases[] = {
        {"+31612345678", "+31612345678"},
        {"+31 6 1234 5678", "+31 6 1234 5678"},
        {"+31 (0)6-12345678", "+31 (0)6-12345678"},
        {"+1 (555) 010-9999", "+1 (555) 010-9999"},
        {"+49.30.1234.5678", "+49.30.1234.5678"},
        {"call +31612345678 now", "+31612345678"},
        {"+31612345678 and 2 others", "+31612345678"},
        {"+31612345678 0201234567", "+31612345678"},
        {"?p=%2B31612345678&x", "%2B31612345678"},
        {"?p=%2b31%206%2012345678", "%2b31%206%2012345678"},
        {"?p=+31612345678", "+31612345678"},
        {"?phone=0612345678&x=1", "0612345678"},
        {"?customer_phone=06%2012345678#x", "06%2012345678"},
        {"?a=1&billing[telephone]=(020)%20123%2045%2067", "(020)%20123%2045%2067"},
        {"?mobileNumber=0031612345678", "0031612345678"},
        {"?tel=0612345678", "0612345678"},
        {"?shop_tel=06-12345678;y", "06-12345678"},
        {"tel:0612345678", "0612345678"},
        {"tel:+31612345678", "+31612345678"},
        {"sms:06 12345678", "06 12345678"},
    };
    CHECK(pii_find_phone, cases);
}

static void other_digits_are_no_phone_numbers(void **state)
{
    (void)state;
    static const struct found cases[] = {
        {"", NULL},
        {"0612345678", NULL}, /* who says so? */
        {"order 0031612345678", NULL},
        {"+", NULL},
        {"+1", NULL},
        {"+1234567", NULL},
        {"+1234567890123456", NULL},
        {"+0612345678", NULL},
        {"+1234567.89", NULL}, /* a price */
        {"a+12345678", NULL},  /* a blank in a query, or a sum */
        {"GMT+0200", NULL},
        {"2026-11-22T13:03:33+01:00", NULL},
        {"?q=blue+31612345678", NULL},
        {"?hotel=12345678", NULL},
        {"?telemetry_id=1792254400035000111", NULL},
        {"?phone=unknown", NULL},
        {"?phone=1234567", NULL},
        {"?phone=12345678a", NULL},
        {"?order=0612345678", NULL},
        {"hotel:12345678", NULL},
        {"+31612345678x", NULL},
        {"%2B", NULL},
    };
    CHECK(pii_find_phone, cases);
}

static void names_promise_phones(void **state)
{
    (void)state;
    static const char *const good[] = {"phone",   "Phone",  "phoneNumber", "customer_phone",
                                       "mobile",  "MOBILE", "tel",         "work-tel",
                                       "telefon", "Fax",    "whatsapp_id"};
    static const char *const bad[] = {"", "hotel", "title", "till", "cellar", "total", "id"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        if (!pii_is_phone_name(pl_span_str(good[i])))
            fail_msg("%s", good[i]);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (pii_is_phone_name(pl_span_str(bad[i])))
            fail_msg("%s", bad[i]);
    assert_true(pii_is_phone(PL_SPAN_LIT("06 - 12 34 56 78")));
    assert_true(pii_is_phone(PL_SPAN_LIT(" (020) 1234567 ")));
    assert_true(pii_is_phone(PL_SPAN_LIT("12345678")));
    assert_false(pii_is_phone(PL_SPAN_LIT("1234567")));
    assert_false(pii_is_phone(PL_SPAN_LIT("1234567890123456")));
    assert_false(pii_is_phone(PL_SPAN_LIT("iPhone 12345678")));
    assert_false(pii_is_phone(PL_SPAN_LIT("")));
    assert_false(pii_is_phone(PL_SPAN_LIT("+")));
}

static void the_search_goes_on_where_it_is_told(void **state)
{
    (void)state;
    const struct pl_span text = PL_SPAN_LIT("a@b.nl, c@d.nl 4111111111111111 4111111111111111");
    struct pii_piece piece;
    assert_true(pii_find_email(text, 1, &piece));
    assert_int_equal(piece.start, 8);
    assert_int_equal(piece.end, 14);
    assert_false(pii_find_email(text, 14, &piece));
    assert_true(pii_find_card(text, 16, &piece));
    assert_int_equal(piece.start, 32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_found_in_whatever_notation),
        cmocka_unit_test(what_only_has_an_at_sign_is_no_address),
        cmocka_unit_test(cards_are_found_as_they_are_printed),
        cmocka_unit_test(numbers_of_shops_are_no_cards),
        cmocka_unit_test(phone_numbers_have_a_plus_or_a_name),
        cmocka_unit_test(other_digits_are_no_phone_numbers),
        cmocka_unit_test(names_promise_phones),
        cmocka_unit_test(the_search_goes_on_where_it_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
