/*
 * reconstruct.c - `detent capture --reconstruct`: what the decoder makes of class capsules, as a picture.
 *
 * Above, a row of test images and under each its reconstruction from the capsule of its label. Below, a row for each of
 * the first image's capsule dimensions, in which that value is moved by -0.25 to 0.25 in steps of 0.05: figure 4 of
 * Sabour, Frosst, Hinton, "Dynamic Routing Between Capsules", 2017.
 */
#include "cli.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GAP = 2, MOVES = 11, BACKGROUND = 96, MAX_IMAGES = 100 };

static const float move_step = 0.05f;

typedef struct {
    int height, width, channels; /* of a tile */
    int rows, columns;           /* tiles */
    uint8_t *pixels;
} sheet;

static int sheet_side(int tiles, int size)
{
    return tiles * size + (tiles + 1) * GAP;
}

static dt_status sheet_open(sheet *s)
{
    const size_t bytes =
        (size_t)sheet_side(s->rows, s->height) * (size_t)sheet_side(s->columns, s->width) * (size_t)s->channels;
    s->pixels = malloc(bytes);
    DT_CHECK(s->pixels, DT_ERR_MEMORY, "no memory for a picture of %d by %d tiles", s->rows, s->columns);
    memset(s->pixels, BACKGROUND, bytes);
    return DT_OK;
}

static uint8_t *tile_row(const sheet *s, int row, int column, int h)
{
    const size_t line = (size_t)sheet_side(s->columns, s->width) * (size_t)s->channels;
    const size_t top = (size_t)(GAP + row * (s->height + GAP) + h), left = (size_t)(GAP + column * (s->width + GAP));
    return s->pixels + top * line + left * (size_t)s->channels;
}

static void put_pixels(const sheet *s, int row, int column, const uint8_t *image)
{
    const size_t line = (size_t)s->width * (size_t)s->channels;
    for (int h = 0; h < s->height; h++) memcpy(tile_row(s, row, column, h), image + (size_t)h * line, line);
}

static void put_values(const sheet *s, int row, int column, const float *image)
{
    const int line = s->width * s->channels;
    for (int h = 0; h < s->height; h++) {
        uint8_t *to = tile_row(s, row, column, h);
        for (int i = 0; i < line; i++) to[i] = (uint8_t)lrintf(255.0f * fminf(fmaxf(image[h * line + i], 0.0f), 1.0f));
    }
}

/* capsules: first those of the images' labels, then the first of them with each dimension moved. */
static void choose_capsules(const dt_model_info *c, const dt_dataset_view *v, const image_range *range,
                            const float *all, float *chosen)
{
    const int dim = c->caps_dim;

    for (int64_t n = 0; n < range->count; n++) {
        const int64_t label = v->labels[range->first + n];
        memcpy(chosen + n * dim, all + (n * c->n_classes + label) * dim, (size_t)dim * sizeof *chosen);
    }
    float *moved = chosen + range->count * dim;
    for (int i = 0; i < dim * MOVES; i++, moved += dim) {
        memcpy(moved, chosen, (size_t)dim * sizeof *moved);
        moved[i / MOVES] += move_step * (float)(i % MOVES - MOVES / 2);
    }
}

static void draw(const dt_model_info *c, const dt_dataset_view *v, const image_range *range, const float *images,
                 const sheet *s)
{
    const int64_t size = (int64_t)c->height * c->width * c->channels;

    for (int n = 0; n < range->count; n++) {
        put_pixels(s, 0, n, v->images + (range->first + n) * size);
        put_values(s, 1, n, images + n * size);
    }
    for (int i = 0; i < c->caps_dim * MOVES; i++) {
        put_values(s, 2 + i / MOVES, i % MOVES, images + (range->count + i) * size);
    }
}

typedef struct {
    float *all, *chosen, *images;
    sheet sheet;
} work;

static dt_status work_open(work *w, const dt_model_info *c, const image_range *range)
{
    const size_t dim = (size_t)c->caps_dim, count = (size_t)range->count, n = count + dim * MOVES;
    const size_t size = (size_t)c->height * (size_t)c->width * (size_t)c->channels;

    w->all = malloc(count * (size_t)c->n_classes * dim * sizeof(float));
    w->chosen = malloc(n * dim * sizeof(float));
    w->images = malloc(n * size * sizeof(float));
    DT_CHECK(w->all && w->chosen && w->images, DT_ERR_MEMORY, "no memory for %zu reconstructions", n);
    w->sheet = (sheet){ .height = c->height,
                        .width = c->width,
                        .channels = c->channels,
                        .rows = 2 + c->caps_dim,
                        .columns = range->count > MOVES ? (int)range->count : MOVES };
    return sheet_open(&w->sheet);
}

static void work_close(work *w)
{
    free(w->sheet.pixels);
    free(w->images);
    free(w->chosen);
    free(w->all);
}

static dt_status fill_sheet(dt_model *m, const dt_dataset *d, const image_range *range, work *w)
{
    dt_dataset_view v;
    dt_model_info is;

    dt_dataset_look(d, &v);
    dt_model_look(m, &is);
    DT_TRY(work_open(w, &is, range));
    DT_TRY(dt_capsules(m, d, range->first, range->count, w->all));
    choose_capsules(&is, &v, range, w->all, w->chosen);
    DT_TRY(dt_decode(m, w->chosen, range->count + is.caps_dim * MOVES, w->images));
    draw(&is, &v, range, w->images, &w->sheet);
    return DT_OK;
}

dt_status reconstruction_draw(dt_model *m, const dt_dataset *d, const image_range *range, picture *out)
{
    work w = { 0 };

    const dt_status status = fill_sheet(m, d, range, &w);
    if (status == DT_OK) {
        *out = (picture){ w.sheet.pixels, sheet_side(w.sheet.rows, w.sheet.height),
                          sheet_side(w.sheet.columns, w.sheet.width), w.sheet.channels };
        w.sheet.pixels = NULL;
    }
    work_close(&w);
    return status;
}

static dt_status make_picture(const settings *s, session *o, const image_range *range, picture *p)
{
    dt_model_info is;

    dt_model_look(o->model, &is);
    DT_TRY(reconstruction_draw(o->model, o->test_set, range, p));
    FILE *const to = report_stream(s->out);
    DT_TRY(dt_png_save(s->out, p->pixels, p->height, p->width, p->channels));
    fprintf(to,
            "%s: %s test images above, their reconstructions below; then the %d dimensions of the first capsule, each "
            "moved by -0.25 to 0.25\n",
            s->out, text_count(range->count).s, is.caps_dim);
    return DT_OK;
}

dt_status reconstruct(const settings *s, session *o)
{
    dt_dataset_view view;
    dt_model_info is;
    image_range range;
    picture p = { 0 };

    DT_TRY(session_open_checkpoint(s, o));
    dt_model_look(o->model, &is);
    DT_CHECK(is.caps_dim > 0, DT_ERR_ARGUMENT, "--reconstruct needs a capsule network; %s is none", is.name);
    DT_TRY(session_open_images(s, o->model, DT_SPLIT_TEST, &o->test_set));
    dt_dataset_look(o->test_set, &view);
    DT_CHECK(view.images, DT_ERR_UNSUPPORTED, "--reconstruct draws pictures, and the samples of %s are reals",
             view.name);
    DT_TRY(session_range(s, view.n, &range));
    DT_CHECK(range.count <= MAX_IMAGES, DT_ERR_ARGUMENT, "--index %s: a picture has up to %d images", s->index,
             MAX_IMAGES);
    const dt_status status = make_picture(s, o, &range, &p);
    free(p.pixels);
    return status;
}
