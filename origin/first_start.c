#include "origin/first_start.h"
#include "origin/families.h"

#define FORMAT "1"

static const struct pl_span FORMAT_KEY = PL_SPAN_INIT("format");
/* Which sealing key edges have been told of last. */
static const struct pl_span ANNOUNCED_KEY = PL_SPAN_INIT("seal-key-announced");

enum pl_err first_start_check_format(struct store *store, bool *is_new, struct pl_why *why)
{
    struct pl_buf value;
    pl_buf_init(&value, 64);
    enum pl_err err = store_get(store, FAMILY_META, FORMAT_KEY, &value);
    if (err == PL_OK || err == PL_ENOTFOUND) {
        *is_new = err == PL_ENOTFOUND;
        err = *is_new || pl_span_eq_str(pl_buf_span(&value), FORMAT)
                  ? PL_OK
                  : pl_fail(why, PL_EUNSUPPORTED,
                            "the database has format %.*s, this program knows " FORMAT
                            ": run the version that wrote it",
                            PL_SPAN_FMT(pl_buf_span(&value)));
    } else {
        err = pl_fail(why, err, "cannot read the database's format: %s", pl_err_word(err));
    }
    pl_buf_release(&value);
    return err;
}

static enum pl_err write_announcement(struct store *store, struct changelog *changelog,
                                      const uint8_t seal_public[PL_X25519_BYTES],
                                      struct pl_why *why)
{
    struct store_batch *batch;
    struct catalog_item item = {.kind = CATALOG_SEAL_KEY};
    enum pl_err err = store_batch_new(&batch);
    if (err != PL_OK) {
        return pl_fail(why, err, "no memory for a change");
    }
    memcpy(item.seal_public, seal_public, sizeof(item.seal_public));
    store_batch_put(batch, store, FAMILY_META, ANNOUNCED_KEY,
                    pl_span(seal_public, PL_X25519_BYTES));
    store_batch_put(batch, store, FAMILY_META, FORMAT_KEY, PL_SPAN_LIT(FORMAT));
    err = changelog_write(changelog, batch, &item, why);
    store_batch_free(batch);
    return err;
}

enum pl_err first_start_announce(struct store *store, struct keyring *keyring,
                                 struct changelog *changelog, struct pl_why *why)
{
    uint8_t seal_public[PL_X25519_BYTES];
    struct pl_buf announced;
    enum pl_err err = keyring_current_seal_key(keyring, seal_public);
    if (err != PL_OK) {
        return pl_fail(why, err, "the keyring has no sealing key");
    }
    pl_buf_init(&announced, 64);
    err = store_get(store, FAMILY_META, ANNOUNCED_KEY, &announced);
    if (err == PL_ENOTFOUND ||
        (err == PL_OK &&
         !pl_span_eq(pl_buf_span(&announced), pl_span(seal_public, sizeof(seal_public))))) {
        err = write_announcement(store, changelog, seal_public, why);
    } else if (err != PL_OK) {
        err =
            pl_fail(why, err, "cannot read which sealing key was announced: %s", pl_err_word(err));
    }
    pl_buf_release(&announced);
    return err;
}

enum pl_err first_start_finish(struct store *store, struct keyring *keyring,
                               struct changelog *changelog, const struct pl_log *log,
                               struct pl_why *why)
{
    uint8_t seal_public[PL_X25519_BYTES];
    enum pl_err err = keyring_current_seal_key(keyring, seal_public);
    if (err == PL_ENOTFOUND) {
        pl_log(log, PL_LOG_INFO, "node", "making the origin's first sealing key");
        err = keyring_new_seal_key(keyring, seal_public, why);
    }
    return err == PL_OK ? first_start_announce(store, keyring, changelog, why)
                        : pl_fail_in(why, err, "the sealing key");
}
