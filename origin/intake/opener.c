/* The openers: from sealed block to sealed values, in parallel. */
#include "origin/intake/intake_state.h"
#include "proto/base/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* Opened blocks that may wait for the writer, all openers together. */
#define HELD_BYTES_MAX ((size_t)64 << 20)

static enum pl_err seal_secret(void *ctx, const uint8_t id[BLOCK_KEY_ID_BYTES],
                               uint8_t secret[PL_X25519_BYTES])
{
    const struct intake *intake = ctx;
    const enum pl_err err = keyring_seal_secret(intake->config.keyring, id, secret);
    return err == PL_ECORRUPT ? PL_EAGAIN : err; /* damaged or locked: not the block's fault */
}

static enum pl_err edge_public(void *ctx, const struct pl_id128 *edge,
                               uint8_t public_key[PL_X25519_BYTES])
{
    const struct intake *intake = ctx;
    return intake->config.edge_public(intake->config.edge_ctx, edge, public_key);
}

enum pl_err intake_opener_init(struct intake_opener *o, struct intake *intake)
{
    const struct block_opener_keys keys = {
        .seal_secret = seal_secret, .edge_public = edge_public, .ctx = intake};
    o->intake = intake;
    pl_buf_init(&o->plain, LIMIT_BLOCK_PLAIN_BYTES);
    pl_buf_init(&o->redated, LIMIT_EVENT_WIRE_BYTES);
    o->event = calloc(1, sizeof(*o->event));
    enum pl_err err = o->event == NULL ? PL_ENOMEM : event_reader_new(&o->reader);
    if (err == PL_OK)
        err = vault_sealer_new(&o->sealer, intake->config.keyring, 0);
    if (err == PL_OK)
        err = id_hashers_new(&o->hashers, intake->config.keyring, 0);
    return err == PL_OK ? block_opener_new(&o->blocks, &keys) : err;
}

void intake_opener_release(struct intake_opener *o)
{
    if (o->intake == NULL)
        return;
    vault_sealer_free(o->sealer);
    id_hashers_free(o->hashers);
    block_opener_free(o->blocks);
    event_reader_free(o->reader);
    free(o->event);
    pl_buf_wipe(&o->plain);
    pl_buf_wipe(&o->redated);
}

/* ---- one event */

/* What is asked about once a block: the fate of the accounts that it names in turn, the time, and
 * how its edge stands. */
struct fates {
    int64_t now_ms, latest_ms; /* differ while the clock is in doubt: then neither counts alone */
    struct erasure_edge edge;
    size_t count;
    struct {
        uint64_t account;
        enum intake_fate fate;
        int64_t expired_ms;
    } known[32];
};

static void look_at_clock(const struct intake *intake, struct fates *fates)
{
    if (intake->config.belief != NULL)
        clock_belief_range(intake->config.belief, &fates->now_ms, &fates->latest_ms);
    else
        fates->now_ms = fates->latest_ms = pl_wall_ms(intake->config.clock);
}

/* An expired account's key lives until its deletion: what an edge promised to store while the
 * account was active is stored, however late it comes. */
static enum intake_fate fate_of(const struct intake *intake, struct fates *fates, uint64_t account,
                                int64_t accepted_ms)
{
    size_t i = fates->count;
    while (i-- > 0)
        if (fates->known[i].account == account)
            break;
    if (i == SIZE_MAX) {
        if (fates->count == sizeof(fates->known) / sizeof(fates->known[0]))
            fates->count = 0;
        i = fates->count++;
        fates->known[i].account = account;
        fates->known[i].expired_ms = 0;
        fates->known[i].fate = intake->config.account(intake->config.account_ctx, account,
                                                      fates->now_ms, &fates->known[i].expired_ms);
    }
    enum intake_fate fate = fates->known[i].fate;
    return fate == INTAKE_EXPIRED && accepted_ms < fates->known[i].expired_ms ? INTAKE_ALIVE : fate;
}

static enum pl_err add_entry(struct intake_job *job, struct intake_entry **out)
{
    if (job->entry_count == job->entry_room) {
        size_t room = job->entry_room == 0 ? 16 : 2 * job->entry_room;
        if (job->entry_room == 0 && job->block.events_header <= LIMIT_BLOCK_EVENTS)
            room = job->block.events_header + 1;
        struct intake_entry *more = realloc(job->entries, room * sizeof(*more));
        if (more == NULL)
            return PL_ENOMEM;
        job->entries = more;
        job->entry_room = room;
    }
    *out = &job->entries[job->entry_count];
    **out = (struct intake_entry){.value_at = job->arena.len};
    return PL_OK;
}

