/* The receiver and peers that are many, wrong, hostile or revoked; and an edge's own errors. */
#include "tests/unit/replication/world.h"

#include "replication/link.h"
#include "replication/pipe.h"

#include <errno.h>
#include <nng/protocol/reqrep0/req.h>
#include <sys/resource.h>

static const struct frame_settled settled = {.epoch = {{3}}, .position = 4};

/* A peer that says what the test wants: a TLS stream, nothing more. */
struct peer {
    nng_tls_config *tls;
    nng_stream_dialer *dialer;
    nng_aio *aio;
    nng_stream *stream;
};

static int wait_io(struct peer *p)
{
    nng_aio_wait(p->aio);
    return nng_aio_result(p->aio);
}

static int say_raw(struct peer *p, const void *bytes, size_t len)
{
    const uint8_t *at = bytes;
    while (len > 0) {
        nng_iov iov = {.iov_buf = (void *)(uintptr_t)at, .iov_len = len};
        nng_aio_set_iov(p->aio, 1, &iov);
        nng_stream_send(p->stream, p->aio);
        int rv = wait_io(p);
        if (rv != 0)
            return rv;
        at += nng_aio_count(p->aio);
        len -= nng_aio_count(p->aio);
    }
    return 0;
}

static int hear_raw(struct peer *p, void *bytes, size_t len)
{
    uint8_t *at = bytes;
    while (len > 0) {
        nng_iov iov = {.iov_buf = at, .iov_len = len};
        nng_aio_set_iov(p->aio, 1, &iov);
        nng_stream_recv(p->stream, p->aio);
        int rv = wait_io(p);
        if (rv != 0)
            return rv;
        at += nng_aio_count(p->aio);
        len -= nng_aio_count(p->aio);
    }
    return 0;
}

static nng_tls_config *tls_of(struct world *w, const char *name, const char *ca)
{
    char cert[128], key[128], ca_file[128], file[64];
    struct pl_why why = {0};
    nng_tls_config *tls;
    snprintf(file, sizeof(file), "%s.pem", name);
    pki_path(&w->pki, file, cert);
    snprintf(file, sizeof(file), "%s.key", name);
    pki_path(&w->pki, file, key);
    pki_path(&w->pki, ca, ca_file);
    struct link_identity identity = {
        .server_name = "origin.test", .ca_file = ca_file, .cert_file = cert, .key_file = key};
    if (link_tls_new(&tls, NULL, NULL, &identity, &why) != PL_OK)
        fail_msg("%s", why.text);
    return tls;
}

/* Up to and with the greeting. */
static int peer_open(struct world *w, struct peer *p)
{
    static const uint8_t greeting[8] = {0, 'S', 'P', 0, 0, 0x30, 0, 0};
    uint8_t answer[8];
    *p = (struct peer){.tls = tls_of(w, "edge", "ca.pem")};
    assert_int_equal(nng_stream_dialer_alloc(&p->dialer, w->origin_url), 0);
    assert_int_equal(nng_stream_dialer_set_ptr(p->dialer, NNG_OPT_TLS_CONFIG, p->tls), 0);
    assert_int_equal(nng_aio_alloc(&p->aio, NULL, NULL), 0);
    nng_aio_set_timeout(p->aio, 5000);
    nng_stream_dialer_dial(p->dialer, p->aio);
    int rv = wait_io(p);
    assert_int_equal(rv, 0);
    p->stream = nng_aio_get_output(p->aio, 0);
    rv = say_raw(p, greeting, sizeof(greeting));
    return rv != 0 ? rv : hear_raw(p, answer, sizeof(answer));
}

static void peer_close(struct peer *p)
{
    nng_stream_dialer_free(p->dialer);
    nng_stream_close(p->stream);
    nng_stream_free(p->stream);
    nng_aio_free(p->aio);
    nng_tls_config_free(p->tls);
}

static int put(struct peer *p, struct pl_span request, uint32_t id)
{
    struct pipe_message *m = pipe_message_new(id, request);
    int rv = say_raw(p, m->bytes, PIPE_HEAD_BYTES + m->len);
    free(m);
    return rv;
}

