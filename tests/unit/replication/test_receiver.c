/* The receiver and peers that are wrong, hostile or revoked; and an edge's own errors. */
#include "tests/unit/replication/peer.h"

#include <nng/protocol/reqrep0/req.h>

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
        cmocka_unit_test(a_real_req_socket_is_understood),
        cmocka_unit_test(a_revoked_edge_is_out_within_a_second),
        cmocka_unit_test(a_wrong_identity_is_explained),
        cmocka_unit_test(a_wrong_configuration_is_explained),
    };
    cmocka_set_test_filter(getenv("LINK_TEST")); /* one by name; NULL: all */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
