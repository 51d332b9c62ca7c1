/*
 * test_capsnets.c - the capsule networks against golden values in double precision: lengths, losses, every gradient,
 * and the published code's quantized outputs, for three pairs of network and decoder.
 */
#include "../../core/train/trainer.h"
#include "../../models/networks.h"
#include "../../quant/qcaps/fixed_formats.h"
#include "../support/caps_golden.h"
#include "../golden/caps_hash.h"
#include "../support/tiny_run.h"

#include <math.h>
#include <stdlib.h>

enum { IMAGES = 2, IMAGE_SEED = 9 };
static const int32_t targets[IMAGES] = { 3, 7 };

/* A model with the golden parameters, and a batch of two images. */
typedef struct {
    dt_context *ctx;
    dt_model *model;
    dt_tensor x, labels;
    caps_golden golden;
} pair;

static dt_model_config config_of(const caps_golden *g, const char *decoder)
{
    dt_model_config c;

    MUST(dt_model_config_default(g->network, &c));
    for (int k = 0; dt_decoder_names[k]; k++) {
        if (strcmp(dt_decoder_names[k], decoder) == 0) choose(&c, "decoder", k);
    }
    if (dt_model_option_value(&c, "decoder") == DT_DECODER_CONV64) {
        c.height = c.width = 64;
        c.channels = 3;
    }
    return c;
}

/* PyTorch's name: ours has "decoder." where a decoder's parameter is meant. */
static const char *torch_name(const char *name)
{
    return strncmp(name, "decoder.", 8) == 0 ? name + 8 : name;
}

static const caps_param *golden_of(const pair *p, const char *name)
{
    for (int i = 0; i < p->golden.n_params; i++) {
        if (strcmp(p->golden.param[i].name, torch_name(name)) == 0) return &p->golden.param[i];
    }
    return NULL;
}

/* Where element i of PyTorch's O,I,H,W lies in ours, O,H,W,I; other shapes have the same order. */
static int64_t our_index(const dt_shape *s, int64_t i)
{
    if (s->ndim != 4) return i;
    const int64_t *d = s->dim, pixels = d[1] * d[2]; /* ours: O,H,W,I */
    const int64_t pixel = i % pixels, in = i / pixels % d[3], out = i / pixels / d[3];
    return (out * pixels + pixel) * d[3] + in;
}

static void fill_parameters(pair *p)
{
    for (int i = 0; i < p->model->n_params; i++) {
        const dt_param *param = p->model->param[i];
        const caps_param *g = golden_of(p, param->name);
        const int64_t n = dt_count(&param->tensor.shape);
        if (param->group == DT_GROUP_STATE) continue;
        cr_assert(g, "%s has no golden values", param->name);
        float *value = malloc((size_t)n * sizeof *value);
        for (int64_t k = 0; k < n; k++) {
            value[our_index(&param->tensor.shape, k)] = (float)g->offset + (float)g->scale * caps_hash(k, g->seed);
        }
        MUST(dt_model_write(p->model, i, value));
        free(value);
    }
}

/* The hash fills N,C,H,W. */
static void fill_images(pair *p)
{
    dt_model_info is;

    dt_model_look(p->model, &is);
    const int64_t pixels = (int64_t)is.height * is.width, n = IMAGES * pixels * is.channels;
    float *x = malloc((size_t)n * sizeof *x);

    for (int64_t i = 0; i < n; i++) {
        const int64_t pixel = i % pixels, channel = i / pixels % is.channels, image = i / pixels / is.channels;
        x[(image * pixels + pixel) * is.channels + channel] = caps_hash(i, IMAGE_SEED) + 0.5f;
    }
    p->x = (dt_tensor){ .type = DT_F32, .shape = { 4, { IMAGES, is.height, is.width, is.channels } }, .name = "x" };
    p->labels = (dt_tensor){ .type = DT_I32, .shape = { 1, { IMAGES } }, .name = "labels" };
    MUST(dt_device_alloc(p->ctx, (size_t)n * sizeof *x, &p->x.data));
    MUST(dt_device_alloc(p->ctx, sizeof targets, &p->labels.data));
    MUST(dt_device_write(p->ctx, p->x.data, x, (size_t)n * sizeof *x));
    MUST(dt_device_write(p->ctx, p->labels.data, targets, sizeof targets));
    free(x);
}

