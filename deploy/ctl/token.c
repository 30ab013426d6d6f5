/* polderctl token: who may use the API. */
#include "deploy/ctl/api.h"
#include "deploy/ctl/names.h"
#include "deploy/ctl/request.h"
#include "deploy/ctl/table.h"

#include <stdio.h>

#define REQUEST_BYTES_MAX 4096

enum { ROLE, ACCOUNT, NAME, EXPIRES_AT };

static const struct ctl_option create_options[] = {
    [ROLE] = {"role", "ROLE", "operator, owner (of one account) or auditor"},
    [ACCOUNT] = {"account", "ACCOUNT", "An owner's account"},
    [NAME] = {"name", "NAME", "Who or what it is for"},
    [EXPIRES_AT] = {"expires-at", "TIME", "When it ends: a date or an RFC 3339 time (never)"},
    {0},
};

/* The token alone on standard output, for $(...); what to know about it beside it. */
static enum pl_err show_new(struct json root, struct pl_why *why)
{
    (void)why;
    print_clean(member_text(root, "token"));
    putchar('\n');
    fflush(stdout);
    fprintf(stderr,
            "This is the only time it is shown: keep it now. To end it: polderctl token "
            "revoke %.*s\n",
            PL_SPAN_FMT(member_text(root, "id")));
    return PL_OK;
}

static enum ctl_exit run_create(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    struct api_answer answer = {.status = 0};
    struct pl_buf request;
    char account[NAMES_ID_TEXT] = "";
    enum pl_err err = PL_OK;
    if (args->options[ROLE] == NULL)
        return ctl_usage(why, "--role is missing: operator, owner or auditor");
    if (args->options[ACCOUNT] != NULL)
        err = names_find(ctl, NAMES_ACCOUNT, args->options[ACCOUNT], account, why);
    const struct request_member members[] = {
        {.name = "role", .text = args->options[ROLE]},
        {.name = "account", .text = account[0] == '\0' ? NULL : account},
        {.name = "name", .text = args->options[NAME]},
        {.name = "expires_at", .text = args->options[EXPIRES_AT]},
        {0},
    };
    pl_buf_init(&request, REQUEST_BYTES_MAX);
    if (err == PL_OK)
        err = request_write(members, "a token's name", &request, why);
    if (err == PL_OK)
        err = api_call(ctl, "POST", "/tokens", pl_buf_span(&request), &answer, why);
    pl_buf_release(&request);
    return api_end(ctl, err, &answer, show_new, why);
}

static enum pl_err show_list(struct json root, struct pl_why *why)
{
    static const struct table_field fields[] = {
        {"TOKEN", "id", "-", false},
        {"NAME", "name", "-", false},
        {"ROLE", "role", "-", false},
        {"ACCOUNT", "account", "-", false},
        {"CREATED (UTC)", "created_at", "-", true},
        {"EXPIRES", "expires_at", "never", true},
        {"REVOKED", "revoked_at", "no", true},
        {0},
    };
    return table_list(root, "tokens", fields,
                      "There are no tokens but the one in operator.token, if it is still "
                      "configured.",
                      why);
}

static enum ctl_exit run_list(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    struct api_answer answer = {.status = 0};
    (void)args;
    enum pl_err err = api_call(ctl, "GET", "/tokens", pl_span(NULL, 0), &answer, why);
    return api_end(ctl, err, &answer, show_list, why);
}

static enum ctl_exit run_revoke(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    struct api_answer answer = {.status = 0};
    char id[NAMES_ID_TEXT], path[API_PATH_BYTES];
    enum pl_err err = names_find(ctl, NAMES_TOKEN, args->words[0], id, why);
    if (err == PL_OK) {
        snprintf(path, sizeof(path), "/tokens/%s", id);
        err = api_call(ctl, "DELETE", path, pl_span(NULL, 0), &answer, why);
    }
    if (err == PL_OK && ctl->json)
        printf("{\"id\":\"%s\",\"revoked\":true}\n", id);
    else if (err == PL_OK)
        printf("Token %s is revoked: it works no more.\n", id);
    api_answer_release(&answer);
    return ctl_result(err);
}

const struct ctl_command token_commands[] = {
    {"create", "", "Makes a token and shows it once",
     "Roles: an operator may do everything; an owner reads and exports one account and sees to "
     "its visitors' rights; an auditor reads the audit log, certificates, lifecycle and books, but "
     "no visitor's data.\n\n"
     "Examples:\n"
     "  polderctl token create --role operator --name alice\n"
     "  polderctl token create --role owner --account my-shop",
     create_options, run_create},
    {"list", "", "Lists all tokens, without their text", "Example:\n  polderctl token list", NULL,
     run_list},
    {"revoke", "TOKEN", "Ends a token",
     "TOKEN is its id, or a name that one token only has; never its text.\n\n"
     "Example:\n  polderctl token revoke alice",
     NULL, run_revoke},
    {0},
};
