#include "proto/http/internal.h"

static const struct {
    enum http_method method;
    const char *name;
} METHODS[] = {
    {HTTP_GET, "GET"},     {HTTP_HEAD, "HEAD"},     {HTTP_POST, "POST"},       {HTTP_PUT, "PUT"},
    {HTTP_PATCH, "PATCH"}, {HTTP_DELETE, "DELETE"}, {HTTP_OPTIONS, "OPTIONS"},
};

static bool is_prefix(const char *path)
{
    size_t len = strlen(path);
    return len > 0 && path[len - 1] == '*';
}

static size_t path_len(const char *path)
{
    return strlen(path) - (is_prefix(path) ? 1 : 0);
}

/* Exact paths shortest first, then prefixes longest first; one path's routes stand together in
 * the order they were given (the sort need not be stable: the address breaks ties). */
static int compare_routes(const void *a, const void *b)
{
    const struct http_route *x = *(const struct http_route *const *)a;
    const struct http_route *y = *(const struct http_route *const *)b;
    bool prefix = is_prefix(x->path);
    if (prefix != is_prefix(y->path))
        return prefix ? 1 : -1;
    size_t x_len = path_len(x->path), y_len = path_len(y->path);
    if (x_len != y_len)
        return (x_len < y_len) == prefix ? 1 : -1;
    int order = memcmp(x->path, y->path, x_len);
    if (order != 0)
        return order;
    return x < y ? -1 : x > y;
}

static void describe_allow(struct http_route_path *path)
{
    size_t used = 0;
    for (size_t i = 0; i < sizeof(METHODS) / sizeof(METHODS[0]); ++i) {
        if ((path->methods & METHODS[i].method) == 0)
            continue;
        int n = snprintf(path->allow + used, sizeof(path->allow) - used, "%s%s",
                         used == 0 ? "" : ", ", METHODS[i].name);
        used += (size_t)n; /* all seven need 45 bytes */
    }
}

static enum pl_err add_route(struct http_route_table *table, const struct http_route *route)
{
    bool prefix = is_prefix(route->path);
    size_t len = path_len(route->path);
    struct http_route_path *paths = prefix ? table->prefixes : table->exact;
    size_t *count = prefix ? &table->prefix_count : &table->exact_count;
    struct http_route_path *last = *count == 0 ? NULL : &paths[*count - 1];

    if (last == NULL || last->len != len || memcmp(last->path, route->path, len) != 0) {
        char *copy = strndup(route->path, len);
        if (copy == NULL)
            return PL_ENOMEM;
        last = &paths[(*count)++];
        *last = (struct http_route_path){.path = copy,
                                         .len = len,
                                         .prefix = prefix,
                                         .routes = &table->routes[table->route_count]};
    }
    struct http_route *slot = &table->routes[table->route_count++];
    *slot = *route;
    slot->path = last->path;
    last->route_count++;
    last->methods |= route->methods;
    if ((route->methods & HTTP_GET) != 0)
        last->methods |= HTTP_HEAD;
    return PL_OK;
}

static enum pl_err check_route(const struct http_route *route, struct pl_why *why)
{
    if (route->path == NULL || route->path[0] != '/')
        return pl_fail(why, PL_EINVAL, "route path \"%s\" must start with '/'",
                       route->path == NULL ? "" : route->path);
    if (path_len(route->path) > HTTP_ROUTE_LEN_MAX)
        return pl_fail(why, PL_ELIMIT, "route path \"%s\" is longer than %d bytes", route->path,
                       HTTP_ROUTE_LEN_MAX);
    if (route->handler == NULL || route->methods == 0)
        return pl_fail(why, PL_EINVAL, "route \"%s\" has no handler or no method", route->path);
    return PL_OK;
}

enum pl_err http_route_table_init(struct http_route_table *table, const struct http_route *routes,
                                  size_t count, struct pl_why *why)
{
    enum pl_err err = PL_OK;
    const struct http_route **sorted = calloc(count + 1, sizeof(struct http_route *));

    *table = (struct http_route_table){0};
    table->routes = calloc(count + 1, sizeof(struct http_route));
    table->exact = calloc(count + 1, sizeof(struct http_route_path));
    table->prefixes = calloc(count + 1, sizeof(struct http_route_path));
    if (sorted == NULL || table->routes == NULL || table->exact == NULL ||
        table->prefixes == NULL || count > UINT16_MAX) {
        err = pl_fail(why, PL_ENOMEM, "out of memory for %zu routes", count);
        goto out;
    }
    for (size_t i = 0; i < count; ++i) {
        if ((err = check_route(&routes[i], why)) != PL_OK)
            goto out;
        sorted[i] = &routes[i];
    }
    qsort(sorted, count, sizeof(sorted[0]), compare_routes);
    for (size_t i = 0; i < count; ++i) {
        if ((err = add_route(table, sorted[i])) != PL_OK) {
            (void)pl_fail(why, err, "out of memory for %zu routes", count);
            goto out;
        }
    }
    for (size_t i = 0; i < table->exact_count; ++i)
        describe_allow(&table->exact[i]);
    for (size_t i = 0; i < table->prefix_count; ++i)
        describe_allow(&table->prefixes[i]);
    for (size_t len = 0, i = 0; len <= HTTP_ROUTE_LEN_MAX + 1; ++len) {
        while (i < table->exact_count && table->exact[i].len < len)
            ++i;
        table->by_len[len] = (uint16_t)i;
    }
out:
    if (err != PL_OK)
        http_route_table_release(table);
    free(sorted);
    return err;
}

void http_route_table_release(struct http_route_table *table)
{
    for (size_t i = 0; i < table->exact_count; ++i)
        free(table->exact[i].path);
    for (size_t i = 0; i < table->prefix_count; ++i)
        free(table->prefixes[i].path);
    free(table->exact);
    free(table->prefixes);
    free(table->routes);
    *table = (struct http_route_table){0};
}

const struct http_route_path *http_route_find(const struct http_route_table *table,
                                              struct pl_span path)
{
    if (path.len <= HTTP_ROUTE_LEN_MAX) {
        for (size_t i = table->by_len[path.len]; i < table->by_len[path.len + 1]; ++i)
            if (memcmp(table->exact[i].path, path.data, path.len) == 0)
                return &table->exact[i];
    }
    for (size_t i = 0; i < table->prefix_count; ++i) {
        const struct http_route_path *prefix = &table->prefixes[i];
        if (prefix->len <= path.len && memcmp(prefix->path, path.data, prefix->len) == 0)
            return prefix;
    }
    return NULL;
}

const struct http_route *http_route_pick(const struct http_route_path *path,
                                         enum http_method method)
{
    for (size_t i = 0; i < path->route_count; ++i)
        if ((path->routes[i].methods & method) != 0)
            return &path->routes[i];
    /* An explicit HEAD route goes first. */
    return method == HTTP_HEAD ? http_route_pick(path, HTTP_GET) : NULL;
}
