/* polderctl token: who may use the API. */
#include "deploy/ctl/api.h"
#include "deploy/ctl/names.h"
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

static enum pl_err write_create(const struct ctl_args *args, const char *account,
                                struct pl_buf *out, struct pl_why *why)
{
    struct json_writer *w = NULL;
    enum pl_err err = json_writer_new(&w, false);
    if (err != PL_OK)
        return pl_fail(why, err, "no memory for a request");
    json_writer_begin(w, out);
    json_write_object(w);
    json_write_pair_text(w, "role", args->options[ROLE]);
    if (account[0] != '\0')
        json_write_pair_text(w, "account", account);
    if (args->options[NAME] != NULL)
        json_write_pair_text(w, "name", args->options[NAME]);
    if (args->options[EXPIRES_AT] != NULL)
        json_write_pair_text(w, "expires_at", args->options[EXPIRES_AT]);
    json_write_object_end(w);
    err = json_writer_end(w);
    json_writer_free(w);
    return err == PL_OK ? PL_OK : pl_fail(why, err, "a token's name must be short UTF-8 text");
}

/* The token alone on standard output, for $(...); what to know about it beside it. */
static void print_new(const struct api_answer *answer)
{
    struct pl_span token = member_text(answer->root, "token");
    struct pl_span id = member_text(answer->root, "id");
    print_clean(token);
    putchar('\n');
    fflush(stdout);
    fprintf(stderr,
            "This is the only time it is shown: keep it now. To end it: polderctl token "
            "revoke %.*s\n",
            PL_SPAN_FMT(id));
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
    pl_buf_init(&request, REQUEST_BYTES_MAX);
    if (err == PL_OK)
        err = write_create(args, account, &request, why);
    if (err == PL_OK)
        err = api_call(ctl, "POST", "/tokens", pl_buf_span(&request), &answer, why);
    if (err == PL_OK && ctl->json)
        api_print(&answer);
    else if (err == PL_OK)
        print_new(&answer);
    pl_buf_release(&request);
    api_answer_release(&answer);
    return ctl_result(err);
}

static enum pl_err print_list(const struct api_answer *answer, struct pl_why *why)
{
    static const char *const titles[] = {"TOKEN",         "NAME",    "ROLE",   "ACCOUNT",
                                         "CREATED (UTC)", "EXPIRES", "REVOKED"};
    struct table table;
    struct json token;
    table_init(&table, titles, 7);
    for (struct json_iter i = names_list(NAMES_TOKEN, answer); json_next_element(&i, &token);) {
        table_member(&table, token, "id", "-");
        table_member(&table, token, "name", "-");
        table_member(&table, token, "role", "-");
        table_member(&table, token, "account", "-");
        table_time(&table, token, "created_at", "-");
        table_time(&table, token, "expires_at", "never");
        table_time(&table, token, "revoked_at", "no");
    }
    enum pl_err err = PL_OK;
    if (table.count == 0 && !table.failed)
        puts("There are no tokens but the one in operator.token, if it is still configured.");
    else
        err = table_print(&table, why);
    table_release(&table);
    return err;
}

static enum ctl_exit run_list(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    struct api_answer answer = {.status = 0};
    (void)args;
    enum pl_err err = api_call(ctl, "GET", "/tokens", pl_span(NULL, 0), &answer, why);
    if (err == PL_OK && ctl->json)
        api_print(&answer);
    else if (err == PL_OK)
        err = print_list(&answer, why);
    api_answer_release(&answer);
    return ctl_result(err);
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
