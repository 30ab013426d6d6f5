/* What was erased goes out of the database's files, too. */
#include "origin/families.h"
#include "origin/subjects/erasures_state.h"

#include <stdlib.h>

#define SETTLE_ACCOUNTS 16   /* compacted in one go */
#define SETTLE_WAIT_MS  2000 /* for scans that pin what has to go; exports let go every 250 ms */
#define SETTLE_REST     4    /* times as long as it took, before the next */
#define SETTLE_REST_MAX (10 * PL_MINUTE_MS)

struct settling {
    size_t accounts;
    uint64_t account[SETTLE_ACCOUNTS];
    struct vault_key from[SETTLE_ACCOUNTS], to[SETTLE_ACCOUNTS];
    uint8_t whole[SETTLE_ACCOUNTS][2][8];
    struct store_range ranges[3 * SETTLE_ACCOUNTS];
};

static size_t place_in(struct settling *s, uint64_t account)
{
    size_t i = 0;
    while (i < s->accounts && s->account[i] != account)
        i++;
    if (i < s->accounts || i == SETTLE_ACCOUNTS)
        return i;
    s->account[i] = account;
    memset(&s->from[i], 0xff, sizeof(s->from[i]));
    memset(&s->to[i], 0, sizeof(s->to[i]));
    s->accounts++;
    return i;
}

/* What waits to be compacted; with the lock held. */
static void collect(struct erasures *e, struct settling *s)
{
    for (const struct open_erasure *o = e->open; o != NULL; o = o->next) {
        struct vault_key first, last;
        if (o->forgotten || o->erasure.state != ERASURE_ERASED)
            continue;
        const size_t i = place_in(s, o->erasure.account);
        if (i == SETTLE_ACCOUNTS)
            continue;
        vault_key_first(o->erasure.account, 0, &first);
        memset(last.bytes, 0xff, sizeof(last.bytes));
        pl_store_u64(last.bytes, o->erasure.account);
        if (o->bounds_known && !o->whole) {
            first = o->first;
            last = o->last;
        }
        if (erasures_key_order(&first, &s->from[i]) < 0)
            s->from[i] = first;
        if (erasures_key_order(&last, &s->to[i]) > 0)
            s->to[i] = last;
    }
}

static void fill_ranges(struct settling *s)
{
    static const unsigned families[] = {FAMILY_DEDUPE, FAMILY_LINKS};
    for (size_t i = 0; i < s->accounts; i++) {
        struct store_range *r = &s->ranges[3 * i];
        pl_store_u64(s->whole[i][0], s->account[i]);
        pl_store_u64(s->whole[i][1], s->account[i] + 1);
        *r++ = (struct store_range){.family = FAMILY_VAULT,
                                    .from = vault_key_span(&s->from[i]),
                                    .to = vault_key_span(&s->to[i]),
                                    .settle = true};
        for (size_t f = 0; f < 2; f++)
            *r++ = (struct store_range){
                .family = families[f],
                .from = pl_span(s->whole[i][0], 8),
                .to = pl_span(s->whole[i][1], s->account[i] == UINT64_MAX ? 0 : 8),
                .settle = true};
    }
}

/* Behind the last key that was deleted. */
static void step_over(struct vault_key *key)
{
    for (size_t i = sizeof(key->bytes); i-- > 0 && ++key->bytes[i] == 0;)
        ;
}

static enum pl_err mark_gone(struct erasures *e, const struct settling *s, struct pl_why *why)
{
    enum pl_err err = PL_OK;
    pthread_mutex_lock(&e->changing);
    for (struct open_erasure *o = e->open; err == PL_OK && o != NULL; o = o->next) {
        bool settled = false;
        for (size_t i = 0; i < s->accounts; i++)
            settled |= s->account[i] == o->erasure.account;
        /* One that is at it again has left the state. */
        if (!settled || o->forgotten || o->erasure.state != ERASURE_ERASED)
            continue;
        struct erasure next = o->erasure;
        next.state = ERASURE_GONE;
        next.gone_ms = erasures_now_ms(e);
        err = erasures_become(e, o, &next, true, why);
        if (err == PL_OK)
            o->whole = o->bounds_known = false;
    }
    pthread_mutex_unlock(&e->changing);
    return err;
}

/* Compacting takes as long as the accounts are large; between two of them others have their turn.
 */
bool erasures_settle(struct erasures *e)
{
    struct pl_why why = {.err = PL_OK};
    const int64_t began_ms = pl_mono_ms(pl_clock_system());
    if (began_ms < e->settle_at_mono_ms)
        return true;
    struct settling *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return false;
    pthread_mutex_lock(&e->lock);
    collect(e, s);
    pthread_mutex_unlock(&e->lock);
    for (size_t i = 0; i < s->accounts; i++)
        step_over(&s->to[i]);
    fill_ranges(s);
    enum pl_err err = PL_OK;
    if (s->accounts > 0) {
        err = store_purge(e->config.store, s->ranges, 3 * s->accounts, SETTLE_WAIT_MS, &why);
        const int64_t took_ms = pl_mono_ms(pl_clock_system()) - began_ms;
        const int64_t rest_ms = SETTLE_REST * took_ms;
        e->settle_at_mono_ms =
            began_ms + took_ms + (rest_ms < SETTLE_REST_MAX ? rest_ms : SETTLE_REST_MAX);
    }
    if (err == PL_OK)
        err = mark_gone(e, s, &why);
    free(s);
    if (err == PL_OK || err == PL_EAGAIN) /* somebody reads what has to go: they let go of it */
        return true;
    erasures_trouble(e, err, &why);
    return false;
}
