#include "origin/accounts/tokens.h"
#include "origin/families.h"
#include "origin/request.h"
#include "proto/base/secret.h"
#include "proto/base/text.h"

#include <pthread.h>
#include <stdlib.h>

#define TOKEN_PREFIX "pt_"
#define TOKENS_MAX   10000
/* Of those that have ended, the newest are kept for so long: a late guest is told what became of
 * its token, and the audit log whose it was. */
#define ENDED_MAX     1000
#define ENDED_KEPT_MS (100 * PL_DAY_MS)

struct tokens {
    struct store *store;
    const struct pl_clock *clock;
    const struct pl_random *random;
    struct redo *redo; /* NULL: there is none */
    bool has_bootstrap;
    uint8_t bootstrap_hash[PL_SHA256_BYTES];
    pthread_mutex_t changing; /* one change at a time, over its write too */
    bool stale;               /* under `changing`: a write failed, which may turn up after all */
    pthread_rwlock_t lock;    /* the table; changed only under `changing` */
    struct token_record *table;
    size_t count;
};

static const struct {
    enum token_role role;
    const char *name;
} roles[] = {
    {ROLE_OPERATOR, "operator"},
    {ROLE_OWNER, "owner"},
    {ROLE_AUDITOR, "auditor"},
};

const char *token_role_name(enum token_role role)
{
    for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
        if (roles[i].role == role) {
            return roles[i].name;
        }
    }
    return "unknown";
}

static enum pl_err read_role(struct json object, enum token_role *role, struct pl_why *why)
{
    char name[32] = "";
    enum pl_err err = request_text(object, "role", name, sizeof(name), why);
    if (err != PL_OK) {
        return err;
    }
    for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
        if (strcmp(roles[i].name, name) == 0) {
            *role = roles[i].role;
            return PL_OK;
        }
    }
    return pl_fail_field(why, PL_EINVAL, "role", "role must be operator, owner or auditor");
}

/* What requests and records have in common. */
static enum pl_err read_token(struct json object, struct token_record *token, struct pl_why *why)
{
    enum pl_err err;
    memset(token, 0, sizeof(*token));
    if ((err = read_role(object, &token->role, why)) != PL_OK ||
        (err = request_account(object, "account", &token->account, why)) != PL_OK ||
        (err = request_text(object, "name", token->name, sizeof(token->name), why)) != PL_OK ||
        (err = request_time(object, "expires_at", &token->expires_at_ms, why)) != PL_OK) {
        return err;
    }
    if ((token->role == ROLE_OWNER) != (token->account != 0)) {
        return pl_fail_field(why, PL_EINVAL, "account",
                             token->role == ROLE_OWNER ? "account is missing: an owner has one"
                                                       : "only an owner's token has an account");
    }
    return PL_OK;
}

static void write_members(const struct token_record *token, struct json_writer *w)
{
    json_write_pair_hex(w, "id", pl_span(token->id.bytes, sizeof(token->id.bytes)));
    json_write_pair_text(w, "role", token_role_name(token->role));
    if (token->account != 0) {
        json_write_pair_account(w, "account", token->account);
    }
    json_write_pair_text(w, "name", token->name);
    json_write_pair_time(w, "created_at", token->created_ms);
    json_write_pair_time(w, "expires_at", token->expires_at_ms);
    json_write_pair_time(w, "revoked_at", token->revoked_ms);
}

void token_write_json(const struct token_record *token, const char *text, struct json_writer *w)
{
    json_write_object(w);
    write_members(token, w);
    if (text != NULL) {
        json_write_pair_text(w, "token", text);
    }
    json_write_object_end(w);
}

static enum pl_err add(struct tokens *tokens, const struct token_record *token)
{
    struct token_record *grown =
        reallocarray(tokens->table, tokens->count + 1, sizeof(*tokens->table));
    if (grown == NULL) {
        return PL_ENOMEM;
    }
    tokens->table = grown;
    tokens->table[tokens->count++] = *token;
    return PL_OK;
}

static enum pl_err load(void *ctx, struct pl_span key, struct json record, struct pl_why *why)
{
    struct token_record token;
    enum pl_err err;
    (void)key;
    if ((err = read_token(record, &token, why)) != PL_OK ||
        (err = request_id128(record, "id", &token.id, why)) != PL_OK ||
        (err = request_hex(record, "hash", token.hash, sizeof(token.hash), why)) != PL_OK ||
        (err = request_time(record, "created_at", &token.created_ms, why)) != PL_OK ||
        (err = request_time(record, "revoked_at", &token.revoked_ms, why)) != PL_OK) {
        return pl_fail_in(why, err, "a stored token");
    }
    return add(ctx, &token);
}

