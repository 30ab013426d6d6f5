#include "origin/subjects/profile_offers.h"
#include "origin/request.h"
#include "origin/subjects/beta.h"
#include "origin/subjects/profiles.h"

#include <stdlib.h>

#define PRINCIPLES_MAX 1000

static void forget(struct profile_offer_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i].id);
        free(list->items[i].campaign);
        free(list->items[i].variant);
        free(list->items[i].principle);
        free(list->items[i].kind);
    }
    free(list->items);
}

void profile_offers_release(struct profile_offers *offers)
{
    forget(&offers->shown);
    forget(&offers->responses);
}

enum pl_err profile_offers_take(struct profile_offers *offers, const struct event *event)
{
    struct profile_offer_list *list =
        event_u64(event, EVENT_TYPE) == EVENT_OFFER_SHOWN ? &offers->shown : &offers->responses;
    if (list->count == PROFILE_OFFERS_MAX)
        return PL_ELIMIT;
    if (list->count == list->room) {
        const size_t room = list->room == 0 ? 64 : 2 * list->room;
        struct profile_offer *items = realloc(list->items, room * sizeof(*items));
        if (items == NULL)
            return PL_ENOMEM;
        list->items = items;
        list->room = room;
    }
    list->items[list->count++] =
        (struct profile_offer){.at_ms = event_i64(event, EVENT_ACCEPTED_MS),
                               .id = profile_text(event_str(event, EVENT_OFFER_ID)),
                               .campaign = profile_text(event_str(event, EVENT_OFFER_CAMPAIGN)),
                               .variant = profile_text(event_str(event, EVENT_OFFER_VARIANT)),
                               .principle = profile_text(event_str(event, EVENT_OFFER_PRINCIPLE)),
                               .kind = profile_text(event_str(event, EVENT_OFFER_RESPONSE_KIND))};
    return PL_OK;
}

/* ---- joining */

static int compare_text(const char *a, const char *b)
{
    if (a == NULL || b == NULL)
        return (a != NULL) - (b != NULL);
    return strcmp(a, b);
}

static int by_id(const void *a, const void *b)
{
    const struct profile_offer *x = a, *y = b;
    return compare_text(x->id, y->id);
}

static int by_what_and_time(const void *a, const void *b)
{
    const struct profile_offer *x = a, *y = b;
    int order = compare_text(x->campaign, y->campaign);
    if (order == 0)
        order = compare_text(x->variant, y->variant);
    return order != 0 ? order : (x->at_ms > y->at_ms) - (x->at_ms < y->at_ms);
}

static int newest_first(const void *a, const void *b)
{
    const struct profile_offer *x = a, *y = b;
    return (y->at_ms > x->at_ms) - (y->at_ms < x->at_ms);
}

static void mark(struct profile_offer *shown, const struct profile_offer *response)
{
    if (shown->responded && shown->responded_ms <= response->at_ms)
        return;
    shown->responded = true;
    shown->responded_ms = response->at_ms;
    shown->response = response->kind;
}

