/* What is wired to what. */
#include "origin/first_start.h"
#include "origin/lifecycle/clock_witness.h"
#include "origin/lifecycle/restore.h"
#include "origin/node_state.h"

/* ---- records */

static enum pl_err open_changelog(struct node *node, struct pl_why *why)
{
    enum pl_err err =
        changelog_open(&node->parts.changelog, node->parts.store, node->config.random, why);
    if (err == PL_OK) {
        changelog_note_to(node->parts.changelog, node->parts.redo);
        if (redo_is_restored(node->parts.redo)) {
            err = changelog_renew(node->parts.changelog, why);
        }
        if (err == PL_OK) {
            err = first_start_finish(node->parts.store, node->parts.keyring, node->parts.changelog,
                                     node->config.log, why);
        }
        if (err != PL_OK) {
            changelog_close(node->parts.changelog);
        }
    }
    return err;
}

static void close_changelog(struct node *node)
{
    changelog_close(node->parts.changelog);
}

static enum pl_err open_edges(struct node *node, struct pl_why *why)
{
    enum pl_err err = edges_open(&node->parts.edges, node->parts.store, node->config.clock, why);
    if (err == PL_OK) {
        edges_note_to(node->parts.edges, node->parts.redo);
    }
    return err;
}

static void close_edges(struct node *node)
{
    edges_close(node->parts.edges);
}

static enum pl_err open_cutoffs(struct node *node, struct pl_why *why)
{
    const struct cutoffs_config config = {
        .store = node->parts.store,
        .changelog = node->parts.changelog,
        .edges = node->parts.edges,
        .keyring = node->parts.keyring,
        .audit = node->parts.audit,
        .seal_key_days = node->config.options->seal_key_days,
        .clock = &node->cautious,
        .log = node->config.log,
    };
    return cutoffs_open(&node->parts.cutoffs, &config, why);
}

static void close_cutoffs(struct node *node)
{
    cutoffs_close(node->parts.cutoffs);
}

static enum pl_err open_tokens(struct node *node, struct pl_why *why)
{
    enum pl_err err = tokens_open(&node->parts.tokens, node->parts.store,
                                  node->config.options->bootstrap_token_sha256, &node->strict,
                                  node->config.random, why);
    if (err == PL_OK) {
        tokens_note_to(node->parts.tokens, node->parts.redo);
    }
    return err;
}

static void close_tokens(struct node *node)
{
    tokens_close(node->parts.tokens);
}

static enum pl_err open_holds(struct node *node, struct pl_why *why)
{
    return holds_open(&node->parts.holds, node->parts.store, node->parts.redo, &node->cautious,
                      node->config.random, why);
}

static void close_holds(struct node *node)
{
    holds_close(node->parts.holds);
}

static enum pl_err open_accounts(struct node *node, struct pl_why *why)
{
    struct accounts_config config = {
        .store = node->parts.store,
        .changelog = node->parts.changelog,
        .keyring = node->parts.keyring,
        .redo = node->parts.redo,
        .clock = node->config.clock,
        .belief = &node->belief,
        .random = node->config.random,
        .log = node->config.log,
    };
    return accounts_open(&node->parts.accounts, &config, why);
}

static void close_accounts(struct node *node)
{
    accounts_close(node->parts.accounts);
}

static enum pl_err open_suppressions(struct node *node, struct pl_why *why)
{
    const struct suppressions_config config = {
        .store = node->parts.store,
        .changelog = node->parts.changelog,
        .redo = node->parts.redo,
    };
    return suppressions_open(&node->parts.suppressions, &config, why);
}

static void close_suppressions(struct node *node)
{
    suppressions_close(node->parts.suppressions);
}

/* ---- the data path */

static enum pl_err open_ledger(struct node *node, struct pl_why *why)
{
    struct ledger_config config = {
        .store = node->parts.store,
        .hole_alarm_ms = node->config.options->hole_alarm_seconds * PL_SECOND_MS,
        .clock = &node->cautious,
        .log = node->config.log,
    };
    return ledger_new(&node->parts.ledger, &config, why);
}