/* Under `changing`. */
static enum pl_err catch_up(struct tokens *tokens, struct pl_why *why)
{
    struct tokens fresh = {.store = tokens->store};
    if (!tokens->stale) {
        return PL_OK;
    }
    enum pl_err err = store_sync(tokens->store, why); /* fails until the store has recovered */
    if (err == PL_OK) {
        err = request_each_record(tokens->store, FAMILY_TOKENS, load, &fresh, why);
    }
    if (err != PL_OK) {
        free(fresh.table);
        return err;
    }
    pthread_rwlock_wrlock(&tokens->lock);
    free(tokens->table);
    tokens->table = fresh.table;
    tokens->count = fresh.count;
    pthread_rwlock_unlock(&tokens->lock);
    tokens->stale = false;
    return PL_OK;
}

enum pl_err tokens_open(struct tokens **out, struct store *store, const char *bootstrap_hash_hex,
                        const struct pl_clock *clock, const struct pl_random *random,
                        struct pl_why *why)
{
    struct tokens *tokens = calloc(1, sizeof(*tokens));
    if (tokens == NULL) {
        return pl_fail(why, PL_ENOMEM, "no memory for the tokens");
    }
    tokens->store = store;
    tokens->clock = clock;
    tokens->random = random;
    pthread_mutex_init(&tokens->changing, NULL);
    pthread_rwlock_init(&tokens->lock, NULL);
    enum pl_err err = PL_OK;
    if (bootstrap_hash_hex != NULL && bootstrap_hash_hex[0] != '\0') {
        tokens->has_bootstrap =
            pl_hex_decode(pl_span_str(bootstrap_hash_hex), tokens->bootstrap_hash,
                          sizeof(tokens->bootstrap_hash));
        if (!tokens->has_bootstrap) {
            err = pl_fail_field(why, PL_EINVAL, "bootstrap_token_sha256",
                                "bootstrap_token_sha256 must be 64 hex digits: the SHA-256 of the "
                                "operator's token");
        }
    }
    if (err == PL_OK) {
        err = request_each_record(store, FAMILY_TOKENS, load, tokens, why);
    }
    if (err != PL_OK) {
        tokens_close(tokens);
        return err;
    }
    *out = tokens;
    return PL_OK;
}

void tokens_close(struct tokens *tokens)
{
    if (tokens != NULL) {
        pthread_rwlock_destroy(&tokens->lock);
        pthread_mutex_destroy(&tokens->changing);
        free(tokens->table);
        free(tokens);
    }
}

static enum pl_err save(struct tokens *tokens, const struct token_record *token, struct pl_why *why)
{
    struct json_writer *w = NULL;
    struct pl_buf bytes;
    pl_buf_init(&bytes, 4096);
    enum pl_err err = json_writer_new(&w, false);
    if (err == PL_OK) {
        json_writer_begin(w, &bytes);
        json_write_object(w);
        write_members(token, w);
        json_write_pair_hex(w, "hash", pl_span(token->hash, sizeof(token->hash)));
        json_write_object_end(w);
        err = json_writer_end(w);
    }
    if (err == PL_OK) {
        const struct redo_change change = {
            .record = {.kind = token->revoked_ms != 0 ? REDO_TOKEN : REDO_CHANGE,
                       .what = token->revoked_ms != 0 ? NULL : "token",
                       .account = token->account,
                       .id = token->id},
            .store = tokens->store,
            .family = FAMILY_TOKENS,
            .key = pl_span(token->id.bytes, sizeof(token->id.bytes)),
            .row = pl_buf_span(&bytes),
        };
        err = redo_make(tokens->redo, &change, why);
        tokens->stale = err != PL_OK;
    } else {
        err = pl_fail(why, err, "the token cannot be recorded: %s", pl_err_word(err));
    }
    json_writer_free(w);
    pl_buf_release(&bytes);
    return err;
}

void tokens_note_to(struct tokens *tokens, struct redo *redo)
{
    tokens->redo = redo;
}

static enum pl_err make_text(struct tokens *tokens, char text[TOKEN_TEXT_BYTES],
                             uint8_t hash[PL_SHA256_BYTES])
{
    uint8_t secret[32];
    enum pl_err err = pl_random_fill(tokens->random, secret, sizeof(secret));
    if (err == PL_OK) {
        memcpy(text, TOKEN_PREFIX, strlen(TOKEN_PREFIX));
        pl_hex_encode(pl_span(secret, sizeof(secret)), text + strlen(TOKEN_PREFIX));
        pl_sha256_one(pl_span_str(text), hash);
    }
    pl_wipe(secret, sizeof(secret));
    return err;
}

static bool is_live(const struct token_record *token, int64_t now_ms)
{
    return token->revoked_ms == 0 && (token->expires_at_ms == 0 || token->expires_at_ms > now_ms);
}

