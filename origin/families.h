/*
 * families: the origin's key families, in one table, so that a store is opened the same way by
 * every program and test.
 *
 * Promise: an index is for ever the same family; new ones are added at the end. The comment at
 * each says its keys; integers in keys are big-endian.
 */
#ifndef POLDER_ORIGIN_FAMILIES_H
#define POLDER_ORIGIN_FAMILIES_H

#include "proto/store/store.h"

enum origin_family {
    FAMILY_META,   /* name → one-off facts: format version, changelog epoch, clock floor */
    FAMILY_VAULT,  /* account(8) day(2) visitor-hash(8) time(6) event-hash(8) → sealed event */
    FAMILY_DEDUPE, /* account(8) version(1) event-hash(8) → the rest of the vault key, 14 bytes */
    FAMILY_LEDGER, /* edge(16) incarnation(16) number(8) → what became of the block */
    FAMILY_CHAINS, /* edge(16) incarnation(16) → summary of the chain */
    FAMILY_QUARANTINE, /* edge(16) incarnation(16) number(8) hash(8) → block kept aside */
    FAMILY_ACCOUNTS,   /* account(8) → state, write key, rules */
    FAMILY_CONFIGS,    /* account(8) version(8) → published campaign config */
    FAMILY_CHANGES,    /* position(8) → catalog item */
    FAMILY_EDGES,      /* edge(16) → keys, region, revocation */
    FAMILY_TOKENS,     /* token id → hash, role, account */
    FAMILY_RECORDS,    /* account(8) sequence(8) → what lifecycle did to the account, and when */
    FAMILY_SUPPRESSIONS, /* account(8) consent-id(16) → one opt-out: proto/wire/suppression.h */
    FAMILY_LINKS,        /* account(8) direction(1) hash(8) hash(8) → the two ids, sealed */
    FAMILY_ERASURES,     /* account(8) erasure-id(16) → whom an erasure concerns, up to when */
    FAMILY_DAYS,         /* account(8) day(2) what(1) → how many events were stored, or removed */
    FAMILY_CUTOFFS,      /* edge(16) → the feed position up to which it holds no older block */
    FAMILY_HOLDS,        /* account(8) hold-id(16) → why its data must not go, until when */
    FAMILY_CERTIFICATES, /* account(8) → the certificate of its deletion */
    FAMILY_COUNT
};

/* FAMILY_COUNT rows, for store_config.families. */
extern const struct store_family origin_families[FAMILY_COUNT];

#endif
