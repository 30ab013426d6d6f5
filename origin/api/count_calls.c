/* How many events there are: of an account by day, and of all accounts beside the ledger. */
#include "origin/api/call.h"
#include "proto/base/id.h"

#include <stdlib.h>

#define COMPARE_TRIES 3 /* events come in meanwhile */

static uint64_t bytes_of(const struct day_counts_row *row)
{
    return row->stored.bytes - row->erased.bytes - row->retired.bytes;
}

/* What went with deleted accounts is in the sums, too, and held no more. */
static void write_row(struct json_writer *w, const struct day_counts_row *row,
                      const struct day_counts_row *deleted)
{
    const uint64_t gone = deleted == NULL ? 0 : day_counts_held(deleted);
    json_write_pair_u64(w, "stored", row->stored.events);
    json_write_pair_u64(w, "erased", row->erased.events);
    json_write_pair_u64(w, "retired", row->retired.events);
    if (deleted != NULL)
        json_write_pair_u64(w, "deleted", gone);
    json_write_pair_u64(w, "held", day_counts_held(row) - gone);
    json_write_pair_u64(w, "held_bytes", bytes_of(row) - (deleted == NULL ? 0 : bytes_of(deleted)));
}

/* ---- an account's days */

struct days {
    struct json_writer *w;
    struct day_counts_row sum;
};

static enum pl_err write_day(void *ctx, uint64_t account, int64_t day,
                             const struct day_counts_row *row)
{
    struct days *days = ctx;
    struct json_writer *w = days->w;
    char text[PL_TIME_TEXT];
    (void)account;
    pl_time_format(day * PL_DAY_MS, text);
    text[strlen("2026-11-22")] = '\0';
    json_write_object(w);
    json_write_pair_text(w, "day", text);
    write_row(w, row, NULL);
    json_write_object_end(w);
    day_counts_add(&days->sum, row);
    return PL_OK;
}

API_HANDLER(api_account_counts)
{
    static const char *const names[] = {"from", "to", NULL};
    struct json_writer *w = worker->writer;
    struct days days = {.w = w};
    struct account account;
    int64_t first_day = 0, last_day = VAULT_DAY_MAX;
    enum pl_err err = accounts_get(worker->api->parts->accounts, call->target.account, &account);
    if (err != PL_OK)
        return pl_fail_field(why, err, "account", "there is no account %016llx",
                             (unsigned long long)call->target.account);
    if ((err = api_query_only(call, names, why)) != PL_OK ||
        (err = api_read_day(call, "from", &first_day, why)) != PL_OK ||
        (err = api_read_day(call, "to", &last_day, why)) != PL_OK)
        return err;
    if (first_day < 0 || last_day > VAULT_DAY_MAX || first_day > last_day)
        return pl_fail_field(why, PL_EINVAL, "from",
                             "the first day must not be after the last one, and both must be "
                             "between 1970 and 2149");
    json_write_object(w);
    json_write_key(w, "days");
    json_write_array(w);
    err = day_counts_each(worker->api->parts->day_counts, account.id, first_day, last_day,
                          write_day, &days);
    json_write_array_end(w);
    write_row(w, &days.sum, NULL);
    json_write_object_end(w);
    return err == PL_OK ? err
                        : pl_fail(why, err, "the counts cannot be read: %s", pl_err_word(err));
}

/* ---- everything beside the ledger */

struct sums {
    struct json_writer *w;
    uint64_t account;
    struct day_counts_row of_account;
    struct day_counts_row deleted; /* of all accounts that were */
    bool any;
};

/* account 0 is the deleted ones. */
static void write_account(struct sums *s)
{
    static const struct day_counts_row none = {.stored = {0}};
    char id[PL_ACCOUNT_TEXT];
    if (!s->any)
        return;
    if (s->account == 0)
        s->deleted = s->of_account;
    pl_account_format(s->account, id);
    json_write_object(s->w);
    json_write_pair_text(s->w, "account", s->account == 0 ? "deleted" : id);
    write_row(s->w, &s->of_account, s->account == 0 ? &s->deleted : &none);
    json_write_object_end(s->w);
}

static enum pl_err add_up(void *ctx, uint64_t account, int64_t day,
                          const struct day_counts_row *row)
{
    struct sums *s = ctx;
    (void)day;
    if (!s->any || s->account != account) {
        write_account(s);
        s->account = account;
        s->of_account = (struct day_counts_row){.stored = {0}};
        s->any = true;
    }
    day_counts_add(&s->of_account, row);
    return PL_OK;
}

/* The counts are of a moment between two looks at the ledger, whose commit follows the write. */
static enum pl_err compare(const struct origin_parts *parts, struct ledger_counts *ledger,
                           struct day_counts_row *sum, bool *agrees)
{
    enum pl_err err = PL_OK;
    *agrees = false;
    for (int i = 0; err == PL_OK && !*agrees && i < COMPARE_TRIES; i++) {
        struct ledger_counts before;
        ledger_totals(parts->ledger, &before);
        err = day_counts_total(parts->day_counts, 0, 0, VAULT_DAY_MAX, sum);
        ledger_totals(parts->ledger, ledger);
        *agrees = sum->stored.events >= before.stored && sum->stored.events <= ledger->stored;
    }
    return err;
}

API_HANDLER(api_counts)
{
    const struct origin_parts *parts = worker->api->parts;
    struct json_writer *w = worker->writer;
    struct sums sums = {.w = w};
    struct ledger_counts ledger;
    struct day_counts_row sum;
    bool agrees;
    (void)call;
    json_write_object(w);
    json_write_key(w, "accounts");
    json_write_array(w);
    enum pl_err err = day_counts_each(parts->day_counts, 0, 0, VAULT_DAY_MAX, add_up, &sums);
    write_account(&sums);
    json_write_array_end(w);
    if (err == PL_OK)
        err = compare(parts, &ledger, &sum, &agrees);
    if (err != PL_OK)
        return pl_fail(why, err, "the counts cannot be read: %s", pl_err_word(err));
    write_row(w, &sum, &sums.deleted);
    json_write_pair_u64(w, "ledger_stored", ledger.stored);
    json_write_pair_bool(w, "agrees", agrees);
    json_write_object_end(w);
    return PL_OK;
}
