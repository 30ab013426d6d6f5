/*
 * api_access: which origin is asked, and with whose token. Private to api.
 *
 * Promise: an address begins with http:// or https://; a token is one word. Errors name the
 * option, variable or file that each came from, and never show a token.
 */
#ifndef POLDER_DEPLOY_CTL_API_ACCESS_H
#define POLDER_DEPLOY_CTL_API_ACCESS_H

#include "deploy/ctl/ctl.h"

#define API_URL_BYTES   4096
#define API_TOKEN_BYTES 256

/* The caller wipes it. */
struct api_access {
    char base[API_URL_BYTES]; /* without a slash at its end */
    char token[API_TOKEN_BYTES];
    const char *token_from; /* for errors */
    char token_file[API_URL_BYTES];
};

enum pl_err api_access_find(struct api_access *access, const struct ctl *ctl, struct pl_why *why);

#endif
