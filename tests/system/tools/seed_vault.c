/* seed_vault CONFIG ACCOUNT COUNT: puts COUNT events into the vault of an origin that is not
 * running, as its intake would have, so that tests of reading need no edge. The i-th event has
 * the message id "seed-i" and stands on 2026-01-01 plus i % 3 days. */
#include "origin/accounts/day_counts.h"
#include "origin/families.h"
#include "origin/options.h"
#include "origin/vault/vault.h"
#include "proto/base/file.h"

#include <stdio.h>
#include <stdlib.h>

#define FIRST_MS INT64_C(1767225600000) /* 2026-01-01T00:00:00Z */
#define DAYS     3

struct seed {
    struct origin_options options;
    struct pl_log log;
    struct store *store;
    struct keyring *keyring;
    struct vault_sealer *sealer;
    struct store_batch *batch;
    struct pl_buf encoded, value;
    struct day_counts *counts;
    struct day_counts_sum days[DAYS]; /* of what is in the batch */
};

static enum pl_err open_keyring(struct seed *seed, struct pl_why *why)
{
    struct pl_buf kek, signer;
    pl_buf_init(&kek, KEYRING_KEK_TEXT_LIMIT);
    pl_buf_init(&signer, 65536);
    enum pl_err err =
        keyring_kek_load(seed->options.kek_file, seed->options.kek_command, &kek, why);
    if (err == PL_OK)
        err = pl_file_read(seed->options.sign_key_file, "signing key", true, &signer, why);
    if (err == PL_OK) {
        struct keyring_config config = {.paths =
                                            (const char *const *)seed->options.keyring_paths.items,
                                        .path_count = seed->options.keyring_paths.count,
                                        .kek_text = pl_buf_span(&kek),
                                        .signer_pem = pl_buf_span(&signer),
                                        .clock = pl_clock_system(),
                                        .random = pl_random_system(),
                                        .log = &seed->log};
        err = keyring_open(&seed->keyring, &config, why);
    }
    pl_buf_wipe(&kek);
    pl_buf_wipe(&signer);
    return err;
}

static enum pl_err open_all(struct seed *seed, const char *config, struct pl_why *why)
{
    enum pl_err err = origin_options_load(config, &seed->options, why);
    if (err != PL_OK)
        return err;
    struct store_config store = {.path = seed->options.data_dir,
                                 .families = origin_families,
                                 .family_count = FAMILY_COUNT,
                                 .cache_bytes = 1u << 20,
                                 .write_buffer_bytes = 32u << 20,
                                 .background_threads = 1,
                                 .log = &seed->log};
    if ((err = store_open(&seed->store, &store, why)) == PL_OK &&
        (err = open_keyring(seed, why)) == PL_OK &&
        (err = vault_sealer_new(&seed->sealer, seed->keyring, 0)) == PL_OK)
        err = store_batch_new(&seed->batch);
    return err == PL_OK ? day_counts_new(&seed->counts, seed->store) : err;
}

static enum pl_err put(struct seed *seed, uint64_t account, uint32_t i)
{
    char message[32], visitor[32];
    struct vault_key key;
    struct vault_place place = {.index = i};
    struct event *event = calloc(1, sizeof(*event));
    if (event == NULL)
        return PL_ENOMEM;
    snprintf(message, sizeof(message), "seed-%u", i);
    snprintf(visitor, sizeof(visitor), "visitor-%u", i % 100);
    event_set_u64(event, EVENT_ACCOUNT, account);
    event_set_u64(event, EVENT_TYPE, EVENT_CUSTOM);
    event_set_u64(event, EVENT_DIALECT, EVENT_DIALECT_SEGMENT);
    event_set_i64(event, EVENT_ACCEPTED_MS, FIRST_MS + (int64_t)(i % DAYS) * PL_DAY_MS + i);
    event_set_str(event, EVENT_MESSAGE_ID, pl_span_str(message));
    event_set_str(event, EVENT_VISITOR_ID, pl_span_str(visitor));
    event_set_str(event, EVENT_PAGE_URL, PL_SPAN_LIT("https://shop.example/products/blue-chair"));
    pl_buf_reset(&seed->encoded);
    pl_buf_reset(&seed->value);
    enum pl_err err = event_encode(event, &seed->encoded);
    if (err == PL_OK)
        err = vault_key_of(seed->sealer, event, &place, &key);
    if (err == PL_OK)
        err = vault_seal(seed->sealer, &key, pl_buf_span(&seed->encoded), &seed->value);
    if (err == PL_OK)
        store_batch_put(seed->batch, seed->store, FAMILY_VAULT, vault_key_span(&key),
                        pl_buf_span(&seed->value));
    seed->days[i % DAYS].events++;
    seed->days[i % DAYS].bytes += sizeof(key.bytes) + seed->value.len;
    free(event);
    return err;
}

static enum pl_err write_batch(struct seed *seed, uint64_t account, struct pl_why *why)
{
    enum pl_err err = PL_OK;
    for (int day = 0; day < DAYS && err == PL_OK; day++)
        err = day_counts_stored(seed->counts, seed->batch, account, pl_day_of(FIRST_MS) + day,
                                seed->days[day].events, seed->days[day].bytes);
    if (err == PL_OK)
        err = store_write(seed->store, seed->batch, true, why);
    store_batch_clear(seed->batch);
    memset(seed->days, 0, sizeof(seed->days));
    return err;
}

static enum pl_err put_all(struct seed *seed, uint64_t account, uint64_t count, struct pl_why *why)
{
    enum pl_err err = PL_OK;
    for (uint32_t i = 0; err == PL_OK && i < count; i++) {
        err = put(seed, account, i);
        if (err == PL_OK && (i % 1000 == 999 || i + 1 == count))
            err = write_batch(seed, account, why);
    }
    return err;
}

int main(int argc, char **argv)
{
    struct seed seed = {.log = {.fd = 2, .level = PL_LOG_WARN, .clock = pl_clock_system()}};
    struct pl_why why = {0};
    uint64_t account, count;
    if (argc != 4 || !pl_account_parse(pl_span_str(argv[2]), &account) ||
        !pl_span_to_u64(pl_span_str(argv[3]), &count) || count > UINT32_MAX) {
        fprintf(stderr, "usage: seed_vault CONFIG ACCOUNT COUNT\n");
        return 2;
    }
    pl_buf_init(&seed.encoded, LIMIT_EVENT_WIRE_BYTES);
    pl_buf_init(&seed.value, 2 * LIMIT_EVENT_WIRE_BYTES);
    enum pl_err err = open_all(&seed, argv[1], &why);
    if (err == PL_OK)
        err = put_all(&seed, account, count, &why);
    if (err != PL_OK)
        fprintf(stderr, "seed_vault: %s: %s\n", pl_err_word(err), why.text);
    store_batch_free(seed.batch);
    day_counts_free(seed.counts);
    vault_sealer_free(seed.sealer);
    keyring_close(seed.keyring);
    store_close(seed.store);
    origin_options_release(&seed.options);
    pl_buf_release(&seed.encoded);
    pl_buf_release(&seed.value);
    return err == PL_OK ? 0 : 1;
}
