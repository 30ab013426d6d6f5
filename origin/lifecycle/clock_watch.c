#include "origin/lifecycle/clock_watch.h"
#include "origin/families.h"
#include "proto/base/text.h"

#include <stdio.h>
#include <stdlib.h>

#define KEEP_EVERY_MS (CLOCK_WATCH_SLACK_MS / 2) /* a restart finds a floor that is not older */

#define TEXT_BYTES 320

static const struct pl_span FLOOR_KEY = PL_SPAN_INIT("clock-floor");

void clock_watch_init(struct clock_watch *watch, struct store *store, const struct pl_clock *clock,
                      const struct pl_log *log)
{
    *watch = (struct clock_watch){.store = store, .clock = clock, .log = log};
}

void clock_watch_ask(struct clock_watch *watch, clock_witnesses_fn witnesses, void *ctx,
                     int64_t agree_ms)
{
    watch->witnesses = witnesses;
    watch->witnesses_ctx = ctx;
    watch->agree_ms = agree_ms == 0 ? CLOCK_WATCH_AGREE_MS : agree_ms;
}

void clock_watch_tell(struct clock_watch *watch, struct clock_belief *belief)
{
    watch->belief = belief;
}

/* ---- what is believed */

static void tell(struct clock_watch *watch, bool assumed)
{
    if (watch->belief != NULL) {
        atomic_store(&watch->belief->offset_ms, watch->wall_ms - watch->mono_ms);
        atomic_store(&watch->belief->assumed, assumed);
    }
}

/* ---- steps, and what they add up to */

static void remember(struct clock_watch *watch, int64_t lead_ms, int64_t mono_ms)
{
    const int64_t hour = mono_ms / PL_HOUR_MS + 1;
    struct clock_hour *at = &watch->hours[hour % (CLOCK_WATCH_HOURS + 1)];
    if (at->hour != hour) {
        *at = (struct clock_hour){.hour = hour, .least_ms = lead_ms, .most_ms = lead_ms};
    }
    at->least_ms = lead_ms < at->least_ms ? lead_ms : at->least_ms;
    at->most_ms = lead_ms > at->most_ms ? lead_ms : at->most_ms;
}

/* By how much the clock has moved, at the most, from where it was within the last day. */
static int64_t moved_ms(const struct clock_watch *watch, int64_t lead_ms, int64_t mono_ms)
{
    const int64_t hour = mono_ms / PL_HOUR_MS + 1;
    int64_t ahead_ms = 0, behind_ms = 0;
    for (size_t i = 0; i <= CLOCK_WATCH_HOURS; i++) {
        const struct clock_hour *at = &watch->hours[i];
        if (at->hour == 0 || hour - at->hour > CLOCK_WATCH_HOURS) {
            continue;
        }
        ahead_ms = lead_ms - at->least_ms > ahead_ms ? lead_ms - at->least_ms : ahead_ms;
        behind_ms = at->most_ms - lead_ms > behind_ms ? at->most_ms - lead_ms : behind_ms;
    }
    return ahead_ms > behind_ms ? ahead_ms : -behind_ms;
}

static int64_t gaps_ms(const struct clock_watch *watch, int64_t mono_ms)
{
    const int64_t left_ms = watch->gaps_ms - (mono_ms - watch->gaps_mono_ms) / CLOCK_WATCH_REGAIN;
    return left_ms < 0 ? 0 : left_ms;
}

/* Somebody has vouched for it: no earlier reading is held against it. */
static void start_over(struct clock_watch *watch)
{
    memset(watch->hours, 0, sizeof(watch->hours));
    watch->gaps_ms = 0;
    watch->restarted = false;
}

/* ---- belief and doubt */

static void believe(struct clock_watch *watch, int64_t wall_ms, int64_t mono_ms)
{
    if (watch->restarted) {
        watch->gaps_ms += wall_ms > watch->wall_ms ? wall_ms - watch->wall_ms : 0;
        watch->gaps_mono_ms = mono_ms;
        watch->restarted = false;
    }
    remember(watch, wall_ms - mono_ms, mono_ms);
    watch->wall_ms = wall_ms;
    watch->mono_ms = mono_ms;
    watch->ahead_ms = CLOCK_WATCH_SLACK_MS;
    watch->suspect = false;
    watch->agreed = false;
    watch->reason[0] = '\0';
    tell(watch, false);
}

static void suspect(struct clock_watch *watch, const char *what)
{
    if (!watch->suspect) {
        pl_log(watch->log, PL_LOG_ERROR, "lifecycle", "nothing expires or is deleted: %s", what);
    }
    watch->suspect = true;
    snprintf(watch->reason, sizeof(watch->reason), "%.*s", (int)sizeof(watch->reason) - 1, what);
}

