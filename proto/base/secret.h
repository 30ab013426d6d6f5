/*
 * secret: memory for keys, and the two operations keys need: wiping and comparing.
 *
 * Promise: pl_secret_new gives zeroed pages of their own that are locked into RAM where the
 * system allows it and kept out of core dumps; pl_secret_free wipes before it unmaps. pl_wipe is
 * never optimised away; pl_equal_ct takes the same time for all contents of a length.
 */
#ifndef POLDER_PROTO_BASE_SECRET_H
#define POLDER_PROTO_BASE_SECRET_H

#include "proto/base/err.h"

#include <stdbool.h>
#include <stddef.h>

enum pl_err pl_secret_new(void **out, size_t size);
void pl_secret_free(void *secret, size_t size); /* NULL is fine */
void pl_wipe(void *p, size_t len);
bool pl_equal_ct(const void *a, const void *b, size_t len);

#endif
