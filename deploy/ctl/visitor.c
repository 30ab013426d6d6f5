/* polderctl visitor: what is held of one person, and its erasure. */
#include "deploy/ctl/api.h"
#include "deploy/ctl/names.h"
#include "deploy/ctl/table.h"
#include "proto/base/id.h"
#include "proto/base/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define REQUEST_BYTES_MAX (4 * 1024)
#define PATH_BYTES        128
#define LOOK_MS           500
#define WAIT_MS           (2 * PL_MINUTE_MS)

enum { ALONE };

static const struct ctl_option options[] = {
    [ALONE] = {"alone", NULL, "This id only, without those that it was seen with"},
    {0},
};

/* {"id":…} with what else there is to say. */
static enum pl_err write_request(const struct ctl_args *args, struct pl_span cursor,
                                 struct pl_buf *out, struct pl_why *why)
{
    struct json_writer *w = NULL;
    enum pl_err err = json_writer_new(&w, false);
    if (err != PL_OK)
        return pl_fail(why, err, "no memory for a request");
    pl_buf_reset(out);
    json_writer_begin(w, out);
    json_write_object(w);
    json_write_pair_text(w, "id", args->words[1]);
    if (args->options[ALONE] != NULL)
        json_write_pair_bool(w, "alone", true);
    if (cursor.len > 0) {
        json_write_key(w, "cursor");
        json_write_string(w, cursor);
    }
    json_write_object_end(w);
    err = json_writer_end(w);
    json_writer_free(w);
    return err == PL_OK ? PL_OK
                        : pl_fail(why, err, "a visitor's id must be UTF-8 text of less than 4 KiB");
}

static enum pl_err find_path(struct ctl *ctl, const struct ctl_args *args, const char *verb,
                             char path[PATH_BYTES], struct pl_why *why)
{
    char id[NAMES_ID_TEXT];
    enum pl_err err = names_find(ctl, NAMES_ACCOUNT, args->words[0], id, why);
    if (err == PL_OK)
        snprintf(path, PATH_BYTES, "/accounts/%s/%s", id, verb);
    return err;
}

/* The answer to a POST of the visitor's id; *path: where to. */
static enum pl_err ask(struct ctl *ctl, const struct ctl_args *args, const char *verb,
                       char path[PATH_BYTES], struct api_answer *answer, struct pl_why *why)
{
    struct pl_buf request;
    pl_buf_init(&request, REQUEST_BYTES_MAX);
    enum pl_err err = write_request(args, pl_span(NULL, 0), &request, why);
    if (err == PL_OK)
        err = find_path(ctl, args, verb, path, why);
    if (err == PL_OK)
        err = api_call(ctl, "POST", path, pl_buf_span(&request), answer, why);
    pl_buf_wipe(&request);
    return err;
}

/* ---- show */

static void print_ids(struct json root, const char *name, const char *label)
{
    struct json list, id;
    struct pl_span text;
    if (!json_get(root, name, &list) || json_count(list) == 0)
        return;
    printf("%s", label);
    for (struct json_iter i = json_elements(list); json_next_element(&i, &id);) {
        putchar(' ');
        if (json_string(id, &text))
            print_clean(text);
    }
    putchar('\n');
}

static double number_of(struct json object, const char *name)
{
    struct json value;
    double number = 0;
    if (json_get(object, name, &value))
        (void)json_f64(value, &number);
    return number;
}

static uint64_t count_of(struct json object, const char *name)
{
    const double number = number_of(object, name);
    return number > 0 ? (uint64_t)number : 0;
}

/* The origin tells the newest of many. */
static void print_cut(struct json root, const char *type, size_t told)
{
    struct json types;
    if (json_get(root, "types", &types) && number_of(types, type) > (double)told)
        printf("These are the newest %zu of %.0f; polderctl visitor export has all.\n", told,
               number_of(types, type));
}

