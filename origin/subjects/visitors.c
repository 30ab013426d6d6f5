#include "origin/subjects/visitors.h"
#include "origin/vault/vault_days.h"
#include "proto/wire/event_mask.h"
#include "proto/wire/limits.h"

#include <stdlib.h>

struct visitors {
    struct store *store;
    struct vault_sealer *sealer;
    struct id_hashers *hashers;
    struct event_reader *reader;
    struct event *event;
    struct pl_buf encoded;
};

enum pl_err visitors_new(struct visitors **out, struct store *store, struct keyring *keyring)
{
    struct visitors *v = calloc(1, sizeof(*v));
    if (v == NULL)
        return PL_ENOMEM;
    v->store = store;
    pl_buf_init(&v->encoded, 2 * LIMIT_EVENT_WIRE_BYTES);
    v->event = calloc(1, sizeof(*v->event));
    enum pl_err err = v->event == NULL ? PL_ENOMEM : event_reader_new(&v->reader);
    if (err == PL_OK)
        err = vault_sealer_new(&v->sealer, keyring, 16);
    if (err == PL_OK)
        err = id_hashers_new(&v->hashers, keyring, 4);
    if (err != PL_OK) {
        visitors_free(v);
        return err;
    }
    *out = v;
    return PL_OK;
}

void visitors_free(struct visitors *v)
{
    if (v == NULL)
        return;
    vault_sealer_free(v->sealer);
    id_hashers_free(v->hashers);
    event_reader_free(v->reader);
    free(v->event);
    pl_buf_wipe(&v->encoded);
    free(v);
}

void visitors_tidy(struct visitors *v)
{
    vault_sealer_tidy(v->sealer);
    id_hashers_tidy(v->hashers);
}

/* ---- whose ids */

static bool is_user(enum identity_kind kind)
{
    return kind == IDENTITY_USER || kind == IDENTITY_USER_PLACE;
}

/* The identity of an id of an event that was read. */
static enum pl_err identify(struct visitors *v, uint64_t account, struct pl_span id,
                            enum identity_kind kind, struct identity *out)
{
    uint8_t prefix[VAULT_VISITOR_PREFIX];
    struct id_hasher *hasher;
    /* The hash is the same on every day. */
    enum pl_err err = vault_visitor_prefix(v->sealer, account, 0, id, is_user(kind), prefix);
    if (err == PL_OK)
        err = id_hashers_of(v->hashers, account, &hasher);
    if (err == PL_OK)
        err = suppression_hash_by(hasher, id, out->hash);
    if (err != PL_OK)
        return err;
    out->kind = (uint8_t)kind;
    memcpy(out->vault_hash, prefix + 10, sizeof(out->vault_hash));
    return PL_OK;
}

struct expansion {
    struct visitors *visitors;
    uint64_t account;
    struct identities *identities;
    bool follow;
    struct identity near;          /* whose links are looked at */
    enum link_direction direction; /* in which */
};

static enum pl_err add(struct expansion *x, struct pl_span id, enum identity_kind kind)
{
    struct identity found;
    enum pl_err err = identify(x->visitors, x->account, id, kind, &found);
    return err == PL_OK ? identities_add(x->identities, &found, NULL) : err;
}

/* Whether the id behind a row is the one that was looked for, not another with its hash. */
static enum pl_err confirm(struct visitors *v, uint64_t account, const struct identity *identity,
                           const struct link *link, bool *same)
{
    struct identity read;
    const bool user = is_user(identity->kind);
    enum pl_err err = identify(v, account, user ? link->user : link->from,
                               user ? IDENTITY_USER : IDENTITY_VISITOR, &read);
    *same = err == PL_OK && memcmp(read.hash, identity->hash, sizeof(read.hash)) == 0;
    return err == PL_EINVAL || err == PL_ELIMIT ? PL_OK : err;
}

/* ---- whether an id that an alias names as its previous one is a user's, or a device's: from a
 * device the way leads on to everybody who used it. */

/* visit's own: it is so. */
#define YES PL_EEXISTS

