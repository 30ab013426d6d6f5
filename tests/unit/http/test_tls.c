/* TLS: protocols by ALPN, certificates by name, reloading. Certificates are made on the spot. */
#include "harness.h"
#include "proto/base/file.h"
#include "proto/base/pki.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/stat.h>

static char dir[] = "/tmp/polder-tls-XXXXXX";
static char cert_path[128], key_path[128], sni_dir[128];
static struct fixture f;

static void on_ok(struct http_request *request, void *arg)
{
    (void)arg;
    http_reply(request, 200, NULL, 0,
               http_request_is_tls(request) ? PL_SPAN_LIT("tls") : PL_SPAN_LIT("clear"));
}

static const struct http_route ROUTES[] = {{HTTP_GET, "/", on_ok, NULL}};

static void issue(const char *name, struct pl_span key, struct pl_span ca_cert,
                  struct pl_span ca_key, struct pl_buf *cert)
{
    struct pl_why why = {0};
    int64_t now = pl_wall_ms(pl_clock_system());
    const struct pl_pki_request request = {.common_name = name,
                                           .not_before_ms = now - PL_DAY_MS,
                                           .not_after_ms = now + PL_DAY_MS,
                                           .is_ca = ca_cert.len == 0};
    if (pl_pki_issue(pl_random_system(), &request, key, ca_cert, ca_key, cert, &why) != PL_OK)
        fail_msg("%s", why.text);
}

static void make_pair(const char *cert, const char *key, const char *name)
{
    struct pl_buf ca_key, ca_cert, key_pem, cert_pem;
    struct pl_buf *all[] = {&ca_key, &ca_cert, &key_pem, &cert_pem};
    struct pl_why why = {0};
    for (int i = 0; i < 4; ++i)
        pl_buf_init(all[i], 16384);
    assert_int_equal(pl_pki_new_key(pl_random_system(), &ca_key), PL_OK);
    assert_int_equal(pl_pki_new_key(pl_random_system(), &key_pem), PL_OK);
    issue("test CA", pl_buf_span(&ca_key), pl_span(NULL, 0), pl_buf_span(&ca_key), &ca_cert);
    issue(name, pl_buf_span(&key_pem), pl_buf_span(&ca_cert), pl_buf_span(&ca_key), &cert_pem);
    if (pl_file_replace(cert, "certificate", 0644, pl_buf_span(&cert_pem), &why) != PL_OK ||
        pl_file_replace(key, "key", 0600, pl_buf_span(&key_pem), &why) != PL_OK)
        fail_msg("%s", why.text);
    for (int i = 0; i < 4; ++i)
        pl_buf_release(all[i]);
}

static void make_named(const char *name)
{
    char cert[256], key[256];
    snprintf(cert, sizeof(cert), "%s/%s.crt", sni_dir, name);
    snprintf(key, sizeof(key), "%s/%s.key", sni_dir, name);
    make_pair(cert, key, name);
}

static void write_file(const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", sni_dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int start(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(cert_path, sizeof(cert_path), "%s/tls.crt", dir);
    snprintf(key_path, sizeof(key_path), "%s/tls.key", dir);
    snprintf(sni_dir, sizeof(sni_dir), "%s/sni", dir);
    assert_int_equal(mkdir(sni_dir, 0700), 0);
    make_pair(cert_path, key_path, "default");
    make_named("shop.example");
    make_named("*.wild.example");
    write_file("broken.example.crt", "nonsense"); /* no reason not to start */
    fixture_init(&f, ROUTES, 1);
    f.listener.tls = true;
    f.config.tls_cert_file = cert_path;
    f.config.tls_key_file = key_path;
    f.config.tls_sni_dir = sni_dir;
    f.config.header_timeout_ms = 2000;
    f.config.loops = 2;
    fixture_start(&f);
    return 0;
}

static int stop(void **state)
{
    char command[256];
    (void)state;
    fixture_stop(&f);
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    return system(command);
}

/* ---- client ---------------------------------------------------------------------------- */

struct client {
    SSL_CTX *context;
    SSL *ssl;
    int fd;
};

