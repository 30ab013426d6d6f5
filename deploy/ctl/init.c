/* polderctl init: a directory with everything that a new origin starts from. */
#include "deploy/ctl/certificates.h"
#include "deploy/ctl/files.h"
#include "deploy/ctl/request.h"

#include "proto/base/crypto.h"
#include "proto/base/file.h"
#include "proto/base/pki.h"
#include "proto/base/secret.h"
#include "proto/base/text.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <unistd.h>

#define LINK_PORT_OFFSET  10
#define DEFAULT_BASE_PORT 8080
#define MAX_BASE_PORT     (65535 - LINK_PORT_OFFSET)

enum { BASE_PORT, HOST };

static const struct ctl_option options[] = {
    [BASE_PORT] = {"base-port", "N", "The origin's API listens at N, its link for edges at N+10"},
    [HOST] = {"host", "HOST", "Address or DNS name where edges reach the origin (127.0.0.1)"},
    {0},
};

enum file { CA_CERT, CA_KEY, TOKEN, LINK_CERT, LINK_KEY, SIGN_KEY, KEK, YAML, FILE_COUNT };

static const struct new_file plan[FILE_COUNT] = {
    [CA_CERT] = {.name = "ca.crt", .what = "CA certificate", .mode = 0644},
    [CA_KEY] = {.name = "ca.key", .what = "CA key", .mode = 0600},
    [TOKEN] = {.name = "operator.token", .what = "token file", .mode = 0600},
    [LINK_CERT] = {.name = "origin/link.crt", .what = "link certificate", .mode = 0644},
    [LINK_KEY] = {.name = "origin/link.key", .what = "link key", .mode = 0600},
    [SIGN_KEY] = {.name = "origin/sign.key", .what = "signing key", .mode = 0600},
    [KEK] = {.name = "origin/kek.key", .what = "key-encryption key", .mode = 0600},
    [YAML] = {.name = "origin/origin.yaml", .what = "configuration", .mode = 0644},
};

/* What an origin that ran here before has left: new keys would not open it. */
static const char *const leftovers[] = {"origin/data",      "origin/keyring-1", "origin/keyring-2",
                                        "origin/journal-1", "origin/journal-2", "edges"};

struct init {
    char dir[FILES_PATH_BYTES];
    struct certificates_host host;
    unsigned base_port;
    int64_t now_ms;
    const struct pl_random *random;
    struct new_file files[FILE_COUNT];
};

static enum pl_err append_hex_secret(struct init *init, struct pl_buf *out, const char *prefix)
{
    uint8_t secret[32];
    char hex[2 * sizeof(secret) + 1];
    enum pl_err err = pl_random_fill(init->random, secret, sizeof(secret));
    if (err == PL_OK) {
        pl_hex_encode(pl_span(secret, sizeof(secret)), hex);
        err = pl_buf_appendf(out, "%s%s\n", prefix, hex);
    }
    pl_wipe(secret, sizeof(secret));
    pl_wipe(hex, sizeof(hex));
    return err;
}

static struct pl_span file_span(const struct init *init, enum file file)
{
    return pl_buf_span(&init->files[file].bytes);
}

static enum pl_err make_certificates(const struct ctl *ctl, struct init *init, struct pl_why *why)
{
    enum pl_err err =
        certificates_issue_ca(ctl, file_span(init, CA_KEY), &init->files[CA_CERT].bytes, why);
    return err != PL_OK ? err
                        : certificates_issue(ctl, NULL, &init->host, file_span(init, LINK_KEY),
                                             file_span(init, CA_CERT), file_span(init, CA_KEY),
                                             &init->files[LINK_CERT].bytes, why);
}

