/*
 * png_file.c - an 8-bit picture as a PNG, by libpng.
 *
 * Tests: tests/formats/test_png_file.c.
 */
#include "whole_file.h"

#include <errno.h>
#include <png.h>
#include <stdlib.h>

#include "detent/detent.h"

typedef struct {
    png_image image;
    const uint8_t *pixels;
} picture;

static int write_picture(const void *user, FILE *file)
{
    picture p = *(const picture *)user; /* libpng writes its messages into image */

    if (png_image_write_to_stdio(&p.image, file, 0, p.pixels, 0, NULL)) return 1;
    if (errno == 0) errno = EIO;
    return 0;
}

static dt_status describe(const char *what, int height, int width, int channels, png_image *out)
{
    DT_CHECK(channels == 1 || channels == 3, DT_ERR_ARGUMENT, "%s: %d channels; a PNG has 1 or 3", what, channels);
    DT_CHECK(height >= 1 && width >= 1, DT_ERR_ARGUMENT, "%s: a picture of %dx%d", what, height, width);
    *out = (png_image){ .version = PNG_IMAGE_VERSION,
                        .width = (png_uint_32)width,
                        .height = (png_uint_32)height,
                        .format = channels == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY };
    return DT_OK;
}

dt_status dt_png_save(const char *path, const uint8_t *pixels, int height, int width, int channels)
{
    picture p = { .pixels = pixels };

    DT_TRY(describe(path, height, width, channels, &p.image));
    DT_TRY(dt_whole_file_write(path, write_picture, &p));
    return DT_OK;
}

dt_status dt_png_encode(const uint8_t *pixels, int height, int width, int channels, uint8_t **out, size_t *bytes)
{
    png_image image;

    DT_TRY(describe("a PNG in memory", height, width, channels, &image));
    png_alloc_size_t room = PNG_IMAGE_PNG_SIZE_MAX(image);
    uint8_t *data = malloc(room);
    DT_CHECK(data, DT_ERR_MEMORY, "no memory for a picture of %dx%d", height, width);
    const int written = png_image_write_to_memory(&image, data, &room, 0, pixels, 0, NULL);
    if (!written) free(data);
    DT_CHECK(written, DT_ERR_IO, "a picture of %dx%d: %s", height, width, image.message);
    *out = data;
    *bytes = room;
    return DT_OK;
}
