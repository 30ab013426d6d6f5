#include "proto/base/pki.h"

#include "proto/base/clock.h"
#include "proto/base/crypto.h"
#include "proto/base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* A CA, and files for the openssl command line, which judges what is made here. */
struct fixture {
    char dir[64];
    struct pl_buf ca_key, ca_cert, key, cert;
    int64_t now_ms;
};

static const char *at(const struct fixture *f, const char *name)
{
    static char paths[4][256];
    static unsigned next;
    char *path = paths[next++ % 4];
    assert_int_equal(pl_path_join(path, sizeof(paths[0]), f->dir, name), PL_OK);
    return path;
}

static struct pl_pki_request ca_request(const struct fixture *f)
{
    return (struct pl_pki_request){.common_name = "Polder test CA",
                                   .not_before_ms = f->now_ms - PL_HOUR_MS,
                                   .not_after_ms = f->now_ms + 3650 * PL_DAY_MS,
                                   .is_ca = true};
}

static int setup(void **state)
{
    static struct fixture f;
    snprintf(f.dir, sizeof(f.dir), "/tmp/polder-test-pki-XXXXXX");
    if (mkdtemp(f.dir) == NULL)
        return -1;
    f.now_ms = pl_wall_ms(pl_clock_system());
    pl_buf_init(&f.ca_key, 8192);
    pl_buf_init(&f.ca_cert, 8192);
    pl_buf_init(&f.key, 8192);
    pl_buf_init(&f.cert, 32768);
    struct pl_pki_request request = ca_request(&f);
    if (pl_pki_new_key(pl_random_system(), &f.ca_key) != PL_OK ||
        pl_pki_new_key(pl_random_system(), &f.key) != PL_OK ||
        pl_pki_issue(pl_random_system(), &request, pl_buf_span(&f.ca_key), pl_span(NULL, 0),
                     pl_span(NULL, 0), &f.ca_cert, NULL) != PL_OK)
        return -1;
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char line[128];
    pl_buf_wipe(&f->ca_key);
    pl_buf_release(&f->ca_cert);
    pl_buf_wipe(&f->key);
    pl_buf_release(&f->cert);
    snprintf(line, sizeof(line), "rm -rf %s", f->dir);
    return system(line);
}

static struct pl_pki_request leaf_request(const struct fixture *f)
{
    static const char *const dns[] = {"edge-eu.example", "*.shop.example", "localhost", NULL};
    static const char *const ip[] = {"127.0.0.1", "::1", NULL};
    return (struct pl_pki_request){.common_name = "edge-eu, \"first\" \xc3\xa9=1",
                                   .dns_names = dns,
                                   .ip_names = ip,
                                   .not_before_ms = f->now_ms - PL_HOUR_MS,
                                   .not_after_ms = f->now_ms + 90 * PL_DAY_MS};
}

static enum pl_err issue(struct fixture *f, const struct pl_pki_request *request,
                         struct pl_why *why)
{
    pl_buf_reset(&f->cert);
    return pl_pki_issue(pl_random_system(), request, pl_buf_span(&f->key), pl_buf_span(&f->ca_cert),
                        pl_buf_span(&f->ca_key), &f->cert, why);
}

static void save(struct fixture *f, const char *name, const struct pl_buf *bytes)
{
    assert_int_equal(pl_file_replace(at(f, name), "test file", 0600, pl_buf_span(bytes), NULL),
                     PL_OK);
}

/* Output of an openssl command run in the fixture's directory; NULL when it fails. */
static const char *openssl(const struct fixture *f, const char *arguments)
{
    static struct pl_buf out = {.max_bytes = 65536};
    char line[512];
    struct pl_why why = {.text = ""};
    pl_buf_release(&out);
    snprintf(line, sizeof(line), "cd %s && openssl %s 2>&1", f->dir, arguments);
    if (pl_command_output(line, "openssl", &out, &why) != PL_OK) {
        print_message("%s\n", why.text);
        return NULL;
    }
    assert_int_equal(pl_buf_terminate(&out), PL_OK);
    static char text[16384];
    snprintf(text, sizeof(text), "%s", (char *)out.data);
    pl_buf_release(&out);
    return text;
}

