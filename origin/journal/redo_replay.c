/* What a restored database lacks, applied. */
#include "origin/families.h"
#include "origin/journal/redo_state.h"

#include <inttypes.h>
#include <stdlib.h>

#define JSON_DEPTH 8

struct replay {
    struct redo *redo;
    enum pl_err (*apply)(void *ctx, const struct redo_record *record, struct pl_why *why);
    void *ctx;
    struct json_parser *parser;
    struct pl_buf row;
    /* Lines that were withdrawn, of those that are replayed, so a small part of the log. */
    uint64_t *withdrawn;
    size_t count, room;
};

static enum pl_err read_line(struct replay *replay, uint64_t n, struct pl_span line,
                             struct redo_record *record, struct pl_why *why)
{
    struct json object;
    enum pl_err err = json_parse(replay->parser, line, &object, why);
    if (err == PL_OK)
        err = redo_decode(object, record, &replay->row, why);
    return err == PL_OK ? err : pl_fail_in(why, err, "line %" PRIu64 " of the redo log", n);
}

static enum pl_err find_withdrawn(void *ctx, uint64_t n, struct pl_span line, struct pl_why *why)
{
    struct replay *replay = ctx;
    struct redo_record record;
    enum pl_err err = read_line(replay, n, line, &record, why);
    if (err != PL_OK || record.kind != REDO_WITHDRAWN)
        return err;
    if (replay->count == replay->room) {
        size_t room = replay->room == 0 ? 64 : 2 * replay->room;
        uint64_t *more = reallocarray(replay->withdrawn, room, sizeof(*more));
        if (more == NULL)
            return pl_fail(why, PL_ENOMEM, "no memory for the redo log");
        replay->withdrawn = more;
        replay->room = room;
    }
    replay->withdrawn[replay->count++] = record.line;
    return PL_OK;
}

static int by_line(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static bool is_withdrawn(const struct replay *replay, uint64_t n)
{
    return replay->count > 0 && bsearch(&n, replay->withdrawn, replay->count,
                                        sizeof(*replay->withdrawn), by_line) != NULL;
}

static enum pl_err replay_line(void *ctx, uint64_t n, struct pl_span line, struct pl_why *why)
{
    struct replay *replay = ctx;
    struct redo_record record;
    if (is_withdrawn(replay, n))
        return PL_OK;
    enum pl_err err = read_line(replay, n, line, &record, why);
    if (err != PL_OK || record.kind <= REDO_CHANGE || record.kind == REDO_WITHDRAWN)
        return err;
    err = replay->apply(replay->ctx, &record, why);
    return err == PL_OK ? err : pl_fail_in(why, err, "line %" PRIu64 " of the redo log", n);
}

/* Twice over the lines, for what was withdrawn is told behind it. */
static enum pl_err apply_all(struct redo *redo, struct replay *replay, struct pl_why *why)
{
    const uint64_t again = redo->mark.n > REDO_AGAIN ? redo->mark.n - REDO_AGAIN + 1 : 1;
    enum pl_err err = json_parser_new(&replay->parser, JOURNAL_LINE_BYTES, JSON_DEPTH);
    if (err != PL_OK)
        return pl_fail(why, err, "no memory for the redo log");
    pl_buf_init(&replay->row, JOURNAL_LINE_BYTES);
    err = journal_visit(redo->journal, again, find_withdrawn, replay, why);
    if (err == PL_OK && replay->count > 0)
        qsort(replay->withdrawn, replay->count, sizeof(*replay->withdrawn), by_line);
    if (err == PL_OK)
        err = journal_visit(redo->journal, again, replay_line, replay, why);
    pl_buf_release(&replay->row);
    json_parser_free(replay->parser);
    free(replay->withdrawn);
    return err;
}

enum pl_err redo_replay(struct redo *redo,
                        enum pl_err (*apply)(void *ctx, const struct redo_record *record,
                                             struct pl_why *why),
                        void *ctx, struct pl_why *why)
{
    struct replay replay = {.redo = redo, .apply = apply, .ctx = ctx};
    const struct redo_record start = {.kind = REDO_PULSE, .what = "start"};
    enum pl_err err = redo->lacked > 0 ? apply_all(redo, &replay, why) : PL_OK;
    if (err == PL_OK && redo->lacked > 0)
        err = redo_keep_restored(redo, why);
    if (err == PL_OK && redo->anew)
        err = redo_put_mark(redo, &(struct journal_mark){0}, true, why);
    if (err != PL_OK)
        return err;
    pthread_mutex_lock(&redo->lock);
    redo->lacked = 0;
    redo->anew = false;
    redo->noting = true;
    err = redo_append(redo, &start, true, NULL, why);
    pthread_mutex_unlock(&redo->lock);
    return err;
}
