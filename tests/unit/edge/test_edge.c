/* A whole edge in this process, its origin out of reach: what visitors and operators see of it. */
#include "tests/unit/edge/fixture.h"

#include "edge/edge.h"
#include "edge/loop.h"
#include "proto/base/file.h"
#include "proto/base/pki.h"
#include "proto/base/text.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#define KEY_TEXT "00112233445566778899aabbccddeeff"
#define ACCOUNT  UINT64_C(0x1122334455667788)
#define PAGE     "https://shop.example"

struct node {
    char dir[64];
    struct edge_options options;
    struct edge *edge;
    uint8_t origin_secret[PL_X25519_BYTES], origin_public[PL_X25519_BYTES];
    uint64_t position;
};

/* ---- an edge */

static void write_file(const struct node *n, const char *name, unsigned mode, struct pl_span bytes)
{
    char path[128];
    struct pl_why why;
    snprintf(path, sizeof(path), "%s/%s", n->dir, name);
    if (pl_file_replace(path, name, mode, bytes, &why) != PL_OK)
        fail_msg("%s", why.text);
}

static void write_keys(struct node *n)
{
    struct pl_buf key, cert;
    struct pl_why why;
    uint8_t secret[PL_X25519_BYTES], public_key[PL_X25519_BYTES];
    char hex[2 * PL_X25519_BYTES + 1];
    const int64_t now_ms = pl_wall_ms(pl_clock_system());
    const struct pl_pki_request request = {.common_name = "test",
                                           .not_before_ms = now_ms - PL_DAY_MS,
                                           .not_after_ms = now_ms + PL_DAY_MS,
                                           .is_ca = true};
    pl_buf_init(&key, 65536);
    pl_buf_init(&cert, 65536);
    assert_int_equal(pl_pki_new_key(pl_random_system(), &key), PL_OK);
    if (pl_pki_issue(pl_random_system(), &request, pl_buf_span(&key), pl_span(NULL, 0),
                     pl_buf_span(&key), &cert, &why) != PL_OK)
        fail_msg("%s", why.text);
    write_file(n, "ca.crt", 0644, pl_buf_span(&cert));
    write_file(n, "link.crt", 0644, pl_buf_span(&cert));
    write_file(n, "link.key", 0600, pl_buf_span(&key));
    assert_int_equal(pl_x25519_keypair(pl_random_system(), secret, public_key), PL_OK);
    pl_hex_encode(pl_span(secret, sizeof(secret)), hex);
    write_file(n, "seal.key", 0600, pl_span_str(hex));
    assert_int_equal(pl_x25519_keypair(pl_random_system(), n->origin_secret, n->origin_public),
                     PL_OK);
    pl_buf_release(&key);
    pl_buf_release(&cert);
}

static void write_options(struct node *n, const char *more)
{
    char text[2048];
    snprintf(text, sizeof(text),
             "edge_id: \"0123456789abcdef0123456789abcdef\"\n"
             "region: \"eu\"\n"
             "data_dir: \"%1$s/data\"\n"
             "http_listen: \"127.0.0.1:0\"\n"
             "disk_spare_bytes: 0\n"
             "log_level: error\n"
             "origin_url: \"tls+tcp://127.0.0.1:9\"\n"
             "origin_name: \"test\"\n"
             "ca_file: \"%1$s/ca.crt\"\n"
             "link_cert_file: \"%1$s/link.crt\"\n"
             "link_key_file: \"%1$s/link.key\"\n"
             "seal_key_file: \"%1$s/seal.key\"\n"
             "link_drain_ms: 0\n"
             "drain_timeout_ms: 2000\n%2$s",
             n->dir, more);
    write_file(n, "edge.yaml", 0644, pl_span_str(text));
}

/* Without a thread that runs. */
static void make(struct node *n)
{
    char path[128];
    struct pl_why why = {0};
    snprintf(path, sizeof(path), "%s/edge.yaml", n->dir);
    if (edge_options_load(&n->options, path, &why) != PL_OK)
        fail_msg("%s", why.text);
    if (edge_new(&n->edge, &n->options, &why) != PL_OK)
        fail_msg("%s", why.text);
    n->edge->log.fd = -1;
}

static void start(struct node *n)
{
    struct pl_why why = {0};
    make(n);
    if (edge_start(n->edge, &why) != PL_OK)
        fail_msg("%s", why.text);
}