static void openssl_accepts_the_chain(void **state)
{
    struct fixture *f = *state;
    struct pl_pki_request request = leaf_request(f);
    assert_int_equal(issue(f, &request, NULL), PL_OK);
    save(f, "ca.pem", &f->ca_cert);
    save(f, "leaf.pem", &f->cert);
    static const char *const purposes[] = {
        "verify -x509_strict -check_ss_sig -CAfile ca.pem ca.pem",
        "verify -x509_strict -CAfile ca.pem -purpose sslserver -verify_hostname edge-eu.example "
        "leaf.pem",
        "verify -x509_strict -CAfile ca.pem -purpose sslserver -verify_hostname w.shop.example "
        "leaf.pem",
        "verify -x509_strict -CAfile ca.pem -purpose sslserver -verify_ip 127.0.0.1 leaf.pem",
        "verify -x509_strict -CAfile ca.pem -purpose sslclient -verify_ip ::1 leaf.pem",
    };
    for (size_t i = 0; i < sizeof(purposes) / sizeof(purposes[0]); i++) {
        const char *text = openssl(f, purposes[i]);
        assert_non_null(text);
        assert_non_null(strstr(text, ": OK"));
    }
    assert_null(openssl(f, "verify -CAfile ca.pem -verify_hostname other.example leaf.pem"));
    assert_null(openssl(f, "verify -CAfile leaf.pem leaf.pem"));
}

static void the_certificate_says_what_was_asked(void **state)
{
    struct fixture *f = *state;
    struct pl_pki_request request = leaf_request(f);
    assert_int_equal(issue(f, &request, NULL), PL_OK);
    save(f, "leaf.pem", &f->cert);
    save(f, "ca.pem", &f->ca_cert);
    const char *text = openssl(f, "x509 -in leaf.pem -noout -text -nameopt RFC2253");
    assert_non_null(text);
    assert_non_null(strstr(text, "CN=edge-eu\\, \\\"first\\\" \\C3\\A9=1"));
    assert_non_null(strstr(text, "Issuer: CN=Polder test CA"));
    assert_non_null(strstr(text, "DNS:edge-eu.example, DNS:*.shop.example, DNS:localhost"));
    assert_non_null(strstr(text, "IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1"));
    assert_non_null(strstr(text, "CA:FALSE"));
    assert_non_null(strstr(text, "Digital Signature"));
    assert_non_null(strstr(text, "TLS Web Server Authentication, TLS Web Client Authentication"));
    assert_non_null(strstr(text, "Authority Key Identifier"));
    text = openssl(f, "x509 -in ca.pem -noout -text");
    assert_non_null(strstr(text, "CA:TRUE"));
    assert_non_null(strstr(text, "Certificate Sign, CRL Sign"));
    /* RFC 5758 section 3.2: no parameters after ecdsa-with-SHA256; Chromium refuses a NULL */
    text = openssl(f, "asn1parse -in leaf.pem");
    assert_non_null(strstr(text, "ecdsa-with-SHA256"));
    assert_null(strstr(text, "NULL"));
    /* X.690 section 11.2.2: key usage without trailing zero bits */
    assert_non_null(strstr(text, "[HEX DUMP]:03020780"));
}

static enum pl_err counting(void *ctx, void *out, size_t len)
{
    (void)ctx;
    for (size_t i = 0; i < len; i++)
        ((uint8_t *)out)[i] = (uint8_t)(0xf0 + i);
    return PL_OK;
}

static void serial_numbers_are_the_random_bytes(void **state)
{
    struct fixture *f = *state;
    struct pl_pki_request request = leaf_request(f);
    struct pl_random random = {.fill = counting};
    pl_buf_reset(&f->cert);
    assert_int_equal(pl_pki_issue(&random, &request, pl_buf_span(&f->key), pl_buf_span(&f->ca_cert),
                                  pl_buf_span(&f->ca_key), &f->cert, NULL),
                     PL_OK);
    save(f, "leaf.pem", &f->cert);
    /* behind a 01, so that the number is positive */
    assert_string_equal(openssl(f, "x509 -in leaf.pem -noout -serial"),
                        "serial=01F0F1F2F3F4F5F6F7F8F9FAFBFCFDFEFF\n");
}

