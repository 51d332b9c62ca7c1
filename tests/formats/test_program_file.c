/*
 * test_program_file.c - programs as files: whole, of other formats, with damaged tensors, and cut short. Damaged JSON
 * is test_program_json.c's, files of version 1 are test_program_v1.c's.
 */
#include "../support/program_damage.h"

TestSuite(program_file, .init = temp_make, .fini = temp_remove);

/* value i of p, and k of q */
static void expect_same_value(const dt_program *p, int i, const dt_program *q, int k)
{
    const dt_graph_value *a = p->graph->value[i], *b = q->graph->value[k];

    cr_assert(a->source == b->source && dt_same_shape(&a->facts.shape, &b->facts.shape), "%s", a->name);
    cr_assert(a->facts.n_scale == b->facts.n_scale && a->facts.qmin == b->facts.qmin && a->facts.qmax == b->facts.qmax,
              "%s", a->name);
    const size_t bytes = dt_graph_data_bytes(p->graph, i);
    cr_assert(bytes == dt_graph_data_bytes(q->graph, k) && a->data_type == b->data_type, "%s", a->name);
    cr_assert(bytes == 0 || memcmp(a->data, b->data, bytes) == 0, "%s", a->name);
}

static void expect_same(const dt_program *p, const dt_program *q)
{
    const dt_graph *g = p->graph, *h = q->graph;

    cr_assert(eq(str, p->graph->name, q->graph->name));
    cr_assert(g->n_values == h->n_values && g->n_nodes == h->n_nodes);
    cr_assert(eq(str, (char *)dt_graph_name(g, g->scores), (char *)dt_graph_name(h, h->scores)));
    for (int i = 0; i < g->n_values; i++) {
        const int same = dt_graph_find(h, dt_graph_name(g, i));
        cr_assert(same >= 0, "%s", dt_graph_name(g, i));
        expect_same_value(p, i, q, same);
    }
    for (int i = 0; i < g->n_nodes; i++) {
        const dt_graph_node *a = &g->node[i], *b = &h->node[i];
        const size_t bytes = dt_ops[a->kind]->params_bytes;
        cr_assert(a->kind == b->kind && a->n_in == b->n_in, "node %d", i);
        cr_assert(bytes == 0 || memcmp(a->params, b->params, bytes) == 0, "%s", dt_graph_name(g, a->out));
        for (int k = 0; k < a->n_in; k++)
            cr_assert(eq(str, (char *)dt_graph_name(g, a->in[k]), (char *)dt_graph_name(h, b->in[k])));
    }
}

static void round_trip(const program_case *spec)
{
    dt_program *p = program_case_make(spec), *q = NULL;
    size_t bytes, bytes_again;

    cr_assert(eq(int, dt_program_save(p, temp_path("a.safetensors")), DT_OK), "%s", dt_last_error());
    cr_assert(eq(int, dt_program_load(temp_path("a.safetensors"), &q), DT_OK), "%s", dt_last_error());
    expect_same(p, q);
    cr_assert(eq(int, dt_program_save(q, temp_path("b.safetensors")), DT_OK), "%s", dt_last_error());
    char *a = read_whole(temp_path("a.safetensors"), &bytes), *b = read_whole(temp_path("b.safetensors"), &bytes_again);
    cr_assert(eq(sz, bytes, bytes_again));
    cr_assert(eq(int, memcmp(a, b, bytes), 0));
    free(a);
    free(b);
    dt_program_destroy(p);
    dt_program_destroy(q);
}

Test(program_file, round_trip_keeps_everything_and_gives_equal_bytes)
{
    round_trip(&plain);
    round_trip(&multiplied);
    round_trip(&(program_case){ .seed = 3, .sums = 1 });
}

/* ---- damages ---- */

static void expect_changed_refused(const dt_safetensors *f, const char *why, changed c, const char *part)
{
    write_changed(f, &c, NULL, NULL);
    expect_load_refused(why, &part, 1);
}

