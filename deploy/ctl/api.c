#include "deploy/ctl/api.h"
#include "deploy/ctl/api_access.h"
#include "deploy/ctl/table.h"

#include "proto/base/secret.h"
#include "proto/wire/limits.h"

#include <ctype.h>
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>

#define CONNECT_TIMEOUT_MS 5000L
#define CALL_TIMEOUT_MS    120000L /* a keyring of many keys takes its time to be re-wrapped */
#define LOOK_TIMEOUT_MS    10000L
#define SILENCE_SECONDS    60L         /* a stream that brings nothing for so long has broken off */
#define ERROR_BYTES_MAX    (64 * 1024) /* of an error's body */

/* ---- one exchange */

struct exchange {
    CURL *curl;
    struct curl_slist *headers;
    char error[CURL_ERROR_SIZE];
    /* where the body goes: the sink for 2xx when there is one, else kept */
    struct pl_buf *kept;
    enum pl_err (*sink)(void *ctx, struct pl_span bytes, struct pl_why *why);
    void *sink_ctx;
    enum pl_err body_err;
    struct pl_why *why;
};

static size_t on_body(char *data, size_t size, size_t count, void *ctx)
{
    struct exchange *x = ctx;
    long status = 0;
    size_t len = size * count; /* size is 1, says libcurl */
    curl_easy_getinfo(x->curl, CURLINFO_RESPONSE_CODE, &status);
    if (x->sink != NULL && status == 200) {
        x->body_err = x->sink(x->sink_ctx, pl_span(data, len), x->why);
    } else {
        x->body_err = pl_buf_append(x->kept, data, len);
        if (x->body_err != PL_OK)
            pl_fail(x->why, x->body_err, "the answer is larger than %zu bytes", x->kept->max_bytes);
    }
    return x->body_err == PL_OK ? len : 0;
}

static bool add_header(struct exchange *x, const char *line)
{
    struct curl_slist *grown = curl_slist_append(x->headers, line);
    if (grown == NULL)
        return false;
    x->headers = grown;
    return true;
}