static void stop(struct node *n)
{
    if (n->edge == NULL)
        return;
    edge_stop(n->edge);
    edge_free(n->edge);
    edge_options_release(&n->options);
    n->edge = NULL;
}

static int setup_with(void **state, const char *more)
{
    struct node *n = calloc(1, sizeof(*n));
    snprintf(n->dir, sizeof(n->dir), "/tmp/polder-node-XXXXXX");
    if (mkdtemp(n->dir) == NULL)
        return -1;
    *state = n;
    write_keys(n);
    write_options(n, more);
    start(n);
    return 0;
}

static int setup(void **state)
{
    return setup_with(state, "loops: 2\n");
}

static int setup_limited(void **state)
{
    return setup_with(state, "loops: 1\nrate_events_per_s: 1\nrate_burst_events: 3\n");
}

static int teardown(void **state)
{
    struct node *n = *state;
    char command[128];
    stop(n);
    snprintf(command, sizeof(command), "rm -rf %s", n->dir);
    int rc = system(command);
    free(n);
    return rc;
}

/* ---- its origin's words */

static struct catalog_item account_item(void)
{
    struct catalog_item item = {
        .kind = CATALOG_ACCOUNT,
        .account = ACCOUNT,
        .state = ACCOUNT_ACTIVE,
        .config_version = 1,
        .config_json = S("{\"version\":1,\"campaigns\":[],\"settings\":{}}"),
    };
    assert_true(pl_id128_parse(S(KEY_TEXT), &item.write_key));
    catalog_rule_defaults(&item);
    return item;
}

static void put_item(struct pl_buf *page, const struct catalog_item *item)
{
    struct pl_buf bytes;
    pl_buf_init(&bytes, 1 << 20);
    assert_int_equal(catalog_encode(item, &bytes), PL_OK);
    assert_int_equal(pl_buf_put_u32(page, (uint32_t)bytes.len), PL_OK);
    assert_int_equal(pl_buf_append_span(page, pl_buf_span(&bytes)), PL_OK);
    pl_buf_release(&bytes);
}

/* As the follower would; the origin is out of reach, so it never does. */
static void tell(struct node *n, const struct catalog_item *item)
{
    const struct pl_id128 epoch = {{1}};
    const bool first = n->position == 0;
    struct pl_buf page;
    pl_buf_init(&page, 1 << 20);
    struct catalog_item key = {.kind = CATALOG_SEAL_KEY};
    memcpy(key.seal_public, n->origin_public, sizeof(key.seal_public));
    if (first)
        put_item(&page, &key);
    put_item(&page, item);
    n->position++;
    assert_int_equal(
        catalog_apply(n->edge->catalog, &epoch, first, n->position, true, pl_buf_span(&page)),
        PL_OK);
    catalog_heard(n->edge->catalog, pl_wall_ms(pl_clock_system()), true);
    pl_buf_release(&page);
}

/* ---- its visitors */

struct reply {
    int status;
    char text[65536]; /* head and body */
};

static void ask(const struct node *n, const char *request, size_t len, struct reply *out)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    to.sin_port = htons(http_server_port(n->edge->server, 0));
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    for (size_t sent = 0; sent < len;) {
        ssize_t k = send(fd, request + sent, len - sent, MSG_NOSIGNAL);
        assert_true(k > 0);
        sent += (size_t)k;
    }
    size_t used = 0;
    ssize_t got;
    while ((got = read(fd, out->text + used, sizeof(out->text) - 1 - used)) > 0)
        used += (size_t)got;
    out->text[used] = '\0';
    close(fd);
    assert_true(used > 12);
    out->status = atoi(out->text + 9);
}

/* headers: lines ending in \r\n. */
static struct reply send_to(const struct node *n, const char *line, const char *headers,
                            const char *body)
{
    static struct reply reply;
    static char request[1 << 20];
    int len = snprintf(request, sizeof(request),
                       "%s HTTP/1.1\r\nHost: edge\r\nConnection: close\r\nContent-Length: %zu\r\n"
                       "%s\r\n%s",
                       line, strlen(body), headers, body);
    ask(n, request, (size_t)len, &reply);
    return reply;
}

static struct reply get(const struct node *n, const char *path, const char *headers)
{
    char line[512];
    snprintf(line, sizeof(line), "GET %s", path);
    return send_to(n, line, headers, "");
}

