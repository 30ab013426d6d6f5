/* The probes that look at every part; /health needs no worker. */
#include "origin/api/call.h"
#include "origin/probes.h"

API_HANDLER(api_ready)
{
    enum probes_verdict verdict;
    (void)why;
    enum pl_err err = probes_ready(worker->api->parts, worker->writer, &verdict);
    if (err == PL_OK && verdict == PROBES_DOWN) {
        call->status = 503;
        call->retry = true;
    }
    return err;
}

API_HANDLER(api_replication)
{
    enum probes_verdict verdict;
    (void)why;
    enum pl_err err = probes_replication(worker->api->parts, worker->writer, &verdict);
    if (err == PL_OK && verdict == PROBES_DOWN) {
        call->status = 503;
    }
    return err;
}

API_HANDLER(api_metrics)
{
    struct api_stats stats;
    (void)why;
    api_stats(worker->api, &stats);
    call->content_type = "text/plain; version=0.0.4; charset=utf-8";
    return probes_metrics(worker->api->parts, &stats, &call->reply);
}
