#include "proto/base/address.h"
#include "proto/base/span.h"

#include <arpa/inet.h>

static bool split(const char *text, struct pl_span *host, struct pl_span *port)
{
    const char *colon = strrchr(text, ':');
    if (colon == NULL) {
        return false;
    }
    *host = pl_span(text, (size_t)(colon - text));
    *port = pl_span_str(colon + 1);
    bool bracketed = host->len >= 2 && host->data[0] == '[' && host->data[host->len - 1] == ']';
    if (bracketed) {
        *host = pl_span(host->data + 1, host->len - 2);
    }
    /* Without brackets "::1:80" could be read two ways. */
    return bracketed == (host->len > 0 && memchr(host->data, ':', host->len) != NULL);
}

static bool parse(const char *text, struct pl_address *out)
{
    struct pl_span host, port;
    uint64_t number;
    uint8_t bytes[16];
    if (!split(text, &host, &port) || host.len >= sizeof(out->host) ||
        !pl_span_to_u64(port, &number) || number > UINT16_MAX) {
        return false;
    }
    struct pl_address address = {.port = (uint16_t)number};
    memcpy(address.host, host.data, host.len);
    if (inet_pton(AF_INET, address.host, bytes) != 1 &&
        inet_pton(AF_INET6, address.host, bytes) != 1) {
        return false;
    }
    *out = address;
    return true;
}

enum pl_err pl_address_parse(const char *text, const char *key, struct pl_address *out,
                             struct pl_why *why)
{
    if (parse(text, out)) {
        return PL_OK;
    }
    return pl_fail_field(why, PL_EINVAL, key,
                         "%s: \"%s\" is not a numeric address with a port; expected one like "
                         "127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080",
                         key, text);
}

/* Fills out up with zeros; the family, for what pl_address_parse took. */
static int numeric(const char *host, uint8_t out[16])
{
    memset(out, 0, 16);
    return inet_pton(AF_INET, host, out) == 1 ? AF_INET : inet_pton(AF_INET6, host, out) * AF_INET6;
}

/* Port 0 is any free one; an address is part of every address of its family. */
static bool clash(const struct pl_address *a, const struct pl_address *b)
{
    static const uint8_t every[16] = {0};
    uint8_t one[16], other[16];
    if (a->port != b->port || a->port == 0 || numeric(a->host, one) != numeric(b->host, other)) {
        return false;
    }
    return memcmp(one, other, sizeof(one)) == 0 || memcmp(one, every, sizeof(one)) == 0 ||
           memcmp(other, every, sizeof(other)) == 0;
}

enum pl_err pl_address_check_all(const struct pl_address_option *options, size_t count,
                                 struct pl_why *why)
{
    struct pl_address one, other;
    for (size_t i = 0; i < count; i++) {
        if (*options[i].text == '\0') {
            continue;
        }
        enum pl_err err = pl_address_parse(options[i].text, options[i].key, &one, why);
        if (err != PL_OK) {
            return err;
        }
        for (size_t k = 0; k < i; k++) {
            if (parse(options[k].text, &other) && clash(&other, &one)) {
                return pl_fail_field(why, PL_EINVAL, options[i].key,
                                     "%s and %s are both to listen at %s: give each an address or "
                                     "a port of its own",
                                     options[k].key, options[i].key, options[i].text);
            }
        }
    }
    return PL_OK;
}

bool pl_link_url_is(const char *text)
{
    const size_t prefix = strlen(PL_LINK_PREFIX);
    const char *port = strrchr(text, ':');
    uint64_t number;
    return strncmp(text, PL_LINK_PREFIX, prefix) == 0 && port > text + prefix &&
           pl_span_to_u64(pl_span_str(port + 1), &number) && number != 0 && number <= UINT16_MAX &&
           strpbrk(text, " \t\"\\") == NULL;
}
