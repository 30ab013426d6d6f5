#include "origin/accounts/account_states.h"

#include <stdio.h>

/* One change, as its edit needs it. */
struct change {
    struct holds *holds;
    int64_t now_ms;      /* at the latest that can be: what counts from now is not over too early */
    int64_t earliest_ms; /* holds end by it */
    int64_t at_ms, requested_ms;
    const char *reason;
    struct pl_id128 request;
    bool flag;
};

static struct change change_at(struct accounts *accounts)
{
    struct change change = {.holds = NULL};
    accounts_now_ms(accounts, &change.earliest_ms, &change.now_ms);
    return change;
}

/* ---- expiry and back */

static enum pl_err edit_expire(void *ctx, struct account *account, struct pl_why *why)
{
    const struct change *change = ctx;
    enum account_state state = account_state_at(account, change->now_ms);
    const bool so =
        change->at_ms == account->expires_at_ms || (change->at_ms == 0 && state != ACCOUNT_ACTIVE);
    if (so && account->expires_at_ms != 0 && state < ACCOUNT_DELETING) {
        account->was_so = true;
        return PL_OK;
    }
    if (state != ACCOUNT_ACTIVE) {
        return pl_fail(why, PL_EEXPIRED, "account %s is %s already", account_called(account).text,
                       account_state_name(state));
    }
    if (change->at_ms != 0 && change->at_ms < change->now_ms) {
        return pl_fail_field(why, PL_EINVAL, "at", "at has passed already; leave it out for now");
    }
    account->expires_at_ms = change->at_ms == 0 ? change->now_ms : change->at_ms;
    account->state = account->expires_at_ms <= change->now_ms ? ACCOUNT_EXPIRED : ACCOUNT_ACTIVE;
    return PL_OK;
}

enum pl_err accounts_expire(struct accounts *accounts, uint64_t id, int64_t at_ms,
                            struct account *out, struct pl_why *why)
{
    struct change change = change_at(accounts);
    change.at_ms = at_ms;
    return accounts_change(accounts, id, MOVED_BY_SOMEONE, edit_expire, &change, out, why);
}

static void forget_request(struct account *account)
{
    account->requested_ms = 0;
    account->request_reason[0] = '\0';
    memset(&account->request_id, 0, sizeof(account->request_id));
}

static enum pl_err edit_reinstate(void *ctx, struct account *account, struct pl_why *why)
{
    const struct change *change = ctx;
    if (account->state >= ACCOUNT_DELETING) {
        return pl_fail(why, PL_EEXPIRED, "account %s cannot come back: its deletion %s",
                       account_called(account).text,
                       account->state == ACCOUNT_DELETED ? "is done" : "has started");
    }
    if (account->cleared_ms != 0) {
        char since[PL_TIME_TEXT];
        pl_time_format(account->cleared_ms, since);
        return pl_fail(why, PL_EEXPIRED,
                       "account %s cannot come back: its deletion has started; the days that no "
                       "hold keeps have been going since %s",
                       account_called(account).text, since);
    }
    if (change->at_ms != 0 && change->at_ms <= change->now_ms) {
        return pl_fail_field(why, PL_EINVAL, "expires_at", "expires_at has passed already");
    }
    account->was_so = account->state == ACCOUNT_ACTIVE && account->expires_at_ms == change->at_ms &&
                      account->requested_ms == 0;
    account->state = ACCOUNT_ACTIVE;
    account->expires_at_ms = change->at_ms;
    account->imported = false;
    forget_request(account);
    return PL_OK;
}

enum pl_err accounts_reinstate(struct accounts *accounts, uint64_t id, int64_t expires_at_ms,
                               struct account *out, struct pl_why *why)
{
    struct change change = change_at(accounts);
    change.at_ms = expires_at_ms;
    return accounts_change(accounts, id, MOVED_BY_SOMEONE, edit_reinstate, &change, out, why);
}

/* ---- deletion on request */

static void begin_deletion(struct account *account, bool on_request, int64_t now_ms)
{
    account->state = ACCOUNT_DELETING;
    account->deleted_on_request = on_request;
    account->deletion_started_ms = now_ms;
}

