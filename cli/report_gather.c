/*
 * report_gather.c - finds out what the page of `detent report` shows of a run. See report.h.
 *
 * Only a run that is none fails. What else cannot be had, for want of the data set, of a program or of a decoder, is
 * left out, and the reason is kept.
 * Tests: tests/cli/test_cli_report.sh.
 */
#include "report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { EVALUATION_BATCH = 128 };

/* What is open while a run is looked at. */
typedef struct {
    const settings *s; /* of the report */
    session o;
    dt_dataset *inside; /* images of which codes and psums are looked at; NULL: there is no data set */
    dt_dataset *blank;
    progress bar;
} look;

/* Keeps why a part is missing. Only an interruption and a lack of memory go on as failures. */
static dt_status excuse(dt_status status, char *why)
{
    if (status == DT_OK || status == DT_ERR_INTERRUPTED || status == DT_ERR_MEMORY) return status;
    snprintf(why, WHY_BYTES, "%s", dt_last_error());
    return DT_OK;
}

static void say(look *k, const shown_run *r, const char *what)
{
    progress_wipe(&k->bar);
    if (!k->s->quiet) fprintf(stderr, "%s: %s\n", r->dir, what);
}

/* ---- the run and its network ---- */

static dt_status find_checkpoint(shown_run *r)
{
    const char *name = run_dir_has(r->dir, "best.safetensors") ? "best.safetensors" : "last.safetensors";

    DT_CHECK(run_dir_has(r->dir, name), DT_ERR_ARGUMENT,
             "%s: has neither best.safetensors nor last.safetensors; let the run save a network first", r->dir);
    return run_dir_path(r->dir, name, r->file);
}

/* The run's options, but for what the report's say. */
static dt_status read_options(const settings *s, shown_run *r)
{
    DT_TRY(run_dir_read_config(r->dir, &r->config));
    const cJSON *options = cJSON_GetObjectItemCaseSensitive(r->config, "options");
    DT_CHECK(
        cJSON_IsObject(options), DT_ERR_ARGUMENT,
        "%s: is no run of 'detent train', which has a config.json with 'options'; of stages, seeds and sweeps name "
        "the runs inside",
        r->dir);
    DT_TRY(settings_default(&r->own));
    DT_TRY(settings_from_json(options, &r->own));
    if (s->dataset) r->own.dataset = s->dataset;
    if (s->data_dir) r->own.data_dir = s->data_dir;
    if (s->report_size >= 0) r->own.test_size = s->report_size;
    r->own.checkpoint = r->file;
    r->own.device = s->device;
    r->own.gpu = s->gpu;
    r->own.threads = s->threads;
    r->own.argv = s->argv;
    r->own.json = 1; /* what is opened says nothing */
    return DT_OK;
}

static dt_status open_network(look *k, shown_run *r)
{
    DT_TRY(session_open_checkpoint(&r->own, &k->o));
    dt_model_look(k->o.model, &r->is);
    r->network = text_network(k->o.model);
    r->n_parameters = dt_model_count(k->o.model);
    DT_TRY(metrics_clips(k->o.model, &r->clips));
    return network_cost_of(k->o.model, &r->cost);
}

static dt_status copy_class_names(const dt_dataset_view *v, shown_run *r)
{
    if (!v->class_names) return DT_OK;
    r->class_name = calloc((size_t)v->n_classes, sizeof *r->class_name);
    DT_CHECK(r->class_name, DT_ERR_MEMORY, "no memory for the names of %d classes", v->n_classes);
    r->n_classes = v->n_classes;
    for (int c = 0; c < v->n_classes; c++) {
        r->class_name[c] = strdup(v->class_names[c]);
        DT_CHECK(r->class_name[c], DT_ERR_MEMORY, "no memory for the name of a class");
    }
    return DT_OK;
}

static dt_status open_test_set(look *k, shown_run *r)
{
    settings few = r->own;
    dt_dataset_view v;

    DT_TRY(session_open_images(&r->own, k->o.model, DT_SPLIT_TEST, &k->o.test_set));
    dt_dataset_look(k->o.test_set, &v);
    snprintf(r->data_name, sizeof r->data_name, "%s", session_dataset(&r->own, k->o.model));
    DT_TRY(copy_class_names(&v, r));
    few.test_size = k->s->images < v.n ? k->s->images : r->own.test_size;
    return session_open_images(&few, k->o.model, DT_SPLIT_TEST, &k->inside);
}

