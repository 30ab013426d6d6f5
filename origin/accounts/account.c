#include "origin/accounts/account.h"
#include "origin/request.h"

#include <stdio.h>

void account_init(struct account *account)
{
    *account =
        (struct account){.state = ACCOUNT_ACTIVE, .retention_months = ACCOUNT_RETENTION_MONTHS};
    account_rules_init(&account->rules);
}

struct account_called account_called(const struct account *account)
{
    struct account_called called;
    if (account->name[0] != '\0') {
        memcpy(called.text, account->name, sizeof(called.text));
    } else {
        snprintf(called.text, sizeof(called.text), "%016llx", (unsigned long long)account->id);
    }
    return called;
}

enum account_state account_state_at(const struct account *account, int64_t now_ms)
{
    bool passed = account->expires_at_ms != 0 && account->expires_at_ms <= now_ms;
    return account->state == ACCOUNT_ACTIVE && passed ? ACCOUNT_EXPIRED : account->state;
}

/* Spread by the id, which is random: the same hour however often it is asked. */
int64_t account_due_ms(const struct account *account)
{
    const uint64_t hours = ACCOUNT_SPREAD_DAYS * (PL_DAY_MS / PL_HOUR_MS);
    if (account->expires_at_ms == 0) {
        return 0;
    }
    return account->expires_at_ms + ACCOUNT_KEEP_DAYS * PL_DAY_MS +
           (int64_t)(account->id % hours) * PL_HOUR_MS;
}

/* What an account that is gone does not have any more is null. */
static void write_id(struct json_writer *w, const char *name, const struct pl_id128 *id)
{
    static const struct pl_id128 none;
    if (pl_id128_eq(id, &none)) {
        json_write_key(w, name);
        json_write_null(w);
    } else {
        json_write_pair_hex(w, name, pl_span(id->bytes, sizeof(id->bytes)));
    }
}

static void write_deletion(const struct account *account, struct json_writer *w)
{
    json_write_pair_time(w, "deletion_requested_at", account->requested_ms);
    if (account->requested_ms != 0) {
        write_id(w, "deletion_request", &account->request_id);
        json_write_pair_text(w, "deletion_reason", account->request_reason);
    }
    json_write_pair_bool(w, "deleted_on_request", account->deleted_on_request);
    json_write_pair_time(w, "cleared_at", account->cleared_ms);
    json_write_pair_time(w, "deletion_started_at", account->deletion_started_ms);
    json_write_pair_time(w, "deleted_at", account->deleted_ms);
}

static void write_members(const struct account *account, enum account_state state,
                          struct json_writer *w)
{
    json_write_pair_account(w, "id", account->id);
    json_write_pair_text(w, "name", account->name);
    json_write_pair_text(w, "state", account_state_name(state));
    write_id(w, "write_key", &account->write_key);
    json_write_pair_time(w, "created_at", account->created_ms);
    json_write_pair_time(w, "expires_at", account->expires_at_ms);
    json_write_pair_bool(w, "imported", account->imported);
    write_deletion(account, w);
    json_write_pair_u64(w, "config_version", account->config_version);
    json_write_pair_words(w, "regions", account->regions);
    json_write_pair_words(w, "origins", account->origins);
    json_write_pair_bool(w, "honour_dnt", account->honour_dnt);
    json_write_pair_u64(w, "retention_months", account->retention_months);
    account_rules_write(&account->rules, w);
}

void account_write_held(const struct account_standing *standing, struct json_writer *w)
{
    json_write_key(w, "held");
    if (standing->held)
        json_write_text(w, standing->held_whole ? "all" : "days");
    else
        json_write_null(w);
}

void account_write_json(const struct account *account, int64_t now_ms,
                        const struct account_standing *standing, struct json_writer *w)
{
    const enum account_state state = account_state_at(account, now_ms);
    const bool has_ended = state == ACCOUNT_EXPIRED || state == ACCOUNT_DELETABLE;
    json_write_object(w);
    write_members(account, state, w);
    json_write_pair_time(w, "deletion_due_at", has_ended ? account_due_ms(account) : 0);
    account_write_held(standing, w);
    json_write_pair_bool(w, "overdue", standing->overdue);
    if (account->was_so) {
        json_write_pair_bool(w, "already", true);
    }
    json_write_object_end(w);
}

