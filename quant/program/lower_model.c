/*
 * lower_model.c - from a trained model to its program: a walk over the nodes that its scores need.
 *
 * The model is not run, and no image is read. The operators that make codes of weights run on a tape, and no others.
 * Interface: dt_program_lower in include/detent/array.h.
 * Tests: tests/quant/test_lower.c, tests/quant/test_lower_refused.c.
 */
#include "../fold_train.h"
#include "../insert_centre.h"
#include "../insert_qkeras.h"
#include "../qcaps/fixed_formats.h"
#include "../qcaps/insert_integers.h"
#include "lower_affine.h"
#include "lowering.h"

#include "../../core/names.h"
#include "../../core/train/inference.h"

#include <stdlib.h>

/* 1 if the model has affine quantizers: its program computes under a profile. */
static int is_affine(const dt_graph *g)
{
    return dt_graph_has(g, DT_OP_RANGE_QUANT);
}

/* The scores, where the walk has not met the linear layer that makes them: reals, of whatever gives them. */
static dt_status lower_end(dt_lowering *w)
{
    dt_held *h = &w->held[w->from->scores];
    int scores;

    if (h->holds != DT_HOLDS_SCORES) {
        DT_TRY(dt_held_reals(w, h, &scores));
        DT_TRY(dt_program_add_scores(w->program->graph, scores));
    }
    return dt_program_check(w->program);
}

static dt_status walk(dt_lowering *w, const char *needed)
{
    const dt_graph *g = w->from;

    w->held[g->image] = (dt_held){ .holds = DT_HOLDS_IMAGE, .value = -1, .psum = -1, .reals = -1 };
    for (int i = 0; i < g->n_nodes; i++) {
        if (needed[g->node[i].out]) DT_TRY(dt_lower_node(w, &g->node[i]));
    }
    return lower_end(w);
}

static dt_status walk_affine_nodes(dt_affine_lowering *a, const char *needed)
{
    const dt_graph *g = a->from;

    DT_CHECK(a->held && a->scale_of, DT_ERR_MEMORY, "no memory to lower %s", g->name);
    for (int i = 0; i < g->n_values; i++) a->scale_of[i] = -1;
    a->held[g->image] = (dt_affine_held){ .holds = DT_AFFINE_IMAGE, .value = -1, .bias = -1 };
    for (int i = 0; i < g->n_nodes; i++) {
        if (needed[g->node[i].out]) DT_TRY(dt_lower_affine_node(a, &g->node[i]));
    }
    DT_TRY(dt_lower_affine_end(a));
    return dt_program_check(a->program);
}

static dt_status walk_affine(const dt_lowering *w, dt_profile profile, const char *needed)
{
    const size_t n = (size_t)w->from->n_values;
    dt_affine_lowering a = { .ctx = w->ctx,
                             .from = w->from,
                             .tensor = w->tensor,
                             .held = calloc(n, sizeof *a.held),
                             .scale_of = malloc(n * sizeof *a.scale_of),
                             .program = w->program,
                             .profile = profile };
    const dt_status status = walk_affine_nodes(&a, needed);

    free(a.held);
    free(a.scale_of);
    return status;
}

/* Runs the quantizers of the weights, and nothing else. */
static dt_status make_codes(const dt_graph *g, dt_tape *tape, const char *needed, dt_tensor **tensor)
{
    for (int i = 0; i < g->n_nodes; i++) {
        const dt_graph_node *n = &g->node[i];
        const int makes_codes =
            n->kind == DT_OP_WEIGHT_QUANT || n->kind == DT_OP_MAX_QUANT || n->kind == DT_OP_SCALE_QUANT;
        if (!makes_codes || !needed[n->out] || g->value[n->in[0]]->source != DT_SOURCE_PARAM) continue;
        DT_TRY(dt_graph_record(g, tape, &n->out, 1, tensor));
        dt_tape_keep(tape, tensor[n->out]);
    }
    if (dt_tape_n_nodes(tape) == 0) return DT_OK;
    DT_TRY(dt_tape_compile(tape, NULL));
    return dt_tape_run(tape, DT_PASS_CONSTANT, NULL, NULL);
}