static void the_public_half_is_enough(void **state)
{
    struct fixture *f = *state;
    struct pl_pki_request request = leaf_request(f);
    struct pl_buf a, b;
    struct pl_why why;
    save(f, "key.pem", &f->key);
    const char *pem = openssl(f, "pkey -in key.pem -pubout");
    assert_non_null(pem);
    pl_buf_reset(&f->cert);
    assert_int_equal(pl_pki_issue(pl_random_system(), &request, pl_span_str(pem),
                                  pl_buf_span(&f->ca_cert), pl_buf_span(&f->ca_key), &f->cert,
                                  &why),
                     PL_OK);
    /* and the certificate's key is the one that signs */
    struct pl_signer *signer = NULL;
    pl_buf_init(&a, PL_PUBLIC_KEY_MAX_BYTES);
    pl_buf_init(&b, PL_PUBLIC_KEY_MAX_BYTES);
    assert_int_equal(pl_pki_cert_public(pl_buf_span(&f->cert), &a, &why), PL_OK);
    assert_int_equal(pl_signer_from_pem(&signer, pl_buf_span(&f->key), &why), PL_OK);
    assert_int_equal(pl_signer_public(signer, &b), PL_OK);
    assert_true(pl_span_eq(pl_buf_span(&a), pl_buf_span(&b)));
    pl_signer_free(signer);
    pl_buf_release(&a);
    pl_buf_release(&b);
}

static void validity_ends_when_asked(void **state)
{
    struct fixture *f = *state;
    struct pl_pki_request request = leaf_request(f);
    static const int64_t ends[] = {
        INT64_C(2524607999000), /* 2049-12-31T23:59:59Z, the last UTCTime */
        INT64_C(2524608000000), /* 2050-01-01T00:00:00Z, the first GeneralizedTime */
        INT64_C(253402300799000),
    };
    save(f, "ca.pem", &f->ca_cert);
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        int64_t told = 0;
        request.not_after_ms = ends[i];
        assert_int_equal(issue(f, &request, NULL), PL_OK);
        assert_int_equal(pl_pki_cert_not_after(pl_buf_span(&f->cert), &told, NULL), PL_OK);
        assert_int_equal(told, ends[i]);
        save(f, "leaf.pem", &f->cert);
        assert_non_null(openssl(f, "verify -x509_strict -CAfile ca.pem leaf.pem"));
    }
}

static void a_certificate_says_which_hosts_it_is_for(void **state)
{
    struct fixture *f = *state;
    struct pl_pki_request request = leaf_request(f);
    struct pl_why why;
    struct pl_buf hosts, tiny;
    pl_buf_init(&hosts, 4096);
    pl_buf_init(&tiny, 8);
    assert_int_equal(issue(f, &request, NULL), PL_OK);
    assert_int_equal(pl_pki_cert_hosts(pl_buf_span(&f->cert), &tiny, &why), PL_ELIMIT);
    assert_int_equal(pl_pki_cert_hosts(pl_buf_span(&f->cert), &hosts, &why), PL_OK);
    assert_true(pl_span_eq_str(pl_buf_span(&hosts),
                               "edge-eu.example\n*.shop.example\nlocalhost\n127.0.0.1\n::1\n"));
    pl_buf_reset(&hosts);
    request.dns_names = request.ip_names = NULL;
    assert_int_equal(issue(f, &request, NULL), PL_OK);
    assert_int_equal(pl_pki_cert_hosts(pl_buf_span(&f->cert), &hosts, &why), PL_OK);
    assert_int_equal(hosts.len, 0);

    /* of another tool's making, with names of other kinds and ones that no host has */
    struct pl_buf cert;
    pl_buf_init(&cert, 8192);
    assert_non_null(openssl(f, "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes "
                               "-keyout own.key -out own.pem -days 30 -subj /CN=own -addext "
                               "'subjectAltName=email:a@b.example,DNS:a b,URI:http://x.example,"
                               "IP:2001:db8::7,DNS:own.example'"));
    assert_int_equal(pl_file_read(at(f, "own.pem"), "cert", false, &cert, NULL), PL_OK);
    assert_int_equal(pl_pki_cert_hosts(pl_buf_span(&cert), &hosts, &why), PL_OK);
    assert_true(pl_span_eq_str(pl_buf_span(&hosts), "2001:db8::7\nown.example\n"));
    assert_int_equal(pl_pki_cert_hosts(pl_buf_span(&f->key), &hosts, &why), PL_EINVAL);
    pl_buf_release(&cert);
    pl_buf_release(&hosts);
    pl_buf_release(&tiny);
}

