#include "origin/accounts/edges.h"
#include "origin/families.h"
#include "origin/request.h"
#include "proto/base/text.h"
#include "proto/wire/limits.h"

#include <pthread.h>
#include <stdlib.h>

#define KNOWN_MAX ((size_t)4 * LIMIT_EDGES)

struct edges {
    struct store *store;
    const struct pl_clock *clock;
    struct redo *redo; /* NULL: there is none */
    void (*on_revoke)(void *ctx, const struct pl_id128 *edge);
    void *on_revoke_ctx;
    pthread_mutex_t changing; /* one change at a time, over its write too */
    bool stale;               /* under `changing`: a write failed, which may turn up after all */
    pthread_rwlock_t lock;    /* the table; changed only under `changing` */
    struct edge_record *table;
    size_t count;
};

static struct edge_record *find(const struct edges *edges, const struct pl_id128 *id)
{
    for (size_t i = 0; i < edges->count; i++) {
        if (pl_id128_eq(&edges->table[i].id, id)) {
            return &edges->table[i];
        }
    }
    return NULL;
}

void edge_write_json(const struct edge_record *edge, struct json_writer *w)
{
    json_write_object(w);
    json_write_pair_hex(w, "id", pl_span(edge->id.bytes, sizeof(edge->id.bytes)));
    json_write_pair_text(w, "name", edge->name);
    json_write_pair_text(w, "region", edge->region);
    json_write_pair_hex(w, "link_public_der", pl_span(edge->link_public, edge->link_public_len));
    json_write_pair_hex(w, "seal_public", pl_span(edge->seal_public, sizeof(edge->seal_public)));
    json_write_pair_time(w, "enrolled_at", edge->enrolled_ms);
    json_write_pair_time(w, "revoked_at", edge->revoked_ms);
    json_write_object_end(w);
}

static enum pl_err read_link_key(struct json object, struct edge_record *edge, struct pl_why *why)
{
    struct json value;
    struct pl_span text;
    struct pl_buf der = {
        .data = edge->link_public,
        .cap = sizeof(edge->link_public),
        .max_bytes = sizeof(edge->link_public),
    };
    if (json_get(object, "link_public_der", &value) && json_string(value, &text) &&
        text.len <= 2 * sizeof(edge->link_public) && text.len % 2 == 0 &&
        pl_hex_decode(text, edge->link_public, text.len / 2)) {
        edge->link_public_len = text.len / 2;
        return PL_OK;
    }
    if (!json_get(object, "link_public", &value) || !json_string(value, &text) ||
        pl_base64_decode(text, &der) != PL_OK || der.len == 0) {
        return pl_fail_field(why, PL_EINVAL, "link_public",
                             "link_public must be a SubjectPublicKeyInfo in base64");
    }
    edge->link_public_len = der.len;
    return PL_OK;
}

static enum pl_err read_edge(struct json object, struct edge_record *edge, struct pl_why *why)
{
    enum pl_err err;
    memset(edge, 0, sizeof(*edge));
    if ((err = request_id128(object, "id", &edge->id, why)) != PL_OK ||
        (err = request_text(object, "name", edge->name, sizeof(edge->name), why)) != PL_OK ||
        (err = request_text(object, "region", edge->region, sizeof(edge->region), why)) != PL_OK ||
        (err = read_link_key(object, edge, why)) != PL_OK ||
        (err = request_hex(object, "seal_public", edge->seal_public, sizeof(edge->seal_public),
                           why)) != PL_OK ||
        (err = request_time(object, "enrolled_at", &edge->enrolled_ms, why)) != PL_OK) {
        return err;
    }
    return request_time(object, "revoked_at", &edge->revoked_ms, why);
}