/* False: no handshake. alpn in wire form, or NULL. */
static bool client_dial(struct client *c, const char *name, const char *alpn, int max_version)
{
    c->fd = dial(f.port);
    c->context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_max_proto_version(c->context, max_version);
    c->ssl = SSL_new(c->context);
    if (name != NULL)
        SSL_set_tlsext_host_name(c->ssl, name);
    if (alpn != NULL)
        SSL_set_alpn_protos(c->ssl, (const unsigned char *)alpn, (unsigned)strlen(alpn));
    SSL_set_fd(c->ssl, c->fd);
    return SSL_connect(c->ssl) == 1;
}

static void client_close(struct client *c)
{
    SSL_free(c->ssl);
    SSL_CTX_free(c->context);
    close(c->fd);
    ERR_clear_error();
}

static void assert_named(struct client *c, const char *expected)
{
    char name[128] = "";
    X509 *cert = SSL_get1_peer_certificate(c->ssl);
    assert_non_null(cert);
    X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, name, sizeof(name));
    X509_free(cert);
    assert_string_equal(name, expected);
}

static bool client_get(struct client *c)
{
    static const char request[] = GET("/");
    char text[1024];
    size_t len = 0;
    int n;
    if (SSL_write(c->ssl, request, sizeof(request) - 1) <= 0)
        return false;
    while (len < sizeof(text) - 1 && (n = SSL_read(c->ssl, text + len, 1)) == 1) {
        text[++len] = '\0';
        if (len >= 7 && strcmp(text + len - 7, "\r\n\r\ntls") == 0)
            return strncmp(text, "HTTP/1.1 200", 12) == 0;
    }
    return false;
}

static const char *selected(struct client *c)
{
    static char name[32];
    const unsigned char *data;
    unsigned len;
    SSL_get0_alpn_selected(c->ssl, &data, &len);
    snprintf(name, sizeof(name), "%.*s", (int)len, data == NULL ? "" : (const char *)data);
    return name;
}

static void serves_http1_over_tls(void **state)
{
    (void)state;
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (int i = 0; i < 2; ++i) {
        struct client c;
        assert_true(client_dial(&c, NULL, NULL, versions[i]));
        assert_int_equal(SSL_version(c.ssl), versions[i]);
        assert_true(client_get(&c));
        assert_true(client_get(&c));
        client_close(&c);
    }
}

static void refuses_what_is_out_of_date(void **state)
{
    (void)state;
    struct client c;
    assert_false(client_dial(&c, NULL, NULL, TLS1_1_VERSION));
    client_close(&c);
}

static void picks_the_protocol_by_alpn(void **state)
{
    (void)state;
    struct client c;
    assert_true(client_dial(&c, NULL, "\x08http/1.1\x02h2", TLS1_3_VERSION));
    assert_string_equal(selected(&c), "h2");
    /* Preface, SETTINGS and a request in the first flight. */
    uint8_t first[1024], block[512], answer[9];
    const char *preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    size_t len = strlen(preface);
    memcpy(first, preface, len);
    len += put_frame(first + len, H2_SETTINGS, 0, 0, NULL, 0);
    len += put_frame(first + len, H2_HEADERS, H2_END_STREAM | H2_END_HEADERS, 1, block,
                     put_request(block, "GET", "/"));
    assert_int_equal(SSL_write(c.ssl, first, (int)len), (int)len);
    bool headers = false;
    while (!headers) {
        uint8_t payload[16384];
        assert_int_equal(SSL_read(c.ssl, answer, 9), 9);
        int payload_len = (answer[0] << 16) | (answer[1] << 8) | answer[2];
        if (payload_len != 0)
            assert_int_equal(SSL_read(c.ssl, payload, payload_len), payload_len);
        if (answer[3] == H2_HEADERS) {
            assert_int_equal(payload[0], 0x88); /* :status 200 */
            headers = true;
        }
    }
    client_close(&c);

    assert_true(client_dial(&c, NULL, "\x08http/1.1", TLS1_3_VERSION));
    assert_string_equal(selected(&c), "http/1.1");
    assert_true(client_get(&c));
    client_close(&c);

    assert_false(client_dial(&c, NULL,
                             "\x03"
                             "foo",
                             TLS1_3_VERSION)); /* RFC 7301 section 3.2 */
    client_close(&c);
}

