#include "edge/options.h"

#include "proto/base/address.h"

#define MIB (INT64_C(1024) * 1024)
#define GIB (1024 * MIB)

#define TEXT(member, name, value, text)                                                            \
    {                                                                                              \
        .key = name, .type = PL_OPTION_TEXT, .offset = offsetof(struct edge_options, member),      \
        .default_text = value, .help = text                                                        \
    }
#define INT(member, value, low, high, text)                                                        \
    {                                                                                              \
        .key = #member, .type = PL_OPTION_INT, .offset = offsetof(struct edge_options, member),    \
        .default_text = value, .min = low, .max = high, .help = text                               \
    }

const struct pl_option edge_option_table[] = {
    TEXT(edge_id_text, "edge_id", NULL, "this edge's id, 32 hex digits, as enrolled at the origin"),
    TEXT(region, "region", NULL, "the region it serves, as enrolled: eu, us, apac"),
    TEXT(data_dir, "data_dir", NULL,
         "directory for the spool and the catalog; made with mode 0700"),
    TEXT(log_level_text, "log_level", "info", "error, warn, info or debug"),

    TEXT(http_listen, "http_listen", "0.0.0.0:8080",
         "address and port for HTTP; port 0: the system picks one; empty: none"),
    TEXT(https_listen, "https_listen", "",
         "address and port for HTTPS (HTTP/1.1 and HTTP/2); empty: none"),
    TEXT(
        ops_listen, "ops_listen", "",
        "address and port for /ready, /replication and /metrics, for operators only: set, they "
        "are served nowhere else, with 64 connections that the public cannot take; empty: with all "
        "else, to everybody"),
    TEXT(tls_cert_file, "tls_cert_file", "", "certificate chain for https_listen, PEM"),
    TEXT(tls_key_file, "tls_key_file", "", "its private key, PEM, mode 0640"),
    TEXT(tls_sni_dir, "tls_sni_dir", "",
         "directory with NAME.crt and NAME.key for each further host name (_.shop.example: every "
         "name below it); SIGHUP reads it again"),
    INT(loops, "0", 0, 256, "HTTP threads; 0: one a core"),
    INT(max_connections, "16384", 16, 1000000,
        "connections over all loops; more wait; from seven eighths on, idle ones are closed after "
        "a "
        "second"),
    INT(header_timeout_ms, "10000", 100, 3600000, "for a whole request, head and body"),
    INT(idle_timeout_ms, "65000", 100, 3600000, "keep-alive between requests"),
    INT(write_timeout_ms, "20000", 100, 3600000, "a reply without progress"),
    INT(h2_control_frames_per_10s, "1000", 10, 1000000,
        "HTTP/2 control frames a connection may send before it is closed"),
    INT(cache_max_age_s, "60", 0, 86400, "Cache-Control: max-age of configs and scripts"),

    INT(collect_buffer_bytes, "8388608", 2 * MIB, 1 * GIB,
        "events an HTTP thread may hold that are not yet on disk; 503 beyond"),
    INT(rate_events_per_s, "0", 0, 100000000,
        "events an account may send to this edge each second; 0: no limit"),
    INT(rate_burst_events, "0", 0, 1000000000, "how far it may get ahead; 0: ten seconds' worth"),
    INT(spool_max_bytes, "10737418240", 1 * MIB, INT64_MAX / 2,
        "sealed blocks that may wait for the origin; 503 beyond"),
    INT(disk_spare_bytes, "268435456", 0, INT64_MAX / 2,
        "free room that the spool leaves on its file system; 503 below"),
    INT(catalog_max_age_days, "7", 1, 3650,
        "collecting stops (503) when the origin has not been heard for this long"),
    INT(optouts_per_account, "1000000", 1, 100000000,
        "opt-outs by id that an account may have in force, and four times as many with those that "
        "were taken back, about 200 bytes of memory each; 503 beyond, and /ready warns from half "
        "on"),
    INT(tally_interval_s, "60", 1, 3600,
        "how often each account's refused requests are told to the origin"),

    TEXT(origin_url, "origin_url", NULL, "the origin's link: tls+tcp://HOST:PORT"),
    TEXT(origin_name, "origin_name", NULL, "the name in the origin's certificate"),
    TEXT(ca_file, "ca_file", NULL, "the certificate authority of the link, PEM"),
    TEXT(link_cert_file, "link_cert_file", NULL, "this edge's certificate for the link, PEM"),
    TEXT(link_key_file, "link_key_file", NULL, "its private key (ECDSA P-256), PEM, mode 0600"),
    TEXT(seal_key_file, "seal_key_file", NULL,
         "this edge's X25519 secret for sealing, 64 hex digits, mode 0600"),
    INT(link_window_bytes, "33554432", 1 * MIB, 1 * GIB, "blocks in flight to the origin"),

    INT(drain_timeout_ms, "10000", 0, 3600000,
        "on SIGTERM: how long requests under way may take before their connections are cut"),
    INT(link_drain_ms, "2000", 0, 3600000,
        "on SIGTERM: how long to go on sending what waits for the origin"),
};
const size_t edge_option_count = sizeof(edge_option_table) / sizeof(edge_option_table[0]);

