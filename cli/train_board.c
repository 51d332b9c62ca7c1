/*
 * train_board.c - what `detent train --tensorboard` writes into the run directory, for TensorBoard:
 *
 *   train/.., test/.. or val/..       numbers of metrics.jsonl, at each epoch's end
 *   step/..                           those of --log-every, of training
 *   clip/PARAMETER                    clips that are trained; of a range low and high
 *   weights/LAYER, activations/LAYER  how often each code occurs, on the grid of the codes
 *   wrong/N, reconstructions          images of which the network is most sure, and wrong; what a decoder makes of some
 *
 * Codes and images are of the first images of the set that decides. A run has the same bits with and without these
 * files, because whatever is looked at is looked at as an evaluation looks. A run that goes on writes another file.
 */
#include "layer_codes.h"
#include "train.h"
#include "wrong_images.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CODE_IMAGES = 32, JUDGED_IMAGES = 512, WRONG_IMAGES = 8, DRAWN_IMAGES = 8, TAG_BYTES = DT_NAME_MAX + 64 };

/* The first step that this process writes of: an epoch whose end was not saved is evaluated again. */
dt_status board_open(run *r)
{
    const int64_t done = dt_trainer_steps_done(r->o.trainer);
    const int owes_end = dt_trainer_epoch(r->o.trainer) > r->state.epochs_ended;

    if (!r->s->tensorboard || r->rank > 0) return DT_OK;
    return event_file_open(r->s->out, done > 0 && !owes_end ? done + 1 : done, &r->board);
}

static dt_status add_scalar(const run *r, int64_t step, const char *group, const char *name, double value)
{
    char tag[2 * TAG_BYTES];

    snprintf(tag, sizeof tag, "%s/%s", group, name);
    return event_file_scalar(r->board, step, tag, value);
}

static dt_status add_numbers(const run *r, const epoch_line *l)
{
    const struct {
        const char *group, *name;
        double value;
    } all[] = { { "train", "loss", l->train_loss },
                { "train", "accuracy", l->train_accuracy },
                { "train", "reconstruction", l->train_reconstruction },
                { "train", "lr", l->lr },
                { "train", "images_per_s", l->images_per_s },
                { l->split, "loss", l->eval_loss },
                { l->split, "accuracy", l->eval_accuracy } };

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        DT_TRY(add_scalar(r, l->step, all[i].group, all[i].name, all[i].value));
    return DT_OK;
}

static dt_status add_clips(const run *r, const epoch_line *l)
{
    static const char *const ends[] = { "low", "high" };
    char group[TAG_BYTES];
    const cJSON *clip, *end;

    cJSON_ArrayForEach(clip, l->clips)
    {
        int i = 0;
        if (cJSON_IsArray(clip)) {
            snprintf(group, sizeof group, "clip/%s", clip->string);
            cJSON_ArrayForEach(end, clip) DT_TRY(add_scalar(r, l->step, group, ends[i++], atof(end->valuestring)));
        } else {
            DT_TRY(add_scalar(r, l->step, "clip", clip->string, atof(clip->valuestring)));
        }
    }
    return DT_OK;
}

static const dt_dataset *set_that_decides(const run *r)
{
    return r->o.val_set ? r->o.val_set : r->o.test_set;
}

static dt_status add_histogram(const run *r, int64_t step, const char *group, const char *layer, const histogram *h)
{
    char tag[TAG_BYTES];

    snprintf(tag, sizeof tag, "%s/%s", group, layer);
    return event_file_histogram(r->board, step, tag, h);
}

static dt_status add_codes(const run *r, int64_t step)
{
    network_codes codes;

    dt_status status = network_codes_look(r->o.model, set_that_decides(r), CODE_IMAGES, NULL, &codes);
    for (int i = 0; status == DT_OK && i < codes.n; i++) {
        const layer_codes *l = &codes.layer[i];
        status = add_histogram(r, step, "weights", l->name, &l->weights);
        if (status == DT_OK) status = add_histogram(r, step, "activations", l->name, &l->inputs);
    }
    network_codes_free(&codes);
    return status;
}

static dt_status add_picture(const run *r, int64_t step, const char *tag, const char *about, const picture *p)
{
    uint8_t *png;
    size_t bytes;

    DT_TRY(dt_png_encode(p->pixels, p->height, p->width, p->channels, &png, &bytes));
    const event_picture e = { about, png, bytes, p->height, p->width, p->channels };
    const dt_status status = event_file_picture(r->board, step, tag, &e);
    free(png);
    return status;
}

