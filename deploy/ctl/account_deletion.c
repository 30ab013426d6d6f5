#include "deploy/ctl/account_deletion.h"
#include "deploy/ctl/api.h"
#include "deploy/ctl/names.h"
#include "deploy/ctl/table.h"
#include "proto/base/id.h"

#include <stdio.h>

#define REQUEST_BYTES_MAX 4096

static const struct pl_span nothing = {NULL, 0};

/* A member of a request; text NULL: it has none. */
struct member {
    const char *name, *text;
};

static enum pl_err write_request(const struct member *members, size_t count, bool now,
                                 struct pl_buf *out, struct pl_why *why)
{
    struct json_writer *w = NULL;
    enum pl_err err = json_writer_new(&w, false);
    if (err != PL_OK)
        return pl_fail(why, err, "no memory for a request");
    json_writer_begin(w, out);
    json_write_object(w);
    for (size_t i = 0; i < count; i++)
        if (members[i].text != NULL)
            json_write_pair_text(w, members[i].name, members[i].text);
    if (now)
        json_write_pair_bool(w, "now", true);
    json_write_object_end(w);
    err = json_writer_end(w);
    json_writer_free(w);
    return err == PL_OK ? err : pl_fail(why, err, "reasons must be UTF-8 text of a few words");
}

/* method /accounts/ID/rest with these members. */
static enum pl_err call(struct ctl *ctl, const char *account, const char *method, const char *rest,
                        const struct member *members, size_t count, bool now,
                        struct api_answer *answer, struct pl_why *why)
{
    char id[NAMES_ID_TEXT], path[API_PATH_BYTES];
    struct pl_buf request;
    pl_buf_init(&request, REQUEST_BYTES_MAX);
    enum pl_err err = names_find(ctl, NAMES_ACCOUNT, account, id, why);
    if (err == PL_OK && count > 0)
        err = write_request(members, count, now, &request, why);
    if (err == PL_OK) {
        snprintf(path, sizeof(path), "/accounts/%s/%s", id, rest);
        err = api_call(ctl, method, path, count > 0 ? pl_buf_span(&request) : nothing, answer, why);
    }
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
    [DELETE_REASON] = {"reason", "TEXT", "Why; it is kept, so name no persons"},
    [DELETE_NOW] = {"now", NULL, "Do not wait for a confirmation"},
    {0},
};

static void say_begun(const struct api_answer *answer)
{
    const struct pl_span id = member_text(answer->root, "id");
    printf("The deletion of account %.*s has begun; how far it is: polderctl account deletion "
           "%.*s\n",
           PL_SPAN_FMT(id), PL_SPAN_FMT(id));
}

enum ctl_exit account_delete_run(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    struct api_answer answer = {.status = 0};
    const bool now = args->options[DELETE_NOW] != NULL;
    const struct member members[] = {{"reason", args->options[DELETE_REASON]}};
    if (members[0].text == NULL || members[0].text[0] == '\0')
        return ctl_usage(why, "--reason must say why the account is to be deleted");
    enum pl_err err = call(ctl, args->words[0], "POST", "deletion", members, 1, now, &answer, why);
    if (err == PL_OK && ctl->json) {
        api_print(&answer);
    } else if (err == PL_OK && now) {
        say_begun(&answer);
    } else if (err == PL_OK) {
        printf("Nothing is deleted yet. All data of ");
        print_clean(member_text(answer.root, "name"));
        printf(" will be, for good, once this is said within 7 days:\n"
               "  polderctl account confirm-delete %.*s %.*s\n",
               PL_SPAN_FMT(member_text(answer.root, "id")),
               PL_SPAN_FMT(member_text(answer.root, "deletion_request")));
    }
    api_answer_release(&answer);
    return ctl_result(err);
}