static dt_status open_data(look *k, shown_run *r)
{
    const dt_status status = open_test_set(k, r);

    if (status == DT_OK) return DT_OK;
    dt_dataset_close(k->o.test_set);
    dt_dataset_close(k->inside);
    k->o.test_set = k->inside = NULL;
    DT_TRY(excuse(status, r->no_data));
    return blank_image_open(k->o.model, &k->blank);
}

/* ---- codes, and the array ---- */

static dt_status look_at_codes(look *k, shown_run *r)
{
    progress_task task = { .bar = &k->bar, .what = "codes of layers", .begin = clock_seconds() };
    const dt_progress tick = { .tick = progress_tick, .user = &task };

    say(k, r, "codes of each layer");
    DT_TRY(excuse(network_codes_look(k->o.model, k->inside, k->s->images, &tick, &r->codes), r->no_codes));
    if (r->codes.n == 0 && !r->no_codes[0])
        snprintf(r->no_codes, WHY_BYTES, "no layer of the network computes on an integer grid that all images share");
    return DT_OK;
}

/* Reports name layers of a model that goes. */
static dt_status keep_names(shown_run *r)
{
    for (int i = 0; i < r->n_on_array; i++) {
        char *copy = strdup(r->on_array[i].name);
        if (!copy) r->n_on_array = i; /* the names behind are not ours */
        DT_CHECK(copy, DT_ERR_MEMORY, "no memory for the name of a layer");
        r->on_array[i].name = copy;
    }
    return DT_OK;
}

static dt_status evaluate_on_array(look *k, shown_run *r, dt_model *m)
{
    progress_task task = { .bar = &k->bar, .what = "array", .begin = clock_seconds() };
    const dt_progress tick = { .tick = progress_tick, .user = &task };
    const int n = dt_model_n_layers(m);
    dt_metrics found;

    r->on_array = calloc((size_t)n + 1, sizeof *r->on_array);
    DT_CHECK(r->on_array, DT_ERR_MEMORY, "no memory for the reports of %d layers", n);
    DT_TRY(dt_array_evaluate(m, k->inside ? k->inside : k->blank, EVALUATION_BATCH, 0.0f, &tick, NULL, &found,
                             r->on_array));
    r->n_on_array = n;
    if (k->inside) r->array_images = found.images;
    return keep_names(r);
}

/* A network with affine quantizers has the arithmetic of its own evaluation, of which the codes are shown. */
static dt_status run_on_array(look *k, shown_run *r)
{
    dt_model *m;

    if (dt_quantized_count(k->o.model) > 0) r->own.profile = DT_PROFILE_EXACT;
    DT_TRY(session_need_program(&r->own, &k->o));
    DT_TRY(session_open_program(&r->own, &k->o));
    DT_TRY(dt_program_model(k->o.ctx, k->o.program, &k->s->array, &m));
    const dt_status status = evaluate_on_array(k, r, m);
    dt_model_destroy(m);
    return status;
}

static dt_status look_at_array(look *k, shown_run *r)
{
    say(k, r, "its program on the array");
    r->array = k->s->array;
    DT_TRY(excuse(run_on_array(k, r), r->no_array));
    if (r->no_array[0]) r->n_on_array = 0;
    return DT_OK;
}

/* ---- images ---- */

static dt_status copy_picture(const dt_dataset_view *v, int64_t image, picture *out)
{
    const size_t bytes = (size_t)v->height * (size_t)v->width * (size_t)v->channels;

    *out = (picture){ malloc(bytes), v->height, v->width, v->channels };
    DT_CHECK(out->pixels, DT_ERR_MEMORY, "no memory for a picture of %dx%d", v->height, v->width);
    memcpy(out->pixels, v->images + (size_t)image * bytes, bytes);
    return DT_OK;
}

static dt_status find_wrong(const dt_dataset_view *v, const float *scores, shown_run *r)
{
    const judged_images judged = { scores, v->labels, v->n, r->is.n_classes, r->is.caps_dim > 0 };

    if (!v->images || (v->channels != 1 && v->channels != 3)) {
        snprintf(r->no_wrong, WHY_BYTES, "the samples of %s are no pictures", r->data_name);
        return DT_OK;
    }
    r->n_wrong = wrong_images_find(&judged, WRONG_MOST, r->wrong);
    if (r->n_wrong == 0) snprintf(r->no_wrong, WHY_BYTES, "every test image is classified right");
    for (int i = 0; i < r->n_wrong; i++) DT_TRY(copy_picture(v, r->wrong[i].image, &r->wrong_picture[i]));
    return DT_OK;
}

