/* certificate_tool DIR: a certificate of deletion with something in every member, as an origin
 * issues it: DIR/certificate.json. DIR/sign.key is the origin's key, which exists already. */
#include "origin/families.h"
#include "origin/lifecycle/certificate.h"
#include "origin/lifecycle/clock_freezes.h"
#include "proto/base/file.h"

#include <stdio.h>
#include <stdlib.h>

#define ACCOUNT UINT64_C(0x0123456789abcdef)
#define T(days) (INT64_C(1767225600000) + (days)*PL_DAY_MS) /* days after 2026-01-01 */

static struct pl_why why;

static void must(enum pl_err err, const char *what)
{
    if (err != PL_OK) {
        fprintf(stderr, "certificate_tool: %s: %s %s\n", what, pl_err_word(err), why.text);
        exit(1);
    }
}

static char *path(const char *dir, const char *name)
{
    char *out = malloc(strlen(dir) + strlen(name) + 2);
    if (out == NULL)
        exit(1);
    sprintf(out, "%s/%s", dir, name);
    return out;
}

static struct store *open_store(const char *dir, const struct pl_log *log)
{
    struct store *store;
    char *data = path(dir, "data");
    const struct store_config config = {.path = data,
                                        .families = origin_families,
                                        .family_count = FAMILY_COUNT,
                                        .cache_bytes = 1u << 20,
                                        .write_buffer_bytes = 8u << 20,
                                        .background_threads = 1,
                                        .log = log};
    must(store_open(&store, &config, &why), "store");
    free(data);
    return store;
}

static struct keyring *open_keyring(const char *dir, const struct pl_log *log)
{
    struct keyring *keyring;
    struct pl_buf signer;
    char *first = path(dir, "keyring-1"), *second = path(dir, "keyring-2");
    char *key = path(dir, "sign.key");
    pl_buf_init(&signer, 16384);
    must(pl_file_read(key, "signing key", true, &signer, &why), "signing key");
    const struct keyring_config config = {
        .paths = (const char *[]){first, second},
        .path_count = 2,
        .create = true,
        .kek_text =
            PL_SPAN_LIT("00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n"),
        .signer_pem = pl_buf_span(&signer),
        .clock = pl_clock_system(),
        .random = pl_random_system(),
        .log = log};
    must(keyring_open(&keyring, &config, &why), "keyring");
    pl_buf_wipe(&signer);
    free(first);
    free(second);
    free(key);
    return keyring;
}

static void destroy_keys(struct keyring *keyring, struct certificate_facts *facts)
{
    uint8_t public_key[PL_X25519_BYTES];
    must(keyring_new_key(keyring, ACCOUNT, &why), "data key");
    must(keyring_destroy(keyring, ACCOUNT, "expired 2026-01-01T00:00:00.000Z", &facts->key, &why),
         "data key");
    must(keyring_new_seal_key(keyring, public_key, &why), "sealing key");
    block_key_id(public_key, facts->seals[0].id);
    must(keyring_destroy_seal_key(keyring, facts->seals[0].id, "its time was over",
                                  &facts->seals[0].destruction, &why),
         "sealing key");
    facts->seal_count = 1;
}

int main(int argc, char **argv)
{
    static struct certificate_edge edges[] = {
        {.name = "eu-1", .region = "eu", .confirmed_ms = T(51)},
        {.name = "us-1",
         .region = "us",
         .written_off_ms = T(85),
         .reason = "not heard of since 2026-01-12; its sealing keys are destroyed"},
    };
    static struct certificate_facts facts = {
        .account = ACCOUNT,
        .created_ms = T(-100),
        .expired_ms = T(0),
        .limit_ms = T(90),
        .started_ms = T(50),
        .dropped_ms = T(50) + 2000,
        .gone_ms = T(50) + 9000,
        .edges_ms = T(85),
        .ended_ms = T(91),
        .keyring_paths = 2,
        .counts = {{"events", true, 12345, 6789000}, {"links", false, 0, 0}},
        .count_count = 2,
        .cutoff_position = 77,
        .edges = edges,
        .edge_count = 2,
        .delays = {{"hold", T(20), T(40), "\u00a7 147 AO"}},
        .delay_count = 1,
        .audit_sequence = 4711,
    };
    const struct pl_log log = {.fd = 2, .level = PL_LOG_ERROR, .clock = pl_clock_system()};
    struct clock_freeze freeze;
    struct pl_buf out;
    if (argc != 2) {
        fprintf(stderr, "usage: certificate_tool DIR\n");
        return 2;
    }
    char *file = path(argv[1], "certificate.json");
    struct store *store = open_store(argv[1], &log);
    struct keyring *keyring = open_keyring(argv[1], &log);
    pl_buf_init(&out, CERTIFICATE_BYTES_MAX);
    must(clock_freeze_begin(store, T(60), "the clock showed another year", &freeze, &why),
         "freeze");
    must(clock_freeze_end(store, &freeze, T(61), "two edges agreed", &why), "freeze");
    destroy_keys(keyring, &facts);
    must(certificate_issue(store, keyring, &facts, &out, &why), "certificate");
    must(pl_file_create(file, "certificate", 0644, pl_buf_span(&out), &why), "certificate");
    pl_buf_release(&out);
    keyring_close(keyring);
    store_close(store);
    free(file);
    return 0;
}