/* The next reply, parsed; its views point into *body. */
static int get(struct peer *p, struct frame *reply, uint32_t *id, struct pl_buf *body)
{
    uint8_t head[PIPE_HEAD_BYTES];
    int rv = hear_raw(p, head, sizeof(head));
    if (rv != 0)
        return rv;
    *id = pl_load_u32(head + 8);
    size_t len = (size_t)pl_load_u64(head) - 4;
    pl_buf_reset(body);
    assert_int_equal(pl_buf_reserve(body, len), PL_OK);
    rv = hear_raw(p, body->data, len);
    body->len = len;
    struct pl_why why = {0};
    if (rv == 0 && frame_parse(pl_buf_span(body), reply, &why) != PL_OK)
        fail_msg("%s", why.text);
    return rv;
}

static int ask(struct peer *p, struct pl_span request, struct frame *reply, struct pl_buf *body)
{
    uint32_t id = 0;
    int rv = put(p, request, 0x80000007);
    if (rv == 0)
        rv = get(p, reply, &id, body);
    if (rv == 0)
        assert_int_equal(id, 0x80000007);
    return rv;
}

static void get_nonce(struct peer *p, uint8_t nonce[FRAME_NONCE_BYTES])
{
    struct pl_buf out, in;
    struct frame f;
    pl_buf_init(&out, LIMIT_FRAME_BYTES);
    pl_buf_init(&in, LIMIT_FRAME_BYTES);
    assert_int_equal(frame_put_hello(&out), PL_OK);
    assert_int_equal(ask(p, pl_buf_span(&out), &f, &in), 0);
    assert_int_equal(f.type, FRAME_CHALLENGE);
    memcpy(nonce, f.nonce, FRAME_NONCE_BYTES);
    pl_buf_release(&out);
    pl_buf_release(&in);
}

/* Proves with the key of the certificate `name`; gives the type and refusal of the answer. */
static enum frame_type prove(struct world *w, struct peer *p, const uint8_t *nonce,
                             const struct pl_id128 *edge, const char *name,
                             enum frame_refusal *refusal)
{
    char path[128], file[64];
    struct pl_buf pem, out, in;
    struct pl_signer *signer;
    struct frame f;
    uint8_t proof[FRAME_PROOF_BYTES], signature[PL_SIGNATURE_MAX_BYTES];
    size_t len = sizeof(signature);
    pl_buf_init(&pem, 65536);
    pl_buf_init(&out, LIMIT_FRAME_BYTES);
    pl_buf_init(&in, LIMIT_FRAME_BYTES);
    snprintf(file, sizeof(file), "%s.key", name);
    pki_path(&w->pki, file, path);
    assert_int_equal(pl_file_read(path, "key", true, &pem, NULL), PL_OK);
    assert_int_equal(pl_signer_from_pem(&signer, pl_buf_span(&pem), NULL), PL_OK);
    frame_proof(nonce, edge, proof);
    assert_int_equal(pl_sign(signer, pl_span(proof, sizeof(proof)), signature, &len), PL_OK);
    struct frame_prove frame = {.edge = *edge,
                                .signature = pl_span(signature, len),
                                .region = PL_SPAN_LIT("us"),
                                .wall_ms = pl_wall_ms(pl_clock_system())};
    memcpy(frame.nonce, nonce, FRAME_NONCE_BYTES);
    assert_int_equal(frame_put_prove(&out, &frame, NULL, 0), PL_OK);
    assert_int_equal(ask(p, pl_buf_span(&out), &f, &in), 0);
    *refusal = f.refusal;
    pl_signer_free(signer);
    pl_buf_release(&pem);
    pl_buf_release(&out);
    pl_buf_release(&in);
    return f.type;
}

