/* The sealing keys: one after the other, and none longer than an edge needs it. */
#include "origin/families.h"
#include "origin/first_start.h"
#include "origin/lifecycle/cutoffs_state.h"
#include "proto/base/secret.h"
#include "proto/base/text.h"

#include <stdlib.h>

/* Edges that are revoked together make one new key. */
#define REVOKED_WAIT_MS PL_MINUTE_MS

/* ---- looking */

/* The position of each key that lives is kept: the changelog has the newest one's only. */
static const struct pl_span POSITIONS_KEY = PL_SPAN_INIT("seal-key-positions");

#define POSITION_BYTES (BLOCK_KEY_ID_BYTES + 8)

static size_t old_at_hand(const struct cutoffs_keys *keys)
{
    return keys->old_count < CUTOFFS_OLD_KEYS ? keys->old_count : CUTOFFS_OLD_KEYS;
}

static uint64_t position_of(const struct cutoffs_keys *keys, const uint8_t id[BLOCK_KEY_ID_BYTES])
{
    for (size_t i = 0; i < old_at_hand(keys); i++) {
        if (memcmp(keys->old[i].id, id, BLOCK_KEY_ID_BYTES) == 0) {
            return keys->old[i].position;
        }
    }
    return memcmp(keys->current.id, id, BLOCK_KEY_ID_BYTES) == 0 ? keys->current.position : 0;
}

static void add_old(struct cutoffs_keys *keys, const struct cutoffs_key *key)
{
    size_t at = old_at_hand(keys);
    keys->old_count++;
    for (; at > 0 && keys->old[at - 1].position > key->position; at--) {
        if (at < CUTOFFS_OLD_KEYS) {
            keys->old[at] = keys->old[at - 1];
        }
    }
    if (at < CUTOFFS_OLD_KEYS) {
        keys->old[at] = *key;
    }
}

struct look {
    const struct cutoffs_keys *before;
    struct cutoffs_keys now;
};

static void visit_key(void *ctx, const struct keyring_state *state)
{
    struct look *look = ctx;
    struct cutoffs_keys *keys = &look->now;
    if (!state->seal_key) {
        return;
    }
    if (memcmp(state->seal_id, keys->current.id, BLOCK_KEY_ID_BYTES) == 0) {
        keys->current.made_ms = state->created_ms;
    } else if (state->state != KEYRING_DESTROYED) {
        struct cutoffs_key key = {.position = position_of(look->before, state->seal_id),
                                  .made_ms = state->created_ms};
        memcpy(key.id, state->seal_id, sizeof(key.id));
        add_old(keys, &key);
    } else if (state->destroyed_ms > keys->destroyed_ms) {
        keys->destroyed_ms = state->destroyed_ms;
    }
}

void cutoffs_look_at_keys(struct cutoffs *c)
{
    const struct cutoffs_keys before = c->keys;
    struct look look = {.before = &before, .now = {.unsaved = before.unsaved}};
    uint8_t public_key[PL_X25519_BYTES];
    if (keyring_current_seal_key(c->config.keyring, public_key) == PL_OK) {
        block_key_id(public_key, look.now.current.id);
        look.now.current.position = position_of(&before, look.now.current.id);
    }
    keyring_states(c->config.keyring, visit_key, &look);
    pthread_mutex_lock(&c->lock);
    c->keys = look.now;
    pthread_mutex_unlock(&c->lock);
}

uint64_t cutoffs_closed_position(const struct cutoffs *c)
{
    return c->keys.old_count > 0 ? c->keys.old[0].position
                                 : changelog_seal_key_position(c->config.changelog);
}

