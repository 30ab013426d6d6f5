/*
 * json_tape: json.h's accessors that every member of every event goes through, in the open so that
 * they cost a load and a compare. Include json.h.
 *
 * The parsed document is simdjson's tape (its doc/tape.md): 64-bit words in the order of the text,
 * the type as a character in the top byte. A string is one word, its offset in `text`, where a
 * uint32_t length stands before its bytes; a number is two, the second one its bits; a bracket
 * knows the word behind its closing one.
 */
#ifndef POLDER_PROTO_WIRE_JSON_TAPE_H
#define POLDER_PROTO_WIRE_JSON_TAPE_H

struct json_document {
    const uint64_t *tape;
    const uint8_t *text;
};

static inline uint64_t json_word(struct json value)
{
    return value.document->tape[value.index];
}

static inline char json_word_type(uint64_t word)
{
    return (char)(word >> 56);
}

static inline uint64_t json_word_payload(uint64_t word)
{
    return word & ((UINT64_C(1) << 56) - 1);
}

static inline bool json_is_string(struct json value)
{
    return json_word_type(json_word(value)) == '"';
}

static inline bool json_is_object(struct json value)
{
    return json_word_type(json_word(value)) == '{';
}

static inline bool json_is_array(struct json value)
{
    return json_word_type(json_word(value)) == '[';
}

static inline bool json_is_null(struct json value)
{
    return json_word_type(json_word(value)) == 'n';
}

static inline struct pl_span json_word_text(const struct json_document *document, uint64_t word)
{
    const uint8_t *text = document->text + json_word_payload(word);
    uint32_t len;
    memcpy(&len, text, sizeof(len));
    return pl_span(text + sizeof(len), len);
}

static inline bool json_string(struct json value, struct pl_span *out)
{
    const uint64_t word = json_word(value);
    if (json_word_type(word) != '"')
        return false;
    *out = json_word_text(value.document, word);
    return true;
}

/* How many words a word takes, what stands between brackets not counted. */
static inline size_t json_word_words(uint64_t word)
{
    const char type = json_word_type(word);
    return type == 'l' || type == 'u' || type == 'd' ? 2 : 1;
}

/* The index behind a value. */
static inline size_t json_after(const struct json_document *document, size_t index)
{
    const uint64_t word = document->tape[index];
    const char type = json_word_type(word);
    return type == '{' || type == '[' ? (uint32_t)word : index + json_word_words(word);
}

static inline struct json_iter json_inside(struct json value, char bracket)
{
    const uint64_t word = json_word(value);
    if (json_word_type(word) != bracket) {
        const struct json_iter none = {value, value.index};
        return none;
    }
    const struct json_iter all = {{value.document, value.index + 1}, (uint32_t)word - 1};
    return all;
}

static inline struct json_iter json_members(struct json object)
{
    return json_inside(object, '{');
}

static inline bool json_next_member(struct json_iter *iter, struct pl_span *name,
                                    struct json *value)
{
    if (iter->at.index >= iter->end)
        return false;
    *name = json_word_text(iter->at.document, json_word(iter->at));
    value->document = iter->at.document;
    value->index = iter->at.index + 1;
    iter->at.index = json_after(value->document, value->index);
    return true;
}

static inline struct json_iter json_elements(struct json array)
{
    return json_inside(array, '[');
}

static inline bool json_next_element(struct json_iter *iter, struct json *value)
{
    if (iter->at.index >= iter->end)
        return false;
    *value = iter->at;
    iter->at.index = json_after(value->document, value->index);
    return true;
}

#endif
