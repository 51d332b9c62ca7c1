/*
 * program_c_caps.c - see program_c_caps.h; program_c_caps_text.h has the functions.
 *
 * Tests: tests/formats/test_program_c_caps.c.
 */
#include "program_c_caps.h"

#include "../../core/arith/capsules.h"
#include "program_c_caps_text.h"
#include "program_c_constants.h"

#include <inttypes.h>
#include <string.h>

enum { TABLE_TEXT_BYTES = 8 * DT_SQUASH_ENTRIES, PSUM_BYTES = 4 };

int dt_c_is_real_length(const dt_graph *g, const dt_graph_node *n)
{
    const dt_graph_node *from = dt_graph_maker(g, n->in[0]);

    return n->kind == DT_OP_DEQUANTIZE && from && from->kind == DT_OP_CLASS_INT;
}

int dt_c_gives_lengths(const dt_c_program *c)
{
    return c->layer[c->n_layers - 1].n->kind == DT_OP_CLASS_INT;
}

static const dt_route_int_params *params_of(const dt_c_program *c, int i)
{
    return c->layer[i].n->params;
}

/* The layer whose psums a routing reads, or NULL. */
static const dt_c_layer *maker_of(const dt_c_program *c, int i)
{
    return c->layer[i].x.kind == DT_VALUE_PSUM ? &c->layer[c->layer[i].in[0]] : NULL;
}

/* 1: layer i is a routing of one vote, which a convolution gives position by position. */
static int is_single_vote(const dt_c_program *c, int i)
{
    const dt_c_layer *maker = c->layer[i].n->kind == DT_OP_ROUTE_INT ? maker_of(c, i) : NULL;

    return maker && maker->n->kind != DT_OP_CAPS_VOTES && params_of(c, i)->inputs == 1 &&
           params_of(c, i)->iterations == 1;
}

dt_status dt_c_check_capsules(const dt_c_program *c)
{
    for (int i = 0; i < c->n_layers; i++) {
        const dt_c_layer *maker = c->layer[i].n->kind == DT_OP_ROUTE_INT ? maker_of(c, i) : NULL;
        DT_CHECK(!maker || maker->n->kind == DT_OP_CAPS_VOTES || is_single_vote(c, i), DT_ERR_UNSUPPORTED,
                 "%s: routes psums of %s in several iterations, which C does not; quantize the votes before it",
                 dt_graph_name(c->p->graph, c->layer[i].n->out), dt_graph_name(c->p->graph, maker->n->out));
    }
    return DT_OK;
}

/* ---- sizes ---- */

int64_t dt_c_capsule_bytes(const dt_c_program *c, int i)
{
    const dt_graph_node *n = c->layer[i].n;

    if (n->kind == DT_OP_CAPS_VOTES) return dt_graph_count(c->p->graph, n->in[0]) * c->layer[i].y.channels;
    if (n->kind == DT_OP_ROUTE_INT) return 8 * (int64_t)params_of(c, i)->iterations * c->layer[i].y.channels;
    return 0;
}

/* The most that any routing needs. */
typedef struct {
    int64_t values, pairs, capsules; /* capsules * dim, inputs * capsules, capsules that are coupled at once */
    int n, has_votes, has_route;
} room;

static void widen(int64_t *most, int64_t value)
{
    if (*most < value) *most = value;
}

static room room_of(const dt_c_program *c)
{
    room r = { .values = 1, .pairs = 1, .capsules = 1 };

    for (int i = 0; i < c->n_layers; i++) {
        if (c->layer[i].n->kind != DT_OP_ROUTE_INT) continue;
        const dt_route_int_sizes z = dt_program_route_sizes(c->p, c->layer[i].n);
        r.n++;
        if (is_single_vote(c, i)) {
            widen(&r.values, c->layer[i].y.channels);
            continue;
        }
        r.has_route = 1;
        r.has_votes |= maker_of(c, i) != NULL;
        widen(&r.values, z.capsules * z.dim);
        widen(&r.pairs, z.inputs * z.capsules);
        widen(&r.capsules, z.capsules);
    }
    return r;
}

int64_t dt_c_capsule_ram(const dt_c_program *c)
{
    const room r = room_of(c);

    return r.n > 0 ? 3 * PSUM_BYTES * r.values + 2 * r.pairs + 2 * r.capsules : 0;
}

int dt_c_capsule_psums(const dt_c_program *c)
{
    const room r = room_of(c);

    return r.has_route ? (int)r.values : 0;
}

/* ---- texts ---- */

