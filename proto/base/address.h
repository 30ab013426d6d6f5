/*
 * address: "127.0.0.1:8080" or "[::1]:8080", as listeners are written in options.
 *
 * Promise: accepts numeric addresses only, so that what is bound never depends on a resolver.
 */
#ifndef POLDER_PROTO_BASE_ADDRESS_H
#define POLDER_PROTO_BASE_ADDRESS_H

#include "proto/base/err.h"

#include <stdint.h>

#define PL_ADDRESS_HOST_BYTES 46 /* the longest IPv6 text and the NUL */

struct pl_address {
    char host[PL_ADDRESS_HOST_BYTES]; /* without brackets */
    uint16_t port;                    /* 0: the system picks */
};

/* key names the option in the error. PL_EINVAL says what is expected. */
enum pl_err pl_address_parse(const char *text, const char *key, struct pl_address *out,
                             struct pl_why *why);

#endif
