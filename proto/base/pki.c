#include "proto/base/pki.h"

#include "proto/base/clock.h"
#include "proto/base/crypto.h"
#include "proto/base/mbed.h"
#include "proto/base/pki_der.h"
#include "proto/base/secret.h"

#include <arpa/inet.h>
#include <mbedtls/asn1.h>
#include <mbedtls/ecp.h>
#include <mbedtls/oid.h>
#include <mbedtls/pem.h>
#include <mbedtls/x509_crt.h>
#include <stdio.h>

#define PEM_MAX_BYTES    (64 * 1024)
#define CERT_MAX_BYTES   8192
#define KEY_ID_BYTES     20
#define COMMON_NAME_MAX  64 /* ub-common-name, RFC 5280 appendix A.1 */
#define DNS_NAME_MAX     253
#define P256_POINT_BYTES 65

enum pl_err pl_pki_new_key(const struct pl_random *random, struct pl_buf *key_pem)
{
    uint8_t pem[512];
    mbedtls_pk_context pk;
    mbedtls_pk_init(&pk);
    int rc = mbedtls_pk_setup(&pk, mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY));
    if (rc == 0)
        rc = mbedtls_ecp_gen_key(MBEDTLS_ECP_DP_SECP256R1, mbedtls_pk_ec(pk), pl_mbed_rng,
                                 pl_mbed_rng_ctx(random));
    if (rc == 0)
        rc = mbedtls_pk_write_key_pem(&pk, pem, sizeof(pem));
    enum pl_err err =
        rc == 0 ? pl_buf_append_str(key_pem, (const char *)pem) : pl_mbed_err(rc, PL_EINVAL);
    pl_wipe(pem, sizeof(pem));
    mbedtls_pk_free(&pk);
    return err;
}

/* The first certificate of a PEM file; crt is initialised and freed by the caller. */
static enum pl_err parse_cert(mbedtls_x509_crt *crt, struct pl_span pem, struct pl_why *why)
{
    struct pl_buf copy;
    pl_buf_init(&copy, PEM_MAX_BYTES);
    enum pl_err err = pl_buf_append_span(&copy, pem);
    if (err == PL_OK)
        err = pl_buf_terminate(&copy); /* how mbedTLS tells PEM from DER */
    if (err != PL_OK) {
        pl_fail(why, err, "cannot parse the certificate: %s", pl_err_word(err));
        goto out;
    }
    int rc = mbedtls_x509_crt_parse(crt, copy.data, copy.len + 1);
    if (rc != 0) {
        err = pl_mbed_err(rc < 0 ? rc : MBEDTLS_ERR_X509_INVALID_FORMAT, PL_EINVAL);
        pl_fail(why, err,
                err == PL_EINVAL ? "not an X.509 certificate in PEM"
                                 : "out of memory while parsing a certificate");
    }
out:
    pl_buf_release(&copy);
    return err;
}

static enum pl_err check_dns_name(const char *name, size_t index, struct pl_why *why)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.*";
    size_t len = strlen(name);
    if (len > 0 && len <= DNS_NAME_MAX && strspn(name, allowed) == len)
        return PL_OK;
    char field[32];
    snprintf(field, sizeof(field), "dns_names[%zu]", index);
    return pl_fail_field(why, PL_EINVAL, field,
                         "'%.64s' is not a DNS name (letters, digits, '-', '.'; write other "
                         "names in their xn-- form)",
                         name);
}

static enum pl_err check_request(const struct pl_pki_request *r, struct pl_why *why)
{
    struct pl_span name = pl_span_str(r->common_name);
    bool printable = pl_span_is_utf8(name);
    for (size_t i = 0; i < name.len; i++)
        printable = printable && name.data[i] >= 0x20 && name.data[i] != 0x7f;
    if (name.len == 0 || name.len > COMMON_NAME_MAX || !printable)
        return pl_fail_field(why, PL_EINVAL, "common_name",
                             "the common name must be 1 to %d bytes of printable UTF-8",
                             COMMON_NAME_MAX);
    if (r->not_after_ms <= r->not_before_ms)
        return pl_fail_field(why, PL_EINVAL, "not_after",
                             "the certificate would end before it begins");
    for (size_t i = 0; r->dns_names != NULL && r->dns_names[i] != NULL; i++) {
        enum pl_err err = check_dns_name(r->dns_names[i], i, why);
        if (err != PL_OK)
            return err;
    }
    return PL_OK;
}

