#include "proto/base/compress.h"

#include <brotli/encode.h>
#include <limits.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

struct pl_zstd_dict {
    ZSTD_CDict *compress;
    ZSTD_DDict *decompress;
};

struct pl_zstd {
    ZSTD_CCtx *compress;
    ZSTD_DCtx *decompress;
};

enum pl_err pl_zstd_dict_new(struct pl_zstd_dict **out, struct pl_span dict, int level)
{
    struct pl_zstd_dict *d = calloc(1, sizeof(*d));
    if (d == NULL)
        return PL_ENOMEM;
    d->compress = ZSTD_createCDict(dict.data, dict.len, level);
    d->decompress = ZSTD_createDDict(dict.data, dict.len);
    if (d->compress == NULL || d->decompress == NULL) {
        pl_zstd_dict_free(d);
        return PL_ENOMEM;
    }
    *out = d;
    return PL_OK;
}

void pl_zstd_dict_free(struct pl_zstd_dict *dict)
{
    if (dict == NULL)
        return;
    ZSTD_freeCDict(dict->compress);
    ZSTD_freeDDict(dict->decompress);
    free(dict);
}

enum pl_err pl_zstd_new(struct pl_zstd **out, int level)
{
    struct pl_zstd *z = calloc(1, sizeof(*z));
    if (z == NULL)
        return PL_ENOMEM;
    z->compress = ZSTD_createCCtx();
    z->decompress = ZSTD_createDCtx();
    enum pl_err err = PL_ENOMEM;
    if (z->compress == NULL || z->decompress == NULL)
        goto out;
    err = PL_EINVAL;
    if (ZSTD_isError(ZSTD_CCtx_setParameter(z->compress, ZSTD_c_compressionLevel, level)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(z->compress, ZSTD_c_checksumFlag, 0)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(z->compress, ZSTD_c_dictIDFlag, 0)))
        goto out;
    *out = z;
    return PL_OK;
out:
    pl_zstd_free(z);
    return err;
}

void pl_zstd_free(struct pl_zstd *z)
{
    if (z == NULL)
        return;
    ZSTD_freeCCtx(z->compress);
    ZSTD_freeDCtx(z->decompress);
    free(z);
}

static enum pl_err from_zstd(size_t code, enum pl_err otherwise)
{
    switch (ZSTD_getErrorCode(code)) {
    case ZSTD_error_no_error:
        return PL_OK;
    case ZSTD_error_memory_allocation:
        return PL_ENOMEM;
    case ZSTD_error_dstSize_tooSmall:
        return PL_ELIMIT;
    default:
        return otherwise;
    }
}

/* Room for `bytes`, or for as much as the limit leaves: the encoder's upper bound is rarely met. */
static enum pl_err reserve_up_to(struct pl_buf *out, size_t bytes)
{
    size_t room = out->max_bytes - out->len;
    return pl_buf_reserve(out, bytes < room ? bytes : room);
}

/* RFC 8878 section 3.1.1.1: telling the size replaces the window descriptor, one byte, by one
 * byte under 256 and by two up to 65,791; beyond, the three bytes are worth an exact reserve. */
static bool tell_size(size_t len)
{
    return len < 256 || len > 65791;
}

enum pl_err pl_zstd_compress(struct pl_zstd *z, const struct pl_zstd_dict *dict, struct pl_span in,
                             struct pl_buf *out)
{
    enum pl_err err = reserve_up_to(out, ZSTD_compressBound(in.len));
    if (err != PL_OK)
        return err;
    /* A frame that failed for want of room leaves the context in the middle of it. */
    size_t rc = ZSTD_CCtx_reset(z->compress, ZSTD_reset_session_only);
    if (!ZSTD_isError(rc))
        rc = ZSTD_CCtx_setParameter(z->compress, ZSTD_c_contentSizeFlag, tell_size(in.len));
    if (!ZSTD_isError(rc))
        rc = ZSTD_CCtx_refCDict(z->compress, dict == NULL ? NULL : dict->compress);
    if (!ZSTD_isError(rc))
        rc =
            ZSTD_compress2(z->compress, out->data + out->len, out->cap - out->len, in.data, in.len);
    if (ZSTD_isError(rc))
        return from_zstd(rc, PL_EINVAL);
    out->len += rc;
    return PL_OK;
}

