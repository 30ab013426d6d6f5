#include "deploy/ctl/edge_enroll.h"

#include "deploy/ctl/api.h"
#include "deploy/ctl/certificates.h"
#include "deploy/ctl/files.h"
#include "deploy/ctl/request.h"

#include "proto/base/address.h"
#include "proto/base/crypto.h"
#include "proto/base/file.h"
#include "proto/base/id.h"
#include "proto/base/secret.h"
#include "proto/base/text.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#define NAME_BYTES_MAX    63
#define REGION_BYTES_MAX  15
#define PEM_BYTES_MAX     (16 * 1024)
#define YAML_BYTES_MAX    (64 * 1024)
#define REQUEST_BYTES_MAX 4096
#define DEFAULT_LISTEN    "127.0.0.1:8081"

enum { REGION, LISTEN, LINK };

const struct ctl_option edge_enroll_options[] = {
    [REGION] = {"region", "REGION", "Where it is, e.g. eu; accounts may be limited to regions"},
    [LISTEN] = {"listen", "HOST:PORT", "Where it serves HTTP (" DEFAULT_LISTEN ")"},
    [LINK] = {"link", "URL", "Where it reaches the origin (link_listen, on the --host of init)"},
    {0},
};

enum file { LINK_CERT, LINK_KEY, SEAL_KEY, CA_CERT, YAML, FILE_COUNT };

static const struct new_file plan[FILE_COUNT] = {
    [LINK_CERT] = {.name = "link.crt", .what = "link certificate", .mode = 0644},
    [LINK_KEY] = {.name = "link.key", .what = "link key", .mode = 0600},
    [SEAL_KEY] = {.name = "seal.key", .what = "sealing key", .mode = 0600},
    [CA_CERT] = {.name = "ca.crt", .what = "CA certificate", .mode = 0644},
    [YAML] = {.name = "edge.yaml", .what = "configuration", .mode = 0644},
};

struct enrolment {
    const char *name, *region, *listen;
    char link[CERTIFICATES_LINK_BYTES];
    char dir[FILES_PATH_BYTES];     /* polderctl init's */
    char final[FILES_PATH_BYTES];   /* DIR/edges/NAME */
    char staging[FILES_PATH_BYTES]; /* DIR/edges/.NAME.new: its name until the origin knows it */
    struct pl_id128 id;
    uint8_t seal_public[PL_X25519_BYTES];
    const struct ctl *ctl;
    const struct pl_random *random;
    struct new_file files[FILE_COUNT];
};

/* ---- arguments */

static bool is_word(const char *text, size_t max_bytes)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
    return text[0] != '\0' && text[0] != '-' && strlen(text) <= max_bytes &&
           strspn(text, letters) == strlen(text);
}

static const char link_hint[] = "name the address where edges reach the origin: --link "
                                "tls+tcp://HOST:8090";

/* link_listen, out of the origin's configuration; the file is ours, its keys stand at the start of
 * their lines. */
static enum pl_err read_link_listen(const struct enrolment *e, char value[CERTIFICATES_LINK_BYTES],
                                    struct pl_why *why)
{
    char path[FILES_PATH_BYTES];
    value[0] = '\0';
    struct pl_buf text;
    enum pl_err err = files_path(path, e->dir, "origin/origin.yaml", why);
    if (err != PL_OK)
        return err;
    pl_buf_init(&text, YAML_BYTES_MAX);
    err = pl_file_read(path, "configuration", false, &text, why);
    if (err == PL_OK && (err = pl_buf_terminate(&text)) == PL_OK) {
        const char *line = (const char *)text.data;
        while (line != NULL && sscanf(line, "link_listen: \"%299[^\"\n]", value) != 1 &&
               sscanf(line, "link_listen: %299[^\"'# \n]", value) != 1) {
            line = strchr(line, '\n');
            line = line == NULL ? NULL : line + 1;
        }
    }
    pl_buf_release(&text);
    if (err == PL_OK && value[0] == '\0')
        err = pl_fail(why, PL_ENOTFOUND, "%s has no link_listen", path);
    return err == PL_OK ? err : pl_fail_in(why, err, "%s", link_hint);
}

static bool is_every_address(const char *link)
{
    return strstr(link, "//0.0.0.0:") != NULL || strstr(link, "//[::]:") != NULL ||
           strstr(link, "//*:") != NULL;
}

