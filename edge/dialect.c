#include "edge/dialect.h"

/* 1 × 1 pixel, transparent, GIF89a: 43 bytes, the smallest that every browser shows. */
static const uint8_t gif[43] = {
    'G', 'I', 'F', '8', '9', 'a',  1, 0, 1, 0, 0x80, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0x21, 0xf9, 4,
    1,   0,   0,   0,   0,   0x2c, 0, 0, 0, 0, 1,    0, 1, 0, 0, 2, 2,    0x44, 1,    0,    0x3b,
};

const struct dialect_reply dialect_reply_json = {
    .content_type = "application/json",
    .ok_body = PL_SPAN_INIT("{\"success\":true}"),
    .ok_status = 200,
};

const struct dialect_reply dialect_reply_gif = {
    .content_type = "image/gif",
    .ok_body = {gif, sizeof(gif)},
    .ok_status = 200,
    .always_ok = true,
};

const struct dialect_reply dialect_reply_text = {
    .content_type = "text/plain; charset=utf-8",
    .ok_body = PL_SPAN_INIT("ok"),
    .ok_status = 200,
};
