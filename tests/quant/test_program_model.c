/*
 * test_program_model.c - a program on a tape, on every device: it predicts what its model predicts, with the same
 * codes, psums and scores, and refuses to be trained.
 */
#include "../../core/graph/rewrite.h"
#include "../support/lowered.h"

/* Skips the test where there is no such device. */
static dt_context *device(const char *backend)
{
    dt_context *ctx = lowered_context(backend);
    if (!ctx) cr_skip("no CUDA here: %s", dt_last_error());
    return ctx;
}

static void same_floats(const float *a, const float *b, int64_t n, const char *layer, const char *what)
{
    for (int64_t i = 0; i < n; i++) {
        cr_assert(a[i] == b[i], "%s: %s[%lld] is %.9g, expected %.9g", layer, what, (long long)i, (double)a[i],
                  (double)b[i]);
    }
}

static void same_capture(dt_model *m, const lowered *r, int64_t images, const char *layer)
{
    dt_capture *is, *want;
    MUST(dt_capture_layer(m, r->data, 0, images, layer, &is));
    MUST(dt_capture_layer(r->model, r->data, 0, images, layer, &want));
    const int64_t taps = (int64_t)want->kernel_height * want->kernel_width;
    cr_assert(is->n_sw == want->n_sw && is->w_low == want->w_low && is->w_high == want->w_high && is->sx == want->sx,
              "%s", layer);
    same_floats(is->qx, want->qx, images * want->height * want->width * want->channels, layer, "code");
    same_floats(is->qw, want->qw, want->filters * taps * want->channels, layer, "weight");
    same_floats(is->psum, want->psum, images * want->out_height * want->out_width * want->filters, layer, "psum");
    same_floats(is->sw, want->sw, want->n_sw, layer, "scale");
    dt_capture_destroy(is);
    dt_capture_destroy(want);
}

static void same_layers(const dt_model *m, const dt_model *of)
{
    cr_assert(dt_model_n_layers(m) == dt_model_n_layers(of));
    for (int i = 0; i < dt_model_n_layers(m); i++) {
        dt_layer_info is, want;
        dt_model_layer(m, i, &is);
        dt_model_layer(of, i, &want);
        cr_assert_str_eq(is.name, want.name);
        cr_assert(is.wbits == want.wbits && is.abits == want.abits && is.psum_bound == want.psum_bound &&
                      is.macs == want.macs && is.filters == want.filters,
                  "%s: %d and %d bits, psums to %lld", is.name, is.wbits, is.abits, (long long)is.psum_bound);
    }
}

/* The program's model on another context, which outlives the program. */
static void check_model(const dt_model_config *c, const char *backend, int64_t images)
{
    dt_context *ctx = device(backend);
    lowered r = lowered_open(c, images);
    dt_metrics is, want;
    int32_t *predicted = malloc((size_t)images * sizeof *predicted),
            *expected = malloc((size_t)images * sizeof *expected);
    dt_model *m;
    MUST(dt_program_model(ctx, r.program, NULL, &m));
    dt_program_destroy(r.program);
    r.program = NULL;

    MUST(dt_evaluate(m, r.data, 3, 0.1f, NULL, &(dt_outputs){ .predictions = predicted }, &is));
    MUST(dt_evaluate(r.model, r.data, 3, 0.1f, NULL, &(dt_outputs){ .predictions = expected }, &want));
    cr_assert(is.accuracy == want.accuracy && is.images == images);
    for (int64_t i = 0; i < images; i++)
        cr_assert(predicted[i] == expected[i], "%s: image %lld", backend, (long long)i);
    float *scores = lowered_logits(m, r.data, images), *logits = lowered_logits(r.model, r.data, images);
    same_floats(scores, logits, images * c->n_classes, backend, "score");
    same_layers(m, r.model);
    for (int i = 0; i < dt_model_n_layers(m); i++) same_capture(m, &r, images, m->layer[i].name);

    free(logits);
    free(scores);
    free(expected);
    free(predicted);
    dt_model_destroy(m);
    cr_assert(ctx->bytes == ctx->workspace_bytes + ctx->scratch_bytes + sizeof(dt_step));
    dt_context_destroy(ctx);
    lowered_close(&r);
}