static struct reply track(const struct node *n, const char *headers)
{
    static unsigned count;
    char body[256];
    snprintf(body, sizeof(body),
             "{\"writeKey\":\"" KEY_TEXT "\",\"event\":\"Looked\",\"anonymousId\":\"v\","
             "\"messageId\":\"m-%u\"}",
             count++);
    return send_to(n, "POST /v1/track", headers, body);
}

#define assert_says(reply, what)                                                                   \
    do {                                                                                           \
        if (strstr((reply).text, what) == NULL)                                                    \
            fail_msg("no %s in: %s", what, (reply).text);                                          \
    } while (0)
#define assert_silent(reply, what) assert_null(strstr((reply).text, what))

static uint64_t accepted(const struct node *n)
{
    struct spool_status status;
    spool_status(n->edge->spool, &status);
    return status.accepted_events;
}

/* Every loop has the newest catalog and collects: a request on any of them is answered so. */
static void until(const struct node *n, const char *path, int status)
{
    const int64_t end_ms = pl_mono_ms(pl_clock_system()) + 10000;
    for (int good = 0; good < 8;) {
        good = get(n, path, "").status == status ? good + 1 : 0;
        if (pl_mono_ms(pl_clock_system()) > end_ms)
            fail_msg("%s does not become %d", path, status);
        if (good == 0)
            usleep(5000);
    }
}

static void until_collecting(const struct node *n)
{
    const int64_t end_ms = pl_mono_ms(pl_clock_system()) + 10000;
    for (int good = 0; good < 8;) {
        good = track(n, "").status == 200 ? good + 1 : 0;
        if (pl_mono_ms(pl_clock_system()) > end_ms)
            fail_msg("nothing is collected");
    }
}

static void open_account(struct node *n)
{
    struct catalog_item item = account_item();
    tell(n, &item);
    until(n, "/v1/config/" KEY_TEXT, 200);
}

/* ---- tests */

static void test_before_the_first_catalog(void **state)
{
    struct node *n = *state;
    assert_int_equal(get(n, "/health", "").status, 200);
    struct reply r = get(n, "/ready", "");
    assert_int_equal(r.status, 503);
    assert_says(r, "no catalog yet");
    /* Not "unknown key": it may be a good one. */
    r = track(n, "");
    assert_int_equal(r.status, 503);
    assert_says(r, "retry-after:");
    r = get(n, "/replication", "");
    assert_int_equal(r.status, 503);
    assert_says(r, "\"status\":\"down\"");
    assert_says(r, "not connected to the origin");
    open_account(n);
    until(n, "/ready", 200);
    until_collecting(n);
    r = get(n, "/replication", "");
    assert_int_equal(r.status, 200);
    assert_says(r, "\"status\":\"degraded\"");
}

static void test_configs_are_served(void **state)
{
    struct node *n = *state;
    char etag[64], headers[128];
    open_account(n);
    struct reply r = get(n, "/v1/config/" KEY_TEXT, "");
    assert_says(r, "{\"version\":1,\"campaigns\":[],\"settings\":{}}");
    assert_says(r, "cache-control: public, max-age=60");
    assert_says(r, "stale-while-revalidate");
    assert_says(r, "stale-if-error");
    assert_says(r, "vary: accept-encoding");
    assert_says(r, "access-control-allow-origin: *");
    const char *tag = strstr(r.text, "etag: ") + 6;
    snprintf(etag, sizeof(etag), "%.*s", (int)strcspn(tag, "\r"), tag);
    assert_true(etag[0] == '"');
    snprintf(headers, sizeof(headers), "If-None-Match: \"other\", %s\r\n", etag);
    r = get(n, "/v1/config/" KEY_TEXT, headers);
    assert_int_equal(r.status, 304);
    assert_says(r, etag);
    assert_silent(r, "campaigns");
    assert_int_equal(get(n, "/v1/config/" KEY_TEXT, "If-None-Match: \"other\"\r\n").status, 200);

    r = get(n, "/s/" KEY_TEXT ".js", "");
    assert_int_equal(r.status, 200);
    assert_says(r, "text/javascript");
    assert_says(r, "self.polderBoot={\"key\":\"" KEY_TEXT "\"");
    r = get(n, "/s/" KEY_TEXT ".js", "Accept-Encoding: gzip, deflate\r\n");
    assert_says(r, "content-encoding: gzip");
    r = get(n, "/s/" KEY_TEXT ".js", "Accept-Encoding: gzip, deflate, br\r\n");
    assert_says(r, "content-encoding: br");
    r = get(n, "/s/" KEY_TEXT ".js", "Accept-Encoding: br;q=0, gzip; q=0.0, x-gzip\r\n");
    assert_silent(r, "content-encoding");
    assert_int_equal(get(n, "/s/" KEY_TEXT, "").status, 404);
    assert_int_equal(get(n, "/sdk.js", "").status, 200);
    r = get(n, "/v1/config/ffffffffffffffffffffffffffffffff", "");
    assert_int_equal(r.status, 404);
    assert_int_equal(get(n, "/v1/config/nonsense", "").status, 404);
    r = send_to(n, "HEAD /v1/config/" KEY_TEXT, "", "");
    assert_int_equal(r.status, 200);
    assert_silent(r, "campaigns");
}