static enum frame_type ask_block(struct peer *p)
{
    struct pl_buf out, in;
    struct frame f;
    uint8_t block[100] = {7};
    pl_buf_init(&out, LIMIT_FRAME_BYTES);
    pl_buf_init(&in, LIMIT_FRAME_BYTES);
    assert_int_equal(frame_put_blocks(&out), PL_OK);
    assert_int_equal(frame_add_block(&out, pl_span(block, sizeof(block))), PL_OK);
    assert_int_equal(ask(p, pl_buf_span(&out), &f, &in), 0);
    pl_buf_release(&out);
    pl_buf_release(&in);
    return f.type;
}

static struct world *listening(void)
{
    struct world *w = world_new(1, 100);
    pki_issue(&w->pki, "other", NULL);
    start_receiver(w);
    return w;
}

static void nothing_is_handed_on_without_proof(void **state)
{
    (void)state;
    struct world *w = listening();
    struct peer p;
    uint8_t nonce[FRAME_NONCE_BYTES];
    enum frame_refusal refusal;
    struct pl_id128 stranger = {{1, 2, 3}};
    assert_int_equal(peer_open(w, &p), 0);
    assert_int_equal(ask_block(&p), FRAME_HELLO_FIRST);
    get_nonce(&p, nonce);
    assert_int_equal(ask_block(&p), FRAME_HELLO_FIRST);

    /* Another enrolled certificate's key does not speak for this edge. */
    assert_int_equal(prove(w, &p, nonce, &w->vault.edge, "other", &refusal), FRAME_REFUSED);
    assert_int_equal(refusal, FRAME_REFUSED_SIGNATURE);
    assert_int_equal(ask_block(&p), FRAME_HELLO_FIRST);
    get_nonce(&p, nonce);
    assert_int_equal(prove(w, &p, nonce, &stranger, "edge", &refusal), FRAME_REFUSED);
    assert_int_equal(refusal, FRAME_REFUSED_UNKNOWN);
    assert_int_equal(READ(&w->vault, stored), 0);

    get_nonce(&p, nonce);
    assert_int_equal(prove(w, &p, nonce, &w->vault.edge, "edge", &refusal), FRAME_WELCOME);
    assert_int_equal(ask_block(&p), FRAME_ACKS);
    assert_int_equal(READ(&w->vault, stored), 1);
    assert_string_equal(w->vault.region, "us");
    peer_close(&p);
    world_free(w);
}

static void a_nonce_is_good_once_and_here_only(void **state)
{
    (void)state;
    struct world *w = listening();
    struct peer p, q;
    uint8_t nonce[FRAME_NONCE_BYTES], earlier[FRAME_NONCE_BYTES];
    enum frame_refusal refusal;
    assert_int_equal(peer_open(w, &p), 0);
    get_nonce(&p, earlier);
    get_nonce(&p, nonce);
    assert_memory_not_equal(earlier, nonce, sizeof(nonce));
    assert_int_equal(prove(w, &p, earlier, &w->vault.edge, "edge", &refusal), FRAME_REFUSED);
    assert_int_equal(refusal, FRAME_REFUSED_SIGNATURE);
    get_nonce(&p, nonce);
    assert_int_equal(peer_open(w, &q), 0); /* a proof heard elsewhere */
    assert_int_equal(prove(w, &q, nonce, &w->vault.edge, "edge", &refusal), FRAME_REFUSED);
    assert_int_equal(ask_block(&q), FRAME_HELLO_FIRST);
    assert_int_equal(prove(w, &p, nonce, &w->vault.edge, "edge", &refusal), FRAME_WELCOME);
    assert_int_equal(prove(w, &p, nonce, &w->vault.edge, "edge", &refusal), FRAME_REFUSED);
    peer_close(&p);
    peer_close(&q);
    world_free(w);
}