static dt_status judge(look *k, const dt_dataset_view *v, float *scores, shown_run *r)
{
    progress_task task = { .bar = &k->bar, .what = "test images", .begin = clock_seconds() };
    const dt_progress tick = { .tick = progress_tick, .user = &task };
    const dt_outputs outputs = { .scores = scores };

    DT_TRY(dt_evaluate(k->o.model, k->o.test_set, EVALUATION_BATCH, 0.0f, &tick, &outputs, &r->found));
    if (r->is.is_binary) {
        snprintf(r->no_wrong, WHY_BYTES,
                 "the network tells labels, of which a sample may have several, and no classes");
        return dt_label_report_create(scores, v->labels, v->n, r->is.n_classes, nextafterf(0.0f, 1.0f), &r->labels);
    }
    DT_TRY(dt_class_report_create(scores, v->labels, v->n, r->is.n_classes, &r->classes));
    return find_wrong(v, scores, r);
}

static dt_status look_at_classes(look *k, shown_run *r)
{
    dt_dataset_view v;

    if (!k->o.test_set) return DT_OK;
    say(k, r, "test images");
    dt_dataset_look(k->o.test_set, &v);
    float *scores = malloc((size_t)v.n * (size_t)r->is.n_classes * sizeof *scores);
    DT_CHECK(scores, DT_ERR_MEMORY, "no memory for the scores of %lld images", (long long)v.n);
    const dt_status status = judge(k, &v, scores, r);
    free(scores);
    return excuse(status, r->no_classes);
}

static dt_status look_at_reconstructions(look *k, shown_run *r)
{
    dt_dataset_view v;

    if (!r->is.has_decoder)
        snprintf(r->no_reconstructions, WHY_BYTES, "the network has no decoder");
    else if (!k->o.test_set)
        snprintf(r->no_reconstructions, WHY_BYTES, "%s", r->no_data);
    if (r->no_reconstructions[0]) return DT_OK;
    dt_dataset_look(k->o.test_set, &v);
    if (!v.images) snprintf(r->no_reconstructions, WHY_BYTES, "the samples of %s are no pictures", r->data_name);
    if (!v.images) return DT_OK;
    const image_range range = { 0, v.n < REPORT_DRAWN ? v.n : REPORT_DRAWN };
    return excuse(reconstruction_draw(k->o.model, k->o.test_set, &range, &r->reconstructions), r->no_reconstructions);
}

/* ---- all of it ---- */

static dt_status look_at_run(look *k, shown_run *r)
{
    DT_TRY(open_network(k, r));
    DT_TRY(open_data(k, r));
    DT_TRY(look_at_codes(k, r));
    DT_TRY(look_at_classes(k, r));
    DT_TRY(look_at_reconstructions(k, r));
    DT_TRY(look_at_array(k, r)); /* last: it opens a program */
    return DT_OK;
}

dt_status shown_run_open(const settings *s, const char *dir, shown_run *out)
{
    look k = { .s = s };

    *out = (shown_run){ .dir = dir };
    DT_TRY(read_options(s, out));
    DT_TRY(find_checkpoint(out));
    DT_TRY(run_metrics_read(dir, &out->metrics));
    progress_begin(&k.bar, s->quiet);
    const dt_status status = look_at_run(&k, out);
    progress_wipe(&k.bar);
    dt_dataset_close(k.inside);
    dt_dataset_close(k.blank);
    session_close(&k.o);
    return status;
}

void shown_run_free(shown_run *r)
{
    for (int i = 0; i < r->n_on_array; i++) free((char *)r->on_array[i].name);
    free(r->on_array);
    for (int i = 0; i < r->n_wrong; i++) free(r->wrong_picture[i].pixels);
    for (int c = 0; r->class_name && c < r->n_classes; c++) free(r->class_name[c]);
    free(r->class_name);
    free(r->reconstructions.pixels);
    dt_class_report_destroy(r->classes);
    dt_label_report_destroy(r->labels);
    network_codes_free(&r->codes);
    run_metrics_free(&r->metrics);
    cJSON_Delete(r->clips);
    cJSON_Delete(r->config);
}
