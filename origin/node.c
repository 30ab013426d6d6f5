#include "origin/node.h"
#include "origin/accounts/account_item.h"
#include "origin/api/api.h"
#include "origin/families.h"
#include "origin/first_start.h"
#include "origin/journal/journal_paths.h"
#include "origin/keyring/signers.h"
#include "origin/lifecycle/clock_witness.h"
#include "origin/lifecycle/restore.h"
#include "origin/parts.h"
#include "proto/base/file.h"
#include "proto/base/secret.h"

#include <stdlib.h>

#define DRAIN_MS      (10 * PL_SECOND_MS)
#define PEM_BYTES_MAX (64 * 1024)
/* What a restored database had erased since is erased again before anything is served. */
#define ERASE_FIRST_MS (5 * PL_MINUTE_MS)

struct node {
    struct node_config config;
    struct origin_parts parts;
    struct clock_belief belief; /* the lifecycle's */
    struct pl_clock cautious;   /* by it, the earlier of the two */
    struct pl_clock strict;     /* the later */
    struct api *api;
    bool new_database;
    size_t opened; /* steps that node_free has to undo */
    bool intake_runs, erasures_run, receiver_runs, lifecycle_runs, http_runs;
};

/* ---- store and keyring */

static enum pl_err open_store(struct node *node, struct pl_why *why)
{
    const struct origin_options *options = node->config.options;
    struct store_config config = {
        .path = options->data_dir,
        .families = origin_families,
        .family_count = FAMILY_COUNT,
        .recovery = STORE_RECOVER_TORN_TAIL,
        .cache_bytes = (size_t)options->store_cache_bytes,
        .write_buffer_bytes = (size_t)options->store_write_buffer_bytes,
        .background_threads = 2,
        .log = node->config.log,
    };
    enum pl_err err = store_open(&node->parts.store, &config, why);
    if (err == PL_OK) {
        err = first_start_check_format(node->parts.store, &node->new_database, why);
        if (err != PL_OK) {
            store_close(node->parts.store);
        }
    }
    return err;
}

static void close_store(struct node *node)
{
    store_close(node->parts.store);
}

static enum pl_err open_keyring(struct node *node, struct pl_why *why)
{
    const struct origin_options *options = node->config.options;
    struct pl_buf kek, signer;
    struct signers earlier = {0};
    pl_buf_init(&kek, KEYRING_KEK_TEXT_LIMIT);
    pl_buf_init(&signer, PEM_BYTES_MAX);
    enum pl_err err = keyring_kek_load(options->kek_file, options->kek_command, &kek, why);
    if (err == PL_OK) {
        err = pl_file_read(options->sign_key_file, "signing key", true, &signer, why);
    }
    if (err == PL_OK) {
        err = signers_load(&options->sign_earlier_files, &earlier, why);
    }
    if (err == PL_OK) {
        struct keyring_config config = {
            .paths = (const char *const *)options->keyring_paths.items,
            .path_count = options->keyring_paths.count,
            .create = node->new_database,
            .kek_text = pl_buf_span(&kek),
            .signer_pem = pl_buf_span(&signer),
            .earlier_signers = earlier.spans,
            .earlier_signer_count = earlier.count,
            .clock = node->config.clock,
            .random = node->config.random,
            .log = node->config.log,
        };
        err = keyring_open(&node->parts.keyring, &config, why);
    }
    signers_release(&earlier);
    pl_buf_wipe(&kek);
    pl_buf_wipe(&signer);
    return err;
}

static void close_keyring(struct node *node)
{
    keyring_close(node->parts.keyring);
}

static enum pl_err open_redo(struct node *node, struct pl_why *why)
{
    struct journal_paths paths = {.count = 0};
    enum pl_err err = journal_paths_make(&paths, node->config.options, "redo.ndjson", why);
    if (err == PL_OK) {
        const struct redo_config config = {
            .store = node->parts.store,
            .paths = (const char *const *)paths.items,
            .path_count = paths.count,
            .max_bytes = (uint64_t)node->config.options->redo_max_bytes,
            .backup_days = node->config.options->backup_days,
            .clock = node->config.clock,
            .log = node->config.log,
        };
        err = redo_open(&node->parts.redo, &config, why);
    }
    journal_paths_release(&paths);
    return err;
}

static void close_redo(struct node *node)
{
    redo_close(node->parts.redo);
}

