/*
 * options: what an operator may set of the origin; the table in options.c is the reference.
 *
 * Promise: origin_options_load gives values that have been checked one by one and together, or
 * an error that names the key. Start-up only.
 */
#ifndef POLDER_ORIGIN_OPTIONS_H
#define POLDER_ORIGIN_OPTIONS_H

#include "proto/base/address.h"
#include "proto/base/log.h"
#include "proto/base/options.h"

struct origin_options {
    char *http_listen, *https_listen, *link_listen;
    char *data_dir;
    struct pl_text_list keyring_paths, journal_dirs;
    char *kek_file, *kek_command;
    char *sign_key_file;
    struct pl_text_list sign_earlier_files;
    char *processor_name, *processor_contact, *processor_officer, *processor_location;
    struct pl_text_list sub_processors;
    char *ca_file, *link_cert_file, *link_key_file;
    char *bootstrap_token_sha256;
    char *tls_cert_file, *tls_key_file, *tls_sni_dir;
    int64_t http_loops, api_workers, openers;
    int64_t exports_max;
    int64_t redo_max_bytes, audit_max_bytes, backup_days;
    int64_t hole_alarm_seconds, edge_silent_seconds, clock_agree_seconds;
    int64_t seal_key_days;
    int64_t store_cache_bytes, store_write_buffer_bytes;
    char *log_level;

    /* Made of the above. */
    struct pl_address http, https; /* https.host is "" when there is none */
    enum pl_log_level level;
};

extern const struct pl_option origin_option_table[];
extern const size_t origin_option_count;

/* path NULL: environment and defaults only. */
enum pl_err origin_options_load(const char *path, struct origin_options *out, struct pl_why *why);
void origin_options_release(struct origin_options *options);

#endif