/* tensor: of the model's parameters */
static dt_status walk_with_codes(dt_lowering *w, dt_profile profile, dt_tensor **tensor)
{
    const size_t n = (size_t)w->from->n_values;
    char *needed = calloc(n, 1);
    dt_tape *tape = NULL;

    w->held = calloc(n, sizeof *w->held);
    w->tensor = tensor;
    dt_status status = needed && w->held
                           ? dt_tape_create(w->ctx, NULL, &tape)
                           : dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory to lower %s", w->from->name);
    if (status == DT_OK) {
        needed[w->from->scores] = 1;
        dt_graph_mark_needed(w->from, NULL, 0, needed);
        status = make_codes(w->from, tape, needed, tensor);
    }
    if (status == DT_OK) status = is_affine(w->from) ? walk_affine(w, profile, needed) : walk(w, needed);
    for (size_t i = 0; w->held && i < n; i++) {
        free(w->held[i].slope);
        free(w->held[i].offset);
    }
    dt_tape_destroy(tape);
    free(w->held);
    free(needed);
    return status;
}

/* Integers no longer say how many bits their quantizers had, so the program's name does. */
static dt_status program_create(const dt_model *m, dt_program **out)
{
    dt_program *p = calloc(1, sizeof *p);
    char name[DT_MODEL_TEXT_BYTES];

    DT_CHECK(p, DT_ERR_MEMORY, "no memory for a program");
    dt_model_describe(m, name);
    const dt_status status = dt_graph_create(name, &p->graph);
    if (status != DT_OK) {
        free(p);
        return dt_forward(status, __FILE__, __LINE__);
    }
    *out = p;
    return DT_OK;
}

/* Of an unknown one, what d's normalisation says. */
static dt_data_origin program_origin(const dt_model *m, const dt_dataset *d)
{
    dt_data_origin origin = m->origin;
    dt_dataset_view v;

    for (int c = 0; c < 4 && m->graph->unit_pixels; c++) origin.std[c] = 1.0f;
    if (origin.name[0] || !d) return origin;
    dt_dataset_look(d, &v);
    origin = dt_model_origin_of(m, &v);
    origin.n_images = 0;
    origin.fingerprint[0] = '\0';
    return origin;
}

/* What evaluation normalises an image by. */
static void find_normalisation(const dt_model *m, const dt_program *p, dt_lowering *w)
{
    for (int c = 0; c < DT_MOST_CHANNELS; c++) {
        w->mean[c] = m->graph->unit_pixels ? 0.0f : p->origin.mean[c];
        w->std[c] = m->graph->unit_pixels ? 1.0f : p->origin.std[c];
    }
}

/* Its sums are of reals, whose ranges nobody knows before an image is there. */
static dt_status check_dynamic(const dt_graph *g)
{
    for (int i = 0; i < g->n_nodes; i++) {
        const dt_graph_node *n = &g->node[i];
        DT_CHECK(
            n->kind != DT_OP_DYNAMIC_QUANT, DT_ERR_UNSUPPORTED,
            "%s has no integer program: %s finds the range of %s anew for each image; 'detent quantize --scheme full' "
            "of the network of real values gives ranges that stay",
            g->name, dt_graph_name(g, n->out), dt_graph_name(g, n->in[0]));
    }
    return DT_OK;
}

/* What has no form in a program, though training and evaluation have it. */
static dt_status check_forms(const dt_graph *g)
{
    const dt_graph_node *centre = dt_centre_of(g);

    DT_CHECK(
        !centre, DT_ERR_UNSUPPORTED,
        "%s has no integer program: %s takes the mean image away, and a program knows one mean a channel; train with "
        "'--normalize channel', or hand over its integers by 'detent export --to csv'",
        g->name, dt_graph_name(g, centre->out));
    DT_CHECK(
        !dt_graph_is_qkeras(g), DT_ERR_UNSUPPORTED,
        "%s has no integer program: in training each image has a grid of its own; 'detent quantize' finds the ranges "
        "that stay",
        g->name);
    return check_dynamic(g);
}