static enum pl_err print_list(struct json root, const char *member, const char *type,
                              const char *none, const char *const *titles,
                              const char *const *members, size_t columns, struct pl_why *why)
{
    struct table table;
    struct json list, item;
    enum pl_err err = PL_OK;
    putchar('\n');
    if (!json_get(root, member, &list) || json_count(list) == 0) {
        puts(none);
        return PL_OK;
    }
    table_init(&table, titles, columns);
    for (struct json_iter i = json_elements(list); json_next_element(&i, &item);)
        for (size_t c = 0; c < columns; c++) {
            if (c == 0 && strcmp(members[0], "at") == 0)
                table_time(&table, item, "at", "-");
            else
                table_member(&table, item, members[c], "-");
        }
    err = table_print(&table, why);
    table_release(&table);
    print_cut(root, type, json_count(list));
    return err;
}

static enum pl_err print_dna(struct json root, struct pl_why *why)
{
    static const char *const titles[] = {"PRINCIPLE", ">SHOWN", ">RESPONDED",
                                         ">RATE",     ">SD",    ">95 % BETWEEN"};
    struct table table;
    struct json list, item, interval, bound;
    putchar('\n');
    if (!json_get(root, "dna", &list) || json_count(list) == 0) {
        puts("No offer with a principle was shown: nothing is known of what persuades.");
        return PL_OK;
    }
    table_init(&table, titles, 6);
    for (struct json_iter i = json_elements(list); json_next_element(&i, &item);) {
        double bounds[2] = {0, 0};
        size_t at = 0;
        table_member(&table, item, "principle", "-");
        table_member(&table, item, "shown", "-");
        table_member(&table, item, "responded", "-");
        table_format(&table, "%.3f", number_of(item, "mean"));
        table_format(&table, "%.3f", number_of(item, "sd"));
        if (json_get(item, "interval_95", &interval))
            for (struct json_iter b = json_elements(interval);
                 at < 2 && json_next_element(&b, &bound);)
                (void)json_f64(bound, &bounds[at++]);
        table_format(&table, "%.3f and %.3f", bounds[0], bounds[1]);
    }
    enum pl_err err = table_print(&table, why);
    table_release(&table);
    return err;
}

static enum pl_err print_profile(struct json root, struct pl_why *why)
{
    static const char *const view_titles[] = {"VIEWED (UTC)", "PAGE", "TITLE"};
    static const char *const view_members[] = {"at", "url", "title"};
    static const char *const offer_titles[] = {"SHOWN (UTC)", "CAMPAIGN",  "VARIANT",
                                               "PRINCIPLE",   "RESPONDED", "HOW"};
    static const char *const offer_members[] = {"at",        "campaign",  "variant",
                                                "principle", "responded", "response"};
    char first[SHORT_TIME_TEXT] = "-", last[SHORT_TIME_TEXT] = "-";
    member_short_time(root, "first_seen", first);
    member_short_time(root, "last_seen", last);
    const uint64_t events = count_of(root, "events");
    printf("%" PRIu64 " %s, from %s to %s UTC\n", events, pl_plural(events, "event", "events"),
           first, last);
    print_ids(root, "visitor_ids", "visitor ids:");
    print_ids(root, "user_ids", "user ids:");
    enum pl_err err = print_list(root, "page_views", "page_view", "No pages were viewed.",
                                 view_titles, view_members, 3, why);
    if (err == PL_OK)
        err = print_list(root, "offers", "offer_shown", "No offers were shown.", offer_titles,
                         offer_members, 6, why);
    return err == PL_OK ? print_dna(root, why) : err;
}

static enum pl_err show(struct json root, struct pl_why *why)
{
    const uint64_t damaged = count_of(root, "damaged");
    if (damaged > 0)
        printf("%" PRIu64 " %s damaged and cannot be read.\n", damaged,
               pl_plural(damaged, "value that may be this visitor's is",
                         "values that may be this visitor's are"));
    if (number_of(root, "events") > 0)
        return print_profile(root, why);
    puts("No events are held of this visitor; polderctl visitor export writes links and opt-outs, "
         "too, if there are any.");
    return PL_OK;
}

static enum ctl_exit run_show(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    struct api_answer answer = {.status = 0};
    char path[PATH_BYTES];
    enum pl_err err = ask(ctl, args, "visitor/profile", path, &answer, why);
    return api_end(ctl, err, &answer, show, why);
}

/* ---- export */