static void malformed_frames_are_refused_by_field(void **state)
{
    (void)state;
    struct world *w = listening();
    struct peer p;
    struct pl_buf in;
    struct frame f;
    pl_buf_init(&in, LIMIT_FRAME_BYTES);
    assert_int_equal(peer_open(w, &p), 0);
    assert_int_equal(ask(&p, PL_SPAN_LIT("\x03\x01\x00\x01\x01\x00\x00\x00\x09x"), &f, &in), 0);
    assert_int_equal(f.type, FRAME_REFUSED);
    assert_int_equal(f.refusal, FRAME_REFUSED_MALFORMED);
    assert_non_null(memmem(f.sentence.data, f.sentence.len, "entries.block", 13));
    assert_int_equal(ask(&p, pl_span(NULL, 0), &f, &in), 0);
    assert_int_equal(f.refusal, FRAME_REFUSED_MALFORMED);
    assert_int_equal(ask(&p, PL_SPAN_LIT("\x01\x02"), &f, &in), 0);
    assert_int_equal(f.refusal, FRAME_REFUSED_VERSION);
    uint8_t nonce[FRAME_NONCE_BYTES];
    get_nonce(&p, nonce); /* it is still spoken to */
    pl_buf_release(&in);
    peer_close(&p);
    world_free(w);
}

/* Each of these must end the connection, and nothing else. */
static void what_is_no_message_ends_the_connection(void **state)
{
    (void)state;
    struct world *w = listening();
    static const struct {
        const char *bytes;
        size_t len;
    } wrong[] = {
        {"\0\0\0\0\0\0\0\3\x80\0\0\1", 12},                 /* too short for an id */
        {"\0\0\0\1\0\0\0\0\x80\0\0\1", 12},                 /* 4 GiB */
        {"\xff\xff\xff\xff\xff\xff\xff\xff\x80\0\0\1", 12}, /* would wrap */
        {"\0\0\0\0\0\0\0\6\0\0\0\1\1\1", 14},               /* no request id */
        {"\0\0\0\0\0\1\0\0\x80\0\0\1", 12},                 /* 64 KiB before any proof */
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct peer p;
        uint8_t byte;
        assert_int_equal(peer_open(w, &p), 0);
        assert_int_equal(say_raw(&p, wrong[i].bytes, wrong[i].len), 0);
        int rv = hear_raw(&p, &byte, 1);
        assert_true(rv != 0 && rv != NNG_ETIMEDOUT);
        peer_close(&p);
    }
    struct peer p;
    uint8_t byte;
    assert_int_equal(peer_open(w, &p), 0); /* another protocol's greeting, late */
    peer_close(&p);
    p = (struct peer){.tls = tls_of(w, "edge", "ca.pem")};
    assert_int_equal(nng_stream_dialer_alloc(&p.dialer, w->origin_url), 0);
    assert_int_equal(nng_stream_dialer_set_ptr(p.dialer, NNG_OPT_TLS_CONFIG, p.tls), 0);
    assert_int_equal(nng_aio_alloc(&p.aio, NULL, NULL), 0);
    nng_aio_set_timeout(p.aio, 5000);
    nng_stream_dialer_dial(p.dialer, p.aio);
    assert_int_equal(wait_io(&p), 0);
    p.stream = nng_aio_get_output(p.aio, 0);
    assert_int_equal(say_raw(&p, "GET / HTTP/1.1\r\n\r\n", 18), 0);
    uint8_t greeting[8];
    (void)hear_raw(&p, greeting, sizeof(greeting));
    int rv = hear_raw(&p, &byte, 1);
    assert_true(rv != 0 && rv != NNG_ETIMEDOUT);
    peer_close(&p);

    assert_int_equal(peer_open(w, &p), 0); /* the receiver is none the worse */
    assert_int_equal(ask_block(&p), FRAME_HELLO_FIRST);
    peer_close(&p);
    world_free(w);
}

static int stranger(struct world *w, const char *from)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)w->port)};
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = inet_addr(from)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&own, sizeof(own)), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    return fd;
}

/* No faster than they are accepted: where the kernel's queue overflows, the client believes in a
 * connection that the receiver never gets to see. */
static void strangers(struct world *w, const char *from, int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        fds[i] = stranger(w, from);
        if (i % 50 == 49)
            pass_ms(25);
    }
}

static bool is_closed(int fd)
{
    char byte;
    ssize_t n = recv(fd, &byte, 1, MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN);
}

