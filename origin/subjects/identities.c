#include "origin/subjects/identities.h"

#include <stdlib.h>

void identities_release(struct identities *identities)
{
    free(identities->list);
    *identities = (struct identities){.list = NULL};
}

bool identity_is_place(const struct identity *identity)
{
    return identity->kind == IDENTITY_PLACE || identity->kind == IDENTITY_USER_PLACE;
}

/* What is one id in two roles, of which the one with the lower number says more. */
static unsigned family_of(const struct identity *identity)
{
    switch (identity->kind) {
    case IDENTITY_USER:
    case IDENTITY_USER_PLACE:
        return IDENTITY_USER;
    case IDENTITY_PREVIOUS:
        return IDENTITY_PREVIOUS;
    default:
        return IDENTITY_VISITOR;
    }
}

static bool same_id(const struct identity *a, const struct identity *b)
{
    /* What was asked about is looked for as a previous id as well. */
    return (family_of(a) == family_of(b) ||
            (a->kind == IDENTITY_ASKED && b->kind == IDENTITY_PREVIOUS)) &&
           memcmp(a->hash, b->hash, sizeof(a->hash)) == 0 &&
           memcmp(a->vault_hash, b->vault_hash, sizeof(a->vault_hash)) == 0;
}

enum pl_err identities_add(struct identities *all, const struct identity *identity, bool *news)
{
    bool ignored;
    news = news == NULL ? &ignored : news;
    *news = false;
    for (size_t i = 0; i < all->count; i++) {
        if (!same_id(&all->list[i], identity))
            continue;
        *news = identity->kind < all->list[i].kind;
        if (*news)
            all->list[i].kind = identity->kind;
        return PL_OK;
    }
    if (all->count == IDENTITIES_MAX)
        return PL_ELIMIT;
    if (all->count == all->room) {
        const size_t room = all->room == 0 ? 8 : 2 * all->room;
        struct identity *list = realloc(all->list, room * sizeof(*list));
        if (list == NULL)
            return PL_ENOMEM;
        all->list = list;
        all->room = room;
    }
    all->list[all->count++] = *identity;
    *news = true;
    return PL_OK;
}

static int by_vault_hash(const void *a, const void *b)
{
    const struct identity *x = a, *y = b;
    const int order = memcmp(x->vault_hash, y->vault_hash, sizeof(x->vault_hash));
    return order != 0 ? order : (x->kind > y->kind) - (x->kind < y->kind);
}

void identities_sort(struct identities *all)
{
    if (all->count > 0)
        qsort(all->list, all->count, sizeof(all->list[0]), by_vault_hash);
}

/* One whose hash cannot be made is in none. */
static bool has(const struct identities *all, enum identity_kind kind,
                const struct event_id_hash *id)
{
    if (!id->present || id->failed)
        return false;
    for (size_t i = 0; i < all->count; i++)
        if (all->list[i].kind == kind && memcmp(all->list[i].hash, id->hash, ID_HASH_BYTES) == 0)
            return true;
    return false;
}

bool identities_match(const struct identities *all, const struct event_ids *event)
{
    const struct event_id_hash *visitor = &event->id[EVENT_IDS_VISITOR];
    const struct event_id_hash *user = &event->id[EVENT_IDS_USER];
    const struct event_id_hash *previous = &event->id[EVENT_IDS_PREVIOUS];
    if (has(all, IDENTITY_ASKED, visitor) || has(all, IDENTITY_ASKED, previous) ||
        has(all, IDENTITY_PREVIOUS, previous))
        return true;
    return user->present ? has(all, IDENTITY_USER, user) : has(all, IDENTITY_VISITOR, visitor);
}

enum pl_err identities_encode(const struct identities *all, struct pl_buf *out)
{
    enum pl_err err = pl_buf_reserve(out, all->count * IDENTITY_BYTES);
    for (size_t i = 0; err == PL_OK && i < all->count; i++) {
        (void)pl_buf_put_u8(out, all->list[i].kind);
        (void)pl_buf_append(out, all->list[i].hash, ID_HASH_BYTES);
        (void)pl_buf_append(out, all->list[i].vault_hash, IDENTITY_HASH_BYTES);
    }
    return err;
}

enum pl_err identities_decode(struct pl_span bytes, struct identities *all)
{
    struct pl_reader r = pl_reader(bytes);
    enum pl_err err = bytes.len % IDENTITY_BYTES == 0 ? PL_OK : PL_ECORRUPT;
    while (err == PL_OK && r.rest.len > 0) {
        struct identity one;
        one.kind = pl_get_u8(&r);
        pl_get_bytes(&r, one.hash, sizeof(one.hash));
        pl_get_bytes(&r, one.vault_hash, sizeof(one.vault_hash));
        err = one.kind >= IDENTITY_ASKED && one.kind <= IDENTITY_USER_PLACE
                  ? identities_add(all, &one, NULL)
                  : PL_ECORRUPT;
    }
    return err == PL_ELIMIT ? PL_ECORRUPT : err;
}
