/*
 * decide: which variant of a campaign a visitor sees, for trackers that ask an edge instead of
 * deciding in the page.
 *
 * Promise: the answers of the snippet's own functions (snippet/decide.js), for the same visitor,
 * campaign and page; tests/unit/edge/bucketing.json and targeting.json hold both to it. A rule
 * about something that is not known here does not fit.
 */
#ifndef POLDER_EDGE_DECIDE_H
#define POLDER_EDGE_DECIDE_H

#include "proto/wire/json.h"

enum decide_device { DECIDE_DESKTOP, DECIDE_MOBILE, DECIDE_TABLET };
enum decide_audience { DECIDE_UNKNOWN, DECIDE_NEW, DECIDE_RETURNING };

/* Where the visitor is. */
struct decide_page {
    struct pl_span origin;   /* "https://shop.example" */
    struct pl_span pathname; /* "/p/boots" */
    struct pl_span search;   /* with its "?", or empty */
    struct pl_span locale;   /* empty: unknown */
    enum decide_device device;
    enum decide_audience audience;
    int64_t now_ms;
};

/* Takes a URL apart; false: it is not one of http or https. */
bool decide_split_url(struct pl_span url, struct decide_page *page);
enum decide_device decide_device_of(struct pl_span user_agent);

/* campaign: of a config's public form. */
bool decide_fits(struct json campaign, const struct decide_page *page);
/* False: this visitor takes no part. */
bool decide_variant(struct json campaign, struct pl_span visitor, struct json *variant);

#endif
