#include "origin/keyring/keyring_file.h"

#include "proto/base/file.h"
#include "proto/base/secret.h"
#include "proto/base/text.h"

enum pl_err keyring_kek_load(const char *file, const char *command, struct pl_buf *out,
                             struct pl_why *why)
{
    bool from_file = file != NULL && file[0] != '\0';
    bool from_command = command != NULL && command[0] != '\0';
    if (from_file == from_command)
        return pl_fail(why, PL_EINVAL,
                       "the key-encryption key comes from a file or from a command: set exactly "
                       "one of the two");
    if (from_file)
        return pl_file_read(file, "key-encryption key file", true, out, why);
    return pl_command_output(command, "key-encryption key command", out, why);
}

/* The next line without spaces around it; false at the end. */
static bool next_line(struct pl_span *rest, struct pl_span *line)
{
    if (rest->len == 0)
        return false;
    const uint8_t *end = memchr(rest->data, '\n', rest->len);
    size_t len = end == NULL ? rest->len : (size_t)(end - rest->data);
    *line = pl_span(rest->data, len);
    *rest = pl_span_from(*rest, len + 1);
    while (line->len > 0 && (line->data[0] == ' ' || line->data[0] == '\t'))
        *line = pl_span_from(*line, 1);
    while (line->len > 0 && memchr(" \t\r", line->data[line->len - 1], 3) != NULL)
        line->len--;
    return true;
}

enum pl_err keyring_keks_parse(struct keyring_keks **out, struct pl_span text, struct pl_why *why)
{
    void *memory;
    if (pl_secret_new(&memory, sizeof(struct keyring_keks)) != PL_OK)
        return pl_fail(why, PL_ENOMEM, "out of memory for key-encryption keys");
    struct keyring_keks *keks = memory;
    enum pl_err err = PL_OK;
    struct pl_span line;
    for (unsigned number = 1; err == PL_OK && next_line(&text, &line); number++) {
        if (line.len == 0 || line.data[0] == '#')
            continue;
        if (keks->count == KEYRING_KEK_LIMIT) {
            err = pl_fail(why, PL_ELIMIT,
                          "more than %d key-encryption keys: remove those that no key is wrapped "
                          "under any more",
                          KEYRING_KEK_LIMIT);
        } else if (!pl_hex_decode(line, keks->items[keks->count].key, PL_AEAD_KEY_BYTES)) {
            err = pl_fail(
                why, PL_EINVAL,
                "line %u of the key-encryption keys (in kek_file, or printed by kek_command) is "
                "not 64 hexadecimal digits",
                number);
        } else {
            uint8_t hash[PL_SHA256_BYTES];
            pl_sha256_one(pl_span(keks->items[keks->count].key, PL_AEAD_KEY_BYTES), hash);
            memcpy(keks->items[keks->count++].id, hash, 8);
        }
    }
    if (err == PL_OK && keks->count == 0)
        err =
            pl_fail(why, PL_EINVAL,
                    "no key-encryption key in kek_file, or printed by kek_command: expected a line "
                    "of 64 hexadecimal digits");
    if (err != PL_OK) {
        pl_secret_free(keks, sizeof(*keks));
        return err;
    }
    *out = keks;
    return PL_OK;
}

/* "polder key" | subject | id: a wrapped key put under another id does not unwrap. */
static struct pl_span wrap_aad(enum keyring_subject subject, const uint8_t id[8], uint8_t aad[19])
{
    memcpy(aad, "polder key", 10);
    aad[10] = (uint8_t)subject;
    memcpy(aad + 11, id, 8);
    return pl_span(aad, 19);
}

enum pl_err keyring_wrap(const struct keyring_keks *keks, const struct pl_random *random,
                         enum keyring_subject subject, const uint8_t id[8], const uint8_t key[32],
                         uint8_t wrap[KEYRING_WRAP_BYTES])
{
    uint8_t aad[19];
    struct pl_aead *aead = NULL;
    enum pl_err err = pl_random_fill(random, wrap, PL_AEAD_NONCE_BYTES);
    if (err == PL_OK)
        err = pl_aead_new(&aead, keks->items[keks->count - 1].key, PL_AEAD_KEY_BYTES);
    if (err == PL_OK)
        err = pl_aead_seal(aead, wrap, wrap_aad(subject, id, aad), pl_span(key, 32),
                           wrap + PL_AEAD_NONCE_BYTES);
    pl_aead_free(aead);
    return err;
}

enum pl_err keyring_unwrap(const struct keyring_keks *keks, const uint8_t kek_id[8],
                           enum keyring_subject subject, const uint8_t id[8],
                           const uint8_t wrap[KEYRING_WRAP_BYTES], uint8_t key[32])
{
    size_t i = 0;
    while (i < keks->count && memcmp(keks->items[i].id, kek_id, 8) != 0)
        i++;
    if (i == keks->count)
        return PL_ENOTFOUND;
    uint8_t aad[19];
    struct pl_aead *aead;
    enum pl_err err = pl_aead_new(&aead, keks->items[i].key, PL_AEAD_KEY_BYTES);
    if (err != PL_OK)
        return err;
    struct pl_span sealed =
        pl_span(wrap + PL_AEAD_NONCE_BYTES, KEYRING_WRAP_BYTES - PL_AEAD_NONCE_BYTES);
    err = pl_aead_open(aead, wrap, wrap_aad(subject, id, aad), sealed, key);
    pl_aead_free(aead);
    return err;
}
