/* Each dialect's golden requests, those that an edge takes: what an event of theirs costs. */
#include "tests/bench/bench_dialect.h"

#include <dirent.h>

#define REQUESTS_MAX 256
#define HEADERS_MAX  16
#define REPEATS      200
#define TEXT_BYTES   (16 * 1024 * 1024)
#define FILE_BYTES   (1024 * 1024)

struct request {
    struct dialect_input input;
    const struct dialect_route *route;
    size_t header_count;
    struct pl_span names[HEADERS_MAX], values[HEADERS_MAX];
};

struct golden {
    struct bench *bench;
    struct json_parser *parser;
    struct pl_buf text; /* reserved in full: spans into it stay */
    struct request requests[REQUESTS_MAX];
    size_t count, events, bytes;
};

static bool find_header(const void *ctx, const char *name, struct pl_span *value)
{
    const struct request *request = ctx;
    for (size_t i = 0; i < request->header_count; i++) {
        if (!pl_span_eq_nocase(request->names[i], pl_span_str(name)))
            continue;
        *value = request->values[i];
        return true;
    }
    return false;
}

static struct pl_span header(const struct request *request, const char *name)
{
    struct pl_span value = {0};
    (void)find_header(request, name, &value);
    return value;
}

static struct pl_span keep(struct golden *golden, struct json value)
{
    struct pl_span text;
    const size_t from = golden->text.len;
    if (json_string(value, &text)) {
        bench_must(pl_buf_append_span(&golden->text, text), "text", NULL);
    } else {
        json_writer_begin(golden->bench->writer, &golden->text);
        json_write_value(golden->bench->writer, value);
        bench_must(json_writer_end(golden->bench->writer), "text", NULL);
    }
    return pl_span(golden->text.data + from, golden->text.len - from);
}

static struct pl_span member(struct golden *golden, struct json object, const char *name)
{
    struct json value;
    return json_get(object, name, &value) ? keep(golden, value) : pl_span(NULL, 0);
}

static const struct dialect_route *route_of(const struct dialect *dialect,
                                            struct dialect_input *input)
{
    for (size_t r = 0; r < dialect->route_count; r++) {
        const struct dialect_route *route = &dialect->routes[r];
        struct pl_span path = pl_span_str(route->path);
        if ((route->methods & input->method) == 0)
            continue;
        if (pl_span_eq(path, input->path))
            return route;
        if (path.data[path.len - 1] != '*')
            continue;
        path.len--;
        input->tail = pl_span_from(input->path, path.len);
        if (pl_span_starts(input->path, path))
            return route;
    }
    return NULL;
}

static void take_headers(struct golden *golden, struct json object, struct request *request)
{
    struct json headers, value;
    struct pl_span name;
    request->header_count = 0;
    if (!json_get(object, "headers", &headers))
        return;
    struct json_iter members = json_members(headers);
    while (request->header_count < HEADERS_MAX && json_next_member(&members, &name, &value)) {
        const struct json key = {value.document, value.index - 1};
        request->names[request->header_count] = keep(golden, key);
        request->values[request->header_count++] = keep(golden, value);
    }
}