static void test_expiry_needs_no_news(void **state)
{
    struct node *n = *state;
    struct catalog_item item = account_item();
    item.expires_at_ms = pl_wall_ms(pl_clock_system()) + 1500;
    tell(n, &item);
    until(n, "/v1/config/" KEY_TEXT, 200);
    until(n, "/v1/config/" KEY_TEXT, 410);
    assert_int_equal(get(n, "/s/" KEY_TEXT ".js", "").status, 410);
    const int64_t end_ms = pl_mono_ms(pl_clock_system()) + 3000;
    struct reply r = track(n, "");
    while (r.status == 503 && pl_mono_ms(pl_clock_system()) < end_ms)
        r = track(n, "");
    assert_int_equal(r.status, 403);
    assert_says(r, "expired");
    /* Reinstated. */
    item.expires_at_ms = 0;
    tell(n, &item);
    until(n, "/v1/config/" KEY_TEXT, 200);
    until_collecting(n);
    /* Deleted. */
    struct catalog_item gone = {.kind = CATALOG_TOMBSTONE, .account = ACCOUNT};
    tell(n, &gone);
    until(n, "/v1/config/" KEY_TEXT, 404);
    assert_int_equal(track(n, "").status, 401);
}

static void test_events_are_durable_when_answered(void **state)
{
    struct node *n = *state;
    open_account(n);
    until_collecting(n);
    const uint64_t before = accepted(n);
    for (int i = 0; i < 50; i++) {
        struct reply r = track(n, "Origin: " PAGE "\r\n");
        assert_int_equal(r.status, 200);
        assert_says(r, "{\"success\":true}");
        assert_says(r, "access-control-allow-origin: " PAGE "\r\n");
        assert_says(r, "vary: origin");
        assert_int_equal(accepted(n), before + (uint64_t)i + 1);
    }
    struct reply r = send_to(n, "POST /v1/batch", "",
                             "{\"writeKey\":\"" KEY_TEXT "\",\"batch\":[{\"type\":\"track\","
                             "\"event\":\"a\",\"anonymousId\":\"v\"},{\"type\":\"page\","
                             "\"anonymousId\":\"v\"}]}");
    assert_int_equal(r.status, 200);
    assert_int_equal(accepted(n), before + 52);
    r = get(n, "/metrics", "");
    assert_says(r, "# TYPE polder_collected_events_total counter\n");
    assert_says(r, "polder_spool_pending_events ");
    assert_says(r, "polder_refused_requests_total{reason=\"consent\"} 0\n");
}