Test(program_file, refuses_other_formats_and_tensors)
{
    dt_safetensors *f;

    save_case(&multiplied, "good.safetensors");
    cr_assert(eq(int, dt_safetensors_open(temp_path("good.safetensors"), &f), DT_OK));
    const char *graph = dt_safetensors_metadata(f, "graph");
    const changed good = unchanged(graph);
    const char *const program = "detent-program";

    expect_changed_refused(f, "no format", (changed){ NULL, "2", "m", graph }, "no metadata 'format'");
    expect_changed_refused(f, "a checkpoint", (changed){ "detent-checkpoint", "2", "m", graph },
                           "'detent-checkpoint', expected 'detent-program'");
    expect_changed_refused(f, "no version", (changed){ program, NULL, "m", graph }, "no metadata 'version'");
    expect_changed_refused(f, "of tomorrow", (changed){ program, "3", "m", graph },
                           "version is 3, and this detent reads versions up to 2; a newer detent reads it");
    expect_changed_refused(f, "of yesterday", (changed){ program, "1", "m", graph }, "no metadata 'program'");
    expect_changed_refused(f, "before the first", (changed){ program, "0", "m", graph }, "version is '0'");
    expect_changed_refused(f, "a word", (changed){ program, "2b", "m", graph },
                           "version is '2b', expected a whole number");
    expect_changed_refused(f, "no model", (changed){ program, "2", NULL, graph }, "no metadata 'model'");
    expect_changed_refused(f, "two lines", (changed){ program, "2", "a\nb", graph }, "without control characters");
    expect_changed_refused(f, "an empty model", (changed){ program, "2", "", graph }, "expected 1 to 255 bytes");
    expect_changed_refused(f, "another model", (changed){ program, "2", "m", graph },
                           "model is 'm', and the graph's name 'case'");
    expect_changed_refused(f, "no graph", unchanged(NULL), "no metadata 'graph'");
    expect_changed_refused(f, "half a graph", unchanged("{\"name\":"), "metadata 'graph' is not JSON");
    expect_changed_refused(f, "a list", unchanged("[]"), "graph is not a JSON object");
    write_changed(f, &good, NULL, "features.0.bias");
    expect_load_refused("a tensor too many", (const char *[]){ "'features.0.bias' belongs to no node" }, 1);
    write_changed(f, &good, NULL, "features.5");
    expect_load_refused("a tensor of a node", (const char *[]){ "'features.5' belongs to no node" }, 1);
    for (int i = 0; i < dt_safetensors_count(f); i++) {
        const char *name = dt_safetensors_at(f, i)->name;
        write_changed(f, &good, name, NULL);
        expect_load_refused(name, (const char *[]){ name, "is missing" }, 2);
    }
    dt_safetensors_close(f);
}

/* The same numbers in another type, of as many bytes or not. */
Test(program_file, refuses_other_types)
{
    static const struct {
        const char *name;
        dt_dtype type, damaged;
        const char *part;
    } rows[] = { { "features.3.threshold", DT_I32, DT_F32, "threshold is of the type f32, expected i32" },
                 { "features.4.slope", DT_F32, DT_I32, "features.4 (affine): slope is of the type i32, expected f32" },
                 { "features.3.act_quant.multiplier", DT_I32, DT_F32, "multiplier is of the type f32, expected i32" } };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        dt_program *p = program_case_make(&multiplied);
        dt_graph_value *v = p->graph->value[dt_graph_find(p->graph, rows[i].name)];
        cr_assert(v->data_type == rows[i].type);
        v->data_type = rows[i].damaged;
        cr_assert(eq(int, dt_program_save(p, temp_path("no.safetensors")), DT_ERR_FORMAT));
        cr_assert(ne(ptr, (void *)strstr(dt_last_error(), rows[i].part), NULL), "%s", dt_last_error());
        dt_program_destroy(p);
    }
}

/* One element of a tensor, written over where it lies in the file. */
typedef struct {
    const char *why, *tensor;
    int64_t element;
    const void *bytes;
    size_t n_bytes;
    const char *parts[2];
} data_damage;