static enum pl_err is_shared(void *ctx, const struct link *link)
{
    const struct pl_span *id = ctx;
    return pl_span_eq(link->from, *id) && !pl_span_eq(link->user, *id) ? YES : PL_OK;
}

static enum pl_err is_stored(void *ctx, const struct visitor_event *event)
{
    (void)ctx;
    (void)event;
    return YES;
}

/* YES: somebody was seen with it who has another name. */
static enum pl_err find_device(struct visitors *v, uint64_t account, struct pl_span id,
                               const struct identity *as_previous)
{
    return links_each(v->store, v->sealer, account, LINK_VISITOR_TO_USER, as_previous->vault_hash,
                      is_shared, &id, NULL);
}

/* YES: an event says that it is a user's. Those with a visitor id have left a link. */
static enum pl_err find_user(struct visitors *v, uint64_t account, struct pl_span id)
{
    struct identity user;
    struct visitor_cursor cursor = {.day = 0};
    enum pl_err err = identify(v, account, id, IDENTITY_USER, &user);
    const struct identities only = {.list = &user, .count = 1};
    return err == PL_OK ? visitors_walk(v, account, &only, &cursor, SIZE_MAX, is_stored, NULL)
                        : err;
}

static bool has(const struct identities *all, const struct identity *identity)
{
    for (size_t i = 0; i < all->count; i++)
        if (all->list[i].kind == identity->kind &&
            memcmp(all->list[i].hash, identity->hash, sizeof(identity->hash)) == 0 &&
            memcmp(all->list[i].vault_hash, identity->vault_hash, sizeof(identity->vault_hash)) ==
                0)
            return true;
    return false;
}

/* A user id, as aliases name it; sure: it is known to be one. */
static enum pl_err add_previous(struct expansion *x, struct pl_span id, bool sure)
{
    struct visitors *v = x->visitors;
    struct identity previous;
    enum pl_err err = identify(v, x->account, id, IDENTITY_PREVIOUS, &previous);
    if (err != PL_OK || has(x->identities, &previous))
        return err;
    err = find_device(v, x->account, id, &previous);
    if (err != PL_OK)
        return err == YES ? PL_OK : err;
    err = sure ? YES : find_user(v, x->account, id);
    return err == YES ? identities_add(x->identities, &previous, NULL) : err;
}

/* Both ids of a pair, one of which is the person's. Those of an alias may be users' or visitors'.
 */
static enum pl_err add_pair(struct expansion *x, const struct link *link)
{
    const bool alias =
        x->direction == LINK_PREVIOUS_TO_USER || x->direction == LINK_USER_TO_PREVIOUS;
    enum pl_err err = add(x, link->from, IDENTITY_VISITOR);
    if (err == PL_OK)
        err = add(x, link->user, IDENTITY_USER);
    if (err == PL_OK)
        err = add_previous(x, link->user, true);
    if (err == PL_OK && alias)
        err = add(x, link->from, IDENTITY_USER);
    if (err == PL_OK && alias)
        err = add(x, link->user, IDENTITY_VISITOR);
    if (err == PL_OK && alias)
        err = add_previous(x, link->from, false);
    return err;
}

/* Under whose ids events lie that name the one that was asked about. */
static enum pl_err add_place(struct expansion *x, const struct link *link)
{
    return x->direction == LINK_PREVIOUS_TO_USER ? add(x, link->user, IDENTITY_USER_PLACE)
                                                 : add(x, link->from, IDENTITY_PLACE);
}

static enum pl_err on_link(void *ctx, const struct link *link)
{
    struct expansion *x = ctx;
    bool same;
    enum pl_err err = confirm(x->visitors, x->account, &x->near, link, &same);
    if (err != PL_OK || !same)
        return err;
    return x->follow ? add_pair(x, link) : add_place(x, link);
}

