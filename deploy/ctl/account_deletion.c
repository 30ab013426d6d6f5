#include "deploy/ctl/account_deletion.h"
#include "deploy/ctl/api.h"
#include "deploy/ctl/names.h"
#include "deploy/ctl/request.h"
#include "deploy/ctl/table.h"
#include "proto/base/id.h"

#include <stdio.h>

#define REQUEST_BYTES_MAX 4096

static const struct pl_span nothing = {NULL, 0};

/* method on the account and what is `rest` below it, with these members; NULL: without any. */
static enum pl_err call(struct ctl *ctl, const struct ctl_args *args, const char *method,
                        const char *rest, const struct request_member *members,
                        struct api_answer *answer, struct pl_why *why)
{
    struct pl_buf request;
    pl_buf_init(&request, REQUEST_BYTES_MAX);
    enum pl_err err = members == NULL ? PL_OK : request_write(members, "reasons", &request, why);
    if (err == PL_OK)
        err = names_call(ctl, NAMES_ACCOUNT, args->words[0], method, rest,
                         members == NULL ? nothing : pl_buf_span(&request), answer, why);
    pl_buf_release(&request);
    return err;
}

static bool is_id(const char *text)
{
    struct pl_id128 id;
    return pl_id128_parse(pl_span_str(text), &id);
}

/* ---- deletion */

enum { DELETE_REASON, DELETE_NOW };
const struct ctl_option account_delete_options[] = {
    [DELETE_REASON] = {"reason", "TEXT",
                       "Why; it is kept for good, so name no visitors and no other persons"},
    [DELETE_NOW] = {"now", NULL, "Do not wait for a confirmation"},
    {0},
};

static enum pl_err show_begun(struct json account, struct pl_why *why)
{
    const struct pl_span id = member_text(account, "id");
    (void)why;
    if (member_text(account, "deleted_at").len > 0)
        printf("Account %.*s is deleted already: polderctl certificate show %.*s\n",
               PL_SPAN_FMT(id), PL_SPAN_FMT(id));
    else
        printf(
            "The deletion of account %.*s has begun%s; how far it is: polderctl account deletion "
            "%.*s\n",
            PL_SPAN_FMT(id), member_is_true(account, "already") ? " already" : "", PL_SPAN_FMT(id));
    return PL_OK;
}

static enum pl_err show_requested(struct json account, struct pl_why *why)
{
    (void)why;
    printf("Nothing is deleted yet. All data of ");
    print_clean(member_text(account, "name"));
    printf(" will be, for good, once this is said within 7 days:\n"
           "  polderctl account confirm-delete %.*s %.*s\n",
           PL_SPAN_FMT(member_text(account, "id")),
           PL_SPAN_FMT(member_text(account, "deletion_request")));
    return PL_OK;
}

enum ctl_exit account_delete_run(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    struct api_answer answer = {.status = 0};
    const char *reason = args->options[DELETE_REASON];
    const bool now = args->options[DELETE_NOW] != NULL;
    const struct request_member members[] = {
        {.name = "reason", .text = reason}, {.name = "now", .set = now}, {0}};
    if (reason == NULL || reason[0] == '\0')
        return ctl_usage(why, "--reason must say why the account is to be deleted");
    enum pl_err err = call(ctl, args, "POST", "/deletion", members, &answer, why);
    return api_end(ctl, err, &answer, now ? show_begun : show_requested, why);
}

enum ctl_exit account_confirm_delete_run(struct ctl *ctl, const struct ctl_args *args,
                                         struct pl_why *why)
{
    struct api_answer answer = {.status = 0};
    const struct request_member members[] = {{.name = "request", .text = args->words[1]}, {0}};
    if (!is_id(args->words[1]))
        return ctl_usage(why, "ID must be 32 hex digits, as account delete has printed them");
    enum pl_err err = call(ctl, args, "POST", "/deletion/confirm", members, &answer, why);
    return api_end(ctl, err, &answer, show_begun, why);
}

static enum pl_err show_kept(struct json account, struct pl_why *why)
{
    (void)why;
    printf(member_is_true(account, "already") ? "Nobody asks for its deletion: "
                                              : "The request is taken back: ");
    print_clean(member_text(account, "name"));
    printf(" stays.\n");
    return PL_OK;
}

enum ctl_exit account_keep_run(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    struct api_answer answer = {.status = 0};
    enum pl_err err = call(ctl, args, "DELETE", "/deletion", NULL, &answer, why);
    return api_end(ctl, err, &answer, show_kept, why);
}

static enum pl_err show_progress(struct json root, struct pl_why *why)
{
    static const struct table_field fields[] = {
        {"account", "account", "-", false},
        {"state", "state", "-", false},
        {"due", "due_at", NULL, true},
        {"kept by holds", "held", NULL, false},
        {"requested", "requested_at", NULL, true},
        {"because of", "reason", NULL, false},
        {"days outside holds go since", "cleared_at", NULL, true},
        {"to be done by", "limit_at", NULL, true},
        {0},
    };
    struct table table;
    struct json steps, at;
    struct pl_span name;
    table_init(&table, NULL, 2);
    table_fields(&table, root, fields);
    if (json_get(root, "steps", &steps)) {
        for (struct json_iter i = json_members(steps); json_next_member(&i, &name, &at);) {
            char label[64];
            char member[64];
            snprintf(member, sizeof(member), "%.*s", PL_SPAN_FMT(name));
            memcpy(label, member, sizeof(label));
            for (char *c = label; (c = strchr(c, '_')) != NULL;)
                *c = ' ';
            const struct table_field step[] = {{label, member, NULL, true}, {0}};
            table_fields(&table, steps, step);
        }
    }
    enum pl_err err = table_print(&table, why);
    table_release(&table);
    return err == PL_OK ? table_edges(root, why) : err;
}