/* 0: it has not. */
static int64_t ended_ms(const struct token_record *token, int64_t now_ms)
{
    return is_live(token, now_ms)   ? 0
           : token->revoked_ms != 0 ? token->revoked_ms
                                    : token->expires_at_ms;
}

/* Under `changing`. */
static size_t count_live(const struct tokens *tokens, int64_t now_ms)
{
    size_t live = 0;
    for (size_t i = 0; i < tokens->count; i++) {
        live += is_live(&tokens->table[i], now_ms);
    }
    return live;
}

/* ---- those that go */

typedef bool (*condemn_fn)(const struct token_record *token, const void *arg);

static bool is_owner_of(const struct token_record *token, const void *account)
{
    return token->account == *(const uint64_t *)account;
}

struct end {
    int64_t now_ms, until_ms;
};

static bool ended_until(const struct token_record *token, const void *arg)
{
    const struct end *end = arg;
    const int64_t at_ms = ended_ms(token, end->now_ms);
    return at_ms != 0 && at_ms <= end->until_ms;
}

/* Under `changing`. */
static enum pl_err delete_rows(struct tokens *tokens, condemn_fn condemn, const void *arg,
                               size_t *count, struct pl_why *why)
{
    struct store_batch *batch = NULL;
    enum pl_err err = store_batch_new(&batch);
    if (err != PL_OK) {
        return pl_fail(why, err, "no memory for a change of the tokens");
    }
    *count = 0;
    for (size_t i = 0; i < tokens->count; i++) {
        const struct token_record *token = &tokens->table[i];
        if (condemn(token, arg)) {
            store_batch_delete(batch, tokens->store, FAMILY_TOKENS,
                               pl_span(token->id.bytes, sizeof(token->id.bytes)));
            ++*count;
        }
    }
    if (*count > 0) {
        err = store_write(tokens->store, batch, true, why);
        tokens->stale = err != PL_OK;
    }
    store_batch_free(batch);
    return err;
}

/* Under `changing`. */
static enum pl_err delete_if(struct tokens *tokens, condemn_fn condemn, const void *arg,
                             size_t *count, struct pl_why *why)
{
    enum pl_err err = delete_rows(tokens, condemn, arg, count, why);
    if (err == PL_OK && *count > 0) {
        size_t kept = 0;
        pthread_rwlock_wrlock(&tokens->lock);
        for (size_t i = 0; i < tokens->count; i++) {
            if (!condemn(&tokens->table[i], arg)) {
                tokens->table[kept++] = tokens->table[i];
            }
        }
        tokens->count = kept;
        pthread_rwlock_unlock(&tokens->lock);
    }
    return err;
}

