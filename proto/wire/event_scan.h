/*
 * event_scan: a look at an encoded event's bytes for what might be personal data.
 *
 * Promise: false only when event_mask would change nothing in it. Nearly every event is let through
 * for less than a tenth of what decoding it costs; a doubtful one is told from a bad one by looking
 * properly, which is event_mask's part.
 */
#ifndef POLDER_PROTO_WIRE_EVENT_SCAN_H
#define POLDER_PROTO_WIRE_EVENT_SCAN_H

#include "proto/base/span.h"

/* Bytes behind the event that are read along, whatever they hold. */
#define EVENT_SCAN_SLACK 80

/* kinds: PII_ bits of catalog.h. encoded: exactly what event_encode wrote. */
bool event_scan(struct pl_span encoded, unsigned kinds);

#endif
