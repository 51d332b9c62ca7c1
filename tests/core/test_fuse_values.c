/*
 * test_fuse_values.c - a fused tape computes what the recorded one computes.
 *
 * Evaluation is compared bit for bit. Gradients of one step differ in the order of sums and, where they are kept in 16
 * bits, by rounding: the tolerance says how much, relative to each tensor's largest gradient.
 */
#include "../../core/tape/fuse.h"
#include "../support/tiny_run.h"

#include <math.h>

typedef struct {
    dt_tape *tape;
    dt_tensor *logits, *loss;
} recorded;

static void record(tiny_run *r, int fuse, int training, recorded *out)
{
    dt_record_spec spec = r->trainer->spec;

    spec.batch = spec.step_images = spec.norm_images = 32;
    spec.training = training;
    MUST(dt_model_tape(r->model, &spec, &out->tape));
    MUST(dt_model_record(r->model, out->tape, &spec, &out->logits, &out->loss));
    if (!training) dt_tape_keep(out->tape, out->logits);
    if (fuse) MUST(dt_tape_fuse(out->tape, training));
    MUST(dt_tape_compile(out->tape, training ? out->loss : NULL));
}

/* Whatever steps were done before, it is the first batch. */
static void to_first_batch(tiny_run *r)
{
    const dt_step_in in = { .seed = 1 };
    MUST(dt_device_write(r->ctx, &r->ctx->step->in, &in, sizeof in));
}

static float *logits_of(tiny_run *r, int fuse)
{
    recorded tape_of;

    to_first_batch(r);
    record(r, fuse, 0, &tape_of);
    MUST(dt_tape_run(tape_of.tape, DT_PASS_CONSTANT, NULL, NULL));
    MUST(dt_tape_run(tape_of.tape, DT_PASS_FORWARD, NULL, NULL));
    float *logits = host_floats(r->ctx, tape_of.logits->data, 32 * 10);
    dt_tape_destroy(tape_of.tape);
    return logits;
}

/* Gradients of all parameters, in their order; the caller frees them. */
static float *gradients_of(tiny_run *r, int fuse)
{
    const int64_t n = r->model->n_trained;
    recorded tape_of;

    to_first_batch(r);
    MUST(dt_device_zero(r->ctx, r->model->dw, (size_t)n * sizeof(float)));
    record(r, fuse, 1, &tape_of);
    MUST(dt_tape_run(tape_of.tape, DT_PASS_FORWARD, NULL, NULL));
    MUST(dt_tape_run(tape_of.tape, DT_PASS_BACKWARD, NULL, NULL));
    float *dw = host_floats(r->ctx, r->model->dw, n);
    dt_tape_destroy(tape_of.tape);
    return dw;
}

/* |a - b| of a parameter's gradients, at most; of the largest |a| */
static double largest_difference(const float *a, const float *b, int64_t n)
{
    double most = 0.0, size = 1e-30;

    for (int64_t i = 0; i < n; i++) {
        most = fmax(most, fabs((double)a[i] - (double)b[i]));
        size = fmax(size, fabs((double)a[i]));
    }
    return most / size;
}

static void compare_gradients(tiny_run *r, double tolerance, const char *what)
{
    float *plain = gradients_of(r, 0), *merged = gradients_of(r, 1);

    for (int i = 0; i < r->model->n_params; i++) {
        const dt_param *p = r->model->param[i];
        if (p->group == DT_GROUP_STATE) continue;
        const double d = largest_difference(plain + p->first, merged + p->first, dt_count(&p->tensor.shape));
        cr_assert(d <= tolerance, "%s: gradient of %s differs by %g of its largest", what, p->name, d);
    }
    free(merged);
    free(plain);
}

static void compare(const tiny_options *o, int steps, double tolerance, const char *what)
{
    tiny_run r;

    if (!tiny_open(&r, o)) return;
    tiny_steps(&r, steps);
    float *plain = logits_of(&r, 0), *merged = logits_of(&r, 1);
    cr_assert(memcmp(plain, merged, 32 * 10 * sizeof *plain) == 0, "%s: logits differ, %g and %g first", what,
              (double)plain[0], (double)merged[0]);
    free(merged);
    free(plain);
    compare_gradients(&r, tolerance, what);
    tiny_close(&r);
}

static tiny_options small_vgg16(dt_precision precision)
{
    tiny_options o = tiny_defaults();
    MUST(dt_model_config_default("vgg16", &o.model));
    choose(&o.model, "choke", 16);
    o.model.abits = 2;
    o.images = 32;
    o.context.precision = precision;
    return o;
}

Test(fuse_values, vgg16_is_the_same_network)
{
    const tiny_options f32 = small_vgg16(DT_PRECISION_F32);
    compare(&f32, 1, 1e-3, "f32");
}

/* bf16 keeps 8 bits; an error of 2^-9 a value adds up over thirteen layers */
Test(fuse_values, vgg16_in_mixed_precision)
{
    const tiny_options mixed = small_vgg16(DT_PRECISION_MIXED);
    compare(&mixed, 1, 0.15, "mixed");
}

Test(fuse_values, tiny_with_every_rule)
{
    for (int rule = DT_RULE_ECE284; rule <= DT_RULE_LSQ; rule++) {
        tiny_options o = tiny_defaults();
        o.model.rule = (dt_quant_rule)rule;
        compare(&o, 3, 2e-5, dt_quant_rule_names[rule]);
    }
}

Test(fuse_values, tiny_on_cuda)
{
    tiny_options o = tiny_defaults();
    o.context.backend = "cuda";
    compare(&o, 3, 2e-5, "cuda, f32");
    o.context.precision = DT_PRECISION_MIXED;
    compare(&o, 3, 0.05, "cuda, mixed");
}

Test(fuse_values, a_float_network_is_fused_too)
{
    tiny_options o = tiny_defaults();
    o.model.wbits = o.model.abits = DT_BITS_FLOAT;
    compare(&o, 2, 2e-5, "float");
}
