/*
 * test_program_caps.c - programs of capsule networks: the reference, the tape and the model give the same lengths;
 * every value of every routing is that of the tape's node; files; what is damaged is refused.
 */
#include "../support/caps_network.h"
#include "../support/temp_files.h"

#include "../../layers/caps/route_int.h"

enum { IMAGES = 12 };

/* A network of dead capsules would pass every test. */
static void is_alive(void *user, const dt_program *p, const dt_graph_node *n, const void *values)
{
    const dt_value v = dt_program_value(p, n->out);
    const int32_t *code = values;
    int64_t used = 0;
    (void)user;

    if (n->kind != DT_OP_ROUTE_INT && n->kind != DT_OP_THRESHOLD) return;
    for (int64_t i = 0; i < dt_value_count(&v); i++) used += code[i] != 0 && code[i] != v.low && code[i] != v.high;
    cr_assert(used * 8 > dt_value_count(&v), "%s: %lld of %lld codes are neither 0 nor at an end",
              dt_graph_name(p->graph, n->out), (long long)used, (long long)dt_value_count(&v));
}

static const uint8_t *image_of(const lowered *r, int n)
{
    dt_dataset_view v;

    dt_dataset_look(r->data, &v);
    return v.images + n * v.height * v.width * v.channels;
}

static void equal_scores(const char *backend, int routing_bits)
{
    lowered r = caps_lowered(backend, routing_bits, IMAGES);
    float scores[CAPS_CLASSES];
    int32_t found = 0;

    if (!r.ctx) return;
    lowered_check_scores(&r, IMAGES);
    for (int n = 0; n < IMAGES; n++) {
        MUST(dt_program_trace(r.program, (dt_program_input){ .pixels = image_of(&r, n) }, is_alive, NULL, scores));
        for (int j = 0; j < CAPS_CLASSES; j++) found |= (int32_t)(scores[j] > 0.1f) << j;
    }
    cr_assert(found != 0, "no capsule is longer than 0.1");
    lowered_close(&r);
}

Test(program_caps, model_tape_and_reference_give_equal_scores)
{
    equal_scores("cpu", 8);
    equal_scores("cpu", 4);
    equal_scores("cpu", 10);
    equal_scores("cuda", 8);
}

/* The nodes' names, kinds and shapes: lists and maps of votes too. */
Test(program_caps, nodes)
{
    lowered r = caps_lowered("cpu", 8, 1);
    const dt_program *p = r.program;
    const dt_value votes = dt_program_value(p, dt_graph_find(p->graph, "skip.conv"));
    const dt_value digits = dt_program_value(p, dt_graph_find(p->graph, "digit.dot"));
    const dt_graph_node *digit = lowered_node(p, DT_OP_ROUTE_INT, "digit");
    const dt_route_int_params *params = digit->params;

    cr_assert(votes.kind == DT_VALUE_PSUM && votes.maps == 3 && votes.height == 5 && votes.channels == 12);
    cr_assert(digits.kind == DT_VALUE_PSUM && digits.maps == 1 && digits.height == 150 && digits.channels == 50);
    cr_assert(params->acc_mul[2] >= 1 << 14 && params->agree_mul[1] >= 1 << 14 && params->agree_mul[2] == 0);
    cr_assert(dt_program_constant(p, digit->out, DT_ROUTE_INT_OFFSET) >= 0);
    cr_assert(dt_program_scale(p, digit->out) == 1.0f / 2048.0f);
    lowered_node(p, DT_OP_CLASS_INT, "lengths");
    lowered_close(&r);
}

/* ---- values of a routing, one by one ---- */

typedef struct {
    const dt_program *p;
    dt_context *ctx;
    int n_compared;
} comparison;

/* Codes are reals times a power of two. */
static void same_values(const char *name, const char *what, const float *real, int frac, const int32_t *want, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        const float code = real[i] * dt_power_of_two(frac);
        cr_assert(code == (float)want[i], "%s: %s[%lld] is %g, expected %d", name, what, (long long)i, (double)code,
                  want[i]);
    }
}

