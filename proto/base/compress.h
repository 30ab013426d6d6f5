/*
 * compress: zstd for what Polder stores and sends, gzip and brotli for what browsers ask for.
 *
 * Promise: a decompressor never writes more than the caller allowed, whatever the input claims;
 * corrupt input is PL_ECORRUPT. Contexts are single-owner and reused, because making one costs
 * more than a small event does. A dictionary is immutable and shared by any number of threads.
 */
#ifndef POLDER_PROTO_BASE_COMPRESS_H
#define POLDER_PROTO_BASE_COMPRESS_H

#include "proto/base/buf.h"

struct pl_zstd_dict;
/* Copies. level as in zstd. dict.data may be any bytes (raw content), or what
 * zstd --train made: with its entropy tables frames of small inputs come out a third smaller. */
enum pl_err pl_zstd_dict_new(struct pl_zstd_dict **out, struct pl_span dict, int level);
void pl_zstd_dict_free(struct pl_zstd_dict *dict);
struct pl_zstd; /* one compressor and one decompressor */
enum pl_err pl_zstd_new(struct pl_zstd **out, int level);
void pl_zstd_free(struct pl_zstd *z);
/* Appends one frame to out. dict may be NULL; with one, its level counts. No checksum and no
 * dictionary id are written: what is stored is authenticated elsewhere. */
enum pl_err pl_zstd_compress(struct pl_zstd *z, const struct pl_zstd_dict *dict, struct pl_span in,
                             struct pl_buf *out);
/* Appends at most max_bytes; PL_ELIMIT beyond. */
enum pl_err pl_zstd_decompress(struct pl_zstd *z, const struct pl_zstd_dict *dict,
                               struct pl_span in, size_t max_bytes, struct pl_buf *out);

/* Whole bodies, best ratio; milliseconds for tens of KiB: not for a loop thread. */
enum pl_err pl_gzip(struct pl_span in, struct pl_buf *out);
enum pl_err pl_brotli(struct pl_span in, struct pl_buf *out);

#endif