static int by_time(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Under `changing`: so that there is room for one more, and every request finds its token in a
 * table that does not grow for ever. */
static enum pl_err drop_ended(struct tokens *tokens, int64_t now_ms, struct pl_why *why)
{
    struct end end = {.now_ms = now_ms, .until_ms = now_ms - ENDED_KEPT_MS};
    size_t ended = 0, dropped;
    int64_t *times = calloc(tokens->count + 1, sizeof(*times));
    if (times == NULL) {
        return pl_fail(why, PL_ENOMEM, "no memory for a change of the tokens");
    }
    for (size_t i = 0; i < tokens->count; i++) {
        times[ended] = ended_ms(&tokens->table[i], now_ms);
        ended += times[ended] != 0;
    }
    qsort(times, ended, sizeof(*times), by_time);
    if (ended > ENDED_MAX && times[ended - ENDED_MAX - 1] > end.until_ms) {
        end.until_ms = times[ended - ENDED_MAX - 1];
    }
    free(times);
    return delete_if(tokens, ended_until, &end, &dropped, why);
}

/* ---- changes */

enum pl_err tokens_create(struct tokens *tokens, struct json request, struct token_record *out,
                          char text[TOKEN_TEXT_BYTES], struct pl_why *why)
{
    static const char *const members[] = {"role", "account", "name", "expires_at", NULL};
    struct token_record token;
    enum pl_err err;
    if ((err = request_only(request, members, why)) != PL_OK ||
        (err = read_token(request, &token, why)) != PL_OK) {
        return err;
    }
    token.created_ms = pl_wall_ms(tokens->clock);
    if (token.expires_at_ms != 0 && token.expires_at_ms <= token.created_ms) {
        return pl_fail_field(why, PL_EINVAL, "expires_at", "expires_at has passed already");
    }
    if ((err = pl_id128_random(tokens->random, &token.id)) != PL_OK ||
        (err = make_text(tokens, text, token.hash)) != PL_OK) {
        return pl_fail(why, err, "no random bytes for a token");
    }
    pthread_mutex_lock(&tokens->changing);
    err = catch_up(tokens, why);
    if (err == PL_OK) {
        err = drop_ended(tokens, token.created_ms, why);
    }
    if (err == PL_OK && count_live(tokens, token.created_ms) >= TOKENS_MAX) {
        err =
            pl_fail(why, PL_ELIMIT, "there are %d tokens, as many as an origin keeps", TOKENS_MAX);
    }
    if (err == PL_OK) {
        err = save(tokens, &token, why);
    }
    if (err == PL_OK) {
        pthread_rwlock_wrlock(&tokens->lock);
        err = add(tokens, &token);
        tokens->stale = err != PL_OK;
        pthread_rwlock_unlock(&tokens->lock);
    }
    pthread_mutex_unlock(&tokens->changing);
    if (err == PL_OK) {
        *out = token;
    } else {
        pl_wipe(text, TOKEN_TEXT_BYTES);
    }
    return err;
}

enum pl_err tokens_revoke(struct tokens *tokens, const struct pl_id128 *id, struct pl_why *why)
{
    struct token_record *token = NULL;
    pthread_mutex_lock(&tokens->changing);
    enum pl_err err = catch_up(tokens, why);
    for (size_t i = 0; i < tokens->count; i++) {
        if (pl_id128_eq(&tokens->table[i].id, id)) {
            token = &tokens->table[i];
        }
    }
    if (err == PL_OK && token == NULL) {
        err = pl_fail(why, PL_ENOTFOUND, "no such token; polderctl token list shows them");
    } else if (err == PL_OK && token->revoked_ms == 0) {
        struct token_record revoked = *token;
        revoked.revoked_ms = pl_wall_ms(tokens->clock);
        err = save(tokens, &revoked, why);
        if (err == PL_OK) {
            pthread_rwlock_wrlock(&tokens->lock);
            *token = revoked;
            pthread_rwlock_unlock(&tokens->lock);
        }
    }
    pthread_mutex_unlock(&tokens->changing);
    return err;
}

enum pl_err tokens_forget(struct tokens *tokens, uint64_t account, size_t *count,
                          struct pl_why *why)
{
    if (account == 0) {
        return pl_fail_field(why, PL_EINVAL, "account", "account 0 is none");
    }
    pthread_mutex_lock(&tokens->changing);
    enum pl_err err = catch_up(tokens, why);
    if (err == PL_OK) {
        err = delete_if(tokens, is_owner_of, &account, count, why);
    }
    pthread_mutex_unlock(&tokens->changing);
    return err;
}

enum pl_err tokens_list(struct tokens *tokens, struct token_record **out, size_t *count)
{
    pthread_rwlock_rdlock(&tokens->lock);
    struct token_record *copy = calloc(tokens->count + 1, sizeof(*copy));
    if (copy != NULL) {
        if (tokens->count > 0) {
            memcpy(copy, tokens->table, tokens->count * sizeof(*copy));
        }
        *count = tokens->count;
        *out = copy;
    }
    pthread_rwlock_unlock(&tokens->lock);
    return copy == NULL ? PL_ENOMEM : PL_OK;
}

bool tokens_stand(struct tokens *tokens, const struct token_record *token)
{
    static const struct pl_id128 bootstrap;
    const int64_t now_ms = pl_wall_ms(tokens->clock);
    bool stands = pl_id128_eq(&token->id, &bootstrap);
    pthread_rwlock_rdlock(&tokens->lock);
    for (size_t i = 0; i < tokens->count && !stands; i++) {
        stands =
            pl_id128_eq(&tokens->table[i].id, &token->id) && is_live(&tokens->table[i], now_ms);
    }
    pthread_rwlock_unlock(&tokens->lock);
    return stands;
}

enum pl_err tokens_check(struct tokens *tokens, struct pl_span text, struct token_record *out)
{
    uint8_t hash[PL_SHA256_BYTES];
    int64_t now_ms = pl_wall_ms(tokens->clock);
    enum pl_err err = PL_EAUTH;
    pl_sha256_one(text, hash);
    if (tokens->has_bootstrap && pl_equal_ct(hash, tokens->bootstrap_hash, sizeof(hash))) {
        *out = (struct token_record){.role = ROLE_OPERATOR, .name = "bootstrap"};
        err = PL_OK;
    }
    pthread_rwlock_rdlock(&tokens->lock);
    for (size_t i = 0; i < tokens->count; i++) {
        const struct token_record *token = &tokens->table[i];
        if (pl_equal_ct(hash, token->hash, sizeof(hash))) {
            *out = *token;
            err = is_live(token, now_ms) ? PL_OK : PL_EEXPIRED;
        }
    }
    pthread_rwlock_unlock(&tokens->lock);
    return err;
}
