/*
 * hpke_tool: HPKE and blocks as Polder does them, for an independent implementation to talk to.
 * Hexadecimal in and out, "-" is the empty string, one answer line for each line of stdin.
 *
 *   hpke_tool seal AEAD RECIPIENT_PUBLIC SENDER_SECRET INFO    prints ENC, then
 *       AAD PLAIN            -> SEALED
 *       export CONTEXT       -> 32 bytes
 *   hpke_tool open AEAD ENC RECIPIENT_SECRET SENDER_PUBLIC INFO
 *       SEQUENCE AAD SEALED  -> PLAIN, or "refused: WORD"
 *   hpke_tool block EDGE EDGE_SECRET ORIGIN_PUBLIC INCARNATION
 *       NUMBER PREVIOUS_HASH EVENTS PLAIN -> BLOCK HASH
 *   hpke_tool open-block EDGE EDGE_PUBLIC ORIGIN_SECRET
 *       BLOCK                -> PLAIN, or "refused: WORD"
 */
#include "proto/base/text.h"
#include "proto/wire/block.h"
#include "proto/wire/limits.h"

#include <stdio.h>
#include <stdlib.h>

#define MAX_BYTES (16u * 1024 * 1024)
#define MAX_WORDS 4

static void fail(const char *what)
{
    fprintf(stderr, "hpke_tool: %s\n", what);
    exit(2);
}

static void must(enum pl_err err, const char *what)
{
    if (err != PL_OK) {
        fprintf(stderr, "hpke_tool: %s: %s\n", what, pl_err_word(err));
        exit(2);
    }
}

static void unhex(const char *text, struct pl_buf *out)
{
    pl_buf_init(out, MAX_BYTES);
    size_t len = strcmp(text, "-") == 0 ? 0 : strlen(text);
    must(pl_buf_reserve(out, len / 2 + 1), "hex");
    if (!pl_hex_decode(pl_span(text, len), out->data, len / 2))
        fail("not hexadecimal");
    out->len = len / 2;
}

static void unhex_exactly(const char *text, uint8_t *out, size_t len)
{
    if (!pl_hex_decode(pl_span_str(text), out, len))
        fail("a key, id or hash of another length than it should have");
}

static void print(struct pl_span bytes, char end)
{
    for (size_t i = 0; i < bytes.len; i++)
        printf("%02x", bytes.data[i]);
    printf("%s%c", bytes.len == 0 ? "-" : "", end);
    fflush(stdout);
}

static void answer(enum pl_err err, struct pl_span plain)
{
    if (err == PL_OK)
        print(plain, '\n');
    else
        printf("refused: %s\n", pl_err_word(err));
    fflush(stdout);
}

struct line {
    char *text;
    size_t cap;
    char *word[MAX_WORDS];
};

/* The next line of stdin, split at blanks; false at the end of input. */
static bool next_line(struct line *line, size_t words)
{
    if (getline(&line->text, &line->cap, stdin) < 0) {
        free(line->text);
        return false;
    }
    size_t n = 0;
    char *rest;
    for (char *w = strtok_r(line->text, " \n", &rest); w != NULL;
         w = strtok_r(NULL, " \n", &rest)) {
        if (n < MAX_WORDS)
            line->word[n] = w;
        n++;
    }
    if (n != words)
        fail("a line of another number of words than expected");
    return true;
}

static void seal(char **args)
{
    uint8_t recipient[32], sender[32], enc[HPKE_ENC_BYTES];
    struct pl_buf info, a, b;
    struct hpke_context *context;
    struct line line = {0};
    unhex_exactly(args[1], recipient, sizeof(recipient));
    unhex_exactly(args[2], sender, sizeof(sender));
    unhex(args[3], &info);
    must(hpke_setup_auth_sender(&context, (enum hpke_aead)atoi(args[0]), pl_random_system(),
                                recipient, sender, pl_buf_span(&info), enc),
         "set up");
    print(pl_span(enc, sizeof(enc)), '\n');
    while (next_line(&line, 2)) {
        uint64_t sequence;
        unhex(line.word[0], &a);
        unhex(line.word[1], &b);
        must(pl_buf_reserve(&b, PL_AEAD_TAG_BYTES), "seal");
        must(hpke_seal(context, pl_buf_span(&a), pl_buf_span(&b), b.data, &sequence), "seal");
        print(pl_span(b.data, b.len + PL_AEAD_TAG_BYTES), '\n');
        pl_buf_release(&a);
        pl_buf_release(&b);
    }
    hpke_free(context);
    pl_buf_release(&info);
}

