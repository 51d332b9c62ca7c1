/*
 * layer_codes.h - the integers of each layer of a network: how often each weight code and each activation code occurs,
 *                 and the range of the psums.
 */
#ifndef DT_CLI_LAYER_CODES_H
#define DT_CLI_LAYER_CODES_H

#include "cli.h"
#include "histogram.h"

typedef struct {
    char name[DT_NAME_MAX + 1];
    int wbits, abits;
    int64_t psum_bound; /* the largest |psum| that the codes allow, and its bits in two's complement */
    int psum_bits;
    histogram weights; /* over the range that the bits allow */
    histogram inputs;  /* likewise; of no code where there are no images */
    int64_t images;    /* of which the codes are */
    int64_t psum_min, psum_max;
} layer_codes;

/* The codes of all layers on the grid. */
typedef struct {
    layer_codes *layer; /* [n], owned */
    int n;
} network_codes;

/* Looks at the first `images` images of d. d may be NULL: then there are no activation codes and no psums. The caller
 * calls network_codes_free, also where this fails. */
DT_MUST_CHECK dt_status network_codes_look(dt_model *m, const dt_dataset *d, int64_t images, const dt_progress *watched,
                                           network_codes *out);
void network_codes_free(network_codes *c);

/* Opens a data set of one image, all 0, of the network's size: for what does not depend on images. */
DT_MUST_CHECK dt_status blank_image_open(const dt_model *m, dt_dataset **out);

#endif /* DT_CLI_LAYER_CODES_H */
