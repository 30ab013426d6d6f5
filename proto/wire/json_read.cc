/* The one C++ file of the house: simdjson behind json.h. A value is an index on simdjson's tape,
 * which json_tape.h describes. Nothing here throws: simdjson reports through error codes, memory
 * comes from nothrow new. */
#define SIMDJSON_EXCEPTIONS 0
#include <simdjson.h>

#include <new>

/* The headers of proto/base are plain C. */
extern "C" {
#include "proto/wire/json.h"
#include "proto/wire/json_where.h"
}

namespace dom = simdjson::dom;

/* Strings are unescaped a block at a time, past their ends: the memory behind the last is there. */
static_assert(simdjson::SIMDJSON_PADDING >= JSON_TEXT_SLACK, "json_string promises it");

struct json_parser {
    dom::parser parser;
    dom::document document;
    json_document view;
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
    parser->view = json_document{parser->document.tape.get(), parser->document.string_buf.get()};
    *root = json{&parser->view, 1};
    return PL_OK;
}

enum json_type json_type(struct json value)
{
    switch (json_word_type(json_word(value))) {
    case 't':
    case 'f':
        return JSON_BOOL;
    case 'l':
        return JSON_I64;
    case 'u':
        return JSON_U64;
    case 'd':
        return JSON_F64;
    case '"':
        return JSON_STRING;
    case '[':
        return JSON_ARRAY;
    case '{':
        return JSON_OBJECT;
    default:
        return JSON_NULL;
    }
}

/* A number's bits stand in the word behind its type. */
template <typename T> static inline T number_at(struct json value)
{
    T number;
    memcpy(&number, &value.document->tape[value.index + 1], sizeof(number));
    return number;
}

bool json_bool(struct json value, bool *out)
{
    enum json_type type = json_type(value);
    if (type != JSON_BOOL)
        return false;
    *out = json_word_type(json_word(value)) == 't';
    return true;
}

bool json_i64(struct json value, int64_t *out)
{
    if (json_type(value) != JSON_I64)
        return false;
    *out = number_at<int64_t>(value);
    return true;
}

bool json_u64(struct json value, uint64_t *out)
{
    enum json_type type = json_type(value);
    if (type != JSON_U64 && !(type == JSON_I64 && number_at<int64_t>(value) >= 0))
        return false;
    *out = number_at<uint64_t>(value);
    return true;
}

bool json_f64(struct json value, double *out)
{
    switch (json_type(value)) {
    case JSON_F64:
        *out = number_at<double>(value);
        return true;
    case JSON_I64:
        *out = static_cast<double>(number_at<int64_t>(value));
        return true;
    case JSON_U64:
        *out = static_cast<double>(number_at<uint64_t>(value));
        return true;
    default:
        return false;
    }
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
    const uint64_t word = json_word(value);
    const char type = json_word_type(word);
    return type == '{' || type == '[' ? json_word_payload(word) >> 32 : 0;
}

static void write_tape_word(struct json_writer *w, struct json at)
{
    const uint64_t word = json_word(at);
    switch (json_word_type(word)) {
    case '"': /* the writer knows where a key is due */
        json_write_string(w, json_word_text(at.document, word));
        break;
    case '{':
        json_write_object(w);
        break;
    case '}':
        json_write_object_end(w);
        break;
    case '[':
        json_write_array(w);
        break;
    case ']':
        json_write_array_end(w);
        break;
    case 'l':
        json_write_i64(w, number_at<int64_t>(at));
        break;
    case 'u':
        json_write_u64(w, number_at<uint64_t>(at));
        break;
    case 'd':
        json_write_f64(w, number_at<double>(at));
        break;
    case 't':
    case 'f':
        json_write_bool(w, json_word_type(word) == 't');
        break;
    default:
        json_write_null(w);
    }
}

void json_write_value(struct json_writer *w, struct json value)
{
    const size_t end = json_after(value.document, value.index);
    struct json at = value;
    while (at.index < end) {
        write_tape_word(w, at);
        at.index += json_word_words(json_word(at));
    }
}
