#include "origin/lifecycle/certificate_document.h"
#include "origin/request.h"
#include "proto/base/text.h"

#include <stdio.h>

static const char *const method[] = {
    "The account's data key was destroyed in the keyring, on every path of it. Every stored event "
    "of the account was encrypted with keys derived from it (AES-256-SIV): what a copy of the "
    "database has of them, wherever it is, cannot be read any more. Copies of the keyring from "
    "before are to be deleted by last_backup_ends: that is the operator's word, for nothing can "
    "observe it.",
    "Every record of the account was deleted from the database. Its files were rewritten without "
    "them, and the old files were observed to be gone. Blocks that had been kept aside unopened "
    "went with them; what a copy of the database has of those is closed once the sealing keys of "
    "before cutoff are destroyed, a month later as a rule, which the audit log tells.",
    "Each edge confirmed that no file of it holds a block from before the deletion. Where an edge "
    "never did, the keys that its blocks were sealed to were destroyed.",
};

/* ---- checking */

static enum pl_err check_edges(const struct certificate_facts *facts, struct pl_why *why)
{
    for (size_t i = 0; i < facts->edge_count; i++) {
        const struct certificate_edge *edge = &facts->edges[i];
        if ((edge->confirmed_ms != 0) == (edge->written_off_ms != 0)) {
            return pl_fail(why, PL_EINVAL, "edge %s has neither confirmed nor been written off",
                           edge->name);
        }
    }
    return PL_OK;
}

enum pl_err certificate_check(const struct certificate_facts *facts, struct pl_why *why)
{
    if (facts->account == 0 || facts->count_count > CERTIFICATE_KINDS_MAX ||
        facts->delay_count > CERTIFICATE_DELAYS_MAX || facts->seal_count > CERTIFICATE_SEALS_MAX) {
        return pl_fail(why, PL_EINVAL, "a certificate needs an account and lists that fit");
    }
    if (facts->key.wall_ms == 0 || facts->key.signature_len == 0) {
        return pl_fail(why, PL_EINVAL,
                       "no certificate without the data key's destruction in the keyring");
    }
    if (facts->started_ms == 0 || facts->gone_ms == 0 || facts->ended_ms == 0) {
        return pl_fail(why, PL_EINVAL,
                       "no certificate before the deletion has begun, is physically done and has "
                       "ended");
    }
    return check_edges(facts, why);
}

/* ---- writing */

static void write_id(struct json_writer *w, const char *name, const uint8_t *bytes, size_t len)
{
    json_write_pair_hex(w, name, pl_span(bytes, len));
}

static void write_base64(struct json_writer *w, const char *name, struct pl_span bytes)
{
    struct pl_buf text;
    pl_buf_init(&text, 256);
    if (pl_base64_encode(bytes, &text) == PL_OK) {
        json_write_key(w, name);
        json_write_string(w, pl_buf_span(&text));
    }
    pl_buf_release(&text);
}

static void write_times(const struct certificate_facts *facts, struct json_writer *w)
{
    const struct {
        const char *name;
        int64_t ms;
    } times[] = {
        {"account_created", facts->created_ms},
        {"expired", facts->expired_ms},
        {"requested", facts->requested_ms},
        {"promised_by", facts->limit_ms},
        {"cleared", facts->cleared_ms},
        {"started", facts->started_ms},
        {"key_destroyed", facts->key.wall_ms},
        {"dropped", facts->dropped_ms},
        {"physically_gone", facts->gone_ms},
        {"edges_done", facts->edges_ms},
        {"ended", facts->ended_ms},
    };
    json_write_key(w, "times");
    json_write_object(w);
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        json_write_pair_time(w, times[i].name, times[i].ms);
    }
    json_write_object_end(w);
}

static void write_method(struct json_writer *w)
{
    json_write_key(w, "method");
    json_write_array(w);
    for (size_t i = 0; i < sizeof(method) / sizeof(method[0]); i++) {
        json_write_text(w, method[i]);
    }
    json_write_array_end(w);
}

static void write_number(struct json_writer *w, const char *name, bool known, uint64_t v)
{
    json_write_key(w, name);
    if (known) {
        json_write_u64(w, v);
    } else {
        json_write_null(w);
    }
}

static void write_counts(const struct certificate_facts *facts, struct json_writer *w)
{
    json_write_key(w, "deleted");
    json_write_array(w);
    for (size_t i = 0; i < facts->count_count; i++) {
        const struct certificate_count *count = &facts->counts[i];
        json_write_object(w);
        json_write_pair_text(w, "kind", count->kind);
        write_number(w, "items", count->counted, count->items);
        write_number(w, "bytes", count->counted, count->bytes);
        json_write_object_end(w);
    }
    json_write_array_end(w);
}

/* All that its signature in the keyring is over, so that it can be verified without the keyring. */
static void write_destruction(const struct keyring_destruction *key, struct json_writer *w)
{
    json_write_pair_time(w, "destroyed_at", key->wall_ms);
    json_write_pair_text(w, "reason", key->reason);
    write_id(w, "signer", key->signer_id, sizeof(key->signer_id));
    write_id(w, "previous", key->previous_hash, sizeof(key->previous_hash));
    write_id(w, "record", key->chain_hash, sizeof(key->chain_hash));
    write_base64(w, "signature", pl_span(key->signature, key->signature_len));
}

/* The clock may have been right while it was not believed: until then it could be that late. */
static int64_t destroyed_ms(const struct certificate_facts *facts,
                            const struct clock_freeze *freezes, size_t count)
{
    int64_t latest_ms = facts->key.wall_ms;
    for (size_t i = 0; i < count; i++) {
        bool meanwhile = freezes[i].from_ms <= latest_ms && latest_ms < freezes[i].until_ms;
        latest_ms = meanwhile ? freezes[i].until_ms : latest_ms;
    }
    return latest_ms;
}

