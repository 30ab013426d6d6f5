#include "origin/accounts/account_states.h"
#include "origin/families.h"
#include "origin/lifecycle/deletion_state.h"
#include "origin/lifecycle/lifecycle.h"
#include "origin/lifecycle/retention.h"

#include <stdio.h>
#include <stdlib.h>

#define COUNT_MS         1000 /* of counting in one call */
#define COUNT_KEYS       4096 /* between two looks at the clock */
#define PURGE_TIMEOUT_MS 2000 /* exports let go of what they pin every 250 ms */
#define EXPORTS_MS       2000
#define RANGES_MAX       (DELETION_KINDS + 5)
#define KEY_BYTES_MAX    48 /* of families that are settled as a whole */

/* What an account has in the database, all of it under keys that begin with its id. The day counts
 * are not among them: they go into the sum of deleted accounts. Nor are holds, which the
 * certificate tells of. */
const struct deletion_kind deletion_kinds[] = {
    {"events", FAMILY_VAULT},    {"dedupe_entries", FAMILY_DEDUPE},
    {"links", FAMILY_LINKS},     {"opt_outs", FAMILY_SUPPRESSIONS},
    {"configs", FAMILY_CONFIGS}, {"erasures", FAMILY_ERASURES},
};
const size_t deletion_kind_count = sizeof(deletion_kinds) / sizeof(deletion_kinds[0]);
static_assert(sizeof(deletion_kinds) / sizeof(deletion_kinds[0]) <= DELETION_KINDS,
              "struct deletion has room for every kind");

struct range {
    uint8_t from[8];
    struct pl_buf to;
};

static enum pl_err range_of(uint64_t account, struct range *range, struct pl_why *why)
{
    pl_store_u64(range->from, account);
    pl_buf_init(&range->to, 16);
    enum pl_err err = store_prefix_end(pl_span(range->from, sizeof(range->from)), &range->to);
    return err == PL_OK
               ? err
               : pl_fail(why, err, "the account's range cannot be told: %s", pl_err_word(err));
}

/* ---- dates */

/* One that began before the account had expired was asked for, whatever its record lost. */
bool deletion_was_asked_for(const struct account *account)
{
    return account->deleted_on_request ||
           (account->deletion_started_ms != 0 &&
            (account->expires_at_ms == 0 || account->expires_at_ms > account->deletion_started_ms));
}

static int64_t promised_ms(const struct account *account, int64_t days, int64_t request_days)
{
    return deletion_was_asked_for(account) ? account->deletion_started_ms + request_days * PL_DAY_MS
                                           : account->expires_at_ms + days * PL_DAY_MS;
}

int64_t deletion_limit_ms(const struct account *account)
{
    return promised_ms(account, DELETION_LIMIT_DAYS, DELETION_REQUEST_LIMIT_DAYS);
}

int64_t deletion_seal_deadline_ms(const struct account *account)
{
    const int64_t late_ms = account->deletion_started_ms + DELETION_LATE_SEAL_DAYS * PL_DAY_MS;
    const int64_t deadline_ms =
        promised_ms(account, DELETION_SEAL_DAYS, DELETION_REQUEST_SEAL_DAYS);
    return deadline_ms > late_ms ? deadline_ms : late_ms;
}

/* ---- the steps */

/* The keyring may have lost it, being a copy of before the account was made. Then another one takes
 * its place for a moment: with its end none can be made any more, and there is a signed word. */
enum pl_err deletion_end_key(struct keyring *keyring, const struct account *account,
                             struct pl_why *why)
{
    char since[PL_TIME_TEXT], reason[KEYRING_REASON_BYTES];
    pl_time_format(account->deleted_on_request ? account->requested_ms : account->expires_at_ms,
                   since);
    snprintf(reason, sizeof(reason), "%s %s",
             account->deleted_on_request ? "deletion requested" : "expired", since);
    enum pl_err err = keyring_destroy(keyring, account->id, reason, NULL, why);
    if (err == PL_ENOTFOUND && (err = keyring_new_key(keyring, account->id, why)) == PL_OK) {
        err = keyring_destroy(keyring, account->id, reason, NULL, why);
    }
    return err;
}

