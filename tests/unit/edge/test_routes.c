#include "edge/routes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* The origin lets no account have a path that an edge serves, without knowing edges. */
static void no_account_can_have_a_path_that_is_served(void **state)
{
    struct edge_routes *routes;
    struct http_server_config config;
    struct pl_why why = {0};
    (void)state;
    http_server_config_init(&config);
    assert_int_equal(edge_routes_new(&routes, 60, &why), PL_OK);
    edge_routes_apply(routes, &config);
    assert_true(config.route_count > 20);
    for (size_t i = 0; i < config.route_count; i++) {
        char path[256];
        const size_t len = strcspn(config.routes[i].path, "*");
        snprintf(path, sizeof(path), "%.*s%s", (int)len, config.routes[i].path,
                 config.routes[i].path[len] == '*' ? "x" : "");
        if (!catalog_path_is_taken(pl_span_str(path)))
            fail_msg("%s is served, but catalog_path_is_taken does not say so", path);
    }
    assert_false(catalog_path_is_taken(PL_SPAN_LIT("/com.shop/t")));
    edge_routes_free(routes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_account_can_have_a_path_that_is_served),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
