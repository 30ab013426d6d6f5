#include "origin/accounts/account_rules.h"
#include "origin/request.h"

#include <stdio.h>

static const struct {
    const char *word;
    enum pii_kind bit;
} pii_words[] = {{"email", PII_EMAIL}, {"card", PII_CARD}, {"phone", PII_PHONE}};

/* ---- lists of words */

static bool next_word(const char **rest, struct pl_span *word)
{
    *word = pl_span(*rest, strcspn(*rest, " "));
    *rest += word->len + ((*rest)[word->len] == ' ');
    return word->len > 0;
}

static unsigned split(const char *words, struct pl_span *out, unsigned most)
{
    unsigned count = 0;
    while (count < most && next_word(&words, &out[count]))
        count++;
    return count;
}

bool account_rules_has_word(const char *words, struct pl_span wanted)
{
    struct pl_span word;
    while (next_word(&words, &word))
        if (pl_span_eq(word, wanted))
            return true;
    return false;
}

/* ---- reading */

static void copy_text(struct pl_span text, char *out, size_t out_bytes)
{
    snprintf(out, out_bytes, "%.*s", PL_SPAN_FMT(text));
}

void account_rules_init(struct account_rules *rules)
{
    struct catalog_item item = {0};
    catalog_rule_defaults(&item);
    *rules = (struct account_rules){
        .cookie_enabled = item.cookie.enabled,
        .cookie_same_site = item.cookie.same_site,
        .pii = item.pii,
    };
    copy_text(item.cookie.name, rules->cookie_name, sizeof(rules->cookie_name));
    copy_text(item.cookie.domain, rules->cookie_domain, sizeof(rules->cookie_domain));
}

/* Puts the object's name before the field that an error within it names. */
static enum pl_err within(const char *name, enum pl_err err, struct pl_why *why)
{
    if (err == PL_OK || why == NULL)
        return err;
    char field[sizeof(why->field)];
    snprintf(field, sizeof(field), "%s.%.60s", name, why->field);
    memcpy(why->field, field, sizeof(field));
    return pl_fail_in(why, err, "%s", name);
}

/* The object of that name, with no members but these. False: absent, or an error. */
static bool enter(struct json object, const char *name, const char *const *members,
                  struct json *out, enum pl_err *err, struct pl_why *why)
{
    *err = PL_OK;
    if (!json_get(object, name, out) || json_type(*out) == JSON_NULL)
        return false;
    if (json_type(*out) != JSON_OBJECT)
        *err = pl_fail_field(why, PL_EINVAL, name, "%s must be an object", name);
    else
        *err = within(name, request_only(*out, members, why), why);
    return *err == PL_OK;
}

static enum pl_err read_same_site(struct json cookie, enum same_site *out, struct pl_why *why)
{
    char word[16] = "";
    enum pl_err err = request_text(cookie, "same_site", word, sizeof(word), why);
    if (err != PL_OK || word[0] == '\0')
        return err;
    for (int s = SAME_SITE_NONE; s <= SAME_SITE_STRICT; s++) {
        if (strcmp(same_site_name((enum same_site)s), word) == 0) {
            *out = (enum same_site)s;
            return PL_OK;
        }
    }
    return pl_fail_field(why, PL_EINVAL, "same_site",
                         "same_site must be None, Lax or Strict, not %s", word);
}

static enum pl_err read_cookie(struct json object, struct account_rules *rules, struct pl_why *why)
{
    static const char *const members[] = {"enabled", "name", "domain", "same_site", NULL};
    struct json cookie;
    enum pl_err err;
    if (!enter(object, "cookie", members, &cookie, &err, why))
        return err;
    if ((err = request_bool(cookie, "enabled", &rules->cookie_enabled, why)) == PL_OK &&
        (err = request_text(cookie, "name", rules->cookie_name, sizeof(rules->cookie_name), why)) ==
            PL_OK &&
        (err = request_text(cookie, "domain", rules->cookie_domain, sizeof(rules->cookie_domain),
                            why)) == PL_OK)
        err = read_same_site(cookie, &rules->cookie_same_site, why);
    return within("cookie", err, why);
}

static enum pl_err read_mask(struct json pii, unsigned *out, struct pl_why *why)
{
    char words[64] = "-";
    const char *rest = words;
    struct pl_span word;
    unsigned bits = 0;
    enum pl_err err = request_words(pii, "mask", words, sizeof(words), why);
    if (err != PL_OK || strcmp(words, "-") == 0)
        return err; /* refused, or absent */
    while (next_word(&rest, &word)) {
        const unsigned before = bits;
        for (size_t i = 0; i < sizeof(pii_words) / sizeof(pii_words[0]); i++)
            if (pl_span_eq_str(word, pii_words[i].word))
                bits |= pii_words[i].bit;
        if (bits == before)
            return pl_fail_field(why, PL_EINVAL, "mask",
                                 "mask may hold email, card and phone, each once, not %.*s",
                                 PL_SPAN_FMT(word));
    }
    *out = bits;
    return PL_OK;
}

