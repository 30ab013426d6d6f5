#include "deploy/ctl/account_rules.h"

static bool is_yes_or_no(const char *word)
{
    return word == NULL || strcmp(word, "yes") == 0 || strcmp(word, "no") == 0;
}

/* A variable that was not set leaves such a gap, and a list that is empty means all. */
static bool has_gap(const char *list)
{
    const size_t len = list == NULL ? 0 : strlen(list);
    return len > 0 && (list[0] == ',' || list[len - 1] == ',' || strstr(list, ",,") != NULL);
}

enum ctl_exit account_rules_usage(const struct ctl_args *args, struct pl_why *why)
{
    static const struct {
        int option;
        const char *name;
    } lists[] = {{RULE_REGIONS, "regions"},
                 {RULE_ORIGINS, "origins"},
                 {RULE_ALIASES, "aliases"},
                 {RULE_HOSTS, "hosts"},
                 {RULE_PII, "pii"}};
    const char *cookie = args->options[RULE_COOKIE], *months = args->options[RULE_RETENTION];
    uint64_t number;
    if (months != NULL && !pl_span_to_u64(pl_span_str(months), &number))
        return ctl_usage(why, "--retention-months must be a whole number, not '%.100s'", months);
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
        if (has_gap(args->options[lists[i].option]))
            return ctl_usage(why, "--%s has nothing before or after a comma: '%.100s'",
                             lists[i].name, args->options[lists[i].option]);
    return is_yes_or_no(cookie)
               ? CTL_OK
               : ctl_usage(why, "--cookie must be yes or no, not '%.100s'", cookie);
}

static void write_list(struct json_writer *w, const char *name, const char *list)
{
    if (list == NULL)
        return;
    json_write_key(w, name);
    json_write_array(w);
    while (*list != '\0') {
        size_t len = strcspn(list, ",");
        if (len > 0)
            json_write_string(w, pl_span(list, len));
        list += len + (list[len] == ',' ? 1 : 0);
    }
    json_write_array_end(w);
}

static void write_text(struct json_writer *w, const char *name, const char *text)
{
    if (text != NULL)
        json_write_pair_text(w, name, text);
}

static void write_cookie(const struct ctl_args *args, struct json_writer *w)
{
    const char *enabled = args->options[RULE_COOKIE];
    bool any = false;
    for (int i = RULE_COOKIE; i <= RULE_COOKIE_SAME_SITE; i++)
        any |= args->options[i] != NULL;
    if (!any)
        return;
    json_write_key(w, "cookie");
    json_write_object(w);
    if (enabled != NULL)
        json_write_pair_bool(w, "enabled", strcmp(enabled, "yes") == 0);
    write_text(w, "name", args->options[RULE_COOKIE_NAME]);
    write_text(w, "domain", args->options[RULE_COOKIE_DOMAIN]);
    write_text(w, "same_site", args->options[RULE_COOKIE_SAME_SITE]);
    json_write_object_end(w);
}

void account_rules_request(const struct ctl_args *args, struct json_writer *w)
{
    uint64_t months;
    if (args->options[RULE_RETENTION] != NULL &&
        pl_span_to_u64(pl_span_str(args->options[RULE_RETENTION]), &months))
        json_write_pair_u64(w, "retention_months", months);
    write_list(w, "regions", args->options[RULE_REGIONS]);
    write_list(w, "origins", args->options[RULE_ORIGINS]);
    write_list(w, "aliases", args->options[RULE_ALIASES]);
    write_list(w, "hosts", args->options[RULE_HOSTS]);
    write_text(w, "snowplow_path", args->options[RULE_SNOWPLOW_PATH]);
    write_cookie(args, w);
    if (args->options[RULE_PII] != NULL) {
        json_write_key(w, "pii");
        json_write_object(w);
        write_list(w, "mask", args->options[RULE_PII]);
        json_write_object_end(w);
    }
}

static void show_cookie(struct table *table, struct json account)
{
    struct json cookie;
    bool enabled;
    if (!json_get(account, "cookie", &cookie) || !json_get(cookie, "enabled", &account) ||
        !json_bool(account, &enabled))
        return;
    const struct pl_span name = member_text(cookie, "name"), domain = member_text(cookie, "domain"),
                         same_site = member_text(cookie, "same_site");
    table_text(table, "visitor cookie");
    if (!enabled)
        table_text(table, "none");
    else
        table_format(table, "%.*s, SameSite=%.*s%s%.*s", PL_SPAN_FMT(name), PL_SPAN_FMT(same_site),
                     domain.len == 0 ? "" : ", Domain=", PL_SPAN_FMT(domain));
}

void account_rules_show(struct table *table, struct json account)
{
    static const struct table_field fields[] = {
        {"regions", "regions", "all", false},
        {"origins", "origins", "any", false},
        {"aliases", "aliases", "none", false},
        {"hosts of its own", "hosts", "none", false},
        {"Snowplow path", "snowplow_path", "none", false},
        {0},
    };
    struct json pii;
    table_fields(table, account, fields);
    show_cookie(table, account);
    if (json_get(account, "pii", &pii)) {
        table_text(table, "masked");
        table_member(table, pii, "mask", "nothing");
    }
}
