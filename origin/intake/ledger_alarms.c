/* What the ledger has to tell people. */
#include "origin/intake/ledger_state.h"
#include "proto/base/text.h"

#include <inttypes.h>
#include <stdio.h>

static bool same_block(const struct ledger_alarm *a, const struct ledger_alarm *b)
{
    return a->kind == b->kind && a->number == b->number && pl_id128_eq(&a->edge, &b->edge) &&
           pl_id128_eq(&a->incarnation, &b->incarnation);
}

void ledger_keep_alarm(struct ledger *l, const struct ledger_alarm *alarm)
{
    pthread_mutex_lock(&l->lock);
    size_t at = 0;
    while (at < l->kept_count && !same_block(&l->kept[at], alarm))
        at++;
    if (at == l->kept_count && l->kept_count == LEDGER_KEPT_MAX)
        at = 0; /* the oldest gives way; the store keeps it */
    if (at < l->kept_count)
        memmove(l->kept + at, l->kept + at + 1, (--l->kept_count - at) * sizeof(*l->kept));
    l->kept[l->kept_count++] = *alarm;
    pthread_mutex_unlock(&l->lock);
}

void ledger_kept_add(struct ledger_kept *sum, int64_t since_ms, size_t bytes)
{
    sum->blocks++;
    sum->bytes += bytes;
    if (sum->oldest_ms == 0 || since_ms < sum->oldest_ms)
        sum->oldest_ms = since_ms;
}

void ledger_kept(struct ledger *l, struct ledger_kept *out)
{
    pthread_mutex_lock(&l->lock);
    *out = l->stored_kept;
    pthread_mutex_unlock(&l->lock);
}

bool ledger_let_go_kept(struct ledger *l, int64_t before_ms)
{
    pthread_mutex_lock(&l->lock);
    const bool gone = l->stored_kept.blocks == 0 || l->stored_kept.oldest_ms >= before_ms;
    if (!gone && l->let_go_ms < before_ms)
        l->let_go_ms = before_ms;
    pthread_mutex_unlock(&l->lock);
    return gone;
}

enum pl_err ledger_quarantine(struct ledger *l, struct store_batch *batch,
                              const struct ledger_block *block, enum ledger_alarm_kind kind,
                              struct pl_span bytes, const char *reason)
{
    struct ledger_alarm alarm = {.kind = kind,
                                 .edge = block->edge,
                                 .incarnation = block->incarnation,
                                 .number = block->number,
                                 .count = 1,
                                 .since_ms = pl_wall_ms(l->clock)};
    pl_text_print(alarm.text, sizeof(alarm.text), "%s", reason);
    uint8_t key[LEDGER_KEPT_KEY_BYTES];
    ledger_block_key(&block->edge, &block->incarnation, block->number, key);
    memcpy(key + LEDGER_BLOCK_KEY_BYTES, block->hash, 8);

    size_t before = l->row.len;
    enum pl_err err = store_get(l->store, FAMILY_QUARANTINE, pl_span(key, sizeof(key)), &l->row);
    l->row.len = before;
    if (err == PL_OK)
        return PL_OK; /* told and kept before */
    if (err != PL_ENOTFOUND)
        return err;
    const uint64_t kept = l->stored_kept.bytes + sizeof(key);
    if (kept + bytes.len > l->quarantine_bytes_max)
        bytes = pl_span(NULL, 0);
    err = ledger_alarm_encode(&alarm, bytes, &l->row);
    if (err != PL_OK)
        return err;
    struct pl_span value = pl_span(l->row.data + before, l->row.len - before);
    /* Alarms without bytes are small, but a hostile edge must not fill the disk with them. */
    if (kept + value.len <= l->quarantine_bytes_max) {
        store_batch_put(batch, l->store, FAMILY_QUARANTINE, pl_span(key, sizeof(key)), value);
        pthread_mutex_lock(&l->lock);
        ledger_kept_add(&l->stored_kept, alarm.since_ms, sizeof(key) + value.len);
        pthread_mutex_unlock(&l->lock);
    }
    l->row.len = before;
    ledger_keep_alarm(l, &alarm);
    char edge[PL_ID128_TEXT];
    pl_id128_format(&block->edge, edge);
    pl_log(l->log, PL_LOG_ERROR, "ledger", "%s edge=%s number=%" PRIu64, reason, edge,
           block->number);
    return PL_OK;
}

/* The holes of one chain that are older than they may be. */
static size_t holes_of(const struct ledger *l, const struct ledger_links *chain, int64_t now_ms,
                       struct ledger_alarm *out, size_t max, size_t count)
{
    uint64_t expect =
        chain->told.contiguous > chain->contiguous ? chain->told.contiguous : chain->contiguous;
    /* A hole is as old as the oldest block that stands above it. */
    int64_t since = INT64_MAX;
    for (size_t i = chain->ahead_count; i-- > 0;)
        if (chain->ahead[i].received_ms < since)
            since = chain->ahead[i].received_ms;
    for (size_t i = 0; i < chain->ahead_count; i++) {
        uint64_t number = chain->ahead[i].number;
        if (number > expect && now_ms - since >= l->hole_alarm_ms) {
            if (count < max) {
                struct ledger_alarm *a = &out[count];
                *a = (struct ledger_alarm){.kind = LEDGER_HOLE,
                                           .edge = chain->edge,
                                           .incarnation = chain->incarnation,
                                           .number = expect,
                                           .count = number - expect,
                                           .since_ms = since};
                snprintf(a->text, sizeof(a->text),
                         "blocks %" PRIu64 " to %" PRIu64 " are missing, but later ones arrived",
                         expect, number - 1);
            }
            count++;
        }
        if (number >= expect)
            expect = number + 1;
    }
    return count;
}

bool ledger_forked(struct ledger *l, const struct pl_id128 *edge,
                   const struct pl_id128 *incarnation)
{
    bool found = false;
    pthread_mutex_lock(&l->lock);
    for (size_t i = 0; i < l->kept_count; i++)
        found |= l->kept[i].kind == LEDGER_FORK && pl_id128_eq(&l->kept[i].edge, edge) &&
                 pl_id128_eq(&l->kept[i].incarnation, incarnation);
    pthread_mutex_unlock(&l->lock);
    return found;
}

size_t ledger_alarms(struct ledger *l, struct ledger_alarm *out, size_t max)
{
    size_t count = 0;
    int64_t now_ms = pl_wall_ms(l->clock);
    pthread_mutex_lock(&l->lock);
    for (size_t i = 0; i < l->chain_count; i++)
        count = holes_of(l, l->chains[i], now_ms, out, max, count);
    for (size_t i = l->kept_count; i-- > 0; count++)
        if (count < max)
            out[count] = l->kept[i];
    pthread_mutex_unlock(&l->lock);
    return count;
}
