/*
 * png_file.c - an 8-bit picture as a PNG, by libpng.
 *
 * Tests: tests/formats/test_png_file.c.
 */
#include "whole_file.h"

#include <errno.h>
#include <png.h>

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

dt_status dt_png_save(const char *path, const uint8_t *pixels, int height, int width, int channels)
{
    picture p = { .pixels = pixels };

    DT_CHECK(channels == 1 || channels == 3, DT_ERR_ARGUMENT, "%s: %d channels; a PNG has 1 or 3", path, channels);
    DT_CHECK(height >= 1 && width >= 1, DT_ERR_ARGUMENT, "%s: a picture of %dx%d", path, height, width);
    p.image.version = PNG_IMAGE_VERSION;
    p.image.width = (png_uint_32)width;
    p.image.height = (png_uint_32)height;
    p.image.format = channels == 3 ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
    DT_TRY(dt_whole_file_write(path, write_picture, &p));
    return DT_OK;
}
