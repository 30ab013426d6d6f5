#include "proto/base/compress.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static const char event[] =
    "{\"type\":\"track\",\"event\":\"Product Viewed\",\"messageId\":\"m-1\","
    "\"anonymousId\":\"a-1\",\"timestamp\":\"2026-11-22T13:03:33.123Z\"}";

struct fixture {
    struct pl_zstd *z;
    struct pl_zstd_dict *dict;
    struct pl_buf packed, plain;
};

static int setup(void **state)
{
    static struct fixture f;
    if (pl_zstd_new(&f.z, 3) != PL_OK ||
        pl_zstd_dict_new(&f.dict,
                         PL_SPAN_LIT("\"messageId\":\"\"anonymousId\":\"\"timestamp\":\"2026-"
                                     "{\"type\":\"track\",\"event\":\"Product Viewed\","),
                         3) != PL_OK)
        return -1;
    pl_buf_init(&f.packed, 4 << 20);
    pl_buf_init(&f.plain, 4 << 20);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    pl_buf_release(&f->packed);
    pl_buf_release(&f->plain);
    pl_zstd_dict_free(f->dict);
    pl_zstd_free(f->z);
    pl_zstd_dict_free(NULL);
    pl_zstd_free(NULL);
    return 0;
}

/* Text that compresses, but not to nothing. */
static void fill(uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)((size_t)event[i % (sizeof(event) - 1)] + (i * i / 4096) % 3);
}

static void all_sizes_come_back(void **state)
{
    struct fixture *f = *state;
    static const size_t sizes[] = {0, 1, 100, 255, 256, 257, 4000, 65791, 65792, 1 << 20};
    static uint8_t data[1 << 20];
    fill(data, sizeof(data));
    for (int with_dict = 0; with_dict < 2; with_dict++)
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            const struct pl_zstd_dict *dict = with_dict ? f->dict : NULL;
            pl_buf_reset(&f->packed);
            pl_buf_reset(&f->plain);
            assert_int_equal(pl_zstd_compress(f->z, dict, pl_span(data, sizes[i]), &f->packed),
                             PL_OK);
            assert_int_equal(
                pl_zstd_decompress(f->z, dict, pl_buf_span(&f->packed), sizes[i], &f->plain),
                PL_OK);
            assert_true(pl_span_eq(pl_buf_span(&f->plain), pl_span(data, sizes[i])));
            if (sizes[i] == 0)
                continue;
            size_t before = f->plain.len; /* one byte less is not enough, and changes nothing */
            assert_int_equal(
                pl_zstd_decompress(f->z, dict, pl_buf_span(&f->packed), sizes[i] - 1, &f->plain),
                PL_ELIMIT);
            assert_int_equal(f->plain.len, before);
        }
}

static void frames_carry_no_needless_byte(void **state)
{
    struct fixture *f = *state;
    struct pl_span in = pl_span_str(event);
    assert_int_equal(pl_zstd_compress(f->z, NULL, in, &f->packed), PL_OK);
    /* RFC 8878 section 3.1.1.1.1: no checksum, no dictionary id */
    assert_int_equal(f->packed.data[4] & 0x07, 0);
    size_t without = f->packed.len;
    pl_buf_reset(&f->packed);
    assert_int_equal(pl_zstd_compress(f->z, f->dict, in, &f->packed), PL_OK);
    assert_int_equal(f->packed.data[4] & 0x07, 0);
    assert_true(f->packed.len + 40 < without); /* the dictionary earns its keep */
    /* a frame made with a dictionary does not open without it */
    assert_int_not_equal(pl_zstd_decompress(f->z, NULL, pl_buf_span(&f->packed), 4096, &f->plain),
                         PL_OK);
    assert_int_equal(f->plain.len, 0);
}

static void corrupt_input_is_told(void **state)
{
    struct fixture *f = *state;
    uint8_t data[3000];
    fill(data, sizeof(data));
    assert_int_equal(pl_zstd_compress(f->z, NULL, pl_span(data, sizeof(data)), &f->packed), PL_OK);
    size_t len = f->packed.len;
    for (size_t cut = 0; cut < len; cut++)
        assert_int_equal(
            pl_zstd_decompress(f->z, NULL, pl_span(f->packed.data, cut), 3000, &f->plain),
            PL_ECORRUPT);
    assert_int_equal(pl_buf_put_u8(&f->packed, 0), PL_OK); /* something behind the frame */
    assert_int_equal(pl_zstd_decompress(f->z, NULL, pl_buf_span(&f->packed), 3000, &f->plain),
                     PL_ECORRUPT);
    f->packed.len = len; /* a second frame, well-formed */
    assert_int_equal(pl_zstd_compress(f->z, NULL, PL_SPAN_LIT("more"), &f->packed), PL_OK);
    assert_int_equal(pl_zstd_decompress(f->z, NULL, pl_buf_span(&f->packed), 4000, &f->plain),
                     PL_ECORRUPT);
    assert_int_equal(f->plain.len, 0);
    for (size_t i = 0; i < len; i++) { /* whatever comes out, it stays inside its limit */
        f->packed.data[i] ^= 0xff;
        pl_buf_reset(&f->plain);
        (void)pl_zstd_decompress(f->z, NULL, pl_span(f->packed.data, len), 3000, &f->plain);
        assert_true(f->plain.len <= 3000);
        f->packed.data[i] ^= 0xff;
    }
    assert_int_equal(pl_zstd_decompress(f->z, NULL, pl_span_str(event), 3000, &f->plain),
                     PL_ECORRUPT);
    /* a skippable frame is none of ours */
    assert_int_equal(pl_zstd_decompress(f->z, NULL,
                                        PL_SPAN_LIT("\x50\x2a\x4d\x18\x01\x00\x00\x00x"), 10,
                                        &f->plain),
                     PL_ECORRUPT);
}

