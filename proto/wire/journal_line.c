#include "proto/wire/journal_line.h"

#include "proto/base/clock.h"
#include "proto/base/text.h"

#include <inttypes.h>

#define N_DIGITS_MAX 20

enum pl_err journal_line_write(const struct journal_mark *before, int64_t wall_ms,
                               struct pl_span object, struct pl_buf *out)
{
    char at[PL_TIME_TEXT], previous[2 * PL_SHA256_BYTES + 1];
    if (object.len < 2 || object.data[0] != '{' || object.data[object.len - 1] != '}' ||
        memchr(object.data, '\n', object.len) != NULL)
        return PL_EINVAL;
    const size_t from = out->len;
    pl_time_format(wall_ms, at);
    pl_hex_encode(pl_span(before->hash, sizeof(before->hash)), previous);
    enum pl_err err = pl_buf_appendf(out, "{\"n\":%" PRIu64 ",\"at\":\"%s\",\"previous\":\"%s\"%s",
                                     before->n + 1, at, previous, object.len == 2 ? "" : ",");
    if (err == PL_OK)
        err = pl_buf_append_span(out, pl_span_from(object, 1));
    if (err == PL_OK)
        err = pl_buf_put_u8(out, '\n');
    if (err == PL_OK && out->len - from > JOURNAL_LINE_BYTES)
        err = PL_ELIMIT;
    if (err != PL_OK)
        out->len = from;
    return err;
}

static bool take(struct pl_span *rest, const char *literal)
{
    if (!pl_span_starts(*rest, pl_span_str(literal)))
        return false;
    *rest = pl_span_from(*rest, strlen(literal));
    return true;
}

static enum pl_err take_head(struct pl_span *rest, uint64_t *n, int64_t *wall_ms)
{
    size_t digits = 0;
    if (!take(rest, "{\"n\":"))
        return PL_ECORRUPT;
    while (digits < rest->len && digits <= N_DIGITS_MAX && rest->data[digits] >= '0' &&
           rest->data[digits] <= '9')
        digits++;
    if (rest->len == 0 || rest->data[0] == '0' || !pl_span_to_u64(pl_span(rest->data, digits), n))
        return PL_ECORRUPT;
    *rest = pl_span_from(*rest, digits);
    if (!take(rest, ",\"at\":\"") || rest->len < PL_TIME_TEXT - 1 ||
        !pl_time_parse(pl_span(rest->data, PL_TIME_TEXT - 1), wall_ms))
        return PL_ECORRUPT;
    *rest = pl_span_from(*rest, PL_TIME_TEXT - 1);
    return PL_OK;
}

enum pl_err journal_line_time(struct pl_span head, uint64_t *n, int64_t *wall_ms)
{
    return take_head(&head, n, wall_ms);
}

enum pl_err journal_line_read(struct pl_span line, uint64_t *n, uint8_t previous[PL_SHA256_BYTES])
{
    struct pl_span rest = line;
    uint8_t hash[PL_SHA256_BYTES];
    uint64_t number;
    int64_t wall_ms;
    if (take_head(&rest, &number, &wall_ms) != PL_OK)
        return PL_ECORRUPT;
    if (!take(&rest, "\",\"previous\":\"") || rest.len < 2 * sizeof(hash) ||
        !pl_hex_decode_lower(pl_span(rest.data, 2 * sizeof(hash)), hash, sizeof(hash)))
        return PL_ECORRUPT;
    rest = pl_span_from(rest, 2 * sizeof(hash));
    if (!(take(&rest, "\",\"") || pl_span_eq_str(rest, "\"}")) || line.data[line.len - 1] != '}')
        return PL_ECORRUPT;
    *n = number;
    memcpy(previous, hash, sizeof(hash));
    return PL_OK;
}

enum pl_err journal_line_next(struct journal_mark *mark, struct pl_span line, struct pl_why *why)
{
    uint8_t previous[PL_SHA256_BYTES];
    uint64_t n;
    if (journal_line_read(line, &n, previous) != PL_OK)
        return pl_fail(why, PL_ECORRUPT, "what follows line %" PRIu64 " is no line of a journal",
                       mark->n);
    if (n != mark->n + 1)
        return pl_fail(why, PL_ECORRUPT, "line %" PRIu64 " follows line %" PRIu64, n, mark->n);
    if (memcmp(previous, mark->hash, sizeof(previous)) != 0)
        return pl_fail(why, PL_ECORRUPT,
                       "line %" PRIu64 " does not name line %" PRIu64
                       " as it stands: one of the two was changed",
                       n, mark->n);
    mark->n = n;
    pl_sha256_one(line, mark->hash);
    return PL_OK;
}
