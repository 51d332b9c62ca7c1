/*
 * node_check.c - see node_check.h.
 *
 * What a node has read was judged before it, so that a value that differs is this node's.
 * Tests: tests/accel/test_verify_program.c.
 */
#include "node_check.h"

#include <stdlib.h>

/* A node at work: its values on the host, of one image each. */
typedef struct {
    dt_context *ctx;
    const dt_program *p;
    const dt_graph_node *n;
    const dt_node *node;
    void **values;           /* [n_values of the graph], of one image */
    float *batch[DT_MAX_IN]; /* what input k was, of all images; NULL: a parameter */
} node_run;

/* The reference finds constants, which CODES gives, by itself. */
static int is_activation(const dt_graph *g, int value)
{
    const dt_graph_node *maker = dt_graph_maker(g, value);

    return value == g->image || (maker && maker->kind != DT_OP_CODES);
}

/* Input k of all images, pixels as floats. */
static dt_status read_input(node_run *r, int k)
{
    const dt_tensor *t = r->node->in[k];
    const int64_t n = dt_count(&t->shape);

    if (t->type == DT_F32) return dt_device_floats(r->ctx, t->data, n, &r->batch[k]);
    uint8_t *pixels = malloc((size_t)n);
    r->batch[k] = malloc((size_t)n * sizeof(float));
    dt_status status = pixels && r->batch[k]
                           ? dt_device_read(r->ctx, pixels, t->data, (size_t)n)
                           : dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory for %lld pixels", (long long)n);
    for (int64_t i = 0; status == DT_OK && i < n; i++) r->batch[k][i] = (float)pixels[i];
    free(pixels);
    return status;
}

static dt_status make_room(node_run *r, int value)
{
    const dt_value v = dt_program_value(r->p, value);

    if (!r->values[value]) r->values[value] = malloc((size_t)dt_value_count(&v) * sizeof(int32_t));
    DT_CHECK(r->values[value], DT_ERR_MEMORY, "no memory for the values of %s", dt_graph_name(r->p->graph, value));
    return DT_OK;
}

/* Between the floats of a tape and the integers or reals of a program. */
static void give(const dt_value *v, const float *from, void *to)
{
    for (int64_t i = 0; i < dt_value_count(v); i++) {
        if (v->kind == DT_VALUE_REAL)
            ((float *)to)[i] = from[i];
        else
            ((int32_t *)to)[i] = (int32_t)from[i];
    }
}

static void take(const dt_value *v, const void *from, float *to)
{
    for (int64_t i = 0; i < dt_value_count(v); i++) {
        to[i] = v->kind == DT_VALUE_REAL ? ((const float *)from)[i] : (float)((const int32_t *)from)[i];
    }
}

static void run_image(const node_run *r, int64_t image, float *expected)
{
    const dt_value y = dt_program_value(r->p, r->n->out);

    for (int k = 0; k < r->n->n_in; k++) {
        if (!r->batch[k]) continue;
        const dt_value x = dt_program_value(r->p, r->n->in[k]);
        give(&x, r->batch[k] + image * dt_value_count(&x), r->values[r->n->in[k]]);
    }
    dt_program_run_node(r->p, r->n, r->values);
    take(&y, r->values[r->n->out], expected + image * dt_value_count(&y));
}

static dt_status run_all(node_run *r, float **expected)
{
    const dt_value y = dt_program_value(r->p, r->n->out);
    const int64_t images = dt_count(&r->node->out->shape) / dt_value_count(&y);

    DT_TRY(make_room(r, r->n->out));
    for (int k = 0; k < r->n->n_in; k++) {
        if (!is_activation(r->p->graph, r->n->in[k])) continue;
        DT_TRY(make_room(r, r->n->in[k]));
        DT_TRY(read_input(r, k));
    }
    *expected = malloc((size_t)dt_count(&r->node->out->shape) * sizeof **expected);
    DT_CHECK(*expected, DT_ERR_MEMORY, "no memory for what %s must be", r->node->name);
    for (int64_t i = 0; i < images; i++) run_image(r, i, *expected);
    return DT_OK;
}

dt_status dt_node_check_batch(dt_context *ctx, const dt_program *p, const dt_graph_node *n, const dt_node *node,
                              float **expected)
{
    node_run r = { .ctx = ctx, .p = p, .n = n, .node = node };

    r.values = calloc((size_t)p->graph->n_values, sizeof *r.values);
    const dt_status status = r.values
                                 ? run_all(&r, expected)
                                 : dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory to check %s", node->name);
    for (int i = 0; r.values && i < p->graph->n_values; i++) free(r.values[i]);
    for (int k = 0; k < DT_MAX_IN; k++) free(r.batch[k]);
    free(r.values);
    return status;
}