/* formats: NULL, or what the model records with. */
static void pair_open(pair *p, const char *decoder, dt_fixed_formats *formats)
{
    dt_options opt;

    caps_golden_read(decoder, &p->golden);
    const dt_model_config c = config_of(&p->golden, decoder);
    dt_options_default(&opt);
    opt.backend = "cpu";
    opt.precision = DT_PRECISION_F32;
    MUST(dt_context_create(&opt, &p->ctx));
    if (formats) {
        dt_graph *g;
        MUST(dt_network_build(&c, &g));
        MUST(dt_fixed_model_open(p->ctx, g, formats, &p->model));
    } else {
        MUST(dt_model_create(p->ctx, &c, &p->model));
    }
    fill_parameters(p);
    fill_images(p);
}

static void pair_close(pair *p)
{
    dt_device_free(p->ctx, p->labels.data, sizeof targets);
    dt_device_free(p->ctx, p->x.data, dt_tensor_bytes(&p->x));
    dt_model_destroy(p->model);
    dt_context_destroy(p->ctx);
}

typedef struct {
    dt_tape *tape;
    dt_tensor *y, *lengths, *loss;
} recorded;

static void record(pair *p, int training, recorded *out)
{
    dt_model *m = p->model;
    const dt_record_spec spec = { .batch = IMAGES, .training = training, .regularization_scale = 0.0005f };

    const dt_graph *g = m->graph;
    const int wanted[] = { g->scores, g->reconstruction };
    dt_tensor **tensor;

    MUST(dt_model_tape(p->model, &spec, &out->tape));
    MUST(dt_model_tensors(m, &tensor));
    tensor[g->image] = &p->x;
    if (g->labels >= 0) tensor[g->labels] = &p->labels;
    const int n = training && g->reconstruction >= 0 ? 2 : 1;
    MUST(dt_graph_record(g, out->tape, wanted, n, tensor));
    MUST(dt_model_record_loss(m, out->tape, &spec, tensor, &p->labels, &out->loss));
    out->y = tensor[g->capsules];
    out->lengths = tensor[g->scores];
    free(tensor);
    dt_tape_keep(out->tape, out->y);
    dt_tape_keep(out->tape, out->lengths);
    MUST(dt_tape_compile(out->tape, training ? out->loss : NULL));
}

static void run(pair *p, recorded *r, int hard)
{
    const dt_step first = { .in = { .hard = hard }, .scale = { .value = 1.0f } };
    MUST(dt_device_write(p->ctx, p->ctx->step, &first, sizeof first));
    MUST(dt_tape_run(r->tape, DT_PASS_CONSTANT, NULL, NULL));
    MUST(dt_tape_run(r->tape, DT_PASS_FORWARD, NULL, NULL));
}

static void expect(const char *what, int i, double found, double wanted, double tolerance)
{
    cr_assert(fabs(found - wanted) <= tolerance, "%s[%d] is %.9g, golden is %.9g, allowed is +-%g", what, i, found,
              wanted, tolerance);
}

/* f32 against double through up to 17 layers: lengths are between 0 and 1, and err by some 1e-6. */
#define LENGTH_TOLERANCE 5e-6

static void check_lengths(const recorded *r, const double golden[IMAGES][CAPS_CLASSES], const char *what)
{
    const float *length = r->lengths->data;
    for (int i = 0; i < IMAGES * CAPS_CLASSES; i++) {
        expect(what, i, (double)length[i], golden[i / CAPS_CLASSES][i % CAPS_CLASSES], LENGTH_TOLERANCE);
    }
}

static void check_loss(pair *p, const recorded *r, const double golden[3], const char *what)
{
    const dt_step_sum *sum = &p->ctx->step->sum;
    const double scale = 0.0005, mean[3] = { sum->loss / IMAGES, (sum->loss - scale * sum->reconstruction) / IMAGES,
                                             sum->reconstruction / IMAGES };
    expect(what, -1, (double)*(const float *)r->loss->data, golden[0], 1e-6 * golden[0]);
    for (int i = 0; i < 3; i++) expect(what, i, mean[i], golden[i], 2e-6 * golden[i]);
}

/* Against the gradient's own length: a sum of n elements that each err by a share t of the length's mean square errs by
 * up to t sqrt(n) of the length. */
