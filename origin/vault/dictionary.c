#include "origin/vault/dictionary.h"

/* A better ratio takes more time than it saves in encryption and writing. */
#define LEVEL 3

enum pl_err dictionary_new(unsigned version, struct pl_zstd_dict **out)
{
    if (version != 1)
        return PL_EUNSUPPORTED;
    return pl_zstd_dict_new(out, pl_span(dictionary_v1, dictionary_v1_bytes), LEVEL);
}
