/* The accounts of an origin, which may be closed and opened again. */
#ifndef POLDER_TESTS_ORIGIN_ACCOUNTS_FIXTURE_H
#define POLDER_TESTS_ORIGIN_ACCOUNTS_FIXTURE_H

#include "records_fixture.h"

#include "origin/accounts/accounts.h"

static struct records r;
static struct changelog *changelog;
static struct accounts *accounts;

static inline void open_accounts(void)
{
    must(changelog_open(&changelog, r.store, pl_random_system(), &r.why), &r.why);
    struct accounts_config config = {.store = r.store,
                                     .changelog = changelog,
                                     .keyring = r.keyring,
                                     .clock = &r.clock,
                                     .random = pl_random_system(),
                                     .log = &r.f.silent};
    must(accounts_open(&accounts, &config, &r.why), &r.why);
}

static inline void close_accounts(void)
{
    accounts_close(accounts);
    changelog_close(changelog);
}

static inline int setup(void **state)
{
    (void)state;
    records_init(&r);
    open_accounts();
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    close_accounts();
    records_release(&r);
    return 0;
}

static inline void reopen(void)
{
    close_accounts();
    records_close(&r);
    records_open(&r);
    open_accounts();
}

static inline struct account create(const char *request)
{
    struct account account;
    must(accounts_create(accounts, parse(&r, request), &account, &r.why), &r.why);
    return account;
}

#endif
