/*
 * consent_parts: what the files behind the consent routes share. Nobody else includes it.
 */
#ifndef POLDER_EDGE_CONSENT_PARTS_H
#define POLDER_EDGE_CONSENT_PARTS_H

#include "edge/consent.h"
#include "edge/cookie.h"
#include "edge/reply.h"
#include "edge/suppressions.h"

#define CONSENT_RETRY_S 10
#define REDIRECT_MAX    2048
/* Ids that an opt-out is about: the visitor's, the user's, the cookie's. */
#define CONSENT_PEOPLE_MAX 3

/* ---- what a request asks for (consent_wish.c) */

/* Views of the request and of the loop's scratch. */
struct wish {
    struct http_request *request;
    struct edge_loop *loop;
    struct cookie_site site;
    const struct catalog_entry *entry; /* NULL: of no known account */
    bool unsure;                       /* entry NULL, and the edge may not know all accounts */
    struct pl_span key, redirect, consent, request_id;
    struct pl_span ids[CONSENT_PEOPLE_MAX];
    unsigned id_count, named_count; /* all; those that the client named, which come first */
};

/* The query, and a body: a form, or JSON whatever it is called, as a beacon or curl -d sends it.
 * PL_EINVAL: a body that names nobody and has something that is not known; two people in one
 * place. */
enum pl_err wish_read(struct http_request *request, struct wish *wish, struct pl_why *why);
/* Says what an unsure edge answers; what_holds: what of the choice holds in spite of that, "": none
 * was made. PL_ECLOSED. */
enum pl_err wish_fail_unsure(struct pl_why *why, const char *what_holds);
/* Whose page may say yes in its visitor's name, or ask. PL_ECLOSED: this edge cannot know. */
enum pl_err wish_check_page(const struct wish *wish, struct pl_why *why);
/* PL_EINVAL: the redirect leads elsewhere than to the account's own sites, as far as this edge
 * knows them. */
enum pl_err wish_check_redirect(const struct wish *wish, struct pl_why *why);

/* ---- what is said on each of the ids, as events and as rows (consent_record.c) */

/* The id that a client knows an opt-out by says in its low bits of how many people's ids it is;
 * each has a row of its own, with its index there. */
#define CONSENT_LOW_BITS 3u
struct record {
    struct suppression said[CONSENT_IDS_MAX * CONSENT_PEOPLE_MAX];
    unsigned count;
};

/* ---- what is answered (consent_answer.c) */

struct answer {
    bool out;
    struct pl_id128 consent_id;
    char cookies[2][COOKIE_LINE_BYTES];
    unsigned cookie_count;
    char redirect[REDIRECT_MAX + 1];
    struct record record; /* what is to be on disk first */
};

/* value "": forgets the choice. */
void answer_add_choice(struct answer *answer, const struct wish *wish, const char *value);
void answer_add_visitor_deletion(struct answer *answer, const struct wish *wish);
void answer_send(struct http_request *request, const struct answer *answer);
void answer_send_json(struct http_request *request, const struct answer *answer,
                      struct pl_span json);
/* A no is the visitor's even where the edge cannot pass it on: its cookies are set, and a link
 * leads where it says. */
void answer_send_failure(struct http_request *request, const struct answer *answer, int status,
                         int64_t retry_after_s, const struct pl_why *why);

/* Hashes the wish's ids into answer->record and gives the opt-out its id: that of the browser's
 * last (before[0]) where it is about the same ids, that of an earlier try of the same request, or
 * a new one. */
enum pl_err record_optout(const struct wish *wish, const struct pl_id128 *before, size_t count,
                          struct answer *answer);
/* That these opt-outs are taken back. */
void record_optin(const struct wish *wish, const struct pl_id128 *ids, size_t count,
                  struct answer *answer);
/* Answers, once what there is to record is on disk. */
void record_and_answer(const struct wish *wish, const struct answer *answer);

#endif