/* Seals an event of an account that lives. */
static enum pl_err seal_event(struct intake_opener *o, struct intake_job *job,
                              struct pl_span encoded, const struct vault_place *place)
{
    struct intake_entry *e;
    enum pl_err err = add_entry(job, &e);
    if (err == PL_OK)
        err = vault_key_of(o->sealer, o->event, place, &e->entry.key);
    if (err == PL_OK)
        err = vault_seal(o->sealer, &e->entry.key, encoded, &job->arena);
    if (err != PL_OK)
        return err;
    struct pl_span id = event_str(o->event, EVENT_MESSAGE_ID);
    e->value_len = job->arena.len - e->value_at;
    e->id_at = job->arena.len;
    e->id_len = id.len;
    err = pl_buf_append_span(&job->arena, id);
    const size_t links_at = job->links.len;
    if (err == PL_OK && o->intake->config.links != NULL)
        err = links_note(o->sealer, o->event, &e->entry.key, &job->links);
    if (err != PL_OK) {
        job->links.len = links_at;
        return err;
    }
    e->links_len = job->links.len - links_at;
    job->entry_count++;
    return PL_OK;
}

/* Days are what exports, windows and deletions go by. An edge whose clock is wrong must not file
 * events under years where nobody looks; its events are dated by ours as far as need be. */
static enum pl_err hold_date(struct intake_opener *o, struct intake_job *job,
                             const struct fates *fates, struct pl_span *encoded)
{
    int64_t ms = event_i64(o->event, EVENT_ACCEPTED_MS);
    int64_t first_ms = fates->now_ms - INTAKE_PAST_DAYS * PL_DAY_MS;
    int64_t last_ms = fates->latest_ms + PL_DAY_MS;
    if (!event_has(o->event, EVENT_ACCEPTED_MS) || (ms >= first_ms && ms <= last_ms))
        return PL_OK;
    event_set_i64(o->event, EVENT_ACCEPTED_MS, ms < first_ms ? first_ms : last_ms);
    pl_buf_reset(&o->redated);
    enum pl_err err = event_encode(o->event, &o->redated);
    *encoded = pl_buf_span(&o->redated);
    if (job->redated++ == 0) /* one line a block */
        pl_log(o->intake->config.log, PL_LOG_WARN, "intake",
               "block %" PRIu64
               " holds events of %s: is the edge's clock wrong? They are dated anew",
               job->block.number, ms < first_ms ? "long ago" : "days to come");
    return err == PL_ELIMIT ? PL_EINVAL : err;
}

/* An opt-out is kept like any event, and takes effect when its block is written. */
static enum pl_err note_choice(const struct intake_opener *o, struct intake_job *job)
{
    struct suppression said;
    enum pl_err err = suppressions_parse(o->event, &said);
    if (err == PL_OK)
        err = pl_buf_append(&job->said, &said, sizeof(said));
    return err == PL_ENOTFOUND ? PL_OK : err;
}

/* ---- whose events are not taken */

static enum pl_err note_lead(struct intake_opener *o, struct intake_job *job, int64_t now_ms,
                             const struct event_ids *ids, struct pl_id128 erasure,
                             enum event_id_field field, enum identity_kind kind)
{
    static const enum event_field fields[] = {[EVENT_IDS_VISITOR] = EVENT_VISITOR_ID,
                                              [EVENT_IDS_USER] = EVENT_USER_ID,
                                              [EVENT_IDS_PREVIOUS] = EVENT_PREVIOUS_ID};
    struct erasure_learned learned = {.account = ids->account, .erasure = erasure};
    uint8_t prefix[VAULT_VISITOR_PREFIX];
    enum pl_err err =
        vault_visitor_prefix(o->sealer, ids->account, pl_day_of(now_ms),
                             event_str(o->event, fields[field]), kind == IDENTITY_USER, prefix);
    if (err != PL_OK)
        return err;
    learned.identity.kind = (uint8_t)kind;
    memcpy(learned.identity.hash, ids->id[field].hash, ID_HASH_BYTES);
    memcpy(learned.identity.vault_hash, prefix + 10, IDENTITY_HASH_BYTES);
    return pl_buf_append(&job->learned, &learned, sizeof(learned));
}

