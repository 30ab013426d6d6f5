/* Which spellings are names of CrossEngage's catalogue. */
#include "edge/dialects/crossengage_names.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void one_name_in_many_spellings(void **state)
{
    (void)state;
    static const char *const names[] = {
        "Completed Order", "Order Completed", "orderCompleted",     "completed_order",
        "ORDER_COMPLETED", "order-completed", " Order  Completed ", "order.completed",
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const struct crossengage_kind *kind = crossengage_kind_find(pl_span_str(names[i]));
        assert_non_null(kind);
        assert_int_equal(kind->type, EVENT_ORDER);
    }
}

static void each_name_has_its_type(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum event_type type;
    } rows[] = {
        {"Viewed Page", EVENT_PAGE_VIEW},
        {"Viewed Product", EVENT_PRODUCT_VIEW},
        {"Added Product", EVENT_CART_ADD},
        {"Removed Product", EVENT_CART_REMOVE},
        {"Viewed Cart", EVENT_CUSTOM},
        {"Searched", EVENT_SEARCH},
        {"Products Searched", EVENT_SEARCH},
        {"Searched Product", EVENT_SEARCH},
        {"Started Checkout", EVENT_CHECKOUT_STEP},
        {"checkoutStepViewed", EVENT_CHECKOUT_STEP},
        {"Completed Checkout Step", EVENT_CHECKOUT_STEP},
        {"Viewed Promotion", EVENT_OFFER_SHOWN},
        {"promotion clicked", EVENT_OFFER_RESPONSE},
        {"identify", EVENT_IDENTIFY},
        {"Identified", EVENT_IDENTIFY},
        {"traits", EVENT_IDENTIFY},
        {"Update", EVENT_UPDATE},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct crossengage_kind *kind = crossengage_kind_find(pl_span_str(rows[i].name));
        assert_non_null(kind);
        assert_int_equal(kind->type, rows[i].type);
    }
}

static void others_are_the_sites_own(void **state)
{
    (void)state;
    static const char *const names[] = {
        "",
        "-",
        "Order",
        "Completed",
        "Completed Orders",
        "Completed Order Again",
        "éCompleted Order",
        "completed order completed order",
        "ordercompleted",
        "a b c d e f g",
        "Viewed Product and a name that is longer than all of them",
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        assert_null(crossengage_kind_find(pl_span_str(names[i])));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_name_in_many_spellings),
        cmocka_unit_test(each_name_has_its_type),
        cmocka_unit_test(others_are_the_sites_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
