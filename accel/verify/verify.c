/*
 * verify.c - do the grid's forward, the array, the program and 64-bit sums agree on real images, psum by psum?
 *
 * All of them compute side by side on one tape: the model as it is evaluated; the program, from the image on by itself;
 * and for each convolution of the program a PSUM operator that reads the same codes. After each node a hook looks at
 * what it made:
 *   CONV2D, LINEAR of the model   its psums, and the engine's with every tap psum, are judged by oracle.c
 *   CONV2D of the program         the codes that it reads are those of the model
 *   PSUM                          the device's array gave what the oracle expects
 *   CAPS_VOTES                    as CONV2D; on the array a convolution of one cell (core/votes_params.h)
 *   ADD, AVGPOOL of codes         sum_check.c says what model and program must give
 *   ROUTE_INT                     every sum, capsule, logit and coupling, in model and program: route_check.c
 *   the program's scores          are those of the model, bit for bit
 * A linear layer of the model is a convolution of its program, whose window is the map: as such it is on the array.
 *
 * The program of a model with affine quantizers is that of the profile exact. One under another profile is verified
 * without its model, because its codes are not those of evaluation. Then the program is what runs; its psums and the
 * array's are judged as above, and what any other node makes is that of the reference (node_check.c).
 *
 * Interface: dt_verify, dt_verify_program in include/detent/array.h.
 * Tests: tests/accel/test_verify.c, tests/accel/test_verify_program.c.
 */
#include "../../core/grid_facts.h"
#include "../../core/train/inference.h"
#include "layer_check.h"
#include "node_check.h"
#include "report.h"
#include "route_check.h"
#include "score_check.h"
#include "sum_check.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VERIFY_BATCH = 32 };

/* Of one node of the model that makes integers. */
typedef struct {
    const char *name;
    int is_sum;   /* 1: it is not on the array */
    int is_route; /* 1: neither a layer nor a sum: the values of a routing */
    int skipped;
    int maps;             /* of an image */
    int seen;             /* in this batch: the model's node has run, the next of that name is the program's */
    dt_layer_check layer; /* of a convolution or a linear layer */
    dt_sum_check sum;
    dt_route_check route;
} node_check;

/* What both give; the model's are kept until the batch's end. */
typedef struct {
    const dt_tensor *model, *program;
} score_pair;

typedef struct {
    dt_model *model, *program; /* program NULL: the model is that of `alone` */
    const dt_program *alone;   /* the program that is verified without a model; NULL: it is a model's */
    dt_array array;
    node_check *check; /* [n_checks], in the order of the model */
    int n_checks;
    score_pair scores;
    int64_t first_image, done, total; /* of the dataset: of the batch at hand */
    const dt_progress *progress;
    dt_verify_report *report;
} verification;

/* Index of a node that is to be checked, or -1. */
static int find_check(const verification *v, const char *name)
{
    for (int i = 0; i < v->n_checks; i++) {
        if (!v->check[i].skipped && strcmp(v->check[i].name, name) == 0) return i;
    }
    return -1;
}

/* The array beside every convolution, and all votes, that are on the tape from node `first` on. */
static dt_status record_arrays(const verification *v, dt_tape *tape, int first)
{
    const int n = dt_tape_n_nodes(tape);

    for (int i = first; i < n; i++) {
        const dt_node *node = dt_tape_node(tape, i);
        if (!dt_is_on_array(node->kind) || find_check(v, node->name) < 0) continue;
        dt_psum_params params = { .array = v->array };
        dt_tensor *operand[2] = { node->in[0], node->in[1] }, *out;
        DT_TRY(dt_layer_operands(tape, node, &params.conv, operand));
        DT_TRY(dt_tape_apply(tape, DT_OP_PSUM, dt_tape_node(tape, i)->name, &params, operand, 2, &out));
    }
    return DT_OK;
}