/* What edges can use: where the origin listens, or the host that its certificate is for. */
static enum pl_err find_link(struct enrolment *e, struct pl_why *why)
{
    struct certificates_host host;
    char listen[CERTIFICATES_LINK_BYTES];
    enum pl_err err = read_link_listen(e, listen, why);
    snprintf(e->link, sizeof(e->link), "%s", listen);
    if (err != PL_OK || !is_every_address(listen))
        return err;
    err = certificates_host_read(e->dir, &host, why);
    if (err == PL_OK)
        certificates_link(&host, strrchr(listen, ':') + 1, e->link);
    if (err == PL_ENOTFOUND)
        return pl_fail(why, PL_EINVAL,
                       "link_listen in %s/origin/origin.yaml is every address, and the origin's "
                       "certificate names no host: %s",
                       e->dir, link_hint);
    return err;
}

static enum ctl_exit check_link(const char *link, struct pl_why *why)
{
    if (!pl_link_url_is(link) || strlen(link) >= CERTIFICATES_LINK_BYTES)
        return ctl_usage(why, "--link must look like tls+tcp://HOST:PORT, not '%.200s'", link);
    return CTL_OK;
}

static enum ctl_exit check_words(const struct enrolment *e, struct pl_why *why)
{
    struct pl_address address;
    if (!is_word(e->name, NAME_BYTES_MAX))
        return ctl_usage(why, "an edge's name has up to %d of a-z, 0-9 and -: not '%.100s'",
                         NAME_BYTES_MAX, e->name);
    if (e->region == NULL)
        return ctl_usage(why, "--region is missing, e.g. --region eu");
    if (!is_word(e->region, REGION_BYTES_MAX))
        return ctl_usage(why, "a region has up to %d of a-z, 0-9 and -: not '%.100s'",
                         REGION_BYTES_MAX, e->region);
    return pl_address_parse(e->listen, "--listen", &address, why) == PL_OK ? CTL_OK : CTL_USAGE;
}

/* Where everything lies, and will. */
static enum pl_err find_paths(struct enrolment *e, const char *dir, struct pl_why *why)
{
    char below[NAME_BYTES_MAX + 32];
    enum pl_err err = files_absolute(e->dir, dir, why);
    snprintf(below, sizeof(below), "edges/%s", e->name);
    if (err == PL_OK)
        err = files_path(e->final, e->dir, below, why);
    snprintf(below, sizeof(below), "edges/.%s.new", e->name);
    if (err == PL_OK)
        err = files_path(e->staging, e->dir, below, why);
    if (err == PL_OK && pl_file_exists(e->final))
        err = pl_fail(why, PL_EEXISTS,
                      "%s is there already, and nothing is overwritten: choose another name, or "
                      "revoke that edge (polderctl edge revoke %s) and move its directory away",
                      e->final, e->name);
    return err;
}

static enum ctl_exit read_args(const struct ctl *ctl, const struct ctl_args *args,
                               struct enrolment *e, struct pl_why *why)
{
    const char *link = args->options[LINK];
    e->name = args->words[0];
    e->region = args->options[REGION];
    e->listen = args->options[LISTEN] == NULL ? DEFAULT_LISTEN : args->options[LISTEN];
    enum ctl_exit usage = check_words(e, why);
    if (usage == CTL_OK && link != NULL)
        usage = check_link(link, why);
    if (usage != CTL_OK)
        return usage;
    if (ctl->dir == NULL)
        return ctl_usage(why, "--dir is missing: the directory that polderctl init made, with the "
                              "CA's key in it");
    enum pl_err err = find_paths(e, ctl->dir, why);
    if (err == PL_OK && link != NULL)
        snprintf(e->link, sizeof(e->link), "%s", link);
    else if (err == PL_OK)
        err = find_link(e, why);
    return ctl_result(err);
}

/* ---- what the edge gets */

static enum pl_err make_keys(struct enrolment *e, struct pl_why *why)
{
    uint8_t secret[PL_X25519_BYTES];
    char hex[2 * sizeof(secret) + 1];
    enum pl_err err;
    if ((err = pl_id128_random(e->random, &e->id)) == PL_OK &&
        (err = pl_pki_new_key(e->random, &e->files[LINK_KEY].bytes)) == PL_OK &&
        (err = pl_x25519_keypair(e->random, secret, e->seal_public)) == PL_OK) {
        pl_hex_encode(pl_span(secret, sizeof(secret)), hex);
        err = pl_buf_appendf(&e->files[SEAL_KEY].bytes, "%s\n", hex);
    }
    pl_wipe(secret, sizeof(secret));
    pl_wipe(hex, sizeof(hex));
    return err == PL_OK ? PL_OK : pl_fail(why, err, "cannot make keys: %s", pl_err_word(err));
}