static enum pl_err destroy_key(struct deletion_doing *doing, struct pl_why *why)
{
    if (doing->config->cutoffs != NULL) {
        /* The tombstone's own position, or a later one. */
        doing->deletion->position = cutoffs_position(doing->config->cutoffs);
        cutoffs_epoch(doing->config->cutoffs, &doing->deletion->epoch);
    }
    return deletion_end_key(doing->config->keyring, doing->account, why);
}

/* Counts from deletion->at on, or from the beginning. PL_ENOTFOUND: that was the last. */
static enum pl_err count_slice(struct store *store, struct deletion *deletion,
                               const struct range *range)
{
    struct certificate_count *sum = &deletion->counts[deletion->counting];
    struct pl_buf *at = &deletion->at;
    struct store_scan *scan;
    struct pl_span key, value;
    enum pl_err err = PL_OK;
    if (at->len == 0) {
        err = pl_buf_append(at, range->from, sizeof(range->from));
    }
    if (err == PL_OK) {
        err = store_scan_new(&scan, store, deletion_kinds[deletion->counting].family,
                             pl_buf_span(at), pl_buf_span(&range->to));
    }
    if (err != PL_OK) {
        return err;
    }
    for (size_t i = 0; i < COUNT_KEYS && (err = store_scan_next(scan, &key, &value)) == PL_OK;
         i++) {
        sum->items++;
        sum->bytes += key.len + value.len;
        if (i == COUNT_KEYS - 1) { /* behind this key */
            pl_buf_reset(at);
            err = pl_buf_append_span(at, key);
            if (err == PL_OK) {
                err = pl_buf_put_u8(at, 0);
            }
        }
    }
    store_scan_free(scan);
    return err;
}

static enum pl_err add_retired(void *ctx, uint64_t account, int64_t day,
                               const struct day_counts_row *row)
{
    struct certificate_count *sum = ctx;
    (void)account, (void)day;
    sum->items += row->retired.events;
    sum->bytes += row->retired.bytes;
    return PL_OK;
}

/* Days that went since the account's own day had come: those that went for their age are older. */
static void count_cleared(const struct deletion_doing *doing)
{
    const struct account *account = doing->account;
    struct certificate_count sum = {.kind = DELETION_CLEARED_KIND};
    if (account->cleared_ms != 0 && doing->config->day_counts != NULL) {
        sum.counted =
            day_counts_each(doing->config->day_counts, account->id,
                            retention_first_day(account->retention_months, account->cleared_ms),
                            VAULT_DAY_MAX, add_retired, &sum) == PL_OK;
    }
    doing->deletion->cleared =
        sum.counted ? sum : (struct certificate_count){.kind = DELETION_CLEARED_KIND};
}

/* A disk that does not give back what it holds hinders no deletion: the certificate says that it
 * was not counted. */
static enum pl_err count(struct deletion_doing *doing, struct pl_why *why)
{
    struct deletion *deletion = doing->deletion;
    const int64_t until_ms = pl_mono_ms(pl_clock_system()) + COUNT_MS;
    struct range range;
    enum pl_err err = range_of(deletion->account, &range, why);
    count_cleared(doing);
    while (err == PL_OK && deletion->counting < deletion_kind_count && !doing->partly) {
        struct certificate_count *sum = &deletion->counts[deletion->counting];
        enum pl_err counted = count_slice(doing->config->store, deletion, &range);
        if (counted == PL_OK) {
            doing->partly = pl_mono_ms(pl_clock_system()) >= until_ms;
            continue;
        }
        *sum = counted == PL_ENOTFOUND
                   ? (struct certificate_count){sum->kind, true, sum->items, sum->bytes}
                   : (struct certificate_count){.kind = sum->kind};
        deletion->counting++;
        pl_buf_reset(&deletion->at);
    }
    pl_buf_release(&range.to);
    return err;
}

