/* polderctl probe: is a node healthy? For people, and for monitoring that reads exit codes. */
#include "deploy/ctl/api.h"
#include "deploy/ctl/table.h"

#include <stdio.h>

static const struct {
    const char *word;
    enum ctl_exit exit;
} statuses[] = {
    {"healthy", CTL_OK},
    {"degraded", CTL_DEGRADED},
    {"down", CTL_DOWN},
};

/* The node's root means its replication report. */
static enum ctl_exit make_url(const char *given, char *url, size_t size, struct pl_why *why)
{
    const char *host = strstr(given, "://");
    if (strncmp(given, "http://", 7) != 0 && strncmp(given, "https://", 8) != 0)
        return ctl_usage(why, "'%.200s' must begin with http:// or https://", given);
    const char *path = strchr(host + 3, '/');
    bool root = path == NULL || path[1] == '\0';
    int len = snprintf(url, size, "%s%s", given,
                       !root          ? ""
                       : path == NULL ? "/replication"
                                      : "replication");
    return len < 0 || (size_t)len >= size ? ctl_usage(why, "the URL is too long") : CTL_OK;
}

static enum ctl_exit say(const struct ctl *ctl, enum ctl_exit status, const char *reason)
{
    struct json_writer *w = NULL;
    struct pl_buf out;
    if (!ctl->json) {
        printf("%s: ", statuses[status].word);
        print_clean(pl_span_str(reason));
        putchar('\n');
        return status;
    }
    pl_buf_init(&out, 4096);
    if (json_writer_new(&w, false) == PL_OK) {
        json_writer_begin(w, &out);
        json_write_object(w);
        json_write_pair_text(w, "status", statuses[status].word);
        json_write_key(w, "reasons");
        json_write_array(w);
        json_write_text(w, reason);
        json_write_array_end(w);
        json_write_object_end(w);
        if (json_writer_end(w) == PL_OK)
            printf("%.*s\n", (int)out.len, (const char *)out.data);
    }
    json_writer_free(w);
    pl_buf_release(&out);
    return status;
}

static void print_reasons(enum ctl_exit status, struct json report, const char *url)
{
    struct json list, reason;
    struct pl_span text;
    size_t printed = 0;
    if (json_get(report, "reasons", &list)) {
        for (struct json_iter i = json_elements(list); json_next_element(&i, &reason);) {
            if (!json_string(reason, &text))
                continue;
            printf("%s: ", statuses[status].word);
            print_clean(text);
            putchar('\n');
            printed++;
        }
    }
    if (printed == 0)
        printf("%s: %s\n", statuses[status].word, url);
}

static enum ctl_exit run_probe(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    struct api_answer answer = {.status = 0};
    struct pl_why failure = {0};
    char url[2048], text[128];
    enum ctl_exit result = make_url(args->words[0], url, sizeof(url), why);
    if (result != CTL_OK)
        return result;
    if (api_look(url, &answer, &failure) != PL_OK) {
        api_answer_release(&answer);
        return say(ctl, CTL_DOWN, failure.text);
    }
    struct pl_span word =
        answer.parser == NULL ? pl_span(NULL, 0) : member_text(answer.root, "status");
    result = CTL_DOWN;
    bool known = false;
    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]) && !known; i++) {
        known = pl_span_eq_str(word, statuses[i].word);
        if (known)
            result = statuses[i].exit;
    }
    if (known && result != CTL_DOWN && answer.status != 200)
        known = false; /* a word and a code that contradict each other are not trusted */
    if (!known) {
        snprintf(text, sizeof(text), "the node answers with HTTP status %ld and no health report%s",
                 answer.status,
                 answer.status == 404 ? " (an edge with ops_listen gives it there only)" : "");
        result = say(ctl, CTL_DOWN, text);
    } else if (ctl->json) {
        api_print(&answer);
    } else {
        print_reasons(result, answer.root, url);
    }
    api_answer_release(&answer);
    return result;
}

const struct ctl_command probe_commands[] = {
    {
        .arguments = "URL",
        .about = "Tells whether a node is healthy",
        .more = "URL is an edge's or the origin's; its /replication is asked, without a token. One "
                "line a reason.\n\n"
                "Exit status: 0 healthy, 1 degraded, 2 down or not reachable.\n\n"
                "Examples:\n"
                "  polderctl probe http://127.0.0.1:8080\n"
                "  polderctl probe http://127.0.0.1:8081 || page-somebody",
        .run = run_probe,
    },
    {0},
};
