#include "origin/accounts/outcomes.h"
#include "origin/vault/vault_days.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define OUTCOME_BYTES 48 /* longer than every name */
/* Edges file them under it: edge/tally.h. */
#define TALLY_VISITOR "polder:tally"

struct sum {
    int64_t day;
    uint64_t dialect, count;
    char outcome[OUTCOME_BYTES];
};

struct outcomes {
    struct store *store;
    struct vault_sealer *sealer;
    struct event_reader *reader;
    struct event event;
    struct pl_buf encoded;
    struct sum *sums; /* of days in order */
    size_t count, cap, day_from;
    uint64_t damaged;
};

enum pl_err outcomes_new(struct outcomes **out, struct store *store, struct keyring *keyring)
{
    struct outcomes *o = calloc(1, sizeof(*o));
    if (o == NULL)
        return PL_ENOMEM;
    o->store = store;
    pl_buf_init(&o->encoded, 2 * LIMIT_EVENT_WIRE_BYTES);
    enum pl_err err = event_reader_new(&o->reader);
    if (err == PL_OK)
        err = vault_sealer_new(&o->sealer, keyring, 16);
    if (err != PL_OK) {
        outcomes_free(o);
        return err;
    }
    *out = o;
    return PL_OK;
}

void outcomes_free(struct outcomes *o)
{
    if (o == NULL)
        return;
    vault_sealer_free(o->sealer);
    event_reader_free(o->reader);
    pl_buf_wipe(&o->encoded);
    free(o->sums);
    free(o);
}

void outcomes_tidy(struct outcomes *o)
{
    vault_sealer_tidy(o->sealer);
}

/* ---- summing */

static enum pl_err add(struct outcomes *o, int64_t day, const struct event *tally)
{
    const uint64_t dialect = event_u64(tally, EVENT_DIALECT);
    const uint64_t count = event_u64(tally, EVENT_COUNT);
    char outcome[OUTCOME_BYTES];
    const struct pl_span name = event_str(tally, EVENT_NAME);
    const size_t len = name.len < sizeof(outcome) ? name.len : sizeof(outcome) - 1;
    memcpy(outcome, name.data, len);
    outcome[len] = '\0';
    for (size_t i = o->day_from; i < o->count; i++) {
        struct sum *sum = &o->sums[i];
        if (sum->dialect == dialect && strcmp(sum->outcome, outcome) == 0) {
            sum->count += count;
            return PL_OK;
        }
    }
    if (o->count == OUTCOMES_ROWS_MAX)
        return PL_ELIMIT;
    if (o->count == o->cap) {
        const size_t cap = o->cap == 0 ? 64 : 2 * o->cap;
        struct sum *sums = realloc(o->sums, cap * sizeof(*sums));
        if (sums == NULL)
            return PL_ENOMEM;
        o->sums = sums;
        o->cap = cap;
    }
    struct sum *sum = &o->sums[o->count++];
    *sum = (struct sum){.day = day, .dialect = dialect, .count = count};
    memcpy(sum->outcome, outcome, sizeof(outcome));
    return PL_OK;
}

/* One value; a client that calls itself as the tallies' keeper does is passed over. */
static enum pl_err take(struct outcomes *o, const struct vault_key *key, struct pl_span value)
{
    pl_buf_reset(&o->encoded);
    enum pl_err err = vault_open_value(o->sealer, key, value, &o->encoded);
    if (err == PL_OK) {
        struct pl_span rest = pl_buf_span(&o->encoded);
        err = event_read(o->reader, &rest, &o->event, NULL, NULL);
    }
    if (err == PL_EAUTH || err == PL_ECORRUPT || err == PL_EUNSUPPORTED) {
        o->damaged++;
        return PL_OK;
    }
    if (err != PL_OK || event_u64(&o->event, EVENT_TYPE) != EVENT_TALLY)
        return err;
    return add(o, vault_key_day(key), &o->event);
}

/* All values from one key up to another. */
static enum pl_err scan_range(struct outcomes *o, struct pl_span from, struct pl_span end)
{
    struct store_scan *scan;
    struct pl_span key, value;
    struct vault_key at;
    enum pl_err err = store_scan_new(&scan, o->store, FAMILY_VAULT, from, end);
    if (err != PL_OK)
        return err;
    while ((err = store_scan_next(scan, &key, &value)) == PL_OK && key.len == sizeof(at.bytes)) {
        memcpy(at.bytes, key.data, sizeof(at.bytes));
        if ((err = take(o, &at, value)) != PL_OK)
            break;
    }
    store_scan_free(scan);
    return err == PL_ENOTFOUND ? PL_OK : err;
}