static void short_time(int64_t wall_ms, char text[PL_TIME_TEXT])
{
    pl_time_format(wall_ms, text);
    memcpy(text + 19, "Z", 2); /* without milliseconds */
}

/* Tried again at the next look where the disk does not take it. */
static void freeze(struct clock_watch *watch, int64_t wall_ms, int64_t expected_ms)
{
    char shows[PL_TIME_TEXT], expected[PL_TIME_TEXT], reason[CLOCK_FREEZE_REASON_BYTES];
    struct pl_why why;
    if (watch->frozen) {
        return;
    }
    short_time(wall_ms, shows);
    short_time(expected_ms, expected);
    snprintf(reason, sizeof(reason), "the clock showed %s where %s was expected", shows, expected);
    watch->frozen =
        clock_freeze_begin(watch->store, expected_ms, reason, &watch->freeze, &why) == PL_OK;
}

static void thaw(struct clock_watch *watch, int64_t wall_ms, const char *because)
{
    struct pl_why why;
    if (!watch->frozen) {
        return;
    }
    struct clock_freeze ended = watch->freeze;
    if (clock_freeze_end(watch->store, &ended, wall_ms, because, &why) == PL_OK) {
        watch->freeze = ended;
        watch->frozen = false;
    } else {
        pl_log(watch->log, PL_LOG_ERROR, "lifecycle",
               "when the clock was believed again cannot be written down yet: %s", why.text);
    }
}

/* ---- edges' clocks */

static bool is_among(const struct clock_witness *edges, size_t count, const struct pl_id128 *edge)
{
    for (size_t i = 0; i < count; i++) {
        if (pl_id128_eq(&edges[i].edge, edge)) {
            return true;
        }
    }
    return false;
}

/* Each edge once, however many sessions it has. */
static size_t ask(const struct clock_watch *watch, size_t *agreeing)
{
    struct clock_witness edges[CLOCK_WITNESSES_MAX];
    size_t heard = watch->witnesses == NULL
                       ? 0
                       : watch->witnesses(watch->witnesses_ctx, edges, CLOCK_WITNESSES_MAX);
    size_t count = 0;
    *agreeing = 0;
    for (size_t i = 0; i < heard; i++) {
        if (is_among(edges, i, &edges[i].edge)) {
            continue;
        }
        count++;
        *agreeing +=
            edges[i].skew_ms >= -CLOCK_WATCH_AGREE_MS && edges[i].skew_ms <= CLOCK_WATCH_AGREE_MS;
    }
    return count;
}

/* Whether they have agreed long enough, with a clock that has not jumped meanwhile. */
static bool edges_agree(struct clock_watch *watch, int64_t wall_ms, int64_t mono_ms, size_t *heard,
                        size_t *agreeing)
{
    *heard = ask(watch, agreeing);
    int64_t moved_ms = (wall_ms - watch->agreed_wall_ms) - (mono_ms - watch->agreed_mono_ms);
    bool agree = *agreeing >= 2 && 2 * *agreeing > *heard;
    if (!agree || !watch->agreed || moved_ms < -CLOCK_WATCH_AGREE_MS ||
        moved_ms > CLOCK_WATCH_AGREE_MS) {
        watch->agreed = agree;
        watch->agreed_wall_ms = wall_ms;
        watch->agreed_mono_ms = mono_ms;
        return false;
    }
    return mono_ms - watch->agreed_mono_ms >= watch->agree_ms;
}

/* ---- looking */

/* What the last process believed. A store without it is new, or older than this check. */
static bool begin(struct clock_watch *watch, int64_t wall_ms, int64_t mono_ms)
{
    struct pl_buf value;
    pl_buf_init(&value, 16);
    enum pl_err err = store_get(watch->store, FAMILY_META, FLOOR_KEY, &value);
    bool known = err == PL_ENOTFOUND || (err == PL_OK && (value.len == 8 || value.len == 16));
    if (err == PL_ENOTFOUND) {
        believe(watch, wall_ms, mono_ms);
    } else if (known) {
        watch->wall_ms = watch->kept_ms = (int64_t)pl_load_u64(value.data);
        watch->mono_ms = watch->gaps_mono_ms = mono_ms;
        watch->gaps_ms = value.len == 8 ? 0 : (int64_t)pl_load_u64(value.data + 8);
        watch->restarted = true;
        watch->ahead_ms = CLOCK_WATCH_GAPS_MS - watch->gaps_ms;
        watch->ahead_ms = watch->ahead_ms < 0 ? 0 : watch->ahead_ms;
        watch->ahead_ms =
            watch->ahead_ms > CLOCK_WATCH_RESTART_MS ? CLOCK_WATCH_RESTART_MS : watch->ahead_ms;
        tell(watch, true);
    }
    pl_buf_release(&value);
    err = clock_freeze_open(watch->store, &watch->freeze);
    watch->frozen = watch->found_frozen = err == PL_OK;
    watch->begun = known && (err == PL_OK || err == PL_ENOTFOUND);
    return watch->begun;
}

