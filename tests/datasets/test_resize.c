/*
 * test_resize.c - scaled images against Pillow's, byte for byte: golden/resize.txt.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../datasets/resize.h"

enum { MAX_BYTES = 4096 }; /* of a golden image */

/* As golden/make_resize_golden.py computes it. */
static uint8_t pixel(int64_t k)
{
    uint32_t h = (uint32_t)k * 0x9E3779B1u;
    h ^= h >> 15;
    return (uint8_t)(h * 0x85EBCA77u >> 24);
}

static int64_t in_bytes(const dt_resize *r)
{
    return (int64_t)r->height * r->width * r->channels;
}

static int64_t out_bytes(const dt_resize *r)
{
    return (int64_t)r->new_height * r->new_width * r->channels;
}

/* r->n images of pixel(first), pixel(first + 1), ... resized; the caller frees them. */
static uint8_t *resized(const dt_resize *r, int64_t first)
{
    uint8_t *in = malloc((size_t)(r->n * in_bytes(r))), *out = malloc((size_t)(r->n * out_bytes(r)));

    for (int64_t k = 0; k < r->n * in_bytes(r); k++) in[k] = pixel(first + k);
    cr_assert(dt_resize_images(r, in, out) == DT_OK, "%s", dt_last_error());
    free(in);
    return out;
}

static void check_case(FILE *file)
{
    dt_resize r = { .n = 1 };
    int64_t n_wrong = 0;

    cr_assert(fscanf(file, "%d %d %d %d %d", &r.height, &r.width, &r.channels, &r.new_height, &r.new_width) == 5);
    cr_assert(in_bytes(&r) <= MAX_BYTES && out_bytes(&r) <= MAX_BYTES);
    uint8_t *out = resized(&r, 0);
    for (int64_t k = 0; k < out_bytes(&r); k++) {
        int golden;
        cr_assert(fscanf(file, "%d", &golden) == 1, "a byte is missing at %ld", ftell(file));
        if (out[k] != golden && n_wrong++ == 0) {
            cr_log_error("%dx%dx%d to %dx%d: byte %lld is %d, golden %d", r.height, r.width, r.channels, r.new_height,
                         r.new_width, (long long)k, out[k], golden);
        }
    }
    free(out);
    cr_assert(n_wrong == 0, "%lld bytes of %lld differ", (long long)n_wrong, (long long)out_bytes(&r));
}

Test(resize, gives_the_bytes_of_pillow)
{
    FILE *file = fopen(DETENT_TEST_GOLDEN "/resize.txt", "r");
    char word[32] = "";
    int n_cases = 0;

    cr_assert(file != NULL, "golden/resize.txt cannot be opened");
    cr_assert(fscanf(file, "#%*[^\n]") == 0); /* the comment */
    for (;;) {
        cr_assert(fscanf(file, "%31s", word) == 1, "the file ends without 'end'");
        if (strcmp(word, "end") == 0) break;
        cr_assert(strcmp(word, "case") == 0, "'%s' where a case belongs", word);
        check_case(file);
        n_cases++;
    }
    fclose(file);
    cr_assert(n_cases == 9, "%d cases", n_cases);
}

Test(resize, images_do_not_mix)
{
    const dt_resize three = { .n = 3, .height = 7, .width = 5, .channels = 3, .new_height = 11, .new_width = 4 };
    dt_resize one = three;
    uint8_t *all = resized(&three, 0);

    one.n = 1;
    for (int64_t n = 0; n < 3; n++) {
        uint8_t *alone = resized(&one, n * in_bytes(&one));
        cr_assert(memcmp(alone, all + n * out_bytes(&one), (size_t)out_bytes(&one)) == 0, "image %lld", (long long)n);
        free(alone);
    }
    free(all);
}

/* White stays white where the window is longest, and where its weights are rounded most. */
Test(resize, white_stays_white)
{
    static const int sides[][2] = { { 4096, 1 }, { 4096, 3 }, { 4095, 7 }, { 33, 4096 }, { 1, 1 }, { 7, 33 } };

    for (size_t k = 0; k < sizeof sides / sizeof sides[0]; k++) {
        const dt_resize r = {
            .n = 1, .height = 1, .width = sides[k][0], .channels = 1, .new_height = 2, .new_width = sides[k][1]
        };
        uint8_t *in = malloc((size_t)in_bytes(&r)), *out = malloc((size_t)out_bytes(&r));

        memset(in, 255, (size_t)in_bytes(&r));
        cr_assert(dt_resize_images(&r, in, out) == DT_OK);
        for (int64_t i = 0; i < out_bytes(&r); i++) {
            cr_assert(out[i] == 255, "%d to %d: pixel %lld is %d", r.width, r.new_width, (long long)i, out[i]);
        }
        free(in);
        free(out);
    }
}