/* The last showing of the same that is not later than the response. */
static struct profile_offer *last_of(const struct profile_offer_list *shown,
                                     const struct profile_offer *response)
{
    size_t low = 0, high = shown->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (by_what_and_time(&shown->items[middle], response) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    struct profile_offer *found = low == 0 ? NULL : &shown->items[low - 1];
    return found != NULL && compare_text(found->campaign, response->campaign) == 0 &&
                   compare_text(found->variant, response->variant) == 0
               ? found
               : NULL;
}

enum pl_err profile_offers_join(struct profile_offers *offers)
{
    struct profile_offer_list *shown = &offers->shown, *responses = &offers->responses;
    bool *joined = calloc(responses->count + 1, sizeof(*joined));
    if (joined == NULL)
        return PL_ENOMEM;
    if (shown->count > 0)
        qsort(shown->items, shown->count, sizeof(shown->items[0]), by_id);
    for (size_t i = 0; i < responses->count && shown->count > 0; i++) {
        struct profile_offer *found = responses->items[i].id == NULL
                                          ? NULL
                                          : bsearch(&responses->items[i], shown->items,
                                                    shown->count, sizeof(shown->items[0]), by_id);
        joined[i] = found != NULL;
        if (found != NULL)
            mark(found, &responses->items[i]);
    }
    if (shown->count > 0)
        qsort(shown->items, shown->count, sizeof(shown->items[0]), by_what_and_time);
    for (size_t i = 0; i < responses->count; i++) {
        struct profile_offer *found = joined[i] || responses->items[i].id != NULL
                                          ? NULL
                                          : last_of(shown, &responses->items[i]);
        if (found != NULL)
            mark(found, &responses->items[i]);
        offers->unmatched += !joined[i] && found == NULL;
    }
    if (shown->count > 0)
        qsort(shown->items, shown->count, sizeof(shown->items[0]), newest_first);
    free(joined);
    return PL_OK;
}

/* ---- writing */

static void write_text(const char *name, const char *text, struct json_writer *w)
{
    if (text != NULL)
        json_write_pair_text(w, name, text);
}

static void write_offers(const struct profile_offer_list *shown, struct json_writer *w)
{
    json_write_key(w, "offers");
    json_write_array(w);
    for (size_t i = 0; i < shown->count && i < PROFILE_SHOWN_MAX; i++) {
        const struct profile_offer *o = &shown->items[i];
        json_write_object(w);
        json_write_pair_time(w, "at", o->at_ms);
        write_text("campaign", o->campaign, w);
        write_text("variant", o->variant, w);
        write_text("principle", o->principle, w);
        json_write_pair_bool(w, "responded", o->responded);
        if (o->responded)
            json_write_pair_time(w, "responded_at", o->responded_ms);
        write_text("response", o->responded ? o->response : NULL, w);
        json_write_object_end(w);
    }
    json_write_array_end(w);
}

struct rate {
    const char *principle;
    uint64_t shown, responded;
};

static int by_principle(const void *a, const void *b)
{
    const struct rate *x = a, *y = b;
    return strcmp(x->principle, y->principle);
}

static void write_rate(const struct rate *rate, struct json_writer *w)
{
    const double alpha = 1 + (double)rate->responded;
    const double beta = 1 + (double)(rate->shown - rate->responded);
    json_write_object(w);
    json_write_pair_text(w, "principle", rate->principle);
    json_write_pair_u64(w, "shown", rate->shown);
    json_write_pair_u64(w, "responded", rate->responded);
    json_write_key(w, "alpha");
    json_write_f64(w, alpha);
    json_write_key(w, "beta");
    json_write_f64(w, beta);
    json_write_key(w, "mean");
    json_write_f64(w, beta_mean(alpha, beta));
    json_write_key(w, "sd");
    json_write_f64(w, beta_sd(alpha, beta));
    json_write_key(w, "interval_95");
    json_write_array(w);
    json_write_f64(w, beta_quantile(alpha, beta, 0.025));
    json_write_f64(w, beta_quantile(alpha, beta, 0.975));
    json_write_array_end(w);
    json_write_object_end(w);
}

static void write_dna(const struct profile_offer_list *shown, struct json_writer *w)
{
    struct rate *rates = calloc(PRINCIPLES_MAX, sizeof(*rates));
    size_t count = 0;
    for (size_t i = 0; rates != NULL && i < shown->count; i++) {
        const struct profile_offer *o = &shown->items[i];
        size_t at = 0;
        if (o->principle == NULL) /* a control tries nothing */
            continue;
        while (at < count && strcmp(rates[at].principle, o->principle) != 0)
            at++;
        if (at == PRINCIPLES_MAX)
            continue;
        count += at == count;
        rates[at].principle = o->principle;
        rates[at].shown++;
        rates[at].responded += o->responded;
    }
    if (count > 0)
        qsort(rates, count, sizeof(rates[0]), by_principle);
    json_write_key(w, "dna");
    json_write_array(w);
    for (size_t i = 0; i < count; i++)
        write_rate(&rates[i], w);
    json_write_array_end(w);
    free(rates);
}

void profile_offers_write(const struct profile_offers *offers, struct json_writer *w)
{
    write_offers(&offers->shown, w);
    json_write_pair_u64(w, "unmatched_responses", offers->unmatched);
    write_dna(&offers->shown, w);
}
