/*
 * profile_offers: offers shown to one person, the responses to them, and the response rate of each
 * principle. Private to profiles.
 */
#ifndef POLDER_ORIGIN_SUBJECTS_PROFILE_OFFERS_H
#define POLDER_ORIGIN_SUBJECTS_PROFILE_OFFERS_H

#include "proto/wire/event.h"
#include "proto/wire/json.h"

/* A showing, or a response to one. Texts may be NULL: not said. */
struct profile_offer {
    int64_t at_ms;
    char *id, *campaign, *variant, *principle, *kind;
    /* of a showing that was responded to */
    bool responded;
    int64_t responded_ms;
    const char *response; /* the response's kind */
};
struct profile_offer_list {
    struct profile_offer *items;
    size_t count, room;
};
struct profile_offers {
    struct profile_offer_list shown, responses;
    uint64_t unmatched; /* responses to what nobody is known to have shown */
};

/* PL_ELIMIT: too many. */
enum pl_err profile_offers_take(struct profile_offers *offers, const struct event *event);
/* Finds for each response its showing: by the offer's id, else the last one of the campaign and
 * variant that has none yet. */
enum pl_err profile_offers_join(struct profile_offers *offers);
/* Members "offers", "unmatched_responses" and "dna". After joining. */
void profile_offers_write(const struct profile_offers *offers, struct json_writer *w);
void profile_offers_release(struct profile_offers *offers);

/* A copy of what is told of a text; NULL where it is empty. */
char *profile_text(struct pl_span text);

#endif
