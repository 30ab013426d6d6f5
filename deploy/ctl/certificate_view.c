#include "deploy/ctl/certificate_view.h"
#include "deploy/ctl/table.h"

#include "proto/base/clock.h"
#include "proto/base/id.h"
#include "proto/base/text.h"
#include "proto/wire/signed_document.h"

#include <stdio.h>

/* ---- for people */

static void row_time(struct table *table, struct json times, const char *label, const char *name)
{
    char time[SHORT_TIME_TEXT];
    if (!member_short_time(times, name, time))
        return;
    table_text(table, label);
    table_format(table, "%s UTC", time);
}

static void rows_times(struct table *table, struct json document)
{
    struct json times;
    if (!json_get(document, "times", &times))
        return;
    row_time(table, times, "expired", "expired");
    row_time(table, times, "requested", "requested");
    row_time(table, times, "days outside holds", "cleared");
    row_time(table, times, "deletion began", "started");
    row_time(table, times, "key destroyed", "key_destroyed");
    row_time(table, times, "physically gone", "physically_gone");
    row_time(table, times, "edges done", "edges_done");
    row_time(table, times, "ended", "ended");
    row_time(table, times, "promised by", "promised_by");
}

static void row_late(struct table *table, struct json document)
{
    struct json late;
    uint64_t seconds = 0;
    table_text(table, "late");
    if (!json_get(document, "late_seconds", &late) || !json_u64(late, &seconds) || seconds == 0)
        table_text(table, "no");
    else if (seconds < 3600)
        table_format(table, "by %llu %s", ((unsigned long long)seconds + 59) / 60,
                     pl_plural((seconds + 59) / 60, "minute", "minutes"));
    else
        table_format(table, "by %llu %s, %llu %s", (unsigned long long)seconds / 86400,
                     pl_plural(seconds / 86400, "day", "days"),
                     (unsigned long long)seconds % 86400 / 3600,
                     pl_plural(seconds % 86400 / 3600, "hour", "hours"));
}

static void rows_delays(struct table *table, struct json document)
{
    struct json list, delay;
    char from[SHORT_TIME_TEXT], until[SHORT_TIME_TEXT];
    const char *label = "delays";
    if (!json_get(document, "delays", &list))
        return;
    for (struct json_iter i = json_elements(list); json_next_element(&i, &delay); label = "") {
        bool began = member_short_time(delay, "from", from);
        bool ended = member_short_time(delay, "until", until);
        table_text(table, label);
        table_format(table, "%.*s%s%s%s%s: %.*s", PL_SPAN_FMT(member_text(delay, "kind")),
                     began ? " from " : "", began ? from : "", ended ? " until " : "",
                     ended ? until : "", PL_SPAN_FMT(member_text(delay, "reason")));
    }
}

static void rows_deleted(struct table *table, struct json document)
{
    struct json list, count, items, bytes;
    const char *label = "deleted";
    if (!json_get(document, "deleted", &list))
        return;
    for (struct json_iter i = json_elements(list); json_next_element(&i, &count); label = "") {
        struct pl_span kind = member_text(count, "kind");
        uint64_t n = 0, size = 0;
        table_text(table, label);
        if (json_get(count, "items", &items) && json_u64(items, &n) &&
            json_get(count, "bytes", &bytes) && json_u64(bytes, &size))
            table_format(table, "%llu %.*s, %llu %s", (unsigned long long)n, PL_SPAN_FMT(kind),
                         (unsigned long long)size, pl_plural(size, "byte", "bytes"));
        else
            table_format(table, "%.*s, which could not be counted", PL_SPAN_FMT(kind));
    }
}

static void rows_edges(struct table *table, struct json document)
{
    struct json list, edge;
    char time[SHORT_TIME_TEXT];
    const char *label = "edges";
    if (!json_get(document, "edges", &list))
        return;
    for (struct json_iter i = json_elements(list); json_next_element(&i, &edge); label = "") {
        struct pl_span name = member_text(edge, "name"), region = member_text(edge, "region");
        table_text(table, label);
        if (member_short_time(edge, "confirmed_at", time))
            table_format(table, "%.*s (%.*s) confirmed %s", PL_SPAN_FMT(name), PL_SPAN_FMT(region),
                         time);
        else if (member_short_time(edge, "written_off_at", time))
            table_format(table, "%.*s (%.*s) WRITTEN OFF %s: %.*s", PL_SPAN_FMT(name),
                         PL_SPAN_FMT(region), time, PL_SPAN_FMT(member_text(edge, "reason")));
        else
            table_format(table, "%.*s (%.*s)", PL_SPAN_FMT(name), PL_SPAN_FMT(region));
    }
}

static void rows_end(struct table *table, struct json document)
{
    struct json key, audit;
    if (json_get(document, "data_key", &key)) {
        table_text(table, "last key backup ends");
        table_member(table, key, "last_backup_ends", "-");
    }
    if (json_get(document, "audit_head", &audit) && !json_is_null(audit)) {
        table_text(table, "audit log's last line");
        table_member(table, audit, "n", "-");
        table_text(table, "its hash");
        table_member(table, audit, "hash", "-");
    }
}