static const data_damage data_damages[] = {
    { "a code beyond the range", "image.table", 9, &(int16_t){ 5 }, 2, { "image", "5" } },
    { "a weight beyond its bits", "features.0.weight", 26, &(int8_t){ 8 }, 1, { "features.0", "weight is 8" } },
    { "an even bound with a plus", "features.3.weight", 0, &(int8_t){ 8 }, 1, { "weight is 8", "-8..7" } },
    { "no scale of the image", "image.scale", 0, &(float){ 0 }, 4, { "image.codes (table): scale[0] is 0" } },
    { "no scale of codes", "features.3.act_scale", 0, &(float){ -1 }, 4, { "features.3.act_quant", "scale[0] is -1" } },
    { "no clip", "features.6.act_alpha", 0, &(float){ 0 }, 4, { "features.6.act_quant (act_quant): alpha[0] is 0" } },
    { "no bits", "features.3.act_quant.multiplier_bits", 0, &(int32_t){ 0 }, 4, { "bits of the multiplier is 0" } },
    { "a scale of 0", "features.0.weight_scale", 0, &(float){ 0 }, 4, { "weight_scale[0] is 0" } },
    { "a sign of 0", "features.3.sign", 1, &(int8_t){ 0 }, 1, { "sign is 0" } },
    { "steps that descend",
      "features.3.threshold",
      5,
      &(int32_t){ -2147483647 - 1 },
      4,
      { "features.3", "threshold" } },
    { "a step beyond the psums", "features.3.threshold", 10, &(int32_t){ 757 }, 4, { "threshold is 757" } },
    { "a line that is none", "features.3.act_quant.slope", 0, &(float){ NAN }, 4, { "slope[0] is nan" } },
    { "a multiplier of more bits", "features.3.act_quant.multiplier", 0, &(int32_t){ 2048 }, 4, { "2048" } },
    { "a multiplier that steps elsewhere",
      "features.3.act_quant.multiplier_offset",
      0,
      &(int64_t){ 1 << 20 },
      8,
      { "features.3" } },
    { "a shift of 63", "features.12.act_quant.multiplier_shift", 2, &(int32_t){ 63 }, 4, { "shift is 63" } },
    { "an endless slope", "features.4.slope", 8, &(float){ INFINITY }, 4, { "features.4", "slope[8] is inf" } },
    { "an offset that is none", "features.7.offset", 3, &(float){ NAN }, 4, { "offset[3] is nan" } },
    { "a matrix of NaN", "classifier.weight", 79, &(float){ NAN }, 4, { "classifier", "matrix[79] is nan" } },
    { "a bias of infinity", "classifier.bias", 4, &(float){ -INFINITY }, 4, { "bias[4] is -inf" } },
};

Test(program_file, refuses_damaged_arrays)
{
    size_t bytes;
    dt_safetensors *f;

    save_case(&multiplied, "good.safetensors");
    cr_assert(eq(int, dt_safetensors_open(temp_path("good.safetensors"), &f), DT_OK));
    char *text = read_whole(temp_path("good.safetensors"), &bytes);
    uint64_t header = 0;
    memcpy(&header, text, sizeof header);
    for (size_t i = 0; i < sizeof data_damages / sizeof data_damages[0]; i++) {
        const data_damage *d = &data_damages[i];
        const dt_safetensors_tensor *t = dt_safetensors_find(f, d->tensor);
        char kept[8];

        cr_assert(t && d->element < t->count, "%s", d->tensor);
        char *at = text + 8 + header + t->begin + d->element * (int64_t)d->n_bytes;
        memcpy(kept, at, d->n_bytes);
        memcpy(at, d->bytes, d->n_bytes);
        temp_write("bad.safetensors", text, bytes);
        memcpy(at, kept, d->n_bytes);
        expect_load_refused(d->why, d->parts, 2);
    }
    free(text);
    dt_safetensors_close(f);
}

Test(program_file, refuses_every_length_but_the_whole)
{
    size_t bytes;

    save_case(&plain, "good.safetensors");
    char *text = read_whole(temp_path("good.safetensors"), &bytes);
    for (size_t cut = 0; cut < bytes; cut += 1 + cut / 37) {
        temp_write("bad.safetensors", text, cut);
        expect_load_refused("cut short", NULL, 0);
    }
    temp_write("bad.safetensors", text, bytes - 1);
    expect_load_refused("a byte short", NULL, 0);
    free(text);
}

Test(program_file, save_refuses_what_no_loader_takes)
{
    dt_program *p = program_case_make(&plain), *q;

    strcpy(p->graph->name, "a\tb");
    cr_assert(eq(int, dt_program_save(p, temp_path("no.safetensors")), DT_ERR_ARGUMENT));
    cr_assert(ne(ptr, (void *)strstr(dt_last_error(), "without control characters"), NULL), "%s", dt_last_error());
    strcpy(p->graph->name, "case");
    int8_t *weight = p->graph->value[dt_graph_find(p->graph, "features.0.weight")]->data;
    weight[0] = 100;
    cr_assert(eq(int, dt_program_save(p, temp_path("no.safetensors")), DT_ERR_FORMAT));
    weight[0] = 0;
    cr_assert(eq(int, dt_program_save(p, temp_path("no/such/folder")), DT_ERR_IO));
    cr_assert(eq(int, dt_program_load(temp_path("no.safetensors"), &q), DT_ERR_IO));
    dt_program_destroy(p);
}

/* As those of networks: any language, and as long. */
Test(program_file, names_of_networks)
{
    char name[DT_NAME_MAX + 1] = "r\xC3\xA9seau ";
    memset(name + strlen(name), 'x', DT_NAME_MAX - strlen(name));
    const program_case none = { .seed = 3 };
    dt_program *p = program_case_make(&none), *q;

    free(p->graph->name);
    p->graph->name = strdup(name);
    cr_assert(eq(int, dt_program_save(p, temp_path("a.safetensors")), DT_OK), "%s", dt_last_error());
    cr_assert(eq(int, dt_program_load(temp_path("a.safetensors"), &q), DT_OK), "%s", dt_last_error());
    cr_assert(eq(str, q->graph->name, name));
    dt_program_destroy(q);
    dt_program_destroy(p);
}

