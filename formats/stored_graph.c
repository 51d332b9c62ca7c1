/*
 * stored_graph.c - see stored_graph.h.
 */
#include "stored_graph.h"

#include "../models/networks.h"
#include "config_json.h"
#include "graph_json.h"
#include "json_fields.h"
#include "network_file.h"

#include <stdio.h>
#include <string.h>

enum { VALUE_BYTES = 96 };

dt_status dt_graph_store(dt_safetensors_writer *w, const dt_graph *g)
{
    cJSON *object = cJSON_CreateObject();
    dt_status s = dt_graph_to_json(g, object);

    if (s == DT_OK) s = dt_metadata_add(w, "graph", object);
    cJSON_Delete(object);
    DT_TRY(s);
    return DT_OK;
}

dt_status dt_graph_stored(const dt_safetensors *f, const char *path, dt_graph **out)
{
    cJSON *object;

    DT_TRY(dt_metadata_json(f, path, "graph", &object));
    const dt_status s = dt_graph_from_json(object, path, out);
    cJSON_Delete(object);
    DT_TRY(s);
    return DT_OK;
}

static dt_status build(const dt_model_config *cfg, int quantize, dt_graph **out)
{
    dt_graph *plain;

    DT_TRY(dt_network_build(cfg, &plain));
    if (!quantize) {
        *out = plain;
        return DT_OK;
    }
    const dt_status s = dt_network_quantize(plain, cfg, out);
    dt_graph_destroy(plain);
    DT_TRY(s);
    return DT_OK;
}

dt_status dt_graph_of_stored_config(const dt_safetensors *f, const char *path, int quantize, dt_graph **out)
{
    dt_model_config cfg;
    cJSON *object;

    DT_TRY(dt_metadata_json(f, path, "model", &object));
    dt_status s = dt_model_config_read(object, path, &cfg);
    cJSON_Delete(object);
    DT_TRY(s);
    s = build(&cfg, quantize, out);
    return s == DT_OK ? DT_OK : dt_metadata_blame(s, path);
}

/* ---- comparison ---- */

static dt_status differs(const char *path, const char *what, const char *saved, const char *here)
{
    return dt_raise(DT_ERR_ARGUMENT, __FILE__, __LINE__,
                    "%s: the run was started with %s = %s, here it is %s; resume with the network it started with",
                    path, what, saved, here);
}

static dt_status match_words(const char *path, const char *what, const char *saved, const char *here)
{
    return strcmp(saved, here) == 0 ? DT_OK : differs(path, what, saved, here);
}

static dt_status match_counts(const char *path, const char *what, int saved, int here)
{
    char a[VALUE_BYTES], b[VALUE_BYTES];

    if (saved == here) return DT_OK;
    snprintf(a, sizeof a, "%d", saved);
    snprintf(b, sizeof b, "%d", here);
    return differs(path, what, a, b);
}

static dt_status match_shapes(const char *path, const char *what, const dt_shape *saved, const dt_shape *here)
{
    char a[VALUE_BYTES], b[VALUE_BYTES];

    if (dt_same_shape(saved, here)) return DT_OK;
    return differs(path, what, dt_shape_text(saved, a, sizeof a), dt_shape_text(here, b, sizeof b));
}

/* "features.0.weight_quant.bits" */
static const char *part_of(const char *name, const char *part, char text[2 * VALUE_BYTES])
{
    snprintf(text, 2 * VALUE_BYTES, "%.120s.%s", name, part);
    return text;
}

static dt_status match_attribute(const char *path, const char *node, const dt_field *f, const void *saved,
                                 const void *here)
{
    cJSON *a = dt_field_make(f, (const char *)saved + f->offset), *b = dt_field_make(f, (const char *)here + f->offset);
    char what[2 * VALUE_BYTES], a_text[VALUE_BYTES], b_text[VALUE_BYTES];
    dt_status s = DT_OK;

    if (!a || !b) {
        s = dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "%s: no memory to compare %s", path, node);
    } else if (!cJSON_Compare(a, b, 1)) {
        s = differs(path, part_of(node, f->name, what), dt_json_text(a, a_text, sizeof a_text),
                    dt_json_text(b, b_text, sizeof b_text));
    }
    cJSON_Delete(a);
    cJSON_Delete(b);
    return s;
}

