/*
 * rescue.c - makes the passes in their order, and judges each on images that are held out. See rescue.h.
 *
 * A pass works on a state of its own, so that one that does not help leaves nothing behind. The weights and biases that
 * it has changed in the quantized network go back into the network of reals, of which the quantized one is made once
 * more: what is judged is what dt_quantize gives.
 *
 * Interface: include/detent/rescue.h.
 * Tests: tests/quant/test_rescue.c, tests/quant/test_rescue_rounding.c, tests/cli/test_cli_rescue.sh.
 */
#include "rescue.h"

#include "detent/evaluate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 64 };

const char *const dt_rescue_names[DT_RESCUE_PASSES + 1] = { "equalize", "correct-bias", "adaround", "reestimate-norms",
                                                            NULL };

/* The networks as they are after some passes. */
typedef struct {
    dt_model *reference, *plain, *quantized; /* held; reference and plain may be one */
    dt_range *range;                         /* [n_values] of reference's values */
    dt_rescue_layers layers;                 /* of reference's graph */
} state;

typedef struct {
    const dt_quantization *what;
    const dt_known_ranges *known;
    dt_dataset_view held_out;
    float *real, *scores; /* [n][classes] of the held-out images */
    int64_t classes;
} rescue;

static void state_free(state *s)
{
    dt_model_destroy(s->reference);
    dt_model_destroy(s->plain);
    dt_model_destroy(s->quantized);
    free(s->range);
    dt_rescue_layers_free(&s->layers);
    *s = (state){ .reference = NULL };
}

/* Another state with the same networks. */
static dt_status state_copy(const state *from, state *to)
{
    const dt_graph *g = from->reference->graph;

    *to = (state){
        from->reference, from->plain, from->quantized, malloc((size_t)g->n_values * sizeof(dt_range)), { NULL, 0 }
    };
    dt_model_hold(to->reference);
    dt_model_hold(to->plain);
    dt_model_hold(to->quantized);
    DT_CHECK(to->range, DT_ERR_MEMORY, "no memory for %d ranges", g->n_values);
    memcpy(to->range, from->range, (size_t)g->n_values * sizeof(dt_range));
    return dt_rescue_layers_copy(&from->layers, g, &to->layers);
}

/* ---- judging ---- */

static dt_status evaluate(const rescue *r, dt_model *m, float *scores, dt_rescue_score *out)
{
    const dt_outputs outputs = { .scores = scores };
    dt_metrics metrics;

    DT_TRY(dt_evaluate(m, r->what->rescue->held_out, BATCH, 0.0f, NULL, &outputs, &metrics));
    *out = (dt_rescue_score){ .loss = metrics.loss, .accuracy = metrics.accuracy, .snr = INFINITY };
    return DT_OK;
}

static dt_status judge(const rescue *r, dt_model *m, dt_rescue_score *out)
{
    double signal = 0.0, noise = 0.0;

    DT_TRY(evaluate(r, m, r->scores, out));
    for (int64_t i = 0; i < r->held_out.n * r->classes; i++) {
        const double real = (double)r->real[i], off = (double)r->scores[i] - real;
        signal += real * real;
        noise += off * off;
    }
    out->snr = noise > 0.0 ? 10.0 * log10(signal / noise) : INFINITY;
    return DT_OK;
}

/* ---- passes ---- */

/* The quantized network of s->plain takes the place of what there was. */
static dt_status quantize_again(const rescue *r, state *s)
{
    dt_model *quantized = NULL;

    DT_TRY(dt_post_training_with(s->plain, r->what, s->range, &quantized));
    dt_model_destroy(s->quantized);
    s->quantized = quantized;
    return DT_OK;
}

/* Weights and biases of the quantized network become those of the network of reals. */
static dt_status take_parameters(state *s)
{
    const dt_graph *g = s->reference->graph;
    dt_graph *plain = NULL;
    dt_model *m = NULL;

    DT_TRY(dt_model_snapshot(s->plain, &plain));
    dt_status status = DT_OK;
    for (int i = 0; status == DT_OK && i < 2 * s->layers.n; i++) {
        const dt_rescue_layer *l = &s->layers.layer[i / 2];
        const int value = i % 2 ? l->bias : l->weight;
        float *data = NULL;
        if (value < 0) continue;
        status = dt_rescue_read(s->quantized, dt_model_find(s->quantized, dt_graph_name(g, value)), &data);
        if (status == DT_OK) dt_graph_set_data(plain, dt_graph_find(plain, dt_graph_name(g, value)), DT_F32, data);
    }
    if (status != DT_OK) {
        dt_graph_destroy(plain);
        return dt_forward(status, __FILE__, __LINE__);
    }
    DT_TRY(dt_model_open(s->plain->ctx, plain, &m));
    m->origin = s->plain->origin;
    dt_model_destroy(s->plain);
    s->plain = m;
    return DT_OK;
}

/* Ranges are observed anew. */
static dt_status equalize(const rescue *r, state *s, dt_rescue_result *out)
{
    dt_graph *before = NULL, *after = NULL;
    dt_model *m = NULL;

    DT_CHECK(!r->what->ranges, DT_ERR_ARGUMENT,
             "equalization scales values, whose ranges the file %s gives; leave out the file, or the pass equalize",
             r->what->ranges);
    DT_TRY(dt_model_snapshot(s->plain, &before));
    dt_status status = dt_rescue_equalize(before, &s->layers, &out->n_changed, &out->n_clips, &after);
    dt_graph_destroy(before);
    DT_TRY(status);
    DT_TRY(dt_model_open(s->plain->ctx, after, &m));
    m->origin = s->plain->origin;
    for (int i = 0; i < s->layers.n; i++) {
        s->layers.layer[i].node = dt_graph_maker(m->graph, s->layers.layer[i].node->out);
    }
    dt_model_destroy(s->plain);
    dt_model_destroy(s->reference);
    s->plain = s->reference = m;
    dt_model_hold(m);
    return dt_post_training_ranges(m, r->what, r->known, s->range);
}