/* Beside the model: its program from the image on, and the array of each of the program's convolutions. */
static dt_status record_beside(void *user, dt_tape *tape, const dt_record_spec *spec, dt_tensor *const *tensor)
{
    verification *v = user;
    const int first = dt_tape_n_nodes(tape);
    dt_tensor **of_program;

    if (v->alone) return record_arrays(v, tape, 0);
    DT_TRY(dt_model_tensors(v->program, &of_program));
    dt_status status = dt_model_record_network(v->program, tape, spec, of_program);
    if (status == DT_OK) status = record_arrays(v, tape, first);
    if (status == DT_OK)
        v->scores = (score_pair){ tensor[v->model->graph->scores], of_program[v->program->graph->scores] };
    free(of_program);
    return status;
}

/* n of them in one image of the batch */
static void found_wrong(verification *v, const dt_mismatch *first, const char *layer, int64_t image, int64_t n)
{
    if (v->report->mismatches == 0) {
        v->report->first = *first;
        snprintf(v->report->first.layer, sizeof v->report->first.layer, "%s", layer);
        v->report->first.image = v->first_image + image;
    }
    v->report->mismatches += n;
}

/* The layer as the program's convolution of that name computes it. */
static dt_psum_shape shape_in_program(const verification *v, const char *name)
{
    const dt_graph *g = v->alone ? v->alone->graph : v->program->graph;
    const dt_graph_node *n = dt_graph_maker(g, dt_graph_find(g, name));
    dt_tensor x = g->value[n->in[0]]->facts, w = g->value[n->in[1]]->facts, y = g->value[n->out]->facts;
    const dt_node node = { .kind = n->kind, .in = { &x, &w }, .n_in = 2, .out = &y, .params = n->params };

    return dt_psum_shape_of(&node);
}

static dt_status look_at_layer(verification *v, int i, const dt_node *node)
{
    node_check *c = &v->check[i];
    dt_verify_layer *out = &v->report->layer[i];

    if (!c->layer.qx) {
        c->layer.shape = shape_in_program(v, c->name);
        DT_TRY(dt_layer_check_open(&c->layer, v->model->ctx, &v->array, node, VERIFY_BATCH * c->maps));
    }
    dt_oracle_result *result = malloc((size_t)node->out->shape.dim[0] * sizeof *result);
    DT_CHECK(result, DT_ERR_MEMORY, "%s: no memory for the results of a batch", c->name);
    const dt_status status = dt_layer_check_batch(&c->layer, v->model->ctx, node, result);
    for (int64_t n = 0; status == DT_OK && n < node->out->shape.dim[0]; n++) {
        out->n_checked += result[n].n_checked;
        out->mismatches += result[n].n_wrong;
        if (result[n].n_wrong > 0) found_wrong(v, &result[n].first, c->name, n / c->maps, result[n].n_wrong);
    }
    free(result);
    DT_TRY(status);
    return DT_OK;
}

/* A routing of the model or of the program. */
static dt_status look_at_route(verification *v, int i, const dt_node *node)
{
    const dt_graph *g = v->alone ? v->alone->graph : v->program->graph;
    dt_verify_layer *out = &v->report->layer[i];
    dt_oracle_result result;

    v->check[i].seen = 1;
    DT_TRY(dt_route_check_batch(&v->check[i].route, v->model->ctx, g, node, &result));
    out->n_checked += result.n_checked;
    out->mismatches += result.n_wrong;
    if (result.n_wrong > 0) found_wrong(v, &result.first, v->check[i].name, result.first.image, result.n_wrong);
    return DT_OK;
}

/* Of n values; one of both expectations is NULL. */
static int64_t count_differences(const float *found, const float *as_float, const int32_t *as_int, int64_t n)
{
    int64_t count = 0;

#pragma omp parallel for reduction(+ : count)
    for (int64_t i = 0; i < n; i++) count += found[i] != (as_float ? as_float[i] : (float)as_int[i]);
    return count;
}

