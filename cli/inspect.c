/*
 * inspect.c - `detent inspect`: parameters, and for each convolution on the integer grid how large a psum can be; of a
 *             network in fixed point also the format of every tensor; with --graph the network itself. An integer
 *             program is shown where the file is one, or --engine program makes one. A capture's file is
 *             inspect_capture.c's, --cost inspect_cost.c's, and --histograms inspect_codes.c's.
 */
#include "debug.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a network in fixed point has beside its parameters. */
typedef struct {
    dt_qcaps_formats formats;
    dt_qcaps_shape shape;
    dt_qcaps_cost cost;
} fixed_point;

static dt_status measure_fixed_point(const dt_model *m, fixed_point *f)
{
    dt_qcaps_options opt;

    dt_qcaps_options_default(&opt);
    opt.published = f->formats.published;
    DT_TRY(dt_qcaps_describe(m, &f->shape));
    dt_qcaps_cost_of(&f->shape, &opt, &f->formats.bits, &f->cost);
    return DT_OK;
}

static const char *group_name(dt_param_group group)
{
    switch (group) {
    case DT_GROUP_WEIGHT: return "weight";
    case DT_GROUP_ALPHA: return "alpha";
    case DT_GROUP_STATE: return "state";
    }
    return "?";
}

static int longest(int so_far, const char *name)
{
    const int bytes = (int)strlen(name);

    return bytes > so_far ? bytes : so_far;
}

static int param_width(const dt_model *m)
{
    int width = 32;
    dt_param_info p;

    for (int i = 0; i < dt_model_n_params(m); i++) {
        dt_model_param(m, i, &p);
        width = longest(width, p.name);
    }
    return width;
}

static int layer_width(const dt_model *m)
{
    int width = 16;
    dt_layer_info l;

    for (int i = 0; i < dt_model_n_layers(m); i++) {
        dt_model_layer(m, i, &l);
        width = longest(width, l.name);
    }
    return width;
}

static void print_params(const dt_model *m)
{
    const int n = dt_model_n_params(m), width = param_width(m);
    int64_t total[3] = { 0 }; /* of each group */
    dt_param_info p;

    printf("%-*s %-14s %12s  %s\n", width, "parameter", "shape", "values", "group");
    for (int i = 0; i < n; i++) {
        dt_model_param(m, i, &p);
        printf("%-*s %-14s %12s  %s\n", width, p.name, text_shape(p.dim, p.ndim).s, text_count(p.count).s,
               group_name(p.group));
        total[p.group] += p.count;
    }
    printf("%s trained values, %s clips, %s of state\n\n", text_count(total[DT_GROUP_WEIGHT]).s,
           text_count(total[DT_GROUP_ALPHA]).s, text_count(total[DT_GROUP_STATE]).s);
}

static void print_layers(const dt_model *m)
{
    const int n = dt_model_n_layers(m), width = layer_width(m);
    int64_t macs = 0;
    int n_exact = 0;
    dt_layer_info l;

    printf("%-*s %5s %5s %12s %8s %12s %9s %6s %14s\n", width, "layer", "wbits", "abits", "output", "terms",
           "psum bound", "psum bits", "exact", "MACs/image");
    for (int i = 0; i < n; i++) {
        dt_model_layer(m, i, &l);
        printf("%-*s %5d %5d %12s %8s %12s %9d %6s %14s\n", width, l.name, l.wbits, l.abits,
               text_size(l.maps, l.height, l.width, l.filters).s, text_count(l.terms).s, text_count(l.psum_bound).s,
               l.psum_bits, l.exact_f32 ? "f32" : "int32", text_count(l.macs).s);
        macs += l.macs;
        n_exact += l.exact_f32;
    }
    printf("%d quantized layers, %s MACs an image; %d of them exact in f32 in any order (psum bound < 2^24)\n", n,
           text_count(macs).s, n_exact);
}

