/* polderctl edge: which edges may deliver. */
#include "deploy/ctl/edge_enroll.h"
#include "deploy/ctl/names.h"
#include "deploy/ctl/table.h"

#include <stdio.h>

static enum pl_err print_list(const struct api_answer *answer, struct pl_why *why)
{
    static const char *const titles[] = {"EDGE", "NAME", "REGION", "ENROLLED (UTC)", "REVOKED"};
    struct table table;
    struct json edge;
    table_init(&table, titles, 5);
    for (struct json_iter i = names_list(NAMES_EDGE, answer); json_next_element(&i, &edge);) {
        table_member(&table, edge, "id", "-");
        table_member(&table, edge, "name", "-");
        table_member(&table, edge, "region", "-");
        table_time(&table, edge, "enrolled_at", "-");
        table_time(&table, edge, "revoked_at", "no");
    }
    enum pl_err err = PL_OK;
    if (table.count == 0 && !table.failed)
        puts("There are no edges yet: polderctl edge enroll NAME --region REGION --dir DIR makes "
             "one.");
    else
        err = table_print(&table, why);
    table_release(&table);
    return err;
}

static enum ctl_exit run_list(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    struct api_answer answer = {.status = 0};
    (void)args;
    enum pl_err err = api_call(ctl, "GET", "/edges", pl_span(NULL, 0), &answer, why);
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
    enum pl_err err = names_find(ctl, NAMES_EDGE, args->words[0], id, why);
    if (err == PL_OK) {
        snprintf(path, sizeof(path), "/edges/%s/revoke", id);
        err = api_call(ctl, "POST", path, pl_span(NULL, 0), &answer, why);
    }
    if (err == PL_OK && ctl->json) {
        api_print(&answer);
    } else if (err == PL_OK) {
        printf("Edge ");
        print_clean(member_text(answer.root, "name"));
        printf(" (%s) is revoked: the origin takes nothing from it any more, not even what it has\n"
               "not delivered yet. Its directory and keys may be deleted.\n",
               id);
    }
    api_answer_release(&answer);
    return ctl_result(err);
}

const struct ctl_command edge_commands[] = {
    {"enroll", "NAME", "Makes an edge's keys and admits it",
     "Needs DIR (--dir) with the CA's key in it. The secret keys are made here and stay in "
     "DIR/edges/NAME, which is what the edge starts from; the origin gets the public halves.\n\n"
     "Examples:\n"
     "  polderctl edge enroll eu-1 --region eu --dir /etc/polder\n"
     "  polderctl edge enroll us-1 --region us --dir /etc/polder \\\n"
     "      --listen 0.0.0.0:8081 --link tls+tcp://origin.example.eu:8090",
     edge_enroll_options, edge_enroll},
    {"list", "", "Lists all edges", "Example:\n  polderctl edge list", NULL, run_list},
    {"revoke", "EDGE", "Shuts an edge out, for good",
     "EDGE is an id (32 hex digits) or a name. What the edge holds and has not delivered is lost: "
     "stop an edge that can still be trusted first and let it drain.\n\n"
     "Example:\n  polderctl edge revoke us-1",
     NULL, run_revoke},
    {0},
};