/* In order with the announcement of the next key, which is synced. */
static void save_positions(struct cutoffs *c)
{
    uint8_t value[(CUTOFFS_OLD_KEYS + 1) * POSITION_BYTES];
    const size_t old = old_at_hand(&c->keys);
    for (size_t i = 0; i <= old; i++) {
        const struct cutoffs_key *key = i < old ? &c->keys.old[i] : &c->keys.current;
        memcpy(value + i * POSITION_BYTES, key->id, BLOCK_KEY_ID_BYTES);
        pl_store_u64(value + i * POSITION_BYTES + BLOCK_KEY_ID_BYTES, key->position);
    }
    c->keys.unsaved = store_put(c->config.store, FAMILY_META, POSITIONS_KEY,
                                pl_span(value, (old + 1) * POSITION_BYTES), false, NULL) != PL_OK;
}

/* Edges were told of the current key. */
static void note_told(struct cutoffs *c)
{
    const uint64_t position = changelog_seal_key_position(c->config.changelog);
    pthread_mutex_lock(&c->lock);
    if (c->keys.current.position != position || c->keys.unsaved) {
        c->keys.current.position = position;
        save_positions(c);
    }
    pthread_mutex_unlock(&c->lock);
}

void cutoffs_load_keys(struct cutoffs *c)
{
    struct pl_buf value;
    pl_buf_init(&value, (CUTOFFS_OLD_KEYS + 1) * POSITION_BYTES);
    if (store_get(c->config.store, FAMILY_META, POSITIONS_KEY, &value) != PL_OK) {
        pl_buf_reset(&value); /* one whose position is not known counts as the oldest */
    }
    for (size_t at = 0; at + POSITION_BYTES <= value.len; at += POSITION_BYTES) {
        struct cutoffs_key key = {.position = pl_load_u64(value.data + at + BLOCK_KEY_ID_BYTES)};
        memcpy(key.id, value.data + at, BLOCK_KEY_ID_BYTES);
        add_old(&c->keys, &key);
    }
    pl_buf_release(&value);
    cutoffs_look_at_keys(c);
    note_told(c);
}

/* ---- what is due; `lock` held */

/* Edges that may still deliver blocks for an older key than the one of that position. */
static size_t holders(const struct cutoffs *c, uint64_t key_position)
{
    size_t n = 0;
    for (size_t i = 0; i < c->count; i++) {
        const struct cutoffs_row *row = &c->rows[i];
        n += row->revoked == 0 && row->first < key_position && row->settled < key_position;
    }
    return n;
}

/* What an edge holds that was revoked opens with the keys that it knew, so there is to be one that
 * it did not. */
static bool is_known_to_revoked(const struct cutoffs *c, uint64_t key_position)
{
    for (size_t i = 0; i < c->count; i++) {
        if (c->rows[i].revoked >= key_position && c->rows[i].closed == 0) {
            return true;
        }
    }
    return false;
}

static bool is_due(const struct cutoffs *c, uint64_t key_position, int64_t now_ms)
{
    const int64_t age_ms = now_ms - c->keys.current.made_ms;
    return age_ms >= c->config.seal_key_days * PL_DAY_MS ||
           (age_ms >= REVOKED_WAIT_MS && is_known_to_revoked(c, key_position));
}

static void close_revoked(struct cutoffs *c, uint64_t key_position)
{
    for (size_t i = 0; i < c->count; i++) {
        struct cutoffs_row *row = &c->rows[i];
        if (row->revoked != 0 && row->closed == 0 && row->revoked < key_position) {
            row->closed = changelog_position(c->config.changelog);
            cutoffs_save(c, row, false);
        }
    }
}

static void notice_revoked(struct cutoffs *c, const struct edge_record *edges, size_t count)
{
    for (size_t i = 0; i < c->count; i++) {
        struct cutoffs_row *row = &c->rows[i];
        for (size_t j = 0; row->revoked == 0 && j < count; j++) {
            if (edges[j].revoked_ms != 0 && pl_id128_eq(&edges[j].id, &row->edge)) {
                row->revoked = changelog_position(c->config.changelog);
                cutoffs_save(c, row, false);
            }
        }
    }
}

/* ---- doing it; `changing` held */

static enum pl_err announce(struct cutoffs *c, struct pl_why *why)
{
    enum pl_err err =
        first_start_announce(c->config.store, c->config.keyring, c->config.changelog, why);
    if (err == PL_OK) {
        note_told(c);
    }
    return err;
}