/* found, on the device, against expected: one tensor of the batch */
static dt_status compare(verification *v, int layer, const char *what, const dt_tensor *found, const float *as_float,
                         const int32_t *as_int)
{
    const int64_t n = dt_count(&found->shape), per_image = n / found->shape.dim[0];
    const int64_t channels = dt_channels(&found->shape), width = found->shape.ndim == 4 ? found->shape.dim[2] : 1;
    dt_verify_layer *out = &v->report->layer[layer];
    float *host;

    DT_TRY(dt_device_floats(v->model->ctx, found->data, n, &host));
    int64_t left = count_differences(host, as_float, as_int, n);
    for (int64_t i = 0; left > 0 && i < n; i++) {
        const float expected = as_float ? as_float[i] : (float)as_int[i];
        if (host[i] == expected) continue;
        const dt_mismatch m = { .what = what,
                                .row = (int)(i % per_image / (width * channels)),
                                .col = (int)(i / channels % width),
                                .channel = (int)(i % channels),
                                .tile = -1,
                                .tap = -1,
                                .expected = (int64_t)expected,
                                .found = (int64_t)host[i] };
        found_wrong(v, &m, v->check[layer].name, i / per_image, 1);
        out->mismatches++;
        left--;
    }
    out->n_checked += n;
    free(host);
    return DT_OK;
}

/* Both have run. */
static dt_status look_at_scores(verification *v)
{
    const score_pair *scores = &v->scores;
    dt_oracle_result r;

    DT_TRY(dt_score_check_batch(v->model->ctx, scores->model, scores->program, &r));
    v->report->n_checked += r.n_checked;
    if (r.n_wrong > 0) found_wrong(v, &r.first, scores->program->name, r.first.image, r.n_wrong);
    return DT_OK;
}

/* The model's sum comes first, the program's second. */
static dt_status look_at_sum(verification *v, int i, const dt_node *node)
{
    node_check *c = &v->check[i];

    if (c->seen) return compare(v, i, "program sum", node->out, NULL, c->sum.expected);
    c->seen = 1;
    DT_TRY(dt_sum_check_batch(&c->sum, v->model->ctx, node));
    return compare(v, i, "grid sum", node->out, NULL, c->sum.expected);
}

/* The convolution of whose psums the node makes its values, else the node itself. */
static const dt_graph_node *layer_of(const dt_graph *g, const dt_graph_node *n)
{
    const dt_graph_node *before = n->n_in > 0 ? dt_graph_maker(g, n->in[0]) : NULL;

    return before && dt_is_on_array(before->kind) && n->kind != DT_OP_ROUTE_INT ? before : n;
}

/* A node of a program that stands alone, which the reference computes too. */
static dt_status look_at_node(verification *v, const dt_node *node)
{
    const dt_graph *g = v->alone->graph;
    const int value = dt_graph_find(g, node->name);
    const dt_graph_node *n = value < 0 ? NULL : dt_graph_maker(g, value);
    float *expected = NULL;

    if (!n || n->kind == DT_OP_CODES) return DT_OK;
    const int line = find_check(v, dt_graph_name(g, layer_of(g, n)->out));
    if (line < 0) return DT_OK;
    if (node->kind == DT_OP_PSUM) return compare(v, line, "array psum", node->out, NULL, v->check[line].layer.expected);
    if (node->kind != n->kind) return DT_OK; /* an operand of the array */
    if (dt_is_on_array(node->kind)) return look_at_layer(v, line, node);
    if (v->check[line].is_route && node->kind == DT_OP_ROUTE_INT) return look_at_route(v, line, node);
    dt_status status = dt_node_check_batch(v->model->ctx, v->alone, n, node, &expected);
    if (status == DT_OK) status = compare(v, line, dt_ops[n->kind]->name, node->out, expected, NULL);
    free(expected);
    return status;
}

static dt_status verify_node(void *user, const dt_node *node)
{
    verification *v = user;

    if (v->alone) return look_at_node(v, node);
    if (node->out == v->scores.program) return look_at_scores(v);
    const int i = find_check(v, node->name);
    if (i < 0) return DT_OK;
    node_check *c = &v->check[i];
    if (node->kind == DT_OP_TRANSPOSE) return DT_OK; /* an operand of the array */
    if (c->is_route) return look_at_route(v, i, node);
    if (c->is_sum) return look_at_sum(v, i, node);
    if (node->kind == DT_OP_PSUM) return compare(v, i, "array psum", node->out, NULL, c->layer.expected);
    if (c->seen) return compare(v, i, "program code", node->in[0], c->layer.qx, NULL);
    c->seen = 1;
    return look_at_layer(v, i, node);
}