static void print_fixed_point(const dt_model *m, const fixed_point *f)
{
    const dt_qcaps_bits *bits = &f->formats.bits;
    dt_qcaps_tensor t;

    printf("\n%s%s; weights of %.3g MiB, %.2f times less than f32; activations %.2f times less\n",
           dt_rounding_names[f->formats.rounding],
           f->formats.published ? " of the published code, in fractional bits" : "", f->cost.memory_mib,
           f->cost.weight_reduction, f->cost.activation_reduction);
    printf("%-16s %12s %16s %13s\n", "layer", "weight bits", "activation bits", "routing bits");
    for (int i = 0; i < f->shape.n_layers; i++) {
        const dt_qcaps_layer *layer = &f->shape.layer[i];
        printf("%-16s %12d %16d %13s\n", layer->name, bits->weight[i], bits->activation[i],
               layer->routes ? text_count(bits->routing[i]).s : "none");
    }
    printf("\n%-32s %-16s %5s %14s %14s\n", "tensor", "layer", "bits", "scale", "step");
    for (int i = 0; i < f->formats.n_tensors; i++) {
        dt_qcaps_look_at(m, i, &t);
        printf("%-32s %-16s %5d %14s %14s\n", t.name, f->shape.layer[t.layer].name, t.bits, text_float(t.scale).s,
               t.step > 0.0f ? text_float(t.step).s : "powers of 2");
    }
}

static void print_floats(const char *what, const float *value, int n)
{
    printf(", %s", what);
    for (int c = 0; c < n; c++) printf(" %s", text_float(value[c]).s);
}

static void print_origin(const dt_data_origin *o, int channels)
{
    if (!o->name[0]) {
        printf("data       unknown: the file does not say what the network was trained on\n\n");
        return;
    }
    printf("data       %s: %s training images, files %s", o->name, text_count(o->n_images).s, o->fingerprint);
    print_floats("mean", o->mean, channels);
    print_floats("std", o->std, channels);
    printf("\n\n");
}

static cJSON *floats_json(const float *value, int n)
{
    cJSON *array = cJSON_CreateArray();

    for (int c = 0; c < n; c++) cJSON_AddItemToArray(array, cJSON_CreateRaw(text_float(value[c]).s));
    return array;
}

static cJSON *origin_json(const dt_data_origin *o, int channels)
{
    cJSON *out = o->name[0] ? cJSON_CreateObject() : cJSON_CreateNull();

    if (!o->name[0]) return out;
    cJSON_AddStringToObject(out, "name", o->name);
    cJSON_AddNumberToObject(out, "images", o->n_images);
    cJSON_AddStringToObject(out, "fingerprint", o->fingerprint);
    cJSON_AddItemToObject(out, "mean", floats_json(o->mean, channels));
    cJSON_AddItemToObject(out, "std", floats_json(o->std, channels));
    return out;
}

static cJSON *params_json(const dt_model *m)
{
    cJSON *array = cJSON_CreateArray();
    const int n = dt_model_n_params(m);
    dt_param_info p;

    for (int i = 0; i < n; i++) {
        cJSON *one = cJSON_CreateObject();

        dt_model_param(m, i, &p);
        cJSON_AddStringToObject(one, "name", p.name);
        cJSON *shape = cJSON_AddArrayToObject(one, "shape");
        for (int d = 0; d < p.ndim; d++) cJSON_AddItemToArray(shape, cJSON_CreateNumber((double)p.dim[d]));
        cJSON_AddNumberToObject(one, "count", (double)p.count);
        cJSON_AddStringToObject(one, "group", group_name(p.group));
        cJSON_AddItemToArray(array, one);
    }
    return array;
}

static cJSON *layers_json(const dt_model *m)
{
    cJSON *array = cJSON_CreateArray();
    const int n = dt_model_n_layers(m);
    dt_layer_info l;

    for (int i = 0; i < n; i++) {
        cJSON *one = cJSON_CreateObject();

        dt_model_layer(m, i, &l);
        cJSON_AddStringToObject(one, "name", l.name);
        cJSON_AddNumberToObject(one, "wbits", l.wbits);
        cJSON_AddNumberToObject(one, "abits", l.abits);
        cJSON_AddNumberToObject(one, "maps", l.maps);
        cJSON_AddNumberToObject(one, "height", l.height);
        cJSON_AddNumberToObject(one, "width", l.width);
        cJSON_AddNumberToObject(one, "filters", l.filters);
        cJSON_AddNumberToObject(one, "terms", (double)l.terms);
        cJSON_AddNumberToObject(one, "psum_bound", (double)l.psum_bound);
        cJSON_AddNumberToObject(one, "psum_bits", l.psum_bits);
        cJSON_AddBoolToObject(one, "exact_f32", l.exact_f32);
        cJSON_AddNumberToObject(one, "macs", (double)l.macs);
        cJSON_AddItemToArray(array, one);
    }
    return array;
}

