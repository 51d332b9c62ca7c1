/*
 * capture.h - the integers of one convolution or linear layer, class capsules, and the images that a decoder makes of
 *             them.
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
    int stride[2];   /* along rows, along columns; >= 1 */
    int pad[4];      /* zeros added at the top, left, bottom, right; on the grid they are code 0 */
    int dilation[2]; /* distance from a tap to the next, along rows, along columns; >= 1 */
    int groups;      /* channels and filters are cut into so many groups; a group's filters read its channels alone */
} dt_conv_params;

/* What one convolution or linear layer read and made; a linear layer is a convolution of a map of 1x1. Codes and psums
 * are integers held in f32; the real value is scale * integer. */
typedef struct {
    int64_t n;                   /* images */
    int maps;                    /* maps of an image (dt_layer_info.maps), which follow each other */
    int height, width, channels; /* of the input */
    int out_height, out_width, filters;
    int kernel_height, kernel_width;
    dt_conv_params conv;
    int x_low, x_high, w_low, w_high; /* ranges of the codes that their bits allow */
    float *qx;                        /* [n][maps][height][width][channels] activation codes */
    float *qw;                        /* [filters][kernel_height][kernel_width][channels / conv.groups] weight codes */
    float *psum;                      /* [n][maps][out_height][out_width][filters] */
    float sx;                         /* scale of qx */
    float *sw;                        /* [n_sw] scale of qw: one, or one for each filter */
    int n_sw;
    dt_data_origin origin; /* the model's */
    char layer[DT_NAME_MAX + 1];
    float *input_float; /* shape of qx: the reals of which the layer's quantizer made qx; NULL where no quantizer did,
                           as in a program */
    /* The next convolution or linear layer, and the reals that arrive there before they are quantized:
     * [n][next_maps][next_height][next_width][next_channels]; height and width of a flat tensor are 1. next_layer is ""
     * and next_input NULL where there is no such layer, where there are several, or where codes arrive there. */
    char next_layer[DT_NAME_MAX + 1];
    int next_maps, next_height, next_width, next_channels;
    float *next_input;
} dt_capture;

/* Runs images first .. first + count - 1 of d through m, and keeps what the convolution `layer` reads and makes. The
 * layer must be on the grid. */
DT_API DT_MUST_CHECK dt_status dt_capture_layer(dt_model *m, const dt_dataset *d, int64_t first, int64_t count,
                                                const char *layer, dt_capture **out);
DT_API void dt_capture_destroy(dt_capture *c);

/* Writes the class capsules of images first .. first + count - 1 to capsules, [count][n_classes][caps_dim].
 * DT_ERR_UNSUPPORTED: the network has no capsules. */
DT_API DT_MUST_CHECK dt_status dt_capsules(dt_model *m, const dt_dataset *d, int64_t first, int64_t count,
                                           float *capsules);
/* Writes the images that the decoder makes of capsules, [n][caps_dim], to images, [n][height][width][channels], where 0
 * is black and 1 is white. DT_ERR_UNSUPPORTED: the network has no decoder. */
DT_API DT_MUST_CHECK dt_status dt_decode(dt_model *m, const float *capsules, int64_t n, float *images);
/* Writes a capture to a safetensors file. layer is the name that the file gives. */
DT_API DT_MUST_CHECK dt_status dt_capture_save(const dt_capture *c, const char *layer, const char *path);
/* Reads such a file. DT_ERR_FORMAT names the file, what it has and what it must have. */
DT_API DT_MUST_CHECK dt_status dt_capture_load(const char *path, dt_capture **out);
/* Writes pixels, [height][width][channels] with 1 or 3 channels, as a PNG. */
DT_API DT_MUST_CHECK dt_status dt_png_save(const char *path, const uint8_t *pixels, int height, int width,
                                           int channels);
/* Makes such a PNG in memory. The caller frees *out, [*bytes], by free. */
DT_API DT_MUST_CHECK dt_status dt_png_encode(const uint8_t *pixels, int height, int width, int channels, uint8_t **out,
                                             size_t *bytes);

#ifdef __cplusplus
}
#endif
#endif /* DT_PUBLIC_CAPTURE_H */
