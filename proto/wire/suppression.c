#include "proto/wire/suppression.h"
#include "proto/wire/event_mask.h"

#include <pthread.h>
#include <search.h>
#include <stdatomic.h>
#include <stdlib.h>

enum pl_err suppression_hash(const uint8_t id_key[CATALOG_ID_KEY_BYTES], struct pl_span id,
                             uint8_t out[ID_HASH_BYTES])
{
    const struct event_mask_policy all = {.kinds = PII_ALL, .id_key = id_key};
    uint8_t room[2 * EVENT_MASK_SCRATCH_ID_BYTES];
    struct pl_buf scratch = {.data = room, .cap = sizeof(room), .max_bytes = sizeof(room)};
    struct pl_span stored;
    enum pl_err err = event_mask_stored_id(&all, id, &scratch, &stored);
    return err == PL_OK ? id_hash(id_key, ID_HASH_ID, stored, out) : err;
}

/* ---- as the store keeps it */

void suppression_key(const struct suppression *s, uint8_t key[SUPPRESSION_KEY_BYTES])
{
    pl_store_u64(key, s->account);
    memcpy(key + 8, s->consent_id.bytes, 16);
}

void suppression_value(const struct suppression *s, uint8_t value[SUPPRESSION_VALUE_BYTES])
{
    memcpy(value, s->id_hash, ID_HASH_BYTES);
    pl_store_u64(value + ID_HASH_BYTES, (uint64_t)s->since_ms);
    value[ID_HASH_BYTES + 8] = s->active;
}

enum pl_err suppression_read(struct pl_span key, struct pl_span value, struct suppression *out)
{
    if (key.len != SUPPRESSION_KEY_BYTES || value.len != SUPPRESSION_VALUE_BYTES ||
        value.data[ID_HASH_BYTES + 8] > 1)
        return PL_ECORRUPT;
    out->account = pl_load_u64(key.data);
    memcpy(out->consent_id.bytes, key.data + 8, 16);
    memcpy(out->id_hash, value.data, ID_HASH_BYTES);
    out->since_ms = (int64_t)pl_load_u64(value.data + ID_HASH_BYTES);
    out->active = value.data[ID_HASH_BYTES + 8] == 1;
    return PL_OK;
}

/* ---- the set */

#define HINTS 4096 /* bits: accounts that somebody may have said no to */

struct person;
struct record {
    struct suppression said;
    struct person *person; /* NULL: taken back before it was heard of */
    struct record *next;   /* of the same person */
};
struct person {
    uint64_t account;
    uint8_t hash[ID_HASH_BYTES];
    struct record *records;
    struct person *next_gone;
};

struct tally {
    uint64_t account;
    size_t records;
};

struct suppression_set {
    pthread_rwlock_t lock;
    void *records; /* tsearch's, by account and consent id */
    void *persons; /* tsearch's, by account and hash */
    void *tallies; /* tsearch's, by account */
    size_t active;
    _Atomic uint64_t hints[HINTS / 64];
};

static int compare(uint64_t a_account, const uint8_t *a, uint64_t b_account, const uint8_t *b)
{
    if (a_account != b_account)
        return a_account < b_account ? -1 : 1;
    return memcmp(a, b, 16);
}

static int compare_records(const void *a, const void *b)
{
    const struct record *x = a, *y = b;
    return compare(x->said.account, x->said.consent_id.bytes, y->said.account,
                   y->said.consent_id.bytes);
}

static int compare_persons(const void *a, const void *b)
{
    const struct person *x = a, *y = b;
    return compare(x->account, x->hash, y->account, y->hash);
}

static int compare_tallies(const void *a, const void *b)
{
    const struct tally *x = a, *y = b;
    return x->account == y->account ? 0 : x->account < y->account ? -1 : 1;
}

