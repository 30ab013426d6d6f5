#include "origin/accounts/account_moves.h"

#define ON_REQUEST "deletion requested and confirmed, and no hold stands"
#define REDONE     "as the redo log has it"
#define KEYLESS    "its deletion had started, or its key is destroyed"

const struct account_move account_moves[] = {
    {ACCOUNT_ACTIVE, ACCOUNT_EXPIRED, MOVED_BY_TIME, "its date has passed"},
    {ACCOUNT_ACTIVE, ACCOUNT_EXPIRED, MOVED_BY_SOMEONE, "ended by hand"},
    {ACCOUNT_EXPIRED, ACCOUNT_DELETABLE, MOVED_BY_TIME, "45 days after its expiry"},
    {ACCOUNT_EXPIRED, ACCOUNT_ACTIVE, MOVED_BY_SOMEONE, "reinstated"},
    {ACCOUNT_DELETABLE, ACCOUNT_ACTIVE, MOVED_BY_SOMEONE, "reinstated, while it has all its days"},
    {ACCOUNT_DELETABLE, ACCOUNT_DELETABLE, MOVED_BY_TIME,
     "its own day has come, and a hold keeps some of its days: the others go"},
    {ACCOUNT_DELETABLE, ACCOUNT_DELETING, MOVED_BY_TIME,
     "its own day of 45 to 79 has come, and no hold stands"},
    {ACCOUNT_ACTIVE, ACCOUNT_DELETING, MOVED_BY_SOMEONE, ON_REQUEST},
    {ACCOUNT_EXPIRED, ACCOUNT_DELETING, MOVED_BY_SOMEONE, ON_REQUEST},
    {ACCOUNT_DELETABLE, ACCOUNT_DELETING, MOVED_BY_SOMEONE, ON_REQUEST},
    {ACCOUNT_DELETING, ACCOUNT_DELETED, MOVED_BY_TIME, "every step of its deletion is done"},
    /* The log is applied from some lines before the copy was made on: it also leads back, for the
     * while that it takes. */
    {ACCOUNT_ACTIVE, ACCOUNT_EXPIRED, MOVED_BY_RESTORE, REDONE},
    {ACCOUNT_ACTIVE, ACCOUNT_DELETABLE, MOVED_BY_RESTORE, REDONE},
    {ACCOUNT_EXPIRED, ACCOUNT_ACTIVE, MOVED_BY_RESTORE, REDONE},
    {ACCOUNT_EXPIRED, ACCOUNT_DELETABLE, MOVED_BY_RESTORE, REDONE},
    {ACCOUNT_DELETABLE, ACCOUNT_ACTIVE, MOVED_BY_RESTORE, REDONE},
    {ACCOUNT_DELETABLE, ACCOUNT_EXPIRED, MOVED_BY_RESTORE, REDONE},
    {ACCOUNT_DELETABLE, ACCOUNT_DELETABLE, MOVED_BY_RESTORE, "some of its days had gone"},
    {ACCOUNT_ACTIVE, ACCOUNT_DELETING, MOVED_BY_RESTORE, KEYLESS},
    {ACCOUNT_EXPIRED, ACCOUNT_DELETING, MOVED_BY_RESTORE, KEYLESS},
    {ACCOUNT_DELETABLE, ACCOUNT_DELETING, MOVED_BY_RESTORE, KEYLESS},
};
const size_t account_move_count = sizeof(account_moves) / sizeof(account_moves[0]);

const char *account_mover_name(enum account_mover mover)
{
    static const char *const names[] = {[MOVED_BY_TIME] = "time",
                                        [MOVED_BY_SOMEONE] = "somebody",
                                        [MOVED_BY_RESTORE] = "a restore"};
    return names[mover];
}

bool account_may_move(enum account_state from, enum account_state to, enum account_mover by)
{
    for (size_t i = 0; i < account_move_count; i++) {
        const struct account_move *move = &account_moves[i];
        if (move->from == from && move->to == to && move->by == by) {
            return true;
        }
    }
    return false;
}
