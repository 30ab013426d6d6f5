#include "proto/http/internal.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#define MAX_NAMES    4096
#define MAX_NAME_LEN 253 /* RFC 1035 section 2.3.4 */

struct named {
    char *name; /* lowercase; begins with a star where it stands for all names below */
    SSL_CTX *context;
};

struct http_tls_set {
    _Atomic unsigned refs;
    SSL_CTX *context;
    struct named *names; /* sorted */
    size_t count;
    size_t refused; /* pairs that could not be used */
};

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct named *)a)->name, ((const struct named *)b)->name);
}

static SSL_CTX *find_name(const struct http_tls_set *set, const char *name)
{
    struct named key = {.name = (char *)(uintptr_t)name};
    if (set->count == 0)
        return NULL;
    const struct named *hit =
        bsearch(&key, set->names, set->count, sizeof(set->names[0]), compare_names);
    return hit == NULL ? NULL : hit->context;
}

/* RFC 6066 section 3. An unknown name gets the default certificate: probes by address and old
 * clients must still get in. */
static int on_server_name(SSL *ssl, int *alert, void *arg)
{
    const struct http_tls_set *set = arg;
    const char *sent = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    char name[MAX_NAME_LEN + 1];
    size_t len = 0;
    (void)alert;

    if (sent == NULL)
        return SSL_TLSEXT_ERR_NOACK;
    for (; sent[len] != '\0' && len < MAX_NAME_LEN; ++len)
        name[len] = (char)tolower((unsigned char)sent[len]);
    if (sent[len] != '\0')
        return SSL_TLSEXT_ERR_NOACK;
    name[len] = '\0';

    SSL_CTX *context = find_name(set, name);
    char *dot = strchr(name, '.');
    if (context == NULL && dot != NULL && dot > name) { /* "*.example.com.crt" */
        *--dot = '*';
        context = find_name(set, dot);
    }
    if (context == NULL)
        return SSL_TLSEXT_ERR_NOACK;
    SSL_set_SSL_CTX(ssl, context);
    return SSL_TLSEXT_ERR_OK;
}

/* RFC 7301; HTTP/2 first. */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                   const unsigned char *in, unsigned in_len, void *arg)
{
    static const unsigned char ours[] = "\x02h2\x08http/1.1";
    unsigned char *picked;
    (void)ssl;
    (void)arg;
    if (SSL_select_next_proto(&picked, out_len, ours, sizeof(ours) - 1, in, in_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = picked;
    return SSL_TLSEXT_ERR_OK;
}

/* Without this OpenSSL would ask the terminal. */
static int no_passphrase(char *buffer, int size, int writing, void *arg)
{
    (void)buffer;
    (void)size;
    (void)writing;
    (void)arg;
    return 0;
}

/* The first one's: what follows is what it made fail, "PEM lib". */
static const char *openssl_reason(void)
{
    unsigned long code = ERR_peek_error();
    const char *text = code == 0 ? NULL : ERR_reason_error_string(code);
    return text == NULL ? "not a PEM file OpenSSL can read" : text;
}

static enum pl_err check_file(const char *path, const char *what, bool secret, struct pl_why *why)
{
    struct stat st;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return pl_fail(why, pl_err_from_errno(errno), "cannot open %s %s: %s", what, path,
                       strerror(errno));
    int failed = fstat(fileno(file), &st);
    fclose(file);
    if (failed == 0 && secret && (st.st_mode & S_IRWXO) != 0)
        return pl_fail(why, PL_EDENIED, "%s %s is open to every user of this machine (chmod 0640)",
                       what, path);
    return PL_OK;
}

static void configure(SSL_CTX *context)
{
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                     SSL_OP_CIPHER_SERVER_PREFERENCE);
    /* What HTTP/2 allows of TLS 1.2 (RFC 9113 section 9.2.2): ephemeral keys, AEAD. */
    SSL_CTX_set_cipher_list(context, "ECDHE+AESGCM:ECDHE+CHACHA20");
    SSL_CTX_set_session_id_context(context, (const unsigned char *)"polder", 6);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_default_passwd_cb(context, no_passphrase);
    SSL_CTX_set_alpn_select_cb(context, on_alpn, NULL);
}

static enum pl_err load_pair(SSL_CTX **out, const char *cert, const char *key, struct pl_why *why)
{
    enum pl_err err;
    SSL_CTX *context = NULL;
    int used;

    if ((err = check_file(cert, "certificate file", false, why)) != PL_OK ||
        (err = check_file(key, "key file", true, why)) != PL_OK)
        return err;
    context = SSL_CTX_new(TLS_server_method());
    if (context == NULL)
        return pl_fail(why, PL_ENOMEM, "out of memory for a TLS context");
    configure(context);
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(context, cert) != 1)
        err = pl_fail(why, PL_EINVAL, "certificate file %s: %s (it must be PEM, with its chain)",
                      cert, openssl_reason());
    else if ((used = SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM)) != 1 &&
             ERR_GET_LIB(ERR_peek_error()) != ERR_LIB_X509) /* that one compares the pair */
        err = pl_fail(why, PL_EINVAL, "key file %s: %s (it must be PEM without a passphrase)", key,
                      openssl_reason());
    else if (used != 1 || SSL_CTX_check_private_key(context) != 1)
        err = pl_fail(why, PL_EINVAL, "key file %s does not belong to certificate %s", key, cert);
    ERR_clear_error();
    if (err != PL_OK) {
        SSL_CTX_free(context);
        return err;
    }
    *out = context;
    return PL_OK;
}

