#include "origin/journal/audit.h"
#include "origin/journal/denials.h"
#include "origin/request.h"
#include "proto/base/text.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define ENTRY_BYTES_MAX (4 * 1024)

struct audit {
    struct journal *journal;
    uint64_t owners_bytes; /* owners' calls are noted up to here */
    const struct pl_log *log;
    pthread_mutex_t writing; /* over the line's making and the disk */
    struct json_writer *writer;
    struct pl_buf line;
    pthread_mutex_t lock; /* over memory only: loops take it */
    struct denials *denials;
    struct audit_status status;
};

/* ---- a line */

static const char *outcome_name(enum audit_outcome outcome)
{
    static const char *const names[] = {
        [AUDIT_BEGUN] = "begun",
        [AUDIT_DONE] = "done",
        [AUDIT_DENIED] = "denied",
        [AUDIT_FAILED] = "failed",
    };
    return names[outcome];
}

/* The name of an owner's token may be the account's, which is to be forgotten; those of operators
 * and auditors are of the house. */
static void write_token(const struct token_record *token, struct json_writer *w)
{
    static const struct pl_id128 none;
    json_write_pair_text(w, "actor", token_role_name(token->role));
    if (!pl_id128_eq(&token->id, &none)) {
        json_write_pair_hex(w, "token", pl_span(token->id.bytes, sizeof(token->id.bytes)));
    }
    if (token->role != ROLE_OWNER && token->name[0] != '\0') {
        json_write_pair_text(w, "name", token->name);
    }
}

static void write_address(struct pl_span from, struct json_writer *w)
{
    char text[INET6_ADDRSTRLEN];
    int family = from.len == 4 ? AF_INET : AF_INET6;
    if ((from.len == 4 || from.len == 16) &&
        inet_ntop(family, from.data, text, sizeof(text)) != NULL) {
        json_write_pair_text(w, "from", text);
    }
}

static void write_optional(struct json_writer *w, const char *name, const char *text)
{
    if (text != NULL && text[0] != '\0') {
        json_write_pair_text(w, name, text);
    }
}

static void write_entry(const struct audit_entry *entry, struct json_writer *w)
{
    json_write_object(w);
    if (entry->token != NULL) {
        write_token(entry->token, w);
    } else {
        json_write_pair_text(w, "actor", entry->actor);
    }
    json_write_pair_text(w, "action", entry->action);
    json_write_pair_text(w, "outcome", outcome_name(entry->outcome));
    if (entry->account != 0) {
        json_write_pair_account(w, "account", entry->account);
    }
    write_optional(w, "object", entry->object);
    write_optional(w, "detail", entry->detail);
    write_address(entry->from, w);
    if (entry->count > 0) {
        json_write_pair_u64(w, "count", entry->count);
    }
    json_write_object_end(w);
}

/* What went wrong, for probes; an empty text: nothing any more. */
static void set_trouble(struct audit *audit, const char *text)
{
    bool was;
    pthread_mutex_lock(&audit->lock);
    was = audit->status.trouble[0] != '\0';
    audit->status.failures += text[0] != '\0';
    pl_text_print(audit->status.trouble, sizeof(audit->status.trouble), "%s", text);
    pthread_mutex_unlock(&audit->lock);
    if (!was && text[0] != '\0') {
        pl_log(audit->log, PL_LOG_ERROR, "audit",
               "nothing can be noted, so nothing is changed or given out: %s", text);
    } else if (was && text[0] == '\0') {
        pl_log(audit->log, PL_LOG_INFO, "audit", "can be written again");
    }
}

/* Under `writing`. */
static enum pl_err write_line(struct audit *audit, const struct audit_entry *entry,
                              struct pl_why *why)
{
    struct pl_why failure = {0};
    pl_buf_reset(&audit->line);
    json_writer_begin(audit->writer, &audit->line);
    write_entry(entry, audit->writer);
    enum pl_err err = json_writer_end(audit->writer);
    if (err != PL_OK) {
        pl_fail(&failure, err, "a line of the audit log cannot be made: %s", pl_err_word(err));
    } else {
        err = journal_append(audit->journal, pl_buf_span(&audit->line), NULL, &failure);
    }
    set_trouble(audit, failure.text);
    return err == PL_OK ? err : pl_fail(why, err, "%s", failure.text);
}

