#include "origin/subjects/erasure_set.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define HINTS     4096 /* bits: accounts that may have one */
#define SLOTS_MIN 64

/* An erasure as far as it concerns an id. */
struct cut {
    int64_t until_ms;  /* INT64_MIN: there is none */
    uint64_t position; /* that edges have to settle at; 0: not known yet */
    struct pl_id128 erasure;
};

/* The last moment up to which an id is erased. One that is erased alone may be of a person who had
 * been erased before: what late events tell of that person goes on to count. */
struct guard {
    uint64_t account;             /* 0: a free place */
    struct cut newest, following; /* that one may be the newest, too */
    uint8_t kind;
    uint8_t hash[ID_HASH_BYTES];
};

struct table {
    struct guard *slots; /* a power of two of them, at most half of them taken */
    size_t room, count;
};

struct erasure_set {
    pthread_rwlock_t lock;
    struct table table;
    _Atomic uint64_t hints[HINTS / 64];
};

enum pl_err erasure_set_new(struct erasure_set **out)
{
    struct erasure_set *set = calloc(1, sizeof(*set));
    if (set == NULL)
        return PL_ENOMEM;
    pthread_rwlock_init(&set->lock, NULL);
    *out = set;
    return PL_OK;
}

void erasure_set_free(struct erasure_set *set)
{
    if (set == NULL)
        return;
    free(set->table.slots);
    pthread_rwlock_destroy(&set->lock);
    free(set);
}

/* ---- the table: hashes are keyed, so nobody can aim at a place in it */

static struct guard *place_of(const struct table *t, uint64_t account, uint8_t kind,
                              const uint8_t hash[ID_HASH_BYTES])
{
    size_t at = (size_t)(pl_load_u64(hash) ^ account ^ kind) & (t->room - 1);
    for (;; at = (at + 1) & (t->room - 1)) {
        struct guard *g = &t->slots[at];
        if (g->account == 0 ||
            (g->account == account && g->kind == kind && memcmp(g->hash, hash, ID_HASH_BYTES) == 0))
            return g;
    }
}

static enum pl_err make_room(struct table *t, size_t more)
{
    struct table larger = {.room = t->room == 0 ? SLOTS_MIN : t->room, .count = t->count};
    while (larger.room < 2 * (t->count + more))
        larger.room *= 2;
    if (larger.room == t->room)
        return PL_OK;
    larger.slots = calloc(larger.room, sizeof(*larger.slots));
    if (larger.slots == NULL)
        return PL_ENOMEM;
    for (size_t i = 0; i < t->room; i++)
        if (t->slots[i].account != 0)
            *place_of(&larger, t->slots[i].account, t->slots[i].kind, t->slots[i].hash) =
                t->slots[i];
    free(t->slots);
    *t = larger;
    return PL_OK;
}

static void reach_to(struct cut *cut, const struct erasure *erasure)
{
    if (cut->until_ms <= erasure->at_ms)
        *cut = (struct cut){
            .until_ms = erasure->at_ms, .position = erasure->position, .erasure = erasure->id};
}

static enum pl_err put(struct table *t, const struct erasure *erasure)
{
    enum pl_err err = make_room(t, erasure->identities.count);
    for (size_t i = 0; err == PL_OK && i < erasure->identities.count; i++) {
        const struct identity *id = &erasure->identities.list[i];
        if (identity_is_place(id))
            continue;
        struct guard *g = place_of(t, erasure->account, id->kind, id->hash);
        if (g->account == 0) {
            *g = (struct guard){.account = erasure->account,
                                .newest.until_ms = INT64_MIN,
                                .following.until_ms = INT64_MIN,
                                .kind = id->kind};
            memcpy(g->hash, id->hash, ID_HASH_BYTES);
            t->count++;
        }
        reach_to(&g->newest, erasure);
        if (!erasure->alone)
            reach_to(&g->following, erasure);
    }
    return err;
}

static uint64_t hint_of(uint64_t account)
{
    return (account * UINT64_C(0x9e3779b97f4a7c15)) >> 52;
}

static void hint(struct erasure_set *set, uint64_t account)
{
    atomic_fetch_or(&set->hints[hint_of(account) / 64], UINT64_C(1) << (hint_of(account) % 64));
}

enum pl_err erasure_set_put(struct erasure_set *set, const struct erasure *erasure)
{
    pthread_rwlock_wrlock(&set->lock);
    enum pl_err err = put(&set->table, erasure);
    if (err == PL_OK)
        hint(set, erasure->account);
    pthread_rwlock_unlock(&set->lock);
    return err;
}