/* An operator's own CA: another tool, a structured name, a key id of another making. */
static void a_foreign_ca_serves_as_issuer(void **state)
{
    struct fixture *f = *state;
    struct pl_pki_request request = leaf_request(f);
    struct pl_buf key, cert;
    struct pl_why why = {.text = ""};
    pl_buf_init(&key, 8192);
    pl_buf_init(&cert, 8192);
    assert_non_null(openssl(f, "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes "
                               "-keyout own.key -out own.pem -days 30 -subj "
                               "'/C=NL/O=Shop, Inc/OU=a/OU=b/DC=example/CN=Own CA+UID=7'"));
    assert_int_equal(pl_file_read(at(f, "own.key"), "key", false, &key, NULL), PL_OK);
    assert_int_equal(pl_file_read(at(f, "own.pem"), "cert", false, &cert, NULL), PL_OK);
    pl_buf_reset(&f->cert);
    assert_int_equal(pl_pki_issue(pl_random_system(), &request, pl_buf_span(&f->key),
                                  pl_buf_span(&cert), pl_buf_span(&key), &f->cert, &why),
                     PL_OK);
    save(f, "leaf.pem", &f->cert);
    assert_non_null(openssl(f, "verify -CAfile own.pem -purpose sslserver leaf.pem"));
    pl_buf_wipe(&key);
    pl_buf_release(&cert);
}

static void bad_requests_are_refused_by_field(void **state)
{
    struct fixture *f = *state;
    struct pl_why why;
    struct pl_pki_request r = leaf_request(f);
    char name[70];
    memset(name, 'x', sizeof(name));
    name[65] = '\0';
    static const char *const bad_names[] = {"", "a\nb", "\xff"};
    for (size_t i = 0; i < 3; i++) {
        r.common_name = bad_names[i];
        assert_int_equal(issue(f, &r, &why), PL_EINVAL);
        assert_string_equal(why.field, "common_name");
    }
    r.common_name = name;
    assert_int_equal(issue(f, &r, &why), PL_EINVAL);
    name[64] = '\0';
    assert_int_equal(issue(f, &r, &why), PL_OK);

    r = leaf_request(f);
    r.dns_names = (const char *const[]){"fine.example", "not fine", NULL};
    assert_int_equal(issue(f, &r, &why), PL_EINVAL);
    assert_string_equal(why.field, "dns_names[1]");
    r = leaf_request(f);
    r.ip_names = (const char *const[]){"127.0.0.1", "localhost", NULL};
    assert_int_equal(issue(f, &r, &why), PL_EINVAL);
    assert_non_null(strstr(why.field, "ip_names"));
    r = leaf_request(f);
    r.not_after_ms = r.not_before_ms;
    assert_int_equal(issue(f, &r, &why), PL_EINVAL);
    assert_string_equal(why.field, "not_after");
    assert_int_equal(f->cert.len, 0);
}

