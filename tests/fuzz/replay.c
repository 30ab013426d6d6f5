/*
 * Runs a fuzz target over every file of a directory, as an ordinary test: what a fuzzer once
 * found, or what shows it the way, must never break again. With more arguments: those files.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The input stands in memory of exactly its size, so that a sanitizer sees a byte too far. */
static int replay(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0) {
        fprintf(stderr, "replay: cannot read %s: %s\n", path, strerror(errno));
        if (file != NULL)
            fclose(file);
        return -1;
    }
    long size = ftell(file);
    rewind(file);
    uint8_t *data = size < 0 ? NULL : malloc(size > 0 ? (size_t)size : 1);
    int err = -1;
    if (data != NULL && fread(data, 1, (size_t)size, file) == (size_t)size) {
        fprintf(stderr, "replay: %s\n", path);
        LLVMFuzzerTestOneInput(data, (size_t)size);
        err = 0;
    }
    free(data);
    fclose(file);
    return err;
}

static int by_name(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int replay_directory(const char *path)
{
    struct dirent **entries;
    int count = scandir(path, &entries, by_name, alphasort), failed = 0;
    if (count <= 0) {
        fprintf(stderr, "replay: no files in %s\n", path);
        return -1;
    }
    for (int i = 0; i < count; i++) {
        char file[PATH_MAX];
        snprintf(file, sizeof(file), "%s/%s", path, entries[i]->d_name);
        failed |= replay(file);
        free(entries[i]);
    }
    free(entries);
    return failed;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: %s DIRECTORY | FILE FILE...\n", argv[0]);
        return 2;
    }
    int failed = argc == 2 ? replay_directory(argv[1]) : 0;
    for (int i = 1; argc > 2 && i < argc; i++)
        failed |= replay(argv[i]);
    return failed != 0;
}
