#include "origin/accounts/hold.h"
#include "origin/request.h"

#include <string.h>

#define DAY_MAX 65535 /* as the vault's */

bool hold_stands(const struct hold *hold, int64_t now_ms)
{
    return hold->released_ms == 0 && (hold->until_ms == 0 || now_ms < hold->until_ms);
}

int64_t hold_ended_ms(const struct hold *hold, int64_t now_ms)
{
    if (hold_stands(hold, now_ms)) {
        return 0;
    }
    bool ran_out =
        hold->until_ms != 0 && (hold->released_ms == 0 || hold->until_ms < hold->released_ms);
    return ran_out ? hold->until_ms : hold->released_ms;
}

static void write_day(struct json_writer *w, const char *name, int64_t day)
{
    char text[PL_TIME_TEXT];
    pl_time_format(day * PL_DAY_MS, text);
    text[strlen("2026-11-22")] = '\0';
    json_write_pair_text(w, name, text);
}

void hold_write_json(const struct hold *hold, int64_t now_ms, struct json_writer *w)
{
    json_write_object(w);
    json_write_pair_hex(w, "id", pl_span(hold->id.bytes, sizeof(hold->id.bytes)));
    json_write_pair_account(w, "account", hold->account);
    json_write_pair_text(w, "reason", hold->reason);
    if (!hold->whole) {
        write_day(w, "from", hold->first_day);
        write_day(w, "to", hold->last_day);
    }
    json_write_pair_time(w, "placed_at", hold->placed_ms);
    json_write_pair_text(w, "placed_by", hold->placed_by);
    json_write_pair_time(w, "until", hold->until_ms);
    json_write_pair_time(w, "released_at", hold->released_ms);
    if (hold->released_ms != 0) {
        json_write_pair_text(w, "release_reason", hold->release_reason);
        json_write_pair_text(w, "released_by", hold->released_by);
    }
    if (now_ms != 0) {
        json_write_pair_time(w, "ended_at", hold_ended_ms(hold, now_ms));
    }
    if (hold->was_so) {
        json_write_pair_bool(w, "already", true);
    }
    json_write_object_end(w);
}

/* A day; *day stays -1 where there is none. */
static enum pl_err read_day(struct json object, const char *name, int64_t *day, struct pl_why *why)
{
    struct json value;
    int64_t wall_ms;
    if (!json_get(object, name, &value) || json_is_null(value)) {
        return PL_OK;
    }
    enum pl_err err = request_time(object, name, &wall_ms, why);
    if (err != PL_OK) {
        return err;
    }
    if (wall_ms < 0 || wall_ms % PL_DAY_MS != 0 || wall_ms / PL_DAY_MS > DAY_MAX) {
        return pl_fail_field(why, PL_EINVAL, name, "%s must be a day like 2026-11-22", name);
    }
    *day = wall_ms / PL_DAY_MS;
    return PL_OK;
}

enum pl_err hold_read_request(struct json object, struct hold *hold, struct pl_why *why)
{
    enum pl_err err;
    hold->first_day = hold->last_day = -1;
    if ((err = request_text(object, "reason", hold->reason, sizeof(hold->reason), why)) != PL_OK ||
        (err = read_day(object, "from", &hold->first_day, why)) != PL_OK ||
        (err = read_day(object, "to", &hold->last_day, why)) != PL_OK ||
        (err = request_time(object, "until", &hold->until_ms, why)) != PL_OK) {
        return err;
    }
    if ((hold->first_day < 0) != (hold->last_day < 0)) {
        return pl_fail_field(why, PL_EINVAL, hold->first_day < 0 ? "from" : "to",
                             "a range of days needs both from and to");
    }
    if (hold->first_day > hold->last_day) {
        return pl_fail_field(why, PL_EINVAL, "to", "to is before from");
    }
    hold->whole = hold->first_day < 0;
    return PL_OK;
}

enum pl_err hold_read_json(struct json object, struct hold *hold, struct pl_why *why)
{
    enum pl_err err;
    *hold = (struct hold){.account = 0};
    if ((err = hold_read_request(object, hold, why)) != PL_OK ||
        (err = request_id128(object, "id", &hold->id, why)) != PL_OK ||
        (err = request_account(object, "account", &hold->account, why)) != PL_OK ||
        (err = request_time(object, "placed_at", &hold->placed_ms, why)) != PL_OK ||
        (err = request_text(object, "placed_by", hold->placed_by, sizeof(hold->placed_by), why)) !=
            PL_OK ||
        (err = request_time(object, "released_at", &hold->released_ms, why)) != PL_OK ||
        (err = request_text(object, "release_reason", hold->release_reason,
                            sizeof(hold->release_reason), why)) != PL_OK) {
        return err;
    }
    return request_text(object, "released_by", hold->released_by, sizeof(hold->released_by), why);
}
