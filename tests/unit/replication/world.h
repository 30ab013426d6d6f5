/*
 * world: both ends of the link in one process over loopback TLS, between a scripted spool and a
 * scripted vault, with everything they were told kept for the test to look at.
 */
#ifndef POLDER_TESTS_REPLICATION_WORLD_H
#define POLDER_TESTS_REPLICATION_WORLD_H

#include "proto/base/file.h"
#include "proto/base/pki.h"
#include "replication/receiver.h"
#include "replication/uplink.h"

#include <arpa/inet.h>
#include <ftw.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define CHAINS 3

/* ---- waiting: until a condition holds, at most so long */

static inline int64_t now_ms(void)
{
    return pl_mono_ms(pl_clock_system());
}

static inline void pass_ms(long ms)
{
    struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&ts, NULL);
}

#define UNTIL(ms, condition)                                                                       \
    do {                                                                                           \
        int64_t until_ms = now_ms() + (ms);                                                        \
        while (!(condition)) {                                                                     \
            if (now_ms() > until_ms)                                                               \
                fail_msg("not within %d ms: %s", (int)(ms), #condition);                           \
            pass_ms(2);                                                                            \
        }                                                                                          \
    } while (0)

/* What another thread writes, read or changed under its lock. */
#define READ(owner, field)                                                                         \
    __extension__({                                                                                \
        pthread_mutex_lock(&(owner)->lock);                                                        \
        __typeof__((owner)->field) read_value = (owner)->field;                                    \
        pthread_mutex_unlock(&(owner)->lock);                                                      \
        read_value;                                                                                \
    })
#define SET(owner, field, value)                                                                   \
    do {                                                                                           \
        pthread_mutex_lock(&(owner)->lock);                                                        \
        (owner)->field = (value);                                                                  \
        pthread_mutex_unlock(&(owner)->lock);                                                      \
    } while (0)

/* ---- certificates */

struct pki {
    char dir[64];
    struct pl_buf ca_key, ca_cert;
};

static inline void pki_path(const struct pki *pki, const char *name, char out[128])
{
    snprintf(out, 128, "%s/%s", pki->dir, name);
}

static inline void pki_write(const struct pki *pki, const char *name, const struct pl_buf *pem)
{
    char path[128];
    pki_path(pki, name, path);
    assert_int_equal(pl_file_replace(path, "test file", 0600, pl_buf_span(pem), NULL), PL_OK);
}

static inline void pki_issue(struct pki *pki, const char *name, const char *dns)
{
    const char *names[] = {dns, NULL};
    struct pl_why why = {0};
    struct pl_pki_request request = {.common_name = name,
                                     .dns_names = dns == NULL ? NULL : names,
                                     .not_before_ms = pl_wall_ms(pl_clock_system()) - PL_DAY_MS,
                                     .not_after_ms = pl_wall_ms(pl_clock_system()) + PL_DAY_MS};
    struct pl_buf key, cert;
    char file[64];
    pl_buf_init(&key, 65536);
    pl_buf_init(&cert, 65536);
    assert_int_equal(pl_pki_new_key(pl_random_system(), &key), PL_OK);
    if (pl_pki_issue(pl_random_system(), &request, pl_buf_span(&key), pl_buf_span(&pki->ca_cert),
                     pl_buf_span(&pki->ca_key), &cert, &why) != PL_OK)
        fail_msg("%s", why.text);
    snprintf(file, sizeof(file), "%s.key", name);
    pki_write(pki, file, &key);
    snprintf(file, sizeof(file), "%s.pem", name);
    pki_write(pki, file, &cert);
    pl_buf_release(&key);
    pl_buf_release(&cert);
}

static inline void pki_init(struct pki *pki)
{
    struct pl_why why = {0};
    struct pl_pki_request request = {.common_name = "test CA",
                                     .not_before_ms = pl_wall_ms(pl_clock_system()) - PL_DAY_MS,
                                     .not_after_ms = pl_wall_ms(pl_clock_system()) + PL_DAY_MS,
                                     .is_ca = true};
    strcpy(pki->dir, "/tmp/polder-link-XXXXXX");
    assert_non_null(mkdtemp(pki->dir));
    pl_buf_init(&pki->ca_key, 65536);
    pl_buf_init(&pki->ca_cert, 65536);
    assert_int_equal(pl_pki_new_key(pl_random_system(), &pki->ca_key), PL_OK);
    if (pl_pki_issue(pl_random_system(), &request, pl_buf_span(&pki->ca_key), pl_span(NULL, 0),
                     pl_span(NULL, 0), &pki->ca_cert, &why) != PL_OK)
        fail_msg("%s", why.text);
    pki_write(pki, "ca.pem", &pki->ca_cert);
}

static inline int pki_unlink(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

static inline void pki_release(struct pki *pki)
{
    pl_buf_release(&pki->ca_key);
    pl_buf_release(&pki->ca_cert);
    nftw(pki->dir, pki_unlink, 8, FTW_DEPTH | FTW_PHYS);
}

/* The public key of a certificate made above. */
static inline void pki_public(const struct pki *pki, const char *name, struct pl_buf *spki)
{
    char path[128], file[64];
    struct pl_buf pem;
    pl_buf_init(&pem, 65536);
    snprintf(file, sizeof(file), "%s.pem", name);
    pki_path(pki, file, path);
    assert_int_equal(pl_file_read(path, "test file", false, &pem, NULL), PL_OK);
    assert_int_equal(pl_pki_cert_public(pl_buf_span(&pem), spki, NULL), PL_OK);
    pl_buf_release(&pem);
}

/* A port nobody listens at now. */
static inline int free_port(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    close(fd);
    return ntohs(at.sin_port);
}

/* ---- the spool: chains of blocks that say their chain and number */

struct spool {
    pthread_mutex_t lock;
    struct pl_id128 id[CHAINS];
    size_t chains;
    uint64_t next[CHAINS], cap[CHAINS];
    uint8_t *verdict[CHAINS]; /* 0: none yet */
    size_t block_bytes;
    uint64_t settled, twice, books_calls;
    struct chain_record books[FRAME_CHAINS_MAX];
    size_t books_count;
    uint64_t rotten; /* of chain 0 */
    struct frame_settled cutoff;
};

static inline void spool_init(struct spool *s, size_t chains, size_t block_bytes)
{
    *s = (struct spool){.chains = chains, .block_bytes = block_bytes, .rotten = UINT64_MAX};
    pthread_mutex_init(&s->lock, NULL);
    for (size_t i = 0; i < chains; i++)
        assert_int_equal(pl_id128_random(pl_random_system(), &s->id[i]), PL_OK);
}

static inline void spool_release(struct spool *s)
{
    for (size_t i = 0; i < CHAINS; i++)
        free(s->verdict[i]);
    pthread_mutex_destroy(&s->lock);
}

static inline void spool_add(struct spool *s, size_t chain, uint64_t blocks)
{
    pthread_mutex_lock(&s->lock);
    uint64_t next = s->next[chain] + blocks;
    if (next > s->cap[chain]) {
        uint64_t cap = next * 2;
        s->verdict[chain] = realloc(s->verdict[chain], cap);
        memset(s->verdict[chain] + s->cap[chain], 0, cap - s->cap[chain]);
        s->cap[chain] = cap;
    }
    s->next[chain] = next;
    pthread_mutex_unlock(&s->lock);
}

static inline size_t spool_chain(const struct spool *s, const struct pl_id128 *incarnation)
{
    for (size_t i = 0; i < s->chains; i++)
        if (pl_id128_eq(&s->id[i], incarnation))
            return i;
    return CHAINS;
}

static inline enum pl_err spool_chains(void *ctx, struct chain_claim *out, size_t max,
                                       size_t *count)
{
    struct spool *s = ctx;
    pthread_mutex_lock(&s->lock);
    for (*count = 0; *count < s->chains && *count < max; ++*count) {
        size_t i = *count;
        uint64_t acked = 0;
        while (acked < s->next[i] && s->verdict[i][acked] != 0)
            acked++;
        out[i] = (struct chain_claim){.incarnation = s->id[i],
                                      .acked = acked,
                                      .next = s->next[i],
                                      .acked_events = acked * 3,
                                      .closed = i + 1 < s->chains};
    }
    pthread_mutex_unlock(&s->lock);
    return PL_OK;
}

static inline enum pl_err spool_read(void *ctx, const struct pl_id128 *incarnation,
                                     uint64_t *number, struct pl_buf *out, struct block_loss *loss)
{
    struct spool *s = ctx;
    size_t c = spool_chain(s, incarnation);
    enum pl_err err = PL_OK;
    pthread_mutex_lock(&s->lock);
    while (*number < s->next[c] && s->verdict[c][*number] != 0)
        ++*number;
    if (*number >= s->next[c]) {
        err = PL_ENOTFOUND;
    } else if (c == 0 && *number == s->rotten) {
        *loss = (struct block_loss){.number = *number, .events = 3};
        err = PL_ECORRUPT;
    } else {
        err = pl_buf_reserve(out, s->block_bytes);
        if (err == PL_OK) {
            uint8_t *at = out->data + out->len;
            memcpy(at, incarnation->bytes, 16);
            pl_store_u64(at + 16, *number);
            for (size_t i = 24; i < s->block_bytes; i++)
                at[i] = (uint8_t)(*number * 31 + i);
            out->len += s->block_bytes;
        }
    }
    pthread_mutex_unlock(&s->lock);
    return err;
}

static inline enum pl_err spool_verdict(void *ctx, const struct pl_id128 *incarnation,
                                        uint64_t number, enum block_verdict verdict)
{
    struct spool *s = ctx;
    size_t c = spool_chain(s, incarnation);
    pthread_mutex_lock(&s->lock);
    s->twice += s->verdict[c][number] != 0;
    s->verdict[c][number] = (uint8_t)verdict;
    s->settled++;
    pthread_mutex_unlock(&s->lock);
    return PL_OK;
}

static inline void spool_books(void *ctx, const struct chain_record *records, size_t count)
{
    struct spool *s = ctx;
    pthread_mutex_lock(&s->lock);
    s->books_calls++;
    s->books_count = count;
    memcpy(s->books, records, count * sizeof(*records));
    pthread_mutex_unlock(&s->lock);
}

static inline void spool_cutoff(void *ctx, struct frame_settled *out)
{
    struct spool *s = ctx;
    *out = READ(s, cutoff);
}

static inline uint64_t spool_settled(struct spool *s)
{
    return READ(s, settled);
}

/* ---- the catalog that follows the feed */

struct catalog {
    pthread_mutex_t lock;
    struct pl_id128 epoch;
    uint64_t position, items, pages, restarts, heard;
    bool caught_up, heard_caught_up;
    int64_t applied_ms, heard_wall_ms;
    enum pl_err fails;
};

static inline void catalog_position(void *ctx, struct pl_id128 *epoch, uint64_t *position)
{
    struct catalog *c = ctx;
    pthread_mutex_lock(&c->lock);
    *epoch = c->epoch;
    *position = c->position;
    pthread_mutex_unlock(&c->lock);
}

static inline enum pl_err catalog_apply(void *ctx, const struct pl_id128 *epoch, bool restart,
                                        uint64_t position, bool caught_up, struct pl_span items)
{
    struct catalog *c = ctx;
    pthread_mutex_lock(&c->lock);
    enum pl_err err = c->fails;
    c->fails = PL_OK;
    if (err == PL_OK) {
        c->pages++;
        c->restarts += restart;
        c->items = restart ? 0 : c->items;
        struct pl_reader r = pl_reader(items);
        while (r.rest.len > 0) {
            pl_get_span(&r, pl_get_u32(&r));
            c->items++;
        }
        c->epoch = *epoch;
        c->position = position;
        c->caught_up = caught_up;
        c->applied_ms = now_ms();
    }
    pthread_mutex_unlock(&c->lock);
    return err;
}

static inline void catalog_heard(void *ctx, int64_t origin_wall_ms, bool caught_up)
{
    struct catalog *c = ctx;
    pthread_mutex_lock(&c->lock);
    c->heard++;
    c->heard_wall_ms = origin_wall_ms;
    c->heard_caught_up = caught_up;
    pthread_mutex_unlock(&c->lock);
}

static inline uint64_t catalog_items(struct catalog *c)
{
    return READ(c, items);
}

/* ---- the vault: takes frames, at once or by a thread of its own, in any order */

enum vault_mode {
    VAULT_AT_ONCE,
    VAULT_REVERSED, /* a thread answers what has gathered, last first */
    VAULT_HELD,     /* until let go */
};

struct vault {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
    bool running;
    enum vault_mode mode;
    struct receiver_frame *held[4096];
    size_t held_count, held_peak;
    size_t held_bytes, held_bytes_peak;

    struct pl_id128 id[64]; /* chains met */
    uint8_t *seen[64];      /* 1: stored; one slot per number */
    uint64_t cap[64];
    size_t chains;
    uint64_t stored, repeats, losses, bad_bytes;
    uint64_t fork_number, retry_every, retried; /* 0: off */
    size_t block_bytes;

    struct pl_id128 epoch;
    uint64_t feed_items, feed_calls, books_calls;
    size_t feed_item_bytes;
    bool feed_broken; /* what it gives fits into no page */
    int64_t books_take_ms;
    int sessions_up, sessions_down;
    char region[16];
    struct frame_settled cutoff;

    struct pl_id128 edge; /* the one enrolled */
    bool any_edge;        /* or all of them, with its key */
    struct pl_buf edge_spki;
    bool revoked;
};

static inline uint8_t *vault_slot(struct vault *v, const struct pl_id128 *incarnation,
                                  uint64_t number)
{
    size_t i = 0;
    while (i < v->chains && !pl_id128_eq(&v->id[i], incarnation))
        i++;
    if (i == v->chains)
        v->id[v->chains++] = *incarnation;
    if (number >= v->cap[i]) {
        uint64_t cap = (number + 1) * 2;
        v->seen[i] = realloc(v->seen[i], cap);
        memset(v->seen[i] + v->cap[i], 0, cap - v->cap[i]);
        v->cap[i] = cap;
    }
    return &v->seen[i][number];
}

static inline enum block_verdict vault_judge(struct vault *v, struct pl_span block,
                                             const struct block_loss *loss)
{
    struct pl_id128 incarnation = loss->incarnation;
    uint64_t number = loss->number;
    if (block.len > 0) {
        memcpy(incarnation.bytes, block.data, 16);
        number = pl_load_u64(block.data + 16);
        for (size_t i = 24; i < block.len; i++)
            v->bad_bytes += block.data[i] != (uint8_t)(number * 31 + i);
    }
    uint8_t *slot = vault_slot(v, &incarnation, number);
    if (v->fork_number != 0 && number == v->fork_number)
        return BLOCK_FORK;
    if (v->retry_every != 0 && number % v->retry_every == 0 && *slot == 0) {
        *slot = 2; /* the next time it is taken */
        v->retried++;
        return BLOCK_RETRY;
    }
    if (*slot == 1) {
        v->repeats++;
        return BLOCK_REPEAT;
    }
    *slot = 1;
    v->losses += block.len == 0;
    v->stored += block.len > 0;
    return BLOCK_STORED;
}

static inline void vault_answer(struct vault *v, struct receiver_frame *frame)
{
    enum block_verdict verdicts[FRAME_ENTRIES_MAX];
    size_t count = receiver_frame_count(frame);
    pthread_mutex_lock(&v->lock);
    for (size_t i = 0; i < count; i++) {
        struct pl_span block;
        struct block_loss loss;
        assert_true(receiver_frame_entry(frame, i, &block, &loss));
        verdicts[i] = vault_judge(v, block, &loss);
    }
    pthread_mutex_unlock(&v->lock);
    receiver_frame_done(frame, verdicts);
}

static inline size_t frame_size(const struct receiver_frame *frame)
{
    size_t bytes = 0;
    for (size_t i = 0; i < receiver_frame_count(frame); i++) {
        struct pl_span block;
        struct block_loss loss;
        receiver_frame_entry(frame, i, &block, &loss);
        bytes += block.len;
    }
    return bytes;
}

static inline void vault_blocks(void *ctx, const struct pl_id128 *edge,
                                struct receiver_frame *frame)
{
    struct vault *v = ctx;
    assert_true(v->any_edge || pl_id128_eq(edge, &v->edge));
    pthread_mutex_lock(&v->lock);
    bool at_once = v->mode == VAULT_AT_ONCE;
    if (!at_once) {
        v->held[v->held_count++] = frame;
        v->held_bytes += frame_size(frame);
        if (v->held_count > v->held_peak)
            v->held_peak = v->held_count;
        if (v->held_bytes > v->held_bytes_peak)
            v->held_bytes_peak = v->held_bytes;
        pthread_cond_signal(&v->changed);
    }
    pthread_mutex_unlock(&v->lock);
    if (at_once)
        vault_answer(v, frame);
}

static inline void *vault_run(void *arg)
{
    struct vault *v = arg;
    struct receiver_frame *mine[4096];
    pthread_mutex_lock(&v->lock);
    while (v->running || v->held_count > 0) {
        if (v->held_count == 0 || (v->mode == VAULT_HELD && v->running)) {
            pthread_cond_wait(&v->changed, &v->lock);
            continue;
        }
        size_t count = v->held_count;
        memcpy(mine, v->held, count * sizeof(mine[0]));
        v->held_count = v->held_bytes = 0;
        pthread_mutex_unlock(&v->lock);
        for (size_t i = count; i-- > 0;)
            vault_answer(v, mine[i]);
        pthread_mutex_lock(&v->lock);
    }
    pthread_mutex_unlock(&v->lock);
    return NULL;
}

static inline void vault_mode(struct vault *v, enum vault_mode mode)
{
    pthread_mutex_lock(&v->lock);
    v->mode = mode;
    pthread_cond_broadcast(&v->changed);
    pthread_mutex_unlock(&v->lock);
}

static inline enum pl_err vault_edge_key(void *ctx, const struct pl_id128 *edge,
                                         struct pl_buf *spki)
{
    struct vault *v = ctx;
    if (!v->any_edge && !pl_id128_eq(edge, &v->edge))
        return PL_ENOTFOUND;
    pthread_mutex_lock(&v->lock);
    bool revoked = v->revoked;
    pthread_mutex_unlock(&v->lock);
    return revoked ? PL_EDENIED : pl_buf_append_span(spki, pl_buf_span(&v->edge_spki));
}

static inline enum pl_err vault_books(void *ctx, const struct pl_id128 *edge,
                                      const struct chain_claim *claims, size_t count,
                                      struct chain_record *records)
{
    struct vault *v = ctx;
    (void)edge;
    pthread_mutex_lock(&v->lock);
    int64_t take_ms = v->books_take_ms;
    v->books_calls++;
    for (size_t i = 0; i < count; i++) {
        records[i] = (struct chain_record){.incarnation = claims[i].incarnation,
                                           .contiguous = claims[i].acked,
                                           .highest = claims[i].next,
                                           .events = claims[i].acked_events,
                                           .stored = claims[i].acked_events};
    }
    pthread_mutex_unlock(&v->lock);
    if (take_ms > 0)
        pass_ms((long)take_ms); /* a slow disk */
    return PL_OK;
}

/* Item n is position n. */
static inline enum pl_err vault_feed(void *ctx, struct pl_id128 *epoch, uint64_t *position,
                                     size_t max_bytes, struct pl_buf *items, bool *caught_up)
{
    struct vault *v = ctx;
    pthread_mutex_lock(&v->lock);
    v->feed_calls++;
    *epoch = v->epoch;
    enum pl_err err = *position < v->feed_items ? PL_OK : PL_ENOTFOUND;
    while (err == PL_OK && *position < v->feed_items &&
           items->len + 4 + v->feed_item_bytes <= max_bytes) {
        pl_buf_put_u32(items, (uint32_t)v->feed_item_bytes + v->feed_broken);
        for (size_t i = 0; i < v->feed_item_bytes; i++)
            pl_buf_put_u8(items, 'i');
        ++*position;
    }
    if (err == PL_OK)
        *caught_up = *position == v->feed_items;
    pthread_mutex_unlock(&v->lock);
    return err;
}

static inline void vault_session(void *ctx, const struct pl_id128 *edge, const char *region,
                                 bool up, int64_t edge_wall_ms)
{
    struct vault *v = ctx;
    assert_true(v->any_edge || pl_id128_eq(edge, &v->edge));
    assert_true(edge_wall_ms > 0);
    pthread_mutex_lock(&v->lock);
    if (up)
        v->sessions_up++;
    else
        v->sessions_down++;
    snprintf(v->region, sizeof(v->region), "%s", region);
    pthread_mutex_unlock(&v->lock);
}

static inline void vault_cutoff(void *ctx, const struct pl_id128 *edge,
                                const struct frame_settled *settled)
{
    struct vault *v = ctx;
    assert_true(v->any_edge || pl_id128_eq(edge, &v->edge));
    SET(v, cutoff, *settled);
}

/* ---- all of it */

struct world {
    struct pki pki;
    struct spool spool;
    struct catalog catalog;
    struct vault vault;
    struct pl_log log;
    int port;
    char listen_url[64], origin_url[64], ca[128], origin_cert[128], origin_key[128], edge_cert[128],
        edge_key[128];
    struct receiver_config receiver_config;
    struct uplink_config uplink_config;
    struct receiver *receiver;
    struct uplink *uplink;
};

static inline void world_configure(struct world *w)
{
    snprintf(w->listen_url, sizeof(w->listen_url), "tls+tcp://127.0.0.1:%d", w->port);
    strcpy(w->origin_url, w->listen_url);
    pki_path(&w->pki, "ca.pem", w->ca);
    pki_path(&w->pki, "origin.pem", w->origin_cert);
    pki_path(&w->pki, "origin.key", w->origin_key);
    pki_path(&w->pki, "edge.pem", w->edge_cert);
    pki_path(&w->pki, "edge.key", w->edge_key);
    w->receiver_config = (struct receiver_config){
        .listen_url = w->listen_url,
        .ca_file = w->ca,
        .cert_file = w->origin_cert,
        .key_file = w->origin_key,
        .ops = {.ctx = &w->vault,
                .edge_key = vault_edge_key,
                .blocks = vault_blocks,
                .books = vault_books,
                .feed = vault_feed,
                .session = vault_session,
                .settled = vault_cutoff},
        .clock = pl_clock_system(),
        .random = pl_random_system(),
        .log = &w->log,
    };
    w->uplink_config = (struct uplink_config){
        .origin_url = w->origin_url,
        .server_name = "origin.test",
        .ca_file = w->ca,
        .cert_file = w->edge_cert,
        .key_file = w->edge_key,
        .edge = w->vault.edge,
        .region = "eu",
        .source = {.ctx = &w->spool,
                   .chains = spool_chains,
                   .read = spool_read,
                   .verdict = spool_verdict,
                   .books = spool_books,
                   .settled = spool_cutoff},
        .sink = {.ctx = &w->catalog,
                 .position = catalog_position,
                 .apply = catalog_apply,
                 .heard = catalog_heard},
        .clock = pl_clock_system(),
        .random = pl_random_system(),
        .log = &w->log,
    };
}

static inline struct world *world_new(size_t chains, size_t block_bytes)
{
    struct world *w = calloc(1, sizeof(*w));
    w->log = (struct pl_log){.fd = getenv("LINK_TEST_LOG") == NULL ? -1 : 2,
                             .level = PL_LOG_DEBUG,
                             .clock = pl_clock_system()};
    pki_init(&w->pki);
    pki_issue(&w->pki, "origin", "origin.test");
    pki_issue(&w->pki, "edge", NULL);
    spool_init(&w->spool, chains, block_bytes);
    pthread_mutex_init(&w->catalog.lock, NULL);
    struct vault *v = &w->vault;
    pthread_mutex_init(&v->lock, NULL);
    pthread_cond_init(&v->changed, NULL);
    v->block_bytes = block_bytes;
    v->feed_item_bytes = 20;
    pl_buf_init(&v->edge_spki, 256);
    pki_public(&w->pki, "edge", &v->edge_spki);
    assert_int_equal(pl_id128_random(pl_random_system(), &v->edge), PL_OK);
    assert_int_equal(pl_id128_random(pl_random_system(), &v->epoch), PL_OK);
    v->running = true;
    assert_int_equal(pthread_create(&v->thread, NULL, vault_run, v), 0);
    w->port = free_port();
    world_configure(w);
    return w;
}

static inline void start_receiver(struct world *w)
{
    struct pl_why why = {0};
    if (receiver_new(&w->receiver, &w->receiver_config, &why) != PL_OK ||
        receiver_start(w->receiver, &why) != PL_OK)
        fail_msg("%s", why.text);
}

static inline void stop_receiver(struct world *w)
{
    if (w->receiver == NULL)
        return;
    receiver_stop(w->receiver);
    receiver_free(w->receiver);
    w->receiver = NULL;
}

static inline void start_uplink(struct world *w)
{
    struct pl_why why = {0};
    if (uplink_new(&w->uplink, &w->uplink_config, &why) != PL_OK ||
        uplink_start(w->uplink, &why) != PL_OK)
        fail_msg("%s", why.text);
}

static inline void stop_uplink(struct world *w)
{
    if (w->uplink == NULL)
        return;
    uplink_stop(w->uplink, 0);
    uplink_free(w->uplink);
    w->uplink = NULL;
}

static inline void world_free(struct world *w)
{
    struct vault *v = &w->vault;
    stop_uplink(w);
    vault_mode(v, VAULT_REVERSED); /* lets go of what it holds */
    stop_receiver(w);
    pthread_mutex_lock(&v->lock);
    v->running = false;
    pthread_cond_broadcast(&v->changed);
    pthread_mutex_unlock(&v->lock);
    pthread_join(v->thread, NULL);
    for (size_t i = 0; i < v->chains; i++)
        free(v->seen[i]);
    pl_buf_release(&v->edge_spki);
    spool_release(&w->spool);
    pki_release(&w->pki);
    free(w);
}

static inline struct uplink_status status_of(struct world *w)
{
    struct uplink_status status;
    uplink_status(w->uplink, &status);
    return status;
}

#endif
