#include "origin/subjects/profiles.h"
#include "origin/request.h"
#include "origin/subjects/profile_offers.h"

#include <stdlib.h>

#define WALK_KEYS 100000
#define TEXT_MAX  512 /* of an address or a title that is told */

struct view {
    int64_t at_ms;
    char *url, *title, *referrer; /* NULL: not said */
};

/* Ids as they stand in the events, each once. */
struct id_list {
    struct pl_buf text; /* length(2) bytes … */
    size_t count;
};

struct profile {
    int64_t first_ms, last_ms;
    uint64_t events;
    uint64_t types[EVENT_TYPE_COUNT];
    struct view views[2 * PROFILE_VIEWS_MAX];
    size_t view_count;
    struct id_list visitors, users;
    struct profile_offers offers;
};

/* ---- gathering */

static bool has_id(const struct id_list *list, struct pl_span id)
{
    struct pl_reader r = pl_reader(pl_buf_span(&list->text));
    while (r.rest.len > 0) {
        const size_t len = pl_get_u16(&r);
        if (pl_span_eq(pl_get_span(&r, len), id))
            return true;
    }
    return false;
}

static enum pl_err note_id(struct id_list *list, struct pl_span id)
{
    if (id.len == 0 || id.len > UINT16_MAX || list->count == PROFILE_IDS_MAX || has_id(list, id))
        return PL_OK;
    enum pl_err err = pl_buf_reserve(&list->text, 2 + id.len);
    if (err != PL_OK)
        return err;
    list->count++;
    (void)pl_buf_put_u16(&list->text, (uint16_t)id.len);
    return pl_buf_append_span(&list->text, id);
}

char *profile_text(struct pl_span text)
{
    size_t len = text.len < TEXT_MAX ? text.len : TEXT_MAX;
    if (len == 0)
        return NULL;
    /* Not within a character. */
    while (len > 0 && len < text.len && (text.data[len] & 0xc0) == 0x80)
        len--;
    char *copy = malloc(len + 1);
    if (copy != NULL) {
        memcpy(copy, text.data, len);
        copy[len] = '\0';
    }
    return copy;
}

static int newest_first(const void *a, const void *b)
{
    const struct view *x = a, *y = b;
    return x->at_ms == y->at_ms ? 0 : x->at_ms > y->at_ms ? -1 : 1;
}

static void forget_view(struct view *view)
{
    free(view->url);
    free(view->title);
    free(view->referrer);
}

/* Events come by day and id, not by time: of twice as many the older half goes. */
static void note_view(struct profile *p, const struct event *event, int64_t at_ms)
{
    if (p->view_count == 2 * PROFILE_VIEWS_MAX) {
        qsort(p->views, p->view_count, sizeof(p->views[0]), newest_first);
        while (p->view_count > PROFILE_VIEWS_MAX)
            forget_view(&p->views[--p->view_count]);
    }
    p->views[p->view_count++] =
        (struct view){.at_ms = at_ms,
                      .url = profile_text(event_str(event, EVENT_PAGE_URL)),
                      .title = profile_text(event_str(event, EVENT_PAGE_TITLE)),
                      .referrer = profile_text(event_str(event, EVENT_PAGE_REFERRER))};
}

static enum pl_err take(void *ctx, const struct visitor_event *found)
{
    struct profile *p = ctx;
    const struct event *event = found->event;
    const int64_t at_ms = event_i64(event, EVENT_ACCEPTED_MS);
    const uint64_t type = event_u64(event, EVENT_TYPE);
    if (p->events == 0 || at_ms < p->first_ms)
        p->first_ms = at_ms;
    if (p->events == 0 || at_ms > p->last_ms)
        p->last_ms = at_ms;
    p->events++;
    if (type < EVENT_TYPE_COUNT)
        p->types[type]++;
    enum pl_err err = note_id(&p->visitors, event_str(event, EVENT_VISITOR_ID));
    if (err == PL_OK)
        err = note_id(&p->users, event_str(event, EVENT_USER_ID));
    if (err != PL_OK)
        return err;
    if (type == EVENT_PAGE_VIEW)
        note_view(p, event, at_ms);
    return type == EVENT_OFFER_SHOWN || type == EVENT_OFFER_RESPONSE
               ? profile_offers_take(&p->offers, event)
               : PL_OK;
}