/* %1$s: the directory, %2$u: port of the API, %3$s: address of the link, %4$s: the token's hash */
static const char yaml[] =
    "# Configuration of this origin: polder-origin --config THIS_FILE\n"
    "# Each key can be set as an environment variable too: POLDER_HTTP_LISTEN and so on.\n"
    "# polder-origin --print-config lists all keys with their defaults.\n"
    "\n"
    "# The API and the probes, in plain HTTP: keep it on this machine or in a network of your\n"
    "# own. https_listen, tls_cert_file and tls_key_file open it to others.\n"
    "http_listen: \"127.0.0.1:%2$u\"\n"
    "\n"
    "# Where edges deliver, over mutual TLS.\n"
    "link_listen: \"%3$s\"\n"
    "ca_file: \"%1$s/ca.crt\"\n"
    "link_cert_file: \"%1$s/origin/link.crt\"\n"
    "link_key_file: \"%1$s/origin/link.key\"\n"
    "\n"
    "# The database.\n"
    "data_dir: \"%1$s/origin/data\"\n"
    "\n"
    "# The accounts' wrapped keys, the same on every path: without them no event can be read.\n"
    "# Put the second path on another disk than the first. Delete copies after backup_days:\n"
    "# certificates of deletion say that no older one is left.\n"
    "keyring_paths:\n"
    "  - \"%1$s/origin/keyring-1\"\n"
    "  - \"%1$s/origin/keyring-2\"\n"
    "\n"
    "# The audit log, and what a restored database must not undo, the same in every folder. They\n"
    "# belong beside the keyring, never into the database's backups.\n"
    "journal_dirs:\n"
    "  - \"%1$s/origin/journal-1\"\n"
    "  - \"%1$s/origin/journal-2\"\n"
    "\n"
    "# What wraps the keys: lines of 64 hex digits, the last one is current. Keep it away from\n"
    "# the database's backups, or take it from a command: kek_command instead of kek_file.\n"
    "kek_file: \"%1$s/origin/kek.key\"\n"
    "\n"
    "# Signs the record of each destroyed key.\n"
    "sign_key_file: \"%1$s/origin/sign.key\"\n"
    "\n"
    "# SHA-256 of the token in operator.token, which always works. Remove this line (and that\n"
    "# file) once polderctl token create has made tokens for people.\n"
    "bootstrap_token_sha256: \"%4$s\"\n"
    "\n"
    "# error, warn, info or debug\n"
    "log_level: \"info\"\n";

static const struct certificates_host every_address = {.text = "0.0.0.0", .is_ip4 = true};

static enum pl_err write_yaml(struct init *init, struct pl_buf *out)
{
    uint8_t hash[PL_SHA256_BYTES];
    char hex[2 * sizeof(hash) + 1], link[CERTIFICATES_LINK_BYTES], port[16];
    const bool is_address = init->host.is_ip4 || init->host.is_ip6;
    struct pl_span token = file_span(init, TOKEN);
    struct pl_buf dir;
    token.len--; /* its newline is not part of it */
    pl_sha256_one(token, hash);
    pl_hex_encode(pl_span(hash, sizeof(hash)), hex);
    /* A DNS name cannot be bound to: it is every address then, and for edges the certificate tells
     * the name. */
    snprintf(port, sizeof(port), "%u", init->base_port + LINK_PORT_OFFSET);
    certificates_link(is_address ? &init->host : &every_address, port, link);
    pl_buf_init(&dir, 4 * FILES_PATH_BYTES);
    enum pl_err err = yaml_escape(&dir, init->dir);
    if (err == PL_OK)
        err = pl_buf_appendf(out, yaml, (const char *)dir.data, init->base_port, link, hex);
    pl_buf_release(&dir);
    return err;
}

static enum pl_err make_all(const struct ctl *ctl, struct init *init, struct pl_why *why)
{
    enum pl_err err = PL_OK;
    const enum file keys[] = {CA_KEY, LINK_KEY, SIGN_KEY};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]) && err == PL_OK; i++)
        err = pl_pki_new_key(init->random, &init->files[keys[i]].bytes);
    if (err == PL_OK)
        err = append_hex_secret(init, &init->files[TOKEN].bytes, "pt_");
    if (err == PL_OK)
        err = append_hex_secret(init, &init->files[KEK].bytes, "");
    if (err != PL_OK)
        return pl_fail(why, err, "cannot make keys: %s", pl_err_word(err));
    err = make_certificates(ctl, init, why);
    if (err != PL_OK)
        return err;
    err = write_yaml(init, &init->files[YAML].bytes);
    return err == PL_OK ? PL_OK
                        : pl_fail(why, err, "cannot write origin.yaml: %s", pl_err_word(err));
}

