/* What a loop counts, and what becomes of it when the table is full. */
#include "edge/tally.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct tally *new_tally(void)
{
    struct tally *tally = calloc(1, sizeof(*tally));
    assert_non_null(tally);
    tally_init(tally);
    return tally;
}

static void drop(struct tally *tally)
{
    tally_release(tally);
    free(tally);
}

static bool note(struct tally *tally, uint64_t account, unsigned dialect, const char *outcome,
                 uint64_t n)
{
    const struct tally_who who = {.account = account, .dialect = dialect};
    return tally_note(tally, &who, outcome, n);
}

static uint64_t count_of(const struct tally *tally, uint64_t account, const char *outcome)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < TALLY_SLOTS; i++)
        if (tally->slots[i].who.account == account && strcmp(tally->slots[i].outcome, outcome) == 0)
            sum += tally->slots[i].count;
    return sum;
}

static uint64_t all_of(const struct tally *tally)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < TALLY_SLOTS; i++)
        sum += tally->slots[i].who.account != 0 ? tally->slots[i].count : 0;
    return sum;
}

static void sums_are_by_account_dialect_and_outcome(void **state)
{
    (void)state;
    struct tally *tally = new_tally();
    char again[] = "DUPLICATE"; /* the same words elsewhere are the same outcome */
    assert_true(note(tally, 1, EVENT_DIALECT_PIXEL, "DUPLICATE", 1));
    assert_true(note(tally, 1, EVENT_DIALECT_PIXEL, again, 2));
    assert_true(note(tally, 1, EVENT_DIALECT_CROBOX, "DUPLICATE", 5));
    assert_true(note(tally, 2, EVENT_DIALECT_PIXEL, "DUPLICATE", 7));
    assert_int_equal(tally->rows, 3);
    assert_int_equal(count_of(tally, 1, "DUPLICATE"), 8);
    assert_int_equal(count_of(tally, 2, "DUPLICATE"), 7);
    drop(tally);
}

/* Nearly full: further outcomes of an account are its OTHER; full: told, not lost in silence. */
static void a_full_table_loses_names_before_counts(void **state)
{
    (void)state;
    struct tally *tally = new_tally();
    uint64_t taken = 0;
    unsigned refused = 0;
    for (uint64_t account = 1; account <= TALLY_ROWS + 10; account++) {
        if (note(tally, account, EVENT_DIALECT_PIXEL, "MALFORMED", 3))
            taken += 3;
        else
            refused++;
    }
    assert_int_equal(refused, 10);
    assert_int_equal(tally->rows, TALLY_ROWS);
    assert_int_equal(all_of(tally), taken);
    assert_int_equal(count_of(tally, TALLY_NAMED, "MALFORMED"), 3);
    assert_int_equal(count_of(tally, TALLY_NAMED + 1, "MALFORMED"), 0);
    assert_int_equal(count_of(tally, TALLY_NAMED + 1, "OTHER"), 3);
    /* What stands there goes on being counted. */
    assert_true(note(tally, 1, EVENT_DIALECT_PIXEL, "MALFORMED", 1));
    assert_int_equal(count_of(tally, 1, "MALFORMED"), 4);
    assert_false(note(tally, 1, EVENT_DIALECT_PIXEL, "DUPLICATE", 1));
    drop(tally);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_by_account_dialect_and_outcome),
        cmocka_unit_test(a_full_table_loses_names_before_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