enum ctl_exit account_confirm_delete_run(struct ctl *ctl, const struct ctl_args *args,
                                         struct pl_why *why)
{
    struct api_answer answer = {.status = 0};
    const struct member members[] = {{"request", args->words[1]}};
    if (!is_id(args->words[1]))
        return ctl_usage(why, "ID must be 32 hex digits, as account delete has printed them");
    enum pl_err err =
        call(ctl, args->words[0], "POST", "deletion/confirm", members, 1, false, &answer, why);
    if (err == PL_OK && ctl->json)
        api_print(&answer);
    else if (err == PL_OK)
        say_begun(&answer);
    api_answer_release(&answer);
    return ctl_result(err);
}

enum ctl_exit account_keep_run(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    struct api_answer answer = {.status = 0};
    enum pl_err err = call(ctl, args->words[0], "DELETE", "deletion", NULL, 0, false, &answer, why);
    if (err == PL_OK && ctl->json) {
        api_print(&answer);
    } else if (err == PL_OK) {
        printf("The request is taken back: ");
        print_clean(member_text(answer.root, "name"));
        printf(" stays.\n");
    }
    api_answer_release(&answer);
    return ctl_result(err);
}

static enum pl_err show_edges(struct json root, struct pl_why *why)
{
    static const char *const titles[] = {"EDGE", "REGION", "STATE", "SINCE (UTC)", "WHY"};
    struct table table;
    struct json edges, edge;
    enum pl_err err = PL_OK;
    if (!json_get(root, "edges", &edges) || json_count(edges) == 0)
        return PL_OK;
    table_init(&table, titles, 5);
    for (struct json_iter i = json_elements(edges); json_next_element(&i, &edge);) {
        table_member(&table, edge, "name", "-");
        table_member(&table, edge, "region", "-");
        table_member(&table, edge, "state", "-");
        table_time(&table, edge, "at", "-");
        table_member(&table, edge, "reason", "");
    }
    puts("");
    err = table_print(&table, why);
    table_release(&table);
    return err;
}

static enum pl_err show_progress(struct json root, struct pl_why *why)
{
    static const struct {
        const char *label, *member;
    } rows[] = {{"due", "due_at"}, {"requested", "requested_at"}, {"to be done by", "limit_at"}};
    struct table table;
    struct json steps, at;
    struct pl_span name;
    char time[SHORT_TIME_TEXT];
    table_init(&table, NULL, 2);
    table_text(&table, "account");
    table_member(&table, root, "account", "-");
    table_text(&table, "state");
    table_member(&table, root, "state", "-");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (member_short_time(root, rows[i].member, time)) {
            table_text(&table, rows[i].label);
            table_format(&table, "%s UTC", time);
        }
    }
    if (json_get(root, "steps", &steps)) {
        for (struct json_iter i = json_members(steps); json_next_member(&i, &name, &at);) {
            char label[64];
            snprintf(label, sizeof(label), "%.*s", PL_SPAN_FMT(name));
            if (member_short_time(steps, label, time)) {
                table_text(&table, label);
                table_format(&table, "%s UTC", time);
            }
        }
    }
    enum pl_err err = table_print(&table, why);
    table_release(&table);
    return err == PL_OK ? show_edges(root, why) : err;
}

enum ctl_exit account_deletion_run(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    struct api_answer answer = {.status = 0};
    enum pl_err err = call(ctl, args->words[0], "GET", "deletion", NULL, 0, false, &answer, why);
    if (err == PL_OK && ctl->json)
        api_print(&answer);
    else if (err == PL_OK)
        err = show_progress(answer.root, why);
    api_answer_release(&answer);
    return ctl_result(err);
}

/* ---- holds */

enum { HOLD_REASON, HOLD_FROM, HOLD_TO, HOLD_UNTIL };
const struct ctl_option account_hold_options[] = {
    [HOLD_REASON] = {"reason", "TEXT", "Why; it is kept, so name no persons"},
    [HOLD_FROM] = {"from", "DAY", "First day that is kept, e.g. 2026-03-01 (all of the account)"},
    [HOLD_TO] = {"to", "DAY", "Last one"},
    [HOLD_UNTIL] = {"until", "TIME", "When it ends: a date or RFC 3339 time (when released)"},
    {0},
};

