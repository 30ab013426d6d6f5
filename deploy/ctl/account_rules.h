/*
 * account_rules: the options of polderctl account create and update that set an account's rules,
 * and how they are shown. What is not given is not sent.
 */
#ifndef POLDER_DEPLOY_CTL_ACCOUNT_RULES_H
#define POLDER_DEPLOY_CTL_ACCOUNT_RULES_H

#include "deploy/ctl/ctl.h"
#include "deploy/ctl/table.h"

/* Where the rules stand in the commands' tables of options, behind two of the command's own. */
enum {
    RULE_REGIONS = 2,
    RULE_ORIGINS,
    RULE_ALIASES,
    RULE_HOSTS,
    RULE_SNOWPLOW_PATH,
    RULE_COOKIE,
    RULE_COOKIE_NAME,
    RULE_COOKIE_DOMAIN,
    RULE_COOKIE_SAME_SITE,
    RULE_PII,
    RULE_RETENTION,
    RULE_COUNT
};

#define ACCOUNT_RULE_OPTIONS                                                                       \
    [RULE_REGIONS] = {"regions", "LIST", "Regions that may serve it, e.g. eu,us; \"\": all"},      \
    [RULE_ORIGINS] = {"origins", "LIST",                                                           \
                      "Web origins it collects from, e.g. https://shop.example; \"\": any"},       \
    [RULE_ALIASES] = {"aliases", "LIST",                                                           \
                      "Other names for its write key: app ids, container ids, tokens"},            \
    [RULE_HOSTS] = {"hosts", "LIST",                                                               \
                    "Edge hosts of its own, which need no key, e.g. metrics.shop.example"},        \
    [RULE_SNOWPLOW_PATH] = {"snowplow-path", "PATH", "One more path for Snowplow's POSTs"},        \
    [RULE_COOKIE] = {"cookie", "YES",                                                              \
                     "yes: edges set a visitor cookie (default); no: they don't"},                 \
    [RULE_COOKIE_NAME] = {"cookie-name", "NAME", "Its name (polder_id)"},                          \
    [RULE_COOKIE_DOMAIN] = {"cookie-domain", "HOST",                                               \
                            "Its domain: one of --hosts or a parent; \"\": the host asked"},       \
    [RULE_COOKIE_SAME_SITE] = {"cookie-same-site", "WORD", "None, Lax or Strict (None)"},          \
    [RULE_PII] = {"pii", "LIST", "What is masked of email,card,phone (all); \"\": nothing"},       \
    [RULE_RETENTION] = {"retention-months", "N", "Months that events are kept, 2 to 120 (13)"}

/* CTL_USAGE for what the origin need not be asked about. */
enum ctl_exit account_rules_usage(const struct ctl_args *args, struct pl_why *why);
/* Members of the request. */
void account_rules_request(const struct ctl_args *args, struct json_writer *w);
/* Rows of label and value. */
void account_rules_show(struct table *table, struct json account);

#endif