/* Of one that is to be enrolled: what was recorded once must not keep the origin from starting. */
static enum pl_err check_edge(const struct edge_record *edge, struct pl_why *why)
{
    static const struct pl_id128 no_id = {{0}};
    static const uint8_t no_key[PL_X25519_BYTES] = {0};
    if (pl_id128_eq(&edge->id, &no_id)) {
        return pl_fail_field(why, PL_EINVAL, "id", "id is missing: 32 hex digits");
    }
    if (edge->name[0] == '\0') {
        return pl_fail_field(why, PL_EINVAL, "name", "name is missing");
    }
    if (edge->region[0] == '\0') {
        return pl_fail_field(why, PL_EINVAL, "region", "region is missing, e.g. \"eu\"");
    }
    if (edge->region[strspn(edge->region, "abcdefghijklmnopqrstuvwxyz0123456789-")] != '\0') {
        return pl_fail_field(why, PL_EINVAL, "region",
                             "region must be of a-z, 0-9 and -, such as eu: no edge takes another");
    }
    if (memcmp(edge->seal_public, no_key, sizeof(no_key)) == 0) {
        return pl_fail_field(why, PL_EINVAL, "seal_public",
                             "seal_public is missing: an X25519 "
                             "public key, 64 hex digits");
    }
    return PL_OK;
}

static enum pl_err add(struct edges *edges, const struct edge_record *edge)
{
    struct edge_record *grown = reallocarray(edges->table, edges->count + 1, sizeof(*edges->table));
    if (grown == NULL) {
        return PL_ENOMEM;
    }
    edges->table = grown;
    edges->table[edges->count++] = *edge;
    return PL_OK;
}

static enum pl_err load(void *ctx, struct pl_span key, struct json record, struct pl_why *why)
{
    struct edge_record edge;
    (void)key;
    enum pl_err err = read_edge(record, &edge, why);
    return err == PL_OK ? add(ctx, &edge) : pl_fail_in(why, err, "a stored edge");
}

static int by_enrolment(const void *a, const void *b)
{
    const struct edge_record *x = a, *y = b;
    return (x->enrolled_ms > y->enrolled_ms) - (x->enrolled_ms < y->enrolled_ms);
}

static enum pl_err load_all(struct edges *edges, struct pl_why *why)
{
    enum pl_err err = request_each_record(edges->store, FAMILY_EDGES, load, edges, why);
    if (err == PL_OK && edges->count > 1) {
        qsort(edges->table, edges->count, sizeof(*edges->table), by_enrolment);
    }
    return err;
}

/* Under `changing`. */
static enum pl_err catch_up(struct edges *edges, struct pl_why *why)
{
    struct edges fresh = {.store = edges->store};
    if (!edges->stale) {
        return PL_OK;
    }
    enum pl_err err = store_sync(edges->store, why); /* fails until the store has recovered */
    if (err == PL_OK) {
        err = load_all(&fresh, why);
    }
    if (err != PL_OK) {
        free(fresh.table);
        return err;
    }
    pthread_rwlock_wrlock(&edges->lock);
    free(edges->table);
    edges->table = fresh.table;
    edges->count = fresh.count;
    pthread_rwlock_unlock(&edges->lock);
    edges->stale = false;
    return PL_OK;
}

enum pl_err edges_open(struct edges **out, struct store *store, const struct pl_clock *clock,
                       struct pl_why *why)
{
    struct edges *edges = calloc(1, sizeof(*edges));
    if (edges == NULL) {
        return pl_fail(why, PL_ENOMEM, "no memory for the edges");
    }
    edges->store = store;
    edges->clock = clock;
    pthread_mutex_init(&edges->changing, NULL);
    pthread_rwlock_init(&edges->lock, NULL);
    enum pl_err err = load_all(edges, why);
    if (err != PL_OK) {
        edges_close(edges);
        return err;
    }
    *out = edges;
    return PL_OK;
}

void edges_close(struct edges *edges)
{
    if (edges != NULL) {
        pthread_rwlock_destroy(&edges->lock);
        pthread_mutex_destroy(&edges->changing);
        free(edges->table);
        free(edges);
    }
}

void edges_on_revoke(struct edges *edges, void (*fn)(void *ctx, const struct pl_id128 *edge),
                     void *ctx)
{
    edges->on_revoke = fn;
    edges->on_revoke_ctx = ctx;
}

void edges_note_to(struct edges *edges, struct redo *redo)
{
    edges->redo = redo;
}