static void close_ledger(struct node *node)
{
    ledger_free(node->parts.ledger);
}

static enum pl_err open_books(struct node *node, struct pl_why *why)
{
    return books_new(&node->parts.books, node->parts.ledger, node->parts.audit, node->config.clock,
                     node->config.log, why);
}

static void close_books(struct node *node)
{
    books_free(node->parts.books);
}

static enum pl_err open_day_counts(struct node *node, struct pl_why *why)
{
    enum pl_err err = day_counts_new(&node->parts.day_counts, node->parts.store);
    return err == PL_OK ? err : pl_fail(why, err, "no memory for the counts of days");
}

static void close_day_counts(struct node *node)
{
    day_counts_free(node->parts.day_counts);
}

static enum pl_err open_exports(struct node *node, struct pl_why *why)
{
    enum pl_err err = exports_new(&node->parts.exports);
    return err == PL_OK ? err : pl_fail(why, err, "no memory for exports");
}

static void close_exports(struct node *node)
{
    exports_free(node->parts.exports);
}

static enum pl_err open_links(struct node *node, struct pl_why *why)
{
    enum pl_err err = links_new(&node->parts.links, node->parts.store);
    return err == PL_OK ? err : pl_fail(why, err, "no memory for visitors' ids");
}

static void close_links(struct node *node)
{
    links_free(node->parts.links);
}

static enum pl_err open_erasures(struct node *node, struct pl_why *why)
{
    const struct erasures_config config = {
        .store = node->parts.store,
        .keyring = node->parts.keyring,
        .note = redo_make_erasure,
        .note_ctx = node->parts.redo,
        .accounts = node->parts.accounts,
        .holds = node->parts.holds,
        .cutoffs = node->parts.cutoffs,
        .edge_ahead_ms = clock_witness_ahead_ms,
        .edge_ctx = &node->parts,
        .day_counts = node->parts.day_counts,
        .clock = node->config.clock,
        .belief = &node->belief,
        .random = node->config.random,
        .log = node->config.log,
    };
    return erasures_open(&node->parts.erasures, &config, why);
}

static void close_erasures(struct node *node)
{
    erasures_close(node->parts.erasures);
}

static enum pl_err open_lost_keys(struct node *node, struct pl_why *why)
{
    return lost_keys_open(&node->parts.lost_keys, node->parts.store, node->parts.keyring,
                          node->config.clock, why);
}

static void close_lost_keys(struct node *node)
{
    lost_keys_close(node->parts.lost_keys);
}

static enum pl_err open_intake(struct node *node, struct pl_why *why)
{
    struct intake_config config = {
        .store = node->parts.store,
        .keyring = node->parts.keyring,
        .ledger = node->parts.ledger,
        .edge_public = edges_seal_key,
        .edge_ctx = node->parts.edges,
        .account = accounts_fate,
        .account_ctx = node->parts.accounts,
        .suppressions = node->parts.suppressions,
        .erasures = node->parts.erasures,
        .links = node->parts.links,
        .day_counts = node->parts.day_counts,
        .lost_keys = node->parts.lost_keys,
        .openers = (unsigned)node->config.options->openers,
        .clock = node->config.clock,
        .belief = &node->belief,
        .log = node->config.log,
    };
    return intake_new(&node->parts.intake, &config, why);
}

static void close_intake(struct node *node)
{
    intake_free(node->parts.intake);
}

/* Before anything is served. */
static enum pl_err apply_restore(struct node *node, struct pl_why *why)
{
    return restore_apply(&node->parts, why);
}

static void nothing(struct node *node)
{
    (void)node;
}