/* RFC 7093 section 2, method 1: from the public point, which ends a P-256 key's SPKI. */
static void key_id(struct pl_span spki, uint8_t out[KEY_ID_BYTES])
{
    uint8_t hash[PL_SHA256_BYTES];
    pl_sha256_one(pl_span_from(spki, spki.len - P256_POINT_BYTES), hash);
    memcpy(out, hash, KEY_ID_BYTES);
}

/* Enters a SEQUENCE: moves *p to its content and gives its end, or NULL. */
static unsigned char *enter_sequence(unsigned char **p, const unsigned char *end)
{
    size_t len;
    if (mbedtls_asn1_get_tag(p, end, &len, MBEDTLS_ASN1_CONSTRUCTED | MBEDTLS_ASN1_SEQUENCE) != 0)
        return NULL;
    return *p + len;
}

/* The issuer's subject key identifier as it stands in its certificate: verifiers compare it with
 * ours, and not every CA derives it the same way. Empty when there is none. */
static struct pl_span issuer_key_id(const mbedtls_x509_crt *issuer)
{
    unsigned char *p = issuer->v3_ext.p;
    if (p == NULL)
        return pl_span(NULL, 0);
    unsigned char *end = enter_sequence(&p, p + issuer->v3_ext.len);
    while (end != NULL && p < end) {
        size_t len;
        unsigned char *next = enter_sequence(&p, end);
        if (next == NULL || mbedtls_asn1_get_tag(&p, next, &len, MBEDTLS_ASN1_OID) != 0)
            break;
        bool found = pl_span_eq(pl_span(p, len), pl_span_str(MBEDTLS_OID_SUBJECT_KEY_IDENTIFIER));
        p += len;
        if (found && mbedtls_asn1_get_tag(&p, next, &len, MBEDTLS_ASN1_OCTET_STRING) == 0 &&
            mbedtls_asn1_get_tag(&p, next, &len, MBEDTLS_ASN1_OCTET_STRING) == 0)
            return pl_span(p, len);
        p = next;
    }
    return pl_span(NULL, 0);
}

static enum pl_err check_issuer(const mbedtls_x509_crt *issuer, const struct pl_signer *signer,
                                struct pl_why *why)
{
    if (!issuer->ca_istrue ||
        mbedtls_x509_crt_check_key_usage(issuer, MBEDTLS_X509_KU_KEY_CERT_SIGN) != 0)
        return pl_fail_field(why, PL_EINVAL, "issuer",
                             "the issuer's certificate is not one of a certificate authority");
    struct pl_buf certified, held;
    pl_buf_init(&certified, PL_PUBLIC_KEY_MAX_BYTES);
    pl_buf_init(&held, PL_PUBLIC_KEY_MAX_BYTES);
    bool same = pl_mbed_is_p256(&issuer->pk) &&
                pl_mbed_public_der(&issuer->pk, &certified) == PL_OK &&
                pl_signer_public(signer, &held) == PL_OK &&
                pl_span_eq(pl_buf_span(&certified), pl_buf_span(&held));
    pl_buf_release(&certified);
    pl_buf_release(&held);
    return same ? PL_OK
                : pl_fail_field(why, PL_EINVAL, "issuer",
                                "the issuer's certificate and the issuer's key do not belong "
                                "together");
}

/* Signs the parts and appends the certificate in PEM. */
static enum pl_err finish(const struct pl_pki_parts *parts, struct pl_signer *signer,
                          struct pl_buf *cert_pem, struct pl_why *why)
{
    uint8_t tbs_room[CERT_MAX_BYTES], cert_room[CERT_MAX_BYTES], signature[PL_SIGNATURE_MAX_BYTES];
    unsigned char pem[2 * CERT_MAX_BYTES];
    size_t signature_len = sizeof(signature), pem_len;
    struct pl_span tbs, cert;
    enum pl_err err = pl_pki_to_be_signed(parts, tbs_room, sizeof(tbs_room), &tbs);
    if (err == PL_EINVAL)
        return pl_fail_field(why, err, "ip_names", "an IP address in the request is none");
    if (err == PL_OK)
        err = pl_sign(signer, tbs, signature, &signature_len);
    if (err == PL_OK)
        err = pl_pki_certificate(tbs, pl_span(signature, signature_len), cert_room,
                                 sizeof(cert_room), &cert);
    if (err == PL_OK)
        err = pl_mbed_err(mbedtls_pem_write_buffer("-----BEGIN CERTIFICATE-----\n",
                                                   "-----END CERTIFICATE-----\n", cert.data,
                                                   cert.len, pem, sizeof(pem), &pem_len),
                          PL_ELIMIT);
    if (err == PL_OK)
        err = pl_buf_append(cert_pem, pem, pem_len - 1); /* it counts the NUL */
    return err == PL_OK ? err
                        : pl_fail(why, err, "cannot make the certificate for '%s': %s",
                                  parts->request->common_name, pl_err_word(err));
}

