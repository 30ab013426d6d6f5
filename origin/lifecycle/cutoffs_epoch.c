/* Of which changelog the edges' word is: after a restore it is another. */
#include "origin/families.h"
#include "origin/lifecycle/cutoffs_state.h"
#include "proto/base/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* The changelog's epoch that the rows are of. */
static const struct pl_span EPOCH_KEY = PL_SPAN_INIT("cutoffs-epoch");

static enum pl_err keep_epoch(struct cutoffs *c, struct pl_why *why)
{
    struct pl_id128 epoch;
    changelog_epoch(c->config.changelog, &epoch);
    return store_put(c->config.store, FAMILY_META, EPOCH_KEY,
                     pl_span(epoch.bytes, sizeof(epoch.bytes)), true, why);
}

/* Edges may have had their first session, and have sealed, after the copy was made. */
static enum pl_err add_forgotten(struct cutoffs *c, struct pl_why *why)
{
    struct edge_record *edges;
    size_t count;
    enum pl_err err = edges_list(c->config.edges, &edges, &count);
    if (err != PL_OK) {
        return pl_fail(why, err, "no memory for what edges have confirmed");
    }
    pthread_mutex_lock(&c->lock);
    for (size_t i = 0; err == PL_OK && i < count; i++) {
        const struct cutoffs_row row = {.edge = edges[i].id};
        struct cutoffs_row *added =
            cutoffs_find(c, &row.edge) == NULL ? cutoffs_add(c, &row) : NULL;
        if (added != NULL) {
            cutoffs_save(c, added, false);
        } else if (cutoffs_find(c, &row.edge) == NULL) {
            err = pl_fail(why, PL_ENOMEM, "no memory for what edges have confirmed");
        }
    }
    pthread_mutex_unlock(&c->lock);
    free(edges);
    return err;
}

enum pl_err cutoffs_look_at_epoch(struct cutoffs *c, struct pl_why *why)
{
    struct pl_id128 epoch;
    struct pl_buf known;
    changelog_epoch(c->config.changelog, &epoch);
    pl_buf_init(&known, 64);
    enum pl_err err = store_get(c->config.store, FAMILY_META, EPOCH_KEY, &known);
    const bool other = !pl_span_eq(pl_buf_span(&known), pl_span(epoch.bytes, sizeof(epoch.bytes)));
    if (err == PL_OK && other) {
        err = add_forgotten(c, why);
    } else if (err != PL_OK && err != PL_ENOTFOUND) {
        pl_fail(why, err, "cannot read what edges have confirmed: %s", pl_err_word(err));
    } else {
        err = PL_OK;
    }
    /* Synced, which the rows before it are then, too. */
    if (err == PL_OK && other) {
        err = keep_epoch(c, why);
    }
    pl_buf_release(&known);
    return err;
}

/* What edges said may have been of positions that came after those the database was put back to,
 * and that stand for other changes by now. */
static void forget_words(struct cutoffs *c)
{
    pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < c->count; i++) {
        c->rows[i].first = c->rows[i].settled = 0;
        cutoffs_save(c, &c->rows[i], false);
    }
    pthread_mutex_unlock(&c->lock);
}

static void tell(struct cutoffs *c, uint64_t more)
{
    char detail[96];
    snprintf(detail, sizeof(detail), "an edge has heard %" PRIu64 " %s more than it holds", more,
             pl_plural(more, "change", "changes"));
    const struct audit_entry entry = {
        .actor = "origin", .action = "database.restored", .detail = detail, .outcome = AUDIT_DONE};
    audit_tell(c->config.audit, &entry);
    pl_log(
        c->config.log, PL_LOG_ERROR, "cutoffs",
        "the database and the redo log stand where they stood before: %s. Edges learn everything "
        "anew; what was decided since then is undone",
        detail);
    pthread_mutex_lock(&c->lock);
    c->heard_too_much = more;
    pthread_mutex_unlock(&c->lock);
}

void cutoffs_heard(struct cutoffs *c, const struct pl_id128 *epoch, uint64_t position)
{
    struct pl_why why = {.err = PL_OK};
    if (!changelog_is_behind(c->config.changelog, epoch, position)) {
        return;
    }
    const uint64_t more = position - changelog_position(c->config.changelog);
    enum pl_err err = add_forgotten(c, &why);
    if (err == PL_OK) {
        forget_words(c);
        err = changelog_renew(c->config.changelog, &why);
    }
    if (err == PL_OK) {
        tell(c, more);
        err = keep_epoch(c, &why); /* the next start does it again where this fails */
    }
    if (err != PL_OK) {
        pl_log(c->config.log, PL_LOG_ERROR, "cutoffs",
               "an edge has heard more than the database holds, and cannot be told to start over: "
               "%s",
               why.text);
    }
}