enum pl_err certificate_print(struct json document, struct pl_why *why)
{
    struct table table;
    table_init(&table, NULL, 2);
    table_text(&table, "signed by key");
    table_member(&table, document, "signer", "-");
    table_text(&table, "account");
    table_member(&table, document, "account", "-");
    table_text(&table, "deleted because of");
    table_member(&table, document, "cause", "-");
    rows_times(&table, document);
    row_late(&table, document);
    rows_delays(&table, document);
    rows_deleted(&table, document);
    rows_edges(&table, document);
    rows_end(&table, document);
    enum pl_err err = table_print(&table, why);
    table_release(&table);
    if (err == PL_OK) /* what stands behind it, and what of that nobody can observe */
        print_sentences(document, "method", "Method");
    return err;
}

/* ---- the keyring's record */

enum { DESTROY = 3, DATA_KEY = 1 }; /* SPEC.md, "Keyring file" */

struct destruction {
    uint8_t previous[PL_SHA256_BYTES], record[PL_SHA256_BYTES], signer[SIGNER_ID_BYTES];
    struct pl_span reason;
    uint64_t account;
    int64_t wall_ms;
};

static bool read_destruction(struct json document, struct json key, struct destruction *out,
                             struct pl_buf *signature)
{
    out->reason = member_text(key, "reason");
    return pl_hex_decode_lower(member_text(key, "previous"), out->previous, PL_SHA256_BYTES) &&
           pl_hex_decode_lower(member_text(key, "record"), out->record, PL_SHA256_BYTES) &&
           pl_hex_decode_lower(member_text(key, "signer"), out->signer, SIGNER_ID_BYTES) &&
           pl_account_parse(member_text(document, "account"), &out->account) &&
           pl_time_parse(member_text(key, "destroyed_at"), &out->wall_ms) &&
           out->reason.len < 128 &&
           pl_base64_decode(member_text(key, "signature"), signature) == PL_OK;
}

/* kind, subject, id, time, signer: as they stand in the record, and in what is signed. */
static enum pl_err put_head(struct pl_buf *out, const struct destruction *d)
{
    enum pl_err err = pl_buf_put_u8(out, DESTROY);
    if (err == PL_OK)
        err = pl_buf_put_u8(out, DATA_KEY);
    if (err == PL_OK)
        err = pl_buf_put_u64(out, d->account);
    if (err == PL_OK)
        err = pl_buf_put_u64(out, (uint64_t)d->wall_ms);
    return err == PL_OK ? pl_buf_append(out, d->signer, sizeof(d->signer)) : err;
}

static enum pl_err put_message(struct pl_buf *out, const struct destruction *d)
{
    static const char label[] = "polder keyring destroy v1"; /* with its NUL */
    enum pl_err err = pl_buf_append(out, label, sizeof(label));
    if (err == PL_OK)
        err = pl_buf_append(out, d->previous, sizeof(d->previous));
    if (err == PL_OK)
        err = put_head(out, d);
    return err == PL_OK ? pl_buf_append_span(out, d->reason) : err;
}

static enum pl_err put_record(struct pl_buf *out, const struct destruction *d,
                              struct pl_span signature)
{
    const size_t rest = 2 + 8 + 8 + 8 + 1 + d->reason.len + 1 + signature.len + PL_SHA256_BYTES;
    enum pl_err err = pl_buf_append(out, d->previous, sizeof(d->previous));
    if (err == PL_OK)
        err = pl_buf_put_u32(out, (uint32_t)rest);
    if (err == PL_OK)
        err = put_head(out, d);
    if (err == PL_OK)
        err = pl_buf_put_u8(out, (uint8_t)d->reason.len);
    if (err == PL_OK)
        err = pl_buf_append_span(out, d->reason);
    if (err == PL_OK)
        err = pl_buf_put_u8(out, (uint8_t)signature.len);
    return err == PL_OK ? pl_buf_append_span(out, signature) : err;
}

static enum pl_err check(const struct destruction *d, struct pl_span signature,
                         struct pl_span spki_der)
{
    uint8_t hash[PL_SHA256_BYTES];
    struct pl_buf bytes;
    pl_buf_init(&bytes, 1024);
    enum pl_err err = put_message(&bytes, d);
    if (err == PL_OK)
        err = pl_verify(spki_der, pl_buf_span(&bytes), signature);
    pl_buf_reset(&bytes);
    if (err == PL_OK)
        err = put_record(&bytes, d, signature);
    if (err == PL_OK) {
        pl_sha256_one(pl_buf_span(&bytes), hash);
        err = memcmp(hash, d->record, sizeof(hash)) == 0 ? PL_OK : PL_EAUTH;
    }
    pl_buf_release(&bytes);
    return err;
}

enum pl_err certificate_check_key(struct json document, struct pl_span spki_der, struct pl_why *why)
{
    struct destruction d;
    struct pl_buf signature;
    struct json key;
    uint8_t signer[SIGNER_ID_BYTES];
    pl_buf_init(&signature, PL_SIGNATURE_MAX_BYTES);
    signer_id(spki_der, signer);
    enum pl_err err = PL_OK;
    if (!json_get(document, "data_key", &key) || !read_destruction(document, key, &d, &signature))
        err = pl_fail(why, PL_EINVAL,
                      "the certificate does not repeat the keyring's record of the key's "
                      "destruction");
    else if (memcmp(signer, d.signer, sizeof(signer)) != 0)
        err = pl_fail(why, PL_EUNSUPPORTED,
                      "the key's destruction was signed by an earlier key, %.*s",
                      PL_SPAN_FMT(member_text(key, "signer")));
    else if ((err = check(&d, pl_buf_span(&signature), spki_der)) != PL_OK)
        err = pl_fail(why, err,
                      "the keyring's record of the key's destruction, as the certificate repeats "
                      "it, does not verify");
    pl_buf_release(&signature);
    return err;
}
