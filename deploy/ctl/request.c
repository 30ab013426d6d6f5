#include "deploy/ctl/request.h"

#include "proto/wire/json.h"

enum pl_err request_write(const struct request_member *members, const char *what,
                          struct pl_buf *out, struct pl_why *why)
{
    struct json_writer *w = NULL;
    enum pl_err err = json_writer_new(&w, false);
    if (err != PL_OK)
        return pl_fail(why, err, "no memory for a request");
    json_writer_begin(w, out);
    json_write_object(w);
    for (; members->name != NULL; members++) {
        if (members->text != NULL)
            json_write_pair_text(w, members->name, members->text);
        else if (members->set)
            json_write_pair_bool(w, members->name, true);
    }
    json_write_object_end(w);
    err = json_writer_end(w);
    json_writer_free(w);
    return err == PL_OK ? PL_OK
                        : pl_fail(why, err, "%s must be UTF-8 text of less than %zu KiB", what,
                                  out->max_bytes / 1024);
}