static void test_refusals_leave_nothing(void **state)
{
    struct node *n = *state;
    struct catalog_item item = account_item();
    item.origin_count = 1;
    item.origins[0] = S(PAGE);
    item.honour_dnt = true;
    tell(n, &item);
    until(n, "/v1/config/" KEY_TEXT, 200);
    until_collecting(n);
    const uint64_t before = accepted(n);
    struct reply r = track(n, "Origin: https://evil.example\r\n");
    assert_int_equal(r.status, 403);
    assert_says(r, "access-control-allow-origin: https://evil.example\r\n");
    assert_says(r, "\"field\":\"origin\"");
    assert_int_equal(track(n, "Sec-GPC: 1\r\n").status, 403);
    assert_int_equal(track(n, "DNT: 1\r\n").status, 403);
    assert_int_equal(track(n, "Cookie: a=b; polder_optout=1; c=d\r\n").status, 403);
    r = send_to(n, "POST /v1/track", "", "{\"writeKey\":\"" KEY_TEXT "\",\"event\":");
    assert_int_equal(r.status, 400);
    r = send_to(n, "POST /v1/track", "",
                "{\"writeKey\":\"ffffffffffffffffffffffffffffffff\",\"event\":\"x\","
                "\"anonymousId\":\"v\"}");
    assert_int_equal(r.status, 401);
    assert_says(r, "\"field\":\"writeKey\"");
    r = send_to(n, "POST /v1/track", "", "{\"event\":\"x\",\"anonymousId\":\"v\"}");
    assert_int_equal(r.status, 401);
    r = send_to(n, "POST /v1/batch", "",
                "{\"writeKey\":\"" KEY_TEXT
                "\",\"batch\":[{\"type\":\"track\",\"anonymousId\":\"v\"},"
                "{\"type\":\"track\",\"event\":7,\"anonymousId\":\"v\"}]}");
    assert_int_equal(r.status, 400);
    assert_says(r, "\"field\":\"batch[0].event\"");
    r = send_to(n, "PUT /v1/track", "Origin: " PAGE "\r\n", "");
    assert_int_equal(r.status, 405);
    assert_says(r, "allow: POST");
    assert_says(r, "access-control-allow-origin: " PAGE "\r\n");
    r = get(n, "/nowhere", "Origin: " PAGE "\r\n");
    assert_int_equal(r.status, 404);
    assert_says(r, "access-control-allow-origin: " PAGE "\r\n");
    assert_int_equal(accepted(n), before);
    /* One bad message does not spoil its batch; what it is called becomes no header of ours. */
    r = send_to(n, "POST /com.snowplowanalytics.snowplow/tp2", "",
                "{\"schema\":\"iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4\","
                "\"data\":[{\"e\":\"pv\",\"aid\":\"" KEY_TEXT "\",\"duid\":\"v\"},"
                "{\"e\":\"pv\",\"a\\r\\nx-evil: 1\":{}},7]}");
    assert_int_equal(r.status, 200);
    assert_says(r, "x-polder-outcome: PARTIAL\r\n");
    assert_says(r, "x-polder-refused: 2; data[1].a??x-evil: 1 must be text\r\n");
    assert_int_equal(accepted(n), before + 1);
    /* The others may. */
    assert_int_equal(track(n, "Origin: " PAGE "\r\n").status, 200);
    assert_int_equal(track(n, "Sec-GPC: 0\r\nDNT: 0\r\nCookie: polder_optout=10\r\n").status, 200);
    item.region_count = 1;
    snprintf(item.regions[0], sizeof(item.regions[0]), "us");
    tell(n, &item);
    const int64_t end_ms = pl_mono_ms(pl_clock_system()) + 5000;
    do
        r = track(n, "");
    while (r.status == 200 && pl_mono_ms(pl_clock_system()) < end_ms);
    assert_int_equal(r.status, 403);
    assert_says(r, "region");
}

/* As send_to, to a host of the account's own. */
static struct reply send_home(const struct node *n, const char *host, const char *line,
                              const char *body)
{
    static struct reply reply;
    static char request[1024];
    int len =
        snprintf(request, sizeof(request),
                 "%s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s",
                 line, host, strlen(body), body);
    ask(n, request, (size_t)len, &reply);
    return reply;
}

