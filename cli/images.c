/*
 * images.c - the images on which subcommands run networks: those of a file, or test images of a data set.
 */
#include "cli.h"

#include <stdlib.h>

enum { MOST_LABELS = 30 }; /* bits of a class */

static dt_status choose_range(const settings *s, int64_t n_there, int64_t n_otherwise, chosen_images *out)
{
    image_range range = { 0, n_there < n_otherwise ? n_there : n_otherwise };

    if (s->index) DT_TRY(session_range(s, n_there, &range));
    out->first = range.first;
    out->n = range.count;
    return DT_OK;
}

/* The labels of each image as the bits of its class. */
static dt_status gather_labels(const dt_dataset_view *v, chosen_images *out)
{
    out->bits = malloc((size_t)out->n * sizeof *out->bits);
    DT_CHECK(out->bits, DT_ERR_MEMORY, "no memory for the labels of %lld images", (long long)out->n);
    for (int64_t i = 0; i < out->n; i++) {
        const int32_t *label = v->labels + (out->first + i) * v->n_classes;
        out->bits[i] = 0;
        for (int l = 0; l < v->n_classes; l++) out->bits[i] |= label[l] << l;
    }
    out->labels = out->bits;
    return DT_OK;
}

dt_status images_open(const settings *s, const dt_model *m, int64_t most, chosen_images *out)
{
    char path[PATH_BYTES];
    const char *name;
    dt_dataset_view view;
    dt_model_info is;

    dt_model_look(m, &is);
    out->n_classes = is.n_classes;
    out->is_binary = is.is_binary;
    DT_CHECK(!is.is_binary || is.n_classes <= MOST_LABELS, DT_ERR_UNSUPPORTED,
             "%s has %d labels, and up to %d are compared", is.name, is.n_classes, MOST_LABELS);
    if (s->inputs) {
        session_split_inputs(s->inputs, path, &name);
        DT_TRY(dt_calibration_images_read(m, path, name, &out->file));
        return choose_range(s, out->file.n, out->file.n, out);
    }
    DT_TRY(session_open_images(s, m, DT_SPLIT_TEST, &out->dataset));
    dt_dataset_look(out->dataset, &view);
    DT_TRY(choose_range(s, view.n, most, out));
    out->labels = view.labels + out->first;
    if (view.multi_label) DT_TRY(gather_labels(&view, out));
    return DT_OK;
}

void images_close(chosen_images *images)
{
    dt_calibration_images_free(&images->file);
    free(images->bits);
    dt_dataset_close(images->dataset);
    *images = (chosen_images){ 0 };
}

void images_give(const chosen_images *images, const dt_model *m, int64_t first, int64_t n, dt_prediction *to)
{
    const int64_t at = images->first + first;
    dt_model_info is;

    dt_model_look(m, &is);
    const int64_t numbers = (int64_t)is.height * is.width * is.channels;
    to->dataset = images->dataset;
    to->first = images->dataset ? at : 0;
    to->pixels = images->file.pixels ? images->file.pixels + at * numbers : NULL;
    to->normalised = images->file.normalised ? images->file.normalised + at * numbers : NULL;
    to->n = n;
}
