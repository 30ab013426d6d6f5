/*
 * certificates: those of the replication link, which init and edge enroll issue first and
 * certificates renew issues again.
 */
#ifndef POLDER_DEPLOY_CTL_CERTIFICATES_H
#define POLDER_DEPLOY_CTL_CERTIFICATES_H

#include "deploy/ctl/ctl.h"
#include "proto/base/pki.h"

#define CERTIFICATES_DAYS        3653            /* ten years */
#define CERTIFICATES_BACKDATE_MS PL_DAY_MS       /* the other side's clock may be behind */
#define CERTIFICATES_ORIGIN_NAME "origin.polder" /* what edges expect in the origin's */
#define CERTIFICATES_HOST_BYTES  256
#define CERTIFICATES_LINK_BYTES  320

/* Where edges reach the origin. */
struct certificates_host {
    char text[CERTIFICATES_HOST_BYTES];
    bool is_ip4, is_ip6; /* else a DNS name */
};
/* PL_EINVAL: neither an address nor a DNS name. */
enum pl_err certificates_host_parse(const char *text, struct certificates_host *out,
                                    struct pl_why *why);
/* The one that the origin's certificate, DIR/origin/link.crt, was issued for; of several the first.
 * PL_ENOTFOUND: there is none but this machine, or no certificate. Blocks. */
enum pl_err certificates_host_read(const char *dir, struct certificates_host *out,
                                   struct pl_why *why);
/* "tls+tcp://HOST:PORT". */
void certificates_link(const struct certificates_host *host, const char *port,
                       char out[CERTIFICATES_LINK_BYTES]);
/* The CA's, signed by itself. Issued again with the same key, what it has signed stays valid. */
enum pl_err certificates_issue_ca(const struct ctl *ctl, struct pl_span ca_key, struct pl_buf *out,
                                  struct pl_why *why);
/* A node's, for as long as the CA's is valid: key is its private or public key, PEM. host NULL:
 * an edge called name; else the origin. */
enum pl_err certificates_issue(const struct ctl *ctl, const char *name,
                               const struct certificates_host *host, struct pl_span key,
                               struct pl_span ca, struct pl_span ca_key, struct pl_buf *out,
                               struct pl_why *why);

#endif
