/*
 * test_onnx.c - ONNX files as plain data: what another writer wrote, and damage of every byte. Files that mean ill:
 * test_onnx_hostile.c.
 */
#include "../../formats/onnx/onnx_import.h"
#include "../../formats/onnx/onnx_model.h"
#include "../support/onnx_case.h"
#include "../support/temp_files.h"

#define MUST(call) cr_assert(eq(int, (int)(call), DT_OK), "%s: %s", #call, dt_last_error())

static unsigned char *load(const char *path, size_t *bytes)
{
    FILE *file = fopen(path, "rb");
    unsigned char *data = malloc(1 << 20);

    cr_assert(ne(ptr, file, NULL), "%s", path);
    *bytes = fread(data, 1, 1 << 20, file);
    fclose(file);
    return data;
}

/* A file's graph, or the status of what refuses it. */
static dt_status import(const char *path, const void *data, size_t bytes)
{
    dt_onnx *m;
    dt_graph *graph;
    int is_integer;

    dt_status s = data ? dt_onnx_read_bytes(path, data, bytes, &m) : dt_onnx_read(path, &m);
    if (s != DT_OK) return s;
    s = dt_onnx_graph(m, &graph, &is_integer);
    dt_onnx_destroy(m);
    if (s == DT_OK) dt_graph_destroy(graph);
    return s;
}

/* ---- reading ---- */

static const dt_onnx_value *value_of(dt_onnx *m, const char *name)
{
    int value;
    const int n = m->n_values;

    MUST(dt_onnx_value_of(m, name, &value));
    cr_assert(eq(int, m->n_values, n), "there is no value '%s'", name);
    return &m->value[value];
}

Test(onnx, what_another_writer_wrote)
{
    float each[10];
    dt_onnx *m;

    MUST(dt_onnx_read(DETENT_TEST_GOLDEN "/onnx/features.onnx", &m));
    cr_assert(eq(int, m->ir_version, 6));
    cr_assert(eq(int, m->opset, 11));
    cr_assert(eq(str, m->producer, "make_onnx_golden"));
    cr_assert(eq(int, m->n_nodes, 10));
    cr_assert(eq(int, m->n_in, 1));
    cr_assert(m->in[0].n_dims == 2 && m->in[0].dim[1] == 16 && m->in[0].is_free == 1u &&
              m->in[0].type == DT_ONNX_FLOAT);
    const dt_onnx_tensor *a = &m->tensor[value_of(m, "a")->tensor];
    cr_assert(a->type == DT_ONNX_FLOAT && a->n_dims == 2 && a->dim[0] == 16 && a->dim[1] == 10);
    cr_assert(a->file != NULL && a->data == NULL, "weights stay in the file");
    const dt_onnx_tensor *t = &m->tensor[value_of(m, "each")->tensor];
    MUST(dt_onnx_load(t, each));
    cr_assert(each[0] == -1.0f && each[9] == 1.0f);
    const dt_onnx_node *n = &m->node[6];
    cr_assert(eq(str, n->op, "Unsqueeze"));
    const dt_onnx_attribute *axes = dt_onnx_find(n, "axes");
    cr_assert(axes && axes->n_ints == 1 && axes->ints[0] == 2);
    cr_assert(dt_onnx_find(n, "axis") == NULL);
    cr_assert(eq(str, (char *)dt_onnx_node_name(m, n), "node_unsqueeze_6"));
    dt_onnx_destroy(m);
    dt_onnx_destroy(NULL);
}

/* The same network, whose constants are in a file beside it. */
Test(onnx, data_outside_are_those_inside)
{
    float inside[160], outside[160];
    dt_onnx *a, *b;

    MUST(dt_onnx_read(DETENT_TEST_GOLDEN "/onnx/features.onnx", &a));
    MUST(dt_onnx_read(DETENT_TEST_GOLDEN "/onnx/outside.onnx", &b));
    cr_assert(eq(int, b->n_files, 2));
    MUST(dt_onnx_load(&a->tensor[value_of(a, "a")->tensor], inside));
    MUST(dt_onnx_load(&b->tensor[value_of(b, "a")->tensor], outside));
    cr_assert(memcmp(inside, outside, sizeof inside) == 0);
    dt_onnx_destroy(a);
    dt_onnx_destroy(b);
}

