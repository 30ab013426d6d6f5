/* Events with visitors and message ids of their own, sealed into blocks as edges would, and the
 * rows that intake makes of them. */
#include "proto/base/pki.h"
#include "tests/bench/bench_intake.h"

#define VISITORS           4000 /* at a time */
#define EVENTS_PER_VISITOR 12
#define BLOCK_EVENTS       256 /* what group commit gathers from 256 connections */
#define EVENTS_PER_MS      100

static int64_t wall_ms(void *ctx)
{
    (void)ctx;
    return MATERIAL_MS + PL_MINUTE_MS;
}

static int64_t mono_ms(void *ctx)
{
    (void)ctx;
    return pl_mono_ms(pl_clock_system());
}

const struct pl_clock *material_clock(void)
{
    static const struct pl_clock clock = {.wall_ms = wall_ms, .mono_ms = mono_ms};
    return &clock;
}

static uint64_t roll(struct material *m)
{
    m->dice ^= m->dice << 13; /* xorshift64 */
    m->dice ^= m->dice >> 7;
    m->dice ^= m->dice << 17;
    return m->dice;
}

static void uuid(struct material *m, char out[PL_UUID_TEXT])
{
    uint64_t a = roll(m), b = roll(m);
    snprintf(out, PL_UUID_TEXT, "%08x-%04x-4%03x-a%03x-%012llx", (unsigned)(a & 0xffffffff),
             (unsigned)(a >> 32 & 0xffff), (unsigned)(a >> 48 & 0xfff), (unsigned)(b & 0xfff),
             (unsigned long long)(b >> 16));
}

void *room_for(size_t count, size_t size)
{
    void *room = calloc(count, size);
    if (room == NULL)
        bench_must(PL_ENOMEM, "the events", NULL);
    return room;
}

static void open_keyring(struct material *m, const char *dir)
{
    char first[4096], second[4096];
    const char *paths[2] = {first, second};
    struct pl_buf signer;
    struct pl_why why = {0};
    pl_buf_init(&signer, 4096);
    bench_must(pl_path_join(first, sizeof(first), dir, "keyring-1"), dir, NULL);
    bench_must(pl_path_join(second, sizeof(second), dir, "keyring-2"), dir, NULL);
    bench_must(pl_pki_new_key(pl_random_system(), &signer), "signing key", NULL);
    struct keyring_config config = {
        .paths = paths,
        .path_count = 2,
        .create = true,
        .kek_text = PL_SPAN_LIT("00112233445566778899aabbccddeeff"
                                "00112233445566778899aabbccddeeff\n"),
        .signer_pem = pl_buf_span(&signer),
        .clock = material_clock(),
        .random = pl_random_system(),
        .log = &complaints,
    };
    bench_must(keyring_open(&m->keyring, &config, &why), "keyring", &why);
    bench_must(vault_sealer_new(&m->vault, m->keyring, 0), "vault", NULL);
    for (size_t i = 0; i < ACCOUNTS; ++i) {
        bench_must(pl_account_random(pl_random_system(), &m->accounts[i]), "account", NULL);
        bench_must(keyring_new_key(m->keyring, m->accounts[i], &why), "account", &why);
    }
    pl_buf_release(&signer);
}

static void open_edges(struct material *m)
{
    uint8_t origin_public[PL_X25519_BYTES], secret[PL_X25519_BYTES];
    struct pl_why why = {0};
    bench_must(keyring_new_seal_key(m->keyring, origin_public, &why), "sealing key", &why);
    for (size_t i = 0; i < EDGES; ++i) {
        struct edge *edge = &m->edges[i];
        bench_must(pl_x25519_keypair(pl_random_system(), secret, edge->public_key), "key", NULL);
        bench_must(pl_id128_random(pl_random_system(), &edge->id), "edge", NULL);
        bench_must(pl_id128_random(pl_random_system(), &edge->header.incarnation), "edge", NULL);
        struct block_sealer_config config = {
            .edge = edge->id,
            .edge_secret = secret,
            .origin_public = origin_public,
            .random = pl_random_system(),
            .clock = material_clock(),
        };
        bench_must(block_sealer_new(&edge->sealer, &config), "sealer", NULL);
        pl_buf_init(&edge->plain, LIMIT_BLOCK_PLAIN_BYTES);
    }
}

