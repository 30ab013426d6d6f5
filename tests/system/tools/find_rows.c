/* find_rows CONFIG HEX: the family of each row of an origin that is not running whose key or value
 * holds these bytes, bare or as hexadecimal text: one a line. */
#include "origin/families.h"
#include "origin/options.h"
#include "proto/base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define NEEDLE_MAX 64

struct needle {
    uint8_t bare[NEEDLE_MAX];
    struct pl_span text;
};

static bool holds(struct pl_span where, const struct needle *needle)
{
    return where.len > 0 &&
           (memmem(where.data, where.len, needle->bare, needle->text.len / 2) != NULL ||
            memmem(where.data, where.len, needle->text.data, needle->text.len) != NULL);
}

static enum pl_err search(struct store *store, const struct needle *needle)
{
    enum pl_err err = PL_OK;
    for (unsigned family = 0; family < FAMILY_COUNT && err == PL_OK; family++) {
        struct store_scan *scan;
        struct pl_span key, value;
        err = store_scan_new(&scan, store, family, pl_span(NULL, 0), pl_span(NULL, 0));
        while (err == PL_OK && (err = store_scan_next(scan, &key, &value)) == PL_OK) {
            if (holds(key, needle) || holds(value, needle))
                printf("%s\n", origin_families[family].name);
        }
        store_scan_free(scan);
        err = err == PL_ENOTFOUND ? PL_OK : err;
    }
    return err;
}

static enum pl_err open_and_search(const struct origin_options *options,
                                   const struct needle *needle, struct pl_why *why)
{
    struct pl_log log = {.fd = STDERR_FILENO, .level = PL_LOG_WARN, .clock = pl_clock_system()};
    const struct store_config config = {.path = options->data_dir,
                                        .families = origin_families,
                                        .family_count = FAMILY_COUNT,
                                        .cache_bytes = 1u << 20,
                                        .write_buffer_bytes = 32u << 20,
                                        .background_threads = 1,
                                        .log = &log};
    struct store *store;
    enum pl_err err = store_open(&store, &config, why);
    if (err == PL_OK) {
        err = search(store, needle);
        store_close(store);
    }
    return err;
}

int main(int argc, char **argv)
{
    struct origin_options options;
    struct needle needle;
    struct pl_why why = {0};
    if (argc == 3)
        needle.text = pl_span_str(argv[2]);
    if (argc != 3 || needle.text.len % 2 != 0 || needle.text.len > 2 * NEEDLE_MAX ||
        !pl_hex_decode(needle.text, needle.bare, needle.text.len / 2)) {
        fprintf(stderr, "usage: find_rows CONFIG HEX\n");
        return 2;
    }
    enum pl_err err = origin_options_load(argv[1], &options, &why);
    if (err == PL_OK) {
        err = open_and_search(&options, &needle, &why);
        origin_options_release(&options);
    }
    if (err != PL_OK)
        fprintf(stderr, "find_rows: %s\n", why.text[0] == '\0' ? pl_err_word(err) : why.text);
    return err == PL_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