static void check_gradients(const pair *p)
{
    for (int i = 0; i < p->model->n_params; i++) {
        const dt_param *param = p->model->param[i];
        const caps_param *g = golden_of(p, param->name);
        const int64_t n = dt_count(&param->tensor.shape);
        double squares = 0.0, sum = 0.0;
        if (param->group == DT_GROUP_STATE) continue;
        for (int64_t k = 0; k < n; k++) {
            squares += (double)dt_grads(&param->tensor)[k] * (double)dt_grads(&param->tensor)[k];
            sum += (double)dt_grads(&param->tensor)[k];
        }
        const double share = 2e-4;
        expect(param->name, 0, sqrt(squares), g->length, share * g->length);
        expect(param->name, 1, sum, g->sum, share * sqrt((double)n) * g->length);
        for (int64_t k = 0; k < 2 && k < n; k++) {
            const float d = dt_grads(&param->tensor)[our_index(&param->tensor.shape, k)];
            expect(param->name, 2 + (int)k, (double)d, g->first[k], share * (g->length + fabs(g->first[k])));
        }
    }
}

static void check_pair(const char *decoder)
{
    pair p;
    recorded r;

    pair_open(&p, decoder, NULL);
    record(&p, 0, &r);
    run(&p, &r, 0);
    check_lengths(&r, p.golden.lengths, "length");
    for (int i = 0; i < 4; i++) {
        expect("output", i, (double)((const float *)r.y->data)[i], p.golden.output[i], LENGTH_TOLERANCE);
    }
    dt_tape_destroy(r.tape);

    record(&p, 1, &r);
    run(&p, &r, 1);
    check_loss(&p, &r, p.golden.hard, "hard loss");
    run(&p, &r, 0);
    check_lengths(&r, p.golden.train_lengths, "length in training");
    check_loss(&p, &r, p.golden.normal, "loss");
    MUST(dt_device_zero(p.ctx, p.model->dw, (size_t)p.model->n_trained * sizeof(float)));
    MUST(dt_tape_run(r.tape, DT_PASS_BACKWARD, NULL, NULL));
    check_gradients(&p);
    dt_tape_destroy(r.tape);
    pair_close(&p);
}

Test(capsnets, shallowcaps_is_golden)
{
    check_pair("fc");
}

Test(capsnets, deepcaps_28_is_golden)
{
    check_pair("conv28");
}

Test(capsnets, deepcaps_64_is_golden)
{
    check_pair("conv64");
}

static dt_rounding rounding_of(const char *word)
{
    int k = 0;
    while (strcmp(dt_rounding_names[k], word) != 0) k++;
    return (dt_rounding)k;
}

static void use_run(dt_fixed_formats *f, const caps_run *run)
{
    f->observe = 0;
    f->rounding = rounding_of(run->rounding);
    for (int i = 0; i < DT_QCAPS_LAYERS; i++) {
        f->bits.weight[i] = run->weight;
        f->bits.activation[i] = run->activation;
        f->bits.routing[i] = run->routing;
    }
}

/* Rounding down and to a nearby step has edges, and a value that f32 puts on the other side of one than double is a
 * whole step away. That happens in none of shallowcaps' runs, nor with powers of two, whose edges are far apart: those
 * are golden to f32's last digits. In deepcaps it happens, and 17 layers pass it on. */
static double quantized_tolerance(const pair *p, dt_rounding rounding)
{
    const int deep = strcmp(p->model->graph->name, "deepcaps") == 0;
    return deep && rounding != DT_ROUND_LOGARITHMIC ? 0.02 : LENGTH_TOLERANCE;
}

static void check_run(pair *p, const caps_run *golden)
{
    const double tolerance = quantized_tolerance(p, rounding_of(golden->rounding));
    recorded r;

    record(p, 0, &r);
    run(p, &r, 0);
    for (int i = 0; i < CAPS_CLASSES; i++) {
        expect(golden->rounding, i, (double)((const float *)r.lengths->data)[i], golden->lengths[i], tolerance);
    }
    for (int i = 0; i < 4; i++) {
        expect("output", i, (double)((const float *)r.y->data)[i], golden->output[i], tolerance);
    }
    dt_tape_destroy(r.tape);
}

static void check_quantized(const char *decoder)
{
    dt_fixed_formats *f = calloc(1, sizeof *f);
    pair p;

    f->observe = f->published = 1;
    pair_open(&p, decoder, f);
    for (int k = 0; k < p.golden.n_runs; k++) {
        use_run(f, &p.golden.run[k]);
        MUST(dt_fixed_model_update(p.model));
        check_run(&p, &p.golden.run[k]);
    }
    pair_close(&p);
}

Test(capsnets, published_rounding_is_golden_fc)
{
    check_quantized("fc");
}

Test(capsnets, published_rounding_is_golden_conv28)
{
    check_quantized("conv28");
}

Test(capsnets, published_rounding_is_golden_conv64)
{
    check_quantized("conv64");
}
