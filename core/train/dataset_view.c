/*
 * dataset_view.c - see dataset_view.h.  Interface: include/detent/dataset.h.  Tests: tests/datasets/test_dataset.c.
 */
#include "dataset_view.h"

#include <string.h>

void dt_dataset_look(const dt_dataset *d, dt_dataset_view *out)
{
    *out = (dt_dataset_view){
        .name = d->name ? d->name : "",
        .images = d->images,
        .reals = d->reals,
        .labels = d->labels,
        .multi_label = d->multi_label,
        .n = d->n,
        .height = d->height,
        .width = d->width,
        .channels = d->channels,
        .n_classes = d->n_classes,
        .class_names = (const char *const *)d->class_names,
    };
    memcpy(out->fingerprint, d->fingerprint, sizeof out->fingerprint);
    memcpy(out->mean, d->mean, sizeof out->mean);
    memcpy(out->std, d->std, sizeof out->std);
}