enum pl_err erasure_set_replace(struct erasure_set *set, const struct erasure *const *erasures,
                                size_t count)
{
    struct table table = {.room = 0};
    enum pl_err err = PL_OK;
    for (size_t i = 0; err == PL_OK && i < count; i++)
        err = put(&table, erasures[i]);
    if (err != PL_OK) {
        free(table.slots);
        return err;
    }
    pthread_rwlock_wrlock(&set->lock);
    free(set->table.slots);
    set->table = table;
    for (size_t i = 0; i < HINTS / 64; i++)
        atomic_store(&set->hints[i], 0);
    for (size_t i = 0; i < count; i++)
        hint(set, erasures[i]->account);
    pthread_rwlock_unlock(&set->lock);
    return PL_OK;
}

/* ---- asking */

bool erasure_set_any(const struct erasure_set *set, uint64_t account)
{
    const uint64_t bits =
        atomic_load_explicit(&set->hints[hint_of(account) / 64], memory_order_acquire);
    return (bits >> (hint_of(account) % 64)) & 1;
}

struct question {
    const struct table *table;
    const struct event_ids *ids;
    int64_t time_ms;
    const struct erasure_edge *edge;
};

static bool reaches(const struct cut *cut, const struct question *q)
{
    const bool settled = q->edge->settled >= (cut->position == 0 ? UINT64_MAX : cut->position);
    return q->time_ms <= cut->until_ms + (settled ? 0 : q->edge->margin_ms);
}

/* The erasure of that id of the event's that reaches to the event's time. */
static const struct cut *cut_of(const struct question *q, enum event_id_field field,
                                enum identity_kind kind, bool following)
{
    const struct event_id_hash *id = &q->ids->id[field];
    if (!id->present || id->failed)
        return NULL;
    const struct guard *g = place_of(q->table, q->ids->account, (uint8_t)kind, id->hash);
    if (g->account == 0)
        return NULL;
    if (!following && reaches(&g->newest, q))
        return &g->newest;
    return reaches(&g->following, q) ? &g->following : NULL;
}

static void lead(const struct question *q, struct erasure_hit *hit, enum event_id_field field,
                 enum identity_kind kind)
{
    const struct event_id_hash *id = &q->ids->id[field];
    if (!id->present || id->failed || cut_of(q, field, kind, true) != NULL ||
        (kind != IDENTITY_USER && cut_of(q, field, IDENTITY_ASKED, true) != NULL))
        return;
    hit->leads[hit->lead_count++] = (struct erasure_lead){.kind = kind, .field = field};
}

/* A site may give a device's id as its user's: such a previous id tells of nobody. */
static bool is_own_visitor(const struct event_ids *ids)
{
    const struct event_id_hash *visitor = &ids->id[EVENT_IDS_VISITOR];
    return visitor->present && !visitor->failed &&
           memcmp(visitor->hash, ids->id[EVENT_IDS_USER].hash, ID_HASH_BYTES) == 0;
}

static const struct cut *cut_by_name(const struct question *q, bool following)
{
    static const struct {
        enum event_id_field field;
        enum identity_kind kind;
    } names[] = {{EVENT_IDS_VISITOR, IDENTITY_ASKED},
                 {EVENT_IDS_USER, IDENTITY_USER},
                 {EVENT_IDS_PREVIOUS, IDENTITY_ASKED},
                 {EVENT_IDS_PREVIOUS, IDENTITY_PREVIOUS}};
    const struct cut *found = NULL;
    for (size_t i = 0; found == NULL && i < sizeof(names) / sizeof(names[0]); i++)
        found = cut_of(q, names[i].field, names[i].kind, following);
    return found;
}

static bool concerns(const struct question *q, struct erasure_hit *hit)
{
    const struct cut *found = cut_by_name(q, false), *following = cut_by_name(q, true);
    if (found == NULL && !q->ids->id[EVENT_IDS_USER].present)
        found = cut_of(q, EVENT_IDS_VISITOR, IDENTITY_VISITOR, false);
    if (found == NULL)
        return false;
    *hit = (struct erasure_hit){.erasure = found->erasure};
    /* A device's: what else it tells may be of another who used it. Or it was erased alone. */
    if (following == NULL)
        return true;
    hit->following = following->erasure;
    lead(q, hit, EVENT_IDS_USER, IDENTITY_USER);
    if (!is_own_visitor(q->ids))
        lead(q, hit, EVENT_IDS_USER, IDENTITY_PREVIOUS);
    lead(q, hit, EVENT_IDS_VISITOR, IDENTITY_VISITOR);
    lead(q, hit, EVENT_IDS_PREVIOUS, IDENTITY_USER);
    return true;
}

bool erasure_set_concerns(struct erasure_set *set, const struct event_ids *ids, int64_t time_ms,
                          const struct erasure_edge *edge, struct erasure_hit *hit)
{
    bool concerned = false;
    pthread_rwlock_rdlock(&set->lock);
    if (set->table.room > 0) {
        const struct question q = {
            .table = &set->table, .ids = ids, .time_ms = time_ms, .edge = edge};
        concerned = concerns(&q, hit);
    }
    pthread_rwlock_unlock(&set->lock);
    return concerned;
}
