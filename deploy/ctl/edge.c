/* polderctl edge: which edges may deliver. */
#include "deploy/ctl/edge_enroll.h"
#include "deploy/ctl/names.h"
#include "deploy/ctl/table.h"

#include <stdio.h>

static enum pl_err show_list(struct json root, struct pl_why *why)
{
    static const struct table_field fields[] = {
        {"EDGE", "id", "-", false},
        {"NAME", "name", "-", false},
        {"REGION", "region", "-", false},
        {"ENROLLED (UTC)", "enrolled_at", "-", true},
        {"REVOKED", "revoked_at", "no", true},
        {0},
    };
    return table_list(
        root, "edges", fields,
        "There are no edges yet: polderctl edge enroll NAME --region REGION --dir DIR "
        "makes one.",
        why);
}

static enum ctl_exit run_list(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    struct api_answer answer = {.status = 0};
    (void)args;
    enum pl_err err = api_call(ctl, "GET", "/edges", pl_span(NULL, 0), &answer, why);
    return api_end(ctl, err, &answer, show_list, why);
}

static enum pl_err show_revoked(struct json edge, struct pl_why *why)
{
    (void)why;
    printf("Edge ");
    print_clean(member_text(edge, "name"));
    printf(" (%.*s) is revoked: the origin takes nothing from it any more, not even what it has\n"
           "not delivered yet. Its directory and keys may be deleted.\n",
           PL_SPAN_FMT(member_text(edge, "id")));
    return PL_OK;
}

static enum ctl_exit run_revoke(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    struct api_answer answer = {.status = 0};
    enum pl_err err = names_call(ctl, NAMES_EDGE, args->words[0], "POST", "/revoke",
                                 pl_span(NULL, 0), &answer, why);
    return api_end(ctl, err, &answer, show_revoked, why);
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