/* Makes the event number i of an old one: another visitor, another message. */
static void renew(struct material *m, struct event *event, size_t i, char message[64])
{
    struct visitor *visitor = &m->visitors[roll(m) % VISITORS];
    char id[PL_UUID_TEXT];
    if (visitor->account == 0 || roll(m) % EVENTS_PER_VISITOR == 0) {
        uint64_t skew = roll(m) % ACCOUNTS;
        visitor->account = m->accounts[roll(m) % (skew + 1)]; /* some shops are larger */
        uuid(m, visitor->id);
        visitor->user[0] = '\0';
        if (roll(m) % 5 == 0)
            snprintf(visitor->user, sizeof(visitor->user), "kd-%llu",
                     (unsigned long long)(100000 + roll(m) % 9000000));
    }
    uuid(m, id);
    snprintf(message, 64, "ajs-next-%013zu-%s", (size_t)MATERIAL_MS + i, id);
    event_set_u64(event, EVENT_ACCOUNT, visitor->account);
    event_set_str(event, EVENT_VISITOR_ID, pl_span_str(visitor->id));
    event_unset(event, EVENT_USER_ID);
    if (visitor->user[0] != '\0')
        event_set_str(event, EVENT_USER_ID, pl_span_str(visitor->user));
    event_set_str(event, EVENT_MESSAGE_ID, pl_span_str(message));
    event_set_i64(event, EVENT_ACCEPTED_MS, MATERIAL_MS + (int64_t)(i / EVENTS_PER_MS));
}

static void seal_block(struct material *m, size_t edge_index)
{
    struct edge *edge = &m->edges[edge_index];
    struct sealed_block *block = &m->block[m->block_count];
    uint8_t hash[BLOCK_HASH_BYTES];
    if (edge->header.events == 0)
        return;
    block->edge = edge_index;
    block->at = m->blocks.len;
    block->events = edge->header.events;
    bench_must(block_seal(edge->sealer, &edge->header, pl_buf_span(&edge->plain), &m->blocks, hash),
               "a block", NULL);
    block->len = m->blocks.len - block->at;
    m->block_count++;
    memcpy(edge->header.previous_hash, hash, sizeof(hash));
    edge->header.number++;
    edge->header.events = 0;
    pl_buf_reset(&edge->plain);
}

static void make_events(struct material *m, struct pl_span encoded)
{
    struct event_reader *reader;
    struct event *event = room_for(1, sizeof(*event));
    struct pl_span rest = encoded;
    struct pl_why why = {0};
    char message[64];
    bench_must(event_reader_new(&reader), "reader", NULL);
    for (size_t i = 0; i < m->events; ++i) {
        size_t at = i / BLOCK_EVENTS % EDGES;
        struct edge *edge = &m->edges[at];
        if (rest.len == 0)
            rest = encoded;
        bench_must(event_read(reader, &rest, event, NULL, &why), "encoded events", &why);
        renew(m, event, i, message);
        size_t before = edge->plain.len;
        bench_must(event_encode(event, &edge->plain), "an event", NULL);
        struct row *row = &m->rows[i];
        struct vault_place place = {.index = (uint32_t)i};
        bench_must(vault_key_of(m->vault, event, &place, &row->key), "a key", NULL);
        row->at = m->values.len;
        bench_must(vault_seal(m->vault, &row->key, pl_span_from(pl_buf_span(&edge->plain), before),
                              &m->values),
                   "a value", NULL);
        row->len = m->values.len - row->at;
        if (++edge->header.events == BLOCK_EVENTS)
            seal_block(m, at);
    }
    for (size_t i = 0; i < EDGES; ++i)
        seal_block(m, i);
    event_reader_free(reader);
    free(event);
}

void material_make(struct material *m, const char *dir, struct pl_span encoded, size_t events)
{
    m->dice = 88172645463325252ULL;
    m->events = events;
    m->visitors = room_for(VISITORS, sizeof(*m->visitors));
    m->rows = room_for(m->events, sizeof(*m->rows));
    m->block = room_for(m->events / BLOCK_EVENTS + EDGES + 1, sizeof(*m->block));
    pl_buf_init(&m->blocks, SIZE_MAX / 4);
    pl_buf_init(&m->values, SIZE_MAX / 4);
    open_keyring(m, dir);
    open_edges(m);
    make_events(m, encoded);
}