/* What stands against a request, or against carrying it out. */
static enum pl_err may_delete(const struct change *change, const struct account *account,
                              struct pl_why *why)
{
    struct hold hold;
    if (account->state >= ACCOUNT_DELETING) {
        return pl_fail(why, PL_EEXPIRED, "account %s is %s already", account_called(account).text,
                       account_state_name(account->state));
    }
    if (holds_stand(change->holds, account->id, false, change->earliest_ms, &hold)) {
        return pl_fail(why, PL_EEXISTS,
                       "account %s cannot be deleted: it is under a hold (%s); release it first",
                       account_called(account).text, hold.reason);
    }
    return PL_OK;
}

static enum pl_err edit_request(void *ctx, struct account *account, struct pl_why *why)
{
    const struct change *change = ctx;
    if (change->flag && account->state >= ACCOUNT_DELETING) {
        account->was_so = true;
        return PL_OK;
    }
    enum pl_err err = may_delete(change, account, why);
    if (err == PL_OK) {
        account->is_ours = !change->flag;
        account->requested_ms = change->now_ms;
        account->request_id = change->request;
        snprintf(account->request_reason, sizeof(account->request_reason), "%s", change->reason);
    }
    if (err == PL_OK && change->flag) {
        begin_deletion(account, true, change->now_ms);
    }
    return err;
}

static enum pl_err request_deletion(struct accounts *accounts, struct holds *holds, uint64_t id,
                                    const char *reason, bool now, struct account *out,
                                    struct pl_why *why)
{
    struct change change = change_at(accounts);
    if (reason[0] == '\0') {
        return pl_fail_field(why, PL_EINVAL, "reason",
                             "reason is missing: say why the account is to be deleted");
    }
    if (accounts_random_id(accounts, &change.request) != PL_OK) {
        return pl_fail(why, PL_EIO, "no random bytes for a request");
    }
    change.holds = holds;
    change.reason = reason;
    change.flag = now;
    return accounts_change(accounts, id, MOVED_BY_SOMEONE, edit_request, &change, out, why);
}

enum pl_err accounts_request_deletion(struct accounts *accounts, struct holds *holds, uint64_t id,
                                      const char *reason, struct account *out, struct pl_why *why)
{
    return request_deletion(accounts, holds, id, reason, false, out, why);
}

enum pl_err accounts_delete_now(struct accounts *accounts, struct holds *holds, uint64_t id,
                                const char *reason, struct account *out, struct pl_why *why)
{
    return request_deletion(accounts, holds, id, reason, true, out, why);
}

static enum pl_err edit_confirm(void *ctx, struct account *account, struct pl_why *why)
{
    const struct change *change = ctx;
    bool mine = account->requested_ms != 0 && pl_id128_eq(&account->request_id, &change->request);
    if (mine && account->deleted_on_request && account->state >= ACCOUNT_DELETING) {
        account->was_so = true;
        return PL_OK;
    }
    enum pl_err err = may_delete(change, account, why);
    if (err != PL_OK) {
        return err;
    }
    if (!mine) {
        return pl_fail_field(why, PL_ENOTFOUND, "request",
                             "nobody asked for this deletion of account %s, or a later request "
                             "took its place",
                             account_called(account).text);
    }
    if (change->now_ms - account->requested_ms > ACCOUNT_CONFIRM_DAYS * PL_DAY_MS) {
        return pl_fail_field(why, PL_ENOTFOUND, "request",
                             "the request is more than %d days old; ask again",
                             ACCOUNT_CONFIRM_DAYS);
    }
    begin_deletion(account, true, change->now_ms);
    return PL_OK;
}

enum pl_err accounts_confirm_deletion(struct accounts *accounts, struct holds *holds, uint64_t id,
                                      const struct pl_id128 *request, struct account *out,
                                      struct pl_why *why)
{
    struct change change = change_at(accounts);
    change.holds = holds;
    change.request = *request;
    return accounts_change(accounts, id, MOVED_BY_SOMEONE, edit_confirm, &change, out, why);
}

static enum pl_err edit_withdraw(void *ctx, struct account *account, struct pl_why *why)
{
    (void)ctx;
    if (account->state >= ACCOUNT_DELETING) {
        return pl_fail(why, PL_EEXPIRED, "account %s is %s already: nothing can bring it back",
                       account_called(account).text, account_state_name(account->state));
    }
    account->was_so = account->requested_ms == 0;
    account->is_ours = true;
    forget_request(account);
    return PL_OK;
}

enum pl_err accounts_withdraw_deletion(struct accounts *accounts, uint64_t id, struct account *out,
                                       struct pl_why *why)
{
    return accounts_change(accounts, id, MOVED_BY_SOMEONE, edit_withdraw, NULL, out, why);
}