/* Neither strangers that say nothing nor holders of a certificate that do not go on. */
static void strangers_lock_nobody_out(void **state)
{
    (void)state;
    enum { SILENT = 2100, GREETED = 20 };
    static int silent[SILENT];
    struct peer greeted[GREETED];
    struct rlimit files = {.rlim_cur = 6000, .rlim_max = 6000};
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    files.rlim_max = before.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    struct world *w = listening();
    for (size_t i = 0; i < GREETED; i++)
        assert_int_equal(peer_open(w, &greeted[i]), 0);
    strangers(w, "127.0.0.1", silent, SILENT);
    int64_t began_ms = now_ms();
    start_uplink(w);
    UNTIL(5000, status_of(w).connected);
    print_message("linked after %d ms\n", (int)(now_ms() - began_ms));
    for (size_t i = 0; i < SILENT; i++)
        close(silent[i]);
    for (size_t i = 0; i < GREETED; i++)
        peer_close(&greeted[i]);
    assert_int_equal(status_of(w).connects, 1);
    world_free(w);
    setrlimit(RLIMIT_NOFILE, &before);
}

/* So many that a connection from their address lives too short to prove anything: their address
 * pays, an edge elsewhere does not notice. */
static void a_crowd_displaces_itself(void **state)
{
    (void)state;
    enum { ROOM = 16, FEW = 4, CROWD = 300 };
    struct world *w = world_new(1, 100);
    struct peer few[FEW];
    int crowd[CROWD];
    pki_issue(&w->pki, "other", NULL);
    w->receiver_config.strangers_max = ROOM;
    start_receiver(w);
    for (size_t i = 0; i < FEW; i++)
        assert_int_equal(peer_open(w, &few[i]), 0);
    strangers(w, "127.0.0.2", crowd, CROWD);
    UNTIL(5000, is_closed(crowd[CROWD - 1 - (ROOM - FEW)]));
    for (size_t i = 0; i < CROWD; i++) {
        assert_int_equal(is_closed(crowd[i]), i < CROWD - (ROOM - FEW)); /* the oldest */
        close(crowd[i]);
    }
    for (size_t i = 0; i < FEW; i++)
        assert_int_equal(ask_block(&few[i]), FRAME_HELLO_FIRST);
    for (size_t i = 0; i < FEW; i++)
        peer_close(&few[i]);
    world_free(w);
}

/* Asks and asks and never listens: neither memory nor other edges suffer. */
static void a_peer_that_never_listens_is_held_back(void **state)
{
    (void)state;
    struct world *w = listening();
    struct peer p;
    uint8_t nonce[FRAME_NONCE_BYTES];
    enum frame_refusal refusal;
    assert_int_equal(peer_open(w, &p), 0);
    get_nonce(&p, nonce);
    assert_int_equal(prove(w, &p, nonce, &w->vault.edge, "edge", &refusal), FRAME_WELCOME);
    struct chain_claim claims[FRAME_CHAINS_MAX] = {{.next = 0}};
    struct pl_buf out;
    pl_buf_init(&out, LIMIT_FRAME_BYTES);
    assert_int_equal(frame_put_ping(&out, 1, &settled, claims, FRAME_CHAINS_MAX), PL_OK);
    struct pipe_message *m = pipe_message_new(0x80000001, pl_buf_span(&out));
    nng_aio_set_timeout(p.aio, 300);
    int rv = 0;
    size_t sent = 0;
    while (rv == 0 && sent < 100000) { /* over a gigabyte, were it taken */
        rv = say_raw(&p, m->bytes, PIPE_HEAD_BYTES + m->len);
        sent++;
    }
    assert_int_equal(rv, NNG_ETIMEDOUT);
    assert_true(sent < 20000);
    free(m);
    pl_buf_release(&out);
    start_uplink(w);
    UNTIL(5000, status_of(w).connected);
    peer_close(&p);
    world_free(w);
}