/* What the page's last line names, taken off the page; empty at the end. */
static enum pl_err take_next(struct pl_buf *page, struct pl_buf *cursor, struct pl_why *why)
{
    static const char head[] = "{\"polder_next\":\"";
    pl_buf_reset(cursor);
    if (page->len == 0)
        return PL_OK;
    if (page->data[page->len - 1] != '\n')
        return pl_fail(why, PL_EIO, "the export broke off within a line");
    const uint8_t *before = memrchr(page->data, '\n', page->len - 1);
    const size_t at = before == NULL ? 0 : (size_t)(before + 1 - page->data);
    const struct pl_span line = pl_span(page->data + at, page->len - 1 - at);
    if (line.len < sizeof(head) + 1 || memcmp(line.data, head, sizeof(head) - 1) != 0)
        return PL_OK;
    const size_t len = line.len - (sizeof(head) - 1) - 2;
    enum pl_err err = pl_buf_append(cursor, line.data + sizeof(head) - 1, len);
    page->len = at;
    return err == PL_OK ? PL_OK : pl_fail(why, err, "the export's cursor is too long");
}

static enum ctl_exit run_export(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    struct pl_buf request, cursor, page;
    char path[PATH_BYTES];
    bool any = false;
    pl_buf_init(&request, REQUEST_BYTES_MAX);
    pl_buf_init(&cursor, 1024);
    pl_buf_init(&page, API_ANSWER_BYTES_MAX);
    enum pl_err err = find_path(ctl, args, "visitor/export", path, why);
    do {
        if (err == PL_OK)
            err = write_request(args, pl_buf_span(&cursor), &request, why);
        pl_buf_reset(&page);
        if (err == PL_OK)
            err = api_fetch(ctl, "POST", path, pl_buf_span(&request), &page, why);
        if (err == PL_OK)
            err = take_next(&page, &cursor, why);
        any |= page.len > 0;
        if (err == PL_OK && page.len > 0 && fwrite(page.data, 1, page.len, stdout) != page.len)
            err = pl_fail(why, PL_EIO, "cannot write to standard output: %m");
    } while (err == PL_OK && cursor.len > 0);
    if (err == PL_OK && !any)
        fputs("Nothing is held of this visitor.\n", stderr);
    pl_buf_wipe(&request);
    pl_buf_release(&cursor);
    pl_buf_wipe(&page);
    return ctl_result(err);
}

/* ---- erase */

/* Looks again until it is physically gone, or patience ends. */
static enum pl_err wait_until_gone(struct ctl *ctl, const char *account_path,
                                   struct api_answer *answer, struct pl_why *why)
{
    const int64_t until_ms = pl_mono_ms(ctl->clock) + WAIT_MS;
    char path[2 * PATH_BYTES];
    enum pl_err err = PL_OK;
    snprintf(path, sizeof(path), "%s/erasures/%.*s", account_path,
             PL_SPAN_FMT(member_text(answer->root, "id")));
    while (err == PL_OK && member_text(answer->root, "physically_gone_at").len == 0 &&
           pl_mono_ms(ctl->clock) < until_ms) {
        nanosleep(&(struct timespec){.tv_nsec = LOOK_MS * 1000000L}, NULL);
        api_answer_release(answer);
        err = api_call(ctl, "GET", path, pl_span(NULL, 0), answer, why);
    }
    return err;
}

static void put_count(struct table *table, const char *title, struct json of, const char *after)
{
    const uint64_t events = count_of(of, "events"), links = count_of(of, "links");
    table_text(table, title);
    table_format(table, "%" PRIu64 " %s, %" PRIu64 " %s%s", events,
                 pl_plural(events, "event", "events"), links, pl_plural(links, "link", "links"),
                 after);
}