static enum pl_err subject_public(struct pl_span key_pem, struct pl_buf *spki, struct pl_why *why)
{
    mbedtls_pk_context pk;
    mbedtls_pk_init(&pk);
    enum pl_err err = pl_mbed_any_key(&pk, key_pem, why);
    if (err == PL_OK) {
        err = pl_mbed_public_der(&pk, spki);
        if (err != PL_OK)
            pl_fail(why, err, "cannot encode the public key: %s", pl_err_word(err));
    } else {
        pl_fail_in(why, err, "the subject's key");
    }
    mbedtls_pk_free(&pk);
    return err;
}

enum pl_err pl_pki_issue(const struct pl_random *random, const struct pl_pki_request *request,
                         struct pl_span subject_key_pem, struct pl_span issuer_cert_pem,
                         struct pl_span issuer_key_pem, struct pl_buf *cert_pem, struct pl_why *why)
{
    bool self_signed = issuer_cert_pem.len == 0;
    if (self_signed && !request->is_ca)
        return pl_fail_field(why, PL_EINVAL, "issuer",
                             "only a certificate authority signs itself; give the issuer's "
                             "certificate and key");
    enum pl_err err = check_request(request, why);
    if (err != PL_OK)
        return err;

    uint8_t subject_id[KEY_ID_BYTES];
    /* 128 random bits behind a 1, which keeps the number positive and its form the shortest */
    uint8_t serial[17] = {1};
    struct pl_pki_parts parts = {.request = request, .serial = pl_span(serial, sizeof(serial))};
    struct pl_signer *signer = NULL;
    struct pl_buf spki;
    mbedtls_x509_crt issuer;
    mbedtls_x509_crt_init(&issuer);
    pl_buf_init(&spki, PL_PUBLIC_KEY_MAX_BYTES);
    err = subject_public(subject_key_pem, &spki, why);
    if (err != PL_OK)
        goto out;
    parts.spki = pl_buf_span(&spki);
    key_id(parts.spki, subject_id);
    parts.subject_key_id = parts.issuer_key_id = pl_span(subject_id, sizeof(subject_id));

    err = pl_signer_from_pem(&signer, self_signed ? subject_key_pem : issuer_key_pem, why);
    if (err != PL_OK) {
        pl_fail_in(why, err, "the issuer's key");
        goto out;
    }
    if (!self_signed) {
        err = parse_cert(&issuer, issuer_cert_pem, why);
        if (err == PL_OK)
            err = check_issuer(&issuer, signer, why);
        if (err != PL_OK)
            goto out;
        parts.issuer_name = pl_span(issuer.subject_raw.p, issuer.subject_raw.len);
        parts.issuer_key_id = issuer_key_id(&issuer);
    }
    err = pl_random_fill(random, serial + 1, sizeof(serial) - 1);
    err = err == PL_OK ? finish(&parts, signer, cert_pem, why)
                       : pl_fail(why, err, "the system gave no random numbers");
out:
    mbedtls_x509_crt_free(&issuer);
    pl_buf_release(&spki);
    pl_signer_free(signer);
    return err;
}

enum pl_err pl_pki_cert_public(struct pl_span cert_pem, struct pl_buf *spki_der, struct pl_why *why)
{
    mbedtls_x509_crt crt;
    mbedtls_x509_crt_init(&crt);
    enum pl_err err = parse_cert(&crt, cert_pem, why);
    if (err == PL_OK && !pl_mbed_is_p256(&crt.pk))
        err = pl_fail(why, PL_EINVAL, "the certificate's key is not ECDSA on P-256");
    if (err == PL_OK) {
        err = pl_mbed_public_der(&crt.pk, spki_der);
        if (err != PL_OK)
            pl_fail(why, err, "cannot encode the certificate's key: %s", pl_err_word(err));
    }
    mbedtls_x509_crt_free(&crt);
    return err;
}