static enum pl_err save(struct edges *edges, const struct edge_record *edge, struct pl_why *why)
{
    struct json_writer *w = NULL;
    struct pl_buf bytes;
    pl_buf_init(&bytes, 8192);
    enum pl_err err = json_writer_new(&w, false);
    if (err == PL_OK) {
        json_writer_begin(w, &bytes);
        edge_write_json(edge, w);
        err = json_writer_end(w);
    }
    if (err == PL_OK) {
        const struct redo_change change = {
            .record = {.kind = edge->revoked_ms != 0 ? REDO_EDGE : REDO_CHANGE,
                       .what = edge->revoked_ms != 0 ? NULL : "edge",
                       .id = edge->id},
            .store = edges->store,
            .family = FAMILY_EDGES,
            .key = pl_span(edge->id.bytes, sizeof(edge->id.bytes)),
            .row = pl_buf_span(&bytes),
        };
        err = redo_make(edges->redo, &change, why);
        edges->stale = err != PL_OK;
    } else {
        err = pl_fail(why, err, "the edge cannot be recorded: %s", pl_err_word(err));
    }
    json_writer_free(w);
    pl_buf_release(&bytes);
    return err;
}

static enum pl_err check_new(const struct edges *edges, const struct edge_record *edge,
                             struct pl_why *why)
{
    size_t live = 0;
    for (size_t i = 0; i < edges->count; i++) {
        live += edges->table[i].revoked_ms == 0;
    }
    if (live >= LIMIT_EDGES) {
        return pl_fail(why, PL_ELIMIT,
                       "there are %zu edges, as many as an origin takes; revoke one first", live);
    }
    if (edges->count >= KNOWN_MAX) {
        return pl_fail(why, PL_ELIMIT,
                       "there are %zu edges with those that are revoked, as many as an origin "
                       "knows; they go 100 days after their revocation",
                       edges->count);
    }
    if (find(edges, &edge->id) != NULL) {
        return pl_fail_field(why, PL_EEXISTS, "id", "an edge with this id is enrolled already");
    }
    for (size_t i = 0; i < edges->count; i++) {
        if (edges->table[i].revoked_ms == 0 && strcmp(edges->table[i].name, edge->name) == 0) {
            return pl_fail_field(why, PL_EEXISTS, "name",
                                 "an edge named %s is enrolled already; revoke it first",
                                 edge->name);
        }
    }
    return PL_OK;
}

enum pl_err edges_enroll(struct edges *edges, struct json request, struct edge_record *out,
                         struct pl_why *why)
{
    static const char *const members[] = {"id",          "name",        "region",
                                          "link_public", "seal_public", NULL};
    struct edge_record edge;
    enum pl_err err;
    if ((err = request_only(request, members, why)) != PL_OK ||
        (err = read_edge(request, &edge, why)) != PL_OK ||
        (err = check_edge(&edge, why)) != PL_OK) {
        return err;
    }
    edge.enrolled_ms = pl_wall_ms(edges->clock);
    pthread_mutex_lock(&edges->changing);
    err = catch_up(edges, why);
    if (err == PL_OK) {
        err = check_new(edges, &edge, why);
    }
    if (err == PL_OK) {
        err = save(edges, &edge, why);
    }
    if (err == PL_OK) {
        pthread_rwlock_wrlock(&edges->lock);
        err = add(edges, &edge);
        edges->stale = err != PL_OK;
        pthread_rwlock_unlock(&edges->lock);
    }
    pthread_mutex_unlock(&edges->changing);
    if (err == PL_OK) {
        *out = edge;
    }
    return err;
}

