/* polderctl kek, keyring: the keys that wrap keys. */
#include "deploy/ctl/api.h"
#include "deploy/ctl/request.h"
#include "deploy/ctl/table.h"

#include "proto/base/crypto.h"
#include "proto/base/file.h"
#include "proto/base/secret.h"
#include "proto/base/text.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEK_TEXT_MAX  4096 /* as much as an origin reads */
#define KEK_LINES_MAX 16   /* as many as it takes */
#define KEK_DIGITS    64

/* A line added to a file that is wrong already would only hide what is wrong. */
static enum pl_err check_lines(const char *path, struct pl_span text, struct pl_why *why)
{
    uint8_t key[KEK_DIGITS / 2];
    unsigned number = 0, keys = 0;
    enum pl_err err = PL_OK;
    while (text.len > 0 && err == PL_OK) {
        const uint8_t *end = memchr(text.data, '\n', text.len);
        struct pl_span line =
            pl_span(text.data, end == NULL ? text.len : (size_t)(end - text.data));
        text = pl_span_from(text, line.len + 1);
        number++;
        while (line.len > 0 && strchr(" \t\r", line.data[line.len - 1]) != NULL)
            line.len--;
        while (line.len > 0 && strchr(" \t", line.data[0]) != NULL)
            line = pl_span_from(line, 1);
        if (line.len == 0 || line.data[0] == '#')
            continue;
        keys++;
        if (!pl_hex_decode(line, key, sizeof(key)))
            err = pl_fail(why, PL_EINVAL,
                          "%s line %u is not 64 hexadecimal digits: is it a key-encryption key "
                          "file?",
                          path, number);
    }
    pl_wipe(key, sizeof(key));
    if (err == PL_OK && keys == 0)
        err =
            pl_fail(why, PL_EINVAL, "%s has no key in it: is it a key-encryption key file?", path);
    if (err == PL_OK && keys >= KEK_LINES_MAX)
        err = pl_fail(why, PL_ELIMIT,
                      "%s has %u keys, as many as an origin takes: remove the first lines, which "
                      "nothing is wrapped under since the last polderctl keyring rewrap",
                      path, keys);
    return err;
}

static enum pl_err append_key(struct ctl *ctl, struct pl_buf *text, struct pl_why *why)
{
    uint8_t key[KEK_DIGITS / 2];
    char hex[KEK_DIGITS + 1];
    enum pl_err err = PL_OK;
    if (text->data[text->len - 1] != '\n')
        err = pl_buf_put_u8(text, '\n');
    if (err == PL_OK)
        err = pl_random_fill(ctl->random, key, sizeof(key));
    if (err == PL_OK) {
        pl_hex_encode(pl_span(key, sizeof(key)), hex);
        err = pl_buf_appendf(text, "%s\n", hex);
    }
    pl_wipe(key, sizeof(key));
    pl_wipe(hex, sizeof(hex));
    return err == PL_OK ? PL_OK : pl_fail(why, err, "cannot add a key: %s", pl_err_word(err));
}

/* Replacing the file gives it to whoever runs this; the origin could then no longer read it. */
static enum pl_err check_owner(const char *path, struct pl_why *why)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return pl_fail(why, PL_EIO, "cannot look at %s: %m", path);
    if (st.st_uid != geteuid())
        return pl_fail(why, PL_EDENIED,
                       "%s belongs to user #%u: run this as that user (sudo -u '#%u' polderctl "
                       "kek rotate %s), so that the origin can still read it afterwards",
                       path, (unsigned)st.st_uid, (unsigned)st.st_uid, path);
    return PL_OK;
}

static enum ctl_exit run_rotate(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    char path[PATH_MAX];
    struct pl_buf text;
    enum pl_err err;
    /* a link stays one: what it points to is replaced */
    if (realpath(args->words[0], path) == NULL)
        return ctl_result(pl_fail(why, PL_ENOTFOUND, "cannot open key-encryption key file %s: %m",
                                  args->words[0]));
    pl_buf_init(&text, KEK_TEXT_MAX);
    if ((err = pl_file_read(path, "key-encryption key file", true, &text, why)) == PL_OK &&
        (err = check_lines(path, pl_buf_span(&text), why)) == PL_OK &&
        (err = check_owner(path, why)) == PL_OK && (err = append_key(ctl, &text, why)) == PL_OK)
        err = pl_file_replace(path, "key-encryption key file", 0600, pl_buf_span(&text), why);
    pl_buf_wipe(&text);
    if (err == PL_OK && ctl->json)
        puts("{\"rotated\":true}");
    else if (err == PL_OK)
        printf("%s has a fresh key in its last line.\n\n"
               "Next:\n"
               "  polderctl keyring rewrap\n"
               "has the origin read it and wrap every key anew. Keep the earlier lines until that\n"
               "has succeeded; then they can go. Renew your safe copy of the file as well.\n",
               path);
    return ctl_result(err);
}