enum pl_err account_rules_read(struct json object, struct account_rules *rules, struct pl_why *why)
{
    static const char *const pii_members[] = {"mask", NULL};
    struct json pii;
    enum pl_err err;
    if ((err = request_words(object, "aliases", rules->aliases, sizeof(rules->aliases), why)) !=
            PL_OK ||
        (err = request_words(object, "hosts", rules->hosts, sizeof(rules->hosts), why)) != PL_OK ||
        (err = request_text(object, "snowplow_path", rules->snowplow_path,
                            sizeof(rules->snowplow_path), why)) != PL_OK ||
        (err = read_cookie(object, rules, why)) != PL_OK)
        return err;
    if (enter(object, "pii", pii_members, &pii, &err, why))
        err = within("pii", read_mask(pii, &rules->pii, why), why);
    return err == PL_OK ? account_processing_read(object, &rules->processing, why) : err;
}

/* ---- checking */

static bool is_alias(struct pl_span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] < 0x20 || text.data[i] == 0x7f)
            return false;
    return text.len <= CATALOG_ALIAS_BYTES;
}

static enum pl_err check_list(const char *field, const char *words, unsigned most,
                              bool (*good)(struct pl_span), const char *advice, struct pl_why *why)
{
    struct pl_span word;
    unsigned count = 0;
    for (const char *rest = words; next_word(&rest, &word); count++) {
        if (count == most)
            return pl_fail_field(why, PL_ELIMIT, field, "%s holds more than %u", field, most);
        if (!good(word))
            return pl_fail_field(why, PL_EINVAL, field, "%s holds \"%.*s\": %s", field,
                                 (int)(word.len > 100 ? 100 : word.len), (const char *)word.data,
                                 advice);
        if (account_rules_has_word(rest, word))
            return pl_fail_field(why, PL_EINVAL, field, "%s holds \"%.*s\" twice", field,
                                 (int)(word.len > 100 ? 100 : word.len), (const char *)word.data);
    }
    return PL_OK;
}

static enum pl_err check_path(const char *path, struct pl_why *why)
{
    if (path[0] == '\0')
        return PL_OK;
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  "-._~/";
    if (path[0] != '/' || path[1] == '\0' || path[strspn(path, allowed)] != '\0' ||
        strstr(path, "//") != NULL || strstr(path, "/.") != NULL)
        return pl_fail_field(why, PL_EINVAL, "snowplow_path",
                             "snowplow_path must be a path like /com.shop/t: letters, digits, "
                             "- . _ ~ and single slashes");
    if (catalog_path_is_taken(pl_span_str(path)))
        return pl_fail_field(why, PL_EINVAL, "snowplow_path",
                             "snowplow_path %s is a path that edges serve already", path);
    return PL_OK;
}

/* Browsers take a Domain only from the host itself or from below it (RFC 6265 section 5.3). */
static bool covers(struct pl_span domain, struct pl_span host)
{
    if (host.len < domain.len)
        return false;
    const struct pl_span end = pl_span_from(host, host.len - domain.len);
    return pl_span_eq(end, domain) &&
           (host.len == domain.len || host.data[host.len - domain.len - 1] == '.');
}

static enum pl_err check_domain(const struct account_rules *rules, struct pl_why *why)
{
    const struct pl_span domain = pl_span_str(rules->cookie_domain);
    const char *rest = rules->hosts;
    struct pl_span host;
    if (domain.len == 0)
        return PL_OK;
    if (!catalog_is_host(domain))
        return pl_fail_field(why, PL_EINVAL, "cookie.domain",
                             "cookie.domain must be a DNS name in lower case, like shop.example");
    while (next_word(&rest, &host))
        if (covers(domain, host))
            return PL_OK;
    return pl_fail_field(why, PL_EINVAL, "cookie.domain",
                         "cookie.domain %s is neither one of the account's hosts nor a parent of "
                         "one; browsers would refuse its cookie",
                         rules->cookie_domain);
}

