/*
 * config: the campaign config that an account publishes: its checks, its schema, its public form.
 *
 * Promise: config_check accepts exactly what the snippet understands and points at the first
 * thing that is wrong by path and, for syntax, by line. config_public is what browsers get:
 * minified, keys in a fixed order, the version inside, so equal configs give equal bytes.
 */
#ifndef POLDER_PROTO_WIRE_CONFIG_H
#define POLDER_PROTO_WIRE_CONFIG_H

#include "proto/base/buf.h"
#include "proto/base/err.h"

struct config_problem {
    unsigned line, column; /* from 1; 0 when unknown */
    char path[128];        /* "campaigns[2].variants[0].weight" */
    char text[256];        /* what is wrong and what would be right */
};

/* PL_OK and *count 0 when the document can be published; PL_EINVAL and the problems, up to max of
 * them, when it cannot. Reads as "PATH TEXT": "campaigns[2].url[0] must not be empty". */
enum pl_err config_check(struct pl_span json, struct config_problem *problems, size_t max,
                         size_t *count);
/* Appends a JSON Schema (draft 2020-12) of what config_check accepts, as one line. What a schema
 * cannot say is listed in SPEC.md. */
enum pl_err config_schema(struct pl_buf *out);
/* Appends the public document. PL_EINVAL (with the first problem) when config_check would. */
enum pl_err config_public(struct pl_span json, uint64_t version, struct pl_buf *out,
                          struct pl_why *why);

#endif
