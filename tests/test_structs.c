/*
 * test_structs.c - a public structure that was zeroed and never filled, or holds no value of an enumeration, is
 *                  DT_ERR_ARGUMENT with a text that names the field; it is never a crash.
 */
#include <limits.h>
#include <string.h>

#include "support/tiny_run.h"

/* What the rows work on: a run whose structures are right. */
static tiny_run ready;

enum { WRONG = 9 };

static dt_status try_options(dt_options o)
{
    dt_context *ctx = NULL;
    const dt_status status = dt_context_create(&o, &ctx);
    dt_context_destroy(ctx);
    return status;
}

static dt_options right_options(void)
{
    dt_options o;
    dt_options_default(&o);
    o.backend = "cpu";
    return o;
}

static dt_status zero_options(void)
{
    return try_options((dt_options){ 0 });
}

static dt_status wrong_precision(void)
{
    dt_options o = right_options();
    o.precision = (dt_precision)WRONG;
    return try_options(o);
}

static dt_status negative_precision(void)
{
    dt_options o = right_options();
    o.precision = (dt_precision)-1;
    return try_options(o);
}

static dt_status try_dataset(dt_dataset_options o)
{
    dt_dataset *d = NULL;
    const dt_status status = dt_dataset_open(&o, &d);
    dt_dataset_close(d);
    return status;
}

static dt_status zero_dataset(void)
{
    return try_dataset((dt_dataset_options){ 0 });
}

static dt_status wrong_split(void)
{
    return try_dataset((dt_dataset_options){ .name = "synthetic", .split = (dt_split)WRONG });
}

static dt_status find_nothing(void)
{
    char found[100];
    return dt_dataset_find(NULL, NULL, DT_SPLIT_TRAIN, found, sizeof found);
}

static dt_status find_wrong_split(void)
{
    char found[100];
    return dt_dataset_find("mnist", NULL, (dt_split)WRONG, found, sizeof found);
}

static dt_status try_model(dt_model_config c)
{
    dt_model *m = NULL;
    const dt_status status = dt_model_create(ready.ctx, &c, &m);
    dt_model_destroy(m);
    return status;
}

static dt_model_config right_model(const char *name)
{
    dt_model_config c;
    MUST(dt_model_config_default(name, &c));
    return c;
}

static dt_status zero_model(void)
{
    return try_model((dt_model_config){ 0 });
}

static dt_status only_a_name(void)
{
    return try_model((dt_model_config){ .name = "tiny" });
}

static dt_status wrong_rule(void)
{
    dt_model_config c = right_model("tiny");
    c.rule = (dt_quant_rule)WRONG;
    return try_model(c);
}

static dt_status wrong_decoder(void)
{
    dt_model_config c = right_model("tiny");
    return dt_model_option(&c, "decoder", WRONG);
}

static dt_status wrong_decoder_of_capsules(void)
{
    dt_model_config c = right_model("shallowcaps");
    return dt_model_option(&c, "decoder", WRONG);
}

static dt_status wrong_option(void)
{
    dt_model_config c = right_model("shallowcaps");
    for (int i = 0; i < DT_NETWORK_OPTIONS; i++) c.option[i] = WRONG;
    return try_model(c);
}

static dt_status option_of_nothing(void)
{
    dt_model_config c = { 0 };
    return dt_model_option(&c, "choke", 8);
}

static dt_status option_without_a_name(void)
{
    dt_model_config c = right_model("vgg16");
    return dt_model_option(&c, NULL, 8);
}

static dt_status default_of_nothing(void)
{
    dt_model_config c;
    return dt_model_config_default(NULL, &c);
}

static dt_status try_trainer(dt_train_config c)
{
    dt_trainer *t = NULL;
    const dt_status status = dt_trainer_create(ready.model, ready.data, &c, &t);
    dt_trainer_destroy(t);
    return status;
}

static dt_status zero_training(void)
{
    return try_trainer((dt_train_config){ 0 });
}

static dt_status wrong_optim(void)
{
    dt_train_config c = *dt_trainer_get_config(ready.trainer);
    c.optim = (dt_optim_kind)WRONG;
    return try_trainer(c);
}

static dt_status wrong_schedule(void)
{
    dt_train_config c = *dt_trainer_get_config(ready.trainer);
    c.schedule = (dt_schedule_kind)WRONG;
    return try_trainer(c);
}

static dt_array right_array(void)
{
    dt_array a;
    dt_array_default(&a);
    return a;
}

static dt_status zero_array(void)
{
    const dt_array a = { 0 };
    return dt_array_check(&a);
}

static dt_status wrong_dataflow(void)
{
    dt_array a = right_array();
    a.dataflow = (dt_dataflow)WRONG;
    return dt_array_check(&a);
}

static dt_status wrong_overflow(void)
{
    dt_array a = right_array();
    a.overflow = (dt_overflow)-1;
    return dt_array_check(&a);
}

static dt_status verify_with_zero_array(void)
{
    const dt_array a = { 0 };
    dt_verify_report *r = NULL;
    const dt_status status = dt_verify(ready.model, ready.data, 0, 2, NULL, &a, NULL, &r);
    dt_verify_report_destroy(r);
    return status;
}

static dt_status wrong_layout(void)
{
    const dt_array a = right_array();
    const dt_vector_style style = { (dt_layout)WRONG, DT_HEADER_OF_LAYOUT };
    dt_capture *c = NULL;
    MUST(dt_capture_layer(ready.model, ready.data, 0, 2, "features.4", &c));
    const dt_status status = dt_vectors_save(c, "features.4", &a, &style, "/nowhere", NULL);
    dt_capture_destroy(c);
    return status;
}

static const dt_qcaps_shape one_layer = { .n_layers = 1, .n_input = 4, .layer = { { "conv", 10, 10, 0 } } };

