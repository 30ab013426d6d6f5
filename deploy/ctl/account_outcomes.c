#include "deploy/ctl/account_outcomes.h"
#include "deploy/ctl/api.h"
#include "deploy/ctl/names.h"
#include "deploy/ctl/table.h"

#include "proto/base/text.h"

#include <stdio.h>

const struct ctl_option account_outcomes_options[] = {
    [NAMES_FROM] = {"from", "DAY", "First day, in UTC, e.g. 2026-11-22 (the account's first)"},
    [NAMES_TO] = {"to", "DAY", "Last day (today)"},
    {0},
};

static enum pl_err show(struct json root, struct pl_why *why)
{
    static const struct table_field fields[] = {
        {"DAY (UTC)", "day", "-", false},
        {"DIALECT", "dialect", "-", false},
        {"OUTCOME", "outcome", "-", false},
        {">COUNT", "count", "-", false},
        {0},
    };
    struct json damaged;
    uint64_t unread = 0;
    enum pl_err err = table_list(root, "outcomes", fields,
                                 "Nothing but plain success was told by the edges.", why);
    if (err == PL_OK && json_get(root, "damaged", &damaged) && json_u64(damaged, &unread) &&
        unread > 0)
        fprintf(stderr, "%llu %s damaged and not in these sums.\n", (unsigned long long)unread,
                pl_plural(unread, "tally is", "tallies are"));
    return err;
}

enum ctl_exit account_outcomes_run(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    return names_show_days(ctl, args, "/outcomes", show, why);
}