static enum ctl_exit run_rewrap(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    struct api_answer answer = {.status = 0};
    struct json value;
    int64_t count = 0;
    (void)args;
    enum pl_err err = api_call(ctl, "POST", "/keyring/rewrap", pl_span(NULL, 0), &answer, why);
    if (err == PL_OK && ctl->json) {
        api_print(&answer);
    } else if (err == PL_OK) {
        if (json_get(answer.root, "rewrapped", &value))
            json_i64(value, &count);
        printf("%lld key%s wrapped under the current key-encryption key.\n", (long long)count,
               count == 1 ? " is newly" : "s are newly");
        puts("Earlier lines of the key-encryption key file are not needed any more.");
    }
    api_answer_release(&answer);
    return ctl_result(err);
}

static enum ctl_exit run_keyring_rotate(struct ctl *ctl, const struct ctl_args *args,
                                        struct pl_why *why)
{
    struct api_answer answer = {.status = 0};
    (void)args;
    enum pl_err err = api_call(ctl, "POST", "/keyring/rotate", pl_span(NULL, 0), &answer, why);
    if (err == PL_OK && ctl->json)
        api_print(&answer);
    else if (err == PL_OK)
        puts("Edges seal for a new key as soon as they hear of it. The old one is destroyed when "
             "no\n"
             "edge holds blocks for it any more; polderctl probe ORIGIN tells.");
    api_answer_release(&answer);
    return ctl_result(err);
}

/* ---- orphans */

enum { ORPHANS_DESTROY, ORPHANS_REASON };
static const struct ctl_option orphans_options[] = {
    [ORPHANS_DESTROY] = {"destroy", NULL, "Destroy them all, for good"},
    [ORPHANS_REASON] = {"reason", "TEXT", "Why; the keyring keeps it, so name no persons"},
    {0},
};

static enum pl_err show_orphans(struct json root, struct pl_why *why)
{
    static const struct table_field fields[] = {
        {"ACCOUNT", "account", "-", false}, {"KEY MADE (UTC)", "created_at", "-", true}, {0}};
    return table_list(root, "orphans", fields,
                      "Every data key in the keyring belongs to an account of this database.", why);
}

static enum pl_err show_orphans_destroyed(struct json root, struct pl_why *why)
{
    struct json value;
    uint64_t count = 0;
    (void)why;
    if (json_get(root, "destroyed", &value))
        json_u64(value, &count);
    printf("%llu %s destroyed: what is left of %s data anywhere cannot be read any more.\n",
           (unsigned long long)count, pl_plural(count, "key is", "keys are"),
           pl_plural(count, "its account's", "their accounts'"));
    return PL_OK;
}

static enum ctl_exit run_orphans(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    struct api_answer answer = {.status = 0};
    const char *reason = args->options[ORPHANS_REASON];
    const bool destroy = args->options[ORPHANS_DESTROY] != NULL;
    const struct request_member members[] = {{.name = "reason", .text = reason}, {0}};
    struct pl_buf request;
    if (destroy != (reason != NULL && reason[0] != '\0'))
        return ctl_usage(why, destroy ? "--reason must say why the keys are to be destroyed"
                                      : "--reason is for --destroy");
    pl_buf_init(&request, KEK_TEXT_MAX);
    enum pl_err err = destroy ? request_write(members, "reasons", &request, why) : PL_OK;
    if (err == PL_OK)
        err = api_call(ctl, destroy ? "POST" : "GET",
                       destroy ? "/keyring/orphans/destroy" : "/keyring/orphans",
                       pl_buf_span(&request), &answer, why);
    pl_buf_release(&request);
    return api_end(ctl, err, &answer, destroy ? show_orphans_destroyed : show_orphans, why);
}

/* ---- sealing keys that are lost */