static void picks_the_certificate_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *asked, *got;
    } names[] = {
        {NULL, "default"},
        {"other.example", "default"},
        {"shop.example", "shop.example"},
        {"SHOP.Example", "shop.example"},
        {"a.wild.example", "*.wild.example"},
        {"a.b.wild.example", "default"},
        {"wild.example", "default"},
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); ++i) {
        struct client c;
        assert_true(client_dial(&c, names[i].asked, NULL, TLS1_3_VERSION));
        assert_named(&c, names[i].got);
        assert_true(client_get(&c));
        client_close(&c);
    }
}

static atomic_bool stop_load;
static atomic_int loads;

static void *load(void *arg)
{
    (void)arg;
    while (!atomic_load(&stop_load)) {
        struct client c;
        if (!client_dial(&c, "shop.example", NULL, TLS1_3_VERSION) || !client_get(&c))
            return (void *)"a connection failed";
        client_close(&c);
        atomic_fetch_add(&loads, 1);
    }
    return NULL;
}

static void reloads_under_load(void **state)
{
    (void)state;
    struct pl_why why;
    pthread_t threads[2];
    void *failed[2];
    struct client old, fresh;
    assert_true(client_dial(&old, "shop.example", NULL, TLS1_3_VERSION));
    for (int i = 0; i < 2; ++i)
        pthread_create(&threads[i], NULL, load, NULL);
    for (int i = 0; i < 20; ++i) {
        int before = atomic_load(&loads);
        make_pair(cert_path, key_path, i % 2 == 0 ? "second" : "third");
        assert_int_equal(http_server_reload_tls(f.server, &why), PL_OK);
        EVENTUALLY(atomic_load(&loads) > before);
        assert_true(client_get(&old)); /* connections outlive the reload, those that are used */
    }
    atomic_store(&stop_load, true);
    for (int i = 0; i < 2; ++i) {
        pthread_join(threads[i], &failed[i]);
        assert_null(failed[i]);
    }
    client_close(&old);
    assert_true(client_dial(&fresh, NULL, NULL, TLS1_3_VERSION));
    assert_named(&fresh, "third");
    client_close(&fresh);
}

static void a_bad_reload_changes_nothing(void **state)
{
    (void)state;
    struct pl_why why = {0}, trouble;
    struct client c;
    char other_key[256], aside[256];

    snprintf(aside, sizeof(aside), "%s/aside.key", dir);
    make_pair(cert_path, key_path, "before");
    assert_int_equal(http_server_reload_tls(f.server, &why), PL_OK);

    /* A key of another certificate. */
    snprintf(other_key, sizeof(other_key), "%s/shop.example.key", sni_dir);
    assert_int_equal(rename(key_path, aside), 0);
    assert_int_equal(link(other_key, key_path), 0);
    assert_int_not_equal(http_server_reload_tls(f.server, &why), PL_OK);
    assert_non_null(strstr(why.text, key_path));
    assert_non_null(strstr(why.text, "does not belong to certificate"));
    /* A key anyone may read. */
    assert_int_equal(unlink(key_path), 0);
    assert_int_equal(rename(aside, key_path), 0);
    chmod(key_path, 0604);
    assert_int_equal(http_server_reload_tls(f.server, &why), PL_EDENIED);
    assert_non_null(strstr(why.text, "chmod 0640"));
    http_server_tls_trouble(f.server, &trouble);
    assert_string_equal(trouble.text, why.text);
    chmod(key_path, 0640);
    assert_int_equal(http_server_reload_tls(f.server, &why), PL_OK);
    http_server_tls_trouble(f.server, &trouble);
    assert_int_equal(trouble.err, PL_OK);
    /* No certificate at all. */
    FILE *file = fopen(cert_path, "w");
    fputs("nonsense", file);
    fclose(file);
    assert_int_equal(http_server_reload_tls(f.server, &why), PL_EINVAL);
    assert_non_null(strstr(why.text, cert_path));
    assert_non_null(strstr(why.text, "no start line (it must be PEM")); /* not "PEM lib" */
    /* One that is half written. */
    file = fopen(cert_path, "w");
    fputs("-----BEGIN CERTIFICATE-----\nMIIB", file);
    fclose(file);
    assert_int_equal(http_server_reload_tls(f.server, &why), PL_EINVAL);
    assert_null(strstr(why.text, "PEM lib"));
    assert_int_equal(unlink(cert_path), 0);
    assert_int_equal(http_server_reload_tls(f.server, &why), PL_ENOTFOUND);

    assert_true(client_dial(&c, NULL, NULL, TLS1_3_VERSION));
    assert_named(&c, "before");
    assert_true(client_get(&c));
    client_close(&c);
}