dt_status dt_program_possible(const dt_model *m)
{
    const char *instead = "'detent search' gives it fixed-point formats, which have one";
    dt_model_info is;
    char name[DT_MODEL_TEXT_BYTES];

    DT_TRY(check_forms(m->graph));
    DT_CHECK(
        !m->origin.is_real || is_affine(m->graph), DT_ERR_UNSUPPORTED,
        "%s has no integer program: it was trained on reals (%s), and its program would read pixels by a table; "
        "'detent quantize' of a network of real values, or training with '--quant-rule affine', gives one that reads "
        "reals",
        m->graph->name, m->origin.name);
    dt_model_look(m, &is);
    if (is.caps_dim == 0 || dt_graph_has(m->graph, DT_OP_CLASS_INT)) return DT_OK;
    if (dt_fixed_formats_of(m)) return dt_fixed_check_integers(m);
    dt_model_describe(m, name);
    if (is.wbits_most != DT_BITS_FLOAT) instead = "'--routing-bits 8' trains it with routing on the grid";
    return dt_raise(DT_ERR_UNSUPPORTED, __FILE__, __LINE__,
                    "%s has no integer program: its capsules are routed by real numbers; %s", name, instead);
}

static dt_status check_model(const dt_model *m, const dt_dataset *d)
{
    dt_dataset_view v;

    DT_TRY(dt_program_possible(m));
    DT_CHECK(d || m->origin.name[0] || m->graph->unit_pixels || is_affine(m->graph), DT_ERR_ARGUMENT,
             "%s: nothing says what the network was trained on; its program needs a dataset, whose mean and std "
             "normalise its images",
             m->graph->name);
    DT_TRY(dt_model_check_values(m, NULL));
    if (!d) return DT_OK;
    dt_dataset_look(d, &v);
    return dt_model_check_data(m, &v);
}

/* profile: of a model with affine quantizers; another has thresholds, whatever it is. m has no batch norm that trains
 * folded. */
static dt_status lower_settled(dt_model *m, const dt_dataset *d, dt_profile profile, dt_program **out)
{
    dt_lowering w = { .ctx = m->ctx, .from = m->graph };
    dt_tensor **tensor = NULL;

    DT_TRY(check_model(m, d));
    DT_TRY(program_create(m, &w.program));
    w.program->origin = program_origin(m, d);
    w.program->graph->loss = m->graph->loss;
    find_normalisation(m, w.program, &w);
    dt_status status = dt_model_tensors(m, &tensor);
    if (status == DT_OK) status = walk_with_codes(&w, profile, tensor);
    free(tensor);
    if (status != DT_OK) {
        dt_program_destroy(w.program);
        return dt_forward(status, __FILE__, __LINE__);
    }
    *out = w.program;
    return DT_OK;
}

dt_status dt_program_source(dt_model *m, dt_model **out)
{
    if (dt_fixed_formats_of(m)) return dt_fixed_integers(m, out);
    DT_TRY(dt_model_settle(m, out));
    return DT_OK;
}

static dt_status lower(dt_model *m, const dt_dataset *d, dt_profile profile, dt_program **out)
{
    dt_model *source = NULL;

    DT_TRY(dt_program_source(m, &source));
    const dt_status status = lower_settled(source, d, profile, out);
    dt_model_destroy(source);
    return status;
}

dt_status dt_program_lower(dt_model *m, const dt_dataset *d, dt_program **out)
{
    return lower(m, d, DT_PROFILE_LITERT_REF, out);
}

dt_status dt_program_lower_under(dt_model *m, const dt_dataset *d, dt_profile profile, dt_program **out)
{
    dt_program *p = NULL;

    DT_TRY(dt_check_word("profile", (int)profile, dt_profile_names));
    DT_TRY(lower(m, d, profile, &p));
    const int is_exact = profile == DT_PROFILE_EXACT; /* thresholds are */
    const dt_status status = is_exact ? DT_OK : dt_program_use_profile(p, profile);
    if (status != DT_OK) {
        dt_program_destroy(p);
        return dt_forward(status, __FILE__, __LINE__);
    }
    *out = p;
    return DT_OK;
}
