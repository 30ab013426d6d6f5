/* What a deletion has found and done, as its certificate tells it. */
#include "origin/lifecycle/deletion_state.h"
#include "origin/lifecycle/lifecycle.h"

#include <stdio.h>
#include <stdlib.h>

#define SEAL_REASON "its blocks must not be opened any more"

static void set_times(struct certificate_facts *facts, const struct deletion *deletion,
                      const struct account *account, int64_t now_ms)
{
    facts->account = account->id;
    facts->on_request = account->deleted_on_request;
    facts->created_ms = account->created_ms;
    facts->cleared_ms = account->cleared_ms;
    facts->started_ms = account->deletion_started_ms;
    facts->expired_ms = account->expires_at_ms <= facts->started_ms ? account->expires_at_ms : 0;
    facts->requested_ms = account->deleted_on_request ? account->requested_ms : 0;
    facts->limit_ms = deletion_limit_ms(account);
    facts->dropped_ms = deletion->done_ms[DELETION_DROPPED];
    facts->gone_ms = deletion->done_ms[DELETION_GONE];
    facts->edges_ms = deletion->done_ms[DELETION_EDGES];
    facts->ended_ms = now_ms;
    facts->cutoff_epoch = deletion->epoch;
    facts->cutoff_position = deletion->position;
}

static void set_counts(struct certificate_facts *facts, const struct deletion *deletion,
                       const struct account *account)
{
    for (size_t i = 0; i < deletion_kind_count; i++) {
        facts->counts[facts->count_count++] = deletion->counts[i];
    }
    if (account->cleared_ms != 0) {
        facts->counts[facts->count_count++] = deletion->cleared;
    }
}

/* It had ended before it came here. */
static void set_import(struct certificate_facts *facts, const struct account *account)
{
    struct certificate_delay *delay = &facts->delays[facts->delay_count++];
    *delay = (struct certificate_delay){
        .kind = "import", .from_ms = account->expires_at_ms, .until_ms = account->created_ms};
    snprintf(delay->reason, sizeof(delay->reason), "imported after its end");
}

/* Holds that stood when the account would have been due. */
static enum pl_err set_delays(struct certificate_facts *facts, struct holds *list,
                              const struct account *account)
{
    const int64_t due_ms = account_due_ms(account);
    if (account->imported) {
        set_import(facts, account);
    }
    struct hold *holds = calloc(HOLDS_ACCOUNT_MAX, sizeof(*holds));
    if (holds == NULL) {
        return PL_ENOMEM;
    }
    const size_t count = holds_of(list, account->id, holds);
    for (size_t i = 0; i < count && facts->delay_count < CERTIFICATE_DELAYS_MAX; i++) {
        int64_t ended_ms = hold_ended_ms(&holds[i], facts->started_ms);
        if (due_ms == 0 || ended_ms == 0 || ended_ms <= due_ms) {
            continue;
        }
        struct certificate_delay *delay = &facts->delays[facts->delay_count++];
        *delay = (struct certificate_delay){
            .kind = "hold", .from_ms = holds[i].placed_ms, .until_ms = ended_ms};
        snprintf(delay->reason, sizeof(delay->reason), "%s", holds[i].reason);
    }
    free(holds);
    return PL_OK;
}

struct seals {
    struct certificate_facts *facts;
    const struct account *account;
};

/* Sealing keys that ended after this deletion had begun. */
static void take_seal(void *ctx, const struct keyring_state *state)
{
    struct seals *seals = ctx;
    struct certificate_facts *facts = seals->facts;
    if (state->seal_key && state->state == KEYRING_DESTROYED &&
        state->destroyed_ms >= seals->account->deletion_started_ms &&
        facts->seal_count < CERTIFICATE_SEALS_MAX) {
        memcpy(facts->seals[facts->seal_count++].id, state->seal_id, sizeof(state->seal_id));
    }
}

static enum pl_err set_seals(struct certificate_facts *facts, struct keyring *keyring,
                             const struct account *account, struct pl_why *why)
{
    struct seals seals = {.facts = facts, .account = account};
    enum pl_err err = PL_OK;
    keyring_states(keyring, take_seal, &seals);
    for (size_t i = 0; i < facts->seal_count && err == PL_OK; i++) {
        /* Of a destroyed key this gives the record, and does nothing. */
        err = keyring_destroy_seal_key(keyring, facts->seals[i].id, SEAL_REASON,
                                       &facts->seals[i].destruction, why);
    }
    return err;
}

