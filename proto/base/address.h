/*
 * address: "127.0.0.1:8080" or "[::1]:8080", as listeners are written in options; and how the
 * link's are.
 *
 * Promise: accepts numeric addresses only to listen at, so that what is bound never depends on a
 * resolver.
 */
#ifndef POLDER_PROTO_BASE_ADDRESS_H
#define POLDER_PROTO_BASE_ADDRESS_H

#include "proto/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PL_ADDRESS_HOST_BYTES 46 /* the longest IPv6 text and the NUL */

struct pl_address {
    char host[PL_ADDRESS_HOST_BYTES]; /* without brackets */
    uint16_t port;                    /* 0: the system picks */
};

/* key names the option in the error. PL_EINVAL says what is expected. */
enum pl_err pl_address_parse(const char *text, const char *key, struct pl_address *out,
                             struct pl_why *why);

/* A listener's option; text empty: it is not set. */
struct pl_address_option {
    const char *key, *text;
};
/* Parses those that are set, and takes no two that one process cannot listen at together. PL_EINVAL
 * names the option, or both. */
enum pl_err pl_address_check_all(const struct pl_address_option *options, size_t count,
                                 struct pl_why *why);

#define PL_LINK_PREFIX "tls+tcp://"
/* Whether that is PL_LINK_PREFIX HOST:PORT, as an edge finds its origin; names are not resolved. */
bool pl_link_url_is(const char *text);

#endif
