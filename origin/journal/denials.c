#include "origin/journal/denials.h"

#include <stdlib.h>

#define WAITING                                                                                    \
    (DENIALS_STRANGERS_LINES + DENIALS_TOKENS_LINES + DENIALS_LINKS_LINES +                        \
     3 * (DENIALS_SOURCES + 1))

struct source {
    uint8_t key[16];
    unsigned told;
    struct denial counted; /* the last one that was only counted; count 0: none */
};

struct window {
    unsigned lines_each, lines_all;
    int64_t began_ms, length_ms;
    unsigned told;
    size_t count;
    struct source sources[DENIALS_SOURCES];
    struct denial others; /* of sources without room; count 0: none */
};

struct denials {
    struct window strangers, tokens, links;
    struct denial waiting[WAITING]; /* a ring */
    size_t first, count;
};

enum pl_err denials_new(struct denials **out)
{
    struct denials *denials = calloc(1, sizeof(*denials));
    if (denials == NULL) {
        return PL_ENOMEM;
    }
    denials->strangers = (struct window){.lines_each = DENIALS_STRANGER_LINES,
                                         .lines_all = DENIALS_STRANGERS_LINES,
                                         .length_ms = DENIALS_MINUTE_MS};
    denials->tokens = (struct window){.lines_each = DENIALS_TOKEN_LINES,
                                      .lines_all = DENIALS_TOKENS_LINES,
                                      .length_ms = DENIALS_MINUTE_MS};
    denials->links = (struct window){.lines_each = DENIALS_LINK_LINES,
                                     .lines_all = DENIALS_LINKS_LINES,
                                     .length_ms = DENIALS_MINUTE_MS};
    *out = denials;
    return PL_OK;
}

void denials_free(struct denials *denials)
{
    free(denials);
}

static void put(struct denials *denials, const struct denial *denial)
{
    denials->waiting[(denials->first + denials->count++) % WAITING] = *denial;
}

/* Lines of what was only counted. Without room for all of them the window goes on. */
static void close_window(struct denials *denials, struct window *window, int64_t mono_ms)
{
    bool counted = window->others.count > 0;
    if (WAITING - denials->count < window->count + 1) {
        return;
    }
    for (size_t i = 0; i < window->count; i++) {
        if (window->sources[i].counted.count > 0) {
            put(denials, &window->sources[i].counted);
            counted = true;
        }
    }
    if (window->others.count > 0) {
        put(denials, &window->others);
    }
    window->began_ms = mono_ms;
    window->length_ms = counted ? DENIALS_HOUR_MS : DENIALS_MINUTE_MS;
    window->told = 0;
    window->count = 0;
    window->others.count = 0;
}

static void close_if_over(struct denials *denials, struct window *window, int64_t mono_ms)
{
    bool empty = window->count == 0 && window->others.count == 0;
    if (mono_ms - window->began_ms >= window->length_ms && !empty) {
        close_window(denials, window, mono_ms);
    } else if (mono_ms - window->began_ms >= window->length_ms) {
        window->began_ms = mono_ms;
        window->length_ms = DENIALS_MINUTE_MS;
    }
}

static void key_of(const struct denial *denial, uint8_t key[16])
{
    memset(key, 0, 16);
    if (denial->known) {
        memcpy(key, denial->token.id.bytes, 16);
    } else if (denial->object[0] != '\0') {
        memcpy(key, denial->object, 16); /* half of an id */
    } else {
        memcpy(key, denial->from, denial->from_bytes < 8 ? denial->from_bytes : 8);
    }
}

/* NULL: no room for one more. */
static struct source *source_of(struct window *window, const struct denial *denial)
{
    uint8_t key[16];
    key_of(denial, key);
    for (size_t i = 0; i < window->count; i++) {
        if (memcmp(window->sources[i].key, key, sizeof(key)) == 0) {
            return &window->sources[i];
        }
    }
    if (window->count == DENIALS_SOURCES) {
        return NULL;
    }
    struct source *source = &window->sources[window->count++];
    *source = (struct source){.told = 0};
    memcpy(source->key, key, sizeof(key));
    return source;
}

static void count_one(struct denial *counted, const struct denial *denial)
{
    uint64_t count = counted->count + 1;
    *counted = *denial;
    counted->count = count;
}

bool denials_take(struct denials *denials, const struct denial *denial, int64_t mono_ms)
{
    struct window *window = denial->link    ? &denials->links
                            : denial->known ? &denials->tokens
                                            : &denials->strangers;
    close_if_over(denials, window, mono_ms);
    struct source *source = source_of(window, denial);
    if (source == NULL) {
        count_one(&window->others, denial);
        window->others.known = false;
        window->others.from_bytes = 0;
        window->others.object[0] = '\0';
        return false;
    }
    if (source->told >= window->lines_each || window->told >= window->lines_all ||
        denials->count == WAITING) {
        count_one(&source->counted, denial);
        return false;
    }
    source->told++;
    window->told++;
    put(denials, denial);
    return true;
}

const struct denial *denials_next(struct denials *denials, int64_t mono_ms)
{
    close_if_over(denials, &denials->strangers, mono_ms);
    close_if_over(denials, &denials->tokens, mono_ms);
    close_if_over(denials, &denials->links, mono_ms);
    return denials->count == 0 ? NULL : &denials->waiting[denials->first];
}

void denials_written(struct denials *denials)
{
    denials->first = (denials->first + 1) % WAITING;
    denials->count--;
}

void denials_close_windows(struct denials *denials)
{
    close_window(denials, &denials->strangers, denials->strangers.began_ms);
    close_window(denials, &denials->tokens, denials->tokens.began_ms);
    close_window(denials, &denials->links, denials->links.began_ms);
}