/* After it, for it tells which accounts there are. */
static enum pl_err find_orphan_keys(struct node *node, struct pl_why *why)
{
    return orphan_keys_find(&node->parts.orphan_keys, node->parts.accounts, node->parts.keyring,
                            node->config.log, why);
}

static void free_orphan_keys(struct node *node)
{
    orphan_keys_free(node->parts.orphan_keys);
}

/* ---- time and the API */

static enum pl_err open_lifecycle(struct node *node, struct pl_why *why)
{
    struct lifecycle_config config = {
        .store = node->parts.store,
        .accounts = node->parts.accounts,
        .keyring = node->parts.keyring,
        .intake = node->parts.intake,
        .ledger = node->parts.ledger,
        .holds = node->parts.holds,
        .suppressions = node->parts.suppressions,
        .erasures = node->parts.erasures,
        .links = node->parts.links,
        .exports = node->parts.exports,
        .tokens = node->parts.tokens,
        .day_counts = node->parts.day_counts,
        .cutoffs = node->parts.cutoffs,
        .audit = node->parts.audit,
        .redo = node->parts.redo,
        .clock = node->config.clock,
        .belief = &node->belief,
        .clock_witnesses = clock_witness_all,
        .clock_witnesses_ctx = &node->parts,
        .clock_agree_ms = node->config.options->clock_agree_seconds * PL_SECOND_MS,
        .backup_days = node->config.options->backup_days,
        .log = node->config.log,
    };
    enum pl_err err = lifecycle_new(&node->parts.lifecycle, &config);
    return err == PL_OK ? err : pl_fail(why, err, "no memory for the lifecycle");
}

static void close_lifecycle(struct node *node)
{
    lifecycle_free(node->parts.lifecycle);
}

static enum pl_err open_api(struct node *node, struct pl_why *why)
{
    return api_new(&node->api, &node->parts, why);
}

static void close_api(struct node *node)
{
    api_free(node->api);
}

static enum pl_err open_http(struct node *node, struct pl_why *why)
{
    const struct origin_options *options = node->config.options;
    struct http_server_config config;
    struct http_listener listeners[] = {
        {.address = options->http.host, .port = options->http.port},
        {.address = options->https.host, .port = options->https.port, .tls = true},
    };
    http_server_config_init(&config);
    config.listeners = listeners;
    config.listener_count = options->https.host[0] == '\0' ? 1 : 2;
    config.loops = (unsigned)options->http_loops;
    config.tls_cert_file = options->tls_cert_file;
    config.tls_key_file = options->tls_key_file;
    config.tls_sni_dir = options->tls_sni_dir[0] == '\0' ? NULL : options->tls_sni_dir;
    config.log = node->config.log;
    config.clock = node->config.clock;
    api_configure(node->api, &config);
    return http_server_new(&node->parts.http, &config, why);
}

static void close_http(struct node *node)
{
    http_server_free(node->parts.http);
}

/* ---- all of it */

const struct node_step node_steps[] = {
    {node_open_store, node_close_store},
    {node_open_keyring, node_close_keyring},
    {node_open_redo, node_close_redo},
    {node_open_audit, node_close_audit},
    {open_changelog, close_changelog},
    {open_edges, close_edges},
    {open_cutoffs, close_cutoffs},
    {open_tokens, close_tokens},
    {open_holds, close_holds},
    {open_accounts, close_accounts},
    {open_suppressions, close_suppressions},
    {open_ledger, close_ledger},
    {open_books, close_books},
    {open_day_counts, close_day_counts},
    {open_exports, close_exports},
    {open_links, close_links},
    {open_erasures, close_erasures},
    {apply_restore, nothing},
    {find_orphan_keys, free_orphan_keys},
    {open_lost_keys, close_lost_keys},
    {open_intake, close_intake},
    {node_open_receiver, node_close_receiver},
    {open_lifecycle, close_lifecycle},
    {open_api, close_api},
    {open_http, close_http},
};
const size_t node_step_count = sizeof(node_steps) / sizeof(node_steps[0]);
