/*
 * account_deletion: polderctl account delete, confirm-delete, keep, deletion, hold, holds, release.
 */
#ifndef POLDER_DEPLOY_CTL_ACCOUNT_DELETION_H
#define POLDER_DEPLOY_CTL_ACCOUNT_DELETION_H

#include "deploy/ctl/ctl.h"

/* Rows of the noun's table of commands. */
extern const struct ctl_option account_delete_options[], account_hold_options[],
    account_release_options[];
enum ctl_exit account_delete_run(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why);
enum ctl_exit account_confirm_delete_run(struct ctl *ctl, const struct ctl_args *args,
                                         struct pl_why *why);
enum ctl_exit account_keep_run(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why);
enum ctl_exit account_deletion_run(struct ctl *ctl, const struct ctl_args *args,
                                   struct pl_why *why);
enum ctl_exit account_hold_run(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why);
enum ctl_exit account_holds_run(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why);
enum ctl_exit account_release_run(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why);

#define ACCOUNT_DELETION_COMMANDS                                                                  \
    {"delete",                                                                                     \
     "ACCOUNT",                                                                                    \
     "Asks for an account's deletion",                                                             \
     "Its deletion begins when the request is confirmed, within 7 days, or at once with --now. "   \
     "From then on nothing can bring its data back. An account under a hold is not deleted.\n\n"   \
     "Examples:\n"                                                                                 \
     "  polderctl account delete my-shop --reason \"contract ended, ticket 4711\"\n"               \
     "  polderctl account delete my-shop --reason \"ticket 4711\" --now",                          \
     account_delete_options,                                                                       \
     account_delete_run},                                                                          \
        {"confirm-delete",                                                                         \
         "ACCOUNT ID",                                                                             \
         "Confirms a request for deletion",                                                        \
         "The deletion begins at once. ID is what polderctl account delete has printed.\n\n"       \
         "Example:\n"                                                                              \
         "  polderctl account confirm-delete my-shop 8f14e45fceea167a5a36dedd4bea2543",            \
         NULL,                                                                                     \
         account_confirm_delete_run},                                                              \
        {"keep",                                                                                   \
         "ACCOUNT",                                                                                \
         "Takes a request for deletion back",                                                      \
         "Possible until it is confirmed.\n\n"                                                     \
         "Example:\n  polderctl account keep my-shop",                                             \
         NULL,                                                                                     \
         account_keep_run},                                                                        \
        {"deletion",                                                                               \
         "ACCOUNT",                                                                                \
         "Shows how far an account's deletion is",                                                 \
         "And which edges it waits for.\n\nExample:\n  polderctl account deletion "                \
         "8f14e45fceea167a",                                                                       \
         NULL,                                                                                     \
         account_deletion_run},                                                                    \
        {"hold",                                                                                   \
         "ACCOUNT",                                                                                \
         "Forbids to delete an account's data",                                                    \
         "All of it, or that of a range of days. For statutory periods and disputes. It stands "   \
         "until its date or until it is released; "                                                \
         "days that no hold covers go when they are due, and from then on the account cannot be "  \
         "reinstated.\n\n"                                                                         \
         "Examples:\n"                                                                             \
         "  polderctl account hold my-shop --reason \"HGB 257\" --until 2032-12-31\n"              \
         "  polderctl account hold my-shop --reason \"case 7 O 12/26\" \\\n"                       \
         "      --from 2026-03-01 --to 2026-03-31",                                                \
         account_hold_options,                                                                     \
         account_hold_run},                                                                        \
        {"holds",                                                                                  \
         "ACCOUNT",                                                                                \
         "Lists an account's holds",                                                               \
         "Example:\n  polderctl account holds my-shop",                                            \
         NULL,                                                                                     \
         account_holds_run},                                                                       \
    {                                                                                              \
        "release", "ACCOUNT HOLD", "Ends a hold",                                                  \
            "HOLD is its id. What was due meanwhile is deleted.\n\n"                               \
            "Example:\n"                                                                           \
            "  polderctl account release my-shop 8f14e45fceea167a5a36dedd4bea2543 \\\n"            \
            "      --reason \"case closed\"",                                                      \
            account_release_options, account_release_run                                           \
    }

#endif
