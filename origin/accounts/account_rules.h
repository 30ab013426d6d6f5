/*
 * account_rules: the rules of an account for foreign trackers and hosts of its own, for the visitor
 * cookie and for what is masked: read, checked, written, and as edges get them.
 *
 * Promise: rules are complete from account_rules_init on; whatever account_rules_check lets pass
 * can be told to edges.
 */
#ifndef POLDER_ORIGIN_ACCOUNTS_ACCOUNT_RULES_H
#define POLDER_ORIGIN_ACCOUNTS_ACCOUNT_RULES_H

#include "origin/accounts/account_processing.h"
#include "proto/wire/catalog.h"
#include "proto/wire/json.h"

/* Lists are words with single spaces between them. */
#define ACCOUNT_ALIASES_BYTES (CATALOG_ALIASES_MAX * (CATALOG_ALIAS_BYTES + 1))
#define ACCOUNT_HOSTS_BYTES   (CATALOG_HOSTS_MAX * (CATALOG_HOST_BYTES + 1))

struct account_rules {
    char aliases[ACCOUNT_ALIASES_BYTES];
    char hosts[ACCOUNT_HOSTS_BYTES];
    char snowplow_path[CATALOG_PATH_BYTES + 1]; /* "": none */
    bool cookie_enabled;
    enum same_site cookie_same_site;
    char cookie_name[CATALOG_COOKIE_BYTES + 1];
    char cookie_domain[CATALOG_HOST_BYTES + 1]; /* "": the host that was asked */
    unsigned pii;                               /* PII_ bits: what is masked */
    struct account_processing processing;       /* no rule, but said like one */
};

/* The members of an account's JSON that stand for its rules, NULL at the end. */
#define ACCOUNT_RULE_MEMBERS "aliases", "hosts", "snowplow_path", "cookie", "pii", "processing"

/* As of an account that says nothing about them. */
void account_rules_init(struct account_rules *rules);
/* Takes what is there of the members above, and of those of cookie; what is absent stays.
 * PL_EINVAL, PL_ELIMIT name the member, e.g. "cookie.name"; rules are then half changed. */
enum pl_err account_rules_read(struct json object, struct account_rules *rules, struct pl_why *why);
/* Whether a list of words with single spaces between them has this one. */
bool account_rules_has_word(const char *words, struct pl_span word);
/* Whether they may stand so, and together. PL_EINVAL, PL_ELIMIT name the member. */
enum pl_err account_rules_check(const struct account_rules *rules, struct pl_why *why);
/* PL_EEXISTS with the member in which both claim the same name: an alias (or another's write key),
 * a host, a path. other_name: the other account's, for the sentence. */
enum pl_err account_rules_clash(const struct account_rules *rules,
                                const struct account_rules *other, const struct pl_id128 *other_key,
                                const char *other_name, struct pl_why *why);
/* The members, within an object. */
void account_rules_write(const struct account_rules *rules, struct json_writer *w);
/* Sets the item's members; its views are of rules. */
void account_rules_tell(const struct account_rules *rules, struct catalog_item *item);

#endif