/* ---- holds */

struct placing {
    struct holds *holds;
    struct json request;
    const char *actor;
    struct hold *out;
};

static enum pl_err place(void *ctx, const struct account *account, struct pl_why *why)
{
    const struct placing *placing = ctx;
    if (account->state >= ACCOUNT_DELETING) {
        return pl_fail(why, PL_EEXPIRED, "account %s is %s already: there is nothing left to hold",
                       account_called(account).text, account_state_name(account->state));
    }
    return holds_place(placing->holds, account->id, placing->request, placing->actor, placing->out,
                       why);
}

enum pl_err accounts_hold(struct accounts *accounts, struct holds *holds, uint64_t id,
                          struct json request, const char *actor, struct hold *out,
                          struct pl_why *why)
{
    struct placing placing = {.holds = holds, .request = request, .actor = actor, .out = out};
    return accounts_during(accounts, id, place, &placing, why);
}

/* ---- the lifecycle's */

struct move {
    enum account_state from, to;
    bool (*due)(void *ctx, const struct account *account, int64_t now_ms);
    void *ctx;
    int64_t now_ms;
};

static enum pl_err edit_move(void *ctx, struct account *account, struct pl_why *why)
{
    const struct move *move = ctx;
    if (account->state != move->from) {
        return pl_fail(why, PL_EAGAIN, "account %016llx is %s by now, not %s",
                       (unsigned long long)account->id, account_state_name(account->state),
                       account_state_name(move->from));
    }
    if (!move->due(move->ctx, account, move->now_ms)) {
        return pl_fail(why, PL_EAGAIN, "account %016llx was renewed, or held, meanwhile",
                       (unsigned long long)account->id);
    }
    if (move->to == ACCOUNT_DELETING) {
        begin_deletion(account, false, move->now_ms);
    } else if (move->to == ACCOUNT_DELETED) {
        account->deleted_ms = move->now_ms;
    } else if (move->to == move->from) {
        account->cleared_ms = move->now_ms;
    }
    account->state = move->to;
    return PL_OK;
}

enum pl_err accounts_move(struct accounts *accounts, uint64_t id, enum account_state from,
                          enum account_state to,
                          bool (*due)(void *ctx, const struct account *account, int64_t now_ms),
                          void *ctx, int64_t now_ms, struct account *out, struct pl_why *why)
{
    struct move move = {.from = from, .to = to, .due = due, .ctx = ctx, .now_ms = now_ms};
    return accounts_change(accounts, id, MOVED_BY_TIME, edit_move, &move, out, why);
}

static enum pl_err edit_again(void *ctx, struct account *account, struct pl_why *why)
{
    const struct change *change = ctx;
    (void)why;
    account->was_so = account->state >= ACCOUNT_DELETING;
    if (!account->was_so) {
        begin_deletion(account, change->requested_ms != 0, change->at_ms);
    }
    if (!account->was_so && change->requested_ms != 0) {
        account->requested_ms = change->requested_ms;
    }
    return PL_OK;
}

enum pl_err accounts_delete_again(struct accounts *accounts, uint64_t id, int64_t requested_ms,
                                  int64_t started_ms, struct account *out, struct pl_why *why)
{
    struct change change = {.at_ms = started_ms, .requested_ms = requested_ms};
    return accounts_change(accounts, id, MOVED_BY_RESTORE, edit_again, &change, out, why);
}

static enum pl_err edit_forget(void *ctx, struct account *account, struct pl_why *why)
{
    const struct account known = *account;
    (void)ctx;
    if (account->state < ACCOUNT_DELETING) {
        return pl_fail(why, PL_EINVAL, "account %s is not being deleted",
                       account_called(account).text);
    }
    account_init(account);
    account->id = known.id;
    account->state = known.state;
    account->created_ms = known.created_ms;
    account->expires_at_ms = known.expires_at_ms;
    account->imported = known.imported;
    account->requested_ms = known.requested_ms;
    account->request_id = known.request_id;
    account->deleted_on_request = known.deleted_on_request;
    account->cleared_ms = known.cleared_ms;
    account->deletion_started_ms = known.deletion_started_ms;
    account->deleted_ms = known.deleted_ms;
    return PL_OK;
}

enum pl_err accounts_forget(struct accounts *accounts, uint64_t id, struct pl_why *why)
{
    return accounts_change(accounts, id, MOVED_BY_TIME, edit_forget, NULL, NULL, why);
}