static dt_status make(const rescue *r, state *s, dt_rescue_result *out)
{
    const dt_rescue_work w = { r->what, s->reference, s->quantized, &s->layers };
    dt_rounding_error error = { 0.0, 0.0 };

    switch (out->pass) {
    case DT_RESCUE_EQUALIZE: return equalize(r, s, out);
    case DT_RESCUE_CORRECT_BIAS: DT_TRY(dt_rescue_correct_bias(&w, &out->n_changed)); break;
    case DT_RESCUE_ADAROUND:
        DT_TRY(dt_rescue_adaround(&w, r->what->rescue->rounding_steps, &out->n_changed, &error));
        break;
    case DT_RESCUE_REESTIMATE_NORMS: DT_TRY(dt_rescue_reestimate_norms(&w, &out->n_changed)); break;
    case DT_RESCUE_PASSES: break;
    }
    out->error_before = error.before;
    out->error_after = error.after;
    return take_parameters(s);
}

/* Passes change weights in place, so the state gets a quantized network of its own first. */
static dt_status try_pass(const rescue *r, state *s, dt_rescue_result *out)
{
    out->n_layers = s->layers.n;
    DT_TRY(quantize_again(r, s));
    DT_TRY(make(r, s, out));
    DT_TRY(quantize_again(r, s));
    return judge(r, s->quantized, &out->after);
}

static dt_status make_pass(const rescue *r, dt_rescue_pass pass, const dt_rescue_score *before, state *s,
                           dt_rescue_result *out)
{
    const dt_rescue *how = r->what->rescue;
    state next;

    *out = (dt_rescue_result){ .pass = pass, .before = *before };
    dt_status status = state_copy(s, &next);
    if (status == DT_OK) status = try_pass(r, &next, out);
    out->kept = status == DT_OK && (!how->only_what_helps || out->after.loss < before->loss);
    if (out->kept) {
        state_free(s);
        *s = next;
    } else {
        state_free(&next);
    }
    DT_TRY(status);
    if (how->tell) how->tell(how->user, out);
    return DT_OK;
}

static dt_status make_passes(rescue *r, state *s)
{
    const dt_rescue *how = r->what->rescue;
    dt_rescue_score real, now;
    int n = 0;

    DT_TRY(evaluate(r, s->reference, r->real, &real));
    DT_TRY(judge(r, s->quantized, &now));
    if (how->real) *how->real = real;
    if (how->first) *how->first = now;
    for (int pass = 0; pass < DT_RESCUE_PASSES; pass++) {
        dt_rescue_result result;
        if (!(how->passes & 1u << pass)) continue;
        DT_TRY(make_pass(r, (dt_rescue_pass)pass, &now, s, &result));
        if (result.kept) now = result.after;
        if (how->result) how->result[n++] = result;
    }
    return DT_OK;
}

static dt_status begin(const rescue *r, dt_model *m, dt_model *folded, state *s)
{
    dt_graph *unfolded = NULL;

    dt_model_hold(folded);
    dt_model_hold(folded);
    *s = (state){ folded, folded, NULL, malloc((size_t)folded->graph->n_values * sizeof(dt_range)), { NULL, 0 } };
    DT_CHECK(s->range, DT_ERR_MEMORY, "no memory for %d ranges", folded->graph->n_values);
    DT_TRY(dt_post_training_plain(m, &unfolded));
    const dt_status status = dt_rescue_layers_find(unfolded, folded->graph, &s->layers);
    dt_graph_destroy(unfolded);
    DT_TRY(status);
    DT_TRY(dt_post_training_ranges(folded, r->what, r->known, s->range));
    return quantize_again(r, s);
}

static dt_status check(const dt_quantization *what, const dt_rescue *how)
{
    DT_CHECK(how->passes != 0 && how->passes < 1u << DT_RESCUE_PASSES, DT_ERR_ARGUMENT,
             "passes are the bits %#x; known are those up to %#x, and one is needed", how->passes,
             (1u << DT_RESCUE_PASSES) - 1);
    DT_CHECK(how->held_out, DT_ERR_ARGUMENT, "passes are judged on labelled images that are held out; give some");
    DT_CHECK(how->rounding_steps >= 0, DT_ERR_ARGUMENT, "AdaRound takes %d steps, expected 0 or more",
             how->rounding_steps);
    DT_CHECK(what->n > 0, DT_ERR_ARGUMENT, "passes look at calibration images, and there are none");
    return DT_OK;
}

dt_status dt_rescue_run(dt_model *m, dt_model *folded, const dt_quantization *what, const dt_known_ranges *known,
                        dt_model **out)
{
    rescue r = { .what = what, .known = known, .classes = dt_graph_count(folded->graph, folded->graph->scores) };
    state s = { .reference = NULL };

    DT_TRY(check(what, what->rescue));
    dt_dataset_look(what->rescue->held_out, &r.held_out);
    const size_t n = (size_t)(r.held_out.n * r.classes);
    r.real = malloc(n * sizeof *r.real);
    r.scores = malloc(n * sizeof *r.scores);
    dt_status status = r.real && r.scores ? begin(&r, m, folded, &s)
                                          : dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory for %zu scores", n);
    if (status == DT_OK) status = make_passes(&r, &s);
    if (status == DT_OK) {
        *out = s.quantized;
        s.quantized = NULL;
    }
    state_free(&s);
    free(r.real);
    free(r.scores);
    DT_TRY(status);
    return DT_OK;
}