static void check_tiny(const char *backend)
{
    dt_model_config c = lowered_config("tiny", 4, 4);
    check_model(&c, backend, 10);
    c.rule = DT_RULE_LSQ;
    c.per_channel = 1;
    c.wbits = 8;
    c.abits = 2;
    check_model(&c, backend, 4);
}

Test(program_model, tiny_on_the_cpu)
{
    check_tiny("cpu");
}

Test(program_model, tiny_on_cuda)
{
    check_tiny("cuda");
}

static void same_data(const dt_program *is, const dt_program *want)
{
    const dt_graph *g = is->graph, *of = want->graph;
    cr_assert(g->n_values == of->n_values && g->n_nodes == of->n_nodes);
    for (int i = 0; i < g->n_values; i++) {
        const size_t bytes = dt_graph_data_bytes(g, i);
        cr_assert_str_eq(dt_graph_name(g, i), dt_graph_name(of, i));
        cr_assert(bytes == dt_graph_data_bytes(of, i), "%s", dt_graph_name(g, i));
        cr_assert(bytes == 0 || memcmp(g->value[i]->data, of->value[i]->data, bytes) == 0, "%s differs",
                  dt_graph_name(g, i));
    }
}

Test(program_model, lowering_on_cuda_gives_the_same_program)
{
    dt_context *ctx = device("cuda");
    const dt_model_config c = lowered_config("tiny", 4, 4);
    lowered r = lowered_open(&c, 1);
    dt_model *m;
    dt_program *p;
    MUST(dt_model_create(ctx, &c, &m));
    lowered_disturb(m, 77); /* as the model of r */
    MUST(dt_program_lower(m, r.data, &p));
    same_data(p, r.program);
    dt_program_destroy(p);
    dt_model_destroy(m);
    dt_context_destroy(ctx);
    lowered_close(&r);
}

Test(program_model, vgg16_with_a_skip_block)
{
    dt_model_config c = lowered_config("vgg16", 4, 2);
    choose(&c, "choke", 8);
    choose(&c, "skip-block", 1);
    check_model(&c, "cpu", 1);
}

enum { IMAGES = 5, CLASSES = 10 };

/* Scores of the program's model against those of the reference. */
static void check_scores(const lowered *r, dt_model *m)
{
    dt_dataset_view v;
    float want[CLASSES];
    dt_dataset_look(r->data, &v);
    float *scores = lowered_logits(m, r->data, IMAGES);
    for (int n = 0; n < IMAGES; n++) {
        MUST(dt_program_run(r->program, v.images + (int64_t)n * v.height * v.width * v.channels, want));
        same_floats(scores + n * CLASSES, want, CLASSES, r->program->graph->name, "score");
    }
    free(scores);
}

Test(program_model, multipliers_are_run_as_their_thresholds)
{
    const dt_model_config c = lowered_config("tiny", 4, 4);
    lowered r = lowered_open(&c, IMAGES);
    dt_requant_report report;
    dt_model *m;
    MUST(dt_program_use_multipliers(r.program, 8, &report));
    MUST(dt_program_model(r.ctx, r.program, NULL, &m));
    check_scores(&r, m);
    dt_model_destroy(m);
    lowered_close(&r);
}

/* ---- on an array ---- */

typedef struct {
    const dt_capture *exact; /* of features.0 */
    dt_context *ctx;
    int bits;
    int64_t n_wrapped;
} wrap_watch;

/* in two's complement of bits */
static int64_t wrapped(int64_t v, int bits)
{
    const int64_t range = (int64_t)1 << bits, low = -(range / 2);
    return ((v - low) % range + range) % range + low;
}