static void put_feed(struct peer *p, const struct pl_id128 *epoch, uint64_t position,
                     uint32_t wait_ms, uint32_t id)
{
    struct pl_buf out;
    struct frame_feed feed = {.epoch = *epoch, .position = position, .wait_ms = wait_ms};
    pl_buf_init(&out, 64);
    assert_int_equal(frame_put_feed(&out, &feed), PL_OK);
    assert_int_equal(put(p, pl_buf_span(&out), id), 0);
    pl_buf_release(&out);
}

/* As edges do each second: a pipe without a byte for ten is swept. */
static void ping_all(struct peer *peers, size_t count)
{
    struct pl_buf out, in;
    struct frame f;
    pl_buf_init(&out, 64);
    pl_buf_init(&in, LIMIT_FRAME_BYTES);
    assert_int_equal(frame_put_ping(&out, pl_wall_ms(pl_clock_system()), &settled, NULL, 0), PL_OK);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(ask(&peers[i], pl_buf_span(&out), &f, &in), 0);
        assert_int_equal(f.type, FRAME_PONG);
    }
    pl_buf_release(&out);
    pl_buf_release(&in);
}

/* Polls of many edges are parked at once, and all hear the news at once. */
static void many_parked_polls_wake_together(void **state)
{
    (void)state;
    enum { EDGES = 40 };
    struct world *w = listening();
    struct peer p[EDGES];
    struct pl_buf in;
    struct frame f;
    uint8_t nonce[FRAME_NONCE_BYTES];
    enum frame_refusal refusal;
    uint32_t id;
    pl_buf_init(&in, LIMIT_FRAME_BYTES);
    w->vault.feed_items = 5;
    w->vault.any_edge = true;
    int64_t pinged_ms = now_ms();
    for (size_t i = 0; i < EDGES; i++) {
        struct pl_id128 edge = {{(uint8_t)i, 1}};
        if (now_ms() - pinged_ms >= 1000) {
            pinged_ms = now_ms();
            ping_all(p, i);
        }
        assert_int_equal(peer_open(w, &p[i]), 0);
        get_nonce(&p[i], nonce);
        assert_int_equal(prove(w, &p[i], nonce, &edge, "edge", &refusal), FRAME_WELCOME);
        put_feed(&p[i], &w->vault.epoch, 5, 30000, 0x80000000u + (uint32_t)i);
    }
    assert_int_equal(ask_block(&p[0]), FRAME_ACKS); /* which a parked poll does not hold up */
    pass_ms(50);
    SET(&w->vault, feed_items, 7);
    uint64_t looks = READ(&w->vault, feed_calls);
    int64_t began_ms = now_ms();
    receiver_feed_changed(w->receiver);
    for (size_t i = 0; i < EDGES; i++) {
        assert_int_equal(get(&p[i], &f, &id, &in), 0);
        assert_int_equal(f.type, FRAME_PAGE);
        assert_int_equal(id, 0x80000000u + (uint32_t)i);
        assert_int_equal(f.page.position, 7);
        assert_true(f.page.caught_up && !f.page.restart);
    }
    print_message("%d polls answered within %d ms\n", EDGES, (int)(now_ms() - began_ms));
    assert_true(now_ms() - began_ms < 500);
    assert_in_range(READ(&w->vault, feed_calls), looks + 1, looks + 2); /* not once for each */

    put_feed(&p[0], &w->vault.epoch, 7, 30000, 0x80000001); /* the second takes its place */
    put_feed(&p[0], &w->vault.epoch, 7, 300, 0x80000002);
    began_ms = now_ms();
    assert_int_equal(get(&p[0], &f, &id, &in), 0);
    assert_int_equal(id, 0x80000002);
    assert_int_equal(f.page.items.len, 0);
    assert_true(f.page.caught_up);
    assert_in_range(now_ms() - began_ms, 250, 2000);
    for (size_t i = 0; i < EDGES; i++)
        peer_close(&p[i]);
    pl_buf_release(&in);
    world_free(w);
}

