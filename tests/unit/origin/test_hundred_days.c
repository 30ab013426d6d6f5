/* A hundred days, fifty accounts of every kind, three edges, one of which is away: every promise is
 * looked at on every day. */
#include "lifecycle_fixture.h"

#define DAYS      100
#define ACCOUNTS  50
#define AWAY_FROM 60 /* days on which the second edge says nothing */
#define AWAY_TO   63

enum kind {
    STAYS,        /* active all the time */
    ENDS_AT_ONCE, /* expires on day 0 */
    ENDS_LATER,   /* expires by its date, on day 7 */
    RETURNS,      /* expires on day 0, reinstated on day 44 */
    HELD,         /* expires on day 0, under a hold that is released on day 95 */
    HELD_DAYS,    /* expires on day 0, one of its days held until day 95 */
    ASKED,        /* its deletion is requested on day 10 and confirmed on day 12 */
    FORGOTTEN,    /* its deletion is requested on day 10 and never confirmed */
    NOW,          /* deleted on day 20 with a reason */
    IMPORTED,     /* had ended 200 days before it came */
    KINDS
};

struct subject {
    enum kind kind;
    struct account account;
    struct hold hold;
    struct pl_id128 request;
    int64_t gone_on; /* the first day on which it was deleted; -1: not yet */
};

struct play {
    struct house *house;
    struct subject subjects[ACCOUNTS];
    struct pl_id128 edges[3];
};

static const int64_t event_days[] = {-20, -10, 0}; /* from day 0 */
#define EVENTS (sizeof(event_days) / sizeof(event_days[0]))

/* What an account has beside its events, one of each. */
static const struct {
    unsigned family;
    size_t key_bytes;
} others[] = {
    {FAMILY_DEDUPE, 17},       {FAMILY_CONFIGS, 16},  {FAMILY_LINKS, 25},
    {FAMILY_SUPPRESSIONS, 24}, {FAMILY_ERASURES, 24},
};
#define OTHERS (sizeof(others) / sizeof(others[0]))

/* ---- the play */

static void give_others(struct house *house, uint64_t account)
{
    uint8_t key[32];
    char request[128], text[TOKEN_TEXT_BYTES];
    struct token_record token;
    memset(key, 0xff, sizeof(key)); /* as of the last day that there is */
    pl_store_u64(key, account);
    for (size_t i = 0; i < OTHERS; i++)
        must(store_put(house->store, others[i].family, pl_span(key, others[i].key_bytes),
                       PL_SPAN_LIT("row"), false, &house->why),
             &house->why);
    snprintf(request, sizeof(request), "{\"role\":\"owner\",\"account\":\"%016llx\"}",
             (unsigned long long)account);
    must(tokens_create(house->tokens, parse(house, request), &token, text, &house->why),
         &house->why);
}

static void begin(struct play *play)
{
    struct house *house = play->house;
    for (int i = 0; i < ACCOUNTS; i++) {
        struct subject *s = &play->subjects[i];
        char request[160];
        *s = (struct subject){.kind = (enum kind)(i % KINDS), .gone_on = -1};
        snprintf(request, sizeof(request), "{\"name\":\"account %d\"%s}", i,
                 s->kind == ENDS_LATER ? ",\"expires_at\":\"2026-01-08\""
                 : s->kind == IMPORTED ? ",\"expires_at\":\"2025-06-15\",\"imported\":true"
                                       : "");
        s->account = make_account(house, request);
        for (size_t e = 0; e < EVENTS; e++)
            put_event_on(house, s->account.id, pl_day_of(START_MS) + event_days[e], 1);
        give_others(house, s->account.id);
        if (s->kind == ENDS_AT_ONCE || s->kind == RETURNS || s->kind == HELD ||
            s->kind == HELD_DAYS)
            must(accounts_expire(house->accounts, s->account.id, 0, &s->account, &house->why),
                 &house->why);
        if (s->kind == HELD || s->kind == HELD_DAYS)
            must(accounts_hold(house->accounts, house->holds, s->account.id,
                               parse(house, s->kind == HELD
                                                ? "{\"reason\":\"r\"}"
                                                : "{\"reason\":\"r\",\"from\":\"2025-12-22\","
                                                  "\"to\":\"2025-12-22\"}"),
                               "t", &s->hold, &house->why),
                 &house->why);
    }
}