/* What a dropped event tells of its person's other ids. */
static enum pl_err note_leads(struct intake_opener *o, struct intake_job *job, int64_t now_ms,
                              const struct event_ids *ids, const struct erasure_hit *hit)
{
    enum pl_err err = PL_OK;
    for (size_t i = 0; err == PL_OK && i < hit->lead_count; i++) {
        const enum event_id_field field = hit->leads[i].field;
        const enum identity_kind kind = hit->leads[i].kind;
        err = note_lead(o, job, now_ms, ids, hit->following, field, kind);
        /* The ids of an alias may have been visitors' as well. */
        if (err == PL_OK && kind == IDENTITY_USER && ids->id[EVENT_IDS_PREVIOUS].present)
            err = note_lead(o, job, now_ms, ids, hit->following, field, IDENTITY_VISITOR);
    }
    return err;
}

/* Whether the event, accepted then as its edge says, is of somebody who said no, or of before
 * somebody's erasure. What it says of opt-outs counts all the same. */
static enum pl_err judge_person(struct intake_opener *o, struct intake_job *job,
                                const struct fates *fates, int64_t accepted_ms, bool *dropped)
{
    const struct intake_config *config = &o->intake->config;
    const uint64_t account = event_u64(o->event, EVENT_ACCOUNT);
    const bool suppressed =
        config->suppressions != NULL && suppressions_any(config->suppressions, account);
    const bool erased = config->erasures != NULL && erasures_any(config->erasures, account);
    struct erasure_hit hit;
    struct event_ids ids;
    enum pl_err err = suppressed || erased ? id_hashers_event(o->hashers, o->event, &ids) : PL_OK;
    if (err != PL_OK)
        return err;
    if (suppressed &&
        suppressions_concern(config->suppressions, &ids, event_i64(o->event, EVENT_ACCEPTED_MS))) {
        job->block.counts.dropped[DROP_OPTED_OUT]++;
        *dropped = true;
        return PL_OK;
    }
    if (config->suppressions != NULL)
        err = note_choice(o, job);
    if (err == PL_OK && erased &&
        erasures_concern(config->erasures, o->event, &ids, accepted_ms, &fates->edge, &hit)) {
        job->block.counts.dropped[DROP_ERASED]++;
        *dropped = true;
        return note_leads(o, job, fates->now_ms, &ids, &hit);
    }
    return err;
}

/* Who says no while the account is expired has said it should the account be reinstated. */
static bool is_choice(const struct event *event)
{
    const uint64_t type = event_u64(event, EVENT_TYPE);
    return type == EVENT_OPT_OUT || type == EVENT_OPT_IN;
}

/* PL_OK: sealed, or dropped with a reason. Anything else stops the block. */
static enum pl_err take_event(struct intake_opener *o, struct intake_job *job, struct fates *fates,
                              struct pl_span encoded, const struct vault_place *place)
{
    struct ledger_counts *counts = &job->block.counts;
    uint64_t account = event_u64(o->event, EVENT_ACCOUNT);
    const int64_t accepted_ms = event_i64(o->event, EVENT_ACCEPTED_MS);
    bool dropped = false;
    enum pl_err err = hold_date(o, job, fates, &encoded);
    enum intake_fate fate =
        account == 0 ? INTAKE_ALIVE
                     : fate_of(o->intake, fates, account, event_i64(o->event, EVENT_ACCEPTED_MS));
    if (fate == INTAKE_EXPIRED && is_choice(o->event))
        fate = INTAKE_ALIVE;
    counts->events++;
    switch (fate) {
    case INTAKE_EXPIRED:
        counts->dropped[DROP_EXPIRED]++;
        return PL_OK;
    case INTAKE_DELETED:
        counts->dropped[DROP_DELETED]++;
        return PL_OK;
    case INTAKE_UNKNOWN:
        counts->dropped[DROP_UNKNOWN]++;
        return PL_OK;
    case INTAKE_ALIVE:
        break;
    }
    if (err == PL_OK && account != 0)
        err = judge_person(o, job, fates, accepted_ms, &dropped);
    if (err == PL_OK && !dropped)
        err = seal_event(o, job, encoded, place);
    switch (err) {
    case PL_EINVAL: /* without an account, or accepted at an impossible time */
        counts->dropped[DROP_MALFORMED]++;
        return PL_OK;
    case PL_EEXPIRED: /* the key was destroyed while the block was on its way */
        counts->dropped[DROP_DELETED]++;
        return PL_OK;
    case PL_ENOTFOUND:
    case PL_ECORRUPT:
        snprintf(job->reason, sizeof(job->reason),
                 "account %016" PRIx64 " is alive but its data key is not at hand (see the "
                 "keyring's alarms)",
                 account);
        return err;
    default:
        return err;
    }
}