static enum pl_err open_audit(struct node *node, struct pl_why *why)
{
    static const char file[] = "audit.ndjson";
    struct journal_paths paths = {.count = 0};
    struct audit_config config = {
        .max_bytes = (uint64_t)node->config.options->audit_max_bytes,
        .clock = node->config.clock,
        .log = node->config.log,
    };
    enum pl_err err = journal_paths_make(&paths, node->config.options, file, why);
    if (err == PL_OK) {
        err = journal_is_new(node->parts.store, file, &config.create, why);
    }
    if (err == PL_OK) {
        config.paths = (const char *const *)paths.items;
        config.path_count = paths.count;
        err = audit_open(&node->parts.audit, &config, why);
    }
    if (err == PL_OK && config.create) {
        err = journal_is_known(node->parts.store, file, why);
        if (err != PL_OK) {
            audit_close(node->parts.audit);
        }
    }
    journal_paths_release(&paths);
    return err;
}

static void close_audit(struct node *node)
{
    audit_close(node->parts.audit);
}

/* ---- records */

static enum pl_err open_changelog(struct node *node, struct pl_why *why)
{
    enum pl_err err =
        changelog_open(&node->parts.changelog, node->parts.store, node->config.random, why);
    if (err == PL_OK) {
        changelog_note_to(node->parts.changelog, node->parts.redo);
        if (redo_is_restored(node->parts.redo)) {
            err = changelog_renew(node->parts.changelog, node->config.random, why);
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
    return holds_open(&node->parts.holds, node->parts.store, node->parts.redo, node->config.clock,
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
        .log = node->config.log,
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

static bool clock_is_believed(void *ctx)
{
    struct lifecycle_status status;
    lifecycle_status(ctx, &status);
    return status.clock[0] == '\0';
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

/* The receiver knows one context for all it asks. */

static enum pl_err on_edge_key(void *ctx, const struct pl_id128 *edge, struct pl_buf *spki_der)
{
    struct node *node = ctx;
    return edges_link_key(node->parts.edges, edge, spki_der);
}

static void on_blocks(void *ctx, const struct pl_id128 *edge, struct receiver_frame *frame)
{
    struct node *node = ctx;
    intake_blocks(node->parts.intake, edge, frame);
}

static enum pl_err on_books(void *ctx, const struct pl_id128 *edge,
                            const struct chain_claim *claims, size_t count,
                            struct chain_record *records)
{
    struct node *node = ctx;
    return books_answer(node->parts.books, edge, claims, count, records);
}

static enum pl_err on_feed(void *ctx, struct pl_id128 *epoch, uint64_t *position, size_t max_bytes,
                           struct pl_buf *items, bool *caught_up)
{
    struct node *node = ctx;
    return changelog_feed(node->parts.changelog, epoch, position, max_bytes, items, caught_up);
}

static void on_session(void *ctx, const struct pl_id128 *edge, const char *region, bool up,
                       int64_t edge_wall_ms)
{
    struct node *node = ctx;
    (void)region;
    (void)edge_wall_ms;
    books_session(node->parts.books, edge, up);
    if (up) {
        cutoffs_seen(node->parts.cutoffs, edge);
    }
}

/* Bounded like other denials, and written by the API's workers. */
static void on_refused(void *ctx, const struct pl_id128 *edge, enum pl_err err, struct pl_span from)
{
    struct node *node = ctx;
    char object[PL_ID128_TEXT] = "";
    if (edge != NULL) {
        pl_id128_format(edge, object);
    }
    const struct audit_entry entry = {
        .actor = "stranger",
        .action = "edge.link",
        .object = object,
        .detail = edge == NULL          ? "certificate not of the CA, or none"
                  : err == PL_ENOTFOUND ? "not enrolled"
                  : err == PL_EDENIED   ? "revoked"
                                        : "wrong key",
        .outcome = AUDIT_DENIED,
        .from = from,
        .link = true,
    };
    audit_deny(node->parts.audit, &entry, pl_mono_ms(node->config.clock));
}

static void on_settled(void *ctx, const struct pl_id128 *edge, const struct frame_settled *settled)
{
    struct node *node = ctx;
    cutoffs_settled(node->parts.cutoffs, edge, &settled->epoch, settled->position);
}

static void on_change(void *ctx)
{
    receiver_feed_changed(((struct node *)ctx)->parts.receiver);
}

static void on_revoke(void *ctx, const struct pl_id128 *edge)
{
    receiver_edge_changed(((struct node *)ctx)->parts.receiver, edge);
}

static enum pl_err open_receiver(struct node *node, struct pl_why *why)
{
    const struct origin_options *options = node->config.options;
    struct receiver_config config = {
        .listen_url = options->link_listen,
        .ca_file = options->ca_file,
        .cert_file = options->link_cert_file,
        .key_file = options->link_key_file,
        .ops = {.ctx = node,
                .edge_key = on_edge_key,
                .blocks = on_blocks,
                .books = on_books,
                .feed = on_feed,
                .session = on_session,
                .refused = on_refused,
                .settled = on_settled},
        .clock = node->config.clock,
        .random = node->config.random,
        .log = node->config.log,
    };
    enum pl_err err = receiver_new(&node->parts.receiver, &config, why);
    if (err == PL_OK) {
        changelog_on_change(node->parts.changelog, on_change, node);
        edges_on_revoke(node->parts.edges, on_revoke, node);
    }
    return err;
}

static void close_receiver(struct node *node)
{
    receiver_free(node->parts.receiver);
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
        .random = node->config.random,
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

static const struct {
    enum pl_err (*open)(struct node *node, struct pl_why *why);
    void (*close)(struct node *node);
} steps[] = {
    {open_store, close_store},
    {open_keyring, close_keyring},
    {open_redo, close_redo},
    {open_audit, close_audit},
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
    {open_intake, close_intake},
    {open_receiver, close_receiver},
    {open_lifecycle, close_lifecycle},
    {open_api, close_api},
    {open_http, close_http},
};
#define STEP_COUNT (sizeof(steps) / sizeof(steps[0]))

enum pl_err node_new(struct node **out, const struct node_config *config, struct pl_why *why)
{
    struct node *node = calloc(1, sizeof(*node));
    enum pl_err err = PL_OK;
    if (node == NULL) {
        return pl_fail(why, PL_ENOMEM, "no memory for the node");
    }
    node->config = *config;
    node->parts.options = config->options;
    node->parts.clock = config->clock;
    node->belief.clock = config->clock;
    node->cautious = clock_belief_cautious(&node->belief);
    node->strict = clock_belief_strict(&node->belief);
    node->parts.log = config->log;
    node->parts.started_mono_ms = pl_mono_ms(config->clock);
    while (err == PL_OK && node->opened < STEP_COUNT) {
        err = steps[node->opened].open(node, why);
        node->opened += err == PL_OK;
    }
    if (err != PL_OK) {
        node_free(node);
        return err;
    }
    *out = node;
    return PL_OK;
}

void node_free(struct node *node)
{
    if (node == NULL) {
        return;
    }
    while (node->opened > 0) {
        steps[--node->opened].close(node);
    }
    free(node);
}

enum pl_err node_start(struct node *node, struct pl_why *why)
{
    enum pl_err err = intake_start(node->parts.intake, why);
    node->intake_runs = err == PL_OK;
    if (err == PL_OK) {
        const struct erasures_around around = {
            .links = node->parts.links,
            .intake = node->parts.intake,
            .believed = clock_is_believed,
            .ctx = node->parts.lifecycle,
        };
        err = erasures_start(node->parts.erasures, &around, why);
        node->erasures_run = err == PL_OK;
    }
    if (err == PL_OK && !erasures_wait(node->parts.erasures, ERASE_FIRST_MS)) {
        pl_log(node->config.log, PL_LOG_ERROR, "node",
               "serving begins although not everything is erased that was to be");
    }
    if (err == PL_OK) {
        err = lifecycle_start(node->parts.lifecycle, why);
        node->lifecycle_runs = err == PL_OK;
    }
    if (err == PL_OK) {
        err = receiver_start(node->parts.receiver, why);
        node->receiver_runs = err == PL_OK;
    }
    if (err == PL_OK) {
        err = api_start(node->api, why);
    }
    if (err == PL_OK) {
        err = http_server_start(node->parts.http, why);
        node->http_runs = err == PL_OK;
    }
    return err;
}

void node_reload(struct node *node)
{
    struct pl_why why;
    if (node->config.options->https.host[0] == '\0') {
        return;
    }
    if (http_server_reload_tls(node->parts.http, &why) == PL_OK) {
        pl_log(node->config.log, PL_LOG_INFO, "node", "certificates read again");
    } else {
        pl_log(node->config.log, PL_LOG_ERROR, "node",
               "the old certificates stay, because reading the new ones failed: %s", why.text);
    }
}

void node_stop(struct node *node)
{
    if (node->http_runs) {
        http_server_drain(node->parts.http, DRAIN_MS);
    }
    api_stop(node->api);
    /* The receiver waits for the verdicts that intake still gives. */
    if (node->receiver_runs) {
        receiver_stop(node->parts.receiver);
    }
    /* It may wait for intake. */
    if (node->erasures_run) {
        erasures_stop(node->parts.erasures);
    }
    if (node->intake_runs) {
        intake_stop(node->parts.intake);
    }
    if (node->lifecycle_runs) {
        lifecycle_stop(node->parts.lifecycle);
    }
    node->http_runs = node->receiver_runs = node->intake_runs = node->lifecycle_runs = false;
    node->erasures_run = false;
}

uint16_t node_port(const struct node *node, bool https)
{
    return http_server_port(node->parts.http, https ? 1 : 0);
}
