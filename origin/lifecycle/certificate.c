#include "origin/lifecycle/certificate.h"
#include "origin/families.h"
#include "origin/lifecycle/certificate_document.h"

#include <stdlib.h>

static enum pl_err sign(struct keyring *keyring, struct pl_span line, struct pl_buf *certificate,
                        struct pl_why *why)
{
    uint8_t signature[PL_SIGNATURE_MAX_BYTES];
    size_t len = sizeof(signature);
    enum pl_err err = keyring_sign(keyring, line, signature, &len);
    if (err == PL_OK) {
        err = signed_document_put(line, pl_span(signature, len), certificate);
    }
    return err == PL_OK
               ? err
               : pl_fail(why, err, "the certificate cannot be signed: %s", pl_err_word(err));
}

static enum pl_err signer_of(struct keyring *keyring, uint8_t id[SIGNER_ID_BYTES],
                             struct pl_why *why)
{
    struct pl_buf spki;
    pl_buf_init(&spki, PL_PUBLIC_KEY_MAX_BYTES);
    enum pl_err err = keyring_signer(keyring, &spki);
    if (err == PL_OK) {
        signer_id(pl_buf_span(&spki), id);
    }
    pl_buf_release(&spki);
    return err == PL_OK ? err
                        : pl_fail(why, err, "the signing key cannot be used: %s", pl_err_word(err));
}

static enum pl_err make(struct store *store, struct keyring *keyring,
                        const struct certificate_facts *facts, struct pl_buf *certificate,
                        struct pl_why *why)
{
    uint8_t signer[SIGNER_ID_BYTES];
    size_t count = 0;
    struct pl_buf line;
    int64_t due_ms = facts->expired_ms != 0 ? facts->expired_ms : facts->started_ms;
    struct clock_freeze *freezes = calloc(CERTIFICATE_DELAYS_MAX, sizeof(*freezes));
    if (freezes == NULL) {
        return pl_fail(why, PL_ENOMEM, "no memory for a certificate");
    }
    if (facts->requested_ms != 0 && facts->requested_ms < due_ms) {
        due_ms = facts->requested_ms;
    }
    pl_buf_init(&line, CERTIFICATE_BYTES_MAX);
    enum pl_err err = clock_freezes_between(store, due_ms, facts->ended_ms, freezes,
                                            CERTIFICATE_DELAYS_MAX, &count);
    if (err != PL_OK) {
        pl_fail(why, err, "freezes of the clock cannot be read: %s", pl_err_word(err));
    }
    if (err == PL_OK) {
        err = signer_of(keyring, signer, why);
    }
    if (err == PL_OK) {
        err = certificate_write(facts, freezes, count, CERTIFICATE_DELAYS_MAX, signer, &line, why);
    }
    if (err == PL_OK) {
        err = sign(keyring, pl_buf_span(&line), certificate, why);
    }
    pl_buf_release(&line);
    free(freezes);
    return err;
}

static enum pl_err keep(struct store *store, uint64_t account, struct pl_span certificate,
                        struct pl_why *why)
{
    uint8_t key[8];
    pl_store_u64(key, account);
    return store_put(store, FAMILY_CERTIFICATES, pl_span(key, sizeof(key)), certificate, true, why);
}

enum pl_err certificate_issue(struct store *store, struct keyring *keyring,
                              const struct certificate_facts *facts, struct pl_buf *out,
                              struct pl_why *why)
{
    struct pl_buf certificate;
    pl_buf_init(&certificate, CERTIFICATE_BYTES_MAX);
    enum pl_err err = certificate_get(store, facts->account, &certificate, why);
    if (err == PL_ENOTFOUND) {
        err = certificate_check(facts, why);
        if (err == PL_OK) {
            err = make(store, keyring, facts, &certificate, why);
        }
        if (err == PL_OK) {
            err = keep(store, facts->account, pl_buf_span(&certificate), why);
        }
    }
    if (err == PL_OK && out != NULL) {
        err = pl_buf_append_span(out, pl_buf_span(&certificate));
    }
    pl_buf_release(&certificate);
    return err;
}

enum pl_err certificate_get(struct store *store, uint64_t account, struct pl_buf *out,
                            struct pl_why *why)
{
    uint8_t key[8];
    pl_store_u64(key, account);
    enum pl_err err = store_get(store, FAMILY_CERTIFICATES, pl_span(key, sizeof(key)), out);
    if (err == PL_ENOTFOUND) {
        return pl_fail(why, err, "account %016llx has no certificate: its data is not deleted",
                       (unsigned long long)account);
    }
    return err == PL_OK ? err
                        : pl_fail(why, err, "the certificate of account %016llx cannot be read: %s",
                                  (unsigned long long)account, pl_err_word(err));
}

enum pl_err certificate_put(struct store *store, uint64_t account, struct pl_span certificate,
                            struct pl_why *why)
{
    struct pl_buf there;
    pl_buf_init(&there, CERTIFICATE_BYTES_MAX);
    enum pl_err err = certificate_get(store, account, &there, why);
    if (err == PL_OK && !pl_span_eq(pl_buf_span(&there), certificate)) {
        err = pl_fail(why, PL_EEXISTS, "account %016llx has another certificate already",
                      (unsigned long long)account);
    } else if (err == PL_ENOTFOUND) {
        err = keep(store, account, certificate, why);
    }
    pl_buf_release(&there);
    return err;
}

enum pl_err certificate_each(struct store *store,
                             enum pl_err (*visit)(void *ctx, uint64_t account,
                                                  struct pl_span certificate),
                             void *ctx, struct pl_why *why)
{
    struct store_scan *scan;
    struct pl_span key, value, all = {NULL, 0};
    enum pl_err err = store_scan_new(&scan, store, FAMILY_CERTIFICATES, all, all);
    if (err == PL_OK) {
        while ((err = store_scan_next(scan, &key, &value)) == PL_OK && key.len == 8 &&
               (err = visit(ctx, pl_load_u64(key.data), value)) == PL_OK) {
        }
        store_scan_free(scan);
    }
    if (err == PL_ENOTFOUND) {
        return PL_OK;
    }
    return err == PL_OK
               ? PL_OK
               : pl_fail(why, err, "the certificates cannot be listed: %s", pl_err_word(err));
}