static enum pl_err check_cookie(const struct account_rules *rules, struct pl_why *why)
{
    static const char opt_out[] = "polder_optout", host_only[] = "__Host-";
    const char *name = rules->cookie_name;
    if (!catalog_is_cookie_name(pl_span_str(name)))
        return pl_fail_field(why, PL_EINVAL, "cookie.name",
                             "cookie.name must be letters, digits and -_. (RFC 6265), 1 to %d of "
                             "them",
                             CATALOG_COOKIE_BYTES);
    if (strncasecmp(name, opt_out, sizeof(opt_out) - 1) == 0)
        return pl_fail_field(why, PL_EINVAL, "cookie.name",
                             "cookie.name %s is taken: edges keep opt-outs in cookies that begin "
                             "with %s",
                             name, opt_out);
    if (strncasecmp(name, host_only, sizeof(host_only) - 1) == 0 && rules->cookie_domain[0] != '\0')
        return pl_fail_field(why, PL_EINVAL, "cookie.name",
                             "cookie.name %s does not go with a cookie.domain: browsers refuse it",
                             name);
    return check_domain(rules, why);
}

enum pl_err account_rules_check(const struct account_rules *rules, struct pl_why *why)
{
    enum pl_err err = check_list("aliases", rules->aliases, CATALOG_ALIASES_MAX, is_alias,
                                 "an alias is at most 128 bytes without control characters", why);
    if (err == PL_OK)
        err = check_list("hosts", rules->hosts, CATALOG_HOSTS_MAX, catalog_is_host,
                         "a host is a DNS name in lower case like metrics.shop.example, without "
                         "https:// and port",
                         why);
    if (err == PL_OK)
        err = check_path(rules->snowplow_path, why);
    return err == PL_OK ? check_cookie(rules, why) : err;
}

static enum pl_err clash(const char *field, struct pl_span word, const char *other_name,
                         struct pl_why *why)
{
    return pl_fail_field(why, PL_EEXISTS, field, "%s: \"%.*s\" is account %s's already", field,
                         (int)(word.len > 100 ? 100 : word.len), (const char *)word.data,
                         other_name);
}

enum pl_err account_rules_clash(const struct account_rules *rules,
                                const struct account_rules *other, const struct pl_id128 *other_key,
                                const char *other_name, struct pl_why *why)
{
    struct pl_span word;
    char key[PL_ID128_TEXT];
    pl_id128_format(other_key, key);
    for (const char *rest = rules->aliases; next_word(&rest, &word);)
        if (account_rules_has_word(other->aliases, word) || pl_span_eq_str(word, key))
            return clash("aliases", word, other_name, why);
    for (const char *rest = rules->hosts; next_word(&rest, &word);)
        if (account_rules_has_word(other->hosts, word))
            return clash("hosts", word, other_name, why);
    if (rules->snowplow_path[0] != '\0' && strcmp(rules->snowplow_path, other->snowplow_path) == 0)
        return clash("snowplow_path", pl_span_str(rules->snowplow_path), other_name, why);
    return PL_OK;
}

/* ---- writing */

void account_rules_write(const struct account_rules *rules, struct json_writer *w)
{
    json_write_pair_words(w, "aliases", rules->aliases);
    json_write_pair_words(w, "hosts", rules->hosts);
    json_write_pair_text(w, "snowplow_path", rules->snowplow_path);
    json_write_key(w, "cookie");
    json_write_object(w);
    json_write_pair_bool(w, "enabled", rules->cookie_enabled);
    json_write_pair_text(w, "name", rules->cookie_name);
    json_write_pair_text(w, "domain", rules->cookie_domain);
    json_write_pair_text(w, "same_site", same_site_name(rules->cookie_same_site));
    json_write_object_end(w);
    json_write_key(w, "pii");
    json_write_object(w);
    json_write_key(w, "mask");
    json_write_array(w);
    for (size_t i = 0; i < sizeof(pii_words) / sizeof(pii_words[0]); i++)
        if ((rules->pii & pii_words[i].bit) != 0)
            json_write_text(w, pii_words[i].word);
    json_write_array_end(w);
    json_write_object_end(w);
    account_processing_write(&rules->processing, w);
}

void account_rules_tell(const struct account_rules *rules, struct catalog_item *item)
{
    item->alias_count = split(rules->aliases, item->aliases, CATALOG_ALIASES_MAX);
    item->host_count = split(rules->hosts, item->hosts, CATALOG_HOSTS_MAX);
    item->snowplow_path = pl_span_str(rules->snowplow_path);
    item->cookie = (struct cookie_policy){
        .enabled = rules->cookie_enabled,
        .same_site = rules->cookie_same_site,
        .name = pl_span_str(rules->cookie_name),
        .domain = pl_span_str(rules->cookie_domain),
    };
    item->pii = rules->pii;
}
