/*
 * study_plan.c - the versions of the study's networks, and the commands that make and measure each. See study.h.
 *
 * A version before pruning is trained; one after pruning comes from it in two steps of 'prune', each with training; a
 * final one comes from that by 'factorize' and training. Of each version there are then, quantized after training and
 * trained with quantizers: the network of reals, dynamic ranges, int8; their files for TensorFlow Lite; what they
 * score.
 */
#include "study.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* ---- building commands ---- */

/* What a version's commands are made of. */
typedef struct {
    study_plan *plan;
    study_chain *chain;
    const settings *s;
    const study_version *v;
    const study_size *size;
    char folder[PATH_BYTES];     /* of the version */
    char from[PATH_BYTES];       /* of the version that it comes from */
    char inputs[2 * PATH_BYTES]; /* file of normalised samples; "": there is none yet */
} maker;

static void fail(maker *m, const char *what)
{
    if (m->plan->status == DT_OK)
        m->plan->status = dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory for the commands of %s", what);
}

/* A copy of a text that is printed. */
static char *text_of(maker *m, const char *format, va_list list)
{
    char *text = NULL;

    if (vasprintf(&text, format, list) < 0) {
        fail(m, format);
        return NULL;
    }
    return text;
}

__attribute__((format(printf, 2, 3))) static char *path_of(maker *m, const char *format, ...)
{
    va_list list;

    va_start(list, format);
    char *const text = text_of(m, format, list);
    va_end(list);
    return text;
}

/* Adds an argument to the newest command. */
__attribute__((format(printf, 2, 3))) static void arg(maker *m, const char *format, ...)
{
    va_list list;

    if (m->plan->status != DT_OK) return;
    study_job *j = &m->chain->job[m->chain->n - 1];
    char **more = realloc(j->arg, (size_t)(j->n + 2) * sizeof *more);
    if (!more) {
        fail(m, format);
        return;
    }
    j->arg = more;
    va_start(list, format);
    j->arg[j->n] = text_of(m, format, list);
    va_end(list);
    if (j->arg[j->n]) j->arg[++j->n] = NULL;
}

static void args(maker *m, const char *const *text)
{
    for (; *text; text++) arg(m, "%s", *text);
}

/* Room for one more command; 0: there is none. */
static int grow(maker *m)
{
    study_chain *c = m->chain;
    const int room = c->room ? 2 * c->room : 64;

    if (c->n < c->room) return 1;
    study_job *more = realloc(c->job, (size_t)room * sizeof *more);
    if (!more) return 0;
    c->job = more;
    c->room = room;
    return 1;
}

/* Begins a command of the name `name` in the folder. */
static void job(maker *m, const char *folder, const char *name, const char *subcommand)
{
    static const char *const stages[] = { "before pruning", "after pruning", "final" };
    const study_version *v = m->v;

    if (!grow(m)) fail(m, name);
    if (m->plan->status != DT_OK) return;
    m->chain->job[m->chain->n++] = (study_job){
        .what = v ? path_of(m, "%s %s, %s %s: %s", study_model_names[v->model], v->is_fat ? "fat" : "lean",
                            stages[v->stage], v->folder, name)
                  : path_of(m, "%s", name),
        .output = path_of(m, "%s/%s.out", folder, name),
        .mark = path_of(m, "%s/%s.done", folder, name),
    };
    arg(m, "%s", subcommand);
}

static const char *data_of(const maker *m)
{
    return m->v->model == 0 ? m->s->study_windows : m->s->study_beats;
}

static void data_args(maker *m)
{
    arg(m, "--dataset");
    arg(m, "%s", data_of(m));
    if (m->s->data_dir) {
        arg(m, "--data");
        arg(m, "%s", m->s->data_dir);
    }
}

static void device_args(maker *m)
{
    arg(m, "--threads");
    arg(m, "%d", m->s->threads > 0 ? m->s->threads : 1);
    arg(m, "--seed");
    arg(m, "%llu", (unsigned long long)m->s->seed);
}

static void test_args(maker *m)
{
    data_args(m);
    arg(m, "--test-size");
    arg(m, "%d", m->size->test);
    device_args(m);
}

/* ---- training ---- */

/* How a network is trained. */
typedef struct {
    const char *name;
    int epochs;
    double lr;
    int with_quantizers;
} training;