static void test_hosts_and_aliases_name_accounts(void **state)
{
    struct node *n = *state;
    struct catalog_item item = account_item(), other = account_item();
    item.host_count = 1;
    item.hosts[0] = S("metrics.shop.example");
    item.alias_count = 1;
    item.aliases[0] = S("com.shop");
    other.account = ACCOUNT + 1;
    other.write_key.bytes[0] ^= 1;
    other.config_json = S("{\"version\":1,\"campaigns\":[],\"settings\":{\"other\":1}}");
    other.host_count = 1;
    other.hosts[0] = S("other.example");
    tell(n, &item);
    tell(n, &other);
    until(n, "/v1/config/com.shop", 200);
    until_collecting(n);

    struct reply r = send_home(n, "Metrics.Shop.example:8443", "GET /s.js", "");
    assert_int_equal(r.status, 200);
    assert_says(r, "self.polderBoot={\"key\":\"" KEY_TEXT "\"");
    r = send_home(n, "other.example", "GET /v1/config", "");
    assert_int_equal(r.status, 200);
    assert_says(r, "\"other\":1");
    assert_int_equal(send_home(n, "other.example", "OPTIONS /v1/config", "").status, 204);
    r = send_home(n, "nobody.example", "GET /s.js", "");
    assert_int_equal(r.status, 404);
    assert_says(r, "no account has the host \\\"nobody.example\\\"");

    static const char body[] = "{\"event\":\"Looked\",\"anonymousId\":\"v\"}";
    const uint64_t before = accepted(n);
    assert_int_equal(send_home(n, "metrics.shop.example", "POST /v1/track", body).status, 200);
    assert_int_equal(accepted(n), before + 1);
    r = send_home(n, "nobody.example", "POST /v1/track", body);
    assert_int_equal(r.status, 401);
    assert_says(r, "names no write key, and no account has the host \\\"nobody.example\\\"");
    /* A key that is wrong stays wrong on a host that would do. */
    r = send_home(n, "metrics.shop.example", "POST /v1/track?writeKey=wrong",
                  "{\"writeKey\":\"wrong\",\"event\":\"Looked\",\"anonymousId\":\"v\"}");
    assert_int_equal(r.status, 401);
    assert_says(r, "no account has the write key or alias \\\"wrong\\\"");
    r = send_home(n, "edge", "POST /v1/track",
                  "{\"writeKey\":\"com.shop\",\"event\":\"Looked\",\"anonymousId\":\"v\"}");
    assert_int_equal(r.status, 200);
    assert_int_equal(accepted(n), before + 2);
}

static void test_too_large(void **state)
{
    struct node *n = *state;
    open_account(n);
    until_collecting(n);
    const uint64_t before = accepted(n);
    static char body[600000];
    memset(body, ' ', sizeof(body) - 1);
    body[40000] = '\0';
    struct reply r = send_to(n, "POST /v1/track", "Origin: " PAGE "\r\n", body);
    assert_int_equal(r.status, 413);
    body[40000] = ' ';
    r = send_to(n, "POST /v1/batch", "Origin: " PAGE "\r\n", body);
    assert_int_equal(r.status, 413);
    assert_says(r, "access-control-allow-origin: " PAGE "\r\n");
    assert_int_equal(accepted(n), before);
}

/* Alone or among others: one limit. */
static void test_one_event_has_one_limit(void **state)
{
    struct node *n = *state;
    static const char *const forms[][3] = {
        {"POST /v1/track",
         "{\"writeKey\":\"" KEY_TEXT "\",\"event\":\"x\",\"anonymousId\":\"v\","
         "\"properties\":{\"text\":\"",
         "\"}}"},
        {"POST /v1/batch",
         "{\"writeKey\":\"" KEY_TEXT "\",\"batch\":[{\"type\":\"track\","
         "\"event\":\"x\",\"anonymousId\":\"v\",\"properties\":{\"text\":\"",
         "\"}}]}"},
    };
    static char text[40001], body[41000];
    open_account(n);
    until_collecting(n);
    for (size_t i = 0; i < 2; i++) {
        const uint64_t before = accepted(n);
        memset(text, 'x', sizeof(text) - 1);
        snprintf(body, sizeof(body), "%s%s%s", forms[i][1], text, forms[i][2]);
        assert_int_equal(send_to(n, forms[i][0], "", body).status, 413);
        assert_int_equal(accepted(n), before);
        text[32000] = '\0';
        snprintf(body, sizeof(body), "%s%s%s", forms[i][1], text, forms[i][2]);
        assert_int_equal(send_to(n, forms[i][0], "", body).status, 200);
        assert_int_equal(accepted(n), before + 1);
    }
}

static void test_preflight(void **state)
{
    struct node *n = *state;
    static const char *const paths[] = {"/v1/batch", "/v1/track", "/v1/optin", "/v1/config/x"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        char line[64];
        snprintf(line, sizeof(line), "OPTIONS %s", paths[i]);
        struct reply r = send_to(n, line,
                                 "Origin: " PAGE "\r\nAccess-Control-Request-Method: POST\r\n"
                                 "Access-Control-Request-Headers: content-type,x-mine\r\n",
                                 "");
        assert_int_equal(r.status, 204);
        assert_says(r, "access-control-allow-origin: " PAGE "\r\n");
        assert_says(r, "access-control-allow-headers: content-type,x-mine\r\n");
        assert_says(r, "access-control-max-age: ");
        assert_says(r, "vary: origin");
    }
}

