/* checkpoint CONFIG DIR: a consistent copy of the database of an origin that is not running, in a
 * new folder, as a backup would make it. */
#include "origin/families.h"
#include "origin/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct origin_options options;
    struct store *store;
    struct pl_why why = {0};
    struct pl_log log = {.fd = STDERR_FILENO, .level = PL_LOG_WARN, .clock = pl_clock_system()};
    if (argc != 3) {
        fprintf(stderr, "usage: checkpoint CONFIG DIR\n");
        return 2;
    }
    enum pl_err err = origin_options_load(argv[1], &options, &why);
    if (err == PL_OK) {
        const struct store_config config = {.path = options.data_dir,
                                            .families = origin_families,
                                            .family_count = FAMILY_COUNT,
                                            .cache_bytes = 1u << 20,
                                            .write_buffer_bytes = 32u << 20,
                                            .background_threads = 1,
                                            .log = &log};
        err = store_open(&store, &config, &why);
        if (err == PL_OK) {
            err = store_checkpoint(store, argv[2], &why);
            store_close(store);
        }
        origin_options_release(&options);
    }
    if (err != PL_OK)
        fprintf(stderr, "checkpoint: %s\n", why.text);
    return err == PL_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
