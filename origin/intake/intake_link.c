/* Where the link's frames become lots. */
#include "origin/intake/intake.h"

static bool frame_entry(void *ctx, size_t i, struct pl_span *block, struct block_loss *loss)
{
    return receiver_frame_entry(ctx, i, block, loss);
}

static void frame_done(void *ctx, const enum block_verdict *verdicts)
{
    receiver_frame_done(ctx, verdicts);
}

void intake_blocks(void *ctx, const struct pl_id128 *edge, struct receiver_frame *frame)
{
    const struct intake_lot lot = {.edge = *edge,
                                   .count = receiver_frame_count(frame),
                                   .entry = frame_entry,
                                   .done = frame_done,
                                   .ctx = frame};
    intake_take(ctx, &lot);
}
