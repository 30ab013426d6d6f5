#include "proto/wire/event.h"

#include "proto/wire/msgpack_put.h"

static void took(struct event_packer *p, int err)
{
    if (p->err == PL_OK)
        p->err = (enum pl_err)err;
}

void event_pack_map(struct event_packer *p, size_t members)
{
    took(p, members > UINT32_MAX ? PL_ELIMIT : msgpack_put_map(p->out, members));
}

void event_pack_array(struct event_packer *p, size_t elements)
{
    took(p, elements > UINT32_MAX ? PL_ELIMIT : msgpack_put_array(p->out, elements));
}

void event_pack_str(struct event_packer *p, struct pl_span text)
{
    /* Forms and queries come from outside as any bytes; an export would stumble over them. */
    took(p, pl_span_is_utf8(text) ? msgpack_put_text(p->out, text.data, text.len) : PL_EINVAL);
}

void event_pack_i64(struct event_packer *p, int64_t v)
{
    took(p, msgpack_put_int64(p->out, v));
}

void event_pack_f64(struct event_packer *p, double v)
{
    took(p, msgpack_put_double(p->out, v));
}

void event_pack_json(struct event_packer *p, struct json value)
{
    took(p, (int)json_to_msgpack(value, p->out));
}

void event_pack_json_member(struct event_packer *p, struct json value)
{
    took(p, (int)json_member_to_msgpack(value, p->out));
}
