#include "deploy/ctl/events_counts.h"

#include "deploy/ctl/names.h"
#include "deploy/ctl/table.h"

#include <stdio.h>

enum { FROM, TO };

const struct ctl_option events_counts_options[] = {
    [FROM] = {"from", "DAY", "First day, in UTC, e.g. 2026-11-22 (the account's first)"},
    [TO] = {"to", "DAY", "Last day (the account's last)"},
    {0},
};

static void put_row(struct table *table, struct json row)
{
    table_member(table, row, "stored", "-");
    table_member(table, row, "erased", "-");
    table_member(table, row, "retired", "-");
    table_member(table, row, "held", "-");
    table_member(table, row, "held_bytes", "-");
}

/* The list's rows, and the sum of them. */
static enum pl_err print(struct json root, const char *list, const char *first,
                         const char *const titles[], struct pl_why *why)
{
    struct table table;
    struct json rows, row;
    if (!json_get(root, list, &rows))
        return pl_fail(why, PL_ECORRUPT, "the origin's answer holds no %s", list);
    table_init(&table, titles, 6);
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

enum ctl_exit events_counts_run(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    static const char *const titles[] = {"DAY (UTC)", ">STORED", ">ERASED",
                                         ">RETIRED",  ">HELD",   ">BYTES"};
    const char *from = args->options[FROM], *to = args->options[TO];
    struct api_answer answer = {.status = 0};
    char id[NAMES_ID_TEXT], path[API_PATH_BYTES];
    enum ctl_exit usage = ctl_check_day("from", from, why);
    if (usage == CTL_OK)
        usage = ctl_check_day("to", to, why);
    if (usage != CTL_OK)
        return usage;
    enum pl_err err = names_find(ctl, NAMES_ACCOUNT, args->words[0], id, why);
    if (err == PL_OK) {
        snprintf(path, sizeof(path), "/accounts/%s/counts?%s%s%s%s", id,
                 from == NULL ? "" : "&from=", from == NULL ? "" : from,
                 to == NULL ? "" : "&to=", to == NULL ? "" : to);
        err = api_call(ctl, "GET", path, pl_span(NULL, 0), &answer, why);
    }
    if (err == PL_OK && ctl->json)
        api_print(&answer);
    else if (err == PL_OK)
        err = print(answer.root, "days", "day", titles, why);
    api_answer_release(&answer);
    return ctl_result(err);
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
                   "the accounts' days count %llu events, the ledger has booked %llu as stored",
                   (unsigned long long)stored, (unsigned long long)ledger);
}

enum ctl_exit events_check_run(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    static const char *const titles[] = {"ACCOUNT",  ">STORED", ">ERASED",
                                         ">RETIRED", ">HELD",   ">BYTES"};
    struct api_answer answer = {.status = 0};
    (void)args;
    enum pl_err err = api_call(ctl, "GET", "/counts", pl_span(NULL, 0), &answer, why);
    if (err == PL_OK && ctl->json)
        api_print(&answer);
    else if (err == PL_OK)
        err = print(answer.root, "accounts", "account", titles, why);
    if (err == PL_OK)
        err = judge(answer.root, why);
    api_answer_release(&answer);
    return ctl_result(err);
}
