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

bool pl_link_url_is(const char *text)
{
    const size_t prefix = strlen(PL_LINK_PREFIX);
    const char *port = strrchr(text, ':');
    uint64_t number;
    return strncmp(text, PL_LINK_PREFIX, prefix) == 0 && port > text + prefix &&
           pl_span_to_u64(pl_span_str(port + 1), &number) && number != 0 && number <= UINT16_MAX &&
           strpbrk(text, " \t\"\\") == NULL;
}