/* ---- one block */

static void refuse(struct intake_job *job, enum block_verdict verdict, const char *reason)
{
    job->verdict = verdict;
    if (job->reason[0] == '\0')
        pl_text_print(job->reason, sizeof(job->reason), "%s", reason);
}

/* Whether a block that cannot be opened might be opened later. */
static bool may_change(enum pl_err err)
{
    switch (err) {
    case PL_EAUTH:
    case PL_ECORRUPT:
    case PL_EINVAL:
    case PL_ELIMIT:
        return false;
    default: /* edges and keys may come back, newer versions be installed, memory be found */
        return true;
    }
}

/* An event that cannot be read is dropped; where not even its end can be found, so is all that
 * the header counts behind it. */
static void drop_malformed(struct intake_opener *o, struct intake_job *job, struct pl_span *rest,
                           const struct pl_why *why)
{
    struct ledger_counts *counts = &job->block.counts;
    uint64_t lost = 1;
    if (event_skip(o->reader, rest) != PL_OK) {
        *rest = pl_span(NULL, 0);
        if (job->block.events_header > counts->events)
            lost = job->block.events_header - counts->events;
    }
    /* One line a block, however many there are. */
    if (counts->dropped[DROP_MALFORMED] == 0)
        pl_log(o->intake->config.log, PL_LOG_WARN, "intake",
               "block %" PRIu64 " holds events that cannot be read: %s", job->block.number,
               why->text);
    counts->events += lost;
    counts->dropped[DROP_MALFORMED] += lost;
}

static void take_events(struct intake_opener *o, struct intake_job *job)
{
    struct fates fates = {.count = 0};
    look_at_clock(o->intake, &fates);
    if (o->intake->config.erasures != NULL)
        fates.edge = erasures_edge(o->intake->config.erasures, &job->block.edge);
    struct vault_place place = {.incarnation = job->block.incarnation, .number = job->block.number};
    struct pl_span rest = pl_buf_span(&o->plain), encoded;
    struct pl_why why = {.err = PL_OK};
    for (;; place.index++) {
        enum pl_err err = event_read(o->reader, &rest, o->event, &encoded, &why);
        if (err == PL_ENOTFOUND)
            return;
        if (err != PL_OK) {
            drop_malformed(o, job, &rest, &why);
            continue;
        }
        err = take_event(o, job, &fates, encoded, &place);
        if (err != PL_OK) {
            refuse(job, BLOCK_RETRY, pl_err_word(err));
            return;
        }
    }
}

/* One whose key is destroyed, or lost and given up, nobody can open and nobody shall: its edge has
 * its answer and lets go of it. */
static void answer_closed(const struct intake_opener *o, struct intake_job *job,
                          const struct block_header *header, enum pl_err err,
                          const struct pl_why *why)
{
    const struct intake_config *config = &o->intake->config;
    struct ledger_counts *counts = &job->block.counts;
    const bool given_up = err == PL_ENOTFOUND && config->lost_keys != NULL &&
                          lost_keys_note(config->lost_keys, header);
    if (err != PL_EEXPIRED && !given_up) {
        refuse(job, may_change(err) ? BLOCK_RETRY : BLOCK_REFUSED, why->text);
        return;
    }
    counts->events = counts->dropped[given_up ? DROP_KEY_LOST : DROP_KEY_DESTROYED] =
        job->block.events_header;
    pl_log(config->log, PL_LOG_WARN, "intake", "%" PRIu32 " events are dropped: %s%s",
           job->block.events_header, given_up ? "their key was given up: " : "", why->text);
}

