/*
 * search_report.c - what `detent search` prints: a line for each trial, the networks at the end, the plan.
 */
#include "search.h"

#include <stdio.h>

enum { BITS_BYTES = 4 * DT_QCAPS_LAYERS };

/* "7,6,5"; routing: of the layers that route. */
static void format_bits(const dt_qcaps_shape *shape, const int *bits, int only_routing, char *text)
{
    int used = 0;

    *text = '\0';
    for (int l = 0; l < shape->n_layers; l++) {
        if (only_routing && shape->layer[l].routes == 0) continue;
        used += snprintf(text + used, BITS_BYTES - (size_t)used, "%s%d", used ? "," : "", bits[l]);
    }
}

typedef struct {
    char weight[BITS_BYTES], activation[BITS_BYTES], routing[BITS_BYTES];
} bits_text;

static bits_text text_bits(const dt_qcaps_shape *shape, const dt_qcaps_bits *b)
{
    bits_text t;

    format_bits(shape, b->weight, 0, t.weight);
    format_bits(shape, b->activation, 0, t.activation);
    format_bits(shape, b->routing, 1, t.routing);
    return t;
}

/* Of the column of bits: "32," for each. */
static int bits_width(const dt_qcaps_shape *shape)
{
    const int width = 3 * shape->n_layers;
    return width > 12 ? width : 12;
}

static int64_t weights_of(const dt_qcaps_shape *shape)
{
    int64_t sum = 0;

    for (int l = 0; l < shape->n_layers; l++) sum += shape->layer[l].n_weights;
    return sum;
}

static const char *unit_of(const settings *s)
{
    return s->qcaps.published ? "MB" : "MiB";
}

/* Of so many weights, in the unit of the budget. */
static double memory_of(const settings *s, int64_t n_weights, int bits)
{
    return (double)(n_weights * bits) / (s->qcaps.published ? 8e6 : 8.0 * 1024.0 * 1024.0);
}

static double memory_in_unit(const settings *s, const dt_qcaps_cost *cost)
{
    return s->qcaps.published ? cost->memory_mib * 1.048576 : cost->memory_mib;
}

static void print_bits_meaning(const settings *s)
{
    if (s->qcaps.published) printf("bits are those after the point; with the sign a word has one more\n");
}

static trial_table table_of(const search *r)
{
    const int width = bits_width(&r->shape);

    return (trial_table){ .text = { { "weights", width }, { "activations", width }, { "routing", width } },
                          .n_texts = 3,
                          .size = { unit_of(r->s), 8 } };
}

void report_search_begin(const search *r, int trained_on_tune)
{
    const settings *s = r->s;
    const trial_table table = table_of(r);
    const int64_t n_weights = weights_of(&r->shape);

    printf("model      %s: %s weights, %.2f %s\n", text_network(r->o.model).s, text_count(n_weights).s,
           memory_of(s, n_weights, 32), unit_of(s));
    printf("data       %s: %s %s images decide, %s test images\n", session_dataset(s, r->o.model),
           text_count(r->n_tune).s, tune_words[s->tune_on], text_count(r->n_test).s);
    printf("device     %s: %s\n", dt_context_backend(r->o.ctx), dt_context_device(r->o.ctx));
    print_fallback(r->o.ctx);
    printf("search     %s, %s, %s; tolerance %g %%, budget %g %s\n", method_words[s->method],
           compat_words[s->qcaps.published], dt_rounding_names[s->qcaps.rounding], (double)s->qcaps.accuracy_tolerance,
           (double)s->qcaps.memory_budget, unit_of(s));
    print_bits_meaning(s);
    if (trained_on_tune) {
        printf("note: the network was trained on these images; --tune-on test or train with --val-size for a fair "
               "choice\n");
    }
    trial_table_head(&table);
}

void report_trial(const search *r, const dt_qcaps_trial *t, const trial_row *row)
{
    const trial_table table = table_of(r);
    const bits_text bits = text_bits(&r->shape, &t->bits);
    const char *const texts[] = { bits.weight, bits.activation, bits.routing };
    dt_qcaps_cost cost;
    short_text size;

    dt_qcaps_cost_of(&r->shape, &r->opt, &t->bits, &cost);
    snprintf(size.s, sizeof size.s, "%.3f", memory_in_unit(r->s, &cost));
    trial_table_line(&table, row, texts, size.s, 0);
}