/* Trains the network of the newest file into folder/run. */
static void train(maker *m, const char *folder, const char *model, const training *t)
{
    static const char *const all[] = { "--optim",        "adam", "--label-smoothing", "0",
                                       "--weight-decay", "0",    "--quiet",           NULL };
    static const char *const real[] = { "--wbits", "float", "--abits", "float", NULL };
    static const char *const codes[] = { "--quant-rule", "affine", "--ranges",      "average", "--wbits", "8",
                                         "--abits",      "8",      "--per-channel", NULL };

    job(m, folder, t->name, "train");
    if (m->plan->status == DT_OK) m->chain->job[m->chain->n - 1].run = path_of(m, "%s/run-%s", folder, t->name);
    arg(m, "--model");
    arg(m, "%s", model);
    args(m, t->with_quantizers ? codes : real);
    arg(m, "--train-size");
    arg(m, "%d", m->size->train);
    arg(m, "--batch");
    arg(m, "%d", m->size->batch);
    arg(m, "--epochs");
    arg(m, "%d", t->epochs);
    arg(m, "--lr");
    arg(m, "%g", t->lr);
    args(m, all);
    test_args(m);
    arg(m, "--out");
    arg(m, "%s/run-%s", folder, t->name);
}

static void prune(maker *m, const char *name, const char *checkpoint, double share)
{
    job(m, m->folder, name, "prune");
    arg(m, "--checkpoint");
    arg(m, "%s", checkpoint);
    arg(m, "--share");
    arg(m, "%.4f", share);
    arg(m, "--of-parameters");
    arg(m, "--out");
    arg(m, "%s/%s.safetensors", m->folder, name);
}

/* In two steps, which leave the same share of the parameters each. */
static void make_pruned(maker *m)
{
    const double share = 1.0 - sqrt(1.0 - strtod(m->v->change, NULL));
    const training half = { "tune-half", (m->size->tune_epochs + 1) / 2, m->size->lr, 0 };
    const training tune = { "train", m->size->tune_epochs, m->size->lr, 0 };
    char path[2 * PATH_BYTES];

    snprintf(path, sizeof path, "%s/run-train/best.safetensors", m->from);
    prune(m, "half-pruned", path, share);
    snprintf(path, sizeof path, "%s/half-pruned.safetensors", m->folder);
    train(m, m->folder, path, &half);
    snprintf(path, sizeof path, "%s/run-tune-half/best.safetensors", m->folder);
    prune(m, "pruned", path, share);
    snprintf(path, sizeof path, "%s/pruned.safetensors", m->folder);
    train(m, m->folder, path, &tune);
}

static void make_factorised(maker *m)
{
    const training tune = { "train", m->size->tune_epochs, m->size->lr / 2.0, 0 };
    char path[2 * PATH_BYTES];

    job(m, m->folder, "factorised", "factorize");
    arg(m, "--checkpoint");
    arg(m, "%s/run-train/best.safetensors", m->from);
    arg(m, "--ranks");
    arg(m, "%s", m->v->change);
    arg(m, "--out");
    arg(m, "%s/factorised.safetensors", m->folder);
    snprintf(path, sizeof path, "%s/factorised.safetensors", m->folder);
    train(m, m->folder, path, &tune);
}

static void make_trained(maker *m)
{
    const training first = { "train", m->size->epochs, m->size->lr, 0 };
    char path[2 * PATH_BYTES];

    snprintf(path, sizeof path, "%s/%s.json", m->s->study_models, study_network_files[m->v->model][m->v->is_fat]);
    train(m, m->folder, path, &first);
}

/* ---- quantizing, handing over, measuring ---- */

static void quantize(maker *m, const char *folder, const char *checkpoint, const char *scheme)
{
    const int is_wide = strcmp(scheme, "wide") == 0; /* full, with a range for the image */

    job(m, folder, scheme, "quantize");
    arg(m, "--checkpoint");
    arg(m, "%s", checkpoint);
    arg(m, "--scheme");
    arg(m, "%s", is_wide ? "full" : scheme);
    arg(m, "--out");
    arg(m, "%s/%s.safetensors", folder, scheme);
    if (is_wide) {
        arg(m, "--ranges");
        arg(m, "%s/wide.json", m->s->out);
    } else if (strcmp(scheme, "full") != 0) {
        return;
    }
    arg(m, "--images");
    arg(m, "100");
    data_args(m);
    device_args(m);
}

