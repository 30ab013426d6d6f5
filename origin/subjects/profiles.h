/*
 * profiles: what an account's events say of one person: which pages were viewed, which offers were
 * shown and what came of them, and which principles of persuasion they respond to.
 *
 * Promise: a profile is computed from the person's events when it is asked for and kept nowhere. Of
 * each principle it gives the Beta posterior of the response rate, from a uniform prior: every
 * showing is a trial, one that was responded to is a success, and what is uncertain is said to be.
 *
 * Single-owner. Blocks on the disk.
 */
#ifndef POLDER_ORIGIN_SUBJECTS_PROFILES_H
#define POLDER_ORIGIN_SUBJECTS_PROFILES_H

#include "origin/subjects/visitors.h"

#define PROFILE_VIEWS_MAX  500    /* page views told, the newest */
#define PROFILE_SHOWN_MAX  200    /* showings told, the newest; all count */
#define PROFILE_OFFERS_MAX 100000 /* showings and responses that are looked at */
#define PROFILE_IDS_MAX    1000

/* Writes one JSON object; SPEC.md, "Visitors", gives its members. PL_ELIMIT: more offers than are
 * looked at. Key errors as keyring_key. */
enum pl_err profile_write(struct visitors *visitors, uint64_t account,
                          const struct identities *identities, struct json_writer *w,
                          struct pl_why *why);

#endif