/* False: the dialect does not take it, or makes no event of it. */
static bool take_request(struct golden *golden, const struct dialect *dialect, struct json object)
{
    struct request *request = &golden->requests[golden->count];
    struct pl_why why = {0};
    take_headers(golden, object, request);
    const struct pl_span method = member(golden, object, "method");
    const struct pl_span path = member(golden, object, "path");
    const uint8_t *mark = path.len > 0 ? memchr(path.data, '?', path.len) : NULL;
    const size_t len = mark == NULL ? path.len : (size_t)(mark - path.data);
    request->input = bench_input(golden->bench);
    request->input.method =
        method.len == 0 || pl_span_eq_str(method, "GET") ? DIALECT_GET : DIALECT_POST;
    request->input.path = pl_span(path.data, len);
    request->input.query = pl_span_from(path, len + 1);
    request->input.body = member(golden, object, "body");
    request->input.authorization = header(request, "authorization");
    request->input.content_type = header(request, "content-type");
    request->input.user_agent = header(request, "user-agent");
    request->input.referer = header(request, "referer");
    request->input.cookie = header(request, "cookie");
    request->input.header = find_header;
    request->input.header_ctx = request;
    request->route = route_of(dialect, &request->input);
    golden->bench->events = 0;
    if (request->route == NULL ||
        bench_decode(golden->bench, request->route, &request->input, &why) != PL_OK ||
        golden->bench->events == 0)
        return false;
    golden->count++;
    golden->events += golden->bench->events;
    golden->bytes += request->input.query.len + request->input.body.len;
    return true;
}

static void read_file(struct golden *golden, const struct dialect *dialect, const char *path)
{
    struct pl_buf file;
    struct json root, request;
    pl_buf_init(&file, BENCH_FILE_BYTES);
    bench_read(path, &file);
    bench_must(json_parse(golden->parser, pl_buf_span(&file), &root, NULL), path, NULL);
    if (golden->count < REQUESTS_MAX && json_get(root, "request", &request) &&
        json_is_object(request))
        (void)take_request(golden, dialect, request);
    pl_buf_release(&file);
}

static void read_folder(struct golden *golden, const struct dialect *dialect, const char *folder)
{
    char path[1024];
    snprintf(path, sizeof(path), "%s/%s", folder, dialect->name);
    DIR *dir = opendir(path);
    golden->count = golden->events = golden->bytes = 0;
    golden->bench->dialect = dialect->id;
    pl_buf_reset(&golden->text);
    if (dir == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (strstr(entry->d_name, ".json") == NULL)
            continue;
        snprintf(path, sizeof(path), "%s/%s/%s", folder, dialect->name, entry->d_name);
        read_file(golden, dialect, path);
    }
    closedir(dir);
}

static double run(struct golden *golden)
{
    struct pl_why why = {0};
    const double before = bench_clock_s(CLOCK_PROCESS_CPUTIME_ID);
    for (size_t n = 0; n < REPEATS; n++)
        for (size_t i = 0; i < golden->count; i++)
            bench_must(bench_decode(golden->bench, golden->requests[i].route,
                                    &golden->requests[i].input, &why),
                       "a golden request", &why);
    return (bench_clock_s(CLOCK_PROCESS_CPUTIME_ID) - before) * 1e9 /
           (double)(golden->events * REPEATS);
}

static void report(struct golden *golden, const struct dialect *dialect)
{
    double plain[ROUNDS], masked[ROUNDS];
    for (size_t i = 0; i < ROUNDS; i++) {
        golden->bench->masks = false;
        plain[i] = run(golden);
        golden->bench->masks = true;
        masked[i] = run(golden);
    }
    printf("{\"dialect\":\"%s\",\"ns\":%.1f,\"masked_ns\":%.1f,\"requests\":%zu,\"events\":%zu,"
           "\"bytes\":%.1f}\n",
           dialect->name, bench_median(plain, ROUNDS), bench_median(masked, ROUNDS), golden->count,
           golden->events, (double)golden->bytes / (double)golden->events);
}

void bench_golden(struct bench *bench, const char *folder)
{
    static struct golden golden;
    golden.bench = bench;
    bench_must(json_parser_new(&golden.parser, FILE_BYTES, 64), "json", NULL);
    pl_buf_init(&golden.text, TEXT_BYTES);
    bench_must(pl_buf_reserve(&golden.text, TEXT_BYTES), "text", NULL);
    for (size_t d = 0; d < dialect_count; d++) {
        read_folder(&golden, dialects[d], folder);
        if (golden.count > 0)
            report(&golden, dialects[d]);
    }
    pl_buf_release(&golden.text);
    json_parser_free(golden.parser);
}
