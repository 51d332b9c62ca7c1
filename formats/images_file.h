/*
 * images_file.h - images from a tensor of a safetensors file, for predictions and calibration.
 */
#ifndef DT_IMAGES_FILE_H
#define DT_IMAGES_FILE_H

#include "../core/train/model.h"

/* Images in host memory: pixels, or normalised reals; the other pointer is NULL. */
typedef struct {
    uint8_t *pixels;
    float *normalised;
    int64_t n;
} dt_image_set;

/* Reads the tensor `name` of a file, U8 [N][H][W][C] of pixels or F32 of normalised images, of the size that m takes. Of
 * a model that was trained on reals F32 is reals as its data set has them, and they are normalised here.
 * name may be NULL if the file has no other. DT_ERR_ARGUMENT, DT_ERR_FORMAT, DT_ERR_SHAPE name file and tensor. */
DT_MUST_CHECK dt_status dt_images_file_read(const dt_model *m, const char *path, const char *name, dt_image_set *out);
void dt_image_set_free(dt_image_set *images);

#endif /* DT_IMAGES_FILE_H */
