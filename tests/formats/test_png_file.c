/*
 * test_png_file.c - pictures written as PNG, read back by libpng.
 */
#include "../support/temp_files.h"

#include "detent/detent.h"

#include <criterion/criterion.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The bytes in memory are those of the file. */
static void check_encoded(const uint8_t *pixels, int height, int width, int channels)
{
    uint8_t *png, *file;
    size_t bytes;

    cr_assert(dt_png_encode(pixels, height, width, channels, &png, &bytes) == DT_OK, "%s", dt_last_error());
    FILE *f = fopen(temp_path("a.png"), "rb");
    file = malloc(bytes + 1);
    cr_assert(f && fread(file, 1, bytes + 1, f) == bytes, "the file has not %zu bytes", bytes);
    cr_assert(memcmp(png, file, bytes) == 0, "the PNG of %dx%dx%d differs from the file's", height, width, channels);
    fclose(f);
    free(file);
    free(png);
}

static void check_picture(int height, int width, int channels)
{
    const size_t bytes = (size_t)height * (size_t)width * (size_t)channels;
    uint8_t *pixels = malloc(bytes), *back = malloc(bytes);
    png_image image = { .version = PNG_IMAGE_VERSION };

    for (size_t i = 0; i < bytes; i++) pixels[i] = (uint8_t)(i * 37 % 251);
    cr_assert(dt_png_save(temp_path("a.png"), pixels, height, width, channels) == DT_OK, "%s", dt_last_error());
    cr_assert(png_image_begin_read_from_file(&image, temp_path("a.png")), "%s", image.message);
    cr_assert(image.width == (unsigned)width && image.height == (unsigned)height, "%ux%u", image.width, image.height);
    cr_assert(image.format == (channels == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY), "format %u", image.format);
    cr_assert(png_image_finish_read(&image, NULL, back, 0, NULL), "%s", image.message);
    cr_assert(memcmp(pixels, back, bytes) == 0, "other pixels came back of %dx%dx%d", height, width, channels);
    check_encoded(pixels, height, width, channels);
    free(back);
    free(pixels);
}

Test(png_file, what_is_written_is_read)
{
    check_picture(1, 1, 1);
    check_picture(7, 33, 1);
    check_picture(28, 5, 3);
}

Test(png_file, misuse_is_refused)
{
    const uint8_t pixel[2] = { 0 };
    cr_assert(dt_png_save(temp_path("b.png"), pixel, 1, 1, 2) == DT_ERR_ARGUMENT);
    cr_assert(strstr(dt_last_error(), "2 channels") != NULL, "%s", dt_last_error());
    cr_assert(dt_png_encode(pixel, 0, 1, 1, &(uint8_t *){ NULL }, &(size_t){ 0 }) == DT_ERR_ARGUMENT);
    cr_assert(dt_png_save("/nowhere/at/all.png", pixel, 1, 1, 1) == DT_ERR_IO);
}