/* Nothing of the account is written any more after this, and memory holds nothing of it. */
static enum pl_err quieten(struct deletion_doing *doing, struct pl_why *why)
{
    const struct lifecycle_config *config = doing->config;
    const uint64_t account = doing->deletion->account;
    size_t forgotten;
    enum pl_err err = PL_OK;
    /* Blocks that were opened while the account lived are written, or given up. */
    if (config->intake != NULL) {
        intake_settle(config->intake);
    }
    if (config->suppressions != NULL) {
        suppressions_forget(config->suppressions, account);
    }
    if (config->erasures != NULL) {
        erasures_forget(config->erasures, account);
    }
    if (config->links != NULL) {
        links_changed(config->links);
    }
    if (config->exports != NULL && exports_cancel(config->exports, account, EXPORTS_MS) != PL_OK) {
        return pl_fail(why, PL_EAGAIN, "an export of the account is still within a slice");
    }
    if (config->tokens != NULL) {
        err = tokens_forget(config->tokens, account, &forgotten, why);
    }
    if (err == PL_OK && config->day_counts != NULL) {
        err = day_counts_forget(config->day_counts, account, why);
    }
    return err == PL_OK ? retention_forget(config->store, account, why) : err;
}

/* Its name, hosts and rules may be of a person, too, and nothing from here on needs them. */
static enum pl_err forget_name(const struct deletion_doing *doing, struct pl_why *why)
{
    return doing->account->name[0] == '\0'
               ? PL_OK
               : accounts_forget(doing->config->accounts, doing->deletion->account, why);
}

static enum pl_err drop(struct deletion_doing *doing, struct pl_why *why)
{
    struct store *store = doing->config->store;
    struct store_batch *batch = NULL;
    struct range range;
    enum pl_err err = quieten(doing, why);
    if (err == PL_OK) {
        err = forget_name(doing, why);
    }
    if (err != PL_OK || (err = range_of(doing->deletion->account, &range, why)) != PL_OK) {
        return err;
    }
    err = store_batch_new(&batch);
    for (size_t i = 0; err == PL_OK && i < deletion_kind_count; i++) {
        store_batch_delete_range(batch, store, deletion_kinds[i].family,
                                 pl_span(range.from, sizeof(range.from)), pl_buf_span(&range.to));
    }
    err = err == PL_OK ? store_write(store, batch, true, why)
                       : pl_fail(why, err, "no memory for a deletion");
    store_batch_free(batch);
    pl_buf_release(&range.to);
    return err;
}

/* Families whose rows about the account were deleted one by one: their other rows stay. */
static const unsigned settled[] = {FAMILY_META, FAMILY_DAYS, FAMILY_CHANGES, FAMILY_TOKENS};
static_assert(DELETION_KINDS + sizeof(settled) / sizeof(settled[0]) + 1 <= RANGES_MAX,
              "there is room for every range");

static struct store_range whole_family(unsigned family)
{
    static const uint8_t first[1] = {0};
    static const uint8_t last[KEY_BYTES_MAX] = {[0 ... KEY_BYTES_MAX - 1] = 0xff};
    return (struct store_range){.family = family,
                                .from = pl_span(first, sizeof(first)),
                                .to = pl_span(last, sizeof(last)),
                                .settle = true};
}

/* Its id and its dates stay; what stood beside them goes. */
static struct store_range record_range(const struct range *range)
{
    return (struct store_range){.family = FAMILY_ACCOUNTS,
                                .from = pl_span(range->from, sizeof(range->from)),
                                .to = pl_buf_span(&range->to),
                                .settle = true};
}

static enum pl_err purge(struct deletion_doing *doing, struct pl_why *why)
{
    struct store_range ranges[RANGES_MAX];
    struct range range;
    size_t used = 0;
    enum pl_err err = range_of(doing->deletion->account, &range, why);
    if (err != PL_OK) {
        return err;
    }
    for (size_t i = 0; i < deletion_kind_count; i++) {
        ranges[used++] = (struct store_range){.family = deletion_kinds[i].family,
                                              .from = pl_span(range.from, sizeof(range.from)),
                                              .to = pl_buf_span(&range.to)};
    }
    for (size_t i = 0; i < sizeof(settled) / sizeof(settled[0]); i++) {
        ranges[used++] = whole_family(settled[i]);
    }
    ranges[used++] = record_range(&range);
    err = store_purge(doing->config->store, ranges, used, PURGE_TIMEOUT_MS, why);
    pl_buf_release(&range.to);
    return err;
}

