/* The one C++ file of the house: simdjson behind json.h. A value is an index on simdjson's tape
 * (its doc/tape.md): one word per string, bracket and literal, two per number, in the order of
 * the text. Nothing here throws: simdjson reports through error codes, memory comes from nothrow
 * new. */
#define SIMDJSON_EXCEPTIONS 0
#include <simdjson.h>

#include <new>

/* The headers of proto/base are plain C. */
extern "C" {
#include "proto/wire/json.h"
#include "proto/wire/json_where.h"
#include "proto/wire/msgpack_put.h"
}

namespace dom = simdjson::dom;
using simdjson::internal::tape_ref;
using simdjson::internal::tape_type;

struct json_parser {
    dom::parser parser;
    dom::document document;
    std::unique_ptr<uint8_t[]> text;
    size_t capacity = 0;
    const size_t max_bytes;
    const unsigned max_depth;

    json_parser(size_t bytes, unsigned depth) noexcept
        : parser(bytes), max_bytes(bytes), max_depth(depth)
    {
    }
};

/* An edge has one parser per thread and mostly small events: start small, grow by doubling. */
static constexpr size_t first_bytes = 4096;

static enum pl_err reserve(struct json_parser *p, size_t bytes)
{
    if (bytes <= p->capacity)
        return PL_OK;
    size_t capacity = p->capacity == 0 ? first_bytes : p->capacity;
    while (capacity < bytes)
        capacity *= 2;
    if (capacity > p->max_bytes)
        capacity = p->max_bytes;
    p->capacity = 0;
    p->text.reset(new (std::nothrow) uint8_t[capacity + simdjson::SIMDJSON_PADDING]);
    if (p->text == nullptr || p->document.allocate(capacity) != simdjson::SUCCESS ||
        p->parser.allocate(capacity, p->max_depth) != simdjson::SUCCESS)
        return PL_ENOMEM;
    p->capacity = capacity;
    return PL_OK;
}

enum pl_err json_parser_new(struct json_parser **out, size_t max_bytes, unsigned max_depth)
{
    /* simdjson has offsets of 32 bits. */
    if (max_bytes == 0 || max_bytes > UINT32_MAX / 2 || max_depth == 0)
        return PL_EINVAL;
    auto parser = new (std::nothrow) json_parser(max_bytes, max_depth);
    if (parser == nullptr)
        return PL_ENOMEM;
    *out = parser;
    return PL_OK;
}

void json_parser_free(struct json_parser *parser)
{
    delete parser;
}

/* What simdjson refuses and yajl would not. */
static const char *refusal(simdjson::error_code code)
{
    switch (code) {
    case simdjson::UTF8_ERROR:
        return "it is not UTF-8";
    case simdjson::NUMBER_ERROR:
        return "a number is malformed, or is outside -2^63 to 2^64-1 or the range of a double";
    case simdjson::STRING_ERROR:
        return "a string has a malformed escape";
    case simdjson::EMPTY:
        return "it is empty";
    default:
        return simdjson::error_message(code);
    }
}

static enum pl_err fail(simdjson::error_code code, struct json_parser *p, struct pl_span text,
                        struct pl_why *why)
{
    if (code == simdjson::MEMALLOC)
        return pl_fail(why, PL_ENOMEM, "out of memory for %zu bytes of JSON", text.len);
    if (code == simdjson::DEPTH_ERROR)
        return pl_fail(why, PL_ELIMIT, "JSON nested more than %u levels deep", p->max_depth);
    size_t offset;
    char words[200];
    if (code == simdjson::EMPTY || !json_find_error(text, &offset, words, sizeof(words)))
        return pl_fail(why, PL_EINVAL, "not valid JSON: %s", refusal(code));
    unsigned line, column;
    json_line_column(text, offset, &line, &column);
    return pl_fail(why, PL_EINVAL, "not valid JSON at line %u, column %u (byte %zu): %s", line,
                   column, offset, words);
}