static void assert_shown(const char *asked, const char *expected)
{
    struct client c;
    assert_true(client_dial(&c, asked, NULL, TLS1_3_VERSION));
    assert_named(&c, expected);
    client_close(&c);
}

struct listed {
    char names[512];
    int64_t last_s;
};

static void list_certificate(void *ctx, const char *name, int64_t not_after_s)
{
    struct listed *listed = ctx;
    const size_t used = strlen(listed->names);
    snprintf(listed->names + used, sizeof(listed->names) - used, "[%s]", name);
    listed->last_s = not_after_s;
}

static size_t list_certificates(struct listed *out)
{
    *out = (struct listed){.names = ""};
    return http_server_certificates(f.server, list_certificate, out);
}

static void a_bad_pair_is_left_out(void **state)
{
    (void)state;
    struct pl_why why = {0};
    struct listed listed;
    char path[256];
    make_pair(cert_path, key_path, "default");
    assert_int_equal(http_server_reload_tls(f.server, &why), PL_OK);
    assert_shown("broken.example", "default");
    assert_int_equal(list_certificates(&listed), 1);
    assert_string_equal(listed.names, "[][*.wild.example][shop.example]");
    assert_in_range(listed.last_s * 1000, pl_wall_ms(pl_clock_system()) + PL_DAY_MS - 120000,
                    pl_wall_ms(pl_clock_system()) + PL_DAY_MS);

    /* Repaired, with another beside it whose name stands for all below. */
    make_named("broken.example");
    make_named("_.under.example");
    assert_int_equal(http_server_reload_tls(f.server, &why), PL_OK);
    assert_shown("broken.example", "broken.example");
    assert_shown("a.under.example", "_.under.example");
    assert_shown("under.example", "default");
    assert_int_equal(list_certificates(&listed), 0);

    /* What goes bad leaves the old one in force, and keeps no other from being renewed. */
    write_file("broken.example.crt", "nonsense");
    snprintf(path, sizeof(path), "%s/shop.example.key", sni_dir);
    assert_int_equal(unlink(path), 0);
    make_named("fresh.example");
    write_file("Bad name.crt", "nonsense");
    assert_int_equal(http_server_reload_tls(f.server, &why), PL_OK);
    assert_shown("broken.example", "broken.example");
    assert_shown("shop.example", "shop.example");
    assert_shown("fresh.example", "fresh.example");
    assert_int_equal(list_certificates(&listed), 3);
    assert_int_equal(http_server_reload_tls(f.server, &why), PL_OK);
    assert_shown("broken.example", "broken.example"); /* however often it is read */

    /* What is taken away is gone. */
    snprintf(path, sizeof(path), "%s/broken.example.crt", sni_dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(http_server_reload_tls(f.server, &why), PL_OK);
    assert_shown("broken.example", "default");
}

static void clear_text_on_a_tls_port_is_closed(void **state)
{
    (void)state;
    char byte[64];
    int fd = dial(f.port);
    say(fd, GET("/"));
    while (hear(fd, byte, sizeof(byte)) > 0)
        assert_int_not_equal(byte[0], 'H');
    close(fd);
    int64_t from = now_ms(); /* nor may it say nothing for ever */
    fd = dial(f.port);
    assert_hung_up(fd);
    assert_true(now_ms() - from >= 1900);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(serves_http1_over_tls),
        cmocka_unit_test(refuses_what_is_out_of_date),
        cmocka_unit_test(picks_the_protocol_by_alpn),
        cmocka_unit_test(picks_the_certificate_by_name),
        cmocka_unit_test(reloads_under_load),
        cmocka_unit_test(a_bad_reload_changes_nothing),
        cmocka_unit_test(a_bad_pair_is_left_out),
        cmocka_unit_test(clear_text_on_a_tls_port_is_closed),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
