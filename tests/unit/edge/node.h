/* A whole edge in this process, its origin out of reach: what visitors and operators see of it. */
#ifndef POLDER_TESTS_EDGE_NODE_H
#define POLDER_TESTS_EDGE_NODE_H

#include "tests/unit/edge/fixture.h"

#include "edge/edge.h"
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

static inline void write_file(const struct node *n, const char *name, unsigned mode,
                              struct pl_span bytes)
{
    char path[128];
    struct pl_why why;
    snprintf(path, sizeof(path), "%s/%s", n->dir, name);
    if (pl_file_replace(path, name, mode, bytes, &why) != PL_OK)
        fail_msg("%s", why.text);
}

static inline void write_keys(struct node *n)
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

static inline void write_options(struct node *n, const char *more)
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
static inline void make(struct node *n)
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

static inline void start(struct node *n)
{
    struct pl_why why = {0};
    make(n);
    if (edge_start(n->edge, &why) != PL_OK)
        fail_msg("%s", why.text);
}

static inline void stop(struct node *n)
{
    if (n->edge == NULL)
        return;
    edge_stop(n->edge);
    edge_free(n->edge);
    edge_options_release(&n->options);
    n->edge = NULL;
}

static inline int setup_with(void **state, const char *more)
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

static inline int setup(void **state)
{
    return setup_with(state, "loops: 2\n");
}

static inline int setup_limited(void **state)
{
    return setup_with(state, "loops: 1\nrate_events_per_s: 1\nrate_burst_events: 3\n");
}

static inline int teardown(void **state)
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

static inline struct catalog_item account_item(void)
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

static inline void put_item(struct pl_buf *page, const struct catalog_item *item)
{
    struct pl_buf bytes;
    pl_buf_init(&bytes, 1 << 20);
    assert_int_equal(catalog_encode(item, &bytes), PL_OK);
    assert_int_equal(pl_buf_put_u32(page, (uint32_t)bytes.len), PL_OK);
    assert_int_equal(pl_buf_append_span(page, pl_buf_span(&bytes)), PL_OK);
    pl_buf_release(&bytes);
}

/* As the follower would; the origin is out of reach, so it never does. */
static inline void tell(struct node *n, const struct catalog_item *item)
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

static inline void ask(const struct node *n, const char *request, size_t len, struct reply *out)
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
static inline struct reply send_to(const struct node *n, const char *line, const char *headers,
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

static inline struct reply get(const struct node *n, const char *path, const char *headers)
{
    char line[512];
    snprintf(line, sizeof(line), "GET %s", path);
    return send_to(n, line, headers, "");
}

static inline struct reply track(const struct node *n, const char *headers)
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

static inline uint64_t accepted(const struct node *n)
{
    struct spool_status status;
    spool_status(n->edge->spool, &status);
    return status.accepted_events;
}

/* Every loop has the newest catalog and collects: a request on any of them is answered so. */
static inline void until(const struct node *n, const char *path, int status)
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

static inline void until_collecting(const struct node *n)
{
    const int64_t end_ms = pl_mono_ms(pl_clock_system()) + 10000;
    for (int good = 0; good < 8;) {
        good = track(n, "").status == 200 ? good + 1 : 0;
        if (pl_mono_ms(pl_clock_system()) > end_ms)
            fail_msg("nothing is collected");
    }
}

static inline void open_account(struct node *n)
{
    struct catalog_item item = account_item();
    tell(n, &item);
    until(n, "/v1/config/" KEY_TEXT, 200);
}

#endif
