#include "origin/accounts/processing_record.h"
#include "origin/accounts/holds.h"
#include "origin/intake/dedupe.h"
#include "origin/options.h"
#include "origin/request.h"
#include "proto/base/text.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- small things */

static void write_list(struct json_writer *w, const char *name, const char *const *items)
{
    json_write_key(w, name);
    json_write_array(w);
    for (size_t i = 0; items[i] != NULL; i++) {
        json_write_text(w, items[i]);
    }
    json_write_array_end(w);
}

static void write_row(struct json_writer *w, const char *first, const char *first_text,
                      const char *second, const char *second_text)
{
    json_write_object(w);
    json_write_pair_text(w, first, first_text);
    json_write_pair_text(w, second, second_text);
    json_write_object_end(w);
}

static bool has_word(const char *words, const char *word)
{
    size_t len = strlen(word);
    for (const char *at = words; (at = strstr(at, word)) != NULL; at += len) {
        if ((at == words || at[-1] == ' ') && (at[len] == ' ' || at[len] == '\0')) {
            return true;
        }
    }
    return false;
}

/* ---- who */

static void write_account(const struct account *account, int64_t now_ms, struct json_writer *w)
{
    json_write_key(w, "account");
    json_write_object(w);
    json_write_pair_account(w, "id", account->id);
    json_write_pair_text(w, "name", account->name);
    json_write_pair_text(w, "state", account_state_name(account_state_at(account, now_ms)));
    json_write_pair_time(w, "created_at", account->created_ms);
    json_write_pair_time(w, "expires_at", account->expires_at_ms);
    if (account->deletion_started_ms != 0) {
        json_write_pair_time(w, "deletion_started_at", account->deletion_started_ms);
        json_write_pair_time(w, "deleted_at", account->deleted_ms);
    }
    json_write_object_end(w);
}

/* There is nothing left to be processed, nor what was said of it. */
static void write_deleted(const struct account *account, struct json_writer *w)
{
    json_write_pair_text(
        w, "processing",
        account->state == ACCOUNT_DELETED
            ? "None any more: all data of this account was deleted, with what it was processed "
              "for; its certificate of deletion says when and how."
            : "Only its deletion, which has begun: the key to its data is the first thing that is "
              "destroyed.");
    json_write_key(w, "retention");
    json_write_array(w);
    write_row(w, "what", "Audit log, certificates of deletion", "how_long",
              "for good, without visitors' data and without names of accounts");
    json_write_array_end(w);
}

static void write_parties(const struct origin_options *options,
                          const struct account_processing *said, struct json_writer *w)
{
    json_write_key(w, "controller");
    json_write_object(w);
    json_write_pair_text(w, "name", said->controller);
    json_write_pair_text(w, "contact", said->contact);
    json_write_object_end(w);
    json_write_key(w, "processor");
    json_write_object(w);
    json_write_pair_text(w, "name", options->processor_name);
    json_write_pair_text(w, "contact", options->processor_contact);
    json_write_pair_text(w, "data_protection_officer", options->processor_officer);
    json_write_pair_text(w, "location_of_storage", options->processor_location);
    json_write_object_end(w);
}

/* What an officer has to ask somebody for. */
static void write_missing(const struct origin_options *options,
                          const struct account_processing *said, struct json_writer *w)
{
    const struct {
        const char *text, *what;
    } wanted[] = {
        {said->controller, "the controller: polderctl account processing --controller"},
        {said->contact, "the controller's contact: polderctl account processing --contact"},
        {said->purposes, "the purposes: polderctl account processing --purposes"},
        {said->legal_basis, "the legal basis: polderctl account processing --legal-basis"},
        {options->processor_name, "the processor: processor_name in origin.yaml"},
        {options->processor_contact, "the processor's contact: processor_contact in origin.yaml"},
        {options->processor_location, "where the origin stands: processor_location in origin.yaml"},
    };
    json_write_key(w, "missing");
    json_write_array(w);
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        if (wanted[i].text[0] == '\0') {
            json_write_text(w, wanted[i].what);
        }
    }
    json_write_array_end(w);
}

static void write_recipients(const struct origin_options *options,
                             const struct account_processing *said, struct json_writer *w)
{
    json_write_pair_text(w, "recipients", said->recipients);
    json_write_key(w, "sub_processors");
    json_write_array(w);
    for (size_t i = 0; i < options->sub_processors.count; i++) {
        json_write_text(w, options->sub_processors.items[i]);
    }
    json_write_array_end(w);
}

/* ---- what */

static void write_subjects(const struct account *account, struct json_writer *w)
{
    json_write_key(w, "data_subjects");
    json_write_object(w);
    json_write_pair_text(w, "who", "visitors and customers of the account's sites and apps");
    json_write_pair_words(w, "web_origins", account->origins);
    json_write_pair_words(w, "hosts", account->rules.hosts);
    json_write_object_end(w);
}

