/* Certificates of deletion and the keys that they verify under. */
#include "origin/api/call.h"
#include "origin/keyring/signers.h"
#include "origin/lifecycle/certificate.h"
#include "origin/options.h"
#include "origin/request.h"
#include "proto/base/pki.h"
#include "proto/wire/signed_document.h"

API_HANDLER(api_certificate_get)
{
    const struct origin_parts *parts = worker->api->parts;
    struct account account;
    enum pl_err err = certificate_get(parts->store, call->target.account, &call->reply, why);
    if (err == PL_ENOTFOUND &&
        accounts_get(parts->accounts, call->target.account, &account) != PL_OK) {
        return pl_fail_field(why, err, "account", "there is no account %016llx",
                             (unsigned long long)call->target.account);
    }
    if (err == PL_OK) {
        call->content_type = "application/json"; /* and not a byte of it changed */
    }
    return err;
}

/* ---- all of them */

static size_t count_written_off(struct json edges)
{
    struct json edge, time;
    size_t count = 0;
    for (struct json_iter i = json_elements(edges); json_next_element(&i, &edge);) {
        count += json_get(edge, "written_off_at", &time) && !json_is_null(time);
    }
    return count;
}

static void copy(struct json_writer *w, const char *name, struct json object, const char *member)
{
    struct json value;
    json_write_key(w, name);
    if (json_get(object, member, &value)) {
        json_write_value(w, value);
    } else {
        json_write_null(w);
    }
}

static enum pl_err list_one(void *ctx, uint64_t account, struct pl_span certificate)
{
    struct api_worker *worker = ctx;
    struct json_writer *w = worker->writer;
    struct json root, document, times = {0}, edges;
    enum pl_err err = json_parse(worker->parser, certificate, &root, NULL);
    if (err != PL_OK || !json_get(root, "signed", &document) ||
        !json_get(document, "times", &times) || !json_get(document, "edges", &edges)) {
        return PL_ECORRUPT;
    }
    json_write_object(w);
    json_write_pair_account(w, "account", account);
    copy(w, "cause", document, "cause");
    copy(w, "ended_at", times, "ended");
    copy(w, "late_seconds", document, "late_seconds");
    json_write_pair_u64(w, "edges", json_count(edges));
    json_write_pair_u64(w, "edges_written_off", count_written_off(edges));
    copy(w, "signer", document, "signer");
    json_write_object_end(w);
    return PL_OK;
}

API_HANDLER(api_certificate_list)
{
    (void)call;
    json_write_object(worker->writer);
    json_write_key(worker->writer, "certificates");
    json_write_array(worker->writer);
    enum pl_err err = certificate_each(worker->api->parts->store, list_one, worker, why);
    json_write_array_end(worker->writer);
    json_write_object_end(worker->writer);
    return err;
}

/* ---- keys */

static enum pl_err write_key(struct json_writer *w, struct pl_span spki, bool current)
{
    uint8_t id[SIGNER_ID_BYTES];
    struct pl_buf pem;
    pl_buf_init(&pem, 1024);
    enum pl_err err = pl_pki_public_pem(spki, &pem);
    if (err == PL_OK) {
        signer_id(spki, id);
        json_write_object(w);
        json_write_pair_hex(w, "id", pl_span(id, sizeof(id)));
        json_write_pair_bool(w, "current", current);
        json_write_key(w, "pem");
        json_write_string(w, pl_buf_span(&pem));
        json_write_object_end(w);
    }
    pl_buf_release(&pem);
    return err;
}

API_HANDLER(api_certificate_keys)
{
    const struct origin_parts *parts = worker->api->parts;
    struct signers earlier = {0};
    struct pl_buf spki;
    (void)call;
    pl_buf_init(&spki, PL_PUBLIC_KEY_MAX_BYTES);
    enum pl_err err = signers_load(&parts->options->sign_earlier_files, &earlier, why);
    if (err == PL_OK) {
        err = keyring_signer(parts->keyring, &spki);
    }
    json_write_object(worker->writer);
    json_write_key(worker->writer, "keys");
    json_write_array(worker->writer);
    if (err == PL_OK) {
        err = write_key(worker->writer, pl_buf_span(&spki), true);
    }
    for (size_t i = 0; err == PL_OK && i < earlier.count; i++) {
        err = write_key(worker->writer, earlier.spans[i], false);
    }
    json_write_array_end(worker->writer);
    json_write_object_end(worker->writer);
    signers_release(&earlier);
    pl_buf_release(&spki);
    return err;
}