enum ctl_exit account_deletion_run(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    struct api_answer answer = {.status = 0};
    enum pl_err err = call(ctl, args, "GET", "/deletion", NULL, &answer, why);
    return api_end(ctl, err, &answer, show_progress, why);
}

/* ---- holds */

enum { HOLD_REASON, HOLD_FROM, HOLD_TO, HOLD_UNTIL };
const struct ctl_option account_hold_options[] = {
    [HOLD_REASON] = {"reason", "TEXT",
                     "Why; its owner reads it, and it is kept for good: name no visitors and "
                     "no other persons"},
    [HOLD_FROM] = {"from", "DAY", "First day that is kept, e.g. 2026-03-01 (all of the account)"},
    [HOLD_TO] = {"to", "DAY", "Last one"},
    [HOLD_UNTIL] = {"until", "TIME", "When it ends: a date or RFC 3339 time (when released)"},
    {0},
};

static enum pl_err show_hold(struct json hold, struct pl_why *why)
{
    (void)why;
    char until[SHORT_TIME_TEXT];
    printf("Held%s", member_text(hold, "from").len == 0 ? "" : " for those days");
    if (member_short_time(hold, "until", until))
        printf(" until %s UTC, or", until);
    printf(" until: polderctl account release %.*s %.*s --reason TEXT\n",
           PL_SPAN_FMT(member_text(hold, "account")), PL_SPAN_FMT(member_text(hold, "id")));
    return PL_OK;
}

enum ctl_exit account_hold_run(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    struct api_answer answer = {.status = 0};
    const char *const *options = args->options;
    const struct request_member members[] = {
        {.name = "reason", .text = options[HOLD_REASON]},
        {.name = "from", .text = options[HOLD_FROM]},
        {.name = "to", .text = options[HOLD_TO]},
        {.name = "until", .text = options[HOLD_UNTIL]},
        {0},
    };
    int64_t until_ms;
    enum ctl_exit usage = ctl_check_day("from", options[HOLD_FROM], why);
    if (usage == CTL_OK)
        usage = ctl_check_day("to", options[HOLD_TO], why);
    if (usage == CTL_OK && (options[HOLD_REASON] == NULL || options[HOLD_REASON][0] == '\0'))
        usage = ctl_usage(why, "--reason must say why its data must not be deleted");
    if (usage == CTL_OK && (options[HOLD_FROM] == NULL) != (options[HOLD_TO] == NULL))
        usage = ctl_usage(why, "a range of days needs both --from and --to");
    if (usage == CTL_OK && options[HOLD_UNTIL] != NULL &&
        !pl_time_parse(pl_span_str(options[HOLD_UNTIL]), &until_ms))
        usage = ctl_usage(why, "--until must be a date (2026-11-22) or a time, not '%.100s'",
                          options[HOLD_UNTIL]);
    if (usage != CTL_OK)
        return usage;
    enum pl_err err = call(ctl, args, "POST", "/holds", members, &answer, why);
    return api_end(ctl, err, &answer, show_hold, why);
}

static enum pl_err show_holds(struct json root, struct pl_why *why)
{
    static const struct table_field fields[] = {
        {"HOLD", "id", "-", false},
        {"FROM", "from", "all", false},
        {"TO", "to", "all", false},
        {"PLACED (UTC)", "placed_at", "-", true},
        {"UNTIL", "until", "its release", true},
        {"ENDED (UTC)", "ended_at", "no", true},
        {"REASON", "reason", "-", false},
        {0},
    };
    return table_list(root, "holds", fields, "Nothing is held.", why);
}

enum ctl_exit account_holds_run(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    struct api_answer answer = {.status = 0};
    enum pl_err err = call(ctl, args, "GET", "/holds", NULL, &answer, why);
    return api_end(ctl, err, &answer, show_holds, why);
}

const struct ctl_option account_release_options[] = {
    {"reason", "TEXT", "Why; it is kept for good, so name no visitors and no other persons"},
    {0},
};

static enum pl_err show_released(struct json hold, struct pl_why *why)
{
    char released[SHORT_TIME_TEXT] = "";
    (void)why;
    if (member_is_true(hold, "already") && member_short_time(hold, "released_at", released))
        printf("It was released already, at %s UTC.\n", released);
    else
        puts("Released: what was due meanwhile, and no other hold keeps, is deleted from now on.");
    return PL_OK;
}

enum ctl_exit account_release_run(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    struct api_answer answer = {.status = 0};
    const struct request_member members[] = {{.name = "reason", .text = args->options[0]}, {0}};
    char rest[96];
    if (!is_id(args->words[1]))
        return ctl_usage(why, "HOLD must be 32 hex digits, as account holds shows them");
    if (members[0].text == NULL || members[0].text[0] == '\0')
        return ctl_usage(why, "--reason must say why the hold ends");
    snprintf(rest, sizeof(rest), "/holds/%s/release", args->words[1]);
    enum pl_err err = call(ctl, args, "POST", rest, members, &answer, why);
    return api_end(ctl, err, &answer, show_released, why);
}
