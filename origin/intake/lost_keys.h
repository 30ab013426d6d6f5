/*
 * lost_keys: sealing keys that blocks come for and that the keyring never held: it was put back
 * from a copy of before they were made.
 *
 * Promise: such blocks wait at their edges, and are told of, until a newer copy of the keyring is
 * there or somebody gives their key up. From then on, also after a restart, every block for it is
 * dropped and counted. Only a key that blocks came for can be given up, and never one that the
 * keyring knows, whatever became of it; one that it knows again is used. A restored database has
 * forgotten it, and they wait again.
 *
 * Any thread.
 */
#ifndef POLDER_ORIGIN_INTAKE_LOST_KEYS_H
#define POLDER_ORIGIN_INTAKE_LOST_KEYS_H

#include "origin/keyring/keyring.h"
#include "proto/store/store.h"

#define LOST_KEYS_MAX          64 /* told of at a time */
#define LOST_KEYS_OF_EDGE_MAX  8  /* of them: one edge that errs hides no other's */
#define LOST_KEYS_GIVEN_UP_MAX 256

/* Blocks of one chain of one edge that wait for one key. */
struct lost_key {
    uint8_t id[BLOCK_KEY_ID_BYTES];
    struct pl_id128 edge, incarnation;
    uint64_t first, last; /* the lowest and the highest number that came */
    int64_t since_ms;     /* wall clock, of the first that came since this process began */
    int64_t heard_ms;     /* monotonic, of the latest */
};
struct given_up_key {
    uint8_t id[BLOCK_KEY_ID_BYTES];
    int64_t at_ms; /* wall clock */
};

struct lost_keys;
/* The others outlive it. PL_ECORRUPT: what was given up cannot be read. Blocks. */
enum pl_err lost_keys_open(struct lost_keys **out, struct store *store, struct keyring *keyring,
                           const struct pl_clock *clock, struct pl_why *why);
void lost_keys_close(struct lost_keys *lost); /* NULL is fine */

/* Of a block that does not open for PL_ENOTFOUND: whether that is for its key, which was given up.
 * One that was not is told of. Memory only. */
bool lost_keys_note(struct lost_keys *lost, const struct block_header *header);

/* Those that blocks came for within the last hour, at most max; gives how many there are. An edge
 * that is there sends what waits every few seconds. Memory only. */
size_t lost_keys_list(struct lost_keys *lost, struct lost_key *out, size_t max);
/* What was given up, oldest first; as above. */
size_t lost_keys_given_up(struct lost_keys *lost, struct given_up_key *out, size_t max);

/* For good; of one that is given up already PL_OK. PL_EEXISTS: the keyring knows it. PL_ENOTFOUND:
 * no block came for it within the last hour. PL_ELIMIT. Blocks on the disk. */
enum pl_err lost_keys_give_up(struct lost_keys *lost, const uint8_t id[BLOCK_KEY_ID_BYTES],
                              struct pl_why *why);

#endif
