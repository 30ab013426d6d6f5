#include "deploy/ctl/events_counts.h"

#include "deploy/ctl/names.h"
#include "deploy/ctl/table.h"

#include "proto/base/text.h"

#include <stdio.h>

#define DAY_COLUMNS 6

const struct ctl_option events_counts_options[] = {
    [NAMES_FROM] = {"from", "DAY", "First day, in UTC, e.g. 2026-11-22 (the account's first)"},
    [NAMES_TO] = {"to", "DAY", "Last day (the account's last)"},
    {0},
};

static void put_row(struct table *table, struct json row)
{
    table_member(table, row, "stored", "-");
    table_member(table, row, "erased", "-");
    table_member(table, row, "retired", "-");
    if (table->columns > DAY_COLUMNS)
        table_member(table, row, "deleted", "-");
    table_member(table, row, "held", "-");
    table_member(table, row, "held_bytes", "-");
}

/* The list's rows, and the sum of them. */
static enum pl_err print(struct json root, const char *list, const char *first,
                         const char *const titles[], size_t columns, struct pl_why *why)
{
    struct table table;
    struct json rows, row;
    if (!json_get(root, list, &rows))
        return pl_fail(why, PL_ECORRUPT, "the origin's answer holds no %s", list);
    table_init(&table, titles, columns);
    for (struct json_iter i = json_elements(rows); json_next_element(&i, &row);) {
        table_member(&table, row, first, "-");
        put_row(&table, row);
    }
    table_text(&table, "all");
    put_row(&table, root);
    enum pl_err err = table_print(&table, why);
    table_release(&table);
    return err;
}

static enum pl_err show_days(struct json root, struct pl_why *why)
{
    static const char *const titles[] = {"DAY (UTC)", ">STORED", ">ERASED",
                                         ">RETIRED",  ">LEFT",   ">BYTES"};
    return print(root, "days", "day", titles, DAY_COLUMNS, why);
}

enum ctl_exit events_counts_run(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    return names_show_days(ctl, args, "/counts", show_days, why);
}

static enum pl_err show_accounts(struct json root, struct pl_why *why)
{
    static const char *const titles[] = {"ACCOUNT",  ">STORED", ">ERASED", ">RETIRED",
                                         ">DELETED", ">LEFT",   ">BYTES"};
    return print(root, "accounts", "account", titles, DAY_COLUMNS + 1, why);
}

static enum pl_err judge(struct json root, struct pl_why *why)
{
    struct json value;
    bool agrees = false;
    uint64_t stored = 0, ledger = 0;
    if (json_get(root, "agrees", &value) && json_bool(value, &agrees) && agrees)
        return PL_OK;
    if (json_get(root, "stored", &value))
        json_u64(value, &stored);
    if (json_get(root, "ledger_stored", &value))
        json_u64(value, &ledger);
    return pl_fail(why, PL_ECORRUPT,
                   "the accounts' days count %llu %s, the ledger has booked %llu as stored",
                   (unsigned long long)stored, pl_plural(stored, "event", "events"),
                   (unsigned long long)ledger);
}

enum ctl_exit events_check_run(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    struct api_answer answer = {.status = 0};
    (void)args;
    enum pl_err err = api_call(ctl, "GET", "/counts", pl_span(NULL, 0), &answer, why);
    if (err == PL_OK)
        err = api_show(ctl, &answer, show_accounts, why);
    if (err == PL_OK)
        err = judge(answer.root, why);
    api_answer_release(&answer);
    return ctl_result(err);
}