/* One attempt with room for at most `room` bytes. */
static enum pl_err decompress_into(struct pl_zstd *z, const struct pl_zstd_dict *dict,
                                   struct pl_span in, size_t room, struct pl_buf *out)
{
    enum pl_err err = pl_buf_reserve(out, room);
    if (err != PL_OK)
        return err;
    uint8_t *p = out->data == NULL ? NULL : out->data + out->len;
    size_t rc = dict == NULL ? ZSTD_decompressDCtx(z->decompress, p, room, in.data, in.len)
                             : ZSTD_decompress_usingDDict(z->decompress, p, room, in.data, in.len,
                                                          dict->decompress);
    if (ZSTD_isError(rc))
        return from_zstd(rc, PL_ECORRUPT);
    out->len += rc;
    return PL_OK;
}

enum pl_err pl_zstd_decompress(struct pl_zstd *z, const struct pl_zstd_dict *dict,
                               struct pl_span in, size_t max_bytes, struct pl_buf *out)
{
    static const uint8_t magic[] = {0x28, 0xb5, 0x2f, 0xfd}; /* else a skippable frame */
    /* One frame and nothing after it: what does not belong must not pass unseen. */
    if (!pl_span_starts(in, pl_span(magic, sizeof(magic))) ||
        ZSTD_findFrameCompressedSize(in.data, in.len) != in.len)
        return PL_ECORRUPT;
    unsigned long long told = ZSTD_getFrameContentSize(in.data, in.len);
    if (told == ZSTD_CONTENTSIZE_ERROR)
        return PL_ECORRUPT;
    size_t limit = out->max_bytes - out->len;
    if (limit > max_bytes)
        limit = max_bytes;
    if (told != ZSTD_CONTENTSIZE_UNKNOWN)
        return told > limit ? PL_ELIMIT : decompress_into(z, dict, in, (size_t)told, out);

    size_t room = in.len > 128 ? in.len * 8 : 1024;
    for (;; room *= 4) {
        if (room > limit)
            room = limit;
        enum pl_err err = decompress_into(z, dict, in, room, out);
        if (err != PL_ELIMIT || room == limit)
            return err;
    }
}

enum pl_err pl_gzip(struct pl_span in, struct pl_buf *out)
{
    if (in.len > UINT_MAX)
        return PL_ELIMIT;
    z_stream s = {0};
    /* 15 window bits, +16 for the gzip wrapper (RFC 1952) */
    if (deflateInit2(&s, Z_BEST_COMPRESSION, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY) != Z_OK)
        return PL_ENOMEM;
    enum pl_err err = reserve_up_to(out, deflateBound(&s, in.len));
    if (err != PL_OK)
        goto out;
    size_t room = out->cap - out->len;
    s.next_in = (Bytef *)(uintptr_t)in.data; /* zlib only reads it */
    s.avail_in = (uInt)in.len;
    s.next_out = out->data + out->len;
    s.avail_out = room > UINT_MAX ? UINT_MAX : (uInt)room;
    if (deflate(&s, Z_FINISH) == Z_STREAM_END)
        out->len += s.total_out;
    else
        err = PL_ELIMIT;
out:
    deflateEnd(&s);
    return err;
}

enum pl_err pl_brotli(struct pl_span in, struct pl_buf *out)
{
    enum pl_err err = reserve_up_to(out, BrotliEncoderMaxCompressedSize(in.len));
    if (err != PL_OK)
        return err;
    size_t used = out->cap - out->len;
    /* It has one failure for "no room" and "no memory"; room is the likelier by far. */
    if (!BrotliEncoderCompress(BROTLI_MAX_QUALITY, BROTLI_DEFAULT_WINDOW, BROTLI_MODE_TEXT, in.len,
                               in.data, &used, out->data + out->len))
        return PL_ELIMIT;
    out->len += used;
    return PL_OK;
}
