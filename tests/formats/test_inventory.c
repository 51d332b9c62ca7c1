/*
 * test_inventory.c - the tensors of a file: of TensorFlow Lite, of a checkpoint, of a program, of any safetensors file;
 *                    what is refused.
 */
#include "../../formats/safetensors.h"
#include "../support/debugged_model.h"
#include "../support/temp_files.h"

TestSuite(inventory, .init = temp_make, .fini = temp_remove);

static void expect_tensor(const dt_inventory *v, const char *name, const char *type, int64_t bytes, int is_constant)
{
    const dt_tensor_info *t = dt_inventory_find(v, name);

    cr_assert(t != NULL, "no %s", name);
    cr_assert(strcmp(t->type, type) == 0 && t->bytes == bytes && t->is_constant == is_constant,
              "%s is %s, %lld bytes, constant %d", name, t->type, (long long)t->bytes, t->is_constant);
}

Test(inventory, of_a_tensorflow_lite_file)
{
    dt_inventory *v;

    MUST(dt_inventory_read(DETENT_TEST_GOLDEN "/small.tflite", &v));
    cr_assert(v->n == 6);
    expect_tensor(v, "image", "INT8", 6, 0);
    expect_tensor(v, "filter", "INT8", 2, 1);
    expect_tensor(v, "bias", "INT32", 8, 1);
    expect_tensor(v, "sums", "INT8", 8, 0);
    const dt_tensor_info *sums = dt_inventory_find(v, "sums");
    cr_assert(sums->ndim == 4 && sums->dim[0] == 1 && sums->dim[1] == 2 && sums->dim[2] == 2 && sums->dim[3] == 2);
    cr_assert(dt_inventory_find(v, "nothing") == NULL);
    dt_inventory_destroy(v);
}

Test(inventory, of_a_checkpoint_and_its_program)
{
    dt_context *ctx = debugged_context();
    dt_model *q = debugged_model(ctx, 8);
    dt_program *p;
    dt_inventory *v;

    MUST(dt_model_save(q, temp_path("q.safetensors"), NULL));
    MUST(dt_inventory_read(temp_path("q.safetensors"), &v));
    expect_tensor(v, "stem.weight", "FLOAT32", 5 * 3 * 9 * 4, 1); /* reals, of which evaluation makes codes */
    expect_tensor(v, "image", "FLOAT32", 6 * 6 * 3 * 4, 0);
    expect_tensor(v, "image.quant", "INT8", 6 * 6 * 3, 0);
    expect_tensor(v, "half", "INT8", 3 * 3 * 5, 0); /* keeps the codes that it reads */
    expect_tensor(v, "stem", "INT32", 6 * 6 * 5 * 4, 0);
    cr_assert(dt_inventory_find(v, "stem.weight_quant") == NULL, "codes of weights are neither stored nor of an image");
    dt_inventory_destroy(v);

    MUST(dt_program_lower(q, NULL, &p));
    MUST(dt_program_save(p, temp_path("p.safetensors")));
    MUST(dt_inventory_read(temp_path("p.safetensors"), &v));
    expect_tensor(v, "stem.weight", "INT8", 5 * 3 * 9, 1);
    expect_tensor(v, "image.act_quant", "INT8", 6 * 6 * 3, 0);
    expect_tensor(v, "stem.relu.act_quant", "INT8", 6 * 6 * 5, 0);
    dt_inventory_destroy(v);
    dt_program_destroy(p);
    dt_model_destroy(q);
    dt_context_destroy(ctx);
}

Test(inventory, of_any_safetensors_file)
{
    const int64_t dim[] = { 3 };
    const uint16_t halves[3] = { 0 };
    dt_safetensors_writer *w;
    dt_inventory *v;

    MUST(dt_safetensors_writer_create(&w));
    MUST(dt_safetensors_writer_add(w, "x", DT_SAFETENSORS_F16, 1, dim, halves));
    MUST(dt_safetensors_writer_write(w, temp_path("x.safetensors")));
    dt_safetensors_writer_destroy(w);
    MUST(dt_inventory_read(temp_path("x.safetensors"), &v));
    cr_assert(v->n == 1);
    expect_tensor(v, "x", "F16", 6, 1);
    dt_inventory_destroy(v);
}

Test(inventory, refuses_what_is_no_such_file)
{
    dt_inventory *v = NULL;

    temp_write("text", "no tensors at all", 17);
    cr_assert(dt_inventory_read(temp_path("text"), &v) == DT_ERR_FORMAT && v == NULL);
    cr_assert(dt_inventory_read(temp_path("missing"), &v) == DT_ERR_IO && v == NULL);
    dt_inventory_destroy(NULL);
}