static void keys_and_certificates_must_belong_together(void **state)
{
    struct fixture *f = *state;
    struct pl_why why;
    struct pl_pki_request r = leaf_request(f);
    struct pl_span none = pl_span(NULL, 0), key = pl_buf_span(&f->key);
    struct pl_span ca_key = pl_buf_span(&f->ca_key), ca_cert = pl_buf_span(&f->ca_cert);
    const struct pl_random *random = pl_random_system();
    struct pl_buf leaf, out;
    pl_buf_init(&out, 32768);
    assert_int_equal(issue(f, &r, &why), PL_OK);
    pl_buf_init(&leaf, 8192);
    assert_int_equal(pl_buf_append_span(&leaf, pl_buf_span(&f->cert)), PL_OK);

    /* the wrong key, a leaf as issuer, a leaf that would sign itself, nonsense for each part */
    assert_int_equal(pl_pki_issue(random, &r, key, ca_cert, key, &out, &why), PL_EINVAL);
    assert_non_null(strstr(why.text, "belong"));
    assert_int_equal(pl_pki_issue(random, &r, key, pl_buf_span(&leaf), key, &out, &why), PL_EINVAL);
    assert_non_null(strstr(why.text, "authority"));
    assert_int_equal(pl_pki_issue(random, &r, key, none, none, &out, &why), PL_EINVAL);
    assert_int_equal(pl_pki_issue(random, &r, ca_cert, ca_cert, ca_key, &out, &why), PL_EINVAL);
    assert_non_null(strstr(why.text, "subject's key"));
    assert_int_equal(pl_pki_issue(random, &r, key, ca_key, ca_key, &out, &why), PL_EINVAL);
    assert_int_equal(pl_pki_issue(random, &r, key, ca_cert, none, &out, &why), PL_EINVAL);
    assert_non_null(strstr(why.text, "issuer's key"));
    assert_int_equal(out.len, 0);

    int64_t ms = 0;
    assert_int_equal(pl_pki_cert_not_after(key, &ms, &why), PL_EINVAL);
    assert_int_equal(pl_pki_cert_public(none, &out, &why), PL_EINVAL);
    pl_buf_release(&leaf);
    pl_buf_release(&out);
}

static void a_public_key_is_read_from_what_people_have(void **state)
{
    struct fixture *f = *state;
    struct pl_why why;
    struct pl_signer *signer;
    struct pl_buf spki, pem, back;
    pl_buf_init(&spki, PL_PUBLIC_KEY_MAX_BYTES);
    pl_buf_init(&back, 2 * PL_PUBLIC_KEY_MAX_BYTES);
    pl_buf_init(&pem, 4096);
    assert_int_equal(pl_signer_from_pem(&signer, pl_buf_span(&f->ca_key), &why), PL_OK);
    assert_int_equal(pl_signer_public(signer, &spki), PL_OK);
    assert_int_equal(pl_pki_public_pem(pl_buf_span(&spki), &pem), PL_OK);
    assert_true(pl_span_starts(pl_buf_span(&pem), PL_SPAN_LIT("-----BEGIN PUBLIC KEY-----\n")));
    assert_int_equal(pem.data[pem.len - 1], '\n');

    assert_int_equal(pl_pki_public(pl_buf_span(&pem), &back, &why), PL_OK);
    assert_true(pl_span_eq(pl_buf_span(&back), pl_buf_span(&spki)));
    pl_buf_reset(&back);
    assert_int_equal(pl_pki_public(pl_buf_span(&f->ca_cert), &back, &why), PL_OK);
    assert_true(pl_span_eq(pl_buf_span(&back), pl_buf_span(&spki)));

    /* A private key is no public one: whoever has it at hand for this should not. */
    assert_int_equal(pl_pki_public(pl_buf_span(&f->ca_key), &back, &why), PL_EINVAL);
    assert_non_null(strstr(why.text, "-pubout"));
    assert_int_equal(pl_pki_public(PL_SPAN_LIT("nonsense"), &back, &why), PL_EINVAL);
    pl_signer_free(signer);
    pl_buf_release(&spki);
    pl_buf_release(&pem);
    pl_buf_release(&back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(openssl_accepts_the_chain),
        cmocka_unit_test(the_certificate_says_what_was_asked),
        cmocka_unit_test(serial_numbers_are_the_random_bytes),
        cmocka_unit_test(the_public_half_is_enough),
        cmocka_unit_test(validity_ends_when_asked),
        cmocka_unit_test(a_foreign_ca_serves_as_issuer),
        cmocka_unit_test(bad_requests_are_refused_by_field),
        cmocka_unit_test(keys_and_certificates_must_belong_together),
        cmocka_unit_test(a_certificate_says_which_hosts_it_is_for),
        cmocka_unit_test(a_public_key_is_read_from_what_people_have),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