/* The tallies of a day lie together, under the hash of one visitor. */
static enum pl_err sum_day(struct outcomes *o, uint64_t account, int64_t day)
{
    uint8_t from[VAULT_VISITOR_PREFIX], end[VAULT_VISITOR_PREFIX];
    enum pl_err err =
        vault_visitor_prefix(o->sealer, account, day, PL_SPAN_LIT(TALLY_VISITOR), false, from);
    if (err != PL_OK)
        return err;
    memcpy(end, from, sizeof(end));
    for (size_t i = sizeof(end); i-- > 0 && ++end[i] == 0;)
        ;
    o->day_from = o->count;
    return scan_range(o, pl_span(from, sizeof(from)), pl_span(end, sizeof(end)));
}

static enum pl_err sum_all(struct outcomes *o, uint64_t account, int64_t first_day,
                           int64_t last_day)
{
    enum pl_err err = PL_OK;
    o->count = 0;
    o->damaged = 0;
    for (int64_t day = first_day; err == PL_OK && day <= last_day; day++) {
        err = vault_next_day(o->store, account, last_day, &day);
        if (err == PL_OK)
            err = sum_day(o, account, day);
    }
    return err == PL_ENOTFOUND ? PL_OK : err;
}

/* ---- writing */

static int compare(const void *a, const void *b)
{
    const struct sum *x = a, *y = b;
    if (x->day != y->day)
        return x->day < y->day ? -1 : 1;
    if (x->dialect != y->dialect)
        return x->dialect < y->dialect ? -1 : 1;
    return strcmp(x->outcome, y->outcome);
}

static void write_sum(const struct sum *sum, struct json_writer *writer)
{
    char day[PL_TIME_TEXT], number[24];
    const char *dialect = sum->dialect < EVENT_DIALECT_COUNT
                              ? event_dialect_name((enum event_dialect)sum->dialect)
                              : NULL;
    pl_time_format(sum->day * PL_DAY_MS, day);
    snprintf(number, sizeof(number), "%" PRIu64, sum->dialect);
    json_write_object(writer);
    json_write_key(writer, "day");
    json_write_string(writer, pl_span((const uint8_t *)day, strlen("2026-11-22")));
    json_write_pair_text(writer, "dialect", dialect != NULL ? dialect : number);
    json_write_pair_text(writer, "outcome", sum->outcome);
    json_write_pair_u64(writer, "count", sum->count);
    json_write_object_end(writer);
}

static enum pl_err explain(enum pl_err err, struct pl_why *why)
{
    switch (err) {
    case PL_ELIMIT:
        return pl_fail_field(why, err, "from",
                             "these days hold more than %d sums; ask for fewer of them",
                             OUTCOMES_ROWS_MAX);
    case PL_EEXPIRED:
        return pl_fail(why, err, "the account's data was deleted: its key is destroyed");
    default:
        return pl_fail(why, err, "the account's tallies cannot be read: %s", pl_err_word(err));
    }
}

enum pl_err outcomes_write(struct outcomes *o, uint64_t account, int64_t first_day,
                           int64_t last_day, struct json_writer *writer, struct pl_why *why)
{
    if (first_day < 0 || last_day > VAULT_DAY_MAX || first_day > last_day)
        return pl_fail_field(why, PL_EINVAL, "from",
                             "the first day must not be after the last one, and both must be "
                             "between 1970 and 2149");
    enum pl_err err = sum_all(o, account, first_day, last_day);
    if (err != PL_OK)
        return explain(err, why);
    if (o->count > 0)
        qsort(o->sums, o->count, sizeof(*o->sums), compare);
    json_write_object(writer);
    json_write_key(writer, "outcomes");
    json_write_array(writer);
    for (size_t i = 0; i < o->count; i++)
        write_sum(&o->sums[i], writer);
    json_write_array_end(writer);
    json_write_pair_u64(writer, "damaged", o->damaged);
    json_write_object_end(writer);
    return PL_OK;
}
