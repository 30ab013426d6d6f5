/* The keys: what an operator may want done with them before its time. */
#include "origin/api/call.h"
#include "origin/request.h"

API_HANDLER(api_keyring_rotate)
{
    struct cutoffs *cutoffs = worker->api->parts->cutoffs;
    struct cutoffs_status status;
    (void)call;
    enum pl_err err = cutoffs_rotate(cutoffs, why);
    if (err == PL_OK) {
        cutoffs_status(cutoffs, &status);
        json_write_object(worker->writer);
        json_write_pair_hex(worker->writer, "seal_key_id",
                            pl_span(status.seal_key_id, sizeof(status.seal_key_id)));
        json_write_pair_u64(worker->writer, "position", status.seal_key_position);
        json_write_object_end(worker->writer);
    }
    return err;
}