static void open_sealed(char **args)
{
    uint8_t recipient[32], sender[32], enc[HPKE_ENC_BYTES];
    struct pl_buf info, aad, sealed;
    struct hpke_context *context;
    struct line line = {0};
    unhex_exactly(args[1], enc, sizeof(enc));
    unhex_exactly(args[2], recipient, sizeof(recipient));
    unhex_exactly(args[3], sender, sizeof(sender));
    unhex(args[4], &info);
    must(hpke_setup_auth_receiver(&context, (enum hpke_aead)atoi(args[0]), enc, recipient, sender,
                                  pl_buf_span(&info)),
         "set up");
    while (next_line(&line, 3)) {
        unhex(line.word[1], &aad);
        unhex(line.word[2], &sealed);
        enum pl_err err = hpke_open(context, strtoull(line.word[0], NULL, 10), pl_buf_span(&aad),
                                    pl_buf_span(&sealed), sealed.data);
        answer(err, pl_span(sealed.data, err == PL_OK ? sealed.len - PL_AEAD_TAG_BYTES : 0));
        pl_buf_release(&aad);
        pl_buf_release(&sealed);
    }
    hpke_free(context);
    pl_buf_release(&info);
}

static void block(char **args)
{
    uint8_t secret[32], origin[32], hash[BLOCK_HASH_BYTES];
    struct block_sealer_config config = {.edge_secret = secret,
                                         .origin_public = origin,
                                         .random = pl_random_system(),
                                         .clock = pl_clock_system()};
    struct block_header header = {0};
    struct block_sealer *sealer;
    struct line line = {0};
    unhex_exactly(args[0], config.edge.bytes, sizeof(config.edge.bytes));
    unhex_exactly(args[1], secret, sizeof(secret));
    unhex_exactly(args[2], origin, sizeof(origin));
    unhex_exactly(args[3], header.incarnation.bytes, sizeof(header.incarnation.bytes));
    must(block_sealer_new(&sealer, &config), "sealer");
    while (next_line(&line, 4)) {
        struct pl_buf plain, out;
        header.number = strtoull(line.word[0], NULL, 10);
        unhex_exactly(line.word[1], header.previous_hash, sizeof(header.previous_hash));
        header.events = (uint32_t)strtoul(line.word[2], NULL, 10);
        unhex(line.word[3], &plain);
        pl_buf_init(&out, LIMIT_BLOCK_BYTES);
        must(block_seal(sealer, &header, pl_buf_span(&plain), &out, hash), "seal");
        print(pl_buf_span(&out), ' ');
        print(pl_span(hash, sizeof(hash)), '\n');
        pl_buf_release(&plain);
        pl_buf_release(&out);
    }
    block_sealer_free(sealer);
}

struct keys {
    struct pl_id128 edge;
    uint8_t edge_public[32], origin_secret[32];
};

static enum pl_err seal_secret(void *ctx, const uint8_t id[BLOCK_KEY_ID_BYTES], uint8_t secret[32])
{
    const struct keys *keys = ctx;
    uint8_t origin_public[32], own[BLOCK_KEY_ID_BYTES];
    enum pl_err err = pl_x25519_public(keys->origin_secret, origin_public);
    if (err != PL_OK)
        return err;
    block_key_id(origin_public, own);
    if (memcmp(id, own, sizeof(own)) != 0)
        return PL_ENOTFOUND;
    memcpy(secret, keys->origin_secret, 32);
    return PL_OK;
}

static enum pl_err edge_public(void *ctx, const struct pl_id128 *edge, uint8_t public_key[32])
{
    const struct keys *keys = ctx;
    if (!pl_id128_eq(edge, &keys->edge))
        return PL_ENOTFOUND;
    memcpy(public_key, keys->edge_public, 32);
    return PL_OK;
}

static void open_block(char **args)
{
    struct keys keys;
    struct block_opener *opener;
    struct line line = {0};
    unhex_exactly(args[0], keys.edge.bytes, sizeof(keys.edge.bytes));
    unhex_exactly(args[1], keys.edge_public, sizeof(keys.edge_public));
    unhex_exactly(args[2], keys.origin_secret, sizeof(keys.origin_secret));
    const struct block_opener_keys callbacks = {seal_secret, edge_public, &keys};
    must(block_opener_new(&opener, &callbacks), "opener");
    while (next_line(&line, 1)) {
        struct block_header header;
        struct pl_buf bytes, plain;
        struct pl_span body;
        struct pl_why why = {0};
        unhex(line.word[0], &bytes);
        pl_buf_init(&plain, LIMIT_BLOCK_PLAIN_BYTES);
        enum pl_err err = block_parse(pl_buf_span(&bytes), &header, &body, &why);
        if (err == PL_OK)
            err = block_open(opener, &header, pl_buf_span(&bytes), &plain, &why);
        if (err != PL_OK)
            fprintf(stderr, "%s\n", why.text);
        answer(err, pl_buf_span(&plain));
        pl_buf_release(&bytes);
        pl_buf_release(&plain);
    }
    block_opener_free(opener);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int args;
        void (*run)(char **args);
    } command[] = {
        {"seal", 4, seal},
        {"open", 5, open_sealed},
        {"block", 4, block},
        {"open-block", 3, open_block},
    };
    for (size_t i = 0; i < sizeof(command) / sizeof(command[0]); i++)
        if (argc == 2 + command[i].args && strcmp(argv[1], command[i].name) == 0)
            return command[i].run(argv + 2), 0;
    fail("usage: seal | open | block | open-block, see the head of hpke_tool.c");
}
