#include "deploy/ctl/account_outcomes.h"
#include "deploy/ctl/api.h"
#include "deploy/ctl/names.h"
#include "deploy/ctl/table.h"

#include <stdio.h>

enum { FROM, TO };

const struct ctl_option account_outcomes_options[] = {
    [FROM] = {"from", "DAY", "First day, in UTC, e.g. 2026-11-22 (the account's first)"},
    [TO] = {"to", "DAY", "Last day (today)"},
    {0},
};

static enum pl_err print(const struct api_answer *answer, struct pl_why *why)
{
    static const char *const titles[] = {"DAY (UTC)", "DIALECT", "OUTCOME", ">COUNT"};
    struct table table;
    struct json outcomes, row, damaged;
    uint64_t unread = 0;
    enum pl_err err = PL_OK;
    if (!json_get(answer->root, "outcomes", &outcomes))
        return pl_fail(why, PL_ECORRUPT, "the origin's answer holds no outcomes");
    table_init(&table, titles, 4);
    for (struct json_iter i = json_elements(outcomes); json_next_element(&i, &row);) {
        table_member(&table, row, "day", "-");
        table_member(&table, row, "dialect", "-");
        table_member(&table, row, "outcome", "-");
        table_member(&table, row, "count", "-");
    }
    if (table.count == 0 && !table.failed)
        puts("Nothing but plain success was told by the edges.");
    else
        err = table_print(&table, why);
    table_release(&table);
    if (err == PL_OK && json_get(answer->root, "damaged", &damaged) && json_u64(damaged, &unread) &&
        unread > 0)
        fprintf(stderr, "%llu tallies are damaged and not in these sums.\n",
                (unsigned long long)unread);
    return err;
}

enum ctl_exit account_outcomes_run(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    struct api_answer answer = {.status = 0};
    const char *from = args->options[FROM], *to = args->options[TO];
    char id[NAMES_ID_TEXT], path[API_PATH_BYTES];
    enum ctl_exit usage = ctl_check_day("from", from, why);
    if (usage == CTL_OK)
        usage = ctl_check_day("to", to, why);
    if (usage != CTL_OK)
        return usage;
    enum pl_err err = names_find(ctl, NAMES_ACCOUNT, args->words[0], id, why);
    if (err == PL_OK) {
        snprintf(path, sizeof(path), "/accounts/%s/outcomes?%s%s%s%s", id,
                 from == NULL ? "" : "&from=", from == NULL ? "" : from,
                 to == NULL ? "" : "&to=", to == NULL ? "" : to);
        err = api_call(ctl, "GET", path, pl_span(NULL, 0), &answer, why);
    }
    if (err == PL_OK && ctl->json)
        api_print(&answer);
    else if (err == PL_OK)
        err = print(&answer, why);
    api_answer_release(&answer);
    return ctl_result(err);
}