static dt_status match_node(const char *path, const dt_graph *saved, const dt_graph *here, int i)
{
    const dt_graph_node *a = &saved->node[i], *b = &here->node[i];
    const dt_op *op = dt_ops[a->kind];
    const char *name = dt_graph_name(saved, a->out);
    char what[2 * VALUE_BYTES];

    snprintf(what, sizeof what, "node %d", i);
    DT_TRY(match_words(path, what, name, dt_graph_name(here, b->out)));
    DT_TRY(match_words(path, part_of(name, "operator", what), op->name, dt_ops[b->kind]->name));
    DT_TRY(match_counts(path, part_of(name, "inputs", what), a->n_in, b->n_in));
    for (int k = 0; k < a->n_in; k++) {
        char input[24];
        snprintf(input, sizeof input, "input %d", k);
        DT_TRY(match_words(path, part_of(name, input, what), dt_graph_name(saved, a->in[k]),
                           dt_graph_name(here, b->in[k])));
    }
    for (int k = 0; k < op->n_fields; k++) DT_TRY(match_attribute(path, name, &op->fields[k], a->params, b->params));
    return DT_OK;
}

static dt_status match_param(const char *path, const dt_graph_value *a, const dt_graph_value *b)
{
    char what[2 * VALUE_BYTES], a_text[VALUE_BYTES], b_text[VALUE_BYTES];

    DT_TRY(match_shapes(path, part_of(a->name, "shape", what), &a->facts.shape, &b->facts.shape));
    DT_TRY(match_counts(path, part_of(a->name, "group", what), (int)a->param.group, (int)b->param.group));
    DT_TRY(match_counts(path, part_of(a->name, "sparse", what), a->param.sparse, b->param.sparse));
    if (a->param.floor == b->param.floor) return DT_OK;
    snprintf(a_text, sizeof a_text, "%.9g", (double)a->param.floor);
    snprintf(b_text, sizeof b_text, "%.9g", (double)b->param.floor);
    return differs(path, part_of(a->name, "floor", what), a_text, b_text);
}

/* The next parameter at or behind *at, which moves past it; NULL at the end. */
static const dt_graph_value *next_param(const dt_graph *g, int *at)
{
    while (*at < g->n_values) {
        const dt_graph_value *v = g->value[(*at)++];
        if (v->source == DT_SOURCE_PARAM) return v;
    }
    return NULL;
}

/* Parameters lie in a model in their order in the graph, whatever stands between them. */
static dt_status match_params(const char *path, const dt_graph *saved, const dt_graph *here)
{
    int at_a = 0, at_b = 0, n = 0;
    char what[2 * VALUE_BYTES];

    for (;; n++) {
        const dt_graph_value *a = next_param(saved, &at_a), *b = next_param(here, &at_b);
        if (!a && !b) return DT_OK;
        snprintf(what, sizeof what, "parameter %d", n);
        DT_TRY(match_words(path, what, a ? a->name : "none", b ? b->name : "none"));
        DT_TRY(match_param(path, a, b));
    }
}

dt_status dt_graph_match(const dt_graph *saved, const dt_graph *here, const char *path)
{
    DT_TRY(match_shapes(path, "image", dt_graph_shape(saved, saved->image), dt_graph_shape(here, here->image)));
    for (int i = 0; i < saved->n_nodes && i < here->n_nodes; i++) DT_TRY(match_node(path, saved, here, i));
    DT_TRY(match_counts(path, "the number of nodes", saved->n_nodes, here->n_nodes));
    DT_TRY(match_params(path, saved, here));
    DT_TRY(match_words(path, "scores", dt_graph_name(saved, saved->scores), dt_graph_name(here, here->scores)));
    DT_TRY(match_counts(path, "loss", (int)saved->loss, (int)here->loss));
    return match_counts(path, "unit pixels", saved->unit_pixels, here->unit_pixels);
}