static enum pl_err exchange_init(struct exchange *x, const char *url, struct pl_buf *kept,
                                 struct pl_why *why)
{
    *x = (struct exchange){.kept = kept, .why = why};
    x->curl = curl_easy_init();
    if (x->curl == NULL)
        return pl_fail(why, PL_ENOMEM, "libcurl cannot be started: no memory");
    curl_easy_setopt(x->curl, CURLOPT_URL, url);
    curl_easy_setopt(x->curl, CURLOPT_ERRORBUFFER, x->error);
    curl_easy_setopt(x->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(x->curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(x->curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
    curl_easy_setopt(x->curl, CURLOPT_USERAGENT, "polderctl/" POLDER_VERSION);
    curl_easy_setopt(x->curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(x->curl, CURLOPT_WRITEDATA, x);
    /* Debian's libcurl has a bundle of its own and reads this only when told to */
    const char *authorities = getenv("SSL_CERT_FILE");
    if (authorities != NULL && authorities[0] != '\0')
        curl_easy_setopt(x->curl, CURLOPT_CAINFO, authorities);
    /* a token never goes through a proxy in the clear; https tunnels through one */
    if (strncmp(url, "http://", 7) == 0)
        curl_easy_setopt(x->curl, CURLOPT_PROXY, "");
    return PL_OK;
}

static void exchange_release(struct exchange *x)
{
    /* the token stands in one of them */
    for (struct curl_slist *h = x->headers; h != NULL; h = h->next)
        pl_wipe(h->data, strlen(h->data));
    curl_slist_free_all(x->headers);
    curl_easy_cleanup(x->curl);
}

static const char *or_else(const char *text, const char *otherwise)
{
    return text[0] != '\0' ? text : otherwise;
}

/* As it stands within a sentence: "connection refused". */
static const char *errno_words(int code, char *out, size_t size)
{
    const char *text = strerrordesc_np(code);
    snprintf(out, size, "%s", text == NULL ? "unknown error" : text);
    out[0] = (char)tolower((unsigned char)out[0]);
    return out;
}

/* What libcurl met on the way, as a sentence. */
static enum pl_err explain_failure(const struct exchange *x, CURLcode code, const char *what,
                                   const char *url, const char *hint, struct pl_why *why)
{
    const char *detail = or_else(x->error, curl_easy_strerror(code));
    if (x->body_err != PL_OK)
        return x->body_err;
    switch (code) {
    case CURLE_URL_MALFORMAT:
        return pl_fail(why, PL_EINVAL, "'%.200s' is no URL: %s", url, detail);
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return pl_fail(why, PL_ECLOSED, "cannot reach %s at %s: its host name is not known%s", what,
                       url, hint);
    case CURLE_COULDNT_CONNECT: {
        long reason = 0;
        char words[64];
        curl_easy_getinfo(x->curl, CURLINFO_OS_ERRNO, &reason);
        return pl_fail(why, PL_ECLOSED, "cannot reach %s at %s: %s%s", what, url,
                       reason == 0 ? detail : errno_words((int)reason, words, sizeof(words)), hint);
    }
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
        return pl_fail(why, PL_ECLOSED,
                       "cannot trust %s at %s: %s (SSL_CERT_FILE may name the file of its "
                       "authority)",
                       what, url, detail);
    case CURLE_SSL_CONNECT_ERROR:
        return pl_fail(why, PL_ECLOSED, "no TLS with %s at %s: %s", what, url, detail);
    case CURLE_OPERATION_TIMEDOUT: {
        curl_off_t connected = 0;
        curl_easy_getinfo(x->curl, CURLINFO_CONNECT_TIME_T, &connected);
        if (connected == 0)
            return pl_fail(why, PL_ECLOSED, "cannot reach %s at %s: no answer in %ld s%s", what,
                           url, CONNECT_TIMEOUT_MS / 1000, hint);
        return pl_fail(why, PL_ETIMEDOUT, "%s at %s did not answer in time", what, url);
    }
    default:
        return pl_fail(why, PL_EIO, "the connection to %s at %s broke off: %s", what, url, detail);
    }
}

/* ---- errors of the API */

/* *about_it: it is what was asked for that is refused, whoever asks. */
static bool error_message(struct pl_span body, char *out, size_t size, bool *about_it)
{
    struct json_parser *parser = NULL;
    struct json root, error = {0}, value;
    struct pl_span message;
    bool found = json_parser_new(&parser, ERROR_BYTES_MAX, LIMIT_JSON_DEPTH) == PL_OK &&
                 json_parse(parser, body, &root, NULL) == PL_OK &&
                 json_get(root, "error", &error) && json_get(error, "message", &value) &&
                 json_string(value, &message) && message.len > 0;
    if (found)
        snprintf(out, size, "%.*s", (int)(message.len < size ? message.len : size - 1),
                 (const char *)message.data);
    *about_it = found && member_text(error, "field").len > 0;
    for (char *c = out; found && *c != '\0'; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f) /* it is not ours: nothing that moves a cursor */
            *c = '?';
    json_parser_free(parser);
    return found;
}

static enum pl_err explain_status(const struct api_access *access, long status, struct pl_span body,
                                  struct pl_why *why)
{
    char message[320] = "";
    bool about_it, told = error_message(body, message, sizeof(message), &about_it);
    switch (status) {
    case 401:
        return pl_fail(why, PL_EAUTH,
                       "the origin at %s does not know the token from %s: it is mistyped, revoked, "
                       "expired, or of another origin (the first one lies in DIR/operator.token: "
                       "--dir DIR; an operator makes others with polderctl token create)",
                       access->base, access->token_from);
    case 403:
        if (about_it)
            return pl_fail(why, PL_EDENIED, "the origin refuses: %s", message);
        return pl_fail(why, PL_EDENIED,
                       "the token from %s may not do this%s%s (polderctl token create --role "
                       "operator makes one that may)",
                       access->token_from, told ? ": " : "", message);
    case 404:
        return told ? pl_fail(why, PL_ENOTFOUND, "%s", message)
                    : pl_fail(why, PL_ENOTFOUND,
                              "%s answers 404: is it really an origin of this version?",
                              access->base);
    case 503:
        return pl_fail(why, PL_EAGAIN, "the origin cannot do it now: %s (try again in a moment)",
                       or_else(message, "it answered 503"));
    default:
        if (!told)
            return pl_fail(why, PL_EIO,
                           "%s answers with HTTP status %ld and no reason: is it really an origin?",
                           access->base, status);
        if (status >= 500)
            return pl_fail(why, PL_EIO, "the origin failed: %s (its log says more)", message);
        return pl_fail(why, PL_EINVAL, "the origin refuses: %s", message);
    }
}

/* ---- calls */

static enum pl_err prepare(struct ctl *ctl, struct exchange *x, struct api_access *access,
                           const char *path, struct pl_buf *kept, struct pl_why *why)
{
    char url[API_URL_BYTES], header[API_TOKEN_BYTES + 32];
    memset(x, 0, sizeof(*x));
    enum pl_err err = api_access_find(access, ctl, why);
    if (err != PL_OK)
        return err;
    int len = snprintf(url, sizeof(url), "%s/api/v1%s", access->base, path);
    if (len < 0 || (size_t)len >= sizeof(url))
        return pl_fail(why, PL_ELIMIT, "the address is too long");
    err = exchange_init(x, url, kept, why);
    if (err != PL_OK)
        return err;
    snprintf(header, sizeof(header), "Authorization: Bearer %s", access->token);
    bool added = add_header(x, header);
    pl_wipe(header, sizeof(header));
    /* no "Expect: 100-continue" round trip in front of a body */
    if (!added || !add_header(x, "Expect:") || !add_header(x, "Content-Type: application/json"))
        return pl_fail(why, PL_ENOMEM, "no memory for a request");
    curl_easy_setopt(x->curl, CURLOPT_HTTPHEADER, x->headers);
    return PL_OK;
}

static enum pl_err perform(struct exchange *x, const struct api_access *access, long *status,
                           struct pl_why *why)
{
    static const char hint[] = " (is it running? --origin or POLDER_ORIGIN names another)";
    CURLcode code = curl_easy_perform(x->curl);
    if (code != CURLE_OK)
        return explain_failure(x, code, "the origin", access->base, hint, why);
    curl_easy_getinfo(x->curl, CURLINFO_RESPONSE_CODE, status);
    return *status / 100 == 2 ? PL_OK : explain_status(access, *status, pl_buf_span(x->kept), why);
}

static enum pl_err parse_answer(struct api_answer *answer, struct pl_why *why)
{
    enum pl_err err = json_parser_new(&answer->parser, API_ANSWER_BYTES_MAX, LIMIT_JSON_DEPTH);
    return err == PL_OK ? json_parse(answer->parser, pl_buf_span(&answer->body), &answer->root, why)
                        : pl_fail(why, err, "no memory for the answer");
}

/* One call, its answer into out. */
static enum pl_err ask(struct ctl *ctl, const char *method, const char *path, struct pl_span body,
                       struct pl_buf *out, struct api_access *access, long *status,
                       struct pl_why *why)
{
    struct exchange x;
    enum pl_err err = prepare(ctl, &x, access, path, out, why);
    if (err == PL_OK) {
        curl_easy_setopt(x.curl, CURLOPT_CUSTOMREQUEST, method);
        curl_easy_setopt(x.curl, CURLOPT_TIMEOUT_MS, CALL_TIMEOUT_MS);
        if (strcmp(method, "GET") != 0 && strcmp(method, "DELETE") != 0) {
            curl_easy_setopt(x.curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len);
            curl_easy_setopt(x.curl, CURLOPT_POSTFIELDS, body.len == 0 ? "" : (void *)body.data);
        }
        err = perform(&x, access, status, why);
    }
    exchange_release(&x);
    return err;
}

enum pl_err api_call(struct ctl *ctl, const char *method, const char *path, struct pl_span body,
                     struct api_answer *answer, struct pl_why *why)
{
    struct api_access access = {.token_from = ""};
    pl_buf_init(&answer->body, API_ANSWER_BYTES_MAX);
    enum pl_err err = ask(ctl, method, path, body, &answer->body, &access, &answer->status, why);
    if (err == PL_OK && answer->body.len > 0) {
        err = parse_answer(answer, why);
        if (err != PL_OK)
            err =
                pl_fail_in(why, PL_EIO, "%s answers something that is not JSON (is it an origin?)",
                           access.base);
    }
    pl_wipe(&access, sizeof(access));
    return err;
}

enum pl_err api_fetch(struct ctl *ctl, const char *method, const char *path, struct pl_span body,
                      struct pl_buf *out, struct pl_why *why)
{
    struct api_access access = {.token_from = ""};
    long status;
    enum pl_err err = ask(ctl, method, path, body, out, &access, &status, why);
    pl_wipe(&access, sizeof(access));
    return err;
}

enum pl_err api_stream(struct ctl *ctl, const char *path, struct pl_span body,
                       enum pl_err (*sink)(void *ctx, struct pl_span bytes, struct pl_why *why),
                       void *ctx, struct pl_why *why)
{
    struct api_access access = {.token_from = ""};
    struct exchange x;
    struct pl_buf kept;
    long status;
    pl_buf_init(&kept, ERROR_BYTES_MAX);
    enum pl_err err = prepare(ctl, &x, &access, path, &kept, why);
    if (err == PL_OK) {
        x.sink = sink;
        x.sink_ctx = ctx;
        if (body.len > 0) {
            curl_easy_setopt(x.curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len);
            curl_easy_setopt(x.curl, CURLOPT_POSTFIELDS, (void *)body.data);
        }
        curl_easy_setopt(x.curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
        curl_easy_setopt(x.curl, CURLOPT_LOW_SPEED_TIME, SILENCE_SECONDS);
        err = perform(&x, &access, &status, why);
    }
    exchange_release(&x);
    pl_buf_release(&kept);
    pl_wipe(&access, sizeof(access));
    return err;
}

enum pl_err api_look(const char *url, struct api_answer *answer, struct pl_why *why)
{
    struct exchange x;
    pl_buf_init(&answer->body, API_ANSWER_BYTES_MAX);
    enum pl_err err = exchange_init(&x, url, &answer->body, why);
    if (err == PL_OK) {
        curl_easy_setopt(x.curl, CURLOPT_TIMEOUT_MS, LOOK_TIMEOUT_MS);
        CURLcode code = curl_easy_perform(x.curl);
        if (code != CURLE_OK)
            err = explain_failure(&x, code, "the node", url, " (is it running?)", why);
        else
            curl_easy_getinfo(x.curl, CURLINFO_RESPONSE_CODE, &answer->status);
    }
    if (err == PL_OK && parse_answer(answer, NULL) != PL_OK) {
        json_parser_free(answer->parser);
        answer->parser = NULL;
    }
    exchange_release(&x);
    return err;
}

void api_answer_release(struct api_answer *answer)
{
    json_parser_free(answer->parser);
    pl_buf_wipe(&answer->body); /* a new token may stand in it */
    *answer = (struct api_answer){.status = 0};
}

void api_print(const struct api_answer *answer)
{
    struct pl_span body = pl_buf_span(&answer->body);
    fwrite(body.data, 1, body.len, stdout);
    if (body.len > 0 && body.data[body.len - 1] != '\n')
        putchar('\n');
}

enum pl_err api_show(const struct ctl *ctl, const struct api_answer *answer,
                     enum pl_err (*show)(struct json root, struct pl_why *why), struct pl_why *why)
{
    if (!ctl->json)
        return show(answer->root, why);
    api_print(answer);
    return PL_OK;
}

enum ctl_exit api_end(const struct ctl *ctl, enum pl_err err, struct api_answer *answer,
                      enum pl_err (*show)(struct json root, struct pl_why *why), struct pl_why *why)
{
    if (err == PL_OK)
        err = api_show(ctl, answer, show, why);
    api_answer_release(answer);
    return ctl_result(err);
}