static void note_key(struct cutoffs *c, const char *action, const uint8_t id[BLOCK_KEY_ID_BYTES],
                     const char *detail)
{
    char text[2 * BLOCK_KEY_ID_BYTES + 1];
    pl_hex_encode(pl_span(id, BLOCK_KEY_ID_BYTES), text);
    const struct audit_entry entry = {.actor = "lifecycle",
                                      .action = action,
                                      .object = text,
                                      .detail = detail,
                                      .outcome = AUDIT_DONE};
    audit_tell(c->config.audit, &entry);
}

static enum pl_err rotate(struct cutoffs *c, struct pl_why *why)
{
    uint8_t public_key[PL_X25519_BYTES];
    enum pl_err err = keyring_new_seal_key(c->config.keyring, public_key, why);
    cutoffs_look_at_keys(c);
    if (err == PL_OK) {
        err = announce(c, why);
    }
    if (err == PL_OK) {
        note_key(c, "sealing-key.made", c->keys.current.id, NULL);
        pl_log(c->config.log, PL_LOG_INFO, "cutoffs", "a new sealing key: edges are told of it");
    }
    return err;
}

/* One is, as soon as one path has its end: another one may fail all the same. */
static bool is_destroyed(const struct cutoffs *c, const uint8_t id[BLOCK_KEY_ID_BYTES])
{
    uint8_t secret[PL_X25519_BYTES];
    const enum pl_err err = keyring_seal_secret(c->config.keyring, id, secret);
    pl_wipe(secret, sizeof(secret));
    return err == PL_EEXPIRED;
}

/* Those that edges were told of before that position. */
static enum pl_err destroy_old(struct cutoffs *c, uint64_t position, const char *reason,
                               struct pl_why *why)
{
    enum pl_err err = PL_OK;
    const size_t old = old_at_hand(&c->keys);
    size_t count = 0;
    for (; err == PL_OK && count < old && c->keys.old[count].position < position; count++) {
        err = keyring_destroy_seal_key(c->config.keyring, c->keys.old[count].id, reason, NULL, why);
        if (is_destroyed(c, c->keys.old[count].id)) {
            note_key(c, "sealing-key.destroyed", c->keys.old[count].id, reason);
        }
    }
    cutoffs_look_at_keys(c);
    if (err == PL_OK) {
        pl_log(c->config.log, PL_LOG_INFO, "cutoffs", "%zu old sealing keys are destroyed: %s",
               count, reason);
    }
    return err;
}

/* ---- what others call */

static enum pl_err step(struct cutoffs *c, struct pl_why *why)
{
    /* One whose announcement failed is no successor yet. */
    enum pl_err err = announce(c, why);
    if (err != PL_OK) {
        return err;
    }
    const uint64_t key_position = changelog_seal_key_position(c->config.changelog);
    pthread_mutex_lock(&c->lock);
    const bool due = is_due(c, key_position, pl_wall_ms(c->config.clock));
    const size_t old = c->keys.old_count;
    const bool needed = holders(c, key_position) > 0;
    if (old == 0) {
        close_revoked(c, key_position);
    }
    pthread_mutex_unlock(&c->lock);
    if (old > 0 && !needed) {
        return destroy_old(c, UINT64_MAX, "replaced, and no edge holds blocks for it", why);
    }
    return due ? rotate(c, why) : PL_OK;
}

static void note_trouble(struct cutoffs *c, enum pl_err err, const struct pl_why *why)
{
    char text[sizeof(c->trouble)] = "";
    if (err != PL_OK) {
        pl_text_print(text, sizeof(text), "%s", why->text);
    }
    pthread_mutex_lock(&c->lock);
    const bool news = strcmp(text, c->trouble) != 0;
    memcpy(c->trouble, text, sizeof(text));
    pthread_mutex_unlock(&c->lock);
    if (news && err != PL_OK) {
        pl_log(c->config.log, PL_LOG_ERROR, "cutoffs", "the sealing keys stay as they are: %s",
               text);
    }
}