/* One reading of a directory. */
struct reading {
    struct http_tls_set *set;
    const struct http_tls_set *old; /* may be NULL */
    const char *dir;
    const struct pl_log *log;
};

static enum pl_err load_named(const struct reading *reading, const char *file, const char *name,
                              SSL_CTX **out, struct pl_why *why)
{
    static const char in_names[] = "abcdefghijklmnopqrstuvwxyz0123456789-._";
    char cert[4096], key[4096];
    const char *dir = reading->dir;
    const char *host = strncmp(name, "*.", 2) == 0 ? name + 2 : name;
    if (host[strspn(host, in_names)] != '\0')
        return pl_fail(why, PL_EINVAL, "%s/%s is not named after a host", dir, file);
    int cert_len = snprintf(cert, sizeof(cert), "%s/%s", dir, file);
    int key_len =
        snprintf(key, sizeof(key), "%s/%.*s.key", dir, (int)(strlen(file) - strlen(".crt")), file);
    if (cert_len >= (int)sizeof(cert) || key_len >= (int)sizeof(key))
        return pl_fail(why, PL_ELIMIT, "path %s/%s is too long", dir, file);
    return load_pair(out, cert, key, why);
}

/* "_.Shop.example.crt" → "*.shop.example". The caller frees; NULL: no memory. */
static char *name_of(const char *file)
{
    char *name = strndup(file, strlen(file) - strlen(".crt"));
    if (name == NULL)
        return NULL;
    for (char *p = name; *p != '\0'; ++p)
        *p = (char)tolower((unsigned char)*p);
    if (name[0] == '_' && name[1] == '.')
        name[0] = '*';
    return name;
}

/* One host's bad files are no reason to leave the others without theirs: the pair is left out, or
 * the one in force for that name stays. */
static SSL_CTX *stand_in(const struct reading *reading, const char *name, const struct pl_why *why)
{
    SSL_CTX *context = reading->old == NULL ? NULL : find_name(reading->old, name);
    reading->set->refused++;
    pl_log(reading->log, PL_LOG_ERROR, "http", "%s for %s: %s",
           context == NULL ? "no certificate" : "the old certificate stays", name, why->text);
    if (context != NULL)
        SSL_CTX_up_ref(context);
    return context;
}

static bool is_for(SSL_CTX *context, const char *name)
{
    char host[MAX_NAME_LEN + 1];
    snprintf(host, sizeof(host), "%s", name);
    if (host[0] == '*')
        host[0] = 'x';
    return X509_check_host(SSL_CTX_get0_certificate(context), host, 0, 0, NULL) == 1;
}

static enum pl_err add_name(const struct reading *reading, const char *file, struct pl_why *why)
{
    struct http_tls_set *set = reading->set;
    struct pl_why bad = {0};
    SSL_CTX *context;

