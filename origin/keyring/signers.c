#include "origin/keyring/signers.h"
#include "proto/base/crypto.h"
#include "proto/base/file.h"
#include "proto/base/pki.h"
#include "proto/base/secret.h"

#include <stdlib.h>

#define PEM_BYTES_MAX (64 * 1024)

static enum pl_err load_one(const char *path, struct pl_buf *spki, struct pl_why *why)
{
    struct pl_signer *signer = NULL;
    struct pl_buf pem;
    pl_buf_init(&pem, PEM_BYTES_MAX);
    enum pl_err err = pl_file_read(path, "earlier signing key", true, &pem, why);
    if (err == PL_OK && pl_pki_cert_public(pl_buf_span(&pem), spki, NULL) != PL_OK) {
        pl_buf_reset(spki);
        err = pl_signer_from_pem(&signer, pl_buf_span(&pem), why);
        if (err == PL_OK) {
            err = pl_signer_public(signer, spki);
        }
        if (err != PL_OK) {
            pl_fail(why, err,
                    "earlier signing key %s holds neither a certificate nor an ECDSA P-256 key "
                    "in PEM",
                    path);
        }
    }
    pl_signer_free(signer);
    pl_buf_wipe(&pem);
    return err;
}

enum pl_err signers_load(const struct pl_text_list *files, struct signers *out, struct pl_why *why)
{
    *out = (struct signers){
        .keys = calloc(files->count + 1, sizeof(*out->keys)),
        .spans = calloc(files->count + 1, sizeof(*out->spans)),
    };
    if (out->keys == NULL || out->spans == NULL) {
        return pl_fail(why, PL_ENOMEM, "no memory for the earlier signing keys");
    }
    for (size_t i = 0; i < files->count; i++) {
        pl_buf_init(&out->keys[i], PL_PUBLIC_KEY_MAX_BYTES);
        out->count++;
        enum pl_err err = load_one(files->items[i], &out->keys[i], why);
        if (err != PL_OK) {
            return err;
        }
        out->spans[i] = pl_buf_span(&out->keys[i]);
    }
    return PL_OK;
}

void signers_release(struct signers *signers)
{
    for (size_t i = 0; i < signers->count; i++) {
        pl_buf_release(&signers->keys[i]);
    }
    free(signers->keys);
    free(signers->spans);
    *signers = (struct signers){0};
}
