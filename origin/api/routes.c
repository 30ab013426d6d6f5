/* Who may call what. */
#include "origin/api/call.h"

#include <assert.h>

#define OPERATOR API_OPERATOR
#define AUDITOR  (API_OPERATOR | API_AUDITOR)
#define OWNER    (API_OPERATOR | API_OWNER)
#define READER   (API_OPERATOR | API_AUDITOR | API_OWNER)

const struct api_route api_routes[] = {
    {HTTP_POST, "accounts", OPERATOR, "account.create", api_account_create, 0},
    {HTTP_GET, "accounts", READER, NULL, api_account_list, API_OWN_ONLY},
    {HTTP_GET, "accounts/{account}", READER, NULL, api_account_get, 0},
    {HTTP_PATCH, "accounts/{account}", OPERATOR, "account.update", api_account_update, 0},
    {HTTP_POST, "accounts/{account}/expire", OPERATOR, "account.expire", api_account_expire, 0},
    {HTTP_POST, "accounts/{account}/reinstate", OPERATOR, "account.reinstate",
     api_account_reinstate, 0},
    {HTTP_GET, "accounts/{account}/records", READER, NULL, api_account_records, 0},
    {HTTP_GET, "accounts/{account}/deletion", READER, NULL, api_deletion_get, 0},
    {HTTP_POST, "accounts/{account}/deletion", OPERATOR, "account.delete", api_deletion_request, 0},
    {HTTP_POST, "accounts/{account}/deletion/confirm", OPERATOR, "account.confirm-deletion",
     api_deletion_confirm, 0},
    {HTTP_DELETE, "accounts/{account}/deletion", OPERATOR, "account.keep", api_deletion_withdraw,
     0},
    {HTTP_GET, "accounts/{account}/holds", AUDITOR, NULL, api_hold_list, 0},
    {HTTP_POST, "accounts/{account}/holds", OPERATOR, "hold.place", api_hold_place, 0},
    {HTTP_POST, "accounts/{account}/holds/{id}/release", OPERATOR, "hold.release", api_hold_release,
     0},
    {HTTP_PUT, "accounts/{account}/config", OPERATOR, "config.publish", api_config_put, 0},
    {HTTP_GET, "accounts/{account}/config", OWNER, NULL, api_config_get, 0},
    {HTTP_GET, "accounts/{account}/events", OWNER, "events.export", api_events_export, API_STREAMS},
    {HTTP_POST, "accounts/{account}/events", OWNER, "events.export", api_events_export,
     API_STREAMS},
    {HTTP_GET, "accounts/{account}/counts", READER, NULL, api_account_counts, 0},
    {HTTP_GET, "counts", AUDITOR, NULL, api_counts, 0},
    {HTTP_GET, "accounts/{account}/outcomes", OWNER, NULL, api_account_outcomes, 0},
    {HTTP_POST, "accounts/{account}/visitor/profile", OWNER, "visitor.show", api_visitor_profile,
     API_GIVES},
    {HTTP_POST, "accounts/{account}/visitor/export", OWNER, "visitor.export", api_visitor_export,
     API_GIVES},
    {HTTP_POST, "accounts/{account}/visitor/erase", OWNER, "visitor.erase", api_visitor_erase, 0},
    {HTTP_POST, "accounts/{account}/visitor/optout", OWNER, "visitor.optout", api_visitor_optout,
     0},
    {HTTP_POST, "accounts/{account}/visitor/optin", OWNER, "visitor.optin", api_visitor_optin, 0},
    {HTTP_GET, "accounts/{account}/erasures", READER, NULL, api_erasure_list, 0},
    {HTTP_GET, "accounts/{account}/erasures/{id}", READER, NULL, api_erasure_get, 0},
    {HTTP_GET, "audit", AUDITOR, NULL, api_audit_read, 0},
    {HTTP_GET, "audit/head", AUDITOR, NULL, api_audit_head, 0},
    {HTTP_POST, "edges", OPERATOR, "edge.enroll", api_edge_enroll, 0},
    {HTTP_GET, "edges", AUDITOR, NULL, api_edge_list, 0},
    {HTTP_POST, "edges/{id}/revoke", OPERATOR, "edge.revoke", api_edge_revoke, 0},
    {HTTP_POST, "tokens", OPERATOR, "token.create", api_token_create, 0},
    {HTTP_GET, "tokens", OPERATOR, NULL, api_token_list, 0},
    {HTTP_DELETE, "tokens/{id}", OPERATOR, "token.revoke", api_token_revoke, 0},
    {HTTP_POST, "lifecycle/confirm-clock", OPERATOR, "lifecycle.confirm-clock", api_clock_confirm,
     0},
    {HTTP_POST, "keyring/rewrap", OPERATOR, "keyring.rewrap", api_keyring_rewrap, 0},
    {HTTP_POST, "keyring/rotate", OPERATOR, "keyring.rotate", api_keyring_rotate, 0},
    {HTTP_GET, "keyring/orphans", AUDITOR, NULL, api_orphan_key_list, 0},
    {HTTP_POST, "keyring/orphans/destroy", OPERATOR, "keyring.destroy-orphans",
     api_orphan_key_destroy, 0},
    {HTTP_GET, "keyring/lost", AUDITOR, NULL, api_lost_key_list, 0},
    {HTTP_POST, "keyring/lost/give-up", OPERATOR, "keyring.give-up", api_lost_key_give_up, 0},
    {HTTP_GET, "accounts/{account}/certificate", AUDITOR, NULL, api_certificate_get, 0},
    {HTTP_GET, "accounts/{account}/record", READER, NULL, api_account_record, 0},
    {HTTP_GET, "certificates", AUDITOR, NULL, api_certificate_list, 0},
    {HTTP_GET, "certificates/keys", AUDITOR, NULL, api_certificate_keys, 0},
};
const size_t api_route_count = sizeof(api_routes) / sizeof(api_routes[0]);

const struct api_route api_probes[] = {
    {HTTP_GET, "/ready", API_ANYONE, NULL, api_ready, 0},
    {HTTP_GET, "/replication", API_ANYONE, NULL, api_replication, 0},
    {HTTP_GET, "/metrics", API_ANYONE, NULL, api_metrics, 0},
};
const size_t api_probe_count = sizeof(api_probes) / sizeof(api_probes[0]);
static_assert(sizeof(api_probes) / sizeof(api_probes[0]) + 2 <= API_HTTP_ROUTES,
              "the probes, /health and the API itself fill api->routes");
