/* polderctl lifecycle: what the origin does by the clock. */
#include "deploy/ctl/api.h"
#include "deploy/ctl/table.h"

#include <stdio.h>

static const char doubt[] = "nothing expires or is deleted: ";

/* The origin's words about its clock; empty when it believes it. */
static struct pl_span find_doubt(struct json ready)
{
    struct json list, warning;
    struct pl_span text;
    if (!json_get(ready, "warnings", &list))
        return pl_span(NULL, 0);
    for (struct json_iter i = json_elements(list); json_next_element(&i, &warning);)
        if (json_string(warning, &text) && text.len > sizeof(doubt) &&
            memcmp(text.data, doubt, sizeof(doubt) - 1) == 0)
            return pl_span_from(text, sizeof(doubt) - 1);
    return pl_span(NULL, 0);
}

static enum pl_err look(const struct ctl *ctl, struct api_answer *answer, struct pl_why *why)
{
    char url[2048];
    size_t len = strlen(ctl->origin);
    if (len > 0 && ctl->origin[len - 1] == '/')
        len--;
    if (snprintf(url, sizeof(url), "%.*s/ready", (int)len, ctl->origin) >= (int)sizeof(url))
        return pl_fail(why, PL_EINVAL, "the origin's URL is too long");
    enum pl_err err = api_look(url, answer, why);
    if (err == PL_OK && answer->parser == NULL)
        err = pl_fail(why, PL_EINVAL, "%s does not answer as an origin does", url);
    return err;
}

static enum pl_err print_json(bool confirmed, struct pl_span doubted, struct pl_why *why)
{
    struct json_writer *w = NULL;
    struct pl_buf out;
    pl_buf_init(&out, API_ANSWER_BYTES_MAX);
    enum pl_err err = json_writer_new(&w, false);
    if (err == PL_OK) {
        json_writer_begin(w, &out);
        json_write_object(w);
        json_write_pair_bool(w, "confirmed", confirmed);
        json_write_key(w, "doubt");
        if (doubted.len > 0)
            json_write_string(w, doubted);
        else
            json_write_null(w);
        json_write_object_end(w);
        err = json_writer_end(w);
        json_writer_free(w);
    }
    if (err == PL_OK)
        printf("%.*s\n", (int)out.len, (const char *)out.data);
    pl_buf_release(&out);
    return err == PL_OK ? err : pl_fail(why, err, "cannot write the answer: %s", pl_err_word(err));
}

static enum pl_err confirm(struct ctl *ctl, struct pl_span doubted, struct pl_why *why)
{
    struct api_answer answer = {.status = 0};
    enum pl_err err =
        api_call(ctl, "POST", "/lifecycle/confirm-clock", pl_span(NULL, 0), &answer, why);
    api_answer_release(&answer);
    if (err == PL_OK && ctl->json)
        return print_json(true, doubted, why);
    if (err == PL_OK)
        puts("Confirmed. From now on the origin goes by this clock: what is due expires and is "
             "deleted.");
    return err;
}

static void explain(struct pl_span said)
{
    fputs("The origin doubts its clock: ", stdout);
    print_clean(said);
    puts("\nOnce confirmed, every account that is due by this clock expires, and what is due for\n"
         "deletion is deleted with its key: nobody can bring that back.");
}

static enum ctl_exit refuse(const struct ctl *ctl, struct pl_span doubted, struct pl_why *why)
{
    if (ctl->json && print_json(false, doubted, why) != PL_OK)
        return CTL_FAILED;
    return ctl_usage(why,
                     "nothing was confirmed: repeat it with --yes if the clock shows the right "
                     "time");
}

static enum ctl_exit run_confirm(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    struct api_answer answer = {.status = 0};
    enum ctl_exit result = CTL_OK;
    enum pl_err err = look(ctl, &answer, why);
    struct pl_span said = err == PL_OK ? find_doubt(answer.root) : pl_span(NULL, 0);
    if (err != PL_OK) {
        result = CTL_FAILED;
    } else if (said.len == 0) {
        if (ctl->json)
            result = ctl_result(print_json(false, said, why));
        else
            puts("The origin believes its clock: there is nothing to confirm.");
    } else {
        if (!ctl->json)
            explain(said);
        result =
            args->options[0] != NULL ? ctl_result(confirm(ctl, said, why)) : refuse(ctl, said, why);
    }
    api_answer_release(&answer);
    return result;
}

static const struct ctl_option confirm_options[] = {
    {"yes", NULL, "The clock shows the right time"},
    {0},
};

const struct ctl_command lifecycle_commands[] = {
    {"confirm-clock", "", "Says that the origin's clock is right",
     "An origin whose clock jumped, or that was off for more than a day, expires and deletes "
     "nothing until its clock agrees with what it expects or somebody confirms it. Without --yes "
     "this shows what the clock shows and what was expected.\n\n"
     "Examples:\n"
     "  polderctl lifecycle confirm-clock --dir /etc/polder\n"
     "  polderctl lifecycle confirm-clock --yes --dir /etc/polder",
     confirm_options, run_confirm},
    {0},
};
