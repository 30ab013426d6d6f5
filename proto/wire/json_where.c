#include "proto/wire/json_where.h"

#include <limits.h>
#include <stdio.h>
#include <yajl/yajl_parse.h>

/* yajl tells how far it has read, which at a callback is the end of the token; a token begins
 * after the one before it and whatever punctuation has no callback of its own. */
struct pass {
    yajl_handle yajl;
    struct pl_span text;
    size_t previous_end;
    size_t index; /* simdjson's tape index of the value to come; its root stands at 1 */
    struct json_place *places;
    size_t count;
};

static size_t token_start(const struct pass *pass)
{
    size_t at = pass->previous_end;
    while (at < pass->text.len && memchr(" \t\r\n,:", pass->text.data[at], 6) != NULL)
        at++;
    return at;
}

static int token(struct pass *pass, bool key, size_t tape_words)
{
    for (size_t i = 0; i < pass->count; i++) {
        struct json_place *place = &pass->places[i];
        size_t wanted = place->key ? place->index - 1 : place->index;
        if (place->key == key && wanted == pass->index)
            place->offset = token_start(pass);
    }
    pass->index += tape_words;
    pass->previous_end = yajl_get_bytes_consumed(pass->yajl);
    return 1;
}

static int on_null(void *pass)
{
    return token(pass, false, 1);
}
static int on_bool(void *pass, int v)
{
    (void)v;
    return token(pass, false, 1);
}
static int on_number(void *pass, const char *text, size_t len)
{
    (void)text, (void)len;
    return token(pass, false, 2);
}
static int on_string(void *pass, const unsigned char *text, size_t len)
{
    (void)text, (void)len;
    return token(pass, false, 1);
}
static int on_key(void *pass, const unsigned char *text, size_t len)
{
    (void)text, (void)len;
    return token(pass, true, 1);
}
static int on_bracket(void *pass)
{
    return token(pass, false, 1);
}

static const yajl_callbacks callbacks = {
    .yajl_null = on_null,
    .yajl_boolean = on_bool,
    .yajl_number = on_number,
    .yajl_string = on_string,
    .yajl_map_key = on_key,
    .yajl_start_map = on_bracket,
    .yajl_end_map = on_bracket,
    .yajl_start_array = on_bracket,
    .yajl_end_array = on_bracket,
};

/* PASS_EARLY_END: everything so far was right, but more was to come. */
enum pass_end { PASS_OK, PASS_ERROR, PASS_EARLY_END };

static enum pass_end run(struct pass *pass)
{
    if (yajl_parse(pass->yajl, pass->text.data, pass->text.len) != yajl_status_ok)
        return PASS_ERROR;
    return yajl_complete_parse(pass->yajl) == yajl_status_ok ? PASS_OK : PASS_EARLY_END;
}

void json_find_places(struct pl_span text, struct json_place *places, size_t count)
{
    struct pass pass = {.text = text, .index = 1, .places = places, .count = count};
    for (size_t i = 0; i < count; i++)
        places[i].offset = SIZE_MAX;
    pass.yajl = yajl_alloc(&callbacks, NULL, &pass);
    if (pass.yajl == NULL)
        return;
    (void)run(&pass);
    yajl_free(pass.yajl);
}

/* "parse error: unallowed token at this point in JSON text\n" without the newline. */
static void copy_words(yajl_handle yajl, char *words, size_t words_size)
{
    unsigned char *error = yajl_get_error(yajl, 0, NULL, 0);
    snprintf(words, words_size, "%s", error == NULL ? "parse error" : (const char *)error);
    words[strcspn(words, "\n")] = '\0';
    if (error != NULL)
        yajl_free_error(yajl, error);
}

bool json_find_error(struct pl_span text, size_t *offset, char *words, size_t words_size)
{
    struct pass pass = {.text = text};
    pass.yajl = yajl_alloc(&callbacks, NULL, &pass);
    if (pass.yajl == NULL)
        return false;
    enum pass_end end = run(&pass);
    if (end == PASS_ERROR) {
        /* Consumed is the end of the bad token; its start is what people look for. */
        size_t consumed = yajl_get_bytes_consumed(pass.yajl);
        size_t start = token_start(&pass);
        *offset = start < consumed ? start : consumed > 0 ? consumed - 1 : 0;
    } else {
        *offset = text.len;
    }
    bool found = end != PASS_OK;
    if (found)
        copy_words(pass.yajl, words, words_size);
    yajl_free(pass.yajl);
    return found;
}

void json_line_column(struct pl_span text, size_t offset, unsigned *line, unsigned *column)
{
    unsigned lines = 1, columns = 1;
    for (size_t i = 0; i < offset && i < text.len; i++) {
        if (text.data[i] == '\n') {
            lines++;
            columns = 1;
        } else if ((text.data[i] & 0xc0) != 0x80) {
            columns++;
        }
    }
    *line = lines;
    *column = columns;
}
