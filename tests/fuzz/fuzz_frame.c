/*
 * Frames as a hostile peer may send them. Whatever parses must encode to the same bytes again: a
 * parser that accepts two spellings of one frame, or loses part of one, fails here.
 */
#include "proto/wire/frame.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum pl_err put_blocks(const struct frame *f, struct pl_buf *out)
{
    enum pl_err err = frame_put_blocks(out);
    struct pl_span rest = f->entry_bytes;
    struct frame_entry entry;
    while (err == PL_OK && frame_entry_next(&rest, &entry))
        err = entry.block.len > 0 ? frame_add_block(out, entry.block)
                                  : frame_add_loss(out, &entry.loss);
    return err;
}

static enum pl_err put_again(const struct frame *f, struct pl_buf *out)
{
    static struct chain_claim claims[FRAME_CHAINS_MAX];
    static struct chain_record records[FRAME_CHAINS_MAX];
    static enum block_verdict verdicts[FRAME_ENTRIES_MAX];
    size_t count = f->list.count;
    for (size_t i = 0; i < count; i++) {
        if (f->type == FRAME_PROVE || f->type == FRAME_PING)
            claims[i] = frame_claim(&f->list, i);
        else if (f->type == FRAME_ACKS)
            verdicts[i] = frame_verdict(&f->list, i);
        else
            records[i] = frame_record(&f->list, i);
    }
    char sentence[FRAME_SENTENCE_BYTES + 1] = "";
    if (f->sentence.len > 0)
        memcpy(sentence, f->sentence.data, f->sentence.len);
    switch (f->type) {
    case FRAME_HELLO:
        return frame_put_hello(out);
    case FRAME_PROVE:
        return frame_put_prove(out, &f->prove, claims, count);
    case FRAME_BLOCKS:
        return put_blocks(f, out);
    case FRAME_FEED:
        return frame_put_feed(out, &f->feed);
    case FRAME_PING:
        return frame_put_ping(out, f->wall_ms, &f->settled, claims, count);
    case FRAME_CHALLENGE:
        return frame_put_challenge(out, f->nonce);
    case FRAME_WELCOME:
        return frame_put_welcome(out, f->wall_ms, records, count);
    case FRAME_ACKS:
        return frame_put_acks(out, verdicts, count);
    case FRAME_PAGE:
        return frame_put_page(out, &f->page);
    case FRAME_PONG:
        return frame_put_pong(out, f->wall_ms, f->caught_up, records, count);
    case FRAME_HELLO_FIRST:
        return frame_put_hello_first(out);
    case FRAME_REFUSED:
        return frame_put_refused(out, f->refusal, sentence);
    }
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct frame f;
    struct pl_why why = {0};
    enum pl_err err = frame_parse(pl_span(data, size), &f, &why);
    if (err != PL_OK) {
        if (why.field[0] == '\0' || why.text[0] == '\0')
            abort();
        return 0;
    }
    struct pl_buf out;
    pl_buf_init(&out, size == 0 ? 1 : size);
    if (put_again(&f, &out) != PL_OK || !pl_span_eq(pl_buf_span(&out), pl_span(data, size)))
        abort();
    pl_buf_release(&out);
    return 0;
}