static bool may_go(void *ctx, const struct pl_id128 *edge)
{
    struct cutoffs *c = ctx;
    pthread_mutex_lock(&c->lock);
    const bool gone = cutoffs_let_go(c, edge);
    pthread_mutex_unlock(&c->lock);
    return gone;
}

static void forget_revoked(struct cutoffs *c, const struct edge_record *edges, size_t count)
{
    struct pl_why why = {.err = PL_OK};
    const int64_t until_ms = pl_wall_ms(c->config.clock) - CUTOFFS_REVOKED_DAYS * PL_DAY_MS;
    for (size_t i = 0; i < count; i++) {
        if (edges[i].revoked_ms != 0 && edges[i].revoked_ms <= until_ms) {
            if (edges_forget(c->config.edges, until_ms, may_go, c, &why) != PL_OK) {
                pl_log(c->config.log, PL_LOG_WARN, "cutoffs",
                       "edges that were revoked long ago stay for now: %s", why.text);
            }
            return;
        }
    }
}

void cutoffs_tick(struct cutoffs *c)
{
    struct pl_why why = {.err = PL_OK};
    struct edge_record *edges;
    size_t count;
    if (edges_list(c->config.edges, &edges, &count) != PL_OK) {
        return;
    }
    pthread_mutex_lock(&c->lock);
    notice_revoked(c, edges, count);
    pthread_mutex_unlock(&c->lock);
    forget_revoked(c, edges, count);
    free(edges);
    pthread_mutex_lock(&c->changing);
    const enum pl_err err = step(c, &why);
    pthread_mutex_unlock(&c->changing);
    /* A path that an end of a key could not be written to; /ready tells of it while that fails. */
    (void)keyring_mend(c->config.keyring, NULL);
    note_trouble(c, err, &why);
}

/* The oldest key that edges have had at that position or later; there is one. */
static const struct cutoffs_key *key_from(const struct cutoffs_keys *keys, uint64_t position)
{
    for (size_t i = 0; i < old_at_hand(keys); i++) {
        if (keys->old[i].position >= position) {
            return &keys->old[i];
        }
    }
    return &keys->current;
}

static enum pl_err force(struct cutoffs *c, uint64_t position, int64_t deadline_ms,
                         struct pl_why *why)
{
    const int64_t now_ms = pl_wall_ms(c->config.clock);
    enum pl_err err = announce(c, why);
    if (err != PL_OK) {
        return err;
    }
    if (changelog_seal_key_position(c->config.changelog) < position) {
        return rotate(c, why);
    }
    /* `keys` is changed under `changing` only. Keys that were made later, for whatever reason, put
     * off nothing, and stay. */
    if (now_ms < deadline_ms || cutoffs_closed_position(c) >= position ||
        now_ms - key_from(&c->keys, position)->made_ms < CUTOFFS_GRACE_DAYS * PL_DAY_MS) {
        return PL_OK;
    }
    return destroy_old(c, position, "replaced; the deadline of a deletion, whatever edges hold",
                       why);
}

enum pl_err cutoffs_force(struct cutoffs *c, uint64_t position, int64_t deadline_ms,
                          struct pl_why *why)
{
    if (pl_wall_ms(c->config.clock) < deadline_ms - CUTOFFS_LEAD_DAYS * PL_DAY_MS) {
        return PL_OK;
    }
    pthread_mutex_lock(&c->changing);
    const enum pl_err err = force(c, position, deadline_ms, why);
    pthread_mutex_unlock(&c->changing);
    return err;
}

enum pl_err cutoffs_rotate(struct cutoffs *c, struct pl_why *why)
{
    pthread_mutex_lock(&c->changing);
    enum pl_err err = announce(c, why);
    if (err == PL_OK) {
        err = rotate(c, why);
    }
    pthread_mutex_unlock(&c->changing);
    return err;
}