static void export_file(maker *m, const char *folder, const char *checkpoint, const char *what)
{
    char name[VALUE_BYTES];

    snprintf(name, sizeof name, "export-%s", what);
    job(m, folder, name, "export");
    arg(m, "--checkpoint");
    arg(m, "%s", checkpoint);
    arg(m, "--to");
    arg(m, "tflite");
    if (strlen(what) == 3 && strcmp(what, "drq") != 0) { /* f32, int8's i8, uint8's u8 */
        arg(m, "--io");
        arg(m, "%s", what[0] == 'f' ? "f32" : what[0] == 'i' ? "i8" : "u8");
    }
    arg(m, "--out");
    arg(m, "%s/%s_%s.tflite", folder, m->v->file, what);
}

/* extra: an option and its value, or NULL. */
static void evaluate(maker *m, const char *folder, const char *name, const char *checkpoint, const char *const *extra)
{
    job(m, folder, name, "eval");
    arg(m, "--checkpoint");
    arg(m, "%s", checkpoint);
    arg(m, "--json");
    test_args(m);
    if (extra) args(m, extra);
}

/* The normalised samples, as the first layer's quantizer reads them: all versions of a chain read the same. */
static void capture_inputs(maker *m, const char *folder, const char *checkpoint)
{
    job(m, folder, "inputs", "capture");
    arg(m, "--checkpoint");
    arg(m, "%s", checkpoint);
    arg(m, "--layer");
    arg(m, "conv1");
    arg(m, "--index");
    arg(m, "0:%d", STUDY_COMPARED);
    arg(m, "--out");
    snprintf(m->inputs, sizeof m->inputs, "%s/inputs.safetensors", folder);
    arg(m, "%s", m->inputs);
    test_args(m);
}

/* Whether files whose input and output have other types predict the same. */
static void compare_types(maker *m, const char *folder, const char *what)
{
    char name[VALUE_BYTES];

    snprintf(name, sizeof name, "same-%s", what);
    job(m, folder, name, "compare");
    arg(m, "--checkpoint");
    arg(m, "%s/%s_%s.tflite", folder, m->v->file, what);
    arg(m, "--with");
    arg(m, "%s/%s_f32.tflite", folder, m->v->file);
    arg(m, "--inputs");
    arg(m, "%s:input_float", m->inputs);
    arg(m, "--json");
}

static void debug(maker *m, const char *folder, const char *checkpoint)
{
    job(m, folder, "debug", "inspect");
    arg(m, "--debug-quant");
    arg(m, "--checkpoint");
    arg(m, "%s", checkpoint);
    arg(m, "--csv");
    arg(m, "%s/debug.csv", folder);
    arg(m, "--images");
    arg(m, "20");
    data_args(m);
}

/* How the image becomes codes: rounded, and cast to int8 and to uint8. */
static const char *const image_args[][5] = { { "--profile", "litert-ref", NULL },
                                             { "--profile", "litert-ref", "--io-cast", "truncate-i8", NULL },
                                             { "--profile", "litert-ref", "--io-cast", "truncate-u8", NULL } };

/* The network of reals, dynamic ranges and int8 of a folder. */
static void measure(maker *m, const char *folder, const char *int8)
{
    char real[2 * PATH_BYTES], drq[2 * PATH_BYTES];

    snprintf(real, sizeof real, "%s/float.safetensors", folder);
    snprintf(drq, sizeof drq, "%s/drq.safetensors", folder);
    export_file(m, folder, real, "float");
    export_file(m, folder, drq, "drq");
    export_file(m, folder, int8, "f32");
    export_file(m, folder, int8, "i8");
    export_file(m, folder, int8, "u8");
    evaluate(m, folder, "eval-float", real, NULL);
    evaluate(m, folder, "eval-drq", drq, NULL);
    evaluate(m, folder, "eval-int8", int8, image_args[0]);
    evaluate(m, folder, "eval-truncate-i8", int8, image_args[1]);
    evaluate(m, folder, "eval-truncate-u8", int8, image_args[2]);
    if (m->inputs[0] == '\0') capture_inputs(m, folder, int8);
    compare_types(m, folder, "i8");
    compare_types(m, folder, "u8");
    debug(m, folder, int8);
}