Test(onnx, files_are_recognised_by_their_beginning, .init = temp_make, .fini = temp_remove)
{
    const unsigned char safetensors[16] = { 0x08, 0x07, 0x12, 0, 0, 0, 0, 0, '{' };

    cr_assert(dt_onnx_is_file(DETENT_TEST_GOLDEN "/onnx/qdq_u8.onnx"));
    cr_assert(eq(int, dt_onnx_is_file(DETENT_TEST_GOLDEN "/small.tflite"), 0));
    cr_assert(eq(int, dt_onnx_is_file(DETENT_TEST_GOLDEN "/onnx/expected.safetensors"), 0));
    cr_assert(eq(int, dt_onnx_is_file("/nowhere/net.onnx"), 0));
    cr_assert(eq(int, dt_onnx_is_head(safetensors, sizeof safetensors), 0));
    temp_write("cut.onnx", "\x08\x08", 2);
    cr_assert(dt_onnx_is_file(temp_path("cut.onnx")), "by its name");
}

/* ---- damage ---- */

static const char *const files[] = { "features", "shortcut", "channels_last", "qdq_u8", "qoperator_s8" };

Test(onnx, a_truncated_file_is_refused, .timeout = 60)
{
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        size_t bytes;
        char path[512];
        snprintf(path, sizeof path, "%s/onnx/%s.onnx", DETENT_TEST_GOLDEN, files[i]);
        unsigned char *data = load(path, &bytes);
        int n_read = 0;
        for (size_t n = 0; n < bytes; n++) {
            unsigned char *part = malloc(n + 1);
            memcpy(part, data, n);
            const dt_status s = import("part", part, n);
            free(part);
            n_read += s == DT_OK;
            if (s == DT_OK) continue;
            cr_assert(s == DT_ERR_FORMAT || s == DT_ERR_UNSUPPORTED, "%s: %zu of %zu bytes: %s", files[i], n, bytes,
                      dt_last_error());
            cr_assert(strncmp(dt_last_error(), "part: ", 6) == 0, "%s", dt_last_error());
        }
        /* versions of other operators stand at the end of some files, and may be missing */
        cr_assert(n_read <= 10, "%s: %d beginnings were read", files[i], n_read);
        free(data);
    }
}

Test(onnx, damaged_bytes_are_refused_or_read, .timeout = 60)
{
    static const unsigned char change[] = { 0x01, 0x88, 0x7f };
    int n_read = 0;

    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        size_t bytes;
        char path[512];
        snprintf(path, sizeof path, "%s/onnx/%s.onnx", DETENT_TEST_GOLDEN, files[i]);
        unsigned char *data = load(path, &bytes);
        for (size_t at = 0; at < bytes; at += bytes < 2000 ? 1 : 3) {
            for (size_t k = 0; k < sizeof change; k++) {
                data[at] ^= change[k];
                const dt_status s = import("damaged", data, bytes);
                n_read += s == DT_OK;
                cr_assert(s == DT_OK || s == DT_ERR_FORMAT || s == DT_ERR_UNSUPPORTED || s == DT_ERR_SHAPE ||
                              s == DT_ERR_ARGUMENT || s == DT_ERR_IO,
                          "byte %zu: %s", at, dt_last_error());
                data[at] ^= change[k];
            }
        }
        free(data);
    }
    cr_assert(n_read > 1000, "%d were read", n_read);
}

Test(onnx, opsets_that_are_not_known_are_refused)
{
    onnx_bytes graph = onnx_graph();
    onnx_plain(&graph, "Relu", "x", "y");
    const onnx_bytes old = onnx_model(&graph, 5), good = onnx_model(&graph, 6), future = onnx_model(&graph, 99);

    MUST(import("good", good.data, good.n));
    cr_assert(eq(int, (int)import("old", old.data, old.n), (int)DT_ERR_UNSUPPORTED));
    cr_assert(eq(int, (int)import("future", future.data, future.n), (int)DT_ERR_UNSUPPORTED));
    cr_assert(strstr(dt_last_error(), "operators of opset 99; understood are 6 to 28") != NULL, "%s", dt_last_error());
}