enum pl_err json_parse(struct json_parser *parser, struct pl_span text, struct json *root,
                       struct pl_why *why)
{
    if (text.len > parser->max_bytes)
        return pl_fail(why, PL_ELIMIT, "%zu bytes of JSON; at most %zu are taken", text.len,
                       parser->max_bytes);
    if (reserve(parser, text.len) != PL_OK)
        return pl_fail(why, PL_ENOMEM, "out of memory for %zu bytes of JSON", text.len);
    if (text.len == 0)
        return fail(simdjson::EMPTY, parser, text, why);
    memcpy(parser->text.get(), text.data, text.len);
    memset(parser->text.get() + text.len, 0, simdjson::SIMDJSON_PADDING);
    dom::element element;
    simdjson::error_code code =
        parser->parser.parse_into_document(parser->document, parser->text.get(), text.len, false)
            .get(element);
    if (code != simdjson::SUCCESS)
        return fail(code, parser, text, why);
    *root = json{&parser->document, 1};
    return PL_OK;
}

static inline tape_ref tape(struct json value)
{
    return tape_ref(static_cast<const dom::document *>(value.document), value.index);
}

static inline struct pl_span text_at(const tape_ref &at)
{
    return pl_span(at.get_c_str(), at.get_string_length());
}

enum json_type json_type(struct json value)
{
    switch (tape(value).tape_ref_type()) {
    case tape_type::TRUE_VALUE:
    case tape_type::FALSE_VALUE:
        return JSON_BOOL;
    case tape_type::INT64:
        return JSON_I64;
    case tape_type::UINT64:
        return JSON_U64;
    case tape_type::DOUBLE:
        return JSON_F64;
    case tape_type::STRING:
        return JSON_STRING;
    case tape_type::START_ARRAY:
        return JSON_ARRAY;
    case tape_type::START_OBJECT:
        return JSON_OBJECT;
    default:
        return JSON_NULL;
    }
}

bool json_string(struct json value, struct pl_span *out)
{
    tape_ref at = tape(value);
    if (at.tape_ref_type() != tape_type::STRING)
        return false;
    *out = text_at(at);
    return true;
}

bool json_bool(struct json value, bool *out)
{
    tape_ref at = tape(value);
    if (!at.is_true() && !at.is_false())
        return false;
    *out = at.is_true();
    return true;
}

bool json_i64(struct json value, int64_t *out)
{
    tape_ref at = tape(value);
    if (!at.is_int64())
        return false;
    *out = at.next_tape_value<int64_t>();
    return true;
}

bool json_u64(struct json value, uint64_t *out)
{
    tape_ref at = tape(value);
    if (!at.is_uint64() && !(at.is_int64() && at.next_tape_value<int64_t>() >= 0))
        return false;
    *out = at.next_tape_value<uint64_t>();
    return true;
}

bool json_f64(struct json value, double *out)
{
    tape_ref at = tape(value);
    if (at.is_double())
        *out = at.next_tape_value<double>();
    else if (at.is_int64())
        *out = static_cast<double>(at.next_tape_value<int64_t>());
    else if (at.is_uint64())
        *out = static_cast<double>(at.next_tape_value<uint64_t>());
    else
        return false;
    return true;
}

static struct json_iter inside(struct json value, tape_type container)
{
    tape_ref at = tape(value);
    if (at.tape_ref_type() != container)
        return json_iter{value, value.index};
    return json_iter{json{value.document, value.index + 1}, at.after_element() - 1};
}

struct json_iter json_members(struct json object)
{
    return inside(object, tape_type::START_OBJECT);
}

bool json_next_member(struct json_iter *iter, struct pl_span *name, struct json *value)
{
    if (iter->at.index >= iter->end)
        return false;
    *name = text_at(tape(iter->at));
    *value = json{iter->at.document, iter->at.index + 1};
    iter->at.index = tape(*value).after_element();
    return true;
}

struct json_iter json_elements(struct json array)
{
    return inside(array, tape_type::START_ARRAY);
}

bool json_next_element(struct json_iter *iter, struct json *value)
{
    if (iter->at.index >= iter->end)
        return false;
    *value = iter->at;
    iter->at.index = tape(*value).after_element();
    return true;
}