enum pl_err suppression_set_new(struct suppression_set **out)
{
    struct suppression_set *set = calloc(1, sizeof(*set));
    if (set == NULL)
        return PL_ENOMEM;
    pthread_rwlock_init(&set->lock, NULL);
    *out = set;
    return PL_OK;
}

void suppression_set_free(struct suppression_set *set)
{
    if (set == NULL)
        return;
    tdestroy(set->records, free);
    tdestroy(set->persons, free);
    tdestroy(set->tallies, free);
    pthread_rwlock_destroy(&set->lock);
    free(set);
}

static void *find_or_add(void **tree, const void *probe, size_t bytes,
                         int (*order)(const void *, const void *))
{
    void **found = tfind(probe, tree, order);
    if (found != NULL)
        return *found;
    void *added = malloc(bytes);
    if (added == NULL)
        return NULL;
    memcpy(added, probe, bytes);
    if (tsearch(added, tree, order) == NULL) {
        free(added);
        return NULL;
    }
    return added;
}

static void hint(struct suppression_set *set, uint64_t account)
{
    const uint64_t bit = (account * UINT64_C(0x9e3779b97f4a7c15)) >> 52;
    atomic_fetch_or(&set->hints[bit / 64], UINT64_C(1) << (bit % 64));
}

/* Under the lock. */
static enum pl_err put(struct suppression_set *set, struct suppression *s, bool *news)
{
    const struct tally account = {.account = s->account};
    struct tally *tally = find_or_add(&set->tallies, &account, sizeof(account), compare_tallies);
    if (tally == NULL)
        return PL_ENOMEM;
    const struct record probe = {.said = *s};
    struct record *record = find_or_add(&set->records, &probe, sizeof(probe), compare_records);
    if (record == NULL)
        return PL_ENOMEM;
    tally->records += *news;
    const bool fresh = record->person == NULL;
    if (s->active && fresh) {
        struct person whom = {.account = s->account};
        memcpy(whom.hash, s->id_hash, ID_HASH_BYTES);
        struct person *person = find_or_add(&set->persons, &whom, sizeof(whom), compare_persons);
        if (person == NULL)
            return PL_ENOMEM;
        /* One that was taken back before it was heard of stays taken back. */
        const bool undone = !record->said.active;
        record->said = *s;
        record->said.active = !undone;
        record->person = person;
        record->next = person->records;
        person->records = record;
        set->active += !undone;
        *news = true;
    } else if (!s->active && record->said.active) {
        record->said.active = false;
        set->active -= record->person != NULL; /* of one that no memory was left for */
        *news = true;
    }
    *s = record->said;
    return PL_OK;
}

enum pl_err suppression_set_put(struct suppression_set *set, struct suppression *s, bool *news)
{
    bool ignored;
    pthread_rwlock_wrlock(&set->lock);
    news = news == NULL ? &ignored : news;
    const struct record probe = {.said = *s};
    *news = tfind(&probe, &set->records, compare_records) == NULL;
    enum pl_err err = put(set, s, news);
    if (err == PL_OK && s->active)
        hint(set, s->account);
    pthread_rwlock_unlock(&set->lock);
    return err;
}

/* A tree cannot be changed while it is walked: what is to go is strung together first, by the
 * links that die with it. */
struct gone {
    uint64_t account;
    struct record *records;
    struct person *persons;
};

static void note_record(const void *node, VISIT visit, void *ctx)
{
    struct gone *gone = ctx;
    struct record *record = *(struct record *const *)node;
    if ((visit == preorder || visit == leaf) && record->said.account == gone->account) {
        record->next = gone->records;
        gone->records = record;
    }
}

static void note_person(const void *node, VISIT visit, void *ctx)
{
    struct gone *gone = ctx;
    struct person *person = *(struct person *const *)node;
    if ((visit == preorder || visit == leaf) && person->account == gone->account) {
        person->next_gone = gone->persons;
        gone->persons = person;
    }
}

