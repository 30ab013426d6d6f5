#include "origin/lifecycle/clock_witness.h"

#include <stdlib.h>

#define FRESH_MS (5 * PL_SECOND_MS) /* edges PING each second */

size_t clock_witness_all(void *parts, struct clock_witness *out, size_t max)
{
    const struct origin_parts *origin = parts;
    struct receiver_session *sessions = calloc(max, sizeof(*sessions));
    size_t count = 0;
    if (sessions == NULL) {
        return 0;
    }
    size_t live = receiver_sessions(origin->receiver, sessions, max);
    int64_t now_ms = pl_mono_ms(origin->clock);
    for (size_t i = 0; i < live; i++) {
        if (now_ms - sessions[i].last_heard_mono_ms <= FRESH_MS) {
            out[count++] = (struct clock_witness){.edge = sessions[i].edge,
                                                  .skew_ms = sessions[i].clock_skew_ms};
        }
    }
    free(sessions);
    return count;
}

int64_t clock_witness_ahead_ms(void *parts, const struct pl_id128 *edge)
{
    return receiver_edge_ahead_ms(((const struct origin_parts *)parts)->receiver, edge);
}
