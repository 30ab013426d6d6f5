/*
 * Stands in for klib's khash.h, which <h2o/http2_internal.h> includes but Debian does not install.
 * libh2o 2.2 keeps an HTTP/2 connection's streams in such a table; this room only ever holds a
 * pointer to it and walks the streams through libh2o's own callback. So the types are left
 * incomplete and the one inline function that would look into the table finds nothing: it must
 * not be called (h2o_http2_conn_get_stream).
 */
#ifndef POLDER_PROTO_HTTP_COMPAT_KHASH_H
#define POLDER_PROTO_HTTP_COMPAT_KHASH_H

#include <stdint.h>

typedef uint32_t khint_t;
typedef khint_t khiter_t;

#define khash_t(name)                     struct kh_##name
#define KHASH_MAP_INIT_INT64(name, value) struct kh_##name;
#define kh_get(name, table, key)          ((void)(table), (void)(key), (khiter_t)0)
#define kh_end(table)                     ((void)(table), (khiter_t)0)
#define kh_val(table, at)                 ((void)(table), (void)(at), (void *)0)

#endif