/* What people do on a day, in its morning. */
static void act(struct play *play, struct subject *s, int64_t day)
{
    struct house *house = play->house;
    struct account out;
    const uint64_t id = s->account.id;
    enum pl_err err = PL_OK;
    if (s->kind == RETURNS && day == 44)
        err = accounts_reinstate(house->accounts, id, 0, &out, &house->why);
    else if ((s->kind == HELD || s->kind == HELD_DAYS) && day == 95)
        err = holds_release(house->holds, id, &s->hold.id, parse(house, "{\"reason\":\"over\"}"),
                            "t", &s->hold, &house->why);
    else if ((s->kind == ASKED || s->kind == FORGOTTEN) && day == 10) {
        err = accounts_request_deletion(house->accounts, house->holds, id, "r", &out, &house->why);
        s->request = out.request_id;
    } else if (s->kind == ASKED && day == 12)
        err = accounts_confirm_deletion(house->accounts, house->holds, id, &s->request, &out,
                                        &house->why);
    else if (s->kind == NOW && day == 20)
        err = accounts_delete_now(house->accounts, house->holds, id, "r", &out, &house->why);
    must(err, &house->why);
}

static void hear_edges(struct play *play, int64_t day)
{
    for (size_t i = 0; i < 3; i++)
        if (i != 1 || day < AWAY_FROM || day > AWAY_TO)
            edge_settles(play->house, &play->edges[i]);
}

/* ---- the promises */

static size_t others_of(struct house *house, uint64_t account)
{
    struct token_record *list;
    size_t rows = 0, count;
    for (size_t i = 0; i < OTHERS; i++)
        rows += rows_of(house, others[i].family, account);
    must(tokens_list(house->tokens, &list, &count), &house->why);
    for (size_t i = 0; i < count; i++)
        rows += list[i].account == account;
    free(list);
    return rows;
}

static void assert_untouched(struct house *house, const struct subject *s)
{
    assert_int_equal(events_of(house, s->account.id), EVENTS);
    assert_int_equal(others_of(house, s->account.id), OTHERS + 1);
    assert_true(has_key(house, s->account.id));
    assert_false(has_certificate(house, s->account.id));
    assert_true(account_of(house, s->account.id).state < ACCOUNT_DELETING);
}

/* Whatever edges have said by then. */
static void assert_unreadable(struct house *house, const struct subject *s)
{
    assert_int_equal(events_of(house, s->account.id), 0);
    assert_int_equal(others_of(house, s->account.id), 0);
    assert_int_equal(rows_of(house, FAMILY_DAYS, s->account.id), 0);
    assert_false(has_key(house, s->account.id));
}

static void assert_gone(struct house *house, const struct subject *s)
{
    int64_t expired_ms;
    assert_int_equal(account_of(house, s->account.id).state, ACCOUNT_DELETED);
    assert_unreadable(house, s);
    assert_int_equal(rows_of(house, FAMILY_HOLDS, s->account.id), 0);
    assert_true(has_certificate(house, s->account.id));
    assert_int_equal(accounts_fate(house->accounts, s->account.id, house->now_ms, &expired_ms),
                     INTAKE_DELETED);
}

/* Deleted within [45, 90] days of expiry, nothing before, everything after; between, all or
 * nothing of it is there. */
static void look_at_window(struct house *house, const struct subject *s, int64_t after_expiry)
{
    if (after_expiry < ACCOUNT_KEEP_DAYS ||
        account_of(house, s->account.id).state < ACCOUNT_DELETING)
        assert_untouched(house, s);
    else
        assert_unreadable(house, s);
    if (after_expiry >= LIFECYCLE_WARN_DAYS + 1)
        assert_gone(house, s); /* and that is well before day 90 */
}