static enum pl_err check_addresses(const struct edge_options *o, struct pl_why *why)
{
    const struct pl_address_option listens[] = {{"http_listen", o->http_listen},
                                                {"https_listen", o->https_listen},
                                                {"ops_listen", o->ops_listen}};
    enum pl_err err = pl_address_check_all(listens, sizeof(listens) / sizeof(listens[0]), why);
    if (err == PL_OK && !pl_link_url_is(o->origin_url))
        err = pl_fail_field(why, PL_EINVAL, "origin_url",
                            "origin_url must read " PL_LINK_PREFIX "HOST:PORT, not \"%s\"",
                            o->origin_url);
    return err;
}

static enum pl_err check(struct edge_options *o, struct pl_why *why)
{
    if (!pl_id128_parse(pl_span_str(o->edge_id_text), &o->edge_id))
        return pl_fail_field(why, PL_EINVAL, "edge_id",
                             "edge_id must be 32 lowercase hex digits, as `polderctl edge enroll` "
                             "printed them");
    const size_t region = strlen(o->region);
    if (region == 0 || region > 15 ||
        strspn(o->region, "abcdefghijklmnopqrstuvwxyz0123456789-") != region)
        return pl_fail_field(why, PL_EINVAL, "region",
                             "region must be 1 to 15 of a-z, 0-9 and -, as enrolled, not \"%s\"",
                             o->region);
    if (!pl_log_level_parse(o->log_level_text, &o->log_level))
        return pl_fail_field(why, PL_EINVAL, "log_level",
                             "log_level must be error, warn, info or debug, not \"%s\"",
                             o->log_level_text);
    if (*o->http_listen == '\0' && *o->https_listen == '\0')
        return pl_fail_field(why, PL_EINVAL, "http_listen",
                             "nothing to listen on: set http_listen or https_listen");
    if (*o->https_listen != '\0' && (*o->tls_cert_file == '\0' || *o->tls_key_file == '\0'))
        return pl_fail_field(why, PL_EINVAL, "tls_cert_file",
                             "https_listen needs tls_cert_file and tls_key_file");
    return check_addresses(o, why);
}

enum pl_err edge_options_load(struct edge_options *out, const char *path, struct pl_why *why)
{
    enum pl_err err = pl_options_load(edge_option_table, edge_option_count, path, out, why);
    if (err != PL_OK)
        return err;
    err = check(out, why);
    if (err != PL_OK)
        edge_options_release(out);
    return err;
}

void edge_options_release(struct edge_options *options)
{
    pl_options_release(edge_option_table, edge_option_count, options);
}