/* What had to wait for the edges: blocks that were kept aside. The name is gone but for a deletion
 * that an earlier version began. */
static enum pl_err forget(struct deletion_doing *doing, struct pl_why *why)
{
    struct range range;
    enum pl_err err = forget_name(doing, why);
    if (err == PL_OK) {
        err = range_of(doing->deletion->account, &range, why);
    }
    if (err != PL_OK) {
        return err;
    }
    const struct store_range ranges[] = {record_range(&range), whole_family(FAMILY_QUARANTINE)};
    err = store_purge(doing->config->store, ranges, sizeof(ranges) / sizeof(ranges[0]),
                      PURGE_TIMEOUT_MS, why);
    pl_buf_release(&range.to);
    return err;
}

/* An edge whose disk was put back since it spoke has to speak again. */
static enum pl_err certify(struct deletion_doing *doing, struct pl_why *why)
{
    enum pl_err err = deletion_ask_edges(doing, why);
    if (err == PL_OK) {
        err = deletion_certify(doing->deletion, doing->config, doing->account, doing->now_ms, why);
    }
    return err == PL_OK && doing->config->holds != NULL
               ? holds_forget(doing->config->holds, doing->account->id, why)
               : err;
}

/* ---- in order */

static const struct {
    const char *name;
    enum pl_err (*act)(struct deletion_doing *doing, struct pl_why *why);
} steps[DELETION_STEPS] = {
    [DELETION_BEGUN] = {"begun", NULL},
    [DELETION_KEY] = {"key_destroyed", destroy_key},
    [DELETION_COUNTED] = {"counted", count},
    [DELETION_DROPPED] = {"dropped", drop},
    [DELETION_GONE] = {"physically_gone", purge},
    [DELETION_EDGES] = {"edges_confirmed", deletion_wait_for_edges},
    [DELETION_FORGOTTEN] = {"forgotten", forget},
    [DELETION_CERTIFIED] = {"certified", certify},
};

const char *deletion_step_name(enum deletion_step step)
{
    return steps[step].name;
}

/* What cannot be noted is done all the same: it was promised by a date, and the keyring's signed
 * entry and the certificate tell of it. */
static void note(const struct deletion_doing *doing, enum deletion_step step)
{
    char action[48];
    snprintf(action, sizeof(action), "deletion.%s", steps[step].name);
    const struct audit_entry entry = {
        .actor = "lifecycle",
        .action = action,
        .account = doing->deletion->account,
        .outcome = AUDIT_DONE,
    };
    audit_tell(doing->config->audit, &entry);
}

enum pl_err deletion_go_on(struct deletion *deletion, const struct lifecycle_config *config,
                           const struct account *account, int64_t now_ms, bool believed,
                           struct pl_why *why)
{
    struct deletion_doing doing = {.deletion = deletion,
                                   .config = config,
                                   .account = account,
                                   .now_ms = now_ms,
                                   .believed = believed};
    if (deletion->done == DELETION_CERTIFIED) {
        return PL_OK;
    }
    const enum deletion_step before = deletion->done, step = before + 1;
    enum pl_err err = steps[step].act(&doing, why);
    if (err != PL_OK || doing.partly) {
        return err;
    }
    deletion->done = step;
    deletion->done_ms[step] = now_ms;
    err = deletion_record(deletion, config, account, why);
    if (err != PL_OK) { /* it is done again */
        deletion->done = before;
        deletion->done_ms[step] = 0;
        return err;
    }
    note(&doing, step);
    if (step == DELETION_EDGES) {
        deletion_note_written_off(&doing);
    }
    return PL_OK;
}