void account_write_record(const struct account *account, struct json_writer *w)
{
    json_write_object(w);
    write_members(account, account->state, w);
    json_write_object_end(w);
}

static enum pl_err read_state(struct json record, enum account_state *state, struct pl_why *why)
{
    char name[32] = "";
    enum pl_err err = request_text(record, "state", name, sizeof(name), why);
    for (int s = ACCOUNT_ACTIVE; err == PL_OK && s <= ACCOUNT_DELETED; s++) {
        if (strcmp(account_state_name((enum account_state)s), name) == 0) {
            *state = (enum account_state)s;
            return PL_OK;
        }
    }
    return err != PL_OK ? err : pl_fail_field(why, PL_ECORRUPT, "state", "unknown state %s", name);
}

/* What requests and records have in common. */
static enum pl_err read_members(struct json object, struct account *account, struct pl_why *why)
{
    enum pl_err err;
    if ((err = request_text(object, "name", account->name, sizeof(account->name), why)) != PL_OK ||
        (err = request_time(object, "expires_at", &account->expires_at_ms, why)) != PL_OK ||
        (err = request_words(object, "regions", account->regions, sizeof(account->regions), why)) !=
            PL_OK ||
        (err = request_words(object, "origins", account->origins, sizeof(account->origins), why)) !=
            PL_OK ||
        (err = request_bool(object, "honour_dnt", &account->honour_dnt, why)) != PL_OK ||
        (err = request_u64(object, "retention_months", &account->retention_months, why)) != PL_OK) {
        return err;
    }
    return account_rules_read(object, &account->rules, why);
}

static enum pl_err read_deletion(struct json record, struct account *account, struct pl_why *why)
{
    enum pl_err err;
    if ((err = request_time(record, "deletion_requested_at", &account->requested_ms, why)) !=
            PL_OK ||
        (err = request_id128(record, "deletion_request", &account->request_id, why)) != PL_OK ||
        (err = request_text(record, "deletion_reason", account->request_reason,
                            sizeof(account->request_reason), why)) != PL_OK ||
        (err = request_bool(record, "deleted_on_request", &account->deleted_on_request, why)) !=
            PL_OK ||
        (err = request_time(record, "cleared_at", &account->cleared_ms, why)) != PL_OK ||
        (err = request_time(record, "deletion_started_at", &account->deletion_started_ms, why)) !=
            PL_OK) {
        return err;
    }
    return request_time(record, "deleted_at", &account->deleted_ms, why);
}

enum pl_err account_read_record(struct json record, struct account *account, struct pl_why *why)
{
    const uint64_t id = account->id;
    enum pl_err err;
    account_init(account);
    account->id = id;
    if ((err = read_members(record, account, why)) != PL_OK ||
        (err = read_state(record, &account->state, why)) != PL_OK ||
        (err = request_id128(record, "write_key", &account->write_key, why)) != PL_OK ||
        (err = request_time(record, "created_at", &account->created_ms, why)) != PL_OK ||
        (err = request_bool(record, "imported", &account->imported, why)) != PL_OK ||
        (err = read_deletion(record, account, why)) != PL_OK) {
        return err;
    }
    return request_u64(record, "config_version", &account->config_version, why);
}

static size_t span_of(struct pl_span text, const char *bytes)
{
    size_t len = 0;
    while (len < text.len && memchr(bytes, text.data[len], strlen(bytes)) != NULL) {
        len++;
    }
    return len;
}

/* Of a name, or of an IPv6 address in brackets; 0: neither. */
static size_t host_len(struct pl_span text)
{
    if (!pl_span_starts(text, PL_SPAN_LIT("["))) {
        return span_of(text, "abcdefghijklmnopqrstuvwxyz0123456789-._");
    }
    size_t len = 1 + span_of(pl_span_from(text, 1), "0123456789abcdef:.");
    return len < text.len && text.data[len] == ']' ? len + 1 : 0;
}

