#include "deploy/ctl/names.h"

#include "deploy/ctl/table.h"
#include "proto/base/id.h"

#include <stdio.h>

static const struct {
    const char *noun, *path, *list;
    size_t id_digits;
    const char *gone; /* the member that has a time when the thing is gone */
} kinds[] = {
    [NAMES_ACCOUNT] = {"account", "/accounts", "accounts", PL_ACCOUNT_TEXT - 1, "deleted_at"},
    [NAMES_EDGE] = {"edge", "/edges", "edges", PL_ID128_TEXT - 1, "revoked_at"},
    [NAMES_TOKEN] = {"token", "/tokens", "tokens", PL_ID128_TEXT - 1, "revoked_at"},
};

/* Whether the text is an id of its kind already. Zeros are nobody's. */
static bool is_id(enum names_kind kind, const char *text)
{
    const size_t digits = kinds[kind].id_digits;
    return strlen(text) == digits && strspn(text, "0123456789abcdef") == digits &&
           strspn(text, "0") < digits;
}

struct matches {
    size_t count;
    struct pl_span first;
    char ids[256]; /* of all, for an error; as many as fit */
};

/* Those named `name` that are gone, or those that are not. */
static void match(enum names_kind kind, const struct api_answer *answer, const char *name,
                  bool gone, struct matches *out)
{
    struct json list = answer->root, item, time;
    size_t used = 0;
    *out = (struct matches){.count = 0};
    json_get(answer->root, kinds[kind].list, &list);
    for (struct json_iter i = json_elements(list); json_next_element(&i, &item);) {
        bool is_gone = json_get(item, kinds[kind].gone, &time) && json_type(time) != JSON_NULL;
        if (is_gone != gone || !pl_span_eq_str(member_text(item, "name"), name))
            continue;
        struct pl_span id = member_text(item, "id");
        if (out->count++ == 0)
            out->first = id;
        int len = snprintf(out->ids + used, sizeof(out->ids) - used, "%s%.*s",
                           used == 0 ? "" : ", ", PL_SPAN_FMT(id));
        used += len < 0 || (size_t)len >= sizeof(out->ids) - used ? 0 : (size_t)len;
        out->ids[used] = '\0';
    }
}

static enum pl_err pick(enum names_kind kind, const struct api_answer *answer, const char *name,
                        char id[NAMES_ID_TEXT], struct pl_why *why)
{
    struct matches found;
    match(kind, answer, name, false, &found);
    if (found.count == 0)
        match(kind, answer, name, true, &found);
    if (found.count == 0)
        return pl_fail(why, PL_ENOTFOUND, "there is no %s '%.128s' (polderctl %s list shows them)",
                       kinds[kind].noun, name, kinds[kind].noun);
    if (found.count > 1)
        return pl_fail(why, PL_EEXISTS, "%zu %ss are named '%.128s': give an id instead (%s)",
                       found.count, kinds[kind].noun, name, found.ids);
    if (found.first.len != kinds[kind].id_digits)
        return pl_fail(why, PL_EIO, "the origin gives %s '%.128s' no id", kinds[kind].noun, name);
    snprintf(id, NAMES_ID_TEXT, "%.*s", PL_SPAN_FMT(found.first));
    return PL_OK;
}

enum pl_err names_find(struct ctl *ctl, enum names_kind kind, const char *name,
                       char id[NAMES_ID_TEXT], struct pl_why *why)
{
    struct api_answer answer = {.status = 0};
    if (is_id(kind, name)) {
        snprintf(id, NAMES_ID_TEXT, "%s", name);
        return PL_OK;
    }
    enum pl_err err = api_call(ctl, "GET", kinds[kind].path, pl_span(NULL, 0), &answer, why);
    if (err == PL_OK)
        err = pick(kind, &answer, name, id, why);
    else if (err == PL_EDENIED)
        err = pl_fail_in(why, err, "cannot look up the %s '%.64s' by name; give its id",
                         kinds[kind].noun, name);
    api_answer_release(&answer);
    return err;
}

enum pl_err names_call(struct ctl *ctl, enum names_kind kind, const char *name, const char *method,
                       const char *rest, struct pl_span body, struct api_answer *answer,
                       struct pl_why *why)
{
    char id[NAMES_ID_TEXT], path[API_PATH_BYTES];
    enum pl_err err = names_find(ctl, kind, name, id, why);
    if (err != PL_OK)
        return err;
    if (snprintf(path, sizeof(path), "%s/%s%s", kinds[kind].path, id, rest) >= (int)sizeof(path))
        return pl_fail(why, PL_ELIMIT, "the request is too long");
    return api_call(ctl, method, path, body, answer, why);
}

enum ctl_exit names_show_days(struct ctl *ctl, const struct ctl_args *args, const char *rest,
                              enum pl_err (*show)(struct json root, struct pl_why *why),
                              struct pl_why *why)
{
    const char *from = args->options[NAMES_FROM], *to = args->options[NAMES_TO];
    struct api_answer answer = {.status = 0};
    char query[API_PATH_BYTES];
    enum ctl_exit usage = ctl_check_day("from", from, why);
    if (usage == CTL_OK)
        usage = ctl_check_day("to", to, why);
    if (usage != CTL_OK)
        return usage;
    snprintf(query, sizeof(query), "%s?%s%s%s%s", rest,
             from == NULL ? "" : "from=", from == NULL ? "" : from,
             to == NULL ? "" : "&to=", to == NULL ? "" : to);
    enum pl_err err = names_call(ctl, NAMES_ACCOUNT, args->words[0], "GET", query, pl_span(NULL, 0),
                                 &answer, why);
    return api_end(ctl, err, &answer, show, why);
}