static void test_consent(void **state)
{
    struct node *n = *state;
    struct catalog_item item = account_item();
    item.origin_count = 1;
    item.origins[0] = S(PAGE);
    tell(n, &item);
    until(n, "/v1/config/" KEY_TEXT, 200);
    struct reply r = get(n, "/v1/optout", "");
    assert_int_equal(r.status, 200);
    assert_says(r, "set-cookie: polder_optout=");
    assert_says(r, "; Path=/; Max-Age=157680000; HttpOnly");
    /* A plain connection: other sites' pages will not send that cookie, and the reply says so. */
    assert_says(r, "\"cross_site\":false");
    r = send_to(n, "POST /v1/optout", "Origin: " PAGE "\r\n", "");
    assert_says(r, "access-control-allow-credentials: true");
    /* An image cannot opt in, nor a page of somebody else's. */
    assert_int_equal(get(n, "/v1/optin?write_key=" KEY_TEXT, "").status, 405);
    r = send_to(n, "POST /v1/optin?write_key=" KEY_TEXT, "", "");
    assert_int_equal(r.status, 403);
    r = send_to(n, "POST /v1/optin?write_key=" KEY_TEXT, "Origin: https://evil.example\r\n", "");
    assert_int_equal(r.status, 403);
    assert_silent(r, "set-cookie");
    assert_int_equal(send_to(n, "POST /v1/optin", "Origin: " PAGE "\r\n", "").status, 401);
    r = send_to(n, "POST /v1/optin?write_key=" KEY_TEXT, "Origin: " PAGE "\r\n", "");
    assert_int_equal(r.status, 200);
    assert_says(r, "set-cookie: polder_optout_" KEY_TEXT "=; Path=/; Max-Age=0");
    r = send_to(n, "POST /v1/optin", "Origin: " PAGE "\r\n", "{\"writeKey\":\"" KEY_TEXT "\"}");
    assert_int_equal(r.status, 200);
}

/* An account that takes events from everywhere: its visitors' no is not everybody's to take back,
 * nor is one account's page free to undo what was said to another, or to all. */
static void test_no_is_not_undone_by_others(void **state)
{
    struct node *n = *state;
    const char *const optin = "POST /v1/optin?write_key=" KEY_TEXT;
    open_account(n);
    until_collecting(n);
    struct reply r = send_to(n, optin, "Origin: https://evil.example\r\n", "");
    assert_int_equal(r.status, 403);
    assert_silent(r, "set-cookie");
    r = send_to(n, optin, "Origin: https://evil.example\r\nSec-Fetch-Site: cross-site\r\n", "");
    assert_int_equal(r.status, 403);
    r = send_to(n, optin, "Origin: " PAGE "\r\nSec-Fetch-Site: same-site\r\n", "");
    assert_int_equal(r.status, 200);
    assert_says(r, "set-cookie: polder_optout_" KEY_TEXT "=; Path=/; Max-Age=0");
    r = send_to(n, optin, "Sec-Fetch-Site: same-origin\r\nCookie: polder_optout=1\r\n", "");
    assert_says(r, "set-cookie: polder_optout_" KEY_TEXT "=0; Path=/; Max-Age=1");

    r = get(n, "/v1/optout?write_key=" KEY_TEXT, "");
    assert_says(r, "set-cookie: polder_optout_" KEY_TEXT "=");
    assert_says(r, "set-cookie: polder_id=; Path=/; Max-Age=0;");
    assert_int_equal(track(n, "Cookie: polder_optout_" KEY_TEXT "=1\r\n").status, 403);
    assert_int_equal(
        track(n, "Cookie: polder_optout_ffeeddccbbaa99887766554433221100=1\r\n").status, 200);
    assert_int_equal(
        track(n, "Cookie: polder_optout=1; polder_optout_ffeeddccbbaa99887766554433221100=0\r\n")
            .status,
        403);
    assert_int_equal(track(n, "Cookie: polder_optout=1; polder_optout_" KEY_TEXT "=0\r\n").status,
                     200);
    /* A key that is none: no to all. */
    assert_says(get(n, "/v1/optout?write_key=x", ""), "set-cookie: polder_optout=");
}