static cJSON *bits_json(const dt_qcaps_shape *shape, const dt_qcaps_bits *bits)
{
    cJSON *array = cJSON_CreateArray();

    for (int i = 0; i < shape->n_layers; i++) {
        cJSON *one = cJSON_CreateObject();

        cJSON_AddStringToObject(one, "name", shape->layer[i].name);
        cJSON_AddNumberToObject(one, "weight_bits", bits->weight[i]);
        cJSON_AddNumberToObject(one, "activation_bits", bits->activation[i]);
        if (shape->layer[i].routes) cJSON_AddNumberToObject(one, "routing_bits", bits->routing[i]);
        cJSON_AddItemToArray(array, one);
    }
    return array;
}

static cJSON *fixed_point_json(const dt_model *m, const fixed_point *f)
{
    cJSON *out = cJSON_CreateObject();
    dt_qcaps_tensor t;

    cJSON_AddStringToObject(out, "rounding", dt_rounding_names[f->formats.rounding]);
    cJSON_AddBoolToObject(out, "published", f->formats.published);
    cJSON_AddNumberToObject(out, "memory_mib", f->cost.memory_mib);
    cJSON_AddNumberToObject(out, "weight_reduction", f->cost.weight_reduction);
    cJSON_AddNumberToObject(out, "activation_reduction", f->cost.activation_reduction);
    cJSON_AddItemToObject(out, "layers", bits_json(&f->shape, &f->formats.bits));
    cJSON *tensors = cJSON_AddArrayToObject(out, "tensors");
    for (int i = 0; i < f->formats.n_tensors; i++) {
        cJSON *one = cJSON_CreateObject();

        dt_qcaps_look_at(m, i, &t);
        cJSON_AddStringToObject(one, "name", t.name);
        cJSON_AddStringToObject(one, "layer", f->shape.layer[t.layer].name);
        cJSON_AddBoolToObject(one, "is_weight", t.is_weight);
        cJSON_AddNumberToObject(one, "bits", t.bits);
        cJSON_AddRawToObject(one, "scale", text_float(t.scale).s);
        cJSON_AddRawToObject(one, "step", text_float(t.step).s);
        cJSON_AddItemToArray(tensors, one);
    }
    return out;
}

static dt_status print_model(const settings *s, const dt_model *m)
{
    const network_text name = text_network(m);
    dt_model_info is;
    fixed_point f;
    const int is_fixed = dt_qcaps_look(m, &f.formats);

    dt_model_look(m, &is);
    if (is_fixed) DT_TRY(measure_fixed_point(m, &f));
    if (s->json) {
        cJSON *out = cJSON_CreateObject();
        cJSON_AddStringToObject(out, "model", name.s);
        cJSON_AddNumberToObject(out, "parameters", (double)dt_model_count(m));
        if (s->checkpoint) cJSON_AddItemToObject(out, "data", origin_json(dt_model_get_origin(m), is.channels));
        cJSON_AddItemToObject(out, "params", params_json(m));
        cJSON_AddItemToObject(out, "layers", layers_json(m));
        if (is_fixed) cJSON_AddItemToObject(out, "fixed_point", fixed_point_json(m, &f));
        return print_json(out);
    }
    printf("%s: %s parameters\n%s", name.s, text_count(dt_model_count(m)).s, s->checkpoint ? "" : "\n");
    if (s->checkpoint) print_origin(dt_model_get_origin(m), is.channels);
    print_params(m);
    print_layers(m);
    if (is_fixed) print_fixed_point(m, &f);
    return DT_OK;
}

/* m: the program on a tape, whose layers are those of any model. */
static dt_status print_program_layers(const settings *s, const dt_program *p, const dt_model *m)
{
    dt_program_info is;

    dt_program_describe(p, &is);
    if (s->json) {
        cJSON *out = cJSON_CreateObject();
        cJSON_AddStringToObject(out, "program", is.name);
        cJSON_AddNumberToObject(out, "n_layers", is.n_layers);
        cJSON_AddNumberToObject(out, "weight_codes", (double)is.n_weights);
        cJSON_AddNumberToObject(out, "bytes", (double)is.bytes);
        cJSON_AddItemToObject(out, "data", origin_json(&is.origin, is.channels));
        cJSON_AddItemToObject(out, "layers", layers_json(m));
        return print_json(out);
    }
    printf("%s as an integer program: %d layers, %s weight codes, %s bytes\n", is.name, is.n_layers,
           text_count(is.n_weights).s, text_count((int64_t)is.bytes).s);
    print_origin(&is.origin, is.channels);
    print_layers(m);
    return DT_OK;
}