static const char *masking(unsigned pii, char text[200])
{
    static const struct {
        enum pii_kind bit;
        const char *words;
    } kinds[] = {
        {PII_EMAIL, "e-mail addresses"}, {PII_CARD, "card numbers"}, {PII_PHONE, "phone numbers"}};
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if ((pii & kinds[i].bit) != 0) {
            used += (size_t)snprintf(text + used, 200 - used, "%s%s", used == 0 ? "" : ", ",
                                     kinds[i].words);
        }
    }
    return text;
}

static void write_categories(const struct account *account, struct json_writer *w)
{
    static const char *const rows[][2] = {
        {"Pseudonymous ids", "visitor, session and user ids as the site chooses them"},
        {"Behaviour", "page views, clicks, searches, products looked at, cart, checkout, orders"},
        {"Campaigns", "offers shown and how the visitor responded, with the principle they try"},
        {"Profile", "computed when asked for: page views, offers and responses, response rates per "
                    "principle; not stored"},
        {"Device", "user agent, language, time zone, screen size; country as the client says it"},
        {"What the site adds", "properties and traits of its own choosing"},
        {"Objections", "opt-outs, as keyed hashes of ids"},
    };
    char kinds[200], text[300], cookie[200];
    json_write_key(w, "categories_of_data");
    json_write_array(w);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        write_row(w, "category", rows[i][0], "what", rows[i][1]);
    }
    snprintf(cookie, sizeof(cookie), "one with the visitor's id, called %.64s",
             account->rules.cookie_name);
    write_row(w, "category", "Cookie", "what",
              account->rules.cookie_enabled ? cookie : "edges set no visitor cookie");
    json_write_array_end(w);
    json_write_key(w, "not_kept");
    json_write_array(w);
    json_write_text(w,
                    "IP addresses of requests, and fields that are named as one (ip, client_ip and "
                    "the like; texts and page addresses are not searched for them)");
    masking(account->rules.pii, kinds);
    snprintf(text, sizeof(text), "%s: masked in every text before anything is written to disk",
             kinds);
    if (kinds[0] != '\0') {
        json_write_text(w, text);
    }
    json_write_text(w, account->honour_dnt
                           ? "anything of visitors who opted out, or whose browsers send "
                             "Sec-GPC: 1 or DNT: 1"
                           : "anything of visitors who opted out, or whose browsers send "
                             "Sec-GPC: 1");
    json_write_array_end(w);
}

/* ---- where */

static enum pl_err write_regions(const struct origin_parts *parts, const struct account *account,
                                 struct json_writer *w)
{
    struct edge_record *edges;
    size_t count;
    enum pl_err err = edges_list(parts->edges, &edges, &count);
    if (err != PL_OK) {
        return err;
    }
    json_write_key(w, "regions_passed_through");
    json_write_array(w);
    for (size_t i = 0; i < count; i++) {
        bool allowed = account->regions[0] == '\0' || has_word(account->regions, edges[i].region);
        if (edges[i].revoked_ms == 0 && allowed) {
            write_row(w, "region", edges[i].region, "edge", edges[i].name);
        }
    }
    json_write_array_end(w);
    json_write_pair_text(
        w, "transfers",
        "What a visitor sends is taken by an edge of one of these regions, sealed there to the "
        "origin's key before it is written to disk, sent to the origin, and removed from the edge "
        "once the origin has it. No edge can read what it has sealed.");
    free(edges);
    return PL_OK;
}

/* ---- how long */

