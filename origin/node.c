#include "origin/node_state.h"

#include <stdlib.h>

#define DRAIN_MS (10 * PL_SECOND_MS)
/* What a restored database had erased since is erased again before anything is served. */
#define ERASE_FIRST_MS (5 * PL_MINUTE_MS)

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
    node->believed = clock_belief_clock(&node->belief);
    node->parts.log = config->log;
    node->parts.started_mono_ms = pl_mono_ms(config->clock);
    while (err == PL_OK && node->opened < node_step_count) {
        err = node_steps[node->opened].open(node, why);
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
        node_steps[--node->opened].close(node);
    }
    free(node);
}

static bool clock_is_believed(void *ctx)
{
    struct lifecycle_status status;
    lifecycle_status(ctx, &status);
    return status.clock[0] == '\0';
}

enum pl_err node_start(struct node *node, struct pl_why *why)
{
    /* What intake and the eraser let go of at once is old by the time that is believed. */
    lifecycle_first_look(node->parts.lifecycle);
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
