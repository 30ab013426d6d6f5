/* polderctl certificate: the proofs that accounts' data is gone. */
#include "deploy/ctl/api.h"
#include "deploy/ctl/certificate_view.h"
#include "deploy/ctl/names.h"
#include "deploy/ctl/table.h"

#include "proto/base/file.h"
#include "proto/base/pki.h"
#include "proto/base/text.h"
#include "proto/wire/signed_document.h"

#include <stdio.h>

#define KEY_BYTES_MAX (64 * 1024)
#define DEPTH_MAX     8

static const struct pl_span nothing = {NULL, 0};
static const char title[] = "certificate of deletion"; /* its member "polder" */

/* ---- verify */

static enum pl_err load(const char *path, struct pl_buf *file, const char *key_path,
                        struct pl_buf *spki, struct pl_why *why)
{
    struct pl_buf pem;
    pl_buf_init(&pem, KEY_BYTES_MAX);
    enum pl_err err = pl_file_read(path, "certificate", false, file, why);
    if (err == PL_OK)
        err = pl_file_read(key_path, "key file", false, &pem, why);
    if (err == PL_OK && (err = pl_pki_public(pl_buf_span(&pem), spki, why)) != PL_OK)
        pl_fail_in(why, err, "%s", key_path);
    pl_buf_wipe(&pem);
    return err;
}

/* Which key signed it, as it says itself: for the sentence about another one. */
static enum pl_err wrong_key(struct pl_span file, struct pl_span spki, struct pl_why *why)
{
    static const struct pl_span member = PL_SPAN_INIT("\"signer\":\"");
    uint8_t id[SIGNER_ID_BYTES];
    char given[2 * SIGNER_ID_BYTES + 1];
    const uint8_t *at = memmem(file.data, file.len, member.data, member.len);
    struct pl_span said =
        at == NULL ? nothing : pl_span_from(file, (size_t)(at - file.data) + member.len);
    signer_id(spki, id);
    pl_hex_encode(pl_span(id, sizeof(id)), given);
    if (said.len < sizeof(given) - 1 || memcmp(said.data, given, sizeof(given) - 1) == 0)
        return pl_fail(why, PL_EAUTH, "the signature does not verify: the certificate was changed");
    char text[2 * SIGNER_ID_BYTES + 1];
    uint8_t digits[SIGNER_ID_BYTES];
    if (!pl_hex_decode_lower(pl_span(said.data, sizeof(text) - 1), digits, sizeof(digits)))
        return pl_fail(why, PL_EAUTH, "the signature does not verify: the certificate was changed");
    pl_hex_encode(pl_span(digits, sizeof(digits)), text);
    return pl_fail(why, PL_EAUTH,
                   "the signature does not verify: the certificate was changed, or it is signed by "
                   "key %s while the one given is %s",
                   text, given);
}

static enum pl_err check_title(struct json document, struct pl_why *why)
{
    struct json version;
    uint64_t number = 0;
    if (!pl_span_eq_str(member_text(document, "polder"), title))
        return pl_fail(why, PL_EINVAL, "this is signed, but it is no certificate of deletion");
    if (!json_get(document, "version", &version) || !json_u64(version, &number) || number != 1)
        return pl_fail(why, PL_EUNSUPPORTED,
                       "this certificate is of version %llu; this polderctl knows version 1",
                       (unsigned long long)number);
    return PL_OK;
}

static enum pl_err report(const struct ctl *ctl, struct json document, struct pl_span spki,
                          struct pl_why *why)
{
    enum pl_err key = certificate_check_key(document, spki, why);
    if (key != PL_OK && key != PL_EUNSUPPORTED)
        return key;
    if (ctl->json) {
        printf("{\"good\":true,\"signer\":\"%.*s\",\"account\":\"%.*s\","
               "\"key_destruction_verified\":%s}\n",
               PL_SPAN_FMT(member_text(document, "signer")),
               PL_SPAN_FMT(member_text(document, "account")), key == PL_OK ? "true" : "false");
        return PL_OK;
    }
    printf("The certificate is good: it stands as key %.*s signed it.\n",
           PL_SPAN_FMT(member_text(document, "signer")));
    if (key == PL_OK)
        puts("So does the keyring's record of the data key's destruction.\n");
    else
        printf("Not looked at: %s.\n\n", why->text);
    return certificate_print(document, why);
}

static enum pl_err verify(const struct ctl *ctl, struct pl_span file, struct pl_span spki,
                          struct pl_why *why)
{
    struct json_parser *parser = NULL;
    struct json document;
    struct pl_span line;
    enum pl_err err = signed_document_open(file, spki, &line, why);
    if (err == PL_EAUTH)
        return wrong_key(file, spki, why);
    if (err == PL_OK)
        err = json_parser_new(&parser, SIGNED_DOCUMENT_BYTES_MAX, DEPTH_MAX);
    if (err == PL_OK)
        err = json_parse(parser, line, &document, why);
    if (err == PL_OK)
        err = check_title(document, why);
    if (err == PL_OK)
        err = report(ctl, document, spki, why);
    json_parser_free(parser);
    return err;
}

enum { KEY };

static const struct ctl_option verify_options[] = {
    [KEY] = {"key", "PUB", "The origin's public key: PEM, or a certificate with it"},
    {0},
};

