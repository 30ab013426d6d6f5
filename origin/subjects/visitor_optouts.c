#include "origin/subjects/visitor_optouts.h"
#include "origin/families.h"

#include <string.h>

static bool is_theirs(const struct identities *identities, const uint8_t hash[ID_HASH_BYTES])
{
    for (size_t i = 0; i < identities->count; i++)
        if (!identity_is_place(&identities->list[i]) &&
            memcmp(identities->list[i].hash, hash, ID_HASH_BYTES) == 0)
            return true;
    return false;
}

enum pl_err visitor_optouts_each(struct store *store, uint64_t account,
                                 const struct identities *identities,
                                 enum pl_err (*visit)(void *ctx, const struct suppression *said),
                                 void *ctx)
{
    struct store_scan *scan;
    struct pl_span key, value;
    struct suppression said;
    uint8_t from[8], end[8];
    pl_store_u64(from, account);
    pl_store_u64(end, account + 1);
    enum pl_err err = store_scan_new(&scan, store, FAMILY_SUPPRESSIONS, pl_span(from, sizeof(from)),
                                     pl_span(end, account == UINT64_MAX ? 0 : sizeof(end)));
    while (err == PL_OK && (err = store_scan_next(scan, &key, &value)) == PL_OK) {
        err = suppression_read(key, value, &said);
        if (err == PL_OK && is_theirs(identities, said.id_hash))
            err = visit(ctx, &said);
    }
    store_scan_free(scan);
    return err == PL_ENOTFOUND ? PL_OK : err;
}

enum pl_err visitor_optouts_say(struct suppressions *suppressions, const struct pl_random *random,
                                uint64_t account, const struct identities *identities,
                                int64_t since_ms, size_t *said, struct pl_why *why)
{
    enum pl_err err = PL_OK;
    *said = 0;
    for (size_t i = 0; i < identities->count && err == PL_OK; i++) {
        const struct identity *identity = &identities->list[i];
        struct suppression one = {.account = account, .since_ms = since_ms, .active = true};
        if (identity_is_place(identity) ||
            suppressions_hold(suppressions, account, identity->hash, since_ms))
            continue;
        memcpy(one.id_hash, identity->hash, ID_HASH_BYTES);
        if (pl_id128_random(random, &one.consent_id) != PL_OK)
            return pl_fail(why, PL_EIO, "no random bytes for an opt-out");
        err = suppressions_record(suppressions, &one, why);
        *said += err == PL_OK;
    }
    return err;
}

/* Found by who said it: an account may have millions of others'. */
static enum pl_err take_back_id(struct suppressions *suppressions, uint64_t account,
                                const uint8_t hash[ID_HASH_BYTES], size_t *ended,
                                struct pl_why *why)
{
    struct suppression standing[16];
    const size_t room = sizeof(standing) / sizeof(standing[0]);
    enum pl_err err = PL_OK;
    size_t count;
    do {
        count = suppressions_standing(suppressions, account, hash, standing, room);
        for (size_t i = 0; i < count && i < room && err == PL_OK; i++) {
            standing[i].active = false;
            err = suppressions_record(suppressions, &standing[i], why);
            *ended += err == PL_OK;
        }
    } while (err == PL_OK && count > room);
    return err;
}

enum pl_err visitor_optouts_take_back(struct suppressions *suppressions, uint64_t account,
                                      const struct identities *identities, size_t *ended,
                                      struct pl_why *why)
{
    enum pl_err err = PL_OK;
    *ended = 0;
    for (size_t i = 0; i < identities->count && err == PL_OK; i++)
        if (!identity_is_place(&identities->list[i]))
            err = take_back_id(suppressions, account, identities->list[i].hash, ended, why);
    return err;
}
