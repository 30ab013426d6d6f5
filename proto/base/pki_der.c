#include "proto/base/pki_der.h"

#include "proto/base/clock.h"

#include <arpa/inet.h>
#include <mbedtls/asn1write.h>
#include <mbedtls/oid.h>
#include <stdio.h>

#define TAG_SEQUENCE    (MBEDTLS_ASN1_CONSTRUCTED | MBEDTLS_ASN1_SEQUENCE)
#define TAG_SET         (MBEDTLS_ASN1_CONSTRUCTED | MBEDTLS_ASN1_SET)
#define TAG_CONTEXT(n)  (MBEDTLS_ASN1_CONTEXT_SPECIFIC | (n))
#define TAG_EXPLICIT(n) (MBEDTLS_ASN1_CONTEXT_SPECIFIC | MBEDTLS_ASN1_CONSTRUCTED | (n))

/*
 * Certificates are written here with mbedTLS' ASN.1 primitives and not by its x509write_crt:
 * that one puts a NULL behind the ecdsa-with-SHA256 identifier, where RFC 5758 section 3.2 allows
 * nothing and Chromium accepts nothing, and cannot carry an issuer's name over byte by byte.
 *
 * DER is written from the back, so that every length is known when its turn comes: read the
 * functions that build it bottom-up. A failure sticks and is looked at once.
 */
struct der {
    uint8_t *start;
    uint8_t *p;
    int rc;
};

static void der_raw(struct der *d, struct pl_span bytes)
{
    if (d->rc >= 0)
        d->rc = mbedtls_asn1_write_raw_buffer(&d->p, d->start, bytes.data, bytes.len);
}

/* Length and tag in front of all that was written since p was at `end`. */
static void der_wrap(struct der *d, const uint8_t *end, int tag)
{
    if (d->rc >= 0)
        d->rc = mbedtls_asn1_write_len(&d->p, d->start, (size_t)(end - d->p));
    if (d->rc >= 0)
        d->rc = mbedtls_asn1_write_tag(&d->p, d->start, (unsigned char)tag);
}

static void der_value(struct der *d, int tag, struct pl_span bytes)
{
    const uint8_t *end = d->p;
    der_raw(d, bytes);
    der_wrap(d, end, tag);
}

#define OID_SPAN(oid) pl_span(oid, MBEDTLS_OID_SIZE(oid))

static void der_oid(struct der *d, struct pl_span oid)
{
    der_value(d, MBEDTLS_ASN1_OID, oid);
}

static void der_signature_algorithm(struct der *d)
{
    const uint8_t *end = d->p;
    der_oid(d, OID_SPAN(MBEDTLS_OID_ECDSA_SHA256));
    der_wrap(d, end, TAG_SEQUENCE);
}

static void der_bit_string(struct der *d, uint8_t unused_bits, struct pl_span bytes)
{
    const uint8_t *end = d->p;
    der_raw(d, bytes);
    der_raw(d, pl_span(&unused_bits, 1));
    der_wrap(d, end, MBEDTLS_ASN1_BIT_STRING);
}

/* Name ::= one RDN, the common name as UTF8String. */
static void der_name(struct der *d, const char *common_name)
{
    const uint8_t *end = d->p;
    der_value(d, MBEDTLS_ASN1_UTF8_STRING, pl_span_str(common_name));
    der_oid(d, OID_SPAN(MBEDTLS_OID_AT_CN));
    der_wrap(d, end, TAG_SEQUENCE);
    der_wrap(d, end, TAG_SET);
    der_wrap(d, end, TAG_SEQUENCE);
}

/* UTCTime through 2049, GeneralizedTime after (RFC 5280 section 4.1.2.5). */
static void der_time(struct der *d, int64_t wall_ms)
{
    char iso[PL_TIME_TEXT], digits[16];
    pl_time_format(wall_ms, iso);
    int len = snprintf(digits, sizeof(digits), "%.4s%.2s%.2s%.2s%.2s%.2sZ", iso, iso + 5, iso + 8,
                       iso + 11, iso + 14, iso + 17);
    bool short_year = memcmp(iso, "2050", 4) < 0;
    der_value(d, short_year ? MBEDTLS_ASN1_UTC_TIME : MBEDTLS_ASN1_GENERALIZED_TIME,
              pl_span_from(pl_span(digits, (size_t)len), short_year ? 2 : 0));
}

/* Closes an extension whose value was written since p was at `end`. */
static void der_extension(struct der *d, const uint8_t *end, struct pl_span oid, bool critical)
{
    static const uint8_t yes = 0xff;
    der_wrap(d, end, MBEDTLS_ASN1_OCTET_STRING);
    if (critical)
        der_value(d, MBEDTLS_ASN1_BOOLEAN, pl_span(&yes, 1));
    der_oid(d, oid);
    der_wrap(d, end, TAG_SEQUENCE);
}

static size_t count_names(const char *const *names)
{
    size_t count = 0;
    while (names != NULL && names[count] != NULL)
        count++;
    return count;
}

