/*
 * bare_h2o: the reference server of the benchmarks: libh2o's evloop with nothing around it.
 * GET /config answers with fixed headers and the bytes of a file; POST /collect drops the body
 * and answers 204. HTTP/1.1, and HTTP/2 on a TLS port.
 *
 *   bare_h2o --port N [--tls-port N --cert FILE --key FILE] [--loops N]
 *            [--body FILE] [--header 'name: value']...
 */
#define H2O_USE_LIBUV 0
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <h2o.h>
#include <h2o/http1.h>
#include <h2o/http2.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HEADERS_MAX 16
#define LOOPS_MAX   64
#define BODY_MAX    (1 << 20)

struct reply {
    h2o_handler_t super; /* must stay first */
    h2o_iovec_t body;
    const h2o_token_t *tokens[HEADERS_MAX]; /* NULL where libh2o has none for the name */
    h2o_iovec_t names[HEADERS_MAX], values[HEADERS_MAX];
    size_t headers;
};

struct bare {
    uint16_t port, tls_port;
    unsigned loops;
    const char *cert, *key;
    h2o_iovec_t body;
    char *headers[HEADERS_MAX];
    size_t header_count;
    h2o_globalconf_t config;
    SSL_CTX *tls;
};

struct listener {
    h2o_accept_ctx_t accept;
};

static void die(const char *what)
{
    fprintf(stderr, "bare_h2o: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* ---- what it answers ------------------------------------------------------------------- */

static int on_config(h2o_handler_t *self, h2o_req_t *req)
{
    static h2o_generator_t done = {NULL, NULL};
    struct reply *reply = H2O_STRUCT_FROM_MEMBER(struct reply, super, self);

    req->res.status = 200;
    req->res.reason = "OK";
    req->res.content_length = reply->body.len;
    for (size_t i = 0; i < reply->headers; ++i) {
        const h2o_iovec_t *name = &reply->names[i], *value = &reply->values[i];
        if (reply->tokens[i] != NULL)
            h2o_add_header(&req->pool, &req->res.headers, reply->tokens[i], NULL, value->base,
                           value->len);
        else
            h2o_add_header_by_str(&req->pool, &req->res.headers, name->base, name->len, 0, NULL,
                                  value->base, value->len);
    }
    h2o_start_response(req, &done);
    h2o_send(req, &reply->body, 1, H2O_SEND_STATE_FINAL);
    return 0;
}

static int on_collect(h2o_handler_t *self, h2o_req_t *req)
{
    static h2o_generator_t done = {NULL, NULL};
    (void)self;

    req->res.status = 204;
    req->res.reason = "No Content";
    req->res.content_length = 0; /* without it libh2o 2.2 ends the connection */
    h2o_start_response(req, &done);
    h2o_send(req, NULL, 0, H2O_SEND_STATE_FINAL);
    return 0;
}

static void add_headers(struct reply *reply, const struct bare *bare)
{
    for (size_t i = 0; i < bare->header_count; ++i) {
        char *colon = strchr(bare->headers[i], ':');
        if (colon == NULL || colon == bare->headers[i]) {
            errno = EINVAL;
            die(bare->headers[i]);
        }
        reply->names[i] = h2o_iovec_init(bare->headers[i], (size_t)(colon - bare->headers[i]));
        reply->tokens[i] = h2o_lookup_token(reply->names[i].base, reply->names[i].len);
        colon += strspn(colon, ": ");
        reply->values[i] = h2o_iovec_init(colon, strlen(colon));
    }
    reply->headers = bare->header_count;
}

static void configure(struct bare *bare)
{
    h2o_config_init(&bare->config);
    bare->config.server_name = h2o_iovec_init(NULL, 0);
    h2o_hostconf_t *host =
        h2o_config_register_host(&bare->config, h2o_iovec_init(H2O_STRLIT("*")), 65535);
    h2o_pathconf_t *config = h2o_config_register_path(host, "/config", 0);
    struct reply *reply = (struct reply *)h2o_create_handler(config, sizeof(*reply));
    reply->super.on_req = on_config;
    reply->body = bare->body;
    add_headers(reply, bare);
    h2o_pathconf_t *collect = h2o_config_register_path(host, "/collect", 0);
    h2o_create_handler(collect, sizeof(h2o_handler_t))->on_req = on_collect;

    if (bare->tls_port == 0)
        return;
    bare->tls = SSL_CTX_new(TLS_server_method());
    if (bare->tls == NULL || SSL_CTX_use_certificate_chain_file(bare->tls, bare->cert) != 1 ||
        SSL_CTX_use_PrivateKey_file(bare->tls, bare->key, SSL_FILETYPE_PEM) != 1) {
        errno = EINVAL;
        die("--cert or --key");
    }
    SSL_CTX_set_min_proto_version(bare->tls, TLS1_2_VERSION);
    h2o_ssl_register_alpn_protocols(bare->tls, h2o_http2_alpn_protocols);
}

/* ---- loops ----------------------------------------------------------------------------- */

static void on_accept(h2o_socket_t *sock, const char *err)
{
    struct listener *listener = sock->data;
    h2o_socket_t *conn;

    if (err != NULL)
        return;
    while ((conn = h2o_evloop_socket_accept(sock)) != NULL)
        h2o_accept(&listener->accept, conn);
}

static void add_listener(struct bare *bare, h2o_context_t *context, uint16_t port, SSL_CTX *tls)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0 ||
        bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0 || listen(fd, 4096) != 0)
        die("cannot listen");
    struct listener *listener = calloc(1, sizeof(*listener));
    if (listener == NULL)
        die("out of memory");
    listener->accept =
        (h2o_accept_ctx_t){.ctx = context, .hosts = bare->config.hosts, .ssl_ctx = tls};
    h2o_socket_t *sock = h2o_evloop_socket_create(context->loop, fd, H2O_SOCKET_FLAG_DONT_READ);
    sock->data = listener;
    h2o_socket_read_start(sock, on_accept);
}

