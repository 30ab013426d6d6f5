/* What nobody asks for, and time does, stands in the audit log. */
#include "lifecycle_fixture.h"

#include <signal.h>
#include <sys/resource.h>

static int setup_audited(void **state)
{
    return make_house(state, true);
}

static struct pl_buf read_log(struct house *house)
{
    struct pl_buf out;
    uint64_t next;
    pl_buf_init(&out, 1 << 20);
    must(audit_read(house->audit, 0, 1 << 20, &out, &next, &house->why), &house->why);
    assert_int_equal(next, 0);
    must(pl_buf_terminate(&out), &house->why);
    return out;
}

/* How many lines hold both. */
static size_t lines_with(struct house *house, const char *one, const char *other)
{
    struct pl_buf log = read_log(house);
    size_t count = 0;
    for (char *line = strtok((char *)log.data, "\n"); line != NULL; line = strtok(NULL, "\n"))
        count += strstr(line, one) != NULL && strstr(line, other) != NULL;
    pl_buf_release(&log);
    return count;
}

static void assert_told(struct house *house, const char *action, const char *words)
{
    char member[64];
    snprintf(member, sizeof(member), "\"action\":\"%s\"", action);
    if (lines_with(house, member, words) != 1)
        fail_msg("%zu lines of %s with %s in: %s", lines_with(house, member, words), action, words,
                 (char *)read_log(house).data);
}

static void holds_that_end_by_their_date_are_told_once(void **state)
{
    struct house *house = *state;
    struct account account = new_account(house, "held");
    char ids[2][PL_ID128_TEXT];
    struct hold dated = hold(house, account.id, "{\"reason\":\"r\",\"until\":\"2026-01-11\"}");
    struct hold later = hold(house, account.id, "{\"reason\":\"r\",\"until\":\"2026-01-21\"}");
    struct hold released = hold(house, account.id, "{\"reason\":\"r\",\"until\":\"2026-01-15\"}");
    must(holds_release(house->holds, account.id, &released.id,
                       parse(house, "{\"reason\":\"over\"}"), "t", &released, &house->why),
         &house->why);
    pl_id128_format(&dated.id, ids[0]);
    pl_id128_format(&later.id, ids[1]);
    pass_to(house, DAY(10) - 1);
    assert_int_equal(lines_with(house, "hold.end", ""), 0);
    pass_to(house, DAY(10));
    assert_told(house, "hold.end", ids[0]);
    tick_on_day(house, 12);
    close_house(house); /* one ends while nobody is there */
    house->now_ms += 9 * PL_DAY_MS;
    open_house(house, false);
    lifecycle_confirm_clock(house->lifecycle);
    work(house);
    reopen_house(house);
    work(house);
    assert_told(house, "hold.end", ids[0]);
    assert_told(house, "hold.end", ids[1]);
    assert_int_equal(lines_with(house, "hold.end", ""), 2);
}

/* The log takes no line about it each second meanwhile. */
static void a_hold_s_end_is_told_once_to_a_database_that_refuses_it(void **state)
{
    struct house *house = *state;
    struct account account = new_account(house, "held");
    struct rlimit limit;
    static const char filler[512 << 10];
    hold(house, account.id, "{\"reason\":\"r\",\"until\":\"2026-01-11\"}");
    pass_to(house, DAY(10) - 1);
    /* Its log gets no longer; others', which are shorter, do. */
    must(store_put(house->store, FAMILY_META, PL_SPAN_LIT("filler"),
                   pl_span(filler, sizeof(filler)), true, &house->why),
         &house->why);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = sizeof(filler) / 2;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    for (int64_t second = 0; second < 5; second++)
        pass_to(house, DAY(10) + second * PL_SECOND_MS);
    struct store_usage usage;
    store_usage(house->store, &usage);
    assert_true(usage.failed);
    assert_int_equal(lines_with(house, "hold.end", ""), 1);
    limit.rlim_cur = limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    must(store_recover(house->store, &house->why), &house->why);
    tick_on_day(house, 11);
    reopen_house(house); /* it has heard of it since */
    work(house);
    assert_int_equal(lines_with(house, "hold.end", ""), 1);
}

