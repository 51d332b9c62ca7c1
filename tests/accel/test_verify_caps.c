/*
 * test_verify_caps.c - verification of capsule networks: layers of several maps, votes, and every value of routing; a
 *                      value that differs is named; votes of odd sizes on the array, a cycle at a time.
 */
#include "../../accel/array/tiling.h"
#include "../../accel/vectors/vector_text.h"
#include "../../accel/vectors/vectors.h"
#include "../../accel/verify/route_check.h"
#include "../../core/votes_params.h"
#include "../support/array_layer.h"
#include "../support/caps_network.h"

#include "../../layers/caps/route_int.h"

static const dt_verify_layer *layer_of(const dt_verify_report *r, const char *name)
{
    for (int i = 0; i < r->n_layers; i++) {
        if (strcmp(r->layer[i].array.name, name) == 0) return &r->layer[i];
    }
    cr_assert(0, "%s was not verified", name);
    return NULL;
}

/* acc inside a kernel: s, v (but of the class capsules' last iteration), b and c of each, and the codes. */
static int64_t route_values(int64_t iterations, int64_t width, int64_t pairs, int gives_s)
{
    return (2 * iterations - gives_s + 1) * width + 2 * (iterations - 1) * pairs;
}

static void everything_agrees(const char *backend, const dt_array *array, int64_t images)
{
    lowered r = caps_lowered(backend, 8, images);
    dt_verify_report *report;

    if (!r.ctx) return;
    MUST(dt_verify(r.model, r.data, 0, images, NULL, array, NULL, &report));
    cr_assert(report->mismatches == 0, "%s: %lld mismatches, first %s of %s: %lld, expected %lld", backend,
              (long long)report->mismatches, report->first.what, report->first.layer, (long long)report->first.found,
              (long long)report->first.expected);
    /* conv1, one, two, skip.conv, digit.dot; one.squash, two.squash, skip, digit; sum */
    cr_assert(report->n_layers == 10, "%d layers", report->n_layers);
    const dt_verify_layer *skip = layer_of(report, "skip.conv"), *votes = layer_of(report, "digit.dot");
    cr_assert(skip->array.macs == 3 * 25 * 12 * 36);
    cr_assert(skip->array.n_psums == images * 3 * 25 * 12 && votes->array.n_psums == images * 150 * 50);
    cr_assert(votes->array.macs == 150 * 4 * 50 && votes->array.utilisation > 0.0 && votes->array.utilisation < 1.0);
    /* the model's and the program's */
    cr_assert(layer_of(report, "digit")->n_checked == 2 * images * route_values(3, 50, 1500, 1));
    cr_assert(layer_of(report, "skip")->n_checked == 2 * images * route_values(3, 300, 3 * 75, 0));
    cr_assert(layer_of(report, "one.squash")->n_checked == 2 * images * route_values(1, 300, 0, 0));
    dt_verify_report_destroy(report);
    lowered_close(&r);
}

/* 35 images: a full batch and a rest. */
Test(verify_caps, everything_agrees)
{
    static const dt_array wide = { .rows = 8, .cols = 8, .psum_bits = 24 },
                          narrow = { .rows = 3, .cols = 5, .psum_bits = 8, .overflow = DT_OVERFLOW_SATURATE };

    everything_agrees("cpu", &wide, 35);
    everything_agrees("cpu", &narrow, 3);
    everything_agrees("cuda", &wide, 3);
}

Test(verify_caps, a_program_alone)
{
    const dt_array array = { .rows = 8, .cols = 8, .psum_bits = 24 };
    lowered r = caps_lowered("cpu", 8, 5);
    const dt_verification what = { r.data, 0, 5, NULL, &array, NULL };
    dt_verify_report *report;

    MUST(dt_verify_program(r.ctx, r.program, &what, &report));
    cr_assert(report->mismatches == 0, "%s of %s", report->first.what, report->first.layer);
    cr_assert(layer_of(report, "digit")->n_checked >= 5 * route_values(3, 50, 1500, 1));
    dt_verify_report_destroy(report);
    lowered_close(&r);
}

/* ---- what is found ---- */

typedef struct {
    dt_context *ctx;
    const dt_graph *g; /* with another ratio than the tape's */
    dt_route_check check;
    dt_oracle_result result;
} search;