/* nng's own sockets speak the same on the wire. */
static void a_real_req_socket_is_understood(void **state)
{
    (void)state;
    struct world *w = listening();
    nng_tls_config *tls = tls_of(w, "edge", "ca.pem");
    nng_socket socket;
    nng_dialer dialer;
    nng_msg *msg;
    assert_int_equal(nng_req0_open(&socket), 0);
    assert_int_equal(nng_dialer_create(&dialer, socket, w->origin_url), 0);
    assert_int_equal(nng_dialer_set_ptr(dialer, NNG_OPT_TLS_CONFIG, tls), 0);
    assert_int_equal(nng_dialer_start(dialer, 0), 0);
    nng_socket_set_ms(socket, NNG_OPT_RECVTIMEO, 5000);
    assert_int_equal(nng_msg_alloc(&msg, 2), 0);
    memcpy(nng_msg_body(msg), "\x01\x01", 2); /* HELLO */
    assert_int_equal(nng_sendmsg(socket, msg, 0), 0);
    assert_int_equal(nng_recvmsg(socket, &msg, 0), 0);
    struct frame f;
    assert_int_equal(frame_parse(pl_span(nng_msg_body(msg), nng_msg_len(msg)), &f, NULL), PL_OK);
    assert_int_equal(f.type, FRAME_CHALLENGE);
    nng_msg_free(msg);
    nng_close(socket); /* idle: nothing is half way */
    nng_tls_config_free(tls);
    world_free(w);
}

static void a_revoked_edge_is_out_within_a_second(void **state)
{
    (void)state;
    struct world *w = world_new(1, 4000);
    start_receiver(w);
    start_uplink(w);
    spool_add(&w->spool, 0, 4000);
    uplink_wake(w->uplink);
    UNTIL(10000, spool_settled(&w->spool) > 200); /* in full flight */
    SET(&w->vault, revoked, true);
    int64_t began_ms = now_ms();
    receiver_edge_changed(w->receiver, &w->vault.edge);
    struct receiver_session sessions[2];
    assert_int_equal(receiver_sessions(w->receiver, sessions, 2), 0);
    UNTIL(1000, READ(&w->vault, sessions_down) == 1);
    uint64_t stored = READ(&w->vault, stored);
    UNTIL(3000, status_of(w).revoked);
    assert_false(status_of(w).connected);
    assert_non_null(strstr(status_of(w).reason, "revoked"));
    assert_in_range(now_ms() - began_ms, 0, 3000);
    pass_ms(300);
    assert_int_equal(READ(&w->vault, stored), stored);

    SET(&w->vault, revoked, false); /* enrolled again: it comes back by itself */
    UNTIL(8000, status_of(w).connected);
    assert_false(status_of(w).revoked);
    assert_string_equal(status_of(w).reason, "");
    UNTIL(60000, spool_settled(&w->spool) == 4000);
    assert_int_equal(w->spool.twice, 0);
    world_free(w);
}

/* Fifty times in full flight: what hung nng's own sockets for good. */
static void sessions_may_be_ended_under_load_any_number_of_times(void **state)
{
    (void)state;
    struct world *w = world_new(1, 20000);
    vault_mode(&w->vault, VAULT_REVERSED);
    start_receiver(w);
    start_uplink(w);
    for (int i = 1; i <= 50; i++) {
        uint64_t goal = spool_settled(&w->spool) + 40;
        spool_add(&w->spool, 0, 100);
        uplink_wake(w->uplink);
        UNTIL(20000, spool_settled(&w->spool) >= goal);
        receiver_edge_changed(w->receiver, &w->vault.edge);
    }
    UNTIL(30000, spool_settled(&w->spool) == 5000);
    assert_int_equal(w->spool.twice, 0);
    assert_int_equal(READ(&w->vault, stored), 5000);
    stop_uplink(w);
    struct receiver_session sessions[2];
    UNTIL(5000, receiver_sessions(w->receiver, sessions, 2) == 0);
    world_free(w);
}

