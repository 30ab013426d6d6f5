/* A keyring in a directory of its own, for the tests of everything that needs keys. */
#ifndef POLDER_TESTS_ORIGIN_KEYRING_FIXTURE_H
#define POLDER_TESTS_ORIGIN_KEYRING_FIXTURE_H

#include "origin/keyring/keyring.h"
#include "proto/base/file.h"
#include "proto/base/pki.h"

#include <stdio.h>
#include <stdlib.h>

#define KEK_A "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n"
#define KEK_B "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100\n"

struct keyring_fixture {
    char dir[64];
    char paths[2][96];
    const char *path_list[2];
    struct pl_buf signer;
    struct keyring_config config;
    struct pl_log silent;
};

static inline void keyring_fixture_init(struct keyring_fixture *f)
{
    snprintf(f->dir, sizeof(f->dir), "/tmp/polder-keyring-XXXXXX");
    if (mkdtemp(f->dir) == NULL)
        abort();
    for (int i = 0; i < 2; i++) {
        char sub[80];
        snprintf(sub, sizeof(sub), "%s/%d", f->dir, i);
        if (pl_dir_make(sub, 0700, NULL) != PL_OK)
            abort();
        snprintf(f->paths[i], sizeof(f->paths[i]), "%s/keyring", sub);
        f->path_list[i] = f->paths[i];
    }
    pl_buf_init(&f->signer, 4096);
    if (pl_pki_new_key(pl_random_system(), &f->signer) != PL_OK)
        abort();
    f->silent = (struct pl_log){.fd = -1, .level = PL_LOG_ERROR, .clock = pl_clock_system()};
    f->config = (struct keyring_config){.paths = f->path_list,
                                        .path_count = 2,
                                        .create = true,
                                        .kek_text = PL_SPAN_LIT(KEK_A),
                                        .signer_pem = pl_buf_span(&f->signer),
                                        .clock = pl_clock_system(),
                                        .random = pl_random_system(),
                                        .log = &f->silent};
}

static inline void keyring_fixture_release(struct keyring_fixture *f)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", f->dir);
    if (system(command) != 0)
        fprintf(stderr, "%s is left behind\n", f->dir);
    pl_buf_release(&f->signer);
}

#endif