static dt_status watch_psums(void *user, const dt_node *node)
{
    wrap_watch *w = user;
    if (node->kind != DT_OP_PSUM || strcmp(node->name, "features.0") != 0) return DT_OK;
    const int64_t n = dt_count(&node->out->shape);
    float *psum = host_floats(w->ctx, node->out->data, n);
    for (int64_t i = 0; i < n; i++) {
        const int64_t exact = (int64_t)w->exact->psum[i], want = wrapped(exact, w->bits);
        cr_assert((double)psum[i] == (double)want, "psum %lld is %g, expected %lld", (long long)i, (double)psum[i],
                  (long long)want);
        w->n_wrapped += want != exact;
    }
    free(psum);
    return DT_OK;
}

static void check_array(const char *backend)
{
    dt_context *ctx = device(backend);
    const dt_model_config c = lowered_config("tiny", 4, 4);
    lowered r = lowered_open(&c, IMAGES);
    dt_array array;
    dt_capture *exact;
    dt_inference *inf;
    dt_step_sum sum;
    dt_model *m;

    dt_array_default(&array);
    array.psum_bits = 32;
    MUST(dt_program_model(ctx, r.program, &array, &m));
    check_scores(&r, m);
    dt_model_destroy(m);

    array.psum_bits = 10;
    MUST(dt_program_model(ctx, r.program, &array, &m));
    MUST(dt_capture_layer(r.model, r.data, 0, IMAGES, "features.0", &exact));
    wrap_watch watch = { exact, ctx, 10, 0 };
    const dt_inference_options opt = { .count = IMAGES, .batch = IMAGES, .watched = 1 };
    dt_dataset_view view;
    dt_dataset_look(r.data, &view);
    MUST(dt_inference_create(m, &view, &opt, &inf));
    MUST(dt_inference_run(inf, watch_psums, NULL, &watch, &sum));
    cr_assert(watch.n_wrapped > 0);
    dt_inference_destroy(inf);
    dt_capture_destroy(exact);
    dt_model_destroy(m);
    lowered_close(&r);
    dt_context_destroy(ctx);
}

Test(program_model, array_on_the_cpu)
{
    check_array("cpu");
}

Test(program_model, array_on_cuda)
{
    check_array("cuda");
}

/* ---- the model's facts ---- */

Test(program_model, is_called_what_the_program_is)
{
    const dt_model_config c = lowered_config("tiny", 4, 4);
    lowered r = lowered_open(&c, 1);
    dt_model *m;
    MUST(dt_program_model(r.ctx, r.program, NULL, &m));
    dt_model_info is;
    char text[DT_MODEL_TEXT_BYTES];
    dt_model_look(m, &is);
    cr_assert_str_eq(is.name, "tiny w4a4");
    cr_assert(is.height == 32 && is.channels == 3 && is.n_classes == 10 && is.wbits_most == DT_BITS_FLOAT);
    dt_model_describe(m, text);
    cr_assert_str_eq(text, "tiny w4a4"); /* its model's */
    cr_assert(dt_model_count(m) == 0, "a program has %lld trained values", (long long)dt_model_count(m));
    cr_assert(dt_model_find(m, "features.4.weight") >= 0 && dt_model_find(m, "features.8.threshold") >= 0 &&
              dt_model_find(m, "features.9.slope") >= 0 && dt_model_find(m, "image.table") >= 0);
    dt_model_destroy(m);
    lowered_close(&r);
}

/* ---- what is refused ---- */

Test(program_model, cannot_be_trained_or_lowered)
{
    const dt_model_config c = lowered_config("tiny", 4, 4);
    lowered r = lowered_open(&c, 2);
    dt_train_config train;
    dt_trainer *t = NULL;
    dt_program *p = NULL;
    dt_model *m;
    MUST(dt_program_model(r.ctx, r.program, NULL, &m));
    dt_train_config_default(NULL, &train);
    train.batch = 2;
    cr_assert(dt_trainer_create(m, r.data, &train, &t) == DT_ERR_UNSUPPORTED && t == NULL);
    cr_assert(strstr(dt_last_error(), "tiny w4a4 is a program, whose integers cannot be trained"), "%s",
              dt_last_error());
    cr_assert(dt_program_lower(m, r.data, &p) == DT_ERR_UNSUPPORTED && p == NULL);
    cr_assert(strstr(dt_last_error(), "has no form in a program"), "%s", dt_last_error());
    dt_model_destroy(m);
    lowered_close(&r);
}

