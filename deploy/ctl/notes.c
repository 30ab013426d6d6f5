#include "deploy/ctl/notes.h"

#include "deploy/ctl/api.h"
#include "deploy/ctl/names.h"
#include "deploy/ctl/table.h"
#include "proto/wire/limits.h"

#include <stdio.h>

/* ---- regions */

static bool is_served(struct json edges, struct pl_span region)
{
    struct json edge, revoked;
    for (struct json_iter i = json_elements(edges); json_next_element(&i, &edge);)
        if (pl_span_eq(member_text(edge, "region"), region) &&
            (!json_get(edge, "revoked_at", &revoked) || json_is_null(revoked)))
            return true;
    return false;
}

void notes_regions(struct ctl *ctl, struct json account)
{
    struct api_answer answer = {.status = 0};
    struct json regions, region, edges;
    struct pl_span name;
    struct pl_why why;
    if (!json_get(account, "regions", &regions))
        return;
    struct json_iter i = json_elements(regions);
    bool any = json_next_element(&i, &region);
    if (any && api_call(ctl, "GET", "/edges", pl_span(NULL, 0), &answer, &why) == PL_OK &&
        json_get(answer.root, "edges", &edges))
        for (; any; any = json_next_element(&i, &region))
            if (json_string(region, &name) && !is_served(edges, name))
                fprintf(stderr,
                        "Note: no edge of region %.*s is enrolled (polderctl edge list shows "
                        "those that are).\n",
                        PL_SPAN_FMT(name));
    api_answer_release(&answer);
}

/* ---- web origins */

void notes_origins(struct json account)
{
    struct json origins, one;
    struct json_iter i;
    if (!json_get(account, "origins", &origins))
        return;
    i = json_elements(origins);
    if (json_next_element(&i, &one))
        return;
    fprintf(stderr,
            "Note: without web origins, polder('optin') works only on pages of an edge's own site, "
            "and opt-out links cannot lead back to a page:\n"
            "  polderctl account update %.*s --origins https://www.shop.example\n",
            PL_SPAN_FMT(member_text(account, "id")));
}

/* ---- Do Not Track */

static bool says_dnt(struct pl_span config, bool *value)
{
    struct json_parser *parser = NULL;
    struct json root, settings, member;
    bool says = json_parser_new(&parser, LIMIT_CONFIG_BYTES, LIMIT_JSON_DEPTH) == PL_OK &&
                json_parse(parser, config, &root, NULL) == PL_OK &&
                json_get(root, "settings", &settings) &&
                json_get(settings, "honour_dnt", &member) && json_bool(member, value);
    json_parser_free(parser);
    return says;
}

void notes_dnt(struct ctl *ctl, struct pl_span config, const char *account)
{
    struct api_answer answer = {.status = 0};
    struct json member;
    struct pl_why why;
    bool says, rule;
    if (!says_dnt(config, &says))
        return;
    if (account == NULL) {
        fprintf(stderr, "Note: settings.honour_dnt is not looked at: whether Do Not Track counts "
                        "is the account's rule (polderctl account update --honour-dnt).\n");
        return;
    }
    if (names_call(ctl, NAMES_ACCOUNT, account, "GET", "", pl_span(NULL, 0), &answer, &why) ==
            PL_OK &&
        json_get(answer.root, "honour_dnt", &member) && json_bool(member, &rule) && rule != says)
        fprintf(stderr,
                "Note: settings.honour_dnt is %s, but the account's rule is %s, and that counts: "
                "polderctl account update %s --honour-dnt %s\n",
                says ? "true" : "false", rule ? "yes" : "no", account, says ? "yes" : "no");
    api_answer_release(&answer);
}
