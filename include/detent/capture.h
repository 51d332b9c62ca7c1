/*
 * capture.h - the integers of one convolution or linear layer, class capsules, and what a decoder makes of them.
 */
#ifndef DT_PUBLIC_CAPTURE_H
#define DT_PUBLIC_CAPTURE_H

#include "dataset.h"
#include "model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The form of a convolution. */
typedef struct {
    int stride[2];   /* of rows, of columns; >= 1 */
    int pad[4];      /* zeros at top, left, bottom, right; those of a grid tensor are code 0, which is real 0 */
    int dilation[2]; /* from a tap to the next, of rows, of columns; >= 1 */
    int groups;      /* C and K are cut in so many; a group's filters read that group's channels */
} dt_conv_params;

/* What one convolution saw and gave, or one linear layer, which is one of a map of 1x1. Codes are integers held in f32;
 * the real value is scale * code. */
typedef struct {
    int64_t n;                   /* images */
    int maps;                    /* of an image, as dt_layer_info's; those of an image follow each other */
    int height, width, channels; /* of the input */
    int out_height, out_width, filters;
    int kernel_height, kernel_width;
    dt_conv_params conv;
    int x_low, x_high, w_low, w_high; /* what the bits of the codes allow */
    float *qx;                        /* [n][maps][height][width][channels] codes */
    float *qw;                        /* [filters][kernel_height][kernel_width][channels / conv.groups] codes */
    float *psum;                      /* [n][maps][out_height][out_width][filters] */
    float sx;                         /* scale of qx */
    float *sw;                        /* [n_sw] scale of qw: one, or one a filter */
    int n_sw;
    dt_data_origin origin; /* of the model */
    char layer[DT_NAME_MAX + 1];
    float *input_float; /* as qx: what the layer's quantizer read; NULL where no quantizer made the codes, as in a
                           program */
    /* The convolution or linear layer that reads what becomes of the output, and the floats that arrive there, before
     * it quantizes them: [n][next_maps][next_height][next_width][next_channels]; a flat tensor is 1x1. "" and NULL:
     * nobody does, several do, or what arrives are codes. */
    char next_layer[DT_NAME_MAX + 1];
    int next_maps, next_height, next_width, next_channels;
    float *next_input;
} dt_capture;

DT_API DT_MUST_CHECK dt_status dt_capture_layer(dt_model *m, const dt_dataset *d, int64_t first, int64_t count,
                                                const char *layer, dt_capture **out);
DT_API void dt_capture_destroy(dt_capture *c);

/* Class capsules of images first .. first + count - 1: [count][n_classes][caps_dim]. */
DT_API DT_MUST_CHECK dt_status dt_capsules(dt_model *m, const dt_dataset *d, int64_t first, int64_t count,
                                           float *capsules);
/* What the decoder makes of n capsules [n][caps_dim]: [n][height][width][channels], of which 0..1 is black to white. */
DT_API DT_MUST_CHECK dt_status dt_decode(dt_model *m, const float *capsules, int64_t n, float *images);
DT_API DT_MUST_CHECK dt_status dt_capture_save(const dt_capture *c, const char *layer, const char *path);
/* DT_ERR_FORMAT names the file, and what it has and what it must have. */
DT_API DT_MUST_CHECK dt_status dt_capture_load(const char *path, dt_capture **out);
/* [height][width][channels] with 1 or 3 channels, as a PNG. */
DT_API DT_MUST_CHECK dt_status dt_png_save(const char *path, const uint8_t *pixels, int height, int width,
                                           int channels);

#ifdef __cplusplus
}
#endif
#endif /* DT_PUBLIC_CAPTURE_H */