static void print_found(const search *r, const found_network *f)
{
    const int width = bits_width(&r->shape);
    const bits_text bits = text_bits(&r->shape, &f->outcome->bits);

    printf("%-10s %7.2f %% %7.2f %% %8.3f %8.2fx %8.2fx  %-*s %-*s %s\n", f->name, f->outcome->accuracy,
           100.0 * f->test_accuracy, memory_in_unit(r->s, &f->cost), f->cost.weight_reduction,
           f->cost.activation_reduction, width, bits.weight, width, bits.activation, bits.routing);
}

void report_search_end(const search *r)
{
    const int width = bits_width(&r->shape);

    printf("\n%d trials; the tolerance asks for %.2f %%, step 1 found %d bits\n", r->result.n_trials,
           r->result.min_accuracy, r->result.uniform_bits);
    printf("%-10s %9s %9s %8s %9s %9s  %-*s %-*s %s\n", "outcome", tune_words[r->s->tune_on], "test", unit_of(r->s),
           "W reduced", "A reduced", width, "weights", width, "activations", "routing");
    printf("%-10s %7.2f %% %7.2f %% %8.3f\n", "full", r->result.full_accuracy, 100.0 * r->full_test_accuracy,
           memory_of(r->s, weights_of(&r->shape), 32));
    for (int i = 0; i < r->n_found; i++) print_found(r, &r->found[i]);
    if (r->n_found == 0) printf("no bits meet the tolerance or the budget\n");
    for (int i = 0; i < r->n_found; i++) printf("saved      %s\n", r->found[i].path);
}

void report_plan(const settings *s, const dt_model *m, const dt_qcaps_shape *shape, const dt_qcaps_bits *bits)
{
    const int word = s->qcaps.published; /* the sign's bit is not among the bits */
    dt_qcaps_cost cost;
    dt_model_info is;

    dt_model_look(m, &is);
    dt_qcaps_cost_of(shape, &s->qcaps, bits, &cost);
    printf("%s, %dx%dx%d; budget %g %s\n", text_network(m).s, is.height, is.width, is.channels,
           (double)s->qcaps.memory_budget, unit_of(s));
    print_bits_meaning(s);
    printf("%-12s %12s %5s %9s\n", "layer", "weights", "bits", unit_of(s));
    for (int l = 0; l < shape->n_layers; l++) {
        const dt_qcaps_layer *layer = &shape->layer[l];
        printf("%-12s %12s %5d %9.4f\n", layer->name, text_count(layer->n_weights).s, bits->weight[l],
               memory_of(s, layer->n_weights, bits->weight[l] + word));
    }
    printf("%-12s %12s %5s %9.4f  %.2fx less than 32 bits\n", "all", text_count(weights_of(shape)).s, "",
           memory_in_unit(s, &cost), cost.weight_reduction);
}

/* ---- JSON: accuracies are shares of 1, as in the other subcommands */

static void add_bits(cJSON *object, const char *name, const dt_qcaps_shape *shape, const int *bits, int only_routing)
{
    cJSON *array = cJSON_AddArrayToObject(object, name);

    for (int l = 0; l < shape->n_layers; l++) {
        if (only_routing && shape->layer[l].routes == 0) continue;
        cJSON_AddItemToArray(array, cJSON_CreateNumber(bits[l]));
    }
}

static void add_all_bits(cJSON *object, const dt_qcaps_shape *shape, const dt_qcaps_bits *bits)
{
    add_bits(object, "weight_bits", shape, bits->weight, 0);
    add_bits(object, "activation_bits", shape, bits->activation, 0);
    add_bits(object, "routing_bits", shape, bits->routing, 1);
}

static void add_options(cJSON *object, const settings *s)
{
    cJSON_AddStringToObject(object, "method", method_words[s->method]);
    cJSON_AddStringToObject(object, "compat", compat_words[s->qcaps.published]);
    cJSON_AddRawToObject(object, "memory_budget", text_float(s->qcaps.memory_budget).s);
    cJSON_AddStringToObject(object, "memory_unit", unit_of(s));
}

