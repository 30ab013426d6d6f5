/* polderctl account: who may collect, until when. */
#include "deploy/ctl/account_deletion.h"
#include "deploy/ctl/account_outcomes.h"
#include "deploy/ctl/account_record.h"
#include "deploy/ctl/account_rules.h"
#include "deploy/ctl/api.h"
#include "deploy/ctl/names.h"
#include "deploy/ctl/notes.h"
#include "deploy/ctl/request.h"
#include "deploy/ctl/table.h"

#include <stdio.h>

#define REQUEST_BYTES_MAX (16 * 1024)

static const struct pl_span nothing = {NULL, 0};

/* ---- showing */

static enum pl_err show(struct json account, struct pl_why *why)
{
    static const struct table_field fields[] = {
        {"id", "id", "-", false},
        {"name", "name", "-", false},
        {"state", "state", "-", false},
        {"write key", "write_key", "-", false},
        {"created", "created_at", "-", true},
        {"expires", "expires_at", "never", true},
        {"deletion asked for", "deletion_requested_at", NULL, true},
        {"because of", "deletion_reason", NULL, false},
        {"deletion due", "deletion_due_at", NULL, true},
        {"days outside holds go since", "cleared_at", NULL, true},
        {"overdue", "overdue", "no", false},
        {"kept by holds", "held", NULL, false},
        {"deletion began", "deletion_started_at", NULL, true},
        {"deleted", "deleted_at", NULL, true},
        {0},
    };
    static const struct table_field rules[] = {
        {"config version", "config_version", "-", false},
        {"honours DNT", "honour_dnt", "no", false},
        {"months kept", "retention_months", "-", false},
        {0},
    };
    const bool is_deleted = member_text(account, "deleted_at").len > 0;
    struct table table;
    table_init(&table, NULL, 2);
    table_fields(&table, account, fields);
    if (!is_deleted) { /* its rules went with its data */
        table_fields(&table, account, rules);
        account_rules_show(&table, account);
    }
    enum pl_err err = table_print(&table, why);
    table_release(&table);
    return err;
}

static bool flag_of(struct json account, const char *name)
{
    struct json value;
    bool flag;
    return json_get(account, name, &value) && json_bool(value, &flag) && flag;
}

/* What is to come of its data, in a word or a day. */
static void put_deletion(struct table *table, struct json account)
{
    char due[SHORT_TIME_TEXT];
    if (flag_of(account, "overdue"))
        table_text(table, "overdue");
    else if (member_text(account, "deleted_at").len > 0)
        table_text(table, "done");
    else if (member_text(account, "deletion_started_at").len > 0)
        table_text(table, "begun");
    else if (member_text(account, "deletion_requested_at").len > 0)
        table_text(table, "asked for");
    else if (pl_span_eq_str(member_text(account, "held"), "all"))
        table_text(table, "held");
    else if (member_short_time(account, "deletion_due_at", due))
        table_format(table, "%.10s%s", due, member_text(account, "held").len > 0 ? ", held" : "");
    else
        table_text(table, "-");
}

static enum pl_err show_list(struct json root, struct pl_why *why)
{
    static const char *const titles[] = {"ACCOUNT",       "NAME",    "STATE",    ">CONFIG",
                                         "CREATED (UTC)", "EXPIRES", "DELETION", "WRITE KEY"};
    struct json list, account;
    struct table table;
    if (!json_get(root, "accounts", &list))
        return pl_fail(why, PL_ECORRUPT, "the answer has no accounts in it");
    if (json_count(list) == 0) {
        puts("There are no accounts yet: polderctl account create NAME makes one.");
        return PL_OK;
    }
    table_init(&table, titles, sizeof(titles) / sizeof(titles[0]));
    for (struct json_iter i = json_elements(list); json_next_element(&i, &account);) {
        table_member(&table, account, "id", "-");
        table_member(&table, account, "name", "-");
        table_member(&table, account, "state", "-");
        table_member(&table, account, "config_version", "-");
        table_time(&table, account, "created_at", "-");
        table_time(&table, account, "expires_at", "never");
        put_deletion(&table, account);
        table_member(&table, account, "write_key", "-");
    }
    enum pl_err err = table_print(&table, why);
    table_release(&table);
    return err;
}

