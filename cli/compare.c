/*
 * compare.c - `detent compare`: two networks on the same images, side by side; or one under every profile.
 */
#include "compare.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { IMAGES_SHOWN = 25, LOOKED_AT = 8 /* images whose values are kept at a time */ };

static void subject_close(subject *a)
{
    free(a->scores);
    free(a->classes);
    dt_model_destroy(a->made);
    session_close(&a->o);
}

dt_status subject_use_program(subject *a)
{
    dt_model_destroy(a->made);
    a->made = NULL;
    DT_TRY(dt_program_model(a->o.ctx, a->o.program, NULL, &a->made));
    a->model = a->made;
    return DT_OK;
}

/* A network that is quantized after training computes under --profile as its program does; any other as it is. */
static dt_status subject_open(const settings *s, const char *path, subject *a)
{
    settings named = *s;
    int is_program;

    a->path = named.checkpoint = path;
    DT_TRY(session_holds_program(&named, &is_program));
    if (is_program) {
        DT_TRY(session_open_program(&named, &a->o));
        return subject_use_program(a);
    }
    DT_TRY(session_open_checkpoint(&named, &a->o));
    a->model = a->o.model;
    if (s->profile < 0 || dt_quantized_count(a->model) == 0) return DT_OK;
    DT_TRY(dt_program_lower_under(a->model, NULL, (dt_profile)s->profile, &a->o.program));
    return subject_use_program(a);
}

dt_status subject_allocate(subject *a, const chosen_images *images)
{
    a->scores = malloc((size_t)(images->n * images->n_classes) * sizeof *a->scores);
    a->classes = malloc((size_t)images->n * sizeof *a->classes);
    DT_CHECK(a->scores && a->classes, DT_ERR_MEMORY, "no memory for the scores of %lld images", (long long)images->n);
    return DT_OK;
}

static int tick(void *user, int64_t done, int64_t total)
{
    compare_progress *p = user;
    (void)total;

    return progress_tick(&p->task, p->before + done, p->total);
}

void compare_progress_begin(compare_progress *p, int64_t total)
{
    interrupt_install();
    progress_begin(&p->bar, 0);
    p->task = (progress_task){ .bar = &p->bar, .what = "comparing", .begin = clock_seconds() };
    p->before = 0;
    p->total = total;
}

dt_status subject_run(subject *a, const chosen_images *images, int64_t first, int64_t n, const dt_prediction *how,
                      compare_progress *p)
{
    const dt_progress ticks = { .tick = tick, .user = p };
    dt_prediction with = *how;

    images_give(images, a->model, first, n, &with);
    with.progress = &ticks;
    const dt_status status = dt_predict(a->model, &with, a->scores + first * images->n_classes);
    progress_wipe(&p->bar);
    p->before += n;
    DT_TRY(status);
    return DT_OK;
}

static int class_of(const float *score, int n)
{
    int best = 0;

    for (int c = 1; c < n; c++) best = score[c] > score[best] ? c : best;
    return best;
}

static int labels_of(const float *score, int n)
{
    int said = 0;

    for (int l = 0; l < n; l++) said |= (score[l] > 0.0f) << l;
    return said;
}

void subject_judge(subject *a, const chosen_images *images)
{
    const int n = images->n_classes;

    a->hits = 0;
    for (int64_t i = 0; i < images->n; i++) {
        const float *score = a->scores + i * n;
        const int best = images->is_binary ? labels_of(score, n) : class_of(score, n);
        a->classes[i] = best;
        a->hits += images->labels && images->labels[i] == best;
    }
}

/* ---- the images ---- */

/* "3", or of labels "10010", label 0 first */
static short_text said(const chosen_images *images, int32_t class)
{
    short_text out = { "" };

    if (!images->is_binary) snprintf(out.s, sizeof out.s, "%d", class);
    for (int l = 0; images->is_binary && l < images->n_classes; l++) out.s[l] = (char)('0' + (class >> l & 1));
    return out;
}

/* Of the data set on which one of both was trained. b may be NULL. */
static dt_status open_images(const settings *s, const subject *a, const subject *b, chosen_images *out)
{
    const subject *of = session_dataset(s, a->model)[0] || !b ? a : b;
    settings named = *s;

    named.checkpoint = of->path;
    return images_open(&named, of->model, s->profiles ? INT64_MAX : IMAGES_SHOWN, out);
}

