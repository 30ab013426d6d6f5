#include "origin/clock_watch.h"
#include "origin/families.h"

#include <stdio.h>

#define KEEP_EVERY_MS (CLOCK_WATCH_SLACK_MS / 2) /* a restart finds a floor that is not older */

static const struct pl_span FLOOR_KEY = PL_SPAN_INIT("clock-floor");

void clock_watch_init(struct clock_watch *watch, struct store *store, const struct pl_clock *clock,
                      const struct pl_log *log)
{
    *watch = (struct clock_watch){.store = store, .clock = clock, .log = log};
}

static void believe(struct clock_watch *watch, int64_t wall_ms, int64_t mono_ms)
{
    watch->wall_ms = wall_ms;
    watch->mono_ms = mono_ms;
    watch->ahead_ms = CLOCK_WATCH_SLACK_MS;
    watch->suspect = false;
    watch->reason[0] = '\0';
}

static void suspect(struct clock_watch *watch, const char *what)
{
    if (!watch->suspect) {
        pl_log(watch->log, PL_LOG_ERROR, "lifecycle", "nothing expires or is deleted: %s", what);
    }
    watch->suspect = true;
    snprintf(watch->reason, sizeof(watch->reason), "%.199s", what);
}

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
    } else if (err == PL_ENOTFOUND) {
        believe(watch, wall_ms, mono_ms);
    }
    watch->begun = err == PL_ENOTFOUND || (err == PL_OK && value.len == 8);
    pl_buf_release(&value);
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
                     char text[200])
{
    char shows[PL_TIME_TEXT], expected[PL_TIME_TEXT];
    pl_time_format(wall_ms, shows);
    pl_time_format(expected_ms, expected);
    snprintf(text, 200,
             "the clock shows %s where %s%s was expected; set it right, or confirm it: "
             "polderctl lifecycle confirm-clock",
             shows, expected, watch->ahead_ms == CLOCK_WATCH_RESTART_MS ? " or a day more" : "");
}

bool clock_watch_look(struct clock_watch *watch)
{
    char text[200];
    int64_t wall_ms = pl_wall_ms(watch->clock), mono_ms = pl_mono_ms(watch->clock);
    if (!watch->begun && !begin(watch, wall_ms, mono_ms)) {
        suspect(watch, "when this origin last ran cannot be read from the database");
        return false;
    }
    int64_t expected_ms = watch->wall_ms + (mono_ms - watch->mono_ms);
    int64_t off_ms = wall_ms - expected_ms;
    bool confirmed = atomic_exchange(&watch->confirmed, false);
    if (!confirmed && (off_ms < -CLOCK_WATCH_SLACK_MS || off_ms > watch->ahead_ms)) {
        describe(watch, wall_ms, expected_ms, text);
        suspect(watch, text);
        return false;
    }
    if (watch->suspect) {
        pl_log(watch->log, PL_LOG_INFO, "lifecycle", "the clock is believed again%s",
               confirmed ? ": an operator confirmed it" : "");
    }
    believe(watch, wall_ms, mono_ms);
    keep(watch);
    return true;
}

void clock_watch_confirm(struct clock_watch *watch)
{
    atomic_store(&watch->confirmed, true);
}