static void a_wrong_identity_is_explained(void **state)
{
    (void)state;
    struct world *w = world_new(1, 100), *elsewhere = world_new(1, 100);
    start_receiver(w);
    w->uplink_config.server_name = "another.test"; /* not in the origin's certificate */
    start_uplink(w);
    UNTIL(8000, strstr(status_of(w).reason, "handshake") != NULL);
    assert_false(status_of(w).connected);
    stop_uplink(w);
    w->uplink_config.server_name = "origin.test";

    strcpy(w->ca, elsewhere->ca); /* a CA that did not sign the origin's */
    start_uplink(w);
    UNTIL(8000, strstr(status_of(w).reason, "handshake") != NULL);
    stop_uplink(w);
    world_configure(w);

    strcpy(w->edge_cert, elsewhere->edge_cert); /* a certificate the origin's CA did not sign */
    strcpy(w->edge_key, elsewhere->edge_key);
    start_uplink(w);
    UNTIL(8000, strstr(status_of(w).reason, "handshake") != NULL);
    assert_int_equal(READ(&w->vault, sessions_up), 0);
    stop_uplink(w);
    world_free(w);
    world_free(elsewhere);
}

static void a_wrong_configuration_is_explained(void **state)
{
    (void)state;
    struct world *w = world_new(1, 100);
    struct uplink *up = NULL;
    struct receiver *r = NULL;
    struct pl_why why = {0};
    char missing[128];
    pki_path(&w->pki, "missing.pem", missing);

    w->uplink_config.origin_url = "tcp://127.0.0.1:1";
    assert_int_equal(uplink_new(&up, &w->uplink_config, &why), PL_EINVAL);
    assert_string_equal(why.field, "origin_url");
    w->uplink_config.origin_url = w->origin_url;
    w->uplink_config.region = "a region too long";
    assert_int_equal(uplink_new(&up, &w->uplink_config, &why), PL_EINVAL);
    assert_string_equal(why.field, "region");
    w->uplink_config.region = "eu";
    w->uplink_config.ca_file = missing;
    assert_int_equal(uplink_new(&up, &w->uplink_config, &why), PL_ENOTFOUND);
    assert_non_null(strstr(why.text, missing));
    w->uplink_config.ca_file = w->ca;
    w->uplink_config.cert_file = w->origin_cert; /* not this key's */
    assert_int_equal(uplink_new(&up, &w->uplink_config, &why), PL_EINVAL);
    assert_non_null(strstr(why.text, w->edge_key));
    w->uplink_config.cert_file = w->edge_key; /* not a certificate at all */
    assert_int_not_equal(uplink_new(&up, &w->uplink_config, &why), PL_OK);
    assert_non_null(strstr(why.text, w->edge_key));
    w->uplink_config.cert_file = w->edge_cert;
    chmod(w->edge_key, 0644);
    assert_int_equal(uplink_new(&up, &w->uplink_config, &why), PL_EDENIED);
    assert_null(up);

    w->receiver_config.listen_url = "tls+tcp//nowhere";
    assert_int_equal(receiver_new(&r, &w->receiver_config, &why), PL_EINVAL);
    assert_string_equal(why.field, "listen_url");
    w->receiver_config.listen_url = w->listen_url;
    w->receiver_config.key_file = missing;
    assert_int_equal(receiver_new(&r, &w->receiver_config, &why), PL_ENOTFOUND);
    assert_null(r);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_handed_on_without_proof),
        cmocka_unit_test(a_nonce_is_good_once_and_here_only),
        cmocka_unit_test(malformed_frames_are_refused_by_field),
        cmocka_unit_test(what_is_no_message_ends_the_connection),
        cmocka_unit_test(strangers_lock_nobody_out),
        cmocka_unit_test(a_crowd_displaces_itself),
        cmocka_unit_test(a_peer_that_never_listens_is_held_back),
        cmocka_unit_test(many_parked_polls_wake_together),
        cmocka_unit_test(a_real_req_socket_is_understood),
        cmocka_unit_test(a_revoked_edge_is_out_within_a_second),
        cmocka_unit_test(sessions_may_be_ended_under_load_any_number_of_times),
        cmocka_unit_test(a_wrong_identity_is_explained),
        cmocka_unit_test(a_wrong_configuration_is_explained),
    };
    cmocka_set_test_filter(getenv("LINK_TEST")); /* one by name; NULL: all */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
