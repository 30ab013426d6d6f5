/*
 * dictionary: what single events are compressed with.
 *
 * Promise: a published dictionary never changes; the version of a stored value says which one it
 * needs. It holds names of fields, enumerations and typical structure, never visitors'
 * values (dictionary.mjs makes it and says of what).
 */
#ifndef POLDER_ORIGIN_VAULT_DICTIONARY_H
#define POLDER_ORIGIN_VAULT_DICTIONARY_H

#include "proto/base/compress.h"

extern const uint8_t dictionary_v1[];
extern const size_t dictionary_v1_bytes;

/* A dictionary of one's own, to be freed with pl_zstd_dict_free. PL_EUNSUPPORTED: no such
 * version here. */
enum pl_err dictionary_new(unsigned version, struct pl_zstd_dict **out);

#endif