/* ---- writing */

static void write_ids(const struct id_list *list, const char *name, struct json_writer *w)
{
    struct pl_reader r = pl_reader(pl_buf_span(&list->text));
    json_write_key(w, name);
    json_write_array(w);
    while (r.rest.len > 0) {
        const size_t len = pl_get_u16(&r);
        json_write_string(w, pl_get_span(&r, len));
    }
    json_write_array_end(w);
}

static void write_types(const struct profile *p, struct json_writer *w)
{
    json_write_key(w, "types");
    json_write_object(w);
    for (unsigned type = 1; type < EVENT_TYPE_COUNT; type++)
        if (p->types[type] > 0)
            json_write_pair_u64(w, event_type_name((enum event_type)type), p->types[type]);
    json_write_object_end(w);
}

static void write_views(struct profile *p, struct json_writer *w)
{
    qsort(p->views, p->view_count, sizeof(p->views[0]), newest_first);
    json_write_key(w, "page_views");
    json_write_array(w);
    for (size_t i = 0; i < p->view_count && i < PROFILE_VIEWS_MAX; i++) {
        const struct view *view = &p->views[i];
        json_write_object(w);
        json_write_pair_time(w, "at", view->at_ms);
        if (view->url != NULL)
            json_write_pair_text(w, "url", view->url);
        if (view->title != NULL)
            json_write_pair_text(w, "title", view->title);
        if (view->referrer != NULL)
            json_write_pair_text(w, "referrer", view->referrer);
        json_write_object_end(w);
    }
    json_write_array_end(w);
}

static void write_profile(struct profile *p, uint64_t account, uint64_t damaged,
                          struct json_writer *w)
{
    json_write_object(w);
    json_write_pair_account(w, "account", account);
    write_ids(&p->visitors, "visitor_ids", w);
    write_ids(&p->users, "user_ids", w);
    json_write_pair_u64(w, "events", p->events);
    json_write_pair_time(w, "first_seen", p->first_ms);
    json_write_pair_time(w, "last_seen", p->last_ms);
    json_write_pair_u64(w, "damaged", damaged);
    write_types(p, w);
    write_views(p, w);
    profile_offers_write(&p->offers, w);
    json_write_object_end(w);
}

enum pl_err profile_write(struct visitors *visitors, uint64_t account,
                          const struct identities *identities, struct json_writer *w,
                          struct pl_why *why)
{
    struct visitor_cursor cursor = {.day = 0};
    struct profile *p = calloc(1, sizeof(*p));
    enum pl_err err = PL_EAGAIN;
    if (p == NULL)
        return pl_fail(why, PL_ENOMEM, "no memory for a profile");
    pl_buf_init(&p->visitors.text, PROFILE_IDS_MAX * 1024);
    pl_buf_init(&p->users.text, PROFILE_IDS_MAX * 1024);
    while (err == PL_EAGAIN)
        err = visitors_walk(visitors, account, identities, &cursor, WALK_KEYS, take, p);
    if (err == PL_OK)
        err = profile_offers_join(&p->offers);
    if (err == PL_OK)
        write_profile(p, account, cursor.damaged, w);
    else if (err == PL_ELIMIT)
        pl_fail(why, err, "the visitor has more than %d offers: export the events instead",
                PROFILE_OFFERS_MAX);
    else
        pl_fail(why, err, "the visitor's events cannot be read: %s", pl_err_word(err));
    for (size_t i = 0; i < p->view_count; i++)
        forget_view(&p->views[i]);
    pl_buf_wipe(&p->visitors.text);
    pl_buf_wipe(&p->users.text);
    profile_offers_release(&p->offers);
    free(p);
    return err;
}