static dt_status search_node(void *user, const dt_node *node)
{
    search *s = user;

    if (strcmp(node->name, "digit") != 0) return DT_OK;
    return dt_route_check_batch(&s->check, s->ctx, s->g, node, &s->result);
}

static dt_status ignore_batch(void *user, const dt_batch *b)
{
    (void)user, (void)b;
    return DT_OK;
}

/* The ratio of one step is another one: that step is named. */
static void finds(const char *what, int iteration, int *ratio, const lowered *r)
{
    const dt_inference_options options = { .count = 2, .batch = 2, .watched = 1 };
    search s = { .ctx = r->ctx, .g = r->program->graph };
    dt_inference *inference;
    dt_dataset_view view;
    dt_step_sum sum;
    dt_model *m;

    dt_dataset_look(r->data, &view);
    MUST(dt_program_model(r->ctx, r->program, NULL, &m));
    *ratio ^= 1 << 12;
    MUST(dt_inference_create(m, &view, &options, &inference));
    MUST(dt_inference_run(inference, search_node, ignore_batch, &s, &sum));
    *ratio ^= 1 << 12;
    cr_assert(s.result.n_wrong > 0 && strcmp(s.result.first.what, what) == 0 && s.result.first.row == iteration,
              "%s of iteration %d was blamed, expected %s of %d", s.result.first.what, s.result.first.row, what,
              iteration);
    dt_inference_destroy(inference);
    dt_model_destroy(m);
}

Test(verify_caps, the_step_that_differs_is_named)
{
    lowered r = caps_lowered("cpu", 8, 2);
    dt_route_int_params *p = lowered_node(r.program, DT_OP_ROUTE_INT, "digit")->params;

    finds("routing sum s", 0, &p->acc_mul[0], &r);
    finds("routing sum s", 2, &p->acc_mul[2], &r);
    finds("routing logit b", 1, &p->agree_mul[1], &r);
    lowered_close(&r);
}

/* ---- the array ---- */

Test(verify_caps, evaluation_on_the_array)
{
    const dt_array array = { .rows = 8, .cols = 8, .psum_bits = 24 };
    lowered r = caps_lowered("cpu", 8, 20);
    int32_t on_array[20], exact[20];
    dt_array_report *layers;
    dt_metrics m;
    dt_model *model;

    MUST(dt_program_model(r.ctx, r.program, &array, &model));
    layers = calloc((size_t)dt_model_n_layers(model), sizeof *layers);
    MUST(dt_array_evaluate(model, r.data, 7, 0.0f, NULL, &(dt_outputs){ .predictions = on_array }, &m, layers));
    MUST(dt_evaluate(r.model, r.data, 7, 0.0f, NULL, &(dt_outputs){ .predictions = exact }, &m));
    cr_assert(memcmp(on_array, exact, sizeof exact) == 0, "24 bits hold every psum");
    cr_assert(dt_model_n_layers(model) == 5);
    for (int i = 0; i < 5; i++) {
        const int many = strcmp(layers[i].name, "skip.conv") == 0;
        cr_assert(layers[i].images == 20 && layers[i].n_overflows == 0, "%s", layers[i].name);
        if (many) cr_assert(layers[i].macs == 3 * 25 * 12 * 36, "%lld MACs", (long long)layers[i].macs);
    }
    free(layers);
    dt_model_destroy(model);
    lowered_close(&r);
}

/* A captured layer's psums by its codes, and as texts that are read back. */
static void captured(const lowered *r, const char *layer, int x_low)
{
    const dt_array array = { .rows = 16, .cols = 64, .psum_bits = 24, .simd = 1 };
    const dt_vector_style style = { DT_LAYOUT_COURSE, DT_HEADER_OF_LAYOUT };
    dt_vectors_report report;
    dt_capture *c;
    dt_vectors *v;

    MUST(dt_capture_layer(r->model, r->data, 1, 1, layer, &c));
    cr_assert(c->x_low == x_low, "%s: codes from %d", layer, c->x_low);
    MUST(dt_vectors_make(c, layer, &array, &style, &v));
    cr_assert(v->activation_signed == (x_low < 0));
    MUST(dt_vectors_compare(v, &report));
    cr_assert(report.n_mismatches == 0 && report.n_psums > 0, "%s", layer);
    const dt_vector_file *out = NULL;
    for (int i = 0; i < v->n_files / 2 && !out; i++)
        if (v->file[i].role == DT_VECTOR_OUTPUT) out = &v->file[i];
    const char *data = dt_vector_text_data(out);
    for (int k = 0; k < v->shape.filters && k < 5; k++) {
        const int64_t found = dt_vector_text_get(out, data, 0, out->lanes - 1 - k);
        cr_assert(found == (int64_t)c->psum[k], "%s: psum %d is %lld in the text, %g in the model", layer, k,
                  (long long)found, (double)c->psum[k]);
    }
    dt_vectors_destroy(v);
    dt_capture_destroy(c);
}

