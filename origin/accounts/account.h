/*
 * account: one account as it is recorded, asked for and shown.
 *
 * Promise: what account_write_record writes, account_read_record reads. Rules are checked where
 * people set them, not where records are read: an older record opens under newer checks.
 */
#ifndef POLDER_ORIGIN_ACCOUNTS_ACCOUNT_H
#define POLDER_ORIGIN_ACCOUNTS_ACCOUNT_H

#include "origin/accounts/account_rules.h"
#include "proto/base/id.h"

#define ACCOUNT_NAME_BYTES    128  /* with the NUL */
#define ACCOUNT_REGIONS_BYTES 160  /* space-separated */
#define ACCOUNT_ORIGINS_BYTES 2048 /* space-separated */
#define ACCOUNT_REASON_BYTES  160  /* with the NUL */

#define ACCOUNT_RETENTION_MONTHS     13 /* unless the account says another number */
#define ACCOUNT_RETENTION_MONTHS_MIN 2  /* longer than a retry may come after its first copy */
#define ACCOUNT_RETENTION_MONTHS_MAX 120

/* Plain data: copy it, keep it, no release. Times are wall-clock milliseconds; 0: never. */
struct account {
    uint64_t id;
    char name[ACCOUNT_NAME_BYTES];
    enum account_state state;
    struct pl_id128 write_key;
    int64_t created_ms;
    int64_t expires_at_ms; /* when it will expire, or when it did */
    bool imported;         /* it had expired before it came here */
    /* What somebody asked for (account_states.h); requested_ms 0: nobody did. */
    struct pl_id128 request_id;
    int64_t requested_ms;
    char request_reason[ACCOUNT_REASON_BYTES];
    bool deleted_on_request; /* that is why its deletion started; else because it had expired */
    /* Its own day came while a hold kept some of its days: since when the others go; 0: all its
     * days stand. */
    int64_t cleared_ms;
    int64_t deletion_started_ms;
    int64_t deleted_ms;
    uint64_t config_version;
    char regions[ACCOUNT_REGIONS_BYTES];
    char origins[ACCOUNT_ORIGINS_BYTES];
    bool honour_dnt;
    uint64_t retention_months; /* events are kept so long while the account lives */
    struct account_rules rules;
    /* Not recorded. What was asked for had been done already, and nothing changed; nothing changed
     * that edges are told of. */
    bool was_so, is_ours;
};
/* An active account that says nothing about its rules. */
void account_init(struct account *account);

/* What people call it: its name, or its id once that is forgotten. */
struct account_called {
    char text[ACCOUNT_NAME_BYTES];
};
struct account_called account_called(const struct account *account);

#define ACCOUNT_KEEP_DAYS   45 /* reinstatement is possible until here at least */
#define ACCOUNT_SPREAD_DAYS 35 /* deletions start on days 45 to 79, to be done by day 80 */
/* When its deletion is due to start; 0: it has no end yet. */
int64_t account_due_ms(const struct account *account);

/* The state as of now: an active account whose date has passed is expired, whoever noticed. */
enum account_state account_state_at(const struct account *account, int64_t now_ms);
/* What account and holds say together (lifecycle_standing). */
struct account_standing {
    bool held, held_whole; /* by a hold on anything of it; on all of it */
    bool overdue;
};
/* The member "held": "all", "days" or null. */
void account_write_held(const struct account_standing *standing, struct json_writer *w);
/* As the API gives it. */
void account_write_json(const struct account *account, int64_t now_ms,
                        const struct account_standing *standing, struct json_writer *w);

/* As it is kept. */
void account_write_record(const struct account *account, struct json_writer *w);
/* Fills all but the id; rules that an older record does not know are left at their defaults.
 * PL_EINVAL, PL_ELIMIT, PL_ECORRUPT name the member. */
enum pl_err account_read_record(struct json record, struct account *account, struct pl_why *why);
/* What a request may set: name, expires_at, regions, origins, honour_dnt, retention_months and
 * ACCOUNT_RULE_MEMBERS; a member that is absent stays. An origin is as browsers write it:
 * https://HOST or https://HOST:PORT, HOST in lower case or *.HOST. PL_EINVAL, PL_ELIMIT name the
 * member; account is then half changed. */
enum pl_err account_read_rules(struct json request, struct account *account, struct pl_why *why);

#endif