/* Signed by the CA, and valid for as long as it is. */
static enum pl_err make_certificate(struct enrolment *e, struct pl_why *why)
{
    char path[FILES_PATH_BYTES];
    struct pl_buf ca_key;
    struct pl_buf *ca = &e->files[CA_CERT].bytes;
    enum pl_err err;
    pl_buf_init(&ca_key, PEM_BYTES_MAX);
    if ((err = files_path(path, e->dir, "ca.crt", why)) == PL_OK &&
        (err = pl_file_read(path, "CA certificate", false, ca, why)) == PL_OK &&
        (err = files_path(path, e->dir, "ca.key", why)) == PL_OK &&
        (err = pl_file_read(path, "CA key", true, &ca_key, why)) == PL_OK)
        err = certificates_issue(e->ctl, e->name, NULL, pl_buf_span(&e->files[LINK_KEY].bytes),
                                 pl_buf_span(ca), pl_buf_span(&ca_key), &e->files[LINK_CERT].bytes,
                                 why);
    pl_buf_wipe(&ca_key);
    return err;
}

/* %1$s: the edge's directory, %2$s: listen, %3$s: id, %4$s: region, %5$s: the origin's link */
static const char yaml[] =
    "# Configuration of this edge: polder-edge --config THIS_FILE\n"
    "# Each key can be set as an environment variable too: POLDER_HTTP_LISTEN and so on.\n"
    "# polder-edge --print-config lists all keys with their defaults.\n"
    "#\n"
    "# For another machine copy this directory there, correct the paths below, and delete it "
    "here:\n"
    "# its secret keys are needed in one place only.\n"
    "\n"
    "# Where browsers and trackers come in. Behind a load balancer plain HTTP will do; else set\n"
    "# https_listen, tls_cert_file and tls_key_file.\n"
    "http_listen: \"%2$s\"\n"
    "# /ready, /replication and /metrics name clients and accounts. Where the address above is\n"
    "# reached by the public, serve them at one of their own, which only operators reach:\n"
    "# ops_listen: \"127.0.0.1:9081\"\n"
    "\n"
    "# Who this edge is to the origin. An account may be limited to regions.\n"
    "edge_id: \"%3$s\"\n"
    "region: \"%4$s\"\n"
    "\n"
    "# Events that the origin has not acknowledged yet, and the last known configs. Its disk\n"
    "# bounds how long the origin may be away.\n"
    "data_dir: \"%1$s/data\"\n"
    "\n"
    "# The origin, over mutual TLS. origin_name is the name in its certificate.\n"
    "origin_url: \"%5$s\"\n"
    "origin_name: \"" CERTIFICATES_ORIGIN_NAME "\"\n"
    "ca_file: \"%1$s/ca.crt\"\n"
    "link_cert_file: \"%1$s/link.crt\"\n"
    "link_key_file: \"%1$s/link.key\"\n"
    "\n"
    "# Proves to the origin that this edge sealed what arrives.\n"
    "seal_key_file: \"%1$s/seal.key\"\n"
    "\n"
    "# error, warn, info or debug\n"
    "log_level: \"info\"\n";

static enum pl_err write_yaml(struct enrolment *e, struct pl_why *why)
{
    char id[PL_ID128_TEXT];
    struct pl_buf dir;
    pl_id128_format(&e->id, id);
    pl_buf_init(&dir, 4 * FILES_PATH_BYTES);
    enum pl_err err = yaml_escape(&dir, e->final);
    if (err == PL_OK)
        err = pl_buf_appendf(&e->files[YAML].bytes, yaml, (const char *)dir.data, e->listen, id,
                             e->region, e->link);
    pl_buf_release(&dir);
    return err == PL_OK ? PL_OK : pl_fail(why, err, "cannot write edge.yaml: %s", pl_err_word(err));
}

/* Everything on the disk before the origin hears of it: what can fail has failed by then. */
static enum pl_err stage(struct enrolment *e, struct pl_why *why)
{
    files_remove(e->staging, e->files, FILE_COUNT); /* left by a run that was killed */
    enum pl_err err = pl_dir_make(e->staging, 0700, why);
    if (err == PL_OK)
        err = files_create(e->staging, e->files, FILE_COUNT, why);
    if (err != PL_OK)
        rmdir(e->staging);
    return err;
}

