#include "proto/wire/signed_document.h"

#include "proto/base/text.h"

static const struct pl_span HEAD = PL_SPAN_INIT("{\"signed\":\n");
static const struct pl_span MIDDLE = PL_SPAN_INIT(",\"signature\":\"");
static const struct pl_span TAIL = PL_SPAN_INIT("\"}\n");

void signer_id(struct pl_span spki_der, uint8_t out[SIGNER_ID_BYTES])
{
    uint8_t hash[PL_SHA256_BYTES];
    pl_sha256_one(spki_der, hash);
    memcpy(out, hash, SIGNER_ID_BYTES);
}

static bool is_line(struct pl_span line)
{
    return line.len > 1 && memchr(line.data, '\n', line.len) == line.data + line.len - 1;
}

enum pl_err signed_document_put(struct pl_span line, struct pl_span signature, struct pl_buf *out)
{
    const size_t before = out->len;
    if (!is_line(line))
        return PL_EINVAL;
    enum pl_err err = pl_buf_append_span(out, HEAD);
    if (err == PL_OK)
        err = pl_buf_append_span(out, line);
    if (err == PL_OK)
        err = pl_buf_append_span(out, MIDDLE);
    if (err == PL_OK)
        err = pl_base64_encode(signature, out);
    if (err == PL_OK)
        err = pl_buf_append_span(out, TAIL);
    if (err != PL_OK)
        out->len = before;
    return err;
}

/* An INTEGER that is positive and in its shortest form (X.690 section 8.3); moves *p behind it. */
static bool skip_integer(const uint8_t **p, const uint8_t *end)
{
    const uint8_t *at = *p;
    if (end - at < 3 || at[0] != 0x02 || at[1] == 0 || at[1] > 33 || end - at < 2 + at[1])
        return false;
    if ((at[2] & 0x80) != 0 || (at[2] == 0 && (at[1] == 1 || (at[3] & 0x80) == 0)))
        return false;
    *p = at + 2 + at[1];
    return true;
}

/* Half of P-256's order: of s and n - s, which verify alike, pl_sign writes the smaller. */
static bool is_low(const uint8_t *integer)
{
    static const uint8_t half[] = {0x7f, 0xff, 0xff, 0xff, 0x80, 0x00, 0x00, 0x00, 0x7f, 0xff, 0xff,
                                   0xff, 0xff, 0xff, 0xff, 0xff, 0xde, 0x73, 0x7d, 0x56, 0xd3, 0x8b,
                                   0xcf, 0x42, 0x79, 0xdc, 0xe5, 0x61, 0x7e, 0x31, 0x92, 0xa8};
    const size_t len = integer[1];
    return len < sizeof(half) ||
           (len == sizeof(half) && memcmp(integer + 2, half, sizeof(half)) <= 0);
}

/* ECDSA-Sig-Value (RFC 5480, appendix A) as pl_sign writes it, and no other way: verifying alone
 * would also take longer forms of the same two numbers, and a second s. */
static bool is_der(struct pl_span signature)
{
    const uint8_t *p = signature.data, *end = p + signature.len;
    if (signature.len < 8 || p[0] != 0x30 || p[1] != signature.len - 2)
        return false;
    p += 2;
    if (!skip_integer(&p, end))
        return false;
    const uint8_t *s = p;
    return skip_integer(&p, end) && p == end && is_low(s);
}

static enum pl_err not_one(struct pl_why *why)
{
    return pl_fail(why, PL_EINVAL,
                   "this is no signed document, or not as it was written: three lines, the second "
                   "of them the document");
}

enum pl_err signed_document_split(struct pl_span file, struct pl_span *line,
                                  struct pl_buf *signature, struct pl_why *why)
{
    if (!pl_span_starts(file, HEAD))
        return not_one(why);
    struct pl_span rest = pl_span_from(file, HEAD.len);
    const uint8_t *end = rest.len == 0 ? NULL : memchr(rest.data, '\n', rest.len);
    if (end == NULL)
        return not_one(why);
    const struct pl_span document = pl_span(rest.data, (size_t)(end + 1 - rest.data));
    rest = pl_span_from(rest, document.len);
    if (!is_line(document) || !pl_span_starts(rest, MIDDLE) || rest.len < MIDDLE.len + TAIL.len)
        return not_one(why);
    const struct pl_span text = pl_span(rest.data + MIDDLE.len, rest.len - MIDDLE.len - TAIL.len);
    /* Decoding takes a second alphabet and does without padding. */
    if (!pl_span_eq(pl_span_from(rest, MIDDLE.len + text.len), TAIL) || text.len % 4 != 0 ||
        memchr(text.data, '-', text.len) != NULL || memchr(text.data, '_', text.len) != NULL)
        return not_one(why);
    pl_buf_reset(signature);
    enum pl_err err = pl_base64_decode(text, signature);
    if (err != PL_OK)
        return err == PL_ENOMEM ? pl_fail(why, err, "no memory for a signature") : not_one(why);
    if (!is_der(pl_buf_span(signature)))
        return not_one(why);
    *line = document;
    return PL_OK;
}

enum pl_err signed_document_open(struct pl_span file, struct pl_span spki_der, struct pl_span *line,
                                 struct pl_why *why)
{
    struct pl_buf signature;
    struct pl_span document;
    pl_buf_init(&signature, SIGNED_DOCUMENT_BYTES_MAX);
    enum pl_err err = signed_document_split(file, &document, &signature, why);
    if (err == PL_OK) {
        err = pl_verify(spki_der, document, pl_buf_span(&signature));
        if (err == PL_EAUTH)
            pl_fail(why, err,
                    "the signature does not verify: the document was changed, or another "
                    "key signed it");
        else if (err != PL_OK)
            pl_fail(why, err, "the signature cannot be verified: %s", pl_err_word(err));
    }
    pl_buf_release(&signature);
    if (err == PL_OK)
        *line = document;
    return err;
}
