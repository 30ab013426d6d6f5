#include "origin/options.h"

#include <string.h>

#define TEXT(member, initial, words)                                                               \
    {                                                                                              \
        .key = #member, .type = PL_OPTION_TEXT, .offset = offsetof(struct origin_options, member), \
        .default_text = (initial), .help = (words)                                                 \
    }
#define LIST(member, initial, words)                                                               \
    {                                                                                              \
        .key = #member, .type = PL_OPTION_LIST, .offset = offsetof(struct origin_options, member), \
        .default_text = (initial), .help = (words)                                                 \
    }
#define INT(member, initial, low, high, words)                                                     \
    {                                                                                              \
        .key = #member, .type = PL_OPTION_INT, .offset = offsetof(struct origin_options, member),  \
        .default_text = (initial), .min = (low), .max = (high), .help = (words)                    \
    }

const struct pl_option origin_option_table[] = {
    TEXT(http_listen, "127.0.0.1:8080", "address of the API and the probes; port 0: any free one"),
    TEXT(https_listen, "", "the same behind TLS; empty: none"),
    TEXT(tls_cert_file, "", "PEM certificate chain of https_listen; read again on SIGHUP"),
    TEXT(tls_key_file, "", "PEM key of https_listen, mode 0640; read again on SIGHUP"),
    TEXT(tls_sni_dir, "", "folder with a NAME.crt and NAME.key for each further host name"),
    TEXT(link_listen, "tls+tcp://127.0.0.1:8090", "where edges deliver their blocks"),
    TEXT(ca_file, NULL, "PEM certificate of the authority that edges' certificates come from"),
    TEXT(link_cert_file, NULL, "PEM certificate that edges see"),
    TEXT(link_key_file, NULL, "its PEM key, mode 0600"),
    TEXT(data_dir, NULL, "folder of the database; made when missing"),
    LIST(keyring_paths, NULL, "files of the keyring: two or more, best on different disks"),
    LIST(journal_dirs, "",
         "folders of the audit log and of what a restore must not undo, two or more, best on "
         "different disks and never in the database's backups; empty: one beside each file of the "
         "keyring, named like it with .journal added"),
    TEXT(kek_file, "", "file with the key-encryption keys, 64 hex digits a line, the last current"),
    TEXT(kek_command, "", "command that prints them instead, e.g. one that asks a vault"),
    TEXT(sign_key_file, NULL, "PEM key (ECDSA P-256, mode 0600) that signs key destructions"),
    LIST(sign_earlier_files, "",
         "keys or certificates (PEM, mode 0600) that signed before it; their destructions count"),
    TEXT(bootstrap_token_sha256, "",
         "SHA-256, in hex, of an operator's token that always works; empty: none"),
    INT(redo_max_bytes, "4294967296", 1 << 20, INT64_C(1) << 40,
        "the log of what a restore must not undo may not grow over this; of opt-outs it takes "
        "three "
        "quarters"),
    INT(backup_days, "30", 1, 30,
        "copies of the database and of the keyring are kept for so many days at most; an older one "
        "cannot be restored"),
    INT(audit_max_bytes, "4294967296", 1 << 20, INT64_C(1) << 40,
        "the audit log may not grow over this; once it has, nothing can be changed"),
    INT(http_loops, "1", 1, 64, "threads that serve connections"),
    INT(api_workers, "2", 1, 64, "threads that do the API's work"),
    INT(openers, "2", 1, 64, "threads that open and re-encrypt blocks"),
    INT(exports_max, "4", 1, 1024, "exports that may run at once, half of them of one account"),
    INT(hole_alarm_seconds, "30", 1, 86400, "a block missing for longer is an alarm"),
    INT(seal_key_days, "30", 1, 365, "age at which the key that edges seal for is replaced"),
    INT(edge_silent_seconds, "30", 1, 86400, "an edge not heard of for longer is an alarm"),
    INT(clock_agree_seconds, "60", 3, 86400,
        "for so long edges' clocks must agree with one that is in doubt"),
    INT(store_cache_bytes, "134217728", 1 << 20, INT64_C(1) << 40, "the database's read cache"),
    INT(store_write_buffer_bytes, "134217728", 1 << 20, INT64_C(1) << 40,
        "the database's memory for recent writes"),
    TEXT(processor_name, "", "who runs this origin, for records of processing (GDPR Art. 30)"),
    TEXT(processor_contact, "", "its address for such matters"),
    TEXT(processor_officer, "", "its data-protection officer; empty: none"),
    TEXT(processor_location, "", "where this origin's disks stand, e.g. Frankfurt, Germany"),
    LIST(sub_processors, "", "whom it engages, e.g. \"Hoster GmbH, Germany: servers\""),
    TEXT(log_level, "info", "error, warn, info or debug"),
};
const size_t origin_option_count = sizeof(origin_option_table) / sizeof(origin_option_table[0]);