enum pl_err audit_room_for(struct audit *audit, const struct token_record *who, struct pl_why *why)
{
    if (audit == NULL || who->role != ROLE_OWNER ||
        journal_bytes(audit->journal) < audit->owners_bytes) {
        return PL_OK;
    }
    return pl_fail(why, PL_ENOSPC,
                   "the audit log has no room left for owners' calls; the origin's operator has to "
                   "give it more (audit_max_bytes)");
}

enum pl_err audit_note(struct audit *audit, const struct audit_entry *entry, struct pl_why *why)
{
    if (audit == NULL) {
        return PL_OK;
    }
    pthread_mutex_lock(&audit->writing);
    enum pl_err err = write_line(audit, entry, why);
    pthread_mutex_unlock(&audit->writing);
    return err;
}

/* ---- denials */

bool audit_deny(struct audit *audit, const struct audit_entry *entry, int64_t mono_ms)
{
    struct denial denial = {
        .known = entry->token != NULL,
        .link = entry->link,
        .action = entry->action,
        .detail = entry->detail,
        .account = entry->account,
    };
    if (audit == NULL) {
        return false;
    }
    if (entry->token != NULL) {
        denial.token = *entry->token;
    }
    if (entry->object != NULL) {
        snprintf(denial.object, sizeof(denial.object), "%s", entry->object);
    }
    if (entry->from.len <= sizeof(denial.from)) {
        denial.from_bytes = entry->from.len;
        memcpy(denial.from, entry->from.data, entry->from.len);
    }
    pthread_mutex_lock(&audit->lock);
    audit->status.denials++;
    bool told = denials_take(audit->denials, &denial, mono_ms);
    pthread_mutex_unlock(&audit->lock);
    return told;
}

static enum pl_err write_denial(struct audit *audit, const struct denial *denial,
                                struct pl_why *why)
{
    const struct audit_entry entry = {
        .token = denial->known ? &denial->token : NULL,
        .actor = denial->from_bytes == 0 && denial->object[0] == '\0' ? "several" : "stranger",
        .action = denial->action,
        .account = denial->account,
        .object = denial->object,
        .detail = denial->count == 0 ? denial->detail : "the last of those not told one by one",
        .outcome = AUDIT_DENIED,
        .from = pl_span(denial->from, denial->from_bytes),
        .count = denial->count,
    };
    return write_line(audit, &entry, why);
}

/* Under `writing`: whoever writes takes them one by one, in order. */
static enum pl_err write_waiting(struct audit *audit, int64_t mono_ms, struct pl_why *why)
{
    for (;;) {
        struct denial denial;
        pthread_mutex_lock(&audit->lock);
        const struct denial *next = denials_next(audit->denials, mono_ms);
        if (next != NULL) {
            denial = *next;
        }
        pthread_mutex_unlock(&audit->lock);
        if (next == NULL) {
            return PL_OK;
        }
        enum pl_err err = write_denial(audit, &denial, why);
        if (err != PL_OK) {
            return err;
        }
        pthread_mutex_lock(&audit->lock);
        denials_written(audit->denials);
        pthread_mutex_unlock(&audit->lock);
    }
}

enum pl_err audit_write_denials(struct audit *audit, int64_t mono_ms, struct pl_why *why)
{
    if (audit == NULL) {
        return PL_OK;
    }
    pthread_mutex_lock(&audit->writing);
    enum pl_err err = write_waiting(audit, mono_ms, why);
    pthread_mutex_unlock(&audit->writing);
    return err;
}

/* ---- reading */

void audit_tell(struct audit *audit, const struct audit_entry *entry)
{
    struct pl_why why = {0};
    if (audit_note(audit, entry, &why) != PL_OK) {
        pl_log(audit->log, PL_LOG_ERROR, "audit", "%s of account %016llx is done and not noted: %s",
               entry->action, (unsigned long long)entry->account, why.text);
    }
}