static dt_status compare_routing(void *user, const dt_node *node)
{
    comparison *c = user;
    if (node->kind != DT_OP_ROUTE_INT) return DT_OK;
    const dt_route_int_params *params = node->params;
    const dt_graph_node *n = lowered_node(c->p, DT_OP_ROUTE_INT, node->name);
    const dt_route_int_sizes z = dt_program_route_sizes(c->p, n);
    const int64_t width = z.capsules * z.dim, pairs = z.inputs * z.capsules, n_votes = pairs * z.dim;
    const dt_route t = dt_route_int_look(node, NULL, dt_route_group_on(c->ctx));
    const int64_t images = t.images;
    float *votes = host_floats(c->ctx, node->in[0]->data, images * n_votes);
    float *aux = host_floats(c->ctx, node->aux, (int64_t)(node->aux_bytes / sizeof(float)));
    float *rows = malloc((size_t)pairs * sizeof *rows);
    int32_t *u = malloc((size_t)n_votes * sizeof *u);
    int32_t *room = calloc((size_t)dt_route_int_trace_count(params, &z), sizeof *room);
    const dt_route_int_trace want = dt_route_int_trace_in(params, &z, room);

    for (int64_t image = 0; image < images; image++) {
        for (int64_t k = 0; k < n_votes; k++) u[k] = (int32_t)votes[image * n_votes + k];
        dt_program_route(c->p, n, u, &want);
        for (int r = 0; r < params->iterations; r++) {
            const float *s = aux + (dt_route_capsules(&t, t.s, r, image) - t.s);
            const float *v = aux + (dt_route_capsules(&t, t.v, r, image) - t.s);
            same_values(node->name, "s", s, params->s_frac[r], want.s + r * width, width);
            if (r < params->iterations - 1 || !params->gives_s)
                same_values(node->name, "v", v, params->v_frac[r], want.v + r * width, width);
            if (r == params->iterations - 1) continue;
            dt_route_rows(&t, aux + (dt_route_pairs(&t, t.logits, r, image, 0) - t.s), rows);
            same_values(node->name, "b", rows, params->b_frac[r], want.b + r * pairs, pairs);
            dt_route_rows(&t, aux + (dt_route_pairs(&t, t.c, r, image, 0) - t.s), rows);
            same_values(node->name, "c", rows, params->c_frac[r], want.c + r * pairs, pairs);
        }
    }
    c->n_compared++;
    free(votes);
    free(aux);
    free(rows);
    free(u);
    free(room);
    return DT_OK;
}

static dt_status ignore_batch(void *user, const dt_batch *b)
{
    (void)user, (void)b;
    return DT_OK;
}

Test(program_caps, every_value_of_a_routing)
{
    static const char *const backends[] = { "cpu", "cuda" };

    for (int b = 0; b < 2; b++) {
        lowered r = caps_lowered(backends[b], 8, IMAGES);
        if (!r.ctx) continue;
        const dt_inference_options options = { .count = IMAGES, .batch = 5, .watched = 1 };
        comparison c = { r.program, r.ctx, 0 };
        dt_dataset_view view;
        dt_inference *inference;
        dt_step_sum sum;
        dt_model *m;
        dt_dataset_look(r.data, &view);
        MUST(dt_program_model(r.ctx, r.program, NULL, &m));
        MUST(dt_inference_create(m, &view, &options, &inference));
        MUST(dt_inference_run(inference, compare_routing, ignore_batch, &c, &sum));
        cr_assert(c.n_compared == 4 * 3, "%d routings were compared", c.n_compared);
        dt_inference_destroy(inference);
        dt_model_destroy(m);
        lowered_close(&r);
    }
}

/* ---- files ---- */

TestSuite(program_caps_file, .init = temp_make, .fini = temp_remove);

static char *bytes_of(const char *path, long *n)
{
    FILE *f = fopen(path, "rb");
    cr_assert(f != NULL, "%s", path);
    fseek(f, 0, SEEK_END);
    *n = ftell(f);
    rewind(f);
    char *bytes = malloc((size_t)*n);
    cr_assert(fread(bytes, 1, (size_t)*n, f) == (size_t)*n);
    fclose(f);
    return bytes;
}