enum pl_err edges_revoke(struct edges *edges, const struct pl_id128 *id, struct edge_record *out,
                         struct pl_why *why)
{
    pthread_mutex_lock(&edges->changing);
    enum pl_err err = catch_up(edges, why);
    struct edge_record *edge = find(edges, id);
    if (err == PL_OK && edge == NULL) {
        err = pl_fail(why, PL_ENOTFOUND, "no such edge; polderctl edge list shows them");
    } else if (err == PL_OK && edge->revoked_ms == 0) {
        struct edge_record revoked = *edge;
        revoked.revoked_ms = pl_wall_ms(edges->clock);
        err = save(edges, &revoked, why);
        if (err == PL_OK) {
            pthread_rwlock_wrlock(&edges->lock);
            *edge = revoked;
            pthread_rwlock_unlock(&edges->lock);
        }
    }
    if (err == PL_OK) {
        *out = *edge;
    }
    pthread_mutex_unlock(&edges->changing);
    if (err == PL_OK && edges->on_revoke != NULL) {
        edges->on_revoke(edges->on_revoke_ctx, id);
    }
    return err;
}

/* Under `changing`. */
static enum pl_err take_out(struct edges *edges, const struct pl_id128 *id, struct pl_why *why)
{
    struct store_batch *batch;
    enum pl_err err = store_batch_new(&batch);
    if (err != PL_OK) {
        return pl_fail(why, err, "no memory for a change of the edges");
    }
    store_batch_delete(batch, edges->store, FAMILY_EDGES, pl_span(id->bytes, sizeof(id->bytes)));
    err = store_write(edges->store, batch, true, why);
    edges->stale = err != PL_OK;
    store_batch_free(batch);
    if (err == PL_OK) {
        pthread_rwlock_wrlock(&edges->lock);
        struct edge_record *edge = find(edges, id);
        memmove(edge, edge + 1, (size_t)(edges->table + edges->count - (edge + 1)) * sizeof(*edge));
        edges->count--;
        pthread_rwlock_unlock(&edges->lock);
    }
    return err;
}

enum pl_err edges_forget(struct edges *edges, int64_t revoked_until_ms,
                         bool (*may_go)(void *ctx, const struct pl_id128 *edge), void *ctx,
                         struct pl_why *why)
{
    pthread_mutex_lock(&edges->changing);
    enum pl_err err = catch_up(edges, why);
    for (size_t i = 0; err == PL_OK && i < edges->count;) {
        const struct edge_record *edge = &edges->table[i];
        const struct pl_id128 id = edge->id;
        if (edge->revoked_ms == 0 || edge->revoked_ms > revoked_until_ms || !may_go(ctx, &id)) {
            i++;
        } else {
            err = take_out(edges, &id, why);
        }
    }
    pthread_mutex_unlock(&edges->changing);
    return err;
}

enum pl_err edges_list(struct edges *edges, struct edge_record **out, size_t *count)
{
    pthread_rwlock_rdlock(&edges->lock);
    struct edge_record *copy = calloc(edges->count + 1, sizeof(*copy));
    if (copy != NULL) {
        if (edges->count > 0) {
            memcpy(copy, edges->table, edges->count * sizeof(*copy));
        }
        *count = edges->count;
        *out = copy;
    }
    pthread_rwlock_unlock(&edges->lock);
    return copy == NULL ? PL_ENOMEM : PL_OK;
}

static enum pl_err get_valid(struct edges *edges, const struct pl_id128 *id,
                             struct edge_record *out)
{
    enum pl_err err = PL_ENOTFOUND;
    pthread_rwlock_rdlock(&edges->lock);
    const struct edge_record *edge = find(edges, id);
    if (edge != NULL) {
        *out = *edge;
        err = edge->revoked_ms != 0 ? PL_EDENIED : PL_OK;
    }
    pthread_rwlock_unlock(&edges->lock);
    return err;
}

enum pl_err edges_link_key(void *ctx, const struct pl_id128 *id, struct pl_buf *spki_der)
{
    struct edge_record edge;
    enum pl_err err = get_valid(ctx, id, &edge);
    return err == PL_OK ? pl_buf_append(spki_der, edge.link_public, edge.link_public_len) : err;
}

enum pl_err edges_seal_key(void *ctx, const struct pl_id128 *id,
                           uint8_t public_key[PL_X25519_BYTES])
{
    struct edge_record edge;
    enum pl_err err = get_valid(ctx, id, &edge);
    if (err == PL_OK) {
        memcpy(public_key, edge.seal_public, PL_X25519_BYTES);
    }
    return err;
}
