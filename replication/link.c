#include "replication/link.h"

#include "proto/base/file.h"
#include "proto/base/pki.h"

#define PEM_MAX_BYTES (256 * 1024)

enum pl_err link_err(int rv)
{
    switch (rv) {
    case 0:
        return PL_OK;
    case NNG_ENOMEM:
        return PL_ENOMEM;
    case NNG_EADDRINUSE:
        return PL_EEXISTS;
    case NNG_EADDRINVAL:
    case NNG_EINVAL:
        return PL_EINVAL;
    case NNG_EPERM:
        return PL_EDENIED;
    case NNG_EPEERAUTH:
    case NNG_ECRYPTO:
        return PL_EAUTH;
    case NNG_ETIMEDOUT:
        return PL_ETIMEDOUT;
    case NNG_EMSGSIZE:
        return PL_ELIMIT;
    case NNG_ECLOSED:
    case NNG_ECONNRESET:
    case NNG_ECONNSHUT:
    case NNG_ECONNABORTED:
    case NNG_ECANCELED:
        return PL_ECLOSED;
    default:
        return PL_EIO;
    }
}

enum pl_err link_fail(struct pl_why *why, int rv, const char *doing, const char *about)
{
    return pl_fail(why, link_err(rv), "cannot %s %s: %s", doing, about, nng_strerror(rv));
}

/* NUL-terminated, as nng wants it. */
static enum pl_err read_pem(const char *path, const char *what, bool private_file,
                            struct pl_buf *pem, struct pl_why *why)
{
    enum pl_err err = pl_file_read(path, what, private_file, pem, why);
    if (err != PL_OK)
        return err;
    if (pl_buf_terminate(pem) != PL_OK)
        return pl_fail(why, PL_ELIMIT, "%s %s is too large for a PEM file", what, path);
    return PL_OK;
}

static enum pl_err check_pair(struct pl_signer *signer, struct pl_span cert_pem,
                              const struct link_identity *identity, struct pl_why *why)
{
    struct pl_buf of_key, of_cert;
    pl_buf_init(&of_key, PL_PUBLIC_KEY_MAX_BYTES);
    pl_buf_init(&of_cert, PL_PUBLIC_KEY_MAX_BYTES);
    enum pl_err err = pl_pki_cert_public(cert_pem, &of_cert, why);
    if (err != PL_OK) {
        err = pl_fail_in(why, err, "certificate %s", identity->cert_file);
        goto out;
    }
    err = pl_signer_public(signer, &of_key);
    if (err != PL_OK)
        pl_fail(why, err, "cannot derive the public key of %s", identity->key_file);
    else if (!pl_span_eq(pl_buf_span(&of_key), pl_buf_span(&of_cert)))
        err = pl_fail(why, PL_EINVAL,
                      "certificate %s was not issued for the key in %s: give the pair that "
                      "was enrolled together",
                      identity->cert_file, identity->key_file);
out:
    pl_buf_release(&of_key);
    pl_buf_release(&of_cert);
    return err;
}

static enum pl_err configure(nng_tls_config *tls, const struct link_identity *identity,
                             const struct pl_buf *ca, const struct pl_buf *cert,
                             const struct pl_buf *key, struct pl_why *why)
{
    int rv = nng_tls_config_ca_chain(tls, (const char *)ca->data, NULL);
    if (rv != 0)
        return link_fail(why, rv, "use the CA certificate in", identity->ca_file);
    rv = nng_tls_config_own_cert(tls, (const char *)cert->data, (const char *)key->data, NULL);
    if (rv != 0)
        return link_fail(why, rv, "use the certificate in", identity->cert_file);
    rv = nng_tls_config_auth_mode(tls, NNG_TLS_AUTH_MODE_REQUIRED);
    if (rv == 0 && !identity->server)
        rv = nng_tls_config_server_name(tls, identity->server_name);
    return rv == 0 ? PL_OK : link_fail(why, rv, "set up TLS with", identity->cert_file);
}

/* When the first of the two ends. */
static enum pl_err find_end(const struct pl_buf *ca, const struct pl_buf *cert, int64_t *ends_ms,
                            struct pl_why *why)
{
    int64_t ca_ends_ms = 0, cert_ends_ms = 0;
    enum pl_err err = pl_pki_cert_not_after(pl_buf_span(ca), &ca_ends_ms, why);
    if (err == PL_OK)
        err = pl_pki_cert_not_after(pl_buf_span(cert), &cert_ends_ms, why);
    if (err == PL_OK)
        *ends_ms = ca_ends_ms < cert_ends_ms ? ca_ends_ms : cert_ends_ms;
    return err;
}

enum pl_err link_tls_new(nng_tls_config **out, struct pl_signer **signer, int64_t *ends_ms,
                         const struct link_identity *identity, struct pl_why *why)
{
    struct pl_buf ca, cert, key;
    struct pl_signer *own = NULL;
    nng_tls_config *tls = NULL;
    pl_buf_init(&ca, PEM_MAX_BYTES);
    pl_buf_init(&cert, PEM_MAX_BYTES);
    pl_buf_init(&key, PEM_MAX_BYTES);

    enum pl_err err = read_pem(identity->ca_file, "CA certificate", false, &ca, why);
    if (err == PL_OK)
        err = read_pem(identity->cert_file, "certificate", false, &cert, why);
    if (err == PL_OK)
        err = read_pem(identity->key_file, "key file", true, &key, why);
    if (err != PL_OK)
        goto out;
    err = pl_signer_from_pem(&own, pl_buf_span(&key), why);
    if (err != PL_OK) {
        err = pl_fail_in(why, err, "key file %s", identity->key_file);
        goto out;
    }
    err = check_pair(own, pl_buf_span(&cert), identity, why);
    if (err != PL_OK)
        goto out;
    if (ends_ms != NULL && (err = find_end(&ca, &cert, ends_ms, why)) != PL_OK)
        goto out;
    int rv =
        nng_tls_config_alloc(&tls, identity->server ? NNG_TLS_MODE_SERVER : NNG_TLS_MODE_CLIENT);
    if (rv != 0) {
        err = link_fail(why, rv, "set up TLS with", identity->cert_file);
        goto out;
    }
    err = configure(tls, identity, &ca, &cert, &key, why);
    if (err != PL_OK)
        goto out;
    *out = tls;
    tls = NULL;
    if (signer != NULL) {
        *signer = own;
        own = NULL;
    }
out:
    if (tls != NULL)
        nng_tls_config_free(tls);
    pl_signer_free(own);
    pl_buf_release(&ca);
    pl_buf_release(&cert);
    pl_buf_wipe(&key);
    return err;
}