Test(program_caps_file, is_saved_and_loaded)
{
    lowered r = caps_lowered("cpu", 8, IMAGES);
    char path[2][TEMP_PATH_BYTES + 16];
    dt_program *again;
    long n[2];

    for (int i = 0; i < 2; i++) snprintf(path[i], sizeof path[i], "%s/p%d", temp_folder, i);
    MUST(dt_program_save(r.program, path[0]));
    MUST(dt_program_load(path[0], &again));
    MUST(dt_program_save(again, path[1]));
    char *a = bytes_of(path[0], &n[0]), *b = bytes_of(path[1], &n[1]);
    cr_assert(n[0] == n[1] && memcmp(a, b, (size_t)n[0]) == 0, "the file that was loaded is saved with other bytes");
    for (int k = 0; k < IMAGES; k++) {
        float is[CAPS_CLASSES], was[CAPS_CLASSES];
        MUST(dt_program_run(again, image_of(&r, k), is));
        MUST(dt_program_run(r.program, image_of(&r, k), was));
        cr_assert(memcmp(is, was, sizeof is) == 0, "image %d", k);
    }
    free(a);
    free(b);
    dt_program_destroy(again);
    lowered_close(&r);
}

/* ---- damage ---- */

static void refused(const dt_program *p, const char *text)
{
    cr_assert(dt_program_check(p) == DT_ERR_FORMAT, "%s", text);
    cr_assert(strstr(dt_last_error(), text) != NULL, "the message is '%s', expected '%s' in it", dt_last_error(), text);
}

Test(program_caps, damage_is_refused)
{
    lowered r = caps_lowered("cpu", 8, 1);
    const dt_program *p = r.program;
    dt_route_int_params *params = lowered_node(p, DT_OP_ROUTE_INT, "digit")->params;
    int64_t *offset = lowered_data(p, "digit.offset");
    float *bias = lowered_data(p, "skip.bias");

    MUST(dt_program_check(p));
    const int acc_mul = params->acc_mul[1];
    params->acc_mul[1] = 0;
    refused(p, "digit (route_int): acc_mul is 0");
    params->acc_mul[1] = acc_mul;
    params->agree_shift[0] = 0;
    refused(p, "digit (route_int): shift is 0");
    params->agree_shift[0] = 20;
    offset[7]++;
    refused(p, "digit (route_int): offset is");
    offset[7]--;
    bias[3] = 65.0f; /* of 11 fraction bits: more than 2^17 steps of s */
    refused(p, "skip (route_int): bias[3] is 65; of 11 fraction bits sums have room for 64");
    bias[3] = NAN;
    refused(p, "skip (route_int): bias[3] is nan");
    lowered_close(&r);
}

/* A bias that a sum would clip before it rounds is named, and no program is made. */
Test(program_caps, bias_past_the_sums_is_refused)
{
    lowered r = caps_lowered("cpu", 8, 1);
    dt_program *p = NULL;

    lowered_write(&r, "skip", "bias", -65.0f);
    cr_assert(dt_program_lower(r.model, r.data, &p) == DT_ERR_NUMERIC && !p);
    cr_assert(strstr(dt_last_error(), "skip: bias 0 is -65, which is -133120 steps of s in iteration 0") != NULL, "%s",
              dt_last_error());
    lowered_close(&r);
}

/* Real routing has no program, and the message says what has. */
Test(program_caps, routing_by_reals_is_refused)
{
    dt_context *ctx = lowered_context("cpu");
    dt_model_config c;
    dt_model *m;

    MUST(dt_model_config_default("shallowcaps", &c));
    c.wbits = c.abits = 4;
    MUST(dt_model_create(ctx, &c, &m));
    cr_assert(dt_program_possible(m) == DT_ERR_UNSUPPORTED);
    cr_assert(strstr(dt_last_error(), "--routing-bits 8") != NULL, "%s", dt_last_error());
    dt_model_destroy(m);
    dt_context_destroy(ctx);
}