static enum pl_err show_lost(struct json root, struct pl_why *why)
{
    static const struct table_field fields[] = {
        {"KEY", "key", "-", false},           {"EDGE", "name", "-", false},
        {"FIRST BLOCK", "first", "-", false}, {"LAST", "last", "-", false},
        {"SINCE (UTC)", "since", "-", true},  {0}};
    return table_list(root, "lost", fields,
                      "The keyring has every key that edges have sealed blocks for.", why);
}

static enum ctl_exit run_lost(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    struct api_answer answer = {.status = 0};
    (void)args;
    enum pl_err err = api_call(ctl, "GET", "/keyring/lost", pl_span(NULL, 0), &answer, why);
    return api_end(ctl, err, &answer, show_lost, why);
}

enum { GIVE_UP_REASON };
static const struct ctl_option give_up_options[] = {
    [GIVE_UP_REASON] = {"reason", "TEXT", "Why; the audit log keeps it, so name no persons"},
    {0},
};

static enum pl_err show_given_up(struct json root, struct pl_why *why)
{
    (void)why;
    printf("Key %.*s is given up: what waits for it is dropped as it comes. The origin's\n"
           "/replication counts it, in totals.dropped.key_lost.\n",
           PL_SPAN_FMT(member_text(root, "key")));
    return PL_OK;
}

static enum ctl_exit run_give_up(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    struct api_answer answer = {.status = 0};
    const char *reason = args->options[GIVE_UP_REASON];
    const struct request_member members[] = {
        {.name = "key", .text = args->words[0]}, {.name = "reason", .text = reason}, {0}};
    struct pl_buf request;
    if (reason == NULL || reason[0] == '\0')
        return ctl_usage(why, "--reason must say why no newer copy of the keyring will come");
    pl_buf_init(&request, KEK_TEXT_MAX);
    enum pl_err err = request_write(members, "keys and reasons", &request, why);
    if (err == PL_OK)
        err = api_call(ctl, "POST", "/keyring/lost/give-up", pl_buf_span(&request), &answer, why);
    pl_buf_release(&request);
    return api_end(ctl, err, &answer, show_given_up, why);
}

const struct ctl_command kek_commands[] = {
    {"rotate", "FILE", "Adds a fresh key-encryption key",
     "Appends a line to the file that kek_file in origin.yaml names; a crash leaves the old file "
     "or the new one. The origin uses it after polderctl keyring rewrap.\n\n"
     "Example:\n"
     "  polderctl kek rotate /etc/polder/origin/kek.key && polderctl keyring rewrap",
     NULL, run_rotate},
    {0},
};

const struct ctl_command keyring_commands[] = {
    {"rewrap", "", "Wraps all keys under the current one",
     "The origin reads its key-encryption keys again and wraps every data key under the last of "
     "them, on every path of the keyring, without stopping.\n\n"
     "Example:\n  polderctl keyring rewrap --dir /etc/polder",
     NULL, run_rewrap},
    {"rotate", "", "Replaces the key that edges seal for, now",
     "The origin does so by itself every seal_key_days, and when an edge is revoked. Nothing that "
     "edges hold is lost: the old key is destroyed once they have delivered it.\n\n"
     "Example:\n  polderctl keyring rotate",
     NULL, run_keyring_rotate},
    {"orphans", "", "Lists keys that belong to no account",
     "After a restore these are of accounts that were made after the copy. The origin keeps their "
     "keys, for a newer copy may be restored yet, and says so in /ready. With --destroy they go, "
     "for good, with a signed record in the keyring.\n\n"
     "Examples:\n"
     "  polderctl keyring orphans\n"
     "  polderctl keyring orphans --destroy --reason 'restored, no newer copy'",
     orphans_options, run_orphans},
    {"lost", "", "Lists sealing keys that are lost",
     "A keyring that was put back from a copy lacks the sealing keys that were made since. Blocks "
     "for them wait at their edges, for a newer copy may be restored yet, and /ready says so.\n\n"
     "Example:\n  polderctl keyring lost",
     NULL, run_lost},
    {"give-up", "KEY", "Gives up a lost sealing key, for good",
     "KEY is one that polderctl keyring lost lists. From then on every block for it is dropped as "
     "it comes, counted in the books as key_lost, and its edge's chain goes on. A key that the "
     "keyring has cannot be given up.\n\n"
     "Example:\n"
     "  polderctl keyring give-up 0123456789abcdef \\\n"
     "      --reason 'restored, no newer copy'",
     give_up_options, run_give_up},
    {0},
};