static void unstage(struct enrolment *e)
{
    char edges[FILES_PATH_BYTES];
    files_remove(e->staging, e->files, FILE_COUNT);
    rmdir(e->staging);
    if (files_path(edges, e->dir, "edges", NULL) == PL_OK)
        rmdir(edges); /* goes only when nothing else is in it */
}

/* ---- the origin */

static enum pl_err write_request(const struct enrolment *e, struct pl_buf *out, struct pl_why *why)
{
    struct pl_buf der, base64;
    char id[PL_ID128_TEXT], seal[2 * PL_X25519_BYTES + 1];
    pl_id128_format(&e->id, id);
    pl_hex_encode(pl_span(e->seal_public, sizeof(e->seal_public)), seal);
    pl_buf_init(&der, PL_PUBLIC_KEY_MAX_BYTES);
    pl_buf_init(&base64, 2 * PL_PUBLIC_KEY_MAX_BYTES);
    enum pl_err err = pl_pki_cert_public(pl_buf_span(&e->files[LINK_CERT].bytes), &der, why);
    if (err == PL_OK && ((err = pl_base64_encode(pl_buf_span(&der), &base64)) != PL_OK ||
                         (err = pl_buf_terminate(&base64)) != PL_OK))
        pl_fail(why, err, "cannot write the request: %s", pl_err_word(err));
    if (err == PL_OK) {
        const struct request_member members[] = {
            {.name = "id", .text = id},
            {.name = "name", .text = e->name},
            {.name = "region", .text = e->region},
            {.name = "link_public", .text = (const char *)base64.data},
            {.name = "seal_public", .text = seal},
            {0},
        };
        err = request_write(members, "an edge's name", out, why);
    }
    pl_buf_release(&base64);
    pl_buf_release(&der);
    return err;
}

static enum pl_err admit(struct ctl *ctl, struct enrolment *e, struct api_answer *answer,
                         struct pl_why *why)
{
    struct pl_buf request;
    char id[PL_ID128_TEXT];
    pl_id128_format(&e->id, id);
    pl_buf_init(&request, REQUEST_BYTES_MAX);
    enum pl_err err = write_request(e, &request, why);
    if (err == PL_OK)
        err = api_call(ctl, "POST", "/edges", pl_buf_span(&request), answer, why);
    pl_buf_release(&request);
    if (err == PL_ETIMEDOUT || err == PL_EIO)
        pl_fail_in(why, err,
                   "it is not known whether the origin has admitted edge %s, so its keys were "
                   "deleted; if polderctl edge list shows it, run polderctl edge revoke %s before "
                   "you try again",
                   id, id);
    if (err != PL_OK)
        return err;
    if (rename(e->staging, e->final) != 0)
        return pl_fail(why, pl_err_from_errno(errno),
                       "the origin has admitted edge %s, but %s cannot be moved to %s: %m; run "
                       "polderctl edge revoke %s before you try again",
                       id, e->staging, e->final, id);
    char edges[FILES_PATH_BYTES];
    err = files_path(edges, e->dir, "edges", why);
    return err == PL_OK ? pl_dir_sync(edges, why) : err;
}

static void say_next_steps(const struct enrolment *e)
{
    char id[PL_ID128_TEXT];
    pl_id128_format(&e->id, id);
    printf("Edge %s (%s) of region %s is enrolled.\n\n"
           "Next:\n"
           "  polder-edge --config %s/edge.yaml\n",
           e->name, id, e->region, e->final);
}

enum ctl_exit edge_enroll(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    struct enrolment e = {.ctl = ctl, .random = ctl->random};
    struct api_answer answer = {.status = 0};
    enum pl_err err;
    enum ctl_exit usage = read_args(ctl, args, &e, why);
    if (usage != CTL_OK)
        return usage;
    memcpy(e.files, plan, sizeof(plan));
    files_init(e.files, FILE_COUNT);
    if ((err = make_keys(&e, why)) == PL_OK && (err = make_certificate(&e, why)) == PL_OK &&
        (err = write_yaml(&e, why)) == PL_OK && (err = stage(&e, why)) == PL_OK) {
        err = admit(ctl, &e, &answer, why);
        if (err != PL_OK)
            unstage(&e);
    }
    files_release(e.files, FILE_COUNT);
    if (err == PL_OK && ctl->json)
        api_print(&answer);
    else if (err == PL_OK)
        say_next_steps(&e);
    api_answer_release(&answer);
    return ctl_result(err);
}
