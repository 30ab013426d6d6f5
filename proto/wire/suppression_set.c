#include "proto/wire/suppression.h"

#include <pthread.h>
#include <search.h>
#include <stdatomic.h>
#include <stdlib.h>

#define HINTS 4096 /* bits: accounts that somebody may have said no to */

/* An account's opt-outs hang together by themselves, so that forgetting it takes them off the set
 * in one step: whoever reads does not wait until a million of them are freed. */
struct account {
    uint64_t account;
    void *records; /* tsearch's, by consent id */
    void *persons; /* tsearch's, by hash */
    size_t record_count, active;
};

struct person;
struct record {
    struct suppression said;
    struct person *person;       /* NULL: taken back before it was heard of */
    struct record *next, **link; /* among the person's that are active; link NULL: it is not */
};
struct person {
    uint8_t hash[ID_HASH_BYTES];
    struct record *active;
    int64_t since_ms; /* the first of the active; INT64_MAX: none */
};

struct suppression_set {
    pthread_rwlock_t lock;
    void *accounts; /* tsearch's, by account */
    size_t active;
    _Atomic uint64_t hints[HINTS / 64];
};

static int compare_accounts(const void *a, const void *b)
{
    const struct account *x = a, *y = b;
    return x->account == y->account ? 0 : x->account < y->account ? -1 : 1;
}

static int compare_records(const void *a, const void *b)
{
    const struct record *x = a, *y = b;
    return memcmp(x->said.consent_id.bytes, y->said.consent_id.bytes, 16);
}