static enum ctl_exit run_list(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    struct api_answer answer = {.status = 0};
    (void)args;
    enum pl_err err = api_call(ctl, "GET", "/accounts", nothing, &answer, why);
    return api_end(ctl, err, &answer, show_list, why);
}

static enum ctl_exit run_show(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    struct api_answer answer = {.status = 0};
    enum pl_err err =
        names_call(ctl, NAMES_ACCOUNT, args->words[0], "GET", "", nothing, &answer, why);
    return api_end(ctl, err, &answer, show, why);
}

/* ---- making */

enum { EXPIRES_AT, HONOUR_DNT, IMPORTED = RULE_COUNT };

static const struct ctl_option create_options[] = {
    [EXPIRES_AT] = {"expires-at", "TIME", "When it ends: a date or an RFC 3339 time (never)"},
    [HONOUR_DNT] = {"honour-dnt", NULL, "Take nothing from browsers that send DNT: 1"},
    ACCOUNT_RULE_OPTIONS,
    [IMPORTED] = {"imported", NULL, "It had ended, on that date, before it came here"},
    {0},
};

/* The name, the rules, and expires_at where that is not NULL; honour_dnt: "yes", "no" or NULL. */
static enum pl_err write_request(const struct ctl_args *args, const char *name,
                                 const char *expires_at, bool imported, const char *honour_dnt,
                                 struct pl_buf *out, struct pl_why *why)
{
    struct json_writer *w = NULL;
    enum pl_err err = json_writer_new(&w, false);
    if (err != PL_OK)
        return pl_fail(why, err, "no memory for a request");
    json_writer_begin(w, out);
    json_write_object(w);
    if (name != NULL)
        json_write_pair_text(w, "name", name);
    if (expires_at != NULL)
        json_write_pair_text(w, "expires_at", expires_at);
    if (imported)
        json_write_pair_bool(w, "imported", true);
    account_rules_request(args, w);
    if (honour_dnt != NULL)
        json_write_pair_bool(w, "honour_dnt", strcmp(honour_dnt, "yes") == 0);
    json_write_object_end(w);
    err = json_writer_end(w);
    json_writer_free(w);
    return err == PL_OK ? PL_OK
                        : pl_fail(why, err,
                                  "the account's name and rules must be UTF-8 text of "
                                  "less than 16 KiB");
}

/* PL_EINVAL where text is neither a date nor a time. */
static enum ctl_exit check_time(const char *option, const char *text, struct pl_why *why)
{
    int64_t wall_ms;
    if (text != NULL && !pl_time_parse(pl_span_str(text), &wall_ms))
        return ctl_usage(why,
                         "--%s must be a date (2026-11-22) or a time (2026-11-22T13:00:00Z), "
                         "not '%.100s'",
                         option, text);
    return CTL_OK;
}

static enum pl_err show_created(struct json account, struct pl_why *why)
{
    char due[SHORT_TIME_TEXT] = "";
    enum pl_err err = show(account, why);
    if (pl_span_eq_str(member_text(account, "state"), "active"))
        printf("\nNext: polderctl config publish %.*s FILE\n",
               PL_SPAN_FMT(member_text(account, "id")));
    else if (member_is_true(account, "overdue"))
        printf("\nIt has ended, longer ago than its data may be kept: its deletion begins at "
               "once.\n");
    else if (member_short_time(account, "deletion_due_at", due))
        printf("\nIt has ended: no edge serves it or collects for it, and its data is deleted from "
               "%s UTC on. To keep it: polderctl account reinstate %.*s, or account hold\n",
               due, PL_SPAN_FMT(member_text(account, "id")));
    return err;
}

static enum ctl_exit run_create(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    struct api_answer answer = {.status = 0};
    struct pl_buf request;
    enum ctl_exit usage = check_time("expires-at", args->options[EXPIRES_AT], why);
    if (usage == CTL_OK)
        usage = account_rules_usage(args, why);
    if (usage != CTL_OK)
        return usage;
    pl_buf_init(&request, REQUEST_BYTES_MAX);
    enum pl_err err = write_request(
        args, args->words[0], args->options[EXPIRES_AT], args->options[IMPORTED] != NULL,
        args->options[HONOUR_DNT] != NULL ? "yes" : NULL, &request, why);
    if (err == PL_OK)
        err = api_call(ctl, "POST", "/accounts", pl_buf_span(&request), &answer, why);
    pl_buf_release(&request);
    if (err == PL_OK)
        err = api_show(ctl, &answer, show_created, why);
    if (err == PL_OK) {
        notes_regions(ctl, answer.root);
        notes_origins(answer.root);
    }
    api_answer_release(&answer);
    return ctl_result(err);
}