/* What was done, in numbers; what is not the rule only where it is so. */
static void put_numbers(struct table *table, struct json root)
{
    struct json erased, held, ids;
    char after[80];
    if (json_get(root, "ids", &ids)) {
        table_text(table, "ids looked for");
        table_format(table, "%.0f visitor's, %.0f user's", number_of(ids, "visitor"),
                     number_of(ids, "user"));
    }
    if (json_get(root, "erased", &erased)) {
        const uint64_t bytes = count_of(erased, "bytes");
        snprintf(after, sizeof(after), ", %" PRIu64 " %s; %.0f dropped on arrival since", bytes,
                 pl_plural(bytes, "byte", "bytes"), number_of(erased, "dropped_on_arrival"));
        put_count(table, "what was erased", erased, after);
    }
    const uint64_t unreadable = count_of(root, "unreadable");
    if (unreadable > 0) {
        table_text(table, "damaged, left");
        table_format(table, "%" PRIu64 " %s that cannot be read", unreadable,
                     pl_plural(unreadable, "value", "values"));
    }
    if (json_get(root, "held", &held) && count_of(held, "events") + count_of(held, "links") > 0)
        put_count(table, "kept by a hold", held, ": erased when it ends");
}

static enum pl_err print_receipt(struct json root, struct pl_why *why)
{
    static const struct table_field fields[] = {
        {"receipt", "id", "-", false},
        {"state", "state", "-", false},
        {"asked for", "at", "-", true},
        {"erased", "erased_at", "not yet", true},
        {"gone from every file", "physically_gone_at", "not yet", true},
        {"guarded until at least", "guarded_until", "-", true},
        {0},
    };
    struct table table;
    table_init(&table, NULL, 2);
    table_fields(&table, root, fields);
    put_numbers(&table, root);
    enum pl_err err = table_print(&table, why);
    table_release(&table);
    if (err == PL_OK)
        err = table_edges(root, why);
    if (err == PL_OK)
        print_sentences(root, "kept", "Kept");
    return err;
}

static enum ctl_exit run_erase(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    struct api_answer answer = {.status = 0};
    char path[PATH_BYTES], account_path[PATH_BYTES];
    enum pl_err err = ask(ctl, args, "visitor/erase", path, &answer, why);
    if (err == PL_OK) {
        snprintf(account_path, sizeof(account_path), "%.*s",
                 (int)(strlen(path) - strlen("/visitor/erase")), path);
        err = wait_until_gone(ctl, account_path, &answer, why);
    }
    if (err == PL_OK && ctl->json)
        api_print(&answer);
    else if (err == PL_OK)
        err = print_receipt(answer.root, why);
    api_answer_release(&answer);
    return ctl_result(err);
}

/* ---- opt-outs */

static enum ctl_exit change_opt_outs(struct ctl *ctl, const struct ctl_args *args, const char *verb,
                                     const char *counted, const char *done, const char *nothing,
                                     struct pl_why *why)
{
    struct api_answer answer = {.status = 0};
    char path[PATH_BYTES];
    enum pl_err err = ask(ctl, args, verb, path, &answer, why);
    if (err == PL_OK && ctl->json)
        api_print(&answer);
    else if (err == PL_OK && number_of(answer.root, counted) == 0)
        puts(nothing);
    else if (err == PL_OK)
        printf("%s: %.0f\n", done, number_of(answer.root, counted));
    api_answer_release(&answer);
    return ctl_result(err);
}

static enum ctl_exit run_optout(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    return change_opt_outs(ctl, args, "visitor/optout", "opted_out",
                           "nothing is collected of this visitor from now on; ids opted out",
                           "Every id of this visitor is opted out already.", why);
}

static enum ctl_exit run_optin(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    return change_opt_outs(ctl, args, "visitor/optin", "taken_back", "opt-outs taken back",
                           "No opt-out of this visitor stands.", why);
}

/* ---- receipts */

static enum pl_err show_receipts(struct json root, struct pl_why *why)
{
    static const struct table_field fields[] = {
        {"RECEIPT", "id", "-", false},
        {"STATE", "state", "-", false},
        {"BEGUN (UTC)", "at", "-", true},
        {"ERASED", "erased_at", "not yet", true},
        {"IN NO FILE", "physically_gone_at", "not yet", true},
        {"GUARDED UNTIL", "guarded_until", "-", true},
        {0},
    };
    return table_list(root, "erasures", fields,
                      "There are no receipts: no visitor was erased yet, or they went with the "
                      "account.",
                      why);
}

