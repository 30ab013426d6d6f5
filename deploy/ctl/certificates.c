/* polderctl certificates: issues those of the link, again before they end. */
#include "deploy/ctl/certificates.h"
#include "deploy/ctl/files.h"

#include "proto/base/crypto.h"
#include "proto/base/file.h"
#include "proto/base/text.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>

#define PEM_BYTES_MAX (16 * 1024)
#define LOCAL_HOST    "127.0.0.1"

static enum pl_err read_in(const char *dir, const char *name, const char *what, bool private_file,
                           struct pl_buf *out, struct pl_why *why)
{
    char path[FILES_PATH_BYTES];
    enum pl_err err = files_path(path, dir, name, why);
    return err == PL_OK ? pl_file_read(path, what, private_file, out, why) : err;
}

/* ---- issuing */

/* Labels of letters, digits and hyphens, with dots between them; the last is not a number, or it
 * would be an address (RFC 1123 section 2.1). */
static bool is_dns_name(const char *name)
{
    size_t len = strlen(name), label = 0;
    bool number = true;
    for (size_t i = 0; i < len; i++) {
        char c = name[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        bool edge = label == 0 || i + 1 == len || name[i + 1] == '.';
        if (c == '.' ? label == 0 : !word && (c != '-' || edge))
            return false;
        number = (label == 0 || number) && c >= '0' && c <= '9';
        label = c == '.' ? 0 : label + 1;
        if (label > 63)
            return false;
    }
    return len > 0 && len < 254 && label > 0 && !number;
}

enum pl_err certificates_host_parse(const char *text, struct certificates_host *out,
                                    struct pl_why *why)
{
    static const uint8_t every[16] = {0};
    uint8_t address[16] = {0};
    struct certificates_host host = {.is_ip4 = inet_pton(AF_INET, text, address) == 1,
                                     .is_ip6 = inet_pton(AF_INET6, text, address) == 1};
    if (!host.is_ip4 && !host.is_ip6 && !is_dns_name(text))
        return pl_fail(why, PL_EINVAL, "--host must be an IP address or a DNS name, not '%.100s'",
                       text);
    if ((host.is_ip4 || host.is_ip6) && memcmp(address, every, sizeof(every)) == 0)
        return pl_fail(why, PL_EINVAL,
                       "--host must be where edges reach the origin; '%s' is every address, which "
                       "none can dial: give one of them, or a DNS name, and the origin listens at "
                       "every address",
                       text);
    snprintf(host.text, sizeof(host.text), "%s", text);
    *out = host;
    return PL_OK;
}

/* Every origin's certificate is for LOCAL_HOST and CERTIFICATES_ORIGIN_NAME as well. */
static enum pl_err choose_host(const struct pl_buf *hosts, struct certificates_host *out,
                               struct pl_why *why)
{
    const char *line = (const char *)hosts->data, *end;
    for (; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        char text[CERTIFICATES_HOST_BYTES];
        snprintf(text, sizeof(text), "%.*s", (int)(end - line), line);
        if (strcmp(text, CERTIFICATES_ORIGIN_NAME) != 0 && strcmp(text, LOCAL_HOST) != 0 &&
            certificates_host_parse(text, out, NULL) == PL_OK)
            return PL_OK;
    }
    return pl_fail(why, PL_ENOTFOUND, "the origin's certificate names no host for others");
}

enum pl_err certificates_host_read(const char *dir, struct certificates_host *out,
                                   struct pl_why *why)
{
    struct pl_buf cert, hosts;
    pl_buf_init(&cert, PEM_BYTES_MAX);
    pl_buf_init(&hosts, PEM_BYTES_MAX);
    enum pl_err err = read_in(dir, "origin/link.crt", "link certificate", false, &cert, why);
    if (err == PL_OK && ((err = pl_pki_cert_hosts(pl_buf_span(&cert), &hosts, why)) != PL_OK ||
                         (err = pl_buf_terminate(&hosts)) != PL_OK))
        pl_fail_in(why, err, "%s/origin/link.crt", dir);
    else if (err == PL_OK)
        err = choose_host(&hosts, out, why);
    pl_buf_release(&cert);
    pl_buf_release(&hosts);
    return err;
}

void certificates_link(const struct certificates_host *host, const char *port,
                       char out[CERTIFICATES_LINK_BYTES])
{
    snprintf(out, CERTIFICATES_LINK_BYTES, host->is_ip6 ? "tls+tcp://[%s]:%s" : "tls+tcp://%s:%s",
             host->text, port);
}

enum pl_err certificates_issue_ca(const struct ctl *ctl, struct pl_span ca_key, struct pl_buf *out,
                                  struct pl_why *why)
{
    const int64_t now_ms = pl_wall_ms(ctl->clock);
    const struct pl_pki_request request = {
        .common_name = "Polder replication CA",
        .not_before_ms = now_ms - CERTIFICATES_BACKDATE_MS,
        .not_after_ms = now_ms + CERTIFICATES_DAYS * PL_DAY_MS,
        .is_ca = true,
    };
    return pl_pki_issue(ctl->random, &request, ca_key, pl_span(NULL, 0), ca_key, out, why);
}

enum pl_err certificates_issue(const struct ctl *ctl, const char *name,
                               const struct certificates_host *host, struct pl_span key,
                               struct pl_span ca, struct pl_span ca_key, struct pl_buf *out,
                               struct pl_why *why)
{
    const char *dns[] = {CERTIFICATES_ORIGIN_NAME, NULL, NULL};
    const char *ip[] = {LOCAL_HOST, NULL, NULL};
    struct pl_pki_request request = {
        .common_name = name,
        .not_before_ms = pl_wall_ms(ctl->clock) - CERTIFICATES_BACKDATE_MS,
    };
    if (host != NULL) {
        request.common_name = "Polder origin";
        request.dns_names = dns;
        request.ip_names = ip;
        if (!host->is_ip4 && !host->is_ip6)
            dns[1] = host->text;
        else if (strcmp(host->text, ip[0]) != 0)
            ip[1] = host->text;
    }
    enum pl_err err = pl_pki_cert_not_after(ca, &request.not_after_ms, why);
    return err != PL_OK ? err : pl_pki_issue(ctl->random, &request, key, ca, ca_key, out, why);
}

/* ---- renewing */

struct renewal {
    struct ctl *ctl;
    char dir[FILES_PATH_BYTES]; /* polderctl init's */
    struct certificates_host host;
    struct pl_buf ca, ca_key;
    unsigned edges;
};

static enum pl_err write_in(const char *dir, const char *name, const char *what,
                            const struct pl_buf *bytes, struct pl_why *why)
{
    char path[FILES_PATH_BYTES];
    enum pl_err err = files_path(path, dir, name, why);
    return err == PL_OK ? pl_file_replace(path, what, 0644, pl_buf_span(bytes), why) : err;
}

/* The key that a certificate is for, as PEM: the private half may be on another machine. */
static enum pl_err key_of(const struct pl_buf *cert, struct pl_buf *pem, struct pl_why *why)
{
    struct pl_buf der;
    pl_buf_init(&der, PL_PUBLIC_KEY_MAX_BYTES);
    enum pl_err err = pl_pki_cert_public(pl_buf_span(cert), &der, why);
    if (err == PL_OK && ((err = pl_buf_append_str(pem, "-----BEGIN PUBLIC KEY-----\n")) != PL_OK ||
                         (err = pl_base64_encode(pl_buf_span(&der), pem)) != PL_OK ||
                         (err = pl_buf_append_str(pem, "\n-----END PUBLIC KEY-----\n")) != PL_OK ||
                         (err = pl_buf_terminate(pem)) != PL_OK))
        pl_fail(why, err, "cannot encode a key: %s", pl_err_word(err));
    pl_buf_release(&der);
    return err;
}

static enum pl_err renew_node(struct renewal *r, const char *dir, const char *name,
                              const struct certificates_host *host, struct pl_why *why)
{
    struct pl_buf cert, key, fresh;
    pl_buf_init(&cert, PEM_BYTES_MAX);
    pl_buf_init(&key, PEM_BYTES_MAX);
    pl_buf_init(&fresh, PEM_BYTES_MAX);
    enum pl_err err = read_in(dir, "link.crt", "link certificate", false, &cert, why);
    if (err == PL_OK && (err = key_of(&cert, &key, why)) != PL_OK)
        pl_fail_in(why, err, "%s/link.crt", dir);
    if (err == PL_OK)
        err = certificates_issue(r->ctl, name, host, pl_buf_span(&key), pl_buf_span(&r->ca),
                                 pl_buf_span(&r->ca_key), &fresh, why);
    if (err == PL_OK)
        err = write_in(dir, "link.crt", "link certificate", &fresh, why);
    if (err == PL_OK && host == NULL)
        err = write_in(dir, "ca.crt", "CA certificate", &r->ca, why);
    pl_buf_release(&cert);
    pl_buf_release(&key);
    pl_buf_release(&fresh);
    return err;
}

static enum pl_err renew_edges(struct renewal *r, struct pl_why *why)
{
    char edges[FILES_PATH_BYTES], dir[FILES_PATH_BYTES];
    enum pl_err err = files_path(edges, r->dir, "edges", why);
    if (err != PL_OK)
        return err;
    DIR *list = opendir(edges);
    if (list == NULL)
        return errno == ENOENT
                   ? PL_OK
                   : pl_fail(why, pl_err_from_errno(errno), "cannot read %s: %m", edges);
    const struct dirent *entry;
    while (err == PL_OK && (entry = readdir(list)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        err = files_path(dir, edges, entry->d_name, why);
        if (err == PL_OK)
            err = renew_node(r, dir, entry->d_name, NULL, why);
        r->edges += err == PL_OK;
    }
    closedir(list);
    return err;
}

static enum pl_err renew_all(struct renewal *r, struct pl_why *why)
{
    char origin[FILES_PATH_BYTES];
    enum pl_err err = files_path(origin, r->dir, "origin", why);
    if (err == PL_OK)
        err = read_in(r->dir, "ca.key", "CA key", true, &r->ca_key, why);
    if (err == PL_OK && (err = pl_buf_terminate(&r->ca_key)) != PL_OK)
        pl_fail(why, err, "ca.key is too large");
    if (err == PL_OK)
        err = certificates_issue_ca(r->ctl, pl_buf_span(&r->ca_key), &r->ca, why);
    if (err == PL_OK)
        err = write_in(r->dir, "ca.crt", "CA certificate", &r->ca, why);
    if (err == PL_OK)
        err = renew_node(r, origin, NULL, &r->host, why);
    return err == PL_OK ? renew_edges(r, why) : err;
}

/* It stays as it is. */
static enum pl_err find_host(struct renewal *r, struct pl_why *why)
{
    enum pl_err err = certificates_host_read(r->dir, &r->host, why);
    return err == PL_ENOTFOUND ? certificates_host_parse(LOCAL_HOST, &r->host, why) : err;
}

static enum ctl_exit run_renew(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    struct renewal r = {.ctl = ctl};
    const char *host = args->options[0];
    if (ctl->dir == NULL)
        return ctl_usage(why, "--dir is missing: the directory that polderctl init made, with the "
                              "CA's key in it");
    if (host != NULL && certificates_host_parse(host, &r.host, why) != PL_OK)
        return CTL_USAGE;
    pl_buf_init(&r.ca, PEM_BYTES_MAX);
    pl_buf_init(&r.ca_key, PEM_BYTES_MAX);
    enum pl_err err = files_absolute(r.dir, ctl->dir, why);
    if (err == PL_OK && host == NULL)
        err = find_host(&r, why);
    if (err == PL_OK)
        err = renew_all(&r, why);
    pl_buf_release(&r.ca);
    pl_buf_wipe(&r.ca_key);
    if (err == PL_OK && ctl->json)
        printf("{\"renewed\":%u,\"ca\":1,\"origin\":1,\"edges\":%u}\n", r.edges + 2, r.edges);
    else if (err == PL_OK)
        printf("The certificates of the CA, the origin and %u %s below %s are good for another\n"
               "ten years; the keys are as they were.\n\n"
               "Next: take link.crt and ca.crt to the edges that are elsewhere, then restart the\n"
               "origin and, one after the other, the edges.\n",
               r.edges, pl_plural(r.edges, "edge", "edges"), r.dir);
    return ctl_result(err);
}

static const struct ctl_option renew_options[] = {
    {"host", "HOST", "Another address or name where edges reach the origin"},
    {0},
};

const struct ctl_command certificates_commands[] = {
    {"renew", "", "Issues the link's certificates again",
     "Needs DIR (--dir) with the CA's key in it. Issues the CA's own, the origin's and those of "
     "the edges in DIR/edges again, with the keys as they are: the origin knows its edges still, "
     "and old and new go together as long as both are valid. Of an edge that is elsewhere put "
     "link.crt into DIR/edges/NAME first.\n\n"
     "Example:\n  polderctl certificates renew --dir /etc/polder",
     renew_options, run_renew},
    {0},
};