/* Opens, decodes and seals; never fails: what is wrong becomes the job's verdict. */
static void open_job(struct intake_opener *o, struct intake_job *job)
{
    struct block_header header;
    struct pl_span body;
    struct pl_why why = {.err = PL_OK};
    if (job->block.lost || job->verdict != 0)
        return;
    block_hash(job->bytes, job->block.hash);
    enum pl_err err = block_parse(job->bytes, &header, &body, &why);
    if (err == PL_OK) {
        job->placed = true;
        job->block.incarnation = header.incarnation;
        job->block.number = header.number;
        job->block.events_header = header.events;
        memcpy(job->block.previous_hash, header.previous_hash, BLOCK_HASH_BYTES);
        if (!pl_id128_eq(&header.edge, &job->block.edge))
            err = pl_fail(&why, PL_EAUTH, "a block of another edge than the one that sent it");
    }
    if (err == PL_OK) {
        pl_buf_reset(&o->plain);
        err = block_open(o->blocks, &header, job->bytes, &o->plain, &why);
    }
    if (err != PL_OK) {
        answer_closed(o, job, &header, err, &why);
        return;
    }
    pl_buf_init(&job->said, LIMIT_BLOCK_EVENTS * sizeof(struct suppression));
    pl_buf_init(&job->links, 2 * LIMIT_BLOCK_PLAIN_BYTES);
    pl_buf_init(&job->learned, 4 * LIMIT_BLOCK_EVENTS * sizeof(struct erasure_learned));
    pl_buf_init(&job->arena, 4 * LIMIT_BLOCK_PLAIN_BYTES + (size_t)LIMIT_BLOCK_EVENTS * 256);
    /* About what it comes to; growing would copy. */
    if (pl_buf_reserve(&job->arena, o->plain.len / 2 + 64 * (size_t)header.events + 512) != PL_OK) {
        refuse(job, BLOCK_RETRY, "out of memory");
        return;
    }
    take_events(o, job);
    for (size_t i = 0; i < job->entry_count; i++) {
        struct intake_entry *e = &job->entries[i];
        e->entry.value = pl_span(job->arena.data + e->value_at, e->value_len);
        e->entry.message_id = pl_span(job->arena.data + e->id_at, e->id_len);
    }
}

/* ---- the thread */

/* With the lock held. */
static void wait_a_tick(pthread_cond_t *condition, pthread_mutex_t *lock)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += INTAKE_TICK_MS / 1000;
    pthread_cond_timedwait(condition, lock, &until);
}

/* NULL when there is nothing: after a tick, or at the end. */
static struct intake_job *next_job(struct intake *intake, bool *stop)
{
    pthread_mutex_lock(&intake->lock);
    if (intake->queue == NULL && !intake->stopping)
        wait_a_tick(&intake->filled, &intake->lock);
    /* The writer is behind: what is opened must not pile up. */
    while (intake->held_bytes > HELD_BYTES_MAX)
        wait_a_tick(&intake->moved, &intake->lock);
    struct intake_job *job = intake->queue;
    if (job != NULL) {
        intake->queue = job->next;
        if (intake->queue == NULL)
            intake->queue_tail = &intake->queue;
    }
    *stop = job == NULL && intake->stopping;
    pthread_mutex_unlock(&intake->lock);
    return job;
}

static void forget_destroyed(struct intake_opener *o)
{
    const uint64_t generation = keyring_generation(o->intake->config.keyring);
    if (o->generation != generation)
        block_opener_forget(o->blocks);
    o->generation = generation;
}

void *intake_opener_run(void *arg)
{
    struct intake_opener *o = arg;
    struct intake *intake = o->intake;
    pthread_setname_np(pthread_self(), "opener");
    for (bool stop = false; !stop;) {
        struct intake_job *job = next_job(intake, &stop);
        vault_sealer_tidy(o->sealer);
        id_hashers_tidy(o->hashers);
        forget_destroyed(o);
        if (job == NULL)
            continue;
        open_job(o, job);
        job->held_bytes = job->arena.cap + job->entry_room * sizeof(*job->entries);
        pthread_mutex_lock(&intake->lock);
        intake->held_bytes += job->held_bytes;
        pthread_mutex_unlock(&intake->lock);
        pl_mailbox_post(&intake->writer.inbox, &job->mail);
    }
    return NULL;
}