/* ---- changing */

enum { UPDATE_NAME, UPDATE_HONOUR_DNT };

static const struct ctl_option update_options[] = {
    [UPDATE_NAME] = {"name", "NAME", "Another name"},
    [UPDATE_HONOUR_DNT] = {"honour-dnt", "YES",
                           "yes: takes nothing from browsers that send DNT: 1; "
                           "no: does"},
    ACCOUNT_RULE_OPTIONS,
    {0},
};

static enum ctl_exit run_update(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    struct api_answer answer = {.status = 0};
    struct pl_buf request;
    const char *honour = args->options[UPDATE_HONOUR_DNT];
    if (honour != NULL && strcmp(honour, "yes") != 0 && strcmp(honour, "no") != 0)
        return ctl_usage(why, "--honour-dnt must be yes or no, not '%.100s'", honour);
    enum ctl_exit usage = account_rules_usage(args, why);
    if (usage != CTL_OK)
        return usage;
    pl_buf_init(&request, REQUEST_BYTES_MAX);
    enum pl_err err =
        write_request(args, args->options[UPDATE_NAME], NULL, false, honour, &request, why);
    if (err == PL_OK)
        err = names_call(ctl, NAMES_ACCOUNT, args->words[0], "PATCH", "", pl_buf_span(&request),
                         &answer, why);
    pl_buf_release(&request);
    if (err == PL_OK)
        err = api_show(ctl, &answer, show, why);
    if (err == PL_OK && args->options[RULE_REGIONS] != NULL)
        notes_regions(ctl, answer.root);
    api_answer_release(&answer);
    return ctl_result(err);
}

/* ---- ending and coming back */

/* A change of the account's end: the call's member is time, if that is given as option. */
static enum ctl_exit change(struct ctl *ctl, const struct ctl_args *args, const char *option,
                            const char *rest, const char *member,
                            enum pl_err (*tell)(struct json account, struct pl_why *why),
                            struct pl_why *why)
{
    struct api_answer answer = {.status = 0};
    struct pl_buf request;
    const struct request_member members[] = {{.name = member, .text = args->options[0]}, {0}};
    enum ctl_exit usage = check_time(option, args->options[0], why);
    if (usage != CTL_OK)
        return usage;
    pl_buf_init(&request, REQUEST_BYTES_MAX);
    enum pl_err err = request_write(members, option, &request, why);
    if (err == PL_OK)
        err = names_call(ctl, NAMES_ACCOUNT, args->words[0], "POST", rest, pl_buf_span(&request),
                         &answer, why);
    pl_buf_release(&request);
    return api_end(ctl, err, &answer, tell, why);
}

static enum pl_err show_expiry(struct json account, struct pl_why *why)
{
    char expires[SHORT_TIME_TEXT] = "", due[SHORT_TIME_TEXT] = "";
    (void)why;
    member_short_time(account, "expires_at", expires);
    print_clean(member_text(account, "name"));
    if (pl_span_eq_str(member_text(account, "state"), "active"))
        printf(" will expire at %s UTC.\n", expires);
    else if (member_is_true(account, "already"))
        printf(" has expired already, at %s UTC.\n", expires);
    else
        printf(" has expired: edges stop serving it and collecting for it within a second.\n");
    if (member_short_time(account, "deletion_due_at", due))
        printf("Its data will be deleted from %s UTC on; until then: polderctl account "
               "reinstate %.*s\n",
               due, PL_SPAN_FMT(member_text(account, "id")));
    if (member_text(account, "held").len > 0)
        printf("A hold keeps %s it until that ends: polderctl account holds %.*s\n",
               pl_span_eq_str(member_text(account, "held"), "all") ? "all of" : "some days of",
               PL_SPAN_FMT(member_text(account, "id")));
    return PL_OK;
}

static enum ctl_exit run_expire(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    return change(ctl, args, "at", "/expire", "at", show_expiry, why);
}