static enum ctl_exit run_receipts(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    struct api_answer answer = {.status = 0};
    enum pl_err err = names_call(ctl, NAMES_ACCOUNT, args->words[0], "GET", "/erasures",
                                 pl_span(NULL, 0), &answer, why);
    return api_end(ctl, err, &answer, show_receipts, why);
}

static enum ctl_exit run_receipt(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    struct pl_id128 id;
    if (!pl_id128_parse(pl_span_str(args->words[1]), &id))
        return ctl_usage(why, "RECEIPT must be 32 hex digits, as visitor erase has printed them "
                              "and visitor receipts shows them");
    struct api_answer answer = {.status = 0};
    char path[PATH_BYTES], whole[2 * PATH_BYTES];
    enum pl_err err = find_path(ctl, args, "erasures", path, why);
    if (err == PL_OK) {
        snprintf(whole, sizeof(whole), "%s/%.64s", path, args->words[1]);
        err = api_call(ctl, "GET", whole, pl_span(NULL, 0), &answer, why);
    }
    if (err == PL_OK && ctl->json)
        api_print(&answer);
    else if (err == PL_OK)
        err = print_receipt(answer.root, why);
    api_answer_release(&answer);
    return ctl_result(err);
}

const struct ctl_command visitor_commands[] = {
    {"show", "ACCOUNT VISITOR", "What is known of a visitor",
     "VISITOR is a visitor id or a user id; the ids that it was seen with count, too: of a visitor "
     "id the users who identified with it, of a user id all its devices and what it was called "
     "before or after, but never other people who used one of the devices.\n\n"
     "Examples:\n"
     "  polderctl visitor show my-shop 7f4e2c1a-7a52-4f0e-9d55-3c1f6f0f7d11\n"
     "  polderctl visitor show my-shop ann@example.com --json",
     options, run_show},
    {"export", "ACCOUNT VISITOR", "Writes all that is held of a visitor",
     "One JSON object a line: events, then links between ids and opt-outs.\n\n"
     "Example:\n"
     "  polderctl visitor export my-shop ann@example.com >ann.ndjson",
     options, run_export},
    {"erase", "ACCOUNT VISITOR", "Erases a visitor, and prints the receipt",
     "What is stored goes, and what is still on its way is dropped when it arrives. Waits until "
     "no file of the origin holds any of it. Opt-outs stay: they keep the visitor out. Refused "
     "when a hold on the account covers some of it; what is found to be covered later stays until "
     "the hold ends, and the receipt says so.\n\n"
     "Examples:\n"
     "  polderctl visitor erase my-shop ann@example.com\n"
     "  polderctl visitor erase my-shop kitchen-tablet --alone",
     options, run_erase},
    {"optout", "ACCOUNT VISITOR", "Opts a visitor out who objected by mail",
     "From now on nothing is collected of the visitor, in any region; what is stored stays: "
     "visitor "
     "erase. Every id that the visitor was seen with is opted out, so that all its devices are. It "
     "holds for ids; a browser that has none of them is asked by the site itself.\n\n"
     "Examples:\n"
     "  polderctl visitor optout my-shop ann@example.com\n"
     "  polderctl visitor optout my-shop kitchen-tablet --alone",
     options, run_optout},
    {"optin", "ACCOUNT VISITOR", "Takes a visitor's opt-outs back",
     "Those that the visitor has said at a site, too; what the browser itself remembers goes on "
     "there until it is told otherwise.\n\n"
     "Example:\n  polderctl visitor optin my-shop ann@example.com",
     options, run_optin},
    {"receipt", "ACCOUNT RECEIPT", "How an erasure stands",
     "RECEIPT is the id that erase printed. It names no visitor. States: erasing; erased, nothing "
     "can be read any more; gone, nor is it in any file of the origin; closed, nothing of before "
     "can come any more; held, a hold keeps some of it.\n\n"
     "Example:\n  polderctl visitor receipt my-shop 8f14e45fceea167a5a36dedd4bea2543",
     NULL, run_receipt},
    {"receipts", "ACCOUNT", "Lists an account's erasures",
     "None of them names its visitor.\n\n"
     "Example:\n  polderctl visitor receipts my-shop",
     NULL, run_receipts},
    {0},
};
