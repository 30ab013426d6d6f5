#include "deploy/ctl/account_record.h"
#include "deploy/ctl/api.h"
#include "deploy/ctl/names.h"

#include <stdio.h>

#define REQUEST_BYTES_MAX (16 * 1024)

/* ---- the record */

enum { HTML };

const struct ctl_option account_record_options[] = {
    [HTML] = {"html", NULL, "A page for people, to be opened in a browser or printed (JSON)"},
    {0},
};

static enum pl_err to_output(void *ctx, struct pl_span bytes, struct pl_why *why)
{
    (void)ctx;
    return fwrite(bytes.data, 1, bytes.len, stdout) == bytes.len
               ? PL_OK
               : pl_fail(why, PL_EIO, "cannot write to standard output: %m");
}

enum ctl_exit account_record_run(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    struct api_answer answer = {.status = 0};
    char id[NAMES_ID_TEXT], path[API_PATH_BYTES];
    enum pl_err err = names_find(ctl, NAMES_ACCOUNT, args->words[0], id, why);
    if (err != PL_OK)
        return ctl_result(err);
    snprintf(path, sizeof(path), "/accounts/%s/record%s", id,
             args->options[HTML] == NULL ? "" : "?as=html");
    if (args->options[HTML] != NULL)
        return ctl_result(api_stream(ctl, path, pl_span(NULL, 0), to_output, NULL, why));
    err = api_call(ctl, "GET", path, pl_span(NULL, 0), &answer, why);
    if (err == PL_OK)
        api_print(&answer);
    api_answer_release(&answer);
    return ctl_result(err);
}

/* ---- what the owner says */

static const char *const members[] = {"controller", "contact", "purposes", "legal_basis",
                                      "recipients"};
#define MEMBER_COUNT (sizeof(members) / sizeof(members[0]))

const struct ctl_option account_processing_options[] = {
    {"controller", "TEXT", "Whose visitors they are: name and address"},
    {"contact", "TEXT", "The controller's contact for data protection"},
    {"purposes", "TEXT", "What the data is processed for"},
    {"legal-basis", "TEXT", "On what legal basis, e.g. consent, Art. 6(1)(a) GDPR"},
    {"recipients", "TEXT", "Who else is given the data"},
    {0},
};

static enum pl_err write_request(const struct ctl_args *args, struct pl_buf *out,
                                 struct pl_why *why)
{
    struct json_writer *w = NULL;
    enum pl_err err = json_writer_new(&w, false);
    if (err == PL_OK) {
        json_writer_begin(w, out);
        json_write_object(w);
        json_write_key(w, "processing");
        json_write_object(w);
        for (size_t i = 0; i < MEMBER_COUNT; i++)
            if (args->options[i] != NULL)
                json_write_pair_text(w, members[i], args->options[i]);
        json_write_object_end(w);
        json_write_object_end(w);
        err = json_writer_end(w);
    }
    json_writer_free(w);
    return err == PL_OK ? err : pl_fail(why, err, "the texts must be UTF-8 of less than 16 KiB");
}

static enum pl_err show_noted(struct json root, struct pl_why *why)
{
    (void)root, (void)why;
    puts("Noted. polderctl account record ACCOUNT shows it in the record of processing.");
    return PL_OK;
}

enum ctl_exit account_processing_run(struct ctl *ctl, const struct ctl_args *args,
                                     struct pl_why *why)
{
    struct api_answer answer = {.status = 0};
    struct pl_buf request;
    pl_buf_init(&request, REQUEST_BYTES_MAX);
    enum pl_err err = write_request(args, &request, why);
    if (err == PL_OK)
        err = names_call(ctl, NAMES_ACCOUNT, args->words[0], "PATCH", "", pl_buf_span(&request),
                         &answer, why);
    pl_buf_release(&request);
    return api_end(ctl, err, &answer, show_noted, why);
}
