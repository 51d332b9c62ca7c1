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
    uint8_t *images; /* this and the next members as in dt_dataset_view; owned */
    float *reals;    /* owned */
    int32_t *labels; /* owned */
    int multi_label;
    int64_t n;
    int height, width, channels, n_classes;
    float mean[DT_MOST_CHANNELS], std[DT_MOST_CHANNELS];
    char **class_names; /* [n_classes]; owned, with the names */
};

/* Returns the numbers of an image. */
static inline int64_t dt_view_image_count(const dt_dataset_view *v)
{
    return (int64_t)v->height * v->width * v->channels;
}

/* Returns the numbers in v->labels of an image. */
static inline int64_t dt_view_label_count(const dt_dataset_view *v)
{
    return v->multi_label ? v->n_classes : 1;
}

/* Leaves the first images out, 0 <= first <= v->n. */
static inline void dt_view_skip(dt_dataset_view *v, int64_t first)
{
    if (v->images) v->images += first * dt_view_image_count(v);
    if (v->reals) v->reals += first * dt_view_image_count(v);
    v->labels += first * dt_view_label_count(v);
    v->n -= first;
}

#endif /* DT_DATASET_VIEW_H */
