/*
 * probes_parts: what the files of the probes share. Private to edge/probes*.c.
 */
#ifndef POLDER_EDGE_PROBES_PARTS_H
#define POLDER_EDGE_PROBES_PARTS_H

#include "edge/probes.h"

/* Everything there is to know. */
struct probes_look {
    struct spool_status spool;
    struct uplink_status link;
    struct catalog_status catalog;
    struct cutoff_status cutoff;
    struct suppression_counts fullest;
    struct pl_why collecting; /* err PL_OK: events are being taken */
    int64_t config_age_s;     /* -1: never heard */
    int64_t oldest_pending_s;
    int64_t certificate_left_ms;
    int64_t quarantined_s; /* the oldest of them */
    struct pl_why tls;     /* err PL_OK: the certificates in force are those of the files */
};

void probes_look(const struct edge_loop *loop, struct probes_look *out);
/* Not to be kept by anybody on the way. */
void probes_reply(struct http_request *request, int status, struct pl_span type,
                  struct pl_span body);

#endif