static dt_status check_same(const subject *a, const subject *b)
{
    dt_model_info x, y;

    dt_model_look(a->model, &x);
    dt_model_look(b->model, &y);
    DT_CHECK(x.height == y.height && x.width == y.width && x.channels == y.channels && x.n_classes == y.n_classes,
             DT_ERR_SHAPE, "%s takes images of %dx%dx%d and has %d classes, %s %dx%dx%d and %d", a->path, x.height,
             x.width, x.channels, x.n_classes, b->path, y.height, y.width, y.channels, y.n_classes);
    return DT_OK;
}

/* ---- side by side ---- */

static double score_distance(const subject *a, const subject *b, int64_t image, int n_classes)
{
    double largest = 0.0;

    for (int64_t i = image * n_classes; i < (image + 1) * n_classes; i++) {
        largest = fmax(largest, fabs((double)a->scores[i] - (double)b->scores[i]));
    }
    return largest;
}

static short_text share(int64_t n, int64_t of)
{
    short_text out;

    snprintf(out.s, sizeof out.s, "%.20s of %.20s (%.2f %%)", text_count(n).s, text_count(of).s,
             100.0 * (double)n / (double)of);
    return out;
}

static int64_t count_equal(const subject *a, const subject *b, int64_t n)
{
    int64_t equal = 0;

    for (int64_t i = 0; i < n; i++) equal += a->classes[i] == b->classes[i];
    return equal;
}

/* A line of a network's scores of one image, class by class. */
static void print_scores(const char *name, const subject *a, int64_t image, int n_classes)
{
    printf("%8s ", name);
    for (int c = 0; c < n_classes; c++) printf(" %.6g", (double)a->scores[image * n_classes + c]);
    printf("\n");
}

static void print_images(const settings *s, const subject *a, const subject *b, const chosen_images *images)
{
    printf("A  %s: %s, %s\n", a->path, text_network(a->model).s, session_engine(&(settings){ 0 }, &a->o).s);
    printf("B  %s: %s, %s\n", b->path, text_network(b->model).s, session_engine(&(settings){ 0 }, &b->o).s);
    printf("%8s %6s %6s %6s %6s %21s\n", "image", "label", "A", "B", "equal", "scores differ by up to");
    for (int64_t i = 0; i < images->n; i++) {
        printf("%8s %6s %6s %6s %6s %22.6g\n", text_count(images->first + i).s,
               images->labels ? said(images, images->labels[i]).s : "-", said(images, a->classes[i]).s,
               said(images, b->classes[i]).s, a->classes[i] == b->classes[i] ? "yes" : "NO",
               score_distance(a, b, i, images->n_classes));
        if (s->scores) print_scores("A", a, i, images->n_classes);
        if (s->scores) print_scores("B", b, i, images->n_classes);
    }
    printf("equal predictions: %s\n", share(count_equal(a, b, images->n), images->n).s);
    if (images->labels) printf("right: A %s, B %s\n", share(a->hits, images->n).s, share(b->hits, images->n).s);
}

static void add_scores(cJSON *one, const char *name, const subject *a, int64_t image, int n_classes)
{
    cJSON *list = cJSON_AddArrayToObject(one, name);

    for (int c = 0; c < n_classes; c++) {
        cJSON_AddItemToArray(list, cJSON_CreateNumber((double)a->scores[image * n_classes + c]));
    }
}

static void add_said(cJSON *one, const char *name, const chosen_images *images, int32_t class)
{
    if (images->is_binary)
        cJSON_AddStringToObject(one, name, said(images, class).s);
    else
        cJSON_AddNumberToObject(one, name, class);
}