static void quantize_and_measure(maker *m)
{
    const training qat = { "train", m->size->qat_epochs, m->size->lr / 5.0, 1 };
    char path[2 * PATH_BYTES], folder[PATH_BYTES + 8];

    snprintf(path, sizeof path, "%s/run-train/best.safetensors", m->folder);
    quantize(m, m->folder, path, "float");
    quantize(m, m->folder, path, "drq");
    quantize(m, m->folder, path, "full");
    snprintf(path, sizeof path, "%s/full.safetensors", m->folder);
    measure(m, m->folder, path);

    snprintf(folder, sizeof folder, "%s/QAT", m->folder);
    snprintf(path, sizeof path, "%s/float.safetensors", m->folder);
    train(m, folder, path, &qat);
    snprintf(path, sizeof path, "%s/run-train/best.safetensors", folder);
    quantize(m, folder, path, "float");
    quantize(m, folder, path, "drq");
    measure(m, folder, path);
}

/* ---- the whole ---- */

static void plan_version(maker *m, const study_version *v)
{
    m->v = v;
    study_folder(m->s->out, v, m->folder);
    if (v->stage == STAGE_BEFORE) make_trained(m);
    if (v->stage == STAGE_AFTER) make_pruned(m);
    if (v->stage == STAGE_FINAL) make_factorised(m);
    quantize_and_measure(m);
    if (v->stage != STAGE_FINAL) snprintf(m->from, sizeof m->from, "%s", m->folder);
}

/* All versions of a model that are lean, or fat, in the order in which they come from each other. */
static void plan_chain(study_plan *p, const settings *s, int model, int is_fat)
{
    maker m = {
        .plan = p, .chain = &p->chain[2 * model + is_fat], .s = s, .size = &study_sizes[!s->study_quick][model][is_fat]
    };

    for (int stage = STAGE_BEFORE; stage <= STAGE_FINAL; stage++) {
        for (int i = 0; i < STUDY_VERSIONS; i++) {
            const study_version *v = &study_versions[i];
            if (v->model == model && v->is_fat == is_fat && v->stage == (study_stage)stage) plan_version(&m, v);
        }
    }
}

/* A page of the layers' errors of some versions of a model. */
static void plan_page(maker *m, int model, int of_finals)
{
    char name[VALUE_BYTES], list[6 * PATH_BYTES] = "", folder[PATH_BYTES];
    size_t used = 0;

    m->v = NULL;
    snprintf(name, sizeof name, "layers-%s%s", study_model_names[model], of_finals ? "-final" : "");
    for (int i = 0; i < STUDY_VERSIONS; i++) {
        const study_version *v = &study_versions[i];
        if (v->model != model || (v->stage == STAGE_FINAL) != of_finals) continue;
        study_folder(m->s->out, v, folder);
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s/debug.csv", used ? "," : "", folder);
    }
    job(m, m->s->out, name, "inspect");
    arg(m, "--compare");
    arg(m, "%s", list);
    arg(m, "--html");
    arg(m, "%s/%s.html", m->s->out, name);
}

/* What the truncating cast costs where the range of the input is many times the signal: the lean SmartWatch, whose
 * image is given such a range. */
static void plan_wide_range(maker *m)
{
    static const char *const name[] = { "eval-wide", "eval-wide-truncate-i8", "eval-wide-truncate-u8" };
    char path[2 * PATH_BYTES];

    m->v = &study_versions[2];
    m->size = &study_sizes[!m->s->study_quick][0][0];
    study_folder(m->s->out, m->v, m->folder);
    snprintf(path, sizeof path, "%s/run-train/best.safetensors", m->folder);
    quantize(m, m->folder, path, "wide");
    snprintf(path, sizeof path, "%s/wide.safetensors", m->folder);
    for (int i = 0; i < 3; i++) evaluate(m, m->folder, name[i], path, image_args[i]);
}

dt_status study_plan_make(const settings *s, study_plan *out)
{
    maker end = { .plan = out, .chain = &out->end, .s = s };

    *out = (study_plan){ .status = DT_OK };
    for (int i = 0; i < STUDY_CHAINS; i++) plan_chain(out, s, i / 2, i % 2);
    for (int i = 0; i < 2 * STUDY_MODELS; i++) plan_page(&end, i / 2, i % 2);
    plan_wide_range(&end);
    return out->status;
}

static void chain_free(study_chain *c)
{
    for (int i = 0; i < c->n; i++) {
        for (int k = 0; k < c->job[i].n; k++) free(c->job[i].arg[k]);
        free(c->job[i].arg);
        free(c->job[i].what);
        free(c->job[i].output);
        free(c->job[i].mark);
        free(c->job[i].run);
    }
    free(c->job);
}

void study_plan_free(study_plan *p)
{
    for (int i = 0; i < STUDY_CHAINS; i++) chain_free(&p->chain[i]);
    chain_free(&p->end);
}
