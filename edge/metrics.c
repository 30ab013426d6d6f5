#include "edge/metrics.h"

#include <inttypes.h>

/* Rows of one name stand together: the format wants a metric's samples in one group. */
static const struct {
    const char *name;
    const char *labels;
    const char *help;
} rows[METRIC_COUNT] = {
    [METRIC_CONFIG_SERVED] = {"polder_config_requests_total", "result=\"served\"",
                              "Requests for a campaign config or an account's script"},
    [METRIC_CONFIG_NOT_MODIFIED] = {"polder_config_requests_total", "result=\"not_modified\"",
                                    NULL},
    [METRIC_CONFIG_UNKNOWN] = {"polder_config_requests_total", "result=\"unknown\"", NULL},
    [METRIC_CONFIG_EXPIRED] = {"polder_config_requests_total", "result=\"expired\"", NULL},
    [METRIC_CONFIG_UNAVAILABLE] = {"polder_config_requests_total", "result=\"unavailable\"", NULL},
    [METRIC_SCRIPT_SERVED] = {"polder_sdk_requests_total", "", "Requests for the bare SDK"},
    [METRIC_REQUESTS_COLLECTED] = {"polder_collected_requests_total", "",
                                   "Requests whose events are on disk"},
    [METRIC_EVENTS_COLLECTED] = {"polder_collected_events_total", "", "Events that are on disk"},
    [METRIC_REFUSED_MALFORMED] = {"polder_refused_requests_total", "reason=\"malformed\"",
                                  "Requests of which no event was taken"},
    [METRIC_REFUSED_UNKNOWN_KEY] = {"polder_refused_requests_total", "reason=\"unknown_key\"",
                                    NULL},
    [METRIC_REFUSED_EXPIRED] = {"polder_refused_requests_total", "reason=\"expired\"", NULL},
    [METRIC_REFUSED_REGION] = {"polder_refused_requests_total", "reason=\"region\"", NULL},
    [METRIC_REFUSED_ORIGIN] = {"polder_refused_requests_total", "reason=\"origin\"", NULL},
    [METRIC_REFUSED_CONSENT] = {"polder_refused_requests_total", "reason=\"consent\"", NULL},
    [METRIC_REFUSED_TOO_LARGE] = {"polder_refused_requests_total", "reason=\"too_large\"", NULL},
    [METRIC_REFUSED_RATE] = {"polder_refused_requests_total", "reason=\"rate\"", NULL},
    [METRIC_REFUSED_UNAVAILABLE] = {"polder_refused_requests_total", "reason=\"unavailable\"",
                                    NULL},
    [METRIC_EVENTS_REFUSED] = {"polder_refused_events_total", "",
                               "Events passed over in batches of which others were taken"},
    [METRIC_EVENTS_SUPPRESSED] = {"polder_suppressed_events_total", "",
                                  "Events passed over: their visitor has opted out"},
    [METRIC_PII_MASKED] = {"polder_masked_pieces_total", "",
                           "Addresses, card and phone numbers taken out of events"},
    [METRIC_TALLY_OVERFLOW] = {"polder_tally_overflow_total", "",
                               "Outcomes that no account's tally had room for"},
    [METRIC_OPTED_OUT] = {"polder_consent_changes_total", "to=\"opted_out\"",
                          "Visitors who said no, or yes again"},
    [METRIC_OPTED_IN] = {"polder_consent_changes_total", "to=\"opted_in\"", NULL},
};

void metrics_sum(const struct metrics_shard *shard, uint64_t sums[METRIC_COUNT])
{
    for (int i = 0; i < METRIC_COUNT; i++)
        sums[i] += atomic_load_explicit(&shard->count[i], memory_order_relaxed);
}

static enum pl_err write_head(struct pl_buf *out, const char *name, const char *type,
                              const char *help)
{
    return pl_buf_appendf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

enum pl_err metrics_write(const uint64_t sums[METRIC_COUNT], struct pl_buf *out)
{
    enum pl_err err = PL_OK;
    for (int i = 0; i < METRIC_COUNT && err == PL_OK; i++) {
        const bool labelled = rows[i].labels[0] != '\0';
        if (rows[i].help != NULL)
            err = write_head(out, rows[i].name, "counter", rows[i].help);
        if (err == PL_OK)
            err = pl_buf_appendf(out, "%s%s%s%s %" PRIu64 "\n", rows[i].name, labelled ? "{" : "",
                                 rows[i].labels, labelled ? "}" : "", sums[i]);
    }
    return err;
}

enum pl_err metrics_write_value(struct pl_buf *out, const char *name, const char *type,
                                const char *help, double value)
{
    enum pl_err err = write_head(out, name, type, help);
    return err == PL_OK ? pl_buf_appendf(out, "%s %.17g\n", name, value) : err;
}