    if (set->count == MAX_NAMES)
        return pl_fail(why, PL_ELIMIT, "%s holds more than %d certificates", reading->dir,
                       MAX_NAMES);
    struct named *names = realloc(set->names, (set->count + 1) * sizeof(*names));
    char *name = name_of(file);
    if (names != NULL)
        set->names = names;
    if (names == NULL || name == NULL) {
        free(name);
        return pl_fail(why, PL_ENOMEM, "out of memory for the certificates in %s", reading->dir);
    }
    if (load_named(reading, file, name, &context, &bad) != PL_OK)
        context = stand_in(reading, name, &bad);
    else if (!is_for(context, name))
        pl_log(reading->log, PL_LOG_WARN, "http",
               "%s/%s is not a certificate for %s; browsers will refuse it", reading->dir, file,
               name);
    if (context == NULL)
        free(name);
    else
        set->names[set->count++] = (struct named){.name = name, .context = context};
    return PL_OK;
}

static enum pl_err load_names(const struct reading *reading, struct pl_why *why)
{
    const char *dir = reading->dir;
    struct http_tls_set *set = reading->set;
    enum pl_err err = PL_OK;
    struct dirent *entry;
    DIR *opened = opendir(dir);
    if (opened == NULL)
        return pl_fail(why, pl_err_from_errno(errno), "cannot read certificate directory %s: %s",
                       dir, strerror(errno));
    while (err == PL_OK && (entry = readdir(opened)) != NULL) {
        size_t len = strlen(entry->d_name);
        if (entry->d_name[0] != '.' && len > 4 && strcmp(entry->d_name + len - 4, ".crt") == 0)
            err = add_name(reading, entry->d_name, why);
    }
    closedir(opened);
    if (err == PL_OK && set->count > 1)
        qsort(set->names, set->count, sizeof(set->names[0]), compare_names);
    return err;
}

enum pl_err http_tls_load(struct http_tls_set **out, const struct http_server_config *config,
                          const struct http_tls_set *old, struct pl_why *why)
{
    if (config->tls_cert_file == NULL || config->tls_key_file == NULL)
        return pl_fail(why, PL_EINVAL,
                       "a listener has tls, but no certificate file and key file are given");
    struct http_tls_set *set = calloc(1, sizeof(*set));
    if (set == NULL)
        return pl_fail(why, PL_ENOMEM, "out of memory for the TLS contexts");
    atomic_init(&set->refs, 1);

    enum pl_err err = load_pair(&set->context, config->tls_cert_file, config->tls_key_file, why);
    if (err == PL_OK && config->tls_sni_dir != NULL) {
        const struct reading reading = {set, old, config->tls_sni_dir, config->log};
        err = load_names(&reading, why);
    }
    if (err != PL_OK) {
        http_tls_unref(set);
        return err;
    }
    SSL_CTX_set_tlsext_servername_callback(set->context, on_server_name);
    SSL_CTX_set_tlsext_servername_arg(set->context, set);
    *out = set;
    return PL_OK;
}

struct http_tls_set *http_tls_ref(struct http_tls_set *set)
{
    atomic_fetch_add_explicit(&set->refs, 1, memory_order_relaxed);
    return set;
}

void http_tls_unref(struct http_tls_set *set)
{
    if (set == NULL || atomic_fetch_sub_explicit(&set->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < set->count; ++i) {
        free(set->names[i].name);
        SSL_CTX_free(set->names[i].context);
    }
    free(set->names);
    SSL_CTX_free(set->context);
    free(set);
}

SSL_CTX *http_tls_context(struct http_tls_set *set)
{
    return set->context;
}

/* Unix time; 0: it cannot be told. */
static int64_t not_after_s(const SSL_CTX *context)
{
    struct tm tm;
    if (ASN1_TIME_to_tm(X509_get0_notAfter(SSL_CTX_get0_certificate(context)), &tm) != 1)
        return 0;
    return timegm(&tm);
}

size_t http_tls_visit(const struct http_tls_set *set,
                      void (*visit)(void *ctx, const char *name, int64_t not_after_s), void *ctx)
{
    visit(ctx, "", not_after_s(set->context));
    for (size_t i = 0; i < set->count; ++i)
        visit(ctx, set->names[i].name, not_after_s(set->names[i].context));
    return set->refused;
}
