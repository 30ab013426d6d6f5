#include "proto/wire/pii.h"

/* What stands before and behind the word that the scan looks for: every combination is a name. */
static const char *const owners[] = {
    "",        "client",     "user",         "visitor",      "customer", "remote",
    "real",    "x",          "xreal",        "xclient",      "device",   "public",
    "private", "local",      "source",       "src",          "origin",   "peer",
    "host",    "login",      "last",         "signup",       "request",  "browser",
    "sender",  "trueclient", "cfconnecting", "fastlyclient", "billing",  "order",
};
static const char *const kinds[] = {
    "ip", "ips", "ipaddress", "ipaddr", "ipv4", "ipv6", "ipv4address", "ipv6address",
};

static bool is_listed(struct pl_span word, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (pl_span_eq_str(word, list[i]))
            return true;
    return false;
}

/* "ip[2]", as repeated parameters are called, without its number. */
static struct pl_span without_index(struct pl_span name)
{
    size_t at = name.len;
    if (at == 0 || name.data[at - 1] != ']')
        return name;
    for (at--; at > 0 && pii_is_digit(name.data[at - 1]);)
        at--;
    return at > 0 && name.data[at - 1] == '[' ? pl_span(name.data, at - 1) : name;
}

bool pii_is_address_name(struct pl_span name)
{
    uint8_t text[PII_ADDRESS_NAME_BYTES];
    size_t len = 0;
    if (name.len > sizeof(text))
        return false;
    name = without_index(name);
    for (size_t i = 0; i < name.len; i++) {
        const uint8_t c = name.data[i];
        if (c == '.')
            len = 0; /* "cp.ip", "context.ip": what it is of */
        else if ((c == '-' || c == '_') && len > 0 && text[len - 1] == 'i')
            return false;
        else if (c != '-' && c != '_')
            text[len++] = c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
    }
    const struct pl_span folded = pl_span(text, len);
    for (size_t i = 0; i + 1 < len; i++)
        if (text[i] == 'i' && text[i + 1] == 'p' &&
            is_listed(pl_span(text, i), owners, sizeof(owners) / sizeof(owners[0])) &&
            is_listed(pl_span_from(folded, i), kinds, sizeof(kinds) / sizeof(kinds[0])))
            return true;
    return false;
}
