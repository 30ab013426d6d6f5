#include "origin/families.h"

/* A batch has a run of each account; whole accounts are what is purged: eight bytes, less than a
 * run has in common. point_reads where keys are looked up one by one and mostly are not there.
 * Sealed values do not compress. */
const struct store_family origin_families[FAMILY_COUNT] = {
    [FAMILY_META] = {.name = "meta"},
    [FAMILY_VAULT] = {.name = "vault", .prefix_bytes = 18, .run_bytes = 9},
    [FAMILY_DEDUPE] = {.name = "dedupe", .point_reads = true, .compress = true, .run_bytes = 9},
    [FAMILY_LEDGER] = {.name = "ledger"},
    [FAMILY_CHAINS] = {.name = "chains"},
    [FAMILY_QUARANTINE] = {.name = "quarantine"},
    [FAMILY_ACCOUNTS] = {.name = "accounts"},
    [FAMILY_CONFIGS] = {.name = "configs", .compress = true},
    [FAMILY_CHANGES] = {.name = "changes", .compress = true},
    [FAMILY_EDGES] = {.name = "edges"},
    [FAMILY_TOKENS] = {.name = "tokens"},
    [FAMILY_RECORDS] = {.name = "records"},
    [FAMILY_SUPPRESSIONS] = {.name = "suppressions"},
    [FAMILY_LINKS] = {.name = "links"},
    [FAMILY_ERASURES] = {.name = "erasures"},
    [FAMILY_DAYS] = {.name = "days"},
    [FAMILY_CUTOFFS] = {.name = "cutoffs"},
    [FAMILY_HOLDS] = {.name = "holds"},
    [FAMILY_CERTIFICATES] = {.name = "certificates"},
};