/* Convolutions of capsules, the shared filters of 3-D votes, and votes, whose codes have signs. */
Test(verify_caps, vectors_of_signed_codes)
{
    lowered r = caps_lowered("cpu", 8, 3);

    captured(&r, "conv1", 0);
    captured(&r, "one", -7);
    captured(&r, "two", -7);
    captured(&r, "skip.conv", -7);
    captured(&r, "digit.dot", -7);
    lowered_close(&r);
}

/* Matrices of votes are captured as filters. */
Test(verify_caps, captured_votes)
{
    lowered r = caps_lowered("cpu", 8, 3);
    dt_capture *c;

    MUST(dt_capture_layer(r.model, r.data, 0, 3, "digit.dot", &c));
    cr_assert(c->channels == 600 && c->filters == 7500 && c->conv.groups == 150 && c->out_height == 1);
    for (int64_t n = 0; n < 3; n++) {
        for (int64_t k = 0; k < 7500; k++) {
            int64_t sum = 0;
            for (int a = 0; a < 4; a++) sum += (int64_t)c->qx[n * 600 + k / 50 * 4 + a] * (int64_t)c->qw[k * 4 + a];
            cr_assert(sum == (int64_t)c->psum[n * 7500 + k], "image %d, vote %d", (int)n, (int)k);
        }
    }
    dt_capture_destroy(c);
    lowered_close(&r);
}

/* By the definition: capsule i's terms by its matrix. */
static int64_t vote_of(const array_layer *run, int terms, int channels, int k)
{
    int64_t sum = 0;
    for (int a = 0; a < terms; a++) sum += (int64_t)run->x[k / channels * terms + a] * (int64_t)run->w[k * terms + a];
    return sum;
}

Test(verify_caps, votes_of_odd_sizes_on_the_array)
{
    static const int sizes[][3] = { { 1, 1, 1 }, { 5, 3, 7 }, { 7, 8, 33 }, { 33, 9, 5 }, { 2, 17, 20 } };
    static const dt_array arrays[] = { { 8, 8, 24, DT_OVERFLOW_WRAP, DT_DATAFLOW_WS, 1 },
                                       { 3, 5, 24, DT_OVERFLOW_WRAP, DT_DATAFLOW_WS, 1 },
                                       { 8, 8, 24, DT_OVERFLOW_WRAP, DT_DATAFLOW_OS, 1 } };

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0] * 3; i++) {
        const int inputs = sizes[i / 3][0], terms = sizes[i / 3][1], channels = sizes[i / 3][2];
        const dt_array *array = &arrays[i % 3];
        const dt_shape w = { 3, { inputs, terms, channels } };
        dt_psum_shape s = array_layer_shape(1, 1, inputs * terms, inputs * channels, (int[2]){ 1, 1 }, 1, 0);
        array_layer run;
        dt_array_count count;
        uint32_t draw = 0;
        s.conv = dt_votes_conv_of(&w).conv;
        s.x_low = -7;
        s.x_high = 7;
        array_layer_open(&run, array, &s);
        for (int64_t k = 0; k < run.n_x; k++) run.x[k] = (float)array_layer_draw((uint32_t)i, &draw, -7, 7);
        for (int64_t k = 0; k < run.n_w; k++) run.w[k] = (float)array_layer_draw((uint32_t)i, &draw, -7, 7);
        array_layer_run(&run, &count);
        for (int k = 0; k < inputs * channels; k++)
            cr_assert(run.psum[k] == vote_of(&run, terms, channels, k), "%d x %d x %d: vote %d", inputs, terms,
                      channels, k);
        const dt_tiling t = dt_tiling_of(array, &s);
        cr_assert(t.cycles == count.cycles && t.macs == (int64_t)inputs * terms * channels,
                  "%d x %d x %d: %lld cycles are foretold, %lld were taken", inputs, terms, channels,
                  (long long)t.cycles, (long long)count.cycles);
        array_layer_close(&run);
    }
}