void suppression_set_forget(struct suppression_set *set, uint64_t account)
{
    struct gone gone = {.account = account};
    pthread_rwlock_wrlock(&set->lock);
    twalk_r(set->records, note_record, &gone);
    twalk_r(set->persons, note_person, &gone);
    for (struct record *r = gone.records, *next; r != NULL; r = next) {
        next = r->next;
        set->active -= r->said.active;
        tdelete(r, &set->records, compare_records);
        free(r);
    }
    for (struct person *p = gone.persons, *next; p != NULL; p = next) {
        next = p->next_gone;
        tdelete(p, &set->persons, compare_persons);
        free(p);
    }
    struct tally **tally =
        tfind(&(struct tally){.account = account}, &set->tallies, compare_tallies);
    if (tally != NULL)
        (*tally)->records = 0;
    pthread_rwlock_unlock(&set->lock);
}

/* ---- asking */

bool suppression_set_any(const struct suppression_set *set, uint64_t account)
{
    const uint64_t bit = (account * UINT64_C(0x9e3779b97f4a7c15)) >> 52;
    return (atomic_load_explicit(&set->hints[bit / 64], memory_order_acquire) >> (bit % 64)) & 1;
}

static bool holds(struct suppression_set *set, uint64_t account, const uint8_t hash[ID_HASH_BYTES],
                  int64_t accepted_ms)
{
    struct person probe = {.account = account};
    bool held = false;
    memcpy(probe.hash, hash, ID_HASH_BYTES);
    pthread_rwlock_rdlock(&set->lock);
    struct person **person = tfind(&probe, &set->persons, compare_persons);
    for (struct record *r = person == NULL ? NULL : (*person)->records; r != NULL; r = r->next)
        held |= r->said.active && r->said.since_ms <= accepted_ms;
    pthread_rwlock_unlock(&set->lock);
    return held;
}

bool suppression_set_holds_id(struct suppression_set *set, uint64_t account,
                              const uint8_t id_key[CATALOG_ID_KEY_BYTES], struct pl_span id,
                              int64_t accepted_ms)
{
    uint8_t hash[ID_HASH_BYTES];
    if (id.len == 0 || !suppression_set_any(set, account))
        return false;
    if (suppression_hash(id_key, id, hash) != PL_OK)
        return true;
    return holds(set, account, hash, accepted_ms);
}

bool suppression_set_concerns(struct suppression_set *set, uint64_t account,
                              const uint8_t id_key[CATALOG_ID_KEY_BYTES], const struct event *event,
                              int64_t accepted_ms)
{
    static const enum event_field ids[] = {EVENT_VISITOR_ID, EVENT_USER_ID, EVENT_PREVIOUS_ID,
                                           EVENT_NETWORK_ID};
    if (!suppression_set_any(set, account))
        return false;
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
        if (suppression_set_holds_id(set, account, id_key, event_str(event, ids[i]), accepted_ms))
            return true;
    return false;
}

size_t suppression_set_count(struct suppression_set *set)
{
    pthread_rwlock_rdlock(&set->lock);
    const size_t active = set->active;
    pthread_rwlock_unlock(&set->lock);
    return active;
}

bool suppression_set_knows(struct suppression_set *set, const struct suppression *s)
{
    const struct record probe = {.said = *s};
    pthread_rwlock_rdlock(&set->lock);
    struct record **found = tfind(&probe, &set->records, compare_records);
    const bool known = found != NULL && (*found)->said.active &&
                       memcmp((*found)->said.id_hash, s->id_hash, ID_HASH_BYTES) == 0;
    pthread_rwlock_unlock(&set->lock);
    return known;
}

size_t suppression_set_count_of(struct suppression_set *set, uint64_t account)
{
    pthread_rwlock_rdlock(&set->lock);
    struct tally **tally =
        tfind(&(struct tally){.account = account}, &set->tallies, compare_tallies);
    const size_t records = tally == NULL ? 0 : (*tally)->records;
    pthread_rwlock_unlock(&set->lock);
    return records;
}
