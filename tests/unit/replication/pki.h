/* Certificates of a CA of the test's own. */
#ifndef POLDER_TESTS_REPLICATION_PKI_H
#define POLDER_TESTS_REPLICATION_PKI_H

#include "tests/unit/replication/waiting.h"

#include "proto/base/file.h"
#include "proto/base/pki.h"

#include <arpa/inet.h>
#include <ftw.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

struct pki {
    char dir[64];
    struct pl_buf ca_key, ca_cert;
};

static inline void pki_path(const struct pki *pki, const char *name, char out[128])
{
    snprintf(out, 128, "%s/%s", pki->dir, name);
}

static inline void pki_write(const struct pki *pki, const char *name, const struct pl_buf *pem)
{
    char path[128];
    pki_path(pki, name, path);
    assert_int_equal(pl_file_replace(path, "test file", 0600, pl_buf_span(pem), NULL), PL_OK);
}

static inline void pki_issue(struct pki *pki, const char *name, const char *dns)
{
    const char *names[] = {dns, NULL};
    struct pl_why why = {0};
    struct pl_pki_request request = {.common_name = name,
                                     .dns_names = dns == NULL ? NULL : names,
                                     .not_before_ms = pl_wall_ms(pl_clock_system()) - PL_DAY_MS,
                                     .not_after_ms = pl_wall_ms(pl_clock_system()) + PL_DAY_MS};
    struct pl_buf key, cert;
    char file[64];
    pl_buf_init(&key, 65536);
    pl_buf_init(&cert, 65536);
    assert_int_equal(pl_pki_new_key(pl_random_system(), &key), PL_OK);
    if (pl_pki_issue(pl_random_system(), &request, pl_buf_span(&key), pl_buf_span(&pki->ca_cert),
                     pl_buf_span(&pki->ca_key), &cert, &why) != PL_OK)
        fail_msg("%s", why.text);
    snprintf(file, sizeof(file), "%s.key", name);
    pki_write(pki, file, &key);
    snprintf(file, sizeof(file), "%s.pem", name);
    pki_write(pki, file, &cert);
    pl_buf_release(&key);
    pl_buf_release(&cert);
}

static inline void pki_init(struct pki *pki)
{
    struct pl_why why = {0};
    struct pl_pki_request request = {.common_name = "test CA",
                                     .not_before_ms = pl_wall_ms(pl_clock_system()) - PL_DAY_MS,
                                     .not_after_ms = pl_wall_ms(pl_clock_system()) + PL_DAY_MS,
                                     .is_ca = true};
    strcpy(pki->dir, "/tmp/polder-link-XXXXXX");
    assert_non_null(mkdtemp(pki->dir));
    pl_buf_init(&pki->ca_key, 65536);
    pl_buf_init(&pki->ca_cert, 65536);
    assert_int_equal(pl_pki_new_key(pl_random_system(), &pki->ca_key), PL_OK);
    if (pl_pki_issue(pl_random_system(), &request, pl_buf_span(&pki->ca_key), pl_span(NULL, 0),
                     pl_span(NULL, 0), &pki->ca_cert, &why) != PL_OK)
        fail_msg("%s", why.text);
    pki_write(pki, "ca.pem", &pki->ca_cert);
}

static inline int pki_unlink(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

static inline void pki_release(struct pki *pki)
{
    pl_buf_release(&pki->ca_key);
    pl_buf_release(&pki->ca_cert);
    nftw(pki->dir, pki_unlink, 8, FTW_DEPTH | FTW_PHYS);
}

/* The public key of a certificate made above. */
static inline void pki_public(const struct pki *pki, const char *name, struct pl_buf *spki)
{
    char path[128], file[64];
    struct pl_buf pem;
    pl_buf_init(&pem, 65536);
    snprintf(file, sizeof(file), "%s.pem", name);
    pki_path(pki, file, path);
    assert_int_equal(pl_file_read(path, "test file", false, &pem, NULL), PL_OK);
    assert_int_equal(pl_pki_cert_public(pl_buf_span(&pem), spki, NULL), PL_OK);
    pl_buf_release(&pem);
}

/* A port nobody listens at now. */
static inline int free_port(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    close(fd);
    return ntohs(at.sin_port);
}

#endif
