/*
 * capsule_vectors.c - the steps of a routing of one image as files for RTL: every value of every iteration, and each
 *                     squash and each softmax as a line that a test bench reads.
 *
 *   manifest.json     sizes, and formats and ratios of each iteration; it comes last, so that a folder without it is
 *                     incomplete
 *   squash_table.hex, exp_table.hex   the tables, for $readmemh
 *   steps.txt         1 dim s_frac v_bits v_frac s.. v..   of each capsule that is squashed
 *                     2 span b_frac c_bits c_frac b.. c..  of each row of a softmax
 *   votes.txt         u [inputs][capsules][dim], a number a line
 *   acc_R.txt, s_R.txt, v_R.txt [capsules][dim], a_R.txt, b_R.txt, c_R.txt [inputs][capsules]   of iteration R, from 1
 *
 * Interface: dt_capsule_vectors_save in include/detent/array.h.  Tests: tests/formats/test_capsule_vectors.c.
 */
#include "../core/arith/capsules.h"
#include "../quant/program/program.h"
#include "json_value.h"
#include "whole_file.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const dt_program *p;
    const dt_graph_node *n;
    const dt_route_int_params *params;
    dt_route_int_sizes size;
    dt_route_int_trace trace;
    int32_t *votes;
    const char *dir;
    int n_files;
} vectors;

static const dt_graph_node *find_routing(const dt_graph *g, const char *layer)
{
    const int value = dt_graph_find(g, layer);
    const dt_graph_node *n = value < 0 ? NULL : dt_graph_maker(g, value);

    return n && n->kind == DT_OP_ROUTE_INT ? n : NULL;
}

int dt_model_has_routing(const dt_model *m, const char *layer)
{
    return find_routing(m->graph, layer) != NULL;
}

/* The votes, when the node that makes them has run. */
static void take_votes(void *user, const dt_program *p, const dt_graph_node *n, const void *values)
{
    vectors *v = user;
    (void)p;

    if (n->out != v->n->in[0]) return;
    memcpy(v->votes, values, (size_t)(v->size.inputs * v->size.capsules * v->size.dim) * sizeof *v->votes);
}

/* ---- files ---- */

static dt_status write_one(vectors *v, const char *name, dt_file_content content, const void *user)
{
    char path[DT_PATH_BYTES];

    DT_TRY(dt_path_join(v->dir, name, path));
    DT_TRY(dt_whole_file_write(path, content, user));
    v->n_files++;
    return DT_OK;
}

typedef struct {
    const int32_t *entry;
    int n;
} table;

static int put_table(const void *user, FILE *file)
{
    const table *t = user;

    for (int i = 0; i < t->n; i++) fprintf(file, "%04x\n", t->entry[i]);
    return !ferror(file);
}

typedef struct {
    const int32_t *value;
    int64_t n;
} numbers;

static int put_numbers(const void *user, FILE *file)
{
    const numbers *l = user;

    for (int64_t i = 0; i < l->n; i++) fprintf(file, "%d\n", l->value[i]);
    return !ferror(file);
}

static void put_row(FILE *file, const int32_t *value, int64_t n)
{
    for (int64_t i = 0; i < n; i++) fprintf(file, " %d", value[i]);
}

static void put_capsules(FILE *file, const vectors *v, int r)
{
    const dt_route_int_params *p = v->params;
    const int64_t dim = v->size.dim, width = v->size.capsules * dim;

    for (int64_t m = 0; m < v->size.capsules; m++) {
        fprintf(file, "1 %d %d %d %d", (int)dim, p->s_frac[r], p->v_bits[r], p->v_frac[r]);
        put_row(file, v->trace.s + r * width + m * dim, dim);
        put_row(file, v->trace.v + r * width + m * dim, dim);
        fputc('\n', file);
    }
}

static void put_rows(FILE *file, const vectors *v, int r)
{
    const dt_route_int_params *p = v->params;
    const int64_t pairs = v->size.inputs * v->size.capsules;

    for (int64_t k = r * pairs; k < (r + 1) * pairs; k += v->size.span) {
        fprintf(file, "2 %d %d %d %d", (int)v->size.span, p->b_frac[r], p->c_bits[r], p->c_frac[r]);
        put_row(file, v->trace.b + k, v->size.span);
        put_row(file, v->trace.c + k, v->size.span);
        fputc('\n', file);
    }
}

static int has_capsules(const vectors *v, int r)
{
    return r < v->params->iterations - 1 || !v->params->gives_s;
}

static int put_steps(const void *user, FILE *file)
{
    const vectors *v = user;

    for (int r = 0; r < v->params->iterations; r++) {
        if (has_capsules(v, r)) put_capsules(file, v, r);
        if (r < v->params->iterations - 1) put_rows(file, v, r);
    }
    return !ferror(file);
}

/* ---- the manifest ---- */

static void add_iteration(cJSON *list, const vectors *v, int r)
{
    const dt_route_int_params *p = v->params;
    const struct {
        const char *name;
        int value;
    } fields[] = { { "acc_mul", p->acc_mul[r] },     { "acc_shift", p->acc_shift[r] },     { "s_bits", p->s_bits[r] },
                   { "s_frac", p->s_frac[r] },       { "v_bits", p->v_bits[r] },           { "v_frac", p->v_frac[r] },
                   { "agree_mul", p->agree_mul[r] }, { "agree_shift", p->agree_shift[r] }, { "b_bits", p->b_bits[r] },
                   { "b_frac", p->b_frac[r] },       { "c_bits", p->c_bits[r] },           { "c_frac", p->c_frac[r] } };
    const int64_t channels = v->size.types * v->size.dim;
    const int64_t *offset = dt_program_constant_data(v->p, v->n->out, DT_ROUTE_INT_OFFSET);
    cJSON *one = cJSON_CreateObject(), *offsets = cJSON_AddArrayToObject(one, "acc_offset");

    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        cJSON_AddNumberToObject(one, fields[i].name, fields[i].value);
    for (int64_t c = 0; c < channels; c++)
        cJSON_AddItemToArray(offsets, cJSON_CreateNumber((double)offset[r * channels + c]));
    cJSON_AddItemToArray(list, one);
}