static void add_search_options(cJSON *object, const settings *s, const dt_model *m)
{
    add_options(object, s);
    cJSON_AddStringToObject(object, "rounding", dt_rounding_names[s->qcaps.rounding]);
    cJSON_AddRawToObject(object, "accuracy_tolerance", text_float(s->qcaps.accuracy_tolerance).s);
    cJSON_AddStringToObject(object, "dataset", session_dataset(s, m));
    cJSON_AddStringToObject(object, "tune_on", tune_words[s->tune_on]);
}

cJSON *search_options_json(const search *r)
{
    cJSON *out = cJSON_CreateObject();

    add_search_options(out, r->s, r->o.model);
    return out;
}

cJSON *trial_json(const search *r, const dt_qcaps_trial *t)
{
    cJSON *out = cJSON_CreateObject();

    cJSON_AddStringToObject(out, "step", t->step);
    cJSON_AddNumberToObject(out, "trial", t->trial);
    add_all_bits(out, &r->shape, &t->bits);
    cJSON_AddNumberToObject(out, "accuracy", t->accuracy / 100.0);
    return out;
}

cJSON *found_json(const search *r, const found_network *f)
{
    cJSON *out = cJSON_CreateObject();

    cJSON_AddStringToObject(out, "outcome", f->name);
    add_search_options(out, r->s, r->o.model);
    cJSON_AddNumberToObject(out, "accuracy", f->outcome->accuracy / 100.0);
    add_all_bits(out, &r->shape, &f->outcome->bits);
    cJSON_AddNumberToObject(out, "memory_mib", f->cost.memory_mib);
    cJSON_AddNumberToObject(out, "weight_reduction", f->cost.weight_reduction);
    cJSON_AddNumberToObject(out, "activation_reduction", f->cost.activation_reduction);
    return out;
}

dt_status report_search_json(search *r)
{
    const settings *s = r->s;
    cJSON *out = cJSON_CreateObject();

    cJSON_AddStringToObject(out, "checkpoint", s->checkpoint);
    add_search_options(out, s, r->o.model);
    cJSON_AddNumberToObject(out, "tune_images", (double)r->n_tune);
    cJSON_AddNumberToObject(out, "test_images", (double)r->n_test);
    cJSON_AddStringToObject(out, "device", dt_context_backend(r->o.ctx));
    add_fallback(out, r->o.ctx);
    cJSON_AddNumberToObject(out, "full_accuracy", r->result.full_accuracy / 100.0);
    cJSON_AddNumberToObject(out, "full_test_accuracy", r->full_test_accuracy);
    cJSON_AddNumberToObject(out, "min_accuracy", r->result.min_accuracy / 100.0);
    cJSON_AddNumberToObject(out, "uniform_bits", r->result.uniform_bits);
    cJSON *outcomes = cJSON_AddArrayToObject(out, "outcomes");
    for (int i = 0; i < r->n_found; i++) {
        cJSON *one = found_json(r, &r->found[i]);
        cJSON_AddNumberToObject(one, "test_accuracy", r->found[i].test_accuracy);
        cJSON_AddStringToObject(one, "file", r->found[i].path);
        cJSON_AddItemToArray(outcomes, one);
    }
    cJSON_AddItemToObject(out, "trials", r->trials);
    r->trials = NULL; /* out's now */
    return print_json(out);
}

dt_status report_plan_json(const settings *s, const dt_model *m, const dt_qcaps_shape *shape, const dt_qcaps_bits *bits)
{
    cJSON *out = cJSON_CreateObject();
    dt_qcaps_cost cost;

    dt_qcaps_cost_of(shape, &s->qcaps, bits, &cost);
    cJSON_AddStringToObject(out, "model", text_network(m).s);
    add_options(out, s);
    cJSON *layers = cJSON_AddArrayToObject(out, "layers");
    for (int l = 0; l < shape->n_layers; l++) {
        cJSON *one = cJSON_CreateObject();
        cJSON_AddStringToObject(one, "name", shape->layer[l].name);
        cJSON_AddNumberToObject(one, "weights", (double)shape->layer[l].n_weights);
        cJSON_AddItemToArray(layers, one);
    }
    add_bits(out, "weight_bits", shape, bits->weight, 0);
    cJSON_AddNumberToObject(out, "memory_mib", cost.memory_mib);
    cJSON_AddNumberToObject(out, "reduction", cost.weight_reduction);
    return print_json(out);
}