static dt_status plan_with(dt_qcaps_options o, const dt_qcaps_shape *shape)
{
    dt_qcaps_bits bits;
    return dt_qcaps_allot(shape, &o, 8, &bits);
}

static dt_status zero_qcaps_options(void)
{
    return plan_with((dt_qcaps_options){ 0 }, &one_layer);
}

static dt_status zero_qcaps_shape(void)
{
    const dt_qcaps_shape none = { 0 };
    dt_qcaps_options o;
    dt_qcaps_options_default(&o);
    return plan_with(o, &none);
}

static dt_status wrong_rounding(void)
{
    dt_qcaps_options o;
    dt_qcaps_options_default(&o);
    o.rounding = (dt_rounding)WRONG;
    return plan_with(o, &one_layer);
}

static dt_status quantize_with(dt_rounding rounding, int batch, int bits_of_all)
{
    const dt_dataset_options data = {
        .name = "synthetic", .split = DT_SPLIT_TEST, .limit = 2, .height = 28, .width = 28, .resize = 1
    };
    dt_model_config c = right_model("shallowcaps");
    dt_qcaps_options o;
    dt_qcaps_bits bits;
    dt_dataset *d;
    dt_model *m, *q = NULL;

    c.channels = 3;
    dt_qcaps_options_default(&o);
    o.rounding = rounding;
    o.batch = batch;
    for (int l = 0; l < DT_QCAPS_LAYERS; l++) bits.weight[l] = bits.activation[l] = bits.routing[l] = bits_of_all;
    MUST(dt_dataset_open(&data, &d));
    MUST(dt_model_create(ready.ctx, &c, &m));
    const dt_status status = dt_qcaps_quantize(m, d, &o, &bits, &q);
    dt_model_destroy(q);
    dt_model_destroy(m);
    dt_dataset_close(d);
    return status;
}

static dt_status quantize_by_wrong_rounding(void)
{
    return quantize_with((dt_rounding)WRONG, 2, 8);
}

static dt_status quantize_in_empty_batches(void)
{
    return quantize_with(DT_ROUND_NEAREST, 0, 8);
}

static dt_status quantize_to_zero_bits(void)
{
    return quantize_with(DT_ROUND_NEAREST, 2, 0);
}

static const struct {
    const char *why;
    dt_status (*call)(void);
    const char *field; /* in the text */
} rows[] = {
    { "dt_options, zeroed", zero_options, "backend" },
    { "dt_options.precision", wrong_precision, "precision" },
    { "dt_options.precision, negative", negative_precision, "precision" },
    { "dt_dataset_options, zeroed", zero_dataset, "no dataset is named" },
    { "dt_dataset_options.split", wrong_split, "split" },
    { "dt_dataset_find without a name", find_nothing, "no dataset is named" },
    { "dt_dataset_find, split", find_wrong_split, "split" },
    { "dt_model_config, zeroed", zero_model, "name" },
    { "dt_model_config, only a name", only_a_name, "wbits" },
    { "dt_model_config.rule", wrong_rule, "rule" },
    { "dt_model_option, of another network", wrong_decoder, "tiny has no option decoder" },
    { "dt_model_option, no such word", wrong_decoder_of_capsules, "decoder is 9, allowed are 0 (none) to 3 (conv64)" },
    { "dt_model_config.option", wrong_option, "routing-iterations is 9" },
    { "dt_model_option, zeroed", option_of_nothing, "model" },
    { "dt_model_option, no name", option_without_a_name, "vgg16 has no option" },
    { "dt_model_config_default without a name", default_of_nothing, "model" },
    { "dt_train_config, zeroed", zero_training, "batch" },
    { "dt_train_config.optim", wrong_optim, "optim" },
    { "dt_train_config.schedule", wrong_schedule, "schedule" },
    { "dt_array, zeroed", zero_array, "rows" },
    { "dt_array.dataflow", wrong_dataflow, "dataflow" },
    { "dt_array.overflow", wrong_overflow, "overflow" },
    { "dt_verify with a zeroed array", verify_with_zero_array, "rows" },
    { "dt_layout", wrong_layout, "layout" },
    { "dt_qcaps_options, zeroed", zero_qcaps_options, "budget" },
    { "dt_qcaps_shape, zeroed", zero_qcaps_shape, "layers" },
    { "dt_qcaps_options.rounding", wrong_rounding, "rounding" },
    { "dt_qcaps_options.rounding, quantize", quantize_by_wrong_rounding, "rounding" },
    { "dt_qcaps_options.batch, quantize", quantize_in_empty_batches, "batch" },
    { "dt_qcaps_bits, zeroed", quantize_to_zero_bits, "bits" },
};

Test(structs, what_was_not_filled_is_refused_by_name, .timeout = 120)
{
    tiny_options o = tiny_defaults();
    cr_assert(tiny_open(&ready, &o));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const dt_status got = rows[i].call();
        cr_expect(got == DT_ERR_ARGUMENT, "%s: %s", rows[i].why, dt_status_name(got));
        cr_expect(got == DT_OK || strstr(dt_last_error(), rows[i].field), "%s: '%s' does not name %s", rows[i].why,
                  dt_last_error(), rows[i].field);
    }
    tiny_close(&ready);
}

/* A progress without a function is none. */
Test(structs, a_zeroed_progress_is_silent)
{
    const dt_progress none = { 0 };
    tiny_options o = tiny_defaults();
    dt_metrics m;
    cr_assert(tiny_open(&ready, &o));
    MUST(dt_evaluate(ready.model, ready.data, 32, 0.0f, &none, NULL, &m));
    cr_assert_eq(m.images, o.images);
    tiny_close(&ready);
}