/* Which way the links of an id lead to more of its person's; 0: none. */
static void directions_of(enum identity_kind kind, enum link_direction out[2])
{
    out[0] = out[1] = 0;
    if (kind == IDENTITY_ASKED) {
        out[0] = LINK_VISITOR_TO_USER;
        out[1] = LINK_PREVIOUS_TO_USER;
    } else if (kind == IDENTITY_USER) {
        out[0] = LINK_USER_TO_VISITOR;
        out[1] = LINK_USER_TO_PREVIOUS;
    } else if (kind == IDENTITY_PREVIOUS) {
        out[0] = LINK_PREVIOUS_TO_USER;
    }
}

/* Which way they lead to events that name it. What names a visitor lies under that, what names a
 * user under its visitor, what names a previous id under its user or that one's visitor. */
static enum link_direction place_of(enum identity_kind kind)
{
    switch (kind) {
    case IDENTITY_ASKED:
    case IDENTITY_PREVIOUS:
        return LINK_PREVIOUS_TO_USER;
    case IDENTITY_USER:
    case IDENTITY_USER_PLACE:
        return LINK_USER_TO_VISITOR;
    default:
        return 0;
    }
}

enum pl_err visitors_expand(struct visitors *v, uint64_t account, bool follow,
                            struct identities *identities)
{
    struct expansion x = {
        .visitors = v, .account = account, .identities = identities, .follow = follow};
    enum pl_err err = PL_OK;
    /* The list grows while it is walked. */
    for (size_t i = 0; err == PL_OK && i < identities->count; i++) {
        enum link_direction directions[2] = {0};
        x.near = identities->list[i];
        if (follow)
            directions_of(x.near.kind, directions);
        else
            directions[0] = place_of(x.near.kind);
        for (size_t d = 0; err == PL_OK && d < 2 && directions[d] != 0; d++) {
            x.direction = directions[d];
            err = links_each(v->store, v->sealer, account, x.direction, x.near.vault_hash, on_link,
                             &x, NULL);
        }
    }
    return err;
}

struct link_walk {
    struct visitors *visitors;
    uint64_t account;
    const struct identities *identities;
    const struct identity *near;
    enum pl_err (*visit)(void *ctx, const struct link *link);
    void *ctx;
};

/* Whether the pair is met from its other side. */
static bool was_met(const struct link_walk *w, const struct link *link)
{
    const uint8_t *from_hash = link->key + 17;
    const bool alias = link->key[8] == LINK_USER_TO_PREVIOUS;
    for (size_t i = 0; w->near->kind == IDENTITY_USER && i < w->identities->count; i++) {
        const struct identity *id = &w->identities->list[i];
        if ((id->kind == IDENTITY_ASKED || (alias && id->kind == IDENTITY_PREVIOUS)) &&
            memcmp(id->vault_hash, from_hash, IDENTITY_HASH_BYTES) == 0)
            return true;
    }
    return false;
}

static enum pl_err hand_on(void *ctx, const struct link *link)
{
    struct link_walk *w = ctx;
    bool same;
    enum pl_err err = confirm(w->visitors, w->account, w->near, link, &same);
    return err == PL_OK && same && !was_met(w, link) ? w->visit(w->ctx, link) : err;
}

enum pl_err visitors_links(struct visitors *v, uint64_t account,
                           const struct identities *identities,
                           enum pl_err (*visit)(void *ctx, const struct link *link), void *ctx)
{
    struct link_walk w = {
        .visitors = v, .account = account, .identities = identities, .visit = visit, .ctx = ctx};
    enum pl_err err = PL_OK;
    for (size_t i = 0; err == PL_OK && i < identities->count; i++) {
        enum link_direction directions[2];
        w.near = &identities->list[i];
        directions_of(w.near->kind, directions);
        for (size_t d = 0; err == PL_OK && d < 2 && directions[d] != 0; d++)
            err = links_each(v->store, v->sealer, account, directions[d], w.near->vault_hash,
                             hand_on, &w, NULL);
    }
    return err;
}

/* ---- from what somebody asks about */

/* An account masks what it likes, and may have changed its mind: every form that an id may have
 * been stored in. */