static enum pl_err show_reinstated(struct json account, struct pl_why *why)
{
    char expires[SHORT_TIME_TEXT];
    (void)why;
    print_clean(member_text(account, "name"));
    if (member_short_time(account, "expires_at", expires))
        printf(" is active until %s UTC.\n", expires);
    else
        printf(" is active, without an end.\n");
    return PL_OK;
}

static enum ctl_exit run_reinstate(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    return change(ctl, args, "expires-at", "/reinstate", "expires_at", show_reinstated, why);
}

static const struct ctl_option expire_options[] = {
    {"at", "TIME", "A date or RFC 3339 time in the future (now)"},
    {0},
};
static const struct ctl_option reinstate_options[] = {
    {"expires-at", "TIME", "Its new end: a date or RFC 3339 time (none)"},
    {0},
};

const struct ctl_command account_commands[] = {
    {"create", "NAME", "Makes an account and its write key",
     "Examples:\n"
     "  polderctl account create my-shop\n"
     "  polderctl account create my-shop --expires-at 2027-12-31 --regions eu \\\n"
     "      --origins https://shop.example,https://www.shop.example --honour-dnt\n"
     "  polderctl account create my-shop --hosts metrics.shop.example \\\n"
     "      --cookie-domain shop.example --cookie-same-site Lax --aliases shop-web\n"
     "  polderctl account create old-shop --expires-at 2025-01-31 --imported",
     create_options, run_create},
    {"list", "", "Lists accounts",
     "An owner's token lists its one.\n\nExample:\n  polderctl account list", NULL, run_list},
    {"show", "ACCOUNT", "Shows one account",
     "ACCOUNT is an id (16 hex digits) or a name that one account only has.\n\n"
     "Examples:\n"
     "  polderctl account show my-shop\n"
     "  polderctl account show 8f14e45fceea167a --json",
     NULL, run_show},
    {"update", "ACCOUNT", "Changes an account's name or rules",
     "What is not given stays. Edges follow within a second.\n\n"
     "Examples:\n"
     "  polderctl account update my-shop \\\n"
     "      --origins https://shop.example,https://*.shop.example\n"
     "  polderctl account update my-shop --honour-dnt no --regions \"\"\n"
     "  polderctl account update my-shop --cookie no --pii email,card",
     update_options, run_update},
    {"expire", "ACCOUNT", "Ends an account",
     "Edges stop serving it and collecting for it within a second. Its data is deleted between "
     "day 45 and day 90; until that begins it can be reinstated.\n\n"
     "Examples:\n"
     "  polderctl account expire my-shop\n"
     "  polderctl account expire my-shop --at 2027-12-31",
     expire_options, run_expire},
    {"reinstate", "ACCOUNT", "Brings an expired account back",
     "Possible until the deletion of its data, or of days that no hold keeps, has begun; also "
     "changes or removes a coming end.\n\n"
     "Examples:\n"
     "  polderctl account reinstate my-shop\n"
     "  polderctl account reinstate my-shop --expires-at 2028-12-31",
     reinstate_options, run_reinstate},
    ACCOUNT_DELETION_COMMANDS,
    {"processing", "ACCOUNT", "Says what its data is processed for",
     "For the record of processing; what is not given stays.\n\n"
     "Example:\n"
     "  polderctl account processing my-shop --controller \"Shop GmbH, Berlin\" \\\n"
     "      --contact privacy@shop.example --purposes \"Optimising the shop\" \\\n"
     "      --legal-basis \"Consent, Art. 6(1)(a) GDPR\"",
     account_processing_options, account_processing_run},
    {"record", "ACCOUNT", "Prints its record of processing (Art. 30)",
     "Made from what is configured at the origin, the edges and the account; `missing` names what "
     "nobody has stated yet.\n\n"
     "Examples:\n"
     "  polderctl account record my-shop\n"
     "  polderctl account record my-shop --html > record.html",
     account_record_options, account_record_run},
    {"outcomes", "ACCOUNT", "Shows what became of its requests",
     "Refusals and special outcomes by day, dialect and name, as the edges have counted them: "
     "they tell it once a minute.\n\n"
     "Examples:\n"
     "  polderctl account outcomes my-shop\n"
     "  polderctl account outcomes my-shop --from 2026-11-01 --to 2026-11-30",
     account_outcomes_options, account_outcomes_run},
    {0},
};
