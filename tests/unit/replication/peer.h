/* Peers of a receiver that say what the test wants. */
#ifndef POLDER_TESTS_REPLICATION_PEER_H
#define POLDER_TESTS_REPLICATION_PEER_H

#include "tests/unit/replication/world.h"

#include "replication/link.h"
#include "replication/pipe.h"

/* A peer that says what the test wants: a TLS stream, nothing more. */
struct peer {
    nng_tls_config *tls;
    nng_stream_dialer *dialer;
    nng_aio *aio;
    nng_stream *stream;
};

static inline int wait_io(struct peer *p)
{
    nng_aio_wait(p->aio);
    return nng_aio_result(p->aio);
}

/* All of the bytes, in one direction. */
static inline int transfer(struct peer *p, void (*move)(nng_stream *, nng_aio *), uint8_t *at,
                           size_t len)
{
    while (len > 0) {
        nng_iov iov = {.iov_buf = at, .iov_len = len};
        nng_aio_set_iov(p->aio, 1, &iov);
        move(p->stream, p->aio);
        int rv = wait_io(p);
        if (rv != 0)
            return rv;
        at += nng_aio_count(p->aio);
        len -= nng_aio_count(p->aio);
    }
    return 0;
}

static inline int say_raw(struct peer *p, const void *bytes, size_t len)
{
    return transfer(p, nng_stream_send, (uint8_t *)(uintptr_t)bytes, len);
}

static inline int hear_raw(struct peer *p, void *bytes, size_t len)
{
    return transfer(p, nng_stream_recv, bytes, len);
}

static inline nng_tls_config *tls_of(struct world *w, const char *name, const char *ca)
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
static inline int peer_open(struct world *w, struct peer *p)
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

static inline void peer_close(struct peer *p)
{
    nng_stream_dialer_free(p->dialer);
    nng_stream_close(p->stream);
    nng_stream_free(p->stream);
    nng_aio_free(p->aio);
    nng_tls_config_free(p->tls);
}

static inline int put(struct peer *p, struct pl_span request, uint32_t id)
{
    struct pipe_message *m = pipe_message_new(id, request);
    int rv = say_raw(p, m->bytes, PIPE_HEAD_BYTES + m->len);
    free(m);
    return rv;
}

/* The next reply, parsed; its views point into *body. */
static inline int get(struct peer *p, struct frame *reply, uint32_t *id, struct pl_buf *body)
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

static inline int ask(struct peer *p, struct pl_span request, struct frame *reply,
                      struct pl_buf *body)
{
    uint32_t id = 0;
    int rv = put(p, request, 0x80000007);
    if (rv == 0)
        rv = get(p, reply, &id, body);
    if (rv == 0)
        assert_int_equal(id, 0x80000007);
    return rv;
}

static inline void get_nonce(struct peer *p, uint8_t nonce[FRAME_NONCE_BYTES])
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
static inline enum frame_type prove(struct world *w, struct peer *p, const uint8_t *nonce,
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

static inline enum frame_type ask_block(struct peer *p)
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

static inline struct world *listening(void)
{
    struct world *w = world_new(1, 100);
    pki_issue(&w->pki, "other", NULL);
    start_receiver(w);
    return w;
}

static inline int stranger(struct world *w, const char *from)
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

#endif
