/*
 * options: what an operator can set on an edge. The table in options.c is the reference:
 * `polder-edge --help` and `--print-config` are made from it.
 *
 * Promise: after edge_options_load every value is within its range and the required ones are
 * there; files that they name have not been opened yet.
 */
#ifndef POLDER_EDGE_OPTIONS_H
#define POLDER_EDGE_OPTIONS_H

#include "proto/base/id.h"
#include "proto/base/log.h"
#include "proto/base/options.h"

struct edge_options {
    /* who and where */
    char *edge_id_text;
    char *region;
    char *data_dir;
    char *log_level_text;
    struct pl_id128 edge_id;
    enum pl_log_level log_level;
    /* browsers' side */
    char *http_listen, *https_listen, *ops_listen;
    char *tls_cert_file, *tls_key_file, *tls_sni_dir;
    int64_t loops;
    int64_t max_connections;
    int64_t header_timeout_ms, idle_timeout_ms, write_timeout_ms;
    int64_t h2_control_frames_per_10s;
    int64_t cache_max_age_s;
    /* collecting */
    int64_t collect_buffer_bytes;
    int64_t rate_events_per_s, rate_burst_events;
    int64_t spool_max_bytes, disk_spare_bytes;
    int64_t catalog_max_age_days;
    int64_t tally_interval_s;
    int64_t optouts_per_account;
    /* the origin's side */
    char *origin_url, *origin_name;
    char *ca_file, *link_cert_file, *link_key_file;
    char *seal_key_file;
    int64_t link_window_bytes;
    /* stopping */
    int64_t drain_timeout_ms, link_drain_ms;
};

extern const struct pl_option edge_option_table[];
extern const size_t edge_option_count;

enum pl_err edge_options_load(struct edge_options *out, const char *path, struct pl_why *why);
void edge_options_release(struct edge_options *options);

#endif