static dt_status print_program(const settings *s, const session *o)
{
    dt_model *m;

    DT_TRY(dt_program_model(o->ctx, o->program, NULL, &m));
    const dt_status status = print_program_layers(s, o->program, m);
    dt_model_destroy(m);
    return status;
}

/* Above the table: what comes in, what comes out. */
static void print_model_head(const dt_model *m)
{
    dt_model_info is;

    dt_model_look(m, &is);
    printf("%s: images of %dx%dx%d, %d classes, %s parameters\n", text_network(m).s, is.height, is.width, is.channels,
           is.n_classes, text_count(dt_model_count(m)).s);
}

static void print_program_head(const dt_program *p)
{
    dt_program_info is;

    dt_program_describe(p, &is);
    printf("%s as an integer program: images of %dx%dx%d, %d classes, %s weight codes\n", is.name, is.height, is.width,
           is.channels, is.n_classes, text_count(is.n_weights).s);
}

static dt_status print_graph(const settings *s, const session *o)
{
    const dt_graph_form form = s->dot ? DT_GRAPH_DOT : s->json ? DT_GRAPH_FILE : DT_GRAPH_TABLE;
    char *text;

    DT_TRY(dt_graph_print(o->program ? dt_program_graph(o->program) : dt_model_graph(o->model), form, &text));
    if (form == DT_GRAPH_TABLE) {
        if (o->program)
            print_program_head(o->program);
        else
            print_model_head(o->model);
        printf("'one image' is the shape of a node's output for one image; 'values' are real, or the range of its "
               "integers\n\n");
    }
    fputs(text, stdout);
    free(text);
    return DT_OK;
}

static int has_format(const settings *s, const char *wanted)
{
    char format[VALUE_BYTES];

    return s->checkpoint && dt_file_format(s->checkpoint, format, sizeof format) == DT_OK &&
           strcmp(format, wanted) == 0;
}

/* A program, or a model. Loading the checkpoint too finds a file that is cut short or does not fit its own
 * description. */
static dt_status open_network(const settings *s, session *o)
{
    int is_program = s->engine == ENGINE_PROGRAM;

    DT_CHECK(s->engine != ENGINE_ARRAY, DT_ERR_ARGUMENT,
             "--engine array: an array runs the nodes of the program; --engine program shows them");
    if (s->checkpoint && !is_program) DT_TRY(session_holds_program(s, &is_program));
    if (is_program) return session_open_program(s, o);
    if (s->checkpoint) return session_open_checkpoint(s, o);
    DT_TRY(session_open_context(s, o));
    return session_create_model(s, &s->model, o);
}

static dt_status print_network(const settings *s, const session *o)
{
    if (s->graph || s->dot) return print_graph(s, o);
    if (s->cost) return inspect_cost(s, o);
    if (s->histograms) return inspect_codes(s, o);
    return o->program ? print_program(s, o) : print_model(s, o->model);
}

/* At most one of what it shows is asked for, and files are written of what has them. */
static dt_status check_shown(const settings *s)
{
    const int has_tables = s->debug_quant || s->compare || s->sensitivity;
    const int n = (s->tensors || s->diff) + !!s->compare + s->debug_quant + s->sensitivity + (s->graph || s->dot) +
                  s->cost + s->histograms;

    DT_CHECK(
        n <= 1, DT_ERR_ARGUMENT,
        "--tensors or --diff, --graph, --cost, --histograms, --debug-quant, --compare, --sensitivity: one of them, "
        "please");
    DT_CHECK(!s->csv || (has_tables && !s->compare), DT_ERR_ARGUMENT,
             "--csv %s: --debug-quant and --sensitivity have a table to write", s->csv);
    DT_CHECK(!s->html || has_tables, DT_ERR_ARGUMENT,
             "--html %s: --debug-quant, --compare and --sensitivity have charts", s->html);
    return DT_OK;
}

dt_status inspect_run(const settings *s, int *exit_code)
{
    session o = { 0 };
    settings on_cpu = *s;

    *exit_code = EXIT_GOOD;
    DT_TRY(check_shown(s));
    on_cpu.device = 1; /* nothing is computed, or little */
    if (s->tensors || s->diff) return inspect_tensors(s);
    if (s->compare) return inspect_compare(&on_cpu);
    if (s->debug_quant) return inspect_debug(&on_cpu);
    if (s->sensitivity) return inspect_sensitivity(&on_cpu);
    if (has_format(s, "detent-capture")) return inspect_capture(s);
    dt_status status = open_network(&on_cpu, &o);
    if (status == DT_OK) status = print_network(s, &o);
    session_close(&o);
    return status;
}