/* Makes DIR and DIR/origin where they are missing; what it made goes again when a file fails. */
static enum pl_err write_all(struct init *init, struct pl_why *why)
{
    char path[FILES_PATH_BYTES], origin[FILES_PATH_BYTES];
    enum pl_err err;
    for (size_t i = 0; i < sizeof(leftovers) / sizeof(leftovers[0]); i++) {
        if ((err = files_path(path, init->dir, leftovers[i], why)) != PL_OK)
            return err;
        if (pl_file_exists(path))
            return pl_fail(why, PL_EEXISTS,
                           "%s is there already, of an earlier installation: name another "
                           "directory, or move it away",
                           path);
    }
    if ((err = files_path(origin, init->dir, "origin", why)) != PL_OK)
        return err;
    bool had_dir = pl_file_exists(init->dir), had_origin = pl_file_exists(origin);
    err = pl_dir_make(origin, 0700, why);
    if (err == PL_OK)
        err = files_create(init->dir, init->files, FILE_COUNT, why);
    if (err != PL_OK) {
        if (!had_origin)
            rmdir(origin);
        if (!had_dir)
            rmdir(init->dir);
    }
    return err;
}

static enum ctl_exit read_args(struct init *init, const struct ctl_args *args, struct pl_why *why)
{
    uint64_t port = DEFAULT_BASE_PORT;
    const char *given = args->options[BASE_PORT];
    if (given != NULL &&
        (!pl_span_to_u64(pl_span_str(given), &port) || port == 0 || port > MAX_BASE_PORT))
        return ctl_usage(why, "--base-port must be a whole number from 1 to %d, not '%s'",
                         MAX_BASE_PORT, given);
    init->base_port = (unsigned)port;
    if (certificates_host_parse(args->options[HOST] == NULL ? "127.0.0.1" : args->options[HOST],
                                &init->host, why) != PL_OK)
        return CTL_USAGE;
    return ctl_result(files_absolute(init->dir, args->words[0], why));
}

static void say_next_steps(const struct init *init)
{
    printf("%s holds a new installation: a CA, an operator's token, an origin.\n\n"
           "Next:\n"
           "  polder-origin --config %s/origin/origin.yaml\n",
           init->dir, init->dir);
    if (init->base_port != DEFAULT_BASE_PORT)
        printf("  export POLDER_ORIGIN=http://127.0.0.1:%u\n", init->base_port);
    printf("  polderctl edge enroll eu-1 --region eu --dir %s\n"
           "  polder-edge --config %s/edges/eu-1/edge.yaml\n"
           "  polderctl account create my-shop --dir %s\n\n"
           "Keep a copy of origin/kek.key and ca.key in a safe place, apart from the database's\n"
           "backups: without kek.key no event can be read again.\n",
           init->dir, init->dir, init->dir);
}

static enum pl_err say_json(const struct init *init, struct pl_why *why)
{
    const struct request_member members[] = {{.name = "dir", .text = init->dir}, {0}};
    struct pl_buf out;
    pl_buf_init(&out, 8 * FILES_PATH_BYTES);
    enum pl_err err = request_write(members, "the directory's name", &out, why);
    if (err == PL_OK)
        printf("%.*s\n", (int)out.len, (const char *)out.data);
    pl_buf_release(&out);
    return err;
}

static enum ctl_exit run_init(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    struct init init = {.random = ctl->random, .now_ms = pl_wall_ms(ctl->clock)};
    enum ctl_exit result = read_args(&init, args, why);
    if (result != CTL_OK)
        return result;
    memcpy(init.files, plan, sizeof(plan));
    files_init(init.files, FILE_COUNT);
    enum pl_err err = make_all(ctl, &init, why);
    if (err == PL_OK)
        err = write_all(&init, why);
    files_release(init.files, FILE_COUNT);
    if (err == PL_OK && ctl->json)
        err = say_json(&init, why);
    else if (err == PL_OK)
        say_next_steps(&init);
    return ctl_result(err);
}

const struct ctl_command init_commands[] = {
    {
        .arguments = "DIR",
        .about = "Makes keys, certificates, configuration",
        .more = "Writes into DIR: the CA of the replication link, an operator's token, and what an "
                "origin needs (keys, certificate, origin.yaml). Nothing is ever overwritten.\n\n"
                "Examples:\n"
                "  polderctl init /etc/polder\n"
                "  polderctl init /etc/polder --host origin.example.eu\n"
                "  polderctl init ./try --base-port 20000",
        .options = options,
        .run = run_init,
    },
    {0},
};