static int put_manifest(const void *user, FILE *file)
{
    const vectors *v = user;

    dt_json_begin();
    cJSON *all = cJSON_CreateObject();
    cJSON_AddStringToObject(all, "format", "detent-capsule-vectors");
    cJSON_AddNumberToObject(all, "version", 1);
    cJSON_AddStringToObject(all, "model", v->p->graph->name);
    cJSON_AddStringToObject(all, "layer", dt_graph_name(v->p->graph, v->n->out));
    cJSON_AddNumberToObject(all, "inputs", (double)v->size.inputs);
    cJSON_AddNumberToObject(all, "capsules", (double)v->size.capsules);
    cJSON_AddNumberToObject(all, "types", (double)v->size.types);
    cJSON_AddNumberToObject(all, "span", (double)v->size.span);
    cJSON_AddNumberToObject(all, "dim", (double)v->size.dim);
    cJSON_AddBoolToObject(all, "gives_s", v->params->gives_s);
    cJSON *iterations = cJSON_AddArrayToObject(all, "iterations");
    for (int r = 0; r < v->params->iterations; r++) add_iteration(iterations, v, r);
    char *text = cJSON_Print(all);
    const int put = text && !dt_json_lost() && fprintf(file, "%s\n", text) > 0;
    cJSON_free(text);
    cJSON_Delete(all);
    return put;
}

/* ---- the whole ---- */

static dt_status write_iteration(vectors *v, int r)
{
    const int64_t width = v->size.capsules * v->size.dim, pairs = v->size.inputs * v->size.capsules;
    const int more = r < v->params->iterations - 1, has_v = has_capsules(v, r);
    const struct {
        const char *name;
        const int32_t *value;
        int64_t n;
        int is_there;
    } lists[] = { { "acc", v->trace.acc + r * width, width, 1 }, { "s", v->trace.s + r * width, width, 1 },
                  { "v", v->trace.v + r * width, width, has_v }, { "a", v->trace.a + r * pairs, pairs, more },
                  { "b", v->trace.b + r * pairs, pairs, more },  { "c", v->trace.c + r * pairs, pairs, more } };
    char name[32];

    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        const numbers l = { lists[i].value, lists[i].n };
        if (!lists[i].is_there) continue;
        snprintf(name, sizeof name, "%s_%d.txt", lists[i].name, r + 1);
        DT_TRY(write_one(v, name, put_numbers, &l));
    }
    return DT_OK;
}

static dt_status write_all(vectors *v)
{
    const table squash = { dt_caps_table.squash, DT_SQUASH_ENTRIES }, power = { dt_caps_table.exp, DT_EXP_ENTRIES };
    const numbers votes = { v->votes, v->size.inputs * v->size.capsules * v->size.dim };

    DT_TRY(dt_folder_make(v->dir));
    DT_TRY(write_one(v, "squash_table.hex", put_table, &squash));
    DT_TRY(write_one(v, "exp_table.hex", put_table, &power));
    DT_TRY(write_one(v, "votes.txt", put_numbers, &votes));
    for (int r = 0; r < v->params->iterations; r++) DT_TRY(write_iteration(v, r));
    DT_TRY(write_one(v, "steps.txt", put_steps, v));
    return write_one(v, "manifest.json", put_manifest, v);
}

static dt_status run_and_write(vectors *v, const uint8_t *image, int32_t *room)
{
    float *scores = malloc((size_t)dt_program_n_scores(v->p) * sizeof *scores);

    DT_CHECK(scores, DT_ERR_MEMORY, "no memory for the scores of %s", v->p->graph->name);
    dt_status status = dt_program_trace(v->p, (dt_program_input){ .pixels = image }, take_votes, v, scores);
    free(scores);
    v->trace = dt_route_int_trace_in(v->params, &v->size, room);
    if (status == DT_OK) dt_program_route(v->p, v->n, v->votes, &v->trace);
    if (status == DT_OK) status = write_all(v);
    return status;
}

dt_status dt_capsule_vectors_save(const dt_program *p, const uint8_t *image, const char *layer, const char *dir,
                                  int *n_files)
{
    vectors v = { .p = p, .n = find_routing(p->graph, layer), .dir = dir };

    DT_CHECK(v.n, DT_ERR_ARGUMENT, "%s has no routing '%s'; 'detent inspect --graph --engine program' lists its nodes",
             p->graph->name, layer);
    v.params = v.n->params;
    v.size = dt_program_route_sizes(p, v.n);
    v.votes = malloc((size_t)(v.size.inputs * v.size.capsules * v.size.dim) * sizeof *v.votes);
    int32_t *room = calloc((size_t)dt_route_int_trace_count(v.params, &v.size), sizeof *room);
    const dt_status status = v.votes && room
                                 ? run_and_write(&v, image, room)
                                 : dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory for the steps of %s", layer);
    free(v.votes);
    free(room);
    DT_TRY(status);
    *n_files = v.n_files;
    return DT_OK;
}