static void test_pixels_always_load(void **state)
{
    struct node *n = *state;
    struct pl_buf path;
    open_account(n);
    until_collecting(n);
    pl_buf_init(&path, 4096);
    pl_buf_append_str(&path, "/v1/pixel/track?data=");
    pl_base64_encode(S("{\"writeKey\":\"" KEY_TEXT "\",\"event\":\"x\",\"anonymousId\":\"v\"}"),
                     &path);
    pl_buf_terminate(&path);
    const uint64_t before = accepted(n);
    struct reply r = get(n, (const char *)path.data, "");
    assert_int_equal(r.status, 200);
    assert_says(r, "x-polder-outcome: OK\r\n");
    assert_says(r, "GIF89a");
    assert_int_equal(accepted(n), before + 1);
    r = get(n, (const char *)path.data, "Sec-GPC: 1\r\n");
    assert_int_equal(r.status, 200);
    assert_says(r, "x-polder-outcome: OPTED_OUT\r\n");
    assert_says(r, "GIF89a");
    /* Link checkers ask with HEAD; that is no visit. */
    char line[1024];
    snprintf(line, sizeof(line), "HEAD %s", (const char *)path.data);
    r = send_to(n, line, "", "");
    assert_int_equal(r.status, 200);
    assert_says(r, "content-type: image/gif\r\n");
    assert_int_equal(accepted(n), before + 1);
    r = get(n, "/v1/pixel/track?data=%%%", "");
    assert_says(r, "x-polder-outcome: MALFORMED\r\n");
    assert_says(r, "GIF89a");
    assert_int_equal(accepted(n), before + 1);
    pl_buf_release(&path);
}

static void test_rate_limit(void **state)
{
    struct node *n = *state;
    open_account(n);
    struct reply r = {0};
    const int64_t end_ms = pl_mono_ms(pl_clock_system()) + 5000;
    do
        r = track(n, "");
    while (r.status != 429 && pl_mono_ms(pl_clock_system()) < end_ms);
    assert_int_equal(r.status, 429);
    assert_says(r, "retry-after: 1\r\n");
}

static void test_reload_without_certificates_says_so(void **state)
{
    struct node *n = *state;
    struct pl_why why = {0};
    assert_int_equal(edge_reload(n->edge, &why), PL_EUNSUPPORTED);
    assert_non_null(strstr(why.text, "https_listen is not set"));
}

static void test_restart_with_no_origin_in_sight(void **state)
{
    struct node *n = *state;
    open_account(n);
    until_collecting(n);
    const uint64_t before = accepted(n);
    stop(n);
    start(n);
    struct reply r = get(n, "/v1/config/" KEY_TEXT, "");
    assert_int_equal(r.status, 200);
    assert_says(r, "campaigns");
    assert_int_equal(get(n, "/ready", "").status, 200);
    assert_int_equal(accepted(n), before);
    until_collecting(n);
}

/* News that comes when a loop's last turn is near: the loop lets go of it as it stops, then its
 * task's turn comes. */
static void stop_with_news(struct http_loop *http, void *arg)
{
    struct edge *edge = arg;
    struct catalog_snapshot *news = catalog_snapshot_ref(edge->snapshot);
    edge_publish(edge, news);
    edge_loop_stop(http, edge);
    catalog_snapshot_unref(news);
}

static void test_news_comes_too_late_for_a_loop(void **state)
{
    struct node *n = *state;
    struct pl_why why = {0};
    open_account(n);
    stop(n);
    make(n);
    assert_non_null(n->edge->snapshot);
    assert_int_equal(collector_start(n->edge->collector, &why), PL_OK);
    struct http_server *server =
        fixture_serve(n->edge->loop_count, edge_loop_start, stop_with_news, n->edge);
    http_server_drain(server, 1000);
    http_server_free(server);
}

#define TEST(name)         cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_LIMITED(name) cmocka_unit_test_setup_teardown(name, setup_limited, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_before_the_first_catalog),
        TEST(test_configs_are_served),
        TEST(test_expiry_needs_no_news),
        TEST(test_events_are_durable_when_answered),
        TEST(test_refusals_leave_nothing),
        TEST(test_hosts_and_aliases_name_accounts),
        TEST(test_too_large),
        TEST(test_one_event_has_one_limit),
        TEST(test_preflight),
        TEST(test_consent),
        TEST(test_no_is_not_undone_by_others),
        TEST(test_pixels_always_load),
        TEST_LIMITED(test_rate_limit),
        TEST(test_reload_without_certificates_says_so),
        TEST(test_restart_with_no_origin_in_sight),
        TEST(test_news_comes_too_late_for_a_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
