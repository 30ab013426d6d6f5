/* The receiver, and what its edges are answered by. */
#include "origin/node_state.h"

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
    cutoffs_heard(node->parts.cutoffs, epoch, *position);
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

/* Bounded like other denials, and written by the API's workers. The log tells of those that the
 * audit log does: one edge that was revoked comes again every few seconds. */
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
    if (audit_deny(node->parts.audit, &entry, pl_mono_ms(node->config.clock))) {
        pl_log(node->config.log, PL_LOG_WARN, "receiver", "turned away: %s edge=%s", entry.detail,
               edge == NULL ? "unknown" : object);
    }
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

enum pl_err node_open_receiver(struct node *node, struct pl_why *why)
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

void node_close_receiver(struct node *node)
{
    receiver_free(node->parts.receiver);
}
