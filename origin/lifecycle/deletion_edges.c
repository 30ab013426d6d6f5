/* What a deletion waits for outside of the database: edges, and blocks that they sent. */
#include "origin/lifecycle/deletion_state.h"
#include "origin/lifecycle/lifecycle.h"
#include "proto/base/text.h"

#include <stdlib.h>

/* A block that came and could not be taken may hold events of the account, too; none that comes
 * after the edges have said so. By that moment, and not by the tick's: where blocks are kept aside
 * all the time, some have always come before the latter. */
static enum pl_err let_go_kept(const struct deletion_doing *doing, struct pl_why *why)
{
    struct ledger *ledger = doing->config->ledger;
    struct deletion *deletion = doing->deletion;
    const bool known = deletion->kept_before_ms != 0;
    enum pl_err err = PL_OK;
    if (!known) {
        deletion->kept_before_ms = doing->now_ms + 1;
    }
    if (ledger == NULL || ledger_let_go_kept(ledger, deletion->kept_before_ms)) {
        return PL_OK;
    }
    if (!known && (err = deletion_record(deletion, doing->config, doing->account, why)) != PL_OK) {
        deletion->kept_before_ms = 0;
        return err;
    }
    return pl_fail(why, PL_EAGAIN,
                   "blocks that were kept aside may hold its events: they are dropped within "
                   "minutes");
}

/* Where a restored database brings back what was certified to be gone, the edges have given their
 * word already, and the restore brought nothing back to them. */
static bool is_certified(const struct deletion_doing *doing)
{
    struct pl_buf certificate;
    pl_buf_init(&certificate, CERTIFICATE_BYTES_MAX);
    const bool there = certificate_get(doing->config->store, doing->deletion->account, &certificate,
                                       NULL) == PL_OK;
    pl_buf_release(&certificate);
    return there;
}

static enum pl_err fail_waiting(const struct cutoff_edge *edges, size_t count, struct pl_why *why)
{
    const char *name = "";
    size_t waiting = 0;
    for (size_t i = count; i-- > 0;) {
        if (edges[i].state == CUTOFF_WAITING) {
            waiting++;
            name = edges[i].name;
        }
    }
    return pl_fail(why, PL_EAGAIN,
                   "it waits for %zu %s to say that nothing from before is on them, among them "
                   "%s",
                   waiting, pl_plural(waiting, "edge", "edges"), name);
}

enum pl_err deletion_ask_edges(const struct deletion_doing *doing, struct pl_why *why)
{
    struct cutoffs *cutoffs = doing->config->cutoffs;
    const uint64_t position = doing->deletion->position;
    struct cutoff_edge *edges = NULL;
    size_t count = 0;
    bool done = true;
    enum pl_err err = PL_OK;
    if (cutoffs == NULL || is_certified(doing)) {
        return PL_OK;
    }
    if ((err = cutoffs_of(cutoffs, position, &edges, &count, &done)) != PL_OK) {
        return pl_fail(why, err, "no memory for the edges that have to confirm");
    }
    /* What goes by a date needs a clock. */
    if (!done && doing->believed) {
        err = cutoffs_force(cutoffs, position, deletion_seal_deadline_ms(doing->account), why);
    }
    if (err == PL_OK && !done) {
        err = fail_waiting(edges, count, why);
    }
    free(edges);
    return err;
}

enum pl_err deletion_wait_for_edges(struct deletion_doing *doing, struct pl_why *why)
{
    enum pl_err err = deletion_ask_edges(doing, why);
    if (err == PL_EAGAIN) { /* what one of them took back may come, and be kept aside, again */
        doing->deletion->kept_before_ms = 0;
    }
    return err == PL_OK ? let_go_kept(doing, why) : err;
}

void deletion_note_written_off(const struct deletion_doing *doing)
{
    struct cutoff_edge *edges;
    size_t count;
    bool done;
    if (doing->config->cutoffs == NULL || is_certified(doing) ||
        cutoffs_of(doing->config->cutoffs, doing->deletion->position, &edges, &count, &done) !=
            PL_OK) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        char id[PL_ID128_TEXT];
        pl_id128_format(&edges[i].id, id);
        const struct audit_entry entry = {
            .actor = "lifecycle",
            .action = "edge.written-off",
            .account = doing->deletion->account,
            .object = id,
            .detail = edges[i].reason,
            .outcome = AUDIT_DONE,
        };
        if (edges[i].state == CUTOFF_WRITTEN_OFF) {
            audit_tell(doing->config->audit, &entry);
        }
    }
    free(edges);
}