static dt_status verify_batch(void *user, const dt_batch *b)
{
    verification *v = user;

    v->first_image = b->first + b->n;
    for (int i = 0; i < v->n_checks; i++) v->check[i].seen = 0;
    v->done += b->n;
    if (v->progress && v->progress->tick && v->progress->tick(v->progress->user, v->done, v->total)) {
        return dt_raise(DT_ERR_INTERRUPTED, __FILE__, __LINE__, "verification stopped after %lld of %lld images",
                        (long long)v->done, (long long)v->total);
    }
    return DT_OK;
}

/* 1 if the node makes integers that are checked. */
static int is_checked(const verification *v, const dt_graph *g, const dt_graph_node *n)
{
    if (v->alone) return n->kind != DT_OP_CODES && layer_of(g, n) == n;
    switch (n->kind) {
    case DT_OP_CONV2D:
    case DT_OP_LINEAR:
    case DT_OP_CAPS_VOTES:
    case DT_OP_ROUTE_INT:
    case DT_OP_ADD:
    case DT_OP_AVGPOOL: return g->value[n->out]->facts.n_scale > 0;
    default: return 0;
    }
}

/* layer: the name of the only one, or NULL: all */
static dt_status choose_layers(verification *v, const char *layer)
{
    const dt_graph *g = v->alone ? v->alone->graph : v->model->graph;
    int n_chosen = 0;

    v->check = calloc((size_t)g->n_nodes + 1, sizeof *v->check);
    v->report->layer = calloc((size_t)g->n_nodes + 1, sizeof *v->report->layer);
    DT_CHECK(v->check && v->report->layer, DT_ERR_MEMORY, "no memory for %d layers", g->n_nodes);
    for (int i = 0; i < g->n_nodes; i++) {
        const dt_graph_node *n = &g->node[i];
        if (!is_checked(v, g, n)) continue;
        node_check *c = &v->check[v->n_checks++];
        c->name = c->layer.name = dt_graph_name(g, n->out);
        c->is_route = n->kind == DT_OP_ROUTE_INT;
        c->is_sum = v->alone ? !dt_is_on_array(n->kind) : n->kind == DT_OP_ADD || n->kind == DT_OP_AVGPOOL;
        c->maps = dt_graph_rows(g, n->out);
        c->skipped = layer && strcmp(layer, c->name) != 0;
        n_chosen += !c->skipped;
    }
    DT_CHECK(n_chosen > 0 || layer, DT_ERR_UNSUPPORTED,
             "%s has no quantized layer, and so no integers to compare; train it with 2 to 8 bits of weights and "
             "activations, or quantize it by 'detent quantize'",
             g->name);
    DT_CHECK(n_chosen > 0, DT_ERR_ARGUMENT, "%s has no quantized layer '%s'; 'detent inspect' lists them", g->name,
             layer);
    return DT_OK;
}

static void report_layer(const node_check *c, int64_t images, dt_verify_layer *out)
{
    const dt_layer_check *l = &c->layer;

    out->array = dt_array_report_of(c->name, &l->on_array.array, &l->shape);
    out->on_array = 1;
    dt_array_report_fill(&out->array, &l->stats, images);
    dt_array_report_repeat(&out->array, c->maps);
    out->mae_float = l->error_float / (double)l->stats.n_psums;
    out->mae_next = l->error_next / (double)l->stats.n_psums;
}

static void report_sum(const node_check *c, int64_t images, dt_verify_layer *out)
{
    const dt_route_error *e = &c->route.error;

    if (e->n_values > 0) {
        out->is_routing = 1;
        out->mean_error = e->sum / (double)e->n_values;
        out->largest_error = e->largest;
        out->largest_coupling_error = e->largest_coupling;
        out->class_error = (double)e->n_classes_differ / (double)e->images;
    }
    out->array.name = c->name;
    dt_array_report_fill(&out->array, c->is_route ? &c->route.stats : &c->sum.stats, images);
}