Test(program_model, a_damaged_program_is_refused)
{
    const dt_model_config c = lowered_config("tiny", 4, 4);
    lowered r = lowered_open(&c, 1);
    dt_model *m = NULL;
    ((int8_t *)lowered_data(r.program, "features.4.weight"))[0] = 8;
    cr_assert(dt_program_model(r.ctx, r.program, NULL, &m) == DT_ERR_FORMAT && m == NULL);
    cr_assert(strstr(dt_last_error(), "features.4.codes (codes): weight is 8"), "%s", dt_last_error());
    lowered_close(&r);
}

/* The largest codes of the image and of the first weights that there are. */
static dt_status widen(dt_rewrite *r, const dt_graph_node *n, void *user)
{
    static const dt_table_params pixels = { INT16_MIN, INT16_MAX, 0 };
    static const dt_codes_params weights = { -128, 127, 0 };
    const char *name = dt_graph_name(r->from, n->out);
    const void *params = n->kind == DT_OP_TABLE                  ? (const void *)&pixels
                         : strcmp(name, "features.0.codes") == 0 ? (const void *)&weights
                                                                 : NULL;
    int in[DT_MAX_IN];
    (void)user;

    for (int k = 0; k < n->n_in; k++) DT_TRY(dt_rewrite_value(r, n->in[k], &in[k]));
    return dt_rewrite_with(r, n, params, in);
}

/* 2^24 and 2^24 + 1 are one f32 */
Test(program_model, a_threshold_that_f32_cannot_hold_is_refused)
{
    const dt_model_config c = lowered_config("tiny", 4, 4);
    lowered r = lowered_open(&c, 1);
    dt_graph *wide;
    dt_model *m = NULL;
    MUST(dt_graph_rewrite(r.program->graph, widen, NULL, &wide));
    dt_graph_destroy(r.program->graph);
    r.program->graph = wide;
    int32_t *step = lowered_data(r.program, "features.4.threshold");
    step[14 * 8] = (1 << 24) + 1;
    cr_assert(dt_program_model(r.ctx, r.program, NULL, &m) == DT_ERR_NUMERIC && m == NULL);
    cr_assert(strstr(dt_last_error(), "threshold 16777217 of channel 0 parts two psums"), "%s", dt_last_error());
    step[14 * 8] = (1 << 24) + 2;
    MUST(dt_program_model(r.ctx, r.program, NULL, &m));
    dt_model_destroy(m);
    lowered_close(&r);
}

/* A limit of int32 is a threshold that every psum passes, or none. */
Test(program_model, first_values_are_the_programs_data)
{
    const dt_model_config c = lowered_config("tiny", 4, 4);
    lowered r = lowered_open(&c, 1);
    int32_t *step = lowered_data(r.program, "features.4.threshold");
    float value[15 * 8];
    dt_model *m;
    step[0] = INT32_MIN;
    step[14 * 8] = INT32_MAX;
    MUST(dt_program_model(r.ctx, r.program, NULL, &m));
    MUST(dt_model_read(m, dt_model_find(m, "features.4.threshold"), value));
    cr_assert(value[0] == -INFINITY && value[14 * 8] == INFINITY && value[8] == (float)step[8]);
    cr_assert(dt_model_find(m, "features.4.act_quant.slope") < 0, "constants are no parameters of a model");
    dt_model_destroy(m);
    lowered_close(&r);
}

Test(program_model, an_array_out_of_range_is_refused)
{
    const dt_model_config c = lowered_config("tiny", 4, 4);
    lowered r = lowered_open(&c, 1);
    dt_array array;
    dt_model *m = NULL;
    dt_array_default(&array);
    array.psum_bits = 33;
    cr_assert(dt_program_model(r.ctx, r.program, &array, &m) == DT_ERR_ARGUMENT && m == NULL);
    cr_assert(strstr(dt_last_error(), "psum_bits is 33"), "%s", dt_last_error());
    lowered_close(&r);
}