static void days_that_go_are_told(void **state)
{
    struct house *house = *state;
    struct account account = make_account(house, "{\"name\":\"brief\",\"retention_months\":2}");
    for (int64_t day = 0; day < 3; day++)
        put_event_on(house, account.id, pl_day_of(START_MS) + day, 1);
    pass_to(house, DAY(40));
    pass_to(house, DAY(61)); /* the 3rd of March */
    assert_told(house, "events.retire", "\"2 events of days 2026-01-01 to 2026-01-02\"");
    tick_on_day(house, 62);
    assert_told(house, "events.retire", "\"1 event of days 2026-01-03 to 2026-01-03\"");
    assert_int_equal(lines_with(house, "events.retire", ""), 2);
}

static void an_account_that_is_cleared_is_told_before_its_days_go(void **state)
{
    struct house *house = *state;
    struct account account = new_account(house, "ranged"), ended;
    put_event(house, account.id, 1);
    must(accounts_expire(house->accounts, account.id, 0, &ended, &house->why), &house->why);
    hold(house, account.id, "{\"reason\":\"r\",\"from\":\"2026-02-02\",\"to\":\"2026-02-03\"}");
    pass_to(house, account_due_ms(&ended) - 1);
    assert_int_equal(lines_with(house, "account.cleared", ""), 0);
    pass_to(house, account_due_ms(&ended) + PL_HOUR_MS);
    assert_told(house, "account.cleared", "\"done\"");
    assert_told(house, "events.retire", "\"1 event of days 2026-01-01 to 2026-01-01\"");
    struct pl_buf log = read_log(house);
    assert_true(strstr((char *)log.data, "account.cleared") <
                strstr((char *)log.data, "events.retire"));
    pl_buf_release(&log);
}

static void keys_and_edges_that_are_given_up_are_told(void **state)
{
    struct house *house = *state;
    struct account account = new_account(house, "gone"), ended;
    struct pl_id128 here = enroll(house, 1), lost = enroll(house, 2);
    char id[PL_ID128_TEXT];
    pl_id128_format(&lost, id);
    must(accounts_expire(house->accounts, account.id, 0, &ended, &house->why), &house->why);
    for (int64_t day = 0; day <= 86; day++) {
        tick_on_day(house, day);
        edge_settles(house, &here);
    }
    work(house);
    assert_int_equal(state_of(house, account.id), ACCOUNT_DELETED);
    assert_told(house, "edge.written-off", id);
    assert_true(lines_with(house, "\"action\":\"sealing-key.made\"", "\"object\":\"") >= 1);
    assert_true(lines_with(house, "\"action\":\"sealing-key.destroyed\"",
                           "the deadline of a deletion") >= 1);
}

static struct keyring_status keys_of(struct house *house)
{
    static struct keyring_status status;
    keyring_status(house->keyring, &status);
    return status;
}

/* One path takes its end, another one does not: it has ended, and the other is seen to. */
static void a_sealing_key_that_ends_on_one_path_is_told_and_mended(void **state)
{
    struct house *house = *state;
    struct pl_id128 edge = enroll(house, 1);
    char command[256];
    must(cutoffs_rotate(house->cutoffs, &house->why), &house->why);
    snprintf(command, sizeof(command), "mkdir -p %s.tmp/full", house->ring_b);
    assert_int_equal(system(command), 0);
    edge_settles(house, &edge);
    cutoffs_tick(house->cutoffs);
    assert_int_equal(keys_of(house).paths_behind, 1);
    assert_told(house, "sealing-key.destroyed", "no edge holds blocks");
    cutoffs_tick(house->cutoffs);
    assert_int_equal(keys_of(house).paths_behind, 1);
    snprintf(command, sizeof(command), "rm -r %s.tmp", house->ring_b);
    assert_int_equal(system(command), 0);
    cutoffs_tick(house->cutoffs);
    assert_int_equal(keys_of(house).paths_behind, 0);
    assert_told(house, "sealing-key.destroyed", "no edge holds blocks"); /* once */
    snprintf(command, sizeof(command), "cmp %s %s", house->ring_a, house->ring_b);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(holds_that_end_by_their_date_are_told_once, setup_audited,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_hold_s_end_is_told_once_to_a_database_that_refuses_it,
                                        setup_audited, teardown),
        cmocka_unit_test_setup_teardown(days_that_go_are_told, setup_audited, teardown),
        cmocka_unit_test_setup_teardown(an_account_that_is_cleared_is_told_before_its_days_go,
                                        setup_audited, teardown),
        cmocka_unit_test_setup_teardown(keys_and_edges_that_are_given_up_are_told, setup_audited,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_sealing_key_that_ends_on_one_path_is_told_and_mended,
                                        setup_audited, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