static void write_key(const struct certificate_facts *facts, int64_t at_the_latest_ms,
                      struct json_writer *w)
{
    char day[PL_TIME_TEXT];
    json_write_key(w, "data_key");
    json_write_object(w);
    write_destruction(&facts->key, w);
    json_write_pair_u64(w, "keyring_paths", facts->keyring_paths);
    pl_time_format(at_the_latest_ms + facts->backup_days * PL_DAY_MS, day);
    day[10] = '\0';
    json_write_pair_text(w, "last_backup_ends", day);
    json_write_object_end(w);
}

static void write_edges(const struct certificate_facts *facts, struct json_writer *w)
{
    json_write_key(w, "cutoff");
    json_write_object(w);
    write_id(w, "epoch", facts->cutoff_epoch.bytes, sizeof(facts->cutoff_epoch.bytes));
    json_write_pair_u64(w, "position", facts->cutoff_position);
    json_write_object_end(w);
    json_write_key(w, "edges");
    json_write_array(w);
    for (size_t i = 0; i < facts->edge_count; i++) {
        const struct certificate_edge *edge = &facts->edges[i];
        json_write_object(w);
        write_id(w, "id", edge->id.bytes, sizeof(edge->id.bytes));
        json_write_pair_text(w, "name", edge->name);
        json_write_pair_text(w, "region", edge->region);
        json_write_pair_time(w, "confirmed_at", edge->confirmed_ms);
        json_write_pair_time(w, "written_off_at", edge->written_off_ms);
        json_write_pair_text(w, "reason", edge->reason);
        json_write_object_end(w);
    }
    json_write_array_end(w);
    json_write_key(w, "sealing_keys");
    json_write_array(w);
    for (size_t i = 0; i < facts->seal_count; i++) {
        json_write_object(w);
        write_id(w, "id", facts->seals[i].id, sizeof(facts->seals[i].id));
        write_destruction(&facts->seals[i].destruction, w);
        json_write_object_end(w);
    }
    json_write_array_end(w);
}

static void write_delay(struct json_writer *w, const char *kind, int64_t from_ms, int64_t until_ms,
                        const char *reason)
{
    json_write_object(w);
    json_write_pair_text(w, "kind", kind);
    json_write_pair_time(w, "from", from_ms);
    json_write_pair_time(w, "until", until_ms);
    json_write_pair_text(w, "reason", reason);
    json_write_object_end(w);
}

static void write_delays(const struct certificate_facts *facts, const struct clock_freeze *freezes,
                         size_t freeze_count, size_t freeze_room, struct json_writer *w)
{
    bool late = facts->limit_ms != 0 && facts->ended_ms > facts->limit_ms;
    json_write_pair_u64(
        w, "late_seconds",
        late ? (uint64_t)((facts->ended_ms - facts->limit_ms + PL_SECOND_MS - 1) / PL_SECOND_MS)
             : 0);
    json_write_key(w, "delays");
    json_write_array(w);
    for (size_t i = 0; i < facts->delay_count; i++) {
        const struct certificate_delay *delay = &facts->delays[i];
        write_delay(w, delay->kind, delay->from_ms, delay->until_ms, delay->reason);
    }
    for (size_t i = 0; i < freeze_count && i < freeze_room; i++) {
        write_delay(w, "clock not believed", freezes[i].from_ms, freezes[i].until_ms,
                    freezes[i].reason);
    }
    if (freeze_count > freeze_room) {
        char more[64];
        snprintf(more, sizeof(more), "%zu further freezes of the clock",
                 freeze_count - freeze_room);
        write_delay(w, "clock not believed", 0, 0, more);
    }
    json_write_array_end(w);
}

static void write_audit(const struct certificate_facts *facts, struct json_writer *w)
{
    json_write_key(w, "audit_head");
    if (facts->audit_sequence == 0) {
        json_write_null(w);
        return;
    }
    json_write_object(w);
    json_write_pair_u64(w, "n", facts->audit_sequence);
    write_id(w, "hash", facts->audit_hash, sizeof(facts->audit_hash));
    json_write_object_end(w);
}

enum pl_err certificate_write(const struct certificate_facts *facts,
                              const struct clock_freeze *freezes, size_t freeze_count,
                              size_t freeze_room, const uint8_t signer[SIGNER_ID_BYTES],
                              struct pl_buf *line, struct pl_why *why)
{
    struct json_writer *w = NULL;
    enum pl_err err = json_writer_new(&w, false);
    if (err == PL_OK) {
        json_writer_begin(w, line);
        json_write_object(w);
        json_write_pair_text(w, "polder", "certificate of deletion");
        json_write_pair_u64(w, "version", 1);
        write_id(w, "signer", signer, SIGNER_ID_BYTES);
        json_write_pair_account(w, "account", facts->account);
        json_write_pair_text(w, "cause", facts->on_request ? "request" : "expiry");
        write_times(facts, w);
        write_delays(facts, freezes, freeze_count, freeze_room, w);
        write_method(w);
        write_counts(facts, w);
        write_key(
            facts,
            destroyed_ms(facts, freezes, freeze_count < freeze_room ? freeze_count : freeze_room),
            w);
        write_edges(facts, w);
        write_audit(facts, w);
        json_write_object_end(w);
        err = json_writer_end(w);
    }
    if (err == PL_OK) {
        err = pl_buf_put_u8(line, '\n');
    }
    json_writer_free(w);
    return err == PL_OK
               ? err
               : pl_fail(why, err, "the certificate cannot be written: %s", pl_err_word(err));
}