enum pl_err pl_pki_public(struct pl_span pem, struct pl_buf *spki_der, struct pl_why *why)
{
    mbedtls_pk_context pk;
    mbedtls_pk_init(&pk);
    enum pl_err err = pl_mbed_public_key(&pk, pem, NULL);
    if (err == PL_OK)
        err = pl_mbed_public_der(&pk, spki_der);
    else if (err != PL_ENOMEM)
        err = pl_pki_cert_public(pem, spki_der, NULL);
    mbedtls_pk_free(&pk);
    return err == PL_OK ? err
                        : pl_fail(why, err,
                                  err == PL_EINVAL
                                      ? "neither a public key nor a certificate in PEM (ECDSA on "
                                        "P-256); of a private key openssl ec -pubout gives it"
                                      : "out of memory for a public key");
}

enum pl_err pl_pki_public_pem(struct pl_span spki_der, struct pl_buf *pem)
{
    unsigned char text[4 * PL_PUBLIC_KEY_MAX_BYTES];
    size_t len;
    int rc = mbedtls_pem_write_buffer("-----BEGIN PUBLIC KEY-----\n", "-----END PUBLIC KEY-----\n",
                                      spki_der.data, spki_der.len, text, sizeof(text), &len);
    return rc == 0 ? pl_buf_append(pem, text, len - 1) /* it counts the NUL */
                   : pl_mbed_err(rc, PL_ELIMIT);
}

enum pl_err pl_pki_cert_not_after(struct pl_span cert_pem, int64_t *not_after_ms,
                                  struct pl_why *why)
{
    mbedtls_x509_crt crt;
    mbedtls_x509_crt_init(&crt);
    enum pl_err err = parse_cert(&crt, cert_pem, why);
    if (err == PL_OK) {
        char text[80];
        const mbedtls_x509_time *t = &crt.valid_to;
        int len = snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02dZ", t->year, t->mon,
                           t->day, t->hour, t->min, t->sec);
        if (!pl_time_parse(pl_span(text, (size_t)len), not_after_ms))
            err = pl_fail(why, PL_EINVAL, "the certificate's end, %s, is no date", text);
    }
    mbedtls_x509_crt_free(&crt);
    return err;
}

/* RFC 5280 section 4.2.1.6. Names of other kinds are passed over. */
static enum pl_err append_host(const mbedtls_x509_buf *name, struct pl_buf *out)
{
    char text[INET6_ADDRSTRLEN];
    struct pl_span host = pl_span(name->p, name->len);
    const int kind = name->tag & MBEDTLS_ASN1_TAG_VALUE_MASK;
    if (kind == MBEDTLS_X509_SAN_IP_ADDRESS && (host.len == 4 || host.len == 16))
        host = pl_span_str(
            inet_ntop(host.len == 4 ? AF_INET : AF_INET6, host.data, text, sizeof(text)));
    else if (kind != MBEDTLS_X509_SAN_DNS_NAME)
        return PL_OK;
    for (size_t i = 0; i < host.len; i++)
        if (host.data[i] <= ' ' || host.data[i] > '~')
            return PL_OK;
    enum pl_err err = pl_buf_append_span(out, host);
    return err == PL_OK ? pl_buf_put_u8(out, '\n') : err;
}

enum pl_err pl_pki_cert_hosts(struct pl_span cert_pem, struct pl_buf *hosts, struct pl_why *why)
{
    mbedtls_x509_crt crt;
    mbedtls_x509_crt_init(&crt);
    enum pl_err err = parse_cert(&crt, cert_pem, why);
    const mbedtls_x509_sequence *at = &crt.subject_alt_names;
    for (; err == PL_OK && at != NULL && at->buf.p != NULL; at = at->next)
        if ((err = append_host(&at->buf, hosts)) != PL_OK)
            pl_fail(why, err, "the certificate's names are too many: %s", pl_err_word(err));
    mbedtls_x509_crt_free(&crt);
    return err;
}
