#include "edge/rate.h"

#include <string.h>

void rate_init(struct rate_table *table, int64_t per_second, int64_t burst)
{
    memset(table, 0, sizeof(*table));
    table->per_second = per_second;
    table->burst = burst > 0 ? burst : per_second * 10;
}

/* Account ids are random: their low bits spread them well enough. */
static struct rate_bucket *slot_of(struct rate_table *table, uint64_t account)
{
    return &table->buckets[account % RATE_SLOTS];
}

static void refill(const struct rate_table *table, struct rate_bucket *bucket, int64_t mono_ms)
{
    const int64_t passed_ms = mono_ms - bucket->filled_ms;
    /* After this long any bucket is full; it also keeps the product in range. */
    if (passed_ms >= 3600 * 1000) {
        bucket->tokens = table->burst;
        bucket->filled_ms = mono_ms;
        return;
    }
    const int64_t tokens = passed_ms * table->per_second / 1000;
    if (tokens <= 0)
        return;
    bucket->tokens += tokens;
    bucket->filled_ms += tokens * 1000 / table->per_second;
    if (bucket->tokens >= table->burst) {
        bucket->tokens = table->burst;
        bucket->filled_ms = mono_ms;
    }
}

bool rate_admits(struct rate_table *table, uint64_t account, int64_t mono_ms,
                 int64_t *retry_after_s)
{
    if (table->per_second == 0)
        return true;
    struct rate_bucket *bucket = slot_of(table, account);
    if (bucket->account != account)
        *bucket =
            (struct rate_bucket){.account = account, .tokens = table->burst, .filled_ms = mono_ms};
    refill(table, bucket, mono_ms);
    if (bucket->tokens > 0)
        return true;
    *retry_after_s = 1 + -bucket->tokens / table->per_second;
    return false;
}

void rate_charge(struct rate_table *table, uint64_t account, unsigned events)
{
    struct rate_bucket *bucket = slot_of(table, account);
    if (table->per_second != 0 && bucket->account == account)
        bucket->tokens -= events;
}
