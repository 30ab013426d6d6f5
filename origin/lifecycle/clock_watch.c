#include "origin/lifecycle/clock_watch.h"
#include "origin/families.h"

#include <stdio.h>

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

static void tell(struct clock_watch *watch)
{
    if (watch->belief != NULL) {
        atomic_store(&watch->belief->offset_ms, watch->wall_ms - watch->mono_ms);
    }
}

void clock_belief_range(const struct clock_belief *belief, int64_t *earliest_ms, int64_t *latest_ms)
{
    int64_t wall_ms = pl_wall_ms(belief->clock);
    int64_t offset_ms = atomic_load(&belief->offset_ms);
    int64_t expected_ms = offset_ms == 0 ? wall_ms : pl_mono_ms(belief->clock) + offset_ms;
    *earliest_ms = wall_ms < expected_ms ? wall_ms : expected_ms;
    *latest_ms = wall_ms < expected_ms ? expected_ms : wall_ms;
}

static int64_t cautious_wall_ms(void *ctx)
{
    int64_t earliest_ms, latest_ms;
    clock_belief_range(ctx, &earliest_ms, &latest_ms);
    return earliest_ms;
}

static int64_t cautious_mono_ms(void *ctx)
{
    return pl_mono_ms(((struct clock_belief *)ctx)->clock);
}

struct pl_clock clock_belief_cautious(struct clock_belief *belief)
{
    return (struct pl_clock){
        .wall_ms = cautious_wall_ms, .mono_ms = cautious_mono_ms, .ctx = belief};
}

/* ---- belief and doubt */

static void believe(struct clock_watch *watch, int64_t wall_ms, int64_t mono_ms)
{
    watch->wall_ms = wall_ms;
    watch->mono_ms = mono_ms;
    watch->ahead_ms = CLOCK_WATCH_SLACK_MS;
    watch->suspect = false;
    watch->agreed = false;
    watch->reason[0] = '\0';
    tell(watch);
}

static void suspect(struct clock_watch *watch, const char *what)
{
    if (!watch->suspect) {
        pl_log(watch->log, PL_LOG_ERROR, "lifecycle", "nothing expires or is deleted: %s", what);
    }
    watch->suspect = true;
    snprintf(watch->reason, sizeof(watch->reason), "%.199s", what);
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
    if (err == PL_OK && value.len == 8) {
        watch->wall_ms = watch->kept_ms = (int64_t)pl_load_u64(value.data);
        watch->mono_ms = mono_ms;
        watch->ahead_ms = CLOCK_WATCH_RESTART_MS;
        tell(watch);
    } else if (err == PL_ENOTFOUND) {
        believe(watch, wall_ms, mono_ms);
    }
    bool known = err == PL_ENOTFOUND || (err == PL_OK && value.len == 8);
    pl_buf_release(&value);
    err = clock_freeze_open(watch->store, &watch->freeze);
    watch->frozen = err == PL_OK;
    watch->begun = known && (err == PL_OK || err == PL_ENOTFOUND);
    return watch->begun;
}

static void keep(struct clock_watch *watch)
{
    struct pl_why why = {0};
    uint8_t value[8];
    int64_t moved_ms = watch->wall_ms - watch->kept_ms;
    if (watch->kept_ms != 0 && moved_ms >= 0 && moved_ms < KEEP_EVERY_MS) {
        return;
    }
    pl_store_u64(value, (uint64_t)watch->wall_ms);
    if (store_put(watch->store, FAMILY_META, FLOOR_KEY, pl_span(value, sizeof(value)), true,
                  &why) == PL_OK) {
        watch->kept_ms = watch->wall_ms;
    }
}

static void describe(const struct clock_watch *watch, int64_t wall_ms, int64_t expected_ms,
                     size_t heard, size_t agreeing, char text[TEXT_BYTES])
{
    char shows[PL_TIME_TEXT], expected[PL_TIME_TEXT], edges[80] = "";
    short_time(wall_ms, shows);
    short_time(expected_ms, expected);
    if (heard > 0) {
        snprintf(edges, sizeof(edges), " (%zu of %zu edges' clocks agree)", agreeing, heard);
    }
    snprintf(text, TEXT_BYTES,
             "the clock shows %s where %s%s was expected%s; set it right, or confirm it: "
             "polderctl lifecycle confirm-clock",
             shows, expected, watch->ahead_ms == CLOCK_WATCH_RESTART_MS ? " or a day more" : "",
             edges);
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
    snprintf(because, sizeof(because), "it agreed again");
    if (atomic_exchange(&watch->confirmed, false)) {
        snprintf(because, sizeof(because), "an operator confirmed it");
    } else if (off_ms < -CLOCK_WATCH_SLACK_MS || off_ms > watch->ahead_ms) {
        freeze(watch, wall_ms, expected_ms);
        if (!edges_agree(watch, wall_ms, mono_ms, &heard, &agreeing)) {
            watch->now_ms = expected_ms;
            describe(watch, wall_ms, expected_ms, heard, agreeing, text);
            suspect(watch, text);
            return false;
        }
        snprintf(because, sizeof(because), "%zu of %zu edges' clocks agreed with it", agreeing,
                 heard);
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
