#include "edge/families.h"

#include "proto/base/file.h"

#include <limits.h>

#define MIB ((size_t)1024 * 1024)

static const struct store_family families[EDGE_FAMILY_COUNT] = {
    [EDGE_BLOCKS] = {.name = "blocks", .short_lived = true},
    [EDGE_MARKS] = {.name = "marks", .short_lived = true},
    [EDGE_CHAINS] = {.name = "chains"},
    [EDGE_QUARANTINE] = {.name = "quarantine"},
    [EDGE_CATALOG] = {.name = "catalog", .compress = true},
    [EDGE_SUPPRESSIONS] = {.name = "suppressions"},
};

enum pl_err edge_store_open(struct store **out, const char *data_dir, const struct pl_log *log,
                            struct pl_why *why)
{
    char path[PATH_MAX];
    if (pl_path_join(path, sizeof(path), data_dir, "store") != PL_OK)
        return pl_fail_field(why, PL_ELIMIT, "data_dir", "data_dir is too long a path");
    struct store_config config = {
        .path = path,
        .families = families,
        .family_count = EDGE_FAMILY_COUNT,
        .recovery = STORE_RECOVER_SKIP_CORRUPT,
        /* Blocks are written once, read once soon and deleted: memory is for those under way,
         * a cache would only hold what nobody asks for again. */
        .cache_bytes = 2 * MIB,
        .write_buffer_bytes = 16 * MIB,
        .background_threads = 2,
        .log = log,
    };
    return store_open(out, &config, why);
}