static void say_hold(struct json hold)
{
    char until[SHORT_TIME_TEXT];
    printf("Held%s", member_text(hold, "from").len == 0 ? "" : " for those days");
    if (member_short_time(hold, "until", until))
        printf(" until %s UTC, or", until);
    printf(" until: polderctl account release %.*s %.*s --reason TEXT\n",
           PL_SPAN_FMT(member_text(hold, "account")), PL_SPAN_FMT(member_text(hold, "id")));
}

enum ctl_exit account_hold_run(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    struct api_answer answer = {.status = 0};
    const char *const *options = args->options;
    const struct member members[] = {{"reason", options[HOLD_REASON]},
                                     {"from", options[HOLD_FROM]},
                                     {"to", options[HOLD_TO]},
                                     {"until", options[HOLD_UNTIL]}};
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
    enum pl_err err = call(ctl, args->words[0], "POST", "holds", members, 4, false, &answer, why);
    if (err == PL_OK && ctl->json)
        api_print(&answer);
    else if (err == PL_OK)
        say_hold(answer.root);
    api_answer_release(&answer);
    return ctl_result(err);
}

static enum pl_err print_holds(const struct api_answer *answer, struct pl_why *why)
{
    static const char *const titles[] = {"HOLD",  "FROM",           "TO",    "PLACED (UTC)",
                                         "UNTIL", "RELEASED (UTC)", "REASON"};
    struct table table;
    struct json holds, hold;
    enum pl_err err = PL_OK;
    if (!json_get(answer->root, "holds", &holds))
        return pl_fail(why, PL_ECORRUPT, "the origin's answer holds no holds");
    table_init(&table, titles, 7);
    for (struct json_iter i = json_elements(holds); json_next_element(&i, &hold);) {
        table_member(&table, hold, "id", "-");
        table_member(&table, hold, "from", "all");
        table_member(&table, hold, "to", "all");
        table_time(&table, hold, "placed_at", "-");
        table_time(&table, hold, "until", "released");
        table_time(&table, hold, "released_at", "-");
        table_member(&table, hold, "reason", "-");
    }
    if (table.count == 0 && !table.failed)
        puts("Nothing is held.");
    else
        err = table_print(&table, why);
    table_release(&table);
    return err;
}

enum ctl_exit account_holds_run(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    struct api_answer answer = {.status = 0};
    enum pl_err err = call(ctl, args->words[0], "GET", "holds", NULL, 0, false, &answer, why);
    if (err == PL_OK && ctl->json)
        api_print(&answer);
    else if (err == PL_OK)
        err = print_holds(&answer, why);
    api_answer_release(&answer);
    return ctl_result(err);
}

const struct ctl_option account_release_options[] = {
    {"reason", "TEXT", "Why; it is kept, so name no persons"},
    {0},
};

enum ctl_exit account_release_run(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    struct api_answer answer = {.status = 0};
    const struct member members[] = {{"reason", args->options[0]}};
    char rest[96];
    if (!is_id(args->words[1]))
        return ctl_usage(why, "HOLD must be 32 hex digits, as account holds shows them");
    if (members[0].text == NULL || members[0].text[0] == '\0')
        return ctl_usage(why, "--reason must say why the hold ends");
    snprintf(rest, sizeof(rest), "holds/%s/release", args->words[1]);
    enum pl_err err = call(ctl, args->words[0], "POST", rest, members, 1, false, &answer, why);
    if (err == PL_OK && ctl->json)
        api_print(&answer);
    else if (err == PL_OK)
        puts("Released: what was due meanwhile is deleted from now on.");
    api_answer_release(&answer);
    return ctl_result(err);
}