static enum pl_err add_forms(struct visitors *v, uint64_t account, struct pl_span id,
                             struct identities *out)
{
    struct id_hasher *hasher;
    uint8_t room[2 * EVENT_MASK_SCRATCH_ID_BYTES];
    struct expansion x = {.visitors = v, .account = account, .identities = out};
    enum pl_err err = id_hashers_of(v->hashers, account, &hasher);
    for (unsigned kinds = 0; err == PL_OK && kinds <= PII_ALL; kinds++) {
        const struct event_mask_policy policy = {.kinds = kinds, .id_key = id_hasher_key(hasher)};
        struct pl_buf scratch = {.data = room, .cap = sizeof(room), .max_bytes = sizeof(room)};
        struct pl_span stored;
        err = event_mask_stored_id(&policy, id, &scratch, &stored);
        if (err == PL_OK)
            err = add(&x, stored, IDENTITY_ASKED);
        if (err == PL_OK)
            err = add(&x, stored, IDENTITY_USER);
        if (err == PL_OK)
            err = id_hashers_of(v->hashers, account, &hasher);
    }
    return err;
}

static enum pl_err explain(enum pl_err err, struct pl_why *why)
{
    switch (err) {
    case PL_EEXPIRED:
        return pl_fail(why, err, "the account's data was deleted: its key is destroyed");
    case PL_ENOTFOUND:
        return pl_fail(why, PL_ECORRUPT,
                       "the account's data key is not in the keyring, so nothing of it can be read "
                       "(see /ready)");
    case PL_ELIMIT:
        return pl_fail_field(
            why, err, "id",
            "too many ids were seen with this one (%d are followed, a user's count "
            "twice): no single person has so many (a user id that all visitors "
            "share, perhaps). Ask for a visitor id alone, without those linked to "
            "it",
            IDENTITIES_MAX);
    default:
        return pl_fail(why, err, "the ids of a visitor cannot be read: %s", pl_err_word(err));
    }
}

enum pl_err visitors_find(struct visitors *v, uint64_t account, struct pl_span id, bool follow,
                          struct identities *out, struct pl_why *why)
{
    struct identities found = {.list = NULL};
    if (id.len == 0)
        return pl_fail_field(why, PL_EINVAL, "id", "the visitor's id is missing");
    if (id.len > LIMIT_ID_BYTES)
        return pl_fail_field(why, PL_ELIMIT, "id", "an id has at most %d bytes", LIMIT_ID_BYTES);
    enum pl_err err = add_forms(v, account, id, &found);
    if (err == PL_OK)
        err = visitors_expand(v, account, follow, &found);
    if (err != PL_OK) {
        identities_release(&found);
        return explain(err, why);
    }
    identities_sort(&found);
    *out = found;
    return PL_OK;
}

/* ---- whose events */

struct event_walk {
    struct visitors *visitors;
    uint64_t account;
    const struct identities *identities;
    struct visitor_cursor *cursor;
    size_t left;
    enum pl_err (*visit)(void *ctx, const struct visitor_event *event);
    void *ctx;
};

static bool cannot_be_read(enum pl_err err)
{
    return err == PL_EAUTH || err == PL_ECORRUPT || err == PL_EUNSUPPORTED;
}

/* One value under the hash of one of the ids: it is the person's if what it holds says so. */
static enum pl_err take(struct event_walk *w, const struct vault_key *key, struct pl_span value)
{
    struct visitors *v = w->visitors;
    struct event_ids ids;
    pl_buf_reset(&v->encoded);
    enum pl_err err = vault_open_value(v->sealer, key, value, &v->encoded);
    if (err == PL_OK) {
        struct pl_span rest = pl_buf_span(&v->encoded);
        err = event_read(v->reader, &rest, v->event, NULL, NULL);
    }
    if (err == PL_OK)
        err = id_hashers_event(v->hashers, v->event, &ids);
    if (cannot_be_read(err)) {
        w->cursor->damaged++;
        return PL_OK;
    }
    if (err != PL_OK || !identities_match(w->identities, &ids))
        return err;
    const struct visitor_event found = {.key = key, .value = value, .event = v->event};
    return w->visit(w->ctx, &found);
}