static void keep(struct clock_watch *watch)
{
    struct pl_why why = {0};
    uint8_t value[16];
    int64_t since_ms = watch->wall_ms - watch->kept_ms;
    if (watch->kept_ms != 0 && since_ms >= 0 && since_ms < KEEP_EVERY_MS) {
        return;
    }
    pl_store_u64(value, (uint64_t)watch->wall_ms);
    pl_store_u64(value + 8, (uint64_t)gaps_ms(watch, watch->mono_ms));
    if (store_put(watch->store, FAMILY_META, FLOOR_KEY, pl_span(value, sizeof(value)), true,
                  &why) == PL_OK) {
        watch->kept_ms = watch->wall_ms;
    }
}

/* How far off is allowed, or how it came to be off. */
static void qualify(const struct clock_watch *watch, int64_t steps_ms, char text[48])
{
    text[0] = '\0';
    if (watch->restarted && watch->ahead_ms == CLOCK_WATCH_RESTART_MS) {
        snprintf(text, 48, " or a day more");
    } else if (watch->restarted) {
        snprintf(text, 48, " or %lld %s more", (long long)(watch->ahead_ms / PL_MINUTE_MS),
                 pl_plural((uint64_t)(watch->ahead_ms / PL_MINUTE_MS), "minute", "minutes"));
    } else if (llabs(steps_ms) > CLOCK_WATCH_SLACK_MS) {
        snprintf(text, 48, " (%lld minutes off within a day)",
                 (long long)(steps_ms / PL_MINUTE_MS));
    }
}

static void describe(const struct clock_watch *watch, int64_t wall_ms, int64_t expected_ms,
                     int64_t steps_ms, size_t heard, size_t agreeing, char text[TEXT_BYTES])
{
    char shows[PL_TIME_TEXT], expected[PL_TIME_TEXT], how[48], edges[80] = "";
    short_time(wall_ms, shows);
    short_time(expected_ms, expected);
    qualify(watch, steps_ms, how);
    if (heard > 0) {
        snprintf(edges, sizeof(edges), " (%zu of %zu edges' clocks agree)", agreeing, heard);
    }
    snprintf(text, TEXT_BYTES,
             "the clock shows %s where %s%s was expected%s; set it right, or confirm it: "
             "polderctl lifecycle confirm-clock",
             shows, expected, how, edges);
}

bool clock_watch_look(struct clock_watch *watch)
{
    char text[TEXT_BYTES], because[96];
    size_t heard = 0, agreeing = 0;
    int64_t wall_ms = pl_wall_ms(watch->clock), mono_ms = pl_mono_ms(watch->clock);
    watch->now_ms = wall_ms;
    if (!watch->begun && !begin(watch, wall_ms, mono_ms)) {
        suspect(watch, "when this origin last ran cannot be read from the database");
        return false;
    }
    int64_t expected_ms = watch->wall_ms + (mono_ms - watch->mono_ms);
    int64_t off_ms = wall_ms - expected_ms;
    int64_t steps_ms = moved_ms(watch, wall_ms - mono_ms, mono_ms);
    snprintf(because, sizeof(because), "it agreed again");
    if (atomic_exchange(&watch->confirmed, false)) {
        snprintf(because, sizeof(because), "an operator confirmed it");
        start_over(watch);
    } else if (off_ms < -CLOCK_WATCH_SLACK_MS || off_ms > watch->ahead_ms ||
               llabs(steps_ms) > CLOCK_WATCH_SLACK_MS) {
        freeze(watch, wall_ms, expected_ms);
        if (!edges_agree(watch, wall_ms, mono_ms, &heard, &agreeing)) {
            watch->now_ms = expected_ms;
            describe(watch, wall_ms, expected_ms, steps_ms, heard, agreeing, text);
            suspect(watch, text);
            return false;
        }
        snprintf(because, sizeof(because), "%zu of %zu edges' clocks agreed with it", agreeing,
                 heard);
        start_over(watch);
    }
    if (watch->suspect) {
        pl_log(watch->log, PL_LOG_INFO, "lifecycle", "the clock is believed again: %s", because);
    }
    thaw(watch, wall_ms, because);
    believe(watch, wall_ms, mono_ms);
    keep(watch);
    return true;
}

void clock_watch_confirm(struct clock_watch *watch)
{
    atomic_store(&watch->confirmed, true);
}