static void table_text(const int32_t *table, int n, char text[TABLE_TEXT_BYTES])
{
    size_t used = 0;

    for (int k = 0; k < n; k++)
        used += (size_t)snprintf(text + used, TABLE_TEXT_BYTES - used,
                                 k == 0   ? "%d"
                                 : k % 16 ? ", %d"
                                          : ",\n    %d",
                                 table[k]);
}

void dt_c_put_capsule_functions(FILE *file, const dt_c_program *c)
{
    const room r = room_of(c);
    char squash[TABLE_TEXT_BYTES], power[TABLE_TEXT_BYTES];
    int singles = 0;

    for (int i = 0; i < c->n_layers; i++) singles += is_single_vote(c, i);
    if (r.n > 0) {
        table_text(dt_caps_table.squash, DT_SQUASH_ENTRIES, squash);
        table_text(dt_caps_table.exp, DT_EXP_ENTRIES, power);
        fprintf(file, caps_text, squash, power, (int)r.values, (int)r.pairs, (int)r.capsules);
        fputs(route_text, file);
    }
    if (singles) fputs(capsules_text, file);
    if (r.has_votes) fputs(votes_text, file);
    if (r.has_route) fprintf(file, routing_text, r.has_votes ? "votes_layer" : "void", r.has_votes ? vote_text : "");
    if (dt_c_gives_lengths(c)) fputs(class_text, file);
}

void dt_c_put_votes(FILE *file, const dt_c_program *c, int i)
{
    const dt_c_layer *l = &c->layer[i];
    const int8_t *weight = dt_program_data(c->p, dt_program_weights(c->p, l->n), DT_CODES_WEIGHT);

    dt_c_put_member(file, i, &dt_c_int8, "weight", weight, dt_c_capsule_bytes(c, i));
    fprintf(file, "static const votes_layer layer_%d = { %d, %d, layer_%d_weight };\n", i, l->x.channels, l->y.channels,
            i);
}

static void put_step(FILE *file, const dt_c_program *c, int i, int r)
{
    const dt_route_int_params *p = params_of(c, i);
    const int keep = r > 0 ? p->agree_shift[r] + p->b_frac[r] - p->b_frac[r - 1] : -1;

    fprintf(file, "    { %d, %d, %d, %d, %d, %d, %d, %d, %d, %d, %d, %d, %d, layer_%d_offset + %d },\n", p->acc_mul[r],
            p->acc_shift[r], p->s_bits[r], p->s_frac[r], p->v_bits[r], p->v_frac[r], keep, p->agree_mul[r],
            p->agree_shift[r], p->b_bits[r], p->b_frac[r], p->c_bits[r], p->c_frac[r], i, r * c->layer[i].y.channels);
}

void dt_c_put_routing(FILE *file, const dt_c_program *c, int i)
{
    const dt_c_layer *l = &c->layer[i];
    const dt_route_int_params *p = params_of(c, i);
    const dt_route_int_sizes z = dt_program_route_sizes(c->p, l->n);

    dt_c_put_member(file, i, &dt_c_int64, "offset", dt_program_constant_data(c->p, l->n->out, DT_ROUTE_INT_OFFSET),
                    (int64_t)p->iterations * l->y.channels);
    fprintf(file, "static const route_step layer_%d_step[] = {\n", i);
    for (int r = 0; r < p->iterations; r++) put_step(file, c, i, r);
    fputs("};\n", file);
    if (is_single_vote(c, i)) {
        fprintf(file, "static const capsules_layer layer_%d = { &layer_%d, %d, %d, %d, layer_%d_step };\n", i, l->in[0],
                l->y.height, l->y.width, p->dim, i);
        return;
    }
    fprintf(file, "static const routing_layer layer_%d = { ", i);
    if (maker_of(c, i))
        fprintf(file, "&layer_%d", l->in[0]);
    else
        fputs("0", file);
    fprintf(file, ", %d, %d, %d, %d, %d, %d, %d, layer_%d_step };\n", (int)z.inputs, (int)z.capsules, (int)z.types,
            (int)z.span, (int)z.dim, p->iterations, p->gives_s, i);
}

void dt_c_put_capsule_call(FILE *file, const dt_c_program *c, int i, const char *x, const char *y)
{
    const dt_c_layer *l = &c->layer[i];

    if (l->n->kind == DT_OP_CLASS_INT) {
        const dt_class_int_params *p = l->n->params;
        fprintf(file, "    lengths(%d, %d, %d, %s, %s);", l->y.channels, p->dim, p->s_frac, x, y);
        return;
    }
    fprintf(file, "    %s(&layer_%d, %s, %s);", is_single_vote(c, i) ? "capsules" : "route", i, x, y);
}