static enum pl_err set_keyring(struct certificate_facts *facts, struct keyring *keyring,
                               const struct account *account, struct pl_why *why)
{
    struct keyring_status *status = calloc(1, sizeof(*status));
    if (status == NULL) {
        return pl_fail(why, PL_ENOMEM, "no memory for a certificate");
    }
    keyring_status(keyring, status);
    facts->keyring_paths = status->paths;
    free(status);
    enum pl_err err = keyring_destruction(keyring, account->id, &facts->key);
    if (err != PL_OK) {
        return pl_fail(why, err, "the destruction of the account's key is not in the keyring: %s",
                       pl_err_word(err));
    }
    return set_seals(facts, keyring, account, why);
}

/* Copies what is certified; the caller frees *list. */
static enum pl_err set_edges(struct certificate_facts *facts, struct cutoffs *cutoffs,
                             struct certificate_edge **list, struct pl_why *why)
{
    struct cutoff_edge *edges;
    size_t count;
    bool done;
    if (cutoffs == NULL) {
        return PL_OK;
    }
    enum pl_err err = cutoffs_of(cutoffs, facts->cutoff_position, &edges, &count, &done);
    if (err == PL_OK) {
        *list = calloc(count + 1, sizeof(**list));
        err = *list == NULL ? PL_ENOMEM : PL_OK;
    } else {
        edges = NULL;
        count = 0;
    }
    for (size_t i = 0; err == PL_OK && i < count; i++) {
        struct certificate_edge *edge = &(*list)[i];
        edge->id = edges[i].id;
        memcpy(edge->name, edges[i].name, sizeof(edge->name));
        memcpy(edge->region, edges[i].region, sizeof(edge->region));
        memcpy(edge->reason, edges[i].reason, sizeof(edge->reason));
        if (edges[i].state == CUTOFF_CONFIRMED) {
            edge->confirmed_ms = edges[i].at_ms;
        } else { /* further keys may have been destroyed since it was */
            edge->written_off_ms =
                edges[i].at_ms < facts->edges_ms ? edges[i].at_ms : facts->edges_ms;
        }
    }
    free(edges);
    facts->edges = *list;
    facts->edge_count = count;
    return err == PL_OK ? err : pl_fail(why, err, "no memory for a certificate");
}

/* A restored database gets it back instead of a second one. */
static enum pl_err issue(const struct lifecycle_config *config,
                         const struct certificate_facts *facts, struct pl_why *why)
{
    struct pl_buf certificate;
    pl_buf_init(&certificate, CERTIFICATE_BYTES_MAX);
    enum pl_err err = certificate_issue(config->store, config->keyring, facts, &certificate, why);
    if (err == PL_OK) {
        const struct redo_record record = {
            .kind = REDO_CERTIFICATE, .account = facts->account, .row = pl_buf_span(&certificate)};
        err = redo_note(config->redo, &record, why);
    }
    pl_buf_release(&certificate);
    return err;
}

enum pl_err deletion_certify(const struct deletion *deletion, const struct lifecycle_config *config,
                             const struct account *account, int64_t now_ms, struct pl_why *why)
{
    struct certificate_facts *facts = calloc(1, sizeof(*facts));
    struct certificate_edge *edges = NULL;
    if (facts == NULL) {
        return pl_fail(why, PL_ENOMEM, "no memory for a certificate");
    }
    set_times(facts, deletion, account, now_ms);
    set_counts(facts, deletion, account);
    enum pl_err err = set_delays(facts, config->holds, account);
    if (err != PL_OK) {
        pl_fail(why, err, "no memory for a certificate");
    } else {
        err = set_keyring(facts, config->keyring, account, why);
        facts->backup_days = config->backup_days;
    }
    if (err == PL_OK) {
        err = set_edges(facts, config->cutoffs, &edges, why);
    }
    if (err == PL_OK) {
        audit_head(config->audit, &facts->audit_sequence, facts->audit_hash);
        err = issue(config, facts, why);
    }
    free(edges);
    free(facts);
    return err;
}