void audit_head(struct audit *audit, uint64_t *n, uint8_t hash[PL_SHA256_BYTES])
{
    struct journal_mark end = {.n = 0};
    if (audit != NULL) {
        journal_end(audit->journal, &end);
    }
    *n = end.n;
    memcpy(hash, end.hash, PL_SHA256_BYTES);
}

struct page {
    struct pl_buf *out;
    size_t max_bytes;
    uint64_t next;
};

static enum pl_err add_line(void *ctx, uint64_t n, struct pl_span line, struct pl_why *why)
{
    struct page *page = ctx;
    if (page->out->len > 0 && page->out->len + line.len + 1 > page->max_bytes) {
        page->next = n;
        return PL_EAGAIN;
    }
    enum pl_err err = pl_buf_append_span(page->out, line);
    if (err == PL_OK) {
        err = pl_buf_put_u8(page->out, '\n');
    }
    return err == PL_OK ? err : pl_fail(why, err, "no memory for the audit log");
}

enum pl_err audit_read(struct audit *audit, uint64_t from, size_t max_bytes, struct pl_buf *out,
                       uint64_t *next, struct pl_why *why)
{
    struct page page = {.out = out, .max_bytes = max_bytes};
    *next = 0;
    if (audit == NULL) {
        return PL_OK;
    }
    enum pl_err err = journal_visit(audit->journal, from, add_line, &page, why);
    if (err == PL_EAGAIN && page.next != 0) {
        *next = page.next;
        err = PL_OK;
    }
    return err;
}

void audit_status(struct audit *audit, struct audit_status *out)
{
    *out = (struct audit_status){.trouble = ""};
    if (audit != NULL) {
        pthread_mutex_lock(&audit->lock);
        *out = audit->status;
        pthread_mutex_unlock(&audit->lock);
        journal_status(audit->journal, &out->journal);
    }
}

/* ---- life */

enum pl_err audit_open(struct audit **out, const struct audit_config *config, struct pl_why *why)
{
    const struct journal_config journal = {
        .paths = config->paths,
        .path_count = config->path_count,
        .what = "audit log",
        .create = config->create,
        .max_bytes = config->max_bytes,
        .clock = config->clock,
        .log = config->log,
    };
    struct audit *audit = calloc(1, sizeof(*audit));
    if (audit == NULL) {
        return pl_fail(why, PL_ENOMEM, "no memory for the audit log");
    }
    audit->log = config->log;
    audit->owners_bytes = config->max_bytes - config->max_bytes / 8;
    pl_buf_init(&audit->line, ENTRY_BYTES_MAX);
    pthread_mutex_init(&audit->writing, NULL);
    pthread_mutex_init(&audit->lock, NULL);
    enum pl_err err = json_writer_new(&audit->writer, false);
    if (err == PL_OK) {
        err = denials_new(&audit->denials);
    }
    if (err != PL_OK) {
        pl_fail(why, err, "no memory for the audit log");
    } else {
        err = journal_open(&audit->journal, &journal, why);
    }
    if (err != PL_OK) {
        audit_close(audit);
        return err;
    }
    *out = audit;
    return PL_OK;
}

void audit_close(struct audit *audit)
{
    if (audit == NULL) {
        return;
    }
    if (audit->journal != NULL) {
        struct pl_why why = {0};
        enum pl_err err = write_waiting(audit, 0, &why);
        denials_close_windows(audit->denials);
        if (err != PL_OK || write_waiting(audit, 0, &why) != PL_OK) {
            pl_log(audit->log, PL_LOG_ERROR, "audit", "the last denials are not noted: %s",
                   why.text);
        }
        journal_close(audit->journal);
    }
    denials_free(audit->denials);
    json_writer_free(audit->writer);
    pl_buf_release(&audit->line);
    pthread_mutex_destroy(&audit->lock);
    pthread_mutex_destroy(&audit->writing);
    free(audit);
}
