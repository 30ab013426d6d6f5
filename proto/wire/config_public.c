#include "proto/wire/config.h"

#include "proto/base/clock.h"
#include "proto/wire/config_shape.h"
#include "proto/wire/limits.h"

static void write_object(struct json_writer *w, const struct config_shape *shape,
                         const struct json *object);

static void write_objects(struct json_writer *w, const struct config_shape *shape, struct json list)
{
    struct json element, flag;
    json_write_array(w);
    for (struct json_iter i = json_elements(list); json_next_element(&i, &element);) {
        bool on = true;
        if (shape->skip_unless != NULL && json_get(element, shape->skip_unless, &flag))
            json_bool(flag, &on);
        if (on)
            write_object(w, shape, &element);
    }
    json_write_array_end(w);
}

/* The value was checked: it has the type its row says. */
static void write_value(struct json_writer *w, const struct config_row *row, struct json value)
{
    double number = 0;
    struct pl_span text = {0};
    int64_t wall_ms = 0;
    char time[PL_TIME_TEXT];
    switch (row->kind) {
    case CONFIG_TIME:
        /* One form, which every browser reads alike. */
        json_string(value, &text);
        config_time_parse(text, &wall_ms);
        pl_time_format(wall_ms, time);
        json_write_text(w, time);
        break;
    case CONFIG_NUMBER:
    case CONFIG_INTEGER:
        /* 1, 1.0 and 1e0 are one number and must be the same bytes. */
        json_f64(value, &number);
        json_write_f64(w, number);
        break;
    case CONFIG_OBJECT:
        write_object(w, row->shape, &value);
        break;
    case CONFIG_OBJECTS:
        write_objects(w, row->shape, value);
        break;
    case CONFIG_TEXT:
    case CONFIG_BOOL:
    case CONFIG_TEXTS:
        json_write_value(w, value);
        break;
    }
}

static void write_rows(struct json_writer *w, const struct config_shape *shape,
                       const struct json *object)
{
    for (const struct config_row *row = shape->rows; row->key != NULL; row++) {
        struct json value;
        bool present = object != NULL && json_get(*object, row->key, &value);
        if (row->hidden || (!present && row->kind != CONFIG_OBJECT && row->default_json == NULL))
            continue;
        json_write_key(w, row->key);
        if (present)
            write_value(w, row, value);
        else if (row->kind == CONFIG_OBJECT)
            write_object(w, row->shape, NULL);
        else
            json_write_raw(w, pl_span_str(row->default_json));
    }
}

/* object NULL: nothing but defaults. */
static void write_object(struct json_writer *w, const struct config_shape *shape,
                         const struct json *object)
{
    json_write_object(w);
    write_rows(w, shape, object);
    json_write_object_end(w);
}

static enum pl_err write_document(struct json root, uint64_t version, struct pl_buf *out,
                                  struct pl_why *why)
{
    struct json_writer *w;
    size_t before = out->len;
    enum pl_err err = json_writer_new(&w, false);
    if (err != PL_OK)
        return pl_fail(why, err, "out of memory for the config's public form");
    json_writer_begin(w, out);
    json_write_object(w);
    json_write_pair_u64(w, "version", version);
    write_rows(w, &config_document, &root);
    json_write_object_end(w);
    err = json_writer_end(w);
    json_writer_free(w);
    if (err == PL_OK && out->len - before > LIMIT_CONFIG_PUBLIC_BYTES)
        err = PL_ELIMIT;
    if (err == PL_OK)
        return PL_OK;
    out->len = before;
    return pl_fail(why, err, "the config's public form is larger than is allowed");
}

enum pl_err config_public(struct pl_span json, uint64_t version, struct pl_buf *out,
                          struct pl_why *why)
{
    struct config_problem problem;
    struct json_parser *parser;
    struct json root;
    size_t count = 0;
    enum pl_err err = config_check(json, &problem, 1, &count);
    if (err != PL_OK && count == 0)
        return pl_fail(why, err, "the config could not be checked");
    if (err != PL_OK) {
        pl_fail_field(why, err, problem.path, "%s%s%s", problem.path,
                      problem.path[0] == '\0' ? "" : " ", problem.text);
        return problem.line == 0
                   ? err
                   : pl_fail_in(why, err, "line %u, column %u", problem.line, problem.column);
    }
    err = json_parser_new(&parser, LIMIT_CONFIG_BYTES, LIMIT_JSON_DEPTH);
    if (err != PL_OK)
        return pl_fail(why, err, "out of memory for the config");
    err = json_parse(parser, json, &root, why);
    if (err == PL_OK)
        err = write_document(root, version, out, why);
    json_parser_free(parser);
    return err;
}