/* The worked example of docs/PROGRAM_FORMAT.md, by hand. */
static dt_program *example(void)
{
    static const program_case none = { 0 };
    program_maker m = program_case_begin(&none, "example");
    dt_graph *g = m.p->graph;
    int16_t *table = malloc(256 * sizeof *table);
    int x;

#define COPY(type, ...) \
    memcpy(malloc(sizeof(type[]){ __VA_ARGS__ }), (type[]){ __VA_ARGS__ }, sizeof(type[]){ __VA_ARGS__ })
    for (int v = 0; v < 256; v++) table[v] = (int16_t)(v / 85);
    program_case_must(dt_program_add_table(g, &(dt_shape){ 4, { 1, 2, 2, 1 } }, &(dt_table_params){ 0, 3, 0 }, table,
                                           dt_program_one(0.5f), &x));
    const dt_program_conv a = { .name = "a",
                                .conv = dt_conv_square(1, 0),
                                .range = { -3, 3 },
                                .shape = { 4, { 2, 2, 2, 1 } },
                                .n_scale = 1,
                                .weight = COPY(int8_t, 1, -2, 3, 1, -1, -1, 0, -3),
                                .scale = dt_program_one(0.1f) };
    program_case_must(dt_program_add_conv(g, &a, x, &x));
    const dt_program_steps b = { .name = "b",
                                 .levels = 3,
                                 .step = COPY(int32_t, -5, 8, 4, 12, 9, INT32_MAX),
                                 .sign = COPY(int8_t, 1, -1),
                                 .scale = dt_program_one(0.7f),
                                 .slope = COPY(float, 0.05f, -0.05f),
                                 .offset = COPY(float, 0.5f, 0.0f) };
    program_case_must(dt_program_add_threshold(g, &b, x, &x));
    const dt_program_conv of_b = { .name = "b",
                                   .conv = dt_conv_square(1, 0),
                                   .range = { -3, 3 },
                                   .shape = { 4, { 1, 1, 1, 2 } },
                                   .n_scale = 1,
                                   .weight = COPY(int8_t, 2, -3),
                                   .scale = dt_program_one(0.2f) };
    program_case_must(dt_program_add_conv(g, &of_b, x, &x));
    const dt_program_reals c = { "c", 1, dt_program_one(0.1f), dt_program_one(0.25f) };
    program_case_must(dt_program_add_affine(g, &c, x, &x));
    const dt_program_reals d = { "d", 2, COPY(float, 2.0f, -1.0f), COPY(float, 0.5f, 0.125f) };
    program_case_must(dt_program_add_linear(g, &d, x, &g->scores));
#undef COPY
    return m.p;
}

static void expect_example_value(void *user, const dt_program *p, const dt_graph_node *n, const void *values)
{
    static const struct {
        const char *name;
        int n;
        int32_t values[4];
    } rows[] = {
        { "image.codes", 4, { 0, 1, 2, 3 } }, { "a", 2, { 7, -10 } }, { "b.act_quant", 2, { 2, 1 } }, { "b", 1, { 1 } }
    };
    const char *name = dt_graph_name(p->graph, n->out);

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (strcmp(name, rows[i].name) != 0) continue;
        for (int k = 0; k < rows[i].n; k++)
            cr_assert(eq(i32, ((const int32_t *)values)[k], rows[i].values[k]), "%s", name);
        ++*(int *)user;
    }
    if (strcmp(name, "c") == 0) cr_assert(eq(flt, *(const float *)values, 0.35f));
}

Test(program_file, the_documents_example_is_right)
{
    const uint8_t image[] = { 0, 85, 170, 255 };
    dt_program *p = example(), *q = NULL;
    float scores[2];
    int n_seen = 0;

    cr_assert(eq(int, dt_program_save(p, temp_path("example.safetensors")), DT_OK), "%s", dt_last_error());
    cr_assert(eq(int, dt_program_load(temp_path("example.safetensors"), &q), DT_OK), "%s", dt_last_error());
    cr_assert(eq(int, dt_program_trace(q, (dt_program_input){ .pixels = image }, expect_example_value, &n_seen, scores), DT_OK));
    cr_assert(eq(int, n_seen, 4));
    cr_assert(scores[0] == 1.2f && scores[1] == -0.225f, "%.9g %.9g", (double)scores[0], (double)scores[1]);
    dt_program_destroy(p);
    dt_program_destroy(q);
}
