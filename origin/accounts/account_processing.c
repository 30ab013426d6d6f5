#include "origin/accounts/account_processing.h"
#include "origin/request.h"

#include <stddef.h>
#include <stdio.h>

#define TEXT(member)                                                                               \
    {                                                                                              \
#member, offsetof(struct account_processing, member),                                      \
            sizeof(((struct account_processing *)0)->member)                                       \
    }

static const struct {
    const char *name;
    size_t offset, size;
} texts[] = {TEXT(controller), TEXT(contact), TEXT(purposes), TEXT(legal_basis), TEXT(recipients)};
#define TEXT_COUNT (sizeof(texts) / sizeof(texts[0]))

static enum pl_err within(enum pl_err err, struct pl_why *why)
{
    if (err != PL_OK && why != NULL) {
        char field[sizeof(why->field)];
        snprintf(field, sizeof(field), "processing.%.60s", why->field);
        memcpy(why->field, field, sizeof(field));
        pl_fail_in(why, err, "processing");
    }
    return err;
}

enum pl_err account_processing_read(struct json object, struct account_processing *out,
                                    struct pl_why *why)
{
    static const char *const members[] = {"controller",  "contact",    "purposes",
                                          "legal_basis", "recipients", NULL};
    struct json processing;
    if (!json_get(object, "processing", &processing) || json_is_null(processing)) {
        return PL_OK;
    }
    if (!json_is_object(processing)) {
        return pl_fail_field(why, PL_EINVAL, "processing", "processing must be an object");
    }
    enum pl_err err = request_only(processing, members, why);
    for (size_t i = 0; err == PL_OK && i < TEXT_COUNT; i++) {
        err = request_text(processing, texts[i].name, (char *)out + texts[i].offset, texts[i].size,
                           why);
    }
    return within(err, why);
}

void account_processing_write(const struct account_processing *processing, struct json_writer *w)
{
    json_write_key(w, "processing");
    json_write_object(w);
    for (size_t i = 0; i < TEXT_COUNT; i++) {
        json_write_pair_text(w, texts[i].name, (const char *)processing + texts[i].offset);
    }
    json_write_object_end(w);
}