static void a_bomb_is_stopped_at_the_limit(void **state)
{
    struct fixture *f = *state;
    uint8_t *zeros = calloc(1, 3 << 20);
    assert_non_null(zeros);
    assert_int_equal(pl_zstd_compress(f->z, NULL, pl_span(zeros, 3 << 20), &f->packed), PL_OK);
    assert_true(f->packed.len < 1000);
    assert_int_equal(pl_zstd_decompress(f->z, NULL, pl_buf_span(&f->packed), 1 << 20, &f->plain),
                     PL_ELIMIT);
    assert_int_equal(f->plain.cap, 0); /* refused by what it claims, nothing allocated */
    /* the buffer's own limit counts as well */
    struct pl_buf small;
    pl_buf_init(&small, 1000);
    assert_int_equal(pl_zstd_decompress(f->z, NULL, pl_buf_span(&f->packed), 4 << 20, &small),
                     PL_ELIMIT);
    pl_buf_release(&small);
    free(zeros);
}

static void output_limits_hold(void **state)
{
    struct fixture *f = *state;
    uint8_t noise[500];
    uint32_t x = 1; /* xorshift: nothing for an encoder to find */
    for (size_t i = 0; i < sizeof(noise); i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        noise[i] = (uint8_t)(x >> 11);
    }
    struct pl_buf small;
    pl_buf_init(&small, 300);
    assert_int_equal(pl_zstd_compress(f->z, NULL, pl_span(noise, sizeof(noise)), &small),
                     PL_ELIMIT);
    assert_int_equal(pl_gzip(pl_span(noise, sizeof(noise)), &small), PL_ELIMIT);
    assert_int_equal(pl_brotli(pl_span(noise, sizeof(noise)), &small), PL_ELIMIT);
    assert_int_equal(small.len, 0);
    /* less room than the encoders' upper bound, yet enough */
    assert_int_equal(pl_zstd_compress(f->z, NULL, pl_span_str(event), &small), PL_OK);
    pl_buf_release(&small);
    pl_buf_init(&small, 300);
    assert_int_equal(pl_gzip(pl_span_str(event), &small), PL_OK);
    pl_buf_release(&small);
    struct pl_zstd *z = NULL;
    assert_int_equal(pl_zstd_new(&z, 1000), PL_OK); /* zstd clamps levels */
    pl_zstd_free(z);
}

/* Opened by an independent decoder. */
static void decoded_by(const char *command, const struct pl_buf *packed)
{
    char path[] = "/tmp/polder-test-XXXXXX", line[256], out[sizeof(event) + 1] = "";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    FILE *file = fdopen(fd, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(packed->data, 1, packed->len, file), packed->len);
    fclose(file);
    snprintf(line, sizeof(line), command, path);
    FILE *pipe = popen(line, "r");
    assert_non_null(pipe);
    size_t len = fread(out, 1, sizeof(out) - 1, pipe);
    assert_int_equal(pclose(pipe), 0);
    unlink(path);
    out[len] = '\0';
    assert_string_equal(out, event);
}

static void browsers_encodings_open_elsewhere(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(pl_gzip(pl_span_str(event), &f->packed), PL_OK);
    decoded_by("gzip -dc < %s", &f->packed);
    pl_buf_reset(&f->packed);
    assert_int_equal(pl_brotli(pl_span_str(event), &f->packed), PL_OK);
    if (system("command -v node > /dev/null") == 0)
        decoded_by("node -e \"process.stdout.write(require('zlib').brotliDecompressSync("
                   "require('fs').readFileSync(process.argv[1])))\" %s",
                   &f->packed);
    pl_buf_reset(&f->packed);
    assert_int_equal(pl_zstd_compress(f->z, NULL, pl_span_str(event), &f->packed), PL_OK);
    if (system("command -v zstd > /dev/null") == 0)
        decoded_by("zstd -dc < %s", &f->packed);
    pl_buf_reset(&f->packed);
    assert_int_equal(pl_gzip(pl_span(NULL, 0), &f->packed), PL_OK);
    assert_int_equal(pl_brotli(pl_span(NULL, 0), &f->packed), PL_OK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(all_sizes_come_back),   TEST(frames_carry_no_needless_byte),
        TEST(corrupt_input_is_told), TEST(a_bomb_is_stopped_at_the_limit),
        TEST(output_limits_hold),    TEST(browsers_encodings_open_elsewhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