/* The part of a day under one id's hash, from the cursor on. */
static enum pl_err walk_prefix(struct event_walk *w, const uint8_t prefix[VAULT_VISITOR_PREFIX])
{
    struct visitor_cursor *c = w->cursor;
    struct store_scan *scan = NULL;
    struct pl_span key, value;
    struct pl_buf end;
    struct vault_key at;
    pl_buf_init(&end, VAULT_VISITOR_PREFIX);
    enum pl_err err = store_prefix_end(pl_span(prefix, VAULT_VISITOR_PREFIX), &end);
    if (err == PL_OK || err == PL_ENOTFOUND)
        err = store_scan_new(&scan, w->visitors->store, FAMILY_VAULT,
                             c->within ? vault_key_span(&c->after)
                                       : pl_span(prefix, VAULT_VISITOR_PREFIX),
                             pl_buf_span(&end));
    while (err == PL_OK && (err = store_scan_next(scan, &key, &value)) == PL_OK) {
        if (key.len != sizeof(at.bytes) ||
            (c->within && memcmp(key.data, c->after.bytes, sizeof(at.bytes)) == 0))
            continue;
        if (w->left == 0) {
            err = PL_EAGAIN;
            break;
        }
        w->left--;
        memcpy(at.bytes, key.data, sizeof(at.bytes));
        err = take(w, &at, value);
        if (err == PL_OK) {
            c->after = at;
            c->within = true;
        }
    }
    store_scan_free(scan);
    pl_buf_release(&end);
    return err == PL_ENOTFOUND ? PL_OK : err;
}

static enum pl_err walk_day(struct event_walk *w)
{
    struct visitor_cursor *c = w->cursor;
    enum pl_err err = PL_OK;
    uint8_t prefix[VAULT_VISITOR_PREFIX];
    pl_store_u64(prefix, w->account);
    pl_store_u16(prefix + 8, (uint16_t)c->day);
    while (err == PL_OK && c->identity < w->identities->count) {
        const struct identity *id = &w->identities->list[c->identity];
        memcpy(prefix + 10, id->vault_hash, IDENTITY_HASH_BYTES);
        /* Nothing is filed under a previous id. */
        err = id->kind == IDENTITY_PREVIOUS ? PL_OK : walk_prefix(w, prefix);
        if (err == PL_OK) {
            c->within = false;
            c->identity++;
        }
    }
    return err;
}

void visitors_resume(const struct identities *identities, const struct vault_key *last,
                     struct visitor_cursor *cursor)
{
    *cursor = (struct visitor_cursor){.day = vault_key_day(last), .after = *last};
    while (cursor->identity < identities->count) {
        const int order = memcmp(identities->list[cursor->identity].vault_hash, last->bytes + 10,
                                 IDENTITY_HASH_BYTES);
        cursor->within = order == 0;
        if (order >= 0)
            return;
        cursor->identity++;
    }
}

enum pl_err visitors_walk(struct visitors *v, uint64_t account, const struct identities *identities,
                          struct visitor_cursor *cursor, size_t max_keys,
                          enum pl_err (*visit)(void *ctx, const struct visitor_event *event),
                          void *ctx)
{
    struct event_walk w = {.visitors = v,
                           .account = account,
                           .identities = identities,
                           .cursor = cursor,
                           .left = max_keys,
                           .visit = visit,
                           .ctx = ctx};
    enum pl_err err = PL_OK;
    while (err == PL_OK && cursor->day <= VAULT_DAY_MAX) {
        int64_t day = cursor->day;
        err = vault_next_day(v->store, account, VAULT_DAY_MAX, &day);
        if (err != PL_OK)
            break;
        if (day != cursor->day) {
            cursor->day = day;
            cursor->identity = 0;
            cursor->within = false;
        }
        err = walk_day(&w);
        if (err == PL_OK) {
            cursor->day++;
            cursor->identity = 0;
        }
    }
    return err == PL_ENOTFOUND ? PL_OK : err;
}
