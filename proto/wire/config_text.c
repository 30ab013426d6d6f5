#include "proto/wire/config_shape.h"

#include "proto/base/clock.h"

#include <ctype.h>
#include <strings.h>

static bool begins_nocase(struct pl_span text, const char *with)
{
    size_t len = strlen(with);
    return text.len >= len && strncasecmp((const char *)text.data, with, len) == 0;
}

static bool holds_nocase(struct pl_span text, const char *needle)
{
    for (size_t i = 0; i < text.len; i++)
        if (begins_nocase(pl_span_from(text, i), needle))
            return true;
    return false;
}

/* The URL standard drops leading controls and spaces, and tabs and line ends anywhere. */
static bool is_script_url(struct pl_span text)
{
    static const char scheme[] = "javascript:";
    size_t at = 0, matched = 0;
    while (at < text.len && text.data[at] <= ' ')
        at++;
    for (; at < text.len && matched < sizeof(scheme) - 1; at++) {
        if (matched > 0 && memchr("\t\n\r", text.data[at], 3) != NULL)
            continue;
        if (tolower(text.data[at]) != scheme[matched])
            return false;
        matched++;
    }
    return matched == sizeof(scheme) - 1;
}

/* "onclick =" behind what ends a tag's name or an attribute. */
static bool is_handler(struct pl_span text)
{
    size_t at = 3;
    if (text.len < 5 || memchr(" \t\n\f\r\"'/", text.data[0], 8) == NULL ||
        !begins_nocase(pl_span_from(text, 1), "on"))
        return false;
    while (at < text.len && isalpha(text.data[at]))
        at++;
    if (at == 3)
        return false;
    while (at < text.len && memchr(" \t\n\f\r", text.data[at], 5) != NULL)
        at++;
    return at < text.len && text.data[at] == '=';
}

static bool holds_handler(struct pl_span text)
{
    bool in_tag = false;
    for (size_t i = 0; i < text.len; i++) {
        if (in_tag && is_handler(pl_span_from(text, i)))
            return true;
        if (text.data[i] == '<')
            in_tag = true;
        else if (text.data[i] == '>')
            in_tag = false;
    }
    return false;
}

static bool is_banned(const struct config_ban *ban, struct pl_span text)
{
    switch (ban->kind) {
    case CONFIG_BAN_IS:
        return text.len == strlen(ban->text) && begins_nocase(text, ban->text);
    case CONFIG_BAN_BEGIN:
        return begins_nocase(text, ban->text);
    case CONFIG_BAN_HOLD:
        return holds_nocase(text, ban->text);
    case CONFIG_BAN_SCRIPT_URL:
        return is_script_url(text);
    case CONFIG_BAN_HANDLER:
        return holds_handler(text);
    case CONFIG_BAN_NONE:
        break;
    }
    return false;
}

const struct config_ban *config_text_ban(const struct config_ban *bans, struct pl_span text)
{
    for (; bans != NULL && bans->kind != CONFIG_BAN_NONE; bans++)
        if (is_banned(bans, text))
            return bans;
    return NULL;
}

bool config_text_fits(const struct config_row *row, struct pl_span text)
{
    bool begins = row->begins == NULL;
    for (size_t i = 0; !begins && row->begins[i] != NULL; i++)
        begins = pl_span_starts(text, pl_span_str(row->begins[i]));
    for (size_t i = 0; begins && row->chars != NULL && i < text.len; i++)
        begins = text.data[i] != '\0' && strchr(row->chars, text.data[i]) != NULL;
    return begins;
}

/* RFC 3339, section 5.6, wants date and time, and a T between them. */
bool config_time_parse(struct pl_span text, int64_t *wall_ms)
{
    return text.len > 10 && (text.data[10] == 'T' || text.data[10] == 't') &&
           pl_time_parse(text, wall_ms);
}
