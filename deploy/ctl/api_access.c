#include "deploy/ctl/api_access.h"

#include "deploy/ctl/api.h"
#include "proto/base/file.h"

#include <stdlib.h>

/* One word, as it can stand in a header. */
static enum pl_err take_token(struct api_access *access, struct pl_span text, const char *from,
                              struct pl_why *why)
{
    while (text.len > 0 && strchr(" \t\r\n", text.data[text.len - 1]) != NULL)
        text.len--;
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] <= ' ' || text.data[i] > '~')
            return pl_fail(why, PL_EINVAL, "the token from %s is none: it has spaces in it", from);
    if (text.len == 0 || text.len >= sizeof(access->token))
        return pl_fail(why, PL_EINVAL, "the token from %s is none: it has %zu characters", from,
                       text.len);
    memcpy(access->token, text.data, text.len);
    access->token[text.len] = '\0';
    access->token_from = from;
    return PL_OK;
}

static enum pl_err find_token(const struct ctl *ctl, struct api_access *access, struct pl_why *why)
{
    const char *environment = getenv("POLDER_TOKEN");
    if (ctl->token != NULL)
        return take_token(access, pl_span_str(ctl->token), "--token", why);
    if (environment != NULL && environment[0] != '\0')
        return take_token(access, pl_span_str(environment), "POLDER_TOKEN", why);
    if (ctl->dir == NULL)
        return pl_fail(why, PL_EAUTH,
                       "no token: give --dir DIR (the directory that polderctl init made), "
                       "--token TOKEN, or POLDER_TOKEN in the environment");
    if (pl_path_join(access->token_file, sizeof(access->token_file), ctl->dir, "operator.token") !=
        PL_OK)
        return pl_fail(why, PL_ELIMIT, "the path in --dir is too long");
    struct pl_buf text;
    pl_buf_init(&text, API_TOKEN_BYTES);
    enum pl_err err = pl_file_read(access->token_file, "token file", true, &text, why);
    if (err == PL_OK)
        err = take_token(access, pl_buf_span(&text), access->token_file, why);
    pl_buf_wipe(&text);
    return err;
}

static enum pl_err find_base(const struct ctl *ctl, struct api_access *access, struct pl_why *why)
{
    size_t len = strlen(ctl->origin);
    if (strncmp(ctl->origin, "http://", 7) != 0 && strncmp(ctl->origin, "https://", 8) != 0)
        return pl_fail(why, PL_EINVAL,
                       "'%.200s' (from %s) is no address of an origin: it must begin with http:// "
                       "or https://",
                       ctl->origin, ctl->origin_from);
    while (len > 0 && ctl->origin[len - 1] == '/')
        len--;
    if (len >= sizeof(access->base) - API_PATH_BYTES)
        return pl_fail(why, PL_ELIMIT, "the address in %s is too long", ctl->origin_from);
    memcpy(access->base, ctl->origin, len);
    access->base[len] = '\0';
    return PL_OK;
}

enum pl_err api_access_find(struct api_access *access, const struct ctl *ctl, struct pl_why *why)
{
    enum pl_err err = find_base(ctl, access, why);
    return err == PL_OK ? find_token(ctl, access, why) : err;
}