static bool der_alternative_names(struct der *d, const struct pl_pki_request *r)
{
    const uint8_t *end = d->p;
    for (size_t i = count_names(r->ip_names); i-- > 0;) {
        uint8_t address[16];
        size_t len = 4;
        if (inet_pton(AF_INET, r->ip_names[i], address) != 1) {
            len = 16;
            if (inet_pton(AF_INET6, r->ip_names[i], address) != 1)
                return false;
        }
        der_value(d, TAG_CONTEXT(7), pl_span(address, len));
    }
    for (size_t i = count_names(r->dns_names); i-- > 0;)
        der_value(d, TAG_CONTEXT(2), pl_span_str(r->dns_names[i]));
    if (d->p == end)
        return true;
    der_wrap(d, end, TAG_SEQUENCE);
    der_extension(d, end, OID_SPAN(MBEDTLS_OID_SUBJECT_ALT_NAME), false);
    return true;
}

static void der_key_ids(struct der *d, const struct pl_pki_parts *parts)
{
    const uint8_t *end = d->p;
    if (parts->issuer_key_id.len > 0) {
        der_value(d, TAG_CONTEXT(0), parts->issuer_key_id);
        der_wrap(d, end, TAG_SEQUENCE);
        der_extension(d, end, OID_SPAN(MBEDTLS_OID_AUTHORITY_KEY_IDENTIFIER), false);
    }
    end = d->p;
    der_value(d, MBEDTLS_ASN1_OCTET_STRING, parts->subject_key_id);
    der_extension(d, end, OID_SPAN(MBEDTLS_OID_SUBJECT_KEY_IDENTIFIER), false);
}

static void der_usage(struct der *d, bool is_ca)
{
    static const uint8_t sign_certs = 0x06, sign_data = 0x80, yes = 0xff;
    const uint8_t *end = d->p;
    if (!is_ca) { /* an edge is a server to browsers and a client to the origin */
        der_oid(d, OID_SPAN(MBEDTLS_OID_CLIENT_AUTH));
        der_oid(d, OID_SPAN(MBEDTLS_OID_SERVER_AUTH));
        der_wrap(d, end, TAG_SEQUENCE);
        der_extension(d, end, OID_SPAN(MBEDTLS_OID_EXTENDED_KEY_USAGE), false);
    }
    end = d->p;
    der_bit_string(d, is_ca ? 1 : 7, pl_span(is_ca ? &sign_certs : &sign_data, 1));
    der_extension(d, end, OID_SPAN(MBEDTLS_OID_KEY_USAGE), true);
    end = d->p;
    if (is_ca)
        der_value(d, MBEDTLS_ASN1_BOOLEAN, pl_span(&yes, 1));
    der_wrap(d, end, TAG_SEQUENCE);
    der_extension(d, end, OID_SPAN(MBEDTLS_OID_BASIC_CONSTRAINTS), true);
}

static bool der_extensions(struct der *d, const struct pl_pki_parts *parts)
{
    const uint8_t *end = d->p;
    der_key_ids(d, parts);
    if (!der_alternative_names(d, parts->request))
        return false;
    der_usage(d, parts->request->is_ca);
    der_wrap(d, end, TAG_SEQUENCE);
    der_wrap(d, end, TAG_EXPLICIT(3));
    return true;
}

/* TBSCertificate, RFC 5280 section 4.1. */
static bool der_to_be_signed(struct der *d, const struct pl_pki_parts *parts)
{
    static const uint8_t version_3 = 2;
    const struct pl_pki_request *r = parts->request;
    const uint8_t *end = d->p;
    if (!der_extensions(d, parts))
        return false;
    der_raw(d, parts->spki);
    der_name(d, r->common_name);
    const uint8_t *mark = d->p;
    der_time(d, r->not_after_ms);
    der_time(d, r->not_before_ms);
    der_wrap(d, mark, TAG_SEQUENCE);
    if (parts->issuer_name.len > 0)
        der_raw(d, parts->issuer_name);
    else
        der_name(d, r->common_name);
    der_signature_algorithm(d);
    der_value(d, MBEDTLS_ASN1_INTEGER, parts->serial);
    mark = d->p;
    der_value(d, MBEDTLS_ASN1_INTEGER, pl_span(&version_3, 1));
    der_wrap(d, mark, TAG_EXPLICIT(0));
    der_wrap(d, end, TAG_SEQUENCE);
    return true;
}

enum pl_err pl_pki_to_be_signed(const struct pl_pki_parts *parts, uint8_t *room, size_t size,
                                struct pl_span *tbs)
{
    struct der d = {.start = room, .p = room + size};
    if (!der_to_be_signed(&d, parts))
        return PL_EINVAL;
    if (d.rc < 0)
        return PL_ELIMIT;
    *tbs = pl_span(d.p, (size_t)(room + size - d.p));
    return PL_OK;
}

enum pl_err pl_pki_certificate(struct pl_span tbs, struct pl_span signature, uint8_t *room,
                               size_t size, struct pl_span *certificate)
{
    struct der d = {.start = room, .p = room + size};
    const uint8_t *end = d.p;
    der_bit_string(&d, 0, signature);
    der_signature_algorithm(&d);
    der_raw(&d, tbs);
    der_wrap(&d, end, TAG_SEQUENCE);
    if (d.rc < 0)
        return PL_ELIMIT;
    *certificate = pl_span(d.p, (size_t)(end - d.p));
    return PL_OK;
}
