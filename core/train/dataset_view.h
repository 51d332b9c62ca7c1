/*
 * dataset_view.h - inside dt_dataset: images and labels in host memory. datasets/ fills them, training and evaluation
 *                  read them.
 */
#ifndef DT_DATASET_VIEW_H
#define DT_DATASET_VIEW_H

#include "detent/detent.h"

struct dt_dataset {
    const char *name; /* a string constant, or own_name */
    char own_name[DT_DATASET_NAME_BYTES];
    char fingerprint[DT_FINGERPRINT_BYTES];
    uint8_t *images; /* [n][height][width][channels]; owned */
    int32_t *labels; /* [n], 0..n_classes-1; owned */
    int64_t n;
    int height, width, channels, n_classes;
    float mean[4], std[4]; /* as in dt_dataset_view */
};

#endif /* DT_DATASET_VIEW_H */
