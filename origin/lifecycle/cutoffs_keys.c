/* The sealing keys: one after the other, and none longer than an edge needs it. */
#include "origin/first_start.h"
#include "origin/lifecycle/cutoffs_state.h"
#include "proto/base/text.h"

#include <stdio.h>
#include <stdlib.h>

/* Edges that are revoked together make one new key. */
#define REVOKED_WAIT_MS PL_MINUTE_MS

/* ---- looking */

static void visit_key(void *ctx, const struct keyring_state *state)
{
    struct cutoffs_keys *keys = ctx;
    if (!state->seal_key) {
        return;
    }
    if (memcmp(state->seal_id, keys->current, BLOCK_KEY_ID_BYTES) == 0) {
        keys->made_ms = state->created_ms;
    } else if (state->state != KEYRING_DESTROYED) {
        if (keys->old_count < CUTOFFS_OLD_KEYS) {
            memcpy(keys->old[keys->old_count], state->seal_id, BLOCK_KEY_ID_BYTES);
        }
        keys->old_count++;
    } else if (state->destroyed_ms > keys->destroyed_ms) {
        keys->destroyed_ms = state->destroyed_ms;
    }
}

void cutoffs_look_at_keys(struct cutoffs *c)
{
    struct cutoffs_keys keys = {.old_count = 0};
    uint8_t public_key[PL_X25519_BYTES];
    if (keyring_current_seal_key(c->config.keyring, public_key) == PL_OK) {
        block_key_id(public_key, keys.current);
    }
    keyring_states(c->config.keyring, visit_key, &keys);
    pthread_mutex_lock(&c->lock);
    c->keys = keys;
    pthread_mutex_unlock(&c->lock);
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
    const int64_t age_ms = now_ms - c->keys.made_ms;
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
    return first_start_announce(c->config.store, c->config.keyring, c->config.changelog, why);
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
        note_key(c, "sealing-key.made", c->keys.current, NULL);
        pl_log(c->config.log, PL_LOG_INFO, "cutoffs", "a new sealing key: edges are told of it");
    }
    return err;
}

static enum pl_err destroy_old(struct cutoffs *c, const char *reason, struct pl_why *why)
{
    enum pl_err err = PL_OK;
    const size_t count =
        c->keys.old_count < CUTOFFS_OLD_KEYS ? c->keys.old_count : CUTOFFS_OLD_KEYS;
    for (size_t i = 0; err == PL_OK && i < count; i++) {
        err = keyring_destroy_seal_key(c->config.keyring, c->keys.old[i], reason, NULL, why);
        if (err == PL_OK) {
            note_key(c, "sealing-key.destroyed", c->keys.old[i], reason);
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
        return destroy_old(c, "replaced, and no edge holds blocks for it", why);
    }
    return due ? rotate(c, why) : PL_OK;
}

static void note_trouble(struct cutoffs *c, enum pl_err err, const struct pl_why *why)
{
    char text[sizeof(c->trouble)] = "";
    if (err != PL_OK) {
        snprintf(text, sizeof(text), "%.199s", why->text);
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
    free(edges);
    pthread_mutex_lock(&c->changing);
    const enum pl_err err = step(c, &why);
    pthread_mutex_unlock(&c->changing);
    note_trouble(c, err, &why);
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
    /* `keys` is changed under `changing` only. */
    if (now_ms < deadline_ms || c->keys.old_count == 0 ||
        now_ms - c->keys.made_ms < CUTOFFS_GRACE_DAYS * PL_DAY_MS) {
        return PL_OK;
    }
    return destroy_old(c, "replaced; the deadline of a deletion, whatever edges hold", why);
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