bool json_get(struct json object, const char *name, struct json *out)
{
    struct json_iter iter = json_members(object);
    struct pl_span wanted = pl_span_str(name), key;
    struct json value;
    while (json_next_member(&iter, &key, &value)) {
        if (!pl_span_eq(key, wanted))
            continue;
        *out = value;
        return true;
    }
    return false;
}

size_t json_count(struct json value)
{
    enum json_type type = json_type(value);
    return type == JSON_ARRAY || type == JSON_OBJECT ? tape(value).scope_count() : 0;
}

/* Above this simdjson's count saturates: members are then counted one by one. */
static constexpr size_t count_saturated = 0xffffff;

static size_t exact_count(struct json value)
{
    size_t count = json_count(value);
    if (count < count_saturated)
        return count;
    count = 0;
    struct pl_span name;
    struct json member;
    if (json_type(value) == JSON_OBJECT)
        for (struct json_iter i = json_members(value); json_next_member(&i, &name, &member);)
            count++;
    else
        for (struct json_iter i = json_elements(value); json_next_element(&i, &member);)
            count++;
    return count;
}

/* The tape has keys, values and brackets in msgpack's own order, so one pass without recursion
 * translates any value; only the counts must be asked for. */
static int put_tape_word(struct pl_buf *out, struct json at)
{
    tape_ref ref = tape(at);
    switch (ref.tape_ref_type()) {
    case tape_type::STRING: {
        struct pl_span text = text_at(ref);
        return msgpack_put_text(out, text.data, text.len);
    }
    case tape_type::START_OBJECT:
        return msgpack_put_map(out, exact_count(at));
    case tape_type::START_ARRAY:
        return msgpack_put_array(out, exact_count(at));
    case tape_type::INT64:
        return msgpack_put_int64(out, ref.next_tape_value<int64_t>());
    case tape_type::UINT64:
        return msgpack_put_uint64(out, ref.next_tape_value<uint64_t>());
    case tape_type::DOUBLE:
        return msgpack_put_double(out, ref.next_tape_value<double>());
    case tape_type::TRUE_VALUE:
        return msgpack_put_true(out);
    case tape_type::FALSE_VALUE:
        return msgpack_put_false(out);
    case tape_type::NULL_VALUE:
        return msgpack_put_nil(out);
    default: /* closing brackets */
        return PL_OK;
    }
}

static inline size_t next_word(struct json at)
{
    tape_ref ref = tape(at);
    return at.index + (ref.is_int64() || ref.is_uint64() || ref.is_double() ? 2 : 1);
}

enum pl_err json_to_msgpack(struct json value, struct pl_buf *out)
{
    size_t before = out->len, end = tape(value).after_element();
    for (struct json at = value; at.index < end; at.index = next_word(at)) {
        int err = put_tape_word(out, at);
        if (err != PL_OK) {
            out->len = before;
            return static_cast<enum pl_err>(err);
        }
    }
    return PL_OK;
}

static void write_tape_word(struct json_writer *w, struct json at)
{
    tape_ref ref = tape(at);
    switch (ref.tape_ref_type()) {
    case tape_type::STRING: /* the writer knows where a key is due */
        json_write_string(w, text_at(ref));
        break;
    case tape_type::START_OBJECT:
        json_write_object(w);
        break;
    case tape_type::END_OBJECT:
        json_write_object_end(w);
        break;
    case tape_type::START_ARRAY:
        json_write_array(w);
        break;
    case tape_type::END_ARRAY:
        json_write_array_end(w);
        break;
    case tape_type::INT64:
        json_write_i64(w, ref.next_tape_value<int64_t>());
        break;
    case tape_type::UINT64:
        json_write_u64(w, ref.next_tape_value<uint64_t>());
        break;
    case tape_type::DOUBLE:
        json_write_f64(w, ref.next_tape_value<double>());
        break;
    case tape_type::TRUE_VALUE:
    case tape_type::FALSE_VALUE:
        json_write_bool(w, ref.is_true());
        break;
    default:
        json_write_null(w);
    }
}

void json_write_value(struct json_writer *w, struct json value)
{
    size_t end = tape(value).after_element();
    for (struct json at = value; at.index < end; at.index = next_word(at))
        write_tape_word(w, at);
}
