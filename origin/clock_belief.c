#include "origin/clock_belief.h"

static int64_t believed_at(const struct clock_belief *belief, int64_t wall_ms)
{
    int64_t offset_ms = atomic_load(&belief->offset_ms);
    return offset_ms == 0 ? wall_ms : pl_mono_ms(belief->clock) + offset_ms;
}

void clock_belief_range(const struct clock_belief *belief, int64_t *earliest_ms, int64_t *latest_ms)
{
    int64_t wall_ms = pl_wall_ms(belief->clock);
    int64_t believed_ms = believed_at(belief, wall_ms);
    *earliest_ms = wall_ms < believed_ms ? wall_ms : believed_ms;
    *latest_ms = wall_ms < believed_ms ? believed_ms : wall_ms;
}

bool clock_belief_now(const struct clock_belief *belief, int64_t *now_ms)
{
    *now_ms = believed_at(belief, pl_wall_ms(belief->clock));
    return !atomic_load(&belief->assumed);
}

static int64_t cautious_wall_ms(void *ctx)
{
    int64_t earliest_ms, latest_ms;
    clock_belief_range(ctx, &earliest_ms, &latest_ms);
    return earliest_ms;
}

static int64_t strict_wall_ms(void *ctx)
{
    int64_t earliest_ms, latest_ms;
    clock_belief_range(ctx, &earliest_ms, &latest_ms);
    return latest_ms;
}

static int64_t believed_wall_ms(void *ctx)
{
    int64_t now_ms;
    (void)clock_belief_now(ctx, &now_ms);
    return now_ms;
}

static int64_t either_mono_ms(void *ctx)
{
    return pl_mono_ms(((struct clock_belief *)ctx)->clock);
}

struct pl_clock clock_belief_cautious(struct clock_belief *belief)
{
    return (struct pl_clock){.wall_ms = cautious_wall_ms, .mono_ms = either_mono_ms, .ctx = belief};
}

struct pl_clock clock_belief_strict(struct clock_belief *belief)
{
    return (struct pl_clock){.wall_ms = strict_wall_ms, .mono_ms = either_mono_ms, .ctx = belief};
}

struct pl_clock clock_belief_clock(struct clock_belief *belief)
{
    return (struct pl_clock){.wall_ms = believed_wall_ms, .mono_ms = either_mono_ms, .ctx = belief};
}