static dt_status add_wrong_image(const run *r, int64_t step, const dt_dataset_view *v, const wrong_image *w, int at)
{
    const int64_t size = (int64_t)v->height * v->width * v->channels;
    const picture p = { (uint8_t *)v->images + w->image * size, v->height, v->width, v->channels };
    char tag[VALUE_BYTES], about[2 * DT_NAME_MAX + 128];

    snprintf(tag, sizeof tag, "wrong/%d", at);
    if (v->class_names)
        snprintf(about, sizeof about, "image %lld: %s, taken for %s, %.1f %%", (long long)w->image,
                 v->class_names[w->label], v->class_names[w->taken], 100.0 * w->confidence);
    else
        snprintf(about, sizeof about, "image %lld: class %d, taken for %d, %.1f %%", (long long)w->image, w->label,
                 w->taken, 100.0 * w->confidence);
    return add_picture(r, step, tag, about, &p);
}

static dt_status add_wrong_images(const run *r, int64_t step, const dt_dataset_view *v)
{
    const int64_t n = v->n < JUDGED_IMAGES ? v->n : JUDGED_IMAGES;
    const dt_prediction what = { .dataset = set_that_decides(r), .n = n };
    float *scores = malloc((size_t)n * (size_t)r->is.n_classes * sizeof *scores);
    wrong_image wrong[WRONG_IMAGES];

    DT_CHECK(scores, DT_ERR_MEMORY, "no memory for the scores of %lld images", (long long)n);
    dt_status status = dt_predict(r->o.model, &what, scores);
    const judged_images judged = { scores, v->labels, n, r->is.n_classes, r->is.caps_dim > 0 };
    const int n_wrong = status == DT_OK ? wrong_images_find(&judged, WRONG_IMAGES, wrong) : 0;
    for (int i = 0; status == DT_OK && i < n_wrong; i++) status = add_wrong_image(r, step, v, &wrong[i], i);
    free(scores);
    return status;
}

static dt_status add_reconstructions(const run *r, int64_t step, const dt_dataset_view *v)
{
    const image_range range = { 0, v->n < DRAWN_IMAGES ? v->n : DRAWN_IMAGES };
    picture p = { 0 };

    DT_TRY(reconstruction_draw(r->o.model, set_that_decides(r), &range, &p));
    const dt_status status = add_picture(r, step, "reconstructions",
                                         "images, what the decoder makes of them, and of the "
                                         "first with each of its capsule's values moved",
                                         &p);
    free(p.pixels);
    return status;
}

static dt_status add_images(const run *r, int64_t step)
{
    dt_dataset_view v;

    dt_dataset_look(set_that_decides(r), &v);
    if (!v.images || (v.channels != 1 && v.channels != 3)) return DT_OK;
    if (!r->is.is_binary) DT_TRY(add_wrong_images(r, step, &v));
    return r->is.has_decoder ? add_reconstructions(r, step, &v) : DT_OK;
}

dt_status board_epoch(run *r, const epoch_line *line)
{
    if (!r->board) return DT_OK;
    DT_TRY(add_numbers(r, line));
    DT_TRY(add_clips(r, line));
    DT_TRY(add_codes(r, line->step));
    DT_TRY(add_images(r, line->step));
    return event_file_sync(r->board);
}

dt_status board_batch(const run *r, const batch_line *line)
{
    if (!r->board || strcmp(line->event, "step") != 0) return DT_OK;
    DT_TRY(add_scalar(r, line->step, "step", "loss", line->recent.loss));
    DT_TRY(add_scalar(r, line->step, "step", "accuracy", line->recent.accuracy));
    return add_scalar(r, line->step, "step", "batch_s", line->recent.batch_s);
}

dt_status board_end(const run *r, const end_line *line)
{
    const int64_t step = dt_trainer_steps_done(r->o.trainer);

    if (!r->board) return DT_OK;
    DT_TRY(add_scalar(r, step, "best", "test_loss", line->test_loss));
    DT_TRY(add_scalar(r, step, "best", "test_accuracy", line->test_accuracy));
    return event_file_sync(r->board);
}