static int compare_persons(const void *a, const void *b)
{
    const struct person *x = a, *y = b;
    return memcmp(x->hash, y->hash, ID_HASH_BYTES);
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

static void free_account(void *node)
{
    struct account *account = node;
    tdestroy(account->records, free);
    tdestroy(account->persons, free);
    free(account);
}

void suppression_set_free(struct suppression_set *set)
{
    if (set == NULL)
        return;
    tdestroy(set->accounts, free_account);
    pthread_rwlock_destroy(&set->lock);
    free(set);
}

/* ---- learning; all under the lock */

static void *find(void *const *tree, const void *probe, int (*order)(const void *, const void *))
{
    void **found = tfind(probe, tree, order);
    return found == NULL ? NULL : *found;
}

static void *find_or_add(void **tree, const void *probe, size_t bytes,
                         int (*order)(const void *, const void *))
{
    void *added = find(tree, probe, order);
    if (added != NULL || (added = malloc(bytes)) == NULL)
        return added;
    memcpy(added, probe, bytes);
    if (tsearch(added, tree, order) == NULL) {
        free(added);
        return NULL;
    }
    return added;
}

static struct account *account_of(struct suppression_set *set, uint64_t account)
{
    return find(&set->accounts, &(struct account){.account = account}, compare_accounts);
}

static void hint(struct suppression_set *set, uint64_t account)
{
    const uint64_t bit = (account * UINT64_C(0x9e3779b97f4a7c15)) >> 52;
    atomic_fetch_or(&set->hints[bit / 64], UINT64_C(1) << (bit % 64));
}

static void add_active(struct record *record)
{
    struct person *person = record->person;
    record->next = person->active;
    record->link = &person->active;
    if (record->next != NULL)
        record->next->link = &record->next;
    person->active = record;
    if (record->said.since_ms < person->since_ms)
        person->since_ms = record->said.since_ms;
}

static void remove_active(struct record *record)
{
    struct person *person = record->person;
    *record->link = record->next;
    if (record->next != NULL)
        record->next->link = record->link;
    record->link = NULL;
    if (record->said.since_ms > person->since_ms)
        return;
    person->since_ms = INT64_MAX;
    for (const struct record *r = person->active; r != NULL; r = r->next)
        if (r->said.since_ms < person->since_ms)
            person->since_ms = r->said.since_ms;
}

/* A no that was not heard of before, or not whom it is about. */
static enum pl_err hear(struct account *account, struct record *record, const struct suppression *s)
{
    struct person whom = {.since_ms = INT64_MAX};
    memcpy(whom.hash, s->id_hash, ID_HASH_BYTES);
    struct person *person = find_or_add(&account->persons, &whom, sizeof(whom), compare_persons);
    if (person == NULL)
        return PL_ENOMEM;
    /* One that was taken back before it was heard of stays taken back. */
    const bool undone = !record->said.active;
    record->said = *s;
    record->said.active = !undone;
    record->person = person;
    if (!undone)
        add_active(record);
    return PL_OK;
}

static enum pl_err put(struct suppression_set *set, struct suppression *s, bool *news)
{
    const struct account nobody = {.account = s->account};
    const struct record probe = {.said = *s};
    enum pl_err err = PL_OK;
    struct account *account =
        find_or_add(&set->accounts, &nobody, sizeof(nobody), compare_accounts);
    if (account == NULL)
        return PL_ENOMEM;
    *news = find(&account->records, &probe, compare_records) == NULL;
    struct record *record = find_or_add(&account->records, &probe, sizeof(probe), compare_records);
    if (record == NULL)
        return PL_ENOMEM;
    account->record_count += *news;
    const size_t before = record->link != NULL;
    if (s->active && record->person == NULL) {
        err = hear(account, record, s);
        *news = true;
    } else if (!s->active && record->said.active) {
        record->said.active = false;
        if (record->link != NULL) /* else no memory was left for whom it is about */
            remove_active(record);
        *news = true;
    }
    const size_t after = record->link != NULL;
    account->active += after - before;
    set->active += after - before;
    if (err == PL_OK)
        *s = record->said;
    return err;
}

enum pl_err suppression_set_put(struct suppression_set *set, struct suppression *s, bool *news)
{
    bool ignored;
    pthread_rwlock_wrlock(&set->lock);
    enum pl_err err = put(set, s, news == NULL ? &ignored : news);
    if (err == PL_OK && s->active)
        hint(set, s->account);
    pthread_rwlock_unlock(&set->lock);
    return err;
}

void suppression_set_forget(struct suppression_set *set, uint64_t account)
{
    pthread_rwlock_wrlock(&set->lock);
    struct account *gone = account_of(set, account);
    if (gone != NULL) {
        set->active -= gone->active;
        tdelete(gone, &set->accounts, compare_accounts);
    }
    pthread_rwlock_unlock(&set->lock);
    if (gone != NULL)
        free_account(gone);
}

/* ---- asking */

bool suppression_set_any(const struct suppression_set *set, uint64_t account)
{
    const uint64_t bit = (account * UINT64_C(0x9e3779b97f4a7c15)) >> 52;
    return (atomic_load_explicit(&set->hints[bit / 64], memory_order_acquire) >> (bit % 64)) & 1;
}

/* Under the lock. */
static const struct person *person_of(struct suppression_set *set, uint64_t account,
                                      const uint8_t hash[ID_HASH_BYTES])
{
    struct person probe = {.active = NULL};
    memcpy(probe.hash, hash, ID_HASH_BYTES);
    const struct account *whose = account_of(set, account);
    return whose == NULL ? NULL : find(&whose->persons, &probe, compare_persons);
}

bool suppression_set_holds_hash(struct suppression_set *set, uint64_t account,
                                const uint8_t hash[ID_HASH_BYTES], int64_t accepted_ms)
{
    pthread_rwlock_rdlock(&set->lock);
    const struct person *person = person_of(set, account, hash);
    const bool held = person != NULL && person->active != NULL && person->since_ms <= accepted_ms;
    pthread_rwlock_unlock(&set->lock);
    return held;
}

size_t suppression_set_standing(struct suppression_set *set, uint64_t account,
                                const uint8_t hash[ID_HASH_BYTES], struct suppression *out,
                                size_t max)
{
    size_t count = 0;
    pthread_rwlock_rdlock(&set->lock);
    const struct person *person = person_of(set, account, hash);
    for (const struct record *r = person == NULL ? NULL : person->active; r != NULL; r = r->next)
        if (count++ < max)
            out[count - 1] = r->said;
    pthread_rwlock_unlock(&set->lock);
    return count;
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
    return suppression_set_holds_hash(set, account, hash, accepted_ms);
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

/* Under the lock. */
static const struct record *record_of(struct suppression_set *set, const struct suppression *s)
{
    const struct record probe = {.said = *s};
    const struct account *account = account_of(set, s->account);
    return account == NULL ? NULL : find(&account->records, &probe, compare_records);
}

bool suppression_set_knows(struct suppression_set *set, const struct suppression *s)
{
    pthread_rwlock_rdlock(&set->lock);
    const struct record *record = record_of(set, s);
    const bool known = record != NULL && record->said.active &&
                       memcmp(record->said.id_hash, s->id_hash, ID_HASH_BYTES) == 0;
    pthread_rwlock_unlock(&set->lock);
    return known;
}

bool suppression_set_undone(struct suppression_set *set, const struct suppression *s)
{
    pthread_rwlock_rdlock(&set->lock);
    const struct record *record = record_of(set, s);
    const bool undone = record != NULL && !record->said.active;
    pthread_rwlock_unlock(&set->lock);
    return undone;
}

static struct suppression_counts counts_of(const struct account *account)
{
    return (struct suppression_counts){account->account, account->active, account->record_count};
}

void suppression_set_count_of(struct suppression_set *set, uint64_t account,
                              struct suppression_counts *out)
{
    pthread_rwlock_rdlock(&set->lock);
    const struct account *whose = account_of(set, account);
    *out = whose == NULL ? (struct suppression_counts){.account = account} : counts_of(whose);
    pthread_rwlock_unlock(&set->lock);
}

static void compare_counts(const void *node, VISIT visit, void *fullest)
{
    const struct account *account = *(struct account *const *)node;
    struct suppression_counts *most = fullest;
    if ((visit == postorder || visit == leaf) && account->active > most->active)
        *most = counts_of(account);
}

void suppression_set_fullest(struct suppression_set *set, struct suppression_counts *out)
{
    *out = (struct suppression_counts){0};
    pthread_rwlock_rdlock(&set->lock);
    twalk_r(set->accounts, compare_counts, out);
    pthread_rwlock_unlock(&set->lock);
}