static enum ctl_exit run_verify(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    struct pl_buf file, spki;
    if (args->options[KEY] == NULL)
        return ctl_usage(why, "--key is missing: a file with the public key of whoever issued it, "
                              "from them and not from beside the certificate");
    pl_buf_init(&file, SIGNED_DOCUMENT_BYTES_MAX);
    pl_buf_init(&spki, PL_PUBLIC_KEY_MAX_BYTES);
    enum pl_err err = load(args->words[0], &file, args->options[KEY], &spki, why);
    if (err == PL_OK) {
        err = verify(ctl, pl_buf_span(&file), pl_buf_span(&spki), why);
        if (err != PL_OK) {
            pl_fail_in(why, err, "%s", args->words[0]);
            if (ctl->json)
                puts("{\"good\":false}");
        }
    }
    pl_buf_release(&file);
    pl_buf_release(&spki);
    return ctl_result(err);
}

/* ---- show, list */

static const struct ctl_option show_options[] = {
    {"out", "FILE", "Write it into a new file, as it was issued"},
    {0},
};

static enum ctl_exit run_show(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    struct api_answer answer = {.status = 0};
    struct json document;
    const char *out = args->options[0];
    enum pl_err err = names_call(ctl, NAMES_ACCOUNT, args->words[0], "GET", "/certificate", nothing,
                                 &answer, why);
    if (err == PL_ENOTFOUND && answer.status == 0) /* nobody has that name */
        pl_fail(why, err,
                "there is no account '%.128s'; of a deleted one the name is gone, too: polderctl "
                "certificate list shows them by id",
                args->words[0]);
    if (err == PL_OK && out != NULL)
        err = pl_file_create(out, "certificate", 0644, pl_buf_span(&answer.body), why);
    if (err == PL_OK && ctl->json)
        api_print(&answer);
    else if (err == PL_OK && out != NULL)
        printf("%s holds the certificate. Whoever has the origin's public key can verify it:\n"
               "  polderctl certificate verify %s --key PUB\n",
               out, out);
    else if (err == PL_OK && json_get(answer.root, "signed", &document))
        err = certificate_print(document, why);
    api_answer_release(&answer);
    return ctl_result(err);
}

static enum pl_err show_list(struct json root, struct pl_why *why)
{
    static const struct table_field fields[] = {
        {"ACCOUNT", "account", "-", false},
        {"BECAUSE OF", "cause", "-", false},
        {"ENDED (UTC)", "ended_at", "-", true},
        {">SECONDS LATE", "late_seconds", "-", false},
        {">EDGES", "edges", "-", false},
        {">WRITTEN OFF", "edges_written_off", "-", false},
        {0},
    };
    return table_list(root, "certificates", fields,
                      "No account's data was deleted yet: there are no certificates.", why);
}

static enum ctl_exit run_list(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    struct api_answer answer = {.status = 0};
    (void)args;
    enum pl_err err = api_call(ctl, "GET", "/certificates", nothing, &answer, why);
    return api_end(ctl, err, &answer, show_list, why);
}

/* ---- key */

static const struct ctl_option key_options[] = {
    {"id", "SIGNER", "An earlier key, by the id that a certificate names (the current one)"},
    {0},
};

static enum pl_err print_key(const struct api_answer *answer, const char *id, struct pl_why *why)
{
    struct json list = answer->root, key, current;
    bool is_current;
    json_get(answer->root, "keys", &list);
    for (struct json_iter i = json_elements(list); json_next_element(&i, &key);) {
        is_current =
            json_get(key, "current", &current) && json_bool(current, &is_current) && is_current;
        if (id == NULL ? is_current : pl_span_eq_str(member_text(key, "id"), id)) {
            struct pl_span pem = member_text(key, "pem");
            fwrite(pem.data, 1, pem.len, stdout);
            return PL_OK;
        }
    }
    return pl_fail(why, PL_ENOTFOUND,
                   "the origin knows no key %.64s; polderctl certificate key --json shows those it "
                   "does, and sign_earlier_files in origin.yaml names earlier ones",
                   id == NULL ? "" : id);
}

static enum ctl_exit run_key(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    struct api_answer answer = {.status = 0};
    enum pl_err err = api_call(ctl, "GET", "/certificates/keys", nothing, &answer, why);
    if (err == PL_OK && ctl->json)
        api_print(&answer);
    else if (err == PL_OK)
        err = print_key(&answer, args->options[0], why);
    api_answer_release(&answer);
    return ctl_result(err);
}

const struct ctl_command certificate_commands[] = {
    {"verify", "FILE", "Verifies a certificate of deletion",
     "Works on any machine, without an origin. Any changed byte is found. The key has to come from "
     "whoever issued the certificate, on another way than the certificate itself. "
     "proto/wire/SPEC.md, \"Certificate of deletion\", shows how to do it with openssl.\n\n"
     "Example:\n  polderctl certificate verify certificate.json --key origin.pub",
     verify_options, run_verify},
    {"show", "ACCOUNT", "Shows a deleted account's certificate",
     "With --json, or in the file of --out, it stands byte for byte as it was issued.\n\n"
     "Examples:\n"
     "  polderctl certificate show 8f14e45fceea167a\n"
     "  polderctl certificate show 8f14e45fceea167a --out certificate.json",
     show_options, run_show},
    {"list", "", "Lists all certificates of deletion", "Example:\n  polderctl certificate list",
     NULL, run_list},
    {"key", "", "Prints the public key to verify with",
     "PEM, to be published where those who get certificates find it.\n\n"
     "Examples:\n"
     "  polderctl certificate key > origin.pub\n"
     "  polderctl certificate key --id 0f5a3c1d2b4e6f70 > earlier.pub",
     key_options, run_key},
    {0},
};