/* One line for each that was checked. */
static void finish_report(verification *v)
{
    dt_verify_report *r = v->report;

    for (int i = 0; i < v->n_checks; i++) {
        const node_check *c = &v->check[i];
        if (c->skipped) continue;
        dt_verify_layer one = r->layer[i];
        if (c->is_sum || c->is_route)
            report_sum(c, v->done, &one);
        else
            report_layer(c, v->done, &one);
        r->layer[r->n_layers++] = one;
        r->n_checked += one.n_checked;
    }
}

static dt_status run(verification *v, const dt_dataset *d, int64_t first)
{
    const dt_inference_options opt = {
        .first = first, .count = v->total, .batch = VERIFY_BATCH, .watched = 1, .beside = record_beside, .user = v
    };
    dt_inference *inf = NULL;
    dt_dataset_view view;
    dt_step_sum sum;

    dt_dataset_look(d, &view);
    dt_status status = dt_inference_create(v->model, &view, &opt, &inf);
    if (status == DT_OK) status = dt_inference_run(inf, verify_node, verify_batch, v, &sum);
    dt_inference_destroy(inf);
    return status;
}

/* Runs and closes; the model, and the program's, are open. */
static dt_status verify_all(verification *v, const dt_dataset *d, dt_verify_report **out)
{
    dt_status status = run(v, d, v->first_image);

    if (status == DT_OK) finish_report(v);
    for (int i = 0; i < v->n_checks; i++) {
        dt_layer_check_close(&v->check[i].layer);
        dt_sum_check_close(&v->check[i].sum);
    }
    if (status == DT_OK) {
        *out = v->report;
        v->report = NULL;
    }
    return status;
}

static dt_status open_report(verification *v, const char *layer)
{
    DT_TRY(dt_array_check(&v->array));
    v->report = calloc(1, sizeof *v->report);
    DT_CHECK(v->report, DT_ERR_MEMORY, "no memory for a report");
    return choose_layers(v, layer);
}

static void close_all(verification *v)
{
    free(v->check);
    dt_verify_report_destroy(v->report);
}

/* Layers have the names of m, which outlives what was verified. */
static void name_layers(const dt_model *m, dt_verify_report *r)
{
    for (int i = 0; i < r->n_layers; i++) {
        const int value = dt_graph_find(m->graph, r->layer[i].array.name);
        assert(value >= 0);
        r->layer[i].array.name = dt_graph_name(m->graph, value);
    }
}

dt_status dt_verify(dt_model *m, const dt_dataset *d, int64_t first, int64_t count, const char *layer,
                    const dt_array *array, const dt_progress *progress, dt_verify_report **out)
{
    verification v = { .array = *array, .first_image = first, .total = count, .progress = progress };
    dt_program *p = NULL;

    DT_TRY(dt_program_source(m, &v.model));
    dt_status status = open_report(&v, layer);
    if (status == DT_OK) status = dt_program_lower_under(v.model, d, DT_PROFILE_EXACT, &p);
    if (status == DT_OK) status = dt_program_model(m->ctx, p, NULL, &v.program);
    if (status == DT_OK) status = verify_all(&v, d, out);
    if (status == DT_OK && v.model != m) name_layers(m, *out);
    close_all(&v);
    dt_model_destroy(v.program);
    dt_model_destroy(v.model);
    dt_program_destroy(p);
    DT_TRY(status);
    return DT_OK;
}

dt_status dt_verify_program(dt_context *ctx, const dt_program *p, const dt_verification *what, dt_verify_report **out)
{
    verification v = {
        .alone = p, .array = *what->array, .first_image = what->first, .total = what->count, .progress = what->progress
    };

    DT_TRY(dt_program_model(ctx, p, NULL, &v.model));
    dt_status status = open_report(&v, what->layer);
    if (status == DT_OK) status = verify_all(&v, what->dataset, out);
    close_all(&v);
    dt_model_destroy(v.model);
    DT_TRY(status);
    return DT_OK;
}

void dt_verify_report_destroy(dt_verify_report *r)
{
    if (!r) return;
    free(r->layer);
    free(r);
}