static void look_at_held_days(struct house *house, const struct subject *s, int64_t day)
{
    const int64_t first = pl_day_of(START_MS);
    if (day < ACCOUNT_KEEP_DAYS) {
        assert_untouched(house, s);
    } else if (day < 95) {
        assert_int_equal(events_on(house, s->account.id, first - 10), 1);
        assert_true(has_key(house, s->account.id));
        if (day > LIFECYCLE_WARN_DAYS)
            assert_int_equal(events_of(house, s->account.id), 1);
    } else if (day > 95) {
        assert_gone(house, s);
    }
}

static void look(struct play *play, struct subject *s, int64_t day)
{
    struct house *house = play->house;
    if (s->gone_on < 0 && account_of(house, s->account.id).state == ACCOUNT_DELETED)
        s->gone_on = day;
    switch (s->kind) {
    case STAYS:
    case RETURNS:
    case FORGOTTEN:
        assert_untouched(house, s);
        if (s->kind != RETURNS || day >= 44)
            assert_int_equal(state_of(house, s->account.id), ACCOUNT_ACTIVE);
        break;
    case ENDS_AT_ONCE:
        look_at_window(house, s, day);
        break;
    case ENDS_LATER:
        look_at_window(house, s, day - 7);
        assert_int_equal(state_of(house, s->account.id) == ACCOUNT_ACTIVE, day < 7);
        break;
    case HELD:
        if (day < 95)
            assert_untouched(house, s);
        else if (day > 95)
            assert_gone(house, s);
        break;
    case HELD_DAYS:
        look_at_held_days(house, s, day);
        break;
    case ASKED:
        (day < 12 ? assert_untouched : assert_gone)(house, s);
        break;
    case NOW:
        (day < 20 ? assert_untouched : assert_gone)(house, s);
        break;
    default:
        assert_gone(house, s);
    }
}

/* The dates at which deletions started are spread. */
static void look_at_spread(const struct play *play)
{
    bool seen[DAYS + 1] = {false};
    size_t days = 0;
    for (int i = 0; i < ACCOUNTS; i++) {
        const struct subject *s = &play->subjects[i];
        if (s->kind == ENDS_AT_ONCE || s->kind == ENDS_LATER) {
            days += !seen[s->gone_on];
            seen[s->gone_on] = true;
        }
    }
    assert_true(days > 3); /* ten accounts on 35 days */
}

/* Every event is still there, or in the sums of what was retired or deleted. */
static void look_at_books(struct house *house)
{
    struct day_counts_row sum;
    memset(&sum, 0, sizeof(sum));
    must(day_counts_total(house->day_counts, 0, 0, VAULT_DAY_MAX, &sum), &house->why);
    assert_int_equal(sum.stored.events, ACCOUNTS * EVENTS);
}

static void every_promise_holds_on_every_day(void **state)
{
    struct play *play = calloc(1, sizeof(*play));
    struct lifecycle_status status;
    play->house = *state;
    for (unsigned char i = 0; i < 3; i++)
        play->edges[i] = enroll(play->house, (unsigned char)(i + 1));
    begin(play);
    for (int64_t day = 0; day <= DAYS; day++) {
        if (day % 9 == 4)
            reopen_house(play->house); /* a restart now and then */
        play->house->mono_ms += START_MS + day * PL_DAY_MS + 1 - play->house->now_ms;
        play->house->now_ms = START_MS + day * PL_DAY_MS + 1;
        for (int i = 0; i < ACCOUNTS; i++)
            act(play, &play->subjects[i], day);
        for (int i = 0; i < 3; i++) { /* what one round makes due, edges hear in the next */
            work(play->house);
            hear_edges(play, day);
        }
        work(play->house);
        lifecycle_status(play->house->lifecycle, &status);
        assert_int_equal(status.overdue, 0);
        assert_string_equal(status.clock, "");
        for (int i = 0; i < ACCOUNTS; i++)
            look(play, &play->subjects[i], day);
        look_at_books(play->house);
    }
    look_at_spread(play);
    free(play);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_promise_holds_on_every_day, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