static void *run_loop(void *arg)
{
    struct bare *bare = arg;
    h2o_context_t *context = calloc(1, sizeof(*context));
    if (context == NULL)
        die("out of memory");
    h2o_context_init(context, h2o_evloop_create(), &bare->config);
    add_listener(bare, context, bare->port, NULL);
    if (bare->tls_port != 0)
        add_listener(bare, context, bare->tls_port, bare->tls);
    while (h2o_evloop_run(context->loop, INT32_MAX) == 0)
        ;
    return NULL;
}

/* ---- options --------------------------------------------------------------------------- */

static h2o_iovec_t read_body(const char *path)
{
    FILE *file = fopen(path, "re");
    h2o_iovec_t body = h2o_iovec_init(malloc(BODY_MAX), 0);
    if (file == NULL || body.base == NULL)
        die(path);
    body.len = fread(body.base, 1, BODY_MAX, file);
    fclose(file);
    return body;
}

static void parse(struct bare *bare, int argc, char **argv)
{
    static const struct option options[] = {
        {"port", required_argument, NULL, 'p'},   {"tls-port", required_argument, NULL, 't'},
        {"cert", required_argument, NULL, 'c'},   {"key", required_argument, NULL, 'k'},
        {"loops", required_argument, NULL, 'l'},  {"body", required_argument, NULL, 'b'},
        {"header", required_argument, NULL, 'h'}, {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'p':
            bare->port = (uint16_t)atoi(optarg);
            break;
        case 't':
            bare->tls_port = (uint16_t)atoi(optarg);
            break;
        case 'c':
            bare->cert = optarg;
            break;
        case 'k':
            bare->key = optarg;
            break;
        case 'l':
            bare->loops = (unsigned)atoi(optarg);
            break;
        case 'b':
            bare->body = read_body(optarg);
            break;
        case 'h':
            if (bare->header_count < HEADERS_MAX)
                bare->headers[bare->header_count++] = optarg;
            break;
        default:
            exit(2);
        }
    }
    if (bare->port == 0 || bare->loops == 0 || bare->loops > LOOPS_MAX ||
        (bare->tls_port != 0 && (bare->cert == NULL || bare->key == NULL))) {
        fprintf(stderr, "usage: bare_h2o --port N [--tls-port N --cert FILE --key FILE] "
                        "[--loops N] [--body FILE] [--header 'name: value']...\n");
        exit(2);
    }
}

int main(int argc, char **argv)
{
    struct bare bare = {.loops = 1};
    pthread_t thread;

    parse(&bare, argc, argv);
    signal(SIGPIPE, SIG_IGN);
    configure(&bare);
    for (unsigned i = 1; i < bare.loops; ++i)
        if (pthread_create(&thread, NULL, run_loop, &bare) != 0)
            die("cannot start a thread");
    run_loop(&bare);
    return 0;
}
