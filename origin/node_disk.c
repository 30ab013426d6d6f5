/* The database, and what lies beside it. */
#include "origin/families.h"
#include "origin/first_start.h"
#include "origin/journal/journal_paths.h"
#include "origin/keyring/signers.h"
#include "origin/node_state.h"
#include "proto/base/file.h"
#include "proto/base/secret.h"

#define PEM_BYTES_MAX (64 * 1024)

enum pl_err node_open_store(struct node *node, struct pl_why *why)
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

void node_close_store(struct node *node)
{
    store_close(node->parts.store);
}

enum pl_err node_open_keyring(struct node *node, struct pl_why *why)
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
            .clock = &node->believed,
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

void node_close_keyring(struct node *node)
{
    keyring_close(node->parts.keyring);
}

enum pl_err node_open_redo(struct node *node, struct pl_why *why)
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

void node_close_redo(struct node *node)
{
    redo_close(node->parts.redo);
}

enum pl_err node_open_audit(struct node *node, struct pl_why *why)
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

void node_close_audit(struct node *node)
{
    audit_close(node->parts.audit);
}