static void retention_row(struct json_writer *w, const char *what, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void retention_row(struct json_writer *w, const char *what, const char *format, ...)
{
    char text[300];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    write_row(w, "what", what, "how_long", text);
}

static void write_retention(const struct origin_parts *parts, const struct account *account,
                            struct json_writer *w)
{
    json_write_key(w, "retention");
    json_write_array(w);
    retention_row(w, "Events", "%llu %s, then dropped by day",
                  (unsigned long long)account->retention_months,
                  pl_plural(account->retention_months, "month", "months"));
    retention_row(w, "A person's events", "until the person asks for their erasure");
    retention_row(w, "All of the account",
                  "deleted from day %d after its end on, gone by day 90 at the latest; sooner on "
                  "request",
                  ACCOUNT_KEEP_DAYS);
    retention_row(w, "Ids of messages, to tell repeats", "%d days", DEDUPE_SWEEP_DAYS);
    retention_row(w, "Blocks on edges",
                  "until the origin has stored them; the keys that they are sealed to are replaced "
                  "every %lld %s",
                  (long long)parts->options->seal_key_days,
                  pl_plural((uint64_t)parts->options->seal_key_days, "day", "days"));
    retention_row(w, "Opt-outs", "as long as the account: they keep the visitor out");
    retention_row(w, "Backups of the database and its keys", "%lld %s at most",
                  (long long)parts->options->backup_days,
                  pl_plural((uint64_t)parts->options->backup_days, "day", "days"));
    retention_row(w, "Audit log, certificates of deletion",
                  "for good, without visitors' data and without names of accounts");
    json_write_array_end(w);
}

static void write_held_days(const struct hold *hold, struct json_writer *w)
{
    char first[PL_TIME_TEXT], last[PL_TIME_TEXT], text[64];
    pl_time_format(hold->first_day * PL_DAY_MS, first);
    pl_time_format(hold->last_day * PL_DAY_MS, last);
    snprintf(text, sizeof(text), "%.10s to %.10s", first, last);
    json_write_pair_text(w, "days", hold->whole ? "all of the account" : text);
}

static enum pl_err write_holds(const struct origin_parts *parts, const struct account *account,
                               int64_t now_ms, struct json_writer *w)
{
    struct hold *holds = calloc(HOLDS_ACCOUNT_MAX, sizeof(*holds));
    if (holds == NULL) {
        return PL_ENOMEM;
    }
    size_t count = holds_of(parts->holds, account->id, holds);
    json_write_key(w, "statutory_holds");
    json_write_array(w);
    for (size_t i = 0; i < count; i++) {
        if (!hold_stands(&holds[i], now_ms)) {
            continue;
        }
        json_write_object(w);
        json_write_pair_text(w, "reason", holds[i].reason);
        write_held_days(&holds[i], w);
        json_write_pair_time(w, "placed_at", holds[i].placed_ms);
        if (holds[i].until_ms == 0) {
            json_write_pair_text(w, "until", "it is released");
        } else {
            json_write_pair_time(w, "until", holds[i].until_ms);
        }
        json_write_object_end(w);
    }
    json_write_array_end(w);
    free(holds);
    return PL_OK;
}

/* ---- how it is kept safe */

static void write_security(const struct origin_options *options, struct json_writer *w)
{
    static const char *const always[] = {
        "Events are masked, compressed and sealed on the edge (HPKE: X25519, HKDF-SHA256, "
        "AES-256-GCM) before they are written to its disk; edges and origin speak TLS with "
        "certificates of both sides.",
        "At the origin each event is encrypted under keys of its account (AES-256-SIV). Ids stand "
        "in the database's keys as keyed hashes only.",
        "The accounts' keys are wrapped by a key-encryption key, and lie in a keyring, neither of "
        "which is in the database or in copies of it. An account's deletion destroys its key "
        "first; the destruction is signed.",
        "Access by role (operator, owner of one account, auditor) with tokens that are stored as "
        "hashes, can be given an end and can be revoked; failed attempts are limited.",
        "What people and the origin do is written to an append-only, hash-chained audit log "
        "without visitors' data.",
        "Edges confirm a deletion; it ends with a certificate that others can verify. A clock that "
        "is not to be believed deletes nothing.",
        NULL,
    };
    char text[200];
    write_list(w, "security", always);
    json_write_key(w, "security_settings");
    json_write_array(w);
    snprintf(text, sizeof(text), "the keyring is kept on %zu paths", options->keyring_paths.count);
    json_write_text(w, text);
    json_write_text(w, options->kek_command[0] != '\0'
                           ? "the key-encryption key comes from a command"
                           : "the key-encryption key is in a file that only its owner may read");
    json_write_text(w, options->https_listen[0] != '\0'
                           ? "the API is served over TLS"
                           : "the API is served without TLS: to its own machine or network only");
    json_write_array_end(w);
}

/* ---- all of it */

enum pl_err processing_record_write(const struct origin_parts *parts, const struct account *account,
                                    struct json_writer *w, struct pl_why *why)
{
    const struct origin_options *options = parts->options;
    const struct account_processing *said = &account->rules.processing;
    int64_t now_ms = accounts_believed_ms(parts->accounts);
    json_write_object(w);
    json_write_pair_text(w, "title", "Record of processing activities (GDPR Art. 30)");
    json_write_pair_time(w, "made_at", now_ms);
    write_account(account, now_ms, w);
    if (account->state >= ACCOUNT_DELETING) {
        write_parties(options, said, w);
        write_deleted(account, w);
        json_write_object_end(w);
        return PL_OK;
    }
    write_missing(options, said, w);
    write_parties(options, said, w);
    json_write_pair_text(w, "purposes", said->purposes);
    json_write_pair_text(w, "legal_basis", said->legal_basis);
    write_subjects(account, w);
    write_categories(account, w);
    write_recipients(options, said, w);
    enum pl_err err = write_regions(parts, account, w);
    write_retention(parts, account, w);
    if (err == PL_OK) {
        err = write_holds(parts, account, now_ms, w);
    }
    write_security(options, w);
    json_write_object_end(w);
    return err == PL_OK
               ? err
               : pl_fail(why, err, "the record of processing cannot be made: %s", pl_err_word(err));
}