static cJSON *images_json(const settings *s, const subject *a, const subject *b, const chosen_images *images)
{
    cJSON *out = cJSON_CreateObject();

    cJSON_AddStringToObject(out, "a", a->path);
    cJSON_AddStringToObject(out, "b", b->path);
    cJSON *list = cJSON_AddArrayToObject(out, "images");
    for (int64_t i = 0; i < images->n; i++) {
        cJSON *one = cJSON_CreateObject();
        cJSON_AddNumberToObject(one, "image", (double)(images->first + i));
        if (images->labels) add_said(one, "label", images, images->labels[i]);
        add_said(one, "a", images, a->classes[i]);
        add_said(one, "b", images, b->classes[i]);
        cJSON_AddBoolToObject(one, "equal", a->classes[i] == b->classes[i]);
        cJSON_AddNumberToObject(one, "largest_difference", score_distance(a, b, i, images->n_classes));
        if (s->scores) add_scores(one, "scores_a", a, i, images->n_classes);
        if (s->scores) add_scores(one, "scores_b", b, i, images->n_classes);
        cJSON_AddItemToArray(list, one);
    }
    cJSON_AddNumberToObject(out, "equal", (double)count_equal(a, b, images->n));
    if (images->labels) cJSON_AddNumberToObject(out, "right_a", (double)a->hits);
    if (images->labels) cJSON_AddNumberToObject(out, "right_b", (double)b->hits);
    return out;
}

static dt_status run_both(const settings *s, subject *a, subject *b, const chosen_images *images,
                          value_comparison *values)
{
    const int64_t step = s->layers ? LOOKED_AT : images->n;
    compare_progress p;

    DT_TRY(subject_allocate(a, images));
    DT_TRY(subject_allocate(b, images));
    compare_progress_begin(&p, 2 * images->n);
    for (int64_t i = 0; i < images->n; i += step) {
        const int64_t n = images->n - i < step ? images->n - i : step;
        const dt_prediction of_a = { .look = s->layers ? values_keep : NULL, .user = values };
        const dt_prediction of_b = { .look = s->layers ? values_compare : NULL, .user = values };
        DT_TRY(subject_run(a, images, i, n, &of_a, &p));
        DT_TRY(subject_run(b, images, i, n, &of_b, &p));
        values_next_batch(values);
    }
    subject_judge(a, images);
    subject_judge(b, images);
    return DT_OK;
}

static dt_status report(const settings *s, const subject *a, const subject *b, const chosen_images *images,
                        const value_comparison *values)
{
    if (s->json) {
        cJSON *out = images_json(s, a, b, images);
        if (s->layers) cJSON_AddItemToObject(out, "values", values_json(values));
        return print_json(out);
    }
    print_images(s, a, b, images);
    if (s->layers) values_print(values);
    return DT_OK;
}

static dt_status compare_two(const settings *s, subject *a, subject *b, chosen_images *images)
{
    value_comparison values = { 0 };

    DT_TRY(subject_open(s, s->with, b));
    DT_TRY(check_same(a, b));
    DT_TRY(open_images(s, a, b, images));
    dt_status status = run_both(s, a, b, images, &values);
    if (status == DT_OK) status = report(s, a, b, images, &values);
    values_free(&values);
    return status;
}

static dt_status compare(const settings *s, subject *a, subject *b, chosen_images *images)
{
    DT_TRY(subject_open(s, s->checkpoint, a));
    if (!s->profiles) return compare_two(s, a, b, images);
    if (!a->o.program) {
        DT_CHECK(dt_quantized_count(a->model) > 0, DT_ERR_UNSUPPORTED,
                 "%s: %s is not quantized after training, so that profiles mean nothing to it; 'detent quantize' does",
                 a->path, text_network(a->model).s);
        DT_TRY(dt_program_lower(a->model, NULL, &a->o.program));
    }
    DT_TRY(open_images(s, a, NULL, images));
    return compare_profiles(s, a, images);
}

dt_status compare_run(const settings *s, int *exit_code)
{
    subject a = { 0 }, b = { 0 };
    chosen_images images = { 0 };

    DT_TRY(need_option("checkpoint", s->checkpoint));
    DT_CHECK(s->with || s->profiles, DT_ERR_ARGUMENT, "--with names the network to compare with; or give --profiles");
    DT_CHECK(!s->with || !s->profiles, DT_ERR_ARGUMENT, "--with and --profiles: one of them, please");
    DT_CHECK(s->profile < 0 || !s->profiles, DT_ERR_ARGUMENT, "--profiles takes all of them; leave --profile out");
    DT_CHECK((!s->layers && !s->scores) || !s->profiles, DT_ERR_ARGUMENT,
             "--layers and --scores are of two networks; leave --profiles out");
    *exit_code = EXIT_GOOD;
    const dt_status status = compare(s, &a, &b, &images);
    images_close(&images);
    subject_close(&b);
    subject_close(&a);
    return status;
}