/* Nothing, or a port that is not the default, which browsers leave out. */
static bool is_port(struct pl_span text, uint64_t standard)
{
    uint64_t port;
    if (text.len == 0) {
        return true;
    }
    struct pl_span digits = pl_span_from(text, 1);
    return text.data[0] == ':' && pl_span_to_u64(digits, &port) && digits.data[0] != '0' &&
           port <= 65535 && port != standard;
}

/* Whether a browser may send this in an Origin header (RFC 6454 section 6.2), but for a "*." that
 * stands for any name before the host. */
static bool is_origin(struct pl_span text)
{
    static const struct pl_span https = PL_SPAN_INIT("https://"), http = PL_SPAN_INIT("http://");
    bool secure = pl_span_starts(text, https);
    if (!secure && !pl_span_starts(text, http)) {
        return false;
    }
    struct pl_span rest = pl_span_from(text, secure ? https.len : http.len);
    if (pl_span_starts(rest, PL_SPAN_LIT("*."))) {
        rest = pl_span_from(rest, 2);
    }
    size_t host = host_len(rest);
    return host > 0 && is_port(pl_span_from(rest, host), secure ? 443 : 80);
}

static enum pl_err check_origins(const char *words, struct pl_why *why)
{
    for (size_t len; *words != '\0'; words += len + (words[len] == ' ')) {
        len = strcspn(words, " ");
        if (!is_origin(pl_span(words, len))) {
            return pl_fail_field(why, PL_EINVAL, "origins",
                                 "origins holds %.*s, which no browser sends: write "
                                 "https://shop.example, https://*.shop.example or "
                                 "https://shop.example:8443, in lower case and without a path",
                                 (int)(len > 100 ? 100 : len), words);
        }
    }
    return PL_OK;
}

/* As an edge is enrolled with one: another word is no edge's. */
static enum pl_err check_regions(const char *words, struct pl_why *why)
{
    for (size_t len; *words != '\0'; words += len + (words[len] == ' ')) {
        len = strcspn(words, " ");
        if (len >= CATALOG_REGION_BYTES ||
            span_of(pl_span(words, len), "abcdefghijklmnopqrstuvwxyz0123456789-") != len) {
            return pl_fail_field(why, PL_EINVAL, "regions",
                                 "regions holds %.*s, which no edge has: a region has up to %d of "
                                 "a-z, 0-9 and -, such as eu",
                                 (int)(len > 100 ? 100 : len), words, CATALOG_REGION_BYTES - 1);
        }
        if (account_rules_has_word(words + len + (words[len] == ' '), pl_span(words, len))) {
            return pl_fail_field(why, PL_EINVAL, "regions", "regions holds \"%.*s\" twice",
                                 (int)len, words);
        }
    }
    return PL_OK;
}

enum pl_err account_read_rules(struct json request, struct account *account, struct pl_why *why)
{
    enum pl_err err = read_members(request, account, why);
    if (err == PL_OK && account->name[0] == '\0') {
        err = pl_fail_field(why, PL_EINVAL, "name", "name is missing");
    }
    if (err == PL_OK && (account->retention_months < ACCOUNT_RETENTION_MONTHS_MIN ||
                         account->retention_months > ACCOUNT_RETENTION_MONTHS_MAX)) {
        err = pl_fail_field(why, PL_EINVAL, "retention_months",
                            "retention_months must be from %d to %d", ACCOUNT_RETENTION_MONTHS_MIN,
                            ACCOUNT_RETENTION_MONTHS_MAX);
    }
    if (err == PL_OK) {
        err = check_origins(account->origins, why);
    }
    if (err == PL_OK) {
        err = check_regions(account->regions, why);
    }
    return err == PL_OK ? account_rules_check(&account->rules, why) : err;
}