static bool set(const char *text)
{
    return text[0] != '\0';
}

static enum pl_err check_https(struct origin_options *options, struct pl_why *why)
{
    if (!set(options->https_listen)) {
        return PL_OK;
    }
    if (!set(options->tls_cert_file) || !set(options->tls_key_file)) {
        return pl_fail_field(why, PL_EINVAL, "tls_cert_file",
                             "https_listen needs tls_cert_file and tls_key_file");
    }
    return pl_address_parse(options->https_listen, "https_listen", &options->https, why);
}

/* A link that listens at a name, or at *, is left to its start. */
static enum pl_err check_addresses(const struct origin_options *options, struct pl_why *why)
{
    struct pl_address address;
    const char *link = options->link_listen;
    link += strncmp(link, PL_LINK_PREFIX, strlen(PL_LINK_PREFIX)) == 0 ? strlen(PL_LINK_PREFIX) : 0;
    const struct pl_address_option listens[] = {
        {"http_listen", options->http_listen},
        {"https_listen", options->https_listen},
        {"link_listen",
         pl_address_parse(link, "link_listen", &address, NULL) == PL_OK ? link : ""}};
    return pl_address_check_all(listens, sizeof(listens) / sizeof(listens[0]), why);
}

static enum pl_err check(struct origin_options *options, struct pl_why *why)
{
    enum pl_err err = pl_address_parse(options->http_listen, "http_listen", &options->http, why);
    if (err == PL_OK) {
        err = check_https(options, why);
    }
    if (err == PL_OK) {
        err = check_addresses(options, why);
    }
    if (err != PL_OK) {
        return err;
    }
    if (!pl_link_url_is(options->link_listen)) {
        return pl_fail_field(why, PL_EINVAL, "link_listen",
                             "link_listen must read " PL_LINK_PREFIX "ADDRESS:PORT, not \"%s\"",
                             options->link_listen);
    }
    if (options->keyring_paths.count < 2) {
        return pl_fail_field(why, PL_EINVAL, "keyring_paths",
                             "keyring_paths names %zu files; two or more are needed, best on "
                             "different disks",
                             options->keyring_paths.count);
    }
    if (options->journal_dirs.count == 1) {
        return pl_fail_field(why, PL_EINVAL, "journal_dirs",
                             "journal_dirs names one folder; two or more are needed, best on "
                             "different disks");
    }
    if (set(options->kek_file) == set(options->kek_command)) {
        return pl_fail_field(why, PL_EINVAL, "kek_file",
                             "set exactly one of kek_file and kek_command");
    }
    if (!pl_log_level_parse(options->log_level, &options->level)) {
        return pl_fail_field(why, PL_EINVAL, "log_level",
                             "log_level must be error, warn, info or debug, not \"%s\"",
                             options->log_level);
    }
    return PL_OK;
}

enum pl_err origin_options_load(const char *path, struct origin_options *out, struct pl_why *why)
{
    struct origin_options options = {.level = PL_LOG_INFO};
    enum pl_err err =
        pl_options_load(origin_option_table, origin_option_count, path, &options, why);
    if (err != PL_OK) {
        return err;
    }
    err = check(&options, why);
    if (err != PL_OK) {
        origin_options_release(&options);
        return err;
    }
    *out = options;
    return PL_OK;
}

void origin_options_release(struct origin_options *options)
{
    pl_options_release(origin_option_table, origin_option_count, options);
}
