/* Prints the API's routes as a JSON array, for the test that walks all of them. */
#include "origin/api/call.h"

#include <stdio.h>

static const char *method_of(const struct api_route *route)
{
    switch (route->method) {
    case HTTP_GET:
        return "GET";
    case HTTP_POST:
        return "POST";
    case HTTP_PUT:
        return "PUT";
    case HTTP_PATCH:
        return "PATCH";
    default:
        return "DELETE";
    }
}

static void print(const struct api_route *route, const char *prefix, const char *before)
{
    printf("%s{\"method\":\"%s\",\"path\":\"%s%s\",\"action\":\"%s\",\"roles\":[", before,
           method_of(route), prefix, route->pattern, route->action == NULL ? "" : route->action);
    const char *comma = "";
    for (int role = ROLE_OPERATOR; role <= ROLE_AUDITOR; role++) {
        if ((route->roles & (1u << role)) != 0) {
            printf("%s\"%s\"", comma, token_role_name((enum token_role)role));
            comma = ",";
        }
    }
    puts("]}");
}

int main(void)
{
    for (size_t i = 0; i < api_route_count; i++)
        print(&api_routes[i], "/api/v1/", i == 0 ? "[" : ",");
    for (size_t i = 0; i < api_probe_count; i++)
        print(&api_probes[i], "", ",");
    puts("]");
    return 0;
}
